//! What a training reads, made ready before its first step.

use std::sync::Arc;

use anyhow::Result;
use krammerti::model::FitTask;
use tch::{Device, Kind, Tensor};

use super::Machine;
use crate::architecture::Architecture;
use crate::loss::Loss;
use crate::net::Net;
use crate::replica::Replica;
use crate::team::Team;
use crate::windows::Windows;
use crate::{progress, weights};

/// Windows of a part that bases are computed of, which take a product of matrices and no more.
const BASED: usize = 1024;

/// The places of the series that windows of the training are of, and those of the others.
pub(super) fn seen_and_unseen(task: &FitTask<'_>, series: &[String]) -> (Vec<i64>, Vec<i64>) {
    let with_windows = task.frame.layout.names_of(task.train);
    let places = 0..series.len() as i64;
    places.partition(|&place| with_windows.contains(&series[place as usize].as_str()))
}

/// The first handles on all that a training reads.
pub(super) fn replica(
    task: &FitTask<'_>,
    architecture: Arc<dyn Architecture>,
    series: &[String],
    machine: Machine<'_>,
) -> Result<Replica> {
    let params = task.train_params;
    let shape = architecture.shape();
    let (lookback, horizon) = (shape.lookback, shape.horizon);
    let mut windows = Windows::new(task.frame, lookback, horizon, series, machine.device);
    windows.count_by(task.train, task.sample_weights);
    // Of so many as an epoch has: who takes a stride has no time for all.
    let strided: Vec<usize> = (task.train.iter().step_by(params.stride))
        .copied()
        .collect();
    let constants = architecture.solve(&windows, &strided, task.validation)?;
    let spread = architecture
        .spread(&constants)
        .unwrap_or_else(|| Tensor::ones([shape.cells()], (Kind::Float, machine.device)));
    let loss = Loss::new(params.loss, &spread, &task.model.quantiles);
    let mut rng = progress::first_draws(params.seed);
    let net = Net::draw(architecture, constants, machine.device, &mut rng);
    if let Some(warm) = task.warm_start {
        weights::load_trained(&net, warm)?;
    }
    Ok(Replica {
        windows,
        net,
        loss,
        kind: machine.kind,
        bases: None,
    })
}

pub(super) fn team_of(own: Replica, machine: Machine<'_>) -> Result<Team<Replica>> {
    let others: Vec<Replica> = (1..machine.threads).map(|_| own.share()).collect();
    // Work for a GPU is of the thread that has entered its stream.
    let stand_in = (machine.device == Device::Cpu).then(|| own.share());
    let team = Team::new(own, others)?;
    match stand_in {
        Some(stand_in) => team.listening(stand_in),
        None => Ok(team),
    }
}

/// `[rows, cells]`: room for the bases of all windows.
pub(super) fn no_bases(own: &Replica, rows: usize) -> Tensor {
    let cells = own.net.architecture.shape().cells();
    let device = own.net.parameters.flat().device();
    Tensor::zeros([rows as i64, cells], (Kind::Float, device))
}

/// Computes the bases of some windows, where they are kept: no step changes a base, so once is enough.
pub(super) fn fill_bases(team: &Team<Replica>, windows: &[usize]) {
    let _no_grad = tch::no_grad_guard();
    let own = team.own();
    let Some(bases) = &own.bases else {
        return;
    };
    let chunks: Vec<&[usize]> = windows.chunks(own.windows.at_once(BASED)).collect();
    // A few at a time: all results at once would be the bases once more.
    for chunks in chunks.chunks(16) {
        let issues = chunks.iter().map(|rows| own.windows.issues(rows));
        let based = team.each(issues.collect(), |replica, issues| {
            (issues.shallow_clone(), replica.base(issues))
        });
        for (issues, base) in based {
            let _ = bases.shallow_clone().index_copy_(0, &issues, &base);
        }
    }
}
