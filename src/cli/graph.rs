//! `krammerti graph`.

use std::collections::HashMap;

use anyhow::Result;

use super::Global;
use super::project::Project;
use super::ui::Ui;
use crate::pipeline::Pipeline;

/// So many names more than two are only counted in the text for a person.
const MANY: usize = 10;

/// Show which stage reads what another one writes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Output format; `text` where nothing is said, `json` with `--json`.
    #[arg(long, value_enum)]
    format: Option<Format>,
}

/// The forms of a graph.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    /// One stage a line, with those that it reads from.
    Text,
    /// For Graphviz.
    Dot,
    /// For Markdown pages.
    Mermaid,
    /// For programs.
    Json,
}

pub(super) fn run(args: &Args, global: &Global, ui: &mut Ui) -> Result<()> {
    let pipeline = Project::find()?.pipeline()?;
    let unsaid = if global.json {
        Format::Json
    } else {
        Format::Text
    };
    ui.print(&render(&pipeline, args.format.unwrap_or(unsaid)));
    Ok(())
}

fn render(pipeline: &Pipeline, format: Format) -> String {
    let names = || pipeline.stages().iter().map(|stage| stage.name.as_str());
    let edges = || {
        pipeline
            .edges()
            .into_iter()
            .map(|(from, to)| (from.name.as_str(), to.name.as_str()))
    };
    let lines = |lines: Vec<String>| lines.concat();
    match format {
        Format::Text => lines(
            pipeline
                .stages()
                .iter()
                .enumerate()
                .map(|(index, stage)| text_line(pipeline, index, stage))
                .collect(),
        ),
        Format::Dot => format!(
            "digraph pipeline {{\n  rankdir=LR;\n{}{}}}\n",
            lines(names().map(|name| format!("  \"{name}\";\n")).collect()),
            lines(
                edges()
                    .map(|(from, to)| format!("  \"{from}\" -> \"{to}\";\n"))
                    .collect()
            )
        ),
        Format::Mermaid => {
            // Names may hold what Mermaid takes for syntax, so nodes are numbered.
            let number: HashMap<&str, usize> = names().zip(0..).collect();
            format!(
                "flowchart LR\n{}{}",
                lines(
                    names()
                        .map(|name| format!("  s{}[\"{name}\"]\n", number[name]))
                        .collect()
                ),
                lines(
                    edges()
                        .map(|(from, to)| format!("  s{} --> s{}\n", number[from], number[to]))
                        .collect()
                )
            )
        }
        Format::Json => {
            let stages: Vec<&str> = names().collect();
            let edges: Vec<(&str, &str)> = edges().collect();
            serde_json::json!({ "stages": stages, "edges": edges }).to_string() + "\n"
        }
    }
}

fn text_line(pipeline: &Pipeline, index: usize, stage: &crate::pipeline::Stage) -> String {
    let from: Vec<&str> = pipeline
        .upstream(index)
        .map(|writer| writer.name.as_str())
        .collect();
    let from = match from.as_slice() {
        [] => return format!("{}\n", stage.name),
        [first, second, more @ ..] if more.len() > MANY => {
            format!("{first}, {second} and {} more", more.len())
        }
        from => from.join(", "),
    };
    format!("{} <- {from}\n", stage.name)
}
