//! The learning rate over a training.

use std::f64::consts::PI;

use krammerti::params::Schedule as Wanted;

/// Share of all steps in which the rate rises.
const WARM_UP: f64 = 0.04;
/// Where the cosine ends, as a share of the largest rate.
const FLOOR: f64 = 0.01;

/// The rate at each step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    wanted: Wanted,
    largest: f64,
    /// Steps in an epoch.
    batches: usize,
    /// Steps of the whole training.
    steps: usize,
}

impl Schedule {
    /// For a training of so many epochs at most.
    pub(crate) fn new(wanted: Wanted, largest: f64, batches: usize, epochs: usize) -> Self {
        Self {
            wanted,
            largest,
            batches,
            steps: batches * epochs,
        }
    }

    /// The rate of a step, counted from 0.
    pub(crate) fn rate(&self, step: usize) -> f64 {
        self.largest
            * match self.wanted {
                Wanted::Constant => 1.0,
                Wanted::Step { after, factor } => {
                    let epoch = step / self.batches.max(1) + 1;
                    factor.powi(epoch.saturating_sub(after) as i32)
                }
                Wanted::Cosine => self.cosine(step),
            }
    }

    /// A short rise, then half a cosine down.
    fn cosine(&self, step: usize) -> f64 {
        let warm_up = (self.steps as f64 * WARM_UP).max(1.0);
        let step = step as f64 + 1.0;
        if step < warm_up {
            return step / warm_up;
        }
        let gone = (step - warm_up) / (self.steps as f64 - warm_up).max(1.0);
        let cosine = 0.5 * (1.0 + (PI * gone.min(1.0)).cos());
        FLOOR + (1.0 - FLOOR) * cosine
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cosine_rises_and_falls() {
        let schedule = Schedule::new(Wanted::Cosine, 1.0, 100, 10);
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
        let schedule = Schedule::new(wanted, 0.5, 10, 6);
        let rates = [0, 29, 30, 39, 40, 59].map(|step| schedule.rate(step));
        let expected = [0.5, 0.5, 0.4, 0.4, 0.32, 0.256];
        for (rate, expected) in rates.iter().zip(expected) {
            assert!((rate - expected).abs() < 1e-12, "{rates:?}");
        }
    }

    #[test]
    fn one_step_is_enough() {
        assert!((Schedule::new(Wanted::Cosine, 0.1, 1, 1).rate(0) - 0.1).abs() < 1e-9);
        assert!((Schedule::new(Wanted::Constant, 0.1, 1, 1).rate(7) - 0.1).abs() < 1e-9);
    }
}
