//! `krammerti train`: a data set to a model.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::checkpoint::Kept;
use super::{Context, dataset, model};
use crate::data::{Dataset, Frame, Part, Window};
use crate::event::{Event, Observer};
use crate::model::{
    Checkpoint, Epoch, FitTask, Fitted, ModelFile, Moment, Monitor, Registry, Wish,
};
use crate::params::{ModelParams, TrainParams};
use crate::pipeline::interrupted;

/// Trains the model of the section `model` as the section `train` says.
pub fn train(mut context: Context<'_>) -> Result<()> {
    let params = context
        .section("model", context.params.model.as_ref())?
        .clone();
    // Before any data is read: where the back end is needed, it starts over from here.
    context.registry.family(params.kind())?;
    let path = context.input()?.clone();
    let dataset = dataset::read_dataset(&path)?;
    let spread = dataset.target().scaler.spread();
    let unit = dataset.target().unit.clone();
    let frame = dataset.frame(&dataset.scalers(), 0)?;
    let kept = Kept::of(&context, &[&path])?;
    let checkpoint = kept.read(&mut context);
    let train = &context.params.train;
    let mut monitor = Told {
        observer: context.observer,
        spread,
        unit: unit.clone(),
        kept: &kept,
        every: Duration::from_secs_f64(train.checkpoint_minutes * 60.0),
        last_kept: Instant::now(),
    };
    let fitted = fit(
        &Fit {
            registry: context.registry,
            dataset: &dataset,
            frame: &frame,
            model: &params,
            train,
            resume: checkpoint.as_ref(),
        },
        &mut monitor,
    )
    .with_context(|| format!("training on {}", path.display()))?;
    let file = ModelFile::new(&dataset, &params, &fitted.history);
    model::write_model(&context.out, &file, &fitted.weights, &fitted.history)?;
    kept.remove()?;
    if let Some(best) = file.best {
        context.note(format!(
            "kept epoch {} of {}, validation RMSE {:.3} {unit}",
            best.epoch,
            fitted.history.len(),
            best.validation_rmse
        ));
    }
    Ok(())
}

/// A model that is to be fitted to the training part of a data set.
pub(super) struct Fit<'a> {
    pub(super) registry: &'a Registry,
    pub(super) dataset: &'a Dataset,
    /// The data, scaled.
    pub(super) frame: &'a Frame,
    pub(super) model: &'a ModelParams,
    pub(super) train: &'a TrainParams,
    pub(super) resume: Option<&'a Checkpoint>,
}

/// Fits a model.
pub(super) fn fit(what: &Fit<'_>, monitor: &mut dyn Monitor) -> Result<Fitted> {
    let Fit {
        dataset,
        frame,
        model,
        train,
        ..
    } = *what;
    let split = dataset.meta().split;
    let issues = |part, stride| -> Result<Vec<usize>> {
        let Some(window) = Window::new(model.lookback, model.horizon, stride) else {
            bail!("lookback, horizon and stride must not be 0");
        };
        let issues = split.issues(part, frame, window);
        if issues.is_empty() {
            bail!(
                "the {part:?} part has no window of {} + {} complete rows: it has {} rows",
                model.lookback,
                model.horizon,
                dataset.count(part)
            );
        }
        Ok(issues)
    };
    let task = FitTask {
        frame,
        train: &issues(Part::Train, train.stride)?,
        validation: &issues(Part::Validation, 1)?,
        train_rows: &split.ranges(Part::Train, &frame.layout),
        model,
        train_params: train,
        target: dataset.target().scaler,
        resume: what.resume,
        warm_start: None,
    };
    what.registry.family(model.kind())?.fit(&task, monitor)
}

/// Tells each epoch in the unit of the target, and keeps checkpoints.
struct Told<'a> {
    observer: &'a mut dyn Observer,
    spread: f64,
    unit: String,
    kept: &'a Kept,
    /// The least time between two checkpoints within an epoch.
    every: Duration,
    last_kept: Instant,
}

impl Observer for Told<'_> {
    fn event(&mut self, event: Event) {
        self.observer.event(event);
    }
}

impl Monitor for Told<'_> {
    fn epoch(&mut self, epoch: &Epoch, of: usize) -> bool {
        let message = format!(
            "epoch {}/{of}  loss {:.4}  validation loss {:.4}  RMSE {:.3} {}",
            epoch.epoch,
            epoch.train_loss,
            epoch.validation_loss,
            epoch.validation_rmse * self.spread,
            self.unit
        );
        self.observer.event(Event::note(message));
        true
    }

    fn between(&mut self, moment: Moment) -> Wish {
        // From here on a signal does not kill: the next step sees it.
        if interrupted().is_some() {
            return Wish::KeepAndEnd;
        }
        let due = moment == Moment::Epoch || self.last_kept.elapsed() >= self.every;
        if due { Wish::Keep } else { Wish::GoOn }
    }

    fn keep(&mut self, checkpoint: Checkpoint) -> Result<()> {
        self.kept.write(&checkpoint)?;
        self.last_kept = Instant::now();
        Ok(())
    }
}
