//! A model and a data set that do not fit together.

use crate::time::Step;

/// Why they do not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// Another step.
    #[error("the model was trained on step {model}, the data have step {data}")]
    Step {
        /// The model's.
        model: Step,
        /// The data's.
        data: Step,
    },
    /// Columns that the data lack, or that the model does not know.
    #[error("the model was trained on columns that differ: {}", other_columns(.missing, .unknown))]
    Columns {
        /// Names of those that the data lack.
        missing: Vec<String>,
        /// Names of those that the model does not know.
        unknown: Vec<String>,
    },
    /// A column of another role or unit.
    #[error("the model was trained on column {expected}, the data have {found}")]
    Column {
        /// Name, role and unit that the model knows.
        expected: String,
        /// As the data have it.
        found: String,
    },
    /// The same columns in another order.
    #[error("the model was trained on the columns {expected} in this order, the data have {found}")]
    Order {
        /// Names that the model knows.
        expected: String,
        /// As the data have them.
        found: String,
    },
    /// A column was made in another way.
    #[error("the model was trained on {column} made as {model}, the data have it as {data}")]
    Source {
        /// Its name.
        column: String,
        /// As the model knows it.
        model: String,
        /// As the data have it.
        data: String,
    },
    /// Forecasts from outside that can be had sooner or later.
    #[error(
        "the model was trained on forecasts from outside that can be had {model} s after their issue, the data have such \
         after {data} s: prepare.forecasts.delay must be the same"
    )]
    Delay {
        /// Seconds, as the model knows it.
        model: i64,
        /// As the data have it.
        data: i64,
    },
    /// Shares of a capacity in one, and not in the other.
    #[error(
        "the model was trained on {column} {}, the data have it {}: prepare.capacity must name the same columns",
        as_shares(*.model), as_shares(!*.model)
    )]
    Capacity {
        /// The column.
        column: String,
        /// Whether the model knows it as shares.
        model: bool,
    },
    /// Capacities that were found in data in one, and given in the other.
    #[error(
        "the model was trained on shares of capacities of {column} that were {}, the data have such that were {}: \
         prepare.capacity must say it alike, or the model be trained again", found(*.model), found(!*.model)
    )]
    CapacityOrigin {
        /// The column.
        column: String,
        /// Whether those of the model were found.
        model: bool,
    },
    /// Capacities that are none.
    #[error("model.json has a capacity of {0} that is none")]
    NoCapacity(String),
    /// Targets that are not those of its columns.
    #[error("model.json has other columns with the role target than {0}")]
    Targets(String),
    /// A `model.json` of another version.
    #[error("model.json has format {found}, this krammerti reads {expected}")]
    Format {
        /// This version's.
        expected: u32,
        /// The file's.
        found: u32,
    },
}

fn other_columns(missing: &[String], unknown: &[String]) -> String {
    let told = [
        ("the data lack ", missing, ""),
        ("the data have ", unknown, ", which it does not know"),
    ];
    let told = told.into_iter().filter(|(_, names, _)| !names.is_empty());
    let told = told.map(|(before, names, after)| format!("{before}{}{after}", names.join(", ")));
    told.collect::<Vec<String>>().join("; ")
}

fn as_shares(are: bool) -> &'static str {
    if are {
        "as shares of a capacity"
    } else {
        "as it is"
    }
}

fn found(are: bool) -> &'static str {
    if are { "found in data" } else { "given" }
}
