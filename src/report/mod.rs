//! Pictures of what was measured and forecast, and curves for TensorBoard: numbers in, SVG text or
//! bytes out.
//!
//! No files, no clock, no terminal; equal numbers give equal bytes. What the numbers mean is known
//! elsewhere: nothing is computed here that a reader could take for a result.

mod plot;
pub mod tensorboard;

pub use plot::{Curve, ForecastPlot, forecast_plot, history_plot, skill_plot};
