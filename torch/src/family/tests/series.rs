//! Several series in one model.

use super::*;

/// The parameters say it before there is a net.
#[test]
fn parameters_and_nets_agree_on_who_knows_series() {
    let (frame, scalers) = (frame(), [Scaler::IDENTITY]);
    for model in models() {
        let task = LoadTask {
            model: &model,
            step: frame.step(),
            columns: &frame.columns,
            series: &["a".to_owned(), "b".to_owned()],
            targets: &scalers,
            device: WantedDevice::Cpu,
        };
        let net = architecture(&task).unwrap();
        assert_eq!(net.knows_series(), model.knows_series(), "{}", model.kind());
    }
}

#[test]
fn a_kind_that_knows_series_refuses_others() {
    let mut two = frame();
    let names = [("a", 0, ROWS / 2), ("b", 0, ROWS / 2)];
    let named = names.map(|(name, start, rows)| (name.to_owned(), start, rows));
    two.layout = Layout::new(Step::HOUR, named);
    let models = models();
    let segrnn = models.iter().find(|model| model.kind() == "segrnn");
    let mut watcher = Watcher::default();
    let fitted = fit_with(&two, segrnn.unwrap(), &train_params(), &mut watcher).unwrap();
    assert!(fitted.forecaster.forecast(&two, &[100]).is_ok());
    let mut other = two.clone();
    let renamed = names.map(|(name, start, rows)| (format!("{name}2"), start, rows));
    other.layout = Layout::new(Step::HOUR, renamed);
    let error = fitted.forecaster.forecast(&other, &[100]).unwrap_err();
    assert!(error.to_string().contains("series `a2`"), "{error:#}");
    // A new series beside a known one is none of its business.
    let beside = [("a", 0, ROWS / 2), ("new", 0, ROWS / 2)];
    let mut more = two.clone();
    let renamed = beside.map(|(name, start, rows)| (name.to_owned(), start, rows));
    more.layout = Layout::new(Step::HOUR, renamed);
    assert!(fitted.forecaster.forecast(&more, &[100]).is_ok());
    assert!(fitted.forecaster.forecast(&more, &[300]).is_err());
    // A kind that does not tell them apart forecasts any.
    let mut watcher = Watcher::default();
    let fitted = fit_with(&two, &model(), &train_params(), &mut watcher).unwrap();
    assert!(fitted.forecaster.forecast(&other, &[100]).is_ok());
}

/// The second series has no window of the training: it is forecast as one that is like all others.
#[test]
fn a_series_without_a_window_is_like_the_others_on_average() {
    let mut three = frame();
    let names = ["a", "b", "c"].map(|name| (name.to_owned(), 0, ROWS / 3));
    three.layout = Layout::new(Step::HOUR, names);
    let models = models();
    let segrnn = models
        .iter()
        .find(|model| model.kind() == "segrnn")
        .unwrap();
    let within = |rows: std::ops::Range<usize>| rows.start + LOOKBACK..rows.end - HORIZON;
    let ranges: Vec<_> = (three.layout.blocks().iter())
        .map(|block| block.rows.clone())
        .collect();
    let train: Vec<usize> = [0, 2]
        .into_iter()
        .flat_map(|at| within(ranges[at].clone()))
        .collect();
    let task = FitTask {
        frame: &three,
        train: &train,
        validation: &within(ranges[1].clone()).collect::<Vec<_>>(),
        train_rows: &ranges,
        sample_weights: None,
        model: segrnn,
        train_params: &train_params(),
        targets: &[Scaler::IDENTITY],
        resume: None,
        warm_start: None,
    };
    let fitted = Nets("segrnn").fit(&task, &mut Watcher::default()).unwrap();
    let table = &fitted.weights["member0.series"];
    let rows: Vec<&[f32]> = table.values.chunks(table.shape[1]).collect();
    assert_eq!(rows.len(), 3);
    for ((a, b), c) in rows[0].iter().zip(rows[1]).zip(rows[2]) {
        assert!((a + c - 2.0 * b).abs() < 1e-5, "{a} {b} {c}");
    }
    // The validation, which is of that series, judges what is kept.
    let of_b: Vec<usize> = within(ranges[1].clone()).collect();
    let forecast = fitted.forecaster.forecast(&three, &of_b).unwrap();
    let squares = of_b.iter().enumerate().flat_map(|(place, issue)| {
        let truth = (1..=HORIZON).map(|lead| three.at(issue + lead, 1));
        let pairs = forecast.mean_of(place, 0).iter().zip(truth);
        pairs
            .map(|(mean, truth)| f64::from(mean - truth).powi(2))
            .collect::<Vec<f64>>()
    });
    let error = (squares.sum::<f64>() / (of_b.len() * HORIZON) as f64).sqrt();
    let told = fitted
        .history
        .iter()
        .map(|epoch| (epoch.validation_loss, epoch.validation_rmse));
    let best = told.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap().1;
    assert!((error - best).abs() < 1e-4, "{error} {best}");
    // What was learnt of it before stays.
    let task = FitTask {
        warm_start: Some(&fitted.weights),
        ..task
    };
    let warm = Nets("segrnn").fit(&task, &mut Watcher::default()).unwrap();
    let [row, before] = [&warm, &fitted].map(|of| {
        let table = &of.weights["member0.series"];
        table.values[table.shape[1]..2 * table.shape[1]].to_vec()
    });
    let apart = row.iter().zip(&before).map(|(a, b)| (a - b).abs());
    assert!(apart.fold(0.0, f32::max) < 0.1, "{row:?} {before:?}");
}

/// A farm of 2 MW beside one of 1000, scaled together, and the smaller one is judged.
#[test]
fn deepar_forecasts_a_small_series_beside_a_large_one() {
    let mut frame = frame();
    let named = ["large", "small"].map(|name| (name.to_owned(), 0, ROWS / 2));
    frame.layout = Layout::new(Step::HOUR, named);
    for row in ROWS / 2..ROWS {
        frame.values[row * 3 + 1] *= 0.002;
    }
    let params = TrainParams {
        epochs: 12,
        learning_rate: 1e-2,
        weight_decay: 0.0,
        ..train_params()
    };
    let model = model_of(Wanted::Deepar(DEEPAR));
    let fitted = fit_with(&frame, &model, &params, &mut Watcher::default()).unwrap();
    let predictions = fitted.forecaster.forecast(&frame, &test_issues()).unwrap();
    let error = rmse(&frame, &predictions) / 0.002;
    assert!(error < 0.5, "{error}, where the deviation is 0.7");
}
