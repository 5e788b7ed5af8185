//! The learning rate over a training.

use std::f64::consts::PI;

use krammerti::params::{Schedule as Wanted, TrainParams};

/// Where the cosine ends, as a share of the largest rate.
const FLOOR: f64 = 0.01;

/// The rate at each step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    wanted: Wanted,
    /// The share of all steps in which the rate rises.
    warm_up: f64,
    largest: f64,
    /// Steps in an epoch.
    batches: usize,
    /// Steps of the whole training.
    steps: usize,
}

impl Schedule {
    /// For a training with so many steps in an epoch.
    pub(crate) fn new(params: &TrainParams, batches: usize) -> Self {
        Self {
            wanted: params.schedule,
            warm_up: params.warm_up(),
            largest: params.learning_rate,
            batches,
            steps: batches * params.epochs,
        }
    }

    /// The rate of a step, counted from 0.
    pub(crate) fn rate(&self, step: usize) -> f64 {
        let warm_up = (self.steps as f64 * self.warm_up).max(1.0);
        let rise = ((step as f64 + 1.0) / warm_up).min(1.0);
        let then = match self.wanted {
            Wanted::Constant => 1.0,
            Wanted::Step { after, factor } => {
                let epoch = step / self.batches.max(1) + 1;
                factor.powi(epoch.saturating_sub(after) as i32)
            }
            Wanted::Cosine => self.cosine(step, warm_up),
        };
        self.largest * (rise * then)
    }

    /// Half a cosine down, after so many steps.
    fn cosine(&self, step: usize, after: f64) -> f64 {
        let gone = (step as f64 + 1.0 - after).max(0.0) / (self.steps as f64 - after).max(1.0);
        let cosine = 0.5 * (1.0 + (PI * gone.min(1.0)).cos());
        FLOOR + (1.0 - FLOOR) * cosine
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(wanted: Wanted, largest: f64, batches: usize, epochs: usize) -> Schedule {
        let params = TrainParams {
            schedule: wanted,
            learning_rate: largest,
            epochs,
            ..TrainParams::default()
        };
        Schedule::new(&params, batches)
    }

    #[test]
    fn a_cosine_rises_and_falls() {
        let schedule = schedule(Wanted::Cosine, 1.0, 100, 10);
        assert!(schedule.rate(0) < 0.1);
        assert!((schedule.rate(39) - 1.0).abs() < 1e-9);
        assert!((schedule.rate(999) - FLOOR).abs() < 1e-6);
        assert!((1..1000).all(|s| s < 40 || schedule.rate(s) <= schedule.rate(s - 1)));
    }

    #[test]
    fn steps_fall_at_each_epoch_after_some() {
        let wanted = Wanted::Step {
            after: 3,
            factor: 0.8,
        };
        let schedule = schedule(wanted, 0.5, 10, 6);
        let rates = [0, 29, 30, 39, 40, 59].map(|step| schedule.rate(step));
        let expected = [0.5, 0.5, 0.4, 0.4, 0.32, 0.256];
        for (rate, expected) in rates.iter().zip(expected) {
            assert!((rate - expected).abs() < 1e-12, "{rates:?}");
        }
    }

    #[test]
    fn any_of_them_can_rise_first() {
        let wanted = Wanted::Step {
            after: 1,
            factor: 0.5,
        };
        for (wanted, second_epoch) in [(wanted, 0.5), (Wanted::Constant, 1.0)] {
            let schedule = Schedule {
                warm_up: 0.2,
                ..schedule(wanted, 1.0, 10, 2)
            };
            let rates = [0, 1, 3, 4, 9, 10].map(|step| schedule.rate(step));
            let expected = [0.25, 0.5, 1.0, 1.0, 1.0, second_epoch];
            for (rate, expected) in rates.iter().zip(expected) {
                assert!((rate - expected).abs() < 1e-12, "{rates:?}");
            }
        }
    }

    #[test]
    fn one_step_is_enough() {
        assert!((schedule(Wanted::Cosine, 0.1, 1, 1).rate(0) - 0.1).abs() < 1e-9);
        assert!((schedule(Wanted::Constant, 0.1, 1, 1).rate(7) - 0.1).abs() < 1e-9);
    }
}
