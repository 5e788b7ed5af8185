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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::assert_gradient;
    use crate::golden;

    const PARTS: [&str; 4] = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"];

    /// The weights of two layers of 3 on 2 inputs, in the order of their specs.
    fn weights(cell: Cell) -> Vec<Tensor> {
        let specs = Layers::specs(cell, "cell", 2, 2, 3);
        let keys = (0..2).flat_map(|layer| PARTS.map(|part| format!("{part}_l{layer}")));
        let weights: Vec<Tensor> = keys
            .map(|key| golden::tensor(&format!("{}.{key}", name(cell))))
            .collect();
        assert_eq!(specs.len(), weights.len());
        for (spec, weight) in specs.iter().zip(&weights) {
            assert_eq!(spec.shape, weight.size(), "{}", spec.name);
        }
        weights
    }

    fn layers(cell: Cell, weights: &[Tensor]) -> Layers<'_> {
        Layers {
            cell,
            count: 2,
            weights: weights.iter().collect(),
        }
    }

    fn name(cell: Cell) -> &'static str {
        match cell {
            Cell::Lstm => "lstm",
            Cell::Gru => "gru",
        }
    }

    fn given(cell: Cell) -> Vec<Tensor> {
        let parts = ["hidden", "cell"].map(|part| golden::tensor(&format!("cells.given.{part}")));
        parts.into_iter().take(states(cell).len()).collect()
    }

    fn states(cell: Cell) -> &'static [&'static str] {
        match cell {
            Cell::Lstm => &["hidden", "cell"],
            Cell::Gru => &["hidden"],
        }
    }

    #[test]
    fn cells_of_pytorch() {
        let input = golden::tensor("cells.input");
        for cell in [Cell::Lstm, Cell::Gru] {
            let (weights, given) = (weights(cell), given(cell));
            let layers = layers(cell, &weights);
            for (case, state) in [("zero", None), ("given", Some(&given[..]))] {
                let key = |part: &str| format!("{}.{case}.{part}", name(cell));
                let (top, after) = layers.forward(&input, state, 0.0, false);
                golden::assert_golden(&top, &key("output"), 1e-12);
                assert_eq!(after.len(), states(cell).len());
                for (state, part) in after.iter().zip(states(cell)) {
                    golden::assert_golden(state, &key(part), 1e-12);
                }
            }
            let last = golden::tensor(&format!("{}.zero.output", name(cell))).select(1, -1);
            golden::assert_near(&layers.last(&input, 0.0, false), &last, 1e-12);
        }
    }

    #[test]
    fn a_state_goes_on_where_it_was_left() {
        let input = golden::tensor("cells.input");
        for cell in [Cell::Lstm, Cell::Gru] {
            let weights = weights(cell);
            let layers = layers(cell, &weights);
            let (whole, _) = layers.forward(&input, None, 0.0, false);
            let (_, state) = layers.forward(&input.narrow(1, 0, 3), None, 0.0, false);
            let (rest, _) = layers.forward(&input.narrow(1, 3, 1), Some(&state), 0.0, false);
            golden::assert_near(&rest, &whole.narrow(1, 3, 1), 1e-12);
        }
    }

    /// The layers are libtorch's; how their weights, state and output are handed on is ours.
    #[test]
    fn gradients_are_those_of_finite_differences() {
        let input = golden::tensor("cells.input");
        for cell in [Cell::Lstm, Cell::Gru] {
            let (weights, given) = (weights(cell), given(cell));
            assert_gradient(&input, 1e-5, 1e-8, |input| {
                layers(cell, &weights)
                    .forward(input, Some(&given), 0.0, true)
                    .0
            });
            assert_gradient(&given[0], 1e-5, 1e-8, |hidden| {
                let mut state = vec![hidden.shallow_clone()];
                state.extend(given[1..].iter().map(Tensor::shallow_clone));
                layers(cell, &weights)
                    .forward(&input, Some(&state), 0.0, true)
                    .0
            });
            for at in 0..weights.len() {
                assert_gradient(&weights[at], 1e-5, 1e-8, |weight| {
                    let mut weights: Vec<Tensor> =
                        weights.iter().map(Tensor::shallow_clone).collect();
                    weights[at] = weight.shallow_clone();
                    layers(cell, &weights).last(&input, 0.0, true)
                });
            }
        }
        let [weight, bias] = ["seasonal.weight", "seasonal.bias"]
            .map(|part| golden::tensor(&format!("dlinear.{part}")));
        assert_gradient(&weight, 1e-5, 1e-8, |weight| {
            let bias = &bias;
            Dense { weight, bias }.forward(&golden::tensor("dlinear.input"))
        });
    }
}
