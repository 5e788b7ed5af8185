//! Threads that work on the parts of a step beside each other.
//!
//! libtorch's own threads share out every single operation, wait for each other by spinning, and so
//! are ruinous where anything else wants their cores: two trainings at once took many times as long
//! as one after the other. Here a thread takes a part of the windows through a whole step, and waits
//! asleep. Which thread takes which part is a matter of who is free; what comes of a part must not
//! depend on it, and is given back in the order of the parts.

use std::any::Any;
use std::panic::resume_unwind;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, Result};

use crate::guard;

/// As much as the threads have by which libtorch shares out an operation.
const STACK: usize = 8 << 20;

/// The calling thread and others, each with a state of its own.
pub(crate) struct Team<S> {
    own: S,
    others: Vec<Other<S>>,
}

type Job<S> = Box<dyn FnOnce(&S) + Send>;

/// Another thread; it ends when no job can come any more.
struct Other<S> {
    jobs: Option<Sender<Job<S>>>,
    thread: Option<JoinHandle<()>>,
}

impl<S: Send + 'static> Team<S> {
    /// The caller with a state, and a thread for each other one.
    pub(crate) fn new(own: S, others: impl IntoIterator<Item = S>) -> Result<Self> {
        let others = others.into_iter().map(Other::start);
        Ok(Self {
            own,
            others: others.collect::<Result<_>>()?,
        })
    }

    /// The caller's state.
    pub(crate) fn own(&self) -> &S {
        &self.own
    }

    /// Ends the other threads.
    pub(crate) fn into_own(self) -> S {
        self.own
    }

    /// What `work` makes of each task, in their order.
    ///
    /// Panics where `work` does, with what the first of these tasks panicked with.
    pub(crate) fn each<T, R>(&self, tasks: Vec<T>, work: fn(&S, &T) -> R) -> Vec<R>
    where
        T: Send + 'static,
        R: Send + 'static,
    {
        let made = self.each_until(tasks, work, || false);
        made.expect("nobody ends it")
    }

    /// The same; none where `ends` says so before all of them are done. The caller's thread asks before each
    /// task that it takes but the first.
    pub(crate) fn each_until<T, R>(
        &self,
        tasks: Vec<T>,
        work: fn(&S, &T) -> R,
        mut ends: impl FnMut() -> bool,
    ) -> Option<Vec<R>>
    where
        T: Send + 'static,
        R: Send + 'static,
    {
        let count = tasks.len();
        if count < 2 || self.others.is_empty() {
            let made = tasks.iter().enumerate().map(|(place, task)| {
                let is_ended = place > 0 && ends();
                (!is_ended).then(|| work(&self.own, task))
            });
            return made.collect();
        }
        let tasks = Arc::new(Mutex::new(tasks.into_iter().enumerate()));
        let (sender, made) = mpsc::channel();
        let job = || {
            let (tasks, sender) = (Arc::clone(&tasks), sender.clone());
            move |state: &S| {
                let taken = locked(&tasks).next();
                let Some((place, task)) = taken else {
                    return false;
                };
                let result = guard::caught(|| work(state, &task));
                // The receiver is there until all tasks are done.
                let _ = sender.send((place, result));
                true
            }
        };
        for other in self.others.iter().take(count - 1) {
            let one = job();
            other.start_on(Box::new(move |state| while one(state) {}));
        }
        let one = job();
        let mut is_ended = false;
        while !is_ended && one(&self.own) {
            is_ended = ends();
        }
        if is_ended {
            // Nobody takes another one; those that are being done are waited for.
            locked(&tasks).by_ref().for_each(drop);
        }
        drop((one, sender));
        in_order(count, made)
    }
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Results by their places; none where one of them is missing.
fn in_order<R>(
    count: usize,
    made: impl IntoIterator<Item = (usize, Result<R, Box<dyn Any + Send>>)>,
) -> Option<Vec<R>> {
    let mut results: Vec<_> = (0..count).map(|_| None).collect();
    for (place, result) in made {
        results[place] = Some(result);
    }
    let result =
        |result: Option<Result<R, _>>| Some(result?.unwrap_or_else(|panic| resume_unwind(panic)));
    results.into_iter().map(result).collect()
}

impl<S: Send + 'static> Other<S> {
    fn start(state: S) -> Result<Self> {
        let (jobs, taken) = mpsc::channel::<Job<S>>();
        let work = move || taken.into_iter().for_each(|job| job(&state));
        let thread = thread::Builder::new()
            .name("part of a step".to_owned())
            .stack_size(STACK)
            .spawn(work)
            .context("a thread cannot be started")?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    fn start_on(&self, job: Job<S>) {
        let jobs = self.jobs.as_ref().expect("there until it is dropped");
        jobs.send(job).expect("a thread that catches all panics");
    }
}

impl<S> Drop for Other<S> {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // It has caught all panics.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
    use std::thread::ThreadId;
    use std::time::Duration;

    fn team(threads: u64) -> Team<u64> {
        Team::new(0, 1..threads).unwrap()
    }

    #[test]
    fn results_come_in_the_order_of_the_tasks() {
        for threads in [1, 2, 5] {
            let team = team(threads);
            for count in [0, 1, 2, 7, 100] {
                let tasks: Vec<u64> = (0..count).collect();
                let squares: Vec<u64> = tasks.iter().map(|task| task * task).collect();
                assert_eq!(team.each(tasks, |_, task| task * task), squares);
            }
        }
    }

    /// Each waits for the others, so it would not end if one thread did two of them.
    #[test]
    fn tasks_are_worked_on_beside_each_other() {
        let all = Arc::new(Barrier::new(4));
        let tasks = vec![all; 4];
        let made: Vec<(u64, ThreadId)> = team(4).each(tasks, |state, all: &Arc<Barrier>| {
            all.wait();
            (*state, thread::current().id())
        });
        let states: BTreeSet<u64> = made.iter().map(|(state, _)| *state).collect();
        assert_eq!(states, BTreeSet::from([0, 1, 2, 3]));
        let own = made.iter().find(|(state, _)| *state == 0).unwrap();
        assert_eq!(own.1, thread::current().id());
    }

    #[test]
    fn the_first_panic_comes_through_and_the_team_goes_on() {
        let team = team(3);
        let odd = |_: &u64, task: &u64| {
            assert!(task.is_multiple_of(2), "task {task}");
            *task
        };
        let message = guard::guarded("work", || Ok(team.each((0..20).collect(), odd)));
        let message = message.unwrap_err().to_string();
        assert!(message.ends_with("task 1"), "{message}");
        assert_eq!(team.each(vec![2, 4], odd), [2, 4]);
    }

    #[test]
    fn tasks_are_left_where_it_is_told_to_end() {
        for threads in [1, 2, 5] {
            let team = team(threads);
            let (told, done) = (
                Arc::new(AtomicBool::new(false)),
                Arc::new(AtomicUsize::new(0)),
            );
            let task = (Arc::clone(&told), Arc::clone(&done));
            let made = team.each_until(
                vec![task; 1000],
                |state: &u64, (told, done): &(Arc<AtomicBool>, Arc<AtomicUsize>)| {
                    // The others do nothing until it is told to end, and then not much.
                    while *state > 0 && !told.load(Relaxed) {
                        thread::yield_now();
                    }
                    if *state > 0 {
                        thread::sleep(Duration::from_millis(2));
                    }
                    done.fetch_add(1, Relaxed);
                },
                || {
                    told.store(true, Relaxed);
                    true
                },
            );
            assert!(made.is_none());
            assert!(done.load(Relaxed) < 500, "{done:?}");
            assert!(
                team.each_until(vec![1], |_, task: &u64| *task, || true)
                    .is_some()
            );
            assert_eq!(team.each(vec![4, 5, 6], |_, task| *task), [4, 5, 6]);
        }
    }

    #[test]
    fn threads_end_with_the_team() {
        let state = Arc::new(());
        let states = || (0..3).map(|_| Arc::clone(&state));
        let team = Team::new(Arc::clone(&state), states()).unwrap();
        assert_eq!(team.each(vec![1, 2, 3], |_, task| *task), [1, 2, 3]);
        let own = team.into_own();
        assert_eq!(Arc::strong_count(&state), 2);
        drop(own);
    }
}
