//! `krammerti diff`: parameters and metrics, then and now.
//!
//! Parameters are those of `params.yaml` and of other files that stages name. Metrics are the numbers
//! of each output that is a `metrics.json`, or a folder with one at its top. Of a revision, git has
//! `pipeline.lock`, the lock has the digests of what was built, and the store has the bytes.

mod found;
mod git;
mod metrics;
mod past;
mod workspace;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use super::RunError;
use crate::artifact::Artifact;
use crate::fs;
use crate::params::{ParamsError, Values};
use crate::pipeline::{Lock, LockError, Pipeline};
use found::{Found, nothing_to_miss};
use git::Repository;
use metrics::Metric;
use past::Past;
use workspace::Workspace;

pub use git::GitError;

/// The parameter file that every project has.
const PARAMS: &str = "params.yaml";

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
    /// Parameter files that are outside of the repository: nobody knows what they were.
    pub outside: Vec<String>,
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
    let (files, outside): (BTreeSet<String>, BTreeSet<String>) =
        [from.param_files(), to.param_files(), [PARAMS.into()].into()]
            .into_iter()
            .flatten()
            .partition(|file| repository.place(file).is_some());
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
        outside: outside.into_iter().collect(),
    };
    // Against nothing, every metric would look new.
    if diff.without_lock.is_empty() {
        diff.compare_metrics(&then, &now);
    }
    Ok(diff)
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

#[cfg(test)]
mod tests {
    use super::found::What;
    use super::*;
    use crate::artifact::{Digest, Kind};

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
            outside: vec![],
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
}
