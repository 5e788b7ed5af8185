//! The bar at the least: what repeating the last value comes to on the windows that a model is validated on.

use anyhow::Result;

use super::super::Context;
use crate::data::Frame;
use crate::model::Forecaster;

/// Windows that are forecast at a time.
const BATCH: usize = 2048;

/// Root mean square error over all windows, leads and targets, in scaled units. `None` where nothing was
/// observed.
pub(super) fn rmse(
    forecaster: &dyn Forecaster,
    frame: &Frame,
    issues: &[usize],
) -> Result<Option<f64>> {
    let targets = frame.targets();
    let issuer = forecaster.over(frame)?;
    let mut squares = Squares::default();
    for some in issues.chunks(BATCH) {
        let made = issuer.forecast(some)?;
        for (place, &issue) in some.iter().enumerate() {
            for (number, &target) in targets.iter().enumerate() {
                for (row, &mean) in (issue + 1..).zip(made.mean_of(place, number)) {
                    squares.add(mean, frame.truth(row, target));
                }
            }
        }
    }
    Ok(squares.root_mean())
}

/// The same of repeating the last value of each target.
pub(super) fn rmse_of_persistence(frame: &Frame, issues: &[usize], horizon: usize) -> Option<f64> {
    let targets = frame.targets();
    let mut squares = Squares::default();
    for &issue in issues {
        for &target in &targets {
            let last = frame.at(issue, target);
            for row in issue + 1..=issue + horizon {
                squares.add(last, frame.truth(row, target));
            }
        }
    }
    squares.root_mean()
}

/// Tells what was kept and how it did on the validation part, and the last value repeated where it is to be beaten.
pub(super) fn tell(
    context: &mut Context<'_>,
    kept: &str,
    rmse: f64,
    persistence: Option<f64>,
    unit: &str,
) {
    let beside = persistence.map_or_else(String::new, |of| format!(", of persistence {of:.3}"));
    context.note(format!("{kept}validation RMSE {rmse:.3}{unit}{beside}"));
    if let Some(odd) = persistence.and_then(|of| not_better(rmse, of, unit)) {
        context.warn(odd);
    }
}

/// What is to be said of a model that does no better, with both errors and their unit.
fn not_better(model: f64, persistence: f64, unit: &str) -> Option<String> {
    // Where nothing ever changes, nothing can be better.
    (model >= persistence && persistence > 0.0).then(|| {
        format!(
            "the model does no better on the validation part than repeating the last value (RMSE {model:.3}{unit} \
             against {persistence:.3}): it is hardly of use as it is. Compare with kind ridge, and with fewer columns"
        )
    })
}

#[derive(Default)]
struct Squares {
    sum: f64,
    count: usize,
}

impl Squares {
    fn add(&mut self, forecast: f32, truth: f32) {
        if !truth.is_nan() {
            self.sum += f64::from(forecast - truth).powi(2);
            self.count += 1;
        }
    }

    fn root_mean(&self) -> Option<f64> {
        (self.count > 0).then(|| (self.sum / self.count as f64).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{FrameColumn, Role};
    use crate::model::{Issuer, Predictions};
    use crate::time::Step;

    /// Says 5 of one lead.
    struct Five;

    impl Forecaster for Five {
        fn over<'a>(&'a self, _: &'a Frame) -> Result<Box<dyn Issuer + 'a>> {
            Ok(Box::new(Self))
        }
    }

    impl Issuer for Five {
        fn forecast(&self, issues: &[usize]) -> Result<Predictions> {
            Ok(Predictions {
                targets: 1,
                horizon: 1,
                levels: Vec::new(),
                mean: vec![5.0; issues.len()],
                quantiles: Vec::new(),
            })
        }
    }

    fn frame(values: &[f32]) -> Frame {
        let columns = vec![FrameColumn::new("t".into(), Role::Target)];
        Frame::single(0, Step::HOUR, columns, values.to_vec())
    }

    #[test]
    fn errors_by_hand() {
        let frame = frame(&[1.0, 4.0, 1.0, f32::NAN, 1.0]);
        let root = |squares: f64, count: f64| Some((squares / count).sqrt());
        assert_eq!(
            rmse_of_persistence(&frame, &[0, 1], 1),
            root(9.0 + 9.0, 2.0)
        );
        // What was not observed does not count.
        assert_eq!(
            rmse_of_persistence(&frame, &[0, 1], 2),
            root(9.0 + 9.0, 3.0)
        );
        assert_eq!(rmse_of_persistence(&frame, &[2], 1), None);
        let of_model = rmse(&Five, &frame, &[0, 1, 2]).expect("forecasts");
        assert_eq!(of_model, root(1.0 + 16.0, 2.0));
    }

    #[test]
    fn a_model_that_is_no_better_is_told() {
        let told = not_better(6.4249, 2.1, " ppm").expect("a warning");
        let says = ["RMSE 6.425 ppm against 2.100", "repeating the last value"];
        assert!(says.iter().all(|text| told.contains(text)), "{told}");
        assert!(not_better(2.1, 2.1, "").is_some());
        assert_eq!(not_better(2.0, 2.1, ""), None);
        assert_eq!(not_better(0.1, 0.0, ""), None);
    }
}
