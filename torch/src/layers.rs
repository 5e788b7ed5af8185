//! Pieces that several nets are made of.

use tch::{Kind, Tensor};

use crate::net::{Pass, Taken};
use crate::parameters::Spec;

/// Weight and bias of a linear map.
pub(crate) struct Dense<'a> {
    weight: &'a Tensor,
    bias: &'a Tensor,
}

impl<'a> Dense<'a> {
    /// Its parameters, drawn as PyTorch does: uniform up to 1/√(inputs).
    pub(crate) fn specs(name: &str, from: i64, to: i64) -> [Spec; 2] {
        [
            Spec::by_fan_in(format!("{name}.weight"), vec![to, from], from),
            Spec::by_fan_in(format!("{name}.bias"), vec![to], from),
        ]
    }

    pub(crate) fn take(taken: &mut Taken<'a>) -> Self {
        Self {
            weight: taken.next(),
            bias: taken.next(),
        }
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        x.linear(self.weight, Some(self.bias))
    }
}

/// The cell of a recurrent layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cell {
    /// Hochreiter and Schmidhuber 1997, with a forget gate.
    Lstm,
    /// Cho et al. 2014, in the form of cuDNN and PyTorch.
    Gru,
}

/// Stacked recurrent layers.
pub(crate) struct Layers<'a> {
    cell: Cell,
    count: i64,
    weights: Vec<&'a Tensor>,
}

impl<'a> Layers<'a> {
    /// Their parameters, drawn as PyTorch does: uniform up to 1/√(hidden).
    pub(crate) fn specs(
        cell: Cell,
        name: &str,
        layers: i64,
        inputs: i64,
        hidden: i64,
    ) -> Vec<Spec> {
        let gates = cell.gates() * hidden;
        (0..layers)
            .flat_map(|layer| {
                let from = if layer == 0 { inputs } else { hidden };
                [
                    ("input", vec![gates, from]),
                    ("hidden", vec![gates, hidden]),
                    ("input_bias", vec![gates]),
                    ("hidden_bias", vec![gates]),
                ]
                .map(|(part, shape)| {
                    Spec::by_fan_in(format!("{name}{layer}.{part}"), shape, hidden)
                })
            })
            .collect()
    }

    pub(crate) fn take(cell: Cell, layers: i64, taken: &mut Taken<'a>) -> Self {
        Self {
            cell,
            count: layers,
            weights: taken.take(4 * layers as usize),
        }
    }

    /// From `[issues, steps, inputs]` to the top layer's `[issues, steps, hidden]`, and the state
    /// of all layers after the last step, each `[layers, issues, hidden]`.
    pub(crate) fn forward(
        &self,
        steps: &Tensor,
        state: Option<&[Tensor]>,
        dropout: f64,
        training: bool,
    ) -> (Tensor, Vec<Tensor>) {
        let hidden = self.weights[1].size()[1];
        let zeros = || {
            let shape = [self.count, steps.size()[0], hidden];
            vec![Tensor::zeros(shape, (steps.kind(), steps.device()))]
        };
        let first: Vec<Tensor> = match state {
            Some(state) => state.iter().map(Tensor::shallow_clone).collect(),
            None => zeros(),
        };
        let (weights, layers) = (&self.weights, self.count);
        match self.cell {
            Cell::Lstm => {
                let (top, hidden, cell) = steps.lstm(
                    &[&first[0], first.last().unwrap_or(&first[0])],
                    weights,
                    true,
                    layers,
                    dropout,
                    training,
                    false,
                    true,
                );
                (top, vec![hidden, cell])
            }
            Cell::Gru => {
                let (top, hidden) = steps.gru(
                    &first[0], weights, true, layers, dropout, training, false, true,
                );
                (top, vec![hidden])
            }
        }
    }

    /// `[issues, hidden]`: what the top layer holds after the last step.
    pub(crate) fn last(&self, steps: &Tensor, dropout: f64, training: bool) -> Tensor {
        let (_, state) = self.forward(steps, None, dropout, training);
        state[0].select(0, self.count - 1)
    }
}

impl Cell {
    fn gates(self) -> i64 {
        match self {
            Self::Lstm => 4,
            Self::Gru => 3,
        }
    }
}

/// Dropout of the same units at every step or lead of a window: it is a stronger regulariser for
/// series than dropout of single values (Gal and Ghahramani 2016), and draws far fewer numbers.
pub(crate) fn drop_units(x: Tensor, share: f64, pass: Pass) -> Tensor {
    if !pass.training || share == 0.0 {
        return x;
    }
    let mut shape = x.size();
    if shape.len() == 3 {
        shape[1] = 1;
    }
    let mask = Tensor::ones(shape, (x.kind(), x.device())).dropout(share, true);
    x * mask
}

/// Gaussian noise on what a member reads, in the scaled units of the data. A few years hold far
/// fewer weather situations than windows, and without it a net soon knows them by heart.
pub(crate) fn noisy(x: &Tensor, noise: f64, pass: Pass) -> Tensor {
    if pass.training && noise > 0.0 {
        x + x.randn_like() * noise
    } else {
        x.shallow_clone()
    }
}

/// The mean over one axis.
pub(crate) fn mean_over(x: &Tensor, axis: i64) -> Tensor {
    x.mean_dim([axis].as_slice(), false, Kind::Float)
}
