//! The three parts of a data set in time.
//!
//! The borders are times, the same for every series: a model that is trained on one station must not have
//! seen the future of another one.

mod windows;

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::{Block, Layout};
use crate::params::{Borders, SplitParams};
use crate::time::{Step, format_utc, parse_time};

pub use windows::{FewComplete, NoWindow, Window, issues_within};

/// Train, validation and test: spans of time in this order, none empty, with gaps between them
/// where that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Spans", into = "Spans")]
pub struct Split {
    train: Span,
    validation: Span,
    test: Span,
    history: bool,
}

/// From a time up to another one, which is not part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    from: i64,
    until: i64,
}

/// How a split is written down.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spans {
    train: SpanAsWritten,
    validation: SpanAsWritten,
    test: SpanAsWritten,
    /// Whether windows may look back into the part before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    history: bool,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SpanAsWritten {
    from: String,
    until: String,
}

/// A part of a split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The earliest.
    Train,
    /// After it.
    Validation,
    /// The latest.
    Test,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        })
    }
}

/// A part of a split without a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "prepare.split leaves the {part} part without a row: it is from {} up to {}, the data are from {} up to {}",
    format_utc(*.from), format_utc(*.until), format_utc(*.first), format_utc(*.end)
)]
pub struct EmptyPart {
    part: Part,
    from: i64,
    until: i64,
    first: i64,
    end: i64,
}

impl Split {
    /// All parts.
    pub const PARTS: [Part; 3] = [Part::Train, Part::Validation, Part::Test];

    /// Cuts the time of all series, as far as anything was observed: up to, and without, `observed_end`.
    pub fn new(
        layout: &Layout,
        params: &SplitParams,
        observed_end: Option<i64>,
    ) -> Result<Self, EmptyPart> {
        let step = layout.step().seconds();
        let first = layout.blocks().iter().map(|block| block.start).min();
        let end = |block: &Block| block.time(block.rows.end, layout.step());
        let end = layout.blocks().iter().map(end).max();
        let end = end.map(|end| observed_end.map_or(end, |observed| observed.min(end)));
        let (first, end) = (first.unwrap_or_default(), end.unwrap_or_default());
        let (validation, test) = match params.borders {
            Borders::Shares(shares) => {
                let rows = ((end - first) / step) as usize;
                let border = |share| first + border(rows, share) as i64 * step;
                let validation = border(shares.train);
                (validation, border(shares.train + shares.validation))
            }
            Borders::Dates {
                validation_from,
                test_from,
            } => (validation_from, test_from),
        };
        let split = Self {
            train: Span::new(first, validation - params.purge_s),
            validation: Span::new(validation, test - params.purge_s),
            test: Span::new(test, end),
            history: params.history,
        };
        let is_empty = |part: &Part| split.count(*part, layout) == 0;
        match Self::PARTS.into_iter().find(is_empty) {
            None => Ok(split),
            Some(part) => {
                let Span { from, until } = split.span(part);
                Err(EmptyPart {
                    part,
                    from,
                    until,
                    first,
                    end,
                })
            }
        }
    }

    fn span(&self, part: Part) -> Span {
        match part {
            Part::Train => self.train,
            Part::Validation => self.validation,
            Part::Test => self.test,
        }
    }

    /// The rows of a part within one series.
    pub fn rows(&self, part: Part, block: &Block, step: Step) -> Range<usize> {
        let span = self.span(part);
        let first = block.row_at(span.from, step);
        first..block.row_at(span.until, step).max(first)
    }

    /// The rows of a part in each series.
    pub fn ranges(&self, part: Part, layout: &Layout) -> Vec<Range<usize>> {
        let blocks = layout.blocks().iter();
        blocks
            .map(|block| self.rows(part, block, layout.step()))
            .collect()
    }

    /// How many rows a part has in all series.
    pub fn count(&self, part: Part, layout: &Layout) -> usize {
        self.ranges(part, layout)
            .iter()
            .map(ExactSizeIterator::len)
            .sum()
    }

    /// The first time that is not part of the training part any more.
    pub fn train_until(&self) -> i64 {
        self.train.until
    }

    /// The first time that no model sees which is fitted to the parts before the test part.
    pub fn validation_until(&self) -> i64 {
        self.validation.until
    }

    /// Where the test part begins.
    pub fn test_from(&self) -> i64 {
        self.test.from
    }
}

/// The rows before the end of a share. 0.7 + 0.1 is a little less than 0.8; a border must not move
/// by a row for that.
fn border(rows: usize, share: f64) -> usize {
    (rows as f64 * share + 1e-6).floor() as usize
}

impl Span {
    fn new(from: i64, until: i64) -> Self {
        Self { from, until }
    }
}

impl TryFrom<Spans> for Split {
    type Error = String;

    fn try_from(spans: Spans) -> Result<Self, String> {
        let span = |written: &SpanAsWritten| {
            let time = |text: &str| parse_time(text, None, 0).ok_or(format!("no time: {text}"));
            Ok::<_, String>(Span::new(time(&written.from)?, time(&written.until)?))
        };
        let split = Self {
            train: span(&spans.train)?,
            validation: span(&spans.validation)?,
            test: span(&spans.test)?,
            history: spans.history,
        };
        let parts = [split.train, split.validation, split.test];
        let filled = parts.iter().all(|part| part.from < part.until);
        let in_order = parts.windows(2).all(|pair| pair[0].until <= pair[1].from);
        if filled && in_order {
            Ok(split)
        } else {
            Err("train, validation and test must follow in this order and none be empty".to_owned())
        }
    }
}

impl From<Split> for Spans {
    fn from(split: Split) -> Self {
        let span = |span: Span| SpanAsWritten {
            from: format_utc(span.from),
            until: format_utc(span.until),
        };
        Self {
            train: span(split.train),
            validation: span(split.validation),
            test: span(split.test),
            history: split.history,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::SplitShares;

    pub(super) fn shares(purge_s: i64) -> SplitParams {
        SplitParams {
            borders: Borders::Shares(SplitShares {
                train: 0.7,
                validation: 0.1,
                test: 0.2,
            }),
            purge_s,
            history: false,
        }
    }

    pub(super) fn layout(rows: usize) -> Layout {
        Layout::single(0, Step::HOUR, rows)
    }

    #[test]
    fn a_purge_lies_between_the_parts() {
        let layout = layout(100);
        let split = Split::new(&layout, &shares(5 * 3600), None).expect("three parts");
        let ranges = Split::PARTS.map(|part| split.ranges(part, &layout).remove(0));
        assert_eq!(ranges, [0..65, 70..75, 80..100]);
        assert!(Split::new(&layout, &shares(10 * 3600), None).is_err());
        let dates = SplitParams {
            borders: Borders::Dates {
                validation_from: 3600 * 50 - 1,
                test_from: 3600 * 60,
            },
            ..shares(0)
        };
        let split = Split::new(&layout, &dates, None).expect("three parts");
        let ranges = Split::PARTS.map(|part| split.ranges(part, &layout).remove(0));
        assert_eq!(ranges, [0..50, 50..60, 60..100]);
        let json = serde_json::to_string(&split).expect("JSON");
        assert_eq!(
            serde_json::from_str::<Split>(&json).expect("a split"),
            split
        );
        let odd = json.replacen("1970-01-03T01:59:59Z", "1970-01-03T11:00:00Z", 1);
        assert!(serde_json::from_str::<Split>(&odd).is_err());
    }

    #[test]
    fn borders_are_the_same_time_for_every_series() {
        let series = [
            ("a".into(), 0, 100),
            ("b".into(), 3600 * 60, 40),
            ("c".into(), 0, 5),
        ];
        let layout = Layout::new(Step::HOUR, series);
        let split = Split::new(&layout, &shares(0), None).expect("three parts");
        assert_eq!(
            split.ranges(Part::Train, &layout),
            [0..70, 100..110, 140..145]
        );
        assert_eq!(
            split.ranges(Part::Validation, &layout),
            [70..80, 110..120, 145..145]
        );
        assert_eq!(
            split.ranges(Part::Test, &layout),
            [80..100, 120..140, 145..145]
        );
    }
}
