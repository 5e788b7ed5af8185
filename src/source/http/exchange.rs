//! One try: a request with its redirects, and what is kept of its answer.

use std::borrow::Cow;
use std::io::Read;

use reqwest::blocking::Response;
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};

use super::super::SourceError;
use super::super::responses::Meta;
use super::credential::{add_to_query, header_of};
use super::link::cleaned;
use super::packed::{GZIP, Packed, known_encoding, start_of_error, unpacked};
use super::wait::{Wait, retry_after, wait_in_words};
use super::words::{broke_off, causes, proxy_of, start_of};
use super::{Accept, Ask, Client, Fault, Refused, digest_of};
use crate::params::TokenCarrier;

/// Redirects in a row before it counts as a loop.
const REDIRECTS: usize = 5;

impl Client<'_> {
    /// One try. None: the stored body is still the answer.
    pub(super) fn attempt(
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
        let body = match unpacked(encoding.as_deref(), &raw, self.limits.body) {
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
    pub(super) fn redirected(&self, ask: &Ask, from: &Url, to: Url) -> Result<Url, SourceError> {
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
        // With POST a condition means another thing: a server may refuse it with 412.
        let known = known.filter(|_| post.is_none());
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
        let proxy = proxy_of(url.scheme(), |name| std::env::var_os(name));
        let http = self.wire.client(url.scheme())?;
        let mut request = http.request(method, url).timeout(self.time_left(ask)?);
        if let Some(json) = post {
            headers
                .entry(header::CONTENT_TYPE)
                .or_insert(HeaderValue::from_static("application/json"));
            request = request.body(json.to_owned());
        }
        request.headers(headers).send().map_err(|error| {
            let mut message = causes(&error);
            if let Some(name) = proxy.filter(|_| error.is_connect()) {
                message += &format!("; the variable {name} names a proxy");
            }
            // Neither another certificate nor another URL comes with time.
            if error.is_builder() || message.contains("certificate") {
                self.error(ask, message).into()
            } else {
                Fault::Passing(message, None)
            }
        })
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
}

fn conditions(known: &Meta) -> impl Iterator<Item = (HeaderName, &String)> {
    [
        (header::IF_NONE_MATCH, &known.etag),
        (header::IF_MODIFIED_SINCE, &known.last_modified),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value.as_ref()?)))
}

fn text_of(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    Some(value.to_owned())
}
