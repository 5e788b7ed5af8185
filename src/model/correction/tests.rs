//! A correction as a model has it: fitted, loaded, asked for forecasts.

use super::*;
use crate::data::{FrameColumn, Scaler};
use crate::event::Observer;
use crate::model::{Epoch, Registry};
use crate::params::{Architecture, Device, ModelParams, TargetBounds, TrainParams};
use crate::time::Step;

const DAYS: usize = 120;

fn model(horizon: usize, half_life: &str) -> ModelParams {
    ModelParams {
        lookback: 3,
        horizon,
        quantiles: vec![0.1, 0.5, 0.9],
        bounds: TargetBounds::default(),
        correction: Some(CorrectionParams {
            half_life: half_life.parse().unwrap(),
        }),
        architecture: Architecture::Climatology,
    }
}

/// A day's course that is three higher in the last half of the time, of hours, with some noise.
fn shifted(targets: usize) -> Frame {
    let columns = (0..targets).map(|target| FrameColumn {
        name: format!("t{target}"),
        role: Role::Target,
    });
    let rows = DAYS * 24;
    let value = |row: usize, target: usize| {
        let level = if row > rows / 2 { 3.0 } else { 0.0 };
        let noise = ((row * 7919 + target * 31) % 101) as f32 / 101.0 - 0.5;
        (row % 24) as f32 / 8.0 + level * (1.0 - target as f32) + noise
    };
    let values = (0..rows).flat_map(|row| (0..targets).map(move |target| value(row, target)));
    Frame::single(0, Step::HOUR, columns.collect(), values.collect())
}

struct Silent;

impl Observer for Silent {
    fn event(&mut self, _: Event) {}
}

impl Monitor for Silent {
    fn epoch(&mut self, _: &Epoch, _: usize) -> bool {
        true
    }
}

/// Trains on the first half of the rows and validates on the next quarter.
fn fit(model: &ModelParams, frame: &Frame, monitor: &mut dyn Monitor) -> Result<Fitted> {
    let rows = frame.rows();
    let issues = |from: usize, until: usize| -> Vec<usize> {
        (from + model.lookback - 1..until - model.horizon).collect()
    };
    let train_part = 0..rows / 2;
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
        series: &[],
        targets: &scalers,
        device: Device::Cpu,
    };
    Registry::builtin().load(&task, weights)
}

fn fitted(model: &ModelParams, frame: &Frame) -> Fitted {
    fit(model, frame, &mut Silent).unwrap()
}

/// Rows of the last quarter, from which a horizon of 12 can be told.
fn test_issues(frame: &Frame) -> Vec<usize> {
    (frame.rows() * 3 / 4..frame.rows() - 12)
        .step_by(5)
        .collect()
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

#[test]
fn an_error_that_stays_is_taken_away() {
    let frame = shifted(2);
    let model = model(12, "5d");
    let issues = test_issues(&frame);
    let forecasts = |model: &ModelParams| {
        let forecaster = fitted(model, &frame).forecaster;
        forecaster.forecast(&frame, &issues).unwrap()
    };
    let (plain, corrected) = (forecasts(&model.uncorrected()), forecasts(&model));
    let square = |forecasts, target| mean_square(&frame, &issues, forecasts, target);
    assert!(square(&plain, 0) > 9.0);
    assert!(square(&corrected, 0) < 0.05 * square(&plain, 0));
    // The other target did not change its level, and has nothing to be corrected.
    assert!(square(&corrected, 1) < 1.02 * square(&plain, 1));
}

#[test]
fn quantiles_move_with_the_mean() {
    let frame = shifted(1);
    let model = model(12, "5d");
    let issues = test_issues(&frame);
    let forecasts = |model: &ModelParams| {
        let forecaster = fitted(model, &frame).forecaster;
        forecaster.forecast(&frame, &issues).unwrap()
    };
    let (plain, corrected) = (forecasts(&model.uncorrected()), forecasts(&model));
    for place in 0..issues.len() {
        let means = plain
            .mean_of(place, 0)
            .iter()
            .zip(corrected.mean_of(place, 0));
        let quantiles = plain.quantiles_of(place, 0).chunks_exact(3);
        let after = corrected.quantiles_of(place, 0).chunks_exact(3);
        for ((before, after), (mean, moved)) in quantiles.zip(after).zip(means) {
            let by = moved - mean;
            assert!(after.is_sorted());
            assert!(
                before
                    .iter()
                    .zip(after)
                    .all(|(b, a)| (b + by - a).abs() < 1e-5)
            );
        }
    }
}

/// Alone or among others, in the whole frame or in the part of it that it remembers, loaded or not.
#[test]
fn a_forecast_is_the_same_however_it_is_asked_for() {
    let frame = shifted(2);
    let model = model(12, "2d");
    let fitted = fitted(&model, &frame);
    let issues = test_issues(&frame);
    let all = fitted.forecaster.forecast(&frame, &issues).unwrap();
    let loaded = load(&model, &frame, &fitted.weights).unwrap();
    assert_eq!(loaded.forecast(&frame, &issues).unwrap(), all);
    let backwards: Vec<usize> = issues.iter().rev().copied().collect();
    let again = loaded.forecast(&frame, &backwards).unwrap();
    let back = model.lookback + loaded.memory();
    for (place, &issue) in issues.iter().enumerate() {
        let window = frame.window(issue, back, model.horizon);
        let alone = loaded.forecast(&window, &[back - 1]).unwrap();
        for target in 0..2 {
            assert_eq!(alone.mean_of(0, target), all.mean_of(place, target));
            assert_eq!(
                alone.quantiles_of(0, target),
                all.quantiles_of(place, target)
            );
            let reversed = again.mean_of(issues.len() - 1 - place, target);
            assert_eq!(reversed, all.mean_of(place, target));
        }
    }
    assert!(loaded.forecast(&frame, &[]).unwrap().mean.is_empty());
}

#[test]
fn what_comes_after_an_issue_row_is_not_read() {
    let frame = shifted(1);
    let model = model(12, "2d");
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
    let model = model(12, "2d");
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
    let model = model(12, "2d");
    let forecaster = fitted(&model, &alone).forecaster;
    let rows = alone.rows();
    let mut both = alone.clone();
    both.values
        .extend(alone.values.iter().map(|value| value + 5.0));
    let series = [("a".to_owned(), 0, rows), ("b".to_owned(), 0, rows)];
    both.layout = crate::data::Layout::new(Step::HOUR, series);
    let issues = [rows - 40, 2 * rows - 40, rows - 30];
    let found = forecaster.forecast(&both, &issues).unwrap();
    let expected = forecaster
        .forecast(&alone, &[rows - 40, rows - 30])
        .unwrap();
    assert_eq!(found.mean_of(0, 0), expected.mean_of(0, 0));
    assert_eq!(found.mean_of(2, 0), expected.mean_of(1, 0));
    assert!(found.mean_of(1, 0)[0] > expected.mean_of(0, 0)[0] + 1.0);
}

#[test]
fn where_the_step_is_fine_a_past_forecast_is_looked_at_once_an_hour() {
    let mut frame = shifted(1);
    let step: Step = "10min".parse().unwrap();
    frame.layout = crate::data::Layout::single(1800, step, frame.rows());
    let params = CorrectionParams {
        half_life: "1d".parse().unwrap(),
    };
    let memory = Memory::new(params, &model(12, "1d"), step);
    assert_eq!(memory.rows(), 4 * 144);
    let block = &frame.layout.blocks()[0];
    let past = memory.earlier(&frame, block, &[2000]);
    assert!(past.iter().all(|&row| frame.time(row) % 3600 == 0));
    assert_eq!(past.len(), 4 * 24);
    assert!(*past.last().unwrap() < 2000 && 2000 - past[0] <= memory.rows());
}

#[test]
fn weights_of_another_shape_are_refused() {
    let frame = shifted(1);
    let model = model(12, "2d");
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
    let error = fit(&model(12, "2d"), &shifted(1), &mut Hasty)
        .err()
        .expect("an error");
    assert!(error.is::<Interrupted>(), "{error}");
}
