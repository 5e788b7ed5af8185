//! krammerti: forecasts of weather and other time series, built like software.
//!
//! A forecast is a build product. Observations are sources; every data set, model, report and
//! forecast is built from them by a stage, and can say by content hash what it was built from.
//!
//! ```text
//! source ─▶ data ─▶ model ─▶ eval ──▶ report        values in, values out
//!                     │  ▲                          
//!                     ▼  └── tune                   
//!                  forecast ─▶ report               
//! ───────────────────────────────────────────────
//! ops        loads, calls the above, writes the result
//! pipeline   decides which stage must run, and runs it
//! cli        what a person types and sees
//! ```
//!
//! Imports go one way, and a test holds them:
//! `cli → ops → (pipeline, source, data, model, tune, eval, forecast, report) → (artifact, params,
//! physics) → (fs, event, time, yaml, decimals)`. The neural models live in the package `krammerti-torch`, which is
//! this same command line with more models registered.

pub mod cli;
pub mod ops;

pub mod pipeline;
pub mod source;

pub mod data;
pub mod eval;
pub mod forecast;
pub mod model;
pub mod report;
pub mod tune;

pub mod artifact;
pub mod params;
pub mod physics;

pub mod decimals;
pub mod event;
pub mod fs;
pub mod time;
pub mod yaml;
