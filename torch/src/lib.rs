//! The neural models of krammerti, over libtorch.
//!
//! A library of its own, so that commands that need no net load no libtorch. It adds families to
//! the registry of `krammerti` and knows nothing of files, pipelines or the terminal.
//!
//! ```text
//! family ─▶ device            where tensors live
//!        ─▶ fit ─▶ lstm       the net        ─▶ parameters, linear
//!              ─▶ windows     what it reads
//!              ─▶ loss, schedule, optimizer
//!        ─▶ forecaster, weights
//! ```
//!
//! `entry` is the C function by which the binary enters.

#![cfg_attr(
    test,
    expect(clippy::float_cmp, reason = "equal bytes are what is promised")
)]

mod device;
#[cfg_attr(not(test), expect(dead_code, reason = "used by deepar, which follows"))]
mod distribution;
#[cfg_attr(not(test), expect(dead_code, reason = "used by deepar, which follows"))]
mod draws;
mod entry;
mod family;
mod fit;
mod forecaster;
mod guard;
mod linear;
mod loss;
mod lstm;
mod optimizer;
mod parameters;
mod schedule;
mod weights;
mod windows;

pub use entry::{krammerti_torch_main, krammerti_torch_version};

use krammerti::model::Registry;

/// All families: those that need no libtorch, and those of this crate.
pub fn registry() -> Registry {
    Registry::builtin().with(Box::new(family::Lstm))
}
