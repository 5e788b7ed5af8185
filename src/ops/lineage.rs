//! `krammerti lineage`: from an artifact back to its sources.

use std::path::Path;

use crate::pipeline::{ExecuteError, Lineage, LineageError, Pipeline, ProjectPath, Workspace};

/// Why there is no lineage to tell.
#[derive(Debug, thiserror::Error)]
pub enum NoLineage {
    /// The project cannot be opened.
    #[error(transparent)]
    Open(#[from] ExecuteError),
    /// The path has none.
    #[error(transparent)]
    Path(#[from] LineageError),
}

/// Where what lies at a path of the project came from.
pub fn lineage(pipeline: &Pipeline, root: &Path, path: &ProjectPath) -> Result<Lineage, NoLineage> {
    let workspace = Workspace::open(root, "lineage")?;
    let lineage = workspace.lineage(pipeline, path)?;
    workspace.save()?;
    Ok(lineage)
}
