//! Parameters whose ranges hold; `check` makes them, so whoever has one need not look again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::PrepareParams;
use super::model::ModelParams;
use super::source::file::FileSource;
use super::source::noaa_co2::NoaaCo2Source;
use super::source::open_meteo::OpenMeteoSource;
use super::train::TrainParams;
use crate::time::Step;

/// All of `params.yaml`, checked.
#[derive(Debug)]
pub struct Params {
    /// Where observations come from, by name.
    pub sources: BTreeMap<String, SourceParams>,
    /// How a data set is made from them.
    pub prepare: Option<PrepareParams>,
    /// The model to train.
    pub model: Option<ModelParams>,
    /// How to train it.
    pub train: TrainParams,
    /// How to search for better parameters.
    pub tune: Option<TuneParams>,
    /// What to compare a model with.
    pub evaluate: EvaluateParams,
    /// What to derive from a forecast.
    pub predict: PredictParams,
}

/// A source of observations.
#[derive(Clone, Debug, PartialEq)]
pub enum SourceParams {
    /// Files of the project.
    File(Box<FileSource>),
    /// CO2 at Mauna Loa.
    NoaaCo2(NoaaCo2Source),
    /// The service of open-meteo.com, or a mirror of it.
    OpenMeteo(OpenMeteoSource),
    /// The history API of a station.
    Http(Box<super::HttpSource>),
}

/// Where tensors live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Device {
    /// CUDA where there is a GPU and libtorch has it, the CPU otherwise.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// CUDA, or an error.
    Cuda,
}

/// How trials are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampler {
    /// Independent uniform draws.
    Random,
    /// Tree-structured Parzen estimator.
    #[default]
    Tpe,
}

/// A search.
#[derive(Clone, Debug, PartialEq)]
pub struct TuneParams {
    /// How many trials the study shall have.
    pub trials: usize,
    /// How they are drawn.
    pub sampler: Sampler,
    /// Random trials before the sampler starts to learn.
    pub startup_trials: usize,
    /// Decides the draws.
    pub seed: u64,
    /// What may vary: `train.learning_rate`, `model.hidden`, ….
    pub space: BTreeMap<String, Dimension>,
}

/// What one parameter may be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dimension {
    /// One of some values.
    Choice(Vec<serde_json::Value>),
    /// A number from `low` to `high`, both possible.
    Interval {
        /// The smallest.
        low: f64,
        /// The largest.
        high: f64,
        /// Drawn evenly in the logarithm.
        log: bool,
        /// Whole numbers only.
        integer: bool,
    },
}

/// What a model is compared with.
#[derive(Clone, Debug, PartialEq)]
pub struct EvaluateParams {
    /// Kinds of the models that need no training by the user; where none are named, all that can be fitted
    /// to the windows of the model.
    pub baselines: Option<Vec<String>>,
    /// How many last values the ridge baseline sees.
    pub ridge_lags: usize,
    /// What the seasonal baseline repeats.
    pub season: Step,
    /// Rows between two test windows.
    pub stride: usize,
    /// The least skill against every baseline; below it the command ends with exit code 3.
    pub minimum_skill: Option<f64>,
    /// Whether all forecasts of the test part are written too.
    pub forecasts: bool,
    /// Where a net forecasts.
    pub device: Device,
}

/// What is derived from a forecast.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PredictParams {
    /// The feels-like temperature, where a target is an air temperature.
    pub feels_like: Option<FeelsLike>,
    /// Whether the sample paths of a forecast are written beside it.
    pub paths: bool,
}

/// What the feels-like temperature is made from besides the temperature.
#[derive(Clone, Debug, PartialEq)]
pub struct FeelsLike {
    /// Column with the wind speed at 10 m.
    pub wind_speed: String,
    /// Column with the relative humidity.
    pub humidity: Option<String>,
    /// What stands for them in the future, where they are no targets themselves.
    pub wind_from: Fallback,
}

/// What stands for a value that is not itself forecast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fallback {
    /// The last observed value.
    LastKnown,
    /// The mean of the training part for the time of day and year.
    #[default]
    Climatology,
}
