//! The families of nets: the border between krammerti's traits and the nets.

use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use krammerti::event::{Event, Observer};
use krammerti::model::{
    Checkpoint, Epoch, Family, FitTask, Fitted, Forecaster, LoadTask, Moment, Monitor, Weights,
    Wish,
};
use krammerti::params::Architecture as Wanted;
use tch::Device;

use crate::deepar::Deepar;
use crate::diagnosis::{OutOfMemory, is_of_memory, memory_asked};
use crate::dlinear::Linear;
use crate::fit::{self, Machine, Unfit};
use crate::forecaster::NetForecaster;
use crate::generator::Randomness;
use crate::guard::{TorchError, guarded};
use crate::layers::Cell;
use crate::net::{Architecture, Shape};
use crate::progress::Progress;
use crate::recorder::Recording;
use crate::recurrent::Recurrent;
use crate::segrnn::Segrnn;
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

/// One try of a fit.
#[derive(Clone, Copy)]
struct Attempt {
    /// Of a step.
    windows: usize,
    /// Whether it goes on from a checkpoint.
    resumes: bool,
    halved: bool,
}

/// A fit that begins anew where a checkpoint does not fit, and where a GPU has too little memory, does
/// without recorded steps, and then without the half of each step's windows.
fn fit_in_memory(
    task: &FitTask<'_>,
    machine: Machine<'_>,
    monitor: &mut dyn Monitor,
) -> Result<Fitted> {
    // A training that went on with halved steps was halved before it was interrupted.
    let kept = task.resume.map(Progress::unpack).and_then(Result::ok);
    let mut attempt = Attempt {
        windows: kept.map_or(task.train_params.batch, |kept| kept.windows),
        resumes: task.resume.is_some(),
        halved: false,
    };
    loop {
        let tried = FitTask {
            resume: task.resume.filter(|_| attempt.resumes),
            ..*task
        };
        let mut counted = Counted { monitor, epochs: 0 };
        let error = match fit_once(&tried, machine, attempt.windows, &mut counted) {
            Ok(fitted) => return Ok(fitted),
            Err(error) => too_large(error, machine.device, attempt.windows.min(task.train.len())),
        };
        // What has come further is not thrown away: its checkpoint is kept, and what fills the memory may be
        // gone at the next try.
        let next = if counted.epochs > 0 {
            None
        } else {
            attempt.after(&error, task, machine)
        };
        match next {
            Some((next, told)) => {
                monitor.event(Event::warning(told));
                attempt = next;
            }
            None => return Err(error),
        }
    }
}

/// Counts the epochs that have ended.
struct Counted<'m> {
    monitor: &'m mut dyn Monitor,
    epochs: usize,
}

impl Observer for Counted<'_> {
    fn event(&mut self, event: Event) {
        self.monitor.event(event);
    }
}

impl Monitor for Counted<'_> {
    fn epoch(&mut self, epoch: &Epoch, of: usize) -> bool {
        self.epochs += 1;
        self.monitor.epoch(epoch, of)
    }

    fn between(&mut self, moment: Moment) -> Wish {
        self.monitor.between(moment)
    }

    fn keep(&mut self, checkpoint: Checkpoint) -> Result<()> {
        self.monitor.keep(checkpoint)
    }
}

impl Attempt {
    /// What to try after an error, and what to say of it.
    fn after(
        self,
        error: &anyhow::Error,
        task: &FitTask<'_>,
        machine: Machine<'_>,
    ) -> Option<(Self, String)> {
        if self.resumes && error.is::<Unfit>() {
            let anew = Self {
                windows: task.train_params.batch,
                resumes: false,
                ..self
            };
            return Some((anew, error.to_string()));
        }
        if machine.device == Device::Cpu || !error.is::<OutOfMemory>() {
            return None;
        }
        if machine.recording.give_up() {
            let wanted =
                "trying again with steps that are not recorded, which take less memory and longer";
            return Some((self, format!("{error}; {wanted}")));
        }
        // A step has no more than all of them.
        let windows = self.windows.min(task.train.len());
        // With halved steps nothing goes on from a checkpoint.
        if self.halved || self.resumes || windows <= 1 {
            return None;
        }
        let halved = Self {
            windows: windows.div_ceil(2),
            halved: true,
            ..self
        };
        let told = format!(
            "{error}; trying once with steps of {} windows, which makes another model",
            halved.windows
        );
        Some((halved, told))
    }
}

fn too_large(error: anyhow::Error, device: Device, windows: usize) -> anyhow::Error {
    match error.downcast_ref::<TorchError>() {
        Some(said) if is_of_memory(&said.message) => OutOfMemory {
            device: if device == Device::Cpu { "CPU" } else { "GPU" },
            windows,
            asked: memory_asked(&said.message),
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
