//! A command of a stage, typed by hand or started by a runner.

use std::path::PathBuf;

use anyhow::Result;

use super::Global;
use super::commands::Subcommands;
use super::project::Project;
use super::run::options;
use super::stage_args::{Request, Verb};
use super::ui::Ui;
use crate::model::Registry;
use crate::ops::{self, Context};
use crate::pipeline::Stage;

/// By hand: the same way as by `krammerti run`. A command that stands in `pipeline.yaml` is that stage.
pub(super) fn run(request: &Request, global: &Global, ui: &mut Ui) -> Result<()> {
    let project = Project::find()?;
    let request = request.clone().map_paths(|path| project.place(path))?;
    let declared = Subcommands::new(&project.root).declare_request(&request)?;
    let pipeline = project.pipeline()?;
    let known = pipeline
        .stages()
        .iter()
        .find(|stage| stage.command.words == declared.words)
        .cloned();
    let stage = match known {
        Some(stage) => stage,
        None => Stage::from_declared(request.verb.name(), declared, true)?,
    };
    let krammerti = std::env::current_exe()?;
    ops::execute_one(&stage, &options(&project, &krammerti, global), ui)?;
    Ok(())
}

/// The body of a stage, in the project's root: the work itself.
pub(super) fn work(request: &Request, registry: &Registry, ui: &mut Ui) -> Result<()> {
    let here = std::env::current_dir()?;
    let loaded = Subcommands::new(&here).load(&request.common.params, &request.common.set)?;
    let context = Context {
        registry,
        params: &loaded.params,
        params_file: &loaded.file,
        inputs: request.inputs.iter().map(PathBuf::from).collect(),
        data: request.data.as_ref().map(PathBuf::from),
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
