//! The forecasts of a model from every window of the test part, and how far they lie from what became.

use std::borrow::Cow;

use anyhow::{Context as _, Result, bail, ensure};

use crate::data::{Dataset, FewComplete, Frame, Part, Unscaling, Window};
use crate::eval::{
    Coverage, CoverageSums, ErrorSums, ModelScores, PinballLoss, PinballSums, SeriesScores,
};
use crate::model::{Forecaster, ModelFile, Predictions};
use crate::time::Step;

/// Forecasts scored at a time; bounds the memory whatever the length of the test part.
const BATCH: usize = 2048;

/// The windows of the test part, and how to get from scaled forecasts to errors.
pub(super) struct Scoring<'a> {
    pub(super) targets: Vec<Target<'a>>,
    /// As the model scales, for the baselines as well: forecasts are taken back by one scaler.
    pub(super) frame: Frame,
    pub(super) horizon: usize,
    pub(super) issues: Vec<usize>,
    /// Where most windows of the test part have some.
    pub(super) gaps: Option<FewComplete>,
    /// Series that the model cannot forecast, since it tells them apart and was not trained on them.
    pub(super) unknown: Vec<String>,
}

/// Of a model that tells series apart, those that it does not know. One of a series without a name takes any.
fn unknown_series(frame: &Frame, file: &ModelFile) -> Vec<String> {
    if !file.model.knows_series() || file.series.is_empty() {
        return Vec::new();
    }
    let names = frame.layout.names().into_iter();
    names.filter(|name| !file.series.contains(name)).collect()
}

/// What the forecasts of a target are held against.
pub(super) struct Target<'a> {
    pub(super) name: String,
    pub(super) unit: String,
    /// In its own unit, where it was observed.
    pub(super) observed: Cow<'a, [f64]>,
    /// Of each series.
    pub(super) unscalings: Vec<Unscaling>,
    /// Of each series, where it has one.
    pub(super) capacities: Option<Vec<f64>>,
}

/// How the forecasts of a target are.
pub(super) struct Scored {
    pub(super) scores: ModelScores,
    pub(super) by_series: Vec<SeriesScores>,
    pub(super) coverage: Option<Coverage>,
    pub(super) pinball: Vec<PinballLoss>,
    pub(super) pinball_of_capacity: Vec<PinballLoss>,
}

/// The same in the making.
struct Sums {
    all: OneSums,
    /// Of all, lead by lead.
    coverage_by_lead: Vec<CoverageSums>,
    /// As shares of the capacity, where there is one.
    shares: Option<OneSums>,
    /// Of each series, where there are several.
    of_series: Vec<OneSums>,
}

/// What all windows, or those of a series, come to.
struct OneSums {
    errors: ErrorSums,
    coverage: Option<CoverageSums>,
    pinball: PinballSums,
}

impl<'a> Scoring<'a> {
    pub(super) fn new(dataset: &'a Dataset, file: &ModelFile, stride: usize) -> Result<Self> {
        let frame = dataset.frame(&file.scalers(), 0)?;
        let (lookback, horizon) = (file.model.lookback, file.model.horizon);
        let Some(window) = Window::new(lookback, horizon, stride) else {
            bail!("lookback, horizon and stride must not be 0");
        };
        let split = dataset.meta().split;
        let mut issues = split.some_issues(Part::Test, &frame, window)?;
        let unknown = unknown_series(&frame, file);
        issues.retain(|&issue| {
            let block = frame.layout.block_of(issue);
            !block.is_some_and(|block| unknown.contains(&block.name))
        });
        ensure!(
            !issues.is_empty(),
            "the model was not trained on any of the series that the test part has windows of"
        );
        let observed = dataset.seen_targets(&file.scalers()).into_iter();
        let meta = dataset.meta();
        let blocks = frame.layout.blocks();
        let targets = observed
            .zip(file.target_columns())
            .map(|(observed, column)| {
                let name = &column.name;
                let capacities = blocks.iter().map(|block| meta.capacity(name, &block.name));
                let capacities: Vec<f64> = capacities.collect();
                let unscaling = |&capacity: &f64| file.unscaling(column, capacity);
                Target {
                    name: name.clone(),
                    unit: column.unit.clone(),
                    observed,
                    unscalings: capacities.iter().map(unscaling).collect(),
                    capacities: meta.capacity.contains_key(name).then_some(capacities),
                }
            });
        Ok(Self {
            gaps: split.few_complete(Part::Test, &frame, window),
            targets: targets.collect(),
            frame,
            horizon,
            issues,
            unknown,
        })
    }

    /// What is to be said of series that none of the windows is of.
    pub(super) fn without_windows(&self) -> Vec<String> {
        let unknown = self.unknown.join(", ");
        let without = self.frame.layout.names_without(&self.issues).into_iter();
        let without: Vec<&str> = without
            .filter(|name| !self.unknown.iter().any(|u| u == name))
            .collect();
        let without = without.join(", ");
        let mut told = Vec::new();
        if !unknown.is_empty() {
            told.push(format!(
                "without the series {unknown}, on which the model was not trained: train it again with them, or \
                 use a kind that does not tell series apart, such as lstm"
            ));
        }
        if !without.is_empty() {
            told.push(format!(
                "the test part has no window of the series {without}"
            ));
        }
        told
    }

    /// The place of the series that an issue row is of.
    pub(super) fn series_of(&self, issue: usize) -> usize {
        let blocks = self.frame.layout.blocks();
        blocks.partition_point(|block| block.rows.end <= issue)
    }

    /// One entry a target. Gives the issue rows of each batch and their forecasts to `each`.
    pub(super) fn score(
        &self,
        forecaster: &dyn Forecaster,
        each: &mut dyn FnMut(&[usize], &Predictions) -> Result<()>,
    ) -> Result<Vec<Scored>> {
        let mut sums: Vec<Sums> = Vec::new();
        let issuer = forecaster.over(&self.frame)?;
        for issues in self.issues.chunks(BATCH) {
            let predictions = issuer.forecast(issues)?;
            ensure!(
                predictions.are_finite(),
                "a forecast of the test part is no number; look at the data with `krammerti check`"
            );
            if sums.is_empty() {
                let of = |target| Sums::new(target, self.horizon, &predictions.levels);
                sums = self.targets.iter().map(of).collect();
            }
            for (i, &issue) in issues.iter().enumerate() {
                let rows = issue + 1..=issue + self.horizon;
                let series = self.series_of(issue);
                for (place, (target, sums)) in self.targets.iter().zip(&mut sums).enumerate() {
                    let observed = &target.observed[rows.clone()];
                    sums.add(&predictions, (i, place), (target, series), observed);
                }
            }
            each(issues, &predictions)?;
        }
        let step = self.frame.step();
        let series = || self.frame.layout.blocks().iter().map(|block| &block.name);
        let scored = |(sums, target): (Sums, &Target<'_>)| {
            sums.scored(target, series(), step).with_context(|| {
                let name = &target.name;
                format!("{name} was nowhere observed after a window of the test part")
            })
        };
        sums.into_iter().zip(&self.targets).map(scored).collect()
    }
}

impl Sums {
    fn new(target: &Target<'_>, horizon: usize, levels: &[f64]) -> Self {
        let series = target.unscalings.len();
        let of_series = if series > 1 { series } else { 0 };
        let new = || OneSums::new(horizon, levels);
        Self {
            all: new(),
            coverage_by_lead: CoverageSums::new(levels)
                .map_or_else(Vec::new, |sums| vec![sums; horizon]),
            shares: target.capacities.as_ref().map(|_| new()),
            of_series: (0..of_series).map(|_| new()).collect(),
        }
    }

    /// Adds the forecast from one issue row of a target in one series, all by their places.
    fn add(
        &mut self,
        predictions: &Predictions,
        (issue, place): (usize, usize),
        (target, series): (&Target<'_>, usize),
        observed: &[f64],
    ) {
        let unscaling = target.unscalings[series];
        let values = |scaled: &[f32], capacity: f64| -> Vec<f64> {
            let original = |scaled: &f32| unscaling.original(*scaled) / capacity;
            scaled.iter().map(original).collect()
        };
        let means = predictions.mean_of(issue, place);
        let all = predictions.quantiles_of(issue, place);
        let levels = predictions.levels.len();
        let ends = |h: usize| [all[h * levels], all[(h + 1) * levels - 1]];
        let forecast = |capacity: f64| Given {
            mean: values(means, capacity),
            quantiles: values(all, capacity),
            rounding: match levels {
                0 => Vec::new(),
                _ => (0..means.len())
                    .map(|h| ends(h).map(|end| unscaling.rounding(end) / capacity))
                    .collect(),
            },
            observed: observed.iter().map(|value| value / capacity).collect(),
        };
        let given = forecast(1.0);
        self.all.add(&given);
        let leads = self.coverage_by_lead.iter_mut().enumerate();
        for (h, coverage) in leads.take(given.rounding.len()) {
            given.add_to(coverage, h);
        }
        if let Some(of_series) = self.of_series.get_mut(series) {
            of_series.add(&given);
        }
        if let (Some(shares), Some(capacities)) = (&mut self.shares, &target.capacities) {
            shares.add(&forecast(capacities[series]));
        }
    }

    /// None where nothing was observed.
    fn scored<'n>(
        self,
        target: &Target<'_>,
        series: impl Iterator<Item = &'n String>,
        step: Step,
    ) -> Option<Scored> {
        let mut scores = self.all.errors.scores(step)?;
        let by_lead = self.coverage_by_lead.iter();
        let by_lead = by_lead.filter_map(|sums| Some(sums.coverage()?.share));
        // Both leave out leads without any observation.
        for (lead, share) in scores.by_lead.iter_mut().zip(by_lead) {
            lead.coverage = Some(share);
        }
        let shares = self.shares.as_ref();
        scores.of_capacity = shares
            .and_then(|shares| shares.errors.scores(step))
            .map(|shares| shares.overall);
        let of_series = series.zip(&self.of_series).enumerate();
        let by_series = of_series.filter_map(|(place, (name, sums))| {
            let scores = sums.errors.scores(step)?.overall;
            let capacity = target.capacities.as_ref().map(|all| all[place]);
            Some(SeriesScores {
                name: name.clone(),
                scores,
                of_capacity: capacity.map(|capacity| scores.over(capacity)),
                coverage: sums.coverage.and_then(|sums| sums.coverage()),
                pinball: sums.pinball.losses(),
            })
        });
        Some(Scored {
            by_series: by_series.collect(),
            coverage: self.all.coverage.and_then(|sums| sums.coverage()),
            pinball: self.all.pinball.losses(),
            pinball_of_capacity: shares.map_or_else(Vec::new, |shares| shares.pinball.losses()),
            scores,
        })
    }
}

/// The forecast from one issue row, lead by lead, and what became, in one unit.
struct Given {
    mean: Vec<f64>,
    /// All of a lead, then those of the next.
    quantiles: Vec<f64>,
    /// Of the outermost quantiles of each lead.
    rounding: Vec<[f64; 2]>,
    observed: Vec<f64>,
}

impl Given {
    fn levels(&self) -> usize {
        self.quantiles.len() / self.mean.len().max(1)
    }

    /// What the quantiles of a lead are, which there are.
    fn add_to(&self, coverage: &mut CoverageSums, h: usize) {
        let levels = self.levels();
        let of_lead = &self.quantiles[h * levels..(h + 1) * levels];
        let ends = [of_lead[0], of_lead[levels - 1]];
        coverage.add(ends, self.rounding[h], self.observed[h]);
    }
}

impl OneSums {
    fn new(horizon: usize, levels: &[f64]) -> Self {
        Self {
            errors: ErrorSums::new(horizon),
            coverage: CoverageSums::new(levels),
            pinball: PinballSums::new(levels),
        }
    }

    fn add(&mut self, given: &Given) {
        let observed = || given.observed.iter().copied();
        self.errors.add(given.mean.iter().copied(), observed());
        let levels = given.levels();
        if levels == 0 {
            return;
        }
        let all = given.quantiles.chunks_exact(levels);
        for (quantiles, observed) in all.zip(observed()) {
            self.pinball.add(quantiles.iter().copied(), observed);
        }
        if let Some(coverage) = &mut self.coverage {
            (0..given.mean.len()).for_each(|h| given.add_to(coverage, h));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::data::{FrameColumn, Role, Scaler};
    use crate::model::Issuer;
    use crate::params::Bounds;
    use crate::time::Step;

    /// Forecasts 0, and counts how often it was given a frame.
    #[derive(Default)]
    struct Counting {
        frames: Cell<usize>,
    }

    struct Zero;

    impl Forecaster for Counting {
        fn over<'a>(&'a self, _: &'a Frame) -> Result<Box<dyn Issuer + 'a>> {
            self.frames.set(self.frames.get() + 1);
            Ok(Box::new(Zero))
        }
    }

    impl Issuer for Zero {
        fn forecast(&self, issues: &[usize]) -> Result<Predictions> {
            Ok(Predictions {
                targets: 1,
                horizon: 1,
                levels: Vec::new(),
                mean: vec![0.0; issues.len()],
                quantiles: Vec::new(),
            })
        }
    }

    #[test]
    fn a_model_is_given_the_series_once_however_many_windows_there_are() {
        let rows = 3 * BATCH;
        let columns = vec![FrameColumn::new("t".into(), Role::Target)];
        let scoring = Scoring {
            targets: vec![Target {
                name: "t".into(),
                unit: "m".into(),
                observed: vec![2.0; rows].into(),
                unscalings: vec![Unscaling::new(Scaler::IDENTITY, Bounds::default())],
                capacities: None,
            }],
            frame: Frame::single(0, Step::HOUR, columns, vec![2.0; rows]),
            horizon: 1,
            issues: (0..rows - 1).collect(),
            gaps: None,
            unknown: Vec::new(),
        };
        let model = Counting::default();
        let mut batches = Vec::new();
        let mut each = |issues: &[usize], _: &Predictions| {
            batches.push(issues.len());
            Ok(())
        };
        let scored = scoring.score(&model, &mut each).expect("scores");
        assert_eq!(batches, [BATCH, BATCH, BATCH - 1]);
        assert!((scored[0].scores.overall.rmse - 2.0).abs() < 1e-12);
        assert_eq!(model.frames.get(), 1);
    }
}
