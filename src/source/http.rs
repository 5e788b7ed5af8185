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

mod clock;
mod credential;
mod exchange;
mod limits;
mod link;
mod packed;
mod wait;
mod wire;
mod words;

use std::borrow::Cow;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use self::credential::header_of;
use self::packed::{Packed, unpacked};
use self::wire::Wire;
use super::SourceError;
use super::responses::{Meta, Responses};
use crate::time::{Span, format_short};

pub(super) use self::clock::{Clock, SystemClock};
pub(super) use self::credential::Credential;
pub(super) use self::limits::Limits;
pub(super) use self::link::follow_link;
pub(super) use self::words::start_of;

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
    /// Offline, a stored answer to another request of this slot may stand for it: the range is open, and
    /// was shorter when it was asked for.
    pub(super) may_be_older: bool,
    /// From this time on, in seconds since 1970 UTC, an answer is of no use.
    pub(super) until: Option<i64>,
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
    /// Whether the body is a stored one: nothing was asked, or the server said that it did not change.
    pub(super) stored: bool,
    /// Whether it is the answer to another request of the slot (`may_be_older`).
    pub(super) older: bool,
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
    wire: Wire,
    limits: Limits,
    clock: &'a dyn Clock,
    headers: HeaderMap,
    credential: Option<Credential>,
    responses: Responses,
    offline: bool,
    turns: Mutex<Turns>,
    stopped: AtomicBool,
}

/// When requests may begin, counted from the beginning of the fetch.
#[derive(Debug, Default)]
struct Turns {
    /// The next one.
    next: Duration,
    /// What the server said last: nothing before this. Those who have a turn wait for it too.
    not_before: Duration,
}

impl Turns {
    /// Takes a turn, and leaves so much time behind it.
    fn take(&mut self, now: Duration, between: Duration) -> Duration {
        let start = self.next.max(self.not_before).max(now);
        self.next = start.saturating_add(between);
        start
    }
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
        if let Some(credential) = &credential {
            // A token that cannot be sent is told before anything is asked.
            header_of(credential)?;
        }
        Ok(Self {
            wire: Wire::new(limits.request),
            limits,
            clock,
            headers: HeaderMap::new(),
            credential,
            responses: Responses::new(root),
            offline,
            turns: Mutex::default(),
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
        let about = |meta: &Meta| self.is_about(meta, ask);
        let settled = |meta: &Meta| ask.final_since.is_some_and(|since| meta.time >= since);
        let as_it_is = |body, older| Answer {
            body,
            before: None,
            asked: false,
            stored: true,
            older,
        };
        match stored {
            Some((meta, body)) if self.offline && (about(&meta) || ask.may_be_older) => {
                Ok(as_it_is(body, !about(&meta)))
            }
            _ if self.offline => Err(SourceError::NotStored {
                url: self.redact(&ask.url),
            }),
            Some((meta, body)) if about(&meta) && settled(&meta) && !ask.fresh => {
                Ok(as_it_is(body, false))
            }
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
        match unpacked(meta.encoding.as_deref(), &raw, self.limits.body) {
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
                        stored: false,
                        older: false,
                    });
                }
                // Not changed; only a request about a stored body can be answered so.
                Ok(None) => {
                    if let Some(body) = before.as_deref().filter(|body| accept(body).is_ok()) {
                        return Ok(Answer {
                            body: body.to_vec(),
                            before,
                            asked: true,
                            stored: true,
                            older: false,
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
        if let Some(until) = self.too_late(ask, wait) {
            let wait = Span::from(wait);
            let message = format!("{message}; the next try, in {wait}, would be {until}");
            return Err(self.error(ask, message));
        }
        if told.is_some() {
            // It speaks of whoever asks, not of this request.
            let mut turns = self.turns();
            turns.not_before = turns.not_before.max(now + wait);
        }
        self.pause(ask, wait)
    }

    /// Until when an answer would be of use, where that is over after a wait.
    fn too_late(&self, ask: &Ask, wait: Duration) -> Option<String> {
        let then = self.clock.now().saturating_add_unsigned(wait.as_secs());
        let until = format_short(ask.until.filter(|until| then >= *until)?);
        Some(format!(
            "too late, as the answer is of use before {until} UTC only; fetch again"
        ))
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

    fn turns(&self) -> std::sync::MutexGuard<'_, Turns> {
        // A thread that panicked held nothing that could be half done.
        let turns = self.turns.lock();
        turns.unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn wait_for_turn(&self, ask: &Ask) -> Result<(), SourceError> {
        loop {
            let now = self.clock.elapsed();
            let start = self.turns().take(now, self.limits.between);
            if start >= self.limits.total {
                return Err(self.out_of_time(ask));
            }
            let wait = start.saturating_sub(now);
            if let Some(until) = self.too_late(ask, wait) {
                return Err(self.error(ask, format!("its turn would come {until}")));
            }
            self.pause(ask, wait)?;
            // What a server told another request meanwhile holds for this one too.
            if start >= self.turns().not_before {
                return Ok(());
            }
        }
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

    fn too_long(&self, ask: &Ask) -> SourceError {
        self.error(ask, format!("the answer {}", self.longer()))
    }

    fn longer(&self) -> String {
        format!(
            "is longer than {} bytes; a larger `requests.largest_body_mib` allows it",
            self.limits.body
        )
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

#[cfg(test)]
mod tests;
