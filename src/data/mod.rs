//! From a table of observations to what a model sees: values in, values out.
//!
//! ```text
//! Table ──from_table──▶ Series ──features──▶ Series ──scale──▶ Frame ──issues──▶ windows
//! ```
//!
//! polars stays in here (Parquet in and out); what leaves for a model is flat `f32` with a shape.
//! No files, no clock, no terminal.

mod dataset;
pub mod features;
mod frame;
mod parquet;
pub mod quality;
mod scaler;
mod series;
mod split;
mod table;

pub use dataset::{CalendarName, ColumnMeta, ColumnSource, Dataset, DatasetError, DatasetMeta};
pub use frame::{Frame, FrameColumn, Role, columns_with, target_of};
pub use parquet::{
    ParquetError, from_parquet, parquet_columns, read_parquet, refused_to_parquet, to_parquet,
    write_parquet,
};
pub use scaler::Scaler;
pub use series::{RowCounts, Series, SeriesError, fill_gaps};
pub use split::{Part, Split, Window};
pub use table::{Column, RESERVED, RowSeries, Table};
