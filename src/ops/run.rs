//! `krammerti run`, `krammerti status`, and a single command typed by hand: stages by way of the runner.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;

use crate::event::{Event, Observer, Outcome};
use crate::pipeline::{
    self, AfterFailure, CommandError, ExecuteError, Executor, GraphError, Interrupted, Journal,
    Pipeline, Processes, Stage, State, Summary, Workspace, interrupted, run_name,
};

/// A stage that failed, with its name.
#[derive(Debug, thiserror::Error)]
#[error("stage `{stage}` failed: {source}")]
pub struct StageFailed {
    /// Its name.
    pub stage: String,
    /// Why.
    pub source: ExecuteError,
}

/// Why a run did not end well.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A stage failed.
    #[error(transparent)]
    Stage(#[from] StageFailed),
    /// Somebody ended it.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// A target is no stage.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The project cannot be opened.
    #[error(transparent)]
    Open(#[from] ExecuteError),
}

/// How stages are run.
#[derive(Clone, Copy)]
pub struct RunOptions<'a> {
    /// The project's folder.
    pub root: &'a Path,
    /// The binary that runs subcommands.
    pub krammerti: &'a Path,
    /// Whether to wait for another run that holds an output.
    pub wait: bool,
    /// Whether commands run although nothing changed.
    pub force: bool,
    /// What happens after a stage has failed.
    pub after_failure: AfterFailure,
    /// The pipeline as its files say now: parameters may be edited while a stage runs.
    pub current: &'a dyn Fn() -> anyhow::Result<Pipeline>,
}

/// Brings the named stages, or all, and what they need up to date.
pub fn run_pipeline(
    pipeline: &Pipeline,
    targets: &[String],
    options: &RunOptions<'_>,
    observer: &mut dyn Observer,
) -> Result<Summary, RunError> {
    run_stages(&pipeline.select(targets)?, options, observer)
}

/// Brings one stage up to date: a command typed by hand.
pub fn execute_one(
    stage: &Stage,
    options: &RunOptions<'_>,
    observer: &mut dyn Observer,
) -> Result<Summary, RunError> {
    run_stages(&[stage], options, observer)
}

fn run_stages(
    stages: &[&Stage],
    options: &RunOptions<'_>,
    observer: &mut dyn Observer,
) -> Result<Summary, RunError> {
    // From here on a signal is ours to handle.
    let _ = interrupted();
    let run = run_name();
    let mut workspace = Workspace::open(options.root, &run)?;
    workspace.wait = options.wait;
    workspace.force = options.force;
    let processes = Processes {
        root: options.root.to_owned(),
        logs: workspace.run_folder(),
        krammerti: options.krammerti.to_owned(),
        run: run.clone(),
    };
    let journal = Journal::new(&workspace.run_folder());
    let mut real = Real {
        workspace,
        processes,
        current: options.current,
        observer: Recorded { observer, journal },
    };
    real.event(Event::RunStarted {
        run,
        stages: stages.iter().map(|stage| stage.name.clone()).collect(),
    });
    let (summary, failure) = pipeline::run(stages, options.after_failure, &mut real);
    real.workspace.save_cache();
    match (failure, interrupted()) {
        (_, Some(signal)) => Err(signal.into()),
        (Some(error), None) => Err(error.into()),
        (None, None) => Ok(summary),
    }
}

/// Stages as they really are: files and processes.
struct Real<'a> {
    workspace: Workspace,
    processes: Processes,
    current: &'a dyn Fn() -> anyhow::Result<Pipeline>,
    observer: Recorded<'a>,
}

/// Every event goes to the journal and to whoever watches.
struct Recorded<'a> {
    observer: &'a mut dyn Observer,
    journal: Journal,
}

impl Observer for Recorded<'_> {
    fn event(&mut self, event: Event) {
        // A full disk must not hide what the run has to say; the stage itself will tell of it.
        let _ = self.journal.write(&event);
        self.observer.event(event);
    }
}

impl Executor for Real<'_> {
    type Error = StageFailed;

    fn execute(&mut self, stage: &Stage) -> Result<Outcome, StageFailed> {
        let (processes, current) = (&self.processes, self.current);
        self.workspace
            .execute(
                stage,
                &mut |stage, observer| {
                    processes.run(stage, observer)?;
                    require_same_params(stage, current)
                },
                &mut self.observer,
                &mut |reasons, observer| {
                    let reasons = reasons.iter().map(ToString::to_string).collect();
                    observer.event(Event::StageStarted {
                        stage: stage.name.clone(),
                        reasons,
                    });
                },
            )
            .map_err(|source| StageFailed {
                stage: stage.name.clone(),
                source,
            })
    }

    fn event(&mut self, event: Event) {
        self.observer.event(event);
    }

    fn interrupted(&self) -> bool {
        interrupted().is_some()
    }
}

/// What `krammerti status` says of a stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StageStatus {
    /// Its name.
    pub stage: String,
    /// `fresh`, `restorable`, `stale`, `waiting` or `blocked`.
    pub state: &'static str,
    /// Why, one cause a line.
    pub reasons: Vec<String>,
}

/// Looks at every stage and changes nothing.
pub fn status(pipeline: &Pipeline, root: &Path) -> Result<Vec<StageStatus>, RunError> {
    let mut workspace = Workspace::open(root, "status")?;
    let mut unsettled: BTreeSet<&str> = BTreeSet::new();
    let mut all = Vec::new();
    for stage in pipeline.stages() {
        let waits: Vec<String> = pipeline
            .upstream(stage)
            .filter(|upstream| unsettled.contains(upstream.name.as_str()))
            .map(|upstream| format!("waits for {}", upstream.name))
            .collect();
        let (state, reasons) = if waits.is_empty() {
            look(&mut workspace, stage)?
        } else {
            ("waiting", waits)
        };
        if state != "fresh" {
            unsettled.insert(&stage.name);
        }
        all.push(StageStatus {
            stage: stage.name.clone(),
            state,
            reasons,
        });
    }
    workspace.save_cache();
    Ok(all)
}

fn look(workspace: &mut Workspace, stage: &Stage) -> Result<(&'static str, Vec<String>), RunError> {
    let told =
        |reasons: Vec<pipeline::StaleReason>| reasons.iter().map(ToString::to_string).collect();
    match workspace.assess(stage).map(|assessment| assessment.state) {
        Ok(State::Fresh) => Ok(("fresh", Vec::new())),
        Ok(State::Restorable { reasons, .. }) => Ok(("restorable", told(reasons))),
        Ok(State::Stale { reasons }) => Ok(("stale", told(reasons))),
        Err(error @ ExecuteError::MissingInput { .. }) => Ok(("blocked", vec![error.to_string()])),
        Err(error) => Err(error.into()),
    }
}

/// Refuses a result whose parameters were edited while it was made. A subcommand of krammerti looks
/// for itself when it starts, and reads them only once.
fn require_same_params(
    stage: &Stage,
    current: &dyn Fn() -> anyhow::Result<Pipeline>,
) -> Result<(), CommandError> {
    if stage.command.builtin || stage.params.is_empty() {
        return Ok(());
    }
    let now = current().ok().and_then(|pipeline| {
        let same = pipeline
            .stages()
            .iter()
            .find(|other| other.name == stage.name)?;
        Some(same.params.clone())
    });
    let now = now.unwrap_or_default();
    let names: Vec<String> = stage
        .params
        .iter()
        .filter(|(name, value)| now.get(*name) != Some(value))
        .map(|(name, _)| name.clone())
        .collect();
    if names.is_empty() {
        Ok(())
    } else {
        Err(CommandError::ParamsChanged { names })
    }
}
