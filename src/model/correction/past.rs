//! What is known at a row of the forecasts before it, and of what is usual.

use std::ops::Range;

use super::memory::Memory;
use crate::data::Frame;
use crate::model::{Climatology, Predictions};

/// The past of one series, as far as it counts for forecasts from some rows.
pub(super) struct Past<'a> {
    memory: &'a Memory,
    /// The rows of the series.
    rows: Range<usize>,
    /// The columns of the targets.
    targets: Vec<usize>,
    /// From which rows the forecasts are; sorted.
    issues: Vec<usize>,
    /// Observed − forecast, `[issues × targets × horizon]`; NaN where nobody observed.
    errors: Vec<f32>,
    /// The first row that is looked at.
    first: usize,
    /// By target what is usual at each row, to a horizon after the last one.
    usual: Vec<Vec<f32>>,
    /// By target what was observed at each row beyond what is usual; NaN where nobody observed.
    departures: Vec<Vec<f32>>,
}

/// What is known at a row for a forecast of a target from there, by lead.
pub(super) struct Known {
    /// The recent error.
    pub(super) error: Vec<f64>,
    /// The usual value, as these days are.
    pub(super) usual: Vec<f64>,
}

impl<'a> Past<'a> {
    /// The past of the series that one row is of, for forecasts from those of some sorted rows that are
    /// of it too. Without any forecast yet.
    pub(super) fn new(
        memory: &'a Memory,
        frame: &Frame,
        issues: &[usize],
        one: usize,
        usual: &[Climatology],
    ) -> Self {
        let block = frame.layout.block_of(one);
        let rows = block.map_or(0..frame.rows(), |block| block.rows.clone());
        let before = |row: usize| issues.partition_point(|&issue| issue < row);
        let of_it = &issues[before(rows.start)..before(rows.end)];
        let earliest = of_it.first().copied().unwrap_or(one);
        let last = of_it.last().copied().unwrap_or(one);
        let first = (earliest + 1).saturating_sub(memory.weights.len());
        let first = first.max(rows.start);
        let targets = frame.targets();
        let of_target = |usual: &Climatology| -> Vec<f32> {
            let start = frame.time(first);
            let times = (0..=last + memory.horizon - first)
                .map(|row| start + row as i64 * frame.step().seconds());
            times.map(|time| usual.value(time)).collect()
        };
        let usual: Vec<Vec<f32>> = usual.iter().map(of_target).collect();
        let departures = targets.iter().zip(&usual).map(|(&target, usual)| {
            let observed = (first..=last).map(|row| frame.truth(row, target));
            let beyond = observed.zip(usual).map(|(truth, usual)| truth - usual);
            beyond.collect()
        });
        Self {
            memory,
            rows,
            departures: departures.collect(),
            targets,
            issues: Vec::new(),
            errors: Vec::new(),
            first,
            usual,
        }
    }

    /// Whether a row is of this series.
    pub(super) fn is_of(&self, row: usize) -> bool {
        self.rows.contains(&row)
    }

    /// Whether all of this series stands before a row.
    pub(super) fn is_before(&self, row: usize) -> bool {
        self.rows.end <= row
    }

    /// Adds a forecast, one of some by its place, from a row after those that there are.
    pub(super) fn add(&mut self, frame: &Frame, issue: usize, of: &Predictions, place: usize) {
        for (target, &column) in self.targets.iter().enumerate() {
            let mean = of.mean_of(place, target);
            let rows = issue + 1..issue + 1 + mean.len();
            let error = |(row, mean): (usize, &f32)| frame.truth(row, column) - mean;
            self.errors.extend(rows.zip(mean).map(error));
        }
        self.issues.push(issue);
    }

    /// The errors of the forecast that was added last, `[horizon]`; NaN where nobody observed.
    pub(super) fn last_errors(&self, target: usize) -> &[f32] {
        &self.errors[self.at(self.issues.len() - 1, target)]
    }

    fn at(&self, place: usize, target: usize) -> Range<usize> {
        let first = (place * self.targets.len() + target) * self.memory.horizon;
        first..first + self.memory.horizon
    }

    /// What is known at a row.
    pub(super) fn known(&self, issue: usize, target: usize) -> Known {
        let ahead = issue + 1 - self.first;
        let usual = &self.usual[target][ahead..ahead + self.memory.horizon];
        let departure = self.departure(issue, target);
        let usual = usual.iter().map(|&value| f64::from(value) + departure);
        Known {
            error: self.error(issue, target),
            usual: usual.collect(),
        }
    }

    /// The mean error of each lead, the later it was known the more it counts.
    fn error(&self, issue: usize, target: usize) -> Vec<f64> {
        let Memory {
            horizon,
            every,
            weights,
            nothing,
            ..
        } = self.memory;
        let mut sums = vec![(0.0, nothing / *every as f64); *horizon];
        let before = |row: usize| self.issues.partition_point(|&past| past < row);
        let remembered = before(issue.saturating_sub(self.memory.rows()))..before(issue);
        for place in remembered {
            // The error of lead `h` was known `age - h` rows ago.
            let age = issue - self.issues[place];
            let leads = age.saturating_sub(weights.len())..age.min(*horizon);
            let weights = weights[age - leads.end..age - leads.start].iter().rev();
            let errors = &self.errors[self.at(place, target)][leads.clone()];
            for (((sum, count), &error), weight) in sums[leads].iter_mut().zip(errors).zip(weights)
            {
                if !error.is_nan() {
                    *sum += weight * f64::from(error);
                    *count += weight;
                }
            }
        }
        sums.iter().map(|(sum, count)| sum / count).collect()
    }

    /// The mean of observed − usual, the later the more it counts; 0 where nothing was observed.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{FrameColumn, Role};
    use crate::params::{Architecture, Bounds, CorrectionParams, ModelParams};
    use crate::time::Step;

    /// With a half-life of a row what was known now counts 1, then 1/2, 1/4, 1/8 and no more; and no
    /// error at all counts 1.
    #[test]
    fn what_is_known_at_a_row_by_hand() {
        let model = ModelParams {
            lookback: 1,
            horizon: 2,
            quantiles: Vec::new(),
            bounds: Bounds::default().into(),
            correction: None,
            architecture: Architecture::Climatology,
        };
        let half_life = CorrectionParams {
            half_life: Step::HOUR,
        };
        let memory = Memory::new(half_life, &model, Step::HOUR).unwrap();
        let columns = vec![FrameColumn::new("t".into(), Role::Target)];
        let values = vec![9.0, 1.0, 2.0, 4.0, 8.0, 1e6, 1e6];
        let frame = Frame::single(0, Step::HOUR, columns, values);
        let usual = [Climatology::fit(Step::HOUR, [(0, 0.0)].into_iter())];
        // Every forecast is of 0, so the errors are what was observed.
        let predictions = Predictions {
            targets: 1,
            horizon: 2,
            levels: Vec::new(),
            mean: vec![0.0; 2],
            quantiles: Vec::new(),
        };
        let mut past = Past::new(&memory, &frame, &[4], 4, &usual);
        for issue in 0..4 {
            past.add(&frame, issue, &predictions, 0);
        }
        let known = past.known(4, 0);
        let last_four = 8.0 + 4.0 / 2.0 + 2.0 / 4.0 + 1.0 / 8.0;
        let last_three = 8.0 + 4.0 / 2.0 + 2.0 / 4.0;
        let expected = [last_four / (1.0 + 1.875), last_three / (1.0 + 1.75)];
        for (found, expected) in known.error.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
        for usual in known.usual {
            assert!((usual - last_four / 1.875).abs() < 1e-12, "{usual}");
        }
        assert_eq!(past.last_errors(0), [8.0, 1e6]);
    }
}
