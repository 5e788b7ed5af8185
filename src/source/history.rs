//! Kind `http`: the history API of stations, told as configuration.
//!
//! A long range is split on a fixed grid, so that the same times are always asked for in the same way,
//! for one station after another. A range that was over for longer than the `overlap` when it was
//! asked for is final: it is answered from the stored bodies. The others are asked for again, and
//! what is new or corrected in them is counted. So the table depends on the data only, not on what was
//! fetched before.
//!
//! An answer may come in pages. Where one page of it cannot be had, none of it is used; where some
//! pages were stored and the others cannot be had (a cursor that the service has forgotten), all
//! are asked for once more.
//!
//! The service may round a range as it likes: rows outside of it belong to other requests, so they are
//! dropped and counted (a row at the very end of the range, which many services take as inside, is
//! dropped in silence). An answer with rows only far outside of its range is of another question, and
//! refused.

mod answer;
mod json;
mod pages;
mod ranges;
mod request;
mod whole;

use self::answer::{Reader, Rows};
use self::ranges::Part;
use self::whole::Got;
use super::http::{Client, Clock, Credential, Limits, SystemClock};
use super::pool::{self, Tell, Told};
use super::stored::stored_ones;
use super::{Asked, Fetched, Source, SourceError, gone_rows};
use crate::data::{Column, RowSeries, Table};
use crate::params::HttpSource;
use crate::time::DAY;

/// Warnings of one kind that are told; the others are counted.
const TOLD: usize = 3;

pub(super) struct History<'a> {
    pub(super) params: &'a HttpSource,
}

impl Source for History<'_> {
    fn inputs(&self) -> Vec<String> {
        Vec::new()
    }

    fn fetch(&self, asked: &mut Asked<'_>) -> Result<Fetched, SourceError> {
        let clock = SystemClock::new();
        let token = self.params.token.as_ref();
        // Stored answers need no token.
        let token = token.filter(|_| !asked.offline);
        let credential = token.map(|token| Credential::find(token, asked.root));
        let client = Client::new(
            asked.root,
            Limits::from(&self.params.requests),
            &clock,
            credential.transpose()?,
            asked.offline,
        )?
        .with_headers(self.params.headers.iter())?;
        self.collect(&client, &clock, asked)
    }
}

impl History<'_> {
    fn collect(
        &self,
        client: &Client<'_>,
        clock: &dyn Clock,
        asked: &mut Asked<'_>,
    ) -> Result<Fetched, SourceError> {
        let now = clock.now();
        let parts = self.parts(now)?;
        let reader = Reader::new(&self.params.answer, self.params.paging.as_ref());
        let offline = asked.offline;
        let work = |piece: usize, tell: Tell<'_>| {
            let got = self.get(client, &reader, parts[piece], now, tell);
            match got {
                // What was never asked for may simply be younger than the last fetch.
                Err(SourceError::NotStored { url }) if offline => Ok(Err(url)),
                got => got.map(Ok),
            }
        };
        let (mut done, mut more, mut rows) = (0, 0, 0);
        let mut heard = |told: &Told<Result<Got, String>>| {
            match told {
                Told::Page(number, on_page) => {
                    more += usize::from(*number > 0);
                    rows += on_page;
                }
                Told::Done(..) => done += 1,
            }
            (asked.progress)(done + more, parts.len() + more, rows);
        };
        let got = pool::each(client, parts.len(), &work, &mut heard)?;
        let got = stored(got, &parts, self.is_open(now))?;
        let news = (!offline).then(|| got.iter().map(|(_, got)| got.news).sum());
        let warnings = warnings(&got);
        let table = self.table(got)?;
        Ok(Fetched {
            table,
            news,
            warnings,
        })
    }

    fn table(&self, got: Vec<(&Part<'_>, Got)>) -> Result<Table, SourceError> {
        let wrong = |source| SourceError::Table {
            file: "the answers".to_owned(),
            source,
        };
        let mut rows = Rows::empty(self.params.answer.columns.len());
        let mut names = Vec::new();
        for (part, got) in got {
            let name = part.station.map_or("", |station| station.name.as_str());
            names.extend(std::iter::repeat_n(name, got.rows.len()));
            rows.append(got.rows);
        }
        let columns = self.params.answer.columns.iter().zip(rows.columns);
        let columns = columns.map(|(field, values)| Column {
            name: field.name.clone(),
            unit: field.unit.clone(),
            values,
        });
        let table = Table::new(rows.times, columns.collect()).map_err(wrong)?;
        match self.params.stations {
            Some(_) => table
                .with_series(RowSeries::from_names(names.into_iter()))
                .map_err(wrong),
            None => Ok(table),
        }
    }
}

fn stored<'s, 'p>(
    got: Vec<Result<Got, String>>,
    parts: &'s [Part<'p>],
    is_open: bool,
) -> Result<Vec<(&'s Part<'p>, Got)>, SourceError> {
    let alike = |one: &Part<'_>, other: &Part<'_>| one.station == other.station;
    stored_ones(got, parts, is_open, alike, |got| got.older.as_deref())
}

fn warnings(got: &[(&Part<'_>, Got)]) -> Vec<String> {
    let mut warnings = Vec::new();
    let outside: usize = got.iter().map(|(_, got)| got.outside).sum();
    if outside > 0 {
        warnings.push(format!(
            "{outside} rows outside of the ranges that were asked for are left out"
        ));
    }
    let gone = got.iter().map(|(_, got)| got.gone).sum();
    warnings.extend(gone_rows(gone));
    let few = got.iter().filter_map(|(part, got)| {
        let station = part
            .station
            .map_or_else(String::new, |s| format!("{}: ", s.name));
        Some(format!("{station}{}", got.warning.as_ref()?))
    });
    let few: Vec<String> = few.collect();
    let more = few.len().saturating_sub(TOLD);
    warnings.extend(few.into_iter().take(TOLD));
    if more > 0 {
        warnings.push(format!("{more} more ranges have fewer rows than expected"));
    }
    warnings
}

#[cfg(test)]
mod tests;
