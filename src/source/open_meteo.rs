//! Open-Meteo: hourly values of places in SI units and UTC, of days or as a forecast.
//!
//! A long range is split into requests on a fixed grid of days, so that the same days are always
//! asked for in the same way. Days that were over for longer than the `overlap` when they were
//! asked for are final: they are answered from the stored bodies without a request. The others are
//! asked for again, and what is new or corrected in them is counted. So the table depends on the
//! data only, not on what was fetched before.
//!
//! An answer must have every hour that was asked for, every variable, and the units that belong to
//! them; `null` is a missing value. Hours at the end without any value are not there yet and are cut.
//!
//! A forecast is another thing, because it is true of the moment at which it was asked for: see
//! `issues`.

mod body;
mod issues;
mod rows;

use std::cell::RefCell;
use std::ops::Range;
use std::time::Duration;

use body::{Body, Expected, HOUR, Hours, compare, refused, unit_of};

use super::http::{Answer, Ask, Client, Clock, Credential, Limits, Refused, SystemClock};
use super::pool::{self, Tell, Told};
use super::stored::stored_ones;
use super::{Asked, Fetched, News, Source, SourceError, check_requests};
use crate::data::SeriesError;
use crate::params::{Days, DaysWanted, OpenMeteoSource, Place, Places, Wanted};
use crate::time::{DAY, format_short, format_utc};

pub(super) struct OpenMeteo<'a> {
    pub(super) params: &'a OpenMeteoSource,
}

impl Source for OpenMeteo<'_> {
    fn inputs(&self) -> Vec<String> {
        match &self.params.wanted {
            Wanted::Forecast(forecast) => forecast.earlier.iter().cloned().collect(),
            Wanted::Days(_) => Vec::new(),
        }
    }

    fn fetch(&self, asked: &mut Asked<'_>) -> Result<Fetched, SourceError> {
        let clock = SystemClock::new();
        let token = self.params.token.as_ref();
        // Stored answers need no token.
        let token = token.filter(|_| !asked.offline);
        let credential = token.map(|token| Credential::find(token, asked.root));
        let credential = credential.transpose()?;
        let client = Client::new(asked.root, self.limits(), &clock, credential, asked.offline)?;
        self.collect(&client, &clock, asked)
    }
}

/// Days, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    first: i64,
    last: i64,
}

impl Part {
    fn start(self) -> i64 {
        self.first * DAY
    }

    fn hours(self) -> usize {
        ((self.last - self.first + 1) * DAY / HOUR) as usize
    }
}

/// One request.
struct Job {
    /// Some of the places, by their numbers.
    places: Range<usize>,
    part: Part,
    ask: Ask,
}

/// What a request gave, compared with what was stored of it.
struct Got {
    /// Of each of its places.
    hours: Vec<Hours>,
    news: News,
    /// What would have been asked for, where an older answer stands for it.
    older: Option<String>,
}

impl<'a> OpenMeteo<'a> {
    fn collect(
        &self,
        client: &Client<'_>,
        clock: &dyn Clock,
        asked: &mut Asked<'_>,
    ) -> Result<Fetched, SourceError> {
        match &self.params.wanted {
            Wanted::Days(wanted) => self.days(wanted, client, clock, asked),
            Wanted::Forecast(wanted) => self.forecast(wanted, client, clock, asked),
        }
    }

    fn days(
        &self,
        wanted: &DaysWanted,
        client: &Client<'_>,
        clock: &dyn Clock,
        asked: &mut Asked<'_>,
    ) -> Result<Fetched, SourceError> {
        let now = clock.now();
        let today = now.div_euclid(DAY);
        let groups = self.groups();
        let requests = requests(wanted.days, wanted.days_per_request, today);
        check_requests(
            requests.saturating_mul(groups.len() as i64),
            "a larger `days_per_request` or `places_per_request`, or a later `from`,",
        )?;
        let parts = parts(wanted.days, wanted.days_per_request, today);
        let mut jobs = Vec::new();
        for places in groups {
            for &part in &parts {
                let ask = Ask {
                    may_be_older: is_open(wanted.days),
                    ..self.ask_days(&places, part, wanted.overlap_s, now)
                };
                let places = places.clone();
                jobs.push(Job { places, part, ask });
            }
        }
        let got = self.get_all(client, clock, &jobs, asked)?;
        let alike = |one: &Job, other: &Job| one.places == other.places;
        let got = stored_ones(got, &jobs, is_open(wanted.days), alike, |got| {
            got.older.as_deref()
        })?;
        let news = (!asked.offline).then(|| got.iter().map(|(_, got)| got.news).sum());
        let mut places: Vec<(Option<&str>, Vec<Hours>)> = self
            .places()
            .into_iter()
            .map(|(name, _)| (name, Vec::new()))
            .collect();
        let start = first_day(wanted.days, today) * DAY;
        for (job, got) in got {
            for (place, hours) in job.places.clone().zip(got.hours) {
                places[place].1.push(hours.from(start));
            }
        }
        let names: Vec<String> = self.expected().into_iter().map(|e| e.name).collect();
        let table = if wanted.by_issue {
            rows::by_issue(&places, &names, &self.leads(), wanted.issued_every_s)
        } else {
            rows::of_days(&places, &names)
        };
        let table = table.map_err(|source| self.no_table(source))?;
        Ok(Fetched::of(table, news))
    }

    /// The answers to all requests in their order, a few under way at once; offline, the URL of what
    /// is not stored.
    fn get_all(
        &self,
        client: &Client<'_>,
        clock: &dyn Clock,
        jobs: &[Job],
        asked: &mut Asked<'_>,
    ) -> Result<Vec<Result<Got, String>>, SourceError> {
        let offline = asked.offline;
        let work = |job: usize, _: Tell<'_>| match self.get(client, clock, &jobs[job]) {
            Err(SourceError::NotStored { url }) if offline => Ok(Err(url)),
            got => got.map(Ok),
        };
        let (mut done, mut rows) = (0, 0);
        let mut heard = |told: &Told<Result<Got, String>>| {
            if let Told::Done(_, one) = told {
                done += 1;
                let hours = one.iter().flat_map(|one| &one.hours);
                rows += hours.map(Hours::rows).sum::<usize>();
                (asked.progress)(done, jobs.len(), rows);
            }
        };
        pool::each(client, jobs.len(), &work, &mut heard)
    }

    fn get(&self, client: &Client<'_>, clock: &dyn Clock, job: &Job) -> Result<Got, SourceError> {
        let ask = &job.ask;
        // What was read to judge an answer is the answer; it is not read again.
        let accepted = RefCell::new(None);
        let accept = |body: &[u8]| {
            if ask.until.is_some_and(|until| clock.now() >= until) {
                // It may know more than its issue could.
                let message = "the answer came after the step of its issue; fetch again";
                return Err(refused(message.to_owned()));
            }
            *accepted.borrow_mut() = Some(self.read(body, job)?);
            Ok(())
        };
        let Answer {
            body,
            before,
            asked,
            older,
            ..
        } = client.get(ask, &accept)?;
        let told = |refused: Refused| SourceError::Http {
            url: ask.url.clone(),
            message: refused.message,
        };
        let hours = match accepted.into_inner() {
            Some(hours) => hours,
            None if asked => self.read(&body, job).map_err(told)?,
            // A stored body may be of a day when the part was not over, or of other variables.
            None => self.read_stored(&body, job).map_err(told)?,
        };
        let mut news = News::default();
        let before = before.map(|before| {
            if before == body {
                hours.clone()
            } else {
                self.read_stored(&before, job).unwrap_or_default()
            }
        });
        for (place, hours) in hours.iter().enumerate().filter(|_| asked) {
            match before.as_ref().and_then(|before| before.get(place)) {
                Some(before) => news += compare(before, hours),
                None => news.new += hours.rows(),
            }
        }
        Ok(Got {
            hours,
            news,
            older: older.then(|| ask.url.clone()),
        })
    }

    /// An answer that must be whole.
    fn read(&self, body: &[u8], job: &Job) -> Result<Vec<Hours>, Refused> {
        let all = self.read_stored(body, job)?;
        let expected = job.part.hours();
        for (place, hours) in job.places.clone().zip(&all) {
            if hours.rows() != expected {
                let message = format!(
                    "expected {expected} hours to {} UTC, received {} to {} UTC",
                    format_short((job.part.last + 1) * DAY - HOUR),
                    hours.rows(),
                    format_short(hours.time(hours.rows()) - HOUR),
                );
                return Err(self.of_place(place, refused(message)));
            }
        }
        Ok(all)
    }

    /// An answer that may end early, as of an earlier day; it starts where it must and has no gap.
    fn read_stored(&self, body: &[u8], job: &Job) -> Result<Vec<Hours>, Refused> {
        let (expected, longest) = (self.expected(), job.part.hours());
        let bodies = body::parse(body, job.places.len())?;
        let read = |(place, body): (usize, Body)| {
            let hours = body.hours(job.part.start(), &expected);
            let hours = hours.map_err(|refused| self.of_place(place, refused))?;
            match hours.rows() {
                rows if rows > longest => {
                    let message = format!("expected {longest} hours, received {rows}");
                    Err(self.of_place(place, refused(message)))
                }
                _ => Ok(hours),
            }
        };
        job.places.clone().zip(bodies).map(read).collect()
    }

    /// Which place it is, where there are several.
    fn of_place(&self, place: usize, refused: Refused) -> Refused {
        match self.places().get(place) {
            Some((Some(name), _)) => Refused {
                message: format!("{name}: {}", refused.message),
                ..refused
            },
            _ => refused,
        }
    }

    /// The places with their names, in the order of these.
    fn places(&self) -> Vec<(Option<&'a str>, Place)> {
        match &self.params.places {
            Places::One(place) => vec![(None, *place)],
            Places::Named(places) => {
                let named = places.iter();
                named
                    .map(|(name, &place)| (Some(name.as_str()), place))
                    .collect()
            }
        }
    }

    /// The places that one request asks for.
    fn groups(&self) -> Vec<Range<usize>> {
        let (all, step) = (self.places().len(), self.params.places_per_request);
        let starts = (0..all).step_by(step);
        starts.map(|start| start..(start + step).min(all)).collect()
    }

    /// The URL without its days.
    fn url(&self, places: &Range<usize>) -> String {
        let params = self.params;
        let all = self.places();
        let join = |of: fn(&Place) -> f64| {
            let places = all[places.clone()].iter();
            let texts: Vec<String> = places.map(|(_, place)| of(place).to_string()).collect();
            texts.join(",")
        };
        let url = format!(
            "{}?latitude={}&longitude={}&hourly={}&wind_speed_unit=ms&timezone=UTC&timeformat=iso8601",
            params.url,
            join(|place| place.latitude),
            join(|place| place.longitude),
            params.variables.join(","),
        );
        match params.models.as_slice() {
            [] => url,
            models => format!("{url}&models={}", models.join(",")),
        }
    }

    fn ask_days(&self, places: &Range<usize>, part: Part, overlap_s: i64, now: i64) -> Ask {
        let mut slot = format!("{}&start_date={}", self.url(places), date(part.first));
        let url = format!("{slot}&end_date={}", date(part.last));
        // Who asks may decide what comes.
        if let Some(token) = &self.params.token {
            slot = format!("{slot} token of {}", token.place);
        }
        let settled = (part.last + 1) * DAY + overlap_s;
        Ask {
            slot,
            url,
            final_since: (settled <= now).then_some(settled),
            ..Ask::default()
        }
    }

    /// Each variable, with its model where there are several.
    fn variables(&self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> {
        let params = self.params;
        let models: Vec<Option<&str>> = match params.models.as_slice() {
            [] | [_] => vec![None],
            models => models.iter().map(|model| Some(model.as_str())).collect(),
        };
        let of = move |variable: &'a String| {
            let models = models.clone().into_iter();
            models.map(move |model| (variable.as_str(), model))
        };
        params.variables.iter().flat_map(of)
    }

    /// The columns that an answer must have, with the unit where it is known.
    fn expected(&self) -> Vec<Expected> {
        let expected = |(variable, model): (&str, Option<&str>)| Expected {
            name: match model {
                Some(model) => format!("{variable}_{model}"),
                None => variable.to_owned(),
            },
            unit: unit_of(variable),
        };
        self.variables().map(expected).collect()
    }

    /// For each of these columns, what it is called without its lead.
    fn leads(&self) -> Vec<rows::Lead> {
        let lead = |(variable, model)| rows::lead(variable, model);
        self.variables().map(lead).collect()
    }

    fn limits(&self) -> Limits {
        let params = self.params;
        let between = params
            .requests
            .per_minute
            .or(params.counted)
            .map_or(Duration::ZERO, |calls| {
                Duration::from_mins(1).mul_f64(self.weight() / f64::from(calls))
            });
        Limits {
            between,
            ..Limits::from(&params.requests)
        }
    }

    /// For how many calls a request of the largest size counts: more than ten variables or two
    /// weeks are several, and so is each place.
    fn weight(&self) -> f64 {
        let days = match &self.params.wanted {
            Wanted::Days(wanted) => match wanted.days {
                Days::Past(days) => wanted.days_per_request.min(days + 1),
                Days::Range { from, to: Some(to) } => wanted.days_per_request.min(to - from + 1),
                Days::Range { to: None, .. } => wanted.days_per_request,
            },
            Wanted::Forecast(wanted) => wanted.past_days + wanted.forecast_days,
        };
        let places = self.places().len().min(self.params.places_per_request);
        let variables = self.variables().count();
        places as f64 * (variables as f64 / 10.0).max(1.0) * (days as f64 / 14.0).max(1.0)
    }

    fn no_table(&self, source: SeriesError) -> SourceError {
        SourceError::Table {
            file: self.params.url.clone(),
            source,
        }
    }
}

/// Whether there is no fixed end: the last part is a longer one tomorrow.
fn is_open(days: Days) -> bool {
    !matches!(days, Days::Range { to: Some(_), .. })
}

/// The first day that is wanted.
fn first_day(days: Days, today: i64) -> i64 {
    match days {
        Days::Range { from, .. } => from,
        Days::Past(days) => today - days,
    }
}

/// From which day to which one is asked, and the days between two lines of the grid. Where the first
/// day is another one each day, its part of the grid is asked for whole, so that it stays the same.
fn grid(days: Days, length: i64, today: i64) -> (i64, i64, i64) {
    match days {
        Days::Range { from, to } => (from, to.unwrap_or(today), length),
        Days::Past(days) => {
            let length = length.min(days + 1);
            let first = (today - days).div_euclid(length) * length;
            (first, today, length)
        }
    }
}

/// How many parts there will be.
fn requests(days: Days, length: i64, today: i64) -> i64 {
    let (from, to, length) = grid(days, length, today);
    if from > to {
        return 0;
    }
    to.div_euclid(length) - from.div_euclid(length) + 1
}

/// The days asked for, on a grid of `length` days that every range shares.
fn parts(days: Days, length: i64, today: i64) -> Vec<Part> {
    let (from, to, length) = grid(days, length, today);
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

#[cfg(test)]
mod tests;
