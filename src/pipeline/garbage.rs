//! What the store and the run folders hold and nobody needs: found first, removed only when asked.
//!
//! Needed is what `pipeline.lock` says that stages read and wrote, with the log of how, and what the last runs used. All
//! else can be built again at worst. Nothing is looked for while a run is at work, and no run begins
//! while something is removed: both take the same kernel lock.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::lock::Entry;
use super::workspace::REPLACED;
use super::{ExecuteError, PastRuns, ProjectPath, Workspace, hold};
use crate::artifact::{Artifact, Digest, Kind};
use crate::fs;
use crate::time::parse_time;

/// What can go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Garbage {
    /// Objects, with their bytes.
    pub objects: Vec<(Digest, u64)>,
    /// Build records.
    pub records: Vec<Digest>,
    /// Journals and logs of older runs, with their bytes.
    pub runs: Vec<(PathBuf, u64)>,
    /// What failed tries of older runs wrote.
    pub failed: Vec<(PathBuf, u64)>,
    /// Checkpoints of trainings that nobody took up again in the runs that are kept.
    pub checkpoints: Vec<(PathBuf, u64)>,
    /// What killed processes left half written.
    pub leftovers: Vec<(PathBuf, u64)>,
    /// A person's own work that stages of older runs replaced. It is nowhere else, so it stays.
    pub replaced: Vec<(PathBuf, u64)>,
    /// How many objects stay.
    pub kept_objects: usize,
    /// Their bytes.
    pub kept_bytes: u64,
}

impl Garbage {
    /// All bytes that would be free.
    pub fn bytes(&self) -> u64 {
        let objects = self.objects.iter().map(|&(_, bytes)| bytes);
        objects.chain(self.files().map(|&(_, bytes)| bytes)).sum()
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.objects.len() + self.records.len() + self.files().count() == 0
    }

    /// Adds what the stages of a run wrote in vain, and tells it from what they replaced.
    fn add_tries(&mut self, run: &Path) -> io::Result<()> {
        let sized = |path: PathBuf| fs::disk_usage(&path).map(|bytes| (path, bytes));
        let within = |folder: &Path| -> io::Result<Vec<PathBuf>> {
            let names = fs::list(folder)?.into_iter();
            Ok(names.map(|name| folder.join(name)).collect())
        };
        let stages = within(run)?;
        if !stages.iter().any(|stage| fs::exists(&stage.join(REPLACED))) {
            self.failed.push(sized(run.to_owned())?);
            return Ok(());
        }
        for stage in stages {
            let own = stage.join(REPLACED);
            if !fs::exists(&own) {
                self.failed.push(sized(stage)?);
                continue;
            }
            for part in within(&stage)?.into_iter().filter(|part| *part != own) {
                self.failed.push(sized(part)?);
            }
            self.replaced.push(sized(own)?);
        }
        Ok(())
    }

    /// What lies outside the store's objects and records.
    fn files(&self) -> impl Iterator<Item = &(PathBuf, u64)> {
        let files = self.leftovers.iter().chain(&self.failed);
        files.chain(&self.checkpoints).chain(&self.runs)
    }
}

impl Workspace {
    /// Keeps every run from the store while garbage is looked for and removed.
    pub fn hold_store(&self) -> Result<File, ExecuteError> {
        hold::hold(&self.locks(), hold::STORE, || self.store_is_busy())
    }

    /// The same where nothing is to be removed, also where one may only read. `None` where no run can be kept away.
    pub fn hold_store_to_look(&self) -> Result<Option<File>, ExecuteError> {
        use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
        match self.hold_store() {
            Err(ExecuteError::Io(error))
                if matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem) =>
            {
                hold::hold_readable(&self.locks(), hold::STORE, || self.store_is_busy())
            }
            held => held.map(Some),
        }
    }

    /// Keeps what this run uses from being removed.
    pub fn share_store(&self) -> Result<File, ExecuteError> {
        hold::share(&self.locks(), hold::STORE, || self.store_is_busy())
    }

    fn store_is_busy(&self) -> Result<(), ExecuteError> {
        if self.wait {
            return Ok(());
        }
        let path = ProjectPath::new(fs::private::STORE).map_err(io::Error::other)?;
        Err(ExecuteError::Busy { path })
    }

    /// What neither the lock nor the last runs need.
    pub fn garbage(&self, keep_runs: usize) -> Result<Garbage, ExecuteError> {
        // A run that we waited for has written it anew.
        self.lock.refresh()?;
        let past = PastRuns::read(&self.root)?;
        let runs: Vec<_> = past.iter().take(keep_runs).collect();
        let kept_runs: BTreeSet<&str> = runs.iter().map(|run| run.run.as_str()).collect();
        let stages = self.lock.snapshot().stages;
        let logs = past.last_of(stages.keys());
        let kept_logs = logs
            .iter()
            .map(String::as_str)
            .chain(kept_runs.iter().copied());
        let kept_logs: BTreeSet<&str> = kept_logs.collect();
        let entries: Vec<Entry> = stages.into_values().collect();
        let used = runs
            .iter()
            .flat_map(|run| &run.stages)
            .filter_map(|s| s.key);
        let keys: BTreeSet<Digest> = used
            .chain(entries.iter().map(|entry| entry.key_parts().key()))
            .collect();
        let objects = self.needed_objects(&entries, &keys);

        let (mut garbage, all) = (Garbage::default(), self.store.objects()?);
        for (digest, bytes) in all {
            if objects.contains(&digest) {
                garbage.kept_objects += 1;
                garbage.kept_bytes += bytes;
            } else {
                garbage.objects.push((digest, bytes));
            }
        }
        let records = self.store.records()?.into_iter().map(|(key, _)| key);
        garbage.records = records.filter(|key| !keys.contains(key)).collect();
        garbage.runs = self.older(fs::private::RUNS, &kept_logs)?;
        for (run, _) in self.older(fs::private::FAILED, &kept_runs)? {
            garbage.add_tries(&run)?;
        }
        // As long as there are fewer runs than are to be kept, all are.
        if runs.len() >= keep_runs {
            let oldest = runs.last().map(|run| run.started.as_str());
            garbage.checkpoints = self.checkpoints_before(oldest)?;
        }
        garbage.leftovers = self.store.leftovers()?;
        Ok(garbage)
    }

    fn needed_objects(&self, entries: &[Entry], keys: &BTreeSet<Digest>) -> BTreeSet<Digest> {
        let wrote = entries.iter().flat_map(|entry| entry.wrote.values());
        let mut outputs: BTreeSet<Artifact> = wrote.copied().collect();
        for &key in keys {
            if let Some(record) = self.store.record(key) {
                outputs.extend(record.outputs.values());
            }
        }
        // What cannot be listed is damaged, and then its files help nobody.
        let mut needed: BTreeSet<Digest> = outputs
            .iter()
            .flat_map(|&artifact| self.store.closure(artifact).unwrap_or_default())
            .collect();
        // Of folders that were read only the listing is kept, which tells what changed.
        let read = entries.iter().flat_map(|entry| entry.read.values());
        needed.extend(
            read.filter(|artifact| artifact.kind == Kind::Folder)
                .map(|artifact| artifact.digest),
        );
        needed
    }

    /// The folders of runs that are not kept.
    fn older(&self, part: &str, kept: &BTreeSet<&str>) -> io::Result<Vec<(PathBuf, u64)>> {
        let folder = self.root.join(part);
        if !fs::exists(&folder) {
            return Ok(Vec::new());
        }
        let mut older = Vec::new();
        for name in fs::list(&folder)? {
            if !name.to_str().is_some_and(|name| kept.contains(name)) {
                let path = folder.join(name);
                older.push((path.clone(), fs::disk_usage(&path)?));
            }
        }
        Ok(older)
    }

    /// Checkpoints that were written before a run began; all of them where there is none.
    fn checkpoints_before(&self, started: Option<&str>) -> io::Result<Vec<(PathBuf, u64)>> {
        // A run whose start cannot be read takes nothing away.
        let began = started.map_or(Some(i64::MAX), |started| parse_time(started, None, 0));
        let mut old = self.older(fs::private::CHECKPOINTS, &BTreeSet::new())?;
        old.retain(|(folder, _)| {
            let written = fs::stat(folder).ok().flatten().map(|stat| stat.mtime());
            written
                .zip(began)
                .is_some_and(|(written, began)| written < began)
        });
        Ok(old)
    }

    /// Removes garbage. Records go first: one whose objects are gone would be looked up in vain.
    pub fn remove(&self, garbage: &Garbage) -> Result<(), ExecuteError> {
        for &key in &garbage.records {
            self.store.remove_record(key)?;
        }
        for &(digest, _) in &garbage.objects {
            self.store.remove_object(digest)?;
        }
        for (path, _) in garbage.files() {
            fs::remove(path)?;
        }
        Ok(())
    }
}
