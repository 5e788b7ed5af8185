//! The shape of what every kind of net reads and gives, and what it reads at once.

use anyhow::{Result, ensure};
use krammerti::data::{FrameColumn, Role, Scaler, columns_with};
use krammerti::params::ModelParams;
use tch::Tensor;

use crate::link::{Link, Links};
use crate::windows::Inputs;

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
    pub(crate) fn by_cell(&self, raw: &Tensor) -> Tensor {
        if self.count() == 1 {
            return raw.shallow_clone();
        }
        let [members, issues, horizon] = [0, 1, 2].map(|axis| raw.size()[axis]);
        raw.view([members, issues, horizon, self.count(), self.of_cell()])
            .transpose(2, 3)
            .flatten(2, 3)
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
