//! From one unit to another of the same quantity.
//!
//! Exact by definition: BIPM, The International System of Units, 9th edition (2019), and NIST
//! Special Publication 811 (2008), appendix B; inches and millimetres of mercury after the same
//! appendix (conventional, 0 °C).

/// How the numbers of one unit become those of another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conversion {
    from: Unit,
    to: Unit,
}

/// A unit by what it is in the first one of its quantity: (number − zero) × times / per.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Unit {
    quantity: Quantity,
    zero: f64,
    times: f64,
    per: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quantity {
    Temperature,
    Speed,
    Pressure,
    Length,
    Share,
    Power,
    Concentration,
    Irradiance,
}

impl Conversion {
    /// Between two units; `None` where one is not known, or they are not of one quantity.
    pub fn new(from: &str, to: &str) -> Option<Self> {
        Self::between(unit(from)?, unit(to)?)
    }

    /// The same where capitals may have been lost: the unit of a column that somebody else wrote.
    pub fn ignoring_case(from: &str, to: &str) -> Option<Self> {
        let by_any_name = |name| unit(name).or_else(|| unit_ignoring_case(name));
        Self::between(by_any_name(from)?, by_any_name(to)?)
    }

    fn between(from: Unit, to: Unit) -> Option<Self> {
        (from.quantity == to.quantity).then_some(Self { from, to })
    }

    /// The number in the other unit.
    pub fn convert(self, number: f64) -> f64 {
        let Self { from, to } = self;
        (number - from.zero) * from.times / from.per * to.per / to.times + to.zero
    }

    /// A difference in the other unit.
    pub fn convert_difference(self, difference: f64) -> f64 {
        let Self { from, to } = self;
        difference * from.times / from.per * to.per / to.times
    }
}

/// The names of a unit, and what it is.
type Named = (&'static [&'static str], Unit);

const fn of(quantity: Quantity, zero: f64, times: f64, per: f64) -> Unit {
    Unit {
        quantity,
        zero,
        times,
        per,
    }
}

const UNITS: &[Named] = {
    use Quantity::{Concentration, Irradiance, Length, Power, Pressure, Share, Speed, Temperature};
    &[
        (
            &["°C", "degC", "C", "celsius"],
            of(Temperature, 0.0, 1.0, 1.0),
        ),
        (&["K", "kelvin"], of(Temperature, 273.15, 1.0, 1.0)),
        (
            &["°F", "degF", "F", "fahrenheit"],
            of(Temperature, 32.0, 1.0, 1.8),
        ),
        (&["m/s", "ms-1"], of(Speed, 0.0, 1.0, 1.0)),
        (&["km/h", "kmh", "kph"], of(Speed, 0.0, 1.0, 3.6)),
        (&["mph"], of(Speed, 0.0, 0.447_04, 1.0)),
        (&["kn", "kt", "knots"], of(Speed, 0.0, 1852.0, 3600.0)),
        (&["hPa", "mbar", "mb"], of(Pressure, 0.0, 1.0, 1.0)),
        (&["Pa"], of(Pressure, 0.0, 1.0, 100.0)),
        (&["kPa"], of(Pressure, 0.0, 10.0, 1.0)),
        (&["bar"], of(Pressure, 0.0, 1000.0, 1.0)),
        (&["inHg"], of(Pressure, 0.0, 33.863_89, 1.0)),
        (&["mmHg"], of(Pressure, 0.0, 1.333_224, 1.0)),
        (&["mm"], of(Length, 0.0, 1.0, 1.0)),
        (&["cm"], of(Length, 0.0, 10.0, 1.0)),
        (&["m"], of(Length, 0.0, 1000.0, 1.0)),
        (&["km"], of(Length, 0.0, 1_000_000.0, 1.0)),
        (&["in"], of(Length, 0.0, 25.4, 1.0)),
        (&["ft"], of(Length, 0.0, 304.8, 1.0)),
        (&["1"], of(Share, 0.0, 1.0, 1.0)),
        (&["%"], of(Share, 0.0, 1.0, 100.0)),
        (&["W"], of(Power, 0.0, 1.0, 1.0)),
        (&["kW"], of(Power, 0.0, 1e3, 1.0)),
        (&["MW"], of(Power, 0.0, 1e6, 1.0)),
        (&["GW"], of(Power, 0.0, 1e9, 1.0)),
        // With the sign for micro, and with the Greek letter.
        (
            &["µg/m³", "μg/m³", "ug/m3"],
            of(Concentration, 0.0, 1.0, 1.0),
        ),
        (&["mg/m³", "mg/m3"], of(Concentration, 0.0, 1e3, 1.0)),
        (&["g/m³", "g/m3"], of(Concentration, 0.0, 1e6, 1.0)),
        (&["W/m²", "W/m2"], of(Irradiance, 0.0, 1.0, 1.0)),
        (&["kW/m²", "kW/m2"], of(Irradiance, 0.0, 1e3, 1.0)),
    ]
};

fn unit(name: &str) -> Option<Unit> {
    named(|known| known == name.trim())
}

fn unit_ignoring_case(name: &str) -> Option<Unit> {
    let name = name.trim().to_lowercase();
    named(|known| known.to_lowercase() == name)
}

fn named(is_it: impl Fn(&str) -> bool) -> Option<Unit> {
    let known = |(names, _): &&Named| names.iter().any(|name| is_it(name));
    UNITS.iter().find(known).map(|(_, unit)| *unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_pairs() {
        for (number, from, to, expected) in [
            (273.15, "K", "°C", 0.0),
            (0.0, "degC", "K", 273.15),
            (32.0, "°F", "°C", 0.0),
            (212.0, "°F", "°C", 100.0),
            (-40.0, "°C", "°F", -40.0),
            (36.0, "km/h", "m/s", 10.0),
            (1.0, "mph", "m/s", 0.447_04),
            (1.0, "kn", "m/s", 1852.0 / 3600.0),
            (101_325.0, "Pa", "hPa", 1013.25),
            (1013.25, "mbar", "hPa", 1013.25),
            (29.92, "inHg", "hPa", 1_013.207_588_8),
            (760.0, "mmHg", "hPa", 1_013.250_24),
            (1.0, "in", "mm", 25.4),
            (50.0, "%", "1", 0.5),
            (1.5, "MW", "kW", 1500.0),
        ] {
            let found = Conversion::new(from, to).unwrap().convert(number);
            assert!(
                (found - expected).abs() < 1e-9,
                "{number} {from}: {found} {to}"
            );
        }
        assert_eq!(Conversion::new("K", "m/s"), None);
        assert_eq!(Conversion::new("furlong", "m"), None);
    }

    #[test]
    fn capitals_may_be_lost_where_it_is_said() {
        assert_eq!(Conversion::new("hpa", "hPa"), None);
        let lost = Conversion::ignoring_case(" hpa", "PA").unwrap();
        assert!((lost.convert(10.0) - 1000.0).abs() < 1e-9);
        let fahrenheit = Conversion::ignoring_case("°C", "°F").unwrap();
        assert!((fahrenheit.convert_difference(10.0) - 18.0).abs() < 1e-12);
    }
}
