//! `kind: open-meteo`: from what a person wrote to what can be asked for.

use super::super::checked::{Days, OpenMeteoSource};
use super::super::source::requests::{check_limits, check_token};
use super::super::{Invalid, invalid, raw};
use super::within;
use crate::time::{Step, parse_time};

const DAY: i64 = 86_400;

pub(super) fn check(key: &str, raw: raw::OpenMeteo) -> Result<OpenMeteoSource, Invalid> {
    let key = |name: &str| format!("{key}.{name}");
    let (address, overlap_days) = match raw.endpoint.as_str() {
        // ERA5 comes first as a preliminary version, five days late.
        "archive" => ("https://archive-api.open-meteo.com/v1/archive", 7),
        "historical-forecast" => (
            "https://historical-forecast-api.open-meteo.com/v1/forecast",
            2,
        ),
        "previous-runs" => ("https://previous-runs-api.open-meteo.com/v1/forecast", 2),
        "forecast" => {
            let expected = "archive, historical-forecast or previous-runs (a forecast needs its \
                            issue time in every row, which is not there yet)";
            return Err(invalid(key("endpoint"), expected, "forecast"));
        }
        other => {
            let expected = "archive, historical-forecast or previous-runs";
            return Err(invalid(key("endpoint"), expected, other));
        }
    };
    let between = |name: &str, value: f64, end: f64| {
        let expected = format!("between -{end} and {end}");
        within(&key(name), value, -end..=end, &expected)
    };
    between("latitude", raw.latitude, 90.0)?;
    between("longitude", raw.longitude, 180.0)?;
    check_names(&key("variables"), &raw.variables)?;
    if raw.variables.is_empty() {
        return Err(invalid(key("variables"), "at least one", "none"));
    }
    check_names(&key("models"), &raw.models)?;
    let days_per_request = raw.days_per_request.unwrap_or(30);
    let expected = "between 1 and 3660";
    within(
        &key("days_per_request"),
        days_per_request,
        1..=3660,
        expected,
    )?;
    let url = raw.url.unwrap_or_else(|| address.to_owned());
    if !(url.starts_with("https://") || url.starts_with("http://")) || url.contains(['?', '#', '@'])
    {
        let expected = "https://HOST/PATH without a query or a password";
        return Err(invalid(key("url"), expected, "something else"));
    }
    Ok(OpenMeteoSource {
        days: check_days(&key, raw.from, raw.to, raw.past_days)?,
        token: raw
            .token
            .map(|token| check_token(&key("token"), token))
            .transpose()?,
        url,
        latitude: raw.latitude,
        longitude: raw.longitude,
        variables: raw.variables,
        models: raw.models,
        days_per_request: i64::from(days_per_request),
        overlap_s: raw.overlap.map_or(overlap_days * DAY, Step::seconds),
        requests: check_limits(&key("requests"), &raw.requests)?,
    })
}

/// Names go into a URL as they are, and each into a column of its own.
fn check_names(key: &str, names: &[String]) -> Result<(), Invalid> {
    let plain = |name: &&String| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    if let Some(name) = names.iter().find(|name| !plain(name) || *name == "time") {
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
        parse_time(&text, Some("%Y-%m-%d"), 0)
            .map(|seconds| seconds.div_euclid(DAY))
            .ok_or_else(|| invalid(key(name), "a day such as 2024-06-01", text))
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

    fn checked(change: &str) -> Result<OpenMeteoSource, String> {
        let text = "\
endpoint: archive
latitude: 50.93
longitude: 1.93
variables: [temperature_2m]
from: 2024-06-01
";
        let key = change.split(':').next().unwrap();
        let others = text.lines().filter(|line| !line.starts_with(key));
        let text = others.collect::<Vec<_>>().join("\n");
        let raw =
            serde_yaml::from_str(&format!("{text}\n{change}\n")).map_err(|e| e.to_string())?;
        check("sources.x", raw).map_err(|error| error.to_string())
    }

    #[test]
    fn what_cannot_be_asked_for_is_told_by_its_key() {
        let good = checked("to: 2024-06-30").unwrap();
        let (from, to) = (19_875, Some(19_904));
        assert_eq!(good.days, Days::Range { from, to });
        assert_eq!((good.overlap_s, good.days_per_request), (7 * DAY, 30));
        for (change, key) in [
            ("endpoint: forecast", "endpoint: expected archive"),
            ("endpoint: marine", "endpoint"),
            ("latitude: 91", "latitude: expected between -90 and 90"),
            ("longitude: .nan", "longitude"),
            ("variables: []", "variables: expected at least one"),
            ("variables: [a&b]", "variables: expected names"),
            ("variables: [a, a]", "found a twice"),
            ("from: June", "from: expected a day"),
            ("to: 2024-05-31", "to: expected 2024-06-01 or later"),
            ("past_days: 3", "past_days"),
            ("days_per_request: 0", "days_per_request"),
            ("url: ftp://host", "url"),
            ("url: http://user@host/", "url"),
            ("token: {}", "token: expected `env: NAME`"),
            ("token: {env: A, header: 'a b'}", "token.header"),
            ("overlap: soon", "length of time"),
        ] {
            let error = checked(change).unwrap_err();
            assert!(error.contains(key), "{change}: {error}");
        }
    }
}
