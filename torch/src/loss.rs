//! What a training makes small.
//!
//! Errors are measured in units of the lead and its target: how far the truth lies from what a forecast
//! begins with, taken to a power; in scaled units where a kind of net does not know it. With the power
//! 1 every lead counts the same, and the far ones, where most of the error of a forecast lies, are
//! neglected; with 0 the near ones do not count at all. Scaled, one target counts as much as another.

use krammerti::params::PointLoss;
use tch::{Kind, Reduction, Tensor};

use crate::forecast::Forecast;

/// How far the unit of a lead follows its spread.
const POWER: f64 = 0.5;
/// How much the quantiles count beside the mean. The pinball loss is less moved than the square by
/// the few days that went far wrong, and both share all weights but the last layer's; on the Calais
/// data 3 was a little better for the mean than 1 and 10, by about the spread between seeds.
const QUANTILES: f64 = 3.0;

/// A loss over all cells: the leads of all targets.
pub(crate) struct Loss {
    point: PointLoss,
    /// `[cells]`: one over the unit of each.
    weight: Tensor,
    /// `[levels]`.
    levels: Tensor,
}

impl Loss {
    /// For cells with this spread, `[cells]`.
    pub(crate) fn new(point: PointLoss, spread: &Tensor, levels: &[f64]) -> Self {
        let levels: Vec<f32> = levels.iter().map(|&level| level as f32).collect();
        let unit = spread.pow_tensor_scalar(POWER);
        // So that the squared error of the mean is 1 where the net adds nothing, whatever the power
        // and the data.
        let left = (spread / &unit).square().mean(Kind::Float).sqrt();
        Self {
            point,
            weight: (unit * left).reciprocal(),
            levels: Tensor::from_slice(&levels).to(spread.device()),
        }
    }

    /// The same for another thread; it shares the memory.
    pub(crate) fn share(&self) -> Self {
        Self {
            point: self.point,
            weight: self.weight.shallow_clone(),
            levels: self.levels.shallow_clone(),
        }
    }

    /// The mean over members, windows and cells; each cell times its weight, `[windows, cells]` or
    /// `[windows, 1]`, where there are any.
    pub(crate) fn of(
        &self,
        forecast: &Forecast,
        truth: &Tensor,
        weights: Option<&Tensor>,
    ) -> Tensor {
        // In units of their cell.
        let mean = &forecast.mean * &self.weight;
        let expected = (truth * &self.weight).unsqueeze(0).expand_as(&mean);
        let point = match weights {
            // One operation, which on a GPU is a launch.
            None => self.point(&mean, &expected, Reduction::Mean),
            Some(weights) => weighed(
                &self.point(&mean, &expected, Reduction::None),
                Some(weights),
            ),
        };
        match &forecast.quantiles {
            Some(quantiles) => {
                let weights = weights.map(|weights| weights.unsqueeze(2));
                point + weighed(&self.pinball(quantiles, truth), weights.as_ref()) * QUANTILES
            }
            None => point,
        }
    }

    fn point(&self, mean: &Tensor, expected: &Tensor, reduction: Reduction) -> Tensor {
        match self.point {
            PointLoss::Mse => mean.mse_loss(expected, reduction),
            PointLoss::Mae => mean.l1_loss(expected, reduction),
            // Huber 1964 with δ = 1: ½e² within, |e| - ½ beyond.
            PointLoss::Huber => mean.huber_loss(expected, reduction, 1.0),
        }
    }

    /// Koenker and Bassett 1978: τ of an error below the truth, 1 - τ of one above. `[members,
    /// windows, cells, levels]`.
    fn pinball(&self, quantiles: &Tensor, truth: &Tensor) -> Tensor {
        let error = (truth.unsqueeze(2) - quantiles) * self.weight.unsqueeze(1);
        (&error * &self.levels).maximum(&(&error * (&self.levels - 1.0)))
    }
}

/// The mean of losses, each times its weight.
pub(crate) fn weighed(losses: &Tensor, weights: Option<&Tensor>) -> Tensor {
    match weights {
        Some(weights) => (losses * weights).mean(Kind::Float),
        None => losses.mean(Kind::Float),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::assert_gradient;
    use crate::golden;
    use tch::Device;

    const POINTS: [(PointLoss, &str); 3] = [
        (PointLoss::Mse, "mse"),
        (PointLoss::Mae, "mae"),
        (PointLoss::Huber, "huber"),
    ];
    const LEVELS: [f64; 3] = [0.25, 0.5, 0.875];

    /// Of four leads in units of 1, in 64 bits.
    fn plain(point: PointLoss) -> Loss {
        let ones = Tensor::ones([4], (Kind::Double, Device::Cpu));
        Loss::new(point, &ones, &LEVELS)
    }

    #[test]
    fn losses_of_pytorch() {
        let truth = golden::tensor("losses.truth");
        let [mean, quantiles] =
            ["losses.forecast", "losses.quantiles"].map(|key| golden::tensor(key).unsqueeze(0));
        golden::assert_golden(&Tensor::from_slice(&LEVELS), "losses.levels", 0.0);
        // Its mean is of 32 bits.
        let pinball = golden::tensor("losses.pinball");
        golden::assert_near(
            &weighed(&plain(PointLoss::Mse).pinball(&quantiles, &truth), None),
            &pinball,
            1e-6,
        );
        for (point, name) in POINTS {
            let forecast = |quantiles: Option<&Tensor>| Forecast {
                mean: mean.shallow_clone(),
                quantiles: quantiles.map(Tensor::shallow_clone),
            };
            let expected = golden::tensor(&format!("losses.{name}"));
            let loss = plain(point).of(&forecast(None), &truth, None);
            golden::assert_near(&loss, &expected, 1e-12);
            let loss = plain(point).of(&forecast(Some(&quantiles)), &truth, None);
            golden::assert_near(&loss, &(expected + &pinball * QUANTILES), 1e-5);
        }
    }

    /// Two members, leads of different units, and no error within a step of where a loss is bent.
    #[test]
    fn gradients_are_those_of_finite_differences() {
        let spread = Tensor::from_slice(&[0.25, 0.5, 1.0, 2.25]);
        let truth = golden::tensor("losses.truth");
        let forecast = golden::tensor("losses.forecast");
        let means = Tensor::stack(&[&forecast + 0.11, &forecast - 0.2], 0);
        let quantiles = golden::tensor("losses.quantiles");
        let quantiles = Tensor::stack(&[&quantiles + 0.11, &quantiles - 0.2], 0);
        for (point, _) in POINTS {
            let loss = Loss::new(point, &spread, &LEVELS);
            assert_gradient(&means, 1e-5, 1e-8, |mean| {
                let forecast = Forecast {
                    mean: mean.shallow_clone(),
                    quantiles: None,
                };
                loss.of(&forecast, &truth, None)
            });
        }
        // Piecewise linear, so a long step is exact, and its mean is of 32 bits.
        let loss = Loss::new(PointLoss::Mse, &spread, &LEVELS);
        let least = (truth.unsqueeze(2) - &quantiles).abs().min();
        assert!(least.double_value(&[]) > 1.0 / 32.0, "too near a bend");
        assert_gradient(&quantiles, 1.0 / 32.0, 1e-5, |quantiles| {
            weighed(&loss.pinball(quantiles, &truth), None)
        });
    }

    /// The pinball loss is least at the quantile: of 1 to 9, 0.25 at the third and 0.875 at the eighth.
    #[test]
    fn pinball_is_least_at_the_quantile() {
        let truth = Tensor::arange(9, (Kind::Double, Device::Cpu)).view([9, 1]) + 1.0;
        let one = Tensor::from_slice(&[1.0]);
        for (level, expected) in [(0.25, 3.0), (0.5, 5.0), (0.875, 8.0)] {
            let loss = Loss::new(PointLoss::Mse, &one, &[level]);
            let at = |quantile: f64| {
                let quantile = Tensor::from_slice(&[quantile]).expand([1, 9, 1, 1], false);
                weighed(&loss.pinball(&quantile, &truth), None).double_value(&[])
            };
            assert!(at(expected) < at(expected - 0.1) && at(expected) < at(expected + 0.1));
        }
    }

    /// By hand: spreads 1 and 4 have units 1 and 2, which leave 1 and 2, so 1/√2.5 and 1/(2·√2.5).
    #[test]
    fn near_and_far_leads_in_their_units() {
        let loss = Loss::new(PointLoss::Mse, &Tensor::from_slice(&[1.0_f32, 4.0]), &[]);
        let forecast = Forecast {
            mean: Tensor::from_slice(&[1.0_f32, 4.0]).view([1, 1, 2]),
            quantiles: None,
        };
        let truth = Tensor::zeros([1, 2], (Kind::Float, tch::Device::Cpu));
        // (1²/2.5 + 4²/10)/2: the spread itself as error has the loss 1.
        assert!((loss.of(&forecast, &truth, None).double_value(&[]) - 1.0).abs() < 1e-6);
    }

    /// By hand: errors of 0.5 and 3.
    #[test]
    fn point_losses_by_hand() {
        let of = |point| {
            let loss = Loss::new(point, &Tensor::from_slice(&[1.0_f32, 1.0]), &[]);
            let forecast = Forecast {
                mean: Tensor::from_slice(&[0.5_f32, -3.0]).view([1, 1, 2]),
                quantiles: None,
            };
            let truth = Tensor::zeros([1, 2], (Kind::Float, tch::Device::Cpu));
            loss.of(&forecast, &truth, None).double_value(&[])
        };
        assert!((of(PointLoss::Mse) - 4.625).abs() < 1e-6);
        assert!((of(PointLoss::Mae) - 1.75).abs() < 1e-6);
        assert!((of(PointLoss::Huber) - f64::midpoint(0.125, 2.5)).abs() < 1e-6);
    }

    /// One of weight 0 is not there, and of those that are left each counts as if they were alone.
    #[test]
    fn windows_count_by_their_weights() {
        let truth = golden::tensor("losses.truth");
        let forecast = golden::tensor("losses.forecast");
        let quantiles = golden::tensor("losses.quantiles");
        let windows = truth.size()[0];
        let first = Tensor::zeros([windows, 1], (Kind::Double, Device::Cpu));
        let _ = first.narrow(0, 0, 1).fill_(windows as f64);
        for (point, name) in POINTS {
            let of = |count: i64, weights: Option<&Tensor>| {
                let of_members = |of: &Tensor, by: f64| {
                    let of = of.narrow(0, 0, count);
                    Tensor::stack(&[&of + by, &of - by], 0)
                };
                let forecast = Forecast {
                    mean: of_members(&forecast, 0.1),
                    quantiles: Some(of_members(&quantiles, 0.2)),
                };
                let truth = truth.narrow(0, 0, count);
                let loss = plain(point).of(&forecast, &truth, weights);
                loss.double_value(&[])
            };
            let all = Tensor::ones([windows, 1], (Kind::Double, Device::Cpu));
            assert!(
                (of(windows, Some(&all)) - of(windows, None)).abs() < 1e-6,
                "{name}"
            );
            assert!(
                (of(windows, Some(&first)) - of(1, None)).abs() < 1e-6,
                "{name}"
            );
            assert!((of(windows, None) - of(1, None)).abs() > 1e-3, "{name}");
        }
    }

    /// By hand: the truth 1 above a quantile of level 0.9 costs 0.9, 1 below it 0.1.
    #[test]
    fn pinball_by_hand() {
        let loss = Loss::new(PointLoss::Mse, &Tensor::from_slice(&[1.0_f32]), &[0.5, 0.9]);
        let quantiles = Tensor::from_slice(&[0.0_f32, 0.0]).view([1, 1, 1, 2]);
        let pinball = |truth: f32| {
            let truth = Tensor::from_slice(&[truth]).view([1, 1]);
            weighed(&loss.pinball(&quantiles, &truth), None).double_value(&[])
        };
        assert!((pinball(1.0) - 0.7).abs() < 1e-6);
        assert!((pinball(-1.0) - 0.3).abs() < 1e-6);
    }
}
