//! A prepared data set: series with the roles, units, scaling and split that belong to them.
//!
//! It is written as files that any Parquet and JSON reader understands: `series.parquet` holds
//! all columns in their own units with the time in UTC, `forecasts.parquet`, where there are
//! forecasts from outside, every run of them, and `dataset.json` everything else.

mod observations;
mod scaled;

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::capacity;
use super::features::ColumnSource;
use super::{
    Capacities, Capacity, Column, EmptyPart, FrameColumn, Layout, Panel, Part, Role, Runs, Scaler,
    SeriesError, Split, Table,
};
use crate::params::{FillMethod, QualityParams, Targets};
use crate::time::{Step, format_utc, parse_time};

/// The version of `dataset.json`.
pub(super) const FORMAT: u32 = 2;

/// Series that models can be trained on.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    panel: Panel,
    runs: Option<Runs>,
    meta: DatasetMeta,
}

/// `dataset.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetMeta {
    /// Version of this format.
    pub format: u32,
    /// The columns to forecast.
    #[serde(rename = "target")]
    pub targets: Targets,
    /// The time between two rows.
    pub step: Step,
    /// The time of the first row of any series.
    pub first_time: String,
    /// The time of the last row of any series.
    pub last_time: String,
    /// The series, in the order of their rows.
    pub series: Vec<SeriesMeta>,
    /// The times of each part: no window of a model crosses a border.
    pub split: Split,
    /// What happened to the rows on the way.
    pub rows: RowCounts,
    /// How gaps were filled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fill: Option<FillMeta>,
    /// The forecasts from outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecasts: Option<ForecastsMeta>,
    /// What columns can reach at most: a model sees shares of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub capacity: Capacities,
    /// The columns in the order of `series.parquet`, after its `time`.
    pub columns: Vec<ColumnMeta>,
}

/// One series.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeriesMeta {
    /// Its name; absent where there is one only.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The time of its first row.
    pub first_time: String,
    /// Its rows.
    pub rows: usize,
    /// Where gaps were filled, the time of the last row in which anything was observed, but for what is known
    /// before its time; absent where nothing ever was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_until: Option<String>,
}

/// What happened to observations on the way to a data set. `rows_in` is always
/// `kept + duplicates + dropped`; without aggregation `kept` is `rows_out − missing_rows`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowCounts {
    /// Rows of the raw data.
    pub rows_in: usize,
    /// Rows that stood there twice or more, with equal values.
    pub duplicates: usize,
    /// Other rows that a quality check refused.
    pub dropped: usize,
    /// Rows that were used.
    pub kept: usize,
    /// Values that a quality check took away.
    pub masked: usize,
    /// Rows of the series for which there was no row.
    pub missing_rows: usize,
    /// Rows of the series.
    pub rows_out: usize,
}

/// How gaps were filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FillMeta {
    /// Longer gaps stay missing.
    pub up_to: Step,
    /// Where the values come from.
    pub method: FillMethod,
}

/// Forecasts from outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForecastsMeta {
    /// Seconds from the issue of a run to the moment at which it can be had.
    pub delay_s: i64,
    /// How many runs there are.
    pub runs: usize,
    /// When the first of them was issued.
    pub first_issue: String,
    /// When the last of them was issued.
    pub last_issue: String,
}

/// What `dataset.json` says of a column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnMeta {
    /// Its name.
    pub name: String,
    /// What may be known of it when a forecast is made.
    pub role: Role,
    /// Its unit; `1` for a number without one.
    pub unit: String,
    /// What it was made from.
    pub source: ColumnSource,
    /// How it is scaled for a model; fitted on the training part only.
    pub scaler: Scaler,
    /// The smallest value, over all parts.
    pub min: Option<f64>,
    /// The largest value, over all parts.
    pub max: Option<f64>,
    /// Values filled.
    pub filled: usize,
    /// Values still missing.
    pub missing: usize,
}

/// What can be wrong with a data set or what it is made from.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DatasetError {
    /// The table breaks a rule.
    #[error(transparent)]
    Series(#[from] SeriesError),
    /// A name in the parameters that nothing has.
    #[error("{key}: {error}")]
    Named {
        /// The key that it stands under.
        key: &'static str,
        /// What there is.
        error: SeriesError,
    },
    /// No row for one of the three parts.
    #[error(transparent)]
    EmptyPart(#[from] EmptyPart),
    /// Values of a column are so large that their mean or deviation is none.
    #[error(
        "column {0} has values in the training part that are too large to be scaled; \
         `prepare.quality.range: mask` takes out what cannot be"
    )]
    TooLarge(String),
    /// The column to forecast has no value in the training part.
    #[error("column {0}, which is to be forecast, has no value in the training part")]
    NoTarget(String),
    /// The logarithm was asked for, and there is none.
    #[error(
        "column {column} has the value {smallest}{} in the training part, which scaling by log1p \
         cannot take (it needs more than -1)", if *.of_capacity { " of its capacity" } else { "" }
    )]
    NoLogarithm {
        /// The column.
        column: String,
        /// Its smallest value.
        smallest: f64,
        /// Whether that is a share.
        of_capacity: bool,
    },
    /// A feature looks ahead.
    #[error(
        "column {column} at {} changes when data after {} are altered: it looks ahead, so a \
         forecast issued then could not have it", format_utc(*.time), format_utc(*.issue)
    )]
    Leak {
        /// The feature.
        column: String,
        /// The row that changes.
        time: i64,
        /// The time after which data were altered.
        issue: i64,
    },
    /// Of a column that has a capacity, a series has none.
    #[error(
        "prepare.capacity.{column}: expected a number above 0 for each series, found none for {}", told(.series)
    )]
    NoCapacity {
        /// The column.
        column: String,
        /// The series.
        series: String,
    },
    /// Rows with an issue time where observations are needed, or none where forecasts are.
    #[error("{0}")]
    Kind(&'static str),
    /// `dataset.json` and `series.parquet` do not belong together, or are not ours.
    #[error("{0}")]
    Mismatch(String),
}

fn told(series: &str) -> &str {
    match series {
        "" => "all together, of which it speaks: give it one of its own under this name",
        name => name,
    }
}

impl Dataset {
    pub(super) fn new(panel: Panel, runs: Option<Runs>, meta: DatasetMeta) -> Self {
        Self { panel, runs, meta }
    }

    /// Puts a data set together from its files.
    pub fn from_parts(
        table: Table,
        forecasts: Option<&Table>,
        meta: DatasetMeta,
    ) -> Result<Self, DatasetError> {
        let mismatch = |message: String| Err(DatasetError::Mismatch(message));
        if meta.format != FORMAT {
            return mismatch(format!(
                "dataset.json has format {}, this krammerti reads {FORMAT}: run `krammerti prepare` again",
                meta.format
            ));
        }
        let marked = meta.columns.iter().filter(|c| c.role == Role::Target);
        if !marked.map(|c| &c.name).eq(meta.targets.names()) {
            let targets = &meta.targets;
            return mismatch(format!(
                "dataset.json has other columns with the role target than {targets}"
            ));
        }
        let layout = layout_of(&meta)?;
        for (column, capacity) in &meta.capacity {
            if !capacity.is_sound() {
                return mismatch(format!(
                    "dataset.json has a capacity of {column} that is none"
                ));
            }
            let series = layout.blocks().iter().map(|block| block.name.as_str());
            if let Some(lacking) = capacity.lacking(series) {
                return Err(DatasetError::NoCapacity {
                    column: column.clone(),
                    series: lacking.to_owned(),
                });
            }
        }
        if table.rows() != layout.rows() {
            return mismatch(format!(
                "series.parquet has {} rows, dataset.json speaks of {}",
                table.rows(),
                layout.rows()
            ));
        }
        if let Some((row, time)) = layout
            .times()
            .enumerate()
            .find(|&(row, time)| table.times()[row] != time)
        {
            return mismatch(format!(
                "row {row} of series.parquet is at {}, dataset.json has {} there",
                format_utc(table.times()[row]),
                format_utc(time)
            ));
        }
        let names: Vec<String> = meta.columns.iter().map(|c| c.name.clone()).collect();
        let there = table.columns().iter().map(|column| &column.name);
        let table = if there.eq(&names) {
            table
        } else {
            table.select(&names)?
        };
        let panel = Panel::new(layout, table.into_columns())?;
        let runs = match (&meta.forecasts, forecasts) {
            (Some(_), Some(table)) => Some(Runs::new(
                table,
                meta.step,
                panel.layout().phase(),
                &QualityParams::default(),
            )?),
            (None, _) => None,
            (Some(_), None) => {
                return mismatch("dataset.json speaks of forecasts that are not there".to_owned());
            }
        };
        if let (Some(known), Some(runs)) = (&meta.forecasts, &runs)
            && known.runs != runs.runs().len()
        {
            return mismatch(format!(
                "forecasts.parquet has {} runs, dataset.json speaks of {}",
                runs.runs().len(),
                known.runs
            ));
        }
        Ok(Self { panel, runs, meta })
    }

    /// What [`Dataset::from_parts`] puts together. Nothing is copied: who writes a data set needs no
    /// second one.
    pub fn into_parts(self) -> Result<(Table, Option<Table>, DatasetMeta), SeriesError> {
        let forecasts = self.runs.map(Runs::into_table).transpose()?;
        Ok((self.panel.into_table(), forecasts, self.meta))
    }

    /// All columns in their own units.
    pub fn panel(&self) -> &Panel {
        &self.panel
    }

    /// Everything else.
    pub fn meta(&self) -> &DatasetMeta {
        &self.meta
    }

    /// What is known of the targets, in their order.
    pub fn targets(&self) -> impl Iterator<Item = &ColumnMeta> {
        let columns = self.meta.columns.iter();
        columns.filter(|column| column.role == Role::Target)
    }

    /// The same for models that scale the targets so: they cannot see a value without a logarithm, which counts as
    /// missing.
    pub fn seen_targets(&self, scalers: &[Scaler]) -> Vec<Cow<'_, [f64]>> {
        let mut observed = self.observed_targets();
        if !scalers.iter().any(|scaler| scaler.is_logarithmic()) {
            return observed;
        }
        let places =
            (0..self.meta.columns.len()).filter(|&c| self.meta.columns[c].role == Role::Target);
        let shares = self.observed_shares();
        for ((place, values), shares) in places.zip(&mut observed).zip(&shares) {
            let scaler = scalers[place];
            if !scaler.is_logarithmic() {
                continue;
            }
            let seen = values.iter().zip(shares.iter());
            let seen = seen.map(|(&value, &share)| match scaler.transform(share) {
                scaled if scaled.is_nan() => f64::NAN,
                _ => value,
            });
            *values = seen.collect();
        }
        observed
    }

    /// Each target where it was observed: a value that was filled is missing here, for no forecast
    /// should be held against it.
    pub fn observed_targets(&self) -> Vec<Cow<'_, [f64]>> {
        let observed = |name: &String| {
            let target = self.panel.column(name).ok()?;
            Some(without_filled(target, self.mask_of(Some(name))))
        };
        let names = self.meta.targets.names();
        names.iter().filter_map(observed).collect()
    }

    /// A column where it was observed. Where nothing but the share of each row that was filled is known, rows without
    /// any are.
    pub fn observed(&self, name: &str) -> Result<Cow<'_, [f64]>, SeriesError> {
        let column = self.panel.column(name)?;
        let mask = self.mask_of(Some(name)).or_else(|| self.mask_of(None));
        Ok(without_filled(column, mask))
    }

    /// The same as shares of the capacity of each series, where a target has one.
    pub fn observed_shares(&self) -> Vec<Cow<'_, [f64]>> {
        let places =
            (0..self.meta.columns.len()).filter(|&c| self.meta.columns[c].role == Role::Target);
        let pairs = places.zip(self.observed_targets());
        pairs
            .map(|(place, observed)| self.shares(place, observed))
            .collect()
    }

    /// Values of a column, by its place, as shares of the capacity of each series, where it has one.
    pub fn shares<'v>(&self, column: usize, mut values: Cow<'v, [f64]>) -> Cow<'v, [f64]> {
        if let Some(capacity) = self.meta.capacity_of(column) {
            for block in self.panel.layout().blocks() {
                let capacity = capacity.of(&block.name).unwrap_or(f64::NAN);
                for value in &mut values.to_mut()[block.rows.clone()] {
                    *value /= capacity;
                }
            }
        }
        values
    }

    /// The columns as a model sees them.
    pub fn frame_columns(&self) -> Vec<FrameColumn> {
        let columns = self.meta.columns.iter();
        FrameColumn::from_sources(columns.map(|c| (c.name.as_str(), c.role, Some(&c.source))))
    }

    /// The column that says where another one was filled, or how much of each row.
    fn mask_of(&self, name: Option<&str>) -> Option<&Column> {
        let says = |meta: &ColumnMeta| match &meta.source {
            ColumnSource::Filled { column } => column.as_deref() == name,
            _ => false,
        };
        let place = self.meta.columns.iter().position(says)?;
        self.panel.columns().get(place)
    }

    /// What reaches far beyond its capacity, be it in the unit of another column or a series that has grown since: the
    /// column, the series, and how many times its capacity.
    pub fn beyond_capacity(&self) -> Vec<(&str, &str, f64)> {
        let mut beyond = Vec::new();
        for (name, capacity) in &self.meta.capacity {
            let Ok(column) = self.panel.column(name) else {
                continue;
            };
            for block in self.panel.layout().blocks() {
                let times = capacity.excess(&block.name, &column.values[block.rows.clone()]);
                if times > MOST_OF_CAPACITY {
                    beyond.push((name.as_str(), block.name.as_str(), times));
                }
            }
        }
        beyond
    }

    /// What scalers, one of each column, have no place for: the column, how many values, and the smallest.
    pub fn without_place(&self, scalers: &[Scaler]) -> Vec<(&str, usize, f64)> {
        let columns = self.panel.columns().iter().zip(scalers).enumerate();
        let odd = columns.filter_map(|(place, (column, scaler))| {
            let values = self.shares(place, Cow::Borrowed(&column.values));
            let odd = values.iter().filter(|value| !value.is_nan());
            let odd: Vec<f64> = odd
                .copied()
                .filter(|value| scaler.transform(*value).is_nan())
                .collect();
            let smallest = odd.iter().copied().reduce(f64::min)?;
            Some((column.name.as_str(), odd.len(), smallest))
        });
        odd.collect()
    }

    /// Takes over the capacities that a model was trained with, where they were found in data.
    #[must_use]
    pub fn sized_as(mut self, of_model: &Capacities) -> Self {
        capacity::adopt(&mut self.meta.capacity, of_model);
        self
    }

    /// The scalers of the columns.
    pub fn scalers(&self) -> Vec<Scaler> {
        self.meta
            .columns
            .iter()
            .map(|column| column.scaler)
            .collect()
    }

    /// The rows of a part in all series.
    pub fn count(&self, part: Part) -> usize {
        self.meta.split.count(part, self.panel.layout())
    }
}

impl DatasetMeta {
    /// The capacity of a column, by its place.
    fn capacity_of(&self, column: usize) -> Option<&Capacity> {
        let columns = self.columns.iter();
        let columns: Vec<_> = columns.map(|c| (c.name.as_str(), &c.source)).collect();
        capacity::of_column(&self.capacity, &columns, column)
    }

    /// The capacity of a target in a series; 1 where it has none.
    pub fn capacity(&self, target: &str, series: &str) -> f64 {
        let known = self.capacity.get(target);
        known.and_then(|known| known.of(series)).unwrap_or(1.0)
    }
}

/// A farm gives a little more than its plate says at times, and a station more than it did in its training part.
const MOST_OF_CAPACITY: f64 = 1.5;

/// Values of a column but for those that were filled.
fn without_filled<'a>(column: &'a Column, filled: Option<&Column>) -> Cow<'a, [f64]> {
    let Some(filled) = filled else {
        return Cow::Borrowed(&column.values);
    };
    let pairs = column.values.iter().zip(&filled.values);
    pairs
        .map(|(&value, &filled)| if filled > 0.0 { f64::NAN } else { value })
        .collect()
}

/// The name of the column that says where another one was filled.
pub(super) fn filled_name(column: &str) -> String {
    format!("{column}_filled")
}

/// What `dataset.json` says of the series of a layout.
pub(super) fn series_of(layout: &Layout, observed_until: &[Option<i64>]) -> Vec<SeriesMeta> {
    let blocks = layout.blocks().iter().enumerate();
    let series = |(place, block): (usize, &super::Block)| SeriesMeta {
        name: block.name.clone(),
        first_time: format_utc(block.start),
        rows: block.rows.len(),
        observed_until: observed_until.get(place).copied().flatten().map(format_utc),
    };
    blocks.map(series).collect()
}

fn layout_of(meta: &DatasetMeta) -> Result<Layout, DatasetError> {
    let start = |series: &SeriesMeta| {
        let text = &series.first_time;
        let time = parse_time(text, None, 0);
        time.ok_or_else(|| DatasetError::Mismatch(format!("dataset.json has no time: {text}")))
    };
    let series = meta
        .series
        .iter()
        .map(|series| Ok((series.name.clone(), start(series)?, series.rows)))
        .collect::<Result<Vec<_>, DatasetError>>()?;
    Ok(Layout::new(meta.step, series))
}

/// The smallest and the largest value, and how many are missing.
pub(super) fn extent(column: &Column) -> (Option<f64>, Option<f64>, usize) {
    let (mut low, mut high, mut missing) = (f64::INFINITY, f64::NEG_INFINITY, 0);
    for &value in &column.values {
        low = low.min(value);
        high = high.max(value);
        missing += usize::from(value.is_nan());
    }
    let there = missing < column.values.len();
    (there.then_some(low), there.then_some(high), missing)
}
