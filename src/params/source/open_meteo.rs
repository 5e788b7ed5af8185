//! `kind: open-meteo`: from what a person wrote to what can be asked for.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::super::check::within;
use super::super::{Invalid, Place, invalid};
use super::requests::{
    RawLimits, RawToken, RequestLimits, Token, check_limits, check_token, check_year,
};
use crate::time::{DAY, Step, parse_time};
use crate::yaml::sections;

sections!(Raw);

/// As written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
pub(in crate::params) struct Raw {
    endpoint: String,
    latitude: Option<f64>,
    longitude: Option<f64>,
    #[serde(default)]
    places: BTreeMap<String, Place>,
    variables: Vec<String>,
    from: Option<String>,
    to: Option<String>,
    past_days: Option<u32>,
    forecast_days: Option<u32>,
    issued_every: Option<Step>,
    earlier: Option<String>,
    #[serde(default)]
    by_issue: bool,
    #[serde(default)]
    models: Vec<String>,
    days_per_request: Option<u32>,
    places_per_request: Option<u32>,
    overlap: Option<Step>,
    url: Option<String>,
    token: Option<RawToken>,
    #[serde(default)]
    requests: RawLimits,
}

/// What to ask Open-Meteo for.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenMeteoSource {
    /// Where requests go, without the query.
    pub url: String,
    /// Where on earth.
    pub places: Places,
    /// Hourly variables by its names; at least one.
    pub variables: Vec<String>,
    /// Weather models by its names; its own choice where empty.
    pub models: Vec<String>,
    /// Which hours.
    pub wanted: Wanted,
    /// How many places one request asks for; positive.
    pub places_per_request: usize,
    /// How many calls a minute the service allows, by its own count; none where nobody counts.
    pub counted: Option<u32>,
    /// What proves who asks.
    pub token: Option<Token>,
    /// How long and how often to try.
    pub requests: RequestLimits,
}

/// One place, which needs no name, or several.
#[derive(Clone, Debug, PartialEq)]
pub enum Places {
    /// One.
    One(Place),
    /// By name; at least one. Each is a series.
    Named(BTreeMap<String, Place>),
}

/// Which hours are wanted.
#[derive(Clone, Debug, PartialEq)]
pub enum Wanted {
    /// Values of days.
    Days(DaysWanted),
    /// What is forecast now, beside what was forecast when it was asked for before.
    Forecast(ForecastWanted),
}

/// Values of days.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaysWanted {
    /// The days to ask for, UTC.
    pub days: Days,
    /// How many of them one request asks for; positive.
    pub days_per_request: i64,
    /// How long values may still be corrected, in seconds.
    pub overlap_s: i64,
    /// Whether each variable is one of [`previous_day`], to become rows with issue times.
    pub by_issue: bool,
    /// Then the grid of these in seconds, for whole forecasts; none for one lead a variable.
    pub issued_every_s: Option<i64>,
}

/// Days as numbers since 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Days {
    /// From a day to another one, or to today.
    Range {
        /// The first.
        from: i64,
        /// The last.
        to: Option<i64>,
    },
    /// So many days before today, and today.
    Past(i64),
}

/// A forecast as of now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForecastWanted {
    /// Days before today, of which the service tells what it holds true now.
    pub past_days: i64,
    /// Days from today on, today included.
    pub forecast_days: i64,
    /// The grid of issue times in seconds, a divisor of a day.
    pub issued_every_s: i64,
    /// A table of earlier issues, relative to the project.
    pub earlier: Option<String>,
}

/// `temperature_2m_previous_day2` is `temperature_2m` as it was forecast 2 days before.
pub fn previous_day(variable: &str) -> Option<(&str, i64)> {
    let (name, days) = variable.rsplit_once("_previous_day")?;
    let days: i64 = days.parse().ok()?;
    (!name.is_empty() && (1..=7).contains(&days)).then_some((name, days))
}

/// What an endpoint is like.
struct Endpoint {
    url: &'static str,
    /// Days after which values are final.
    overlap_days: i64,
}

const ENDPOINTS: &str = "archive, forecast, historical-forecast or previous-runs";

fn endpoint(key: String, name: &str) -> Result<Endpoint, Invalid> {
    let (url, overlap_days) = match name {
        // ERA5 comes first as a preliminary version, five days late.
        "archive" => ("https://archive-api.open-meteo.com/v1/archive", 7),
        "historical-forecast" => (
            "https://historical-forecast-api.open-meteo.com/v1/forecast",
            2,
        ),
        "previous-runs" => ("https://previous-runs-api.open-meteo.com/v1/forecast", 2),
        "forecast" => ("https://api.open-meteo.com/v1/forecast", 0),
        other => return Err(invalid(key, ENDPOINTS, other)),
    };
    Ok(Endpoint { url, overlap_days })
}

pub(in crate::params) fn check(section: &str, raw: Raw) -> Result<OpenMeteoSource, Invalid> {
    let key = |name: &str| format!("{section}.{name}");
    let endpoint = endpoint(key("endpoint"), &raw.endpoint)?;
    let places = check_places(section, &raw)?;
    check_names(&key("variables"), &raw.variables)?;
    if raw.variables.is_empty() {
        return Err(invalid(key("variables"), "at least one", "none"));
    }
    check_names(&key("models"), &raw.models)?;
    let wanted = if raw.endpoint == "forecast" {
        Wanted::Forecast(check_forecast(&key, &raw)?)
    } else {
        Wanted::Days(check_range(&key, &raw, &endpoint)?)
    };
    // A range of days is stored for good: its answers should not depend on the other places.
    let usual = match wanted {
        Wanted::Days(_) => 1,
        Wanted::Forecast(_) => 10,
    };
    let places_per_request = raw.places_per_request.unwrap_or(usual);
    within(
        &key("places_per_request"),
        places_per_request,
        1..=1000,
        "between 1 and 1000",
    )?;
    // The service itself counts; who has a server of their own says what it bears.
    let counted = raw.url.is_none().then_some(600);
    let url = raw.url.unwrap_or_else(|| endpoint.url.to_owned());
    if !(url.starts_with("https://") || url.starts_with("http://")) || url.contains(['?', '#', '@'])
    {
        let expected = "https://HOST/PATH without a query or a password";
        return Err(invalid(key("url"), expected, "something else"));
    }
    Ok(OpenMeteoSource {
        url,
        places,
        variables: raw.variables,
        models: raw.models,
        wanted,
        places_per_request: places_per_request as usize,
        counted,
        token: raw
            .token
            .map(|token| check_token(&key("token"), token))
            .transpose()?,
        requests: check_limits(&key("requests"), &raw.requests)?,
    })
}

fn check_places(section: &str, raw: &Raw) -> Result<Places, Invalid> {
    let place = |section: &str, latitude: f64, longitude: f64| {
        let between = |name: &str, value: f64, end: f64| {
            let expected = format!("between -{end} and {end}");
            within(&format!("{section}.{name}"), value, -end..=end, &expected)
        };
        between("latitude", latitude, 90.0)?;
        between("longitude", longitude, 180.0)?;
        Ok(Place {
            latitude,
            longitude,
        })
    };
    match (raw.latitude, raw.longitude) {
        (Some(latitude), Some(longitude)) if raw.places.is_empty() => {
            place(section, latitude, longitude).map(Places::One)
        }
        (None, None) if !raw.places.is_empty() => {
            let mut places: BTreeMap<String, Place> = BTreeMap::new();
            for (
                name,
                &Place {
                    latitude,
                    longitude,
                },
            ) in &raw.places
            {
                let key = format!("{section}.places.{name}");
                if name.is_empty() || name.contains(char::is_control) {
                    return Err(invalid(key, "a name", "none, or one of several lines"));
                }
                let place = place(&key, latitude, longitude)?;
                if let Some((other, _)) = places.iter().find(|(_, other)| **other == place) {
                    return Err(invalid(
                        key,
                        "a place of its own",
                        format!("that of {other}"),
                    ));
                }
                places.insert(name.clone(), place);
            }
            Ok(Places::Named(places))
        }
        (latitude, longitude) => {
            let found = match (latitude, longitude) {
                (None, None) => "neither",
                (Some(_), None) => "no longitude",
                (None, Some(_)) => "no latitude",
                (Some(_), Some(_)) => "both",
            };
            let expected = "`latitude` and `longitude`, or `places`";
            Err(invalid(format!("{section}.places"), expected, found))
        }
    }
}

/// Keys that an endpoint does not know say so, because they would change nothing.
fn check_unused(
    key: &dyn Fn(&str) -> String,
    endpoint: &str,
    given: &[(&str, bool)],
) -> Result<(), Invalid> {
    match given.iter().find(|(_, given)| *given) {
        Some((name, _)) => {
            let expected = format!("none, since `endpoint: {endpoint}` has no use for it");
            Err(invalid(key(name), expected, "one"))
        }
        None => Ok(()),
    }
}

fn check_range(
    key: &dyn Fn(&str) -> String,
    raw: &Raw,
    endpoint: &Endpoint,
) -> Result<DaysWanted, Invalid> {
    let unused = [
        ("forecast_days", raw.forecast_days.is_some()),
        ("issued_every", raw.issued_every.is_some() && !raw.by_issue),
        ("earlier", raw.earlier.is_some()),
        ("by_issue", raw.by_issue && raw.endpoint != "previous-runs"),
    ];
    check_unused(key, &raw.endpoint, &unused)?;
    let days_per_request = raw.days_per_request.unwrap_or(30);
    within(
        &key("days_per_request"),
        days_per_request,
        1..=3660,
        "between 1 and 3660",
    )?;
    let without = |variable: &&String| previous_day(variable).is_none();
    if let Some(variable) = raw.variables.iter().find(without).filter(|_| raw.by_issue) {
        let expected = "names such as temperature_2m_previous_day1, whose issue time is known";
        return Err(invalid(key("variables"), expected, variable));
    }
    let overlap_s = endpoint.overlap_days * DAY;
    Ok(DaysWanted {
        days: check_days(key, raw.from.clone(), raw.to.clone(), raw.past_days)?,
        days_per_request: i64::from(days_per_request),
        overlap_s: raw.overlap.map_or(overlap_s, Step::seconds),
        by_issue: raw.by_issue,
        issued_every_s: raw
            .issued_every
            .map(|step| check_grid(key, step, 3600))
            .transpose()?,
    })
}

fn check_forecast(key: &dyn Fn(&str) -> String, raw: &Raw) -> Result<ForecastWanted, Invalid> {
    let unused = [
        ("from", raw.from.is_some()),
        ("to", raw.to.is_some()),
        ("days_per_request", raw.days_per_request.is_some()),
        ("overlap", raw.overlap.is_some()),
        ("by_issue", raw.by_issue),
    ];
    check_unused(key, "forecast", &unused)?;
    let past_days = raw.past_days.unwrap_or(0);
    within(&key("past_days"), past_days, 0..=92, "between 0 and 92")?;
    let forecast_days = raw.forecast_days.unwrap_or(7);
    // Without a day there is nothing to ask for.
    let least = u32::from(past_days == 0);
    let expected = format!("between {least} and 16");
    within(&key("forecast_days"), forecast_days, least..=16, &expected)?;
    let issued_every_s = check_grid(key, raw.issued_every.unwrap_or(Step::HOUR), 60)?;
    if raw.earlier.as_ref().is_some_and(String::is_empty) {
        return Err(invalid(key("earlier"), "a file", "nothing"));
    }
    Ok(ForecastWanted {
        past_days: i64::from(past_days),
        forecast_days: i64::from(forecast_days),
        issued_every_s,
        earlier: raw.earlier.clone(),
    })
}

/// A grid of issue times has one at each midnight.
fn check_grid(key: &dyn Fn(&str) -> String, step: Step, least_s: i64) -> Result<i64, Invalid> {
    let seconds = step.seconds();
    if seconds >= least_s && DAY % seconds == 0 {
        return Ok(seconds);
    }
    let expected = format!("a divisor of 1d, such as 1h or 6h, and at least {least_s} s");
    Err(invalid(
        key("issued_every"),
        expected,
        format!("{seconds} s"),
    ))
}

/// Names go into a URL as they are, and each into a column of its own.
fn check_names(key: &str, names: &[String]) -> Result<(), Invalid> {
    let plain = |name: &&String| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    if let Some(name) = names
        .iter()
        .find(|name| !plain(name) || ["time", "series", "issue_time"].contains(&name.as_str()))
    {
        return Err(invalid(key, "names such as temperature_2m", name));
    }
    match names
        .iter()
        .enumerate()
        .find(|(i, name)| names[..*i].contains(name))
    {
        Some((_, twice)) => Err(invalid(key, "each name once", format!("{twice} twice"))),
        None => Ok(()),
    }
}

fn check_days(
    key: &dyn Fn(&str) -> String,
    from: Option<String>,
    to: Option<String>,
    past_days: Option<u32>,
) -> Result<Days, Invalid> {
    let day = |name: &str, text: String| {
        let seconds = parse_time(&text, Some("%Y-%m-%d"), 0)
            .ok_or_else(|| invalid(key(name), "a day such as 2024-06-01", text))?;
        Ok(check_year(key(name), seconds)?.div_euclid(DAY))
    };
    let to = to.map(|text| day("to", text)).transpose()?;
    match (from, past_days) {
        (Some(text), None) => {
            let from = day("from", text.clone())?;
            if to.is_some_and(|to| to < from) {
                return Err(invalid(
                    key("to"),
                    format!("{text} or later"),
                    "an earlier day",
                ));
            }
            Ok(Days::Range { from, to })
        }
        (None, Some(days)) if to.is_none() => {
            within(&key("past_days"), days, 1..=40_000, "between 1 and 40000")?;
            Ok(Days::Past(i64::from(days)))
        }
        (None, None) => Err(invalid(key("from"), "`from` or `past_days`", "neither")),
        _ => Err(invalid(
            key("past_days"),
            "it alone, or `from` with or without `to`",
            "both",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANGE: &str = "\
endpoint: archive
latitude: 50.93
longitude: 1.93
variables: [temperature_2m]
from: 2024-06-01
";
    const FORECAST: &str = "\
endpoint: forecast
places: {calais: {latitude: 50.93, longitude: 1.93}, dover: {latitude: 51.12, longitude: 1.31}}
variables: [temperature_2m]
";

    /// The text with some lines in place of those that have the same keys.
    fn checked(text: &str, changes: &str) -> Result<OpenMeteoSource, String> {
        let key = |line: &str| line.split(':').next().unwrap().to_owned();
        let changed: Vec<String> = changes.lines().map(key).collect();
        let others = text.lines().filter(|line| !changed.contains(&key(line)));
        let text = others.collect::<Vec<_>>().join("\n");
        let raw =
            serde_yaml::from_str(&format!("{text}\n{changes}\n")).map_err(|e| e.to_string())?;
        check("sources.x", raw).map_err(|error| error.to_string())
    }

    fn days(source: &OpenMeteoSource) -> &DaysWanted {
        match &source.wanted {
            Wanted::Days(days) => days,
            Wanted::Forecast(_) => panic!("a forecast"),
        }
    }

    #[test]
    fn what_cannot_be_asked_for_is_told_by_its_key() {
        let good = checked(RANGE, "to: 2024-06-30").unwrap();
        let (from, to) = (19_875, Some(19_904));
        assert_eq!(days(&good).days, Days::Range { from, to });
        assert_eq!(days(&good).overlap_s, 7 * DAY);
        assert_eq!(days(&good).days_per_request, 30);
        assert_eq!((good.places_per_request, good.counted), (1, Some(600)));
        for (change, key) in [
            ("endpoint: marine", "endpoint: expected archive"),
            ("latitude: 91", "latitude: expected between -90 and 90"),
            ("longitude: .nan", "longitude"),
            ("longitude: ", "places: expected `latitude` and `longitude`"),
            ("places: {a: {latitude: 1, longitude: 1}}", "found both"),
            ("variables: []", "variables: expected at least one"),
            ("variables: [a&b]", "variables: expected names"),
            ("variables: [a, a]", "found a twice"),
            ("variables: [series]", "found series"),
            ("from: June", "from: expected a day"),
            ("to: 2024-05-31", "to: expected 2024-06-01 or later"),
            ("past_days: 3", "past_days"),
            ("forecast_days: 3", "forecast_days: expected none"),
            ("by_issue: true", "by_issue: expected none"),
            ("issued_every: 6h", "issued_every: expected none"),
            ("days_per_request: 0", "days_per_request"),
            ("places_per_request: 0", "places_per_request"),
            ("requests: {per_minute: 0}", "requests.per_minute"),
            ("url: ftp://host", "url"),
            ("url: http://user@host/", "url"),
            ("token: {}", "token: expected `env: NAME`"),
            ("token: {env: A, header: 'a b'}", "token.header"),
            ("overlap: soon", "length of time"),
        ] {
            let error = checked(RANGE, change).unwrap_err();
            assert!(error.contains(key), "{change}: {error}");
        }
    }

    #[test]
    fn a_forecast_has_days_to_come_and_a_grid_of_issue_times() {
        let good = checked(FORECAST, "").unwrap();
        assert!(matches!(&good.places, Places::Named(places) if places.len() == 2));
        let expected = ForecastWanted {
            past_days: 0,
            forecast_days: 7,
            issued_every_s: 3600,
            earlier: None,
        };
        assert_eq!(good.wanted, Wanted::Forecast(expected));
        assert!(checked(FORECAST, "past_days: 2\nforecast_days: 0").is_ok());
        for (change, key) in [
            (
                "forecast_days: 17",
                "forecast_days: expected between 1 and 16",
            ),
            (
                "forecast_days: 0",
                "forecast_days: expected between 1 and 16",
            ),
            ("past_days: 93", "past_days: expected between 0 and 92"),
            (
                "from: 2024-06-01",
                "from: expected none, since `endpoint: forecast`",
            ),
            ("issued_every: 7h", "issued_every: expected a divisor of 1d"),
            ("issued_every: 2d", "issued_every: expected a divisor of 1d"),
            ("earlier: ''", "earlier: expected a file"),
            (
                "places: {a: {latitude: 99, longitude: 0}}",
                "places.a.latitude",
            ),
            (
                "places: {'': {latitude: 9, longitude: 0}}",
                "expected a name",
            ),
            ("places: {}", "found neither"),
            (
                "places: {a: {latitude: 1, longitude: 2}, b: {latitude: 1, longitude: 2}}",
                "places.b: expected a place of its own, found that of a",
            ),
        ] {
            let error = checked(FORECAST, change).unwrap_err();
            assert!(error.contains(key), "{change}: {error}");
        }
    }

    #[test]
    fn only_variables_of_earlier_runs_have_an_issue_time() {
        let runs = "endpoint: previous-runs\nby_issue: true";
        let of = |variables: &str| {
            let (variables, more) = variables.split_once('\n').unwrap_or((variables, ""));
            checked(RANGE, &format!("{runs}\nvariables: [{variables}]\n{more}"))
        };
        let good = of("t_previous_day1, t_previous_day7\nissued_every: 6h").unwrap();
        assert!(days(&good).by_issue && days(&good).issued_every_s == Some(6 * 3600));
        let error = of("t_previous_day1\nissued_every: 30min").unwrap_err();
        assert!(
            error.contains("issued_every: expected a divisor of 1d"),
            "{error}"
        );
        for bad in [
            "t",
            "t_previous_day1, t",
            "t_previous_day8",
            "_previous_day1",
        ] {
            let error = of(bad).unwrap_err();
            assert!(
                error.contains("whose issue time is known"),
                "{bad}: {error}"
            );
        }
        assert_eq!(previous_day("a_previous_day3"), Some(("a", 3)));
    }
}
