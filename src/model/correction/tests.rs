//! A correction as a model has it: fitted, loaded, asked for forecasts.

use std::collections::BTreeMap;
use std::ops::Range;

use super::super::residual::testing::Silent;
use super::*;
use crate::data::{FrameColumn, Layout, Outlook, Scaler};
use crate::event::Observer;
use crate::model::{Epoch, Registry};
use crate::params::{Architecture, Device, ModelParams, RidgeParams, TargetBounds, TrainParams};
use crate::time::Step;

const DAYS: usize = 120;
const HORIZON: usize = 12;

fn corrected(half_life: &str) -> ModelParams {
    ModelParams {
        lookback: 3,
        horizon: HORIZON,
        quantiles: vec![0.1, 0.5, 0.9],
        bounds: TargetBounds::default(),
        correction: Some(CorrectionParams {
            half_life: half_life.parse().unwrap(),
        }),
        architecture: Architecture::Climatology,
    }
}

fn column(name: String, role: Role) -> FrameColumn {
    FrameColumn::new(name, role)
}

/// A day's course of hours with some noise; of the first target it is three higher in the last half of
/// the time, and lower by as much of a third one.
fn shifted(targets: usize) -> Frame {
    let columns = (0..targets).map(|target| column(format!("t{target}"), Role::Target));
    let rows = DAYS * 24;
    let value = |row: usize, target: usize| {
        let level = if row > rows / 2 { 3.0 } else { 0.0 };
        let noise = ((row * 7919 + target * 31) % 101) as f32 / 101.0 - 0.5;
        (row % 24) as f32 / 8.0 + level * (1.0 - target as f32) + noise
    };
    let values = (0..rows).flat_map(|row| (0..targets).map(move |target| value(row, target)));
    Frame::single(0, Step::HOUR, columns.collect(), values.collect())
}

/// Trains on the first half of the rows and validates on the next quarter.
fn fit(model: &ModelParams, frame: &Frame, monitor: &mut dyn Monitor) -> Result<Fitted> {
    let rows = frame.layout.blocks()[0].rows.len();
    let issues = |from: usize, until: usize| -> Vec<usize> {
        let rows = from + model.lookback - 1..until - model.horizon;
        rows.filter(|&row| frame.may_issue(row)).collect()
    };
    let train_part: Range<usize> = 0..rows / 2;
    let scalers = vec![Scaler::IDENTITY; frame.targets().len()];
    let task = FitTask {
        frame,
        train: &issues(0, rows / 2),
        validation: &issues(rows / 2, rows * 3 / 4),
        train_rows: std::slice::from_ref(&train_part),
        sample_weights: None,
        model,
        train_params: &TrainParams::default(),
        targets: &scalers,
        resume: None,
        warm_start: None,
    };
    Registry::builtin().fit(&task, monitor)
}

fn load(model: &ModelParams, frame: &Frame, weights: &Weights) -> Result<Box<dyn Forecaster>> {
    let scalers = vec![Scaler::IDENTITY; frame.targets().len()];
    let task = LoadTask {
        model,
        step: frame.step(),
        columns: &frame.columns,
        series: &frame.layout.names(),
        targets: &scalers,
        device: Device::Cpu,
    };
    Registry::builtin().load(&task, weights)
}

fn fitted(model: &ModelParams, frame: &Frame) -> Fitted {
    fit(model, frame, &mut Silent).unwrap()
}

/// Rows of the last quarter of the first series.
fn test_issues(frame: &Frame) -> Vec<usize> {
    let rows = frame.layout.blocks()[0].rows.len();
    let issues = (rows * 3 / 4..rows - HORIZON).step_by(5);
    issues.filter(|&row| frame.may_issue(row)).collect()
}

fn mean_square(frame: &Frame, issues: &[usize], forecasts: &Predictions, target: usize) -> f64 {
    let mut sum = 0.0;
    for (place, &issue) in issues.iter().enumerate() {
        for (lead, &mean) in forecasts.mean_of(place, target).iter().enumerate() {
            sum += f64::from(frame.truth(issue + 1 + lead, target) - mean).powi(2);
        }
    }
    sum / (issues.len() * forecasts.horizon) as f64
}

/// Forecasts of the last quarter, without a correction and with one.
fn both(model: &ModelParams, frame: &Frame, issues: &[usize]) -> [Predictions; 2] {
    [&model.uncorrected(), model].map(|model| {
        let forecaster = fitted(model, frame).forecaster;
        forecaster.forecast(frame, issues).unwrap()
    })
}

#[test]
fn an_error_that_stays_is_taken_away() {
    let frame = shifted(2);
    let issues = test_issues(&frame);
    // The last leads are known later than such a short memory reaches.
    for half_life in ["5d", "2h"] {
        let [plain, better] = both(&corrected(half_life), &frame, &issues);
        let square = |forecasts, target| mean_square(&frame, &issues, forecasts, target);
        assert!(square(&plain, 0) > 9.0);
        assert!(square(&better, 0) < 0.05 * square(&plain, 0), "{half_life}");
        // The other target did not change its level, and has nothing to be corrected.
        assert!(square(&better, 1) < 1.1 * square(&plain, 1), "{half_life}");
    }
}

#[test]
fn quantiles_have_their_shares_below_them() {
    let frame = shifted(3);
    let issues = test_issues(&frame);
    let forecaster = fitted(&corrected("1d"), &frame).forecaster;
    let better = forecaster.forecast(&frame, &issues).unwrap();
    for (target, &column) in frame.targets().iter().enumerate() {
        let mut below = [0.0; 3];
        for (place, &issue) in issues.iter().enumerate() {
            let leads = better.quantiles_of(place, target).chunks_exact(3);
            for (lead, quantiles) in leads.enumerate() {
                assert!(quantiles.is_sorted(), "{quantiles:?}");
                let truth = frame.truth(issue + 1 + lead, column);
                for (below, quantile) in below.iter_mut().zip(quantiles) {
                    *below += f64::from(truth <= *quantile) / (issues.len() * HORIZON) as f64;
                }
            }
        }
        // In the first days of the validation part the new level was not known yet.
        for (below, level) in below.into_iter().zip([0.1, 0.5, 0.9]) {
            assert!(
                (below - level).abs() < 0.1,
                "{target}: {below}, expected {level}"
            );
        }
    }
}

/// Two series of different length with a gap, values that were filled, rows from which no forecast is
/// issued, and forecasts from outside that sometimes come short.
fn whatever_there_is() -> Frame {
    let of_targets = shifted(2);
    let rows = of_targets.rows();
    let short = 24 * 40;
    let mut values = Vec::new();
    for row in (0..rows).chain(rows - short..rows) {
        values.extend([
            of_targets.at(row, 0),
            of_targets.at(row, 1),
            (row % 7) as f32,
        ]);
    }
    let all = rows + short;
    let is_in = |rows: Range<usize>| (0..all).map(move |row| rows.contains(&row)).collect();
    let columns = ["t0", "t1", "f"].map(str::to_owned).into_iter();
    let roles = [Role::Target, Role::Target, Role::Forecast];
    let series = [("a".to_owned(), 0, rows), ("b".to_owned(), 7200, short)];
    let reach = |row: usize| {
        if row.is_multiple_of(50) {
            3
        } else {
            HORIZON as u32
        }
    };
    Frame {
        layout: Layout::new(Step::HOUR, series),
        columns: columns
            .zip(roles)
            .map(|(name, role)| column(name, role))
            .collect(),
        values,
        held: is_in(rows - 200..rows - 190),
        filled: BTreeMap::from([(1, is_in(rows - 200..rows - 190))]),
        outlook: Outlook {
            values: (0..all + HORIZON).map(|row| (row % 5) as f32).collect(),
            bases: (0..all as i64).collect(),
            reach: (0..all).map(reach).collect(),
        },
    }
}

/// Alone or among others, in the whole frame or in the part of it that counts, loaded or not.
#[test]
fn a_forecast_is_the_same_however_it_is_asked_for() {
    let frame = whatever_there_is();
    let ridge = ModelParams {
        architecture: Architecture::Ridge(RidgeParams {
            lags: 3,
            penalty: 1e-3,
        }),
        ..corrected("2d")
    };
    let fitted = fitted(&ridge, &frame);
    let [first, second] = [0, 1].map(|series| frame.layout.blocks()[series].rows.clone());
    // Of the second series also rows before which there is less than it remembers.
    let late = second.start + 30..second.end - HORIZON;
    let usable = |row: &usize| frame.may_issue(*row) && !row.is_multiple_of(50);
    let issues: Vec<usize> = (test_issues(&frame).into_iter().chain(late.step_by(17)))
        .filter(usable)
        .collect();
    let all = fitted.forecaster.forecast(&frame, &issues).unwrap();
    let loaded = load(&ridge, &frame, &fitted.weights).unwrap();
    assert_eq!(loaded.forecast(&frame, &issues).unwrap(), all);
    let backwards: Vec<usize> = issues.iter().rev().copied().collect();
    let reversed = loaded.forecast(&frame, &backwards).unwrap();
    for (place, &issue) in issues.iter().enumerate() {
        let start = if issue < first.end { 0 } else { second.start };
        let back = (ridge.lookback + loaded.memory()).min(issue + 1 - start);
        let window = frame.window(issue, back, HORIZON);
        let alone = loaded.forecast(&window, &[back - 1]).unwrap();
        for target in 0..2 {
            let mean = all.mean_of(place, target);
            assert_eq!(alone.mean_of(0, target), mean, "{issue}");
            assert_eq!(
                alone.quantiles_of(0, target),
                all.quantiles_of(place, target)
            );
            assert_eq!(reversed.mean_of(issues.len() - 1 - place, target), mean);
        }
    }
    assert!(loaded.forecast(&frame, &[]).unwrap().mean.is_empty());
}

#[test]
fn what_comes_after_an_issue_row_is_not_read() {
    let frame = shifted(1);
    let model = corrected("2d");
    let forecaster = fitted(&model, &frame).forecaster;
    let issue = frame.rows() - 40;
    let known = forecaster.forecast(&frame, &[issue]).unwrap();
    let mut otherwise = frame.clone();
    otherwise.values[issue + 1..].fill(1e6);
    assert_eq!(forecaster.forecast(&otherwise, &[issue]).unwrap(), known);
    otherwise.values[issue] += 1.0;
    assert_ne!(forecaster.forecast(&otherwise, &[issue]).unwrap(), known);
}

/// A gap has no error; with nothing but gaps there is nothing to correct by.
#[test]
fn what_nobody_observed_does_not_count() {
    let mut frame = shifted(1);
    let model = corrected("2d");
    let fitted = fitted(&model, &frame);
    let issue = frame.rows() - 40;
    let known = fitted.forecaster.forecast(&frame, &[issue]).unwrap();
    frame.values[issue - 60..issue - 50].fill(f32::NAN);
    let gap = fitted.forecaster.forecast(&frame, &[issue]).unwrap();
    assert!(gap.mean.iter().all(|value| value.is_finite()));
    assert!(
        gap.mean
            .iter()
            .zip(&known.mean)
            .all(|(a, b)| (a - b).abs() < 0.1)
    );
    let filled = vec![true; frame.rows()];
    frame.filled.insert(0, filled);
    let plain = fitted_without(&model, &frame);
    let unknown = fitted.forecaster.forecast(&frame, &[issue]).unwrap();
    let moved = unknown.mean.iter().zip(&plain.mean);
    // Toward the usual value at most, which is what the plain model forecasts.
    assert!(moved.clone().all(|(a, b)| (a - b).abs() < 1e-5));
}

fn fitted_without(model: &ModelParams, frame: &Frame) -> Predictions {
    let plain = fitted(&model.uncorrected(), &shifted(1)).forecaster;
    plain.forecast(frame, &[frame.rows() - 40]).unwrap()
}

/// Each series has errors of its own.
#[test]
fn series_do_not_hear_of_one_another() {
    let alone = shifted(1);
    let model = corrected("2d");
    let forecaster = fitted(&model, &alone).forecaster;
    let rows = alone.rows();
    let mut both = alone.clone();
    both.values
        .extend(alone.values.iter().map(|value| value + 5.0));
    let series = [("a".to_owned(), 0, rows), ("b".to_owned(), 0, rows)];
    both.layout = Layout::new(Step::HOUR, series);
    let issues = [rows - 40, 2 * rows - 40, rows - 30];
    let found = forecaster.forecast(&both, &issues).unwrap();
    let expected = forecaster
        .forecast(&alone, &[rows - 40, rows - 30])
        .unwrap();
    assert_eq!(found.mean_of(0, 0), expected.mean_of(0, 0));
    assert_eq!(found.mean_of(2, 0), expected.mean_of(1, 0));
    assert!(found.mean_of(1, 0)[0] > expected.mean_of(0, 0)[0] + 1.0);
}

/// Where the step is finer than an hour; the same rows in a fit and in a forecast.
#[test]
fn one_past_forecast_an_hour_counts() {
    let mut frame = shifted(1);
    for (step, minutes) in [("10min", 60), ("25min", 75), ("1h", 60), ("7h", 420)] {
        let step: Step = step.parse().unwrap();
        frame.layout = Layout::single(1800, step, frame.rows());
        let params = CorrectionParams {
            half_life: "1d".parse().unwrap(),
        };
        let memory = Memory::new(params, &corrected("1d"), step).unwrap();
        let past = memory.earlier(&frame, &[2000]);
        let apart = |pair: &[usize]| frame.time(pair[1]) - frame.time(pair[0]);
        assert!(
            past.windows(2).all(|pair| apart(pair) == minutes * 60),
            "{step}"
        );
        assert!(past.iter().all(|&row| memory.counts(&frame, row)));
        let (first, last) = (past[0], *past.last().unwrap());
        assert!(last < 2000 && 2000 - first <= memory.rows());
        assert!(2000 - first + memory.every > memory.rows());
    }
}

#[test]
fn a_half_life_goes_with_the_step() {
    let frame = shifted(1);
    let told = |half_life: &str| {
        let error = fit(&corrected(half_life), &frame, &mut Silent).err();
        error.expect(half_life).to_string()
    };
    for half_life in ["30min", "20000d"] {
        assert!(told(half_life).contains("expected 1 to 100000 steps of 1h"));
    }
}

#[test]
fn weights_of_another_shape_are_refused() {
    let frame = shifted(1);
    let model = corrected("2d");
    let fitted = fitted(&model, &frame);
    for name in ["shares", "climatology"] {
        let mut weights = fitted.weights.clone();
        weights.remove(&format!("correction.{name}"));
        let error = load(&model, &frame, &weights).err().expect("an error");
        assert!(error.to_string().contains(name), "{error}");
    }
    // What no correction asks for stands in the way of none.
    let plain = load(&model.uncorrected(), &frame, &fitted.weights);
    assert!(plain.is_ok());
}

/// Tells a training to end as soon as it asks.
struct Hasty;

impl Observer for Hasty {
    fn event(&mut self, _: Event) {}
}

impl Monitor for Hasty {
    fn epoch(&mut self, _: &Epoch, _: usize) -> bool {
        true
    }

    fn between(&mut self, _: Moment) -> Wish {
        Wish::KeepAndEnd
    }
}

#[test]
fn a_fit_that_is_told_to_end_ends() {
    let error = fit(&corrected("2d"), &shifted(1), &mut Hasty)
        .err()
        .expect("an error");
    assert!(error.is::<Interrupted>(), "{error}");
}
