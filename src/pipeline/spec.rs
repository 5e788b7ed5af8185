//! `pipeline.yaml` as a person wrote it: unknown keys are refused, nothing else is checked here.
//!
//! The comments of these types are the documentation of the file: the JSON schema for editors
//! (`krammerti schema`) is made from them.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::de::{Error, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::time::Span;

/// A pipeline of krammerti: stages, each one command with what it reads and writes.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "pipeline.yaml")]
pub struct PipelineSpec {
    /// The stages by name. They run in the order in which they need one another, otherwise in the
    /// order of the file.
    #[serde(deserialize_with = "in_order")]
    #[schemars(with = "BTreeMap<String, StageSpec>")]
    pub stages: Vec<(String, StageSpec)>,
    /// How much of each resource the machine has for stages that run side by side. `threads` is the
    /// number of processors and `gpu` that of GPUs where nothing else is said; every other name is
    /// a token of your own, such as a licence or a slow disk.
    #[serde(default, deserialize_with = "counts::<_, 1>")]
    #[schemars(extend("additionalProperties" = {"type": "integer", "minimum": 1}))]
    pub resources: BTreeMap<String, u32>,
    /// What to run when a stage fails, where the stage itself says nothing.
    pub on_failure: Option<Cmd>,
}

/// A stage.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "the keys of a stage, such as `cmd`")]
#[schemars(extend("oneOf" = [{"required": ["cmd"]}, {"required": ["sh"]}]))]
pub struct StageSpec {
    /// The command: one line, split into words as a shell would but run without one, or a list of
    /// words. A subcommand of krammerti says by itself what it reads and writes. Of other programs, a
    /// word that is a file of the project, what another stage writes, or the folder that it writes into,
    /// counts as an input.
    pub cmd: Option<Cmd>,
    /// A line for the shell (`sh -ec`), instead of `cmd`: for redirection, pipes and patterns. Words
    /// count as inputs as those of `cmd` do, but for what stands behind a `>`. `${item}`, `${key}` and
    /// `${params.…}` are put in so that they stay one word; every other `${…}` is the shell's.
    pub sh: Option<String>,
    /// What a person should know about the stage.
    pub desc: Option<String>,
    /// Files and folders that it reads, besides those its command names.
    #[serde(default)]
    pub deps: Vec<String>,
    /// Files and folders that it writes, besides those its command names: a path, one with a `/` at
    /// its end for a folder, or `PATH: {cache: false}`.
    #[serde(default)]
    pub outs: Vec<OutSpec>,
    /// Parameters that it reads, besides those its command reads: sections or single values of
    /// `params.yaml` by dotted path, or `FILE: [PATHS]` for another YAML or JSON file.
    #[serde(default)]
    pub params: Vec<ParamsSpec>,
    /// Environment variables that decide its result. Not for secrets: the lock holds a digest of
    /// each value.
    #[serde(default)]
    pub env: Vec<String>,
    /// The folder that the command runs in; the paths and patterns of this stage are relative to it.
    pub wdir: Option<String>,
    /// One stage for each item: a list, a map of names to items, `${params.a.b}` for a list or map
    /// of `params.yaml`, or a pattern of files such as `texts/*.txt`. The stage is named
    /// `STAGE@KEY`; its strings may hold `${item}`, `${item.field}` and `${key}`. The key of a value is
    /// the value, that of a map its `name`, that of a file what the stars of the pattern stand for.
    #[schemars(with = "Option<ItemsSchema>")]
    pub foreach: Option<Value>,
    /// One stage for each combination of the values of these axes, named `STAGE@A-B`; its strings
    /// may hold `${item.axis}` and `${key}`.
    #[serde(default, deserialize_with = "in_order")]
    #[schemars(with = "BTreeMap<String, AxisSchema>")]
    pub matrix: Vec<(String, Value)>,
    /// How long a result holds although nothing changed, for a stage that reads the outer world.
    pub fresh_for: Option<Span>,
    /// Never run it: its outputs are taken as they lie, or from the store. It waits for no other stage.
    #[serde(default)]
    pub frozen: bool,
    /// Run it every time.
    #[serde(default)]
    pub always: bool,
    /// Parameters of `params.yaml` and the value, or list of values, that each must have. Otherwise
    /// this stage, and those that need it, are left out. `null` stands for one that is not set.
    #[serde(default)]
    pub when: BTreeMap<String, Value>,
    /// How often to try again after a failure.
    #[serde(default, deserialize_with = "count")]
    pub retries: u32,
    /// How long to wait before the first of these tries (1s by default); twice as long before each
    /// further one.
    pub retry_delay: Option<Span>,
    /// How long one try may take.
    pub timeout: Option<Span>,
    /// How much it takes of each resource while it runs: `threads`, `gpu`, or tokens of your own.
    #[serde(default, deserialize_with = "counts::<_, 0>")]
    pub resources: BTreeMap<String, u32>,
    /// What to run when it has failed for good: a command, told `KRAMMERTI_STAGE`,
    /// `KRAMMERTI_ERROR`, `KRAMMERTI_LOG`, `KRAMMERTI_ATTEMPT` and `KRAMMERTI_RUN`. It may take a
    /// minute. It is not run after Ctrl-C, SIGTERM or where another run holds an output.
    pub on_failure: Option<Cmd>,
    /// Run it confined (Landlock): reading an undeclared file of the project, or writing anywhere
    /// but to its outputs, fails.
    #[serde(default)]
    pub strict: bool,
}

/// A command as one line or as a list of words.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(untagged)]
pub enum Cmd {
    /// One line, with quotes where a word has spaces.
    Line(String),
    /// Word by word.
    Words(Vec<String>),
}

/// An output: its path, or `PATH: {cache: false}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutSpec {
    /// Where it lies.
    pub path: String,
    /// Whether the store keeps it.
    pub cache: bool,
}

/// What can be said of an output.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map such as {cache: false}")]
struct OutOptions {
    /// Whether the store keeps it, so that it can come back without running. `false` for what is
    /// large and cheap to make, or kept in git.
    #[serde(default = "yes")]
    cache: bool,
}

/// Parameters: a dotted path in `params.yaml`, or paths in another file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamsSpec {
    /// Another file than `params.yaml`.
    pub file: Option<String>,
    /// Dotted paths; none stands for all of the file.
    pub paths: Vec<String>,
}

/// A list, a map, `${params.a.b}` or a pattern of files.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "a shape for the schema only")]
enum ItemsSchema {
    /// `${params.a.b}`, or a pattern of files.
    Named(String),
    /// Items.
    List(Vec<Value>),
    /// Items by name.
    Map(BTreeMap<String, Value>),
}

/// A list, or `${params.a.b}`.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "a shape for the schema only")]
enum AxisSchema {
    /// `${params.a.b}`.
    Named(String),
    /// Values.
    List(Vec<Value>),
}

fn yes() -> bool {
    true
}

/// A map in the order in which a person wrote it; a name that comes twice is refused.
fn in_order<'de, D, T>(deserializer: D) -> Result<Vec<(String, T)>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Entries<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
        type Value = Vec<(String, T)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map by name")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let (mut entries, mut names) = (Vec::new(), HashSet::new());
            while let Some((name, entry)) = map.next_entry::<String, T>()? {
                if !names.insert(name.clone()) {
                    return Err(A::Error::custom(format!("`{name}` comes twice")));
                }
                entries.push((name, entry));
            }
            Ok(entries)
        }
    }

    deserializer.deserialize_map(Entries(PhantomData))
}

fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    Ok(Count::<0>::deserialize(deserializer)?.0)
}

fn counts<'de, D, const LEAST: u32>(deserializer: D) -> Result<BTreeMap<String, u32>, D::Error>
where
    D: Deserializer<'de>,
{
    let counts = BTreeMap::<String, Count<LEAST>>::deserialize(deserializer)?;
    Ok(counts.into_iter().map(|(name, n)| (name, n.0)).collect())
}

/// A whole number, which a person is told to expect rather than a `u32`.
struct Count<const LEAST: u32>(u32);

impl<'de, const LEAST: u32> Deserialize<'de> for Count<LEAST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number<const LEAST: u32>;

        impl<const LEAST: u32> Visitor<'_> for Number<LEAST> {
            type Value = Count<LEAST>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a whole number from {LEAST} on")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
                match u32::try_from(number) {
                    Ok(number) if number >= LEAST => Ok(Count(number)),
                    _ => Err(E::invalid_value(Unexpected::Unsigned(number), &self)),
                }
            }
        }

        deserializer.deserialize_any(Number)
    }
}

impl<'de> Deserialize<'de> for Cmd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LineOrWords;

        impl<'de> Visitor<'de> for LineOrWords {
            type Value = Cmd;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("one line of text, or a list of words")
            }

            fn visit_str<E: Error>(self, line: &str) -> Result<Cmd, E> {
                Ok(Cmd::Line(line.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut words: A) -> Result<Cmd, A::Error> {
                let mut all = Vec::new();
                while let Some(word) = words.next_element()? {
                    all.push(word);
                }
                Ok(Cmd::Words(all))
            }
        }

        deserializer.deserialize_any(LineOrWords)
    }
}

/// A text, or a map with a single entry.
enum TextOr<T> {
    Text(String),
    Entry(String, T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for TextOr<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = TextOr<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, or one name with what belongs to it")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(TextOr::Text(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let entry = map.next_entry()?;
                match (entry, map.next_key::<String>()?) {
                    (Some((name, value)), None) => Ok(TextOr::Entry(name, value)),
                    _ => Err(A::Error::custom(
                        "expected one name with what belongs to it; give each a line (`- `) of its own",
                    )),
                }
            }
        }

        deserializer.deserialize_any(Either(PhantomData))
    }
}

impl<'de> Deserialize<'de> for OutSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match TextOr::<OutOptions>::deserialize(deserializer)? {
            TextOr::Text(path) => Self { path, cache: true },
            TextOr::Entry(path, OutOptions { cache }) => Self { path, cache },
        })
    }
}

impl JsonSchema for OutSpec {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Out".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        text_or_entry("A path.", &generator.subschema_for::<OutOptions>())
    }
}

impl<'de> Deserialize<'de> for ParamsSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(
            match TextOr::<Option<Vec<String>>>::deserialize(deserializer)? {
                TextOr::Text(path) => Self {
                    file: None,
                    paths: vec![path],
                },
                TextOr::Entry(file, paths) => Self {
                    file: Some(file),
                    paths: paths.unwrap_or_default(),
                },
            },
        )
    }
}

impl JsonSchema for ParamsSpec {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Params".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        text_or_entry(
            "A dotted path in params.yaml.",
            &generator.subschema_for::<Option<Vec<String>>>(),
        )
    }
}

fn text_or_entry(text: &str, entry: &schemars::Schema) -> schemars::Schema {
    schemars::json_schema!({
        "anyOf": [
            { "type": "string", "description": text },
            { "type": "object", "additionalProperties": entry, "minProperties": 1, "maxProperties": 1 }
        ]
    })
}

/// The JSON schema of `pipeline.yaml`, for editors.
pub fn schema() -> String {
    let schema = schemars::schema_for!(PipelineSpec);
    serde_json::to_string_pretty(&schema).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(text: &str) -> Result<StageSpec, String> {
        serde_yaml::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn outs_and_params_have_a_short_and_a_long_form() {
        let spec = stage(
            "outs: [a, {b: {cache: false}}]\nparams: [x.y, {other.yaml: [z]}, {all.yaml: }]\n",
        )
        .unwrap();
        let outs: Vec<_> = spec
            .outs
            .iter()
            .map(|out| (out.path.as_str(), out.cache))
            .collect();
        assert_eq!(outs, [("a", true), ("b", false)]);
        let files: Vec<_> = spec
            .params
            .iter()
            .map(|params| (params.file.as_deref(), params.paths.len()))
            .collect();
        assert_eq!(
            files,
            [(None, 1), (Some("other.yaml"), 1), (Some("all.yaml"), 0)]
        );
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, says) in [
            ("cmd: x\nouts:\n  - a: {cach: false}\n", "cach"),
            ("cmd: x\nouts:\n  - {a: {}, b: {}}\n", "one name"),
            ("cmd: x\ntimeout: 5m\n", "10min"),
            ("cmd: x\nretries: -1\n", "retries"),
            ("cmd: x\nmatrix: {a: [1], a: [2]}\n", "`a` comes twice"),
        ] {
            let error = stage(text).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn every_key_of_the_schema_is_described() {
        let schema: Value = serde_json::from_str(&schema()).unwrap();
        let stage = &schema["$defs"]["StageSpec"]["properties"];
        let stage = stage.as_object().unwrap();
        let file = schema["properties"].as_object().unwrap();
        assert!(stage.len() > 18, "{stage:?}");
        for (key, value) in file.iter().chain(stage) {
            assert!(value["description"].is_string(), "{key} is not described");
        }
        assert_eq!(schema["additionalProperties"], false);
    }
}
