//! The sample paths that forecasts come of, as a table: possible courses of the targets, each of which belongs
//! together over all leads and targets, as bands do not.

use anyhow::{Result, ensure};

use super::super::staged_table::StagedTable;
use crate::data::{Column, DatasetMeta, RowSeries, Table};
use crate::fs::StagedFolder;
use crate::model::{ModelFile, Paths};
use crate::params::Contradiction;
use crate::time::Step;

/// Its name in the folder of a forecast.
const NAME: &str = "paths.parquet";
/// Columns beside those of the targets.
const PATH: &str = "path";
const LEAD: &str = "lead_h";

/// See the module.
pub(super) struct PathsFile<'a> {
    file: &'a ModelFile,
    table: StagedTable,
}

/// A series, and when it is forecast from.
#[derive(Clone, Copy)]
pub(super) struct Issued<'a> {
    /// Empty where there is one without a name.
    pub(super) series: &'a str,
    pub(super) time: i64,
    pub(super) step: Step,
}

impl<'a> PathsFile<'a> {
    /// For the forecasts of a model; an error where it draws none.
    pub(super) fn of(file: &'a ModelFile) -> Result<Self> {
        ensure!(
            file.model.draws_paths(),
            Contradiction(format!(
                "predict.paths: expected a model of kind deepar without model.correction, found kind {}{}",
                file.model.kind(),
                if file.model.correction.is_some() {
                    " with it"
                } else {
                    ""
                }
            ))
        );
        for target in file.target_columns() {
            ensure!(
                ![PATH, LEAD].contains(&target.name.as_str()),
                Contradiction(format!(
                    "predict.paths: {NAME} has a column {} of its own, and so has no place for a target of that name",
                    target.name
                ))
            );
        }
        let table = StagedTable::new(NAME);
        Ok(Self { file, table })
    }

    /// Writes those of a series, one row for each lead of each path.
    pub(super) fn write(
        &mut self,
        issued: Issued<'_>,
        paths: &Paths,
        meta: &DatasetMeta,
        staged: &StagedFolder,
    ) -> Result<()> {
        let table = self.rows(issued, paths, meta)?;
        self.table.write(&table, staged)
    }

    /// Ends the file.
    pub(super) fn finish(self, staged: &StagedFolder) -> Result<()> {
        self.table.finish(staged)
    }

    fn rows(&self, issued: Issued<'_>, paths: &Paths, meta: &DatasetMeta) -> Result<Table> {
        let Issued { series, time, step } = issued;
        let horizon = paths.horizon;
        let courses = paths.values.chunks_exact(paths.targets * horizon);
        // From 1 on, both.
        let rows = || {
            let numbers = 1..=courses.len();
            numbers.flat_map(|number| (1..=horizon).map(move |lead| (number, lead)))
        };
        let column = |name: &str, unit: &str, values: Vec<f64>| Column {
            name: name.to_owned(),
            unit: unit.to_owned(),
            values,
        };
        let hours = rows().map(|(_, lead)| step.hours(lead));
        let mut columns = vec![
            column(PATH, "1", rows().map(|(number, _)| number as f64).collect()),
            column(LEAD, "h", hours.collect()),
        ];
        for (place, target) in self.file.target_columns().enumerate() {
            let capacity = meta.capacity(&target.name, series);
            let unscaling = self.file.unscaling(target, capacity);
            let of_target = |course: &'_ [f32]| {
                let scaled = course[place * horizon..][..horizon].iter();
                scaled
                    .map(|scaled| unscaling.original(*scaled))
                    .collect::<Vec<f64>>()
            };
            let values = courses.clone().flat_map(of_target).collect();
            columns.push(column(&target.name, &target.unit, values));
        }
        let times = rows().map(|(_, lead)| time + lead as i64 * step.seconds());
        let table = Table::new(times.collect(), columns)?;
        let count = table.rows();
        let table = table.with_issues(vec![time; count])?;
        if series.is_empty() {
            return Ok(table);
        }
        Ok(table.with_series(RowSeries::one(series, count))?)
    }
}
