//! What a column can reach at most in each series, such as the power of a farm.
//!
//! A model sees shares of it, so that a farm of 2 MW and one of 2,000 are of one size to it. What is made of such
//! a column by adding and comparing alone, such as a lag, grows as it does and is seen as shares of the same.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ColumnSource;

/// The capacity of a column in each series, in the unit of the column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capacity {
    /// By the name of the series; the empty name stands for all others. Each is above 0. A series of which
    /// nothing but 0 was ever observed has none that could be found, and is seen as it is.
    each: BTreeMap<String, f64>,
    /// Whether it was found in the training part, as scalers are.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    fitted: bool,
}

/// Values of a column by the series that they are of; what speaks of all series at once has no name.
pub(super) type OfSeries<'a> = Vec<(&'a str, Cow<'a, [f64]>)>;

/// Capacities by the names of the columns that have one.
pub type Capacities = BTreeMap<String, Capacity>;

impl Capacity {
    /// As somebody knows them; by the name of the series, where the empty name stands for all others.
    pub(super) fn given(each: BTreeMap<String, f64>) -> Self {
        Self {
            each,
            fitted: false,
        }
    }

    /// Of each series the largest distance from 0 among the values of its training part, or where these are none but
    /// 0, as of a station that is new, among all it has.
    pub(super) fn largest(training_then_all: [&OfSeries<'_>; 2]) -> Self {
        let mut each = BTreeMap::new();
        for (series, values) in training_then_all.into_iter().flatten() {
            let most = farthest(values);
            if most > 0.0 {
                each.entry((*series).to_owned()).or_insert(most);
            }
        }
        Self { each, fitted: true }
    }

    /// Of a series; none where it is not known.
    pub fn of(&self, series: &str) -> Option<f64> {
        let known = self.each.get(series).or_else(|| self.each.get(""));
        known.copied().or(self.fitted.then_some(1.0))
    }

    /// Whether it was found in data.
    pub fn is_fitted(&self) -> bool {
        self.fitted
    }

    /// Whether all of it could be capacities.
    pub fn is_sound(&self) -> bool {
        self.each.values().all(|of| *of > 0.0 && of.is_finite())
    }

    /// How many times the capacity of a series these values of it are at most.
    pub(super) fn excess(&self, series: &str, values: &[f64]) -> f64 {
        farthest(values) / self.of(series).unwrap_or(f64::INFINITY)
    }

    /// The name of one of these series that has none.
    pub(super) fn lacking<'a>(&self, mut series: impl Iterator<Item = &'a str>) -> Option<&'a str> {
        series.find(|name| self.of(name).is_none())
    }

    /// Takes over what a model was trained with; of a series that it does not know there is only what the data say.
    fn adopt(&mut self, of_model: &Self) {
        if self.fitted {
            self.each.extend(of_model.each.clone());
        }
    }
}

/// Takes over what a model was trained with, where it was found in data.
pub(super) fn adopt(ours: &mut Capacities, of_model: &Capacities) {
    for (column, capacity) in ours {
        if let Some(known) = of_model.get(column) {
            capacity.adopt(known);
        }
    }
}

/// The capacity that a column has, or what it is made of, by what each of `columns` is made of; a file in which
/// these go round in a circle is damaged, and has none.
pub(super) fn of_column<'c>(
    all: &'c Capacities,
    columns: &[(&str, &ColumnSource)],
    place: usize,
) -> Option<&'c Capacity> {
    let (mut name, source) = *columns.get(place)?;
    let mut source = Some(source);
    for _ in 0..=columns.len() {
        if let Some(own) = all.get(name) {
            return Some(own);
        }
        name = source?.grows_with()?;
        let of_name = columns.iter().find(|(other, _)| *other == name);
        source = of_name.map(|(_, source)| *source);
    }
    None
}

/// The largest distance from 0; 0 where there is no value.
fn farthest(values: &[f64]) -> f64 {
    let there = values.iter().filter(|value| !value.is_nan());
    there.fold(0.0, |most, value| value.abs().max(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_is_that_of_the_training_part_and_else_of_all() {
        let of = |values: &'static [f64]| Cow::Borrowed(values);
        let training = vec![
            ("a", of(&[1.0, f64::NAN, -3.0])),
            ("new", of(&[])),
            ("still", of(&[0.0, 0.0])),
        ];
        let all = vec![
            ("a", of(&[1.0, f64::NAN, -3.0, 9.0])),
            ("new", of(&[f64::NAN, 2.0])),
            ("still", of(&[0.0, 0.0, f64::NAN])),
        ];
        let found = Capacity::largest([&training, &all]);
        let of = |name| found.of(name);
        assert_eq!(
            [of("a"), of("new"), of("still"), of("none")],
            [Some(3.0), Some(2.0), Some(1.0), Some(1.0)]
        );
        assert!(!found.each.contains_key("still") && found.is_sound());
        let given = Capacity::given([("a".to_owned(), 2.0)].into());
        assert_eq!(given.lacking(["a", "none"].into_iter()), Some("none"));
    }

    #[test]
    fn a_model_keeps_what_it_found_and_takes_what_is_given() {
        let each = |pairs: &[(&str, f64)]| -> BTreeMap<String, f64> {
            let owned = pairs.iter().map(|(name, of)| ((*name).to_owned(), *of));
            owned.collect()
        };
        let fitted = |pairs: &[(&str, f64)]| Capacity {
            each: each(pairs),
            fitted: true,
        };
        let of_model = [("p".to_owned(), fitted(&[("a", 3.0)]))].into();
        let mut ours: Capacities = [("p".to_owned(), fitted(&[("a", 2.0), ("b", 5.0)]))].into();
        adopt(&mut ours, &of_model);
        assert_eq!(
            (ours["p"].of("a"), ours["p"].of("b")),
            (Some(3.0), Some(5.0))
        );
        let share = ours["p"].excess("a", &[f64::NAN, -6.0, 1.0]);
        assert!((share - 2.0).abs() < 1e-12, "{share}");
        let mut ours: Capacities = [("p".to_owned(), Capacity::given(each(&[("a", 2.0)])))].into();
        adopt(&mut ours, &of_model);
        assert_eq!(ours["p"].of("a"), Some(2.0));
    }

    #[test]
    fn what_is_made_of_a_column_has_its_capacity() {
        let all: Capacities = [(
            "power".to_owned(),
            Capacity::given([(String::new(), 7.0)].into()),
        )]
        .into();
        let lag = |column: &str| ColumnSource::Lag {
            column: column.to_owned(),
            rows: 1,
        };
        let observed = ColumnSource::Observed {
            column: "power".to_owned(),
            aggregate: None,
        };
        let power = || Some("power".to_owned());
        let sources = [
            ("power", observed),
            ("power_lag", lag("power")),
            ("lag_of_lag", lag("power_lag")),
            ("wind_lag", lag("wind")),
            ("forecast_power", ColumnSource::Forecast { column: power() }),
            ("power_filled", ColumnSource::Filled { column: power() }),
        ];
        let columns: Vec<_> = sources
            .iter()
            .map(|(name, source)| (*name, source))
            .collect();
        let of = |place| of_column(&all, &columns, place).and_then(|found| found.of("a"));
        let found: Vec<Option<f64>> = (0..columns.len()).map(of).collect();
        let (known, none) = (Some(7.0), None);
        assert_eq!(found, [known, known, known, none, known, none]);
        // Of a file that nobody made so.
        let circle = [("a", &lag("b")), ("b", &lag("a"))];
        assert_eq!(of_column(&all, &circle, 0), None);
    }
}
