//! Files, with the path in every error, and nothing half written left behind.
//!
//! The only user of `std::fs`. A file appears in its place complete or not at all: it is written
//! under another name in the same folder, flushed to the disk, and renamed. A folder likewise.

mod clock;
mod durable;
mod glob;
mod locked;
mod partial;
mod past_cache;
mod plain;
pub mod private;
mod staged;

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _, Seek as _};
use std::path::{Path, PathBuf};

pub use self::clock::since_1970;
pub use self::durable::flush_all;
pub use self::glob::{WILDCARDS, glob};
pub use self::locked::remove_locked;
pub use self::partial::{is_abandoned, is_partial, remove_partials};
pub use self::plain::plain;
pub use self::staged::{
    StagedFile, StagedFolder, write_atomic, write_atomic_volatile, write_large_atomic,
};

use self::durable::sync_folder;
use self::partial::partial_name;

fn at<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> io::Error + 'a {
    move |error| io::Error::new(error.kind(), format!("{what} {}: {error}", path.display()))
}

/// Reads a whole file.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    fs::read(path).map_err(at("cannot read", path))
}

/// Reads a whole text file.
pub fn read_to_string(path: &Path) -> io::Result<String> {
    fs::read_to_string(path).map_err(at("cannot read", path))
}

/// Reads a whole text file; `None` where there is none.
pub fn read_if_exists(path: &Path) -> io::Result<Option<String>> {
    match read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Opens a file for reading.
pub fn open(path: &Path) -> io::Result<File> {
    File::open(path).map_err(at("cannot open", path))
}

/// Creates or empties a file that is written as things happen, such as a log.
pub fn create(path: &Path) -> io::Result<File> {
    File::create(path).map_err(at("cannot write", path))
}

/// Opens a file to add to its end.
pub fn append(path: &Path) -> io::Result<File> {
    File::options()
        .create(true)
        .append(true)
        .open(path)
        .map_err(at("cannot write", path))
}

/// Opens a file that locks are taken on.
pub fn open_lock(path: &Path) -> io::Result<File> {
    File::options()
        .create(true)
        .append(true)
        .open(path)
        .map_err(at("cannot lock", path))
}

/// What the file system says of a path, links followed; `None` where there is nothing.
pub fn stat(path: &Path) -> io::Result<Option<Metadata>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(at("cannot look at", path)(error)),
    }
}

/// Whether anything stands at a path, a dangling link included.
pub fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Creates a folder and those above it.
pub fn create_dir_all(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path).map_err(at("cannot create folder", path))
}

/// The names in a folder, sorted.
pub fn list(path: &Path) -> io::Result<Vec<OsString>> {
    let names = entries(path)?.into_iter().map(|entry| entry.name);
    Ok(names.collect())
}

/// Something in a folder.
#[derive(Debug)]
pub struct FolderEntry {
    /// Its name in the folder.
    pub name: OsString,
    entry: fs::DirEntry,
}

impl FolderEntry {
    /// Where it lies.
    pub fn path(&self) -> PathBuf {
        self.entry.path()
    }

    /// What the file system says of it, links followed; `None` where a link leads nowhere, or it
    /// vanished. Cheaper than [`stat`]: the folder need not be found again.
    pub fn stat(&self) -> io::Result<Option<Metadata>> {
        match self.entry.metadata() {
            Ok(metadata) if !metadata.is_symlink() => Ok(Some(metadata)),
            // A link is followed; an error is told with its path.
            _ => stat(&self.path()),
        }
    }
}

/// What is in a folder, sorted by name.
pub fn entries(path: &Path) -> io::Result<Vec<FolderEntry>> {
    let named = |entry: fs::DirEntry| FolderEntry {
        name: entry.file_name(),
        entry,
    };
    let mut entries = fs::read_dir(path)
        .and_then(|entries| {
            entries
                .map(|entry| entry.map(named))
                .collect::<io::Result<Vec<_>>>()
        })
        .map_err(at("cannot list", path))?;
    entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// The bytes in a file, or in all files of a folder. A link counts for itself; nothing there is 0.
pub fn disk_usage(path: &Path) -> io::Result<u64> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        found => found.map_err(at("cannot look at", path))?,
    };
    if !metadata.is_dir() {
        return Ok(metadata.len());
    }
    entries(path)?
        .iter()
        .map(|entry| disk_usage(&entry.path()))
        .sum()
}

/// Removes a file, a link, or a folder with all in it. Nothing there is fine.
pub fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => Err(error),
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    };
    removed.map_err(at("cannot remove", path))
}

/// What a path names that is itself a link, if that lies neither within a folder nor beside the link; `None` where it is
/// no such link.
pub fn link_out_of(path: &Path, folder: &Path) -> Option<PathBuf> {
    let target = parent(path).join(fs::read_link(path).ok()?);
    let place = fs::canonicalize(parent(&target)).ok()?;
    let mut near = [folder, parent(path)].into_iter().map(fs::canonicalize);
    let is_near = near.any(|near| near.is_ok_and(|near| place.starts_with(near)));
    (!is_near).then_some(target)
}

/// The last bytes of a file, so many at most.
pub fn read_end(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut file = open(path)?;
    let length = file.metadata().map_err(at("cannot read", path))?.len();
    let mut bytes = Vec::new();
    file.seek(io::SeekFrom::Start(length.saturating_sub(most)))
        .and_then(|_| file.read_to_end(&mut bytes))
        .map_err(at("cannot read", path))?;
    Ok(bytes)
}

/// Moves a file or folder to a free place, whose folder is created. Between two file systems it is
/// copied first; killed in between, it stands in both places.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    rename_volatile(from, to)?;
    sync_folder(parent(to))
}

/// As [`rename`], without waiting for the disk: when the power fails, it may stand where it stood.
pub fn rename_volatile(from: &Path, to: &Path) -> io::Result<()> {
    create_dir_all(parent(to))?;
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            let partial = partial_name(to);
            remove(&partial)?;
            copy_all(from, &partial)?;
            fs::rename(&partial, to).map_err(at("cannot move", from))?;
            sync_folder(parent(to))?;
            remove(from)
        }
        moved => moved.map_err(at("cannot move", from)),
    }
}

/// A path, or where something stands there already, the first free one with a number behind it.
pub fn free_name(path: &Path) -> PathBuf {
    if !exists(path) {
        return path.to_owned();
    }
    let numbered = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    (1..u32::MAX)
        .map(numbered)
        .find(|path| !exists(path))
        .unwrap_or_else(|| path.to_owned())
}

/// Copies a file, a link, or a folder with all in it.
fn copy_all(from: &Path, to: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(from).map_err(at("cannot look at", from))?;
    if metadata.is_dir() {
        create_dir_all(to)?;
        for name in list(from)? {
            copy_all(&from.join(&name), &to.join(&name))?;
        }
        sync_folder(to)
    } else if metadata.is_symlink() {
        fs::read_link(from)
            .and_then(|target| std::os::unix::fs::symlink(target, to))
            .map_err(at("cannot copy", from))
    } else {
        fs::copy(from, to).map_err(at("cannot copy", from))?;
        open(to)?.sync_all().map_err(at("cannot write", to))
    }
}

/// The folder that holds a path.
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Lets an empty file share the bytes of another, which takes no time and no room. `false` where
/// the file system cannot: then nothing has happened.
pub fn share_bytes(from: &File, to: &File) -> bool {
    rustix::fs::ioctl_ficlone(to, from).is_ok()
}

/// Whether there is no room for a file: the disk is full, or what one may use of it.
pub fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Sets who may do what with an open file. The path is for the error.
pub fn set_mode(file: &File, path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(fs::Permissions::from_mode(mode))
        .map_err(at("cannot write", path))
}

#[cfg(test)]
mod tests;
