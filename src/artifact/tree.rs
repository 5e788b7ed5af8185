//! The listing of a folder, whose digest is the folder's.

use std::io;
use std::path::Path;

use super::{Digest, StatCache};
use crate::fs;

/// The first line of an encoded listing; a new format gets a new number.
const HEADER: &str = "krammerti folder 1\n";

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
        let mut tree = Self::default();
        tree.scan_into(folder, "", cache)?;
        tree.entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(tree)
    }

    fn scan_into(&mut self, folder: &Path, prefix: &str, cache: &StatCache) -> io::Result<()> {
        use std::os::unix::fs::PermissionsExt;
        // What is unfinished is no part of anything.
        for name in fs::list(folder)?
            .into_iter()
            .filter(|name| !fs::is_partial(name))
        {
            let full = folder.join(&name);
            let refuse = |why: &str| {
                let message = format!("{} cannot be part of an artifact: {why}", full.display());
                Err(io::Error::new(io::ErrorKind::InvalidData, message))
            };
            let Some(name) = name.to_str().filter(|name| !name.contains('\n')) else {
                return refuse("its name is not plain UTF-8 text");
            };
            let path = format!("{prefix}{name}");
            match fs::stat(&full)? {
                None => return refuse("it is a link to nothing, or vanished"),
                Some(metadata) if metadata.is_dir() => {
                    self.scan_into(&full, &format!("{path}/"), cache)?;
                }
                Some(metadata) if metadata.is_file() => {
                    let executable = metadata.permissions().mode() & 0o100 != 0;
                    let digest = cache.digest(&full)?;
                    self.entries.push(Entry {
                        path,
                        digest,
                        executable,
                    });
                }
                Some(_) => return refuse("it is neither a file nor a folder"),
            }
        }
        Ok(())
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

    /// Reads an encoded listing. `None` where it is none.
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
        Some(Self { entries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        ] {
            assert_eq!(Tree::decode(bad), None);
        }
    }
}
