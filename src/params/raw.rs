//! `params.yaml` as a person wrote it: unknown keys are refused, nothing else is checked here.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::time::Step;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Params {
    pub(super) sources: BTreeMap<String, Source>,
    pub(super) prepare: Option<super::prepare::Raw>,
    pub(super) model: Option<Model>,
    pub(super) train: Train,
    pub(super) tune: Option<Tune>,
    pub(super) evaluate: Evaluate,
    pub(super) predict: Predict,
    /// For programs of the user's own; krammerti never looks inside.
    #[serde(rename = "extra")]
    pub(super) _extra: serde_yaml::Value,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Source {
    File(Box<super::source::file::RawFile>),
    NoaaCo2(super::source::noaa_co2::RawNoaaCo2),
    OpenMeteo(Box<super::source::open_meteo::Raw>),
    Http(Box<super::source::http::RawHttp>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Model {
    pub(super) kind: String,
    pub(super) lookback: usize,
    pub(super) horizon: usize,
    pub(super) quantiles: Option<Vec<f64>>,
    pub(super) hidden: Option<usize>,
    pub(super) layers: Option<usize>,
    pub(super) dropout: Option<f64>,
    pub(super) segment: Option<usize>,
    pub(super) linear_lags: Option<usize>,
    pub(super) noise: Option<f64>,
    pub(super) members: Option<usize>,
    pub(super) lags: Option<usize>,
    pub(super) penalty: Option<f64>,
    pub(super) season: Option<Step>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Train {
    pub(super) epochs: usize,
    pub(super) batch: usize,
    pub(super) learning_rate: f64,
    pub(super) weight_decay: f64,
    pub(super) clip: f64,
    pub(super) patience: usize,
    pub(super) stride: usize,
    pub(super) seed: u64,
    pub(super) threads: usize,
    pub(super) device: super::Device,
}

impl Default for Train {
    fn default() -> Self {
        Self {
            epochs: 20,
            batch: 256,
            learning_rate: 2e-3,
            weight_decay: 1e-4,
            clip: 1.0,
            patience: 5,
            stride: 1,
            seed: 1,
            threads: 2,
            device: super::Device::Auto,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tune {
    pub(super) trials: usize,
    #[serde(default)]
    pub(super) sampler: super::Sampler,
    #[serde(default = "startup_trials")]
    pub(super) startup_trials: usize,
    #[serde(default = "one")]
    pub(super) seed: u64,
    pub(super) space: BTreeMap<String, Range>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub(super) enum Range {
    Choice {
        choice: Vec<serde_yaml::Value>,
    },
    Interval {
        low: f64,
        high: f64,
        #[serde(default)]
        log: bool,
        #[serde(default)]
        integer: bool,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Evaluate {
    pub(super) baselines: Vec<String>,
    pub(super) ridge_lags: usize,
    pub(super) stride: usize,
    pub(super) minimum_skill: Option<f64>,
}

impl Default for Evaluate {
    fn default() -> Self {
        Self {
            baselines: ["persistence", "seasonal", "climatology", "ridge"]
                .map(str::to_owned)
                .to_vec(),
            ridge_lags: 72,
            stride: 1,
            minimum_skill: None,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Predict {
    pub(super) feels_like: Option<FeelsLike>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FeelsLike {
    pub(super) wind_speed: String,
    pub(super) humidity: Option<String>,
    #[serde(default)]
    pub(super) wind_from: super::Fallback,
}

fn startup_trials() -> usize {
    5
}

fn one() -> u64 {
    1
}
