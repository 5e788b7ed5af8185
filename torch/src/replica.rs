//! What a thread of a training works with: the net, the series and the loss, in handles of its own on
//! memory that all of them share. Between the steps nobody reads them, so that is when the weights
//! change.

use tch::{Kind, Tensor};

use crate::architecture::Batch;
use crate::generator::Generator;
use crate::loss::Loss;
use crate::net::Net;
use crate::pass::Pass;
use crate::windows::Windows;

/// What a training may keep in memory to spare itself the base of every window, in bytes.
const MOST_BASES: usize = 1 << 29;

/// See the module.
pub(crate) struct Replica {
    pub(crate) windows: Windows,
    pub(crate) net: Net,
    pub(crate) loss: Loss,
    /// The numbers that the body computes in.
    pub(crate) kind: Kind,
    /// The base of each window by its issue row, where there is room for them.
    pub(crate) bases: Option<Tensor>,
}

/// Some of the windows of a step.
pub(crate) struct Part {
    pub(crate) issues: Tensor,
    /// Of the windows of the step.
    pub(crate) share: f64,
    pub(crate) generator: Generator,
}

/// Some of the validation windows.
pub(crate) struct Checked {
    pub(crate) issues: Tensor,
    /// As [`crate::windows::seeds`] gives them.
    pub(crate) seeds: Vec<u64>,
}

impl Replica {
    /// For another thread.
    pub(crate) fn share(&self) -> Self {
        let share = |tensor: &Option<Tensor>| tensor.as_ref().map(Tensor::shallow_clone);
        Self {
            windows: self.windows.share(),
            net: self.net.share(),
            loss: self.loss.share(),
            kind: self.kind,
            bases: share(&self.bases),
        }
    }

    /// What a part adds to the mean loss of its step, and to the gradient of that.
    pub(crate) fn gradient(&self, part: &Part) -> (Tensor, Tensor) {
        let pass = Pass {
            generator: Some(&part.generator),
            kind: self.kind,
        };
        let batch = Batch {
            weights: self.windows.counts(&part.issues),
            ..self.batch(&part.issues)
        };
        let architecture = &*self.net.architecture;
        let tensors = self.net.tensors(pass);
        let mut loss = architecture.loss(&tensors, &batch, &self.loss, pass);
        // On a GPU a step has one part, and every operation is a launch.
        if part.share < 1.0 {
            loss *= part.share;
        }
        let gradient = self.net.parameters.gradient(&loss);
        (loss.detach(), gradient)
    }

    /// The sums over windows of the loss, and of the squared error of the mean, and how many windows
    /// these are: one of which half was observed is half a window.
    pub(crate) fn score(&self, checked: &Checked) -> [f64; 3] {
        let _no_grad = tch::no_grad_guard();
        let pass = Pass {
            generator: None,
            kind: self.kind,
        };
        let count = checked.seeds.len() as f64;
        let mut batch = Batch {
            weights: self.windows.observed(&checked.issues),
            ..self.batch(&checked.issues)
        };
        batch.inputs.seeds.clone_from(&checked.seeds);
        let architecture = &*self.net.architecture;
        let tensors = self.net.tensors(pass);
        let forecast = architecture
            .sketch(&tensors, &batch.inputs, &batch.base, pass)
            .averaged(&architecture.shape().links, architecture.draws_courses());
        let loss = if architecture.has_own_loss() {
            architecture.loss(&tensors, &batch, &self.loss, pass)
        } else {
            self.loss
                .of(&forecast, &batch.truth, batch.weights.as_ref())
        };
        let square = (&forecast.mean - &batch.truth).square();
        let of_windows = |mean: &Tensor| mean.double_value(&[]) * count;
        match &batch.weights {
            Some(observed) => [
                &loss,
                &(square * observed).mean(Kind::Double),
                &observed.mean(Kind::Double),
            ]
            .map(of_windows),
            None => [
                of_windows(&loss),
                of_windows(&square.mean(Kind::Double)),
                count,
            ],
        }
    }

    /// Whether the bases of all windows are kept, so that each is computed once: they take more than
    /// to read a value, and there is room for them.
    pub(crate) fn has_bases(&self, rows: usize) -> bool {
        let cells = self.net.architecture.shape().cells() as usize;
        self.net.architecture.solves_base() && rows * cells * size_of::<f32>() <= MOST_BASES
    }

    /// `[issues, cells]`: see [`crate::architecture::Architecture::base`].
    pub(crate) fn base(&self, issues: &Tensor) -> Tensor {
        let _no_grad = tch::no_grad_guard();
        let inputs = self.windows.inputs(issues);
        self.net.architecture.base(&self.net.constants, &inputs)
    }

    fn batch(&self, issues: &Tensor) -> Batch {
        let inputs = self.windows.inputs(issues);
        let base = match &self.bases {
            Some(bases) => bases.index_select(0, issues),
            None => self.net.architecture.base(&self.net.constants, &inputs),
        };
        Batch {
            base,
            truth: self.windows.truth(issues),
            weights: None,
            inputs,
        }
    }
}
