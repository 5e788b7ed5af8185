//! Files, with the path in every error, and nothing half written left behind.
//!
//! The only user of `std::fs`. A file appears in its place complete or not at all: it is written
//! under another name in the same folder, flushed to the disk, and renamed. A folder likewise.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};

/// The start of the names that unfinished files and folders have beside their final place.
const PARTIAL: &str = ".krammerti-partial.";

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
pub fn list(path: &Path) -> io::Result<Vec<std::ffi::OsString>> {
    let mut names = fs::read_dir(path)
        .and_then(|entries| {
            entries
                .map(|entry| entry.map(|entry| entry.file_name()))
                .collect::<io::Result<Vec<_>>>()
        })
        .map_err(at("cannot list", path))?;
    names.sort();
    Ok(names)
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

/// Moves a file or folder to a free place, whose folder is created. Between two file systems it is
/// copied first; killed in between, it stands in both places.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
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
        moved => {
            moved.map_err(at("cannot move", from))?;
            sync_folder(parent(to))
        }
    }
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

/// The name under which a path is prepared. It holds the process, so that two that write one path
/// (an object of the store) do not write one file.
fn partial_name(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    parent(path).join(format!("{PARTIAL}{}.{name}", std::process::id()))
}

/// Removes what killed processes left beside a path. Nobody else may be writing it.
pub fn remove_partials(path: &Path) -> io::Result<()> {
    let folder = parent(path);
    if !exists(folder) {
        return Ok(());
    }
    let end = format!(
        ".{}",
        path.file_name().unwrap_or_default().to_string_lossy()
    );
    for name in list(folder)? {
        if is_partial(&name) && name.to_string_lossy().ends_with(&end) {
            remove(&folder.join(name))?;
        }
    }
    Ok(())
}

/// Whether a name is that of something unfinished.
pub fn is_partial(name: &std::ffi::OsStr) -> bool {
    name.as_encoded_bytes().starts_with(PARTIAL.as_bytes())
}

/// Writes a file whole or not at all.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    create_dir_all(parent(path))?;
    let partial = partial_name(path);
    let written = create(&partial).and_then(|mut file| {
        file.write_all(bytes)
            .and_then(|()| file.sync_all())
            .map_err(at("cannot write", path))
    });
    finish(written, &partial, path)
}

/// Copies a file whole or not at all. The caller sees the bytes go by, then `None`, and may still
/// refuse the copy: then what stood at `to` stays.
pub fn copy_atomic(
    from: &Path,
    to: &Path,
    mode: u32,
    mut inspect: impl FnMut(Option<&[u8]>) -> io::Result<()>,
) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    create_dir_all(parent(to))?;
    let partial = partial_name(to);
    remove(&partial)?;
    let copied = (|| {
        let mut source = open(from)?;
        let mut target = create(&partial)?;
        let mut buffer = vec![0; 1 << 18];
        loop {
            let read = source.read(&mut buffer).map_err(at("cannot read", from))?;
            if read == 0 {
                break;
            }
            inspect(Some(&buffer[..read]))?;
            target
                .write_all(&buffer[..read])
                .map_err(at("cannot write", to))?;
        }
        inspect(None)?;
        target
            .set_permissions(fs::Permissions::from_mode(mode))
            .map_err(at("cannot write", to))?;
        target.sync_all().map_err(at("cannot write", to))
    })();
    finish(copied, &partial, to)
}

fn finish(written: io::Result<()>, partial: &Path, path: &Path) -> io::Result<()> {
    written
        .and_then(|()| fs::rename(partial, path).map_err(at("cannot write", path)))
        .and_then(|()| sync_folder(parent(path)))
        .inspect_err(|_| {
            // The first error is the one to tell; what cannot be removed now goes with the next try.
            let _ = fs::remove_file(partial);
        })
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
        let partial = partial_name(target);
        remove(&partial)?;
        create_dir_all(&partial)?;
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

    /// Puts the folder in its place, instead of what stood there.
    pub fn commit(self) -> io::Result<()> {
        sync_folder(&self.partial)?;
        if exists(&self.target) {
            renameat_with(CWD, &self.partial, CWD, &self.target, RenameFlags::EXCHANGE)
                .map_err(|error| at("cannot replace", &self.target)(error.into()))?;
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
mod tests {
    use super::*;

    fn names(path: &Path) -> Vec<String> {
        list(path)
            .unwrap()
            .iter()
            .map(|name| name.to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn errors_name_the_path() {
        let error = read(Path::new("/nowhere/at/all")).unwrap_err();
        assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_staged_folder_replaces_or_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out");
        let staged = StagedFolder::new(&target).unwrap();
        staged.write("a/b.txt", b"one").unwrap();
        assert!(!target.exists());
        staged.commit().unwrap();
        assert_eq!(read(&target.join("a/b.txt")).unwrap(), b"one");

        let abandoned = StagedFolder::new(&target).unwrap();
        abandoned.write("c.txt", b"two").unwrap();
        drop(abandoned);
        assert_eq!(names(&target), ["a"]);

        let replacing = StagedFolder::new(&target).unwrap();
        replacing.write("c.txt", b"two").unwrap();
        replacing.commit().unwrap();
        assert_eq!(names(&target), ["c.txt"]);
        assert_eq!(names(folder.path()), ["out"]);
    }

    #[test]
    fn a_folder_moves_to_another_file_system_too() {
        let (here, there) = (
            tempfile::tempdir().unwrap(),
            tempfile::tempdir_in("/dev/shm"),
        );
        // Where a host has one file system only, this is the plain rename.
        let there = there.unwrap_or_else(|_| tempfile::tempdir().unwrap());
        let (from, to) = (here.path().join("a"), there.path().join("new/b"));
        write_atomic(&from.join("c/d"), b"x").unwrap();
        std::os::unix::fs::symlink("d", from.join("c/link")).unwrap();
        rename(&from, &to).unwrap();
        assert!(!exists(&from));
        assert_eq!(read(&to.join("c/link")).unwrap(), b"x");
        assert_eq!(names(&there.path().join("new")), ["b"]);
    }

    #[test]
    fn a_file_is_written_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/file");
        write_atomic(&path, b"old").unwrap();
        write_atomic(&path, b"new").unwrap();
        assert_eq!(read(&path).unwrap(), b"new");
        assert!(write_atomic(&path.join("below-a-file"), b"x").is_err());
        assert_eq!(names(&folder.path().join("new")), ["file"]);
        remove(&path).unwrap();
        remove(&path).unwrap();
    }
}
