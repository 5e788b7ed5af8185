//! `krammerti run`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;

use super::Global;
use super::dry_run;
use super::project::Project;
use super::ui::Ui;
use crate::ops::{self, RunOptions, Subject};
use crate::pipeline::{AfterFailure, Pipeline, Stage};

/// Bring the pipeline up to date: run the stages whose inputs changed.
///
/// A stage whose command, inputs or parameters changed runs; one whose result is in the store comes
/// back from there; the others are left alone.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
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
    /// Run up to N stages side by side, within the `resources` of pipeline.yaml.
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    jobs: u16,
    /// Only this stage and those that need it; what it needs itself is taken as it lies.
    #[arg(long, value_name = "STAGE", conflicts_with = "stages")]
    downstream: Vec<String>,
    /// Show what would run, why, and about how long it would take; run nothing.
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Ask no server: fetch only from answers that are stored.
    #[arg(long)]
    offline: bool,
}

pub(super) fn run(args: &Args, global: &Global, ui: &mut Ui) -> Result<()> {
    let project = Project::find()?;
    let (pipeline, seen) = project.read()?;
    let krammerti = std::env::current_exe()?;
    let changed = |stage: &Stage| seen.changed(stage);
    let plan = if args.downstream.is_empty() {
        pipeline.select(&args.stages)?
    } else {
        pipeline.downstream(&args.downstream)?
    };
    let options = RunOptions {
        subject: Subject::Pipeline(&pipeline),
        force: args.force,
        offline: args.offline,
        jobs: usize::from(args.jobs),
        resources: pipeline.resources(),
        after_failure: if args.keep_going {
            AfterFailure::KeepGoing
        } else {
            AfterFailure::Stop
        },
        ..options(&project, &krammerti, &changed, global)
    };
    if args.dry_run {
        return dry_run::show(&ops::dry_run(&pipeline, &plan, &options)?, global, ui);
    }
    ui.leave_out(off(&pipeline, args));
    ops::run_plan(&plan, &options, ui)?;
    Ok(())
}

/// The stages that were asked for and that `when` leaves out.
fn off(pipeline: &Pipeline, args: &Args) -> Vec<String> {
    let targets = || args.stages.iter().chain(&args.downstream);
    let wanted =
        |stage: &Stage| targets().next().is_none() || targets().any(|target| stage.goes_by(target));
    pipeline
        .stages()
        .iter()
        .filter(|stage| stage.policy.off.is_some() && wanted(stage))
        .map(|stage| stage.name.clone())
        .collect()
}

/// One stage at a time, and only where something changed.
pub(super) fn options<'a>(
    project: &'a Project,
    krammerti: &'a Path,
    changed_params: &'a (dyn Fn(&Stage) -> Vec<String> + Sync),
    global: &Global,
) -> RunOptions<'a> {
    static NONE: BTreeMap<String, u32> = BTreeMap::new();
    RunOptions {
        root: &project.root,
        subject: Subject::Stage,
        krammerti,
        wait: !global.no_wait,
        force: false,
        offline: false,
        jobs: 1,
        resources: &NONE,
        after_failure: AfterFailure::Stop,
        changed_params,
    }
}
