//! The order of stages: who reads what whom writes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::ops::Bound;
use std::path::Path;

use super::{PipelineError, ProjectPath, Stage};

/// An order that does not exist, or a stage that does not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// Stages wait for one another.
    #[error("{}", tell_cycle(.0))]
    Cycle(Vec<String>),
    /// A name that no stage has.
    #[error("no stage is named `{name}`; there are {}", some(.there))]
    NoStage {
        /// As asked for.
        name: String,
        /// The names there are.
        there: Vec<String>,
    },
    /// A stage that `when` leaves out.
    #[error("stage `{name}` is off: {reason}")]
    Off {
        /// As asked for.
        name: String,
        /// Why.
        reason: String,
    },
    /// The name of a `foreach` or `matrix`, where one stage is meant.
    #[error("`{name}` stands for several stages; name one of {}", some(.there))]
    Several {
        /// As asked for.
        name: String,
        /// The stages it stands for.
        there: Vec<String>,
    },
}

fn tell_cycle(names: &[String]) -> String {
    match names {
        [one, other] if one == other => format!("stage `{one}` reads what it writes itself"),
        names => format!("stages need one another in a circle: {}", names.join(" → ")),
    }
}

/// A list of names that a person can still read.
fn some(names: &[String]) -> String {
    match names {
        [] => "none".to_owned(),
        [first @ .., _, _] if first.len() > 12 => {
            format!("{} and {} more", first[..12].join(", "), names.len() - 12)
        }
        all => all.join(", "),
    }
}

/// Finds who writes a path, by name alone.
struct Writers<'a> {
    by_path: BTreeMap<&'a str, usize>,
    stages: &'a [Stage],
}

impl<'a> Writers<'a> {
    fn new(stages: &'a [Stage]) -> Self {
        let (on, off): (Vec<usize>, Vec<usize>) =
            (0..stages.len()).partition(|&i| is_on(&stages[i]));
        // Of two that write one place, at most one is on; being later here, it is the writer.
        let outputs = off.into_iter().chain(on).flat_map(|index| {
            let paths = stages[index].outputs.iter();
            paths.map(move |path| (path.as_str(), index))
        });
        Self {
            by_path: outputs.collect(),
            stages,
        }
    }

    /// The writers of a path, of a folder that it lies in, and of what lies in it. One that is left out counts only
    /// where nobody else writes there.
    fn of(&self, path: &ProjectPath) -> Vec<usize> {
        let all: Vec<(&str, usize)> = self.all_of(path.as_str()).collect();
        let is_on = |&(_, index): &(&str, usize)| is_on(&self.stages[index]);
        let overlap = |a: &str, b: &str| Path::new(a).starts_with(b) || Path::new(b).starts_with(a);
        let writes = |one: &(&str, usize)| {
            let mut others = all.iter().filter(|other| is_on(other));
            is_on(one) || !others.any(|(other, _)| overlap(one.0, other))
        };
        let writers = all.iter().filter(|one| writes(one));
        writers.map(|&(_, index)| index).collect()
    }

    fn all_of<'b>(&'b self, path: &'b str) -> impl Iterator<Item = (&'a str, usize)> + 'b {
        let above = path
            .match_indices('/')
            .map(|(end, _)| &path[..end])
            .chain([path])
            .filter_map(|folder| self.by_path.get_key_value(folder));
        // `0` comes right after `/`.
        let below = self.by_path.range::<str, _>((
            Bound::Excluded(format!("{path}/").as_str()),
            Bound::Excluded(format!("{path}0").as_str()),
        ));
        above.chain(below).map(|(&path, &index)| (path, index))
    }
}

/// For each stage the stages that it needs, in their order.
fn needs(stages: &[Stage]) -> Vec<Vec<usize>> {
    let writers = Writers::new(stages);
    let needs_of = |reader: &Stage| {
        let all = reader.inputs.iter().flat_map(|input| writers.of(input));
        let mut all: Vec<usize> = all.collect();
        all.sort_unstable();
        all.dedup();
        all
    };
    stages.iter().map(needs_of).collect()
}

/// Whether `when` leaves a stage in.
fn is_on(stage: &Stage) -> bool {
    stage.policy.off.is_none()
}

/// Refuses two outputs that are the same, or of which one lies in the other. Of stages that `when`
/// chooses between, only those that are on write.
pub(super) fn refuse_overlaps(stages: &[Stage]) -> Result<(), PipelineError> {
    let mut all: Vec<(&ProjectPath, &Stage)> = stages
        .iter()
        .filter(|stage| is_on(stage))
        .flat_map(|stage| stage.outputs.iter().map(move |path| (path, stage)))
        .collect();
    // By components, so that what lies in a folder comes right after it.
    all.sort_by(|(a, _), (b, _)| a.as_str().split('/').cmp(b.as_str().split('/')));
    match all.windows(2).find(|pair| pair[0].0.overlaps(pair[1].0)) {
        None => Ok(()),
        Some(pair) => Err(PipelineError::Overlap {
            first: pair[0].1.name.clone(),
            second: pair[1].1.name.clone(),
            path: pair[1].0.clone(),
        }),
    }
}

/// Brings stages into the order of running, each after all that it needs and otherwise as given;
/// and tells for each what it needs.
pub(super) fn order(stages: Vec<Stage>) -> Result<(Vec<Stage>, Vec<Vec<usize>>), GraphError> {
    let needs = needs(&stages);
    let mut readers = vec![Vec::new(); stages.len()];
    let mut open: Vec<usize> = needs.iter().map(Vec::len).collect();
    for (reader, needs) in needs.iter().enumerate() {
        for &writer in needs {
            readers[writer].push(reader);
        }
    }
    let mut ready: BinaryHeap<Reverse<usize>> = (0..stages.len())
        .filter(|&i| open[i] == 0)
        .map(Reverse)
        .collect();
    let mut order = Vec::with_capacity(stages.len());
    while let Some(Reverse(next)) = ready.pop() {
        order.push(next);
        for &reader in &readers[next] {
            open[reader] -= 1;
            if open[reader] == 0 {
                ready.push(Reverse(reader));
            }
        }
    }
    if order.len() < stages.len() {
        let done: Vec<bool> = open.iter().map(|&open| open == 0).collect();
        return Err(GraphError::Cycle(find_cycle(&stages, &needs, &done)));
    }
    Ok(rearrange(stages, &needs, &order))
}

fn rearrange(
    stages: Vec<Stage>,
    needs: &[Vec<usize>],
    order: &[usize],
) -> (Vec<Stage>, Vec<Vec<usize>>) {
    let mut place = vec![0; order.len()];
    for (at, &index) in order.iter().enumerate() {
        place[index] = at;
    }
    let placed = |index: &usize| {
        let mut all: Vec<usize> = needs[*index].iter().map(|&need| place[need]).collect();
        all.sort_unstable();
        all
    };
    let needs = order.iter().map(placed).collect();
    let mut stages: Vec<Option<Stage>> = stages.into_iter().map(Some).collect();
    let stages = order.iter().filter_map(|&i| stages[i].take()).collect();
    (stages, needs)
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

/// The stages that a name stands for: one, or all that a `foreach` or `matrix` made.
pub(super) fn named(stages: &[Stage], name: &str) -> Result<Vec<usize>, GraphError> {
    let found: Vec<usize> = (0..stages.len())
        .filter(|&i| stages[i].goes_by(name))
        .collect();
    match found.iter().find(|&&i| stages[i].name == name) {
        Some(&exact) => Ok(vec![exact]),
        None if found.is_empty() => Err(GraphError::NoStage {
            name: name.to_owned(),
            there: stages.iter().map(|stage| stage.name.clone()).collect(),
        }),
        None => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Declared;
    use super::*;

    fn stage(name: &str, reads: &[String], writes: &str) -> Stage {
        let declared = Declared {
            words: vec!["x".into()],
            inputs: reads.to_vec(),
            outputs: vec![writes.to_owned()],
            ..Declared::default()
        };
        Stage::from_declared(name, declared, false).unwrap()
    }

    fn random_stages(edges: &[(usize, usize)], count: usize) -> Vec<Stage> {
        (0..count)
            .map(|i| {
                let reads: Vec<_> = edges
                    .iter()
                    .filter(|(_, to)| *to == i)
                    .map(|(from, _)| format!("out/s{from}"))
                    .collect();
                stage(&format!("s{i}"), &reads, &format!("out/s{i}"))
            })
            .collect()
    }

    #[test]
    fn a_name_is_a_stage_or_all_that_it_made() {
        let mut stages = random_stages(&[], 3);
        stages[1].name = "t@a".into();
        stages[2].name = "t@b".into();
        assert_eq!(named(&stages, "s0"), Ok(vec![0]));
        assert_eq!(named(&stages, "t"), Ok(vec![1, 2]));
        assert_eq!(named(&stages, "t@b"), Ok(vec![2]));
        assert_eq!(
            named(&stages, "s").unwrap_err().to_string(),
            "no stage is named `s`; there are s0, t@a, t@b"
        );
        let many = random_stages(&[], 40);
        let error = named(&many, "x").unwrap_err().to_string();
        assert!(error.ends_with("s11 and 28 more"), "{error}");
    }

    proptest! {
        #[test]
        fn an_order_respects_every_need_or_a_real_cycle_is_named(
            edges in prop::collection::vec((0..12_usize, 0..12_usize), 0..30),
        ) {
            match order(random_stages(&edges, 12)) {
                Ok((stages, needs)) => {
                    let place = |i: usize| {
                        stages.iter().position(|s| s.name == format!("s{i}")).unwrap()
                    };
                    for &(from, to) in &edges {
                        prop_assert!(place(from) < place(to));
                        prop_assert!(needs[place(to)].contains(&place(from)));
                    }
                    let mut edges = edges.clone();
                    edges.sort_unstable();
                    edges.dedup();
                    prop_assert_eq!(needs.iter().map(Vec::len).sum::<usize>(), edges.len());
                    prop_assert_eq!(stages.len(), 12);
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

        #[test]
        fn the_index_finds_what_comparing_every_pair_finds(
            paths in prop::collection::vec("[ab0./-]{1,2}(/[ab0-]{1,2}){0,2}", 1..12),
            input in "[ab0-]{1,2}(/[ab0-]{1,2}){0,2}",
        ) {
            let made = |i: usize, path: &str| {
                ProjectPath::output(path).ok().map(|path| stage(&format!("s{i}"), &[], path.as_str()))
            };
            let mut stages: Vec<Stage> = Vec::new();
            for (i, path) in paths.iter().enumerate() {
                let Some(new) = made(i, path) else { continue };
                let overlaps = stages.iter().any(|old| {
                    old.outputs.iter().any(|a| new.outputs.iter().any(|b| a.overlaps(b)))
                });
                stages.push(new);
                prop_assert_eq!(refuse_overlaps(&stages).is_err(), overlaps);
                if overlaps {
                    stages.pop();
                }
            }
            let input = ProjectPath::new(&input).unwrap();
            let mut found: Vec<usize> = Writers::new(&stages).of(&input);
            found.sort_unstable();
            let expected: Vec<usize> = (0..stages.len())
                .filter(|&i| stages[i].outputs.iter().any(|output| output.overlaps(&input)))
                .collect();
            prop_assert_eq!(found, expected);
        }
    }
}
