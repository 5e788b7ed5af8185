//! A fitted net that forecasts.
//!
//! Always on the CPU: a forecast of one model is light, and it gives the same bytes on a host with
//! a GPU as on one without.

use anyhow::{Result, ensure};
use krammerti::data::{Frame, FrameColumn};
use krammerti::model::{Forecaster, Predictions, Weights};
use krammerti::params::ModelParams;
use tch::{Device, Tensor};

use crate::guard::guarded;
use crate::lstm::{Config, Forecast, Net};
use crate::weights;
use crate::windows::Windows;

/// Windows in memory at once.
const BATCH: usize = 1024;

/// A net with its weights.
pub(crate) struct LstmForecaster {
    net: Net,
}

impl LstmForecaster {
    /// Rebuilds a net from its weights.
    pub(crate) fn load(
        model: &ModelParams,
        columns: &[FrameColumn],
        weights: &Weights,
    ) -> Result<Self> {
        let net = Net::zeros(Config::new(model, columns)?, Device::Cpu);
        weights::load(&net, weights)?;
        Ok(Self { net })
    }

    fn forecast_all(&self, frame: &Frame, issues: &[usize]) -> Result<Predictions> {
        let _no_grad = tch::no_grad_guard();
        let config = &self.net.config;
        let (lookback, horizon) = (config.lookback as usize, config.horizon as usize);
        let windows = Windows::new(frame, lookback, horizon, Device::Cpu);
        let mut predictions = Predictions {
            horizon,
            levels: config.levels.clone(),
            mean: Vec::with_capacity(issues.len() * horizon),
            quantiles: Vec::with_capacity(issues.len() * horizon * config.levels.len()),
        };
        for batch in issues.chunks(BATCH) {
            let inputs = windows.inputs(&windows.issues(batch));
            let Forecast { mean, quantiles } = self.net.forward(&inputs, false).averaged();
            predictions.mean.extend(values(&mean)?);
            if let Some(quantiles) = quantiles {
                predictions.quantiles.extend(values(&quantiles)?);
            }
        }
        Ok(predictions)
    }
}

impl Forecaster for LstmForecaster {
    fn forecast(&self, frame: &Frame, issues: &[usize]) -> Result<Predictions> {
        let columns = self.net.config.columns as usize;
        ensure!(
            frame.width() == columns,
            "the model was fitted on {columns} columns, this data set has {}",
            frame.width()
        );
        guarded("forecast", || self.forecast_all(frame, issues))
    }
}

fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    Ok(Vec::<f32>::try_from(tensor.reshape([-1]))?)
}
