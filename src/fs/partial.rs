//! The names of what is unfinished, by which it is found again when its process is no more.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::{exists, list, parent, remove};

/// The start of the names that unfinished files and folders have beside their final place.
const PARTIAL: &str = ".krammerti-partial.";

/// A name under which a path is prepared, another one each time: threads and processes that write
/// one path (an object of the store) do not write one file.
pub(super) fn partial_name(path: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    parent(path).join(format!("{PARTIAL}{}-{count}.{name}", std::process::id()))
}

/// The process that works on something unfinished, and the name that this is to have.
fn read_partial(name: &OsStr) -> Option<(u32, &str)> {
    let (owner, name) = name.to_str()?.strip_prefix(PARTIAL)?.split_once('.')?;
    let process = owner.split('-').next()?;
    Some((process.parse().ok()?, name))
}

/// Removes what killed processes left beside a path. Nobody else may be writing it.
pub fn remove_partials(path: &Path) -> io::Result<()> {
    let folder = parent(path);
    if !exists(folder) {
        return Ok(());
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    for entry in list(folder)? {
        if read_partial(&entry).is_some_and(|(_, of)| of == name) {
            remove(&folder.join(entry))?;
        }
    }
    Ok(())
}

/// Whether a name is that of something unfinished.
pub fn is_partial(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(PARTIAL.as_bytes())
}

/// Whether a name is that of something unfinished whose process is no more. A process of another
/// host or container that shares the folder cannot be seen and counts as no more: such a run fails
/// when it wants to put its file in place, and harms nothing. One that got the number of the old
/// process counts for it.
pub fn is_abandoned(name: &OsStr) -> bool {
    read_partial(name)
        .is_some_and(|(process, _)| !exists(&Path::new("/proc").join(process.to_string())))
}
