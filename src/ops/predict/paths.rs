//! The sample paths that forecasts come of, as a table: possible courses of the targets, each of which belongs
//! together over all leads and targets, as bands do not.

use anyhow::{Result, ensure};

use crate::data::{Column, RowSeries, Table, Unscaling};
use crate::model::{ModelFile, Paths};
use crate::time::Step;

/// Its name in the folder of a forecast.
pub(super) const NAME: &str = "paths.parquet";

/// See the module.
pub(super) struct PathsFile<'a> {
    file: &'a ModelFile,
    series: Vec<String>,
    times: Vec<i64>,
    issues: Vec<i64>,
    /// From 1 in each series.
    numbers: Vec<f64>,
    leads_h: Vec<f64>,
    /// Of each target.
    values: Vec<Vec<f64>>,
}

impl<'a> PathsFile<'a> {
    /// For the forecasts of a model; an error where it draws none.
    pub(super) fn of(file: &'a ModelFile) -> Result<Self> {
        ensure!(
            file.model.draws_paths(),
            "predict.paths: expected a model of kind deepar without model.correction, found kind {}{}",
            file.model.kind(),
            if file.model.correction.is_some() {
                " with it"
            } else {
                ""
            }
        );
        Ok(Self {
            file,
            series: Vec::new(),
            times: Vec::new(),
            issues: Vec::new(),
            numbers: Vec::new(),
            leads_h: Vec::new(),
            values: file.target_columns().map(|_| Vec::new()).collect(),
        })
    }

    /// Takes those of a series from an issue time.
    pub(super) fn add(&mut self, series: &str, issue_time: i64, step: Step, paths: &Paths) {
        let unscalings: Vec<Unscaling> = (self.file.target_columns())
            .map(|target| self.file.unscaling(target))
            .collect();
        let courses = paths.values.chunks_exact(paths.targets * paths.horizon);
        for (number, course) in courses.enumerate() {
            for lead in 1..=paths.horizon as i64 {
                self.series.push(series.to_owned());
                self.times.push(issue_time + lead * step.seconds());
                self.issues.push(issue_time);
                self.numbers.push((number + 1) as f64);
                self.leads_h.push(lead as f64 * step.hours());
            }
            let of_targets = course.chunks_exact(paths.horizon).zip(&unscalings);
            for ((scaled, unscaling), values) in of_targets.zip(&mut self.values) {
                values.extend(scaled.iter().map(|scaled| unscaling.original(*scaled)));
            }
        }
    }

    /// One row for each lead of each path.
    pub(super) fn table(self) -> Result<Table> {
        let column = |name: &str, unit: &str, values| Column {
            name: name.to_owned(),
            unit: unit.to_owned(),
            values,
        };
        let mut columns = vec![
            column("path", "1", self.numbers),
            column("lead_h", "h", self.leads_h),
        ];
        let targets = self.file.target_columns().zip(self.values);
        columns.extend(targets.map(|(target, values)| column(&target.name, &target.unit, values)));
        let table = Table::new(self.times, columns)?.with_issues(self.issues)?;
        if self.series.iter().all(String::is_empty) {
            return Ok(table);
        }
        let names = self.series.iter().map(String::as_str);
        Ok(table.with_series(RowSeries::from_names(names))?)
    }
}
