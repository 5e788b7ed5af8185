//! Tables as Parquet: `time` in UTC milliseconds, where there are several series their names under
//! `series`, where the rows are forecasts their `issue_time`, one `f64` column each, and units in
//! the file's own key-value metadata under `krammerti.units`, so that nothing but this file is
//! needed to read it.

use std::collections::BTreeMap;
use std::io::Cursor;

use polars::prelude::{
    DataFrame, DataType, IntoColumn, KeyValueMetadata, NamedFrom, ParquetCompression,
    ParquetReader, ParquetWriter, PolarsError, SerReader, Series as PolarsSeries, TimeUnit,
    TimeZone,
};

use super::{Column, RowSeries, SeriesError, Table};

const TIME: &str = "time";
const SERIES: &str = "series";
const ISSUE_TIME: &str = "issue_time";
const REASONS: &str = "reasons";
const UNITS: &str = "krammerti.units";

/// A file that is no table of ours.
#[derive(Debug, thiserror::Error)]
pub enum ParquetError {
    /// Not Parquet, or damaged.
    #[error("not a readable Parquet file: {0}")]
    Polars(#[from] PolarsError),
    /// Parquet, but not as this module writes it.
    #[error("{0}")]
    Schema(String),
    /// The columns do not make a table.
    #[error(transparent)]
    Table(#[from] SeriesError),
}

/// Writes a table. Equal tables give equal bytes.
pub fn to_parquet(table: &Table) -> Result<Vec<u8>, ParquetError> {
    write(table, None)
}

/// Writes rows with a text for each of them in a last column: why they were refused.
pub fn refused_to_parquet(table: &Table, reasons: &[String]) -> Result<Vec<u8>, ParquetError> {
    write(table, Some(reasons))
}

fn write(table: &Table, reasons: Option<&[String]>) -> Result<Vec<u8>, ParquetError> {
    let mut columns = vec![times_to_write(TIME, table.times())?.into_column()];
    if let Some(series) = table.series() {
        let names: Vec<&str> = (0..table.rows()).map(|row| series.name(row)).collect();
        columns.push(PolarsSeries::new(SERIES.into(), names).into_column());
    }
    if let Some(issues) = table.issues() {
        columns.push(times_to_write(ISSUE_TIME, issues)?.into_column());
    }
    for column in table.columns() {
        let values: Vec<Option<f64>> = column
            .values
            .iter()
            .map(|&v| (!v.is_nan()).then_some(v))
            .collect();
        columns.push(PolarsSeries::new(column.name.as_str().into(), values).into_column());
    }
    if let Some(reasons) = reasons {
        columns.push(PolarsSeries::new(REASONS.into(), reasons).into_column());
    }
    let mut frame = DataFrame::new(table.times().len(), columns)?;
    let units: BTreeMap<&str, &str> = table
        .columns()
        .iter()
        .map(|column| (column.name.as_str(), column.unit.as_str()))
        .collect();
    let units =
        serde_json::to_string(&units).map_err(|error| ParquetError::Schema(error.to_string()))?;
    let mut bytes = Vec::new();
    ParquetWriter::new(&mut bytes)
        .with_compression(ParquetCompression::Zstd(None))
        .with_key_value_metadata(Some(KeyValueMetadata::from_static(vec![(
            UNITS.to_owned(),
            units,
        )])))
        .set_parallel(false)
        .finish(&mut frame)?;
    Ok(bytes)
}

fn times_to_write(name: &str, seconds: &[i64]) -> Result<PolarsSeries, PolarsError> {
    let milliseconds: Vec<i64> = seconds.iter().map(|time| time * 1000).collect();
    PolarsSeries::new(name.into(), milliseconds).cast(&DataType::Datetime(
        TimeUnit::Milliseconds,
        Some(TimeZone::UTC),
    ))
}

/// Reads a table.
pub fn from_parquet(bytes: Vec<u8>) -> Result<Table, ParquetError> {
    let mut reader = ParquetReader::new(Cursor::new(bytes));
    let units = read_units(&mut reader)?;
    let frame = reader.finish()?;
    let (mut times, mut series, mut issues) = (None, None, None);
    let mut columns = Vec::new();
    for column in frame.columns() {
        let name = column.name().as_str();
        let column = column.as_materialized_series();
        if name == TIME {
            times = Some(read_times(column)?);
        } else if name == ISSUE_TIME {
            issues = Some(read_times(column)?);
        } else if name == SERIES {
            series = Some(read_series(column)?);
        } else {
            let values = column.cast(&DataType::Float64)?;
            columns.push(Column {
                name: name.to_owned(),
                unit: units.get(name).cloned().unwrap_or_else(|| "1".to_owned()),
                values: values
                    .f64()?
                    .iter()
                    .map(|value| value.unwrap_or(f64::NAN))
                    .collect(),
            });
        }
    }
    let times = times.ok_or_else(|| ParquetError::Schema("it has no column `time`".to_owned()))?;
    let mut table = Table::new(times, columns)?;
    if let Some(series) = series {
        table = table.with_series(series)?;
    }
    if let Some(issues) = issues {
        table = table.with_issues(issues)?;
    }
    Ok(table)
}

fn read_series(series: &PolarsSeries) -> Result<RowSeries, ParquetError> {
    let names = series.cast(&DataType::String)?;
    let names = names.str()?;
    if names.null_count() > 0 {
        let message = "its column `series` has rows without a name".to_owned();
        return Err(ParquetError::Schema(message));
    }
    Ok(RowSeries::from_names(names.iter().flatten()))
}

fn read_units(
    reader: &mut ParquetReader<Cursor<Vec<u8>>>,
) -> Result<BTreeMap<String, String>, ParquetError> {
    let metadata = reader.get_metadata()?;
    let entries = metadata.key_value_metadata().as_ref();
    let units = entries.and_then(|entries| entries.iter().find(|entry| entry.key == UNITS));
    match units.and_then(|entry| entry.value.as_ref()) {
        None => Ok(BTreeMap::new()),
        Some(text) => serde_json::from_str(text).map_err(|error| {
            ParquetError::Schema(format!("its metadata {UNITS} is broken: {error}"))
        }),
    }
}

fn read_times(series: &PolarsSeries) -> Result<Vec<i64>, ParquetError> {
    let milliseconds = match series.dtype() {
        DataType::Datetime(_, _) => series.cast(&DataType::Datetime(
            TimeUnit::Milliseconds,
            Some(TimeZone::UTC),
        ))?,
        other => {
            return Err(ParquetError::Schema(format!(
                "its column `{}` is {other}, expected a date and time",
                series.name()
            )));
        }
    };
    milliseconds
        .cast(&DataType::Int64)?
        .i64()?
        .iter()
        .enumerate()
        .map(|(row, time)| {
            time.map(|ms| ms.div_euclid(1000)).ok_or_else(|| {
                let name = series.name();
                ParquetError::Schema(format!("its column `{name}` is empty in row {row}"))
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_reads_as_it_was_written() {
        let column = |name: &str, values: &[f64]| Column {
            name: name.into(),
            unit: "°C".into(),
            values: values.to_vec(),
        };
        let table = Table::new(
            vec![0, 3600, -7200],
            vec![column("b", &[1.5, 2.0, -0.1]), column("a", &[0.0; 3])],
        )
        .unwrap();
        let bytes = to_parquet(&table).unwrap();
        assert_eq!(bytes, to_parquet(&table).unwrap());
        assert_eq!(from_parquet(bytes).unwrap(), table);
    }

    #[test]
    fn series_and_issue_times_stay_with_their_rows() {
        let column = Column {
            name: "a".into(),
            unit: "1".into(),
            values: vec![1.0, 2.0, 3.0],
        };
        let table = Table::new(vec![0, 3600, 0], vec![column])
            .and_then(|table| table.with_issues(vec![-60, -60, 0]))
            .and_then(|table| table.with_series(RowSeries::from_names(["b", "a", "b"].into_iter())))
            .unwrap();
        assert_eq!(from_parquet(to_parquet(&table).unwrap()).unwrap(), table);
    }

    #[test]
    fn missing_values_stay_missing_and_empty_tables_pass() {
        let column = Column {
            name: "a".into(),
            unit: "1".into(),
            values: vec![f64::NAN, 2.0],
        };
        let table = Table::new(vec![0, 1], vec![column]).unwrap();
        let back = from_parquet(to_parquet(&table).unwrap()).unwrap();
        assert!(back.columns()[0].values[0].is_nan());
        let empty = Table::new(
            vec![],
            vec![Column {
                name: "a".into(),
                unit: "1".into(),
                values: vec![],
            }],
        )
        .unwrap();
        assert_eq!(from_parquet(to_parquet(&empty).unwrap()).unwrap(), empty);
    }

    #[test]
    fn refused_rows_have_their_reasons_beside_them() {
        let column = Column {
            name: "a".into(),
            unit: "°C".into(),
            values: vec![99.0, f64::NAN],
        };
        let table = Table::new(vec![0, 3600], vec![column]).unwrap();
        let reasons = ["range of a".to_owned(), "order".to_owned()];
        let bytes = refused_to_parquet(&table, &reasons).unwrap();
        let frame = ParquetReader::new(Cursor::new(bytes)).finish().unwrap();
        let names: Vec<&str> = frame.columns().iter().map(|c| c.name().as_str()).collect();
        assert_eq!(names, ["time", "a", "reasons"]);
        let text = frame
            .column("reasons")
            .unwrap()
            .as_materialized_series()
            .clone();
        let text: Vec<Option<&str>> = text.str().unwrap().iter().collect();
        assert_eq!(text, [Some("range of a"), Some("order")]);
        assert_eq!(frame.column("a").unwrap().null_count(), 1);
    }

    #[test]
    fn other_files_are_refused() {
        assert!(matches!(
            from_parquet(b"no parquet at all".to_vec()),
            Err(ParquetError::Polars(_))
        ));
        assert!(matches!(
            from_parquet(Vec::new()),
            Err(ParquetError::Polars(_))
        ));
    }
}
