//! The kind `linear`: a linear map of trend and remainder (Zeng et al. 2022, arXiv 2205.13504).
//!
//! The trend is a moving average over the lookback; what it leaves is the remainder; each has a
//! linear map to all leads, of each target by itself. A target is taken relative to its last value,
//! which the paper does in its second model (`NLinear`) and which costs nothing where the level does
//! not move. Other columns enter by their last row, columns known in the future by their values at
//! the lead.
//!
//! All maps begin at 0, that is with a forecast of the last value. Nothing else needs breaking of symmetry, since there is one
//! minimum; and what a draw would make of a level that the training part has not seen, few small steps do not mend.

use krammerti::params::LinearParams;
use tch::Tensor;

use crate::architecture::{Architecture, Taken, Tensors};
use crate::forecast::Forecast;
use crate::layers::Dense;
use crate::parameters::Spec;
use crate::pass::Pass;
use crate::shape::Shape;
use crate::windows::Inputs;

/// All that decides the shapes of a net.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Linear {
    shape: Shape,
    kernel: i64,
    members: usize,
}

impl Linear {
    /// A net of this shape and these sizes.
    pub(crate) fn new(shape: Shape, params: &LinearParams) -> Self {
        Self {
            shape,
            kernel: params.kernel as i64,
            members: params.members,
        }
    }

    fn member(&self, mut taken: Taken<'_>, read: &Read) -> Tensor {
        let shape = &self.shape;
        let [trend, remainder] = [(); 2].map(|()| Dense::take(&mut taken));
        let count = shape.count();
        let map = |target: i64| {
            let part = |map: &Dense<'_>, x: &Tensor| {
                let leads = map.forward_part(&x.select(1, target), target, count);
                leads.view([-1, shape.horizon, shape.outputs() / count])
            };
            part(&trend, &read.trend) + part(&remainder, &read.remainder)
        };
        let maps: Vec<Tensor> = (0..count).map(map).collect();
        let mut leads = Tensor::cat(&maps, 2).flatten(1, 2);
        if shape.columns > 1 {
            leads += read.row.linear::<&Tensor>(taken.next(), None);
        }
        let leads = leads.view([-1, shape.horizon, shape.outputs()]);
        if shape.future == 0 {
            return leads;
        }
        // Each lead has weights of its own: `[horizon, issues, future] × [horizon, future, outputs]`.
        let known = read.future.transpose(0, 1).bmm(taken.next());
        leads + known.transpose(0, 1)
    }
}

/// The moving average over an odd number of rows, `[..., rows]`; before the first and after the last
/// row these two go on.
fn moving_average(x: &Tensor, kernel: i64) -> Tensor {
    let side = (kernel - 1) / 2;
    let padded = x.replication_pad1d([side, side]);
    padded.avg_pool1d([kernel], [1], [0], false, true)
}

/// What all members read.
struct Read {
    /// `[issues, targets, lookback]`.
    trend: Tensor,
    /// `[issues, targets, lookback]`.
    remainder: Tensor,
    /// `[issues, columns]`.
    row: Tensor,
    /// `[issues, horizon, future columns]`.
    future: Tensor,
}

impl Architecture for Linear {
    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn members(&self) -> usize {
        self.members
    }

    /// A window takes little beside asking for an operation.
    fn windows_of_part(&self) -> usize {
        256
    }

    fn member_specs(&self) -> Vec<Spec> {
        let shape = &self.shape;
        // The maps of all targets, one below the other.
        let leads = shape.horizon * shape.outputs();
        let mut specs = Vec::new();
        for map in ["trend", "remainder"] {
            specs.push(Spec::zeros(
                format!("{map}.weight"),
                vec![leads, shape.lookback],
            ));
            specs.push(Spec::zeros(format!("{map}.bias"), vec![leads]));
        }
        if shape.columns > 1 {
            specs.push(Spec::zeros("row", vec![leads, shape.columns]));
        }
        if shape.future > 0 {
            let future = vec![shape.horizon, shape.future, shape.outputs()];
            specs.push(Spec::zeros("future", future));
        }
        specs
    }

    fn forward(
        &self,
        tensors: &Tensors<'_>,
        inputs: &Inputs,
        base: &Tensor,
        pass: Pass<'_>,
    ) -> Forecast {
        let relative = self.shape.relative(inputs).transpose(1, 2);
        let trend = moving_average(&relative, self.kernel);
        let row = inputs.past.select(1, self.shape.lookback - 1);
        let read = Read {
            remainder: pass.cast(&(&relative - &trend)),
            trend: pass.cast(&trend),
            row: pass.cast(&row),
            future: pass.cast(&inputs.future),
        };
        let raw = tensors.each(|taken| self.member(taken, &read));
        self.shape.forecast(&raw, base, None)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::checks::{
        assert_gradient, assert_net_gradient, shape, shape_of, stands_degenerate_data,
    };
    use crate::golden;
    use crate::net::Net;
    use tch::{Device, Kind};

    /// PyTorch's names, in the order of the specs; the remainder is the seasonal part of the paper.
    const KEYS: [&str; 4] = [
        "trend.weight",
        "trend.bias",
        "seasonal.weight",
        "seasonal.bias",
    ];

    fn narrow() -> (Net, Inputs) {
        let params = LinearParams {
            kernel: 5,
            members: 1,
        };
        let net = Arc::new(Linear::new(shape(8, 3), &params));
        let past = golden::tensor("dlinear.input").unsqueeze(2);
        let none = Tensor::zeros([2, 3, 0], (Kind::Float, Device::Cpu));
        (
            golden::net(net, "dlinear", &KEYS),
            golden::inputs(&past, &none, None),
        )
    }

    /// Two members of the same parameters.
    fn wide() -> (Net, Inputs) {
        let shape = Shape {
            columns: 3,
            targets: vec![1],
            future: 2,
            levels: vec![0.1, 0.5, 0.9],
            ..shape(4, 3)
        };
        let params = LinearParams {
            kernel: 3,
            members: 2,
        };
        let keys = [&KEYS[..], &["row.weight", "known.weight"]].concat();
        let net = golden::net(Arc::new(Linear::new(shape, &params)), "dlinear_wide", &keys);
        let [past, future] =
            ["dlinear_wide.past", "dlinear_wide.future_columns"].map(golden::tensor);
        (net, golden::inputs(&past, &future, None))
    }

    /// Two targets with another column between them.
    fn two() -> (Net, Inputs) {
        let shape = Shape {
            columns: 3,
            future: 1,
            levels: vec![0.1, 0.5, 0.9],
            ..shape_of(2, 4, 3)
        };
        let params = LinearParams {
            kernel: 3,
            members: 1,
        };
        let targets = vec![0, 2];
        let net = Linear::new(Shape { targets, ..shape }, &params);
        let keys = [&KEYS[..], &["row.weight", "known.weight"]].concat();
        let net = golden::net(Arc::new(net), "dlinear_two", &keys);
        let [past, future] = ["dlinear_two.past", "dlinear_two.future_columns"].map(golden::tensor);
        (net, golden::inputs(&past, &future, None))
    }

    #[test]
    fn two_targets_as_by_pytorch() {
        let (net, inputs) = two();
        let forecast = net.forecast(&inputs, Pass::FORECAST);
        let quantiles = forecast.quantiles.unwrap().squeeze_dim(0);
        golden::assert_golden(&forecast.mean.squeeze_dim(0), "dlinear_two.mean", 2e-6);
        golden::assert_golden(&quantiles, "dlinear_two.quantiles", 2e-6);
    }

    #[test]
    fn one_column_as_by_pytorch() {
        let (net, inputs) = narrow();
        let forecast = net.forecast(&inputs, Pass::FORECAST);
        golden::assert_golden(
            &forecast.mean.squeeze_dim(0),
            "dlinear.relative_output",
            2e-6,
        );
        assert!(forecast.quantiles.is_none());
    }

    /// The paper's first model, which is not relative to the last value, from the parts of ours.
    #[test]
    fn the_net_of_the_paper() {
        let x = golden::tensor("dlinear.input");
        let trend = moving_average(&x, 5);
        golden::assert_golden(&trend, "dlinear.moving_mean", 1e-12);
        let tensor = |part: &str| golden::tensor(&format!("dlinear.{part}"));
        let map = |x: &Tensor, name: &str| {
            let (weight, bias) = (format!("{name}.weight"), format!("{name}.bias"));
            x.linear(&tensor(&weight), Some(tensor(&bias)))
        };
        let output = map(&trend, "trend") + map(&(&x - &trend), "seasonal");
        golden::assert_golden(&output, "dlinear.output", 1e-12);
    }

    #[test]
    fn columns_future_and_levels_as_by_pytorch() {
        let (net, inputs) = wide();
        let forecast = net.forecast(&inputs, Pass::FORECAST);
        let quantiles = forecast.quantiles.unwrap();
        for member in 0..2 {
            golden::assert_golden(&forecast.mean.get(member), "dlinear_wide.mean", 2e-6);
            golden::assert_golden(&quantiles.get(member), "dlinear_wide.quantiles", 2e-6);
        }
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        for kernel in [1, 3, 9] {
            let x = golden::tensor("dlinear.input");
            assert_gradient(&x, 1e-5, 1e-8, |x| moving_average(x, kernel));
        }
        for (net, inputs) in [narrow(), wide(), two()] {
            assert_net_gradient(&net, &inputs);
        }
    }

    #[test]
    fn degenerate_data() {
        // The average may be longer than the lookback.
        for kernel in [1, 7] {
            let params = LinearParams { kernel, members: 2 };
            stands_degenerate_data(|shape| Arc::new(Linear::new(shape, &params)));
        }
    }

    #[test]
    fn the_average_of_one_row_or_of_a_constant_is_itself() {
        for rows in [1, 6] {
            let x = Tensor::ones([2, rows], (Kind::Float, Device::Cpu)) * 0.5;
            for kernel in [1, 3, 25] {
                golden::assert_near(&moving_average(&x, kernel), &x, 1e-6);
            }
        }
    }

    #[test]
    fn a_moving_average_by_hand() {
        let x = Tensor::from_slice(&[1.0_f32, 2.0, 6.0, 0.0]).view([1, 4]);
        let average = Vec::<f32>::try_from(moving_average(&x, 3).view([4])).unwrap();
        let expected = [4.0 / 3.0, 3.0, 8.0 / 3.0, 2.0];
        for (value, expected) in average.iter().zip(expected) {
            assert!((value - expected).abs() < 1e-6, "{average:?}");
        }
    }
}
