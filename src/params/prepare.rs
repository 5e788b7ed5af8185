//! The section `prepare`, checked.

mod written;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Aggregate, CapacityParams, QualityParams, Statistic, Targets};
use crate::time::{Step, Zone};
use crate::yaml::sections;

pub(super) use written::{Raw, check};

sections!(WindPair, SpeedParams, DewPointParams);

/// How a data set is made.
#[derive(Clone, Debug, PartialEq)]
pub struct PrepareParams {
    /// The columns to forecast.
    pub targets: Targets,
    /// The step between rows.
    pub step: Step,
    /// The step of the observations, where it is not what most of them have.
    pub raw_step: Option<Step>,
    /// The columns to keep; all where absent.
    pub columns: Option<Vec<String>>,
    /// Columns whose values are known before their time, such as a schedule.
    pub known: Vec<String>,
    /// Pairs of columns that become vectors.
    pub wind: Vec<WindPair>,
    /// Speeds from the two parts of a wind.
    pub speed: Vec<SpeedParams>,
    /// How finer observations become one row, by column; by what they measure where absent.
    pub aggregate: BTreeMap<String, Aggregate>,
    /// The share of the observations of a step that must be there for it to have a value.
    pub minimum_share: f64,
    /// What becomes of gaps.
    pub fill: Option<FillParams>,
    /// Calendar features, known in the future.
    pub calendar: Vec<CalendarWaves>,
    /// The time zone of the calendar; UTC where absent.
    pub calendar_zone: Option<Zone>,
    /// Values of earlier rows, by column.
    pub lags: BTreeMap<String, Vec<Shift>>,
    /// Statistics of the rows up to each row.
    pub rolling: Vec<RollingParams>,
    /// Changes since earlier rows, by column.
    pub differences: BTreeMap<String, Vec<Step>>,
    /// Dew points from temperature and humidity.
    pub dew_point: Vec<DewPointParams>,
    /// The height of the sun.
    pub sun: Option<SunParams>,
    /// Forecasts from outside.
    pub forecasts: ForecastParams,
    /// What is checked before, and what becomes of what is found.
    pub quality: QualityParams,
    /// Where train, validation and test lie.
    pub split: SplitParams,
    /// How columns are scaled.
    pub scaling: Scaling,
    /// How some columns are scaled otherwise.
    pub scaling_of: BTreeMap<String, Scaling>,
    /// What some columns can reach at most: models see shares of it.
    pub capacity: BTreeMap<String, CapacityParams>,
}

/// Wind speed and the direction that it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
pub struct WindPair {
    /// Column with the speed.
    pub speed: String,
    /// Column with the direction, in degrees.
    pub direction: String,
}

/// What becomes of gaps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FillParams {
    /// Longer gaps stay missing.
    pub up_to: Step,
    /// Where the values come from.
    pub method: FillMethod,
    /// What repeats, for [`FillMethod::Seasonal`].
    pub season: Step,
    /// What models see of it.
    pub mask: Mask,
}

/// Where the values of a gap come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FillMethod {
    /// A straight line between the values around the gap.
    #[default]
    Linear,
    /// The value before the gap.
    Last,
    /// The value one season earlier.
    Seasonal,
}

/// What models see of filled gaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mask {
    /// One column: the share of the row's observed columns that were filled.
    #[default]
    Row,
    /// A column for each observed column.
    Columns,
}

/// A cycle of the calendar, and how many waves of it: a cycle, a half, a third of it, each as sine and cosine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "WrittenWaves")]
pub struct CalendarWaves {
    /// The cycle.
    pub cycle: Calendar,
    /// From 1 to 12.
    pub waves: u8,
}

impl CalendarWaves {
    /// More of them tell no hours, days or months any more, but each single one.
    const MOST: u8 = 12;
}

/// The same as written: a name, or one name with a number.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected `hour_of_day`, `day_of_week` or `day_of_year`, or one of them with a number of waves, such as `{day_of_year: 2}`"
)]
enum WrittenWaves {
    One(Calendar),
    Several(BTreeMap<Calendar, u8>),
}

impl TryFrom<WrittenWaves> for CalendarWaves {
    type Error = String;

    fn try_from(written: WrittenWaves) -> Result<Self, String> {
        let waves = match written {
            WrittenWaves::One(cycle) => return Ok(Self { cycle, waves: 1 }),
            WrittenWaves::Several(waves) => waves,
        };
        match waves.into_iter().collect::<Vec<_>>()[..] {
            [(cycle, waves @ 1..=Self::MOST)] => Ok(Self { cycle, waves }),
            [(_, waves)] => Err(format!(
                "expected between 1 and {} waves, found {waves}",
                Self::MOST
            )),
            _ => Err(
                "expected each cycle in an entry of its own, such as [hour_of_day, {day_of_year: 2}]".to_owned(),
            ),
        }
    }
}

/// A calendar feature, as sine and cosine of the phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Calendar {
    /// The hour of the day.
    HourOfDay,
    /// The day of the week.
    DayOfWeek,
    /// The day of the year.
    DayOfYear,
}

/// A time back from a row, or with a minus ahead of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shift {
    seconds: i64,
}

impl Shift {
    /// Seconds back; negative ones lie ahead.
    pub fn seconds(self) -> i64 {
        self.seconds
    }
}

impl std::fmt::Display for Shift {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let length = u32::try_from(self.seconds.unsigned_abs())
            .ok()
            .and_then(Step::from_seconds);
        match length {
            Some(length) if self.seconds < 0 => write!(f, "-{length}"),
            Some(length) => length.fmt(f),
            None => f.write_str("0s"),
        }
    }
}

impl<'de> Deserialize<'de> for Shift {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let (sign, length) = match text.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, text.as_str()),
        };
        let length: Step = length.parse().map_err(serde::de::Error::custom)?;
        let seconds = sign * length.seconds();
        Ok(Self { seconds })
    }
}

/// A statistic of the rows around each row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RollingParams {
    /// Of which column.
    pub column: String,
    /// The time that ends with the row.
    pub over: Step,
    /// The time after it that counts too: it looks into the future.
    pub ahead: Option<Step>,
    /// Which statistic.
    pub stat: Statistic,
}

/// The parts of a wind that a speed is made from, both in m/s.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
pub struct SpeedParams {
    /// Towards the east.
    pub u: String,
    /// Towards the north.
    pub v: String,
}

/// The columns that a dew point is made from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
pub struct DewPointParams {
    /// In °C.
    pub temperature: String,
    /// In %.
    pub humidity: String,
}

/// Where the sun is looked at from.
#[derive(Clone, Debug, PartialEq)]
pub struct SunParams {
    /// By the name of the series; the empty name stands for all others.
    pub places: BTreeMap<String, Place>,
    /// The column with the radiation in W/m², for the clear-sky index.
    pub radiation: Option<String>,
}

/// A place on the earth.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
}

/// How forecasts from outside are joined.
#[derive(Clone, Debug, PartialEq)]
pub struct ForecastParams {
    /// The time from the issue of a forecast to the moment at which it can be had, in seconds.
    pub delay_s: i64,
    /// The columns to take; all where absent.
    pub columns: Option<Vec<String>>,
    /// Pairs of columns that become vectors.
    pub wind: Vec<WindPair>,
    /// Whether the time since the issue is a column too.
    pub lead: bool,
}

/// Where train, validation and test lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SplitParams {
    /// Where one part ends and the next begins.
    pub borders: Borders,
    /// The time at the end of train and of validation that belongs to no part, in seconds.
    pub purge_s: i64,
    /// Whether the lookback of a window may reach into the part before its own.
    pub history: bool,
}

/// Where one part of a split ends and the next begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Borders {
    /// By shares of the time from the first row to the last.
    Shares(SplitShares),
    /// By dates, in seconds since 1970 UTC.
    Dates {
        /// The first time of the validation part.
        validation_from: i64,
        /// The first time of the test part.
        test_from: i64,
    },
}

/// Shares of train, validation and test; they are positive and add up to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SplitShares {
    /// The earliest part.
    pub train: f64,
    /// The part after it.
    pub validation: f64,
    /// The latest part.
    pub test: f64,
}

/// How a column is scaled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scaling {
    /// Not at all.
    None,
    /// By mean and standard deviation.
    #[default]
    Standard,
    /// By median and interquartile range.
    Robust,
    /// From 0 to 1.
    MinMax,
    /// By mean and standard deviation of ln(1 + x).
    Log1p,
}

impl SplitParams {
    /// Until when models are trained on data from `first` to `last`.
    pub fn train_until(&self, first: i64, last: i64) -> i64 {
        match self.borders {
            Borders::Shares(shares) => first + ((last - first) as f64 * shares.train) as i64,
            Borders::Dates {
                validation_from, ..
            } => validation_from,
        }
    }
}
