//! What is believable of a quantity, and how a column's unit and name tell which it is.
//!
//! Records: World Meteorological Organization, World Weather and Climate Extremes Archive
//! (temperature −89.2 and 56.7 °C, gust 113.3 m/s, sea-level pressure 870 and 1084.8 hPa, 305 mm of
//! rain in an hour). Changes in a minute: WMO-No. 8, Guide to Instruments and Methods of
//! Observation, quality control of automatic stations (3 °C, 10 % widened to 15, 20 m/s); changes in
//! an hour are set well above what fronts and downbursts bring, since a false alarm costs trust.

use super::super::Column;
use crate::params::{QualityParams, Quantity};
use crate::physics::Conversion;

pub(super) const CELSIUS: &str = "°C";
pub(super) const METRES_PER_SECOND: &str = "m/s";
const HECTOPASCAL: &str = "hPa";
const MILLIMETRE: &str = "mm";
const WATTS_PER_AREA: &str = "W/m²";
const MICROGRAMS_PER_VOLUME: &str = "µg/m³";
const WATT: &str = "W";

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

/// The limits of a quantity in the unit of a column; open where they depend on a unit that is not known.
pub(super) fn limits(quantity: Quantity, unit: &str) -> Limits {
    let limits = in_own_unit(quantity);
    let Some(own) = own_unit(quantity) else {
        return limits;
    };
    let Some(to) = Conversion::ignoring_case(own, unit) else {
        return NONE;
    };
    let difference = |change| to.convert_difference(change);
    Limits {
        min: to.convert(limits.min),
        max: to.convert(limits.max),
        change: limits
            .change
            .map(|(minute, hour)| (difference(minute), difference(hour))),
        ..limits
    }
}

/// The unit that the limits of a quantity are told in, where there are others that columns may have.
fn own_unit(quantity: Quantity) -> Option<&'static str> {
    match quantity {
        Quantity::Temperature | Quantity::DewPoint => Some(CELSIUS),
        Quantity::WindSpeed | Quantity::Gust | Quantity::WindComponent => Some(METRES_PER_SECOND),
        Quantity::Pressure => Some(HECTOPASCAL),
        Quantity::Precipitation => Some(MILLIMETRE),
        Quantity::Radiation => Some(WATTS_PER_AREA),
        Quantity::Concentration => Some(MICROGRAMS_PER_VOLUME),
        _ => None,
    }
}

fn in_own_unit(quantity: Quantity) -> Limits {
    let sticks = |min, max, change, resting| Limits {
        min,
        max,
        change,
        resting,
        can_stick: true,
    };
    let within = |min, max| Limits { min, max, ..NONE };
    match quantity {
        Quantity::Temperature => sticks(-90.0, 60.0, Some((3.0, 15.0)), &[]),
        Quantity::DewPoint => sticks(-100.0, 40.0, Some((4.0, 15.0)), &[]),
        Quantity::Humidity => sticks(0.0, 100.0, Some((15.0, 70.0)), &[0.0, 100.0]),
        Quantity::Percent => within(0.0, 100.0),
        Quantity::WindSpeed | Quantity::Gust => sticks(0.0, 115.0, Some((20.0, 30.0)), &[0.0]),
        Quantity::WindComponent => sticks(-115.0, 115.0, None, &[0.0]),
        Quantity::Direction => within(0.0, 360.0),
        Quantity::Pressure => sticks(500.0, 1090.0, Some((2.0, 12.0)), &[]),
        Quantity::Co2 => sticks(100.0, 5000.0, None, &[]),
        Quantity::Precipitation => within(0.0, 400.0),
        Quantity::Radiation => within(-20.0, 2000.0),
        Quantity::Concentration => within(0.0, 20_000.0),
        Quantity::Share => within(0.0, 1.0),
        Quantity::Power | Quantity::Unknown => NONE,
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
    let unit = column.unit.trim().to_lowercase();
    let has = |part: &str| name.contains(part);
    let has_any = |parts: &[&str]| parts.iter().any(|part| has(part));
    let is = |words: &[&str]| {
        name.split(|c: char| !c.is_alphanumeric())
            .any(|word| words.contains(&word))
    };
    let of = |other| Conversion::ignoring_case(&column.unit, other).is_some();
    match unit.as_str() {
        "%" if has("humid") || is(&["rh"]) => Quantity::Humidity,
        "%" if has("cloud") => Quantity::Percent,
        "°" | "deg" | "degree" | "degrees" if has("dir") || is(&["wd", "dd"]) => {
            Quantity::Direction
        }
        "ppm" if has("co2") => Quantity::Co2,
        "1" | "p.u." if has_any(&["power", "share"]) => Quantity::Share,
        _ if of(CELSIUS) && has("dew") => Quantity::DewPoint,
        _ if of(CELSIUS) => Quantity::Temperature,
        _ if of(METRES_PER_SECOND) => match () {
            () if has_any(&["gust", "max"]) || is(&["fx", "wpgt"]) => Quantity::Gust,
            () if is(&["u", "v"]) || name.starts_with("vector") => Quantity::WindComponent,
            () if has_any(&["speed", "wspm", "wspd"]) || is(&["wv", "ws", "ff"]) => {
                Quantity::WindSpeed
            }
            () => Quantity::WindComponent,
        },
        // That of water vapour, or what it lacks of saturation, is far below that of the air.
        _ if of(HECTOPASCAL) && has_any(&["vap", "vpd", "defic"]) => Quantity::Unknown,
        _ if of(HECTOPASCAL) && (has("pres") || is(&["p", "slp"])) => Quantity::Pressure,
        // How deep snow lies is no sum of what fell, and terrain no rain.
        _ if of(MILLIMETRE) && has_any(&["depth", "terrain", "drain"]) => Quantity::Unknown,
        _ if of(MILLIMETRE)
            && (has_any(&["rain", "precip", "shower", "snowfall"]) || is(&["prcp"])) =>
        {
            Quantity::Precipitation
        }
        _ if of(WATTS_PER_AREA) && has_any(&["rad", "irr", "swdr", "ghi"]) => Quantity::Radiation,
        // What the air holds of water is told in grams.
        _ if of(MICROGRAMS_PER_VOLUME) && !unit.starts_with('g') => Quantity::Concentration,
        _ if of(WATT) => Quantity::Power,
        _ => Quantity::Unknown,
    }
}
