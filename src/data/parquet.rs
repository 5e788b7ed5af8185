//! Tables as Parquet: `time` in UTC milliseconds, where there are several series their names under
//! `series`, where the rows are forecasts their `issue_time`, one `f64` column each, and units in
//! the file's own key-value metadata under `krammerti.units`, so that nothing but this file is
//! needed to read it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Cursor, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;

use polars::io::mmap::MmapBytesReader;
use polars::io::parquet::write::BatchedWriter;
use polars::prelude::{
    CompatLevel, DataFrame, DataType, FileMetadata, FileMetadataRef, Float64Chunked, IntoColumn,
    KeyValueMetadata, NamedFrom, ParallelStrategy, ParquetReader, PolarsError, SchemaExt as _,
    SerReader, Series as PolarsSeries, StatisticsOptions, TimeUnit, TimeZone, get_encodings,
};
use polars_parquet::write::{
    CompressedPage, CompressionOptions, Encoding, FileWriter, Page, SchemaDescriptor, Version,
    WriteOptions, array_to_columns, compress as compress_page,
};
use rayon::prelude::*;

use super::table::{RESERVED, check_shape, first_infinite};
use super::{Column, RowSeries, SeriesError, Table};

const TIME: &str = "time";
const SERIES: &str = "series";
const ISSUE_TIME: &str = "issue_time";
const REASONS: &str = "reasons";
const UNITS: &str = "krammerti.units";

/// Rows that are encoded at once. So much more memory than the table itself is needed for each core.
const ROW_GROUP: usize = 512 * 512;

/// How Arrow sees what is written: texts as every reader knows them. By its newer views pyarrow, for one, neither
/// filters nor sorts.
fn widely_known() -> CompatLevel {
    CompatLevel::oldest()
}

/// How pages are written: as the writer of polars does where nothing but the compression is asked for.
const WRITTEN: WriteOptions = WriteOptions {
    statistics: StatisticsOptions {
        min_value: true,
        max_value: true,
        distinct_count: false,
        null_count: true,
        binary_statistics_truncate_length: None,
    },
    version: Version::V1,
    compression: CompressionOptions::Zstd(None),
    data_page_size: None,
};

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

fn write<S: AsRef<str> + Sync>(
    table: &Table,
    reasons: Option<&[S]>,
    to: impl Write + Send,
) -> Result<(), ParquetError> {
    let mut writer = TableWriter::of(table, reasons, to)?;
    writer.write_all(table, reasons)?;
    writer.finish()
}

/// Writes tables with the same columns one after the other into one file. What comes out does not depend
/// on how many cores there are.
pub struct TableWriter<W: Write + Send> {
    writer: BatchedWriter<W>,
    encoder: Encoder,
}

impl<W: Write + Send> TableWriter<W> {
    /// For tables like this one, of which nothing is written yet.
    pub fn new(like: &Table, to: W) -> Result<Self, ParquetError> {
        Self::of::<&str>(like, None, to)
    }

    fn of<S: AsRef<str>>(like: &Table, reasons: Option<&[S]>, to: W) -> Result<Self, ParquetError> {
        let columns = like.columns().iter();
        let units: BTreeMap<&str, &str> = columns
            .map(|column| (column.name.as_str(), column.unit.as_str()))
            .collect();
        let units = serde_json::to_string(&units)
            .map_err(|error| ParquetError::Schema(error.to_string()))?;
        let schema = frame(like, reasons, 0..0)?
            .schema()
            .to_arrow(widely_known());
        let units = KeyValueMetadata::from_static(vec![(UNITS.to_owned(), units)]);
        let encodings = get_encodings(&schema);
        let file = FileWriter::try_new(to, schema, WRITTEN)?;
        let encoder = Encoder {
            schema: file.parquet_schema().clone(),
            encodings: encodings.clone().to_vec(),
        };
        let writer = BatchedWriter::new(Mutex::new(file), encodings, WRITTEN, false, Some(units));
        Ok(Self { writer, encoder })
    }

    /// Writes a table.
    pub fn write(&mut self, table: &Table) -> Result<(), ParquetError> {
        self.write_all::<&str>(table, None)
    }

    /// Row group by row group, as many at a time as there are cores.
    fn write_all<S: AsRef<str> + Sync>(
        &mut self,
        table: &Table,
        reasons: Option<&[S]>,
    ) -> Result<(), ParquetError> {
        let groups: Vec<Range<usize>> = (0..table.rows())
            .step_by(ROW_GROUP)
            .map(|start| start..table.rows().min(start + ROW_GROUP))
            .collect();
        for wave in groups.chunks(rayon::current_num_threads()) {
            let encode = |rows: &Range<usize>| {
                let columns = self.encoder.encode(&frame(table, reasons, rows.clone())?)?;
                Ok((rows.len() as u64, columns))
            };
            let encoded = wave.par_iter().map(encode);
            for (rows, columns) in encoded.collect::<Result<Vec<_>, PolarsError>>()? {
                self.writer.write_row_group(rows, &columns)?;
            }
        }
        Ok(())
    }

    /// Writes what ends the file, and flushes.
    pub fn finish(self) -> Result<(), ParquetError> {
        self.writer.finish()?;
        Ok(())
    }
}

/// Makes what is written of a row group. The writer of polars would do the same, but only as it writes
/// and so on one core, also where it says that it encodes and compresses first.
struct Encoder {
    schema: SchemaDescriptor,
    encodings: Vec<Vec<Encoding>>,
}

impl Encoder {
    /// The compressed pages of each column.
    fn encode(&self, frame: &DataFrame) -> Result<Vec<Vec<CompressedPage>>, PolarsError> {
        let mut columns = Vec::new();
        // One chunk: nothing was put together in a frame.
        for chunk in frame.iter_chunks(widely_known(), false) {
            let arrays = chunk.columns().par_iter();
            let parts = arrays.zip(self.schema.fields()).zip(&self.encodings);
            let encode = parts.map(|((array, kind), encodings)| {
                let pages = array_to_columns(array, kind.clone(), WRITTEN, encodings)?;
                pages.into_iter().map(compress).collect()
            });
            let encoded: Vec<Vec<_>> = encode.collect::<Result<_, PolarsError>>()?;
            columns.extend(encoded.into_iter().flatten());
        }
        Ok(columns)
    }
}

fn compress(
    pages: impl Iterator<Item = Result<Page, PolarsError>>,
) -> Result<Vec<CompressedPage>, PolarsError> {
    let compress = |page: Result<Page, PolarsError>| {
        let compressed = compress_page(page?, Vec::new(), WRITTEN.compression);
        compressed.map_err(PolarsError::from)
    };
    pages.map(compress).collect()
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
    read(&Input::Bytes(bytes), None)
}

/// Reads a table, or those columns of it that are named, in that order; times, series and issue
/// times come with them in any case. Of the file only these columns are read, one after the other.
pub fn read_parquet(file: File, columns: Option<&[String]>) -> Result<Table, ParquetError> {
    read(&Input::File(file), columns)
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

fn read(input: &Input, columns: Option<&[String]>) -> Result<Table, ParquetError> {
    let (names, units, metadata) = match input {
        Input::File(file) => read_footer(file.try_clone()?)?,
        Input::Bytes(bytes) => read_footer(Cursor::new(bytes))?,
    };
    let there = value_columns(&names);
    let wanted = columns.map_or_else(|| there.clone(), <[String]>::to_vec);
    if let Some(name) = wanted.iter().find(|name| !there.contains(name)) {
        return Err(SeriesError::no_column(name, there).into());
    }
    let has = |name: &str| names.iter().any(|other| other == name);
    if !has(TIME) {
        return Err(ParquetError::Schema("it has no column `time`".to_owned()));
    }
    let pieces = Pieces::new(input, &metadata);
    let times = pieces.fill(TIME, read_times)?;
    let mut values = Vec::with_capacity(wanted.len());
    for name in wanted {
        values.push(Column {
            unit: units.get(&name).cloned().unwrap_or_else(|| "1".to_owned()),
            values: pieces.fill(&name, read_values)?,
            name,
        });
    }
    check_shape(times.len(), &values)?;
    let mut table = Table::of(times, values);
    if has(SERIES) {
        table = table.with_series(read_series(&pieces.read(SERIES)?)?)?;
    }
    if has(ISSUE_TIME) {
        table = table.with_issues(pieces.fill(ISSUE_TIME, read_times)?)?;
    }
    Ok(table)
}

/// Column names, units, and where everything lies.
type Footer = (Vec<String>, BTreeMap<String, String>, FileMetadataRef);

fn read_footer(input: impl MmapBytesReader) -> Result<Footer, ParquetError> {
    let mut reader = ParquetReader::new(input);
    let (names, units) = (column_names(&mut reader)?, read_units(&mut reader)?);
    Ok((names, units, reader.get_metadata()?.clone()))
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

/// Where a table is read from; by several threads at once.
enum Input {
    File(File),
    Bytes(Vec<u8>),
}

impl Input {
    fn length(&self) -> std::io::Result<usize> {
        Ok(match self {
            Self::File(file) => file.metadata()?.len() as usize,
            Self::Bytes(bytes) => bytes.len(),
        })
    }

    /// A copy of which only some parts are read, perhaps with more behind it. The reader wants all of it in one piece:
    /// what is not read stays as zeros, for which the system spends no memory. A mapped file would do as well,
    /// but for the signal that ends the process where somebody cuts the file short.
    fn parts(&self, parts: &[Range<u64>]) -> Result<Vec<u8>, ParquetError> {
        /// What is larger comes from the system as zeros. Less may be memory that was in use before, which the
        /// allocator of glibc then fills with zeros, the whole file for each column.
        const ALWAYS_MAPPED: usize = (32 << 20) + 1;
        let length = self.length()?;
        let mut copy = vec![0; length.max(ALWAYS_MAPPED)];
        for part in parts {
            let place = part.start as usize..part.end as usize;
            let into = copy[..length].get_mut(place.clone()).ok_or_else(|| {
                let message = "it is damaged: a column lies beyond its end".to_owned();
                ParquetError::Schema(message)
            })?;
            match self {
                Self::File(file) => file.read_exact_at(into, part.start)?,
                Self::Bytes(bytes) => into.copy_from_slice(&bytes[place]),
            }
        }
        Ok(copy)
    }
}

/// The rows of a file in pieces of some row groups each, which the cores read side by side.
struct Pieces<'a> {
    input: &'a Input,
    pieces: Vec<FileMetadataRef>,
}

impl<'a> Pieces<'a> {
    fn new(input: &'a Input, metadata: &FileMetadataRef) -> Self {
        let mut pieces = Vec::new();
        let mut groups = metadata.row_groups.iter().peekable();
        // One at least: a table without rows has columns of some type all the same.
        while pieces.is_empty() || groups.peek().is_some() {
            // Each piece is told what the whole file holds, so small groups stay together.
            let mut piece = FileMetadata {
                num_rows: 0,
                row_groups: Vec::new(),
                ..metadata.as_ref().clone()
            };
            while let Some(group) = groups.next_if(|_| piece.num_rows < ROW_GROUP) {
                piece.num_rows = piece.num_rows.saturating_add(group.num_rows());
                piece.row_groups.push(group.clone());
            }
            pieces.push(piece.into());
        }
        Self { input, pieces }
    }

    /// A column, each piece put where it belongs by `read`, which is told its first row. Of what the
    /// file holds and of what polars makes of it, one piece for each core is in memory beside the
    /// column itself.
    fn fill<T: Copy + Default + Send>(
        &self,
        name: &str,
        read: impl Fn(&PolarsSeries, &mut [T], usize) -> Result<(), ParquetError> + Sync,
    ) -> Result<Vec<T>, ParquetError> {
        let rows = self.pieces.iter().map(|piece| piece.num_rows);
        let rows = rows.fold(0, usize::saturating_add);
        let mut values = zeros(rows)?;
        let mut rest = values.as_mut_slice();
        let mut places = Vec::with_capacity(self.pieces.len());
        for piece in &self.pieces {
            let first = rows - rest.len();
            let (into, after) = rest.split_at_mut(piece.num_rows);
            places.push((piece, into, first));
            rest = after;
        }
        let read = |(piece, into, first): (&FileMetadataRef, &mut [T], usize)| {
            read(&self.read_piece(piece, name)?, into, first)
        };
        let read: Vec<Result<(), ParquetError>> = places.into_par_iter().map(read).collect();
        // In order, so that it is the first row with a fault that is told.
        read.into_iter().collect::<Result<(), ParquetError>>()?;
        Ok(values)
    }

    /// The pieces of a column as polars has them.
    fn read(&self, name: &str) -> Result<Vec<PolarsSeries>, ParquetError> {
        let read = |piece| self.read_piece(piece, name);
        self.pieces.par_iter().map(read).collect()
    }

    fn read_piece(
        &self,
        piece: &FileMetadataRef,
        name: &str,
    ) -> Result<PolarsSeries, ParquetError> {
        let mut parts = Vec::new();
        for group in &piece.row_groups {
            for chunk in group.columns_under_root_iter(name).into_iter().flatten() {
                parts.push(chunk.byte_range());
            }
        }
        let mut reader = ParquetReader::new(Cursor::new(self.input.parts(&parts)?));
        reader.set_metadata(piece.clone());
        // The cores have other pieces.
        let reader = reader.read_parallel(ParallelStrategy::None);
        let frame = reader.with_columns(Some(vec![name.to_owned()])).finish()?;
        let series = frame.column(name)?.as_materialized_series().clone();
        if series.len() != piece.num_rows {
            let (found, expected) = (series.len(), piece.num_rows);
            let message =
                format!("it is damaged: {found} rows of `{name}` where there should be {expected}");
            return Err(ParquetError::Schema(message));
        }
        Ok(series)
    }
}

/// `first` is the row of the table that the piece begins with.
fn read_values(series: &PolarsSeries, into: &mut [f64], first: usize) -> Result<(), ParquetError> {
    // A text that is no number would become a missing value.
    if matches!(series.dtype(), DataType::String | DataType::Binary) {
        let message = format!("column {} holds texts in place of numbers", series.name());
        return Err(ParquetError::Schema(message));
    }
    let numbers = series.cast(&DataType::Float64)?;
    let mut rest = &mut *into;
    for part in numbers.f64()?.downcast_iter() {
        let (into, after) = rest.split_at_mut(part.len());
        into.copy_from_slice(part.values());
        if let Some(present) = part.validity() {
            // Mostly few are missing: whole words of the map are passed over at once.
            (!present)
                .true_idx_iter()
                .for_each(|row| into[row] = f64::NAN);
        }
        rest = after;
    }
    // Now, while they are in the cache.
    match first_infinite(into) {
        Some(row) => Err(SeriesError::Infinite {
            column: series.name().to_string(),
            row: first + row,
        }
        .into()),
        None => Ok(()),
    }
}

/// So many zeros. The system gives room for them only where something is written, to the core that
/// writes it.
fn zeros<T: Clone + Default>(rows: usize) -> Result<Vec<T>, ParquetError> {
    // A damaged file may speak of more rows than there is memory for, which would end the process.
    if Vec::<T>::new().try_reserve_exact(rows).is_err() {
        let message = format!("there is no memory for the {rows} rows that it speaks of");
        return Err(ParquetError::Schema(message));
    }
    Ok(vec![T::default(); rows])
}

fn read_series(pieces: &[PolarsSeries]) -> Result<RowSeries, ParquetError> {
    let names: Vec<PolarsSeries> = (pieces.iter())
        .map(|piece| piece.cast(&DataType::String))
        .collect::<Result<_, _>>()?;
    let names = names.iter().map(|piece| piece.str());
    let names = names.collect::<Result<Vec<_>, _>>()?;
    if names.iter().any(|piece| piece.null_count() > 0) {
        let message = "its column `series` has rows without a name".to_owned();
        return Err(ParquetError::Schema(message));
    }
    let rows = names.iter().flat_map(|piece| piece.iter().flatten());
    Ok(RowSeries::from_names(rows))
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

/// `first` is the row of the table that the piece begins with.
fn read_times(series: &PolarsSeries, into: &mut [i64], first: usize) -> Result<(), ParquetError> {
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
    let mut rest = into;
    let mut first = first;
    for part in milliseconds.i64()?.downcast_iter() {
        if let Some(row) = part.iter().position(|time| time.is_none()) {
            let (name, row) = (series.name(), first + row);
            let message = format!("its column `{name}` is empty in row {row}");
            return Err(ParquetError::Schema(message));
        }
        let (into, after) = rest.split_at_mut(part.len());
        let seconds = part.values().iter().map(|ms| ms.div_euclid(1000));
        into.iter_mut()
            .zip(seconds)
            .for_each(|(to, time)| *to = time);
        first += part.len();
        rest = after;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
