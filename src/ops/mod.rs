//! What each command does: load, call pure code, hand the result back.
//!
//! The only place where files meet models and data. Every operation writes its output whole or not
//! at all, and reports by events; none of them prints.

mod check;
mod checkpoint;
mod dataset;
mod diff;
mod evaluate;
mod fetch;
mod few_steps;
mod history;
mod inputs;
mod lineage;
mod log;
mod misfit_values;
mod model;
mod plot_name;
mod predict;
mod prepare;
mod quality;
mod run;
mod sample_weights;
mod series_sizes;
mod staged_table;
mod status;
mod train;
mod training_log;
mod tune;

use std::path::{Path, PathBuf};

use crate::event::{Event, Observer};
use crate::fs;
use crate::model::Registry;
use crate::params::{Params, ParamsFile};

pub use check::check;
pub use diff::{
    Diff, DiffError, DiffWith, GitError, MetricDiff, ParamDiff, Side, Unavailable, diff,
};
pub use evaluate::{GateFailed, evaluate, evaluated};
pub use fetch::{NoSource, fetch};
pub use history::{History, history, history_of};
pub use lineage::{NoLineage, lineage};
pub use log::{FoundLogs, LogError, StageLog, Unstarted, WantedLog, logs};
pub use predict::{predict, predicted};
pub use prepare::prepare;
pub use quality::QualityFailed;
pub use run::{RunError, RunOptions, StageFailed, Subject, execute_one, run_plan};
pub use status::{DryRun, Planned, StageStatus, Standing, dry_run, status};
pub use train::train;
pub use tune::tune;

/// What an operation works with. Paths are relative to the project's root, the current folder.
pub struct Context<'a> {
    /// The models this process can use.
    pub registry: &'a Registry,
    /// The parameters, checked.
    pub params: &'a Params,
    /// Where they came from, for a search that changes some of them.
    pub params_file: &'a ParamsFile,
    /// What the operation reads.
    pub inputs: Vec<PathBuf>,
    /// The data set, for a command that reads models and a data set.
    pub data: Option<PathBuf>,
    /// A model whose weights a training begins with.
    pub warm_start: Option<PathBuf>,
    /// What it writes.
    pub out: PathBuf,
    /// Who hears of it.
    pub observer: &'a mut dyn Observer,
}

/// A path where something else is than a command reads.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OtherFolder(String);

/// Refuses what is no folder of some kind, which has a file of this name, in words of what it may be.
fn require_folder_with(folder: &Path, file: &str, what: &str, command: &str) -> anyhow::Result<()> {
    if fs::exists(&folder.join(file)) || !fs::exists(folder) {
        return Ok(());
    }
    let others = [("dataset.json", "a data set"), ("model.json", "a model")];
    let has = |(name, _): &&(&str, &str)| fs::exists(&folder.join(name));
    let found = match others.iter().find(has) {
        Some((_, other)) => other,
        None if folder.is_dir() => "another folder",
        None => "a file",
    };
    let message = format!(
        "{}: expected a {what}, a folder with {file} that `krammerti {command}` writes, found {found}",
        folder.display()
    );
    Err(OtherFolder(message).into())
}

impl Context<'_> {
    fn result(&mut self, text: String, data: serde_json::Value) {
        self.observer.event(Event::Result {
            stage: None,
            text,
            data,
        });
    }

    fn note(&mut self, message: String) {
        self.observer.event(Event::note(message));
    }

    fn warn(&mut self, message: String) {
        self.observer.event(Event::warning(message));
    }

    /// The only input of a command that has one; the command line has seen to it.
    fn input(&self) -> anyhow::Result<&PathBuf> {
        self.inputs
            .first()
            .ok_or_else(|| anyhow::anyhow!("no input was named"))
    }

    fn data(&self) -> anyhow::Result<&PathBuf> {
        self.data
            .as_ref()
            .ok_or_else(|| anyhow::anyhow!("no data set was named with --data"))
    }
}

/// A section of `params.yaml` that a command needs and that is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file} has no section `{section}`")]
pub struct NoSection {
    /// The file.
    pub file: String,
    /// The section.
    pub section: String,
}

impl Context<'_> {
    fn section<'p, T>(&self, section: &str, value: Option<&'p T>) -> Result<&'p T, NoSection> {
        value.ok_or_else(|| NoSection {
            file: self.params_file.path().display().to_string(),
            section: section.to_owned(),
        })
    }
}

/// The first few of some words, and how many more there are.
fn some_of(all: &[String]) -> String {
    const NAMED: usize = 3;
    let named = all[..all.len().min(NAMED)].join(", ");
    match all.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

/// JSON as it is written to disk: indented, with a line break at the end.
fn to_json(value: &impl serde::Serialize) -> anyhow::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value)?;
    bytes.push(b'\n');
    Ok(bytes)
}
