//! `pipeline.lock`: what each stage last read and wrote. Kept in git, so written sorted, one block a
//! stage, without clock or host, and only when something changed.
//!
//! Writing it anew after each of many short stages would cost more than the stages, so what is new
//! is written a few times a second and at the end. A run that is killed in between loses nothing:
//! the build records of the store say the same.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{ExecuteError, KeyParts, hold};
use crate::artifact::{Artifact, Digest};
use crate::fs;
use crate::yaml;

/// The form of the file; another form gets another number.
const VERSION: u32 = 1;

const HEADER: &str =
    "# What each stage last read and wrote. Written by krammerti; keep it in git.\n";

/// How long what is new may wait to be written, and how much longer than writing takes.
const PATIENCE: Duration = Duration::from_millis(200);
const SHARE: u32 = 20;

/// What a stage last read and wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    cmd: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wdir: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tool: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    params: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    env: BTreeMap<String, Option<Digest>>,
    /// Input path → what it read there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) read: BTreeMap<String, Artifact>,
    /// Output path → what it wrote there.
    pub(super) wrote: BTreeMap<String, Artifact>,
}

impl Entry {
    pub(super) fn new(parts: &KeyParts, wrote: BTreeMap<String, Artifact>) -> Self {
        let cmd = shlex::try_join(parts.cmd.iter().map(String::as_str))
            .unwrap_or_else(|_| parts.cmd.join(" "));
        Self {
            cmd,
            wdir: parts.wdir.clone(),
            tool: parts.tool.clone(),
            params: parts.params.clone(),
            env: parts.env.clone(),
            read: parts.inputs.clone(),
            wrote,
        }
    }

    /// What decided that run. The output paths are those of `wrote`.
    pub(super) fn key_parts(&self) -> KeyParts {
        KeyParts {
            cmd: shlex::split(&self.cmd).unwrap_or_default(),
            wdir: self.wdir.clone(),
            tool: self.tool.clone(),
            inputs: self.read.clone(),
            params: self.params.clone(),
            env: self.env.clone(),
            outputs: self.wrote.keys().cloned().collect(),
        }
    }
}

/// The lock of a project, as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    pub(super) stages: BTreeMap<String, Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    version: u32,
    stages: BTreeMap<String, Entry>,
}

/// A lock that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Not readable at all.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is of another version of krammerti.
    #[error("{}: expected version {VERSION}, found {found}", .file.display())]
    Version {
        /// The file.
        file: PathBuf,
        /// Its version.
        found: u32,
    },
    /// Not a lock, or with the marks of a git conflict.
    #[error("{}: {message}", .file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        message: String,
    },
}

/// The error of a lock that says another version, whatever else it says.
fn other_version(file: &Path, text: &str) -> Option<LockError> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let found = yaml::parse::<Version>(text).ok()?.version;
    (found != VERSION).then(|| LockError::Version {
        file: file.to_owned(),
        found,
    })
}

impl Lock {
    /// Whether a stage has run.
    pub fn knows(&self, stage: &str) -> bool {
        self.stages.contains_key(stage)
    }

    /// Reads the lock of a project; a missing one is empty.
    pub fn load(file: &Path) -> Result<Self, LockError> {
        match fs::read_if_exists(file)? {
            None => Ok(Self::default()),
            Some(text) => Self::parse(file, &text),
        }
    }

    /// Reads a lock from its text.
    pub fn parse(file: &Path, text: &str) -> Result<Self, LockError> {
        let syntax = |message: String| LockError::Syntax {
            file: file.to_owned(),
            message,
        };
        let content: Content = match yaml::parse(text) {
            Ok(content) => content,
            // One of a later krammerti may have any shape, and needs other advice.
            Err(message) => return Err(other_version(file, text).unwrap_or(syntax(message))),
        };
        if content.version != VERSION {
            return Err(LockError::Version {
                file: file.to_owned(),
                found: content.version,
            });
        }
        Ok(Self {
            stages: content.stages,
        })
    }

    /// What each stage wrote: stage, path, and what was there; sorted.
    pub fn outputs(&self) -> impl Iterator<Item = (&str, &str, Artifact)> {
        self.stages.iter().flat_map(|(stage, entry)| {
            let wrote = entry.wrote.iter();
            wrote.map(move |(path, &artifact)| (stage.as_str(), path.as_str(), artifact))
        })
    }

    /// The files of the parameters that stages read, sorted.
    pub fn param_files(&self) -> BTreeSet<&str> {
        let names = self.stages.values().flat_map(|entry| entry.params.keys());
        names
            .filter_map(|name| name.split_once(':').map(|(file, _)| file))
            .collect()
    }

    /// The text of the file.
    pub fn render(&self) -> Result<String, LockError> {
        let content = Content {
            version: VERSION,
            stages: self.stages.clone(),
        };
        match serde_yaml::to_string(&content) {
            Ok(yaml) => Ok(format!("{HEADER}{yaml}")),
            Err(error) => Err(LockError::Syntax {
                file: PathBuf::from("pipeline.lock"),
                message: error.to_string(),
            }),
        }
    }
}

/// The lock of a project while stages run: shared by the workers of this run, and with other runs.
pub(super) struct SharedLock {
    file: PathBuf,
    /// Where kernel locks are.
    holds: PathBuf,
    state: Mutex<State>,
}

struct State {
    /// As in the file, with what is new.
    lock: Lock,
    /// What the file does not have yet.
    new: BTreeMap<String, Option<Entry>>,
    /// The file as it was read or written.
    seen: Option<Stamp>,
    written: Instant,
    patience: Duration,
}

/// Tells whether a file was replaced: inode, size and times.
type Stamp = (u64, u64, i64, i64, i64, i64);

fn stamp(file: &Path) -> io::Result<Option<Stamp>> {
    Ok(fs::stat(file)?.map(|m| {
        let (mtime, ctime) = ((m.mtime(), m.mtime_nsec()), (m.ctime(), m.ctime_nsec()));
        (m.ino(), m.size(), mtime.0, mtime.1, ctime.0, ctime.1)
    }))
}

impl SharedLock {
    pub(super) fn open(file: &Path, holds: &Path) -> Result<Self, LockError> {
        // Taken before the reading: what comes later is then seen as a change.
        let seen = stamp(file)?;
        let state = State {
            lock: Lock::load(file)?,
            new: BTreeMap::new(),
            seen,
            written: Instant::now(),
            patience: PATIENCE,
        };
        Ok(Self {
            file: file.to_owned(),
            holds: holds.to_owned(),
            state: Mutex::new(state),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves it whole: nothing in here panics half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, stage: &str) -> Option<Entry> {
        self.state().lock.stages.get(stage).cloned()
    }

    /// The entries of stages by name.
    pub(super) fn entries_where(&self, wanted: impl Fn(&str) -> bool) -> Vec<(String, Entry)> {
        let state = self.state();
        let wanted = state.lock.stages.iter().filter(|(name, _)| wanted(name));
        wanted
            .map(|(name, entry)| (name.clone(), entry.clone()))
            .collect()
    }

    /// All of it, as it is now.
    pub(super) fn snapshot(&self) -> Lock {
        self.state().lock.clone()
    }

    /// Reads again what another run may have written.
    pub(super) fn refresh(&self) -> Result<(), LockError> {
        self.state().refresh(&self.file)
    }

    /// Sets or removes the entry of a stage; written at the next [`SharedLock::flush`], for which it
    /// may be time now.
    #[must_use]
    pub(super) fn set(&self, stage: &str, entry: Option<Entry>) -> bool {
        let mut state = self.state();
        if state.lock.stages.get(stage) == entry.as_ref() {
            return false;
        }
        apply(&mut state.lock, stage, entry.as_ref());
        state.new.insert(stage.to_owned(), entry);
        state.written.elapsed() >= state.patience
    }

    /// Writes what is new, after `before`, which is to bring to the disk what it speaks of.
    pub(super) fn flush(
        &self,
        before: impl FnOnce() -> io::Result<()>,
    ) -> Result<(), ExecuteError> {
        let begun = Instant::now();
        let mut state = self.state();
        if state.new.is_empty() {
            return Ok(());
        }
        before()?;
        let _held = hold::hold(&self.holds, "pipeline.lock", || Ok(()))?;
        state.refresh(&self.file)?;
        let text = state.lock.render()?;
        fs::write_atomic(&self.file, text.as_bytes())?;
        state.seen = stamp(&self.file)?;
        state.new.clear();
        state.written = Instant::now();
        state.patience = PATIENCE.max(begun.elapsed() * SHARE);
        Ok(())
    }
}

impl State {
    fn refresh(&mut self, file: &Path) -> Result<(), LockError> {
        let now = stamp(file)?;
        if now == self.seen {
            return Ok(());
        }
        self.lock = Lock::load(file)?;
        self.seen = now;
        for (stage, entry) in &self.new {
            apply(&mut self.lock, stage, entry.as_ref());
        }
        Ok(())
    }
}

fn apply(lock: &mut Lock, stage: &str, entry: Option<&Entry>) {
    match entry {
        Some(entry) => lock.stages.insert(stage.to_owned(), entry.clone()),
        None => lock.stages.remove(stage),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::Kind;

    fn parts() -> KeyParts {
        let artifact = Artifact {
            kind: Kind::File,
            digest: Digest::of(b"x"),
        };
        KeyParts {
            cmd: vec!["cp".into(), "a b".into(), String::new()],
            wdir: Some("sub".into()),
            tool: Some("krammerti 0.1.0".into()),
            inputs: [("a b".to_owned(), artifact)].into(),
            params: [("params.yaml:x".to_owned(), "[1,\"two\"]".to_owned())].into(),
            env: [
                ("UNSET".to_owned(), None),
                ("SET".to_owned(), Some(artifact.digest)),
            ]
            .into(),
            outputs: ["c".to_owned()].into(),
        }
    }

    fn entry() -> Entry {
        let wrote = parts().inputs.into_values().next().unwrap();
        Entry::new(&parts(), [("c".to_owned(), wrote)].into())
    }

    #[test]
    fn a_lock_reads_as_it_was_written() {
        let lock = Lock {
            stages: [("copy".to_owned(), entry())].into(),
        };
        let text = lock.render().unwrap();
        let again = Lock::parse(Path::new("pipeline.lock"), &text).unwrap();
        assert_eq!(again, lock);
        assert_eq!(again.stages["copy"].key_parts(), parts());
    }

    #[test]
    fn two_runs_do_not_lose_what_the_other_wrote() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pipeline.lock");
        let open = || SharedLock::open(&file, &folder.path().join("locks")).unwrap();
        let (one, other) = (open(), open());
        assert!(
            !one.set("a", Some(entry())),
            "a single change waits a little"
        );
        assert!(!other.set("b", Some(entry())));
        let _ = other.set("gone", Some(entry()));
        let _ = other.set("gone", None);
        assert!(!fs::exists(&file));
        one.flush(|| Ok(())).unwrap();
        other.flush(|| Ok(())).unwrap();
        let names: Vec<String> = Lock::load(&file).unwrap().stages.into_keys().collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(one.get("b"), None);
        one.refresh().unwrap();
        assert_eq!(one.get("b"), Some(entry()));
    }

    #[test]
    fn conflict_marks_are_an_error_with_a_line() {
        let text = "version: 1\nstages:\n<<<<<<< ours\n  a: {}\n";
        let error = Lock::parse(Path::new("pipeline.lock"), text).unwrap_err();
        let message = error.to_string();
        assert!(
            message.contains("pipeline.lock") && message.contains("line"),
            "{message}"
        );
    }
}
