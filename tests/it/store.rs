//! `krammerti gc` and `krammerti verify`: what the store keeps, gives back, and finds damaged.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::sandbox::{Sandbox, binary};

/// A stage that reads a file and a folder and writes a folder; one that copies from it.
fn project() -> Sandbox {
    let sandbox = Sandbox::empty();
    sandbox.write(
        "pipeline.yaml",
        "stages:
  make: {sh: 'mkdir -p out; cat in/* > out/all; echo same > out/same', deps: [in], outs: [out]}
  copy: {cmd: cp out/all copy, deps: [out], outs: [copy]}
",
    );
    set(&sandbox, "one");
    sandbox.run(&["run"]).ok();
    sandbox
}

fn set(sandbox: &Sandbox, text: &str) {
    sandbox.write("in/a", text);
}

fn objects(sandbox: &Sandbox) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(sandbox.path(".krammerti/store/objects")).unwrap();
    let mut all: Vec<PathBuf> = folders
        .flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap())
        .map(|file| file.unwrap().path())
        .collect();
    all.sort();
    all
}

fn object_with(sandbox: &Sandbox, content: &str) -> PathBuf {
    let all = objects(sandbox);
    let found = all
        .into_iter()
        .find(|path| std::fs::read(path).unwrap() == content.as_bytes());
    found.unwrap_or_else(|| panic!("no object holds {content:?}"))
}

#[test]
fn gc_takes_checkpoints_that_are_older_than_the_runs_it_keeps() {
    let sandbox = project();
    let folder = |name: &str| sandbox.path(&format!(".krammerti/checkpoints/{name}"));
    for (name, written) in [("older", UNIX_EPOCH), ("newer", SystemTime::now())] {
        sandbox.write(&format!(".krammerti/checkpoints/{name}/checkpoint"), "{}");
        File::open(folder(name))
            .unwrap()
            .set_modified(written)
            .unwrap();
    }
    set(&sandbox, "two");
    sandbox.run(&["run"]).ok();
    let few = sandbox.run(&["gc"]).ok();
    assert!(!few.stdout.contains("checkpoints"), "{few}");
    let removed = sandbox.run(&["gc", "--keep-runs", "2", "--delete"]).ok();
    assert!(
        removed.stdout.contains("1  checkpoints of older trainings"),
        "{removed}"
    );
    assert!(!folder("older").exists() && folder("newer").exists());
    let json = sandbox.run(&["gc", "--keep-runs", "0", "--json"]).ok();
    assert!(json.stdout.contains(r#""checkpoints":1"#), "{json}");
}

#[test]
fn gc_shows_first_and_removes_only_what_nobody_needs() {
    let sandbox = project();
    for text in ["two", "three"] {
        set(&sandbox, text);
        sandbox.run(&["run"]).ok();
    }
    let before = objects(&sandbox);
    let shown = sandbox.run(&["gc", "--keep-runs", "1"]).ok();
    assert!(
        shown.stdout.contains("would be free") && shown.stdout.contains("older runs"),
        "{shown}"
    );
    assert_eq!(objects(&sandbox), before);

    let removed = sandbox.run(&["gc", "--keep-runs", "1", "--delete"]).ok();
    assert!(removed.stdout.contains("removed"), "{removed}");
    assert!(objects(&sandbox).len() < before.len());
    let again = sandbox.run(&["gc", "--keep-runs", "1"]).ok();
    assert!(again.stdout.contains("nothing to remove"), "{again}");

    assert!(sandbox.run(&["run"]).ok().stderr.contains("nothing to do"));
    std::fs::remove_dir_all(sandbox.path("out")).unwrap();
    assert_eq!(sandbox.run_json(&[])["restored"][0], "make");
    assert_eq!(sandbox.read("out/all"), "three");
    // Which file of the input changed is still told.
    set(&sandbox, "two");
    let why = sandbox.run(&["why", "make"]).ok();
    assert_eq!(why.stdout, "in changed: a changed\n");
    assert_eq!(sandbox.run_json(&[])["ran"][0], "make", "it was removed");
}

#[test]
fn gc_keeps_what_the_last_runs_made() {
    let sandbox = project();
    set(&sandbox, "two");
    sandbox.run(&["run"]).ok();
    sandbox.run(&["gc", "--delete"]).ok();
    set(&sandbox, "one");
    let event = sandbox.run_json(&[]);
    assert_eq!(event["restored"].as_array().unwrap().len(), 2, "{event}");
}

#[test]
fn gc_does_not_disturb_a_run() {
    let sandbox = Sandbox::empty();
    sandbox.write(
        "pipeline.yaml",
        "stages: {slow: {sh: 'touch started; while [ ! -e go ]; do sleep 0.02; done; echo x > out', outs: [out]}}\n",
    );
    let mut run = sandbox.command(&["run", "-q"]).spawn().unwrap();
    while !sandbox.path("started").exists() {
        assert!(run.try_wait().unwrap().is_none(), "it ended early");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    sandbox
        .run(&["gc", "--no-wait"])
        .fails(4, &[".krammerti/store"]);
    sandbox.write("go", "");
    assert!(run.wait().unwrap().success());
    sandbox.run(&["gc", "--no-wait"]).ok();
}

#[test]
fn verify_names_what_is_damaged_and_whose_it_is() {
    let sandbox = project();
    let sound = sandbox.run(&["verify"]).ok();
    assert!(sound.stdout.contains("all as they were written"), "{sound}");

    let object = object_with(&sandbox, "same\n");
    std::fs::remove_file(&object).unwrap();
    std::fs::write(&object, "evil\n").unwrap();
    let gone = object_with(&sandbox, "one");
    std::fs::remove_file(&gone).unwrap();
    let found = sandbox
        .run(&["verify"])
        .fails(1, &["2 faults", "krammerti verify --remove"]);
    assert!(found.stdout.contains("make: out/same"), "{found}");
    assert!(found.stdout.contains("missing"), "{found}");
    assert!(object.exists());

    sandbox.run(&["verify", "--remove"]).fails(1, &[]);
    assert!(!object.exists());
    // The workspace itself is sound; once it is not, the stage runs again.
    assert!(sandbox.run(&["run"]).ok().stderr.contains("nothing to do"));
    std::fs::remove_dir_all(sandbox.path("out")).unwrap();
    assert_eq!(sandbox.run_json(&[])["ran"][0], "make");
    assert_eq!(sandbox.read("out/same"), "same\n");
    sandbox.run(&["verify"]).ok();
}

#[test]
fn gc_that_waited_for_a_run_keeps_what_that_made() {
    let sandbox = project();
    sandbox.write(
        "pipeline.yaml",
        "stages: {slow: {sh: 's=started; g=go; touch $s; while [ ! -e $g ]; do sleep 0.02; done; echo x > out', outs: [out]}}\n",
    );
    let mut run = sandbox.command(&["run", "-q"]).spawn().unwrap();
    while !sandbox.path("started").exists() {
        assert!(run.try_wait().unwrap().is_none(), "it ended early");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let mut gc = sandbox
        .command(&["gc", "--keep-runs", "0", "--delete", "-q"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(100));
    sandbox.write("go", "");
    assert!(run.wait().unwrap().success() && gc.wait().unwrap().success());
    std::fs::remove_file(sandbox.path("out")).unwrap();
    assert_eq!(sandbox.run_json(&[])["restored"][0], "slow");
}

#[test]
fn what_comes_back_and_what_is_kept_is_for_those_whom_the_umask_lets() {
    let sandbox = Sandbox::empty();
    sandbox.write(
        "pipeline.yaml",
        "stages: {make: {sh: 'mkdir out; echo 1 > out/plain; echo 2 > out/tool; chmod +x out/tool; echo 3 > own', \
         outs: [out, own]}}\n",
    );
    let run = |umask: &str| {
        let mut command = Command::new("sh");
        command
            .args(["-c", "umask \"$1\" && exec \"$0\" run -q"])
            .arg(binary())
            .arg(umask)
            .current_dir(sandbox.path("."));
        sandbox.finish(&mut command).ok();
    };
    let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    run("077");
    for object in objects(&sandbox).into_iter().map(mode) {
        assert_eq!(object & 0o077, 0, "{object:o}");
    }
    assert_eq!(mode(object_with(&sandbox, "3\n")), 0o400);
    for (umask, plain, tool) in [("077", 0o600, 0o700), ("002", 0o664, 0o775)] {
        std::fs::remove_dir_all(sandbox.path("out")).unwrap();
        sandbox.remove("own");
        run(umask);
        let modes = ["own", "out/plain", "out/tool"].map(|path| mode(sandbox.path(path)));
        assert_eq!(modes, [plain, plain, tool], "umask {umask}");
    }
}
