//! What is asked for: stations, and ranges of times on a fixed grid.

use super::{DAY, History};
use crate::params::{Range, Station};
use crate::source::{SourceError, check_requests};
use crate::time::format_short;

const MINUTE: i64 = 60;

/// One request, or several pages of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part<'p> {
    pub(super) station: Option<&'p Station>,
    pub(super) range: Option<Span>,
}

/// Times, the end not included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: i64,
    pub(super) to: i64,
}

impl Span {
    /// As messages tell it.
    pub(super) fn told(self) -> String {
        format!(
            "{} to {} UTC",
            format_short(self.from),
            format_short(self.to)
        )
    }
}

impl History<'_> {
    /// What is asked for, for one station after another.
    pub(super) fn parts(&self, now: i64) -> Result<Vec<Part<'_>>, SourceError> {
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

    /// Whether there is no fixed end, or one that is yet to come: the last range is a longer one later.
    pub(super) fn is_open(&self, now: i64) -> bool {
        self.params
            .range
            .is_some_and(|range| range.to != Some(self.end(range, now)))
    }

    /// The ranges of all requests, on a grid that does not depend on where they begin.
    pub(super) fn spans(&self, range: Range, now: i64) -> Vec<Span> {
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
}
