//! Objects by digest and build records by key, under `.krammerti/store/`.
//!
//! An object is written once and never changed. It is hashed again while it is copied in, so what
//! lies under a digest always has that digest, whatever happened to the source meanwhile.

use std::io;
use std::path::{Path, PathBuf};

use super::{Artifact, Digest, Kind, Record, StatCache, Tree};
use crate::fs::{self, StagedFolder};

/// The store of a project.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// The store in a folder, which is created when something is put in.
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    fn object(&self, digest: Digest) -> PathBuf {
        let hex = digest.to_string();
        self.root.join("objects").join(&hex[..2]).join(&hex[2..])
    }

    fn record_path(&self, key: Digest) -> PathBuf {
        let hex = key.to_string();
        self.root
            .join("records")
            .join(&hex[..2])
            .join(format!("{}.json", &hex[2..]))
    }

    /// Whether everything of an artifact is here.
    pub fn has(&self, artifact: Artifact) -> bool {
        let present = |digest| fs::exists(&self.object(digest));
        match artifact.kind {
            Kind::File | Kind::Executable => present(artifact.digest),
            Kind::Folder => self
                .tree(artifact.digest)
                .is_ok_and(|tree| tree.entries.iter().all(|entry| present(entry.digest))),
        }
    }

    /// Puts an artifact in, as it lies at a path. Fails if it has changed since it was hashed.
    pub fn insert(&self, path: &Path, artifact: Artifact, cache: &StatCache) -> io::Result<()> {
        match artifact.kind {
            Kind::File | Kind::Executable => self.insert_file(path, artifact.digest),
            Kind::Folder => {
                let tree = Tree::scan(path, cache)?;
                for entry in &tree.entries {
                    self.insert_file(&path.join(&entry.path), entry.digest)?;
                }
                let text = tree.encode();
                if Digest::of(text.as_bytes()) != artifact.digest {
                    return Err(changed(path));
                }
                fs::write_atomic(&self.object(artifact.digest), text.as_bytes())
            }
        }
    }

    fn insert_file(&self, path: &Path, digest: Digest) -> io::Result<()> {
        let object = self.object(digest);
        if fs::exists(&object) {
            return Ok(());
        }
        fs::copy_atomic(
            path,
            &object,
            0o444,
            expect_digest(digest, || changed(path)),
        )
    }

    /// Brings an artifact back to a path, instead of what stands there.
    pub fn restore(&self, artifact: Artifact, path: &Path) -> io::Result<()> {
        match artifact.kind {
            Kind::File => self.copy_out(artifact.digest, path, false),
            Kind::Executable => self.copy_out(artifact.digest, path, true),
            Kind::Folder => {
                let tree = self.tree(artifact.digest)?;
                let staged = StagedFolder::new(path)?;
                for entry in &tree.entries {
                    self.copy_out(
                        entry.digest,
                        &staged.path().join(&entry.path),
                        entry.executable,
                    )?;
                }
                staged.commit()
            }
        }
    }

    fn copy_out(&self, digest: Digest, path: &Path, executable: bool) -> io::Result<()> {
        let object = self.object(digest);
        let mode = if executable { 0o755 } else { 0o644 };
        // A damaged object must not become an output that is then called up to date.
        let damaged = || {
            let message = format!("object {} of the store is damaged", digest.short());
            io::Error::new(io::ErrorKind::InvalidData, message)
        };
        fs::copy_atomic(&object, path, mode, expect_digest(digest, damaged)).or_else(|error| {
            if error.kind() == io::ErrorKind::InvalidData {
                fs::remove(&object)?;
            }
            Err(error)
        })
    }

    fn tree(&self, digest: Digest) -> io::Result<Tree> {
        let text = fs::read_to_string(&self.object(digest))?;
        Tree::decode(&text).ok_or_else(|| {
            let message = format!(
                "object {} of the store is no folder listing",
                digest.short()
            );
            io::Error::new(io::ErrorKind::InvalidData, message)
        })
    }

    /// What a key gave, if it is known. Whether all of it is here is for [`Store::has`] to tell.
    pub fn record(&self, key: Digest) -> Option<Record> {
        let text = fs::read_to_string(&self.record_path(key)).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Keeps the listing of a folder, but not what is in it: enough to tell later what changed.
    pub fn insert_listing(&self, tree: &Tree) -> io::Result<()> {
        let text = tree.encode();
        let object = self.object(Digest::of(text.as_bytes()));
        if fs::exists(&object) {
            return Ok(());
        }
        fs::write_atomic(&object, text.as_bytes())
    }

    /// The listing of a folder, if it is here.
    pub fn listing(&self, digest: Digest) -> Option<Tree> {
        self.tree(digest).ok()
    }

    /// Remembers what a key gave. Its objects are to be here already.
    pub fn put_record(&self, key: Digest, record: &Record) -> io::Result<()> {
        let text = serde_json::to_string_pretty(record)? + "\n";
        fs::write_atomic(&self.record_path(key), text.as_bytes())
    }
}

/// Stands in until the branch with the real one is merged, which then replaces this block.
impl Store {
    /// The bytes of a file, or of a file inside a folder; `None` where the store has none.
    pub fn read(&self, artifact: Artifact, inside: Option<&str>) -> io::Result<Option<Vec<u8>>> {
        let digest = match (artifact.kind, inside) {
            (Kind::File | Kind::Executable, None) => Some(artifact.digest),
            (Kind::Folder, Some(path)) => self.listing(artifact.digest).and_then(|tree| {
                let mut entries = tree.entries.into_iter();
                entries
                    .find(|entry| entry.path == path)
                    .map(|entry| entry.digest)
            }),
            _ => None,
        };
        let Some(digest) = digest else {
            return Ok(None);
        };
        match fs::read(&self.object(digest)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Ok(bytes) if Digest::of(&bytes) != digest => {
                let message = format!("object {} of the store is damaged", digest.short());
                Err(io::Error::new(io::ErrorKind::InvalidData, message))
            }
            found => found.map(Some),
        }
    }
}

/// Lets a copy through only if its bytes have a digest.
fn expect_digest(
    digest: Digest,
    error: impl Fn() -> io::Error,
) -> impl FnMut(Option<&[u8]>) -> io::Result<()> {
    let mut hasher = blake3::Hasher::new();
    move |bytes| match bytes {
        Some(bytes) => {
            hasher.update(bytes);
            Ok(())
        }
        None if Digest::from(hasher.finalize()) == digest => Ok(()),
        None => Err(error()),
    }
}

fn changed(path: &Path) -> io::Error {
    io::Error::other(format!(
        "{} changed while it was put into the store",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup() -> (tempfile::TempDir, Store, StatCache) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(&folder.path().join("store"));
        let cache = StatCache::load(&folder.path().join("cache"));
        (folder, store, cache)
    }

    #[test]
    fn what_goes_in_comes_out_again() {
        let (folder, store, cache) = setup();
        let path = folder.path().join("out");
        fs::write_atomic(&path.join("a/b.csv"), b"1,2\n").unwrap();
        fs::write_atomic(&path.join("c.json"), b"{}\n").unwrap();
        let artifact = cache.artifact(&path).unwrap().unwrap();
        assert!(!store.has(artifact));
        store.insert(&path, artifact, &cache).unwrap();
        assert!(store.has(artifact));

        fs::write_atomic(&path.join("other"), b"x").unwrap();
        store.restore(artifact, &path).unwrap();
        assert_eq!(cache.artifact(&path).unwrap(), Some(artifact));
    }

    #[test]
    fn a_file_that_changed_is_not_stored_under_its_old_digest() {
        let (folder, store, cache) = setup();
        let path = folder.path().join("out");
        fs::write_atomic(&path, b"old").unwrap();
        let artifact = cache.artifact(&path).unwrap().unwrap();
        fs::write_atomic(&path, b"new").unwrap();
        assert!(store.insert(&path, artifact, &cache).is_err());
        assert!(!store.has(artifact));
    }

    #[test]
    fn a_damaged_object_is_found_out_and_removed() {
        let (folder, store, cache) = setup();
        let path = folder.path().join("out");
        fs::write_atomic(&path, b"good").unwrap();
        let artifact = cache.artifact(&path).unwrap().unwrap();
        store.insert(&path, artifact, &cache).unwrap();
        fs::write_atomic(&store.object(artifact.digest), b"evil").unwrap();
        let key = Digest::of(b"key");
        store
            .put_record(
                key,
                &Record {
                    outputs: [("out".to_owned(), artifact)].into(),
                    built: None,
                },
            )
            .unwrap();
        assert!(store.record(key).is_some());
        assert!(
            store
                .restore(artifact, &folder.path().join("back"))
                .is_err()
        );
        assert!(!folder.path().join("back").exists());
        assert!(!store.has(artifact));
    }
}
