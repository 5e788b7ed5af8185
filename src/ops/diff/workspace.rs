//! The project as it lies there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::DiffError;
use super::found::{Found, What, candidate, read_file};
use crate::fs;
use crate::ops::{Standing, status};
use crate::pipeline::Pipeline;

/// See the module.
pub(super) struct Workspace<'a> {
    pub(super) root: &'a Path,
    pub(super) pipeline: &'a Pipeline,
}

impl Workspace<'_> {
    pub(super) fn param_files(&self) -> BTreeSet<String> {
        let stages = self.pipeline.stages().iter();
        let names = stages.flat_map(|stage| stage.params.keys());
        let files = names.filter_map(|name| name.split_once(':'));
        files.map(|(file, _)| file.to_owned()).collect()
    }

    pub(super) fn found(&self) -> Result<BTreeMap<String, Found>, DiffError> {
        let outputs = self.pipeline.stages().iter().flat_map(|stage| {
            let outputs = stage.outputs.iter();
            outputs.map(|path| (path.as_str(), stage.name.as_str()))
        });
        let mut found = BTreeMap::new();
        for (path, stage) in outputs {
            let Some(metadata) = fs::stat(&self.root.join(path))? else {
                continue;
            };
            let Some((file, _)) = candidate(path, metadata.is_dir()) else {
                continue;
            };
            let what = match read_file(&self.root.join(&file))? {
                Some(bytes) => What::of(&file, &bytes),
                None => What::None,
            };
            let stage = stage.to_owned();
            found.insert(file, Found { stage, what });
        }
        Ok(found)
    }

    /// The stages whose metrics are to be compared and that are to run again.
    pub(super) fn not_up_to_date(
        &self,
        found: &BTreeMap<String, Found>,
    ) -> Result<Vec<String>, DiffError> {
        let numbers = |found: &&Found| matches!(found.what, What::Numbers(_));
        let stages: BTreeSet<&str> = found
            .values()
            .filter(numbers)
            .map(|found| found.stage.as_str())
            .collect();
        if stages.is_empty() {
            return Ok(Vec::new());
        }
        let settled = |state| matches!(state, Standing::Fresh | Standing::Frozen | Standing::Off);
        let all = status(self.pipeline, self.root)?.into_iter();
        let open = all.filter(|stage| !settled(stage.state));
        Ok(open
            .map(|stage| stage.stage)
            .filter(|stage| stages.contains(stage.as_str()))
            .collect())
    }
}
