//! From tables of observations to what a model sees: values in, values out.
//!
//! ```text
//! Table ──quality──▶ Table ──aggregate, fill──▶ Panel ──features──▶ Dataset ──scale──▶ Frame ──issues──▶ windows
//! ```
//!
//! polars stays in here (Parquet in and out); what leaves for a model is flat `f32` with a shape.
//! No files, no clock, no terminal.

pub mod aggregate;
mod capacity;
mod dataset;
mod error;
pub mod features;
pub mod fill;
mod frame;
mod layout;
mod leakage;
mod outlook;
mod panel;
mod parquet;
mod prepare;
pub mod quality;
mod quantile;
mod regular;
pub mod rolling;
mod scaler;
mod split;
mod table;
mod unscaling;

pub use capacity::{Capacities, Capacity};
pub use dataset::{
    ColumnMeta, Dataset, DatasetError, DatasetMeta, FillMeta, ForecastsMeta, RowCounts, SeriesMeta,
};
pub use error::SeriesError;
pub use features::ColumnSource;
pub use frame::{Frame, FrameColumn, Outlook, Role, columns_with};
pub use layout::{Block, Layout};
pub use outlook::{Run, Runs};
pub use panel::Panel;
pub use parquet::{
    ParquetError, TableWriter, from_parquet, parquet_columns, parquet_is_forecast, read_parquet,
    refused_to_parquet, to_parquet, write_parquet,
};
pub use quantile::quantile;
pub use scaler::Scaler;
pub use split::{EmptyPart, FewComplete, NoWindow, Part, Split, Window, issues_within};
pub use table::{Column, RESERVED, RowSeries, Table, same_value};
pub use unscaling::Unscaling;
