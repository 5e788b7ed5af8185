//! A study as text: one JSON object a line, the first a header, each other one a finished trial.
//!
//! Lines are only ever added. A process that dies while it writes leaves at most one line cut off
//! at the end; that trial counts as never finished. Anything else that cannot be read is an error,
//! because finished trials never change.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::space::{Point, Space};

/// The version of the journal that is read and written.
pub const VERSION: u32 = 1;

/// One line of a journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// The first line.
    Study(Header),
    /// Every other line.
    Trial(Finished),
}

/// What a study is about. A study goes on only where all of it is the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// [`VERSION`].
    pub version: u32,
    /// Decides the draws.
    pub seed: u64,
    /// Names, by a digest, what decides a trial's value besides its point: data, fixed parameters.
    pub objective: String,
    /// What may vary.
    pub space: Space,
}

/// A trial that has ended. It never changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finished {
    /// From 0.
    pub number: usize,
    /// What was tried.
    pub point: Point,
    /// How it ended.
    pub state: State,
    /// What is to be small: the final value, or the last one before it was pruned.
    pub value: Option<f64>,
    /// Epoch and value, as reported on the way.
    #[serde(default)]
    pub intermediate: Vec<(usize, f64)>,
}

/// How a trial ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It has a value.
    Complete,
    /// It was stopped because it did worse than others.
    Pruned,
    /// It has no finite value.
    Failed,
}

/// What can be wrong with a journal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// A line is no record, and it is not the last one.
    #[error("line {line}: {message}")]
    Broken {
        /// From 1.
        line: usize,
        /// What is wrong with it.
        message: String,
    },
    /// It was written by another version of krammerti.
    #[error("the journal has version {found}, this krammerti reads version {VERSION}")]
    Version {
        /// The version it has.
        found: u64,
    },
}

impl Record {
    /// The line, with its newline.
    pub fn to_line(&self) -> String {
        // Maps with text keys and finite numbers: writing them as JSON cannot fail.
        let mut line = serde_json::to_string(self).unwrap_or_default();
        line.push('\n');
        line
    }
}

/// Reads a journal; an empty text is one without a header. A line cut off at the end is ignored.
pub fn parse(text: &str) -> Result<Vec<Record>, JournalError> {
    let records = whole_lines(text)
        .lines()
        .enumerate()
        .map(|(i, line)| read(i + 1, line))
        .collect::<Result<Vec<_>, _>>()?;
    refuse_disorder(&records)?;
    Ok(records)
}

/// The text without a line cut off at its end: what to keep of a file before lines are added.
pub fn whole_lines(text: &str) -> &str {
    let text = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
    let last = text
        .trim_end_matches('\n')
        .rfind('\n')
        .map_or(0, |end| end + 1);
    // A crash of the whole machine may leave a last line of full length with other bytes in it.
    if serde_json::from_str::<serde::de::IgnoredAny>(&text[last..]).is_ok() {
        text
    } else {
        &text[..last]
    }
}

fn read(line: usize, text: &str) -> Result<Record, JournalError> {
    let broken = |error: serde_json::Error| JournalError::Broken {
        line,
        message: error.to_string(),
    };
    let value: serde_json::Value = serde_json::from_str(text).map_err(broken)?;
    // Before its shape is looked at: another version may have another shape.
    match value.get("version").and_then(serde_json::Value::as_u64) {
        Some(found) if found != u64::from(VERSION) => Err(JournalError::Version { found }),
        _ => serde_json::from_value(value).map_err(broken),
    }
}

fn refuse_disorder(records: &[Record]) -> Result<(), JournalError> {
    let mut numbers = BTreeSet::new();
    for (i, record) in records.iter().enumerate() {
        let message = match record {
            Record::Study(_) if i > 0 => "a second header".to_owned(),
            Record::Trial(_) if i == 0 => "a trial where the header should be".to_owned(),
            Record::Trial(trial) if !numbers.insert(trial.number) => {
                format!("trial {} stands here a second time", trial.number)
            }
            Record::Trial(trial) if trial.state == State::Complete && trial.value.is_none() => {
                format!("trial {} is complete without a value", trial.number)
            }
            Record::Study(_) | Record::Trial(_) => continue,
        };
        return Err(JournalError::Broken {
            line: i + 1,
            message,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOURNAL: &str = concat!(
        r#"{"record":"study","version":1,"seed":7,"objective":"d","space":{"train.x":{"interval":{"low":0.0,"high":1.0,"log":false,"integer":false}}}}"#,
        "\n",
        r#"{"record":"trial","number":0,"point":{"train.x":0.25},"state":"complete","value":0.5,"intermediate":[[1,0.75],[2,0.5]]}"#,
        "\n",
        r#"{"record":"trial","number":1,"point":{"train.x":0.5},"state":"failed","value":null,"intermediate":[]}"#,
        "\n",
    );

    fn broken_line(text: &str) -> Option<usize> {
        match parse(text) {
            Err(JournalError::Broken { line, .. }) => Some(line),
            _ => None,
        }
    }

    #[test]
    fn a_journal_reads_as_it_is_written() {
        let records = parse(JOURNAL).expect("a journal");
        let again: String = records.iter().map(Record::to_line).collect();
        assert_eq!(again, JOURNAL);
        assert_eq!(parse(""), Ok(vec![]));
    }

    #[test]
    fn a_journal_cut_off_anywhere_keeps_its_whole_lines() {
        let ends: Vec<usize> = JOURNAL.match_indices('\n').map(|(i, _)| i + 1).collect();
        for length in 0..=JOURNAL.len() {
            let records = parse(&JOURNAL[..length]).expect("never an error");
            let whole = ends.iter().filter(|end| **end <= length).count();
            assert_eq!(records.len(), whole, "at {length}");
        }
        let garbled = format!("{JOURNAL}{{\"record\":\0\0\0\n");
        assert_eq!(parse(&garbled), parse(JOURNAL));
        assert_eq!(whole_lines(&garbled), JOURNAL);
        assert_eq!(parse("\n"), Ok(vec![]));
    }

    #[test]
    fn a_broken_line_elsewhere_is_named() {
        let lines: Vec<&str> = JOURNAL.lines().collect();
        let text = format!("{}\n{}\n{}\n", lines[0], &lines[1][..20], lines[2]);
        assert_eq!(broken_line(&text), Some(2));
        let twice = format!("{JOURNAL}{}\n", lines[1]);
        assert_eq!(broken_line(&twice), Some(4));
        assert_eq!(broken_line(&format!("{}\n", lines[1])), Some(1));
        assert_eq!(broken_line(&format!("{JOURNAL}{}\n", lines[0])), Some(4));
        let unknown = JOURNAL.replace("\"value\":0.5", "\"colour\":0.5");
        assert_eq!(broken_line(&unknown), Some(2));
        let empty = JOURNAL.replace("\"value\":0.5", "\"value\":null");
        assert_eq!(broken_line(&empty), Some(2));
    }

    #[test]
    fn another_version_is_told_apart_from_a_broken_line() {
        let later = "{\"record\":\"search\",\"version\":2}\n";
        assert_eq!(parse(later), Err(JournalError::Version { found: 2 }));
    }
}
