//! `krammerti train`.

use super::stage_args::{Common, Request, Verb};

/// Train a model on a data set.
///
/// Parameters come from the sections `model` and `train`.
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
            verb: Verb::Train,
            inputs: vec![args.dataset],
            data: None,
            common: args.common,
        }
    }
}
