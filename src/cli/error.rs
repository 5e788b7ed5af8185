//! Kinds of errors, their exit codes and what to do about them.

use super::backend::BackendError;
use super::by_hand::Overlap;
use super::commands::NoParamsFile;
use super::project::{NoFolder, NoProject};
use super::verify::Unsound;
use crate::data::{DatasetError, SeriesError};
use crate::model::{Misfit, NeedsBackend};
use crate::ops::{
    DiffError, GateFailed, GitError, LogError, NoLineage, NoSection, NoSource, OtherFolder,
    QualityFailed, RunError, StageFailed,
};
use crate::params::{Contradiction, ParamsError};
use crate::pipeline::{
    CommandError, ExecuteError, Failed, GraphError, LineageError, LockError, PathError,
    PipelineError, RunNameError, base_of,
};
use crate::source::SourceError;

/// An error as a person sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Report {
    /// What went wrong, with its place.
    pub(super) message: String,
    /// What to do.
    pub(super) hint: Option<String>,
    /// The last lines of a log, where a program failed.
    pub(super) log: Option<String>,
    /// The exit code.
    pub(super) code: u8,
}

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const GATE: u8 = 3;
const BUSY: u8 = 4;

/// The signal that nobody can catch.
const KILL: i32 = 9;

/// As an error of the system ends.
const TOO_MANY_OPEN_FILES: &str = "(os error 24)";

impl Report {
    pub(super) fn of(error: &anyhow::Error) -> Self {
        let mut report = Self {
            message: chain(error),
            hint: None,
            log: None,
            code: FAILED,
        };
        for cause in error.chain() {
            report.learn(cause);
        }
        if error.is::<BackendError>() || error.is::<NeedsBackend>() {
            report.backend(error);
        }
        report
    }

    /// Takes code and hint from one link of the chain; an inner one knows better.
    fn learn(&mut self, cause: &(dyn std::error::Error + 'static)) {
        if let Some(error) = cause.downcast_ref::<RunError>() {
            self.run(error);
        } else if let Some(error) = cause.downcast_ref::<ExecuteError>() {
            self.execute(error);
        } else if cause.is::<ParamsError>()
            || cause.is::<Contradiction>()
            || cause.is::<OtherFolder>()
            || cause.is::<NoSource>()
            || cause.is::<NoParamsFile>()
            || cause.is::<NoFolder>()
            || cause.is::<PathError>()
            || asks_for_no_column(cause)
        {
            self.code = USAGE;
        } else if cause.is::<Overlap>() {
            self.code = USAGE;
            self.hint = Some("name another path with --out".to_owned());
        } else if let Some(error) = cause.downcast_ref::<NoSection>() {
            self.code = USAGE;
            self.hint = Some(format!(
                "the params.yaml of the README shows what `{}` may hold",
                error.section
            ));
        } else if let Some(error) = cause.downcast_ref::<LogError>() {
            self.log(error);
        } else if let Some(error) = cause.downcast_ref::<NoLineage>() {
            match error {
                NoLineage::Open(error) => self.execute(error),
                NoLineage::Path(error) => self.lineage(error),
            }
        } else if let Some(error) = cause.downcast_ref::<DiffError>() {
            self.diff(error);
        } else if let Some(error) = cause.downcast_ref::<PipelineError>() {
            self.pipeline(error);
        } else if let Some(error) = cause.downcast_ref::<GraphError>() {
            self.code = USAGE;
            self.hint = Some(match error {
                GraphError::Off { .. } => {
                    "its `when`, or that of a stage it needs, does not hold: change the parameter, or leave the \
                     stage out"
                        .to_owned()
                }
                _ => "`krammerti status` lists the stages".to_owned(),
            });
        } else if let Some(error) = cause.downcast_ref::<SourceError>() {
            self.source(error);
        } else if cause.is::<NoProject>() {
            self.code = USAGE;
            self.hint = Some("go to a project's folder, or name it with -C DIR".to_owned());
        } else if let Some(unsound) = cause.downcast_ref::<Unsound>() {
            self.hint = Some(if unsound.removed {
                "what was damaged is gone; `krammerti run` builds what is needed".to_owned()
            } else {
                "`krammerti verify --remove` removes what is damaged, to be built again".to_owned()
            });
        } else if cause.is::<GateFailed>() {
            self.code = GATE;
        } else if cause.is::<QualityFailed>() {
            self.code = GATE;
            let actions =
                "`prepare.quality` in params.yaml says what becomes of it: docs/params.md";
            self.hint = Some(actions.to_owned());
        } else if let Some(Misfit::Step { model, data }) = cause.downcast_ref::<Misfit>() {
            self.hint = Some(format!(
                "prepare the data with `step: {model}`, or train a model on {data} data"
            ));
        } else if let Some(error) = cause.downcast_ref::<std::io::Error>() {
            self.io(error);
        }
    }

    fn pipeline(&mut self, error: &PipelineError) {
        self.code = USAGE;
        self.hint = match error {
            PipelineError::Overlap { first, second, .. } => {
                let one_foreach = base_of(first).is_some() && base_of(first) == base_of(second);
                let hint = if one_foreach {
                    "put ${key} or a part of ${item} into its outputs"
                } else {
                    "give each stage outputs of its own"
                };
                Some(hint.to_owned())
            }
            PipelineError::Graph(GraphError::Cycle(names)) if names.len() == 2 => {
                Some("let it write somewhere else".to_owned())
            }
            PipelineError::Graph(GraphError::Cycle(_)) => {
                Some("let one of them read something that none of the others writes".to_owned())
            }
            _ => None,
        };
    }

    fn log(&mut self, error: &LogError) {
        let hint = match error {
            LogError::NoRuns | LogError::NeverRan { .. } => "`krammerti run` runs it",
            LogError::Run(RunNameError::Unknown { .. }) => {
                "`krammerti history -v` lists the runs; one whose folder was removed has no logs"
            }
            LogError::Run(RunNameError::Several { .. }) => "name one of them",
            LogError::NotInRun { .. } => "without --run it is that of the newest run that ran it",
            LogError::NothingRan { error: None, .. } => {
                "name a stage for the log of its last run, or a run with --run"
            }
            LogError::Unseen { .. } => "`krammerti status` lists the stages",
            LogError::NotKept { .. } => {
                "`krammerti gc` and whoever removes a run's folder take its logs"
            }
            LogError::Io(error) => return self.io(error),
            LogError::NothingRan { .. } | LogError::NoAttempt { .. } | LogError::Gone { .. } => "",
        };
        self.hint = Some(hint.to_owned()).filter(|hint| !hint.is_empty());
        let asked_wrongly = matches!(
            error,
            LogError::Run(_)
                | LogError::NotInRun { .. }
                | LogError::NoAttempt { .. }
                | LogError::Unseen { .. }
        );
        self.code = if asked_wrongly { USAGE } else { FAILED };
    }

    fn lineage(&mut self, error: &LineageError) {
        match error {
            LineageError::NotOurs { .. } => {
                self.code = USAGE;
                self.hint = Some(
                    "name an output or an input of a stage of pipeline.yaml, or a file in one"
                        .to_owned(),
                );
            }
            LineageError::NotInFolder { .. } => self.code = USAGE,
            LineageError::Io(error) => self.io(error),
        }
    }

    fn diff(&mut self, error: &DiffError) {
        match error {
            DiffError::Git(error) => self.git(error),
            DiffError::Lock(error) => self.lock(error),
            DiffError::Params(_) => self.code = USAGE,
            DiffError::Status(error) => self.run(error),
            DiffError::Io(error) => self.io(error),
        }
    }

    fn git(&mut self, error: &GitError) {
        self.code = USAGE;
        self.hint = match error {
            GitError::Start(_) => Some("krammerti diff needs git; install it".to_owned()),
            GitError::NoRepository { .. } => Some(
                "diff compares with what git has: keep the project in git, or go to its clone"
                    .to_owned(),
            ),
            GitError::OfAnother { place } => Some(format!(
                "`git config --global --add safe.directory {place}` lets git read it"
            )),
            GitError::NoRevision { name } if name == "HEAD" => {
                Some("commit something first".to_owned())
            }
            GitError::NoRevision { .. } => Some(
                "name a commit, branch or tag, or two of them: `krammerti diff A B`".to_owned(),
            ),
            GitError::Failed { .. } => {
                self.code = FAILED;
                None
            }
        };
    }

    fn lock(&mut self, error: &LockError) {
        match error {
            LockError::Io(error) => self.io(error),
            LockError::Version { .. } => {
                self.code = USAGE;
                self.hint = Some(
                    "use the krammerti that wrote it, or remove the file and run again".to_owned(),
                );
            }
            LockError::Syntax { .. } => {
                self.code = USAGE;
                self.hint =
                    Some("take one side of a git conflict in it, or remove the file".to_owned());
            }
        }
    }

    fn source(&mut self, error: &SourceError) {
        match error {
            SourceError::NotStored { .. } => {
                self.hint = Some("without --offline it is asked for".to_owned());
            }
            SourceError::NoToken { .. } | SourceError::BadToken => {
                self.code = USAGE;
                self.hint = Some("the source's `token` says where it is looked for".to_owned());
            }
            SourceError::BadHeader { .. } => self.code = USAGE,
            SourceError::NoTls { .. } => {
                self.hint = Some(
                    "install the package ca-certificates, or name a file of certificates in SSL_CERT_FILE"
                        .to_owned(),
                );
            }
            _ => {}
        }
    }

    fn io(&mut self, error: &std::io::Error) {
        use std::io::ErrorKind;
        let hint = match error.kind() {
            ErrorKind::PermissionDenied => "check owner and permissions of that path",
            ErrorKind::ReadOnlyFilesystem => {
                "krammerti keeps locks, runs and results below .krammerti/ of the project: it needs a place where \
                 it may write"
            }
            ErrorKind::StorageFull => {
                "free some space on that disk; `krammerti gc` shows what of .krammerti/ may go (`--keep-runs 1` for \
                 more)"
            }
            ErrorKind::FileTooLarge => "raise the limit of the size of files (`ulimit -f`)",
            ErrorKind::ResourceBusy => {
                "what is mounted there cannot be moved or replaced: name a folder inside it as the output"
            }
            ErrorKind::WouldBlock => {
                "raise the limit of processes and threads (`ulimit -u`, `TasksMax=`, `--pids-limit`), or end some"
            }
            // It has no kind.
            _ if error.to_string().contains(TOO_MANY_OPEN_FILES) => {
                "raise the limit of open files (`ulimit -n`), or run fewer stages side by side (--jobs)"
            }
            _ => return,
        };
        self.hint = Some(hint.to_owned());
    }

    fn run(&mut self, error: &RunError) {
        match error {
            RunError::Interrupted(interrupted) => {
                self.code = u8::try_from(128 + interrupted.signal).unwrap_or(FAILED);
            }
            RunError::Graph(_) => self.code = USAGE,
            RunError::Open(error) => self.execute(error),
            RunError::Stage {
                first: StageFailed { stage, source },
                ..
            } => {
                self.execute(source);
                if let ExecuteError::MissingOutput { .. }
                | ExecuteError::Command(CommandError::TimedOut { .. }) = source
                {
                    self.hint = Some(format!("`krammerti log {stage}` shows what it said"));
                }
            }
        }
    }

    fn execute(&mut self, error: &ExecuteError) {
        match error {
            ExecuteError::MissingInput { .. } => {
                self.code = USAGE;
                self.hint = Some("put it there, or add the stage that makes it".to_owned());
            }
            ExecuteError::Busy { .. } => self.code = BUSY,
            ExecuteError::Tainted { .. } => {
                self.hint = Some(
                    "run again once nobody edits it; what the command itself writes belongs under `outs`"
                        .to_owned(),
                );
            }
            ExecuteError::Lock(error) => self.lock(error),
            ExecuteError::Io(error) => self.io(error),
            ExecuteError::Command(error) => self.command(error),
            ExecuteError::Frozen { .. } => {
                self.hint = Some("put it there, or take `frozen` from the stage".to_owned());
            }
            ExecuteError::MissingOutput { .. } => {}
        }
    }

    fn command(&mut self, error: &CommandError) {
        let failed = match error {
            CommandError::Failed(failed) => failed,
            CommandError::Start { source, .. } | CommandError::Io(source) => {
                return self.io(source);
            }
            _ => return,
        };
        if failed.message.is_none() {
            self.log = Some(failed.log_tail.clone()).filter(|tail| !tail.is_empty());
            self.hint = Some(match &failed.strict {
                Some(never_written) => strict_hint(failed, never_written),
                None if failed.signal == Some(KILL) => format!(
                    "the kernel sends that signal where memory runs out (`dmesg` names the process); its whole log is {}",
                    failed.log.display()
                ),
                None => format!("its whole log is {}", failed.log.display()),
            });
            return;
        }
        // A subcommand of krammerti has said it all.
        self.code = failed
            .code
            .and_then(|code| u8::try_from(code).ok())
            .unwrap_or(FAILED);
        self.hint.clone_from(&failed.hint);
        if self.code == GATE {
            let place = "the report of this try is under .krammerti/failed/".to_owned();
            self.hint = Some(place);
        }
    }

    fn backend(&mut self, error: &anyhow::Error) {
        self.hint = Some(match error.downcast_ref::<BackendError>() {
            // What the loader says where a library finds no room.
            Some(BackendError::Broken { message, .. }) if message.contains("failed to map segment") => {
                "there is not enough memory to load libtorch: look at the limit of the address space (`ulimit -v`)"
                    .to_owned()
            }
            Some(BackendError::Broken { .. }) => {
                "build or install it again with scripts/run or scripts/install, where this user may read it; libtorch \
                 2.11.0 is what it needs"
                    .to_owned()
            }
            _ => "build it with scripts/run, install it with scripts/install, or choose a model.kind without \
                  libtorch (persistence, seasonal, climatology, ridge)"
                .to_owned(),
        });
    }
}

/// Whether parameters name a column that is not there, or ask one for what it cannot have.
fn asks_for_no_column(cause: &(dyn std::error::Error + 'static)) -> bool {
    let in_dataset = match cause.downcast_ref() {
        Some(DatasetError::Named { .. }) => return true,
        // As transparent as it is, what it holds is no link of the chain.
        Some(DatasetError::Series(error)) => Some(error),
        _ => None,
    };
    matches!(
        in_dataset.or_else(|| cause.downcast_ref()),
        Some(SeriesError::NoColumn { .. } | SeriesError::LooksAhead { .. })
    )
}

/// A strict stage fails where a plain one would not; the program's own words name the path.
fn strict_hint(failed: &Failed, never_written: &[String]) -> String {
    let log = failed.log.display();
    let rule = "it runs strictly: what it reads must stand under deps, what it writes under outs";
    match never_written {
        [] => format!("{rule}; its whole log is {log}"),
        [path, ..] => format!(
            "{rule}; it never wrote {path}, which must be filled in its place, or be declared as `{path}/` \
             where it is a folder; its whole log is {log}"
        ),
    }
}

/// All causes on one line, without saying twice what an outer one already says.
fn chain(error: &anyhow::Error) -> String {
    let mut message = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if message.is_empty() {
            message = cause;
        } else if !message.contains(&cause) {
            message = format!("{message}: {cause}");
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_that_contradict_the_data_are_wrong_usage() {
        let error = Contradiction("model.bounds: expected a target".to_owned());
        let report = Report::of(&anyhow::Error::from(error).context("training on data"));
        assert_eq!(report.code, USAGE);
        assert_eq!(
            report.message,
            "training on data: model.bounds: expected a target"
        );
    }

    #[test]
    fn what_the_system_refuses_has_a_hint() {
        let hint = |error: std::io::Error| Report::of(&error.into()).hint.unwrap_or_default();
        for (number, told) in [
            (16, "what is mounted there"),
            (11, "limit of processes and threads"),
            (24, "limit of open files"),
            (28, "free some space"),
        ] {
            let system = std::io::Error::from_raw_os_error(number);
            let error = std::io::Error::new(system.kind(), format!("cannot move x: {system}"));
            let hint = hint(error);
            assert!(hint.contains(told), "{number}: {hint}");
        }
        let started = CommandError::Start {
            program: "x".into(),
            source: std::io::Error::from_raw_os_error(11),
        };
        let hint = Report::of(&ExecuteError::from(started).into()).hint;
        assert!(hint.unwrap().contains("ulimit -u"));
    }

    #[test]
    fn a_command_that_was_killed_may_have_taken_too_much_memory() {
        let killed = |signal| {
            let failed = Failed {
                program: "x".into(),
                status: format!("signal {signal}"),
                code: None,
                signal: Some(signal),
                message: None,
                hint: None,
                log_tail: String::new(),
                log: "log".into(),
                may_pass: true,
                strict: None,
            };
            let error = ExecuteError::from(CommandError::from(Box::new(failed)));
            Report::of(&error.into()).hint.unwrap()
        };
        assert!(killed(9).contains("memory") && killed(9).ends_with("log"));
        assert!(!killed(11).contains("memory"));
    }

    #[test]
    fn hints_go_by_what_the_surroundings_lack() {
        let broken = |message: &str| BackendError::Broken {
            file: "libkrammerti_torch.so".into(),
            message: message.to_owned(),
        };
        let map = broken("libtorch_cpu.so: failed to map segment from shared object");
        let place = "/srv/a".to_owned();
        for (error, told) in [
            (anyhow::Error::from(map), "`ulimit -v`"),
            (broken("no such file").into(), "where this user may read it"),
            (
                std::io::Error::from_raw_os_error(28).into(),
                "`krammerti gc`",
            ),
            (
                DiffError::Git(GitError::OfAnother { place }).into(),
                "safe.directory /srv/a`",
            ),
        ] {
            let report = Report::of(&error);
            assert!(
                report.hint.as_ref().is_some_and(|hint| hint.contains(told)),
                "{report:?}"
            );
        }
    }

    #[test]
    fn a_column_that_parameters_name_in_vain_is_wrong_usage() {
        let no_column = || SeriesError::NoColumn {
            name: "nope".into(),
            there: vec!["t".into()],
        };
        let looks_ahead = SeriesError::LooksAhead {
            feature: "t_lag".into(),
            column: "t".into(),
        };
        let named = DatasetError::Named {
            key: "prepare.capacity",
            error: no_column(),
        };
        let code = |error: anyhow::Error| Report::of(&error.context("raw.parquet")).code;
        for error in [
            DatasetError::from(no_column()).into(),
            DatasetError::from(looks_ahead).into(),
            named.into(),
            no_column().into(),
        ] {
            assert_eq!(code(error), USAGE);
        }
        assert_eq!(code(DatasetError::from(SeriesError::Empty).into()), FAILED);
    }
}
