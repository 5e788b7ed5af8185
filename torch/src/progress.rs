//! Where a training stands: all that must be kept for it to go on to the bit.
//!
//! Nothing random has a state of its own. The order of an epoch and the draws of a part of a step
//! are functions of the seed and of their numbers, so what must be kept is where the training stands, the
//! weights, the moments of the optimiser, the running average and the best weights so far.

use anyhow::{Context as _, Result};
use krammerti::model::{Checkpoint, Epoch};
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::weights::{fill_one, to_array};

/// What a training counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Progress {
    /// The epoch of the next step, from 1.
    pub(crate) epoch: usize,
    /// The place of the next step in its epoch, from 0.
    pub(crate) batch: usize,
    /// Steps that were made.
    pub(crate) steps: usize,
    /// The sum of losses over the windows of this epoch.
    pub(crate) losses: f64,
    /// Windows in a step; fewer than asked for where a GPU was too small.
    pub(crate) windows: usize,
    /// The epoch of the best weights, once there are any; 0 where those to begin with are.
    pub(crate) best_epoch: Option<usize>,
    /// Their loss on the validation part.
    pub(crate) best_loss: f64,
}

impl Progress {
    /// Before the first step.
    pub(crate) fn new(windows: usize) -> Self {
        Self {
            epoch: 1,
            batch: 0,
            steps: 0,
            losses: 0.0,
            windows,
            best_epoch: None,
            best_loss: f64::MAX,
        }
    }

    /// Remembers an epoch that is the best so far, and whether it is; a loss that is no number only is for want of
    /// another.
    pub(crate) fn take_if_best(&mut self, line: &Epoch) -> bool {
        let better = self.best_epoch.is_none() || line.validation_loss < self.best_loss;
        if better {
            self.best_epoch = Some(line.epoch);
            // JSON has no NaN; any number is better.
            self.best_loss = if line.validation_loss.is_nan() {
                f64::MAX
            } else {
                line.validation_loss
            };
        }
        better
    }

    /// Whether no epoch was better for so long.
    pub(crate) fn is_stale(&self, epoch: usize, patience: usize) -> bool {
        epoch - self.best_epoch.unwrap_or(0) >= patience
    }

    /// Packs it with tensors under their names.
    pub(crate) fn pack(
        &self,
        history: &[Epoch],
        tensors: &[(&str, &Tensor)],
    ) -> Result<Checkpoint> {
        Ok(Checkpoint {
            state: serde_json::to_string(self)?,
            history: history.to_vec(),
            tensors: tensors
                .iter()
                .map(|(name, tensor)| Ok(((*name).to_owned(), to_array(tensor)?)))
                .collect::<Result<_>>()?,
        })
    }

    /// Takes it from a checkpoint.
    pub(crate) fn unpack(checkpoint: &Checkpoint) -> Result<Self> {
        serde_json::from_str(&checkpoint.state).context("the checkpoint is not of this version")
    }
}

/// Fills a tensor with one of a checkpoint.
pub(crate) fn restore(checkpoint: &Checkpoint, name: &str, into: &Tensor) -> Result<()> {
    let array = checkpoint
        .tensors
        .get(name)
        .with_context(|| format!("the checkpoint lacks `{name}`"))?;
    fill_one(name, array, into).context("the checkpoint is of another net")
}

/// The stream of random numbers that draws the first weights.
pub(crate) fn first_draws(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// Of all windows of the training those of an epoch, counted from 1, in its order: each `stride`-th, with another one to begin
/// with in each epoch, so that none is left out for good. A stride that divides a cycle of the data would never see the rest of it.
pub(crate) fn order(windows: &[usize], stride: usize, seed: u64, epoch: usize) -> Vec<usize> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    // Stream 0 draws the first weights.
    rng.set_stream(epoch as u64);
    let first = phase(stride, epoch);
    let place = |turn: usize| windows[(first + turn * stride) % windows.len()];
    let count = windows.len().div_ceil(stride);
    let mut order: Vec<usize> = (0..count).map(place).collect();
    order.shuffle(&mut rng);
    order
}

/// What an epoch begins with; after `stride` epochs each was that once, and at any time those that were are spread over all:
/// multiples of a number near the golden section that has no divisor in common with the stride.
fn phase(stride: usize, epoch: usize) -> usize {
    let golden = (stride as f64 * 0.618).round() as usize;
    let step = (golden.max(1)..stride)
        .find(|&step| gcd(step, stride) == 1)
        .unwrap_or(1);
    (epoch - 1) % stride * step % stride
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_that_of_its_epoch_and_seed() {
        let windows: Vec<usize> = (10..60).collect();
        let first = order(&windows, 1, 1, 1);
        assert_eq!(first, order(&windows, 1, 1, 1));
        assert_ne!(first, order(&windows, 1, 1, 2));
        assert_ne!(first, order(&windows, 1, 2, 1));
        assert_eq!(sorted(first), windows);
    }

    fn sorted(mut windows: Vec<usize>) -> Vec<usize> {
        windows.sort_unstable();
        windows
    }

    #[test]
    fn a_stride_comes_to_all_windows_in_time() {
        let windows: Vec<usize> = (10..60).collect();
        for stride in [1, 2, 5, 7, 12, 49, 50, 51, 1000] {
            let epochs = stride.min(100);
            let of_epoch = |epoch| sorted(order(&windows, stride, 3, epoch));
            let first: Vec<usize> = windows.iter().copied().step_by(stride).collect();
            assert_eq!(of_epoch(1), first);
            let mut seen = vec![0; 60];
            for epoch in 1..=epochs {
                let mut of_epoch = of_epoch(epoch);
                assert_eq!(of_epoch.len(), first.len());
                of_epoch.dedup();
                assert_eq!(of_epoch.len(), first.len(), "none twice");
                for window in of_epoch {
                    seen[window] += 1;
                }
            }
            if stride <= 51 {
                assert!(
                    seen[10..].iter().all(|&times| (1..=2).contains(&times)),
                    "{stride}: {seen:?}"
                );
            }
            if stride > 3 {
                assert!(phase(stride, 2).abs_diff(phase(stride, 3)) > stride / 5);
            }
        }
    }

    #[test]
    fn it_reads_as_it_was_packed() {
        let progress = Progress {
            epoch: 3,
            batch: 17,
            steps: 217,
            losses: 0.1 + 0.2,
            windows: 64,
            best_epoch: Some(2),
            best_loss: 1.0 / 3.0,
        };
        let tensor = Tensor::from_slice(&[1.0_f32, -2.5]);
        let checkpoint = progress.pack(&[], &[("weights", &tensor)]).unwrap();
        assert_eq!(Progress::unpack(&checkpoint).unwrap(), progress);
        let filled = tensor.zeros_like();
        restore(&checkpoint, "weights", &filled).unwrap();
        assert_eq!(filled, tensor);
        let error = restore(&checkpoint, "moments", &filled).unwrap_err();
        assert!(error.to_string().contains("lacks `moments`"), "{error}");
        let error = restore(&checkpoint, "weights", &filled.view([2, 1])).unwrap_err();
        assert!(
            format!("{error:#}").contains("expected shape [2, 1], found [2]"),
            "{error:#}"
        );
    }

    #[test]
    fn a_loss_that_is_no_number_is_never_better() {
        let line = |epoch, validation_loss| Epoch {
            epoch,
            train_loss: None,
            validation_loss,
            validation_rmse: 0.0,
            learning_rate: 0.0,
        };
        let mut progress = Progress::new(1);
        assert!(progress.take_if_best(&line(1, f64::NAN)));
        assert!(progress.take_if_best(&line(2, 1.0)));
        assert!(
            !progress.take_if_best(&line(3, f64::NAN)) && !progress.take_if_best(&line(4, 1.0))
        );
        assert!(progress.is_stale(5, 3) && !progress.is_stale(4, 3));
    }
}
