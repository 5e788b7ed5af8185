//! Why a command gave no result.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::Interrupted;
use crate::time::Span;

/// Why a command gave no result.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The program could not be started.
    #[error("cannot start `{program}`: {source}")]
    Start {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// It ended with a code other than 0, or by a signal.
    #[error(transparent)]
    Failed(#[from] Box<Failed>),
    /// It ran longer than it may.
    #[error("it ran longer than its timeout of {}", Span::from(*.limit))]
    TimedOut {
        /// How long it may run.
        limit: Duration,
    },
    /// A signal told us to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// Parameters that it reads were edited while it ran.
    #[error("{} changed while the stage ran, so its result is not kept", .names.join(", "))]
    ParamsChanged {
        /// Their names.
        names: Vec<String>,
    },
    /// Its log could not be written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A command that ended with a code other than 0, or by a signal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .message.clone().unwrap_or_else(|| format!("`{program}` ended with {status}")))]
pub struct Failed {
    /// The program.
    pub program: String,
    /// How it ended.
    pub status: String,
    /// Its exit code, unless a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// What a subcommand of krammerti said went wrong.
    pub message: Option<String>,
    /// What it said to do about it.
    pub hint: Option<String>,
    /// The end of its log.
    pub log_tail: String,
    /// The whole log.
    pub log: PathBuf,
    /// Whether another try may end better.
    pub may_pass: bool,
    /// Of a stage that ran confined, the outputs that it never wrote.
    pub strict: Option<Vec<String>>,
}
