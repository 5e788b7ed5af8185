//! `krammerti lineage`.

use std::collections::HashSet;

use anyhow::Result;

use super::Global;
use super::project::Project;
use super::text::{WIDTH, fit};
use super::ui::Ui;
use crate::event::on_one_line;
use crate::ops;
use crate::pipeline::{Lineage, LineageNode, LineageStage, LineageState, ProjectPath};

/// Show what an artifact was built from, back to its sources.
///
/// It goes by pipeline.lock, which tells what each stage read and wrote when it last ran, and says
/// where the workspace is no longer like that. Digests are shortened to eight digits. With -v:
/// commands in full, all parameters, and all of many inputs.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What a stage writes or reads, or a file in it.
    path: String,
}

pub(super) fn run(args: &Args, global: &Global, ui: &mut Ui) -> Result<()> {
    let project = Project::find()?;
    let path = ProjectPath::new(&project.place(&args.path)?)?;
    let lineage = ops::lineage(&project.pipeline()?, &project.root, &path)?;
    if global.json {
        ui.print(&(serde_json::to_string(&lineage)? + "\n"));
    } else {
        ui.print(&render(&lineage, global.verbose));
    }
    Ok(())
}

/// A line of the tree that is still to be drawn.
struct Open {
    /// What stands before the branches of its parent.
    indent: String,
    /// Its own branch.
    branch: &'static str,
    what: Line,
}

enum Line {
    Node(usize),
    More(String),
}

fn render(lineage: &Lineage, verbose: bool) -> String {
    let mut text = String::new();
    let mut shown: HashSet<&str> = HashSet::new();
    // With a stack of its own: a pipeline may be deeper than that of the process.
    let mut open = vec![Open {
        indent: String::new(),
        branch: "",
        what: Line::Node(0),
    }];
    while let Some(Open {
        indent,
        branch,
        what,
    }) = open.pop()
    {
        let id = match what {
            Line::Node(id) => id,
            Line::More(more) => {
                text.push_str(&format!("{indent}{branch}{more}\n"));
                continue;
            }
        };
        let node = &lineage.nodes[id];
        let stage = lineage
            .stages
            .iter()
            .find(|s| Some(&s.stage) == node.stage.as_ref());
        let again = stage.is_some_and(|stage| !shown.insert(&stage.stage));
        text.push_str(&format!("{indent}{branch}{}", tell(lineage, node, again)));
        text.push('\n');
        if again {
            continue;
        }
        let below = match branch {
            "" => indent,
            "├─ " => format!("{indent}│  "),
            _ => format!("{indent}   "),
        };
        let inputs = stage.map_or_else(|| parts(lineage, id), |stage| stage.inputs.clone());
        let bar = if inputs.is_empty() { "   " } else { "│  " };
        for line in stage.iter().flat_map(|stage| details(stage, verbose)) {
            let indent = format!("{below}{bar}");
            let room = WIDTH.saturating_sub(indent.chars().count());
            let line = if verbose { line } else { fit(&line, room) };
            text.push_str(&format!("{indent}{line}\n"));
        }
        let lines = some(lineage, &inputs, verbose);
        let last = lines.len().saturating_sub(1);
        let lines = lines.into_iter().enumerate().rev();
        open.extend(lines.map(|(index, what)| Open {
            indent: below.clone(),
            branch: if index == last { "└─ " } else { "├─ " },
            what,
        }));
    }
    text
}

/// What lies in a folder that no stage makes as a whole.
fn parts(lineage: &Lineage, folder: usize) -> Vec<usize> {
    let edges = lineage.edges.iter();
    edges
        .filter(|edge| edge.to == folder)
        .map(|edge| edge.from)
        .collect()
}

/// All inputs, or the first of many and how many more there are.
fn some(lineage: &Lineage, inputs: &[usize], verbose: bool) -> Vec<Line> {
    const FEW: usize = 10;
    // One or two more need no more room than to say so.
    if verbose || inputs.len() <= FEW + 2 {
        return inputs.iter().map(|&id| Line::Node(id)).collect();
    }
    let (few, rest) = inputs.split_at(FEW);
    let other = |&&id: &&usize| lineage.nodes[id].state != LineageState::Same;
    let others = match rest.iter().filter(other).count() {
        0 => String::new(),
        count => format!(", {count} of them not as in the lock"),
    };
    let more = format!("and {} more{others}; -v shows them all", rest.len());
    let few = few.iter().map(|&id| Line::Node(id));
    few.chain([Line::More(more)]).collect()
}

/// One artifact on one line.
fn tell(lineage: &Lineage, node: &LineageNode, again: bool) -> String {
    let artifact = node.artifact.or(node.now);
    let digest = artifact.map_or_else(|| "-".repeat(8), |artifact| artifact.digest.short());
    let mut what = match (&node.stage, node.source) {
        (Some(stage), _) => format!("made by {stage}"),
        (None, true) => "source".to_owned(),
        (None, false) => "folder".to_owned(),
    };
    if let Some(folder) = &node.inside {
        what = format!("in {folder}, {what}");
    }
    if node.id == 0 && node.source && !lineage.read_by.is_empty() {
        what.push_str(&format!(", read by {}", lineage.read_by.join(", ")));
    }
    if let Some(note) = note(node) {
        what.push_str(&format!(", {note}"));
    }
    if again {
        what.push_str(" (see above)");
    }
    format!("{}  {digest}  {what}", node.path)
}

/// Where the workspace is not what the lock says.
fn note(node: &LineageNode) -> Option<String> {
    let now = node.now.map(|now| now.digest.short()).unwrap_or_default();
    match (node.state, node.made_since) {
        (LineageState::Changed, Some(_)) if node.made_since == node.now => {
            Some(format!("rebuilt since, now {now}"))
        }
        (LineageState::Changed, _) => Some(format!("changed since, now {now}")),
        (LineageState::Missing, _) => Some("missing".to_owned()),
        (LineageState::NeverBuilt, _) => Some("never built".to_owned()),
        (LineageState::Unknown, _) => Some("its digest then is not known any more".to_owned()),
        (LineageState::Same, Some(since)) => {
            Some(format!("which has since made {}", since.digest.short()))
        }
        (LineageState::Same, None) => None,
    }
}

/// What there is to say of a stage.
fn details(stage: &LineageStage, verbose: bool) -> Vec<String> {
    let mut lines = Vec::new();
    let command = command(&stage.cmd);
    let folder = stage.wdir.as_ref().map(|wdir| format!("in {wdir}: "));
    let first = format!("$ {}{command}", folder.unwrap_or_default());
    if verbose {
        lines.extend(first.lines().map(str::to_owned));
        lines.extend(stage.tool.clone());
        lines.extend(stage.params.iter().map(|(name, value)| {
            let name = name.strip_prefix("params.yaml:").unwrap_or(name);
            format!("{name} = {value}")
        }));
        lines.extend(stage.env.iter().map(|name| format!("${name}")));
        if !stage.built_on.is_empty() {
            lines.push(format!("on {}", on_one_line(&stage.built_on)));
        }
    } else {
        lines.push(first);
        let counts = [
            (stage.params.len(), "parameter"),
            (stage.env.len(), "environment variable"),
        ];
        let counts: Vec<String> = counts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}{}", if *count == 1 { "" } else { "s" }))
            .collect();
        if !counts.is_empty() {
            lines.push(counts.join(", "));
        }
    }
    if !stage.in_pipeline {
        lines.push("no longer in pipeline.yaml".to_owned());
    }
    lines
}

/// A command as a person writes it: the line that a shell runs, or its words.
fn command(words: &[String]) -> String {
    match words {
        [shell, option, line] if shell == "sh" && option == "-ec" => line.trim().to_owned(),
        words => {
            shlex::try_join(words.iter().map(String::as_str)).unwrap_or_else(|_| words.join(" "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::LineageEdge;

    fn node(id: usize, path: &str, stage: Option<&str>, state: LineageState) -> LineageNode {
        LineageNode {
            id,
            path: path.into(),
            artifact: None,
            now: None,
            state,
            stage: stage.map(str::to_owned),
            source: stage.is_none(),
            inside: None,
            made_since: None,
        }
    }

    fn stage(name: &str, inputs: Vec<usize>) -> LineageStage {
        LineageStage {
            stage: name.into(),
            cmd: vec!["make".into(), name.into()],
            built: true,
            in_pipeline: true,
            inputs,
            ..LineageStage::default()
        }
    }

    fn lineage(nodes: Vec<LineageNode>, stages: Vec<LineageStage>) -> Lineage {
        Lineage {
            nodes,
            read_by: vec!["r".into()],
            stages,
            edges: vec![],
        }
    }

    #[test]
    fn a_diamond_is_shown_once() {
        let same = LineageState::Same;
        let nodes = vec![
            node(0, "end", Some("last"), same),
            node(1, "left", Some("l"), LineageState::NeverBuilt),
            node(2, "right", Some("r"), same),
            node(3, "start", Some("first"), LineageState::Missing),
            node(4, "src", None, same),
        ];
        let stages = vec![
            stage("last", vec![1, 2]),
            stage("l", vec![3]),
            stage("r", vec![3, 4]),
            stage("first", vec![4]),
        ];
        insta::assert_snapshot!(render(&lineage(nodes, stages), false), @r"
        end  --------  made by last
        │  $ make last
        ├─ left  --------  made by l, never built
        │  │  $ make l
        │  └─ start  --------  made by first, missing
        │     │  $ make first
        │     └─ src  --------  source
        └─ right  --------  made by r
           │  $ make r
           ├─ start  --------  made by first, missing (see above)
           └─ src  --------  source
        ");
    }

    #[test]
    fn of_many_inputs_the_first_are_shown() {
        let mut nodes = vec![node(0, "end", Some("join"), LineageState::Same)];
        nodes.extend((1..=100).map(|i| node(i, &format!("in/{i:03}"), None, LineageState::Same)));
        nodes[50].state = LineageState::Changed;
        let all = lineage(nodes, vec![stage("join", (1..=100).collect())]);
        let few = render(&all, false);
        assert_eq!(few.lines().count(), 2 + 11, "{few}");
        assert!(
            few.ends_with("└─ and 90 more, 1 of them not as in the lock; -v shows them all\n"),
            "{few}"
        );
        assert_eq!(render(&all, true).lines().count(), 2 + 100);
    }

    #[test]
    fn a_source_says_who_reads_it_and_a_folder_what_is_in_it() {
        let source = lineage(vec![node(0, "src", None, LineageState::Same)], vec![]);
        assert_eq!(render(&source, false), "src  --------  source, read by r\n");
        let mut folder = lineage(
            vec![
                node(0, "out", None, LineageState::Same),
                node(1, "out/a", Some("a"), LineageState::Same),
            ],
            vec![stage("a", vec![])],
        );
        folder.nodes[0].source = false;
        folder.edges.push(LineageEdge {
            from: 1,
            to: 0,
            stage: None,
        });
        assert_eq!(
            render(&folder, false),
            "out  --------  folder\n└─ out/a  --------  made by a\n      $ make a\n"
        );
    }

    #[test]
    fn a_stage_tells_more_with_v() {
        let mut long = stage("a", vec![]);
        long.cmd = ["sh", "-ec", &"wc x > y\n".repeat(20)]
            .map(str::to_owned)
            .to_vec();
        long.wdir = Some("sub".into());
        long.params.insert("params.yaml:a.b".into(), "1".into());
        long.env.insert("HOME".into());
        long.in_pipeline = false;
        let lines = details(&long, false);
        assert!(lines[0].starts_with("$ in sub: wc x > y"), "{lines:?}");
        assert_eq!(
            lines[1..],
            [
                "1 parameter, 1 environment variable",
                "no longer in pipeline.yaml"
            ]
        );
        let lines = details(&long, true);
        assert_eq!(lines.len(), 23);
        assert_eq!(lines[20..22], ["a.b = 1", "$HOME"]);
        let drawn = lineage(
            vec![node(0, "y", Some("a"), LineageState::Same)],
            vec![long],
        );
        let text = render(&drawn, false);
        assert!(
            text.lines().all(|line| line.chars().count() <= WIDTH),
            "{text}"
        );
    }
}
