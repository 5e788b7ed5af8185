//! A command of a stage, typed by hand or started by a runner.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::Global;
use super::commands::Subcommands;
use super::project::Project;
use super::run::options;
use super::stage_args::{Request, Verb};
use super::ui::Ui;
use crate::event::{Event, Observer, Outcome};
use crate::model::Registry;
use crate::ops::{self, Context, RunOptions, Subject};
use crate::pipeline::{BODY, Declared, Pipeline, ProjectPath, Stage, params_digest};

/// By hand: the same way as by `krammerti run`. A command that stands in `pipeline.yaml` is that stage.
pub(super) fn run(request: &Request, global: &Global, ui: &mut Ui) -> Result<()> {
    let project = Project::find()?;
    let request = request.clone().map_paths(|path| project.place(path))?;
    let subcommands = Subcommands::new(&project.root);
    let declared = subcommands.declare_request(&request)?;
    let (pipeline, seen) = project.read()?;
    let known = pipeline
        .stages()
        .iter()
        .find(|stage| stage.command.words == declared.words);
    let (stage, subject) = if let Some(stage) = known {
        (stage.clone(), Subject::Stage)
    } else {
        let sources = subcommands.source_files(&request)?;
        let stage = ad_hoc(&request, declared, &pipeline, sources)?;
        (stage, Subject::Command)
    };
    for idle in request.idle_assignments() {
        let (verb, sections) = (request.verb.name(), request.verb.sections().join(", "));
        ui.event(Event::warning(format!(
            "--set {idle} changes nothing here: `{verb}` reads {sections} alone"
        )));
    }
    if stage.policy.frozen {
        let remark = "is frozen in pipeline.yaml: its outputs are taken as they lie";
        ui.remark(&format!("{} {remark}", stage.name));
    }
    let krammerti = std::env::current_exe()?;
    let changed = |stage: &Stage| seen.changed(stage);
    let options = RunOptions {
        offline: request.offline,
        subject,
        ..options(&project, &krammerti, &changed, global)
    };
    let mut observer = TellingAgain {
        ui,
        request: &request,
        root: &project.root,
    };
    ops::execute_one(&stage, &options, &mut observer)?;
    Ok(())
}

/// Whoever asks for scores or a forecast wants to see them, also where there was nothing to do.
struct TellingAgain<'a> {
    ui: &'a mut Ui,
    request: &'a Request,
    root: &'a Path,
}

impl TellingAgain<'_> {
    fn result(&self) -> Result<Option<Event>> {
        let out = Path::new(&self.request.common.out);
        match self.request.verb {
            Verb::Evaluate => ops::evaluated(self.root, out).map(Some),
            Verb::Predict => ops::predicted(self.root, out).map(Some),
            Verb::Fetch | Verb::Prepare | Verb::Train | Verb::Tune => Ok(None),
        }
    }
}

impl Observer for TellingAgain<'_> {
    fn event(&mut self, event: Event) {
        let made_before = match &event {
            Event::StageFinished { stage, outcome, .. } => {
                matches!(outcome, Outcome::Fresh | Outcome::Restored).then(|| stage.clone())
            }
            _ => None,
        };
        self.ui.event(event);
        if let Some(stage) = made_before {
            let told = self.result().unwrap_or_else(|error| {
                Some(Event::warning(format!(
                    "{}: {error:#}",
                    self.request.common.out
                )))
            });
            if let Some(told) = told {
                self.ui.event(told.of_stage(&stage));
            }
        }
    }
}

/// The body of a stage, in the project's root: the work itself.
pub(super) fn work(request: &Request, registry: &Registry, ui: &mut Ui) -> Result<()> {
    let here = std::env::current_dir()?;
    let subcommands = Subcommands::new(&here);
    let loaded = subcommands.load(&request.common.params, &request.common.set)?;
    require_same_params(&subcommands.declare_request(request)?.params)?;
    let context = Context {
        registry,
        params: &loaded.params,
        params_file: &loaded.file,
        inputs: request.inputs.iter().map(PathBuf::from).collect(),
        data: request.data.as_ref().map(PathBuf::from),
        warm_start: request.warm_start.as_ref().map(PathBuf::from),
        out: PathBuf::from(&request.common.out),
        observer: ui,
    };
    match request.verb {
        Verb::Fetch => ops::fetch(context, &request.inputs[0]),
        Verb::Prepare => ops::prepare(context),
        Verb::Train => ops::train(context),
        Verb::Tune => ops::tune(context),
        Verb::Evaluate => ops::evaluate(context),
        Verb::Predict => ops::predict(context),
    }
}

/// The output of a command typed by hand lies in that of a stage, or in its own input.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{out} overlaps {other}, which {who}")]
pub(super) struct Overlap {
    out: ProjectPath,
    other: ProjectPath,
    who: String,
}

/// A command that is no stage. It may write where a stage writes (a try with other parameters), but
/// not above or below that, nor over what it or a source reads.
fn ad_hoc(
    request: &Request,
    declared: Declared,
    pipeline: &Pipeline,
    sources: Vec<(String, String)>,
) -> Result<Stage> {
    let stage = Stage::from_declared(request.verb.name(), declared, true)?;
    let reads = stage
        .inputs
        .iter()
        .map(|path| (path.clone(), "it reads".to_owned()));
    // What lies outside the project no output can reach.
    let sources = sources.into_iter().filter_map(|(name, path)| {
        let path = ProjectPath::new(&path).ok()?;
        Some((path, format!("source `{name}` reads")))
    });
    let writes = pipeline.stages().iter().flat_map(|other| {
        let who = format!("stage `{}` writes", other.name);
        let others = other
            .outputs
            .iter()
            .filter(|path| !stage.outputs.contains(path));
        others.map(move |path| (path.clone(), who.clone()))
    });
    let clash = reads.chain(sources).chain(writes).find_map(|(other, who)| {
        let out = stage.outputs.iter().find(|out| out.overlaps(&other))?;
        Some(Overlap {
            out: out.clone(),
            other,
            who,
        })
    });
    match clash {
        Some(clash) => Err(clash.into()),
        None => Ok(stage),
    }
}

/// The key was formed with the parameters as they were when the run began.
fn require_same_params(now: &BTreeMap<String, String>) -> Result<()> {
    let then = std::env::var(BODY).unwrap_or_default();
    anyhow::ensure!(
        then == params_digest(now).to_string(),
        "the parameters were edited after the run had begun; run again"
    );
    Ok(())
}
