//! The training of a net.
//!
//! Shuffled windows, `AdamW` with a clipped gradient, one schedule for the rate, and a running
//! average of the weights. The average is what is validated, kept and given back: it is smoother
//! than the weights of any one step. It stops when the validation loss has not become better for
//! `train.patience` epochs, and gives back the best. For one seed, device and number of threads a
//! training is repeatable to the bit on the CPU.

use std::time::{Duration, Instant};

use anyhow::Result;
use krammerti::event::Event;
use krammerti::model::{Epoch, FitTask, Monitor};
use krammerti::params::TrainParams;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use tch::{Device, Kind, Tensor};

use crate::linear::Linear;
use crate::loss::Loss;
use crate::lstm::{Config, Net};
use crate::optimizer::{self, AdamW};
use crate::schedule::Schedule;
use crate::windows::Windows;

/// Windows of the validation part in memory at once.
const VALIDATION_BATCH: usize = 1024;
/// Steps that the average of weights reaches back, as a share of an epoch.
const AVERAGED: f64 = 0.5;
/// The least time between two reports of progress. Reading the loss for one makes a GPU wait.
const REPORT_EVERY: Duration = Duration::from_millis(500);

/// A loss that is not a finite number: the rate was too high, or the data hold something odd.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error(
    "the loss became {loss} in epoch {epoch}, batch {batch} of {batches}; a lower train.learning_rate may help"
)]
pub(crate) struct NotFinite {
    loss: f64,
    epoch: usize,
    batch: usize,
    batches: usize,
}

/// Trains a net; gives it back with its best weights, and what happened.
pub(crate) fn fit(
    task: &FitTask<'_>,
    device: Device,
    monitor: &mut dyn Monitor,
) -> Result<(Net, Vec<Epoch>)> {
    let mut trainer = Trainer::new(task, device)?;
    let mut history = Vec::new();
    let mut best = Best::default();
    for epoch in 1..=trainer.params.epochs {
        let line = trainer.epoch(epoch, monitor)?;
        history.push(line);
        best.offer(&line, &trainer.average);
        let go_on = monitor.epoch(&line, trainer.params.epochs);
        if !go_on || best.stale(epoch, trainer.params.patience) {
            break;
        }
    }
    if let Some(weights) = &best.weights {
        trainer.net.parameters.assign(weights);
    }
    Ok((trainer.net, history))
}

/// The weights of the epoch with the lowest validation loss.
#[derive(Default)]
struct Best {
    epoch: usize,
    loss: f64,
    weights: Option<Tensor>,
}

impl Best {
    fn offer(&mut self, line: &Epoch, weights: &Tensor) {
        // A loss that is no number is never the best, but for want of another.
        if self.weights.is_none() || line.validation_loss < self.loss || self.loss.is_nan() {
            self.epoch = line.epoch;
            self.loss = line.validation_loss;
            self.weights = Some(weights.copy());
        }
    }

    fn stale(&self, epoch: usize, patience: usize) -> bool {
        epoch - self.epoch >= patience
    }
}

struct Trainer<'a> {
    params: &'a TrainParams,
    windows: Windows,
    validation: &'a [usize],
    /// Reshuffled at each epoch.
    order: Vec<usize>,
    rng: ChaCha8Rng,
    net: Net,
    loss: Loss,
    optimizer: AdamW,
    schedule: Schedule,
    average: Tensor,
    steps: usize,
    /// After the last epoch that ended.
    validation_loss: Option<f64>,
}

impl<'a> Trainer<'a> {
    fn new(task: &FitTask<'a>, device: Device) -> Result<Self> {
        let params = task.train_params;
        let model = task.model;
        let config = Config::new(model, &task.frame.columns)?;
        let windows = Windows::new(task.frame, model.lookback, model.horizon, device);
        let linear = Linear::solve(&config, &windows, task.train, task.validation)?;
        let loss = Loss::new(&linear.spread, &model.quantiles);
        // Dropout draws from torch's own generator; everything else from this one.
        tch::manual_seed(params.seed as i64);
        let mut rng = ChaCha8Rng::seed_from_u64(params.seed);
        let net = Net::draw(config, linear, &mut rng);
        let batches = task.train.len().div_ceil(params.batch);
        Ok(Self {
            windows,
            validation: task.validation,
            order: task.train.to_vec(),
            rng,
            loss,
            optimizer: AdamW::new(net.parameters.flat(), params.weight_decay),
            schedule: Schedule::new(params.learning_rate, batches * params.epochs),
            average: net.parameters.flat().copy(),
            net,
            params,
            steps: 0,
            validation_loss: None,
        })
    }

    fn epoch(&mut self, epoch: usize, monitor: &mut dyn Monitor) -> Result<Epoch> {
        let train_loss = self.train(epoch, monitor)?;
        let learning_rate = self.schedule.rate(self.steps - 1);
        let (validation_loss, validation_rmse) = self.validate();
        self.validation_loss = Some(validation_loss);
        Ok(Epoch {
            epoch,
            train_loss,
            validation_loss,
            validation_rmse,
            learning_rate,
        })
    }

    /// One pass over the training windows; gives back the mean loss.
    fn train(&mut self, epoch: usize, monitor: &mut dyn Monitor) -> Result<f64, NotFinite> {
        self.order.shuffle(&mut self.rng);
        let order = self.windows.issues(&self.order);
        let batches = order.split(self.params.batch as i64, 0);
        let mut losses = Tensor::zeros([], (Kind::Double, order.device()));
        let mut reported = Instant::now();
        for (batch, issues) in (1..).zip(&batches) {
            losses += self.step(issues) * issues.size()[0] as f64;
            // Read now and then only, and at the end: a loss that is not finite stays so in the sum.
            let last = batch == batches.len();
            if last || reported.elapsed() >= REPORT_EVERY {
                reported = Instant::now();
                let seen = (batch * self.params.batch).min(self.order.len());
                let loss = losses.double_value(&[]) / seen as f64;
                check_finite(loss, epoch, batch, batches.len())?;
                monitor.event(self.progress(epoch, batches.len(), loss));
            }
        }
        Ok(losses.double_value(&[]) / self.order.len() as f64)
    }

    /// Steps of the whole training, so that the time left is that of the whole training too.
    fn progress(&self, epoch: usize, batches: usize, loss: f64) -> Event {
        let epochs = self.params.epochs;
        let mut message = format!("epoch {epoch}/{epochs}  loss {loss:.3}");
        if let Some(validation) = self.validation_loss {
            message.push_str(&format!("  val {validation:.3}"));
        }
        Event::Progress {
            stage: None,
            what: "step".to_owned(),
            done: self.steps as u64,
            total: (batches * epochs) as u64,
            message,
        }
    }

    /// One step of the optimiser; gives back the loss before it.
    fn step(&mut self, issues: &Tensor) -> Tensor {
        let inputs = self.windows.inputs(issues);
        let forecast = self.net.forward(&inputs, true);
        let loss = self.loss.of(&forecast, &self.windows.truth(issues));
        let gradient = self.net.parameters.gradient(&loss);
        let gradient = optimizer::clip(&gradient, self.params.clip);
        let flat = self.net.parameters.flat();
        let rate = self.schedule.rate(self.steps);
        self.optimizer.step(flat, &gradient, rate);
        self.steps += 1;
        self.average_in();
        loss.detach().to_kind(Kind::Double)
    }

    /// Moves the average towards the present weights; early on it forgets the first draws faster.
    fn average_in(&mut self) {
        let _no_grad = tch::no_grad_guard();
        let reach = self.order.len() as f64 / self.params.batch as f64 * AVERAGED;
        let share = 1.0 / reach.min(self.steps as f64 / 5.0).max(1.0);
        let _ = self.average.lerp_(self.net.parameters.flat(), share);
    }

    /// Loss, and root mean square error of the mean, of the averaged weights.
    fn validate(&mut self) -> (f64, f64) {
        let present = self.net.parameters.flat().copy();
        self.net.parameters.assign(&self.average);
        let scores = self.scores();
        self.net.parameters.assign(&present);
        scores
    }

    fn scores(&self) -> (f64, f64) {
        let _no_grad = tch::no_grad_guard();
        let (mut loss, mut squares) = (0.0, 0.0);
        for batch in self.validation.chunks(VALIDATION_BATCH) {
            let issues = self.windows.issues(batch);
            let truth = self.windows.truth(&issues);
            let forecast = self
                .net
                .forward(&self.windows.inputs(&issues), false)
                .averaged();
            let count = batch.len() as f64;
            loss += self.loss.of(&forecast, &truth).double_value(&[]) * count;
            let square = (&forecast.mean - &truth).square().mean(Kind::Double);
            squares += square.double_value(&[]) * count;
        }
        let count = self.validation.len() as f64;
        (loss / count, (squares / count).sqrt())
    }
}

fn check_finite(loss: f64, epoch: usize, batch: usize, batches: usize) -> Result<(), NotFinite> {
    if loss.is_finite() {
        return Ok(());
    }
    Err(NotFinite {
        loss,
        epoch,
        batch,
        batches,
    })
}
