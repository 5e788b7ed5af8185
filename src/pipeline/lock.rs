//! `pipeline.lock`: what each stage last read and wrote. Kept in git, so written sorted, one block a
//! stage, without clock or host, and only when something changed.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::KeyParts;
use crate::artifact::Artifact;
use crate::fs;

const HEADER: &str =
    "# What each stage last read and wrote. Written by krammerti; keep it in git.\n";

/// What a stage last read and wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    #[serde(flatten)]
    pub(super) parts: KeyPartsInLock,
    /// Output path → what it wrote there.
    pub(super) wrote: BTreeMap<String, Artifact>,
}

/// The parts of the key, without the output paths, which `wrote` has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeyPartsInLock {
    cmd: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tool: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    params: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    read: BTreeMap<String, Artifact>,
}

impl Entry {
    pub(super) fn new(parts: &KeyParts, wrote: BTreeMap<String, Artifact>) -> Self {
        let cmd = shlex::try_join(parts.cmd.iter().map(String::as_str))
            .unwrap_or_else(|_| parts.cmd.join(" "));
        let (tool, params, read) = (
            parts.tool.clone(),
            parts.params.clone(),
            parts.inputs.clone(),
        );
        Self {
            parts: KeyPartsInLock {
                cmd,
                tool,
                params,
                read,
            },
            wrote,
        }
    }

    /// What decided that run.
    pub(super) fn key_parts(&self) -> KeyParts {
        KeyParts {
            cmd: shlex::split(&self.parts.cmd).unwrap_or_default(),
            tool: self.parts.tool.clone(),
            inputs: self.parts.read.clone(),
            params: self.parts.params.clone(),
            outputs: self.wrote.keys().cloned().collect(),
        }
    }
}

/// The lock of a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    file: PathBuf,
    stages: BTreeMap<String, Entry>,
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
    /// Not a lock, or one of another version of krammerti, or with the marks of a git conflict.
    #[error("{}: {message}", .file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        message: String,
    },
}

impl Lock {
    /// Reads the lock; a missing one is empty.
    pub(super) fn load(file: &Path) -> Result<Self, LockError> {
        match fs::read_if_exists(file)? {
            None => Ok(Self {
                file: file.to_owned(),
                stages: BTreeMap::new(),
            }),
            Some(text) => Self::parse(file, &text),
        }
    }

    /// Reads a lock from its text.
    pub fn parse(file: &Path, text: &str) -> Result<Self, LockError> {
        let syntax = |message: String| LockError::Syntax {
            file: file.to_owned(),
            message,
        };
        let content: Content =
            serde_yaml::from_str(text).map_err(|error| syntax(error.to_string()))?;
        if content.version != 1 {
            return Err(syntax(format!(
                "expected version 1, found {}",
                content.version
            )));
        }
        Ok(Self {
            file: file.to_owned(),
            stages: content.stages,
        })
    }

    pub(super) fn get(&self, stage: &str) -> Option<&Entry> {
        self.stages.get(stage)
    }

    /// Sets or removes the entry of a stage, on top of what another run wrote meanwhile.
    pub(super) fn update(&mut self, stage: &str, entry: Option<Entry>) -> Result<(), LockError> {
        if self.stages.get(stage) == entry.as_ref() {
            return Ok(());
        }
        *self = Self::load(&self.file)?;
        match entry {
            Some(entry) => self.stages.insert(stage.to_owned(), entry),
            None => self.stages.remove(stage),
        };
        let content = Content {
            version: 1,
            stages: self.stages.clone(),
        };
        let yaml = serde_yaml::to_string(&content).map_err(|error| LockError::Syntax {
            file: self.file.clone(),
            message: error.to_string(),
        })?;
        Ok(fs::write_atomic(
            &self.file,
            format!("{HEADER}{yaml}").as_bytes(),
        )?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::{Digest, Kind};

    #[test]
    fn a_lock_reads_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pipeline.lock");
        let artifact = Artifact {
            kind: Kind::File,
            digest: Digest::of(b"x"),
        };
        let parts = KeyParts {
            cmd: vec!["cp".into(), "a b".into(), String::new()],
            tool: Some("krammerti 0.1.0".into()),
            inputs: [("a b".to_owned(), artifact)].into(),
            params: [("params.yaml:x".to_owned(), "[1,\"two\"]".to_owned())].into(),
            outputs: ["c".to_owned()].into(),
        };
        let mut lock = Lock::load(&file).unwrap();
        lock.update(
            "copy",
            Some(Entry::new(&parts, [("c".to_owned(), artifact)].into())),
        )
        .unwrap();
        let again = Lock::load(&file).unwrap();
        assert_eq!(again, lock);
        assert_eq!(again.get("copy").map(Entry::key_parts), Some(parts));
        lock.update("copy", None).unwrap();
        assert_eq!(Lock::load(&file).unwrap().get("copy"), None);
    }

    #[test]
    fn conflict_marks_are_an_error_with_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pipeline.lock");
        fs::write_atomic(&file, b"version: 1\nstages:\n<<<<<<< ours\n  a: {}\n").unwrap();
        let message = Lock::load(&file).unwrap_err().to_string();
        assert!(
            message.contains("pipeline.lock") && message.contains("line"),
            "{message}"
        );
    }
}
