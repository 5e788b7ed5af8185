//! Files, with the path in every error, and nothing half written left behind.
//!
//! The only user of `std::fs`. A file appears in its place complete or not at all: it is written
//! under another name in the same folder, flushed to the disk, and renamed. A folder likewise.

mod clock;
mod locked;
mod past_cache;
mod plain;
pub mod private;

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _, Seek as _, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

pub use clock::since_1970;
pub use locked::remove_locked;
pub use plain::plain;

use past_cache::PastCache;

/// The start of the names that unfinished files and folders have beside their final place.
const PARTIAL: &str = ".krammerti-partial.";

/// From this many files on, the whole file system is flushed once, which costs as much as some
/// single files, but also writes what others have changed.
const MANY: usize = 16;

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

/// What makes a path a pattern of [`glob()`].
pub const WILDCARDS: [char; 3] = ['*', '?', '['];

/// The files below a folder that match a pattern, by their paths from there, sorted. `*` stands for
/// no hidden name and crosses no folder; `**` does. An absolute pattern finds files anywhere.
pub fn glob(root: &Path, pattern: &str) -> io::Result<Vec<String>> {
    let wrong = |message: String| io::Error::new(io::ErrorKind::InvalidInput, message);
    if let Err(error) = glob::Pattern::new(pattern) {
        let (what, at) = (error.msg, error.pos);
        return Err(wrong(format!("`{pattern}` is no pattern: {what} at {at}")));
    }
    let whole = if pattern.starts_with('/') {
        pattern.to_owned()
    } else {
        let Some(folder) = root.to_str() else {
            let message = format!(
                "`{pattern}` finds no file in {}, whose name is not plain UTF-8 text: rename that folder",
                root.display()
            );
            return Err(wrong(message));
        };
        format!("{}/{pattern}", glob::Pattern::escape(folder))
    };
    let options = glob::MatchOptions {
        require_literal_separator: true,
        require_literal_leading_dot: true,
        ..glob::MatchOptions::new()
    };
    let paths = glob::glob_with(&whole, options);
    let mut files = Vec::new();
    for path in paths.map_err(|error| wrong(error.to_string()))? {
        let path = path.map_err(|error| wrong(error.to_string()))?;
        let name = path.strip_prefix(root).unwrap_or(&path).to_str();
        let Some(name) = name else {
            let message = format!("{} is not plain UTF-8 text", path.display());
            return Err(wrong(message));
        };
        if path.is_file() {
            files.push(name.to_owned());
        }
    }
    files.sort();
    Ok(files)
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

/// A name under which a path is prepared, another one each time: threads and processes that write
/// one path (an object of the store) do not write one file.
fn partial_name(path: &Path) -> PathBuf {
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

/// Writes a file whole or not at all. It is on the disk when this returns.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (staged, mut file) = StagedFile::new(path)?;
    file.write_all(bytes).map_err(at("cannot write", path))?;
    staged.commit()
}

/// The same of parts that follow one another, which may be hundreds of megabytes.
pub fn write_large_atomic<T: AsRef<[u8]>>(
    path: &Path,
    parts: impl IntoIterator<Item = T>,
) -> io::Result<()> {
    let (staged, file) = StagedFile::new(path)?;
    let mut file = PastCache::new(file);
    let mut parts = parts.into_iter();
    let written = parts.try_for_each(|part| file.write_all(part.as_ref()));
    written
        .and_then(|()| file.flush())
        .map_err(at("cannot write", path))?;
    staged.commit()
}

/// As [`write_atomic`], without waiting for the disk: for what only saves time, or is no loss when
/// the power fails. Then the file may hold less than was written, so its reader must notice.
pub fn write_atomic_volatile(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (staged, mut file) = StagedFile::new(path)?;
    file.write_all(bytes).map_err(at("cannot write", path))?;
    staged.put()
}

/// Lets an empty file share the bytes of another, which takes no time and no room. `false` where
/// the file system cannot: then nothing has happened.
pub fn share_bytes(from: &File, to: &File) -> bool {
    rustix::fs::ioctl_ficlone(to, from).is_ok()
}

/// Sets who may do what with an open file. The path is for the error.
pub fn set_mode(file: &File, path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(fs::Permissions::from_mode(mode))
        .map_err(at("cannot write", path))
}

/// A file that is written beside its final place and appears there complete. Dropped before it is
/// in place, it leaves nothing.
#[derive(Debug)]
pub struct StagedFile {
    partial: PathBuf,
    target: PathBuf,
}

impl StagedFile {
    /// Starts an empty file for `target`, open for reading and writing.
    pub fn new(target: &Path) -> io::Result<(Self, File)> {
        create_dir_all(parent(target))?;
        loop {
            let partial = partial_name(target);
            match create_new(&partial) {
                // Left by a process that had our number.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(at("cannot write", target)(error)),
                Ok(file) => {
                    let target = target.to_owned();
                    return Ok((Self { partial, target }, file));
                }
            }
        }
    }

    /// Puts the file in its place, durably.
    pub fn commit(self) -> io::Result<()> {
        Self::commit_all(vec![self])
    }

    /// Puts files of one file system in their places. Each is on the disk before it is in place.
    pub fn commit_all(staged: Vec<Self>) -> io::Result<()> {
        let folders: BTreeSet<PathBuf> = staged
            .iter()
            .map(|staged| parent(&staged.target).to_owned())
            .collect();
        flush(staged.iter().map(|staged| staged.partial.as_path()))?;
        staged.into_iter().try_for_each(Self::put)?;
        flush(folders.iter().map(PathBuf::as_path))
    }

    /// Puts the file in its place, durably, and removes a folder that stands there.
    pub fn commit_over_folder(self) -> io::Result<()> {
        let is_folder = fs::symlink_metadata(&self.target).is_ok_and(|there| there.is_dir());
        if !is_folder {
            return self.commit();
        }
        flush([self.partial.as_path()])?;
        exchange(&self.partial, &self.target)?;
        sync_folder(parent(&self.target))
        // The folder has the partial name now, and goes with the drop.
    }

    /// Puts the file in its place without waiting for the disk.
    pub fn put(self) -> io::Result<()> {
        fs::rename(&self.partial, &self.target).map_err(at("cannot write", &self.target))
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        // What cannot be removed now is found by `is_abandoned`.
        let _ = remove(&self.partial);
    }
}

fn create_new(path: &Path) -> io::Result<File> {
    File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)
}

/// Puts what stands in one place in the other's: at no time either is empty, where the file system can.
fn exchange(new: &Path, old: &Path) -> io::Result<()> {
    exchange_by(new, old, || {
        renameat_with(CWD, new, CWD, old, RenameFlags::EXCHANGE)
    })
}

/// Network file systems (NFS, SMB, 9p) cannot do it at once. There one follows the other: killed in between, the
/// old one stands beside its place under a partial name.
fn exchange_by(
    new: &Path,
    old: &Path,
    at_once: impl FnOnce() -> Result<(), Errno>,
) -> io::Result<()> {
    let done = match at_once() {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => one_after_the_other(new, old),
        done => done.map_err(io::Error::from),
    };
    done.map_err(at("cannot replace", old))
}

fn one_after_the_other(new: &Path, old: &Path) -> io::Result<()> {
    let aside = partial_name(old);
    fs::rename(old, &aside)?;
    if let Err(error) = fs::rename(new, old) {
        // Better the old one than none; the first error says why.
        let _ = fs::rename(&aside, old);
        return Err(error);
    }
    fs::rename(&aside, new)
}

/// Waits until files of one file system, and their places in their folders, are on the disk. Those
/// that are gone meanwhile do not count.
pub fn flush_all(files: &BTreeSet<PathBuf>) -> io::Result<()> {
    let files = files.iter().map(PathBuf::as_path);
    let files: Vec<&Path> = files.filter(|path| exists(path)).collect();
    let folders: BTreeSet<&Path> = files.iter().map(|path| parent(path)).collect();
    flush(files.into_iter().chain(folders))
}

/// Waits until files or folders of one file system are on the disk.
fn flush<'a>(paths: impl IntoIterator<Item = &'a Path>) -> io::Result<()> {
    let paths: Vec<&Path> = paths.into_iter().collect();
    let sync = |path: &Path| {
        File::open(path).and_then(|file| {
            if paths.len() < MANY {
                file.sync_all()
            } else {
                rustix::fs::syncfs(&file).map_err(io::Error::from)
            }
        })
    };
    let once = if paths.len() < MANY { paths.len() } else { 1 };
    paths[..once]
        .iter()
        .try_for_each(|path| sync(path).map_err(at("cannot flush to the disk", path)))
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(at("cannot sync folder", path))
}

/// A folder that is filled beside its final place and appears there complete. Dropped before
/// [`StagedFolder::commit`], it leaves nothing.
#[derive(Debug)]
pub struct StagedFolder {
    partial: PathBuf,
    target: PathBuf,
}

impl StagedFolder {
    /// Starts an empty folder for `target`.
    pub fn new(target: &Path) -> io::Result<Self> {
        create_dir_all(parent(target))?;
        let partial = loop {
            let partial = partial_name(target);
            match fs::create_dir(&partial) {
                // Left by a process that had our number.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                created => break created.map(|()| partial),
            }
        }
        .map_err(at("cannot write", target))?;
        Ok(Self {
            partial,
            target: target.to_owned(),
        })
    }

    /// Where to write while it is unfinished.
    pub fn path(&self) -> &Path {
        &self.partial
    }

    /// Writes a file in it.
    pub fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.partial.join(name);
        let shown = self.target.join(name);
        create_dir_all(parent(&path))?;
        let mut file = File::create(&path).map_err(at("cannot write", &shown))?;
        file.write_all(bytes)
            .and_then(|()| file.sync_all())
            .map_err(at("cannot write", &shown))
    }

    /// Starts an empty file in it, open for reading and writing. See [`StagedFolder::flush`].
    pub fn create(&self, name: &str) -> io::Result<File> {
        let path = self.partial.join(name);
        create_dir_all(parent(&path))?;
        create_new(&path).map_err(at("cannot write", &self.target.join(name)))
    }

    /// Waits until files that were created in it are on the disk.
    pub fn flush<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> io::Result<()> {
        let mut paths = BTreeSet::new();
        for name in names {
            let path = self.partial.join(name);
            paths.insert(parent(&path).to_owned());
            paths.insert(path);
        }
        flush(paths.iter().map(PathBuf::as_path))
    }

    /// Puts the folder in its place, instead of what stood there.
    pub fn commit(self) -> io::Result<()> {
        sync_folder(&self.partial)?;
        if exists(&self.target) {
            exchange(&self.partial, &self.target)?;
        } else {
            fs::rename(&self.partial, &self.target).map_err(at("cannot write", &self.target))?;
        }
        sync_folder(parent(&self.target))
        // What stood there before has the partial name now, and goes with the drop.
    }
}

impl Drop for StagedFolder {
    fn drop(&mut self) {
        let _ = remove(&self.partial);
    }
}

#[cfg(test)]
mod tests;
