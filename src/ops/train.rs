//! `krammerti train`: a data set to a model.

use anyhow::{Context as _, Result, bail};

use super::{Context, dataset, model};
use crate::data::{Dataset, Frame, Part, Window};
use crate::event::{Event, Observer};
use crate::model::{Epoch, FitTask, Fitted, ModelFile, Monitor, Registry};
use crate::params::{ModelParams, TrainParams};

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
    let mut monitor = Told {
        observer: context.observer,
        spread,
        unit: unit.clone(),
    };
    let frame = dataset.frame(&dataset.scalers(), 0)?;
    let fitted = fit(
        context.registry,
        &dataset,
        &frame,
        &params,
        &context.params.train,
        &mut monitor,
    )
    .with_context(|| format!("training on {}", path.display()))?;
    let file = ModelFile::new(&dataset, &params, &fitted.history);
    model::write_model(&context.out, &file, &fitted.weights, &fitted.history)?;
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

/// Fits a model to the training part of a data set, scaled as a frame has it.
pub(super) fn fit(
    registry: &Registry,
    dataset: &Dataset,
    frame: &Frame,
    model: &ModelParams,
    train: &TrainParams,
    monitor: &mut dyn Monitor,
) -> Result<Fitted> {
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
    };
    registry.family(model.kind())?.fit(&task, monitor)
}

/// Tells each epoch in the unit of the target.
struct Told<'a> {
    observer: &'a mut dyn Observer,
    spread: f64,
    unit: String,
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
}
