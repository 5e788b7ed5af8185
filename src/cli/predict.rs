//! `krammerti predict`.

use super::stage_args::{Common, Request, Verb};

/// Forecast from the newest row of a data set.
///
/// Parameters come from the section `predict`. Writes `forecast.csv`, `.json` and `.svg`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The folder of a model.
    model: String,
    /// The folder of a data set.
    #[arg(long, value_name = "DATASET")]
    data: String,
    #[command(flatten)]
    common: Common,
}

impl From<Args> for Request {
    fn from(args: Args) -> Self {
        Self {
            verb: Verb::Predict,
            inputs: vec![args.model],
            data: Some(args.data),
            common: args.common,
        }
    }
}
