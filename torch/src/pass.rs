//! How a forward pass is made: in which numbers, and with which draws.

use tch::{Kind, Tensor};

use crate::generator::Generator;

/// How a forward pass is made.
#[derive(Clone, Copy)]
pub(crate) struct Pass<'a> {
    /// What dropout and noise are drawn from, in training.
    pub(crate) generator: Option<&'a Generator>,
    /// The numbers that the body of a net computes in.
    pub(crate) kind: Kind,
}

impl Pass<'static> {
    pub(crate) const FORECAST: Self = Self {
        generator: None,
        kind: Kind::Float,
    };
}

impl<'a> Pass<'a> {
    pub(crate) fn is_training(self) -> bool {
        self.generator.is_some()
    }

    /// The generator, where a share of something is to be dropped or noise of some size is wanted.
    pub(crate) fn draws(self, amount: f64) -> Option<&'a Generator> {
        self.generator.filter(|_| amount > 0.0)
    }

    /// Dropout of single values.
    pub(crate) fn dropout(self, x: &Tensor, share: f64) -> Tensor {
        match self.draws(share) {
            Some(generator) => generator.dropout(x, share),
            None => x.shallow_clone(),
        }
    }

    /// A tensor in the numbers of this pass.
    pub(crate) fn cast(self, tensor: &Tensor) -> Tensor {
        // A conversion to what it is already would still be a call.
        if self.kind == Kind::Float {
            tensor.shallow_clone()
        } else {
            tensor.to_kind(self.kind)
        }
    }
}
