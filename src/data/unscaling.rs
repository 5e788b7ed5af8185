//! The way back from scaled forecasts to the unit of their target.

use super::Scaler;
use crate::params::Bounds;

/// From scaled values to those of a target, and on a bound to the very bound: an observation of no rain at
/// all lies within a band that begins there, and would lie outside by the last digit of a float.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unscaling {
    scaler: Scaler,
    /// Lower and upper, as scaled and in the unit of the target.
    bounds: [Option<(f32, f64)>; 2],
    /// What all is a share of.
    capacity: f64,
}

impl Unscaling {
    /// Of a target that was scaled so and has these bounds, in its unit.
    pub fn new(scaler: Scaler, bounds: Bounds) -> Self {
        let scaled = |bound: f64| (scaler.transform(bound) as f32, bound);
        let of = |bound: Option<f64>| bound.map(scaled).filter(|(scaled, _)| !scaled.is_nan());
        let bounds = [of(bounds.lower), of(bounds.upper)];
        Self {
            scaler,
            bounds,
            capacity: 1.0,
        }
    }

    /// Where scaler and bounds are of shares of a capacity, in the unit of the target.
    #[must_use]
    pub fn times(self, capacity: f64) -> Self {
        Self { capacity, ..self }
    }

    /// The bounds in scaled units, lower and upper: none where there is none, nor where the logarithm of the
    /// scaling has no place for it.
    pub fn scaled_bounds(self) -> [Option<f32>; 2] {
        self.bounds.map(|bound| bound.map(|(scaled, _)| scaled))
    }

    /// By how much a value may lie beside what it was meant to be, in the unit of the target: it was computed in 32 bits,
    /// from what the target was scaled to, and an observation was not.
    pub fn rounding(self, scaled: f32) -> f64 {
        const OPERATIONS: f32 = 4.0;
        let apart = OPERATIONS * f32::EPSILON * scaled.abs().max(1.0);
        let [below, above] =
            [scaled - apart, scaled + apart].map(|end| self.scaler.inverse(f64::from(end)));
        (above - below) / 2.0 * self.capacity
    }

    /// In the unit of the target.
    #[expect(clippy::float_cmp, reason = "what was cut at a bound is the bound")]
    pub fn original(self, scaled: f32) -> f64 {
        let mut bounds = self.bounds.iter().flatten();
        let value = match bounds.find(|(bound, _)| *bound == scaled) {
            Some(&(_, bound)) => bound,
            None => self.scaler.inverse(f64::from(scaled)),
        };
        value * self.capacity
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Scaling;

    #[test]
    fn on_a_bound_is_on_it_and_beside_it_is_within() {
        for i in 1..200 {
            let values: Vec<f64> = (0..50).map(|k| f64::from(k * i) * 0.137).collect();
            for scaling in [Scaling::Standard, Scaling::Robust, Scaling::Log1p] {
                let scaler = Scaler::fit(scaling, &values).unwrap();
                let (low, high) = (0.1, f64::from(i));
                let bounds = Bounds {
                    lower: Some(low),
                    upper: Some(high),
                };
                let unscaling = Unscaling::new(scaler, bounds);
                let [lower, upper] = unscaling.scaled_bounds().map(Option::unwrap);
                let of = |scaled: f32| unscaling.original(scaled);
                assert!((of(lower) - low).abs() == 0.0 && (of(upper) - high).abs() == 0.0);
                assert!(of(lower.next_up()) > low && of(upper.next_down()) < high);
            }
        }
    }

    #[test]
    fn a_share_comes_back_as_what_it_is_a_share_of() {
        let bounds = Bounds {
            lower: Some(0.0),
            upper: Some(1.0),
        };
        let scaler = Scaler::fit(Scaling::Standard, &[0.0, 0.3, 0.9]).unwrap();
        let unscaling = Unscaling::new(scaler, bounds).times(1234.5);
        let [lower, upper] = unscaling.scaled_bounds().map(Option::unwrap);
        assert!((unscaling.original(lower)).abs() == 0.0);
        assert!((unscaling.original(upper) - 1234.5).abs() == 0.0);
        let half = unscaling.original(scaler.transform(0.5) as f32);
        assert!((half - 617.25).abs() < 1e-3);
    }

    #[test]
    fn what_was_scaled_comes_back_within_its_rounding() {
        for scaling in [
            Scaling::Standard,
            Scaling::Robust,
            Scaling::MinMax,
            Scaling::Log1p,
        ] {
            let values: Vec<f64> = (0..400).map(|k| f64::from(k) * 0.1).collect();
            let scaler = Scaler::fit(scaling, &values).unwrap();
            let unscaling = Unscaling::new(scaler, Bounds::default()).times(3.0);
            for value in values {
                let scaled = scaler.transform(value) as f32;
                let off = (unscaling.original(scaled) - 3.0 * value).abs();
                let rounding = unscaling.rounding(scaled);
                assert!(
                    off <= rounding && rounding < 1e-3,
                    "{value}: {off} {rounding}"
                );
            }
        }
    }

    #[test]
    fn without_a_bound_it_is_the_inverse() {
        let scaler = Scaler::fit(Scaling::Log1p, &[0.0, 5.0]).unwrap();
        let unscaling = Unscaling::new(
            scaler,
            Bounds {
                lower: Some(-5.0),
                upper: None,
            },
        );
        assert_eq!(unscaling.scaled_bounds(), [None, None]);
        assert!((unscaling.original(0.5) - scaler.inverse(0.5)).abs() == 0.0);
    }
}
