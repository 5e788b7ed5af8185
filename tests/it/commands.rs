//! The command line as a person sees it.

use crate::sandbox::Sandbox;

#[test]
fn help_of_every_command() {
    let sandbox = Sandbox::empty();
    let mut all = sandbox.run(&["--help"]).ok().stdout;
    for command in [
        "run", "status", "why", "log", "history", "diff", "lineage", "graph", "verify", "gc",
        "schema", "fetch", "check", "prepare", "train", "tune", "evaluate", "predict",
    ] {
        all.push_str(&format!(
            "\n=== {command}\n{}",
            sandbox.run(&[command, "-h"]).ok().stdout
        ));
    }
    insta::assert_snapshot!(all);
}

#[test]
fn usage_errors_end_with_2() {
    let sandbox = Sandbox::empty();
    sandbox.run(&["fly"]).fails(2, &["fly"]);
    sandbox.run(&["train"]).fails(2, &["--out"]);
    sandbox.run(&[]).fails(2, &["Usage"]);
    assert!(
        sandbox
            .run(&["--version"])
            .ok()
            .stdout
            .starts_with("krammerti ")
    );
}

#[test]
fn man_pages_and_completions_cover_every_command() {
    let sandbox = Sandbox::empty();
    sandbox.run(&["man", "pages"]).ok();
    assert!(
        sandbox
            .read("pages/krammerti-train.1")
            .contains("krammerti\\-train")
    );
    assert!(sandbox.read("pages/krammerti.1").contains("krammerti"));
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            sandbox
                .run(&["completions", shell])
                .ok()
                .stdout
                .contains("evaluate"),
            "{shell}"
        );
    }
}

#[test]
fn nothing_is_coloured_or_redrawn_without_a_terminal() {
    let sandbox = Sandbox::new();
    let ran = sandbox.run(&["run"]).ok();
    assert!(
        !ran.stderr.contains('\u{1b}') && !ran.stderr.contains('\r'),
        "{ran}"
    );
    assert!(
        ran.stdout
            .lines()
            .chain(ran.stderr.lines())
            .all(|line| line.chars().count() <= 120),
        "{ran}"
    );
}

#[test]
fn why_tells_every_cause() {
    let sandbox = Sandbox::new();
    sandbox.run(&["run", "train"]).ok();
    assert!(
        sandbox
            .run(&["why", "train"])
            .ok()
            .stdout
            .contains("train is fresh")
    );
    sandbox.edit(
        "params.yaml",
        "kind: ridge",
        "kind: ridge, lags: 5, penalty: 0.1",
    );
    let told = sandbox.run(&["why", "train"]).ok().stdout;
    assert_eq!(
        told,
        "model.lags changed from unset to 5\nmodel.penalty changed from unset to 0.1\n"
    );
    assert_eq!(
        sandbox.run(&["why", "predict"]).ok().stdout,
        "waits for train\n"
    );
    sandbox
        .run(&["why", "trian"])
        .fails(2, &["no stage is named `trian`"]);
}

#[test]
fn graph_in_every_form() {
    let sandbox = Sandbox::new();
    let mut all = String::new();
    for format in ["text", "dot", "mermaid", "json"] {
        all.push_str(&sandbox.run(&["graph", "--format", format]).ok().stdout);
    }
    let json = sandbox.run(&["graph", "--json"]).ok().stdout;
    assert!(all.ends_with(&json), "{json}");
    insta::assert_snapshot!(all);
}

#[test]
fn paths_that_begin_like_options() {
    let sandbox = Sandbox::new();
    sandbox
        .run(&["fetch", "station", "--out", "./-raw.parquet"])
        .ok();
    sandbox
        .run(&["prepare", "--out=--data", "--", "-raw.parquet"])
        .ok();
    assert!(sandbox.has("-raw.parquet") && sandbox.has("--data/dataset.json"));
    let again = sandbox
        .run(&["prepare", "./-raw.parquet", "--out", "./--data"])
        .ok();
    assert!(again.stderr.contains("nothing to do"), "{again}");
}
