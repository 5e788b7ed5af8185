//! What went wrong, in words: those of a server, of the network and of reqwest.

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

/// An error of reqwest with its causes; the URL is told by whoever asked.
pub(super) fn causes(error: &reqwest::Error) -> String {
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
