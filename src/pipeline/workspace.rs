//! A project's files as the runner sees them: what is there, and where the runner keeps its own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::lock::{Entry, SharedLock};
use super::{ExecuteError, KeyParts, ProjectPath, Stage};
use crate::artifact::{Artifact, Digest, StatCache, Store};
use crate::fs::{self, private};

/// The folder of a stage's failed tries that has own work which it replaced.
pub(super) const REPLACED: &str = "replaced";

/// A project's files. Shared by all that work for one run.
pub struct Workspace {
    pub(super) root: PathBuf,
    pub(super) private: PathBuf,
    pub(super) store: Store,
    pub(super) cache: StatCache,
    pub(super) lock: SharedLock,
    /// Whether to wait for another run that holds an output.
    pub wait: bool,
    /// Whether commands run although nothing changed.
    pub force: bool,
    /// Whether fetches ask nobody: what they bring is as old as before.
    pub offline: bool,
    /// Names this run under `.krammerti/runs/` and `.krammerti/failed/`.
    pub run: String,
}

impl Workspace {
    /// Opens the project in a folder. Creates nothing.
    pub fn open(root: &Path, run: &str) -> Result<Self, ExecuteError> {
        Ok(Self {
            root: root.to_owned(),
            store: Store::new(&root.join(private::STORE)),
            cache: StatCache::load(&root.join(private::STAT_CACHE)),
            lock: SharedLock::open(&root.join("pipeline.lock"), &root.join(private::LOCKS))?,
            private: root.join(private::FOLDER),
            wait: true,
            force: false,
            offline: false,
            run: run.to_owned(),
        })
    }

    /// Nothing of the private folder belongs into git. What cannot be written harms nobody.
    pub fn keep_out_of_git(&self) {
        let path = self.private.join(".gitignore");
        if !fs::exists(&path) {
            let _ = fs::create_dir_all(&self.private)
                .and_then(|()| fs::write_atomic(&path, b"# Made by krammerti.\n*\n"));
        }
    }

    /// Removes what killed processes left half written beside the outputs of stages and the lock.
    /// What cannot be removed harms nobody.
    pub fn sweep(&self, stages: &[&Stage]) {
        let outputs = stages.iter().flat_map(|stage| &stage.outputs);
        let places = outputs.map(|path| path.in_root(&self.root));
        let mut folders: BTreeSet<PathBuf> =
            places.map(|path| fs::parent(&path).to_owned()).collect();
        folders.insert(self.root.clone());
        for folder in &folders {
            for name in fs::list(folder).unwrap_or_default() {
                if fs::is_abandoned(&name) {
                    let _ = fs::remove(&folder.join(name));
                }
            }
        }
    }

    /// Where a run keeps its logs.
    pub fn run_folder(&self) -> PathBuf {
        self.root.join(private::RUNS).join(&self.run)
    }

    /// Writes what is to be kept for the next run: what was hashed, then what went into the store,
    /// then the lock that speaks of it.
    pub fn save(&self) -> Result<(), ExecuteError> {
        self.cache.save();
        self.lock.flush(|| self.store.flush())?;
        Ok(self.store.flush()?)
    }

    /// Remembers what a stage read and wrote. It is written at the end, and now and then before.
    pub(super) fn note(&self, stage: &Stage, entry: Option<Entry>) -> Result<(), ExecuteError> {
        if self.lock.set(&stage.name, entry) {
            self.save()?;
        }
        Ok(())
    }

    pub(super) fn locks(&self) -> PathBuf {
        self.root.join(private::LOCKS)
    }

    /// Where old outputs of a stage are while it runs. Named by its outputs, since commands run by
    /// hand have no name of their own.
    pub(super) fn aside(&self, stage: &Stage) -> PathBuf {
        self.place_of(stage, "aside")
    }

    /// Where something is kept of a stage, in a private folder of that name.
    pub(super) fn place_of(&self, stage: &Stage, folder: &str) -> PathBuf {
        let outputs: Vec<&str> = stage.outputs.iter().map(ProjectPath::as_str).collect();
        let place = Digest::of(outputs.join("\n").as_bytes());
        self.private.join(folder).join(place.to_string())
    }

    /// Where what a stage wrote in vain goes.
    pub(super) fn failed(&self, stage: &Stage) -> PathBuf {
        self.failed_in(&self.run, stage)
    }

    /// Where what a stage wrote in vain in some run goes.
    pub(super) fn failed_in(&self, run: &str, stage: &Stage) -> PathBuf {
        self.root.join(private::FAILED).join(run).join(&stage.name)
    }

    /// Where old outputs go whose note says nothing any more.
    pub(super) fn without_note(&self) -> PathBuf {
        self.root.join(private::FAILED).join(&self.run).join("lost")
    }

    /// Where own work that a stage replaced goes.
    pub(super) fn replaced(&self, stage: &Stage) -> PathBuf {
        self.failed(stage).join(REPLACED)
    }

    /// What lies at a path of the project.
    pub(super) fn at(&self, path: &ProjectPath) -> Result<Option<Artifact>, ExecuteError> {
        Ok(self.cache.artifact(&path.in_root(&self.root))?)
    }

    pub(super) fn present_outputs(
        &self,
        stage: &Stage,
    ) -> Result<BTreeMap<String, Artifact>, ExecuteError> {
        let mut present = BTreeMap::new();
        for path in &stage.outputs {
            if let Some(artifact) = self.at(path)? {
                present.insert(path.to_string(), artifact);
            }
        }
        Ok(present)
    }

    /// Everything that decides a stage's result, as it is now. `known` tells of inputs that are
    /// about to be restored.
    pub(super) fn key_parts(
        &self,
        stage: &Stage,
        known: &BTreeMap<String, Artifact>,
    ) -> Result<KeyParts, ExecuteError> {
        let mut inputs = BTreeMap::new();
        for path in &stage.inputs {
            let artifact = match known.get(path.as_str()) {
                Some(&artifact) => artifact,
                None => self
                    .at(path)?
                    .ok_or_else(|| ExecuteError::MissingInput { path: path.clone() })?,
            };
            inputs.insert(path.to_string(), artifact);
        }
        Ok(KeyParts::of(stage, inputs, environment(stage)))
    }
}

/// The variables of the environment that a stage names. Only digests of their values go further.
fn environment(stage: &Stage) -> BTreeMap<String, Option<Digest>> {
    use std::os::unix::ffi::OsStrExt;
    let value = |name: &String| std::env::var_os(name).map(|value| Digest::of(value.as_bytes()));
    stage
        .env
        .iter()
        .map(|name| (name.clone(), value(name)))
        .collect()
}
