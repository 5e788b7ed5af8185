//! Losses that nobody has read yet.

use std::time::{Duration, Instant};

use anyhow::Result;
use tch::{Kind, Tensor};

/// How long a GPU may be at work on steps that were asked of it: a signal is heeded after them.
const MOST_AHEAD: Duration = Duration::from_millis(200);
/// Steps that are asked of it at most.
const MOST: usize = 256;

/// Losses of steps that are still on the device, and how many windows each is the mean of.
pub(super) struct Losses {
    values: Vec<Tensor>,
    windows: Vec<usize>,
    /// Of the first of these steps.
    since: Instant,
    most: usize,
}

impl Losses {
    /// None yet, of an epoch of which at most so many steps are to lie ahead; 1 where nothing is known of their time.
    pub(super) fn begin(most: usize) -> Self {
        Self {
            values: Vec::new(),
            windows: Vec::new(),
            since: Instant::now(),
            most,
        }
    }

    /// What the next epoch is to begin with.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    pub(super) fn push(&mut self, loss: Tensor, windows: usize) {
        self.values.push(loss);
        self.windows.push(windows);
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// So many that a GPU would be left with too much work ahead of us to end soon.
    pub(super) fn are_many(&self) -> bool {
        self.len() >= self.most
    }

    pub(super) fn take(&mut self) -> Result<Vec<(f64, usize)>> {
        if self.values.is_empty() {
            return Ok(Vec::new());
        }
        let values = Tensor::stack(&std::mem::take(&mut self.values), 0);
        let values = Vec::<f64>::try_from(values.to_kind(Kind::Double))?;
        let now = Instant::now();
        // Some first steps take longer than all that come, and a short wait less than there is room for.
        let most = steps_within(MOST_AHEAD, values.len(), now - self.since);
        self.most = most.min(2 * self.most);
        self.since = now;
        Ok(values
            .into_iter()
            .zip(std::mem::take(&mut self.windows))
            .collect())
    }
}

/// How many steps there may be in a time, by how long some of them took.
fn steps_within(time: Duration, steps: usize, took: Duration) -> usize {
    let many = time.as_secs_f64() * steps as f64 / took.as_secs_f64().max(1e-9);
    (many as usize).clamp(1, MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_ahead_is_bounded_by_its_time() {
        let within = |steps, milliseconds| {
            steps_within(MOST_AHEAD, steps, Duration::from_millis(milliseconds))
        };
        assert_eq!(within(16, 480), 6, "of 30 ms each");
        assert_eq!(within(1, 3000), 1);
        assert_eq!(within(16, 2), MOST);
        assert_eq!(within(16, 0), MOST);
    }
}
