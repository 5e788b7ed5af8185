//! How long a server says to wait.

use std::time::Duration;

use chrono::DateTime;

/// What the words of a refusal say.
#[derive(Debug, PartialEq)]
pub(super) enum Wait {
    Unsaid,
    For(Duration),
    Tomorrow,
}

/// `Retry-After`: seconds, or a date.
pub(super) fn retry_after(text: &str, now: i64) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = DateTime::parse_from_rfc2822(text.trim()).ok()?;
    Some(Duration::from_secs(
        (date.timestamp() - now).max(0).unsigned_abs(),
    ))
}

/// How long to wait, by the words in which Open-Meteo refuses: "Please try again in one minute.",
/// "… in the next hour.", "… tomorrow."
pub(super) fn wait_in_words(reason: &str, now: i64) -> Wait {
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
