//! Whether long reading of files is to end, because somebody told the program to stop: a hash of a hundred gigabytes
//! takes minutes, and nobody else could ask meanwhile.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

static STOP: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// What a handler of signals is to set.
pub fn stop_flag() -> Arc<AtomicBool> {
    Arc::clone(&STOP)
}

/// An error once it is set.
pub(super) fn go_on() -> io::Result<()> {
    if STOP.load(Ordering::Relaxed) {
        return Err(io::Error::other("told to stop"));
    }
    Ok(())
}
