//! The calendar as waves: of a day, a week and a year, and of parts of them.

use serde::{Deserialize, Serialize};

use crate::data::Layout;
use crate::params::Calendar;
use crate::time::Zone;

/// Days in a mean Gregorian year.
const DAYS_PER_YEAR: f64 = 365.2425;

/// Sine or cosine of a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wave {
    /// The sine.
    Sin,
    /// The cosine.
    Cos,
}

/// A calendar feature at an instant, between −1 and 1: a wave of which so many fit into the cycle.
///
/// The day of the year is a phase in the mean year, counted from the epoch, so that it does not
/// jump at the end of a leap year.
fn calendar_value(calendar: Calendar, (wave, harmonic): (Wave, u8), time: i64) -> f64 {
    let days = time as f64 / 86_400.0;
    let phase = std::f64::consts::TAU
        * f64::from(harmonic)
        * match calendar {
            Calendar::HourOfDay => days.rem_euclid(1.0),
            // 1970-01-01 was a Thursday; a week begins on Monday.
            Calendar::DayOfWeek => ((days + 3.0) / 7.0).rem_euclid(1.0),
            Calendar::DayOfYear => (days / DAYS_PER_YEAR).rem_euclid(1.0),
        };
    match wave {
        Wave::Sin => phase.sin(),
        Wave::Cos => phase.cos(),
    }
}

pub(super) fn calendar(
    layout: &Layout,
    cycle: Calendar,
    wave: (Wave, u8),
    zone: Option<Zone>,
) -> Vec<f64> {
    let local = |time: i64| time + zone.map_or(0, |zone| zone.offset_at(time));
    layout
        .times()
        .map(|time| calendar_value(cycle, wave, local(time)))
        .collect()
}

/// The name of a calendar column, with how many of its waves fit into the cycle where it is not one.
pub fn calendar_name(calendar: Calendar, wave: Wave, harmonic: u8) -> String {
    let calendar = match calendar {
        Calendar::HourOfDay => "hour_of_day",
        Calendar::DayOfWeek => "day_of_week",
        Calendar::DayOfYear => "day_of_year",
    };
    let wave = match wave {
        Wave::Sin => "sin",
        Wave::Cos => "cos",
    };
    match harmonic {
        1 => format!("{calendar}_{wave}"),
        _ => format!("{calendar}_{wave}_{harmonic}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Step;

    #[test]
    fn the_calendar_is_a_circle() {
        let noon = 12 * 3600;
        assert!((calendar_value(Calendar::HourOfDay, (Wave::Cos, 1), noon) + 1.0).abs() < 1e-12);
        assert!(calendar_value(Calendar::HourOfDay, (Wave::Sin, 1), 0).abs() < 1e-12);
        let summer = calendar_value(Calendar::DayOfYear, (Wave::Cos, 1), 1_719_792_000); // 2024-07-01
        let winter = calendar_value(Calendar::DayOfYear, (Wave::Cos, 1), 1_704_067_200); // 2024-01-01
        assert!(summer < -0.99 && winter > 0.99);
        let before_epoch = calendar_value(Calendar::HourOfDay, (Wave::Sin, 1), -6 * 3600);
        assert!((before_epoch + 1.0).abs() < 1e-12);
        let half = calendar_value(Calendar::HourOfDay, (Wave::Cos, 2), noon);
        assert!((half - 1.0).abs() < 1e-12, "two waves a day");
        let [first, second] = [1, 2].map(|n| calendar_name(Calendar::DayOfYear, Wave::Sin, n));
        assert_eq!(
            (&*first, &*second),
            ("day_of_year_sin", "day_of_year_sin_2")
        );
        // 2024-01-01 was a Monday.
        assert!(
            (calendar_value(Calendar::DayOfWeek, (Wave::Cos, 1), 1_704_067_200) - 1.0).abs() < 1e-9
        );
    }

    #[test]
    fn the_calendar_of_a_zone_follows_its_clocks() {
        let hours = |start: i64| {
            let layout = Layout::single(start, Step::HOUR, 1);
            calendar(
                &layout,
                Calendar::HourOfDay,
                (Wave::Cos, 1),
                Zone::find("Europe/Berlin"),
            )[0]
        };
        // Noon in Berlin is 11:00 UTC in winter and 10:00 in summer.
        assert!((hours(1_704_067_200 + 11 * 3600) + 1.0).abs() < 1e-9);
        assert!((hours(1_719_792_000 + 10 * 3600) + 1.0).abs() < 1e-9);
    }
}
