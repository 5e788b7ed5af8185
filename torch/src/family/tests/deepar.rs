//! What `deepar` says of targets at a bound, counts and shares.

use super::*;

/// A distribution fitted to what is made of the target at each row: the error, and the forecasts.
fn deepar_of(
    distribution: Distribution,
    target: &dyn Fn(usize, f32) -> f32,
    bounds: Bounds,
) -> Result<(f64, Predictions)> {
    let mut frame = frame();
    for row in 0..ROWS {
        let value = &mut frame.values[row * 3 + 1];
        *value = target(row, *value);
    }
    let deepar = DeeparParams {
        distribution,
        ..DEEPAR
    };
    let model = ModelParams {
        bounds: bounds.into(),
        ..model_of(Wanted::Deepar(deepar))
    };
    let params = TrainParams {
        epochs: 12,
        learning_rate: 1e-2,
        weight_decay: 0.0,
        ..train_params()
    };
    let fitted = fit_with(&frame, &model, &params, &mut Watcher::default())?;
    let predictions = fitted.forecaster.forecast(&frame, &test_issues())?;
    Ok((rmse(&frame, &predictions), predictions))
}

/// Three quarters of a noise lie below its bound: the median is the bound, which no distribution that it only
/// cuts has.
#[test]
fn deepar_knows_how_likely_a_bound_is() {
    let at_zero = Bounds {
        lower: Some(0.0),
        upper: None,
    };
    let showers = |row: usize, _: f32| (4.0 * unforeseen(row) - 3.0).max(0.0);
    for distribution in [Distribution::Gaussian, Distribution::StudentT] {
        let (_, predictions) = deepar_of(distribution, &showers, at_zero).unwrap();
        let medians: Vec<f32> = predictions
            .quantiles
            .iter()
            .skip(1)
            .step_by(3)
            .copied()
            .collect();
        let dry = medians.iter().filter(|median| **median <= 0.0).count();
        assert!(
            dry * 10 > medians.len() * 8,
            "{distribution:?} {dry} of {}",
            medians.len()
        );
        // It may rain all the same.
        assert!(
            predictions.mean.iter().all(|mean| *mean > 0.0),
            "{distribution:?}"
        );
    }
}

/// Where it never rained, it hardly will.
#[test]
fn deepar_stands_a_target_that_lies_on_its_bound() {
    let at_zero = Bounds {
        lower: Some(0.0),
        upper: None,
    };
    for distribution in [Distribution::Gaussian, Distribution::StudentT] {
        let (error, dry) = deepar_of(distribution, &|_, _| 0.0, at_zero).unwrap();
        assert!(error < 0.1, "{distribution:?} {error}");
        let medians = dry.quantiles.iter().skip(1).step_by(3);
        assert!(
            medians.into_iter().all(|median| *median <= 0.0),
            "{distribution:?}"
        );
    }
}

/// The target as counts, as shares, and as what neither distribution is of.
#[test]
fn deepar_has_a_distribution_for_counts_and_for_shares() {
    let open = Bounds::default();
    let counts = |_: usize, value: f32| (10.0 * value + 12.0).round();
    let (error, of_counts) = deepar_of(Distribution::NegativeBinomial, &counts, open).unwrap();
    assert!(error < 4.0, "{error}, where the deviation is 7");
    assert!(of_counts.quantiles.iter().all(|value| *value >= 0.0));
    let median = of_counts.quantiles.iter().skip(1).step_by(3);
    // Of 41 paths the middle one.
    assert!(median.into_iter().all(|value| value.fract() == 0.0));
    let unit = Bounds {
        lower: Some(0.0),
        upper: Some(1.0),
    };
    let shares = |_: usize, value: f32| (0.5 + 0.6 * value).clamp(0.0, 1.0);
    let (error, _) = deepar_of(Distribution::Beta, &shares, unit).unwrap();
    assert!(error < 0.2, "{error}, where the deviation is 0.38");
    let refused = deepar_of(Distribution::NegativeBinomial, &|_, value| value, open);
    let message = refused.err().unwrap().to_string();
    assert!(message.contains("is of counts"), "{message}");
}
