//! The windows in each part of a data set.
//!
//! A window is a lookback and the horizon after it, named by its *issue row*: the last row of the
//! lookback. No window crosses a border between parts or from one series to the next. None looks back
//! on a missing value; of its horizon some must have been observed, and what was not counts neither
//! in training nor in scores. With `history` the lookback alone may reach into the part before: it
//! was observed by then, and published comparisons count these windows too.

use std::ops::Range;

use super::{Part, Split};
use crate::data::Layout;
use crate::data::frame::{Frame, Role};

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

/// A part without a window.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the {part} part has no window, {} complete rows with an observation in the {} after them{}: it has {rows} \
     rows{}; try a shorter model.lookback, a larger share in prepare.split, prepare.split.history, or \
     prepare.fill for gaps{}",
    .window.lookback, .window.horizon,
    if *.forecasts { " and forecasts from outside for all of these" } else { "" },
    .sparsest.as_ref().map_or(String::new(), |(name, missing)| {
        format!(", and `{name}` is missing in {missing} of them")
    }),
    if *.forecasts { " in what was observed, which those of forecasts are not" } else { "" }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{layout, shares};
    use super::*;
    use crate::data::FrameColumn;
    use crate::params::SplitParams;
    use crate::time::Step;

    fn frame(values: Vec<f32>) -> Frame {
        let columns = vec![FrameColumn::new("t".into(), Role::Target)];
        Frame::single(0, Step::HOUR, columns, values)
    }

    #[test]
    fn a_gap_removes_the_windows_that_look_back_on_it_or_have_nothing_to_tell() {
        let mut values = vec![0.0; 100];
        values[35..37].fill(f32::NAN);
        let split = Split::new(&layout(100), &shares(0), None).expect("three parts");
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
        let split = Split::new(&layout(100), &shares(0), None).expect("three parts");
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
        let split = Split::new(&layout(10), &shares(0), None).expect("three parts");
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
        let told = Split::new(&layout(2), &shares(0), None)
            .expect_err("too short")
            .to_string();
        assert_eq!(
            told,
            "prepare.split leaves the validation part without a row: it is from 1970-01-01T01:00:00Z up to \
             1970-01-01T01:00:00Z, the data are from 1970-01-01T00:00:00Z up to 1970-01-01T02:00:00Z"
        );
        assert!(Split::new(&layout(0), &shares(0), None).is_err());
        assert_eq!(Window::new(0, 1, 1), None);
    }

    #[test]
    fn with_history_only_the_lookback_crosses_a_border() {
        let layout = layout(100);
        let params = SplitParams {
            history: true,
            ..shares(0)
        };
        let split = Split::new(&layout, &params, None).expect("three parts");
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

    proptest! {
        #[test]
        fn no_window_crosses_a_border(rows in 3..400_usize, more in 1..90_usize, purge in 0..9_i64, lookback in 1..40_usize, horizon in 1..20_usize) {
            let series = [("a".to_owned(), 0, rows), ("b".to_owned(), 36_000, more)];
            let layout = Layout::new(Step::HOUR, series);
            let Ok(split) = Split::new(&layout, &shares(purge * 3600), None) else { return Ok(()) };
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
