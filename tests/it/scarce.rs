//! Full disks, places where one may only read, and few of what the system hands out.

use std::process::{Command, Output};

use crate::sandbox::{Sandbox, binary};

/// Runs a script with `$K` for krammerti, in the sandbox. In a mount namespace of its own it may mount what it likes:
/// `None` where there is none to be had.
fn script(sandbox: &Sandbox, mounts: bool, text: &str) -> Option<Output> {
    let mut command = if mounts {
        let unshare = || {
            let mut command = Command::new("unshare");
            command.args(["--user", "--map-root-user", "--mount"]);
            command
        };
        let tried = unshare()
            .args(["mount", "-t", "tmpfs", "t", "/mnt"])
            .output();
        if !tried.is_ok_and(|tried| tried.status.success()) {
            return None;
        }
        unshare()
    } else {
        Command::new("env")
    };
    command
        .args(["sh", "-ec", text])
        .current_dir(sandbox.path(""));
    Some(command.env("K", binary()).output().unwrap())
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Says `ended CODE` after a command that may fail.
const STEP: &str = "step() { code=0; \"$K\" \"$@\" || code=$?; echo \"ended $code\"; }; ";

#[test]
fn the_old_output_comes_back_on_a_full_disk_and_the_next_run_is_well() {
    let sandbox = Sandbox::empty();
    let mounted = "mkdir m; mount -t tmpfs -o size=2m,nr_inodes=60 t m; cd m
cat > pipeline.yaml <<'END'
stages:
  a: {sh: 'head -c ${params.extra.size} /dev/zero > out; touch $(seq 1 ${params.extra.files})', outs: [out]}
END
echo 'extra: {size: 1000, files: 1}' > params.yaml; step run
echo 'extra: {size: 2000, files: 100}' > params.yaml; step run; wc -c < out; step log a
rm [0-9]*; echo 'extra: {size: 1000, files: 1}' > params.yaml; step run; wc -c < out";
    let Some(output) = script(&sandbox, true, &format!("{STEP}{mounted}")) else {
        return;
    };
    let said = said(&output);
    let told = |what: &str| assert!(said.contains(what), "no `{what}` in {said}");
    told("ended 0\nended 1\n1000\n");
    told("ended with exit code 1");
    told("warning: what the failed command wrote to out was removed: cannot create folder");
    assert!(said.contains("ended 0\n1000\n"), "{said}");
}

#[test]
fn a_result_that_the_store_has_no_room_for_stays_and_is_fresh() {
    let sandbox = Sandbox::empty();
    let mounted = "mkdir m; mount -t tmpfs -o size=1500k t m; cd m
echo 'stages: {a: {sh: \"head -c 1000000 /dev/urandom > out\", outs: [out]}}' > pipeline.yaml
step run; wc -c < out; step run; step verify; step -q gc";
    let Some(output) = script(&sandbox, true, &format!("{STEP}{mounted}")) else {
        return;
    };
    let said = said(&output);
    assert!(said.starts_with("ended 0\n1000000\nended 0\n"), "{said}");
    for told in [
        "warning: the store has no room for out, which is in its place and nowhere else",
        "nothing to do: the stage is fresh",
        "read 0 objects (0 B) and 1 records: all as they were written",
    ] {
        assert!(said.contains(told), "no `{told}` in {said}");
    }
}

#[test]
fn one_who_may_only_read_can_verify_and_look_for_garbage() {
    let sandbox = Sandbox::empty();
    sandbox.write(
        "pipeline.yaml",
        "stages: {a: {sh: 'echo 1 > out', outs: [out]}}\n",
    );
    sandbox.run(&["run"]).ok();
    let mounted = "mount --bind . /mnt; mount -o remount,bind,ro /mnt; cd /mnt
step verify; step gc; step history; step verify --remove; step gc --delete; step run --force";
    let Some(output) = script(&sandbox, true, &format!("{STEP}{mounted}")) else {
        return;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let ends = text.lines().filter(|line| line.starts_with("ended"));
    let expected = [
        "ended 0", "ended 0", "ended 0", "ended 1", "ended 1", "ended 1",
    ];
    assert_eq!(ends.collect::<Vec<_>>(), expected, "{}", said(&output));
}

#[test]
fn more_files_can_be_open_than_the_soft_limit_says_but_not_for_commands() {
    let sandbox = Sandbox::empty();
    let outs: Vec<String> = (0..90).map(|i| format!("o{i}")).collect();
    sandbox.write(
        "pipeline.yaml",
        &format!(
            "stages: {{a: {{sh: 'touch {}; ulimit -Sn > limit', outs: [limit, {}]}}}}\n",
            outs.join(" "),
            outs.join(", ")
        ),
    );
    let output = script(&sandbox, false, &format!("{STEP} ulimit -Sn 64; step run")).unwrap();
    assert!(said(&output).contains("ended 0"), "{}", said(&output));
    assert_eq!(sandbox.read("limit"), "64\n");
    let hard = format!("{STEP} ulimit -n 64; step run --force");
    let output = script(&sandbox, false, &hard).unwrap();
    assert!(said(&output).contains("hint: raise the limit of open files (`ulimit -n`)"));
}

#[test]
fn where_no_thread_is_to_be_had_it_says_so() {
    let sandbox = Sandbox::empty();
    sandbox.write(
        "pipeline.yaml",
        "stages: {a: {sh: 'echo 1 > out', outs: [out]}}\n",
    );
    // No stack can be so large.
    let none = format!("{STEP} export RUST_MIN_STACK=1152921504606846976; step run");
    let output = script(&sandbox, false, &none).unwrap();
    let said = said(&output);
    for told in [
        "ended 1",
        "error: a thread cannot be started",
        "hint: raise the limit of processes",
    ] {
        assert!(said.contains(told), "no `{told}` in {said}");
    }
}

#[test]
fn a_log_that_cannot_be_printed_is_told_of_the_standard_output() {
    let sandbox = Sandbox::empty();
    sandbox.write(
        "pipeline.yaml",
        "stages: {a: {sh: 'echo 1 | tee out', outs: [out]}}\n",
    );
    let output = script(
        &sandbox,
        false,
        &format!("{STEP} step run; \"$K\" log a > /dev/full || true"),
    );
    let said = said(&output.unwrap());
    assert!(
        said.contains("error: cannot write to the standard output: No space left"),
        "{said}"
    );
}

#[test]
fn the_log_of_a_stage_in_use_outlives_gc() {
    let sandbox = Sandbox::empty();
    let stages =
        "stages:\n  a: {sh: 'echo old | tee out', outs: [out]}\n  b: {sh: 'date > b', outs: [b]}\n";
    sandbox.write("pipeline.yaml", stages);
    sandbox.run(&["run"]).ok();
    for _ in 0..3 {
        sandbox.run(&["run", "--force", "b"]).ok();
    }
    sandbox.run(&["gc", "--keep-runs", "1", "--delete"]).ok();
    assert_eq!(sandbox.run(&["log", "a"]).ok().stdout, "old\n");
    let runs = std::fs::read_dir(sandbox.path(".krammerti/runs")).unwrap();
    assert_eq!(runs.count(), 2);
    std::fs::remove_dir_all(sandbox.path(".krammerti/runs")).unwrap();
    let said = sandbox.run(&["log", "a"]).stderr;
    assert!(said.contains("no log is kept of stage `a`"), "{said}");
}
