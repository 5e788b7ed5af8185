//! `krammerti status`.

use anyhow::Result;

use super::Global;
use super::project::Project;
use super::ui::Ui;
use crate::ops;

/// Show which stages are fresh, and why the others are not.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_: &Args, global: &Global, ui: &mut Ui) -> Result<()> {
    let project = Project::find()?;
    let all = ops::status(&project.pipeline()?, &project.root)?;
    if global.json {
        ui.print(&(serde_json::to_string(&all)? + "\n"));
        return Ok(());
    }
    let width = all
        .iter()
        .map(|status| status.stage.chars().count())
        .max()
        .unwrap_or(0);
    for status in &all {
        let first = status
            .reasons
            .first()
            .map(String::as_str)
            .unwrap_or_default();
        let line = format!("{:<width$}  {:<10}  {first}", status.stage, status.state);
        ui.print(&format!("{}\n", line.trim_end()));
        for reason in status.reasons.iter().skip(1) {
            ui.print(&format!("{:width$}  {:10}  {reason}\n", "", ""));
        }
    }
    Ok(())
}
