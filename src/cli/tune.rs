//! `krammerti tune`.

use super::stage_args::{Common, Request, Verb};

/// Search for better parameters; goes on where an earlier search stopped.
///
/// Parameters come from the sections `model`, `train` and `tune`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The folder of a data set.
    dataset: String,
    #[command(flatten)]
    common: Common,
}

impl From<Args> for Request {
    fn from(args: Args) -> Self {
        Self {
            verb: Verb::Tune,
            inputs: vec![args.dataset],
            data: None,
            common: args.common,
        }
    }
}
