//! When a stage runs beside when its key changed: `fresh_for`, `frozen`, `always`, `when`.

use std::time::Duration;

use super::*;

#[test]
fn a_result_that_holds_for_a_time_goes_stale_with_age() {
    let sandbox = Sandbox::new();
    let fresh_for = |span: &str| {
        let fetch = format!("cmd: krammerti fetch station --out raw.parquet, fresh_for: {span}");
        let prepare = "cmd: krammerti prepare raw.parquet --out data";
        let pipeline = format!("stages: {{fetch: {{{fetch}}}, prepare: {{{prepare}}}}}\n");
        sandbox.write("pipeline.yaml", &pipeline);
    };
    let by_hand = ["fetch", "station", "--out", "raw.parquet"];
    fresh_for("1h");
    sandbox.run(&["run"]).ok();
    assert_eq!(list(&sandbox.run_json(&[]), "fresh"), ["fetch", "prepare"]);
    let typed = sandbox.run(&by_hand).ok();
    assert!(typed.stderr.contains("nothing to do"), "{typed}");
    // How long it holds is no part of the key.
    fresh_for("1s");
    std::thread::sleep(Duration::from_millis(1100));
    let (state, reason) = state(&sandbox, "fetch");
    assert!(reason.contains("and holds for 1 s"), "{state} {reason}");
    assert!(sandbox.run(&by_hand).ok().stderr.contains("holds for 1 s"));
    fresh_for("1h");
    assert_eq!(
        list(&sandbox.run_json(&[]), "fresh"),
        ["fetch", "prepare"],
        "and so do others"
    );
    fresh_for("1s");
    std::thread::sleep(Duration::from_millis(1100));
    let event = sandbox.run_json(&[]);
    assert_eq!(
        (list(&event, "ran"), list(&event, "fresh")),
        (vec!["fetch".into()], vec!["prepare".into()])
    );
}

#[test]
fn a_frozen_stage_never_runs() {
    let pipeline = |frozen| {
        format!(
            "stages:
  bad:  {{cmd: sh bad.sh, outs: [b]}}
  slow: {{sh: cat b in > o, deps: [b, in], outs: [o], frozen: {frozen}}}
  next: {{cmd: cp o p, outs: [p]}}
"
        )
    };
    let sandbox = project(&pipeline("false"));
    sandbox.write("bad.sh", "touch b");
    sandbox.write("in", "1");
    sandbox.run(&["run"]).ok();
    sandbox.write("pipeline.yaml", &pipeline("true"));
    sandbox.write("in", "2");
    assert_eq!(state(&sandbox, "slow").0, "frozen");
    let why = sandbox.run(&["why", "slow"]).ok().stdout;
    assert!(why.contains("slow is frozen"), "{why}");
    assert_eq!(
        list(&sandbox.run_json(&["--force"]), "ran"),
        ["bad", "next"]
    );
    std::fs::remove_file(sandbox.path("o")).unwrap();
    assert_eq!(list(&sandbox.run_json(&[]), "restored"), ["slow"]);
    assert_eq!(sandbox.read("o"), "1");
    // It needs nothing, so a failure before it is no matter to those after it.
    sandbox.write("bad.sh", "exit 1");
    sandbox.write("o", "by hand");
    let event = sandbox.run_json(&["--keep-going"]);
    assert_eq!(
        (list(&event, "failed"), list(&event, "ran")),
        (vec!["bad".into()], vec!["next".into()])
    );
    assert_eq!(sandbox.read("p"), "by hand", "taken as it lies");
    assert_eq!(
        list(&sandbox.run_json(&["next"]), "fresh"),
        ["slow", "next"]
    );
}

#[test]
fn a_frozen_stage_with_nothing_to_show_says_so() {
    let sandbox = project("stages: {a: {cmd: touch o, outs: [o], frozen: true}}\n");
    assert_eq!(state(&sandbox, "a").0, "blocked");
    sandbox
        .run(&["run"])
        .fails(1, &["it is frozen, and o is neither", "hint:", "`frozen`"]);
    sandbox.write("o", "put there");
    assert_eq!(list(&sandbox.run_json(&[]), "fresh"), ["a"]);
}

#[test]
fn a_stage_that_always_runs_leaves_others_alone_where_its_bytes_are_equal() {
    let sandbox = project(
        "stages:
  look: {cmd: sh look.sh, outs: [seen], always: true}
  use: {cmd: cp seen used, outs: [used]}
",
    );
    sandbox.write("look.sh", "cat /dev/null > seen; echo x >> count");
    assert_eq!(ran(&sandbox, &[]), ["look", "use"]);
    let event = sandbox.run_json(&[]);
    assert_eq!(
        (list(&event, "ran"), list(&event, "fresh")),
        (vec!["look".into()], vec!["use".into()])
    );
    assert_eq!(sandbox.read("count"), "x\nx\n");
    assert_eq!(
        state(&sandbox, "look"),
        ("stale".into(), "it always runs".into())
    );
}

const CHOICE: &str = "stages:
  ridge: {sh: echo ridge > model, outs: [model], when: {extra.kind: ridge}}
  lstm: {sh: echo lstm > model, outs: [model], when: {extra.kind: [lstm, gru]}}
  report: {cmd: cp model report, outs: [report]}
  plot: {cmd: touch plot, outs: [plot], when: {extra.plots: true}}
  page: {cmd: cp plot page, outs: [page]}
";

#[test]
fn a_condition_leaves_out_a_stage_and_those_that_need_it() {
    let sandbox = project(CHOICE);
    sandbox.write("params.yaml", "extra: {kind: ridge}\n");
    let told = sandbox.run(&["run"]).ok();
    assert!(
        told.stderr
            .contains("ran 2 (ridge, report); off 3 (lstm, plot, page);"),
        "{told}"
    );
    let off = |stage: &str| state(&sandbox, stage);
    let is = |reason: &str| ("off".to_owned(), reason.to_owned());
    assert_eq!(
        off("lstm"),
        is("extra.kind is \"ridge\", not \"lstm\" or \"gru\"")
    );
    assert_eq!(off("plot"), is("extra.plots is unset, not true"));
    assert_eq!(off("page"), is("it needs plot, which is off"));
    let why = sandbox.run(&["why", "page"]).ok().stdout;
    assert_eq!(why, "page is off: it needs plot, which is off\n");
    sandbox.write("params.yaml", "extra: {kind: gru, plots: true}\n");
    assert_eq!(ran(&sandbox, &[]), ["lstm", "report", "plot", "page"]);
    assert_eq!(sandbox.read("report"), "lstm\n");
    sandbox.write("params.yaml", "extra: {kind: ridge}\n");
    assert_eq!(
        list(&sandbox.run_json(&[]), "restored"),
        ["ridge", "report"]
    );
    let again = sandbox.run(&["run"]).ok().stderr;
    assert_eq!(
        again,
        "nothing to do: all 2 stages are fresh; off 3 (lstm, plot, page)\n"
    );
}

#[test]
fn who_asks_for_a_stage_that_is_off_is_told() {
    let sandbox = project(CHOICE);
    sandbox.write("params.yaml", "extra: {kind: ridge}\n");
    let says = [
        "stage `lstm` is off: extra.kind is \"ridge\", not",
        "hint:",
        "when",
    ];
    sandbox.run(&["run", "report", "lstm"]).fails(2, &says);
    sandbox
        .run(&["run", "--downstream", "lstm"])
        .fails(2, &says);
    sandbox
        .run(&["run", "page"])
        .fails(2, &["`page` is off: it needs plot"]);
    assert!(!sandbox.path("report").exists(), "nothing was begun");
    sandbox.write(
        "pipeline.yaml",
        "stages: {a: {foreach: [1, 2], cmd: 'touch a${item}', outs: ['a${item}'], when: {extra.n: '${item}'}}}",
    );
    sandbox.write("params.yaml", "extra: {n: '2'}\n");
    let some = sandbox.run(&["run", "a"]).ok().stderr;
    assert!(some.contains("ran 1 (a@2); off 1 (a@1);"), "{some}");
    sandbox.write("params.yaml", "extra: {n: '3'}\n");
    let none = sandbox.run(&["run"]).ok().stderr;
    assert_eq!(none, "nothing to do: off 2 (a@1, a@2)\n");
}
