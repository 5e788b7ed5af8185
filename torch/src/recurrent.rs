//! The kinds `lstm` and `gru`: config, parameters, forward.
//!
//! ```text
//! past ─▶ means of segments ─▶ embed ─▶ cells ─┬─▶ heads ────┐
//! last three rows, changes until the last ────┼─▶ decoder ──┴─▶ mean, quantiles of each lead
//! future columns of the lead, the lead ───────┘                   × spread of the lead
//! last rows ─▶ linear path (solved, not trained) ────────────▶ +
//! last values of the targets ────────────────────────────────▶ +
//! ```
//!
//! All leads come at once; a forecast that feeds on itself piles its errors up. Whoever wants one has
//! it by `decoder: autoregressive`, where cells go on over the leads. The last value is
//! added back, so the net never has to learn the level. A recurrent step reads the mean of a
//! segment: 28 steps train several times faster than 168, and what a mean loses the linear path and
//! the last rows bring in. Several members of one shape, which differ only in their draws, are
//! trained side by side on the same windows, each by its own loss; the forecast is their average.
//! They err much alike, so a few members are enough.
//!
//! Tried and rejected on the Calais data, in one run each: all rows of a segment flattened into the
//! embedding (0.03 °C worse, and sooner knows the training windows by heart), no linear path (0.1 °C
//! worse). Quantiles of separate heads that are sorted afterwards would have a gradient that jumps
//! from head to head.

use anyhow::Result;
use krammerti::params::{Decoder as Wanted, RecurrentParams};
use tch::Tensor;

use crate::architecture::{Architecture, Taken, Tensors};
use crate::changes::Changes;
use crate::decoder::{Decoder, Units};
use crate::forecast::Forecast;
use crate::heads::Heads;
use crate::layers::{Cell, Dense, Layers, drop_units, mean_over, noisy};
use crate::linear_path::LinearPath;
use crate::parameters::Spec;
use crate::pass::Pass;
use crate::shape::Shape;
use crate::windows::{Inputs, Windows};

/// The last rows that the decoder sees as they are, beside what the cells made of them.
const RECENT_ROWS: i64 = 3;

/// All that decides the shapes of a net.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Recurrent {
    shape: Shape,
    cell: Cell,
    linear: LinearPath,
    changes: Changes,
    heads: Heads,
    segment: i64,
    hidden: i64,
    layers: i64,
    members: usize,
    dropout: f64,
    noise: f64,
    decoder: Wanted,
}

impl Recurrent {
    /// A net of this shape and these sizes.
    pub(crate) fn new(shape: Shape, cell: Cell, params: &RecurrentParams) -> Self {
        // Without heads there is nobody who makes much of them.
        let changes = match params.heads {
            0 => Changes::over(shape.lookback, shape.columns, &[]),
            _ => Changes::new(&shape),
        };
        Self {
            linear: LinearPath::new(&shape, params.linear_lags as i64),
            heads: Heads {
                count: params.heads,
                horizon: shape.horizon,
                outputs: shape.outputs(),
                hidden: params.hidden as i64,
                recent: RECENT_ROWS.min(shape.lookback) * shape.columns + changes.count(),
                dropout: params.dropout,
                noise: params.noise,
            },
            changes,
            shape,
            cell,
            segment: params.segment as i64,
            hidden: params.hidden as i64,
            layers: params.layers as i64,
            members: params.members,
            dropout: params.dropout,
            noise: params.noise,
            decoder: params.decoder,
        }
    }

    /// Numbers that the cells read of each row.
    fn read_of_row(&self) -> i64 {
        self.shape.columns + self.shape.count()
    }

    /// What all members read, computed once.
    fn read(&self, inputs: &Inputs, constants: &[Tensor]) -> Read {
        let (shape, past) = (&self.shape, &inputs.past);
        let relative = shape.relative(inputs);
        let rows = Tensor::cat(&[past, &relative], 2);
        let recent = RECENT_ROWS.min(shape.lookback);
        let recent = past
            .narrow(1, shape.lookback - recent, recent)
            .flatten(1, 2);
        Read {
            segments: if self.segment == 1 {
                rows
            } else {
                let segments = shape.lookback / self.segment;
                mean_over(
                    &rows.view([-1, segments, self.segment, self.read_of_row()]),
                    2,
                )
            },
            recent: match constants.get(2) {
                Some(scale) => Tensor::cat(&[recent, self.changes.read(inputs, scale)], 1),
                None => recent,
            },
            future: inputs.future.shallow_clone(),
            reaches: self.heads.reaches((past.kind(), past.device())),
        }
    }

    /// `[issues, horizon, outputs]` of one member.
    fn member(&self, mut taken: Taken<'_>, read: &Read, units: &Units, pass: Pass<'_>) -> Tensor {
        let drop = |x: Tensor| drop_units(x, self.dropout, pass);
        let [embed, state, mix, out] = [(); 4].map(|()| Dense::take(&mut taken));
        let lead_state = taken.next();
        let future = (self.shape.future > 0).then(|| taken.next());
        let layers = Layers::take(self.cell, self.layers, &mut taken);

        let segments = noisy(&read.segments, self.noise, pass);
        let steps = drop(embed.forward(&segments).relu());
        let (last, encoded) = match self.decoder {
            Wanted::Direct => (layers.last(&steps, self.dropout, pass), None),
            Wanted::Autoregressive => {
                let (top, encoded) = layers.forward(&steps, None, self.dropout, pass);
                (top.select(1, -1), Some(encoded))
            }
        };
        let last = drop(last);
        let recent = noisy(&read.recent, self.noise, pass);
        let state = state.forward(&Tensor::cat(&[&last, &recent], 1));
        let mut lead = state.unsqueeze(1) + lead_state;
        if let Some(future) = future {
            lead += read.future.matmul(&future.tr());
        }
        let Some(encoded) = encoded else {
            let lead = drop(lead.relu());
            let mixed = drop(mix.forward(&lead).relu());
            let outs = out.forward(&mixed);
            let heads = &self.heads;
            let said = heads.forward(&mut taken, &last, &read.recent, &read.reaches, pass);
            return match said {
                Some(said) => outs + said,
                None => outs,
            };
        };
        let decoder = Decoder {
            feedback: taken.next(),
            cells: Layers::take(self.cell, self.layers, &mut taken),
            mix,
            out,
            dropout: self.dropout,
        };
        decoder.walk(&lead, encoded, units, pass)
    }
}

impl Architecture for Recurrent {
    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn members(&self) -> usize {
        self.members
    }

    fn member_specs(&self) -> Vec<Spec> {
        let (shape, hidden) = (&self.shape, self.hidden);
        let recent = self.heads.recent;
        let mut specs = Vec::new();
        specs.extend(Dense::specs("embed", self.read_of_row(), hidden));
        specs.extend(Dense::specs("state", hidden + recent, hidden));
        specs.extend(Dense::specs("mix", hidden, hidden));
        specs.extend(Dense::specs("out", hidden, shape.outputs()));
        // Both are added to the state: a lead is one of `horizon`, its columns are a few.
        specs.push(Spec::by_fan_in("lead", vec![shape.horizon, hidden], hidden));
        if shape.future > 0 {
            let future = vec![hidden, shape.future];
            specs.push(Spec::by_fan_in("future", future, shape.future));
        }
        let cells = |name| Layers::specs(self.cell, name, self.layers, hidden, hidden);
        specs.extend(cells("cell"));
        if self.decoder == Wanted::Autoregressive {
            let feedback = match shape.count() {
                1 => vec![hidden],
                count => vec![count, hidden],
            };
            specs.push(Spec::by_fan_in("feedback", feedback, hidden));
            specs.extend(cells("decoder"));
        }
        specs.extend(self.heads.specs());
        specs
    }

    fn constant_shapes(&self) -> Vec<(&'static str, Vec<i64>)> {
        let [weight, spread] = self.linear.shapes();
        let mut shapes = vec![("linear.weight", weight), ("linear.spread", spread)];
        if self.changes.count() > 0 {
            shapes.push(("changes.scale", vec![self.changes.count()]));
        }
        shapes
    }

    fn solve(
        &self,
        windows: &Windows,
        train: &[usize],
        validation: &[usize],
    ) -> Result<Vec<Tensor>> {
        let solved = self.linear.solve(windows, train, validation)?;
        let mut constants = vec![solved.weight, solved.spread];
        if self.changes.count() > 0 {
            constants.push(self.changes.scale(windows, train));
        }
        Ok(constants)
    }

    fn base(&self, constants: &[Tensor], inputs: &Inputs) -> Tensor {
        self.shape.carried(inputs) + self.linear.forward(&constants[0], inputs)
    }

    fn spread(&self, constants: &[Tensor]) -> Option<Tensor> {
        Some(constants[1].shallow_clone())
    }

    fn forward(
        &self,
        tensors: &Tensors<'_>,
        inputs: &Inputs,
        base: &Tensor,
        pass: Pass<'_>,
    ) -> Forecast {
        let read = self.read(inputs, tensors.constants).cast(pass);
        let spread = &tensors.constants[1];
        let by_target = [-1, self.shape.count(), self.shape.horizon];
        let units = Units {
            base: pass.cast(&(base - self.shape.carried(inputs)).view(by_target)),
            spread: pass.cast(&spread.view(&by_target[1..])),
        };
        let raw = tensors.each(|taken| self.member(taken, &read, &units, pass));
        self.shape.forecast(&raw, base, Some(spread))
    }
}

/// What all members read.
struct Read {
    /// `[issues, segments, columns + targets]`: the mean of each segment, and of the targets relative
    /// to the last row.
    segments: Tensor,
    /// `[issues, last rows × columns]`, and the changes until the last row where there are heads.
    recent: Tensor,
    /// `[issues, horizon, future columns]`.
    future: Tensor,
    /// As [`Heads::reaches`] gives them.
    reaches: Vec<Tensor>,
}

impl Read {
    fn cast(self, pass: Pass<'_>) -> Self {
        Self {
            segments: pass.cast(&self.segments),
            recent: pass.cast(&self.recent),
            future: pass.cast(&self.future),
            reaches: self.reaches.iter().map(|reach| pass.cast(reach)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::checks::{assert_net_gradient, shape_of, stands_degenerate_data};
    use crate::golden;
    use crate::net::Net;

    /// PyTorch's names of the encoder, in the order of the specs.
    const KEYS: [&str; 10] = [
        "embed.weight",
        "embed.bias",
        "state.weight",
        "state.bias",
        "mix.weight",
        "mix.bias",
        "out.weight",
        "out.bias",
        "lead.weight",
        "future.weight",
    ];

    const PARAMS: RecurrentParams = RecurrentParams {
        hidden: 6,
        layers: 2,
        dropout: 0.2,
        segment: 2,
        linear_lags: 1,
        noise: 0.1,
        members: 2,
        decoder: Wanted::Direct,
        heads: 0,
    };

    /// Cell, form, heads, and the name in the golden numbers; those of two targets end with it.
    const FORMS: [(Cell, Wanted, usize, &str); 7] = [
        (Cell::Lstm, Wanted::Direct, 0, "recurrent_lstm"),
        (Cell::Gru, Wanted::Direct, 0, "recurrent_gru"),
        (Cell::Lstm, Wanted::Autoregressive, 0, "decoder_lstm"),
        (Cell::Gru, Wanted::Autoregressive, 0, "decoder_gru"),
        (Cell::Lstm, Wanted::Direct, 2, "heads_lstm"),
        (Cell::Lstm, Wanted::Direct, 2, "heads_two"),
        (Cell::Gru, Wanted::Autoregressive, 0, "decoder_two"),
    ];

    fn cell_keys(cells: &str) -> impl Iterator<Item = String> {
        let parts = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"];
        (0..2).flat_map(move |layer| parts.map(|part| format!("{cells}.{part}_l{layer}")))
    }

    /// Two members of the same parameters.
    fn whole((cell, decoder, heads, name): (Cell, Wanted, usize, &str)) -> (Net, Inputs) {
        let (data, columns, targets) = data_of(name);
        let shape = Shape {
            columns,
            future: 1,
            levels: vec![0.1, 0.5, 0.9],
            ..shape_of(targets.len(), 4, 3)
        };
        let shape = Shape { targets, ..shape };
        let params = RecurrentParams {
            decoder,
            heads,
            ..PARAMS
        };
        let architecture = Recurrent::new(shape, cell, &params);
        let mut keys: Vec<String> = KEYS.map(str::to_owned).to_vec();
        keys.extend(cell_keys("cells"));
        if decoder == Wanted::Autoregressive {
            keys.push("feedback".to_owned());
            keys.extend(cell_keys("decoder"));
        }
        for head in 0..heads {
            let parts = ["first", "second", "out"];
            let parts = parts
                .into_iter()
                .flat_map(|part| [(part, "weight"), (part, "bias")]);
            keys.extend(parts.map(|(part, of)| format!("heads.{head}.{part}.{of}")));
        }
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let mut net = golden::net(Arc::new(architecture), name, &keys);
        let tensor = |part: &str| golden::tensor(&format!("{data}.{part}"));
        net.constants[1] = tensor("spread").to_kind(tch::Kind::Float);
        if heads > 0 {
            net.constants[2] = tensor("scale").to_kind(tch::Kind::Float);
        }
        let [past, future] = ["past", "future_columns"].map(tensor);
        (net, golden::inputs(&past, &future, None))
    }

    /// What a form is computed on: the name of its data, their columns, and which are targets.
    fn data_of(form: &str) -> (&'static str, i64, Vec<i64>) {
        if form.ends_with("_two") {
            ("recurrent_two", 3, vec![0, 2])
        } else {
            ("recurrent", 2, vec![1])
        }
    }

    #[test]
    fn whole_nets_of_pytorch() {
        for form in FORMS {
            let ((net, inputs), name) = (whole(form), form.3);
            let base = golden::tensor(&format!("{}.base", data_of(name).0));
            let base = base.to_kind(tch::Kind::Float);
            let pass = Pass::FORECAST;
            let tensors = net.tensors(pass);
            let forecast = net.architecture.forward(&tensors, &inputs, &base, pass);
            let quantiles = forecast.quantiles.unwrap();
            for member in 0..2 {
                let mean = forecast.mean.get(member);
                golden::assert_golden(&mean, &format!("{name}.mean"), 2e-6);
                let quantiles = quantiles.get(member);
                golden::assert_golden(&quantiles, &format!("{name}.quantiles"), 2e-6);
            }
        }
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        for form in FORMS {
            let (net, inputs) = whole(form);
            assert_net_gradient(&net, &inputs);
        }
    }

    #[test]
    fn degenerate_data() {
        for (cell, decoder, heads, _) in FORMS {
            stands_degenerate_data(|shape| {
                let params = RecurrentParams {
                    segment: if shape.lookback == 1 { 1 } else { 2 },
                    decoder,
                    heads,
                    ..PARAMS
                };
                Arc::new(Recurrent::new(shape, cell, &params))
            });
        }
    }
}
