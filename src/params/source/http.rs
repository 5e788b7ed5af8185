//! `kind: http`: the history API of a station, told as configuration.

mod answer;
mod request;

use std::collections::BTreeMap;

use chrono::DateTime;
use serde::Deserialize;
use serde_json::Value;

use self::answer::{check_answer, check_paging};
use self::request::{
    check_body, check_headers, check_range, check_stations, check_time_text, check_url,
};
use super::super::{Invalid, invalid};
use super::file::Reading;
use super::requests::{
    RawLimits, RawToken, RequestLimits, Token, TokenCarrier, check_limits, check_token,
};
use super::times::{RawTime, TimeFormat};
use crate::time::{DAY, Step};
use crate::yaml::sections;

sections!(RawHttp, RawAnswer, RawColumn, RawPaging, RawExpected);

/// Requests that may begin in a minute, where nothing else is said.
const PER_MINUTE: u32 = 600;

/// As a person wrote it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
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
#[serde(deny_unknown_fields, remote = "Self")]
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
#[serde(deny_unknown_fields, remote = "Self")]
struct RawColumn {
    unit: String,
    to: Option<String>,
    from: Option<String>,
    #[serde(default)]
    optional: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
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
#[serde(deny_unknown_fields, remote = "Self")]
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

    /// The place in a list that a part is. Such as `01` is none: one place has one name.
    pub fn place(part: &str) -> Option<usize> {
        let digits = part.bytes().all(|byte| byte.is_ascii_digit());
        let plain = digits && (part == "0" || !part.starts_with('0'));
        part.parse().ok().filter(|_| plain)
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

#[cfg(test)]
mod tests;
