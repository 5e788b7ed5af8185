//! Pictures of what was measured and forecast: numbers in, SVG text out.
//!
//! No files, no clock, no terminal; equal numbers give equal bytes. What the numbers mean is known
//! elsewhere: nothing is computed here that a reader could take for a result.

mod plot;

pub use plot::{Curve, ForecastPlot, forecast_plot, history_plot, skill_plot};
