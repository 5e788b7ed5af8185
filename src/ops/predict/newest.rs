//! The row of each series that a forecast is issued from, and what keeps it from being a good one.

use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;

use anyhow::{Result, bail};

use super::super::some_of;
use crate::data::{Block, ColumnSource, Dataset, Frame, Role};
use crate::model::ModelFile;
use crate::time::{Span, format_short};

/// A series and the row of a frame from which it is forecast.
pub(super) struct Newest {
    /// Its rows in the data set.
    pub(super) observed: Block,
    /// The first of its rows in the frame.
    pub(super) first: usize,
    /// The row of the frame that the forecast is issued from: the last one that has all that the model
    /// reads, and every target observed. What is known in the future may reach beyond, and so may what
    /// was filled: where all that could be said from there is past, it is the last row that was filled.
    pub(super) issue: usize,
    /// Where that was filled, the last row with all observed.
    before_outage: Option<usize>,
    /// The last row that anything was observed in, of this or another series.
    data_end: i64,
    /// What is not there in the row after the one that it is issued from.
    missing: Vec<String>,
}

/// Of each series of a data set, in a frame of it for this model.
pub(super) fn newest(dataset: &Dataset, frame: &Frame, file: &ModelFile) -> Vec<Newest> {
    let seen = Seen::of(dataset, frame, file);
    let blocks = dataset.panel().layout().blocks().iter();
    let pairs = blocks.zip(frame.layout.blocks());
    let of_block = |(block, longer): (&Block, &Block)| {
        let first = longer.rows.start;
        let series = SeriesRows {
            rows: first..first + block.rows.len(),
            observed: block.rows.start,
            until: dataset.observed_until(block),
        };
        let (issue, end) = seen.issue_and_end(&series);
        Newest {
            observed: block.clone(),
            first,
            issue,
            before_outage: None,
            data_end: frame.time(end),
            missing: if issue + 1 < series.rows.end {
                seen.missing_at(&series, issue + 1)
            } else {
                Vec::new()
            },
        }
    };
    let mut all: Vec<Newest> = pairs.map(of_block).collect();
    let data_end = all.iter().map(|series| series.data_end).max();
    for series in &mut all {
        series.data_end = data_end.unwrap_or(series.data_end);
        if series.is_past(frame, file) {
            series.bridge(&seen, file);
        }
    }
    all
}

/// The observed rows of a series: in a frame, and where they begin in the data set.
struct SeriesRows {
    rows: Range<usize>,
    observed: usize,
    /// The last of them, from the first on, in which anything was observed, where that is written.
    until: Option<usize>,
}

/// What a model reads of a row, and what there is.
struct Seen<'a> {
    dataset: &'a Dataset,
    frame: &'a Frame,
    /// The values of each target as they were observed, by row of the data set.
    targets: Vec<Cow<'a, [f64]>>,
    /// The columns beside the targets without which there is no forecast. What is known of the future
    /// says nothing of how new the data are.
    read: Vec<usize>,
    /// The columns that come from the data, not made from others.
    of_data: Vec<usize>,
}

impl<'a> Seen<'a> {
    fn of(dataset: &'a Dataset, frame: &'a Frame, file: &ModelFile) -> Self {
        let columns = &dataset.meta().columns;
        let is_read = |&c: &usize| columns[c].role == Role::Past && file.model.reads_covariates();
        let is_of_data = |&c: &usize| {
            use ColumnSource::{Observed, Wind};
            let of_data = matches!(columns[c].source, Observed { .. } | Wind { .. });
            of_data && columns[c].role != Role::Future
        };
        Self {
            dataset,
            frame,
            targets: dataset.seen_targets(&file.scalers()),
            read: (0..columns.len()).filter(is_read).collect(),
            of_data: (0..columns.len()).filter(is_of_data).collect(),
        }
    }

    fn is_observed(&self, series: &SeriesRows, target: usize, row: usize) -> bool {
        let row = series.observed + row - series.rows.start;
        !self.targets[target][row].is_nan()
    }

    /// The last row that was filled so that a forecast may be issued from it, as those of an evaluation are.
    fn last_filled(&self, rows: Range<usize>) -> Option<usize> {
        let targets = self.frame.targets();
        let read = || targets.iter().chain(&self.read);
        let is_there =
            |&row: &usize| self.frame.may_issue(row) && read().all(|&column| self.has(row, column));
        rows.rev().find(is_there)
    }

    fn has(&self, row: usize, column: usize) -> bool {
        !self.frame.at(row, column).is_nan()
    }

    /// The row that a series is forecast from, and the last one that anything was observed in.
    fn issue_and_end(&self, series: &SeriesRows) -> (usize, usize) {
        let is_complete = |&row: &usize| {
            (0..self.targets.len()).all(|target| self.is_observed(series, target, row))
                && self.read.iter().all(|&column| self.has(row, column))
        };
        let has_data = |&row: &usize| self.of_data.iter().any(|&column| self.has(row, column));
        let mut latest_first = series.rows.clone().rev();
        let issue = latest_first.clone().find(is_complete);
        let issue = issue.unwrap_or(series.rows.end - 1);
        let end = match series.until {
            Some(row) => Some(series.rows.start + row),
            None => latest_first.find(has_data),
        };
        (issue, end.unwrap_or(issue))
    }

    /// The names of what a row lacks. What is made from others lacks what they lack, so it is named only
    /// where it is alone.
    fn missing_at(&self, series: &SeriesRows, row: usize) -> Vec<String> {
        let columns = &self.dataset.meta().columns;
        let names = self.dataset.meta().targets.names().iter().enumerate();
        let targets = names.filter(|(target, _)| !self.is_observed(series, *target, row));
        let mut missing: Vec<String> = targets.map(|(_, name)| name.clone()).collect();
        let is_measured = |c: usize| matches!(columns[c].source, ColumnSource::Observed { .. });
        let absent = self.read.iter().filter(|&&column| !self.has(row, column));
        let (measured, made): (Vec<usize>, Vec<usize>) = absent.partition(|&&c| is_measured(c));
        let told = if missing.is_empty() && measured.is_empty() {
            made
        } else {
            measured
        };
        missing.extend(told.iter().map(|&c| self.frame.columns[c].name.clone()));
        missing
    }
}

impl Newest {
    /// ` of NAME`, where it has a name.
    pub(super) fn of_series(&self) -> String {
        match self.observed.name.as_str() {
            "" => String::new(),
            name => format!(" of {name}"),
        }
    }

    /// How many steps before the end of the data it is issued.
    fn steps_late(&self, frame: &Frame, issue: usize) -> i64 {
        (self.data_end - frame.time(issue)) / frame.step().seconds()
    }

    /// Whether all that could be said lies before the end of the data.
    fn is_past(&self, frame: &Frame, file: &ModelFile) -> bool {
        self.steps_late(frame, self.issue) >= file.model.horizon as i64
    }

    /// Goes over an outage that is longer than the horizon by what was filled, if that reaches far enough.
    fn bridge(&mut self, seen: &Seen<'_>, file: &ModelFile) {
        let rows = self.issue + 1..self.first + self.observed.rows.len();
        // What is known before its time has rows after the end of the data, which are filled too.
        let ended = |&row: &usize| seen.frame.time(row) > self.data_end;
        let end = rows.clone().find(ended).unwrap_or(rows.end);
        let filled = seen.last_filled(rows.start..end);
        let near = |row: &usize| self.steps_late(seen.frame, *row) < file.model.horizon as i64;
        if let Some(row) = filled.filter(near) {
            self.before_outage = Some(self.issue);
            self.issue = row;
        }
    }

    /// Where it is issued from a row that was filled, the time of the last one that was observed.
    pub(super) fn observed_until(&self, frame: &Frame) -> Option<i64> {
        Some(frame.time(self.before_outage?))
    }

    /// What is to be said where the forecast is issued from before the end of the data, or in an outage.
    pub(super) fn lateness(&self, frame: &Frame) -> Option<String> {
        if let Some(before) = self.before_outage {
            return Some(format!(
                "the forecast{} is issued at {} from what was filled (prepare.fill): there is no {} after {}",
                self.of_series(),
                format_short(frame.time(self.issue)),
                some_of(&self.missing),
                format_short(frame.time(before))
            ));
        }
        let issued = frame.time(self.issue);
        let late = u64::try_from(self.data_end - issued)
            .ok()
            .filter(|&late| late > 0)?;
        let span = Span::from(std::time::Duration::from_secs(late));
        let why = match self.missing[..] {
            [] => "the series ends there".to_owned(),
            _ => format!("there is no {} after it", some_of(&self.missing)),
        };
        Some(format!(
            "the forecast{} is issued at {}, {span} before the end of the data: {why}",
            self.of_series(),
            format_short(issued)
        ))
    }

    /// Refuses a series without what the model needs before and after the issue row.
    pub(super) fn require_complete(
        &self,
        (dataset, frame): (&Dataset, &Frame),
        file: &ModelFile,
        data: &Path,
    ) -> Result<()> {
        if self.is_past(frame, file) {
            let late = self.lateness(frame).unwrap_or_default();
            bail!("{late}; all it could say lies before that end");
        }
        self.require_lookback((dataset, frame), file, data)?;
        if file.model.reads_covariates() {
            self.require_ahead(frame, file)?;
        }
        Ok(())
    }

    /// Refuses a series of which less is known ahead than the model reads.
    fn require_ahead(&self, frame: &Frame, file: &ModelFile) -> Result<()> {
        let (issue, of) = (self.issue, self.of_series());
        let future = frame.columns_with(Role::Future);
        for row in issue + 1..=issue + file.model.horizon {
            let missing = |c: &&usize| row >= frame.rows() || frame.at(row, **c).is_nan();
            if let Some(&c) = future.iter().find(missing) {
                bail!(
                    "{}{of} is not known at {}: the model needs it for all {} rows after {}, from which it forecasts",
                    frame.columns[c].name,
                    format_short(frame.time(row)),
                    file.model.horizon,
                    format_short(frame.time(issue))
                );
            }
        }
        if !frame.columns_with(Role::Forecast).is_empty() {
            let reach = frame.outlook.reach[issue] as usize;
            if reach < file.model.horizon {
                bail!(
                    "the newest forecast{of} that was known at {} reaches {reach} steps ahead, the model \
                     needs {}",
                    format_short(frame.time(issue)),
                    file.model.horizon
                );
            }
        }
        Ok(())
    }
}
