//! Objects by digest and build records by key, under `.krammerti/store/`.
//!
//! An object is written once and never changed. It shares its bytes with the file it came from
//! where the file system can (reflink), and is a copy elsewhere; either way what has arrived is
//! hashed before it gets its name, so what lies under a digest always has that digest, whatever
//! happened to the source meanwhile. On the way out it is hashed again: disks and people damage
//! files.
//!
//! What goes in is on the disk after the next [`Store::flush`], so that many small results wait for
//! the disk together. A power cut before that may leave an object or a record with other bytes: the
//! first is found out when it is taken out, the second is unknown.
//!
//! Threads and processes may put in and take out at once, the same object too. Who removes objects
//! or records must know that nobody else is at work.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rayon::prelude::*;

use super::tree::AT_ONCE;
use super::{Artifact, Digest, Kind, Record, StatCache, Tree, hash, stop};
use crate::fs::{self, FolderEntry, StagedFile, StagedFolder};

/// The parts of a store.
const OBJECTS: &str = "objects";
const RECORDS: &str = "records";

/// What the file of a record ends in.
const RECORD_END: &str = ".json";

/// The bytes that a copy holds in memory.
const COPIED_AT_ONCE: u64 = 1 << 18;

/// The store of a project.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    /// Files that may not be on the disk yet.
    unflushed: Mutex<BTreeSet<PathBuf>>,
}

/// What goes in and comes out.
impl Store {
    /// The store in a folder, which is created when something is put in.
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            unflushed: Mutex::default(),
        }
    }

    /// Waits until all that was put in is on the disk.
    pub fn flush(&self) -> io::Result<()> {
        let files = std::mem::take(&mut *self.unflushed());
        fs::flush_all(&files)
    }

    fn unflushed(&self) -> MutexGuard<'_, BTreeSet<PathBuf>> {
        self.unflushed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a small file in.
    fn put(&self, path: PathBuf, bytes: &[u8]) -> io::Result<()> {
        fs::write_atomic_volatile(&path, bytes)?;
        self.unflushed().insert(path);
        Ok(())
    }

    /// Whether everything of an artifact is here. A folder whose listing is damaged is not.
    pub fn has(&self, artifact: Artifact) -> bool {
        let present = |digest| fs::exists(&self.object(digest));
        match artifact.kind {
            Kind::File | Kind::Executable => present(artifact.digest),
            Kind::Folder => self.tree(artifact.digest).is_ok_and(|tree| {
                tree.entries
                    .par_iter()
                    .with_min_len(AT_ONCE)
                    .all(|entry| present(entry.digest))
            }),
        }
    }

    /// Puts an artifact in, as it lies at a path. Fails if it has changed since it was hashed.
    pub fn insert(&self, path: &Path, artifact: Artifact, cache: &StatCache) -> io::Result<()> {
        match artifact.kind {
            Kind::File | Kind::Executable => {
                self.insert_files(&BTreeMap::from([(artifact.digest, path.to_owned())]))
            }
            Kind::Folder => {
                let tree = Tree::scan(path, cache)?;
                let listing = tree.encode();
                if Digest::of(listing.as_bytes()) != artifact.digest {
                    return Err(changed(path));
                }
                let files = tree.entries.iter();
                let files = files.map(|entry| (entry.digest, path.join(&entry.path)));
                self.insert_files(&files.collect())?;
                // Last, and again where it is there: a damaged one is made whole.
                self.put(self.object(artifact.digest), listing.as_bytes())
            }
        }
    }

    /// Keeps the listing of a folder, but not what is in it: enough to tell later what changed.
    pub fn insert_listing(&self, tree: &Tree) -> io::Result<()> {
        let listing = tree.encode();
        self.put(
            self.object(Digest::of(listing.as_bytes())),
            listing.as_bytes(),
        )
    }

    /// Whether an object is here.
    pub fn holds(&self, digest: Digest) -> bool {
        fs::exists(&self.object(digest))
    }

    fn insert_files(&self, files: &BTreeMap<Digest, PathBuf>) -> io::Result<()> {
        let stage = |(&digest, path): (&Digest, &PathBuf)| {
            let object = self.object(digest);
            // One of another length is what a power cut left.
            let length = |path: &Path| Ok::<_, io::Error>(fs::stat(path)?.map(|m| m.len()));
            let there = length(&object)?;
            if there.is_some() && there == length(path)? {
                return Ok(None);
            }
            let (staged, target) = StagedFile::new(&object)?;
            let found = fill((&target, &object), (&fs::open(path)?, path))?;
            if found != digest {
                return Err(changed(path));
            }
            // It is never written again.
            fs::set_mode(&target, &object, mode(&target, &object)? & !0o222)?;
            staged.put()?;
            Ok(Some(object))
        };
        let put: Vec<io::Result<Option<PathBuf>>> = files.par_iter().map(stage).collect();
        let put = put.into_iter().collect::<io::Result<Vec<_>>>()?;
        self.unflushed().extend(put.into_iter().flatten());
        Ok(())
    }

    /// Brings an artifact back to a path, instead of what stands there. An object that is damaged is
    /// removed and named.
    pub fn restore(&self, artifact: Artifact, path: &Path) -> io::Result<()> {
        match artifact.kind {
            Kind::File | Kind::Executable => {
                let executable = artifact.kind == Kind::Executable;
                let (staged, target) = StagedFile::new(path)?;
                self.copy_out(artifact.digest, (&target, path), executable)?;
                drop(target);
                staged.commit_over_folder()
            }
            Kind::Folder => self.restore_folder(artifact.digest, path),
        }
    }

    fn restore_folder(&self, digest: Digest, path: &Path) -> io::Result<()> {
        let tree = self
            .tree(digest)
            .or_else(|error| self.remove_damaged(digest, error))?;
        let staged = StagedFolder::new(path)?;
        let restored: Vec<io::Result<()>> = tree
            .entries
            .par_iter()
            .map(|entry| {
                let target = staged.create(&entry.path)?;
                let place = path.join(&entry.path);
                self.copy_out(entry.digest, (&target, &place), entry.executable)
            })
            .collect();
        restored.into_iter().collect::<io::Result<()>>()?;
        staged.flush(tree.entries.iter().map(|entry| entry.path.as_str()))?;
        staged.commit()
    }

    fn copy_out(
        &self,
        digest: Digest,
        (target, place): (&File, &Path),
        executable: bool,
    ) -> io::Result<()> {
        let object = self.object(digest);
        if fill((target, place), (&fs::open(&object)?, &object))? != digest {
            // It must not become an output that is then called up to date.
            return self.remove_damaged(digest, damaged(digest));
        }
        if executable {
            // For all who may read it.
            let mode = mode(target, place)?;
            fs::set_mode(target, place, mode | ((mode & 0o444) >> 2))?;
        }
        Ok(())
    }

    /// Removes an object if an error says that it is damaged.
    fn remove_damaged<T>(&self, digest: Digest, error: io::Error) -> io::Result<T> {
        if error.kind() == io::ErrorKind::InvalidData {
            self.remove_object(digest)?;
        }
        Err(error)
    }

    /// What a key gave, if it is known. Whether all of it is here is for [`Store::has`] to tell.
    pub fn record(&self, key: Digest) -> Option<Record> {
        let text = fs::read_to_string(&self.record_path(key)).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Remembers what a key gave. Its objects are to be here already.
    pub fn put_record(&self, key: Digest, record: &Record) -> io::Result<()> {
        let text = serde_json::to_string(record)? + "\n";
        self.put(self.record_path(key), text.as_bytes())
    }
}

/// What is in it.
impl Store {
    /// The listing of a folder.
    pub fn tree(&self, digest: Digest) -> io::Result<Tree> {
        let bytes = self.verified(digest)?;
        let tree = String::from_utf8(bytes)
            .ok()
            .and_then(|text| Tree::decode(&text));
        tree.ok_or_else(|| {
            let message = format!(
                "object {} of the store is no folder listing",
                digest.short()
            );
            // Not damaged: perhaps of a newer version.
            io::Error::other(message)
        })
    }

    /// The bytes of a file, or of a file inside a folder; `None` where the store has none.
    pub fn read(&self, artifact: Artifact, inside: Option<&str>) -> io::Result<Option<Vec<u8>>> {
        let found = match (artifact.kind, inside) {
            (Kind::File | Kind::Executable, None) => self.verified(artifact.digest),
            (Kind::Folder, Some(path)) => self.tree(artifact.digest).and_then(|tree| {
                let entry = tree.get(path).ok_or(io::ErrorKind::NotFound)?;
                self.verified(entry.digest)
            }),
            _ => return Ok(None),
        };
        match found {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            found => found.map(Some),
        }
    }

    fn verified(&self, digest: Digest) -> io::Result<Vec<u8>> {
        let bytes = fs::read(&self.object(digest))?;
        if Digest::of(&bytes) == digest {
            Ok(bytes)
        } else {
            Err(damaged(digest))
        }
    }

    /// All objects that an artifact is made of, sorted. They need not be here, but for the listing of
    /// a folder.
    pub fn closure(&self, artifact: Artifact) -> io::Result<Vec<Digest>> {
        let mut objects = BTreeSet::from([artifact.digest]);
        if artifact.kind == Kind::Folder {
            let tree = self.tree(artifact.digest)?;
            objects.extend(tree.entries.iter().map(|entry| entry.digest));
        }
        Ok(objects.into_iter().collect())
    }

    /// All objects and their bytes, sorted.
    pub fn objects(&self) -> io::Result<Vec<(Digest, u64)>> {
        let bytes = |(digest, entry): (Digest, FolderEntry)| {
            // One that another process has just removed is no object.
            let metadata = entry.stat().transpose()?;
            Some(metadata.map(|metadata| (digest, metadata.len())))
        };
        let stored = self.stored(OBJECTS, "")?.into_par_iter();
        let objects: Vec<Option<io::Result<_>>> = stored.map(bytes).collect();
        objects.into_iter().flatten().collect()
    }

    /// Whether an object still has its digest.
    pub fn check(&self, digest: Digest) -> io::Result<bool> {
        let path = self.object(digest);
        let file = fs::open(&path)?;
        let found = file
            .metadata()
            .and_then(|metadata| hash::hash(&file, metadata.len()))
            .map_err(|error| cannot("read", &path, &error))?;
        Ok(found == digest)
    }

    /// Removes an object. None there is fine.
    pub fn remove_object(&self, digest: Digest) -> io::Result<()> {
        fs::remove(&self.object(digest))
    }

    /// All keys, sorted, with what they gave; `None` where the record is damaged or of a newer version.
    pub fn records(&self) -> io::Result<Vec<(Digest, Option<Record>)>> {
        let keys = self.stored(RECORDS, RECORD_END)?;
        Ok(keys
            .into_par_iter()
            .map(|(key, _)| (key, self.record(key)))
            .collect())
    }

    /// Removes what a key gave, but no object. None there is fine.
    pub fn remove_record(&self, key: Digest) -> io::Result<()> {
        fs::remove(&self.record_path(key))
    }

    /// What processes that are no more have left half written, with its bytes, sorted.
    pub fn leftovers(&self) -> io::Result<Vec<(PathBuf, u64)>> {
        let mut leftovers = Vec::new();
        for part in [OBJECTS, RECORDS] {
            for (_, entry) in self.entries(part)? {
                if fs::is_abandoned(&entry.name) {
                    let path = entry.path();
                    let bytes = fs::disk_usage(&path)?;
                    leftovers.push((path, bytes));
                }
            }
        }
        Ok(leftovers)
    }
}

/// Where it lies: a folder for the first two digits, a file for the others.
impl Store {
    fn object(&self, digest: Digest) -> PathBuf {
        self.place(OBJECTS, digest, "")
    }

    fn record_path(&self, key: Digest) -> PathBuf {
        self.place(RECORDS, key, RECORD_END)
    }

    fn place(&self, part: &str, digest: Digest, end: &str) -> PathBuf {
        let hex = digest.to_string();
        let (shard, rest) = hex.split_at(2);
        self.root
            .join(part)
            .join(shard)
            .join(format!("{rest}{end}"))
    }

    /// What a part of the store holds under a digest, sorted. Other files are none of ours.
    fn stored(&self, part: &str, end: &str) -> io::Result<Vec<(Digest, FolderEntry)>> {
        let digest = |shard: &str, name: &str| -> Option<Digest> {
            format!("{shard}{}", name.strip_suffix(end)?).parse().ok()
        };
        let entries = self.entries(part)?.into_iter();
        Ok(entries
            .filter_map(|(shard, entry)| Some((digest(&shard, entry.name.to_str()?)?, entry)))
            .collect())
    }

    /// All that lies in the folders of a part, with their names, sorted.
    fn entries(&self, part: &str) -> io::Result<Vec<(String, FolderEntry)>> {
        let mut all = Vec::new();
        for shard in entries_if_exists(&self.root.join(part))? {
            let is_folder = shard.stat()?.is_some_and(|metadata| metadata.is_dir());
            if let Some(name) = shard.name.to_str().filter(|_| is_folder) {
                let entries = entries_if_exists(&shard.path())?;
                all.extend(entries.into_iter().map(|entry| (name.to_owned(), entry)));
            }
        }
        Ok(all)
    }
}

/// Nobody removes the store, but it may not be there yet.
fn entries_if_exists(folder: &Path) -> io::Result<Vec<FolderEntry>> {
    match fs::entries(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries,
    }
}

/// Gives an empty file the bytes of another. The digest is that of what has arrived.
fn fill((target, place): (&File, &Path), (mut source, path): (&File, &Path)) -> io::Result<Digest> {
    if fs::share_bytes(source, target) {
        let shared = target
            .metadata()
            .and_then(|shared| hash::hash(target, shared.len()));
        return shared.map_err(|error| cannot("read", place, &error));
    }
    let length = source
        .metadata()
        .map_err(|error| cannot("read", path, &error))?
        .len();
    let mut target = target;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; length.clamp(1, COPIED_AT_ONCE) as usize];
    loop {
        stop::go_on()?;
        let bytes = match source.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finalize().into()),
            Ok(read) => &buffer[..read],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(cannot("read", path, &error)),
        };
        hasher.update(bytes);
        target
            .write_all(bytes)
            .map_err(|error| cannot("write", place, &error))?;
    }
}

/// Who may do what with a file: with a new one that is for the umask to say.
fn mode(file: &File, path: &Path) -> io::Result<u32> {
    let metadata = file.metadata();
    let metadata = metadata.map_err(|error| cannot("look at", path, &error))?;
    Ok(metadata.mode() & 0o777)
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> io::Error {
    let message = format!("cannot {what} {}: {error}", path.display());
    io::Error::new(error.kind(), message)
}

fn changed(path: &Path) -> io::Error {
    io::Error::other(format!(
        "{} changed while it was put into the store",
        path.display()
    ))
}

fn damaged(digest: Digest) -> io::Error {
    let message = format!("object {} of the store is damaged", digest.short());
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests;
