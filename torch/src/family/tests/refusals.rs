//! How a training ends early, and what is refused.

use super::*;

#[test]
fn the_monitor_sees_every_epoch_and_can_end_it() {
    let mut watcher = Watcher {
        stop_after: Some(2),
        ..Watcher::default()
    };
    let fitted = fit_with(&frame(), &model(), &train_params(), &mut watcher).unwrap();
    assert_eq!(watcher.epochs.len(), 2);
    assert_eq!(watcher.epochs, fitted.history);
    assert!(watcher.epochs.iter().all(|e| e.validation_rmse > 0.0));
    assert!(watcher.events.len() >= 2, "one report an epoch at least");
}

#[test]
fn a_loss_that_is_not_finite_ends_it_with_the_place() {
    let params = TrainParams {
        learning_rate: 1e30,
        clip: 1e6,
        ..train_params()
    };
    let mut watcher = Watcher::default();
    let error = fit_with(&frame(), &model(), &params, &mut watcher)
        .err()
        .unwrap();
    let message = error.to_string();
    assert!(
        message.contains("in epoch 1, batch") && message.contains("train.learning_rate"),
        "{message}"
    );
}

#[test]
fn weights_that_do_not_belong_are_refused_by_name() {
    let (frame, fitted) = (frame(), fit());
    let refused = |change: &dyn Fn(&mut Weights)| {
        let mut weights = fitted.weights.clone();
        change(&mut weights);
        let loaded = load(&model(), &frame, &weights);
        loaded.err().unwrap().to_string()
    };
    let name = "member1.cell1.hidden";
    assert_eq!(
        refused(&|w| drop(w.remove(name))),
        "the weights lack `member1.cell1.hidden`"
    );
    let extra = refused(&|w| drop(w.insert("more".to_owned(), w[name].clone())));
    assert!(extra.contains("hold `more`"), "{extra}");
    let turned = refused(&|w| w.get_mut(name).unwrap().shape.reverse());
    assert!(
        turned.contains("expected shape [24, 6], found [6, 24]"),
        "{turned}"
    );
    let cut = refused(&|w| w.get_mut(name).unwrap().values.truncate(143));
    assert!(cut.contains("143 values"), "{cut}");
}

#[test]
fn a_frame_of_another_width_is_refused() {
    let mut narrow = frame();
    narrow.columns.pop();
    let error = fit().forecaster.forecast(&narrow, &[100]).unwrap_err();
    assert!(error.to_string().contains("3 columns"), "{error}");
}

#[test]
fn a_part_without_a_window_is_an_error() {
    let task = FitTask {
        frame: &frame(),
        train: &[],
        validation: &[300],
        train_rows: std::slice::from_ref(&(0..280)),
        sample_weights: None,
        model: &model(),
        train_params: &train_params(),
        targets: &[Scaler::IDENTITY],
        resume: None,
        warm_start: None,
    };
    let error = Nets("lstm")
        .fit(&task, &mut Watcher::default())
        .err()
        .unwrap();
    assert_eq!(error.to_string(), "the training part has no window");
}
