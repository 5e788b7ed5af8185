//! One stage, checked: its command with everything that decides its result, and how it is to be run.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::expand::{Expanded, scalar};
use super::spec::StageSpec;
use super::{Commands, Declared, PathError, ProjectPath, shell};
use crate::fs;

/// How long to wait before a second try, where nothing is said.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// A named step: one command with everything that decides its result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Its name in `pipeline.yaml`; of a `foreach`, `STAGE@KEY`.
    pub name: String,
    /// The `foreach` or `matrix` that made it. Its name does not tell: a person may write an `@` too.
    pub made_of: Option<String>,
    /// What a person should know about it.
    pub desc: Option<String>,
    /// The command in its canonical form.
    pub command: StageCommand,
    /// What it reads.
    pub inputs: BTreeSet<ProjectPath>,
    /// What other stages write of what it reads.
    pub reads: BTreeSet<ProjectPath>,
    /// What it writes; no other stage writes it, and none lies in another.
    pub outputs: BTreeSet<ProjectPath>,
    /// Those of its outputs that the store does not keep.
    pub uncached: BTreeSet<ProjectPath>,
    /// Those of its outputs that are declared as folders, by a `/` at their end.
    pub folders: BTreeSet<ProjectPath>,
    /// The parameters it reads, by file and dotted path, as canonical JSON.
    pub params: BTreeMap<String, String>,
    /// The environment variables that decide its result.
    pub env: BTreeSet<String>,
    /// How it is to be run.
    pub policy: Policy,
    /// Whether `pipeline.yaml` has it, so that the lock remembers it. A command that was typed by
    /// hand and is no stage is remembered by the store alone.
    pub recorded: bool,
}

/// The command of a stage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StageCommand {
    /// The words, the program first.
    pub words: Vec<String>,
    /// The folder it runs in, where that is not the root.
    pub wdir: Option<ProjectPath>,
    /// Whether it is a subcommand of krammerti, which is run by this very binary and whose
    /// identity is krammerti's version.
    pub builtin: bool,
}

/// When and how a stage runs. None of it decides the result, so none of it is in the key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// How long a result holds although nothing changed.
    pub fresh_for: Option<Duration>,
    /// It never runs.
    pub frozen: bool,
    /// It runs every time.
    pub always: bool,
    /// Why it is left out, where `when` does not hold.
    pub off: Option<String>,
    /// How often to try again after a failure.
    pub retries: u32,
    /// How long to wait before the first of these tries.
    pub retry_delay: Duration,
    /// How long one try may take.
    pub timeout: Option<Duration>,
    /// How much it takes of each resource.
    pub resources: BTreeMap<String, u32>,
    /// What to run when it has failed for good.
    pub on_failure: Option<Vec<String>>,
    /// Whether it runs confined to what it declares.
    pub strict: bool,
}

impl Policy {
    /// How long to wait before a further try, `failed` tries after the first: twice as long each
    /// time, an hour at most.
    pub fn delay(&self, failed: u32) -> Duration {
        let factor = 1_u32.checked_shl(failed).unwrap_or(u32::MAX);
        self.retry_delay
            .saturating_mul(factor)
            .min(Duration::from_hours(1).max(self.retry_delay))
    }
}

/// Refuses what cannot be the name of a stage: it stands in file names and on command lines.
pub(super) fn check_name(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '@');
    let good = !name.is_empty() && name.chars().all(plain) && !name.starts_with(['.', '-']);
    ensure!(
        good && name.len() <= 100,
        "a name is up to 100 letters, digits, `_`, `-`, `.` and `@`, found `{name}`"
    );
    Ok(())
}

/// What a name is that of an item of, if a `foreach` or `matrix` made it: a key has no `@`.
pub fn base_of(name: &str) -> Option<&str> {
    name.rsplit_once('@').map(|(base, _)| base)
}

impl Stage {
    pub(super) fn new(expanded: Expanded, commands: &dyn Commands) -> Result<Self> {
        let Expanded {
            name,
            made_of,
            words,
            on_failure,
            spec,
        } = expanded;
        check_name(&name)?;
        let wdir = spec.wdir.as_deref().map(folder).transpose()?.flatten();
        let builtin = words[0] == "krammerti";
        let declared = if builtin {
            commands.declare(&words, wdir.as_ref())?
        } else {
            Declared {
                words,
                ..Declared::default()
            }
        };
        let mut stage = Self::from_declared(&name, declared, builtin)?;
        stage.recorded = true;
        stage.made_of = made_of;
        stage.desc.clone_from(&spec.desc);
        // Paths of a subcommand are already those of the root.
        stage.command.wdir = wdir.clone().filter(|_| !builtin);
        stage.add_paths(&spec, wdir.as_ref(), commands)?;
        stage.add_params(&spec, wdir.as_ref(), commands)?;
        stage.env = environment(&spec.env)?;
        ensure!(
            !stage.outputs.is_empty(),
            "it writes nothing: name its outputs under `outs`"
        );
        stage.policy = policy(&spec, on_failure, commands)?;
        Ok(stage)
    }

    fn add_paths(
        &mut self,
        spec: &StageSpec,
        wdir: Option<&ProjectPath>,
        commands: &dyn Commands,
    ) -> Result<()> {
        let within = |path: &str| ProjectPath::within(wdir, path).map(|path| commands.inside(path));
        for path in &spec.deps {
            let path = within(path).context("deps")?;
            ensure!(path.as_str() != ".", "deps cannot name the whole project");
            self.inputs.insert(path);
        }
        for out in &spec.outs {
            let path = within(&out.path)
                .and_then(|path| ProjectPath::output(path.as_str()))
                .context("outs")?;
            if !out.cache {
                self.uncached.insert(path.clone());
            }
            if out.path.ends_with('/') {
                self.folders.insert(path.clone());
            }
            self.outputs.insert(path);
        }
        Ok(())
    }

    fn add_params(
        &mut self,
        spec: &StageSpec,
        wdir: Option<&ProjectPath>,
        commands: &dyn Commands,
    ) -> Result<()> {
        for params in &spec.params {
            let file = params.file.as_deref();
            let file = file.map(|file| ProjectPath::within(wdir, file)).transpose();
            let file = file.context("params")?;
            let file = file.as_ref().map(ProjectPath::as_str);
            let paths = params.paths.iter().map(|path| Some(path.as_str()));
            let all = params.paths.is_empty().then_some(None);
            for path in paths.chain(all) {
                let leaves = commands.params(file, path).context("params")?;
                let file = file.unwrap_or("params.yaml");
                match path {
                    Some(path) if leaves.is_empty() => {
                        bail!("params names `{path}`, which {file} does not have")
                    }
                    None if leaves.is_empty() => bail!("params names {file}, which is empty"),
                    _ => self.params.extend(leaves),
                }
            }
        }
        Ok(())
    }

    /// The words of the command that may name a file that it reads.
    fn named(&self) -> BTreeSet<String> {
        let words = &self.command.words;
        let plain = |words: &[String]| words.iter().cloned().collect();
        match words.as_slice() {
            [shell, option, line, rest @ ..]
                if matches!(shell.as_str(), "sh" | "bash" | "dash")
                    && option.starts_with('-')
                    && option.ends_with('c') =>
            {
                let mut named: BTreeSet<String> = plain(rest);
                named.extend(shell::words(line));
                named
            }
            words => plain(words),
        }
    }

    /// Whether a name that a person gives stands for it: its own, or one that all items have.
    pub fn goes_by(&self, name: &str) -> bool {
        let rest = self.name.strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('@'))
    }

    /// Whether its parameters of a file are declared one by one: then the rest of it may change.
    fn reads_params_of(&self, file: &ProjectPath) -> bool {
        let of_file = |name: &String| name.split(':').next() == Some(file.as_str());
        self.params.keys().any(of_file)
    }

    /// A stage that is exactly what its command says.
    pub fn from_declared(name: &str, declared: Declared, builtin: bool) -> Result<Self, PathError> {
        let plain = |path: &String| ProjectPath::new(path);
        let output = |path: &String| ProjectPath::output(path);
        Ok(Self {
            name: name.to_owned(),
            made_of: None,
            desc: None,
            command: StageCommand {
                words: declared.words,
                wdir: None,
                builtin,
            },
            inputs: declared
                .inputs
                .iter()
                .map(plain)
                .collect::<Result<_, _>>()?,
            outputs: declared
                .outputs
                .iter()
                .map(output)
                .collect::<Result<_, _>>()?,
            reads: BTreeSet::new(),
            uncached: BTreeSet::new(),
            folders: BTreeSet::new(),
            params: declared.params,
            env: BTreeSet::new(),
            policy: Policy::default(),
            recorded: false,
        })
    }
}

/// What a command names counts as an input, declared or not: a file of the project, since a script
/// that was edited must not give its old result; and what another stage writes, or the folder it
/// writes into, whether it is there yet or not, since otherwise the order of stages would change with
/// what lies there.
pub(super) fn add_named(stages: &mut [Stage], commands: &dyn Commands) {
    let written = Written::by(stages);
    // A thousand stages name the same programs and scripts.
    let mut is_file: BTreeMap<ProjectPath, bool> = BTreeMap::new();
    for stage in stages.iter_mut().filter(|stage| !stage.command.builtin) {
        let declared = stage.inputs.clone();
        for word in stage.named() {
            let (plain, starred) = before_stars(&word);
            let path = ProjectPath::within(stage.command.wdir.as_ref(), plain);
            let path = path.map(|path| commands.inside(path));
            let Some(path) = path.ok().filter(ProjectPath::is_inside) else {
                continue;
            };
            if stage.outputs.iter().any(|output| output.overlaps(&path))
                || path.ancestors().any(|around| declared.contains(&around))
            {
                continue;
            }
            if let Some(output) = written.named_by(&path) {
                stage.inputs.insert(output);
            } else if !starred && !stage.reads_params_of(&path) {
                let known = is_file.entry(path.clone());
                if *known.or_insert_with(|| commands.is_file(&path)) {
                    stage.inputs.insert(path);
                }
            }
        }
    }
}

/// A word up to the folder in which it has its first star, and whether it has one.
fn before_stars(word: &str) -> (&str, bool) {
    match word.find(fs::WILDCARDS) {
        None => (word, false),
        Some(star) => (
            word[..star]
                .rsplit_once('/')
                .map_or("", |(folder, _)| folder),
            true,
        ),
    }
}

/// What all stages write.
struct Written(BTreeSet<String>);

impl Written {
    fn by(stages: &[Stage]) -> Self {
        let outputs = stages.iter().flat_map(|stage| &stage.outputs);
        Self(outputs.map(ToString::to_string).collect())
    }

    /// What a path stands for: the output that it is or lies in, or itself where outputs lie in it.
    fn named_by(&self, path: &ProjectPath) -> Option<ProjectPath> {
        let around = path
            .ancestors()
            .find(|around| self.0.contains(around.as_str()));
        around.or_else(|| {
            let below = format!("{path}/");
            let next = self.0.range(below.clone()..).next();
            next.filter(|next| next.starts_with(&below))
                .map(|_| path.clone())
        })
    }
}

/// A working folder; the root is none.
fn folder(path: &str) -> Result<Option<ProjectPath>> {
    let plain = ProjectPath::new(path)?;
    if plain.as_str() == "." {
        return Ok(None);
    }
    ensure!(
        !plain.as_str().starts_with(['/', '.']),
        "wdir {path} is not a folder inside the project"
    );
    Ok(Some(plain))
}

fn environment(names: &[String]) -> Result<BTreeSet<String>> {
    for name in names {
        ensure!(
            !name.is_empty() && !name.contains(['=', '\0', ' ']),
            "env: expected the name of a variable, found `{name}`"
        );
    }
    Ok(names.iter().cloned().collect())
}

fn policy(
    spec: &StageSpec,
    on_failure: Option<Vec<String>>,
    commands: &dyn Commands,
) -> Result<Policy> {
    ensure!(
        !(spec.frozen && spec.always),
        "frozen and always contradict each other; keep one"
    );
    Ok(Policy {
        fresh_for: spec.fresh_for.map(crate::time::Span::duration),
        frozen: spec.frozen,
        always: spec.always,
        off: off(spec, commands)?,
        retries: spec.retries,
        retry_delay: spec
            .retry_delay
            .map_or(RETRY_DELAY, crate::time::Span::duration),
        timeout: spec.timeout.map(crate::time::Span::duration),
        resources: spec.resources.clone(),
        on_failure,
        strict: spec.strict,
    })
}

/// Why `when` leaves a stage out: the first condition that does not hold.
fn off(spec: &StageSpec, commands: &dyn Commands) -> Result<Option<String>> {
    for (path, wanted) in &spec.when {
        let found = commands.value(path)?.unwrap_or(Value::Null);
        let one_of = match wanted {
            Value::Array(all) => all.as_slice(),
            one => std::slice::from_ref(one),
        };
        // `${item}` is a text, whatever the item is.
        let is_found = |wanted: &Value| {
            *wanted == found || scalar(wanted).is_some_and(|text| Some(text) == scalar(&found))
        };
        if !one_of.iter().any(is_found) {
            let wanted: Vec<String> = one_of.iter().map(ToString::to_string).collect();
            let found = match found {
                Value::Null => "unset".to_owned(),
                found => found.to_string(),
            };
            return Ok(Some(format!(
                "{path} is {found}, not {}",
                wanted.join(" or ")
            )));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_an_hour() {
        let policy = |seconds| Policy {
            retry_delay: Duration::from_secs(seconds),
            ..Policy::default()
        };
        let delays: Vec<u64> = (0..4).map(|i| policy(10).delay(i).as_secs()).collect();
        assert_eq!(delays, [10, 20, 40, 80]);
        assert_eq!(policy(10).delay(99).as_secs(), 3600);
        assert_eq!(policy(7200).delay(3).as_secs(), 7200);
    }

    #[test]
    fn a_pattern_names_the_folder_before_its_stars() {
        for (word, told) in [
            ("a/b", ("a/b", false)),
            ("a/b/*.txt", ("a/b", true)),
            ("a/b*/c", ("a", true)),
            ("*.txt", ("", true)),
            ("a[0-9]", ("", true)),
        ] {
            assert_eq!(before_stars(word), told, "{word}");
        }
    }

    #[test]
    fn names_can_stand_in_file_names() {
        for name in ["train", "train@calais-2", "a.b"] {
            check_name(name).unwrap();
        }
        for name in ["", "a b", "../x", "a/b", "-x", ".x", &"x".repeat(101)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
