//! `krammerti prepare`: raw observations to a data set.

use anyhow::{Context as _, Result};

use super::{Context, dataset};
use crate::data::{Dataset, Part};

/// Prepares one data set from raw tables, whose rows are put together.
pub fn prepare(mut context: Context<'_>) -> Result<()> {
    let params = context.section("prepare", context.params.prepare.as_ref())?;
    let mut raw = dataset::read_table(context.input()?)?;
    for path in &context.inputs[1..] {
        let more = dataset::read_table(path)?;
        raw = raw
            .append(&more)
            .with_context(|| path.display().to_string())?;
    }
    let inputs: Vec<_> = context
        .inputs
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let prepared = Dataset::prepare(&raw, params).with_context(|| inputs.join(", "))?;
    dataset::write_dataset(&context.out, &prepared)?;

    let meta = prepared.meta();
    let part = |part| meta.split.rows(part).len();
    context.note(format!(
        "{} rows each {} from {} to {}, {} columns",
        meta.rows.rows_out,
        meta.step,
        meta.first_time,
        meta.last_time,
        meta.columns.len()
    ));
    context.note(format!(
        "{} duplicates dropped, {} rows missing, {} values filled; train {}, validation {}, test {}",
        meta.rows.duplicates,
        meta.rows.missing_rows,
        meta.columns.iter().map(|column| column.filled).sum::<usize>(),
        part(Part::Train),
        part(Part::Validation),
        part(Part::Test),
    ));
    Ok(())
}
