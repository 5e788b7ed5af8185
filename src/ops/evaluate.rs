//! `krammerti evaluate`: a model against the baselines on the test part of a data set.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};

use super::plot_name::plot_name;
use super::{Context, dataset, model, to_json, train};
use crate::data::{Dataset, Frame, Part, Scaler, Window};
use crate::eval::{
    CoverageSums, ErrorSums, LeadScores, Metrics, ModelScores, PinballSums, Report, SeriesScores,
    table,
};
use crate::event::{Event, Observer};
use crate::fs::{self, StagedFolder};
use crate::model::{Epoch, Forecaster, ModelFile, Monitor, Predictions};
use crate::params::{BASELINES, EvaluateParams, SampleWeights, TrainParams};
use crate::report::{self, Curve};

/// The model is not as much better than a baseline as `evaluate.minimum_skill` asks.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "skill{} against {baseline} {}, evaluate.minimum_skill asks for {minimum}",
    of(.target.as_deref()), is(*.skill)
)]
pub struct GateFailed {
    /// The target, where the model has several.
    pub target: Option<String>,
    /// The baseline that is hardest to beat.
    pub baseline: String,
    /// The skill against it; −∞ where it makes no error at all.
    pub skill: f64,
    /// What was asked for.
    pub minimum: f64,
}

fn of(target: Option<&str>) -> String {
    target
        .map(|target| format!(" of {target}"))
        .unwrap_or_default()
}

fn is(skill: f64) -> String {
    if skill.is_finite() {
        format!("is {skill:.3}")
    } else {
        "is none, since it makes no error at all".to_owned()
    }
}

/// The file of the scores.
const METRICS: &str = "metrics.json";

/// Forecasts scored at a time; bounds the memory whatever the length of the test part.
const BATCH: usize = 2048;

/// Scores one model, and the baselines on the same windows.
pub fn evaluate(mut context: Context<'_>) -> Result<()> {
    let params = context.params.evaluate.clone();
    let folder = context.input()?.clone();
    let loaded = model::read_model(&folder, context.registry, params.device)?;
    let data = context.data()?.clone();
    let dataset = dataset::read_dataset(&data)?;
    loaded.check(&folder, &data, &dataset)?;
    let task = Scoring::new(&dataset, &loaded.file, params.stride)
        .with_context(|| data.display().to_string())?;

    if let Some(seen) = loaded.file.seen_of(&dataset) {
        context.warn(seen);
    }
    if let Some(without) = task.without_windows() {
        context.warn(without);
    }
    let windows = task.issues.len() as u64;
    let mut progress = |done: usize| {
        context.observer.event(Event::Progress {
            stage: None,
            what: "window".to_owned(),
            done: done as u64,
            total: windows,
            message: String::new(),
        });
    };
    let scored = task.score(&*loaded.forecaster, &mut progress)?;
    let baselines = score_baselines(&mut context, &dataset, &loaded.file, &task)?;
    let several = scored.len() > 1;
    let of_targets = loaded.file.target_columns().zip(scored).zip(baselines);
    let mut reports: Vec<(&str, Report)> = of_targets
        .map(|((column, scored), baselines)| {
            let kind = loaded.file.model.kind();
            let windows = task.issues.len();
            let report = Report::new(kind, &column.unit, windows, scored.scores, baselines)
                .of_target(several.then(|| column.name.clone()))
                .with_series(scored.by_series)
                .with_quantiles(
                    scored.coverage.and_then(|sums| sums.coverage()),
                    scored.pinball.losses(),
                );
            (column.name.as_str(), report)
        })
        .collect();
    // As they stand in `metrics.json`, and are told again from there.
    reports.sort_by_key(|(target, _)| *target);
    for (target, report) in &reports {
        if let Some(unscored) = unscored_leads(report, task.horizon, target) {
            context.warn(unscored);
        }
    }

    let staged = StagedFolder::new(&context.out)?;
    let (targets, reports): (Vec<&str>, Vec<Report>) = reports.into_iter().unzip();
    for ((target, report), plot) in targets.iter().zip(&reports).zip(plot_names(&reports)) {
        staged.write(&plot, skill_plot(report, target).as_bytes())?;
    }
    let text = told(&reports, &context.out);
    let itself = itself_over_again(&loaded.file, &params);
    let gate = params
        .minimum_skill
        .map(|least| hold_gate(&reports, &itself, least));
    let metrics = Metrics::of(reports);
    staged.write(METRICS, &to_json(&metrics)?)?;
    staged.commit()?;

    context.result(text, serde_json::to_value(&metrics)?);
    gate.unwrap_or(Ok(()))
}

/// The baselines that are this very model, fitted to the data at hand: no gate can be held against them.
fn itself_over_again(file: &ModelFile, params: &EvaluateParams) -> Vec<&'static str> {
    let is_model = |kind: &&str| {
        let baseline = file.model.baseline(kind, params.ridge_lags);
        baseline.is_some_and(|baseline| baseline.architecture == file.model.architecture)
    };
    let corrected = file.model.correction.is_some();
    let kinds = BASELINES.into_iter().filter(is_model);
    kinds.filter(|_| !corrected).collect()
}

/// The scores of all baselines by their kind, one entry a target.
fn score_baselines(
    context: &mut Context<'_>,
    dataset: &Dataset,
    file: &ModelFile,
    task: &Scoring<'_>,
) -> Result<Vec<BTreeMap<String, ModelScores>>> {
    let params = context.params.evaluate.clone();
    let usual = || BASELINES.map(str::to_owned).to_vec();
    let kinds = params.baselines.clone().unwrap_or_else(usual);
    // Solved at once, on every window; of `train` nothing else touches them.
    let train_params = TrainParams {
        stride: 1,
        sample_weights: SampleWeights::default(),
        ..context.params.train.clone()
    };
    let mut baselines = vec![BTreeMap::new(); task.targets.len()];
    for kind in &kinds {
        let Some(baseline) = file.model.baseline(kind, params.ridge_lags) else {
            bail!("no baseline is named {kind}");
        };
        let fit = train::Fit::new(dataset, &task.frame, &baseline, &train_params);
        let fitted = match fit.run(context.registry, &mut Silent) {
            Ok(fitted) => fitted,
            // Nobody asked for this one by its name.
            Err(error) if params.baselines.is_none() => {
                context.warn(format!("without the baseline {kind}: {error:#}"));
                continue;
            }
            Err(error) => {
                let told = format!("baseline {kind}, which evaluate.baselines may leave out");
                return Err(error.context(told));
            }
        };
        let scored = task.score(&*fitted.forecaster, &mut |_| {})?;
        for (of_target, scored) in baselines.iter_mut().zip(scored) {
            of_target.insert(kind.clone(), scored.scores);
        }
    }
    Ok(baselines)
}

/// What an earlier evaluation found, as it was told then, from what it left in a folder of a project.
pub fn evaluated(root: &Path, out: &Path) -> Result<Event> {
    let bytes = fs::read(&root.join(out).join(METRICS))?;
    let metrics: Metrics = serde_json::from_slice(&bytes)?;
    Ok(Event::Result {
        stage: None,
        text: told(&metrics.reports(), out),
        data: serde_json::from_slice(&bytes)?,
    })
}

/// The tables of all targets, each with the file of its plot.
fn told(reports: &[Report], out: &Path) -> String {
    let texts = reports
        .iter()
        .zip(plot_names(reports))
        .map(|(report, plot)| {
            let (table, plot) = (table(report), out.join(plot));
            format!("{}\nPlot: {}\n", table.trim_end(), plot.display())
        });
    texts.collect::<Vec<_>>().join("\n")
}

fn plot_names(reports: &[Report]) -> Vec<String> {
    let mut used = BTreeSet::new();
    let names = reports.iter().map(|report| {
        let target = report.target.as_deref().unwrap_or_default();
        plot_name("skill", &[target], &mut used)
    });
    names.collect()
}

/// What is to be said where nothing was observed at some leads, which the report then has not.
fn unscored_leads(report: &Report, horizon: usize, target: &str) -> Option<String> {
    let scored = report.by_lead.len();
    (scored < horizon).then(|| {
        format!(
            "{target} was nowhere observed at {} of the {horizon} leads of these windows, so they have no \
             score; another evaluate.stride may meet them",
            horizon - scored
        )
    })
}

/// Every baseline but those named must be beaten by so much, of every target. Told is where it is worst.
fn hold_gate(reports: &[Report], but: &[&str], minimum: f64) -> Result<()> {
    let of_target = |report: &Report| {
        let mut others = report.clone();
        others
            .baselines
            .retain(|name, _| !but.contains(&name.as_str()));
        let (baseline, skill) = others.hardest()?;
        Some(GateFailed {
            target: report.target.clone(),
            baseline: baseline.to_owned(),
            skill,
            minimum,
        })
    };
    let all = reports.iter().filter_map(of_target);
    match all.min_by(|a, b| a.skill.total_cmp(&b.skill)) {
        Some(worst) if worst.skill >= minimum => Ok(()),
        Some(worst) => Err(worst.into()),
        None => bail!("there is no baseline to hold evaluate.minimum_skill against"),
    }
}

/// The windows of the test part, and how to get from scaled forecasts to errors.
struct Scoring<'a> {
    targets: Vec<Target<'a>>,
    /// As the model scales, for the baselines as well: forecasts are taken back by one scaler.
    frame: Frame,
    horizon: usize,
    issues: Vec<usize>,
}

/// What the forecasts of a target are held against.
struct Target<'a> {
    name: String,
    /// In its own unit, where it was observed.
    observed: Cow<'a, [f64]>,
    scaler: Scaler,
}

/// How the forecasts of a target are.
struct Scored {
    scores: ModelScores,
    by_series: Vec<SeriesScores>,
    coverage: Option<CoverageSums>,
    pinball: PinballSums,
}

/// The same in the making.
struct Sums {
    errors: ErrorSums,
    /// Of each series, where there are several.
    of_series: Vec<ErrorSums>,
    coverage: Option<CoverageSums>,
    pinball: PinballSums,
}

impl<'a> Scoring<'a> {
    fn new(dataset: &'a Dataset, file: &ModelFile, stride: usize) -> Result<Self> {
        let frame = dataset.frame(&file.scalers(), 0)?;
        let (lookback, horizon) = (file.model.lookback, file.model.horizon);
        let Some(window) = Window::new(lookback, horizon, stride) else {
            bail!("lookback, horizon and stride must not be 0");
        };
        let split = dataset.meta().split;
        let issues = split.some_issues(Part::Test, &frame, window)?;
        let observed = dataset.observed_targets().into_iter();
        let targets = observed
            .zip(file.target_columns())
            .map(|(observed, column)| Target {
                name: column.name.clone(),
                observed,
                scaler: column.scaler,
            });
        Ok(Self {
            targets: targets.collect(),
            frame,
            horizon,
            issues,
        })
    }

    /// What is to be said of series that none of the windows is of.
    fn without_windows(&self) -> Option<String> {
        let has_some = |rows: &Range<usize>| {
            let first = self.issues.partition_point(|&issue| issue < rows.start);
            self.issues
                .get(first)
                .is_some_and(|&issue| issue < rows.end)
        };
        let blocks = self.frame.layout.blocks().iter();
        let without: Vec<&str> = blocks
            .filter(|block| !has_some(&block.rows))
            .map(|block| block.name.as_str())
            .collect();
        let names = without.join(", ");
        (!without.is_empty()).then(|| format!("the test part has no window of the series {names}"))
    }

    /// One entry a target. Tells after each batch how many windows are done.
    fn score(
        &self,
        forecaster: &dyn Forecaster,
        told: &mut dyn FnMut(usize),
    ) -> Result<Vec<Scored>> {
        let mut sums: Vec<Sums> = Vec::new();
        let mut done = 0;
        let issuer = forecaster.over(&self.frame)?;
        for issues in self.issues.chunks(BATCH) {
            let predictions = issuer.forecast(issues)?;
            ensure!(
                predictions.are_finite(),
                "a forecast of the test part is no number; look at the data with `krammerti check`"
            );
            let blocks = self.frame.layout.blocks();
            sums.resize_with(self.targets.len(), || {
                Sums::new(self.horizon, &predictions.levels, blocks.len())
            });
            for (i, &issue) in issues.iter().enumerate() {
                let rows = issue + 1..=issue + self.horizon;
                let series = blocks.partition_point(|block| block.rows.end <= issue);
                for (place, (target, sums)) in self.targets.iter().zip(&mut sums).enumerate() {
                    let observed = &target.observed[rows.clone()];
                    let original = |scaled: &f32| target.scaler.inverse(f64::from(*scaled));
                    sums.add(&predictions, i, place, original, observed);
                    if let Some(of_series) = sums.of_series.get_mut(series) {
                        let mean = predictions.mean_of(i, place).iter().map(original);
                        of_series.add(mean, observed.iter().copied());
                    }
                }
            }
            done += issues.len();
            told(done);
        }
        let scored = |(sums, target): (Sums, &Target<'_>)| {
            let scores = sums.errors.scores(self.frame.step());
            let scores = scores.with_context(|| {
                let name = &target.name;
                format!("{name} was nowhere observed after a window of the test part")
            })?;
            let of_series = self.frame.layout.blocks().iter().zip(sums.of_series);
            let by_series = of_series.filter_map(|(block, errors)| {
                Some(SeriesScores {
                    name: block.name.clone(),
                    scores: errors.scores(self.frame.step())?.overall,
                })
            });
            Ok(Scored {
                scores,
                by_series: by_series.collect(),
                coverage: sums.coverage,
                pinball: sums.pinball,
            })
        };
        sums.into_iter().zip(&self.targets).map(scored).collect()
    }
}

impl Sums {
    fn new(horizon: usize, levels: &[f64], series: usize) -> Self {
        let of_series = if series > 1 { series } else { 0 };
        Self {
            errors: ErrorSums::new(horizon),
            of_series: (0..of_series).map(|_| ErrorSums::new(horizon)).collect(),
            coverage: CoverageSums::new(levels),
            pinball: PinballSums::new(levels),
        }
    }

    /// Adds the forecast of one target from one issue row, both by their places.
    fn add(
        &mut self,
        predictions: &Predictions,
        issue: usize,
        target: usize,
        original: impl Fn(&f32) -> f64,
        observed: &[f64],
    ) {
        let mean = predictions.mean_of(issue, target);
        let pairs = observed.iter().copied();
        self.errors.add(mean.iter().map(&original), pairs);
        let levels = predictions.levels.len();
        if levels == 0 {
            return;
        }
        let all = predictions.quantiles_of(issue, target);
        for (quantiles, &observed) in all.chunks_exact(levels).zip(observed) {
            self.pinball.add(quantiles.iter().map(&original), observed);
            if let Some(coverage) = &mut self.coverage {
                let (low, high) = (&quantiles[0], &quantiles[levels - 1]);
                coverage.add(original(low), original(high), observed);
            }
        }
    }
}

fn skill_plot(report: &Report, target: &str) -> String {
    let curve = |name: &str, by_lead: &[LeadScores], baseline| Curve {
        name: name.to_owned(),
        rmse: by_lead.iter().map(|lead| lead.scores.rmse).collect(),
        baseline,
    };
    let mut curves = vec![curve(&report.model, &report.by_lead, false)];
    let baselines = report.baselines.iter();
    curves
        .extend(baselines.map(|(name, scores)| curve(&report.label(name), &scores.by_lead, true)));
    let leads: Vec<f64> = report.by_lead.iter().map(|lead| lead.lead_h).collect();
    let title = format!("{target}: RMSE by lead on the test part");
    report::skill_plot(&title, &report.unit, &leads, &curves)
}

/// Baselines are fitted in a moment; nobody needs to hear of it.
struct Silent;

impl Observer for Silent {
    fn event(&mut self, _: Event) {}
}

impl Monitor for Silent {
    fn epoch(&mut self, _: &Epoch, _: usize) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::data::{FrameColumn, Role};
    use crate::model::Issuer;
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
        let columns = vec![FrameColumn {
            name: "t".into(),
            role: Role::Target,
        }];
        let scoring = Scoring {
            targets: vec![Target {
                name: "t".into(),
                observed: vec![2.0; rows].into(),
                scaler: Scaler::IDENTITY,
            }],
            frame: Frame::single(0, Step::HOUR, columns, vec![2.0; rows]),
            horizon: 1,
            issues: (0..rows - 1).collect(),
        };
        let model = Counting::default();
        let mut told = Vec::new();
        let scored = scoring
            .score(&model, &mut |done| told.push(done))
            .expect("scores");
        assert_eq!(told, [BATCH, 2 * BATCH, rows - 1]);
        assert!((scored[0].scores.overall.rmse - 2.0).abs() < 1e-12);
        assert_eq!(model.frames.get(), 1);
    }
}
