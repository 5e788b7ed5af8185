//! `prepare.capacity`: what a column can reach at most.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Invalid, invalid};

/// Whose capacity is whose.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a number, a number for each series, or `largest`"
)]
pub enum CapacityParams {
    /// The same of every series, in the unit of the column.
    Same(f64),
    /// By the name of the series, in the unit of the column.
    Each(BTreeMap<String, f64>),
    /// Of each series the value of the training part that is farthest from 0.
    Fitted(Fitted),
}

/// How a capacity is found in the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fitted {
    /// The value that is farthest from 0.
    Largest,
}

pub(super) fn check(
    all: BTreeMap<String, CapacityParams>,
) -> Result<BTreeMap<String, CapacityParams>, Invalid> {
    for (column, capacity) in &all {
        let key = format!("prepare.capacity.{column}");
        let check = |key: String, number: f64| {
            if number > 0.0 && number.is_finite() {
                return Ok(());
            }
            Err(invalid(key, "a number above 0", number))
        };
        match capacity {
            CapacityParams::Same(number) => check(key, *number)?,
            CapacityParams::Each(each) if each.is_empty() => {
                return Err(invalid(key, "a number for each series", "none"));
            }
            CapacityParams::Each(each) => {
                for (series, number) in each {
                    check(format!("{key}.{series}"), *number)?;
                }
            }
            CapacityParams::Fitted(Fitted::Largest) => {}
        }
    }
    Ok(all)
}
