//! The kind `deepar`: a recurrent net that gives the distribution of one value after the other
//! (Salinas et al. 2020, arXiv 1704.04110).
//!
//! ```text
//! value before, value a season before, ┐
//! usual value, level, size, columns,   ┼─▶ LSTM ─▶ distribution of the value ─▶ likelihood, or
//! their age, columns known of the row  ┘    ▲              ▲                    a draw ─┐
//!                                           │ usual value ─┘                            │
//!                                           └─────── value before of the next row ◀─────┘
//! ```
//!
//! Where more than the time is known ahead, what it says by itself is in the place of the lower usual value (see
//! [`response`]).
//!
//! In training the values before are the true ones, so lookback and horizon are one sequence and
//! one call. A forecast walks through the lookback in the same way and then draws sample paths, each
//! value of which is the next one's value before. Quantiles are those of the paths; the mean is that of
//! the distributions along them. A path is a possible course of the target, which no other kind gives;
//! the price is a step after the other, and errors that pile up, since in training no value before was
//! ever wrong.
//!
//! Several targets have a distribution each, independent of one another but for the state that all
//! of them have been read into; so their paths belong together.
//!
//! Unlike the paper:
//! - Values are relative to the usual one at their place in the season: the mean of the lookback's
//!   seasons there, ahead of the issue row too. So is what the net gives (see `emission`): of how
//!   far the value before lay from its usual one it keeps a share, and a path comes back to what is
//!   usual, which no draw moves. The usual values know the whole lookback, so the likelihood is
//!   that of the horizon alone.
//! - Differences of real numbers are read, and said, in units of how far the values of the lookback lie from
//!   their mean. Counts are said in units of their mean, as in the paper.
//! - Columns that nobody knows ahead are read too. After the issue row they stay as they were, and
//!   the net reads how old they are; it is trained on what it will have.
//!
//! Tried in a PyTorch copy on the test part of `ETTh1`, 96 leads, one short run each, 20 paths, the
//! share kept beginning at 0.12 (mean squared error; repeating the last day has 0.51): this 0.435;
//! with a learned mix of the usual value and the one a season before for the usual one 0.436;
//! relative to the one a season before alone, which is drawn too on the path ahead, 0.54. Noise on
//! the values before in training 0.41, and no share kept 0.41, both with a worse likelihood of the
//! validation part. With the share beginning at 0.88 and 40 paths 0.41, all without units of the window.

mod reading;
mod response;

use anyhow::{Context as _, Result, ensure};
use krammerti::data::{FrameColumn, Role, Scaler, columns_with};
use krammerti::params::DeeparParams;
use tch::{Kind, Tensor};

use self::reading::{Course, Paths, Read, Target};
use self::response::Response;
use crate::architecture::{Architecture, Batch, Taken, Tensors};
use crate::draws::{Draws, quantiles_of_paths};
use crate::emission::{Emission, Near};
use crate::forecast::Forecast;
use crate::layers::{Cell, Dense, Layers};
use crate::loss::{Loss, weighed};
use crate::parameters::Spec;
use crate::pass::Pass;
use crate::shape::{Shape, pick};
use crate::windows::{Inputs, Windows};

/// Paths that go a step together: on a CPU few enough to stay in its cache; on a GPU, where a step
/// takes as long for few as for many, as many as its memory surely holds.
const PATHS_AT_ONCE: i64 = 2048;
const PATHS_AT_ONCE_CUDA: i64 = 1 << 17;
/// Windows in memory at once while they are checked.
const CHUNK: usize = 4096;

/// All that decides the shapes of a net, and its distribution.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Deepar {
    shape: Shape,
    /// The columns known ahead, in the order in which [`Inputs::future`] has them.
    known: Vec<i64>,
    /// All but these and the targets.
    others: Vec<i64>,
    /// Whether something is known ahead that the time alone does not say.
    responds: bool,
    /// Of each target.
    names: Vec<String>,
    /// Of each target.
    emissions: Vec<Emission>,
    hidden: i64,
    layers: i64,
    dropout: f64,
    paths: i64,
    season: i64,
    members: usize,
}

impl Deepar {
    /// A net of this shape and these sizes.
    pub(crate) fn new(
        shape: Shape,
        columns: &[FrameColumn],
        scalers: &[Scaler],
        params: &DeeparParams,
    ) -> Result<Self> {
        let with = |role| columns_with(columns, role).into_iter();
        let known: Vec<usize> = with(Role::Future).chain(with(Role::Forecast)).collect();
        let targets = shape.targets.iter().zip(shape.links.each()).zip(scalers);
        let emissions = targets.map(|((&place, link), scaler)| {
            let emission = Emission::new(params.distribution, *link, *scaler);
            emission.with_context(|| columns[place as usize].name.clone())
        });
        Ok(Self {
            emissions: emissions.collect::<Result<_>>()?,
            names: (shape.targets.iter())
                .map(|&place| columns[place as usize].name.clone())
                .collect(),
            responds: known.iter().any(|&column| !columns[column].of_time),
            known: known.iter().map(|&column| column as i64).collect(),
            others: with(Role::Past).map(|column| column as i64).collect(),
            hidden: params.hidden as i64,
            layers: params.layers as i64,
            dropout: params.dropout,
            paths: params.paths as i64,
            season: params.season.unwrap_or(1) as i64,
            members: params.members,
            shape,
        })
    }

    /// Numbers read at each row: of each target the value before, the value a season before, the usual
    /// value, the level and how large numbers of the window are; then age and columns.
    fn inputs(&self) -> i64 {
        5 * self.shape.count() + 1 + (self.known.len() + self.others.len()) as i64
    }

    /// Numbers that a net gives for each row: those of the targets one after the other.
    fn outputs(&self) -> i64 {
        self.emissions.iter().map(Emission::outputs).sum()
    }

    /// Those of each target, of what a net gives.
    fn by_target(&self, raw: &Tensor) -> Vec<Tensor> {
        let sizes: Vec<i64> = self.emissions.iter().map(Emission::outputs).collect();
        raw.split_with_sizes(&sizes[..], -1)
    }

    /// How many of the paths a member draws.
    fn paths_of(&self, member: usize) -> i64 {
        let (members, member) = (self.members as i64, member as i64);
        let rest = i64::from(member < self.paths % members);
        (self.paths / members + rest).max(1)
    }

    /// Rows of the lookback that have a value a season before.
    fn conditioning(&self) -> i64 {
        self.shape.lookback - self.season
    }

    /// Paths of all members, of a few windows at a time.
    fn paths(
        &self,
        tensors: &Tensors<'_>,
        inputs: &Inputs,
        pass: Pass<'_>,
    ) -> impl Iterator<Item = Paths> {
        let read = self.read(inputs, tensors.constants);
        let issues = inputs.past.size()[0];
        let most = if inputs.past.device().is_cuda() {
            PATHS_AT_ONCE_CUDA
        } else {
            PATHS_AT_ONCE
        };
        let at_once = (most / self.paths).max(1);
        (0..issues).step_by(at_once as usize).map(move |first| {
            let count = at_once.min(issues - first);
            let read = read.narrow(first, count);
            let seeds = &inputs.seeds[first as usize..(first + count) as usize];
            let members = tensors.members().enumerate().map(|(member, taken)| {
                let mut draws = Draws::new(member as u64, seeds.iter().copied());
                let mut expected = reading::courses(self.emissions.len());
                let sample = |target: usize, parameters: &[Tensor]| {
                    let emission = &self.emissions[target];
                    expected[target].push(emission.expected(parameters));
                    emission.sample(parameters, &mut draws)
                };
                let paths = self.paths_of(member);
                let member = Member::take(self, taken);
                let values = self.walk(&member, &read, paths, sample, pass);
                (values, reading::cells(&expected))
            });
            let (values, expected): (Vec<_>, Vec<_>) = members.unzip();
            Paths {
                values: Tensor::cat(&values, 1),
                expected: Tensor::cat(&expected, 1),
            }
        })
    }

    /// Paths of one member, so many of each window; `choose` gives a value for each distribution of a target, which is
    /// known by its place.
    fn walk(
        &self,
        member: &Member<'_>,
        read: &Read,
        paths: i64,
        mut choose: impl FnMut(usize, &[Tensor]) -> Tensor,
        pass: Pass<'_>,
    ) -> Tensor {
        let issues = read.rest.size()[0];
        let expected = member.expected(read, pass);
        let mut state = self.conditioned(member, read, paths, pass);
        let mut courses = reading::courses(read.targets.len());
        for lead in 0..self.shape.horizon {
            let step = self.read_at(read, &courses, lead, paths);
            let (top, next) = member
                .layers
                .forward(&pass.cast(&step), state.as_deref(), 0.0, pass);
            state = Some(next);
            let raw = member.out.forward(&top).to_kind(Kind::Float);
            let raw = self.by_target(&raw.view([issues, paths, self.outputs()]));
            for (place, (of, raw)) in read.targets.iter().zip(&raw).enumerate() {
                let (emission, course) = (&self.emissions[place], &mut courses[place]);
                let near = Near {
                    before: &of.value_at(course, self.shape.lookback + lead - 1, paths),
                    usual_before: &expected[place].narrow(1, lead, 1),
                    usual: &expected[place].narrow(1, lead + 1, 1),
                };
                let parameters = emission.parameters(raw, &near, &of.typical);
                course.push(choose(place, &parameters));
            }
        }
        reading::cells(&courses)
    }

    /// What the layers keep of the rows that have a value a season before, once for each path.
    fn conditioned(
        &self,
        member: &Member<'_>,
        read: &Read,
        paths: i64,
        pass: Pass<'_>,
    ) -> Option<Vec<Tensor>> {
        if self.conditioning() == 0 {
            return None;
        }
        let observed = read.targets.iter().map(|target| &target.observed);
        let steps = self.steps(read, observed, self.conditioning());
        let (_, state) = member.layers.forward(&pass.cast(&steps), None, 0.0, pass);
        let of_path = |part: &Tensor| part.repeat_interleave_self_int(paths, 1, None);
        Some(state.iter().map(of_path).collect())
    }

    /// `[issues × paths, 1, inputs]`: what is read to come to a lead, with what became of those before it.
    fn read_at(&self, read: &Read, courses: &[Course], lead: i64, paths: i64) -> Tensor {
        let (issues, lookback) = (read.rest.size()[0], self.shape.lookback);
        let row = self.conditioning() + lead;
        let mut numbers = Vec::new();
        for (of, course) in read.targets.iter().zip(courses) {
            let before = of.value_at(course, lookback + lead - 1, paths);
            let seasonal = of.value_at(course, lookback + lead - self.season, paths);
            numbers.push(of.in_unit(before - of.usual_at(row)).unsqueeze(2));
            numbers.push(of.in_unit(seasonal - of.usual_at(row + 1)).unsqueeze(2));
        }
        let rest = read.rest.narrow(1, row, 1);
        numbers.push(rest.expand([issues, paths, -1], false));
        Tensor::cat(&numbers, 2).view([issues * paths, 1, self.inputs()])
    }

    /// The mean `[issues, cells]` of what is expected on each path: that of the paths themselves without
    /// the noise of their last draws.
    fn mean_of(&self, paths: &Paths) -> Tensor {
        let mean = paths
            .expected
            .mean_dim([1_i64].as_slice(), false, Kind::Float);
        let of_targets = mean.chunk(self.shape.count(), 1).into_iter();
        let scaled: Vec<Tensor> = (of_targets.zip(&self.emissions))
            .map(|(own, emission)| emission.scaled(&own))
            .collect();
        Tensor::cat(&scaled, 1)
    }

    /// What is read of each row whatever the targets become; `constants` as they were solved.
    fn read(&self, inputs: &Inputs, constants: &[Tensor]) -> Read {
        let (past, shape) = (&inputs.past, &self.shape);
        let (conditioning, horizon) = (self.conditioning(), shape.horizon);
        let steps = conditioning + horizon;
        let targets = shape.targets.iter().zip(&self.emissions).enumerate();
        let targets: Vec<Target> = targets
            .map(|(rank, (&place, emission))| {
                let observed = past.select(2, place);
                let typical = emission.typical(&observed, &constants[0].get(rank as i64));
                Target {
                    usual: self.usual(&observed),
                    unit: emission.unit_of(&typical).map(Tensor::shallow_clone),
                    typical,
                    observed,
                }
            })
            .collect();
        let mut rest = Vec::new();
        for target in &targets {
            let last = target.observed.narrow(1, shape.lookback - 1, 1);
            let usual = target.usual.narrow(1, 1, steps) - &last;
            rest.push(target.in_unit(usual).unsqueeze(2));
            let size = target.typical.log();
            for number in [last, size] {
                rest.push(number.unsqueeze(2).expand([-1, steps, 1], false));
            }
        }
        let ages = Tensor::arange_start(-conditioning, horizon, (past.kind(), past.device()));
        let age = (ages.clamp_min(0) / horizon as f64).view([1, steps, 1]);
        rest.push(age.expand([past.size()[0], -1, -1], false));
        let known = past.narrow(1, self.season, conditioning);
        let known = pick(&known, &self.known);
        rest.push(Tensor::cat(&[&known, &inputs.future], 1));
        // Of the row before, up to the issue row.
        let others = past.narrow(1, self.season - 1, conditioning + 1);
        let others = pick(&others, &self.others);
        let stale = others
            .narrow(1, conditioning, 1)
            .expand([-1, horizon - 1, -1], false);
        rest.push(Tensor::cat(&[others, stale], 1));
        Read {
            rest: Tensor::cat(&rest, 2),
            causes: self.responds.then(|| self.causes(inputs, &targets)),
            targets,
            horizon,
        }
    }

    /// `[issues, 1 + horizon, …]`: what values are expected by where something is known ahead, with the level and the
    /// size of each target.
    fn causes(&self, inputs: &Inputs, targets: &[Target]) -> Tensor {
        let rows = (1 + response::AROUND).min(self.shape.lookback);
        let known = inputs.past.narrow(1, self.shape.lookback - rows, rows);
        let known = Tensor::cat(&[&pick(&known, &self.known), &inputs.future], 1);
        let of_window = targets.iter().flat_map(|target| {
            let last = target.observed.narrow(1, self.shape.lookback - 1, 1);
            [last, target.typical.log()]
        });
        let of_window: Vec<Tensor> = of_window.collect();
        response::causes(&known, self.shape.horizon, of_window.iter())
    }

    /// `[issues, 1 + conditioning + horizon]`: the usual values of the rows that have a value a
    /// season before, and of the row before them, of a target `[issues, lookback]`.
    fn usual(&self, target: &Tensor) -> Tensor {
        let (lookback, season) = (self.shape.lookback, self.season);
        let whole = lookback / season * season;
        let seasons = target.narrow(1, lookback - whole, whole);
        let mean = seasons.reshape([-1, whole / season, season]).mean_dim(
            [1_i64].as_slice(),
            false,
            target.kind(),
        );
        // The first lead begins a season.
        let first = (season - 1 - lookback).rem_euclid(season);
        let rows = 1 + self.conditioning() + self.shape.horizon;
        let seasons = (first + rows + season - 1) / season;
        mean.repeat([1, seasons]).narrow(1, first, rows)
    }

    /// `[issues, count, inputs]`: what is read of the first rows that have a value a season before,
    /// where the targets are `[issues, rows]` from the first row on.
    fn steps<'a>(
        &self,
        read: &Read,
        observed: impl Iterator<Item = &'a Tensor>,
        count: i64,
    ) -> Tensor {
        let mut numbers = Vec::new();
        for (of, observed) in read.targets.iter().zip(observed) {
            let usual = |first: i64| of.usual.narrow(1, first, count);
            let before = observed.narrow(1, self.season - 1, count) - usual(0);
            let seasonal = observed.narrow(1, 0, count) - usual(1);
            numbers.extend([before, seasonal].map(|number| of.in_unit(number).unsqueeze(2)));
        }
        numbers.push(read.rest.narrow(1, 0, count));
        Tensor::cat(&numbers, 2)
    }
}

/// The deviation that windows have at least, of those of a training: so few are smaller that no series is
/// meant by them, and none that stood still. Were it less, the first change after a window that did would be
/// a wonder.
fn least_of(mut deviations: Vec<f32>) -> f32 {
    const SHARE: f64 = 0.02;
    // Rounding leaves a window that stands still a tiny deviation, of some millionths where its level is a few units.
    deviations.retain(|deviation| *deviation > 1e-5);
    deviations.sort_unstable_by(f32::total_cmp);
    let place = (deviations.len() as f64 * SHARE) as usize;
    deviations.get(place).copied().unwrap_or(1.0)
}

/// Of losses without a shape.
fn mean(losses: &[Tensor]) -> Tensor {
    match losses {
        [one] => one.shallow_clone(),
        several => Tensor::stack(several, 0).mean(Kind::Float),
    }
}

/// The parameters of one member.
struct Member<'a> {
    out: Dense<'a>,
    layers: Layers<'a>,
    /// Where more than the time is known ahead.
    response: Option<Response<'a>>,
}

impl<'a> Member<'a> {
    fn take(deepar: &Deepar, mut taken: Taken<'a>) -> Self {
        Self {
            out: Dense::take(&mut taken),
            layers: Layers::take(Cell::Lstm, deepar.layers, &mut taken),
            response: deepar.responds.then(|| Response::take(&mut taken)),
        }
    }

    /// Of each target `[issues, 1 + horizon]`, from the issue row on: what is expected without the values before, the usual
    /// value where no more than the time is known ahead.
    fn expected(&self, read: &Read, pass: Pass<'_>) -> Vec<Tensor> {
        let usual = read.targets.iter().map(|target| {
            let rows = target.usual.size()[1];
            target
                .usual
                .narrow(1, rows - read.horizon - 1, read.horizon + 1)
        });
        match (&self.response, &read.causes) {
            (Some(response), Some(causes)) => response.expected(causes, usual, pass),
            _ => usual.collect(),
        }
    }
}

impl Architecture for Deepar {
    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn members(&self) -> usize {
        self.members
    }

    fn member_specs(&self) -> Vec<Spec> {
        let mut specs = Dense::specs("out", self.hidden, self.outputs()).to_vec();
        let (layers, inputs, hidden) = (self.layers, self.inputs(), self.hidden);
        specs.extend(Layers::specs(Cell::Lstm, "cell", layers, inputs, hidden));
        if self.responds {
            let (known, targets) = (self.known.len() as i64, self.shape.count());
            specs.extend(Response::specs(known, targets, hidden));
        }
        specs
    }

    fn constant_shapes(&self) -> Vec<(&'static str, Vec<i64>)> {
        // By its name a model of before shares were told in logits is known as another one.
        let of_shares = self.emissions.iter().all(Emission::is_of_shares);
        let name = if of_shares {
            "least_deviation_of_logits"
        } else {
            "least_deviation"
        };
        vec![(name, vec![self.shape.count()])]
    }

    /// Solves what windows differ in at least, and refuses a target that the distribution is not of.
    fn solve(&self, windows: &Windows, train: &[usize], _: &[usize]) -> Result<Vec<Tensor>> {
        let _no_grad = tch::no_grad_guard();
        let mut deviations = vec![Vec::new(); self.names.len()];
        for chunk in train.chunks(windows.at_once(CHUNK)) {
            let past = windows.inputs(&windows.issues(chunk)).past;
            let targets = self.shape.targets.iter().zip(&self.emissions);
            for ((place, emission), of_target) in targets.zip(&mut deviations) {
                let of_chunk = emission.deviation(&past.select(2, *place)).squeeze_dim(1);
                of_target.extend(Vec::<f32>::try_from(of_chunk)?);
            }
        }
        let least: Vec<f32> = deviations.into_iter().map(least_of).collect();
        for chunk in train.chunks(CHUNK) {
            let truth = windows.truth(&windows.issues(chunk));
            let of_targets = truth.chunk(self.shape.count(), 1).into_iter();
            let targets = self.names.iter().zip(&self.emissions);
            for (truth, (name, emission)) in of_targets.zip(targets) {
                ensure!(
                    emission.allows(truth.min().double_value(&[])),
                    "distribution negative_binomial is of counts, but {name} is below 0 in the training part"
                );
            }
        }
        Ok(vec![Tensor::from_slice(&least).to(windows.device())])
    }

    /// The base is a value that is read.
    fn solves_base(&self) -> bool {
        false
    }

    /// By sample paths, of all members together.
    fn forward(
        &self,
        tensors: &Tensors<'_>,
        inputs: &Inputs,
        _: &Tensor,
        pass: Pass<'_>,
    ) -> Forecast {
        let levels = &self.shape.levels;
        let paths = self.paths(tensors, inputs, pass);
        let (means, quantiles): (Vec<Tensor>, Vec<Tensor>) = paths
            .map(|paths| {
                let quantiles = quantiles_of_paths(&paths.values, levels);
                (self.mean_of(&paths), quantiles)
            })
            .unzip();
        let all = |parts: &[Tensor]| Tensor::cat(parts, 0).unsqueeze(0);
        Forecast {
            mean: all(&means),
            quantiles: (!levels.is_empty()).then(|| all(&quantiles)),
        }
    }

    /// Those that the forecast comes of.
    fn courses(&self, tensors: &Tensors<'_>, inputs: &Inputs, pass: Pass<'_>) -> Option<Tensor> {
        let parts = self.paths(tensors, inputs, pass);
        let parts: Vec<Tensor> = parts.map(|paths| paths.values).collect();
        Some(Tensor::cat(&parts, 0))
    }

    fn draws_courses(&self) -> bool {
        true
    }

    /// One path of each member, which goes by the means: to sample after every epoch would take
    /// longer than the training.
    fn sketch(
        &self,
        tensors: &Tensors<'_>,
        inputs: &Inputs,
        _: &Tensor,
        pass: Pass<'_>,
    ) -> Forecast {
        let read = self.read(inputs, tensors.constants);
        let mean = |target: usize, parameters: &[Tensor]| self.emissions[target].mean(parameters);
        let members =
            tensors.each(|taken| self.walk(&Member::take(self, taken), &read, 1, mean, pass));
        Forecast {
            mean: Tensor::cat(&members, 1).transpose(0, 1),
            quantiles: None,
        }
    }

    /// The negative logarithm of the likelihood of a value, in the unit of the distribution, and where more than
    /// the time is known ahead the loss of what is expected by it (see [`response`]).
    fn loss(&self, tensors: &Tensors<'_>, batch: &Batch, _: &Loss, pass: Pass<'_>) -> Tensor {
        let (lookback, horizon) = (self.shape.lookback, self.shape.horizon);
        let read = self.read(&batch.inputs, tensors.constants);
        let truths = batch.truth.chunk(self.shape.count(), 1);
        let whole: Vec<Tensor> = (read.targets.iter().zip(&truths))
            .map(|(target, truth)| Tensor::cat(&[&target.observed, truth], 1))
            .collect();
        let steps = self.steps(&read, whole.iter(), self.conditioning() + horizon);
        let steps = pass.cast(&steps);
        let weights = |place: usize| {
            let weights = batch.weights.as_ref()?;
            // Of each cell, or of each window.
            Some(match weights.size()[1] {
                1 => weights.shallow_clone(),
                _ => weights.narrow(1, place as i64 * horizon, horizon),
            })
        };
        let losses = tensors.each(|taken| {
            let member = Member::take(self, taken);
            let dropout = self.dropout;
            let (top, _) = member.layers.forward(&steps, None, dropout, pass);
            let top = top.narrow(1, self.conditioning(), horizon);
            let expected = member.expected(&read, pass);
            let raw = member.out.forward(&pass.dropout(&top, dropout));
            let raw = self.by_target(&raw.to_kind(Kind::Float));
            let of_target = |place: usize| {
                let (emission, of) = (&self.emissions[place], &read.targets[place]);
                let expected = |first: i64| expected[place].narrow(1, first, horizon);
                let ahead = expected(1);
                let near = Near {
                    before: &whole[place].narrow(1, lookback - 1, horizon),
                    usual_before: &expected(0).detach(),
                    usual: &ahead.detach(),
                };
                let parameters = emission.parameters(&raw[place], &near, &of.typical);
                let mut log = emission.log_likelihood(&parameters, &truths[place]);
                if member.response.is_some() {
                    let apart = emission.apart(&ahead, &truths[place], &of.typical);
                    log -= response::loss(&apart);
                }
                -weighed(&log, weights(place).as_ref())
            };
            let losses: Vec<Tensor> = (0..raw.len()).map(of_target).collect();
            mean(&losses)
        });
        Tensor::stack(&losses, 0).mean(Kind::Float)
    }

    fn has_own_loss(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests;
