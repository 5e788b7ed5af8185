//! The key of a stage: a hash of everything that decides its result, and why a key differs.
//!
//! # Design
//! Two runs with equal keys may share their outputs, so a key must hold all that a command can see
//! of its declared world, and no two different worlds may encode to the same bytes. Every field is
//! written as a tag, its length and its bytes, and every list with its length, so swapped names,
//! moved word boundaries, or an empty against a missing value give other bytes by construction.
//! Order counts where it counts to the command (its words) and not where it does not (inputs are
//! sorted by path, with the path beside the digest).
//!
//! Not in the key: the clock, the host, the absolute place of the project, comments and spacing of
//! `pipeline.yaml`, and how upstream outputs were made: only their digests are, so an upstream stage
//! that runs again and gives equal bytes leaves everything after it fresh.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Stage;
use crate::artifact::{Artifact, Digest};
use crate::time::Span;

/// Changes when the encoding does; old keys are then unknown rather than wrong.
const SCHEMA: &str = "krammerti key 2";

/// Everything that decides a stage's result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyParts {
    /// The words of the command in order.
    pub cmd: Vec<String>,
    /// The folder that it runs in, where that is not the root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wdir: Option<String>,
    /// The version of the tool, where the tool is krammerti itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// What it reads, by path.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, Artifact>,
    /// Parameters by file and dotted path, as canonical JSON.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, String>,
    /// Environment variables by name, as digests of their values; one that is not set has none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, Option<Digest>>,
    /// The paths it writes.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub outputs: BTreeSet<String>,
}

impl KeyParts {
    /// The parts of a stage whose inputs and environment are known.
    pub fn of(
        stage: &Stage,
        inputs: BTreeMap<String, Artifact>,
        env: BTreeMap<String, Option<Digest>>,
    ) -> Self {
        Self {
            cmd: stage.command.words.clone(),
            wdir: stage.command.wdir.as_ref().map(ToString::to_string),
            tool: stage
                .command
                .builtin
                .then(|| concat!("krammerti ", env!("CARGO_PKG_VERSION")).to_owned()),
            inputs,
            params: stage.params.clone(),
            env,
            outputs: stage.outputs.iter().map(ToString::to_string).collect(),
        }
    }

    /// The key.
    pub fn key(&self) -> Digest {
        let mut encoder = Encoder::default();
        encoder.text(b's', SCHEMA);
        encoder.count(b'c', self.cmd.len());
        for word in &self.cmd {
            encoder.text(b'w', word);
        }
        encoder.option(b'f', self.wdir.as_deref());
        encoder.option(b't', self.tool.as_deref());
        encoder.count(b'i', self.inputs.len());
        for (path, artifact) in &self.inputs {
            encoder.text(b'n', path);
            encoder.text(b'd', &artifact.to_string());
        }
        encoder.count(b'p', self.params.len());
        for (name, value) in &self.params {
            encoder.text(b'k', name);
            encoder.text(b'v', value);
        }
        encoder.count(b'e', self.env.len());
        for (name, value) in &self.env {
            encoder.text(b'n', name);
            encoder.option(b'd', value.map(|value| value.to_string()).as_deref());
        }
        encoder.count(b'o', self.outputs.len());
        for path in &self.outputs {
            encoder.text(b'n', path);
        }
        Digest::of(&encoder.bytes)
    }
}

/// A digest of parameters, by which a child tells whether it sees those of its key.
pub fn params_digest(params: &BTreeMap<String, String>) -> Digest {
    let mut encoder = Encoder::default();
    for (name, value) in params {
        encoder.text(b'k', name);
        encoder.text(b'v', value);
    }
    Digest::of(&encoder.bytes)
}

/// Writes typed, length-prefixed fields.
#[derive(Default)]
struct Encoder {
    bytes: Vec<u8>,
}

impl Encoder {
    fn count(&mut self, tag: u8, count: usize) {
        self.bytes.push(tag);
        self.bytes.extend_from_slice(&(count as u64).to_le_bytes());
    }

    fn text(&mut self, tag: u8, text: &str) {
        self.count(tag, text.len());
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// A missing text differs from an empty one.
    fn option(&mut self, tag: u8, text: Option<&str>) {
        self.count(tag, usize::from(text.is_some()));
        if let Some(text) = text {
            self.text(b'v', text);
        }
    }
}

/// What became of one of several things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was not there.
    Added,
    /// It is no more.
    Removed,
    /// It is another one.
    Changed,
}

impl Change {
    pub(super) fn between<T>(old: Option<&T>, new: Option<&T>) -> Self {
        match (old, new) {
            (None, _) => Self::Added,
            (_, None) => Self::Removed,
            _ => Self::Changed,
        }
    }
}

/// Why a stage must run (or come back from the store).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StaleReason {
    /// Somebody asked for it.
    Forced,
    /// `pipeline.yaml` says that it always runs.
    Always,
    /// Its result is older than `fresh_for`.
    TooOld {
        /// How old, where that is known.
        age: Option<Duration>,
        /// How old it may be.
        limit: Duration,
    },
    /// Nothing is known of an earlier run.
    NeverRan,
    /// Its last result is recorded nowhere.
    Tainted,
    /// The command is another one.
    Command {
        /// Its words then.
        old: Vec<String>,
        /// Now.
        new: Vec<String>,
    },
    /// It runs in another folder.
    Wdir,
    /// Krammerti itself is another one.
    Tool {
        /// Then.
        old: Option<String>,
        /// Now.
        new: Option<String>,
    },
    /// An input has other content, or was not an input before, or is none any more.
    Input {
        /// Its path.
        path: String,
        /// Then.
        old: Option<Artifact>,
        /// Now.
        new: Option<Artifact>,
        /// What is other in a folder, as far as that is known: a file and what became of it.
        files: Vec<(String, Change)>,
    },
    /// An environment variable has another value. Values are not told: they may be secret.
    Env {
        /// Its name.
        name: String,
        /// What became of it.
        change: Change,
    },
    /// A parameter has another value.
    Param {
        /// File and dotted path.
        name: String,
        /// Then.
        old: Option<String>,
        /// Now.
        new: Option<String>,
    },
    /// It writes to other places.
    Outputs,
    /// An output is not there.
    OutputMissing {
        /// Its path.
        path: String,
    },
    /// An output is not what the stage wrote.
    OutputChanged {
        /// Its path.
        path: String,
    },
}

impl StaleReason {
    /// Every difference between what decided an earlier run and what would decide this one.
    pub fn between(old: &KeyParts, new: &KeyParts) -> Vec<Self> {
        let mut reasons = Vec::new();
        if old.cmd != new.cmd {
            reasons.push(Self::Command {
                old: old.cmd.clone(),
                new: new.cmd.clone(),
            });
        }
        if old.wdir != new.wdir {
            reasons.push(Self::Wdir);
        }
        if old.tool != new.tool {
            reasons.push(Self::Tool {
                old: old.tool.clone(),
                new: new.tool.clone(),
            });
        }
        for (path, old, new) in differences(&old.inputs, &new.inputs) {
            reasons.push(Self::Input {
                path,
                old,
                new,
                files: Vec::new(),
            });
        }
        for (name, old, new) in differences(&old.env, &new.env) {
            let (old, new) = (old.flatten(), new.flatten());
            let change = Change::between(old.as_ref(), new.as_ref());
            reasons.push(Self::Env { name, change });
        }
        for (name, old, new) in differences(&old.params, &new.params) {
            reasons.push(Self::Param { name, old, new });
        }
        if old.outputs != new.outputs {
            reasons.push(Self::Outputs);
        }
        reasons
    }
}

/// What two maps do not have in common: the name, and what each has under it.
pub fn differences<V: Clone + PartialEq>(
    old: &BTreeMap<String, V>,
    new: &BTreeMap<String, V>,
) -> Vec<(String, Option<V>, Option<V>)> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    names
        .into_iter()
        .filter(|name| old.get(*name) != new.get(*name))
        .map(|name| (name.clone(), old.get(name).cloned(), new.get(name).cloned()))
        .collect()
}

impl fmt::Display for StaleReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_unset = |value: &Option<String>| value.clone().unwrap_or_else(|| "unset".to_owned());
        match self {
            Self::Forced => write!(f, "forced"),
            Self::Always => write!(f, "it always runs"),
            Self::TooOld { age, limit } => match age {
                Some(age) => write!(
                    f,
                    "its result is {} old, and holds for {}",
                    Span::from(*age),
                    Span::from(*limit)
                ),
                None => write!(f, "the age of its result is not known"),
            },
            Self::Wdir => write!(f, "it runs in another folder"),
            Self::NeverRan => write!(f, "it has not run yet"),
            Self::Tainted => write!(f, "what it read changed while it last ran"),
            Self::Command { old, new } => {
                write!(f, "its command changed")?;
                tell_words(f, old, new)
            }
            Self::Tool { old, new } => write!(
                f,
                "the tool changed from {} to {}",
                or_unset(old),
                or_unset(new)
            ),
            Self::Input {
                path,
                old: Some(_),
                new: Some(_),
                files,
            } => {
                write!(f, "{path} changed")?;
                tell_files(f, files)
            }
            Self::Input {
                path, old: None, ..
            } => write!(f, "{path} is a new input"),
            Self::Input {
                path, new: None, ..
            } => write!(f, "{path} is no input any more"),
            Self::Env { name, change } => match change {
                Change::Added => write!(f, "${name} is set now"),
                Change::Removed => write!(f, "${name} is not set any more"),
                Change::Changed => write!(f, "${name} changed"),
            },
            Self::Param { name, old, new } => {
                let name = name.strip_prefix("params.yaml:").unwrap_or(name);
                write!(
                    f,
                    "{name} changed from {} to {}",
                    or_unset(old),
                    or_unset(new)
                )
            }
            Self::Outputs => write!(f, "it writes to other places"),
            Self::OutputMissing { path } => write!(f, "{path} is missing"),
            Self::OutputChanged { path } => write!(f, "{path} was changed by something else"),
        }
    }
}

/// What differs between two commands, where that is short.
fn tell_words(f: &mut fmt::Formatter<'_>, old: &[String], new: &[String]) -> fmt::Result {
    const SHORT: usize = 40;
    // A line for the shell is one word of its command.
    let words = |words: &[String]| -> Vec<String> {
        let all = words.iter().flat_map(|word| word.split_whitespace());
        all.map(str::to_owned).collect()
    };
    let (old, new) = (words(old), words(new));
    let same = |pairs: &mut dyn Iterator<Item = (&String, &String)>| {
        pairs.take_while(|(old, new)| old == new).count()
    };
    let before = same(&mut old.iter().zip(&new));
    let (old, new) = (&old[before..], &new[before..]);
    let after = same(&mut old.iter().rev().zip(new.iter().rev()));
    let old = old[..old.len() - after].join(" ");
    let new = new[..new.len() - after].join(" ");
    if old.chars().count() > SHORT || new.chars().count() > SHORT {
        return Ok(());
    }
    match (old.as_str(), new.as_str()) {
        ("", "") => Ok(()),
        ("", new) => write!(f, ": `{new}` is new"),
        (old, "") => write!(f, ": `{old}` is gone"),
        (old, new) => write!(f, " from `{old}` to `{new}`"),
    }
}

/// The first few files by name, the rest by number.
fn tell_files(f: &mut fmt::Formatter<'_>, files: &[(String, Change)]) -> fmt::Result {
    const TOLD: usize = 5;
    for (i, (file, change)) in files.iter().take(TOLD).enumerate() {
        let before = if i == 0 { ":" } else { "," };
        let what = match change {
            Change::Added => "is new",
            Change::Removed => "is gone",
            Change::Changed => "changed",
        };
        write!(f, "{before} {file} {what}")?;
    }
    match files.len().saturating_sub(TOLD) {
        0 => Ok(()),
        more => write!(f, " and {more} more"),
    }
}

#[cfg(test)]
mod tests;
