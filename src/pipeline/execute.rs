//! One stage, from hashed inputs to record: the only path by which anything is built.
//!
//! # Protocol
//! 1. Hash the inputs (through the stat cache) and form the key.
//! 2. Take a kernel lock on each output, so that two runs never write one place; a crash leaves
//!    nothing to unlock.
//! 3. Key as in the lock file and outputs as recorded: fresh, touch nothing. Key known to the store:
//!    bring back what the workspace lacks, run nothing.
//! 4. Otherwise move old outputs aside, after writing down what goes where, and run the command.
//! 5. Hash the inputs again. One that changed meanwhile taints the result: it stays, but is recorded
//!    nowhere.
//! 6. Hash the outputs, put them into the store, then the record; drop the old outputs; write the
//!    lock file.
//!
//! A command that fails leaves what it wrote under `.krammerti/failed/` and finds the old outputs
//! back in their place. kill -9 at any point leaves the note of step 4, from which the next run
//! finds the old outputs; nothing needs repair.
//!
//! Rejected: writing outputs to a scratch place and moving them in at the end. It protects old
//! outputs as well, but a command that names its outputs in its arguments would have to be told
//! other paths.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::aside::Aside;
use super::lock::{Entry, Lock, LockError};
use super::{CommandError, KeyParts, ProjectPath, Stage, StaleReason};
use super::{hold, process};
use crate::artifact::{Artifact, Digest, Record, StatCache, Store};
use crate::event::{Event, Observer, Outcome};
use crate::fs;
/// What a stage can be, seen from its inputs and outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing changed.
    Fresh,
    /// The result is in the store.
    Restorable {
        /// Why the workspace does not have it.
        reasons: Vec<StaleReason>,
        /// What it is.
        record: Record,
    },
    /// It must run.
    Stale {
        /// Why.
        reasons: Vec<StaleReason>,
    },
}

/// A stage with its key and state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assessment {
    /// What decides its result.
    pub parts: KeyParts,
    /// The hash of the parts.
    pub key: Digest,
    /// What is to be done.
    pub state: State,
}

/// What can go wrong with one stage.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// An input is neither there nor made by a stage.
    #[error("input {path} does not exist")]
    MissingInput {
        /// The input.
        path: ProjectPath,
    },
    /// The command succeeded but an output is not there.
    #[error("the command ended well but did not write {path}")]
    MissingOutput {
        /// The output.
        path: ProjectPath,
    },
    /// An input changed while the command ran.
    #[error("{} changed while the stage ran, so its result is not recorded", .paths.join(", "))]
    Tainted {
        /// The inputs.
        paths: Vec<String>,
    },
    /// Another run holds an output.
    #[error("another run is writing {path}")]
    Busy {
        /// The output.
        path: ProjectPath,
    },
    /// The command failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The lock file is not readable.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Files could not be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A project's files as the runner sees them.
pub struct Workspace {
    root: PathBuf,
    private: PathBuf,
    store: Store,
    cache: StatCache,
    lock: Lock,
    /// Whether to wait for another run that holds an output.
    pub wait: bool,
    /// Whether commands run although nothing changed.
    pub force: bool,
    /// Names this run under `.krammerti/runs/` and `.krammerti/failed/`.
    pub run: String,
}

/// Runs the command of a stage: a process, or a mock in a test.
pub type Runner<'a> = dyn FnMut(&Stage, &mut dyn Observer) -> Result<(), CommandError> + 'a;

impl Workspace {
    /// Opens the project in a folder. Creates nothing.
    pub fn open(root: &Path, run: &str) -> Result<Self, ExecuteError> {
        let private = root.join(".krammerti");
        Ok(Self {
            root: root.to_owned(),
            store: Store::new(&private.join("store")),
            cache: StatCache::load(&private.join("stat-cache")),
            lock: Lock::load(&root.join("pipeline.lock"))?,
            private,
            wait: true,
            force: false,
            run: run.to_owned(),
        })
    }

    /// Where a run keeps its logs.
    pub fn run_folder(&self) -> PathBuf {
        self.private.join("runs").join(&self.run)
    }

    /// What is to be done for a stage, given its inputs as they are now.
    pub fn assess(&mut self, stage: &Stage) -> Result<Assessment, ExecuteError> {
        let mut inputs = BTreeMap::new();
        for path in &stage.inputs {
            let artifact = self
                .cache
                .artifact(&path.in_root(&self.root))?
                .ok_or_else(|| ExecuteError::MissingInput { path: path.clone() })?;
            inputs.insert(path.to_string(), artifact);
        }
        let parts = KeyParts::of(stage, inputs);
        let key = parts.key();
        let present = self.present_outputs(stage)?;
        let entry = if stage.recorded {
            self.lock.get(&stage.name)
        } else {
            None
        };
        let locked = entry.map(|entry| (entry.key_parts(), entry.wrote.clone()));
        let state = match locked {
            Some((old, wrote)) if old == parts && wrote == present => State::Fresh,
            locked => {
                let reasons = stale_reasons(locked.as_ref(), &parts, &present);
                match self.store.find(key) {
                    Some(record) if record.outputs == present && !stage.recorded => State::Fresh,
                    Some(record) => State::Restorable { reasons, record },
                    None => State::Stale { reasons },
                }
            }
        };
        Ok(Assessment { parts, key, state })
    }

    fn present_outputs(
        &mut self,
        stage: &Stage,
    ) -> Result<BTreeMap<String, Artifact>, ExecuteError> {
        let mut present = BTreeMap::new();
        for path in &stage.outputs {
            if let Some(artifact) = self.cache.artifact(&path.in_root(&self.root))? {
                present.insert(path.to_string(), artifact);
            }
        }
        Ok(present)
    }

    /// Brings a stage up to date: leaves it, restores it, or runs it. `started` is told the reasons
    /// before a command runs.
    pub fn execute(
        &mut self,
        stage: &Stage,
        runner: &mut Runner<'_>,
        observer: &mut dyn Observer,
        started: &mut dyn FnMut(&[StaleReason], &mut dyn Observer),
    ) -> Result<Outcome, ExecuteError> {
        let assessment = self.assess_when_ready(stage, observer)?;
        if !self.force && assessment.state == State::Fresh && !Aside::is_in(&self.aside(stage)) {
            return Ok(Outcome::Fresh);
        }
        let _held = self.hold_outputs(stage, observer)?;
        // Whoever held the outputs may have built just this.
        self.lock = Lock::load(&self.root.join("pipeline.lock"))?;
        self.recover(stage)?;
        let mut assessment = self.assess(stage)?;
        if self.force {
            assessment.state = State::Stale {
                reasons: vec![StaleReason::Forced],
            };
        }
        match assessment.state {
            State::Fresh => Ok(Outcome::Fresh),
            State::Restorable {
                ref record,
                ref reasons,
            } => {
                let restored = self.restore(stage, &assessment.parts, record);
                let Err(error) = restored else {
                    return Ok(Outcome::Restored);
                };
                // What cannot be brought back can still be built.
                let message = format!("cannot restore {}: {error}", stage.name);
                observer.event(Event::Note { message });
                started(reasons, observer);
                self.build(stage, &assessment, runner, observer)?;
                Ok(Outcome::Ran)
            }
            State::Stale { ref reasons } => {
                started(reasons, observer);
                self.build(stage, &assessment, runner, observer)?;
                Ok(Outcome::Ran)
            }
        }
    }

    fn restore(
        &mut self,
        stage: &Stage,
        parts: &KeyParts,
        record: &Record,
    ) -> Result<(), ExecuteError> {
        let present = self.present_outputs(stage)?;
        for (path, &artifact) in &record.outputs {
            let (old, place) = (present.get(path), self.root.join(path));
            if old == Some(&artifact) {
                continue;
            }
            if old.is_some_and(|&old| !self.store.has(old)) {
                // Somebody's own work, and nowhere else.
                let kept = self.failed(stage).join("replaced").join(path);
                fs::remove(&kept)?;
                fs::rename(&place, &kept)?;
            }
            self.store.restore(artifact, &place)?;
        }
        self.write_lock(
            stage,
            stage
                .recorded
                .then(|| Entry::new(parts, record.outputs.clone())),
        )
    }

    fn build(
        &mut self,
        stage: &Stage,
        assessment: &Assessment,
        runner: &mut Runner<'_>,
        observer: &mut dyn Observer,
    ) -> Result<(), ExecuteError> {
        let present = self.present_outputs(stage)?;
        let stored = |path: &ProjectPath| {
            present
                .get(path.as_str())
                .is_some_and(|&old| self.store.has(old))
        };
        let aside = Aside::put(&self.aside(stage), &self.root, stage, &self.run, stored)?;
        let replaced = self.failed(stage).join("replaced");
        match self.make(stage, assessment, runner, observer) {
            Ok(outputs) => {
                // The record stands, so from here on even a kill loses nothing.
                aside.forget_but_keep_unknown(&replaced)?;
                let entry = stage
                    .recorded
                    .then(|| Entry::new(&assessment.parts, outputs));
                self.write_lock(stage, entry)
            }
            Err(tainted @ ExecuteError::Tainted { .. }) => {
                aside.forget_but_keep_unknown(&replaced)?;
                self.write_lock(stage, None)?;
                Err(tainted)
            }
            Err(error) => {
                aside.put_back(&self.failed(stage))?;
                Err(error)
            }
        }
    }

    /// Runs the command; stores and records what it made.
    fn make(
        &mut self,
        stage: &Stage,
        assessment: &Assessment,
        runner: &mut Runner<'_>,
        observer: &mut dyn Observer,
    ) -> Result<BTreeMap<String, Artifact>, ExecuteError> {
        self.prepare_folders(stage)?;
        runner(stage, observer)?;
        let outputs = self.outputs(stage)?;
        let tainted = self.changed_inputs(stage, &assessment.parts)?;
        if !tainted.is_empty() {
            return Err(ExecuteError::Tainted { paths: tainted });
        }
        for (path, &artifact) in &outputs {
            let place = self.root.join(path);
            self.store.insert(&place, artifact, &self.cache)?;
        }
        let record = Record {
            outputs: outputs.clone(),
            built: None,
        };
        self.store.put_record(assessment.key, &record)?;
        Ok(outputs)
    }

    /// The folder of each output exists before its command runs.
    fn prepare_folders(&self, stage: &Stage) -> io::Result<()> {
        stage
            .outputs
            .iter()
            .try_for_each(|path| fs::create_dir_all(fs::parent(&path.in_root(&self.root))))
    }

    fn outputs(&mut self, stage: &Stage) -> Result<BTreeMap<String, Artifact>, ExecuteError> {
        let outputs = self.present_outputs(stage)?;
        match stage
            .outputs
            .iter()
            .find(|path| !outputs.contains_key(path.as_str()))
        {
            Some(path) => Err(ExecuteError::MissingOutput { path: path.clone() }),
            None => Ok(outputs),
        }
    }

    fn changed_inputs(
        &mut self,
        stage: &Stage,
        parts: &KeyParts,
    ) -> Result<Vec<String>, ExecuteError> {
        let mut changed = Vec::new();
        for path in &stage.inputs {
            let now = self.cache.artifact(&path.in_root(&self.root))?;
            if now.as_ref() != parts.inputs.get(path.as_str()) {
                changed.push(path.to_string());
            }
        }
        Ok(changed)
    }

    fn write_lock(&mut self, stage: &Stage, entry: Option<Entry>) -> Result<(), ExecuteError> {
        if stage.recorded {
            let _held = hold::hold(&self.locks(), "pipeline.lock", || Ok(()))?;
            self.lock.update(&stage.name, entry)?;
        }
        self.cache.save();
        Ok(())
    }

    /// Keeps what was hashed for the next run.
    pub fn save_cache(&mut self) {
        self.cache.save();
    }

    fn locks(&self) -> PathBuf {
        self.private.join("locks")
    }

    fn aside(&self, stage: &Stage) -> PathBuf {
        self.private
            .join("aside")
            .join(Digest::of(stage_place(stage).as_bytes()).to_string())
    }

    fn failed(&self, stage: &Stage) -> PathBuf {
        self.private
            .join("failed")
            .join(&self.run)
            .join(&stage.name)
    }

    /// Ends what a killed run left running, puts back the outputs that it had moved aside, and
    /// removes what it left half written.
    fn recover(&mut self, stage: &Stage) -> Result<(), ExecuteError> {
        for path in &stage.outputs {
            fs::remove_partials(&path.in_root(&self.root))?;
        }
        if let Some(aside) = Aside::find(&self.aside(stage), &self.root)? {
            process::kill_run(aside.run())?;
            if self.assess(stage)?.state == State::Fresh {
                // It was killed after the last step that counts.
                aside.forget_but_keep_unknown(&self.failed(stage).join("replaced"))?;
            } else {
                aside.put_back(&self.failed(stage))?;
            }
        }
        Ok(())
    }

    /// Assesses a stage; an input that another run is just building is waited for.
    fn assess_when_ready(
        &mut self,
        stage: &Stage,
        observer: &mut dyn Observer,
    ) -> Result<Assessment, ExecuteError> {
        match self.assess(stage) {
            Err(ExecuteError::MissingInput { path }) => {
                self.hold_place(stage, &path, observer)?;
                self.assess(stage)
            }
            other => other,
        }
    }

    /// A kernel lock on every output, held until dropped.
    fn hold_outputs(
        &self,
        stage: &Stage,
        observer: &mut dyn Observer,
    ) -> Result<Vec<File>, ExecuteError> {
        stage
            .outputs
            .iter()
            .map(|path| self.hold_place(stage, path, observer))
            .collect()
    }

    /// A kernel lock on one output. Says once whom it waits for, or gives up.
    fn hold_place(
        &self,
        stage: &Stage,
        path: &ProjectPath,
        observer: &mut dyn Observer,
    ) -> Result<File, ExecuteError> {
        let mut told = false;
        hold::hold(&self.locks(), path.as_str(), || {
            if !self.wait {
                return Err(ExecuteError::Busy { path: path.clone() });
            }
            if !told {
                told = true;
                let message = format!(
                    "{}: waiting for another run, which is writing {path}",
                    stage.name
                );
                observer.event(Event::Note { message });
            }
            Ok(())
        })
    }
}

/// What names a stage's place among those set aside: its outputs, since commands run by hand have
/// no name of their own.
fn stage_place(stage: &Stage) -> String {
    stage
        .outputs
        .iter()
        .map(ProjectPath::as_str)
        .collect::<Vec<_>>()
        .join("\n")
}

fn stale_reasons(
    locked: Option<&(KeyParts, BTreeMap<String, Artifact>)>,
    parts: &KeyParts,
    present: &BTreeMap<String, Artifact>,
) -> Vec<StaleReason> {
    let Some((old, wrote)) = locked else {
        return vec![StaleReason::NeverRan];
    };
    let mut reasons = StaleReason::between(old, parts);
    for (path, artifact) in wrote {
        match present.get(path) {
            None => reasons.push(StaleReason::OutputMissing { path: path.clone() }),
            Some(found) if found != artifact => {
                reasons.push(StaleReason::OutputChanged { path: path.clone() });
            }
            Some(_) => {}
        }
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::super::StageCommand;
    use super::*;

    /// A project in which `build` turns `a` into `b` by a command that a test plays.
    struct Project {
        folder: tempfile::TempDir,
        stage: Stage,
    }

    impl Project {
        fn new() -> Self {
            let path = |path| [ProjectPath::new(path).unwrap()].into();
            let stage = Stage {
                name: "build".into(),
                command: StageCommand {
                    words: vec!["make-b".into()],
                    builtin: false,
                },
                inputs: path("a"),
                outputs: path("b"),
                params: BTreeMap::new(),
                recorded: true,
            };
            let project = Self {
                folder: tempfile::tempdir().unwrap(),
                stage,
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
            mut command: impl FnMut() -> Result<(), CommandError>,
        ) -> Result<Outcome, ExecuteError> {
            let mut workspace = Workspace::open(self.folder.path(), "test")?;
            workspace.wait = false;
            workspace.execute(
                &self.stage,
                &mut |_: &Stage, _: &mut dyn Observer| command(),
                &mut |_: Event| {},
                &mut |_, _| {},
            )
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
                .assess(&self.stage)
                .unwrap()
                .state
            {
                State::Fresh => Vec::new(),
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
        project.write("a", "1");
        assert_eq!(
            project.build().unwrap(),
            Outcome::Ran,
            "but nothing remembers it"
        );
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
            project.read(".krammerti/failed/test/build/b").as_deref(),
            Some("half")
        );
    }

    #[test]
    fn a_run_killed_before_it_moved_anything_loses_nothing() {
        let project = Project::new();
        project.build().unwrap();
        let root = project.folder.path();
        let mut workspace = Workspace::open(root, "killed").unwrap();
        let folder = workspace.aside(&project.stage);
        fs::write_atomic(
            &folder.join("note.json"),
            br#"{"run":"killed","outputs":[{"path":"b","existed":true,"stored":true}]}"#,
        )
        .unwrap();
        workspace.recover(&project.stage).unwrap();
        assert_eq!(project.read("b").as_deref(), Some("1!"));
        assert!(!folder.exists());
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
}
