//! The row of each series that a forecast is issued from, and what keeps it from being a good one.

use std::path::Path;

use anyhow::{Result, bail};

use crate::data::{Block, ColumnSource, Dataset, Frame, Role};
use crate::model::ModelFile;
use crate::time::{Span, format_short};

/// Columns that are named where many are missing.
const NAMED: usize = 3;

/// A series and the row of a frame from which it is forecast.
pub(super) struct Newest {
    /// Its rows in the data set.
    pub(super) observed: Block,
    /// The first of its rows in the frame.
    pub(super) first: usize,
    /// The row of the frame that the forecast is issued from: the last one that has all that the model
    /// reads, and every target observed. What is known in the future may reach beyond, and so may what
    /// was filled.
    pub(super) issue: usize,
    /// The last row that anything was observed in, of this or another series.
    data_end: i64,
    /// What is not there in the row after the one that it is issued from.
    missing: Vec<String>,
}

/// Of each series of a data set, in a frame of it for this model.
pub(super) fn newest(dataset: &Dataset, frame: &Frame, file: &ModelFile) -> Vec<Newest> {
    let targets = dataset.observed_targets();
    let columns = &dataset.meta().columns;
    // What is known of the future says nothing of how new the data are.
    let read: Vec<usize> = (0..columns.len())
        .filter(|&c| columns[c].role == Role::Past && file.model.reads_covariates())
        .collect();
    let observed: Vec<usize> = (0..columns.len())
        .filter(|&c| {
            let source = &columns[c].source;
            let of_data = matches!(
                source,
                ColumnSource::Observed { .. } | ColumnSource::Wind { .. }
            );
            of_data && columns[c].role != Role::Future
        })
        .collect();
    let blocks = dataset.panel().layout().blocks().iter();
    let pairs = blocks.zip(frame.layout.blocks());
    let mut all: Vec<Newest> = pairs
        .map(|(block, longer)| {
            let first = longer.rows.start;
            let rows = first..first + block.rows.len();
            let of_target = |target: usize, row: usize| {
                let row = block.rows.start + (row - first);
                !targets[target][row].is_nan()
            };
            let is_complete = |row: &usize| {
                (0..targets.len()).all(|target| of_target(target, *row))
                    && read.iter().all(|&c| !frame.at(*row, c).is_nan())
            };
            let issue = rows.clone().rev().find(is_complete);
            let issue = issue.unwrap_or(rows.end - 1);
            let has_data = |row: &usize| observed.iter().any(|&c| !frame.at(*row, c).is_nan());
            let end = rows.clone().rev().find(has_data).unwrap_or(issue);
            let mut missing = Vec::new();
            if issue < end {
                let names = dataset.meta().targets.names().iter().enumerate();
                let absent = names.filter(|(target, _)| !of_target(*target, issue + 1));
                missing.extend(absent.map(|(_, name)| name.clone()));
                let is_measured =
                    |c: usize| matches!(columns[c].source, ColumnSource::Observed { .. });
                let absent = read.iter().filter(|&&c| frame.at(issue + 1, c).is_nan());
                // What is made from others lacks what they lack.
                let (measured, made): (Vec<usize>, Vec<usize>) =
                    absent.partition(|&&c| is_measured(c));
                let told = if missing.is_empty() && measured.is_empty() {
                    made
                } else {
                    measured
                };
                missing.extend(told.iter().map(|&c| frame.columns[c].name.clone()));
            }
            Newest {
                observed: block.clone(),
                first,
                issue,
                data_end: frame.time(end),
                missing,
            }
        })
        .collect();
    let data_end = all.iter().map(|series| series.data_end).max();
    for series in &mut all {
        series.data_end = data_end.unwrap_or(series.data_end);
    }
    all
}

impl Newest {
    /// ` of NAME`, where it has a name.
    pub(super) fn of_series(&self) -> String {
        match self.observed.name.as_str() {
            "" => String::new(),
            name => format!(" of {name}"),
        }
    }

    /// What is to be said where the forecast is issued from before the end of the data.
    pub(super) fn lateness(&self, frame: &Frame) -> Option<String> {
        let issued = frame.time(self.issue);
        let late = u64::try_from(self.data_end - issued)
            .ok()
            .filter(|&late| late > 0)?;
        let span = Span::from(std::time::Duration::from_secs(late));
        let more = match self.missing.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let why = match &self.missing[..self.missing.len().min(NAMED)] {
            [] => "the series ends there".to_owned(),
            some => format!("there is no {}{more} after it", some.join(", ")),
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
        frame: &Frame,
        file: &ModelFile,
        data: &Path,
    ) -> Result<()> {
        let late = (self.data_end - frame.time(self.issue)) / frame.step().seconds();
        if late >= file.model.horizon as i64 {
            let late = self.lateness(frame).unwrap_or_default();
            bail!("{late}; all it could say lies before that end");
        }
        self.require_lookback(frame, file, data)?;
        let (issue, of) = (self.issue, self.of_series());
        let future = frame.columns_with(Role::Future);
        for row in issue + 1..=issue + file.model.horizon {
            let missing = |c: &&usize| row >= frame.rows() || frame.at(row, **c).is_nan();
            if let Some(&c) = future.iter().find(missing) {
                bail!(
                    "{}{of} is not known at {}",
                    frame.columns[c].name,
                    format_short(frame.time(row))
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

    fn require_lookback(&self, frame: &Frame, file: &ModelFile, data: &Path) -> Result<()> {
        let (issue, lookback) = (self.issue, file.model.lookback);
        let of = self.of_series();
        if issue + 1 < self.first + lookback {
            bail!(
                "{} has {} rows{of}, the model looks back over {lookback}",
                data.display(),
                issue + 1 - self.first
            );
        }
        let is_read =
            |c: &usize| file.model.reads_covariates() || frame.columns[*c].role == Role::Target;
        let read: Vec<usize> = (0..frame.width()).filter(is_read).collect();
        let rows = issue + 1 - lookback..=issue;
        let absent = |row: usize| read.iter().copied().find(|&c| frame.at(row, c).is_nan());
        let incomplete: Vec<usize> = rows.filter(|&row| absent(row).is_some()).collect();
        let Some((&row, others)) = incomplete.split_last() else {
            return Ok(());
        };
        let column = absent(row).map_or("", |c| &frame.columns[c].name);
        let others = match others.len() {
            0 => String::new(),
            others => format!(" (and {others} more of these rows are not complete)"),
        };
        bail!(
            "{} has no {column}{of} at {}, within the {lookback} rows that the model looks back over{others}; \
             prepare.fill fills short gaps",
            data.display(),
            format_short(frame.time(row))
        )
    }
}
