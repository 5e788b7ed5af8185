//! The signals that tell this process to stop.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};

use crate::artifact::stop_flag;
use crate::fs;

/// SIGINT, SIGTERM or SIGHUP came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("interrupted by {}", match .signal { 1 => "SIGHUP".to_owned(), 2 => "Ctrl-C".to_owned(), 15 => "SIGTERM".to_owned(), other => format!("signal {other}") })]
pub struct Interrupted {
    /// Its number.
    pub signal: i32,
}

/// Whether they end the process at once, as they do before anybody asks for them.
static DEADLY: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// From now on a signal that tells us to stop ends the process at once, or no longer does. For long work
/// that asks nobody and would leave nothing behind.
pub fn let_signals_kill(they_may: bool) {
    DEADLY.store(they_may, Ordering::SeqCst);
}

/// The last signal that told us to stop. Installed at the first call; from then on these signals
/// are no longer deadly but where [`let_signals_kill`] says so; so only whoever watches the result may
/// call it. Nor is a file beyond `ulimit -f`, which is then an error of whoever writes it.
pub fn interrupted() -> Option<Interrupted> {
    static SIGNAL: OnceLock<Arc<AtomicUsize>> = OnceLock::new();
    let flag = SIGNAL.get_or_init(|| {
        use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
        let flag = Arc::new(AtomicUsize::new(0));
        // `nohup` leaves it ignored, and what it started is to go on when the terminal closes.
        let hangs_up = !is_ignored(SIGHUP);
        let hang_up = hangs_up.then_some(SIGHUP);
        for signal in [SIGINT, SIGTERM].into_iter().chain(hang_up) {
            // Both fail only for signals that cannot be caught, which these can.
            let _ = signal_hook::flag::register_conditional_default(signal, Arc::clone(&DEADLY));
            let _ = signal_hook::flag::register(signal, stop_flag());
            let _ = signal_hook::flag::register_usize(signal, Arc::clone(&flag), signal as usize);
        }
        // Caught, not ignored, since what this process starts would inherit that; as it does where it is ignored already.
        if !is_ignored(SIGXFSZ) {
            let _ = signal_hook::flag::register(SIGXFSZ, Arc::default());
        }
        flag
    });
    match flag.load(Ordering::Relaxed) {
        0 => None,
        signal => Some(Interrupted {
            signal: signal as i32,
        }),
    }
}

/// Whether this process ignores a signal.
fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string(Path::new("/proc/self/status")).unwrap_or_default();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::Command;
    use std::thread;
    use std::time::{Duration, Instant};

    /// What this process is to try as a child of its own.
    const CHILD: &str = "KRAMMERTI_TEST_SIGNALS_KILL";

    /// Signals are of a whole process, so it takes one of its own to die of them.
    #[test]
    fn a_signal_kills_where_it_may_and_is_heard_elsewhere() {
        if let Ok(they_may) = std::env::var(CHILD) {
            assert!(interrupted().is_none());
            let_signals_kill(true);
            let_signals_kill(they_may == "true");
            let own = rustix::process::getpid();
            rustix::process::kill_process(own, rustix::process::Signal::TERM).unwrap();
            // The harness has threads, and one of them may be the one that is to hear it, in its own time.
            let since = Instant::now();
            while interrupted().is_none() && since.elapsed() < Duration::from_secs(30) {
                thread::sleep(Duration::from_millis(1));
            }
            assert_eq!(interrupted(), Some(Interrupted { signal: 15 }));
            rustix::process::kill_process(own, rustix::process::Signal::XFSZ).unwrap();
            thread::sleep(Duration::from_millis(10));
            return;
        }
        let name =
            "pipeline::process::signals::tests::a_signal_kills_where_it_may_and_is_heard_elsewhere";
        for (they_may, killed_by) in [("true", Some(15)), ("false", None)] {
            let mut child = Command::new(std::env::current_exe().unwrap());
            child.args(["--exact", name]).env(CHILD, they_may);
            let ended = child.output().unwrap();
            assert_eq!(ended.status.signal(), killed_by, "{ended:?}");
            assert_eq!(ended.status.success(), killed_by.is_none(), "{ended:?}");
        }
    }
}
