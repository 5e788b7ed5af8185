//! Bins by hand, and against a way that is plain and slow.

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
        self.bins(0..self.rows(), values).map(present).collect()
    }

    /// With as many values in each bin as there are as a rule.
    fn usually(&self, values: &[f64], how: Aggregate, minimum: f64) -> Vec<f64> {
        self.apply(values, how, minimum, &self.usual_cadence())
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
    let apply = |how| bins.usually(&values, how, 0.5);
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
    let apply = |how, minimum| bins.usually(&values, how, minimum);
    assert_same(&apply(Aggregate::Mean, 0.5), &[N, 3.0]);
    assert_same(&apply(Aggregate::Mean, 1.0 / 3.0), &[2.5, 3.0]);
    assert_same(&apply(Aggregate::Max, 0.0), &[4.0, 5.0]);
    assert_same(&apply(Aggregate::First, 0.0), &[1.0, 1.0]);
    assert_same(&apply(Aggregate::Last, 0.0), &[4.0, 5.0]);
    assert_same(&apply(Aggregate::Median, 0.0), &[2.5, 3.0]);
    for how in ALL {
        assert_same(&apply(how, 1.0), &[N, N]);
        assert_same(&bins.usually(&[N; 12], how, 0.0), &[N, N]);
    }
}

#[test]
fn a_sum_with_holes_keeps_its_rate() {
    let values = [2.0, N, 2.0, N, 2.0, N, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0];
    let sums = bins(&two_hours(), Step::HOUR).usually(&values, Aggregate::Sum, 0.5);
    assert_same(&sums, &[12.0, 6.0]);
}

#[test]
fn a_sum_is_what_fell_whatever_the_step_of_its_time() {
    // A day of hours, then of 10 minutes, of which some are missing; 1 mm an hour.
    let hours = (1..=24).map(|hour| (hour * HOUR, 1.0));
    let minutes = (1..=144).map(|row| (DAY + row * 10 * MINUTE, 1.0 / 6.0));
    let mut rows: Vec<(i64, f64)> = hours.chain(minutes).collect();
    rows[5].1 = N;
    rows[30].1 = N;
    let (times, values): (Vec<i64>, Vec<f64>) = rows.into_iter().unzip();
    let bins = bins(&times, Step::HOUR);
    assert_eq!(bins.expected, 6);
    let there = times.iter().zip(&values).filter(|(_, mm)| !mm.is_nan());
    let there: Vec<i64> = there.map(|(time, _)| *time).collect();
    let cadence = bins.cadence(&there);
    let near = |found: f64| (found - 1.0).abs() < 1e-12;
    let sums = bins.apply(&values, Aggregate::Sum, 0.5, &cadence);
    let missing: Vec<usize> = (0..48).filter(|&row| !near(sums[row])).collect();
    assert_eq!((sums.len(), missing), (48, vec![5]));
    assert!(sums[5].is_nan());
}

#[test]
fn only_bins_that_the_data_reach_over_are_rows() {
    // 00:00 belongs to the hour before, of which nothing else is there; 01:10 … 01:50 to one
    // that is not over.
    let times: Vec<i64> = (0..12).map(|row| row * 10 * MINUTE).collect();
    let whole = bins(&times, Step::HOUR);
    assert_eq!((whole.start(), whole.rows()), (HOUR, 1));
    let values: Vec<f64> = (0..12).map(f64::from).collect();
    assert_same(&whole.usually(&values, Aggregate::Mean, 0.5), &[3.5]);
    let short = bins(&times[..3], Step::HOUR);
    assert_eq!(short.rows(), 0);
    assert!(short.usually(&values[..3], Aggregate::Mean, 0.0).is_empty());
    let between = bins(&times[1..6], Step::HOUR);
    assert_eq!(between.rows(), 0, "00:10 … 00:50: 01:00 is still to come");
}

#[test]
fn a_gap_is_missing_rows() {
    let mut times = two_hours();
    times.extend((25..=30).map(|row| row * 10 * MINUTE));
    let values = vec![1.0; times.len()];
    let means = bins(&times, Step::HOUR).usually(&values, Aggregate::Mean, 0.5);
    assert_same(&means, &[1.0, 1.0, N, N, 1.0]);
}

#[test]
fn weeks_with_missing_days_become_days_or_weeks() {
    // Noon of every seventh day, one week without a value and one without a row.
    let times = [0, 7, 14, 28].map(|day| day * DAY + DAY / 2);
    let values = [330.0, N, 331.0, 333.0];
    let weeks = bins(&times, "7d".parse().unwrap());
    assert_eq!((weeks.start(), weeks.expected), (7 * DAY, 1));
    let means = weeks.usually(&values, Aggregate::Mean, 0.5);
    assert_same(&means, &[330.0, N, 331.0, N, 333.0]);
    let days = bins(&times, Step::DAY);
    let means = days.usually(&values, Aggregate::Mean, 0.5);
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
    assert!(none.usually(&[], Aggregate::Mean, 0.5).is_empty());
    let one = bins(&[HOUR + 1], Step::HOUR);
    assert_eq!((one.start(), one.rows()), (2 * HOUR, 1));
    assert_same(&one.usually(&[7.0], Aggregate::Median, 0.5), &[7.0]);
    assert!(matches!(
        Bins::new(&[0, 1 << 40], Step::HOUR, 0, None),
        Err(SeriesError::Sparse { .. })
    ));
}

#[test]
fn directions_are_averaged_on_the_circle() {
    let times: Vec<i64> = (1..=6).map(|row| row * 30 * MINUTE).collect();
    let bins = bins(&times, Step::HOUR);
    let means = bins.direction_means(
        &[350.0, 10.0, 0.0, 180.0, 90.0, N],
        0.5,
        &bins.usual_cadence(),
    );
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
    let wind = bins.wind_means(&speed, &direction, 0.5, &bins.usual_cadence());
    let near = |found: f64, expected: f64| (found - expected).abs() < 1e-12;
    assert!(near(wind.u[0], 1.0) && near(wind.v[0], 0.0));
    assert!(near(wind.u[1], 0.0) && near(wind.v[1], 3.0));
    assert!(near(wind.u[2], 0.0) && near(wind.v[2], -3.0));
    let strict = bins.wind_means(&speed, &direction, 1.0, &bins.usual_cadence());
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
    let wind = bins.wind_means(&speed, &direction, 0.5, &bins.usual_cadence());
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
        let results = ALL.map(|how| bins.usually(&values, how, minimum));
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
                    ALL.map(|how| bins.usually(&values, how, minimum)[row]);
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
            let (all, some) = (all.usually(&values, how, 0.5), some.usually(&values[..cut], how, 0.5));
            prop_assert_eq!(&all[..some.len()], &some[..]);
        }
    }

    #[test]
    fn rows_on_the_step_stay_as_they_are(values in prop::collection::vec(-50.0..50.0_f64, 1..60)) {
        let times: Vec<i64> = (0..values.len() as i64).map(|row| row * HOUR).collect();
        let bins = bins(&times, Step::HOUR);
        prop_assert_eq!((bins.start(), bins.rows()), (0, values.len()));
        for how in ALL {
            prop_assert_eq!(bins.usually(&values, how, 1.0), values.clone());
        }
    }

    #[test]
    fn a_mean_direction_turns_with_its_values(
        directions in prop::collection::vec(-40.0..40.0_f64, 2),
        turn in 0.0..360.0_f64,
    ) {
        let bins = bins(&[1800, HOUR], Step::HOUR);
        let turned: Vec<f64> = directions.iter().map(|d| (d + turn).rem_euclid(360.0)).collect();
        let mean = bins.direction_means(&turned, 0.5, &bins.usual_cadence())[0];
        let middle = f64::midpoint(directions[0], directions[1]) + turn;
        let off = (mean - middle + 180.0).rem_euclid(360.0) - 180.0;
        prop_assert!((0.0..360.0).contains(&mean) && off.abs() < 1e-6, "{} {}", mean, middle);
    }
}
