//! What may vary, and the scale on which a sampler sees it.
//!
//! A sampler works on one *coordinate* a dimension: an interval is stretched over 0 to 1 (in the
//! logarithm where it is logarithmic), a choice is the index of its value.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

use crate::params::Dimension;

/// A value for each dimension, by its key in `params.yaml`.
pub type Point = BTreeMap<String, Value>;

/// The dimensions of a search, by key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Space(BTreeMap<String, Dimension>);

impl Space {
    /// A space of checked dimensions, as [`TuneParams`](crate::params::TuneParams) has them.
    pub fn new(dimensions: BTreeMap<String, Dimension>) -> Self {
        Self(dimensions)
    }

    /// The dimensions by key.
    pub fn dimensions(&self) -> &BTreeMap<String, Dimension> {
        &self.0
    }

    /// Whether a point has a value of each dimension and no other.
    pub fn contains(&self, point: &Point) -> bool {
        self.coordinates(point).is_some()
    }

    /// All points, where there are at most so many.
    pub(super) fn points(&self, most: usize) -> Option<impl Iterator<Item = Point> + '_> {
        let values: Vec<Vec<Value>> = self
            .0
            .values()
            .map(|dimension| all_values(dimension, most))
            .collect::<Option<_>>()?;
        let count = values
            .iter()
            .try_fold(1_usize, |count, values| count.checked_mul(values.len()))
            .filter(|count| *count <= most)?;
        Some((0..count).map(move |mut number| {
            let of_each = self.0.keys().zip(&values).map(|(key, values)| {
                let value = values[number % values.len()].clone();
                number /= values.len();
                (key.clone(), value)
            });
            of_each.collect()
        }))
    }

    /// Where a point lies; `None` where it is not of this space.
    pub(super) fn coordinates(&self, point: &Point) -> Option<Vec<f64>> {
        if point.len() != self.0.len() {
            return None;
        }
        self.0
            .iter()
            .map(|(key, dimension)| coordinate(dimension, point.get(key)?))
            .collect()
    }

    /// The point at some coordinates, one a dimension in the order of the keys.
    pub(super) fn point(&self, coordinates: &[f64]) -> Point {
        self.0
            .iter()
            .zip(coordinates)
            .map(|((key, dimension), &at)| (key.clone(), value(dimension, at)))
            .collect()
    }
}

/// Those of a choice, and whole numbers.
fn all_values(dimension: &Dimension, most: usize) -> Option<Vec<Value>> {
    match dimension {
        Dimension::Choice(values) => Some(values.clone()),
        Dimension::Interval {
            low,
            high,
            integer: true,
            ..
        } if high - low < most as f64 => {
            Some((*low as i64..=*high as i64).map(Value::from).collect())
        }
        Dimension::Interval { .. } => None,
    }
}

fn coordinate(dimension: &Dimension, value: &Value) -> Option<f64> {
    match dimension {
        Dimension::Choice(values) => values.iter().position(|v| v == value).map(|i| i as f64),
        Dimension::Interval {
            low, high, integer, ..
        } => {
            let number = value.as_f64()?;
            let fits = (*low..=*high).contains(&number) && (!integer || number.fract() == 0.0);
            fits.then(|| Scale::of(dimension).unit_of(number))
        }
    }
}

fn value(dimension: &Dimension, at: f64) -> Value {
    match dimension {
        Dimension::Choice(values) => {
            let last = values.len().saturating_sub(1);
            values.get((at as usize).min(last)).cloned().into()
        }
        Dimension::Interval {
            low, high, integer, ..
        } => {
            let number = Scale::of(dimension).number_at(at);
            if *integer {
                Value::from(number.round().clamp(*low, *high) as i64)
            } else {
                let number = six_digits(number).clamp(*low, *high);
                Number::from_f64(number).map_or(Value::Null, Value::Number)
            }
        }
    }
}

/// A person copies the best point into `params.yaml`; seventeen digits are nothing to copy.
fn six_digits(number: f64) -> f64 {
    format!("{number:.5e}").parse().unwrap_or(number)
}

/// The ends of an interval on the scale on which draws are even.
struct Scale {
    low: f64,
    high: f64,
    log: bool,
}

impl Scale {
    fn of(dimension: &Dimension) -> Self {
        let &Dimension::Interval {
            low,
            high,
            log,
            integer,
        } = dimension
        else {
            return Self {
                low: 0.0,
                high: 1.0,
                log: false,
            };
        };
        // Half a step more at both ends: else the first and the last whole number would be drawn
        // half as often as the others.
        let margin = if integer { 0.5 } else { 0.0 };
        let (low, high) = (low - margin, high + margin);
        if log {
            let (low, high) = (low.ln(), high.ln());
            Self { low, high, log }
        } else {
            Self { low, high, log }
        }
    }

    fn unit_of(&self, number: f64) -> f64 {
        let number = if self.log { number.ln() } else { number };
        ((number - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    fn number_at(&self, at: f64) -> f64 {
        // Not `low + at * (high - low)`: the difference of two finite numbers may be infinite.
        let number = self.low * (1.0 - at) + self.high * at;
        if self.log { number.exp() } else { number }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn space(dimension: Dimension) -> Space {
        Space::new(BTreeMap::from([("train.x".to_owned(), dimension)]))
    }

    fn interval() -> impl Strategy<Value = Dimension> {
        let ends = (1e-6..1e6_f64, 1e-6..1e6_f64).prop_filter("low < high", |(a, b)| a < b);
        (ends, any::<bool>(), any::<bool>()).prop_map(|((low, high), log, integer)| {
            let (low, high) = if integer {
                (low.ceil(), high.ceil() + 1.0)
            } else {
                (low, high)
            };
            Dimension::Interval {
                low,
                high,
                log,
                integer,
            }
        })
    }

    proptest! {
        #[test]
        fn every_coordinate_gives_a_value_of_the_space(dimension in interval(), at in 0.0..=1.0_f64) {
            let space = space(dimension.clone());
            let point = space.point(&[at]);
            prop_assert!(space.contains(&point), "{point:?}");
            let Dimension::Interval { integer, .. } = dimension else { return Ok(()) };
            prop_assert_eq!(point["train.x"].is_i64(), integer);
        }

        #[test]
        fn a_value_keeps_its_place(dimension in interval(), at in 0.0..=1.0_f64) {
            let space = space(dimension);
            let point = space.point(&[at]);
            let there = space.coordinates(&point).expect("of the space");
            prop_assert_eq!(space.point(&there), point);
        }
    }

    #[test]
    fn whole_numbers_have_equal_shares() {
        let space = space(Dimension::Interval {
            low: 1.0,
            high: 4.0,
            log: false,
            integer: true,
        });
        let mut counts = [0; 4];
        for k in 0..400 {
            let point = space.point(&[(f64::from(k) + 0.5) / 400.0]);
            counts[point["train.x"].as_i64().expect("whole") as usize - 1] += 1;
        }
        assert_eq!(counts, [100; 4]);
    }

    #[test]
    fn a_point_of_another_space_is_not_in_it() {
        let of = |text: &str| serde_json::from_str::<Point>(text).expect("JSON");
        let choice = space(Dimension::Choice(vec!["a".into(), 2.into()]));
        assert!(choice.contains(&of(r#"{"train.x": 2}"#)));
        assert!(!choice.contains(&of(r#"{"train.x": 3}"#)));
        assert!(!choice.contains(&of(r#"{"train.y": 2}"#)));
        assert!(!choice.contains(&of(r#"{"train.x": 2, "train.y": 2}"#)));
        let whole = space(Dimension::Interval {
            low: 1.0,
            high: 4.0,
            log: true,
            integer: true,
        });
        assert!(!whole.contains(&of(r#"{"train.x": 1.5}"#)));
        assert!(!whole.contains(&of(r#"{"train.x": 5}"#)));
        assert!(!whole.contains(&of(r#"{"train.x": "2"}"#)));
    }
}
