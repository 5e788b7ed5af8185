//! `krammerti prepare`.

use super::stage_args::{Common, Request, Verb};

/// Make a data set: quality checks, regular step, features, split, scaling.
///
/// Parameters come from the section `prepare`. The folder holds `series.parquet`, `dataset.json`
/// and `quality.json`, which any Parquet and JSON reader understands.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Fetched files: rows of the same columns are put together, other columns joined by time.
    #[arg(required = true, value_name = "RAW")]
    raw: Vec<String>,
    #[command(flatten)]
    common: Common,
}

impl From<Args> for Request {
    fn from(args: Args) -> Self {
        Self {
            verb: Verb::Prepare,
            inputs: args.raw,
            data: None,
            warm_start: None,
            offline: false,
            common: args.common,
        }
    }
}
