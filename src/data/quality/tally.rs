//! One check in the making: what it found, in which series, and where, if that must be known.

use super::super::Table;
use super::groups::Group;
use super::report::{Check, EXAMPLES, Example, Finding};
use super::takes_away;
use crate::params::Action;

pub(super) struct Tally<'a> {
    table: &'a Table,
    finding: Finding,
    /// Counts by the place of a series; empty where there is only one.
    by_series: Vec<usize>,
    rows: Vec<usize>,
    remembers: bool,
}

impl<'a> Tally<'a> {
    pub(super) fn new(
        table: &'a Table,
        check: Check,
        column: Option<&str>,
        action: Action,
    ) -> Self {
        let series = table.series().map_or(0, |series| series.names().len());
        Self {
            table,
            finding: Finding::new(check, column, action),
            by_series: vec![0; series],
            rows: Vec::new(),
            remembers: takes_away(action),
        }
    }

    /// Counts a row, and remembers it where it will be taken away.
    pub(super) fn hit(&mut self, row: usize, example: impl FnOnce() -> Example) {
        self.count(row, 1);
        self.show(example);
        self.remember(row);
    }

    /// Counts something of the series that a row is of.
    pub(super) fn count(&mut self, row: usize, count: usize) {
        self.finding.count += count;
        if let Some(series) = self.table.series() {
            self.by_series[series.places()[row] as usize] += count;
        }
    }

    /// Shows an example, if there are not enough yet.
    pub(super) fn show(&mut self, example: impl FnOnce() -> Example) {
        if self.finding.examples.len() < EXAMPLES {
            self.finding.examples.push(example());
        }
    }

    pub(super) fn remember(&mut self, row: usize) {
        if self.remembers {
            self.rows.push(row);
        }
    }

    /// Whether rows are remembered.
    pub(super) fn remembers(&self) -> bool {
        self.remembers
    }

    /// The number that the check measured.
    pub(super) fn measure(&mut self, number: f64) {
        self.finding.measured = Some(number);
    }

    /// The finding, which looked at so many, and the rows to take away.
    pub(super) fn finish(mut self, all: usize) -> (Finding, Vec<usize>) {
        if let Some(series) = self.table.series() {
            let counts = series.names().iter().zip(self.by_series);
            let found = counts.filter(|(_, count)| *count > 0);
            self.finding.series = found.map(|(name, count)| (name.clone(), count)).collect();
        }
        (self.finding.of(all), self.rows)
    }
}

impl Example {
    /// What stands in a row.
    pub(super) fn at(
        table: &Table,
        row: usize,
        value: Option<f64>,
        expected: impl Into<String>,
    ) -> Self {
        Self::new(table.times()[row], value, expected).in_row(table, row)
    }

    /// What begins at a time of a row's series and issue at which there may be no row.
    pub(super) fn at_time(
        table: &Table,
        row: usize,
        time: i64,
        expected: impl Into<String>,
    ) -> Self {
        Self::new(time, None, expected).in_row(table, row)
    }

    /// What is told of a series as a whole.
    pub(super) fn of_group(
        table: &Table,
        group: &Group<'_>,
        value: f64,
        expected: impl Into<String>,
    ) -> Self {
        Self {
            time: None,
            series: table
                .series()
                .map(|series| series.name(group.rows.start).to_owned()),
            issue: None,
            value: Some(value),
            expected: expected.into(),
        }
    }

    /// What begins at a time of a series.
    pub(super) fn of_group_at(
        table: &Table,
        group: &Group<'_>,
        time: i64,
        expected: impl Into<String>,
    ) -> Self {
        Self {
            issue: None,
            ..Self::at_time(table, group.rows.start, time, expected)
        }
    }

    fn in_row(mut self, table: &Table, row: usize) -> Self {
        self.series = table.series().map(|series| series.name(row).to_owned());
        self.issue = table
            .issues()
            .map(|issues| crate::time::format_utc(issues[row]));
        self
    }
}
