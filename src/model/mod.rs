//! What every forecasting model has in common, and the models that need no libtorch.
//!
//! A model sees a [`Frame`]: all columns on one regular step, scaled, flat `f32`. It is asked for
//! forecasts at *issue rows*: the row of the last observation it may use. Lead `h` (1, 2, …) speaks
//! of row `issue + h`. Values go in and values come out, in scaled units; reading files, undoing
//! the scaling and naming units is the caller's work.

mod artifact;
mod climatology;
mod correction;
mod encoding;
mod misfit;
mod naive;
mod residual;
mod ridge;
mod within;

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::data::{Frame, FrameColumn, Scaler};
use crate::event::Observer;
use crate::params::{Device, ModelParams, TrainParams};
use crate::time::Step;

pub use artifact::{BestEpoch, ModelColumn, ModelFile, unit_of_errors};
pub use climatology::Climatology;
pub use correction::uncorrected;
pub use encoding::{decode_checkpoint, decode_weights, encode_checkpoint, encode_weights};
pub use misfit::Misfit;
pub use naive::{Persistence, SeasonalNaive};
pub use ridge::Ridge;

/// Forecasts for some issue rows, in scaled units.
#[derive(Clone, Debug, PartialEq)]
pub struct Predictions {
    /// How many targets each forecast is of.
    pub targets: usize,
    /// How many leads it has of each.
    pub horizon: usize,
    /// The quantile levels, increasing; empty for a model without quantiles.
    pub levels: Vec<f64>,
    /// `[issues × targets × horizon]`, row-major.
    pub mean: Vec<f32>,
    /// `[issues × targets × horizon × levels]`, row-major, non-decreasing along levels.
    pub quantiles: Vec<f32>,
}

impl Predictions {
    /// The mean of one target from one of the issue rows, `[horizon]`, both by their places.
    pub fn mean_of(&self, issue: usize, target: usize) -> &[f32] {
        self.part(&self.mean, issue, target, self.horizon)
    }

    /// The quantiles of one target from one of the issue rows, `[horizon × levels]`.
    pub fn quantiles_of(&self, issue: usize, target: usize) -> &[f32] {
        let size = self.horizon * self.levels.len();
        self.part(&self.quantiles, issue, target, size)
    }

    /// Whether all of it are numbers.
    pub fn are_finite(&self) -> bool {
        let mut all = self.mean.iter().chain(&self.quantiles);
        all.all(|value| value.is_finite())
    }

    fn part<'a>(&self, of: &'a [f32], issue: usize, target: usize, size: usize) -> &'a [f32] {
        let first = (issue * self.targets + target) * size;
        &of[first..first + size]
    }
}

/// Possible courses of the targets from one issue row, in scaled units.
#[derive(Clone, Debug, PartialEq)]
pub struct Paths {
    /// How many targets each is of.
    pub targets: usize,
    /// How many leads it has of each.
    pub horizon: usize,
    /// `[paths × targets × horizon]`, row-major.
    pub values: Vec<f32>,
}

/// A fitted model.
pub trait Forecaster {
    /// Has a frame before it, to forecast from rows of it. What the model needs to copy of the frame, it
    /// copies here, once for all forecasts.
    fn over<'a>(&'a self, frame: &'a Frame) -> Result<Box<dyn Issuer + 'a>>;

    /// How many rows before its lookback a forecast is the better for, where they are there.
    fn memory(&self) -> usize {
        0
    }

    /// Forecasts from rows of a frame that nothing more is asked of.
    fn forecast(&self, frame: &Frame, issues: &[usize]) -> Result<Predictions> {
        self.over(frame)?.forecast(issues)
    }
}

/// A fitted model that has a frame before it.
pub trait Issuer {
    /// Forecasts from each issue row. Rows up to an issue row are observed; after it only the
    /// columns known in the future may be read.
    ///
    /// Every issue row has `lookback` rows up to and including itself, and `horizon` rows after it.
    fn forecast(&self, issues: &[usize]) -> Result<Predictions>;

    /// The courses that a forecast from an issue row comes of, where it comes of such.
    fn paths(&self, _issue: usize) -> Result<Option<Paths>> {
        Ok(None)
    }
}

/// What a fit works on.
#[derive(Clone, Copy)]
pub struct FitTask<'a> {
    /// The scaled data, all parts of it.
    pub frame: &'a Frame,
    /// Issue rows whose horizon lies in the training part: all of them where an epoch takes each
    /// `train_params.stride`-th, else those of that stride.
    pub train: &'a [usize],
    /// Issue rows whose horizon lies in the validation part.
    pub validation: &'a [usize],
    /// The rows of the training part in each series, which may be used for statistics of the past.
    pub train_rows: &'a [Range<usize>],
    /// How much each window of `train` counts, 1 on average; all the same where there are none.
    pub sample_weights: Option<&'a [f32]>,
    /// Kind, shape and size of the model.
    pub model: &'a ModelParams,
    /// How to train it.
    pub train_params: &'a TrainParams,
    /// The scaling of each target, for what is known of it in its own unit.
    pub targets: &'a [Scaler],
    /// Where an interrupted training of the same task goes on.
    pub resume: Option<&'a Checkpoint>,
    /// The weights of a model of the same shape to begin with.
    pub warm_start: Option<&'a Weights>,
}

impl FitTask<'_> {
    /// How many windows a net sees in an epoch.
    pub fn windows_of_epoch(&self) -> usize {
        self.train.len().div_ceil(self.train_params.stride)
    }
}

/// All that a training needs to go on as if it had never stopped.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Counters, as JSON that only the family reads.
    pub state: String,
    /// The epochs that have ended.
    pub history: Vec<Epoch>,
    /// Weights, moments, averages and the best so far.
    pub tensors: Weights,
}

/// One line of a training history.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// From 1; 0 is of the weights that a warm start begins with, before any step.
    pub epoch: usize,
    /// Mean training loss of the epoch; none of epoch 0.
    pub train_loss: Option<f64>,
    /// Loss on the validation part after it.
    pub validation_loss: f64,
    /// Root mean square error of the mean forecast on the validation part, in scaled units.
    pub validation_rmse: f64,
    /// The learning rate of the epoch's last step.
    pub learning_rate: f64,
}

/// What a fit gives back.
pub struct Fitted {
    /// The weights by name; equal weights are equal bytes when saved.
    pub weights: Weights,
    /// One entry an epoch; empty for a model that is solved at once.
    pub history: Vec<Epoch>,
    /// The model, ready to forecast.
    pub forecaster: Box<dyn Forecaster>,
}

/// Named arrays of `f32` with shapes, sorted by name.
pub type Weights = BTreeMap<String, Array>;

/// An array of `f32` with its shape, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Length of each axis.
    pub shape: Vec<usize>,
    /// All values.
    pub values: Vec<f32>,
}

/// What a fit reports between epochs, and what it is told: whether to go on.
pub trait Monitor: Observer {
    /// Called after each epoch, and where a warm start begins. `false` ends the training (a pruned trial).
    fn epoch(&mut self, epoch: &Epoch, of: usize) -> bool;

    /// Asked after each step, and before long work between: what to do before going on.
    fn between(&mut self, _: Moment) -> Wish {
        Wish::GoOn
    }

    /// Keeps a checkpoint, as it was asked for.
    fn keep(&mut self, _: Checkpoint) -> Result<()> {
        Ok(())
    }
}

/// Where a training stands when it asks what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Within an epoch.
    Step,
    /// An epoch has ended.
    Epoch,
    /// Before something is solved that takes seconds, asks nobody and leaves nothing to keep: until the next
    /// moment the process may be ended at any instant.
    Solve,
}

/// What a training shall do before it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Nothing but go on.
    GoOn,
    /// Give a checkpoint to keep.
    Keep,
    /// Give a checkpoint to keep, and end with [`Interrupted`].
    KeepAndEnd,
}

/// A training that was asked to end before it was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the training was interrupted in epoch {epoch}")]
pub struct Interrupted {
    /// From 1.
    pub epoch: usize,
}

/// A way of making models: one architecture with its training.
pub trait Family: Send + Sync {
    /// The `model.kind` it answers to.
    fn kind(&self) -> &'static str;

    /// Fits a model.
    fn fit(&self, task: &FitTask<'_>, monitor: &mut dyn Monitor) -> Result<Fitted>;

    /// Rebuilds a fitted model from its weights.
    fn load(&self, task: &LoadTask<'_>, weights: &Weights) -> Result<Box<dyn Forecaster>>;
}

/// What a fitted model is rebuilt for.
#[derive(Clone, Copy)]
pub struct LoadTask<'a> {
    /// Kind, shape and size of the model.
    pub model: &'a ModelParams,
    /// The time between two rows.
    pub step: Step,
    /// The columns it was fitted on.
    pub columns: &'a [FrameColumn],
    /// The names of the series it was fitted on, in their order.
    pub series: &'a [String],
    /// The scaling of each target.
    pub targets: &'a [Scaler],
    /// Where it forecasts. On the CPU a forecast has the same bytes on every host
    /// with the same instruction set.
    pub device: Device,
}

/// The families a process can use.
pub struct Registry {
    families: Vec<Box<dyn Family>>,
}

/// `model.kind` names a family that is built on libtorch, and this process has not loaded it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("model kind `{kind}` needs the torch back end")]
pub struct NeedsBackend {
    /// The kind asked for.
    pub kind: String,
}

/// What failed below a model, in one line: where it is of the machine, every training fails alike.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{doing}: {by}: {message}")]
pub struct Fault {
    /// A library, or our own code.
    pub by: &'static str,
    /// What was being done.
    pub doing: String,
    /// What was said.
    pub message: String,
}

/// The device that was asked for is not there: no fault of a model, and of another one neither.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`device: {asked}` was asked for, but {why}")]
pub struct NoDevice {
    /// As `train.device` says.
    pub asked: &'static str,
    /// What keeps it away.
    pub why: String,
}

impl Registry {
    /// The families that need no libtorch.
    pub fn builtin() -> Self {
        Self {
            families: vec![
                Box::new(naive::PersistenceFamily),
                Box::new(naive::SeasonalFamily),
                Box::new(climatology::ClimatologyFamily),
                Box::new(ridge::RidgeFamily),
            ],
        }
    }

    /// Adds a family.
    #[must_use]
    pub fn with(mut self, family: Box<dyn Family>) -> Self {
        self.families.push(family);
        self
    }

    /// The family of a kind. Kinds are checked when parameters are read, so one that is not here
    /// is one of the back end's.
    pub fn family(&self, kind: &str) -> Result<&dyn Family, NeedsBackend> {
        self.families
            .iter()
            .find(|family| family.kind() == kind)
            .map(AsRef::as_ref)
            .ok_or_else(|| NeedsBackend {
                kind: kind.to_owned(),
            })
    }

    /// Fits a model of any kind, with all that its parameters ask for.
    pub fn fit(&self, task: &FitTask<'_>, monitor: &mut dyn Monitor) -> Result<Fitted> {
        let family = self.family(task.model.kind())?;
        let fitted = match task.model.correction {
            Some(params) => correction::fit(family, params, task, monitor),
            None => family.fit(task, monitor),
        }?;
        let (columns, made) = (&task.frame.columns, fitted.forecaster);
        Ok(Fitted {
            forecaster: within::within(task.model, columns, task.targets, made),
            ..fitted
        })
    }

    /// Rebuilds a model that [`Self::fit`] gave.
    pub fn load(&self, task: &LoadTask<'_>, weights: &Weights) -> Result<Box<dyn Forecaster>> {
        let family = self.family(task.model.kind())?;
        let made = match task.model.correction {
            Some(params) => correction::load(family, params, task, weights),
            None => family.load(task, weights),
        }?;
        Ok(within::within(task.model, task.columns, task.targets, made))
    }
}
