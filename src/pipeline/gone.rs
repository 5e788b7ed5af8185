//! What is left of items that a `foreach` or `matrix` no longer has.
//!
//! A stage that reads a folder would go on reading what a stage wrote there that is no more: the sum
//! of all counts would still count a text that was removed. So an output of such an item goes, if the
//! store can bring it back as it lies. Nothing else is ever removed: not the outputs of a stage that
//! was taken out by hand, whose results somebody may want to keep.

use std::collections::BTreeSet;

use super::lock::Entry;
use super::{ExecuteError, Pipeline, ProjectPath, Stage, Workspace, base_of, hold};
use crate::artifact::Artifact;
use crate::event::{Event, Observer};
use crate::fs;

/// An output of an item that is no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    /// The stage that it had.
    pub stage: String,
    /// Where it lies.
    pub path: ProjectPath,
    /// Whether the store has it as it lies, so that it can go.
    pub stored: bool,
    artifact: Artifact,
}

impl Gone {
    /// Whether it lies in a folder that a stage reads.
    pub fn is_read_by(&self, stage: &Stage) -> bool {
        let mut folders = self.path.ancestors();
        folders.any(|folder| stage.inputs.contains(&folder))
    }
}

impl Workspace {
    /// Looks for what is left of items that the pipeline no longer has.
    pub fn gone(&self, pipeline: &Pipeline) -> Result<Vec<Gone>, ExecuteError> {
        let mut gone = Vec::new();
        for (stage, entry) in self.lost(pipeline) {
            for (path, &artifact) in &entry.wrote {
                let Some(path) = nobody_elses(path, pipeline) else {
                    continue;
                };
                let stored = match self.at(&path) {
                    Ok(None) => continue,
                    Ok(Some(found)) => found == artifact && self.store.has(artifact),
                    // It cannot be read, so it stays; no other stage is to fail for that.
                    Err(_) => false,
                };
                gone.push(Gone {
                    stage: stage.clone(),
                    stored,
                    artifact,
                    path,
                });
            }
        }
        Ok(gone)
    }

    /// Removes what is left of items that the pipeline no longer has and is in the store, and warns of
    /// what is not and is read by a stage.
    pub fn remove_gone(
        &self,
        pipeline: &Pipeline,
        observer: &mut dyn Observer,
    ) -> Result<(), ExecuteError> {
        let lost = self.lost(pipeline);
        if lost.is_empty() {
            return Ok(());
        }
        let (mut removed, mut left) = (Vec::new(), BTreeSet::new());
        for gone in self.gone(pipeline)? {
            if gone.stored && self.remove_unless_busy(&gone)? {
                removed.push(gone.path.to_string());
                continue;
            }
            let mut stages = pipeline.stages().iter();
            if let Some(reader) = stages.find(|stage| gone.is_read_by(stage)) {
                observer.event(Event::warning(format!(
                    "{} is left of {}, which is no stage any more, and {} reads it: remove it",
                    gone.path, gone.stage, reader.name
                )));
            }
            left.insert(gone.stage);
        }
        for (stage, _) in lost.iter().filter(|(stage, _)| !left.contains(stage)) {
            let _due = self.lock.set(stage, None);
        }
        if let [first, more @ ..] = removed.as_slice() {
            let more = match more.len() {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            observer.event(Event::note(format!(
                "removed {first}{more}: what wrote it is no stage any more"
            )));
        }
        Ok(())
    }

    /// The entries of items that are no more; their `foreach` or `matrix` still is.
    fn lost(&self, pipeline: &Pipeline) -> Vec<(String, Entry)> {
        let names: BTreeSet<&str> = pipeline.stages().iter().map(|s| s.name.as_str()).collect();
        let made_of = pipeline
            .stages()
            .iter()
            .filter_map(|s| s.made_of.as_deref());
        let made_of: BTreeSet<&str> = made_of.collect();
        self.lock.entries_where(|name| {
            !names.contains(name) && base_of(name).is_some_and(|base| made_of.contains(base))
        })
    }

    /// Another run may be writing it, or may have changed it.
    fn remove_unless_busy(&self, gone: &Gone) -> Result<bool, ExecuteError> {
        let busy = || {
            Err(ExecuteError::Busy {
                path: gone.path.clone(),
            })
        };
        let _held = match hold::hold(&self.locks(), gone.path.as_str(), busy) {
            Err(ExecuteError::Busy { .. }) => return Ok(false),
            held => held?,
        };
        if self.at(&gone.path)? != Some(gone.artifact) {
            return Ok(false);
        }
        fs::remove(&gone.path.in_root(&self.root))?;
        Ok(true)
    }
}

/// A path of the project that no stage writes, and none reads by itself. The lock is a file that
/// anybody can edit, so its paths are looked at like those of `pipeline.yaml`.
fn nobody_elses(path: &str, pipeline: &Pipeline) -> Option<ProjectPath> {
    let path = ProjectPath::output(path).ok()?;
    let used = pipeline.stages().iter().any(|stage| {
        let written = stage.outputs.iter().any(|output| output.overlaps(&path));
        let mut inputs = stage.inputs.iter();
        written || inputs.any(|input| input == &path || input.ancestors().any(|it| it == path))
    });
    (!used).then_some(path)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Attempt;
    use super::super::tests::NoSubcommands;
    use super::*;

    fn parse(text: &str) -> Pipeline {
        Pipeline::parse(Path::new("pipeline.yaml"), text, &NoSubcommands).unwrap()
    }

    /// Which stages something is left of, when one pipeline was built and became another.
    fn left(before: &str, after: &str) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let workspace = Workspace::open(folder.path(), "test").unwrap();
        let write = |attempt: &Attempt<'_>, _: &mut dyn Observer| {
            for path in &attempt.stage.outputs {
                fs::write_atomic(&path.in_root(folder.path()), b"1")?;
            }
            Ok(())
        };
        for stage in parse(before).stages() {
            let built = workspace.execute(stage, &write, &mut |_: Event| {});
            built.unwrap();
        }
        let gone = workspace.gone(&parse(after)).unwrap();
        gone.into_iter().map(|gone| gone.stage).collect()
    }

    #[test]
    fn only_what_a_foreach_made_is_left_of_it() {
        let items = |name: &str, items: &str| {
            format!("stages: {{{name}: {{foreach: {items}, cmd: x, outs: ['o/${{key}}']}}}}")
        };
        for name in ["fit", "fit@north"] {
            let gone = left(&items(name, "[a, b]"), &items(name, "[a]"));
            assert_eq!(gone, [format!("{name}@b")]);
        }
        let a = "fit@a: {cmd: x, outs: [o/a]}";
        let b = "fit@b: {cmd: x, outs: [o/b]}";
        let gone = left(
            &format!("stages: {{{a}, {b}}}"),
            &format!("stages: {{{a}}}"),
        );
        assert!(gone.is_empty(), "a person took it out: {gone:?}");
    }
}
