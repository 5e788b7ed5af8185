//! `krammerti check`.

use std::path::Path;

use anyhow::Result;

use super::commands::Subcommands;
use super::project::Project;
use super::stage_args::DEFAULT_PARAMS;
use super::ui::Ui;
use crate::fs;
use crate::ops;

/// Check observations and say what is not to be believed. Writes nothing.
///
/// Makes the checks of `prepare.quality` on a fetched file or a prepared data set, and that of the
/// age of the last row besides. Ends with exit code 3 where a check with the action `fail` finds
/// something.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A fetched Parquet file, or the folder of a data set.
    data: String,
    /// The parameter file, or a section of it.
    #[arg(long, value_name = "FILE[:KEY]", default_value = DEFAULT_PARAMS)]
    params: String,
    /// Override one parameter; may be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

pub(super) fn run(args: &Args, ui: &mut Ui) -> Result<()> {
    let project = Project::find()?;
    let data = project.place(&args.data)?;
    let params = match args.params.as_str() {
        DEFAULT_PARAMS => DEFAULT_PARAMS.to_owned(),
        other => project.place(other)?,
    };
    let loaded = Subcommands::new(&project.root).load(&params, &args.set)?;
    let now = fs::since_1970().as_secs() as i64;
    ops::check(&loaded.params, &project.root, Path::new(&data), now, ui)
}
