//! What is to be said of values that a data set has and no model can see as they are: those far beyond a capacity, and
//! those that a logarithm has no place for.

use super::some_of;
use crate::data::{Dataset, Scaler};

/// For columns that are scaled so, one of each.
pub(super) fn misfit_values(dataset: &Dataset, scalers: &[Scaler]) -> Vec<String> {
    [beyond_capacity(dataset), without_place(dataset, scalers)]
        .into_iter()
        .flatten()
        .collect()
}

/// Where capacities are too small for what was observed, given or found.
fn beyond_capacity(dataset: &Dataset) -> Option<String> {
    let told = |(column, series, times): (&str, &str, f64)| match series {
        "" => format!("{column} reaches {times:.2} times it"),
        series => format!("{column} of {series} reaches {times:.2} times it"),
    };
    let beyond: Vec<String> = dataset.beyond_capacity().into_iter().map(told).collect();
    (!beyond.is_empty()).then(|| {
        format!(
            "prepare.capacity is too small: {}; it is in the unit of the column, and `largest` that of the \
             training part, of the model where there is one: give numbers, and train again",
            some_of(&beyond)
        )
    })
}

/// Where values have no logarithm; those of the training part have one.
fn without_place(dataset: &Dataset, scalers: &[Scaler]) -> Option<String> {
    let told = |(column, count, smallest): (&str, usize, f64)| {
        format!("{count} of {column}, down to {smallest}")
    };
    let odd: Vec<String> = dataset
        .without_place(scalers)
        .into_iter()
        .map(told)
        .collect();
    (!odd.is_empty()).then(|| {
        format!(
            "values count as missing, since scaling by log1p needs more than -1: {}; look at them \
             with `krammerti check`, or scale otherwise (prepare.scaling)",
            some_of(&odd)
        )
    })
}
