//! The answer to one request: its pages, whether they are whole, and what is new in them.

use std::cell::RefCell;

use super::answer::{Page, Reader, Rows};
use super::pages::{Pages, Target};
use super::ranges::{Part, Span};
use super::{DAY, History};
use crate::data::same_value;
use crate::source::http::{Answer, Ask, Client, Refused};
use crate::source::pool::Tell;
use crate::source::{News, SourceError};
use crate::time::{Step, format_short};

/// What came of a part.
pub(super) struct Got {
    pub(super) rows: Rows,
    pub(super) news: News,
    /// Rows that were there before and are no longer.
    pub(super) gone: usize,
    pub(super) outside: usize,
    pub(super) warning: Option<String>,
    /// What would have been asked for, where an older answer stands for it.
    pub(super) older: Option<String>,
}

/// How the pages of a part are asked for.
#[derive(Clone, Copy)]
struct Manner {
    final_since: Option<i64>,
    may_be_older: bool,
    fresh: bool,
}

/// All pages of an answer.
struct Whole {
    rows: Rows,
    /// What was stored before, as far as it was asked for again.
    before: Rows,
    outside: usize,
    older: Option<String>,
}

/// One page of an answer.
struct OnePage {
    page: Page,
    /// What was stored in its place before.
    old: Rows,
    /// Whether its body is a stored one.
    stored: bool,
    /// Whether that is the answer to another request.
    older: bool,
}

/// Why there is no whole answer.
struct Broken {
    error: Box<SourceError>,
    /// What was refused, where another try of all pages may be better.
    again: Option<String>,
    /// Whether a page came from the store.
    stored: bool,
}

impl Broken {
    /// Nothing is won by another try.
    fn for_good(error: SourceError, stored: bool) -> Self {
        Self {
            error: error.into(),
            again: None,
            stored,
        }
    }

    fn refused(client: &Client<'_>, ask: &Ask, refused: Refused, stored: bool) -> Self {
        let again = refused.may_pass.then(|| refused.message.clone());
        Self {
            error: client.error(ask, refused.message).into(),
            again,
            stored,
        }
    }

    /// After pages of which some came from the store.
    fn after(self, stored: bool) -> Self {
        Self {
            stored: self.stored || stored,
            ..self
        }
    }
}

impl History<'_> {
    /// What one request brings. Pages that were stored are all asked for again where they do not fit.
    pub(super) fn get(
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
        let mut manner = Manner {
            final_since,
            may_be_older: self.is_open(now),
            fresh: false,
        };
        let mut attempt = 1;
        let whole = loop {
            let broken = match self.walk(client, reader, part, manner, tell) {
                Ok(whole) => break whole,
                Err(broken) => broken,
            };
            let again = broken
                .again
                .filter(|_| attempt < self.params.requests.attempts);
            match again {
                _ if client.is_offline() => return Err(*broken.error),
                // Stored pages may not fit to what the service knows now.
                _ if broken.stored && !manner.fresh => {}
                Some(message) => {
                    let ask = self.ask(part, &Target::default(), final_since);
                    if client
                        .wait_to_try_again(&ask, &message, attempt, None)
                        .is_err()
                    {
                        return Err(*broken.error);
                    }
                    attempt += 1;
                }
                None => return Err(*broken.error),
            }
            manner.fresh = true;
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
            older: whole.older,
        })
    }

    /// All pages of one part.
    fn walk(
        &self,
        client: &Client<'_>,
        reader: &Reader<'_>,
        part: Part<'_>,
        manner: Manner,
        tell: Tell<'_>,
    ) -> Result<Whole, Broken> {
        let final_since = manner.final_since;
        let columns = self.params.answer.columns.len();
        let (mut rows, mut before) = (Rows::empty(columns), Rows::empty(columns));
        let mut pages = Pages::new(self.params.paging.as_ref(), self.params.pages_at_most);
        let (mut received, mut stored, mut older) = (0, false, None);
        let mut target = pages.first();
        let mut url = None;
        loop {
            let ask = self.ask_page(client, part, &target, url.as_deref(), final_since);
            let ask = ask.map_err(|error| Broken::for_good(error, stored))?;
            let ask = Ask {
                fresh: manner.fresh,
                may_be_older: manner.may_be_older,
                ..ask
            };
            let got = self.page(client, reader, part, &ask, final_since);
            let got = got.map_err(|broken| broken.after(stored))?;
            stored |= got.stored;
            older = older.or_else(|| got.older.then(|| ask.url.clone()));
            let page = got.page;
            tell(target.number, page.received);
            received += page.received;
            before.append(got.old);
            let next = pages.next(&page).map_err(|message| {
                let message = format!("page {}: {message}", target.number + 1);
                Broken::for_good(client.error(&ask, message), stored)
            })?;
            rows.append(page.rows);
            let Some(next) = next else {
                if self.params.paging.is_some() {
                    self.check_whole(part, &rows, received, page.total, final_since)
                        .map_err(|refused| Broken::refused(client, &ask, refused, stored))?;
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
            older,
        })
    }

    /// One page, which is the whole answer where there is no paging.
    fn page(
        &self,
        client: &Client<'_>,
        reader: &Reader<'_>,
        part: Part<'_>,
        ask: &Ask,
        final_since: Option<i64>,
    ) -> Result<OnePage, Broken> {
        let read = RefCell::new(None);
        let accept = |body: &[u8]| {
            let page = reader.read(body)?;
            if self.params.paging.is_none() {
                self.check_whole(part, &page.rows, page.received, page.total, final_since)?;
            }
            read.replace(Some(page));
            Ok(())
        };
        let answer = client.get(ask, &accept);
        let Answer {
            body,
            before,
            asked,
            stored,
            older,
        } = answer.map_err(|error| Broken::for_good(error, false))?;
        let page = match read.take() {
            Some(page) => Ok(page),
            None => accept(&body).map(|()| read.take().unwrap_or_default()),
        };
        let page: Page = page.map_err(|refused| Broken::refused(client, ask, refused, stored))?;
        let old = match before {
            _ if !asked => page.rows.clone(),
            Some(before) if before == body => page.rows.clone(),
            // What can no longer be read was nothing.
            Some(before) => reader
                .read(&before)
                .map(|page| page.rows)
                .unwrap_or_default(),
            None => Rows::default(),
        };
        Ok(OnePage {
            page,
            old,
            stored,
            older,
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
                span.told(),
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
                span.told()
            )
        })
    }
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

/// How many rows have values for the first time, how many have others than before, and how many had
/// values and are gone. Both are sorted.
pub(super) fn compare(before: &Rows, now: &Rows) -> (News, usize) {
    let mut news = News::default();
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
            let mut pairs = pairs.map(|(a, b)| same_value(a[old], b[row]));
            news.corrected += usize::from(!pairs.all(|same| same));
            // Of rows with one time the first is compared with the first.
            old += 1;
        }
    }
    gone += (old..before.len()).map(was_known).sum::<usize>();
    (news, gone)
}
