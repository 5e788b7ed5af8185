//! How a column is scaled for a model; fitted on the training part only.

use serde::{Deserialize, Serialize};

use super::quantile;
use crate::params::Scaling;

/// Takes a column to about mean 0 and spread 1: `(g(x) − center) / scale`, where `g` is the
/// logarithm of `1 + x` or nothing. A constant column scales by 1, so that
/// `inverse(transform(x))` is always `x` up to rounding.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scaler {
    method: Method,
    center: f64,
    scale: f64,
    /// The standard deviation of what it was fitted to, in scaled units.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    deviation: f64,
}

fn one() -> f64 {
    1.0
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    clippy::float_cmp,
    reason = "serde hands over a reference; what is exactly 1 needs no word"
)]
fn is_one(deviation: &f64) -> bool {
    *deviation == 1.0
}

/// Where center and scale come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Method {
    None,
    Standard,
    Robust,
    MinMax,
    Log1p,
}

/// The interquartile range of a normal distribution is so many standard deviations.
const NORMAL_IQR: f64 = 1.348_979_500_392_163_5;

impl Scaler {
    /// Changes nothing; for columns that are scaled by construction, such as a sine.
    pub const IDENTITY: Self = Self {
        method: Method::None,
        center: 0.0,
        scale: 1.0,
        deviation: 1.0,
    };

    /// Whether both scale by the same method, be it by other numbers.
    pub fn is_alike(self, other: Self) -> bool {
        self.method == other.method
    }

    /// Fits to values; missing ones do not count. The smallest value where the logarithm is asked
    /// for and some value has none.
    ///
    /// - `standard`: mean and population standard deviation;
    /// - `robust`: median, and the interquartile range as that of a normal distribution, or the standard deviation
    ///   where both quartiles are one value;
    /// - `min_max`: from 0 to 1;
    /// - `log1p`: mean and standard deviation of ln(1 + x), for rain and other skewed columns.
    pub fn fit(scaling: Scaling, values: &[f64]) -> Result<Self, f64> {
        let mut present: Vec<f64> = values.iter().copied().filter(|v| !v.is_nan()).collect();
        if present.is_empty() {
            return Ok(Self::IDENTITY);
        }
        let (method, (center, scale)) = match scaling {
            Scaling::None => (Method::None, (0.0, 1.0)),
            Scaling::Standard => (Method::Standard, mean_and_deviation(&present)),
            Scaling::Log1p => {
                let smallest = present.iter().copied().fold(f64::INFINITY, f64::min);
                if smallest <= -1.0 {
                    return Err(smallest);
                }
                for value in &mut present {
                    *value = value.ln_1p();
                }
                (Method::Log1p, mean_and_deviation(&present))
            }
            Scaling::Robust => {
                present.sort_unstable_by(f64::total_cmp);
                let range = quantile(&present, 0.75) - quantile(&present, 0.25);
                let center = quantile(&present, 0.5);
                let scale = if is_constant(center, range) {
                    mean_and_deviation(&present).1
                } else {
                    range / NORMAL_IQR
                };
                (Method::Robust, (center, scale))
            }
            Scaling::MinMax => {
                let low = present.iter().copied().fold(f64::INFINITY, f64::min);
                let high = present.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                (Method::MinMax, (low, high - low))
            }
        };
        let scale = if is_constant(center, scale) {
            1.0
        } else {
            scale
        };
        let deviation = match method {
            Method::Standard | Method::Log1p => 1.0,
            Method::None | Method::Robust | Method::MinMax => {
                let (mean, deviation) = mean_and_deviation(&present);
                if is_constant(mean, deviation) {
                    1.0
                } else {
                    deviation / scale
                }
            }
        };
        Ok(Self {
            method,
            center,
            scale,
            deviation,
        })
    }

    /// To scaled units. A value without a logarithm counts as missing where one is asked for.
    pub fn transform(self, value: f64) -> f64 {
        let value = match self.method {
            Method::Log1p if value <= -1.0 => f64::NAN,
            Method::Log1p => value.ln_1p(),
            _ => value,
        };
        (value - self.center) / self.scale
    }

    /// To original units.
    pub fn inverse(self, scaled: f64) -> f64 {
        let value = scaled * self.scale + self.center;
        match self.method {
            Method::Log1p => value.exp_m1(),
            _ => value,
        }
    }

    /// Center and scale, and whether they are of the logarithm of `1 + x`.
    pub fn parts(self) -> (f64, f64, bool) {
        (self.center, self.scale, self.method == Method::Log1p)
    }

    /// The standard deviation of the training part in scaled units; 1 where it was constant.
    pub fn deviation(self) -> f64 {
        self.deviation
    }

    /// Whether scaled units are those of the logarithm of `1 + x`.
    pub fn is_logarithmic(self) -> bool {
        self.method == Method::Log1p
    }

    /// What one scaled unit is in original units; about the center, where that differs by place.
    pub fn spread(self) -> f64 {
        match self.method {
            Method::Log1p => self.scale * self.center.exp(),
            _ => self.scale,
        }
    }
}

/// Rounding leaves a constant column a tiny spread; dividing by it would invent a signal.
fn is_constant(center: f64, spread: f64) -> bool {
    spread <= 1e-9 * center.abs().max(1e-300)
}

fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
    (mean, variance.sqrt())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [Scaling; 4] = [
        Scaling::Standard,
        Scaling::Robust,
        Scaling::MinMax,
        Scaling::Log1p,
    ];

    #[test]
    fn constant_and_missing_columns_scale_by_one() {
        for scaling in ALL {
            assert_eq!(Scaler::fit(scaling, &[]), Ok(Scaler::IDENTITY));
            assert_eq!(Scaler::fit(scaling, &[f64::NAN]), Ok(Scaler::IDENTITY));
            let constant = Scaler::fit(scaling, &[0.1; 1000]).unwrap();
            assert!((constant.transform(0.1)).abs() < 1e-12);
            assert!((constant.inverse(1.0) - constant.inverse(0.0)).abs() > 0.9);
        }
    }

    #[test]
    fn each_method_by_hand() {
        let values = [1.0, f64::NAN, 3.0];
        let at = |scaling, x| Scaler::fit(scaling, &values).unwrap().transform(x);
        assert_eq!(
            (at(Scaling::Standard, 2.0), at(Scaling::Standard, 3.0)),
            (0.0, 1.0)
        );
        assert_eq!(
            (at(Scaling::MinMax, 1.0), at(Scaling::MinMax, 3.0)),
            (0.0, 1.0)
        );
        // Quartiles 1.5 and 2.5.
        assert!((at(Scaling::Robust, 3.0) - NORMAL_IQR).abs() < 1e-12);
        assert!((Scaler::fit(Scaling::MinMax, &values).unwrap().deviation() - 0.5).abs() < 1e-12);
        assert!((Scaler::fit(Scaling::None, &values).unwrap().deviation() - 1.0).abs() < 1e-12);
        // Of rain the quartiles are one.
        let rain = [0.0, 0.0, 0.0, 0.0, 10.0];
        let robust = Scaler::fit(Scaling::Robust, &rain).unwrap();
        assert!(
            (robust.transform(8.0) - 2.0).abs() < 1e-12 && (robust.deviation() - 1.0).abs() < 1e-12
        );
        // ln 2 and ln 4: mean 1.5 ln 2, deviation 0.5 ln 2.
        assert!((at(Scaling::Log1p, 3.0) - 1.0).abs() < 1e-12);
        assert!(at(Scaling::Log1p, -1.0).is_nan());
        assert_eq!(Scaler::fit(Scaling::Log1p, &[0.0, -2.0]), Err(-2.0));
        // About the center √8 − 1, one scaled unit is 0.5 ln 2 · √8.
        let log = Scaler::fit(Scaling::Log1p, &values).unwrap();
        assert!((log.spread() - 0.5 * 2.0_f64.ln() * 8.0_f64.sqrt()).abs() < 1e-12);
        let (center, scale, logarithm) = log.parts();
        assert!((scale * 1.0 + center - 3.0_f64.ln_1p()).abs() < 1e-12 && logarithm);
    }

    proptest! {
        #[test]
        fn inverse_undoes_transform(values in prop::collection::vec(-0.9..1e6_f64, 0..50), x in -0.9..1e6_f64) {
            for scaling in ALL {
                let scaler = Scaler::fit(scaling, &values).unwrap();
                let back = scaler.inverse(scaler.transform(x));
                prop_assert!((back - x).abs() <= 1e-6 * x.abs().max(1.0), "{scaling:?} {back} {x}");
            }
        }
    }
}
