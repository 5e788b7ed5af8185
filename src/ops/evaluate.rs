//! `krammerti evaluate`: a model against the baselines on the test part of a data set.

mod forecasts;
mod judgement;
mod scoring;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use self::forecasts::ForecastFile;
use self::scoring::{Scored, Scoring};
use super::plot_name::plot_name;
use super::{Context, model, to_json, train};
use crate::data::Dataset;
use crate::eval::{LeadScores, Metrics, ModelScores, Report, table};
use crate::event::{Event, Observer};
use crate::fs::{self, StagedFolder};
use crate::model::{Epoch, Forecaster, ModelFile, Monitor, Predictions};
use crate::params::{BASELINES, Bounds, EvaluateParams, SampleWeights, TrainParams};
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

/// Scores one model, and the baselines on the same windows.
pub fn evaluate(mut context: Context<'_>) -> Result<()> {
    let params = context.params.evaluate.clone();
    let folder = context.input()?.clone();
    let loaded = model::read_model(&folder, context.registry, params.device)?;
    let data = context.data()?.clone();
    let (dataset, odd) = loaded.read_dataset(&folder, &data)?;
    for odd in odd {
        context.warn(odd);
    }
    let task = Scoring::new(&dataset, &loaded.file, params.stride)
        .with_context(|| data.display().to_string())?;

    if let Some(seen) = loaded.file.seen_of(&dataset) {
        context.warn(seen);
    }
    if let Some(gaps) = &task.gaps {
        context.warn(gaps.to_string());
    }
    for without in task.without_windows() {
        context.warn(without);
    }
    let staged = StagedFolder::new(&context.out)?;
    let scored = score_model(&mut context, &task, &*loaded.forecaster, &staged)?;
    let baselines = score_baselines(&mut context, &dataset, &loaded.file, &task)?;
    let mut reports = reports_of(&loaded.file, &task, scored, baselines);
    // As they stand in `metrics.json`, and are told again from there.
    reports.sort_by_key(|(target, _)| *target);
    for (target, report) in &reports {
        if let Some(unscored) = unscored_leads(report, task.horizon, target) {
            context.warn(unscored);
        }
    }
    let apart = judgement::apart(&task.issues, task.horizon);
    let bounds = &loaded.file.model.bounds;
    let has_bounds = |target: &str| bounds.of(target) != Bounds::default();
    let odd = [
        judgement::beaten_by_persistence(&reports),
        judgement::bands_that_do_not_hold(&reports, apart, has_bounds),
    ];
    for odd in odd.into_iter().flatten() {
        context.warn(odd);
    }

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

/// Scores it, tells how far it has come, and writes its forecasts where they are asked for.
fn score_model(
    context: &mut Context<'_>,
    task: &Scoring<'_>,
    forecaster: &dyn Forecaster,
    staged: &StagedFolder,
) -> Result<Vec<Scored>> {
    let mut kept = (context.params.evaluate.forecasts).then(|| ForecastFile::new(task));
    let mut done = 0;
    let mut each = |issues: &[usize], predictions: &Predictions| {
        if let Some(file) = &mut kept {
            file.add(issues, predictions, staged)?;
        }
        done += issues.len() as u64;
        context.observer.event(Event::Progress {
            stage: None,
            what: "window".to_owned(),
            done,
            total: task.issues.len() as u64,
            message: String::new(),
        });
        Ok(())
    };
    let scored = task.score(forecaster, &mut each)?;
    if let Some(file) = kept {
        file.finish(staged)?;
    }
    Ok(scored)
}

/// The report of each target, with its name.
fn reports_of<'a>(
    file: &'a ModelFile,
    task: &Scoring<'_>,
    scored: Vec<Scored>,
    baselines: Vec<BTreeMap<String, ModelScores>>,
) -> Vec<(&'a str, Report)> {
    let several = scored.len() > 1;
    let of_targets = file.target_columns().zip(scored).zip(baselines);
    let reports = of_targets.map(|((column, scored), baselines)| {
        let (kind, windows) = (file.model.kind(), task.issues.len());
        let report = Report::new(kind, &column.unit, windows, scored.scores, baselines)
            .of_target(several.then(|| column.name.clone()))
            .with_series(scored.by_series)
            .with_quantiles(scored.coverage, scored.pinball, scored.pinball_of_capacity);
        (column.name.as_str(), report)
    });
    reports.collect()
}

/// The baselines that are this very model, fitted to the data at hand: no gate can be held against them.
fn itself_over_again(file: &ModelFile, params: &EvaluateParams) -> Vec<&'static str> {
    let is_model = |kind: &&str| {
        let baseline = (file.model).baseline(kind, params.ridge_lags, params.season);
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
        let Some(baseline) = (file.model).baseline(kind, params.ridge_lags, params.season) else {
            bail!("no baseline is named {kind}");
        };
        let fit = train::Fit {
            // As the frame is scaled: by the model.
            scalers: file.target_scalers(),
            ..train::Fit::new(dataset, &task.frame, &baseline, &train_params)
        };
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
        let scored = task.score(&*fitted.forecaster, &mut |_, _| Ok(()))?;
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
