//! `krammerti run`, and a single command typed by hand: stages by way of the runner.

use std::collections::BTreeMap;
use std::path::Path;

use super::fetch::{OFFLINE, is_offline};
use crate::event::{Event, Observer};
use crate::fs;
use crate::pipeline::{
    self, AfterFailure, Attempt, Built, CommandError, ExecuteError, Executor, GraphError,
    Interrupted, Journal, Pipeline, Plan, Processes, Schedule, Stage, Summary, Workspace,
    interrupted, run_name,
};

/// Why a stage failed, with its name.
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
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
    #[error("stage `{}` failed: {first}{}", .first.stage, and_others(.others))]
    Stage {
        /// The first one.
        first: StageFailed,
        /// The names of the others.
        others: Vec<String>,
    },
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

/// The names of a few, and how many more there are.
fn and_others(others: &[String]) -> String {
    const FEW: usize = 8;
    if others.is_empty() {
        return String::new();
    }
    let mut told = others.to_vec();
    if others.len() > FEW {
        told.truncate(FEW - 1);
        told.push(format!("and {} more", others.len() - told.len()));
    }
    format!(" (failed too: {})", told.join(", "))
}

/// What runs.
#[derive(Clone, Copy)]
pub enum Subject<'a> {
    /// Stages of a pipeline, all of which are known: what is left of items that are no more is to go.
    Pipeline(&'a Pipeline),
    /// One of its stages, typed by hand.
    Stage,
    /// A command typed by hand that is no stage.
    Command,
}

/// How stages are run.
#[derive(Clone, Copy)]
pub struct RunOptions<'a> {
    /// The project's folder.
    pub root: &'a Path,
    /// What runs.
    pub subject: Subject<'a>,
    /// The binary that runs subcommands.
    pub krammerti: &'a Path,
    /// Whether to wait for another run that holds an output.
    pub wait: bool,
    /// Whether commands run although nothing changed.
    pub force: bool,
    /// Whether sources use only what is stored.
    pub offline: bool,
    /// How many stages at most side by side.
    pub jobs: usize,
    /// How much there is of each resource, where the project says so.
    pub resources: &'a BTreeMap<String, u32>,
    /// What happens after a stage has failed.
    pub after_failure: AfterFailure,
    /// Which parameters of a stage are others now than when its key was formed: they may be edited
    /// while it runs.
    pub changed_params: &'a (dyn Fn(&Stage) -> Vec<String> + Sync),
}

/// Brings the stages of a plan up to date.
pub fn run_plan(
    plan: &Plan<'_>,
    options: &RunOptions<'_>,
    observer: &mut dyn Observer,
) -> Result<Summary, RunError> {
    // From here on a signal is ours to handle.
    let _ = interrupted();
    let run = run_name(options.root);
    let mut workspace = Workspace::open(options.root, &run)?;
    workspace.wait = options.wait;
    workspace.force = options.force;
    workspace.offline = options.offline || is_offline();
    workspace.keep_out_of_git();
    let _shared = workspace.share_store()?;
    workspace.sweep(&plan.stages);
    workspace.recover_others(&plan.stages, observer)?;
    let processes = Processes {
        root: options.root.to_owned(),
        logs: workspace.run_folder(),
        krammerti: options.krammerti.to_owned(),
        run: run.clone(),
        settings: options
            .offline
            .then_some((OFFLINE, "1"))
            .into_iter()
            .collect(),
    };
    let journal = Journal::new(&workspace.run_folder());
    let mut observer = Recorded { observer, journal };
    observer.event(Event::RunStarted {
        run,
        stages: plan.stages.iter().map(|stage| stage.name.clone()).collect(),
        by_hand: matches!(options.subject, Subject::Command),
    });
    if let Subject::Pipeline(pipeline) = options.subject {
        workspace.remove_gone(pipeline, &mut observer)?;
    }
    let schedule = Schedule {
        jobs: options.jobs,
        after_failure: options.after_failure,
        capacity: capacity(options.resources),
    };
    let real = Real {
        workspace,
        processes,
        changed_params: options.changed_params,
    };
    let (summary, failure) = pipeline::run(plan, &schedule, &real, &mut observer);
    let saved = real.workspace.save();
    match (failure, interrupted()) {
        (_, Some(signal)) => Err(signal.into()),
        (Some(first), None) => {
            let others = summary.failed.iter().filter(|name| **name != first.stage);
            let others = others.cloned().collect();
            Err(RunError::Stage { first, others })
        }
        (None, None) => {
            saved?;
            Ok(summary)
        }
    }
}

/// Brings one stage up to date: a command typed by hand.
pub fn execute_one(
    stage: &Stage,
    options: &RunOptions<'_>,
    observer: &mut dyn Observer,
) -> Result<Summary, RunError> {
    run_plan(&Plan::single(stage), options, observer)
}

/// What there is of each resource: as the project says, otherwise as many threads as processors,
/// and as many GPUs as the driver shows, but one at least: without a GPU, who asks for one runs on
/// the CPU, and not side by side with another who does.
fn capacity(said: &BTreeMap<String, u32>) -> BTreeMap<String, u32> {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
    let is_gpu = |name: &std::ffi::OsString| {
        let number = name.to_str().and_then(|name| name.strip_prefix("nvidia"));
        number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    };
    let devices = fs::list(Path::new("/dev")).unwrap_or_default();
    let gpus = devices.iter().filter(|name| is_gpu(name)).count().max(1) as u32;
    let mut capacity = BTreeMap::from([("threads".to_owned(), threads), ("gpu".to_owned(), gpus)]);
    capacity.extend(said.iter().map(|(name, &count)| (name.clone(), count)));
    capacity
}

/// Stages as they really are: files and processes.
struct Real<'a> {
    workspace: Workspace,
    processes: Processes,
    changed_params: &'a (dyn Fn(&Stage) -> Vec<String> + Sync),
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

    fn execute(&self, stage: &Stage, observer: &mut dyn Observer) -> Result<Built, StageFailed> {
        let tries = std::sync::atomic::AtomicU32::new(0);
        let runner = |attempt: &Attempt<'_>, observer: &mut dyn Observer| {
            tries.store(attempt.number, std::sync::atomic::Ordering::Relaxed);
            self.processes.run(attempt, observer)?;
            self.require_same_params(attempt.stage)
        };
        self.workspace
            .execute(stage, &runner, observer)
            .map_err(|source| {
                self.tell_failure(stage, tries.into_inner(), &source, observer);
                StageFailed {
                    stage: stage.name.clone(),
                    source,
                }
            })
    }

    fn interrupted(&self) -> Option<Interrupted> {
        interrupted()
    }
}

impl Real<'_> {
    /// Refuses a result whose parameters were edited while it was made. A subcommand of krammerti
    /// looks for itself when it starts, and reads them only once.
    fn require_same_params(&self, stage: &Stage) -> Result<(), CommandError> {
        if stage.command.builtin || stage.params.is_empty() {
            return Ok(());
        }
        match (self.changed_params)(stage) {
            names if names.is_empty() => Ok(()),
            names => Err(CommandError::ParamsChanged { names }),
        }
    }

    /// Runs `on_failure`. That it fails as well is worth a line, not another error.
    fn tell_failure(
        &self,
        stage: &Stage,
        attempt: u32,
        error: &ExecuteError,
        observer: &mut dyn Observer,
    ) {
        let Some(words) = &stage.policy.on_failure else {
            return;
        };
        // Somebody ended it, or another run is just building it: that is no failure of the stage.
        if interrupted().is_some() || matches!(error, ExecuteError::Busy { .. }) {
            return;
        }
        let told = self
            .processes
            .tell_failure(stage, words, attempt.max(1), &error.to_string());
        if let Err(error) = told {
            observer.event(Event::warning(format!("on_failure: {error}")));
        }
    }
}
