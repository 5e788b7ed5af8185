//! From `params.yaml` as written to parameters whose ranges hold; the error names the key.

use super::checked::{
    Dimension, EvaluateParams, FeelsLike, Params, PredictParams, SourceParams, TuneParams,
};
use super::{BASELINES, Invalid, invalid};
use super::{model, raw, source, train};
use crate::yaml::OfKind;

pub(super) fn check(raw: raw::Params) -> Result<Params, Invalid> {
    let sources = raw
        .sources
        .into_iter()
        .map(|(name, OfKind(source))| {
            let checked = check_source(&format!("sources.{name}"), source)?;
            Ok((name, checked))
        })
        .collect::<Result<_, Invalid>>()?;
    let model = raw.model.as_ref().map(model::check).transpose()?;
    Ok(Params {
        sources,
        prepare: raw.prepare.map(super::prepare::check).transpose()?,
        model,
        train: train::check(&raw.train)?,
        tune: raw.tune.map(check_tune).transpose()?,
        evaluate: check_evaluate(raw.evaluate)?,
        predict: PredictParams {
            feels_like: raw.predict.feels_like.map(|f| FeelsLike {
                wind_speed: f.wind_speed,
                humidity: f.humidity,
                wind_from: f.wind_from,
            }),
            paths: raw.predict.paths,
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
    if name == "model.horizon" {
        let expected = "a parameter that leaves alone what is forecast: the nearer leads err less by themselves";
        return Err(invalid(key, expected, name));
    }
    if name.starts_with("model.correction") {
        let expected = "a parameter of the net: trials are not corrected";
        return Err(invalid(key, expected, name));
    }
    let shape = "either `choice`, or `low` and `high`";
    let raw::Range {
        choice,
        low,
        high,
        log,
        integer,
    } = range;
    match (choice, low, high) {
        (Some(_), None, None) if log || integer => Err(invalid(
            key,
            "`log` and `integer` beside `low` and `high` alone",
            "a choice",
        )),
        (Some(choice), None, None) => check_choice(key, &choice),
        (None, Some(low), Some(high)) => check_interval(key, low, high, log, integer),
        (Some(_), _, _) => Err(invalid(key, shape, "both")),
        (None, Some(_), None) => Err(invalid(key, shape, "`low` alone")),
        (None, None, Some(_)) => Err(invalid(key, shape, "`high` alone")),
        (None, None, None) => Err(invalid(key, shape, "neither")),
    }
}

fn check_choice(key: String, choice: &[serde_yaml::Value]) -> Result<Dimension, Invalid> {
    let values = choice.iter().map(serde_json::to_value);
    match values.collect::<Result<Vec<_>, _>>() {
        Ok(values) if !values.is_empty() => Ok(Dimension::Choice(values)),
        _ => Err(invalid(
            key,
            "`choice` with at least one plain value",
            "none",
        )),
    }
}

fn check_interval(
    key: String,
    low: f64,
    high: f64,
    log: bool,
    integer: bool,
) -> Result<Dimension, Invalid> {
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
    for name in raw.baselines.iter().flatten() {
        if !BASELINES.contains(&name.as_str()) {
            let expected = format!("some of {}", BASELINES.join(", "));
            return Err(invalid("evaluate.baselines", expected, name));
        }
    }
    if let Some(skill) = raw.minimum_skill {
        if raw.baselines.as_ref().is_some_and(Vec::is_empty) {
            let expected = "absent where evaluate.baselines is empty";
            return Err(invalid("evaluate.minimum_skill", expected, skill));
        }
        within("evaluate.minimum_skill", skill, -1e9..=1.0, "at most 1")?;
    }
    Ok(EvaluateParams {
        baselines: raw.baselines,
        ridge_lags: raw.ridge_lags,
        season: raw.season,
        stride: raw.stride,
        minimum_skill: raw.minimum_skill,
        forecasts: raw.forecasts,
        device: raw.device,
    })
}

pub(super) fn within<T: PartialOrd + std::fmt::Display>(
    key: &str,
    value: T,
    range: std::ops::RangeInclusive<T>,
    expected: &str,
) -> Result<(), Invalid> {
    within_others(key, value, range, expected).map_err(|invalid| Invalid {
        always: true,
        ..invalid
    })
}

/// The same of a range that is made of other parameters.
pub(super) fn within_others<T: PartialOrd + std::fmt::Display>(
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
