//! Looks whether the store still holds what it says.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;
use serde::Serialize;

use super::{ExecuteError, Pipeline, Workspace};
use crate::artifact::{Digest, Kind};

/// What is wrong with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Its bytes are others than its name says.
    Damaged,
    /// It is not there, although a stage's outputs need it.
    Missing,
}

/// An object that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Faulty {
    /// What is wrong.
    pub fault: Fault,
    /// The object.
    pub object: Digest,
    /// The outputs that it is a part of, as far as `pipeline.lock` tells: `STAGE: PATH`.
    pub needed_by: Vec<String>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// How many objects were read.
    pub objects: usize,
    /// Their bytes.
    pub bytes: u64,
    /// How many build records were read.
    pub records: usize,
    /// Objects with a fault.
    pub faulty: Vec<Faulty>,
    /// Build records that cannot be read.
    pub bad_records: Vec<Digest>,
}

impl Verified {
    /// Whether all is well.
    pub fn is_sound(&self) -> bool {
        self.faulty.is_empty() && self.bad_records.is_empty()
    }
}

impl Workspace {
    /// Reads all of the store.
    pub fn verify(&self, pipeline: &Pipeline) -> Result<Verified, ExecuteError> {
        let objects = self.store.objects()?;
        let checked: Vec<(Digest, bool)> = objects
            .par_iter()
            // What cannot be read is damaged as well.
            .map(|&(digest, _)| (digest, self.store.check(digest).unwrap_or(false)))
            .collect();
        let needed = self.needed_by(pipeline);
        let there: BTreeSet<Digest> = objects.iter().map(|&(digest, _)| digest).collect();
        let damaged = checked.iter().filter(|(_, sound)| !sound);
        let missing = needed.keys().filter(|digest| !there.contains(digest));
        let faulty = damaged
            .map(|&(digest, _)| (Fault::Damaged, digest))
            .chain(missing.map(|&digest| (Fault::Missing, digest)))
            .map(|(fault, object)| Faulty {
                fault,
                object,
                needed_by: needed.get(&object).cloned().unwrap_or_default(),
            });
        let records = self.store.records()?;
        let bad = records.iter().filter(|(_, record)| record.is_none());
        Ok(Verified {
            objects: objects.len(),
            bytes: objects.iter().map(|&(_, bytes)| bytes).sum(),
            records: records.len(),
            faulty: faulty.collect(),
            bad_records: bad.map(|&(key, _)| key).collect(),
        })
    }

    /// Which outputs of the lock an object belongs to.
    fn needed_by(&self, pipeline: &Pipeline) -> BTreeMap<Digest, Vec<String>> {
        let mut needed: BTreeMap<Digest, Vec<String>> = BTreeMap::new();
        for stage in pipeline.stages() {
            let Some(entry) = self.lock.get(&stage.name) else {
                continue;
            };
            let unstored = self.unstored(Some(&entry));
            let stored = stage.outputs.difference(&stage.uncached);
            for path in stored.filter(|path| !unstored.contains(path.as_str())) {
                let Some(&artifact) = entry.wrote.get(path.as_str()) else {
                    continue;
                };
                let mut add = |digest, path: String| {
                    let place = format!("{}: {path}", stage.name);
                    needed.entry(digest).or_default().push(place);
                };
                add(artifact.digest, path.to_string());
                if artifact.kind == Kind::Folder
                    && let Ok(tree) = self.store.tree(artifact.digest)
                {
                    for file in tree.entries {
                        add(file.digest, format!("{path}/{}", file.path));
                    }
                }
            }
        }
        needed
    }

    /// Removes what has a fault, so that it is built again when it is needed.
    pub fn remove_faulty(&self, verified: &Verified) -> Result<(), ExecuteError> {
        for faulty in &verified.faulty {
            self.store.remove_object(faulty.object)?;
        }
        for &key in &verified.bad_records {
            self.store.remove_record(key)?;
        }
        Ok(())
    }
}
