//! What all nets have in common: shapes, tensors, and the trait that each kind implements.
//!
//! A kind is a config, the list of its trained parameters, and a forward pass; it knows nothing of
//! how it is trained, saved or run. Members of an ensemble are copies of the same parameters under
//! names of their own; they lie in one flat tensor and are trained side by side, each by its own
//! loss, and the forecast is their average.

use std::sync::Arc;

use anyhow::{Result, ensure};
use krammerti::data::{FrameColumn, Role, Scaler, columns_with};
use krammerti::params::ModelParams;
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor};

use crate::generator::Generator;
use crate::link::{Link, Links};
use crate::loss::Loss;
use crate::parameters::{Parameters, Spec};
use crate::windows::{Inputs, Windows};

/// The shape of what every kind reads and gives.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shape {
    pub(crate) lookback: i64,
    pub(crate) horizon: i64,
    pub(crate) columns: i64,
    /// Their places among the columns, increasing.
    pub(crate) targets: Vec<i64>,
    /// Columns known in the future, and those that somebody else forecast.
    pub(crate) future: i64,
    /// At least 1.
    pub(crate) series: i64,
    pub(crate) levels: Vec<f64>,
    pub(crate) links: Links,
}

/// How a forward pass is made.
#[derive(Clone, Copy)]
pub(crate) struct Pass<'a> {
    /// What dropout and noise are drawn from, in training.
    pub(crate) generator: Option<&'a Generator>,
    /// The numbers that the body of a net computes in.
    pub(crate) kind: Kind,
}

/// Forecasts of each member, in scaled units. A cell is a lead of a target: those of the first target
/// come first.
pub(crate) struct Forecast {
    /// `[members, issues, cells]`.
    pub(crate) mean: Tensor,
    /// `[members, issues, cells, levels]`, in order along the levels; absent without levels.
    pub(crate) quantiles: Option<Tensor>,
}

/// A kind of net with its sizes.
pub(crate) trait Architecture: Send + Sync {
    fn shape(&self) -> &Shape;

    /// How many nets of this shape are averaged.
    fn members(&self) -> usize;

    /// The trained parameters of one member, in the order in which the forward pass takes them.
    fn member_specs(&self) -> Vec<Spec>;

    /// Windows of a part of a step on the CPU: few enough for what is made of them to stay in the cache of a
    /// core, and for a step to have parts for several; enough to be worth its operations.
    fn windows_of_part(&self) -> usize {
        64
    }

    /// The parameter that has a row for each series, where it tells one from another, and so forecasts only
    /// those that it was trained on.
    fn series_table(&self) -> Option<&'static str> {
        None
    }

    /// Whether it tells one series from another.
    fn knows_series(&self) -> bool {
        self.series_table().is_some()
    }

    /// Tensors that are solved before the training and then stand still, with their shapes.
    fn constant_shapes(&self) -> Vec<(&'static str, Vec<i64>)> {
        Vec::new()
    }

    /// Solves them, in the same order.
    fn solve(&self, _: &Windows, _: &[usize], _: &[usize]) -> Result<Vec<Tensor>> {
        Ok(Vec::new())
    }

    /// `[issues, cells]`, or `[issues, 1]` where it is the same in all of them: what a forecast begins
    /// with and no parameter changes; so a training computes it once for each window.
    fn base(&self, _: &[Tensor], inputs: &Inputs) -> Tensor {
        self.shape().carried(inputs)
    }

    /// Whether what is solved makes the base more than a value that is read.
    fn solves_base(&self) -> bool {
        !self.constant_shapes().is_empty()
    }

    /// `[cells]`: how far the truth is expected to lie from the base.
    fn spread(&self, _: &[Tensor]) -> Option<Tensor> {
        None
    }

    /// Forecasts of each member.
    fn forward(
        &self,
        tensors: &Tensors<'_>,
        inputs: &Inputs,
        base: &Tensor,
        pass: Pass<'_>,
    ) -> Forecast;

    /// Possible courses of the targets, `[issues, paths, cells]`, where a forecast comes of such.
    fn courses(&self, _: &Tensors<'_>, _: &Inputs, _: Pass<'_>) -> Option<Tensor> {
        None
    }

    /// A forecast of which only the mean is wanted, after each epoch; where an own loss stands for
    /// the rest it may be a rough one.
    fn sketch(
        &self,
        tensors: &Tensors<'_>,
        inputs: &Inputs,
        base: &Tensor,
        pass: Pass<'_>,
    ) -> Forecast {
        self.forward(tensors, inputs, base, pass)
    }

    /// What the training makes small: the mean over members and windows.
    fn loss(&self, tensors: &Tensors<'_>, batch: &Batch, loss: &Loss, pass: Pass<'_>) -> Tensor {
        loss.of(
            &self.forward(tensors, &batch.inputs, &batch.base, pass),
            &batch.truth,
            batch.weights.as_ref(),
        )
    }

    /// Whether [`Architecture::loss`] is the only loss: a likelihood, which a forecast has none of.
    fn has_own_loss(&self) -> bool {
        false
    }
}

/// Some windows with all that a step of the training needs.
pub(crate) struct Batch {
    pub(crate) inputs: Inputs,
    /// As [`Architecture::base`] gives it.
    pub(crate) base: Tensor,
    /// `[issues, cells]`.
    pub(crate) truth: Tensor,
    /// How much each cell counts, `[issues, cells]` or `[issues, 1]`; all the same where there are none.
    pub(crate) weights: Option<Tensor>,
}

/// What a forward pass reads besides its windows.
pub(crate) struct Tensors<'a> {
    /// Of each member, as [`Architecture::member_specs`] lists them.
    members: Vec<Vec<Tensor>>,
    /// As [`Architecture::constant_shapes`] lists them.
    pub(crate) constants: &'a [Tensor],
}

/// The parameters of one member, taken one after the other.
pub(crate) struct Taken<'a>(std::slice::Iter<'a, Tensor>);

impl Tensors<'_> {
    pub(crate) fn members(&self) -> impl Iterator<Item = Taken<'_>> {
        self.members.iter().map(|member| Taken(member.iter()))
    }

    /// What each member makes of its parameters.
    pub(crate) fn each(&self, make: impl FnMut(Taken<'_>) -> Tensor) -> Vec<Tensor> {
        self.members().map(make).collect()
    }
}

impl<'a> Taken<'a> {
    pub(crate) fn next(&mut self) -> &'a Tensor {
        self.0.next().expect("as many tensors as there are specs")
    }

    pub(crate) fn take(&mut self, count: usize) -> Vec<&'a Tensor> {
        (0..count).map(|_| self.next()).collect()
    }
}

/// A net: its members' parameters and what they share.
pub(crate) struct Net {
    pub(crate) architecture: Arc<dyn Architecture>,
    pub(crate) parameters: Parameters,
    pub(crate) constants: Vec<Tensor>,
    /// How many parameters a member has.
    each: usize,
}

impl Net {
    /// A net that is yet to be trained.
    pub(crate) fn draw(
        architecture: Arc<dyn Architecture>,
        constants: Vec<Tensor>,
        device: Device,
        rng: &mut ChaCha8Rng,
    ) -> Self {
        let parameters = Parameters::zeros(specs(&*architecture), device);
        parameters.draw(rng);
        Self {
            each: architecture.member_specs().len(),
            architecture,
            parameters,
            constants,
        }
    }

    /// A net of zeros, to be filled with weights.
    pub(crate) fn zeros(architecture: Arc<dyn Architecture>, device: Device) -> Self {
        let constants = architecture.constant_shapes();
        Self {
            parameters: Parameters::zeros(specs(&*architecture), device),
            constants: constants
                .into_iter()
                .map(|(_, shape)| Tensor::zeros(shape, (Kind::Float, device)))
                .collect(),
            each: architecture.member_specs().len(),
            architecture,
        }
    }

    /// The same net for another thread: it shares the memory of the parameters.
    pub(crate) fn share(&self) -> Self {
        Self {
            architecture: Arc::clone(&self.architecture),
            parameters: self.parameters.share(),
            constants: self.constants.iter().map(Tensor::shallow_clone).collect(),
            each: self.each,
        }
    }

    /// Gives the series that no window of the training is of, by their places, what the others have on average:
    /// otherwise they would keep what was drawn for them.
    pub(crate) fn average_unseen(&self, seen: &[i64], unseen: &[i64]) {
        let Some(table) = self.architecture.series_table() else {
            return;
        };
        let _no_grad = tch::no_grad_guard();
        let is_table = |name: &str| name.rsplit('.').next() == Some(table);
        let tables = self.parameters.named().filter(|(name, _)| is_table(name));
        for (_, rows) in tables.filter(|_| !unseen.is_empty()) {
            let rows_of = |places: &[i64]| Tensor::from_slice(places).to(rows.device());
            let seen = rows.index_select(0, &rows_of(seen));
            let mean = seen.mean_dim([0_i64].as_slice(), true, Kind::Float);
            let mean = mean.expand([unseen.len() as i64, -1], false);
            let _ = rows.shallow_clone().index_copy_(0, &rows_of(unseen), &mean);
        }
    }

    /// What a pass reads, in the numbers of its body.
    pub(crate) fn tensors(&self, pass: Pass<'_>) -> Tensors<'_> {
        let cast = |view: &Tensor| pass.cast(view);
        Tensors {
            members: self
                .parameters
                .views()
                .chunks(self.each)
                .map(|member| member.iter().map(cast).collect())
                .collect(),
            constants: &self.constants,
        }
    }

    /// Forecasts of each member.
    pub(crate) fn forecast(&self, inputs: &Inputs, pass: Pass<'_>) -> Forecast {
        let base = self.architecture.base(&self.constants, inputs);
        self.architecture
            .forward(&self.tensors(pass), inputs, &base, pass)
    }

    /// All tensors by name, sharing their memory.
    pub(crate) fn named(&self) -> Vec<(String, Tensor)> {
        let constants = self.architecture.constant_shapes();
        let constants = constants.iter().map(|(name, _)| *name).zip(&self.constants);
        self.parameters
            .named()
            .chain(constants)
            .map(|(name, tensor)| (name.to_owned(), tensor.shallow_clone()))
            .collect()
    }
}

/// The trained parameters of all members.
fn specs(architecture: &dyn Architecture) -> Vec<Spec> {
    let named = |member: usize| {
        let specs = architecture.member_specs().into_iter();
        specs.map(move |spec| Spec {
            name: format!("member{member}.{}", spec.name),
            ..spec
        })
    };
    (0..architecture.members()).flat_map(named).collect()
}

impl Shape {
    /// The shape for a model on these columns and series.
    pub(crate) fn new(
        model: &ModelParams,
        columns: &[FrameColumn],
        series: usize,
        scalers: &[Scaler],
    ) -> Result<Self> {
        let targets = columns_with(columns, Role::Target);
        ensure!(
            !targets.is_empty() && targets.len() == scalers.len(),
            "a net needs a target, and a scaler for each: there are {} and {}",
            targets.len(),
            scalers.len()
        );
        let link = |(&target, scaler): (&usize, &Scaler)| {
            Link::new(model.bounds.of(&columns[target].name), *scaler)
        };
        let role = |role| columns_with(columns, role).len();
        Ok(Self {
            lookback: model.lookback as i64,
            horizon: model.horizon as i64,
            columns: columns.len() as i64,
            links: Links::new(targets.iter().zip(scalers).map(link).collect()),
            targets: targets.into_iter().map(|target| target as i64).collect(),
            future: (role(Role::Future) + role(Role::Forecast)) as i64,
            series: series.max(1) as i64,
            levels: model.quantiles.clone(),
        })
    }

    /// Numbers that a net without a distribution gives for each lead: of each target in turn the mean
    /// and the levels.
    pub(crate) fn outputs(&self) -> i64 {
        self.count() * self.of_cell()
    }

    /// Numbers for each lead of one target.
    fn of_cell(&self) -> i64 {
        1 + self.levels.len() as i64
    }

    /// Of the targets.
    pub(crate) fn count(&self) -> i64 {
        self.targets.len() as i64
    }

    /// Values of a forecast: the leads of all targets.
    pub(crate) fn cells(&self) -> i64 {
        self.count() * self.horizon
    }

    /// `[issues, lookback, targets]`.
    pub(crate) fn observed(&self, inputs: &Inputs) -> Tensor {
        pick(&inputs.past, &self.targets)
    }

    /// `[issues, 1, targets]`: the targets at the issue rows.
    pub(crate) fn last(&self, inputs: &Inputs) -> Tensor {
        let row = inputs.past.narrow(1, self.lookback - 1, 1);
        pick(&row, &self.targets)
    }

    /// `[issues, cells]`, or `[issues, 1]` of one target: its last value at every lead.
    pub(crate) fn carried(&self, inputs: &Inputs) -> Tensor {
        let last = self.last(inputs).squeeze_dim(1);
        if self.count() == 1 {
            return last;
        }
        let at_leads = [-1, -1, self.horizon];
        last.unsqueeze(2).expand(at_leads, false).flatten(1, 2)
    }

    /// `[issues, lookback, targets]`: the targets relative to their last values.
    pub(crate) fn relative(&self, inputs: &Inputs) -> Tensor {
        self.observed(inputs) - self.last(inputs)
    }

    /// `[..., horizon, outputs]` as `[..., cells, outputs of a cell]`.
    fn by_cell(&self, raw: &Tensor) -> Tensor {
        if self.count() == 1 {
            return raw.shallow_clone();
        }
        let [members, issues, horizon] = [0, 1, 2].map(|axis| raw.size()[axis]);
        raw.view([members, issues, horizon, self.count(), self.of_cell()])
            .transpose(2, 3)
            .flatten(2, 3)
    }

    /// From what the members give, each `[issues, horizon, outputs]` relative to the base in units
    /// of the spread, to forecasts.
    pub(crate) fn forecast(
        &self,
        raw: &[Tensor],
        base: &Tensor,
        spread: Option<&Tensor>,
    ) -> Forecast {
        let raw = match raw {
            [one] => one.unsqueeze(0),
            several => Tensor::stack(several, 0),
        };
        let raw = self.by_cell(&raw).to_kind(Kind::Float);
        let scaled = |offset: Tensor| match spread {
            Some(spread) => offset * spread,
            None => offset,
        };
        // Where there is nothing else, a view: a selection has a copy in its backward pass.
        let mean = if self.levels.is_empty() {
            raw.squeeze_dim(3)
        } else {
            raw.select(3, 0)
        };
        let mean = self.links.apply(base + scaled(mean));
        let quantiles = (!self.levels.is_empty()).then(|| {
            let heads = raw.narrow(3, 1, self.levels.len() as i64);
            let offsets = spread_outwards(&heads, median(&self.levels));
            let offsets = match spread {
                Some(spread) => offsets * spread.unsqueeze(1),
                None => offsets,
            };
            self.links.apply(base.unsqueeze(2) + offsets)
        });
        Forecast { mean, quantiles }
    }
}

impl Forecast {
    /// The average over members, as one, quantiles next to a bound on it. An average of values that stand at a
    /// bound can lie a last bit beyond it.
    pub(crate) fn averaged(self, links: &Links) -> Self {
        let average = |all: Tensor| all.mean_dim([0_i64].as_slice(), true, Kind::Float);
        Self {
            mean: links.cut(average(self.mean)),
            quantiles: self.quantiles.map(|all| links.settle(average(all))),
        }
    }
}

impl Pass<'static> {
    pub(crate) const FORECAST: Self = Self {
        generator: None,
        kind: Kind::Float,
    };
}

impl<'a> Pass<'a> {
    pub(crate) fn is_training(self) -> bool {
        self.generator.is_some()
    }

    /// The generator, where a share of something is to be dropped or noise of some size is wanted.
    pub(crate) fn draws(self, amount: f64) -> Option<&'a Generator> {
        self.generator.filter(|_| amount > 0.0)
    }

    /// Dropout of single values.
    pub(crate) fn dropout(self, x: &Tensor, share: f64) -> Tensor {
        match self.draws(share) {
            Some(generator) => generator.dropout(x, share),
            None => x.shallow_clone(),
        }
    }

    /// A tensor in the numbers of this pass.
    pub(crate) fn cast(self, tensor: &Tensor) -> Tensor {
        // A conversion to what it is already would still be a call.
        if self.kind == Kind::Float {
            tensor.shallow_clone()
        } else {
            tensor.to_kind(self.kind)
        }
    }
}

/// Some columns of `[issues, rows, columns]`, without an index that would have to be brought to a
/// GPU at every step.
pub(crate) fn pick(x: &Tensor, columns: &[i64]) -> Tensor {
    let runs = columns.chunk_by(|column, next| *next == column + 1);
    let runs = runs.map(|run| x.narrow(2, run[0], run.len() as i64));
    let mut parts: Vec<Tensor> = runs.collect();
    match parts.len() {
        0 => x.narrow(2, 0, 0),
        1 => parts.remove(0),
        _ => Tensor::cat(&parts, 2),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::{assert_gradient, shape};
    use crate::golden;
    use krammerti::params::Bounds;
    use proptest::prelude::*;

    /// No bound, one, both, and both so near that the link bends throughout.
    const BOUNDS: [(Option<f64>, Option<f64>); 5] = [
        (None, None),
        (Some(-0.5), None),
        (None, Some(2.0)),
        (Some(-0.5), Some(2.0)),
        (Some(0.0), Some(0.01)),
    ];

    fn link((lower, upper): (Option<f64>, Option<f64>)) -> Link {
        Link::new(Bounds { lower, upper }, Scaler::IDENTITY)
    }

    #[test]
    fn quantiles_by_hand() {
        let heads = Tensor::from_slice(&[0.0_f32, 1.0, -1.0]).view([1, 1, 1, 3]);
        let quantiles = Vec::<f32>::try_from(spread_outwards(&heads, 1).view([3])).unwrap();
        let softplus = |x: f64| x.exp().ln_1p();
        let expected = [1.0 - softplus(0.0), 1.0, 1.0 + softplus(-1.0)];
        for (value, expected) in quantiles.iter().zip(expected) {
            assert!((f64::from(*value) - expected).abs() < 1e-6, "{quantiles:?}");
        }
        assert_eq!(median(&[0.1, 0.5, 0.9]), 1);
        assert_eq!(median(&[0.5]), 0);
    }

    #[test]
    fn quantile_head_of_pytorch() {
        let heads = golden::tensor("quantiles.heads").unsqueeze(0);
        for median in [0, 2] {
            let levels = spread_outwards(&heads, median).squeeze_dim(0);
            golden::assert_golden(&levels, &format!("quantiles.median_{median}"), 1e-12);
        }
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        let heads = golden::tensor("quantiles.heads").unsqueeze(0);
        for median in [0, 2, 4] {
            assert_gradient(&heads, 1e-5, 1e-8, |heads| spread_outwards(heads, median));
        }
        // Within, near and beyond the bounds; none where torch's softplus becomes the identity, which
        // is a jump of 2e-9.
        let x = Tensor::linspace(-1.73, 3.07, 49, (Kind::Double, Device::Cpu));
        for bounds in BOUNDS {
            let link = link(bounds);
            assert_gradient(&x, 1e-6, 1e-6, |x| link.apply(x.shallow_clone()));
        }
    }

    /// Raw numbers of some members, three leads: moderate ones, where floats are dense, and any; of several
    /// members not such as become infinite, of which there is no average.
    fn raw() -> impl Strategy<Value = (usize, usize, Vec<f32>)> {
        let number = prop_oneof![-3.0..3.0_f32, -100.0..100.0_f32, any::<f32>()];
        (0..4_usize, 0..4_usize, 1..9_usize).prop_flat_map(move |(below, above, members)| {
            let count = members * 3 * (2 + below + above);
            let most = if members == 1 { f32::MAX } else { 1e30 };
            let number = number.clone().prop_map(move |x: f32| x.clamp(-most, most));
            let raw = prop::collection::vec(number, count);
            raw.prop_map(move |raw| (below, above, raw))
        })
    }

    /// Whether all is in order and inside the bounds; no number that is none is.
    fn in_order(
        bounds: (Option<f64>, Option<f64>),
        (below, above, raw): &(usize, usize, Vec<f32>),
        base: &[f32],
        spread: Option<&[f32]>,
    ) -> Result<(), TestCaseError> {
        let low = [0.05, 0.1, 0.25];
        let high = [0.75, 0.9, 0.95];
        let levels = [&low[3 - below..], &[0.5], &high[..*above]].concat();
        let shape = Shape {
            links: Links::new(vec![link(bounds)]),
            levels,
            ..shape(1, 3)
        };
        let raw = Tensor::from_slice(raw).view([-1, 1, 3, shape.outputs()]);
        let base = Tensor::from_slice(base).view([1, 3]);
        let spread = spread.map(Tensor::from_slice);
        let members: Vec<Tensor> = (0..raw.size()[0]).map(|member| raw.get(member)).collect();
        let forecast = shape.forecast(&members, &base, spread.as_ref());
        let quantiles = forecast.averaged(&shape.links).quantiles;
        let quantiles = quantiles.expect("there are levels").reshape([-1]);
        let quantiles = Vec::<f32>::try_from(quantiles).unwrap();
        for lead in quantiles.chunks(shape.levels.len()) {
            prop_assert!(lead.is_sorted(), "{lead:?}");
            let inside = |value: &f32| {
                let value = f64::from(*value);
                bounds.0.is_none_or(|lower| value >= lower)
                    && bounds.1.is_none_or(|upper| value <= upper)
                    && !value.is_nan()
            };
            prop_assert!(lead.iter().all(inside), "{lead:?}");
        }
        Ok(())
    }

    fn base() -> impl Strategy<Value = Vec<f32>> {
        prop::collection::vec(-100.0..100.0_f32, 3)
    }

    fn spread() -> impl Strategy<Value = Option<Vec<f32>>> {
        prop::option::of(prop::collection::vec(1e-4..100.0_f32, 3))
    }

    proptest! {
        #[test]
        fn quantiles_never_cross(raw in raw(), base in base(), spread in spread()) {
            for bounds in BOUNDS.iter().filter(|bounds| bounds.1.is_none()) {
                in_order(*bounds, &raw, &base, spread.as_deref())?;
            }
        }

        #[test]
        fn quantiles_never_cross_below_an_upper_bound(raw in raw(), base in base(), spread in spread()) {
            for bounds in BOUNDS.iter().filter(|bounds| bounds.1.is_some()) {
                in_order(*bounds, &raw, &base, spread.as_deref())?;
            }
        }
    }
}
