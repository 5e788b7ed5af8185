//! What is kept of a result: its outputs in the store, and the record that says what its key gave.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::ExecuteError;
use crate::artifact::{Artifact, Digest, Kind, Record, Tree};
use crate::event::{Event, Observer};
use crate::fs;
use crate::pipeline::journal::now;
use crate::pipeline::lock::Entry;
use crate::pipeline::{Assessment, Stage, Workspace};

impl Workspace {
    /// Puts a result into the store, with its record. Where there is no room, hours of work are worth more than a
    /// second copy: the result stays in its place, and the lock alone may have to remember it.
    pub(super) fn keep(
        &self,
        stage: &Stage,
        assessment: &Assessment,
        outputs: &BTreeMap<String, Artifact>,
        built_on: BTreeMap<String, String>,
        observer: &mut dyn Observer,
    ) -> Result<(), ExecuteError> {
        let mut unstored = BTreeSet::new();
        for path in stage.outputs.difference(&stage.uncached) {
            let place = path.in_root(&self.root);
            let put = self
                .store
                .insert(&place, outputs[path.as_str()], &self.cache);
            let what = format!("{path}, which is in its place and nowhere else");
            if !had_room(put, &what, observer)? {
                unstored.insert(path.to_string());
            }
        }
        let record = Record {
            outputs: outputs.clone(),
            built: self.built(stage, assessment.key),
            built_on,
            unstored,
        };
        let put = self
            .keep_listings(&assessment.parts.inputs)
            .and_then(|()| self.store.put_record(assessment.key, &record));
        had_room(put, "the record of this result", observer)?;
        Ok(())
    }

    /// When what the command brought was made. A fetch that asked nobody brought what an earlier one did.
    fn built(&self, stage: &Stage, key: Digest) -> Option<i64> {
        let fetches =
            stage.command.builtin && stage.command.words.get(1).is_some_and(|w| w == "fetch");
        if self.offline && fetches {
            self.store.record(key)?.built
        } else {
            Some(now())
        }
    }

    /// The outputs of a stage that the store had no room for.
    pub(in crate::pipeline) fn unstored(&self, entry: Option<&Entry>) -> BTreeSet<String> {
        let record = entry.and_then(|entry| self.store.record(entry.key_parts().key()));
        record.map_or_else(BTreeSet::new, |record| record.unstored)
    }

    /// What lay in the folders that were read, so that one can tell later which file changed.
    fn keep_listings(&self, inputs: &BTreeMap<String, Artifact>) -> io::Result<()> {
        for (path, artifact) in inputs {
            if artifact.kind == Kind::Folder && !self.store.holds(artifact.digest) {
                let tree = Tree::scan(&self.root.join(path), &self.cache)?;
                self.store.insert_listing(&tree)?;
            }
        }
        Ok(())
    }
}

/// Whether something went into the store. That there was no room is told.
fn had_room(put: io::Result<()>, what: &str, observer: &mut dyn Observer) -> io::Result<bool> {
    match put {
        Err(error) if fs::is_full(&error) => {
            observer.event(Event::warning(format!(
                "the store has no room for {what}; `krammerti gc` shows what may go: {error}"
            )));
            Ok(false)
        }
        put => put.map(|()| true),
    }
}
