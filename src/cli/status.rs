//! `krammerti status`.

use anyhow::Result;

use super::Global;
use super::project::Project;
use super::ui::Ui;
use crate::ops;

/// How many causes a stage is shown with; `why` has them all.
const CAUSES: usize = 5;

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
    if all.is_empty() {
        ui.remark("pipeline.yaml has no stages");
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
        for reason in status.reasons.iter().take(CAUSES).skip(1) {
            ui.print(&format!("{:width$}  {:10}  {reason}\n", "", ""));
        }
        if let Some(more @ 1..) = status.reasons.len().checked_sub(CAUSES) {
            let why = format!("and {more} more: krammerti why {}", status.stage);
            ui.print(&format!("{:width$}  {:10}  {why}\n", "", ""));
        }
    }
    Ok(())
}
