//! What `prepare` and `check` do with what the checks found: tell it, write it, and end on it.

use anyhow::{Context as _, Result};

use super::to_json;
use crate::data::quality::{Assessment, Check, Example, QualityReport, observed_step_of};
use crate::data::{SeriesError, Table, refused_to_parquet};
use crate::event::{Event, Observer};
use crate::fs::StagedFolder;
use crate::params::{PrepareParams, QualityParams, SplitParams};
use crate::time::Step;

/// A check with the action `fail` found something.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{data}: {more}the check `{check}`{} found {count}{}", of(.column.as_deref()), first(.example.as_ref()))]
pub struct QualityFailed {
    /// What was checked.
    pub data: String,
    /// The first such check.
    pub check: Check,
    /// Its column, where it has one.
    pub column: Option<String>,
    /// How much it found.
    pub count: usize,
    /// The first of them.
    pub example: Option<Example>,
    /// How many checks failed, where this one is not alone.
    pub more: String,
}

fn of(column: Option<&str>) -> String {
    column
        .map(|column| format!(" of {column}"))
        .unwrap_or_default()
}

fn first(example: Option<&Example>) -> String {
    let Some(example) = example else {
        return String::new();
    };
    let time = example
        .time
        .as_ref()
        .map(|time| format!(" at {time}"))
        .unwrap_or_default();
    let issue = example
        .issue
        .as_ref()
        .map(|issue| format!(", issued at {issue}"))
        .unwrap_or_default();
    let series = example
        .series
        .as_ref()
        .map(|series| format!(" in {series}"))
        .unwrap_or_default();
    let value = example
        .value
        .map(|value| format!(" {value},"))
        .unwrap_or_default();
    format!(
        ", first{series}{time}{issue}:{value} expected {}",
        example.expected
    )
}

impl QualityFailed {
    /// Ends where a check with the action `fail` found something.
    pub(super) fn unless_it_holds(report: &QualityReport, data: &str) -> Result<()> {
        let mut failed = report.failed();
        let Some(worst) = failed.next() else {
            return Ok(());
        };
        let others = failed.count();
        Err(Self {
            data: data.to_owned(),
            check: worst.check,
            column: worst.column.clone(),
            count: worst.count,
            example: worst.examples.first().cloned(),
            more: match others {
                0 => String::new(),
                others => format!("{} checks fail; ", others + 1),
            },
        }
        .into())
    }
}

/// Until when models are trained on some rows; 70 % of their time where nothing is said.
pub(super) fn train_until(split: Option<&SplitParams>, times: &[i64]) -> i64 {
    let first = times.iter().min().copied().unwrap_or_default();
    let last = times.iter().max().copied().unwrap_or_default();
    match split {
        Some(split) => split.train_until(first, last),
        None => first + (last - first) / 10 * 7,
    }
}

/// The step of observations, at most that of the data set.
pub(super) fn raw_step(params: &PrepareParams, table: &Table) -> Step {
    let told = params
        .raw_step
        .or_else(|| observed_step_of(table, params.step));
    told.map_or(params.step, |raw| raw.min(params.step))
}

/// The columns that `prepare` uses of those that are there; all where it names none. Memory is spent
/// for these only, and what is not used is not checked.
pub(super) fn columns_in_use(prepare: &PrepareParams, there: &[String]) -> Option<Vec<String>> {
    let mut names = prepare.columns.clone()?;
    let quality = &prepare.quality;
    let wind = prepare
        .wind
        .iter()
        .flat_map(|pair| [&pair.speed, &pair.direction]);
    let pairs = quality
        .pairs
        .iter()
        .flatten()
        .flat_map(|pair| [&pair.low, &pair.high]);
    let targets = prepare.targets.names();
    let others = targets.iter().chain(&quality.required);
    for name in others.chain(wind).chain(pairs) {
        // What is missing of these is told by others; a missing one of `columns` is an error.
        if there.contains(name) && !names.contains(name) {
            names.push(name.clone());
        }
    }
    Some(names)
}

/// The same of one of several files with other columns: of those that are asked for it reads what it has,
/// and what none of them has it asks for too, so that its absence is told. `there` are the columns of all.
pub(super) fn columns_of_file(
    prepare: &PrepareParams,
    own: &[String],
    there: &[String],
) -> Option<Vec<String>> {
    let mut names = columns_in_use(prepare, there)?;
    names.retain(|name| own.contains(name) || !there.contains(name));
    Some(names)
}

/// Refuses names under `prepare.quality` that are of no column: what was to be checked would not be, and
/// nobody would hear of it.
pub(super) fn require_named(quality: &QualityParams, there: &[String]) -> Result<()> {
    let pairs = quality.pairs.iter().flatten();
    let of_pairs = pairs.flat_map(|pair| [("pairs", &pair.low), ("pairs", &pair.high)]);
    let of_columns = quality.columns.keys().map(|name| ("columns", name));
    for (key, name) in of_columns.chain(of_pairs) {
        if !there.contains(name) {
            let error = SeriesError::no_column(name, there);
            return Err(error).with_context(|| format!("prepare.quality.{key}"));
        }
    }
    Ok(())
}

/// The report as a result, for a person and for a program.
pub(super) fn tell(report: &QualityReport, observer: &mut dyn Observer) -> Result<()> {
    observer.event(Event::Result {
        stage: None,
        text: report.table(),
        data: serde_json::to_value(report)?,
    });
    Ok(())
}

/// Writes `quality.json`, and `rejects.parquet` where rows were refused.
/// `of` tells the files of one table from those of another.
pub(super) fn write(staged: &StagedFolder, of: &str, assessed: &Assessment) -> Result<()> {
    staged.write(&format!("quality{of}.json"), &to_json(&assessed.report)?)?;
    let refused = &assessed.refused;
    if refused.table().rows() > 0 {
        let rejects = refused_to_parquet(refused.table(), &refused.reasons())?;
        staged.write(&format!("rejects{of}.parquet"), &rejects)?;
    }
    Ok(())
}
