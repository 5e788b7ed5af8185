//! Scores of forecasts, and the sums that they are made from.
//!
//! All sums run in `f64`, in the order in which pairs come. A pair whose observation is missing
//! (NaN) does not count; a *forecast* that is missing where there is an observation makes the
//! score NaN, for a model must not win by keeping silent.

use serde::{Deserialize, Serialize, Serializer};

use crate::time::Step;

/// Scores of a mean forecast, in the unit of the target.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Root mean square error.
    pub rmse: f64,
    /// Mean absolute error.
    pub mae: f64,
    /// Mean of forecast − observation; positive where forecasts are too high.
    pub bias: f64,
}

/// Scores at one lead.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LeadScores {
    /// How far ahead, in hours.
    #[serde(serialize_with = "whole_as_integer")]
    pub lead_h: f64,
    /// The scores there.
    #[serde(flatten)]
    pub scores: Scores,
    /// The share of observations between the outermost quantiles there, where there are two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<f64>,
}

/// Scores of one model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelScores {
    /// Over all windows and leads together.
    pub overall: Scores,
    /// The same of errors as shares of the capacity of their series, where the target has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of_capacity: Option<Scores>,
    /// Lead by lead, increasing; leads without any observation are left out.
    pub by_lead: Vec<LeadScores>,
}

/// Scores of one series of several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeriesScores {
    /// Its name.
    pub name: String,
    /// The scores over all its windows and leads.
    #[serde(flatten)]
    pub scores: Scores,
    /// The same as shares of its capacity, where the target has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of_capacity: Option<Scores>,
    /// How the interval between the outermost quantiles holds in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<Coverage>,
    /// The loss of each quantile level in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pinball: Vec<PinballLoss>,
}

impl ModelScores {
    /// By which models are compared: overall, and of series of any size those of shares.
    pub fn judged(&self) -> Scores {
        self.of_capacity.unwrap_or(self.overall)
    }
}

impl Scores {
    /// As shares of a capacity.
    #[must_use]
    pub fn over(self, capacity: f64) -> Self {
        Self {
            rmse: self.rmse / capacity,
            mae: self.mae / capacity,
            bias: self.bias / capacity,
        }
    }
}

/// The pinball loss of one quantile level, in the unit of the target.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PinballLoss {
    /// The level, between 0 and 1.
    pub level: f64,
    /// Its mean loss over all windows and leads.
    pub loss: f64,
}

/// How an interval between two quantiles holds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Coverage {
    /// The level of its lower end.
    pub low: f64,
    /// The level of its upper end.
    pub high: f64,
    /// The share of observations in it; `high − low` would be right.
    pub share: f64,
    /// How wide it is on average, in the unit of the target.
    pub mean_width: f64,
}

/// The skill of a score against a reference's, for scores that are better the smaller they are:
/// 1 − `S/S_ref`. 1 is perfect, 0 is no better than the reference, below 0 is worse. `None` where
/// the reference makes no error, or the quotient is not a number.
pub fn skill(score: f64, reference: f64) -> Option<f64> {
    let skill = 1.0 - score / reference;
    (reference > 0.0 && skill.is_finite()).then_some(skill)
}

/// The pinball loss of a quantile: τ(y − q) where y ≥ q, (1 − τ)(q − y) otherwise, with level τ,
/// quantile q and observation y (R. Koenker and G. Bassett, "Regression quantiles", 1978).
pub fn pinball_loss(level: f64, quantile: f64, observed: f64) -> f64 {
    let error = observed - quantile;
    if error >= 0.0 {
        level * error
    } else {
        (level - 1.0) * error
    }
}

/// Sums of errors by lead, from which scores are made.
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorSums {
    leads: Vec<ErrorSum>,
}

impl ErrorSums {
    /// No pair yet, for leads 1 to `horizon`.
    pub fn new(horizon: usize) -> Self {
        Self {
            leads: vec![ErrorSum::default(); horizon],
        }
    }

    /// Adds one window: forecast and observation of each lead, from lead 1 on. Where one of them
    /// is longer than the other or than the horizon, the rest of it does not count.
    pub fn add(
        &mut self,
        forecast: impl IntoIterator<Item = f64>,
        observed: impl IntoIterator<Item = f64>,
    ) {
        let pairs = forecast.into_iter().zip(observed);
        for (lead, (forecast, observed)) in self.leads.iter_mut().zip(pairs) {
            lead.add(forecast, observed);
        }
    }

    /// The scores, where `step` is the time between two leads; `None` without any observation.
    pub fn scores(&self, step: Step) -> Option<ModelScores> {
        let mut all = ErrorSum::default();
        for lead in &self.leads {
            all.merge(*lead);
        }
        let by_lead = (1_usize..)
            .zip(&self.leads)
            .filter_map(|(lead, sum)| {
                let lead_h = step.hours(lead);
                let scores = sum.scores()?;
                Some(LeadScores {
                    lead_h,
                    scores,
                    coverage: None,
                })
            })
            .collect();
        Some(ModelScores {
            overall: all.scores()?,
            of_capacity: None,
            by_lead,
        })
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct ErrorSum {
    count: usize,
    error: f64,
    absolute: f64,
    square: f64,
}

impl ErrorSum {
    fn add(&mut self, forecast: f64, observed: f64) {
        if observed.is_nan() {
            return;
        }
        let error = forecast - observed;
        self.count += 1;
        self.error += error;
        self.absolute += error.abs();
        self.square += error * error;
    }

    fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.error += other.error;
        self.absolute += other.absolute;
        self.square += other.square;
    }

    fn scores(self) -> Option<Scores> {
        let count = self.count as f64;
        (self.count > 0).then(|| Scores {
            rmse: (self.square / count).sqrt(),
            mae: self.absolute / count,
            bias: self.error / count,
        })
    }
}

/// Sums of pinball losses by level.
#[derive(Clone, Debug, PartialEq)]
pub struct PinballSums {
    levels: Vec<f64>,
    losses: Vec<f64>,
    count: usize,
}

impl PinballSums {
    /// No observation yet, for these levels.
    pub fn new(levels: &[f64]) -> Self {
        Self {
            levels: levels.to_vec(),
            losses: vec![0.0; levels.len()],
            count: 0,
        }
    }

    /// Adds one lead of one window: its quantiles in the order of the levels.
    pub fn add(&mut self, quantiles: impl IntoIterator<Item = f64>, observed: f64) {
        if observed.is_nan() {
            return;
        }
        self.count += 1;
        let levels = self.levels.iter().zip(&mut self.losses);
        for ((level, loss), quantile) in levels.zip(quantiles) {
            *loss += pinball_loss(*level, quantile, observed);
        }
    }

    /// The mean loss of each level; empty without levels or observations.
    pub fn losses(&self) -> Vec<PinballLoss> {
        let levels = self.levels.iter().zip(&self.losses);
        levels
            .filter(|_| self.count > 0)
            .map(|(&level, &loss)| PinballLoss {
                level,
                loss: loss / self.count as f64,
            })
            .collect()
    }
}

/// Counts how often observations lie between two quantiles.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CoverageSums {
    low: f64,
    high: f64,
    count: usize,
    inside: usize,
    width: f64,
}

impl CoverageSums {
    /// For the interval between the outermost of these levels, which increase; `None` for fewer
    /// than two.
    pub fn new(levels: &[f64]) -> Option<Self> {
        let [low, .., high] = levels else { return None };
        Some(Self {
            low: *low,
            high: *high,
            count: 0,
            inside: 0,
            width: 0.0,
        })
    }

    /// Adds one lead of one window. An observation at an end of the interval lies in it, the ends being as exact as
    /// their rounding says.
    pub fn add(&mut self, [low, high]: [f64; 2], rounding: [f64; 2], observed: f64) {
        if observed.is_nan() {
            return;
        }
        self.count += 1;
        let is_inside = low - rounding[0] <= observed && observed <= high + rounding[1];
        self.inside += usize::from(is_inside);
        self.width += high - low;
    }

    /// How the interval holds; `None` without observations.
    pub fn coverage(&self) -> Option<Coverage> {
        let count = self.count as f64;
        (self.count > 0).then(|| Coverage {
            low: self.low,
            high: self.high,
            share: self.inside as f64 / count,
            mean_width: self.width / count,
        })
    }
}

/// Writes `1` for 1.0, so that readers may compare leads as they are spoken of.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over a reference"
)]
fn whole_as_integer<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if value.fract() == 0.0 {
        serializer.serialize_i64(*value as i64)
    } else {
        serializer.serialize_f64(*value)
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these values are exact by construction")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scores(horizon: usize, windows: &[(&[f64], &[f64])], step: Step) -> Option<ModelScores> {
        let mut sums = ErrorSums::new(horizon);
        for (forecast, observed) in windows {
            sums.add(forecast.iter().copied(), observed.iter().copied());
        }
        sums.scores(step)
    }

    #[test]
    fn scores_by_hand() {
        let windows: [(&[f64], &[f64]); 2] =
            [(&[1.0, 5.0], &[0.0, 2.0]), (&[2.0, 0.0], &[3.0, 1.0])];
        let scores = scores(2, &windows, Step::HOUR).expect("scores");
        assert_eq!(
            scores.by_lead[0].scores,
            Scores {
                rmse: 1.0,
                mae: 1.0,
                bias: 0.0
            }
        );
        let second = Scores {
            rmse: 5.0_f64.sqrt(),
            mae: 2.0,
            bias: 1.0,
        };
        assert_eq!(scores.by_lead[1].scores, second);
        assert_eq!(
            scores.overall,
            Scores {
                rmse: 3.0_f64.sqrt(),
                mae: 1.5,
                bias: 0.5
            }
        );
        let leads: Vec<f64> = scores.by_lead.iter().map(|lead| lead.lead_h).collect();
        assert_eq!(leads, [1.0, 2.0]);
    }

    #[test]
    fn missing_observations_do_not_count_and_missing_forecasts_do() {
        let windows: [(&[f64], &[f64]); 2] = [
            (&[1.0, 1.0], &[f64::NAN, f64::NAN]),
            (&[2.0, 0.0], &[0.0, f64::NAN]),
        ];
        let found = scores(2, &windows, Step::HOUR).expect("scores");
        assert_eq!(found.overall.rmse, 2.0);
        assert_eq!(found.by_lead.len(), 1);
        let silent = scores(1, &[(&[f64::NAN], &[1.0])], Step::HOUR).expect("scores");
        assert!(silent.overall.rmse.is_nan());
    }

    #[test]
    fn nothing_to_compare_has_no_scores() {
        assert_eq!(scores(3, &[], Step::HOUR), None);
        assert_eq!(scores(0, &[(&[], &[])], Step::HOUR), None);
        assert_eq!(
            CoverageSums::new(&[0.1, 0.9]).and_then(|sums| sums.coverage()),
            None
        );
        assert_eq!(CoverageSums::new(&[0.5]), None);
        assert!(PinballSums::new(&[0.5]).losses().is_empty());
    }

    #[test]
    fn skill_against_a_reference() {
        assert_eq!(skill(1.0, 2.0), Some(0.5));
        assert_eq!(skill(2.0, 2.0), Some(0.0));
        assert_eq!(skill(4.0, 2.0), Some(-1.0));
        assert_eq!(skill(1.0, 0.0), None);
        assert_eq!(skill(f64::NAN, 1.0), None);
    }

    /// scikit-learn's documentation: `mean_pinball_loss([1, 2, 3], y, alpha=0.1)` is 1/30 for y =
    /// [0, 2, 3] and 0.3 for [1, 2, 4]; with `alpha=0.9`, 0.3 for [0, 2, 3].
    #[test]
    fn pinball_losses_of_scikit_learn() {
        let mean = |predicted: [f64; 3], level: f64| {
            let mut sums = PinballSums::new(&[level]);
            for (quantile, observed) in predicted.into_iter().zip([1.0, 2.0, 3.0]) {
                sums.add([quantile], observed);
            }
            sums.add([0.0], f64::NAN);
            sums.losses()[0].loss
        };
        assert!((mean([0.0, 2.0, 3.0], 0.1) - 0.1 / 3.0).abs() < 1e-12);
        assert!((mean([1.0, 2.0, 4.0], 0.1) - 0.3).abs() < 1e-12);
        assert!((mean([0.0, 2.0, 3.0], 0.9) - 0.3).abs() < 1e-12);
    }

    #[test]
    fn coverage_by_hand() {
        let mut sums = CoverageSums::new(&[0.1, 0.5, 0.9]).expect("an interval");
        for observed in [0.0, 1.0, 2.0, 2.5, f64::NAN] {
            sums.add([1.0, 2.0], [0.0, 0.0], observed);
        }
        let expected = Coverage {
            low: 0.1,
            high: 0.9,
            share: 0.5,
            mean_width: 1.0,
        };
        assert_eq!(sums.coverage(), Some(expected));
        let mut sums = CoverageSums::new(&[0.1, 0.9]).expect("an interval");
        for observed in [0.75, 2.125, 0.5, 2.5] {
            sums.add([1.0, 2.0], [0.25, 0.125], observed);
        }
        let share = sums.coverage().map(|coverage| coverage.share);
        assert_eq!(share, Some(0.5), "as exact as the ends are");
    }

    proptest! {
        #[test]
        fn scores_are_ordered(pairs in prop::collection::vec((-9.0..9.0_f64, -9.0..9.0_f64), 1..40)) {
            let mut sums = ErrorSums::new(1);
            for (forecast, observed) in pairs {
                sums.add([forecast], [observed]);
            }
            let overall = sums.scores(Step::HOUR).expect("scores").overall;
            prop_assert!(overall.bias.abs() <= overall.mae + 1e-12);
            prop_assert!(overall.mae <= overall.rmse + 1e-12);
        }

        #[test]
        fn the_pinball_loss_is_never_negative(level in 0.01..0.99_f64, q in -9.0..9.0_f64, y in -9.0..9.0_f64) {
            prop_assert!(pinball_loss(level, q, y) >= 0.0);
            prop_assert!((pinball_loss(0.5, q, y) - (q - y).abs() / 2.0).abs() < 1e-12);
        }
    }
}
