//! The listing of a folder, whose digest is the folder's.

use std::ffi::OsStr;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::{io, iter};

use rayon::prelude::*;

use super::stat_cache::is_executable;
use super::{Digest, StatCache};
use crate::fs::{self, FolderEntry};

/// The first line of an encoded listing; a new format gets a new number.
const HEADER: &str = "krammerti folder 1\n";

/// As many files as are worth a thread's while where all are known.
pub(super) const AT_ONCE: usize = 64;

/// A file in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Path in the folder, with `/`.
    pub path: String,
    /// Of its content.
    pub digest: Digest,
    /// Whether its owner may execute it.
    pub executable: bool,
}

/// All files of a folder, sorted by path. Empty folders do not count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// Sorted by path.
    pub entries: Vec<Entry>,
}

impl Tree {
    /// Lists a folder, hashing what the cache does not know.
    pub fn scan(folder: &Path, cache: &StatCache) -> io::Result<Self> {
        let whole = Folder {
            path: folder,
            prefix: "",
            id: fs::stat(folder)?.as_ref().map(id_of),
            above: None,
        };
        let mut entries = whole.scan(cache)?;
        entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(Self { entries })
    }

    /// Whether it has a file that counts no more: it is of an earlier version, and no scan will give it again.
    pub fn is_outdated(&self) -> bool {
        let mut parts = self.entries.iter().flat_map(|entry| entry.path.split('/'));
        parts.any(|part| !counts(part.as_ref()))
    }

    /// The file of a path in the folder.
    pub fn get(&self, path: &str) -> Option<&Entry> {
        let place = self
            .entries
            .binary_search_by(|entry| entry.path.as_str().cmp(path));
        place.ok().map(|place| &self.entries[place])
    }

    /// The bytes whose BLAKE3 is the folder's digest: a header, then for each file its digest, `x`
    /// or `-`, and its path, a line each. No path holds a line break, so no two trees read alike.
    pub fn encode(&self) -> String {
        let mut text = HEADER.to_owned();
        for Entry {
            path,
            digest,
            executable,
        } in &self.entries
        {
            let mode = if *executable { 'x' } else { '-' };
            text.push_str(&format!("{digest} {mode} {path}\n"));
        }
        text
    }

    /// Reads an encoded listing. `None` where it is none, or not in order: a file could then not be found.
    pub fn decode(text: &str) -> Option<Self> {
        let entries = text
            .strip_prefix(HEADER)?
            .lines()
            .map(|line| {
                let (digest, rest) = line.split_once(' ')?;
                let (mode, path) = rest.split_once(' ')?;
                let safe = !path.is_empty()
                    && path.split('/').all(|part| !matches!(part, "" | "." | ".."));
                let executable = match mode {
                    "x" => true,
                    "-" => false,
                    _ => return None,
                };
                safe.then_some(Entry {
                    path: path.to_owned(),
                    digest: digest.parse().ok()?,
                    executable,
                })
            })
            .collect::<Option<Vec<_>>>()?;
        let in_order = entries.is_sorted_by(|a, b| a.path < b.path);
        in_order.then_some(Self { entries })
    }
}

/// Whether what has a name is a part of the folder that it lies in. What is unfinished is no part of anything; nor is what
/// programs leave in a folder that they only read: Python what it compiled, Emacs the mark of a file that is being edited.
pub(super) fn counts(name: &OsStr) -> bool {
    let is_mark = name.as_encoded_bytes().starts_with(b".#");
    !fs::is_partial(name) && name != "__pycache__" && !is_mark
}

fn id_of(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// A folder that is being scanned, and those that it is in.
struct Folder<'a> {
    path: &'a Path,
    /// Its path in the whole, and a `/` where that is not empty.
    prefix: &'a str,
    /// Device and inode; `None` where there is nothing.
    id: Option<(u64, u64)>,
    above: Option<&'a Self>,
}

impl Folder<'_> {
    /// The files in it, its folders included. Threads share the work; the first error by name is told.
    fn scan(&self, cache: &StatCache) -> io::Result<Vec<Entry>> {
        let mut found = fs::entries(self.path)?;
        found.retain(|entry| counts(&entry.name));
        let found: Vec<io::Result<Vec<Entry>>> = found
            .into_par_iter()
            .with_min_len(AT_ONCE)
            .map(|entry| self.scan_entry(&entry, cache))
            .collect();
        let found = found.into_iter().collect::<io::Result<Vec<_>>>()?;
        Ok(found.into_iter().flatten().collect())
    }

    fn scan_entry(&self, entry: &FolderEntry, cache: &StatCache) -> io::Result<Vec<Entry>> {
        let refuse = |why: &str| {
            let path = entry.path();
            let message = format!("{} cannot be part of an artifact: {why}", path.display());
            Err(io::Error::new(io::ErrorKind::InvalidData, message))
        };
        let Some(name) = entry.name.to_str().filter(|name| !name.contains('\n')) else {
            return refuse("its name is not plain UTF-8 text");
        };
        let path = format!("{}{name}", self.prefix);
        let Some(metadata) = entry.stat()? else {
            return refuse("it is a link to nothing, or vanished");
        };
        if metadata.is_dir() {
            let id = id_of(&metadata);
            if self.is_in(id) {
                return refuse("it is a link to a folder that it is in");
            }
            let folder = Folder {
                path: &entry.path(),
                prefix: &format!("{path}/"),
                id: Some(id),
                above: Some(self),
            };
            return folder.scan(cache);
        }
        if !metadata.is_file() {
            return refuse("it is neither a file nor a folder");
        }
        Ok(vec![Entry {
            path,
            digest: cache.digest_of(|| entry.path(), &metadata)?,
            executable: is_executable(&metadata),
        }])
    }

    /// Whether it is a folder, or in it.
    fn is_in(&self, id: (u64, u64)) -> bool {
        let here = iter::successors(Some(self), |folder| folder.above);
        here.into_iter().any(|folder| folder.id == Some(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_to_a_folder_above_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::write_atomic(&folder.path().join("a/file"), b"x").unwrap();
        for name in ["one", "two"] {
            std::os::unix::fs::symlink("..", folder.path().join("a").join(name)).unwrap();
        }
        let error = Tree::scan(folder.path(), &StatCache::default()).unwrap_err();
        assert!(error.to_string().contains("a/one cannot"), "{error}");
    }

    #[test]
    fn a_scan_lists_files_of_all_depths_by_path() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["a-b", "a/b/c", "a/d", "a.b", "link", "partial/x"];
        for path in paths {
            fs::write_atomic(&folder.path().join(path), path.as_bytes()).unwrap();
        }
        fs::remove(&folder.path().join("link")).unwrap();
        std::os::unix::fs::symlink("a", folder.path().join("link")).unwrap();
        fs::create_dir_all(&folder.path().join("empty")).unwrap();
        fs::write_atomic(&folder.path().join("a/__pycache__/x.pyc"), b"x").unwrap();
        std::os::unix::fs::symlink("me@host.1", folder.path().join("a/.#d")).unwrap();
        let (_unfinished, _) = fs::StagedFile::new(&folder.path().join("a/new")).unwrap();
        let tree = Tree::scan(folder.path(), &StatCache::default()).unwrap();
        let found: Vec<_> = tree.entries.iter().map(|entry| &*entry.path).collect();
        let expected = [
            "a-b",
            "a.b",
            "a/b/c",
            "a/d",
            "link/b/c",
            "link/d",
            "partial/x",
        ];
        assert_eq!(found, expected);
        assert!(!tree.is_outdated());
        let compiled = format!("{} - a/__pycache__/x.pyc\n", Digest::of(b"x"));
        let next = format!("{} - a/b/c\n", Digest::of(b"a/b/c"));
        let old = tree.encode().replace(&next, &(compiled + &next));
        assert!(Tree::decode(&old).unwrap().is_outdated());
        assert_eq!(tree.get("a/d").unwrap().digest, Digest::of(b"a/d"));
        assert_eq!(tree.get("a"), None);
    }

    #[test]
    fn listings_read_as_they_are_written() {
        let digest = Digest::of(b"x");
        let entry = |path: &str, executable| Entry {
            path: path.into(),
            digest,
            executable,
        };
        let tree = Tree {
            entries: vec![entry("a b", false), entry("c/d", true)],
        };
        assert_eq!(Tree::decode(&tree.encode()), Some(tree.clone()));
        assert_eq!(
            Tree::decode(&Tree::default().encode()),
            Some(Tree::default())
        );
        for bad in [
            "",
            "other\n",
            &tree.encode().replace("c/d", "../d"),
            &tree.encode().replace(" x ", " ? "),
            &tree.encode().replace("c/d", "a a"),
            &tree.encode().replace("c/d", "a b"),
        ] {
            assert_eq!(Tree::decode(bad), None);
        }
    }
}
