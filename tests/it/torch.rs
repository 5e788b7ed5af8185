//! The torch back end, opened by the real binary. `cargo build --workspace` builds it beside the binary.

use crate::sandbox::{Sandbox, binary};

const LSTM: &str = "kind: lstm, hidden: 8";

fn lstm_sandbox() -> Sandbox {
    let library = binary().with_file_name("libkrammerti_torch.so");
    assert!(
        library.exists(),
        "{} is missing: run `cargo build --workspace` first",
        library.display()
    );
    let sandbox = Sandbox::new();
    sandbox.edit("params.yaml", "kind: ridge", LSTM);
    sandbox
}

#[test]
fn an_lstm_goes_all_the_way_and_gives_equal_bytes_twice() {
    let (one, other) = (lstm_sandbox(), lstm_sandbox());
    let ran = one.run(&["run"]).ok();
    assert!(
        ran.stderr.contains("epoch 1/2") && ran.stdout.contains("Forecast of"),
        "{ran}"
    );
    other.run(&["run"]).ok();
    assert!(one.artifacts() == other.artifacts(), "the artifacts differ");
    one.edit("params.yaml", "epochs: 2", "epochs: 1");
    let event = one.run_json(&[]);
    assert_eq!(
        event["ran"],
        serde_json::json!(["train", "evaluate", "predict"])
    );
    one.edit("params.yaml", "epochs: 1", "epochs: 2");
    assert_eq!(
        one.run_json(&[])["restored"],
        serde_json::json!(["train", "evaluate", "predict"])
    );
}

#[test]
fn a_search_goes_on_where_it_stopped() {
    let sandbox = lstm_sandbox();
    sandbox.run(&["run", "prepare"]).ok();
    let space =
        "tune: {trials: 2, space: {train.learning_rate: {low: 0.001, high: 0.01, log: true}}}\n";
    sandbox.write("params.yaml", &(sandbox.read("params.yaml") + space));
    let first = sandbox.run(&["tune", "data", "--out", "study"]).ok();
    assert!(first.stdout.contains("Best of 2 trials"), "{first}");
    let journal = sandbox.read("study/study.jsonl");
    sandbox.edit("params.yaml", "trials: 2", "trials: 4");
    let second = sandbox.run(&["tune", "data", "--out", "study"]).ok();
    assert!(
        second.stderr.contains("going on after 2 finished trials"),
        "{second}"
    );
    assert!(
        sandbox.read("study/study.jsonl").starts_with(&journal),
        "finished trials never change"
    );
    assert!(
        sandbox
            .read("study/best.json")
            .contains("train.learning_rate")
    );
}

#[test]
fn a_host_without_the_back_end_is_told_what_to_do() {
    let sandbox = lstm_sandbox();
    sandbox.run(&["run", "prepare"]).ok();
    let mut command = sandbox.command(&["run"]);
    sandbox
        .finish(command.env("KRAMMERTI_BACKEND", "/nowhere/libkrammerti_torch.so"))
        .fails(
            1,
            &[
                "model kind `lstm`",
                "/nowhere/libkrammerti_torch.so",
                "hint:",
                "scripts/run",
            ],
        );
    sandbox.write("broken.so", "no library");
    let mut command = sandbox.command(&["run"]);
    sandbox
        .finish(command.env("KRAMMERTI_BACKEND", sandbox.path("broken.so")))
        .fails(1, &["broken.so does not load"]);
}
