//! Series of very different size in one model: a farm of 2 MW beside one of 2,000.
//!
//! All are scaled together, and errors count in those units, so a model learns the large ones and neglects the
//! small. `deepar` reads each window in its own unit; the naive kinds make their means of each series alone.

use std::ops::Range;

use crate::data::{Dataset, Part};
use crate::params::{Architecture, Distribution, ModelParams};

/// How many times as far the values of one series may lie from their mean as those of another.
const MOST: f64 = 10.0;
/// Observations from which on a series is one, and not just its beginning.
const FEW: usize = 100;

/// What is to be said of each target whose series differ too much.
pub(super) fn unequal(model: &ModelParams, dataset: &Dataset) -> Vec<String> {
    let of_any_size = match &model.architecture {
        Architecture::Deepar(deepar) => deepar.distribution != Distribution::Beta,
        _ => !model.learns_from_windows(),
    };
    if of_any_size {
        return Vec::new();
    }
    let layout = dataset.panel().layout();
    let train = dataset.meta().split.ranges(Part::Train, layout);
    let told = |(target, observed): (&str, &[f64])| {
        let help = if dataset.meta().capacity.contains_key(target) {
            "so it does as shares of prepare.capacity, which may be wrong: correct them"
        } else {
            "say in prepare.capacity what each can reach"
        };
        let of_series = layout.blocks().iter().zip(&train);
        let deviations = of_series
            .filter_map(|(block, rows)| Some((deviation(observed, rows)?, block.name.as_str())));
        let mut deviations: Vec<(f64, &str)> = deviations.collect();
        deviations.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (smallest, largest) = (deviations.first()?, deviations.last()?);
        let times = largest.0 / smallest.0;
        (times > MOST).then(|| {
            format!(
                "{target} of the series {} varies {times:.0} times as much as that of {small}, which a model of kind `{}` \
                 will hardly learn beside it: {help}, or leave {small} out",
                largest.1,
                model.kind(),
                small = smallest.1,
            )
        })
    };
    let observed = dataset.observed_shares();
    let targets = dataset.targets().zip(&observed);
    targets
        .filter_map(|(target, observed)| told((&target.name, observed)))
        .collect()
}

/// The standard deviation of what was observed in some rows; none where hardly anything was, or nothing differs.
fn deviation(observed: &[f64], rows: &Range<usize>) -> Option<f64> {
    let values = || {
        observed[rows.clone()]
            .iter()
            .filter(|value| !value.is_nan())
    };
    if values().count() < FEW {
        return None;
    }
    let count = values().count() as f64;
    let mean = values().sum::<f64>() / count;
    let variance = values().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    // Rounding leaves a series that stands still a tiny one.
    (variance.sqrt() > 1e-9 * mean.abs()).then(|| variance.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deviation_is_of_what_was_observed() {
        let mut values = [9.0, 1.0, f64::NAN, 3.0].repeat(60);
        for value in values.iter_mut().step_by(4) {
            *value = 1.0;
        }
        // Of each four rows 1, 1 and 3.
        let expected = (8.0_f64 / 9.0).sqrt();
        let found = deviation(&values, &(0..240)).expect("they differ");
        assert!((found - expected).abs() < 1e-9, "{found}");
        assert_eq!(deviation(&values, &(0..60)), None);
        assert_eq!(deviation(&[0.1; 200], &(0..200)), None);
    }
}
