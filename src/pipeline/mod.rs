//! Stages, what they read and write, and running those whose inputs changed.
//!
//! A stage is a command with declared inputs, parameters and outputs. Whether it must run follows
//! from its [key](KeyParts): a hash of everything that decides its result. This module sees commands,
//! artifacts and parameters and must know nothing of forecasting; what a `krammerti` subcommand
//! reads and writes is told to it by a [`Commands`].

mod aside;
mod assess;
mod confine;
mod execute;
mod expand;
mod garbage;
mod gone;
mod graph;
mod history;
mod hold;
mod journal;
mod key;
mod lineage;
mod lock;
mod path;
mod process;
mod schedule;
mod shell;
mod spec;
mod stage;
mod tainted;
mod verify;
mod workspace;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::yaml;

pub use assess::{Assessment, State};
pub use execute::{Attempt, Built, ExecuteError, Runner};
pub use garbage::Garbage;
pub use gone::Gone;
pub use graph::GraphError;
pub use history::{PastOutcome, PastRun, PastRuns, PastStage, RunNameError};
pub use journal::{Journal, run_name};
pub use key::{KeyParts, StaleReason, differences, params_digest};
pub use lineage::{Lineage, LineageEdge, LineageError, LineageNode, LineageStage, LineageState};
pub use lock::{Lock, LockError};
pub use path::{PathError, ProjectPath};
pub use process::{
    BODY, CommandError, Failed, Interrupted, Processes, allow_open_files, interrupted,
    let_signals_kill,
};
pub use schedule::{AfterFailure, Executor, Plan, Schedule, Summary, run};
pub use spec::{Cmd, PipelineSpec, StageSpec, schema};
pub use stage::{Policy, Stage, StageCommand, base_of};
pub use verify::{Fault, Faulty, Verified};
pub use workspace::Workspace;

/// What a `krammerti` subcommand reads and writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    /// The words in canonical form.
    pub words: Vec<String>,
    /// Paths it reads.
    pub inputs: Vec<String>,
    /// Paths it writes.
    pub outputs: Vec<String>,
    /// Parameters it reads, as in [`Stage::params`].
    pub params: BTreeMap<String, String>,
}

/// Tells what commands read and write, what parameters are, and which files there are.
pub trait Commands {
    /// Whether a regular file lies at a path of the project.
    fn is_file(&self, path: &ProjectPath) -> bool;

    /// A path of the project by its place in it, where it was named by one outside, such as an absolute one.
    fn inside(&self, path: ProjectPath) -> ProjectPath {
        path
    }

    /// The files of the project that match a plain pattern relative to its root, sorted.
    fn glob(&self, pattern: &str) -> anyhow::Result<Vec<String>>;

    /// What a command line that starts with `krammerti` reads and writes. Its paths are relative to
    /// a folder of the project, or to its root.
    fn declare(&self, words: &[String], wdir: Option<&ProjectPath>) -> anyhow::Result<Declared>;

    /// The leaves of a parameter file (`params.yaml` where none is named), all or those at and below
    /// a dotted path.
    fn params(
        &self,
        file: Option<&str>,
        path: Option<&str>,
    ) -> anyhow::Result<BTreeMap<String, String>>;

    /// What stands at a dotted path of `params.yaml`.
    fn value(&self, path: &str) -> anyhow::Result<Option<Value>>;
}

/// A pipeline whose stages fit together: acyclic, every output written by one stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pipeline {
    stages: Vec<Stage>,
    /// For each stage the stages whose outputs it reads.
    needs: Vec<Vec<usize>>,
    resources: BTreeMap<String, u32>,
}

/// What can be wrong with a pipeline.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// It is not YAML, or has a key that no stage has. The text names line and column.
    #[error("{}: {message}", .file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// What serde found.
        message: String,
    },
    /// A stage is wrong by itself.
    #[error("stage `{stage}`: {source:#}")]
    Stage {
        /// Its name.
        stage: String,
        /// Why.
        source: anyhow::Error,
    },
    /// Two outputs are the same, or one lies in the other.
    #[error("stages `{first}` and `{second}` both write {path}")]
    Overlap {
        /// A stage.
        first: String,
        /// The other one.
        second: String,
        /// The inner one of the two paths.
        path: ProjectPath,
    },
    /// The order does not exist.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

impl Pipeline {
    /// Reads and checks a pipeline.
    pub fn parse(file: &Path, text: &str, commands: &dyn Commands) -> Result<Self, PipelineError> {
        let spec: PipelineSpec = yaml::parse(text).map_err(|message| PipelineError::Syntax {
            file: file.to_owned(),
            message,
        })?;
        let mut stages = Vec::with_capacity(spec.stages.len());
        for (name, stage) in &spec.stages {
            stages.extend(build(name, stage, &spec, commands).map_err(|source| {
                PipelineError::Stage {
                    stage: name.clone(),
                    source,
                }
            })?);
        }
        refuse_equal_names(&stages)?;
        graph::refuse_overlaps(&stages)?;
        stage::add_named(&mut stages, commands);
        let (stages, needs) = graph::order(stages)?;
        let mut pipeline = Self {
            stages: with_reads(stages, &needs),
            needs,
            resources: spec.resources,
        };
        pipeline.switch_off();
        Ok(pipeline)
    }

    /// All stages, each after those whose outputs it reads; otherwise in the order of the file.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// How much of each resource `pipeline.yaml` says there is.
    pub fn resources(&self) -> &BTreeMap<String, u32> {
        &self.resources
    }

    /// The stage with a name.
    pub fn stage(&self, name: &str) -> Result<&Stage, GraphError> {
        let index = graph::named(&self.stages, name)?;
        match index.as_slice() {
            [one] => Ok(&self.stages[*one]),
            many => Err(GraphError::Several {
                name: name.to_owned(),
                there: many.iter().map(|&i| self.stages[i].name.clone()).collect(),
            }),
        }
    }

    /// The stages with these names and all that they need, in running order. All where none is
    /// named. The name of a `foreach` or `matrix` stands for all that it made.
    pub fn select(&self, targets: &[String]) -> Result<Plan<'_>, GraphError> {
        if targets.is_empty() {
            return Ok(self.plan(|_| true));
        }
        let mut wanted = self.marked(targets)?;
        // In running order every need comes earlier, so one pass from the back marks them all.
        for reader in (0..self.stages.len()).rev() {
            if wanted[reader] {
                for &writer in self.awaits(reader) {
                    wanted[writer] = true;
                }
            }
        }
        Ok(self.plan(|i| wanted[i]))
    }

    /// The stages that must be up to date before a stage is. One that is frozen is taken as it lies.
    fn awaits(&self, reader: usize) -> &[usize] {
        if self.stages[reader].policy.frozen {
            &[]
        } else {
            &self.needs[reader]
        }
    }

    /// The stages with these names and all that read from them, directly or not.
    pub fn downstream(&self, targets: &[String]) -> Result<Plan<'_>, GraphError> {
        let mut wanted = self.marked(targets)?;
        for reader in 0..self.stages.len() {
            wanted[reader] |= self.awaits(reader).iter().any(|&writer| wanted[writer]);
        }
        Ok(self.plan(|i| wanted[i]))
    }

    fn marked(&self, targets: &[String]) -> Result<Vec<bool>, GraphError> {
        let mut wanted = vec![false; self.stages.len()];
        for name in targets {
            let named = graph::named(&self.stages, name)?;
            // Of a `foreach`, some may be off; what was asked for by itself must not be passed over.
            let off = |&index: &usize| self.stages[index].policy.off.clone();
            let all_off: Option<Vec<String>> = named.iter().map(off).collect();
            if let Some(reason) = all_off.and_then(|reasons| reasons.into_iter().next()) {
                let name = name.clone();
                return Err(GraphError::Off { name, reason });
            }
            for index in named {
                wanted[index] = true;
            }
        }
        Ok(wanted)
    }

    /// The wanted stages that are not switched off.
    fn plan(&self, wanted: impl Fn(usize) -> bool) -> Plan<'_> {
        let chosen: Vec<usize> = (0..self.stages.len())
            .filter(|&i| wanted(i) && self.stages[i].policy.off.is_none())
            .collect();
        let mut place = vec![None; self.stages.len()];
        for (at, &index) in chosen.iter().enumerate() {
            place[index] = Some(at);
        }
        Plan {
            stages: chosen.iter().map(|&i| &self.stages[i]).collect(),
            needs: chosen
                .iter()
                .map(|&i| {
                    let awaits = self.awaits(i).iter();
                    awaits.filter_map(|&need| place[need]).collect()
                })
                .collect(),
        }
    }

    /// A stage that needs one that `when` leaves out is left out as well.
    fn switch_off(&mut self) {
        for reader in 0..self.stages.len() {
            let off = self
                .awaits(reader)
                .iter()
                .find(|&&writer| self.stages[writer].policy.off.is_some());
            if let (Some(&writer), None) = (off, &self.stages[reader].policy.off) {
                let off = format!("it needs {}, which is off", self.stages[writer].name);
                self.stages[reader].policy.off = Some(off);
            }
        }
    }

    /// Who writes what whom reads: pairs of stages, in running order.
    pub fn edges(&self) -> Vec<(&Stage, &Stage)> {
        let pairs = self.needs.iter().enumerate().flat_map(|(reader, needs)| {
            needs
                .iter()
                .map(move |&writer| (&self.stages[writer], &self.stages[reader]))
        });
        pairs.collect()
    }

    /// The stages whose outputs a stage reads, by its place in [`Pipeline::stages`].
    pub fn upstream(&self, index: usize) -> impl Iterator<Item = &Stage> {
        self.needs[index].iter().map(|&need| &self.stages[need])
    }
}

/// The stages that one entry of the file stands for.
fn build(
    name: &str,
    stage: &StageSpec,
    file: &PipelineSpec,
    commands: &dyn Commands,
) -> anyhow::Result<Vec<Stage>> {
    stage::check_name(name)?;
    for token in stage.resources.keys() {
        let known =
            matches!(token.as_str(), "threads" | "gpu") || file.resources.contains_key(token);
        anyhow::ensure!(
            known,
            "resources names `{token}`: say under `resources` at the top of the file how many there are"
        );
    }
    let mut stage = stage.clone();
    if stage.on_failure.is_none() {
        stage.on_failure.clone_from(&file.on_failure);
    }
    expand::expand(name, &stage, commands)?
        .into_iter()
        .map(|expanded| Stage::new(expanded, commands))
        .collect()
}

/// Tells each stage which outputs of others it reads.
fn with_reads(mut stages: Vec<Stage>, needs: &[Vec<usize>]) -> Vec<Stage> {
    for (reader, needs) in needs.iter().enumerate() {
        let outputs = needs.iter().flat_map(|&need| stages[need].outputs.iter());
        let inputs = &stages[reader].inputs;
        let read = outputs.filter(|output| inputs.iter().any(|input| input.overlaps(output)));
        stages[reader].reads = read.cloned().collect();
    }
    stages
}

fn refuse_equal_names(stages: &[Stage]) -> Result<(), PipelineError> {
    let mut names = BTreeSet::new();
    match stages.iter().find(|stage| !names.insert(&stage.name)) {
        None => Ok(()),
        Some(stage) => Err(PipelineError::Stage {
            stage: stage.name.clone(),
            source: anyhow::anyhow!("two stages have this name"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    pub(super) struct NoSubcommands;

    impl Commands for NoSubcommands {
        fn is_file(&self, path: &ProjectPath) -> bool {
            ["run.sh", "out.sh", "params.yaml"].contains(&path.as_str())
        }
        fn glob(&self, _: &str) -> anyhow::Result<Vec<String>> {
            Ok(Vec::new())
        }
        fn value(&self, path: &str) -> anyhow::Result<Option<Value>> {
            Ok((path == "kind").then(|| "ridge".into()))
        }
        fn declare(&self, words: &[String], _: Option<&ProjectPath>) -> anyhow::Result<Declared> {
            anyhow::bail!("no such subcommand: {}", words.join(" "))
        }
        fn params(
            &self,
            file: Option<&str>,
            path: Option<&str>,
        ) -> anyhow::Result<BTreeMap<String, String>> {
            Ok(if (file, path) == (None, Some("a")) {
                [("params.yaml:a".into(), "1".into())].into()
            } else {
                BTreeMap::new()
            })
        }
    }

    fn parse(text: &str) -> Result<Pipeline, PipelineError> {
        Pipeline::parse(Path::new("pipeline.yaml"), text, &NoSubcommands)
    }

    fn message(text: &str) -> String {
        parse(text).map_or_else(|error| error.to_string(), |_| "no error".into())
    }

    #[test]
    fn stages_come_in_running_order() {
        let text = "stages:
  last:  {cmd: cp b c, deps: [b], outs: [c]}
  first: {cmd: [cp, a, b], deps: [./a], outs: [x/../b], params: [a]}
";
        let pipeline = parse(text).unwrap();
        let names: Vec<_> = pipeline
            .stages()
            .iter()
            .map(|stage| stage.name.as_str())
            .collect();
        assert_eq!(names, ["first", "last"]);
        assert_eq!(pipeline.stages()[0].params.len(), 1);
    }

    #[test]
    fn a_file_that_the_command_names_is_an_input() {
        let text = "stages: {a: {cmd: sh ./run.sh out.sh other --now, outs: [out.sh]}}";
        assert_eq!(inputs(text, "a"), ["run.sh"]);
        let text = "stages: {a: {sh: 'sh run.sh < in > out.sh', outs: [o]}}";
        assert_eq!(inputs(text, "a"), ["run.sh"], "written, and not there");
        let text = "stages: {a: {cmd: sh run.sh params.yaml, outs: [o], params: [a]}}";
        assert_eq!(inputs(text, "a"), ["run.sh"], "one parameter of it counts");
        let text = "stages: {a: {cmd: sh run.sh params.yaml, outs: [o]}}";
        assert_eq!(inputs(text, "a"), ["params.yaml", "run.sh"]);
    }

    fn inputs(text: &str, stage: &str) -> Vec<String> {
        let pipeline = parse(text).unwrap();
        let inputs = pipeline.stage(stage).unwrap().inputs.iter();
        inputs.map(ToString::to_string).collect()
    }

    #[test]
    fn what_another_stage_writes_is_an_input_of_whom_names_it() {
        let text = "stages:
  last:  {sh: 'cat x/b >c', outs: [c]}
  deps:  {cmd: cp x/b/d e, deps: [x], outs: [e]}
  first: {cmd: touch x/b, outs: [x/b]}
";
        let names: Vec<String> = parse(text)
            .unwrap()
            .stages()
            .iter()
            .map(|stage| stage.name.clone())
            .collect();
        assert_eq!(names, ["first", "last", "deps"]);
        assert_eq!(inputs(text, "last"), ["x/b"]);
        assert_eq!(inputs(text, "deps"), ["x"], "declared already");
        let text = "stages:
  sum: {sh: 'cat c/*.txt >s', outs: [s]}
  all: {cmd: python3 all.py c, outs: [t]}
  own: {sh: 'cat c/* >c/all', outs: [c/all]}
  one: {cmd: touch c/1.txt, outs: [c/1.txt]}
";
        assert_eq!(
            inputs(text, "sum"),
            ["c"],
            "a folder that others write into"
        );
        assert_eq!(inputs(text, "all"), ["c"]);
        assert_eq!(inputs(text, "own"), [""; 0], "it writes there itself");
    }

    fn plan(plan: Result<Plan<'_>, GraphError>) -> Result<String, String> {
        let names = |plan: Plan<'_>| -> Vec<String> {
            plan.stages.iter().map(|s| s.name.clone()).collect()
        };
        plan.map(|plan| names(plan).join(" "))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_frozen_stage_needs_nothing() {
        let text = "stages:
  a: {cmd: x, outs: [a]}
  b: {cmd: x, deps: [a], outs: [b], frozen: true}
  c: {cmd: x, deps: [b], outs: [c]}
";
        let pipeline = parse(text).unwrap();
        let select = |name: &str| plan(pipeline.select(&[name.to_owned()]));
        assert_eq!(select("c").as_deref(), Ok("b c"));
        assert_eq!(
            plan(pipeline.downstream(&["a".to_owned()])).as_deref(),
            Ok("a")
        );
        assert_eq!(plan(pipeline.select(&[])).as_deref(), Ok("a b c"));
        assert_eq!(pipeline.edges().len(), 2, "the graph shows who reads what");
    }

    #[test]
    fn when_chooses_between_stages_that_write_one_place() {
        let choose = |kind: &str| {
            format!(
                "stages:
  ridge: {{cmd: x, outs: [m], when: {{kind: [ridge, lstm]}}}}
  other: {{cmd: y, outs: [m], when: {{kind: {kind}}}}}
  read: {{cmd: z, deps: [m], outs: [r]}}
"
            )
        };
        let pipeline = parse(&choose("nope")).unwrap();
        assert_eq!(plan(pipeline.select(&[])).as_deref(), Ok("ridge read"));
        let error = plan(pipeline.select(&["other".to_owned()])).unwrap_err();
        assert_eq!(
            error,
            "stage `other` is off: kind is \"ridge\", not \"nope\""
        );
        assert!(message(&choose("ridge")).contains("both write m"));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let unknown = message("stages:\n  a:\n    cmd: x\n    outz: [y]\n");
        assert!(
            unknown.contains("outz") && unknown.contains("line 4"),
            "{unknown}"
        );
        assert!(
            message("stages: {a: {cmd: x, outs: [o]}, b: {cmd: y, outs: [./o]}}")
                .contains("stages `a` and `b` both write o")
        );
        assert!(
            message("stages: {a: {cmd: x, outs: [o]}, b: {cmd: y, outs: [o/p]}}")
                .contains("both write o/p")
        );
        assert!(message("stages: {a: {cmd: x, outs: [o, o/p]}}").contains("both write o/p"));
        assert!(
            message(
                "stages: {a: {cmd: x, deps: [b], outs: [c]}, b: {cmd: y, deps: [c], outs: [b]}}"
            )
            .contains("a → b → a")
        );
        assert!(
            message("stages: {a: {cmd: x, deps: [b], outs: [b]}}")
                .contains("`a` reads what it writes itself")
        );
        assert!(message("stages: {a: {cmd: x, outs: [../o]}}").contains("../o"));
        assert!(message("stages: {a: {cmd: x, outs: [/o]}}").contains("/o"));
        assert!(message("stages: {a: {cmd: x}}").contains("writes nothing"));
        assert!(message("stages: {a: {cmd: '', outs: [o]}}").contains("cmd is empty"));
        assert!(message("stages: {a: {cmd: 'x \"y', outs: [o]}}").contains("quote"));
        assert!(message("stages: {a b: {cmd: x, outs: [o]}}").contains("a b"));
        assert!(
            message("stages: {a: {cmd: x, outs: [o]}, a: {cmd: x, outs: [p]}}")
                .contains("`a` comes twice")
        );
        assert!(message("stages: {a: {cmd: x, outs: [o], params: [nope]}}").contains("nope"));
        assert!(
            message("stages: {a: {cmd: krammerti fly, outs: [o]}}").contains("no such subcommand")
        );
    }
}
