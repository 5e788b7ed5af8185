//! The section `prepare` as a person wrote it, and what it has to hold.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::super::{Aggregate, Invalid, Statistic, Targets, capacity, invalid};
use super::{
    Borders, CalendarWaves, DewPointParams, FillMethod, FillParams, ForecastParams, Mask, Place,
    PrepareParams, RollingParams, Scaling, Shift, SpeedParams, SplitParams, SplitShares, SunParams,
    WindPair,
};
use crate::time::{Delay, Step, Zone, parse_time};
use crate::yaml::sections;

sections!(
    Raw,
    RawFill,
    RawRolling,
    RawSun,
    RawForecasts,
    RawSplit,
    RawScaling
);

/// The section as written.
#[derive(Debug, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the name of a key")]
#[serde(deny_unknown_fields, remote = "Self")]
pub(in super::super) struct Raw {
    target: Targets,
    step: Step,
    raw_step: Option<Step>,
    columns: Option<Vec<String>>,
    #[serde(default)]
    known: Vec<String>,
    #[serde(default)]
    wind: Vec<WindPair>,
    #[serde(default)]
    speed: Vec<SpeedParams>,
    #[serde(default)]
    aggregate: BTreeMap<String, Aggregate>,
    #[serde(default = "half")]
    minimum_share: f64,
    fill: Option<RawFill>,
    #[serde(default)]
    calendar: Vec<CalendarWaves>,
    calendar_zone: Option<String>,
    #[serde(default)]
    lags: BTreeMap<String, Vec<Shift>>,
    #[serde(default)]
    rolling: Vec<RawRolling>,
    #[serde(default)]
    differences: BTreeMap<String, Vec<Step>>,
    #[serde(default)]
    dew_point: Vec<DewPointParams>,
    sun: Option<RawSun>,
    #[serde(default)]
    forecasts: RawForecasts,
    #[serde(default)]
    quality: super::super::raw_quality::Quality,
    #[serde(default)]
    split: RawSplit,
    #[serde(default)]
    scaling: RawScaling,
    #[serde(default)]
    capacity: BTreeMap<String, capacity::Raw>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
struct RawFill {
    up_to: Step,
    #[serde(default)]
    method: FillMethod,
    season: Option<Step>,
    #[serde(default)]
    mask: Mask,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
struct RawRolling {
    column: String,
    over: Step,
    ahead: Option<Step>,
    stat: Statistic,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
struct RawSun {
    latitude: Option<f64>,
    longitude: Option<f64>,
    #[serde(default)]
    places: BTreeMap<String, Place>,
    radiation: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default, remote = "Self")]
struct RawForecasts {
    delay: Delay,
    columns: Option<Vec<String>>,
    wind: Vec<WindPair>,
    lead: bool,
}

impl Default for RawForecasts {
    fn default() -> Self {
        Self {
            delay: Delay::default(),
            columns: None,
            wind: Vec::new(),
            lead: true,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, remote = "Self")]
struct RawSplit {
    train: Option<f64>,
    validation: Option<f64>,
    test: Option<f64>,
    validation_from: Option<String>,
    test_from: Option<String>,
    purge: Option<Step>,
    history: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, remote = "Self")]
struct RawScaling {
    default: Scaling,
    columns: BTreeMap<String, Scaling>,
}

fn half() -> f64 {
    0.5
}

pub(in super::super) fn check(raw: Raw) -> Result<PrepareParams, Invalid> {
    let key = |name: &str| format!("prepare.{name}");
    if !(raw.minimum_share > 0.0 && raw.minimum_share <= 1.0) {
        let expected = "above 0 and at most 1";
        return Err(invalid(key("minimum_share"), expected, raw.minimum_share));
    }
    if let Some(raw_step) = raw.raw_step
        && (raw_step > raw.step || raw.step.seconds() % raw_step.seconds() != 0)
    {
        let expected = format!("a divisor of prepare.step ({})", raw.step);
        return Err(invalid(key("raw_step"), expected, raw_step));
    }
    if let Some(name) = raw.known.iter().find(|name| raw.target.contains(name)) {
        let expected = "columns other than the target";
        return Err(invalid(key("known"), expected, name));
    }
    let zone = |name: String| {
        let expected = "a time zone such as Europe/Berlin";
        Zone::find(&name).ok_or_else(|| invalid(key("calendar_zone"), expected, name))
    };
    let calendar_zone = raw.calendar_zone.map(zone).transpose()?;
    for (name, lags) in &raw.lags {
        for lag in lags {
            whole_steps(&key(&format!("lags.{name}")), lag.seconds(), raw.step, lag)?;
        }
    }
    for (name, lengths) in &raw.differences {
        for length in lengths {
            let key = key(&format!("differences.{name}"));
            whole_steps(&key, length.seconds(), raw.step, length)?;
        }
    }
    for rolling in &raw.rolling {
        for length in [Some(rolling.over), rolling.ahead].into_iter().flatten() {
            whole_steps(&key("rolling"), length.seconds(), raw.step, length)?;
        }
    }
    Ok(PrepareParams {
        fill: raw
            .fill
            .map(|fill| check_fill(&fill, raw.step))
            .transpose()?,
        sun: raw.sun.map(check_sun).transpose()?,
        split: check_split(&raw.split)?,
        quality: super::super::quality::check_quality(raw.quality)?,
        forecasts: ForecastParams {
            delay_s: raw.forecasts.delay.seconds(),
            columns: raw.forecasts.columns,
            wind: raw.forecasts.wind,
            lead: raw.forecasts.lead,
        },
        rolling: raw
            .rolling
            .into_iter()
            .map(|rolling| RollingParams {
                column: rolling.column,
                over: rolling.over,
                ahead: rolling.ahead,
                stat: rolling.stat,
            })
            .collect(),
        targets: raw.target,
        step: raw.step,
        raw_step: raw.raw_step,
        columns: raw.columns,
        known: raw.known,
        wind: raw.wind,
        aggregate: raw.aggregate,
        minimum_share: raw.minimum_share,
        calendar: raw.calendar,
        calendar_zone,
        lags: raw.lags,
        differences: raw.differences,
        dew_point: raw.dew_point,
        speed: raw.speed,
        scaling: raw.scaling.default,
        scaling_of: raw.scaling.columns,
        capacity: capacity::check(raw.capacity)?,
    })
}

/// Features reach over whole rows.
fn whole_steps(
    key: &str,
    seconds: i64,
    step: Step,
    found: impl std::fmt::Display,
) -> Result<(), Invalid> {
    if seconds % step.seconds() == 0 {
        return Ok(());
    }
    Err(invalid(
        key,
        format!("multiples of prepare.step ({step})"),
        found,
    ))
}

fn check_fill(raw: &RawFill, step: Step) -> Result<FillParams, Invalid> {
    let season = raw.season.unwrap_or(Step::DAY);
    if raw.season.is_some() && raw.method != FillMethod::Seasonal {
        let found = "it beside another method";
        return Err(invalid("prepare.fill.season", "absent", found));
    }
    if raw.method == FillMethod::Seasonal {
        whole_steps("prepare.fill.season", season.seconds(), step, season)?;
    }
    if raw.up_to.seconds() < step.seconds() {
        let expected = format!("at least prepare.step ({step}), or no gap is filled");
        return Err(invalid("prepare.fill.up_to", expected, raw.up_to));
    }
    Ok(FillParams {
        up_to: raw.up_to,
        method: raw.method,
        season,
        mask: raw.mask,
    })
}

fn check_sun(raw: RawSun) -> Result<SunParams, Invalid> {
    let mut places = raw.places;
    match (raw.latitude, raw.longitude) {
        (Some(latitude), Some(longitude)) => {
            let place = Place {
                latitude,
                longitude,
            };
            places.insert(String::new(), place);
        }
        (None, None) => {}
        _ => {
            let expected = "both `latitude` and `longitude`";
            return Err(invalid("prepare.sun", expected, "one of them"));
        }
    }
    if places.is_empty() {
        let expected = "`latitude` and `longitude`, or `places`";
        return Err(invalid("prepare.sun", expected, "neither"));
    }
    for (name, place) in &places {
        let expected = "latitudes from -90 to 90 and longitudes from -180 to 180";
        let on_earth =
            (-90.0..=90.0).contains(&place.latitude) && (-180.0..=180.0).contains(&place.longitude);
        if !on_earth {
            let found = format!("{} and {} {name}", place.latitude, place.longitude);
            return Err(invalid("prepare.sun", expected, found.trim_end()));
        }
    }
    Ok(SunParams {
        places,
        radiation: raw.radiation,
    })
}

fn check_split(raw: &RawSplit) -> Result<SplitParams, Invalid> {
    Ok(SplitParams {
        borders: check_borders(raw)?,
        purge_s: raw.purge.map_or(0, Step::seconds),
        history: raw.history,
    })
}

fn check_borders(raw: &RawSplit) -> Result<Borders, Invalid> {
    let shares = [raw.train, raw.validation, raw.test];
    match (&raw.validation_from, &raw.test_from) {
        (Some(validation), Some(test)) if shares.iter().all(Option::is_none) => {
            let time = |name: &str, text: &str| {
                parse_time(text, None, 0).ok_or_else(|| {
                    let key = format!("prepare.split.{name}");
                    invalid(key, "a time such as 2024-06-01", text)
                })
            };
            let validation_from = time("validation_from", validation)?;
            let test_from = time("test_from", test)?;
            if test_from <= validation_from {
                let expected = format!("a time after {validation}");
                return Err(invalid("prepare.split.test_from", expected, test));
            }
            Ok(Borders::Dates {
                validation_from,
                test_from,
            })
        }
        (None, None) => check_shares(shares).map(Borders::Shares),
        _ => Err(invalid(
            "prepare.split",
            "three shares, or `validation_from` and `test_from`",
            "something between",
        )),
    }
}

fn check_shares(raw: [Option<f64>; 3]) -> Result<SplitShares, Invalid> {
    let [train, validation, test] = match raw {
        [None, None, None] => [0.7, 0.1, 0.2],
        [Some(train), Some(validation), Some(test)] => [train, validation, test],
        _ => {
            let expected = "`train`, `validation` and `test`";
            return Err(invalid("prepare.split", expected, "some of them"));
        }
    };
    for (name, share) in [("train", train), ("validation", validation), ("test", test)] {
        if !(share > 0.0 && share <= 1.0) {
            let key = format!("prepare.split.{name}");
            return Err(invalid(key, "above 0 and at most 1", share));
        }
    }
    let sum = train + validation + test;
    if (sum - 1.0).abs() > 1e-9 {
        return Err(invalid("prepare.split", "shares that add up to 1", sum));
    }
    Ok(SplitShares {
        train,
        validation,
        test,
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::CapacityParams;
    use super::*;

    fn checked(change: &str) -> Result<PrepareParams, String> {
        let text = format!("target: t\nstep: 1h\n{change}\n");
        let raw = serde_yaml::from_str(&text).map_err(|error| error.to_string())?;
        check(raw).map_err(|error| error.to_string())
    }

    #[test]
    fn what_cannot_be_prepared_is_told_by_its_key() {
        for (change, told) in [
            ("minimum_share: 0", "minimum_share: expected above 0"),
            (
                "raw_step: 7min",
                "raw_step: expected a divisor of prepare.step (1h), found 7min",
            ),
            ("raw_step: 2h", "raw_step"),
            (
                "known: [t]",
                "known: expected columns other than the target",
            ),
            ("calendar_zone: Mars", "calendar_zone: expected a time zone"),
            (
                "calendar: [day_of_moon]",
                "expected `hour_of_day`, `day_of_week` or",
            ),
            (
                "calendar: [{day_of_year: 0}]",
                "between 1 and 12 waves, found 0",
            ),
            (
                "calendar: [{day_of_year: 13}]",
                "between 1 and 12 waves, found 13",
            ),
            (
                "calendar: [{day_of_year: 2, hour_of_day: 2}]",
                "each cycle in an entry of its own",
            ),
            (
                "lags: {t: [90min]}",
                "lags.t: expected multiples of prepare.step (1h), found 90min",
            ),
            ("lags: {t: [soon]}", "length of time"),
            ("differences: {t: [1min]}", "differences.t"),
            ("rolling: [{column: t, over: 90min, stat: mean}]", "rolling"),
            ("rolling: [{column: t, over: 2h, stat: middle}]", "middle"),
            ("fill: {up_to: 3h, season: 1d}", "fill.season"),
            ("fill: {up_to: 3h, method: guess}", "guess"),
            ("sun: {latitude: 50}", "sun: expected both"),
            ("sun: {}", "sun: expected `latitude`"),
            ("sun: {latitude: 91, longitude: 0}", "found 91 and 0"),
            (
                "split: {train: 0.7, validation: 0.1}",
                "split: expected `train`",
            ),
            (
                "split: {train: 0.7, validation: 0.1, test: 0.1}",
                "add up to 1",
            ),
            (
                "split: {train: 0, validation: 0.5, test: 0.5}",
                "split.train",
            ),
            ("split: {validation_from: 2024-01-01}", "something between"),
            (
                "split: {validation_from: 2024-01-01, test_from: 2023-01-01}",
                "split.test_from",
            ),
            (
                "split: {validation_from: soon, test_from: 2023-01-01}",
                "split.validation_from",
            ),
            ("scaling: {default: none_at_all}", "none_at_all"),
            (
                "capacity: {t: 0}",
                "prepare.capacity.t: expected a number above 0, one for each series, or `largest`, found 0",
            ),
            (
                "capacity: {t: {a: 2, b: -1}}",
                "prepare.capacity.t.b: expected a number above 0",
            ),
            (
                "capacity: {t: {}}",
                "prepare.capacity.t: expected a number for each series",
            ),
            (
                "capacity: {t: most}",
                "prepare.capacity.t: expected a number above 0, one for each series, or `largest`, found most",
            ),
            (
                "capacity: {t: {a: 2 MW}}",
                "prepare.capacity.t.a: expected a number above 0, found 2 MW",
            ),
        ] {
            let error = checked(change).unwrap_err();
            assert!(error.contains(told), "{change}: {error}");
        }
    }

    #[test]
    fn what_is_written_becomes_what_is_meant() {
        let params = checked(
            "lags: {t: [24h, -1h]}\nsun: {latitude: 50, longitude: 2}\n\
             split: {validation_from: 2024-01-01, test_from: 2024-07-01T00:00Z, purge: 2d}",
        )
        .unwrap();
        let lags: Vec<String> = params.lags["t"].iter().map(ToString::to_string).collect();
        assert_eq!(lags, ["1d", "-1h"]);
        assert_eq!(params.lags["t"][1].seconds(), -3600);
        assert!((params.sun.unwrap().places[""].latitude - 50.0).abs() < 1e-12);
        let Borders::Dates {
            validation_from, ..
        } = params.split.borders
        else {
            panic!("{:?}", params.split)
        };
        assert_eq!(
            (validation_from, params.split.purge_s),
            (1_704_067_200, 172_800)
        );
        assert_eq!(params.split.train_until(0, 100), validation_from);
        assert_eq!(params.forecasts.delay_s, 0);
        assert!(params.forecasts.lead);
        for (delay, seconds) in [("0s", 0), ("90min", 5400)] {
            let params = checked(&format!("forecasts: {{delay: {delay}}}")).unwrap();
            assert_eq!(params.forecasts.delay_s, seconds);
        }
    }

    #[test]
    fn a_capacity_is_one_or_of_each_or_found() {
        let params = checked("capacity: {t: 2, u: {a: 2, 1: 2.5}, v: largest}").unwrap();
        let each = [("a".to_owned(), 2.0), ("1".to_owned(), 2.5)].into();
        assert_eq!(params.capacity["t"], CapacityParams::Same(2.0));
        assert_eq!(params.capacity["u"], CapacityParams::Each(each));
        assert_eq!(params.capacity["v"], CapacityParams::Largest);
    }
}
