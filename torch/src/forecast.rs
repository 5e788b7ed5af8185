//! Forecasts in scaled units, and the head that makes quantiles that cannot cross.

use tch::{Kind, Tensor};

use crate::link::Links;
use crate::shape::Shape;

/// Forecasts of each member, in scaled units. A cell is a lead of a target: those of the first target
/// come first.
pub(crate) struct Forecast {
    /// `[members, issues, cells]`.
    pub(crate) mean: Tensor,
    /// `[members, issues, cells, levels]`, in order along the levels; absent without levels.
    pub(crate) quantiles: Option<Tensor>,
}

impl Shape {
    /// From what the members give, each `[issues, horizon, outputs]` relative to the base in units
    /// of the spread, to forecasts.
    pub(crate) fn forecast(
        &self,
        raw: &[Tensor],
        base: &Tensor,
        spread: Option<&Tensor>,
    ) -> Forecast {
        let raw = match raw {
            [one] => one.unsqueeze(0),
            several => Tensor::stack(several, 0),
        };
        let raw = self.by_cell(&raw).to_kind(Kind::Float);
        let scaled = |offset: Tensor| match spread {
            Some(spread) => offset * spread,
            None => offset,
        };
        // Where there is nothing else, a view: a selection has a copy in its backward pass.
        let mean = if self.levels.is_empty() {
            raw.squeeze_dim(3)
        } else {
            raw.select(3, 0)
        };
        let mean = self.links.apply(base + scaled(mean));
        let quantiles = (!self.levels.is_empty()).then(|| {
            let heads = raw.narrow(3, 1, self.levels.len() as i64);
            let offsets = spread_outwards(&heads, median(&self.levels));
            let offsets = match spread {
                Some(spread) => offsets * spread.unsqueeze(1),
                None => offsets,
            };
            self.links.apply(base.unsqueeze(2) + offsets)
        });
        Forecast { mean, quantiles }
    }
}

impl Forecast {
    /// The average over members, as one. An average of values that stand at a bound can lie a last bit beyond it.
    /// Quantiles of heads, which come near a bound and never to it, are on it there; those of drawn courses stand where
    /// these do.
    pub(crate) fn averaged(self, links: &Links, drawn: bool) -> Self {
        let average = |all: Tensor| all.mean_dim([0_i64].as_slice(), true, Kind::Float);
        let settle = |quantiles| {
            if drawn {
                links.cut(quantiles)
            } else {
                links.settle(quantiles)
            }
        };
        Self {
            mean: links.cut(average(self.mean)),
            quantiles: self.quantiles.map(|all| settle(average(all))),
        }
    }
}

/// The index of the middle level: 0.5, which checked parameters hold.
fn median(levels: &[f64]) -> usize {
    levels.iter().take_while(|level| **level < 0.5).count()
}

/// Heads to quantiles that cannot cross, along the last axis: the median's head stands as it is,
/// and each further level lies a positive step outside of the one before.
fn spread_outwards(heads: &Tensor, median: usize) -> Tensor {
    let levels = heads.size()[3] as usize;
    let head = |level: usize| heads.select(3, level as i64);
    let step = |level: usize| head(level).softplus();
    let mut quantiles = vec![head(median)];
    for level in median + 1..levels {
        let above = &quantiles[quantiles.len() - 1] + step(level);
        quantiles.push(above);
    }
    for level in (0..median).rev() {
        let below = &quantiles[0] - step(level);
        quantiles.insert(0, below);
    }
    Tensor::stack(&quantiles, 3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::{assert_gradient, shape};
    use crate::golden;
    use crate::link::Link;
    use krammerti::data::Scaler;
    use krammerti::params::Bounds;
    use proptest::prelude::*;
    use tch::Device;

    /// No bound, one, both, and both so near that the link bends throughout.
    const BOUNDS: [(Option<f64>, Option<f64>); 5] = [
        (None, None),
        (Some(-0.5), None),
        (None, Some(2.0)),
        (Some(-0.5), Some(2.0)),
        (Some(0.0), Some(0.01)),
    ];

    fn link((lower, upper): (Option<f64>, Option<f64>)) -> Link {
        Link::new(Bounds { lower, upper }, Scaler::IDENTITY)
    }

    #[test]
    fn quantiles_by_hand() {
        let heads = Tensor::from_slice(&[0.0_f32, 1.0, -1.0]).view([1, 1, 1, 3]);
        let quantiles = Vec::<f32>::try_from(spread_outwards(&heads, 1).view([3])).unwrap();
        let softplus = |x: f64| x.exp().ln_1p();
        let expected = [1.0 - softplus(0.0), 1.0, 1.0 + softplus(-1.0)];
        for (value, expected) in quantiles.iter().zip(expected) {
            assert!((f64::from(*value) - expected).abs() < 1e-6, "{quantiles:?}");
        }
        assert_eq!(median(&[0.1, 0.5, 0.9]), 1);
        assert_eq!(median(&[0.5]), 0);
    }

    #[test]
    fn quantiles_next_to_a_bound_are_on_it_unless_they_were_drawn() {
        let links = Links::new(vec![link((Some(0.0), None))]);
        let quantiles = |drawn: bool| {
            let near = Tensor::from_slice(&[-1e-7_f32, 1e-5, 0.7]).view([1, 1, 1, 3]);
            let mean = Tensor::zeros([1, 1, 1], (Kind::Float, Device::Cpu));
            let forecast = Forecast {
                mean,
                quantiles: Some(near),
            };
            let quantiles = forecast.averaged(&links, drawn).quantiles.unwrap();
            Vec::<f32>::try_from(quantiles.view([3])).unwrap()
        };
        assert_eq!(quantiles(false), [0.0, 0.0, 0.7]);
        assert_eq!(quantiles(true), [0.0, 1e-5, 0.7]);
    }

    #[test]
    fn quantile_head_of_pytorch() {
        let heads = golden::tensor("quantiles.heads").unsqueeze(0);
        for median in [0, 2] {
            let levels = spread_outwards(&heads, median).squeeze_dim(0);
            golden::assert_golden(&levels, &format!("quantiles.median_{median}"), 1e-12);
        }
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        let heads = golden::tensor("quantiles.heads").unsqueeze(0);
        for median in [0, 2, 4] {
            assert_gradient(&heads, 1e-5, 1e-8, |heads| spread_outwards(heads, median));
        }
        // Within, near and beyond the bounds; none where torch's softplus becomes the identity, which
        // is a jump of 2e-9.
        let x = Tensor::linspace(-1.73, 3.07, 49, (Kind::Double, Device::Cpu));
        for bounds in BOUNDS {
            let link = link(bounds);
            assert_gradient(&x, 1e-6, 1e-6, |x| link.apply(x.shallow_clone()));
        }
    }

    /// Raw numbers of some members, three leads: moderate ones, where floats are dense, and any; of several
    /// members not such as become infinite, of which there is no average.
    fn raw() -> impl Strategy<Value = (usize, usize, Vec<f32>)> {
        let number = prop_oneof![-3.0..3.0_f32, -100.0..100.0_f32, any::<f32>()];
        (0..4_usize, 0..4_usize, 1..9_usize).prop_flat_map(move |(below, above, members)| {
            let count = members * 3 * (2 + below + above);
            let most = if members == 1 { f32::MAX } else { 1e30 };
            let number = number.clone().prop_map(move |x: f32| x.clamp(-most, most));
            let raw = prop::collection::vec(number, count);
            raw.prop_map(move |raw| (below, above, raw))
        })
    }

    /// Whether all is in order and inside the bounds; no number that is none is.
    fn in_order(
        bounds: (Option<f64>, Option<f64>),
        (below, above, raw): &(usize, usize, Vec<f32>),
        base: &[f32],
        spread: Option<&[f32]>,
    ) -> Result<(), TestCaseError> {
        let low = [0.05, 0.1, 0.25];
        let high = [0.75, 0.9, 0.95];
        let levels = [&low[3 - below..], &[0.5], &high[..*above]].concat();
        let shape = Shape {
            links: Links::new(vec![link(bounds)]),
            levels,
            ..shape(1, 3)
        };
        let raw = Tensor::from_slice(raw).view([-1, 1, 3, shape.outputs()]);
        let base = Tensor::from_slice(base).view([1, 3]);
        let spread = spread.map(Tensor::from_slice);
        let members: Vec<Tensor> = (0..raw.size()[0]).map(|member| raw.get(member)).collect();
        let forecast = shape.forecast(&members, &base, spread.as_ref());
        let quantiles = forecast.averaged(&shape.links, false).quantiles;
        let quantiles = quantiles.expect("there are levels").reshape([-1]);
        let quantiles = Vec::<f32>::try_from(quantiles).unwrap();
        for lead in quantiles.chunks(shape.levels.len()) {
            prop_assert!(lead.is_sorted(), "{lead:?}");
            let inside = |value: &f32| {
                let value = f64::from(*value);
                bounds.0.is_none_or(|lower| value >= lower)
                    && bounds.1.is_none_or(|upper| value <= upper)
                    && !value.is_nan()
            };
            prop_assert!(lead.iter().all(inside), "{lead:?}");
        }
        Ok(())
    }

    fn base() -> impl Strategy<Value = Vec<f32>> {
        prop::collection::vec(-100.0..100.0_f32, 3)
    }

    fn spread() -> impl Strategy<Value = Option<Vec<f32>>> {
        prop::option::of(prop::collection::vec(1e-4..100.0_f32, 3))
    }

    proptest! {
        #[test]
        fn quantiles_never_cross(raw in raw(), base in base(), spread in spread()) {
            for bounds in BOUNDS.iter().filter(|bounds| bounds.1.is_none()) {
                in_order(*bounds, &raw, &base, spread.as_deref())?;
            }
        }

        #[test]
        fn quantiles_never_cross_below_an_upper_bound(raw in raw(), base in base(), spread in spread()) {
            for bounds in BOUNDS.iter().filter(|bounds| bounds.1.is_some()) {
                in_order(*bounds, &raw, &base, spread.as_deref())?;
            }
        }
    }
}
