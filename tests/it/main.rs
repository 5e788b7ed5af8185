//! End-to-end tests: the real binary in a sandbox, real files, real processes, real signals.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod commands;
mod contract;
mod errors;
mod fetch;
mod pipeline;
mod sandbox;
#[allow(dead_code, reason = "the tests of the HTTP client use the rest of it")]
mod server;
mod signals;
mod store;
mod tidy;
mod torch;
