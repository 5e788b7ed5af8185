//! Requests over a network that fails: the only user of reqwest.
//!
//! An answer is used only whole and only after its reader has accepted it; only then is it kept.
//! Timeouts, broken connections, 429 and 5xx are tried again with growing waits, longer where the
//! server says so (`Retry-After`, or the words of Open-Meteo's `reason`); everything else is an
//! error at once. All of it ends within one total time. Redirects are followed by hand, because
//! reqwest drops only the headers that it knows to be secret when the host changes.
//!
//! Ctrl-C needs no care here: a fetch is a child process without handlers, and ends by the signal.
//!
//! This module must not know what is asked for.

use std::io::Read;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use chrono::DateTime;
use reqwest::Url;
use reqwest::blocking::Response;
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::SourceError;
use super::responses::{Meta, Responses};
use super::secret::Secret;
use crate::time::Span;

/// Redirects in a row before it counts as a loop.
const REDIRECTS: usize = 5;
/// How much of a body that is an error is told.
const TOLD: usize = 200;

/// How long and how often to try.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    /// For one request, its body included.
    pub(super) request: Duration,
    /// For everything together, waits included.
    pub(super) total: Duration,
    /// Tries for one request.
    pub(super) attempts: u32,
    /// The wait after the first failure; it doubles with each further one.
    pub(super) first_wait: Duration,
    /// The longest wait of our own choice.
    pub(super) longest_wait: Duration,
    /// The time between the starts of two requests.
    pub(super) between: Duration,
    /// Requests side by side.
    pub(super) at_once: usize,
    /// Bytes of a body, packed or not.
    pub(super) body: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request: Duration::from_mins(1),
            total: Duration::from_mins(30),
            attempts: 5,
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_mins(1),
            // Open-Meteo allows 600 requests a minute.
            between: Duration::from_millis(100),
            at_once: 2,
            body: 256 << 20,
        }
    }
}

/// The time, which a test brings its own.
pub(super) trait Clock: Sync {
    /// Seconds since 1970 UTC.
    fn now(&self) -> i64;
    /// Since the fetch began.
    fn elapsed(&self) -> Duration;
    /// Waits.
    fn sleep(&self, wait: Duration);
    /// What makes the waits of two machines differ.
    fn seed(&self) -> u64;
}

/// The time of this machine.
pub(super) struct SystemClock(pub(super) Instant);

impl Clock for SystemClock {
    fn now(&self) -> i64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        since.map_or(0, |since| since.as_secs() as i64)
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, wait: Duration) {
        std::thread::sleep(wait);
    }

    fn seed(&self) -> u64 {
        u64::from(std::process::id()) ^ self.now() as u64
    }
}

/// A token and the header that carries it.
pub(super) struct Credential {
    /// `authorization` with `Bearer` before the token where absent.
    pub(super) header: Option<String>,
    pub(super) secret: Secret,
}

/// One thing to ask for.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    /// Names it whatever its URL is; the stored answers go by it.
    pub(super) slot: String,
    pub(super) url: String,
    /// An answer of this time or later is final. None: it is always asked for again.
    pub(super) final_since: Option<i64>,
}

/// What came.
#[derive(Debug)]
pub(super) struct Answer {
    /// Unpacked.
    pub(super) body: Vec<u8>,
    /// What was stored for the slot before, where a request was made.
    pub(super) before: Option<Vec<u8>>,
    /// Whether a request was made.
    pub(super) asked: bool,
}

/// Why a body cannot be used.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) message: String,
    /// Whether another try may give a better one.
    pub(super) may_pass: bool,
}

/// Asks servers, and stored answers first.
pub(super) struct Client<'a> {
    http: reqwest::blocking::Client,
    limits: Limits,
    clock: &'a dyn Clock,
    credential: Option<(HeaderName, HeaderValue, Secret)>,
    responses: Responses,
    offline: bool,
    next_start: Mutex<Duration>,
}

/// Why one try gave nothing.
enum Fault {
    /// Another try may do better, not before this wait where the server says so.
    Passing(String, Option<Duration>),
    Final(SourceError),
}

impl From<SourceError> for Fault {
    fn from(error: SourceError) -> Self {
        Self::Final(error)
    }
}

impl<'a> Client<'a> {
    pub(super) fn new(
        root: &Path,
        limits: Limits,
        clock: &'a dyn Clock,
        credential: Option<Credential>,
        offline: bool,
    ) -> Result<Self, SourceError> {
        // A second call finds it installed, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::blocking::Client::builder()
            .user_agent(concat!("krammerti/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| SourceError::Http {
                url: "a client".to_owned(),
                message: causes(&error),
            })?;
        Ok(Self {
            http,
            limits,
            clock,
            credential: credential.map(header_of).transpose()?,
            responses: Responses::new(root),
            offline,
            next_start: Mutex::default(),
        })
    }

    /// How many requests may be under way.
    pub(super) fn at_once(&self) -> usize {
        self.limits.at_once
    }

    /// What is stored for a slot, unpacked.
    pub(super) fn stored(&self, slot: &str) -> Result<Option<Vec<u8>>, SourceError> {
        let Some((meta, raw)) = self.responses.find(slot)? else {
            return Ok(None);
        };
        Ok(self.unpack(meta.encoding.as_deref(), raw).ok())
    }

    /// The slots of all answers that are stored, sorted, each with the file that speaks of it.
    pub(super) fn stored_slots(&self) -> Result<Vec<(String, String)>, SourceError> {
        self.responses.slots()
    }

    /// The answer to a request, stored or new, which `accept` has found usable.
    pub(super) fn get(
        &self,
        ask: &Ask,
        accept: &dyn Fn(&[u8]) -> Result<(), Refused>,
    ) -> Result<Answer, SourceError> {
        let stored = match self.responses.find(&ask.slot)? {
            Some((meta, raw)) => match self.unpack(meta.encoding.as_deref(), raw) {
                Ok(body) => Some((meta, body)),
                Err(_) => None,
            },
            None => None,
        };
        let settled = stored.as_ref().is_some_and(|(meta, _)| {
            meta.url == ask.url && ask.final_since.is_some_and(|since| meta.time >= since)
        });
        match stored {
            Some((_, body)) if self.offline || settled => Ok(Answer {
                body,
                before: None,
                asked: false,
            }),
            None if self.offline => Err(SourceError::NotStored {
                url: ask.url.clone(),
            }),
            stored => self.ask(ask, stored, accept),
        }
    }

    fn ask(
        &self,
        ask: &Ask,
        stored: Option<(Meta, Vec<u8>)>,
        accept: &dyn Fn(&[u8]) -> Result<(), Refused>,
    ) -> Result<Answer, SourceError> {
        let (meta, before) = stored.unzip();
        let mut attempt = 1;
        loop {
            let known = meta.as_ref().filter(|meta| meta.url == ask.url);
            let (message, told) = match self.attempt(ask, known, accept) {
                Ok(Some(body)) => {
                    return Ok(Answer {
                        body,
                        before,
                        asked: true,
                    });
                }
                // Not changed; only a request about a stored body can be answered so.
                Ok(None) => {
                    return Ok(Answer {
                        body: before.clone().unwrap_or_default(),
                        before,
                        asked: true,
                    });
                }
                Err(Fault::Final(error)) => return Err(error),
                Err(Fault::Passing(message, told)) => (self.redact(&message), told),
            };
            if attempt >= self.limits.attempts {
                let message = format!("{message}, after {attempt} tries");
                return Err(self.error(ask, message));
            }
            let wait = told.unwrap_or_else(|| self.backoff(&ask.url, attempt));
            if self.clock.elapsed() + wait >= self.limits.total {
                let (wait, total) = (Span::from(wait), Span::from(self.limits.total));
                let message = format!(
                    "{message}; the next try, in {wait}, would be after the limit of {total}"
                );
                return Err(self.error(ask, message));
            }
            self.clock.sleep(wait);
            attempt += 1;
        }
    }

    /// One try. None: the stored body is still the answer.
    fn attempt(
        &self,
        ask: &Ask,
        known: Option<&Meta>,
        accept: &dyn Fn(&[u8]) -> Result<(), Refused>,
    ) -> Result<Option<Vec<u8>>, Fault> {
        let response = self.follow(ask, known)?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let time = self.clock.now();
        if let (304, Some(known)) = (status, known) {
            self.responses.note(&Meta {
                time,
                ..known.clone()
            })?;
            return Ok(None);
        }
        let raw = self.read(ask, response)?;
        let encoding = text_of(&headers, &header::CONTENT_ENCODING);
        let body = self
            .unpack(encoding.as_deref(), raw.clone())
            .map_err(|error| Fault::Passing(format!("a damaged gzip body: {error}"), None))?;
        if status != 200 {
            return Err(self.bad_status(ask, status, &headers, &body));
        }
        accept(&body).map_err(|refused| {
            if refused.may_pass {
                Fault::Passing(refused.message, None)
            } else {
                Fault::Final(self.error(ask, self.redact(&refused.message)))
            }
        })?;
        let meta = Meta {
            slot: ask.slot.clone(),
            url: ask.url.clone(),
            time,
            status,
            encoding,
            etag: text_of(&headers, &header::ETAG),
            last_modified: text_of(&headers, &header::LAST_MODIFIED),
            body: String::new(),
        };
        if !self.tells_the_token(&meta, &body) {
            self.responses.keep(meta, &raw)?;
        }
        Ok(Some(body))
    }

    /// A server that sends the token back gets nothing of its answer stored.
    fn tells_the_token(&self, meta: &Meta, body: &[u8]) -> bool {
        self.credential.as_ref().is_some_and(|(_, _, secret)| {
            let fields = [&meta.etag, &meta.last_modified, &meta.encoding];
            let told = |text: &String| secret.is_in(text.as_bytes());
            secret.is_in(body) || fields.into_iter().flatten().any(told)
        })
    }

    /// Sends the request and follows redirects. The token goes only to the host that was asked.
    fn follow(&self, ask: &Ask, known: Option<&Meta>) -> Result<Response, Fault> {
        let broken = |error: &dyn std::fmt::Display| self.error(ask, format!("no URL: {error}"));
        let first = Url::parse(&ask.url).map_err(|error| broken(&error))?;
        let mut url = first.clone();
        for _ in 0..=REDIRECTS {
            self.wait_for_turn();
            let mut request = self
                .http
                .get(url.clone())
                .timeout(self.time_left(ask)?)
                .header(header::ACCEPT_ENCODING, "gzip");
            if let Some((name, value, _)) = &self.credential
                && url.origin() == first.origin()
            {
                request = request.header(name, value);
            }
            let conditions = known.map(|known| {
                [
                    (header::IF_NONE_MATCH, &known.etag),
                    (header::IF_MODIFIED_SINCE, &known.last_modified),
                ]
            });
            for (name, value) in conditions.into_iter().flatten() {
                if let Some(value) = value {
                    request = request.header(name, value);
                }
            }
            let response = request.send().map_err(|error| match causes(&error) {
                // Whoever answers is not who was asked; that does not pass.
                message if message.contains("certificate") => self.error(ask, message).into(),
                message => Fault::Passing(message, None),
            })?;
            let to = text_of(response.headers(), &header::LOCATION);
            match to {
                Some(to) if [301, 302, 303, 307, 308].contains(&response.status().as_u16()) => {
                    url = url.join(&to).map_err(|error| broken(&error))?;
                }
                _ => return Ok(response),
            }
        }
        Err(self
            .error(ask, format!("more than {REDIRECTS} redirects in a row"))
            .into())
    }

    /// What one request may take of what is left of the whole.
    fn time_left(&self, ask: &Ask) -> Result<Duration, SourceError> {
        let left = self.limits.total.saturating_sub(self.clock.elapsed());
        if left.is_zero() {
            let total = Span::from(self.limits.total);
            return Err(self.error(ask, format!("the total time of {total} is over")));
        }
        Ok(left.min(self.limits.request))
    }

    fn wait_for_turn(&self) {
        let now = self.clock.elapsed();
        let start = {
            // A thread that panicked held nothing that could be half done.
            let next = self.next_start.lock();
            let mut next = next.unwrap_or_else(std::sync::PoisonError::into_inner);
            let start = (*next).max(now);
            *next = start + self.limits.between;
            start
        };
        let wait = start.saturating_sub(now);
        if !wait.is_zero() {
            self.clock.sleep(wait);
        }
    }

    fn read(&self, ask: &Ask, response: Response) -> Result<Vec<u8>, Fault> {
        let mut body = Vec::new();
        response
            .take(self.limits.body + 1)
            .read_to_end(&mut body)
            .map_err(|error| Fault::Passing(format!("the answer broke off: {error}"), None))?;
        if body.len() as u64 > self.limits.body {
            let message = format!("the answer is longer than {} bytes", self.limits.body);
            return Err(self.error(ask, message).into());
        }
        Ok(body)
    }

    fn unpack(&self, encoding: Option<&str>, raw: Vec<u8>) -> std::io::Result<Vec<u8>> {
        if encoding != Some("gzip") {
            return Ok(raw);
        }
        let mut body = Vec::new();
        flate2::read::MultiGzDecoder::new(&*raw)
            .take(self.limits.body + 1)
            .read_to_end(&mut body)?;
        if body.len() as u64 > self.limits.body {
            return Err(std::io::Error::other("it is too long unpacked"));
        }
        Ok(body)
    }

    fn bad_status(&self, ask: &Ask, status: u16, headers: &HeaderMap, body: &[u8]) -> Fault {
        let reason = reason(body);
        let message = match reason.as_str() {
            "" => format!("status {status}"),
            reason => format!("status {status}: {reason}"),
        };
        if status != 429 && status < 500 {
            return self.error(ask, self.redact(&message)).into();
        }
        let after = text_of(headers, &header::RETRY_AFTER);
        let told = after.and_then(|text| retry_after(&text, self.clock.now()));
        match told.map_or_else(|| wait_in_words(&reason, self.clock.now()), Wait::For) {
            Wait::Unsaid => Fault::Passing(message, None),
            Wait::For(wait) => Fault::Passing(message, Some(wait)),
            Wait::Tomorrow => {
                let message = format!("{message}; the limit of the day is used up, so it gives up");
                self.error(ask, self.redact(&message)).into()
            }
        }
    }

    /// Doubles with each try; the jitter takes away up to a half.
    fn backoff(&self, url: &str, attempt: u32) -> Duration {
        let doubled = self.limits.first_wait * 2_u32.saturating_pow(attempt.min(16) - 1);
        let wait = doubled.min(self.limits.longest_wait);
        let digest = blake3::hash(format!("{} {attempt} {url}", self.clock.seed()).as_bytes());
        wait.mul_f64(1.0 - f64::from(digest.as_bytes()[0]) / 512.0)
    }

    fn redact(&self, text: &str) -> String {
        match &self.credential {
            Some((_, _, secret)) => secret.redact(text),
            None => text.to_owned(),
        }
    }

    fn error(&self, ask: &Ask, message: impl Into<String>) -> SourceError {
        SourceError::Http {
            url: self.redact(&ask.url),
            message: message.into(),
        }
    }
}

fn header_of(credential: Credential) -> Result<(HeaderName, HeaderValue, Secret), SourceError> {
    let (name, text) = match &credential.header {
        Some(name) => (name.as_str(), credential.secret.reveal().to_owned()),
        None => (
            "authorization",
            format!("Bearer {}", credential.secret.reveal()),
        ),
    };
    let name = HeaderName::from_bytes(name.as_bytes());
    let value = HeaderValue::from_str(&text);
    match (name, value) {
        (Ok(name), Ok(mut value)) => {
            value.set_sensitive(true);
            Ok((name, value, credential.secret))
        }
        _ => Err(SourceError::BadToken),
    }
}

fn text_of(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    Some(value.to_owned())
}

/// An error of reqwest with its causes; the URL is told by whoever asked.
fn causes(error: &reqwest::Error) -> String {
    let mut text = match () {
        () if error.is_timeout() => return "no answer in time".to_owned(),
        () if error.is_connect() => "no connection".to_owned(),
        () => "the connection broke".to_owned(),
    };
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        cause = inner.source();
        // The innermost one says most: `Connection refused`, `invalid peer certificate`.
        if cause.is_none() {
            text = format!("{text}: {inner}");
        }
    }
    text
}

/// What a server says is wrong: the `reason` of Open-Meteo, or the start of any text.
fn reason(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Said {
        reason: String,
    }
    match serde_json::from_slice::<Said>(body) {
        Ok(said) => said.reason,
        Err(_) => start_of(body),
    }
}

/// The start of a body on one line, for an error.
pub(super) fn start_of(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(4 * TOLD)]);
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(TOLD).collect()
}

/// `Retry-After`: seconds, or a date.
fn retry_after(text: &str, now: i64) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = DateTime::parse_from_rfc2822(text.trim()).ok()?;
    Some(Duration::from_secs(
        (date.timestamp() - now).max(0).unsigned_abs(),
    ))
}

#[derive(Debug, PartialEq)]
enum Wait {
    Unsaid,
    For(Duration),
    Tomorrow,
}

/// How long to wait, by the words in which Open-Meteo refuses: "Please try again in one minute.",
/// "… in the next hour.", "… tomorrow."
fn wait_in_words(reason: &str, now: i64) -> Wait {
    if reason.contains("tomorrow") {
        Wait::Tomorrow
    } else if reason.contains("next hour") {
        let left = 3600 - now.rem_euclid(3600);
        Wait::For(Duration::from_secs(left.unsigned_abs() + 1))
    } else if reason.contains("one minute") {
        Wait::For(Duration::from_secs(61))
    } else {
        Wait::Unsaid
    }
}

#[cfg(test)]
mod tests;
