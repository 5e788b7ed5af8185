//! Many stages: in order, stopping where one fails.
//!
//! This is the seam for what is still to come: jobs side by side, retries, timeouts, keep-going.
//! The scheduler knows stages only by name and order; an [`Executor`] brings one up to date, so it
//! is tested without processes or files.

use super::Stage;
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

/// Brings stages up to date, in the given order. After the first that fails the rest is skipped.
/// Gives back the summary and the error, if there was one.
pub fn run<E: Executor>(stages: &[&Stage], executor: &mut E) -> (Summary, Option<E::Error>) {
    let mut summary = Summary::default();
    let mut failure = None;
    for stage in stages {
        if failure.is_some() || executor.interrupted() {
            summary.add(&stage.name, Outcome::Skipped);
            continue;
        }
        let started = std::time::Instant::now();
        let (outcome, error) = match executor.execute(stage) {
            Ok(outcome) => (outcome, None),
            Err(error) => (Outcome::Failed, Some(error)),
        };
        let seconds = if matches!(outcome, Outcome::Ran | Outcome::Failed) {
            started.elapsed().as_secs_f64()
        } else {
            0.0
        };
        executor.event(Event::StageFinished {
            stage: stage.name.clone(),
            outcome,
            seconds,
            error: error.as_ref().map(ToString::to_string),
        });
        summary.add(&stage.name, outcome);
        failure = error;
    }
    executor.event(summary.event());
    (summary, failure)
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

    fn play(fails: &'static str, interrupt_after: usize) -> (Summary, Option<String>, Mock) {
        let stages: Vec<Stage> = ["a", "b", "c"]
            .iter()
            .map(|name| Stage::from_declared(name, Declared::default(), false).unwrap())
            .collect();
        let mut mock = Mock {
            fails,
            interrupt_after,
            tried: Vec::new(),
            events: Vec::new(),
        };
        let (summary, error) = run(&stages.iter().collect::<Vec<_>>(), &mut mock);
        (summary, error, mock)
    }

    #[test]
    fn all_run_in_order() {
        let (summary, error, mock) = play("", 9);
        assert_eq!(
            (summary.ran.as_slice(), error),
            (["a", "b", "c"].map(str::to_owned).as_slice(), None)
        );
        assert_eq!(mock.events.last(), Some(&summary.event()));
    }

    #[test]
    fn nothing_runs_after_a_failure_or_an_interrupt() {
        let (summary, error, mock) = play("b", 9);
        assert_eq!(
            (summary.failed, summary.skipped),
            (vec!["b".to_owned()], vec!["c".to_owned()])
        );
        assert_eq!((error.as_deref(), mock.tried.len()), (Some("broken"), 2));
        let (summary, error, _) = play("", 1);
        assert_eq!(
            (summary.ran.len(), summary.skipped.len(), error),
            (1, 2, None)
        );
    }
}
