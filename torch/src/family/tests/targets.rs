//! Several targets in one model.

use std::collections::BTreeMap;

use super::*;
use krammerti::data::Unscaling;

/// Two targets that do not stand side by side, a column that means nothing, and a clock; the second
/// target is ahead of the first, and larger.
fn frame() -> Frame {
    let column = |name: &str, role| FrameColumn::new(name.to_owned(), role);
    let values = (0..ROWS).flat_map(|row| {
        let phase = row as f32 / 24.0 * std::f32::consts::TAU;
        let noise = ((row * 7919) % 101) as f32 / 101.0 - 0.5;
        let other_noise = ((row * 104_729) % 97) as f32 / 97.0 - 0.5;
        let large = 1.2 * (phase + 0.5).cos() + 0.1 * other_noise;
        [phase.sin() + 0.1 * noise, noise, large, (phase + 1.0).cos()]
    });
    let columns = vec![
        column("small", Role::Target),
        column("noise", Role::Past),
        column("large", Role::Target),
        column("clock", Role::Future),
    ];
    Frame::single(0, Step::HOUR, columns, values.collect())
}

const PLACES: [usize; 2] = [0, 2];
const SCALERS: [Scaler; 2] = [Scaler::IDENTITY; 2];

fn fit(model: &ModelParams, params: &TrainParams) -> (Frame, Fitted) {
    let frame = frame();
    let train: Vec<usize> = (LOOKBACK - 1..280 - HORIZON).collect();
    let validation: Vec<usize> = (280 + LOOKBACK - 1..340 - HORIZON).collect();
    let task = FitTask {
        frame: &frame,
        train: &train,
        validation: &validation,
        train_rows: std::slice::from_ref(&(0..280)),
        sample_weights: None,
        model,
        train_params: params,
        targets: &SCALERS,
        resume: None,
        warm_start: None,
    };
    let fitted = Nets(model.kind()).fit(&task, &mut Watcher::default());
    let fitted = fitted.unwrap();
    (frame, fitted)
}

fn long(kind: &str) -> TrainParams {
    TrainParams {
        epochs: if kind == "deepar" { 60 } else { 15 },
        learning_rate: 1e-2,
        weight_decay: 0.0,
        ..train_params()
    }
}

/// The root mean square error of forecasts of a target, by its place, and of its last values.
fn errors(frame: &Frame, predictions: &Predictions, target: usize) -> (f64, f64) {
    let (mut of_net, mut of_last, mut count) = (0.0, 0.0, 0.0);
    for (place, issue) in test_issues().into_iter().enumerate() {
        let column = PLACES[target];
        let last = frame.at(issue, column);
        for (lead, value) in (1..).zip(predictions.mean_of(place, target)) {
            let truth = frame.at(issue + lead, column);
            of_net += f64::from(value - truth).powi(2);
            of_last += f64::from(last - truth).powi(2);
            count += 1.0;
        }
    }
    ((of_net / count).sqrt(), (of_last / count).sqrt())
}

#[test]
fn every_kind_learns_both() {
    for model in models() {
        let kind = model.kind();
        let (frame, fitted) = fit(&model, &long(kind));
        let predictions = fitted.forecaster.forecast(&frame, &test_issues()).unwrap();
        assert_eq!((predictions.targets, predictions.horizon), (2, HORIZON));
        let cells = test_issues().len() * 2 * HORIZON;
        assert_eq!(predictions.mean.len(), cells);
        assert_eq!(predictions.quantiles.len(), cells * 3);
        for target in 0..2 {
            let (net, last) = errors(&frame, &predictions, target);
            assert!(net < 0.35 * last, "{kind} {target}: {net} against {last}");
            let quantiles = predictions.quantiles_of(3, target);
            assert!(quantiles.chunks(3).all(<[f32]>::is_sorted), "{kind}");
        }
    }
}

/// Saved and loaded a net forecasts the same, and a window alone what it does among others.
#[test]
fn a_loaded_net_forecasts_the_same() {
    for model in models() {
        let (frame, fitted) = fit(&model, &train_params());
        let task = LoadTask {
            model: &model,
            step: frame.step(),
            columns: &frame.columns,
            series: &frame.layout.names(),
            targets: &SCALERS,
            device: WantedDevice::Cpu,
        };
        let loaded = Nets(model.kind()).load(&task, &fitted.weights).unwrap();
        let issues = test_issues();
        let predictions = fitted.forecaster.forecast(&frame, &issues).unwrap();
        assert_eq!(loaded.forecast(&frame, &issues).unwrap(), predictions);
        let alone = loaded.forecast(&frame, &issues[7..8]).unwrap();
        for target in 0..2 {
            let pairs = alone.mean_of(0, target).iter();
            for (alone, among) in pairs.zip(predictions.mean_of(7, target)) {
                assert!((alone - among).abs() < 1e-4, "{}", model.kind());
            }
        }
    }
}

/// What was forecast of a target hangs on nothing after the issue row, of the other target neither.
#[test]
fn nothing_ahead_is_read() {
    for model in models() {
        let (frame, fitted) = fit(&model, &train_params());
        let forecast = |frame: &Frame| fitted.forecaster.forecast(frame, &[370]).unwrap();
        let before = forecast(&frame);
        let mut altered = frame.clone();
        for row in 371..ROWS {
            for column in [0, 1, 2] {
                altered.values[row * 4 + column] = 9.0;
            }
        }
        assert_eq!(forecast(&altered), before, "{}", model.kind());
    }
}

#[test]
fn each_target_keeps_its_own_bounds() {
    let bounds = |lower, upper| Bounds {
        lower: Some(lower),
        upper: Some(upper),
    };
    let (small, large) = (bounds(-0.4, 0.3), bounds(0.2, 1.0));
    let each = [("small", small), ("large", large)].map(|(name, of)| (name.to_owned(), of));
    for mut model in models() {
        model.bounds = TargetBounds::Each(BTreeMap::from(each.clone()));
        let (frame, fitted) = fit(&model, &long(model.kind()));
        let issues = test_issues();
        let predictions = fitted.forecaster.forecast(&frame, &issues).unwrap();
        for (target, bounds) in [small, large].into_iter().enumerate() {
            let of_issue = |place: usize| {
                let mean = predictions.mean_of(place, target).iter();
                mean.chain(predictions.quantiles_of(place, target))
            };
            let unscaling = Unscaling::new(Scaler::IDENTITY, bounds);
            let all = (0..issues.len()).flat_map(of_issue);
            let all = all.map(|scaled| unscaling.original(*scaled));
            let (low, high) = all.fold((f64::MAX, f64::MIN), |(low, high), value| {
                (low.min(value), high.max(value))
            });
            let (lower, upper) = (bounds.lower.unwrap(), bounds.upper.unwrap());
            let kind = model.kind();
            assert!(low >= lower && high <= upper, "{kind}: {low} {high}");
            // And makes use of what lies between.
            let margin = 0.2 * (upper - lower);
            assert!(
                low < lower + margin && high > upper - margin,
                "{kind}: {low} {high}"
            );
        }
    }
}
