//! A data set as models see it: scaled, as shares of what each series can reach, with what was filled and what was
//! forecast from outside.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{Dataset, FillMeta};
use crate::data::features::{self, ColumnSource};
use crate::data::{Capacity, Column, Frame, Layout, Outlook, Role, Scaler, SeriesError};
use crate::params::FillMethod;

impl Dataset {
    /// The scaled values, and at the end of each series `ahead` more rows in which only what is
    /// known in the future is there. `scalers` are those of the data set, or those of a model that
    /// was trained on another one.
    pub fn frame(&self, scalers: &[Scaler], ahead: usize) -> Result<Frame, SeriesError> {
        let layout = self.panel.layout().extended(ahead);
        // What looks ahead does so from the last row too.
        let further = self.panel.layout().extended(ahead + self.looks_ahead());
        let width = self.meta.columns.len();
        let mut values = vec![f32::NAN; layout.rows() * width];
        let mut longer: Vec<Cow<'_, [f64]>> = Vec::new();
        for c in 0..width {
            let column = self.longer(c, &further, &longer)?;
            let capacity = self.meta.capacity_of(c);
            for (block, longer) in layout.blocks().iter().zip(further.blocks()) {
                let sized = SeriesScale::new(scalers[c], capacity, &block.name);
                for (row, &value) in block.rows.clone().zip(&column[longer.rows.clone()]) {
                    let scaled = sized
                        .transform(value)
                        .ok_or_else(|| self.too_far(c, value, block.time(row, layout.step())))?;
                    values[row * width + c] = scaled;
                }
            }
            // Columns that are known in the future are made from such alone.
            let is_known = self.meta.columns[c].role == Role::Future;
            longer.push(if is_known { column } else { Cow::default() });
        }
        Ok(Frame {
            columns: self.frame_columns(),
            values,
            held: self.held(&layout),
            filled: self.filled(&layout),
            outlook: self.outlook(&layout, scalers)?,
            layout,
        })
    }

    /// How many rows ahead of its own a column speaks of, by way of those that it is made from too.
    fn looks_ahead(&self) -> usize {
        let mut ahead: Vec<usize> = Vec::new();
        for meta in &self.meta.columns {
            let of = |name: &&str| self.meta.columns.iter().position(|c| c.name == *name);
            let below = meta.source.columns().into_iter();
            let below =
                below.filter_map(|name| of(&name).and_then(|place| ahead.get(place)).copied());
            ahead.push(meta.source.ahead() + below.max().unwrap_or(0));
        }
        ahead.into_iter().max().unwrap_or(0)
    }

    /// A column with the rows of a longer layout; those before it are there already.
    fn longer<'a>(
        &'a self,
        c: usize,
        layout: &Layout,
        before: &[Cow<'a, [f64]>],
    ) -> Result<Cow<'a, [f64]>, SeriesError> {
        let known = &self.panel.columns()[c].values;
        let ours = self.panel.layout();
        if ours == layout {
            return Ok(Cow::Borrowed(known));
        }
        let meta = &self.meta.columns[c];
        let mut values = Vec::with_capacity(layout.rows());
        for (block, longer) in ours.blocks().iter().zip(layout.blocks()) {
            values.extend_from_slice(&known[block.rows.clone()]);
            values.resize(longer.rows.end, f64::NAN);
        }
        if meta.role == Role::Future {
            let column = |name: &str| {
                let place = self.meta.columns[..c].iter().position(|c| c.name == name);
                let column = place.and_then(|place| before.get(place));
                column.map(AsRef::as_ref).ok_or_else(|| {
                    let there = self.meta.columns[..c].iter().map(|c| &c.name);
                    SeriesError::no_column(name, there)
                })
            };
            if let Some(made) = features::evaluate(&meta.source, layout, &column)? {
                values = made;
            }
        }
        Ok(Cow::Owned(values))
    }

    /// The rows that hold something of the future, where gaps were filled so.
    fn held(&self, layout: &Layout) -> Vec<bool> {
        let ahead = |fill: FillMeta| fill.method == FillMethod::Linear;
        if !self.meta.fill.is_some_and(ahead) {
            return Vec::new();
        }
        let mut held = vec![false; layout.rows()];
        for (meta, column) in self.meta.columns.iter().zip(self.panel.columns()) {
            if matches!(meta.source, ColumnSource::Filled { .. }) {
                let filled = self.rows_filled(column, layout);
                let rows = held.iter_mut().zip(filled);
                rows.for_each(|(held, filled)| *held |= filled);
            }
        }
        held
    }

    /// The targets that were filled, by the places of their columns.
    fn filled(&self, layout: &Layout) -> BTreeMap<usize, Vec<bool>> {
        let place = |name: &str| self.meta.columns.iter().position(|c| c.name == name);
        let of_target = |name: &String| {
            let filled = self.rows_filled(self.mask_of(Some(name))?, layout);
            let is_filled = filled.contains(&true);
            is_filled.then_some((place(name)?, filled))
        };
        let names = self.meta.targets.names();
        names.iter().filter_map(of_target).collect()
    }

    /// For each row of a longer layout whether a column that says what was filled says so.
    fn rows_filled(&self, mask: &Column, layout: &Layout) -> Vec<bool> {
        let mut rows = vec![false; layout.rows()];
        for (ours, longer) in self.panel.layout().blocks().iter().zip(layout.blocks()) {
            let shares = &mask.values[ours.rows.clone()];
            for (row, &share) in rows[longer.rows.clone()].iter_mut().zip(shares) {
                *row = share > 0.0;
            }
        }
        rows
    }

    fn outlook(&self, layout: &Layout, scalers: &[Scaler]) -> Result<Outlook, SeriesError> {
        let (Some(runs), Some(meta)) = (&self.runs, &self.meta.forecasts) else {
            return Ok(Outlook::default());
        };
        let of_forecasts: Vec<usize> = (0..self.meta.columns.len())
            .filter(|&c| self.meta.columns[c].role == Role::Forecast)
            .collect();
        let columns: Vec<&[f64]> = (runs.columns().iter())
            .map(|column| column.values.as_slice())
            .collect();
        let scalings: Vec<(Scaler, Option<&Capacity>)> = (of_forecasts.iter())
            .map(|&c| (scalers[c], self.meta.capacity_of(c)))
            .collect();
        let mut values = Vec::with_capacity(runs.rows() * columns.len());
        for run in runs.runs() {
            let sized = scalings.iter();
            let sized: Vec<SeriesScale> = sized
                .map(|(scaler, capacity)| {
                    SeriesScale::new(*scaler, *capacity, layout.spoken_of(&run.series))
                })
                .collect();
            for (lead, row) in run.rows.clone().enumerate() {
                for ((column, sized), &c) in columns.iter().zip(&sized).zip(&of_forecasts) {
                    let scaled = sized.transform(column[row]).ok_or_else(|| {
                        let time = run.first + lead as i64 * layout.step().seconds();
                        self.too_far(c, column[row], time)
                    })?;
                    values.push(scaled);
                }
            }
        }
        let known = runs.known(layout, meta.delay_s);
        let complete = runs.complete_until(|row| {
            let first = row * columns.len();
            values[first..first + columns.len()]
                .iter()
                .all(|v| !v.is_nan())
        });
        let reach = (0..layout.rows()).map(|row| runs.reach(&known, row, &complete));
        Ok(Outlook {
            reach: reach.collect(),
            bases: known.bases,
            values,
        })
    }

    fn too_far(&self, column: usize, value: f64, time: i64) -> SeriesError {
        SeriesError::TooFar {
            column: self.meta.columns[column].name.clone(),
            value: format!("{value:e}"),
            time,
        }
    }
}

/// How the values of a column are scaled in one series.
#[derive(Clone, Copy)]
struct SeriesScale {
    scaler: Scaler,
    capacity: Option<f64>,
}

impl SeriesScale {
    /// A series without a capacity, of which the data set has no rows, has no shares.
    fn new(scaler: Scaler, capacity: Option<&Capacity>, series: &str) -> Self {
        let capacity = capacity.map(|capacity| capacity.of(series).unwrap_or(f64::NAN));
        Self { scaler, capacity }
    }

    /// None where it is so far from the training part that no `f32` holds it.
    fn transform(self, value: f64) -> Option<f32> {
        let value = self.capacity.map_or(value, |capacity| value / capacity);
        let scaled = self.scaler.transform(value) as f32;
        (!scaled.is_infinite()).then_some(scaled)
    }
}
