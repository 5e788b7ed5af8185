//! The families of nets: the border between krammerti's traits and the nets.

mod attempt;

use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use krammerti::event::Event;
use krammerti::model::{Family, Fault, FitTask, Fitted, Forecaster, LoadTask, Monitor, Weights};
use krammerti::params::Architecture as Wanted;
use tch::Device;

use self::attempt::fit_in_memory;
use crate::architecture::Architecture;
use crate::deepar::Deepar;
use crate::diagnosis::{OutOfMemory, is_of_memory, memory_asked};
use crate::dlinear::Linear;
use crate::fit::{self, Machine};
use crate::forecaster::NetForecaster;
use crate::generator::Randomness;
use crate::guard::guarded;
use crate::layers::Cell;
use crate::recorder::Recording;
use crate::recurrent::Recurrent;
use crate::segrnn::Segrnn;
use crate::shape::Shape;
use crate::{device, process, weights};

/// One kind of net; they differ in nothing but their architecture.
pub(crate) struct Nets(pub(crate) &'static str);

/// Every kind of net.
pub(crate) const KINDS: [&str; 5] = ["lstm", "gru", "segrnn", "linear", "deepar"];

/// The net that a model asks for.
pub(crate) fn architecture(task: &LoadTask<'_>) -> Result<Arc<dyn Architecture>> {
    let shape = Shape::new(task.model, task.columns, task.series.len(), task.targets)?;
    Ok(match &task.model.architecture {
        Wanted::Lstm(params) => Arc::new(Recurrent::new(shape, Cell::Lstm, params)),
        Wanted::Gru(params) => Arc::new(Recurrent::new(shape, Cell::Gru, params)),
        Wanted::Segrnn(params) => Arc::new(Segrnn::new(shape, params)),
        Wanted::Linear(params) => Arc::new(Linear::new(shape, params)),
        Wanted::Deepar(params) => Arc::new(Deepar::new(shape, task.columns, task.targets, params)?),
        _ => bail!("a model of kind `{}` is no net", task.model.kind()),
    })
}

impl Family for Nets {
    fn kind(&self) -> &'static str {
        self.0
    }

    fn fit(&self, task: &FitTask<'_>, monitor: &mut dyn Monitor) -> Result<Fitted> {
        ensure!(!task.train.is_empty(), "the training part has no window");
        ensure!(
            !task.validation.is_empty(),
            "the validation part has no window"
        );
        let (device, why_not) = device::choose(task.train_params.device)?;
        device::use_one_thread();
        if let Some(reason) = why_not {
            monitor.event(Event::warning(format!("training on the CPU: {reason}")));
        }
        let machine = Machine {
            device,
            kind: device::kind(task.train_params.precision, device),
            threads: device::useful_threads(device, task.train_params.threads),
            randomness: &Randomness::of(device),
            recording: &Recording::wanted(),
        };
        monitor.event(built_on(machine));
        fit_in_memory(task, machine, monitor)
    }

    fn load(&self, task: &LoadTask<'_>, weights: &Weights) -> Result<Box<dyn Forecaster>> {
        guarded("load", || {
            let forecaster = NetForecaster::load(task, weights)?;
            Ok(Box::new(forecaster) as Box<dyn Forecaster>)
        })
    }
}

/// What may move the last bits of a training.
fn built_on(machine: Machine<'_>) -> Event {
    let on_cpu = machine.device == Device::Cpu;
    let facts = [
        ("device", if on_cpu { "cpu" } else { "cuda" }.to_owned()),
        ("instructions", process::instructions()),
        ("libtorch", process::libtorch_version()),
        ("precision", device::kind_name(machine.kind).to_owned()),
        ("threads", machine.threads.to_string()),
    ];
    Event::BuiltOn {
        stage: None,
        facts: facts.map(|(name, fact)| (name.to_owned(), fact)).into(),
    }
}

fn too_large(
    error: anyhow::Error,
    device: Device,
    windows: usize,
    kind: &'static str,
) -> anyhow::Error {
    match error.downcast_ref::<Fault>() {
        Some(said) if is_of_memory(&said.message) => OutOfMemory {
            device: if device == Device::Cpu { "CPU" } else { "GPU" },
            windows,
            asked: memory_asked(&said.message),
            kind,
        }
        .into(),
        _ => error,
    }
}

fn fit_once(
    task: &FitTask<'_>,
    machine: Machine<'_>,
    windows: usize,
    monitor: &mut dyn Monitor,
) -> Result<Fitted> {
    let series = task.frame.layout.names();
    let load = LoadTask {
        model: task.model,
        step: task.frame.step(),
        columns: &task.frame.columns,
        series: &series,
        targets: task.targets,
        device: krammerti::params::Device::Cpu,
    };
    guarded("fit", || {
        let architecture = architecture(&load)?;
        let known = if architecture.knows_series() {
            series.as_slice()
        } else {
            &[]
        };
        let (net, history) = fit::fit(task, architecture, known, machine, windows, monitor)?;
        let on_cpu = device::useful_threads(Device::Cpu, task.train_params.threads);
        let weights = weights::save(&net)?;
        Ok(Fitted {
            // Rebuilt, so that it is what anyone who loads these weights will have.
            forecaster: Box::new(NetForecaster::load(&load, &weights)?.on_threads(on_cpu)),
            weights,
            history,
        })
    })
}

#[cfg(test)]
mod tests;
