//! `krammerti verify`.

use std::fs::File;

use anyhow::Result;

use super::Global;
use super::project::Project;
use super::ui::{Ui, bytes};
use crate::pipeline::{Fault, Verified, Workspace};

/// Read all of the store again and name what is damaged or missing.
///
/// Ends with exit code 1 where something is.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Remove what is damaged, so that it is built again when it is needed.
    #[arg(long)]
    remove: bool,
}

/// The store is not as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{faults} fault{} in the store", if *.faults == 1 { "" } else { "s" })]
pub(super) struct Unsound {
    faults: usize,
    /// Whether what is damaged was removed.
    pub(super) removed: bool,
}

pub(super) fn run(args: &Args, global: &Global, ui: &mut Ui) -> Result<()> {
    let project = Project::find()?;
    let pipeline = project.pipeline()?;
    let mut workspace = Workspace::open(&project.root, "verify")?;
    workspace.wait = !global.no_wait;
    let _held = hold_store(&workspace, args.remove, ui)?;
    let verified = workspace.verify(&pipeline)?;
    if args.remove {
        workspace.remove_faulty(&verified)?;
    }
    if global.json {
        ui.print(&(serde_json::to_string(&verified)? + "\n"));
    } else {
        ui.print(&told(&verified));
    }
    if verified.is_sound() {
        return Ok(());
    }
    Err(Unsound {
        faults: verified.faulty.len() + verified.bad_records.len(),
        removed: args.remove,
    }
    .into())
}

/// Keeps runs away; where nothing is to be removed, one who may only read can go on without.
pub(super) fn hold_store(
    workspace: &Workspace,
    removes: bool,
    ui: &mut Ui,
) -> Result<Option<File>> {
    if removes {
        return Ok(Some(workspace.hold_store()?));
    }
    let held = workspace.hold_store_to_look()?;
    if held.is_none() {
        ui.say("no lock can be taken here: what a run changes meanwhile may be told wrongly");
    }
    Ok(held)
}

fn told(verified: &Verified) -> String {
    let mut text = String::new();
    for faulty in &verified.faulty {
        let what = match faulty.fault {
            Fault::Damaged => "damaged",
            Fault::Missing => "missing",
        };
        let whose = match faulty.needed_by.as_slice() {
            [] => "of no stage's newest result".to_owned(),
            [one] => one.clone(),
            [first, more @ ..] => format!("{first} (and {} more)", more.len()),
        };
        text.push_str(&format!("{what}  {}  {whose}\n", faulty.object.short()));
    }
    for key in &verified.bad_records {
        text.push_str(&format!("damaged  record {}\n", key.short()));
    }
    text.push_str(&format!(
        "read {} objects ({}) and {} records{}\n",
        verified.objects,
        bytes(verified.bytes),
        verified.records,
        if verified.is_sound() {
            ": all as they were written"
        } else {
            ""
        }
    ));
    text
}
