//! `krammerti train`: a data set to a model.

mod bar;

use std::ops::Range;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use super::checkpoint::{Keeper, Kept};
use super::inputs::Inputs;
use super::sample_weights::{effective, sample_weights};
use super::series_sizes::unequal;
use super::training_log::{Measured, TrainingLog};
use super::{Context, dataset, model};
use crate::data::{Dataset, FewComplete, Frame, Part, Scaler, Window};
use crate::event::{Event, Observer};
use crate::model::{
    Checkpoint, Epoch, FitTask, Fitted, ModelFile, Moment, Monitor, Registry, Weights, Wish,
    uncorrected, unit_of_errors,
};
use crate::params::{
    Architecture, Contradiction, Distribution, ModelParams, SampleWeights, TrainParams, Values,
};
use crate::pipeline::{differences, interrupted};

/// A bound of shares beyond this is meant in the unit of the target.
const FAR_BEYOND_CAPACITY: f64 = 10.0;
/// Shares nearer to 0 or 1 are alike to a beta distribution, as what they are expected to be near to.
const NEAR_A_BOUND: f64 = 0.02;
/// Windows that are too few to decide anything well.
const FEW: usize = 50;

/// Trains the model of the section `model` as the section `train` says.
pub fn train(mut context: Context<'_>) -> Result<()> {
    let params = context
        .section("model", context.params.model.as_ref())?
        .clone();
    // Before any data is read: where the back end is needed, it starts over from here.
    context.registry.family(params.kind())?;
    let path = context.input()?.clone();
    let warm_start = context.warm_start.clone();
    let inputs = Inputs::look(
        [Some(path.as_path()), warm_start.as_deref()]
            .into_iter()
            .flatten(),
    )?;
    let dataset = dataset::read_dataset(&path)?;
    let params = params.on(dataset.meta().step);
    let (spread, unit) = unit_of_errors(&dataset);
    // As a person writes it: a share has none.
    let unit = if unit == "1" {
        String::new()
    } else {
        format!(" {unit}")
    };
    let unit = unit.as_str();
    check_bounds(&params, &dataset)?;
    let odd = beyond_the_model(&params, &dataset);
    for odd in odd.into_iter().chain(unequal(&params, &dataset)) {
        context.warn(odd);
    }
    let frame = dataset.frame(&dataset.scalers(), 0)?;
    let of_training = || format!("training on {}", path.display());
    let warm = match &warm_start {
        Some(folder) => Some(warm_model(folder, &params, &dataset, &path)?),
        None => None,
    };
    let (warm, warm_until) = warm.unzip();
    inputs.are_as_they_were()?;
    let kept = Kept::of(&context, &inputs)?;
    let checkpoint = kept.read(&mut context);
    let train = &context.params.train;
    let fit = Fit {
        resume: checkpoint.as_ref(),
        warm_start: warm.as_ref(),
        ..Fit::new(&dataset, &frame, &params, train)
    };
    let task = fit.task().with_context(of_training)?;
    for odd in task.few_windows() {
        context.warn(odd);
    }
    let past = checkpoint.as_ref().map_or(&[][..], |kept| &kept.history);
    let log = TrainingLog::begin(&context.out, past);
    let mut monitor = Told::new(context.observer, log, task.train.len(), spread, unit);
    monitor.keeper = Some(Keeper::new(&kept, train.checkpoint_minutes));
    let fitted = task
        .fit(context.registry, &mut monitor)
        .with_context(of_training)?;
    drop(monitor);
    let persistence = bar::rmse_of_persistence(&frame, &task.validation, params.horizon);
    let persistence = persistence.map(|rmse| rmse * spread);
    let file = ModelFile::new(&dataset, &params, &fitted.history)
        .begun_with(warm_until.flatten())
        .beside(persistence);
    let write = || model::write_model(&context.out, &file, &fitted.weights, &fitted.history);
    with_room(write, || kept.remove())?;
    // Whoever told us to end takes no result any more; the next try finds it all done.
    if interrupted().is_none()
        && let Err(error) = kept.remove()
    {
        context.warn(format!("the checkpoint of the training stays: {error:#}"));
    }
    let (kept, rmse) = if let (Some(best), Some(last)) = (file.best, fitted.history.last()) {
        let kept = match best.epoch {
            0 => "kept the weights that it began with: no epoch was better, ".to_owned(),
            epoch => format!("kept epoch {epoch} of {}, ", last.epoch),
        };
        (kept, Some(best.validation_rmse))
    } else {
        let rmse = bar::rmse(&*fitted.forecaster, &frame, &task.validation)?;
        (String::new(), rmse.map(|rmse| rmse * spread))
    };
    if let Some(rmse) = rmse {
        let persistence = persistence.filter(|_| params.architecture != Architecture::Persistence);
        bar::tell(&mut context, &kept, rmse, persistence, unit);
    }
    Ok(())
}

/// Writes a model, on a full disk once more in the room of the checkpoint, which is larger. That one is old where
/// there was no room for the last ones: to go on from it might be to train it all again, to the same end.
fn with_room(write: impl Fn() -> Result<()>, free: impl FnOnce() -> Result<()>) -> Result<()> {
    let is_full = |error: &std::io::Error| error.kind() == std::io::ErrorKind::StorageFull;
    match write() {
        Err(error) if error.downcast_ref().is_some_and(is_full) => {
            free()?;
            write()
        }
        written => written,
    }
}

/// Refuses bounds of what is no target, and targets without those that their distribution needs: which
/// targets there are only the data set knows.
pub(super) fn check_bounds(model: &ModelParams, dataset: &Dataset) -> Result<()> {
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
fn beyond_the_model(model: &ModelParams, dataset: &Dataset) -> Vec<String> {
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

/// The weights to begin with, and until when they have seen; an error where they are of another shape.
fn warm_model(
    folder: &Path,
    params: &ModelParams,
    dataset: &Dataset,
    data: &Path,
) -> Result<(Weights, Option<String>)> {
    if !params.is_net() {
        bail!(Contradiction(format!(
            "--warm-start is for nets: a model of kind `{}` is solved at once",
            params.kind()
        )));
    }
    let file = model::read_file(folder)?;
    let (ours, theirs) = (params.of_weights(), file.model.of_weights());
    if ours != theirs {
        bail!(Contradiction(format!(
            "--warm-start: {} has other parameters under `model` than are asked for ({}); both must be equal",
            folder.display(),
            unlike(&theirs, &ours)?.join(", ")
        )));
    }
    file.check(dataset)
        .with_context(|| format!("{} does not fit {}", folder.display(), data.display()))?;
    for (was, is) in file.columns.iter().zip(&dataset.meta().columns) {
        if !was.scaler.is_alike(is.scaler) {
            bail!(Contradiction(format!(
                "--warm-start: {} was trained with another prepare.scaling of {} than {} has; both must be equal",
                folder.display(),
                is.name,
                data.display()
            )));
        }
    }
    let series = dataset.panel().layout().names();
    if params.knows_series() && file.series != series {
        bail!(Contradiction(format!(
            "--warm-start: {} was trained on the series {}, {} has {}; a model of kind `{}` tells \
             them apart, so both must be equal",
            folder.display(),
            file.series.join(", "),
            data.display(),
            series.join(", "),
            params.kind()
        )));
    }
    Ok((uncorrected(model::read_weights(folder)?), file.seen_until))
}

/// The parameters of a model that are not as wanted, as `KEY FOUND instead of WANTED`.
fn unlike(found: &ModelParams, wanted: &ModelParams) -> Result<Vec<String>> {
    let leaves = |params| anyhow::Ok(Values::of(params)?.leaves(None));
    let or_none = |value: Option<String>| value.unwrap_or_else(|| "none".to_owned());
    let differing = differences(&leaves(found)?, &leaves(wanted)?);
    let told = differing.into_iter().map(|(key, found, wanted)| {
        let (found, wanted) = (or_none(found), or_none(wanted));
        // params.yaml has all of them side by side.
        let key = key.strip_prefix("architecture.").unwrap_or(&key);
        format!("{key} {found} instead of {wanted}")
    });
    Ok(told.collect())
}

/// A model to be fitted to the training part of a data set.
pub(super) struct Fit<'a> {
    pub(super) dataset: &'a Dataset,
    pub(super) frame: &'a Frame,
    pub(super) model: &'a ModelParams,
    pub(super) train: &'a TrainParams,
    /// By which the targets are scaled in the frame.
    pub(super) scalers: Vec<Scaler>,
    /// Only windows that a model with such a lookback could forecast as well are validated on.
    pub(super) validation_lookback: usize,
    /// Where an interrupted training of the same goes on.
    pub(super) resume: Option<&'a Checkpoint>,
    pub(super) warm_start: Option<&'a Weights>,
}

impl<'a> Fit<'a> {
    /// On a frame that is scaled as the data set says.
    pub(super) fn new(
        dataset: &'a Dataset,
        frame: &'a Frame,
        model: &'a ModelParams,
        train: &'a TrainParams,
    ) -> Self {
        Self {
            dataset,
            frame,
            model,
            train,
            scalers: dataset.targets().map(|target| target.scaler).collect(),
            validation_lookback: model.lookback,
            resume: None,
            warm_start: None,
        }
    }

    pub(super) fn run(&self, registry: &Registry, monitor: &mut dyn Monitor) -> Result<Fitted> {
        self.task()?.fit(registry, monitor)
    }

    /// Finds its windows.
    fn task(&self) -> Result<Task<'a>> {
        let (model, wanted) = (self.model, &self.train.sample_weights);
        let split = self.dataset.meta().split;
        let window = |lookback, stride| {
            let window = Window::new(lookback, model.horizon, stride);
            window.context("lookback, horizon and stride must not be 0")
        };
        let window_of_train = window(model.lookback, self.train.stride)?;
        let train = split.some_issues(Part::Train, self.frame, window_of_train)?;
        if *wanted != SampleWeights::default() && !model.is_net() {
            bail!(Contradiction(format!(
                "train.sample_weights is for nets: a model of kind `{}` is solved on all windows \
                 alike",
                model.kind()
            )));
        }
        let longest = window(model.lookback.max(self.validation_lookback), 1)?;
        let validation = split.some_issues(Part::Validation, self.frame, longest)?;
        Ok(Task {
            gaps: [
                split.few_complete(Part::Train, self.frame, window_of_train),
                split.few_complete(Part::Validation, self.frame, longest),
            ],
            frame: self.frame,
            sample_weights: sample_weights(self.dataset, wanted, &train, model.horizon)?,
            train,
            validation,
            train_rows: split.ranges(Part::Train, &self.frame.layout),
            model,
            train_params: self.train,
            scalers: self.scalers.clone(),
            resume: self.resume,
            warm_start: self.warm_start,
        })
    }
}

/// A fit with its windows found.
struct Task<'a> {
    frame: &'a Frame,
    /// Issue rows.
    train: Vec<usize>,
    validation: Vec<usize>,
    /// Where most windows of the training or the validation part have some.
    gaps: [Option<FewComplete>; 2],
    train_rows: Vec<Range<usize>>,
    sample_weights: Option<Vec<f32>>,
    model: &'a ModelParams,
    train_params: &'a TrainParams,
    /// Of each target.
    scalers: Vec<Scaler>,
    resume: Option<&'a Checkpoint>,
    warm_start: Option<&'a Weights>,
}

impl Task<'_> {
    /// What is to be said where hardly anything decides a part of the model.
    fn few_windows(&self) -> Vec<String> {
        let mut told: Vec<String> = self
            .gaps
            .iter()
            .flatten()
            .map(ToString::to_string)
            .collect();
        if let Some(weights) = &self.sample_weights {
            let (effective, all) = (effective(weights), weights.len());
            if effective < FEW as f64 && effective < 0.5 * all as f64 {
                told.push(format!(
                    "train.sample_weights leave no more than {effective:.0} of {all} windows of the training \
                     part: a longer half_life counts more"
                ));
            }
        }
        let without = self.frame.layout.names_without(&self.train);
        if !without.is_empty() && self.model.learns_from_windows() {
            let then = if self.model.knows_series() && self.warm_start.is_none() {
                "; these are forecast as the others are on average"
            } else {
                ""
            };
            let without = without.join(", ");
            told.push(format!(
                "the training part has no window of the series {without}{then}"
            ));
        }
        let train = self.train.len();
        if train < FEW && self.model.learns_from_windows() {
            let then = match self.train_params.stride {
                1 => "a longer training part has more".to_owned(),
                stride => format!("a train.stride below {stride} takes more"),
            };
            told.push(format!(
                "the model learns from {train} windows of the training part, which say little: {then}"
            ));
        }
        let validation = self.validation.len();
        let decides = match self.model.is_net() {
            true => Some("when a training ends, and which weights are kept, is decided by"),
            false if !self.model.quantiles.is_empty() => {
                Some("the quantiles come from the errors of")
            }
            false => None,
        };
        if let Some(decides) = decides.filter(|_| validation < FEW) {
            told.push(format!(
                "{decides} {validation} windows of the validation part, which say little: a longer \
                 validation part makes them better"
            ));
        }
        told
    }

    fn fit(&self, registry: &Registry, monitor: &mut dyn Monitor) -> Result<Fitted> {
        let task = FitTask {
            frame: self.frame,
            train: &self.train,
            validation: &self.validation,
            train_rows: &self.train_rows,
            sample_weights: self.sample_weights.as_deref(),
            model: self.model,
            train_params: self.train_params,
            targets: &self.scalers,
            resume: self.resume,
            warm_start: self.warm_start,
        };
        registry.fit(&task, monitor)
    }
}

/// Tells each epoch in the unit of the target, where there is one, and logs it.
struct Told<'a> {
    observer: &'a mut dyn Observer,
    /// Gone once it cannot be written.
    log: Option<TrainingLog>,
    /// In the training part.
    windows: usize,
    spread: f64,
    unit: &'a str,
    /// When the last epoch ended; before the first one, when all began.
    since: Instant,
    keeper: Option<Keeper<'a>>,
}

impl<'a> Told<'a> {
    fn new(
        observer: &'a mut dyn Observer,
        log: Result<TrainingLog>,
        windows: usize,
        spread: f64,
        unit: &'a str,
    ) -> Self {
        let mut told = Self {
            observer,
            log: None,
            windows,
            spread,
            unit,
            since: Instant::now(),
            keeper: None,
        };
        told.go_on_with(log);
        told
    }

    /// A log that cannot be written is no reason to lose the training.
    fn go_on_with(&mut self, log: Result<TrainingLog>) {
        self.log = log
            .inspect_err(|error| {
                let message = format!("the training goes on without its log: {error:#}");
                self.observer.event(Event::warning(message));
            })
            .ok();
    }
}

impl Observer for Told<'_> {
    fn event(&mut self, event: Event) {
        self.observer.event(event);
    }
}

impl Monitor for Told<'_> {
    fn epoch(&mut self, epoch: &Epoch, of: usize) -> bool {
        let seconds = self.since.elapsed().as_secs_f64();
        let measured = Measured {
            validation_rmse: epoch.validation_rmse * self.spread,
            windows_per_second: self.windows as f64 / seconds.max(1e-9),
        };
        let validated = format!(
            "val {:.4}  RMSE {:.3}{}",
            epoch.validation_loss, measured.validation_rmse, self.unit
        );
        let message = match epoch.train_loss {
            Some(loss) => format!(
                "epoch {}/{of}  loss {loss:.4}  {validated}  {:.0} windows/s",
                epoch.epoch, measured.windows_per_second
            ),
            None => format!("begins with  {validated}"),
        };
        self.observer.event(Event::note(message));
        if let Some(mut log) = self.log.take() {
            self.go_on_with(log.epoch(epoch, &measured).map(|()| log));
        }
        self.since = Instant::now();
        true
    }

    fn between(&mut self, moment: Moment) -> Wish {
        let keeper = self.keeper.as_ref();
        keeper.map_or(Wish::GoOn, |keeper| keeper.wish(moment))
    }

    fn keep(&mut self, checkpoint: Checkpoint) -> Result<()> {
        if let Some(keeper) = &mut self.keeper {
            keeper.keep(&checkpoint, self.observer);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::ErrorKind;

    use super::*;

    #[test]
    fn a_full_disk_gives_the_room_of_the_checkpoint_to_the_model() {
        let tried = |kind: ErrorKind| {
            let (is_free, tries) = (Cell::new(false), Cell::new(0));
            let write = || {
                tries.set(tries.get() + 1);
                if is_free.get() {
                    Ok(())
                } else {
                    Err(std::io::Error::from(kind).into())
                }
            };
            let free = || {
                is_free.set(true);
                Ok(())
            };
            (with_room(write, free).is_ok(), is_free.get(), tries.get())
        };
        assert_eq!(tried(ErrorKind::StorageFull), (true, true, 2));
        assert_eq!(tried(ErrorKind::PermissionDenied), (false, false, 1));
    }

    #[test]
    fn a_log_that_fails_is_told_once_and_ends_nothing() {
        let epoch = Epoch {
            epoch: 1,
            train_loss: Some(0.5),
            validation_loss: 0.5,
            validation_rmse: 0.5,
            learning_rate: 0.1,
        };
        let mut events = Vec::new();
        let mut observer = |event| events.push(event);
        let log = Err(anyhow::anyhow!("the disk is full"));
        let mut told = Told::new(&mut observer, log, 100, 4.0, " °C");
        assert!(told.epoch(&epoch, 2) && told.epoch(&epoch, 2));
        drop(told);
        let warned = |event: &&Event| matches!(event, Event::Warning { .. });
        assert_eq!(events.iter().filter(warned).count(), 1);
        let Event::Note { message, .. } = &events[2] else {
            panic!("{events:?}");
        };
        assert!(
            message.contains("RMSE 2.000 °C") && message.ends_with(" windows/s"),
            "{message}"
        );
    }
}
