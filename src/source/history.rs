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

use std::cell::RefCell;
use std::time::Instant;

use self::answer::{Reader, Rows};
use self::pages::{Pages, Target, Value};
use super::http::{self, Answer, Ask, Client, Clock, Credential, Limits, Refused, SystemClock};
use super::pool::{self, Tell, Told};
use super::{Asked, Fetched, News, Source, SourceError, check_requests, gone_rows, percent};
use crate::data::{Column, RowSeries, Table};
use crate::params::{Body, HttpSource, Piece, Range, Station, Template, TokenCarrier};
use crate::time::{Step, format_short};

const MINUTE: i64 = 60;
const DAY: i64 = 86_400;
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
        let clock = SystemClock(Instant::now());
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

/// One request, or several pages of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part<'p> {
    station: Option<&'p Station>,
    range: Option<Span>,
}

/// Times, the end not included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    from: i64,
    to: i64,
}

/// What came of a part.
struct Got {
    rows: Rows,
    news: News,
    /// Rows that were there before and are no longer.
    gone: usize,
    outside: usize,
    warning: Option<String>,
}

/// All pages of an answer.
struct Whole {
    rows: Rows,
    /// What was stored before, as far as it was asked for again.
    before: Rows,
    outside: usize,
}

/// Why there is no whole answer.
struct Broken {
    error: SourceError,
    /// What was refused, where another try of all pages may be better.
    again: Option<String>,
    /// Whether a page came from the store.
    stored: bool,
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
        let got = self.stored_ones(got, &parts)?;
        let news = (!offline).then(|| News {
            new: got.iter().map(|(_, got)| got.news.new).sum(),
            corrected: got.iter().map(|(_, got)| got.news.corrected).sum(),
        });
        let warnings = warnings(&got);
        let table = self.table(got)?;
        Ok(Fetched {
            table,
            news,
            warnings,
        })
    }

    /// Offline, an open range ends where what is stored ends.
    fn stored_ones<'p>(
        &self,
        got: Vec<Result<Got, String>>,
        parts: &[Part<'p>],
    ) -> Result<Vec<(Part<'p>, Got)>, SourceError> {
        let is_open = self.params.range.is_some_and(|range| range.to.is_none());
        let mut all: Vec<(Part<'p>, Got)> = Vec::new();
        let mut absent: Option<(Option<&Station>, String)> = None;
        for (one, part) in got.into_iter().zip(parts) {
            let begins = all
                .last()
                .is_none_or(|(last, _)| last.station != part.station);
            match one {
                Ok(one) => {
                    if let Some((station, url)) = absent.take()
                        && station == part.station
                    {
                        return Err(SourceError::NotStored { url });
                    }
                    all.push((*part, one));
                }
                Err(url) if begins || !is_open => return Err(SourceError::NotStored { url }),
                Err(url) => absent = absent.or(Some((part.station, url))),
            }
        }
        Ok(all)
    }

    /// What is asked for, for one station after another.
    fn parts(&self, now: i64) -> Result<Vec<Part<'_>>, SourceError> {
        let stations = self.params.stations.as_ref().map_or(1, Vec::len);
        let ranges = self.params.range.map_or(1, |range| self.ranges(range, now));
        check_requests(
            ranges.saturating_mul(stations as i64),
            "a longer `largest_range` or a later `from`",
        )?;
        let spans: Vec<Option<Span>> = match self.params.range {
            None => vec![None],
            Some(range) => self.spans(range, now).into_iter().map(Some).collect(),
        };
        let stations: Vec<Option<&Station>> = match &self.params.stations {
            None => vec![None],
            Some(stations) => stations.iter().map(Some).collect(),
        };
        let mut parts = Vec::new();
        for station in stations {
            parts.extend(spans.iter().map(|&range| Part { station, range }));
        }
        Ok(parts)
    }

    /// How many ranges there will be.
    fn ranges(&self, range: Range, now: i64) -> i64 {
        let (end, length) = (self.end(range, now), range.largest.unwrap_or(i64::MAX));
        if range.from >= end {
            return 0;
        }
        (end - 1).div_euclid(length) - range.from.div_euclid(length) + 1
    }

    /// The end of all ranges.
    fn end(&self, range: Range, now: i64) -> i64 {
        let unit = self.params.time_text.unit_s();
        // Where only days are told, today is asked for whole.
        let now = if unit == DAY {
            (now.div_euclid(DAY) + 1) * DAY
        } else {
            let unit = unit.max(MINUTE);
            now.div_euclid(unit) * unit
        };
        range.to.unwrap_or(now).min(now)
    }

    /// The ranges of all requests, on a grid that does not depend on where they begin.
    fn spans(&self, range: Range, now: i64) -> Vec<Span> {
        let end = self.end(range, now);
        let mut spans = Vec::new();
        let mut from = range.from;
        while from < end {
            let to = match range.largest {
                Some(length) => ((from.div_euclid(length) + 1) * length).min(end),
                None => end,
            };
            spans.push(Span { from, to });
            from = to;
        }
        spans
    }

    fn get(
        &self,
        client: &Client<'_>,
        reader: &Reader<'_>,
        part: Part<'_>,
        now: i64,
        tell: Tell<'_>,
    ) -> Result<Got, SourceError> {
        let final_since = part.range.and_then(|span| {
            let settled = span.to.saturating_add(self.params.overlap_s);
            (settled <= now).then_some(settled)
        });
        let mut fresh = false;
        let mut attempt = 1;
        let whole = loop {
            let broken = match self.walk(client, reader, part, final_since, fresh, tell) {
                Ok(whole) => break whole,
                Err(broken) => *broken,
            };
            let again = broken
                .again
                .filter(|_| attempt < self.params.requests.attempts);
            match again {
                _ if client.is_offline() => return Err(broken.error),
                // Stored pages may not fit to what the service knows now.
                _ if broken.stored && !fresh => {}
                Some(message) => {
                    let ask = self.ask(part, &Target::default(), final_since);
                    if client
                        .wait_to_try_again(&ask, &message, attempt, None)
                        .is_err()
                    {
                        return Err(broken.error);
                    }
                    attempt += 1;
                }
                None => return Err(broken.error),
            }
            fresh = true;
        };
        let times = distinct(whole.rows.times.iter());
        let warning = match self.fewer_than_expected(part, times) {
            Some(message) if final_since.is_some() => Some(message),
            _ => None,
        };
        let (news, gone) = compare(&whole.before, &whole.rows);
        Ok(Got {
            news,
            gone,
            rows: whole.rows,
            outside: whole.outside,
            warning,
        })
    }

    /// All pages of one part.
    fn walk(
        &self,
        client: &Client<'_>,
        reader: &Reader<'_>,
        part: Part<'_>,
        final_since: Option<i64>,
        fresh: bool,
        tell: Tell<'_>,
    ) -> Result<Whole, Box<Broken>> {
        let columns = self.params.answer.columns.len();
        let (mut rows, mut before) = (Rows::empty(columns), Rows::empty(columns));
        let mut pages = Pages::new(self.params.paging.as_ref(), self.params.pages_at_most);
        let (mut received, mut stored) = (0, false);
        let mut target = pages.first();
        let mut url = None;
        loop {
            let broken = |error: SourceError, again: Option<String>, stored: bool| {
                Box::new(Broken {
                    error,
                    again,
                    stored,
                })
            };
            let ask = self.ask_page(client, part, &target, url.as_deref(), final_since);
            let ask = ask.map_err(|error| broken(error, None, stored))?;
            let ask = Ask { fresh, ..ask };
            let read = RefCell::new(None);
            let accept = |body: &[u8]| {
                let page = reader.read(body)?;
                if self.params.paging.is_none() {
                    self.check_whole(part, &page.rows, page.received, page.total, final_since)?;
                }
                read.replace(Some(page));
                Ok(())
            };
            let answer = client.get(&ask, &accept);
            let Answer {
                body,
                before: old,
                asked,
            } = answer.map_err(|error| broken(error, None, stored))?;
            stored |= !asked;
            let page = match read.take() {
                Some(page) => Ok(page),
                None => accept(&body).map(|()| read.take().unwrap_or_default()),
            };
            let refused = |refused: Refused, stored: bool| {
                let again = refused.may_pass.then(|| refused.message.clone());
                broken(client.error(&ask, refused.message), again, stored)
            };
            let page = page.map_err(|refusal| refused(refusal, stored))?;
            tell(target.number, page.received);
            received += page.received;
            before.append(match old {
                _ if !asked => page.rows.clone(),
                Some(old) if old == body => page.rows.clone(),
                // What can no longer be read was nothing.
                Some(old) => reader.read(&old).map(|page| page.rows).unwrap_or_default(),
                None => Rows::default(),
            });
            let next = pages.next(&page).map_err(|message| {
                let message = format!("page {}: {message}", target.number + 1);
                broken(client.error(&ask, message), None, stored)
            })?;
            let total = page.total;
            rows.append(page.rows);
            let Some(next) = next else {
                if self.params.paging.is_some() {
                    self.check_whole(part, &rows, received, total, final_since)
                        .map_err(|refusal| refused(refusal, stored))?;
                }
                break;
            };
            url = Some(ask.url);
            target = next;
        }
        let (all, at_end) = (rows.len(), at_end(&rows, part.range));
        let within = |rows: Rows| match part.range {
            Some(span) => rows.sorted().within(span.from..span.to),
            None => rows.sorted(),
        };
        let rows = within(rows);
        Ok(Whole {
            outside: all - rows.len() - at_end,
            rows,
            before: within(before),
        })
    }

    /// Whether all rows of an answer are there, and are those that were asked for.
    fn check_whole(
        &self,
        part: Part<'_>,
        rows: &Rows,
        received: usize,
        total: Option<usize>,
        final_since: Option<i64>,
    ) -> Result<(), Refused> {
        if let Some(total) = total
            && total != received
        {
            let message = format!("expected {total} rows in all, received {received}");
            return Err(Refused {
                message,
                may_pass: true,
            });
        }
        let Some(span) = part.range else {
            return Ok(());
        };
        let inside = |time: &&i64| (span.from..span.to).contains(*time);
        let known = distinct(rows.times.iter().filter(inside));
        let near = (span.from.saturating_sub(DAY))..span.to.saturating_add(DAY);
        let far = |time: &i64| !near.contains(time);
        if rows.len() > 0 && rows.times.iter().all(far) {
            let (first, last) = (rows.times.iter().min(), rows.times.iter().max());
            let message = format!(
                "expected rows of {}, received rows of {} to {} UTC only",
                told(span),
                first.map_or_else(String::new, |&time| format_short(time)),
                last.map_or_else(String::new, |&time| format_short(time)),
            );
            return Err(Refused {
                message,
                may_pass: false,
            });
        }
        match self.fewer_than_expected(part, known) {
            Some(message)
                if final_since.is_some() && self.params.expected.is_some_and(|e| e.fail) =>
            {
                Err(Refused {
                    message,
                    may_pass: true,
                })
            }
            _ => Ok(()),
        }
    }

    fn fewer_than_expected(&self, part: Part<'_>, received: usize) -> Option<String> {
        let (expected, span) = (self.params.expected?, part.range?);
        let rows = usize::try_from((span.to - span.from) / expected.step.seconds()).ok()?;
        let step: Step = expected.step;
        (received < rows).then(|| {
            format!(
                "expected {rows} rows each {step} of {}, received {received}",
                told(span)
            )
        })
    }

    /// Asks for a page: for a link as it came, for others with parameters.
    fn ask_page(
        &self,
        client: &Client<'_>,
        part: Part<'_>,
        target: &Target,
        from: Option<&str>,
        final_since: Option<i64>,
    ) -> Result<Ask, SourceError> {
        let ask = self.ask(part, target, final_since);
        let (Some(link), Some(from)) = (&target.link, from) else {
            return Ok(ask);
        };
        let query = match self.params.token.as_ref().map(|token| &token.carrier) {
            Some(TokenCarrier::Query(name)) => Some(name.as_str()),
            _ => None,
        };
        let url =
            http::follow_link(from, link, query).map_err(|message| client.error(&ask, message))?;
        Ok(Ask {
            home: Some(ask.url),
            url,
            // What a link leads to is got, whatever led there.
            post: None,
            ..ask
        })
    }

    fn ask(&self, part: Part<'_>, target: &Target, final_since: Option<i64>) -> Ask {
        let place = |open: bool| {
            move |piece: &Piece| match (piece, part.station, part.range) {
                (Piece::Station, Some(station), _) => station.id.clone(),
                (Piece::From, _, Some(span)) => self.params.time_text.write(span.from),
                (Piece::To, _, Some(_)) if open => "*".to_owned(),
                (Piece::To, _, Some(span)) => {
                    // Of days the last one is meant; of anything finer, the end itself brings one
                    // row too many at most, and a step back might bring one too few.
                    let is_day = self.params.time_text.unit_s() == DAY;
                    let back = i64::from(is_day && self.params.end_is_inside);
                    self.params.time_text.write(span.to - back)
                }
                _ => String::new(),
            }
        };
        let url = |open: bool| {
            let place = place(open);
            let url = self.params.url.fill(|piece| percent::encode(&place(piece)));
            match &self.params.body {
                Some(_) => url,
                None => with_parameters(url, &target.parameters),
            }
        };
        let body = |open: bool| {
            let body = self.params.body.as_ref()?;
            let mut json = self.fill(body, &place(open));
            for (name, value) in &target.parameters {
                json[name.as_str()] = match value {
                    Value::Number(number) => (*number).into(),
                    Value::Text(text) => text.as_str().into(),
                };
            }
            Some(json.to_string())
        };
        // A range that grows keeps its slot. A link is told by its place, because it may change.
        let mut slot = url(true);
        if let Some(body) = body(true) {
            slot = format!("{slot} {body}");
        }
        for (name, value) in &self.params.headers {
            slot = format!("{slot} {name}: {value}");
        }
        // Who asks may decide what comes; the token itself is in no file.
        if let Some(token) = &self.params.token {
            slot = format!("{slot} token of {}", token.place);
        }
        if target.number > 0 {
            slot = format!("{slot} page {}", target.number + 1);
        }
        Ask {
            slot,
            url: url(false),
            final_since,
            post: body(false),
            ..Ask::default()
        }
    }

    fn fill(&self, body: &Body, place: &dyn Fn(&Piece) -> String) -> serde_json::Value {
        match body {
            Body::Text(template) => self.fill_text(template, place),
            Body::List(all) => all.iter().map(|body| self.fill(body, place)).collect(),
            Body::Object(all) => {
                let fields = all
                    .iter()
                    .map(|(key, body)| (key.clone(), self.fill(body, place)));
                serde_json::Value::Object(fields.collect())
            }
            Body::Plain(plain) => plain.clone(),
        }
    }

    /// A text; a number where it is nothing but a time that is told in numbers.
    fn fill_text(
        &self,
        template: &Template,
        place: &dyn Fn(&Piece) -> String,
    ) -> serde_json::Value {
        let text = template.fill(place);
        match template.0.as_slice() {
            [Piece::From | Piece::To] if self.params.time_text.is_number() => {
                text.parse::<i64>().map_or_else(|_| text.into(), Into::into)
            }
            _ => text.into(),
        }
    }

    fn table(&self, got: Vec<(Part<'_>, Got)>) -> Result<Table, SourceError> {
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

fn warnings(got: &[(Part<'_>, Got)]) -> Vec<String> {
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

fn told(span: Span) -> String {
    format!(
        "{} to {} UTC",
        format_short(span.from),
        format_short(span.to)
    )
}

/// How many instants there are: rows that come twice hide no gap.
fn distinct<'t>(times: impl Iterator<Item = &'t i64>) -> usize {
    let mut times: Vec<i64> = times.copied().collect();
    times.sort_unstable();
    times.dedup();
    times.len()
}

fn at_end(rows: &Rows, range: Option<Span>) -> usize {
    range.map_or(0, |span| {
        rows.times.iter().filter(|time| **time == span.to).count()
    })
}

fn with_parameters(url: String, parameters: &[(String, Value)]) -> String {
    parameters.iter().fold(url, |url, (name, value)| {
        let mark = if url.contains('?') { '&' } else { '?' };
        let value = percent::encode(&value.to_string());
        format!("{url}{mark}{}={value}", percent::encode(name))
    })
}

/// How many rows have values for the first time, how many have others than before, and how many had
/// values and are gone. Both are sorted.
fn compare(before: &Rows, now: &Rows) -> (News, usize) {
    let same = |a: f64, b: f64| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
    let mut news = News {
        new: 0,
        corrected: 0,
    };
    let (mut old, mut gone) = (0, 0);
    let was_known = |old: usize| usize::from(before.is_known(old));
    for (row, &time) in now.times.iter().enumerate() {
        while before.times.get(old).is_some_and(|&before| before < time) {
            gone += was_known(old);
            old += 1;
        }
        if before.times.get(old) != Some(&time) || !before.is_known(old) {
            news.new += usize::from(now.is_known(row));
        } else {
            let pairs = before.columns.iter().zip(&now.columns);
            let mut pairs = pairs.map(|(a, b)| same(a[old], b[row]));
            news.corrected += usize::from(!pairs.all(|same| same));
            // Of rows with one time the first is compared with the first.
            old += 1;
        }
    }
    gone += (old..before.len()).map(was_known).sum::<usize>();
    (news, gone)
}

#[cfg(test)]
mod tests;
