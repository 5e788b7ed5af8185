//! From rows at any finer step, even an irregular one, to rows at one fixed step.
//!
//! A bin is closed on the right and named by its end: row `t` holds what was measured in
//! `(t − step, t]`. So all of a row is known at its time, as in a weather report, whose rain and
//! mean wind are those of the time before it; a row named by its beginning would show a model the
//! future. The ends are multiples of the step, counted from 1970 (and a phase, if one is asked for),
//! so that series which begin at different times share their rows.
//!
//! Only bins that the data reach over are rows. The last one would otherwise have a value before
//! its time has come, and another one on the next day.
//!
//! [`Bins`] are made once from the times, and applied to each column: a bin is a range of rows.

mod cadence;

use std::ops::Range;

use rayon::prelude::*;

use super::SeriesError;
use super::quality::usual_step;
use crate::params::Quantity;
use crate::physics;
use crate::time::Step;

pub use crate::params::Aggregate;
pub use cadence::Cadence;

/// How many rows there may be for one that was measured; more, and the step is a mistake.
const LARGEST_SPREAD: usize = 1000;
/// Rows at an end of a series that tell how often there is one there.
const SOME_ROWS: usize = 13;
/// Bins that a core takes at least: fewer cost less than handing them over.
const BINS_AT_ONCE: usize = 1 << 12;
/// A mean of unit vectors that is shorter points nowhere.
const NO_DIRECTION: f64 = 1e-9;

/// Which rows of a series lie in which interval of a fixed step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bins {
    start: i64,
    step: Step,
    expected: usize,
    /// Between two rows, as a rule.
    gap: i64,
    /// Where that is known, and not from the rows.
    raw_step: Option<i64>,
    /// Bin `i` holds the rows from `borders[i]` up to, and without, `borders[i + 1]`.
    borders: Vec<usize>,
}

/// The mean vector of the wind of each bin.
#[derive(Clone, Debug, PartialEq)]
pub struct WindMeans {
    /// The mean of the part to the east, in the unit of the speed.
    pub u: Vec<f64>,
    /// The mean of the part to the north, in the unit of the speed.
    pub v: Vec<f64>,
}

impl Bins {
    /// The bins of one series. Its times are in order; they need not lie on any step. `phase` moves
    /// the ends of all bins by so many seconds: 6 h with a step of 1 d means days that end at 06:00.
    ///
    /// The step may be finer than that of the data too; a bin without a row is missing. `raw_step` is
    /// the time between two rows, in seconds, where that is known; otherwise they tell it.
    pub fn new(
        times: &[i64],
        step: Step,
        phase: i64,
        raw_step: Option<i64>,
    ) -> Result<Self, SeriesError> {
        debug_assert!(times.is_sorted(), "times are in order");
        let seconds = step.seconds();
        let (Some(&first), Some(&last)) = (times.first(), times.last()) else {
            return Ok(Self {
                start: phase,
                step,
                expected: 1,
                gap: seconds,
                raw_step,
                borders: vec![0],
            });
        };
        let gap = match raw_step {
            Some(raw_step) => raw_step,
            None => usual_gap(times).unwrap_or(seconds),
        };
        let some = SOME_ROWS.min(times.len());
        let near = |rows: &[i64]| raw_step.or_else(|| usual_gap(rows)).unwrap_or(gap);
        let first_gap = near(&times[..some]);
        let last_gap = near(&times[times.len() - some..]);
        let mut start = end_of_bin(first, seconds, phase);
        if first.saturating_sub(first_gap) > start.saturating_sub(seconds) {
            start = start.saturating_add(seconds);
        }
        let mut end = end_of_bin(last, seconds, phase);
        if last.saturating_add(last_gap) <= end {
            end -= seconds;
        }
        let rows = (end.saturating_sub(start).div_euclid(seconds) + 1).max(0) as usize;
        if rows > times.len().saturating_mul(LARGEST_SPREAD) {
            return Err(SeriesError::Sparse {
                rows: times.len(),
                steps: rows,
                step,
            });
        }
        let expected = (seconds / gap).max(1) as usize;
        let mut borders = Vec::with_capacity(rows + 1);
        let mut at = times.partition_point(|&time| time <= start.saturating_sub(seconds));
        borders.push(at);
        for bin in 0..rows as i64 {
            at = first_after(start + bin * seconds, times, at, expected);
            borders.push(at);
        }
        Ok(Self {
            start,
            step,
            expected,
            gap,
            raw_step,
            borders,
        })
    }

    /// The time of the first row: the end of the first bin.
    pub fn start(&self) -> i64 {
        self.start
    }

    /// Number of bins. None where the data do not reach over one.
    pub fn rows(&self) -> usize {
        self.borders.len() - 1
    }

    /// Adds the bins that end up to a time. What of the rows is left out now, because its bin had not ended with
    /// them, is in one of these.
    pub fn reach(&mut self, times: &[i64], until: i64) {
        let seconds = self.step.seconds();
        let bins = until.saturating_sub(self.start).div_euclid(seconds) + 1;
        for bin in self.rows() as i64..bins {
            let at = self.borders.last().copied().unwrap_or_default();
            let end = self.start + bin * seconds;
            self.borders
                .push(first_after(end, times, at, self.expected));
        }
    }

    /// The bin of the last of these times whose end is not yet reached where there is nothing after it.
    pub fn open_at(&self, times: &[i64]) -> Option<usize> {
        let &last = times.last()?;
        let near = || usual_gap(&times[times.len().saturating_sub(SOME_ROWS)..]);
        let gap = self.raw_step.or_else(near).unwrap_or(self.gap);
        let seconds = self.step.seconds();
        let end = end_of_bin(last, seconds, self.start.rem_euclid(seconds));
        let bin = usize::try_from((end - self.start) / seconds).ok()?;
        (last.saturating_add(gap) <= end && bin < self.rows()).then_some(bin)
    }

    /// How many rows each bin holds.
    pub fn lengths(&self) -> impl ExactSizeIterator<Item = usize> {
        self.borders.windows(2).map(|pair| pair[1] - pair[0])
    }

    /// The time between two rows, as a rule, in seconds.
    pub fn gap(&self) -> i64 {
        self.gap
    }

    /// As often as a rule, everywhere.
    pub fn usual_cadence(&self) -> Cadence {
        Cadence::uniform(self.expected)
    }

    /// How often there is a value, by the times that have one.
    pub fn cadence(&self, there: &[i64]) -> Cadence {
        Cadence::of(there, self.step.seconds(), self.expected)
    }

    /// One value a bin, for one value a time. It is missing where less than the share `minimum` of
    /// the values expected is there, and always where none is.
    ///
    /// A sum over a bin that lacks values is scaled by expected/found: it keeps the mean rate. The
    /// plain sum would take what was not measured for dry.
    pub fn apply(
        &self,
        values: &[f64],
        how: Aggregate,
        minimum: f64,
        cadence: &Cadence,
    ) -> Vec<f64> {
        let mut all = Vec::with_capacity(self.rows());
        let mut sorted = Vec::new();
        for (piece, expected) in self.pieces(cadence) {
            let needed = needed(expected, minimum);
            let bins = self.bins(piece, values);
            match how {
                Aggregate::Mean => {
                    all.extend(totals(bins, needed, |sum, found| sum / found as f64));
                }
                Aggregate::Sum => all.extend(totals(bins, needed, |sum, found| {
                    sum * (expected as f64 / found as f64).max(1.0)
                })),
                Aggregate::Max => all.extend(reduce(bins, needed, |bin| {
                    bin.iter().copied().fold(f64::NAN, f64::max)
                })),
                Aggregate::Min => all.extend(reduce(bins, needed, |bin| {
                    bin.iter().copied().fold(f64::NAN, f64::min)
                })),
                Aggregate::First => all.extend(reduce(bins, needed, |bin| {
                    or_missing(bin.iter().find(|v| !v.is_nan()))
                })),
                Aggregate::Last => all.extend(reduce(bins, needed, |bin| {
                    or_missing(bin.iter().rfind(|v| !v.is_nan()))
                })),
                Aggregate::Median => {
                    all.extend(reduce(bins, needed, |bin| median(bin, &mut sorted)));
                }
            }
        }
        all
    }

    /// The mean vector of a wind, from one speed and one direction in degrees a time. Where wind
    /// turns, it is shorter than the mean speed says; both are wanted.
    ///
    /// A calm has no direction, and counts as the vector (0, 0).
    pub fn wind_means(
        &self,
        speed: &[f64],
        direction: &[f64],
        minimum: f64,
        cadence: &Cadence,
    ) -> WindMeans {
        let vector = |(&speed, &direction): (&f64, &f64)| physics::wind_vector(speed, direction);
        let (u, v) = self.vectors(minimum, cadence, |rows| {
            speed[rows.clone()].iter().zip(&direction[rows]).map(vector)
        });
        WindMeans { u, v }
    }

    /// The mean of a direction that has no speed beside it, in `0.0..360.0` degrees: that of the
    /// mean of the unit vectors. Missing where they cancel each other.
    pub fn direction_means(&self, direction: &[f64], minimum: f64, cadence: &Cadence) -> Vec<f64> {
        let unit = |&direction: &f64| physics::wind_vector(1.0, direction);
        let (u, v) = self.vectors(minimum, cadence, |rows| direction[rows].iter().map(unit));
        let back = |(u, v): (f64, f64)| match physics::wind_from_vector(u, v) {
            (length, Some(direction)) if length > NO_DIRECTION => direction,
            _ => f64::NAN,
        };
        u.into_iter().zip(v).map(back).collect()
    }

    fn pieces(&self, cadence: &Cadence) -> Vec<(Range<usize>, usize)> {
        cadence.pieces(self.start, self.step.seconds(), self.rows())
    }

    /// The values of each of some bins.
    fn bins<'a>(
        &'a self,
        piece: Range<usize>,
        values: &'a [f64],
    ) -> impl ExactSizeIterator<Item = &'a [f64]> {
        self.borders[piece.start..=piece.end]
            .windows(2)
            .map(|pair| &values[pair[0]..pair[1]])
    }

    /// The mean vector of each bin. There is mostly one wind, and a sine costs more than all else that
    /// is done with a value, so the cores share its bins.
    fn vectors<V: Iterator<Item = (f64, f64)>>(
        &self,
        minimum: f64,
        cadence: &Cadence,
        of: impl Fn(Range<usize>) -> V + Sync,
    ) -> (Vec<f64>, Vec<f64>) {
        let (mut all_u, mut all_v) = (Vec::new(), Vec::new());
        for (piece, expected) in self.pieces(cadence) {
            let needed = needed(expected, minimum);
            let mean = |borders: &[usize]| {
                let there = of(borders[0]..borders[1]).filter(|(u, v)| !u.is_nan() && !v.is_nan());
                let (u, v, found) =
                    there.fold((0.0, 0.0, 0), |(x, y, n), (u, v)| (x + u, y + v, n + 1));
                if found < needed {
                    (f64::NAN, f64::NAN)
                } else {
                    (u / found as f64, v / found as f64)
                }
            };
            let borders = self.borders[piece.start..=piece.end].par_windows(2);
            let (u, v): (Vec<f64>, Vec<f64>) = borders.with_min_len(BINS_AT_ONCE).map(mean).unzip();
            all_u.extend(u);
            all_v.extend(v);
        }
        (all_u, all_v)
    }
}

/// How many values of those that belong to a result must be there for it to be believed.
pub(super) fn needed(expected: usize, minimum: f64) -> usize {
    // A little less, so that 0.7 of 10 is 7 whatever the product rounds to.
    let least = (minimum.clamp(0.0, 1.0) * expected as f64 - 1e-9).ceil();
    (least as usize).max(1)
}

/// What becomes of the sum and the number of the values of each bin, in one pass.
fn totals<'a>(
    bins: impl Iterator<Item = &'a [f64]>,
    needed: usize,
    result: impl Fn(f64, usize) -> f64,
) -> impl Iterator<Item = f64> {
    bins.map(move |bin| {
        let (sum, found) = bin.iter().fold((0.0, 0), |(sum, found), &value| {
            let there = !value.is_nan();
            (
                sum + if there { value } else { 0.0 },
                found + usize::from(there),
            )
        });
        if found < needed {
            f64::NAN
        } else {
            result(sum, found)
        }
    })
}

fn reduce<'a>(
    bins: impl Iterator<Item = &'a [f64]>,
    needed: usize,
    mut result: impl FnMut(&[f64]) -> f64,
) -> impl Iterator<Item = f64> {
    bins.map(move |bin| {
        if present(bin) < needed {
            f64::NAN
        } else {
            result(bin)
        }
    })
}

/// How a quantity is brought to a longer step. `None` for a direction, which is neither a mean nor
/// a maximum but that of a mean vector: see [`Bins::wind_means`] and [`Bins::direction_means`].
pub fn default_for(quantity: Quantity) -> Option<Aggregate> {
    match quantity {
        Quantity::Direction => None,
        Quantity::Gust => Some(Aggregate::Max),
        Quantity::Precipitation => Some(Aggregate::Sum),
        Quantity::Temperature
        | Quantity::DewPoint
        | Quantity::Humidity
        | Quantity::Percent
        | Quantity::WindSpeed
        | Quantity::WindComponent
        | Quantity::Pressure
        | Quantity::Co2
        | Quantity::Radiation
        | Quantity::Concentration
        | Quantity::Share
        | Quantity::Power
        | Quantity::Unknown => Some(Aggregate::Mean),
    }
}

/// The end of the bin that a time lies in.
fn end_of_bin(time: i64, step: i64, phase: i64) -> i64 {
    let into = time.saturating_sub(phase).rem_euclid(step);
    if into == 0 {
        time
    } else {
        time.saturating_add(step - into)
    }
}

/// The first row after a time, looked for from row `from` on: at once where a bin holds `usual`
/// rows, by doubling strides where it does not.
fn first_after(end: i64, times: &[i64], from: usize, usual: usize) -> usize {
    let next = from + usual;
    if next <= times.len() && times[next - 1] <= end && times.get(next).is_none_or(|&t| t > end) {
        return next;
    }
    let rest = &times[from..];
    let mut stride = 1;
    while rest.get(stride - 1).is_some_and(|&time| time <= end) {
        stride *= 2;
    }
    from + rest[..stride.min(rest.len())].partition_point(|&time| time <= end)
}

/// The time between most rows, or, where no one is that frequent, the middle one in order of size.
fn usual_gap(times: &[i64]) -> Option<i64> {
    let gaps = || times.windows(2).map(|pair| pair[1].saturating_sub(pair[0]));
    let is_usual =
        |candidate: &i64| 2 * gaps().filter(|gap| gap == candidate).count() >= times.len();
    // The first one nearly always is, and one pass over the times shows it.
    let frequent = || usual_step(times).map(Step::seconds);
    let usual = (gaps().next().filter(is_usual)).or_else(|| frequent().filter(is_usual));
    if let Some(usual) = usual.filter(|&gap| gap > 0) {
        return Some(usual);
    }
    let mut gaps: Vec<i64> = gaps().filter(|&gap| gap > 0).collect();
    if gaps.is_empty() {
        return None;
    }
    let middle = gaps.len() / 2;
    Some(*gaps.select_nth_unstable(middle).1)
}

fn present(bin: &[f64]) -> usize {
    bin.iter().filter(|value| !value.is_nan()).count()
}

fn or_missing(value: Option<&f64>) -> f64 {
    value.copied().unwrap_or(f64::NAN)
}

/// The median of what is there; `sorted` is only there to be used again.
fn median(bin: &[f64], sorted: &mut Vec<f64>) -> f64 {
    sorted.clear();
    sorted.extend(bin.iter().copied().filter(|value| !value.is_nan()));
    sorted.sort_unstable_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

#[cfg(test)]
mod tests;
