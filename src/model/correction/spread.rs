//! How far the quantiles of a corrected forecast lie from those of the model.
//!
//! A corrected forecast errs less than the model did, and quantiles that stood for the model's errors
//! would count twice what is corrected. So each is moved by as much as it has to be for its share of
//! the validation part to lie below it, each lead of each target for itself (conformalized quantile
//! regression: Y. Romano, E. Patterson and E. Candès, Advances in Neural Information Processing Systems
//! 32, 2019). Nets whose quantiles are too narrow on what they never saw get wider by it.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::past::Known;
use super::shares::Shares;
use crate::data::quantile;

/// Windows that are looked at; more say hardly more.
const WINDOWS: usize = 8192;
/// Numbers that are kept of them.
const NUMBERS: usize = 1 << 25;

/// Some forecasts of the validation part, each with what was known for it and what was seen later.
pub(super) struct Sample {
    /// The model's levels.
    levels: Vec<f64>,
    /// The share of forecasts that is kept.
    kept: f64,
    seen: u64,
    /// By target.
    windows: Vec<Vec<Window>>,
}

/// A forecast of one target.
struct Window {
    known: Known,
    mean: Vec<f32>,
    /// `[horizon × levels]`.
    quantiles: Vec<f32>,
    /// Observed − mean; NaN where nobody observed.
    errors: Vec<f32>,
}

impl Sample {
    /// Of so many forecasts.
    pub(super) fn of(forecasts: usize, targets: usize, horizon: usize, levels: &[f64]) -> Self {
        let numbers = targets * horizon * (levels.len() + 6);
        let most = (NUMBERS / numbers.max(1)).clamp(1, WINDOWS);
        Self {
            levels: levels.to_vec(),
            kept: most as f64 / forecasts.max(1) as f64,
            seen: 0,
            windows: (0..targets).map(|_| Vec::new()).collect(),
        }
    }

    /// Whether the next forecast is one of them; to be asked once for each.
    pub(super) fn wants_next(&mut self) -> bool {
        self.seen += 1;
        // By chance: every so many-th of them might always be of the same hours of the day.
        let drawn = ChaCha8Rng::seed_from_u64(self.seen).random::<f64>();
        !self.levels.is_empty() && drawn < self.kept
    }

    /// Adds a forecast of a target.
    pub(super) fn add(
        &mut self,
        target: usize,
        known: Known,
        mean: &[f32],
        quantiles: &[f32],
        errors: &[f32],
    ) {
        self.windows[target].push(Window {
            known,
            mean: mean.to_vec(),
            quantiles: quantiles.to_vec(),
            errors: errors.to_vec(),
        });
    }

    /// What is added to each quantile, after the moves of the mean: `[targets × horizon × levels]`.
    pub(super) fn spread(&self, horizon: usize, shares: &[Shares]) -> Vec<f32> {
        let width = self.levels.len();
        let mut spread = Vec::with_capacity(self.windows.len() * horizon * width);
        for (windows, shares) in self.windows.iter().zip(shares) {
            let moves: Vec<Vec<f32>> = (windows.iter())
                .map(|window| shares.moves(&window.known, &window.mean))
                .collect();
            for lead in 0..horizon {
                for (at, &level) in self.levels.iter().enumerate() {
                    let beyond = windows.iter().zip(&moves).map(|(window, moves)| {
                        let observed = window.mean[lead] + window.errors[lead];
                        observed - window.quantiles[lead * width + at] - moves[lead]
                    });
                    let mut beyond: Vec<f32> = beyond.filter(|far| !far.is_nan()).collect();
                    beyond.sort_unstable_by(f32::total_cmp);
                    // Where nobody observed a lead nothing is known against its quantiles.
                    let shift = (!beyond.is_empty()).then(|| quantile(&beyond, level) as f32);
                    spread.push(shift.unwrap_or(0.0));
                }
            }
        }
        spread
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these values are exact by construction")]
mod tests {
    use super::*;

    /// A forecast of 10 with quantiles of 9 and 11, of which a half of an error of 4 is corrected.
    fn add(sample: &mut Sample, error: f32) {
        let known = Known {
            error: vec![4.0],
            usual: vec![0.0],
        };
        sample.add(0, known, &[10.0], &[9.0, 11.0], &[error]);
    }

    #[test]
    fn quantiles_come_to_where_their_shares_lie_below() {
        let mut sample = Sample::of(5, 1, 1, &[0.25, 0.75]);
        for error in [0.0, 1.0, 2.0, 3.0, 4.0, f32::NAN] {
            add(&mut sample, error);
        }
        let shares = [Shares([0.5, 0.0, 0.0, 0.0])];
        // Of what is observed, 10 to 14, a quarter lies below 11 and three quarters below 13.
        let spread = sample.spread(1, &shares);
        assert_eq!(
            [9.0 + 2.0 + spread[0], 11.0 + 2.0 + spread[1]],
            [11.0, 13.0]
        );
    }

    #[test]
    fn what_nobody_observed_moves_nothing() {
        let mut sample = Sample::of(1, 1, 1, &[0.25, 0.75]);
        add(&mut sample, f32::NAN);
        assert_eq!(sample.spread(1, &[Shares([1.0; 4])]), [0.0, 0.0]);
    }

    #[test]
    fn of_many_forecasts_some_of_every_hour_are_kept() {
        let all = 24 * WINDOWS;
        let mut many = Sample::of(all, 1, 1, &[0.5]);
        let mut of_hour = [0; 24];
        for hour in (0..24).cycle().take(all) {
            of_hour[hour] += usize::from(many.wants_next());
        }
        let expected = WINDOWS / 24;
        let near = |count: &usize| count.abs_diff(expected) < expected / 5;
        assert!(of_hour.iter().all(near), "{of_hour:?}");

        let mut few = Sample::of(WINDOWS, 1, 1, &[0.5]);
        assert!((0..WINDOWS).all(|_| few.wants_next()));
        assert!(!Sample::of(1, 1, 1, &[]).wants_next());
    }
}
