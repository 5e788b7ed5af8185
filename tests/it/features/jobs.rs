//! Stages side by side: `resources`, `--jobs`, `on_failure`.

use super::*;

#[test]
fn stages_that_share_one_token_run_one_after_another() {
    let sandbox = project(
        "resources: {licence: 1}
stages:
  use:
    foreach: [1, 2, 3, 4, 5, 6]
    # Two at once would find the folder of the other.
    sh: mkdir held && sleep 0.05 && rmdir held && touch o${item}
    outs: ['o${item}']
    resources: {licence: 1, threads: 1000}
",
    );
    assert_eq!(ran(&sandbox, &["--jobs", "6"]).len(), 6);
}

/// A stage that ends only when all of these have begun.
fn meets(name: &str, others: &[&str]) -> String {
    let wait = others
        .iter()
        .map(|other| format!("until test -e {other}.begun; do sleep 0.01; done; "));
    let wait: String = wait.collect();
    format!(
        "  {name}: {{sh: 'touch {name}.begun; {wait}touch {name}', outs: [{name}], timeout: 50s}}\n"
    )
}

#[test]
fn jobs_run_side_by_side_and_their_words_do_not_mix() {
    let shout = |name: &str| {
        format!(
            "  {name}: {{sh: 'for i in $(seq 300); do echo {name}; echo {name} >&2; done; touch {name}', outs: [{name}]}}\n"
        )
    };
    let sandbox = project(&format!(
        "stages:\n{}{}{}{}",
        meets("a", &["b"]),
        meets("b", &["a"]),
        shout("c"),
        shout("d")
    ));
    let told = sandbox.run(&["run", "--jobs", "2", "--json"]).ok();
    for (log, text) in logs(&sandbox) {
        let stage = &log[..1];
        assert!(
            text.lines().all(|line| line == stage),
            "{log} has words of others"
        );
        assert_eq!(
            text.lines().count(),
            if "cd".contains(stage) { 600 } else { 0 }
        );
    }
    assert!(
        told.stdout
            .lines()
            .all(|line| serde_json::from_str::<Value>(line).is_ok())
    );
}

#[test]
fn what_stages_say_side_by_side_has_their_names() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "pipeline.yaml",
        "stages:
  fetch: {cmd: krammerti fetch station --out raw.parquet}
  prepare:
    foreach: [one, two]
    cmd: krammerti prepare raw.parquet --out data/${item}
  train:
    foreach: [one, two]
    cmd: krammerti train data/${item} --out model/${item}
  evaluate:
    foreach: [one, two]
    cmd: krammerti evaluate model/${item} --data data/${item} --out report/${item}
",
    );
    let told = sandbox.run(&["run", "--jobs", "2", "--json"]).ok().stdout;
    let events: Vec<Value> = told
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let stages = |kind: &str| -> BTreeSet<&str> {
        let of_kind = events.iter().filter(|event| event["event"] == kind);
        of_kind
            .map(|event| event["stage"].as_str().unwrap())
            .collect()
    };
    assert_eq!(
        stages("result"),
        BTreeSet::from(["evaluate@one", "evaluate@two"])
    );
    assert!(stages("note").contains("prepare@two"), "{told}");
    assert_eq!(stages("stage_finished").len(), 7);
}

#[test]
fn ctrl_c_ends_all_jobs_and_tells_nobody_of_a_failure() {
    let slow = |name: &str| {
        format!(
            "  {name}: {{sh: 'echo $$ > {name}.pid; sleep 50; touch {name}', outs: [{name}]}}\n"
        )
    };
    let sandbox = project(&format!(
        "on_failure: touch told\nstages:\n{}{}{}",
        slow("a"),
        slow("b"),
        slow("c")
    ));
    let mut child = sandbox
        .command(&["run", "--jobs", "2"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let pid = |name: &str| std::fs::read_to_string(sandbox.path(name)).unwrap_or_default();
    wait_until("two stages are at work", || {
        pid("a.pid").ends_with('\n') && pid("b.pid").ends_with('\n')
    });
    kill(&child, "-INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(!lives(&pid("a.pid")) && !lives(&pid("b.pid")));
    assert!(!sandbox.path("c.pid").exists() && !sandbox.path("told").exists());
}

#[test]
fn jobs_keep_going_after_a_failure() {
    let sandbox = project(
        "stages:
  bad: {foreach: [1, 2], sh: 'exit ${item}', outs: ['bad${item}']}
  good: {foreach: [1, 2, 3, 4], cmd: 'touch good${item}', outs: ['good${item}']}
  after: {cmd: cp bad2 after, outs: [after]}
",
    );
    let told = sandbox.run(&["run", "--keep-going", "--jobs", "3"]);
    let told = told.fails(
        1,
        &["stage `bad@", "(failed too: bad@", "skipped 1 (after)"],
    );
    assert!(
        told.stderr
            .contains("ran 4 (good@1, good@2, …); failed 2 (bad@1, bad@2)"),
        "{told}"
    );
}

#[test]
fn a_command_is_told_what_failed() {
    let sandbox = project(
        "on_failure: sh tell.sh whole
stages:
  own: {sh: 'echo some words; exit 3', outs: [o], on_failure: sh tell.sh own, retries: 1, retry_delay: 1ms}
  file: {wdir: sub, sh: 'exit 4', outs: [o]}
  bad: {sh: 'exit 5', outs: [p], on_failure: sh -c 'echo cannot tell; exit 9'}
  none: {cmd: cp missing q, deps: [missing], outs: [q]}
",
    );
    sandbox.write(
        "tell.sh",
        "echo $1 $KRAMMERTI_STAGE $KRAMMERTI_ATTEMPT: $KRAMMERTI_ERROR >> told
test -z \"$KRAMMERTI_LOG\" || cat \"$KRAMMERTI_LOG\" >> told
",
    );
    sandbox.write("sub/tell.sh", "sh ../tell.sh $1");
    let ran = sandbox.run(&["run", "--keep-going"]);
    let ran = ran.fails(
        1,
        &["stage `own` failed: `echo some words; exit 3` ended with exit code 3"],
    );
    assert!(
        ran.stderr
            .contains("warning: on_failure: `sh -c` ended with exit code 9"),
        "{ran}"
    );
    let own = "own own 2: `echo some words; exit 3` ended with exit code 3\nsome words\n";
    let none = "whole none 1: input missing does not exist\n";
    assert_eq!(sandbox.read("told"), format!("{own}{none}"));
    let file = "whole file 1: `exit 4` ended with exit code 4\n";
    assert_eq!(
        sandbox.read("sub/told"),
        file,
        "it runs where the stage does"
    );
    let logs = logs(&sandbox);
    let log = logs.iter().find(|(name, _)| name == "bad.on_failure.log");
    assert_eq!(log.unwrap().1, "cannot tell\n");
}

#[test]
fn meeting_another_run_is_no_failure_to_be_told() {
    let sandbox = project(
        "stages: {a: {sh: 'touch begun; until test -e go; do sleep 0.01; done; touch o', outs: [o], on_failure: touch told}}\n",
    );
    let mut first = sandbox
        .command(&["run"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("the stage has begun", || sandbox.path("begun").exists());
    sandbox
        .run(&["run", "--no-wait"])
        .fails(4, &["another run is writing o"]);
    sandbox.write("go", "");
    assert!(first.wait().unwrap().success());
    assert!(!sandbox.path("told").exists());
}
