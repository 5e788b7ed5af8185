//! What is believable of a quantity, and how a column's unit and name tell which it is.
//!
//! Records: World Meteorological Organization, World Weather and Climate Extremes Archive
//! (temperature −89.2 and 56.7 °C, gust 113.3 m/s, sea-level pressure 870 and 1084.8 hPa, 305 mm of
//! rain in an hour). Changes in a minute: WMO-No. 8, Guide to Instruments and Methods of
//! Observation, quality control of automatic stations (3 °C, 10 % widened to 15, 20 m/s); changes in
//! an hour are set well above what fronts and downbursts bring, since a false alarm costs trust.

use super::super::Column;
use crate::params::{QualityParams, Quantity};

/// The limits of a quantity, in the unit of its column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Limits {
    pub(super) min: f64,
    pub(super) max: f64,
    /// The largest change within a minute and within an hour.
    pub(super) change: Option<(f64, f64)>,
    /// Values at which a sensor may well stay: calm, saturation, night.
    pub(super) resting: &'static [f64],
    /// Whether one value for a day means that the sensor is stuck.
    pub(super) can_stick: bool,
}

const NONE: Limits = Limits {
    min: f64::NEG_INFINITY,
    max: f64::INFINITY,
    change: None,
    resting: &[],
    can_stick: false,
};

/// The limits of a quantity. A range that depends on a unit that is not known is left open.
pub(super) fn limits(quantity: Quantity, unit: &str) -> Limits {
    let sticks = |min, max, change, resting| Limits {
        min,
        max,
        change,
        resting,
        can_stick: true,
    };
    let (zero, metres) = match normal(unit).as_str() {
        "k" => (273.15, 1.0),
        "km/h" => (0.0, 3.6),
        _ => (0.0, 1.0),
    };
    match quantity {
        Quantity::Temperature if is_temperature(unit) => {
            sticks(-90.0 + zero, 60.0 + zero, Some((3.0, 15.0)), &[])
        }
        Quantity::DewPoint if is_temperature(unit) => {
            sticks(-100.0 + zero, 40.0 + zero, Some((4.0, 15.0)), &[])
        }
        Quantity::Humidity => sticks(0.0, 100.0, Some((15.0, 70.0)), &[0.0, 100.0]),
        Quantity::Percent => Limits {
            min: 0.0,
            max: 100.0,
            ..NONE
        },
        Quantity::WindSpeed | Quantity::Gust => {
            let change = Some((20.0 * metres, 30.0 * metres));
            sticks(0.0, 115.0 * metres, change, &[0.0])
        }
        Quantity::WindComponent => sticks(-115.0 * metres, 115.0 * metres, None, &[0.0]),
        Quantity::Direction => Limits {
            max: 360.0,
            ..Limits { min: 0.0, ..NONE }
        },
        Quantity::Pressure => sticks(500.0, 1090.0, Some((2.0, 12.0)), &[]),
        Quantity::Co2 => sticks(100.0, 5000.0, None, &[]),
        Quantity::Precipitation => Limits {
            min: 0.0,
            max: 400.0,
            ..NONE
        },
        Quantity::Radiation => Limits {
            min: -20.0,
            max: 2000.0,
            ..NONE
        },
        Quantity::Concentration => Limits {
            min: 0.0,
            max: 20_000.0,
            ..NONE
        },
        Quantity::Share => Limits {
            min: 0.0,
            max: 1.0,
            ..NONE
        },
        _ => NONE,
    }
}

/// What a column measures: what the parameters say, otherwise as far as its unit and name tell.
pub fn quantity_of(column: &Column, params: &QualityParams) -> Quantity {
    let own = params.columns.get(&column.name);
    let said = own.and_then(|own| own.quantity);
    said.unwrap_or_else(|| quantity(column))
}

/// What a column measures, as far as its unit and name tell.
pub(super) fn quantity(column: &Column) -> Quantity {
    let name = column.name.to_lowercase();
    let has = |part: &str| name.contains(part);
    let word = |word: &str| {
        name.split(|c: char| !c.is_alphanumeric())
            .any(|w| w == word)
    };
    match normal(&column.unit).as_str() {
        _ if is_temperature(&column.unit) && has("dew") => Quantity::DewPoint,
        _ if is_temperature(&column.unit) => Quantity::Temperature,
        "%" if has("humid") || word("rh") => Quantity::Humidity,
        "%" if has("cloud") => Quantity::Percent,
        "m/s" | "ms-1" | "km/h" => match () {
            () if has("gust") || has("max") => Quantity::Gust,
            () if word("u") || word("v") || name.starts_with("vector") => Quantity::WindComponent,
            () if has("speed") || has("wspm") || word("wv") || word("ws") || word("ff") => {
                Quantity::WindSpeed
            }
            () => Quantity::WindComponent,
        },
        "°" | "deg" | "degrees" if has("dir") || word("wd") || word("dd") => Quantity::Direction,
        // That of water vapour, or what it lacks of saturation, is far below that of the air.
        "hpa" | "mbar" | "mb" if has("vap") || has("vpd") || has("defic") => Quantity::Unknown,
        "hpa" | "mbar" | "mb" if has("pres") || word("p") || word("slp") => Quantity::Pressure,
        "ppm" if has("co2") => Quantity::Co2,
        "mm" if ["rain", "precip", "shower"].iter().any(|part| has(part)) => {
            Quantity::Precipitation
        }
        "w/m2" | "w/m²" if ["rad", "irr", "swdr", "ghi"].iter().any(|part| has(part)) => {
            Quantity::Radiation
        }
        "µg/m³" | "μg/m³" | "ug/m3" => Quantity::Concentration,
        "1" | "p.u." if has("power") || has("share") => Quantity::Share,
        "w" | "kw" | "mw" => Quantity::Power,
        _ => Quantity::Unknown,
    }
}

fn is_temperature(unit: &str) -> bool {
    matches!(normal(unit).as_str(), "°c" | "degc" | "c" | "k")
}

fn normal(unit: &str) -> String {
    unit.trim().to_lowercase()
}
