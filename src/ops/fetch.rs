//! `krammerti fetch`: observations of a source, as they come, to Parquet.

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::{Context, dataset};
use crate::source;
use crate::time::format_short;

/// Fetches the source that `params.yaml` has under a name.
pub fn fetch(mut context: Context<'_>, name: &str) -> Result<()> {
    let Some(params) = context.params.sources.get(name) else {
        let there: Vec<_> = context.params.sources.keys().cloned().collect();
        bail!(NoSource {
            name: name.to_owned(),
            there
        });
    };
    let table = source::source(params)
        .fetch(Path::new("."))
        .with_context(|| format!("source {name}"))?;
    dataset::write_table(&context.out, &table)?;
    let (first, last) = (table.times().iter().min(), table.times().iter().max());
    let range = match (first, last) {
        (Some(&first), Some(&last)) => {
            format!(", {} to {} UTC", format_short(first), format_short(last))
        }
        _ => String::new(),
    };
    context.note(format!(
        "{} rows of {} columns{range}",
        table.times().len(),
        table.columns().len()
    ));
    Ok(())
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
