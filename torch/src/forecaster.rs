//! A fitted net that forecasts.
//!
//! On the CPU unless something else is asked for: a forecast of one model is light, and so it gives
//! the same bytes on a host with a GPU as on one without.

use anyhow::{Result, ensure};
use krammerti::data::Frame;
use krammerti::model::{Fault, Forecaster, Issuer, LoadTask, Paths, Predictions, Weights};
use tch::{Device, Tensor};

use crate::diagnosis::{NoMemoryToForecast, is_of_memory, memory_asked};
use crate::family::architecture;
use crate::forecast::Forecast;
use crate::guard::guarded;
use crate::net::Net;
use crate::pass::Pass;
use crate::team::Team;
use crate::windows::{Inputs, Windows, seeds};
use crate::{device, weights};

/// Windows in memory at once, on the CPU for each thread, and on a GPU.
const BATCH: usize = 256;
const BATCH_CUDA: usize = 512;

/// A net with its weights.
pub(crate) struct NetForecaster {
    net: Net,
    device: Device,
    /// The series that it tells from one another; empty where it does not.
    series: Vec<String>,
    /// Of the CPU, where there is a limit other than its cores.
    threads: Option<usize>,
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
        device::use_one_thread();
        let net = guarded("load", || Ok(Net::zeros(architecture, device)))
            .map_err(|error| of_memory(error, device))?;
        weights::load(&net, weights)?;
        Ok(Self {
            net,
            device,
            series,
            threads: None,
        })
    }

    /// The same on at most so many threads, as the training was.
    pub(crate) fn on_threads(self, threads: usize) -> Self {
        Self {
            threads: Some(threads),
            ..self
        }
    }
}

/// A net that has a frame before it, on the device.
struct Over<'a> {
    model: &'a NetForecaster,
    frame: &'a Frame,
    own: Forecasting,
}

impl Over<'_> {
    fn forecast_all(&self, issues: &[usize]) -> Result<Predictions> {
        let &Self { model, frame, .. } = self;
        check_series(frame, issues, &model.series)?;
        let batch = match model.device {
            Device::Cpu => BATCH,
            _ => BATCH_CUDA,
        };
        let threads = device::useful_threads(model.device, model.threads);
        let threads = threads.min(issues.len().div_ceil(batch));
        let others: Vec<Forecasting> = (1..threads).map(|_| self.own.share()).collect();
        let team = Team::new(self.own.share(), others)?;

        let shape = model.net.architecture.shape();
        let cells = issues.len() * shape.cells() as usize;
        let mut predictions = Predictions {
            targets: shape.targets.len(),
            horizon: shape.horizon as usize,
            levels: shape.levels.clone(),
            mean: Vec::with_capacity(cells),
            quantiles: Vec::with_capacity(cells * shape.levels.len()),
        };
        let asked = issues.chunks(batch).map(|rows| Asked {
            issues: team.own().windows.issues(rows),
            seeds: seeds(frame, rows),
        });
        for made in team.each(asked.collect(), Forecasting::make) {
            let (mean, quantiles) = made?;
            predictions.mean.extend(mean);
            predictions.quantiles.extend(quantiles);
        }
        Ok(predictions)
    }
}

/// Says what to do where the memory of a GPU does not suffice.
fn of_memory(error: anyhow::Error, device: Device) -> anyhow::Error {
    match error.downcast_ref::<Fault>() {
        Some(said) if device.is_cuda() && is_of_memory(&said.message) => {
            let asked = memory_asked(&said.message);
            NoMemoryToForecast { asked }.into()
        }
        _ => error,
    }
}

impl Issuer for Over<'_> {
    fn forecast(&self, issues: &[usize]) -> Result<Predictions> {
        let made = guarded("forecast", || self.forecast_all(issues));
        made.map_err(|error| of_memory(error, self.model.device))
    }

    fn paths(&self, issue: usize) -> Result<Option<Paths>> {
        let &Self { model, frame, .. } = self;
        check_series(frame, &[issue], &model.series)?;
        let asked = Asked {
            issues: self.own.windows.issues(&[issue]),
            seeds: seeds(frame, &[issue]),
        };
        let drawn = guarded("forecast", || self.own.courses(&asked));
        let values = drawn.map_err(|error| of_memory(error, model.device))?;
        let shape = model.net.architecture.shape();
        Ok(values.map(|values| Paths {
            targets: shape.targets.len(),
            horizon: shape.horizon as usize,
            values,
        }))
    }
}

/// What a thread needs to forecast, in handles of its own.
struct Forecasting {
    windows: Windows,
    net: Net,
}

/// Windows to be forecast.
struct Asked {
    issues: Tensor,
    seeds: Vec<u64>,
}

impl Forecasting {
    fn share(&self) -> Self {
        Self {
            windows: self.windows.share(),
            net: self.net.share(),
        }
    }

    fn inputs(&self, asked: &Asked) -> Inputs {
        Inputs {
            seeds: asked.seeds.clone(),
            ..self.windows.inputs(&asked.issues)
        }
    }

    /// `[issues × paths × cells]`, of a kind that draws them.
    fn courses(&self, asked: &Asked) -> Result<Option<Vec<f32>>> {
        let _no_grad = tch::no_grad_guard();
        let (inputs, pass) = (self.inputs(asked), Pass::FORECAST);
        let tensors = self.net.tensors(pass);
        let courses = self.net.architecture.courses(&tensors, &inputs, pass);
        courses.as_ref().map(values).transpose()
    }

    /// The values of mean and quantiles.
    fn make(&self, asked: &Asked) -> Result<(Vec<f32>, Vec<f32>)> {
        let _no_grad = tch::no_grad_guard();
        let inputs = self.inputs(asked);
        let architecture = &self.net.architecture;
        let Forecast { mean, quantiles } = self
            .net
            .forecast(&inputs, Pass::FORECAST)
            .averaged(&architecture.shape().links, architecture.draws_courses());
        let quantiles = quantiles.as_ref().map(values).transpose()?;
        Ok((values(&mean)?, quantiles.unwrap_or_default()))
    }
}

impl Forecaster for NetForecaster {
    fn over<'a>(&'a self, frame: &'a Frame) -> Result<Box<dyn Issuer + 'a>> {
        let shape = self.net.architecture.shape();
        ensure!(
            frame.width() == shape.columns as usize,
            "the model was fitted on {} columns, this data set has {}",
            shape.columns,
            frame.width()
        );
        let (lookback, horizon) = (shape.lookback, shape.horizon);
        let own = guarded("forecast", || {
            Ok(Forecasting {
                windows: Windows::new(frame, lookback, horizon, &self.series, self.device),
                net: self.net.share(),
            })
        });
        let own = own.map_err(|error| of_memory(error, self.device))?;
        Ok(Box::new(Over {
            model: self,
            frame,
            own,
        }))
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
