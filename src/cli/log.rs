//! `krammerti log`.

use anyhow::Result;

use super::Global;
use super::project::Project;
use super::ui::Ui;
use crate::event::Outcome;
use crate::fs;
use crate::ops::{self, LogError, StageLog, WantedLog};
use crate::pipeline::{GraphError, PastOutcome};

/// Print what the command of a stage said when it last ran.
///
/// The log comes from the newest run that started the command, or from the run that is going on. What
/// `on_failure` said comes after it. With --json: which logs there are, as a list.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The stage; otherwise those that failed in the newest run, or the one that it started last.
    stage: Option<String>,
    /// Show its N-th attempt; otherwise the last one.
    #[arg(long, value_name = "N")]
    attempt: Option<u32>,
    /// In this run: its name, or its start as `krammerti history` shows it.
    #[arg(long, value_name = "RUN")]
    run: Option<String>,
}

pub(super) fn run(args: &Args, global: &Global, ui: &mut Ui) -> Result<()> {
    let project = Project::find()?;
    let wanted = WantedLog {
        stage: args.stage.as_deref(),
        attempt: args.attempt,
        run: args.run.as_deref(),
    };
    let found = ops::logs(&project.root, &wanted).map_err(|error| named(error, &project))?;
    for unstarted in &found.without {
        ui.say(&format!(
            "{} failed in run {} before its command was started: {}",
            unstarted.stage, unstarted.run, unstarted.error
        ));
    }
    if global.json {
        ui.print(&(serde_json::to_string(&found.logs)? + "\n"));
        return Ok(());
    }
    for log in &found.logs {
        let path = project.root.join(&log.log);
        let empty = fs::stat(&path)?.is_some_and(|metadata| metadata.len() == 0);
        let nothing = if empty { " it said nothing" } else { "" };
        ui.say(&format!("{}{nothing}", heading(log)));
        ui.copy(&mut fs::open(&path)?)?;
        if let Some(on_failure) = &log.on_failure {
            ui.say(&format!("what on_failure of {} said:", log.stage));
            ui.copy(&mut fs::open(&project.root.join(on_failure))?)?;
        }
    }
    Ok(())
}

/// A name that no run has met: `pipeline.yaml` may know it, if it can be read.
pub(super) fn named(error: LogError, project: &Project) -> anyhow::Error {
    let LogError::Unseen { stage, seen } = error else {
        return error.into();
    };
    match project
        .pipeline()
        .map(|pipeline| pipeline.stage(&stage).err())
    {
        Ok(Some(unknown)) => unknown.into(),
        Ok(None) => LogError::NeverRan { stage, error: None }.into(),
        Err(_) if seen.is_empty() => LogError::NoRuns.into(),
        Err(_) => GraphError::NoStage {
            name: stage,
            there: seen,
        }
        .into(),
    }
}

/// Which log it is.
fn heading(log: &StageLog) -> String {
    let outcome = match (log.outcome, log.run_outcome) {
        (Some(Outcome::Failed) | None, PastOutcome::Interrupted) => "interrupted",
        (Some(Outcome::Failed), _) => "failed",
        (Some(_), _) => "ran",
        (None, PastOutcome::Running) => "running",
        (None, _) => "killed",
    };
    let tries = match log.attempts {
        1 => String::new(),
        attempts => format!(", try {} of {attempts}", log.attempt),
    };
    format!(
        "log of {}{tries} in run {} ({outcome}):",
        log.stage, log.run
    )
}
