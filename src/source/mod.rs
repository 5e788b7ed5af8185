//! Where observations come from. One file a kind; each gives a [`Table`] or says what is wrong and where.

mod file;

use std::path::Path;

use crate::data::{SeriesError, Table};
use crate::params::SourceParams;

/// A configured source.
pub trait Source {
    /// The files of the project that it reads, which are inputs of the stage that fetches from it.
    fn inputs(&self) -> Vec<String>;

    /// Gets all observations there are. `root` is the project's folder.
    fn fetch(&self, root: &Path) -> Result<Table, SourceError>;
}

/// What can go wrong with a source.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A row cannot be used.
    #[error("{file}, line {line}: {message}")]
    Row {
        /// The file.
        file: String,
        /// From 1, the header included.
        line: u64,
        /// What was expected and found.
        message: String,
    },
    /// The file as a whole cannot be used.
    #[error("{file}: {message}")]
    File {
        /// The file.
        file: String,
        /// What was expected and found.
        message: String,
    },
    /// The rows do not make a table.
    #[error("{file}: {source}")]
    Table {
        /// The file.
        file: String,
        /// Why.
        source: SeriesError,
    },
}

/// The source that parameters describe.
pub fn source(params: &SourceParams) -> Box<dyn Source + '_> {
    match params {
        SourceParams::File(params) => Box::new(file::File { params }),
    }
}
