//! Checks on rows and their times: what is there at all, in which order, how often, on which step.

use super::super::Table;
use super::Setting;
use super::report::{Check, Example, Finding, number};
use super::sieve::{Mark, Sieve};
use crate::params::{Action, Conflicts, QualityParams};
use crate::time::{Step, format_utc};

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
            finding.hit(|| Example {
                time: None,
                value: None,
                expected: format!("a column of this name; there are {}", there.join(", ")),
            });
        }
        finding.of(1)
    };
    names.into_iter().map(finding).collect()
}

/// Finds rows that are older than one before them, and puts the rows in order.
pub(super) fn in_order(sieve: &mut Sieve, action: Action) -> Option<Finding> {
    let mut finding = Finding::new(Check::Order, None, action);
    let mut marks = Vec::new();
    let mut latest = i64::MIN;
    for (row, &time) in sieve.table().times().iter().enumerate() {
        if time >= latest {
            latest = time;
            continue;
        }
        finding.hit(|| {
            let before = format_utc(latest);
            Example::new(
                time,
                None,
                format!("no time before {before}, which stands above it"),
            )
        });
        if action == Action::Drop {
            marks.push(Mark {
                row,
                check: Check::Order,
                column: None,
            });
        }
    }
    let finding = finding.of(sieve.table().times().len());
    sieve.refuse(marks);
    if finding.count > 0 && action != Action::Drop {
        sieve.sort();
    }
    (action != Action::Off).then_some(finding)
}

/// Finds rows that do not lie on the step that most rows lie on.
pub(super) fn off_step(sieve: &mut Sieve, step: Step, action: Action) -> Finding {
    let mut finding = Finding::new(Check::OffStep, None, action);
    let times = sieve.table().times();
    let phase = most_frequent(times.iter().map(|time| time.rem_euclid(step.seconds())));
    let mut marks = Vec::new();
    for (row, &time) in times.iter().enumerate() {
        if Some(time.rem_euclid(step.seconds())) == phase {
            continue;
        }
        finding.hit(|| Example::new(time, None, format!("a time on the step of {step}")));
        if action == Action::Drop {
            marks.push(Mark {
                row,
                check: Check::OffStep,
                column: None,
            });
        }
    }
    let finding = finding.of(times.len());
    sieve.refuse(marks);
    finding
}

/// What more than half of the items are, or one of them where there is no such majority (Boyer and
/// Moore 1981).
pub(super) fn most_frequent(items: impl Iterator<Item = i64>) -> Option<i64> {
    let mut candidate = None;
    let mut votes = 0_usize;
    for item in items {
        match candidate {
            Some(leader) if leader == item => votes += 1,
            _ if votes == 0 => (candidate, votes) = (Some(item), 1),
            _ => votes -= 1,
        }
    }
    candidate
}

/// Finds rows of one time: equal ones, and such that differ. The rows must be in order.
pub(super) fn duplicates(sieve: &mut Sieve, params: &QualityParams) -> [Finding; 2] {
    let table = sieve.table();
    let times = table.times();
    let on_conflict = match params.conflicts {
        Conflicts::Fail => Action::Fail,
        Conflicts::KeepFirst | Conflicts::KeepLast | Conflicts::Drop => Action::Drop,
    };
    let mut equal = Finding::new(Check::Duplicates, None, params.duplicates);
    let mut conflicting = Finding::new(Check::Conflicts, None, on_conflict);
    let mut marks = Vec::new();
    let mut refuse = |row, check| {
        marks.push(Mark {
            row,
            check,
            column: None,
        });
    };
    let mut first = 0;
    while first < times.len() {
        let mut end = first + 1;
        while end < times.len() && times[end] == times[first] {
            end += 1;
        }
        let differing = (first + 1..end).find_map(|row| difference(table, first, row));
        if let Some(column) = differing {
            for _ in first + 1..end {
                conflicting.hit(|| {
                    let text = "one row a time; two have different values of";
                    Example::new(times[first], None, format!("{text} {column}"))
                });
            }
            let refused = match params.conflicts {
                Conflicts::KeepFirst => first + 1..end,
                Conflicts::KeepLast => first..end - 1,
                Conflicts::Drop => first..end,
                Conflicts::Fail => end..end,
            };
            refused.for_each(|row| refuse(row, Check::Conflicts));
        } else {
            for row in first + 1..end {
                equal.hit(|| Example::new(times[first], None, "one row a time; two are equal"));
                if params.duplicates == Action::Drop {
                    refuse(row, Check::Duplicates);
                }
            }
        }
        first = end;
    }
    let rows = times.len();
    sieve.refuse(marks);
    [equal.of(rows), conflicting.of(rows)]
}

/// The first column in which two rows differ. Equal is to the bit, or both missing.
fn difference(table: &Table, a: usize, b: usize) -> Option<&str> {
    let differs = |values: &[f64]| {
        let (a, b) = (values[a], values[b]);
        a.to_bits() != b.to_bits() && !(a.is_nan() && b.is_nan())
    };
    let mut columns = table.columns().iter();
    columns
        .find(|column| differs(&column.values))
        .map(|column| column.name.as_str())
}

/// Finds times without rows that are too long, or too many.
pub(super) fn gaps(times: &[i64], setting: &Setting<'_>) -> Option<Finding> {
    let params = setting.params;
    let step = setting.step.seconds();
    let longest = params
        .longest_gap
        .map_or((6 * step).max(Step::DAY.seconds()), Step::seconds);
    let mut finding = Finding::new(Check::Gaps, None, params.gaps);
    let mut count = 0_usize;
    for pair in times.windows(2) {
        let length = pair[1] - pair[0] - step;
        if length < step {
            continue;
        }
        count += 1;
        if length > longest {
            finding.hit(|| {
                let hours = |seconds: i64| number(seconds as f64 / 3600.0);
                let expected = format!(
                    "at most {} h without rows, here {} h",
                    hours(longest),
                    hours(length)
                );
                Example::new(pair[0] + step, None, expected)
            });
        }
    }
    if let Some(most) = params.gap_count.filter(|&most| count > most) {
        finding.hit(|| Example {
            time: None,
            value: Some(count as f64),
            expected: format!("at most {most} gaps"),
        });
    }
    finding.measured = Some(count as f64);
    (params.gaps != Action::Off).then(|| finding.of(times.len()))
}

/// Finds a last row that is too old, where the present is known.
pub(super) fn timeliness(times: &[i64], setting: &Setting<'_>) -> Option<Finding> {
    let params = setting.params;
    let (now, last) = (setting.now?, times.last()?);
    let day = Step::DAY.seconds();
    let oldest = params
        .oldest
        .map_or((3 * setting.step.seconds()).max(day), Step::seconds);
    let mut finding = Finding::new(Check::Timeliness, None, params.timeliness);
    if now - last > oldest {
        finding.hit(|| {
            let hours = |seconds: i64| number((seconds as f64 / 3600.0).round());
            let expected = format!(
                "a last row of at most {} h ago, it is {} h old",
                hours(oldest),
                hours(now - last)
            );
            Example::new(*last, None, expected)
        });
    }
    (params.timeliness != Action::Off).then(|| finding.of(1))
}
