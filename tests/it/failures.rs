//! The failure table of the runner's design: what is known to go wrong in other tools, each row
//! played with real processes, real signals and real files. In the order of the table:
//!
//! 1. an input is edited while its stage runs
//! 2. an input is edited in place, same size, mtime put back
//! 3. a stage fails
//! 4. SIGKILL of the runner
//! 5. SIGTERM of the runner
//! 6. a script that the command names is edited but not declared
//! 7. two inputs swap contents
//! 8. `cp a b` against `cp b a`
//! 9. two runs at once
//! 10. an output is edited by hand
//! 11. an input is reverted to an older version
//! 12. an upstream reruns and gives equal bytes
//!
//! Commands wait for files that the test creates, so nothing here depends on how fast a machine is.

use std::fs::{self, FileTimes};
use std::io::Write;

use rustix::process::Signal;

use crate::sandbox::{Sandbox, names, wait_until};

/// A project of one pipeline, with files of one line each.
fn project(pipeline: &str, files: &[(&str, &str)]) -> Sandbox {
    let sandbox = Sandbox::empty();
    sandbox.write("pipeline.yaml", pipeline);
    for (path, line) in files {
        sandbox.write(path, &format!("{line}\n"));
    }
    sandbox
}

/// A line of shell that says that the stage runs, and waits until the test lets it go on.
const UNTIL_GO: &str = "touch started; until [ -e go ]; do sleep 0.01; done";

/// The last event of the only run that has left something under `.krammerti/failed/`.
fn last_event_of_the_failed_run(sandbox: &Sandbox) -> serde_json::Value {
    let kept = sandbox.files_under(".krammerti/failed");
    let run = kept[0].0.split('/').nth(2).unwrap();
    let journal = sandbox.read(&format!(".krammerti/runs/{run}/journal.jsonl"));
    serde_json::from_str(journal.lines().last().unwrap()).unwrap()
}

// 1. An input is edited while its stage runs.

/// Edits an input of a running stage; its result must stay, and be recorded nowhere.
fn edited_while_its_stage_runs(edit: impl Fn(&Sandbox)) {
    let sandbox = project(
        "stages:
  one: {cmd: sh make.sh, deps: [a, more], outs: [out]}
  two: {cmd: cp out copy, deps: [out], outs: [copy]}
",
        &[("a", "1"), ("more/b", "1"), ("go", "")],
    );
    sandbox.write(
        "make.sh",
        &format!("cat a more/* > out; {UNTIL_GO}; echo end >> out\n"),
    );
    sandbox.run(&["run"]).ok();
    sandbox.remove("go");
    sandbox.remove("started");
    sandbox.write("a", "2\n");
    let records = sandbox.records();

    let mut run = sandbox.start_stage(&["run"]);
    edit(&sandbox);
    sandbox.write("go", "");
    assert_eq!(run.code(), Some(1));
    let said = run.stderr();
    assert!(
        said.contains("stage `one` failed") && said.contains("changed while the stage ran"),
        "{said}"
    );
    assert_eq!(sandbox.read("out"), "2\n1\nend\n", "the output stays");
    assert_eq!(
        sandbox.read("copy"),
        "1\n1\nend\n",
        "nothing was built of it"
    );
    let lock = sandbox.read("pipeline.lock");
    assert!(!lock.contains("one:") && lock.contains("two:"), "{lock}");
    assert_eq!(sandbox.records(), records, "the store has a record of it");

    // A missing input is an error of its own; whatever else was done, the stage runs again.
    if sandbox.has("a") {
        assert_eq!(names(&sandbox.run_json(&[]), "ran"), ["one", "two"]);
        let now = format!("{}{}end\n", sandbox.read("a"), folder(&sandbox, "more"));
        assert_eq!(sandbox.read("copy"), now);
    } else {
        sandbox.run(&["run"]).fails(2, &["a does not exist"]);
    }
}

/// The contents of a folder's files, in the order of their names.
fn folder(sandbox: &Sandbox, path: &str) -> String {
    let files = sandbox.files_under(path);
    let texts = files.into_iter().map(|(_, bytes)| bytes);
    texts
        .map(|bytes| String::from_utf8(bytes).unwrap())
        .collect()
}

#[test]
fn row_01_an_input_is_edited_while_its_stage_runs() {
    edited_while_its_stage_runs(|sandbox| sandbox.write("a", "3\n"));
}

#[test]
fn row_01_an_input_is_replaced_while_its_stage_runs_as_editors_do() {
    edited_while_its_stage_runs(|sandbox| {
        sandbox.write("a~", "3\n");
        fs::rename(sandbox.path("a~"), sandbox.path("a")).unwrap();
    });
}

#[test]
fn row_01_an_input_vanishes_while_its_stage_runs() {
    edited_while_its_stage_runs(|sandbox| sandbox.remove("a"));
}

#[test]
fn row_01_a_file_comes_into_an_input_folder_while_its_stage_runs() {
    edited_while_its_stage_runs(|sandbox| sandbox.write("more/c", "late\n"));
}

#[test]
fn row_01_an_input_is_edited_and_put_back_while_its_stage_runs() {
    let sandbox = project(
        "stages: {one: {cmd: sh make.sh, deps: [a], outs: [out]}}\n",
        &[("a", "1")],
    );
    sandbox.write(
        "make.sh",
        &format!("{UNTIL_GO}; cp a out; touch read; until [ -e end ]; do sleep 0.01; done\n"),
    );
    let mut run = sandbox.start_stage(&["run"]);
    // As `git stash` and `git stash pop` do it.
    sandbox.write("a", "2\n");
    sandbox.write("go", "");
    wait_until("the stage reads", || sandbox.has("read"));
    sandbox.write("a", "1\n");
    sandbox.write("end", "");
    run.code();
    sandbox.run(&["run"]).ok();
    assert_eq!(
        sandbox.read("out"),
        "1\n",
        "called fresh, though it was made of something else"
    );
}

// 2. An input is edited in place, same size, mtime put back.

#[test]
fn row_02_an_input_is_edited_in_place_with_size_and_mtime_put_back() {
    let sandbox = project(
        "stages: {one: {cmd: cp a out, deps: [a], outs: [out]}}\n",
        &[("a", "old")],
    );
    sandbox.run(&["run"]).ok();
    // The stat cache trusts a file only some time after its last change; from here on it does.
    std::thread::sleep(std::time::Duration::from_millis(60));
    sandbox.run(&["status"]).ok();

    let before = fs::metadata(sandbox.path("a")).unwrap();
    let mut file = fs::File::options()
        .write(true)
        .open(sandbox.path("a"))
        .unwrap();
    file.write_all(b"new\n").unwrap();
    file.set_times(FileTimes::new().set_modified(before.modified().unwrap()))
        .unwrap();
    let after = fs::metadata(sandbox.path("a")).unwrap();
    assert_eq!(
        (after.len(), after.modified().unwrap()),
        (before.len(), before.modified().unwrap())
    );

    assert_eq!(names(&sandbox.run_json(&[]), "ran"), ["one"]);
    assert_eq!(sandbox.read("out"), "new\n");
}

// 3. A stage fails.

#[test]
fn row_03_a_failing_stage_keeps_its_previous_outputs_and_its_try_is_under_failed() {
    let sandbox = project(
        "stages:
  one: {cmd: sh make.sh, outs: [out, folder]}
  two: {cmd: cp out copy, deps: [out], outs: [copy]}
",
        &[(
            "make.sh",
            "mkdir folder; echo good > out; echo good > folder/a",
        )],
    );
    let good = sandbox.read("make.sh");
    sandbox.run(&["run"]).ok();
    let before = sandbox.artifacts();

    sandbox.write(
        "make.sh",
        "test ! -e out && test ! -e folder || exit 9 # starts from nothing
mkdir folder; echo half > out; echo half > folder/a; echo new > folder/b
echo what went wrong >&2
exit 3
",
    );
    let failed = sandbox.run(&["run"]).fails(
        1,
        &[
            "stage `one` failed",
            "exit code 3",
            "what went wrong",
            ".log",
        ],
    );
    assert!(failed.stderr.contains("skipped 1 (two)"), "{failed}");
    assert_eq!(sandbox.read("out"), "good\n");
    assert_eq!(folder(&sandbox, "folder"), "good\n");
    assert_eq!(sandbox.kept("one/out"), ["half\n"]);
    assert_eq!(sandbox.kept("one/folder/a"), ["half\n"]);
    assert_eq!(sandbox.kept("one/folder/b"), ["new\n"]);
    let last = last_event_of_the_failed_run(&sandbox);
    assert_eq!(
        (names(&last, "failed"), names(&last, "skipped")),
        (vec!["one".to_owned()], vec!["two".to_owned()])
    );

    sandbox.write("make.sh", &good);
    assert_eq!(names(&sandbox.run_json(&[]), "fresh"), ["one", "two"]);
    assert!(sandbox.artifacts() == before, "something was lost");
}

#[test]
fn row_03_a_stage_that_writes_only_some_of_its_outputs_fails_too() {
    let sandbox = project(
        "stages: {one: {cmd: sh make.sh, outs: [a, b]}}\n",
        &[("make.sh", "echo 1 > a; echo 1 > b")],
    );
    sandbox.run(&["run"]).ok();
    sandbox.write("make.sh", "echo 2 > a\n");
    sandbox.run(&["run"]).fails(1, &["did not write b"]);
    assert_eq!(
        (sandbox.read("a"), sandbox.read("b")),
        ("1\n".into(), "1\n".into())
    );
    assert_eq!(sandbox.kept("one/a"), ["2\n"]);
}

// 4. SIGKILL of the runner.

#[test]
fn row_03_what_a_command_could_not_remove_goes_with_its_failure() {
    // As a krammerti that a signal ended leaves it.
    let pipeline = "\
stages:
  a: {sh: 'mkdir .krammerti-partial.1-0.out; exit 1', outs: [out]}
";
    let sandbox = project(pipeline, &[]);
    sandbox.run(&["run"]).fails(1, &["stage `a` failed"]);
    assert!(!sandbox.has(".krammerti-partial.1-0.out"));
}

#[test]
fn row_04_sigkill_of_the_runner_ends_its_child() {
    let sandbox = Sandbox::slow();
    let mut run = sandbox.start_stage(&["run"]);
    let the_child = |process: &String| process.contains("sh make.sh");
    assert!(sandbox.processes().iter().any(the_child));
    run.signal(Signal::KILL);
    assert_eq!(run.code(), None);
    wait_until("the child of the killed runner ends", || {
        !sandbox.processes().iter().any(the_child)
    });
    assert!(!sandbox.has("finished"), "the child went on");
}

#[test]
fn row_04_sigkill_of_the_runner_leaves_grandchildren_that_the_next_run_ends() {
    let sandbox = project(
        "stages: {slow: {cmd: sh make.sh, outs: [out]}}\n",
        // The child of the stage's own child: the death signal does not reach it.
        &[(
            "make.sh",
            "touch started; sh -c 'until [ -e go ]; do sleep 0.01; done; echo late > out; touch finished'; true",
        )],
    );
    let mut run = sandbox.start_stage(&["run"]);
    run.signal(Signal::KILL);
    assert_eq!(run.code(), None);
    sandbox.write("make.sh", "echo good > out\n");
    sandbox.run(&["run"]).ok();
    assert_eq!(sandbox.processes(), [""; 0], "it lives on");
    sandbox.write("go", "");
    assert!(!sandbox.has("finished"), "it went on");
    assert_eq!(sandbox.read("out"), "good\n");
}

#[test]
fn row_04_sigkill_of_the_runner_needs_no_repair() {
    let sandbox = Sandbox::slow();
    let mut run = sandbox.start_stage(&["run"]);
    run.signal(Signal::KILL);
    assert_eq!(run.code(), None);
    sandbox.write("wait", "0.1");
    assert_eq!(names(&sandbox.run_json(&[]), "ran"), ["slow"]);
    assert_eq!(sandbox.read("out"), "half\ndone\n");
    sandbox.write("wait", "0");
    assert_eq!(
        names(&sandbox.run_json(&[]), "fresh"),
        ["slow"],
        "the store still knows the first result, which had the same bytes"
    );
}

/// What a killed run leaves beside a file that it was just writing. The instant is too short to be
/// hit, so the test puts it there, under the id of a process that has been.
fn half_written(sandbox: &Sandbox, name: &str) {
    let mut gone = std::process::Command::new("true").spawn().unwrap();
    gone.wait().unwrap();
    sandbox.write(&format!(".krammerti-partial.{}.{name}", gone.id()), "ha");
}

/// The names in the project's folder that are those of half-written files.
fn half_written_files(sandbox: &Sandbox) -> Vec<String> {
    let files = sandbox.artifacts().into_iter().map(|(path, _)| path);
    files.filter(|path| path.contains("partial")).collect()
}

#[test]
fn row_04_sigkill_of_the_runner_while_it_writes_leaves_nothing_behind_the_next_run_of_the_stage() {
    let sandbox = project(
        "stages: {one: {cmd: cp a out, deps: [a], outs: [out]}}\n",
        &[("a", "1")],
    );
    sandbox.run(&["run"]).ok();
    for name in ["out", "pipeline.lock"] {
        half_written(&sandbox, name);
    }
    sandbox.write("a", "2\n");
    assert_eq!(names(&sandbox.run_json(&[]), "ran"), ["one"]);
    assert_eq!(half_written_files(&sandbox), [""; 0]);
}

#[test]
fn row_04_sigkill_of_the_runner_while_it_writes_leaves_nothing_behind_a_run_with_nothing_to_do() {
    let sandbox = project(
        "stages: {one: {cmd: cp a out, deps: [a], outs: [out]}}\n",
        &[("a", "1")],
    );
    sandbox.run(&["run"]).ok();
    // As when the input was then put back to what it had been.
    half_written(&sandbox, "out");
    assert_eq!(names(&sandbox.run_json(&[]), "fresh"), ["one"]);
    assert_eq!(half_written_files(&sandbox), [""; 0]);
}

// 5. SIGTERM of the runner.

/// Ends a run by SIGTERM while its stage has half of its output written. The old output must be
/// back, the new one kept, nobody left running, and the journal closed.
fn ended_by_sigterm(stage: &str) -> Sandbox {
    let sandbox = project(
        "stages:
  one: {cmd: sh make.sh, outs: [out]}
  two: {cmd: cp out copy, deps: [out], outs: [copy]}
",
        &[("make.sh", "echo good > out")],
    );
    sandbox.run(&["run"]).ok();
    sandbox.write("make.sh", &format!("echo half > out\n{stage}\n"));
    let mut run = sandbox.start_stage(&["run"]);
    run.signal(Signal::TERM);
    assert_eq!(run.code(), Some(143));
    assert_eq!(sandbox.processes(), [""; 0], "somebody lives on");
    assert_eq!(sandbox.read("out"), "good\n", "the old output is back");
    assert_eq!(sandbox.kept("one/out"), ["half\n"]);
    let last = last_event_of_the_failed_run(&sandbox);
    assert_eq!(last["event"], "run_finished");
    assert_eq!(names(&last, "failed"), ["one"]);
    assert_eq!(names(&last, "skipped"), ["two"]);

    sandbox.write("make.sh", "echo good > out\n");
    assert_eq!(names(&sandbox.run_json(&[]), "fresh"), ["one", "two"]);
    sandbox
}

#[test]
fn row_05_sigterm_of_the_runner_lets_a_child_end_by_itself() {
    let sandbox = ended_by_sigterm(
        "trap 'sleep 0.3; echo end >> cleaned; exit 0' TERM
touch started
while :; do sleep 0.01; done",
    );
    assert_eq!(sandbox.read("cleaned"), "end\n");
}

#[test]
fn row_05_sigterm_of_the_runner_ends_a_child_that_ignores_it_after_a_grace() {
    let sandbox = ended_by_sigterm(
        "trap 'touch asked; (sleep 1; touch still-there) &' TERM
touch started
while :; do sleep 0.01; done",
    );
    assert!(sandbox.has("asked"), "it was killed without being asked");
    assert!(sandbox.has("still-there"), "there was no grace");
}

#[test]
fn row_05_sigterm_of_the_runner_gives_the_same_grace_to_what_the_child_started() {
    // `sh` itself ends at once; what it runs has work to save.
    let sandbox = ended_by_sigterm(
        "cat > inner.sh <<'END'
trap 'sleep 0.3; echo end >> cleaned; exit 0' TERM
touch started
while :; do sleep 0.01; done
END
sh inner.sh
true",
    );
    assert!(
        sandbox.has("cleaned"),
        "the group was killed as soon as the first of it had ended"
    );
}

// 6. A script that the command names is edited but not declared.

#[test]
fn row_06_a_script_that_the_command_names_is_edited_but_not_declared() {
    let sandbox = project(
        "stages:
  one: {cmd: sh ./make.sh, outs: [one]}
  two: {cmd: ./tool, outs: [two]}
",
        &[
            ("make.sh", "echo 1 > one"),
            ("tool", "#!/bin/sh\necho 1 > two"),
        ],
    );
    let executable = || {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(sandbox.path("tool"), fs::Permissions::from_mode(0o755)).unwrap();
    };
    executable();
    sandbox.run(&["run"]).ok();
    sandbox.write("make.sh", "echo 2 > one\n");
    assert_eq!(names(&sandbox.run_json(&[]), "ran"), ["one"]);
    assert_eq!(sandbox.read("one"), "2\n");
    sandbox.write("tool", "#!/bin/sh\necho 2 > two\n");
    executable();
    assert_eq!(names(&sandbox.run_json(&[]), "ran"), ["two"]);
    assert_eq!(sandbox.read("two"), "2\n");
}

#[test]
fn row_06_an_output_of_another_stage_that_the_command_names_is_an_input_from_the_first_run_on() {
    let sandbox = project(
        "stages:
  after:  {cmd: sh add.sh made result, outs: [result]}
  before: {cmd: sh add.sh a made, outs: [made]}
",
        &[("a", "1"), ("add.sh", "{ cat $1; echo more; } > $2")],
    );
    // Whether `made` is there yet must decide neither the order nor the key.
    assert_eq!(names(&sandbox.run_json(&[]), "ran"), ["before", "after"]);
    assert_eq!(sandbox.read("result"), "1\nmore\nmore\n");
    assert_eq!(names(&sandbox.run_json(&[]), "fresh"), ["before", "after"]);
}

// 7. Two inputs swap contents.

#[test]
fn row_07_two_inputs_swap_contents() {
    let sandbox = project(
        "stages:
  files:  {cmd: \"sh -c 'cat a b > joined'\", deps: [a, b], outs: [joined]}
  folder: {cmd: \"sh -c 'cat in/* > listed'\", deps: [in], outs: [listed]}
",
        &[("a", "1"), ("b", "2"), ("in/a", "1"), ("in/b", "2")],
    );
    let swap = || {
        for (one, other) in [("a", "b"), ("in/a", "in/b")] {
            let (first, second) = (sandbox.read(one), sandbox.read(other));
            sandbox.write(one, &second);
            sandbox.write(other, &first);
        }
    };
    sandbox.run(&["run"]).ok();
    swap();
    assert_eq!(names(&sandbox.run_json(&[]), "ran"), ["files", "folder"]);
    assert_eq!(
        sandbox.read("joined") + &sandbox.read("listed"),
        "2\n1\n2\n1\n"
    );
    swap();
    assert_eq!(
        names(&sandbox.run_json(&[]), "restored"),
        ["files", "folder"]
    );
    assert_eq!(
        sandbox.read("joined") + &sandbox.read("listed"),
        "1\n2\n1\n2\n"
    );
}

// 8. `cp a b` against `cp b a`.

#[test]
fn row_08_the_same_words_in_another_order_are_another_command() {
    let sandbox = project(
        "stages: {one: {cmd: sh join.sh a b, outs: [joined]}}\n",
        &[("a", "1"), ("b", "2"), ("join.sh", "cat $1 $2 > joined")],
    );
    sandbox.run(&["run"]).ok();
    assert_eq!(sandbox.read("joined"), "1\n2\n");
    sandbox.edit("pipeline.yaml", "a b", "b a");
    assert_eq!(names(&sandbox.run_json(&[]), "ran"), ["one"]);
    assert_eq!(sandbox.read("joined"), "2\n1\n");
}

#[test]
fn row_08_cp_a_b_against_cp_b_a() {
    let sandbox = project(
        "stages: {copy: {cmd: cp a b, deps: [a], outs: [b]}}\n",
        &[("a", "1")],
    );
    sandbox.run(&["run"]).ok();
    assert_eq!(sandbox.read("b"), "1\n");
    sandbox.write("a", "mine\n");
    sandbox.write("b", "2\n");
    sandbox.write(
        "pipeline.yaml",
        "stages: {copy: {cmd: cp b a, deps: [b], outs: [a]}}\n",
    );
    assert_eq!(names(&sandbox.run_json(&[]), "ran"), ["copy"]);
    assert_eq!(
        (sandbox.read("a"), sandbox.read("b")),
        ("2\n".into(), "2\n".into())
    );
    assert_eq!(
        sandbox.kept("replaced/a"),
        ["mine\n"],
        "it was nobody's output"
    );
}

// 9. Two runs at once.

/// A stage that says each time that it ran, and waits for the test to let it go on.
fn waiting_project() -> Sandbox {
    let sandbox = project(
        "stages:
  one: {cmd: sh make.sh, outs: [out]}
  two: {cmd: cp out copy, deps: [out], outs: [copy]}
",
        &[],
    );
    sandbox.write(
        "make.sh",
        &format!("echo ran >> times; {UNTIL_GO}; echo good > out\n"),
    );
    sandbox
}

#[test]
fn row_09_of_two_runs_at_once_the_second_waits_and_says_for_whom() {
    let sandbox = waiting_project();
    let mut first = sandbox.start_stage(&["run"]);
    let mut second = sandbox.start(&["run"]);
    second.wait_until_it_says("one: waiting for another run, which is writing out");
    sandbox.write("go", "");
    assert_eq!((first.code(), second.code()), (Some(0), Some(0)));
    assert_eq!(sandbox.read("times"), "ran\n", "it ran twice");
    assert_eq!(sandbox.read("copy"), "good\n");
    assert!(
        second.stderr().contains("nothing to do"),
        "{}",
        second.stderr()
    );
}

#[test]
fn row_09_of_two_runs_at_once_the_second_exits_4_with_no_wait() {
    let sandbox = waiting_project();
    let mut first = sandbox.start_stage(&["run"]);
    sandbox
        .run(&["run", "--no-wait"])
        .fails(4, &["another run is writing out"]);
    assert!(first.is_running(), "the first one was disturbed");
    sandbox.write("go", "");
    assert_eq!(first.code(), Some(0));
    sandbox.run(&["run", "--no-wait"]).ok();
    assert_eq!(sandbox.read("times"), "ran\n");
}

#[test]
fn row_09_of_two_runs_at_once_the_second_goes_on_when_the_first_is_killed() {
    let sandbox = waiting_project();
    let mut first = sandbox.start_stage(&["run"]);
    let mut second = sandbox.start(&["run"]);
    second.wait_until_it_says("waiting for another run");
    first.signal(Signal::KILL);
    assert_eq!(first.code(), None);
    // The second now runs the stage itself.
    wait_until("the stage runs again", || {
        sandbox.read("times") == "ran\nran\n"
    });
    sandbox.write("go", "");
    assert_eq!(second.code(), Some(0));
    assert_eq!(sandbox.read("copy"), "good\n");
}

#[test]
fn row_09_a_killed_run_leaves_nothing_to_unlock() {
    let sandbox = waiting_project();
    let mut first = sandbox.start_stage(&["run"]);
    first.signal(Signal::KILL);
    assert_eq!(first.code(), None);
    sandbox.write("go", "");
    sandbox.run(&["run", "--no-wait"]).ok();
    assert_eq!(sandbox.read("copy"), "good\n");
}

#[test]
fn row_09_an_input_that_another_run_is_building_is_waited_for() {
    let sandbox = waiting_project();
    sandbox.write("go", "");
    sandbox.run(&["run"]).ok();
    sandbox.remove("go");
    sandbox.remove("started");
    sandbox.edit("make.sh", "good", "anew");
    let mut first = sandbox.start_stage(&["run", "one"]);
    assert!(!sandbox.has("out"), "the old output is aside");
    sandbox.run(&["status"]).ok();
    let mut second = sandbox.start(&["run", "two"]);
    second.wait_until_it_says("waiting for another run, which is writing out");
    sandbox.write("go", "");
    assert_eq!((first.code(), second.code()), (Some(0), Some(0)));
    assert_eq!(sandbox.read("copy"), "anew\n");
}

// 10. An output is edited by hand.

#[test]
fn row_10_an_output_edited_by_hand_is_named_by_status_and_not_lost() {
    let sandbox = project(
        "stages:
  one: {cmd: sh make.sh, deps: [a], outs: [out, folder]}
  two: {cmd: cp out copy, deps: [out], outs: [copy]}
",
        &[
            ("a", "1"),
            (
                "make.sh",
                "cp a out; mkdir folder; cp a folder/a; cp a folder/b",
            ),
        ],
    );
    sandbox.run(&["run"]).ok();
    let before = sandbox.artifacts();

    sandbox.write("out", "by hand\n");
    sandbox.write("folder/b", "by hand too\n");
    sandbox.write("folder/mine", "a file of mine\n");
    let status = sandbox.run(&["status"]).ok().stdout;
    let of_one: Vec<&str> = status
        .lines()
        .filter(|line| !line.starts_with("two"))
        .collect();
    assert!(of_one[0].starts_with("one  restorable"), "{status}");
    for path in ["out", "folder"] {
        let told = format!("{path} was changed by something else");
        assert!(of_one.iter().any(|line| line.contains(&told)), "{status}");
    }

    assert_eq!(names(&sandbox.run_json(&[]), "restored"), ["one"]);
    assert!(
        sandbox.artifacts() == before,
        "it is not what the stage wrote"
    );
    assert_eq!(sandbox.kept("one/replaced/out"), ["by hand\n"]);
    assert_eq!(sandbox.kept("one/replaced/folder/b"), ["by hand too\n"]);
    assert_eq!(
        sandbox.kept("one/replaced/folder/mine"),
        ["a file of mine\n"]
    );
}

#[test]
fn row_10_an_output_edited_by_hand_is_not_lost_when_its_stage_runs() {
    let sandbox = project(
        "stages: {one: {cmd: cp a out, deps: [a], outs: [out]}}\n",
        &[("a", "1")],
    );
    sandbox.run(&["run"]).ok();
    sandbox.write("out", "by hand\n");
    sandbox.write("a", "2\n");
    let status = sandbox.run(&["status"]).ok().stdout;
    for told in ["stale", "a changed", "out was changed by something else"] {
        assert!(status.contains(told), "{status}");
    }
    assert_eq!(names(&sandbox.run_json(&[]), "ran"), ["one"]);
    assert_eq!(sandbox.read("out"), "2\n");
    assert_eq!(sandbox.kept("one/replaced/out"), ["by hand\n"]);
}

#[test]
fn row_10_an_output_written_by_hand_after_a_kill_is_not_lost_when_its_stage_then_fails() {
    let sandbox = Sandbox::slow();
    let mut run = sandbox.start_stage(&["run"]);
    run.signal(Signal::KILL);
    assert_eq!(run.code(), None);
    sandbox.write("out", "by hand\n");
    sandbox.write("make.sh", "echo half > out; exit 3\n");
    sandbox.run(&["run"]).fails(1, &["exit code 3"]);
    assert_eq!(
        sandbox.read("out"),
        "half\ndone\n",
        "the old output is back"
    );
    let mut kept = sandbox.kept("slow/out");
    kept.sort();
    assert_eq!(kept, ["by hand\n", "half\n"]);
}

// 11. An input is reverted to an older version.

#[test]
fn row_11_a_reverted_input_brings_its_outputs_back_from_the_store() {
    let sandbox = project(
        "stages:
  one: {cmd: sh make.sh, deps: [a], outs: [out, folder]}
  two: {cmd: \"sh -c 'echo two >> times; cat out > copy'\", deps: [out], outs: [copy]}
",
        &[
            ("a", "1"),
            (
                "make.sh",
                "echo one >> times; cp a out; mkdir folder; cp a folder/a",
            ),
        ],
    );
    sandbox.run(&["run"]).ok();
    let before = sandbox.artifacts();
    sandbox.write("a", "2\n");
    assert_eq!(names(&sandbox.run_json(&[]), "ran"), ["one", "two"]);
    let times = sandbox.read("times");

    sandbox.write("a", "1\n");
    assert_eq!(names(&sandbox.run_json(&[]), "restored"), ["one", "two"]);
    assert_eq!(sandbox.read("times"), times, "something ran");
    sandbox.write("times", "one\ntwo\n");
    assert!(sandbox.artifacts() == before, "it is not what it was");
    assert!(sandbox.run(&["run"]).ok().stderr.contains("nothing to do"));
}

// 12. An upstream reruns and gives equal bytes.

#[test]
fn row_12_an_upstream_that_reruns_and_gives_equal_bytes_leaves_everything_after_it_fresh() {
    let sandbox = project(
        "stages:
  sorted: {cmd: sort a -o sorted, deps: [a], outs: [sorted]}
  one:    {cmd: cp sorted one, deps: [sorted], outs: [one]}
  two:    {cmd: cp one two, deps: [one], outs: [two]}
",
        &[("a", "1\n2")],
    );
    sandbox.run(&["run"]).ok();
    sandbox.write("a", "2\n1\n");
    let event = sandbox.run_json(&[]);
    assert_eq!(names(&event, "ran"), ["sorted"]);
    assert_eq!(names(&event, "fresh"), ["one", "two"]);
}

#[test]
fn row_12_equal_bytes_of_a_subcommand_leave_everything_after_it_fresh() {
    let sandbox = Sandbox::new();
    sandbox.run(&["run"]).ok();
    // Another file, but the same table.
    let csv = sandbox.read("station.csv").replace("2.8,97", "2.80,97");
    sandbox.write("station.csv", &csv);
    let event = sandbox.run_json(&[]);
    assert_eq!(
        (names(&event, "ran"), names(&event, "fresh").len()),
        (vec!["fetch".to_owned()], 4)
    );
}
