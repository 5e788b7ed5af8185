//! `krammerti fetch`: observations of a source, as they come, to Parquet.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::{Context, dataset};
use crate::event::Event;
use crate::source::{self, Asked, Fetched, News};
use crate::time::format_short;

/// Set to anything, it lets a source use only what is stored. It is no word of the command, so it
/// is no part of a key: the same days have the same values either way.
pub(super) const OFFLINE: &str = "KRAMMERTI_OFFLINE";

/// Fetches the source that `params.yaml` has under a name.
pub fn fetch(mut context: Context<'_>, name: &str) -> Result<()> {
    let Some(params) = context.params.sources.get(name) else {
        let there: Vec<_> = context.params.sources.keys().cloned().collect();
        bail!(NoSource {
            name: name.to_owned(),
            there
        });
    };
    let observer = &mut *context.observer;
    let mut progress = |done: usize, total: usize, rows: usize| {
        observer.event(Event::Progress {
            stage: None,
            what: "request".to_owned(),
            done: done as u64,
            total: total as u64,
            message: format!("{rows} rows"),
        });
    };
    let Fetched {
        table,
        news,
        warnings,
    } = source::source(params)
        .fetch(&mut Asked {
            root: Path::new("."),
            offline: is_offline(),
            progress: &mut progress,
        })
        .with_context(|| format!("source {name}"))?;
    for warning in warnings {
        context.warn(format!("source {name}: {warning}"));
    }
    dataset::write_table(&context.out, &table)?;
    let (first, last) = (table.times().iter().min(), table.times().iter().max());
    let range = match (first, last) {
        (Some(&first), Some(&last)) => {
            format!(", {} to {} UTC", format_short(first), format_short(last))
        }
        _ => String::new(),
    };
    context.note(format!(
        "{} rows of {} columns{range}{}{}",
        table.times().len(),
        table.columns().len(),
        told_issues(table.issues()),
        told(news)
    ));
    Ok(())
}

/// Whether the environment says that nobody is to be asked.
pub(super) fn is_offline() -> bool {
    std::env::var_os(OFFLINE).is_some_and(|value| !value.is_empty())
}

/// How many forecasts there are. A single one may be the first, or all that is left of an archive.
fn told_issues(issues: Option<&[i64]>) -> String {
    let issues: BTreeSet<&i64> = issues.into_iter().flatten().collect();
    match issues.len() {
        0 => String::new(),
        1 => "; 1 issue, no earlier one is stored".to_owned(),
        n => format!("; {n} issues"),
    }
}

fn told(news: Option<News>) -> String {
    match news {
        None => String::new(),
        Some(News {
            new: 0,
            corrected: 0,
        }) => "; nothing new".to_owned(),
        Some(News { new, corrected }) => format!("; {new} new, {corrected} corrected"),
    }
}

fn some(names: &[String]) -> String {
    match names {
        [] => "none".to_owned(),
        names => names.join(", "),
    }
}

/// A source that `params.yaml` does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("params.yaml has no source `{name}`; there are: {}", some(.there))]
pub struct NoSource {
    /// As asked for.
    pub name: String,
    /// The names there are.
    pub there: Vec<String>,
}
