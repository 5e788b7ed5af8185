//! Many stages: each after all that it needs, side by side where there are jobs and resources, and
//! stopping or going on where one fails.
//!
//! The scheduler knows stages by name, needs and resources only; an [`Executor`] brings one up to
//! date, so it is tested without processes or files. Workers take the next stage that is ready
//! themselves, so that a thousand fresh stages cost a thousand short looks and no hand-over.
//! Events of all workers go through one channel to whoever watches, in the order in which they came.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::Builder;
use std::time::{Duration, Instant};

use super::{Built, Interrupted, Stage};
use crate::event::{Event, Observer, Outcome};

/// How long a worker that has nothing to do sleeps before it looks whether the run was interrupted.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Brings one stage up to date. Called by several threads at once, for different stages.
pub trait Executor: Sync {
    /// How a stage can fail.
    type Error: std::fmt::Display + Send;

    /// Leaves, restores or runs a stage.
    fn execute(&self, stage: &Stage, observer: &mut dyn Observer) -> Result<Built, Self::Error>;

    /// The signal by which somebody wants the run to end.
    fn interrupted(&self) -> Option<Interrupted>;
}

/// The stages of a run, in running order.
#[derive(Clone, Debug, Default)]
pub struct Plan<'a> {
    /// Each comes after those that it needs.
    pub stages: Vec<&'a Stage>,
    /// For each stage the places of those that it needs, as far as they are in the plan.
    pub needs: Vec<Vec<usize>>,
}

impl<'a> Plan<'a> {
    /// A single stage.
    pub fn single(stage: &'a Stage) -> Self {
        Self {
            stages: vec![stage],
            needs: vec![Vec::new()],
        }
    }
}

/// How the stages of a plan are run.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// How many at most side by side; fewer where there are not so many threads.
    pub jobs: usize,
    /// What happens after a failure.
    pub after_failure: AfterFailure,
    /// How much of each resource there is. What is not named here is not limited.
    pub capacity: BTreeMap<String, u32>,
}

/// What became of the stages, by name, in the order of the plan.
#[derive(Clone, Debug, Default, PartialEq)]
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
    /// Wall time.
    pub seconds: f64,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
}

impl Summary {
    fn of(plan: &Plan<'_>, outcomes: &[Option<Outcome>]) -> Self {
        let mut summary = Self::default();
        for (stage, outcome) in plan.stages.iter().zip(outcomes) {
            let list = match outcome {
                Some(Outcome::Ran) => &mut summary.ran,
                Some(Outcome::Restored) => &mut summary.restored,
                Some(Outcome::Fresh) => &mut summary.fresh,
                Some(Outcome::Failed) => &mut summary.failed,
                Some(Outcome::Skipped) | None => &mut summary.skipped,
            };
            list.push(stage.name.clone());
        }
        summary
    }

    /// The last event of a run.
    pub fn event(&self) -> Event {
        let Self {
            ran,
            restored,
            fresh,
            failed,
            skipped,
            seconds,
            signal,
        } = self.clone();
        Event::RunFinished {
            ran,
            restored,
            fresh,
            failed,
            skipped,
            seconds,
            signal,
        }
    }
}

/// What happens after a stage has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterFailure {
    /// Nothing more is started.
    Stop,
    /// The stages that do not need it.
    KeepGoing,
}

/// Brings the stages of a plan up to date. Gives back the summary and the first error, if there was
/// one.
pub fn run<E: Executor>(
    plan: &Plan<'_>,
    schedule: &Schedule,
    executor: &E,
    observer: &mut dyn Observer,
) -> (Summary, Option<E::Error>) {
    let begun = Instant::now();
    let (sender, events) = mpsc::channel();
    let board = Board::new(plan, schedule);
    let workers = schedule.jobs.clamp(1, plan.stages.len().max(1));
    std::thread::scope(|scope| {
        let spawn = |_: &usize| {
            let (board, sender) = (&board, sender.clone());
            let worker = move || work(board, executor, &sender);
            Builder::new().spawn_scoped(scope, worker).is_ok()
        };
        let started = (0..workers).take_while(spawn).count();
        if started == 0 {
            // No thread is to be had: then what happens is told when all of it has happened.
            work(&board, executor, &sender);
        }
        // The channel ends when the last worker has.
        drop(sender);
        for event in events {
            observer.event(event);
        }
    });
    let state = board.into_state();
    let summary = Summary {
        seconds: begun.elapsed().as_secs_f64(),
        signal: executor.interrupted().map(|interrupted| interrupted.signal),
        ..Summary::of(plan, &state.outcomes)
    };
    observer.event(summary.event());
    (summary, state.failure)
}

/// Takes stages until there are none left.
fn work<E: Executor>(board: &Board<'_, E::Error>, executor: &E, sender: &mpsc::Sender<Event>) {
    while let Some(index) = board.next(executor) {
        let unfinished = Unfinished { board };
        let stage = board.plan.stages[index];
        let mut observer = |event: Event| {
            // Nobody listens any more only when the run is over.
            let _ = sender.send(event.of_stage(&stage.name));
        };
        let begun = Instant::now();
        let result = executor.execute(stage, &mut observer);
        let outcome = result
            .as_ref()
            .map_or(Outcome::Failed, |built| built.outcome);
        let worked = matches!(outcome, Outcome::Ran | Outcome::Failed);
        observer(Event::StageFinished {
            stage: stage.name.clone(),
            outcome,
            seconds: if worked {
                begun.elapsed().as_secs_f64()
            } else {
                0.0
            },
            error: result.as_ref().err().map(ToString::to_string),
            key: result.as_ref().ok().map(|built| built.key.to_string()),
        });
        board.finish(index, outcome, result.err());
        std::mem::forget(unfinished);
    }
}

/// A stage that a worker has taken. Dropped by a panic, it lets the others end, so that the panic is
/// seen.
struct Unfinished<'a, 'b, E> {
    board: &'a Board<'b, E>,
}

impl<E> Drop for Unfinished<'_, '_, E> {
    fn drop(&mut self) {
        self.board.state().broken = true;
        self.board.changed.notify_all();
    }
}

/// What all workers see.
struct Board<'a, E> {
    plan: &'a Plan<'a>,
    schedule: &'a Schedule,
    /// For each stage those that need it.
    readers: Vec<Vec<usize>>,
    state: Mutex<State<E>>,
    changed: Condvar,
}

struct State<E> {
    /// `None` while it is not ended.
    outcomes: Vec<Option<Outcome>>,
    /// How many of its needs are not ended.
    open: Vec<usize>,
    /// Those that wait for nothing but a worker, in running order.
    ready: std::collections::BTreeSet<usize>,
    running: usize,
    in_use: BTreeMap<String, u64>,
    /// A worker has panicked.
    broken: bool,
    failure: Option<E>,
}

impl<'a, E> Board<'a, E> {
    fn new(plan: &'a Plan<'a>, schedule: &'a Schedule) -> Self {
        let mut readers = vec![Vec::new(); plan.stages.len()];
        for (reader, needs) in plan.needs.iter().enumerate() {
            for &need in needs {
                readers[need].push(reader);
            }
        }
        let open: Vec<usize> = plan.needs.iter().map(Vec::len).collect();
        let state = State {
            outcomes: vec![None; plan.stages.len()],
            ready: (0..open.len()).filter(|&i| open[i] == 0).collect(),
            open,
            running: 0,
            in_use: BTreeMap::new(),
            broken: false,
            failure: None,
        };
        Self {
            plan,
            schedule,
            readers,
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State<E>> {
        // A panic of a worker ends the run through the scope, once the others have finished.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn into_state(self) -> State<E> {
        self.state
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a stage that is ready and for which there is room. `None` when nothing more will come.
    fn next(&self, executor: &impl Executor) -> Option<usize> {
        let mut state = self.state();
        loop {
            let failed = state.failure.is_some();
            let stop = failed && self.schedule.after_failure == AfterFailure::Stop;
            if stop || state.broken || executor.interrupted().is_some() {
                return None;
            }
            let fits = |&&index: &&usize| self.has_room(&state, index);
            if let Some(&index) = state.ready.iter().find(fits) {
                state.ready.remove(&index);
                state.running += 1;
                self.account(&mut state, index, true);
                return Some(index);
            }
            if state.running == 0 {
                return None;
            }
            let waited = self.changed.wait_timeout(state, LOOK_AGAIN);
            state = waited.map_or_else(|poisoned| poisoned.into_inner().0, |(state, _)| state);
        }
    }

    fn finish(&self, index: usize, outcome: Outcome, error: Option<E>) {
        let mut state = self.state();
        state.running -= 1;
        self.account(&mut state, index, false);
        state.outcomes[index] = Some(outcome);
        // What needs a failed stage never becomes ready.
        if outcome != Outcome::Failed {
            for &reader in &self.readers[index] {
                state.open[reader] -= 1;
                if state.open[reader] == 0 {
                    state.ready.insert(reader);
                }
            }
        }
        if let Some(error) = error {
            state.failure.get_or_insert(error);
        }
        drop(state);
        self.changed.notify_all();
    }

    /// What a stage takes of each limited resource: never more than there is, so that every stage
    /// can run, if need be alone.
    fn demands(&self, index: usize) -> impl Iterator<Item = (&String, u64, u64)> {
        let demands = self.plan.stages[index].policy.resources.iter();
        demands.filter_map(|(name, &demand)| {
            let there = *self.schedule.capacity.get(name)?;
            Some((name, demand.min(there).into(), there.into()))
        })
    }

    fn has_room(&self, state: &State<E>, index: usize) -> bool {
        self.demands(index).all(|(name, demand, there)| {
            let in_use = state.in_use.get(name).copied().unwrap_or(0);
            in_use + demand <= there
        })
    }

    fn account(&self, state: &mut State<E>, index: usize, takes: bool) {
        for (name, demand, _) in self.demands(index) {
            let in_use = state.in_use.entry(name.clone()).or_insert(0);
            *in_use = if takes {
                *in_use + demand
            } else {
                in_use.saturating_sub(demand)
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::Declared;
    use super::*;
    use crate::artifact::Digest;

    #[derive(Default)]
    struct Mock {
        fails: &'static str,
        interrupt_after: Option<usize>,
        tried: Mutex<Vec<String>>,
        side_by_side: AtomicUsize,
        most: AtomicUsize,
        /// Each stage waits until so many have run side by side.
        awaits: usize,
    }

    impl Executor for Mock {
        type Error = String;

        fn execute(&self, stage: &Stage, _: &mut dyn Observer) -> Result<Built, String> {
            self.tried.lock().unwrap().push(stage.name.clone());
            let now = self.side_by_side.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(now, Ordering::SeqCst);
            let begun = Instant::now();
            while self.most.load(Ordering::SeqCst) < self.awaits {
                assert!(
                    begun.elapsed() < Duration::from_secs(20),
                    "they never came together"
                );
                std::thread::yield_now();
            }
            self.side_by_side.fetch_sub(1, Ordering::SeqCst);
            if stage.name == self.fails {
                return Err("broken".into());
            }
            Ok(Built {
                outcome: Outcome::Ran,
                key: Digest::of(b""),
            })
        }

        fn interrupted(&self) -> Option<Interrupted> {
            self.interrupt_after
                .filter(|&after| self.tried.lock().unwrap().len() >= after)
                .map(|_| Interrupted { signal: 2 })
        }
    }

    fn stage(name: &str, resources: &[(&str, u32)]) -> Stage {
        let declared = Declared {
            outputs: vec![format!("out-{name}")],
            ..Declared::default()
        };
        let mut stage = Stage::from_declared(name, declared, false).unwrap();
        let resources = resources.iter().map(|&(name, n)| (name.to_owned(), n));
        stage.policy.resources = resources.collect();
        stage
    }

    fn schedule(jobs: usize, after_failure: AfterFailure) -> Schedule {
        Schedule {
            jobs,
            after_failure,
            capacity: [("gpu".to_owned(), 1), ("threads".to_owned(), 4)].into(),
        }
    }

    /// Three stages: `c` needs `a`, `b` stands alone.
    fn play(mock: &Mock, after_failure: AfterFailure) -> (Summary, Option<String>, Vec<Event>) {
        let stages = ["a", "b", "c"].map(|name| stage(name, &[]));
        let plan = Plan {
            stages: stages.iter().collect(),
            needs: vec![vec![], vec![], vec![0]],
        };
        let mut events = Vec::new();
        let (summary, error) = run(&plan, &schedule(1, after_failure), mock, &mut |event| {
            events.push(event);
        });
        (summary, error, events)
    }

    #[test]
    fn all_run_in_order() {
        let mock = Mock::default();
        let (summary, error, events) = play(&mock, AfterFailure::Stop);
        assert_eq!((summary.ran.len(), error), (3, None));
        assert_eq!(*mock.tried.lock().unwrap(), ["a", "b", "c"]);
        assert_eq!(events.last(), Some(&summary.event()));
    }

    /// Whether threads are to be had is for a whole process, so it takes one of its own.
    #[test]
    fn all_run_where_no_thread_is_to_be_had() {
        const CHILD: &str = "KRAMMERTI_TEST_NO_THREAD";
        if std::env::var_os(CHILD).is_some() {
            assert!(Builder::new().spawn(|| ()).is_err());
            return all_run_in_order();
        }
        let name = "pipeline::schedule::tests::all_run_where_no_thread_is_to_be_had";
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", name, "--test-threads", "1"]);
        // No stack can be so large.
        child
            .env(CHILD, "1")
            .env("RUST_MIN_STACK", (1_u64 << 60).to_string());
        let ended = child.output().unwrap();
        assert!(ended.status.success(), "{ended:?}");
    }

    #[test]
    fn nothing_runs_after_a_failure_or_an_interrupt() {
        let mock = Mock {
            fails: "b",
            ..Mock::default()
        };
        let (summary, error, _) = play(&mock, AfterFailure::Stop);
        assert_eq!(
            (summary.failed, summary.skipped),
            (vec!["b".into()], vec!["c".into()])
        );
        assert_eq!(error.as_deref(), Some("broken"));
        let mock = Mock {
            interrupt_after: Some(1),
            ..Mock::default()
        };
        let (summary, error, _) = play(&mock, AfterFailure::KeepGoing);
        assert_eq!(
            (summary.ran.len(), summary.skipped.len(), error),
            (1, 2, None)
        );
    }

    #[test]
    fn keeping_going_skips_only_what_needs_the_failed_one() {
        let mock = Mock {
            fails: "a",
            ..Mock::default()
        };
        let (summary, error, _) = play(&mock, AfterFailure::KeepGoing);
        assert_eq!(
            (summary.ran, summary.skipped),
            (vec!["b".into()], vec!["c".into()])
        );
        assert_eq!(
            (summary.failed.len(), error.as_deref()),
            (1, Some("broken"))
        );
    }

    fn run_side_by_side(jobs: usize, resources: &[(&str, u32)], expected: usize) {
        let stages: Vec<Stage> = (0..6).map(|i| stage(&format!("s{i}"), resources)).collect();
        let plan = Plan {
            stages: stages.iter().collect(),
            needs: vec![Vec::new(); stages.len()],
        };
        let mock = Mock {
            awaits: expected,
            ..Mock::default()
        };
        let (summary, _) = run(
            &plan,
            &schedule(jobs, AfterFailure::Stop),
            &mock,
            &mut |_: Event| {},
        );
        assert_eq!((summary.ran.len(), mock.most.into_inner()), (6, expected));
    }

    #[test]
    fn jobs_and_resources_bound_what_runs_side_by_side() {
        run_side_by_side(1, &[], 1);
        run_side_by_side(3, &[], 3);
        run_side_by_side(4, &[("gpu", 1)], 1);
        run_side_by_side(4, &[("threads", 2)], 2);
        // More than there is: alone, but it runs.
        run_side_by_side(4, &[("threads", 99)], 1);
    }

    #[test]
    fn no_stage_starts_before_its_needs_have_ended() {
        // A diamond of many layers: each stage needs the whole layer before it.
        let stages: Vec<Stage> = (0..30).map(|i| stage(&format!("s{i:02}"), &[])).collect();
        let needs = |i: usize| (0..30).filter(|need| need / 3 + 1 == i / 3).collect();
        let plan = Plan {
            stages: stages.iter().collect(),
            needs: (0..30).map(needs).collect(),
        };
        let mock = Mock::default();
        run(
            &plan,
            &schedule(4, AfterFailure::Stop),
            &mock,
            &mut |_: Event| {},
        );
        let tried = mock.tried.into_inner().unwrap();
        let layers: Vec<usize> = tried
            .iter()
            .map(|name| name[1..].parse::<usize>().unwrap() / 3)
            .collect();
        assert!(layers.is_sorted(), "{tried:?}");
    }

    #[test]
    fn a_panic_of_one_worker_ends_the_others() {
        struct Panics;

        impl Executor for Panics {
            type Error = String;

            fn execute(&self, _: &Stage, _: &mut dyn Observer) -> Result<Built, String> {
                panic!("on purpose");
            }

            fn interrupted(&self) -> Option<Interrupted> {
                None
            }
        }

        let stages = ["a", "b", "c"].map(|name| stage(name, &[]));
        let plan = Plan {
            stages: stages.iter().collect(),
            needs: vec![vec![], vec![0], vec![1]],
        };
        let ran = std::panic::catch_unwind(|| {
            run(
                &plan,
                &schedule(3, AfterFailure::Stop),
                &Panics,
                &mut |_: Event| {},
            )
        });
        assert!(ran.is_err());
    }
}
