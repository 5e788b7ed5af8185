//! Earlier runs, as their journals tell of them.
//!
//! A journal is held by a kernel lock while its run lasts. One that is neither held nor closed with
//! a last line belongs to a run that was killed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::journal::JOURNAL;
use crate::artifact::Digest;
use crate::event::{Event, Outcome};
use crate::fs;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PastOutcome {
    /// Every stage it looked at is up to date.
    Done,
    /// A stage failed.
    Failed,
    /// A signal ended it.
    Interrupted,
    /// It ended without a word: kill -9, or the power went.
    Killed,
    /// It is still running.
    Running,
}

/// What became of a stage in a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PastStage {
    /// Its name.
    pub stage: String,
    /// How it ended; nothing while it runs, or where the run was killed.
    pub outcome: Option<Outcome>,
    /// Wall time of its command with all tries, 0 where none ran.
    pub seconds: f64,
    /// What went wrong, where it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How many tries there were, 0 where none ran.
    pub attempts: u32,
    /// Its key.
    #[serde(skip)]
    pub key: Option<Digest>,
}

/// An earlier run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PastRun {
    /// Its name, which is that of its folder.
    pub run: String,
    /// When it began, RFC 3339 in UTC.
    pub started: String,
    /// How it ended.
    pub outcome: PastOutcome,
    /// Wall time, where it ended by itself.
    pub seconds: Option<f64>,
    /// The stages that it came to, in the order in which it did.
    pub stages: Vec<PastStage>,
    /// Where its journal and logs are.
    #[serde(skip)]
    pub folder: PathBuf,
}

/// A line of a journal.
#[derive(Deserialize)]
struct Line {
    time: String,
    #[serde(flatten)]
    event: Event,
}

/// All earlier runs of a project, the newest first. Journals are read as they are asked for.
pub struct PastRuns {
    folder: PathBuf,
    names: Vec<String>,
}

impl PastRuns {
    /// Lists the runs of the project in a folder.
    pub fn read(root: &Path) -> Self {
        let folder = root.join(".krammerti/runs");
        // Names sort by time. A project that never ran has none.
        let names = fs::list(&folder).unwrap_or_default();
        let names = names.into_iter().filter_map(|name| name.into_string().ok());
        Self {
            names: names.rev().collect(),
            folder,
        }
    }

    /// The runs, the newest first. What is no run, or not readable, is left out.
    pub fn iter(&self) -> impl Iterator<Item = PastRun> {
        self.names
            .iter()
            .filter_map(|name| PastRun::read(&self.folder.join(name)))
    }

    /// How long each stage took when it last ran to its end.
    pub fn durations(&self) -> BTreeMap<String, f64> {
        /// What did not run for so many runs may take another time by now.
        const RUNS: usize = 200;
        let mut durations = BTreeMap::new();
        for run in self.iter().take(RUNS) {
            for stage in run.stages {
                if stage.outcome == Some(Outcome::Ran) {
                    durations.entry(stage.stage).or_insert(stage.seconds);
                }
            }
        }
        durations
    }
}

impl PastRun {
    fn read(folder: &Path) -> Option<Self> {
        let path = folder.join(JOURNAL);
        let text = fs::read_to_string(&path).ok()?;
        let mut run = Self {
            run: folder.file_name()?.to_str()?.to_owned(),
            started: String::new(),
            outcome: PastOutcome::Killed,
            seconds: None,
            stages: Vec::new(),
            folder: folder.to_owned(),
        };
        // The last line of a killed run may be half a line.
        for line in text.lines() {
            if let Ok(Line { time, event }) = serde_json::from_str(line) {
                run.learn(time, event);
            }
        }
        if run.started.is_empty() {
            return None;
        }
        if run.outcome == PastOutcome::Killed && is_held(&path) {
            run.outcome = PastOutcome::Running;
        }
        Some(run)
    }

    fn learn(&mut self, time: String, event: Event) {
        match event {
            Event::RunStarted { .. } => self.started = time,
            Event::StageStarted { stage, .. } => self.stage(&stage).attempts = 1,
            Event::StageRetry { stage, attempt, .. } => self.stage(&stage).attempts = attempt,
            Event::StageFinished {
                stage,
                outcome,
                seconds,
                error,
                key,
            } => {
                let past = self.stage(&stage);
                past.outcome = Some(outcome);
                past.seconds = seconds;
                past.error = error;
                past.key = key.and_then(|key| key.parse().ok());
            }
            Event::RunFinished {
                failed,
                seconds,
                signal,
                ..
            } => {
                self.seconds = Some(seconds);
                self.outcome = match signal {
                    Some(_) => PastOutcome::Interrupted,
                    None if failed.is_empty() => PastOutcome::Done,
                    None => PastOutcome::Failed,
                };
            }
            _ => {}
        }
    }

    /// The entry of a stage, made where there is none yet. What happens to a stage comes close
    /// together, so the search from the end is short.
    fn stage(&mut self, name: &str) -> &mut PastStage {
        let found = self.stages.iter().rposition(|stage| stage.stage == name);
        let index = found.unwrap_or_else(|| {
            self.stages.push(PastStage {
                stage: name.to_owned(),
                outcome: None,
                seconds: 0.0,
                error: None,
                attempts: 0,
                key: None,
            });
            self.stages.len() - 1
        });
        &mut self.stages[index]
    }

    /// Where the log of a try of a stage is.
    pub fn log(&self, stage: &str, attempt: u32) -> PathBuf {
        self.folder.join(format!("{stage}.{attempt}.log"))
    }
}

/// Whether the run that writes a journal still lives.
fn is_held(journal: &Path) -> bool {
    let Ok(file) = fs::open(journal) else {
        return false;
    };
    flock(&file, FlockOperation::NonBlockingLockShared).is_err()
}

#[cfg(test)]
mod tests {
    use super::super::Journal;
    use super::*;

    fn events(finished: bool) -> Vec<Event> {
        let mut events = vec![
            Event::RunStarted {
                run: "r".into(),
                stages: vec!["a".into()],
            },
            Event::StageStarted {
                stage: "a".into(),
                reasons: vec![],
            },
            Event::StageRetry {
                stage: "a".into(),
                attempt: 2,
                attempts: 3,
                seconds: 0.0,
                error: "x".into(),
            },
        ];
        if finished {
            events.push(Event::StageFinished {
                stage: "a".into(),
                outcome: Outcome::Ran,
                seconds: 2.5,
                error: None,
                key: Some(Digest::of(b"k").to_string()),
            });
            events.push(Event::RunFinished {
                ran: vec!["a".into()],
                restored: vec![],
                fresh: vec![],
                failed: vec![],
                skipped: vec![],
                seconds: 3.0,
                signal: None,
            });
        }
        events
    }

    #[test]
    fn runs_are_told_as_they_ended() {
        let root = tempfile::tempdir().unwrap();
        let folder = |name: &str| root.path().join(".krammerti/runs").join(name);
        let write = |name: &str, finished| {
            let mut journal = Journal::new(&folder(name));
            for event in events(finished) {
                journal.write(&event).unwrap();
            }
            journal
        };
        drop(write("1", true));
        drop(write("2", false));
        let held = write("3", false);
        let past = PastRuns::read(root.path());
        let runs: Vec<PastRun> = past.iter().collect();
        let told: Vec<(&str, PastOutcome)> =
            runs.iter().map(|r| (r.run.as_str(), r.outcome)).collect();
        assert_eq!(
            told,
            [
                ("3", PastOutcome::Running),
                ("2", PastOutcome::Killed),
                ("1", PastOutcome::Done)
            ]
        );
        let stage = &runs[2].stages[0];
        assert_eq!((stage.attempts, stage.key), (2, Some(Digest::of(b"k"))));
        assert_eq!(past.durations(), BTreeMap::from([("a".to_owned(), 2.5)]));
        drop(held);
    }

    #[test]
    fn a_project_that_never_ran_has_no_runs() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(PastRuns::read(root.path()).iter().count(), 0);
    }
}
