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
//! How large the shares are the validation part decides. All quantiles move with the mean, and then by as
//! much as the validation part says that they lie too high or too low ([`spread`]).
//!
//! A past forecast is made again from the rows that were there at its issue time. So a model needs no
//! archive of forecasts, and is told nothing but what was observed by the issue time. This module
//! knows nothing of how a forecast is made, nor of bounds: what it moves beyond them is cut there by others.

mod memory;
mod past;
mod shares;
mod spread;

use anyhow::Result;

use self::memory::Memory;
use self::past::Past;
use self::shares::{Evidence, Shares, TERMS};
use self::spread::Sample;
use super::climatology::Climatologies;
use super::{
    Array, Family, FitTask, Fitted, Forecaster, Interrupted, Issuer, LoadTask, Moment, Monitor,
    Predictions, Weights, Wish, residual,
};
use crate::data::{Frame, Role, columns_with};
use crate::event::Event;
use crate::params::CorrectionParams;

/// What stands before the names of its weights, among those of the model.
const PREFIX: &str = "correction.";
/// The weight that holds the shares of all targets, `[targets, 4]`.
const SHARES: &str = "shares";
/// The weight that holds what is added to the quantiles, `[targets × horizon, levels]`.
const SPREAD: &str = "spread";
/// Forecasts that are in memory at a time in a fit.
const BATCH: usize = 1024;

/// Fits a model, and then what corrects it.
pub(super) fn fit(
    family: &dyn Family,
    params: CorrectionParams,
    task: &FitTask<'_>,
    monitor: &mut dyn Monitor,
) -> Result<Fitted> {
    let frame = task.frame;
    let memory = Memory::new(params, task.model, frame.step())?;
    let fitted = family.fit(task, monitor)?;
    if monitor.between(Moment::Solve) == Wish::KeepAndEnd {
        let epoch = fitted.history.last().map_or(1, |line| line.epoch.max(1));
        return Err(Interrupted { epoch }.into());
    }
    let usual = Climatologies::fit(frame, task.train_rows)?;
    let (evidence, sample) = evidence(&memory, &usual, &fitted, task)?;
    let shares = evidence
        .iter()
        .map(|of_target| of_target.shares(memory.every));
    let shares: Vec<Shares> = shares.collect();
    tell(&shares, frame, monitor);

    let corrected = Corrected {
        spread: sample.spread(memory.horizon, &shares),
        inner: fitted.forecaster,
        memory,
        usual,
        shares,
    };
    let mut weights = fitted.weights;
    weights.extend(corrected.to_weights(task.model.quantiles.len()));
    Ok(Fitted {
        weights,
        history: fitted.history,
        forecaster: Box::new(corrected),
    })
}

/// What the forecasts of the validation part say of each target, and some of them.
fn evidence(
    memory: &Memory,
    usual: &Climatologies,
    fitted: &Fitted,
    task: &FitTask<'_>,
) -> Result<(Vec<Evidence>, Sample)> {
    let frame = task.frame;
    let issues = task.validation.iter().copied();
    let issues: Vec<usize> = issues.filter(|&row| memory.counts(frame, row)).collect();
    let targets = frame.targets().len();
    let mut evidence = vec![Evidence::none(memory.horizon); targets];
    let levels = &task.model.quantiles;
    let mut sample = Sample::of(issues.len(), targets, memory.horizon, levels);
    let mut past: Option<Past<'_>> = None;
    let issuer = fitted.forecaster.over(frame)?;
    for some in issues.chunks(BATCH) {
        let made = issuer.forecast(some)?;
        for (place, &issue) in some.iter().enumerate() {
            let past = match &mut past {
                Some(past) if past.is_of(issue) => past,
                other => other.insert(Past::new(
                    memory,
                    frame,
                    &issues,
                    issue,
                    usual.at(frame, issue),
                )),
            };
            past.add(frame, issue, &made, place);
            let is_sampled = sample.wants_next();
            for (target, evidence) in evidence.iter_mut().enumerate() {
                let (known, errors) = (past.known(issue, target), past.last_errors(target));
                let mean = made.mean_of(place, target);
                evidence.add(&known, mean, errors);
                if is_sampled {
                    sample.add(
                        target,
                        known,
                        mean,
                        made.quantiles_of(place, target),
                        errors,
                    );
                }
            }
        }
    }
    Ok((evidence, sample))
}

fn tell(shares: &[Shares], frame: &Frame, monitor: &mut dyn Monitor) {
    let targets = frame.targets();
    for (Shares(shares), &column) in shares.iter().zip(&targets) {
        let [error, far_error, usual, far_usual] = shares.map(|share| 100.0 * share);
        let name = Some(&frame.columns[column].name).filter(|_| targets.len() > 1);
        let of = name.map_or_else(String::new, |name| format!(" of {name}"));
        monitor.event(Event::note(format!(
            "correction{of}, at the first and the last lead: {error:.0} and {far_error:.0} % of the \
             recent error, {usual:.0} and {far_usual:.0} % of the way to the usual value"
        )));
    }
}

/// Rebuilds what [`fit`] made.
pub(super) fn load(
    family: &dyn Family,
    params: CorrectionParams,
    task: &LoadTask<'_>,
    weights: &Weights,
) -> Result<Box<dyn Forecaster>> {
    let ours = correcting(weights);
    let targets = columns_with(task.columns, Role::Target).len();
    let usual = Climatologies::from_weights(&ours, task)?;
    let shares = residual::weight(&ours, SHARES, &[targets, TERMS])?;
    let (shares, _) = shares.as_chunks();
    let levels = task.model.quantiles.len();
    let spread = match levels {
        0 => &[],
        _ => residual::weight(&ours, SPREAD, &[targets * task.model.horizon, levels])?,
    };
    Ok(Box::new(Corrected {
        inner: family.load(task, &uncorrected(weights.clone()))?,
        memory: Memory::new(params, task.model, task.step)?,
        shares: shares.iter().copied().map(Shares).collect(),
        spread: spread.to_vec(),
        usual,
    }))
}

/// The weights of a model without those that correct it.
pub fn uncorrected(mut weights: Weights) -> Weights {
    weights.retain(|name, _| !name.starts_with(PREFIX));
    weights
}

/// The weights that correct a model, without their prefix.
fn correcting(weights: &Weights) -> Weights {
    let ours = weights.iter().filter_map(|(name, array)| {
        let name = name.strip_prefix(PREFIX)?;
        Some((name.to_owned(), array.clone()))
    });
    ours.collect()
}

/// A model whose forecasts are corrected.
struct Corrected {
    inner: Box<dyn Forecaster>,
    memory: Memory,
    usual: Climatologies,
    /// By target.
    shares: Vec<Shares>,
    /// `[targets × horizon × levels]`.
    spread: Vec<f32>,
}

impl Corrected {
    /// Its own weights, without those of the model that it corrects.
    fn to_weights(&self, levels: usize) -> Weights {
        let targets = self.shares.len();
        let mut weights = self.usual.to_weights();
        let shares = Array {
            shape: vec![targets, TERMS],
            values: self.shares.iter().flat_map(|shares| shares.0).collect(),
        };
        weights.insert(SHARES.to_owned(), shares);
        if levels > 0 {
            let spread = Array {
                shape: vec![targets * self.memory.horizon, levels],
                values: self.spread.clone(),
            };
            weights.insert(SPREAD.to_owned(), spread);
        }
        let prefixed = |(name, array)| (format!("{PREFIX}{name}"), array);
        weights.into_iter().map(prefixed).collect()
    }

    /// The quantiles of a forecast of one target, whose leads are moved by so much.
    fn moved(&self, target: usize, quantiles: &[f32], moves: &[f32]) -> Vec<f32> {
        let cells = self.spread.len() / self.shares.len();
        let spread = &self.spread[target * cells..(target + 1) * cells];
        let levels = (cells / self.memory.horizon).max(1);
        let mut moved = Vec::with_capacity(quantiles.len());
        let leads = quantiles
            .chunks_exact(levels)
            .zip(spread.chunks_exact(levels));
        for ((quantiles, spread), by) in leads.zip(moves) {
            let first = moved.len();
            moved.extend(
                quantiles
                    .iter()
                    .zip(spread)
                    .map(|(value, far)| value + by + far),
            );
            // Each level was moved by itself.
            moved[first..].sort_unstable_by(f32::total_cmp);
        }
        moved
    }
}

impl Forecaster for Corrected {
    fn over<'a>(&'a self, frame: &'a Frame) -> Result<Box<dyn Issuer + 'a>> {
        Ok(Box::new(Over {
            model: self,
            inner: self.inner.over(frame)?,
            frame,
        }))
    }

    fn memory(&self) -> usize {
        self.memory.rows()
    }
}

/// A corrected model that has a frame before it.
struct Over<'a> {
    model: &'a Corrected,
    inner: Box<dyn Issuer + 'a>,
    frame: &'a Frame,
}

impl Issuer for Over<'_> {
    fn forecast(&self, issues: &[usize]) -> Result<Predictions> {
        let &Self { model, frame, .. } = self;
        let mut sorted = issues.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let same_series =
            |a: &usize, b: &usize| frame.layout.start_of(*a) == frame.layout.start_of(*b);
        let series: Vec<&[usize]> = sorted.chunk_by(same_series).collect();
        let earlier: Vec<Vec<usize>> = (series.iter())
            .map(|issues| model.memory.earlier(frame, issues))
            .collect();
        // All at once, so that a batch of the model is a whole one.
        let mut all = [earlier.concat(), sorted.clone()].concat();
        all.sort_unstable();
        all.dedup();
        let made = self.inner.forecast(&all)?;
        let place = |issue: usize| all.partition_point(|&row| row < issue);

        let mut pasts = Vec::with_capacity(series.len());
        for (issues, earlier) in series.iter().zip(earlier) {
            let usual = model.usual.at(frame, issues[0]);
            let mut past = Past::new(&model.memory, frame, issues, issues[0], usual);
            for issue in earlier {
                past.add(frame, issue, &made, place(issue));
            }
            pasts.push(past);
        }
        let mut corrected = Predictions {
            mean: Vec::with_capacity(issues.len() * model.shares.len() * made.horizon),
            quantiles: Vec::new(),
            levels: made.levels.clone(),
            ..made
        };
        for &issue in issues {
            let past = &pasts[pasts.partition_point(|past| past.is_before(issue))];
            for (target, shares) in model.shares.iter().enumerate() {
                let mean = made.mean_of(place(issue), target);
                let quantiles = made.quantiles_of(place(issue), target);
                let moves = shares.moves(&past.known(issue, target), mean);
                corrected
                    .quantiles
                    .extend(model.moved(target, quantiles, &moves));
                let moved = mean.iter().zip(&moves).map(|(value, by)| value + by);
                corrected.mean.extend(moved);
            }
        }
        Ok(corrected)
    }
}

#[cfg(test)]
mod tests;
