//! What a side has of the files that may hold metrics.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde_json::Value;

use super::metrics::{Metric, numbers};
use super::{Side, Unavailable};
use crate::artifact::Artifact;
use crate::fs;

/// What holds metrics, by convention.
const METRICS: &str = "metrics.json";

/// What a side has of a file that may hold metrics.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    pub(super) stage: String,
    pub(super) what: What,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum What {
    Numbers(BTreeMap<Metric, f64>),
    /// The folder has no such file.
    None,
    /// It is in the store no longer; of a folder nobody knows whether it had the file.
    Gone(Artifact),
    /// It is no JSON.
    Broken(String),
}

impl What {
    pub(super) fn of(file: &str, bytes: &[u8]) -> Self {
        match serde_json::from_slice::<Value>(bytes) {
            Ok(document) => Self::Numbers(numbers(&document)),
            Err(error) => Self::Broken(format!("{file} is no JSON: {error}")),
        }
    }
}

impl Found {
    /// Why this cannot be compared, where it cannot.
    pub(super) fn unavailable(&self, file: &str, side: &Side) -> Option<Unavailable> {
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

    pub(super) fn numbers(&self) -> BTreeMap<Metric, f64> {
        match &self.what {
            What::Numbers(numbers) => numbers.clone(),
            _ => BTreeMap::new(),
        }
    }
}

/// Whether one side's folder has no metrics and the other's is gone, or both are gone and the same.
pub(super) fn nothing_to_miss(then: Option<&Found>, now: Option<&Found>) -> bool {
    match (then.map(|found| &found.what), now.map(|found| &found.what)) {
        (Some(What::None), Some(What::Gone(_))) | (Some(What::Gone(_)), Some(What::None)) => true,
        (Some(What::Gone(then)), Some(What::Gone(now))) => then == now,
        _ => false,
    }
}

/// The file of an output that may hold metrics, and its path in the output where that is a folder.
pub(super) fn candidate(path: &str, folder: bool) -> Option<(String, Option<&'static str>)> {
    if folder {
        return Some((format!("{path}/{METRICS}"), Some(METRICS)));
    }
    let name = path.rsplit('/').next();
    (name == Some(METRICS)).then(|| (path.to_owned(), None))
}

/// The bytes of a file; `None` where there is none.
pub(super) fn read_file(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::stat(path)? {
        Some(metadata) if metadata.is_file() => fs::read(path).map(Some),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
