//! What can be wrong with tables and series.

use crate::time::{Step, format_utc};

/// A table or series that breaks its own rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SeriesError {
    /// A column is longer or shorter than the times.
    #[error("column {column} has {found} rows, the times have {expected}")]
    Length {
        /// The column.
        column: String,
        /// Rows of the times.
        expected: usize,
        /// Rows of the column.
        found: usize,
    },
    /// Two columns have one name.
    #[error("two columns are named {0}")]
    DuplicateColumn(String),
    /// A value is infinite.
    #[error("column {column} is infinite in row {row}")]
    Infinite {
        /// The column.
        column: String,
        /// The row, from 0.
        row: usize,
    },
    /// A value lies so far from those of the training part that it cannot be told in their units.
    #[error(
        "column {column} has {value} at {}, too far from its training part to be scaled: `min` and `max` under \
         prepare.quality.columns say what can be, and `prepare.quality.range: mask` takes out the rest", format_utc(*.time)
    )]
    TooFar {
        /// The column.
        column: String,
        /// The value, as it is.
        value: String,
        /// The time that it is of.
        time: i64,
    },
    /// There are no rows.
    #[error("there are no rows")]
    Empty,
    /// Two rows have one time and other values.
    #[error("two rows at {} have different values of {column}", format_utc(*.time))]
    Conflict {
        /// The time.
        time: i64,
        /// The first column that differs.
        column: String,
    },
    /// A time lies between two steps.
    #[error("row at {} is not on the step of {step} that starts at {}{}", format_utc(*.time), format_utc(*.start), .step.if_of_months())]
    OffStep {
        /// The time.
        time: i64,
        /// The time of the first row.
        start: i64,
        /// The step.
        step: Step,
    },
    /// Rows at the step asked for would be mostly gaps.
    #[error("{rows} rows would have to fill {steps} steps of {step}: the data have a longer step")]
    Sparse {
        /// Rows there are.
        rows: usize,
        /// Steps between the first and the last.
        steps: usize,
        /// The step.
        step: Step,
    },
    /// Tables are put together whose columns differ.
    #[error("column {0} is not in the tables before it")]
    ExtraColumn(String),
    /// Of two tables that are joined by time only one has series.
    #[error(
        "one of the tables has series and another one has none: which of its rows belong together is not known"
    )]
    JoinSeries,
    /// Tables that are joined by time have other steps.
    #[error(
        "its rows are {found} apart, those of the tables before it {expected}: two steps are joined by time \
         only where one is a multiple of the other, and `prepare.step` of both"
    )]
    JoinSteps {
        /// The step of the tables before.
        expected: Step,
        /// The step of this one.
        found: Step,
    },
    /// Tables that are joined by time have their rows at other places of one step.
    #[error(
        "its rows stand {} s after a multiple of {step}, those of the tables before it {} s: rows that never meet \
         cannot be joined; bring both to one clock first", .found, .expected
    )]
    JoinPhase {
        /// The step of both.
        step: Step,
        /// Seconds after a multiple of it, in the tables before.
        expected: i64,
        /// In this one.
        found: i64,
    },
    /// Tables are put together whose units differ.
    #[error("column {column} is in {found}, in the tables before it in {expected}")]
    Unit {
        /// The column.
        column: String,
        /// Its unit in the first table.
        expected: String,
        /// Its unit here.
        found: String,
    },
    /// The sun is looked at from places, and a series has none.
    #[error("series {0} has no place in prepare.sun.places")]
    NoPlace(String),
    /// There are forecasts from outside, and none of a series.
    #[error("no forecast from outside speaks of the series `{0}`")]
    NoForecast(String),
    /// A feature speaks of later rows, and its column is not known ahead.
    #[error(
        "column {feature} looks ahead, which only a column may that is known in the future; {column} is not: \
         if it is, say so in prepare.known"
    )]
    LooksAhead {
        /// The feature.
        feature: String,
        /// The column that it is made from.
        column: String,
    },
    /// Of a vector only one part is known ahead, of which then nothing is left.
    #[error(
        "{known} is in `known`, but {other} is not, with which `wind` makes a vector of it: name both, or neither"
    )]
    HalfKnown {
        /// The part that is.
        known: String,
        /// The part that is not.
        other: String,
    },
    /// A feature is made from a column that is in another unit.
    #[error("{feature} is made from {column} in {expected}, it is in {found}")]
    FeatureUnit {
        /// The feature.
        feature: &'static str,
        /// The column.
        column: String,
        /// The unit that it must have.
        expected: &'static str,
        /// The unit that it has.
        found: String,
    },
    /// A column was asked for that is not there.
    #[error("no column {name}; there are {}", .there.join(", "))]
    NoColumn {
        /// The name.
        name: String,
        /// The names that exist.
        there: Vec<String>,
    },
}

impl SeriesError {
    /// A column was asked for that is not among those that are there.
    pub fn no_column<N: Into<String>>(name: &str, there: impl IntoIterator<Item = N>) -> Self {
        Self::NoColumn {
            name: name.to_owned(),
            there: there.into_iter().map(Into::into).collect(),
        }
    }
}
