//! Bounds of the targets, for what knows none of itself: kinds that are no nets, and what a correction moves.
//!
//! A forecast beyond a bound is cut at it. There is no gradient that could miss it, as there would be in a
//! net, and what is cut here lies beyond by its errors alone.

use anyhow::Result;

use super::{Forecaster, Issuer, Paths, Predictions};
use crate::data::{Frame, FrameColumn, Role, Scaler, Unscaling};
use crate::params::ModelParams;

/// Lets no forecast of a model leave the bounds of its targets, which are scaled so.
pub(super) fn within(
    model: &ModelParams,
    columns: &[FrameColumn],
    scalers: &[Scaler],
    inner: Box<dyn Forecaster>,
) -> Box<dyn Forecaster> {
    let bounds = scaled_bounds(model, columns, scalers);
    if bounds.is_empty() {
        return inner;
    }
    Box::new(Within { inner, bounds })
}

/// The bounds of each target, which are scaled so; empty where none has any.
pub(super) fn scaled_bounds(
    model: &ModelParams,
    columns: &[FrameColumn],
    scalers: &[Scaler],
) -> Vec<[Option<f32>; 2]> {
    if model.bounds.is_open() {
        return Vec::new();
    }
    let targets = columns.iter().filter(|column| column.role == Role::Target);
    let bounds = targets.zip(scalers).map(|(target, scaler)| {
        let bounds = model.bounds.of(&target.name);
        Unscaling::new(*scaler, bounds).scaled_bounds()
    });
    bounds.collect()
}

/// A model that keeps within bounds.
struct Within {
    inner: Box<dyn Forecaster>,
    /// Of each target, scaled.
    bounds: Vec<[Option<f32>; 2]>,
}

impl Forecaster for Within {
    fn over<'a>(&'a self, frame: &'a Frame) -> Result<Box<dyn Issuer + 'a>> {
        Ok(Box::new(Over {
            bounds: &self.bounds,
            inner: self.inner.over(frame)?,
        }))
    }

    fn memory(&self) -> usize {
        self.inner.memory()
    }
}

/// The same with a frame before it.
struct Over<'a> {
    bounds: &'a [[Option<f32>; 2]],
    inner: Box<dyn Issuer + 'a>,
}

impl Issuer for Over<'_> {
    fn forecast(&self, issues: &[usize]) -> Result<Predictions> {
        let mut made = self.inner.forecast(issues)?;
        let (horizon, levels) = (made.horizon, made.levels.len());
        cut(&mut made.mean, horizon, self.bounds);
        cut(&mut made.quantiles, horizon * levels, self.bounds);
        Ok(made)
    }

    fn paths(&self, issue: usize) -> Result<Option<Paths>> {
        let mut paths = self.inner.paths(issue)?;
        if let Some(paths) = &mut paths {
            cut(&mut paths.values, paths.horizon, self.bounds);
        }
        Ok(paths)
    }
}

/// Cuts values at the bounds of their target; so many of each target follow one another. What is no number
/// stays none.
pub(super) fn cut(values: &mut [f32], of_target: usize, bounds: &[[Option<f32>; 2]]) {
    let targets = values.chunks_mut(of_target.max(1));
    for (values, [lower, upper]) in targets.zip(bounds.iter().cycle()) {
        for value in values {
            if let Some(lower) = lower.filter(|lower| *value < *lower) {
                *value = lower;
            }
            if let Some(upper) = upper.filter(|upper| *value > *upper) {
                *value = upper;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::{Architecture, Bounds, TargetBounds};
    use crate::time::Step;
    use std::collections::BTreeMap;

    /// Says of each target and lead the number of the issue row, alternating in sign.
    struct Rows;

    impl Forecaster for Rows {
        fn over<'a>(&'a self, _: &'a Frame) -> Result<Box<dyn Issuer + 'a>> {
            Ok(Box::new(Self))
        }

        fn memory(&self) -> usize {
            7
        }
    }

    impl Issuer for Rows {
        fn forecast(&self, issues: &[usize]) -> Result<Predictions> {
            let of = |&issue: &usize| {
                let far = issue as f32;
                [-far, far, -far, far]
            };
            let mean: Vec<f32> = issues.iter().flat_map(of).collect();
            let quantiles = mean.iter().flat_map(|mean| [mean - 1.0, *mean, mean + 1.0]);
            Ok(Predictions {
                targets: 2,
                horizon: 2,
                levels: vec![0.1, 0.5, 0.9],
                quantiles: quantiles.collect(),
                mean,
            })
        }
    }

    fn forecast(bounds: TargetBounds) -> (Predictions, usize) {
        let columns = ["power", "wind"].map(|name| FrameColumn::new(name.to_owned(), Role::Target));
        let model = ModelParams {
            lookback: 1,
            horizon: 2,
            quantiles: vec![0.1, 0.5, 0.9],
            bounds,
            correction: None,
            architecture: Architecture::Persistence,
        };
        let scalers = [Scaler::IDENTITY; 2];
        let frame = Frame::single(0, Step::HOUR, columns.to_vec(), vec![0.0; 20]);
        let bounded = within(&model, &columns, &scalers, Box::new(Rows));
        (bounded.forecast(&frame, &[0, 5]).unwrap(), bounded.memory())
    }

    #[test]
    fn each_target_is_cut_at_its_own() {
        let power = Bounds {
            lower: Some(0.0),
            upper: Some(4.0),
        };
        let each = BTreeMap::from([("power".to_owned(), power)]);
        let (made, memory) = forecast(TargetBounds::Each(each));
        assert_eq!(made.mean, [0.0, 0.0, 0.0, 0.0, 0.0, 4.0, -5.0, 5.0]);
        let of_power = [0.0, 0.0, 0.0, 4.0, 4.0, 4.0];
        assert_eq!(made.quantiles_of(1, 0), of_power);
        assert_eq!(made.quantiles_of(1, 1), [-6.0, -5.0, -4.0, 4.0, 5.0, 6.0]);
        assert_eq!(memory, 7);
    }

    #[test]
    fn without_bounds_nothing_is_cut() {
        let (made, _) = forecast(TargetBounds::default());
        assert_eq!(made.mean, [0.0, 0.0, 0.0, 0.0, -5.0, 5.0, -5.0, 5.0]);
    }

    #[test]
    fn what_is_no_number_stays_none() {
        let mut values = [f32::NAN, -2.0, 9.0];
        cut(&mut values, 3, &[[Some(-1.0), Some(1.0)]]);
        assert!(values[0].is_nan() && values[1..] == [-1.0, 1.0]);
    }
}
