//! Kernel locks by name, so that two runs never write one place and a crash leaves nothing to unlock.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::{CommandError, ExecuteError, process};
use crate::artifact::Digest;
use crate::fs;

/// How long to wait before a lock is asked for again.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// Takes a kernel lock. It is asked for again and again rather than waited for, because a
/// signal does not wake whoever waits. `busy` is told each time, and may give up.
pub(super) fn hold(
    folder: &Path,
    name: &str,
    mut busy: impl FnMut() -> Result<(), ExecuteError>,
) -> Result<File, ExecuteError> {
    fs::create_dir_all(folder)?;
    let file = fs::open_lock(&folder.join(Digest::of(name.as_bytes()).to_string()))?;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(Errno::WOULDBLOCK | Errno::INTR) => busy()?,
            Err(error) => return Err(io::Error::from(error).into()),
        }
        if let Some(signal) = process::interrupted() {
            return Err(CommandError::from(signal).into());
        }
        std::thread::sleep(ASK_AGAIN);
    }
}
