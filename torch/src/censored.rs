//! Real numbers of which a bound hides the rest: what lies beyond it is observed as the bound itself
//! (Tobin 1958, doi 10.2307/1907382).
//!
//! Most hours have no rain at all, and a farm in a storm gives its capacity to the watt. So that a bound is as
//! likely as it is, the likelihood there is the share of the distribution that lies beyond; and what is drawn
//! and cut at the bounds is of this likelihood, with the mean given here.

use tch::{Kind, Tensor};

use crate::distribution::Distribution;
use crate::tails::Standard;

/// The bounds, in the unit of the values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Censored {
    pub(crate) lower: Option<f64>,
    pub(crate) upper: Option<f64>,
}

impl Censored {
    /// `[...]`: the logarithm of the likelihood of `truth` by a Gaussian or Student's t, element by element. What lies beyond a bound counts
    /// as lying on it.
    pub(crate) fn log_likelihood(
        self,
        distribution: Distribution,
        parameters: &[Tensor],
        truth: &Tensor,
    ) -> Tensor {
        let log = distribution.log_likelihood(parameters, truth);
        let places = Places::of(parameters);
        let below = |bound: f64| (truth.le(bound), -places.above(bound));
        let above = |bound: f64| (truth.ge(bound), places.above(bound));
        // One tail for both: a value lies on one of them at most.
        let (is_there, z) = match (self.lower.map(below), self.upper.map(above)) {
            (None, None) => return log,
            (Some(one), None) | (None, Some(one)) => one,
            (Some((is_low, low)), Some((is_high, high))) => {
                let z = low.where_self(&is_low, &high);
                (is_low.logical_or(&is_high), z)
            }
        };
        let share = places.standard().log_below(&z);
        share.to_kind(log.kind()).where_self(&is_there, &log)
    }

    /// `[...]`: the mean of what is observed.
    pub(crate) fn mean(self, distribution: Distribution, parameters: &[Tensor]) -> Tensor {
        let mean = distribution.mean(parameters);
        let places = Places::of(parameters);
        let standard = places.standard();
        let above = |bound: f64| standard.mean_above(&places.above(bound)) * &places.scale;
        // What lies above the lower bound, less what lies above the upper one.
        let observed = match (self.lower, self.upper) {
            (None, None) => return mean,
            (Some(lower), None) => above(lower) + lower,
            (None, Some(upper)) => &places.mean - above(upper),
            (Some(lower), Some(upper)) => above(lower) - above(upper) + lower,
        };
        observed.to_kind(mean.kind())
    }
}

/// The parameters of a distribution that is a standard one, moved and stretched.
struct Places {
    mean: Tensor,
    scale: Tensor,
    /// Of Student's t.
    freedom: Option<Tensor>,
}

impl Places {
    fn of(parameters: &[Tensor]) -> Self {
        let wide = |parameter: &Tensor| parameter.to_kind(Kind::Double);
        Self {
            mean: wide(&parameters[0]),
            scale: wide(&parameters[1]),
            freedom: parameters.get(2).map(wide),
        }
    }

    fn standard(&self) -> Standard<'_> {
        match &self.freedom {
            None => Standard::Gaussian,
            Some(freedom) => Standard::StudentT { freedom },
        }
    }

    /// How far the mean lies above a number, in scales.
    fn above(&self, number: f64) -> Tensor {
        (&self.mean - number) / &self.scale
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::{assert_gradient, standardised_mean};
    use crate::draws::Draws;
    use tch::Device;

    const SAMPLES: i64 = 40_000;
    const BOUNDS: [Censored; 4] = [
        Censored {
            lower: None,
            upper: None,
        },
        Censored {
            lower: Some(-0.3),
            upper: None,
        },
        Censored {
            lower: None,
            upper: Some(1.1),
        },
        Censored {
            lower: Some(-0.3),
            upper: Some(1.1),
        },
    ];

    fn cases() -> Vec<(Distribution, Vec<f64>)> {
        vec![
            (Distribution::Gaussian, vec![0.4, 0.5]),
            (Distribution::Gaussian, vec![-1.5, 1.0]),
            (Distribution::StudentT, vec![0.2, 0.7, 9.0]),
            (Distribution::StudentT, vec![1.6, 0.4, 5.0]),
        ]
    }

    fn leaves(parameters: &[f64]) -> Vec<Tensor> {
        let of = |&value: &f64| Tensor::full([1, SAMPLES], value, (Kind::Double, Device::Cpu));
        parameters.iter().map(of).collect()
    }

    fn drawn(bounds: Censored, distribution: Distribution, parameters: &[Tensor]) -> Tensor {
        let sample = distribution.sample(parameters, &mut Draws::new(5, [3]));
        let sample = bounds
            .lower
            .map_or(sample.shallow_clone(), |lower| sample.clamp_min(lower));
        bounds
            .upper
            .map_or(sample.shallow_clone(), |upper| sample.clamp_max(upper))
    }

    /// What is drawn and cut has the mean, and the derivative of the logarithm of its likelihood by each
    /// parameter is 0 on average; so both are of one distribution.
    #[test]
    fn draws_that_are_cut_are_of_the_likelihood_and_the_mean() {
        for bounds in BOUNDS {
            for (distribution, parameters) in cases() {
                let leaves: Vec<Tensor> = (leaves(&parameters).into_iter())
                    .map(|leaf| leaf.set_requires_grad(true))
                    .collect();
                let sample = tch::no_grad(|| drawn(bounds, distribution, &leaves));
                let mean = tch::no_grad(|| bounds.mean(distribution, &leaves));
                let error = standardised_mean(&(&sample - mean));
                assert!(
                    error.abs() < 5.0,
                    "{bounds:?} {distribution:?} {parameters:?} {error}"
                );
                let log = bounds.log_likelihood(distribution, &leaves, &sample);
                log.sum(Kind::Double).backward();
                for (index, leaf) in leaves.iter().enumerate() {
                    let score = standardised_mean(&leaf.grad());
                    assert!(
                        score.abs() < 5.0,
                        "{bounds:?} {distribution:?} {parameters:?} {index}: {score}"
                    );
                }
            }
        }
    }

    /// The shares at the bounds and the density between them are all there is.
    #[test]
    fn likelihoods_add_up_to_one() {
        let bounds = BOUNDS[3];
        for (distribution, parameters) in cases() {
            let steps = 2000_i64;
            let width = 1.4 / steps as f64;
            let half = width / 2.0;
            let truth =
                Tensor::linspace(-0.3 + half, 1.1 - half, steps, (Kind::Double, Device::Cpu));
            let parameters: Vec<Tensor> = parameters
                .iter()
                .map(|&value| Tensor::from_slice(&[value]))
                .collect();
            let of = |truth: &Tensor| {
                bounds
                    .log_likelihood(distribution, &parameters, truth)
                    .exp()
            };
            let within = (of(&truth).sum(Kind::Double) * width).double_value(&[]);
            let ends = of(&Tensor::from_slice(&[-0.3, 1.1]))
                .sum(Kind::Double)
                .double_value(&[]);
            assert!(
                (within + ends - 1.0).abs() < 1e-6,
                "{distribution:?} {within} {ends}"
            );
            // Beyond a bound is on it.
            let beyond = of(&Tensor::from_slice(&[-7.0, 9.0]))
                .sum(Kind::Double)
                .double_value(&[]);
            assert!((beyond - ends).abs() < 1e-12, "{beyond} {ends}");
        }
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        // Between the bounds, on them, and beyond.
        let truth = Tensor::from_slice(&[-0.3, 0.0, 1.0, 1.1, 4.0, -2.0]);
        for (distribution, parameters) in cases() {
            let raw = Tensor::from_slice(&parameters).repeat([6, 1]);
            for bounds in BOUNDS {
                assert_gradient(&raw, 1e-6, 1e-6, |raw| {
                    bounds.log_likelihood(distribution, &distribution.link(raw), &truth)
                });
            }
        }
    }

    /// Parameters of single precision, far from the bounds on either side.
    #[test]
    fn nothing_is_infinite() {
        let truth = Tensor::from_slice(&[-0.3_f32, 0.5, 1.1]);
        for (distribution, others) in [
            (Distribution::Gaussian, &[1e-6_f32][..]),
            (Distribution::StudentT, &[1e-6, 2.001]),
            (Distribution::StudentT, &[1e-6, 1e6]),
        ] {
            for mean in [-1e4_f32, -0.3, 0.0, 1.1, 1e4] {
                let parameters: Vec<Tensor> = std::iter::once(&mean)
                    .chain(others)
                    .map(|&value| Tensor::full([3], f64::from(value), (Kind::Float, Device::Cpu)))
                    .map(|leaf| leaf.set_requires_grad(true))
                    .collect();
                let bounds = BOUNDS[3];
                let log = bounds.log_likelihood(distribution, &parameters, &truth);
                let observed = bounds.mean(distribution, &parameters);
                assert!(
                    bool::try_from(log.isfinite().all()).unwrap(),
                    "{distribution:?} {mean}"
                );
                assert!(
                    bool::try_from(observed.isfinite().all()).unwrap(),
                    "{distribution:?} {mean}"
                );
                log.sum(Kind::Float).backward();
                for leaf in &parameters {
                    let finite = bool::try_from(leaf.grad().isfinite().all()).unwrap();
                    assert!(finite, "{distribution:?} {others:?} {mean}");
                }
            }
        }
    }
}
