//! `krammerti tune`.

use super::stage_args::{OfDataset, Request, Verb};

/// Search for better parameters; goes on where an earlier search stopped.
///
/// Parameters come from the sections `model`, `train` and `tune`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    args: OfDataset,
}

impl From<Args> for Request {
    fn from(args: Args) -> Self {
        args.args.request(Verb::Tune)
    }
}
