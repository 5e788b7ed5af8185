//! Files: CSV, JSON lines and Parquet, one or as many as a pattern matches.
//!
//! ```text
//! text    bytes to UTF-8 text: gzip, encoding, byte order mark
//! csv     ┐
//! jsonl   ├ a file to fields of rows: they know a format, and nothing of times or units
//! parquet ┘
//! rows    fields to a table: times, series, units, missing values; it knows no format
//! ```
//!
//! A file is read as a stream, so that what memory it takes is that of the columns in use.

mod csv;
mod jsonl;
mod number;
mod parquet;
mod rows;
mod text;

use std::borrow::Cow;
use std::io::BufRead;
use std::path::Path;

use self::rows::Rows;
pub(super) use self::rows::{converted, numbers_of};
use self::text::Text;
use super::{Asked, Fetched, Source, SourceError};
use crate::fs;
use crate::params::{FileFormat, FileSource};

/// The first bytes of every Parquet file.
const PARQUET: &[u8] = b"PAR1";

pub(super) struct File<'a> {
    pub(super) params: &'a FileSource,
}

impl Source for File<'_> {
    fn inputs(&self) -> Vec<String> {
        if self.is_pattern() {
            Vec::new()
        } else {
            vec![self.params.path.clone()]
        }
    }

    fn patterns(&self) -> Vec<String> {
        if self.is_pattern() {
            vec![self.params.path.clone()]
        } else {
            Vec::new()
        }
    }

    fn fetch(&self, asked: &mut Asked<'_>) -> Result<Fetched, SourceError> {
        let path = &self.params.path;
        let files = if self.is_pattern() {
            fs::glob(asked.root, path)?
        } else {
            vec![path.clone()]
        };
        if files.is_empty() {
            return Err(no_match(asked.root, path));
        }
        let mut rows = Rows::new(self.params);
        for (done, file) in files.iter().enumerate() {
            self.read(asked.root, file, &mut rows)?;
            (asked.progress)(done + 1, files.len(), rows.len());
        }
        let table = rows.finish().map_err(|source| SourceError::Table {
            file: path.clone(),
            source,
        })?;
        Ok(Fetched::of(table, None))
    }
}

impl File<'_> {
    /// Whether its path stands for any number of files.
    fn is_pattern(&self) -> bool {
        self.params.path.contains(fs::WILDCARDS)
    }

    fn read(&self, root: &Path, file: &str, rows: &mut Rows<'_>) -> Result<(), SourceError> {
        let path = root.join(file);
        let format = match self.params.format {
            Some(format) => Some(format),
            None => guess(&path, file)?,
        };
        if format == Some(FileFormat::Parquet) {
            return parquet::read(fs::open(&path)?, file, rows);
        }
        let open = || Text::open(&path, file, self.params.text.encoding);
        let mut text = open()?;
        let is_jsonl = match format {
            Some(format) => format == FileFormat::Jsonl,
            None => text.peek()?.trim_ascii_start().starts_with(b"{"),
        };
        if is_jsonl {
            jsonl::read(text, file, rows)
        } else {
            csv::read(text, &open, file, &self.params.text, rows)
        }
    }
}

/// A name such as `data[1].csv` is a pattern, too.
fn no_match(root: &Path, pattern: &str) -> SourceError {
    let message = "no file matches";
    if !fs::exists(&root.join(pattern)) {
        return wrong(pattern, message);
    }
    let literal = pattern.replace('[', "[[]");
    wrong(
        pattern,
        format!("{message}; the file of that very name is `{literal}`"),
    )
}

/// What kind of file it is, where its first bytes or its name say so.
fn guess(path: &Path, file: &str) -> Result<Option<FileFormat>, SourceError> {
    let mut start = std::io::BufReader::with_capacity(16, fs::open(path)?);
    let start = start
        .fill_buf()
        .map_err(|error| wrong(file, error.to_string()))?;
    let name = Path::new(file.strip_suffix(".gz").unwrap_or(file));
    let lines = name
        .extension()
        .is_some_and(|ending| ending == "jsonl" || ending == "ndjson");
    Ok(if start.starts_with(PARQUET) {
        Some(FileFormat::Parquet)
    } else {
        lines.then_some(FileFormat::Jsonl)
    })
}

fn wrong(file: &str, message: impl Into<String>) -> SourceError {
    SourceError::File {
        file: file.to_owned(),
        message: message.into(),
    }
}

/// A row that cannot be used, by its line or its number.
fn bad_row(file: &str, line: u64, message: String) -> SourceError {
    SourceError::Row {
        file: file.to_owned(),
        line,
        message,
    }
}

/// Some of the names that are there, for an error.
fn some_of<'a>(names: impl Iterator<Item = Cow<'a, str>>) -> String {
    const NAMES: usize = 30;
    const LETTERS: usize = 60;
    let short = |name: Cow<'a, str>| match name.char_indices().nth(LETTERS) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.into_owned(),
    };
    let mut names: Vec<String> = names.take(NAMES + 1).map(short).collect();
    if let Some(last) = names.get_mut(NAMES) {
        "…".clone_into(last);
    }
    match names.as_slice() {
        [] => "none".to_owned(),
        names => names.join(", "),
    }
}

#[cfg(test)]
mod tests;
