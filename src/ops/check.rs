//! `krammerti check`: the checks of `prepare` alone, on what lies there. Nothing is written.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::quality::{columns_in_use, raw_step, tell, train_until};
use super::{QualityFailed, dataset, some_of};
use crate::data::quality::{self, Setting};
use crate::data::{Role, Table};
use crate::event::{Event, Observer};
use crate::fs;
use crate::params::{Params, PrepareParams, QualityParams};
use crate::time::Step;

/// Checks a fetched file or the series of a data set, and tells what it finds. `now` is the
/// present, in seconds since 1970; the path is relative to the project's root.
pub fn check(
    params: &Params,
    root: &Path,
    path: &Path,
    now: i64,
    observer: &mut dyn Observer,
) -> Result<()> {
    let prepare = params.prepare.as_ref();
    let Read { table, step, ahead } = read(&root.join(path), prepare)?;
    let mut checks = prepare.map_or_else(QualityParams::default, |prepare| prepare.quality.clone());
    let mut required = prepare.map_or_else(Vec::new, |prepare| prepare.targets.names().to_vec());
    // Columns of a data set are what became of those that were asked for.
    let is_file = !fs::exists(&root.join(path).join("dataset.json"));
    if let Some(prepare) = prepare.filter(|_| is_file && table.issues().is_none()) {
        let own: Vec<String> = table.columns().iter().map(|c| c.name.clone()).collect();
        let lacking = lacking(prepare, &own);
        if !lacking.is_empty() {
            let message = format!(
                "checked without {}, which is not in this file",
                some_of(&lacking)
            );
            observer.event(Event::note(message));
            // Another of the files that are joined has it.
            required.retain(|name| !lacking.contains(name));
        }
    }
    if table.issues().is_some() {
        // Forecasts of other things need not have what observations must.
        checks.required.clear();
        required.clear();
    }
    let setting = Setting {
        params: &checks,
        step,
        train_until: train_until(prepare.map(|prepare| &prepare.split), table.times()),
        required: &required,
        ahead: &ahead,
        now: Some(now),
    };
    let report = quality::assess(table, &setting).report;
    tell(&report, observer)?;
    QualityFailed::unless_it_holds(&report, &path.display().to_string())
}

/// What `prepare.columns` asks for that a file with these columns lacks, and has others of: of files that are joined
/// each has some. One that has none of them is another file.
fn lacking(prepare: &PrepareParams, own: &[String]) -> Vec<String> {
    let Some(asked) = &prepare.columns else {
        return Vec::new();
    };
    if !asked.iter().any(|name| own.contains(name)) {
        return Vec::new();
    }
    let asked = prepare.targets.names().iter().chain(asked);
    let absent: BTreeSet<&String> = asked.filter(|name| !own.contains(name)).collect();
    absent.into_iter().cloned().collect()
}

/// What is checked.
struct Read {
    table: Table,
    step: Step,
    /// Columns that are known before their time.
    ahead: Vec<String>,
}

/// A table and its step: that of a data set, that of the parameters, or what most rows have. Of
/// another file only the columns that `prepare` would use.
fn read(path: &Path, prepare: Option<&PrepareParams>) -> Result<Read> {
    if fs::exists(&path.join("dataset.json")) {
        let dataset = dataset::read_dataset(path)?;
        let meta = dataset.meta();
        let ahead = meta.columns.iter().filter(|c| c.role == Role::Future);
        return Ok(Read {
            // What krammerti made itself, it need not doubt.
            table: dataset.observations()?,
            step: meta.step,
            ahead: ahead.map(|column| column.name.clone()).collect(),
        });
    }
    let ahead = prepare.map_or_else(Vec::new, |prepare| prepare.known.clone());
    let prepare = prepare.filter(|_| !matches!(dataset::is_forecast(path), Ok(true)));
    let columns = match prepare {
        Some(prepare) => {
            let own = dataset::columns_of(path)?;
            let mut names = columns_in_use(prepare, &own);
            let lacking = lacking(prepare, &own);
            if let Some(names) = &mut names {
                names.retain(|name| !lacking.contains(name));
            }
            names
        }
        None => None,
    };
    let table = dataset::read_columns(path, columns.as_deref())?;
    let step = prepare
        .map(|prepare| raw_step(prepare, &table))
        .or_else(|| quality::usual_step_of(&table))
        .with_context(|| {
            format!(
                "{}: the rows are too few to tell their step",
                path.display()
            )
        })?;
    Ok(Read { table, step, ahead })
}
