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

use rayon::prelude::*;

use super::SeriesError;
use super::quality::usual_step;
use crate::params::Quantity;
use crate::physics;
use crate::time::Step;

pub use crate::params::Aggregate;

/// How many rows there may be for one that was measured; more, and the step is a mistake.
const LARGEST_SPREAD: usize = 1000;
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
    /// the time between two rows where that is known; otherwise they tell it.
    pub fn new(
        times: &[i64],
        step: Step,
        phase: i64,
        raw_step: Option<Step>,
    ) -> Result<Self, SeriesError> {
        debug_assert!(times.is_sorted(), "times are in order");
        let seconds = step.seconds();
        let (Some(&first), Some(&last)) = (times.first(), times.last()) else {
            return Ok(Self {
                start: phase,
                step,
                expected: 1,
                borders: vec![0],
            });
        };
        let gap = match raw_step {
            Some(raw_step) => raw_step.seconds(),
            None => usual_gap(times).unwrap_or(seconds),
        };
        let mut start = end_of_bin(first, seconds, phase);
        if first.saturating_sub(gap) > start.saturating_sub(seconds) {
            start = start.saturating_add(seconds);
        }
        let mut end = end_of_bin(last, seconds, phase);
        if last.saturating_add(gap) <= end {
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

    /// How many rows each bin holds.
    pub fn lengths(&self) -> impl ExactSizeIterator<Item = usize> {
        self.borders.windows(2).map(|pair| pair[1] - pair[0])
    }

    /// One value a bin, for one value a time. It is missing where less than the share `minimum` of
    /// the values expected is there, and always where none is.
    ///
    /// A sum over a bin that lacks values is scaled by expected/found: it keeps the mean rate. The
    /// plain sum would take what was not measured for dry.
    pub fn apply(&self, values: &[f64], how: Aggregate, minimum: f64) -> Vec<f64> {
        let needed = self.needed(minimum);
        match how {
            Aggregate::Mean => self.totals(values, needed, |sum, found| sum / found as f64),
            Aggregate::Sum => self.totals(values, needed, |sum, found| {
                sum * (self.expected as f64 / found as f64).max(1.0)
            }),
            Aggregate::Max => self.reduce(values, needed, |bin| {
                bin.iter().copied().fold(f64::NAN, f64::max)
            }),
            Aggregate::Min => self.reduce(values, needed, |bin| {
                bin.iter().copied().fold(f64::NAN, f64::min)
            }),
            Aggregate::First => self.reduce(values, needed, |bin| {
                or_missing(bin.iter().find(|v| !v.is_nan()))
            }),
            Aggregate::Last => self.reduce(values, needed, |bin| {
                or_missing(bin.iter().rfind(|v| !v.is_nan()))
            }),
            Aggregate::Median => {
                let mut sorted = Vec::with_capacity(self.expected);
                self.reduce(values, needed, |bin| median(bin, &mut sorted))
            }
        }
    }

    /// The mean vector of a wind, from one speed and one direction in degrees a time. Where wind
    /// turns, it is shorter than the mean speed says; both are wanted.
    ///
    /// A calm has no direction, and counts as the vector (0, 0).
    pub fn wind_means(&self, speed: &[f64], direction: &[f64], minimum: f64) -> WindMeans {
        let vector = |(&speed, &direction): (&f64, &f64)| physics::wind_vector(speed, direction);
        let (u, v) = self.vectors(minimum, |rows| {
            speed[rows.clone()].iter().zip(&direction[rows]).map(vector)
        });
        WindMeans { u, v }
    }

    /// The mean of a direction that has no speed beside it, in `0.0..360.0` degrees: that of the
    /// mean of the unit vectors. Missing where they cancel each other.
    pub fn direction_means(&self, direction: &[f64], minimum: f64) -> Vec<f64> {
        let unit = |&direction: &f64| physics::wind_vector(1.0, direction);
        let (u, v) = self.vectors(minimum, |rows| direction[rows].iter().map(unit));
        let back = |(u, v): (f64, f64)| match physics::wind_from_vector(u, v) {
            (length, Some(direction)) if length > NO_DIRECTION => direction,
            _ => f64::NAN,
        };
        u.into_iter().zip(v).map(back).collect()
    }

    /// How many values a bin must have to be believed.
    fn needed(&self, minimum: f64) -> usize {
        // A little less, so that 0.7 of 10 is 7 whatever the product rounds to.
        let least = (minimum.clamp(0.0, 1.0) * self.expected as f64 - 1e-9).ceil();
        (least as usize).max(1)
    }

    fn bins<'a>(&self, values: &'a [f64]) -> impl ExactSizeIterator<Item = &'a [f64]> {
        self.borders
            .windows(2)
            .map(|pair| &values[pair[0]..pair[1]])
    }

    /// What becomes of the sum and the number of the values of each bin, in one pass.
    fn totals(
        &self,
        values: &[f64],
        needed: usize,
        result: impl Fn(f64, usize) -> f64,
    ) -> Vec<f64> {
        let total = |bin: &[f64]| {
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
        };
        self.bins(values).map(total).collect()
    }

    fn reduce(
        &self,
        values: &[f64],
        needed: usize,
        mut result: impl FnMut(&[f64]) -> f64,
    ) -> Vec<f64> {
        let value = |bin: &[f64]| {
            if present(bin) < needed {
                f64::NAN
            } else {
                result(bin)
            }
        };
        self.bins(values).map(value).collect()
    }

    /// The mean vector of each bin. There is mostly one wind, and a sine costs more than all else that
    /// is done with a value, so the cores share its bins.
    fn vectors<V: Iterator<Item = (f64, f64)>>(
        &self,
        minimum: f64,
        of: impl Fn(std::ops::Range<usize>) -> V + Sync,
    ) -> (Vec<f64>, Vec<f64>) {
        let needed = self.needed(minimum);
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
        let borders = self.borders.par_windows(2);
        borders.with_min_len(BINS_AT_ONCE).map(mean).unzip()
    }
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    const N: f64 = f64::NAN;
    const MINUTE: i64 = 60;
    const HOUR: i64 = 3600;
    const DAY: i64 = 86_400;
    const ALL: [Aggregate; 7] = [
        Aggregate::Mean,
        Aggregate::Max,
        Aggregate::Min,
        Aggregate::Sum,
        Aggregate::Last,
        Aggregate::First,
        Aggregate::Median,
    ];

    impl Bins {
        /// How many values of each bin are there.
        fn counts(&self, values: &[f64]) -> Vec<usize> {
            self.bins(values).map(present).collect()
        }
    }

    fn bins(times: &[i64], step: Step) -> Bins {
        Bins::new(times, step, 0, None).unwrap()
    }

    /// Equal, a missing value to a missing value.
    #[track_caller]
    fn assert_same(found: &[f64], expected: &[f64]) {
        let bits = |values: &[f64]| -> Vec<Option<f64>> {
            (values.iter().map(|v| (!v.is_nan()).then_some(*v))).collect()
        };
        assert_eq!(bits(found), bits(expected));
    }

    /// 10-minute rows: 00:10 … 02:00.
    fn two_hours() -> Vec<i64> {
        (1..=12).map(|row| row * 10 * MINUTE).collect()
    }

    #[test]
    fn a_row_holds_the_time_before_it() {
        let values: Vec<f64> = (1..=12).map(f64::from).collect();
        let bins = bins(&two_hours(), Step::HOUR);
        assert_eq!((bins.start(), bins.rows(), bins.expected), (HOUR, 2, 6));
        let apply = |how| bins.apply(&values, how, 0.5);
        assert_same(&apply(Aggregate::Mean), &[3.5, 9.5]);
        assert_same(&apply(Aggregate::Max), &[6.0, 12.0]);
        assert_same(&apply(Aggregate::Min), &[1.0, 7.0]);
        assert_same(&apply(Aggregate::Sum), &[21.0, 57.0]);
        assert_same(&apply(Aggregate::First), &[1.0, 7.0]);
        assert_same(&apply(Aggregate::Last), &[6.0, 12.0]);
        assert_same(&apply(Aggregate::Median), &[3.5, 9.5]);
        assert_eq!(bins.counts(&values), [6, 6]);
    }

    #[test]
    fn a_bin_needs_its_share_of_values() {
        let values = [1.0, N, N, 4.0, N, N, 1.0, N, 3.0, N, 5.0, N];
        let bins = bins(&two_hours(), Step::HOUR);
        assert_eq!(bins.counts(&values), [2, 3]);
        let apply = |how, minimum| bins.apply(&values, how, minimum);
        assert_same(&apply(Aggregate::Mean, 0.5), &[N, 3.0]);
        assert_same(&apply(Aggregate::Mean, 1.0 / 3.0), &[2.5, 3.0]);
        assert_same(&apply(Aggregate::Max, 0.0), &[4.0, 5.0]);
        assert_same(&apply(Aggregate::First, 0.0), &[1.0, 1.0]);
        assert_same(&apply(Aggregate::Last, 0.0), &[4.0, 5.0]);
        assert_same(&apply(Aggregate::Median, 0.0), &[2.5, 3.0]);
        for how in ALL {
            assert_same(&apply(how, 1.0), &[N, N]);
            assert_same(&bins.apply(&[N; 12], how, 0.0), &[N, N]);
        }
    }

    #[test]
    fn a_sum_with_holes_keeps_its_rate() {
        let values = [2.0, N, 2.0, N, 2.0, N, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0];
        let sums = bins(&two_hours(), Step::HOUR).apply(&values, Aggregate::Sum, 0.5);
        assert_same(&sums, &[12.0, 6.0]);
    }

    #[test]
    fn only_bins_that_the_data_reach_over_are_rows() {
        // 00:00 belongs to the hour before, of which nothing else is there; 01:10 … 01:50 to one
        // that is not over.
        let times: Vec<i64> = (0..12).map(|row| row * 10 * MINUTE).collect();
        let whole = bins(&times, Step::HOUR);
        assert_eq!((whole.start(), whole.rows()), (HOUR, 1));
        let values: Vec<f64> = (0..12).map(f64::from).collect();
        assert_same(&whole.apply(&values, Aggregate::Mean, 0.5), &[3.5]);
        let short = bins(&times[..3], Step::HOUR);
        assert_eq!(short.rows(), 0);
        assert!(short.apply(&values[..3], Aggregate::Mean, 0.0).is_empty());
        let between = bins(&times[1..6], Step::HOUR);
        assert_eq!(between.rows(), 0, "00:10 … 00:50: 01:00 is still to come");
    }

    #[test]
    fn a_gap_is_missing_rows() {
        let mut times = two_hours();
        times.extend((25..=30).map(|row| row * 10 * MINUTE));
        let values = vec![1.0; times.len()];
        let means = bins(&times, Step::HOUR).apply(&values, Aggregate::Mean, 0.5);
        assert_same(&means, &[1.0, 1.0, N, N, 1.0]);
    }

    #[test]
    fn weeks_with_missing_days_become_days_or_weeks() {
        // Noon of every seventh day, one week without a value and one without a row.
        let times = [0, 7, 14, 28].map(|day| day * DAY + DAY / 2);
        let values = [330.0, N, 331.0, 333.0];
        let weeks = bins(&times, "7d".parse().unwrap());
        assert_eq!((weeks.start(), weeks.expected), (7 * DAY, 1));
        let means = weeks.apply(&values, Aggregate::Mean, 0.5);
        assert_same(&means, &[330.0, N, 331.0, N, 333.0]);
        let days = bins(&times, Step::DAY);
        let means = days.apply(&values, Aggregate::Mean, 0.5);
        assert_eq!((days.start(), means.len()), (DAY, 29));
        assert_same(&means[..2], &[330.0, N]);
        assert_same(&means[27..], &[N, 333.0]);
    }

    #[test]
    fn a_phase_moves_the_ends() {
        let times: Vec<i64> = (1..=48).map(|hour| hour * HOUR).collect();
        let days = Bins::new(&times, Step::DAY, 6 * HOUR, None).unwrap();
        assert_eq!((days.start(), days.rows()), (30 * HOUR, 1));
        let early = Bins::new(&[-HOUR], Step::DAY, 0, None).unwrap();
        assert_eq!((early.start(), early.rows()), (0, 1));
    }

    #[test]
    fn an_irregular_step_has_a_usual_one() {
        assert_eq!(usual_gap(&[0, 50, 110, 170, 229]), Some(60));
        assert_eq!(usual_gap(&[0, 58, 120, 177, 240]), Some(62));
        assert_eq!(usual_gap(&[5]), None);
        assert_eq!(usual_gap(&[5, 5]), None);
        assert_eq!(bins(&[0, 7 * 60, 14 * 60, 21 * 60], Step::HOUR).expected, 8);
    }

    #[test]
    fn degenerate_input() {
        let none = bins(&[], Step::HOUR);
        assert_eq!(none.rows(), 0);
        assert!(none.apply(&[], Aggregate::Mean, 0.5).is_empty());
        let one = bins(&[HOUR + 1], Step::HOUR);
        assert_eq!((one.start(), one.rows()), (2 * HOUR, 1));
        assert_same(&one.apply(&[7.0], Aggregate::Median, 0.5), &[7.0]);
        assert!(matches!(
            Bins::new(&[0, 1 << 40], Step::HOUR, 0, None),
            Err(SeriesError::Sparse { .. })
        ));
    }

    #[test]
    fn directions_are_averaged_on_the_circle() {
        let times: Vec<i64> = (1..=6).map(|row| row * 30 * MINUTE).collect();
        let bins = bins(&times, Step::HOUR);
        let means = bins.direction_means(&[350.0, 10.0, 0.0, 180.0, 90.0, N], 0.5);
        assert!(means[0] < 1e-9 || means[0] > 360.0 - 1e-9, "{}", means[0]);
        assert!(means[1].is_nan(), "north and south cancel each other");
        assert!((means[2] - 90.0).abs() < 1e-9);
    }

    #[test]
    fn wind_is_averaged_as_a_vector() {
        let times: Vec<i64> = (1..=6).map(|row| row * 30 * MINUTE).collect();
        let bins = bins(&times, Step::HOUR);
        // From west and east, a calm that has no direction, and one of two missing.
        let speed = [4.0, 2.0, 0.0, 6.0, 3.0, 5.0];
        let direction = [270.0, 90.0, N, 180.0, 0.0, N];
        let wind = bins.wind_means(&speed, &direction, 0.5);
        let near = |found: f64, expected: f64| (found - expected).abs() < 1e-12;
        assert!(near(wind.u[0], 1.0) && near(wind.v[0], 0.0));
        assert!(near(wind.u[1], 0.0) && near(wind.v[1], 3.0));
        assert!(near(wind.u[2], 0.0) && near(wind.v[2], -3.0));
        let strict = bins.wind_means(&speed, &direction, 1.0);
        assert!(strict.u[2].is_nan() && strict.v[2].is_nan());
    }

    /// Bins that several cores share are in the order of one core.
    #[test]
    fn the_wind_of_many_bins_is_that_of_each() {
        let count = 4 * BINS_AT_ONCE as i64 + 3;
        let times: Vec<i64> = (0..2 * count).map(|row| row * 30 * MINUTE).collect();
        let speed: Vec<f64> = (0..times.len()).map(|row| (row % 17) as f64).collect();
        let direction: Vec<f64> = (0..times.len()).map(|row| (row * 7 % 360) as f64).collect();
        let bins = bins(&times, Step::HOUR);
        let wind = bins.wind_means(&speed, &direction, 0.5);
        assert_eq!(wind.u.len(), bins.rows());
        for (bin, rows) in bins.borders.windows(2).enumerate() {
            let rows = rows[0]..rows[1];
            let vectors = rows.clone().map(|row| match speed[row] {
                0.0 => (0.0, 0.0),
                speed => physics::wind_vector(speed, direction[row]),
            });
            let (u, v) = vectors.fold((0.0, 0.0), |(x, y), (u, v)| (x + u, y + v));
            let count = rows.len() as f64;
            assert_same(&[wind.u[bin], wind.v[bin]], &[u / count, v / count]);
        }
    }

    #[test]
    fn every_quantity_but_a_direction_has_its_way() {
        assert_eq!(default_for(Quantity::Gust), Some(Aggregate::Max));
        assert_eq!(default_for(Quantity::Precipitation), Some(Aggregate::Sum));
        assert_eq!(default_for(Quantity::Co2), Some(Aggregate::Mean));
        assert_eq!(default_for(Quantity::Direction), None);
    }

    /// Times in order with gaps of any length, and values of which some are missing.
    fn irregular() -> impl Strategy<Value = (Vec<i64>, Vec<f64>)> {
        let row = (1..3000_i64, prop::option::weighted(0.8, -50.0..50.0_f64));
        (-100_000..100_000_i64, prop::collection::vec(row, 1..80)).prop_map(|(start, rows)| {
            let mut time = start;
            rows.into_iter()
                .map(|(gap, value)| {
                    time += gap;
                    (time, value.unwrap_or(N))
                })
                .unzip()
        })
    }

    /// The same by the definition, one bin after the other.
    fn by_definition(bins: &Bins, times: &[i64], values: &[f64], row: usize) -> Vec<f64> {
        let end = bins.start() + row as i64 * bins.step.seconds();
        let inside = |time: i64| time > end - bins.step.seconds() && time <= end;
        let rows = times.iter().zip(values);
        rows.filter(|(time, value)| inside(**time) && !value.is_nan())
            .map(|(_, value)| *value)
            .collect()
    }

    proptest! {
        #[test]
        fn bins_are_what_they_are_defined_to_be(
            (times, values) in irregular(),
            step in 1..9000_u32,
            phase in -5000..5000_i64,
            minimum in 0.0..=1.0_f64,
        ) {
            let step = Step::from_seconds(step).unwrap();
            let Ok(bins) = Bins::new(&times, step, phase, None) else { return Ok(()) };
            prop_assert_eq!((bins.start() - phase).rem_euclid(step.seconds()), 0);
            let counts = bins.counts(&values);
            let results = ALL.map(|how| bins.apply(&values, how, minimum));
            for row in 0..bins.rows() {
                let inside = by_definition(&bins, &times, &values, row);
                prop_assert_eq!(counts[row], inside.len());
                let enough = !inside.is_empty()
                    && inside.len() as f64 >= minimum * bins.expected as f64 - 1e-9;
                for result in &results {
                    prop_assert_eq!(result.len(), bins.rows());
                    prop_assert_eq!(result[row].is_nan(), !enough);
                }
                if enough {
                    let n = inside.len();
                    let sum: f64 = inside.iter().sum();
                    let scale = (bins.expected as f64 / n as f64).max(1.0);
                    let low = inside.iter().copied().fold(f64::INFINITY, f64::min);
                    let high = inside.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    let [mean, max, min, total, last, first, median] =
                        ALL.map(|how| bins.apply(&values, how, minimum)[row]);
                    prop_assert!((mean - sum / n as f64).abs() < 1e-9);
                    prop_assert!((total - sum * scale).abs() < 1e-9 * scale.max(1.0) * 100.0);
                    prop_assert_eq!((max, min), (high, low));
                    prop_assert_eq!((first, last), (inside[0], inside[n - 1]));
                    prop_assert!(2 * inside.iter().filter(|v| **v <= median).count() >= n);
                    prop_assert!(2 * inside.iter().filter(|v| **v >= median).count() >= n);
                }
            }
        }

        /// What comes later changes no row that is there: neither its values nor whether it is one.
        #[test]
        fn a_row_does_not_change_when_data_go_on(
            values in prop::collection::vec(-50.0..50.0_f64, 14..60),
            cut in 7..59_usize,
            start in 0..100_i64,
        ) {
            let times: Vec<i64> = (0..values.len() as i64).map(|row| (start + row) * 600).collect();
            let cut = cut.min(values.len() - 1);
            let (all, some) = (bins(&times, Step::HOUR), bins(&times[..cut], Step::HOUR));
            prop_assert_eq!(all.start(), some.start());
            prop_assert!(some.rows() <= all.rows());
            for how in ALL {
                let (all, some) = (all.apply(&values, how, 0.5), some.apply(&values[..cut], how, 0.5));
                prop_assert_eq!(&all[..some.len()], &some[..]);
            }
        }

        #[test]
        fn rows_on_the_step_stay_as_they_are(values in prop::collection::vec(-50.0..50.0_f64, 1..60)) {
            let times: Vec<i64> = (0..values.len() as i64).map(|row| row * HOUR).collect();
            let bins = bins(&times, Step::HOUR);
            prop_assert_eq!((bins.start(), bins.rows()), (0, values.len()));
            for how in ALL {
                prop_assert_eq!(bins.apply(&values, how, 1.0), values.clone());
            }
        }

        #[test]
        fn a_mean_direction_turns_with_its_values(
            directions in prop::collection::vec(-40.0..40.0_f64, 2),
            turn in 0.0..360.0_f64,
        ) {
            let bins = bins(&[1800, HOUR], Step::HOUR);
            let turned: Vec<f64> = directions.iter().map(|d| (d + turn).rem_euclid(360.0)).collect();
            let mean = bins.direction_means(&turned, 0.5)[0];
            let middle = f64::midpoint(directions[0], directions[1]) + turn;
            let off = (mean - middle + 180.0).rem_euclid(360.0) - 180.0;
            prop_assert!((0.0..360.0).contains(&mean) && off.abs() < 1e-6, "{} {}", mean, middle);
        }
    }
}
