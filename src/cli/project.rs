//! The project: found from any folder in it, as git finds its root.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::commands::Subcommands;
use crate::fs;
use crate::pipeline::{Pipeline, Stage};

/// The file that makes a folder a project.
const PIPELINE: &str = "pipeline.yaml";

/// The folder with `pipeline.yaml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Project {
    pub(super) root: PathBuf,
}

/// There is no `pipeline.yaml` here or above.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no {PIPELINE} in {} or a folder above it", .from.display())]
pub(super) struct NoProject {
    from: PathBuf,
}

/// The folder of `-C` cannot be entered.
#[derive(Debug, thiserror::Error)]
#[error("cannot enter {}: {source}", .folder.display())]
pub(super) struct NoFolder {
    folder: PathBuf,
    source: std::io::Error,
}

/// Makes a folder the current one: `-C`.
pub(super) fn enter(directory: &Path) -> Result<()> {
    std::env::set_current_dir(directory).map_err(|source| {
        NoFolder {
            folder: directory.to_owned(),
            source,
        }
        .into()
    })
}

impl Project {
    /// Finds the project around the current folder.
    pub(super) fn find() -> Result<Self> {
        let from = std::env::current_dir().context("the current folder is gone")?;
        match from
            .ancestors()
            .find(|folder| fs::exists(&folder.join(PIPELINE)))
        {
            Some(root) => Ok(Self {
                root: root.to_owned(),
            }),
            None => Err(NoProject { from }.into()),
        }
    }

    /// Reads and checks the pipeline.
    pub(super) fn pipeline(&self) -> Result<Pipeline> {
        Ok(self.read()?.0)
    }

    /// The pipeline, and the parameter files as they were then.
    pub(super) fn read(&self) -> Result<(Pipeline, ParamsSeen<'_>)> {
        let file = self.root.join(PIPELINE);
        let text = fs::read_to_string(&file)?;
        let commands = Subcommands::new(&self.root);
        let pipeline = Pipeline::parse(Path::new(PIPELINE), &text, &commands)?;
        let seen = ParamsSeen {
            project: self,
            texts: commands.into_texts(),
        };
        Ok((pipeline, seen))
    }

    /// A path as typed in the current folder, relative to the root where it lies in the project.
    pub(super) fn place(&self, typed: &str) -> Result<String> {
        let here = std::env::current_dir().context("the current folder is gone")?;
        let full = fs::plain(&here.join(typed));
        let placed = match full.strip_prefix(&self.root) {
            Ok(placed) => placed.to_owned(),
            // Through a link to the project, perhaps, or to a folder above it.
            Err(_) => self.linked_into(&full).unwrap_or(full),
        };
        placed
            .to_str()
            .map(str::to_owned)
            .with_context(|| format!("{} is not plain UTF-8 text", placed.display()))
    }

    /// A path relative to the root, where the links of what there is of it lead into the project.
    fn linked_into(&self, full: &Path) -> Option<PathBuf> {
        let root = self.root.canonicalize().ok()?;
        let there = |folder: &Path| Some((folder.to_owned(), folder.canonicalize().ok()?));
        let (folder, followed) = full.ancestors().find_map(there)?;
        let inside = followed.strip_prefix(&root).ok()?;
        // Not `join`: it would put a `/` behind a path that is there.
        let rest = full.strip_prefix(&folder).ok()?;
        Some(inside.components().chain(rest.components()).collect())
    }
}

/// The parameter files as they were when keys were formed from them.
pub(super) struct ParamsSeen<'a> {
    project: &'a Project,
    texts: BTreeMap<String, Option<String>>,
}

impl ParamsSeen<'_> {
    /// The parameters of a stage that are others now.
    pub(super) fn changed(&self, stage: &Stage) -> Vec<String> {
        let file = |name: &str| name.split(':').next().unwrap_or_default().to_owned();
        let files: BTreeSet<String> = stage.params.keys().map(|name| file(name)).collect();
        let same = |file: &String| {
            let now = fs::read_if_exists(&self.project.root.join(file)).ok();
            now.is_some_and(|now| self.texts.get(file) == Some(&now))
        };
        if files.iter().all(same) {
            return Vec::new();
        }
        // Another comment, perhaps: only the values count.
        let now = self.project.pipeline().ok();
        let now = now.as_ref().and_then(|now| now.stage(&stage.name).ok());
        let value = |name: &String| now.and_then(|now| now.params.get(name));
        let changed = stage
            .params
            .iter()
            .filter(|(name, old)| value(name) != Some(old));
        changed.map(|(name, _)| name.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_placed_by_their_names() {
        let project = Project {
            root: std::env::current_dir().unwrap(),
        };
        assert_eq!(project.place("./a/../b").unwrap(), "b");
        assert_eq!(project.place("/elsewhere/a").unwrap(), "/elsewhere/a");
    }

    #[test]
    fn a_path_through_a_link_to_the_project_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        let project = Project {
            root: folder.join("own"),
        };
        fs::create_dir_all(&folder.join("own/data")).unwrap();
        fs::create_dir_all(&folder.join("other")).unwrap();
        std::os::unix::fs::symlink("own", folder.join("link")).unwrap();
        let place = |path: &str| {
            let path = folder.join(path).display().to_string();
            (project.place(&path).unwrap(), path)
        };
        for (path, placed) in [
            ("link/data", "data"),
            ("link/data/new/x", "data/new/x"),
            ("link/./new/../x", "x"),
            ("own/data", "data"),
        ] {
            assert_eq!(place(path).0, placed, "{path}");
        }
        for outside in ["other", "other/x", "nowhere/x"] {
            let (placed, path) = place(outside);
            assert_eq!(placed, path);
        }
    }
}
