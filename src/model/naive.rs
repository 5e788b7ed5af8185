//! The forecasts that any other one must beat: the last value goes on, the last season repeats.
//!
//! They have no weights but the quantiles of their errors. They must not know what a season
//! means; its length is a parameter.

use anyhow::{Result, ensure};

use super::residual::{self, Point};
use super::{Family, FitTask, Fitted, Forecaster, LoadTask, Monitor, Weights};
use crate::data::Frame;
use crate::params::{Architecture, Contradiction, ModelParams};
use crate::time::Step;

/// The last value goes on: the forecast for every lead is a target's value at the issue row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Persistence;

impl Point for Persistence {
    fn rows_needed(&self, _: &Frame) -> Result<usize> {
        Ok(1)
    }

    fn point(&self, frame: &Frame, issue: usize, targets: &[usize], forecast: &mut [f32]) {
        let horizon = forecast.len() / targets.len();
        for (leads, &target) in forecast.chunks_exact_mut(horizon).zip(targets) {
            leads.fill(frame.at(issue, target));
        }
    }
}

/// The last full season repeats, as often as the horizon asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeasonalNaive {
    /// Length of the season; a whole number of steps of the frame.
    pub season: Step,
}

impl SeasonalNaive {
    fn rows(self, step: Step) -> usize {
        (self.season.seconds() / step.seconds()) as usize
    }
}

impl Point for SeasonalNaive {
    fn rows_needed(&self, frame: &Frame) -> Result<usize> {
        let (season, step) = (self.season, frame.step());
        let such_as = || step.usual_season().unwrap_or(step);
        ensure!(
            season.seconds() % step.seconds() == 0,
            Contradiction(format!(
                "a season of {season} is not a whole number of steps of {step}; model.season, or evaluate.season of \
                 a baseline, may be one that is, such as {}",
                such_as()
            ))
        );
        Ok(self.rows(step))
    }

    fn point(&self, frame: &Frame, issue: usize, targets: &[usize], forecast: &mut [f32]) {
        let horizon = forecast.len() / targets.len();
        let season = self.rows(frame.step());
        let first = issue + 1 - season;
        for (leads, &target) in forecast.chunks_exact_mut(horizon).zip(targets) {
            for (lead, value) in leads.iter_mut().enumerate() {
                *value = frame.at(first + lead % season, target);
            }
        }
    }
}

/// Makes [`Persistence`].
pub(super) struct PersistenceFamily;

impl Family for PersistenceFamily {
    fn kind(&self) -> &'static str {
        "persistence"
    }

    fn fit(&self, task: &FitTask<'_>, _: &mut dyn Monitor) -> Result<Fitted> {
        residual::finish(Persistence, task, Weights::new())
    }

    fn load(&self, task: &LoadTask<'_>, weights: &Weights) -> Result<Box<dyn Forecaster>> {
        residual::restore(Persistence, task, weights)
    }
}

/// Makes [`SeasonalNaive`].
pub(super) struct SeasonalFamily;

impl SeasonalFamily {
    fn model(model: &ModelParams) -> Result<SeasonalNaive> {
        let Architecture::Seasonal { season } = model.architecture else {
            anyhow::bail!("parameters of kind `{}` for a seasonal model", model.kind());
        };
        Ok(SeasonalNaive { season })
    }
}

impl Family for SeasonalFamily {
    fn kind(&self) -> &'static str {
        "seasonal"
    }

    fn fit(&self, task: &FitTask<'_>, _: &mut dyn Monitor) -> Result<Fitted> {
        residual::finish(Self::model(task.model)?, task, Weights::new())
    }

    fn load(&self, task: &LoadTask<'_>, weights: &Weights) -> Result<Box<dyn Forecaster>> {
        residual::restore(Self::model(task.model)?, task, weights)
    }
}

#[cfg(test)]
mod tests {
    use super::super::residual::testing::{fit, forecast, frame, message, model};
    use super::*;

    fn seasonal(season: &str, lookback: usize, horizon: usize, levels: &[f64]) -> ModelParams {
        let season = season.parse().expect("a step");
        model(Architecture::Seasonal { season }, lookback, horizon, levels)
    }

    fn ramp(rows: usize) -> Frame {
        frame((0..rows).map(|row| row as f32).collect(), &[])
    }

    #[test]
    fn the_last_value_goes_on() {
        let model = model(Architecture::Persistence, 1, 3, &[]);
        let forecast = forecast(&PersistenceFamily, &model, &ramp(20), &[4, 9]);
        assert_eq!(forecast.mean, [4.0, 4.0, 4.0, 9.0, 9.0, 9.0]);
        assert!(forecast.quantiles.is_empty() && forecast.levels.is_empty());
    }

    #[test]
    fn one_row_is_enough_for_persistence() {
        let model = model(Architecture::Persistence, 1, 2, &[]);
        let forecast = forecast(&PersistenceFamily, &model, &ramp(1), &[0]);
        assert_eq!(forecast.mean, [0.0, 0.0]);
    }

    #[test]
    fn a_missing_last_value_stays_missing() {
        let model = model(Architecture::Persistence, 1, 1, &[]);
        let fitted = fit(&PersistenceFamily, &model, &ramp(4)).expect("a fit");
        let gap = frame(vec![1.0, f32::NAN], &[]);
        let forecast = fitted.forecaster.forecast(&gap, &[1]).expect("forecast");
        assert!(forecast.mean[0].is_nan());
    }

    #[test]
    fn on_a_ramp_every_quantile_of_persistence_is_the_lead() {
        let model = model(Architecture::Persistence, 2, 3, &[0.1, 0.5]);
        let forecast = forecast(&PersistenceFamily, &model, &ramp(40), &[10]);
        assert_eq!(forecast.quantiles, [11.0, 11.0, 12.0, 12.0, 13.0, 13.0]);
    }

    #[test]
    fn the_last_season_repeats() {
        let model = seasonal("3h", 4, 7, &[]);
        let forecast = forecast(&SeasonalFamily, &model, &ramp(40), &[10]);
        assert_eq!(forecast.mean, [8.0, 9.0, 10.0, 8.0, 9.0, 10.0, 8.0]);
    }

    #[test]
    fn a_season_between_two_rows_is_refused() {
        let error = message(fit(
            &SeasonalFamily,
            &seasonal("90min", 4, 2, &[]),
            &ramp(40),
        ));
        assert_eq!(
            error,
            "a season of 90min is not a whole number of steps of 1h; model.season, or evaluate.season of a baseline, \
             may be one that is, such as 1d"
        );
        let error = message(fit(
            &SeasonalFamily,
            &seasonal("30min", 4, 2, &[]),
            &ramp(40),
        ));
        assert!(
            error.starts_with(
                "a season of 30min is not a whole number of steps of 1h; model.season"
            ),
            "{error}"
        );
    }

    #[test]
    fn a_season_longer_than_the_lookback_is_refused() {
        let error = message(fit(&SeasonalFamily, &seasonal("1d", 12, 2, &[]), &ramp(90)));
        assert!(
            error.contains("reads the last 24 rows, but model.lookback is 12"),
            "{error}"
        );
    }

    #[test]
    fn parameters_of_another_kind_are_refused() {
        let model = model(Architecture::Persistence, 4, 2, &[]);
        let error = message(fit(&SeasonalFamily, &model, &ramp(40)));
        assert!(error.contains("`persistence`"), "{error}");
    }
}
