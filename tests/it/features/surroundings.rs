//! What surrounds a stage: paths and links of all kinds, what programs leave beside it, terminals, and who stops it.

use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;

use super::*;

#[test]
fn an_absolute_path_into_the_project_is_one_of_it() {
    let sandbox = Sandbox::empty();
    let root = sandbox.path("").canonicalize().unwrap();
    let root = root.to_str().unwrap();
    sandbox.write("make.sh", "cat \"$1\" > out\n");
    sandbox.write("in", "1");
    sandbox.write(
        "pipeline.yaml",
        &format!(
            "stages:
  last: {{cmd: ['cp', '{root}/mid', end], outs: [end]}}
  copy: {{cmd: ['cp', out, mid], outs: [mid]}}
  first: {{cmd: ['sh', '{root}/make.sh', in], outs: ['{root}/out']}}
"
        ),
    );
    assert_eq!(ran(&sandbox, &[]), ["first", "copy", "last"]);
    sandbox.write("make.sh", "echo 2 > out\n");
    assert_eq!(ran(&sandbox, &[]), ["first", "copy", "last"]);
    assert_eq!(sandbox.read("end"), "2\n");
}

#[test]
fn an_output_may_be_called_store() {
    let sandbox = project("stages: {a: {sh: echo 1 > store, outs: [store]}}\n");
    assert_eq!(ran(&sandbox, &["--no-wait"]), ["a"]);
}

#[test]
fn what_python_leaves_among_its_inputs_is_none_of_them() {
    let sandbox = project(
        "stages: {a: {sh: 'mkdir -p lib/__pycache__ && echo $$ > lib/__pycache__/x.pyc && cat lib/x.py > out', deps: [lib], outs: [out]}}\n",
    );
    sandbox.write("lib/x.py", "1\n");
    assert_eq!(ran(&sandbox, &[]), ["a"]);
    assert!(ran(&sandbox, &[]).is_empty());
    sandbox.write("lib/x.py", "2\n");
    assert_eq!(ran(&sandbox, &[]), ["a"]);
}

#[test]
fn an_output_that_is_a_link_out_of_the_project_is_replaced_and_told() {
    let elsewhere = tempfile::tempdir().unwrap();
    let sandbox = project(
        "stages: {a: {sh: 'cat in > models/net; ln -sfn net models/last', outs: [models/net, models/last]}}\n",
    );
    sandbox.write("in", "1\n");
    ran(&sandbox, &[]);
    let big = elsewhere.path().join("net");
    std::fs::rename(sandbox.path("models/net"), &big).unwrap();
    symlink(&big, sandbox.path("models/net")).unwrap();
    assert!(ran(&sandbox, &[]).is_empty());
    sandbox.write("in", "2\n");
    let told = sandbox.run(&["run"]).ok();
    assert!(told.stderr.contains("models/net is a link to "), "{told}");
    // A link of the stage itself is none of these.
    assert!(!told.stderr.contains("models/last is"), "{told}");
    assert_eq!(sandbox.read("models/last"), "2\n");
    // The folder around it may be the link.
    std::fs::rename(sandbox.path("models"), elsewhere.path().join("models")).unwrap();
    symlink(elsewhere.path().join("models"), sandbox.path("models")).unwrap();
    sandbox.write("in", "3\n");
    let told = sandbox.run(&["run"]).ok();
    assert!(!told.stderr.contains("is a link"), "{told}");
    let found = std::fs::read_to_string(elsewhere.path().join("models/net"));
    assert_eq!(found.unwrap(), "3\n");
}

/// Somebody removed `.krammerti/`, which is said to be safe.
#[test]
fn what_the_store_has_lost_is_told_as_such() {
    let sandbox = project("stages: {a: {sh: 'cat in > out', outs: [out]}}\n");
    sandbox.write("in", "1\n");
    ran(&sandbox, &[]);
    std::fs::remove_dir_all(sandbox.path(".krammerti")).unwrap();
    sandbox.write("in", "2\n");
    let told = sandbox.run(&["run"]).ok();
    let says =
        "out was replaced; what stood there, which the store does not have any more, is kept as ";
    assert!(told.stderr.contains(says), "{told}");
    assert_eq!(sandbox.kept("replaced/out"), ["1\n"]);
    sandbox.write("out", "mine\n");
    sandbox.write("in", "3\n");
    let told = sandbox.run(&["run"]).ok();
    assert!(told.stderr.contains("no run had made"), "{told}");
}

/// A folder that nobody may write, in the folder for temporary files of a stage that may write only its outputs.
#[test]
fn what_cannot_be_cleared_away_does_not_hide_what_became_of_a_stage() {
    let sandbox = project(
        "stages: {a: {sh: 'cd \"$TMPDIR\" && mkdir -p x && touch x/y && chmod 500 x && cd - && touch out', outs: [out], strict: true}}\n",
    );
    assert_eq!(ran(&sandbox, &[]), ["a"]);
}

/// `nohup krammerti run &`, and then the terminal closes.
#[test]
fn a_signal_that_was_ignored_before_stays_so() {
    let sandbox = project(
        "stages: {a: {sh: 'touch started; until [ -e go ]; do sleep 0.01; done; rm go; touch out', outs: [out]}}\n",
    );
    // Whoever runs the tests may ignore the signal as well, which a shell could not undo.
    let start = "import os, signal, sys; signal.signal(signal.SIGHUP, getattr(signal, sys.argv[1])); \
                 os.execv(sys.argv[2], sys.argv[2:])";
    for (handling, code) in [("SIG_IGN", Some(0)), ("SIG_DFL", Some(129))] {
        let krammerti = sandbox.command(&["run", "--force"]);
        let mut command = Command::new("python3");
        command
            .args(["-c", start, handling])
            .arg(krammerti.get_program())
            .args(krammerti.get_args())
            .current_dir(sandbox.path(""))
            .env_clear()
            .envs((krammerti.get_envs()).filter_map(|(name, value)| Some((name, value?))))
            .process_group(0)
            .stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        wait_until("it has started", || sandbox.has("started"));
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
        if handling == "SIG_IGN" {
            sandbox.write("go", "");
        }
        assert_eq!(child.wait().unwrap().code(), code, "{handling}");
        sandbox.remove("started");
    }
}

/// `when` of a stage that is left out says nothing of one that writes the same place.
#[test]
fn who_is_left_out_takes_nobody_along_that_another_stage_serves() {
    let sandbox = project(
        "stages:
  ridge: {sh: 'mkdir -p model && echo 1 > model/w', outs: [model/w]}
  nets: {sh: 'mkdir -p model && echo 2 > model/w', outs: [model], when: {extra.nets: true}}
  use: {sh: 'cat model/w > used', deps: [model/w], outs: [used]}
",
    );
    sandbox.write("params.yaml", "extra: {nets: false}\n");
    assert_eq!(ran(&sandbox, &[]), ["ridge", "use"]);
}

#[test]
fn a_condition_may_be_an_item_that_is_a_number() {
    let sandbox = project(
        "stages:
  one: {foreach: [1, 2, 3], sh: 'touch a${item}', outs: ['a${item}'], when: {extra.n: '${item}'}}
  several: {foreach: [1, 2, 3], sh: 'touch b${item}', outs: ['b${item}'], when: {extra.n: ['${item}', 7]}}
",
    );
    sandbox.write("params.yaml", "extra: {n: 2}\n");
    assert_eq!(ran(&sandbox, &[]), ["one@2", "several@2"]);
}
