//! How much of what is known of past forecasts is added to the next one.

use super::past::{Known, Past};

/// How many numbers say how a target is corrected.
pub(super) const TERMS: usize = 4;

/// Shares of the recent error at the first and at the last lead, and of the way to the usual value
/// there. Between these leads they lie on a straight line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Shares(pub(super) [f32; TERMS]);

impl Shares {
    /// By least squares on the errors of past forecasts, each lead in its own unit.
    ///
    /// The forecasts of one horizon speak of the same rows, and their leads err together. So they count
    /// as if they told but one thing, against the presumption that each share is 0 ± 1.
    pub(super) fn fit(past: &[Past<'_>], target: usize) -> Self {
        let squares = mean_squares(past, target);
        let mut system = LeastSquares::presumed();
        for past in past {
            let once = (past.horizon() * past.horizon()) as f64;
            for forecast in past.forecasts(target) {
                let known = past.known(forecast.issue, target);
                let leads = terms(&known, forecast.mean).zip(forecast.errors);
                for ((terms, &error), square) in leads.zip(&squares) {
                    let weight = 1.0 / (square * once);
                    if !error.is_nan() && weight.is_finite() {
                        system.add(weight, terms, f64::from(error));
                    }
                }
            }
        }
        Self(system.solve().map(|share| share as f32))
    }

    /// What is added to each lead of a forecast.
    pub(super) fn moves(&self, known: &Known, mean: &[f32]) -> Vec<f32> {
        let shares = self.0.map(f64::from);
        let of_lead = |terms: [f64; TERMS]| {
            let shared = shares.iter().zip(terms).map(|(share, term)| share * term);
            shared.sum::<f64>() as f32
        };
        terms(known, mean).map(of_lead).collect()
    }
}

/// What each share is of, lead by lead.
fn terms(known: &Known, mean: &[f32]) -> impl Iterator<Item = [f64; TERMS]> {
    let last = (mean.len() - 1).max(1) as f64;
    let leads = known.error.iter().zip(&known.usual).zip(mean).enumerate();
    leads.map(move |(lead, ((&error, &usual), &mean))| {
        let (far, to_usual) = (lead as f64 / last, usual - f64::from(mean));
        let near = 1.0 - far;
        [near * error, far * error, near * to_usual, far * to_usual]
    })
}

/// The mean of squared errors at each lead; NaN where there are none.
fn mean_squares(past: &[Past<'_>], target: usize) -> Vec<f64> {
    let mut sums = vec![(0.0, 0.0); past.first().map_or(0, Past::horizon)];
    for forecast in past.iter().flat_map(|past| past.forecasts(target)) {
        for ((sum, count), &error) in sums.iter_mut().zip(forecast.errors) {
            if !error.is_nan() {
                *sum += f64::from(error).powi(2);
                *count += 1.0;
            }
        }
    }
    sums.iter().map(|(sum, count)| sum / count).collect()
}

/// Least squares for shares between 0 and 1.
struct LeastSquares {
    /// Sums of products of terms.
    products: [[f64; TERMS]; TERMS],
    /// Sums of products of terms with what is wanted.
    wanted: [f64; TERMS],
}

impl LeastSquares {
    /// Before anything is known: each share is 0 ± 1.
    fn presumed() -> Self {
        let mut products = [[0.0; TERMS]; TERMS];
        for (at, row) in products.iter_mut().enumerate() {
            row[at] = 1.0;
        }
        Self {
            products,
            wanted: [0.0; TERMS],
        }
    }

    /// Shares of these terms are to make what is wanted.
    fn add(&mut self, weight: f64, terms: [f64; TERMS], wanted: f64) {
        for at in 0..TERMS {
            for other in 0..TERMS {
                self.products[at][other] += weight * terms[at] * terms[other];
            }
            self.wanted[at] += weight * terms[at] * wanted;
        }
    }

    /// One share after the other takes its best value, until none moves. The form is convex, with a
    /// diagonal of at least 1, so this ends in its one minimum.
    fn solve(&self) -> [f64; TERMS] {
        const ROUNDS: usize = 10_000;
        const STILL: f64 = 1e-12;
        let mut shares = [0.0_f64; TERMS];
        for _ in 0..ROUNDS {
            let before = shares;
            for at in 0..TERMS {
                let others = (0..TERMS).filter(|&other| other != at);
                let pull: f64 = others
                    .map(|other| self.products[at][other] * shares[other])
                    .sum();
                shares[at] = ((self.wanted[at] - pull) / self.products[at][at]).clamp(0.0, 1.0);
            }
            if shares
                .iter()
                .zip(before)
                .all(|(share, before)| (share - before).abs() < STILL)
            {
                break;
            }
        }
        shares
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these values are exact by construction")]
mod tests {
    use super::*;

    #[test]
    fn shares_are_found_again() {
        // Of much that is certain.
        let truth = [0.5, 0.25, 0.125, 0.75];
        let mut system = LeastSquares::presumed();
        for i in 0..1000 {
            let terms = [1.0, 7.0, 3.0, 5.0].map(|pace| (f64::from(i) * pace).sin());
            let wanted = truth
                .iter()
                .zip(terms)
                .map(|(share, term)| share * term)
                .sum();
            system.add(1e6, terms, wanted);
        }
        for (found, expected) in system.solve().into_iter().zip(truth) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }

    #[test]
    fn shares_stay_between_0_and_1_and_little_data_say_little() {
        assert_eq!(LeastSquares::presumed().solve(), [0.0; TERMS]);
        let solved = |wanted: f64, weight: f64| {
            let mut system = LeastSquares::presumed();
            system.add(weight, [1.0, 0.0, 0.0, 0.0], wanted);
            system.solve()[0]
        };
        assert_eq!((solved(-3.0, 1e9), solved(3.0, 1e9)), (0.0, 1.0));
        assert!((solved(0.8, 1.0) - 0.4).abs() < 1e-9);
    }

    #[test]
    fn terms_go_in_a_straight_line_from_the_first_lead_to_the_last() {
        let terms = |errors: [f64; 3], leads: usize| -> Vec<[f64; TERMS]> {
            let known = Known {
                error: errors[..leads].to_vec(),
                usual: vec![7.0; leads],
            };
            terms(&known, &vec![3.0; leads]).collect()
        };
        let three = terms([2.0; 3], 3);
        assert_eq!(three[0], [2.0, 0.0, 4.0, 0.0]);
        assert_eq!(three[1], [1.0, 1.0, 2.0, 2.0]);
        assert_eq!(three[2], [0.0, 2.0, 0.0, 4.0]);
        assert_eq!(terms([2.0; 3], 1), [[2.0, 0.0, 4.0, 0.0]]);
    }
}
