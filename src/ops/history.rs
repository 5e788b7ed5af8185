//! `krammerti history`: what earlier runs did.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use super::LogError;
use super::log::or_not_kept;
use crate::event::Outcome;
use crate::pipeline::{PastRun, PastRuns};

/// Some earlier runs.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    /// The newest last.
    pub runs: Vec<PastRun>,
    /// Whether there may be older ones.
    pub more: bool,
}

/// The newest runs of the project in a folder.
pub fn history(root: &Path, count: usize) -> io::Result<History> {
    let past = PastRuns::read(root)?;
    let mut runs: Vec<PastRun> = past.iter().take(count).collect();
    runs.reverse();
    Ok(History {
        more: past.count() > count,
        runs,
    })
}

/// The newest runs that ran, restored or failed a stage. Of their stages they have only this one.
pub fn history_of(root: &Path, stage: &str, count: usize) -> Result<History, LogError> {
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut runs = Vec::new();
    for mut run in PastRuns::read(root)?.iter() {
        seen.extend(run.stages.iter().map(|past| past.stage.clone()));
        run.stages.retain(|past| {
            let untouched = matches!(past.outcome, Some(Outcome::Fresh | Outcome::Skipped));
            past.stage == stage && !untouched
        });
        if !run.stages.is_empty() {
            runs.push(run);
        }
        if runs.len() > count {
            break;
        }
    }
    let more = runs.len() > count;
    runs.truncate(count);
    runs.reverse();
    if !runs.is_empty() {
        return Ok(History { runs, more });
    }
    let stage = stage.to_owned();
    let error = if seen.contains(&stage) {
        LogError::NeverRan { stage, error: None }
    } else {
        let seen = seen.into_iter().collect();
        LogError::Unseen { stage, seen }
    };
    Err(or_not_kept(root, error))
}
