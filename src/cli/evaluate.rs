//! `krammerti evaluate`.

use super::stage_args::{OfModel, Request, Verb};

/// Score a model against the baselines on the test part of a data set.
///
/// Parameters come from the section `evaluate`. Writes `metrics.json` and `skill.svg`, of several
/// targets a `skill-TARGET.svg` each; with `evaluate.forecasts` all forecasts, as `forecasts.parquet`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    args: OfModel,
}

impl From<Args> for Request {
    fn from(args: Args) -> Self {
        args.args.request(Verb::Evaluate)
    }
}
