//! What is usual for the time of day and year: the forecast that knows nothing of today's weather.
//!
//! Times are UTC. A day of the year is counted as in a leap year, so that 1 March is the same day
//! in every year; its mean takes in the days around it, the nearer the more. [`Climatology`] knows
//! nothing of windows and serves any series of values, such as the wind of a feels-like forecast.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, Datelike, Timelike};

use super::residual::{self, Point};
use super::{Array, Family, FitTask, Fitted, Forecaster, LoadTask, Monitor, Weights};
use crate::data::{Block, Frame, Role, columns_with};
use crate::time::Step;

/// Days of a leap year.
const DAYS: usize = 366;
/// Seconds of a day.
const DAY_SECONDS: usize = 86_400;
/// How many days before and after a day count for its mean; their weight falls linearly to zero
/// just outside.
const REACH: usize = 15;
/// Finer steps than a minute share the slot of their hour, lest the table outgrow the data.
const MOST_SLOTS: usize = 1440;
/// The weight that holds the tables of all targets, first those of each series by name where there are
/// several, `[(series + 1) × targets × 366, slots a day]`.
const TABLE: &str = "climatology";

/// The mean of a series for each slot of the day and day of the year.
#[derive(Clone, Debug, PartialEq)]
pub struct Climatology {
    /// Slots a day; a divisor of [`DAY_SECONDS`].
    slots: usize,
    /// `[366 × slots]`, in the unit of the values.
    table: Vec<f32>,
}

impl Climatology {
    /// The means of values at times, in seconds since 1970 UTC, on a step. A slot is a step where
    /// steps divide a day and are not finer than a minute, and an hour otherwise. Missing values
    /// (NaN) do not count.
    ///
    /// Where a slot has no value within 15 days of a day of the year, the mean of that slot over
    /// the whole year stands for it; where it has none at all, the mean of everything. Without any
    /// value, all is NaN.
    pub fn fit(step: Step, values: impl Iterator<Item = (i64, f32)>) -> Self {
        let slots = step.per_day().filter(|&n| n <= MOST_SLOTS).unwrap_or(24);
        let mut cells = vec![Mean::default(); DAYS * slots];
        for (time, value) in values {
            if !value.is_nan() {
                cells[cell(time, slots)].add(f64::from(value), 1.0);
            }
        }
        let table = smooth(&cells, slots);
        Self { slots, table }
    }

    /// The usual value at a time, in seconds since 1970 UTC.
    pub fn value(&self, time: i64) -> f32 {
        self.table[cell(time, self.slots)]
    }
}

/// The climatologies of some targets: of each series, and of all series together for one that is not
/// known. A series that has no value of a target has that of all of them.
pub(super) struct Climatologies {
    /// By target.
    together: Vec<Climatology>,
    /// By series and target; empty where there is one series.
    own: BTreeMap<String, Vec<Climatology>>,
}

impl Climatologies {
    /// Of the targets of a frame on some rows of it, each range of which lies in one series.
    pub(super) fn fit(frame: &Frame, rows: &[Range<usize>]) -> Result<Self> {
        let together = frame.targets().into_iter().map(|target| {
            let name = &frame.columns[target].name;
            Self::of(frame, target, rows).with_context(|| {
                format!("{name} has no value in the training part, so it has no climatology")
            })
        });
        let together: Vec<Climatology> = together.collect::<Result<_>>()?;
        let of_block = |block: &Block| {
            let rows = rows.iter().filter(|rows| block.rows.contains(&rows.start));
            let rows: Vec<Range<usize>> = rows.cloned().collect();
            let each = frame.targets().into_iter().zip(&together);
            let own = each.map(|(target, together)| {
                Self::of(frame, target, &rows).unwrap_or_else(|| together.clone())
            });
            (block.name.clone(), own.collect())
        };
        let own = match frame.layout.blocks() {
            [] | [_] => BTreeMap::new(),
            blocks => blocks.iter().map(of_block).collect(),
        };
        Ok(Self { together, own })
    }

    /// Of one target on some rows; `None` where none of them has a value.
    fn of(frame: &Frame, target: usize, rows: &[Range<usize>]) -> Option<Climatology> {
        let rows = rows.iter().cloned().flatten();
        let values = rows.map(|row| (frame.time(row), frame.truth(row, target)));
        let is_any = values.clone().any(|(_, value)| !value.is_nan());
        is_any.then(|| Climatology::fit(frame.step(), values))
    }

    /// Of each target, in their order, for the series that a row is of.
    pub(super) fn at(&self, frame: &Frame, row: usize) -> &[Climatology] {
        let block = frame.layout.block_of(row);
        let own = block.and_then(|block| self.own.get(&block.name));
        own.unwrap_or(&self.together)
    }

    pub(super) fn to_weights(&self) -> Weights {
        let all = || self.own.values().chain([&self.together]).flatten();
        let tables: Vec<&[f32]> = all().map(|one| one.table.as_slice()).collect();
        let slots = self.together.first().map_or(0, |first| first.slots);
        let shape = vec![tables.len() * DAYS, slots];
        let values = tables.concat();
        Weights::from([(TABLE.to_owned(), Array { shape, values })])
    }

    /// What [`Self::to_weights`] gave, of the model that is rebuilt.
    pub(super) fn from_weights(weights: &Weights, task: &LoadTask<'_>) -> Result<Self> {
        let array = weights
            .get(TABLE)
            .with_context(|| format!("the weights lack `{TABLE}`"))?;
        let slots = array.shape.get(1).copied().unwrap_or(0);
        let targets = columns_with(task.columns, Role::Target).len();
        let mut names: Vec<&String> = task.series.iter().collect();
        names.sort_unstable();
        if names.len() == 1 {
            names.clear();
        }
        let days = (names.len() + 1) * targets * DAYS;
        ensure!(
            slots > 0 && DAY_SECONDS.is_multiple_of(slots),
            "weight `{TABLE}` has shape {:?}, expected [{days}, slots a day]",
            array.shape,
        );
        let tables = residual::weight(weights, TABLE, &[days, slots])?;
        let mut tables = tables.chunks_exact(DAYS * slots).map(|table| Climatology {
            slots,
            table: table.to_vec(),
        });
        let own = names.into_iter().map(|name| {
            let of_it = tables.by_ref().take(targets).collect();
            (name.clone(), of_it)
        });
        Ok(Self {
            own: own.collect(),
            together: tables.collect(),
        })
    }
}

/// The index of a time in a table with so many slots a day.
fn cell(time: i64, slots: usize) -> usize {
    // chrono knows the years −262143 to 262142; no series reaches further.
    let time = DateTime::from_timestamp(time, 0).unwrap_or_default();
    let since_midnight = time.num_seconds_from_midnight() as usize;
    let day = time.ordinal0() as usize;
    let after_february = day >= 59;
    let leap_day = usize::from(after_february && !time.date_naive().leap_year());
    (day + leap_day) * slots + since_midnight * slots / DAY_SECONDS
}

/// The weighted means around each day of the year, with the fallbacks of [`Climatology::fit`].
fn smooth(cells: &[Mean], slots: usize) -> Vec<f32> {
    let everything = Mean::of(cells.iter());
    let of_slot = |slot: usize| Mean::of(cells.iter().skip(slot).step_by(slots));
    let yearly: Vec<Mean> = (0..slots).map(of_slot).collect();
    let mut table = Vec::with_capacity(cells.len());
    for day in 0..DAYS {
        for (slot, yearly) in yearly.iter().enumerate() {
            let mut around = Mean::default();
            for shift in 0..=2 * REACH {
                let neighbour = (day + DAYS + shift - REACH) % DAYS;
                let closeness = (REACH + 1 - shift.abs_diff(REACH)) as f64;
                around.merge(cells[neighbour * slots + slot], closeness);
            }
            let mean = around.get().or(yearly.get()).or(everything.get());
            table.push(mean.map_or(f32::NAN, |mean| mean as f32));
        }
    }
    table
}

/// A weighted mean in the making.
#[derive(Clone, Copy, Default)]
struct Mean {
    sum: f64,
    weight: f64,
}

impl Mean {
    fn of<'a>(parts: impl Iterator<Item = &'a Self>) -> Self {
        let mut mean = Self::default();
        for part in parts {
            mean.merge(*part, 1.0);
        }
        mean
    }

    fn add(&mut self, value: f64, weight: f64) {
        self.sum += weight * value;
        self.weight += weight;
    }

    fn merge(&mut self, other: Self, weight: f64) {
        self.sum += weight * other.sum;
        self.weight += weight * other.weight;
    }

    fn get(self) -> Option<f64> {
        (self.weight > 0.0).then(|| self.sum / self.weight)
    }
}

impl Point for Climatologies {
    fn rows_needed(&self, _: &Frame) -> Result<usize> {
        Ok(1)
    }

    fn point(&self, frame: &Frame, issue: usize, targets: &[usize], forecast: &mut [f32]) {
        let horizon = forecast.len() / targets.len();
        let leads = forecast.chunks_exact_mut(horizon);
        for (leads, climatology) in leads.zip(self.at(frame, issue)) {
            for (lead, value) in leads.iter_mut().enumerate() {
                *value = climatology.value(frame.time(issue + 1 + lead));
            }
        }
    }
}

/// Makes a [`Climatology`] of each target of each series on the training rows.
pub(super) struct ClimatologyFamily;

impl Family for ClimatologyFamily {
    fn kind(&self) -> &'static str {
        "climatology"
    }

    fn fit(&self, task: &FitTask<'_>, _: &mut dyn Monitor) -> Result<Fitted> {
        let climatologies = Climatologies::fit(task.frame, task.train_rows)?;
        let weights = climatologies.to_weights();
        residual::finish(climatologies, task, weights)
    }

    fn load(&self, task: &LoadTask<'_>, weights: &Weights) -> Result<Box<dyn Forecaster>> {
        let climatologies = Climatologies::from_weights(weights, task)?;
        residual::restore(climatologies, task, weights)
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these values are exact by construction")]
mod tests {
    use proptest::prelude::*;

    use super::super::residual::testing::{fit, forecast, frame, loading, message, model};
    use super::*;
    use crate::data::Layout;
    use crate::params::Architecture;

    /// Of values from 1970 on.
    fn fitted(step: Step, values: &[f32]) -> Climatology {
        let times = (0..).map(|row| row * step.seconds());
        Climatology::fit(step, times.zip(values.iter().copied()))
    }

    const YEAR_ROWS: usize = 365 * 24;

    fn step(text: &str) -> Step {
        text.parse().expect("a step")
    }

    #[test]
    fn a_daily_cycle_is_found_again() {
        let hours: Vec<f32> = (0..2 * YEAR_ROWS).map(|row| (row % 24) as f32).collect();
        let climatology = fitted(Step::HOUR, &hours);
        for time in [0_i64, 3600 * 5, 1_577_829_600, -3600] {
            let hour = time.rem_euclid(86_400) / 3600;
            assert_eq!(climatology.value(time), hour as f32, "{time}");
        }
    }

    #[test]
    fn days_around_count_the_nearer_the_more() {
        // Ten values, one a day from 1 January 1970; only the last is not zero.
        let mut values = [0.0; 10];
        values[9] = 1.0;
        let climatology = fitted(Step::DAY, &values);
        let total: usize = (0..10).map(|day| 16 - (9 - day)).sum();
        assert!((climatology.value(9 * 86_400) - 16.0 / total as f32).abs() < 1e-6);
        // 20 January reaches back to the 5th and sees the 10th ten days before it.
        let total: usize = (4..10).map(|day| 16 - (19 - day)).sum();
        assert!((climatology.value(19 * 86_400) - 6.0 / total as f32).abs() < 1e-6);
        // 31 December and 1 January are neighbours.
        assert!(climatology.value(-86_400) > 0.0);
        // In July nothing is near: the mean of the year.
        assert!((climatology.value(200 * 86_400) - 0.1).abs() < 1e-6);
    }

    #[test]
    fn a_slot_without_data_has_the_mean_of_everything() {
        // Only midnight and noon of four days are measured.
        let step = step("12h");
        let mut values = vec![f32::NAN; 8];
        values[0] = 2.0;
        values[2] = 4.0;
        let climatology = fitted(step, &values);
        assert_eq!(climatology.value(43_200), 3.0);
    }

    #[test]
    fn without_any_value_all_is_missing() {
        assert!(fitted(Step::HOUR, &[]).value(0).is_nan());
        assert!(fitted(Step::HOUR, &[f32::NAN]).value(0).is_nan());
        assert_eq!(fitted(Step::HOUR, &[2.5]).value(1_600_000_000), 2.5);
    }

    #[test]
    fn what_was_filled_is_not_what_is_usual() {
        let mut frame = frame(vec![2.0, 2.0, 9.0, 2.0], &[]);
        frame.filled.insert(0, vec![false, false, true, false]);
        let rows = 0..frame.rows();
        let fitted = Climatologies::fit(&frame, &[rows]).unwrap();
        assert_eq!(fitted.at(&frame, 2)[0].value(frame.time(2)), 2.0);
    }

    /// Series of 2, of 7 and of nothing in the training part.
    fn three_series() -> (Frame, Vec<Range<usize>>) {
        let (rows, later) = (100, 20);
        let mut values = vec![2.0; rows];
        values.extend(vec![7.0; rows]);
        values.extend(vec![30.0; later]);
        let mut frame = frame(values, &[]);
        let series = [("b", rows), ("a", rows), ("late", later)];
        let series = series.map(|(name, rows)| (name.to_owned(), 0, rows));
        frame.layout = Layout::new(Step::HOUR, series);
        (frame, vec![0..90, 100..190])
    }

    #[test]
    fn each_series_has_its_own() {
        let (frame, rows) = three_series();
        let fitted = Climatologies::fit(&frame, &rows).unwrap();
        let model = model(Architecture::Climatology, 1, 1, &[]);
        let names = frame.layout.names();
        let task = LoadTask {
            series: &names,
            ..loading(&model, &frame.columns)
        };
        let loaded = Climatologies::from_weights(&fitted.to_weights(), &task).unwrap();
        let (first, second, late) = (50, 150, 205);
        for climatologies in [&fitted, &loaded] {
            let usual = |row: usize| climatologies.at(&frame, row)[0].value(0);
            assert_eq!([first, second, late].map(usual), [2.0, 7.0, 4.5]);
            // Of a series that it does not know, what all have.
            let stranger = Frame::single(0, Step::HOUR, frame.columns.clone(), vec![0.0]);
            assert_eq!(climatologies.at(&stranger, 0)[0].value(0), 4.5);
        }
        let one_less = LoadTask {
            series: &names[1..],
            ..task
        };
        let error = message(Climatologies::from_weights(&fitted.to_weights(), &one_less));
        assert!(error.contains("climatology"), "{error}");
    }

    #[test]
    fn steps_that_do_not_divide_a_day_use_the_hour() {
        assert_eq!(fitted(step("7h"), &[1.0]).slots, 24);
        assert_eq!(fitted(step("10s"), &[1.0]).slots, 24);
        assert_eq!(fitted(step("7d"), &[1.0]).slots, 24);
        assert_eq!(fitted(step("10min"), &[1.0]).slots, 144);
        assert_eq!(fitted(Step::DAY, &[1.0]).slots, 1);
    }

    #[test]
    fn the_first_of_march_is_one_day_in_every_year() {
        let march_2023 = 1_677_628_800;
        let march_2024 = 1_709_251_200;
        assert_eq!(cell(march_2023, 1), cell(march_2024, 1));
        assert_eq!(cell(march_2024 - 86_400, 1), 59, "29 February");
        assert_eq!(cell(march_2023 - 86_400, 1), 58, "28 February");
        assert_eq!(cell(1_704_067_199, 24), 365 * 24 + 23, "the end of 2023");
    }

    #[test]
    fn the_model_sees_the_training_part_only() {
        let model = model(Architecture::Climatology, 2, 3, &[0.1, 0.5, 0.9]);
        let mut values = vec![1.0; 400];
        values[300..].fill(9.0);
        let forecast = forecast(&ClimatologyFamily, &model, &frame(values, &[]), &[350]);
        assert_eq!(forecast.mean, [1.0; 3]);
        assert_eq!(
            forecast.quantiles, [9.0; 9],
            "its errors are those of the validation part"
        );
    }

    #[test]
    fn a_target_without_values_is_refused() {
        let model = model(Architecture::Climatology, 1, 1, &[]);
        let error = message(fit(
            &ClimatologyFamily,
            &model,
            &frame(vec![f32::NAN; 9], &[]),
        ));
        assert!(error.contains("no value in the training part"), "{error}");
    }

    #[test]
    fn weights_of_another_shape_are_refused() {
        let model = model(Architecture::Climatology, 1, 1, &[]);
        let columns = frame(vec![0.0], &[]).columns;
        for shape in [vec![366, 7], vec![365, 24], vec![366], vec![]] {
            let values = vec![0.0; shape.iter().product()];
            let weights = Weights::from([(TABLE.to_owned(), Array { shape, values })]);
            let error = message(ClimatologyFamily.load(&loading(&model, &columns), &weights));
            assert!(error.contains("climatology"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn a_mean_lies_within_the_values(
            values in prop::collection::vec(-50.0..50.0_f32, 1..200),
            start in -4_000_000_000..4_000_000_000_i64,
            time in -4_000_000_000..4_000_000_000_i64,
        ) {
            let value = Climatology::fit(Step::HOUR, (0..).map(|row| start + row * 3600).zip(values.iter().copied())).value(time);
            let low = values.iter().copied().fold(f32::INFINITY, f32::min);
            let high = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            prop_assert!(low - 1e-3 <= value && value <= high + 1e-3);
        }
    }
}
