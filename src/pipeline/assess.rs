//! What is to be done for a stage, and why.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::journal::now;
use super::key::Change;
use super::lock::Entry;
use super::{ExecuteError, KeyParts, ProjectPath, Stage, StaleReason, Workspace};
use crate::artifact::{Artifact, Digest, Kind, Record, Tree};

/// What a stage can be, seen from its inputs and outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing changed.
    Fresh,
    /// It never runs, and its outputs are there.
    Frozen,
    /// The result is in the store.
    Restorable {
        /// Why the workspace does not have it.
        reasons: Vec<StaleReason>,
        /// What it is.
        record: Record,
    },
    /// It must run.
    Stale {
        /// Why.
        reasons: Vec<StaleReason>,
    },
}

/// A stage with its key and state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assessment {
    /// What decides its result.
    pub parts: KeyParts,
    /// The hash of the parts.
    pub key: Digest,
    /// What lies where it writes.
    pub present: BTreeMap<String, Artifact>,
    /// What is to be done.
    pub state: State,
}

impl Workspace {
    /// What is to be done for a stage, given its inputs as they are now; or as they will be, for
    /// those that are `known` to be restored before.
    pub fn assess(
        &self,
        stage: &Stage,
        known: &BTreeMap<String, Artifact>,
    ) -> Result<Assessment, ExecuteError> {
        if stage.policy.frozen {
            return self.assess_frozen(stage);
        }
        let parts = self.key_parts(stage, known)?;
        let key = parts.key();
        let present = self.present_outputs(stage)?;
        let state = if self.force {
            stale(StaleReason::Forced)
        } else if stage.policy.always {
            stale(StaleReason::Always)
        } else {
            self.compare(stage, &parts, key, &present)
        };
        Ok(Assessment {
            parts,
            key,
            present,
            state,
        })
    }

    fn compare(
        &self,
        stage: &Stage,
        parts: &KeyParts,
        key: Digest,
        present: &BTreeMap<String, Artifact>,
    ) -> State {
        let entry = stage.recorded.then(|| self.lock.get(&stage.name)).flatten();
        let as_locked = entry == Some(Entry::new(parts, present.clone()));
        if as_locked && stage.policy.fresh_for.is_none() {
            return State::Fresh;
        }
        let record = self.store.record(key);
        let stale_reasons = || {
            let reasons = stale_reasons(entry.as_ref(), parts, present);
            match reasons.as_slice() {
                [StaleReason::NeverRan] if !self.tainted(stage).is_empty() => {
                    vec![StaleReason::Tainted]
                }
                _ => reasons,
            }
        };
        if let Some(limit) = stage.policy.fresh_for
            && (as_locked || record.is_some())
            && let Some(reason) = too_old(record.as_ref(), limit)
        {
            let mut reasons = stale_reasons();
            reasons.retain(|_| !as_locked);
            reasons.push(reason);
            return State::Stale { reasons };
        }
        match record {
            _ if as_locked => State::Fresh,
            Some(record) if record.outputs == *present => State::Fresh,
            Some(record) if self.can_restore(stage, &record, present) => State::Restorable {
                reasons: stale_reasons(),
                record,
            },
            _ => State::Stale {
                reasons: stale_reasons(),
            },
        }
    }

    /// Whether the store, or the workspace itself, has all of a result.
    fn can_restore(
        &self,
        stage: &Stage,
        record: &Record,
        present: &BTreeMap<String, Artifact>,
    ) -> bool {
        let paths: BTreeSet<&str> = stage.outputs.iter().map(ProjectPath::as_str).collect();
        record.outputs.keys().map(String::as_str).eq(paths)
            && record.outputs.iter().all(|(path, &artifact)| {
                present.get(path) == Some(&artifact)
                    || (self.store.has(artifact) && !self.is_outdated(artifact))
            })
    }

    /// Whether a folder would not be itself when it came back.
    fn is_outdated(&self, artifact: Artifact) -> bool {
        let tree = (artifact.kind == Kind::Folder).then(|| self.store.tree(artifact.digest));
        tree.is_some_and(|tree| tree.is_ok_and(|tree| tree.is_outdated()))
    }

    /// A frozen stage needs no inputs; what it once wrote counts as it lies.
    fn assess_frozen(&self, stage: &Stage) -> Result<Assessment, ExecuteError> {
        let present = self.present_outputs(stage)?;
        let entry = self.lock.get(&stage.name);
        let parts = entry.as_ref().map_or_else(
            || KeyParts::of(stage, BTreeMap::new(), BTreeMap::new()),
            Entry::key_parts,
        );
        let missing = stage
            .outputs
            .iter()
            .find(|path| !present.contains_key(path.as_str()));
        let state = match (missing, entry) {
            (None, _) => State::Frozen,
            (Some(path), entry) => {
                let record = entry.map(|entry| Record {
                    outputs: entry.wrote,
                    built: None,
                    built_on: BTreeMap::new(),
                    unstored: BTreeSet::new(),
                });
                match record.filter(|record| self.can_restore(stage, record, &present)) {
                    Some(record) => State::Restorable {
                        reasons: vec![StaleReason::OutputMissing {
                            path: path.to_string(),
                        }],
                        record,
                    },
                    None => return Err(ExecuteError::Frozen { path: path.clone() }),
                }
            }
        };
        Ok(Assessment {
            key: parts.key(),
            parts,
            present,
            state,
        })
    }

    /// Adds to reasons what only looking further can tell: which files of a folder changed.
    pub fn explain(&self, mut reasons: Vec<StaleReason>) -> Vec<StaleReason> {
        for reason in &mut reasons {
            if let StaleReason::Input {
                path,
                old: Some(old),
                new: Some(new),
                files,
            } = reason
                && (old.kind, new.kind) == (Kind::Folder, Kind::Folder)
            {
                let before = self.store.tree(old.digest).ok();
                let now = Tree::scan(&self.root.join(path.as_str()), &self.cache).ok();
                if let (Some(before), Some(now)) = (before, now) {
                    *files = changes(&before, &now);
                }
            }
        }
        reasons
    }
}

fn stale(reason: StaleReason) -> State {
    State::Stale {
        reasons: vec![reason],
    }
}

/// Whether a result has outlived its `fresh_for`.
fn too_old(record: Option<&Record>, limit: Duration) -> Option<StaleReason> {
    let age = record
        .and_then(|record| record.built)
        // A clock that was put back must not keep a result fresh for ever.
        .and_then(|built| u64::try_from(now() - built).ok())
        .map(Duration::from_secs);
    age.is_none_or(|age| age >= limit)
        .then_some(StaleReason::TooOld { age, limit })
}

/// The files that differ between two listings of a folder.
fn changes(before: &Tree, now: &Tree) -> Vec<(String, Change)> {
    let by_path = |tree: &Tree| -> BTreeMap<String, (Digest, bool)> {
        let entries = tree.entries.iter();
        entries
            .map(|entry| (entry.path.clone(), (entry.digest, entry.executable)))
            .collect()
    };
    super::key::differences(&by_path(before), &by_path(now))
        .into_iter()
        .map(|(path, old, new)| (path, Change::between(old.as_ref(), new.as_ref())))
        .collect()
}

fn stale_reasons(
    entry: Option<&Entry>,
    parts: &KeyParts,
    present: &BTreeMap<String, Artifact>,
) -> Vec<StaleReason> {
    let Some(entry) = entry else {
        return vec![StaleReason::NeverRan];
    };
    let mut reasons = StaleReason::between(&entry.key_parts(), parts);
    for (path, artifact) in &entry.wrote {
        match present.get(path) {
            None => reasons.push(StaleReason::OutputMissing { path: path.clone() }),
            Some(found) if found != artifact => {
                reasons.push(StaleReason::OutputChanged { path: path.clone() });
            }
            Some(_) => {}
        }
    }
    reasons
}
