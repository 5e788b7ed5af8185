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

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use krammerti::event::Event;
use krammerti::model::{Checkpoint, Epoch, FitTask, Interrupted, Moment, Monitor, Wish};
use krammerti::params::TrainParams;
use tch::{Device, Kind, Tensor};

use crate::generator::Randomness;
use crate::graph::Stream;
use crate::loss::Loss;
use crate::net::{Architecture, Net};
use crate::optimizer::{self, AdamW, Factor, Factors};
use crate::progress::{self, Progress};
use crate::recorder::{Recorder, Recording};
use crate::replica::{Checked, Part, Replica};
use crate::schedule::Schedule;
use crate::team::Team;
use crate::weights;
use crate::windows::{Windows, seeds};
use crate::{diagnosis, fused, process};

/// Windows of a part where no gradient is asked for, on the CPU and on a GPU.
const CHECKED: usize = 128;
const CHECKED_CUDA: usize = 512;
/// The same for bases, which take a product of matrices and no more.
const BASED: usize = 1024;
/// The least time between two reports of progress. Reading the loss for one makes a GPU wait.
const REPORT_EVERY: Duration = Duration::from_millis(500);

/// Notes of what makes a training on a GPU slower than it could be. `scripts/gpu-check` knows them.
const NOT_RECORDED: &str = "slow: steps cannot be recorded on this GPU";
const NO_KERNELS: &str = "slow: there are no kernels for recurrent layers on this GPU";

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
    if task.warm_start.is_some() && trainer.history.is_empty() {
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

/// The places of the series that windows of the training are of, and those of the others.
fn seen_and_unseen(task: &FitTask<'_>, series: &[String]) -> (Vec<i64>, Vec<i64>) {
    let with_windows = task.frame.layout.names_of(task.train);
    let places = 0..series.len() as i64;
    places.partition(|&place| with_windows.contains(&series[place as usize].as_str()))
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
}

/// The first handles on all that a training reads.
fn replica(
    task: &FitTask<'_>,
    architecture: Arc<dyn Architecture>,
    series: &[String],
    machine: Machine<'_>,
) -> Result<Replica> {
    let params = task.train_params;
    let shape = architecture.shape();
    let (lookback, horizon) = (shape.lookback, shape.horizon);
    let mut windows = Windows::new(task.frame, lookback, horizon, series, machine.device);
    windows.count_by(task.train, task.sample_weights);
    let constants = architecture.solve(&windows, task.train, task.validation)?;
    let spread = architecture
        .spread(&constants)
        .unwrap_or_else(|| Tensor::ones([shape.cells()], (Kind::Float, machine.device)));
    let loss = Loss::new(params.loss, &spread, &task.model.quantiles);
    let mut rng = progress::first_draws(params.seed);
    let net = Net::draw(architecture, constants, machine.device, &mut rng);
    if let Some(warm) = task.warm_start {
        weights::load_trained(&net, warm)?;
    }
    Ok(Replica {
        windows,
        net,
        loss,
        kind: machine.kind,
        bases: None,
    })
}

fn team_of(own: Replica, machine: Machine<'_>) -> Result<Team<Replica>> {
    let others: Vec<Replica> = (1..machine.threads).map(|_| own.share()).collect();
    // Work for a GPU is of the thread that has entered its stream.
    let stand_in = (machine.device == Device::Cpu).then(|| own.share());
    let team = Team::new(own, others)?;
    match stand_in {
        Some(stand_in) => team.listening(stand_in),
        None => Ok(team),
    }
}

/// `[rows, cells]`: no step changes a base, so each is computed once.
fn all_bases(team: &Team<Replica>, task: &FitTask<'_>) -> Tensor {
    let _no_grad = tch::no_grad_guard();
    let own = team.own();
    let cells = own.net.architecture.shape().cells();
    let device = own.net.parameters.flat().device();
    let bases = Tensor::zeros([task.frame.rows() as i64, cells], (Kind::Float, device));
    let chunks =
        [task.train, task.validation].map(|issues| issues.chunks(own.windows.at_once(BASED)));
    let chunks: Vec<&[usize]> = chunks.into_iter().flatten().collect();
    // A few at a time: all results at once would be the bases once more.
    for chunks in chunks.chunks(16) {
        let issues = chunks.iter().map(|rows| own.windows.issues(rows));
        let based = team.each(issues.collect(), |replica, issues| {
            (issues.shallow_clone(), replica.base(issues))
        });
        for (issues, base) in based {
            let _ = bases.shallow_clone().index_copy_(0, &issues, &base);
        }
    }
    bases
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
            let team = team_of(own, machine)?;
            let bases = all_bases(&team, task);
            own = team.into_own();
            own.bases = Some(bases);
        }
        let team = team_of(own, machine)?;
        let flat = team.own().net.parameters.flat();
        let batches = task.train.len().div_ceil(batch);
        Ok(Self {
            task,
            params,
            machine,
            optimizer: AdamW::new(flat),
            seen: seen_and_unseen(task, series),
            // A step has no more windows than there are.
            recorder: (machine.device != Device::Cpu).then(|| {
                let windows = batch.min(task.train.len());
                Recorder::new(windows, flat.device(), machine.recording)
            }),
            schedule: Schedule::new(params, batches),
            average: flat.copy(),
            best: flat.copy(),
            team,
            progress: Progress::new(batch),
            history: Vec::new(),
            ended: false,
            told_of_layers: false,
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
        self.task.train.len().div_ceil(self.progress.windows)
    }

    /// What a warm start begins with may be better than all that comes of it, so it is judged as an epoch is.
    fn judge_beginning(&mut self, monitor: &mut dyn Monitor) -> Result<()> {
        let Some((validation_loss, validation_rmse)) = self.validate(monitor)? else {
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
        if self.progress.is_best(&line) {
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
        let order = progress::order(self.task.train, self.params.seed, self.progress.epoch);
        let count = order.len();
        let order = self.team.own().windows.issues(&order);
        let batches = order.split(self.progress.windows as i64, 0);
        if let Some(mut recorder) = self.recorder.take() {
            let first = self.progress.steps - self.progress.batch;
            recorder.begin((0..batches.len()).map(|batch| self.factors(first + batch)));
            self.recorder = Some(recorder);
        }
        let mut since = Losses::default();
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
                let seen = (self.progress.batch - first) * self.progress.windows;
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
        let first = self.progress.batch - since.values.len();
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

    /// One step of the optimiser; gives back the loss before it, or nothing where it was told to end before
    /// the step was done, of which then nothing is left.
    fn step(&mut self, batch: usize, issues: &Tensor, monitor: &mut dyn Monitor) -> Option<Tensor> {
        let loss = match self.recorder.take() {
            None => self.step_in_parts(issues, monitor)?,
            Some(mut recorder) => {
                let loss = self.step_on_gpu(&mut recorder, batch, issues);
                self.recorder = Some(recorder);
                loss
            }
        };
        self.progress.steps += 1;
        Some(loss)
    }

    /// A step on the CPU.
    fn step_in_parts(&mut self, issues: &Tensor, monitor: &mut dyn Monitor) -> Option<Tensor> {
        let parts = self.parts(issues);
        // A large step takes seconds, and may be left.
        let made = (self.team).each_until(parts, Replica::gradient, || is_to_end(monitor))?;
        let mut parts = made.into_iter();
        let (mut loss, mut gradient) = parts.next().expect("a step has a window");
        for (of_part, part) in parts {
            loss += of_part;
            gradient += part;
        }
        let by = self.factors(self.progress.steps);
        self.apply(gradient, &by);
        Some(loss)
    }

    /// A step on a GPU: like all others of so many windows, but for what lies in the recorder's memory.
    fn step_on_gpu(
        &mut self,
        recorder: &mut Recorder<'_>,
        batch: usize,
        issues: &Tensor,
    ) -> Tensor {
        let randomness = self.machine.randomness;
        let (seed, step) = (self.params.seed, self.progress.steps);
        let generator = randomness.part(seed, step, 0);
        let issues = recorder.lay(batch, issues);
        let part = Part {
            issues: issues.shallow_clone(),
            share: 1.0,
            generator,
        };
        let by = recorder.factors(self.params.weight_decay > 0.0);
        recorder.step(&issues, || {
            let (loss, gradient) = self.team.own().gradient(&part);
            self.apply(gradient, &by);
            loss
        })
    }

    /// Moves the weights against a gradient, and their average towards them.
    fn apply<T: Factor>(&mut self, gradient: Tensor, by: &Factors<T>) {
        let gradient = optimizer::clip(gradient, self.params.clip);
        let flat = self.team.own().net.parameters.flat();
        self.optimizer.step(flat, &gradient, by);
        let _no_grad = tch::no_grad_guard();
        by.share.move_to(&mut self.average, flat);
    }

    /// The windows of a step in parts of nearly one size.
    fn parts(&self, issues: &Tensor) -> Vec<Part> {
        let count = issues.size()[0] as usize;
        let most = self.team.own().net.architecture.windows_of_part();
        let size = count.div_ceil(count.div_ceil(most));
        let parts = issues.split(size as i64, 0).into_iter().enumerate();
        parts
            .map(|(place, issues)| Part {
                share: issues.size()[0] as f64 / count as f64,
                issues,
                generator: self.machine.randomness.part(
                    self.params.seed,
                    self.progress.steps,
                    place,
                ),
            })
            .collect()
    }

    /// For a step of the whole training, counted from 0.
    fn factors(&self, step: usize) -> Factors<f64> {
        let reach = self.batches() as f64 * self.params.average;
        let rate = self.schedule.rate(step);
        Factors::of(step + 1, rate, self.params.weight_decay, reach)
    }

    /// Loss, and root mean square error of the mean, of the averaged weights; none where it was told
    /// to end.
    fn validate(&mut self, monitor: &mut dyn Monitor) -> Result<Option<(f64, f64)>> {
        let parameters = &self.net().parameters;
        let present = parameters.flat().copy();
        parameters.assign(&self.average);
        self.average_unseen();
        let scores = self.scores(monitor);
        // Threads that were left with a part may still read them; what they make of it nobody sees.
        self.net().parameters.assign(&present);
        scores
    }

    fn scores(&self, monitor: &mut dyn Monitor) -> Result<Option<(f64, f64)>> {
        let (at_once, each) = match self.machine.device {
            Device::Cpu => (2 * self.machine.threads * CHECKED, CHECKED),
            _ => (CHECKED_CUDA, CHECKED_CUDA),
        };
        let (mut loss, mut squares, mut seen) = (0.0, 0.0, 0.0);
        for rows in self.task.validation.chunks(at_once) {
            if is_to_end(monitor) {
                return Ok(None);
            }
            let windows = &self.team.own().windows;
            let checked = rows.chunks(each).map(|rows| Checked {
                issues: windows.issues(rows),
                seeds: seeds(self.task.frame, rows),
            });
            let scored =
                (self.team).each_until(checked.collect(), Replica::score, || is_to_end(monitor));
            let Some(scored) = scored else {
                return Ok(None);
            };
            for [of_part, square, windows] in scored {
                loss += of_part;
                squares += square;
                seen += windows;
            }
            let odd = [("loss", loss), ("squared error", squares)];
            if let Some((what, sum)) = odd.into_iter().find(|(_, sum)| !sum.is_finite()) {
                return Err(diagnosis::NotFinite {
                    what,
                    value: sum / seen,
                    epoch: self.progress.epoch,
                    place: diagnosis::Place::Validation,
                    learning_rate: self.params.learning_rate,
                    columns: self.odd_columns(&windows.issues(rows)),
                }
                .into());
            }
        }
        Ok(Some((loss / seen, (squares / seen).sqrt())))
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
