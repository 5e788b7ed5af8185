//! How good forecasts are: scores, skill against the baselines, and the table that shows them.
//!
//! Values in, values out, in the original unit of the target. This module must not know of models,
//! scaling or files; whoever compares forecasts hands over pairs of forecast and observation.

mod metrics;
mod report;

pub use metrics::{
    Coverage, CoverageSums, ErrorSums, LeadScores, ModelScores, PinballLoss, PinballSums, Scores,
    SeriesScores, pinball_loss, skill,
};
pub use report::{Metrics, Report, table};
