//! What it takes for a file or folder to be on the disk, and to be there in place of another one.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::partial::partial_name;
use super::{at, exists, parent};

/// From this many files on, the whole file system is flushed once, which costs as much as some
/// single files, but also writes what others have changed.
pub(super) const MANY: usize = 16;

/// Puts what stands in one place in the other's: at no time either is empty, where the file system can.
pub(super) fn exchange(new: &Path, old: &Path) -> io::Result<()> {
    exchange_by(new, old, || {
        renameat_with(CWD, new, CWD, old, RenameFlags::EXCHANGE)
    })
}

/// Network file systems (NFS, SMB, 9p) cannot do it at once. There one follows the other: killed in between, the
/// old one stands beside its place under a partial name.
pub(super) fn exchange_by(
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
pub(super) fn flush<'a>(paths: impl IntoIterator<Item = &'a Path>) -> io::Result<()> {
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

pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(at("cannot sync folder", path))
}
