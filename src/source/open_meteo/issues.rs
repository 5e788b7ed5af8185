//! Forecasts: what Open-Meteo says now of the days to come, and what it said before.
//!
//! An answer does not tell which run of which model it is from, so a forecast is issued when it was
//! asked for, rounded down to a grid: that is what could be known then, whatever came before.
//! Rounding makes an issue look older than it is, by less than one step of the grid; who must not
//! overlook that adds the step as a delay when the forecasts are joined to observations. Two
//! fetches within one step are one issue, the later one. An answer that comes only after the step is
//! refused: it may know more.
//!
//! The stored answers are the archive: each issue has a slot of its own, so a fetch adds an issue,
//! and the table has all issues of these places and models, whatever variables were asked for at
//! the time. A value that an earlier issue does not have is missing. `earlier` names a table whose
//! issues are added where no stored answer has them: what another machine fetched, or what is left
//! of an archive that was lost.
//!
//! Rows begin at the issue time, unless days before it were asked for too: these are what the
//! service held true of them then, and their lead is negative.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::super::http::{Ask, Client, Clock};
use super::super::{Asked, Fetched, SourceError};
use super::body::{HOUR, Hours, parse};
use super::rows::Rows;
use super::{Job, OpenMeteo, Part, date};
use crate::data::{Column, SeriesError, Table, from_parquet};
use crate::fs;
use crate::params::ForecastWanted;
use crate::time::{DAY, format_utc};

/// What names a stored forecast.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Slot {
    forecast_of: String,
    models: Vec<String>,
    hourly: Vec<String>,
    /// Degrees north and east.
    places: Vec<(f64, f64)>,
    /// Seconds since 1970 UTC.
    issue: i64,
}

/// An issue of a place: the number of the place, and when.
type Issue = (usize, i64);

impl OpenMeteo<'_> {
    pub(super) fn forecast(
        &self,
        wanted: &ForecastWanted,
        client: &Client<'_>,
        clock: &dyn Clock,
        asked: &mut Asked<'_>,
    ) -> Result<Fetched, SourceError> {
        let now = clock.now();
        let issue = now.div_euclid(wanted.issued_every_s) * wanted.issued_every_s;
        let today = now.div_euclid(DAY);
        let part = Part {
            first: today - wanted.past_days,
            last: today + wanted.forecast_days - 1,
        };
        let mut jobs = Vec::new();
        for places in self.groups() {
            let url = self.url(&places);
            let slot = self.slot(&places, issue)?;
            let (start, end) = (date(part.first), date(part.last));
            let ask = Ask {
                slot,
                url: format!("{url}&start_date={start}&end_date={end}"),
                // From then on an answer is of another issue.
                until: Some(issue + wanted.issued_every_s),
                ..Ask::default()
            };
            jobs.push(Job { places, part, ask });
        }
        let mut issues = BTreeMap::new();
        let news = if asked.offline {
            None
        } else {
            let got = self.get_all(client, clock, &jobs, asked)?;
            let got = got.into_iter().collect::<Result<Vec<_>, _>>();
            let got = got.map_err(|url| SourceError::NotStored { url })?;
            let news = got.iter().map(|got| got.news).sum();
            for (job, got) in jobs.iter().zip(got) {
                let places = job.places.clone().map(|place| (place, issue));
                issues.extend(places.zip(got.hours));
            }
            Some(news)
        };
        self.add_stored(client, &mut issues)?;
        let table = self.table_of(wanted, &issues)?;
        let (table, warning) = match &wanted.earlier {
            Some(path) => self.add_earlier(table, &issues, asked.root, path)?,
            None => (table, None),
        };
        match (table.rows(), jobs.first()) {
            (0, Some(job)) if asked.offline => Err(SourceError::NotStored {
                url: job.ask.url.clone(),
            }),
            _ => Ok(Fetched {
                table,
                news,
                warnings: warning.into_iter().collect(),
            }),
        }
    }

    fn slot(&self, places: &std::ops::Range<usize>, issue: i64) -> Result<String, SourceError> {
        let all = self.places();
        let slot = Slot {
            forecast_of: self.params.url.clone(),
            models: self.params.models.clone(),
            hourly: self.params.variables.clone(),
            places: all[places.clone()]
                .iter()
                .map(|(_, place)| (place.latitude, place.longitude))
                .collect(),
            issue,
        };
        serde_json::to_string(&slot).map_err(|error| std::io::Error::other(error).into())
    }

    /// Adds the issues that are stored and not there yet. Of several answers for one issue the one
    /// that has most of the columns counts.
    fn add_stored(
        &self,
        client: &Client<'_>,
        issues: &mut BTreeMap<Issue, Hours>,
    ) -> Result<(), SourceError> {
        let fresh: BTreeSet<Issue> = issues.keys().copied().collect();
        let mut most: BTreeMap<Issue, usize> = BTreeMap::new();
        let (all, expected) = (self.places(), self.expected());
        for (text, file) in client.stored_slots()? {
            // Another thing that was asked for.
            let Ok(slot) = serde_json::from_str::<Slot>(&text) else {
                continue;
            };
            if slot.forecast_of != self.params.url || slot.models != self.params.models {
                continue;
            }
            let number = |&at: &(f64, f64)| {
                let mut places = all
                    .iter()
                    .map(|(_, place)| (place.latitude, place.longitude));
                let place = places.position(|place| place == at)?;
                (!fresh.contains(&(place, slot.issue))).then_some(place)
            };
            let wanted: Vec<Option<usize>> = slot.places.iter().map(number).collect();
            if wanted.iter().all(Option::is_none) {
                continue;
            }
            let damaged = |message: &str| SourceError::File {
                file: file.clone(),
                message: format!(
                    "the stored forecast of {}: {message}; remove the file to go on without it",
                    format_utc(slot.issue)
                ),
            };
            let body = client.stored(&text)?;
            let body = body.ok_or_else(|| damaged("its body is gone or damaged"))?;
            let bodies =
                parse(&body, slot.places.len()).map_err(|refused| damaged(&refused.message))?;
            for (place, body) in wanted.into_iter().zip(bodies) {
                let Some(place) = place else { continue };
                let columns = expected.iter().filter(|column| body.has(column)).count();
                let key = (place, slot.issue);
                if columns <= most.get(&key).copied().unwrap_or(0) {
                    continue;
                }
                let start = body.start().unwrap_or(slot.issue);
                let hours = body
                    .known_hours(start, &expected)
                    .map_err(|refused| damaged(&self.of_place(place, refused).message))?;
                most.insert(key, columns);
                issues.insert(key, hours);
            }
        }
        Ok(())
    }

    /// The rows of all issues that are asked for now: a horizon may have been another one before.
    fn table_of(
        &self,
        wanted: &ForecastWanted,
        issues: &BTreeMap<Issue, Hours>,
    ) -> Result<Table, SourceError> {
        let names: Vec<String> = self.expected().into_iter().map(|e| e.name).collect();
        let all = issues.values().map(Hours::rows).sum();
        let (mut rows, places) = (Rows::new(&names, all), self.places());
        for (&(place, issue), hours) in issues {
            let range = asked_rows(wanted, issue, hours);
            let added = rows.add_issue(places[place].0, issue, hours, range);
            added.map_err(|source| self.no_table(source))?;
        }
        rows.table(true).map_err(|source| self.no_table(source))
    }

    /// Adds rows of an earlier table, of issues that are not stored, and says which of them belong to no place.
    fn add_earlier(
        &self,
        table: Table,
        issues: &BTreeMap<Issue, Hours>,
        root: &Path,
        path: &str,
    ) -> Result<(Table, Option<String>), SourceError> {
        let wrong = |message: String| SourceError::File {
            file: path.to_owned(),
            message,
        };
        let unlike = |source| SourceError::Table {
            file: path.to_owned(),
            source,
        };
        let earlier =
            from_parquet(fs::read(&root.join(path))?).map_err(|e| wrong(e.to_string()))?;
        let earlier = with_all_columns(earlier, table.columns()).map_err(unlike)?;
        let Some(times) = earlier.issues() else {
            let message = "expected forecasts with their issue times, found observations";
            return Err(wrong(message.to_owned()));
        };
        let places = self.places();
        let number = |name: Option<&str>| places.iter().position(|(place, _)| *place == name);
        let (mut rows, mut others, mut left_out) = (Vec::new(), BTreeSet::new(), 0);
        for (row, &issue) in times.iter().enumerate() {
            let name = earlier.series().map(|series| series.name(row));
            match number(name) {
                Some(place) if issues.contains_key(&(place, issue)) => {}
                Some(_) => rows.push(row),
                None => {
                    others.insert(name);
                    left_out += 1;
                }
            }
        }
        let warning = (left_out > 0).then(|| {
            let places = places.iter().map(|&(place, _)| place);
            let (found, expected) = (told(others.into_iter()), told(places));
            format!(
                "{left_out} rows of {path} are left out: they are of {found}, asked for is {expected}; `places` must \
                 have the names of the file"
            )
        });
        let earlier = earlier.take_rows(&rows);
        if earlier.rows() == 0 {
            return Ok((table, warning));
        }
        let whole = if table.rows() == 0 {
            earlier
        } else {
            table.append(&earlier).map_err(unlike)?
        };
        let mut order: Vec<usize> = (0..whole.rows()).collect();
        order.sort_by_key(|&row| whole.key(row));
        Ok((whole.take_rows(&order), warning))
    }
}

/// A table with these columns and no others. Of those that it lacks all values are missing; one that has none of
/// them is another table.
fn with_all_columns(table: Table, columns: &[Column]) -> Result<Table, SeriesError> {
    let is_there = |wanted: &Column| table.column(&wanted.name).is_ok();
    if let Some(first) = columns.first()
        && !columns.iter().any(is_there)
    {
        table.column(&first.name)?;
    }
    let column = |wanted: &Column| match table.column(&wanted.name) {
        Ok(column) => column.clone(),
        Err(_) => Column {
            name: wanted.name.clone(),
            unit: wanted.unit.clone(),
            values: vec![f64::NAN; table.rows()],
        },
    };
    let columns = columns.iter().map(column).collect();
    table.with_columns(columns)
}

/// Some places by their names, for a warning.
fn told<'n>(places: impl Iterator<Item = Option<&'n str>>) -> String {
    const TOLD: usize = 3;
    let name =
        |place: Option<&str>| place.map_or("a place without a name".to_owned(), str::to_owned);
    let mut names: Vec<String> = places.take(TOLD + 1).map(name).collect();
    if let Some(last) = names.get_mut(TOLD) {
        "…".clone_into(last);
    }
    names.join(", ")
}

/// From the issue time, or from so many days before, to the end of the days that are asked for or
/// of the values.
fn asked_rows(wanted: &ForecastWanted, issue: i64, hours: &Hours) -> std::ops::Range<usize> {
    let today = issue.div_euclid(DAY);
    let first = match wanted.past_days {
        0 => issue,
        days => (today - days) * DAY,
    };
    let end = (today + wanted.forecast_days) * DAY;
    // The number of the first hour that is not before a time.
    let row = |time: i64| (time - hours.start + HOUR - 1).div_euclid(HOUR).max(0) as usize;
    let end = row(end).min(hours.known_rows());
    row(first).min(end)..end
}
