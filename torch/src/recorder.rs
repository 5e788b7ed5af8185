//! The steps of a training on a GPU: the first ones as they are, then one of them recorded, and from
//! there on replayed.
//!
//! All steps of as many windows ask the same of the GPU. What changes from one to the next lies in
//! memory that a recorded step reads: the issue rows, and the factors of the optimiser. The generator
//! of random numbers is seeded before each, recorded or not. A step of fewer windows, the last one of
//! an epoch, is never recorded.

use std::cell::Cell;

use anyhow::Error;
use tch::{Device, Kind, Tensor};

use crate::graph::Graph;
use crate::optimizer::Factors;

/// Steps before one is recorded: libraries make their plans and take their memory in the first ones.
const FIRST: usize = 3;
/// Numbers in a row of the table.
const WIDTH: usize = 4;

/// See the module.
pub(crate) struct Recorder<'a> {
    recording: &'a Recording,
    /// `[windows]`.
    issues: Tensor,
    /// `[steps of an epoch, WIDTH]`, and a row of it: that of the step at hand.
    table: Tensor,
    row: Tensor,
    state: State,
    failure: Option<Error>,
}

/// Whether the steps of a training are to be recorded. A recorded step keeps the memory that it takes
/// beside that of all else, so one that comes to the end of it is tried again without.
pub(crate) struct Recording(Cell<Wish>);

#[derive(Clone, Copy, PartialEq)]
enum Wish {
    Wanted,
    Done,
    Unwanted,
}

enum State {
    /// To be recorded after so many steps.
    Before(usize),
    /// What it makes of the loss lies there.
    Recorded {
        graph: Graph,
        loss: Tensor,
    },
    Never,
}

impl Recording {
    pub(crate) fn wanted() -> Self {
        Self(Cell::new(Wish::Wanted))
    }

    fn is_wanted(&self) -> bool {
        self.0.get() != Wish::Unwanted
    }

    /// Takes note that a step is recorded.
    pub(crate) fn done(&self) {
        self.0.set(Wish::Done);
    }

    /// Whether a step had been recorded; then from now on none is.
    pub(crate) fn give_up(&self) -> bool {
        let was_done = self.0.get() == Wish::Done;
        if was_done {
            self.0.set(Wish::Unwanted);
        }
        was_done
    }
}

impl<'a> Recorder<'a> {
    /// For steps of so many windows.
    pub(crate) fn new(windows: usize, device: Device, recording: &'a Recording) -> Self {
        Self {
            recording,
            issues: Tensor::zeros([windows as i64], (Kind::Int64, device)),
            table: Tensor::zeros([0, WIDTH as i64], (Kind::Float, device)),
            row: Tensor::zeros([WIDTH as i64], (Kind::Float, device)),
            state: if recording.is_wanted() {
                State::Before(FIRST)
            } else {
                State::Never
            },
            failure: None,
        }
    }

    /// Takes the factors of all steps of an epoch, in their order.
    pub(crate) fn begin(&mut self, factors: impl Iterator<Item = Factors<f64>>) {
        let numbers = |by: Factors<f64>| [by.decay.unwrap_or(1.0), by.epsilon, by.rate, by.share];
        let table: Vec<f32> = factors
            .flat_map(numbers)
            .map(|number| number as f32)
            .collect();
        let table = Tensor::from_slice(&table).view([-1, WIDTH as i64]);
        self.table = table.to(self.row.device());
    }

    /// Puts there what a step reads, the place of which is counted within the epoch, and gives back
    /// the issue rows as they lie there.
    pub(crate) fn lay(&mut self, place: usize, issues: &Tensor) -> Tensor {
        self.row.copy_(&self.table.get(place as i64));
        if issues.size() != self.issues.size() {
            return issues.shallow_clone();
        }
        self.issues.copy_(issues);
        self.issues.shallow_clone()
    }

    /// The factors of the step at hand.
    pub(crate) fn factors(&self, decays: bool) -> Factors<Tensor> {
        let number = |place| self.row.get(place);
        Factors {
            decay: decays.then(|| number(0)),
            epsilon: number(1),
            rate: number(2),
            share: number(3),
        }
    }

    /// Makes a step of these windows by `work`, which gives the loss, or as it was recorded.
    pub(crate) fn step(&mut self, issues: &Tensor, mut work: impl FnMut() -> Tensor) -> Tensor {
        if issues.size() != self.issues.size() {
            return work();
        }
        if let State::Before(steps @ 1..) = &mut self.state {
            *steps -= 1;
            return work();
        }
        if matches!(self.state, State::Before(_)) {
            self.state = match Graph::record(&mut work) {
                Ok((graph, loss)) => {
                    // Before it is replayed, for which the memory may not suffice.
                    self.recording.done();
                    State::Recorded { graph, loss }
                }
                Err(error) => {
                    self.failure = Some(error);
                    State::Never
                }
            };
        }
        match &self.state {
            State::Recorded { graph, loss } => {
                graph.replay();
                loss.copy()
            }
            _ => work(),
        }
    }

    /// Why no step was recorded, once.
    pub(crate) fn failure(&mut self) -> Option<Error> {
        self.failure.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(step: usize, decay: f64) -> Factors<f64> {
        Factors::of(step, 0.1, decay, 10.0)
    }

    #[test]
    fn a_step_reads_its_own_factors_and_windows() {
        let recording = Recording::wanted();
        let mut recorder = Recorder::new(3, Device::Cpu, &recording);
        recorder.begin((1..=4).map(|step| by(step, 0.5)));
        let whole = Tensor::from_slice(&[5_i64, 6, 7]);
        let laid = recorder.lay(2, &whole);
        assert_eq!(laid, whole);
        let factors = recorder.factors(true);
        let expected = by(3, 0.5);
        for (found, expected) in [
            (factors.decay.unwrap(), expected.decay.unwrap()),
            (factors.epsilon, expected.epsilon),
            (factors.rate, expected.rate),
            (factors.share, expected.share),
        ] {
            let found = found.double_value(&[]);
            assert!((found / expected - 1.0).abs() < 1e-6, "{found} {expected}");
        }
        assert!(recorder.factors(false).decay.is_none());
        // What a recorded step reads changes under it.
        let _ = recorder.lay(3, &Tensor::from_slice(&[1_i64, 2, 3]));
        assert_eq!(Vec::<i64>::try_from(laid).unwrap(), [1, 2, 3]);
        // A step of fewer windows leaves it alone.
        let fewer = recorder.lay(3, &Tensor::from_slice(&[9_i64]));
        assert_eq!(fewer.size(), [1]);
        assert_eq!(Vec::<i64>::try_from(&recorder.issues).unwrap(), [1, 2, 3]);
    }

    /// There is no GPU for it in a test: the training goes on step by step, and says once why.
    #[test]
    fn a_training_goes_on_where_nothing_can_be_recorded() {
        let recording = Recording::wanted();
        let mut recorder = Recorder::new(2, Device::Cpu, &recording);
        let windows = Tensor::from_slice(&[0_i64, 1]);
        let mut done = 0;
        for step in 1..=6 {
            let loss = recorder.step(&windows, || {
                done += 1;
                Tensor::from(f64::from(done))
            });
            assert_eq!(loss.double_value(&[]), f64::from(step));
            let failed = recorder.failure().is_some();
            assert_eq!(failed, step as usize == FIRST + 1);
        }
    }

    #[test]
    fn none_is_recorded_where_none_is_wanted() {
        let recording = Recording::wanted();
        assert!(recording.is_wanted());
        // Before any was, there is nothing to give up.
        assert!(!recording.give_up());
        let recording = Recording::wanted();
        recording.done();
        assert!(recording.give_up() && !recording.is_wanted() && !recording.give_up());
        let mut recorder = Recorder::new(1, Device::Cpu, &recording);
        let windows = Tensor::from_slice(&[0_i64]);
        for _ in 0..=FIRST {
            let _ = recorder.step(&windows, || Tensor::from(1.0));
        }
        assert!(recorder.failure().is_none() && matches!(recorder.state, State::Never));
    }
}
