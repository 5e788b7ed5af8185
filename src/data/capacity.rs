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
    /// By the name of the series; the empty name stands for all others. Each is above 0.
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

    /// Of each series the largest distance from 0 among the values of its training part, or where that has none, as
    /// of a station that is new, among all it has. Where nothing but 0 was ever observed it is 1, as a column
    /// that stands still is scaled by 1.
    pub(super) fn largest(training_then_all: [&OfSeries<'_>; 2]) -> Self {
        let mut each = BTreeMap::new();
        for (series, values) in training_then_all.into_iter().flatten() {
            let known: &mut f64 = each.entry((*series).to_owned()).or_default();
            if *known == 0.0 {
                *known = farthest(values);
            }
        }
        for capacity in each.values_mut().filter(|capacity| **capacity == 0.0) {
            *capacity = 1.0;
        }
        Self { each, fitted: true }
    }

    /// Of a series; none where it is not known.
    pub fn of(&self, series: &str) -> Option<f64> {
        self.each.get(series).or_else(|| self.each.get("")).copied()
    }

    /// How many times what was given of a series these values of it are at most; 0 where nothing was given.
    pub(super) fn excess(&self, series: &str, values: &[f64]) -> f64 {
        match self.of(series) {
            Some(capacity) if !self.fitted => farthest(values) / capacity,
            _ => 0.0,
        }
    }

    /// The name of one of these series that has none, or one that is no capacity.
    pub(super) fn lacking<'a>(&self, mut series: impl Iterator<Item = &'a str>) -> Option<&'a str> {
        let is_one = |of: f64| of > 0.0 && of.is_finite();
        series.find(|name| !self.of(name).is_some_and(is_one))
    }

    /// With those of another one where both were found in data: a model keeps what it was trained with, and
    /// of a series that it does not know there is only what the data say.
    fn adopt(&mut self, of_model: &Self) {
        if self.fitted && of_model.fitted {
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

/// The capacity that a column has, or what it is made of.
pub(super) fn of_column<'c>(
    all: &'c Capacities,
    name: &str,
    source: &ColumnSource,
    source_of: &dyn Fn(&str) -> Option<&'c ColumnSource>,
) -> Option<&'c Capacity> {
    if let Some(own) = all.get(name) {
        return Some(own);
    }
    let made_of = source.grows_with()?;
    match source_of(made_of) {
        Some(source) if made_of != name => of_column(all, made_of, source, source_of),
        _ => all.get(made_of),
    }
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
            [Some(3.0), Some(2.0), Some(1.0), None]
        );
        assert_eq!(found.lacking(["a", "none"].into_iter()), Some("none"));
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
        let (of_lag, of_power) = (lag("power"), observed.clone());
        let source_of = |name: &str| match name {
            "power" => Some(&of_power),
            "power_lag" => Some(&of_lag),
            _ => None,
        };
        let of = |name: &str, source: &ColumnSource| {
            of_column(&all, name, source, &source_of).and_then(|found| found.of("a"))
        };
        assert_eq!(of("power", &observed), Some(7.0));
        assert_eq!(of("power_lag", &lag("power")), Some(7.0));
        assert_eq!(of("lag_of_lag", &lag("power_lag")), Some(7.0));
        assert_eq!(of("wind", &lag("wind")), None);
        let forecast = ColumnSource::Forecast {
            column: Some("power".to_owned()),
        };
        assert_eq!(of("forecast_power", &forecast), Some(7.0));
        let filled = ColumnSource::Filled {
            column: Some("power".to_owned()),
        };
        assert_eq!(of("power_filled", &filled), None);
    }
}
