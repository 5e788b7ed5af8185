//! The learning rate over a training: a short rise, then half a cosine down.

use std::f64::consts::PI;

/// Share of all steps in which the rate rises.
const WARM_UP: f64 = 0.04;
/// Where the cosine ends, as a share of the largest rate.
const FLOOR: f64 = 0.01;

/// The rate at each step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    largest: f64,
    steps: usize,
}

impl Schedule {
    /// For a training of so many steps at most.
    pub(crate) fn new(largest: f64, steps: usize) -> Self {
        Self { largest, steps }
    }

    /// The rate of a step, counted from 0.
    pub(crate) fn rate(&self, step: usize) -> f64 {
        let warm_up = (self.steps as f64 * WARM_UP).max(1.0);
        let step = step as f64 + 1.0;
        if step < warm_up {
            return self.largest * step / warm_up;
        }
        let gone = (step - warm_up) / (self.steps as f64 - warm_up).max(1.0);
        let cosine = 0.5 * (1.0 + (PI * gone.min(1.0)).cos());
        self.largest * (FLOOR + (1.0 - FLOOR) * cosine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rises_and_falls() {
        let schedule = Schedule::new(1.0, 1000);
        assert!(schedule.rate(0) < 0.1);
        assert!((schedule.rate(39) - 1.0).abs() < 1e-9);
        assert!((schedule.rate(999) - FLOOR).abs() < 1e-6);
        assert!((1..1000).all(|s| s < 40 || schedule.rate(s) <= schedule.rate(s - 1)));
    }

    #[test]
    fn one_step_is_enough() {
        assert!((Schedule::new(0.1, 1).rate(0) - 0.1).abs() < 1e-9);
    }
}
