//! The neural models of krammerti, over libtorch.
//!
//! A library of its own, so that commands that need no net load no libtorch. It adds families to
//! the registry of `krammerti` and knows nothing of files, pipelines or the terminal.
//!
//! ```text
//! family ─▶ device                      where tensors live
//!        ─▶ fit ─▶ team, replica        threads that work on the parts of a step
//!              ─▶ recorder ─▶ graph    the steps of a GPU
//!              ─▶ net ─▶ architecture   parameters of members, and what every kind implements
//!                      ─▶ shape, forecast, pass
//!              ─▶ recurrent, segrnn,    the kinds         ─▶ layers ─▶ fused ─▶ cpp, cuda
//!                 dlinear, deepar                         ─▶ linear_path, decoder,
//!                                                            heads, changes
//!                                                         ─▶ emission, distribution, draws
//!              ─▶ parameters, link, windows               what they read and stay within
//!              ─▶ loss, schedule, optimizer, progress, generator, diagnosis
//!        ─▶ forecaster ─▶ team; weights, process
//! ```
//!
//! `entry` is the C function by which the binary enters.

#![cfg_attr(
    test,
    expect(clippy::float_cmp, reason = "equal bytes are what is promised")
)]

mod architecture;
mod censored;
mod changes;
#[cfg(test)]
mod checks;
mod decoder;
mod deepar;
mod device;
mod diagnosis;
mod distribution;
mod dlinear;
mod draws;
mod emission;
mod entry;
mod family;
mod fit;
mod forecast;
mod forecaster;
mod fused;
mod generator;
#[cfg(test)]
mod golden;
mod graph;
mod guard;
mod heads;
mod layers;
mod linear_path;
mod link;
mod loss;
mod net;
mod optimizer;
mod parameters;
mod pass;
mod process;
mod progress;
mod recorder;
mod recurrent;
mod replica;
mod schedule;
mod segrnn;
mod shape;
mod tails;
mod team;
mod weights;
mod windows;

pub use entry::{krammerti_torch_main, krammerti_torch_version};

use krammerti::model::Registry;

/// All families: those that need no libtorch, and those of this crate.
pub fn registry() -> Registry {
    family::KINDS
        .into_iter()
        .fold(Registry::builtin(), |registry, kind| {
            registry.with(Box::new(family::Nets(kind)))
        })
}
