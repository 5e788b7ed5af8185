//! `krammerti train`.

use super::stage_args::{OfDataset, Request, Verb};

/// Train a model on a data set.
///
/// Parameters come from the sections `model` and `train`. A training that was interrupted goes on
/// where it stood; `.krammerti/training/` shows how it stands while it runs.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    of_dataset: OfDataset,
    /// Begin with the weights of a model of the same shape, for daily retraining.
    #[arg(long, value_name = "MODEL")]
    warm_start: Option<String>,
    /// Where to train: cpu, cuda or auto; the same as `--set train.device=`.
    #[arg(long)]
    device: Option<String>,
}

impl From<Args> for Request {
    fn from(args: Args) -> Self {
        let mut request = args.of_dataset.request(Verb::Train);
        request.warm_start = args.warm_start;
        let device = args.device.map(|device| format!("train.device={device}"));
        request.common.set.extend(device);
        request
    }
}
