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

/// The lock that a run shares with other runs, and that whoever removes from the store has alone.
pub(super) const STORE: &str = "store";

/// How long to wait before a lock is asked for again.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// Takes a kernel lock. It is asked for again and again rather than waited for, because a
/// signal does not wake whoever waits. `busy` is told each time, and may give up.
pub(super) fn hold(
    folder: &Path,
    name: &str,
    busy: impl FnMut() -> Result<(), ExecuteError>,
) -> Result<File, ExecuteError> {
    ask(folder, name, FlockOperation::NonBlockingLockExclusive, busy)
}

/// Takes a kernel lock that others who share it may hold as well.
pub(super) fn share(
    folder: &Path,
    name: &str,
    busy: impl FnMut() -> Result<(), ExecuteError>,
) -> Result<File, ExecuteError> {
    ask(folder, name, FlockOperation::NonBlockingLockShared, busy)
}

/// Takes a kernel lock if nobody has it.
pub(super) fn try_hold(folder: &Path, name: &str) -> io::Result<Option<File>> {
    fs::create_dir_all(folder)?;
    let file = fs::open_lock(&folder.join(Digest::of(name.as_bytes()).to_string()))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(Errno::WOULDBLOCK | Errno::INTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn ask(
    folder: &Path,
    name: &str,
    operation: FlockOperation,
    mut busy: impl FnMut() -> Result<(), ExecuteError>,
) -> Result<File, ExecuteError> {
    fs::create_dir_all(folder)?;
    let file = fs::open_lock(&folder.join(Digest::of(name.as_bytes()).to_string()))?;
    loop {
        match flock(&file, operation) {
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
