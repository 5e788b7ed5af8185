//! The fused layer against libtorch's own.

use std::collections::HashMap;

use super::*;
use crate::fused::emulated::emulated;
use crate::generator::Generator;

const CELLS: [Cell; 2] = [Cell::Lstm, Cell::Gru];

/// Numbers within ±1 that look like none of one another.
fn numbers(shape: &[i64], from: f64) -> Tensor {
    let count: i64 = shape.iter().product();
    let numbers = Tensor::arange(count, (Kind::Double, Device::Cpu)) * 12.9898 + from;
    let numbers = numbers.sin() * 43_758.545;
    let numbers = (&numbers - numbers.floor()) * 2.0 - 1.0;
    numbers.to_kind(Kind::Float).view(shape)
}

fn weights(cell: Cell, layers: i64, inputs: i64, hidden: i64) -> Vec<Tensor> {
    let specs = Layers::specs(cell, "cell", layers, inputs, hidden);
    let draw = |(place, spec): (usize, &Spec)| {
        let weight = numbers(&spec.shape, place as f64) * spec.bound;
        weight.set_requires_grad(true)
    };
    specs.iter().enumerate().map(draw).collect()
}

fn layers(cell: Cell, count: i64, weights: &[Tensor]) -> Layers<'_> {
    let weights = weights.iter().collect();
    Layers {
        cell,
        count,
        weights,
    }
}

fn state(cell: Cell, layers: i64, batch: i64, hidden: i64) -> Vec<Tensor> {
    let parts = if cell == Cell::Lstm { 2 } else { 1 };
    let part =
        |part| numbers(&[layers, batch, hidden], 0.3 + f64::from(part)).set_requires_grad(true);
    (0..parts).map(part).collect()
}

/// The largest difference, as a share of the largest number.
fn apart(found: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(found.size(), expected.size());
    let largest = expected.abs().max().double_value(&[]).max(1e-6);
    (found - expected).abs().max().double_value(&[]) / largest
}

/// Outputs, states, and gradients to all that `of` is.
fn all(of: &[Tensor], (top, state): (Tensor, Vec<Tensor>)) -> Vec<Tensor> {
    let mut loss = (&top * numbers(&top.size(), 0.7)).sum(top.kind());
    for part in &state {
        loss += (part * numbers(&part.size(), 0.9)).sum(top.kind());
    }
    let gradients = Tensor::run_backward(&[loss], of, false, false);
    let given = [top].into_iter().chain(state).map(|part| part.detach());
    given.chain(gradients).collect()
}

/// libtorch computes in 64 bits what is expected, so that all errors are ours: a gradient of a
/// bias is the sum of tens of thousands of numbers that mostly cancel out.
fn assert_as_libtorch(cell: Cell, sizes: [i64; 5]) {
    let [count, batch, steps, inputs, hidden] = sizes;
    let x = numbers(&[batch, steps, inputs], 0.1);
    let weights = weights(cell, count, inputs, hidden);
    let given = state(cell, count, batch, hidden);
    // Outputs of all steps are not always wanted.
    for (with_state, outputs) in [(false, true), (true, true), (false, false)] {
        let run = |kind| {
            let leaf = |of: &Tensor| of.detach().to_kind(kind).set_requires_grad(true);
            let x = leaf(&x);
            let weights: Vec<Tensor> = weights.iter().map(leaf).collect();
            let given: Vec<Tensor> = given.iter().map(leaf).collect();
            let layers = layers(cell, count, &weights);
            let state = with_state.then_some(&given[..]);
            let made = match kind {
                Kind::Float if outputs => layers.forward(&x, state, 0.0, Pass::FORECAST),
                Kind::Float => (layers.last(&x, 0.0, Pass::FORECAST), Vec::new()),
                _ => layers.of_libtorch(&x, state, true),
            };
            let made = match (kind, outputs) {
                (Kind::Double, false) => (made.1[0].select(0, -1), Vec::new()),
                _ => made,
            };
            let mut of = vec![x];
            of.extend(weights);
            of.extend(given.into_iter().filter(|_| with_state));
            all(&of, made)
        };
        let (found, expected) = (run(Kind::Float), run(Kind::Double));
        for (place, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let apart = apart(found, expected);
            let case = (cell, sizes, with_state, outputs, place);
            assert!(apart < 1e-5, "{case:?}: {apart}");
        }
    }
}

#[test]
fn values_and_gradients_are_those_of_libtorch() {
    for cell in CELLS {
        for sizes in [
            [1, 1, 1, 1, 1],
            [2, 5, 7, 4, 3],
            [3, 33, 7, 9, 32],
            [1, 33, 96, 5, 64],
            [2, 256, 7, 64, 64],
            [1, 1, 96, 3, 32],
            [1, 256, 96, 32, 32],
            [1, 300, 1, 17, 5],
        ] {
            assert_as_libtorch(cell, sizes);
        }
    }
}

/// The kernels of a GPU: with two windows in a block and with four, not all of them there, units
/// that fill a block and that do not, weights in registers and in shared memory.
#[test]
fn those_of_a_gpu_too() {
    // It is these that compute: they are not there for any number of units.
    let other = || {
        emulated(|| assert_as_libtorch(Cell::Gru, [1, 1, 1, 1, 6]));
        Ok(())
    };
    let error = crate::guard::guarded("forecasting", other).unwrap_err();
    assert!(error.to_string().contains("not emulated"), "{error}");
    for cell in CELLS {
        for sizes in [
            [2, 3, 4, 2, 5],
            [1, 2, 1, 3, 16],
            [1, 11, 2, 3, 16],
            [1, 3, 3, 1, 37],
            [1, 9, 2, 1, 37],
        ] {
            emulated(|| assert_as_libtorch(cell, sizes));
        }
    }
}

/// `torch.nn.LSTM` and `torch.nn.GRU` in 64 bits, by `scripts/golden-nets.py`.
#[test]
fn values_are_those_of_pytorch() {
    let json = include_str!("../../tests/golden.json");
    let golden: HashMap<String, Vec<f64>> = serde_json::from_str(json).unwrap();
    let tensor = |key: &str| {
        let shape: Vec<i64> = golden[&format!("{key}.shape")]
            .iter()
            .map(|length| *length as i64)
            .collect();
        let values = Tensor::from_slice(&golden[key]).to_kind(Kind::Float);
        values.view(&shape[..])
    };
    // As the script makes them.
    let small = |start: i64| {
        let numbers = Tensor::arange(12, (Kind::Float, Device::Cpu)) * 7 + start;
        ((numbers.remainder(23) - 11) / 22.0).view([2, 2, 3])
    };
    for (cell, name) in [(Cell::Lstm, "lstm"), (Cell::Gru, "gru")] {
        let parts = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"];
        let weights: Vec<Tensor> = (0..2)
            .flat_map(|layer| parts.map(|part| tensor(&format!("{name}.{part}_l{layer}"))))
            .collect();
        let layers = layers(cell, 2, &weights);
        let given = [small(4), small(13)];
        for (case, state) in [("zero", None), ("given", Some(&given[..]))] {
            let x = tensor("cells.input");
            let (top, state) = layers.forward(&x, state, 0.0, Pass::FORECAST);
            let expected = |part: &str| tensor(&format!("{name}.{case}.{part}"));
            assert!(apart(&top, &expected("output")) < 1e-6, "{name} {case}");
            assert!(
                apart(&state[0], &expected("hidden")) < 1e-6,
                "{name} {case}"
            );
            if cell == Cell::Lstm {
                assert!(apart(&state[1], &expected("cell")) < 1e-6, "{name} {case}");
            }
            if case == "zero" {
                let last = layers.last(&x, 0.0, Pass::FORECAST);
                assert_eq!(last, state[0].select(0, 1));
            }
        }
    }
}

#[test]
fn gradients_are_those_of_finite_differences() {
    const STEP: f64 = 1e-2;
    for cell in CELLS {
        let weights = weights(cell, 1, 2, 2);
        let layers = layers(cell, 1, &weights);
        let x = numbers(&[2, 3, 2], 0.1).set_requires_grad(true);
        let state = state(cell, 1, 2, 2);
        let loss = || {
            let (top, last) = layers.forward(&x, Some(&state), 0.0, Pass::FORECAST);
            (&top * numbers(&top.size(), 0.7)).sum(Kind::Float) + last[0].sum(Kind::Float)
        };
        let mut of = vec![&x];
        of.extend(&weights);
        of.extend(&state);
        let gradients = Tensor::run_backward(&[loss()], &of, false, false);
        let _no_grad = tch::no_grad_guard();
        for (tensor, gradient) in of.iter().zip(&gradients) {
            let (numbers, gradient) = (tensor.view([-1]), gradient.reshape([-1]));
            for place in 0..numbers.size()[0] {
                let mut number = numbers.narrow(0, place, 1);
                let before = number.copy();
                let mut shifted = |by: f64| {
                    number.copy_(&(&before + by));
                    let loss = loss().double_value(&[]);
                    number.copy_(&before);
                    loss
                };
                let slope = (shifted(STEP) - shifted(-STEP)) / (2.0 * STEP);
                let apart = (gradient.double_value(&[place]) - slope).abs();
                assert!(apart < 1e-3, "{cell:?} {:?}: {apart}", tensor.size());
            }
        }
    }
}

/// Of its bytes: whether a gradient is wanted, all outputs are, or other rows go along.
#[test]
fn a_row_does_not_depend_on_what_goes_along() {
    for cell in CELLS {
        let weights = weights(cell, 2, 6, 20);
        let layers = layers(cell, 2, &weights);
        let x = numbers(&[301, 11, 6], 0.1);
        let all = layers.last(&x, 0.0, Pass::FORECAST);
        assert_eq!(all, layers.last(&x, 0.0, Pass::FORECAST));
        let _no_grad = tch::no_grad_guard();
        assert_eq!(all, layers.last(&x, 0.0, Pass::FORECAST));
        let (top, _) = layers.forward(&x, None, 0.0, Pass::FORECAST);
        assert_eq!(all, top.select(1, 10));
        for row in [0, 5, 127, 150, 300] {
            let alone = layers.last(&x.narrow(0, row, 1), 0.0, Pass::FORECAST);
            assert_eq!(alone, all.narrow(0, row, 1), "{cell:?} {row}");
        }
        // Of a sequence that is not laid out row by row.
        let turned = x.transpose(0, 1).contiguous().transpose(0, 1);
        assert_eq!(all, layers.last(&turned, 0.0, Pass::FORECAST));
    }
}

#[test]
fn gradients_are_repeatable_and_dropout_has_its_seed() {
    for cell in CELLS {
        let weights = weights(cell, 3, 6, 20);
        let layers = layers(cell, 3, &weights);
        let x = numbers(&[70, 11, 6], 0.1);
        let run = |seed| {
            let generator = Generator::seeded(seed);
            let pass = Pass {
                generator: Some(&generator),
                kind: Kind::Float,
            };
            all(&weights, layers.forward(&x, None, 0.5, pass))
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }
}

#[test]
fn long_sequences_and_large_numbers_stay_finite() {
    for cell in CELLS {
        let weights = weights(cell, 1, 2, 8);
        let layers = layers(cell, 1, &weights);
        let x = (numbers(&[3, 5000, 2], 0.1) * 1e4).set_requires_grad(true);
        let mut of = vec![x.shallow_clone()];
        of.extend(weights.iter().map(Tensor::shallow_clone));
        for tensor in all(&of, layers.forward(&x, None, 0.0, Pass::FORECAST)) {
            assert!(tensor.isfinite().all().int64_value(&[]) == 1, "{cell:?}");
        }
    }
}

#[test]
fn a_number_that_is_none_is_passed_on() {
    for cell in CELLS {
        let weights = weights(cell, 1, 2, 3);
        let x = numbers(&[2, 4, 2], 0.1);
        let _ = x.narrow(0, 1, 1).narrow(1, 1, 1).fill_(f64::NAN);
        let last = layers(cell, 1, &weights).last(&x, 0.0, Pass::FORECAST);
        let odd = Vec::<bool>::try_from(last.isnan().reshape([-1])).unwrap();
        assert_eq!(odd, [false, false, false, true, true, true]);
    }
}

#[test]
fn shapes_that_do_not_fit_are_an_error_of_one_line() {
    let weights = weights(Cell::Lstm, 1, 2, 3);
    let layers = layers(Cell::Lstm, 1, &weights);
    let wrong = || Ok(layers.last(&numbers(&[2, 4, 5], 0.1), 0.0, Pass::FORECAST));
    let error = crate::guard::guarded("forecasting", wrong).unwrap_err();
    let expected = "forecasting: libtorch: a recurrent layer expects [12, 5], found [12, 2]";
    assert_eq!(error.to_string(), expected);
}
