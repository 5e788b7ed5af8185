//! What can go wrong with one stage.

use std::io;

use crate::pipeline::lock::LockError;
use crate::pipeline::{CommandError, ProjectPath};

/// What can go wrong with one stage.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// An input is neither there nor made by a stage.
    #[error("input {path} does not exist")]
    MissingInput {
        /// The input.
        path: ProjectPath,
    },
    /// The command succeeded but an output is not there.
    #[error("the command ended well but did not write {path}")]
    MissingOutput {
        /// The output.
        path: ProjectPath,
    },
    /// A stage that never runs has nothing to show.
    #[error("it is frozen, and {path} is neither there nor in the store")]
    Frozen {
        /// The output.
        path: ProjectPath,
    },
    /// An input changed while the command ran.
    #[error("{} changed while the stage ran, so its result is not recorded", .paths.join(", "))]
    Tainted {
        /// The inputs.
        paths: Vec<String>,
    },
    /// Another run holds an output.
    #[error("another run is writing {path}")]
    Busy {
        /// The output.
        path: ProjectPath,
    },
    /// The command failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The lock file is not readable.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Files could not be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl ExecuteError {
    /// Whether the same command may end better when it is tried again.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Command(CommandError::Failed(failed)) => failed.may_pass,
            Self::Command(CommandError::TimedOut { .. }) | Self::MissingOutput { .. } => true,
            _ => false,
        }
    }
}
