//! Parquet: only the columns that are wanted are read.

use std::fs::File;

use polars::prelude::{
    ArrowDataType, ChunkedArray, DataFrame, DataType, Float64Type, Int64Type, ParquetReader,
    PolarsError, SerReader, Series, StringChunked, TimeUnit, UInt64Type,
};

use super::rows::{Field, Row, Rows};
use super::{some_of, wrong};
use crate::source::SourceError;
use crate::time::{DAY, Stamp};

pub(super) fn read(from: File, file: &str, rows: &mut Rows<'_>) -> Result<(), SourceError> {
    let unreadable =
        |error: PolarsError| wrong(file, format!("not a readable Parquet file: {error}"));
    let names: Vec<String> = rows.wanted().iter().map(|&name| name.to_owned()).collect();
    let mut reader = ParquetReader::new(from);
    let schema = reader.schema().map_err(unreadable)?;
    if let Some(absent) = names
        .iter()
        .find(|name| schema.get(name.as_str()).is_none())
    {
        let there = some_of(schema.iter_names().map(|name| name.as_str().into()));
        return Err(wrong(
            file,
            format!("no column `{absent}`; there are {there}"),
        ));
    }
    for name in &names {
        let kind = schema.get(name.as_str()).map(|field| &field.dtype);
        if let Some(kind) = kind.filter(|kind| !is_read(kind)) {
            let message = format!(
                "expected numbers of 32 or 64 bits, texts or times in `{name}`, found {kind:?}"
            );
            return Err(wrong(file, message));
        }
    }
    let frame = reader
        .with_columns(Some(names.clone()))
        .finish()
        .map_err(unreadable)?;
    let columns = names.iter().map(|name| column(&frame, name, file));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    for row in 0..frame.height() {
        let fields = ParquetRow {
            columns: &columns,
            row,
        };
        rows.add(&fields)
            .map_err(|message| wrong(file, format!("row {}: {message}", row + 1)))?;
    }
    Ok(())
}

/// What polars reads with the features that it is built with: whole numbers of 8 and 16 bits and
/// dictionaries (the categories of pandas) are an error or even a panic of its own.
fn is_read(kind: &ArrowDataType) -> bool {
    matches!(
        kind,
        ArrowDataType::Float32
            | ArrowDataType::Float64
            | ArrowDataType::Int32
            | ArrowDataType::Int64
            | ArrowDataType::UInt32
            | ArrowDataType::UInt64
            | ArrowDataType::Utf8
            | ArrowDataType::LargeUtf8
            | ArrowDataType::Utf8View
            | ArrowDataType::Timestamp(_, _)
            | ArrowDataType::Date32
    )
}

/// A column by what its values are.
enum Values {
    Numbers(ChunkedArray<Float64Type>),
    Whole(ChunkedArray<Int64Type>),
    /// What may be larger than the largest of those.
    Large(ChunkedArray<UInt64Type>),
    Texts(StringChunked),
    Times {
        values: ChunkedArray<Int64Type>,
        /// How many of its units make a second.
        per_second: i64,
        is_utc: bool,
    },
    Days(ChunkedArray<Int64Type>),
}

fn column(frame: &DataFrame, name: &str, file: &str) -> Result<Values, SourceError> {
    let unreadable = |error: PolarsError| wrong(file, format!("column `{name}`: {error}"));
    let column = frame.column(name).map_err(unreadable)?;
    let column = column.as_materialized_series().rechunk();
    let whole = |column: &Series| -> Result<_, PolarsError> {
        Ok(column.cast(&DataType::Int64)?.i64()?.clone())
    };
    match column.dtype() {
        DataType::String => Ok(Values::Texts(column.str().map_err(unreadable)?.clone())),
        DataType::Datetime(unit, zone) => Ok(Values::Times {
            values: whole(&column).map_err(unreadable)?,
            per_second: match unit {
                TimeUnit::Milliseconds => 1_000,
                TimeUnit::Microseconds => 1_000_000,
                TimeUnit::Nanoseconds => 1_000_000_000,
            },
            is_utc: zone.is_some(),
        }),
        DataType::Date => Ok(Values::Days(whole(&column).map_err(unreadable)?)),
        DataType::UInt64 => Ok(Values::Large(column.u64().map_err(unreadable)?.clone())),
        kind if kind.is_integer() => Ok(Values::Whole(whole(&column).map_err(unreadable)?)),
        kind if kind.is_primitive_numeric() => {
            let values = column.cast(&DataType::Float64).map_err(unreadable)?;
            Ok(Values::Numbers(values.f64().map_err(unreadable)?.clone()))
        }
        other => {
            let message = format!("expected numbers, texts or times in `{name}`, found {other}");
            Err(wrong(file, message))
        }
    }
}

struct ParquetRow<'a> {
    columns: &'a [Values],
    row: usize,
}

impl Row for ParquetRow<'_> {
    fn field(&self, slot: usize) -> Field<'_> {
        let field = match &self.columns[slot] {
            Values::Numbers(values) => values.get(self.row).map(Field::Number),
            Values::Whole(values) => values
                .get(self.row)
                .map(|number| Field::Whole(number.into())),
            Values::Large(values) => values
                .get(self.row)
                .map(|number| Field::Whole(number.into())),
            Values::Texts(values) => values
                .get(self.row)
                .map(|text| Field::Text(text.as_bytes())),
            Values::Times {
                values,
                per_second,
                is_utc,
            } => values.get(self.row).map(|time| {
                Field::Time(Stamp {
                    local: time.div_euclid(*per_second),
                    offset: is_utc.then_some(0),
                })
            }),
            Values::Days(values) => values.get(self.row).map(|day| {
                Field::Time(Stamp {
                    local: day.saturating_mul(DAY),
                    offset: None,
                })
            }),
        };
        field.unwrap_or(Field::Missing)
    }
}
