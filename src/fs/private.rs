//! What lies in `.krammerti/`, the one folder of a project that is krammerti's own.

/// In the root of a project.
pub const FOLDER: &str = ".krammerti";
/// Objects by digest, and build records.
pub const STORE: &str = ".krammerti/store";
/// What is known of files by their times.
pub const STAT_CACHE: &str = ".krammerti/stat-cache";
/// Kernel locks by name.
pub const LOCKS: &str = ".krammerti/locks";
/// Journals and logs, a folder each run.
pub const RUNS: &str = ".krammerti/runs";
/// What failed commands wrote, and what was replaced, by run and stage.
pub const FAILED: &str = ".krammerti/failed";
/// What trainings go on with, a folder each.
pub const CHECKPOINTS: &str = ".krammerti/checkpoints";
/// Answers of servers.
pub const RESPONSES: &str = ".krammerti/responses";
/// Searches.
pub const STUDIES: &str = ".krammerti/studies";
/// Logs of trainings.
pub const TRAINING: &str = ".krammerti/training";

/// What subcommands keep of their own, whatever stage they are.
pub const OF_SUBCOMMANDS: [&str; 4] = [CHECKPOINTS, RESPONSES, STUDIES, TRAINING];
