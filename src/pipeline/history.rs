//! Earlier runs, as their journals tell of them.
//!
//! A journal is held by a kernel lock while its run lasts. One that is neither held nor closed with
//! a last line belongs to a run that was killed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use super::hold;
use super::journal::JOURNAL;
use crate::artifact::Digest;
use crate::event::{Event, Outcome};
use crate::fs;

/// A run that is not there, or not the only one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunNameError {
    /// No run has this name, or none has it any more.
    #[error("there is no run `{asked}`{}", or_nothing("; the newest are ", .newest))]
    Unknown {
        /// As asked for.
        asked: String,
        /// The names of the newest runs.
        newest: Vec<String>,
    },
    /// Several begin so.
    #[error("`{asked}` stands for several runs: {}", .runs.join(", "))]
    Several {
        /// As asked for.
        asked: String,
        /// Their names.
        runs: Vec<String>,
    },
}

fn or_nothing(words: &str, names: &[String]) -> String {
    match names {
        [] => String::new(),
        names => format!("{words}{}", names.join(", ")),
    }
}

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

impl fmt::Display for PastOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
            Self::Killed => "killed",
            Self::Running => "running",
        })
    }
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
    /// Whether it is that of a command typed by hand that is no stage: its name says nothing of a stage called alike.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub by_hand: bool,
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
    /// Lists the runs of the project in a folder. One that never ran has none.
    pub fn read(root: &Path) -> io::Result<Self> {
        let folder = root.join(fs::private::RUNS);
        // Names sort by time.
        let names = match fs::list(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            names => names?,
        };
        let names = names.into_iter().filter_map(|name| name.into_string().ok());
        Ok(Self {
            names: names.rev().collect(),
            folder,
        })
    }

    /// The runs, the newest first. What is no run, or not readable, is left out.
    pub fn iter(&self) -> impl Iterator<Item = PastRun> {
        self.names
            .iter()
            .filter_map(|name| PastRun::read(&self.folder.join(name)))
    }

    /// The newest runs that started the commands of stages, as far as there are any.
    pub fn last_of<'a>(&self, stages: impl Iterator<Item = &'a String>) -> BTreeSet<String> {
        let mut wanted: BTreeSet<&str> = stages.map(String::as_str).collect();
        let mut found = BTreeSet::new();
        for run in self.iter().filter(|run| !run.by_hand) {
            if wanted.is_empty() {
                break;
            }
            let ran = run.stages.iter().filter(|stage| stage.attempts > 0);
            if ran
                .filter(|stage| wanted.remove(stage.stage.as_str()))
                .count()
                > 0
            {
                found.insert(run.run);
            }
        }
        found
    }

    /// How many there are at most: what is no run is only seen when it is read.
    pub fn count(&self) -> usize {
        self.names.len()
    }

    /// The run with a name, or the only one whose name or start begins so. The start may be written
    /// as people write it, `2025-11-30 21:00`.
    pub fn find(&self, asked: &str) -> Result<PastRun, RunNameError> {
        const FEW: usize = 5;
        let named = |name: &String| PastRun::read(&self.folder.join(name));
        if let Some(run) = self
            .names
            .iter()
            .find(|name| *name == asked)
            .and_then(named)
        {
            return Ok(run);
        }
        let mut found: Vec<PastRun> = match digits(asked) {
            Some(start) => self.iter().filter(|run| run.begins_with(&start)).collect(),
            None => Vec::new(),
        };
        match found.len() {
            1 => Ok(found.remove(0)),
            0 => Err(RunNameError::Unknown {
                asked: asked.to_owned(),
                newest: self.iter().take(FEW).map(|run| run.run).collect(),
            }),
            _ => Err(RunNameError::Several {
                asked: asked.to_owned(),
                runs: found.into_iter().map(|run| run.run).collect(),
            }),
        }
    }

    /// How long each stage took when it last ran to its end.
    pub fn durations(&self) -> BTreeMap<String, f64> {
        /// What did not run for so many runs may take another time by now.
        const RUNS: usize = 200;
        let mut durations = BTreeMap::new();
        for run in self.iter().filter(|run| !run.by_hand).take(RUNS) {
            for stage in run.stages {
                if stage.outcome == Some(Outcome::Ran) {
                    durations.entry(stage.stage).or_insert(stage.seconds);
                }
            }
        }
        durations
    }
}

/// Where a run has its stages, by their names.
type Places = HashMap<String, usize>;

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
            by_hand: false,
            folder: folder.to_owned(),
        };
        let mut places = Places::new();
        // The last line of a killed run may be half a line.
        for line in text.lines() {
            if let Ok(Line { time, event }) = serde_json::from_str(line) {
                run.learn(time, event, &mut places);
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

    fn learn(&mut self, time: String, event: Event, places: &mut Places) {
        match event {
            Event::RunStarted { by_hand, .. } => {
                self.started = time;
                self.by_hand = by_hand;
            }
            Event::StageStarted { stage, .. } => self.stage(&stage, places).attempts = 1,
            Event::StageRetry { stage, attempt, .. } => {
                self.stage(&stage, places).attempts = attempt;
            }
            Event::StageFinished {
                stage,
                outcome,
                seconds,
                error,
                key,
            } => {
                let past = self.stage(&stage, places);
                past.outcome = Some(outcome);
                past.seconds = seconds;
                // What it says of itself is known here.
                let known = format!("stage `{}` failed: ", past.stage);
                past.error = error.map(|error| match error.strip_prefix(&known) {
                    Some(rest) => rest.to_owned(),
                    None => error,
                });
                past.key = key.and_then(|key| key.parse().ok());
            }
            Event::RunFinished {
                ran,
                restored,
                failed,
                seconds,
                signal,
                ..
            } => {
                // On a full disk a journal lacks lines; the last one says it all.
                let ends = [(ran, Outcome::Ran), (restored, Outcome::Restored)];
                for (stages, outcome) in ends.into_iter().chain([(failed.clone(), Outcome::Failed)])
                {
                    for stage in stages {
                        self.stage(&stage, places).outcome.get_or_insert(outcome);
                    }
                }
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

    /// The entry of a stage, made where there is none yet.
    fn stage(&mut self, name: &str, places: &mut Places) -> &mut PastStage {
        if let Some(&place) = places.get(name) {
            return &mut self.stages[place];
        }
        places.insert(name.to_owned(), self.stages.len());
        self.stages.push(PastStage {
            stage: name.to_owned(),
            outcome: None,
            seconds: 0.0,
            error: None,
            attempts: 0,
            key: None,
        });
        let last = self.stages.len() - 1;
        &mut self.stages[last]
    }

    fn begins_with(&self, start: &str) -> bool {
        [&self.run, &self.started]
            .iter()
            .any(|name| digits(name).is_some_and(|name| name.starts_with(start)))
    }

    /// Where the log of a try of a stage is.
    pub fn log(&self, stage: &str, attempt: u32) -> PathBuf {
        self.folder.join(format!("{stage}.{attempt}.log"))
    }

    /// Where the log of what `on_failure` ran is.
    pub fn on_failure_log(&self, stage: &str) -> PathBuf {
        self.folder.join(format!("{stage}.on_failure.log"))
    }
}

/// The digits of a time or of the name of a run, and of nothing else.
fn digits(text: &str) -> Option<String> {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let plain = |c: char| c.is_ascii_digit() || matches!(c, '-' | ':' | ' ' | 'T' | 'Z');
    (!digits.is_empty() && text.chars().all(plain)).then_some(digits)
}

/// Whether the run that writes a journal still lives.
fn is_held(journal: &Path) -> bool {
    let Ok(file) = fs::open(journal) else {
        return false;
    };
    !hold::take(&file, FlockOperation::NonBlockingLockShared).is_ok_and(|free| free)
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
                by_hand: false,
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
        let past = PastRuns::read(root.path()).unwrap();
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
    fn a_command_by_hand_says_nothing_of_a_stage_called_alike() {
        let root = tempfile::tempdir().unwrap();
        let mut journal = Journal::new(&root.path().join(".krammerti/runs/1"));
        for mut event in events(true) {
            if let Event::RunStarted { by_hand, .. } = &mut event {
                *by_hand = true;
            }
            journal.write(&event).unwrap();
        }
        let past = PastRuns::read(root.path()).unwrap();
        assert!(past.iter().all(|run| run.by_hand) && past.count() == 1);
        assert_eq!(past.durations(), BTreeMap::new());
    }

    #[test]
    fn a_run_is_found_by_its_name_or_its_start() {
        let root = tempfile::tempdir().unwrap();
        for name in ["19991130T210000-7", "19991130T210001-8", "by-hand"] {
            let folder = root.path().join(".krammerti/runs").join(name);
            let mut journal = Journal::new(&folder);
            for event in events(true) {
                journal.write(&event).unwrap();
            }
        }
        let past = PastRuns::read(root.path()).unwrap();
        let found = |asked: &str| past.find(asked).map(|run| run.run);
        for asked in [
            "19991130T210000-7",
            "19991130T210000",
            "1999-11-30 21:00:00",
        ] {
            assert_eq!(found(asked).as_deref(), Ok("19991130T210000-7"), "{asked}");
        }
        assert_eq!(found("by-hand").as_deref(), Ok("by-hand"));
        let told = |asked: &str| found(asked).unwrap_err().to_string();
        assert_eq!(
            told("1999-11-30 21:00"),
            "`1999-11-30 21:00` stands for several runs: 19991130T210001-8, 19991130T210000-7"
        );
        for asked in ["", "by", "../runs/by-hand", "19991129"] {
            let told = told(asked);
            assert!(
                told.ends_with("the newest are by-hand, 19991130T210001-8, 19991130T210000-7"),
                "{told}"
            );
        }
    }

    #[test]
    fn what_a_full_disk_took_from_a_journal_its_last_line_says() {
        let root = tempfile::tempdir().unwrap();
        let mut journal = Journal::new(&root.path().join(".krammerti/runs/1"));
        for mut event in events(true) {
            match &mut event {
                Event::StageFinished { .. } => continue,
                Event::RunFinished { ran, failed, .. } => std::mem::swap(ran, failed),
                _ => {}
            }
            journal.write(&event).unwrap();
        }
        let run = PastRuns::read(root.path()).unwrap().iter().next().unwrap();
        assert_eq!(run.stages[0].outcome, Some(Outcome::Failed));
    }

    #[test]
    fn what_cannot_be_read_is_not_taken_for_none() {
        let root = tempfile::tempdir().unwrap();
        fs::write_atomic(&root.path().join(".krammerti/runs"), b"").unwrap();
        let error = PastRuns::read(root.path()).err().unwrap().to_string();
        assert!(error.starts_with("cannot list"), "{error}");
    }

    #[test]
    fn a_project_that_never_ran_has_no_runs() {
        let root = tempfile::tempdir().unwrap();
        let past = PastRuns::read(root.path()).unwrap();
        assert_eq!(past.iter().count(), 0);
        let told = past.find("19991130").unwrap_err().to_string();
        assert_eq!(told, "there is no run `19991130`");
    }
}
