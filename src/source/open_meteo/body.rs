//! What Open-Meteo answers, read in one pass: hours of one place or of several.
//!
//! Numbers go from the text into the columns and times into seconds, without a value of JSON in
//! between. This module must not know what was asked for; whoever knows says which columns and
//! which first hour it expects.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};

use super::super::News;
use super::super::http::{Refused, start_of};
use crate::data::{Column, same_value};
use crate::params::previous_day;
use crate::time::{format_utc, parse_time};

pub(super) const HOUR: i64 = 3600;

/// What every answer has beside its values.
const ABOUT: [&str; 6] = [
    "latitude",
    "longitude",
    "elevation",
    "generationtime_ms",
    "timezone",
    "timezone_abbreviation",
];

/// A column that an answer must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) name: String,
    /// Its unit, where it is known.
    pub(super) unit: Option<&'static str>,
}

/// Hours without a gap.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Hours {
    pub(super) start: i64,
    /// As expected, in that order. One without a unit is not in the answer.
    pub(super) columns: Vec<Column>,
}

impl Hours {
    pub(super) fn rows(&self) -> usize {
        self.columns.first().map_or(0, |column| column.values.len())
    }

    /// The hours from a time on.
    pub(super) fn from(mut self, start: i64) -> Self {
        let before = (start - self.start).div_euclid(HOUR).max(0) as usize;
        let before = before.min(self.rows());
        for column in self.columns.iter_mut().filter(|_| before > 0) {
            column.values.drain(..before);
        }
        self.start += before as i64 * HOUR;
        self
    }

    pub(super) fn time(&self, row: usize) -> i64 {
        self.start + row as i64 * HOUR
    }

    pub(super) fn is_known(&self, row: usize) -> bool {
        let mut columns = self.columns.iter();
        columns.any(|column| !column.values[row].is_nan())
    }

    /// How many hours there are without those at the end that have no value yet.
    pub(super) fn known_rows(&self) -> usize {
        let known = (0..self.rows()).rev().find(|&row| self.is_known(row));
        known.map_or(0, |row| row + 1)
    }
}

/// How many hours have values for the first time, and how many have others than before.
pub(super) fn compare(before: &Hours, now: &Hours) -> News {
    let mut news = News::default();
    for row in 0..now.rows() {
        if row >= before.rows() || !before.is_known(row) {
            news.new += usize::from(now.is_known(row));
        } else {
            let mut pairs = before.columns.iter().zip(&now.columns);
            let all_same = pairs.all(|(a, b)| same_value(a.values[row], b.values[row]));
            news.corrected += usize::from(!all_same);
        }
    }
    news
}

/// The answer for one place, as it came.
#[derive(Debug, Default)]
pub(super) struct Body {
    utc_offset_seconds: Option<i64>,
    /// Its place among several; the first one has none.
    location: Option<usize>,
    units: BTreeMap<String, String>,
    hourly: Option<Hourly>,
    /// What else it has, to say so.
    others: Vec<String>,
    /// What the service says is wrong.
    reason: Option<String>,
}

/// `time` and one list of numbers for each variable.
#[derive(Debug, Default)]
struct Hourly {
    times: Vec<i64>,
    columns: BTreeMap<String, Vec<f64>>,
}

/// Reads an answer: one place, or a list of so many.
pub(super) fn parse(body: &[u8], places: usize) -> Result<Vec<Body>, Refused> {
    let is_list = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    let read = if is_list {
        serde_json::from_slice::<Vec<Body>>(body)
    } else {
        serde_json::from_slice::<Body>(body).map(|body| vec![body])
    };
    let bodies = read.map_err(|error| unreadable(body, &error))?;
    for (place, body) in bodies.iter().enumerate() {
        body.check(place)?;
    }
    if bodies.len() == places {
        return Ok(bodies);
    }
    let found = bodies.len();
    Err(refused(format!(
        "expected the values of {places} places, received those of {found}"
    )))
}

impl Body {
    fn check(&self, place: usize) -> Result<(), Refused> {
        if self.hourly.is_none() {
            return Err(refused(match &self.reason {
                Some(reason) => format!("expected hourly values, received: {reason}"),
                None if self.others.is_empty() => {
                    "expected hourly values, received an answer without values".to_owned()
                }
                None => format!(
                    "expected hourly values, received an answer with {}",
                    self.others.join(", ")
                ),
            }));
        }
        match self.location {
            Some(location) if location != place => Err(refused(format!(
                "expected the values of place {place}, received those of {location}"
            ))),
            _ => Ok(()),
        }
    }

    /// The first hour.
    pub(super) fn start(&self) -> Option<i64> {
        self.hourly.as_ref()?.times.first().copied()
    }

    /// Which of these columns it has.
    pub(super) fn has(&self, expected: &Expected) -> bool {
        let hourly = self.hourly.as_ref();
        hourly.is_some_and(|hourly| hourly.columns.contains_key(&expected.name))
    }

    /// Its hours, which must follow each other from a start on, in UTC and in the expected units.
    pub(super) fn hours(self, start: i64, expected: &[Expected]) -> Result<Hours, Refused> {
        let missing = expected.iter().find(|expected| !self.has(expected));
        if let Some(Expected { name, .. }) = missing {
            return Err(refused(format!("expected {name}, received no such values")));
        }
        self.known_hours(start, expected)
    }

    /// The same, where a column may be absent; its values are missing then.
    pub(super) fn known_hours(self, start: i64, expected: &[Expected]) -> Result<Hours, Refused> {
        match self.utc_offset_seconds {
            Some(0) => {}
            Some(offset) => {
                return Err(refused(format!(
                    "expected times in UTC, received an offset of {offset} s"
                )));
            }
            None => {
                let message = "expected times in UTC, received no utc_offset_seconds";
                return Err(refused(message.to_owned()));
            }
        }
        let Hourly { times, mut columns } = self.hourly.unwrap_or_default();
        for (row, &time) in times.iter().enumerate() {
            let expected = start + row as i64 * HOUR;
            if time != expected {
                let (expected, time) = (format_utc(expected), format_utc(time));
                return Err(refused(format!(
                    "expected the hour {expected} in row {row}, received {time}"
                )));
            }
        }
        let mut taken = Vec::with_capacity(expected.len());
        for Expected { name, unit } in expected {
            let Some(values) = columns.remove(name) else {
                taken.push(Column {
                    name: name.clone(),
                    unit: String::new(),
                    values: vec![f64::NAN; times.len()],
                });
                continue;
            };
            if values.len() != times.len() {
                let (rows, found) = (times.len(), values.len());
                return Err(refused(format!(
                    "expected {rows} values of {name}, received {found}"
                )));
            }
            taken.push(Column {
                name: name.clone(),
                unit: unit_in(name, *unit, self.units.get(name))?,
                values,
            });
        }
        Ok(Hours {
            start,
            columns: taken,
        })
    }
}

fn unit_in(
    name: &str,
    expected: Option<&'static str>,
    found: Option<&String>,
) -> Result<String, Refused> {
    match (expected, found) {
        (Some(unit), Some(found)) if found == unit => Ok(unit.to_owned()),
        (None, Some(found)) if !found.is_empty() => Ok(found.clone()),
        (None, _) => Ok("1".to_owned()),
        (Some(unit), found) => {
            let found = found.map_or("no unit", String::as_str);
            Err(refused(format!(
                "expected {name} in {unit}, received {found}"
            )))
        }
    }
}

pub(super) fn refused(message: String) -> Refused {
    Refused {
        message,
        may_pass: false,
    }
}

/// JSON that ends early was cut on its way; anything else is of another kind.
fn unreadable(body: &[u8], error: &serde_json::Error) -> Refused {
    Refused {
        message: match error.classify() {
            serde_json::error::Category::Eof => format!("the answer ends early: {error}"),
            _ => format!(
                "expected hourly values as JSON ({error}), received: {}",
                start_of(body)
            ),
        },
        may_pass: error.is_eof(),
    }
}

/// The unit of a variable with `wind_speed_unit=ms`; none where this table does not know it. What ends in `_` is the
/// beginning of names, anything else a whole one: `snowfall` is in cm, `snowfall_height` is not.
pub(super) fn unit_of(variable: &str) -> Option<&'static str> {
    const UNITS: [(&str, &str); 24] = [
        ("temperature_", "°C"),
        ("apparent_temperature", "°C"),
        ("dew_point_", "°C"),
        ("soil_temperature_", "°C"),
        ("relative_humidity_", "%"),
        ("cloud_cover", "%"),
        ("cloud_cover_", "%"),
        ("precipitation_probability", "%"),
        ("wind_speed_", "m/s"),
        ("wind_gusts_", "m/s"),
        ("wind_direction_", "°"),
        ("surface_pressure", "hPa"),
        ("pressure_msl", "hPa"),
        ("precipitation", "mm"),
        ("rain", "mm"),
        ("showers", "mm"),
        ("snowfall", "cm"),
        ("snow_depth", "m"),
        ("shortwave_radiation", "W/m²"),
        ("shortwave_radiation_", "W/m²"),
        ("direct_radiation", "W/m²"),
        ("direct_radiation_", "W/m²"),
        ("diffuse_radiation", "W/m²"),
        ("diffuse_radiation_", "W/m²"),
    ];
    let (name, _) = previous_day(variable).unwrap_or((variable, 0));
    let found = UNITS.iter().find(|(known, _)| {
        if known.ends_with('_') {
            name.starts_with(known)
        } else {
            name == *known
        }
    });
    found.map(|(_, unit)| *unit)
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Body;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an answer for one place")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Body, A::Error> {
                let mut body = Body::default();
                while let Some(name) = map.next_key::<String>()? {
                    match name.as_str() {
                        "utc_offset_seconds" => body.utc_offset_seconds = Some(map.next_value()?),
                        "location_id" => body.location = Some(map.next_value()?),
                        "hourly_units" => body.units = map.next_value()?,
                        "hourly" => body.hourly = Some(map.next_value()?),
                        "reason" => body.reason = Some(map.next_value()?),
                        name => {
                            map.next_value::<IgnoredAny>()?;
                            if !ABOUT.contains(&name) {
                                body.others.push(name.to_owned());
                            }
                        }
                    }
                }
                Ok(body)
            }
        }

        deserializer.deserialize_map(Fields)
    }
}

impl<'de> Deserialize<'de> for Hourly {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Lists;

        impl<'de> Visitor<'de> for Lists {
            type Value = Hourly;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("hourly lists")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Hourly, A::Error> {
                let (mut times, mut columns) = (None, BTreeMap::new());
                // All lists are as long as the first one.
                let mut rows = 0;
                while let Some(name) = map.next_key::<String>()? {
                    let twice = if name == "time" {
                        times.replace(map.next_value_seed(Times)?).is_some()
                    } else {
                        let values = map.next_value_seed(Values(rows))?;
                        rows = values.len();
                        columns.insert(name.clone(), values).is_some()
                    };
                    if twice {
                        return Err(Error::custom(format_args!("`{name}` stands twice")));
                    }
                }
                let times = times.ok_or_else(|| Error::missing_field("time"))?;
                Ok(Hourly { times, columns })
            }
        }

        deserializer.deserialize_map(Lists)
    }
}

/// A list of numbers, `null` for a missing one; there may be so many.
struct Values(usize);

impl<'de> DeserializeSeed<'de> for Values {
    type Value = Vec<f64>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<f64>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Values {
    type Value = Vec<f64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of numbers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<f64>, A::Error> {
        let mut values = Vec::with_capacity(self.0);
        while let Some(value) = list.next_element::<Option<f64>>()? {
            values.push(value.unwrap_or(f64::NAN));
        }
        Ok(values)
    }
}

/// A list of times such as `2024-06-01T00:00`, in seconds since 1970 as if they were UTC.
struct Times;

impl<'de> DeserializeSeed<'de> for Times {
    type Value = Vec<i64>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<i64>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Times {
    type Value = Vec<i64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of times")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<i64>, A::Error> {
        let (mut times, mut reader) = (Vec::new(), TimeReader::default());
        while let Some(time) = list.next_element_seed(&mut reader)? {
            times.push(time);
        }
        Ok(times)
    }
}

/// Reads times one after the other. The calendar is asked once a day only.
#[derive(Default)]
struct TimeReader {
    /// `2024-06-01`, and its start.
    day: ([u8; 10], i64),
}

impl TimeReader {
    fn read(&mut self, text: &str) -> Option<i64> {
        let digit = |byte: u8| byte.is_ascii_digit().then(|| i64::from(byte - b'0'));
        let pair = |a: u8, b: u8| Some(digit(a)? * 10 + digit(b)?);
        let (date, clock) = text.as_bytes().split_first_chunk::<10>()?;
        let &[b'T', h, hh, b':', m, mm] = clock else {
            return None;
        };
        if *date != self.day.0 {
            let start = parse_time(text.get(..10)?, Some("%Y-%m-%d"), 0)?;
            self.day = (*date, start);
        }
        let (hour, minute) = (pair(h, hh)?, pair(m, mm)?);
        let is_clock = hour < 24 && minute < 60;
        is_clock.then_some(self.day.1 + hour * HOUR + minute * 60)
    }
}

impl<'de> DeserializeSeed<'de> for &mut TimeReader {
    type Value = i64;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<i64, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for &mut TimeReader {
    type Value = i64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time such as 2024-06-01T00:00")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<i64, E> {
        self.read(text)
            .ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
mod tests;
