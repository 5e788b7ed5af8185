//! `krammerti status`, `krammerti why` and `krammerti run --dry-run`: looks at every stage and changes
//! nothing.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::{RunError, RunOptions};
use crate::artifact::Artifact;
use crate::pipeline::{
    ExecuteError, Gone, PastRuns, Pipeline, Plan, Stage, StaleReason, State, Workspace,
};

/// What is to be done for a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Nothing changed.
    Fresh,
    /// It never runs.
    Frozen,
    /// Its result comes from the store.
    Restorable,
    /// It must run.
    Stale,
    /// A stage before it must run; whether this one must depends on what that one gives.
    Waiting,
    /// An input is neither there nor made by a stage, or something that it reads or writes cannot be read.
    Blocked,
    /// `when` leaves it out.
    Off,
}

impl std::fmt::Display for Standing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Fresh => "fresh",
            Self::Frozen => "frozen",
            Self::Restorable => "restorable",
            Self::Stale => "stale",
            Self::Waiting => "waiting",
            Self::Blocked => "blocked",
            Self::Off => "off",
        })
    }
}

/// What `krammerti status` says of a stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StageStatus {
    /// Its name.
    pub stage: String,
    /// What is to be done.
    pub state: Standing,
    /// Why, one cause a line.
    pub reasons: Vec<String>,
}

/// Looks at every stage of a pipeline.
pub fn status(pipeline: &Pipeline, root: &Path) -> Result<Vec<StageStatus>, RunError> {
    let mut looked = look(pipeline, &pipeline.select(&[])?, root, false)?.into_iter();
    let all = pipeline
        .stages()
        .iter()
        .filter_map(|stage| match &stage.policy.off {
            Some(reason) => Some(StageStatus {
                stage: stage.name.clone(),
                state: Standing::Off,
                reasons: vec![reason.clone()],
            }),
            None => looked.next(),
        });
    Ok(all.collect())
}

/// Looks at the stages of a plan.
fn look(
    pipeline: &Pipeline,
    plan: &Plan<'_>,
    root: &Path,
    force: bool,
) -> Result<Vec<StageStatus>, RunError> {
    let mut workspace = Workspace::open(root, "status")?;
    workspace.force = force;
    let gone = workspace.gone(pipeline)?;
    // What stages that come from the store will have written.
    let mut known: BTreeMap<String, Artifact> = BTreeMap::new();
    let mut all: Vec<StageStatus> = Vec::with_capacity(plan.stages.len());
    for (stage, needs) in plan.stages.iter().zip(&plan.needs) {
        let open: Vec<&StageStatus> = needs
            .iter()
            .filter(|&&need| {
                is_open(all[need].state)
                    || (all[need].state == Standing::Restorable
                        && reads_a_part(stage, plan.stages[need]))
            })
            .map(|&need| &all[need])
            .collect();
        // Whatever those before it give, unless one of them fails.
        let always = stage.policy.always.then_some(StaleReason::Always);
        let runs_anyway = force.then_some(StaleReason::Forced).or(always);
        let (state, reasons) = match runs_anyway {
            _ if open.is_empty() => look_at(&workspace, stage, &gone, &mut known)?,
            Some(reason) if open.iter().all(|need| need.state == Standing::Stale) => {
                (Standing::Stale, vec![reason.to_string()])
            }
            _ => {
                let waits = open.iter().map(|need| format!("waits for {}", need.stage));
                (Standing::Waiting, waits.collect())
            }
        };
        all.push(StageStatus {
            stage: stage.name.clone(),
            state,
            reasons,
        });
    }
    workspace.save()?;
    Ok(all)
}

/// Whether a stage reads a folder in which another one writes, or a part of what that writes: then
/// nobody can tell what it will read before that is there.
fn reads_a_part(reader: &Stage, writer: &Stage) -> bool {
    let mut inputs = reader.inputs.iter();
    inputs.any(|input| {
        let mut outputs = writer.outputs.iter();
        outputs.any(|output| input != output && input.overlaps(output))
    })
}

/// Whether nobody can tell yet what a stage will give.
fn is_open(state: Standing) -> bool {
    !matches!(
        state,
        Standing::Fresh | Standing::Frozen | Standing::Restorable
    )
}

fn look_at(
    workspace: &Workspace,
    stage: &Stage,
    gone: &[Gone],
    known: &mut BTreeMap<String, Artifact>,
) -> Result<(Standing, Vec<String>), RunError> {
    let told = |reasons: Vec<StaleReason>| {
        let reasons = workspace.explain(reasons);
        reasons.iter().map(ToString::to_string).collect()
    };
    let state = workspace
        .assess(stage, known)
        .map(|assessed| assessed.state);
    if let Ok(State::Fresh | State::Restorable { .. }) = state {
        let leaves = gone
            .iter()
            .filter(|gone| gone.stored && gone.is_read_by(stage));
        let leaves: Vec<String> = leaves
            .map(|gone| format!("{} goes: {} is no stage any more", gone.path, gone.stage))
            .collect();
        if !leaves.is_empty() {
            return Ok((Standing::Stale, leaves));
        }
    }
    match state {
        Ok(State::Fresh) => Ok((Standing::Fresh, Vec::new())),
        Ok(State::Frozen) => Ok((Standing::Frozen, Vec::new())),
        Ok(State::Restorable { reasons, record }) => {
            known.extend(record.outputs);
            Ok((Standing::Restorable, told(reasons)))
        }
        Ok(State::Stale { reasons }) => Ok((Standing::Stale, told(reasons))),
        // Of the others there is still something to tell.
        Err(
            error @ (ExecuteError::MissingInput { .. }
            | ExecuteError::Frozen { .. }
            | ExecuteError::Io(_)),
        ) => Ok((Standing::Blocked, vec![error.to_string()])),
        Err(error) => Err(error.into()),
    }
}

/// What `krammerti run --dry-run` shows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DryRun {
    /// The stages in running order.
    pub stages: Vec<Planned>,
    /// How long all that must or may run took when it last ran, one after another; without those
    /// that never ran.
    pub seconds: f64,
    /// The chain of stages that no number of jobs makes shorter.
    pub critical_path: Vec<String>,
    /// How long that took.
    pub critical_seconds: f64,
}

/// A stage in a dry run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Planned {
    /// What is to be done, and why.
    #[serde(flatten)]
    pub status: StageStatus,
    /// How long it took when it last ran, where it must or may run.
    pub seconds: Option<f64>,
}

/// What a run would do.
pub fn dry_run(
    pipeline: &Pipeline,
    plan: &Plan<'_>,
    options: &RunOptions<'_>,
) -> Result<DryRun, RunError> {
    let past = PastRuns::read(options.root)
        .map_err(ExecuteError::from)?
        .durations();
    let stages: Vec<Planned> = look(pipeline, plan, options.root, options.force)?
        .into_iter()
        .map(|status| Planned {
            seconds: matches!(status.state, Standing::Stale | Standing::Waiting)
                .then(|| past.get(&status.stage).copied())
                .flatten(),
            status,
        })
        .collect();
    let costs: Vec<f64> = stages.iter().map(|s| s.seconds.unwrap_or(0.0)).collect();
    let (path, critical_seconds) = longest(&plan.needs, &costs);
    let runs = |&i: &usize| matches!(stages[i].status.state, Standing::Stale | Standing::Waiting);
    let path: Vec<usize> = path.into_iter().filter(runs).collect();
    Ok(DryRun {
        seconds: costs.iter().sum(),
        critical_path: path
            .iter()
            .map(|&i| stages[i].status.stage.clone())
            .collect(),
        critical_seconds,
        stages,
    })
}

/// The chain of needs with the largest sum of costs, and that sum.
fn longest(needs: &[Vec<usize>], costs: &[f64]) -> (Vec<usize>, f64) {
    let mut best: Vec<(f64, Option<usize>)> = Vec::with_capacity(costs.len());
    for (needs, cost) in needs.iter().zip(costs) {
        let before = needs
            .iter()
            .copied()
            .max_by(|&a, &b| best[a].0.total_cmp(&best[b].0));
        best.push((before.map_or(0.0, |need| best[need].0) + cost, before));
    }
    let last = (0..best.len()).max_by(|&a, &b| best[a].0.total_cmp(&best[b].0));
    let mut path = Vec::new();
    let mut at = last;
    while let Some(index) = at {
        path.push(index);
        at = best[index].1;
    }
    path.reverse();
    (path, last.map_or(0.0, |index| best[index].0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_chain_of_a_diamond() {
        let needs = [vec![], vec![0], vec![0], vec![1, 2]];
        assert_eq!(longest(&needs, &[1.0, 5.0, 2.0, 1.0]), (vec![0, 1, 3], 7.0));
        assert_eq!(longest(&[], &[]), (vec![], 0.0));
    }
}
