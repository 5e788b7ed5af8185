//! Bad input: a clear error with file and key or row, the right exit code, and nothing lost.

use std::os::unix::fs::PermissionsExt;

use crate::sandbox::{Ran, Sandbox};

/// Runs in a project that was built and then changed; what it had built must still be there.
fn fails_and_loses_nothing(change: impl Fn(&Sandbox), code: i32, says: &[&str]) -> Ran {
    let sandbox = Sandbox::new();
    sandbox.run(&["run"]).ok();
    change(&sandbox);
    let before = sandbox.artifacts();
    let ran = sandbox.run(&["run"]).fails(code, says);
    assert!(
        sandbox.artifacts() == before,
        "something was lost or left behind: {ran}"
    );
    ran
}

#[test]
fn an_unknown_key_in_params() {
    let change = |s: &Sandbox| s.edit("params.yaml", "threads", "treads");
    fails_and_loses_nothing(change, 2, &["params.yaml", "train", "treads", "line"]);
}

#[test]
fn a_value_out_of_range() {
    let change = |s: &Sandbox| s.edit("params.yaml", "horizon: 6", "horizon: 0");
    fails_and_loses_nothing(
        change,
        2,
        &[
            "params.yaml",
            "model.horizon",
            "between 1 and 10000",
            "found 0",
        ],
    );
}

#[test]
fn a_column_that_is_not_there() {
    let change = |s: &Sandbox| s.edit("params.yaml", "target: temperature_2m", "target: nope");
    fails_and_loses_nothing(change, 2, &["no column nope; there are"]);
    let lags = "calendar: [hour_of_day]\n  lags: {temperature_2m: [-1h]}";
    let change = |s: &Sandbox| s.edit("params.yaml", "calendar: [hour_of_day]", lags);
    fails_and_loses_nothing(change, 2, &["looks ahead"]);
}

#[test]
fn an_unknown_key_in_the_pipeline() {
    let change = |s: &Sandbox| {
        s.edit(
            "pipeline.yaml",
            "{cmd: krammerti predict",
            "{dep: [x], cmd: krammerti predict",
        );
    };
    fails_and_loses_nothing(change, 2, &["pipeline.yaml", "dep", "line"]);
}

#[test]
fn a_cycle() {
    let change = |s: &Sandbox| {
        s.edit(
            "pipeline.yaml",
            "station --out raw.parquet}",
            "station --out raw.parquet, deps: [forecast]}",
        );
    };
    fails_and_loses_nothing(change, 2, &["in a circle: fetch → prepare →", "→ fetch"]);
}

#[test]
fn two_stages_with_one_output() {
    let change = |s: &Sandbox| s.edit("pipeline.yaml", "--out forecast", "--out report");
    fails_and_loses_nothing(
        change,
        2,
        &["stages `evaluate` and `predict` both write report"],
    );
}

#[test]
fn a_missing_input() {
    let change = |s: &Sandbox| std::fs::remove_file(s.path("station.csv")).unwrap();
    fails_and_loses_nothing(change, 2, &["stage `fetch`", "station.csv does not exist"]);
}

#[test]
fn a_source_that_is_not_there() {
    let change = |s: &Sandbox| s.edit("pipeline.yaml", "fetch station", "fetch statoin");
    fails_and_loses_nothing(change, 2, &["no source `statoin`", "station"]);
}

#[test]
fn a_csv_with_a_broken_row() {
    let change = |s: &Sandbox| {
        s.edit(
            "station.csv",
            "2020-01-01T01:00Z,",
            "2020-01-01T01:00Z,warm",
        );
    };
    fails_and_loses_nothing(
        change,
        1,
        &[
            "station.csv, line 5",
            "expected a number in `temperature_2m`",
            "warm",
        ],
    );
}

#[test]
fn a_csv_with_conflicting_rows() {
    let sandbox = Sandbox::new();
    sandbox.run(&["run"]).ok();
    let dataset = sandbox.read("data/dataset.json");
    sandbox.edit("station.csv", "2020-01-01T01:00Z", "2020-01-01T00:00Z");
    // Fetching takes the rows as they are; preparing refuses them.
    let says = [
        "raw.parquet",
        "conflicts",
        "2020-01-01T00:00:00Z",
        "different values of",
        ".krammerti/failed",
    ];
    sandbox.run(&["run"]).fails(3, &says);
    assert_eq!(sandbox.read("data/dataset.json"), dataset);
}

#[test]
fn a_parquet_that_is_none() {
    let sandbox = Sandbox::new();
    sandbox.write("bad.parquet", "no parquet at all");
    sandbox
        .run(&["prepare", "bad.parquet", "--out", "bad"])
        .fails(1, &["bad.parquet", "not a readable Parquet file"]);
    assert!(!sandbox.path("bad").exists());
}

#[test]
fn a_model_for_other_data() {
    let sandbox = Sandbox::new();
    sandbox.run(&["run"]).ok();
    let daily = ["--set", "prepare.wind=[]", "--set", "prepare.calendar=[]"];
    sandbox
        .run(&[&["prepare", "raw.parquet", "--out", "other"][..], &daily].concat())
        .ok();
    let misfit = ["predict", "model", "--data", "other", "--out", "f"];
    sandbox
        .run(&misfit)
        .fails(1, &["model does not fit other", "was trained on column"]);
    // The same names and units, but other rows, and another clock.
    for (param, told) in [
        (
            "step=2h",
            "the model was trained on step 1h, the data have step 2h",
        ),
        (
            "calendar_zone=Asia/Tokyo",
            "the model was trained on hour_of_day_sin made as {",
        ),
    ] {
        let param = format!("prepare.{param}");
        let other = ["prepare", "raw.parquet", "--out", "other", "--set", &param];
        sandbox.run(&other).ok();
        sandbox
            .run(&misfit)
            .fails(1, &["model does not fit other", told]);
    }
}

#[test]
fn a_quality_gate() {
    let change = |s: &Sandbox| {
        s.write(
            "params.yaml",
            &(s.read("params.yaml") + "evaluate: {minimum_skill: 0.99}\n"),
        );
    };
    fails_and_loses_nothing(
        change,
        3,
        &["evaluate.minimum_skill asks for 0.99", ".krammerti/failed"],
    );
}

#[test]
fn a_folder_without_write_permission() {
    let sandbox = Sandbox::new();
    sandbox.write("locked/readme", "");
    std::fs::set_permissions(
        sandbox.path("locked"),
        std::fs::Permissions::from_mode(0o555),
    )
    .unwrap();
    let writable = std::fs::write(sandbox.path("locked/probe"), "").is_ok();
    let says: &[&str] = &["locked", "ermission"];
    if writable {
        // Root may write anywhere, so another user tries.
        let inside = "chmod 777 . && exec setpriv --reuid 65534 --clear-groups \"$0\" fetch station --out locked/raw.parquet";
        let binary = crate::sandbox::binary();
        let folder = sandbox.path("bin");
        std::fs::create_dir(&folder).unwrap();
        std::fs::copy(binary, folder.join("krammerti")).unwrap();
        let mut command = std::process::Command::new("sh");
        command
            .args(["-c", inside, "bin/krammerti"])
            .current_dir(sandbox.path("."));
        std::fs::remove_file(sandbox.path("locked/probe")).unwrap();
        sandbox.finish(&mut command).fails(1, says);
    } else {
        sandbox
            .run(&["fetch", "station", "--out", "locked/raw.parquet"])
            .fails(1, says);
    }
    assert_eq!(
        std::fs::read_dir(sandbox.path("locked")).unwrap().count(),
        1
    );
}

#[test]
fn a_full_disk() {
    let sandbox = Sandbox::new();
    sandbox.run(&["run"]).ok();
    let before = sandbox.artifacts();
    sandbox.edit("station.csv", "2.8,97", "2.9,97");
    // A limit on the size of files is what a full disk is to a program: the write fails half-way.
    let limited = "ulimit -f 8; trap '' XFSZ; exec \"$0\" run";
    let mut command = std::process::Command::new("sh");
    command
        .args(["-c", limited])
        .arg(crate::sandbox::binary())
        .current_dir(sandbox.path("."));
    sandbox
        .finish(&mut command)
        .fails(1, &["stage `fetch` failed", "raw.parquet"]);
    sandbox.edit("station.csv", "2.9,97", "2.8,97");
    assert!(
        sandbox.artifacts() == before,
        "something was lost or left behind"
    );
    assert!(sandbox.run(&["run"]).ok().stderr.contains("nothing to do"));
}

#[test]
fn no_project() {
    let sandbox = Sandbox::empty();
    sandbox
        .run(&["run"])
        .fails(2, &["no pipeline.yaml", "-C DIR"]);
    sandbox
        .run(&["-C", "nowhere", "run"])
        .fails(2, &["cannot enter nowhere"]);
}

/// It would otherwise be taken for what was asked for.
#[test]
fn an_override_that_a_command_does_not_read_is_told() {
    let sandbox = Sandbox::new();
    sandbox.run(&["run", "prepare"]).ok();
    let train = ["train", "data", "--out", "model"];
    let set = ["--set", "prepare.step=2h", "--set", "model.lookback=12"];
    let ran = sandbox.run(&[&train[..], &set].concat()).ok();
    let told = "--set prepare.step=2h changes nothing here: `train` reads model, train alone";
    assert!(ran.stderr.contains(told), "{ran}");
    assert!(!ran.stderr.contains("model.lookback"), "{ran}");
}
