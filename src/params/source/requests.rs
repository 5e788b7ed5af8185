//! What all sources that ask a server share: how it is asked, and the token.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use super::super::{Invalid, invalid};
use crate::time::{Span, format_utc};
use crate::yaml::sections;

sections!(RawLimits, RawToken);

/// `requests` of a source, as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, remote = "Self")]
pub(in crate::params) struct RawLimits {
    at_once: Option<usize>,
    per_minute: Option<u32>,
    timeout: Option<Span>,
    give_up_after: Option<Span>,
    attempts: Option<u32>,
    first_wait: Option<Span>,
    largest_body_mib: Option<u64>,
}

/// `token` of a source, as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
pub(in crate::params) struct RawToken {
    env: Option<String>,
    file: Option<String>,
    header: Option<String>,
    query: Option<String>,
}

/// How long, how often and how fast a server is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// Requests side by side.
    pub at_once: usize,
    /// Requests that may begin in a minute, not 0; as many as a kind thinks right where absent.
    pub per_minute: Option<u32>,
    /// For one request, its answer included.
    pub timeout: Duration,
    /// For all together, waits included.
    pub give_up_after: Duration,
    /// Tries for one request.
    pub attempts: u32,
    /// The wait after the first failure; it doubles with each further one.
    pub first_wait: Duration,
    /// Bytes of one answer, packed or not.
    pub largest_body: u64,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self {
            at_once: 2,
            per_minute: None,
            timeout: Duration::from_mins(1),
            give_up_after: Duration::from_mins(30),
            attempts: 5,
            first_wait: Duration::from_secs(1),
            largest_body: 256 << 20,
        }
    }
}

/// Where a token is found and how it is sent; never the token itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Where it is found.
    pub place: TokenPlace,
    /// What carries it.
    pub carrier: TokenCarrier,
}

/// Where a token is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenPlace {
    /// In an environment variable.
    Env(String),
    /// In a file, relative to the project.
    File(String),
}

impl fmt::Display for TokenPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "the environment variable {name}"),
            Self::File(path) => write!(f, "the file {path}"),
        }
    }
}

/// What carries a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenCarrier {
    /// The header `Authorization`, behind the word `Bearer`.
    Bearer,
    /// A header of this name.
    Header(String),
    /// A parameter of the query.
    Query(String),
}

pub(in crate::params) fn check_limits(
    key: &str,
    raw: &RawLimits,
) -> Result<RequestLimits, Invalid> {
    let default = RequestLimits::default();
    let at_most = |name: &str, value: Option<u64>, most: u64| match value {
        Some(value) if !(1..=most).contains(&value) => {
            let expected = format!("between 1 and {most}");
            Err(invalid(format!("{key}.{name}"), expected, value))
        }
        value => Ok(value),
    };
    let span = |span: Option<Span>, otherwise| span.map_or(otherwise, Span::duration);
    let at_once = at_most("at_once", raw.at_once.map(|n| n as u64), 32)?;
    let per_minute = at_most("per_minute", raw.per_minute.map(u64::from), 60_000)?;
    let attempts = at_most("attempts", raw.attempts.map(u64::from), 100)?;
    let largest_body = at_most("largest_body_mib", raw.largest_body_mib, 4096)?;
    Ok(RequestLimits {
        at_once: at_once.map_or(default.at_once, |number| number as usize),
        per_minute: per_minute.map(|number| number as u32),
        timeout: span(raw.timeout, default.timeout),
        give_up_after: span(raw.give_up_after, default.give_up_after),
        attempts: attempts.map_or(default.attempts, |number| number as u32),
        first_wait: span(raw.first_wait, default.first_wait),
        largest_body: largest_body.map_or(default.largest_body, |mib| mib << 20),
    })
}

/// The years in which somebody measured the weather; another one is a slip of the pen.
pub(super) fn check_year(key: String, seconds: i64) -> Result<i64, Invalid> {
    // 1900-01-01 and 2101-01-01
    if (-2_208_988_800..4_133_980_800).contains(&seconds) {
        return Ok(seconds);
    }
    let found = format_utc(seconds);
    Err(invalid(key, "a year between 1900 and 2100", found))
}

pub(in crate::params) fn check_token(key: &str, token: RawToken) -> Result<Token, Invalid> {
    let place = match (token.env, token.file) {
        (Some(name), None) => TokenPlace::Env(name),
        (None, Some(path)) => TokenPlace::File(path),
        // What was found is not told: it might be the token itself.
        _ => {
            return Err(invalid(
                key,
                "`env: NAME` or `file: PATH`",
                "both or neither",
            ));
        }
    };
    let is_name = |name: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        !name.is_empty() && name.chars().all(plain)
    };
    let carrier = match (token.header, token.query) {
        (None, None) => TokenCarrier::Bearer,
        (Some(name), None) if is_name(&name) => TokenCarrier::Header(name),
        (None, Some(name)) if is_name(&name) => TokenCarrier::Query(name),
        (Some(_), Some(_)) => return Err(invalid(key, "`header` or `query`", "both")),
        (Some(name), None) => {
            let key = format!("{key}.header");
            return Err(invalid(key, "the name of a header", name));
        }
        (None, Some(name)) => {
            let key = format!("{key}.query");
            return Err(invalid(key, "the name of a parameter of the query", name));
        }
    };
    Ok(Token { place, carrier })
}
