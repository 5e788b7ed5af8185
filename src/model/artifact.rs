//! A trained model as an artifact: everything that predict needs to refuse a series that does not fit.

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::{Epoch, Misfit};
use crate::data::{
    Capacities, ColumnMeta, ColumnSource, Dataset, FrameColumn, Role, Scaler, Unscaling,
};
use crate::params::{ModelParams, Targets};
use crate::time::{Step, format_utc, parse_time};

/// The version of `model.json`.
const FORMAT: u32 = 2;

/// `model.json`; the weights lie beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelFile {
    /// Version of this format.
    pub format: u32,
    /// The columns it forecasts.
    #[serde(rename = "target")]
    pub targets: Targets,
    /// The time between two rows.
    pub step: Step,
    /// Kind, lookback, horizon, quantiles and sizes.
    pub model: ModelParams,
    /// The columns it sees, in order.
    pub columns: Vec<ModelColumn>,
    /// What columns can reach at most: it sees shares of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub capacity: Capacities,
    /// Seconds from the issue of a forecast from outside to the moment at which it could be had; absent without
    /// such, and in models of before this was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecasts_delay_s: Option<i64>,
    /// The series it was trained on, in their order; empty where there is one without a name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub series: Vec<String>,
    /// The end of the rows that it was fitted to, those of the training and the validation part; of the
    /// model that its training began with too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_until: Option<String>,
    /// The epoch whose weights were kept, and how it did; absent for a model that is solved at once.
    pub best: Option<BestEpoch>,
}

/// A column as the model was trained on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelColumn {
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// Its unit.
    pub unit: String,
    /// What it was made from; absent in models of before this was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<ColumnSource>,
    /// Its scaling.
    pub scaler: Scaler,
}

/// The epoch whose weights were kept.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BestEpoch {
    /// From 1; 0 where the weights of a warm start are the best.
    pub epoch: usize,
    /// Loss on the validation part.
    pub validation_loss: f64,
    /// Root mean square error on the validation part, in the target's unit; of several targets
    /// together, in their scaled units.
    pub validation_rmse: f64,
    /// The same of repeating the last value; absent in models of before this was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistence_rmse: Option<f64>,
}

/// As it stands in `dataset.json`.
fn written(source: &ColumnSource) -> String {
    serde_json::to_string(source).unwrap_or_else(|_| format!("{source:?}"))
}

impl ModelFile {
    /// Reads `model.json`. Its parameters must be such as a training may have, since a person may have edited them.
    pub fn parse(json: &str) -> anyhow::Result<Self> {
        let file: Self = serde_json::from_str(json)?;
        file.model.check()?;
        if let Some(until) = &file.seen_until {
            let time = parse_time(until, None, 0);
            time.with_context(|| format!("seen_until: expected a time in UTC, found `{until}`"))?;
        }
        Ok(file)
    }

    /// Describes a model that was trained on a data set.
    pub fn new(dataset: &Dataset, model: &ModelParams, history: &[Epoch]) -> Self {
        let meta = dataset.meta();
        let (spread, _) = unit_of_errors(dataset);
        let best = history
            .iter()
            .min_by(|a, b| a.validation_loss.total_cmp(&b.validation_loss));
        Self {
            format: FORMAT,
            targets: meta.targets.clone(),
            step: meta.step,
            model: model.clone(),
            columns: meta
                .columns
                .iter()
                .map(|c| ModelColumn {
                    name: c.name.clone(),
                    role: c.role,
                    unit: c.unit.clone(),
                    source: Some(c.source.clone()),
                    scaler: c.scaler,
                })
                .collect(),
            capacity: meta.capacity.clone(),
            forecasts_delay_s: meta.forecasts.as_ref().map(|forecasts| forecasts.delay_s),
            series: dataset.panel().layout().names(),
            seen_until: Some(format_utc(meta.split.validation_until())),
            best: best.map(|epoch| BestEpoch {
                epoch: epoch.epoch,
                validation_loss: epoch.validation_loss,
                validation_rmse: epoch.validation_rmse * spread,
                persistence_rmse: None,
            }),
        }
    }

    /// With what repeating the last value comes to on the windows that the best epoch was judged by.
    #[must_use]
    pub fn beside(mut self, persistence_rmse: Option<f64>) -> Self {
        if let Some(best) = &mut self.best {
            best.persistence_rmse = persistence_rmse;
        }
        self
    }

    /// Of a training that began with the weights of another model, which may have seen later rows.
    #[must_use]
    pub fn begun_with(self, seen_until: Option<String>) -> Self {
        Self {
            // Written alike, so that the later one is the greater text.
            seen_until: self.seen_until.max(seen_until),
            ..self
        }
    }

    /// Whether it can forecast from a data set.
    pub fn check(&self, dataset: &Dataset) -> Result<(), Misfit> {
        let meta = dataset.meta();
        if self.format != FORMAT {
            return Err(Misfit::Format {
                expected: FORMAT,
                found: self.format,
            });
        }
        if !self
            .target_columns()
            .map(|c| &c.name)
            .eq(self.targets.names())
        {
            return Err(Misfit::Targets(self.targets.to_string()));
        }
        if self.step != meta.step {
            return Err(Misfit::Step {
                model: self.step,
                data: meta.step,
            });
        }
        self.check_columns(&meta.columns)?;
        for (ours, theirs) in self.columns.iter().zip(&meta.columns) {
            if let Some(source) = &ours.source
                && !source.is_like(&theirs.source)
            {
                return Err(Misfit::Source {
                    column: ours.name.clone(),
                    model: written(source),
                    data: written(&theirs.source),
                });
            }
        }
        for (ours, theirs, model) in [
            (&self.capacity, &meta.capacity, true),
            (&meta.capacity, &self.capacity, false),
        ] {
            if let Some(column) = ours.keys().find(|column| !theirs.contains_key(*column)) {
                let column = column.clone();
                return Err(Misfit::Capacity { column, model });
            }
        }
        for (column, capacity) in &self.capacity {
            let (column, model) = (column.clone(), capacity.is_fitted());
            if !capacity.is_sound() {
                return Err(Misfit::NoCapacity(column));
            }
            if (meta.capacity.get(&column)).is_some_and(|ours| ours.is_fitted() != model) {
                return Err(Misfit::CapacityOrigin { column, model });
            }
        }
        let delay = meta.forecasts.as_ref().map(|forecasts| forecasts.delay_s);
        match (self.forecasts_delay_s, delay) {
            (Some(model), Some(data)) if model != data => Err(Misfit::Delay { model, data }),
            _ => Ok(()),
        }
    }

    /// Whether data have its columns, each with its role and unit, in its order.
    fn check_columns(&self, theirs: &[ColumnMeta]) -> Result<(), Misfit> {
        let names: [Vec<&str>; 2] = [
            self.columns.iter().map(|c| c.name.as_str()).collect(),
            theirs.iter().map(|c| c.name.as_str()).collect(),
        ];
        let [expected, found] = &names;
        let beyond = |these: &[&str], those: &[&str]| -> Vec<String> {
            let these = these.iter().filter(|name| !those.contains(name));
            these.map(ToString::to_string).collect()
        };
        let (missing, unknown) = (beyond(expected, found), beyond(found, expected));
        if !missing.is_empty() || !unknown.is_empty() {
            return Err(Misfit::Columns { missing, unknown });
        }
        for ours in &self.columns {
            let same = theirs.iter().filter(|column| column.name == ours.name);
            for theirs in same {
                if (ours.role, &ours.unit) != (theirs.role, &theirs.unit) {
                    return Err(Misfit::Column {
                        expected: format!("{} ({}, {})", ours.name, ours.role, ours.unit),
                        found: format!("{} ({}, {})", theirs.name, theirs.role, theirs.unit),
                    });
                }
            }
        }
        if expected != found {
            let [expected, found] = names.map(|names| names.join(", "));
            return Err(Misfit::Order { expected, found });
        }
        Ok(())
    }

    /// What is to be said where the test part of a data set has rows that this model was fitted to.
    pub fn seen_of(&self, dataset: &Dataset) -> Option<String> {
        let until = self.seen_until.as_ref()?;
        let test_from = dataset.meta().split.test_from();
        let seen = parse_time(until, None, 0).is_some_and(|until| until > test_from);
        seen.then(|| {
            format!(
                "the model was fitted to rows up to {until}, the test part begins at {}: what it has seen \
                 says nothing of how it will do",
                format_utc(test_from)
            )
        })
    }

    /// The columns as a frame has them.
    pub fn frame_columns(&self) -> Vec<FrameColumn> {
        let columns = self.columns.iter();
        FrameColumn::from_sources(columns.map(|c| (c.name.as_str(), c.role, c.source.as_ref())))
    }

    /// The scaling it was trained with.
    pub fn scalers(&self) -> Vec<Scaler> {
        self.columns.iter().map(|column| column.scaler).collect()
    }

    /// Its targets, in the order of its forecasts.
    pub fn target_columns(&self) -> impl Iterator<Item = &ModelColumn> {
        let columns = self.columns.iter();
        columns.filter(|column| column.role == Role::Target)
    }

    /// The way back from its forecasts of a target with such a capacity, which is 1 where it has none.
    pub fn unscaling(&self, target: &ModelColumn, capacity: f64) -> Unscaling {
        Unscaling::new(target.scaler, self.model.bounds.of(&target.name)).times(capacity)
    }

    /// The scaling of each of its targets.
    pub fn target_scalers(&self) -> Vec<Scaler> {
        self.target_columns().map(|column| column.scaler).collect()
    }
}

/// What a scaled error of all targets together is multiplied by to be told to a person, and the unit
/// that it then has: the target's own where there is one, or that of shares of its capacity; several have none in
/// common.
pub fn unit_of_errors(dataset: &Dataset) -> (f64, &str) {
    let mut targets = dataset.targets();
    match (targets.next(), targets.next()) {
        // One unit of a logarithm is another amount at each value.
        (Some(one), None) if one.scaler.is_logarithmic() => (1.0, "(scaled)"),
        (Some(one), None) if dataset.meta().capacity.contains_key(&one.name) => {
            (one.scaler.spread(), "of capacity")
        }
        (Some(one), None) => (one.scaler.spread(), &one.unit),
        _ => (1.0, "(scaled)"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Of a model that forecasts `y` from the columns after it.
    fn json() -> serde_json::Value {
        let scaler = json!({"method": "none", "center": 0.0, "scale": 1.0});
        let column = |name: &str, role: &str| json!({"name": name, "role": role, "unit": "1", "scaler": scaler});
        let columns = [
            column("y", "target"),
            column("k", "future"),
            column("x", "past"),
        ];
        let architecture = json!({"kind": "ridge", "lags": 24, "penalty": 1e-5});
        let model =
            json!({"lookback": 24, "horizon": 6, "quantiles": [], "architecture": architecture});
        json!({
            "format": FORMAT, "target": "y", "step": "1h", "model": model, "columns": columns, "best": null,
        })
    }

    #[test]
    fn what_no_training_wrote_is_refused() {
        let told = |pointer: &str, value: serde_json::Value| {
            let mut json = json();
            json["seen_until"] = "2024-01-01T00:00:00Z".into();
            json["model"]["bounds"] = json!({"lower": 0.0, "upper": 1.0});
            *json.pointer_mut(pointer).unwrap() = value;
            ModelFile::parse(&json.to_string())
                .err()
                .map(|error| format!("{error:#}"))
        };
        assert_eq!(told("/format", FORMAT.into()), None);
        for (pointer, value, expected) in [
            (
                "/model/quantiles",
                json!([0.9, 0.5, 0.1]),
                "model.quantiles: expected levels",
            ),
            (
                "/model/horizon",
                json!(1_000_000_000_000_u64),
                "model.horizon: expected between",
            ),
            (
                "/model/lookback",
                json!(0),
                "model.lookback: expected between",
            ),
            ("/model/bounds/lower", json!(100.0), "lower below upper"),
            (
                "/model/architecture/lags",
                json!(25),
                "model.lags: expected between 1 and model.lookback",
            ),
            ("/model/architecture/kind", json!("lstn"), "lstn"),
            (
                "/seen_until",
                json!("zzz"),
                "seen_until: expected a time in UTC, found `zzz`",
            ),
        ] {
            let told = told(pointer, value).expect(pointer);
            assert!(told.contains(expected), "{pointer}: {told}");
        }
    }

    #[test]
    fn columns_that_differ_are_told_by_name() {
        let file = ModelFile::parse(&json().to_string()).unwrap();
        let of = |column: &ModelColumn| ColumnMeta {
            name: column.name.clone(),
            role: column.role,
            unit: column.unit.clone(),
            source: ColumnSource::Observed {
                column: column.name.clone(),
                aggregate: None,
            },
            scaler: column.scaler,
            min: None,
            max: None,
            filled: 0,
            missing: 0,
        };
        let same: Vec<ColumnMeta> = file.columns.iter().map(of).collect();
        let [y, k, x] = &same[..] else {
            panic!("{same:?}");
        };
        let as_column = |name: &str| ColumnMeta {
            name: name.to_owned(),
            ..x.clone()
        };
        let in_metres = ColumnMeta {
            unit: "m".to_owned(),
            ..k.clone()
        };
        let told = |columns: &[&ColumnMeta]| {
            let columns: Vec<ColumnMeta> = columns.iter().copied().cloned().collect();
            let misfit = file.check_columns(&columns).err()?.to_string();
            Some(
                misfit
                    .trim_start_matches("the model was trained on ")
                    .to_owned(),
            )
        };
        assert_eq!(told(&[y, k, x]), None);
        for (columns, expected) in [
            (&[y, x][..], "columns that differ: the data lack k"),
            (
                &[y, &as_column("a"), k, x],
                "columns that differ: the data have a, which it does not know",
            ),
            (
                &[y, &as_column("a")],
                "columns that differ: the data lack k, x; the data have a, which it does not know",
            ),
            (
                &[y, x, &in_metres],
                "column k (future, 1), the data have k (future, m)",
            ),
            (
                &[y, x, k],
                "the columns y, k, x in this order, the data have y, x, k",
            ),
        ] {
            assert_eq!(told(columns).as_deref(), Some(expected));
        }
    }
}
