//! `krammerti gc`.

use anyhow::Result;
use serde_json::json;

use super::Global;
use super::project::Project;
use super::ui::{Ui, bytes};
use super::verify::hold_store;
use crate::pipeline::{Garbage, Workspace};

/// Show what nobody needs any more under .krammerti/, and how large it is; remove it with --delete.
///
/// Kept is what pipeline.lock needs, the last log of each of its stages, and what the last runs used. Whatever is removed can be built again.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How many of the last runs to keep, with their results, logs, failed tries and checkpoints.
    #[arg(long, value_name = "N", default_value_t = 10)]
    keep_runs: usize,
    /// Remove it.
    #[arg(long)]
    delete: bool,
}

pub(super) fn run(args: &Args, global: &Global, ui: &mut Ui) -> Result<()> {
    let project = Project::find()?;
    let mut workspace = Workspace::open(&project.root, "gc")?;
    workspace.wait = !global.no_wait;
    let _held = hold_store(&workspace, args.delete, ui)?;
    let garbage = workspace.garbage(args.keep_runs)?;
    if args.delete {
        workspace.remove(&garbage)?;
    }
    let text = if global.json {
        as_json(&garbage, args.delete)
    } else {
        told(&garbage, args.delete)
    };
    ui.print(&text);
    Ok(())
}

fn as_json(garbage: &Garbage, deleted: bool) -> String {
    let value = json!({
        "deleted": deleted,
        "bytes": garbage.bytes(),
        "objects": garbage.objects.len(),
        "records": garbage.records.len(),
        "runs": garbage.runs.len(),
        "failed": garbage.failed.len(),
        "checkpoints": garbage.checkpoints.len(),
        "leftovers": garbage.leftovers.len(),
        "replaced": garbage.replaced.len(),
        "kept_objects": garbage.kept_objects,
        "kept_bytes": garbage.kept_bytes,
    });
    format!("{value}\n")
}

fn told(garbage: &Garbage, deleted: bool) -> String {
    let size = |files: &[(std::path::PathBuf, u64)]| files.iter().map(|&(_, b)| b).sum::<u64>();
    let mut kept = format!(
        "kept: {} objects, {}\n",
        garbage.kept_objects,
        bytes(garbage.kept_bytes)
    );
    if !garbage.replaced.is_empty() {
        let count = garbage.replaced.len();
        let size = bytes(size(&garbage.replaced));
        kept += &format!(
            "kept: what stages replaced that no run had made, {count} times, {size}; it is nowhere\n      \
             else: .krammerti/failed/*/*/replaced\n"
        );
    }
    if garbage.is_empty() {
        return format!("nothing to remove\n{kept}");
    }
    let objects: u64 = garbage.objects.iter().map(|&(_, bytes)| bytes).sum();
    let rows = [
        ("objects of the store", garbage.objects.len(), Some(objects)),
        ("build records", garbage.records.len(), None),
        ("older runs", garbage.runs.len(), Some(size(&garbage.runs))),
        (
            "failed tries of older runs",
            garbage.failed.len(),
            Some(size(&garbage.failed)),
        ),
        (
            "checkpoints of older trainings",
            garbage.checkpoints.len(),
            Some(size(&garbage.checkpoints)),
        ),
        (
            "files of killed runs",
            garbage.leftovers.len(),
            Some(size(&garbage.leftovers)),
        ),
    ];
    let row = |&(what, count, size): &(&str, usize, Option<u64>)| {
        let size = size.map(bytes).unwrap_or_default();
        format!("{count:>8}  {what:<30}{size:>10}\n")
    };
    let rows: Vec<String> = rows.iter().filter(|row| row.1 > 0).map(row).collect();
    let (rows, all) = (rows.concat(), bytes(garbage.bytes()));
    if deleted {
        format!("{rows}removed {all}\n{kept}")
    } else {
        format!("{rows}{all} would be free; `krammerti gc --delete` removes it\n{kept}")
    }
}
