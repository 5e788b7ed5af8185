//! Files and folders that are made beside their place and appear there complete.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::durable::{exchange, flush, sync_folder};
use super::partial::partial_name;
use super::past_cache::PastCache;
use super::{at, create_dir_all, exists, parent, remove};

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

/// A file that is written beside its final place and appears there complete. Dropped before it is
/// in place, it leaves nothing.
#[derive(Debug)]
pub struct StagedFile {
    pub(super) partial: PathBuf,
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

    /// Where a file in it will be.
    pub fn place_of(&self, name: &str) -> PathBuf {
        self.target.join(name)
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
