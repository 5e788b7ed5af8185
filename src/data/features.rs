//! Columns made from other columns or from the time alone.

use serde::{Deserialize, Serialize};

use super::{Column, Series, SeriesError};
use crate::params::{Calendar, WindPair};
use crate::physics;

/// Sine or cosine of a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wave {
    /// The sine.
    Sin,
    /// The cosine.
    Cos,
}

/// Days in a mean Gregorian year.
const DAYS_PER_YEAR: f64 = 365.2425;

/// A calendar feature at an instant, between −1 and 1.
///
/// The day of the year is a phase in the mean year, counted from the epoch, so that it does not
/// jump at the end of a leap year.
pub fn calendar_value(calendar: Calendar, wave: Wave, time: i64) -> f64 {
    let days = time as f64 / 86_400.0;
    let phase = std::f64::consts::TAU
        * match calendar {
            Calendar::HourOfDay => days.rem_euclid(1.0),
            Calendar::DayOfYear => (days / DAYS_PER_YEAR).rem_euclid(1.0),
        };
    match wave {
        Wave::Sin => phase.sin(),
        Wave::Cos => phase.cos(),
    }
}

/// The name of a calendar column.
pub fn calendar_name(calendar: Calendar, wave: Wave) -> String {
    let (calendar, wave) = match (calendar, wave) {
        (Calendar::HourOfDay, Wave::Sin) => ("hour_of_day", "sin"),
        (Calendar::HourOfDay, Wave::Cos) => ("hour_of_day", "cos"),
        (Calendar::DayOfYear, Wave::Sin) => ("day_of_year", "sin"),
        (Calendar::DayOfYear, Wave::Cos) => ("day_of_year", "cos"),
    };
    format!("{calendar}_{wave}")
}

/// The eastward and northward parts of a wind, named after its direction column: `…_u`, `…_v`.
///
/// Directions must never be averaged, interpolated or fed to a model: 359° and 1° are neighbours.
pub fn wind_columns(series: &Series, pair: &WindPair) -> Result<[Column; 2], SeriesError> {
    let speed = series.column(&pair.speed)?;
    let direction = series.column(&pair.direction)?;
    let (u, v) = speed
        .values
        .iter()
        .zip(&direction.values)
        .map(|(&speed, &direction)| physics::wind_vector(speed, direction))
        .unzip();
    let base = pair.direction.replace("direction", "vector");
    let part = |axis: &str, values| Column {
        name: format!("{base}_{axis}"),
        unit: speed.unit.clone(),
        values,
    };
    Ok([part("u", u), part("v", v)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Step;

    #[test]
    fn the_calendar_is_a_circle() {
        let noon = 12 * 3600;
        assert!((calendar_value(Calendar::HourOfDay, Wave::Cos, noon) + 1.0).abs() < 1e-12);
        assert!(calendar_value(Calendar::HourOfDay, Wave::Sin, 0).abs() < 1e-12);
        let summer = calendar_value(Calendar::DayOfYear, Wave::Cos, 1_719_792_000); // 2024-07-01
        let winter = calendar_value(Calendar::DayOfYear, Wave::Cos, 1_704_067_200); // 2024-01-01
        assert!(summer < -0.99 && winter > 0.99);
        let before_epoch = calendar_value(Calendar::HourOfDay, Wave::Sin, -6 * 3600);
        assert!((before_epoch + 1.0).abs() < 1e-12);
    }

    #[test]
    fn wind_becomes_a_vector_and_missing_stays_missing() {
        let column = |name: &str, unit: &str, values: &[f64]| Column {
            name: name.into(),
            unit: unit.into(),
            values: values.to_vec(),
        };
        let series = Series::new(
            0,
            Step::HOUR,
            vec![
                column("wind_speed_10m", "m/s", &[5.0, f64::NAN]),
                column("wind_direction_10m", "°", &[270.0, 10.0]),
            ],
        )
        .unwrap();
        let pair = WindPair {
            speed: "wind_speed_10m".into(),
            direction: "wind_direction_10m".into(),
        };
        let [u, v] = wind_columns(&series, &pair).unwrap();
        assert_eq!(
            (u.name.as_str(), u.unit.as_str()),
            ("wind_vector_10m_u", "m/s")
        );
        assert!((u.values[0] - 5.0).abs() < 1e-12 && v.values[0].abs() < 1e-12);
        assert!(u.values[1].is_nan() && v.values[1].is_nan());
    }
}
