//! `krammerti why`.

use anyhow::{Result, bail};

use super::Global;
use super::project::Project;
use super::ui::Ui;
use crate::ops::{self, Standing};

/// Say why a stage would run: every cause, one a line.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The stage.
    stage: String,
}

pub(super) fn run(args: &Args, global: &Global, ui: &mut Ui) -> Result<()> {
    let project = Project::find()?;
    let pipeline = project.pipeline()?;
    let name = &pipeline.stage(&args.stage)?.name;
    let all = ops::status(&pipeline, &project.root)?;
    let status = all.iter().find(|status| status.stage == *name);
    let Some(status) = status else {
        bail!("{name} is a stage, and has no status");
    };
    if global.json {
        ui.print(&(serde_json::to_string(status)? + "\n"));
        return Ok(());
    }
    let reasons = status.reasons.iter().map(|reason| format!("{reason}\n"));
    let reasons = reasons.collect::<String>();
    ui.print(&match status.state {
        Standing::Off => format!("{name} is off: {reasons}"),
        Standing::Frozen => format!("{name} is frozen: its outputs are taken as they lie\n"),
        _ if reasons.is_empty() => {
            format!("{name} is fresh: nothing that it reads or wrote has changed\n")
        }
        _ => reasons,
    });
    Ok(())
}
