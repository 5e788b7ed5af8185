//! `kind: http`: the history API of a station, told as configuration.

use std::collections::BTreeMap;

use chrono::DateTime;
use serde::Deserialize;
use serde_json::Value;

use super::super::{Invalid, invalid};
use super::file::{Reading, check_unit};
use super::requests::{
    RawLimits, RawToken, RequestLimits, Token, TokenCarrier, check_limits, check_token, check_year,
};
use super::times::{RawTime, TimeFormat, TimePlace, check as check_time};
use crate::time::{Pattern, Step, parse_time};

const DAY: i64 = 86_400;
/// Requests that may begin in a minute, where nothing else is said.
const PER_MINUTE: u32 = 600;

/// As a person wrote it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::params) struct RawHttp {
    url: String,
    method: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<Value>,
    token: Option<RawToken>,
    stations: Option<RawStations>,
    from: Option<String>,
    to: Option<String>,
    largest_range: Option<Step>,
    overlap: Option<Step>,
    time_format: Option<String>,
    range_end: Option<String>,
    answer: RawAnswer,
    paging: Option<RawPaging>,
    expected: Option<RawExpected>,
    #[serde(default)]
    requests: RawLimits,
}

#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "a list of station ids, or a map from names to ids"
)]
enum RawStations {
    List(Vec<RawId>),
    Map(BTreeMap<String, RawId>),
}

/// An id, which YAML may take for a number.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a station id")]
enum RawId {
    Number(u64),
    Text(String),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAnswer {
    format: String,
    layout: Option<String>,
    rows: Option<String>,
    time: RawTime,
    columns: BTreeMap<String, RawColumn>,
    delimiter: Option<char>,
    #[serde(default)]
    missing: Vec<String>,
    total: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawColumn {
    unit: String,
    to: Option<String>,
    from: Option<String>,
    #[serde(default)]
    optional: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPaging {
    next: Option<String>,
    page: Option<String>,
    size: Option<String>,
    of: Option<usize>,
    first: Option<u64>,
    cursor: Option<String>,
    parameter: Option<String>,
    at_most: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawExpected {
    step: Step,
    otherwise: Option<String>,
}

/// A station's history API.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpSource {
    /// Where requests go.
    pub url: Template,
    /// Headers of every request.
    pub headers: BTreeMap<String, String>,
    /// What is sent with POST; GET where absent.
    pub body: Option<Body>,
    /// What proves who asks.
    pub token: Option<Token>,
    /// The stations, sorted by name; none where the URL is that of one.
    pub stations: Option<Vec<Station>>,
    /// What is asked for; none where the service always gives all it has.
    pub range: Option<Range>,
    /// How long values may still be corrected, in seconds.
    pub overlap_s: i64,
    /// How times are written in a request.
    pub time_text: TimeText,
    /// Whether the end of a range belongs to it, as the service sees it.
    pub end_is_inside: bool,
    /// How an answer is read.
    pub answer: AnswerParams,
    /// How the pages of an answer hang together.
    pub paging: Option<Paging>,
    /// So many pages of one answer are an error.
    pub pages_at_most: usize,
    /// How many rows a range must have.
    pub expected: Option<Expected>,
    /// How the server is asked.
    pub requests: RequestLimits,
}

/// A station.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Station {
    /// What its series is called.
    pub name: String,
    /// What the service calls it.
    pub id: String,
}

/// The times to ask for, in seconds since 1970 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first one.
    pub from: i64,
    /// The end, which is outside; now where absent.
    pub to: Option<i64>,
    /// The longest range of one request, in seconds; positive.
    pub largest: Option<i64>,
}

/// Text with places for a station and a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(pub Vec<Piece>);

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// As it is.
    Text(String),
    /// `{station}`
    Station,
    /// `{from}`
    From,
    /// `{to}`
    To,
}

/// JSON with places for a station and a range.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// A text.
    Text(Template),
    /// An object.
    Object(Vec<(String, Self)>),
    /// A list.
    List(Vec<Self>),
    /// Anything else, as it is.
    Plain(Value),
}

/// How times are written in a request; all in UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimeText {
    /// `2024-06-01T00:00:00Z`
    Iso,
    /// In strftime's notation.
    Pattern(String),
    /// Seconds since 1970.
    UnixSeconds,
    /// Milliseconds since 1970.
    UnixMilliseconds,
}

/// How an answer is read.
#[derive(Clone, Debug, PartialEq)]
pub struct AnswerParams {
    /// What it is.
    pub format: AnswerFormat,
    /// Where the time of a row stands: a pointer or the name of a column.
    pub time: String,
    /// How it is written.
    pub time_format: TimeFormat,
    /// The columns of values; at least one.
    pub columns: Vec<Field>,
    /// Texts that mean "no value", besides the empty one.
    pub missing: Vec<String>,
    /// Where the number of all rows stands.
    pub total: Option<Pointer>,
}

/// What an answer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnswerFormat {
    /// JSON.
    Json(Layout),
    /// CSV with a header row.
    Csv {
        /// One ASCII character.
        delimiter: u8,
    },
}

/// How rows lie in JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    /// A list of rows, each an object or a list.
    Rows(Pointer),
    /// A list for each column.
    Columns,
}

/// A column of values.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// How values are read to be in that unit.
    pub reading: Reading,
    /// Where it stands: a pointer from the row (from the answer where there are lists), or the name of
    /// a CSV column.
    pub from: String,
    /// Whether an answer may lack it.
    pub optional: bool,
}

/// A JSON pointer (RFC 6901).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer {
    text: String,
    parts: Vec<String>,
}

/// How the pages of an answer hang together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Paging {
    /// Each page has a link to the next.
    Next(Pointer),
    /// Pages have numbers; a page that is not full is the last.
    Number {
        /// The parameter for the number.
        page: String,
        /// The parameter for the rows of a page.
        size: Option<String>,
        /// The rows of a full page.
        of: usize,
        /// The number of the first.
        first: u64,
    },
    /// Each page has a cursor for the next.
    Cursor {
        /// Where it stands.
        at: Pointer,
        /// The parameter that takes it.
        parameter: String,
    },
}

/// How many rows a range must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// One row each step.
    pub step: Step,
    /// Whether fewer are an error.
    pub fail: bool,
}

impl Template {
    fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, place) = rest.split_at(at);
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            let end = place.find('}').map_or(place.len(), |end| end + 1);
            let (place, after) = place.split_at(end);
            pieces.push(match place {
                "{station}" => Piece::Station,
                "{from}" => Piece::From,
                "{to}" => Piece::To,
                other => return Err(other.to_owned()),
            });
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Self(pieces))
    }

    /// The text with what belongs in its places.
    pub fn fill(&self, mut place: impl FnMut(&Piece) -> String) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            piece => place(piece),
        };
        self.0.iter().map(piece).collect()
    }
}

impl Body {
    fn parse(value: Value) -> Result<Self, String> {
        Ok(match value {
            Value::String(text) => Self::Text(Template::parse(&text)?),
            Value::Array(all) => {
                Self::List(all.into_iter().map(Self::parse).collect::<Result<_, _>>()?)
            }
            Value::Object(map) => {
                let field = |(key, value)| Ok::<_, String>((key, Self::parse(value)?));
                Self::Object(map.into_iter().map(field).collect::<Result<_, _>>()?)
            }
            plain => Self::Plain(plain),
        })
    }

    fn pieces<'a>(&'a self, into: &mut Vec<&'a Piece>) {
        match self {
            Self::Text(template) => into.extend(&template.0),
            Self::List(all) => all.iter().for_each(|body| body.pieces(into)),
            Self::Object(all) => all.iter().for_each(|(_, body)| body.pieces(into)),
            Self::Plain(_) => {}
        }
    }
}

impl TimeText {
    /// An instant, in seconds since 1970 UTC.
    pub fn write(&self, seconds: i64) -> String {
        let time = || DateTime::from_timestamp(seconds, 0).unwrap_or_default();
        match self {
            Self::Iso => time().format("%Y-%m-%dT%H:%M:%SZ").to_string(),
            Self::Pattern(pattern) => time().format(pattern).to_string(),
            Self::UnixSeconds => seconds.to_string(),
            Self::UnixMilliseconds => seconds.saturating_mul(1000).to_string(),
        }
    }

    /// The shortest time that it tells apart, in seconds: a day, an hour, a minute or a second.
    pub fn unit_s(&self) -> i64 {
        let mut units = [DAY, 3600, 60].into_iter();
        let unit = units.find(|unit| self.write(0) == self.write(unit - 1));
        unit.unwrap_or(1)
    }

    /// Whether it is a number.
    pub fn is_number(&self) -> bool {
        matches!(self, Self::UnixSeconds | Self::UnixMilliseconds)
    }
}

impl Pointer {
    /// From its text; none where that is no pointer.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/');
        // What stands before the first slash.
        if !parts.next()?.is_empty() {
            return None;
        }
        let unescape = |part: &str| part.replace("~1", "/").replace("~0", "~");
        Some(Self {
            text: text.to_owned(),
            parts: parts.map(unescape).collect(),
        })
    }

    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The keys or places on the way.
    pub fn parts(&self) -> &[String] {
        &self.parts
    }
}

pub(in crate::params) fn check(key: &str, raw: RawHttp) -> Result<HttpSource, Invalid> {
    let key = |name: &str| format!("{key}.{name}");
    let url = check_url(&key("url"), &raw.url)?;
    check_headers(&key("headers"), &raw.headers)?;
    let body = check_body(&key, raw.method.as_deref(), raw.body)?;
    let mut pieces: Vec<&Piece> = url.0.iter().collect();
    if let Some(body) = &body {
        body.pieces(&mut pieces);
    }
    let has = |piece: &Piece| pieces.contains(&piece);
    let stations = raw
        .stations
        .map(|raw| check_stations(&key("stations"), raw));
    let stations = stations.transpose()?;
    match (&stations, has(&Piece::Station)) {
        (Some(_), false) => {
            return Err(invalid(key("url"), "a place for the `{station}`", "none"));
        }
        (None, true) => return Err(invalid(key("stations"), "ids for `{station}`", "none")),
        _ => {}
    }
    let time_text = check_time_text(&key("time_format"), raw.time_format.as_deref())?;
    let range = check_range(
        &key,
        (raw.from, raw.to, raw.largest_range),
        (has(&Piece::From), has(&Piece::To)),
        &time_text,
    )?;
    let end_is_inside = match raw.range_end.as_deref() {
        None | Some("exclusive") => false,
        Some("inclusive") => true,
        Some(other) => return Err(invalid(key("range_end"), "exclusive or inclusive", other)),
    };
    let expected = raw.expected.map(|raw| {
        let fail = match raw.otherwise.as_deref() {
            None | Some("warn") => false,
            Some("fail") => true,
            Some(other) => return Err(invalid(key("expected.otherwise"), "warn or fail", other)),
        };
        let step = raw.step;
        Ok(Expected { step, fail })
    });
    let pages_at_most = raw
        .paging
        .as_ref()
        .and_then(|raw| raw.at_most)
        .unwrap_or(1000);
    if !(1..=100_000).contains(&pages_at_most) {
        let expected = "between 1 and 100000";
        return Err(invalid(key("paging.at_most"), expected, pages_at_most));
    }
    let paging = raw.paging.map(|raw| check_paging(&key("paging"), raw));
    let paging = paging.transpose()?;
    let answer = check_answer(&key("answer"), raw.answer, paging.as_ref())?;
    let token = raw.token.map(|token| check_token(&key("token"), token));
    let token = token.transpose()?;
    if let Some(TokenCarrier::Header(name)) = token.as_ref().map(|token| &token.carrier)
        && raw
            .headers
            .keys()
            .any(|header| header.eq_ignore_ascii_case(name))
    {
        return Err(invalid(
            key("headers"),
            "no header that carries the token",
            name,
        ));
    }
    let requests = check_limits(&key("requests"), &raw.requests)?;
    Ok(HttpSource {
        url,
        headers: raw.headers,
        body,
        token,
        stations,
        range,
        overlap_s: raw.overlap.map_or(2 * DAY, Step::seconds),
        time_text,
        end_is_inside,
        answer,
        paging,
        pages_at_most,
        expected: expected.transpose()?,
        requests: RequestLimits {
            per_minute: requests.per_minute.or(Some(PER_MINUTE)),
            ..requests
        },
    })
}

/// Whether a name is that of something that no file may hold.
fn looks_secret(name: &str) -> bool {
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

fn check_url(key: &str, text: &str) -> Result<Template, Invalid> {
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

fn check_headers(key: &str, headers: &BTreeMap<String, String>) -> Result<(), Invalid> {
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

fn check_body(
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

fn check_stations(key: &str, raw: RawStations) -> Result<Vec<Station>, Invalid> {
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

fn check_time_text(key: &str, format: Option<&str>) -> Result<TimeText, Invalid> {
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

fn check_range(
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

fn check_paging(key: &str, raw: RawPaging) -> Result<Paging, Invalid> {
    let pointer = |name: &str, text: String| check_pointer(&format!("{key}.{name}"), text);
    let parameter = |name: &str, text: String| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.[]".contains(c);
        if text.is_empty()
            || !text.chars().all(plain)
            || looks_secret(&text.to_ascii_lowercase().replace("token", ""))
        {
            let key = format!("{key}.{name}");
            return Err(invalid(key, "the name of a parameter", text));
        }
        Ok(text)
    };
    match raw {
        RawPaging {
            next: Some(next),
            page: None,
            size: None,
            of: None,
            first: None,
            cursor: None,
            parameter: None,
            ..
        } => Ok(Paging::Next(pointer("next", next)?)),
        RawPaging {
            next: None,
            page: Some(page),
            size,
            of: Some(of),
            first,
            cursor: None,
            parameter: None,
            ..
        } => {
            if !(1..=1_000_000).contains(&of) {
                let expected = "between 1 and 1000000";
                return Err(invalid(format!("{key}.of"), expected, of));
            }
            Ok(Paging::Number {
                page: parameter("page", page)?,
                size: size.map(|size| parameter("size", size)).transpose()?,
                of,
                first: first.unwrap_or(1),
            })
        }
        RawPaging {
            next: None,
            page: None,
            size: None,
            of: None,
            first: None,
            cursor: Some(cursor),
            parameter: Some(name),
            ..
        } => Ok(Paging::Cursor {
            at: pointer("cursor", cursor)?,
            parameter: parameter("parameter", name)?,
        }),
        _ => {
            let expected = "`next`; or `page` and `of` with or without `size` and `first`; or \
                            `cursor` and `parameter`";
            Err(invalid(key, expected, "something else"))
        }
    }
}

fn check_pointer(key: &str, text: String) -> Result<Pointer, Invalid> {
    Pointer::parse(&text).ok_or_else(|| invalid(key, "a JSON pointer such as /data/rows", text))
}

fn check_answer(
    key: &str,
    raw: RawAnswer,
    paging: Option<&Paging>,
) -> Result<AnswerParams, Invalid> {
    let key = |name: &str| format!("{key}.{name}");
    let is_json = match raw.format.as_str() {
        "json" => true,
        "csv" => false,
        other => return Err(invalid(key("format"), "json or csv", other)),
    };
    let format = match (is_json, raw.layout.as_deref(), raw.rows, raw.delimiter) {
        (true, None | Some("rows"), rows, None) => {
            let rows = check_pointer(&key("rows"), rows.unwrap_or_default())?;
            AnswerFormat::Json(Layout::Rows(rows))
        }
        (true, Some("columns"), None, None) => AnswerFormat::Json(Layout::Columns),
        (true, Some("columns"), Some(rows), _) => {
            return Err(invalid(key("rows"), "absent with `layout: columns`", rows));
        }
        (true, Some(other), _, None) => {
            return Err(invalid(key("layout"), "rows or columns", other));
        }
        (true, _, _, Some(delimiter)) => {
            return Err(invalid(
                key("delimiter"),
                "absent with `format: json`",
                delimiter,
            ));
        }
        (false, None, None, delimiter) => {
            let delimiter = delimiter.unwrap_or(',');
            let ascii = u8::try_from(delimiter).ok().filter(u8::is_ascii);
            let delimiter =
                ascii.ok_or_else(|| invalid(key("delimiter"), "one ASCII character", delimiter))?;
            AnswerFormat::Csv { delimiter }
        }
        (false, ..) => {
            let expected = "neither `layout` nor `rows` with `format: csv`";
            return Err(invalid(key("format"), expected, "one"));
        }
    };
    if !is_json
        && (raw.total.is_some() || matches!(paging, Some(Paging::Next(_) | Paging::Cursor { .. })))
    {
        let expected = "json, where a pointer leads to a total, a link or a cursor";
        return Err(invalid(key("format"), expected, "csv"));
    }
    if raw.columns.is_empty() {
        return Err(invalid(key("columns"), "at least one column", "none"));
    }
    let mut columns = Vec::new();
    for (name, column) in raw.columns {
        if crate::params::RESERVED_COLUMNS.contains(&name.as_str()) || name.is_empty() {
            let expected = "names other than `time`, `series` and `issue_time`";
            return Err(invalid(key("columns"), expected, name));
        }
        let otherwise = if is_json {
            format!("/{name}")
        } else {
            name.clone()
        };
        let key = format!("{}.{name}", key("columns"));
        let (reading, unit) = check_unit(&key, column.unit, column.to)?;
        columns.push(Field {
            from: column.from.unwrap_or(otherwise),
            unit,
            reading,
            optional: column.optional,
            name,
        });
    }
    let time = check_time(&key("time"), raw.time)?;
    let TimePlace::Column(place) = time.place else {
        return Err(invalid(key("time"), "one `column`", "`columns`"));
    };
    let total = raw
        .total
        .map(|text| check_pointer(&key("total"), text))
        .transpose()?;
    let answer = AnswerParams {
        format,
        time: place,
        time_format: time.format,
        columns,
        missing: raw.missing,
        total,
    };
    check_places(&key, &answer, paging)?;
    Ok(answer)
}

/// Each place once, and in JSON none inside of another: a value is a number or it holds others.
fn check_places(
    key: &dyn Fn(&str) -> String,
    answer: &AnswerParams,
    paging: Option<&Paging>,
) -> Result<(), Invalid> {
    let fields = answer.columns.iter().map(|field| &field.from);
    let fields: Vec<&String> = [&answer.time].into_iter().chain(fields).collect();
    let AnswerFormat::Json(layout) = &answer.format else {
        let twice = fields
            .iter()
            .enumerate()
            .find(|(i, name)| fields[..*i].contains(name));
        return match twice {
            Some((_, name)) => Err(invalid(key("columns"), "each column once", name)),
            None => Ok(()),
        };
    };
    let fields: Vec<Pointer> = fields
        .into_iter()
        .map(|text| check_pointer(&key("columns"), text.clone()))
        .collect::<Result<_, _>>()?;
    let mut outer: Vec<&Pointer> = answer.total.iter().collect();
    outer.extend(match paging {
        Some(Paging::Next(at) | Paging::Cursor { at, .. }) => Some(at),
        _ => None,
    });
    match layout {
        Layout::Rows(rows) => {
            outer.push(rows);
            check_apart(&key("columns"), &fields.iter().collect::<Vec<_>>())?;
        }
        Layout::Columns => outer.extend(&fields),
    }
    check_apart(&key("rows"), &outer)
}

fn check_apart(key: &str, pointers: &[&Pointer]) -> Result<(), Invalid> {
    for (i, one) in pointers.iter().enumerate() {
        let overlaps = |other: &&&Pointer| {
            other.parts.starts_with(&one.parts) || one.parts.starts_with(&other.parts)
        };
        if let Some(other) = pointers[..i].iter().find(overlaps) {
            let found = format!("`{}` and `{}`", other.text, one.text);
            return Err(invalid(
                key,
                "pointers of which none leads into another",
                found,
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
url: https://host/v1/{station}/history?start={from}&end={to}
stations: {north: 7, south: s-1}
from: 2024-06-01
largest_range: 30d
answer:
  format: json
  rows: /data
  time: {column: /at}
  columns: {t: {unit: °C, from: /air/temp}, rh: {unit: '%'}}
";

    fn checked(changes: &[(&str, &str)]) -> Result<HttpSource, String> {
        let text = changes.iter().fold(GOOD.to_owned(), |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replacen(from, to, 1)
        });
        let raw = serde_yaml::from_str(&text).map_err(|error| error.to_string())?;
        check("sources.x", raw).map_err(|error| error.to_string())
    }

    #[test]
    fn what_a_person_wrote_is_understood() {
        let good = checked(&[]).unwrap();
        let stations: Vec<_> = good.stations.unwrap().into_iter().map(|s| s.id).collect();
        assert_eq!(stations, ["7", "s-1"]);
        let range = good.range.unwrap();
        assert_eq!((range.from, range.largest), (19_875 * DAY, Some(30 * DAY)));
        assert_eq!(good.answer.columns[0].from, "/rh");
        assert_eq!(
            good.url.fill(|piece| format!("{piece:?}")),
            "https://host/v1/Station/history?start=From&end=To"
        );
        for (pattern, unit) in [
            ("%Y-%m-%d", DAY),
            ("%Y%m%d%H", 3600),
            ("%F %R", 60),
            ("%F %T", 1),
        ] {
            assert_eq!(TimeText::Pattern(pattern.into()).unit_s(), unit);
        }
        assert_eq!(
            (TimeText::Iso.unit_s(), TimeText::UnixSeconds.unit_s()),
            (1, 1)
        );
        assert_eq!(TimeText::UnixMilliseconds.write(2), "2000");
    }

    /// What is changed, into what, and what is told then.
    const REFUSED: &[(&str, &str, &str)] = &[
        ("https:", "ftp:", "sources.x.url"),
        (
            "host/",
            "user:password@host/",
            "url: expected https://HOST/PATH",
        ),
        ("host/", "{station}/", "url"),
        (
            "?start",
            "?apikey=1234&start",
            "url: expected no secret here",
        ),
        ("{station}", "{place}", "found {place}"),
        ("{station}", "{station", "url"),
        ("{station}", "x}", "url"),
        ("{station}", "x", "a place for the `{station}`"),
        (
            "stations: {north: 7, south: s-1}\n",
            "",
            "stations: expected ids",
        ),
        ("{north: 7, south: s-1}", "[]", "at least one station"),
        ("{north: 7, south: s-1}", "[a, a]", "a twice"),
        ("{north: 7, south: s-1}", "7", "a list of station ids"),
        ("from: 2024-06-01\n", "", "from: expected a day or a time"),
        ("2024-06-01", "June", "from: expected a day"),
        (
            "from:",
            "to: 2024-05-01\nfrom:",
            "to: expected a time after",
        ),
        ("start={from}&end={to}", "x=1", "from: expected a place"),
        ("start={from}&", "", "`{from}` beside `{to}`"),
        ("&end={to}", "", "largest_range: expected a place `{to}`"),
        ("from:", "time_format: '%Q'\nfrom:", "time_format"),
        ("from:", "time_format: '%Y-%m'\nfrom:", "time_format"),
        (
            "30d",
            "10h\ntime_format: '%Y-%m-%d'",
            "largest_range: expected whole days",
        ),
        (
            "30d",
            "30min\ntime_format: '%Y-%m-%dT%H'",
            "largest_range: expected whole hours",
        ),
        (
            "from:",
            "time_format: '%Y-%m-%dT%H'\nto: 2024-07-01T12:30\nfrom:",
            "to: expected whole hours",
        ),
        ("from: 2024", "from: 0024", "from: expected a year between"),
        ("from:", "range_end: open\nfrom:", "range_end"),
        ("from:", "method: PUT\nfrom:", "method"),
        ("from:", "method: POST\nfrom:", "body: expected JSON"),
        ("from:", "body: {}\nfrom:", "body: expected absent"),
        (
            "from:",
            "method: POST\nbody: {password: x}\nfrom:",
            "no secret here",
        ),
        (
            "from:",
            "headers: {authorization: abc}\nfrom:",
            "no secret here",
        ),
        (
            "from:",
            "method: POST\nbody: {who: [{access_key: abc, key: x}]}\nfrom:",
            "found `access_key`",
        ),
        (
            "?start",
            "?api_access_key=1234&start",
            "url: expected no secret here",
        ),
        (
            "from:",
            "headers: {X-Api-Key: abc}\nfrom:",
            "no secret here",
        ),
        ("from:", "headers: {Host: a}\nfrom:", "sets itself"),
        ("from:", "headers: {a b: a}\nfrom:", "names of headers"),
        ("from:", "headers: {A: \"a\\nb\"}\nfrom:", "ASCII text"),
        (
            "from:",
            "token: {env: A, header: B, query: C}\nfrom:",
            "token",
        ),
        ("from:", "requests: {at_once: 0}\nfrom:", "requests.at_once"),
        ("from:", "paging: {next: next}\nfrom:", "paging.next"),
        (
            "from:",
            "paging: {page: p}\nfrom:",
            "paging: expected `next`",
        ),
        (
            "from:",
            "paging: {next: /n, page: p, of: 3}\nfrom:",
            "paging: expected",
        ),
        ("from:", "paging: {page: p, of: 0}\nfrom:", "paging.of"),
        (
            "from:",
            "paging: {next: /data/0}\nfrom:",
            "none leads into another",
        ),
        (
            "from:",
            "expected: {step: 1h, otherwise: no}\nfrom:",
            "otherwise",
        ),
        ("json", "xml", "answer.format"),
        ("json", "csv", "answer.format"),
        (
            "rows: /data",
            "layout: columns\n  rows: /data",
            "answer.rows",
        ),
        ("rows: /data", "rows: data", "answer.rows"),
        ("/at}", "/air}", "none leads into another"),
        ("/at}", "/at, zone: Mars/Base}", "answer.time.zone"),
        ("t: {", "series: {", "answer.columns"),
    ];

    #[test]
    fn what_cannot_be_is_told_by_its_key() {
        for (from, to, told) in REFUSED {
            let error = checked(&[(from, to)]).unwrap_err();
            assert!(error.contains(told), "{to}: {error}");
            assert!(!error.contains("1234") && !error.contains("abc"), "{error}");
        }
    }

    #[test]
    fn what_is_no_secret_is_taken() {
        for (from, to) in [
            (
                "from:",
                "paging: {cursor: /next, parameter: page_key}\nfrom:",
            ),
            (
                "from:",
                "paging: {cursor: /next, parameter: nextToken}\nfrom:",
            ),
            (
                "from:",
                "method: POST\nbody: {where: [{key: id, value: 7}], sort_key: t}\nfrom:",
            ),
            ("v1/{station}/history?", "v1?site_key={station}&"),
        ] {
            checked(&[(from, to)]).unwrap();
        }
    }

    #[test]
    fn a_pointer_is_read_as_its_rfc_says() {
        let parts = |text: &str| Pointer::parse(text).map(|pointer| pointer.parts);
        assert_eq!(parts(""), Some(vec![]));
        assert_eq!(
            parts("/a~1b/~01/0"),
            Some(vec!["a/b".into(), "~1".into(), "0".into()])
        );
        assert_eq!(parts("a/b"), None);
    }
}
