//! What a run would do: `--downstream`, `--dry-run`, and how it is told.

use super::*;

const CHAIN: &str = "stages:
  a: {cmd: sh slow.sh a, outs: [a]}
  b: {cmd: sh slow.sh b a, deps: [a], outs: [b]}
  c: {cmd: sh slow.sh c b, deps: [b], outs: [c]}
  d: {cmd: sh slow.sh d a, deps: [a], outs: [d]}
";

fn chain() -> Sandbox {
    let sandbox = project(CHAIN);
    sandbox.write(
        "slow.sh",
        "sleep 0.02; { cat extra; cat $2 /dev/null; } > $1\n",
    );
    sandbox.write("extra", "1\n");
    sandbox.edit(
        "pipeline.yaml",
        "cmd: sh slow.sh a,",
        "cmd: sh slow.sh a, deps: [extra],",
    );
    sandbox
}

#[test]
fn downstream_takes_what_a_stage_needs_as_it_lies() {
    let sandbox = chain();
    sandbox.run(&["run"]).ok();
    sandbox.write("slow.sh", "echo other > $1");
    assert_eq!(ran(&sandbox, &["--downstream", "b"]), ["b", "c"]);
    assert_eq!(
        (state(&sandbox, "a").0, sandbox.read("a")),
        ("stale".into(), "1\n".into())
    );
    assert_eq!(
        ran(
            &sandbox,
            &["--downstream", "d", "--downstream", "c", "--force"]
        ),
        ["c", "d"]
    );
    sandbox
        .run(&["run", "--downstream", "b", "a"])
        .fails(2, &["cannot be used with"]);
    sandbox
        .run(&["run", "--downstream", "x"])
        .fails(2, &["no stage is named `x`"]);
}

#[test]
fn a_dry_run_tells_what_a_run_does_and_changes_nothing() {
    let sandbox = chain();
    // But for what it remembers of files that it hashed.
    let all_files = || {
        let mut all = files(&sandbox.path("."));
        all.retain(|(path, _)| !path.ends_with("stat-cache"));
        all
    };
    let before = all_files();
    let first = sandbox.run(&["run", "--dry-run"]).ok().stdout;
    assert_eq!(all_files(), before);
    assert!(
        first.contains("a  runs                it has not run yet\n"),
        "{first}"
    );
    assert!(
        first.contains("b  may run             waits for a\n"),
        "{first}"
    );
    assert!(first.contains("\n1 to run, 3 that may run\n"), "{first}");
    sandbox.run(&["run"]).ok();
    sandbox.write("extra", "2\n");
    sandbox.run(&["run"]).ok();
    sandbox.write("extra", "1\n");
    let before = all_files();
    let back = sandbox.run(&["run", "-n"]).ok().stdout;
    assert_eq!(all_files(), before);
    assert!(
        back.contains("\n4 to restore\n"),
        "a chain of results that the store has: {back}"
    );
    let dry: Value = serde_json::from_str(
        &sandbox
            .run(&["run", "-n", "--json", "--force", "c"])
            .ok()
            .stdout,
    )
    .unwrap();
    let told: Vec<(&str, &str, bool)> = dry["stages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| {
            let text = |key: &str| s[key].as_str().unwrap();
            (
                text("stage"),
                text("state"),
                s["seconds"].as_f64().unwrap() >= 0.02,
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("a", "stale", true),
            ("b", "stale", true),
            ("c", "stale", true)
        ]
    );
    assert_eq!(dry["critical_path"], json!(["a", "b", "c"]));
    assert!(dry["critical_seconds"].as_f64().unwrap() >= 0.06, "{dry}");
    assert_eq!(
        list(&sandbox.run_json(&[]), "restored"),
        ["a", "b", "c", "d"]
    );
}

#[test]
fn a_dry_run_says_how_long_by_earlier_runs() {
    let sandbox = chain();
    sandbox.run(&["run"]).ok();
    sandbox.write(
        "pipeline.yaml",
        &(CHAIN.to_owned() + "  e: {cmd: touch e, outs: [e]}\n"),
    );
    sandbox.write("slow.sh", "exit 1");
    let told = sandbox.run(&["run", "-n"]).ok().stdout;
    assert!(
        told.contains(" by earlier runs, and 1 that never ran\n"),
        "{told}"
    );
    assert!(told.contains(&critical_path(&sandbox)), "{told}");
    // In milliseconds, or on a busy machine in seconds; the one that never ran has none.
    let timed = told.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let stage = words.next()?;
        let unit = words
            .skip_while(|word| word.parse::<f64>().is_err())
            .nth(1)?;
        ["ms", "s"].contains(&unit).then_some(stage)
    });
    let stages: Vec<&str> = timed.filter(|stage| stage.len() == 1).collect();
    assert_eq!(stages, ["a", "b", "c", "d"], "{told}");
}

/// The longer of the two ways through [`CHAIN`], by the seconds of its stages that a dry run
/// tells: on a busy machine one stage may take longer than two.
fn critical_path(sandbox: &Sandbox) -> String {
    let dry: Value =
        serde_json::from_str(&sandbox.run(&["run", "-n", "--json"]).ok().stdout).unwrap();
    let seconds = |name: &str| {
        let stages = dry["stages"].as_array().unwrap();
        let stage = stages.iter().find(|stage| stage["stage"] == name).unwrap();
        stage["seconds"].as_f64().unwrap()
    };
    let way = if seconds("b") + seconds("c") >= seconds("d") {
        "a → b → c"
    } else {
        "a → d"
    };
    format!("critical path: {way}, ")
}

#[test]
fn lines_of_a_run_with_many_stages_fit_a_terminal() {
    let sandbox = project(
        "stages:
  count:
    foreach: '${params.extra.names}'
    sh: touch out/${key}
    outs: ['out/${key}']
  sum: {sh: ls out > sum, deps: [out], outs: [sum]}
",
    );
    let names: Vec<String> = (0..60).map(|i| format!("a-rather-long-name-{i}")).collect();
    sandbox.write(
        "params.yaml",
        &json!({"extra": {"names": names}}).to_string(),
    );
    let told = sandbox.run(&["run", "--jobs", "2"]).ok().stderr;
    let last = told.lines().last().unwrap();
    assert!(
        last.starts_with("ran 61 (count@a-rather-long-name-0, "),
        "{last}"
    );
    assert!(
        told.lines().all(|line| line.chars().count() <= 80),
        "{told}"
    );
    for command in [
        ["run", "-n"].as_slice(),
        &["status"],
        &["run", "-n", "--force"],
        &["graph"],
    ] {
        let told = sandbox.run(command).ok().stdout;
        assert!(
            told.lines().all(|line| line.chars().count() <= 80),
            "{told}"
        );
    }
    let status = sandbox.run(&["status"]).ok().stdout;
    assert_eq!(status.lines().count(), 61, "{status}");
    sandbox.edit("pipeline.yaml", "touch out", "touch ./out");
    let status = sandbox.run(&["status"]).ok().stdout;
    assert!(
        status.ends_with("and 55 more: krammerti why sum\n"),
        "{status}"
    );
    assert_eq!(sandbox.run(&["why", "sum"]).ok().stdout.lines().count(), 60);
}
