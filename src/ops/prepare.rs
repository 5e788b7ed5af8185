//! `krammerti prepare`: raw observations to a data set.

use anyhow::{Context as _, Result};

use super::quality::{tell, write};
use super::{Context, QualityFailed, dataset};
use crate::data::quality::{self, Setting};
use crate::data::{Dataset, Part};
use crate::fs::StagedFolder;

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
    let inputs = inputs.join(", ");
    let setting = Setting {
        params: &params.quality,
        step: params.step,
        train_share: params.split.train,
        required: &[],
        now: None,
    };
    let assessed = quality::assess(raw, &setting);
    let report = &assessed.report;
    if report.found().next().is_some() {
        tell(report, context.observer)?;
    }
    let staged = StagedFolder::new(&context.out)?;
    write(&staged, &assessed)?;
    if let Err(failed) = QualityFailed::unless_it_holds(report, &inputs) {
        // The report of a failed try is what a person wants to read.
        staged.commit()?;
        return Err(failed);
    }
    let equal = report.duplicates();
    let prepared = Dataset::prepare(&assessed.kept, params)
        .with_context(|| inputs)?
        .after_refusing(equal, report.rows().dropped() - equal);
    dataset::write_dataset(&staged, &prepared)?;
    staged.commit()?;

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
        "{} duplicates and {} other rows dropped, {} rows missing, {} values filled; train {}, validation {}, test {}",
        meta.rows.duplicates,
        meta.rows.dropped,
        meta.rows.missing_rows,
        meta.columns.iter().map(|column| column.filled).sum::<usize>(),
        part(Part::Train),
        part(Part::Validation),
        part(Part::Test),
    ));
    Ok(())
}
