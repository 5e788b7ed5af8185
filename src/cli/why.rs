//! `krammerti why`.

use anyhow::{Result, bail};

use super::Global;
use super::project::Project;
use super::ui::Ui;
use crate::ops;
use crate::pipeline::GraphError;

/// Say why a stage would run: every cause, one a line.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The stage.
    stage: String,
}

pub(super) fn run(args: &Args, global: &Global, ui: &mut Ui) -> Result<()> {
    let project = Project::find()?;
    let all = ops::status(&project.pipeline()?, &project.root)?;
    let Some(status) = all.iter().find(|status| status.stage == args.stage) else {
        let there = all.into_iter().map(|status| status.stage).collect();
        bail!(GraphError::NoStage {
            name: args.stage.clone(),
            there
        });
    };
    if global.json {
        ui.print(&(serde_json::to_string(status)? + "\n"));
    } else if status.reasons.is_empty() {
        ui.print(&format!(
            "{} is {}: nothing that it reads or wrote has changed\n",
            status.stage, status.state
        ));
    } else {
        let reasons = status.reasons.iter().map(|reason| format!("{reason}\n"));
        ui.print(&reasons.collect::<String>());
    }
    Ok(())
}
