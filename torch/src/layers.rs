//! Pieces that several nets are made of.

mod fork;

use tch::{Device, Kind, Tensor};

pub(crate) use fork::Fork;

use crate::architecture::Taken;
use crate::fused::{self, Outputs};
use crate::parameters::Spec;
use crate::pass::Pass;

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

    /// In numbers of some kind, whatever its parameters and what it reads are.
    pub(crate) fn forward_in(&self, kind: Kind, x: &Tensor) -> Tensor {
        let [x, weight, bias] = [x, self.weight, self.bias].map(|of| of.to_kind(kind));
        x.linear(&weight, Some(bias))
    }

    /// One of `of` equal parts of what it gives, by its place.
    pub(crate) fn forward_part(&self, x: &Tensor, place: i64, of: i64) -> Tensor {
        let size = self.bias.size()[0] / of;
        let part = |of: &Tensor| of.narrow(0, place * size, size);
        let (weight, bias) = (part(self.weight), part(self.bias));
        if x.device() == Device::Cpu {
            return x.linear(&weight, Some(bias));
        }
        // cuBLASLt adds a bias only where it begins at 16 bytes, which PyTorch does not look at.
        x.linear::<&Tensor>(&weight, None) + bias
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
        pass: Pass<'_>,
    ) -> (Tensor, Vec<Tensor>) {
        if self.are_libtorchs(steps, dropout, pass) {
            return self.of_libtorch(steps, state, pass.is_training());
        }
        let mut layers = self.one_by_one(steps, state, dropout, pass, true);
        let parts = layers[0].state.len();
        let part = |part| layers.iter().map(|layer| &layer.state[part]).collect();
        let state = (0..parts)
            .map(part)
            .map(|part: Vec<&Tensor>| Tensor::stack(&part, 0));
        let state = state.collect();
        let top = layers.pop().and_then(|layer| layer.steps);
        (top.expect("it was wanted"), state)
    }

    /// Units of a layer.
    fn hidden(&self) -> i64 {
        self.weights[1].size()[1]
    }

    /// Whether all layers are left to libtorch in one operation: on a GPU, where that is quicker than
    /// one by one. Not where something is dropped between them, which it draws in a way of its own.
    fn are_libtorchs(&self, steps: &Tensor, dropout: f64, pass: Pass<'_>) -> bool {
        steps.device() != Device::Cpu
            && !fused::fits(self.cell, steps, self.hidden())
            && (self.count == 1 || pass.draws(dropout).is_none())
    }

    /// All layers in one operation; `training` keeps what a gradient needs.
    fn of_libtorch(
        &self,
        steps: &Tensor,
        state: Option<&[Tensor]>,
        training: bool,
    ) -> (Tensor, Vec<Tensor>) {
        let hidden = self.hidden();
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
                    0.0,
                    training,
                    false,
                    true,
                );
                (top, vec![hidden, cell])
            }
            Cell::Gru => {
                let (top, hidden) =
                    steps.gru(&first[0], weights, true, layers, 0.0, training, false, true);
                (top, vec![hidden])
            }
        }
    }

    /// `[issues, hidden]`: what the top layer holds after the last step.
    pub(crate) fn last(&self, steps: &Tensor, dropout: f64, pass: Pass<'_>) -> Tensor {
        if self.are_libtorchs(steps, dropout, pass) {
            let (_, state) = self.of_libtorch(steps, None, pass.is_training());
            return state[0].select(0, self.count - 1);
        }
        let mut layers = self.one_by_one(steps, None, dropout, pass, false);
        layers.remove(layers.len() - 1).state.swap_remove(0)
    }

    /// What each layer gives; the top one its outputs only where they are wanted.
    fn one_by_one(
        &self,
        steps: &Tensor,
        state: Option<&[Tensor]>,
        dropout: f64,
        pass: Pass<'_>,
        outputs: bool,
    ) -> Vec<Outputs> {
        let mut layers: Vec<Outputs> = Vec::new();
        for (layer, weights) in self.weights.chunks(4).enumerate() {
            let below = layers.last_mut().and_then(|layer| layer.steps.take());
            let steps = match below {
                Some(below) => pass.dropout(&below, dropout),
                None => steps.shallow_clone(),
            };
            let of_layer = |part: &Tensor| part.select(0, layer as i64);
            let state: Option<Vec<Tensor>> =
                state.map(|state| state.iter().map(of_layer).collect());
            let wanted = outputs || layer + 1 < self.count as usize;
            layers.push(self.layer(&steps, state.as_deref(), weights, wanted, pass));
        }
        layers
    }

    /// One layer.
    fn layer(
        &self,
        steps: &Tensor,
        state: Option<&[Tensor]>,
        weights: &[&'a Tensor],
        outputs: bool,
        pass: Pass<'_>,
    ) -> Outputs {
        if fused::fits(self.cell, steps, self.hidden()) {
            return fused::recurrent(self.cell, steps, state, weights, outputs);
        }
        let layer = Self {
            cell: self.cell,
            count: 1,
            weights: weights.to_vec(),
        };
        let state = state.map(|state| state.iter().map(|part| part.unsqueeze(0)).collect());
        let state: Option<Vec<Tensor>> = state;
        let (top, state) = layer.of_libtorch(steps, state.as_deref(), pass.is_training());
        Outputs {
            steps: Some(top),
            state: state.iter().map(|part| part.squeeze_dim(0)).collect(),
        }
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
pub(crate) fn drop_units(x: Tensor, share: f64, pass: Pass<'_>) -> Tensor {
    let mask = unit_mask(&x, share, pass);
    masked(x, mask.as_ref())
}

/// What [`drop_units`] multiplies with; none where nothing is dropped.
pub(crate) fn unit_mask(x: &Tensor, share: f64, pass: Pass<'_>) -> Option<Tensor> {
    let generator = pass.draws(share)?;
    let mut shape = x.size();
    if shape.len() == 3 {
        shape[1] = 1;
    }
    Some(generator.mask(&shape, share, (x.kind(), x.device())))
}

/// Values times a mask, where there is one.
pub(crate) fn masked(x: Tensor, mask: Option<&Tensor>) -> Tensor {
    match mask {
        Some(mask) => x * mask,
        None => x,
    }
}

/// Gaussian noise on what a member reads, in the scaled units of the data. A few years hold far
/// fewer weather situations than windows, and without it a net soon knows them by heart.
pub(crate) fn noisy(x: &Tensor, noise: f64, pass: Pass<'_>) -> Tensor {
    match pass.draws(noise) {
        Some(generator) => x + generator.normal(x) * noise,
        None => x.shallow_clone(),
    }
}

/// The mean over one axis.
pub(crate) fn mean_over(x: &Tensor, axis: i64) -> Tensor {
    x.mean_dim([axis].as_slice(), false, Kind::Float)
}

#[cfg(test)]
mod fused_tests;

#[cfg(test)]
mod tests;
