//! The section `train`: how a model is trained.

use serde::{Deserialize, Serialize};

use super::check::within;
use super::{Device, Invalid, invalid};
use crate::time::Span;
use crate::yaml::{self, sections};

sections!(TrainParams, SampleWeights);

/// How a model is trained.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, remote = "Self")]
pub struct TrainParams {
    /// At most so many passes over the training windows.
    pub epochs: usize,
    /// Windows in a step.
    pub batch: usize,
    /// What is made small, beside the pinball loss of the quantiles.
    pub loss: PointLoss,
    /// The largest learning rate.
    pub learning_rate: f64,
    /// How the rate changes.
    #[serde(deserialize_with = "yaml::kind_or_default")]
    pub schedule: Schedule,
    /// The share of all steps in which the rate rises to where the schedule begins; what is usual with the schedule
    /// where nothing is said.
    pub warm_up: Option<f64>,
    /// The decay of `AdamW`.
    pub weight_decay: f64,
    /// The largest norm of a gradient.
    pub clip: f64,
    /// How far back the kept average of weights reaches, as a share of an epoch; 0 for none.
    pub average: f64,
    /// Epochs without a better validation loss before it stops.
    pub patience: usize,
    /// How much training windows count.
    pub sample_weights: SampleWeights,
    /// Rows between two training windows.
    pub stride: usize,
    /// Decides initial weights, order of windows and dropout.
    pub seed: u64,
    /// CPU threads; as many as there are cores where nothing is said. What is trained does not depend
    /// on it.
    pub threads: Option<usize>,
    /// Where it runs.
    pub device: Device,
    /// In which numbers a net computes.
    pub precision: Precision,
    /// Minutes between two checkpoints within an epoch; each epoch that is not quick ends with one.
    pub checkpoint_minutes: f64,
}

/// How much training windows count; where both are given, by their product.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, remote = "Self")]
pub struct SampleWeights {
    /// A window counts half as much as one that is issued so much later.
    pub half_life: Option<Span>,
    /// A window counts by the mean of this column over its horizon.
    pub column: Option<String>,
}

/// The loss of the mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PointLoss {
    /// The squared error.
    #[default]
    Mse,
    /// The absolute error.
    Mae,
    /// Squared up to 1, absolute beyond.
    Huber,
}

/// How the learning rate changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(try_from = "WrittenSchedule")]
pub enum Schedule {
    /// Half a cosine down to a hundredth.
    #[default]
    Cosine,
    /// The largest rate for some epochs, then times a factor at each epoch.
    Step {
        /// Epochs at the largest rate.
        after: usize,
        /// What each epoch after them multiplies.
        factor: f64,
    },
    /// Always the largest.
    Constant,
}

/// A schedule as it is written. An enum with a tag would take any key beside a kind without any, and name none
/// whose value is of the wrong type.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenSchedule {
    kind: ScheduleKind,
    after: Option<usize>,
    factor: Option<f64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum ScheduleKind {
    Cosine,
    Step,
    Constant,
}

impl TryFrom<WrittenSchedule> for Schedule {
    type Error = String;

    fn try_from(written: WrittenSchedule) -> Result<Self, String> {
        let WrittenSchedule {
            kind,
            after,
            factor,
        } = written;
        let missing = |key: &str| format!("missing field `{key}`");
        let schedule = match kind {
            ScheduleKind::Step => {
                return Ok(Self::Step {
                    after: after.ok_or_else(|| missing("after"))?,
                    factor: factor.ok_or_else(|| missing("factor"))?,
                });
            }
            ScheduleKind::Cosine => Self::Cosine,
            ScheduleKind::Constant => Self::Constant,
        };
        match (after, factor) {
            (None, None) => Ok(schedule),
            (Some(_), _) => Err("expected `after` beside kind step alone".to_owned()),
            (None, Some(_)) => Err("expected `factor` beside kind step alone".to_owned()),
        }
    }
}

/// In which numbers a net computes; weights are always kept and changed in 32 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32 bits.
    #[default]
    Float32,
    /// 16 bits with the range of 32.
    Bfloat16,
    /// 16 bits on a GPU that has them, 32 otherwise.
    Auto,
}

/// The section as it is written: of the same shape, but nothing is known of its ranges.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
pub(super) struct Raw(TrainParams);

impl Default for TrainParams {
    fn default() -> Self {
        Self {
            epochs: 20,
            batch: 256,
            loss: PointLoss::Mse,
            learning_rate: 2e-3,
            schedule: Schedule::Cosine,
            warm_up: None,
            weight_decay: 1e-4,
            clip: 1.0,
            average: 0.5,
            patience: 5,
            sample_weights: SampleWeights::default(),
            stride: 1,
            seed: 1,
            threads: None,
            device: Device::Auto,
            precision: Precision::Float32,
            checkpoint_minutes: 5.0,
        }
    }
}

impl TrainParams {
    /// The share of all steps in which the rate rises.
    pub fn warm_up(&self) -> f64 {
        let usual = match self.schedule {
            Schedule::Cosine => 0.04,
            Schedule::Step { .. } | Schedule::Constant => 0.0,
        };
        self.warm_up.unwrap_or(usual)
    }
}

pub(super) fn check(Raw(raw): &Raw) -> Result<TrainParams, Invalid> {
    let counts = [
        ("train.epochs", raw.epochs, 100_000),
        ("train.batch", raw.batch, 1_000_000),
        ("train.patience", raw.patience, 100_000),
        ("train.stride", raw.stride, 100_000),
        ("train.threads", raw.threads.unwrap_or(1), 1024),
    ];
    for (key, value, most) in counts {
        within(key, value, 1..=most, &format!("between 1 and {most}"))?;
    }
    within(
        "train.learning_rate",
        raw.learning_rate,
        1e-9..=10.0,
        "between 1e-9 and 10",
    )?;
    within(
        "train.warm_up",
        raw.warm_up.unwrap_or_default(),
        0.0..=0.5,
        "between 0 and 0.5",
    )?;
    within(
        "train.weight_decay",
        raw.weight_decay,
        0.0..=10.0,
        "between 0 and 10",
    )?;
    within("train.clip", raw.clip, 1e-6..=1e6, "between 1e-6 and 1e6")?;
    within(
        "train.average",
        raw.average,
        0.0..=100.0,
        "between 0 and 100",
    )?;
    within(
        "train.checkpoint_minutes",
        raw.checkpoint_minutes,
        0.0..=100_000.0,
        "between 0 and 100000",
    )?;
    if let Schedule::Step { factor, .. } = raw.schedule
        && !(factor > 0.0 && factor <= 1.0)
    {
        return Err(Invalid {
            always: true,
            ..invalid("train.schedule.factor", "above 0, at most 1", factor)
        });
    }
    Ok(raw.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> Result<TrainParams, String> {
        let raw: Raw = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
        check(&raw).map_err(|invalid| invalid.to_string())
    }

    #[test]
    fn a_schedule_is_one_of_its_kinds() {
        let schedule = |text: &str| checked(&format!("{{schedule: {text}}}"));
        assert_eq!(checked("{}").unwrap(), TrainParams::default());
        assert_eq!(schedule("").unwrap(), TrainParams::default());
        let step = schedule("{kind: step, after: 3, factor: 0.8}").unwrap();
        let expected = Schedule::Step {
            after: 3,
            factor: 0.8,
        };
        assert_eq!(step.schedule, expected);
        for (text, expected) in [
            ("{kind: step, after: 3, factor: 0}", "train.schedule.factor"),
            (
                "{kind: step, after: 3, factor: .nan}",
                "train.schedule.factor",
            ),
            ("{kind: step, after: 3}", "schedule: missing field `factor`"),
            (
                "{kind: constant, after: 3, factor: 0.1}",
                "schedule: expected `after` beside kind step alone",
            ),
            (
                "{kind: cosine, factor: 0.1}",
                "schedule: expected `factor` beside kind step alone",
            ),
            (
                "{kind: cosine, nonsense: 3}",
                "schedule: unknown field `nonsense`",
            ),
            (
                "{kind: step, after: -1, factor: 0.5}",
                "schedule.after: invalid type: integer `-1`",
            ),
            ("{kind: stairs}", "stairs"),
            (
                "step",
                "schedule: invalid type: string \"step\", expected a section with its `kind`",
            ),
        ] {
            let message = schedule(text).unwrap_err();
            assert!(message.contains(expected), "{text}: {message}");
        }
        assert!(
            checked("{average: -1}")
                .unwrap_err()
                .contains("train.average")
        );
        assert!(checked("{precision: float16}").is_err());
        let told = checked("{warm_up: 0.6}").unwrap_err();
        assert!(told.contains("train.warm_up"), "{told}");
        let percent = |text: &str| (100.0 * checked(text).unwrap().warm_up()).round() as u32;
        let of = [
            "{}",
            "{schedule: {kind: constant}}",
            "{schedule: {kind: constant}, warm_up: 0.1}",
        ];
        assert_eq!(of.map(percent), [4, 0, 10]);
    }
}
