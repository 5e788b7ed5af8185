//! Solutions by hand, and what a fit is made of.

use super::*;
use crate::model::residual::testing::{fit, forecast, frame, loading, message, model};

fn ridge(lags: usize, penalty: f64, horizon: usize, levels: &[f64]) -> ModelParams {
    let lookback = lags.max(2);
    let params = RidgeParams { lags, penalty };
    model(Architecture::Ridge(params), lookback, horizon, levels)
}

/// A daily cycle with some noise that a linear map cannot know.
fn cycle(rows: usize) -> Vec<f32> {
    (0..rows)
        .map(|row| {
            let phase = row as f32 * std::f32::consts::TAU / 24.0;
            phase.sin() + 0.01 * ((row * 7919 % 101) as f32 / 101.0)
        })
        .collect()
}

#[test]
fn a_straight_line_goes_on() {
    let line = frame((0..80).map(|row| row as f32 / 40.0).collect(), &[]);
    let forecast = forecast(&RidgeFamily, &ridge(3, 1e-9, 4, &[]), &line, &[70]);
    for (lead, value) in (1..).zip(&forecast.mean) {
        assert!(
            (value - (70 + lead) as f32 / 40.0).abs() < 1e-4,
            "{lead}: {value}"
        );
    }
}

#[test]
fn it_learns_from_another_column() {
    let noise: Vec<f32> = (0..400)
        .map(|row| (row * 7919 % 101) as f32 / 50.0 - 1.0)
        .collect();
    let mut delayed = noise.clone();
    delayed.rotate_right(1);
    let both = frame(delayed, std::slice::from_ref(&noise));
    let forecast = forecast(&RidgeFamily, &ridge(2, 1e-9, 1, &[]), &both, &[350]);
    assert!((forecast.mean[0] - noise[350]).abs() < 1e-3);
}

/// What nothing of the past says: a target that is what is known of its own row.
#[test]
fn it_learns_from_what_is_known_of_the_lead() {
    let noise = |seed: usize| -> Vec<f32> {
        let noise = (0..400).map(|row| (row * seed % 101) as f32 / 50.0 - 1.0);
        noise.collect()
    };
    let (weather, other) = (noise(7919), noise(5413));
    for gap in [None, Some(100)] {
        let mut both = frame(weather.clone(), std::slice::from_ref(&other));
        // Two targets: the second is the weather, a row ahead of it.
        both.columns[1].role = Role::Target;
        let columns = vec![
            both.columns[0].clone(),
            both.columns[1].clone(),
            FrameColumn::new("known".into(), Role::Future),
        ];
        let values = (0..400).flat_map(|row| [weather[row], -2.0 * other[row], other[row]]);
        let mut known = Frame::single(0, crate::time::Step::HOUR, columns, values.collect());
        if let Some(row) = gap {
            known.values[3 * row + 1] = f32::NAN;
        }
        let forecast = forecast(&RidgeFamily, &ridge(2, 1e-9, 3, &[]), &known, &[350]);
        for lead in 0..3 {
            let found = forecast.mean_of(0, 1)[lead];
            let expected = -2.0 * other[351 + lead];
            assert!(
                (found - expected).abs() < 1e-3,
                "{lead}: {found} {expected}"
            );
        }
    }
}

/// Two targets, of which the second is what the first was a row before.
#[test]
fn a_target_is_learnt_from_another_one() {
    let noise: Vec<f32> = (0..400)
        .map(|row| (row * 7919 % 101) as f32 / 50.0 - 1.0)
        .collect();
    let mut delayed = noise.clone();
    delayed.rotate_right(1);
    let mut both = frame(noise.clone(), std::slice::from_ref(&delayed));
    both.columns[1].role = Role::Target;
    let forecast = forecast(&RidgeFamily, &ridge(2, 1e-9, 1, &[]), &both, &[350]);
    assert_eq!((forecast.targets, forecast.mean.len()), (2, 2));
    assert!((forecast.mean_of(0, 1)[0] - noise[350]).abs() < 1e-3);
}

#[test]
fn a_cycle_goes_on_and_its_quantiles_are_narrow() {
    let cycle = cycle(500);
    let model = ridge(48, 1e-5, 24, &[0.1, 0.5, 0.9]);
    let forecast = forecast(&RidgeFamily, &model, &frame(cycle.clone(), &[]), &[450]);
    for lead in 0..24 {
        assert!((forecast.mean[lead] - cycle[451 + lead]).abs() < 0.02);
        let width = forecast.quantiles[lead * 3 + 2] - forecast.quantiles[lead * 3];
        assert!(0.0 < width && width < 0.02, "{width}");
    }
}

#[test]
fn a_constant_frame_stays_constant() {
    let constant = frame(vec![0.0; 60], &[vec![0.0; 60]]);
    let forecast = forecast(&RidgeFamily, &ridge(4, 1e-5, 3, &[]), &constant, &[50]);
    assert_eq!(forecast.mean, [0.0; 3]);
}

#[test]
fn dependent_columns_need_a_penalty() {
    let twin = frame(cycle(200), &[cycle(200)]);
    let error = message(fit(&RidgeFamily, &ridge(4, 0.0, 2, &[]), &twin));
    assert!(error.contains("needs a model.penalty above 0"), "{error}");
    assert!(fit(&RidgeFamily, &ridge(4, 1e-6, 2, &[]), &twin).is_ok());
}

#[test]
fn windows_with_missing_values_do_not_count() {
    let mut gaps = cycle(400);
    gaps[100] = f32::NAN;
    let model = ridge(6, 1e-5, 2, &[]);
    let with_gap = forecast(&RidgeFamily, &model, &frame(gaps, &[]), &[350]);
    let whole = forecast(&RidgeFamily, &model, &frame(cycle(400), &[]), &[350]);
    for (a, b) in with_gap.mean.iter().zip(&whole.mean) {
        assert!((a - b).abs() < 0.01, "{a} and {b}");
    }
}

/// Each lead is solved on the windows in which it was observed, as if it were alone; what was filled
/// was not observed.
#[test]
fn a_gap_in_the_horizon_takes_away_its_lead_alone() {
    let alternating = |row: usize| row % 3 == 1 && row < 300;
    let mut gaps = frame(cycle(400), &[]);
    let filled = (0..400).map(alternating).collect();
    gaps.filled.insert(0, filled);
    // Far off, so that whoever takes it for observed is seen.
    for row in (0..400).filter(|&row| alternating(row)) {
        gaps.values[row] += 0.5;
    }
    let together = forecast(&RidgeFamily, &ridge(6, 1e-5, 3, &[]), &gaps, &[350]);
    for lead in 1..=3 {
        let inputs = Inputs::of(&gaps.columns, 6, 3);
        let issues = 5..297;
        let observed = issues.filter(|issue| !alternating(issue + lead));
        let shape = Shape {
            shared: inputs.count() + 1,
            own: 0,
            groups: 1,
            sides: 1,
        };
        let mut normal = Normal::new(shape);
        for issue in observed {
            let mut block = vec![0.0; BLOCK * shape.width()];
            inputs.write(&gaps, issue, &mut block[..inputs.count()]);
            block[inputs.count()] = 1.0;
            let change = gaps.at(issue + lead, 0) - gaps.at(issue, 0);
            block[inputs.count() + 1] = f64::from(change);
            normal.add(&block, 1);
        }
        let solution = normal.solve(1e-5).expect("a solution");
        let mut features = vec![1.0; inputs.count() + 1];
        inputs.write(&gaps, 350, &mut features[..inputs.count()]);
        let change: f64 = features.iter().zip(&solution).map(|(x, w)| x * w).sum();
        let expected = f64::from(gaps.at(350, 0)) + change;
        let found = f64::from(together.mean[lead - 1]);
        assert!(
            (found - expected).abs() < 1e-5,
            "{lead}: {found} {expected}"
        );
    }
}

#[test]
fn a_lead_that_was_never_observed_is_told() {
    let mut gaps = frame(cycle(60), &[]);
    // The last row of the training part, which is at lead 2 of its last window.
    gaps.filled.insert(0, (0..60).map(|row| row < 44).collect());
    let error = message(fit(&RidgeFamily, &ridge(4, 1e-5, 2, &[]), &gaps));
    assert!(error.contains("a value of t at lead 1"), "{error}");
}

#[test]
fn without_windows_there_is_no_fit() {
    let model = ridge(4, 1e-5, 2, &[]);
    for empty in [
        frame(vec![], &[]),
        frame(vec![1.0], &[]),
        frame(vec![f32::NAN; 60], &[]),
    ] {
        let error = message(fit(&RidgeFamily, &model, &empty));
        assert!(
            error.contains("no window to fit a ridge model on"),
            "{error}"
        );
    }
}

#[test]
fn one_lag_reads_two_rows() {
    let mut model = ridge(1, 1e-5, 2, &[]);
    assert_eq!(
        forecast(&RidgeFamily, &model, &frame(cycle(90), &[]), &[1])
            .mean
            .len(),
        2
    );
    model.lookback = 1;
    let error = message(fit(&RidgeFamily, &model, &frame(cycle(90), &[])));
    assert!(error.contains("reads the last 2 rows"), "{error}");
}

#[test]
fn data_of_another_width_are_refused() {
    let model = ridge(4, 1e-5, 2, &[]);
    let fitted = fit(&RidgeFamily, &model, &frame(cycle(90), &[])).expect("a fit");
    let wide = frame(cycle(90), &[cycle(90)]);
    let error = message(fitted.forecaster.forecast(&wide, &[50]));
    assert!(error.contains("fitted on 1 columns"), "{error}");
    let error = message(RidgeFamily.load(&loading(&model, &wide.columns), &fitted.weights));
    assert!(error.contains("expected shape [7, 2]"), "{error}");
}
