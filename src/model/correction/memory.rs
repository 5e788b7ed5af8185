//! Which past forecasts count for one, and how much.

use anyhow::{Result, ensure};

use crate::data::{Frame, Window, issues_within};
use crate::params::{Contradiction, CorrectionParams, ModelParams};
use crate::time::Step;

/// How many half-lives an error counts after it was known; then it would be a sixteenth.
const HALF_LIVES: f64 = 4.0;
/// A half-life of more steps is taken for a mistake; weights would outgrow the data.
const LONGEST: f64 = 100_000.0;
/// Where the step is finer, one past forecast in this time counts.
const BETWEEN_S: i64 = 3600;

/// Which past forecasts count, and how much.
pub(super) struct Memory {
    lookback: usize,
    pub(super) horizon: usize,
    /// How many rows lie between two of them.
    pub(super) every: usize,
    /// How much counts what was known so many rows ago; beyond, nothing.
    pub(super) weights: Vec<f64>,
    /// How much it counts that errors may be nothing: as much as a horizon of them, lest the first
    /// few decide, but no more than a half-life.
    pub(super) nothing: f64,
}

impl Memory {
    /// An error where the half-life does not go with the step.
    pub(super) fn new(params: CorrectionParams, model: &ModelParams, step: Step) -> Result<Self> {
        let half_life = params.half_life.seconds() as f64 / step.seconds() as f64;
        ensure!(
            (1.0..=LONGEST).contains(&half_life),
            Contradiction(format!(
                "model.correction.half_life: expected 1 to {LONGEST} steps of {step}, found {}",
                params.half_life
            ))
        );
        let rows = (HALF_LIVES * half_life).ceil() as usize;
        let weight = |age: usize| (-(age as f64) / half_life).exp2();
        let every = (BETWEEN_S / step.seconds()) + i64::from(BETWEEN_S % step.seconds() > 0);
        Ok(Self {
            lookback: model.lookback,
            horizon: model.horizon,
            every: every.max(1) as usize,
            weights: (0..rows).map(weight).collect(),
            nothing: half_life.min(model.horizon as f64),
        })
    }

    /// How many rows before an issue row a forecast was issued that counts for it, at most: its last
    /// lead was known a horizon later.
    pub(super) fn rows(&self) -> usize {
        self.weights.len() + self.horizon - 1
    }

    /// Whether forecasts from a row count at all. Told by its time: a frame that begins later counts
    /// the same.
    pub(super) fn counts(&self, frame: &Frame, row: usize) -> bool {
        let step = frame.time(row).div_euclid(frame.step().seconds());
        step.rem_euclid(self.every as i64) == 0
    }

    /// The rows from which forecasts count for some from these, which are sorted and of one series.
    pub(super) fn earlier(&self, frame: &Frame, issues: &[usize]) -> Vec<usize> {
        let window = Window::new(self.lookback, self.horizon, 1);
        let (Some(window), [first, ..], [.., last]) = (window, issues, issues) else {
            return Vec::new();
        };
        let Some(block) = frame.layout.block_of(*first) else {
            return Vec::new();
        };
        // The last of them was issued one row before, and speaks of a horizon after that.
        let start = (first + 1).saturating_sub(self.rows() + self.lookback);
        let rows = start.max(block.rows.start)..(last + self.horizon).min(block.rows.end);
        let mut earlier = issues_within(frame, rows, window);
        earlier.retain(|&row| self.counts(frame, row));
        earlier
    }
}
