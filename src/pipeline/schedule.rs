//! Many stages: in order, stopping where one fails, or going on with those that do not need it.
//!
//! This is the seam for what is still to come: jobs side by side, retries, timeouts.
//! The scheduler knows stages only by name and order; an [`Executor`] brings one up to date, so it
//! is tested without processes or files.

use super::{Stage, graph};
use crate::event::{Event, Outcome};

/// Brings one stage up to date.
pub trait Executor {
    /// How a stage can fail.
    type Error: std::fmt::Display;

    /// Leaves, restores or runs a stage.
    fn execute(&mut self, stage: &Stage) -> Result<Outcome, Self::Error>;

    /// Tells what happened.
    fn event(&mut self, event: Event);

    /// Whether somebody wants the run to end.
    fn interrupted(&self) -> bool;
}

/// What became of the stages, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Their command ran.
    pub ran: Vec<String>,
    /// They came from the store.
    pub restored: Vec<String>,
    /// There was nothing to do.
    pub fresh: Vec<String>,
    /// They failed.
    pub failed: Vec<String>,
    /// They were not tried.
    pub skipped: Vec<String>,
}

impl Summary {
    fn add(&mut self, stage: &str, outcome: Outcome) {
        let list = match outcome {
            Outcome::Ran => &mut self.ran,
            Outcome::Restored => &mut self.restored,
            Outcome::Fresh => &mut self.fresh,
            Outcome::Failed => &mut self.failed,
            Outcome::Skipped => &mut self.skipped,
        };
        list.push(stage.to_owned());
    }

    /// The last event of a run.
    pub fn event(&self) -> Event {
        let Self {
            ran,
            restored,
            fresh,
            failed,
            skipped,
        } = self.clone();
        Event::RunFinished {
            ran,
            restored,
            fresh,
            failed,
            skipped,
        }
    }
}

/// What happens after a stage has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterFailure {
    /// Nothing more.
    Stop,
    /// The stages that do not need it.
    KeepGoing,
}

/// Brings stages up to date, in the given order, which is a running order. Gives back the summary
/// and the first error, if there was one.
pub fn run<E: Executor>(
    stages: &[&Stage],
    after_failure: AfterFailure,
    executor: &mut E,
) -> (Summary, Option<E::Error>) {
    let mut summary = Summary::default();
    let mut failure = None;
    let mut not_built: Vec<&Stage> = Vec::new();
    for &stage in stages {
        let stopped = failure.is_some() && after_failure == AfterFailure::Stop;
        let lacks = not_built.iter().any(|other| graph::feeds(other, stage));
        if stopped || lacks || executor.interrupted() {
            summary.add(&stage.name, Outcome::Skipped);
            not_built.push(stage);
            continue;
        }
        if let Some(error) = run_one(stage, executor, &mut summary) {
            not_built.push(stage);
            failure.get_or_insert(error);
        }
    }
    executor.event(summary.event());
    (summary, failure)
}

fn run_one<E: Executor>(
    stage: &Stage,
    executor: &mut E,
    summary: &mut Summary,
) -> Option<E::Error> {
    let started = std::time::Instant::now();
    let (outcome, error) = match executor.execute(stage) {
        Ok(outcome) => (outcome, None),
        Err(error) => (Outcome::Failed, Some(error)),
    };
    let worked = matches!(outcome, Outcome::Ran | Outcome::Failed);
    executor.event(Event::StageFinished {
        stage: stage.name.clone(),
        outcome,
        seconds: if worked {
            started.elapsed().as_secs_f64()
        } else {
            0.0
        },
        error: error.as_ref().map(ToString::to_string),
    });
    summary.add(&stage.name, outcome);
    error
}

#[cfg(test)]
mod tests {
    use super::super::Declared;
    use super::*;

    struct Mock {
        fails: &'static str,
        interrupt_after: usize,
        tried: Vec<String>,
        events: Vec<Event>,
    }

    impl Executor for Mock {
        type Error = String;

        fn execute(&mut self, stage: &Stage) -> Result<Outcome, String> {
            self.tried.push(stage.name.clone());
            if stage.name == self.fails {
                Err("broken".into())
            } else {
                Ok(Outcome::Ran)
            }
        }
        fn event(&mut self, event: Event) {
            self.events.push(event);
        }
        fn interrupted(&self) -> bool {
            self.tried.len() >= self.interrupt_after
        }
    }

    /// Three stages: `c` reads what `a` writes, `b` stands alone.
    fn play(
        fails: &'static str,
        interrupt_after: usize,
        after_failure: AfterFailure,
    ) -> (Summary, Option<String>, Mock) {
        let stage = |name: &str, reads: &[&str]| {
            let declared = Declared {
                inputs: reads.iter().map(|&path| path.to_owned()).collect(),
                outputs: vec![format!("out-{name}")],
                ..Declared::default()
            };
            Stage::from_declared(name, declared, false).unwrap()
        };
        let stages = [stage("a", &[]), stage("b", &[]), stage("c", &["out-a"])];
        let mut mock = Mock {
            fails,
            interrupt_after,
            tried: Vec::new(),
            events: Vec::new(),
        };
        let stages: Vec<&Stage> = stages.iter().collect();
        let (summary, error) = run(&stages, after_failure, &mut mock);
        (summary, error, mock)
    }

    #[test]
    fn all_run_in_order() {
        let (summary, error, mock) = play("", 9, AfterFailure::Stop);
        assert_eq!(
            (summary.ran.as_slice(), error),
            (["a", "b", "c"].map(str::to_owned).as_slice(), None)
        );
        assert_eq!(mock.events.last(), Some(&summary.event()));
    }

    #[test]
    fn nothing_runs_after_a_failure_or_an_interrupt() {
        let (summary, error, mock) = play("b", 9, AfterFailure::Stop);
        assert_eq!(
            (summary.failed, summary.skipped),
            (vec!["b".to_owned()], vec!["c".to_owned()])
        );
        assert_eq!((error.as_deref(), mock.tried.len()), (Some("broken"), 2));
        let (summary, error, _) = play("", 1, AfterFailure::KeepGoing);
        assert_eq!(
            (summary.ran.len(), summary.skipped.len(), error),
            (1, 2, None)
        );
    }

    #[test]
    fn keeping_going_skips_only_what_needs_the_failed_one() {
        let (summary, error, _) = play("a", 9, AfterFailure::KeepGoing);
        assert_eq!(
            (summary.ran, summary.skipped),
            (vec!["b".to_owned()], vec!["c".to_owned()])
        );
        assert_eq!(
            (summary.failed.len(), error.as_deref()),
            (1, Some("broken"))
        );
    }
}
