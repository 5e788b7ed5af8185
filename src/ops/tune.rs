//! `krammerti tune`: a search over parameters of model and training.
//!
//! The journal of a study lies under `.krammerti/studies/`, named by what the study is about: data,
//! fixed parameters, search space and seed. So a search that was killed, or is asked for more
//! trials, goes on where it stopped, within a trial too, and one with another space is another study.
//! The output folder gets the finished study.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use rustix::fs::{FlockOperation, flock};
use serde_json::Value;

use super::checkpoint::{Keeper, Kept};
use super::inputs::Inputs;
use super::{Context, dataset, to_json, train};
use crate::artifact::Digest;
use crate::data::{Dataset, Frame, Part, Window};
use crate::event::{Event, Observer};
use crate::fs::{self, StagedFolder};
use crate::model::{
    Checkpoint, Epoch, Fault, Interrupted, Moment, Monitor, NeedsBackend, NoDevice, Wish,
};
use crate::params::{BASELINES, Contradiction, Dimension, ParamsError, ParamsFile, TuneParams};
use crate::pipeline::interrupted;
use crate::tune::{self, Finished, Outcome, Record, State, Study, Trial};

/// What stands before the names of parameters that no trial heeds.
const CORRECTION: &str = "model.correction";

/// A kind of model has no epochs to be compared by.
fn solved_at_once(kind: &str) -> Contradiction {
    Contradiction(format!(
        "`tune` is for nets, whose epochs it judges; a model of kind `{kind}` is solved at once: train it with some \
         values by --set, and compare"
    ))
}

/// Two trials beside each other that failed by no known fault of their points: the next ones would as well, and
/// the study be used up.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "trial {number} failed, as the one before did, by what may be no fault of its parameters, so the search ends and goes on with it when it is run again: {why}"
)]
struct FaultAgain {
    number: usize,
    why: String,
}

/// Runs the trials that a study still lacks, and writes it out.
pub fn tune(mut context: Context<'_>) -> Result<()> {
    let params = context
        .section("tune", context.params.tune.as_ref())?
        .clone();
    let model = context.section("model", context.params.model.as_ref())?;
    context.registry.family(model.kind())?;
    let path = context.input()?.clone();
    let inputs = Inputs::look([path.as_path()])?;
    let dataset = dataset::read_dataset(&path)?;
    // A fault that no trial could mend.
    train::check_bounds(model, &dataset)?;
    if !model.is_net() && !params.space.contains_key("model.kind") {
        bail!(solved_at_once(model.kind()));
    }
    check_space(context.params_file, &params.space)?;
    let frame = dataset.frame(&dataset.scalers(), 0)?;
    let longest_lookback = longest_lookback(&params);
    if let Some(window) = Window::new(longest_lookback, model.horizon, 1) {
        let split = dataset.meta().split;
        split
            .some_issues(Part::Validation, &frame, window)
            .with_context(|| {
                format!(
                    "tune.space: the longest model.lookback is {longest_lookback}, by whose windows all \
                     trials are judged"
                )
            })?;
    }
    inputs.are_as_they_were()?;
    let mut journal = Journal::open(&mut context, &params, &inputs)?;
    let had = journal.study.trials().len();
    if had > 0 {
        context.note(format!("going on after {had} finished trials"));
    }
    let (mut reason, mut fault_before) = (None, false);
    let objective = Objective {
        dataset: &dataset,
        frame: &frame,
        longest_lookback,
    };
    let mut refused = None;
    while journal.study.trials().len() < params.trials {
        let had_refused = refused.is_some();
        let trial = journal.study.ask_for(|point| {
            // A point may be impossible, such as a segment that does not divide the lookback.
            let read = context.params_file.with_values(point);
            let is_possible = read.is_ok();
            refused = refused.take().or(read.err());
            is_possible
        });
        if let Some(why) = refused.as_ref().filter(|_| !had_refused && trial.is_some()) {
            context.note(format!("not every point can be tried: {why}"));
        }
        let Some(trial) = trial else {
            used_up(&mut context, &journal.study, refused)?;
            break;
        };
        let kept = Kept::of_trial(&journal.header, &trial)?;
        let mut is_faulty = false;
        let outcome = match attempt(&mut context, &objective, &mut journal.study, &trial, &kept)? {
            Ok(outcome) => outcome,
            Err(Failure {
                why,
                is_fault: true,
            }) if fault_before => {
                bail!(FaultAgain {
                    number: trial.number,
                    why
                })
            }
            Err(Failure { why, is_fault }) => {
                context.note(format!("trial {}: {why}", trial.number));
                reason.get_or_insert(why);
                is_faulty = is_fault;
                Outcome::Failed
            }
        };
        fault_before = is_faulty;
        journal.tell(&trial, outcome)?;
        if let Err(error) = kept.remove() {
            context.warn(format!(
                "the checkpoint of trial {} stays: {error:#}",
                trial.number
            ));
        }
        tell_progress(&mut context, &journal.study, &trial, params.trials);
        // Since a trial has asked after them, signals do not kill.
        if let Some(signal) = interrupted() {
            bail!(signal);
        }
    }
    write_study(context, &journal, reason)
}

/// Says that no point is left to try; an error where there never was one.
fn used_up(context: &mut Context<'_>, study: &Study, refused: Option<ParamsError>) -> Result<()> {
    let tried = study.trials().len();
    match refused {
        Some(why) if tried == 0 => {
            return Err(why).context("no point was found that can be tried");
        }
        Some(_) => context.note(format!(
            "after {tried} trials no other point of tune.space was found that can be tried"
        )),
        None => context.note(format!(
            "tune.space is used up: no point of it is left after {tried} trials"
        )),
    }
    Ok(())
}

/// A study and the file that remembers it.
struct Journal {
    study: Study,
    /// Its first line: all that decides its trials.
    header: String,
    path: PathBuf,
    /// Two searches of one study would both write the same trial; the second waits.
    _held: std::fs::File,
}

impl Journal {
    fn open(context: &mut Context<'_>, params: &TuneParams, inputs: &Inputs) -> Result<Self> {
        let objective = fixed(context, inputs)?.to_string();
        let fresh = Study::new(params, objective.clone());
        let header = fresh.header().to_line();
        let name = format!("{}.jsonl", Digest::of(header.as_bytes()).short());
        let path = PathBuf::from(fs::private::STUDIES).join(name);
        fs::create_dir_all(fs::parent(&path))?;
        let held = fs::open_lock(&path.with_extension("lock"))?;
        if flock(&held, FlockOperation::NonBlockingLockExclusive).is_err() {
            context.note("waiting for another search of this study".to_owned());
            flock(&held, FlockOperation::LockExclusive).map_err(std::io::Error::from)?;
        }
        let what_to_do = || {
            let path = path.display();
            format!("the study {path} cannot be gone on with; to begin it again, remove that file")
        };
        let text = fs::read_if_exists(&path).with_context(what_to_do)?;
        let text = text.unwrap_or_default();
        let mut records = tune::parse(&text).with_context(what_to_do)?;
        // Those beyond are there for whoever asks for more again: what comes of so many is theirs alone.
        records.retain(
            |record| !matches!(record, Record::Trial(trial) if trial.number >= params.trials),
        );
        let study = Study::resume(params, objective, records).with_context(what_to_do)?;
        // A line that a crash cut off must not stand before the next one.
        let whole = tune::whole_lines(&text);
        let begin = if whole.is_empty() { &header } else { whole };
        fs::write_atomic(&path, begin.as_bytes())?;
        Ok(Self {
            study,
            header,
            path,
            _held: held,
        })
    }

    fn tell(&mut self, trial: &Trial, outcome: Outcome) -> Result<()> {
        let line = self.study.tell(trial.number, outcome)?.to_line();
        let mut file = fs::append(&self.path)?;
        file.write_all(line.as_bytes())?;
        Ok(file.sync_all()?)
    }
}

/// Refuses a space with a value that is no value of its parameter: every trial would fail by it. What does
/// not fit other values of a point is left to the draws.
fn check_space(file: &ParamsFile, space: &BTreeMap<String, Dimension>) -> Result<()> {
    for (key, dimension) in space {
        for value in outermost(dimension) {
            if let Some(kind) = BASELINES.into_iter().find(|kind| value == *kind)
                && key == "model.kind"
            {
                return Err(solved_at_once(kind)).context("tune.space: model.kind");
            }
            let point = BTreeMap::from([(key.clone(), value)]);
            match file.with_values(&point) {
                Err(ParamsError::Range { invalid, .. })
                    if invalid.key != *key || !invalid.always => {}
                Err(ParamsError::Syntax { message, .. }) => {
                    let hint = match dimension {
                        Dimension::Interval { integer: false, .. } => {
                            " (whole numbers need `integer: true`)"
                        }
                        _ => "",
                    };
                    let file = PathBuf::from(format!("tune.space: {key}{hint}"));
                    return Err(ParamsError::Syntax { file, message }.into());
                }
                Err(error) => return Err(error.into()),
                Ok(_) => {}
            }
        }
    }
    Ok(())
}

/// The values of a choice, or both ends.
fn outermost(dimension: &Dimension) -> Vec<Value> {
    match dimension {
        Dimension::Choice(values) => values.clone(),
        Dimension::Interval {
            low,
            high,
            integer: true,
            ..
        } => [*low, *high].map(|end| Value::from(end as i64)).to_vec(),
        Dimension::Interval { low, high, .. } => [*low, *high].map(Value::from).to_vec(),
    }
}

/// A digest of all that decides the value of a trial besides its point.
fn fixed(context: &Context<'_>, inputs: &Inputs) -> Result<Digest> {
    let varies = |name: &String| {
        context
            .params
            .tune
            .as_ref()
            .is_some_and(|tune| tune.space.contains_key(name))
    };
    let mut fixed: Vec<(String, String)> = ["model", "train"]
        .iter()
        .flat_map(|section| context.params_file.leaves(section))
        // A trial is not corrected.
        .filter(|(name, _)| !varies(name) && !name.starts_with(CORRECTION))
        .collect();
    fixed.sort();
    let sampler = context
        .params
        .tune
        .as_ref()
        .map(|tune| format!("{:?} {}", tune.sampler, tune.startup_trials));
    let version = env!("CARGO_PKG_VERSION");
    Ok(Digest::of(&serde_json::to_vec(&(
        inputs, fixed, sampler, version,
    ))?))
}

/// The rows that the model with the longest lookback of a space sees; 0 where all have the same.
fn longest_lookback(params: &TuneParams) -> usize {
    let whole = |value: &Value| value.as_u64().unwrap_or(0) as usize;
    match params.space.get("model.lookback") {
        Some(Dimension::Choice(values)) => values.iter().map(whole).max().unwrap_or(0),
        Some(Dimension::Interval { high, .. }) => *high as usize,
        None => 0,
    }
}

/// What every trial is trained on and judged by.
struct Objective<'a> {
    dataset: &'a Dataset,
    frame: &'a Frame,
    /// Only windows that all trials can forecast are judged by.
    longest_lookback: usize,
}

/// Why nothing came of a trial.
struct Failure {
    why: String,
    /// Whether it may be of the machine.
    is_fault: bool,
}

impl Failure {
    fn of_point(why: String) -> Self {
        Self {
            why,
            is_fault: false,
        }
    }

    fn of(error: &anyhow::Error) -> Self {
        Self {
            why: format!("{error:#}"),
            is_fault: error.is::<Fault>() || error.is::<std::io::Error>(),
        }
    }
}

/// What came of a trial, or why nothing did. Errors are those that are none of its point's.
fn attempt(
    context: &mut Context<'_>,
    objective: &Objective<'_>,
    study: &mut Study,
    trial: &Trial,
    kept: &Kept,
) -> Result<Result<Outcome, Failure>> {
    let params = context.params_file.with_values(&trial.point)?;
    let model = context.section("model", params.model.as_ref())?;
    let checkpoint = kept.read(context);
    let mut watch = Watch {
        observer: context.observer,
        study,
        number: trial.number,
        least_loss: f64::INFINITY,
        best: f64::INFINITY,
        pruned: false,
        keeper: Keeper::new(kept, params.train.checkpoint_minutes),
    };
    for epoch in checkpoint.iter().flat_map(|kept| &kept.history) {
        watch.epoch(epoch, params.train.epochs);
    }
    if watch.pruned {
        return Ok(Ok(Outcome::Pruned));
    }
    // A trial's value is the error of the net itself.
    let model = model.uncorrected().on(objective.dataset.meta().step);
    let fit = train::Fit {
        validation_lookback: objective.longest_lookback,
        resume: checkpoint.as_ref(),
        ..train::Fit::new(objective.dataset, objective.frame, &model, &params.train)
    };
    let fitted = fit.run(context.registry, &mut watch);
    let (best, pruned) = (watch.best, watch.pruned);
    match fitted {
        Err(error)
            if error.is::<NeedsBackend>()
                || error.is::<NoDevice>()
                || error.is::<Interrupted>() =>
        {
            Err(error)
        }
        Err(error) => Ok(Err(Failure::of(&error))),
        Ok(_) if pruned => Ok(Ok(Outcome::Pruned)),
        Ok(fitted) if fitted.history.is_empty() => Ok(Err(Failure::of_point(
            solved_at_once(model.kind()).to_string(),
        ))),
        Ok(_) => Ok(Ok(Outcome::Complete(best))),
    }
}

/// Follows a trial: its value is the best validation RMSE, and a hopeless one is given up.
struct Watch<'a> {
    observer: &'a mut dyn Observer,
    study: &'a mut Study,
    number: usize,
    least_loss: f64,
    best: f64,
    pruned: bool,
    keeper: Keeper<'a>,
}

impl Observer for Watch<'_> {
    fn event(&mut self, event: Event) {
        // The bar counts trials; what happens inside of one would only make it jump.
        if !matches!(event, Event::Progress { .. }) {
            self.observer.event(event);
        }
    }
}

impl Monitor for Watch<'_> {
    fn epoch(&mut self, epoch: &Epoch, _: usize) -> bool {
        // A GPU whose memory does not suffice begins anew, and what it came to before is thrown away.
        if epoch.epoch == 1 {
            self.least_loss = f64::INFINITY;
        }
        // The weights that are kept are those of the least loss.
        if epoch.validation_loss < self.least_loss {
            self.least_loss = epoch.validation_loss;
            self.best = epoch.validation_rmse;
        }
        self.pruned = self
            .study
            .should_prune(self.number, epoch.epoch, epoch.validation_rmse);
        !self.pruned
    }

    fn between(&mut self, moment: Moment) -> Wish {
        self.keeper.wish(moment)
    }

    fn keep(&mut self, checkpoint: Checkpoint) -> Result<()> {
        self.keeper.keep(&checkpoint, self.observer);
        Ok(())
    }
}

/// As a shell reads it.
fn word(text: &str) -> Cow<'_, str> {
    shlex::try_quote(text).unwrap_or(Cow::Borrowed(text))
}

fn tell_progress(context: &mut Context<'_>, study: &Study, trial: &Trial, of: usize) {
    let finished = study
        .trials()
        .find(|finished| finished.number == trial.number);
    let best = study.best().and_then(|best| best.value);
    let best = best.map_or_else(|| "none".to_owned(), |value| format!("{value:.4}"));
    let point: Vec<_> = trial
        .point
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    context.note(format!(
        "trial {}: {} ({})",
        trial.number,
        finished.map_or_else(String::new, ending),
        point.join(", ")
    ));
    context.observer.event(Event::Progress {
        stage: None,
        what: "trial".to_owned(),
        done: study.trials().len() as u64,
        total: of as u64,
        message: format!("trial {}/{of}  best {best}", study.trials().len()),
    });
}

/// What came of a trial.
fn ending(trial: &Finished) -> String {
    let last = trial.intermediate.last();
    match (trial.state, trial.value, last) {
        (State::Complete, Some(value), _) => format!("{value:.4}"),
        (State::Pruned, _, Some((epoch, value))) => {
            format!("pruned after epoch {epoch} at {value:.4}")
        }
        (State::Pruned, _, None) => "pruned, since its error is no number".to_owned(),
        (State::Complete | State::Failed, ..) => "failed".to_owned(),
    }
}

/// How many trials of a study have no value to be best by, in brackets; nothing where all have.
fn without_value(study: &Study) -> String {
    let counts = [(State::Failed, "failed"), (State::Pruned, "pruned")].map(|(state, how)| {
        let count = study.trials().filter(|trial| trial.state == state).count();
        (count > 0).then(|| format!("{count} {how}"))
    });
    match counts.into_iter().flatten().collect::<Vec<_>>() {
        none if none.is_empty() => String::new(),
        some => format!(" ({})", some.join(", ")),
    }
}

fn write_study(mut context: Context<'_>, journal: &Journal, reason: Option<String>) -> Result<()> {
    let Some(best) = journal.study.best() else {
        let path = journal.path.display();
        match reason {
            Some(reason) => bail!("no trial was completed; the first one failed: {reason}"),
            None => bail!(
                "no trial of this study was completed before; to try them again, remove {path}"
            ),
        }
    };
    let staged = StagedFolder::new(&context.out)?;
    staged.write("study.jsonl", journal.study.to_text().as_bytes())?;
    staged.write("best.json", &to_json(best)?)?;
    staged.commit()?;

    let overrides: Vec<String> = best
        .point
        .iter()
        .map(|(name, value)| format!("  --set {}\n", word(&format!("{name}={value}"))))
        .collect();
    let text = format!(
        "Best of {} trials{}: number {}, validation RMSE {:.4} (scaled)\n{}",
        journal.study.trials().len(),
        without_value(&journal.study),
        best.number,
        best.value.unwrap_or(f64::NAN),
        overrides.concat()
    );
    context.result(text, serde_json::to_value(best)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// What is said of a space beside a model.
    fn told(model: &str, space: &str) -> Option<String> {
        let text = format!(
            "model: {{lookback: 24, horizon: 6, {model}}}\ntune: {{trials: 3, space: {{{space}}}}}\n"
        );
        let (file, params) = ParamsFile::parse(Path::new("params.yaml"), &text, None, &[]).unwrap();
        let error = check_space(&file, &params.tune.unwrap().space).err()?;
        Some(format!("{error:#}"))
    }

    #[test]
    fn what_was_pruned_is_told_so() {
        let (_, params) = ParamsFile::parse(
            Path::new("params.yaml"),
            "tune: {trials: 9, startup_trials: 1, space: {train.learning_rate: {low: 0.1, high: 1}}}",
            None,
            &[],
        )
        .unwrap();
        let mut study = Study::new(&params.tune.unwrap(), "");
        let mut told = Vec::new();
        for (value, outcome) in [
            (0.2, Outcome::Complete(0.2)),
            (0.3, Outcome::Pruned),
            (f64::NAN, Outcome::Pruned),
            (0.1, Outcome::Failed),
        ] {
            assert_eq!(without_value(&study).contains("pruned"), told.len() > 1);
            let number = study.ask().unwrap().number;
            study.should_prune(number, 1, value);
            study.tell(number, outcome).unwrap();
            told.push(ending(study.trials().last().unwrap()));
        }
        let expected = [
            "0.2000",
            "pruned after epoch 1 at 0.3000",
            "pruned, since its error is no number",
            "failed",
        ];
        assert_eq!(told, expected);
        assert_eq!(without_value(&study), " (1 failed, 2 pruned)");
    }

    #[test]
    fn values_that_always_fail_are_refused() {
        let gru = "kind: gru, hidden: 8";
        for (space, expected) in [
            (
                "model.dropout: {low: 0.95, high: 1.5}",
                "tune.space: model.dropout: expected between 0 and 0.9, found 0.95",
            ),
            (
                "model.hidden: {choice: [0, 5000]}",
                "model.hidden: expected between 1 and 4096, found 0",
            ),
            (
                "train.learning_rate: {low: -1, high: 1}",
                "train.learning_rate: expected between 1e-9 and 10, found -1",
            ),
            (
                "model.lookback: {choice: [24, 200000]}",
                "model.lookback: expected between 1 and 100000",
            ),
            ("model.kind: {choice: [gru, lstn]}", "found lstn"),
            (
                "model.kind: {choice: [gru, ridge]}",
                "tune.space: model.kind: `tune` is for nets",
            ),
            (
                "train.batch: {low: 8, high: 64}",
                "whole numbers need `integer: true`",
            ),
            ("model.hiden: {choice: [8]}", "unknown field `hiden`"),
        ] {
            let told = told(gru, space).expect(space);
            assert!(told.contains(expected), "{space}: {told}");
        }
    }

    #[test]
    fn values_that_fail_beside_others_are_left_to_the_draws() {
        for (model, space) in [
            ("kind: gru", "model.segment: {choice: [1, 5, 6]}"),
            (
                "kind: gru",
                "model.linear_lags: {low: 1, high: 30, integer: true}",
            ),
            ("kind: gru", "model.lookback: {choice: [12, 24]}"),
            (
                "kind: gru, hidden: 8",
                "model.kind: {choice: [gru, linear]}",
            ),
            (
                "kind: linear",
                "model.kind: {choice: [gru]}, model.hidden: {choice: [8]}",
            ),
            // Between them lie some that can be.
            (
                "kind: segrnn, segment: 6",
                "model.hidden: {low: 5, high: 33, integer: true}",
            ),
            (
                "kind: linear",
                "model.kernel: {low: 4, high: 50, integer: true}",
            ),
        ] {
            assert_eq!(told(model, space), None, "{space}");
        }
    }
}
