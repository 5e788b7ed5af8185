//! Ctrl-C, SIGTERM and kill -9 in the middle of a stage.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::sandbox::Sandbox;

/// A stage that writes half, waits, and writes the rest; `started` appears when half is written.
fn slow_project() -> Sandbox {
    let sandbox = Sandbox::empty();
    sandbox.write(
        "pipeline.yaml",
        "stages: {slow: {cmd: sh make.sh, deps: [make.sh, wait], outs: [out]}}\n",
    );
    sandbox.write(
        "make.sh",
        "echo half > out; touch started; sleep $(cat wait); echo done >> out; touch finished\n",
    );
    sandbox.write("wait", "0");
    sandbox.run(&["run"]).ok();
    assert_eq!(sandbox.read("out"), "half\ndone\n");
    std::fs::remove_file(sandbox.path("started")).unwrap();
    std::fs::remove_file(sandbox.path("finished")).unwrap();
    sandbox.write("wait", "30");
    sandbox
}

fn start(sandbox: &Sandbox) -> Child {
    let child = sandbox
        .command(&["run"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while !sandbox.path("started").exists() {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "the stage did not start"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

fn kill(child: &Child, signal: &str) {
    let killed = std::process::Command::new("kill")
        .args([signal, &child.id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
}

fn ends_with(signal: &str, code: i32) {
    let sandbox = slow_project();
    let mut child = start(&sandbox);
    kill(&child, signal);
    assert_eq!(child.wait().unwrap().code(), Some(code));
    assert_eq!(
        sandbox.read("out"),
        "half\ndone\n",
        "the old output is back"
    );
    sandbox.write("wait", "0");
    assert!(sandbox.run(&["run"]).ok().stderr.contains("nothing to do"));
    assert!(!sandbox.path("finished").exists(), "the child went on");
}

#[test]
fn ctrl_c_ends_with_130() {
    ends_with("-INT", 130);
}

#[test]
fn sigterm_ends_with_143() {
    ends_with("-TERM", 143);
}

#[test]
fn kill_9_takes_the_child_along_and_needs_no_repair() {
    let sandbox = slow_project();
    let mut child = start(&sandbox);
    kill(&child, "-KILL");
    child.wait().unwrap();
    sandbox.write("wait", "1");
    sandbox.run(&["run"]).ok();
    assert_eq!(sandbox.read("out"), "half\ndone\n");
    sandbox.write("wait", "0");
    assert!(
        sandbox.run_json(&[])["fresh"][0] == "slow",
        "the store still knows the first result, which had the same bytes"
    );
}

#[test]
fn a_child_of_a_killed_runner_does_not_write_later() {
    let sandbox = slow_project();
    sandbox.write("wait", "1");
    let mut child = start(&sandbox);
    kill(&child, "-KILL");
    child.wait().unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    assert!(!sandbox.path("finished").exists());
}

#[test]
fn a_grandchild_of_a_killed_runner_is_ended_by_the_next_run() {
    let sandbox = Sandbox::empty();
    sandbox.write(
        "pipeline.yaml",
        "stages: {slow: {cmd: sh make.sh, outs: [out]}}\n",
    );
    // The child of the stage's own child: the death signal does not reach it.
    sandbox.write(
        "make.sh",
        "touch started; sh -c 'sleep 3; echo late > out; touch finished'; true\n",
    );
    let mut child = start(&sandbox);
    kill(&child, "-KILL");
    child.wait().unwrap();
    sandbox.write("make.sh", "echo good > out\n");
    sandbox.run(&["run"]).ok();
    std::thread::sleep(Duration::from_millis(3500));
    assert!(!sandbox.path("finished").exists(), "it went on");
    assert_eq!(sandbox.read("out"), "good\n");
}

#[test]
fn a_run_that_waits_for_another_can_be_interrupted() {
    let sandbox = slow_project();
    let mut first = start(&sandbox);
    let mut second = sandbox
        .command(&["run"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(300));
    kill(&second, "-TERM");
    let begun = Instant::now();
    assert_eq!(second.wait().unwrap().code(), Some(143));
    assert!(begun.elapsed() < Duration::from_secs(5));
    kill(&first, "-INT");
    assert_eq!(first.wait().unwrap().code(), Some(130));
}
