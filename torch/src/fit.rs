//! The training of a net.
//!
//! Shuffled windows, `AdamW` with a clipped gradient, one schedule for the rate, and a running
//! average of the weights. The average is what is validated, kept and given back: it is smoother
//! than the weights of any one step. It stops when the validation loss has not become better for
//! `train.patience` epochs, and gives back the best.
//!
//! On the CPU the windows of a step are cut into parts, which threads work on beside each other. The
//! cut depends on the windows alone, so for one seed a training is repeatable to the bit whatever the
//! number of threads, interrupted or not.

mod losses;
mod readiness;
mod step;
mod validation;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use krammerti::event::Event;
use krammerti::model::{Checkpoint, Epoch, FitTask, Interrupted, Moment, Monitor, Wish};
use krammerti::params::TrainParams;
use tch::{Device, Kind, Tensor};

use self::losses::Losses;
use self::readiness::{fill_bases, no_bases, replica, seen_and_unseen, team_of};
use crate::architecture::Architecture;
use crate::generator::Randomness;
use crate::graph::Stream;
use crate::net::Net;
use crate::optimizer::AdamW;
use crate::progress::{self, Progress};
use crate::recorder::{Recorder, Recording};
use crate::replica::Replica;
use crate::schedule::Schedule;
use crate::team::Team;
use crate::{diagnosis, fused, process};

/// The least time between two reports of progress. Reading the loss for one makes a GPU wait.
const REPORT_EVERY: Duration = Duration::from_millis(500);

/// Notes of what makes a training on a GPU slower than it could be. `scripts/gpu-check` knows them.
const NOT_RECORDED: &str = "slow: steps cannot be recorded on this GPU";
const NO_KERNELS: &str = "slow: there are no kernels for recurrent layers on this GPU";

/// What is solved anew may go ill with the weights of before.
const NO_BEGINNING: &str = "the weights of --warm-start forecast what is no number on the validation part, so they are not kept if no epoch is better";

/// A checkpoint that this training cannot go on from: the training is to begin anew.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the kept checkpoint is not used, the training begins anew: {0}")]
pub(crate) struct Unfit(pub(crate) String);

/// Where, in which numbers, by how many threads and with whose randomness a net is trained.
#[derive(Clone, Copy)]
pub(crate) struct Machine<'a> {
    pub(crate) device: Device,
    pub(crate) kind: Kind,
    pub(crate) threads: usize,
    pub(crate) randomness: &'a Randomness,
    pub(crate) recording: &'a Recording,
}

/// Trains a net in steps of so many windows; gives it back with its best weights, and what happened.
pub(crate) fn fit(
    task: &FitTask<'_>,
    architecture: Arc<dyn Architecture>,
    series: &[String],
    machine: Machine<'_>,
    windows: usize,
    monitor: &mut dyn Monitor,
) -> Result<(Net, Vec<Epoch>)> {
    let _stream = Stream::enter(machine.device);
    if monitor.between(Moment::Solve) == Wish::KeepAndEnd {
        return Err(Interrupted { epoch: 1 }.into());
    }
    let mut trainer = Trainer::new(task, architecture, series, machine, windows)?;
    if let Some(checkpoint) = task.resume {
        match trainer.resume(checkpoint) {
            Ok(()) => monitor.event(Event::note(trainer.resumed())),
            Err(error) => {
                return Err(Unfit(error.to_string()).into());
            }
        }
    }
    let is_at_beginning = trainer.history.is_empty() && trainer.progress.steps == 0;
    if task.warm_start.is_some() && is_at_beginning {
        trainer.judge_beginning(monitor)?;
    }
    while !trainer.is_done() {
        trainer.epoch(monitor)?;
    }
    if trainer.progress.best_epoch.is_some() {
        trainer.net().parameters.assign(&trainer.best);
    }
    trainer.average_unseen();
    Ok((trainer.team.into_own().net, trainer.history))
}

struct Trainer<'a> {
    task: &'a FitTask<'a>,
    params: &'a TrainParams,
    machine: Machine<'a>,
    team: Team<Replica>,
    optimizer: AdamW,
    /// The places of the series that windows of the training are of, and those of the others.
    seen: (Vec<i64>, Vec<i64>),
    /// On a GPU.
    recorder: Option<Recorder<'a>>,
    schedule: Schedule,
    average: Tensor,
    best: Tensor,
    progress: Progress,
    history: Vec<Epoch>,
    ended: bool,
    told_of_layers: bool,
    /// Steps that a GPU may be asked for before it is waited for.
    most_ahead: usize,
}

/// Whether a training is to end now.
fn is_to_end(monitor: &mut dyn Monitor) -> bool {
    monitor.between(Moment::Step) == Wish::KeepAndEnd
}

impl<'a> Trainer<'a> {
    fn new(
        task: &'a FitTask<'a>,
        architecture: Arc<dyn Architecture>,
        series: &[String],
        machine: Machine<'a>,
        batch: usize,
    ) -> Result<Self> {
        if machine.device == Device::Cpu {
            process::keep_memory();
        }
        let params = task.train_params;
        let mut own = replica(task, architecture, series, machine)?;
        if own.has_bases(task.frame.rows()) {
            own.bases = Some(no_bases(&own, task.frame.rows()));
        }
        let team = team_of(own, machine)?;
        fill_bases(&team, task.validation);
        if params.stride == 1 {
            fill_bases(&team, task.train);
        }
        let flat = team.own().net.parameters.flat();
        let windows = task.windows_of_epoch();
        let batches = windows.div_ceil(batch);
        Ok(Self {
            task,
            params,
            machine,
            optimizer: AdamW::new(flat),
            seen: seen_and_unseen(task, series),
            // A step has no more windows than there are.
            recorder: (machine.device != Device::Cpu)
                .then(|| Recorder::new(batch.min(windows), flat.device(), machine.recording)),
            schedule: Schedule::new(params, batches),
            average: flat.copy(),
            best: flat.copy(),
            team,
            progress: Progress::new(batch),
            history: Vec::new(),
            ended: false,
            told_of_layers: false,
            most_ahead: 1,
        })
    }

    fn net(&self) -> &Net {
        &self.team.own().net
    }

    /// Of what a training began with, series may have been learnt before.
    fn average_unseen(&self) {
        if self.task.warm_start.is_none() {
            let (seen, unseen) = &self.seen;
            self.net().average_unseen(seen, unseen);
        }
    }

    /// Takes up where a checkpoint was kept.
    fn resume(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        let progress = Progress::unpack(checkpoint)?;
        ensure!(
            progress.windows == self.progress.windows,
            "the checkpoint is of steps of {} windows",
            progress.windows
        );
        self.progress = progress;
        self.history.clone_from(&checkpoint.history);
        for (name, tensor) in self.kept() {
            progress::restore(checkpoint, name, tensor)?;
        }
        let epoch = self.progress.epoch - 1;
        self.ended = epoch > 0
            && self.progress.batch == 0
            && self.progress.is_stale(epoch, self.params.patience);
        Ok(())
    }

    fn resumed(&self) -> String {
        let Progress { epoch, batch, .. } = self.progress;
        let epochs = self.params.epochs;
        if self.is_done() {
            return "going on: all epochs were done before".to_owned();
        }
        let batches = self.batches();
        format!("going on with epoch {epoch} of {epochs} after {batch} of {batches} steps")
    }

    /// The tensors of a checkpoint by name.
    fn kept(&self) -> [(&'static str, &Tensor); 5] {
        let [first, second] = self.optimizer.moments();
        [
            ("average", &self.average),
            ("best", &self.best),
            ("first_moment", first),
            ("second_moment", second),
            ("weights", self.net().parameters.flat()),
        ]
    }

    fn is_done(&self) -> bool {
        self.ended || self.progress.epoch > self.params.epochs
    }

    fn batches(&self) -> usize {
        self.task.windows_of_epoch().div_ceil(self.progress.windows)
    }

    /// What a warm start begins with may be better than all that comes of it, so it is judged as an epoch is.
    fn judge_beginning(&mut self, monitor: &mut dyn Monitor) -> Result<()> {
        let validated = match self.validate(monitor) {
            Err(error) if error.is::<diagnosis::NotFinite>() => {
                monitor.event(Event::warning(NO_BEGINNING.to_owned()));
                return Ok(());
            }
            validated => validated?,
        };
        let Some((validation_loss, validation_rmse)) = validated else {
            return self.heed(Wish::KeepAndEnd, monitor);
        };
        self.judged(
            Epoch {
                epoch: 0,
                train_loss: None,
                validation_loss,
                validation_rmse,
                learning_rate: 0.0,
            },
            monitor,
        );
        Ok(())
    }

    /// Adds to the history, and keeps the weights where there are none better.
    fn judged(&mut self, line: Epoch, monitor: &mut dyn Monitor) {
        if self.progress.take_if_best(&line) {
            self.best.copy_(&self.average);
        }
        self.history.push(line);
        let stale = self.progress.is_stale(line.epoch, self.params.patience);
        self.ended = !monitor.epoch(&line, self.params.epochs) || stale;
    }

    fn epoch(&mut self, monitor: &mut dyn Monitor) -> Result<()> {
        let train_loss = self.train(monitor)?;
        let learning_rate = self.schedule.rate(self.progress.steps - 1);
        let Some((validation_loss, validation_rmse)) = self.validate(monitor)? else {
            // All steps of the epoch are made, so a training that goes on begins with validating.
            return self.heed(Wish::KeepAndEnd, monitor);
        };
        let line = Epoch {
            epoch: self.progress.epoch,
            train_loss: Some(train_loss),
            validation_loss,
            validation_rmse,
            learning_rate,
        };
        self.progress.epoch += 1;
        self.progress.batch = 0;
        self.progress.losses = 0.0;
        self.judged(line, monitor);
        let wish = monitor.between(Moment::Epoch);
        self.heed(wish, monitor)
    }

    /// The rest of an epoch; gives back the mean loss of all of it.
    fn train(&mut self, monitor: &mut dyn Monitor) -> Result<f64> {
        let (params, epoch) = (self.params, self.progress.epoch);
        let order = progress::order(self.task.train, params.stride, params.seed, epoch);
        if params.stride > 1 {
            fill_bases(&self.team, &order);
        }
        let count = order.len();
        let order = self.team.own().windows.issues(&order);
        let batches = order.split(self.progress.windows as i64, 0);
        if let Some(mut recorder) = self.recorder.take() {
            let first = self.progress.steps - self.progress.batch;
            recorder.begin((0..batches.len()).map(|batch| self.factors(first + batch)));
            self.recorder = Some(recorder);
        }
        let mut since = Losses::begin(self.most_ahead);
        let (first, began) = (self.progress.batch, Instant::now());
        let mut reported = began;
        for batch in self.progress.batch..batches.len() {
            let issues = &batches[batch];
            let Some(loss) = self.step(batch, issues, monitor) else {
                self.take_in(&mut since, &batches)?;
                self.keep(monitor)?;
                return Err(self.interrupted());
            };
            since.push(loss, issues.size()[0] as usize);
            self.tell_what_is_slow(monitor);
            self.progress.batch = batch + 1;
            let last = batch + 1 == batches.len();
            let report = last || reported.elapsed() >= REPORT_EVERY;
            if report {
                reported = Instant::now();
                self.take_in(&mut since, &batches)?;
                let windows = self.progress.windows;
                let seen = (self.progress.batch * windows).min(count) - first * windows;
                let rate = seen as f64 / began.elapsed().as_secs_f64();
                monitor.event(self.told(batches.len(), count, rate));
            }
            // The end of an epoch is a moment of its own, after its validation.
            let wish = if last {
                Wish::GoOn
            } else {
                monitor.between(Moment::Step)
            };
            if wish != Wish::GoOn || since.are_many() {
                self.take_in(&mut since, &batches)?;
                self.heed(wish, monitor)?;
            }
        }
        self.most_ahead = since.most();
        Ok(self.progress.losses / count as f64)
    }

    /// Of a GPU, each once.
    fn tell_what_is_slow(&mut self, monitor: &mut dyn Monitor) {
        let Some(recorder) = &mut self.recorder else {
            return;
        };
        if let Some(reason) = recorder.failure() {
            monitor.event(Event::note(format!("{NOT_RECORDED}: {reason}")));
        }
        if let Some(reason) = fused::failure().filter(|_| !self.told_of_layers) {
            monitor.event(Event::note(format!("{NO_KERNELS}: {reason}")));
            self.told_of_layers = true;
        }
    }

    /// Reads the losses since the last time, which makes a GPU wait, and ends where one is odd.
    fn take_in(&mut self, since: &mut Losses, batches: &[Tensor]) -> Result<()> {
        let first = self.progress.batch - since.len();
        for (place, (loss, windows)) in since.take()?.into_iter().enumerate() {
            if !loss.is_finite() {
                let batch = first + place;
                return Err(diagnosis::NotFinite {
                    what: "loss",
                    value: loss,
                    epoch: self.progress.epoch,
                    place: diagnosis::Place::Batch {
                        batch: batch + 1,
                        of: batches.len(),
                    },
                    learning_rate: self.params.learning_rate,
                    columns: self.odd_columns(&batches[batch]),
                }
                .into());
            }
            self.progress.losses += loss * windows as f64;
        }
        Ok(())
    }

    /// Columns that hold odd values in some windows, the horizons included.
    fn odd_columns(&self, issues: &Tensor) -> Vec<(String, f64)> {
        let windows = &self.team.own().windows;
        diagnosis::odd_columns(
            &windows.inputs(issues),
            &windows.truth(issues),
            &self.task.frame.columns,
        )
    }

    /// Does what is wished for between two steps.
    fn heed(&mut self, wish: Wish, monitor: &mut dyn Monitor) -> Result<()> {
        if wish == Wish::GoOn {
            return Ok(());
        }
        self.keep(monitor)?;
        if wish == Wish::Keep {
            return Ok(());
        }
        // After the last epoch too: whoever told us to end takes no result any more.
        Err(self.interrupted())
    }

    fn keep(&self, monitor: &mut dyn Monitor) -> Result<()> {
        monitor.keep(self.progress.pack(&self.history, &self.kept())?)
    }

    fn interrupted(&self) -> anyhow::Error {
        let epoch = self.progress.epoch.min(self.params.epochs);
        Interrupted { epoch }.into()
    }

    /// Steps of the whole training, so that the time left is that of the whole training too; and at how
    /// many windows a second it goes.
    fn told(&self, batches: usize, count: usize, rate: f64) -> Event {
        let epochs = self.params.epochs;
        let Progress {
            epoch,
            batch,
            losses,
            ..
        } = self.progress;
        let seen = (batch * self.progress.windows).min(count);
        let mut message = format!("epoch {epoch}/{epochs}  loss {:.3}", losses / seen as f64);
        if let Some(last) = self.history.last() {
            message.push_str(&format!("  val {:.3}", last.validation_loss));
        }
        // Short, so that it stands on a line of 80 columns with the time left.
        message.push_str(&format!("  {rate:.0} win/s"));
        Event::Progress {
            stage: None,
            what: "step".to_owned(),
            done: self.progress.steps as u64,
            total: (batches * epochs) as u64,
            message,
        }
    }
}
