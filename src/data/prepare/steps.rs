//! The observations of each series, brought to one step.

use std::ops::Range;

use super::{Made, made, vector};
use crate::data::aggregate::{Bins, default_for};
use crate::data::panel::rows_by_series;
use crate::data::{Column, ColumnSource, DatasetError, Layout, Role, SeriesError, Table, quality};
use crate::params::{Aggregate, PrepareParams, Quantity, WindPair};
use crate::time::Step;

/// The observations of each series, and how they come to the step.
pub(super) struct Steps<'a> {
    pub(super) table: &'a Table,
    series: Vec<(String, Range<usize>, Bins)>,
    /// Rows of the step that have begun, and not ended, with the last observation of a series: what is known ahead
    /// may reach on.
    open: Vec<usize>,
    step: Step,
    /// Whether a row may hold several observations.
    pub(super) finer: bool,
    minimum: f64,
}

impl<'a> Steps<'a> {
    /// `finer` says whether a row may hold several observations; otherwise the table does, by the usual step.
    pub(super) fn new(
        table: &'a Table,
        params: &PrepareParams,
        finer: Option<bool>,
    ) -> Result<Self, DatasetError> {
        let step = params.step;
        let finer = finer.unwrap_or_else(|| {
            let raw_step = params.raw_step.or_else(|| quality::usual_step_of(table));
            raw_step.is_some_and(|raw| raw < step)
        });
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
            series.push((name, rows, Bins::new(times, step, phase, params.raw_step)?));
        }
        if series.iter().all(|(_, _, bins)| bins.rows() == 0) {
            return Err(SeriesError::Empty.into());
        }
        let is_known = |column: &&Column| params.known.contains(&column.name);
        let observed: Vec<&Column> = table.columns().iter().filter(|c| !is_known(c)).collect();
        let mut first = 0;
        let mut open = Vec::new();
        for (_, rows, bins) in series.iter().filter(|_| finer) {
            let has_some =
                |&row: &usize| observed.iter().any(|column| !column.values[row].is_nan());
            let last = rows.clone().rev().find(has_some);
            open.extend(last.and_then(|row| Some(first + bins.open_at(times[row])?)));
            first += bins.rows();
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

    pub(super) fn layout(&self) -> Layout {
        let series = self.series.iter();
        let series = series.map(|(name, _, bins)| (name.clone(), bins.start(), bins.rows()));
        Layout::new(self.step, series)
    }

    /// Rows of the step in which there was no observation at all.
    pub(super) fn missing_rows(&self) -> usize {
        let empty = |bins: &Bins| bins.lengths().filter(|&length| length == 0).count();
        self.series.iter().map(|(_, _, bins)| empty(bins)).sum()
    }

    fn each(&self, values: impl Fn(&Bins, Range<usize>) -> Vec<f64>) -> Vec<f64> {
        let mut all = Vec::new();
        for (_, rows, bins) in &self.series {
            let mut of_series = values(bins, rows.clone());
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
        let asked = params.aggregate.get(name).copied();
        let quantity = quality::quantity_of(raw, &params.quality);
        let how = asked.or_else(|| default_for(quantity));
        let is_direction = self.finer && quantity == Quantity::Direction;
        let values = match how {
            Some(Aggregate::Mean) | None if is_direction => {
                self.each(|bins, rows| bins.direction_means(&raw.values[rows], self.minimum))
            }
            Some(how) => self.each(|bins, rows| bins.apply(&raw.values[rows], how, self.minimum)),
            None => {
                self.each(|bins, rows| bins.apply(&raw.values[rows], Aggregate::Last, self.minimum))
            }
        };
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
        for (_, rows, bins) in &self.series {
            let (speed, direction) = (&speed.values[rows.clone()], &direction.values[rows.clone()]);
            let means = bins.wind_means(speed, direction, self.minimum);
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
