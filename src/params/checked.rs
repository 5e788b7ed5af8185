//! Parameters whose ranges hold. Private constructors: whoever has one of these need not check again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::raw;
use super::{Invalid, invalid};
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
    /// A CSV file, plain or gzipped.
    File(FileSource),
}

/// How to read a file of observations.
#[derive(Clone, Debug, PartialEq)]
pub struct FileSource {
    /// The file, relative to the project.
    pub path: String,
    /// The column that holds the time.
    pub time_column: String,
    /// chrono's notation; where absent, the common ISO forms are tried.
    pub time_format: Option<String>,
    /// Seconds east of Greenwich for times without an offset of their own.
    pub utc_offset_s: i64,
    /// Name in the data → column of the file and its unit.
    pub columns: BTreeMap<String, FileColumn>,
    /// One ASCII character.
    pub delimiter: u8,
    /// Texts that mean "no value", besides the empty one.
    pub missing: Vec<String>,
}

/// One column of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileColumn {
    /// Its name in the file.
    pub from: String,
    /// Its unit, as in the file.
    pub unit: String,
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

pub(super) fn check(raw: raw::Params) -> Result<Params, Invalid> {
    let sources = raw
        .sources
        .into_iter()
        .map(|(name, source)| {
            let checked = check_source(&format!("sources.{name}"), source)?;
            Ok((name, checked))
        })
        .collect::<Result<_, Invalid>>()?;
    let model = raw.model.as_ref().map(check_model).transpose()?;
    Ok(Params {
        sources,
        prepare: raw.prepare.map(check_prepare).transpose()?,
        model,
        train: check_train(&raw.train)?,
        tune: raw.tune.map(check_tune).transpose()?,
        evaluate: check_evaluate(raw.evaluate)?,
        predict: PredictParams {
            feels_like: raw.predict.feels_like.map(|f| FeelsLike {
                wind_speed: f.wind_speed,
                humidity: f.humidity,
                wind_from: f.wind_from,
            }),
        },
    })
}

fn check_source(key: &str, source: raw::Source) -> Result<SourceParams, Invalid> {
    let raw::Source::File {
        path,
        time,
        columns,
        delimiter,
        missing,
    } = source;
    let delimiter = u8::try_from(delimiter)
        .ok()
        .filter(u8::is_ascii)
        .ok_or_else(|| invalid(format!("{key}.delimiter"), "one ASCII character", delimiter))?;
    if columns.is_empty() {
        return Err(invalid(
            format!("{key}.columns"),
            "at least one column",
            "none",
        ));
    }
    if !(-14.0..=14.0).contains(&time.utc_offset_h) {
        return Err(invalid(
            format!("{key}.time.utc_offset_h"),
            "between -14 and 14",
            time.utc_offset_h,
        ));
    }
    let columns = columns
        .into_iter()
        .map(|(name, c)| {
            (
                name.clone(),
                FileColumn {
                    from: c.from.unwrap_or(name),
                    unit: c.unit,
                },
            )
        })
        .collect();
    Ok(SourceParams::File(FileSource {
        path,
        time_column: time.column,
        time_format: time.format,
        utc_offset_s: (time.utc_offset_h * 3600.0).round() as i64,
        columns,
        delimiter,
        missing,
    }))
}

fn check_prepare(raw: raw::Prepare) -> Result<PrepareParams, Invalid> {
    let raw::Split {
        train,
        validation,
        test,
    } = raw.split;
    for (name, share) in [("train", train), ("validation", validation), ("test", test)] {
        within(
            &format!("prepare.split.{name}"),
            share,
            f64::MIN_POSITIVE..=1.0,
            "above 0 and at most 1",
        )?;
    }
    let sum = train + validation + test;
    if (sum - 1.0).abs() > 1e-9 {
        return Err(invalid("prepare.split", "shares that add up to 1", sum));
    }
    Ok(PrepareParams {
        target: raw.target,
        step: raw.step,
        columns: raw.columns,
        wind: raw
            .wind
            .into_iter()
            .map(|w| WindPair {
                speed: w.speed,
                direction: w.direction,
            })
            .collect(),
        calendar: raw.calendar,
        fill_gaps_up_to: raw.fill_gaps_up_to,
        split: SplitShares {
            train,
            validation,
            test,
        },
    })
}

fn check_model(raw: &raw::Model) -> Result<ModelParams, Invalid> {
    within(
        "model.lookback",
        raw.lookback,
        1..=100_000,
        "between 1 and 100000",
    )?;
    within(
        "model.horizon",
        raw.horizon,
        1..=10_000,
        "between 1 and 10000",
    )?;
    let quantiles = raw.quantiles.clone().unwrap_or_default();
    check_quantiles(&quantiles)?;
    let architecture = check_architecture(raw)?;
    Ok(ModelParams {
        lookback: raw.lookback,
        horizon: raw.horizon,
        quantiles,
        architecture,
    })
}

fn check_quantiles(levels: &[f64]) -> Result<(), Invalid> {
    let expected = "levels between 0 and 1 in increasing order, 0.5 among them";
    let increasing = levels.windows(2).all(|pair| pair[0] < pair[1]);
    let inside = levels.iter().all(|level| *level > 0.0 && *level < 1.0);
    let median = levels.is_empty() || levels.contains(&0.5);
    if increasing && inside && median {
        Ok(())
    } else {
        Err(invalid("model.quantiles", expected, format!("{levels:?}")))
    }
}

fn check_architecture(raw: &raw::Model) -> Result<Architecture, Invalid> {
    let given = [
        ("hidden", raw.hidden.is_some()),
        ("layers", raw.layers.is_some()),
        ("dropout", raw.dropout.is_some()),
        ("segment", raw.segment.is_some()),
        ("linear_lags", raw.linear_lags.is_some()),
        ("noise", raw.noise.is_some()),
        ("members", raw.members.is_some()),
        ("lags", raw.lags.is_some()),
        ("penalty", raw.penalty.is_some()),
        ("season", raw.season.is_some()),
    ];
    let (architecture, allowed): (_, &[&str]) = match raw.kind.as_str() {
        "persistence" => (Architecture::Persistence, &[]),
        "climatology" => (Architecture::Climatology, &[]),
        "seasonal" => {
            let season = raw.season.unwrap_or(Step::DAY);
            (Architecture::Seasonal { season }, &["season"])
        }
        "ridge" => (Architecture::Ridge(check_ridge(raw)?), &["lags", "penalty"]),
        "lstm" => (
            Architecture::Lstm(check_lstm(raw)?),
            &[
                "hidden",
                "layers",
                "dropout",
                "segment",
                "linear_lags",
                "noise",
                "members",
            ],
        ),
        other => {
            let kinds = "persistence, seasonal, climatology, ridge or lstm";
            return Err(invalid("model.kind", kinds, other));
        }
    };
    match given
        .iter()
        .find(|(name, given)| *given && !allowed.contains(name))
    {
        Some((name, _)) => {
            let found = format!("it beside kind {}", raw.kind);
            Err(invalid(format!("model.{name}"), "absent", found))
        }
        None => Ok(architecture),
    }
}

fn check_ridge(raw: &raw::Model) -> Result<RidgeParams, Invalid> {
    let lags = raw.lags.unwrap_or(72.min(raw.lookback));
    within(
        "model.lags",
        lags,
        1..=raw.lookback,
        "between 1 and model.lookback",
    )?;
    let penalty = raw.penalty.unwrap_or(1e-5);
    within("model.penalty", penalty, 0.0..=1e6, "between 0 and 1e6")?;
    Ok(RidgeParams { lags, penalty })
}

fn check_lstm(raw: &raw::Model) -> Result<LstmParams, Invalid> {
    let lstm = LstmParams {
        hidden: raw.hidden.unwrap_or(64),
        layers: raw.layers.unwrap_or(1),
        dropout: raw.dropout.unwrap_or(0.0),
        segment: raw.segment.unwrap_or(1),
        linear_lags: raw.linear_lags.unwrap_or(raw.lookback.min(24)),
        noise: raw.noise.unwrap_or(0.0),
        members: raw.members.unwrap_or(1),
    };
    within("model.hidden", lstm.hidden, 1..=4096, "between 1 and 4096")?;
    within("model.layers", lstm.layers, 1..=8, "between 1 and 8")?;
    within(
        "model.dropout",
        lstm.dropout,
        0.0..=0.9,
        "between 0 and 0.9",
    )?;
    within(
        "model.linear_lags",
        lstm.linear_lags,
        1..=raw.lookback,
        "between 1 and model.lookback",
    )?;
    within("model.noise", lstm.noise, 0.0..=10.0, "between 0 and 10")?;
    within("model.members", lstm.members, 1..=64, "between 1 and 64")?;
    if lstm.segment == 0 || !raw.lookback.is_multiple_of(lstm.segment) {
        let expected = format!("a divisor of model.lookback ({})", raw.lookback);
        return Err(invalid("model.segment", expected, lstm.segment));
    }
    Ok(lstm)
}

fn check_train(raw: &raw::Train) -> Result<TrainParams, Invalid> {
    within(
        "train.epochs",
        raw.epochs,
        1..=100_000,
        "between 1 and 100000",
    )?;
    within(
        "train.batch",
        raw.batch,
        1..=1_000_000,
        "between 1 and 1000000",
    )?;
    within(
        "train.learning_rate",
        raw.learning_rate,
        1e-9..=10.0,
        "between 1e-9 and 10",
    )?;
    within(
        "train.weight_decay",
        raw.weight_decay,
        0.0..=10.0,
        "between 0 and 10",
    )?;
    within("train.clip", raw.clip, 1e-6..=1e6, "between 1e-6 and 1e6")?;
    within(
        "train.patience",
        raw.patience,
        1..=100_000,
        "between 1 and 100000",
    )?;
    within(
        "train.stride",
        raw.stride,
        1..=100_000,
        "between 1 and 100000",
    )?;
    within("train.threads", raw.threads, 1..=1024, "between 1 and 1024")?;
    Ok(TrainParams {
        epochs: raw.epochs,
        batch: raw.batch,
        learning_rate: raw.learning_rate,
        weight_decay: raw.weight_decay,
        clip: raw.clip,
        patience: raw.patience,
        stride: raw.stride,
        seed: raw.seed,
        threads: raw.threads,
        device: raw.device,
    })
}

fn check_tune(raw: raw::Tune) -> Result<TuneParams, Invalid> {
    within(
        "tune.trials",
        raw.trials,
        1..=1_000_000,
        "between 1 and 1000000",
    )?;
    if raw.space.is_empty() {
        return Err(invalid("tune.space", "at least one parameter", "none"));
    }
    let space = raw
        .space
        .into_iter()
        .map(|(name, range)| {
            let dimension = check_dimension(&name, range)?;
            Ok((name, dimension))
        })
        .collect::<Result<_, Invalid>>()?;
    Ok(TuneParams {
        trials: raw.trials,
        sampler: raw.sampler,
        startup_trials: raw.startup_trials.max(1),
        seed: raw.seed,
        space,
    })
}

fn check_dimension(name: &str, range: raw::Range) -> Result<Dimension, Invalid> {
    let key = format!("tune.space.{name}");
    if !name.starts_with("train.") && !name.starts_with("model.") {
        return Err(invalid(
            key,
            "a key of `train` or `model`, such as train.learning_rate",
            name,
        ));
    }
    match range {
        raw::Range::Choice { choice } => {
            let values = choice
                .iter()
                .map(serde_json::to_value)
                .collect::<Result<Vec<_>, _>>();
            match values {
                Ok(values) if !values.is_empty() => Ok(Dimension::Choice(values)),
                _ => Err(invalid(
                    key,
                    "`choice` with at least one plain value",
                    "none",
                )),
            }
        }
        raw::Range::Interval {
            low,
            high,
            log,
            integer,
        } => {
            let whole = !integer || (low.fract() == 0.0 && high.fract() == 0.0);
            if low.is_finite() && high.is_finite() && low < high && (!log || low > 0.0) && whole {
                Ok(Dimension::Interval {
                    low,
                    high,
                    log,
                    integer,
                })
            } else {
                let expected = "low < high, low above 0 with `log`, whole numbers with `integer`";
                Err(invalid(key, expected, format!("low {low}, high {high}")))
            }
        }
    }
}

fn check_evaluate(raw: raw::Evaluate) -> Result<EvaluateParams, Invalid> {
    within(
        "evaluate.stride",
        raw.stride,
        1..=100_000,
        "between 1 and 100000",
    )?;
    within(
        "evaluate.ridge_lags",
        raw.ridge_lags,
        1..=10_000,
        "between 1 and 10000",
    )?;
    for name in &raw.baselines {
        if !["persistence", "seasonal", "climatology", "ridge"].contains(&name.as_str()) {
            let expected = "persistence, seasonal, climatology or ridge";
            return Err(invalid("evaluate.baselines", expected, name));
        }
    }
    if let Some(skill) = raw.minimum_skill {
        within("evaluate.minimum_skill", skill, -1e9..=1.0, "at most 1")?;
    }
    Ok(EvaluateParams {
        baselines: raw.baselines,
        ridge_lags: raw.ridge_lags,
        stride: raw.stride,
        minimum_skill: raw.minimum_skill,
    })
}

fn within<T: PartialOrd + std::fmt::Display>(
    key: &str,
    value: T,
    range: std::ops::RangeInclusive<T>,
    expected: &str,
) -> Result<(), Invalid> {
    // A NaN is outside of every range.
    if range.contains(&value) {
        Ok(())
    } else {
        Err(invalid(key, expected, value))
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
