//! A linear map from the last rows to every lead, fitted at once: the strongest of the simple
//! models, and the one that shows whether a neural net earns its cost.
//!
//! For each lead of each target it predicts the *change* from the target's last value, from
//!
//! ```text
//! [ of each target: its last value
//!   and its value at each of the `lags` − 1 rows before, relative to the last one
//! | all other columns at the issue row and at the row before it
//! | what forecasts from outside that were known then say of every lead
//! | 1
//! | the columns known in the future at the lead itself ]
//! ```
//!
//! by ridge regression (A. E. Hoerl and R. W. Kennard, 1970): it minimises
//! Σ (y − w·x)² + λ n |w|², where n is the number of windows and the constant is not penalised.
//! All targets and leads share the features but the last (see [`normal`]). Where some of them were not
//! observed in some windows, each has sums of its own, to which the windows without a gap are the common
//! start. Sums run in `f64` in the order of the windows, so that equal data give equal weights. This
//! module must not know where a window may lie.

mod normal;

use std::ops::Range;

use anyhow::{Result, anyhow, bail, ensure};
use rayon::prelude::*;

use self::normal::{BLOCK, Normal, Shape};
use super::residual::{self, Point};
use super::{Array, Family, FitTask, Fitted, Forecaster, LoadTask, Monitor, Weights};
use crate::data::{Frame, FrameColumn, Role, columns_with};
use crate::params::{Architecture, ModelParams, RidgeParams};

/// The weight that holds the linear map, `[features + 1 + known, targets × horizon]`: after the constant
/// come the columns known in the future.
const COEFFICIENTS: &str = "coefficients";

/// A fitted ridge regression.
#[derive(Clone, Debug, PartialEq)]
pub struct Ridge {
    inputs: Inputs,
    /// `[inputs.count() + 1 + inputs.known.len(), targets × horizon]`.
    coefficients: Vec<f32>,
}

/// What the linear map reads of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Inputs {
    lags: usize,
    targets: Vec<usize>,
    /// All columns but the targets.
    others: Vec<usize>,
    /// Those of them that are known in the future.
    known: Vec<usize>,
    /// Values of forecasts from outside: columns times leads.
    forecasts: usize,
}

impl Inputs {
    fn of(columns: &[FrameColumn], lags: usize, horizon: usize) -> Self {
        Self {
            forecasts: columns_with(columns, Role::Forecast).len() * horizon,
            lags,
            targets: columns_with(columns, Role::Target),
            known: columns_with(columns, Role::Future),
            others: (0..columns.len())
                .filter(|&column| columns[column].role != Role::Target)
                .collect(),
        }
    }

    /// How many features all leads share, without the constant: as many as lags for each target, as the
    /// first of them is the level, and two for each other column.
    fn count(&self) -> usize {
        self.lags * self.targets.len() + 2 * self.others.len() + self.forecasts
    }

    /// How many rows they reach back, the issue row included.
    fn rows(&self) -> usize {
        self.lags.max(2)
    }

    /// For a person whose data do not fit.
    fn told(&self) -> String {
        let columns = self.targets.len() + self.others.len();
        let places: Vec<String> = self.targets.iter().map(ToString::to_string).collect();
        format!(
            "{columns} columns with the targets at {}",
            places.join(", ")
        )
    }

    /// `[coefficients, cells]` of a linear map to so many leads.
    fn shape(&self, horizon: usize) -> [usize; 2] {
        [
            self.count() + 1 + self.known.len(),
            self.targets.len() * horizon,
        ]
    }

    /// Writes the features of one issue row that all leads share.
    fn write(&self, frame: &Frame, issue: usize, features: &mut [f64]) {
        let at = |row, column| f64::from(frame.at(row, column));
        let (lags, others) = features.split_at_mut(self.lags * self.targets.len());
        let (others, forecasts) = others.split_at_mut(2 * self.others.len());
        for (lags, &target) in lags.chunks_exact_mut(self.lags).zip(&self.targets) {
            let last = at(issue, target);
            for (lag, feature) in lags.iter_mut().enumerate() {
                *feature = if lag == 0 {
                    last
                } else {
                    at(issue - lag, target) - last
                };
            }
        }
        for (pair, &column) in others.chunks_exact_mut(2).zip(&self.others) {
            pair[0] = at(issue, column);
            pair[1] = at(issue - 1, column);
        }
        let leads = (1..).map(|lead| frame.forecast_at(issue, lead));
        let known = leads.take_while(|values| !values.is_empty()).flatten();
        for (feature, &value) in forecasts.iter_mut().zip(known) {
            *feature = f64::from(value);
        }
    }

    /// What is known of a row ahead.
    fn known_at<'a>(&'a self, frame: &'a Frame, row: usize) -> impl Iterator<Item = f32> + 'a {
        self.known.iter().map(move |&column| frame.at(row, column))
    }
}

impl Point for Ridge {
    fn rows_needed(&self, frame: &Frame) -> Result<usize> {
        let found = Inputs {
            forecasts: self.inputs.forecasts,
            ..Inputs::of(&frame.columns, self.inputs.lags, 0)
        };
        ensure!(
            found == self.inputs,
            "the model was fitted on {}, the data have {}",
            self.inputs.told(),
            found.told()
        );
        Ok(self.inputs.rows())
    }

    fn point(&self, frame: &Frame, issue: usize, targets: &[usize], forecast: &mut [f32]) {
        let count = self.inputs.count();
        let mut features = vec![1.0; count + 1];
        self.inputs.write(frame, issue, &mut features[..count]);
        let horizon = forecast.len() / targets.len();
        for (leads, &target) in forecast.chunks_exact_mut(horizon).zip(targets) {
            leads.fill(frame.at(issue, target));
        }
        let (shared, own) = self.coefficients.split_at((count + 1) * forecast.len());
        for (feature, row) in features.iter().zip(shared.chunks_exact(forecast.len())) {
            let feature = *feature as f32;
            for (value, coefficient) in forecast.iter_mut().zip(row) {
                *value += feature * coefficient;
            }
        }
        for (cell, value) in forecast.iter_mut().enumerate() {
            let known = self.inputs.known_at(frame, issue + 1 + cell % horizon);
            let coefficients = own.iter().skip(cell).step_by(targets.len() * horizon);
            *value += known.zip(coefficients).map(|(x, w)| x * w).sum::<f32>();
        }
    }
}

/// Makes [`Ridge`].
pub(super) struct RidgeFamily;

impl RidgeFamily {
    fn params(model: &ModelParams) -> Result<RidgeParams> {
        match model.architecture {
            Architecture::Ridge(params) => Ok(params),
            _ => bail!("parameters of kind `{}` for a ridge model", model.kind()),
        }
    }
}

impl Family for RidgeFamily {
    fn kind(&self) -> &'static str {
        "ridge"
    }

    fn fit(&self, task: &FitTask<'_>, _: &mut dyn Monitor) -> Result<Fitted> {
        let params = Self::params(task.model)?;
        let inputs = Inputs::of(&task.frame.columns, params.lags, task.model.horizon);
        residual::require_lookback(inputs.rows(), task.model)?;

        let coefficients = solve(&inputs, task, params.penalty)?;
        let array = Array {
            shape: inputs.shape(task.model.horizon).to_vec(),
            values: coefficients.clone(),
        };
        let ridge = Ridge {
            inputs,
            coefficients,
        };
        residual::finish(
            ridge,
            task,
            Weights::from([(COEFFICIENTS.to_owned(), array)]),
        )
    }

    fn load(&self, task: &LoadTask<'_>, weights: &Weights) -> Result<Box<dyn Forecaster>> {
        let inputs = Inputs::of(
            task.columns,
            Self::params(task.model)?.lags,
            task.model.horizon,
        );
        let shape = inputs.shape(task.model.horizon);
        let coefficients = residual::weight(weights, COEFFICIENTS, &shape)?.to_vec();
        let ridge = Ridge {
            inputs,
            coefficients,
        };
        residual::restore(ridge, task, weights)
    }
}

/// The coefficients, of the shape of the inputs; cells are the leads of one target after the other.
fn solve(inputs: &Inputs, task: &FitTask<'_>, penalty: f64) -> Result<Vec<f32>> {
    let horizon = task.model.horizon;
    let [unknowns, cells] = inputs.shape(horizon);
    let shape = Shape {
        shared: inputs.count() + 1,
        own: inputs.known.len(),
        groups: horizon,
        sides: inputs.targets.len(),
    };
    let mut normal = Normal::new(shape);
    let with_gaps = add_windows(&mut normal, inputs, task, 0..cells, task.train);
    let dependent = || {
        anyhow!(
            "the columns are linearly dependent, so a ridge model needs a model.penalty above {penalty}"
        )
    };
    if with_gaps.is_empty() {
        ensure!(
            normal.windows > 0,
            "the training part has no window to fit a ridge model on"
        );
        let solution = normal.solve(penalty).ok_or_else(dependent)?;
        return Ok(solution.into_iter().map(|value| value as f32).collect());
    }
    let mut coefficients = vec![0.0; unknowns * cells];
    for cell in 0..cells {
        let mut normal = normal.of(cell % horizon, cell / horizon);
        add_windows(&mut normal, inputs, task, cell..cell + 1, &with_gaps);
        ensure!(
            normal.windows > 0,
            "the training part has no window to fit a ridge model on with a value of {} at lead {}",
            task.frame.columns[inputs.targets[cell / task.model.horizon]].name,
            cell % task.model.horizon + 1
        );
        let solution = normal.solve(penalty).ok_or_else(dependent)?;
        for (row, value) in coefficients.chunks_exact_mut(cells).zip(solution) {
            row[cell] = value as f32;
        }
    }
    Ok(coefficients)
}

/// Adds every window in which some cells were observed, all of them, those of several parts side by side. Gives back
/// those in which some were not. How they are parted is a matter of their number alone, not of the machine: a sum of
/// floats depends on its order.
fn add_windows(
    normal: &mut Normal,
    inputs: &Inputs,
    task: &FitTask<'_>,
    cells: Range<usize>,
    issues: &[usize],
) -> Vec<usize> {
    /// Each has sums of its own.
    const PARTS: usize = 4;
    /// Fewer are added before other threads are there.
    const LEAST: usize = 4096;
    let of_part = issues.len().div_ceil(PARTS).max(LEAST);
    let shape = normal.shape;
    let sum = |issues: &[usize]| sum_of(shape, inputs, task, cells.clone(), issues);
    let parts: Vec<(Normal, Vec<usize>)> = issues.par_chunks(of_part).map(sum).collect();
    for (part, _) in &parts {
        normal.add_all(part);
    }
    parts
        .into_iter()
        .flat_map(|(_, left_out)| left_out)
        .collect()
}

/// The sums over the windows of a part: their features, the constant, what is known of their leads, and the
/// changes. Those in which some cells were not observed stand apart.
fn sum_of(
    shape: Shape,
    inputs: &Inputs,
    task: &FitTask<'_>,
    cells: Range<usize>,
    issues: &[usize],
) -> (Normal, Vec<usize>) {
    let mut normal = Normal::new(shape);
    let (frame, horizon) = (task.frame, task.model.horizon);
    let (count, width) = (inputs.count(), shape.width());
    let mut left_out = Vec::new();
    let mut block = vec![0.0; BLOCK * width];
    let mut filled = 0;
    for &issue in issues {
        let row = &mut block[filled * width..(filled + 1) * width];
        inputs.write(frame, issue, &mut row[..count]);
        row[count] = 1.0;
        let (features, changes) = row.split_at_mut(shape.first_side());
        let leads = cells.clone().take(shape.groups).map(|cell| cell % horizon);
        let known = leads.flat_map(|lead| inputs.known_at(frame, issue + 1 + lead));
        for (feature, value) in features[count + 1..].iter_mut().zip(known) {
            *feature = f64::from(value);
        }
        for (change, cell) in changes.iter_mut().zip(cells.clone()) {
            let target = inputs.targets[cell / horizon];
            let truth = frame.truth(issue + 1 + cell % horizon, target);
            *change = f64::from(truth) - f64::from(frame.at(issue, target));
        }
        // A window with a gap stays in the block only until the next one takes its place.
        if row.iter().all(|value| value.is_finite()) {
            filled += 1;
        } else {
            left_out.push(issue);
        }
        if filled == BLOCK {
            normal.add(&block, filled);
            filled = 0;
        }
    }
    block[filled * width..].fill(0.0);
    normal.add(&block, filled);
    (normal, left_out)
}

#[cfg(test)]
mod tests;
