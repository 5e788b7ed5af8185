//! The order of stages: who reads what whom writes.

use super::Stage;

/// An order that does not exist, or a stage that does not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// Stages wait for one another.
    #[error("stages need one another in a circle: {}", .0.join(" → "))]
    Cycle(Vec<String>),
    /// A name that no stage has.
    #[error("no stage is named `{name}`; there are {}", .there.join(", "))]
    NoStage {
        /// As asked for.
        name: String,
        /// The names there are.
        there: Vec<String>,
    },
}

/// Whether `reader` reads something that `writer` writes.
pub(super) fn feeds(writer: &Stage, reader: &Stage) -> bool {
    reader
        .inputs
        .iter()
        .any(|input| writer.outputs.iter().any(|output| input.overlaps(output)))
}

/// For each stage the stages that it needs.
fn needs(stages: &[Stage]) -> Vec<Vec<usize>> {
    let writers_of = |reader: &Stage| {
        (0..stages.len())
            .filter(|&i| feeds(&stages[i], reader))
            .collect()
    };
    stages.iter().map(writers_of).collect()
}

/// The order of running: each stage after all that it needs, otherwise as given.
pub(super) fn order(stages: &[Stage]) -> Result<Vec<usize>, GraphError> {
    let needs = needs(stages);
    let mut done = vec![false; stages.len()];
    let mut order = Vec::with_capacity(stages.len());
    while order.len() < stages.len() {
        let ready =
            (0..stages.len()).find(|&i| !done[i] && needs[i].iter().all(|&need| done[need]));
        match ready {
            Some(next) => {
                done[next] = true;
                order.push(next);
            }
            None => return Err(GraphError::Cycle(find_cycle(stages, &needs, &done))),
        }
    }
    Ok(order)
}

/// Walks from an unfinished stage to one that it waits for, until a name comes again.
fn find_cycle(stages: &[Stage], needs: &[Vec<usize>], done: &[bool]) -> Vec<String> {
    let mut path: Vec<usize> = Vec::new();
    let mut at = done.iter().position(|done| !done);
    while let Some(stage) = at {
        if let Some(first) = path.iter().position(|&seen| seen == stage) {
            // Against the arrows of need, so that it reads in the order of the data.
            path.push(stage);
            return path[first..]
                .iter()
                .rev()
                .map(|&i| stages[i].name.clone())
                .collect();
        }
        path.push(stage);
        at = needs[stage].iter().copied().find(|&need| !done[need]);
    }
    Vec::new()
}

/// The named stages and all that they need, in the given order, which is a running order.
pub(super) fn select<'a>(
    stages: &'a [Stage],
    targets: &[String],
) -> Result<Vec<&'a Stage>, GraphError> {
    if targets.is_empty() {
        return Ok(stages.iter().collect());
    }
    let mut wanted = vec![false; stages.len()];
    for name in targets {
        let index = stages
            .iter()
            .position(|stage| stage.name == *name)
            .ok_or_else(|| GraphError::NoStage {
                name: name.clone(),
                there: stages.iter().map(|stage| stage.name.clone()).collect(),
            })?;
        wanted[index] = true;
    }
    // In running order every need comes earlier, so one pass from the back marks them all.
    for reader in (0..stages.len()).rev() {
        if wanted[reader] {
            for writer in 0..reader {
                wanted[writer] |= feeds(&stages[writer], &stages[reader]);
            }
        }
    }
    Ok(stages
        .iter()
        .zip(wanted)
        .filter_map(|(stage, wanted)| wanted.then_some(stage))
        .collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{ProjectPath, StageCommand};
    use super::*;

    fn stage(name: &str, reads: &[String]) -> Stage {
        Stage {
            name: name.to_owned(),
            command: StageCommand {
                words: vec!["x".into()],
                builtin: false,
            },
            inputs: reads
                .iter()
                .map(|path| ProjectPath::new(path).unwrap())
                .collect(),
            outputs: [ProjectPath::new(&format!("out/{name}")).unwrap()].into(),
            params: std::collections::BTreeMap::new(),
            recorded: true,
        }
    }

    fn random_stages(edges: &[(usize, usize)], count: usize) -> Vec<Stage> {
        (0..count)
            .map(|i| {
                let reads: Vec<_> = edges
                    .iter()
                    .filter(|(_, to)| *to == i)
                    .map(|(from, _)| format!("out/s{from}"))
                    .collect();
                stage(&format!("s{i}"), &reads)
            })
            .collect()
    }

    #[test]
    fn an_unknown_target_is_told_with_those_there_are() {
        let stages = random_stages(&[(0, 1)], 3);
        let error = select(&stages, &["s9".into()]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no stage is named `s9`; there are s0, s1, s2"
        );
        let names: Vec<_> = select(&stages, &["s1".into()])
            .unwrap()
            .iter()
            .map(|s| s.name.clone())
            .collect();
        assert_eq!(names, ["s0", "s1"]);
    }

    proptest! {
        #[test]
        fn an_order_respects_every_need_or_a_real_cycle_is_named(
            edges in prop::collection::vec((0..12_usize, 0..12_usize), 0..30),
        ) {
            let stages = random_stages(&edges, 12);
            match order(&stages) {
                Ok(order) => {
                    let place = |stage: usize| order.iter().position(|&other| other == stage);
                    for (from, to) in edges {
                        prop_assert!(place(from) < place(to));
                    }
                    prop_assert_eq!(order.len(), 12);
                }
                Err(GraphError::Cycle(names)) => {
                    prop_assert!(names.len() >= 2 && names.first() == names.last());
                    for pair in names.windows(2) {
                        let index = |name: &str| name[1..].parse::<usize>().unwrap();
                        prop_assert!(edges.contains(&(index(&pair[0]), index(&pair[1]))));
                    }
                }
                Err(other) => prop_assert!(false, "{other}"),
            }
        }
    }
}
