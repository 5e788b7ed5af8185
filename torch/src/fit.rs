//! The training of a net.
//!
//! Shuffled windows, `AdamW` with a clipped gradient, one schedule for the rate, and a running
//! average of the weights. The average is what is validated, kept and given back: it is smoother
//! than the weights of any one step. It stops when the validation loss has not become better for
//! `train.patience` epochs, and gives back the best. For one seed, device and number of threads a
//! training is repeatable to the bit on the CPU, interrupted or not.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use krammerti::event::Event;
use krammerti::model::{Checkpoint, Epoch, FitTask, Interrupted, Moment, Monitor, Wish};
use krammerti::params::TrainParams;
use tch::{Device, Kind, Tensor};

use crate::diagnosis;
use crate::fused;
use crate::generator::Generator;
use crate::loss::Loss;
use crate::net::{Architecture, Batch, Net, Pass, Tensors};
use crate::optimizer::{self, AdamW};
use crate::progress::{self, Progress};
use crate::schedule::Schedule;
use crate::weights;
use crate::windows::{Windows, seeds};

/// Windows of the validation part in memory at once.
const VALIDATION_BATCH: usize = 1024;
/// The least time between two reports of progress. Reading the loss for one makes a GPU wait.
const REPORT_EVERY: Duration = Duration::from_millis(500);
/// What a training may keep in memory to spare itself the base of every window, in bytes.
const MOST_BASES: usize = 1 << 29;

/// A checkpoint that this training cannot go on from: the training is to begin anew.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the kept checkpoint is not used, the training begins anew: {0}")]
pub(crate) struct Unfit(String);

/// Where, in which numbers and with whose randomness a net is trained.
#[derive(Clone, Copy)]
pub(crate) struct Machine<'a> {
    pub(crate) device: Device,
    pub(crate) kind: Kind,
    pub(crate) generator: &'a Generator,
}

/// Trains a net in steps of so many windows; gives it back with its best weights, and what happened.
pub(crate) fn fit(
    task: &FitTask<'_>,
    architecture: Box<dyn Architecture>,
    series: &[String],
    machine: Machine<'_>,
    windows: usize,
    monitor: &mut dyn Monitor,
) -> Result<(Net, Vec<Epoch>)> {
    let mut trainer = Trainer::new(task, architecture, series, machine, windows)?;
    if let Some(checkpoint) = task.resume {
        match trainer.resume(checkpoint) {
            Ok(()) => monitor.event(Event::note(trainer.resumed())),
            Err(error) => {
                return Err(Unfit(error.to_string()).into());
            }
        }
    }
    while !trainer.is_done() {
        trainer.epoch(monitor)?;
    }
    if trainer.progress.best_epoch > 0 {
        trainer.net.parameters.assign(&trainer.best);
    }
    Ok((trainer.net, trainer.history))
}

struct Trainer<'a> {
    task: &'a FitTask<'a>,
    params: &'a TrainParams,
    windows: Windows,
    pass: Pass,
    generator: &'a Generator,
    net: Net,
    loss: Loss,
    optimizer: AdamW,
    schedule: Schedule,
    /// How much a window counts by its issue row, where they do not all count the same.
    weights: Option<Tensor>,
    /// The base of each window by its issue row, where there is room for them.
    bases: Option<Tensor>,
    average: Tensor,
    best: Tensor,
    progress: Progress,
    history: Vec<Epoch>,
    ended: bool,
}

/// `[rows]`: what belongs to each training window, at its issue row.
fn by_row(task: &FitTask<'_>, of_windows: &[f32]) -> Tensor {
    let mut rows = vec![0.0_f32; task.frame.rows()];
    for (&issue, &value) in task.train.iter().zip(of_windows) {
        rows[issue] = value;
    }
    Tensor::from_slice(&rows)
}

impl<'a> Trainer<'a> {
    fn new(
        task: &'a FitTask<'a>,
        architecture: Box<dyn Architecture>,
        series: &[String],
        machine: Machine<'a>,
        batch: usize,
    ) -> Result<Self> {
        if machine.device == Device::Cpu {
            fused::keep_memory();
        }
        let params = task.train_params;
        let shape = architecture.shape();
        let (lookback, horizon) = (shape.lookback, shape.horizon);
        let windows = Windows::new(task.frame, lookback, horizon, series, machine.device);
        let constants = architecture.solve(&windows, task.train, task.validation)?;
        let spread = architecture
            .spread(&constants)
            .unwrap_or_else(|| Tensor::ones([shape.horizon], (Kind::Float, machine.device)));
        let loss = Loss::new(params.loss, &spread, &task.model.quantiles);
        let mut rng = progress::first_draws(params.seed);
        let net = Net::draw(architecture, constants, machine.device, &mut rng);
        if let Some(warm) = task.warm_start {
            weights::load_trained(&net, warm)?;
        }
        let flat = net.parameters.flat();
        let batches = task.train.len().div_ceil(batch);
        let mut trainer = Self {
            task,
            params,
            windows,
            pass: Pass {
                training: true,
                kind: machine.kind,
            },
            generator: machine.generator,
            loss,
            optimizer: AdamW::new(flat, params.weight_decay),
            schedule: Schedule::new(
                params.schedule,
                params.learning_rate,
                batches,
                params.epochs,
            ),
            weights: task
                .sample_weights
                .map(|weights| by_row(task, weights).to(machine.device)),
            bases: None,
            average: flat.copy(),
            best: flat.copy(),
            net,
            progress: Progress::new(batch),
            history: Vec::new(),
            ended: false,
        };
        trainer.bases = trainer.all_bases();
        Ok(trainer)
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
        self.optimizer.set_steps(self.progress.steps);
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
            ("weights", self.net.parameters.flat()),
        ]
    }

    fn is_done(&self) -> bool {
        self.ended || self.progress.epoch > self.params.epochs
    }

    fn batches(&self) -> usize {
        self.task.train.len().div_ceil(self.progress.windows)
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
            train_loss,
            validation_loss,
            validation_rmse,
            learning_rate,
        };
        if self.progress.is_best(&line) {
            self.best.copy_(&self.average);
        }
        self.history.push(line);
        self.progress.epoch += 1;
        self.progress.batch = 0;
        self.progress.losses = 0.0;
        let stale = self.progress.is_stale(line.epoch, self.params.patience);
        self.ended = !monitor.epoch(&line, self.params.epochs) || stale;
        let wish = monitor.between(Moment::Epoch);
        self.heed(wish, monitor)
    }

    /// The rest of an epoch; gives back the mean loss of all of it.
    fn train(&mut self, monitor: &mut dyn Monitor) -> Result<f64> {
        let order = progress::order(self.task.train, self.params.seed, self.progress.epoch);
        let count = order.len();
        let order = self.windows.issues(&order);
        let batches = order.split(self.progress.windows as i64, 0);
        let mut since = Losses::default();
        let mut reported = Instant::now();
        for batch in self.progress.batch..batches.len() {
            let issues = &batches[batch];
            since.push(self.step(issues), issues.size()[0] as usize);
            self.progress.batch = batch + 1;
            let last = batch + 1 == batches.len();
            let report = last || reported.elapsed() >= REPORT_EVERY;
            if report {
                reported = Instant::now();
                self.take_in(&mut since, &batches)?;
                monitor.event(self.told(batches.len(), count));
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
        Ok(self.progress.losses / count as f64)
    }

    /// Reads the losses since the last time, which makes a GPU wait, and ends where one is odd.
    fn take_in(&mut self, since: &mut Losses, batches: &[Tensor]) -> Result<()> {
        let first = self.progress.batch - since.values.len();
        for (place, (loss, windows)) in since.take()?.into_iter().enumerate() {
            if !loss.is_finite() {
                let batch = first + place;
                return Err(diagnosis::NotFinite {
                    loss,
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
        let truth = self.windows.truth(issues);
        diagnosis::odd_columns(
            &self.windows.inputs(issues),
            &truth,
            &self.task.frame.columns,
        )
    }

    /// Does what is wished for between two steps.
    fn heed(&mut self, wish: Wish, monitor: &mut dyn Monitor) -> Result<()> {
        if wish == Wish::GoOn {
            return Ok(());
        }
        monitor.keep(self.progress.pack(&self.history, &self.kept())?)?;
        if wish == Wish::Keep {
            return Ok(());
        }
        // After the last epoch too: whoever told us to end takes no result any more.
        Err(Interrupted {
            epoch: self.progress.epoch.min(self.params.epochs),
        }
        .into())
    }

    /// Steps of the whole training, so that the time left is that of the whole training too.
    fn told(&self, batches: usize, count: usize) -> Event {
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
        Event::Progress {
            stage: None,
            what: "step".to_owned(),
            done: self.progress.steps as u64,
            total: (batches * epochs) as u64,
            message,
        }
    }

    /// One step of the optimiser; gives back the loss before it.
    fn step(&mut self, issues: &Tensor) -> Tensor {
        if self.net.architecture.draws() {
            let generator = self.generator;
            generator.seed_step(self.params.seed, self.progress.steps);
        }
        let weights = self.weights.as_ref();
        let batch = Batch {
            weights: weights.map(|weights| weights.index_select(0, issues)),
            ..self.batch(issues)
        };
        let architecture = &*self.net.architecture;
        let tensors = self.net.tensors(self.pass);
        let loss = architecture.loss(&tensors, &batch, &self.loss, self.pass);
        let gradient = self.net.parameters.gradient(&loss);
        let gradient = optimizer::clip(gradient, self.params.clip);
        let flat = self.net.parameters.flat();
        let rate = self.schedule.rate(self.progress.steps);
        self.optimizer.step(flat, &gradient, rate);
        self.progress.steps += 1;
        self.average_in();
        loss.detach()
    }

    fn batch(&self, issues: &Tensor) -> Batch {
        let inputs = self.windows.inputs(issues);
        let base = match &self.bases {
            Some(bases) => bases.index_select(0, issues),
            None => self.net.architecture.base(&self.net.constants, &inputs),
        };
        Batch {
            base,
            truth: self.windows.truth(issues),
            weights: None,
            inputs,
        }
    }

    /// `[rows, leads]`: no step changes a base, so each is computed once.
    fn all_bases(&self) -> Option<Tensor> {
        // Where nothing is solved the base is the last value, which is as quick to read.
        if self.net.constants.is_empty() {
            return None;
        }
        let _no_grad = tch::no_grad_guard();
        let architecture = &*self.net.architecture;
        let (rows, horizon) = (self.task.frame.rows(), architecture.shape().horizon);
        if rows * horizon as usize * size_of::<f32>() > MOST_BASES {
            return None;
        }
        let bases = Tensor::zeros([rows as i64, horizon], (Kind::Float, self.average.device()));
        for issues in [self.task.train, self.task.validation] {
            for chunk in issues.chunks(4 * VALIDATION_BATCH) {
                let rows = self.windows.issues(chunk);
                let base = architecture.base(&self.net.constants, &self.windows.inputs(&rows));
                let _ = bases.shallow_clone().index_copy_(0, &rows, &base);
            }
        }
        Some(bases)
    }

    /// Moves the average towards the present weights; early on it forgets the first draws faster.
    fn average_in(&mut self) {
        let _no_grad = tch::no_grad_guard();
        let reach = self.batches() as f64 * self.params.average;
        let share = 1.0 / reach.min(self.progress.steps as f64 / 5.0).max(1.0);
        let _ = self.average.lerp_(self.net.parameters.flat(), share);
    }

    /// Loss, and root mean square error of the mean, of the averaged weights; none where it was told
    /// to end.
    fn validate(&mut self, monitor: &mut dyn Monitor) -> Result<Option<(f64, f64)>> {
        let present = self.net.parameters.flat().copy();
        self.net.parameters.assign(&self.average);
        let scores = self.scores(monitor);
        self.net.parameters.assign(&present);
        scores
    }

    fn scores(&self, monitor: &mut dyn Monitor) -> Result<Option<(f64, f64)>> {
        let _no_grad = tch::no_grad_guard();
        let pass = Pass {
            training: false,
            ..self.pass
        };
        let tensors = self.net.tensors(pass);
        let (mut loss, mut squares) = (0.0, 0.0);
        for rows in self.task.validation.chunks(VALIDATION_BATCH) {
            if monitor.between(Moment::Step) == Wish::KeepAndEnd {
                return Ok(None);
            }
            let issues = self.windows.issues(rows);
            let mut batch = self.batch(&issues);
            batch.inputs.seeds = seeds(self.task.frame, rows);
            let (of_rows, square) = self.score(&tensors, &batch, pass);
            if !of_rows.is_finite() || !square.is_finite() {
                return Err(diagnosis::NotFinite {
                    loss: of_rows,
                    epoch: self.progress.epoch,
                    place: diagnosis::Place::Validation,
                    learning_rate: self.params.learning_rate,
                    columns: self.odd_columns(&issues),
                }
                .into());
            }
            loss += of_rows * rows.len() as f64;
            squares += square * rows.len() as f64;
        }
        let count = self.task.validation.len() as f64;
        Ok(Some((loss / count, (squares / count).sqrt())))
    }

    /// The mean loss and the mean squared error of the mean over some windows.
    fn score(&self, tensors: &Tensors<'_>, batch: &Batch, pass: Pass) -> (f64, f64) {
        let architecture = &*self.net.architecture;
        let forecast = architecture
            .sketch(tensors, &batch.inputs, &batch.base, pass)
            .averaged(&architecture.shape().link);
        let loss = if architecture.has_own_loss() {
            architecture.loss(tensors, batch, &self.loss, pass)
        } else {
            self.loss.of(&forecast, &batch.truth, None)
        };
        let square = (&forecast.mean - &batch.truth).square().mean(Kind::Double);
        (loss.double_value(&[]), square.double_value(&[]))
    }
}

/// Losses of steps that are still on the device, and how many windows each is the mean of.
#[derive(Default)]
struct Losses {
    values: Vec<Tensor>,
    windows: Vec<usize>,
}

impl Losses {
    fn push(&mut self, loss: Tensor, windows: usize) {
        self.values.push(loss);
        self.windows.push(windows);
    }

    /// So many that a GPU would be left with too much work ahead of us to end soon.
    fn are_many(&self) -> bool {
        self.values.len() >= 256
    }

    fn take(&mut self) -> Result<Vec<(f64, usize)>> {
        if self.values.is_empty() {
            return Ok(Vec::new());
        }
        let values = Tensor::stack(&std::mem::take(&mut self.values), 0);
        let values = Vec::<f64>::try_from(values.to_kind(Kind::Double))?;
        Ok(values
            .into_iter()
            .zip(std::mem::take(&mut self.windows))
            .collect())
    }
}
