//! Kernel locks by name, so that two runs never write one place and a crash leaves nothing to unlock.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::{CommandError, ExecuteError, process};
use crate::artifact::Digest;
use crate::fs;

/// The lock that a run shares with other runs, and that whoever removes from the store has alone.
/// Named by a place that no output can have.
pub(super) const STORE: &str = fs::private::STORE;

/// How long to wait before a lock is asked for again.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// Between fork and exec a child has a copy of every lock of its parent, so one that was let go is held
/// for a moment more. How long to wait each time before that is believed.
const MOMENTS: [Duration; 3] = [
    Duration::from_millis(2),
    Duration::from_millis(8),
    Duration::from_millis(20),
];

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

/// Takes a kernel lock where one may only read, and none can be made: `None` where there is none that can be read.
pub(super) fn hold_readable(
    folder: &Path,
    name: &str,
    busy: impl FnMut() -> Result<(), ExecuteError>,
) -> Result<Option<File>, ExecuteError> {
    let Ok(file) = fs::open(&place(folder, name)) else {
        return Ok(None);
    };
    wait_for(file, FlockOperation::NonBlockingLockExclusive, busy).map(Some)
}

/// Takes a kernel lock if nobody has it.
pub(super) fn try_hold(folder: &Path, name: &str) -> io::Result<Option<File>> {
    fs::create_dir_all(folder)?;
    let file = fs::open_lock(&place(folder, name))?;
    let got = take(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(got.then_some(file))
}

/// Whether a file could be locked; held for a moment only, it is.
pub(super) fn take(file: &File, operation: FlockOperation) -> io::Result<bool> {
    take_with(file, operation, std::thread::sleep)
}

fn take_with(
    file: &File,
    operation: FlockOperation,
    mut wait: impl FnMut(Duration),
) -> io::Result<bool> {
    let mut moments = MOMENTS.into_iter();
    loop {
        match flock(file, operation) {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK | Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        match moments.next() {
            Some(moment) => wait(moment),
            None => return Ok(false),
        }
    }
}

fn ask(
    folder: &Path,
    name: &str,
    operation: FlockOperation,
    busy: impl FnMut() -> Result<(), ExecuteError>,
) -> Result<File, ExecuteError> {
    fs::create_dir_all(folder)?;
    let file = fs::open_lock(&place(folder, name))?;
    wait_for(file, operation, busy)
}

fn wait_for(
    file: File,
    operation: FlockOperation,
    mut busy: impl FnMut() -> Result<(), ExecuteError>,
) -> Result<File, ExecuteError> {
    loop {
        if take(&file, operation)? {
            return Ok(file);
        }
        busy()?;
        if let Some(signal) = process::interrupted() {
            return Err(CommandError::from(signal).into());
        }
        std::thread::sleep(ASK_AGAIN);
    }
}

fn place(folder: &Path, name: &str) -> PathBuf {
    folder.join(Digest::of(name.as_bytes()).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALONE: FlockOperation = FlockOperation::NonBlockingLockExclusive;

    #[test]
    fn a_lock_that_is_held_for_a_moment_is_taken_and_another_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = || fs::open_lock(&folder.path().join("lock")).unwrap();
        let first = file();
        assert!(take(&first, ALONE).unwrap());
        // As a child has it that was forked and has not become its program yet.
        let mut copy = Some(first.try_clone().unwrap());
        drop(first);
        let second = file();
        let mut waited = 0;
        let got = take_with(&second, ALONE, |_| {
            waited += 1;
            if waited == 2 {
                copy = None;
            }
        });
        assert!(got.unwrap() && waited == 2);
        assert!(!take(&file(), ALONE).unwrap());
    }
}
