//! Formulae of the atmosphere near the ground: what a temperature feels like, moisture, wind.
//!
//! Plain numbers in stated units go in and come out: temperatures in °C, relative humidity in
//! percent, wind speed in m/s at 10 m above ground, directions in degrees clockwise from north,
//! *from* which the wind blows. A missing value (NaN) that a formula needs gives NaN. This module
//! must not know of series, models or forecasts; in particular, what a *probabilistic* forecast
//! feels like must be computed on values that belong together, which only the caller can know.

pub mod sun;
mod units;

pub use units::Conversion;

/// The largest temperature at which wind chill is defined.
const WIND_CHILL_MAX_C: f64 = 10.0;
/// The wind speed above which wind chill is defined.
const WIND_CHILL_MIN_KMH: f64 = 4.8;
/// Where the heat index begins to speak of heat: 80 °F.
const HEAT_INDEX_MIN_F: f64 = 80.0;
/// The constants b and c (in °C) of the Magnus formula, after Alduchov and Eskridge (1996).
const MAGNUS_B: f64 = 17.625;
const MAGNUS_C: f64 = 243.04;
/// The sixteen points of the compass, clockwise from north in steps of 22.5°.
const COMPASS: [&str; 16] = [
    "N", "NNE", "NE", "ENE", "E", "ESE", "SE", "SSE", "S", "SSW", "SW", "WSW", "W", "WNW", "NW",
    "NNW",
];

/// Wind chill in °C, after Environment Canada and the NWS (2001):
/// 13.12 + 0.6215 T − 11.37 V^0.16 + 0.3965 T V^0.16, T in °C, V in km/h at 10 m.
///
/// It holds for T ≤ 10 °C and V > 4.8 km/h; outside of that it is the air temperature.
fn wind_chill_c(temperature_c: f64, wind_speed_ms: f64) -> f64 {
    if wind_speed_ms.is_nan() {
        return f64::NAN;
    }
    if !wind_chill_holds(temperature_c, wind_speed_ms) {
        return temperature_c;
    }
    let wind = ms_to_kmh(wind_speed_ms).powf(0.16);
    13.12 + 0.6215 * temperature_c - 11.37 * wind + 0.3965 * temperature_c * wind
}

/// Whether the formula of wind chill holds: T ≤ 10 °C and V > 4.8 km/h.
fn wind_chill_holds(temperature_c: f64, wind_speed_ms: f64) -> bool {
    temperature_c <= WIND_CHILL_MAX_C && ms_to_kmh(wind_speed_ms) > WIND_CHILL_MIN_KMH
}

/// The heat index in °C, as the NWS computes it (Rothfusz, Technical Attachment SR 90-23, 1990,
/// and <https://www.wpc.ncep.noaa.gov/html/heatindex_equation.shtml>): Steadman's simple form
/// first; where that gives 80 °F or more, Rothfusz's regression with its two adjustments.
fn heat_index_c(temperature_c: f64, relative_humidity: f64) -> f64 {
    let t = celsius_to_fahrenheit(temperature_c);
    let rh = relative_humidity;
    let simple = 0.5 * (t + 61.0 + (t - 68.0) * 1.2 + rh * 0.094);
    let heat_index = if simple >= HEAT_INDEX_MIN_F {
        rothfusz_f(t, rh) + rothfusz_adjustment_f(t, rh)
    } else {
        simple
    };
    fahrenheit_to_celsius(heat_index)
}

/// Rothfusz's regression; temperature and result in °F, humidity in percent.
fn rothfusz_f(t: f64, rh: f64) -> f64 {
    -42.379 + 2.049_015_23 * t + 10.143_331_27 * rh
        - 0.224_755_41 * t * rh
        - 6.837_83e-3 * t * t
        - 5.481_717e-2 * rh * rh
        + 1.228_74e-3 * t * t * rh
        + 8.5282e-4 * t * rh * rh
        - 1.99e-6 * t * t * rh * rh
}

/// What the NWS adds to the regression in very dry and very humid air, in °F.
fn rothfusz_adjustment_f(t: f64, rh: f64) -> f64 {
    if rh < 13.0 && (80.0..=112.0).contains(&t) {
        -(13.0 - rh) / 4.0 * ((17.0 - (t - 95.0).abs()) / 17.0).sqrt()
    } else if rh > 85.0 && (80.0..=87.0).contains(&t) {
        (rh - 85.0) / 10.0 * (87.0 - t) / 5.0
    } else {
        0.0
    }
}

/// What the air feels like in °C: wind chill where its range holds, the heat index from 80 °F up,
/// the air temperature between (the rule of the NWS's digital forecast database). Without a
/// humidity there is no heat index, and a warm temperature feels like itself.
pub fn feels_like_c(temperature_c: f64, wind_speed_ms: f64, relative_humidity: Option<f64>) -> f64 {
    match relative_humidity {
        Some(humidity) if celsius_to_fahrenheit(temperature_c) >= HEAT_INDEX_MIN_F => {
            heat_index_c(temperature_c, humidity)
        }
        _ if temperature_c <= WIND_CHILL_MAX_C => wind_chill_c(temperature_c, wind_speed_ms),
        _ => temperature_c,
    }
}

/// The dew point in °C by the Magnus formula, good to about 0.4 °C from −40 to 50 °C:
/// γ = ln(RH/100) + b T/(c + T), Td = c γ/(b − γ). NaN where the humidity is not above 0.
pub fn dew_point_c(temperature_c: f64, relative_humidity: f64) -> f64 {
    let gamma = (relative_humidity / 100.0).ln() + magnus(temperature_c);
    MAGNUS_C * gamma / (MAGNUS_B - gamma)
}

/// The relative humidity in percent, from temperature and dew point in °C: [`dew_point_c`] turned
/// around.
pub fn relative_humidity(temperature_c: f64, dew_point_c: f64) -> f64 {
    100.0 * (magnus(dew_point_c) - magnus(temperature_c)).exp()
}

/// The logarithm of the vapour pressure over water that is saturated, less that at 0 °C.
fn magnus(celsius: f64) -> f64 {
    MAGNUS_B * celsius / (MAGNUS_C + celsius)
}

/// The vector (u, v) of a wind, in the unit of its speed: u blows to the east, v to the north,
/// while `direction_deg` says where the wind comes from. u = −s·sin(dir), v = −s·cos(dir). A calm has no
/// direction and needs none.
pub fn wind_vector(speed: f64, direction_deg: f64) -> (f64, f64) {
    if speed == 0.0 {
        return (0.0, 0.0);
    }
    let (sin, cos) = direction_deg.to_radians().sin_cos();
    (-speed * sin, -speed * cos)
}

/// Speed and direction of a wind vector; the direction it comes from, in `0.0..360.0` degrees.
/// A calm has no direction.
pub fn wind_from_vector(u: f64, v: f64) -> (f64, Option<f64>) {
    let speed = u.hypot(v);
    let turn = (-u).atan2(-v).to_degrees().rem_euclid(360.0);
    // A tiny negative angle rounds up to 360 itself, and -0.0 stays: both are north.
    let direction = (turn % 360.0).abs();
    (speed, (speed > 0.0).then_some(direction))
}

/// The direction in degrees of a compass word such as `N` or `wsw`; `None` for anything else.
pub fn compass_degrees(word: &str) -> Option<f64> {
    COMPASS
        .iter()
        .position(|point| point.eq_ignore_ascii_case(word.trim()))
        .map(|position| position as f64 * 22.5)
}

fn ms_to_kmh(speed_ms: f64) -> f64 {
    speed_ms * 3.6
}

fn celsius_to_fahrenheit(temperature_c: f64) -> f64 {
    temperature_c * 1.8 + 32.0
}

fn fahrenheit_to_celsius(temperature_f: f64) -> f64 {
    (temperature_f - 32.0) / 1.8
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these values are exact by construction")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn heat_index_f(temperature_f: f64, relative_humidity: f64) -> f64 {
        let celsius = heat_index_c(fahrenheit_to_celsius(temperature_f), relative_humidity);
        celsius_to_fahrenheit(celsius)
    }

    /// Environment Canada, "Wind chill index", table of whole degrees: (°C, km/h, wind chill).
    #[test]
    fn wind_chill_agrees_with_the_table_of_environment_canada() {
        for (temperature, wind_kmh, expected) in [
            (5.0, 10.0, 3.0),
            (0.0, 5.0, -2.0),
            (0.0, 20.0, -5.0),
            (0.0, 60.0, -9.0),
            (-10.0, 10.0, -15.0),
            (-10.0, 20.0, -18.0),
            (-20.0, 30.0, -33.0),
            (-40.0, 5.0, -47.0),
            (-40.0, 60.0, -64.0),
        ] {
            let chill = wind_chill_c(temperature, wind_kmh / 3.6);
            assert_eq!(chill.round(), expected, "{temperature} °C, {wind_kmh} km/h");
        }
    }

    #[test]
    fn wind_chill_outside_of_its_range_is_the_temperature() {
        assert_eq!(wind_chill_c(10.1, 20.0), 10.1);
        assert_eq!(wind_chill_c(-5.0, 4.8 / 3.6), -5.0);
        assert_eq!(wind_chill_c(-5.0, 0.0), -5.0);
        assert!(wind_chill_c(10.0, 20.0) < 10.0);
    }

    /// NWS heat index chart, and the last three from its calculator as recorded in the tests of
    /// `MetPy` (<https://www.wpc.ncep.noaa.gov/html/heatindex.shtml>, 2019): whole °F.
    #[test]
    fn heat_index_agrees_with_the_chart_of_the_nws() {
        for (temperature, humidity, expected) in [
            (80.0, 40.0, 80.0),
            (90.0, 50.0, 95.0),
            (92.0, 70.0, 112.0),
            (100.0, 40.0, 109.0),
            (100.0, 55.0, 124.0),
            (110.0, 40.0, 136.0),
            (86.0, 45.0, 87.0),
            (111.0, 27.0, 121.0),
            (96.0, 60.0, 116.0),
        ] {
            let heat = heat_index_f(temperature, humidity).round();
            assert_eq!(heat, expected, "{temperature} °F, {humidity} %");
        }
    }

    #[test]
    fn heat_index_adjusts_for_dry_and_for_humid_air() {
        let dry = heat_index_f(95.0, 10.0) - rothfusz_f(95.0, 10.0);
        assert!((dry + 0.75).abs() < 1e-9, "{dry}");
        let humid = heat_index_f(82.0, 95.0) - rothfusz_f(82.0, 95.0);
        assert!((humid - 1.0).abs() < 1e-9, "{humid}");
        let plain = heat_index_f(95.0, 50.0) - rothfusz_f(95.0, 50.0);
        assert!(plain.abs() < 1e-9, "{plain}");
    }

    #[test]
    fn it_feels_cold_in_wind_hot_in_humid_heat_and_like_itself_between() {
        assert_eq!(feels_like_c(-10.0, 20.0 / 3.6, None).round(), -18.0);
        assert_eq!(feels_like_c(18.0, 10.0, Some(90.0)), 18.0);
        assert_eq!(
            feels_like_c(35.0, 3.0, Some(50.0)),
            heat_index_c(35.0, 50.0)
        );
        assert_eq!(feels_like_c(35.0, 3.0, None), 35.0);
    }

    /// Reference: vapour pressures of saturated water in the WMO's table (Guide to Instruments,
    /// annex 4.B): 12.27 hPa at 10 °C and 23.37 hPa at 20 °C, so 20 °C at 52.5 % has a dew point
    /// of 10 °C.
    #[test]
    fn dew_points() {
        assert!((dew_point_c(20.0, 52.5) - 10.0).abs() < 0.05);
        assert!((dew_point_c(7.0, 100.0) - 7.0).abs() < 1e-9);
        assert!(dew_point_c(20.0, 0.0).is_nan() && dew_point_c(20.0, -1.0).is_nan());
        assert!((relative_humidity(20.0, 10.0) - 52.5).abs() < 0.2);
        assert_eq!(relative_humidity(7.0, 7.0), 100.0);
        assert!(
            relative_humidity(f64::NAN, 7.0).is_nan() && relative_humidity(7.0, f64::NAN).is_nan()
        );
    }

    #[test]
    fn missing_values_stay_missing() {
        assert!(wind_chill_c(f64::NAN, 5.0).is_nan() && wind_chill_c(0.0, f64::NAN).is_nan());
        assert!(heat_index_c(f64::NAN, 50.0).is_nan() && heat_index_c(30.0, f64::NAN).is_nan());
        assert!(feels_like_c(f64::NAN, 5.0, Some(50.0)).is_nan());
        assert!(feels_like_c(0.0, f64::NAN, None).is_nan());
        assert!(dew_point_c(20.0, f64::NAN).is_nan());
        assert_eq!(wind_from_vector(f64::NAN, 1.0).1, None);
    }

    #[test]
    fn wind_blows_from_its_direction() {
        let near =
            |(u, v): (f64, f64), (x, y): (f64, f64)| (u - x).abs() < 1e-12 && (v - y).abs() < 1e-12;
        assert!(
            near(wind_vector(2.0, 0.0), (0.0, -2.0)),
            "from the north to the south"
        );
        assert!(
            near(wind_vector(2.0, 90.0), (-2.0, 0.0)),
            "from the east to the west"
        );
        assert!(near(wind_vector(0.0, f64::NAN), (0.0, 0.0)), "a calm");
        // MetPy, test_wind_comps_scalar.
        let eight = wind_vector(8.0, 150.0);
        assert!((eight.0 + 4.0).abs() < 1e-3 && (eight.1 - 6.9282).abs() < 1e-3);
        assert_eq!(wind_from_vector(0.0, -2.0), (2.0, Some(0.0)));
        assert_eq!(wind_from_vector(2.0, 0.0), (2.0, Some(270.0)));
        assert_eq!(wind_from_vector(0.0, 0.0), (0.0, None));
        assert_eq!(wind_from_vector(-0.0, -0.0), (0.0, None));
        assert_eq!(wind_from_vector(1e-30, -1.0), (1.0, Some(0.0)));
    }

    #[test]
    fn compass_words() {
        assert_eq!(compass_degrees("N"), Some(0.0));
        assert_eq!(compass_degrees("wsw"), Some(247.5));
        assert_eq!(compass_degrees(" NNW "), Some(337.5));
        assert_eq!(compass_degrees("north"), None);
        assert_eq!(compass_degrees(""), None);
    }

    proptest! {
        #[test]
        fn a_wind_vector_comes_back(speed in 1e-3..100.0_f64, direction in 0.0..360.0_f64) {
            let (u, v) = wind_vector(speed, direction);
            let (back, from) = wind_from_vector(u, v);
            let from = from.expect("not calm");
            prop_assert!((back - speed).abs() < 1e-9);
            prop_assert!((0.0..360.0).contains(&from));
            let turn = (from - direction + 180.0).rem_euclid(360.0) - 180.0;
            prop_assert!(turn.abs() < 1e-9, "{direction} became {from}");
        }

        #[test]
        fn wind_never_warms(temperature in -50.0..50.0_f64, wind in 0.0..40.0_f64) {
            prop_assert!(wind_chill_c(temperature, wind) <= temperature);
        }

        #[test]
        fn the_dew_point_is_at_most_the_temperature(t in -40.0..50.0_f64, rh in 0.1..100.0_f64) {
            prop_assert!(dew_point_c(t, rh) <= t + 1e-9);
            prop_assert!((relative_humidity(t, dew_point_c(t, rh)) - rh).abs() < 1e-9);
        }
    }
}
