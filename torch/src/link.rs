//! Bounds of the targets as part of a net.
//!
//! A forecast that is cut at a bound has no gradient there: a net whose wind power lies below 0
//! would never learn to come back. So a net's value goes through a smooth and strictly increasing
//! function whose image lies between the bounds. Away from them it is nearly the identity, so a
//! linear path stays linear; a tenth of a standard deviation before a bound it bends away. Quantiles
//! keep their order, as the function increases.

use krammerti::data::{Scaler, Unscaling};
use krammerti::params::Bounds;
use tch::Tensor;

/// Within how many standard deviations of a bound the function bends.
const SOFTNESS: f64 = 0.1;
/// The same where both bounds are close to each other, as a share of what lies between.
const SOFTNESS_SHARE: f64 = 0.05;
/// A quantile nearer than this share of that to a bound is on it. Often the bound itself is observed, as no rain or no
/// power are, and then a quantile belongs on it, which the function comes near and never reaches.
const SETTLED: f64 = 0.05;
/// Farther away, in standard deviations, a bound only cuts: nothing comes near it, and to take it away and
/// add it again would round every value to the last place of the bound.
const FAR: f64 = 1000.0;

/// From all numbers to those between two bounds, in scaled units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Link {
    lower: Option<f64>,
    upper: Option<f64>,
    softness: f64,
    /// Farther away than this a bound only cuts.
    far: f64,
}

impl Link {
    /// For bounds in the unit of a target that is scaled so.
    pub(crate) fn new(bounds: Bounds, target: Scaler) -> Self {
        let bounds = Unscaling::new(target, bounds).scaled_bounds();
        let [lower, upper] = bounds.map(|bound| bound.map(f64::from));
        let deviation = target.deviation();
        let softness = SOFTNESS * deviation;
        let softness = match (lower, upper) {
            (Some(lower), Some(upper)) => softness.min((upper - lower) * SOFTNESS_SHARE),
            _ => softness,
        };
        Self {
            lower,
            upper,
            softness,
            far: FAR * deviation,
        }
    }

    /// The bounds, where there are both.
    pub(crate) fn range(&self) -> Option<(f64, f64)> {
        self.lower.zip(self.upper)
    }

    /// The bounds that a value may come near to.
    pub(crate) fn near(&self) -> (Option<f64>, Option<f64>) {
        let near = |bound: &f64| bound.abs() < self.far;
        (self.lower.filter(near), self.upper.filter(near))
    }

    /// Cut at the bounds, for values that no gradient goes through.
    pub(crate) fn cut(&self, x: &Tensor) -> Tensor {
        match (self.lower, self.upper) {
            (None, None) => x.shallow_clone(),
            (Some(lower), None) => x.clamp_min(lower),
            (None, Some(upper)) => x.clamp_max(upper),
            (Some(lower), Some(upper)) => x.clamp(lower, upper),
        }
    }

    /// What is next to a bound on it, and nothing beyond, for quantiles that no gradient goes through.
    pub(crate) fn settle(&self, x: &Tensor) -> Tensor {
        let reach = self.softness * SETTLED;
        let (lower, upper) = self.near();
        let mut x = self.cut(x);
        if let Some(lower) = lower {
            x = x.masked_fill(&x.lt(lower + reach), lower);
        }
        if let Some(upper) = upper {
            x = x.masked_fill(&x.gt(upper - reach), upper);
        }
        x
    }

    /// Element by element; one bound after the other, since the difference of two large numbers would
    /// not keep their order.
    pub(crate) fn apply(&self, x: Tensor) -> Tensor {
        let softness = self.softness;
        let (lower, upper) = self.near();
        let mut x = x;
        if let Some(lower) = lower {
            x = ((x - lower) / softness).softplus() * softness + lower;
        }
        if let Some(upper) = upper {
            x = ((x - upper) / -softness).softplus() * -softness + upper;
        }
        // The second bound, and rounding, can move a value beyond the first by a trifle.
        self.cut(&x)
    }
}

/// The links of all targets, in their order, for values `[members, issues, cells, ...]`: cells are
/// the leads of the first target, then those of the next.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Links(Vec<Link>);

impl Links {
    /// Of at least one target.
    pub(crate) fn new(links: Vec<Link>) -> Self {
        Self(links)
    }

    /// Of each target.
    pub(crate) fn each(&self) -> &[Link] {
        &self.0
    }

    /// See [`Link::apply`].
    pub(crate) fn apply(&self, x: Tensor) -> Tensor {
        self.by_target(x, Link::apply)
    }

    /// See [`Link::cut`].
    pub(crate) fn cut(&self, x: Tensor) -> Tensor {
        self.by_target(x, |link, x| link.cut(&x))
    }

    /// See [`Link::settle`].
    pub(crate) fn settle(&self, x: Tensor) -> Tensor {
        self.by_target(x, |link, x| link.settle(&x))
    }

    fn by_target(&self, x: Tensor, change: impl Fn(&Link, Tensor) -> Tensor) -> Tensor {
        let differ = self.0.windows(2).any(|pair| pair[0] != pair[1]);
        if let (Some(first), false) = (self.0.first(), differ) {
            return change(first, x);
        }
        let parts = x.chunk(self.0.len() as i64, 2).into_iter().zip(&self.0);
        let changed: Vec<Tensor> = parts.map(|(part, link)| change(link, part)).collect();
        Tensor::cat(&changed, 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(lower: Option<f64>, upper: Option<f64>) -> Link {
        Link::new(Bounds { lower, upper }, Scaler::IDENTITY)
    }

    fn applied(link: &Link, values: &[f32]) -> Vec<f32> {
        Vec::<f32>::try_from(link.apply(Tensor::from_slice(values))).unwrap()
    }

    #[test]
    fn what_is_near_is_so_by_the_deviation_whatever_the_scaling() {
        use krammerti::params::Scaling;
        // In watts, mostly none.
        let values: Vec<f64> = (0..400).map(|row| f64::from(row % 8 / 7) * 5e6).collect();
        let bounds = Bounds {
            lower: Some(0.0),
            upper: Some(5e6),
        };
        let moved = |scaling| {
            let scaler = Scaler::fit(scaling, &values).unwrap();
            let link = Link::new(bounds, scaler);
            let at = |value: f64| {
                let scaled = scaler.transform(value) as f32;
                scaler.inverse(f64::from(applied(&link, &[scaled])[0]))
            };
            [at(0.0), at(1e5), at(2.5e6)]
        };
        let expected = moved(Scaling::Standard);
        assert!(expected[0] > 1e4, "{expected:?}");
        for scaling in [Scaling::None, Scaling::MinMax, Scaling::Robust] {
            let pairs = moved(scaling).into_iter().zip(expected);
            for (found, expected) in pairs {
                assert!(
                    (found - expected).abs() < 10.0,
                    "{scaling:?}: {found} {expected}"
                );
            }
        }
    }

    #[test]
    fn no_value_leaves_the_bounds_and_none_far_from_them_moves() {
        let values = [-1e6, -3.0, -0.1, 0.0, 0.2, 1.0, 2.9, 3.1, 50.0, 1e6_f32];
        for (lower, upper) in [(Some(0.0), None), (None, Some(3.0)), (Some(0.0), Some(3.0))] {
            let linked = applied(&link(lower, upper), &values);
            assert!(
                linked.windows(2).all(|pair| pair[0] <= pair[1]),
                "{linked:?}"
            );
            assert!((linked[5] - 1.0).abs() < 1e-4, "{linked:?}");
            for value in linked {
                let value = f64::from(value);
                assert!(lower.is_none_or(|bound| value >= bound), "{value}");
                assert!(upper.is_none_or(|bound| value <= bound), "{value}");
            }
        }
        assert_eq!(applied(&link(None, None), &values), values);
    }

    #[test]
    fn a_bound_that_a_logarithm_never_reaches_is_none() {
        let scaler = Scaler::fit(krammerti::params::Scaling::Log1p, &[0.0, 9.0]).unwrap();
        let bounds = Bounds {
            lower: Some(-5.0),
            upper: None,
        };
        let values = [-2.0, 0.5_f32];
        assert_eq!(applied(&Link::new(bounds, scaler), &values), values);
    }

    #[test]
    fn a_bound_that_is_far_away_moves_nothing() {
        let values = [-1.3, -0.2, 0.4, 1.7_f32];
        for far in [1e3, 1e6, 1e9] {
            assert_eq!(applied(&link(Some(-far), Some(far)), &values), values);
        }
        for (moved, value) in applied(&link(Some(-999.0), Some(999.0)), &values)
            .iter()
            .zip(values)
        {
            assert!((moved - value).abs() < 2e-4, "{moved} {value}");
        }
        assert_eq!(applied(&link(None, Some(2e3)), &[3e3]), [2e3]);
    }

    #[test]
    fn what_is_cut_is_moved_nowhere_else() {
        for (bounds, expected) in [
            ((None, None), [-1.0, 0.1, 4.0]),
            ((Some(0.0), None), [0.0, 0.1, 4.0]),
            ((None, Some(3.0)), [-1.0, 0.1, 3.0]),
            ((Some(0.0), Some(3.0)), [0.0, 0.1, 3.0]),
        ] {
            let cut = link(bounds.0, bounds.1).cut(&Tensor::from_slice(&[-1.0_f32, 0.1, 4.0]));
            assert_eq!(Vec::<f32>::try_from(cut).unwrap(), expected);
        }
    }

    #[test]
    fn what_is_next_to_a_bound_settles_on_it() {
        let settled = |bounds: (Option<f64>, Option<f64>), values: &[f32]| {
            let settled = link(bounds.0, bounds.1).settle(&Tensor::from_slice(values));
            Vec::<f32>::try_from(settled).unwrap()
        };
        let values = [-1.0, 1e-6, 0.0049, 0.0051, 1.0, 2.9949, 2.9951, 4.0_f32];
        let both = settled((Some(0.0), Some(3.0)), &values);
        assert_eq!(both, [0.0, 0.0, 0.0, 0.0051, 1.0, 2.9949, 3.0, 3.0]);
        assert_eq!(settled((None, None), &values), values);
        // Of bounds that are close to each other a share of what lies between.
        let narrow = settled((Some(0.0), Some(0.1)), &[0.0002, 0.0003, 0.0998]);
        assert_eq!(narrow, [0.0, 0.0003, 0.1]);
        // A bound far away is none that anything comes near, and what is no number stays none.
        assert_eq!(settled((Some(-1e4), None), &[-9999.999]), [-9999.999]);
        assert!(settled((Some(0.0), Some(3.0)), &[f32::NAN])[0].is_nan());
    }

    /// Two leads of a target from 0 up, two of one without a bound, two of one up to 3.
    #[test]
    fn each_target_has_its_own() {
        let each = [(Some(0.0), None), (None, None), (None, Some(3.0))];
        let links = Links::new(each.map(|(lower, upper)| link(lower, upper)).to_vec());
        let x = Tensor::from_slice(&[-4.0_f32, 5.0, -4.0, 5.0, -4.0, 5.0]).view([1, 1, 6]);
        let cut = Vec::<f32>::try_from(links.cut(x.shallow_clone()).view([6])).unwrap();
        assert_eq!(cut, [0.0, 5.0, -4.0, 5.0, -4.0, 3.0]);
        let linked = Vec::<f32>::try_from(links.apply(x.unsqueeze(3)).view([6])).unwrap();
        for (linked, cut) in linked.iter().zip(cut) {
            assert!((linked - cut).abs() < 1e-3, "{linked} {cut}");
        }
    }

    #[test]
    fn beyond_a_bound_there_is_still_a_gradient() {
        let x = Tensor::from_slice(&[-0.3_f32, 3.3]).set_requires_grad(true);
        let sum = link(Some(0.0), Some(3.0))
            .apply(x.shallow_clone())
            .sum(tch::Kind::Float);
        let gradient = &Tensor::run_backward(&[sum], &[&x], false, false)[0];
        let gradient = Vec::<f32>::try_from(gradient).unwrap();
        assert!(gradient.iter().all(|slope| *slope > 1e-3), "{gradient:?}");
    }

    #[test]
    fn bounds_hold_after_scaling_back() {
        for i in 1..200 {
            let values: Vec<f64> = (0..50).map(|k| f64::from(k * i) * 0.137).collect();
            let scaler = Scaler::fit(krammerti::params::Scaling::Standard, &values).unwrap();
            let bounds = Bounds {
                lower: Some(0.0),
                upper: Some(f64::from(i)),
            };
            let unscaling = Unscaling::new(scaler, bounds);
            let linked = applied(&Link::new(bounds, scaler), &[-1e9, 1e9]);
            let [low, high] = [0, 1].map(|at| unscaling.original(linked[at]));
            assert!(low.abs() == 0.0 && high <= f64::from(i), "{low} {high}");
        }
    }
}
