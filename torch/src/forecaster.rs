//! A fitted net that forecasts.
//!
//! On the CPU unless something else is asked for: a forecast of one model is light, and so it gives
//! the same bytes on a host with a GPU as on one without.

use anyhow::{Result, ensure};
use krammerti::data::Frame;
use krammerti::model::{Forecaster, LoadTask, Predictions, Weights};
use tch::{Device, Tensor};

use crate::family::architecture;
use crate::guard::guarded;
use crate::net::{Forecast, Net, Pass};
use crate::windows::{Windows, seeds};
use crate::{device, weights};

/// Windows in memory at once.
const BATCH: usize = 1024;

/// A net with its weights.
pub(crate) struct NetForecaster {
    net: Net,
    device: Device,
    /// The series that it tells from one another; empty where it does not.
    series: Vec<String>,
}

impl NetForecaster {
    /// Rebuilds a net from its weights.
    pub(crate) fn load(task: &LoadTask<'_>, weights: &Weights) -> Result<Self> {
        let architecture = architecture(task)?;
        let series = if architecture.knows_series() {
            task.series.to_vec()
        } else {
            Vec::new()
        };
        let (device, _) = device::choose(task.device)?;
        device::use_threads(device::useful_threads());
        let net = Net::zeros(architecture, device);
        weights::load(&net, weights)?;
        Ok(Self {
            net,
            device,
            series,
        })
    }

    fn forecast_all(&self, frame: &Frame, issues: &[usize]) -> Result<Predictions> {
        let _no_grad = tch::no_grad_guard();
        let shape = self.net.architecture.shape();
        let (lookback, horizon) = (shape.lookback, shape.horizon);
        check_series(frame, issues, &self.series)?;
        let windows = Windows::new(frame, lookback, horizon, &self.series, self.device);
        let cells = issues.len() * horizon as usize;
        let mut predictions = Predictions {
            horizon: horizon as usize,
            levels: shape.levels.clone(),
            mean: Vec::with_capacity(cells),
            quantiles: Vec::with_capacity(cells * shape.levels.len()),
        };
        for batch in issues.chunks(BATCH) {
            let mut inputs = windows.inputs(&windows.issues(batch));
            inputs.seeds = seeds(frame, batch);
            let Forecast { mean, quantiles } = self
                .net
                .forecast(&inputs, Pass::FORECAST)
                .averaged(&shape.link);
            predictions.mean.extend(values(&mean)?);
            if let Some(quantiles) = quantiles {
                predictions.quantiles.extend(values(&quantiles)?);
            }
        }
        Ok(predictions)
    }
}

impl Forecaster for NetForecaster {
    fn forecast(&self, frame: &Frame, issues: &[usize]) -> Result<Predictions> {
        let columns = self.net.architecture.shape().columns as usize;
        ensure!(
            frame.width() == columns,
            "the model was fitted on {columns} columns, this data set has {}",
            frame.width()
        );
        guarded("forecast", || self.forecast_all(frame, issues))
    }
}

/// Other series of the frame may be unknown; those that are forecast may not.
fn check_series(frame: &Frame, issues: &[usize], known: &[String]) -> Result<()> {
    for block in frame.layout.blocks() {
        let is_known = known.is_empty() || known.contains(&block.name);
        ensure!(
            is_known || !issues.iter().any(|issue| block.rows.contains(issue)),
            "the model was not trained on the series `{}`; train it again with that series, or use \
             a kind that does not tell series apart, such as lstm",
            block.name
        );
    }
    Ok(())
}

fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    let flat = tensor.reshape([-1]).to(Device::Cpu);
    Ok(Vec::<f32>::try_from(flat)?)
}
