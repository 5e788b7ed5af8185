//! `pipeline.yaml` as a person wrote it: unknown keys are refused, nothing else is checked here.

use std::fmt;

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// The whole file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PipelineSpec {
    /// The stages in the order of the file.
    #[serde(deserialize_with = "in_order")]
    pub stages: Vec<(String, StageSpec)>,
}

/// One stage.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageSpec {
    /// The command, split into words as a shell would, but run without one.
    pub cmd: Cmd,
    /// What a person should know about it.
    pub desc: Option<String>,
    /// Files and folders that it reads, besides those its command names.
    #[serde(default)]
    pub deps: Vec<String>,
    /// Files and folders that it writes, besides those its command names.
    #[serde(default)]
    pub outs: Vec<String>,
    /// Sections or single values of `params.yaml` that it reads, besides those its command reads.
    #[serde(default)]
    pub params: Vec<String>,
}

/// A command as one line or as a list of words.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Cmd {
    /// One line, with quotes where a word has spaces.
    Line(String),
    /// Word by word.
    Words(Vec<String>),
}

/// A map keeps the order in which a person wrote it, and refuses a name that comes twice.
fn in_order<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<(String, StageSpec)>, D::Error> {
    struct Stages;

    impl<'de> Visitor<'de> for Stages {
        type Value = Vec<(String, StageSpec)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("stages by name")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut stages: Self::Value = Vec::new();
            while let Some((name, stage)) = map.next_entry::<String, StageSpec>()? {
                if stages.iter().any(|(other, _)| *other == name) {
                    return Err(A::Error::custom(format!("two stages are named `{name}`")));
                }
                stages.push((name, stage));
            }
            Ok(stages)
        }
    }

    deserializer.deserialize_map(Stages)
}
