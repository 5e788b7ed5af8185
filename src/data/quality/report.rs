//! What the checks found: for `quality.json`, and as a table for a person.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::super::Table;
use crate::decimals::{decimals, rounded};
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
    /// How much of that in which series, where there are several; those with nothing are left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub series: BTreeMap<String, usize>,
    /// The first of them.
    pub examples: Vec<Example>,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// When, in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// In which series, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<String>,
    /// Of which issue time, in UTC, where it is a forecast.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issue: Option<String>,
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
            series: None,
            issue: None,
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
            series: BTreeMap::new(),
            examples: Vec::new(),
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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

    fn add(&mut self, kept: usize, dropped: usize) {
        self.kept += kept;
        self.dropped += dropped;
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

fn by_series(kept: &Table, refused: &Table) -> BTreeMap<String, RowTotals> {
    let mut totals: BTreeMap<String, RowTotals> = BTreeMap::new();
    for (table, (of_kept, of_refused)) in [(kept, (1, 0)), (refused, (0, 1))] {
        let Some(series) = table.series() else {
            continue;
        };
        let mut rows = vec![0_usize; series.names().len()];
        for &place in series.places() {
            rows[place as usize] += 1;
        }
        for (name, rows) in series.names().iter().zip(rows) {
            let total = totals.entry(name.clone()).or_default();
            total.add(of_kept * rows, of_refused * rows);
        }
    }
    totals
}

/// `quality.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QualityReport {
    format: u32,
    rows: RowTotals,
    /// The same by series, where there are several.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    series: BTreeMap<String, RowTotals>,
    masked: usize,
    checks: Vec<Finding>,
}

impl QualityReport {
    /// From what went in, what came out of it, and what was found.
    pub(super) fn new(
        rows_in: usize,
        kept: &Table,
        refused: &Table,
        masked: usize,
        checks: Vec<Finding>,
    ) -> Self {
        Self {
            format: FORMAT,
            rows: RowTotals::new(rows_in, kept.rows(), refused.rows()),
            series: by_series(kept, refused),
            masked,
            checks,
        }
    }

    /// What became of the rows.
    pub fn rows(&self) -> RowTotals {
        self.rows
    }

    /// What became of the rows of each series, where there are several.
    pub fn series(&self) -> &BTreeMap<String, RowTotals> {
        &self.series
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
        if !self.series.is_empty() {
            text += &format!("{} series\n", self.series.len());
        }
        if found.is_empty() {
            return text + &format!("{} checks found nothing\n", self.checks.len());
        }
        text += &format!(
            "\n{:<12} {:<40} {:<6} {:>9} {:>8}\n",
            "check", "column", "action", "count", "share"
        );
        for finding in &found {
            let column = finding.column.as_deref().unwrap_or("(rows)");
            let column = match finding.series.len() {
                0 => shortened(column, 40),
                series => {
                    let series = format!(", {series} series");
                    shortened(column, 40 - series.len()) + &series
                }
            };
            let action = format!("{:?}", finding.action).to_lowercase();
            text += &format!(
                "{:<12} {:<40} {:<6} {:>9} {:>8}\n",
                finding.check.to_string(),
                column,
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

/// `2020-01-01 00:00  -9999, expected -90 to 60 °C`, after the name of its series, and for a
/// forecast with its issue time behind the time.
fn told(example: &Example) -> String {
    let short = |time: &Option<String>| {
        let time = time.as_deref()?;
        Some(format_short(crate::time::parse_time(time, None, 0)?))
    };
    let series = example
        .series
        .as_deref()
        .map(|series| format!("{}  ", shortened(series, 20)))
        .unwrap_or_default();
    let issue = short(&example.issue)
        .map(|issue| format!("of {issue}  "))
        .unwrap_or_default();
    let time = short(&example.time)
        .map(|time| format!("{time}  "))
        .unwrap_or_default();
    let value = example
        .value
        .map(|value| format!("{}, ", number(value)))
        .unwrap_or_default();
    format!("{series}{time}{issue}{value}expected {}", example.expected)
}

/// A number with at most four digits after the point, more where a small one needs them to have three, and
/// none that say nothing.
pub(super) fn number(value: f64) -> String {
    if value != 0.0 && !(1e-9..1e12).contains(&value.abs()) {
        return format!("{value:e}");
    }
    let text = rounded(value, decimals(value, 3).max(4));
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_is_told_as_nothing() {
        for (value, told) in [
            (0.0, "0"),
            (-0.0, "0"),
            (-9999.0, "-9999"),
            (12_345.678_91, "12345.6789"),
            (0.5, "0.5"),
            (0.012_345, "0.0123"),
            (-0.000_02, "-0.00002"),
            (0.000_012_345, "0.0000123"),
            (-1.5e-12, "-1.5e-12"),
            (1e12, "1e12"),
            (f64::INFINITY, "inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(number(value), told);
        }
    }
}
