//! Standard scaling, fitted on the training part only.

use serde::{Deserialize, Serialize};

/// Takes a column to mean 0 and standard deviation 1. A constant column scales by 1, so that
/// `inverse(transform(x))` is always `x` up to rounding.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scaler {
    mean: f64,
    std: f64,
}

impl Scaler {
    /// Changes nothing; for columns that are scaled by construction, such as a sine.
    pub const IDENTITY: Self = Self {
        mean: 0.0,
        std: 1.0,
    };

    /// Fits mean and population standard deviation; missing values do not count.
    pub fn fit(values: &[f64]) -> Self {
        let present = || values.iter().copied().filter(|value| !value.is_nan());
        let count = present().count();
        if count == 0 {
            return Self::IDENTITY;
        }
        let mean = present().sum::<f64>() / count as f64;
        let variance = present().map(|value| (value - mean).powi(2)).sum::<f64>() / count as f64;
        let std = variance.sqrt();
        // Rounding leaves a constant column a tiny spread; dividing by it would invent a signal.
        let constant = std <= 1e-9 * mean.abs().max(1e-300);
        Self {
            mean,
            std: if constant { 1.0 } else { std },
        }
    }

    /// To scaled units.
    pub fn transform(self, value: f64) -> f64 {
        (value - self.mean) / self.std
    }

    /// To original units.
    pub fn inverse(self, scaled: f64) -> f64 {
        scaled * self.std + self.mean
    }

    /// What one scaled unit is in original units.
    pub fn spread(self) -> f64 {
        self.std
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn constant_and_missing_columns_scale_by_one() {
        assert_eq!(Scaler::fit(&[]), Scaler::IDENTITY);
        assert_eq!(Scaler::fit(&[f64::NAN]), Scaler::IDENTITY);
        let constant = Scaler::fit(&[0.1; 1000]);
        assert!((constant.transform(0.1)).abs() < 1e-12 && (constant.spread() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn mean_and_population_deviation() {
        let scaler = Scaler::fit(&[1.0, f64::NAN, 3.0]);
        assert_eq!((scaler.transform(2.0), scaler.transform(3.0)), (0.0, 1.0));
    }

    proptest! {
        #[test]
        fn inverse_undoes_transform(values in prop::collection::vec(-1e6..1e6_f64, 0..50), x in -1e6..1e6_f64) {
            let scaler = Scaler::fit(&values);
            let back = scaler.inverse(scaler.transform(x));
            prop_assert!((back - x).abs() <= 1e-6 * x.abs().max(1.0));
        }
    }
}
