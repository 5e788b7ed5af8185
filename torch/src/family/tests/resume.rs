//! A training that was ended and goes on, whatever it is told to do.

use super::*;
use krammerti::model::Weights;
use krammerti::params::Schedule;

/// A training with what may be told to it.
struct Told {
    frame: Frame,
    params: TrainParams,
    sample_weights: Option<Vec<f32>>,
    warm_start: Option<Weights>,
}

impl Told {
    fn new(params: TrainParams) -> Self {
        Self {
            frame: frame(),
            params,
            sample_weights: None,
            warm_start: None,
        }
    }

    fn fit(&self, resume: Option<&Checkpoint>, watcher: &mut Watcher) -> Result<Fitted> {
        let train: Vec<usize> = (LOOKBACK - 1..280 - HORIZON).collect();
        let validation: Vec<usize> = (280 + LOOKBACK - 1..340 - HORIZON).collect();
        let task = FitTask {
            frame: &self.frame,
            train: &train,
            validation: &validation,
            train_rows: std::slice::from_ref(&(0..280)),
            sample_weights: self.sample_weights.as_deref(),
            model: &model(),
            train_params: &self.params,
            targets: &[Scaler::IDENTITY],
            resume,
            warm_start: self.warm_start.as_ref(),
        };
        Nets("lstm").fit(&task, watcher)
    }

    /// Ended at some of the moments at which it asks, in turn, it comes to the same.
    fn assert_goes_on(&self, what: &str) {
        let mut whole = Watcher::default();
        let undisturbed = self.fit(None, &mut whole).unwrap();
        for every in [5, 9] {
            let mut kept: Option<Checkpoint> = None;
            let resumed = loop {
                let mut watcher = Watcher {
                    end_at: Some(every),
                    ..Watcher::default()
                };
                match self.fit(kept.as_ref(), &mut watcher) {
                    Ok(fitted) => break fitted,
                    Err(error) => assert!(error.is::<Interrupted>(), "{what}: {error:#}"),
                }
                kept = watcher.kept;
            };
            assert!(kept.is_some(), "{what}: it was ended at least once");
            assert!(resumed.weights == undisturbed.weights, "{what}, {every}");
            assert_eq!(resumed.history, undisturbed.history, "{what}, {every}");
        }
    }
}

fn two_epochs() -> TrainParams {
    TrainParams {
        epochs: 2,
        ..train_params()
    }
}

#[test]
fn with_another_schedule_and_average() {
    let step = Schedule::Step {
        after: 1,
        factor: 0.3,
    };
    for (schedule, average) in [(step, 0.0), (Schedule::Constant, 2.5)] {
        let params = TrainParams {
            schedule,
            average,
            loss: PointLoss::Huber,
            ..two_epochs()
        };
        Told::new(params).assert_goes_on(&format!("{schedule:?}, {average}"));
    }
}

/// A large step has several parts, between which it asks too; one that is given up is done again.
#[test]
fn within_a_step() {
    let params = TrainParams {
        batch: 200,
        ..two_epochs()
    };
    let told = Told::new(params);
    let mut whole = Watcher::default();
    let undisturbed = told.fit(None, &mut whole).unwrap();
    // In a step of four parts, after it, not in one of a single part, in the validation and after it.
    assert_eq!(whole.asked, 2 * (3 + 1 + 1 + 1));
    told.assert_goes_on("parts");
    let mut first = Watcher {
        end_at: Some(2),
        ..Watcher::default()
    };
    let ended = told.fit(None, &mut first).err().unwrap();
    assert!(ended.is::<Interrupted>(), "{ended:#}");
    let resumed = told
        .fit(first.kept.as_ref(), &mut Watcher::default())
        .unwrap();
    assert!(resumed.weights == undisturbed.weights);
}

/// Each epoch has windows of its own.
#[test]
fn with_a_stride() {
    let params = TrainParams {
        epochs: 3,
        stride: 3,
        batch: 16,
        ..train_params()
    };
    Told::new(params).assert_goes_on("a stride");
}

#[test]
fn with_weights_of_windows_and_gaps() {
    let mut told = Told::new(two_epochs());
    let windows = 280 - HORIZON - (LOOKBACK - 1);
    told.sample_weights = Some((0..windows).map(|i| (i % 7) as f32 * 0.4).collect());
    // What was filled in the horizon has no weight.
    let filled = (0..ROWS).map(|row| row % 11 == 3).collect();
    told.frame.filled.insert(1, filled);
    told.assert_goes_on("weights and gaps");
}

#[test]
fn with_the_weights_of_another_training() {
    let mut told = Told::new(two_epochs());
    let other = TrainParams {
        seed: 9,
        ..two_epochs()
    };
    told.warm_start = Some(
        Told::new(other)
            .fit(None, &mut Watcher::default())
            .unwrap()
            .weights,
    );
    told.assert_goes_on("warm start");
    // While it judges what it begins with, and after its first step.
    let undisturbed = told.fit(None, &mut Watcher::default()).unwrap();
    assert_eq!(undisturbed.history[0].epoch, 0);
    for end_at in [1, 2] {
        let mut first = Watcher {
            end_at: Some(end_at),
            ..Watcher::default()
        };
        let ended = told.fit(None, &mut first).err().unwrap();
        assert!(ended.is::<Interrupted>(), "{ended:#}");
        let judged = usize::from(end_at > 1);
        assert_eq!(first.kept.as_ref().unwrap().history.len(), judged);
        let resumed = told
            .fit(first.kept.as_ref(), &mut Watcher::default())
            .unwrap();
        assert!(resumed.weights == undisturbed.weights, "ended at {end_at}");
        assert_eq!(resumed.history, undisturbed.history, "ended at {end_at}");
    }
}

/// At a rate that stays large some epoch is worse than the one before, and with no patience the last one: also
/// where it is ended just then, and told to go on.
#[test]
fn to_where_its_patience_ends() {
    let told = Told::new(TrainParams {
        epochs: 9,
        patience: 1,
        learning_rate: 0.3,
        schedule: Schedule::Constant,
        average: 0.0,
        ..train_params()
    });
    let epochs = told.fit(None, &mut Watcher::default()).unwrap().history;
    assert!(epochs.len() < 9, "{epochs:?}");
    told.assert_goes_on("patience");
    let mut watcher = Watcher {
        end_at: Some(9 * epochs.len()),
        ..Watcher::default()
    };
    assert!(told.fit(None, &mut watcher).is_err());
    let mut after = Watcher::default();
    let resumed = told.fit(watcher.kept.as_ref(), &mut after).unwrap();
    assert_eq!(resumed.history, epochs);
    assert!(after.epochs.is_empty());
}
