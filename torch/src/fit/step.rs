//! A step of the optimiser: on the CPU in parts, on a GPU recorded.

use tch::Tensor;

use super::{Trainer, is_to_end};
use crate::optimizer::{self, Factor, Factors};
use crate::recorder::Recorder;
use crate::replica::{Part, Replica};
use krammerti::model::Monitor;

/// What the gradients of parts may take beside each other, in bytes, so that a large step of a large net does not
/// take memory by the size of the step.
const MOST_GRADIENTS: usize = 1 << 28;

impl Trainer<'_> {
    /// One step of the optimiser; gives back the loss before it, or nothing where it was told to end before
    /// the step was done, of which then nothing is left.
    pub(super) fn step(
        &mut self,
        batch: usize,
        issues: &Tensor,
        monitor: &mut dyn Monitor,
    ) -> Option<Tensor> {
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
        let mut parts = self.parts(issues).into_iter();
        let at_once = self.parts_at_once();
        let mut sum: Option<(Tensor, Tensor)> = None;
        while parts.len() > 0 {
            let some = parts.by_ref().take(at_once).collect();
            // A large step takes seconds, and may be left.
            let made = (self.team).each_until(some, Replica::gradient, || is_to_end(monitor))?;
            for (of_part, part) in made {
                match &mut sum {
                    Some((loss, gradient)) => {
                        *loss += of_part;
                        *gradient += part;
                    }
                    None => sum = Some((of_part, part)),
                }
            }
        }
        let (loss, gradient) = sum.expect("a step has a window");
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

    /// How many parts are made before their gradients are added up, each of which is as large as the weights.
    fn parts_at_once(&self) -> usize {
        let weights = self.team.own().net.parameters.flat();
        let size = weights.numel() * size_of::<f32>();
        (MOST_GRADIENTS / size.max(1)).max(self.machine.threads)
    }

    /// For a step of the whole training, counted from 0.
    pub(super) fn factors(&self, step: usize) -> Factors<f64> {
        let reach = self.batches() as f64 * self.params.average;
        let rate = self.schedule.rate(step);
        Factors::of(step + 1, rate, self.params.weight_decay, reach)
    }
}
