//! Reads and writes the files of a data set, and single tables.

use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context as _, Error, Result};

use super::to_json;
use crate::data::{
    Dataset, DatasetMeta, ParquetError, Table, parquet_columns, parquet_is_forecast, read_parquet,
    to_parquet, write_parquet,
};
use crate::fs::{self, StagedFolder};

/// The rows, in the folder of a data set.
const SERIES: &str = "series.parquet";
/// The forecasts from outside.
const FORECASTS: &str = "forecasts.parquet";

pub(super) fn read_table(path: &Path) -> Result<Table> {
    read_columns(path, None)
}

/// The same, with some of its columns only.
pub(super) fn read_columns(path: &Path, columns: Option<&[String]>) -> Result<Table> {
    read_parquet(fs::open(path)?, columns)
        .map_err(|error| match error {
            // What is wrong with a table is the same wherever it came from.
            ParquetError::Table(error) => error.into(),
            other => Error::from(other),
        })
        .with_context(|| path.display().to_string())
}

/// The names of its columns.
pub(super) fn columns_of(path: &Path) -> Result<Vec<String>> {
    parquet_columns(fs::open(path)?).with_context(|| path.display().to_string())
}

/// Whether its rows are forecasts.
pub(super) fn is_forecast(path: &Path) -> Result<bool> {
    parquet_is_forecast(fs::open(path)?).with_context(|| path.display().to_string())
}

pub(super) fn write_table(path: &Path, table: &Table) -> Result<()> {
    Ok(fs::write_atomic(path, &to_parquet(table)?)?)
}

pub(super) fn read_dataset(folder: &Path) -> Result<Dataset> {
    let json = folder.join("dataset.json");
    super::require_folder_with(folder, "dataset.json", "data set", "prepare")?;
    let meta = serde_json::from_str(&fs::read_to_string(&json)?)
        .with_context(|| json.display().to_string())?;
    let table = read_table(&folder.join(SERIES))?;
    let forecasts = folder.join(FORECASTS);
    let forecasts = if fs::exists(&forecasts) {
        Some(read_table(&forecasts)?)
    } else {
        None
    };
    Dataset::from_parts(table, forecasts.as_ref(), meta)
        .with_context(|| folder.display().to_string())
}

/// Writes a data set, of which only what is told of it is left then.
pub(super) fn write_dataset(staged: &StagedFolder, dataset: Dataset) -> Result<DatasetMeta> {
    let (table, forecasts, meta) = dataset.into_parts()?;
    stage_table(staged, SERIES, &table)?;
    if let Some(forecasts) = &forecasts {
        stage_table(staged, FORECASTS, forecasts)?;
    }
    staged.write("dataset.json", &to_json(&meta)?)?;
    Ok(meta)
}

/// Row group by row group, so that the bytes of the file are not in memory as a whole.
fn stage_table(staged: &StagedFolder, name: &str, table: &Table) -> Result<()> {
    let mut file = Remembering::over(BufWriter::new(staged.create(name)?));
    let written = write_parquet(table, &mut file).map_err(Error::from);
    let written = written.and_then(|()| Ok(file.flush()?));
    // What writes Parquet tells of it as of a file that cannot be read.
    let written = written.map_err(|error| file.failed.take().map_or(error, Error::from));
    written.with_context(|| format!("cannot write {}", staged.place_of(name).display()))?;
    drop(file);
    Ok(staged.flush([name])?)
}

/// Keeps why it could not write.
struct Remembering<W> {
    to: W,
    failed: Option<std::io::Error>,
}

impl<W: Write> Remembering<W> {
    fn over(to: W) -> Self {
        Self { to, failed: None }
    }

    fn keep<T>(&mut self, done: std::io::Result<T>) -> std::io::Result<T> {
        done.map_err(|error| {
            let kind = error.kind();
            self.failed.get_or_insert(error);
            kind.into()
        })
    }
}

impl<W: Write> Write for Remembering<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let done = self.to.write(bytes);
        self.keep(done)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let done = self.to.flush();
        self.keep(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Column;

    /// Where nothing more can be written to.
    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::Error::from_raw_os_error(28))
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn why_a_table_could_not_be_written_is_kept() {
        let column = Column {
            name: "t".into(),
            unit: "1".into(),
            values: vec![1.0, 2.0],
        };
        let table = Table::new(vec![0, 3600], vec![column]).unwrap();
        let mut file = Remembering::over(Full);
        write_parquet(&table, &mut file).unwrap_err();
        let kept = file.failed.unwrap();
        assert_eq!(kept.kind(), std::io::ErrorKind::StorageFull);
        assert!(kept.to_string().contains("No space left"), "{kept}");
    }
}
