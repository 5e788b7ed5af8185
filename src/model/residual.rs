//! What the models without libtorch share: from a mean forecast to a [`Forecaster`].
//!
//! Each of them is a [`Point`]: it knows one value for each lead of each target. Quantiles come from
//! *dressing* that value with the model's own past errors (M. S. Roulston and L. A. Smith, "Combining
//! dynamical and statistical ensembles", Tellus 55A, 2003): the quantiles of observed − forecast on
//! the validation windows, each lead of each target for itself ([`errors`]), are added to the forecast.
//! They are in order by construction.
//!
//! A forecast is cut at the bounds of its target before its errors are learnt, and before they are added:
//! what a linear map says of a sun at night lies below 0 by more than any night ever errs. What a correction
//! moves is cut after it.
//!
//! This module must not know how a value is made.

mod errors;

use anyhow::{Context, Result, bail, ensure};
use rayon::prelude::*;

use self::errors::{Errors, Made, RESIDUAL_QUANTILES};
use super::within::{cut, scaled_bounds};
use super::{FitTask, Fitted, Forecaster, Issuer, LoadTask, Predictions, Weights};
use crate::data::{Frame, FrameColumn, Role, Scaler, columns_with};
use crate::params::{Contradiction, ModelParams};

/// So few windows are forecast sooner than another thread is asked.
const FEW: usize = 64;

/// A model that gives one value for each lead of each target.
pub(super) trait Point: Sync {
    /// How many rows up to and including the issue row it reads; an error where the frame does
    /// not fit the model.
    fn rows_needed(&self, frame: &Frame) -> Result<usize>;

    /// Writes the forecast of the columns `targets`, `[targets × horizon]`, in scaled units.
    /// `rows_needed` rows stand before the end of row `issue`.
    fn point(&self, frame: &Frame, issue: usize, targets: &[usize], forecast: &mut [f32]);
}

/// Gives a fitted point model its quantiles, where the parameters ask for some, and packs it with
/// its weights.
pub(super) fn finish<P: Point + 'static>(
    point: P,
    task: &FitTask<'_>,
    mut weights: Weights,
) -> Result<Fitted> {
    require_lookback(point.rows_needed(task.frame)?, task.model)?;
    let mut dressed = Dressed {
        point,
        targets: task.frame.targets().len(),
        horizon: task.model.horizon,
        levels: task.model.quantiles.clone(),
        bounds: bounds_before_errors(task.model, &task.frame.columns, task.targets),
        errors: Errors::none(),
    };
    if !dressed.levels.is_empty() {
        let made = Made {
            frame: task.frame,
            issues: task.validation,
            horizon: dressed.horizon,
            mean: dressed.mean(task.frame, task.validation)?,
        };
        dressed.errors = Errors::of(&made, &dressed.levels)?;
        weights.insert(RESIDUAL_QUANTILES.to_owned(), dressed.errors.to_weight());
    }
    Ok(Fitted {
        weights,
        history: Vec::new(),
        forecaster: Box::new(dressed),
    })
}

/// Rebuilds what [`finish`] made.
pub(super) fn restore<P: Point + 'static>(
    point: P,
    task: &LoadTask<'_>,
    weights: &Weights,
) -> Result<Box<dyn Forecaster>> {
    let model = task.model;
    let targets = columns_with(task.columns, Role::Target).len();
    let (cells, levels) = (targets * model.horizon, model.quantiles.len());
    let mut bounds = bounds_before_errors(model, task.columns, task.targets);
    let errors = if levels == 0 {
        Errors::none()
    } else if let Some(errors) = Errors::of_uncut(weights, cells, levels)? {
        bounds.clear();
        errors
    } else {
        Errors::from_weights(weights, task.step, cells, levels)?
    };
    Ok(Box::new(Dressed {
        point,
        targets,
        horizon: model.horizon,
        levels: model.quantiles.clone(),
        bounds,
        errors,
    }))
}

/// The bounds that a forecast is cut at before its errors count: none where a correction moves it first.
fn bounds_before_errors(
    model: &ModelParams,
    columns: &[FrameColumn],
    scalers: &[Scaler],
) -> Vec<[Option<f32>; 2]> {
    match model.correction {
        Some(_) => Vec::new(),
        None => scaled_bounds(model, columns, scalers),
    }
}

/// An error where the windows are shorter than what a model reads.
pub(super) fn require_lookback(rows_needed: usize, model: &ModelParams) -> Result<()> {
    ensure!(
        rows_needed <= model.lookback,
        Contradiction(format!(
            "a model of kind `{}` reads the last {rows_needed} rows, but model.lookback is {}",
            model.kind(),
            model.lookback
        ))
    );
    Ok(())
}

/// The values of a weight with a known shape.
pub(super) fn weight<'a>(weights: &'a Weights, name: &str, shape: &[usize]) -> Result<&'a [f32]> {
    let array = weights
        .get(name)
        .with_context(|| format!("the weights lack `{name}`"))?;
    ensure!(
        array.shape == shape && array.values.len() == shape.iter().product::<usize>(),
        "weight `{name}` has shape {:?} with {} values, expected shape {shape:?}",
        array.shape,
        array.values.len()
    );
    Ok(&array.values)
}

/// A point model with the quantiles of its errors.
struct Dressed<P> {
    point: P,
    targets: usize,
    horizon: usize,
    levels: Vec<f64>,
    /// Of each target, scaled; none where the forecast is not cut here.
    bounds: Vec<[Option<f32>; 2]>,
    errors: Errors,
}

impl<P: Point> Forecaster for Dressed<P> {
    fn over<'a>(&'a self, frame: &'a Frame) -> Result<Box<dyn Issuer + 'a>> {
        Ok(Box::new(Over { model: self, frame }))
    }
}

/// The same with a frame before it.
struct Over<'a, P> {
    model: &'a Dressed<P>,
    frame: &'a Frame,
}

impl<P: Point> Issuer for Over<'_, P> {
    fn forecast(&self, issues: &[usize]) -> Result<Predictions> {
        self.model.dressed(self.frame, issues)
    }
}

impl<P: Point> Dressed<P> {
    /// Mean and quantiles from some issue rows.
    fn dressed(&self, frame: &Frame, issues: &[usize]) -> Result<Predictions> {
        let mean = self.mean(frame, issues)?;
        let width = self.levels.len();
        let mut quantiles = Vec::with_capacity(mean.len() * width);
        if width > 0 {
            for (issue, forecast) in issues.iter().zip(mean.chunks_exact(self.cells())) {
                for (cell, value) in forecast.iter().enumerate() {
                    let time = frame.time(issue + 1 + cell % self.horizon);
                    let errors = self.errors.at(time, cell);
                    quantiles.extend(errors.iter().map(|error| value + error));
                }
            }
        }
        Ok(Predictions {
            targets: self.targets,
            horizon: self.horizon,
            levels: self.levels.clone(),
            mean,
            quantiles,
        })
    }

    /// Values of a forecast.
    fn cells(&self) -> usize {
        self.targets * self.horizon
    }

    /// `[issues × targets × horizon]`.
    fn mean(&self, frame: &Frame, issues: &[usize]) -> Result<Vec<f32>> {
        let needed = self.point.rows_needed(frame)?;
        let targets = frame.targets();
        ensure!(
            targets.len() == self.targets,
            "the model was fitted on {} targets, the data have {}",
            self.targets,
            targets.len()
        );
        let far = |issue: &&usize| **issue >= frame.rows() || needed > **issue + 1;
        if let Some(issue) = issues.iter().find(far) {
            bail!(
                "no forecast from row {issue} of {}: the model reads the last {needed} rows",
                frame.rows()
            );
        }
        let mut mean = vec![0.0; issues.len() * self.cells()];
        let forecasts = mean.par_chunks_exact_mut(self.cells());
        issues
            .par_iter()
            .zip(forecasts)
            .with_min_len(FEW)
            .for_each(|(&issue, forecast)| self.point.point(frame, issue, &targets, forecast));
        cut(&mut mean, self.horizon, &self.bounds);
        Ok(mean)
    }
}

/// What the tests of all models here need.
#[cfg(test)]
pub(super) mod testing {
    use super::*;
    use crate::event::{Event, Observer};
    use crate::model::{Epoch, Family, Monitor};
    use crate::params::{Architecture, Device, TargetBounds, TrainParams};
    use crate::time::Step;

    /// A frame from its target and other columns, on steps of an hour since 1970.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "calls read better without a borrow"
    )]
    pub(crate) fn frame(target: Vec<f32>, others: &[Vec<f32>]) -> Frame {
        let mut columns = vec![FrameColumn::new("t".into(), Role::Target)];
        columns.extend((0..others.len()).map(|i| FrameColumn::new(format!("x{i}"), Role::Past)));
        let values = target
            .iter()
            .enumerate()
            .flat_map(|(row, value)| {
                std::iter::once(*value).chain(others.iter().map(move |column| column[row]))
            })
            .collect();
        Frame::single(0, Step::HOUR, columns, values)
    }

    /// Model parameters with these levels.
    pub(crate) fn model(
        architecture: Architecture,
        lookback: usize,
        horizon: usize,
        quantiles: &[f64],
    ) -> ModelParams {
        ModelParams {
            lookback,
            horizon,
            quantiles: quantiles.to_vec(),
            bounds: TargetBounds::default(),
            correction: None,
            architecture,
        }
    }

    /// What a model on these columns is rebuilt for.
    pub(crate) fn loading<'a>(model: &'a ModelParams, columns: &'a [FrameColumn]) -> LoadTask<'a> {
        LoadTask {
            model,
            step: Step::HOUR,
            columns,
            series: &[],
            targets: &[Scaler::IDENTITY],
            device: Device::Cpu,
        }
    }

    /// Says nothing, and lets a training go on.
    pub(crate) struct Silent;

    impl Observer for Silent {
        fn event(&mut self, _: Event) {}
    }

    impl Monitor for Silent {
        fn epoch(&mut self, _: &Epoch, _: usize) -> bool {
            true
        }
    }

    /// Fits on the first three quarters of the rows and validates on the rest, every window that
    /// fits.
    pub(crate) fn fit(family: &dyn Family, model: &ModelParams, frame: &Frame) -> Result<Fitted> {
        let train_rows = frame.rows() * 3 / 4;
        let windows = |from: usize, to: usize| -> Vec<usize> {
            (from + model.lookback..(to + 1).saturating_sub(model.horizon))
                .map(|end| end - 1)
                .collect()
        };
        let train_params = TrainParams::default();
        let train_part = 0..train_rows;
        let task = FitTask {
            frame,
            train: &windows(0, train_rows),
            validation: &windows(train_rows, frame.rows()),
            train_rows: std::slice::from_ref(&train_part),
            sample_weights: None,
            model,
            train_params: &train_params,
            targets: &[Scaler::IDENTITY],
            resume: None,
            warm_start: None,
        };
        family.fit(&task, &mut Silent)
    }

    /// Fits, forecasts, loads from the weights, and asserts that the loaded model forecasts the
    /// same.
    pub(crate) fn forecast(
        family: &dyn Family,
        model: &ModelParams,
        frame: &Frame,
        issues: &[usize],
    ) -> Predictions {
        let fitted = fit(family, model, frame).expect("a fit");
        let forecast = fitted.forecaster.forecast(frame, issues).expect("forecast");
        let loaded = family
            .load(&loading(model, &frame.columns), &fitted.weights)
            .expect("a model");
        let again = loaded.forecast(frame, issues).expect("forecast");
        assert_eq!(
            forecast, again,
            "a loaded model forecasts as the fitted one"
        );
        forecast
    }

    /// The text of an error with its causes.
    pub(crate) fn message<T>(result: Result<T>) -> String {
        format!("{:#}", result.err().expect("an error"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Family;
    use super::super::climatology::ClimatologyFamily;
    use super::super::naive::{PersistenceFamily, SeasonalFamily};
    use super::testing::{fit, forecast, frame, loading, message, model};
    use super::*;
    use crate::model::{Array, Monitor};
    use crate::params::{Architecture, Bounds, TargetBounds};
    use crate::time::Step;

    /// The same model of each target alone, and of both, which stand apart.
    #[test]
    fn several_targets_are_each_forecast_as_if_alone() {
        let wave = |row: usize| (row as f32 * 0.7).sin() + row as f32 / 50.0;
        let other = |row: usize| ((row * 7919) % 101) as f32;
        let frame_of = |targets: &[usize]| {
            let columns: [Vec<f32>; 2] =
                [(0..90).map(other).collect(), (0..90).map(wave).collect()];
            let mut frame = frame((0..90).map(|row| row as f32).collect(), &columns);
            for (place, column) in frame.columns.iter_mut().enumerate() {
                column.role = if targets.contains(&place) {
                    Role::Target
                } else {
                    Role::Past
                };
            }
            frame
        };
        let season = Step::HOUR;
        let kinds: [(&dyn Family, Architecture); 3] = [
            (&PersistenceFamily, Architecture::Persistence),
            (&SeasonalFamily, Architecture::Seasonal { season }),
            (&ClimatologyFamily, Architecture::Climatology),
        ];
        for (family, architecture) in kinds {
            let model = model(architecture, 3, 4, &[0.1, 0.5, 0.9]);
            let of = |targets: &[usize]| forecast(family, &model, &frame_of(targets), &[70, 80]);
            let both = of(&[0, 2]);
            assert_eq!((both.targets, both.horizon), (2, 4));
            for (place, target) in [0, 2].into_iter().enumerate() {
                let alone = of(&[target]);
                for issue in 0..2 {
                    assert_eq!(both.mean_of(issue, place), alone.mean_of(issue, 0));
                    let quantiles = both.quantiles_of(issue, place);
                    assert_eq!(quantiles, alone.quantiles_of(issue, 0));
                }
            }
        }
    }

    #[test]
    fn data_with_other_targets_are_refused() {
        let model = model(Architecture::Persistence, 2, 1, &[]);
        let mut frame = frame(vec![1.0; 20], &[vec![2.0; 20]]);
        let fitted = fit(&PersistenceFamily, &model, &frame).expect("a fit");
        frame.columns[1].role = Role::Target;
        let error = message(fitted.forecaster.forecast(&frame, &[10]));
        assert!(error.contains("fitted on 1 targets"), "{error}");
    }

    #[test]
    fn quantiles_need_validation_windows() {
        let model = model(Architecture::Persistence, 4, 4, &[0.1, 0.5, 0.9]);
        let short = frame(vec![0.0; 12], &[]);
        let error = message(fit(&PersistenceFamily, &model, &short));
        assert!(error.contains("validation part"), "{error}");
    }

    #[test]
    fn weights_that_do_not_fit_are_refused() {
        let model = model(Architecture::Persistence, 4, 2, &[0.5]);
        let columns = frame(vec![0.0], &[]).columns;
        let none = message(PersistenceFamily.load(&loading(&model, &columns), &Weights::new()));
        assert!(none.contains("lack `residual_quantiles`"), "{none}");
        let odd = Array {
            shape: vec![3, 1],
            values: vec![0.0; 3],
        };
        let weights = Weights::from([(RESIDUAL_QUANTILES.to_owned(), odd)]);
        let shape = message(PersistenceFamily.load(&loading(&model, &columns), &weights));
        assert!(shape.contains("expected shape [2, 1]"), "{shape}");
    }

    /// Says −5 of odd rows and 2 of even ones, which are 0 and 2.
    struct Below;

    impl Point for Below {
        fn rows_needed(&self, _: &Frame) -> Result<usize> {
            Ok(1)
        }

        fn point(&self, _: &Frame, issue: usize, _: &[usize], forecast: &mut [f32]) {
            forecast.fill([-5.0, 2.0][issue % 2]);
        }
    }

    impl Family for Below {
        fn kind(&self) -> &'static str {
            "below"
        }

        fn fit(&self, task: &FitTask<'_>, _: &mut dyn Monitor) -> Result<Fitted> {
            finish(Self, task, Weights::new())
        }

        fn load(&self, task: &LoadTask<'_>, weights: &Weights) -> Result<Box<dyn Forecaster>> {
            restore(Self, task, weights)
        }
    }

    fn above_zero() -> (ModelParams, Frame) {
        let bounds = Bounds {
            lower: Some(0.0),
            upper: None,
        };
        let model = ModelParams {
            bounds: TargetBounds::Same(bounds),
            ..model(Architecture::Persistence, 1, 1, &[0.1, 0.5, 0.9])
        };
        let observed = (0..80).map(|row| [2.0, 0.0][row % 2]);
        (model, frame(observed.collect(), &[]))
    }

    #[test]
    fn errors_are_those_of_the_forecast_as_it_is_cut() {
        let (model, frame) = above_zero();
        let made = forecast(&Below, &model, &frame, &[20, 21]);
        assert_eq!(made.mean, [0.0, 2.0]);
        assert_eq!(made.quantiles, [0.0, 0.0, 0.0, 2.0, 2.0, 2.0]);
    }

    #[test]
    fn errors_of_a_model_of_before_are_added_to_what_was_not_cut() {
        let (model, frame) = above_zero();
        let old = Array {
            shape: vec![1, 3],
            values: vec![0.0, 5.0, 5.0],
        };
        let weights = Weights::from([(RESIDUAL_QUANTILES.to_owned(), old)]);
        let loaded = Below.load(&loading(&model, &frame.columns), &weights);
        let made = loaded.and_then(|model| model.forecast(&frame, &[20, 21]));
        let made = made.expect("a forecast");
        assert_eq!(made.quantiles, [-5.0, 0.0, 0.0, 2.0, 7.0, 7.0]);
    }

    #[test]
    fn an_issue_without_enough_rows_is_an_error() {
        let model = model(Architecture::Persistence, 1, 1, &[]);
        let frame = frame(vec![0.0; 8], &[]);
        let fitted = fit(&PersistenceFamily, &model, &frame).expect("a fit");
        assert!(fitted.weights.is_empty() && fitted.history.is_empty());
        let error = message(fitted.forecaster.forecast(&frame, &[8]));
        assert!(error.contains("row 8 of 8"), "{error}");
        let none = fitted.forecaster.forecast(&frame, &[]).expect("nothing");
        assert!(none.mean.is_empty());
    }

    proptest! {
        #[test]
        fn quantiles_are_in_order(values in prop::collection::vec(-3.0..3.0_f32, 40..80)) {
            let model = model(Architecture::Persistence, 2, 3, &[0.1, 0.25, 0.5, 0.9]);
            let frame = frame(values, &[]);
            let forecast = forecast(&PersistenceFamily, &model, &frame, &[5, 20]);
            prop_assert_eq!(forecast.quantiles.len(), 2 * 3 * 4);
            for levels in forecast.quantiles.chunks_exact(4) {
                prop_assert!(levels.is_sorted());
            }
        }
    }
}
