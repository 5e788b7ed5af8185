//! Forecasts that learn from the errors of those before them.
//!
//! A model knows the years that it was trained on, and nothing of what is unusual about this month: a
//! warmer sea, a drier soil, an instrument that was changed. Then it errs in one direction for weeks.
//! `model.correction` adds to the forecast of each lead
//!
//! - a share of its *recent error*, the mean of observed − forecast at that lead over the forecasts
//!   before it, the later the more (a decaying average, as in B. Cui, Z. Toth, Y. Zhu and D. Hou, "Bias
//!   correction for global ensemble forecast", Weather and Forecasting 27, 2012);
//! - a share of the way to the *usual value*, the climatology of the time of day and year and how far what
//!   was observed of late departs from it, since a forecast of what can hardly be foreseen does better
//!   to say little.
//!
//! How large the shares are the validation part decides. All quantiles move with the mean.
//!
//! A past forecast is made again from the rows that were there at its issue time. So a model needs no
//! archive of forecasts, and is told nothing but what was observed by the issue time. This module
//! knows nothing of how a forecast is made, nor of bounds: what moves a forecast may move it beyond.

mod past;
mod shares;

use anyhow::Result;

use self::past::{Memory, Past};
use self::shares::{Shares, TERMS};
use super::climatology::Climatologies;
use super::{
    Array, Family, FitTask, Fitted, Forecaster, Interrupted, LoadTask, Moment, Monitor,
    Predictions, Weights, Wish, residual,
};
use crate::data::{Block, Frame, Role, columns_with};
use crate::event::Event;
use crate::params::CorrectionParams;

/// What stands before the names of its weights, among those of the model.
const PREFIX: &str = "correction.";
/// The weight that holds the shares of all targets, `[targets, 4]`.
const SHARES: &str = "shares";
/// Past forecasts that are made at a time in a fit; between them it asks whether to go on.
const BATCH: usize = 256;

/// Fits a model, and then what corrects it.
pub(super) fn fit(
    family: &dyn Family,
    params: CorrectionParams,
    task: &FitTask<'_>,
    monitor: &mut dyn Monitor,
) -> Result<Fitted> {
    let warm_start = task.warm_start.map(|weights| split_off(weights).0);
    let inner = FitTask {
        warm_start: warm_start.as_ref(),
        ..*task
    };
    let fitted = family.fit(&inner, monitor)?;
    let frame = task.frame;
    let memory = Memory::new(params, task.model, frame.step());
    let usual = Climatologies::fit(frame, task.train_rows)?;

    let mut past = Vec::new();
    for block in frame.layout.blocks() {
        let before = |end: usize| task.validation.partition_point(|&row| row < end);
        let issues = &task.validation[before(block.rows.start)..before(block.rows.end)];
        let mut of_series = Past::new(&memory, frame, block, issues, usual.each());
        for issues in issues.chunks(BATCH) {
            if monitor.between(Moment::Step) == Wish::KeepAndEnd {
                let epoch = fitted.history.len();
                return Err(Interrupted { epoch }.into());
            }
            let predictions = fitted.forecaster.forecast(frame, issues)?;
            for (place, &issue) in issues.iter().enumerate() {
                of_series.add(frame, issue, &predictions, place);
            }
        }
        past.push(of_series);
    }
    let targets = 0..usual.each().len();
    let shares: Vec<Shares> = targets.map(|target| Shares::fit(&past, target)).collect();
    drop(past);

    let mut weights = fitted.weights;
    weights.extend(to_weights(&usual, &shares));
    let corrected = Corrected {
        inner: fitted.forecaster,
        memory,
        usual,
        shares,
    };
    monitor.event(Event::note(corrected.told(frame)));
    Ok(Fitted {
        weights,
        history: fitted.history,
        forecaster: Box::new(corrected),
    })
}

/// Rebuilds what [`fit`] made.
pub(super) fn load(
    family: &dyn Family,
    params: CorrectionParams,
    task: &LoadTask<'_>,
    weights: &Weights,
) -> Result<Box<dyn Forecaster>> {
    let (inner, ours) = split_off(weights);
    let targets = columns_with(task.columns, Role::Target).len();
    let usual = Climatologies::from_weights(&ours, targets)?;
    let shares = residual::weight(&ours, SHARES, &[targets, TERMS])?;
    let (shares, _) = shares.as_chunks();
    Ok(Box::new(Corrected {
        inner: family.load(task, &inner)?,
        memory: Memory::new(params, task.model, task.step),
        shares: shares.iter().copied().map(Shares).collect(),
        usual,
    }))
}

/// The weights of the model itself, and those of its correction without their prefix.
fn split_off(weights: &Weights) -> (Weights, Weights) {
    let (mut inner, mut ours) = (Weights::new(), Weights::new());
    for (name, array) in weights {
        match name.strip_prefix(PREFIX) {
            Some(name) => ours.insert(name.to_owned(), array.clone()),
            None => inner.insert(name.clone(), array.clone()),
        };
    }
    (inner, ours)
}

fn to_weights(usual: &Climatologies, shares: &[Shares]) -> Weights {
    let shares = Array {
        shape: vec![shares.len(), TERMS],
        values: shares.iter().flat_map(|shares| shares.0).collect(),
    };
    let mut weights = usual.to_weights();
    weights.insert(SHARES.to_owned(), shares);
    let prefixed = |(name, array)| (format!("{PREFIX}{name}"), array);
    weights.into_iter().map(prefixed).collect()
}

/// A model whose forecasts are corrected.
struct Corrected {
    inner: Box<dyn Forecaster>,
    memory: Memory,
    usual: Climatologies,
    /// By target.
    shares: Vec<Shares>,
}

impl Corrected {
    /// What it does, for a person.
    fn told(&self, frame: &Frame) -> String {
        let several = self.shares.len() > 1;
        let columns = frame.targets().into_iter();
        let each = self.shares.iter().zip(columns).map(|(shares, column)| {
            let [error, far_error, usual, far_usual] = shares.0;
            let name = Some(&frame.columns[column].name).filter(|_| several);
            let of = name.map_or_else(String::new, |name| format!(" of {name}"));
            format!(
                "correction{of}, at the first and the last lead: {:.0} and {:.0} % of the recent error, \
                 {:.0} and {:.0} % of the way to the usual value",
                100.0 * error,
                100.0 * far_error,
                100.0 * usual,
                100.0 * far_usual
            )
        });
        each.collect::<Vec<_>>().join("; ")
    }

    /// Forecasts from some rows of one series.
    fn of_series(&self, frame: &Frame, block: &Block, issues: &[usize]) -> Result<Predictions> {
        let earlier = self.memory.earlier(frame, block, issues);
        let mut all = [earlier.as_slice(), issues].concat();
        all.sort_unstable();
        all.dedup();
        let made = self.inner.forecast(frame, &all)?;
        let place = |issue: usize| all.partition_point(|&row| row < issue);
        let mut past = Past::new(&self.memory, frame, block, issues, self.usual.each());
        for issue in earlier {
            past.add(frame, issue, &made, place(issue));
        }
        let mut corrected = Predictions {
            mean: Vec::new(),
            quantiles: Vec::new(),
            levels: made.levels.clone(),
            ..made
        };
        for &issue in issues {
            for (target, shares) in self.shares.iter().enumerate() {
                let mean = made.mean_of(place(issue), target);
                let moves = shares.moves(&past.known(issue, target), mean);
                let quantiles = made.quantiles_of(place(issue), target);
                corrected
                    .mean
                    .extend(mean.iter().zip(&moves).map(|(value, by)| value + by));
                let levels = made.levels.len().max(1);
                for (quantiles, by) in quantiles.chunks_exact(levels).zip(&moves) {
                    corrected
                        .quantiles
                        .extend(quantiles.iter().map(|value| value + by));
                }
            }
        }
        Ok(corrected)
    }
}

impl Forecaster for Corrected {
    fn forecast(&self, frame: &Frame, issues: &[usize]) -> Result<Predictions> {
        let mut all: Option<Predictions> = None;
        let start = |row: usize| frame.layout.block_of(row).map(|block| block.rows.start);
        for issues in issues.chunk_by(|&a, &b| start(a) == start(b)) {
            let Some(block) = frame.layout.block_of(issues[0]) else {
                continue;
            };
            let next = self.of_series(frame, block, issues)?;
            all = Some(match all {
                None => next,
                Some(mut all) => {
                    all.mean.extend(next.mean);
                    all.quantiles.extend(next.quantiles);
                    all
                }
            });
        }
        // Of no row there is nothing to correct.
        all.map_or_else(|| self.inner.forecast(frame, issues), Ok)
    }

    fn memory(&self) -> usize {
        self.memory.rows()
    }
}

#[cfg(test)]
mod tests;
