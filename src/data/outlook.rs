//! Forecasts from outside, joined as of their issue time.
//!
//! A forecast run is known from its issue time plus a publication delay on. A window issued at `t`
//! sees the newest run known at `t`, for every lead of its horizon, and nothing newer. So the same
//! valid time has different values in different windows, and no column of one value a row can hold
//! them: runs are kept one after the other, and each row of the series knows where the newest run
//! that was known then stands. A window's horizon is `rows` of that run, one gather away.
//!
//! A run that lacks a value at some time, begins late or ends before an older one, has there what the newest older
//! one says of it: for each time the newest forecast that can be had, whatever became of the last run.
//!
//! In a lookback, a row shows what was forecast for it when it came: the newest run known at that
//! time that speaks of it.

mod completed;

use std::ops::Range;

use super::panel::rows_by_series;
use super::{Block, Column, Layout, RowSeries, SeriesError, Table, quality};
use crate::params::{QualityParams, Quantity};
use crate::time::Step;

/// The base of a row at which no run is known.
const NONE: i64 = i64::MIN / 2;

/// One forecast run on the step of the series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The series that it speaks of; empty where it speaks of all.
    pub series: String,
    /// When it was made, in seconds since 1970 UTC.
    pub issue: i64,
    /// The valid time of its first row.
    pub first: i64,
    /// Its rows among those of all runs.
    pub rows: Range<usize>,
}

/// Forecast runs on one step, with their columns in their own units.
#[derive(Clone, Debug, PartialEq)]
pub struct Runs {
    step: Step,
    each: Vec<Run>,
    columns: Vec<Column>,
}

impl Runs {
    /// Puts forecasts on a grid: `phase` plus multiples of `step`, in seconds. Between two valid
    /// times of a run, values lie on a straight line, which draws on that run alone; times off the
    /// grid are only seen through their neighbours. Between two directions lies none: `quality` may say which
    /// columns are directions.
    pub fn new(
        table: &Table,
        on: Step,
        phase: i64,
        quality: &QualityParams,
    ) -> Result<Self, SeriesError> {
        let step = on.seconds();
        let mut columns: Vec<Column> = table
            .columns()
            .iter()
            .map(|column| Column {
                values: Vec::new(),
                ..column.clone()
            })
            .collect();
        let mut runs = Vec::new();
        let mut rows = 0;
        let times = table.times();
        for (series, range) in rows_by_series(table) {
            let issues = table.issues().unwrap_or(times);
            for run in chunks_of_equal(issues, range) {
                let span = (times[run.start], times[run.end - 1]);
                let first = phase + (span.0 - phase).div_euclid(step) * step;
                let first = if first < span.0 { first + step } else { first };
                let count = usize::try_from((span.1 - first).div_euclid(step) + 1).unwrap_or(0);
                if count > run.len().saturating_mul(1000) {
                    return Err(SeriesError::Sparse {
                        rows: run.len(),
                        steps: count,
                        step: on,
                    });
                }
                for (column, raw) in columns.iter_mut().zip(table.columns()) {
                    let between = between(raw, quality);
                    let grid = (0..count).map(|row| first + row as i64 * step);
                    let raw = &raw.values[run.clone()];
                    column
                        .values
                        .extend(on_grid(&times[run.clone()], raw, grid, between));
                }
                if count > 0 {
                    runs.push(Run {
                        series: series.clone(),
                        issue: issues[run.start],
                        first,
                        rows: rows..rows + count,
                    });
                }
                rows += count;
            }
        }
        if runs.is_empty() {
            return Err(SeriesError::Empty);
        }
        Ok(Self {
            step: on,
            each: runs,
            columns,
        })
    }

    /// The runs, by series and issue time.
    pub fn runs(&self) -> &[Run] {
        &self.each
    }

    /// The columns, one value for each row of each run.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    pub(super) fn push(&mut self, column: Column) {
        self.columns.push(column);
    }

    /// The valid time of each row.
    pub(super) fn times(&self) -> impl Iterator<Item = i64> {
        self.per_row(|run, row| run.first + row * self.step.seconds())
    }

    /// How far ahead of its issue time each row lies, in hours.
    pub(super) fn leads_h(&self) -> Vec<f64> {
        let lead = |run: &Run, row: i64| run.first + row * self.step.seconds() - run.issue;
        self.per_row(lead).map(|s| s as f64 / 3600.0).collect()
    }

    fn per_row<T>(&self, value: impl Fn(&Run, i64) -> T + Copy) -> impl Iterator<Item = T> {
        let runs = self.each.iter();
        runs.flat_map(move |run| (0..run.rows.len() as i64).map(move |row| value(run, row)))
    }

    /// As a table, for writing.
    pub fn into_table(self) -> Result<Table, SeriesError> {
        let issues = self.per_row(|run, _| run.issue).collect();
        let table = Table::new(self.times().collect(), self.columns)?;
        let table = table.with_issues(issues)?;
        if self.each.iter().all(|run| run.series.is_empty()) {
            return Ok(table);
        }
        let runs = self.each.iter();
        let names = runs.flat_map(|run| run.rows.clone().map(|_| run.series.as_str()));
        table.with_series(RowSeries::from_names(names))
    }

    /// For each row of a layout where the newest run stands that was known `delay` seconds after
    /// its issue time.
    pub fn known(&self, layout: &Layout, delay: i64) -> Known {
        let mut newest = Vec::with_capacity(layout.rows());
        let mut bases = Vec::with_capacity(layout.rows());
        let mut shown = Vec::with_capacity(layout.rows());
        for block in layout.blocks() {
            let places = self.speaking_of(block);
            let of_block: Vec<(usize, &Run)> = places.clone().zip(&self.each[places]).collect();
            let mut next = 0;
            for row in block.rows.clone() {
                let time = block.time(row, layout.step());
                while of_block
                    .get(next)
                    .is_some_and(|(_, run)| run.issue + delay <= time)
                {
                    next += 1;
                }
                let known = &of_block[..next];
                let base = |run: &Run| {
                    run.rows.start as i64 + (time - run.first).div_euclid(self.step.seconds())
                };
                newest.push(known.last().map(|&(place, _)| place));
                bases.push(known.last().map_or(NONE, |(_, run)| base(run)));
                let row = |(_, run): &(usize, &Run)| {
                    let row = usize::try_from(base(run)).ok()?;
                    run.rows.contains(&row).then_some(row)
                };
                shown.push(known.iter().rev().take(LOOK_BACK).find_map(row));
            }
        }
        Known {
            newest,
            bases,
            shown,
        }
    }

    /// The runs that speak of a series; they stand together.
    pub(super) fn speaking_of(&self, block: &Block) -> Range<usize> {
        if self.each.iter().take(1).any(|run| run.series.is_empty()) {
            return 0..self.each.len();
        }
        let from = self.each.partition_point(|run| run.series < block.name);
        from..self.each.partition_point(|run| run.series <= block.name)
    }

    /// When each run was issued.
    pub fn issues(&self) -> impl Iterator<Item = i64> {
        self.each.iter().map(|run| run.issue)
    }

    /// The values that were issued before a time and speak of one before it, by the series that they are of,
    /// whose runs stand together.
    pub(super) fn before(&self, values: &[f64], time: i64) -> Vec<(&str, Vec<f64>)> {
        let step = self.step.seconds();
        let of_run = |run: &Run| {
            let before = |row: &i64| run.issue.max(run.first + row * step) < time;
            let rows = (0..run.rows.len() as i64).take_while(before).count();
            values[run.rows.clone()][..rows].iter().copied()
        };
        let series = self.each.chunk_by(|one, next| one.series == next.series);
        let of_series = series.map(|runs| (runs[0].series.as_str(), runs.iter().flat_map(of_run)));
        of_series
            .map(|(name, values)| (name, values.collect()))
            .collect()
    }

    /// How many rows all runs have.
    pub fn rows(&self) -> usize {
        self.each.last().map_or(0, |run| run.rows.end)
    }

    /// For each row the end of the rows that adjoin it in its run and are complete.
    pub(super) fn complete_until(&self, complete: impl Fn(usize) -> bool) -> Vec<usize> {
        let mut until = vec![0; self.rows()];
        for run in &self.each {
            let mut end = run.rows.end;
            for row in run.rows.clone().rev() {
                if !complete(row) {
                    end = row;
                }
                until[row] = end;
            }
        }
        until
    }

    /// How many steps after a row of a series are there without a gap, in the newest run that was
    /// known at that row.
    pub(super) fn reach(&self, known: &Known, row: usize, complete_until: &[usize]) -> u32 {
        let first = usize::try_from(known.bases[row] + 1);
        let run = known.newest[row].map(|place| &self.each[place]);
        match (run, first) {
            (Some(run), Ok(first)) if run.rows.contains(&first) => {
                (complete_until[first] - first) as u32
            }
            _ => 0,
        }
    }
}

/// How many runs back a row of a lookback searches for one that speaks of it.
const LOOK_BACK: usize = 32;

/// What each row of a series knows of the runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// For each row the place of the newest run known then.
    pub newest: Vec<Option<usize>>,
    /// For each row a number `b`, so that `b + h` is the row of the newest run known then that
    /// speaks of `h` steps later; very small where none is known.
    pub bases: Vec<i64>,
    /// The row that spoke of this very time, by the newest run that was known and does.
    pub shown: Vec<Option<usize>>,
}

impl Known {
    /// What rows show in a lookback.
    pub(super) fn shown(&self, values: &[f64]) -> Vec<f64> {
        let value = |row: &Option<usize>| row.map_or(f64::NAN, |row| values[row]);
        self.shown.iter().map(value).collect()
    }
}

/// Ranges of equal values within a range.
fn chunks_of_equal(values: &[i64], range: Range<usize>) -> Vec<Range<usize>> {
    let mut chunks = Vec::new();
    let mut first = range.start;
    for row in range.clone() {
        if row + 1 == range.end || values[row + 1] != values[first] {
            chunks.push(first..row + 1);
            first = row + 1;
        }
    }
    chunks
}

/// What stands between two valid times of a run.
#[derive(Clone, Copy)]
enum Between {
    /// A straight line.
    Line,
    /// The earlier value: between two directions lies no direction.
    Step,
}

fn between(column: &Column, params: &QualityParams) -> Between {
    match quality::quantity_of(column, params) {
        Quantity::Direction => Between::Step,
        _ => Between::Line,
    }
}

/// Values at the times of a grid, from the two neighbours of each.
fn on_grid<'a>(
    times: &'a [i64],
    values: &'a [f64],
    grid: impl Iterator<Item = i64> + 'a,
    between: Between,
) -> impl Iterator<Item = f64> + 'a {
    grid.map(move |time| {
        let after = times.partition_point(|&other| other < time);
        match times.get(after) {
            Some(&at) if at == time => values[after],
            Some(_) if after > 0 && matches!(between, Between::Step) => values[after - 1],
            Some(&at) if after > 0 => {
                let before = times[after - 1];
                let share = (time - before) as f64 / (at - before) as f64;
                values[after - 1] + (values[after] - values[after - 1]) * share
            }
            _ => f64::NAN,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Step;

    pub(super) const HOUR: i64 = 3600;

    /// Runs every 12 hours with leads of 3, 6, … hours, whose value is the issue time in hours.
    pub(super) fn runs(issues: &[i64], leads: i64) -> Runs {
        let rows: Vec<(i64, i64)> = issues
            .iter()
            .flat_map(|&issue| (1..=leads / 3).map(move |lead| (issue, issue + 3 * lead)))
            .collect();
        let column = Column {
            name: "ws".into(),
            unit: "m/s".into(),
            values: rows.iter().map(|&(issue, _)| issue as f64).collect(),
        };
        let table = Table::new(rows.iter().map(|row| row.1 * HOUR).collect(), vec![column])
            .and_then(|table| table.with_issues(rows.iter().map(|row| row.0 * HOUR).collect()))
            .unwrap();
        Runs::new(&table, Step::HOUR, 0, &QualityParams::default()).unwrap()
    }

    #[test]
    fn a_window_sees_the_newest_run_that_was_known() {
        let runs = runs(&[0, 12, 24], 24);
        assert_eq!(runs.runs()[1].rows, 22..44);
        let layout = Layout::single(0, Step::HOUR, 48);
        let known = runs.known(&layout, 2 * HOUR);
        let whole = runs.complete_until(|_| true);
        let issue = |row: usize, horizon: u32| {
            let first = (known.bases[row] + 1) as usize;
            (runs.reach(&known, row, &whole) >= horizon).then(|| runs.columns()[0].values[first])
        };
        // Not yet published; published; and the next one is, but its first lead is at hour 15.
        assert_eq!(
            [issue(1, 4), issue(2, 4), issue(13, 4)],
            [None, Some(0.0), Some(0.0)]
        );
        assert_eq!(
            [issue(14, 4), issue(25, 4), issue(26, 4)],
            [Some(12.0), Some(12.0), Some(24.0)]
        );
        // The run ends 24 hours after its issue.
        assert_eq!([issue(2, 22), issue(2, 23)], [Some(0.0), None]);
        // A gap ends what can be seen.
        let gap = runs.complete_until(|row| row != 10);
        assert_eq!(runs.reach(&known, 2, &gap), 10);
    }

    #[test]
    fn a_lookback_shows_what_was_forecast_for_it() {
        let runs = runs(&[0, 12], 24);
        let layout = Layout::single(0, Step::HOUR, 20);
        let known = runs.known(&layout, 0);
        let shown = known.shown(&runs.columns()[0].values);
        assert!(shown[2].is_nan());
        // At hour 12 the run of that hour is known, but speaks only of hours from 15 on.
        assert_eq!(
            (shown[3], shown[12], shown[14], shown[15]),
            (0.0, 0.0, 0.0, 12.0)
        );
    }

    #[test]
    fn values_between_two_times_of_a_run_lie_on_a_line() {
        let times = [0, 2 * HOUR, 3 * HOUR];
        let values = [0.0, 4.0, f64::NAN];
        let grid = (0..5).map(|hour| hour * HOUR);
        let found: Vec<f64> = on_grid(&times, &values, grid, Between::Line).collect();
        assert_eq!(found[..3], [0.0, 2.0, 4.0]);
        assert!(found[3].is_nan() && found[4].is_nan());
    }

    #[test]
    fn runs_read_as_they_were_written() {
        let one = runs(&[0, 12], 24);
        let table = one.clone().into_table().unwrap();
        assert_eq!(
            Runs::new(&table, Step::HOUR, 0, &QualityParams::default()).unwrap(),
            one
        );
    }
}
