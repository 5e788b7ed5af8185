//! The kind `segrnn`: a recurrent net over segments (Lin et al. 2023, arXiv 2308.11200).
//!
//! ```text
//! target − its last value ─▶ segments ─▶ embed ─▶ GRU ─▶ state ─┐ one step for each segment
//! position, series, future columns of each segment ahead ──────┴─▶ of the horizon ─▶ leads ─▶ + last
//! ```
//!
//! A segment is one step, so a lookback of 720 rows is 30 steps and not 720, and no step of the
//! horizon waits for the one before it. Columns besides the target are parts of a segment too, and so
//! are further targets; the paper has none, and a data set of one column gives the net of the paper.

use krammerti::params::SegrnnParams;
use tch::{Device, Kind, Tensor};

use crate::architecture::{Architecture, Taken, Tensors};
use crate::forecast::Forecast;
use crate::layers::{Cell, Dense, Fork, Layers};
use crate::parameters::Spec;
use crate::pass::Pass;
use crate::shape::{Shape, pick};
use crate::windows::Inputs;

/// The parameter with a row for each series.
const SERIES: &str = "series";

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

    /// `[issues, segments, segment × columns]`, the targets relative to their last values.
    fn segments(&self, inputs: &Inputs) -> Tensor {
        let shape = &self.shape;
        let is_target = |column: &i64| shape.targets.contains(column);
        let columns: Vec<i64> = (0..shape.columns).collect();
        let runs = columns.chunk_by(|column, next| is_target(column) == is_target(next));
        let rows = runs.map(|run| {
            let rows = pick(&inputs.past, run);
            if is_target(&run[0]) {
                let last = rows.narrow(1, shape.lookback - 1, 1);
                rows - last
            } else {
                rows
            }
        });
        let mut rows: Vec<Tensor> = rows.collect();
        let rows = if rows.len() == 1 {
            rows.remove(0)
        } else {
            Tensor::cat(&rows, 2)
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
    fn member(&self, mut taken: Taken<'_>, read: &Read, pass: Pass<'_>) -> Tensor {
        let [embed, out] = [(); 2].map(|()| Dense::take(&mut taken));
        let (position, series) = (taken.next(), taken.next());
        let future = (self.shape.future > 0).then(|| taken.next());
        let gru = Layers::take(Cell::Gru, 1, &mut taken);

        let state = gru.last(&embed.forward(&read.segments).relu(), 0.0, pass);
        let (ahead, hidden) = (self.ahead(), self.hidden);
        let position = position.unsqueeze(0);
        let series = match &read.series {
            Some(places) => rows_of(series, places).unsqueeze(1),
            None => series.unsqueeze(0),
        };
        // Each segment ahead is one step from the same state, of what says which segment it is.
        let fork = Fork::of(&gru);
        let place = fork.begin(&position) + fork.read(&series, hidden / 2);
        let ahead_read = match (future, &read.future) {
            (Some(weight), Some(known)) => place + fork.read(&known.matmul(&weight.tr()), 0),
            _ => place,
        };
        let decoded = fork.forward(ahead_read, &state);
        let decoded = pass.dropout(&decoded, self.dropout);
        let outputs = self.shape.outputs();
        out.forward(&decoded)
            .view([-1, ahead * self.segment, outputs])
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

    fn series_table(&self) -> Option<&'static str> {
        Some(SERIES)
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
        specs.push(embedding(SERIES, shape.series));
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
        pass: Pass<'_>,
    ) -> Forecast {
        let read = Read {
            segments: pass.cast(&self.segments(inputs)),
            series: inputs.series.as_ref().map(Tensor::shallow_clone),
            future: (self.shape.future > 0).then(|| pass.cast(&self.future(inputs))),
        };
        let raw = tensors.each(|taken| self.member(taken, &read, pass));
        self.shape.forecast(&raw, base, None)
    }
}

/// Some rows of a table, by their places.
fn rows_of(table: &Tensor, places: &Tensor) -> Tensor {
    if table.device() == Device::Cpu && table.kind() == Kind::Float {
        return table.index_select(0, places);
    }
    by_product(table, places)
}

/// The same where a gradient is not to be added up row by row: on a GPU that is done in no fixed order,
/// and in the kind of the table, in which many small numbers come to nothing.
fn by_product(table: &Tensor, places: &Tensor) -> Tensor {
    let all = Tensor::arange(table.size()[0], (Kind::Int64, table.device()));
    let chosen = places.unsqueeze(1).eq_tensor(&all);
    chosen.to_kind(table.kind()).matmul(table)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::checks::{assert_net_gradient, shape, shape_of, stands_degenerate_data};
    use crate::golden;
    use crate::net::Net;
    use tch::{Device, Kind};

    /// PyTorch's names, in the order of the specs; the weight of future columns comes after the
    /// fourth, where there are any.
    const KEYS: [&str; 10] = [
        "embed.weight",
        "embed.bias",
        "out.weight",
        "out.bias",
        "position",
        "channel",
        "gru.weight_ih_l0",
        "gru.weight_hh_l0",
        "gru.bias_ih_l0",
        "gru.bias_hh_l0",
    ];

    const PARAMS: SegrnnParams = SegrnnParams {
        hidden: 4,
        dropout: 0.3,
        segment: 2,
        members: 1,
    };

    /// One column; the horizon of 5 is no multiple of the segment of 2.
    fn narrow() -> (Net, Inputs) {
        let shape = Shape {
            series: 3,
            ..shape(6, 5)
        };
        let net = golden::net(Arc::new(Segrnn::new(shape, &PARAMS)), "segrnn", &KEYS);
        let past = golden::tensor("segrnn.input").unsqueeze(2);
        let none = Tensor::zeros([3, 5, 0], (Kind::Float, Device::Cpu));
        (net, golden::inputs(&past, &none, Some("segrnn.series")))
    }

    /// Two members of the same parameters.
    fn wide() -> (Net, Inputs) {
        let shape = Shape {
            columns: 3,
            targets: vec![1],
            future: 2,
            series: 2,
            levels: vec![0.1, 0.5, 0.9],
            ..shape(4, 3)
        };
        let params = SegrnnParams {
            members: 2,
            ..PARAMS
        };
        let mut keys = KEYS.to_vec();
        keys.insert(6, "future.weight");
        let net = golden::net(Arc::new(Segrnn::new(shape, &params)), "segrnn_wide", &keys);
        let [past, future] = ["segrnn_wide.past", "segrnn_wide.future_columns"].map(golden::tensor);
        let inputs = golden::inputs(&past, &future, Some("segrnn_wide.series"));
        (net, inputs)
    }

    /// Two targets with another column between them.
    fn two() -> (Net, Inputs) {
        let shape = Shape {
            columns: 3,
            future: 1,
            series: 2,
            levels: vec![0.1, 0.5, 0.9],
            ..shape_of(2, 4, 3)
        };
        let targets = vec![0, 2];
        let net = Segrnn::new(Shape { targets, ..shape }, &PARAMS);
        let mut keys = KEYS.to_vec();
        keys.insert(6, "future.weight");
        let net = golden::net(Arc::new(net), "segrnn_two", &keys);
        let [past, future] = ["segrnn_two.past", "segrnn_two.future_columns"].map(golden::tensor);
        let inputs = golden::inputs(&past, &future, Some("segrnn_two.series"));
        (net, inputs)
    }

    #[test]
    fn two_targets_as_by_pytorch() {
        let (net, inputs) = two();
        let forecast = net.forecast(&inputs, Pass::FORECAST);
        let quantiles = forecast.quantiles.unwrap().squeeze_dim(0);
        golden::assert_golden(&forecast.mean.squeeze_dim(0), "segrnn_two.mean", 2e-6);
        golden::assert_golden(&quantiles, "segrnn_two.quantiles", 2e-6);
    }

    #[test]
    fn one_column_as_by_pytorch() {
        let (net, inputs) = narrow();
        let forecast = net.forecast(&inputs, Pass::FORECAST);
        golden::assert_golden(&forecast.mean.squeeze_dim(0), "segrnn.output", 2e-6);
        assert!(forecast.quantiles.is_none());
    }

    #[test]
    fn columns_future_and_levels_as_by_pytorch() {
        let (net, inputs) = wide();
        let forecast = net.forecast(&inputs, Pass::FORECAST);
        let quantiles = forecast.quantiles.unwrap();
        for member in 0..2 {
            golden::assert_golden(&forecast.mean.get(member), "segrnn_wide.mean", 2e-6);
            golden::assert_golden(&quantiles.get(member), "segrnn_wide.quantiles", 2e-6);
        }
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        for (net, inputs) in [narrow(), wide(), two()] {
            assert_net_gradient(&net, &inputs);
        }
    }

    #[test]
    fn a_segment_longer_than_the_horizon_is_cut() {
        let params = SegrnnParams {
            segment: 4,
            ..PARAMS
        };
        let net = Net::zeros(Arc::new(Segrnn::new(shape(4, 1), &params)), Device::Cpu);
        let past = Tensor::from_slice(&[1.0, 2.0, 3.0, 5.0]).view([1, 4, 1]);
        let none = Tensor::zeros([1, 1, 0], (Kind::Float, Device::Cpu));
        let forecast = net.forecast(&golden::inputs(&past, &none, None), Pass::FORECAST);
        // Weights of zero: the last value goes on.
        golden::assert_near(
            &forecast.mean,
            &Tensor::from_slice(&[5.0]).view([1, 1, 1]),
            0.0,
        );
    }

    #[test]
    fn degenerate_data() {
        stands_degenerate_data(|shape| {
            // A lookback of one row has segments of one row.
            let segment = if shape.lookback == 1 { 1 } else { 2 };
            let params = SegrnnParams { segment, ..PARAMS };
            Arc::new(Segrnn::new(shape, &params))
        });
    }
}
