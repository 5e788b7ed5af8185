//! A table that is written batch by batch into a folder in the making, so that no more than a batch is in memory.

use std::fs::File;
use std::io::BufWriter;

use anyhow::{Context as _, Result};

use crate::data::{Table, TableWriter};
use crate::fs::StagedFolder;

/// See the module.
pub(super) struct StagedTable {
    name: &'static str,
    /// Once there is a batch to tell its columns from.
    writer: Option<TableWriter<BufWriter<File>>>,
}

impl StagedTable {
    /// A file of this name, of which nothing is there yet.
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, writer: None }
    }

    /// Writes some rows; all batches have the same columns.
    pub(super) fn write(&mut self, table: &Table, staged: &StagedFolder) -> Result<()> {
        let writer = if let Some(writer) = self.writer.take() {
            writer
        } else {
            TableWriter::new(table, BufWriter::new(staged.create(self.name)?))?
        };
        let written = self.writer.insert(writer).write(table);
        written.with_context(|| format!("cannot write {}", self.name))
    }

    /// Ends the file.
    pub(super) fn finish(self, staged: &StagedFolder) -> Result<()> {
        if let Some(writer) = self.writer {
            let finished = writer.finish();
            finished.with_context(|| format!("cannot write {}", self.name))?;
            staged.flush([self.name])?;
        }
        Ok(())
    }
}
