//! Between a net, which speaks in scaled units, and a distribution, which may speak in others.
//!
//! Counts have a distribution in counts and shares one in shares of what lies between the bounds,
//! whatever the target was scaled by. What a net gives for the mean is relative to the usual value,
//! from which the value keeps a share of how far the one before lay from its own usual one; the
//! share is of the net too. So a net of zeros says that all comes back to what is usual, step by
//! step. The published nets give the mean itself, and have to learn first that tomorrow is much like
//! today. What a net gives for real numbers is in units of how far those of the window lie from their mean,
//! so that a small farm beside a large one is forecast as well. Where they have bounds, these are observed in the
//! place of what lies beyond (see `censored`). Shares are so in logits: what a net gives for their mean is in units
//! of how far the logits of a window lie from their mean, and its precision is of that many, so that a wind of 0 to
//! 10 m/s between bounds of 0 and 100 is learnt as fast as one between closer ones.

use anyhow::{Context, Result};
use krammerti::data::Scaler;
use krammerti::params;
use tch::{Kind, Tensor};

use crate::censored::Censored;
use crate::distribution::Distribution;
use crate::draws::Draws;
use crate::link::Link;

/// How near to 0 and 1 a share before is taken to be. A net must be able to leave them.
const NEAR: f64 = 0.02;

/// How near to 0 a count is expected to be by what came before it, as a share of what is typical. The usual
/// value comes of few hours, which may all have been 0 by chance. Were it believed, the first larger count
/// would be a wonder, and all means be pushed up by such.
const LEAST_COUNT: f64 = 0.25;

/// What a net of zeros keeps of the distance from the usual value is the sigmoid of this: 0.88.
const KEPT: f64 = 2.0;

/// The same of counts: a half. Most of how far a count lies from the usual one is its own noise, and what
/// is kept of it cannot go below 0, so that paths of a net that keeps too much drift upward.
const KEPT_OF_COUNTS: f64 = 0.0;

/// A distribution and its unit.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Emission {
    distribution: Distribution,
    unit: Unit,
    link: Link,
}

/// The unit of a distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Unit {
    /// That of the scaled target, with its bounds.
    Scaled(Censored),
    /// Shares of an interval in scaled units.
    Share { lower: f64, width: f64 },
    /// That of the target itself.
    Count { target: Scaler },
}

/// What a value is expected to be near to, all `[windows, values]` in scaled units.
pub(crate) struct Near<'a> {
    /// The value before.
    pub(crate) before: &'a Tensor,
    /// The usual value there.
    pub(crate) usual_before: &'a Tensor,
    /// The usual value here.
    pub(crate) usual: &'a Tensor,
}

impl Emission {
    /// For a target that is scaled so. Shares need both bounds.
    pub(crate) fn new(
        distribution: params::Distribution,
        link: Link,
        target: Scaler,
    ) -> Result<Self> {
        let (lower, upper) = link.near();
        let scaled = Unit::Scaled(Censored { lower, upper });
        let (distribution, unit) = match distribution {
            params::Distribution::Gaussian => (Distribution::Gaussian, scaled),
            params::Distribution::StudentT => (Distribution::StudentT, scaled),
            params::Distribution::NegativeBinomial => {
                (Distribution::NegativeBinomial, Unit::Count { target })
            }
            params::Distribution::Beta => {
                // A training has checked that there are both; a logarithm has no place for one below -1.
                let (lower, upper) = link.range().context(
                    "distribution beta needs two model.bounds that the scaling of the target has a place for",
                )?;
                let width = upper - lower;
                (Distribution::Beta, Unit::Share { lower, width })
            }
        };
        Ok(Self {
            distribution,
            unit,
            link,
        })
    }

    /// Whether it is of shares of an interval.
    pub(crate) fn is_of_shares(&self) -> bool {
        matches!(self.unit, Unit::Share { .. })
    }

    /// How many numbers a net gives for each value.
    pub(crate) fn outputs(&self) -> i64 {
        self.distribution.parameters() + 1
    }

    /// Whether values have this distribution at all; `smallest` of them in scaled units.
    pub(crate) fn allows(&self, smallest: f64) -> bool {
        match self.unit {
            // What was scaled in single precision comes back as a little less than 0.
            Unit::Count { target } => target.inverse(smallest) > -0.5,
            Unit::Scaled(_) | Unit::Share { .. } => true,
        }
    }

    /// `[windows, 1]`: what the values of a window are like, of its target `[windows, rows]`: of counts one
    /// more than their mean (Salinas et al. 2020); of real numbers, which lie about any level, how far they
    /// lie from their mean, and where they hardly do the `least` of it; of shares their logits do.
    pub(crate) fn typical(&self, target: &Tensor, least: &Tensor) -> Tensor {
        match self.unit {
            Unit::Count { .. } => {
                let mean = (self.own(target)).mean_dim([1_i64].as_slice(), true, Kind::Float);
                mean + 1.0
            }
            Unit::Scaled(_) | Unit::Share { .. } => {
                (self.deviation(target).square() + least.square()).sqrt()
            }
        }
    }

    /// `[windows, 1]`: how far values of a window, `[windows, rows]`, lie from their mean; of shares their logits.
    pub(crate) fn deviation(&self, target: &Tensor) -> Tensor {
        match self.unit {
            Unit::Share { .. } => deviation(&self.logit(target)),
            Unit::Scaled(_) | Unit::Count { .. } => deviation(target),
        }
    }

    /// Of shares, such as lie next to an end a little within.
    fn logit(&self, scaled: &Tensor) -> Tensor {
        self.own(scaled).logit(NEAR)
    }

    /// What numbers of a window are divided by before a net reads them.
    pub(crate) fn unit_of<'a>(&self, typical: &'a Tensor) -> Option<&'a Tensor> {
        matches!(self.unit, Unit::Scaled(_)).then_some(typical)
    }

    /// Parameters `[windows, values]` from what a net gives, `[windows, values, outputs]`, what is
    /// near to each, and what is typical of the windows.
    pub(crate) fn parameters(
        &self,
        raw: &Tensor,
        near: &Near<'_>,
        typical: &Tensor,
    ) -> Vec<Tensor> {
        let parameters = self.distribution.parameters();
        let kept = (raw.select(-1, parameters) + self.kept()).sigmoid();
        let mean = raw.select(-1, 0);
        let mean = match self.unit {
            Unit::Scaled(_) | Unit::Share { .. } => mean * typical,
            Unit::Count { .. } => mean,
        };
        let mean = self.moved(mean, near, &kept, typical);
        let others = raw.narrow(-1, 1, parameters - 1);
        let raw = Tensor::cat(&[mean.unsqueeze(-1), others], -1);
        let mut parameters = self.distribution.link(&raw);
        match self.unit {
            // The excess of the variance is of counts of any size alike.
            Unit::Count { .. } => parameters[0] = &parameters[0] * typical,
            Unit::Scaled(_) => parameters[1] = &parameters[1] * typical,
            // A share m whose logit deviates by t does itself by about t m (1 - m), the root of m (1 - m) / s.
            Unit::Share { .. } => {
                let mean = &parameters[0];
                let variance = typical.square() * mean * (1.0 - mean);
                parameters[1] = &parameters[1] / variance;
            }
        }
        parameters
    }

    fn kept(&self) -> f64 {
        match self.unit {
            Unit::Scaled(_) | Unit::Share { .. } => KEPT,
            Unit::Count { .. } => KEPT_OF_COUNTS,
        }
    }

    /// The number that decides the mean: that of a net, from where the mean is the usual value and what is
    /// kept of how far the one before lay from its own.
    fn moved(&self, raw: Tensor, near: &Near<'_>, kept: &Tensor, typical: &Tensor) -> Tensor {
        let expected = |of: fn(&Self, &Tensor) -> Tensor| {
            let apart = of(self, near.before) - of(self, near.usual_before);
            (of(self, near.usual), kept * apart)
        };
        match self.unit {
            Unit::Scaled(_) => {
                let (usual, apart) = expected(|_, value| value.shallow_clone());
                raw + usual + apart
            }
            Unit::Share { .. } => {
                let (usual, apart) = expected(Self::logit);
                raw + usual + apart
            }
            // The noise of counts is about as large as they are: what a curved function made of it would
            // lean to one side, and add up from lead to lead.
            Unit::Count { .. } => {
                let (usual, apart) = expected(Self::own);
                raw + softplus_of(&((usual + apart) / typical).clamp_min(LEAST_COUNT))
            }
        }
    }

    /// Of values in scaled units.
    pub(crate) fn log_likelihood(&self, parameters: &[Tensor], truth: &Tensor) -> Tensor {
        let truth = self.own(truth);
        match self.unit {
            Unit::Scaled(censored) => {
                censored.log_likelihood(self.distribution, parameters, &truth)
            }
            Unit::Share { .. } | Unit::Count { .. } => {
                self.distribution.log_likelihood(parameters, &truth)
            }
        }
    }

    /// How far values in scaled units lie apart, in what is typical of their windows.
    pub(crate) fn apart(&self, expected: &Tensor, truth: &Tensor, typical: &Tensor) -> Tensor {
        let apart = expected - truth;
        match self.unit {
            Unit::Scaled(_) => apart / typical,
            // In the middle a share moves by a quarter of its logit.
            Unit::Share { width, .. } => apart * (4.0 / width) / typical,
            Unit::Count { target } => match target.parts() {
                // A logarithm is the same for counts of any size.
                (_, _, true) => apart,
                (_, scale, false) => apart * scale / typical,
            },
        }
    }

    /// In scaled units, within the bounds.
    pub(crate) fn mean(&self, parameters: &[Tensor]) -> Tensor {
        self.scaled(&self.expected(parameters))
    }

    /// In the distribution's unit, in which means of several may be taken.
    pub(crate) fn expected(&self, parameters: &[Tensor]) -> Tensor {
        match self.unit {
            Unit::Scaled(censored) => censored.mean(self.distribution, parameters),
            Unit::Share { .. } | Unit::Count { .. } => self.distribution.mean(parameters),
        }
    }

    /// In scaled units, within the bounds.
    pub(crate) fn sample(&self, parameters: &[Tensor], draws: &mut Draws) -> Tensor {
        self.scaled(&self.distribution.sample(parameters, draws))
    }

    /// From scaled units to the distribution's.
    fn own(&self, scaled: &Tensor) -> Tensor {
        match self.unit {
            Unit::Scaled(_) => scaled.shallow_clone(),
            Unit::Share { lower, width } => (scaled - lower) / width,
            Unit::Count { target } => {
                let (center, scale, logarithm) = target.parts();
                let value = scaled * scale + center;
                let count = if logarithm { value.expm1() } else { value };
                count.clamp_min(0.0)
            }
        }
    }

    /// From the distribution's unit to scaled ones, within the bounds.
    pub(crate) fn scaled(&self, own: &Tensor) -> Tensor {
        let scaled = match self.unit {
            Unit::Scaled(_) => own.shallow_clone(),
            Unit::Share { lower, width } => own * width + lower,
            Unit::Count { target } => {
                let (center, scale, logarithm) = target.parts();
                let value = if logarithm {
                    own.log1p()
                } else {
                    own.shallow_clone()
                };
                (value - center) / scale
            }
        };
        self.link.cut(&scaled)
    }
}

/// `[windows, 1]`: the standard deviation of each window of values `[windows, rows]`.
fn deviation(values: &Tensor) -> Tensor {
    let mean = |of: &Tensor| of.mean_dim([1_i64].as_slice(), true, Kind::Float);
    mean(&(values - mean(values)).square()).sqrt()
}

/// What gives positive numbers by `softplus`.
fn softplus_of(positive: &Tensor) -> Tensor {
    positive + (-(-positive).expm1()).log()
}

#[cfg(test)]
mod tests {
    use super::*;
    use krammerti::data::Unscaling;
    use krammerti::params::{Bounds, Distribution as Wanted, Scaling};

    fn emission(distribution: Wanted, bounds: Bounds, target: Scaler) -> Emission {
        Emission::new(distribution, Link::new(bounds, target), target).unwrap()
    }

    fn bounds(lower: f64, upper: f64) -> Bounds {
        Bounds {
            lower: Some(lower),
            upper: Some(upper),
        }
    }

    fn close(tensor: &Tensor, expected: &[f64]) {
        let values = Vec::<f64>::try_from(tensor.to_kind(Kind::Double).reshape([-1])).unwrap();
        assert_eq!(values.len(), expected.len());
        for (value, expected) in values.iter().zip(expected) {
            let error = (value - expected).abs() / (expected.abs() + 1.0);
            assert!(error < 1e-4, "{values:?}, expected {expected}");
        }
    }

    /// Counts 0, 4, 10 and 50, scaled in every way.
    #[test]
    fn a_net_of_zeros_stays_at_the_usual() {
        let counts = [0.0, 4.0, 10.0, 50.0];
        for scaling in [Scaling::None, Scaling::Standard, Scaling::Log1p] {
            let scaler = Scaler::fit(scaling, &counts).unwrap();
            let scaled: Vec<f32> = counts
                .iter()
                .map(|&count| scaler.transform(count) as f32)
                .collect();
            let before = Tensor::from_slice(&scaled).view([1, 4]);
            for distribution in [Wanted::Gaussian, Wanted::StudentT, Wanted::NegativeBinomial] {
                let emission = emission(distribution, Bounds::default(), scaler);
                let mean = mean_of_zeros(&emission, &before);
                // Near 0 counts a net of zeros says a bit more.
                let lowest = match distribution {
                    Wanted::NegativeBinomial => LEAST_COUNT * 17.0,
                    _ => 0.0,
                };
                let expected = counts.map(|count| scaler.transform(count.max(lowest)));
                close(&mean, &expected);
            }
        }
        let emission = emission(Wanted::Beta, bounds(-10.0, 90.0), Scaler::IDENTITY);
        let before = Tensor::from_slice(&[-10.0_f32, 0.0, 40.0, 90.0]).view([1, 4]);
        // Next to an end it is a little within, and a mean keeps a thousandth from both ends.
        let shares = [0.02, 0.1, 0.5, 0.98].map(|share| share * 0.998 + 0.001);
        let expected = shares.map(|share| share * 100.0 - 10.0);
        close(&mean_of_zeros(&emission, &before), &expected);
    }

    fn mean_of_zeros(emission: &Emission, before: &Tensor) -> Tensor {
        let shape = [1, before.size()[1], emission.outputs()];
        let raw = Tensor::zeros(shape, (Kind::Float, before.device()));
        let typical = emission.typical(before, &Tensor::from(1e-3_f32));
        emission.mean(&emission.parameters(&raw, &steady(before), &typical))
    }

    /// Where the value before was the usual one, and still is.
    fn steady(value: &Tensor) -> Near<'_> {
        Near {
            before: value,
            usual_before: value,
            usual: value,
        }
    }

    /// From 3 above the usual: a share of it is kept, and all of it where the net is sure.
    #[test]
    fn a_net_of_zeros_comes_back_to_the_usual() {
        let emission = emission(Wanted::Gaussian, Bounds::default(), Scaler::IDENTITY);
        let of = |value: f32| Tensor::from_slice(&[value]).view([1, 1]);
        let near = Near {
            before: &of(13.0),
            usual_before: &of(10.0),
            usual: &of(20.0),
        };
        for (gate, kept) in [(0.0, 0.880_797), (-1e3, 0.0), (1e3, 1.0)] {
            let raw = Tensor::from_slice(&[0.5_f32, 0.0, gate]).view([1, 1, 3]);
            let parameters = emission.parameters(&raw, &near, &of(1.0));
            close(&emission.mean(&parameters), &[20.5 + 3.0 * kept]);
        }
    }

    /// A window that is a thousand times as large, about another level.
    #[test]
    fn real_numbers_of_any_size_are_alike() {
        let raw = Tensor::from_slice(&[0.3_f32, -0.4, 0.7, 0.2]).view([1, 1, 4]);
        for (distribution, outputs) in [(Wanted::Gaussian, 3), (Wanted::StudentT, 4)] {
            let by_size = [(0.04_f32, 0.0), (40.0, 7.0)].map(|(size, level)| {
                let emission = emission(distribution, Bounds::default(), Scaler::IDENTITY);
                let of = |values: &[f32]| {
                    let values: Vec<f32> =
                        values.iter().map(|value| value * size + level).collect();
                    Tensor::from_slice(&values).view([1, -1])
                };
                let window = of(&[1.0, -2.0, 4.0, 0.5]);
                let typical = emission.typical(&window, &Tensor::from(1e-5_f32));
                let near = Near {
                    before: &of(&[1.4]),
                    usual_before: &of(&[0.9]),
                    usual: &of(&[1.1]),
                };
                let raw = raw.narrow(2, 0, outputs);
                let parameters = emission.parameters(&raw, &near, &typical);
                let [mean, scale] = [0, 1].map(|at| parameters[at].double_value(&[0, 0]));
                [
                    (mean - f64::from(level)) / f64::from(size),
                    scale / f64::from(size),
                ]
            });
            for (small, large) in by_size[0].iter().zip(by_size[1]) {
                assert!((small - large).abs() < 1e-3, "{by_size:?}");
            }
        }
    }

    /// Shares of which a window moves much or hardly: a net's numbers are in units of that, in logits.
    #[test]
    fn shares_are_in_units_of_how_far_their_logits_lie_apart() {
        let emission = emission(Wanted::Beta, bounds(0.0, 1.0), Scaler::IDENTITY);
        let of = |values: &[f32]| Tensor::from_slice(values).view([1, -1]);
        let raw = Tensor::from_slice(&[0.3_f32, -2.0, 0.0]).view([1, 1, 3]);
        for apart in [0.05, 0.8_f32] {
            let share = |logit: f32| 1.0 / (1.0 + (-logit).exp());
            let window = of(&[-apart, apart, -apart, apart].map(|logit| share(logit - 1.0)));
            let typical = emission.typical(&window, &Tensor::from(1e-5_f32));
            close(&typical, &[f64::from(apart)]);
            let near = of(&[share(-1.0)]);
            let parameters = emission.parameters(&raw, &steady(&near), &typical);
            let [mean, precision] = [0, 1].map(|at| parameters[at].double_value(&[0, 0]));
            let expected = f64::from(share(0.3 * apart - 1.0)) * 0.998 + 0.001;
            assert!((mean - expected).abs() < 1e-5, "{mean} {expected}");
            // Of a logit that deviates by so much, near its mean.
            let deviation = (mean * (1.0 - mean) / precision).sqrt() / (mean * (1.0 - mean));
            let scale = 1e-3 + (-2.0_f64).exp().ln_1p();
            assert!(
                (deviation / f64::from(apart) - scale).abs() < 1e-4,
                "{deviation}"
            );
        }
    }

    /// A thousand times as many are as far from what is usual, as a share of it.
    #[test]
    fn counts_of_any_size_are_alike() {
        let of = |value: f32| Tensor::from_slice(&[value]).view([1, 1]);
        let raw = Tensor::from_slice(&[0.3_f32, -0.4, 0.7]).view([1, 1, 3]);
        let by_size = [20.0_f32, 20_000.0].map(|size| {
            let counts = emission(
                Wanted::NegativeBinomial,
                Bounds::default(),
                Scaler::IDENTITY,
            );
            let near = Near {
                before: &of(1.4 * size),
                usual_before: &of(0.9 * size),
                usual: &of(1.1 * size),
            };
            let parameters = counts.parameters(&raw, &near, &of(size));
            let [mean, excess] = [0, 1].map(|at| parameters[at].double_value(&[0, 0]));
            [mean / f64::from(size), excess]
        });
        for (few, many) in by_size[0].iter().zip(by_size[1]) {
            assert!((few - many).abs() < 1e-4, "{by_size:?}");
        }
        // And without a net's own number its mean is what is kept.
        let counts = emission(
            Wanted::NegativeBinomial,
            Bounds::default(),
            Scaler::IDENTITY,
        );
        let near = Near {
            before: &of(14.0),
            usual_before: &of(9.0),
            usual: &of(11.0),
        };
        let zeros = Tensor::zeros([1, 1, 3], (Kind::Float, tch::Device::Cpu));
        let parameters = counts.parameters(&zeros, &near, &of(10.0));
        close(&parameters[0], &[11.0 + 5.0 * 0.5]);
    }

    #[test]
    fn a_bound_without_a_logarithm_leaves_no_shares() {
        let scaler = Scaler::fit(Scaling::Log1p, &[0.0, 5.0]).unwrap();
        let link = Link::new(bounds(-5.0, 20.0), scaler);
        assert!(Emission::new(Wanted::Beta, link, scaler).is_err());
        let link = Link::new(bounds(-0.5, 20.0), scaler);
        assert!(Emission::new(Wanted::Beta, link, scaler).is_ok());
    }

    #[test]
    fn counts_have_their_own_likelihood_however_scaled() {
        let counts = [0.0, 3.0, 8.0, 1.0];
        let of = |scaling| {
            let scaler = Scaler::fit(scaling, &counts).unwrap();
            let scaled: Vec<f32> = counts
                .iter()
                .map(|&count| scaler.transform(count) as f32)
                .collect();
            let truth = Tensor::from_slice(&scaled).view([1, 4]);
            let emission = emission(Wanted::NegativeBinomial, Bounds::default(), scaler);
            let typical = emission.typical(&truth, &Tensor::from(1e-3_f32));
            close(&typical, &[4.0]);
            let raw = Tensor::ones([1, 4, 3], (Kind::Float, truth.device()));
            let parameters = emission.parameters(&raw, &steady(&truth), &typical);
            let log = emission.log_likelihood(&parameters, &truth);
            Vec::<f64>::try_from(log.to_kind(Kind::Double).reshape([-1])).unwrap()
        };
        let plain = of(Scaling::None);
        for scaling in [Scaling::Standard, Scaling::Log1p, Scaling::MinMax] {
            close(&Tensor::from_slice(&of(scaling)), &plain);
        }
    }

    #[test]
    fn samples_stay_within_the_bounds_and_in_their_unit() {
        let scaler = Scaler::fit(Scaling::Standard, &[0.0, 5.0, 20.0]).unwrap();
        let unscaling = Unscaling::new(scaler, bounds(0.0, 20.0));
        for distribution in [
            Wanted::Gaussian,
            Wanted::StudentT,
            Wanted::NegativeBinomial,
            Wanted::Beta,
        ] {
            let emission = emission(distribution, bounds(0.0, 20.0), scaler);
            let before = Tensor::full(
                [1, 500],
                scaler.transform(19.0),
                (Kind::Float, tch::Device::Cpu),
            );
            let raw = Tensor::zeros([1, 500, emission.outputs()], (Kind::Float, before.device()));
            let window = [0.0, 5.0, 20.0].map(|value| scaler.transform(value) as f32);
            let window = Tensor::from_slice(&window).view([1, 3]);
            let typical = emission.typical(&window, &Tensor::from(1e-3_f32));
            let parameters = emission.parameters(&raw, &steady(&before), &typical);
            let sample = emission.sample(&parameters, &mut Draws::new(0, [1]));
            let sample: Vec<f64> = Vec::<f32>::try_from(sample.reshape([-1]))
                .unwrap()
                .into_iter()
                .map(|scaled| unscaling.original(scaled))
                .collect();
            assert!(sample.iter().all(|value| (0.0..=20.0).contains(value)));
            assert!(sample.iter().any(|value| *value < 15.0), "{distribution:?}");
            if distribution == Wanted::NegativeBinomial {
                assert!(
                    sample
                        .iter()
                        .all(|value| (value - value.round()).abs() < 1e-4)
                );
            }
        }
    }

    #[test]
    fn what_is_no_count_is_not_allowed() {
        let scaler = Scaler::fit(Scaling::Standard, &[0.0, 5.0, 20.0]).unwrap();
        let counts = emission(Wanted::NegativeBinomial, Bounds::default(), scaler);
        assert!(counts.allows(scaler.transform(-1e-6)));
        assert!(!counts.allows(scaler.transform(-1.0)));
        assert!(emission(Wanted::Gaussian, Bounds::default(), scaler).allows(-100.0));
    }
}
