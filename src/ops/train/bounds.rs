//! Whether what a model can say, by its bounds and its distribution, is what the data are.

use anyhow::{Result, bail};

use crate::data::{Dataset, Part};
use crate::params::{Contradiction, Distribution, ModelParams};

/// A bound of shares beyond this is meant in the unit of the target.
const FAR_BEYOND_CAPACITY: f64 = 10.0;
/// Shares nearer to 0 or 1 are alike to a beta distribution, as what they are expected to be near to.
const NEAR_A_BOUND: f64 = 0.02;
/// Refuses bounds of what is no target, and targets without those that their distribution needs: which
/// targets there are only the data set knows.
pub(in crate::ops) fn check_bounds(model: &ModelParams, dataset: &Dataset) -> Result<()> {
    let targets = &dataset.meta().targets;
    if let Some(name) = model.bounds.stranger(targets) {
        bail!(Contradiction(format!(
            "model.bounds: expected a target of the data set ({targets}), found `{name}`"
        )));
    }
    let is_bounded = |name: &&String| {
        let bounds = model.bounds.of(name);
        bounds.lower.is_some() && bounds.upper.is_some()
    };
    let capacity = &dataset.meta().capacity;
    let far = |bound: Option<f64>| bound.filter(|bound| bound.abs() > FAR_BEYOND_CAPACITY);
    for name in targets
        .names()
        .iter()
        .filter(|name| capacity.contains_key(*name))
    {
        let bounds = model.bounds.of(name);
        if let Some(bound) = far(bounds.lower).or(far(bounds.upper)) {
            bail!(Contradiction(format!(
                "model.bounds: expected shares of prepare.capacity for {name}, such as 0 and 1, found {bound}"
            )));
        }
    }
    let counts = model.architecture.distribution() == Some(Distribution::NegativeBinomial);
    if let Some(name) = targets
        .names()
        .iter()
        .find(|name| counts && capacity.contains_key(*name))
    {
        bail!(Contradiction(format!(
            "model.distribution: expected another one than negative_binomial for {name}, which is seen as shares of \
             prepare.capacity: shares are no counts"
        )));
    }
    match targets.names().iter().find(|name| !is_bounded(name)) {
        Some(name) if model.needs_bounds() => bail!(Contradiction(format!(
            "model.bounds: expected `lower` and `upper` of every target, between which distribution \
             beta speaks of shares; {name} has not both"
        ))),
        _ => Ok(()),
    }
}

/// What is to be said where the training part has values that no forecast can be: beyond the bounds, or
/// no counts.
pub(super) fn beyond_the_model(model: &ModelParams, dataset: &Dataset) -> Vec<String> {
    let panel = dataset.panel();
    let train = dataset.meta().split.ranges(Part::Train, panel.layout());
    let counts = model.architecture.distribution() == Some(Distribution::NegativeBinomial);
    let mut told = Vec::new();
    // What was filled between them may be anything.
    for (target, observed) in dataset.targets().zip(dataset.observed_shares()) {
        let of_train = train.iter().flat_map(|rows| &observed[rows.clone()]);
        let values: Vec<f64> = of_train.copied().filter(|value| !value.is_nan()).collect();
        let bounds = model.bounds.of(&target.name);
        let (lower, upper) = (
            bounds.lower.unwrap_or(f64::NEG_INFINITY),
            bounds.upper.unwrap_or(f64::INFINITY),
        );
        let mut tell = |odd: usize, how: String| {
            if odd > 0 {
                let (name, all) = (&target.name, values.len());
                told.push(format!(
                    "{odd} of {all} values of {name} in the training part {how}"
                ));
            }
        };
        let outside = values
            .iter()
            .filter(|value| !(lower..=upper).contains(value));
        let shares = if dataset.meta().capacity.contains_key(&target.name) {
            ", shares of the capacity"
        } else {
            ""
        };
        let how =
            format!("lie beyond model.bounds ({lower} to {upper}{shares}), which no forecast will");
        tell(outside.count(), how);
        if model.architecture.distribution() == Some(Distribution::Beta) {
            let near = NEAR_A_BOUND * (upper - lower);
            let inside = lower + near..upper - near;
            let at_ends = values
                .iter()
                .filter(|value| !inside.contains(value))
                .count();
            if at_ends * 2 > values.len() {
                let how = "lie within 2 % of model.bounds, where distribution beta hardly tells them apart: give \
                     bounds nearer to what occurs, or take gaussian or student_t";
                tell(at_ends, how.to_owned());
            }
        }
        if counts {
            let broken = values.iter().filter(|value| value.fract() != 0.0);
            let how = "are no whole numbers, of which distribution negative_binomial is";
            tell(broken.count(), how.to_owned());
        }
    }
    told
}
