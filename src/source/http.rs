//! Requests over a network that fails: the only user of reqwest.
//!
//! An answer is used only whole and only after its reader has accepted it; only then is it kept.
//! Timeouts, broken connections, 429 and 5xx are tried again with growing waits, longer where the
//! server says so (`Retry-After`, or the words of Open-Meteo's `reason`); everything else is an
//! error at once. All of it ends within one total time. A server that says to wait means all
//! requests, so all of them wait.
//!
//! Redirects are followed by hand, because reqwest drops only the headers that it knows to be secret
//! when the host changes. The token and all other configured headers go to the origin (scheme, host
//! and port) that the source names and to no other.
//!
//! A body is held in memory, so it has a limit, packed and unpacked; with n requests at once at
//! most n bodies are held. A body in which the server sends the token back is kept, and handed on,
//! with the token made unreadable.
//!
//! Ctrl-C needs no care here: a fetch is a child process without handlers, and ends by the signal.
//!
//! This module must not know what is asked for.

use std::borrow::Cow;
use std::io::Read;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use chrono::DateTime;
use reqwest::blocking::Response;
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};

use super::SourceError;
use super::percent;
use super::responses::{Meta, Responses};
use super::secret::Secret;
use crate::params::{RequestLimits, Token, TokenCarrier};
use crate::time::Span;

/// The one way of packing a body that is asked for.
const GZIP: &str = "gzip";
/// Redirects in a row before it counts as a loop.
const REDIRECTS: usize = 5;
/// How much of a body that is an error is told.
const TOLD: usize = 200;
/// How much of a body that is an error is read.
const READ_OF_ERROR: u64 = 64 << 10;
/// For the way to a server; what answers at all answers by then.
const CONNECT: Duration = Duration::from_secs(20);
/// How long a wait goes on after another request has failed.
const NAP: Duration = Duration::from_millis(50);

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

impl From<&RequestLimits> for Limits {
    fn from(params: &RequestLimits) -> Self {
        Self {
            request: params.timeout,
            total: params.give_up_after,
            attempts: params.attempts,
            first_wait: params.first_wait,
            longest_wait: params.first_wait.max(Duration::from_mins(1)),
            between: params
                .per_minute
                .map_or(Duration::ZERO, |number| Duration::from_mins(1) / number),
            at_once: params.at_once,
            body: params.largest_body,
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
    /// Waits, or not to the end where that has become of no use.
    fn sleep_unless(&self, wait: Duration, _stopped: &AtomicBool) {
        self.sleep(wait);
    }
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

    fn sleep_unless(&self, wait: Duration, stopped: &AtomicBool) {
        let end = Instant::now() + wait;
        while !stopped.load(Ordering::Relaxed) {
            match end.saturating_duration_since(Instant::now()) {
                Duration::ZERO => return,
                left => self.sleep(left.min(NAP)),
            }
        }
    }

    fn seed(&self) -> u64 {
        u64::from(std::process::id()) ^ self.now() as u64
    }
}

/// A token and what carries it.
pub(super) struct Credential {
    pub(super) carrier: TokenCarrier,
    pub(super) secret: Secret,
}

impl Credential {
    /// The token from where the parameters say it is.
    pub(super) fn find(token: &Token, root: &Path) -> Result<Self, SourceError> {
        Ok(Self {
            carrier: token.carrier.clone(),
            secret: Secret::find(token, root)?,
        })
    }
}

/// One thing to ask for.
#[derive(Clone, Debug, Default)]
pub(super) struct Ask {
    /// Names it whatever its URL is; the stored answers go by it.
    pub(super) slot: String,
    pub(super) url: String,
    /// An answer of this time or later is final. None: it is always asked for again.
    pub(super) final_since: Option<i64>,
    /// JSON to send with POST; GET where absent.
    pub(super) post: Option<String>,
    /// The URL to whose origin the token may go, where it is not that of `url`: a link to the next
    /// page comes from the server.
    pub(super) home: Option<String>,
    /// Asks whatever is stored, and without conditions.
    pub(super) fresh: bool,
}

/// What came.
#[derive(Debug)]
pub(super) struct Answer {
    /// Unpacked, and without the token.
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

/// Judges an unpacked body.
pub(super) type Accept<'a> = &'a dyn Fn(&[u8]) -> Result<(), Refused>;

/// Asks servers, and stored answers first.
pub(super) struct Client<'a> {
    http: reqwest::blocking::Client,
    limits: Limits,
    clock: &'a dyn Clock,
    headers: HeaderMap,
    credential: Option<Credential>,
    responses: Responses,
    offline: bool,
    next_start: Mutex<Duration>,
    stopped: AtomicBool,
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
            .connect_timeout(CONNECT.min(limits.request))
            .build()
            .map_err(|error| SourceError::Http {
                url: "a client".to_owned(),
                message: causes(&error),
            })?;
        if let Some(credential) = &credential {
            // A token that cannot be sent is told before anything is asked.
            header_of(credential)?;
        }
        Ok(Self {
            http,
            limits,
            clock,
            headers: HeaderMap::new(),
            credential,
            responses: Responses::new(root),
            offline,
            next_start: Mutex::default(),
            stopped: AtomicBool::new(false),
        })
    }

    /// The same client, with headers of the user's in every request to the source's own origin.
    pub(super) fn with_headers<'h>(
        mut self,
        headers: impl Iterator<Item = (&'h String, &'h String)>,
    ) -> Result<Self, SourceError> {
        for (name, value) in headers {
            let parsed = HeaderName::from_bytes(name.as_bytes());
            let (Ok(parsed), Ok(value)) = (parsed, HeaderValue::from_str(value)) else {
                return Err(SourceError::BadHeader { name: name.clone() });
            };
            self.headers.insert(parsed, value);
        }
        Ok(self)
    }

    /// Whether only what is stored may be used.
    pub(super) fn is_offline(&self) -> bool {
        self.offline
    }

    /// How many requests may be under way.
    pub(super) fn at_once(&self) -> usize {
        self.limits.at_once
    }

    /// Lets the waits of all requests end, because one has failed for good.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// What is stored for a slot, unpacked.
    pub(super) fn stored(&self, slot: &str) -> Result<Option<Vec<u8>>, SourceError> {
        Ok(self.find(slot)?.map(|(_, body)| body))
    }

    /// The slots of all answers that are stored, sorted, each with the file that speaks of it.
    pub(super) fn stored_slots(&self) -> Result<Vec<(String, String)>, SourceError> {
        self.responses.slots()
    }

    /// The answer to a request, stored or new, which `accept` has found usable.
    pub(super) fn get(&self, ask: &Ask, accept: Accept<'_>) -> Result<Answer, SourceError> {
        let stored = self.find(&self.redact(&ask.slot))?;
        let settled = stored.as_ref().is_some_and(|(meta, _)| {
            self.is_about(meta, ask) && ask.final_since.is_some_and(|since| meta.time >= since)
        });
        match stored {
            Some((_, body)) if self.offline || (settled && !ask.fresh) => Ok(Answer {
                body,
                before: None,
                asked: false,
            }),
            None if self.offline => Err(SourceError::NotStored {
                url: self.redact(&ask.url),
            }),
            stored => self.ask(ask, stored, accept),
        }
    }

    /// Whether a stored answer is one to the very same request.
    fn is_about(&self, meta: &Meta, ask: &Ask) -> bool {
        meta.url == self.redact(&ask.url) && meta.post == digest_of(ask.post.as_deref())
    }

    fn find(&self, slot: &str) -> Result<Option<(Meta, Vec<u8>)>, SourceError> {
        let Some((meta, raw)) = self.responses.find(slot)? else {
            return Ok(None);
        };
        match self.unpack(meta.encoding.as_deref(), &raw) {
            Ok(body) => {
                let body = body.into_owned();
                Ok(Some((meta, body)))
            }
            // It is sound, and was allowed when it came.
            Err(Packed::TooLong) => Err(SourceError::Http {
                url: meta.url,
                message: format!("the stored answer {}", self.longer()),
            }),
            Err(Packed::Damaged(_)) => Ok(None),
        }
    }

    fn ask(
        &self,
        ask: &Ask,
        stored: Option<(Meta, Vec<u8>)>,
        accept: Accept<'_>,
    ) -> Result<Answer, SourceError> {
        let (meta, before) = stored.unzip();
        let mut known = meta.filter(|meta| self.is_about(meta, ask) && !ask.fresh);
        let mut attempt = 1;
        loop {
            let (message, told) = match self.attempt(ask, known.as_ref(), accept) {
                Ok(Some(body)) => {
                    return Ok(Answer {
                        body,
                        before,
                        asked: true,
                    });
                }
                // Not changed; only a request about a stored body can be answered so.
                Ok(None) => {
                    if let Some(body) = before.as_deref().filter(|body| accept(body).is_ok()) {
                        return Ok(Answer {
                            body: body.to_vec(),
                            before,
                            asked: true,
                        });
                    }
                    // It was stored by other rules, which the server cannot know.
                    known = None;
                    continue;
                }
                Err(Fault::Final(error)) => return Err(error),
                Err(Fault::Passing(message, told)) => (message, told),
            };
            if attempt >= self.limits.attempts {
                let tries = if attempt == 1 { "try" } else { "tries" };
                return Err(self.error(ask, format!("{message}, after {attempt} {tries}")));
            }
            self.wait_to_try_again(ask, &message, attempt, told)?;
            attempt += 1;
        }
    }

    /// Waits as long as the server says, and never shorter than after a failure without words.
    pub(super) fn wait_to_try_again(
        &self,
        ask: &Ask,
        message: &str,
        attempt: u32,
        told: Option<Duration>,
    ) -> Result<(), SourceError> {
        let wait = self
            .backoff(&ask.url, attempt)
            .max(told.unwrap_or_default());
        let now = self.clock.elapsed();
        if now.saturating_add(wait) >= self.limits.total {
            let (wait, total) = (Span::from(wait), Span::from(self.limits.total));
            let message =
                format!("{message}; the next try, in {wait}, would be after the limit of {total}");
            return Err(self.error(ask, message));
        }
        if told.is_some() {
            // It speaks of whoever asks, not of this request.
            let mut next = self.next_start();
            *next = (*next).max(now + wait);
        }
        self.pause(ask, wait)
    }

    /// One try. None: the stored body is still the answer.
    fn attempt(
        &self,
        ask: &Ask,
        known: Option<&Meta>,
        accept: Accept<'_>,
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
        let encoding = text_of(&headers, &header::CONTENT_ENCODING)
            .and_then(|text| known_encoding(&self.redact(&text)));
        if status != 200 {
            let body = start_of_error(response, encoding.as_deref());
            return Err(self.bad_status(ask, status, &headers, &body));
        }
        if let Some(other) = encoding.as_deref().filter(|encoding| *encoding != GZIP) {
            let message = format!("expected a plain or gzip body, received one in `{other}`");
            return Err(self.error(ask, message).into());
        }
        let raw = self.read(ask, response)?;
        let body = match self.unpack(encoding.as_deref(), &raw) {
            Ok(body) => body,
            Err(Packed::TooLong) => return Err(self.too_long(ask).into()),
            Err(Packed::Damaged(error)) => {
                let message = format!("a damaged gzip body: {error}");
                return Err(Fault::Passing(message, None));
            }
        };
        accept(&body).map_err(|refused| {
            let refused = self.without_token_in(refused, &body, accept);
            if refused.may_pass {
                Fault::Passing(refused.message, None)
            } else {
                Fault::Final(self.error(ask, refused.message))
            }
        })?;
        let quiet = |text: &String| !self.tells_the_token(text.as_bytes());
        let meta = Meta {
            slot: self.redact(&ask.slot),
            url: self.redact(&ask.url),
            post: digest_of(ask.post.as_deref()),
            time,
            status,
            encoding: encoding.clone(),
            etag: text_of(&headers, &header::ETAG).filter(quiet),
            last_modified: text_of(&headers, &header::LAST_MODIFIED).filter(quiet),
            token_hidden: false,
            body: String::new(),
        };
        if self.tells_the_token(&body) {
            return Ok(Some(self.keep_hidden(meta, &body, accept)?));
        }
        self.responses.keep(meta, &raw)?;
        let body = match body {
            Cow::Owned(body) => body,
            Cow::Borrowed(_) => raw,
        };
        Ok(Some(body))
    }

    /// Keeps a body that tells the token without it. Where nothing is left that can be read, because
    /// the token happens to be one of the values, nothing is kept.
    fn keep_hidden(
        &self,
        meta: Meta,
        body: &[u8],
        accept: Accept<'_>,
    ) -> Result<Vec<u8>, SourceError> {
        let hidden = self.without_token(body).into_owned();
        if accept(&hidden).is_err() {
            return Ok(body.to_vec());
        }
        let meta = Meta {
            encoding: None,
            token_hidden: true,
            ..meta
        };
        self.responses.keep(meta, &hidden)?;
        Ok(hidden)
    }

    /// A refusal whose message may have the start of a body: cut in the middle of the token, nobody
    /// would know it again, so the token is taken out before.
    fn without_token_in(&self, refused: Refused, body: &[u8], accept: Accept<'_>) -> Refused {
        if !self.tells_the_token(body) {
            return refused;
        }
        let message = match accept(&self.without_token(body)) {
            Err(again) => again.message,
            Ok(()) => "an answer that cannot be used".to_owned(),
        };
        Refused { message, ..refused }
    }

    fn without_token<'b>(&self, body: &'b [u8]) -> Cow<'b, [u8]> {
        match &self.credential {
            Some(credential) if credential.secret.is_in(body) => {
                Cow::Owned(credential.secret.hide_in(body))
            }
            _ => Cow::Borrowed(body),
        }
    }

    fn tells_the_token(&self, bytes: &[u8]) -> bool {
        let credential = self.credential.as_ref();
        credential.is_some_and(|credential| credential.secret.is_in(bytes))
    }

    /// Sends the request and follows redirects. The token goes only to the source's own origin.
    fn follow(&self, ask: &Ask, known: Option<&Meta>) -> Result<Response, Fault> {
        let broken = |error: &dyn std::fmt::Display| self.error(ask, format!("no URL: {error}"));
        let parse = |text: &str| Url::parse(text).map_err(|error| broken(&error));
        let home = parse(ask.home.as_ref().unwrap_or(&ask.url))?.origin();
        let mut url = parse(&ask.url)?;
        let mut post = ask.post.clone();
        for _ in 0..=REDIRECTS {
            self.wait_for_turn(ask)?;
            let response = self.send(
                ask,
                url.clone(),
                url.origin() == home,
                post.as_deref(),
                known,
            )?;
            let status = response.status().as_u16();
            let to = text_of(response.headers(), &header::LOCATION);
            let Some(to) = to.filter(|_| [301, 302, 303, 307, 308].contains(&status)) else {
                return Ok(response);
            };
            let next = url.join(&to).map_err(|error| broken(&error))?;
            url = self.redirected(ask, &url, next)?;
            // As browsers do: only these two say that the request stays what it is.
            if !matches!(status, 307 | 308) {
                post = None;
            }
        }
        Err(self
            .error(ask, format!("more than {REDIRECTS} redirects in a row"))
            .into())
    }

    /// Where a redirect may lead: never from https to http, and never with what only its home may
    /// see.
    fn redirected(&self, ask: &Ask, from: &Url, to: Url) -> Result<Url, SourceError> {
        if !matches!(to.scheme(), "http" | "https")
            || (from.scheme(), to.scheme()) == ("https", "http")
        {
            let message = format!("a redirect from {} to {}", from.scheme(), to.scheme());
            return Err(self.error(ask, message));
        }
        let token = match self.credential.as_ref().map(|one| &one.carrier) {
            Some(TokenCarrier::Query(name)) => Some(name.as_str()),
            _ => None,
        };
        let to = cleaned(to, token);
        if self.tells_the_token(to.as_str().as_bytes()) {
            return Err(self.error(ask, "a redirect that tells the token"));
        }
        Ok(to)
    }

    fn send(
        &self,
        ask: &Ask,
        mut url: Url,
        is_home: bool,
        post: Option<&str>,
        known: Option<&Meta>,
    ) -> Result<Response, Fault> {
        let mut headers = HeaderMap::new();
        if is_home {
            headers.clone_from(&self.headers);
            if let Some(credential) = &self.credential {
                match header_of(credential)? {
                    Some((name, value)) => {
                        headers.insert(name, value);
                    }
                    None => add_to_query(&mut url, credential),
                }
            }
        }
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(GZIP));
        for (name, value) in known.into_iter().flat_map(conditions) {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        }
        let method = if post.is_some() {
            Method::POST
        } else {
            Method::GET
        };
        let mut request = self.http.request(method, url).timeout(self.time_left(ask)?);
        if let Some(json) = post {
            headers
                .entry(header::CONTENT_TYPE)
                .or_insert(HeaderValue::from_static("application/json"));
            request = request.body(json.to_owned());
        }
        request.headers(headers).send().map_err(|error| {
            let message = causes(&error);
            // Neither another certificate nor another URL comes with time.
            if error.is_builder() || message.contains("certificate") {
                self.error(ask, message).into()
            } else {
                Fault::Passing(message, None)
            }
        })
    }

    /// What one request may take of what is left of the whole.
    fn time_left(&self, ask: &Ask) -> Result<Duration, SourceError> {
        let left = self.limits.total.saturating_sub(self.clock.elapsed());
        if left.is_zero() {
            return Err(self.out_of_time(ask));
        }
        Ok(left.min(self.limits.request))
    }

    fn out_of_time(&self, ask: &Ask) -> SourceError {
        let total = Span::from(self.limits.total);
        self.error(ask, format!("the total time of {total} is over"))
    }

    fn next_start(&self) -> std::sync::MutexGuard<'_, Duration> {
        // A thread that panicked held nothing that could be half done.
        let next = self.next_start.lock();
        next.unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn wait_for_turn(&self, ask: &Ask) -> Result<(), SourceError> {
        let now = self.clock.elapsed();
        let start = {
            let mut next = self.next_start();
            let start = (*next).max(now);
            *next = start + self.limits.between;
            start
        };
        if start >= self.limits.total {
            return Err(self.out_of_time(ask));
        }
        self.pause(ask, start.saturating_sub(now))
    }

    fn pause(&self, ask: &Ask, wait: Duration) -> Result<(), SourceError> {
        if !wait.is_zero() {
            self.clock.sleep_unless(wait, &self.stopped);
        }
        if self.stopped.load(Ordering::Relaxed) {
            return Err(self.error(ask, "given up, because another request failed"));
        }
        Ok(())
    }

    fn read(&self, ask: &Ask, response: Response) -> Result<Vec<u8>, Fault> {
        let told = response.content_length().unwrap_or(0);
        if told > self.limits.body {
            return Err(self.too_long(ask).into());
        }
        // A server may say any length; what it says is believed up to a size that does no harm.
        let mut body = Vec::with_capacity(told.min(64 << 20) as usize);
        response
            .take(self.limits.body + 1)
            .read_to_end(&mut body)
            .map_err(|error| Fault::Passing(broke_off(&error), None))?;
        if body.len() as u64 > self.limits.body {
            return Err(self.too_long(ask).into());
        }
        Ok(body)
    }

    fn too_long(&self, ask: &Ask) -> SourceError {
        self.error(ask, format!("the answer {}", self.longer()))
    }

    fn longer(&self) -> String {
        format!(
            "is longer than {} bytes; a larger `requests.largest_body_mib` allows it",
            self.limits.body
        )
    }

    fn unpack<'b>(&self, encoding: Option<&str>, raw: &'b [u8]) -> Result<Cow<'b, [u8]>, Packed> {
        if encoding != Some(GZIP) {
            return Ok(Cow::Borrowed(raw));
        }
        let mut body = Vec::new();
        flate2::read::MultiGzDecoder::new(raw)
            .take(self.limits.body + 1)
            .read_to_end(&mut body)
            .map_err(Packed::Damaged)?;
        if body.len() as u64 > self.limits.body {
            return Err(Packed::TooLong);
        }
        Ok(Cow::Owned(body))
    }

    fn bad_status(&self, ask: &Ask, status: u16, headers: &HeaderMap, body: &[u8]) -> Fault {
        let reason = self.reason(body);
        let message = match reason.as_str() {
            "" => format!("status {status}"),
            reason => format!("status {status}: {reason}"),
        };
        // Request timeout, too early, too many requests: what other statuses of the client are not.
        let passes = matches!(status, 408 | 425 | 429) || (500..600).contains(&status);
        if !passes {
            return self.error(ask, message).into();
        }
        let after = text_of(headers, &header::RETRY_AFTER);
        let told = after.and_then(|text| retry_after(&text, self.clock.now()));
        match told.map_or_else(|| wait_in_words(&reason, self.clock.now()), Wait::For) {
            Wait::Unsaid => Fault::Passing(message, None),
            Wait::For(wait) => Fault::Passing(message, Some(wait)),
            Wait::Tomorrow => {
                let message = format!("{message}; the limit of the day is used up, so it gives up");
                self.error(ask, message).into()
            }
        }
    }

    /// What a server says is wrong: the `reason` of Open-Meteo, or the start of any text. The token is
    /// taken out before it is cut.
    fn reason(&self, body: &[u8]) -> String {
        #[derive(serde::Deserialize)]
        struct Said {
            reason: String,
        }
        match serde_json::from_slice::<Said>(body) {
            Ok(said) => start_of(self.redact(&said.reason).as_bytes()),
            Err(_) => start_of(&self.without_token(body)),
        }
    }

    /// Doubles with each try; the jitter takes away up to a half.
    fn backoff(&self, url: &str, attempt: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(attempt.clamp(1, 16) - 1);
        let wait = self.limits.first_wait.saturating_mul(doubled);
        let wait = wait.min(self.limits.longest_wait);
        let digest = blake3::hash(format!("{} {attempt} {url}", self.clock.seed()).as_bytes());
        wait.mul_f64(1.0 - f64::from(digest.as_bytes()[0]) / 512.0)
    }

    fn redact(&self, text: &str) -> String {
        match &self.credential {
            Some(credential) => credential.secret.redact(text),
            None => text.to_owned(),
        }
    }

    /// An error that tells no token, whoever wrote its message.
    pub(super) fn error(&self, ask: &Ask, message: impl AsRef<str>) -> SourceError {
        SourceError::Http {
            url: self.redact(&ask.url),
            message: self.redact(message.as_ref()),
        }
    }
}

fn digest_of(post: Option<&str>) -> Option<String> {
    post.map(|text| blake3::hash(text.as_bytes()).to_hex().to_string())
}

/// Why a packed body cannot be used.
enum Packed {
    TooLong,
    Damaged(std::io::Error),
}

/// The header that carries a token; none where the query does.
fn header_of(credential: &Credential) -> Result<Option<(HeaderName, HeaderValue)>, SourceError> {
    let token = credential.secret.reveal();
    let (name, text) = match &credential.carrier {
        TokenCarrier::Bearer => ("authorization", format!("Bearer {token}")),
        TokenCarrier::Header(name) => (name.as_str(), token.to_owned()),
        TokenCarrier::Query(_) => return Ok(None),
    };
    let name = HeaderName::from_bytes(name.as_bytes());
    let value = HeaderValue::from_str(&text);
    match (name, value) {
        (Ok(name), Ok(mut value)) => {
            value.set_sensitive(true);
            Ok(Some((name, value)))
        }
        _ => Err(SourceError::BadToken),
    }
}

fn add_to_query(url: &mut Url, credential: &Credential) {
    if let TokenCarrier::Query(name) = &credential.carrier {
        *url = without_parameter(url, name);
        // Written in a form that the secret knows again, whoever sends it back.
        let token = percent::encode(credential.secret.reveal());
        let pair = format!("{}={token}", percent::encode(name));
        let query = match url.query() {
            None | Some("") => pair,
            Some(query) => format!("{query}&{pair}"),
        };
        url.set_query(Some(&query));
    }
}

/// The same URL without a parameter of its query; the others stay as they are written.
fn without_parameter(url: &Url, name: &str) -> Url {
    let mut url = url.clone();
    if url.query_pairs().any(|(key, _)| key == name) {
        let parts = url.query().unwrap_or_default().split('&');
        let other = |part: &&str| {
            let key = part.split('=').next().unwrap_or_default();
            percent::decode(key) != name.as_bytes()
        };
        let rest: Vec<&str> = parts.filter(other).collect();
        let rest = (!rest.is_empty()).then(|| rest.join("&"));
        url.set_query(rest.as_deref());
    }
    url
}

/// Where a link in the answer to a URL leads, without the parameter that carries the token.
pub(super) fn follow_link(from: &str, link: &str, token: Option<&str>) -> Result<String, String> {
    let broken = |error| format!("the link to the next page is no URL: {error}");
    let from = Url::parse(from).map_err(broken)?;
    let to = from.join(link).map_err(broken)?;
    let (kind, was) = (to.scheme(), from.scheme());
    if !matches!(kind, "http" | "https") || (was, kind) == ("https", "http") {
        return Err(format!("a link to the next page from {was} to {kind}"));
    }
    Ok(cleaned(to, token).to_string())
}

/// A URL of somebody else's without what he must not tell us.
fn cleaned(mut url: Url, token: Option<&str>) -> Url {
    url.set_fragment(None);
    // Neither fails for http and https.
    let _ = (url.set_username(""), url.set_password(None));
    match token {
        Some(name) => without_parameter(&url, name),
        None => url,
    }
}

fn conditions(known: &Meta) -> impl Iterator<Item = (HeaderName, &String)> {
    [
        (header::IF_NONE_MATCH, &known.etag),
        (header::IF_MODIFIED_SINCE, &known.last_modified),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value.as_ref()?)))
}

/// How a body is packed; none where it is not.
fn known_encoding(text: &str) -> Option<String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "" | "identity" => None,
        "gzip" | "x-gzip" => Some(GZIP.to_owned()),
        _ => Some(start_of(text.as_bytes())),
    }
}

/// The beginning of what a server says is wrong. Whatever ends early or is damaged here was an error
/// before.
fn start_of_error(response: Response, encoding: Option<&str>) -> Vec<u8> {
    let mut raw = Vec::new();
    let _ = response.take(READ_OF_ERROR).read_to_end(&mut raw);
    if encoding != Some(GZIP) {
        return raw;
    }
    let mut body = Vec::new();
    let unpacked = flate2::read::MultiGzDecoder::new(&*raw);
    let _ = unpacked.take(READ_OF_ERROR).read_to_end(&mut body);
    body
}

fn broke_off(error: &std::io::Error) -> String {
    let cause = error
        .get_ref()
        .and_then(|e| e.downcast_ref::<reqwest::Error>());
    match cause {
        Some(error) if error.is_timeout() => "the answer did not end in time".to_owned(),
        Some(error) => format!("the answer broke off: {}", causes(error)),
        None if error.kind() == std::io::ErrorKind::TimedOut => {
            "the answer did not end in time".to_owned()
        }
        None => format!("the answer broke off: {error}"),
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
        () if error.is_builder() => "no URL that can be asked".to_owned(),
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

/// The start of a body on one line, for an error.
pub(super) fn start_of(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(4 * TOLD)]);
    let words: Vec<&str> = text.split_whitespace().collect();
    // What a terminal would take for a command is not for people.
    let plain = words.join(" ").replace(char::is_control, "\u{fffd}");
    plain.chars().take(TOLD).collect()
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
