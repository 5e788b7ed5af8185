//! What is asked of a station: address, headers, body, ids and times. No secret may stand in any of them.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Body, DAY, Range, RawId, RawStations, Station, Template, TimeText};
use crate::params::source::requests::check_year;
use crate::params::{Invalid, invalid};
use crate::time::{Pattern, Step, parse_time};

/// Whether a name is that of something that no file may hold.
pub(super) fn looks_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace(['-', '_'], "");
    let parts = [
        "auth",
        "token",
        "secret",
        "passw",
        "apikey",
        "cookie",
        "credential",
        "signature",
    ];
    let whole = ["key", "pwd", "sig", "appid", "xkey", "subscriptionkey"];
    // A key of a page or of an order is no secret.
    let open = [
        "page", "next", "last", "start", "cursor", "sort", "order", "group",
    ];
    let is_key = name.ends_with("key") && !open.iter().any(|start| name.starts_with(start));
    is_key || parts.iter().any(|part| name.contains(part)) || whole.contains(&name.as_str())
}

/// The first name in some JSON that is that of a secret. Further in, a plain `key` mostly names a
/// field, as in `{"key": "station", "value": 7}`.
fn secret_name(value: &Value, is_inside: bool) -> Option<&str> {
    match value {
        Value::Object(map) => map.iter().find_map(|(name, value)| {
            let is_open = is_inside && name.eq_ignore_ascii_case("key");
            let is_secret = looks_secret(name) && !is_open;
            is_secret
                .then_some(name.as_str())
                .or_else(|| secret_name(value, true))
        }),
        Value::Array(all) => all.iter().find_map(|value| secret_name(value, true)),
        _ => None,
    }
}

/// Where to put a secret; what was found is not told, because it may be the secret itself.
const USE_TOKEN: &str = "no secret here: `token` says where it is found and what carries it";

pub(super) fn check_url(key: &str, text: &str) -> Result<Template, Invalid> {
    let expected = "https://HOST/PATH without a password";
    let after = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"))
        .ok_or_else(|| invalid(key, expected, "something else"))?;
    let host = after.split(['/', '?']).next().unwrap_or_default();
    if host.is_empty() || host.contains(['@', '{']) || text.contains('#') {
        return Err(invalid(key, expected, "something else"));
    }
    let query = after.split_once('?').map_or("", |(_, query)| query);
    let name_of = |pair: &str| pair.split('=').next().unwrap_or_default().to_owned();
    // What a place stands for is told elsewhere, and is no secret.
    let is_place = |pair: &&str| pair.ends_with("={station}");
    if let Some(name) = query
        .split('&')
        .filter(|pair| !is_place(pair))
        .map(name_of)
        .find(|name| looks_secret(name))
    {
        return Err(invalid(key, USE_TOKEN, format!("`{name}` in the query")));
    }
    Template::parse(text).map_err(|place| no_place(key, &place))
}

fn no_place(key: &str, found: &str) -> Invalid {
    invalid(key, "places {station}, {from} and {to}", found)
}

pub(super) fn check_headers(key: &str, headers: &BTreeMap<String, String>) -> Result<(), Invalid> {
    const OWN: [&str; 9] = [
        "host",
        "content-length",
        "accept-encoding",
        "if-none-match",
        "if-modified-since",
        "connection",
        "transfer-encoding",
        "te",
        "upgrade",
    ];
    for (name, value) in headers {
        let token = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || !name.chars().all(token) {
            return Err(invalid(key, "names of headers", name));
        }
        if OWN.contains(&name.to_ascii_lowercase().as_str()) {
            let expected = "no header that krammerti sets itself";
            return Err(invalid(key, expected, name));
        }
        if looks_secret(name) {
            return Err(invalid(key, USE_TOKEN, format!("the header {name}")));
        }
        if !value.chars().all(|c| (' '..='~').contains(&c)) {
            let key = format!("{key}.{name}");
            return Err(invalid(key, "ASCII text on one line", "something else"));
        }
    }
    Ok(())
}

pub(super) fn check_body(
    key: &dyn Fn(&str) -> String,
    method: Option<&str>,
    body: Option<Value>,
) -> Result<Option<Body>, Invalid> {
    let post = match method {
        None | Some("GET") => false,
        Some("POST") => true,
        Some(other) => return Err(invalid(key("method"), "GET or POST", other)),
    };
    match body {
        None if post => Err(invalid(key("body"), "JSON to send with POST", "none")),
        Some(_) if !post => Err(invalid(key("body"), "absent without `method: POST`", "it")),
        Some(Value::Object(map)) => {
            let map = Value::Object(map);
            if let Some(name) = secret_name(&map, false) {
                return Err(invalid(key("body"), USE_TOKEN, format!("`{name}`")));
            }
            let body = Body::parse(map);
            body.map(Some)
                .map_err(|place| no_place(&key("body"), &place))
        }
        Some(_) => Err(invalid(key("body"), "an object", "something else")),
        None => Ok(None),
    }
}

pub(super) fn check_stations(key: &str, raw: RawStations) -> Result<Vec<Station>, Invalid> {
    let id = |id: RawId| match id {
        RawId::Number(number) => number.to_string(),
        RawId::Text(text) => text,
    };
    let mut stations: Vec<Station> = match raw {
        RawStations::List(ids) => ids
            .into_iter()
            .map(id)
            .map(|id| Station {
                name: id.clone(),
                id,
            })
            .collect(),
        RawStations::Map(map) => map
            .into_iter()
            .map(|(name, raw)| Station { name, id: id(raw) })
            .collect(),
    };
    stations.sort();
    if stations.is_empty() {
        return Err(invalid(key, "at least one station", "none"));
    }
    if stations
        .iter()
        .any(|s| s.name.is_empty() || s.id.is_empty())
    {
        return Err(invalid(key, "names and ids", "an empty one"));
    }
    match stations
        .windows(2)
        .find(|pair| pair[0].name == pair[1].name)
    {
        Some(pair) => Err(invalid(
            key,
            "each station once",
            format!("{} twice", pair[0].name),
        )),
        None => Ok(stations),
    }
}

pub(super) fn check_time_text(key: &str, format: Option<&str>) -> Result<TimeText, Invalid> {
    let pattern = match format {
        None | Some("iso") => return Ok(TimeText::Iso),
        Some("unix_s") => return Ok(TimeText::UnixSeconds),
        Some("unix_ms") => return Ok(TimeText::UnixMilliseconds),
        Some(pattern) => pattern,
    };
    let expected = "iso, unix_s, unix_ms, or strftime's notation of a day or a time";
    if Pattern::new(pattern).is_none() {
        return Err(invalid(key, expected, pattern));
    }
    let text = TimeText::Pattern(pattern.to_owned());
    // One that tells no days would ask for one range again and again.
    if text.write(0) == text.write(DAY) {
        return Err(invalid(key, expected, pattern));
    }
    Ok(text)
}

pub(super) fn check_range(
    key: &dyn Fn(&str) -> String,
    (from, to, largest): (Option<String>, Option<String>, Option<Step>),
    (has_from, has_to): (bool, bool),
    time_text: &TimeText,
) -> Result<Option<Range>, Invalid> {
    let instant = |name: &str, text: String| {
        parse_time(&text, None, 0)
            .ok_or_else(|| invalid(key(name), "a day or a time such as 2024-06-01", text))
    };
    if !has_from {
        if has_to {
            return Err(invalid(
                key("url"),
                "`{from}` beside `{to}`",
                "`{to}` alone",
            ));
        }
        let given = [
            ("from", from.is_some()),
            ("to", to.is_some()),
            ("largest_range", largest.is_some()),
        ];
        return match given.into_iter().find(|(_, given)| *given) {
            Some((name, _)) => Err(invalid(key(name), "a place `{from}` in the URL", "none")),
            None => Ok(None),
        };
    }
    let Some(from) = from else {
        return Err(invalid(
            key("from"),
            "a day or a time to begin with",
            "none",
        ));
    };
    let instant = |name: &str, text: String| check_year(key(name), instant(name, text)?);
    let from = instant("from", from)?;
    let to = to.map(|text| instant("to", text)).transpose()?;
    if to.is_some_and(|to| to <= from) {
        return Err(invalid(key("to"), "a time after `from`", "an earlier one"));
    }
    if largest.is_some() && !has_to {
        let expected = "a place `{to}` in the URL";
        return Err(invalid(key("largest_range"), expected, "none"));
    }
    let largest = largest.map(Step::seconds);
    let unit = time_text.unit_s();
    let units = match unit {
        DAY => "days",
        3600 => "hours",
        _ => "minutes",
    };
    let whole = |name: &str, seconds: Option<i64>| match seconds {
        Some(seconds) if seconds.rem_euclid(unit) != 0 => {
            let expected = format!("whole {units}, as `time_format` tells no others");
            Err(invalid(key(name), expected, "a part of one"))
        }
        _ => Ok(()),
    };
    whole("from", Some(from))?;
    whole("to", to)?;
    whole("largest_range", largest)?;
    Ok(Some(Range { from, to, largest }))
}
