//! What there is to tell of the past: log, history, lineage, diff.

use std::process::Stdio;

use serde_json::Value;

use crate::sandbox::{Ran, Sandbox, wait_until};

/// Times, durations, digests and runs are others each time.
const FILTERS: [(&str, &str); 5] = [
    (r"\(UTC\) +ended +took ", "(UTC)  ended  took "),
    (r"\d{8}T\d{6}\.\d{6}-\d+", "RUN"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME"),
    (r" +\d+(\.\d)? (ms|s)\b", " TOOK"),
    (r"\b[0-9a-f]{8}\b", "DIGEST"),
];

/// Compares with an inline snapshot.
macro_rules! looks {
    ($text:expr, @$expected:literal) => {
        insta::with_settings!({filters => FILTERS}, {
            insta::assert_snapshot!($text, @$expected);
        });
    };
}

fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran}"))
}

/// One stage that works, and one that fails three times and tells so.
fn failing() -> Sandbox {
    let sandbox = Sandbox::empty();
    sandbox.write(
        "pipeline.yaml",
        "stages:
  good: {cmd: sh good.sh, outs: [a]}
  bad:
    cmd: sh bad.sh
    deps: [a]
    outs: [b]
    retries: 2
    retry_delay: 1ms
    on_failure: sh tell.sh
  never: {cmd: cp b c, deps: [b], outs: [c]}
",
    );
    sandbox.write("good.sh", "echo working; echo a > a\n");
    sandbox.write(
        "bad.sh",
        "printf 'try %s\\377\\n' $KRAMMERTI_ATTEMPT; exit 7\n",
    );
    sandbox.write("tell.sh", "echo told\n");
    sandbox
}

#[test]
fn log_of_a_stage_with_retries() {
    let sandbox = failing();
    sandbox
        .run(&["log"])
        .fails(1, &["no run has started", "krammerti run"]);
    sandbox.run(&["run"]).fails(1, &["sh bad.sh"]);

    let output = sandbox.command(&["log", "bad"]).output().unwrap();
    assert_eq!(output.stdout, b"try 3\xff\ntold\n", "byte by byte");
    looks!(String::from_utf8_lossy(&output.stderr), @r"
    log of bad, try 3 of 3 in run RUN (failed):
    what on_failure of bad said:
    ");
    // Without a name it is the one that failed, not the one that was started last.
    let plain = sandbox.command(&["-q", "log"]).output().unwrap();
    assert_eq!((plain.stdout, plain.stderr.len()), (output.stdout, 0));
    let first = sandbox.command(&["log", "bad", "--attempt", "1"]).output();
    assert_eq!(first.unwrap().stdout, b"try 1\xff\n");
    assert_eq!(sandbox.run(&["log", "good"]).ok().stdout, "working\n");

    let told = json(&sandbox.run(&["log", "--json"]).ok());
    assert_eq!(
        (&told[0]["attempt"], &told[0]["attempts"]),
        (&3.into(), &3.into())
    );
    for file in ["log", "on_failure"] {
        assert!(sandbox.path(told[0][file].as_str().unwrap()).exists());
    }

    sandbox
        .run(&["log", "bad", "--attempt", "4"])
        .fails(2, &["tried 3 times", "no try 4"]);
    sandbox
        .run(&["log", "bda"])
        .fails(2, &["no stage is named `bda`; there are good, bad, never"]);
    sandbox
        .run(&["log", "never"])
        .fails(1, &["stage `never` has not run yet"]);
    sandbox
        .run(&["log", "bad", "--run", "19991231T235959-1"])
        .fails(2, &["no run `19991231T235959-1`", "removed"]);
}

#[test]
fn an_input_that_cannot_be_read_blocks_its_own_stage_alone() {
    let sandbox = Sandbox::empty();
    sandbox.write(
        "pipeline.yaml",
        "stages:
  bad: {sh: 'cat in/* > a', deps: [in], outs: [a]}
  next: {cmd: cp a b, deps: [a], outs: [b]}
  other: {cmd: touch c, outs: [c]}
",
    );
    sandbox.write("in/a.txt", "x");
    std::os::unix::fs::symlink("gone", sandbox.path("in/b.txt")).unwrap();
    let told = json(&sandbox.run(&["status", "--json"]).ok());
    let states: Vec<&Value> = told
        .as_array()
        .unwrap()
        .iter()
        .map(|s| &s["state"])
        .collect();
    assert_eq!(states, ["blocked", "waiting", "stale"]);
    let reason = told[0]["reasons"][0].as_str().unwrap();
    assert!(
        reason.contains("in/b.txt cannot be part of an artifact"),
        "{reason}"
    );
    sandbox.run(&["why", "other"]).ok();
    let dry = sandbox.run(&["run", "-n"]).ok();
    assert!(dry.stdout.contains("1 that cannot run"), "{dry}");
    sandbox.run(&["run"]).fails(1, &["in/b.txt"]);
}

#[test]
fn what_is_left_of_an_item_and_cannot_be_read_stops_no_stage() {
    let sandbox = Sandbox::empty();
    let pipeline = |items: &str| {
        let stages = format!(
            "each: {{foreach: [{items}], sh: 'mkdir out-${{key}}; echo > out-${{key}}/x', outs: ['out-${{key}}']}}"
        );
        sandbox.write("pipeline.yaml", &format!("stages: {{{stages}}}\n"));
    };
    pipeline("a, b");
    sandbox.run(&["run", "-q"]).ok();
    std::os::unix::fs::symlink("nowhere", sandbox.path("out-b/link")).unwrap();
    pipeline("a");
    let told = json(&sandbox.run(&["status", "--json"]).ok());
    assert_eq!(told[0]["state"], "fresh", "{told}");
    sandbox.run(&["run"]).ok();
    assert!(sandbox.has("out-b/x"));
}

#[test]
fn log_and_history_need_no_readable_pipeline() {
    let sandbox = failing();
    sandbox.run(&["run"]).fails(1, &[]);
    sandbox.write("pipeline.yaml", "stages: [");
    sandbox.run(&["status"]).fails(2, &["pipeline.yaml"]);
    assert_eq!(sandbox.run(&["log", "good"]).ok().stdout, "working\n");
    sandbox
        .run(&["log", "bda"])
        .fails(2, &["no stage is named `bda`; there are bad, good"]);
    assert!(
        sandbox
            .run(&["history"])
            .ok()
            .stdout
            .contains("failed 1 (bad)")
    );
    assert!(
        sandbox
            .run(&["history", "--stage", "bad"])
            .ok()
            .stdout
            .contains("exit code 7")
    );
}

#[test]
fn a_run_as_it_goes_on_and_after_it_was_killed() {
    let sandbox = Sandbox::empty();
    sandbox.write(
        "pipeline.yaml",
        "stages: {slow: {cmd: sh make.sh, outs: [out]}}\n",
    );
    sandbox.write("make.sh", "echo begun; touch started; exec sleep 60\n");
    let mut child = sandbox
        .command(&["run"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("it has started", || sandbox.has("started"));
    let log = sandbox.run(&["log"]).ok();
    assert_eq!(log.stdout, "begun\n");
    assert!(log.stderr.contains("(running)"), "{log}");
    let running = sandbox.run(&["history"]).ok().stdout;
    // What `kill -9` is to the shell.
    child.kill().unwrap();
    child.wait().unwrap();
    let killed = sandbox.run(&["history"]).ok().stdout;
    looks!(running + &killed, @r"
    started (UTC)  ended  took  stages
    TIME  running     -  running 1 (slow)
    started (UTC)  ended  took  stages
    TIME  killed     -  killed 1 (slow)
    ");
    assert!(sandbox.run(&["log"]).ok().stderr.contains("(killed)"));
}

#[test]
fn history_tells_how_runs_ended() {
    let sandbox = failing();
    let empty = sandbox.run(&["history"]).ok();
    assert_eq!(empty.stdout, "");
    assert!(empty.stderr.contains("no run has left a trace"));
    assert_eq!(sandbox.run(&["history", "--json"]).ok().stdout, "[]\n");

    sandbox.run(&["run"]).fails(1, &[]);
    sandbox.write("bad.sh", "cp a b\n");
    sandbox.run(&["run"]).ok();
    sandbox.run(&["run"]).ok();
    std::fs::remove_file(sandbox.path("c")).unwrap();
    sandbox.run(&["run"]).ok();
    looks!(sandbox.run(&["history"]).ok().stdout, @r"
    started (UTC)  ended  took  stages
    TIME  failed TOOK  failed 1 (bad); ran 1 (good)
    TIME  done TOOK  ran 2 (bad, never)
    TIME  done TOOK  restored 1 (never)
    ");
    looks!(sandbox.run(&["history", "--stage", "bad"]).ok().stdout, @r"
    started (UTC)  ended  took  tries  what went wrong
    TIME  failed TOOK      3  `sh bad.sh` ended with exit code 7
    TIME  ran TOOK      1
    ");
    let last = sandbox.run(&["history", "-n", "1", "-v"]).ok();
    looks!(last.stdout, @r"
    started (UTC)  ended  took  stages
    TIME  done TOOK  restored 1 (never)
      RUN
      never  restored  -
    ");
    assert!(last.stderr.contains("newest 1; -n N shows more"), "{last}");

    let runs = json(&sandbox.run(&["history", "--json"]).ok());
    let outcomes: Vec<&Value> = runs
        .as_array()
        .unwrap()
        .iter()
        .map(|run| &run["outcome"])
        .collect();
    assert_eq!(outcomes, ["failed", "done", "done"]);
    let run = runs[1]["run"].as_str().unwrap();
    assert_eq!(sandbox.run(&["log", "bad", "--run", run]).ok().stdout, "");
    sandbox
        .run(&["log", "good", "--run", run])
        .fails(2, &["did not run stage `good`; it ran bad, never"]);
    sandbox
        .run(&["history", "--stage", "worse"])
        .fails(2, &["no stage is named `worse`"]);
}

#[test]
fn lineage_from_a_forecast_to_its_source() {
    let sandbox = Sandbox::new();
    sandbox.run(&["run", "predict"]).ok();
    looks!(sandbox.run(&["lineage", "forecast/forecast.json"]).ok().stdout, @r"
    forecast/forecast.json  DIGEST  in forecast, made by predict
    │  $ krammerti predict model --data data --out forecast
    │  1 parameter
    ├─ data  DIGEST  made by prepare
    │  │  $ krammerti prepare raw.parquet --out data
    │  │  4 parameters
    │  └─ raw.parquet  DIGEST  made by fetch
    │     │  $ krammerti fetch station --out raw.parquet
    │     │  8 parameters
    │     └─ station.csv  DIGEST  source
    └─ model  DIGEST  made by train
       │  $ krammerti train data --out model
       │  5 parameters
       └─ data  DIGEST  made by prepare (see above)
    ");
    looks!(sandbox.run(&["lineage", "report"]).ok().stdout.lines().next().unwrap(), @"report  --------  made by evaluate, never built");
    sandbox.edit("station.csv", "2.8,97", "2.9,97");
    std::fs::remove_file(sandbox.path("raw.parquet")).unwrap();
    looks!(sandbox.run(&["lineage", "data"]).ok().stdout, @r"
    data  DIGEST  made by prepare
    │  $ krammerti prepare raw.parquet --out data
    │  4 parameters
    └─ raw.parquet  DIGEST  made by fetch, missing
       │  $ krammerti fetch station --out raw.parquet
       │  8 parameters
       └─ station.csv  DIGEST  source, changed since, now DIGEST
    ");

    let told = json(&sandbox.run(&["lineage", "data", "--json"]).ok());
    let states: Vec<&Value> = (0..3).map(|i| &told["nodes"][i]["state"]).collect();
    assert_eq!(states, ["same", "missing", "changed"]);
    assert_eq!(
        told["nodes"][0]["artifact"].as_str().unwrap().len(),
        "folder:".len() + 64
    );
    assert_eq!(
        told["stages"][0]["params"]["params.yaml:prepare.step"],
        "1h"
    );
    assert_eq!(told["edges"].as_array().unwrap().len(), 2);

    sandbox
        .run(&["lineage", "pipeline.yaml"])
        .fails(2, &["no stage makes or reads pipeline.yaml"]);
    sandbox.run(&["lineage", "data/nothing"]).fails(
        2,
        &["data/nothing is not in data as stage `prepare` made it"],
    );
}

#[test]
fn lineage_of_many_inputs_stays_readable() {
    let sandbox = Sandbox::empty();
    let inputs: Vec<String> = (0..40).map(|i| format!("in/{i:02}.txt")).collect();
    for input in &inputs {
        sandbox.write(input, input);
    }
    sandbox.write(
        "pipeline.yaml",
        "stages:
  each: {foreach: 'in/*.txt', sh: 'tr a-z A-Z < ${item} > out/${key}', deps: ['${item}'], outs: ['out/${key}']}
  join: {sh: 'cat out/* > all', deps: [out], outs: [all]}
",
    );
    sandbox.run(&["run", "-q"]).ok();
    let text = sandbox.run(&["lineage", "all"]).ok().stdout;
    looks!(text.lines().take(9).collect::<Vec<_>>().join("\n"), @r"
    all  DIGEST  made by join
    │  $ cat out/* > all
    └─ out  DIGEST  folder
       ├─ out/00  DIGEST  made by each@00
       │  │  $ tr a-z A-Z < in/00.txt > out/00
       │  └─ in/00.txt  DIGEST  source
       ├─ out/01  DIGEST  made by each@01
       │  │  $ tr a-z A-Z < in/01.txt > out/01
       │  └─ in/01.txt  DIGEST  source
    ");
    assert!(text.ends_with("and 30 more; -v shows them all\n"), "{text}");
    let all = sandbox.run(&["-v", "lineage", "all"]).ok().stdout;
    assert!(all.contains("in/39.txt"), "{all}");
}

/// A project in a subfolder of what is to be a repository. Two stages write metrics; the store keeps
/// only those of the first.
fn scored() -> Sandbox {
    let sandbox = Sandbox::empty();
    sandbox.write(
        "sub/params.yaml",
        "model: {size: 1, kind: small}\nseed: 7\n",
    );
    sandbox.write("sub/more.yaml", "x: 1\n");
    sandbox.write(
        "sub/pipeline.yaml",
        "stages:
  score:
    sh: mkdir report; cp numbers.json report/metrics.json
    deps: [numbers.json]
    outs: [report]
    params: [model, {more.yaml: [x]}]
  other:
    cmd: cp numbers.json metrics.json
    deps: [numbers.json]
    outs: [metrics.json: {cache: false}]
",
    );
    sandbox.write(".gitignore", "report\nmetrics.json\n.krammerti\n");
    numbers(&sandbox, 1.5, ", \"old\": 1");
    sandbox
}

fn numbers(sandbox: &Sandbox, rmse: f64, more: &str) {
    let lead = format!("{{\"lead_h\": 1, \"rmse\": {rmse}}}");
    sandbox.write(
        "sub/numbers.json",
        &format!("{{\"rmse\": {rmse}, \"windows\": 10, \"by_lead\": [{lead}]{more}}}"),
    );
}

impl Sandbox {
    fn in_sub(&self, args: &[&str]) -> Ran {
        self.finish(self.command(args).current_dir(self.path("sub")))
    }

    /// Brings the project in the subfolder up to date and commits it.
    fn build_and_commit(&self, tag: &str) {
        self.in_sub(&["run", "-q"]).ok();
        self.git(&["add", "."]);
        self.git(&["commit", "-qm", tag]);
        self.git(&["tag", tag]);
    }

    fn git(&self, args: &[&str]) {
        let done = std::process::Command::new("git")
            .args(["-c", "user.name=a", "-c", "user.email=a@b.c"])
            .args(args)
            .current_dir(self.path("."))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "git {args:?}: {said}");
    }
}

#[test]
fn diff_with_a_revision() {
    let sandbox = scored();
    let run = |args: &[&str]| sandbox.in_sub(args);
    sandbox.git(&["init", "-q"]);
    sandbox.build_and_commit("one");
    let same = run(&["diff"]).ok().stdout;
    assert!(same.starts_with("nothing differs between HEAD ("), "{same}");

    numbers(&sandbox, 1.25, ", \"new\": 2");
    let params = ("sub/params.yaml", "sub/more.yaml");
    sandbox.edit(params.0, "size: 1", "size: 2, layers: [3, 4]");
    sandbox.edit(params.1, "x: 1", "y: 1\nx: 1");
    let stale = run(&["diff"]).ok();
    assert!(stale.stderr.contains("score is not up to date"), "{stale}");
    assert!(!stale.stdout.contains("rmse"), "{stale}");
    run(&["run", "-q"]).ok();
    looks!(run(&["diff"]).ok().stdout, @r"
    parameter     HEAD (DIGEST)  the workspace
    more.yaml:y   unset            1
    model.layers  unset            [3,4]
    model.size    1                2

    metrics.json  HEAD  workspace  change
    new              -          2
    old              1          -
    rmse           1.5       1.25   -0.25

    report/metrics.json  HEAD  workspace  change
    new                     -          2
    old                     1          -
    rmse                  1.5       1.25   -0.25

    -v shows more: 2 changed in lists, 2 equal metrics, 3 equal parameters
    ");
    let all = json(&run(&["diff", "--json"]).ok());
    assert_eq!(all["from"]["commit"].as_str().unwrap().len(), 40);
    assert_eq!(all["params"][0]["name"], "more.yaml:y");
    let lead = &all["metrics"][0];
    assert_eq!(
        (&lead["name"], &lead["change"]),
        (&"by_lead[lead_h=1].rmse".into(), &(-0.25).into())
    );

    sandbox.build_and_commit("two");
    let back = run(&["diff", "HEAD", "one"]).ok().stdout;
    assert!(back.contains("+0.25"), "{back}");
}

#[test]
fn diff_of_parameters_outside_of_the_project() {
    let sandbox = Sandbox::empty();
    let outside = tempfile::tempdir().unwrap();
    let absolute = outside.path().join("abs.yaml").display().to_string();
    std::fs::write(&absolute, "x: 1\n").unwrap();
    sandbox.write("repo/shared.yaml", "x: 1\n");
    sandbox.write("above.yaml", "x: 1\n");
    sandbox.write(
        "repo/sub/pipeline.yaml",
        &format!(
            "stages: {{a: {{cmd: touch o, outs: [o], params: [{{../shared.yaml: [x]}}, \
             {{../../above.yaml: [x]}}, {{'{absolute}': [x]}}]}}}}\n"
        ),
    );
    let run =
        |args: &[&str]| sandbox.finish(sandbox.command(args).current_dir(sandbox.path("repo/sub")));
    run(&["run", "-q"]).ok();
    sandbox.write("repo/.gitignore", ".krammerti\no\n");
    sandbox.git(&["init", "-q", "repo"]);
    sandbox.git(&["-C", "repo", "add", "."]);
    sandbox.git(&["-C", "repo", "commit", "-qm", "x"]);
    let same = run(&["diff"]).ok();
    assert!(same.stdout.starts_with("nothing differs"), "{same}");
    for file in ["../../above.yaml", &absolute] {
        let told = format!("{file} is outside of the git repository");
        assert!(same.stderr.contains(&told), "{same}");
    }
    sandbox.write("repo/shared.yaml", "x: 2\n");
    let told = json(&run(&["diff", "--json"]).ok());
    let params = serde_json::json!([{"name": "../shared.yaml:x", "from": 1, "to": 2}]);
    assert_eq!(told["params"], params);
    assert_eq!(
        told["outside"],
        serde_json::json!(["../../above.yaml", absolute])
    );
}

#[test]
fn diff_where_the_store_is_lost() {
    let sandbox = scored();
    let run = |args: &[&str]| sandbox.in_sub(args);
    sandbox.git(&["init", "-q"]);
    sandbox.build_and_commit("one");
    numbers(&sandbox, 1.25, "");
    // What git itself has is needed from nowhere else.
    sandbox.git(&["add", "-f", "sub/metrics.json"]);
    sandbox.build_and_commit("two");
    std::fs::remove_dir_all(sandbox.path("sub/.krammerti/store")).unwrap();
    let same = run(&["diff"]).ok().stdout;
    assert!(
        same.starts_with("nothing differs"),
        "the workspace has it: {same}"
    );
    looks!(run(&["diff", "one"]).ok().stdout, @r"
    metrics.json of one (DIGEST) cannot be compared:
      what stage other made then, DIGEST, is not in the store
      to make it again: git checkout DIGEST && krammerti run other

    report/metrics.json of one (DIGEST) cannot be compared:
      what stage score made then, DIGEST, is not in the store
      to make it again: git checkout DIGEST && krammerti run score

    -v shows more: 4 equal parameters
    ");
    numbers(&sandbox, 3.0, "");
    run(&["run", "-q"]).ok();
    looks!(run(&["diff"]).ok().stdout, @r"
    metrics.json  HEAD  workspace  change
    rmse          1.25          3   +1.75

    report/metrics.json of HEAD (DIGEST) cannot be compared:
      what stage score made then, DIGEST, is not in the store
      to make it again: git checkout DIGEST && krammerti run score

    -v shows more: 1 changed in lists, 1 equal metrics, 4 equal parameters
    ");
    let told = json(&run(&["diff", "--json"]).ok());
    assert_eq!(told["unavailable"][0]["stage"], "score");
}

#[test]
fn diff_without_what_it_needs() {
    let sandbox = scored();
    let run = |args: &[&str]| sandbox.in_sub(args);
    run(&["diff"]).fails(2, &["git finds no repository", "keep the project in git"]);
    sandbox.git(&["init", "-q"]);
    run(&["diff"]).fails(2, &["no revision `HEAD`", "commit something"]);
    sandbox.git(&["add", "."]);
    sandbox.git(&["commit", "-qm", "before"]);
    let without_lock = run(&["diff"]).ok();
    assert!(
        without_lock.stderr.contains("HEAD has no pipeline.lock"),
        "{without_lock}"
    );
    sandbox.build_and_commit("one");
    for odd in ["nowhere", "--output=x", "-h", "one..HEAD", ""] {
        run(&["diff", "--", odd]).fails(2, &[&format!("no revision `{odd}`")]);
    }
    sandbox.write("sub/pipeline.lock", "<<<<<<<\n");
    sandbox.git(&["commit", "-qam", "conflict"]);
    run(&["diff", "HEAD", "one"]).fails(2, &["HEAD:pipeline.lock", "git conflict"]);
    let mut without_git = sandbox.command(&["diff"]);
    without_git
        .current_dir(sandbox.path("sub"))
        .env("PATH", sandbox.path("."));
    sandbox
        .finish(&mut without_git)
        .fails(2, &["cannot start git", "install"]);
}
