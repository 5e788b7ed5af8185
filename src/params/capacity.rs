//! `prepare.capacity`: what a column can reach at most.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::targets::Name;
use super::{Invalid, invalid};

/// Whose capacity is whose.
#[derive(Clone, Debug, PartialEq)]
pub enum CapacityParams {
    /// The same of every series, in the unit of the column.
    Same(f64),
    /// By the name of the series, in the unit of the column.
    Each(BTreeMap<String, f64>),
    /// Of each series the value of the training part that is farthest from 0.
    Largest,
}

/// As a person wrote it.
#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "a number, a number for each series, or `largest`"
)]
pub(super) enum Raw {
    One(Entry),
    Each(BTreeMap<Name, Entry>),
}

/// A number, or what stands in its place.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Entry {
    Number(f64),
    Text(String),
}

impl Entry {
    fn number(&self, key: String, expected: &str) -> Result<f64, Invalid> {
        match self {
            Self::Number(number) if *number > 0.0 && number.is_finite() => Ok(*number),
            Self::Number(number) => Err(invalid(key, expected, number)),
            Self::Text(text) => Err(invalid(key, expected, text)),
        }
    }
}

pub(super) fn check(
    all: BTreeMap<String, Raw>,
) -> Result<BTreeMap<String, CapacityParams>, Invalid> {
    let of_column = |(column, raw)| Ok((String::clone(&column), check_one(&column, &raw)?));
    all.into_iter().map(of_column).collect()
}

fn check_one(column: &str, raw: &Raw) -> Result<CapacityParams, Invalid> {
    let key = format!("prepare.capacity.{column}");
    match raw {
        Raw::One(Entry::Text(text)) if text == "largest" => Ok(CapacityParams::Largest),
        Raw::One(entry) => {
            let expected = "a number above 0, one for each series, or `largest`";
            entry.number(key, expected).map(CapacityParams::Same)
        }
        Raw::Each(each) if each.is_empty() => Err(invalid(key, "a number for each series", "none")),
        Raw::Each(each) => {
            let of_series = |(Name(series), entry): (&Name, &Entry)| {
                let number = entry.number(format!("{key}.{series}"), "a number above 0")?;
                Ok((series.clone(), number))
            };
            let each: Result<_, Invalid> = each.iter().map(of_series).collect();
            each.map(CapacityParams::Each)
        }
    }
}
