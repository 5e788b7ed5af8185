//! What git has of the project: revisions, and files as they were then.
//!
//! git runs as a process of its own, without a shell, and is only asked for what its plumbing
//! commands tell. A name that a person typed is resolved first, behind `--end-of-options`, so that it
//! can never be taken for an option; from then on only the hash is used.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::fs;

/// Why git could not tell.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// It is not installed, perhaps.
    #[error("cannot start git: {0}")]
    Start(io::Error),
    /// The project is in no repository, or in one that git refuses.
    #[error("git finds no repository around {}: {said}", .root.display())]
    NoRepository {
        /// The project.
        root: PathBuf,
        /// What it said.
        said: String,
    },
    /// git does not read what belongs to another user.
    #[error("git refuses the repository {place}: it is another user's")]
    OfAnother {
        /// The repository.
        place: String,
    },
    /// A name that stands for no commit.
    #[error("git knows no revision `{name}`")]
    NoRevision {
        /// As asked for.
        name: String,
    },
    /// Something else went wrong.
    #[error("git failed: {said}")]
    Failed {
        /// What it said.
        said: String,
    },
}

/// The repository around a project.
pub(super) struct Repository {
    root: PathBuf,
    /// Where the project is in it: empty, or a path with `/` at its end.
    prefix: Vec<u8>,
}

/// A commit, and what the person called it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Revision {
    pub(super) name: String,
    pub(super) commit: String,
}

impl Repository {
    /// Finds the repository around a project.
    pub(super) fn around(root: &Path) -> Result<Self, GitError> {
        let mut repository = Self {
            root: root.to_owned(),
            prefix: Vec::new(),
        };
        let output = repository.git(&["rev-parse", "--show-prefix"].map(OsStr::new))?;
        if !output.status.success() {
            let said = said(&output);
            return Err(match of_another(&said) {
                Some(place) => GitError::OfAnother { place },
                None => GitError::NoRepository {
                    root: root.to_owned(),
                    said,
                },
            });
        }
        repository.prefix = line(output.stdout);
        Ok(repository)
    }

    /// The commit that a name stands for.
    pub(super) fn revision(&self, name: &str) -> Result<Revision, GitError> {
        let unknown = || GitError::NoRevision {
            name: name.to_owned(),
        };
        let object = match self.resolve(OsStr::new(name)) {
            // About some names it has more to say, such as `HEAD@{9}`.
            Err(GitError::Failed { .. }) => None,
            object => object?,
        };
        let object = object.ok_or_else(unknown)?;
        let commit = self.resolve(OsStr::new(&format!("{object}^{{commit}}")))?;
        Ok(Revision {
            name: name.to_owned(),
            commit: commit.ok_or_else(unknown)?,
        })
    }

    /// Where a file is in the repository, by its path from the project; `None` where it is outside.
    /// git itself makes no such path plain.
    pub(super) fn place(&self, path: &str) -> Option<PathBuf> {
        let prefix = Path::new(OsStr::from_bytes(&self.prefix));
        let path = if path.starts_with('/') {
            let top = self.root.ancestors().nth(prefix.components().count())?;
            Path::new(path).strip_prefix(top).ok()?.to_owned()
        } else {
            prefix.join(path)
        };
        let place = fs::plain(&path);
        (!place.starts_with("..")).then_some(place)
    }

    /// A file as it was, by its path from the project; `None` where there was none.
    pub(super) fn file(
        &self,
        revision: &Revision,
        path: &str,
    ) -> Result<Option<Vec<u8>>, GitError> {
        let Some(place) = self.place(path) else {
            return Ok(None);
        };
        let mut name = format!("{}:", revision.commit).into_bytes();
        name.extend(place.as_os_str().as_bytes());
        let Some(object) = self.resolve(&OsString::from_vec(name))? else {
            return Ok(None);
        };
        let output = self.git(&["cat-file", "blob", &object].map(OsStr::new))?;
        if output.status.success() {
            Ok(Some(output.stdout))
        } else {
            Err(GitError::Failed {
                said: said(&output),
            })
        }
    }

    /// The hash of what a name stands for.
    fn resolve(&self, name: &OsStr) -> Result<Option<String>, GitError> {
        let options = ["rev-parse", "--verify", "--quiet", "--end-of-options"];
        let words: Vec<&OsStr> = options.map(OsStr::new).into_iter().chain([name]).collect();
        let output = self.git(&words)?;
        match output.status.code() {
            Some(0) => Ok(Some(
                String::from_utf8_lossy(&line(output.stdout)).into_owned(),
            )),
            // It is quiet about a name that it does not know, and about nothing else.
            Some(_) if output.stderr.is_empty() => Ok(None),
            _ => Err(GitError::Failed {
                said: said(&output),
            }),
        }
    }

    fn git(&self, words: &[&OsStr]) -> Result<Output, GitError> {
        Command::new("git")
            .arg("-C")
            .arg(&self.root)
            .args(words)
            .env("GIT_OPTIONAL_LOCKS", "0")
            .stdin(Stdio::null())
            .output()
            .map_err(GitError::Start)
    }
}

/// A line without its end.
fn line(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    bytes
}

/// The first line of what git said went wrong.
fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let first = text.lines().next().unwrap_or_default();
    let first = first.strip_prefix("fatal: ").unwrap_or(first);
    match first {
        "" => output.status.to_string(),
        first => first.to_owned(),
    }
}

/// The repository that git refuses because it is another user's, in the words of git.
fn of_another(said: &str) -> Option<String> {
    let (_, place) = said.split_once("dubious ownership in repository at ")?;
    Some(place.trim().trim_matches('\'').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn git(folder: &Path, words: &[&str]) {
        let done = Command::new("git")
            .arg("-C")
            .arg(folder)
            .args(["-c", "user.name=a", "-c", "user.email=a@b"])
            .args(words)
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", said(&done));
    }

    #[test]
    fn files_as_they_were_in_a_project_in_a_subfolder() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("sub folder");
        fs::write_atomic(&root.join("a"), b"one").unwrap();
        git(folder.path(), &["init", "-q"]);
        let unborn = Repository::around(&root).unwrap();
        assert!(matches!(
            unborn.revision("HEAD"),
            Err(GitError::NoRevision { .. })
        ));
        git(folder.path(), &["add", "."]);
        git(folder.path(), &["commit", "-qm", "x"]);
        git(folder.path(), &["tag", "-am", "annotated", "first"]);
        fs::write_atomic(&root.join("a"), b"two").unwrap();

        let repository = Repository::around(&root).unwrap();
        let head = repository.revision("HEAD").unwrap();
        assert_eq!(repository.revision("first").unwrap().commit, head.commit);
        assert_eq!(
            repository.file(&head, "a").unwrap().as_deref(),
            Some(&b"one"[..])
        );
        assert_eq!(repository.file(&head, "b").unwrap(), None);
        let odd = ["--git-dir", "-q", "--all", "", "HEAD:a", "HEAD@{9}", "a\nb"];
        for name in odd.into_iter().chain(["HEAD~1", "nowhere"]) {
            let error = repository.revision(name).unwrap_err();
            assert!(
                matches!(error, GitError::NoRevision { .. }),
                "{name}: {error}"
            );
        }
    }

    #[test]
    fn a_repository_of_another_user_is_known_by_the_words_of_git() {
        let said = "detected dubious ownership in repository at '/srv/a project'";
        assert_eq!(of_another(said).as_deref(), Some("/srv/a project"));
        assert_eq!(of_another("not a git repository"), None);
    }

    #[test]
    fn files_beside_the_project_and_outside_of_the_repository() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().canonicalize().unwrap().join("top");
        let root = top.join("sub/own");
        fs::write_atomic(&root.join("a"), b"own").unwrap();
        fs::write_atomic(&top.join("shared"), b"shared").unwrap();
        fs::write_atomic(&folder.path().join("outside"), b"x").unwrap();
        git(&top, &["init", "-q"]);
        git(&top, &["add", "."]);
        git(&top, &["commit", "-qm", "x"]);
        let repository = Repository::around(&root).unwrap();
        let head = repository.revision("HEAD").unwrap();
        let file = |path: &str| repository.file(&head, path).unwrap();
        let absolute = top.join("shared");
        for path in ["../../shared", absolute.to_str().unwrap()] {
            assert_eq!(file(path).as_deref(), Some(&b"shared"[..]), "{path}");
        }
        assert_eq!(file("../own/./a").as_deref(), Some(&b"own"[..]));
        let outside = folder.path().canonicalize().unwrap().join("outside");
        for path in ["../../../outside", outside.to_str().unwrap()] {
            assert_eq!(repository.place(path), None, "{path}");
            assert_eq!(file(path), None, "{path}");
        }
    }

    #[test]
    fn a_folder_without_a_repository() {
        let folder = tempfile::tempdir().unwrap();
        let error = Repository::around(folder.path()).err().unwrap();
        assert!(matches!(error, GitError::NoRepository { .. }), "{error}");
    }
}
