//! What a column was before: values of earlier rows, changes, and statistics of a window that moves
//! with the rows. A missing value is NaN, and so is what lies before the first row or after the last.
//!
//! A window is usually slid by adding the value that comes in and taking off the one that goes out.
//! The error of that never leaves: after one 10^16, a sum of small numbers is wrong for ever. Here
//! nothing is taken off. The rows are cut into blocks as long as the window; each window is the end
//! of one block and the beginning of the next, and both are summed up once (van Herk 1992, Gil and
//! Werman 1993, for the largest value; it holds for everything that can be put together from
//! parts). That costs the same for every length of window.

use super::aggregate::needed;
pub use crate::params::Statistic;

/// A statistic of the last `rows` rows up to `ahead` rows after each row. With `ahead` 0 a window
/// ends at its row and knows the past only; with half of `rows` it has the row in its middle.
///
/// A sum over a window that lacks values is scaled by expected/found: it keeps the mean rate.
///
/// The result is missing where less than the share `minimum` of the rows of a window is there, and
/// always where none is (for a standard deviation, fewer than two).
pub fn rolling(
    values: &[f64],
    rows: usize,
    ahead: usize,
    statistic: Statistic,
    minimum: f64,
) -> Vec<f64> {
    let needed = needed(rows, minimum);
    let windows = Windows::new(values.len(), rows, ahead);
    let enough = |found: usize, value: f64| if found < needed { f64::NAN } else { value };
    match statistic {
        Statistic::Mean => windows.sweep(values, Total::of, Total::join, |total| {
            enough(total.found, total.sum / total.found as f64)
        }),
        Statistic::Sum => windows.sweep(values, Total::of, Total::join, |total| {
            enough(total.found, total.sum * (rows as f64 / total.found as f64))
        }),
        Statistic::Min => windows.sweep(values, Extreme::of, Extreme::smaller, |extreme| {
            enough(extreme.found, extreme.value)
        }),
        Statistic::Max => windows.sweep(values, Extreme::of, Extreme::larger, |extreme| {
            enough(extreme.found, extreme.value)
        }),
        Statistic::Std => windows.sweep(values, Moments::of, Moments::join, |moments| {
            enough(moments.found, moments.std())
        }),
    }
}

/// The value so many rows before each row; after it, where `rows` is negative.
pub fn lag(values: &[f64], rows: isize) -> Vec<f64> {
    let length = values.len();
    let missing = rows.unsigned_abs().min(length);
    let hole = std::iter::repeat_n(f64::NAN, missing);
    if rows >= 0 {
        hole.chain(values[..length - missing].iter().copied())
            .collect()
    } else {
        values[missing..].iter().copied().chain(hole).collect()
    }
}

/// How much a value is above the one so many rows before it.
pub fn difference(values: &[f64], rows: usize) -> Vec<f64> {
    let before = lag(values, isize::try_from(rows).unwrap_or(isize::MAX));
    values
        .iter()
        .zip(before)
        .map(|(now, before)| now - before)
        .collect()
}

/// The windows of all rows of a column: row `i` has those from `first + i` on, `rows` of them.
#[derive(Clone, Copy)]
struct Windows {
    count: usize,
    rows: usize,
    first: isize,
}

impl Windows {
    fn new(count: usize, rows: usize, ahead: usize) -> Self {
        // What lies outside of the column is missing anyway, so no window need be longer than this.
        let beyond = ahead.saturating_sub(count);
        let (rows, ahead) = (rows.saturating_sub(beyond), ahead - beyond);
        let rows = rows.min(count + ahead);
        Self {
            count,
            rows,
            first: ahead as isize + 1 - rows as isize,
        }
    }

    /// One result a row. `of` makes a part from one value, `join` one from two that lie side by
    /// side; the default is the part of nothing.
    fn sweep<P: Copy + Default>(
        self,
        values: &[f64],
        of: impl Fn(f64) -> P,
        join: impl Fn(P, P) -> P,
        result: impl Fn(P) -> f64,
    ) -> Vec<f64> {
        if self.rows == 0 {
            return vec![f64::NAN; self.count];
        }
        let part = |row: isize| match usize::try_from(row).ok().and_then(|row| values.get(row)) {
            Some(value) if !value.is_nan() => of(*value),
            _ => P::default(),
        };
        let mut results = Vec::with_capacity(self.count);
        let mut to_end = vec![P::default(); self.rows];
        let mut block = self.first;
        while results.len() < self.count {
            let next = block + self.rows as isize;
            let mut end = P::default();
            for (row, slot) in (block..next).zip(&mut to_end).rev() {
                end = join(part(row), end);
                *slot = end;
            }
            let mut beginning = P::default();
            let left = self.count - results.len();
            for (row, &end) in (next..).zip(to_end.iter().take(left)) {
                results.push(result(join(end, beginning)));
                beginning = join(beginning, part(row));
            }
            block = next;
        }
        results
    }
}

#[derive(Clone, Copy, Default)]
struct Total {
    found: usize,
    sum: f64,
}

impl Total {
    fn of(value: f64) -> Self {
        Self {
            found: 1,
            sum: value,
        }
    }

    fn join(self, other: Self) -> Self {
        Self {
            found: self.found + other.found,
            sum: self.sum + other.sum,
        }
    }
}

#[derive(Clone, Copy)]
struct Extreme {
    found: usize,
    value: f64,
}

impl Default for Extreme {
    fn default() -> Self {
        Self {
            found: 0,
            value: f64::NAN,
        }
    }
}

impl Extreme {
    fn of(value: f64) -> Self {
        Self { found: 1, value }
    }

    // `min` and `max` of std take the other value where one is NaN.
    fn smaller(self, other: Self) -> Self {
        Self {
            found: self.found + other.found,
            value: self.value.min(other.value),
        }
    }

    fn larger(self, other: Self) -> Self {
        Self {
            found: self.found + other.found,
            value: self.value.max(other.value),
        }
    }
}

/// Number, mean and sum of the squared distances from it.
#[derive(Clone, Copy, Default)]
struct Moments {
    found: usize,
    mean: f64,
    squares: f64,
}

impl Moments {
    fn of(value: f64) -> Self {
        Self {
            found: 1,
            mean: value,
            squares: 0.0,
        }
    }

    /// Chan, Golub and `LeVeque` (1979), "Updating formulae and a pairwise algorithm for computing
    /// sample variances".
    fn join(self, other: Self) -> Self {
        let found = self.found + other.found;
        if found == 0 {
            return self;
        }
        let (a, b, n) = (self.found as f64, other.found as f64, found as f64);
        let apart = other.mean - self.mean;
        Self {
            found,
            mean: self.mean + apart * (b / n),
            squares: self.squares + other.squares + apart * apart * (a * b / n),
        }
    }

    fn std(self) -> f64 {
        if self.found < 2 {
            return f64::NAN;
        }
        (self.squares / (self.found - 1) as f64).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::data::same_value;

    const N: f64 = f64::NAN;
    const ALL: [Statistic; 5] = [
        Statistic::Mean,
        Statistic::Min,
        Statistic::Max,
        Statistic::Sum,
        Statistic::Std,
    ];

    /// Equal, a missing value to a missing value.
    #[track_caller]
    fn assert_same(found: &[f64], expected: &[f64]) {
        let bits = |values: &[f64]| -> Vec<Option<f64>> {
            (values.iter().map(|v| (!v.is_nan()).then_some(*v))).collect()
        };
        assert_eq!(bits(found), bits(expected));
    }

    #[test]
    fn a_window_ends_at_its_row() {
        let values = [1.0, 5.0, 3.0, N, 7.0, N, N];
        let of = |statistic| rolling(&values, 2, 0, statistic, 0.5);
        assert_same(&of(Statistic::Mean), &[1.0, 3.0, 4.0, 3.0, 7.0, 7.0, N]);
        assert_same(&of(Statistic::Min), &[1.0, 1.0, 3.0, 3.0, 7.0, 7.0, N]);
        assert_same(&of(Statistic::Max), &[1.0, 5.0, 5.0, 3.0, 7.0, 7.0, N]);
        assert_same(&of(Statistic::Sum), &[2.0, 6.0, 8.0, 6.0, 14.0, 14.0, N]);
        let std = rolling(&values, 3, 0, Statistic::Std, 1.0);
        assert_same(&std, &[N, N, 2.0, N, N, N, N]);
        let whole = rolling(&values, 2, 0, Statistic::Mean, 1.0);
        assert_same(&whole, &[N, 3.0, 4.0, N, N, N, N]);
    }

    #[test]
    fn a_window_that_looks_ahead() {
        let values = [1.0, 2.0, 3.0, 4.0, 5.0];
        let of = |rows, ahead| rolling(&values, rows, ahead, Statistic::Mean, 1.0);
        assert_same(&of(3, 1), &[N, 2.0, 3.0, 4.0, N]);
        assert_same(&of(1, 2), &[3.0, 4.0, 5.0, N, N]);
        assert_same(&of(1, 9), &[N; 5]);
    }

    #[test]
    fn lags_and_differences() {
        let values = [1.0, N, 4.0, 8.0];
        assert_same(&lag(&values, 1), &[N, 1.0, N, 4.0]);
        assert_same(&lag(&values, 0), &values);
        assert_same(&lag(&values, -1), &[N, 4.0, 8.0, N]);
        assert_same(&difference(&values, 1), &[N, N, N, 4.0]);
        assert_same(&difference(&values, 2), &[N, N, 3.0, N]);
    }

    #[test]
    fn degenerate_input() {
        for statistic in ALL {
            assert!(rolling(&[], 3, 0, statistic, 0.5).is_empty());
            assert_same(&rolling(&[1.0, 2.0], 0, 0, statistic, 0.5), &[N, N]);
            assert_same(&rolling(&[N, N], 3, 1, statistic, 0.0), &[N, N]);
            assert_same(&rolling(&[1.0], usize::MAX, 0, statistic, 1.0), &[N]);
            assert_same(&rolling(&[1.0], 3, usize::MAX, statistic, 0.0), &[N]);
        }
        let all = rolling(&[1.0, 3.0], usize::MAX, usize::MAX - 1, Statistic::Max, 0.0);
        assert_same(&all, &[3.0, 3.0]);
        assert_same(
            &rolling(&[5.0; 4], 2, 0, Statistic::Std, 1.0),
            &[N, 0.0, 0.0, 0.0],
        );
        for rows in [isize::MIN, -2, 2, isize::MAX] {
            assert_same(&lag(&[1.0, 2.0], rows), &[N, N]);
            assert!(lag(&[], rows).is_empty());
        }
        assert_same(&difference(&[1.0], usize::MAX), &[N]);
    }

    /// What a sum that slides never forgets, and what squares of large numbers lose.
    #[test]
    fn large_values_leave_no_trace() {
        let mut values = vec![0.1; 50];
        values[0] = 1e16;
        let sums = rolling(&values, 3, 0, Statistic::Sum, 1.0);
        assert!(sums[3..].iter().all(|sum| (sum - 0.3).abs() < 1e-15));
        let far: Vec<f64> = (0..50).map(|row| 1e9 + f64::from(row % 3)).collect();
        let std = rolling(&far, 3, 0, Statistic::Std, 1.0);
        assert!(
            std[2..].iter().all(|std| (std - 1.0).abs() < 1e-9),
            "{std:?}"
        );
    }

    fn by_definition(window: &[f64], statistic: Statistic) -> f64 {
        let n = window.len() as f64;
        let mean = window.iter().sum::<f64>() / n;
        match statistic {
            Statistic::Mean => mean,
            Statistic::Sum => window.iter().sum(),
            Statistic::Min => window.iter().copied().fold(N, f64::min),
            Statistic::Max => window.iter().copied().fold(N, f64::max),
            Statistic::Std if window.len() < 2 => N,
            Statistic::Std => {
                let squares: f64 = window.iter().map(|value| (value - mean).powi(2)).sum();
                (squares / (n - 1.0)).sqrt()
            }
        }
    }

    fn values() -> impl Strategy<Value = Vec<f64>> {
        let value = prop::option::weighted(0.7, -50.0..50.0_f64);
        prop::collection::vec(value.prop_map(|value| value.unwrap_or(N)), 0..70)
    }

    proptest! {
        #[test]
        fn windows_are_what_they_are_defined_to_be(
            values in values(),
            rows in 1..90_usize,
            ahead in 0..90_usize,
            minimum in 0.0..=1.0_f64,
        ) {
            for statistic in ALL {
                let found = rolling(&values, rows, ahead, statistic, minimum);
                prop_assert_eq!(found.len(), values.len());
                for (row, found) in found.into_iter().enumerate() {
                    let end = (row + ahead + 1).min(values.len());
                    let start = (row + ahead + 1).saturating_sub(rows).min(end);
                    let window: Vec<f64> =
                        values[start..end].iter().copied().filter(|v| !v.is_nan()).collect();
                    let enough = !window.is_empty()
                        && window.len() as f64 >= minimum * rows as f64 - 1e-9;
                    let whole = rows as f64 / window.len() as f64;
                    let expected = match statistic {
                        _ if !enough => N,
                        Statistic::Sum => by_definition(&window, statistic) * whole,
                        _ => by_definition(&window, statistic),
                    };
                    prop_assert_eq!(found.is_nan(), expected.is_nan());
                    prop_assert!(expected.is_nan() || (found - expected).abs() < 1e-9);
                }
            }
        }

        #[test]
        fn without_looking_ahead_the_past_decides(
            values in values(),
            rows in 1..90_usize,
            cut in 0..70_usize,
        ) {
            let cut = cut.min(values.len());
            for statistic in ALL {
                let all = rolling(&values, rows, 0, statistic, 0.5);
                let some = rolling(&values[..cut], rows, 0, statistic, 0.5);
                prop_assert!(all.iter().zip(&some).all(|(&a, &b)| same_value(a, b)));
            }
        }
    }
}
