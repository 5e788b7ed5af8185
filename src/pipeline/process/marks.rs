//! Every process of a stage carries the names of its run and stage in its environment, and is found again
//! by them after the runner was killed.

use std::io;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, getpid, kill_process};

use crate::fs;

/// Names the run in the environment of all its processes.
pub(super) const RUN: &str = "KRAMMERTI_RUN";

/// Names the stage in the same way.
pub(super) const STAGE: &str = "KRAMMERTI_STAGE";

/// SIGKILL for every process that a stage of a killed run has left: the death signal reaches only its direct
/// children, and what those started would go on to write.
pub(in crate::pipeline) fn kill_stage(run: &str, stage: &str) -> io::Result<()> {
    // A note of an earlier version does not name the stage.
    if stage.is_empty() {
        return kill_marked(&[(RUN, run)]);
    }
    kill_marked(&[(RUN, run), (STAGE, stage)])
}

/// Whether this process was started by a stage.
pub(in crate::pipeline) fn in_a_stage() -> bool {
    std::env::var_os(RUN).is_some()
}

/// SIGKILL for every process that has these variables in its environment, until there are none: one
/// that starts another while we look may hide it once, and to end takes a moment.
fn kill_marked(marks: &[(&str, &str)]) -> io::Result<()> {
    const LOOKS: usize = 200;
    const PAUSE: Duration = Duration::from_millis(5);
    for _ in 0..LOOKS {
        if kill_seen(marks)? == 0 {
            break;
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// Kills those that can be seen now, and tells how many they were.
fn kill_seen(marks: &[(&str, &str)]) -> io::Result<usize> {
    let mut seen = 0;
    let ours = |environment: &[u8]| {
        marks.iter().all(|(name, value)| {
            let mark = format!("{name}={value}");
            let mut variables = environment.split(|byte| *byte == 0);
            variables.any(|variable| variable == mark.as_bytes())
        })
    };
    for name in fs::list(Path::new("/proc"))? {
        let pid = name
            .to_str()
            .and_then(|name| name.parse().ok())
            .and_then(Pid::from_raw);
        let Some(pid) = pid.filter(|&pid| pid != getpid()) else {
            continue;
        };
        // Processes of others, and those that end meanwhile, are not readable.
        let environment = fs::read(&Path::new("/proc").join(&name).join("environ"));
        if environment.is_ok_and(|environment| ours(&environment)) {
            seen += 1;
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    Ok(seen)
}
