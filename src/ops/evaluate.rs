//! `krammerti evaluate`: a model against the baselines on the test part of a data set.

use std::borrow::Cow;
use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};

use super::{Context, dataset, model, to_json, train};
use crate::data::{Dataset, Frame, Part, Scaler, Window};
use crate::eval::{CoverageSums, ErrorSums, LeadScores, ModelScores, PinballSums, Report, table};
use crate::event::{Event, Observer};
use crate::fs::StagedFolder;
use crate::model::{Epoch, Forecaster, Monitor, Predictions};
use crate::params::{SampleWeights, TrainParams};
use crate::report::{self, Curve};

/// The model is not as much better than a baseline as `evaluate.minimum_skill` asks.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("skill against {baseline} is {skill:.3}, evaluate.minimum_skill asks for {minimum}")]
pub struct GateFailed {
    /// The baseline that is hardest to beat.
    pub baseline: String,
    /// The skill against it.
    pub skill: f64,
    /// What was asked for.
    pub minimum: f64,
}

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

    let windows = task.issues.len() as u64;
    let mut told = |done: usize| {
        context.observer.event(Event::Progress {
            stage: None,
            what: "window".to_owned(),
            done: done as u64,
            total: windows,
            message: String::new(),
        });
    };
    let scored = task.score(&*loaded.forecaster, &mut told)?;
    // Baselines are solved at once, on every window; of `train` nothing else touches them.
    let train_params = TrainParams {
        stride: 1,
        sample_weights: SampleWeights::default(),
        ..context.params.train.clone()
    };
    let mut baselines = BTreeMap::new();
    for kind in &params.baselines {
        let Some(baseline) = loaded.file.model.baseline(kind, params.ridge_lags) else {
            bail!("no baseline is named {kind}");
        };
        let fitted = train::fit(
            context.registry,
            &dataset,
            &task.frame,
            &baseline,
            &train_params,
            &mut Silent,
        )
        .with_context(|| format!("baseline {kind}"))?;
        baselines.insert(
            kind.clone(),
            task.score(&*fitted.forecaster, &mut |_| {})?.scores,
        );
    }
    let unit = loaded.file.unit().to_owned();
    let report = Report::new(
        loaded.file.model.kind(),
        unit.clone(),
        task.issues.len(),
        scored.scores,
        baselines,
    )
    .with_quantiles(
        scored.coverage.and_then(|sums| sums.coverage()),
        scored.pinball.losses(),
    );

    let staged = StagedFolder::new(&context.out)?;
    staged.write("metrics.json", &to_json(&report)?)?;
    staged.write(
        "skill.svg",
        skill_plot(&report, &loaded.file.target, &unit).as_bytes(),
    )?;
    staged.commit()?;

    let text = format!(
        "{}\nPlot: {}\n",
        table(&report).trim_end(),
        context.out.join("skill.svg").display()
    );
    context.result(text, serde_json::to_value(&report)?);
    match params.minimum_skill {
        Some(minimum) => hold_gate(&report, minimum),
        None => Ok(()),
    }
}

/// Every baseline must be beaten by so much; one whose skill is no number is not.
fn hold_gate(report: &Report, minimum: f64) -> Result<()> {
    let unknown = report
        .baselines
        .keys()
        .find(|name| !report.skill.contains_key(*name));
    let worst = unknown
        .map(|name| (name.as_str(), f64::NAN))
        .or_else(|| report.least_skill());
    match worst {
        Some((_, skill)) if skill >= minimum => Ok(()),
        Some((baseline, skill)) => Err(GateFailed {
            baseline: baseline.to_owned(),
            skill,
            minimum,
        }
        .into()),
        None => bail!("there is no baseline to hold evaluate.minimum_skill against"),
    }
}

/// The windows of the test part, and how to get from scaled forecasts to errors.
struct Scoring<'a> {
    /// The target in its own unit, where it was observed.
    observed: Cow<'a, [f64]>,
    /// As the model scales, for the baselines as well: forecasts are taken back by one scaler.
    frame: Frame,
    scaler: Scaler,
    horizon: usize,
    issues: Vec<usize>,
}

struct Scored {
    scores: ModelScores,
    coverage: Option<CoverageSums>,
    pinball: PinballSums,
}

impl<'a> Scoring<'a> {
    fn new(dataset: &'a Dataset, file: &crate::model::ModelFile, stride: usize) -> Result<Self> {
        let frame = dataset.frame(&file.scalers(), 0)?;
        let (lookback, horizon) = (file.model.lookback, file.model.horizon);
        let Some(window) = Window::new(lookback, horizon, stride) else {
            bail!("lookback, horizon and stride must not be 0");
        };
        let issues = dataset.meta().split.issues(Part::Test, &frame, window);
        if issues.is_empty() {
            bail!("the test part has no window of {lookback} + {horizon} complete rows");
        }
        Ok(Self {
            observed: dataset.observed_target(),
            frame,
            scaler: file.target_scaler(),
            horizon,
            issues,
        })
    }

    /// Tells after each batch how many windows are done.
    fn score(&self, forecaster: &dyn Forecaster, told: &mut dyn FnMut(usize)) -> Result<Scored> {
        let mut errors = ErrorSums::new(self.horizon);
        let mut quantiles: Option<(PinballSums, Option<CoverageSums>)> = None;
        let mut done = 0;
        for issues in self.issues.chunks(BATCH) {
            let predictions = forecaster.forecast(&self.frame, issues)?;
            let (pinball, coverage) = quantiles.get_or_insert_with(|| {
                (
                    PinballSums::new(&predictions.levels),
                    CoverageSums::new(&predictions.levels),
                )
            });
            for (i, &issue) in issues.iter().enumerate() {
                self.add(
                    &predictions,
                    i,
                    issue,
                    &mut errors,
                    pinball,
                    coverage.as_mut(),
                );
            }
            done += issues.len();
            told(done);
        }
        let step = self.frame.step();
        let (Some(scores), Some((pinball, coverage))) = (errors.scores(step), quantiles) else {
            bail!("no forecast could be compared with an observation");
        };
        Ok(Scored {
            scores,
            coverage,
            pinball,
        })
    }

    fn add(
        &self,
        predictions: &Predictions,
        i: usize,
        issue: usize,
        errors: &mut ErrorSums,
        pinball: &mut PinballSums,
        mut coverage: Option<&mut CoverageSums>,
    ) {
        let observed = &self.observed[issue + 1..=issue + self.horizon];
        let original = |scaled: &f32| self.scaler.inverse(f64::from(*scaled));
        let mean = &predictions.mean[i * self.horizon..(i + 1) * self.horizon];
        errors.add(mean.iter().map(original), observed.iter().copied());
        let levels = predictions.levels.len();
        if levels == 0 {
            return;
        }
        let all =
            &predictions.quantiles[i * self.horizon * levels..(i + 1) * self.horizon * levels];
        for (quantiles, &observed) in all.chunks_exact(levels).zip(observed) {
            pinball.add(quantiles.iter().map(original), observed);
            if let Some(coverage) = coverage.as_deref_mut() {
                coverage.add(
                    original(&quantiles[0]),
                    original(&quantiles[levels - 1]),
                    observed,
                );
            }
        }
    }
}

fn skill_plot(report: &Report, target: &str, unit: &str) -> String {
    let curve = |name: &str, by_lead: &[LeadScores], baseline| Curve {
        name: name.to_owned(),
        rmse: by_lead.iter().map(|lead| lead.scores.rmse).collect(),
        baseline,
    };
    let mut curves = vec![curve(&report.model, &report.by_lead, false)];
    let baselines = report.baselines.iter();
    curves.extend(baselines.map(|(name, scores)| curve(name, &scores.by_lead, true)));
    let leads: Vec<f64> = report.by_lead.iter().map(|lead| lead.lead_h).collect();
    let title = format!("{target}: RMSE by lead on the test part");
    report::skill_plot(&title, unit, &leads, &curves)
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
