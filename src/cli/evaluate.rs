//! `krammerti evaluate`.

use super::stage_args::{Common, Request, Verb};

/// Score a model against the baselines on the test part of a data set.
///
/// Parameters come from the section `evaluate`. Writes `metrics.json` and `skill.svg`.
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
            verb: Verb::Evaluate,
            inputs: vec![args.model],
            data: Some(args.data),
            common: args.common,
        }
    }
}
