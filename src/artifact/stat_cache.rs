//! Remembers the digests of files that have not changed since they were hashed.
//!
//! An entry is found by device and inode and holds for one size, mtime and ctime, so a file that was
//! edited in place and had its mtime put back is still seen (ctime cannot be put back). A file
//! system's clock ticks in steps of up to some 10 ms, some keep whole seconds only; an edit within
//! the tick of the hashing would leave the same times. So an entry whose times are not clearly older
//! than its hashing is not trusted (git's "racy" rule).
//!
//! # The file
//! A header line, the BLAKE3 of the rest, then the [generation](Known::generation) and entries of
//! one width, sorted: ten thousand are read in 1.5 ms. It is written without waiting for the
//! disk; the hash tells a file that a power cut has left half written, which must not be believed.
//!
//! # What is forgotten
//! One entry a file: an older state of it can never come back, since ctime only goes on. Files that
//! are gone leave their entries. When there are more than [`BOUND`] and more than twice as many as
//! this process has used, the least recently used go. The bound is that generous (15 ms to read)
//! because a command uses only its own inputs, and to hash another's again may take minutes.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fs::File;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Artifact, Digest, Kind, Tree, hash};
use crate::fs;

const HEADER: &[u8] = b"krammerti stat cache 2\n";

/// Longer than any tick of the clock by which Linux stamps files.
const TICK_NS: i128 = 20_000_000;

/// The same where a file system keeps whole seconds (ext3, ext4 with small inodes), or every other one (vfat).
const COARSE_TICK_NS: i128 = 2_000_000_000 + TICK_NS;

/// This many entries are kept whether used or not.
const BOUND: usize = 100_000;

/// What names a file, whatever its path and content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct FileId {
    device: u64,
    inode: u64,
}

/// What identifies one state of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    file: FileId,
    size: u64,
    mtime: Time,
    ctime: Time,
}

/// Since 1970, as the file system has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Time {
    seconds: i64,
    ns: i64,
}

impl Time {
    fn ns(self) -> i128 {
        i128::from(self.seconds) * 1_000_000_000 + i128::from(self.ns)
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        let time = |seconds, ns| Time { seconds, ns };
        Self {
            file: FileId {
                device: metadata.dev(),
                inode: metadata.ino(),
            },
            size: metadata.size(),
            mtime: time(metadata.mtime(), metadata.mtime_nsec()),
            ctime: time(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether an edit from now on leaves other times.
    fn settled_at(&self, now_ns: i128) -> bool {
        // Nobody can set a ctime: a whole second is most likely all that the file system keeps.
        let tick = match self.ctime.ns {
            0 => COARSE_TICK_NS,
            _ => TICK_NS,
        };
        self.mtime.max(self.ctime).ns() + tick < now_ns
    }
}

/// A file as it was when it was hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    stamp: Stamp,
    digest: Digest,
    /// The last generation in which it was asked for.
    used: u64,
}

/// Digests by the state of the file. Threads may share one.
#[derive(Debug, Default)]
pub struct StatCache {
    /// `None` where nothing is kept.
    file: Option<PathBuf>,
    /// Held to look up and to note, never while files are read.
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    entries: HashMap<FileId, Entry>,
    /// One more each time that the cache is loaded, to tell what was used lately.
    generation: u64,
    /// Entries that the file lacks.
    unsaved: usize,
}

impl StatCache {
    /// Reads the cache of a project. One that is missing or damaged is an empty one: it only saves time.
    pub fn load(file: &Path) -> Self {
        let mut known = Known::read(file);
        known.generation += 1;
        Self {
            file: Some(file.to_owned()),
            known: Mutex::new(known),
        }
    }

    /// The artifact at a path; `None` where there is nothing.
    pub fn artifact(&self, path: &Path) -> io::Result<Option<Artifact>> {
        let Some(metadata) = fs::stat(path)? else {
            return Ok(None);
        };
        let (kind, digest) = if metadata.is_dir() {
            let listing = Tree::scan(path, self)?.encode();
            (Kind::Folder, Digest::of(listing.as_bytes()))
        } else if !metadata.is_file() {
            let message = format!("{} is neither a file nor a folder", path.display());
            return Err(io::Error::other(message));
        } else if is_executable(&metadata) {
            (Kind::Executable, self.digest_of(|| path, &metadata)?)
        } else {
            (Kind::File, self.digest_of(|| path, &metadata)?)
        };
        Ok(Some(Artifact { kind, digest }))
    }

    /// The digest of a file.
    pub fn digest(&self, path: &Path) -> io::Result<Digest> {
        match fs::stat(path)? {
            Some(metadata) => self.digest_of(|| path, &metadata),
            None => self.hash(path),
        }
    }

    /// The digest of a file of which the file system has just said this.
    pub(super) fn digest_of<P: AsRef<Path>>(
        &self,
        path: impl FnOnce() -> P,
        metadata: &Metadata,
    ) -> io::Result<Digest> {
        let known = self.known().recall(&Stamp::of(metadata));
        known.map_or_else(|| self.hash(path().as_ref()), Ok)
    }

    fn hash(&self, path: &Path) -> io::Result<Digest> {
        let file = fs::open(path)?;
        // Before the first byte is read: a change within the tick of it must not go unseen.
        let begun = now_ns();
        let (digest, stamp) = hash_steady(&file).map_err(|error| {
            let message = format!("cannot read {}: {error}", path.display());
            io::Error::new(error.kind(), message)
        })?;
        if stamp.settled_at(begun) {
            self.known().note(stamp, digest);
        }
        Ok(digest)
    }

    /// Keeps what is known, if there is anything new. Takes some milliseconds where many files are
    /// known, so it is for the end of a run. Two processes may save at once: what the last one wrote
    /// stays, which holds what was there when it began. A cache that cannot be written is no error.
    pub fn save(&self) {
        let Some(file) = &self.file else { return };
        if self.known().unsaved == 0 {
            return;
        }
        let others = Known::read(file);
        let saved = self.known().merge(others);
        let _ = fs::write_atomic_volatile(file, &saved.encode());
    }

    /// What a panic of another thread left is whole: no step below can stop halfway.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn read(file: &Path) -> Self {
        let saved = fs::read(file).ok().and_then(|bytes| Saved::decode(&bytes));
        let Some(saved) = saved else {
            return Self::default();
        };
        let by_file = |entry: Entry| (entry.stamp.file, entry);
        Self {
            entries: saved.entries.into_iter().map(by_file).collect(),
            generation: saved.generation,
            unsaved: 0,
        }
    }

    fn recall(&mut self, stamp: &Stamp) -> Option<Digest> {
        let entry = self.entries.get_mut(&stamp.file)?;
        (entry.stamp == *stamp).then(|| {
            entry.used = self.generation;
            entry.digest
        })
    }

    fn note(&mut self, stamp: Stamp, digest: Digest) {
        self.unsaved += 1;
        let entry = Entry {
            stamp,
            digest,
            used: self.generation,
        };
        self.entries.insert(stamp.file, entry);
    }

    /// Takes in what another process has saved; of two states of a file the later one stays. Gives
    /// back what is to be saved.
    fn merge(&mut self, others: Self) -> Saved {
        for (file, other) in others.entries {
            let entry = self.entries.entry(file).or_insert(other);
            if entry.stamp.ctime < other.stamp.ctime {
                *entry = other;
            }
            entry.used = entry.used.max(other.used);
        }
        self.unsaved = 0;
        let mut entries = self.entries.values().copied().collect();
        forget(&mut entries, self.generation, BOUND);
        entries.sort_unstable_by_key(|entry| entry.stamp.file);
        Saved {
            generation: self.generation.max(others.generation),
            entries,
        }
    }
}

/// Drops the least recently used entries beyond `bound` and beyond twice those in use.
fn forget(entries: &mut Vec<Entry>, generation: u64, bound: usize) {
    let in_use = entries.iter().filter(|entry| entry.used >= generation);
    let bound = bound.max(2 * in_use.count());
    if entries.len() > bound {
        entries.sort_unstable_by_key(|entry| (Reverse(entry.used), entry.stamp.file));
        entries.truncate(bound);
    }
}

pub(super) fn is_executable(metadata: &Metadata) -> bool {
    metadata.mode() & 0o100 != 0
}

/// Hashes an open file; once more if it changed meanwhile. The stamp is that of what was hashed.
fn hash_steady(file: &File) -> io::Result<(Digest, Stamp)> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is neither a file nor a folder"));
    }
    hash_steady_since(file, Stamp::of(&metadata))
}

fn hash_steady_since(file: &File, mut stamp: Stamp) -> io::Result<(Digest, Stamp)> {
    for _ in 0..2 {
        let digest = match hash::hash(file, stamp.size) {
            // It has become shorter.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
            hashed => Some(hashed?),
        };
        let after = Stamp::of(&file.metadata()?);
        if let Some(digest) = digest.filter(|_| after == stamp) {
            return Ok((digest, stamp));
        }
        stamp = after;
    }
    Err(io::Error::other("it changes while it is read"))
}

fn now_ns() -> i128 {
    fs::since_1970().as_nanos() as i128
}

/// What stands in the file.
#[derive(Debug, PartialEq, Eq)]
struct Saved {
    generation: u64,
    entries: Vec<Entry>,
}

/// The numbers of an entry, before its digest.
const NUMBERS: usize = 8;
const WIDTH: usize = NUMBERS * 8 + 32;

impl Saved {
    fn encode(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(8 + self.entries.len() * WIDTH);
        body.extend(self.generation.to_le_bytes());
        for entry in &self.entries {
            body.extend(entry.encode());
        }
        [HEADER, Digest::of(&body).as_bytes(), &body].concat()
    }

    /// `None` where the bytes are not those that were written.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (digest, body) = bytes.strip_prefix(HEADER)?.split_first_chunk()?;
        if Digest::of(body).as_bytes() != digest {
            return None;
        }
        let (generation, body) = body.split_first_chunk()?;
        let (entries, rest) = body.as_chunks();
        rest.is_empty().then(|| Self {
            generation: u64::from_le_bytes(*generation),
            entries: entries.iter().map(Entry::decode).collect(),
        })
    }
}

impl Entry {
    fn encode(&self) -> [u8; WIDTH] {
        let Stamp {
            file,
            size,
            mtime,
            ctime,
        } = self.stamp;
        let numbers: [u64; NUMBERS] = [
            file.device,
            file.inode,
            size,
            mtime.seconds as u64,
            mtime.ns as u64,
            ctime.seconds as u64,
            ctime.ns as u64,
            self.used,
        ];
        let mut bytes = [0; WIDTH];
        for (place, number) in bytes.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        bytes[NUMBERS * 8..].copy_from_slice(self.digest.as_bytes());
        bytes
    }

    fn decode(bytes: &[u8; WIDTH]) -> Self {
        let (numbers, digest) = bytes.split_at(NUMBERS * 8);
        let numbers = numbers.as_chunks().0;
        let [device, inode, size, ms, mns, cs, cns, used] =
            std::array::from_fn(|i| u64::from_le_bytes(numbers[i]));
        let time = |seconds, ns| Time {
            seconds: seconds as i64,
            ns: ns as i64,
        };
        let mut content = [0; 32];
        content.copy_from_slice(digest);
        Self {
            stamp: Stamp {
                file: FileId { device, inode },
                size,
                mtime: time(ms, mns),
                ctime: time(cs, cns),
            },
            digest: Digest::from_bytes(content),
            used,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::FileTimes;
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    use super::*;

    fn settle() {
        std::thread::sleep(Duration::from_nanos(TICK_NS as u64 + 5_000_000));
    }

    fn entries(cache: &StatCache) -> usize {
        cache.known().entries.len()
    }

    /// An entry of a file that is nowhere.
    fn entry(inode: u64, used: u64) -> Entry {
        let time = Time { seconds: 1, ns: 2 };
        Entry {
            stamp: Stamp {
                file: FileId { device: 0, inode },
                size: 3,
                mtime: time,
                ctime: time,
            },
            digest: Digest::of(&inode.to_le_bytes()),
            used,
        }
    }

    #[test]
    fn an_edit_with_size_and_mtime_put_back_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        fs::write_atomic(&path, b"old").unwrap();
        settle();
        let cache = StatCache::load(&folder.path().join("cache"));
        let old = cache.digest(&path).unwrap();
        cache.save();

        let mtime = fs::stat(&path).unwrap().unwrap().modified().unwrap();
        let mut file = File::options().write(true).open(&path).unwrap();
        std::io::Write::write_all(&mut file, b"new").unwrap();
        file.set_times(FileTimes::new().set_modified(mtime))
            .unwrap();

        let cache = StatCache::load(&folder.path().join("cache"));
        assert_eq!(entries(&cache), 1);
        assert_ne!(cache.digest(&path).unwrap(), old);
    }

    #[test]
    fn a_settled_file_is_not_read_again_and_a_fresh_one_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let store = folder.path().join("cache");
        let cache = StatCache::load(&store);
        // A busy machine may take longer than a tick from one line to the next; then once more.
        let within_a_tick = (0..200).any(|_| {
            fs::write_atomic(&path, b"x").unwrap();
            let before = entries(&cache);
            cache.digest(&path).unwrap();
            let stamp = Stamp::of(&fs::stat(&path).unwrap().unwrap());
            let fresh = !stamp.settled_at(now_ns());
            if fresh {
                assert_eq!(entries(&cache), before, "not to be trusted");
            }
            fresh
        });
        assert!(within_a_tick);
        settle();
        cache.digest(&path).unwrap();
        cache.save();
        let cache = StatCache::load(&store);
        cache.digest(&path).unwrap();
        assert_eq!(cache.known().unsaved, 0);
    }

    #[test]
    fn times_in_whole_seconds_settle_after_two_of_them() {
        let stamp = |ns| {
            let time = Time { seconds: 10, ns };
            Stamp {
                mtime: time,
                ctime: time,
                ..entry(1, 1).stamp
            }
        };
        let at = |ms: i128| ms * 1_000_000;
        let (coarse, fine) = (stamp(0), stamp(1));
        assert!(!coarse.settled_at(at(10_900)) && !coarse.settled_at(at(11_999)));
        assert!(coarse.settled_at(at(12_100)));
        assert!(!fine.settled_at(at(10_010)) && fine.settled_at(at(10_100)));
        // What was unpacked has an mtime of whole seconds anywhere.
        let seconds = Time { seconds: 10, ns: 0 };
        let unpacked = Stamp {
            mtime: seconds,
            ..fine
        };
        assert!(unpacked.settled_at(at(10_100)));
    }

    #[test]
    fn what_another_process_saved_meanwhile_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        let store = folder.path().join("cache");
        fs::write_atomic(&a, b"a").unwrap();
        fs::write_atomic(&b, b"b").unwrap();
        settle();
        let (one, other) = (StatCache::load(&store), StatCache::load(&store));
        one.digest(&a).unwrap();
        other.digest(&b).unwrap();
        one.save();
        other.save();
        assert_eq!(entries(&StatCache::load(&store)), 2);
    }

    #[test]
    fn threads_share_a_cache() {
        let folder = tempfile::tempdir().unwrap();
        for i in 0..40 {
            let path = folder.path().join("data").join(i.to_string());
            fs::write_atomic_volatile(&path, i.to_string().as_bytes()).unwrap();
        }
        settle();
        let cache = StatCache::load(&folder.path().join("cache"));
        let found = std::thread::scope(|scope| {
            let scan = || cache.artifact(&folder.path().join("data")).unwrap();
            let threads = [(); 4].map(|()| scope.spawn(scan));
            threads.map(|thread| thread.join().unwrap())
        });
        assert!(found.iter().all(|artifact| *artifact == found[0]));
        assert_eq!(entries(&cache), 40);
    }

    #[test]
    fn the_least_recently_used_entries_beyond_the_bound_go() {
        let inodes = |bound| {
            let mut entries: Vec<_> = (1..=6).map(|i| entry(i, i)).collect();
            forget(&mut entries, 5, bound);
            let mut inodes: Vec<_> = entries.iter().map(|entry| entry.stamp.file.inode).collect();
            inodes.sort_unstable();
            inodes
        };
        assert_eq!(inodes(6), [1, 2, 3, 4, 5, 6]);
        assert_eq!(inodes(5), [2, 3, 4, 5, 6]);
        assert_eq!(inodes(0), [3, 4, 5, 6], "twice what is in use");
    }

    #[test]
    fn a_file_has_one_entry_and_its_latest_state() {
        let folder = tempfile::tempdir().unwrap();
        let (path, store) = (folder.path().join("data"), folder.path().join("cache"));
        for content in ["one", "two", "three"] {
            // In place: the same inode.
            std::fs::write(&path, content).unwrap();
            settle();
            let cache = StatCache::load(&store);
            let digest = cache.digest(&path).unwrap();
            assert_eq!(digest, Digest::of(content.as_bytes()));
            cache.save();
        }
        assert_eq!(entries(&StatCache::load(&store)), 1);
    }

    #[test]
    fn a_damaged_cache_is_an_empty_one() {
        let saved = Saved {
            generation: 7,
            entries: vec![entry(1, 5), entry(2, 7)],
        };
        let bytes = saved.encode();
        assert_eq!(Saved::decode(&bytes), Some(saved));
        assert_eq!(Saved::decode(b"nonsense"), None);
        for length in 0..bytes.len() {
            assert_eq!(Saved::decode(&bytes[..length]), None, "cut at {length}");
        }
        for i in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[i] ^= 1;
            assert_eq!(Saved::decode(&bytes), None, "flipped at {i}");
        }
    }

    #[test]
    fn a_file_that_shrinks_while_it_is_read_is_read_once_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let bytes = vec![7; 3 << 20];
        fs::write_atomic(&path, &bytes).unwrap();
        let file = fs::open(&path).unwrap();
        let now = Stamp::of(&file.metadata().unwrap());
        let size = now.size + (2 << 20);
        let found = hash_steady_since(&file, Stamp { size, ..now });
        assert_eq!(found.unwrap(), (Digest::of(&bytes), now));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        // Root may read any file, but not the memory at address 0.
        let path = folder.path().join("data/part-2");
        fs::write_atomic(&folder.path().join("data/part-1"), b"x").unwrap();
        symlink("/proc/self/mem", &path).unwrap();
        let cache = StatCache::default();
        for place in [&path, &folder.path().join("data")] {
            let error = cache.artifact(place).unwrap_err().to_string();
            assert!(error.contains("data/part-2"), "{error}");
        }
    }
}
