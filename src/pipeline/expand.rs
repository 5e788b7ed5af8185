//! From stages as written to one stage each: `foreach`, `matrix` and `${…}`.
//!
//! A value goes into a word of `cmd` after the line was split, and into a line of `sh` quoted as its
//! place there needs it, so that a file name with a space or a `$` stays one word. In `sh`, whatever
//! else looks like `${…}` is the shell's own.

mod items;
mod template;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use self::items::{combinations, each};
use self::template::Scope;
pub(super) use self::template::scalar;
use super::spec::{Cmd, OutSpec, ParamsSpec, StageSpec};
use super::{Commands, ProjectPath, shell};

/// The shell of `sh`: ends at the first command that fails.
const SHELL: [&str; 2] = ["sh", "-ec"];

/// A stage with every `${…}` replaced.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Expanded {
    pub(super) name: String,
    /// The entry of the file, where that has items.
    pub(super) made_of: Option<String>,
    /// The words of the command, before it is known what they read and write.
    pub(super) words: Vec<String>,
    pub(super) on_failure: Option<Vec<String>>,
    /// The rest; `cmd`, `sh`, `foreach`, `matrix` and `on_failure` have done their work.
    pub(super) spec: StageSpec,
}

/// One stage, or one for each item.
pub(super) fn expand(
    name: &str,
    spec: &StageSpec,
    commands: &dyn Commands,
) -> Result<Vec<Expanded>> {
    ensure!(
        spec.foreach.is_none() || spec.matrix.is_empty(),
        "foreach and matrix cannot be combined: name every axis under matrix"
    );
    let items = match &spec.foreach {
        Some(items) => each(items, glob_folder(spec, commands).as_ref(), commands)?,
        None if spec.matrix.is_empty() => {
            return Ok(vec![Scope::plain(commands).fill(name, spec)?]);
        }
        None => combinations(&spec.matrix, commands)?,
    };
    items
        .into_iter()
        .map(|(key, item)| {
            let made_of = Some(name.to_owned());
            let name = format!("{name}@{key}");
            let scope = Scope {
                commands,
                item: Some((key, item)),
            };
            let filled = scope.fill(&name, spec);
            let filled = filled.with_context(|| format!("`{name}`"))?;
            Ok(Expanded { made_of, ..filled })
        })
        .collect()
}

/// The folder that a pattern of `foreach` is relative to: the stage's own, unless that has the item
/// in its name.
fn glob_folder(spec: &StageSpec, commands: &dyn Commands) -> Option<ProjectPath> {
    let wdir = spec.wdir.as_ref()?;
    let wdir = Scope::plain(commands).word(wdir).ok()?;
    ProjectPath::new(&wdir).ok()
}

impl Scope<'_> {
    fn fill(&self, name: &str, spec: &StageSpec) -> Result<Expanded> {
        let words = match (&spec.cmd, &spec.sh) {
            (Some(cmd), None) => self.words("cmd", cmd)?,
            (None, Some(line)) => {
                let line = self.line(line).context("sh")?;
                ensure!(!line.trim().is_empty(), "sh is empty");
                SHELL
                    .iter()
                    .map(ToString::to_string)
                    .chain([line])
                    .collect()
            }
            (None, None) => bail!("it has no command: expected `cmd` or `sh`"),
            (Some(_), Some(_)) => bail!("it has both `cmd` and `sh`; keep one"),
        };
        let on_failure = spec
            .on_failure
            .as_ref()
            .map(|cmd| self.words("on_failure", cmd))
            .transpose()?;
        let text = |text: &String| self.word(text);
        let texts = |texts: &[String]| texts.iter().map(text).collect::<Result<Vec<_>>>();
        let outs = spec.outs.iter().map(|out| -> Result<_> {
            Ok(OutSpec {
                path: text(&out.path)?,
                cache: out.cache,
            })
        });
        let params = spec.params.iter().map(|params| -> Result<_> {
            Ok(ParamsSpec {
                file: params.file.as_ref().map(text).transpose()?,
                paths: texts(&params.paths)?,
            })
        });
        Ok(Expanded {
            name: name.to_owned(),
            made_of: None,
            words,
            on_failure,
            spec: StageSpec {
                desc: spec.desc.as_ref().map(text).transpose()?,
                deps: texts(&spec.deps).context("deps")?,
                outs: outs.collect::<Result<_>>().context("outs")?,
                params: params.collect::<Result<_>>().context("params")?,
                env: texts(&spec.env).context("env")?,
                wdir: spec.wdir.as_ref().map(text).transpose().context("wdir")?,
                when: self.conditions(spec).context("when")?,
                cmd: None,
                sh: None,
                foreach: None,
                matrix: Vec::new(),
                on_failure: None,
                ..spec.clone()
            },
        })
    }

    fn conditions(&self, spec: &StageSpec) -> Result<BTreeMap<String, Value>> {
        let conditions = spec.when.iter();
        conditions
            .map(|(path, expected)| Ok((self.word(path)?, self.expected(expected)?)))
            .collect()
    }

    /// A value that is to be found, or one of several.
    fn expected(&self, value: &Value) -> Result<Value> {
        match value {
            Value::String(text) => self.word(text).map(Value::String),
            Value::Array(all) => all.iter().map(|one| self.expected(one)).collect(),
            other => Ok(other.clone()),
        }
    }

    fn words(&self, key: &str, cmd: &Cmd) -> Result<Vec<String>> {
        let words = match cmd {
            Cmd::Words(words) => words.clone(),
            Cmd::Line(line) => {
                if let Some(operator) = shell::operator_in(line) {
                    bail!(
                        "{key} has `{operator}`, and no shell runs it: use `sh`, or quote it where it is an argument"
                    );
                }
                shlex::split(line)
                    .with_context(|| format!("{key} has a quote that is not closed: {line}"))?
            }
        };
        ensure!(
            words.first().is_some_and(|program| !program.is_empty()),
            "{key} is empty"
        );
        words
            .iter()
            .map(|word| self.word(word))
            .collect::<Result<_>>()
            .with_context(|| key.to_owned())
    }
}

#[cfg(test)]
mod tests;
