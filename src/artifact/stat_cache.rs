//! Remembers the digests of files that have not changed since they were hashed.
//!
//! An entry is found by device, inode, size, mtime and ctime, so a file that was edited in place and
//! had its mtime put back is still seen (ctime cannot be put back). A file system's clock ticks in
//! steps of up to some 10 ms; an edit within the tick of the hashing would leave the same times. So
//! an entry whose times are not clearly older than its hashing is not trusted (git's "racy" rule).

use std::collections::HashMap;
use std::fs::Metadata;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Artifact, Digest, Kind, Tree};
use crate::fs;

const HEADER: &str = "krammerti stat cache 1";

/// Longer than any tick of a file system's clock on Linux.
const TICK_NS: i128 = 20_000_000;

/// What identifies one state of one file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    mtime_ns: i128,
    ctime_ns: i128,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        let ns = |seconds: i64, ns: i64| i128::from(seconds) * 1_000_000_000 + i128::from(ns);
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            mtime_ns: ns(metadata.mtime(), metadata.mtime_nsec()),
            ctime_ns: ns(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    fn settled_at(&self, now_ns: i128) -> bool {
        self.mtime_ns.max(self.ctime_ns) + TICK_NS < now_ns
    }
}

/// Digests by the state of the file.
#[derive(Default)]
pub struct StatCache {
    file: PathBuf,
    known: std::sync::Mutex<HashMap<Stamp, Digest>>,
    hashed: std::sync::atomic::AtomicUsize,
}

impl StatCache {
    /// Reads the cache of a project. One that is missing or damaged is an empty one: it only saves time.
    pub fn load(file: &Path) -> Self {
        let text = fs::read_to_string(file).unwrap_or_default();
        let known = parse(&text).unwrap_or_default();
        Self {
            file: file.to_owned(),
            known: known.into(),
            ..Self::default()
        }
    }

    /// The artifact at a path; `None` where there is nothing.
    pub fn artifact(&self, path: &Path) -> io::Result<Option<Artifact>> {
        let (kind, digest) = match fs::stat(path)? {
            None => return Ok(None),
            Some(metadata) if metadata.is_dir() => (
                Kind::Folder,
                Digest::of(Tree::scan(path, self)?.encode().as_bytes()),
            ),
            Some(metadata) if !metadata.is_file() => {
                let message = format!("{} is neither a file nor a folder", path.display());
                return Err(io::Error::other(message));
            }
            Some(metadata) if metadata.mode() & 0o100 != 0 => {
                (Kind::Executable, self.digest(path)?)
            }
            Some(_) => (Kind::File, self.digest(path)?),
        };
        Ok(Some(Artifact { kind, digest }))
    }

    /// The digest of a file.
    pub fn digest(&self, path: &Path) -> io::Result<Digest> {
        let file = fs::open(path)?;
        let in_path = |error: io::Error| {
            io::Error::new(
                error.kind(),
                format!("cannot read {}: {error}", path.display()),
            )
        };
        let metadata = file.metadata().map_err(in_path)?;
        if !metadata.is_file() {
            return Err(in_path(io::Error::other(
                "it is neither a file nor a folder",
            )));
        }
        let stamp = Stamp::of(&metadata);
        if let Some(&digest) = self.known.lock().expect("shim").get(&stamp) {
            return Ok(digest);
        }
        // Before the first byte is read: a change within the tick of it must not go unseen.
        let begun = now_ns();
        let (digest, stamp) = hash_steady(&file, stamp).map_err(in_path)?;
        self.hashed
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if stamp.settled_at(begun) {
            self.known.lock().expect("shim").insert(stamp, digest);
        }
        Ok(digest)
    }

    /// Keeps what is known, if anything was hashed. A cache that cannot be written is no error.
    pub fn save(&self) {
        if self.hashed.swap(0, std::sync::atomic::Ordering::Relaxed) == 0 {
            return;
        }
        let known = self.known.lock().expect("shim");
        let mut lines: Vec<_> = known.iter().collect();
        lines.sort();
        let mut text = format!("{HEADER}\n");
        for (s, digest) in lines {
            text.push_str(&format!(
                "{} {} {} {} {} {digest}\n",
                s.device, s.inode, s.size, s.mtime_ns, s.ctime_ns
            ));
        }
        let _ = fs::write_atomic(&self.file, text.as_bytes());
    }
}

/// Hashes an open file; once more if it changed meanwhile. The stamp is that of what was hashed.
fn hash_steady(file: &std::fs::File, mut stamp: Stamp) -> io::Result<(Digest, Stamp)> {
    use std::io::Seek;
    let mut reader = file;
    for _ in 0..2 {
        reader.rewind()?;
        let digest = hash(&mut reader)?;
        let after = Stamp::of(&file.metadata()?);
        if after == stamp {
            return Ok((digest, stamp));
        }
        stamp = after;
    }
    Err(io::Error::other("it changes while it is read"))
}

fn hash(reader: &mut impl Read) -> io::Result<Digest> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finalize().into()),
            Ok(read) => hasher.update(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
    }
}

fn now_ns() -> i128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos() as i128)
}

fn parse(text: &str) -> Option<HashMap<Stamp, Digest>> {
    let mut lines = text.lines();
    (lines.next()? == HEADER).then_some(())?;
    lines
        .map(|line| {
            let mut fields = line.split(' ');
            let stamp = Stamp {
                device: fields.next()?.parse().ok()?,
                inode: fields.next()?.parse().ok()?,
                size: fields.next()?.parse().ok()?,
                mtime_ns: fields.next()?.parse().ok()?,
                ctime_ns: fields.next()?.parse().ok()?,
            };
            Some((stamp, fields.next()?.parse().ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs::FileTimes;
    use std::time::Duration;

    use super::*;

    fn settle() {
        std::thread::sleep(Duration::from_nanos(TICK_NS as u64 + 5_000_000));
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
        let mut file = std::fs::File::options().write(true).open(&path).unwrap();
        std::io::Write::write_all(&mut file, b"new").unwrap();
        file.set_times(FileTimes::new().set_modified(mtime))
            .unwrap();

        let cache = StatCache::load(&folder.path().join("cache"));
        assert_ne!(cache.digest(&path).unwrap(), old);
    }

    #[test]
    fn a_settled_file_is_not_read_again_and_a_fresh_one_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let store = folder.path().join("cache");
        fs::write_atomic(&path, b"x").unwrap();
        let cache = StatCache::load(&store);
        cache.digest(&path).unwrap();
        assert!(
            cache.known.lock().unwrap().is_empty(),
            "hashed within a tick of its change: not to be trusted"
        );
        settle();
        cache.digest(&path).unwrap();
        cache.save();
        let cache = StatCache::load(&store);
        cache.digest(&path).unwrap();
        assert_eq!(cache.hashed.into_inner(), 0);
    }

    #[test]
    fn a_damaged_cache_is_an_empty_one() {
        assert!(parse("nonsense").is_none());
        assert!(parse(&format!("{HEADER}\n1 2 3\n")).is_none());
        assert_eq!(
            parse(&format!("{HEADER}\n")).map(|known| known.len()),
            Some(0)
        );
    }
}
