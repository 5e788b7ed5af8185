//! Losses that nobody has read yet.

use anyhow::Result;
use tch::{Kind, Tensor};

/// Losses of steps that are still on the device, and how many windows each is the mean of.
#[derive(Default)]
pub(super) struct Losses {
    values: Vec<Tensor>,
    windows: Vec<usize>,
}

impl Losses {
    pub(super) fn push(&mut self, loss: Tensor, windows: usize) {
        self.values.push(loss);
        self.windows.push(windows);
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// So many that a GPU would be left with too much work ahead of us to end soon.
    pub(super) fn are_many(&self) -> bool {
        self.len() >= 256
    }

    pub(super) fn take(&mut self) -> Result<Vec<(f64, usize)>> {
        if self.values.is_empty() {
            return Ok(Vec::new());
        }
        let values = Tensor::stack(&std::mem::take(&mut self.values), 0);
        let values = Vec::<f64>::try_from(values.to_kind(Kind::Double))?;
        Ok(values
            .into_iter()
            .zip(std::mem::take(&mut self.windows))
            .collect())
    }
}
