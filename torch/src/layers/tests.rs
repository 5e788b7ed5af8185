//! Cells as PyTorch has them, and their gradients.

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
            let (top, after) = layers.forward(&input, state, 0.0, Pass::FORECAST);
            golden::assert_golden(&top, &key("output"), 1e-12);
            assert_eq!(after.len(), states(cell).len());
            for (state, part) in after.iter().zip(states(cell)) {
                golden::assert_golden(state, &key(part), 1e-12);
            }
        }
        let last = golden::tensor(&format!("{}.zero.output", name(cell))).select(1, -1);
        golden::assert_near(&layers.last(&input, 0.0, Pass::FORECAST), &last, 1e-12);
    }
}

#[test]
fn a_state_goes_on_where_it_was_left() {
    let input = golden::tensor("cells.input");
    for cell in [Cell::Lstm, Cell::Gru] {
        let weights = weights(cell);
        let layers = layers(cell, &weights);
        let (whole, _) = layers.forward(&input, None, 0.0, Pass::FORECAST);
        let (_, state) = layers.forward(&input.narrow(1, 0, 3), None, 0.0, Pass::FORECAST);
        let (rest, _) = layers.forward(&input.narrow(1, 3, 1), Some(&state), 0.0, Pass::FORECAST);
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
                .forward(input, Some(&given), 0.0, Pass::FORECAST)
                .0
        });
        assert_gradient(&given[0], 1e-5, 1e-8, |hidden| {
            let mut state = vec![hidden.shallow_clone()];
            state.extend(given[1..].iter().map(Tensor::shallow_clone));
            layers(cell, &weights)
                .forward(&input, Some(&state), 0.0, Pass::FORECAST)
                .0
        });
        for at in 0..weights.len() {
            assert_gradient(&weights[at], 1e-5, 1e-8, |weight| {
                let mut weights: Vec<Tensor> = weights.iter().map(Tensor::shallow_clone).collect();
                weights[at] = weight.shallow_clone();
                layers(cell, &weights).last(&input, 0.0, Pass::FORECAST)
            });
        }
    }
    let [weight, bias] =
        ["seasonal.weight", "seasonal.bias"].map(|part| golden::tensor(&format!("dlinear.{part}")));
    assert_gradient(&weight, 1e-5, 1e-8, |weight| {
        let bias = &bias;
        Dense { weight, bias }.forward(&golden::tensor("dlinear.input"))
    });
}
