//! Threads that work on the parts of a step beside each other.
//!
//! libtorch's own threads share out every single operation, wait for each other by spinning, and so
//! are ruinous where anything else wants their cores: two trainings at once took many times as long
//! as one after the other. Here a thread takes a part of the windows through a whole step, and waits
//! asleep. Which thread takes which part is a matter of who is free; what comes of a part must not
//! depend on it, and is given back in the order of the parts.
//!
//! The calling thread takes parts as well, unless they take so long that whoever wants to end could not
//! be heard meanwhile. Then another one stands in for it, and it listens. Once it has heard, it goes on
//! without what is still being made.

use std::any::Any;
use std::cell::Cell;
use std::panic::resume_unwind;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::guard;

/// As much as the threads have by which libtorch shares out an operation.
const STACK: usize = 8 << 20;
/// A task that takes longer is not for the calling thread, which sleeps no longer either before it asks again
/// whether to end. Tests count how often it asks, which must not be a matter of how busy the machine is.
const LONG: Duration = if cfg!(test) {
    Duration::from_hours(1)
} else {
    Duration::from_millis(200)
};

/// The calling thread and others, each with a state of its own.
pub(crate) struct Team<S> {
    own: S,
    crew: Crew<S>,
    /// The longest time that a task took; unknown before the first.
    longest: Cell<Option<Duration>>,
    long: Duration,
}

/// The other threads. They end with it, once what they have begun is done.
struct Crew<S> {
    others: Vec<Other<S>>,
    stand_in: Option<Other<S>>,
    /// Whether some may still be at work on what nobody wants any more, and so are not waited for.
    is_left: Cell<bool>,
}

type Job<S> = Box<dyn FnOnce(&S) + Send>;

/// What became of the task at a place, and how long it took.
type Done<R> = (usize, Result<R, Box<dyn Any + Send>>, Duration);

/// Tasks that are yet to be taken.
type Tasks<T> = Arc<Mutex<std::iter::Enumerate<std::vec::IntoIter<T>>>>;

/// Another thread; it ends when no job can come any more.
struct Other<S> {
    jobs: Option<Sender<Job<S>>>,
    thread: Option<JoinHandle<()>>,
}

impl<S: Send + 'static> Team<S> {
    /// The caller with a state, and a thread for each other one.
    pub(crate) fn new(own: S, others: impl IntoIterator<Item = S>) -> Result<Self> {
        let others = others.into_iter().map(Other::start);
        let crew = Crew {
            others: others.collect::<Result<_>>()?,
            stand_in: None,
            is_left: Cell::new(false),
        };
        Ok(Self {
            own,
            crew,
            longest: Cell::new(None),
            long: LONG,
        })
    }

    /// With one more thread, for [`Team::each_until`] to work in the place of a caller that listens.
    pub(crate) fn listening(mut self, stand_in: S) -> Result<Self> {
        self.crew.stand_in = Some(Other::start(stand_in)?);
        Ok(self)
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
        let made = self.by_all(tasks, work, || false);
        made.expect("nobody ends it")
    }

    /// The same; none where `ends` says so before all of them are done. It is asked between tasks, and while
    /// they are being done where these take long.
    pub(crate) fn each_until<T, R>(
        &self,
        tasks: Vec<T>,
        work: fn(&S, &T) -> R,
        ends: impl FnMut() -> bool,
    ) -> Option<Vec<R>>
    where
        T: Send + 'static,
        R: Send + 'static,
    {
        let is_long = self.longest.get().is_none_or(|longest| longest > self.long);
        match &self.crew.stand_in {
            Some(stand_in) if is_long => self.by_others(stand_in, tasks, work, ends),
            _ => self.by_all(tasks, work, ends),
        }
    }

    /// By the calling thread too, which asks after each task that it takes.
    fn by_all<T, R>(
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
        if count < 2 || self.crew.others.is_empty() {
            return self.alone(&tasks, work, ends);
        }
        let others = self.crew.others.iter().take(count - 1);
        let (tasks, sender, made) = handed_out(others, tasks, work);
        let mut is_ended = false;
        while !is_ended && take_one(&self.own, &tasks, work, &sender) {
            is_ended = ends();
        }
        if is_ended {
            leave(&tasks);
        }
        drop(sender);
        // Those that are being done are waited for.
        self.in_order(count, made)
    }

    /// By the calling thread, which asks between tasks.
    fn alone<T, R>(
        &self,
        tasks: &[T],
        work: fn(&S, &T) -> R,
        mut ends: impl FnMut() -> bool,
    ) -> Option<Vec<R>> {
        let mut longest = Duration::ZERO;
        let made = tasks.iter().enumerate().map(|(place, task)| {
            if place > 0 && ends() {
                return None;
            }
            let began = Instant::now();
            let made = work(&self.own, task);
            longest = longest.max(began.elapsed());
            Some(made)
        });
        let made = made.collect();
        self.longest.set(self.longest.get().max(Some(longest)));
        made
    }

    /// By all other threads, while the calling one listens.
    fn by_others<T, R>(
        &self,
        stand_in: &Other<S>,
        tasks: Vec<T>,
        work: fn(&S, &T) -> R,
        mut ends: impl FnMut() -> bool,
    ) -> Option<Vec<R>>
    where
        T: Send + 'static,
        R: Send + 'static,
    {
        let count = tasks.len();
        let others = self.crew.others.iter().chain([stand_in]).take(count);
        let (tasks, sender, made) = handed_out(others, tasks, work);
        drop(sender);
        let mut done = Vec::with_capacity(count);
        while done.len() < count {
            match made.recv_timeout(self.long) {
                Ok(one) => done.push(one),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if done.len() < count && ends() {
                leave(&tasks);
                self.crew.is_left.set(true);
                return None;
            }
        }
        self.in_order(count, done)
    }

    /// Results by their places; none where one of them is missing.
    fn in_order<R>(&self, count: usize, made: impl IntoIterator<Item = Done<R>>) -> Option<Vec<R>> {
        let mut results: Vec<_> = (0..count).map(|_| None).collect();
        let mut longest = None;
        for (place, result, took) in made {
            results[place] = Some(result);
            longest = longest.max(Some(took));
        }
        self.longest.set(self.longest.get().max(longest));
        let result = |result: Option<Result<R, _>>| {
            Some(result?.unwrap_or_else(|panic| resume_unwind(panic)))
        };
        results.into_iter().map(result).collect()
    }
}

impl<S> Drop for Crew<S> {
    fn drop(&mut self) {
        for other in self.others.iter_mut().chain(&mut self.stand_in) {
            other.end(!self.is_left.get());
        }
    }
}

/// Tasks of which some threads have begun to take, and where they send what became of them.
fn handed_out<'a, S, T, R>(
    others: impl Iterator<Item = &'a Other<S>>,
    tasks: Vec<T>,
    work: fn(&S, &T) -> R,
) -> (Tasks<T>, Sender<Done<R>>, Receiver<Done<R>>)
where
    S: Send + 'static,
    T: Send + 'static,
    R: Send + 'static,
{
    let tasks = Arc::new(Mutex::new(tasks.into_iter().enumerate()));
    let (sender, made) = mpsc::channel();
    for other in others {
        other.start_on(&tasks, work, &sender);
    }
    (tasks, sender, made)
}

/// Takes the next task and does it; whether there was one.
fn take_one<S, T, R>(
    state: &S,
    tasks: &Tasks<T>,
    work: fn(&S, &T) -> R,
    sender: &Sender<Done<R>>,
) -> bool {
    let taken = locked(tasks).next();
    let Some((place, task)) = taken else {
        return false;
    };
    let began = Instant::now();
    let result = guard::caught(|| work(state, &task));
    // Nobody receives what was left.
    let _ = sender.send((place, result, began.elapsed()));
    true
}

/// From now on nobody takes one.
fn leave<T>(tasks: &Tasks<T>) {
    locked(tasks).by_ref().for_each(drop);
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Takes tasks until there are none.
    fn start_on<T, R>(&self, tasks: &Tasks<T>, work: fn(&S, &T) -> R, sender: &Sender<Done<R>>)
    where
        T: Send + 'static,
        R: Send + 'static,
    {
        let (tasks, sender) = (Arc::clone(tasks), sender.clone());
        let job = move |state: &S| while take_one(state, &tasks, work, &sender) {};
        let jobs = self.jobs.as_ref().expect("there until it is dropped");
        jobs.send(Box::new(job))
            .expect("a thread that catches all panics");
    }
}

impl<S> Other<S> {
    /// No job comes any more.
    fn end(&mut self, waits: bool) {
        self.jobs = None;
        if let Some(thread) = self.thread.take().filter(|_| waits) {
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

    /// It would never end if anybody waited for the tasks.
    #[test]
    fn a_caller_that_listens_leaves_what_takes_long() {
        for threads in [1, 3] {
            let team = Team {
                long: Duration::from_millis(1),
                ..team(threads).listening(9).unwrap()
            };
            let is_open = Arc::new(AtomicBool::new(false));
            let made = team.each_until(
                vec![Arc::clone(&is_open); 5],
                |_, is_open: &Arc<AtomicBool>| {
                    while !is_open.load(Relaxed) {
                        thread::sleep(Duration::from_millis(1));
                    }
                },
                || true,
            );
            assert!(made.is_none());
            drop(team);
            is_open.store(true, Relaxed);
        }
    }

    #[test]
    fn another_one_stands_in_where_tasks_take_long() {
        // How long they take shows by the ones before.
        for (long, by) in [(Duration::MAX, 0), (Duration::ZERO, 9)] {
            let team = Team {
                long,
                ..team(1).listening(9).unwrap()
            };
            let work = |state: &u64, (): &()| {
                thread::sleep(Duration::from_micros(1));
                *state
            };
            let states = || team.each_until(vec![(); 2], work, || false);
            assert_eq!(states(), Some(vec![9; 2]));
            assert_eq!(states(), Some(vec![by; 2]));
        }
    }

    #[test]
    fn threads_end_with_the_team() {
        let state = Arc::new(());
        let states = || (0..3).map(|_| Arc::clone(&state));
        let team = Team::new(Arc::clone(&state), states()).unwrap();
        let team = team.listening(Arc::clone(&state)).unwrap();
        assert_eq!(team.each(vec![1, 2, 3], |_, task| *task), [1, 2, 3]);
        let squares = team.each_until(vec![1, 2, 3], |_, task| task * task, || false);
        assert_eq!(squares, Some(vec![1, 4, 9]));
        let own = team.into_own();
        assert_eq!(Arc::strong_count(&state), 2);
        drop(own);
    }
}
