//! Which observations are not believed, and what becomes of them.
//!
//! ```text
//! Table ─ order, step, duplicates ─▶ rows in order ─ one pass a column, pairs ─▶ Sieve
//!                                                                                 │
//!                                   kept rows, masked values, refused rows, report ◀┘
//! ```
//!
//! Two ideas hold it together. What is refused and what is kept come out of one `Sieve`, which
//! only ever moves rows, so that rows in = kept + refused by construction. And every column is read
//! once, front to back, by one loop that holds all checks on single values (`columns.rs`): a row
//! costs no allocation unless it is bad.
//!
//! Rows follow each other within a series, and those of forecasts within one issue (`groups.rs`):
//! order, duplicates, gaps, changes and runs of one value are looked for there. What is found is
//! told once for a check and a column, with the count of each series.
//!
//! Nothing is held twice but refused rows: a table in order is not copied, another one is put in
//! order and closed up in place.
//!
//! A value that is a sentinel or out of range is told as such and not looked at again: a −9999
//! would otherwise be a spike twice, and contradict its neighbour.
//!
//! Values in, values out: this module knows no file, no clock (the age of the last row is measured
//! against a time that the caller names) and no terminal.

mod columns;
mod drift;
mod groups;
mod pairs;
mod quantity;
mod report;
mod rows;
mod sieve;
mod tally;

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::Table;
use super::regular::Regular;
use crate::params::{Action, QualityParams};
use crate::time::Step;

pub use columns::is_sentinel;
pub use quantity::quantity_of;
pub use report::{Check, Example, Finding, QualityReport, RowTotals};
pub use sieve::Refused;

use columns::ColumnRule;
use groups::{PerStrand, Strands, groups};
use rows::Majority;
use sieve::{Mark, Sieve};

/// What the checks must be told besides the table.
#[derive(Clone, Debug)]
pub struct Setting<'a> {
    /// Actions and limits.
    pub params: &'a QualityParams,
    /// The step that the rows should lie on.
    pub step: Step,
    /// Until when models are trained on the rows, for drift.
    pub train_until: i64,
    /// Columns that must be there besides those of the parameters.
    pub required: &'a [String],
    /// Columns that are known before their time: a row of these alone is no observation.
    pub ahead: &'a [String],
    /// The present, in seconds since 1970, for the age of the last row. Never where the report
    /// goes into an artifact, which must not depend on a clock.
    pub now: Option<i64>,
}

/// What comes out of the checks.
#[derive(Clone, Debug)]
pub struct Assessment {
    /// The rows to go on with, in order of series, issue and time, with bad values masked where that was asked for.
    pub kept: Table,
    /// The others.
    pub refused: Refused,
    /// What was found.
    pub report: QualityReport,
}

/// Runs every check and does what its action says.
pub fn assess(table: Table, setting: &Setting<'_>) -> Assessment {
    let params = setting.params;
    let mut findings = rows::required_columns(&table, setting);
    let mut sieve = Sieve::new(table);
    findings.extend(rows::in_order(&mut sieve, params.order));
    if params.off_step != Action::Off {
        findings.push(rows::off_step(&mut sieve, setting.step, params.off_step));
    }
    findings.extend(rows::duplicates(&mut sieve, params));
    let table = sieve.table();
    findings.extend(rows::gaps(table, setting));
    findings.extend(rows::timeliness(table, setting));

    let groups = groups(table);
    let rules: Vec<ColumnRule> = (table.columns().iter())
        .map(|column| ColumnRule::new(column, params, setting.step))
        .collect();
    let outcomes: Vec<columns::Outcome> = (table.columns().par_iter().zip(&rules))
        .map(|(column, rule)| {
            let mut outcome = columns::check(table, &groups, column, rule, setting);
            let drift = drift::check(table, &groups, column, rule, setting);
            outcome.findings.extend(drift);
            outcome
        })
        .collect();
    let mut marks = Vec::new();
    let mut masks: Vec<(usize, Vec<usize>)> = Vec::new();
    for (c, outcome) in outcomes.into_iter().enumerate() {
        findings.extend(outcome.findings);
        masks.push((c, outcome.masks));
        marks.extend(outcome.drops.into_iter().map(|(row, check)| Mark {
            row,
            check,
            column: Some(c),
        }));
    }
    for outcome in pairs::check(table, &rules, params) {
        findings.push(outcome.finding);
        masks.extend(outcome.masks);
        marks.extend(outcome.drops);
    }
    let masked = sieve.refuse_and_mask(marks, &masks);
    findings.sort_by_key(|finding| finding.check);
    let rows_in = sieve.rows_in();
    let (kept, refused) = sieve.finish();
    Assessment {
        report: QualityReport::new(rows_in, &kept, refused.table(), masked, findings),
        kept,
        refused,
    }
}

/// The step between most rows, or between some where no step is that frequent; for data of which
/// no parameter tells the step.
pub fn usual_step(times: &[i64]) -> Option<Step> {
    let steps = times.windows(2).map(|pair| pair[1] - pair[0]);
    usual(steps)
}

/// The same of a table, whose rows follow each other within one series and issue.
pub fn usual_step_of(table: &Table) -> Option<Step> {
    if table.series().is_none() && table.issues().is_none() {
        return usual_step(table.times());
    }
    let mut strands = Strands::new(table);
    let mut last = PerStrand::new();
    usual(table.times().iter().enumerate().filter_map(|(row, &time)| {
        let before = last.of(strands.number(row)).replace(time)?;
        Some(time - before)
    }))
}

/// The time between observations that are to come to rows of a step: the usual one, or a finer one where rows
/// followed each other by that for a dozen steps at least. A station may have given hours for years before it gave
/// each 10 minutes.
pub fn observed_step_of(table: &Table, step: Step) -> Option<Step> {
    #[derive(Clone, Copy, Default)]
    struct Run {
        last: Option<i64>,
        regular: Regular,
    }
    let usual = usual_step_of(table)?;
    let seconds = step.seconds();
    // Rows at 20 minutes past each hour are those of a step of their own, to which none of another step belong.
    let stands_apart = |step| {
        usual_phases_of(table, step)
            .values()
            .any(|&phase| phase != 0)
    };
    if usual >= step && stands_apart(step) {
        return Some(usual);
    }
    let mut strands = Strands::new(table);
    let mut runs: PerStrand<Run> = PerStrand::new();
    let coarsest = seconds.min(usual.seconds());
    let mut finest = coarsest;
    for (row, &time) in table.times().iter().enumerate() {
        let run = runs.of(strands.number(row)).get_or_insert_default();
        let Some(last) = run.last.replace(time) else {
            continue;
        };
        if !run.regular.go_on(time - last) {
            run.regular = Regular::begin(time - last);
        }
        let gap = run.regular.gap();
        if gap < finest && run.regular.is_long(seconds) && finest % gap == 0 {
            finest = gap;
        }
    }
    if finest == coarsest {
        return Some(usual);
    }
    Step::from_seconds(u32::try_from(finest).ok()?)
}

/// How far after a multiple of a step most rows of each series stand, in seconds; the empty name is of those
/// without one.
pub fn usual_phases_of(table: &Table, step: Step) -> BTreeMap<&str, i64> {
    let mut phases: BTreeMap<&str, Majority> = BTreeMap::new();
    for (row, time) in table.times().iter().enumerate() {
        let name = table.series().map_or("", |series| series.name(row));
        let phase = time.rem_euclid(step.seconds());
        phases.entry(name).or_default().vote(phase);
    }
    let phases = phases.into_iter();
    phases
        .filter_map(|(name, phases)| Some((name, phases.of_all()?)))
        .collect()
}

fn usual(steps: impl Iterator<Item = i64>) -> Option<Step> {
    let usual = rows::majority(steps.map(i64::abs).filter(|&step| step > 0))?;
    Step::from_seconds(u32::try_from(usual).ok()?)
}

/// Whether an action takes rows or values away, so that their numbers must be remembered.
fn takes_away(action: Action) -> bool {
    matches!(action, Action::Drop | Action::Mask)
}

#[cfg(test)]
mod tests;
