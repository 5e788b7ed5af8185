//! Reads and writes the files of a data set, and single tables.

use std::path::Path;

use anyhow::{Context as _, Error, Result};

use super::to_json;
use crate::data::{
    Dataset, ParquetError, Table, parquet_columns, parquet_is_forecast, read_parquet, to_parquet,
};
use crate::fs::{self, StagedFolder};

/// The forecasts from outside, in the folder of a data set.
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
    let meta = serde_json::from_str(&fs::read_to_string(&json)?)
        .with_context(|| json.display().to_string())?;
    let table = read_table(&folder.join("series.parquet"))?;
    let forecasts = folder.join(FORECASTS);
    let forecasts = if fs::exists(&forecasts) {
        Some(read_table(&forecasts)?)
    } else {
        None
    };
    Dataset::from_parts(table, forecasts.as_ref(), meta)
        .with_context(|| folder.display().to_string())
}

pub(super) fn write_dataset(staged: &StagedFolder, dataset: &Dataset) -> Result<()> {
    staged.write("series.parquet", &to_parquet(&dataset.panel().to_table())?)?;
    if let Some(runs) = dataset.runs() {
        staged.write(FORECASTS, &to_parquet(&runs.to_table()?)?)?;
    }
    staged.write("dataset.json", &to_json(dataset.meta())?)?;
    Ok(())
}
