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
use super::{Column, DatasetError, Role, Runs, SeriesError, Table, same_value};
use crate::params::PrepareParams;

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
    let resolution = Some(&draft.resolution);
    let rows = 2 * reach.unwrap_or(0) + AROUND;
    let around = rows as i64 * params.step.seconds() + season;
    for Issue { series, time } in issues(draft) {
        let span = time - around..time + around;
        let piece = slice(observed, &series, &span);
        // Runs that are known at the issue time are older by the delay at least.
        let since = span.start - params.forecasts.delay_s;
        let runs = forecasts.map(|table| runs_around(table, &series, &(since..span.end)));
        let runs = runs.filter(|runs| runs.rows() > 0);
        let changed = altered(&piece, |row| piece.times()[row] > time, &params.known)?;
        let other_runs = match &runs {
            Some(table) => {
                let issued = table.issues().unwrap_or_default();
                let unknown = |row: usize| issued[row] + params.forecasts.delay_s > time;
                Some(altered(table, unknown, &[])?)
            }
            None => None,
        };
        let ours = Draft::new(&piece, runs.as_ref(), params, resolution)?;
        let theirs = Draft::new(&changed, other_runs.as_ref(), params, resolution)?;
        compare(&ours, &theirs, time, params)?;
    }
    Ok(())
}

/// A moment at which a window of one series may end its lookback.
struct Issue {
    series: String,
    time: i64,
}

/// Rows spread over all series from which a forecast may be issued: every column is there, and
/// nothing of the row was filled. From others no window is, so they prove nothing.
fn issues(draft: &Draft) -> Vec<Issue> {
    let rows = draft.layout.rows();
    let may_issue = |row: &usize| {
        draft.columns.iter().all(|made| {
            let value = made.column.values[*row];
            match made.source {
                super::ColumnSource::Filled { .. } => value == 0.0,
                _ => !value.is_nan(),
            }
        })
    };
    let spread = (1..=TRIES).filter_map(|i| {
        let (from, until) = (rows * i / (TRIES + 1), rows * (i + 1) / (TRIES + 1));
        (from..until).find(may_issue)
    });
    let issue = |row: usize| {
        let block = draft.layout.block_of(row)?;
        Some(Issue {
            series: block.name.clone(),
            time: block.time(row, draft.layout.step()),
        })
    };
    spread.filter_map(issue).collect()
}

/// The rows of a span of time in one series: features never cross to another one.
fn slice(table: &Table, series: &str, span: &Range<i64>) -> Table {
    let times = table.times();
    let rows = rows_by_series(table).into_iter();
    let mut of_series = rows
        .filter(|(name, _)| name == series)
        .map(|(_, rows)| rows);
    let rows = of_series.next().unwrap_or(0..0);
    let place = |time| rows.start + times[rows.clone()].partition_point(|&other| other < time);
    let kept: Vec<usize> = (place(span.start)..place(span.end)).collect();
    table.take_rows(&kept)
}

/// The forecasts of a series, or of all, that were issued in a span of time.
fn runs_around(table: &Table, series: &str, span: &Range<i64>) -> Table {
    let issues = table.issues().unwrap_or_default();
    let of_series = |row: usize| table.series().is_none_or(|names| names.name(row) == series);
    let whole_runs = |&row: &usize| span.contains(&issues[row]) && of_series(row);
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
    table.select(&[])?.with_columns(columns.collect())
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
        let (ones, others) = (&a.column.values, &b.column.values);
        let differs = |&row: &usize| !same_value(ones[row], others[row]);
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
