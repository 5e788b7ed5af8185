//! The three parts of a data set in time, and the windows in each.
//!
//! A window is a lookback and the horizon after it, named by its *issue row*: the last row of the
//! lookback. No window crosses a border between parts or from one series to the next. None looks back
//! on a missing value; of its horizon some must have been observed, and what was not counts neither
//! in training nor in scores. With `history` the lookback alone may reach into the part before: it
//! was observed by then, and published comparisons count these windows too. The borders are times,
//! the same for every series: a model that is trained on one station must not have seen the future
//! of another one.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::frame::{Frame, Role};
use super::{Block, Layout};
use crate::params::{Borders, SplitParams};
use crate::time::{Step, format_utc, parse_time};

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

/// A part without a window.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the {part} part has no window, {} complete rows with an observation in the {} after them{}: it has {rows} \
     rows{}; try a shorter model.lookback, a larger share in prepare.split, prepare.split.history, or \
     prepare.fill for gaps",
    .window.lookback, .window.horizon,
    if *.forecasts { " and forecasts from outside for all of these" } else { "" },
    .sparsest.as_ref().map_or(String::new(), |(name, missing)| {
        format!(", and `{name}` is missing in {missing} of them")
    })
)]
pub struct NoWindow {
    part: Part,
    window: Window,
    rows: usize,
    /// Whether a window needs forecasts from outside.
    forecasts: bool,
    /// The column that is missing in most rows, and in how many; none where nothing is missing.
    sparsest: Option<(String, usize)>,
}

/// A part most of whose windows look back on a gap.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{complete} of {all} windows of the {part} part look back on complete rows: `{}` is missing in {} of its {rows} rows; prepare.fill \
     with `method: last` fills gaps up to any `up_to`, and tells the model where",
    .sparsest.0, .sparsest.1
)]
pub struct FewComplete {
    part: Part,
    complete: usize,
    all: usize,
    rows: usize,
    /// The column that is missing in most rows, and in how many.
    sparsest: (String, usize),
}

impl Split {
    /// All parts.
    pub const PARTS: [Part; 3] = [Part::Train, Part::Validation, Part::Test];

    /// Cuts the time of all series.
    pub fn new(layout: &Layout, params: &SplitParams) -> Result<Self, EmptyPart> {
        let step = layout.step().seconds();
        let first = layout.blocks().iter().map(|block| block.start).min();
        let end = |block: &Block| block.time(block.rows.end, layout.step());
        let end = layout.blocks().iter().map(end).max();
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

    /// [`Self::issues`], at least one.
    pub fn some_issues(
        &self,
        part: Part,
        frame: &Frame,
        window: Window,
    ) -> Result<Vec<usize>, NoWindow> {
        let issues = self.issues(part, frame, window);
        if issues.is_empty() {
            return Err(NoWindow {
                part,
                window,
                rows: self.count(part, &frame.layout),
                forecasts: !frame.columns_with(Role::Forecast).is_empty(),
                sparsest: self.sparsest(part, frame, |_| true),
            });
        }
        Ok(issues)
    }

    /// The column of which most rows of a part have no value, and how many these are.
    fn sparsest(
        &self,
        part: Part,
        frame: &Frame,
        counts: impl Fn(Role) -> bool,
    ) -> Option<(String, usize)> {
        let rows = || self.ranges(part, &frame.layout).into_iter().flatten();
        let missing = |column: usize| rows().filter(|&row| frame.at(row, column).is_nan()).count();
        let columns = frame.columns.iter().enumerate();
        let columns = columns.filter(|(_, column)| counts(column.role));
        let all = columns.map(|(place, column)| (column.name.clone(), missing(place)));
        // Of several alike the first one.
        let most = all.rev().max_by_key(|(_, missing)| *missing);
        most.filter(|(_, missing)| *missing > 0)
    }

    /// The issue rows of all windows of a part whose lookback is complete in every column and
    /// whose horizon is complete in the columns known in the future, and has a value of some target that
    /// was observed.
    pub fn issues(&self, part: Part, frame: &Frame, window: Window) -> Vec<usize> {
        let gaps = Gaps::of(frame, 0..frame.rows());
        let rows = self.rows_to_issue_from(part, &frame.layout, window);
        rows.flat_map(|rows| gaps.issues(rows, window)).collect()
    }

    /// What is to be said where less than half of the windows of a part look back on complete rows. Forecasts from
    /// outside do not count: what they lack nobody can fill.
    pub fn few_complete(&self, part: Part, frame: &Frame, window: Window) -> Option<FewComplete> {
        let fillable = |role| role != Role::Forecast;
        let columns: Vec<usize> = (0..frame.width())
            .filter(|&column| fillable(frame.columns[column].role))
            .collect();
        // Rows before each one that have a gap.
        let mut gaps = vec![0_usize];
        for row in 0..frame.rows() {
            let has_gap = columns.iter().any(|&column| frame.at(row, column).is_nan());
            gaps.push(gaps[row] + usize::from(has_gap));
        }
        let is_complete = |issue: &usize| gaps[issue + 1] == gaps[issue + 1 - window.lookback];
        let rows = self.rows_to_issue_from(part, &frame.layout, window);
        let issues: Vec<usize> = rows.flat_map(|rows| rows.step_by(window.stride)).collect();
        let complete = issues
            .iter()
            .copied()
            .filter(|issue| is_complete(issue))
            .count();
        if complete * 2 >= issues.len() {
            return None;
        }
        Some(FewComplete {
            part,
            complete,
            all: issues.len(),
            rows: self.count(part, &frame.layout),
            sparsest: self.sparsest(part, frame, fillable)?,
        })
    }

    /// The rows of each series that a window of a part may be issued from, complete or not.
    fn rows_to_issue_from<'a>(
        &'a self,
        part: Part,
        layout: &'a Layout,
        window: Window,
    ) -> impl Iterator<Item = Range<usize>> + 'a {
        layout.blocks().iter().map(move |block| {
            let rows = self.rows(part, block, layout.step());
            let earliest = if self.history {
                block.rows.start
            } else {
                rows.start
            };
            // The row before a part is the first from which a forecast speaks of nothing but it.
            let first = (earliest + window.lookback).max(rows.start) - 1;
            first..rows.end.saturating_sub(window.horizon)
        })
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

/// The shape of windows: none of the three is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    lookback: usize,
    horizon: usize,
    stride: usize,
}

impl Window {
    /// `None` where one of them is zero.
    pub fn new(lookback: usize, horizon: usize, stride: usize) -> Option<Self> {
        (lookback > 0 && horizon > 0 && stride > 0).then_some(Self {
            lookback,
            horizon,
            stride,
        })
    }
}

/// The issue rows of all windows that lie within these rows of one series, and are complete as those of
/// a part are.
pub fn issues_within(frame: &Frame, rows: Range<usize>, window: Window) -> Vec<usize> {
    let gaps = Gaps::of(frame, rows.clone());
    let first = rows.start + window.lookback - 1;
    let end = rows.end.saturating_sub(window.horizon);
    gaps.issues(first..end, window).collect()
}

/// Running counts of some rows, so that a window within them is checked in constant time.
struct Gaps<'a> {
    frame: &'a Frame,
    /// The first of the rows.
    first: usize,
    /// With a missing value.
    past: Vec<u32>,
    /// With one that should be known in the future.
    ahead: Vec<u32>,
    /// With a target that was observed.
    told: Vec<u32>,
    forecasts: bool,
}

impl<'a> Gaps<'a> {
    fn of(frame: &'a Frame, rows: Range<usize>) -> Self {
        let (targets, known) = (frame.targets(), frame.columns_with(Role::Future));
        let mut gaps = Self {
            frame,
            first: rows.start,
            past: vec![0],
            ahead: vec![0],
            told: vec![0],
            forecasts: !frame.columns_with(Role::Forecast).is_empty(),
        };
        let (mut past, mut ahead, mut told) = (0, 0, 0);
        for row in rows {
            let values = frame.row(row);
            past += u32::from(values.iter().any(|value| value.is_nan()));
            ahead += u32::from(known.iter().any(|&c| values[c].is_nan()));
            told += u32::from(targets.iter().any(|&c| !frame.truth(row, c).is_nan()));
            gaps.past.push(past);
            gaps.ahead.push(ahead);
            gaps.told.push(told);
        }
        gaps
    }

    /// Those of some rows whose windows are complete.
    fn issues(&self, rows: Range<usize>, window: Window) -> impl Iterator<Item = usize> {
        let rows = rows.step_by(window.stride);
        rows.filter(move |&issue| self.allow(issue, window))
    }

    fn allow(&self, issue: usize, window: Window) -> bool {
        let seen = issue + 1 - self.first;
        let reach = || {
            self.frame
                .outlook
                .reach
                .get(issue)
                .map_or(0, |&reach| reach as usize)
        };
        self.past[seen] == self.past[seen - window.lookback]
            && self.ahead[seen + window.horizon] == self.ahead[seen]
            && self.told[seen + window.horizon] > self.told[seen]
            && self.frame.may_issue(issue)
            && (!self.forecasts || reach() >= window.horizon)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::frame::FrameColumn;
    use super::*;
    use crate::params::SplitShares;

    fn frame(values: Vec<f32>) -> Frame {
        let columns = vec![FrameColumn {
            name: "t".into(),
            role: Role::Target,
        }];
        Frame::single(0, Step::HOUR, columns, values)
    }

    fn shares(purge_s: i64) -> SplitParams {
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

    fn layout(rows: usize) -> Layout {
        Layout::single(0, Step::HOUR, rows)
    }

    #[test]
    fn a_gap_removes_the_windows_that_look_back_on_it_or_have_nothing_to_tell() {
        let mut values = vec![0.0; 100];
        values[35..37].fill(f32::NAN);
        let split = Split::new(&layout(100), &shares(0)).expect("three parts");
        let window = Window::new(4, 2, 1).expect("not zero");
        let mut frame = frame(values);
        let issues = split.issues(Part::Train, &frame, window);
        // One lead of the window of row 33 was observed, none of that of row 34.
        assert!(issues.contains(&33) && issues.contains(&40));
        assert!((34..40).all(|row| !issues.contains(&row)));
        // What was filled is seen, but tells nothing.
        frame.values[35..37].fill(0.0);
        let mut filled = vec![false; 100];
        filled[35..37].fill(true);
        frame.filled.insert(0, filled);
        let of_filled = split.issues(Part::Train, &frame, window);
        assert_eq!(
            (3..68)
                .filter(|row| !of_filled.contains(row))
                .collect::<Vec<_>>(),
            [34]
        );
        frame.filled.clear();
        let issues = split.issues(Part::Train, &frame, window);
        // Nothing is issued from a row that was filled with what came after it.
        frame.held = vec![false; 100];
        frame.held[50] = true;
        let held = split.issues(Part::Train, &frame, window);
        assert!(!held.contains(&50) && held.contains(&51) && held.len() + 1 == issues.len());
    }

    /// A gap in every sixth of 70 rows, or in every twelfth; windows of four rows and two ahead.
    #[test]
    fn it_is_told_where_most_windows_have_a_gap() {
        let split = Split::new(&layout(100), &shares(0)).expect("three parts");
        let told = |every: usize, stride| {
            let value = |row: usize| if row % every == 2 { f32::NAN } else { 0.0 };
            let frame = frame((0..100).map(value).collect());
            let window = Window::new(4, 2, stride).expect("not zero");
            let few = split.few_complete(Part::Train, &frame, window);
            few.map(|few| few.to_string())
        };
        assert_eq!(told(12, 1), None);
        assert_eq!(told(12, 5), None);
        let told = told(6, 1).expect("a third");
        assert!(
            told.starts_with("22 of 65 windows of the train part look back on complete rows: `t` is missing in 12 of its 70 rows;"),
            "{told}"
        );
    }

    #[test]
    fn parts_too_short_for_a_window_have_none() {
        let split = Split::new(&layout(10), &shares(0)).expect("three parts");
        let window = Window::new(4, 2, 1).expect("not zero");
        let frame = frame(vec![0.0; 10]);
        assert!(split.issues(Part::Validation, &frame, window).is_empty());
        let told = split
            .some_issues(Part::Validation, &frame, window)
            .expect_err("too short")
            .to_string();
        assert!(
            told.starts_with("the validation part has no window, 4 complete rows"),
            "{told}"
        );
        assert!(!told.contains("is missing"), "{told}");
        let frame = self::frame([0.0, 0.0, f32::NAN].repeat(4)[..10].to_vec());
        let told = split
            .some_issues(Part::Train, &frame, window)
            .expect_err("gaps")
            .to_string();
        assert!(told.contains("` is missing in 2 of them; try"), "{told}");
        let told = Split::new(&layout(2), &shares(0))
            .expect_err("too short")
            .to_string();
        assert_eq!(
            told,
            "prepare.split leaves the validation part without a row: it is from 1970-01-01T01:00:00Z up to \
             1970-01-01T01:00:00Z, the data are from 1970-01-01T00:00:00Z up to 1970-01-01T02:00:00Z"
        );
        assert!(Split::new(&layout(0), &shares(0)).is_err());
        assert_eq!(Window::new(0, 1, 1), None);
    }

    #[test]
    fn a_purge_lies_between_the_parts() {
        let layout = layout(100);
        let split = Split::new(&layout, &shares(5 * 3600)).expect("three parts");
        let ranges = Split::PARTS.map(|part| split.ranges(part, &layout).remove(0));
        assert_eq!(ranges, [0..65, 70..75, 80..100]);
        assert!(Split::new(&layout, &shares(10 * 3600)).is_err());
        let dates = SplitParams {
            borders: Borders::Dates {
                validation_from: 3600 * 50 - 1,
                test_from: 3600 * 60,
            },
            ..shares(0)
        };
        let split = Split::new(&layout, &dates).expect("three parts");
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
    fn with_history_only_the_lookback_crosses_a_border() {
        let layout = layout(100);
        let params = SplitParams {
            history: true,
            ..shares(0)
        };
        let split = Split::new(&layout, &params).expect("three parts");
        let window = Window::new(12, 3, 1).expect("not zero");
        let frame = frame(vec![0.0; 100]);
        let issues = |part| split.issues(part, &frame, window);
        assert_eq!(issues(Part::Train), (11..67).collect::<Vec<_>>());
        // As many windows as leads fit into a part, whatever the lookback.
        assert_eq!(issues(Part::Validation), (69..77).collect::<Vec<_>>());
        assert_eq!(issues(Part::Test), (79..97).collect::<Vec<_>>());
        let json = serde_json::to_string(&split).expect("JSON");
        assert_eq!(
            serde_json::from_str::<Split>(&json).expect("a split"),
            split
        );
    }

    #[test]
    fn borders_are_the_same_time_for_every_series() {
        let series = [
            ("a".into(), 0, 100),
            ("b".into(), 3600 * 60, 40),
            ("c".into(), 0, 5),
        ];
        let layout = Layout::new(Step::HOUR, series);
        let split = Split::new(&layout, &shares(0)).expect("three parts");
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

    proptest! {
        #[test]
        fn no_window_crosses_a_border(rows in 3..400_usize, more in 1..90_usize, purge in 0..9_i64, lookback in 1..40_usize, horizon in 1..20_usize) {
            let series = [("a".to_owned(), 0, rows), ("b".to_owned(), 36_000, more)];
            let layout = Layout::new(Step::HOUR, series);
            let Ok(split) = Split::new(&layout, &shares(purge * 3600)) else { return Ok(()) };
            let window = Window::new(lookback, horizon, 1).expect("not zero");
            let mut frame = frame(vec![0.0; rows + more]);
            frame.layout = layout.clone();
            for part in Split::PARTS {
                let ranges = split.ranges(part, &layout);
                let issues = split.issues(part, &frame, window);
                let count = |range: &Range<usize>| (range.len() + 1).saturating_sub(lookback + horizon);
                prop_assert_eq!(issues.len(), ranges.iter().map(count).sum::<usize>());
                for issue in issues {
                    let inside = |range: &Range<usize>| issue + 1 >= range.start + lookback && issue + horizon < range.end;
                    prop_assert!(ranges.iter().any(inside));
                }
            }
        }
    }
}
