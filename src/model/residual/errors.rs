//! The quantiles of a model's past errors, by target and lead, and by hour of the day where the hours differ.
//!
//! A load or a sun errs by day and hardly by night: one width for all hours is too wide for the one and too
//! narrow for the other. So errors of one hour of the valid time (UTC) and of the two beside it stand for that
//! hour, where
//!
//! - the step is finer than a day and a day is whole steps,
//! - each hour has enough errors at each lead to tell the outermost quantiles ([`LEAST`], [`LEAST_BEYOND`]),
//! - and the hour with the largest mean of |error| has more than [`DIFFER`] times that of the smallest.
//!
//! Otherwise all hours have the errors of all: on weather, where hours differ by less than half, a third of
//! the errors for each says less. Measured on seven public series: where hours differ 5 to 7 times and more,
//! the pinball loss falls by 4 to 20 %; where they differ by 1.2 to 1.5 times, it would change by −1 to +1 %.

use anyhow::{Result, ensure};

use super::super::{Array, Weights};
use super::weight;
use crate::data::{Frame, quantile};
use crate::time::{DAY, Step};

/// The weight that holds them, `[hours × (targets × horizon) × levels]`, in scaled units; 1 hour stands for all.
pub(super) const RESIDUAL_QUANTILES: &str = "residual_quantiles";

/// Hours of a day that are told apart at most; of a longer step each is one.
const HOURS: usize = 24;
/// Errors that each hour must have at each lead.
const LEAST: usize = 50;
/// How many of them must be expected beyond an outermost quantile.
const LEAST_BEYOND: f64 = 5.0;
/// How many times the errors of one hour must be those of another.
const DIFFER: f64 = 2.0;

/// Forecasts of all targets from some rows, to be held against what became.
pub(super) struct Made<'a> {
    pub(super) frame: &'a Frame,
    pub(super) issues: &'a [usize],
    pub(super) horizon: usize,
    /// `[issues × targets × horizon]`.
    pub(super) mean: Vec<f32>,
}

/// Quantiles of observed − forecast.
#[derive(Debug, PartialEq)]
pub(super) struct Errors {
    /// Hours of the day that are told apart; 1 where none are.
    hours: usize,
    /// Targets times leads.
    cells: usize,
    levels: usize,
    /// `[hours × cells × levels]`.
    quantiles: Vec<f32>,
}

impl Errors {
    /// Of a model without quantiles.
    pub(super) fn none() -> Self {
        Self {
            hours: 1,
            cells: 0,
            levels: 0,
            quantiles: Vec::new(),
        }
    }

    /// Of these forecasts at these levels, of which there is one at least.
    pub(super) fn of(made: &Made<'_>, levels: &[f64]) -> Result<Self> {
        let targets = made.frame.targets().len();
        let hours = hours_of(made.frame.step());
        let differ: Vec<bool> = (0..targets)
            .map(|target| hours > 1 && made.hours_differ(target, least(levels)))
            .collect();
        let hours = if differ.contains(&true) { hours } else { 1 };
        let cells = targets * made.horizon;
        let mut errors = Self {
            hours,
            cells,
            levels: levels.len(),
            quantiles: vec![0.0; hours * cells * levels.len()],
        };
        for cell in 0..cells {
            let by_hour = made.errors(cell)?;
            let all = sorted(by_hour.iter().flatten());
            for hour in 0..hours {
                let of_levels = |errors: &[f32]| -> Vec<f32> {
                    let of_errors = |&level: &f64| quantile(errors, level) as f32;
                    levels.iter().map(of_errors).collect()
                };
                let quantiles = if differ[cell / made.horizon] {
                    of_levels(&sorted(around(&by_hour, hour).flatten()))
                } else {
                    of_levels(&all)
                };
                let place = errors.place(hour, cell);
                errors.quantiles[place..place + levels.len()].copy_from_slice(&quantiles);
            }
        }
        Ok(errors)
    }

    /// What [`Self::to_weight`] gave, of a model with so many targets times leads and levels.
    pub(super) fn from_weights(
        weights: &Weights,
        step: Step,
        cells: usize,
        levels: usize,
    ) -> Result<Self> {
        let name = RESIDUAL_QUANTILES;
        let shape = weights.get(name).map(|array| array.shape.as_slice());
        let hours = match shape {
            Some([hours, ..]) if *hours == hours_of(step) => *hours,
            _ => 1,
        };
        let shape = [hours, cells, levels];
        Ok(Self {
            hours,
            cells,
            levels,
            quantiles: weight(weights, name, &shape)?.to_vec(),
        })
    }

    /// Those of a model of before hours were told apart, `[cells × levels]`: of forecasts that were not yet cut
    /// at bounds, and so to be added to such.
    pub(super) fn of_uncut(weights: &Weights, cells: usize, levels: usize) -> Result<Option<Self>> {
        let array = weights.get(RESIDUAL_QUANTILES);
        if array.is_none_or(|array| array.shape.len() != 2) {
            return Ok(None);
        }
        let quantiles = weight(weights, RESIDUAL_QUANTILES, &[cells, levels])?.to_vec();
        Ok(Some(Self {
            hours: 1,
            cells,
            levels,
            quantiles,
        }))
    }

    pub(super) fn to_weight(&self) -> Array {
        Array {
            shape: vec![self.hours, self.cells, self.levels],
            values: self.quantiles.clone(),
        }
    }

    /// Those of one lead of one target at a time.
    pub(super) fn at(&self, time: i64, cell: usize) -> &[f32] {
        let place = self.place(hour_at(time, self.hours), cell);
        &self.quantiles[place..place + self.levels]
    }

    fn place(&self, hour: usize, cell: usize) -> usize {
        (hour * self.cells + cell) * self.levels
    }
}

impl Made<'_> {
    /// The errors of one lead of one target, by the hour of the time that they are of.
    fn errors(&self, cell: usize) -> Result<Vec<Vec<f32>>> {
        let (frame, targets) = (self.frame, self.frame.targets());
        let cells = targets.len() * self.horizon;
        let (target, lead) = (targets[cell / self.horizon], cell % self.horizon + 1);
        let hours = hours_of(frame.step());
        let mut errors = vec![Vec::new(); hours];
        for (issue, forecast) in self.issues.iter().zip(self.mean.chunks_exact(cells)) {
            let row = issue + lead;
            if row < frame.rows() {
                let error = frame.truth(row, target) - forecast[cell];
                if !error.is_nan() {
                    errors[hour_at(frame.time(row), hours)].push(error);
                }
            }
        }
        ensure!(
            errors.iter().any(|of_hour| !of_hour.is_empty()),
            "quantiles come from errors on the validation part, which has no window with a value of {} at \
             lead {lead}",
            frame.columns[target].name
        );
        Ok(errors)
    }

    /// Whether the errors of one target differ by hour, and each hour has enough of them at each lead.
    fn hours_differ(&self, target: usize, least: usize) -> bool {
        let hours = hours_of(self.frame.step());
        let mut sums = vec![(0.0, 0.0); hours];
        for lead in 0..self.horizon {
            let Ok(by_hour) = self.errors(target * self.horizon + lead) else {
                return false;
            };
            for (hour, (sum, count)) in sums.iter_mut().enumerate() {
                let errors = || around(&by_hour, hour).flatten();
                if errors().count() < least {
                    return false;
                }
                *sum += errors().map(|error| f64::from(error.abs())).sum::<f64>();
                *count += errors().count() as f64;
            }
        }
        let means = || sums.iter().map(|(sum, count)| sum / count);
        let largest = means().fold(0.0, f64::max);
        largest > DIFFER * means().fold(f64::INFINITY, f64::min)
    }
}

/// How many errors tell the outermost of some levels.
fn least(levels: &[f64]) -> usize {
    let tails = levels.iter().map(|level| level.min(1.0 - level));
    let tail = tails.fold(0.5, f64::min);
    LEAST.max((LEAST_BEYOND / tail).ceil() as usize)
}

/// How many hours of the day can be told apart, which on a longer step are such steps.
fn hours_of(step: Step) -> usize {
    step.per_day().map_or(1, |steps| steps.min(HOURS))
}

/// Which of so many hours of the day a time is in.
fn hour_at(time: i64, hours: usize) -> usize {
    (time.rem_euclid(DAY) * hours as i64 / DAY) as usize
}

/// The errors of an hour and of the two beside it; of a longer step its own.
fn around(by_hour: &[Vec<f32>], hour: usize) -> impl Iterator<Item = &Vec<f32>> {
    let all = by_hour.len();
    let reach = usize::from(all == HOURS);
    (0..=2 * reach).map(move |beside| &by_hour[(hour + all + beside - reach) % all])
}

fn sorted<'e>(errors: impl Iterator<Item = &'e f32>) -> Vec<f32> {
    let mut errors: Vec<f32> = errors.copied().collect();
    errors.sort_unstable_by(f32::total_cmp);
    errors
}

#[cfg(test)]
mod tests {
    use super::super::testing::frame;
    use super::*;

    const LEVELS: [f64; 3] = [0.1, 0.5, 0.9];

    /// Errors of forecasts of 0 at two leads, hour by hour, at some levels.
    fn errors(observed: &[f32], levels: &[f64]) -> Errors {
        let frame = frame(observed.to_vec(), &[]);
        let issues: Vec<usize> = (0..frame.rows() - 2).collect();
        let made = Made {
            frame: &frame,
            issues: &issues,
            horizon: 2,
            mean: vec![0.0; issues.len() * 2],
        };
        Errors::of(&made, levels).expect("errors")
    }

    /// So many days of nothing by night and of ±3 from 6 to 18 h.
    fn sun(days: usize) -> Vec<f32> {
        let value = |row: usize| match row % 24 {
            6..=18 => [-3.0, 0.0, 3.0][row / 24 % 3],
            _ => 0.0,
        };
        (0..days * 24).map(value).collect()
    }

    #[test]
    fn hours_that_differ_have_quantiles_of_their_own() {
        let errors = errors(&sun(60), &LEVELS);
        assert_eq!(errors.hours, 24);
        let hour = |hour: i64, cell| errors.at(hour * 3600, cell);
        for cell in 0..2 {
            assert_eq!(hour(0, cell), [0.0; 3], "night");
            assert_eq!(hour(12, cell), [-3.0, 0.0, 3.0], "day");
            // At 4 h nothing of the day is within an hour; at 5 h a third is.
            assert_eq!(hour(4, cell), [0.0; 3]);
            assert_eq!(hour(5, cell), [-3.0, 0.0, 3.0]);
        }
        // The same hour of another year, before 1970 too.
        assert_eq!(errors.at(-43_200, 0), hour(12, 0));
    }

    #[test]
    fn hours_that_hardly_differ_have_one_width() {
        let value = |row: usize| ((row * 7919) % 101) as f32 - 50.0;
        let alike: Vec<f32> = (0..60 * 24).map(value).collect();
        assert_eq!(errors(&alike, &LEVELS).hours, 1);
        let noon_more =
            |(row, value): (usize, &f32)| if row % 24 == 12 { 1.5 * value } else { *value };
        let alike: Vec<f32> = alike.iter().enumerate().map(noon_more).collect();
        assert_eq!(errors(&alike, &LEVELS).hours, 1);
    }

    #[test]
    fn too_few_errors_of_an_hour_are_none_of_its_own() {
        // 3 hours a day, 50 errors.
        assert_eq!(errors(&sun(16), &LEVELS).hours, 1);
        assert_eq!(errors(&sun(18), &LEVELS).hours, 24);
        // An outer quantile wants more of them.
        assert_eq!(errors(&sun(18), &[0.01, 0.5, 0.9]).hours, 1);
        assert_eq!((least(&[0.5]), least(&[0.05, 0.5])), (50, 100));
    }

    #[test]
    fn a_target_whose_hours_do_not_differ_keeps_one_width_beside_one_whose_do() {
        let other = |row: usize| ((row * 7919) % 101) as f32 - 50.0;
        let mut frame = frame(sun(60), &[(0..60 * 24).map(other).collect()]);
        frame.columns[1].role = crate::data::Role::Target;
        let issues: Vec<usize> = (0..frame.rows() - 1).collect();
        let made = Made {
            frame: &frame,
            issues: &issues,
            horizon: 1,
            mean: vec![0.0; issues.len() * 2],
        };
        let errors = Errors::of(&made, &LEVELS).expect("errors");
        assert_ne!(errors.at(0, 0), errors.at(43_200, 0));
        assert_eq!(errors.at(0, 1), errors.at(43_200, 1));
    }

    #[test]
    fn only_steps_that_make_a_day_tell_hours() {
        let of = |step: &str| hours_of(step.parse().expect("a step"));
        let steps = ["10min", "1h", "3h", "12h", "1d", "7h", "7d"];
        assert_eq!(steps.map(of), [24, 24, 8, 2, 1, 1, 1]);
        assert_eq!([0, 3, 21].map(|hour| hour_at(hour * 3600, 8)), [0, 1, 7]);
    }

    #[test]
    fn what_is_written_is_read_again_and_nothing_else() {
        let errors = errors(&sun(60), &LEVELS);
        let weights = |array| Weights::from([(RESIDUAL_QUANTILES.to_owned(), array)]);
        let read = |array, step| Errors::from_weights(&weights(array), step, 2, 3);
        assert_eq!(
            read(errors.to_weight(), Step::HOUR).expect("errors"),
            errors
        );
        let three_hours = "3h".parse().expect("a step");
        assert!(read(errors.to_weight(), three_hours).is_err());
        for shape in [
            vec![24, 2, 2],
            vec![24, 6],
            vec![23, 2, 3],
            vec![144],
            vec![],
        ] {
            let values = vec![0.0; shape.iter().product()];
            let error = read(Array { shape, values }, Step::HOUR).expect_err("a refusal");
            assert!(error.to_string().contains("expected shape"), "{error:#}");
        }
    }
}
