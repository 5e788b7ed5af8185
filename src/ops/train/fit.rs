//! What a fit learns from and is validated on: the windows of a data set, found before anything is solved or trained.

use std::ops::Range;

use anyhow::{Context as _, Result, bail};

use crate::data::{Dataset, FewComplete, Frame, Part, Scaler, Window};
use crate::model::{Checkpoint, FitTask, Fitted, Monitor, Registry, Weights};
use crate::ops::sample_weights::{effective, sample_weights};
use crate::params::{Contradiction, ModelParams, SampleWeights, TrainParams};

/// Windows that are too few to decide anything well.
const FEW: usize = 50;

/// A model to be fitted to the training part of a data set.
pub(in crate::ops) struct Fit<'a> {
    pub(in crate::ops) dataset: &'a Dataset,
    pub(in crate::ops) frame: &'a Frame,
    pub(in crate::ops) model: &'a ModelParams,
    pub(in crate::ops) train: &'a TrainParams,
    /// By which the targets are scaled in the frame.
    pub(in crate::ops) scalers: Vec<Scaler>,
    /// Only windows that a model with such a lookback could forecast as well are validated on.
    pub(in crate::ops) validation_lookback: usize,
    /// Where an interrupted training of the same goes on.
    pub(in crate::ops) resume: Option<&'a Checkpoint>,
    pub(in crate::ops) warm_start: Option<&'a Weights>,
}

impl<'a> Fit<'a> {
    /// On a frame that is scaled as the data set says.
    pub(in crate::ops) fn new(
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

    pub(in crate::ops) fn run(
        &self,
        registry: &Registry,
        monitor: &mut dyn Monitor,
    ) -> Result<Fitted> {
        self.task()?.fit(registry, monitor)
    }

    /// Finds its windows.
    pub(super) fn task(&self) -> Result<Task<'a>> {
        let (model, wanted) = (self.model, &self.train.sample_weights);
        let split = self.dataset.meta().split;
        let window = |lookback, stride| {
            let window = Window::new(lookback, model.horizon, stride);
            window.context("lookback, horizon and stride must not be 0")
        };
        // Of all windows of a net an epoch takes some, and the next one others.
        let stride = if model.is_net() { 1 } else { self.train.stride };
        let window_of_train = window(model.lookback, stride)?;
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
pub(super) struct Task<'a> {
    frame: &'a Frame,
    /// Issue rows.
    train: Vec<usize>,
    pub(super) validation: Vec<usize>,
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
    pub(super) fn few_windows(&self) -> Vec<String> {
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

    pub(super) fn windows_of_epoch(&self) -> usize {
        self.fit_task().windows_of_epoch()
    }

    pub(super) fn fit(&self, registry: &Registry, monitor: &mut dyn Monitor) -> Result<Fitted> {
        registry.fit(&self.fit_task(), monitor)
    }

    fn fit_task(&self) -> FitTask<'_> {
        FitTask {
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
        }
    }
}
