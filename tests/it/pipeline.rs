//! What runs, what comes back from the store, and what is left alone. The rows of the failure table
//! are in `failures.rs`.

use crate::sandbox::{STAGES, Sandbox, names};

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
    assert_eq!(sandbox.read("joined"), "12");
    assert_eq!(sandbox.read("count"), "2\n");
}

#[test]
fn parameters_edited_during_a_run_do_not_slip_under_the_old_key() {
    let sandbox = Sandbox::new();
    // The first stage edits a parameter of the second, which had its key from the old value.
    // By a pattern, since a file that it names would count as its input.
    let edit = "sed -i s/horizon:.6/horizon:\\ 5/ param?.yaml; echo 1 > edited";
    let stage = format!("  edit: {{cmd: [sh, -c, '{edit}'], outs: [edited]}}\n");
    let text = sandbox
        .read("pipeline.yaml")
        .replace("stages:\n", &format!("stages:\n{stage}"));
    sandbox.write(
        "pipeline.yaml",
        &text.replace("--out model}", "--out model, deps: [edited]}"),
    );
    sandbox.run(&["run"]).fails(1, &["parameters were edited"]);
    assert!(!sandbox.path("model").exists());
    sandbox.run(&["run"]).ok();
    assert!(sandbox.read("model/model.json").contains("\"horizon\": 5"));

    let own = Sandbox::empty();
    own.write("params.yaml", "extra: {x: 1}\n");
    let edit = "sed -i s/1/2/ params.yaml; echo 1 > out";
    own.write(
        "pipeline.yaml",
        &format!("stages: {{a: {{cmd: [sh, -c, '{edit}'], outs: [out], params: [extra.x]}}}}\n"),
    );
    own.run(&["run"])
        .fails(1, &["extra.x changed while the stage ran"]);
    assert!(!own.path("out").exists());
}

#[test]
fn an_output_that_is_nowhere_else_is_never_deleted() {
    let sandbox = Sandbox::new();
    sandbox.write("notes/mine.txt", "by hand");
    sandbox.run(&["run", "prepare"]).ok();
    let told = sandbox.run(&["train", "data", "--out", "notes"]).ok();
    assert!(
        told.stderr.contains("notes was replaced; what stood there"),
        "{told}"
    );
    // Not even when that run is no longer kept.
    let gc = sandbox.run(&["gc", "--keep-runs", "0", "--delete"]).ok();
    assert!(gc.stdout.contains("no run had made, 1 times"), "{gc}");
    let kept = sandbox.finish(
        std::process::Command::new("find")
            .arg(".krammerti/failed")
            .current_dir(sandbox.path(".")),
    );
    assert!(kept.stdout.contains("replaced/notes/mine.txt"), "{kept}");
    sandbox
        .run(&["train", "data", "--out", "data/model"])
        .fails(2, &["data/model overlaps data"]);
    sandbox
        .run(&["train", "data", "--out", "pipeline.yaml"])
        .fails(2, &["belongs to the project itself"]);
    sandbox
        .run(&["train", "data", "--out", "../model"])
        .fails(2, &["not inside the project"]);
}

#[test]
fn an_executable_output_comes_back_executable() {
    use std::os::unix::fs::PermissionsExt;
    let sandbox = Sandbox::empty();
    sandbox.write(
        "pipeline.yaml",
        "stages: {one: {cmd: \"sh -c 'cp a tool; chmod 755 tool'\", deps: [a], outs: [tool]}}\n",
    );
    sandbox.write("a", "#!/bin/sh\n");
    sandbox.run(&["run"]).ok();
    std::fs::remove_file(sandbox.path("tool")).unwrap();
    assert_eq!(names(&sandbox.run_json(&[]), "restored"), ["one"]);
    assert_ne!(
        std::fs::metadata(sandbox.path("tool"))
            .unwrap()
            .permissions()
            .mode()
            & 0o100,
        0
    );
}

#[test]
fn baselines_do_not_depend_on_the_scaling_of_the_model() {
    let sandbox = Sandbox::new();
    sandbox.run(&["run"]).ok();
    // The same hours on another part of the year: other scalers, same columns.
    let csv = sandbox.read("station.csv");
    let (header, rows) = csv.split_once('\n').unwrap();
    let later: Vec<&str> = rows.lines().skip(400).collect();
    sandbox.write("station.csv", &format!("{header}\n{}\n", later.join("\n")));
    sandbox
        .run(&["fetch", "station", "--out", "later.parquet"])
        .ok();
    sandbox
        .run(&["prepare", "later.parquet", "--out", "later"])
        .ok();
    sandbox.run(&["train", "later", "--out", "ridge"]).ok();
    for model in ["model", "ridge"] {
        sandbox
            .run(&[
                "evaluate",
                model,
                "--data",
                "later",
                "--out",
                &format!("by-{model}"),
            ])
            .ok();
    }
    let climatology = |report: &str| -> f64 {
        let metrics: serde_json::Value = serde_json::from_str(&sandbox.read(report)).unwrap();
        metrics["baselines"]["climatology"]["overall"]["rmse"]
            .as_f64()
            .unwrap()
    };
    let (old, own) = (
        climatology("by-model/metrics.json"),
        climatology("by-ridge/metrics.json"),
    );
    assert!((old - own).abs() < 1e-3, "{old} {own}");
}

#[test]
fn keeping_going_builds_what_does_not_need_the_failed_stage() {
    let sandbox = Sandbox::empty();
    sandbox.write(
        "pipeline.yaml",
        "stages:
  bad:   {cmd: \"false\", outs: [bad]}
  after: {cmd: cp bad after, deps: [bad], outs: [after]}
  other: {cmd: touch other, outs: [other]}
",
    );
    sandbox
        .run(&["run"])
        .fails(1, &["skipped 2 (after, other)"]);
    let ran = sandbox
        .run(&["run", "--keep-going"])
        .fails(1, &["stage `bad` failed"]);
    assert!(
        ran.stderr
            .contains("ran 1 (other); failed 1 (bad); skipped 1 (after)"),
        "{ran}"
    );
}

#[test]
fn force_runs_what_is_fresh() {
    let sandbox = Sandbox::new();
    sandbox.run(&["run", "fetch"]).ok();
    assert_eq!(
        names(&sandbox.run_json(&["fetch", "--force"]), "ran"),
        ["fetch"]
    );
    assert_eq!(names(&sandbox.run_json(&["fetch"]), "fresh"), ["fetch"]);
}

#[test]
fn an_input_that_another_run_reads_is_not_written_anew_meanwhile() {
    let sandbox = Sandbox::empty();
    sandbox.write(
        "pipeline.yaml",
        "stages:
  today: {sh: 'echo $$ > today.txt', outs: [today.txt], always: true}
  next: {sh: 's=started; touch $s; sleep 0.5; cp today.txt next.txt', deps: [today.txt], outs: [next.txt]}
",
    );
    let mut first = sandbox.command(&["run", "-q"]).spawn().unwrap();
    while !sandbox.path("started").exists() {
        assert!(first.try_wait().unwrap().is_none(), "it ended early");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    sandbox.run(&["run"]).ok();
    assert!(first.wait().unwrap().success());
    assert_eq!(sandbox.read("today.txt"), sandbox.read("next.txt"));
}

#[test]
fn a_stage_that_starts_krammerti_on_its_own_output_is_told_so() {
    let sandbox = Sandbox::new();
    let krammerti = crate::sandbox::binary();
    sandbox.write(
        "pipeline.yaml",
        &format!(
            "stages: {{both: {{sh: '\"{}\" fetch station --out raw.parquet', outs: [raw.parquet]}}}}\n",
            krammerti.display()
        ),
    );
    sandbox
        .run(&["run"])
        .fails(1, &["another run is writing raw.parquet"]);
}

#[test]
fn status_does_not_call_fresh_what_reads_a_folder_that_is_about_to_change() {
    let sandbox = Sandbox::empty();
    sandbox.write(
        "pipeline.yaml",
        "stages:
  count: {foreach: texts/*, sh: 'wc -c < ${item} > counts/${key}', deps: ['${item}'], outs: ['counts/${key}']}
  sum: {sh: 'cat counts/* > sum', deps: [counts], outs: [sum]}
",
    );
    sandbox.write("texts/a", "1");
    sandbox.write("texts/b", "12");
    sandbox.run(&["run"]).ok();
    sandbox.write("texts/a", "123");
    sandbox.run(&["run"]).ok();
    sandbox.write("texts/a", "1");
    let status = sandbox.run(&["status"]).ok().stdout;
    assert!(status.contains("waits for count@a"), "{status}");
    assert_eq!(
        sandbox.run_json(&[])["restored"].as_array().unwrap().len(),
        2
    );
}

/// The usual baselines are those that the model's windows leave room for; one that was named is wanted.
#[test]
fn a_baseline_that_reads_further_back_than_the_model_is_left_out() {
    let sandbox = Sandbox::new();
    sandbox.edit("params.yaml", "lookback: 24", "lookback: 12");
    let ran = sandbox.run(&["run"]).ok();
    let told = "without the baseline seasonal: a model of kind `seasonal` reads the last 24 rows, but \
                model.lookback is 12";
    assert!(ran.stderr.contains(told), "{ran}");
    let metrics: serde_json::Value =
        serde_json::from_str(&sandbox.read("report/metrics.json")).unwrap();
    let kinds: Vec<&String> = metrics["baselines"].as_object().unwrap().keys().collect();
    assert_eq!(kinds, ["climatology", "persistence", "ridge"]);
    let evaluate = ["evaluate", "model", "--data", "data", "--out", "report"];
    // The model is this `ridge` itself, against which it has no skill to be asked for.
    let gate = ["--set", "evaluate.minimum_skill=0.05"];
    sandbox.run(&[&evaluate[..], &gate].concat()).ok();
    // Nor where it was fitted to other data since.
    let other = [
        "prepare",
        "raw.parquet",
        "--out",
        "later",
        "--set",
        "prepare.split={train: 0.5, validation: 0.2, test: 0.3}",
    ];
    sandbox.run(&other).ok();
    let later = ["evaluate", "model", "--data", "later", "--out", "by-later"];
    sandbox.run(&[&later[..], &gate].concat()).ok();
    let named = ["--set", "evaluate.baselines=[seasonal]"];
    sandbox.run(&[&evaluate[..], &named].concat()).fails(
        2,
        &["baseline seasonal, which evaluate.baselines may leave out"],
    );
    // Half a day it does look back over.
    let shorter = ["--set", "evaluate.season=12h"];
    let shorter = [&evaluate[..4], &["--out", "shorter"], &named, &shorter].concat();
    sandbox.run(&shorter).ok();
    let metrics: serde_json::Value =
        serde_json::from_str(&sandbox.read("shorter/metrics.json")).unwrap();
    let rmse = |scores: &serde_json::Value| scores["overall"]["rmse"].as_f64().unwrap();
    assert!(rmse(&metrics["baselines"]["seasonal"]) > rmse(&metrics));
}
