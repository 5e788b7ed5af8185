//! What stages wrote while something that they read changed. It stays in its place and is recorded nowhere, but it is
//! nobody's own work either: this is how that is told later.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use super::{Stage, Workspace};
use crate::artifact::Artifact;
use crate::fs;

impl Workspace {
    /// What a stage left that way, by path; empty where it did not.
    pub(super) fn tainted(&self, stage: &Stage) -> BTreeMap<String, Artifact> {
        let text = fs::read_if_exists(&self.tainted_note(stage)).ok().flatten();
        let outputs = text.and_then(|text| serde_json::from_str(&text).ok());
        outputs.unwrap_or_default()
    }

    pub(super) fn note_tainted(
        &self,
        stage: &Stage,
        outputs: &BTreeMap<String, Artifact>,
    ) -> io::Result<()> {
        let text = serde_json::to_string(outputs)?;
        fs::write_atomic(&self.tainted_note(stage), text.as_bytes())
    }

    /// The stage has another result now.
    pub(super) fn forget_tainted(&self, stage: &Stage) -> io::Result<()> {
        fs::remove(&self.tainted_note(stage))
    }

    fn tainted_note(&self, stage: &Stage) -> PathBuf {
        self.place_of(stage, "tainted")
    }
}
