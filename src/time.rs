//! Instants, spans and steps: seconds since 1970-01-01T00:00:00Z, written as RFC 3339 in UTC.
//!
//! This module must not read a clock: an artifact holds only times that came from data.

mod pattern;
mod zone;

use std::fmt;
use std::time::Duration;

use chrono::DateTime;
use serde::{Deserialize, Serialize};

pub use pattern::{Pattern, Stamp, local_seconds, read_iso};
pub use zone::{Instants, Zone};

/// Seconds of a day.
pub const DAY: i64 = 86_400;

/// Writes an instant as `2025-11-30T21:00:00Z`.
pub fn format_utc(seconds: i64) -> String {
    DateTime::from_timestamp(seconds, 0).map_or_else(
        || format!("{seconds} s"),
        |time| time.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
    )
}

/// Writes an instant for a table: `2025-11-30 21:00`.
pub fn format_short(seconds: i64) -> String {
    DateTime::from_timestamp(seconds, 0).map_or_else(
        || format!("{seconds} s"),
        |time| time.format("%Y-%m-%d %H:%M").to_string(),
    )
}

/// Reads a time. One that names its offset (`Z`, `+02:00`) is taken at its word, another one is
/// local to `utc_offset` seconds east of Greenwich.
pub fn parse_time(text: &str, format: Option<&str>, utc_offset: i64) -> Option<i64> {
    let stamp = match format {
        Some(format) => Pattern::new(format)?.read(text.trim()),
        None => read_iso(text),
    }?;
    Some(stamp.local - stamp.offset.unwrap_or(utc_offset))
}

/// A fixed step between rows: a positive whole number of seconds, written `10min`, `1h`, `1d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step(u32);

impl Step {
    /// One hour.
    pub const HOUR: Self = Self(3600);
    /// One day.
    pub const DAY: Self = Self(86_400);

    /// A step of so many seconds; `None` for zero.
    pub const fn from_seconds(seconds: u32) -> Option<Self> {
        match seconds {
            0 => None,
            seconds => Some(Self(seconds)),
        }
    }

    /// Its length in seconds.
    pub fn seconds(self) -> i64 {
        i64::from(self.0)
    }

    /// So many of it in hours. All that tell a lead tell it by this, to the last bit.
    pub fn hours(self, count: usize) -> f64 {
        count as f64 * f64::from(self.0) / 3600.0
    }

    /// What is to be said of times that do not lie on it, where they may be those of months.
    pub fn if_of_months(self) -> &'static str {
        // A February.
        if self.0 >= 28 * 86_400 {
            "; months and years are no step, since they are not equally long"
        } else {
            ""
        }
    }

    /// So many of it as come nearest to a day, or to a year where it is a day or longer: what may repeat.
    pub fn usual_season(self) -> Option<Self> {
        let cycle = if self < Self::DAY {
            86_400
        } else {
            365 * 86_400
        };
        let count = (cycle + self.0 / 2) / self.0;
        Self::from_seconds(count.max(1).checked_mul(self.0)?)
    }

    /// How many steps make a day, where a whole number does.
    pub fn per_day(self) -> Option<usize> {
        (86_400 % self.0 == 0).then_some((86_400 / self.0) as usize)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            s if s % 86_400 == 0 => write!(f, "{}d", s / 86_400),
            s if s % 3600 == 0 => write!(f, "{}h", s / 3600),
            s if s % 60 == 0 => write!(f, "{}min", s / 60),
            s => write!(f, "{s}s"),
        }
    }
}

impl std::str::FromStr for Step {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::from_seconds(seconds_of(text)?)
            .ok_or_else(|| format!("expected a length of time above 0, found `{text}`"))
    }
}

/// A length of time that a person writes: `500ms`, `30s`, `10min`, `1h`, `2d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(Duration);

impl Span {
    /// As the standard library has it.
    pub fn duration(self) -> Duration {
        self.0
    }
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

/// The largest unit that leaves at most one digit behind the point: `48.3 s`, `2.5 min`, `3 h`.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs_f64();
        let (value, unit) = match seconds {
            s if s < 0.1 && s > 0.0 => (s * 1000.0, "ms"),
            s if s < 120.0 => (s, "s"),
            s if s < 7200.0 => (s / 60.0, "min"),
            s if s < 172_800.0 => (s / 3600.0, "h"),
            s => (s / 86_400.0, "d"),
        };
        let text = format!("{value:.1}");
        write!(f, "{} {unit}", text.strip_suffix(".0").unwrap_or(&text))
    }
}

impl std::str::FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || {
            format!("expected a length of time such as 500ms, 30s, 10min, 1h or 2d, found `{text}`")
        };
        let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let number: u32 = text[..digits].parse().map_err(|_| bad())?;
        let number = u64::from(number);
        let span = match text[digits..].trim() {
            "ms" => Duration::from_millis(number),
            "s" => Duration::from_secs(number),
            "min" => Duration::from_secs(number * 60),
            "h" => Duration::from_secs(number * 3600),
            "d" => Duration::from_secs(number * 86_400),
            _ => return Err(bad()),
        };
        if span.is_zero() {
            return Err(bad());
        }
        Ok(Self(span))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a length of time such as 500ms, 30s, 10min, 1h or 2d";
        from_text(deserializer, expected)
    }
}

impl schemars::JsonSchema for Span {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[0-9]+ *(ms|s|min|h|d)$" })
    }
}

impl Serialize for Step {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Step {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer, "a length of time such as 10min, 1h or 1d")
    }
}

/// A length of time that may be none: `0s`, `6h`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delay(u32);

impl Delay {
    /// Its length in seconds.
    pub fn seconds(self) -> i64 {
        i64::from(self.0)
    }
}

impl std::str::FromStr for Delay {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        seconds_of(text).map(Self)
    }
}

impl<'de> Deserialize<'de> for Delay {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer, "a length of time such as 0s, 10min or 6h")
    }
}

/// Whole seconds, minutes, hours or days, as a person writes them.
fn seconds_of(text: &str) -> Result<u32, String> {
    let bad = || format!("expected a length of time such as 10min, 1h or 1d, found `{text}`");
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
    let unit = match text[digits..].trim() {
        "s" => 1,
        "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(bad()),
    };
    if digits == 0 {
        return Err(bad());
    }
    let number: Option<u32> = text[..digits].parse().ok();
    let seconds = number.and_then(|number| number.checked_mul(unit));
    seconds.ok_or_else(|| {
        let longest = u32::MAX / unit;
        let unit = text[digits..].trim();
        format!("expected a length of time of at most {longest}{unit}, found `{text}`")
    })
}

/// Reads a text of a file. What is refused within is told with its line and key.
fn from_text<'de, T, D>(deserializer: D, expected: &'static str) -> Result<T, D::Error>
where
    T: std::str::FromStr<Err = String>,
    D: serde::Deserializer<'de>,
{
    struct Text<T>(&'static str, std::marker::PhantomData<T>);

    impl<T: std::str::FromStr<Err = String>> serde::de::Visitor<'_> for Text<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }
    }

    deserializer.deserialize_any(Text(expected, std::marker::PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_with_and_without_an_offset() {
        let instant = 1_577_829_600; // 2019-12-31T22:00:00Z
        assert_eq!(parse_time("2019-12-31T22:00Z", None, 7200), Some(instant));
        assert_eq!(
            parse_time("2020-01-01T00:00:00+02:00", None, 0),
            Some(instant)
        );
        assert_eq!(parse_time("2020-01-01 00:00", None, 7200), Some(instant));
        assert_eq!(
            parse_time("2019-12-31T22:00Z", Some("%Y-%m-%dT%H:%MZ"), 7200),
            Some(instant)
        );
        assert_eq!(
            parse_time("01.01.2020 00:00:00", Some("%d.%m.%Y %H:%M:%S"), 7200),
            Some(instant)
        );
        assert_eq!(parse_time("yesterday", None, 0), None);
        assert_eq!(format_utc(instant), "2019-12-31T22:00:00Z");
    }

    #[test]
    fn steps_read_as_they_are_written() {
        for text in ["30s", "10min", "1h", "6h", "1d"] {
            assert_eq!(
                text.parse::<Step>().map(|step| step.to_string()),
                Ok(text.to_owned())
            );
        }
        for text in ["", "h", "0h", "1", "1 week", "99999999d", "-1h"] {
            assert!(text.parse::<Step>().is_err(), "{text}");
        }
        for (text, told) in [
            ("0d", "above 0, found `0d`"),
            ("100000d", "at most 49710d, found `100000d`"),
            ("99999999999h", "at most 1193046h, found"),
            ("1 week", "such as 10min, 1h or 1d, found `1 week`"),
        ] {
            let error = text.parse::<Step>().unwrap_err();
            assert!(error.contains(told), "{error}");
        }
        assert_eq!(Step::HOUR.per_day(), Some(24));
        assert_eq!("7h".parse::<Step>().ok().and_then(Step::per_day), None);
    }

    #[test]
    fn a_usual_season_is_whole_steps_near_a_day_or_a_year() {
        let of = |step: &str| step.parse::<Step>().ok().and_then(Step::usual_season);
        let told = |step| of(step).map(|season| season.to_string());
        for (step, season) in [
            ("10min", "1d"),
            ("7h", "21h"),
            ("1d", "365d"),
            ("7d", "364d"),
        ] {
            assert_eq!(told(step).as_deref(), Some(season), "{step}");
        }
        assert!(Step(u32::MAX).usual_season().is_some());
    }

    #[test]
    fn spans_are_read_and_told() {
        let told = |text: &str| text.parse::<Span>().map(|span| span.to_string());
        assert_eq!(told("500ms").as_deref(), Ok("0.5 s"));
        assert_eq!(told("90s").as_deref(), Ok("90 s"));
        assert_eq!(told("150 min").as_deref(), Ok("2.5 h"));
        assert_eq!(told("20d").as_deref(), Ok("20 d"));
        assert_eq!(Span(Duration::from_micros(3500)).to_string(), "3.5 ms");
        for text in ["", "5", "0s", "5m", "h", "-1s", "99999999999s"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }
}
