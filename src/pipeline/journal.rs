//! The journal of a run: its events as JSON lines with the time they came, readable while it runs.
//!
//! Times and durations live here and nowhere else. A run with nothing to do leaves no journal.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use serde::Serialize;

use crate::event::{Event, Outcome};
use crate::fs;
use crate::time::{format_utc, parse_time};

/// The name of a journal in the folder of its run.
pub(super) const JOURNAL: &str = "journal.jsonl";

/// Writes the journal of one run.
pub struct Journal {
    path: PathBuf,
    /// What came before anything happened, and when.
    held_back: Vec<(i64, Event)>,
    file: Option<File>,
    /// Whether the last line may be half a line.
    torn: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    #[serde(flatten)]
    event: &'a Event,
}

impl Journal {
    /// A journal in a run's folder; nothing is created before something happens.
    pub fn new(run_folder: &Path) -> Self {
        Self {
            path: run_folder.join(JOURNAL),
            held_back: Vec::new(),
            file: None,
            torn: false,
        }
    }

    /// Adds an event.
    pub fn write(&mut self, event: &Event) -> io::Result<()> {
        let idle = match event {
            Event::StageFinished { outcome, .. } => *outcome == Outcome::Fresh,
            Event::RunStarted { .. } => true,
            Event::RunFinished { .. } => self.file.is_none(),
            _ => false,
        };
        self.held_back.push((now(), event.clone()));
        if idle && self.file.is_none() {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                fs::create_dir_all(fs::parent(&self.path))?;
                let file = fs::append(&self.path)?;
                // Says that the run lives, for as long as it does; nobody else wants this lock.
                let _ = flock(&file, FlockOperation::NonBlockingLockExclusive);
                none.insert(file)
            }
        };
        for (time, event) in self.held_back.drain(..) {
            let line = serde_json::to_string(&Line {
                time: format_utc(time),
                event: &event,
            })?;
            // What a full disk has taken the end of must not take the next line along.
            let end = if self.torn { "\n" } else { "" };
            self.torn = true;
            file.write_all(format!("{end}{line}\n").as_bytes())?;
            self.torn = false;
        }
        Ok(())
    }
}

/// The name of a run of the project in a folder that starts now: sorts by time, and two runs at once differ. It comes
/// after all that are there, whatever the clock said then.
pub fn run_name(root: &Path) -> String {
    // Who cannot list them is told when the run's folder is made.
    let names = fs::list(&root.join(fs::private::RUNS)).unwrap_or_default();
    let times = names.iter().filter_map(|name| time_of(name.to_str()?));
    let after = times.max().map(|newest| newest + Duration::from_micros(1));
    name_at(
        fs::since_1970().max(after.unwrap_or_default()),
        std::process::id(),
    )
}

/// The time in the name of a run.
fn time_of(name: &str) -> Option<Duration> {
    let (date, rest) = name.split_at_checked(15)?;
    let (day, time) = date.split_once('T').filter(|(day, _)| day.len() == 8)?;
    let part = |text: &str, from: usize| text.get(from..from + 2).map(str::to_owned);
    let date = format!("{}-{}-{}", day.get(..4)?, part(day, 4)?, part(day, 6)?);
    let time = format!("{}:{}:{}", part(time, 0)?, part(time, 2)?, part(time, 4)?);
    let seconds = u64::try_from(parse_time(&format!("{date}T{time}Z"), None, 0)?).ok()?;
    let micros = rest
        .strip_prefix('.')
        .and_then(|rest| rest.get(..6)?.parse().ok());
    Some(Duration::from_secs(seconds) + Duration::from_micros(micros.unwrap_or(0)))
}

fn name_at(since_1970: Duration, process: u32) -> String {
    let time = format_utc(since_1970.as_secs() as i64).replace(['-', ':'], "");
    let micros = since_1970.subsec_micros();
    format!("{}.{micros:06}-{process}", time.trim_end_matches('Z'))
}

/// Seconds since 1970.
pub(super) fn now() -> i64 {
    fs::since_1970().as_secs() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_by_time_whatever_the_process() {
        let at = |millis: u64| Duration::from_millis(1_700_000_000_000 + millis);
        let first = name_at(at(50), 9_999);
        assert_eq!(first, "20231114T221320.050000-9999");
        assert!(first < name_at(at(51), 10_000) && first < name_at(at(1000), 1));
        // As they were before they had fractions.
        assert!("20231114T221320-9999" < first.as_str());
    }

    #[test]
    fn a_new_run_comes_after_all_whatever_their_clock_said() {
        let root = tempfile::tempdir().unwrap();
        let runs = root.path().join(fs::private::RUNS);
        let first = run_name(root.path());
        for name in [
            "20991231T235959.999999-9999",
            "no-run",
            "99999999T999999-1",
            "20200101T000000-5",
        ] {
            fs::create_dir_all(&runs.join(name)).unwrap();
        }
        let next = run_name(root.path());
        assert!(
            first.as_str() < "2099" && next.starts_with("21000101T000000.000000-"),
            "{next}"
        );
    }

    fn finished(outcome: Outcome) -> Event {
        Event::StageFinished {
            stage: "a".into(),
            outcome,
            seconds: 0.0,
            error: None,
            key: None,
        }
    }

    #[test]
    fn a_line_after_half_a_line_is_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::new(folder.path());
        journal.write(&finished(Outcome::Ran)).unwrap();
        let path = folder.path().join(JOURNAL);
        // As if the disk had been full before.
        journal.file = Some(fs::open(&path).unwrap());
        assert!(journal.write(&finished(Outcome::Ran)).is_err());
        journal.file = Some(fs::append(&path).unwrap());
        fs::append(&path).unwrap().write_all(b"{\"time").unwrap();
        for _ in 0..2 {
            journal.write(&finished(Outcome::Ran)).unwrap();
        }
        let text = fs::read_to_string(&path).unwrap();
        let whole = text.lines().filter(|line| line.ends_with('}'));
        assert_eq!((whole.count(), text.lines().count()), (3, 4));
    }

    #[test]
    fn an_idle_run_leaves_no_journal_and_a_busy_one_leaves_all_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::new(&folder.path().join("run"));
        journal
            .write(&Event::RunStarted {
                run: "r".into(),
                stages: vec!["a".into()],
                by_hand: false,
            })
            .unwrap();
        journal.write(&finished(Outcome::Fresh)).unwrap();
        assert!(!folder.path().join("run").exists());
        journal.write(&finished(Outcome::Ran)).unwrap();
        let text = fs::read_to_string(&folder.path().join("run/journal.jsonl")).unwrap();
        assert_eq!(text.lines().count(), 3);
        assert!(text.lines().all(|line| line.starts_with("{\"time\":\"20")));
    }
}
