//! `krammerti run`.

use std::path::Path;

use anyhow::Result;

use super::Global;
use super::project::Project;
use super::ui::Ui;
use crate::ops::{self, RunOptions};
use crate::pipeline::{AfterFailure, Pipeline};

/// Bring the pipeline up to date: run the stages whose inputs changed.
///
/// A stage whose command, inputs or parameters changed runs; one whose result is in the store comes
/// back from there; the others are left alone.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only these stages and what they need.
    #[arg(value_name = "STAGE")]
    stages: Vec<String>,
    /// Run the commands although nothing changed.
    #[arg(short, long)]
    force: bool,
    /// After a failure go on with the stages that do not need it.
    #[arg(short, long)]
    keep_going: bool,
}

pub(super) fn run(args: &Args, global: &Global, ui: &mut Ui) -> Result<()> {
    let project = Project::find()?;
    let pipeline = project.pipeline()?;
    let krammerti = std::env::current_exe()?;
    let current = || project.pipeline();
    let options = RunOptions {
        force: args.force,
        after_failure: if args.keep_going {
            AfterFailure::KeepGoing
        } else {
            AfterFailure::Stop
        },
        ..options(&project, &krammerti, &current, global)
    };
    ops::run_pipeline(&pipeline, &args.stages, &options, ui)?;
    Ok(())
}

pub(super) fn options<'a>(
    project: &'a Project,
    krammerti: &'a Path,
    current: &'a dyn Fn() -> Result<Pipeline>,
    global: &Global,
) -> RunOptions<'a> {
    RunOptions {
        root: &project.root,
        krammerti,
        wait: !global.no_wait,
        force: false,
        after_failure: AfterFailure::Stop,
        current,
    }
}
