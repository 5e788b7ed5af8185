//! `krammerti log`: finds what the command of a stage said.
//!
//! It goes by the journals of earlier runs, and asks `pipeline.lock` only where they know nothing, so it works while a run lasts, and
//! where `pipeline.yaml` cannot be read.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::event::Outcome;
use crate::fs;
use crate::pipeline::{Lock, PastOutcome, PastRun, PastRuns, PastStage, RunNameError};

/// Which logs are wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct WantedLog<'a> {
    /// Of this stage; otherwise of those that failed, or of the one that ran last.
    pub stage: Option<&'a str>,
    /// Of this try; otherwise of the last one.
    pub attempt: Option<u32>,
    /// In this run; otherwise in the newest one, or the newest that ran the stage.
    pub run: Option<&'a str>,
}

/// The log of one try of a stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StageLog {
    /// The stage.
    pub stage: String,
    /// The run.
    pub run: String,
    /// When that run began, RFC 3339 in UTC.
    pub started: String,
    /// How the stage ended in it; nothing while it runs, or where the run was killed.
    pub outcome: Option<Outcome>,
    /// How the run ended.
    pub run_outcome: PastOutcome,
    /// Which try.
    pub attempt: u32,
    /// How many tries there were.
    pub attempts: u32,
    /// The file, by its path in the project.
    pub log: PathBuf,
    /// Another one: what `on_failure` said after the last try, where it ran.
    pub on_failure: Option<PathBuf>,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundLogs {
    /// The logs, in the order in which their stages began.
    pub logs: Vec<StageLog>,
    /// Stages that failed later, or as well, before their command was started, and why.
    pub without: Vec<Unstarted>,
}

/// A stage that failed before its command was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unstarted {
    /// The stage.
    pub stage: String,
    /// The run.
    pub run: String,
    /// Why.
    pub error: String,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// No run did anything yet.
    #[error("there is no log: no run has started a command yet")]
    NoRuns,
    /// What there is cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Its command ran, but in no run that is still there.
    #[error("no log is kept of stage `{stage}`: no run that is still there started its command")]
    NotKept {
        /// The stage.
        stage: String,
    },
    /// No such run.
    #[error(transparent)]
    Run(#[from] RunNameError),
    /// No run has met a stage of this name.
    #[error("no run has met a stage `{stage}`")]
    Unseen {
        /// As asked for.
        stage: String,
        /// The stages that runs have met.
        seen: Vec<String>,
    },
    /// It is known, but its command was never started.
    #[error("the command of stage `{stage}` has not run yet{}", and_why(.error.as_ref()))]
    NeverRan {
        /// The stage.
        stage: String,
        /// How it failed before.
        error: Option<String>,
    },
    /// The run that was named did not run it.
    #[error("run {run} did not run stage `{stage}`; it ran {}", or_none(.ran))]
    NotInRun {
        /// The stage.
        stage: String,
        /// The run.
        run: String,
        /// The stages whose command it started.
        ran: Vec<String>,
    },
    /// No stage was named and the run started no command.
    #[error("run {run} started no command{}", and_why(.error.as_ref()))]
    NothingRan {
        /// The run.
        run: String,
        /// How a stage failed before its command.
        error: Option<String>,
    },
    /// There were not so many tries.
    #[error("stage `{stage}` was tried {} in run {run}, so it has no try {attempt}", times(*.attempts))]
    NoAttempt {
        /// The stage.
        stage: String,
        /// The run.
        run: String,
        /// As asked for.
        attempt: u32,
        /// How many there were.
        attempts: u32,
    },
    /// The journal tells of it, but the file is gone.
    #[error("the log of stage `{stage}` in run {run} is not there: {} was removed or never written", .log.display())]
    Gone {
        /// The stage.
        stage: String,
        /// The run.
        run: String,
        /// Where it was.
        log: PathBuf,
    },
}

fn and_why(error: Option<&String>) -> String {
    error.map_or_else(String::new, |error| {
        format!("; it failed before that: {error}")
    })
}

fn or_none(names: &[String]) -> String {
    match names {
        [] => "none".to_owned(),
        names => names.join(", "),
    }
}

fn times(count: u32) -> String {
    match count {
        1 => "once".to_owned(),
        count => format!("{count} times"),
    }
}

/// Finds logs in the project in a folder.
pub fn logs(root: &Path, wanted: &WantedLog<'_>) -> Result<FoundLogs, LogError> {
    let runs = PastRuns::read(root)?;
    let mut found = match (wanted.stage, wanted.run) {
        (Some(stage), None) => {
            of_newest(&runs, stage, wanted.attempt).map_err(|error| or_not_kept(root, error))
        }
        (Some(stage), Some(run)) => of_stage(&runs.find(run)?, stage, wanted.attempt),
        (None, Some(run)) => of_run(&runs.find(run)?, wanted.attempt),
        (None, None) => match runs.iter().next() {
            Some(run) => of_run(&run, wanted.attempt),
            None => Err(LogError::NoRuns),
        },
    }?;
    for log in &mut found.logs {
        log.log = in_project(root, &log.log);
        log.on_failure = log.on_failure.as_ref().map(|path| in_project(root, path));
    }
    Ok(found)
}

/// A stage that `pipeline.lock` knows has run, whatever the runs that are still there say.
pub(super) fn or_not_kept(root: &Path, error: LogError) -> LogError {
    let (LogError::NeverRan { stage, error: None } | LogError::Unseen { stage, .. }) = &error
    else {
        return error;
    };
    let lock = Lock::load(&root.join("pipeline.lock"));
    if lock.is_ok_and(|lock| lock.knows(stage)) {
        return LogError::NotKept {
            stage: stage.clone(),
        };
    }
    error
}

fn in_project(root: &Path, path: &Path) -> PathBuf {
    path.strip_prefix(root).unwrap_or(path).to_owned()
}

/// The newest run that ran the stage, or else a command of its name.
fn of_newest(runs: &PastRuns, stage: &str, attempt: Option<u32>) -> Result<FoundLogs, LogError> {
    match newest_of(runs.iter().filter(|run| !run.by_hand), stage, attempt) {
        Err(LogError::Unseen { .. }) => newest_of(runs.iter(), stage, attempt),
        found => found,
    }
}

fn newest_of(
    runs: impl Iterator<Item = PastRun>,
    stage: &str,
    attempt: Option<u32>,
) -> Result<FoundLogs, LogError> {
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut without: Option<Unstarted> = None;
    for run in runs {
        match run.stages.iter().find(|past| past.stage == stage) {
            Some(past) if past.attempts > 0 => {
                return Ok(FoundLogs {
                    logs: vec![log(&run, past, attempt)?],
                    without: without.into_iter().collect(),
                });
            }
            // What is newer than the log that will be shown, and the newest of these.
            Some(past) => without = without.or_else(|| unstarted(&run, past)),
            None => {}
        }
        seen.extend(run.stages.into_iter().map(|past| past.stage));
    }
    if seen.contains(stage) {
        Err(LogError::NeverRan {
            stage: stage.to_owned(),
            error: without.map(|unstarted| unstarted.error),
        })
    } else {
        Err(LogError::Unseen {
            stage: stage.to_owned(),
            seen: seen.into_iter().collect(),
        })
    }
}

fn of_stage(run: &PastRun, stage: &str, attempt: Option<u32>) -> Result<FoundLogs, LogError> {
    match started(run).find(|past| past.stage == stage) {
        Some(past) => Ok(FoundLogs {
            logs: vec![log(run, past, attempt)?],
            without: Vec::new(),
        }),
        None => Err(LogError::NotInRun {
            stage: stage.to_owned(),
            run: run.run.clone(),
            ran: started(run).map(|past| past.stage.clone()).collect(),
        }),
    }
}

/// The stages of a run that failed, or the one that was started last.
fn of_run(run: &PastRun, attempt: Option<u32>) -> Result<FoundLogs, LogError> {
    let without: Vec<Unstarted> = run
        .stages
        .iter()
        .filter_map(|past| unstarted(run, past))
        .collect();
    let failed = started(run).filter(|past| past.outcome == Some(Outcome::Failed));
    let mut chosen: Vec<&PastStage> = failed.collect();
    if chosen.is_empty() {
        match (started(run).last(), without.first()) {
            (Some(last), None) => chosen.push(last),
            (_, failed) => {
                return Err(LogError::NothingRan {
                    run: run.run.clone(),
                    error: failed.map(|u| format!("stage `{}`: {}", u.stage, u.error)),
                });
            }
        }
    }
    let logs = chosen.into_iter().map(|past| log(run, past, attempt));
    Ok(FoundLogs {
        logs: logs.collect::<Result<_, _>>()?,
        without,
    })
}

/// The stages of a run whose command was started, in that order.
fn started(run: &PastRun) -> impl DoubleEndedIterator<Item = &PastStage> {
    run.stages.iter().filter(|past| past.attempts > 0)
}

fn unstarted(run: &PastRun, past: &PastStage) -> Option<Unstarted> {
    let failed = past.attempts == 0 && past.outcome == Some(Outcome::Failed);
    failed.then(|| Unstarted {
        stage: past.stage.clone(),
        run: run.run.clone(),
        error: past.error.clone().unwrap_or_default(),
    })
}

fn log(run: &PastRun, past: &PastStage, attempt: Option<u32>) -> Result<StageLog, LogError> {
    let attempts = past.attempts;
    if let Some(attempt) = attempt
        && !(1..=attempts).contains(&attempt)
    {
        return Err(LogError::NoAttempt {
            stage: past.stage.clone(),
            run: run.run.clone(),
            attempt,
            attempts,
        });
    }
    // Before its next try begins a stage waits, and there is no log of that try yet.
    let there = |attempt: &u32| fs::exists(&run.log(&past.stage, *attempt));
    let asked = attempt.map_or(1..=attempts, |attempt| attempt..=attempt);
    let Some(attempt) = asked.rev().find(there) else {
        return Err(LogError::Gone {
            stage: past.stage.clone(),
            run: run.run.clone(),
            log: run.log(&past.stage, attempt.unwrap_or(attempts)),
        });
    };
    let on_failure = run.on_failure_log(&past.stage);
    Ok(StageLog {
        stage: past.stage.clone(),
        run: run.run.clone(),
        started: run.started.clone(),
        outcome: past.outcome,
        run_outcome: run.outcome,
        attempt,
        attempts,
        log: run.log(&past.stage, attempt),
        on_failure: (attempt == attempts && fs::exists(&on_failure)).then_some(on_failure),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, Observer};
    use crate::pipeline::Journal;

    struct Project(tempfile::TempDir);

    impl Project {
        /// A run, as its events; each try of a stage leaves a log.
        fn run(&self, name: &str, events: &[Event]) {
            self.run_of(false, name, events);
        }

        fn run_of(&self, by_hand: bool, name: &str, events: &[Event]) {
            let folder = self.0.path().join(".krammerti/runs").join(name);
            let mut journal = Journal::new(&folder);
            let mut write = |event: Event| journal.write(&event).unwrap();
            write.event(Event::RunStarted {
                run: name.into(),
                stages: vec![],
                by_hand,
            });
            for event in events {
                write.event(event.clone());
                let log = match event {
                    Event::StageStarted { stage, .. } => format!("{stage}.1.log"),
                    Event::StageRetry { stage, attempt, .. } => format!("{stage}.{attempt}.log"),
                    _ => continue,
                };
                fs::write_atomic(&folder.join(log), b"said").unwrap();
            }
        }

        fn told(&self, stage: Option<&str>, attempt: Option<u32>, run: Option<&str>) -> String {
            let wanted = WantedLog {
                stage,
                attempt,
                run,
            };
            match logs(self.0.path(), &wanted) {
                Err(error) => error.to_string(),
                Ok(found) => {
                    let logs = found.logs.iter();
                    let mut told: Vec<String> = logs
                        .map(|log| {
                            format!("{} {} {}/{}", log.run, log.stage, log.attempt, log.attempts)
                        })
                        .collect();
                    let without = found.without.iter();
                    told.extend(without.map(|u| format!("{} {}: {}", u.run, u.stage, u.error)));
                    told.join(", ")
                }
            }
        }
    }

    fn start(stage: &str) -> Event {
        Event::StageStarted {
            stage: stage.into(),
            reasons: vec![],
        }
    }

    fn retry(stage: &str, attempt: u32) -> Event {
        Event::StageRetry {
            stage: stage.into(),
            attempt,
            attempts: 9,
            seconds: 0.0,
            error: "again".into(),
        }
    }

    fn end(stage: &str, outcome: Outcome) -> Event {
        Event::StageFinished {
            stage: stage.into(),
            outcome,
            seconds: 1.0,
            error: (outcome == Outcome::Failed).then(|| "no input".into()),
            key: None,
        }
    }

    #[test]
    fn the_failed_stages_or_the_last_one_are_chosen() {
        let project = Project(tempfile::tempdir().unwrap());
        assert!(
            project
                .told(None, None, None)
                .contains("no run has started")
        );
        let (ran, failed) = (Outcome::Ran, Outcome::Failed);
        project.run("1", &[start("a"), end("a", ran), start("b"), end("b", ran)]);
        assert_eq!(project.told(None, None, None), "1 b 1/1");
        project.run(
            "2",
            &[start("a"), end("a", failed), start("b"), end("b", ran)],
        );
        assert_eq!(project.told(None, None, None), "2 a 1/1");
        assert_eq!(project.told(None, None, Some("1")), "1 b 1/1");
        project.run("3", &[end("c", Outcome::Restored)]);
        assert_eq!(project.told(None, None, None), "run 3 started no command");
        project.run("4", &[start("a"), end("a", ran), end("b", failed)]);
        assert_eq!(
            project.told(None, None, None),
            "run 4 started no command; it failed before that: stage `b`: no input"
        );
        project.run("5", &[start("a"), end("a", failed), end("b", failed)]);
        assert_eq!(project.told(None, None, None), "5 a 1/1, 5 b: no input");
    }

    #[test]
    fn a_command_by_hand_is_told_where_no_stage_is_called_alike() {
        let project = Project(tempfile::tempdir().unwrap());
        let once = |name: &str| [start(name), end(name, Outcome::Ran)];
        project.run("1", &once("a"));
        project.run_of(true, "2", &once("a"));
        project.run_of(true, "3", &once("b"));
        assert_eq!(project.told(Some("a"), None, None), "1 a 1/1");
        assert_eq!(project.told(Some("a"), None, Some("2")), "2 a 1/1");
        assert_eq!(project.told(Some("b"), None, None), "3 b 1/1");
    }

    #[test]
    fn the_newest_run_of_a_stage_and_any_of_its_tries() {
        let project = Project(tempfile::tempdir().unwrap());
        let tries = [start("a"), retry("a", 2), retry("a", 3)];
        project.run("1", &tries);
        project.run("2", &[start("b"), end("b", Outcome::Ran)]);
        assert_eq!(project.told(Some("a"), None, None), "1 a 3/3");
        assert_eq!(project.told(Some("a"), Some(2), None), "1 a 2/3");
        assert!(
            project
                .told(Some("a"), Some(4), None)
                .contains("tried 3 times in run 1")
        );
        assert!(project.told(Some("a"), Some(0), None).contains("no try 0"));
        assert!(
            project
                .told(Some("a"), None, Some("2"))
                .contains("it ran b")
        );
        assert!(
            project
                .told(Some("a"), None, Some("7"))
                .contains("the newest are 2, 1")
        );
        assert!(
            project
                .told(Some("z"), None, None)
                .contains("no run has met a stage `z`")
        );

        project.run("3", &[end("a", Outcome::Failed), end("c", Outcome::Failed)]);
        assert_eq!(
            project.told(Some("a"), None, None),
            "1 a 3/3, 3 a: no input"
        );
        assert!(
            project
                .told(Some("c"), None, None)
                .ends_with("has not run yet; it failed before that: no input")
        );

        let runs = project.0.path().join(".krammerti/runs");
        // It waits for its third try.
        fs::remove(&runs.join("1/a.3.log")).unwrap();
        assert!(project.told(Some("a"), None, None).starts_with("1 a 2/3"));
        fs::remove(&runs.join("2/b.1.log")).unwrap();
        assert!(
            project
                .told(Some("b"), None, None)
                .contains("b.1.log was removed or never")
        );
    }
}
