//! All forecasts of the test part beside what was observed, as a table.
//!
//! Written batch by batch, so that the memory is bounded whatever the length of the test part.

use anyhow::Result;

use super::super::staged_table::StagedTable;
use super::scoring::{Scoring, Target};
use crate::data::{Column, RowSeries, Table};
use crate::fs::StagedFolder;
use crate::model::Predictions;

const NAME: &str = "forecasts.parquet";

/// See the module.
pub(super) struct ForecastFile<'a> {
    task: &'a Scoring<'a>,
    table: StagedTable,
}

impl<'a> ForecastFile<'a> {
    pub(super) fn new(task: &'a Scoring<'a>) -> Self {
        let table = StagedTable::new(NAME);
        Self { task, table }
    }

    /// Writes the forecasts from some issue rows.
    pub(super) fn add(
        &mut self,
        issues: &[usize],
        predictions: &Predictions,
        staged: &StagedFolder,
    ) -> Result<()> {
        let table = self.table(issues, predictions)?;
        self.table.write(&table, staged)
    }

    /// Ends the file.
    pub(super) fn finish(self, staged: &StagedFolder) -> Result<()> {
        self.table.finish(staged)
    }

    /// One row for each lead of each issue row.
    fn table(&self, issues: &[usize], predictions: &Predictions) -> Result<Table> {
        let Scoring { frame, horizon, .. } = self.task;
        let ahead = || {
            issues
                .iter()
                .flat_map(|&issue| (1..=*horizon).map(move |lead| (issue, lead)))
        };
        // A window ends in its series, so the row of a lead has the time of it.
        let times = ahead()
            .map(|(issue, lead)| frame.time(issue + lead))
            .collect();
        let hours = |(_, lead)| frame.step().hours(lead);
        let mut columns = vec![column("lead_h".to_owned(), "h", ahead().map(hours))];
        for (place, target) in self.task.targets.iter().enumerate() {
            let named = |what: &str| match self.task.targets.len() {
                1 => what.to_owned(),
                _ => format!("{} {what}", target.name),
            };
            let target = (place, target);
            columns.extend(of_target(self.task, issues, predictions, target, named));
        }
        let table = Table::new(times, columns)?
            .with_issues(ahead().map(|(issue, _)| frame.time(issue)).collect())?;
        if !frame.layout.is_named() {
            return Ok(table);
        }
        let name = |(issue, _)| {
            let block = frame.layout.block_of(issue);
            block.map_or("", |block| block.name.as_str())
        };
        Ok(table.with_series(RowSeries::from_names(ahead().map(name)))?)
    }
}

/// What was observed of a target, and its forecasts, in its unit.
fn of_target(
    task: &Scoring<'_>,
    issues: &[usize],
    predictions: &Predictions,
    (place, target): (usize, &Target<'_>),
    named: impl Fn(&str) -> String,
) -> Vec<Column> {
    let (horizon, levels) = (predictions.horizon, &predictions.levels);
    let unit = target.unit.as_str();
    let rows = |&issue: &usize| &target.observed[issue + 1..=issue + horizon];
    let observed = issues.iter().flat_map(rows).copied();
    // Of each issue row, and the way back in its series.
    let all = || {
        let unscaling = |&issue: &usize| target.unscalings[task.series_of(issue)];
        issues.iter().map(unscaling).enumerate()
    };
    let means = all().flat_map(|(i, unscaling)| {
        let scaled = predictions.mean_of(i, place).iter();
        scaled.map(move |scaled| unscaling.original(*scaled))
    });
    let mut columns = vec![
        column(named("observed"), unit, observed),
        column(named("mean"), unit, means),
    ];
    for (rank, level) in levels.iter().enumerate() {
        let values = all().flat_map(|(i, unscaling)| {
            let quantiles = predictions.quantiles_of(i, place).iter();
            let of_level = quantiles.skip(rank).step_by(levels.len());
            of_level.map(move |scaled| unscaling.original(*scaled))
        });
        columns.push(column(named(&format!("q{level}")), unit, values));
    }
    columns
}

fn column(name: String, unit: &str, values: impl Iterator<Item = f64>) -> Column {
    Column {
        name,
        unit: unit.to_owned(),
        values: values.collect(),
    }
}
