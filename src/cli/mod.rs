//! The command line: what a person types, and nothing of what is then done.

mod backend;
mod by_hand;
mod check;
mod commands;
mod completions;
mod diff;
mod dry_run;
mod error;
mod evaluate;
mod fetch;
mod gc;
mod graph;
mod history;
mod lineage;
mod log;
mod man;
mod predict;
mod prepare;
mod project;
mod run;
mod schema;
mod stage_args;
mod status;
mod text;
mod threads;
mod train;
mod tune;
mod ui;
mod verify;
mod why;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::model::{NeedsBackend, Registry};
use crate::pipeline::{BODY, allow_open_files};
use stage_args::Request;
use ui::Ui;

/// Where this code runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the binary, which opens the back end where a command needs it.
    Binary,
    /// In the back end, with the torch models at hand.
    Backend,
}

/// Forecasts weather and other time series, as one reproducible pipeline.
///
/// In a project folder (one with `pipeline.yaml`), `krammerti run` builds what is not up to date:
/// observations are fetched, prepared, a model is trained and evaluated, and a forecast is made.
/// Every step is also a command of its own.
#[derive(Debug, Parser)]
#[command(name = "krammerti", version, max_term_width = 100, after_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 a stage or command failed, 2 wrong usage or configuration,
3 a quality gate or check did not hold, 4 another run holds an output (--no-wait),
129, 130 and 143 interrupted by SIGHUP (a closed terminal), Ctrl-C and SIGTERM.";

/// Options that every command has.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
#[derive(Clone, Debug, clap::Args)]
struct Global {
    /// Work as if started in this folder.
    #[arg(short = 'C', long = "directory", value_name = "DIR", global = true)]
    directory: Option<PathBuf>,
    /// Print the result, or events as they come, as JSON on stdout, for programs.
    #[arg(long, global = true)]
    json: bool,
    /// Print results, warnings and errors only.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Print what each stage says of its work.
    #[arg(short, long, global = true)]
    verbose: bool,
    /// When to use colour.
    #[arg(long, value_enum, default_value_t, global = true, value_name = "WHEN")]
    color: clap::ColorChoice,
    /// End with exit code 4 where another run holds an output, instead of waiting for it.
    #[arg(long, global = true)]
    no_wait: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Status(status::Args),
    Why(why::Args),
    Log(log::Args),
    History(history::Args),
    Diff(diff::Args),
    Lineage(lineage::Args),
    Graph(graph::Args),
    Verify(verify::Args),
    Gc(gc::Args),
    Check(check::Args),
    #[command(flatten)]
    Stage(StageCommand),
    #[command(hide = true)]
    Completions(completions::Args),
    #[command(hide = true)]
    Man(man::Args),
    Schema(schema::Args),
}

/// The commands that are stages.
#[derive(Debug, Subcommand)]
enum StageCommand {
    Fetch(fetch::Args),
    Prepare(prepare::Args),
    Train(Box<train::Args>),
    Tune(tune::Args),
    Evaluate(evaluate::Args),
    Predict(predict::Args),
}

impl From<StageCommand> for Request {
    fn from(command: StageCommand) -> Self {
        match command {
            StageCommand::Fetch(args) => args.into(),
            StageCommand::Prepare(args) => args.into(),
            StageCommand::Train(args) => (*args).into(),
            StageCommand::Tune(args) => args.into(),
            StageCommand::Evaluate(args) => args.into(),
            StageCommand::Predict(args) => args.into(),
        }
    }
}

/// Runs a command line and gives back its exit code. `args` starts with the program's name.
pub fn main(args: &[OsString], registry: &Registry, place: Place) -> u8 {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        // clap's own text, on the stream and with the code that belong to it.
        Err(error) => return u8::try_from(ui::print_usage(&error)).unwrap_or(2),
    };
    // A runner started us for the body of a stage: work, and report as events.
    let body = std::env::var_os(BODY).is_some();
    let mut ui = Ui::new(&cli.global, body);
    if place == Place::Binary {
        allow_open_files();
    }
    let begun = threads::start().map_err(anyhow::Error::from);
    match begun
        .and_then(|()| run(cli, registry, body, &mut ui))
        .and_then(|()| ui.require_written())
    {
        Ok(()) => 0,
        Err(error) if place == Place::Binary && error.is::<NeedsBackend>() => {
            match backend::enter(args) {
                Ok(never) => match never {},
                Err(missing) => ui.error(&error::Report::of(&missing.context(error))),
            }
        }
        Err(error) => ui.error(&error::Report::of(&error)),
    }
}

fn run(cli: Cli, registry: &Registry, body: bool, ui: &mut Ui) -> anyhow::Result<()> {
    let Cli { global, command } = cli;
    if let Some(directory) = &global.directory {
        project::enter(directory)?;
    }
    match command {
        Command::Stage(stage) if body => by_hand::work(&stage.into(), registry, ui),
        Command::Stage(stage) => by_hand::run(&stage.into(), &global, ui),
        Command::Run(args) => run::run(&args, &global, ui),
        Command::Status(args) => status::run(&args, &global, ui),
        Command::Why(args) => why::run(&args, &global, ui),
        Command::Log(args) => log::run(&args, &global, ui),
        Command::History(args) => history::run(&args, &global, ui),
        Command::Diff(args) => diff::run(&args, &global, ui),
        Command::Lineage(args) => lineage::run(&args, &global, ui),
        Command::Graph(args) => graph::run(&args, &global, ui),
        Command::Verify(args) => verify::run(&args, &global, ui),
        Command::Check(args) => check::run(&args, ui),
        Command::Gc(args) => gc::run(&args, &global, ui),
        Command::Completions(args) => {
            completions::run(&args, ui);
            Ok(())
        }
        Command::Man(args) => man::run(&args),
        Command::Schema(args) => {
            schema::run(&args, ui);
            Ok(())
        }
    }
}

/// The tree of commands, for completions and man pages.
fn command_tree() -> clap::Command {
    Cli::command()
}

/// Reads the words of a stage's command.
fn parse_request(words: &[String]) -> anyhow::Result<Request> {
    let matches = command_tree()
        .try_get_matches_from(words)
        .map_err(|error| one_line(&error))?;
    let cli = Cli::from_arg_matches(&matches).map_err(|error| one_line(&error))?;
    anyhow::ensure!(
        cli.global.directory.is_none(),
        "-C has no place in a stage: its command runs in the project's folder"
    );
    let Command::Stage(stage) = cli.command else {
        anyhow::bail!("`{}` is no command of a stage", words.join(" "));
    };
    let request = Request::from(stage);
    anyhow::ensure!(
        !request.offline,
        "--offline has no place in a stage: give it to `krammerti run`"
    );
    Ok(request)
}

/// clap's error without usage and hints, which speak to somebody at a prompt.
fn one_line(error: &clap::Error) -> anyhow::Error {
    let text = error.to_string();
    let first = text
        .split("\n\n")
        .next()
        .unwrap_or_default()
        .trim_start_matches("error: ");
    anyhow::anyhow!("{}", first.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_of_commands_is_sound() {
        command_tree().debug_assert();
    }

    #[test]
    fn a_stage_command_is_read_in_one_form_however_it_is_written() {
        let request = |line: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            parse_request(&words)
        };
        let one =
            request("krammerti train data/prepared/a --out models/a --set train.epochs=3").unwrap();
        let other =
            request("krammerti -q train --out=models/a --set=train.epochs=3 data/prepared/a")
                .unwrap();
        assert_eq!(one, other);
        assert!(
            request("krammerti train")
                .unwrap_err()
                .to_string()
                .contains("--out")
        );
        assert!(
            request("krammerti status")
                .unwrap_err()
                .to_string()
                .contains("no command of a stage")
        );
        assert!(
            request("krammerti fly x")
                .unwrap_err()
                .to_string()
                .contains("fly")
        );
    }
}
