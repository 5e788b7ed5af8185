//! Each kind of net through the door that the root package uses.

mod deepar;
mod gaps;
mod refusals;
mod resume;
mod series;
mod targets;

use super::*;
use krammerti::data::{Frame, FrameColumn, Layout, Outlook, Role, Scaler};
use krammerti::event::Observer;
use krammerti::model::{Array, Checkpoint, Epoch, Interrupted, Moment, Predictions, Wish};
use krammerti::params::{
    Bounds, Decoder, DeeparParams, Device as WantedDevice, Distribution, LinearParams, ModelParams,
    PointLoss, RecurrentParams, SegrnnParams, TargetBounds, TrainParams,
};
use krammerti::time::Step;

const LOOKBACK: usize = 24;
const HORIZON: usize = 6;
const ROWS: usize = 400;

/// A sine of 24 rows as the target, a column that means nothing, and a clock.
fn frame() -> Frame {
    let column = |name: &str, role| FrameColumn::new(name.to_owned(), role);
    let values = (0..ROWS).flat_map(|row| {
        let phase = row as f32 / 24.0 * std::f32::consts::TAU;
        let noise = ((row * 7919) % 101) as f32 / 101.0 - 0.5;
        [noise, phase.sin() + 0.1 * noise, (phase + 1.0).cos()]
    });
    let columns = vec![
        column("noise", Role::Past),
        column("target", Role::Target),
        column("clock", Role::Future),
    ];
    Frame::single(0, Step::HOUR, columns, values.collect())
}

const RECURRENT: RecurrentParams = RecurrentParams {
    hidden: 6,
    layers: 2,
    dropout: 0.1,
    noise: 0.1,
    segment: 4,
    decoder: Decoder::Direct,
    heads: 2,
    linear_lags: 3,
    members: 2,
};

const DEEPAR: DeeparParams = DeeparParams {
    hidden: 12,
    layers: 2,
    dropout: 0.1,
    distribution: Distribution::StudentT,
    paths: 41,
    season: Some(20),
    members: 2,
};

fn model_of(architecture: Wanted) -> ModelParams {
    ModelParams {
        lookback: LOOKBACK,
        horizon: HORIZON,
        quantiles: vec![0.1, 0.5, 0.9],
        bounds: TargetBounds::default(),
        correction: None,
        architecture,
    }
}

fn model() -> ModelParams {
    model_of(Wanted::Lstm(RECURRENT))
}

/// A small model of each kind.
fn models() -> Vec<ModelParams> {
    let segrnn = SegrnnParams {
        hidden: 8,
        dropout: 0.1,
        // The last segment reaches past the horizon.
        segment: 4,
        members: 2,
    };
    let linear = LinearParams {
        kernel: 5,
        members: 2,
    };
    let kinds = [
        Wanted::Lstm(RECURRENT),
        Wanted::Gru(RECURRENT),
        Wanted::Gru(RecurrentParams {
            decoder: Decoder::Autoregressive,
            heads: 0,
            ..RECURRENT
        }),
        Wanted::Segrnn(segrnn),
        Wanted::Linear(linear),
        Wanted::Deepar(DEEPAR),
    ];
    kinds.map(model_of).to_vec()
}

fn train_params() -> TrainParams {
    TrainParams {
        epochs: 3,
        batch: 32,
        learning_rate: 5e-3,
        weight_decay: 0.1,
        threads: Some(1),
        device: WantedDevice::Cpu,
        ..TrainParams::default()
    }
}

#[derive(Default)]
struct Watcher {
    epochs: Vec<Epoch>,
    events: Vec<Event>,
    stop_after: Option<usize>,
    /// How often it was asked, and at which of these times it ends the training.
    asked: usize,
    end_at: Option<usize>,
    kept: Option<Checkpoint>,
}

impl Observer for Watcher {
    fn event(&mut self, event: Event) {
        self.events.push(event);
    }
}

impl Monitor for Watcher {
    fn epoch(&mut self, epoch: &Epoch, _: usize) -> bool {
        self.epochs.push(*epoch);
        self.stop_after != Some(epoch.epoch)
    }

    fn between(&mut self, moment: Moment) -> Wish {
        // Before anything is solved it is asked too, when there is nothing to keep.
        self.asked += usize::from(moment != Moment::Solve);
        if self.end_at == Some(self.asked) {
            Wish::KeepAndEnd
        } else {
            Wish::GoOn
        }
    }

    fn keep(&mut self, checkpoint: Checkpoint) -> Result<()> {
        self.kept = Some(checkpoint);
        Ok(())
    }
}

fn fit_with(
    frame: &Frame,
    model: &ModelParams,
    train_params: &TrainParams,
    watcher: &mut Watcher,
) -> Result<Fitted> {
    fit_from(frame, model, train_params, None, watcher)
}

fn fit_from(
    frame: &Frame,
    model: &ModelParams,
    train_params: &TrainParams,
    resume: Option<&Checkpoint>,
    watcher: &mut Watcher,
) -> Result<Fitted> {
    let train: Vec<usize> = (LOOKBACK - 1..280 - HORIZON).collect();
    let validation: Vec<usize> = (280 + LOOKBACK - 1..340 - HORIZON).collect();
    let task = FitTask {
        frame,
        train: &train,
        validation: &validation,
        train_rows: std::slice::from_ref(&(0..280)),
        sample_weights: None,
        model,
        train_params,
        targets: &[Scaler::IDENTITY],
        resume,
        warm_start: None,
    };
    Nets(model.kind()).fit(&task, watcher)
}

fn fit_kind(model: &ModelParams) -> Fitted {
    fit_with(&frame(), model, &train_params(), &mut Watcher::default()).unwrap()
}

fn load(model: &ModelParams, frame: &Frame, weights: &Weights) -> Result<Box<dyn Forecaster>> {
    let task = LoadTask {
        model,
        step: frame.step(),
        columns: &frame.columns,
        series: &frame.layout.names(),
        targets: &[Scaler::IDENTITY],
        device: WantedDevice::Cpu,
    };
    Nets(model.kind()).load(&task, weights)
}

fn fit() -> Fitted {
    fit_with(&frame(), &model(), &train_params(), &mut Watcher::default()).unwrap()
}

fn test_issues() -> Vec<usize> {
    (363..ROWS - HORIZON).collect()
}

fn rmse(frame: &Frame, predictions: &Predictions) -> f64 {
    let errors = test_issues()
        .into_iter()
        .enumerate()
        .flat_map(|(i, issue)| {
            (0..HORIZON).map(move |lead| (i * HORIZON + lead, issue + 1 + lead))
        });
    let squares: Vec<f64> = errors
        .map(|(at, row)| f64::from(predictions.mean[at] - frame.at(row, 1)).powi(2))
        .collect();
    (squares.iter().sum::<f64>() / squares.len() as f64).sqrt()
}

#[test]
fn every_kind_learns_a_sine() {
    let frame = frame();
    for model in models() {
        let params = TrainParams {
            epochs: if model.kind() == "deepar" { 60 } else { 15 },
            learning_rate: 1e-2,
            weight_decay: 0.0,
            ..train_params()
        };
        let fitted = fit_with(&frame, &model, &params, &mut Watcher::default()).unwrap();
        let predictions = fitted.forecaster.forecast(&frame, &test_issues()).unwrap();
        let last = |issue: usize| [frame.at(issue, 1); HORIZON];
        let persistence = Predictions {
            mean: test_issues().into_iter().flat_map(last).collect(),
            ..predictions.clone()
        };
        let (net, persistence) = (rmse(&frame, &predictions), rmse(&frame, &persistence));
        let kind = model.kind();
        assert!(
            net < 0.3 * persistence,
            "{kind}: {net} against {persistence}"
        );
    }
}

#[test]
fn predictions_have_their_shape_and_quantiles_do_not_cross() {
    for model in models() {
        let forecaster = fit_kind(&model).forecaster;
        let predictions = forecaster.forecast(&frame(), &test_issues()).unwrap();
        let cells = test_issues().len() * HORIZON;
        assert_eq!(predictions.levels, [0.1, 0.5, 0.9]);
        assert_eq!(predictions.mean.len(), cells);
        assert_eq!(predictions.quantiles.len(), cells * 3);
        assert!(
            predictions
                .quantiles
                .chunks(3)
                .all(|q| q[0] <= q[1] && q[1] <= q[2])
        );
    }
}

#[test]
fn no_forecast_leaves_the_bounds() {
    for mut model in models() {
        let bounds = Bounds {
            lower: Some(-0.4),
            upper: Some(0.3),
        };
        model.bounds = bounds.into();
        let forecaster = fit_kind(&model).forecaster;
        let predictions = forecaster.forecast(&frame(), &test_issues()).unwrap();
        let all = predictions.mean.iter().chain(&predictions.quantiles);
        let (low, high) = all.fold((f32::MAX, f32::MIN), |(low, high), &value| {
            (low.min(value), high.max(value))
        });
        assert!(low >= -0.4 && high <= 0.3, "{}: {low} {high}", model.kind());
        assert!(low < -0.3 && high > 0.2, "{}: {low} {high}", model.kind());
    }
}

#[test]
fn equal_seeds_give_equal_bytes_and_others_do_not() {
    for model in models() {
        let weights = |seed| {
            let params = TrainParams {
                seed,
                ..train_params()
            };
            let mut watcher = Watcher::default();
            let fitted = fit_with(&frame(), &model, &params, &mut watcher).unwrap();
            (fitted.weights, fitted.history)
        };
        assert!(weights(1) == weights(1));
        assert!(weights(1).0 != weights(2).0);
    }
}

/// Eight steps an epoch: it asks after all of them but the last, in the validation and after it.
/// It ends before and after the first step, within an epoch, in a validation, after one, and after all.
#[test]
fn an_interrupted_training_ends_as_one_that_was_not() {
    let params = TrainParams {
        epochs: 2,
        ..train_params()
    };
    for model in models() {
        let mut whole = Watcher::default();
        let undisturbed = fit_with(&frame(), &model, &params, &mut whole).unwrap();
        assert_eq!(whole.asked, 2 * 9);
        for end_at in [0, 1, 3, 8, 9, 10, 17, 18] {
            let mut first = Watcher {
                end_at: Some(end_at),
                ..Watcher::default()
            };
            let ended = fit_with(&frame(), &model, &params, &mut first)
                .err()
                .unwrap();
            assert!(ended.is::<Interrupted>(), "{ended:#}");
            let kept = first.kept;
            assert_eq!(kept.is_none(), end_at == 0);
            let mut second = Watcher::default();
            let resumed = fit_from(&frame(), &model, &params, kept.as_ref(), &mut second).unwrap();
            assert!(resumed.weights == undisturbed.weights, "ended at {end_at}");
            assert_eq!(resumed.history, undisturbed.history);
        }
    }
}

/// Steps of two and three parts, and one that goes on with more threads than it
/// began with.
#[test]
fn the_number_of_threads_changes_nothing() {
    for model in models() {
        let params = |threads| TrainParams {
            epochs: 2,
            batch: 150,
            threads: Some(threads),
            ..train_params()
        };
        let with = |threads, resume: Option<&Checkpoint>, watcher: &mut Watcher| {
            fit_from(&frame(), &model, &params(threads), resume, watcher)
        };
        let one = with(1, None, &mut Watcher::default()).unwrap();
        let five = with(5, None, &mut Watcher::default()).unwrap();
        assert!(one.weights == five.weights, "{}", model.kind());
        assert_eq!(one.history, five.history);
        let mut ended = Watcher {
            end_at: Some(1),
            ..Watcher::default()
        };
        assert!(with(1, None, &mut ended).err().unwrap().is::<Interrupted>());
        let resumed = with(3, ended.kept.as_ref(), &mut Watcher::default()).unwrap();
        assert!(one.weights == resumed.weights, "{}", model.kind());
    }
}

#[test]
fn a_loaded_model_forecasts_the_same_bytes() {
    let frame = frame();
    for model in models() {
        let fitted = fit_kind(&model);
        let loaded = load(&model, &frame, &fitted.weights).unwrap();
        let forecast =
            |forecaster: &dyn Forecaster| forecaster.forecast(&frame, &test_issues()).unwrap();
        assert_eq!(
            forecast(loaded.as_ref()),
            forecast(fitted.forecaster.as_ref())
        );
    }
}

#[test]
fn after_the_issue_row_only_the_known_future_is_read() {
    for model in models() {
        let (frame, fitted) = (frame(), fit_kind(&model));
        let issue = ROWS - HORIZON - 1;
        let with = |column: usize, value: f32| {
            let mut altered = frame.clone();
            for row in issue + 1..ROWS {
                altered.values[row * 3 + column] = value;
            }
            fitted.forecaster.forecast(&altered, &[issue]).unwrap()
        };
        let plain = fitted.forecaster.forecast(&frame, &[issue]).unwrap();
        assert_eq!(with(0, 1e6), plain);
        assert_eq!(with(1, f32::NAN), plain);
        assert_ne!(with(2, 0.5), plain);
    }
}

#[test]
fn a_forecast_does_not_depend_on_those_beside_it() {
    for model in models() {
        let (frame, fitted) = (frame(), fit_kind(&model));
        let all = fitted.forecaster.forecast(&frame, &test_issues()).unwrap();
        let one = fitted
            .forecaster
            .forecast(&frame, &test_issues()[5..6])
            .unwrap();
        for (a, b) in one.mean.iter().zip(&all.mean[5 * HORIZON..]) {
            assert!((a - b).abs() < 1e-5);
        }
        let none = fitted.forecaster.forecast(&frame, &[]).unwrap();
        assert!(none.mean.is_empty() && none.quantiles.is_empty());
    }
}

/// Numbers from 0 to 1 that no model foresees.
fn unforeseen(row: usize) -> f32 {
    let mixed = (row as u32).wrapping_mul(0x9E37_79B9);
    let mixed = (mixed ^ (mixed >> 15)).wrapping_mul(0x85EB_CA6B);
    (mixed ^ (mixed >> 13)) as f32 / u32::MAX as f32
}

/// Noise, of which somebody else's forecasts, made anew at each row, say the next rows.
#[test]
fn what_somebody_else_forecast_is_learnt_from() {
    let mut frame = frame();
    frame.columns[2].role = Role::Forecast;
    for row in 0..ROWS {
        frame.values[row * 3 + 1] = unforeseen(row) - 0.5;
        frame.values[row * 3 + 2] = unforeseen(row) - 0.5;
    }
    let ahead = (0..ROWS).map(|row| (ROWS - 1 - row).min(HORIZON) as u32);
    frame.outlook = Outlook {
        values: (0..ROWS).map(|row| unforeseen(row) - 0.5).collect(),
        bases: (0..ROWS as i64).collect(),
        reach: ahead.collect(),
    };
    for model in models() {
        let params = TrainParams {
            epochs: if model.kind() == "deepar" { 60 } else { 30 },
            learning_rate: 1e-2,
            weight_decay: 0.0,
            ..train_params()
        };
        let fitted = fit_with(&frame, &model, &params, &mut Watcher::default()).unwrap();
        let issues = test_issues();
        let predictions = fitted.forecaster.forecast(&frame, &issues).unwrap();
        let error = rmse(&frame, &predictions);
        assert!(
            error < 0.2,
            "{}: {error}, where the deviation is 0.29",
            model.kind()
        );
        // And a window sees none but those that were there.
        let mut later = frame.clone();
        let last = *issues.last().unwrap();
        later.outlook.values[last + HORIZON + 1..].fill(9.0);
        later.values[(last + 1) * 3..].fill(9.0);
        let again = fitted.forecaster.forecast(&later, &[last]).unwrap();
        let alone = fitted.forecaster.forecast(&frame, &[last]).unwrap();
        assert_eq!(again, alone, "{}", model.kind());
    }
}

#[test]
fn every_point_loss_trains() {
    for loss in [PointLoss::Mse, PointLoss::Mae, PointLoss::Huber] {
        let params = TrainParams {
            loss,
            ..train_params()
        };
        let mut watcher = Watcher::default();
        fit_with(&frame(), &model(), &params, &mut watcher).unwrap();
        let losses: Vec<f64> = watcher.epochs.iter().filter_map(|e| e.train_loss).collect();
        assert!(losses[2] < losses[0], "{losses:?}");
    }
}

#[test]
fn a_warm_start_begins_where_a_model_ended() {
    let trained = fit();
    let params = TrainParams {
        epochs: 1,
        learning_rate: 1e-9,
        weight_decay: 0.0,
        ..train_params()
    };
    let task_frame = frame();
    let train: Vec<usize> = (LOOKBACK - 1..280 - HORIZON).collect();
    let task = FitTask {
        frame: &task_frame,
        train: &train,
        validation: &[300, 301],
        train_rows: std::slice::from_ref(&(0..280)),
        sample_weights: None,
        model: &model(),
        train_params: &params,
        targets: &[Scaler::IDENTITY],
        resume: None,
        warm_start: Some(&trained.weights),
    };
    // What is solved for the windows is solved anew.
    let farthest = |fitted: &Fitted| {
        let of_net = |(name, _): &(&String, &Array)| !name.starts_with("linear.");
        let arrays = trained.weights.iter().filter(of_net);
        let apart = arrays.flat_map(|(name, array)| {
            let pairs = array.values.iter().zip(&fitted.weights[name].values);
            pairs.map(|(a, b)| (a - b).abs())
        });
        apart.fold(0.0, f32::max)
    };
    let warm = Nets("lstm").fit(&task, &mut Watcher::default()).unwrap();
    assert!(farthest(&warm) < 1e-4);

    // Steps that spoil it are not kept.
    let wild = TrainParams {
        learning_rate: 1.0,
        ..params.clone()
    };
    let task = FitTask {
        train_params: &wild,
        ..task
    };
    let spoilt = Nets("lstm").fit(&task, &mut Watcher::default()).unwrap();
    let [began, after] = spoilt.history[..] else {
        panic!("{:?}", spoilt.history);
    };
    assert_eq!((began.epoch, began.train_loss, after.epoch), (0, None, 1));
    assert!(began.validation_loss < after.validation_loss);
    assert!(farthest(&spoilt) == 0.0);
}

#[test]
fn without_quantiles_and_without_future_columns() {
    let mut frame = frame();
    frame.columns[2].role = Role::Past;
    let model = ModelParams {
        quantiles: vec![],
        ..model()
    };
    let mut watcher = Watcher::default();
    let fitted = fit_with(&frame, &model, &train_params(), &mut watcher).unwrap();
    let predictions = fitted.forecaster.forecast(&frame, &test_issues()).unwrap();
    assert!(predictions.quantiles.is_empty() && predictions.levels.is_empty());
    assert!(rmse(&frame, &predictions) < 0.5);
}

#[test]
fn the_smallest_window() {
    let model = ModelParams {
        lookback: 1,
        horizon: 1,
        quantiles: vec![0.5],
        bounds: TargetBounds::default(),
        correction: None,
        architecture: Wanted::Lstm(RecurrentParams {
            hidden: 1,
            layers: 1,
            dropout: 0.0,
            noise: 0.0,
            segment: 1,
            linear_lags: 1,
            heads: 0,
            members: 1,
            decoder: Decoder::Autoregressive,
        }),
    };
    let mut watcher = Watcher::default();
    let fitted = fit_with(&frame(), &model, &train_params(), &mut watcher).unwrap();
    let predictions = fitted.forecaster.forecast(&frame(), &[0]).unwrap();
    assert_eq!(
        (predictions.mean.len(), predictions.quantiles.len()),
        (1, 1)
    );
}
