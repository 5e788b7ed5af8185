//! What runs, what comes back from the store, and what is left alone.

use crate::sandbox::{STAGES, Sandbox};

fn names(event: &serde_json::Value, list: &str) -> Vec<String> {
    serde_json::from_value(event[list].clone()).unwrap()
}

#[test]
fn a_first_run_builds_everything_and_the_next_does_nothing() {
    let sandbox = Sandbox::new();
    let first = sandbox.run(&["run"]).ok();
    assert!(
        first.stdout.contains("skill") && first.stdout.contains("Forecast of temperature_2m"),
        "{first}"
    );
    let before = sandbox.artifacts();
    let second = sandbox.run(&["run"]).ok();
    assert_eq!(
        (second.stdout.as_str(), second.stderr.as_str()),
        ("", "nothing to do: all 5 stages are fresh\n")
    );
    assert_eq!(sandbox.artifacts(), before);
    assert!(
        sandbox
            .run(&["status"])
            .ok()
            .stdout
            .lines()
            .all(|line| line.ends_with("fresh"))
    );
}

#[test]
fn a_parameter_reruns_its_readers_and_its_old_value_comes_back_from_the_store() {
    let sandbox = Sandbox::new();
    sandbox.run(&["run"]).ok();
    let before = sandbox.artifacts();
    sandbox.edit("params.yaml", "kind: ridge", "kind: ridge, penalty: 0.1");
    let status = sandbox.run(&["status"]).ok().stdout;
    assert!(
        status.contains("model.penalty changed from unset to 0.1"),
        "{status}"
    );
    assert!(status.contains("waits for train"), "{status}");
    let changed = sandbox.run_json(&[]);
    assert_eq!(names(&changed, "ran"), ["train", "evaluate", "predict"]);
    assert_eq!(names(&changed, "fresh"), ["fetch", "prepare"]);
    sandbox.edit("params.yaml", "kind: ridge, penalty: 0.1", "kind: ridge");
    let back = sandbox.run_json(&[]);
    assert_eq!(names(&back, "restored"), ["train", "evaluate", "predict"]);
    assert_eq!(names(&back, "ran"), [""; 0]);
    assert_eq!(sandbox.artifacts(), before);
}

#[test]
fn comments_and_spacing_rerun_nothing() {
    let sandbox = Sandbox::new();
    sandbox.run(&["run"]).ok();
    let text = sandbox.read("pipeline.yaml").replace(
        "{cmd: krammerti train data --out model}",
        "\n    # said anew\n    cmd: krammerti   train  --out ./model data\n    desc: trains",
    );
    sandbox.write("pipeline.yaml", &text);
    sandbox.edit(
        "params.yaml",
        "train: {epochs: 2, threads: 1}",
        "train:\n  threads: 1 # one\n  epochs: 2",
    );
    assert_eq!(names(&sandbox.run_json(&[]), "fresh"), STAGES);
}

#[test]
fn equal_bytes_upstream_leave_everything_after_fresh() {
    let sandbox = Sandbox::new();
    sandbox.run(&["run"]).ok();
    // A comment line is another file, but the same table.
    let csv = sandbox.read("station.csv").replace("2.8,97", "2.80,97");
    sandbox.write("station.csv", &csv);
    let event = sandbox.run_json(&[]);
    assert_eq!(
        (names(&event, "ran"), names(&event, "fresh").len()),
        (vec!["fetch".to_owned()], 4)
    );
}

#[test]
fn two_runs_from_scratch_give_equal_bytes() {
    let (one, other) = (Sandbox::new(), Sandbox::new());
    one.run(&["run"]).ok();
    other.run(&["run"]).ok();
    assert!(one.artifacts() == other.artifacts(), "the artifacts differ");
}

#[test]
fn a_target_builds_itself_and_what_it_needs() {
    let sandbox = Sandbox::new();
    assert_eq!(
        names(&sandbox.run_json(&["prepare"]), "ran"),
        ["fetch", "prepare"]
    );
    sandbox
        .run(&["run", "predct"])
        .fails(2, &["no stage is named `predct`", "fetch, prepare"]);
}

#[test]
fn a_command_by_hand_is_the_stage_from_any_folder_of_the_project() {
    let sandbox = Sandbox::new();
    sandbox.run(&["run", "prepare"]).ok();
    let here = sandbox.path("data");
    let mut command = sandbox.command(&["train", ".", "--out", "../model"]);
    sandbox.finish(command.current_dir(&here)).ok();
    let event = sandbox.run_json(&["train"]);
    assert_eq!(names(&event, "fresh"), ["fetch", "prepare", "train"]);
    let other = sandbox
        .run(&["train", "data", "--out", "other", "--set", "model.lags=3"])
        .ok();
    assert!(
        sandbox.read("other/model.json").contains("\"lags\": 3"),
        "{other}"
    );
    let again = sandbox
        .run(&["train", "data", "--out", "other", "--set", "model.lags=3"])
        .ok();
    assert!(again.stderr.contains("nothing to do"), "{again}");
}

#[test]
fn other_programs_are_stages_too() {
    let sandbox = Sandbox::empty();
    sandbox.write(
        "pipeline.yaml",
        "stages:
  join: {cmd: \"sh -c 'cat a b > joined; echo loud'\", deps: [a, b], outs: [joined]}
  count: {cmd: \"sh -c 'wc -c < joined > count'\", deps: [joined], outs: [count]}
",
    );
    sandbox.write("a", "1");
    sandbox.write("b", "2");
    let ran = sandbox.run(&["run"]).ok();
    assert!(
        !ran.stdout.contains("loud") && !ran.stderr.contains("loud"),
        "{ran}"
    );
    sandbox.write("a", "2");
    sandbox.write("b", "1");
    let event = sandbox.run_json(&[]);
    assert_eq!(
        names(&event, "ran"),
        ["join", "count"],
        "swapped inputs are other inputs"
    );
    assert_eq!(sandbox.read("joined"), "21");
}

#[test]
fn a_failing_stage_skips_the_rest_and_keeps_the_old_output() {
    let sandbox = Sandbox::empty();
    sandbox.write(
        "pipeline.yaml",
        "stages:
  one: {cmd: sh make.sh, deps: [make.sh], outs: [out]}
  two: {cmd: cp out copy, deps: [out], outs: [copy]}
",
    );
    sandbox.write("make.sh", "echo good > out");
    sandbox.run(&["run"]).ok();
    sandbox.write(
        "make.sh",
        "echo half > out; echo what went wrong >&2; exit 3",
    );
    let failed = sandbox.run(&["run"]).fails(
        1,
        &[
            "stage `one` failed",
            "exit code 3",
            "what went wrong",
            ".log",
        ],
    );
    assert!(failed.stderr.contains("skipped 1 (two)"), "{failed}");
    assert_eq!(sandbox.read("out"), "good\n");
    sandbox.write("make.sh", "echo good > out");
    assert_eq!(names(&sandbox.run_json(&[]), "fresh"), ["one", "two"]);
}

#[test]
fn an_input_edited_while_its_stage_runs_taints_the_result() {
    let sandbox = Sandbox::empty();
    sandbox.write(
        "pipeline.yaml",
        "stages: {one: {cmd: sh make.sh, deps: [a, make.sh], outs: [out]}}\n",
    );
    sandbox.write("a", "1");
    sandbox.write("make.sh", "cp a out; echo 2 > a");
    sandbox
        .run(&["run"])
        .fails(1, &["a changed while the stage ran"]);
    assert!(!sandbox.path("pipeline.lock").exists());
}

#[test]
fn a_held_output_is_waited_for_or_exit_code_4() {
    let sandbox = Sandbox::empty();
    sandbox.write(
        "pipeline.yaml",
        "stages: {one: {cmd: sh -c 'sleep 1; echo x > out', outs: [out]}}\n",
    );
    let mut first = sandbox.command(&["run"]).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(400));
    sandbox
        .run(&["run", "--no-wait"])
        .fails(4, &["another run is writing out"]);
    let second = sandbox.run(&["run"]).ok();
    assert!(
        second.stderr.contains("nothing to do"),
        "the other run has built it: {second}"
    );
    assert!(first.wait().unwrap().success());
}
