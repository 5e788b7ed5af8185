//! Hyper-parameter search: a study asks for a point, somebody trains with it, and tells the value.
//!
//! ```text
//! TuneParams ──▶ Study ──ask──▶ point ──▶ (train) ──tell──▶ Study ──▶ journal line
//! ```
//!
//! Ask and tell are the whole interface, as in Optuna; a loop around them is the caller's. This
//! module must not know what a model is, nor that files exist: a journal is text in and text out.
//! Smaller values are better.

mod journal;
mod sampler;
mod space;
mod study;

pub use journal::{Finished, Header, JournalError, Record, State, VERSION, parse, whole_lines};
pub use space::{Point, Space};
pub use study::{Outcome, Study, StudyError, Trial};
