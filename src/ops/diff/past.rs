//! The project at a revision: git has its lock and its parameters, the store what was built.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::DiffError;
use super::found::{Found, What, candidate, read_file};
use super::git::{Repository, Revision};
use crate::artifact::{Artifact, Kind, StatCache, Store};
use crate::fs;
use crate::params::Values;
use crate::pipeline::{Lock, base_of};

const LOCK: &str = "pipeline.lock";
const PIPELINE: &str = "pipeline.yaml";

/// The project at a revision.
pub(super) struct Past<'a> {
    root: &'a Path,
    pub(super) repository: &'a Repository,
    pub(super) revision: Revision,
    pub(super) lock: Option<Lock>,
    /// The stages of `pipeline.yaml`: the lock may still have others. Nothing where that is unreadable.
    stages: Option<BTreeSet<String>>,
    store: Store,
    cache: StatCache,
}

impl<'a> Past<'a> {
    pub(super) fn open(
        root: &'a Path,
        repository: &'a Repository,
        name: &str,
    ) -> Result<Self, DiffError> {
        let revision = repository.revision(name)?;
        let text = repository.file(&revision, LOCK)?;
        let shown = format!("{name}:{LOCK}");
        let pipeline = repository.file(&revision, PIPELINE)?;
        Ok(Self {
            root,
            repository,
            stages: pipeline.and_then(|text| stage_names(&text)),
            lock: match text {
                Some(text) => {
                    let text = String::from_utf8_lossy(&text);
                    Some(Lock::parse(Path::new(&shown), &text)?)
                }
                None => None,
            },
            revision,
            store: Store::new(&root.join(fs::private::STORE)),
            cache: StatCache::load(&root.join(fs::private::STAT_CACHE)),
        })
    }

    pub(super) fn found(&self) -> Result<BTreeMap<String, Found>, DiffError> {
        let mut found = BTreeMap::new();
        let there = |stage: &str| {
            let base = base_of(stage).unwrap_or(stage);
            let stages = self.stages.as_ref();
            stages.is_none_or(|all| all.contains(stage) || all.contains(base))
        };
        let outputs = self.lock.iter().flat_map(Lock::outputs);
        for (stage, path, artifact) in outputs.filter(|(stage, ..)| there(stage)) {
            if let Some((file, inside)) = candidate(path, artifact.kind == Kind::Folder) {
                let what = self.look(path, artifact, &file, inside)?;
                let stage = stage.to_owned();
                found.insert(file, Found { stage, what });
            }
        }
        Ok(found)
    }

    /// From the store; otherwise from the workspace, where it is still the same; otherwise from git.
    fn look(
        &self,
        path: &str,
        artifact: Artifact,
        file: &str,
        inside: Option<&str>,
    ) -> Result<What, DiffError> {
        let listing = inside.and_then(|_| self.store.tree(artifact.digest).ok());
        if let (Some(inside), Some(tree)) = (inside, &listing)
            && tree.get(inside).is_none()
        {
            return Ok(What::None);
        }
        // A damaged object is as good as none.
        if let Ok(Some(bytes)) = self.store.read(artifact, inside) {
            return Ok(What::of(file, &bytes));
        }
        let place = self.root.join(path);
        if self.cache.artifact(&place).ok().flatten() == Some(artifact) {
            return Ok(match read_file(&self.root.join(file))? {
                Some(bytes) => What::of(file, &bytes),
                None => What::None,
            });
        }
        if let Some(bytes) = self.repository.file(&self.revision, file)? {
            return Ok(What::of(file, &bytes));
        }
        // An output that is a folder without metrics now most likely had none then.
        let now = fs::stat(&place)?.is_some_and(|metadata| metadata.is_dir());
        if inside.is_some() && now && read_file(&self.root.join(file))?.is_none() {
            return Ok(What::None);
        }
        Ok(What::Gone(artifact))
    }
}

/// The names of the stages in the text of a `pipeline.yaml`, which may be one of another version of
/// krammerti.
fn stage_names(text: &[u8]) -> Option<BTreeSet<String>> {
    let text = std::str::from_utf8(text).ok()?;
    let values = Values::parse(Path::new(PIPELINE), text).ok()?;
    let stages = values.get("stages")?.as_object()?;
    Some(stages.keys().cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_named_whatever_else_a_pipeline_says() {
        let names = |text: &str| stage_names(text.as_bytes());
        let text = "later: 1\nstages: {b: {cmd: x, new: [1]}, a: {}}\n";
        assert_eq!(names(text), Some(["a".into(), "b".into()].into()));
        assert_eq!(names("stages: ["), None);
        assert_eq!(names("stages: 1"), None);
        assert_eq!(names(""), None);
    }
}
