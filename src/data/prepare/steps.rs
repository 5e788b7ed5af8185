//! The observations of each series, brought to one step.

use std::collections::BTreeMap;
use std::ops::Range;

use rayon::prelude::*;

use super::{Made, made, vector};
use crate::data::aggregate::{Bins, Cadence, default_for};
use crate::data::panel::rows_by_series;
use crate::data::{Column, ColumnSource, DatasetError, Layout, Role, SeriesError, Table, quality};
use crate::params::{Aggregate, FillMethod, PrepareParams, Quantity, WindPair};
use crate::time::Step;

/// The observations of each series, and how they come to the step.
pub(super) struct Steps<'a> {
    pub(super) table: &'a Table,
    series: Vec<OneSeries>,
    /// Rows of the step that have begun, and not ended, with the last observation of a series: what is known ahead
    /// may reach on.
    open: Vec<usize>,
    step: Step,
    /// Whether a row may hold several observations.
    finer: bool,
    minimum: f64,
}

/// The observations of one series.
#[derive(Clone, Debug)]
struct OneSeries {
    name: String,
    rows: Range<usize>,
    bins: Bins,
    often: OfSeries,
}

/// How often the observations were made.
#[derive(Clone, Debug, Default)]
pub(in crate::data) struct Resolution {
    /// Whether a row of the step may hold several observations.
    finer: bool,
    /// By the name of a series.
    series: BTreeMap<String, OfSeries>,
}

/// How often those of one series were made.
#[derive(Clone, Debug)]
struct OfSeries {
    /// Between two rows, as a rule, seconds.
    gap: i64,
    /// In the order of the columns.
    columns: Vec<Cadence>,
    /// In the order of `prepare.wind`.
    winds: Vec<Cadence>,
}

impl OfSeries {
    fn new(
        table: &Table,
        rows: &Range<usize>,
        bins: &Bins,
        params: &PrepareParams,
    ) -> Result<Self, SeriesError> {
        let times = &table.times()[rows.clone()];
        // What is told is what bins are held against.
        let whole = match params.raw_step {
            Some(_) => bins.usual_cadence(),
            None => bins.cadence(times),
        };
        let cadence = |is_there: &(dyn Fn(usize) -> bool + Sync)| {
            let there = times.iter().enumerate();
            let there = there.filter(|(row, _)| is_there(rows.start + row));
            let there: Vec<i64> = there.map(|(_, &time)| time).collect();
            bins.cadence(&there)
        };
        // Mostly nothing is missing, and then nothing is to be looked for.
        let is_whole = |values: &[f64]| values[rows.clone()].iter().all(|value| !value.is_nan());
        let is_told = params.raw_step.is_some();
        let of_column = |column: &Column| {
            if is_told || is_whole(&column.values) {
                return whole.clone();
            }
            cadence(&|row| !column.values[row].is_nan())
        };
        let columns = table.columns().par_iter().map(of_column);
        let of_wind = |pair: &WindPair| {
            let [speed, direction] = [&pair.speed, &pair.direction].map(|name| table.column(name));
            let (speed, direction) = (&speed?.values, &direction?.values);
            if is_told || (is_whole(speed) && is_whole(direction)) {
                return Ok(whole.clone());
            }
            // A calm has no direction.
            let is_there = |row: usize| {
                let speed = speed[row];
                !speed.is_nan() && (speed == 0.0 || !direction[row].is_nan())
            };
            Ok(cadence(&is_there))
        };
        Ok(Self {
            gap: bins.gap(),
            columns: columns.collect(),
            winds: params.wind.iter().map(of_wind).collect::<Result<_, _>>()?,
        })
    }
}

/// Of each series the row after the last one in which anything was observed that is not known before its time; its
/// first one where nothing was.
fn observed_until(table: &Table, series: &[OneSeries], params: &PrepareParams) -> Vec<usize> {
    let is_known = |column: &&Column| params.known.contains(&column.name);
    let columns: Vec<&Column> = table.columns().iter().filter(|c| !is_known(c)).collect();
    let has_some = |&row: &usize| columns.iter().any(|column| !column.values[row].is_nan());
    let until = |one: &OneSeries| {
        let last = one.rows.clone().rev().find(has_some);
        last.map_or(one.rows.start, |row| row + 1)
    };
    series.iter().map(until).collect()
}

/// A station that sends no rows any more is in an outage as one is that sends empty ones: its series goes on to the
/// last observation of all, as far as a gap is filled (`up_to`, in seconds), so that it can be forecast meanwhile.
/// `until` is the row after the last one of each in which anything was observed.
fn lengthen(series: &mut [OneSeries], until: &[usize], times: &[i64], up_to: i64) {
    let last = |one: &OneSeries, until: usize| (one.rows.start < until).then(|| times[until - 1]);
    let all = series.iter().zip(until);
    let all: Vec<Option<i64>> = all.map(|(one, &until)| last(one, until)).collect();
    let Some(end) = all.iter().flatten().max().copied() else {
        return;
    };
    // One that fills no step is left out, and told as such.
    let lasting = series
        .iter_mut()
        .zip(&all)
        .filter(|(one, _)| one.bins.rows() > 0);
    for (one, last) in lasting {
        let reach = last.map(|last| last.saturating_add(up_to).min(end));
        if let Some(reach) = reach {
            one.bins.reach(&times[one.rows.clone()], reach);
        }
    }
}

impl<'a> Steps<'a> {
    /// `resolution` says how often observations were made; otherwise the table does.
    pub(super) fn new(
        table: &'a Table,
        params: &PrepareParams,
        resolution: Option<&Resolution>,
    ) -> Result<Self, DatasetError> {
        let step = params.step;
        let finer = resolution.map_or_else(
            || {
                let told = params.raw_step;
                let raw_step = told.or_else(|| quality::observed_step_of(table, step));
                raw_step.is_some_and(|raw| raw < step)
            },
            |resolution| resolution.finer,
        );
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
            let known = resolution.and_then(|whole| whole.series.get(&name));
            let raw_step = known.map(|known| known.gap);
            let raw_step = raw_step.or(params.raw_step.map(Step::seconds));
            let bins = Bins::new(times, step, phase, raw_step)?;
            let often = match known {
                Some(known) => known.clone(),
                None => OfSeries::new(table, &rows, &bins, params)?,
            };
            series.push(OneSeries {
                name,
                rows,
                bins,
                often,
            });
        }
        if series.iter().all(|one| one.bins.rows() == 0) {
            return Err(SeriesError::Empty.into());
        }
        let until = observed_until(table, &series, params);
        if let Some(fill) = params.fill.filter(|fill| fill.method != FillMethod::Linear) {
            lengthen(&mut series, &until, times, fill.up_to.seconds());
        }
        let mut first = 0;
        let mut open = Vec::new();
        for (one, until) in series.iter().zip(until).filter(|_| finer) {
            let open_bin = one.bins.open_at(&times[one.rows.start..until]);
            open.extend(open_bin.map(|bin| first + bin));
            first += one.bins.rows();
        }
        Ok(Self {
            table,
            open,
            series,
            step,
            finer,
            minimum: params.minimum_share,
        })
    }

    pub(super) fn resolution(&self) -> Resolution {
        let series = self.series.iter();
        Resolution {
            finer: self.finer,
            series: series
                .map(|one| (one.name.clone(), one.often.clone()))
                .collect(),
        }
    }

    pub(super) fn layout(&self) -> Layout {
        let series = self.series.iter();
        let series = series.map(|one| (one.name.clone(), one.bins.start(), one.bins.rows()));
        Layout::new(self.step, series)
    }

    /// Rows of the step in which there was no observation at all.
    pub(super) fn missing_rows(&self) -> usize {
        let empty = |bins: &Bins| bins.lengths().filter(|&length| length == 0).count();
        self.series.iter().map(|one| empty(&one.bins)).sum()
    }

    fn each(&self, values: impl Fn(&OneSeries) -> Vec<f64>) -> Vec<f64> {
        let mut all = Vec::new();
        for one in &self.series {
            let mut of_series = values(one);
            if all.is_empty() {
                all = of_series;
            } else {
                all.append(&mut of_series);
            }
        }
        all
    }

    /// Without what has not ended yet, and will be another value then.
    fn ended(&self, mut values: Vec<f64>) -> Vec<f64> {
        self.open.iter().for_each(|&row| values[row] = f64::NAN);
        values
    }

    pub(super) fn observed(&self, name: &str, params: &PrepareParams) -> Result<Made, SeriesError> {
        let raw = self.table.column(name)?;
        let mut columns = self.table.columns().iter();
        let place = columns.position(|column| column.name == name).unwrap_or(0);
        let asked = params.aggregate.get(name).copied();
        let quantity = quality::quantity_of(raw, &params.quality);
        let how = asked.or_else(|| default_for(quantity));
        let is_direction = self.finer && quantity == Quantity::Direction;
        let minimum = self.minimum;
        let values = self.each(|one| {
            let (values, bins) = (&raw.values[one.rows.clone()], &one.bins);
            let cadence = &one.often.columns[place];
            match how {
                Some(Aggregate::Mean) | None if is_direction => {
                    bins.direction_means(values, minimum, cadence)
                }
                how => bins.apply(values, how.unwrap_or(Aggregate::Last), minimum, cadence),
            }
        });
        let role = match name {
            name if params.targets.contains(name) => Role::Target,
            name if params.known.iter().any(|known| known == name) => Role::Future,
            _ => Role::Past,
        };
        let values = match role {
            Role::Future => values,
            _ => self.ended(values),
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

    /// Of a speed and a direction; known ahead where both are.
    pub(super) fn wind(
        &self,
        pair: &WindPair,
        params: &PrepareParams,
    ) -> Result<[Made; 2], SeriesError> {
        let speed = self.table.column(&pair.speed)?;
        let direction = self.table.column(&pair.direction)?;
        let (mut u, mut v) = (Vec::new(), Vec::new());
        let place = params.wind.iter().position(|other| other == pair);
        for one in &self.series {
            let [speed, direction] = [speed, direction].map(|of| &of.values[one.rows.clone()]);
            let cadence = &one.often.winds[place.unwrap_or(0)];
            let means = one.bins.wind_means(speed, direction, self.minimum, cadence);
            u.extend(means.u);
            v.extend(means.v);
        }
        let role = match [&pair.speed, &pair.direction].map(|name| params.known.contains(name)) {
            [true, true] => Role::Future,
            [false, true] => {
                return Err(SeriesError::HalfKnown {
                    known: pair.direction.clone(),
                    other: pair.speed.clone(),
                });
            }
            _ => Role::Past,
        };
        if role == Role::Past {
            (u, v) = (self.ended(u), self.ended(v));
        }
        Ok(vector(pair, &speed.unit, u, v, role))
    }
}
