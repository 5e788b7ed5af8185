//! Where to look next: independent uniform draws, or a tree-structured Parzen estimator (TPE).
//!
//! TPE after Bergstra, Bardenet, Bengio and Kégl, "Algorithms for Hyper-Parameter Optimization"
//! (NIPS 2011), with the choices of Optuna's `TPESampler`: finished trials are split into a few
//! good ones and the rest, each group becomes a density l or g for every dimension by itself, and
//! of 24 candidates drawn from l the one with the largest l/g wins. Dimensions are independent;
//! a multivariate density would need more trials than a person waits for.
//!
//! Failed trials are among the rest, as the worst of all; Optuna leaves them out. Where something always fails,
//! the rest would else be rarest just there, and l/g largest: the search would seek what fails.
//!
//! The generator of trial number `k` follows from the seed and `k` alone, never from how many
//! draws were made before, so a study that was interrupted goes on as if it had not been.

use std::cmp::Ordering;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::journal::{Finished, State};
use super::space::{Point, Space};
use crate::params::{Dimension, Sampler};

/// Draws from l before the best is taken.
const CANDIDATES: usize = 24;
/// The good trials: a tenth of all, but no more than these.
const MOST_GOOD: usize = 25;
/// So many of the latest trials have full weight; that of older ones falls off linearly.
const FULL_WEIGHT: usize = 25;
/// Training is repeatable, so a point that was tried tells nothing new and is drawn again, first
/// from l and then evenly; after these many draws what is left of a space with no more points than these is
/// gone through.
const MOST_POINTS: usize = 100_000;
const REDRAWS: usize = 100;
const REDRAWS_FROM_L: usize = 10;
/// So many of what is left are asked whether they are possible, some milliseconds each at most.
const MOST_ASKED: usize = 1000;

/// What decides the draws besides the finished trials.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) sampler: Sampler,
    /// Trials before TPE starts to learn.
    pub(super) startup_trials: usize,
    pub(super) seed: u64,
}

/// The point of trial `number`, given the trials that have finished; none where all that are possible have been
/// tried, or where none is found. A point that is not possible costs no trial: it is only drawn again.
pub(super) fn draw<'a>(
    settings: &Settings,
    space: &Space,
    number: usize,
    finished: impl Iterator<Item = &'a Finished>,
    mut is_possible: impl FnMut(&Point) -> bool,
) -> Option<Point> {
    let mut rng = ChaCha8Rng::seed_from_u64(settings.seed);
    rng.set_stream(number as u64);
    let finished: Vec<&Finished> = finished.collect();
    let known = |point: &Point| finished.iter().any(|trial| trial.point == *point);
    let mut groups = Groups::split(space, &finished, settings);
    for redraw in 0..=REDRAWS {
        let from_l = groups.as_mut().filter(|_| redraw <= REDRAWS_FROM_L);
        let point = one_draw(space, from_l.as_deref(), &mut rng);
        if known(&point) {
            continue;
        }
        if is_possible(&point) {
            return Some(point);
        }
        // For this draw alone, which so follows from the finished trials whatever was drawn before.
        if let Some(groups) = from_l {
            groups.bad.extend(space.coordinates(&point));
        }
    }
    // Of few values some may be drawn seldom.
    let left = space.points(MOST_POINTS)?.filter(|point| !known(point));
    left.take(MOST_ASKED).find(is_possible)
}

fn one_draw(space: &Space, groups: Option<&Groups>, rng: &mut ChaCha8Rng) -> Point {
    let coordinates: Vec<f64> = space
        .dimensions()
        .values()
        .enumerate()
        .map(|(axis, dimension)| match groups {
            None => uniform(dimension, rng),
            Some(groups) => promising(dimension, axis, groups, rng),
        })
        .collect();
    space.point(&coordinates)
}

fn uniform(dimension: &Dimension, rng: &mut ChaCha8Rng) -> f64 {
    match dimension {
        Dimension::Choice(values) => rng.random_range(0..values.len().max(1) as u32).into(),
        Dimension::Interval { .. } => rng.random(),
    }
}

/// The best by l/g of some candidates drawn from l.
fn promising(dimension: &Dimension, axis: usize, groups: &Groups, rng: &mut ChaCha8Rng) -> f64 {
    let good = Density::of(dimension, &Groups::axis(&groups.good, axis));
    let bad = Density::of(dimension, &Groups::axis(&groups.bad, axis));
    let score = |at: &f64| good.log_density(*at) - bad.log_density(*at);
    let candidates: Vec<f64> = (0..CANDIDATES).map(|_| good.draw(rng)).collect();
    candidates
        .into_iter()
        .max_by(|a, b| score(a).total_cmp(&score(b)))
        .unwrap_or_default()
}

/// Coordinates of the good trials and of the others, failed ones among them, each from the oldest to the latest.
struct Groups {
    good: Vec<Vec<f64>>,
    bad: Vec<Vec<f64>>,
}

impl Groups {
    /// `None` where draws are to be uniform: by choice, or while there is too little to learn from.
    fn split(space: &Space, finished: &[&Finished], settings: &Settings) -> Option<Self> {
        let has_value = |trial: &&&Finished| trial.state != State::Failed;
        let with_value = finished.iter().filter(has_value).count();
        if settings.sampler == Sampler::Random || with_value < settings.startup_trials.max(1) {
            return None;
        }
        let mut ranked = finished.to_vec();
        ranked.sort_by(|a, b| by_merit(a, b));
        let good = with_value.div_ceil(10).min(MOST_GOOD);
        let (good, bad) = ranked.split_at_mut(good);
        let coordinates = |group: &mut [&Finished]| {
            group.sort_by_key(|trial| trial.number);
            group
                .iter()
                .filter_map(|trial| space.coordinates(&trial.point))
                .collect()
        };
        Some(Self {
            good: coordinates(good),
            bad: coordinates(bad),
        })
    }

    fn axis(group: &[Vec<f64>], axis: usize) -> Vec<f64> {
        group.iter().map(|coordinates| coordinates[axis]).collect()
    }
}

/// Better trials first. Pruned ones come after all complete ones: what survived longer, then what
/// was better when it was stopped. Failed ones come last.
fn by_merit(a: &Finished, b: &Finished) -> Ordering {
    let class = |trial: &Finished| match trial.state {
        State::Complete => 0,
        State::Pruned => 1,
        State::Failed => 2,
    };
    let survived = |trial: &Finished| match trial.state {
        State::Pruned => trial.intermediate.len(),
        State::Complete | State::Failed => 0,
    };
    let value = |trial: &Finished| trial.value.unwrap_or(f64::INFINITY);
    class(a)
        .cmp(&class(b))
        .then(survived(b).cmp(&survived(a)))
        .then(value(a).total_cmp(&value(b)))
        .then(a.number.cmp(&b.number))
}

/// How likely each coordinate is in a group of trials.
enum Density {
    /// By index of the choice; they add up to 1.
    Shares(Vec<f64>),
    /// A mixture on 0 to 1; the weights add up to 1.
    Parzen(Vec<Bump>),
}

/// A normal density cut off at 0 and 1.
struct Bump {
    weight: f64,
    mean: f64,
    deviation: f64,
}

impl Density {
    /// `observed` runs from the oldest to the latest trial.
    fn of(dimension: &Dimension, observed: &[f64]) -> Self {
        match dimension {
            Dimension::Choice(values) => Self::Shares(shares(values.len(), observed)),
            Dimension::Interval { .. } => Self::Parzen(bumps(observed)),
        }
    }

    fn draw(&self, rng: &mut ChaCha8Rng) -> f64 {
        match self {
            Self::Shares(shares) => pick(shares.iter().copied(), rng) as f64,
            Self::Parzen(bumps) => bumps[pick(bumps.iter().map(|b| b.weight), rng)].draw(rng),
        }
    }

    fn log_density(&self, at: f64) -> f64 {
        match self {
            Self::Shares(shares) => shares.get(at as usize).copied().unwrap_or(0.0).ln(),
            Self::Parzen(bumps) => bumps.iter().map(|b| b.density(at)).sum::<f64>().ln(),
        }
    }
}

/// Weighted counts, and a prior of one trial spread evenly.
fn shares(choices: usize, observed: &[f64]) -> Vec<f64> {
    let mut shares = vec![1.0 / choices as f64; choices];
    for (at, weight) in observed.iter().zip(weights(observed.len())) {
        shares[*at as usize] += weight;
    }
    let total: f64 = shares.iter().sum();
    shares.iter().map(|share| share / total).collect()
}

/// One bump a trial, as wide as the larger distance to its neighbours, and a wide one as prior.
fn bumps(observed: &[f64]) -> Vec<Bump> {
    let prior = observed.len();
    let mut centres: Vec<(usize, f64, f64)> = observed
        .iter()
        .zip(weights(prior))
        .enumerate()
        .map(|(i, (&mean, weight))| (i, mean, weight))
        .collect();
    centres.push((prior, 0.5, 1.0));
    centres.sort_by(|a, b| a.1.total_cmp(&b.1));
    let total: f64 = centres.iter().map(|centre| centre.2).sum();
    let narrowest = 1.0 / (1.0 + centres.len() as f64).min(100.0);
    let mean_at = |i: Option<usize>| i.and_then(|i| centres.get(i)).map(|centre| centre.1);
    centres
        .iter()
        .enumerate()
        .map(|(i, &(trial, mean, weight))| {
            let below = mean_at(i.checked_sub(1)).map(|other| mean - other);
            let above = mean_at(Some(i + 1)).map(|other| other - mean);
            let distance = below.into_iter().chain(above).fold(0.0, f64::max);
            let deviation = if trial == prior {
                1.0
            } else {
                distance.clamp(narrowest, 1.0)
            };
            Bump {
                weight: weight / total,
                mean,
                deviation,
            }
        })
        .collect()
}

/// Weights of `n` trials from the oldest to the latest.
fn weights(n: usize) -> impl Iterator<Item = f64> {
    let ramp = n.saturating_sub(FULL_WEIGHT);
    (0..n).map(move |i| match ramp {
        _ if i >= ramp => 1.0,
        1 => 1.0 / n as f64,
        _ => {
            let first = 1.0 / n as f64;
            first + (1.0 - first) * i as f64 / (ramp - 1) as f64
        }
    })
}

impl Bump {
    fn draw(&self, rng: &mut ChaCha8Rng) -> f64 {
        // The mean lies in 0..1 and the deviation is at most 1, so a third of draws is accepted.
        loop {
            let at = self.mean + self.deviation * standard_normal(rng);
            if (0.0..=1.0).contains(&at) {
                return at;
            }
        }
    }

    fn density(&self, at: f64) -> f64 {
        let z = |x: f64| (x - self.mean) / self.deviation;
        let inside = normal_cdf(z(1.0)) - normal_cdf(z(0.0));
        let height = (-0.5 * z(at).powi(2)).exp() / (2.0 * std::f64::consts::PI).sqrt();
        self.weight * height / (self.deviation * inside)
    }
}

/// An index, by weights that add up to 1.
fn pick(weights: impl ExactSizeIterator<Item = f64>, rng: &mut ChaCha8Rng) -> usize {
    let last = weights.len().saturating_sub(1);
    let mut left: f64 = rng.random();
    for (i, weight) in weights.enumerate() {
        left -= weight;
        if left < 0.0 {
            return i;
        }
    }
    // Weights add up to 1 but for rounding.
    last
}

/// Box and Muller (1958).
fn standard_normal(rng: &mut ChaCha8Rng) -> f64 {
    let (u, v): (f64, f64) = (rng.random(), rng.random());
    // `1 - u` is never 0.
    (-2.0 * (1.0 - u).ln()).sqrt() * (2.0 * std::f64::consts::PI * v).cos()
}

/// Abramowitz and Stegun, "Handbook of Mathematical Functions" (1964), 26.2.17: the error is
/// below 7.5e-8 everywhere.
fn normal_cdf(x: f64) -> f64 {
    const B: [f64; 5] = [
        0.319_381_530,
        -0.356_563_782,
        1.781_477_937,
        -1.821_255_978,
        1.330_274_429,
    ];
    let t = 1.0 / (1.0 + 0.231_641_9 * x.abs());
    let series = B.iter().rev().fold(0.0, |sum, b| (sum + b) * t);
    let tail = (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt() * series;
    if x < 0.0 { tail } else { 1.0 - tail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_normal_distribution_function() {
        // scipy.stats.norm.cdf
        for (x, expected) in [
            (0.0, 0.5),
            (1.0, 0.841_344_746),
            (-1.96, 0.024_997_895),
            (3.0, 0.998_650_102),
        ] {
            assert!((normal_cdf(x) - expected).abs() < 1e-7, "{x}");
        }
    }

    #[test]
    fn a_mixture_is_a_density() {
        for observed in [&[][..], &[0.0], &[1.0, 1.0], &[0.2, 0.21, 0.9, 0.5]] {
            let density = Density::Parzen(bumps(observed));
            let steps = 20_000;
            let area: f64 = (0..steps)
                .map(|i| {
                    density
                        .log_density((f64::from(i) + 0.5) / f64::from(steps))
                        .exp()
                })
                .sum::<f64>()
                / f64::from(steps);
            assert!((area - 1.0).abs() < 1e-4, "{observed:?}: {area}");
        }
    }

    #[test]
    fn shares_add_up_and_never_vanish() {
        let shares = shares(3, &[0.0, 0.0, 1.0]);
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!(shares[0] > shares[1] && shares[1] > shares[2] && shares[2] > 0.0);
    }

    #[test]
    fn old_trials_count_less() {
        assert!(weights(25).all(|weight| weight >= 1.0));
        let of: Vec<f64> = weights(60).collect();
        assert!(of.is_sorted() && of[0] > 0.0 && of[35..].iter().all(|w| *w >= 1.0));
        assert_eq!(weights(26).count(), 26);
    }
}
