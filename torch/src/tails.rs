//! How much of a standard distribution of real numbers lies below a number.
//!
//! In double precision throughout, and as logarithms: what lies beyond a bound is often a trifle, whose
//! logarithm a training needs.

use std::cell::RefCell;
use std::f64::consts::PI;

use tch::{Device, Tensor};

/// Places and weights of the Gauss-Legendre rule of eight points on [-1, 1], of which there are two each.
const RULE: [(f64, f64); 4] = [
    (0.183_434_642_495_649_8, 0.362_683_783_378_362),
    (0.525_532_409_916_329, 0.313_706_645_877_887_3),
    (0.796_666_477_413_626_7, 0.222_381_034_453_374_48),
    (0.960_289_856_497_536_2, 0.101_228_536_290_376_26),
];
/// Farther below, the slope that libtorch gives of the Gaussian's has no digit left.
const LOWEST: f64 = -1e6;
/// The integrand is left out where it is less than the exponential of minus this, as a share of its largest.
const NEGLIGIBLE: f64 = 13.0;

/// A distribution about 0 in units of its scale, a parameter `[...]` for each number.
pub(crate) enum Standard<'a> {
    Gaussian,
    StudentT { freedom: &'a Tensor },
}

impl Standard<'_> {
    /// The logarithm of the density at `z`.
    pub(crate) fn log_density(&self, z: &Tensor) -> Tensor {
        match self {
            Self::Gaussian => z.square() * -0.5 - 0.5 * (2.0 * PI).ln(),
            Self::StudentT { freedom } => {
                let tail = (*freedom + 1.0) * -0.5;
                log_peak(freedom) + tail * (z.square() / *freedom).log1p()
            }
        }
    }

    /// The logarithm of the share that lies below `z`.
    pub(crate) fn log_below(&self, z: &Tensor) -> Tensor {
        match self {
            Self::Gaussian => z.clamp_min(LOWEST).special_log_ndtr(),
            Self::StudentT { freedom } => {
                // Not `abs`, which has no slope at 0: a gauge that stands at its bound begins there.
                let is_low = z.lt(0.0);
                let tail = log_tail(&(-z).where_self(&is_low, z), freedom);
                tail.where_self(&is_low, &(-tail.exp()).log1p())
            }
        }
    }

    /// The mean of what lies of `z` plus a number of the distribution above 0, where the rest counts as 0.
    /// It rises from 0 to `z` itself.
    pub(crate) fn mean_above(&self, z: &Tensor) -> Tensor {
        let density = self.log_density(z).exp();
        let rest = match self {
            Self::Gaussian => density,
            Self::StudentT { freedom } => density * (*freedom + z.square()) / (*freedom - 1.0),
        };
        z * self.log_below(z).exp() + rest
    }
}

/// The logarithm of the density of Student's t at 0.
fn log_peak(freedom: &Tensor) -> Tensor {
    ((freedom + 1.0) * 0.5).lgamma() - (freedom * 0.5).lgamma() - (freedom * PI).log() * 0.5
}

/// The logarithm of the share of Student's t above `z`, which is 0 or more.
///
/// libtorch has no such function. With `p² = ν ln(1 + t²/ν)` the density of `t` becomes that of a Gaussian
/// `p`, but for a factor that is smooth and about 1, the root of `y / (1 - exp(-y))` with `y = p²/ν`. Of
/// that the tail is an integral, from `p` of `z` on; a share of 3e-6 of it is lost, for any two degrees of
/// freedom and more.
fn log_tail(z: &Tensor, freedom: &Tensor) -> Tensor {
    let ratio = (z.square() / freedom).clamp_min(1e-30);
    let from = z * (ratio.log1p() / &ratio).sqrt();
    // The exponent of the Gaussian falls by what is negligible.
    let length =
        ((from.square() + 2.0 * NEGLIGIBLE).sqrt() + &from).reciprocal() * (2.0 * NEGLIGIBLE);
    // All points at once, along a last axis: on a GPU each operation costs the same for one as for eight.
    let [places, weights] = rule_on(z.device());
    let start = from.unsqueeze(-1);
    let further = length.unsqueeze(-1) * places;
    let exponent = &further * (&start + &further * 0.5);
    let y = (start + further).square() / freedom.unsqueeze(-1);
    let points = (-exponent).exp() * (&y / -(-&y).expm1()).sqrt() * weights;
    let integral = points.sum_dim_intlist([-1_i64].as_slice(), false, points.kind());
    log_peak(freedom) - from.square() * 0.5 + (integral * length).log()
}

/// Places on [0, 1] and weights of the rule, `[8]` each, on a device. They are brought there once: a step that is
/// recorded on a GPU reads what lies there already.
fn rule_on(device: Device) -> [Tensor; 2] {
    thread_local! {
        static RULES: RefCell<Vec<[Tensor; 2]>> = const { RefCell::new(Vec::new()) };
    }
    RULES.with_borrow_mut(|rules| {
        let place = rules
            .iter()
            .position(|[places, _]| places.device() == device);
        let place = place.unwrap_or_else(|| {
            let points = RULE.iter().flat_map(|&(place, weight)| {
                [-place, place].map(|place| (0.5 + 0.5 * place, 0.5 * weight))
            });
            let (places, weights): (Vec<f64>, Vec<f64>) = points.unzip();
            rules.push([places, weights].map(|of| Tensor::from_slice(&of).to(device)));
            rules.len() - 1
        });
        [0, 1].map(|which| rules[place][which].shallow_clone())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    const Z: [f64; 13] = [
        -80.0, -9.0, -3.0, -1.0, -0.2, -1e-7, 0.0, 1e-7, 0.3, 1.0, 2.5, 8.0, 50.0,
    ];

    fn row(values: &[f64]) -> Tensor {
        Tensor::from_slice(values)
    }

    fn numbers(tensor: &Tensor) -> Vec<f64> {
        Vec::<f64>::try_from(tensor).unwrap()
    }

    fn log_below(freedom: f64) -> Vec<f64> {
        let freedom = Tensor::full([13], freedom, (Kind::Double, Device::Cpu));
        numbers(&Standard::StudentT { freedom: &freedom }.log_below(&row(&Z)))
    }

    /// Two and four degrees of freedom have a formula.
    #[test]
    fn student_t_by_formula() {
        let two = |z: f64| {
            // The shorter form 1/2 + z / (2 √(2 + z²)) loses its digits far below 0.
            let root = (2.0 + z * z).sqrt();
            if z < 0.0 {
                1.0 / (root * (root - z))
            } else {
                1.0 - 1.0 / (root * (root + z))
            }
        };
        let four = |z: f64| {
            let t = z.abs() / (4.0 + z * z).sqrt();
            // 1/2 - 3/4 (t - t³/3), by 1 - t = (4 / (4 + z²)) / (1 + t).
            let rest = 4.0 / (4.0 + z * z) / (1.0 + t);
            let tail = rest * rest * (2.0 + t) / 4.0;
            if z < 0.0 { tail } else { 1.0 - tail }
        };
        for (freedom, exact) in [(2.0, &two as &dyn Fn(f64) -> f64), (4.0, &four)] {
            for (found, z) in log_below(freedom).iter().zip(Z) {
                let exact = exact(z).ln();
                assert!(
                    (found - exact).abs() < 3e-6,
                    "{freedom} {z}: {found}, not {exact}"
                );
            }
        }
    }

    #[test]
    fn many_degrees_of_freedom_are_a_gaussian() {
        let gaussian = numbers(&Standard::Gaussian.log_below(&row(&Z)));
        for ((found, exact), z) in log_below(1e9).iter().zip(gaussian).zip(Z) {
            let error = (found - exact).abs() / (1.0 + exact.abs());
            assert!(error < 1e-5, "{z}: {found}, not {exact}");
        }
    }

    /// The slope of the share is the density, and that of the mean the share; at 0 as well.
    #[test]
    fn slopes_are_what_they_are_of() {
        for freedom in [2.001, 3.0, 11.0, 400.0, 1e5, f64::INFINITY] {
            let freedoms = Tensor::full([13], freedom, (Kind::Double, Device::Cpu));
            let standard = if freedom.is_finite() {
                Standard::StudentT { freedom: &freedoms }
            } else {
                Standard::Gaussian
            };
            let z = row(&Z).set_requires_grad(true);
            let slope = |of: &Tensor| {
                numbers(&Tensor::run_backward(&[of.sum(Kind::Double)], &[&z], true, false)[0])
            };
            let below = standard.log_below(&z);
            let density = numbers(&(standard.log_density(&z) - &below).exp());
            let share = numbers(&below.exp());
            let mean = standard.mean_above(&z);
            let pairs = [(slope(&below), density), (slope(&mean), share)];
            for (slopes, exact) in pairs {
                for ((slope, exact), z) in slopes.iter().zip(exact).zip(Z) {
                    let error = (slope - exact).abs() / (1.0 + exact.abs());
                    assert!(error < 1e-5, "{freedom} {z}: {slope}, not {exact}");
                }
            }
        }
    }

    #[test]
    fn the_slope_by_the_freedom_is_that_of_finite_differences() {
        let of = |freedom: &Tensor| Standard::StudentT { freedom }.log_below(&row(&Z));
        for freedom in [2.5, 7.0, 90.0] {
            let freedoms = |freedom| Tensor::full([13], freedom, (Kind::Double, Device::Cpu));
            let leaf = freedoms(freedom).set_requires_grad(true);
            of(&leaf).sum(Kind::Double).backward();
            let nudge = 1e-4 * freedom;
            let difference = of(&freedoms(freedom + nudge)) - of(&freedoms(freedom - nudge));
            let expected = numbers(&(difference / (2.0 * nudge)));
            for ((slope, expected), z) in numbers(&leaf.grad()).iter().zip(expected).zip(Z) {
                assert!(
                    (slope - expected).abs() < 1e-5,
                    "{freedom} {z}: {slope}, not {expected}"
                );
            }
        }
    }
}
