//! Open-Meteo: hourly values of one place, by days, in SI units and UTC.
//!
//! A long range is split into requests on a fixed grid of days, so that the same days are always
//! asked for in the same way. Days that were over for longer than the `overlap` when they were
//! asked for are final: they are answered from the stored bodies without a request. The others are
//! asked for again, and what is new or corrected in them is counted. So the table depends on the
//! data only, not on what was fetched before.
//!
//! An answer must have every hour that was asked for, every variable, and the units that belong to
//! them; `null` is a missing value. Hours at the end without any value are not there yet and are cut.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Instant;

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};

use super::http::{Answer, Ask, Client, Clock, Credential, Limits, Refused, SystemClock, start_of};
use super::{Asked, Fetched, News, Source, SourceError};
use crate::data::{Column, Table};
use crate::params::{Days, OpenMeteoSource};
use crate::time::{format_short, format_utc, parse_time};

const HOUR: i64 = 3600;
const DAY: i64 = 86_400;

pub(super) struct OpenMeteo<'a> {
    pub(super) params: &'a OpenMeteoSource,
}

impl Source for OpenMeteo<'_> {
    fn inputs(&self) -> Vec<String> {
        Vec::new()
    }

    fn fetch(&self, asked: &mut Asked<'_>) -> Result<Fetched, SourceError> {
        let limits = Limits::from(&self.params.requests);
        let token = self.params.token.as_ref();
        let credential = token.map(|token| Credential::find(token, asked.root));
        let clock = SystemClock(Instant::now());
        // Stored answers need no token.
        let credential = credential.filter(|_| !asked.offline).transpose()?;
        let client = Client::new(asked.root, limits, &clock, credential, asked.offline)?;
        self.collect(&client, &clock, asked)
    }
}

/// Days of one request, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    first: i64,
    last: i64,
}

/// One part, read and compared with what was stored of it.
struct Got {
    hours: Hours,
    new: usize,
    corrected: usize,
}

/// Hours without a gap.
#[derive(Debug)]
struct Hours {
    start: i64,
    columns: Vec<Column>,
}

impl OpenMeteo<'_> {
    fn collect(
        &self,
        client: &Client<'_>,
        clock: &dyn Clock,
        asked: &mut Asked<'_>,
    ) -> Result<Fetched, SourceError> {
        let now = clock.now();
        let parts = parts(
            self.params.days,
            self.params.days_per_request,
            now.div_euclid(DAY),
        );
        let got = self.get_all(client, &parts, now, asked)?;
        let news = (!asked.offline).then(|| News {
            new: got.iter().map(|got| got.new).sum(),
            corrected: got.iter().map(|got| got.corrected).sum(),
        });
        let table = self.join(got)?;
        Ok(Fetched {
            table,
            news,
            warnings: Vec::new(),
        })
    }

    /// All parts in their order, a few at once.
    fn get_all(
        &self,
        client: &Client<'_>,
        parts: &[Part],
        now: i64,
        asked: &mut Asked<'_>,
    ) -> Result<Vec<Got>, SourceError> {
        let next = AtomicUsize::new(0);
        let (send, receive) = mpsc::channel();
        let mut got: BTreeMap<usize, Got> = BTreeMap::new();
        let mut failed: BTreeMap<usize, SourceError> = BTreeMap::new();
        std::thread::scope(|scope| {
            for _ in 0..client.at_once().min(parts.len()) {
                let (send, next) = (send.clone(), &next);
                scope.spawn(move || {
                    loop {
                        let i = next.fetch_add(1, Ordering::Relaxed);
                        let Some(&part) = parts.get(i) else { break };
                        let one = self.get(client, part, now);
                        if one.is_err() {
                            next.store(parts.len(), Ordering::Relaxed);
                        }
                        if send.send((i, one)).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(send);
            let mut rows = 0;
            for (i, one) in receive {
                match one {
                    Ok(one) => {
                        rows += one.hours.rows();
                        got.insert(i, one);
                        (asked.progress)(got.len(), parts.len(), rows);
                    }
                    Err(error) => {
                        failed.insert(i, error);
                    }
                }
            }
        });
        match failed.into_values().next() {
            Some(error) => Err(error),
            None => Ok(got.into_values().collect()),
        }
    }

    fn get(&self, client: &Client<'_>, part: Part, now: i64) -> Result<Got, SourceError> {
        let ask = self.ask(part, now);
        let read = |body: &[u8]| self.read(body, part);
        let accept = |body: &[u8]| read(body).map(|_| ());
        let Answer {
            body,
            before,
            asked,
        } = client.get(&ask, &accept)?;
        let told = |refused: Refused| SourceError::Http {
            url: ask.url.clone(),
            message: refused.message,
        };
        // A stored body may be of a day when the part was not over, or of other variables.
        let hours = if asked {
            read(&body)
        } else {
            self.read_stored(&body, part)
        };
        let hours = hours.map_err(told)?;
        let before = before.and_then(|body| self.read_stored(&body, part).ok());
        let (new, corrected) = match &before {
            Some(before) => compare(before, &hours),
            None if asked => (hours.rows(), 0),
            None => (0, 0),
        };
        Ok(Got {
            hours,
            new,
            corrected,
        })
    }

    fn ask(&self, part: Part, now: i64) -> Ask {
        let params = self.params;
        let mut slot = format!(
            "{}?latitude={}&longitude={}&hourly={}&wind_speed_unit=ms&timezone=UTC&timeformat=iso8601",
            params.url,
            params.latitude,
            params.longitude,
            params.variables.join(","),
        );
        if !params.models.is_empty() {
            slot = format!("{slot}&models={}", params.models.join(","));
        }
        slot = format!("{slot}&start_date={}", date(part.first));
        let url = format!("{slot}&end_date={}", date(part.last));
        let settled = (part.last + 1) * DAY + params.overlap_s;
        Ask {
            slot,
            url,
            final_since: (settled <= now).then_some(settled),
            ..Ask::default()
        }
    }

    /// The columns that an answer must have, with the unit where it is known.
    fn expected(&self) -> Vec<(String, Option<&'static str>)> {
        let with = |variable: &String, model: &String| format!("{variable}_{model}");
        let variables = self.params.variables.iter();
        let names: Vec<(String, &String)> = match self.params.models.as_slice() {
            [] | [_] => variables.map(|v| (v.clone(), v)).collect(),
            models => variables
                .flat_map(|v| models.iter().map(move |model| (with(v, model), v)))
                .collect(),
        };
        names
            .into_iter()
            .map(|(name, variable)| (name, unit_of(variable)))
            .collect()
    }

    /// An answer that must be whole.
    fn read(&self, body: &[u8], part: Part) -> Result<Hours, Refused> {
        let hours = self.read_stored(body, part)?;
        let expected = ((part.last - part.first + 1) * DAY / HOUR) as usize;
        if hours.rows() == expected {
            return Ok(hours);
        }
        let last = hours.start + (hours.rows() as i64 - 1) * HOUR;
        Err(refused(format!(
            "expected {expected} hours to {} UTC, received {} to {} UTC",
            format_short((part.last + 1) * DAY - HOUR),
            hours.rows(),
            format_short(last),
        )))
    }

    /// An answer that may end early, as of an earlier day; it starts where it must and has no gap.
    fn read_stored(&self, body: &[u8], part: Part) -> Result<Hours, Refused> {
        let answer: Body<'_> =
            serde_json::from_slice(body).map_err(|error| unreadable(body, &error))?;
        if answer.utc_offset_seconds != 0 {
            let offset = answer.utc_offset_seconds;
            return Err(refused(format!(
                "expected times in UTC, received an offset of {offset} s"
            )));
        }
        let start = part.first * DAY;
        let mut hourly = answer.hourly;
        for (row, text) in hourly.time.iter().enumerate() {
            let expected = start + row as i64 * HOUR;
            if parse_time(text, None, 0) != Some(expected) {
                let expected = format_utc(expected);
                return Err(refused(format!(
                    "expected the hour {expected} in row {row}, received {text}"
                )));
            }
        }
        let longest = ((part.last - part.first + 1) * DAY / HOUR) as usize;
        let rows = hourly.time.len();
        if rows > longest {
            return Err(refused(format!(
                "expected {longest} hours, received {rows}"
            )));
        }
        let mut columns = Vec::new();
        for (name, unit) in self.expected() {
            let found = answer.hourly_units.get(name.as_str());
            let Some(values) = hourly.columns.remove(name.as_str()) else {
                return Err(refused(format!("expected {name}, received no such values")));
            };
            let unit = match (unit, found) {
                (Some(unit), Some(found)) if *found == unit => unit.to_owned(),
                (None, Some(found)) if !found.is_empty() => found.to_string(),
                (None, _) => "1".to_owned(),
                (Some(unit), found) => {
                    let found = found.map_or("no unit", |found| found.as_ref());
                    return Err(refused(format!(
                        "expected {name} in {unit}, received {found}"
                    )));
                }
            };
            if values.len() != rows {
                let found = values.len();
                return Err(refused(format!(
                    "expected {rows} values of {name}, received {found}"
                )));
            }
            let values = values
                .iter()
                .map(|value| value.unwrap_or(f64::NAN))
                .collect();
            columns.push(Column { name, unit, values });
        }
        Ok(Hours { start, columns })
    }

    /// One table of all parts, without the hours at its end that have no value yet.
    fn join(&self, got: Vec<Got>) -> Result<Table, SourceError> {
        let wrong = |source| SourceError::Table {
            file: self.params.url.clone(),
            source,
        };
        let mut table: Option<Table> = None;
        for Got { hours, .. } in got {
            let times = (0..hours.rows()).map(|row| hours.start + row as i64 * HOUR);
            let next = Table::new(times.collect(), hours.columns).map_err(wrong)?;
            table = Some(match table {
                Some(table) => table.append(&next).map_err(wrong)?,
                None => next,
            });
        }
        let Some(table) = table else {
            return Table::new(Vec::new(), Vec::new()).map_err(wrong);
        };
        let known = |row: &usize| table.columns().iter().any(|c| !c.values[*row].is_nan());
        let rows = (0..table.times().len())
            .rev()
            .find(known)
            .map_or(0, |row| row + 1);
        let columns = table.columns().iter().map(|column| Column {
            values: column.values[..rows].to_vec(),
            ..column.clone()
        });
        Table::new(table.times()[..rows].to_vec(), columns.collect()).map_err(wrong)
    }
}

impl Hours {
    fn rows(&self) -> usize {
        self.columns.first().map_or(0, |column| column.values.len())
    }

    fn is_known(&self, row: usize) -> bool {
        self.columns
            .iter()
            .any(|column| !column.values[row].is_nan())
    }
}

/// How many hours have values for the first time, and how many have others than before.
fn compare(before: &Hours, now: &Hours) -> (usize, usize) {
    let same = |a: f64, b: f64| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
    let (mut new, mut corrected) = (0, 0);
    for row in 0..now.rows() {
        if row >= before.rows() || !before.is_known(row) {
            new += usize::from(now.is_known(row));
        } else {
            let pairs = before.columns.iter().zip(&now.columns);
            let all_same = pairs
                .into_iter()
                .all(|(a, b)| same(a.values[row], b.values[row]));
            corrected += usize::from(!all_same);
        }
    }
    (new, corrected)
}

/// The days asked for, on a grid of `length` days that every range shares.
fn parts(days: Days, length: i64, today: i64) -> Vec<Part> {
    let (from, to) = match days {
        Days::Range { from, to } => (from, to.unwrap_or(today)),
        Days::Past(days) => (today - days, today),
    };
    let mut parts = Vec::new();
    let mut first = from;
    while first <= to {
        let last = (first.div_euclid(length) * length + length - 1).min(to);
        parts.push(Part { first, last });
        first = last + 1;
    }
    parts
}

fn date(day: i64) -> String {
    format_utc(day * DAY).chars().take(10).collect()
}

fn refused(message: String) -> Refused {
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

/// The unit of a variable with `wind_speed_unit=ms`; none where this table does not know it.
fn unit_of(variable: &str) -> Option<&'static str> {
    const UNITS: [(&str, &str); 20] = [
        ("temperature_", "°C"),
        ("apparent_temperature", "°C"),
        ("dew_point_", "°C"),
        ("soil_temperature_", "°C"),
        ("relative_humidity_", "%"),
        ("cloud_cover", "%"),
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
        ("direct_radiation", "W/m²"),
        ("diffuse_radiation", "W/m²"),
    ];
    let found = UNITS.iter().find(|(start, _)| variable.starts_with(start));
    found.map(|(_, unit)| *unit)
}

/// An answer, as far as it is used.
#[derive(Deserialize)]
struct Body<'a> {
    utc_offset_seconds: i64,
    #[serde(borrow)]
    hourly_units: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    #[serde(borrow)]
    hourly: Hourly<'a>,
}

/// `time` and one list of numbers for each variable, read in one pass.
struct Hourly<'a> {
    time: Vec<Cow<'a, str>>,
    columns: BTreeMap<String, Vec<Option<f64>>>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Hourly<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Lists;

        impl<'de> Visitor<'de> for Lists {
            type Value = Hourly<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("hourly lists")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let (mut time, mut columns) = (None, BTreeMap::new());
                while let Some(name) = map.next_key::<String>()? {
                    if name == "time" {
                        time = Some(map.next_value()?);
                    } else {
                        columns.insert(name, map.next_value()?);
                    }
                }
                let time = time.ok_or_else(|| serde::de::Error::missing_field("time"))?;
                Ok(Hourly { time, columns })
            }
        }

        deserializer.deserialize_map(Lists)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(models: &[&str]) -> OpenMeteoSource {
        OpenMeteoSource {
            url: "http://host/v1".into(),
            latitude: 50.93,
            longitude: 1.93,
            variables: vec!["temperature_2m_previous_day1".into(), "cape".into()],
            days: Days::Range { from: 0, to: None },
            models: models.iter().map(|&model| model.to_owned()).collect(),
            days_per_request: 1,
            overlap_s: DAY,
            token: None,
            requests: crate::params::RequestLimits::default(),
        }
    }

    #[test]
    fn a_range_is_split_on_one_grid() {
        let days = |days, length| {
            let parts = parts(days, length, 100);
            parts.iter().map(|p| (p.first, p.last)).collect::<Vec<_>>()
        };
        let range = |from, to| Days::Range { from, to };
        assert_eq!(days(range(5, Some(21)), 10), [(5, 9), (10, 19), (20, 21)]);
        assert_eq!(days(range(10, Some(10)), 10), [(10, 10)]);
        assert_eq!(days(range(95, None), 10), [(95, 99), (100, 100)]);
        assert_eq!(days(range(-3, Some(1)), 10), [(-3, -1), (0, 1)]);
        assert_eq!(days(Days::Past(2), 10), [(98, 99), (100, 100)]);
        // A day that is yet to come has no rows.
        assert_eq!(days(range(101, None), 10), []);
    }

    #[test]
    fn days_are_final_only_after_the_overlap() {
        let params = params(&["a", "b"]);
        let source = OpenMeteo { params: &params };
        let part = Part { first: 3, last: 4 };
        let settled = 6 * DAY;
        assert_eq!(source.ask(part, settled - 1).final_since, None);
        let ask = source.ask(part, settled);
        assert_eq!(ask.final_since, Some(settled));
        assert!(
            ask.url
                .contains("&models=a,b&start_date=1970-01-04&end_date=1970-01-05")
        );
        // A part that grows keeps its slot.
        assert_eq!(source.ask(Part { first: 3, last: 3 }, 0).slot, ask.slot);
    }

    #[test]
    fn several_models_have_columns_of_their_own() {
        let names = |models| {
            let params = params(models);
            let expected = OpenMeteo { params: &params }.expected();
            expected
                .into_iter()
                .map(|(name, _)| name)
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&["icon"]), ["temperature_2m_previous_day1", "cape"]);
        let two = names(&["icon", "gfs"]);
        assert_eq!(two[1], "temperature_2m_previous_day1_gfs");
        assert_eq!(two.len(), 4);
    }

    #[test]
    fn only_json_that_ends_early_may_be_better_next_time() {
        let body = r#"{"utc_offset_seconds":0,"hourly_units":{"temperature_2m_previous_day1":"°C","cape":"J/kg"},
            "hourly":{"time":["1970-01-01T00:00"],"temperature_2m_previous_day1":[null],"cape":[5]}}"#;
        let params = params(&[]);
        let source = OpenMeteo { params: &params };
        let part = Part { first: 0, last: 0 };
        let hours = source.read_stored(body.as_bytes(), part).unwrap();
        assert!(hours.columns[0].values[0].is_nan());
        assert_eq!((hours.columns[1].unit.as_str(), hours.rows()), ("J/kg", 1));
        let error = source.read(body.as_bytes(), part).unwrap_err();
        assert_eq!(
            error.message,
            "expected 24 hours to 1970-01-01 23:00 UTC, received 1 to 1970-01-01 00:00 UTC"
        );
        for end in 0..body.len() {
            let error = source
                .read_stored(&body.as_bytes()[..end], part)
                .unwrap_err();
            assert!(error.may_pass, "{end}: {}", error.message);
        }
        let page = source.read_stored(b"<html>no</html>", part).unwrap_err();
        assert!(!page.may_pass && page.message.ends_with("received: <html>no</html>"));
    }
}
