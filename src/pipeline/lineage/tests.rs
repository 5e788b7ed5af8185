//! What an artifact was made from, in small projects.

use std::path::Path;

use super::super::tests::NoSubcommands;
use super::*;

/// A lock in short: `stage: reads a=1 b=2, writes c=3` a line; digests are those of the texts.
fn lock(lines: &[&str]) -> Lock {
    let mut text = "version: 1\nstages:\n".to_owned();
    for line in lines {
        let (stage, rest) = line.split_once(": ").unwrap();
        let (reads, writes) = rest.split_once(" -> ").unwrap();
        let map = |pairs: &str| {
            let pairs = pairs.split_whitespace().map(|pair| {
                let (path, content) = pair.split_once('=').unwrap();
                format!("{path}: '{}'", file(content))
            });
            pairs.collect::<Vec<_>>().join(", ")
        };
        text.push_str(&format!(
            "  {stage}: {{cmd: make {stage}, read: {{{}}}, wrote: {{{}}}}}\n",
            map(reads),
            map(writes)
        ));
    }
    Lock::parse(Path::new("pipeline.lock"), &text).unwrap()
}

fn file(content: &str) -> Artifact {
    Artifact {
        kind: Kind::File,
        digest: Digest::of(content.as_bytes()),
    }
}

fn pipeline(stages: &str) -> Pipeline {
    let text = format!("stages:\n{stages}");
    Pipeline::parse(Path::new("pipeline.yaml"), &text, &NoSubcommands).unwrap()
}

/// Nodes as `path state stage`, with the digits of what else there is to say.
fn told(pipeline: &Pipeline, lock: &Lock, workspace: &[(&str, &str)], path: &str) -> Vec<String> {
    let there: BTreeMap<&str, Artifact> = workspace
        .iter()
        .map(|(path, content)| (*path, file(content)))
        .collect();
    let now = |path: &str| Ok(there.get(path).copied());
    let known = Known::new(pipeline, lock, &now, &|_| None, &|_| None);
    match trace(&known, &ProjectPath::new(path).unwrap()) {
        Err(error) => vec![error.to_string()],
        Ok(lineage) => {
            for edge in &lineage.edges {
                assert!(edge.to < lineage.nodes.len() && edge.from < lineage.nodes.len());
            }
            lineage.nodes.iter().map(tell).collect()
        }
    }
}

fn tell(node: &LineageNode) -> String {
    let mut told = format!("{} {:?}", node.path, node.state);
    match &node.stage {
        Some(stage) => told.push_str(&format!(" by {stage}")),
        None if node.source => told.push_str(" source"),
        None => {}
    }
    if node.made_since.is_some() {
        told.push_str(" made since");
    }
    told
}

const TWO: &str =
    "  a: {cmd: x, deps: [src], outs: [mid]}\n  b: {cmd: x, deps: [mid, src], outs: [end]}\n";

#[test]
fn a_diamond_back_to_its_source() {
    let lock = lock(&["a: src=1 -> mid=2", "b: mid=2 src=1 -> end=3"]);
    let there = [("src", "1"), ("mid", "2"), ("end", "3")];
    let pipeline = pipeline(TWO);
    assert_eq!(
        told(&pipeline, &lock, &there, "end"),
        ["end Same by b", "mid Same by a", "src Same source"]
    );
    assert_eq!(told(&pipeline, &lock, &there, "src"), ["src Same source"]);
    let now = |_: &str| Ok(None);
    let known = Known::new(&pipeline, &lock, &now, &|_| None, &|_| None);
    let lineage = trace(&known, &ProjectPath::new("end").unwrap()).unwrap();
    let edges: Vec<(usize, usize)> = lineage.edges.iter().map(|e| (e.from, e.to)).collect();
    assert_eq!(edges, [(1, 0), (2, 0), (2, 1)]);
    let source = trace(&known, &ProjectPath::new("src").unwrap()).unwrap();
    assert_eq!(source.read_by, ["a", "b"]);
}

#[test]
fn what_is_no_longer_so_is_told() {
    let pipeline = pipeline(TWO);
    let both = lock(&["a: src=1 -> mid=2", "b: mid=2 src=1 -> end=3"]);
    assert_eq!(
        told(&pipeline, &both, &[("src", "9"), ("mid", "2")], "end"),
        ["end Missing by b", "mid Same by a", "src Changed source"]
    );
    // The first stage ran again, the second did not.
    let since = lock(&["a: src=9 -> mid=8", "b: mid=2 src=1 -> end=3"]);
    assert_eq!(
        told(
            &pipeline,
            &since,
            &[("src", "9"), ("mid", "8"), ("end", "3")],
            "end"
        ),
        [
            "end Same by b",
            "mid Changed by a made since",
            "src Changed source",
            "src Same source"
        ]
    );
    let first = lock(&["a: src=1 -> mid=2"]);
    assert_eq!(
        told(&pipeline, &first, &[("src", "1"), ("mid", "2")], "end"),
        [
            "end NeverBuilt by b",
            "mid Same by a",
            "src Same source",
            "src Same source"
        ]
    );
    assert_eq!(
        told(&pipeline, &Lock::default(), &[], "end"),
        [
            "end NeverBuilt by b",
            "mid NeverBuilt by a",
            "src Missing source"
        ]
    );
}

#[test]
fn a_stage_that_is_gone_counts_less_than_one_that_is_there() {
    let lock = lock(&["old: src=1 -> mid=2", "b: mid=2 src=1 -> end=3"]);
    let pipeline = pipeline(TWO);
    let there = [("src", "1"), ("mid", "2"), ("end", "3")];
    // `a` never ran, so what the lock says of `old` is the truth.
    assert_eq!(
        told(&pipeline, &lock, &there, "mid"),
        ["mid Same by old", "src Same source"]
    );
    let both = super::tests::lock(&["old: src=1 -> mid=2", "a: src=1 -> mid=2"]);
    assert_eq!(told(&pipeline, &both, &there, "mid")[0], "mid Same by a");
}

#[test]
fn a_lock_that_goes_round_in_a_circle_ends() {
    let lock = lock(&["a: end=3 -> mid=2", "b: mid=2 -> end=3"]);
    assert_eq!(
        told(&pipeline(TWO), &lock, &[], "end"),
        ["end Missing by b", "mid Missing by a"]
    );
}

#[test]
fn folders_and_what_lies_in_them() {
    let pipeline = pipeline(
        "  a: {cmd: x, deps: [src/], outs: [out/one]}\n  b: {cmd: x, deps: [out], outs: [end]}\n",
    );
    let tree = Tree {
        entries: vec![File {
            path: "sub/f".into(),
            digest: Digest::of(b"f"),
            executable: false,
        }],
    };
    let folder = Artifact {
        kind: Kind::Folder,
        digest: Digest::of(tree.encode().as_bytes()),
    };
    let text = format!(
        "version: 1\nstages:\n  a: {{cmd: x, read: {{src: '{folder}'}}, wrote: {{out/one: '{folder}'}}}}\n"
    );
    let lock = Lock::parse(Path::new("pipeline.lock"), &text).unwrap();
    let now = |path: &str| Ok((path != "gone").then_some(folder));
    let listing = |digest| (digest == folder.digest).then(|| tree.clone());
    let known = Known::new(&pipeline, &lock, &now, &listing, &|_| None);
    let nodes = |path: &str| match trace(&known, &ProjectPath::new(path).unwrap()) {
        Ok(lineage) => lineage.nodes,
        Err(error) => panic!("{error}"),
    };
    let inside = &nodes("out/one/sub/f")[0];
    assert_eq!(inside.artifact, Some(file("f")));
    assert_eq!(inside.inside.as_deref(), Some("out/one"));
    assert_eq!(
        nodes("out/one/sub")[0].artifact.map(|a| a.kind),
        Some(Kind::Folder)
    );
    let source = &nodes("src/sub/f")[0];
    assert!(source.source && source.inside.as_deref() == Some("src"));
    let tell_all = |path: &str| nodes(path).iter().map(tell).collect::<Vec<_>>();
    assert_eq!(
        tell_all("out"),
        ["out Same", "out/one Same by a", "src Same source"]
    );
    assert_eq!(tell_all("end")[..2], ["end NeverBuilt by b", "out Same"]);
    let error = |path: &str| {
        trace(&known, &ProjectPath::new(path).unwrap())
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        error("out/one/g"),
        "out/one/g is not in out/one as stage `a` made it"
    );
    assert_eq!(
        error("src/g"),
        "src/g is not in src as it was when a stage read it"
    );
    assert_eq!(error("elsewhere"), "no stage makes or reads elsewhere");
}
