//! What happens while krammerti works, as data.
//!
//! Whoever does the work sends events; the terminal, the run journal and `--json` are readers of
//! them. A stage that runs as a child process sends its events as JSON lines, so the child needs
//! no terminal and the parent needs no knowledge of models. This module must not know who reads.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How a stage ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Its command ran and its outputs were recorded.
    Ran,
    /// Its outputs came back from the store; nothing ran.
    Restored,
    /// Nothing had changed; nothing was touched.
    Fresh,
    /// Its command failed, or its inputs changed while it ran.
    Failed,
    /// A stage before it failed, or the run was interrupted.
    Skipped,
}

/// One thing that happened. The names are a public contract (`krammerti run --json`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A run began.
    RunStarted {
        /// Names the run's folder under `.krammerti/runs/`.
        run: String,
        /// The stages it looks at, in the order in which they would run.
        stages: Vec<String>,
        /// Whether it is that of a command typed by hand that is no stage, though it may have the name of one.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        by_hand: bool,
    },
    /// A stage's command was started.
    StageStarted {
        /// Its name in `pipeline.yaml`.
        stage: String,
        /// Why it had to run, one cause a line.
        reasons: Vec<String>,
    },
    /// A try of a stage failed, and there will be another one.
    StageRetry {
        /// Its name in `pipeline.yaml`.
        stage: String,
        /// Which try comes next; the first one is 1.
        attempt: u32,
        /// How many there are at most.
        attempts: u32,
        /// How long it waits before.
        seconds: f64,
        /// What went wrong.
        error: String,
    },
    /// A stage ended.
    StageFinished {
        /// Its name in `pipeline.yaml`.
        stage: String,
        /// How it ended.
        outcome: Outcome,
        /// Wall time of the command, 0 where none ran.
        seconds: f64,
        /// What went wrong, where it failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
        /// Its key, where it got as far as having one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// Work of known length went on.
    Progress {
        /// The stage that says so, where one does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stage: Option<String>,
        /// What is being counted: `request`, `step`, `trial`, `window`.
        what: String,
        /// How many are done.
        done: u64,
        /// How many there are at most.
        total: u64,
        /// What to say beside it, such as the losses.
        message: String,
    },
    /// Something worth a line in a log.
    Note {
        /// The stage that says so, where one does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stage: Option<String>,
        /// The line.
        message: String,
    },
    /// Something that a person should know even while a bar is shown.
    Warning {
        /// The stage that it is about, where there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stage: Option<String>,
        /// The line.
        message: String,
    },
    /// What a stage is built on, as far as it may move the last bits of its result. It goes into the
    /// build record, not into an artifact.
    BuiltOn {
        /// The stage that says so, where one does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stage: Option<String>,
        /// Name → value, such as `libtorch` → `2.11.0`.
        facts: BTreeMap<String, String>,
    },
    /// A result: a table, a forecast.
    Result {
        /// The stage that says so, where one does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stage: Option<String>,
        /// For a person: lines of plain text of at most 80 columns.
        text: String,
        /// For a program.
        data: serde_json::Value,
    },
    /// What went wrong in a subcommand that a runner started; the runner tells it.
    Failure {
        /// The error and its causes, on one line.
        message: String,
        /// What to do about it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
    },
    /// The last event of a run. Each stage stands in exactly one list.
    RunFinished {
        /// Stages whose command ran.
        ran: Vec<String>,
        /// Stages whose outputs came from the store.
        restored: Vec<String>,
        /// Stages with nothing to do.
        fresh: Vec<String>,
        /// Stages that failed.
        failed: Vec<String>,
        /// Stages that were not tried.
        skipped: Vec<String>,
        /// Wall time of the run.
        seconds: f64,
        /// The signal that ended it early, if one did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signal: Option<i32>,
    },
}

impl Event {
    /// Something worth a line in a log.
    pub fn note(message: impl Into<String>) -> Self {
        Self::Note {
            stage: None,
            message: message.into(),
        }
    }

    /// Something that a person should know even while a bar is shown.
    pub fn warning(message: impl Into<String>) -> Self {
        Self::Warning {
            stage: None,
            message: message.into(),
        }
    }

    /// Says which stage it comes from, where it does not yet.
    #[must_use]
    pub fn of_stage(mut self, name: &str) -> Self {
        if let Self::Progress { stage, .. }
        | Self::Note { stage, .. }
        | Self::Warning { stage, .. }
        | Self::BuiltOn { stage, .. }
        | Self::Result { stage, .. } = &mut self
        {
            stage.get_or_insert_with(|| name.to_owned());
        }
        self
    }
}

/// What a stage is built on, on one line.
pub fn on_one_line(facts: &BTreeMap<String, String>) -> String {
    let facts = facts.iter().map(|(name, value)| format!("{name} {value}"));
    facts.collect::<Vec<_>>().join(", ")
}

/// Receives events as they happen.
pub trait Observer {
    /// Takes one event. It must return soon: work waits for it.
    fn event(&mut self, event: Event);
}

impl<F: FnMut(Event)> Observer for F {
    fn event(&mut self, event: Event) {
        self(event);
    }
}
