//! Ctrl-C in the middle of a stage, and signals for a run that only waits. SIGTERM and SIGKILL in the
//! middle of a stage are rows of `failures.rs`.

use rustix::process::Signal;

use crate::sandbox::Sandbox;

#[test]
fn ctrl_c_ends_with_130() {
    let sandbox = Sandbox::slow();
    let mut run = sandbox.start_stage(&["run"]);
    run.signal(Signal::INT);
    assert_eq!(run.code(), Some(130));
    assert_eq!(
        sandbox.read("out"),
        "half\ndone\n",
        "the old output is back"
    );
    sandbox.write("wait", "0");
    assert!(sandbox.run(&["run"]).ok().stderr.contains("nothing to do"));
    assert!(!sandbox.has("finished"), "the child went on");
}

#[test]
fn a_run_that_waits_for_another_can_be_interrupted() {
    let sandbox = Sandbox::slow();
    let mut first = sandbox.start_stage(&["run"]);
    let mut second = sandbox.start(&["run"]);
    second.wait_until_it_says("waiting for another run");
    second.signal(Signal::TERM);
    assert_eq!(second.code(), Some(143));
    assert!(first.is_running(), "the other run was disturbed");
    first.signal(Signal::INT);
    assert_eq!(first.code(), Some(130));
}
