//! `krammerti schema`.

use super::ui::Ui;
use crate::pipeline;

/// Print the JSON schema of pipeline.yaml, for editors.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_: &Args, ui: &mut Ui) {
    ui.print(&pipeline::schema());
}
