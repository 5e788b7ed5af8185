//! Stages, what they read and write, and running those whose inputs changed.
//!
//! A stage is a command with declared inputs, parameters and outputs. Whether it must run follows
//! from its [key](KeyParts): a hash of everything that decides its result. This module sees commands,
//! artifacts and parameters and must know nothing of forecasting; what a `krammerti` subcommand
//! reads and writes is told to it by a [`Commands`].

mod aside;
mod execute;
mod graph;
mod hold;
mod journal;
mod key;
mod lock;
mod path;
mod process;
mod schedule;
mod spec;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

pub use execute::{Assessment, ExecuteError, Runner, State, Workspace};
pub use graph::GraphError;
pub use journal::{Journal, run_name};
pub use key::{KeyParts, StaleReason, params_digest};
pub use lock::{Lock, LockError};
pub use path::{PathError, ProjectPath};
pub use process::{BODY, CommandError, Failed, Interrupted, Processes, interrupted};
pub use schedule::{AfterFailure, Executor, Summary, run};
pub use spec::{Cmd, PipelineSpec, StageSpec};

/// A named step: one command with everything that decides its result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Its name in `pipeline.yaml`.
    pub name: String,
    /// The command in its canonical form.
    pub command: StageCommand,
    /// What it reads.
    pub inputs: BTreeSet<ProjectPath>,
    /// What it writes; no other stage writes it, and none lies in another.
    pub outputs: BTreeSet<ProjectPath>,
    /// The parameters it reads, by file and dotted path, as canonical JSON.
    pub params: BTreeMap<String, String>,
    /// Whether `pipeline.yaml` has it, so that the lock remembers it. A command that was typed by
    /// hand and is no stage is remembered by the store alone.
    pub recorded: bool,
}

/// The command of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageCommand {
    /// The words, the program first.
    pub words: Vec<String>,
    /// Whether it is a subcommand of krammerti, which is run by this very binary and whose
    /// identity is krammerti's version.
    pub builtin: bool,
}

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

/// Tells what commands read and write, and what parameters are.
pub trait Commands {
    /// Whether a regular file lies at a path of the project.
    fn is_file(&self, path: &ProjectPath) -> bool;

    /// What a command line that starts with `krammerti` reads and writes.
    fn declare(&self, words: &[String]) -> anyhow::Result<Declared>;

    /// The leaves of `params.yaml` at or below a dotted path.
    fn params(&self, path: &str) -> anyhow::Result<BTreeMap<String, String>>;
}

/// A pipeline whose stages fit together: acyclic, every output written by one stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pipeline {
    stages: Vec<Stage>,
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
    pub fn parse(
        file: &std::path::Path,
        text: &str,
        commands: &dyn Commands,
    ) -> Result<Self, PipelineError> {
        let spec: PipelineSpec =
            serde_yaml::from_str(text).map_err(|error| PipelineError::Syntax {
                file: file.to_owned(),
                message: error.to_string(),
            })?;
        let stages = spec
            .stages
            .into_iter()
            .map(|(name, spec)| {
                Stage::new(&name, spec, commands).map_err(|source| PipelineError::Stage {
                    stage: name,
                    source,
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        refuse_overlaps(&stages)?;
        let order = graph::order(&stages)?;
        let stages = order
            .into_iter()
            .map(|index| stages[index].clone())
            .collect();
        Ok(Self { stages })
    }

    /// All stages, each after those whose outputs it reads; otherwise in the order of the file.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// The stages with these names and all that they need, in running order. All where none is named.
    pub fn select(&self, targets: &[String]) -> Result<Vec<&Stage>, GraphError> {
        graph::select(&self.stages, targets)
    }

    /// Who writes what whom reads: pairs of stages, in running order.
    pub fn edges(&self) -> Vec<(&Stage, &Stage)> {
        let readers = self.stages.iter();
        readers
            .flat_map(|reader| self.upstream(reader).map(move |writer| (writer, reader)))
            .collect()
    }

    /// The stages whose outputs a stage reads.
    pub fn upstream<'a>(&'a self, stage: &'a Stage) -> impl Iterator<Item = &'a Stage> {
        self.stages
            .iter()
            .filter(|other| graph::feeds(other, stage))
    }
}

impl Stage {
    fn new(name: &str, spec: StageSpec, commands: &dyn Commands) -> anyhow::Result<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '@');
        if name.is_empty() || !name.chars().all(plain) || name.starts_with(['.', '-']) {
            anyhow::bail!("a name is letters, digits, `_`, `-`, `.` and `@`, found `{name}`");
        }
        let words = match spec.cmd {
            Cmd::Words(words) => words,
            Cmd::Line(line) => match shlex::split(&line) {
                Some(words) => words,
                None => anyhow::bail!("cmd has a quote that is not closed: {line}"),
            },
        };
        let declared = match words.first().map(String::as_str) {
            None => anyhow::bail!("cmd is empty"),
            Some("krammerti") => commands.declare(&words)?,
            Some(_) => Declared {
                words: words.clone(),
                ..Declared::default()
            },
        };
        let mut stage = Self::from_declared(name, declared, words[0] == "krammerti")?;
        stage.recorded = true;
        for path in &spec.deps {
            anyhow::ensure!(
                ProjectPath::new(path)?.as_str() != ".",
                "deps cannot name the whole project"
            );
            stage.inputs.insert(ProjectPath::new(path)?);
        }
        for path in &spec.outs {
            stage.outputs.insert(ProjectPath::output(path)?);
        }
        if !stage.command.builtin {
            stage.named_files(commands);
        }
        for path in &spec.params {
            let leaves = commands.params(path)?;
            if leaves.is_empty() {
                anyhow::bail!("params names `{path}`, which params.yaml does not have");
            }
            stage.params.extend(leaves);
        }
        if stage.outputs.is_empty() {
            anyhow::bail!("it writes nothing: name its outputs under `outs`");
        }
        Ok(stage)
    }

    /// A file of the project that the command names is an input, declared or not: a script that was
    /// edited must not give its old result.
    fn named_files(&mut self, commands: &dyn Commands) {
        for word in &self.command.words {
            // What ProjectPath::output takes lies in the project.
            let Ok(path) = ProjectPath::output(word) else {
                continue;
            };
            let written = self.outputs.iter().any(|output| output.overlaps(&path));
            if !written && commands.is_file(&path) {
                self.inputs.insert(path);
            }
        }
    }

    /// A stage that is exactly what its command says.
    pub fn from_declared(name: &str, declared: Declared, builtin: bool) -> Result<Self, PathError> {
        Ok(Self {
            name: name.to_owned(),
            command: StageCommand {
                words: declared.words,
                builtin,
            },
            inputs: declared
                .inputs
                .iter()
                .map(|path| ProjectPath::new(path))
                .collect::<Result<_, _>>()?,
            outputs: declared
                .outputs
                .iter()
                .map(|path| ProjectPath::output(path))
                .collect::<Result<_, _>>()?,
            params: declared.params,
            recorded: false,
        })
    }
}

fn refuse_overlaps(stages: &[Stage]) -> Result<(), PipelineError> {
    let mut seen: BTreeMap<&ProjectPath, &Stage> = BTreeMap::new();
    for stage in stages {
        for path in &stage.outputs {
            let clash = seen
                .iter()
                .find(|(other, _)| path.overlaps(other))
                .map(|(other, stage)| ((*other).clone(), *stage));
            if let Some((other, first)) = clash {
                let inner = if other.as_str().len() > path.as_str().len() {
                    other
                } else {
                    path.clone()
                };
                return Err(PipelineError::Overlap {
                    first: first.name.clone(),
                    second: stage.name.clone(),
                    path: inner,
                });
            }
            seen.insert(path, stage);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    struct NoSubcommands;

    impl Commands for NoSubcommands {
        fn is_file(&self, path: &ProjectPath) -> bool {
            path.as_str() == "run.sh" || path.as_str() == "out.sh"
        }
        fn declare(&self, words: &[String]) -> anyhow::Result<Declared> {
            anyhow::bail!("no such subcommand: {}", words.join(" "))
        }
        fn params(&self, path: &str) -> anyhow::Result<BTreeMap<String, String>> {
            Ok(if path == "a" {
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
        let pipeline = parse(text).unwrap();
        let inputs: Vec<_> = pipeline.stages()[0]
            .inputs
            .iter()
            .map(ProjectPath::as_str)
            .collect();
        assert_eq!(inputs, ["run.sh"]);
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
        assert!(message("stages: {a: {cmd: x, outs: [../o]}}").contains("../o"));
        assert!(message("stages: {a: {cmd: x, outs: [/o]}}").contains("/o"));
        assert!(message("stages: {a: {cmd: x}}").contains("writes nothing"));
        assert!(message("stages: {a: {cmd: '', outs: [o]}}").contains("cmd is empty"));
        assert!(message("stages: {a: {cmd: 'x \"y', outs: [o]}}").contains("quote"));
        assert!(message("stages: {a b: {cmd: x, outs: [o]}}").contains("a b"));
        assert!(
            message("stages: {a: {cmd: x, outs: [o]}, a: {cmd: x, outs: [p]}}")
                .contains("two stages are named `a`")
        );
        assert!(message("stages: {a: {cmd: x, outs: [o], params: [nope]}}").contains("nope"));
        assert!(
            message("stages: {a: {cmd: krammerti fly, outs: [o]}}").contains("no such subcommand")
        );
    }
}
