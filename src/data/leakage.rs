//! Proof that no feature looks ahead.
//!
//! A model is trained on what a data set holds up to an issue time, and will later be given only
//! what was known then. If the two differ, its scores are a lie. So the features are made twice
//! around some issue times: from the data, and from data in which everything after the issue time
//! is altered. What a window issued then may see must be the same to the bit.
//!
//! Only a piece of the data around each issue time is made twice, as far as features reach, so that
//! the proof costs little whatever the size of the data. What quality checks took away is not part
//! of it: they judge with hindsight, on purpose.

use std::ops::Range;

use super::panel::rows_by_series;
use super::prepare::{Draft, Made};
use super::{Column, DatasetError, Role, Runs, SeriesError, Table};
use crate::params::{FillMethod, PrepareParams};

/// Issue times that are tried in all.
const TRIES: usize = 6;
/// Rows on each side of an issue time, besides those that features reach over.
const AROUND: usize = 64;

/// Refuses features that look ahead.
pub(super) fn check(
    observed: &Table,
    forecasts: Option<&Table>,
    params: &PrepareParams,
    draft: &Draft,
) -> Result<(), DatasetError> {
    let reach = draft.columns.iter().map(|made| made.source.reach()).max();
    let season = params
        .fill
        .map_or(0, |fill| fill.season.seconds() + fill.up_to.seconds());
    let rows = 2 * reach.unwrap_or(0) + AROUND;
    let around = rows as i64 * params.step.seconds() + season;
    for issue in issue_times(draft, params) {
        let span = issue - around..issue + around;
        let piece = slice(observed, &span)?;
        // Runs that are known at the issue time may be old.
        let runs = forecasts.map(|table| runs_around(table, &span));
        let runs = runs.filter(|runs| runs.rows() > 0);
        let changed = altered(&piece, |row| piece.times()[row] > issue, &params.known)?;
        let other_runs = match &runs {
            Some(table) => {
                let issues = table.issues().unwrap_or_default();
                let unknown = |row: usize| issues[row] + params.forecasts.delay_s > issue;
                Some(altered(table, unknown, &[])?)
            }
            None => None,
        };
        let ours = Draft::new(&piece, runs.as_ref(), params);
        let theirs = Draft::new(&changed, other_runs.as_ref(), params);
        if let (Ok(ours), Ok(theirs)) = (ours, theirs) {
            compare(&ours, &theirs, issue, params)?;
        }
    }
    Ok(())
}

/// Times spread over all rows from which a forecast may be issued.
fn issue_times(draft: &Draft, params: &PrepareParams) -> Vec<i64> {
    let rows = draft.layout.rows();
    let ahead = params
        .fill
        .is_some_and(|fill| fill.method == FillMethod::Linear);
    let filled = |row: usize| {
        let is_mask = |made: &&Made| matches!(made.source, super::ColumnSource::Filled { .. });
        let mut masks = draft.columns.iter().filter(is_mask);
        ahead && masks.any(|made| made.column.values[row] > 0.0)
    };
    let mut times: Vec<i64> = (1..=TRIES)
        .filter_map(|i| {
            let from = rows * i / (TRIES + 1);
            (from..rows).find(|&row| !filled(row))
        })
        .map(|row| draft.layout.time(row))
        .collect();
    times.sort_unstable();
    times.dedup();
    times
}

/// The rows of a span of time, in every series.
fn slice(table: &Table, span: &Range<i64>) -> Result<Table, SeriesError> {
    let times = table.times();
    let mut kept = Vec::new();
    for (_, rows) in rows_by_series(table) {
        let of_series = &times[rows.clone()];
        let first = rows.start + of_series.partition_point(|&time| time < span.start);
        let end = rows.start + of_series.partition_point(|&time| time < span.end);
        kept.extend(first..end);
    }
    if kept.is_empty() {
        return Err(SeriesError::Empty);
    }
    Ok(table.take_rows(&kept))
}

/// The forecasts that speak of a span of time.
fn runs_around(table: &Table, span: &Range<i64>) -> Table {
    let issues = table.issues().unwrap_or_default();
    let whole_runs = |row: &usize| {
        let issued = issues[*row];
        issued < span.end && issued >= span.start
    };
    table.take_rows(&(0..table.rows()).filter(whole_runs).collect::<Vec<_>>())
}

/// The same table with other values in some rows, and with and without values in other places.
fn altered(
    table: &Table,
    row_is_later: impl Fn(usize) -> bool,
    known: &[String],
) -> Result<Table, SeriesError> {
    let change = |(row, &value): (usize, &f64)| {
        if row_is_later(row) {
            other(row, value)
        } else {
            value
        }
    };
    let columns = table.columns().iter().map(|column| Column {
        values: if known.contains(&column.name) {
            column.values.clone()
        } else {
            column.values.iter().enumerate().map(change).collect()
        },
        ..column.clone()
    });
    table.clone().with_columns(columns.collect())
}

/// Another value: nothing like the old one, sometimes there where that was not, and not there
/// where that was.
fn other(row: usize, value: f64) -> f64 {
    match (row % 7, value.is_nan()) {
        (0, false) => f64::NAN,
        (_, true) => 17.25,
        (turn, false) => 0.375 * value + 11.5 + turn as f64,
    }
}

/// What a window issued at a time may see must be the same in both.
fn compare(
    ours: &Draft,
    theirs: &Draft,
    issue: i64,
    params: &PrepareParams,
) -> Result<(), DatasetError> {
    let leak = |made: &Made, time| DatasetError::Leak {
        column: made.column.name.clone(),
        time,
        issue,
    };
    for (a, b) in ours.columns.iter().zip(&theirs.columns) {
        let always = a.role == Role::Future;
        let differs = |row: &usize| {
            let (a, b) = (a.column.values[*row], b.column.values[*row]);
            a.to_bits() != b.to_bits() && !(a.is_nan() && b.is_nan())
        };
        let seen = (0..ours.layout.rows()).filter(|&row| always || ours.layout.time(row) <= issue);
        if let Some(row) = seen.into_iter().find(differs) {
            return Err(leak(a, ours.layout.time(row)));
        }
    }
    if let (Some(a), Some(b)) = (&ours.runs, &theirs.runs) {
        let forecast = ours.columns.iter().find(|made| made.role == Role::Forecast);
        if let (Some(made), false) = (forecast, same_outlook(a, b, ours, issue, params)) {
            return Err(leak(made, issue));
        }
    }
    Ok(())
}

/// Whether the newest run known at an issue time is the same.
fn same_outlook(a: &Runs, b: &Runs, draft: &Draft, issue: i64, params: &PrepareParams) -> bool {
    let known = |runs: &Runs| runs.known(&draft.layout, params.forecasts.delay_s);
    let (known_a, known_b) = (known(a), known(b));
    let at_issue = |row: &usize| draft.layout.time(*row) == issue;
    let mut rows = (0..draft.layout.rows()).filter(at_issue);
    rows.all(|row| {
        let values = |runs: &Runs, place: Option<usize>| -> Vec<u64> {
            let rows = place.map_or(0..0, |place| runs.runs()[place].rows.clone());
            let columns = runs.columns().iter();
            let values = columns.flat_map(|column| &column.values[rows.clone()]);
            values.map(|value| value.to_bits()).collect()
        };
        known_a.bases[row] == known_b.bases[row]
            && values(a, known_a.newest[row]) == values(b, known_b.newest[row])
    })
}
