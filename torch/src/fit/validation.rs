//! How good the averaged weights are on the validation part.

use anyhow::Result;
use krammerti::model::Monitor;
use tch::Device;

use super::{Trainer, is_to_end};
use crate::diagnosis;
use crate::replica::{Checked, Replica};
use crate::windows::seeds;

/// Windows of a part where no gradient is asked for, on the CPU and on a GPU.
const CHECKED: usize = 128;
const CHECKED_CUDA: usize = 512;
/// The same of a kind that walks from lead to lead, in steps of the training: each lead takes a GPU as long for few
/// windows as for many. Without a graph so many take no more memory than a step, so a smaller `train.batch` helps where
/// that does not suffice.
const WALKED_STEPS: usize = 4;

impl Trainer<'_> {
    /// Loss, and root mean square error of the mean, of the averaged weights; none where it was told
    /// to end.
    pub(super) fn validate(&mut self, monitor: &mut dyn Monitor) -> Result<Option<(f64, f64)>> {
        let parameters = &self.net().parameters;
        let present = parameters.flat().copy();
        parameters.assign(&self.average);
        self.average_unseen();
        let scores = self.scores(monitor);
        // Threads that were left with a part may still read them; what they make of it nobody sees.
        self.net().parameters.assign(&present);
        scores
    }

    fn scores(&self, monitor: &mut dyn Monitor) -> Result<Option<(f64, f64)>> {
        let (at_once, each) = match self.machine.device {
            Device::Cpu => (2 * self.machine.threads * CHECKED, CHECKED),
            _ if self.net().architecture.has_own_loss() => {
                let most = self
                    .team
                    .own()
                    .windows
                    .at_once(WALKED_STEPS * self.progress.windows);
                (most, most)
            }
            _ => (CHECKED_CUDA, CHECKED_CUDA),
        };
        let (mut loss, mut squares, mut seen) = (0.0, 0.0, 0.0);
        for rows in self.task.validation.chunks(at_once) {
            if is_to_end(monitor) {
                return Ok(None);
            }
            let windows = &self.team.own().windows;
            let checked = rows.chunks(each).map(|rows| Checked {
                issues: windows.issues(rows),
                seeds: seeds(self.task.frame, rows),
            });
            let scored =
                (self.team).each_until(checked.collect(), Replica::score, || is_to_end(monitor));
            let Some(scored) = scored else {
                return Ok(None);
            };
            for [of_part, square, windows] in scored {
                loss += of_part;
                squares += square;
                seen += windows;
            }
            let odd = [("loss", loss), ("squared error", squares)];
            if let Some((what, sum)) = odd.into_iter().find(|(_, sum)| !sum.is_finite()) {
                return Err(diagnosis::NotFinite {
                    what,
                    value: sum / seen,
                    epoch: self.progress.epoch,
                    place: diagnosis::Place::Validation,
                    learning_rate: self.params.learning_rate,
                    columns: self.odd_columns(&windows.issues(rows)),
                }
                .into());
            }
        }
        Ok(Some((loss / seen, (squares / seen).sqrt())))
    }
}
