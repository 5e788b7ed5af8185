//! Words of `prepare` that say how values become others: both the parameters and the code that
//! does it speak them, and parameters must not know that code.

use serde::{Deserialize, Serialize};

/// How the values of an interval become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregate {
    /// Their mean.
    Mean,
    /// The largest.
    Max,
    /// The smallest.
    Min,
    /// Their sum.
    Sum,
    /// The latest.
    Last,
    /// The earliest.
    First,
    /// The middle one in order of size, or the mean of the two in the middle.
    Median,
}

/// What is told of the values in a window that moves with the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Statistic {
    /// Their mean.
    Mean,
    /// The smallest.
    Min,
    /// The largest.
    Max,
    /// Their sum.
    Sum,
    /// Their standard deviation, with n − 1.
    Std,
}
