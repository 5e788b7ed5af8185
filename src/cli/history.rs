//! `krammerti history`.

use anyhow::Result;

use super::Global;
use super::log;
use super::project::Project;
use super::text::{Align, WIDTH, columns, fit};
use super::ui::{Ui, told};
use crate::event::Outcome;
use crate::ops;
use crate::pipeline::{PastOutcome, PastRun, PastStage};

/// Show earlier runs, the newest last: when, how they ended, and what they did.
///
/// A run that found nothing to do leaves no trace. `killed` is one that ended without a word, such as
/// by kill -9 or a power cut. With -v: the name of each run and what became of each stage.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Number of runs to show.
    #[arg(short = 'n', long = "number", value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    number: u32,
    /// The runs that ran, restored or failed this stage, and what became of it.
    #[arg(long, value_name = "STAGE")]
    stage: Option<String>,
}

pub(super) fn run(args: &Args, global: &Global, ui: &mut Ui) -> Result<()> {
    let project = Project::find()?;
    let count = args.number as usize;
    let history = match &args.stage {
        None => ops::history(&project.root, count)?,
        Some(stage) => ops::history_of(&project.root, stage, count)
            .map_err(|error| log::named(error, &project))?,
    };
    if global.json {
        ui.print(&(serde_json::to_string(&history.runs)? + "\n"));
    } else if history.runs.is_empty() {
        ui.say("no run has left a trace yet; `krammerti run` starts one");
    } else if args.stage.is_some() {
        ui.print(&table_of_stage(&history.runs, global.verbose));
    } else {
        ui.print(&table(&history.runs, global.verbose));
    }
    if history.more {
        ui.say(&format!(
            "these are the newest {}; -n N shows more",
            history.runs.len()
        ));
    }
    Ok(())
}

const ALIGNS: [Align; 4] = [Align::Left, Align::Left, Align::Right, Align::Left];

fn table(runs: &[PastRun], verbose: bool) -> String {
    let row = |run: &PastRun| {
        let seconds = run.seconds.map_or_else(unknown, told);
        vec![start(run), run.outcome.to_string(), seconds]
    };
    let mut rows = vec![words(&["started (UTC)", "ended", "took"])];
    rows.extend(runs.iter().map(row));
    let room = room_beside(&rows);
    rows[0].push("stages".to_owned());
    for (row, run) in rows[1..].iter_mut().zip(runs) {
        row.push(done(run, room));
    }
    let lines = columns(&rows, &ALIGNS);
    if verbose {
        with_below(&lines, runs.iter().map(details))
    } else {
        lines
    }
}

/// What became of one stage.
fn table_of_stage(runs: &[PastRun], verbose: bool) -> String {
    let of_stage = || {
        runs.iter()
            .filter_map(|run| Some((run, run.stages.first()?)))
    };
    let row = |(run, past): (&PastRun, &PastStage)| {
        let ended = outcome(run, past).to_owned();
        vec![start(run), ended, took(past), tries(past)]
    };
    let mut rows = vec![words(&["started (UTC)", "ended", "took", "tries"])];
    rows.extend(of_stage().map(row));
    let room = room_beside(&rows);
    rows[0].push("what went wrong".to_owned());
    for (row, (_, past)) in rows[1..].iter_mut().zip(of_stage()) {
        row.push(fit(past.error.as_deref().unwrap_or_default(), room));
    }
    let lines = columns(
        &rows,
        &[Align::Left, Align::Left, Align::Right, Align::Right],
    );
    if verbose {
        with_below(
            &lines,
            of_stage().map(|(run, _)| format!("  {}\n", run.run)),
        )
    } else {
        lines
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// What is left of a line beside columns.
fn room_beside(rows: &[Vec<String>]) -> usize {
    let wide = columns(rows, &[Align::Right; 4]);
    let wide = wide.lines().map(|line| line.chars().count()).max();
    WIDTH.saturating_sub(wide.unwrap_or(0) + 2)
}

/// A table with something below each of its lines but the first, which is the header.
fn with_below(table: &str, below: impl Iterator<Item = String>) -> String {
    let below = std::iter::once(String::new()).chain(below);
    let lines = table.lines().zip(below);
    lines
        .flat_map(|(line, below)| [line.to_owned() + "\n", below])
        .collect()
}

/// `2025-11-30 21:00:00`.
fn start(run: &PastRun) -> String {
    run.started.trim_end_matches('Z').replacen('T', " ", 1)
}

fn unknown() -> String {
    "-".to_owned()
}

fn took(past: &PastStage) -> String {
    if past.outcome.is_some() && past.attempts > 0 {
        told(past.seconds)
    } else {
        unknown()
    }
}

fn tries(past: &PastStage) -> String {
    match past.attempts {
        0 => unknown(),
        attempts => attempts.to_string(),
    }
}

fn outcome(run: &PastRun, past: &PastStage) -> &'static str {
    match (past.outcome, run.outcome) {
        (Some(Outcome::Ran), _) => "ran",
        (Some(Outcome::Restored), _) => "restored",
        (Some(Outcome::Fresh), _) => "fresh",
        (Some(Outcome::Skipped), _) => "skipped",
        (Some(Outcome::Failed) | None, PastOutcome::Interrupted) => "interrupted",
        (Some(Outcome::Failed), _) => "failed",
        (None, PastOutcome::Running) => "running",
        (None, _) => "killed",
    }
}

/// How many stages ended how, with as many of their names as there is room for.
fn done(run: &PastRun, room: usize) -> String {
    let words = [
        "running",
        "killed",
        "interrupted",
        "failed",
        "ran",
        "restored",
    ];
    let names = |word: &str| -> Vec<&str> {
        let stages = run.stages.iter().filter(|past| outcome(run, past) == word);
        stages.map(|past| past.stage.as_str()).collect()
    };
    let counted: Vec<(String, Vec<&str>)> = words
        .iter()
        .map(|word| (word, names(word)))
        .filter(|(_, names)| !names.is_empty())
        .map(|(word, names)| (format!("{word} {}", names.len()), names))
        .collect();
    let bare: usize = counted
        .iter()
        .map(|(count, _)| count.len() + "; ".len())
        .sum();
    let mut room = (room + "; ".len()).saturating_sub(bare);
    let told = counted.iter().map(|(count, names)| {
        let names = some(names, room);
        room -= names.chars().count();
        format!("{count}{names}")
    });
    told.collect::<Vec<_>>().join("; ")
}

/// The first names in brackets, as many as there is room for.
fn some(names: &[&str], room: usize) -> String {
    const AROUND: usize = " ()".len();
    let long = |name: &&str| name.chars().count() + ", ".len();
    let all: usize = names.iter().map(long).sum();
    if all + AROUND <= room + ", ".len() {
        return format!(" ({})", names.join(", "));
    }
    let mut left = room.saturating_sub(AROUND + 1);
    let fitting = names.iter().take_while(|name| {
        let fits = long(name) <= left;
        left = left.saturating_sub(long(name));
        fits
    });
    match fitting.copied().collect::<Vec<_>>().as_slice() {
        [] => String::new(),
        some => format!(" ({}, …)", some.join(", ")),
    }
}

/// The name of a run, and its stages.
fn details(run: &PastRun) -> String {
    let rows: Vec<Vec<String>> = run
        .stages
        .iter()
        .filter(|past| past.outcome != Some(Outcome::Fresh))
        .map(|past| {
            let tries = match past.attempts {
                0 | 1 => String::new(),
                attempts => format!("{attempts} tries"),
            };
            let error = past.error.clone().unwrap_or_default();
            let last = [tries, error].into_iter().filter(|text| !text.is_empty());
            vec![
                format!("  {}", past.stage),
                outcome(run, past).to_owned(),
                took(past),
                fit(&last.collect::<Vec<_>>().join(": "), usize::MAX),
            ]
        })
        .collect();
    let by_hand = if run.by_hand { ", by hand" } else { "" };
    format!("  {}{by_hand}\n{}\n", run.run, columns(&rows, &ALIGNS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn past(stage: &str, outcome: Option<Outcome>) -> PastStage {
        PastStage {
            stage: stage.into(),
            outcome,
            seconds: 1.0,
            error: None,
            attempts: 1,
            key: None,
        }
    }

    fn a_run(outcome: PastOutcome, stages: Vec<PastStage>) -> PastRun {
        PastRun {
            run: "r".into(),
            started: "2025-11-30T21:00:00Z".into(),
            outcome,
            seconds: Some(1.0),
            stages,
            by_hand: false,
            folder: std::path::PathBuf::new(),
        }
    }

    #[test]
    fn names_are_told_where_there_is_room_and_failures_first() {
        let (ran, failed) = (Some(Outcome::Ran), Some(Outcome::Failed));
        let stages = vec![
            past("fetch", ran),
            past("prepare", ran),
            past("train", failed),
        ];
        let run = a_run(PastOutcome::Failed, stages);
        assert_eq!(done(&run, 80), "failed 1 (train); ran 2 (fetch, prepare)");
        assert_eq!(done(&run, 39), "failed 1 (train); ran 2 (fetch, …)");
        assert_eq!(done(&run, 33), "failed 1 (train); ran 2");
        assert_eq!(done(&run, 5), "failed 1; ran 2");
        assert_eq!(done(&a_run(PastOutcome::Done, vec![]), 80), "");
    }

    #[test]
    fn no_line_is_wider_than_80() {
        let names: Vec<String> = (0..300).map(|i| format!("make@station-{i}")).collect();
        let stages = names.iter().map(|name| past(name, Some(Outcome::Ran)));
        let runs = [a_run(PastOutcome::Interrupted, stages.collect())];
        let text = table(&runs, false);
        assert!(
            text.lines().all(|line| line.chars().count() <= WIDTH),
            "{text}"
        );
        assert!(text.contains("ran 300 (make@station-0, "), "{text}");

        let mut one = runs;
        one[0].stages.truncate(1);
        one[0].stages[0].error = Some("it went wrong\n".repeat(20));
        let text = table_of_stage(&one, false);
        assert!(
            text.lines().all(|line| line.chars().count() <= WIDTH),
            "{text}"
        );
    }

    #[test]
    fn what_had_not_ended_is_told_by_how_the_run_ended() {
        let told = |outcome| done(&a_run(outcome, vec![past("a", None)]), 80);
        assert_eq!(told(PastOutcome::Running), "running 1 (a)");
        assert_eq!(told(PastOutcome::Killed), "killed 1 (a)");
        assert_eq!(told(PastOutcome::Interrupted), "interrupted 1 (a)");
    }
}
