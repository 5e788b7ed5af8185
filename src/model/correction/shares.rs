//! How much of what is known of past forecasts is added to the next one.

use super::past::Known;

/// How many numbers say how a target is corrected.
pub(super) const TERMS: usize = 4;

/// Shares of the recent error at the first and at the last lead, and of the way to the usual value
/// there. Between these leads they lie on a straight line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Shares(pub(super) [f32; TERMS]);

impl Shares {
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

/// What forecasts of a target and their errors say of its shares.
#[derive(Clone)]
pub(super) struct Evidence {
    /// By lead.
    leads: Vec<LeastSquares>,
}

impl Evidence {
    pub(super) fn none(horizon: usize) -> Self {
        Self {
            leads: vec![LeastSquares::default(); horizon],
        }
    }

    /// Adds a forecast with what was known for it, and the errors that were seen later; NaN where
    /// nobody observed.
    pub(super) fn add(&mut self, known: &Known, mean: &[f32], errors: &[f32]) {
        for ((lead, terms), &error) in self.leads.iter_mut().zip(terms(known, mean)).zip(errors) {
            if !error.is_nan() {
                lead.add(terms, f64::from(error));
            }
        }
    }

    /// The shares that leave the least squared errors, each lead in its own unit.
    ///
    /// The forecasts of one horizon speak of the same rows, and their leads err together. So they count
    /// as if they told but one thing, against the presumption that each share is 0 ± 1. `every` is
    /// how many rows lie between two forecasts.
    pub(super) fn shares(&self, every: usize) -> Shares {
        let horizon = self.leads.len() as f64;
        let forecasts = (horizon / every as f64).max(1.0);
        let mut all = LeastSquares::presumed();
        for lead in &self.leads {
            let weight = lead.count / (lead.squares * horizon * forecasts);
            if weight.is_finite() {
                all.add_all(lead, weight);
            }
        }
        Shares(all.solve().map(|share| share as f32))
    }
}

/// Least squares for shares between 0 and 1.
#[derive(Clone, Default)]
struct LeastSquares {
    /// Sums of products of terms.
    products: [[f64; TERMS]; TERMS],
    /// Sums of products of terms with what is wanted.
    wanted: [f64; TERMS],
    /// The sum of squares of what is wanted.
    squares: f64,
    /// How often something was wanted.
    count: f64,
}

impl LeastSquares {
    /// Before anything is known: each share is 0 ± 1.
    fn presumed() -> Self {
        let mut presumed = Self::default();
        for at in 0..TERMS {
            presumed.products[at][at] = 1.0;
        }
        presumed
    }

    /// Shares of these terms are to make what is wanted.
    fn add(&mut self, terms: [f64; TERMS], wanted: f64) {
        for at in 0..TERMS {
            for other in 0..TERMS {
                self.products[at][other] += terms[at] * terms[other];
            }
            self.wanted[at] += terms[at] * wanted;
        }
        self.squares += wanted * wanted;
        self.count += 1.0;
    }

    /// Adds what is wanted of the same shares elsewhere.
    fn add_all(&mut self, elsewhere: &Self, weight: f64) {
        for at in 0..TERMS {
            for other in 0..TERMS {
                self.products[at][other] += weight * elsewhere.products[at][other];
            }
            self.wanted[at] += weight * elsewhere.wanted[at];
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

    /// So certain that the presumption is nothing.
    fn solved(sure: &LeastSquares) -> [f64; TERMS] {
        let mut all = LeastSquares::presumed();
        all.add_all(sure, 1e9);
        all.solve()
    }

    #[test]
    fn shares_are_found_again() {
        let truth = [0.5, 0.25, 0.125, 0.75];
        let mut system = LeastSquares::default();
        for i in 0..1000 {
            let terms = [1.0, 7.0, 3.0, 5.0].map(|pace| (f64::from(i) * pace).sin());
            let wanted = truth.iter().zip(terms).map(|(share, term)| share * term);
            system.add(terms, wanted.sum());
        }
        for (found, expected) in solved(&system).into_iter().zip(truth) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }

    #[test]
    fn shares_stay_between_0_and_1_and_little_evidence_says_little() {
        assert_eq!(LeastSquares::presumed().solve(), [0.0; TERMS]);
        let wanting = |wanted: f64| {
            let mut system = LeastSquares::default();
            system.add([1.0, 0.0, 0.0, 0.0], wanted);
            system
        };
        assert_eq!(solved(&wanting(-3.0)), [0.0; TERMS]);
        assert_eq!(solved(&wanting(3.0)), [1.0, 0.0, 0.0, 0.0]);
        let mut unsure = LeastSquares::presumed();
        unsure.add_all(&wanting(0.8), 1.0);
        assert!((unsure.solve()[0] - 0.4).abs() < 1e-9);
    }

    /// An hour's forecasts every ten minutes say no more than one.
    #[test]
    fn forecasts_that_overlap_count_once() {
        let known = Known {
            error: vec![1.0; 6],
            usual: vec![0.0; 6],
        };
        let shares = |forecasts: usize, every: usize| {
            let mut evidence = Evidence::none(6);
            for _ in 0..forecasts {
                evidence.add(&known, &[0.0; 6], &[0.5; 6]);
            }
            evidence.shares(every)
        };
        assert_eq!(shares(6, 1), shares(1, 6));
        assert_eq!(shares(0, 1), Shares([0.0; TERMS]));
        let (little, much) = (shares(1, 1).0[0], shares(6000, 1).0[0]);
        assert!(little < 0.2 && (much - 0.5).abs() < 0.01, "{little} {much}");
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
