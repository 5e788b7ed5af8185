//! What a model sees: scaled columns on one step, flat `f32`.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::{ColumnSource, Layout};
use crate::time::Step;

/// What may be known of a column when a forecast is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// What is forecast; known up to the issue time.
    Target,
    /// Observed; known up to the issue time.
    Past,
    /// Known at any time, such as the calendar.
    Future,
    /// Forecast by somebody else: for times after the issue time, what was known of it then.
    Forecast,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Target => "target",
            Self::Past => "past",
            Self::Future => "future",
            Self::Forecast => "forecast",
        })
    }
}

/// A column of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameColumn {
    /// Its name in the data set.
    pub name: String,
    /// What may be known of it.
    pub role: Role,
    /// Whether the time alone says it, as it does the hour or how high the sun stands.
    pub of_time: bool,
}

impl FrameColumn {
    /// Of what happened, or will.
    pub fn new(name: String, role: Role) -> Self {
        Self {
            name,
            role,
            of_time: false,
        }
    }

    /// Columns as their sources have them, where those are known. Each is made from such before it.
    pub fn from_sources<'s>(
        columns: impl Iterator<Item = (&'s str, Role, Option<&'s ColumnSource>)>,
    ) -> Vec<Self> {
        let mut made: Vec<Self> = Vec::new();
        for (name, role, source) in columns {
            let is_of_time = |name: &str| {
                let column = made.iter().find(|column| column.name == name);
                column.is_some_and(|column| column.of_time)
            };
            let of_time = source.is_some_and(|source| source.is_of_time(is_of_time));
            made.push(Self {
                of_time,
                ..Self::new(name.to_owned(), role)
            });
        }
        made
    }
}

/// Scaled values of all columns, `[rows × columns]`, row-major. A missing value is NaN.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// Where the rows of the series stand.
    pub layout: Layout,
    /// One entry a column; at least one has the role [`Role::Target`].
    pub columns: Vec<FrameColumn>,
    /// `rows × columns` values.
    pub values: Vec<f32>,
    /// Rows from which no forecast may be issued, because a value up to them was filled with the
    /// help of one after them. Empty where there are none.
    pub held: Vec<bool>,
    /// For the index of a target column the rows at which it was filled: a model sees these values,
    /// but no forecast is held against them. Absent where none was.
    pub filled: BTreeMap<usize, Vec<bool>>,
    /// What was forecast by somebody else for times after each row.
    pub outlook: Outlook,
}

/// The columns with the role [`Role::Forecast`], as they were known at each row of a frame.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outlook {
    /// `[rows of all runs × columns]`, row-major, scaled.
    pub values: Vec<f32>,
    /// For each row of the frame a number `b`, so that row `b + h` of `values` speaks of `h` steps
    /// later, as far as `reach` says.
    pub bases: Vec<i64>,
    /// For each row of the frame how many steps ahead every value is there.
    pub reach: Vec<u32>,
}

impl Frame {
    /// A frame of one series, without forecasts from outside.
    pub fn single(start: i64, step: Step, columns: Vec<FrameColumn>, values: Vec<f32>) -> Self {
        let rows = values.len() / columns.len().max(1);
        Self {
            layout: Layout::single(start, step, rows),
            columns,
            values,
            held: Vec::new(),
            filled: BTreeMap::new(),
            outlook: Outlook::default(),
        }
    }

    /// The time between two rows.
    pub fn step(&self) -> Step {
        self.layout.step()
    }

    /// Number of columns.
    pub fn width(&self) -> usize {
        self.columns.len()
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.values.len() / self.width().max(1)
    }

    /// The values of one row, in the order of the columns.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.width()..(row + 1) * self.width()]
    }

    /// One value.
    pub fn at(&self, row: usize, column: usize) -> f32 {
        self.values[row * self.width() + column]
    }

    /// What a target became at a row, by the index of its column: NaN where nobody observed it.
    pub fn truth(&self, row: usize, target: usize) -> f32 {
        match self.filled.get(&target) {
            Some(filled) if filled[row] => f32::NAN,
            _ => self.at(row, target),
        }
    }

    /// What was known at row `issue` of the columns with the role [`Role::Forecast`] `lead` steps
    /// later. Empty where the frame has none, or it was not known.
    pub fn forecast_at(&self, issue: usize, lead: usize) -> &[f32] {
        let reach = self
            .outlook
            .reach
            .get(issue)
            .map_or(0, |&reach| reach as usize);
        if lead == 0 || lead > reach {
            return &[];
        }
        // A list of them would be one for every lead of every window.
        let columns = self.columns.iter();
        let width = columns.filter(|c| c.role == Role::Forecast).count();
        let row = (self.outlook.bases[issue] + lead as i64) as usize;
        &self.outlook.values[row * width..(row + 1) * width]
    }

    /// The rows that a forecast from a row may read, and no others: so many that end with it, and its
    /// horizon. The row is then `back - 1`. All of them must be of one series, and what was forecast
    /// by somebody else must reach through the horizon.
    #[must_use]
    pub fn window(&self, issue: usize, back: usize, horizon: usize) -> Self {
        let rows = issue + 1 - back..issue + 1 + horizon;
        let name = self.layout.block_of(issue).map(|block| &block.name);
        let name = name.cloned().unwrap_or_default();
        let series = [(name, self.time(rows.start), rows.len())];
        let part = |of: &[bool]| of.get(rows.clone()).unwrap_or_default().to_vec();
        Self {
            layout: Layout::new(self.step(), series),
            columns: self.columns.clone(),
            values: self.values[rows.start * self.width()..rows.end * self.width()].to_vec(),
            held: part(&self.held),
            filled: (self.filled.iter())
                .map(|(&target, filled)| (target, part(filled)))
                .collect(),
            outlook: self.outlook_of(rows, issue, horizon),
        }
    }

    /// What was known at some rows up to an issue row, as far as a horizon ahead of each.
    fn outlook_of(&self, rows: Range<usize>, issue: usize, horizon: usize) -> Outlook {
        if self.outlook.bases.is_empty() {
            return Outlook::default();
        }
        let (mut values, mut bases, mut reach) = (Vec::new(), Vec::new(), Vec::new());
        let width = self.columns_with(Role::Forecast).len();
        for row in rows {
            let known = if row <= issue {
                self.outlook.reach[row]
            } else {
                0
            };
            let known = known.min(horizon as u32);
            bases.push((values.len() / width.max(1)) as i64 - 1);
            reach.push(known);
            let leads = (1..=known as usize).flat_map(|lead| self.forecast_at(row, lead));
            values.extend(leads.copied());
        }
        Outlook {
            values,
            bases,
            reach,
        }
    }

    /// The indices of the target columns.
    pub fn targets(&self) -> Vec<usize> {
        self.columns_with(Role::Target)
    }

    /// The indices of the columns with a role.
    pub fn columns_with(&self, role: Role) -> Vec<usize> {
        columns_with(&self.columns, role)
    }

    /// The time of a row, in seconds since 1970 UTC; also past the last row.
    pub fn time(&self, row: usize) -> i64 {
        self.layout.time(row)
    }

    /// Whether a forecast may be issued from a row.
    pub fn may_issue(&self, row: usize) -> bool {
        !self.held.get(row).is_some_and(|&held| held)
    }
}

/// The indices of the columns with a role.
pub fn columns_with(columns: &[FrameColumn], role: Role) -> Vec<usize> {
    (0..columns.len())
        .filter(|&i| columns[i].role == role)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_what_a_forecast_reads() {
        let column = |name: &str, role| FrameColumn::new(name.to_owned(), role);
        let columns = vec![column("t", Role::Target), column("f", Role::Forecast)];
        let series = [("a".to_owned(), 0, 3), ("b".to_owned(), 7200, 7)];
        let frame = Frame {
            layout: Layout::new(Step::HOUR, series),
            columns,
            values: (0..20).map(|value| value as f32).collect(),
            held: (0..10).map(|row| row == 5).collect(),
            filled: BTreeMap::from([(0, (0..10).map(|row| row == 6).collect())]),
            outlook: Outlook {
                values: (100..120).map(|value| value as f32).collect(),
                bases: (0..10).collect(),
                reach: vec![9; 10],
            },
        };
        let window = frame.window(6, 3, 2);
        assert_eq!((window.rows(), window.width()), (5, 2));
        assert_eq!(window.row(2), frame.row(6));
        assert_eq!(window.time(2), frame.time(6));
        assert_eq!(window.layout.names(), ["b"]);
        assert_eq!(window.held, [false, true, false, false, false]);
        assert!(window.truth(2, 0).is_nan() && !window.truth(1, 0).is_nan());
        for lead in 1..=2 {
            assert_eq!(window.forecast_at(2, lead), frame.forecast_at(6, lead));
        }
        assert!(window.forecast_at(2, 3).is_empty());
        // What was forecast for a row before it is there too, and nothing for the rows after it.
        for lead in 1..=2 {
            assert_eq!(window.forecast_at(0, lead), frame.forecast_at(4, lead));
            assert!(window.forecast_at(3, lead).is_empty());
        }
        let plain = Frame {
            held: Vec::new(),
            outlook: Outlook::default(),
            ..frame
        };
        let window = plain.window(6, 1, 1);
        assert!(window.held.is_empty() && window.outlook == Outlook::default());
    }
}
