//! How many files this process may have open: a stage locks each of its inputs and outputs, so many side by side need
//! more than the 1024 that are usual. Commands get what we were given: some open or close as many as they may.

use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

static BEFORE: OnceLock<Rlimit> = OnceLock::new();

/// Lets this process open as many files as it may allow itself.
pub fn allow_open_files() {
    let before = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: before.maximum,
        maximum: before.maximum,
    };
    if before.current != before.maximum && setrlimit(Resource::Nofile, most).is_ok() {
        let _ = BEFORE.set(before);
    }
}

/// The limit that was there before, if it was raised.
pub(super) fn before() -> Option<Rlimit> {
    BEFORE.get().copied()
}
