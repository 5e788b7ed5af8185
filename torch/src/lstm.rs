//! The net: config, parameters, forward.
//!
//! ```text
//! past ─▶ means of segments ─▶ embed ─▶ LSTM ─┐
//! last three rows ────────────────────────────┼─▶ decoder ─▶ mean, quantiles of each lead
//! future columns of the lead, the lead ───────┘                × spread of the lead
//! last rows ─▶ linear path (solved, not trained) ────────────▶ +
//! last target value ─────────────────────────────────────────▶ +
//! ```
//!
//! All leads come at once; a forecast that feeds on itself piles its errors up. The last value is
//! added back, so the net never has to learn the level. A recurrent step reads the mean of a
//! segment: 28 steps train several times faster than 168, and what a mean loses the linear path and
//! the last rows bring in. Several members of one shape, which differ only in their draws, are
//! trained side by side on the same windows, each by its own loss; the forecast is their average.
//! They err much alike, so a few members are enough.
//!
//! Tried and rejected on the Calais data, in one run each: all rows of a segment flattened into the
//! embedding (0.03 °C worse, and sooner knows the training windows by heart), no linear path (0.1 °C
//! worse). Quantiles of separate heads that are sorted afterwards would have a gradient that jumps
//! from head to head.

use anyhow::{Result, bail};
use krammerti::data::{FrameColumn, Role, columns_with, target_of};
use krammerti::params::{Architecture, ModelParams};
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor};

use crate::linear::Linear;
use crate::parameters::{Parameters, Spec};
use crate::windows::Inputs;

/// The last rows that the decoder sees as they are, beside what the LSTM made of them.
const RECENT_ROWS: i64 = 3;

/// All that decides the shapes of a net.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Config {
    pub(crate) lookback: i64,
    pub(crate) horizon: i64,
    pub(crate) columns: i64,
    pub(crate) target: i64,
    pub(crate) future: i64,
    pub(crate) segment: i64,
    pub(crate) hidden: i64,
    pub(crate) layers: i64,
    pub(crate) members: i64,
    pub(crate) dropout: f64,
    pub(crate) noise: f64,
    pub(crate) linear_lags: i64,
    pub(crate) levels: Vec<f64>,
}

/// Forecasts of each member, in scaled units.
pub(crate) struct Forecast {
    /// `[members, issues, horizon]`.
    pub(crate) mean: Tensor,
    /// `[members, issues, horizon, levels]`; absent without levels.
    pub(crate) quantiles: Option<Tensor>,
}

/// A net: its members' parameters and the linear path that they share.
pub(crate) struct Net {
    pub(crate) config: Config,
    pub(crate) parameters: Parameters,
    pub(crate) linear: Linear,
}

impl Config {
    /// The shapes for a model on these columns.
    pub(crate) fn new(model: &ModelParams, columns: &[FrameColumn]) -> Result<Self> {
        let Architecture::Lstm(lstm) = &model.architecture else {
            bail!("a model of kind `{}` is not an LSTM", model.kind());
        };
        Ok(Self {
            lookback: model.lookback as i64,
            horizon: model.horizon as i64,
            columns: columns.len() as i64,
            target: target_of(columns) as i64,
            future: (columns_with(columns, Role::Future).len()
                + columns_with(columns, Role::Forecast).len()) as i64,
            segment: lstm.segment as i64,
            hidden: lstm.hidden as i64,
            layers: lstm.layers as i64,
            members: lstm.members as i64,
            dropout: lstm.dropout,
            noise: lstm.noise,
            linear_lags: lstm.linear_lags as i64,
            levels: model.quantiles.clone(),
        })
    }

    /// `[issues, 1]`: the target at the issue rows.
    pub(crate) fn last(&self, inputs: &Inputs) -> Tensor {
        inputs
            .past
            .select(2, self.target)
            .narrow(1, self.lookback - 1, 1)
    }

    /// The trained parameters of all members, in the order in which [`Member::take`] reads them.
    pub(crate) fn specs(&self) -> Vec<Spec> {
        (0..self.members)
            .flat_map(|member| self.member_specs(&format!("member{member}")))
            .collect()
    }

    fn member_specs(&self, member: &str) -> Vec<Spec> {
        let hidden = self.hidden;
        let recent = RECENT_ROWS.min(self.lookback) * self.columns;
        let mut specs = Vec::new();
        let mut add = |name: String, shape: Vec<i64>, fan_in: i64| {
            specs.push(Spec {
                name: format!("{member}.{name}"),
                shape,
                bound: 1.0 / (fan_in as f64).sqrt(),
            });
        };
        let mut dense = |name: &str, from: i64, to: i64| {
            add(format!("{name}.weight"), vec![to, from], from);
            add(format!("{name}.bias"), vec![to], from);
        };
        dense("embed", self.columns + 1, hidden);
        dense("state", hidden + recent, hidden);
        dense("mix", hidden, hidden);
        dense("out", hidden, 1 + self.levels.len() as i64);
        // Both are added to the state: a lead is one of `horizon`, its columns are a few.
        add("lead".to_owned(), vec![self.horizon, hidden], hidden);
        if self.future > 0 {
            add("future".to_owned(), vec![hidden, self.future], self.future);
        }
        for layer in 0..self.layers {
            let gates = 4 * hidden;
            add(format!("lstm{layer}.input"), vec![gates, hidden], hidden);
            add(format!("lstm{layer}.hidden"), vec![gates, hidden], hidden);
            add(format!("lstm{layer}.input_bias"), vec![gates], hidden);
            add(format!("lstm{layer}.hidden_bias"), vec![gates], hidden);
        }
        specs
    }
}

impl Net {
    /// A net that is yet to be trained, around a linear path.
    pub(crate) fn draw(config: Config, linear: Linear, rng: &mut ChaCha8Rng) -> Self {
        let parameters = Parameters::zeros(config.specs(), linear.weight.device());
        parameters.draw(rng);
        Self {
            config,
            parameters,
            linear,
        }
    }

    /// A net of zeros, to be filled with weights.
    pub(crate) fn zeros(config: Config, device: Device) -> Self {
        Self {
            parameters: Parameters::zeros(config.specs(), device),
            linear: Linear::zeros(&config, device),
            config,
        }
    }

    /// Forecasts of each member. `training` switches dropout on.
    pub(crate) fn forward(&self, inputs: &Inputs, training: bool) -> Forecast {
        let config = &self.config;
        let read = Read::new(config, inputs);
        let mut views = self.parameters.views().iter();
        let raw: Vec<Tensor> = (0..config.members)
            .map(|_| Member::take(config, &mut views).forward(config, &read, training))
            .collect();
        let raw = Tensor::stack(&raw, 0);
        let base = config.last(inputs) + self.linear.forward(config, inputs);
        let mean = &base + raw.select(3, 0) * &self.linear.spread;
        let quantiles = (!config.levels.is_empty()).then(|| {
            let heads = raw.narrow(3, 1, config.levels.len() as i64);
            let offsets = spread_outwards(&heads, median(&config.levels));
            base.unsqueeze(2) + offsets * self.linear.spread.unsqueeze(1)
        });
        Forecast { mean, quantiles }
    }
}

impl Forecast {
    /// The average over members, as one.
    pub(crate) fn averaged(self) -> Self {
        let average = |all: Tensor| all.mean_dim([0_i64].as_slice(), true, Kind::Float);
        Self {
            mean: average(self.mean),
            quantiles: self.quantiles.map(average),
        }
    }
}

/// What all members read, computed once.
struct Read {
    /// `[issues, segments, columns + 1]`: the mean of each segment, and of the target relative to
    /// the last row.
    segments: Tensor,
    /// `[issues, last rows × columns]`.
    recent: Tensor,
    /// `[issues, horizon, future columns]`.
    future: Tensor,
}

impl Read {
    fn new(config: &Config, inputs: &Inputs) -> Self {
        let past = &inputs.past;
        let relative = past.narrow(2, config.target, 1) - config.last(inputs).unsqueeze(2);
        let recent = RECENT_ROWS.min(config.lookback);
        let segments = config.lookback / config.segment;
        let rows = Tensor::cat(&[past, &relative], 2);
        Self {
            segments: rows
                .view([-1, segments, config.segment, config.columns + 1])
                .mean_dim([2_i64].as_slice(), false, Kind::Float),
            recent: past
                .narrow(1, config.lookback - recent, recent)
                .flatten(1, 2),
            future: inputs.future.shallow_clone(),
        }
    }
}

/// The parameters of one member.
struct Member<'a> {
    embed: Dense<'a>,
    state: Dense<'a>,
    mix: Dense<'a>,
    out: Dense<'a>,
    lead: &'a Tensor,
    future: Option<&'a Tensor>,
    lstm: Vec<&'a Tensor>,
}

impl<'a> Member<'a> {
    /// Takes the parameters of one member, in the order of [`Config::specs`].
    fn take(config: &Config, views: &mut impl Iterator<Item = &'a Tensor>) -> Self {
        let mut next = || views.next().expect("as many views as the config has specs");
        let mut dense = || Dense {
            weight: next(),
            bias: next(),
        };
        let (embed, state, mix, out) = (dense(), dense(), dense(), dense());
        Self {
            embed,
            state,
            mix,
            out,
            lead: next(),
            future: (config.future > 0).then(&mut next),
            lstm: (0..4 * config.layers).map(|_| next()).collect(),
        }
    }

    /// `[issues, horizon, 1 + levels]`.
    fn forward(&self, config: &Config, read: &Read, training: bool) -> Tensor {
        let drop = |x: Tensor| drop_units(x, config.dropout, training);
        let segments = noisy(&read.segments, config.noise, training);
        let steps = drop(self.embed.forward(&segments).relu());
        let last = drop(self.last_state(config, &steps, training));
        let recent = noisy(&read.recent, config.noise, training);
        let state = self.state.forward(&Tensor::cat(&[&last, &recent], 1));
        let mut lead = state.unsqueeze(1) + self.lead;
        if let Some(future) = self.future {
            lead += read.future.matmul(&future.tr());
        }
        let lead = drop(lead.relu());
        let mixed = drop(self.mix.forward(&lead).relu());
        self.out.forward(&mixed)
    }

    /// `[issues, hidden]`: what the top layer holds after the last step.
    fn last_state(&self, config: &Config, steps: &Tensor, training: bool) -> Tensor {
        let shape = [config.layers, steps.size()[0], config.hidden];
        let zeros = Tensor::zeros(shape, (Kind::Float, steps.device()));
        let (_, hidden, _) = steps.lstm(
            &[&zeros, &zeros],
            &self.lstm,
            true,
            config.layers,
            config.dropout,
            training,
            false,
            true,
        );
        hidden.select(0, config.layers - 1)
    }
}

/// Dropout of the same units at every step or lead of a window: it is a stronger regulariser for
/// series than dropout of single values (Gal and Ghahramani 2016), and draws far fewer numbers.
fn drop_units(x: Tensor, share: f64, training: bool) -> Tensor {
    if !training || share == 0.0 {
        return x;
    }
    let mut shape = x.size();
    if shape.len() == 3 {
        shape[1] = 1;
    }
    let mask = Tensor::ones(shape, (x.kind(), x.device())).dropout(share, true);
    x * mask
}

/// Gaussian noise on what a member reads, in the scaled units of the data. A few years hold far
/// fewer weather situations than windows, and without it a net soon knows them by heart.
fn noisy(x: &Tensor, noise: f64, training: bool) -> Tensor {
    if training && noise > 0.0 {
        x + x.randn_like() * noise
    } else {
        x.shallow_clone()
    }
}

struct Dense<'a> {
    weight: &'a Tensor,
    bias: &'a Tensor,
}

impl Dense<'_> {
    fn forward(&self, x: &Tensor) -> Tensor {
        x.linear(self.weight, Some(self.bias))
    }
}

/// The index of the middle level: 0.5, which checked parameters hold.
fn median(levels: &[f64]) -> usize {
    levels.iter().take_while(|level| **level < 0.5).count()
}

/// Heads to quantiles that cannot cross, along the last axis: the median's head stands as it is,
/// and each further level lies a positive step outside of the one before.
fn spread_outwards(heads: &Tensor, median: usize) -> Tensor {
    let levels = heads.size()[3] as usize;
    let head = |level: usize| heads.select(3, level as i64);
    let step = |level: usize| head(level).softplus();
    let mut quantiles = vec![head(median)];
    for level in median + 1..levels {
        let above = &quantiles[quantiles.len() - 1] + step(level);
        quantiles.push(above);
    }
    for level in (0..median).rev() {
        let below = &quantiles[0] - step(level);
        quantiles.insert(0, below);
    }
    Tensor::stack(&quantiles, 3)
}
