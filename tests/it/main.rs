//! End-to-end tests: the real binary in a sandbox, real files, real processes, real signals.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod capacity;
mod chaos;
mod commands;
mod contract;
mod correction;
mod docs;
mod errors;
mod evaluate;
mod examples;
mod explain;
mod failures;
mod features;
mod fetch;
mod fuzz;
mod history;
mod hostile;
mod open_meteo;
mod pipeline;
mod predict;
mod quality;
mod readers;
mod resolution;
mod sandbox;
mod scarce;
mod signals;
mod store;
mod targets;
mod tidy;
mod token;
mod torch;
