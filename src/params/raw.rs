//! `params.yaml` as a person wrote it: unknown keys are refused, nothing else is checked here.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::time::Step;
use crate::yaml::{OfKind, sections};

sections!(Params, Tune, Range, Evaluate, Predict, FeelsLike);

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, remote = "Self")]
pub(super) struct Params {
    pub(super) sources: BTreeMap<String, OfKind<Source>>,
    pub(super) prepare: Option<super::prepare::Raw>,
    pub(super) model: Option<super::model::Raw>,
    pub(super) train: super::train::Raw,
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
#[serde(deny_unknown_fields, remote = "Self")]
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

/// Either a choice, or both ends of an interval.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, remote = "Self")]
pub(super) struct Range {
    pub(super) choice: Option<Vec<serde_yaml::Value>>,
    pub(super) low: Option<f64>,
    pub(super) high: Option<f64>,
    pub(super) log: bool,
    pub(super) integer: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default, remote = "Self")]
pub(super) struct Evaluate {
    pub(super) baselines: Option<Vec<String>>,
    pub(super) ridge_lags: usize,
    pub(super) season: Step,
    pub(super) stride: usize,
    pub(super) minimum_skill: Option<f64>,
    pub(super) forecasts: bool,
    pub(super) device: super::Device,
}

impl Default for Evaluate {
    fn default() -> Self {
        Self {
            baselines: None,
            ridge_lags: 72,
            season: Step::DAY,
            stride: 1,
            minimum_skill: None,
            forecasts: false,
            device: super::Device::Cpu,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, remote = "Self")]
pub(super) struct Predict {
    pub(super) feels_like: Option<FeelsLike>,
    pub(super) paths: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
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
