//! End-to-end tests: the real binary in a sandbox, real files, real processes, real signals.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod commands;
mod contract;
mod docs;
mod errors;
mod features;
mod pipeline;
mod sandbox;
mod signals;
mod tidy;
mod torch;
