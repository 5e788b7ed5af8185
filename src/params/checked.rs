//! Parameters whose ranges hold; `check` makes them, so whoever has one need not look again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::source::file::FileSource;
use super::source::http::HttpSource;
use super::source::noaa_co2::NoaaCo2Source;
use super::source::open_meteo::OpenMeteoSource;
use crate::time::Step;

pub use super::raw::Calendar;

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
    Http(Box<HttpSource>),
}

/// How a data set is made.
#[derive(Clone, Debug, PartialEq)]
pub struct PrepareParams {
    /// The column to forecast.
    pub target: String,
    /// The step between rows.
    pub step: Step,
    /// The columns to keep; all where absent.
    pub columns: Option<Vec<String>>,
    /// Pairs of columns that become vectors.
    pub wind: Vec<WindPair>,
    /// Calendar features, known in the future.
    pub calendar: Vec<Calendar>,
    /// Gaps of at most this length are filled by interpolation in time.
    pub fill_gaps_up_to: Option<Step>,
    /// What is checked before, and what becomes of what is found.
    pub quality: super::QualityParams,
    /// Shares of the rows.
    pub split: SplitShares,
}

/// Wind speed and the direction that it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindPair {
    /// Column with the speed.
    pub speed: String,
    /// Column with the direction, in degrees.
    pub direction: String,
}

/// Shares of train, validation and test; they are positive and add up to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SplitShares {
    /// The earliest part.
    pub train: f64,
    /// The part after it.
    pub validation: f64,
    /// The latest part.
    pub test: f64,
}

/// What kind of model, and the shape of its windows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelParams {
    /// How many rows it sees.
    pub lookback: usize,
    /// How many leads it forecasts.
    pub horizon: usize,
    /// Quantile levels between 0 and 1, increasing; with any, 0.5 is one of them.
    pub quantiles: Vec<f64>,
    /// The kind and what belongs to it.
    pub architecture: Architecture,
}

/// The kinds of model and what belongs to each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Architecture {
    /// The last value goes on.
    Persistence,
    /// The last season repeats.
    Seasonal {
        /// Its length.
        season: Step,
    },
    /// The mean of the training part for the time of day and year.
    Climatology,
    /// A ridge regression for each lead.
    Ridge(RidgeParams),
    /// A recurrent net for all leads at once.
    Lstm(LstmParams),
}

/// A ridge regression.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RidgeParams {
    /// How many of the target's last values it sees.
    pub lags: usize,
    /// The penalty on squared weights, as a share of the number of windows.
    pub penalty: f64,
}

/// An LSTM with a linear path beside it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LstmParams {
    /// Units in each layer.
    pub hidden: usize,
    /// Stacked layers.
    pub layers: usize,
    /// Share of units dropped in training.
    pub dropout: f64,
    /// Rows read at each recurrent step; the lookback is a multiple of it.
    pub segment: usize,
    /// How many last rows reach every lead by a linear map.
    pub linear_lags: usize,
    /// Standard deviation of the noise added to its inputs in training, in scaled units.
    pub noise: f64,
    /// Nets of this shape that are trained side by side and averaged.
    pub members: usize,
}

/// How a model is trained.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainParams {
    /// At most so many passes over the training windows.
    pub epochs: usize,
    /// Windows in a step.
    pub batch: usize,
    /// The largest learning rate.
    pub learning_rate: f64,
    /// The decay of `AdamW`.
    pub weight_decay: f64,
    /// The largest norm of a gradient.
    pub clip: f64,
    /// Epochs without a better validation loss before it stops.
    pub patience: usize,
    /// Rows between two training windows.
    pub stride: usize,
    /// Decides initial weights, order of windows and dropout.
    pub seed: u64,
    /// CPU threads.
    pub threads: usize,
    /// Where it runs.
    pub device: Device,
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
    /// Kinds of the models that need no training by the user.
    pub baselines: Vec<String>,
    /// How many last values the ridge baseline sees.
    pub ridge_lags: usize,
    /// Rows between two test windows.
    pub stride: usize,
    /// The least skill against every baseline; below it the command ends with exit code 3.
    pub minimum_skill: Option<f64>,
}

/// What is derived from a forecast.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PredictParams {
    /// The feels-like temperature, where the target is an air temperature.
    pub feels_like: Option<FeelsLike>,
}

/// What the feels-like temperature is made from besides the temperature.
#[derive(Clone, Debug, PartialEq)]
pub struct FeelsLike {
    /// Column with the wind speed at 10 m.
    pub wind_speed: String,
    /// Column with the relative humidity.
    pub humidity: Option<String>,
    /// What stands for them in the future.
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

impl ModelParams {
    /// The `model.kind` of its architecture.
    pub fn kind(&self) -> &'static str {
        match self.architecture {
            Architecture::Persistence => "persistence",
            Architecture::Seasonal { .. } => "seasonal",
            Architecture::Climatology => "climatology",
            Architecture::Ridge(_) => "ridge",
            Architecture::Lstm(_) => "lstm",
        }
    }

    /// The parameters of a baseline on the same windows as this model.
    pub fn baseline(&self, kind: &str, ridge_lags: usize) -> Option<Self> {
        let architecture = match kind {
            "persistence" => Architecture::Persistence,
            "seasonal" => Architecture::Seasonal { season: Step::DAY },
            "climatology" => Architecture::Climatology,
            "ridge" => Architecture::Ridge(RidgeParams {
                lags: ridge_lags.min(self.lookback),
                penalty: 1e-5,
            }),
            _ => return None,
        };
        Some(Self {
            architecture,
            quantiles: Vec::new(),
            ..self.clone()
        })
    }
}
