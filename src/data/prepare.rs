//! From tables of observations, and of forecasts from outside, to a data set.
//!
//! ```text
//! observations ─ one step ─▶ gaps filled ─▶ features ─┐
//! forecasts ─ on that step, known as of their issue ──┴▶ leakage check ─▶ split ─▶ scalers
//! ```
//!
//! Each series is brought to the step by itself and has gaps of its own. A row holds what lies in
//! the step that ends with its time, so everything in it is known then; only a gap that was filled
//! by a straight line holds something of the future, and no window is issued from within one.

mod builder;
mod steps;

use rayon::prelude::*;

use super::dataset::{self, ColumnMeta, DatasetMeta, FORMAT, FillMeta, ForecastsMeta, RowCounts};
use super::features::{self, ColumnSource};
use super::{
    Column, Dataset, DatasetError, Layout, Panel, Part, Role, Runs, Scaler, SeriesError, Split,
    Table, leakage,
};
use crate::params::{PrepareParams, Scaling, WindPair};
use crate::time::format_utc;
use builder::Builder;
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
        let draft = Draft::new(observed, forecasts, params)?;
        leakage::check(observed, forecasts, params, &draft)?;
        draft.finish(params, rows)
    }
}

impl Draft {
    /// Brings everything to one step and makes the features.
    pub(super) fn new(
        observed: &Table,
        forecasts: Option<&Table>,
        params: &PrepareParams,
    ) -> Result<Self, DatasetError> {
        if observed.issues().is_some() {
            let message =
                "there are forecasts only: `prepare` needs observations of the targets too";
            return Err(DatasetError::Kind(message));
        }
        let steps = Steps::new(observed, params)?;
        let mut builder = Builder::new(params, steps.layout());
        builder.observed(&steps)?;
        builder.fill();
        builder.features()?;
        let runs = match forecasts {
            Some(table) => Some(builder.forecasts(table)?),
            None => None,
        };
        Ok(Self {
            missing_rows: steps.missing_rows(),
            layout: steps.layout(),
            columns: builder.finish(),
            runs,
        })
    }

    fn finish(self, params: &PrepareParams, rows: RowCounts) -> Result<Dataset, DatasetError> {
        let rows_out = self.layout.rows();
        let split = Split::new(&self.layout, &params.split)?;
        let train = split.ranges(Part::Train, &self.layout);
        let mut of_runs = self.runs.iter().flat_map(Runs::columns);
        let with_runs = self.columns.iter().map(|made| match made.role {
            Role::Forecast => (made, of_runs.next()),
            _ => (made, None),
        });
        let with_runs: Vec<(&Made, Option<&Column>)> = with_runs.collect();
        let meta = |&(made, forecast): &(&Made, Option<&Column>)| {
            let known = match (forecast, &self.runs) {
                (Some(column), Some(runs)) => runs.before(&column.values, split.train_until()),
                _ => train
                    .iter()
                    .flat_map(|rows| &made.column.values[rows.clone()])
                    .copied()
                    .collect(),
            };
            meta_of(made, &known, params)
        };
        let metas: Vec<Result<ColumnMeta, DatasetError>> = with_runs.par_iter().map(meta).collect();
        // In order, so that it is the first column with a fault that is told.
        let metas = metas.into_iter().collect::<Result<Vec<_>, _>>()?;
        let columns: Vec<Column> = (self.columns.into_iter()).map(|made| made.column).collect();
        let there = || metas.iter().map(|meta: &ColumnMeta| meta.name.clone());
        if let Some(name) = params
            .scaling_of
            .keys()
            .find(|name| there().all(|n| n != **name))
        {
            let (name, there) = (name.clone(), there().collect());
            return Err(SeriesError::NoColumn { name, there }.into());
        }
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
            series: dataset::series_of(&self.layout),
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
            columns: metas,
        };
        Ok(Dataset::new(
            Panel::new(self.layout, columns)?,
            self.runs,
            meta,
        ))
    }
}

fn meta_of(made: &Made, train: &[f64], params: &PrepareParams) -> Result<ColumnMeta, DatasetError> {
    let column = &made.column;
    let scaling = params.scaling_of.get(&column.name).copied();
    let usual = if made.source.is_scaled_by_construction() {
        Scaling::None
    } else {
        params.scaling
    };
    let scaler = Scaler::fit(scaling.unwrap_or(usual), train).map_err(|smallest| {
        DatasetError::NoLogarithm {
            column: column.name.clone(),
            smallest,
        }
    })?;
    let (center, scale, _) = scaler.parts();
    if !center.is_finite() || !scale.is_finite() {
        return Err(DatasetError::TooLarge(column.name.clone()));
    }
    let (min, max, missing) = dataset::extent(column);
    Ok(ColumnMeta {
        name: column.name.clone(),
        role: made.role,
        unit: column.unit.clone(),
        source: made.source.clone(),
        scaler,
        min,
        max,
        filled: made.filled,
        missing,
    })
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
