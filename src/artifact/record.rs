//! What a key once gave: a build record.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Artifact;

/// The outputs that a stage's command made, by path. Found by the stage's key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Output path → what was there.
    pub outputs: BTreeMap<String, Artifact>,
    /// When the command ended, in seconds since 1970. Not known of records of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub built: Option<i64>,
    /// What it was built on, name → value, as the command said: versions, device, threads.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub built_on: BTreeMap<String, String>,
    /// The outputs that the store had no room for: they were in their places and nowhere else.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unstored: BTreeSet<String>,
}
