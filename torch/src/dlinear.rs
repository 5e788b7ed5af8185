//! The kind `linear`: a linear map of trend and remainder (Zeng et al. 2022, arXiv 2205.13504).
//!
//! The trend is a moving average over the lookback; what it leaves is the remainder; each has a
//! linear map to all leads. The target is taken relative to its last value, which the paper does in
//! its second model (`NLinear`) and which costs nothing where the level does not move. Other columns
//! enter by their last row, columns known in the future by their values at the lead.

use krammerti::params::LinearParams;
use tch::{Kind, Tensor};

use crate::layers::Dense;
use crate::net::{Architecture, Forecast, Pass, Shape, Taken, Tensors};
use crate::parameters::Spec;
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
        let mut leads = trend.forward(&read.trend) + remainder.forward(&read.remainder);
        if shape.columns > 1 {
            leads += read.row.linear::<&Tensor>(taken.next(), None);
        }
        let leads = leads.view([-1, shape.horizon, shape.outputs()]);
        if shape.future == 0 {
            return leads;
        }
        // Each lead has weights of its own: `[issues, horizon, 1, future] × [horizon, future, outputs]`.
        let known = read.future.unsqueeze(2).matmul(taken.next());
        leads + known.squeeze_dim(2)
    }
}

/// The moving average over an odd number of rows; before the first and after the last row these
/// two go on.
fn moving_average(x: &Tensor, kernel: i64) -> Tensor {
    let side = (kernel - 1) / 2;
    let padded = x.unsqueeze(1).replication_pad1d([side, side]);
    padded
        .avg_pool1d([kernel], [1], [0], false, true)
        .squeeze_dim(1)
}

/// What all members read.
struct Read {
    trend: Tensor,
    remainder: Tensor,
    row: Tensor,
    future: Tensor,
}

impl Architecture for Linear {
    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn members(&self) -> usize {
        self.members
    }

    fn draws(&self) -> bool {
        false
    }

    fn member_specs(&self) -> Vec<Spec> {
        let shape = &self.shape;
        let leads = shape.horizon * shape.outputs();
        let mut specs = Vec::new();
        specs.extend(Dense::specs("trend", shape.lookback, leads));
        specs.extend(Dense::specs("remainder", shape.lookback, leads));
        if shape.columns > 1 {
            let row = vec![leads, shape.columns];
            specs.push(Spec::by_fan_in("row", row, shape.columns));
        }
        if shape.future > 0 {
            let future = vec![shape.horizon, shape.future, shape.outputs()];
            specs.push(Spec::by_fan_in("future", future, shape.future));
        }
        specs
    }

    fn forward(
        &self,
        tensors: &Tensors<'_>,
        inputs: &Inputs,
        base: &Tensor,
        pass: Pass,
    ) -> Forecast {
        let relative = self.shape.relative(inputs);
        let trend = moving_average(&relative, self.kernel);
        let row = inputs.past.select(1, self.shape.lookback - 1);
        let read = Read {
            remainder: pass.cast(&(&relative - &trend)),
            trend: pass.cast(&trend),
            row: pass.cast(&row),
            future: pass.cast(&inputs.future),
        };
        let raw: Vec<Tensor> = tensors
            .members()
            .map(|taken| self.member(taken, &read).to_kind(Kind::Float))
            .collect();
        self.shape.forecast(&raw, base, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
