//! `krammerti man`: for `scripts/install`.

use std::path::PathBuf;

use anyhow::Result;

use crate::fs;

/// Write the man pages into a folder.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The folder.
    folder: PathBuf,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let mut tree = super::command_tree();
    tree.build();
    let visible = tree
        .get_subcommands()
        .filter(|command| !command.is_hide_set() && command.get_name() != "help");
    for command in visible.chain([&tree]) {
        let name = command
            .get_display_name()
            .unwrap_or_else(|| command.get_name());
        let mut page = Vec::new();
        clap_mangen::Man::new(command.clone()).render(&mut page)?;
        fs::write_atomic(&args.folder.join(format!("{name}.1")), &page)?;
    }
    Ok(())
}
