//! `krammerti completions`: for `scripts/install`.

use clap_complete::Shell;

use super::ui::Ui;

/// Print completions for a shell.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The shell.
    shell: Shell,
}

pub(super) fn run(args: &Args, ui: &mut Ui) {
    let mut script = Vec::new();
    clap_complete::generate(
        args.shell,
        &mut super::command_tree(),
        "krammerti",
        &mut script,
    );
    ui.print(&String::from_utf8_lossy(&script));
}
