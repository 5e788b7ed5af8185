//! What a probabilistic head gives: the distribution of one value.
//!
//! A net gives a few raw numbers for each value; [`Distribution::link`] brings them into the ranges
//! of the parameters. The first parameter is always the mean. Lower bounds of the others keep the
//! likelihood of what is known exactly finite: radiation at night is 0 to the bit, and a net that
//! may say so with a scale of 1e-20 gains more by it than by all else.
//!
//! Likelihoods are computed in double precision, and given back in the kind of the parameters:
//! they are differences of logarithms of the gamma function, which for a distribution near its
//! limit (few excess counts, many degrees of freedom) are large and nearly equal.

use rand::RngExt;
use rand_distr::{Distribution as _, Gamma, OpenClosed01, Poisson, StandardNormal, StudentT};
use tch::{Kind, Tensor};

use crate::draws::{Draws, ValueRng};
use crate::tails::Standard;

/// Least scale of a Gaussian or Student's t, in units of what is typical of a window: a thousandth of its
/// standard deviation, which is finer than most instruments.
const LEAST_SCALE: f64 = 1e-3;
/// Least degrees of freedom; at 2 the variance is infinite.
const LEAST_FREEDOM: f64 = 2.0 + 1e-3;
/// Least expected count.
const LEAST_COUNT: f64 = 1e-6;
/// Least excess of the variance of counts; the negative binomial of 0 is the Poisson distribution,
/// to which its formula has no limit in floating point.
const LEAST_EXCESS: f64 = 1e-6;
/// How near to 0 and 1 a share may lie. The density of a beta distribution there is 0 or infinite,
/// but shares that were measured are 0 and 1 (a clear sky, saturated air); they stand for what an
/// instrument that reads to a part in a thousand would call so. Nearer ones would decide the fit by themselves.
const EDGE: f64 = 1e-3;

/// The distribution of one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Distribution {
    /// Mean and standard deviation.
    Gaussian,
    /// Mean, scale and degrees of freedom.
    StudentT,
    /// Counts: mean μ and excess α, with variance μ + α μ² (Salinas et al. 2020, `DeepAR`).
    NegativeBinomial,
    /// Shares: mean m and precision s, with shapes m s and (1 - m) s.
    Beta,
}

impl Distribution {
    /// How many numbers of a net decide it.
    pub(crate) fn parameters(self) -> i64 {
        match self {
            Self::Gaussian | Self::NegativeBinomial | Self::Beta => 2,
            Self::StudentT => 3,
        }
    }

    /// From what a net gives, `[..., parameters]`, to the parameters in their ranges, each `[...]`.
    pub(crate) fn link(self, raw: &Tensor) -> Vec<Tensor> {
        let raw = |index| raw.select(-1, index);
        let above = |least: f64, index| raw(index).softplus() + least;
        match self {
            Self::Gaussian => vec![raw(0), above(LEAST_SCALE, 1)],
            Self::StudentT => vec![raw(0), above(LEAST_SCALE, 1), above(LEAST_FREEDOM, 2)],
            Self::NegativeBinomial => vec![above(LEAST_COUNT, 0), above(LEAST_EXCESS, 1)],
            Self::Beta => {
                // Where the shares are kept, so is their mean; a sigmoid of 20 is 1 in a float. Its precision is told by
                // its root turned over, a scale: a net finds a small number as soon as its half, and a large one late.
                let mean = raw(0).sigmoid() * (1.0 - 2.0 * EDGE) + EDGE;
                vec![mean, above(LEAST_SCALE, 1).square().reciprocal()]
            }
        }
    }

    /// `[...]`: the logarithm of the likelihood of `truth`, element by element. Counts must not be
    /// negative.
    pub(crate) fn log_likelihood(self, parameters: &[Tensor], truth: &Tensor) -> Tensor {
        let wide: Vec<Tensor> = parameters
            .iter()
            .map(|parameter| parameter.to_kind(Kind::Double))
            .collect();
        let truth = truth.to_kind(Kind::Double);
        let log = match (self, &wide[..]) {
            (Self::Gaussian, [mean, scale]) => {
                log_density(&Standard::Gaussian, mean, scale, &truth)
            }
            (Self::StudentT, [mean, scale, freedom]) => {
                log_density(&Standard::StudentT { freedom }, mean, scale, &truth)
            }
            (Self::NegativeBinomial, [mean, excess]) => log_negative_binomial(mean, excess, &truth),
            (Self::Beta, [mean, precision]) => log_beta(mean, precision, &truth),
            (distribution, _) => wrong_number(distribution, parameters),
        };
        log.to_kind(parameters[0].kind())
    }

    /// `[...]`: the expected value.
    #[expect(
        clippy::unused_self,
        reason = "that all of them begin with their mean is for this module to know"
    )]
    pub(crate) fn mean(self, parameters: &[Tensor]) -> Tensor {
        parameters[0].shallow_clone()
    }

    /// One draw for each element, `[windows, ...]`. Parameters that are no numbers draw none.
    pub(crate) fn sample(self, parameters: &[Tensor], draws: &mut Draws) -> Tensor {
        match (self, parameters) {
            (Self::Gaussian, [mean, deviation]) => draws
                .each([mean, deviation], |[mean, deviation], rng| {
                    mean + deviation * rng.sample::<f64, _>(StandardNormal)
                }),
            (Self::StudentT, [mean, scale, freedom]) => {
                draws.each([mean, scale, freedom], |[mean, scale, freedom], rng| {
                    let unit = StudentT::new(freedom).map_or(f64::NAN, |unit| unit.sample(rng));
                    mean + scale * unit
                })
            }
            (Self::NegativeBinomial, [mean, excess]) => draws.each([mean, excess], draw_count),
            (Self::Beta, [mean, precision]) => draws.each([mean, precision], draw_share),
            (distribution, _) => wrong_number(distribution, parameters),
        }
    }
}

fn wrong_number(distribution: Distribution, parameters: &[Tensor]) -> ! {
    panic!("{distribution:?} of {} parameters", parameters.len())
}

fn log_density(standard: &Standard<'_>, mean: &Tensor, scale: &Tensor, truth: &Tensor) -> Tensor {
    standard.log_density(&((truth - mean) / scale)) - scale.log()
}

fn log_negative_binomial(mean: &Tensor, excess: &Tensor, truth: &Tensor) -> Tensor {
    let shape = excess.reciprocal();
    let ratio = mean * excess;
    let binomial = (truth + &shape).lgamma() - shape.lgamma() - (truth + 1.0).lgamma();
    let failures = ratio.log1p();
    binomial + truth * (ratio.log() - &failures) - shape * failures
}

fn log_beta(mean: &Tensor, precision: &Tensor, truth: &Tensor) -> Tensor {
    let a = mean * precision;
    let b = precision - &a;
    let share = truth.clamp(EDGE, 1.0 - EDGE);
    let constant = precision.lgamma() - a.lgamma() - b.lgamma();
    constant + (a - 1.0) * share.log() + (b - 1.0) * (-share).log1p()
}

/// A Poisson count whose expectation is drawn from a gamma distribution.
fn draw_count([mean, excess]: [f64; 2], rng: &mut ValueRng) -> f64 {
    let expected =
        Gamma::new(1.0 / excess, mean * excess).map_or(f64::NAN, |gamma| gamma.sample(rng));
    // What has no Poisson distribution is its own draw: 0, no number, and beyond 1e19, where the
    // distribution is a point in every kind of float.
    Poisson::new(expected).map_or(expected, |poisson| poisson.sample(rng))
}

/// The share of one of two gamma draws. By their logarithms: draws of small shapes are too small
/// for a float, both at once.
fn draw_share([mean, precision]: [f64; 2], rng: &mut ValueRng) -> f64 {
    let a = draw_log_gamma(mean * precision, rng);
    let b = draw_log_gamma((1.0 - mean) * precision, rng);
    1.0 / (1.0 + (b - a).exp())
}

/// The logarithm of a gamma draw: that of one with a shape larger by 1, times a power of a uniform
/// draw (Marsaglia and Tsang 2000, section 6).
fn draw_log_gamma(shape: f64, rng: &mut ValueRng) -> f64 {
    let larger = Gamma::new(shape + 1.0, 1.0).map_or(f64::NAN, |gamma| gamma.sample(rng));
    larger.ln() + rng.sample::<f64, _>(OpenClosed01).ln() / shape
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::standardised_mean;
    use crate::golden;
    use tch::Device;

    const ALL: [Distribution; 4] = [
        Distribution::Gaussian,
        Distribution::StudentT,
        Distribution::NegativeBinomial,
        Distribution::Beta,
    ];
    const SAMPLES: i64 = 20_000;

    #[test]
    fn likelihood_and_mean_of_pytorch() {
        // Where the table has the parameters; the last column is the truth.
        for (distribution, name, columns) in [
            (Distribution::Gaussian, "gaussian", &[0, 1][..]),
            (Distribution::StudentT, "student_t", &[1, 2, 0]),
            (Distribution::NegativeBinomial, "negative_binomial", &[0, 1]),
            (Distribution::Beta, "beta", &[0, 1]),
        ] {
            let points = golden::tensor(&format!("{name}.points"));
            let parameters: Vec<Tensor> = columns
                .iter()
                .map(|&column| points.select(1, column))
                .collect();
            let log = distribution.log_likelihood(&parameters, &points.select(1, -1));
            let expected = golden::tensor(&format!("{name}.log_prob"));
            let worst = (log - expected).abs().max().double_value(&[]);
            assert!(worst < 1e-9, "{name}: {worst}");
            let mean = distribution.mean(&parameters);
            let worst = (mean - golden::tensor(&format!("{name}.mean"))).abs().max();
            assert!(worst.double_value(&[]) < 1e-9, "{name}");
        }
    }

    /// Truths that are likely, and some that hardly are.
    fn truths(distribution: Distribution) -> &'static [f64] {
        match distribution {
            Distribution::Gaussian | Distribution::StudentT => &[-3.0, 0.1, 1.0, 30.0],
            Distribution::NegativeBinomial => &[0.0, 1.0, 7.0, 400.0],
            Distribution::Beta => &[0.0, 0.2, 0.7, 1.0],
        }
    }

    /// Every combination of some raw numbers, `[combinations, parameters]`.
    fn combinations(distribution: Distribution, of: &[f64], kind: Kind) -> Tensor {
        let axis = Tensor::from_slice(of).to_kind(kind);
        let axes: Vec<Tensor> = (0..distribution.parameters())
            .map(|_| axis.shallow_clone())
            .collect();
        Tensor::cartesian_prod(&axes)
    }

    /// Raw numbers beside truths: each combination with each truth.
    fn with_truths(distribution: Distribution, raw: &Tensor) -> (Tensor, Tensor) {
        let truths = Tensor::from_slice(truths(distribution)).to_kind(raw.kind());
        let count = truths.size()[0];
        (
            raw.repeat_interleave_self_int(count, 0, None),
            truths.repeat([raw.size()[0]]),
        )
    }

    fn is_finite(tensor: &Tensor) -> bool {
        bool::try_from(tensor.isfinite().all()).unwrap()
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        const STEP: f64 = 1e-5;
        for distribution in ALL {
            let raw = combinations(distribution, &[-4.0, -0.5, 0.3, 2.0], Kind::Double);
            let (raw, truth) = with_truths(distribution, &raw);
            let log = |raw: &Tensor| distribution.log_likelihood(&distribution.link(raw), &truth);
            let leaf = raw.copy().set_requires_grad(true);
            log(&leaf).sum(Kind::Double).backward();
            for parameter in 0..distribution.parameters() {
                let moved = |by: f64| {
                    let moved = raw.copy();
                    let _ = moved.select(1, parameter).g_add_scalar_(by);
                    log(&moved)
                };
                let difference = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
                let gradient = leaf.grad().select(1, parameter);
                let error = (&gradient - &difference).abs() / (difference.abs() + 1.0);
                let worst = error.max().double_value(&[]);
                assert!(worst < 1e-6, "{distribution:?} {parameter}: {worst}");
            }
        }
    }

    #[test]
    fn extreme_raw_numbers_stay_finite() {
        for distribution in ALL {
            let raw = combinations(
                distribution,
                &[-1e4, -50.0, -20.0, 0.0, 20.0, 50.0, 1e4],
                Kind::Float,
            );
            let (raw, truth) = with_truths(distribution, &raw);
            let raw = raw.set_requires_grad(true);
            let parameters = distribution.link(&raw);
            let log = distribution.log_likelihood(&parameters, &truth);
            assert_eq!(log.kind(), Kind::Float);
            log.sum(Kind::Float).backward();
            assert!(is_finite(&log), "{distribution:?}");
            assert!(is_finite(&raw.grad()), "{distribution:?}");
            assert!(is_finite(&distribution.mean(&parameters)));
            let mut draws = Draws::new(1, 0..raw.size()[0] as u64);
            let sample = distribution.sample(&parameters, &mut draws);
            assert!(is_finite(&sample), "{distribution:?}");
        }
    }

    #[test]
    fn floats_and_doubles_agree() {
        for distribution in ALL {
            // Near the limits too, where differences of logarithms are small.
            let raw = combinations(distribution, &[-30.0, -3.0, 0.5, 3.0, 30.0], Kind::Double);
            let (raw, truth) = with_truths(distribution, &raw);
            let run = |kind: Kind| {
                let raw = raw.to_kind(kind).copy().set_requires_grad(true);
                let parameters = distribution.link(&raw);
                let log = distribution.log_likelihood(&parameters, &truth.to_kind(kind));
                log.sum(kind).backward();
                (log.to_kind(Kind::Double), raw.grad().to_kind(Kind::Double))
            };
            let ((log, gradient), (float_log, float_gradient)) =
                (run(Kind::Double), run(Kind::Float));
            let worst = |exact: &Tensor, float: &Tensor| {
                let error = (exact - float).abs() / (exact.abs() + 1.0);
                error.max().double_value(&[])
            };
            let (log, gradient) = (worst(&log, &float_log), worst(&gradient, &float_gradient));
            assert!(log < 1e-3, "{distribution:?} {log}");
            assert!(gradient < 1e-2, "{distribution:?} {gradient}");
        }
    }

    /// Parameters of which the fourth moment is finite, and the variance that they mean.
    fn moments() -> Vec<(Distribution, Vec<f64>, f64)> {
        let count = |mean: f64, excess: f64| {
            let variance = mean + excess * mean * mean;
            (Distribution::NegativeBinomial, vec![mean, excess], variance)
        };
        let share = |mean: f64, precision: f64| {
            let variance = mean * (1.0 - mean) / (precision + 1.0);
            (Distribution::Beta, vec![mean, precision], variance)
        };
        vec![
            (Distribution::Gaussian, vec![3.0, 0.5], 0.25),
            (
                Distribution::StudentT,
                vec![-1.0, 2.0, 9.0],
                4.0 * 9.0 / 7.0,
            ),
            count(0.5, 2.0),
            count(6.0, 0.3),
            count(80.0, 0.01),
            share(0.5, 2.0),
            share(0.8, 10.0),
            share(0.3, 0.5),
        ]
    }

    fn sample(distribution: Distribution, parameters: &[f64]) -> (Vec<Tensor>, Tensor) {
        let parameters: Vec<Tensor> = parameters
            .iter()
            .map(|&value| Tensor::full([1, SAMPLES], value, (Kind::Double, Device::Cpu)))
            .collect();
        let sample = distribution.sample(&parameters, &mut Draws::new(3, [7]));
        (parameters, sample)
    }

    #[test]
    fn samples_have_the_mean_and_the_variance() {
        for (distribution, parameters, variance) in moments() {
            let (_, sample) = sample(distribution, &parameters);
            let from_mean = sample - parameters[0];
            let mean = standardised_mean(&from_mean);
            let square = standardised_mean(&(from_mean.square() - variance));
            assert!(mean.abs() < 5.0, "{distribution:?} {parameters:?} {mean}");
            assert!(
                square.abs() < 5.0,
                "{distribution:?} {parameters:?} {square}"
            );
        }
    }

    /// The derivative of the log likelihood by each parameter is 0 on average over what the
    /// distribution draws; so draws and likelihood are of one distribution, tails and all.
    #[test]
    fn samples_are_of_the_likelihood() {
        for (distribution, parameters, _) in moments() {
            // A share of small shapes is often nearer to 0 or 1 than the likelihood lets it be.
            if distribution == Distribution::Beta && parameters[1] < 1.0 {
                continue;
            }
            let (leaves, sample) = sample(distribution, &parameters);
            let leaves: Vec<Tensor> = leaves
                .into_iter()
                .map(|leaf| leaf.set_requires_grad(true))
                .collect();
            let log = distribution.log_likelihood(&leaves, &sample);
            log.sum(Kind::Double).backward();
            for (index, leaf) in leaves.iter().enumerate() {
                let score = standardised_mean(&leaf.grad());
                assert!(
                    score.abs() < 5.0,
                    "{distribution:?} {parameters:?} {index}: {score}"
                );
            }
        }
    }

    #[test]
    fn samples_are_repeatable_and_of_their_window() {
        for distribution in ALL {
            let raw = Tensor::linspace(
                -2,
                2,
                3 * 50 * distribution.parameters(),
                (Kind::Float, Device::Cpu),
            )
            .view([3, 50, distribution.parameters()]);
            let drawn = |raw: &Tensor, windows: &[u64]| {
                let mut draws = Draws::new(1, windows.iter().copied());
                let sample = distribution.sample(&distribution.link(raw), &mut draws);
                Vec::<f32>::try_from(sample.reshape([-1])).unwrap()
            };
            let all = drawn(&raw, &[4, 5, 6]);
            assert_eq!(all, drawn(&raw, &[4, 5, 6]));
            assert_eq!(all[50..100], drawn(&raw.narrow(0, 1, 1), &[5]));
        }
    }

    #[test]
    fn what_is_no_number_draws_none() {
        for distribution in ALL {
            let nothing = Tensor::full([1, 1], f64::NAN, (Kind::Float, Device::Cpu));
            let parameters: Vec<Tensor> = (0..distribution.parameters())
                .map(|_| nothing.shallow_clone())
                .collect();
            let sample = distribution.sample(&parameters, &mut Draws::new(1, [0]));
            assert!(sample.double_value(&[0, 0]).is_nan(), "{distribution:?}");
        }
    }
}
