//! `krammerti train`.

use super::stage_args::{OfDataset, Request, Verb};

/// Train a model on a data set.
///
/// Parameters come from the sections `model` and `train`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    args: OfDataset,
}

impl From<Args> for Request {
    fn from(args: Args) -> Self {
        args.args.request(Verb::Train)
    }
}
