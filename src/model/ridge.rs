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
//! | 1 ]
//! ```
//!
//! by ridge regression (A. E. Hoerl and R. W. Kennard, 1970): it minimises
//! Σ (y − w·x)² + λ n |w|², where n is the number of windows and the constant is not penalised.
//! All targets and leads share the features, hence one Gram matrix, one Cholesky factor, and one
//! right-hand side for each lead of each target. Where some of them were not observed in some windows,
//! each has sums of its own, to which the windows without a gap are the common start. Sums run in `f64`
//! in the order of the windows, so that equal data give equal weights. This module must not know where
//! a window may lie.

use std::ops::Range;

use anyhow::{Result, anyhow, bail, ensure};

use super::residual::{self, Point};
use super::{Array, Family, FitTask, Fitted, Forecaster, LoadTask, Monitor, Weights};
use crate::data::{Frame, FrameColumn, Role, columns_with};
use crate::params::{Architecture, ModelParams, RidgeParams};

/// The weight that holds the linear map, `[features + 1, targets × horizon]`; the constant is its
/// last row.
const COEFFICIENTS: &str = "coefficients";
/// How many windows are added to the sums at once: enough to use each sum that is loaded from
/// memory several times, few enough to stay in registers.
const BLOCK: usize = 8;
/// A pivot that is smaller than this share of its diagonal is rounding error: the features are
/// linearly dependent.
const SINGULAR: f64 = 1e-12;

/// A fitted ridge regression.
#[derive(Clone, Debug, PartialEq)]
pub struct Ridge {
    inputs: Inputs,
    /// `[inputs.count() + 1, targets × horizon]`.
    coefficients: Vec<f32>,
}

/// What the linear map reads of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Inputs {
    lags: usize,
    targets: Vec<usize>,
    /// All columns but the targets.
    others: Vec<usize>,
    /// Values of forecasts from outside: columns times leads.
    forecasts: usize,
}

impl Inputs {
    fn of(columns: &[FrameColumn], lags: usize, horizon: usize) -> Self {
        Self {
            forecasts: columns_with(columns, Role::Forecast).len() * horizon,
            lags,
            targets: columns_with(columns, Role::Target),
            others: (0..columns.len())
                .filter(|&column| columns[column].role != Role::Target)
                .collect(),
        }
    }

    /// How many features there are without the constant: as many as lags for each target, as the
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

    /// Writes the features of one issue row.
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
        let rows = self.coefficients.chunks_exact(forecast.len());
        for (feature, row) in features.iter().zip(rows) {
            let feature = *feature as f32;
            for (value, coefficient) in forecast.iter_mut().zip(row) {
                *value += feature * coefficient;
            }
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

        let cells = inputs.targets.len() * task.model.horizon;
        let coefficients = solve(&inputs, task, cells, params.penalty)?;
        let array = Array {
            shape: vec![inputs.count() + 1, cells],
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
        let cells = inputs.targets.len() * task.model.horizon;
        let shape = [inputs.count() + 1, cells];
        let coefficients = residual::weight(weights, COEFFICIENTS, &shape)?.to_vec();
        let ridge = Ridge {
            inputs,
            coefficients,
        };
        residual::restore(ridge, task, weights)
    }
}

/// The coefficients `[inputs.count() + 1, cells]`; cells are the leads of one target after the other.
fn solve(inputs: &Inputs, task: &FitTask<'_>, cells: usize, penalty: f64) -> Result<Vec<f32>> {
    let unknowns = inputs.count() + 1;
    let mut normal = Normal::new(unknowns, cells);
    let with_gaps = normal.add_windows(inputs, task, 0..cells, task.train);
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
        let mut normal = normal.of(cell);
        normal.add_windows(inputs, task, cell..cell + 1, &with_gaps);
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

/// The normal equations `XᵀX w = Xᵀy` of many right-hand sides, side by side: `[XᵀX | XᵀY]`, of
/// which the part below the diagonal is never written.
struct Normal {
    /// Rows: features and the constant, which is the last of them.
    unknowns: usize,
    /// Columns: the unknowns and the right-hand sides.
    width: usize,
    sums: Vec<f64>,
    windows: usize,
}

impl Normal {
    fn new(unknowns: usize, sides: usize) -> Self {
        let width = unknowns + sides;
        Self {
            unknowns,
            width,
            sums: vec![0.0; unknowns * width],
            windows: 0,
        }
    }

    /// The same windows with one of the right-hand sides.
    fn of(&self, side: usize) -> Self {
        let mut one = Self::new(self.unknowns, 1);
        let rows = one.sums.chunks_exact_mut(one.width);
        for (one, row) in rows.zip(self.sums.chunks_exact(self.width)) {
            one[..self.unknowns].copy_from_slice(&row[..self.unknowns]);
            one[self.unknowns] = row[self.unknowns + side];
        }
        one.windows = self.windows;
        one
    }

    /// Adds every window in which some cells were observed, all of them: its features, the constant, and
    /// the changes. Gives back those in which some were not.
    fn add_windows(
        &mut self,
        inputs: &Inputs,
        task: &FitTask<'_>,
        cells: Range<usize>,
        issues: &[usize],
    ) -> Vec<usize> {
        let (frame, horizon) = (task.frame, task.model.horizon);
        let count = inputs.count();
        let mut left_out = Vec::new();
        let mut block = vec![0.0; BLOCK * self.width];
        let mut filled = 0;
        for &issue in issues {
            let row = &mut block[filled * self.width..(filled + 1) * self.width];
            inputs.write(frame, issue, &mut row[..count]);
            row[count] = 1.0;
            for (change, cell) in row[count + 1..].iter_mut().zip(cells.clone()) {
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
                self.add(&block, filled);
                filled = 0;
            }
        }
        block[filled * self.width..].fill(0.0);
        self.add(&block, filled);
        left_out
    }

    /// Adds `[BLOCK × width]` values, of which `filled` rows are windows and the rest is zero.
    ///
    /// The innermost loop runs over adjoining sums without a dependency between them, which is
    /// what a compiler can vectorise.
    fn add(&mut self, block: &[f64], filled: usize) {
        self.windows += filled;
        for (i, sums) in self.sums.chunks_exact_mut(self.width).enumerate() {
            let sums = &mut sums[i..];
            let rows: [&[f64]; BLOCK] = std::array::from_fn(|row| {
                let start = row * self.width + i;
                &block[start..start + sums.len()]
            });
            let factors = rows.map(|row| row[0]);
            for (j, sum) in sums.iter_mut().enumerate() {
                let mut total = *sum;
                for (row, factor) in rows.iter().zip(factors) {
                    total += factor * row[j];
                }
                *sum = total;
            }
        }
    }

    /// The solution `[unknowns × sides]` under a penalty, given as a share of the number of
    /// windows; `None` where there is no single one.
    fn solve(mut self, penalty: f64) -> Option<Vec<f64>> {
        for i in 0..self.unknowns - 1 {
            self.sums[i * self.width + i] += penalty * self.windows as f64;
        }
        self.factorise()?;
        Some(self.substitute_back())
    }

    /// Cholesky: turns `[A | B]` into `[U | U⁻ᵀB]` with `UᵀU = A`, row by row.
    fn factorise(&mut self) -> Option<()> {
        let width = self.width;
        let least: Vec<f64> = (0..self.unknowns)
            .map(|i| self.sums[i * width + i] * SINGULAR)
            .collect();
        for k in 0..self.unknowns {
            let (done, below) = self.sums.split_at_mut((k + 1) * width);
            let pivot_row = &mut done[k * width + k..];
            let pivot = pivot_row[0];
            if pivot.is_nan() || pivot <= least[k] {
                return None;
            }
            let root = pivot.sqrt();
            for value in pivot_row.iter_mut() {
                *value /= root;
            }
            for (row, i) in below.chunks_exact_mut(width).zip(1..) {
                let factor = pivot_row[i];
                for (value, pivot) in row[k + i..].iter_mut().zip(&pivot_row[i..]) {
                    *value -= factor * pivot;
                }
            }
        }
        Some(())
    }

    /// Solves `U w = b` for every right-hand side, from the last unknown to the first.
    fn substitute_back(&self) -> Vec<f64> {
        let sides = self.width - self.unknowns;
        let mut solution = vec![0.0; self.unknowns * sides];
        for i in (0..self.unknowns).rev() {
            let row = &self.sums[i * self.width..(i + 1) * self.width];
            let (above, known) = solution.split_at_mut((i + 1) * sides);
            let unknown = &mut above[i * sides..];
            unknown.copy_from_slice(&row[self.unknowns..]);
            for (factor, known) in row[i + 1..self.unknowns]
                .iter()
                .zip(known.chunks_exact(sides))
            {
                for (value, known) in unknown.iter_mut().zip(known) {
                    *value -= factor * known;
                }
            }
            for value in unknown {
                *value /= row[i];
            }
        }
        solution
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::residual::testing::{fit, forecast, frame, loading, message, model};
    use super::*;

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

    /// Solved by hand: y = 2x + 1 at x = −1, 0, 1, and with λn = 2 the slope is 4 / (2 + 2).
    #[test]
    fn a_line_by_hand() {
        let mut normal = Normal::new(2, 1);
        let mut block = vec![0.0; BLOCK * 3];
        block[..9].copy_from_slice(&[-1.0, 1.0, -1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 3.0]);
        normal.add(&block, 3);
        assert_eq!(normal.windows, 3);
        let solution = normal.solve(2.0 / 3.0).expect("a solution");
        assert!((solution[0] - 1.0).abs() < 1e-12, "{solution:?}");
        assert!(
            (solution[1] - 1.0).abs() < 1e-12,
            "the constant is not penalised"
        );
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
            let mut normal = Normal::new(inputs.count() + 1, 1);
            for issue in observed {
                let mut block = vec![0.0; BLOCK * normal.width];
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

    proptest! {
        /// At the minimum the gradient is zero: XᵀX w + λn w = Xᵀy, and without λ for the constant.
        #[test]
        fn the_solution_solves_the_normal_equations(
            windows in prop::collection::vec(prop::array::uniform5(-2.0..2.0_f64), 1..30),
        ) {
            let (unknowns, width, penalty) = (4, 6, 0.1);
            let rows: Vec<[f64; 6]> =
                windows.iter().map(|[a, b, c, y, z]| [*a, *b, *c, 1.0, *y, *z]).collect();
            let mut normal = Normal::new(unknowns, 2);
            for chunk in rows.chunks(BLOCK) {
                let mut block = chunk.concat();
                block.resize(BLOCK * width, 0.0);
                normal.add(&block, chunk.len());
            }
            let solution = normal.solve(penalty).expect("a solution");
            for i in 0..unknowns {
                for side in 0..2 {
                    let mut gradient = if i < 3 {
                        penalty * rows.len() as f64 * solution[i * 2 + side]
                    } else {
                        0.0
                    };
                    for row in &rows {
                        let fit: f64 = (0..unknowns).map(|j| row[j] * solution[j * 2 + side]).sum();
                        gradient += row[i] * (fit - row[unknowns + side]);
                    }
                    prop_assert!(gradient.abs() < 1e-8, "{gradient}");
                }
            }
        }
    }
}
