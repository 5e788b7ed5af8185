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
        let (from, to) = (unit(from)?, unit(to)?);
        (from.quantity == to.quantity).then_some(Self { from, to })
    }

    /// The number in the other unit.
    pub fn convert(self, number: f64) -> f64 {
        let Self { from, to } = self;
        (number - from.zero) * from.times / from.per * to.per / to.times + to.zero
    }
}

fn unit(name: &str) -> Option<Unit> {
    use Quantity::{Concentration, Irradiance, Length, Power, Pressure, Share, Speed, Temperature};
    let (quantity, zero, times, per) = match name.trim() {
        "°C" | "degC" | "C" | "celsius" => (Temperature, 0.0, 1.0, 1.0),
        "K" | "kelvin" => (Temperature, 273.15, 1.0, 1.0),
        "°F" | "degF" | "F" | "fahrenheit" => (Temperature, 32.0, 1.0, 1.8),
        "m/s" | "ms-1" => (Speed, 0.0, 1.0, 1.0),
        "km/h" | "kmh" | "kph" => (Speed, 0.0, 1.0, 3.6),
        "mph" => (Speed, 0.0, 0.447_04, 1.0),
        "kn" | "kt" | "knots" => (Speed, 0.0, 1852.0, 3600.0),
        "hPa" | "mbar" | "mb" => (Pressure, 0.0, 1.0, 1.0),
        "Pa" => (Pressure, 0.0, 1.0, 100.0),
        "kPa" => (Pressure, 0.0, 10.0, 1.0),
        "bar" => (Pressure, 0.0, 1000.0, 1.0),
        "inHg" => (Pressure, 0.0, 33.863_89, 1.0),
        "mmHg" => (Pressure, 0.0, 1.333_224, 1.0),
        "mm" => (Length, 0.0, 1.0, 1.0),
        "cm" => (Length, 0.0, 10.0, 1.0),
        "m" => (Length, 0.0, 1000.0, 1.0),
        "km" => (Length, 0.0, 1_000_000.0, 1.0),
        "in" => (Length, 0.0, 25.4, 1.0),
        "ft" => (Length, 0.0, 304.8, 1.0),
        "1" => (Share, 0.0, 1.0, 1.0),
        "%" => (Share, 0.0, 1.0, 100.0),
        "W" => (Power, 0.0, 1.0, 1.0),
        "kW" => (Power, 0.0, 1e3, 1.0),
        "MW" => (Power, 0.0, 1e6, 1.0),
        "GW" => (Power, 0.0, 1e9, 1.0),
        "µg/m³" | "ug/m3" => (Concentration, 0.0, 1.0, 1.0),
        "mg/m³" | "mg/m3" => (Concentration, 0.0, 1e3, 1.0),
        "g/m³" | "g/m3" => (Concentration, 0.0, 1e6, 1.0),
        "W/m²" | "W/m2" => (Irradiance, 0.0, 1.0, 1.0),
        "kW/m²" | "kW/m2" => (Irradiance, 0.0, 1e3, 1.0),
        _ => return None,
    };
    Some(Unit {
        quantity,
        zero,
        times,
        per,
    })
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
}
