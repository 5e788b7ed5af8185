//! How a source tells time: where it stands, how it is written, and which clock showed it.

use serde::Deserialize;

use super::super::{Invalid, invalid};
use super::file::{name, some_name};
use crate::time::{Pattern, Step, Zone};
use crate::yaml::sections;

sections!(RawTime, TimeParts);

/// As a person wrote it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, remote = "Self")]
pub(in crate::params) struct RawTime {
    #[serde(deserialize_with = "some_name")]
    pub(super) column: Option<String>,
    pub(super) columns: Option<TimeParts>,
    pub(super) format: Option<String>,
    pub(super) utc_offset_h: Option<f64>,
    pub(super) zone: Option<String>,
    pub(super) nonexistent: Option<Nonexistent>,
    pub(super) ambiguous: Option<Ambiguous>,
    pub(super) covers: Option<Step>,
}

/// The time of a row.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceTime {
    /// Where it stands.
    pub place: TimePlace,
    /// How it is written.
    pub format: TimeFormat,
    /// What a row holds reaches from its time so far on; without it, it ends with its time.
    pub covers: Option<Step>,
}

/// Where a time stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimePlace {
    /// In one column, or at one JSON pointer.
    Column(String),
    /// In several.
    Parts(Box<TimeParts>),
}

/// The columns that make a time together.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
pub struct TimeParts {
    /// The year with its century.
    #[serde(deserialize_with = "name")]
    pub year: String,
    /// From 1.
    #[serde(deserialize_with = "name")]
    pub month: String,
    /// From 1; the first where absent.
    #[serde(default, deserialize_with = "some_name")]
    pub day: Option<String>,
    /// 0 to 24; 0 where absent.
    #[serde(default, deserialize_with = "some_name")]
    pub hour: Option<String>,
    /// 0 where absent.
    #[serde(default, deserialize_with = "some_name")]
    pub minute: Option<String>,
    /// 0 where absent.
    #[serde(default, deserialize_with = "some_name")]
    pub second: Option<String>,
}

/// How times are written, and the clock that showed those which do not name their offset.
#[derive(Clone, Debug, PartialEq)]
pub struct TimeFormat {
    /// How they are written.
    pub notation: Notation,
    /// What the clock showed.
    pub clock: Clock,
}

/// How a time is written.
#[derive(Clone, Debug, PartialEq)]
pub enum Notation {
    /// One of the common ISO forms.
    Iso,
    /// In strftime's notation.
    Pattern(Box<Pattern>),
    /// Seconds since 1970 UTC.
    UnixSeconds,
    /// Milliseconds since 1970 UTC.
    UnixMilliseconds,
}

/// A clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// So many seconds before UTC, all year round.
    Offset(i64),
    /// That of a zone, which may be put forward and back.
    Zone {
        /// The zone.
        zone: Zone,
        /// What becomes of times that it never showed.
        nonexistent: Nonexistent,
        /// Which of two instants is meant.
        ambiguous: Ambiguous,
    },
}

/// What becomes of a time that the clock skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Nonexistent {
    /// It is an error.
    #[default]
    Fail,
    /// It is read as if the clock had not been put forward.
    Shift,
    /// Its row is left out.
    Skip,
}

/// Which instant is meant by a time that the clock showed twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ambiguous {
    /// By the order of the rows: what comes first is before the clock was put back.
    #[default]
    Infer,
    /// The earlier one.
    First,
    /// The later one.
    Last,
    /// It is an error.
    Fail,
}

/// Checks all of it; the time of a row must stand somewhere.
pub(in crate::params) fn check(key: &str, mut raw: RawTime) -> Result<SourceTime, Invalid> {
    let covers = raw.covers.take();
    let place = match (&raw.column, &raw.columns) {
        (Some(column), None) => TimePlace::Column(column.clone()),
        (None, Some(parts)) => TimePlace::Parts(Box::new(parts.clone())),
        (None, None) => return Err(invalid(key, "`column` or `columns`", "neither")),
        (Some(_), Some(_)) => return Err(invalid(key, "`column` or `columns`", "both")),
    };
    if let (TimePlace::Parts(_), Some(format)) = (&place, &raw.format) {
        let expected = "absent beside `columns`";
        return Err(invalid(format!("{key}.format"), expected, format));
    }
    let format = check_format(key, raw)?;
    Ok(SourceTime {
        place,
        format,
        covers,
    })
}

/// Checks how times are written, wherever they stand.
pub(in crate::params) fn check_format(key: &str, raw: RawTime) -> Result<TimeFormat, Invalid> {
    if let Some(covers) = raw.covers {
        let expected = "absent but in the `time` of a file";
        return Err(invalid(format!("{key}.covers"), expected, covers));
    }
    let notation = match raw.format.as_deref() {
        None | Some("iso") => Notation::Iso,
        Some("unix_s") => Notation::UnixSeconds,
        Some("unix_ms") => Notation::UnixMilliseconds,
        Some(text) => {
            let pattern = Pattern::new(text).ok_or_else(|| {
                let expected = "strftime's notation of a date such as %Y-%m-%d %H:%M, iso, \
                                unix_s or unix_ms";
                invalid(format!("{key}.format"), expected, text)
            })?;
            Notation::Pattern(Box::new(pattern))
        }
    };
    let is_named = raw
        .format
        .as_deref()
        .is_some_and(|text| text.contains("%Z"));
    if is_named && raw.zone.is_none() && raw.utc_offset_h.is_none() {
        let expected = "`zone` or `utc_offset_h` beside %Z, for names such as CEST are read over; or the name itself \
                        in its place, such as `UTC`";
        let found = raw.format.unwrap_or_default();
        return Err(invalid(format!("{key}.format"), expected, found));
    }
    let clock = match (raw.zone, raw.utc_offset_h) {
        (Some(_), Some(_)) => {
            let expected = "absent beside `zone`";
            return Err(invalid(format!("{key}.utc_offset_h"), expected, "both"));
        }
        (Some(name), None) => Clock::Zone {
            zone: Zone::find(&name).ok_or_else(|| {
                let expected = "a zone of the IANA data base such as Europe/Paris";
                invalid(format!("{key}.zone"), expected, name)
            })?,
            nonexistent: raw.nonexistent.unwrap_or_default(),
            ambiguous: raw.ambiguous.unwrap_or_default(),
        },
        (None, offset) => {
            let alone = [
                ("nonexistent", raw.nonexistent.is_some()),
                ("ambiguous", raw.ambiguous.is_some()),
            ];
            if let Some((name, _)) = alone.into_iter().find(|(_, given)| *given) {
                let expected = "absent without `zone`";
                return Err(invalid(format!("{key}.{name}"), expected, "it"));
            }
            let hours = offset.unwrap_or(0.0);
            if !(-14.0..=14.0).contains(&hours) {
                let expected = "between -14 and 14";
                return Err(invalid(format!("{key}.utc_offset_h"), expected, hours));
            }
            Clock::Offset((hours * 3600.0).round() as i64)
        }
    };
    Ok(TimeFormat { notation, clock })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> Result<SourceTime, String> {
        let raw = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
        check("time", raw).map_err(|error| error.to_string())
    }

    #[test]
    fn what_a_clock_cannot_be_is_told_by_its_key() {
        let time = checked("{column: t, zone: Asia/Shanghai}").unwrap();
        assert!(matches!(time.format.clock, Clock::Zone { .. }));
        let time = checked("{columns: {year: y, month: m}, utc_offset_h: 5.5}").unwrap();
        assert_eq!(time.format.clock, Clock::Offset(19_800));
        for (text, told) in [
            ("{}", "time: expected `column` or `columns`, found neither"),
            ("{column: t, columns: {year: y, month: m}}", "found both"),
            (
                "{column: t, format: '%Q'}",
                "time.format: expected strftime",
            ),
            (
                "{columns: {year: y, month: m}, format: '%Y'}",
                "time.format",
            ),
            ("{column: t, zone: Mars/Base}", "time.zone: expected a zone"),
            (
                "{column: t, zone: UTC, utc_offset_h: 1}",
                "time.utc_offset_h",
            ),
            ("{column: t, utc_offset_h: 15}", "between -14 and 14"),
            ("{column: t, ambiguous: first}", "absent without `zone`"),
            ("{column: t, nonexistent: maybe}", "maybe"),
            ("{column: t, zones: x}", "zones"),
        ] {
            let error = checked(text).unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
        }
    }
}
