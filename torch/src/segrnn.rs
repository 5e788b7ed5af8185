//! The kind `segrnn`: a recurrent net over segments (Lin et al. 2023, arXiv 2308.11200).
//!
//! ```text
//! target − its last value ─▶ segments ─▶ embed ─▶ GRU ─▶ state ─┐ one step for each segment
//! position, series, future columns of each segment ahead ──────┴─▶ of the horizon ─▶ leads ─▶ + last
//! ```
//!
//! A segment is one step, so a lookback of 720 rows is 30 steps and not 720, and no step of the
//! horizon waits for the one before it. Columns besides the target are parts of a segment too; the
//! paper has none, and a data set of one column gives the net of the paper.

use krammerti::params::SegrnnParams;
use tch::Tensor;

use crate::layers::{Cell, Dense, Layers};
use crate::net::{Architecture, Forecast, Pass, Shape, Taken, Tensors};
use crate::parameters::Spec;
use crate::windows::Inputs;

/// All that decides the shapes of a net.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Segrnn {
    shape: Shape,
    segment: i64,
    hidden: i64,
    members: usize,
    dropout: f64,
}

impl Segrnn {
    /// A net of this shape and these sizes.
    pub(crate) fn new(shape: Shape, params: &SegrnnParams) -> Self {
        Self {
            shape,
            segment: params.segment as i64,
            hidden: params.hidden as i64,
            members: params.members,
            dropout: params.dropout,
        }
    }

    /// Segments that cover the horizon; the last one may reach past it.
    fn ahead(&self) -> i64 {
        (self.shape.horizon + self.segment - 1) / self.segment
    }

    /// `[issues, segments, segment × columns]`, the target relative to its last value.
    fn segments(&self, inputs: &Inputs) -> Tensor {
        let shape = &self.shape;
        let relative = shape.relative(inputs).unsqueeze(2);
        let rows = if shape.columns == 1 {
            relative
        } else {
            let before = inputs.past.narrow(2, 0, shape.target);
            let behind = shape.columns - shape.target - 1;
            let after = inputs.past.narrow(2, shape.target + 1, behind);
            Tensor::cat(&[before, relative, after], 2)
        };
        let segments = shape.lookback / self.segment;
        rows.view([-1, segments, self.segment * shape.columns])
    }

    /// `[issues, segments ahead, segment × future columns]`; zeros past the horizon.
    fn future(&self, inputs: &Inputs) -> Tensor {
        let shape = &self.shape;
        let missing = self.ahead() * self.segment - shape.horizon;
        inputs.future.constant_pad_nd([0, 0, 0, missing]).view([
            -1,
            self.ahead(),
            self.segment * shape.future,
        ])
    }

    /// `[issues, horizon, outputs]` of one member.
    fn member(&self, mut taken: Taken<'_>, read: &Read, pass: Pass) -> Tensor {
        let [embed, out] = [(); 2].map(|()| Dense::take(&mut taken));
        let (position, series) = (taken.next(), taken.next());
        let future = (self.shape.future > 0).then(|| taken.next());
        let gru = Layers::take(Cell::Gru, 1, &mut taken);

        let (_, state) = gru.forward(
            &embed.forward(&read.segments).relu(),
            None,
            0.0,
            pass.training,
        );
        let (issues, ahead, hidden) = (read.segments.size()[0], self.ahead(), self.hidden);
        let half = [issues, ahead, hidden / 2];
        let position = position.unsqueeze(0).expand(half, false);
        let series = match &read.series {
            Some(places) => series.index_select(0, places).unsqueeze(1),
            None => series.unsqueeze(0),
        };
        let mut steps = Tensor::cat(&[position, series.expand(half, false)], 2);
        if let (Some(weight), Some(known)) = (future, &read.future) {
            steps += known.matmul(&weight.tr());
        }
        // Every segment ahead is a sequence of one step from the same state.
        let state = state[0]
            .squeeze_dim(0)
            .unsqueeze(1)
            .expand([issues, ahead, hidden], false)
            .reshape([1, issues * ahead, hidden]);
        let steps = steps.reshape([issues * ahead, 1, hidden]);
        let (decoded, _) = gru.forward(&steps, Some(&[state]), 0.0, pass.training);
        let decoded = decoded
            .view([issues, ahead, hidden])
            .dropout(self.dropout, pass.training);
        let outputs = self.shape.outputs();
        out.forward(&decoded)
            .view([issues, ahead * self.segment, outputs])
            .narrow(1, 0, self.shape.horizon)
    }
}

/// What all members read.
struct Read {
    segments: Tensor,
    /// Absent where there is one.
    series: Option<Tensor>,
    future: Option<Tensor>,
}

impl Architecture for Segrnn {
    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn members(&self) -> usize {
        self.members
    }

    fn knows_series(&self) -> bool {
        true
    }

    fn draws(&self) -> bool {
        self.dropout > 0.0
    }

    fn member_specs(&self) -> Vec<Spec> {
        let (shape, hidden) = (&self.shape, self.hidden);
        // Standard deviation 1, as PyTorch draws embeddings.
        let embedding = |name: &str, rows: i64| Spec {
            name: name.to_owned(),
            shape: vec![rows, hidden / 2],
            bound: 3.0_f64.sqrt(),
        };
        let mut specs = Vec::new();
        let segment = self.segment * shape.columns;
        specs.extend(Dense::specs("embed", segment, hidden));
        specs.extend(Dense::specs("out", hidden, self.segment * shape.outputs()));
        specs.push(embedding("position", self.ahead()));
        specs.push(embedding("series", shape.series));
        if shape.future > 0 {
            let future = self.segment * shape.future;
            specs.push(Spec::by_fan_in("future", vec![hidden, future], future));
        }
        specs.extend(Layers::specs(Cell::Gru, "cell", 1, hidden, hidden));
        specs
    }

    fn forward(
        &self,
        tensors: &Tensors<'_>,
        inputs: &Inputs,
        base: &Tensor,
        pass: Pass,
    ) -> Forecast {
        let read = Read {
            segments: pass.cast(&self.segments(inputs)),
            series: (self.shape.series > 1).then(|| inputs.series.shallow_clone()),
            future: (self.shape.future > 0).then(|| pass.cast(&self.future(inputs))),
        };
        let raw: Vec<Tensor> = tensors
            .members()
            .map(|taken| self.member(taken, &read, pass))
            .collect();
        self.shape.forecast(&raw, base, None)
    }
}
