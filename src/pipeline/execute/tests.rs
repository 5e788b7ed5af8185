//! One stage from hashed inputs to its record, by a command that a test plays.

use std::sync::Mutex;

use super::super::Declared;
use super::*;

/// A project in which `build` turns `a` into `b` by a command that a test plays.
struct Project {
    folder: tempfile::TempDir,
    stage: Stage,
    warnings: Mutex<Vec<String>>,
}

impl Project {
    fn new() -> Self {
        let declared = Declared {
            words: vec!["make-b".into()],
            inputs: vec!["a".into()],
            outputs: vec!["b".into()],
            ..Declared::default()
        };
        let mut stage = Stage::from_declared("build", declared, false).unwrap();
        stage.recorded = true;
        let project = Self {
            folder: tempfile::tempdir().unwrap(),
            stage,
            warnings: Mutex::default(),
        };
        project.write("a", "1");
        project
    }

    fn write(&self, path: &str, text: &str) {
        fs::write_atomic(&self.folder.path().join(path), text.as_bytes()).unwrap();
    }

    fn read(&self, path: &str) -> Option<String> {
        fs::read_if_exists(&self.folder.path().join(path)).unwrap()
    }

    fn execute(
        &self,
        command: impl Fn() -> Result<(), CommandError> + Sync,
    ) -> Result<Outcome, ExecuteError> {
        let mut workspace = Workspace::open(self.folder.path(), "test")?;
        workspace.wait = false;
        let runner = |_: &Attempt<'_>, _: &mut dyn Observer| command();
        let mut observer = |event: Event| {
            if let Event::Warning { message, .. } = event {
                self.warnings.lock().unwrap().push(message);
            }
        };
        let built = workspace.execute(&self.stage, &runner, &mut observer);
        workspace.save()?;
        built.map(|built| built.outcome)
    }

    /// The command that the tests take for right: b = a + "!".
    fn build(&self) -> Result<Outcome, ExecuteError> {
        self.execute(|| {
            self.write("b", &format!("{}!", self.read("a").unwrap()));
            Ok(())
        })
    }

    fn reasons(&self) -> Vec<String> {
        match Workspace::open(self.folder.path(), "test")
            .unwrap()
            .assess(&self.stage, &BTreeMap::new())
            .unwrap()
            .state
        {
            State::Fresh | State::Frozen => Vec::new(),
            State::Restorable { reasons, .. } | State::Stale { reasons } => {
                reasons.iter().map(ToString::to_string).collect()
            }
        }
    }
}

fn fail() -> CommandError {
    CommandError::Io(io::Error::other("no"))
}

#[test]
fn runs_once_then_is_fresh_then_comes_back_from_the_store() {
    let project = Project::new();
    assert_eq!(project.reasons(), ["it has not run yet"]);
    assert_eq!(project.build().unwrap(), Outcome::Ran);
    assert_eq!(project.build().unwrap(), Outcome::Fresh);
    project.write("a", "2");
    assert_eq!(project.reasons(), ["a changed"]);
    assert_eq!(project.build().unwrap(), Outcome::Ran);
    project.write("a", "1");
    assert_eq!(project.build().unwrap(), Outcome::Restored);
    assert_eq!(project.read("b").as_deref(), Some("1!"));
    assert_eq!(project.build().unwrap(), Outcome::Fresh);
}

#[test]
fn an_output_changed_by_hand_or_removed_is_seen_and_mended() {
    let project = Project::new();
    project.build().unwrap();
    project.write("b", "by hand");
    assert_eq!(project.reasons(), ["b was changed by something else"]);
    assert_eq!(project.build().unwrap(), Outcome::Restored);
    assert_eq!(project.read("b").as_deref(), Some("1!"));
    let kept = project.read(".krammerti/failed/test/build/replaced/b");
    assert_eq!(
        kept.as_deref(),
        Some("by hand"),
        "what is nowhere else is not deleted"
    );
    fs::remove(&project.folder.path().join("b")).unwrap();
    assert_eq!(project.reasons(), ["b is missing"]);
    assert_eq!(project.build().unwrap(), Outcome::Restored);
}

#[test]
fn a_failed_command_leaves_the_old_output_and_keeps_what_it_wrote() {
    let project = Project::new();
    project.build().unwrap();
    project.write("a", "2");
    let failed = project.execute(|| {
        assert_eq!(project.read("b"), None, "the old output is out of the way");
        project.write("b", "half");
        Err(fail())
    });
    assert!(failed.is_err());
    assert_eq!(project.read("b").as_deref(), Some("1!"));
    assert_eq!(
        project.read(".krammerti/failed/test/build/b").as_deref(),
        Some("half")
    );
    assert_eq!(project.build().unwrap(), Outcome::Ran);
}

#[test]
fn the_old_output_comes_back_where_what_failed_cannot_be_kept() {
    let mut project = Project::new();
    project.build().unwrap();
    project.stage.policy.retries = 1;
    project.write("a", "2");
    let fails = || {
        let tries = std::sync::atomic::AtomicU32::new(0);
        let failed = project.execute(|| {
            assert_eq!(project.read("b"), None, "the last try is out of the way");
            project.write("b", "half");
            tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Err(failed(true))
        });
        assert_eq!(
            failed.unwrap_err().to_string(),
            "`make-b` ended with exit code 1"
        );
        assert_eq!(
            (project.read("b").as_deref(), tries.into_inner()),
            (Some("1!"), 2)
        );
        std::mem::take(&mut *project.warnings.lock().unwrap())
    };
    // No folder can be made there.
    project.write(".krammerti/failed", "");
    let told = fails();
    let spare = ".krammerti/runs/test/build.failed/b";
    assert_eq!(project.read(spare).as_deref(), Some("half"));
    assert!(
        told[0].contains(&format!("is kept as {spare}: cannot create folder")),
        "{told:?}"
    );
    // Nor there.
    fs::remove(&project.folder.path().join(".krammerti/runs")).unwrap();
    project.write(".krammerti/runs", "");
    let told = fails();
    assert!(
        told.len() == 2 && told[1].contains("wrote to b was removed: cannot"),
        "{told:?}"
    );
    assert_eq!(project.build().unwrap(), Outcome::Ran);
}

#[test]
fn what_the_store_had_no_room_for_is_fresh_sound_and_goes_with_the_next_result() {
    let project = Project::new();
    project.build().unwrap();
    let open = || Workspace::open(project.folder.path(), "test").unwrap();
    let workspace = open();
    let key = workspace
        .assess(&project.stage, &BTreeMap::new())
        .unwrap()
        .key;
    let record = workspace.store.record(key).unwrap();
    let unstored = Record {
        unstored: ["b".to_owned()].into(),
        ..record.clone()
    };
    workspace.store.put_record(key, &unstored).unwrap();
    workspace
        .store
        .remove_object(record.outputs["b"].digest)
        .unwrap();
    assert_eq!(project.build().unwrap(), Outcome::Fresh);
    assert_eq!(
        open().unstored(open().lock.get("build").as_ref()),
        unstored.unstored
    );
    project.write("a", "2");
    assert_eq!(project.build().unwrap(), Outcome::Ran);
    let replaced = project.folder.path().join(".krammerti/failed");
    assert!(!fs::exists(&replaced), "it is nobody's own work");
    project.write("a", "1");
    assert_eq!(project.build().unwrap(), Outcome::Ran, "it is nowhere else");
    assert_eq!(open().store.record(key).unwrap().unstored, BTreeSet::new());
}

#[test]
fn a_fetch_that_asks_nobody_brings_nothing_newer() {
    let mut project = Project::new();
    project.stage.command.builtin = true;
    project.stage.command.words = ["krammerti", "fetch", "a"].map(str::to_owned).into();
    let fetched = |offline| {
        let mut workspace = Workspace::open(project.folder.path(), "test").unwrap();
        (workspace.offline, workspace.force) = (offline, true);
        let runner = |_: &Attempt<'_>, _: &mut dyn Observer| {
            project.write("b", "b");
            Ok(())
        };
        let built = workspace.execute(&project.stage, &runner, &mut |_: Event| {});
        let key = built.unwrap().key;
        (workspace.store.record(key).unwrap(), key, workspace)
    };
    assert_eq!(fetched(true).0.built, None, "nobody knows how old it is");
    let (record, key, workspace) = fetched(false);
    assert!(record.built.is_some());
    let old = Record {
        built: Some(5),
        ..record
    };
    workspace.store.put_record(key, &old).unwrap();
    assert_eq!(fetched(true).0.built, Some(5));
    assert!(fetched(false).0.built > Some(5));
}

#[test]
fn a_command_that_writes_nothing_has_failed() {
    let project = Project::new();
    project.build().unwrap();
    project.write("a", "2");
    assert!(matches!(
        project.execute(|| Ok(())),
        Err(ExecuteError::MissingOutput { .. })
    ));
    assert_eq!(project.read("b").as_deref(), Some("1!"));
}

#[test]
fn an_input_edited_meanwhile_taints_the_result() {
    let project = Project::new();
    let tainted = project.execute(|| {
        project.write("b", "1!");
        project.write("a", "2");
        Ok(())
    });
    assert!(matches!(tainted, Err(ExecuteError::Tainted { paths }) if paths == ["a"]));
    assert_eq!(project.read("b").as_deref(), Some("1!"), "the output stays");
    assert_eq!(
        project.reasons(),
        ["what it read changed while it last ran"]
    );
    project.write("a", "1");
    assert_eq!(
        project.build().unwrap(),
        Outcome::Ran,
        "nothing remembers it"
    );
    project.write("a", "2");
    let tainted = project.execute(|| {
        project.write("b", "half");
        project.write("a", "3");
        Ok(())
    });
    assert!(matches!(tainted, Err(ExecuteError::Tainted { .. })));
    assert_eq!(project.build().unwrap(), Outcome::Ran);
    let kept = project.read(".krammerti/failed/test/build/replaced/b");
    assert_eq!(kept, None, "what a stage itself left is nobody's own work");
    assert!(project.reasons().is_empty());
}

#[test]
fn a_killed_run_is_recovered_by_the_next() {
    let project = Project::new();
    project.build().unwrap();
    project.write("a", "2");
    let root = project.folder.path();
    let workspace = Workspace::open(root, "killed").unwrap();
    let aside = Aside::put(
        &workspace.aside(&project.stage),
        root,
        &project.stage,
        "killed",
        |_| true,
    )
    .unwrap();
    project.write("b", "half");
    std::mem::forget(aside);
    project.write("a", "1");
    assert_eq!(
        project.build().unwrap(),
        Outcome::Fresh,
        "the old output is back and right"
    );
    assert_eq!(project.read("b").as_deref(), Some("1!"));
    assert_eq!(
        project.read(".krammerti/failed/killed/build/b").as_deref(),
        Some("half")
    );
}

#[test]
fn a_run_killed_before_it_moved_anything_loses_nothing() {
    let project = Project::new();
    project.build().unwrap();
    let root = project.folder.path();
    let workspace = Workspace::open(root, "killed").unwrap();
    let folder = workspace.aside(&project.stage);
    fs::write_atomic(
        &folder.join("note.json"),
        br#"{"run":"killed","outputs":[{"path":"b","existed":true,"stored":true}]}"#,
    )
    .unwrap();
    workspace
        .recover(&project.stage, &mut |_: Event| {})
        .unwrap();
    assert_eq!(project.read("b").as_deref(), Some("1!"));
    assert!(!folder.exists());
}

#[test]
fn a_killed_run_that_was_done_hides_nothing_of_what_it_replaced() {
    let project = Project::new();
    project.write("b", "by hand");
    let root = project.folder.path();
    let workspace = Workspace::open(root, "killed").unwrap();
    let folder = workspace.aside(&project.stage);
    let aside = Aside::put(&folder, root, &project.stage, "killed", |_| false).unwrap();
    // It got as far as the lock.
    std::mem::forget(aside);
    fs::rename(&folder, &root.join("meanwhile")).unwrap();
    project.build().unwrap();
    fs::rename(&root.join("meanwhile"), &folder).unwrap();

    let workspace = Workspace::open(root, "next").unwrap();
    let mut told = Vec::new();
    let mut observer = |event: Event| told.push(event);
    workspace.recover(&project.stage, &mut observer).unwrap();
    assert_eq!(project.read("b").as_deref(), Some("1!"));
    let place = ".krammerti/failed/killed/build/replaced/b";
    assert_eq!(project.read(place).as_deref(), Some("by hand"));
    let [Event::Warning { message, .. }] = told.as_slice() else {
        panic!("{told:?}");
    };
    assert!(message.contains(place), "{message}");
}

#[test]
fn a_run_killed_while_it_put_things_back_loses_nothing() {
    let project = Project::new();
    project.build().unwrap();
    let root = project.folder.path();
    let workspace = Workspace::open(root, "killed").unwrap();
    let folder = workspace.aside(&project.stage);
    let aside = Aside::put(&folder, root, &project.stage, "killed", |_| true).unwrap();
    std::mem::forget(aside);
    project.write("b", "by hand");
    // The first two steps of putting it back.
    fs::rename(&root.join("b"), &folder.join("0.new")).unwrap();
    fs::rename(&folder.join("0"), &root.join("b")).unwrap();
    assert_eq!(project.build().unwrap(), Outcome::Fresh);
    let kept = project.read(".krammerti/failed/killed/build/replaced/b");
    assert_eq!(kept.as_deref(), Some("by hand"));
}

#[test]
fn a_held_output_is_busy() {
    let project = Project::new();
    let other = Workspace::open(project.folder.path(), "other").unwrap();
    let held = other
        .hold_outputs(&project.stage, &mut |_: Event| {})
        .unwrap();
    assert!(matches!(project.build(), Err(ExecuteError::Busy { .. })));
    drop(held);
    assert_eq!(project.build().unwrap(), Outcome::Ran);
}

#[test]
fn a_missing_input_is_named() {
    let project = Project::new();
    fs::remove(&project.folder.path().join("a")).unwrap();
    assert_eq!(
        project.build().unwrap_err().to_string(),
        "input a does not exist"
    );
}

fn failed(may_pass: bool) -> CommandError {
    let failed = super::super::Failed {
        program: "make-b".into(),
        status: "exit code 1".into(),
        code: Some(1),
        signal: None,
        message: None,
        hint: None,
        log_tail: String::new(),
        log: "log".into(),
        may_pass,
        strict: None,
    };
    Box::new(failed).into()
}

#[test]
fn a_failure_is_tried_again_without_what_it_wrote() {
    use std::sync::atomic::{AtomicU32, Ordering};
    let mut project = Project::new();
    project.stage.policy.retries = 2;
    let tries = AtomicU32::new(0);
    let outcome = project.execute(|| {
        assert_eq!(project.read("b"), None);
        project.write("b", "1!");
        match tries.fetch_add(1, Ordering::Relaxed) {
            2 => Ok(()),
            _ => Err(failed(true)),
        }
    });
    assert_eq!((outcome.unwrap(), tries.into_inner()), (Outcome::Ran, 3));

    let tries = AtomicU32::new(0);
    project.write("a", "2");
    let outcome = project.execute(|| {
        tries.fetch_add(1, Ordering::Relaxed);
        Err(failed(false))
    });
    assert!(outcome.is_err() && tries.into_inner() == 1);
    assert_eq!(project.read("b").as_deref(), Some("1!"));
}

#[test]
fn frozen_always_and_fresh_for() {
    let mut project = Project::new();
    project.stage.policy.frozen = true;
    let error = project.build().unwrap_err().to_string();
    assert_eq!(
        error,
        "it is frozen, and b is neither there nor in the store"
    );
    project.stage.policy.frozen = false;
    project.build().unwrap();

    project.stage.policy.frozen = true;
    project.write("a", "2");
    assert_eq!(project.build().unwrap(), Outcome::Fresh);
    fs::remove(&project.folder.path().join("b")).unwrap();
    assert_eq!(project.build().unwrap(), Outcome::Restored);
    assert_eq!(project.read("b").as_deref(), Some("1!"));

    project.stage.policy.frozen = false;
    project.stage.policy.always = true;
    project.write("a", "1");
    assert_eq!(project.build().unwrap(), Outcome::Ran);
    assert_eq!(project.reasons(), ["it always runs"]);

    project.stage.policy.always = false;
    project.stage.policy.fresh_for = Some(Duration::from_hours(1));
    assert_eq!(project.build().unwrap(), Outcome::Fresh);
    project.stage.policy.fresh_for = Some(Duration::ZERO);
    assert_eq!(project.build().unwrap(), Outcome::Ran);
    let reasons = project.reasons();
    assert!(reasons[0].starts_with("its result is"), "{reasons:?}");
}

#[test]
fn what_is_not_to_be_stored_is_not_but_stays_fresh() {
    let mut project = Project::new();
    project.stage.uncached = project.stage.outputs.clone();
    project.build().unwrap();
    assert_eq!(project.build().unwrap(), Outcome::Fresh);
    let objects = project.folder.path().join(".krammerti/store/objects");
    assert!(!fs::exists(&objects));
    fs::remove(&project.folder.path().join("b")).unwrap();
    assert_eq!(project.build().unwrap(), Outcome::Ran);
    project.write("a", "2");
    assert_eq!(project.build().unwrap(), Outcome::Ran);
    assert!(!fs::exists(
        &project.folder.path().join(".krammerti/failed")
    ));
}

#[test]
fn a_changed_folder_tells_which_of_its_files() {
    let mut project = Project::new();
    project.stage.inputs = [ProjectPath::new("in").unwrap()].into();
    for file in ["in/same", "in/edited", "in/gone"] {
        project.write(file, "1");
    }
    project.build().unwrap();
    project.write("in/edited", "2");
    project.write("in/new", "1");
    fs::remove(&project.folder.path().join("in/gone")).unwrap();
    let workspace = Workspace::open(project.folder.path(), "test").unwrap();
    let state = workspace
        .assess(&project.stage, &BTreeMap::new())
        .unwrap()
        .state;
    let State::Stale { reasons } = state else {
        panic!("{state:?}")
    };
    let told = workspace.explain(reasons)[0].to_string();
    assert_eq!(told, "in changed: edited changed, gone is gone, new is new");
}

#[test]
fn a_lost_lock_is_made_anew_from_the_records() {
    let project = Project::new();
    project.build().unwrap();
    let lock = project.folder.path().join("pipeline.lock");
    let before = fs::read_to_string(&lock).unwrap();
    fs::remove(&lock).unwrap();
    assert_eq!(project.build().unwrap(), Outcome::Fresh);
    assert_eq!(fs::read_to_string(&lock).unwrap(), before);
}

#[test]
fn own_work_is_kept_where_a_restore_ends_half_way() {
    let mut project = Project::new();
    project.stage.outputs = ["b", "c"]
        .map(|path| ProjectPath::new(path).unwrap())
        .into();
    let both = |text: &str| {
        project.write("b", text);
        project.write("c", &format!("c{text}"));
    };
    let run = || {
        project.execute(|| {
            both(&format!("{}!", project.read("a").unwrap()));
            Ok(())
        })
    };
    run().unwrap();
    project.write("a", "2");
    run().unwrap();
    // Back to the first result, of which one object is damaged; `b` was edited by hand.
    project.write("a", "1");
    project.write("b", "by hand");
    let objects = project.folder.path().join(".krammerti/store/objects");
    let damaged = Digest::of(b"c1!").to_string();
    let object = objects.join(&damaged[..2]).join(&damaged[2..]);
    fs::remove(&object).unwrap();
    fs::write_atomic(&object, b"c1?").unwrap();
    assert_eq!(run().unwrap(), Outcome::Ran);
    assert_eq!(project.read("c").as_deref(), Some("c1!"));
    let kept = project.read(".krammerti/failed/test/build/replaced/b");
    assert_eq!(kept.as_deref(), Some("by hand"));
}

#[test]
fn old_outputs_come_back_where_their_stage_is_no_more_or_its_note_was_lost() {
    let project = Project::new();
    project.build().unwrap();
    let root = project.folder.path();
    let workspace = Workspace::open(root, "killed").unwrap();
    let folder = workspace.aside(&project.stage);
    let put = || Aside::put(&folder, root, &project.stage, "killed", |_| true).unwrap();
    std::mem::forget(put());
    assert_eq!(project.read("b"), None);
    workspace.recover_others(&[], &mut |_: Event| {}).unwrap();
    assert_eq!(project.read("b").as_deref(), Some("1!"));

    std::mem::forget(put());
    fs::write_atomic(&folder.join("note.json"), b"").unwrap();
    assert_eq!(project.build().unwrap(), Outcome::Restored);
    assert_eq!(project.read("b").as_deref(), Some("1!"));
}
