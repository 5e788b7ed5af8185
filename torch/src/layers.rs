//! Pieces that several nets are made of.

use tch::{Device, Kind, Tensor};

use crate::fused::{self, Outputs};
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

    /// One of `of` equal parts of what it gives, by its place.
    pub(crate) fn forward_part(&self, x: &Tensor, place: i64, of: i64) -> Tensor {
        let size = self.bias.size()[0] / of;
        let part = |of: &Tensor| of.narrow(0, place * size, size);
        x.linear(&part(self.weight), Some(part(self.bias)))
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

/// The fused layer against libtorch's own.
#[cfg(test)]
mod fused_tests {
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
        let json = include_str!("../tests/golden.json");
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
            let (rest, _) =
                layers.forward(&input.narrow(1, 3, 1), Some(&state), 0.0, Pass::FORECAST);
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
                    let mut weights: Vec<Tensor> =
                        weights.iter().map(Tensor::shallow_clone).collect();
                    weights[at] = weight.shallow_clone();
                    layers(cell, &weights).last(&input, 0.0, Pass::FORECAST)
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
