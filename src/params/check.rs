//! From `params.yaml` as written to parameters whose ranges hold; the error names the key.

use super::checked::{
    Architecture, Dimension, EvaluateParams, FeelsLike, LstmParams, ModelParams, Params,
    PredictParams, RidgeParams, SourceParams, TrainParams, TuneParams,
};
use super::{Invalid, invalid};
use super::{raw, source};
use crate::time::Step;

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
        prepare: raw.prepare.map(super::prepare::check).transpose()?,
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

fn check_source(key: &str, raw: raw::Source) -> Result<SourceParams, Invalid> {
    let name = key.trim_start_matches("sources.");
    if name.is_empty() || name.contains('.') {
        return Err(invalid(key, "a name without dots", name));
    }
    match raw {
        raw::Source::File(raw) => {
            let source = source::file::check(key, *raw)?;
            Ok(SourceParams::File(Box::new(source)))
        }
        raw::Source::Http(raw) => {
            let source = source::http::check(key, *raw)?;
            Ok(SourceParams::Http(Box::new(source)))
        }
        raw::Source::NoaaCo2(raw) => source::noaa_co2::check(key, raw).map(SourceParams::NoaaCo2),
        raw::Source::OpenMeteo(raw) => {
            source::open_meteo::check(key, *raw).map(SourceParams::OpenMeteo)
        }
    }
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
        1..=2000,
        "between 1 and 2000",
    )?;
    for name in &raw.baselines {
        if !["persistence", "seasonal", "climatology", "ridge"].contains(&name.as_str()) {
            let expected = "persistence, seasonal, climatology or ridge";
            return Err(invalid("evaluate.baselines", expected, name));
        }
    }
    if let Some(skill) = raw.minimum_skill {
        if raw.baselines.is_empty() {
            let expected = "absent where evaluate.baselines is empty";
            return Err(invalid("evaluate.minimum_skill", expected, skill));
        }
        within("evaluate.minimum_skill", skill, -1e9..=1.0, "at most 1")?;
    }
    Ok(EvaluateParams {
        baselines: raw.baselines,
        ridge_lags: raw.ridge_lags,
        stride: raw.stride,
        minimum_skill: raw.minimum_skill,
    })
}

pub(super) fn within<T: PartialOrd + std::fmt::Display>(
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
