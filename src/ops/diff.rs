//! `krammerti diff`: parameters and metrics, then and now.
//!
//! Parameters are those of `params.yaml` and of other files that stages name. Metrics are the numbers
//! of each output that is a `metrics.json`, or a folder with one at its top. Of a revision, git has
//! `pipeline.lock`, the lock has the digests of what was built, and the store has the bytes.

mod git;
mod metrics;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use super::{RunError, Standing, status};
use crate::artifact::{Artifact, Kind, StatCache, Store};
use crate::fs;
use crate::params::{ParamsError, Values};
use crate::pipeline::{Lock, LockError, Pipeline};
use git::{Repository, Revision};
use metrics::{Metric, numbers};

pub use git::GitError;

/// The parameter file that every project has.
const PARAMS: &str = "params.yaml";

/// What holds metrics, by convention.
const METRICS: &str = "metrics.json";

const LOCK: &str = "pipeline.lock";
const PIPELINE: &str = "pipeline.yaml";

/// What differs, and what does not.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Diff {
    /// The earlier side.
    pub from: Side,
    /// The later one.
    pub to: Side,
    /// All parameters, sorted.
    pub params: Vec<ParamDiff>,
    /// All metrics, sorted by file and name.
    pub metrics: Vec<MetricDiff>,
    /// Metrics that a side should have, and why they cannot be compared.
    pub unavailable: Vec<Unavailable>,
    /// Stages whose metrics in the workspace are those of an earlier state.
    pub not_up_to_date: Vec<String>,
    /// Revisions that do not say what they built.
    pub without_lock: Vec<String>,
}

/// One of two sides: a revision, or the workspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Side {
    /// What the revision was called; the workspace has none.
    pub revision: Option<String>,
    /// Its commit.
    pub commit: Option<String>,
}

/// A parameter on both sides.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ParamDiff {
    /// File and dotted path.
    pub name: String,
    /// Its value; nothing where it was unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Value>,
    /// Its value; nothing where it is unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Value>,
}

/// A metric on both sides.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MetricDiff {
    /// The file that has it.
    pub file: String,
    /// Its dotted path in that.
    pub name: String,
    /// Whether it belongs to an item of a list.
    pub in_list: bool,
    /// Its value; nothing where it was not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<f64>,
    /// Its value; nothing where it is not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<f64>,
    /// The second less the first, where there are two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<f64>,
}

/// Metrics that cannot be compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unavailable {
    /// The file.
    pub file: String,
    /// The stage that made it.
    pub stage: String,
    /// On which side.
    pub side: Side,
    /// What the store no longer has; nothing where the file is there but is no JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact: Option<Artifact>,
    /// Why.
    pub reason: String,
}

impl ParamDiff {
    /// Whether the two sides differ.
    pub fn is_change(&self) -> bool {
        self.from != self.to
    }
}

impl MetricDiff {
    /// Whether the two sides differ.
    pub fn is_change(&self) -> bool {
        self.from != self.to
    }
}

/// Why two sides cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    /// git cannot tell.
    #[error(transparent)]
    Git(#[from] GitError),
    /// A lock cannot be read.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A parameter file cannot be read.
    #[error(transparent)]
    Params(#[from] ParamsError),
    /// The workspace cannot be looked at.
    #[error(transparent)]
    Status(#[from] RunError),
    /// Files cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What a revision is compared with.
#[derive(Clone, Copy, Debug)]
pub enum DiffWith<'a> {
    /// Another revision.
    Revision(&'a str),
    /// The workspace, with its pipeline.
    Workspace(&'a Pipeline),
}

/// Compares a revision of the project in a folder with another one or with the workspace.
pub fn diff(root: &Path, from: &str, to: DiffWith<'_>) -> Result<Diff, DiffError> {
    let repository = Repository::around(root)?;
    let past = |name: &str| Past::open(root, &repository, name);
    let from = past(from)?;
    let to = match to {
        DiffWith::Revision(name) => Place::Past(Box::new(past(name)?)),
        DiffWith::Workspace(pipeline) => Place::Workspace(Workspace { root, pipeline }),
    };
    let from = Place::Past(Box::new(from));
    let files: BTreeSet<String> = [from.param_files(), to.param_files(), [PARAMS.into()].into()]
        .into_iter()
        .flatten()
        .collect();
    let (then, now) = (from.found()?, to.found()?);
    let not_up_to_date = match &to {
        Place::Workspace(workspace) => workspace.not_up_to_date(&now)?,
        Place::Past(_) => Vec::new(),
    };
    let mut diff = Diff {
        from: from.side(),
        to: to.side(),
        params: compare_params(&from.params(&files)?, &to.params(&files)?),
        metrics: Vec::new(),
        unavailable: Vec::new(),
        not_up_to_date,
        without_lock: [&from, &to]
            .into_iter()
            .filter_map(Place::without_lock)
            .collect(),
    };
    // Against nothing, every metric would look new.
    if diff.without_lock.is_empty() {
        diff.compare_metrics(&then, &now);
    }
    Ok(diff)
}

/// What a side has of a file that may hold metrics.
#[derive(Clone, Debug, PartialEq)]
struct Found {
    stage: String,
    what: What,
}

#[derive(Clone, Debug, PartialEq)]
enum What {
    Numbers(BTreeMap<Metric, f64>),
    /// The folder has no such file.
    None,
    /// It is in the store no longer; of a folder nobody knows whether it had the file.
    Gone(Artifact),
    /// It is no JSON.
    Broken(String),
}

impl What {
    fn of(file: &str, bytes: &[u8]) -> Self {
        match serde_json::from_slice::<Value>(bytes) {
            Ok(document) => Self::Numbers(numbers(&document)),
            Err(error) => Self::Broken(format!("{file} is no JSON: {error}")),
        }
    }
}

impl Found {
    /// Why this cannot be compared, where it cannot.
    fn unavailable(&self, file: &str, side: &Side) -> Option<Unavailable> {
        let (artifact, reason) = match &self.what {
            What::Numbers(_) | What::None => return None,
            What::Gone(artifact) => (Some(*artifact), "it is not in the store".to_owned()),
            What::Broken(reason) => (None, reason.clone()),
        };
        Some(Unavailable {
            file: file.to_owned(),
            stage: self.stage.clone(),
            side: side.clone(),
            artifact,
            reason,
        })
    }

    fn numbers(&self) -> BTreeMap<Metric, f64> {
        match &self.what {
            What::Numbers(numbers) => numbers.clone(),
            _ => BTreeMap::new(),
        }
    }
}

impl Diff {
    fn compare_metrics(&mut self, then: &BTreeMap<String, Found>, now: &BTreeMap<String, Found>) {
        let files: BTreeSet<&String> = then.keys().chain(now.keys()).collect();
        for file in files {
            let (then, now) = (then.get(file), now.get(file));
            if nothing_to_miss(then, now) {
                continue;
            }
            let sides = [(then, &self.from), (now, &self.to)];
            let missing = |(found, side): (Option<&Found>, &Side)| found?.unavailable(file, side);
            let missing: Vec<Unavailable> = sides.into_iter().filter_map(missing).collect();
            if missing.is_empty() {
                let numbers = |found: Option<&Found>| found.map(Found::numbers).unwrap_or_default();
                self.metrics
                    .extend(compare(file, &numbers(then), &numbers(now)));
            }
            self.unavailable.extend(missing);
        }
    }
}

/// Whether one side's folder has no metrics and the other's is gone, or both are gone and the same.
fn nothing_to_miss(then: Option<&Found>, now: Option<&Found>) -> bool {
    match (then.map(|found| &found.what), now.map(|found| &found.what)) {
        (Some(What::None), Some(What::Gone(_))) | (Some(What::Gone(_)), Some(What::None)) => true,
        (Some(What::Gone(then)), Some(What::Gone(now))) => then == now,
        _ => false,
    }
}

fn compare<'a>(
    file: &'a str,
    then: &'a BTreeMap<Metric, f64>,
    now: &'a BTreeMap<Metric, f64>,
) -> impl Iterator<Item = MetricDiff> + 'a {
    let names: BTreeSet<&Metric> = then.keys().chain(now.keys()).collect();
    names.into_iter().map(move |name| {
        let (from, to) = (then.get(name).copied(), now.get(name).copied());
        MetricDiff {
            file: file.to_owned(),
            name: name.to_string(),
            in_list: name.is_in_list(),
            from,
            to,
            change: from.zip(to).map(|(from, to)| to - from),
        }
    })
}

fn compare_params(then: &BTreeMap<String, Value>, now: &BTreeMap<String, Value>) -> Vec<ParamDiff> {
    let names: BTreeSet<&String> = then.keys().chain(now.keys()).collect();
    let params = names.into_iter().map(|name| ParamDiff {
        name: name.clone(),
        from: then.get(name).cloned(),
        to: now.get(name).cloned(),
    });
    params.collect()
}

/// A side that is compared.
enum Place<'a> {
    Past(Box<Past<'a>>),
    Workspace(Workspace<'a>),
}

impl Place<'_> {
    /// The revision, where it does not say what was built.
    fn without_lock(&self) -> Option<String> {
        match self {
            Self::Past(past) if past.lock.is_none() => Some(past.revision.name.clone()),
            _ => None,
        }
    }

    fn side(&self) -> Side {
        let revision = match self {
            Self::Past(past) => Some(&past.revision),
            Self::Workspace(_) => None,
        };
        Side {
            revision: revision.map(|revision| revision.name.clone()),
            commit: revision.map(|revision| revision.commit.clone()),
        }
    }

    /// The parameter files that stages read.
    fn param_files(&self) -> BTreeSet<String> {
        match self {
            Self::Past(past) => past
                .lock
                .iter()
                .flat_map(Lock::param_files)
                .map(str::to_owned)
                .collect(),
            Self::Workspace(workspace) => workspace.param_files(),
        }
    }

    /// The parameters in these files.
    fn params(&self, files: &BTreeSet<String>) -> Result<BTreeMap<String, Value>, DiffError> {
        let mut params = BTreeMap::new();
        for file in files {
            let (shown, text) = match self {
                Self::Past(past) => (
                    format!("{}:{file}", past.revision.name),
                    past.repository.file(&past.revision, file)?,
                ),
                Self::Workspace(workspace) => {
                    let text = fs::read_if_exists(&workspace.root.join(file))?;
                    (file.clone(), text.map(String::into_bytes))
                }
            };
            let Some(text) = text else { continue };
            let values = Values::parse(Path::new(&shown), &String::from_utf8_lossy(&text))?;
            // Canonical JSON reads as what it was.
            let leaves = values.leaves(None).into_iter().filter_map(|(path, value)| {
                Some((format!("{file}:{path}"), serde_json::from_str(&value).ok()?))
            });
            params.extend(leaves);
        }
        Ok(params)
    }

    /// The files that may hold metrics.
    fn found(&self) -> Result<BTreeMap<String, Found>, DiffError> {
        match self {
            Self::Past(past) => past.found(),
            Self::Workspace(workspace) => workspace.found(),
        }
    }
}

/// The project at a revision.
struct Past<'a> {
    root: &'a Path,
    repository: &'a Repository,
    revision: Revision,
    lock: Option<Lock>,
    /// The stages of `pipeline.yaml`: the lock may still have others. Nothing where that is unreadable.
    stages: Option<BTreeSet<String>>,
    store: Store,
    cache: StatCache,
}

impl<'a> Past<'a> {
    fn open(root: &'a Path, repository: &'a Repository, name: &str) -> Result<Self, DiffError> {
        let revision = repository.revision(name)?;
        let text = repository.file(&revision, LOCK)?;
        let shown = format!("{name}:{LOCK}");
        let private = root.join(".krammerti");
        let pipeline = repository.file(&revision, PIPELINE)?;
        Ok(Self {
            root,
            repository,
            stages: pipeline.and_then(|text| stage_names(&text)),
            lock: match text {
                Some(text) => {
                    let text = String::from_utf8_lossy(&text);
                    Some(Lock::parse(Path::new(&shown), &text)?)
                }
                None => None,
            },
            revision,
            store: Store::new(&private.join("store")),
            cache: StatCache::load(&private.join("stat-cache")),
        })
    }

    fn found(&self) -> Result<BTreeMap<String, Found>, DiffError> {
        let mut found = BTreeMap::new();
        let there = |stage: &str| {
            // Of a `foreach`, `STAGE@KEY` is made from `STAGE`.
            let name = stage.split('@').next().unwrap_or_default();
            let stages = self.stages.as_ref();
            stages.is_none_or(|all| all.contains(stage) || all.contains(name))
        };
        let outputs = self.lock.iter().flat_map(Lock::outputs);
        for (stage, path, artifact) in outputs.filter(|(stage, ..)| there(stage)) {
            if let Some((file, inside)) = candidate(path, artifact.kind == Kind::Folder) {
                let what = self.look(path, artifact, &file, inside)?;
                let stage = stage.to_owned();
                found.insert(file, Found { stage, what });
            }
        }
        Ok(found)
    }

    /// From the store; otherwise from the workspace, where it is still the same; otherwise from git.
    fn look(
        &self,
        path: &str,
        artifact: Artifact,
        file: &str,
        inside: Option<&str>,
    ) -> Result<What, DiffError> {
        let listing = inside.and_then(|_| self.store.tree(artifact.digest).ok());
        if let (Some(inside), Some(tree)) = (inside, &listing)
            && !tree.entries.iter().any(|entry| entry.path == inside)
        {
            return Ok(What::None);
        }
        // A damaged object is as good as none.
        if let Ok(Some(bytes)) = self.store.read(artifact, inside) {
            return Ok(What::of(file, &bytes));
        }
        let place = self.root.join(path);
        if self.cache.artifact(&place).ok().flatten() == Some(artifact) {
            return Ok(match read_file(&self.root.join(file))? {
                Some(bytes) => What::of(file, &bytes),
                None => What::None,
            });
        }
        if let Some(bytes) = self.repository.file(&self.revision, file)? {
            return Ok(What::of(file, &bytes));
        }
        // An output that is a folder without metrics now most likely had none then.
        let now = fs::stat(&place)?.is_some_and(|metadata| metadata.is_dir());
        if inside.is_some() && now && read_file(&self.root.join(file))?.is_none() {
            return Ok(What::None);
        }
        Ok(What::Gone(artifact))
    }
}

/// The names of the stages in the text of a `pipeline.yaml`, which may be one of another version of
/// krammerti.
fn stage_names(text: &[u8]) -> Option<BTreeSet<String>> {
    let text = std::str::from_utf8(text).ok()?;
    let values = Values::parse(Path::new(PIPELINE), text).ok()?;
    let stages = values.get("stages")?.as_object()?;
    Some(stages.keys().cloned().collect())
}

/// The project as it lies there.
struct Workspace<'a> {
    root: &'a Path,
    pipeline: &'a Pipeline,
}

impl Workspace<'_> {
    fn param_files(&self) -> BTreeSet<String> {
        let stages = self.pipeline.stages().iter();
        let names = stages.flat_map(|stage| stage.params.keys());
        let files = names.filter_map(|name| name.split_once(':'));
        files.map(|(file, _)| file.to_owned()).collect()
    }

    fn found(&self) -> Result<BTreeMap<String, Found>, DiffError> {
        let outputs = self.pipeline.stages().iter().flat_map(|stage| {
            let outputs = stage.outputs.iter();
            outputs.map(|path| (path.as_str(), stage.name.as_str()))
        });
        let mut found = BTreeMap::new();
        for (path, stage) in outputs {
            let Some(metadata) = fs::stat(&self.root.join(path))? else {
                continue;
            };
            let Some((file, _)) = candidate(path, metadata.is_dir()) else {
                continue;
            };
            let what = match read_file(&self.root.join(&file))? {
                Some(bytes) => What::of(&file, &bytes),
                None => What::None,
            };
            let stage = stage.to_owned();
            found.insert(file, Found { stage, what });
        }
        Ok(found)
    }

    /// The stages whose metrics are to be compared and that are to run again.
    fn not_up_to_date(&self, found: &BTreeMap<String, Found>) -> Result<Vec<String>, DiffError> {
        let numbers = |found: &&Found| matches!(found.what, What::Numbers(_));
        let stages: BTreeSet<&str> = found
            .values()
            .filter(numbers)
            .map(|found| found.stage.as_str())
            .collect();
        if stages.is_empty() {
            return Ok(Vec::new());
        }
        let settled = |state| matches!(state, Standing::Fresh | Standing::Frozen | Standing::Off);
        let all = status(self.pipeline, self.root)?.into_iter();
        let open = all.filter(|stage| !settled(stage.state));
        Ok(open
            .map(|stage| stage.stage)
            .filter(|stage| stages.contains(stage.as_str()))
            .collect())
    }
}

/// The file of an output that may hold metrics, and its path in the output where that is a folder.
fn candidate(path: &str, folder: bool) -> Option<(String, Option<&'static str>)> {
    if folder {
        return Some((format!("{path}/{METRICS}"), Some(METRICS)));
    }
    let name = path.rsplit('/').next();
    (name == Some(METRICS)).then(|| (path.to_owned(), None))
}

/// The bytes of a file; `None` where there is none.
fn read_file(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::stat(path)? {
        Some(metadata) if metadata.is_file() => fs::read(path).map(Some),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::Digest;

    fn found(what: What) -> Found {
        Found {
            stage: "s".into(),
            what,
        }
    }

    fn gone(content: &str) -> What {
        What::Gone(Artifact {
            kind: Kind::Folder,
            digest: Digest::of(content.as_bytes()),
        })
    }

    fn sides(then: Option<What>, now: Option<What>) -> Diff {
        let side = |revision: &str| Side {
            revision: Some(revision.into()),
            commit: None,
        };
        let mut diff = Diff {
            from: side("a"),
            to: side("b"),
            params: vec![],
            metrics: vec![],
            unavailable: vec![],
            not_up_to_date: vec![],
            without_lock: vec![],
        };
        let map = |what: Option<What>| {
            what.map(|w| ("m".to_owned(), found(w)))
                .into_iter()
                .collect()
        };
        diff.compare_metrics(&map(then), &map(now));
        diff
    }

    #[test]
    fn metrics_that_came_went_and_changed() {
        let then = What::of("m", br#"{"a": 1, "b": 2, "same": 0.5}"#);
        let now = What::of("m", br#"{"b": 3.5, "c": 4, "same": 0.5}"#);
        let told: Vec<String> = sides(Some(then.clone()), Some(now))
            .metrics
            .iter()
            .map(|m| {
                format!(
                    "{} {:?} {:?} {:?} {}",
                    m.name,
                    m.from,
                    m.to,
                    m.change,
                    m.is_change()
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                "a Some(1.0) None None true",
                "b Some(2.0) Some(3.5) Some(1.5) true",
                "c None Some(4.0) None true",
                "same Some(0.5) Some(0.5) Some(0.0) false",
            ]
        );
        assert_eq!(sides(Some(then.clone()), None).metrics.len(), 3);
        assert_eq!(sides(Some(then), Some(What::None)).metrics.len(), 3);
    }

    #[test]
    fn what_the_store_lacks_is_told_where_somebody_may_miss_it() {
        let numbers = || What::of("m", br#"{"a": 1}"#);
        let missed = |then, now| {
            let diff = sides(then, now);
            assert!(diff.unavailable.is_empty() || diff.metrics.is_empty());
            diff.unavailable
                .iter()
                .map(|u| u.side.revision.clone().unwrap())
                .collect::<String>()
        };
        assert_eq!(missed(Some(gone("1")), Some(numbers())), "a");
        assert_eq!(missed(Some(numbers()), Some(gone("1"))), "b");
        assert_eq!(missed(Some(gone("1")), Some(gone("2"))), "ab");
        assert_eq!(missed(Some(gone("1")), None), "a");
        assert_eq!(missed(Some(gone("1")), Some(gone("1"))), "");
        assert_eq!(missed(Some(gone("1")), Some(What::None)), "");
        assert_eq!(missed(None, Some(What::None)), "");
        let broken = sides(Some(numbers()), Some(What::of("m", b"{")));
        assert!(broken.unavailable[0].reason.starts_with("m is no JSON"));
    }

    #[test]
    fn stages_are_named_whatever_else_a_pipeline_says() {
        let names = |text: &str| stage_names(text.as_bytes());
        let text = "later: 1\nstages: {b: {cmd: x, new: [1]}, a: {}}\n";
        assert_eq!(names(text), Some(["a".into(), "b".into()].into()));
        assert_eq!(names("stages: ["), None);
        assert_eq!(names("stages: 1"), None);
        assert_eq!(names(""), None);
    }

    #[test]
    fn an_output_is_a_candidate_by_its_name() {
        assert_eq!(
            candidate("a/metrics.json", false),
            Some(("a/metrics.json".into(), None))
        );
        assert_eq!(
            candidate("a", true),
            Some(("a/metrics.json".into(), Some("metrics.json")))
        );
        assert_eq!(candidate("my_metrics.json", false), None);
    }
}
