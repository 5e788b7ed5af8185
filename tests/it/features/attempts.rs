//! Stages that fail or take too long: `retries`, `retry_delay`, `timeout`.

use super::*;

#[test]
fn a_stage_is_tried_again_with_a_log_for_each_try() {
    let sandbox =
        project("stages: {a: {cmd: sh try.sh, outs: [o], retries: 3, retry_delay: 1ms}}\n");
    sandbox.write(
        "try.sh",
        "echo this is try $KRAMMERTI_ATTEMPT of $KRAMMERTI_STAGE
test ! -e o || echo the last try left o >&2
echo $KRAMMERTI_ATTEMPT > o
test $KRAMMERTI_ATTEMPT -ge 3
",
    );
    let told = sandbox.run(&["run"]).ok().stderr;
    assert!(
        told.contains("try 2 of 4 in 1 ms: `sh try.sh` ended with exit code 1"),
        "{told}"
    );
    assert!(told.contains("try 3 of 4 in 2 ms"), "{told}");
    assert_eq!(sandbox.read("o"), "3\n");
    let expected = |n: usize| (format!("a.{n}.log"), format!("this is try {n} of a\n"));
    assert_eq!(logs(&sandbox), [expected(1), expected(2), expected(3)]);
}

#[test]
fn a_stage_that_never_ends_well_is_told_once() {
    let sandbox = project("stages: {a: {sh: 'exit 7', outs: [o], retries: 1, retry_delay: 1ms}}\n");
    let events = sandbox
        .run(&["run", "--json"])
        .fails(1, &["`exit 7` ended with exit code 7"]);
    let count = |kind: &str| {
        events
            .stdout
            .matches(&format!("\"event\":\"{kind}\""))
            .count()
    };
    assert_eq!(
        (
            count("stage_started"),
            count("stage_retry"),
            count("stage_finished")
        ),
        (1, 1, 1)
    );
    assert!(
        events.stdout.contains("\"attempt\":2,\"attempts\":2"),
        "{events}"
    );
    // Wrong usage stays wrong.
    let sandbox = Sandbox::new();
    sandbox.write(
        "pipeline.yaml",
        "stages: {a: {cmd: krammerti prepare nothing --out o, retries: 5, deps: [station.csv]}}\n",
    );
    sandbox.run(&["run"]).fails(2, &["nothing does not exist"]);
}

#[test]
fn a_stage_that_takes_too_long_is_ended_with_all_that_it_started() {
    let sandbox = project(
        "stages: {a: {cmd: sh slow.sh, outs: [o], timeout: 300ms}, b: {cmd: cp o p, outs: [p]}}\n",
    );
    // None of them ends at TERM; one is in a session of its own.
    sandbox.write(
        "slow.sh",
        "trap '' TERM
echo $$ > pid1
sh -c 'trap \"\" TERM; echo $$ > pid2; sleep 50; echo late > late' &
setsid sh -c 'trap \"\" TERM; echo $$ > pid3; sleep 50; echo late > late' &
echo half > o
sleep 50
sleep 50
",
    );
    sandbox.run(&["run"]).fails(
        1,
        &[
            "longer than its timeout of 0.3 s",
            "krammerti log a",
            "skipped 1 (b)",
        ],
    );
    for pid in ["pid1", "pid2", "pid3"] {
        let pid = sandbox.read(pid);
        wait_until("it has ended", || !lives(&pid));
    }
    assert!(!sandbox.path("o").exists() && !sandbox.path("late").exists());
}
