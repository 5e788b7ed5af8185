//! What each column of a data set was made from, and how columns are made from others or from the
//! time alone.
//!
//! A source is a recipe: given the columns it names, `evaluate` gives the same values for the
//! same rows whether they were observed or lie ahead. So what a data set says of a column is what
//! made it, and a forecast makes the rows after the last one in the same way.

mod calendar;

use serde::{Deserialize, Serialize};

use self::calendar::calendar;
pub use self::calendar::{Wave, calendar_name};
use super::panel::by_block;
use super::{Layout, Role, SeriesError, rolling};
use crate::params::{Aggregate, Calendar, Place, Statistic};
use crate::physics::{self, sun};
use crate::time::{Step, Zone};

/// What a column was made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ColumnSource {
    /// A column of the raw data.
    Observed {
        /// Its name there.
        column: String,
        /// How finer observations became one row.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        aggregate: Option<Aggregate>,
    },
    /// A part of a wind vector.
    Wind {
        /// The speed column.
        speed: String,
        /// The direction column.
        direction: String,
    },
    /// How much of a row was filled: of one column, or the share of all observed ones.
    Filled {
        /// Which column.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        column: Option<String>,
    },
    /// The time alone.
    Calendar {
        /// Which cycle.
        cycle: Calendar,
        /// Which wave of it.
        wave: Wave,
        /// How many of it fit into the cycle.
        #[serde(default = "one", skip_serializing_if = "is_one")]
        harmonic: u8,
        /// In which time zone, where it is not UTC.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        zone: Option<Zone>,
    },
    /// A column so many rows before.
    Lag {
        /// Which column.
        column: String,
        /// Rows back; negative ones lie ahead.
        rows: i64,
    },
    /// How much a column has changed.
    Difference {
        /// Which column.
        column: String,
        /// Since how many rows before.
        rows: usize,
    },
    /// A statistic of a column over some rows.
    Rolling {
        /// Which column.
        column: String,
        /// Over how many rows.
        rows: usize,
        /// How many of them lie ahead.
        #[serde(default)]
        ahead: usize,
        /// Which statistic.
        stat: Statistic,
    },
    /// The speed of a wind.
    Speed {
        /// The column of its part towards the east.
        u: String,
        /// The column of its part towards the north.
        v: String,
    },
    /// The dew point.
    DewPoint {
        /// The temperature column, in °C.
        temperature: String,
        /// The humidity column, in %.
        humidity: String,
    },
    /// The sun, from places by the name of the series.
    Sun {
        /// What of it.
        view: SunView,
        /// From where; the empty name stands for all other series.
        places: std::collections::BTreeMap<String, Place>,
        /// The column with the radiation, for the clear-sky index.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        radiation: Option<String>,
    },
    /// A column of forecasts from outside.
    Forecast {
        /// Its name there; for the lead, none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        column: Option<String>,
    },
}

impl ColumnSource {
    /// Whether both mean the same to a model. From where the sun is seen is a matter of the series, and how
    /// finer observations became one row only where there were finer ones.
    pub fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Sun {
                    view, radiation, ..
                },
                Self::Sun {
                    view: other_view,
                    radiation: other_radiation,
                    ..
                },
            ) => view == other_view && radiation == other_radiation,
            (
                Self::Observed { column, aggregate },
                Self::Observed {
                    column: other_column,
                    aggregate: other_aggregate,
                },
            ) => {
                let both = aggregate.as_ref().zip(other_aggregate.as_ref());
                column == other_column && both.is_none_or(|(one, other)| one == other)
            }
            (
                Self::Calendar {
                    cycle,
                    wave,
                    harmonic,
                    zone,
                },
                Self::Calendar {
                    cycle: other_cycle,
                    wave: other_wave,
                    harmonic: other_harmonic,
                    zone: other_zone,
                },
            ) => {
                let named = |zone: &Option<Zone>| zone.map_or("UTC", Zone::name);
                (cycle, wave, harmonic) == (other_cycle, other_wave, other_harmonic)
                    && named(zone) == named(other_zone)
            }
            _ => self == other,
        }
    }
}

/// What is told of the sun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SunView {
    /// The sine of its elevation, negative at night.
    Elevation,
    /// The radiation on flat ground under a clear sky, in W/m².
    ClearSky,
    /// The measured radiation as a share of that under a clear sky; 0 where the sun is too low to
    /// tell.
    ClearSkyIndex,
}

/// The share of the rows of a moving window that must have a value.
const ENOUGH: f64 = 0.5;

/// Finds the values of a column by its name.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Result<&'a [f64], SeriesError>;

impl ColumnSource {
    /// The columns that it is made from, where those are columns of the data set.
    pub fn columns(&self) -> Vec<&str> {
        match self {
            Self::Lag { column, .. }
            | Self::Difference { column, .. }
            | Self::Rolling { column, .. } => vec![column],
            Self::DewPoint {
                temperature,
                humidity,
            } => vec![temperature, humidity],
            Self::Speed { u, v } => vec![u, v],
            Self::Sun { radiation, .. } => radiation.iter().map(String::as_str).collect(),
            Self::Observed { .. }
            | Self::Wind { .. }
            | Self::Filled { .. }
            | Self::Calendar { .. }
            | Self::Forecast { .. } => Vec::new(),
        }
    }

    /// The column that it is twice as large with, where that is twice as large: their values are of one size. A
    /// forecast from outside is of the size of what it speaks of.
    pub(super) fn grows_with(&self) -> Option<&str> {
        match self {
            Self::Lag { column, .. }
            | Self::Difference { column, .. }
            | Self::Rolling { column, .. } => Some(column),
            Self::Forecast { column } => column.as_deref(),
            Self::Observed { .. }
            | Self::Wind { .. }
            | Self::Filled { .. }
            | Self::Calendar { .. }
            | Self::Speed { .. }
            | Self::DewPoint { .. }
            | Self::Sun { .. } => None,
        }
    }

    /// What may be known of it, from what may be known of the columns it is made from.
    pub(super) fn role(&self, role_of: impl Fn(&str) -> Role) -> Role {
        match self {
            Self::Calendar { .. } => Role::Future,
            Self::Forecast { .. } => Role::Forecast,
            Self::Observed { .. } | Self::Wind { .. } | Self::Filled { .. } => Role::Past,
            derived => {
                let all_known = |name: &&str| role_of(name) == Role::Future;
                if derived.columns().iter().all(all_known) {
                    Role::Future
                } else {
                    Role::Past
                }
            }
        }
    }

    /// Whether the time alone says it, where it is known which columns it says.
    pub fn is_of_time(&self, is_of_time: impl Fn(&str) -> bool) -> bool {
        match self {
            Self::Calendar { .. } => true,
            Self::Sun { radiation, .. } => radiation.is_none(),
            Self::Lag { column, .. }
            | Self::Difference { column, .. }
            | Self::Rolling { column, .. } => is_of_time(column),
            Self::Observed { .. }
            | Self::Wind { .. }
            | Self::Filled { .. }
            | Self::Speed { .. }
            | Self::DewPoint { .. }
            | Self::Forecast { .. } => false,
        }
    }

    /// How far it reaches back or ahead, in rows.
    pub(super) fn reach(&self) -> usize {
        match self {
            Self::Lag { rows, .. } => rows.unsigned_abs() as usize,
            Self::Difference { rows, .. } => *rows,
            Self::Rolling { rows, ahead, .. } => rows + ahead,
            _ => 0,
        }
    }

    /// Whether it speaks of rows after its own.
    pub(super) fn looks_ahead(&self) -> bool {
        self.ahead() > 0
    }

    /// Of how many rows after its own it speaks.
    pub(super) fn ahead(&self) -> usize {
        match self {
            Self::Lag { rows, .. } if *rows < 0 => rows.unsigned_abs() as usize,
            Self::Rolling { ahead, .. } => *ahead,
            _ => 0,
        }
    }

    /// Whether it needs scaling: sines and shares do not.
    pub(super) fn is_scaled_by_construction(&self) -> bool {
        match self {
            Self::Calendar { .. } | Self::Filled { .. } => true,
            Self::Sun { view, .. } => *view == SunView::Elevation,
            _ => false,
        }
    }
}

/// The values of a column for all rows of a layout, from its source and the columns that it names.
/// Nothing where it does not come from other columns or the time.
pub(super) fn evaluate(
    source: &ColumnSource,
    layout: &Layout,
    column: Lookup<'_>,
) -> Result<Option<Vec<f64>>, SeriesError> {
    let of_block = |name: &str, f: &dyn Fn(&[f64]) -> Vec<f64>| {
        let values = column(name)?;
        Ok(by_block(layout, |_, rows| f(&values[rows])))
    };
    let values = match source {
        &ColumnSource::Calendar {
            cycle,
            wave,
            harmonic,
            zone,
        } => calendar(layout, cycle, (wave, harmonic), zone),
        ColumnSource::Lag { column, rows } => {
            let rows = isize::try_from(*rows).unwrap_or(isize::MAX);
            of_block(column, &|values| rolling::lag(values, rows))?
        }
        ColumnSource::Difference { column, rows } => {
            of_block(column, &|values| rolling::difference(values, *rows))?
        }
        ColumnSource::Rolling {
            column,
            rows,
            ahead,
            stat,
        } => of_block(column, &|values| {
            rolling::rolling(values, rows + ahead, *ahead, *stat, ENOUGH)
        })?,
        ColumnSource::Speed { u, v } => {
            let parts = column(u)?.iter().zip(column(v)?);
            parts.map(|(&u, &v)| f64::hypot(u, v)).collect()
        }
        ColumnSource::DewPoint {
            temperature,
            humidity,
        } => {
            let pairs = column(temperature)?.iter().zip(column(humidity)?);
            pairs.map(|(&t, &rh)| physics::dew_point_c(t, rh)).collect()
        }
        ColumnSource::Sun {
            view,
            places,
            radiation,
        } => {
            let measured = radiation.as_deref().map(column).transpose()?;
            sun_values(layout, *view, places, measured)
        }
        ColumnSource::Observed { .. }
        | ColumnSource::Wind { .. }
        | ColumnSource::Filled { .. }
        | ColumnSource::Forecast { .. } => return Ok(None),
    };
    Ok(Some(values))
}

fn one() -> u8 {
    1
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over a reference"
)]
fn is_one(harmonic: &u8) -> bool {
    *harmonic == 1
}

fn sun_values(
    layout: &Layout,
    view: SunView,
    places: &std::collections::BTreeMap<String, Place>,
    measured: Option<&[f64]>,
) -> Vec<f64> {
    by_block(layout, |block, rows| {
        let Some(place) = places.get(&block.name).or_else(|| places.get("")) else {
            return vec![f64::NAN; rows.len()];
        };
        let place = sun::Place {
            latitude: place.latitude,
            longitude: place.longitude,
        };
        let value = |row: usize| {
            // A row tells of the time that ends with it.
            let until = block.time(row, layout.step());
            let from = until - layout.step().seconds();
            match view {
                SunView::Elevation => sun::position(place, until).elevation_deg.to_radians().sin(),
                SunView::ClearSky => sun::mean_clear_sky_wm2(place, from, until),
                SunView::ClearSkyIndex => {
                    let measured = measured.map_or(f64::NAN, |measured| measured[row]);
                    match sun::clear_sky_index(place, from, until, measured) {
                        // At night there is nothing to tell, which is not the same as missing.
                        index if index.is_nan() && !measured.is_nan() => 0.0,
                        index => index,
                    }
                }
            }
        };
        rows.map(value).collect()
    })
}

/// The name of a wind vector's columns without `_u` and `_v`.
///
/// Directions must never be averaged, interpolated or fed to a model: 359° and 1° are neighbours.
pub fn wind_name(direction: &str) -> String {
    direction.replace("direction", "vector")
}

/// The name of a feature of a column over a time: `temperature_2m_lag_1d`.
pub(super) fn name_over(column: &str, what: &str, length: impl std::fmt::Display) -> String {
    format!("{column}_{what}_{length}")
}

/// The word of a statistic in a name.
pub(super) fn word(stat: Statistic) -> &'static str {
    match stat {
        Statistic::Mean => "mean",
        Statistic::Min => "min",
        Statistic::Max => "max",
        Statistic::Sum => "sum",
        Statistic::Std => "std",
    }
}

/// Whole steps in a length of time.
pub(super) fn rows_in(length: Step, step: Step) -> usize {
    (length.seconds() / step.seconds()) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_the_same_to_a_model_is_alike() {
        let source = |json: &str| serde_json::from_str::<ColumnSource>(json).unwrap();
        let hour = r#""cycle": "hour_of_day", "wave": "sin""#;
        let sun = r#""view": "elevation", "places": "#;
        for (one, other, alike) in [
            (
                r#"{"observed": {"column": "t"}}"#,
                r#"{"observed": {"column": "t", "aggregate": "mean"}}"#,
                true,
            ),
            (
                r#"{"observed": {"column": "t", "aggregate": "max"}}"#,
                r#"{"observed": {"column": "t", "aggregate": "mean"}}"#,
                false,
            ),
            (
                r#"{"observed": {"column": "t"}}"#,
                r#"{"observed": {"column": "u"}}"#,
                false,
            ),
            (
                &format!(r#"{{"calendar": {{{hour}}}}}"#),
                &format!(r#"{{"calendar": {{{hour}, "zone": "UTC"}}}}"#),
                true,
            ),
            (
                &format!(r#"{{"calendar": {{{hour}}}}}"#),
                &format!(r#"{{"calendar": {{{hour}, "zone": "Asia/Tokyo"}}}}"#),
                false,
            ),
            (
                &format!(r#"{{"sun": {{{sun} {{"": {{"latitude": 50, "longitude": 1}}}}}}}}"#),
                &format!(r#"{{"sun": {{{sun} {{"a": {{"latitude": 40, "longitude": 2}}}}}}}}"#),
                true,
            ),
            (
                r#"{"lag": {"column": "t", "rows": 1}}"#,
                r#"{"lag": {"column": "t", "rows": 2}}"#,
                false,
            ),
        ] {
            assert_eq!(source(one).is_like(&source(other)), alike, "{one} {other}");
            assert_eq!(source(other).is_like(&source(one)), alike, "{other} {one}");
        }
    }

    #[test]
    fn a_zone_that_nobody_knows_is_refused() {
        let source = |zone: &str| {
            let json =
                format!(r#"{{"calendar":{{"cycle":"hour_of_day","wave":"sin","zone":"{zone}"}}}}"#);
            let source = serde_json::from_str::<ColumnSource>(&json);
            source.map(|source| (serde_json::to_string(&source).unwrap(), json))
        };
        let (written, read) = source("Asia/Calcutta").unwrap();
        assert_eq!(written, read, "by the very name that it was given");
        let error = source("Mars/Base").unwrap_err().to_string();
        assert!(error.contains("found `Mars/Base`"), "{error}");
    }

    #[test]
    fn features_stay_within_their_series() -> Result<(), SeriesError> {
        let series = [("a".into(), 0, 3), ("b".into(), 0, 3)];
        let layout = Layout::new(Step::HOUR, series);
        let values = [1.0, 2.0, 4.0, 10.0, 20.0, 40.0];
        let column = |_: &str| Ok(&values[..]);
        let made = |source: ColumnSource| evaluate(&source, &layout, &column);
        let lag = made(ColumnSource::Lag {
            column: "x".into(),
            rows: 1,
        })?;
        let lag = lag.unwrap_or_default();
        assert!(lag[0].is_nan() && lag[3].is_nan());
        assert_eq!((lag[1], lag[5]), (1.0, 20.0));
        let ahead = made(ColumnSource::Lag {
            column: "x".into(),
            rows: -2,
        })?;
        assert_eq!(ahead.map(|values| values[3]), Some(40.0));
        let mean = made(ColumnSource::Rolling {
            column: "x".into(),
            rows: 2,
            ahead: 0,
            stat: Statistic::Mean,
        })?;
        let mean = mean.unwrap_or_default();
        assert_eq!((mean[1], mean[3], mean[5]), (1.5, 10.0, 30.0));
        let source = ColumnSource::Observed {
            column: "x".into(),
            aggregate: None,
        };
        assert_eq!(made(source)?, None);
        Ok(())
    }

    #[test]
    fn what_is_known_of_a_feature_follows_from_its_columns() {
        let lag = |column: &str| ColumnSource::Lag {
            column: column.into(),
            rows: 1,
        };
        let role_of = |name: &str| match name {
            "plan" => Role::Future,
            _ => Role::Target,
        };
        assert_eq!(lag("plan").role(role_of), Role::Future);
        assert_eq!(lag("t").role(role_of), Role::Past);
        let sun = ColumnSource::Sun {
            view: SunView::ClearSky,
            places: std::collections::BTreeMap::new(),
            radiation: None,
        };
        assert_eq!(sun.role(role_of), Role::Future);
    }
}
