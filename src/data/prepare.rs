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

use std::ops::Range;

use rayon::prelude::*;

use super::aggregate::{Bins, default_for};
use super::dataset::{
    self, ColumnMeta, DatasetMeta, FORMAT, FillMeta, ForecastsMeta, RowCounts, filled_name,
};
use super::features::{self, ColumnSource, SunView, Wave};
use super::fill::{Fill, fill};
use super::panel::rows_by_series;
use super::{
    Column, Dataset, DatasetError, Layout, Panel, Part, Role, Runs, Scaler, SeriesError, Split,
    Table, leakage, quality,
};
use crate::params::{
    Aggregate, FillMethod, FillParams, Mask, PrepareParams, Quantity, Scaling, WindPair,
};
use crate::time::{Step, format_utc};

/// The name of the column with the share of a row that was filled.
const FILLED: &str = "filled";
/// What the columns of forecasts from outside begin with.
const FORECAST: &str = "forecast_";

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
                "there are forecasts only: `prepare` needs observations of the target too";
            return Err(DatasetError::Kind(message));
        }
        let steps = Steps::new(observed, params)?;
        let mut builder = Builder {
            params,
            layout: steps.layout(),
            columns: Vec::new(),
        };
        builder.observed(&steps)?;
        builder.fill();
        builder.features()?;
        let runs = match forecasts {
            Some(table) => Some(builder.forecasts(table)?),
            None => None,
        };
        Ok(Self {
            missing_rows: steps.missing_rows(),
            layout: builder.layout,
            columns: builder.columns,
            runs,
        })
    }

    fn finish(self, params: &PrepareParams, rows: RowCounts) -> Result<Dataset, DatasetError> {
        let rows_out = self.layout.rows();
        let split = Split::new(&self.layout, &params.split)
            .ok_or(DatasetError::TooShort { rows: rows_out })?;
        let train = split.ranges(Part::Train, &self.layout);
        let mut metas = Vec::new();
        let mut columns = Vec::new();
        let of_runs = self.runs.iter().flat_map(Runs::columns);
        let mut of_runs = of_runs.zip(std::iter::repeat(&self.runs));
        for made in self.columns {
            let forecast = match made.role {
                Role::Forecast => of_runs.next(),
                _ => None,
            };
            let known = match forecast {
                Some((column, Some(runs))) => runs.before(&column.values, split.validation_from()),
                _ => train
                    .iter()
                    .flat_map(|rows| &made.column.values[rows.clone()])
                    .copied()
                    .collect(),
            };
            metas.push(meta_of(&made, &known, params)?);
            columns.push(made.column);
        }
        if metas[0].role == Role::Target
            && train
                .iter()
                .all(|rows| columns[0].values[rows.clone()].iter().all(|v| v.is_nan()))
        {
            return Err(DatasetError::NoTarget(params.target.clone()));
        }
        let first = self.layout.times().min().unwrap_or_default();
        let last = self.layout.times().max().unwrap_or_default();
        let meta = DatasetMeta {
            format: FORMAT,
            target: params.target.clone(),
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

/// The observations of each series, and how they come to the step.
struct Steps<'a> {
    table: &'a Table,
    series: Vec<(String, Range<usize>, Bins)>,
    step: Step,
    /// Whether a row may hold several observations.
    finer: bool,
    minimum: f64,
}

impl<'a> Steps<'a> {
    fn new(table: &'a Table, params: &PrepareParams) -> Result<Self, DatasetError> {
        let step = params.step;
        let raw_step = params.raw_step.or_else(|| quality::usual_step_of(table));
        let finer = raw_step.is_some_and(|raw| raw < step);
        let times = table.times();
        let mut series = Vec::new();
        for (name, rows) in rows_by_series(table) {
            let times = &times[rows.clone()];
            let Some(&start) = times.first() else {
                continue;
            };
            let seconds = step.seconds();
            let phase = if finer { 0 } else { start.rem_euclid(seconds) };
            let off = |time: &&i64| **time != start && (**time - start) % seconds != 0;
            if let Some(&time) = times.iter().find(off).filter(|_| !finer) {
                return Err(SeriesError::OffStep { time, start, step }.into());
            }
            series.push((name, rows, Bins::new(times, step, phase)?));
        }
        if series.iter().all(|(_, _, bins)| bins.rows() == 0) {
            return Err(SeriesError::Empty.into());
        }
        Ok(Self {
            table,
            series,
            step,
            finer,
            minimum: params.minimum_share,
        })
    }

    fn layout(&self) -> Layout {
        let series = self.series.iter();
        let series = series.map(|(name, _, bins)| (name.clone(), bins.start(), bins.rows()));
        Layout::new(self.step, series)
    }

    /// Rows of the step in which there was no observation at all.
    fn missing_rows(&self) -> usize {
        let empty = |bins: &Bins| bins.lengths().filter(|&length| length == 0).count();
        self.series.iter().map(|(_, _, bins)| empty(bins)).sum()
    }

    fn each(&self, values: impl Fn(&Bins, Range<usize>) -> Vec<f64>) -> Vec<f64> {
        let series = self.series.iter();
        series
            .flat_map(|(_, rows, bins)| values(bins, rows.clone()))
            .collect()
    }

    fn observed(&self, name: &str, params: &PrepareParams) -> Result<Made, SeriesError> {
        let raw = self.table.column(name)?;
        let asked = params.aggregate.get(name).copied();
        let quantity = (params.quality.columns.get(name))
            .and_then(|own| own.quantity)
            .unwrap_or_else(|| quality::quantity(raw));
        let how = asked.or_else(|| default_for(quantity));
        let values = match how {
            Some(how) => self.each(|bins, rows| bins.apply(&raw.values[rows], how, self.minimum)),
            None if self.finer && quantity == Quantity::Direction => {
                self.each(|bins, rows| bins.direction_means(&raw.values[rows], self.minimum))
            }
            None => {
                self.each(|bins, rows| bins.apply(&raw.values[rows], Aggregate::Last, self.minimum))
            }
        };
        let role = match name {
            name if name == params.target => Role::Target,
            name if params.known.iter().any(|known| known == name) => Role::Future,
            _ => Role::Past,
        };
        let source = ColumnSource::Observed {
            column: name.to_owned(),
            aggregate: how.filter(|_| self.finer),
        };
        Ok(made(
            name.to_owned(),
            raw.unit.clone(),
            values,
            role,
            source,
        ))
    }

    fn wind(&self, pair: &WindPair) -> Result<[Made; 2], SeriesError> {
        let speed = self.table.column(&pair.speed)?;
        let direction = self.table.column(&pair.direction)?;
        let (mut u, mut v) = (Vec::new(), Vec::new());
        for (_, rows, bins) in &self.series {
            let (speed, direction) = (&speed.values[rows.clone()], &direction.values[rows.clone()]);
            let means = bins.wind_means(speed, direction, self.minimum);
            u.extend(means.u);
            v.extend(means.v);
        }
        Ok(vector(pair, &speed.unit, u, v, Role::Past))
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

/// Gathers the columns of a data set, the target first.
struct Builder<'a> {
    params: &'a PrepareParams,
    layout: Layout,
    columns: Vec<Made>,
}

impl Builder<'_> {
    /// The columns asked for, without wind directions: those become vectors.
    fn observed(&mut self, steps: &Steps<'_>) -> Result<(), SeriesError> {
        let params = self.params;
        let all = || {
            steps
                .table
                .columns()
                .iter()
                .map(|column| column.name.clone())
        };
        let mut names = params.columns.clone().unwrap_or_else(|| all().collect());
        names.retain(|name| {
            *name != params.target && params.wind.iter().all(|pair| pair.direction != *name)
        });
        names.insert(0, params.target.clone());
        let columns: Result<Vec<Made>, SeriesError> = names
            .par_iter()
            .map(|name| steps.observed(name, params))
            .collect();
        self.columns = columns?;
        let winds: Result<Vec<[Made; 2]>, SeriesError> = params
            .wind
            .par_iter()
            .map(|pair| steps.wind(pair))
            .collect();
        self.columns.extend(winds?.into_iter().flatten());
        Ok(())
    }

    /// Fills gaps, and says where.
    fn fill(&mut self) {
        let Some(params) = self.params.fill else {
            return;
        };
        let rows = self.layout.rows();
        let (mut share, mut masks) = (vec![0.0; rows], Vec::new());
        let count = self.columns.len() as f64;
        for made in &mut self.columns {
            let mut mask = vec![0.0; rows];
            made.filled = fill_column(&mut made.column.values, &self.layout, params, &mut mask);
            let pairs = share.iter_mut().zip(&mask);
            pairs.for_each(|(share, mask)| *share += mask / count);
            if params.mask == Mask::Columns || made.role == Role::Target {
                masks.push((made.column.name.clone(), mask));
            }
        }
        let filled = |name: String, column: Option<String>, values| {
            made(
                name,
                "1".to_owned(),
                values,
                Role::Past,
                ColumnSource::Filled { column },
            )
        };
        if params.mask == Mask::Row {
            self.columns.push(filled(FILLED.to_owned(), None, share));
        }
        for (name, mask) in masks {
            let mask = filled(filled_name(&name), Some(name), mask);
            self.columns.push(mask);
        }
    }

    fn features(&mut self) -> Result<(), SeriesError> {
        let params = self.params;
        let step = params.step;
        for &cycle in &params.calendar {
            for wave in [Wave::Sin, Wave::Cos] {
                let zone = params.calendar_zone.clone();
                let source = ColumnSource::Calendar { cycle, wave, zone };
                self.derive(features::calendar_name(cycle, wave), "1", source)?;
            }
        }
        if let Some(sun) = &params.sun {
            let views = [
                ("sun_elevation_sin", "1", SunView::Elevation, None),
                ("clear_sky_radiation", "W/m²", SunView::ClearSky, None),
                (
                    "clear_sky_index",
                    "1",
                    SunView::ClearSkyIndex,
                    sun.radiation.clone(),
                ),
            ];
            for (name, unit, view, radiation) in views {
                if view == SunView::ClearSkyIndex && radiation.is_none() {
                    continue;
                }
                let places = sun.places.clone();
                let source = ColumnSource::Sun {
                    view,
                    places,
                    radiation,
                };
                self.derive(name.to_owned(), unit, source)?;
            }
        }
        for pair in &params.dew_point {
            let source = ColumnSource::DewPoint {
                temperature: pair.temperature.clone(),
                humidity: pair.humidity.clone(),
            };
            let name = match params.dew_point.as_slice() {
                [_] => "dew_point".to_owned(),
                _ => format!("{}_dew_point", pair.temperature),
            };
            self.derive(name, "°C", source)?;
        }
        for (column, lags) in &params.lags {
            for lag in lags {
                let source = ColumnSource::Lag {
                    column: column.clone(),
                    rows: lag.seconds() / step.seconds(),
                };
                self.derive(features::name_over(column, "lag", lag), "", source)?;
            }
        }
        for (column, lengths) in &params.differences {
            for &length in lengths {
                let source = ColumnSource::Difference {
                    column: column.clone(),
                    rows: features::rows_in(length, step),
                };
                self.derive(features::name_over(column, "change", length), "", source)?;
            }
        }
        for rolling in &params.rolling {
            let source = ColumnSource::Rolling {
                column: rolling.column.clone(),
                rows: features::rows_in(rolling.over, step),
                ahead: rolling
                    .ahead
                    .map_or(0, |ahead| features::rows_in(ahead, step)),
                stat: rolling.stat,
            };
            let name =
                features::name_over(&rolling.column, features::word(rolling.stat), rolling.over);
            self.derive(name, "", source)?;
        }
        Ok(())
    }

    /// Adds a column that is made from others; without a unit it has that of the column it is of.
    fn derive(
        &mut self,
        name: String,
        unit: &str,
        source: ColumnSource,
    ) -> Result<(), SeriesError> {
        let find = |name: &str| {
            let made = self.columns.iter().find(|made| made.column.name == name);
            made.ok_or_else(|| SeriesError::NoColumn {
                name: name.to_owned(),
                there: self
                    .columns
                    .iter()
                    .map(|made| made.column.name.clone())
                    .collect(),
            })
        };
        let values = |name: &str| find(name).map(|made| made.column.values.as_slice());
        let Some(values) = features::evaluate(&source, &self.layout, &values)? else {
            return Ok(());
        };
        let role_of = |name: &str| find(name).map_or(Role::Past, |made| made.role);
        let role = source.role(role_of);
        let unit = match (unit, source.columns().first()) {
            ("", Some(column)) => find(column)?.column.unit.clone(),
            (unit, _) => unit.to_owned(),
        };
        self.columns.push(made(name, unit, values, role, source));
        Ok(())
    }

    /// Forecasts from outside, as they were known at each row.
    fn forecasts(&mut self, table: &Table) -> Result<Runs, DatasetError> {
        if table.issues().is_none() {
            return Err(DatasetError::Kind(
                "forecasts need an issue time in every row",
            ));
        }
        let params = &self.params.forecasts;
        let step = self.layout.step();
        let phase = self.layout.phase();
        let other = |block: &&super::Block| block.start.rem_euclid(step.seconds()) != phase;
        if let Some(block) = self.layout.blocks().iter().find(other) {
            let start = self.layout.blocks()[0].start;
            let time = block.start;
            return Err(SeriesError::OffStep { time, start, step }.into());
        }
        let directions = |name: &String| params.wind.iter().any(|pair| pair.direction == *name);
        let all = || table.columns().iter().map(|column| column.name.clone());
        let names = params.columns.clone().unwrap_or_else(|| all().collect());
        let mut asked: Vec<String> = names
            .iter()
            .filter(|name| !directions(name))
            .cloned()
            .collect();
        let plain = asked.len();
        for pair in &params.wind {
            for name in [&pair.speed, &pair.direction] {
                if !asked.contains(name) {
                    asked.push(name.clone());
                }
            }
        }
        let mut table = table.select(&asked)?;
        // Vectors before the grid: between two directions lies no direction.
        let winds: Vec<[Made; 2]> = params
            .wind
            .iter()
            .map(|pair| run_wind(&table, pair))
            .collect::<Result<_, SeriesError>>()?;
        let mut sources: Vec<Option<String>> = asked[..plain].iter().cloned().map(Some).collect();
        let mut columns: Vec<Column> = table.columns()[..plain].to_vec();
        for made in winds.into_iter().flatten() {
            sources.push(Some(made.column.name.clone()));
            columns.push(made.column);
        }
        table = table.with_columns(columns)?;
        let mut runs = Runs::new(&table, step, phase)?;
        if params.lead {
            sources.push(None);
            let lead = Column {
                name: "lead".to_owned(),
                unit: "h".to_owned(),
                values: runs.leads_h(),
            };
            runs.push(lead);
        }
        let known = runs.known(&self.layout, params.delay_s);
        for (column, source) in runs.columns().iter().zip(sources) {
            let values = known.shown(&column.values);
            let source = ColumnSource::Forecast { column: source };
            let name = format!("{FORECAST}{}", column.name);
            let made = made(name, column.unit.clone(), values, Role::Forecast, source);
            self.columns.push(made);
        }
        Ok(runs)
    }
}

fn run_wind(table: &Table, pair: &WindPair) -> Result<[Made; 2], SeriesError> {
    let speed = table.column(&pair.speed)?;
    let directions = table.column(&pair.direction)?;
    let (u, v) = speed
        .values
        .iter()
        .zip(&directions.values)
        .map(|(&speed, &direction)| crate::physics::wind_vector(speed, direction))
        .unzip();
    Ok(vector(pair, &speed.unit, u, v, Role::Forecast))
}

/// Fills the gaps of each series, marks the rows in `mask`, and says how many there are.
fn fill_column(values: &mut [f64], layout: &Layout, params: FillParams, mask: &mut [f64]) -> usize {
    let step = layout.step();
    let longest = features::rows_in(params.up_to, step);
    let how = match params.method {
        FillMethod::Linear => Fill::Linear,
        FillMethod::Last => Fill::Last,
        FillMethod::Seasonal => Fill::Seasonal {
            season: features::rows_in(params.season, step).max(1),
        },
    };
    let mut count = 0;
    for block in layout.blocks() {
        for run in fill(&mut values[block.rows.clone()], how, longest) {
            count += run.len();
            let first = block.rows.start;
            mask[first + run.start..first + run.end].fill(1.0);
        }
    }
    count
}

#[cfg(test)]
mod tests;
