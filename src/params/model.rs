//! The section `model`: what kind of model, the shape of its windows, and what belongs to the kind.

mod check;

use serde::{Deserialize, Serialize};

pub(super) use self::check::{Raw, check};
use super::TargetBounds;
use crate::time::Step;

/// The kinds that need libtorch.
const NETS: [&str; 5] = ["lstm", "gru", "segrnn", "linear", "deepar"];

/// What kind of model, and the shape of its windows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelParams {
    /// How many rows it sees.
    pub lookback: usize,
    /// How many leads it forecasts.
    pub horizon: usize,
    /// Quantile levels between 0 and 1, increasing; with any, 0.5 is one of them.
    pub quantiles: Vec<f64>,
    /// Between which values every forecast stays.
    #[serde(default, skip_serializing_if = "TargetBounds::is_open")]
    pub bounds: TargetBounds,
    /// Whether forecasts are corrected by what is known of those before them, and how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correction: Option<CorrectionParams>,
    /// The kind and what belongs to it.
    pub architecture: Architecture,
}

/// How forecasts are corrected by the errors of those before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorrectionParams {
    /// An error counts half as much as one that was made so much later.
    #[serde(default = "two_weeks")]
    pub half_life: Step,
}

/// Longer than the weather's memory, shorter than a season.
fn two_weeks() -> Step {
    const SECONDS: u32 = 14 * 86_400;
    Step::from_seconds(SECONDS).unwrap_or(Step::DAY)
}

/// Values that a target never leaves, in its unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    /// Never below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lower: Option<f64>,
    /// Never above it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper: Option<f64>,
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
    /// A recurrent net of LSTM cells for all leads at once.
    Lstm(RecurrentParams),
    /// The same with GRU cells.
    Gru(RecurrentParams),
    /// A recurrent net over segments, which decodes the segments of the horizon side by side.
    Segrnn(SegrnnParams),
    /// A linear map of trend and remainder.
    Linear(LinearParams),
    /// A recurrent net that gives the distribution of one value after the other.
    Deepar(DeeparParams),
}

/// A ridge regression.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RidgeParams {
    /// How many of each target's last values it sees.
    pub lags: usize,
    /// The penalty on squared weights, as a share of the number of windows.
    pub penalty: f64,
}

/// An LSTM or GRU with a linear path beside it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecurrentParams {
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
    /// How the leads come.
    #[serde(default)]
    pub decoder: Decoder,
    /// Direct heads beside the decoder, each of which reaches further than the one before.
    #[serde(default)]
    pub heads: usize,
}

/// How an `lstm` or `gru` makes the leads of a forecast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decoder {
    /// All at once.
    #[default]
    Direct,
    /// One after the other, each from the one before.
    Autoregressive,
}

/// A segment recurrent net (Lin et al. 2023, arXiv 2308.11200).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SegrnnParams {
    /// Units of its one layer; even.
    pub hidden: usize,
    /// Share of units dropped in training.
    pub dropout: f64,
    /// Rows in a segment; the lookback is a multiple of it.
    pub segment: usize,
    /// Nets of this shape that are trained side by side and averaged.
    pub members: usize,
}

/// A linear map of trend and remainder (Zeng et al. 2022, arXiv 2205.13504).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinearParams {
    /// Rows of the moving average that is the trend; odd.
    pub kernel: usize,
    /// Nets of this shape that are trained side by side and averaged.
    pub members: usize,
}

/// An autoregressive net (Salinas et al. 2020, arXiv 1704.04110).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeeparParams {
    /// Units in each layer.
    pub hidden: usize,
    /// Stacked layers.
    pub layers: usize,
    /// Share of units dropped in training.
    pub dropout: f64,
    /// The distribution of one value.
    pub distribution: Distribution,
    /// How many sample paths make a forecast.
    pub paths: usize,
    /// Rows back at which the target is seen again beside the last value; where nothing is said, what is usual for
    /// the step of the data ([`ModelParams::on`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub season: Option<usize>,
    /// Nets of this shape that are trained side by side; each gives its share of the paths.
    pub members: usize,
}

/// The distribution of one value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Distribution {
    /// Real numbers.
    Gaussian,
    /// Real numbers with heavy tails.
    #[default]
    StudentT,
    /// Counts.
    NegativeBinomial,
    /// Shares between `model.bounds`.
    Beta,
}

impl Architecture {
    /// The distribution of one value, where it has one.
    pub fn distribution(&self) -> Option<Distribution> {
        match self {
            Self::Deepar(deepar) => Some(deepar.distribution),
            _ => None,
        }
    }

    /// Whether it has a distribution between two bounds.
    fn needs_bounds(&self) -> bool {
        self.distribution() == Some(Distribution::Beta)
    }
}

impl Bounds {
    /// Whether there are none.
    pub fn is_open(&self) -> bool {
        self.lower.is_none() && self.upper.is_none()
    }
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
            Architecture::Gru(_) => "gru",
            Architecture::Segrnn(_) => "segrnn",
            Architecture::Linear(_) => "linear",
            Architecture::Deepar(_) => "deepar",
        }
    }

    /// Whether every target needs both bounds.
    pub fn needs_bounds(&self) -> bool {
        self.architecture.needs_bounds()
    }

    /// The same as far as the shapes and the meaning of its weights go: without what only its training or the
    /// forecasts made with them know.
    #[must_use]
    pub fn of_weights(&self) -> Self {
        let mut params = self.uncorrected();
        match &mut params.architecture {
            Architecture::Lstm(recurrent) | Architecture::Gru(recurrent) => {
                (recurrent.dropout, recurrent.noise) = (0.0, 0.0);
            }
            Architecture::Segrnn(segrnn) => segrnn.dropout = 0.0,
            Architecture::Deepar(deepar) => (deepar.dropout, deepar.paths) = (0.0, 1),
            Architecture::Linear(_)
            | Architecture::Persistence
            | Architecture::Seasonal { .. }
            | Architecture::Climatology
            | Architecture::Ridge(_) => {}
        }
        params
    }

    /// For data on a step, which decides what is usual where nothing is said: a day of rows for the season of
    /// `deepar`. Rows without a value a season before condition nothing, and a lookback of no more than a season would
    /// leave the net to say what is usual; so the lookback must have two.
    #[must_use]
    pub fn on(&self, step: Step) -> Self {
        let mut params = self.clone();
        if let Architecture::Deepar(deepar) = &mut params.architecture {
            let day = step.per_day().filter(|rows| 2 * rows <= self.lookback);
            deepar.season.get_or_insert(day.unwrap_or(1));
        }
        params
    }

    /// Whether it learns from windows of all series together, and not for each series by itself.
    pub fn learns_from_windows(&self) -> bool {
        self.reads_covariates()
    }

    /// Whether it is a net, whose weights are trained step by step.
    pub fn is_net(&self) -> bool {
        NETS.contains(&self.kind())
    }

    /// Whether it reads other columns than the targets.
    pub fn reads_covariates(&self) -> bool {
        !matches!(
            self.architecture,
            Architecture::Persistence | Architecture::Seasonal { .. } | Architecture::Climatology
        )
    }

    /// Whether it tells one series from another, and so knows only those that it was trained on.
    pub fn knows_series(&self) -> bool {
        matches!(self.architecture, Architecture::Segrnn(_))
    }

    /// The parameters of a baseline on the same windows and within the same bounds as this model.
    pub fn baseline(&self, kind: &str, ridge_lags: usize, season: Step) -> Option<Self> {
        let architecture = match kind {
            "persistence" => Architecture::Persistence,
            "seasonal" => Architecture::Seasonal { season },
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
            correction: None,
            ..self.clone()
        })
    }

    /// Whether its forecasts come of sample paths, which can be had.
    pub fn draws_paths(&self) -> bool {
        matches!(self.architecture, Architecture::Deepar(_)) && self.correction.is_none()
    }

    /// The same model, whose forecasts stay as they are.
    #[must_use]
    pub fn uncorrected(&self) -> Self {
        Self {
            correction: None,
            ..self.clone()
        }
    }
}
