//! What went wrong, in words: those of a server, of the network and of reqwest.

use std::ffi::OsString;
use std::io;

/// How much of a body that is an error is told.
const TOLD: usize = 200;

/// The start of a body on one line, for an error.
pub(in crate::source) fn start_of(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(4 * TOLD)]);
    let words: Vec<&str> = text.split_whitespace().collect();
    // What a terminal would take for a command is not for people.
    let plain = words.join(" ").replace(char::is_control, "\u{fffd}");
    plain.chars().take(TOLD).collect()
}

/// The environment variable that names a proxy for a scheme, where one does. Its value may hold a password.
pub(super) fn proxy_of(
    scheme: &str,
    value: impl Fn(&str) -> Option<OsString>,
) -> Option<&'static str> {
    let names = match scheme {
        "https" => ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"],
        _ => ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"],
    };
    let is_set = |name: &&str| value(name).is_some_and(|value| !value.is_empty());
    names.into_iter().find(is_set)
}

/// The innermost cause of an error, which says most: `Connection refused`, `invalid peer certificate`.
pub(super) fn innermost(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(cause) = inner.source() {
        inner = cause;
    }
    inner.to_string()
}

/// An error of reqwest with its causes; the URL is told by whoever asked.
pub(super) fn causes(error: &reqwest::Error) -> String {
    let text = match () {
        () if error.is_timeout() => return "no answer in time".to_owned(),
        () if error.is_builder() => "no URL that can be asked".to_owned(),
        () if error.is_connect() => "no connection".to_owned(),
        () => "the connection broke".to_owned(),
    };
    match std::error::Error::source(error) {
        Some(cause) => format!("{text}: {}", innermost(cause)),
        None => text,
    }
}

pub(super) fn broke_off(error: &io::Error) -> String {
    let cause = error
        .get_ref()
        .and_then(|e| e.downcast_ref::<reqwest::Error>());
    match cause {
        Some(error) if error.is_timeout() => "the answer did not end in time".to_owned(),
        Some(error) => format!("the answer broke off: {}", causes(error)),
        None if error.kind() == io::ErrorKind::TimedOut => {
            "the answer did not end in time".to_owned()
        }
        None => format!("the answer broke off: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_that_of_the_scheme_or_of_all() {
        let named = |scheme, set: &str| proxy_of(scheme, |name| (name == set).then(|| "x".into()));
        assert_eq!(named("https", "HTTPS_PROXY"), Some("HTTPS_PROXY"));
        assert_eq!(named("https", "http_proxy"), None);
        assert_eq!(named("http", "all_proxy"), Some("all_proxy"));
        assert_eq!(proxy_of("http", |_| Some(OsString::new())), None);
    }
}
