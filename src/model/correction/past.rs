//! What is known of past forecasts at a later row: their errors, and how far what was observed departs
//! from what is usual.

use std::ops::Range;

use crate::data::{Block, Frame, Window, issues_within};
use crate::model::{Climatology, Predictions};
use crate::params::{CorrectionParams, ModelParams};
use crate::time::Step;

/// How many half-lives the past is remembered; then it counts a sixteenth.
const HALF_LIVES: f64 = 4.0;
/// Where the step is finer, a past forecast is looked at once an hour.
const BETWEEN_S: i64 = 3600;

/// Which past forecasts count, and how much.
pub(super) struct Memory {
    lookback: usize,
    horizon: usize,
    /// How many rows lie between two of them.
    every: usize,
    /// How much counts what was known so many rows ago; beyond, nothing.
    weights: Vec<f64>,
}

impl Memory {
    pub(super) fn new(params: CorrectionParams, model: &ModelParams, step: Step) -> Self {
        let half_life = params.half_life.seconds() as f64 / step.seconds() as f64;
        let rows = ((HALF_LIVES * half_life).ceil() as usize).max(1);
        let weight = |age: usize| (-(age as f64) / half_life).exp2();
        Self {
            lookback: model.lookback,
            horizon: model.horizon,
            every: (BETWEEN_S / step.seconds()).max(1) as usize,
            weights: (0..rows).map(weight).collect(),
        }
    }

    /// How many rows before an issue row a forecast was issued that counts for it, at most.
    pub(super) fn rows(&self) -> usize {
        self.weights.len()
    }

    /// The rows of one series from which forecasts were issued that count for one of these. They are
    /// told by their times: a frame that begins later has the same.
    pub(super) fn earlier(&self, frame: &Frame, block: &Block, issues: &[usize]) -> Vec<usize> {
        let window = Window::new(self.lookback, self.horizon, 1);
        let span = issues.iter().min().zip(issues.iter().max());
        let (Some(window), Some((first, last))) = (window, span) else {
            return Vec::new();
        };
        // The last of them was issued one row before, and speaks of a horizon after that.
        let start = (first + 1).saturating_sub(self.rows() + self.lookback);
        let rows = start.max(block.rows.start)..(last + self.horizon).min(block.rows.end);
        let mut earlier = issues_within(frame, rows, window);
        let step = frame.step().seconds();
        earlier.retain(|&row| frame.time(row).div_euclid(step) % self.every as i64 == 0);
        earlier
    }
}

/// The past of one series, as far as it counts for forecasts from some rows.
pub(super) struct Past<'a> {
    memory: &'a Memory,
    /// The columns of the targets.
    targets: Vec<usize>,
    /// From which rows the forecasts are; sorted.
    issues: Vec<usize>,
    /// Their means, `[issues × targets × horizon]`.
    means: Vec<f32>,
    /// Observed − forecast, alike; NaN where nobody observed.
    errors: Vec<f32>,
    /// The first row of `departures`.
    first: usize,
    /// What was observed at each row and is usual then, and the difference, by target.
    departures: Vec<Vec<f32>>,
    /// What is usual at each row, by target, also for a horizon after the last one.
    usual: Vec<Vec<f32>>,
}

/// What is known at a row for a forecast of a target from there. All by lead.
pub(super) struct Known {
    /// The mean of errors.
    pub(super) error: Vec<f64>,
    /// The usual value, as far as it holds these days.
    pub(super) usual: Vec<f64>,
}

/// A past forecast of a target.
pub(super) struct PastForecast<'a> {
    pub(super) issue: usize,
    /// `[horizon]`.
    pub(super) mean: &'a [f32],
    /// Observed − forecast, `[horizon]`; NaN where nobody observed.
    pub(super) errors: &'a [f32],
}

impl<'a> Past<'a> {
    /// Without any forecast yet.
    pub(super) fn new(
        memory: &'a Memory,
        frame: &Frame,
        block: &Block,
        issues: &[usize],
        usual: &[Climatology],
    ) -> Self {
        let first = issues.iter().min().copied().unwrap_or(block.rows.start);
        let last = issues.iter().max().copied().unwrap_or(first);
        let first = (first + 1)
            .saturating_sub(memory.rows())
            .max(block.rows.start);
        let targets = frame.targets();
        let of_target = |usual: &Climatology| -> Vec<f32> {
            let rows = first..last + 1 + memory.horizon;
            let times = rows.map(|row| block.time(row, frame.step()));
            times.map(|time| usual.value(time)).collect()
        };
        let usual: Vec<Vec<f32>> = usual.iter().map(of_target).collect();
        let departures = targets.iter().zip(&usual).map(|(&target, usual)| {
            let observed = (first..=last).map(|row| frame.truth(row, target));
            observed
                .zip(usual)
                .map(|(truth, usual)| truth - usual)
                .collect()
        });
        Self {
            memory,
            departures: departures.collect(),
            targets,
            issues: Vec::new(),
            means: Vec::new(),
            errors: Vec::new(),
            first,
            usual,
        }
    }

    /// Adds a forecast, one of some by its place, from a row after those that there are.
    pub(super) fn add(&mut self, frame: &Frame, issue: usize, of: &Predictions, place: usize) {
        for (target, &column) in self.targets.iter().enumerate() {
            let mean = of.mean_of(place, target);
            let rows = issue + 1..issue + 1 + mean.len();
            let error = |(row, mean): (usize, &f32)| frame.truth(row, column) - mean;
            self.errors.extend(rows.zip(mean).map(error));
            self.means.extend(mean);
        }
        self.issues.push(issue);
    }

    pub(super) fn horizon(&self) -> usize {
        self.memory.horizon
    }

    /// The forecasts of one target.
    pub(super) fn forecasts(&self, target: usize) -> impl Iterator<Item = PastForecast<'_>> {
        (0..self.issues.len()).map(move |place| self.at(place, target))
    }

    fn at(&self, place: usize, target: usize) -> PastForecast<'_> {
        let first = (place * self.targets.len() + target) * self.memory.horizon;
        let leads: Range<usize> = first..first + self.memory.horizon;
        PastForecast {
            issue: self.issues[place],
            mean: &self.means[leads.clone()],
            errors: &self.errors[leads],
        }
    }

    /// What is known of a target at a row.
    pub(super) fn known(&self, issue: usize, target: usize) -> Known {
        let ahead = issue + 1 - self.first;
        let usual = &self.usual[target][ahead..ahead + self.memory.horizon];
        let departure = self.departure(issue, target);
        Known {
            error: self.error(issue, target),
            usual: usual
                .iter()
                .map(|&value| f64::from(value) + departure)
                .collect(),
        }
    }

    /// The mean error of each lead, the later ones the more. Errors of nothing for the length of a
    /// horizon count as well, lest the first few decide.
    fn error(&self, issue: usize, target: usize) -> Vec<f64> {
        let Memory {
            horizon,
            every,
            weights,
            ..
        } = self.memory;
        let mut sums = vec![(0.0, *horizon as f64 / *every as f64); *horizon];
        let first = self
            .issues
            .partition_point(|&past| past + weights.len() < issue);
        let end = self.issues.partition_point(|&past| past < issue);
        for place in first..end {
            let past = self.at(place, target);
            // The error of lead `h` was known `h` rows after its issue.
            let age = issue - past.issue;
            let known = age.min(*horizon);
            let weights = weights[age - known..age].iter().rev();
            for (((sum, count), &error), weight) in sums.iter_mut().zip(past.errors).zip(weights) {
                if !error.is_nan() {
                    *sum += weight * f64::from(error);
                    *count += weight;
                }
            }
        }
        sums.iter().map(|(sum, count)| sum / count).collect()
    }

    /// The mean of observed − usual, the later the more; 0 where nothing was observed.
    fn departure(&self, issue: usize, target: usize) -> f64 {
        let (mut sum, mut count) = (0.0, 0.0);
        let until = &self.departures[target][..=issue - self.first];
        for (&departure, weight) in until.iter().rev().zip(&self.memory.weights) {
            if !departure.is_nan() {
                sum += weight * f64::from(departure);
                count += weight;
            }
        }
        if count > 0.0 { sum / count } else { 0.0 }
    }
}
