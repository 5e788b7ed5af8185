//! One step of a GRU from one state for each of many inputs.
//!
//! To run it as so many sequences of one step would ask the state anew for each of them, which is as much work as
//! the input itself. Here the state is asked once, and inputs that are made of parts, some of them the same in all
//! windows, by part.

use tch::{Kind, Tensor};

use super::{Cell, Layers};

/// The weights of a layer, which takes the step.
pub(crate) struct Fork<'a> {
    input: &'a Tensor,
    hidden: &'a Tensor,
    input_bias: &'a Tensor,
    hidden_bias: &'a Tensor,
}

impl<'a> Fork<'a> {
    /// By the lowest of these layers.
    pub(crate) fn of(layers: &Layers<'a>) -> Self {
        assert_eq!(layers.cell, Cell::Gru, "the cell that is told here");
        let [input, hidden, input_bias, hidden_bias] = [0, 1, 2, 3].map(|at| layers.weights[at]);
        Self {
            input,
            hidden,
            input_bias,
            hidden_bias,
        }
    }

    /// `[..., gates]`: what the first columns of the inputs make of the gates.
    pub(crate) fn begin(&self, part: &Tensor) -> Tensor {
        self.product(part, 0, Some(self.input_bias))
    }

    /// `[..., gates]`: what a part of the inputs that begins at column `from` adds to that.
    pub(crate) fn read(&self, part: &Tensor, from: i64) -> Tensor {
        self.product(part, from, None)
    }

    fn product(&self, part: &Tensor, from: i64, bias: Option<&Tensor>) -> Tensor {
        let columns = part.size().last().copied().unwrap_or_default();
        part.linear(&self.input.narrow(1, from, columns), bias)
    }

    /// `[issues, inputs, hidden]`: from `[issues, hidden]` by all that was read of each input, `[issues, inputs, gates]`,
    /// or 1 in place of what all have in common.
    pub(crate) fn forward(&self, read: Tensor, state: &Tensor) -> Tensor {
        let kind = state.kind();
        // Gates are in 32 bits at least, as within a layer.
        let wide = |x: Tensor| match kind {
            Kind::BFloat16 => x.to_kind(Kind::Float),
            _ => x,
        };
        let asked = wide(state.linear(self.hidden, Some(self.hidden_bias))).unsqueeze(1);
        let read = wide(read);
        let state = wide(state.unsqueeze(1));
        let units = state.size()[2];
        let [of_input, of_state] = [&read, &asked].map(|of| of.split(units, 2));
        let reset = (&of_input[0] + &of_state[0]).sigmoid();
        let update = (&of_input[1] + &of_state[1]).sigmoid();
        let new = (&of_input[2] + reset * &of_state[2]).tanh();
        let moved = update * (&state - &new);
        (new + moved).to_kind(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;
    use crate::pass::Pass;
    use tch::Device;

    /// Numbers that differ, between -0.9 and 0.9.
    fn numbers(shape: &[i64], seed: f64) -> Tensor {
        let count: i64 = shape.iter().product();
        let places = Tensor::arange(count, (Kind::Double, Device::Cpu));
        ((places * 12.9898 + seed).sin() * 0.9).view(shape)
    }

    fn weights() -> [Tensor; 4] {
        let shapes: [&[i64]; 4] = [&[9, 4], &[9, 3], &[9], &[9]];
        [0, 1, 2, 3].map(|at| numbers(shapes[at], at as f64))
    }

    #[test]
    fn as_many_sequences_of_one_step() {
        for kind in [Kind::Double, Kind::Float] {
            let weights = weights().map(|weight| weight.to_kind(kind));
            let layers = Layers {
                cell: Cell::Gru,
                count: 1,
                weights: weights.iter().collect(),
            };
            let [state, inputs] =
                [numbers(&[5, 3], 7.0), numbers(&[5, 2, 4], 8.0)].map(|of| of.to_kind(kind));
            let many = state
                .unsqueeze(1)
                .expand([5, 2, 3], false)
                .reshape([1, 10, 3]);
            let steps = inputs.reshape([10, 1, 4]);
            let (expected, _) = layers.forward(&steps, Some(&[many]), 0.0, Pass::FORECAST);
            let fork = Fork::of(&layers);
            let parts = fork.begin(&inputs.narrow(2, 0, 1)) + fork.read(&inputs.narrow(2, 1, 3), 1);
            let found = fork.forward(parts, &state);
            assert_eq!(found.kind(), kind);
            golden::assert_near(&found, &expected.view([5, 2, 3]), 1e-6);
        }
    }
}
