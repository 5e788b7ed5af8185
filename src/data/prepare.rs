//! From tables of observations, and of forecasts from outside, to a data set.
//!
//! ```text
//! observations ─ one step ─▶ gaps filled ─▶ features ─┐
//! forecasts ─ on that step, known as of their issue ──┴▶ leakage check ─▶ split ─▶ capacities, scalers
//! ```
//!
//! Each series is brought to the step by itself and has gaps of its own. A row holds what lies in
//! the step that ends with its time, so everything in it is known then; only a gap that was filled
//! by a straight line holds something of the future, and no window is issued from within one.

mod builder;
mod fitting;
mod steps;

use super::dataset::{self, ColumnMeta, DatasetMeta, FORMAT, FillMeta, ForecastsMeta, RowCounts};
use super::features::{self, ColumnSource};
use super::{
    Column, Dataset, DatasetError, Layout, Panel, Part, Role, Runs, Scaler, Split, Table, leakage,
};
use crate::params::{PrepareParams, WindPair};
use crate::time::format_utc;
use builder::Builder;
use fitting::Fitted;
pub(super) use steps::Resolution;
use steps::Steps;

/// A column on its way into a data set.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) column: Column,
    pub(super) role: Role,
    pub(super) source: ColumnSource,
    pub(super) filled: usize,
}

/// All columns on one step, before anything is fitted to them.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) layout: Layout,
    pub(super) columns: Vec<Made>,
    pub(super) runs: Option<Runs>,
    pub(super) missing_rows: usize,
    /// How often observations were made.
    pub(super) resolution: Resolution,
    /// Of each series the time of the last row in which anything was observed.
    pub(super) observed_until: Vec<Option<i64>>,
}

impl Dataset {
    /// Makes a data set. The rows of both tables are in order of series, issue time and time, as
    /// quality checks leave them; `rows` says what became of those that are not there any more.
    pub fn prepare(
        observed: &Table,
        forecasts: Option<&Table>,
        params: &PrepareParams,
        rows: RowCounts,
    ) -> Result<Self, DatasetError> {
        let draft = Draft::new(observed, forecasts, params, None)?;
        leakage::check(observed, forecasts, params, &draft)?;
        draft.finish(params, rows)
    }
}

impl Draft {
    /// Brings everything to one step and makes the features. A part of a table is brought there as the whole was:
    /// `resolution` is that of its draft.
    pub(super) fn new(
        observed: &Table,
        forecasts: Option<&Table>,
        params: &PrepareParams,
        resolution: Option<&Resolution>,
    ) -> Result<Self, DatasetError> {
        if observed.issues().is_some() {
            let message =
                "there are forecasts only: `prepare` needs observations of the targets too";
            return Err(DatasetError::Kind(message));
        }
        let steps = Steps::new(observed, params, resolution)?;
        let mut builder = Builder::new(params, steps.layout());
        builder.observed(&steps)?;
        let observed_until = builder.observed_until();
        builder.fill();
        builder.features()?;
        let runs = match forecasts {
            Some(table) => Some(builder.forecasts(table)?),
            None => None,
        };
        Ok(Self {
            resolution: steps.resolution(),
            missing_rows: steps.missing_rows(),
            observed_until,
            layout: steps.layout(),
            columns: builder.finish(),
            runs,
        })
    }

    fn finish(self, params: &PrepareParams, rows: RowCounts) -> Result<Dataset, DatasetError> {
        let rows_out = self.layout.rows();
        // What is known ahead has rows that nothing will be held against.
        let last = self.observed_until.iter().flatten().max();
        let end = last.map(|last| last + params.step.seconds());
        let split = Split::new(&self.layout, &params.split, end)?;
        let Fitted { capacity, scalers } = fitting::fit(&self, &split, params)?;
        let metas = self.columns.iter().zip(scalers);
        let metas: Vec<ColumnMeta> = metas.map(|(made, scaler)| meta_of(made, scaler)).collect();
        let columns: Vec<Column> = (self.columns.into_iter()).map(|made| made.column).collect();
        let train = split.ranges(Part::Train, &self.layout);
        let is_empty = |column: &Column| {
            let mut rows = train.iter();
            rows.all(|rows| column.values[rows.clone()].iter().all(|v| v.is_nan()))
        };
        let targets = metas.iter().zip(&columns);
        let mut targets = targets.filter(|(meta, _)| meta.role == Role::Target);
        if let Some((meta, _)) = targets.find(|(_, column)| is_empty(column)) {
            return Err(DatasetError::NoTarget(meta.name.clone()));
        }
        let first = self.layout.times().min().unwrap_or_default();
        let last = self.layout.times().max().unwrap_or_default();
        let meta = DatasetMeta {
            format: FORMAT,
            targets: params.targets.clone(),
            step: params.step,
            first_time: format_utc(first),
            last_time: format_utc(last),
            series: dataset::series_of(
                &self.layout,
                match params.fill {
                    Some(_) => &self.observed_until,
                    None => &[],
                },
            ),
            split,
            rows: RowCounts {
                missing_rows: self.missing_rows,
                rows_out,
                ..rows
            },
            fill: params.fill.map(|fill| FillMeta {
                up_to: fill.up_to,
                method: fill.method,
            }),
            forecasts: self.runs.as_ref().map(|runs| ForecastsMeta {
                delay_s: params.forecasts.delay_s,
                runs: runs.runs().len(),
                first_issue: format_utc(runs.issues().min().unwrap_or_default()),
                last_issue: format_utc(runs.issues().max().unwrap_or_default()),
            }),
            capacity,
            columns: metas,
        };
        Ok(Dataset::new(
            Panel::new(self.layout, columns)?,
            self.runs,
            meta,
        ))
    }
}

fn meta_of(made: &Made, scaler: Scaler) -> ColumnMeta {
    let column = &made.column;
    let (min, max, missing) = dataset::extent(column);
    ColumnMeta {
        name: column.name.clone(),
        role: made.role,
        unit: column.unit.clone(),
        source: made.source.clone(),
        scaler,
        min,
        max,
        filled: made.filled,
        missing,
    }
}

fn made(name: String, unit: String, values: Vec<f64>, role: Role, source: ColumnSource) -> Made {
    Made {
        column: Column { name, unit, values },
        role,
        source,
        filled: 0,
    }
}

fn vector(pair: &WindPair, unit: &str, u: Vec<f64>, v: Vec<f64>, role: Role) -> [Made; 2] {
    let base = features::wind_name(&pair.direction);
    let part = |axis: &str, values| {
        let source = ColumnSource::Wind {
            speed: pair.speed.clone(),
            direction: pair.direction.clone(),
        };
        made(
            format!("{base}_{axis}"),
            unit.to_owned(),
            values,
            role,
            source,
        )
    };
    [part("u", u), part("v", v)]
}

#[cfg(test)]
mod tests;
