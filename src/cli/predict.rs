//! `krammerti predict`.

use super::stage_args::{OfModel, Request, Verb};

/// Forecast from the newest row of a data set.
///
/// Parameters come from the section `predict`. Writes `forecast.csv`, `.json` and `.svg`, of
/// several series or targets an `.svg` each; with `predict.paths` the sample paths too.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    args: OfModel,
}

impl From<Args> for Request {
    fn from(args: Args) -> Self {
        args.args.request(Verb::Predict)
    }
}
