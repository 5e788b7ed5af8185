//! Checks on rows and their times: what is there at all, in which order, how often, on which step.

use std::ops::Range;
use std::time::Duration;

use super::super::{Table, same_value};
use super::Setting;
use super::groups::{Group, PerStrand, Strands, groups};
use super::report::{Check, Example, Finding};
use super::sieve::{Mark, Sieve};
use super::tally::Tally;
use crate::params::{Action, Conflicts, QualityParams};
use crate::time::{Span, Step, format_utc};

/// The columns that must be there, each a finding.
pub(super) fn required_columns(table: &Table, setting: &Setting<'_>) -> Vec<Finding> {
    let params = setting.params;
    if params.missing_columns == Action::Off {
        return Vec::new();
    }
    let mut names: Vec<&String> = params.required.iter().chain(setting.required).collect();
    names.sort();
    names.dedup();
    let there: Vec<&str> = table
        .columns()
        .iter()
        .map(|column| column.name.as_str())
        .collect();
    let finding = |name: &String| {
        let mut finding = Finding::new(Check::Required, Some(name), params.missing_columns);
        if !there.contains(&name.as_str()) {
            finding.count = 1;
            finding.examples.push(Example {
                time: None,
                series: None,
                issue: None,
                value: None,
                expected: format!("a column of this name; there are {}", there.join(", ")),
            });
        }
        finding.of(1)
    };
    names.into_iter().map(finding).collect()
}

/// Finds rows that are older than one before them of their series and issue, and puts the rows in
/// order.
pub(super) fn in_order(sieve: &mut Sieve, action: Action) -> Option<Finding> {
    let table = sieve.table();
    let mut tally = Tally::new(table, Check::Order, None, action);
    // Mostly there is nothing to find, which is told more quickly than where it stands.
    if !table.is_in_order() {
        let mut strands = Strands::new(table);
        let mut latest = PerStrand::new();
        for (row, &time) in table.times().iter().enumerate() {
            let latest = latest.of(strands.number(row));
            match *latest {
                Some(before) if time < before => tally.hit(row, || {
                    let before = format_utc(before);
                    let expected = format!("no time before {before}, which stands above it");
                    Example::at(table, row, None, expected)
                }),
                _ => *latest = Some(time),
            }
        }
    }
    let (finding, rows) = tally.finish(table.rows());
    sieve.refuse(Mark::rows(&rows, Check::Order));
    sieve.sort();
    (action != Action::Off).then_some(finding)
}

/// Finds rows that do not lie on the step that most rows of their series and issue lie on.
pub(super) fn off_step(sieve: &mut Sieve, step: Step, action: Action) -> Finding {
    let table = sieve.table();
    let step_s = step.seconds();
    let mut tally = Tally::new(table, Check::OffStep, None, action);
    for strand in groups(table).iter().flat_map(Group::strands) {
        let times = &table.times()[strand.clone()];
        let Some(phase) = majority(Phases::new(times, step_s)) else {
            continue;
        };
        for (row, of_row) in strand.zip(Phases::new(times, step_s)) {
            if of_row != phase {
                tally.hit(row, || {
                    let expected = format!("a time on the step of {step}{}", step.if_of_months());
                    Example::at(table, row, None, expected)
                });
            }
        }
    }
    let (finding, rows) = tally.finish(table.rows());
    sieve.refuse(Mark::rows(&rows, Check::OffStep));
    finding
}

/// Where times lie between two steps. A division costs more than all else here, and is rarely
/// needed: mostly a time is one step after the one before it.
struct Phases<'a> {
    times: std::slice::Iter<'a, i64>,
    step: i64,
    next: i64,
    phase: i64,
}

impl<'a> Phases<'a> {
    fn new(times: &'a [i64], step: i64) -> Self {
        let first = times.first().copied().unwrap_or(0);
        Self {
            times: times.iter(),
            step,
            next: first,
            phase: first.rem_euclid(step),
        }
    }
}

impl Iterator for Phases<'_> {
    type Item = i64;

    #[inline]
    fn next(&mut self) -> Option<i64> {
        let time = *self.times.next()?;
        if time != self.next {
            self.phase = time.rem_euclid(self.step);
        }
        self.next = time.wrapping_add(self.step);
        Some(self.phase)
    }
}

/// What more than half of the votes are for, or some of them where there is no such majority (Boyer and
/// Moore 1981).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Majority {
    candidate: Option<i64>,
    votes: usize,
}

impl Majority {
    pub(super) fn vote(&mut self, item: i64) {
        match self.candidate {
            Some(leader) if leader == item => self.votes += 1,
            _ if self.votes == 0 => (self.candidate, self.votes) = (Some(item), 1),
            _ => self.votes -= 1,
        }
    }

    /// None where nobody has voted.
    pub(super) fn of_all(self) -> Option<i64> {
        self.candidate
    }
}

pub(super) fn majority(items: impl Iterator<Item = i64>) -> Option<i64> {
    let mut majority = Majority::default();
    items.for_each(|item| majority.vote(item));
    majority.of_all()
}

/// Finds rows of one time, series and issue: equal ones, and such that differ. The rows must be in
/// order.
pub(super) fn duplicates(sieve: &mut Sieve, params: &QualityParams) -> [Finding; 2] {
    let table = sieve.table();
    let times = table.times();
    let on_conflict = match params.conflicts {
        Conflicts::Fail => Action::Fail,
        Conflicts::KeepFirst | Conflicts::KeepLast | Conflicts::Drop => Action::Drop,
    };
    let mut equal = Tally::new(table, Check::Duplicates, None, params.duplicates);
    let mut conflicting = Tally::new(table, Check::Conflicts, None, on_conflict);
    let mut marks = Vec::new();
    let same = |a: usize, b: usize| times[a] == times[b] && table.key(a) == table.key(b);
    let mut first = 0;
    while first < times.len() {
        let mut end = first + 1;
        while end < times.len() && same(first, end) {
            end += 1;
        }
        let differing = (first + 1..end).find_map(|row| difference(table, first, row));
        let others = first + 1..end;
        if let Some(column) = differing {
            for row in others.clone() {
                conflicting.count(row, 1);
                conflicting.show(|| {
                    let text = "one row a time; two have different values of";
                    Example::at(table, row, None, format!("{text} {column}"))
                });
            }
            let refused = match params.conflicts {
                Conflicts::KeepFirst => others,
                Conflicts::KeepLast => first..end - 1,
                Conflicts::Drop => first..end,
                Conflicts::Fail => end..end,
            };
            marks.extend(refused.map(|row| Mark::row(row, Check::Conflicts)));
        } else {
            for row in others {
                let expected = "one row a time; two are equal";
                equal.hit(row, || Example::at(table, row, None, expected));
            }
        }
        first = end;
    }
    let (equal, rows) = equal.finish(times.len());
    let (conflicting, _) = conflicting.finish(times.len());
    marks.extend(Mark::rows(&rows, Check::Duplicates));
    sieve.refuse(marks);
    [equal, conflicting]
}

/// The first column in which two rows differ.
fn difference(table: &Table, a: usize, b: usize) -> Option<&str> {
    let differs = |values: &[f64]| !same_value(values[a], values[b]);
    let mut columns = table.columns().iter();
    columns
        .find(|column| differs(&column.values))
        .map(|column| column.name.as_str())
}

/// Finds times without rows that are too long, or too many. Of forecasts those within one issue.
pub(super) fn gaps(table: &Table, setting: &Setting<'_>) -> Option<Finding> {
    let params = setting.params;
    let step = setting.step.seconds();
    let longest = params
        .longest_gap
        .map_or((6 * step).max(Step::DAY.seconds()), Step::seconds);
    let mut tally = Tally::new(table, Check::Gaps, None, params.gaps);
    let mut all = 0_usize;
    for group in groups(table) {
        let mut count = 0_usize;
        for strand in group.strands() {
            let pairs = table.times()[strand.clone()].windows(2);
            for (row, pair) in strand.zip(pairs) {
                let length = pair[1] - pair[0] - step;
                if length < step {
                    continue;
                }
                count += 1;
                if length > longest {
                    tally.count(row, 1);
                    tally.show(|| {
                        let expected = format!(
                            "at most {} without rows, here {}",
                            span(longest),
                            span(length)
                        );
                        Example::at_time(table, row, pair[0] + step, expected)
                    });
                }
            }
        }
        if let Some(most) = params.gap_count.filter(|&most| count > most) {
            tally.count(group.rows.start, 1);
            tally.show(|| {
                let expected = format!("at most {most} gaps");
                Example::of_group(table, &group, count as f64, expected)
            });
        }
        all += count;
    }
    tally.measure(all as f64);
    (params.gaps != Action::Off).then(|| tally.finish(table.rows()).0)
}

/// Finds a last observation, or a last issue of forecasts, that is too old, where the present is known.
pub(super) fn timeliness(table: &Table, setting: &Setting<'_>) -> Option<Finding> {
    let params = setting.params;
    let now = setting.now.filter(|_| table.rows() > 0)?;
    let day = Step::DAY.seconds();
    let oldest = params
        .oldest
        .map_or((3 * setting.step.seconds()).max(day), Step::seconds);
    let what = table.issues().map_or("observation", |_| "issue");
    let axis = table.issues().unwrap_or(table.times());
    let mut tally = Tally::new(table, Check::Timeliness, None, params.timeliness);
    let groups = groups(table);
    for group in &groups {
        let observed = last_observed(table, group.rows.clone(), setting.ahead);
        let Some(row) = observed.or(group.rows.clone().next()) else {
            continue;
        };
        let age = now - axis[row];
        if observed.is_none() || age > oldest {
            tally.count(row, 1);
            tally.show(|| {
                let found = match observed {
                    Some(_) => format!("it is {} old", span(age)),
                    None => "there is none".to_owned(),
                };
                let expected = format!("a last {what} of at most {} ago, {found}", span(oldest));
                Example::at_time(table, row, table.times()[row], expected)
            });
        }
    }
    (params.timeliness != Action::Off).then(|| tally.finish(groups.len()).0)
}

/// The last of these rows in which there is more than what is known before its time. Every row of a forecast from outside is
/// one of its issue.
fn last_observed(table: &Table, mut rows: Range<usize>, ahead: &[String]) -> Option<usize> {
    if table.issues().is_some() {
        return rows.next_back();
    }
    let observed: Vec<&[f64]> = (table.columns().iter())
        .filter(|column| !ahead.contains(&column.name))
        .map(|column| column.values.as_slice())
        .collect();
    rows.rfind(|&row| observed.iter().any(|values| !values[row].is_nan()))
}

/// A length of time for a person.
fn span(seconds: i64) -> Span {
    Span::from(Duration::from_secs(seconds.max(0).unsigned_abs()))
}
