//! `krammerti fetch`.

use super::stage_args::{Common, Request, Verb};

/// Get observations from a source into a Parquet file.
///
/// The source is a section of `params.yaml` under `sources`; times come out in UTC.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Its name in `params.yaml`.
    source: String,
    #[command(flatten)]
    common: Common,
    /// Ask no server: use only answers that are stored.
    #[arg(long)]
    offline: bool,
}

impl From<Args> for Request {
    fn from(args: Args) -> Self {
        Self {
            verb: Verb::Fetch,
            inputs: vec![args.source],
            data: None,
            warm_start: None,
            offline: args.offline,
            common: args.common,
        }
    }
}
