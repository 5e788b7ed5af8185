//! The three parts of a series in time, and the windows in each.
//!
//! A window is a lookback and the horizon after it, named by its *issue row*: the last row of the
//! lookback. No window crosses a border between parts, and none touches a missing value.

use serde::{Deserialize, Serialize};

use super::frame::{Frame, Role};
use crate::params::SplitShares;

/// Row ranges of train, validation and test: adjoining, in this order, none empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Borders", into = "Borders")]
pub struct Split {
    validation: usize,
    test: usize,
    rows: usize,
}

/// How a split is written down.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Borders {
    train: [usize; 2],
    validation: [usize; 2],
    test: [usize; 2],
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

impl Split {
    /// Cuts rows by shares. `None` where a part would be empty.
    pub fn by_shares(rows: usize, shares: SplitShares) -> Option<Self> {
        // 0.7 + 0.1 is a little less than 0.8; a border must not move by a row for that.
        let border = |share: f64| (rows as f64 * share + 1e-6).floor() as usize;
        let (validation, test) = (
            border(shares.train),
            border(shares.train + shares.validation),
        );
        Self::at(validation, test, rows)
    }

    fn at(validation: usize, test: usize, rows: usize) -> Option<Self> {
        (0 < validation && validation < test && test < rows).then_some(Self {
            validation,
            test,
            rows,
        })
    }

    /// The rows of a part.
    pub fn rows(&self, part: Part) -> std::ops::Range<usize> {
        match part {
            Part::Train => 0..self.validation,
            Part::Validation => self.validation..self.test,
            Part::Test => self.test..self.rows,
        }
    }

    /// The issue rows of all windows of a part whose lookback is complete in every column and
    /// whose horizon is complete in the target and in the columns known in the future.
    pub fn issues(&self, part: Part, frame: &Frame, window: Window) -> Vec<usize> {
        let rows = self.rows(part);
        let first = rows.start + window.lookback - 1;
        let count = (rows.len() + 1).saturating_sub(window.lookback + window.horizon);
        let gaps = Gaps::of(frame);
        (first..first + count)
            .step_by(window.stride)
            .filter(|&issue| gaps.allow(issue, window))
            .collect()
    }
}

impl TryFrom<Borders> for Split {
    type Error = &'static str;

    fn try_from(borders: Borders) -> Result<Self, Self::Error> {
        let adjoin = borders.train[0] == 0
            && borders.train[1] == borders.validation[0]
            && borders.validation[1] == borders.test[0];
        Self::at(borders.validation[0], borders.test[0], borders.test[1])
            .filter(|_| adjoin)
            .ok_or("train, validation and test must adjoin in this order and none be empty")
    }
}

impl From<Split> for Borders {
    fn from(split: Split) -> Self {
        let pair = |part| {
            let rows = split.rows(part);
            [rows.start, rows.end]
        };
        Self {
            train: pair(Part::Train),
            validation: pair(Part::Validation),
            test: pair(Part::Test),
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

/// Running counts of rows with a missing value, so that a window is checked in constant time.
struct Gaps {
    past: Vec<u32>,
    ahead: Vec<u32>,
}

impl Gaps {
    fn of(frame: &Frame) -> Self {
        let ahead_columns: Vec<usize> = (0..frame.width())
            .filter(|&c| frame.columns[c].role != Role::Past)
            .collect();
        let mut gaps = Self {
            past: vec![0],
            ahead: vec![0],
        };
        let (mut past, mut ahead) = (0, 0);
        for row in 0..frame.rows() {
            let values = frame.row(row);
            past += u32::from(values.iter().any(|value| value.is_nan()));
            ahead += u32::from(ahead_columns.iter().any(|&c| values[c].is_nan()));
            gaps.past.push(past);
            gaps.ahead.push(ahead);
        }
        gaps
    }

    fn allow(&self, issue: usize, window: Window) -> bool {
        let seen = issue + 1;
        self.past[seen] == self.past[seen - window.lookback]
            && self.ahead[seen + window.horizon] == self.ahead[seen]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::frame::FrameColumn;
    use super::*;
    use crate::time::Step;

    fn frame(values: Vec<f32>) -> Frame {
        let columns = vec![FrameColumn {
            name: "t".into(),
            role: Role::Target,
        }];
        Frame {
            start: 0,
            step: Step::HOUR,
            columns,
            values,
        }
    }

    const SHARES: SplitShares = SplitShares {
        train: 0.7,
        validation: 0.1,
        test: 0.2,
    };

    #[test]
    fn a_gap_removes_the_windows_that_touch_it() {
        let mut values = vec![0.0; 100];
        values[35] = f32::NAN;
        let split = Split::by_shares(100, SHARES).expect("three parts");
        let window = Window::new(4, 2, 1).expect("not zero");
        let issues = split.issues(Part::Train, &frame(values), window);
        assert!(issues.contains(&32) && issues.contains(&39));
        assert!((33..39).all(|row| !issues.contains(&row)));
    }

    #[test]
    fn parts_too_short_for_a_window_have_none() {
        let split = Split::by_shares(10, SHARES).expect("three parts");
        let window = Window::new(4, 2, 1).expect("not zero");
        assert!(
            split
                .issues(Part::Validation, &frame(vec![0.0; 10]), window)
                .is_empty()
        );
        assert_eq!(Split::by_shares(2, SHARES), None);
        assert_eq!(Split::by_shares(0, SHARES), None);
        assert_eq!(Window::new(0, 1, 1), None);
    }

    proptest! {
        #[test]
        fn no_window_crosses_a_border(rows in 3..400_usize, lookback in 1..40_usize, horizon in 1..20_usize) {
            let Some(split) = Split::by_shares(rows, SHARES) else { return Ok(()) };
            let window = Window::new(lookback, horizon, 1).expect("not zero");
            let frame = frame(vec![0.0; rows]);
            for part in [Part::Train, Part::Validation, Part::Test] {
                let range = split.rows(part);
                let issues = split.issues(part, &frame, window);
                prop_assert_eq!(issues.len(), (range.len() + 1).saturating_sub(lookback + horizon));
                for issue in issues {
                    prop_assert!(issue + 1 >= range.start + lookback && issue + horizon < range.end);
                }
            }
        }
    }
}
