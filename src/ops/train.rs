//! `krammerti train`: a data set to a model.

mod bar;
mod bounds;
mod fit;
mod told;

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use self::bounds::beyond_the_model;
pub(super) use self::bounds::check_bounds;
pub(super) use self::fit::Fit;
use self::told::Told;
use super::checkpoint::{Keeper, Kept};
use super::few_steps::few_steps;
use super::inputs::Inputs;
use super::series_sizes::unequal;
use super::training_log::TrainingLog;
use super::{Context, dataset, model};
use crate::data::Dataset;
use crate::model::{ModelFile, Weights, uncorrected, unit_of_errors};
use crate::params::{Architecture, Contradiction, ModelParams, Values};
use crate::pipeline::{differences, interrupted};

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
    let few_steps = params
        .is_net()
        .then(|| few_steps(task.windows_of_epoch(), train));
    let told = [few_steps.flatten(), members_alike(&params)];
    for odd in task
        .few_windows()
        .into_iter()
        .chain(told.into_iter().flatten())
    {
        context.warn(odd);
    }
    let past = checkpoint.as_ref().map_or(&[][..], |kept| &kept.history);
    let log = TrainingLog::begin(&context.out, past);
    let mut monitor = Told::new(context.observer, log, task.windows_of_epoch(), spread, unit);
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

/// What to tell of members that do not differ.
fn members_alike(model: &ModelParams) -> Option<String> {
    let Architecture::Linear(linear) = &model.architecture else {
        return None;
    };
    (linear.members > 1).then(|| {
        format!(
            "the {} members of `linear` begin alike and learn from the same windows, so they are one model: \
             model.members: 1 forecasts the same, sooner",
            linear.members
        )
    })
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
}
