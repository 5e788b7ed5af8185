//! Tries of a fit: what is tried next where a checkpoint does not fit, or memory does not suffice.

use anyhow::Result;
use krammerti::event::{Event, Observer};
use krammerti::model::{Checkpoint, Epoch, FitTask, Fitted, Moment, Monitor, Wish};
use tch::Device;

use super::{fit_once, too_large};
use crate::diagnosis::OutOfMemory;
use crate::fit::{Machine, Unfit};
use crate::progress::Progress;

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
pub(super) fn fit_in_memory(
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
            Err(error) => {
                let windows = attempt.windows.min(task.windows_of_epoch());
                too_large(error, machine.device, windows, task.model.kind())
            }
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

/// Counts the epochs that have ended, but for the one that is no training.
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
        self.epochs += usize::from(epoch.train_loss.is_some());
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
        let windows = self.windows.min(task.windows_of_epoch());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::Randomness;
    use crate::recorder::Recording;
    use anyhow::anyhow;
    use krammerti::data::{Frame, Scaler};
    use krammerti::params::{Architecture, LinearParams, ModelParams, TargetBounds, TrainParams};
    use krammerti::time::Step;
    use tch::Kind;

    const BATCH: usize = 256;

    /// What is tried after an error, of a training of 100 windows.
    fn after(
        attempt: Attempt,
        error: impl Into<anyhow::Error>,
        device: Device,
        recording: &Recording,
    ) -> Option<(Attempt, String)> {
        let machine = Machine {
            device,
            kind: Kind::Float,
            threads: 1,
            randomness: &Randomness::of(Device::Cpu),
            recording,
        };
        let params = LinearParams {
            kernel: 3,
            members: 1,
        };
        let task = FitTask {
            frame: &Frame::single(0, Step::HOUR, vec![], vec![]),
            train: &[0; 100],
            validation: &[],
            train_rows: &[],
            sample_weights: None,
            model: &ModelParams {
                lookback: 3,
                horizon: 1,
                quantiles: vec![],
                bounds: TargetBounds::default(),
                correction: None,
                architecture: Architecture::Linear(params),
            },
            train_params: &TrainParams {
                batch: BATCH,
                ..TrainParams::default()
            },
            targets: &[Scaler::IDENTITY],
            resume: None,
            warm_start: None,
        };
        attempt.after(&error.into(), &task, machine)
    }

    fn first() -> Attempt {
        Attempt {
            windows: BATCH,
            resumes: false,
            halved: false,
        }
    }

    fn out_of_memory() -> OutOfMemory {
        OutOfMemory {
            device: "GPU",
            windows: 100,
            asked: None,
            kind: "linear",
        }
    }

    #[test]
    fn a_gpu_without_memory_tries_half_of_the_windows_once() {
        let gpu = Device::Cuda(0);
        let recording = Recording::wanted();
        let (halved, told) = after(first(), out_of_memory(), gpu, &recording).unwrap();
        // A step never had more than all of them.
        assert_eq!((halved.windows, halved.halved), (50, true));
        assert!(
            told.contains("trying once with steps of 50 windows"),
            "{told}"
        );
        assert!(after(halved, out_of_memory(), gpu, &recording).is_none());
        for attempt in [
            Attempt {
                resumes: true,
                ..first()
            },
            Attempt {
                windows: 1,
                ..first()
            },
        ] {
            assert!(after(attempt, out_of_memory(), gpu, &recording).is_none());
        }
        assert!(after(first(), out_of_memory(), Device::Cpu, &recording).is_none());
        assert!(after(first(), anyhow!("another error"), gpu, &recording).is_none());
    }

    #[test]
    fn recorded_steps_are_given_up_first() {
        let recording = Recording::wanted();
        recording.done();
        let gpu = Device::Cuda(0);
        let (same, told) = after(first(), out_of_memory(), gpu, &recording).unwrap();
        assert_eq!((same.windows, same.halved), (BATCH, false));
        assert!(told.contains("not recorded"), "{told}");
        let (halved, _) = after(same, out_of_memory(), gpu, &recording).unwrap();
        assert!(halved.halved);
    }

    #[test]
    fn a_checkpoint_that_does_not_fit_is_left_with_its_windows() {
        let going_on = Attempt {
            windows: 64,
            resumes: true,
            halved: false,
        };
        let unfit = || Unfit("of another net".to_owned());
        let recording = Recording::wanted();
        let (anew, told) = after(going_on, unfit(), Device::Cpu, &recording).unwrap();
        assert_eq!((anew.windows, anew.resumes), (BATCH, false));
        assert!(told.contains("of another net"), "{told}");
        assert!(after(anew, unfit(), Device::Cpu, &recording).is_none());
    }
}
