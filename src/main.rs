//! The `krammerti` command. It is never linked to libtorch: a command that needs it opens the back end.

use std::process::ExitCode;

use krammerti::cli::{self, Place};
use krammerti::model::Registry;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    cli::main(&args, &Registry::builtin(), Place::Binary).into()
}
