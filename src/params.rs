//! `params.yaml`: raw values, which decide keys, and checked parameters, which commands use.
//!
//! A key must see what the person wrote and nothing else, so it takes the raw leaves of the
//! sections that a command reads. A command must not meet a value out of range, so it takes the
//! checked form. Both come from one file read once.

mod capacity;
mod check;
mod checked;
mod model;
mod prepare;
mod quality;
mod raw;
mod raw_quality;
mod resample;
mod source;
mod targets;
mod train;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use crate::yaml;

pub use capacity::CapacityParams;
pub use checked::{
    Device, Dimension, EvaluateParams, Fallback, FeelsLike, Params, PredictParams, Sampler,
    SourceParams, TuneParams,
};
pub use model::{
    Architecture, Bounds, CorrectionParams, Decoder, DeeparParams, Distribution, LinearParams,
    ModelParams, RecurrentParams, RidgeParams, SegrnnParams,
};
pub use prepare::{
    Borders, Calendar, CalendarWaves, DewPointParams, FillMethod, FillParams, ForecastParams, Mask,
    Place, PrepareParams, RollingParams, Scaling, Shift, SpeedParams, SplitParams, SplitShares,
    SunParams, WindPair,
};
pub use quality::{Action, ColumnQuality, Conflicts, OrderedPair, QualityParams, Quantity};
pub use resample::{Aggregate, Statistic};
pub use source::file::{
    FileColumn, FileFormat, FileSeries, FileSource, Reading, RowTime, TextFormat, ValidTime,
};
pub use source::http::{
    AnswerFormat, AnswerParams, Body, Expected, Field, HttpSource, Layout, Paging, Piece, Pointer,
    Range, Station, Template, TimeText,
};
pub use source::noaa_co2::{Co2Column, Interval, NoaaCo2Source, NoaaPlace};
pub use source::open_meteo::{
    Days, DaysWanted, ForecastWanted, OpenMeteoSource, Places, Wanted, previous_day,
};
pub use source::requests::{RequestLimits, Token, TokenCarrier, TokenPlace};
pub use source::times::{
    Ambiguous, Clock, Nonexistent, Notation, SourceTime, TimeFormat, TimeParts, TimePlace,
};
pub use targets::{TargetBounds, Targets};
pub use train::{PointLoss, Precision, SampleWeights, Schedule, TrainParams};

/// Names that no column of a source can have, because the rows themselves are told by them.
const RESERVED_COLUMNS: [&str; 3] = ["time", "series", "issue_time"];

/// Parameters that decide not a bit of what any stage makes: how a training goes on, and how old data may
/// be that `check` looks at. They are part of no key.
const OF_NO_EFFECT: [&str; 4] = [
    "train.threads",
    "train.checkpoint_minutes",
    "prepare.quality.timeliness",
    "prepare.quality.limits.oldest",
];

/// The kinds of models that need no training by the user.
pub const BASELINES: [&str; 4] = ["persistence", "seasonal", "climatology", "ridge"];

/// What stands for the file where an error is that of an override.
const SET: &str = "--set";
/// The same where it is that of a value of a search.
const TRIAL: &str = "tune.space";

/// A parameter that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: expected {expected}, found {found}")]
pub struct Invalid {
    /// Its path, such as `train.epochs`.
    pub key: String,
    /// What is possible.
    pub expected: String,
    /// What stands there.
    pub found: String,
    /// Whether it is so whatever the other parameters are.
    pub always: bool,
}

/// A parameter that does not hold, or not beside the others.
fn invalid(
    key: impl Into<String>,
    expected: impl Into<String>,
    found: impl std::fmt::Display,
) -> Invalid {
    Invalid {
        key: key.into(),
        expected: expected.into(),
        found: found.to_string(),
        always: false,
    }
}

/// Parameters, each of which may be, that ask for what another one, the data or a model cannot give. The text says
/// which, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Contradiction(pub String);

/// What can be wrong with a parameter file.
#[derive(Debug, thiserror::Error)]
pub enum ParamsError {
    /// It could not be read.
    #[error(transparent)]
    Read(#[from] std::io::Error),
    /// It is not YAML, or has a key or type that no parameter has. The text names line and column.
    #[error("{file}: {message}")]
    Syntax {
        /// The file.
        file: PathBuf,
        /// What serde found, with line and column.
        message: String,
    },
    /// A value is out of its range.
    #[error("{file}: {invalid}")]
    Range {
        /// The file, or `--set`.
        file: PathBuf,
        /// The parameter.
        invalid: Invalid,
    },
    /// `--set` without a `=`, or on a path through something that is no section.
    #[error("--set {assignment}: {message}")]
    Override {
        /// As typed.
        assignment: String,
        /// What is wrong with it.
        message: String,
    },
    /// `--params FILE:KEY` names a key that the file lacks.
    #[error("{file} has no key `{key}`")]
    NoSuchKey {
        /// The file.
        file: PathBuf,
        /// The key.
        key: String,
    },
}

/// Values by dotted path: any YAML or JSON file, parameters that krammerti itself does not know.
#[derive(Clone, Debug, PartialEq)]
pub struct Values(Value);

impl Values {
    /// Reads a file from its text.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ParamsError> {
        match yaml::parse(text) {
            Ok(value) => Ok(Self(value)),
            Err(message) => Err(ParamsError::Syntax {
                file: path.to_owned(),
                message,
            }),
        }
    }

    /// What a checked section says, as it would be written.
    pub fn of<T: Serialize>(section: &T) -> Result<Self, serde_json::Error> {
        serde_json::to_value(section).map(Self)
    }

    /// What stands at a dotted path.
    pub fn get(&self, path: &str) -> Option<&Value> {
        lookup(&self.0, path)
    }

    /// The leaves at and below a dotted path, or all, each as canonical JSON. A list is one leaf; a
    /// file that is no map is one without a path.
    pub fn leaves(&self, path: Option<&str>) -> BTreeMap<String, String> {
        let mut leaves = BTreeMap::new();
        match (path, &self.0) {
            (Some(path), value) => {
                if let Some(value) = lookup(value, path) {
                    collect_leaves(path, value, &mut leaves);
                }
            }
            (None, Value::Object(map)) => {
                for (key, value) in map {
                    collect_leaves(key, value, &mut leaves);
                }
            }
            (None, Value::Null) => {}
            (None, value) => {
                leaves.insert(String::new(), value.to_string());
            }
        }
        leaves
    }
}

/// A parameter file with the overrides of the command line applied.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamsFile {
    path: PathBuf,
    value: Value,
}

impl ParamsFile {
    /// Reads a file from its text. `subtree` is the `KEY` of `--params FILE:KEY`.
    pub fn parse(
        path: &Path,
        text: &str,
        subtree: Option<&str>,
        overrides: &[String],
    ) -> Result<(Self, Params), ParamsError> {
        let syntax = |message: String| ParamsError::Syntax {
            file: path.to_owned(),
            message,
        };
        let mut value: Value = match yaml::parse_finite(text) {
            Ok(Value::Null) => Value::Object(serde_json::Map::new()),
            Ok(value) => value,
            Err(message) => return Err(syntax(message)),
        };
        if let Some(key) = subtree {
            value = lookup(&value, key)
                .cloned()
                .ok_or_else(|| ParamsError::NoSuchKey {
                    file: path.to_owned(),
                    key: key.to_owned(),
                })?;
        }
        for assignment in overrides {
            assign(&mut value, assignment)?;
        }
        let file = Self {
            path: path.to_owned(),
            value,
        };
        // From the text where it is the whole truth: only there errors have a line.
        let of_text = || checked(path, read_text(text));
        let params = match (subtree, overrides) {
            (None, []) => of_text()?,
            (None, _) => file.typed().map_err(|error| match of_text() {
                Ok(_) => error.of_override(),
                Err(of_text) => error.with_line_of(of_text),
            })?,
            (Some(_), _) => file.typed()?,
        };
        Ok((file, params))
    }

    /// The values as parameters.
    fn typed(&self) -> Result<Params, ParamsError> {
        checked(&self.path, read_raw(&self.value))
    }

    /// The same parameters with some values changed, by dotted path: a trial of a search.
    pub fn with_values(&self, values: &BTreeMap<String, Value>) -> Result<Params, ParamsError> {
        let mut value = self.value.clone();
        for (path, new) in values {
            set(&mut value, path, new.clone()).map_err(|message| ParamsError::Override {
                assignment: format!("{path}={new}"),
                message,
            })?;
        }
        // The file by itself says no such thing.
        checked(Path::new(TRIAL), read_raw(&value))
    }

    /// The leaves below a section that decide what a command makes, by dotted path, each as canonical
    /// JSON. A list is one leaf.
    pub fn leaves(&self, section: &str) -> BTreeMap<String, String> {
        let mut leaves = BTreeMap::new();
        if let Some(value) = lookup(&self.value, section) {
            collect_leaves(section, value, &mut leaves);
        }
        leaves.retain(|path, _| !OF_NO_EFFECT.contains(&path.as_str()));
        leaves
    }

    /// Where it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl ParamsError {
    /// The same of an override, since the file by itself is right.
    fn of_override(self) -> Self {
        let file = PathBuf::from(SET);
        match self {
            Self::Syntax { message, .. } => Self::Syntax { file, message },
            Self::Range { invalid, .. } => Self::Range { file, invalid },
            other => other,
        }
    }

    /// What is wrong with the text of a file says more of the same mistake: its line.
    fn with_line_of(self, of_text: Self) -> Self {
        match (&self, &of_text) {
            (
                Self::Syntax { message, .. },
                Self::Syntax {
                    message: longer, ..
                },
            ) if longer.starts_with(message.as_str()) => of_text,
            _ => self,
        }
    }
}

/// Values that were read from a file, checked.
fn checked(file: &Path, raw: Result<raw::Params, String>) -> Result<Params, ParamsError> {
    let file = || file.to_owned();
    let raw = raw.map_err(|message| ParamsError::Syntax {
        file: file(),
        message,
    })?;
    check::check(raw).map_err(|invalid| ParamsError::Range {
        file: file(),
        invalid,
    })
}

/// Types the text of a file.
fn read_text(text: &str) -> Result<raw::Params, String> {
    serde_yaml::from_str::<Option<raw::Params>>(text)
        .map(Option::unwrap_or_default)
        .map_err(|error| yaml::plain(&error.to_string()))
}

/// Types a changed tree of values. By way of text, because only then errors name the key; the line
/// would be one that nobody wrote.
fn read_raw(value: &Value) -> Result<raw::Params, String> {
    serde_yaml::to_string(value)
        .and_then(|text| serde_yaml::from_str(&text))
        .map_err(|error| {
            let message = yaml::plain(&error.to_string());
            let what = message.split(" at line ").next();
            what.unwrap_or_default().to_owned()
        })
}

fn collect_leaves(path: &str, value: &Value, leaves: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, child) in map {
                collect_leaves(&format!("{path}.{key}"), child, leaves);
            }
        }
        // serde_json sorts the keys of nested objects, so equal values are equal text.
        _ => {
            leaves.insert(path.to_owned(), value.to_string());
        }
    }
}

fn lookup<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, key| value.get(key))
}

fn assign(value: &mut Value, assignment: &str) -> Result<(), ParamsError> {
    let wrong = |message: String| ParamsError::Override {
        assignment: assignment.to_owned(),
        message,
    };
    let (path, text) = assignment
        .split_once('=')
        .ok_or_else(|| wrong("expected KEY=VALUE, such as train.epochs=5".to_owned()))?;
    let new: Value = yaml::parse_finite(text).map_err(wrong)?;
    set(value, path.trim(), new).map_err(wrong)
}

/// Gives a value to the parameter of a dotted path, or takes it away where the new one is nothing: then
/// the default holds, by whatever key.
fn set(value: &mut Value, path: &str, new: Value) -> Result<(), String> {
    let mut at = value;
    let mut walked = Vec::new();
    let mut keys = path.split('.').peekable();
    while let Some(key) = keys.next() {
        if key.is_empty() {
            return Err(format!("`{path}` has an empty part"));
        }
        let Value::Object(map) = at else {
            return Err(format!("`{}` is a value, not a section", walked.join(".")));
        };
        walked.push(key);
        if keys.peek().is_none() {
            match new {
                Value::Null => map.remove(key),
                new => map.insert(key.to_owned(), new),
            };
            return Ok(());
        }
        if new.is_null() && !map.contains_key(key) {
            return Ok(());
        }
        at = map
            .entry(key)
            .or_insert_with(|| Value::Object(serde_json::Map::new()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: &str =
        "model: {kind: lstm, lookback: 168, horizon: 48, quantiles: [0.1, 0.5, 0.9]}\n";

    fn parse(text: &str, overrides: &[&str]) -> Result<(ParamsFile, Params), ParamsError> {
        let overrides: Vec<String> = overrides.iter().map(|&o| o.to_owned()).collect();
        ParamsFile::parse(Path::new("params.yaml"), text, None, &overrides)
    }

    fn message(text: &str, overrides: &[&str]) -> String {
        parse(text, overrides).map_or_else(|error| error.to_string(), |_| "no error".to_owned())
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let message = message("train:\n  epochs: 3\n  learning_rat: 0.1\n", &[]);
        assert!(
            message.contains("learning_rat") && message.contains("line 3"),
            "{message}"
        );
    }

    #[test]
    fn a_list_is_no_section() {
        // Longer and shorter than the fields are, and as long.
        for list in ["[]", "[a]", "[a, a, a, a, a, a]", "[[], 1]"] {
            for text in [
                "HERE",
                "prepare: HERE",
                "prepare: {target: t, step: 1h, fill: HERE}",
                "prepare: {target: t, step: 1h, rolling: [HERE]}",
                "prepare: {target: t, step: 1h, wind: [HERE]}",
                "prepare: {target: t, step: 1h, dew_point: [HERE]}",
                "prepare: {target: t, step: 1h, speed: [HERE]}",
                "prepare: {target: t, step: 1h, sun: HERE}",
                "prepare: {target: t, step: 1h, forecasts: HERE}",
                "prepare: {target: t, step: 1h, split: HERE}",
                "prepare: {target: t, step: 1h, scaling: HERE}",
                "prepare: {target: t, step: 1h, quality: HERE}",
                "prepare: {target: t, step: 1h, quality: {limits: HERE}}",
                "prepare: {target: t, step: 1h, quality: {pairs: [HERE]}}",
                "prepare: {target: t, step: 1h, quality: {columns: {t: HERE}}}",
                "model: HERE",
                "train: HERE",
                "train: {sample_weights: HERE}",
                "tune: HERE",
                "tune: {trials: 1, space: {train.epochs: HERE}}",
                "evaluate: HERE",
                "predict: HERE",
                "predict: {feels_like: HERE}",
                "sources: {s: HERE}",
                "sources: {s: {kind: file, path: p, time: HERE, columns: {}}}",
                "sources: {s: {kind: file, path: p, time: {columns: HERE}, columns: {}}}",
                "sources: {s: {kind: file, path: p, issue_time: HERE, columns: {}}}",
                "sources: {s: {kind: file, path: p, lead: HERE, columns: {}}}",
                "sources: {s: {kind: file, path: p, series: HERE, columns: {}}}",
                "sources: {s: {kind: file, path: p, columns: {a: HERE}}}",
                "sources: {s: {kind: noaa-co2, interval: daily, requests: HERE}}",
                "sources: {s: {kind: http, url: u, answer: HERE}}",
                "sources: {s: {kind: http, url: u, token: HERE}}",
            ] {
                let text = text.replace("HERE", list);
                let told = message(&text, &[]);
                assert!(
                    told.contains("expected a section") && told.contains("found a list"),
                    "{text}: {told}"
                );
            }
        }
    }

    #[test]
    fn a_value_out_of_range_is_named_with_its_key() {
        assert_eq!(
            message("train: {epochs: 0}", &[]),
            "params.yaml: train.epochs: expected between 1 and 100000, found 0"
        );
        assert_eq!(
            message("train: {learning_rate: .nan}", &[]),
            "params.yaml: train.learning_rate: expected a finite number, found .nan"
        );
        assert!(
            message(
                "prepare: {target: t, step: 1h, split: {train: 0.7, validation: 0.2, test: 0.2}}",
                &[]
            )
            .contains("prepare.split")
        );
    }

    #[test]
    fn overrides_win_and_are_checked() -> Result<(), ParamsError> {
        let (file, params) = parse("train: {epochs: 3}", &["train.epochs=5"])?;
        assert_eq!(params.train.epochs, 5);
        assert_eq!(
            file.leaves("train").get("train.epochs").map(String::as_str),
            Some("5")
        );
        assert!(message("train: {epochs: 3}", &["train.epochs=zero"]).contains("epochs"));
        assert!(message("train: {epochs: 3}", &["train.epochs"]).contains("KEY=VALUE"));
        assert!(message("train: {epochs: 3}", &["train.epochs.x=1"]).contains("not a section"));
        // A value of JSON it would be none, and the default.
        assert_eq!(
            message("train: {epochs: 3}", &["train.clip=-.inf"]),
            "--set train.clip=-.inf: expected a finite number, found -.inf"
        );
        Ok(())
    }

    #[test]
    fn nothing_takes_a_parameter_away() -> Result<(), ParamsError> {
        let (without, _) = parse("train: {epochs: 3}", &[])?;
        let text =
            "train: {epochs: 3, schedule: {kind: constant}, sample_weights: {half_life: 1d}}";
        let (file, params) = parse(
            text,
            &[
                "train.schedule=null",
                "train.sample_weights=",
                "model.bounds.lower=~",
            ],
        )?;
        assert_eq!(params.train.schedule, Schedule::Cosine);
        assert_eq!(file, without);
        Ok(())
    }

    #[test]
    fn a_mistake_is_told_of_where_it_stands() {
        let misspelt = "train:\n  epochs: 3\n  learning_rat: 0.1\n";
        for overrides in [&[][..], &["train.epochs=5"]] {
            let message = message(misspelt, overrides);
            assert!(
                message.starts_with("params.yaml: train: unknown field"),
                "{message}"
            );
            assert!(message.ends_with("at line 3 column 3"), "{message}");
        }
        for (text, told) in [
            (
                "sources: {a: {kind: file}}",
                "sources.a: missing field `path`",
            ),
            (
                "sources: {a: {kind: fil}}",
                "sources.a.kind: unknown variant `fil`",
            ),
            (
                "sources: {a: }",
                "sources.a: expected a section with its `kind`, found nothing",
            ),
            (
                "train: {schedule: {kind: step, after: 1}}",
                "train.schedule: missing field `factor`",
            ),
            (
                "train: {schedule: {kind: step, after: -1, factor: 0.5}}",
                "train.schedule.after: expected a whole number",
            ),
            (
                "model: {kind: seasonal, lookback: 24, horizon: 6, season: 0d}",
                "model.season: expected a length of time above 0, found `0d`",
            ),
            (
                "model: {kind: ridge, lookback: 24, horizon: 6, correction: {half_life: 100000d}}",
                "model.correction.half_life: expected a length of time of at most 49710d",
            ),
        ] {
            let message = message(text, &[]);
            assert!(message.contains(told), "{message}");
        }
        let sound = "train: {epochs: 3}";
        assert!(message(sound, &["train.epochs=0"]).starts_with("--set: train.epochs: expected"));
        assert!(message(sound, &["train.epoch=1"]).starts_with("--set: train: unknown field"));
        assert!(message("train: {epochs: 0}", &["train.batch=8"]).starts_with("params.yaml: "));
    }

    #[test]
    fn leaves_do_not_depend_on_comments_order_or_spelling() -> Result<(), ParamsError> {
        let (a, _) = parse("train: {epochs: 3, batch: 64}\n", &[])?;
        let (b, _) = parse(
            "# said otherwise\ntrain:\n  batch:   64\n  epochs: 3\n",
            &[],
        )?;
        assert_eq!(a.leaves("train"), b.leaves("train"));
        assert_eq!(a.leaves("train").len(), 2);
        let (c, _) = parse("train: {epochs: 3, batch: 64, threads: 9}\n", &[])?;
        assert_eq!(a.leaves("train"), c.leaves("train"));
        assert!(a.leaves("model").is_empty());
        Ok(())
    }

    #[test]
    fn a_field_of_another_kind_is_refused() {
        let text = MODEL.replace("kind: lstm", "kind: ridge, hidden: 64");
        assert!(message(&text, &[]).contains("model.hidden"));
        assert!(message(&MODEL.replace("lstm", "lstn"), &[]).contains("lstn"));
        assert!(message(MODEL, &["model.segment=5"]).contains("a divisor of model.lookback (168)"));
        assert!(message(MODEL, &["model.quantiles=[0.9, 0.5]"]).contains("model.quantiles"));
    }

    #[test]
    fn an_empty_file_is_all_defaults() -> Result<(), ParamsError> {
        let (_, params) = parse("# nothing\n", &[])?;
        assert!(params.model.is_none() && params.sources.is_empty());
        Ok(())
    }
}
