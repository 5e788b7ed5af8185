//! Tables as Parquet: `time` in UTC milliseconds, where there are several series their names under
//! `series`, where the rows are forecasts their `issue_time`, one `f64` column each, and units in
//! the file's own key-value metadata under `krammerti.units`, so that nothing but this file is
//! needed to read it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Cursor, Read, Seek, SeekFrom, Write};
use std::ops::Range;

use polars::io::mmap::MmapBytesReader;
use polars::prelude::{
    DataFrame, DataType, Float64Chunked, IntoColumn, KeyValueMetadata, NamedFrom,
    ParquetCompression, ParquetReader, ParquetWriter, PolarsError, SerReader,
    Series as PolarsSeries, TimeUnit, TimeZone,
};
use rayon::prelude::*;

use super::table::RESERVED;
use super::{Column, RowSeries, SeriesError, Table};

const TIME: &str = "time";
const SERIES: &str = "series";
const ISSUE_TIME: &str = "issue_time";
const REASONS: &str = "reasons";
const UNITS: &str = "krammerti.units";

/// Rows that are encoded at once. So much more memory than the table itself is needed for each core.
const ROW_GROUP: usize = 512 * 512;

/// A file that is no table of ours.
#[derive(Debug, thiserror::Error)]
pub enum ParquetError {
    /// Not Parquet, or damaged.
    #[error("not a readable Parquet file: {0}")]
    Polars(#[from] PolarsError),
    /// It cannot be read or written.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Parquet, but not as this module writes it.
    #[error("{0}")]
    Schema(String),
    /// The columns do not make a table.
    #[error(transparent)]
    Table(#[from] SeriesError),
}

/// Writes a table. Equal tables give equal bytes.
pub fn to_parquet(table: &Table) -> Result<Vec<u8>, ParquetError> {
    let mut bytes = Vec::new();
    write_parquet(table, &mut bytes)?;
    Ok(bytes)
}

/// The same to a file or the like, without the bytes in memory.
pub fn write_parquet(table: &Table, to: impl Write + Send) -> Result<(), ParquetError> {
    write::<&str>(table, None, to)
}

/// Writes rows with a text for each of them in a last column: why they were refused.
pub fn refused_to_parquet(
    table: &Table,
    reasons: &[impl AsRef<str> + Sync],
) -> Result<Vec<u8>, ParquetError> {
    let mut bytes = Vec::new();
    write(table, Some(reasons), &mut bytes)?;
    Ok(bytes)
}

/// Row group by row group, as many at a time as there are cores. What comes out does not depend on
/// how many that are.
fn write<S: AsRef<str> + Sync>(
    table: &Table,
    reasons: Option<&[S]>,
    to: impl Write + Send,
) -> Result<(), ParquetError> {
    let units: BTreeMap<&str, &str> = table
        .columns()
        .iter()
        .map(|column| (column.name.as_str(), column.unit.as_str()))
        .collect();
    let units =
        serde_json::to_string(&units).map_err(|error| ParquetError::Schema(error.to_string()))?;
    let schema = frame(table, reasons, 0..0)?.schema().clone();
    let writer = ParquetWriter::new(to)
        .with_compression(ParquetCompression::Zstd(None))
        .with_key_value_metadata(Some(KeyValueMetadata::from_static(vec![(
            UNITS.to_owned(),
            units,
        )])))
        .batched(&schema)?;
    let groups: Vec<Range<usize>> = (0..table.rows())
        .step_by(ROW_GROUP)
        .map(|start| start..table.rows().min(start + ROW_GROUP))
        .collect();
    for wave in groups.chunks(rayon::current_num_threads()) {
        let encode = |rows: &Range<usize>| {
            let frame = frame(table, reasons, rows.clone())?;
            let encoded = writer.encode_and_compress(&frame);
            encoded.collect::<Result<Vec<_>, PolarsError>>()
        };
        let encoded: Vec<_> = wave.par_iter().map(encode).collect::<Result<_, _>>()?;
        for groups in encoded {
            writer.write_row_groups(groups)?;
        }
    }
    writer.finish()?;
    Ok(())
}

/// Some rows of a table as polars has them.
fn frame<S: AsRef<str>>(
    table: &Table,
    reasons: Option<&[S]>,
    rows: Range<usize>,
) -> Result<DataFrame, PolarsError> {
    let mut columns = vec![times_to_write(TIME, &table.times()[rows.clone()])?.into_column()];
    if let Some(series) = table.series() {
        let names: Vec<&str> = rows.clone().map(|row| series.name(row)).collect();
        columns.push(PolarsSeries::new(SERIES.into(), names).into_column());
    }
    if let Some(issues) = table.issues() {
        columns.push(times_to_write(ISSUE_TIME, &issues[rows.clone()])?.into_column());
    }
    for column in table.columns() {
        let values = column.values[rows.clone()].iter();
        let values: Float64Chunked = values.map(|&v| (!v.is_nan()).then_some(v)).collect();
        columns.push(values.with_name(column.name.as_str().into()).into_column());
    }
    if let Some(reasons) = reasons {
        let texts: Vec<&str> = reasons[rows.clone()].iter().map(AsRef::as_ref).collect();
        columns.push(PolarsSeries::new(REASONS.into(), texts).into_column());
    }
    DataFrame::new(rows.len(), columns)
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
    read(Cursor::new(bytes), None)
}

/// Reads a table, or those columns of it that are named, in that order; times, series and issue
/// times come with them in any case. Of the file only these columns are read, one after the other.
pub fn read_parquet(file: File, columns: Option<&[String]>) -> Result<Table, ParquetError> {
    read(file, columns)
}

/// The names of the columns of a table, but for those by which its rows are told.
pub fn parquet_columns(file: File) -> Result<Vec<String>, ParquetError> {
    Ok(value_columns(&column_names(&mut ParquetReader::new(file))?))
}

/// Whether its rows are forecasts, which have an issue time.
pub fn parquet_is_forecast(file: File) -> Result<bool, ParquetError> {
    let names = column_names(&mut ParquetReader::new(file))?;
    Ok(names.iter().any(|name| name == ISSUE_TIME))
}

fn read<R: MmapBytesReader>(
    mut input: R,
    columns: Option<&[String]>,
) -> Result<Table, ParquetError> {
    let (names, units) = {
        let mut reader = ParquetReader::new(&mut input);
        (column_names(&mut reader)?, read_units(&mut reader)?)
    };
    let there = value_columns(&names);
    let wanted = columns.map_or_else(|| there.clone(), <[String]>::to_vec);
    if let Some(name) = wanted.iter().find(|name| !there.contains(name)) {
        let name = name.clone();
        return Err(SeriesError::NoColumn { name, there }.into());
    }
    let has = |name: &str| names.iter().any(|other| other == name);
    if !has(TIME) {
        return Err(ParquetError::Schema("it has no column `time`".to_owned()));
    }
    let times = read_times(&read_column(&mut input, TIME)?)?;
    let mut values = Vec::with_capacity(wanted.len());
    for name in wanted {
        values.push(Column {
            unit: units.get(&name).cloned().unwrap_or_else(|| "1".to_owned()),
            values: read_values(&read_column(&mut input, &name)?)?,
            name,
        });
    }
    let mut table = Table::new(times, values)?;
    if has(SERIES) {
        table = table.with_series(read_series(&read_column(&mut input, SERIES)?)?)?;
    }
    if has(ISSUE_TIME) {
        table = table.with_issues(read_times(&read_column(&mut input, ISSUE_TIME)?)?)?;
    }
    Ok(table)
}

fn column_names<R: MmapBytesReader>(
    reader: &mut ParquetReader<R>,
) -> Result<Vec<String>, ParquetError> {
    let schema = reader.schema()?;
    Ok(schema.iter_names().map(ToString::to_string).collect())
}

fn value_columns(names: &[String]) -> Vec<String> {
    let values = names
        .iter()
        .filter(|name| !RESERVED.contains(&name.as_str()));
    values.cloned().collect()
}

/// One column. Nothing else of the file is in memory then: not its other columns, and not its bytes
/// besides what became of them.
fn read_column<R: MmapBytesReader>(
    input: &mut R,
    name: &str,
) -> Result<PolarsSeries, ParquetError> {
    let metadata = ParquetReader::new(&mut *input).get_metadata()?.clone();
    let mut parts = Vec::new();
    for group in &metadata.row_groups {
        for chunk in group.columns_under_root_iter(name).into_iter().flatten() {
            parts.push(chunk.byte_range());
        }
    }
    let bytes = read_parts(input, parts)?;
    let mut reader = ParquetReader::new(Cursor::new(bytes));
    reader.set_metadata(metadata);
    let frame = reader.with_columns(Some(vec![name.to_owned()])).finish()?;
    Ok(frame.column(name)?.as_materialized_series().clone())
}

/// A file of which only some parts are read. The reader wants all of it in one piece: what is not
/// read stays as zeros, for which the system spends no memory. A mapped file would do as well, but
/// for the signal that ends the process where somebody cuts the file short.
fn read_parts(
    input: &mut (impl Read + Seek),
    parts: Vec<Range<u64>>,
) -> Result<Vec<u8>, ParquetError> {
    let length = input.seek(SeekFrom::End(0))?;
    let mut bytes = vec![0; length as usize];
    for part in parts {
        let into = bytes.get_mut(part.start as usize..part.end as usize);
        let into = into.ok_or_else(|| {
            let message = "it is damaged: a column lies beyond its end".to_owned();
            ParquetError::Schema(message)
        })?;
        input.seek(SeekFrom::Start(part.start))?;
        input.read_exact(into)?;
    }
    Ok(bytes)
}

fn read_values(series: &PolarsSeries) -> Result<Vec<f64>, ParquetError> {
    let series = series.cast(&DataType::Float64)?;
    let mut values = Vec::with_capacity(series.len());
    for part in series.f64()?.downcast_iter() {
        match part.validity() {
            None => values.extend_from_slice(part.values()),
            Some(_) => values.extend(part.iter().map(|v| v.copied().unwrap_or(f64::NAN))),
        }
    }
    Ok(values)
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

fn read_units<R: MmapBytesReader>(
    reader: &mut ParquetReader<R>,
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
    let milliseconds = milliseconds.cast(&DataType::Int64)?;
    let mut seconds = Vec::with_capacity(milliseconds.len());
    for part in milliseconds.i64()?.downcast_iter() {
        if let Some(row) = part.iter().position(|time| time.is_none()) {
            let (name, row) = (series.name(), seconds.len() + row);
            let message = format!("its column `{name}` is empty in row {row}");
            return Err(ParquetError::Schema(message));
        }
        seconds.extend(part.values().iter().map(|ms| ms.div_euclid(1000)));
    }
    Ok(seconds)
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

    /// A file of some row groups, with missing values.
    fn large() -> Table {
        let rows = 2 * ROW_GROUP + 5;
        let column = |name: &str, every: usize| Column {
            name: name.into(),
            unit: "m/s".into(),
            values: (0..rows)
                .map(|row| {
                    if row % every == 0 {
                        f64::NAN
                    } else {
                        row as f64
                    }
                })
                .collect(),
        };
        Table::new(
            (0..rows as i64).map(|row| row * 60).collect(),
            vec![column("a", 7), column("b", rows)],
        )
        .unwrap()
    }

    fn bits(table: &Table) -> Vec<Vec<u64>> {
        let of = |column: &Column| column.values.iter().map(|value| value.to_bits()).collect();
        table.columns().iter().map(of).collect()
    }

    #[test]
    fn large_tables_are_written_in_parts_and_read_by_column() {
        let table = large();
        let bytes = to_parquet(&table).unwrap();
        assert_eq!(bytes, to_parquet(&table).unwrap());
        let whole = from_parquet(bytes.clone()).unwrap();
        assert_eq!((whole.times(), bits(&whole)), (table.times(), bits(&table)));

        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let open = || file.try_clone().unwrap();
        assert_eq!(parquet_columns(open()).unwrap(), ["a", "b"]);
        let part = read_parquet(open(), Some(&["b".to_owned()])).unwrap();
        assert_eq!(part.columns().len(), 1);
        assert_eq!(part.columns()[0].unit, "m/s");
        assert_eq!(bits(&part)[0], bits(&table)[1]);
        let none = read_parquet(open(), Some(&[])).unwrap();
        assert_eq!((none.times(), none.columns().len()), (table.times(), 0));
        let error = read_parquet(open(), Some(&["c".to_owned()])).unwrap_err();
        assert_eq!(error.to_string(), "no column c; there are a, b");
        // Cut short after its parts were named, which are at the end.
        let whole = bytes.len();
        let cut = [&bytes[..1000], &bytes[whole - 2000..]].concat();
        assert!(from_parquet(cut).is_err());
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
