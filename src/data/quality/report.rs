//! What the checks found: for `quality.json`, and as a table for a person.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::params::Action;
use crate::time::{format_short, format_utc};

/// The version of `quality.json`.
const FORMAT: u32 = 1;

/// How many examples a finding shows.
pub(super) const EXAMPLES: usize = 3;

/// The checks, in the order of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// A column that must be there.
    Required,
    /// Rows in order of time.
    Order,
    /// Rows on the step.
    OffStep,
    /// Equal rows.
    Duplicates,
    /// Rows of one time and different values.
    Conflicts,
    /// Rows that are missing.
    Gaps,
    /// Values that are missing.
    Completeness,
    /// Numbers that stand for "no value".
    Sentinels,
    /// Values that cannot be.
    Range,
    /// Changes that cannot be.
    Spikes,
    /// One value for too long.
    Stuck,
    /// One value always.
    Constant,
    /// Columns that contradict each other.
    Consistency,
    /// The age of the last row.
    Timeliness,
    /// Another distribution than in the training part.
    Drift,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Required => "required",
            Self::Order => "order",
            Self::OffStep => "off_step",
            Self::Duplicates => "duplicates",
            Self::Conflicts => "conflicts",
            Self::Gaps => "gaps",
            Self::Completeness => "completeness",
            Self::Sentinels => "sentinels",
            Self::Range => "range",
            Self::Spikes => "spikes",
            Self::Stuck => "stuck",
            Self::Constant => "constant",
            Self::Consistency => "consistency",
            Self::Timeliness => "timeliness",
            Self::Drift => "drift",
        })
    }
}

/// One check of one column, or of the rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Which check.
    pub check: Check,
    /// The column; none where the rows as a whole are looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// What becomes of what was found.
    pub action: Action,
    /// How much was found; 0 where all is well.
    pub count: usize,
    /// The share of what was looked at.
    pub share: f64,
    /// What the check measured, where it measures one number: the index of drift.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<f64>,
    /// The first of them.
    pub examples: Vec<Example>,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// When, in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// What stands there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// What should.
    pub expected: String,
}

impl Example {
    pub(super) fn new(time: i64, value: Option<f64>, expected: impl Into<String>) -> Self {
        Self {
            time: Some(format_utc(time)),
            value,
            expected: expected.into(),
        }
    }
}

impl Finding {
    pub(super) fn new(check: Check, column: Option<&str>, action: Action) -> Self {
        Self {
            check,
            column: column.map(str::to_owned),
            action,
            count: 0,
            share: 0.0,
            measured: None,
            examples: Vec::new(),
        }
    }

    /// Counts one more.
    pub(super) fn hit(&mut self, example: impl FnOnce() -> Example) {
        self.count += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(example());
        }
    }

    /// Says of how many.
    pub(super) fn of(mut self, all: usize) -> Self {
        self.share = if all == 0 {
            0.0
        } else {
            self.count as f64 / all as f64
        };
        self
    }

    /// Whether it forbids to go on.
    pub fn fails(&self) -> bool {
        self.count > 0 && self.action == Action::Fail
    }
}

/// What became of the rows. `rows_in` is always `kept + dropped`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RowTotalsAsWritten", into = "RowTotalsAsWritten")]
pub struct RowTotals {
    kept: usize,
    dropped: usize,
}

/// How [`RowTotals`] are written down.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct RowTotalsAsWritten {
    rows_in: usize,
    kept: usize,
    dropped: usize,
}

impl RowTotals {
    /// From what went in and what came out, which the sieve holds equal.
    pub(super) fn new(rows_in: usize, kept: usize, dropped: usize) -> Self {
        debug_assert_eq!(rows_in, kept + dropped);
        Self { kept, dropped }
    }

    /// Rows of the table.
    pub fn rows_in(self) -> usize {
        self.kept + self.dropped
    }

    /// Rows to go on with.
    pub fn kept(self) -> usize {
        self.kept
    }

    /// Rows that were refused.
    pub fn dropped(self) -> usize {
        self.dropped
    }
}

impl From<RowTotals> for RowTotalsAsWritten {
    fn from(rows: RowTotals) -> Self {
        Self {
            rows_in: rows.rows_in(),
            kept: rows.kept,
            dropped: rows.dropped,
        }
    }
}

impl TryFrom<RowTotalsAsWritten> for RowTotals {
    type Error = String;

    fn try_from(rows: RowTotalsAsWritten) -> Result<Self, String> {
        if rows.kept.checked_add(rows.dropped) != Some(rows.rows_in) {
            return Err("rows_in is not kept + dropped".to_owned());
        }
        Ok(Self {
            kept: rows.kept,
            dropped: rows.dropped,
        })
    }
}

/// `quality.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QualityReport {
    format: u32,
    rows: RowTotals,
    masked: usize,
    checks: Vec<Finding>,
}

impl QualityReport {
    pub(super) fn new(rows: RowTotals, masked: usize, checks: Vec<Finding>) -> Self {
        Self {
            format: FORMAT,
            rows,
            masked,
            checks,
        }
    }

    /// What became of the rows.
    pub fn rows(&self) -> RowTotals {
        self.rows
    }

    /// How many values were taken away.
    pub fn masked(&self) -> usize {
        self.masked
    }

    /// Every check that was made, also those that found nothing.
    pub fn checks(&self) -> &[Finding] {
        &self.checks
    }

    /// The checks that found something.
    pub fn found(&self) -> impl Iterator<Item = &Finding> {
        self.checks.iter().filter(|finding| finding.count > 0)
    }

    /// The checks that forbid to go on.
    pub fn failed(&self) -> impl Iterator<Item = &Finding> {
        self.checks.iter().filter(|finding| finding.fails())
    }

    /// Equal rows that were refused.
    pub fn duplicates(&self) -> usize {
        let dropped = |f: &&Finding| f.check == Check::Duplicates && f.action == Action::Drop;
        self.checks
            .iter()
            .find(dropped)
            .map_or(0, |finding| finding.count)
    }

    /// For a person: lines of at most 80 columns.
    pub fn table(&self) -> String {
        let found: Vec<&Finding> = self.found().collect();
        let rows = self.rows;
        let mut text = format!(
            "Quality of {} rows: {} kept, {} dropped, {} values masked\n",
            rows.rows_in(),
            rows.kept(),
            rows.dropped(),
            self.masked
        );
        if found.is_empty() {
            return text + &format!("{} checks found nothing\n", self.checks.len());
        }
        text += &format!(
            "\n{:<12} {:<40} {:<6} {:>9} {:>8}\n",
            "check", "column", "action", "count", "share"
        );
        for finding in &found {
            let column = finding.column.as_deref().unwrap_or("(rows)");
            let action = format!("{:?}", finding.action).to_lowercase();
            text += &format!(
                "{:<12} {:<40} {:<6} {:>9} {:>8}\n",
                finding.check.to_string(),
                shortened(column, 40),
                action,
                finding.count,
                percent(finding.share)
            );
            for example in &finding.examples {
                text += &format!("  {}\n", shortened(&told(example), 77));
            }
        }
        text + &format!(
            "{} other checks found nothing\n",
            self.checks.len() - found.len()
        )
    }
}

/// `2020-01-01 00:00  -9999, expected -90 to 60 °C`.
fn told(example: &Example) -> String {
    let time = example
        .time
        .as_deref()
        .and_then(|time| crate::time::parse_time(time, None, 0));
    let time = time
        .map(|time| format!("{}  ", format_short(time)))
        .unwrap_or_default();
    let value = example
        .value
        .map(|value| format!("{}, ", number(value)))
        .unwrap_or_default();
    format!("{time}{value}expected {}", example.expected)
}

/// A number with at most four digits after the point, and none that say nothing.
pub(super) fn number(value: f64) -> String {
    let text = format!("{value:.4}");
    match text.trim_end_matches('0').trim_end_matches('.') {
        short if value.abs() < 1e12 => short.to_owned(),
        _ => format!("{value:e}"),
    }
}

fn percent(share: f64) -> String {
    match share * 100.0 {
        percent if percent > 0.0 && percent < 0.01 => "<0.01 %".to_owned(),
        percent => format!("{percent:.2} %"),
    }
}

fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width - 1).chain(['…']).collect()
}
