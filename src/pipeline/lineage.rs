//! From an artifact back to its sources, as `pipeline.lock` tells what was built from what.
//!
//! The lock holds one entry a stage: what it read and wrote when it last ran. A stage that ran again
//! since another one read its output has made something else by now, so an artifact is known by its
//! path and by its digest, and each says how it compares with the workspace and with what its maker
//! has written since. Where a lock was merged in git, entries may even go round in a circle; each
//! stage is looked into once.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::io;
use std::ops::Bound;

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::lock::{Entry, Lock};
use super::{Pipeline, ProjectPath, Stage, Workspace};
use crate::artifact::{Artifact, Digest, Entry as File, Kind, Record, Tree};

/// An artifact with all that it was built from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lineage {
    /// The artifacts: first the one that was asked for, then what is nearer before what is farther.
    pub nodes: Vec<LineageNode>,
    /// Who reads the first one, by name.
    pub read_by: Vec<String>,
    /// The stages that made them.
    pub stages: Vec<LineageStage>,
    /// What went into what.
    pub edges: Vec<LineageEdge>,
}

/// An artifact that a stage read or wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LineageNode {
    /// Its place in the list.
    pub id: usize,
    /// Where it is.
    pub path: String,
    /// What it was by the lock.
    pub artifact: Option<Artifact>,
    /// What is there now.
    pub now: Option<Artifact>,
    /// How the two compare.
    pub state: LineageState,
    /// The stage that made it; a source has none.
    pub stage: Option<String>,
    /// Whether no stage makes it.
    pub source: bool,
    /// The output of that stage, or the folder that a stage reads, in which it lies.
    pub inside: Option<String>,
    /// What the stage has made of it since, where that is something else.
    pub made_since: Option<Artifact>,
}

/// How what the lock says compares with the workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LineageState {
    /// It lies there.
    Same,
    /// Something else lies there.
    Changed,
    /// Nothing lies there.
    Missing,
    /// The lock does not know the stage that makes it.
    NeverBuilt,
    /// A file in a folder whose listing the store does not have.
    Unknown,
}

/// A stage, as it last ran.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LineageStage {
    /// Its name.
    pub stage: String,
    /// Its command.
    pub cmd: Vec<String>,
    /// The folder it ran in, where that is not the root.
    pub wdir: Option<String>,
    /// The version of krammerti, where the command is its own.
    pub tool: Option<String>,
    /// Its parameters, by file and dotted path, as canonical JSON.
    #[serde(serialize_with = "values")]
    pub params: BTreeMap<String, String>,
    /// The environment variables that decided its result.
    pub env: BTreeSet<String>,
    /// What it was built on, where the store still knows and the command said so.
    pub built_on: BTreeMap<String, String>,
    /// Whether the lock has it; otherwise all this is what `pipeline.yaml` says.
    pub built: bool,
    /// Whether `pipeline.yaml` still has it.
    pub in_pipeline: bool,
    /// What it read: places in the list of artifacts.
    #[serde(skip)]
    pub inputs: Vec<usize>,
}

/// Canonical JSON as what it stands for.
fn values<S: Serializer>(
    params: &BTreeMap<String, String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let value = |text: &String| -> Value { serde_json::from_str(text).unwrap_or_default() };
    serializer.collect_map(params.iter().map(|(name, text)| (name, value(text))))
}

/// What went into what, by the places in the list of artifacts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct LineageEdge {
    /// What was read.
    pub from: usize,
    /// What was made of it.
    pub to: usize,
    /// By which stage; none where the one lies in the other.
    pub stage: Option<String>,
}

/// Why a path has no lineage.
#[derive(Debug, thiserror::Error)]
pub enum LineageError {
    /// No stage has to do with it.
    #[error("no stage makes or reads {path}")]
    NotOurs {
        /// As asked for.
        path: ProjectPath,
    },
    /// The folder it would be in has no such file.
    #[error("{path} is not in {folder} as {} it", match .stage { Some(stage) => format!("stage `{stage}` made"), None => "it was when a stage read".to_owned() })]
    NotInFolder {
        /// As asked for.
        path: ProjectPath,
        /// The folder.
        folder: String,
        /// The stage that makes the folder; a source has none.
        stage: Option<String>,
    },
    /// The workspace cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Workspace {
    /// Where what lies at a path came from.
    pub fn lineage(
        &self,
        pipeline: &Pipeline,
        path: &ProjectPath,
    ) -> Result<Lineage, LineageError> {
        let lock = self.lock.snapshot();
        let now = |path: &str| self.cache.artifact(&self.root.join(path));
        let listing = |digest| self.store.tree(digest).ok();
        let record = |key| self.store.record(key);
        let known = Known::new(pipeline, &lock, &now, &listing, &record);
        trace(&known, path)
    }
}

fn trace(known: &Known<'_>, path: &ProjectPath) -> Result<Lineage, LineageError> {
    let mut drawing = Drawing::default();
    drawing.node(path.as_str(), known.asked(path)?);
    while let Some(id) = drawing.open.pop_front() {
        drawing.look_at(known, id)?;
    }
    drawing.edges.sort();
    let read_by: BTreeSet<&str> = above(path.as_str())
        .filter_map(|place| known.readers.get(place))
        .flat_map(|readers| readers.iter().map(|(stage, _)| *stage))
        .collect();
    Ok(Lineage {
        nodes: drawing.nodes,
        read_by: read_by.into_iter().map(str::to_owned).collect(),
        stages: drawing.stages,
        edges: drawing.edges,
    })
}

/// A path and the folders that it lies in, the nearest first.
fn above(path: &str) -> impl Iterator<Item = &str> {
    let folders = path.rmatch_indices('/').map(|(end, _)| &path[..end]);
    std::iter::once(path).chain(folders)
}

/// A lineage while it is drawn.
#[derive(Default)]
struct Drawing {
    nodes: Vec<LineageNode>,
    ids: HashMap<(String, Option<Artifact>), usize>,
    /// Those that are still to be looked at.
    open: VecDeque<usize>,
    stages: Vec<LineageStage>,
    seen: HashMap<String, usize>,
    edges: Vec<LineageEdge>,
}

impl Drawing {
    /// The place of an artifact, which is looked at later.
    fn node(&mut self, path: &str, artifact: Option<Artifact>) -> usize {
        let key = (path.to_owned(), artifact);
        if let Some(&id) = self.ids.get(&key) {
            return id;
        }
        let id = self.nodes.len();
        self.nodes.push(LineageNode {
            id,
            path: path.to_owned(),
            artifact,
            now: None,
            state: LineageState::Unknown,
            stage: None,
            source: false,
            inside: None,
            made_since: None,
        });
        self.ids.insert(key, id);
        self.open.push_back(id);
        id
    }

    /// Finds out who made an artifact, of what, and what has become of it.
    fn look_at(&mut self, known: &Known<'_>, id: usize) -> io::Result<()> {
        let mut node = self.nodes[id].clone();
        node.now = (known.now)(&node.path)?;
        let made = known.made(&node.path);
        let built = match &made {
            Made::By { stage, .. } => Some(known.lock.stages.contains_key(*stage)),
            _ => None,
        };
        node.state = state(node.artifact, node.now, built);
        let inputs = match made {
            Made::By { stage, output } => {
                node.stage = Some(stage.to_owned());
                node.inside = (output != node.path).then(|| output.to_owned());
                node.made_since = known
                    .wrote(&node.path)
                    .filter(|_| node.artifact.is_some())
                    .filter(|made| node.artifact != Some(*made));
                self.look_into(known, stage)
            }
            Made::Parts(outputs) => outputs
                .into_iter()
                .map(|output| self.node(output, known.wrote(output)))
                .collect(),
            Made::Nowhere => {
                node.source = true;
                let folder = above(&node.path).find(|place| known.readers.contains_key(place));
                node.inside = folder
                    .filter(|place| *place != node.path)
                    .map(str::to_owned);
                Vec::new()
            }
        };
        self.edges
            .extend(inputs.into_iter().map(|from| LineageEdge {
                from,
                to: id,
                stage: node.stage.clone(),
            }));
        self.nodes[id] = node;
        Ok(())
    }

    /// What a stage read.
    fn look_into(&mut self, known: &Known<'_>, name: &str) -> Vec<usize> {
        if let Some(&index) = self.seen.get(name) {
            return self.stages[index].inputs.clone();
        }
        let inputs: Vec<usize> = known
            .inputs(name)
            .into_iter()
            .map(|(path, artifact)| self.node(path, artifact.or_else(|| known.wrote(path))))
            .collect();
        self.seen.insert(name.to_owned(), self.stages.len());
        self.stages.push(LineageStage {
            inputs: inputs.clone(),
            ..known.stage(name)
        });
        inputs
    }
}

/// `built` is whether the lock knows the maker, where there is one.
fn state(then: Option<Artifact>, now: Option<Artifact>, built: Option<bool>) -> LineageState {
    match (then, now, built) {
        (Some(then), Some(now), _) if then == now => LineageState::Same,
        (Some(_), Some(_), _) => LineageState::Changed,
        (None, _, Some(false)) => LineageState::NeverBuilt,
        (_, None, _) => LineageState::Missing,
        (None, Some(_), Some(true)) => LineageState::Unknown,
        // A source that no run has read, or a folder that holds outputs.
        (None, Some(_), None) => LineageState::Same,
    }
}

/// What a lineage is drawn from.
struct Known<'a> {
    lock: &'a Lock,
    /// What lies at a path now.
    now: &'a dyn Fn(&str) -> io::Result<Option<Artifact>>,
    /// What lay in a folder, where that is known.
    listing: &'a dyn Fn(Digest) -> Option<Tree>,
    /// What a key once gave, where that is known.
    record: &'a dyn Fn(Digest) -> Option<Record>,
    /// The stages of `pipeline.yaml` by name.
    declared: BTreeMap<&'a str, &'a Stage>,
    /// Output → the stage that makes it.
    makers: BTreeMap<&'a str, &'a str>,
    /// Input → the stages that read it, and what it was then.
    readers: BTreeMap<&'a str, Vec<(&'a str, Option<Artifact>)>>,
}

/// Where a path comes from.
enum Made<'a> {
    /// A stage makes it, or the output in which it lies.
    By { stage: &'a str, output: &'a str },
    /// Stages make what lies in it.
    Parts(Vec<&'a str>),
    /// It is a source, or nothing.
    Nowhere,
}

/// What lay at a path in a folder.
enum Part {
    Is(Artifact),
    NotThere,
    /// The listing of the folder is gone.
    Unknown,
}

impl<'a> Known<'a> {
    fn new(
        pipeline: &'a Pipeline,
        lock: &'a Lock,
        now: &'a dyn Fn(&str) -> io::Result<Option<Artifact>>,
        listing: &'a dyn Fn(Digest) -> Option<Tree>,
        record: &'a dyn Fn(Digest) -> Option<Record>,
    ) -> Self {
        let stages = pipeline.stages().iter();
        let mut known = Self {
            lock,
            now,
            listing,
            record,
            declared: stages.map(|stage| (stage.name.as_str(), stage)).collect(),
            makers: BTreeMap::new(),
            readers: BTreeMap::new(),
        };
        known.makers = known.find_makers();
        let new = known.declared.keys().copied();
        let new = new.filter(|name| !lock.stages.contains_key(*name));
        for stage in lock.stages.keys().map(String::as_str).chain(new) {
            for (path, artifact) in known.inputs(stage) {
                let readers = known.readers.entry(path).or_default();
                readers.push((stage, artifact));
            }
        }
        known
    }

    /// By the lock; what it says of a stage that `pipeline.yaml` no longer has, or of an output that
    /// a stage no longer has, counts less, and what no run has made yet least.
    fn find_makers(&self) -> BTreeMap<&'a str, &'a str> {
        let lock = self.lock;
        let declared = || {
            let stages = self.declared.values();
            stages.flat_map(|&stage| {
                let outputs = stage.outputs.iter();
                outputs.map(|path| (path.as_str(), stage.name.as_str()))
            })
        };
        let in_lock = |&(path, stage): &(&str, &str)| {
            let entry = lock.stages.get(stage);
            entry.is_some_and(|entry| entry.wrote.contains_key(path))
        };
        let wrote = || lock.outputs().map(|(stage, path, _)| (path, stage));
        let kept = |(_, stage): &(&str, &str)| self.declared.contains_key(stage);
        // A later one replaces an earlier one.
        let least = declared().filter(|output| !in_lock(output));
        let gone = wrote().filter(|output| !kept(output));
        let undeclared = wrote().filter(kept);
        let most = declared().filter(in_lock);
        least.chain(gone).chain(undeclared).chain(most).collect()
    }

    /// Who makes what lies at a path.
    fn made(&self, path: &str) -> Made<'a> {
        let by = above(path).find_map(|place| self.makers.get_key_value(place));
        if let Some((output, stage)) = by {
            return Made::By { stage, output };
        }
        let folder = format!("{path}/");
        let from = (Bound::Included(folder.as_str()), Bound::Unbounded);
        let below = self.makers.range::<str, _>(from).map(|(path, _)| *path);
        let below: Vec<&str> = below.take_while(|path| path.starts_with(&folder)).collect();
        if below.is_empty() {
            Made::Nowhere
        } else {
            Made::Parts(below)
        }
    }

    /// What its maker wrote to a path, by the lock.
    fn wrote(&self, path: &str) -> Option<Artifact> {
        let Made::By { stage, output } = self.made(path) else {
            return None;
        };
        let whole = *self.lock.stages.get(stage)?.wrote.get(output)?;
        match self.part(whole, output, path) {
            Part::Is(artifact) => Some(artifact),
            Part::NotThere | Part::Unknown => None,
        }
    }

    fn part(&self, whole: Artifact, folder: &str, path: &str) -> Part {
        if folder == path {
            return Part::Is(whole);
        }
        let inside = path.strip_prefix(folder).and_then(|p| p.strip_prefix('/'));
        let Some(inside) = inside.filter(|_| whole.kind == Kind::Folder) else {
            return Part::NotThere;
        };
        let now = |path: &str| (self.now)(path).ok().flatten();
        let found = match (self.listing)(whole.digest) {
            Some(tree) => part_of(&tree, inside),
            // The folder is as it was, so what is in it is too.
            None if now(folder) == Some(whole) => now(path),
            None => return Part::Unknown,
        };
        found.map_or(Part::NotThere, Part::Is)
    }

    /// What a path was by the lock, where a stage makes or reads it.
    fn asked(&self, path: &ProjectPath) -> Result<Option<Artifact>, LineageError> {
        let made = self.made(path.as_str());
        let (folder, stage, whole) = if let Made::By { stage, output } = made {
            let entry = self.lock.stages.get(stage);
            let wrote = entry.and_then(|entry| entry.wrote.get(output).copied());
            (output, Some(stage), wrote)
        } else {
            let read = above(path.as_str()).find_map(|place| self.readers.get_key_value(place));
            match (read, made) {
                (Some((input, readers)), _) => {
                    (*input, None, readers.iter().find_map(|(_, read)| *read))
                }
                (None, Made::Parts(_)) => return Ok(None),
                (None, _) => return Err(LineageError::NotOurs { path: path.clone() }),
            }
        };
        match whole.map(|whole| self.part(whole, folder, path.as_str())) {
            Some(Part::Is(artifact)) => Ok(Some(artifact)),
            Some(Part::Unknown) | None => Ok(None),
            Some(Part::NotThere) => Err(LineageError::NotInFolder {
                path: path.clone(),
                folder: folder.to_owned(),
                stage: stage.map(str::to_owned),
            }),
        }
    }

    /// What a stage read, by the lock; or what it is to read.
    fn inputs(&self, stage: &str) -> Vec<(&'a str, Option<Artifact>)> {
        match (self.lock.stages.get(stage), self.declared.get(stage)) {
            (Some(entry), _) => {
                let read = entry.read.iter();
                read.map(|(path, &artifact)| (path.as_str(), Some(artifact)))
                    .collect()
            }
            (None, Some(&stage)) => {
                let inputs = stage.inputs.iter();
                inputs.map(|path| (path.as_str(), None)).collect()
            }
            (None, None) => Vec::new(),
        }
    }

    /// A stage as it last ran, or as it is to run.
    fn stage(&self, name: &str) -> LineageStage {
        let mut stage = LineageStage {
            stage: name.to_owned(),
            in_pipeline: self.declared.contains_key(name),
            ..LineageStage::default()
        };
        if let Some(parts) = self.lock.stages.get(name).map(Entry::key_parts) {
            let record = (self.record)(parts.key());
            stage.built_on = record.map(|record| record.built_on).unwrap_or_default();
            stage.cmd = parts.cmd;
            stage.wdir = parts.wdir;
            stage.tool = parts.tool;
            stage.params = parts.params;
            stage.env = parts.env.into_keys().collect();
            stage.built = true;
        } else if let Some(declared) = self.declared.get(name) {
            stage.cmd.clone_from(&declared.command.words);
            stage.wdir = declared.command.wdir.as_ref().map(ToString::to_string);
            stage.params.clone_from(&declared.params);
            stage.env.clone_from(&declared.env);
        }
        stage
    }
}

/// A file in a folder, or a folder in it.
fn part_of(tree: &Tree, inside: &str) -> Option<Artifact> {
    if let Some(file) = tree.get(inside) {
        let kind = if file.executable {
            Kind::Executable
        } else {
            Kind::File
        };
        return Some(Artifact {
            kind,
            digest: file.digest,
        });
    }
    let below = tree.entries.iter().filter_map(|file| {
        let path = file.path.strip_prefix(inside)?.strip_prefix('/')?;
        Some(File {
            path: path.to_owned(),
            ..file.clone()
        })
    });
    let below = Tree {
        entries: below.collect(),
    };
    (!below.entries.is_empty()).then(|| Artifact {
        kind: Kind::Folder,
        digest: Digest::of(below.encode().as_bytes()),
    })
}

#[cfg(test)]
mod tests;
