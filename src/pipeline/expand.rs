//! From stages as written to one stage each: `foreach`, `matrix` and `${…}`.
//!
//! A value goes into a word of `cmd` after the line was split, and into a line of `sh` quoted as its
//! place there needs it, so that a file name with a space or a `$` stays one word. In `sh`, whatever
//! else looks like `${…}` is the shell's own.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use serde_json::{Map, Value};

use super::spec::{Cmd, OutSpec, ParamsSpec, StageSpec};
use super::{Commands, ProjectPath, shell};
use crate::fs;

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

/// The items of `foreach` with their keys.
fn each(
    items: &Value,
    folder: Option<&ProjectPath>,
    commands: &dyn Commands,
) -> Result<Vec<(String, Value)>> {
    let (source, items) = match items {
        Value::String(text) => match parameter(text) {
            Some(path) => (text.as_str(), named(path, commands).context("foreach")?),
            None => return files(text, folder, commands).context("foreach"),
        },
        other => ("foreach", other.clone()),
    };
    let keyed: Vec<(String, Value)> = match items {
        Value::Array(list) => list
            .into_iter()
            .enumerate()
            .map(|(index, item)| (key_of(&item, index), item))
            .collect(),
        Value::Object(map) => map
            .into_iter()
            .map(|(key, item)| (plain(&key), item))
            .collect(),
        other => bail!("foreach: expected a list or a map, found {other}"),
    };
    ensure!(!keyed.is_empty(), "{source} has no items");
    distinct(keyed)
}

/// A file each. Paths are relative to a folder of the project, as the pattern is.
fn files(
    pattern: &str,
    folder: Option<&ProjectPath>,
    commands: &dyn Commands,
) -> Result<Vec<(String, Value)>> {
    let inside = ProjectPath::within(folder, pattern)
        .and_then(|pattern| ProjectPath::output(pattern.as_str()))
        .map_err(|_| anyhow!("expected a pattern of files in the project, found `{pattern}`"))?;
    let files = commands.glob(inside.as_str())?;
    ensure!(
        !files.is_empty(),
        "no file of the project matches `{inside}`"
    );
    let keyed = files.into_iter().map(|file| {
        let key = plain(&key_of_file(&file, inside.as_str()));
        (key, Value::String(seen_from(folder, &file)))
    });
    distinct(keyed.collect())
}

/// What names a file among those that match a pattern: what stands where the pattern has its stars,
/// from the first to the last, without an ending. It follows from the two alone, so that a new file
/// never gives an old one another name.
fn key_of_file(file: &str, pattern: &str) -> String {
    let star = |part: &&str| part.contains(fs::WILDCARDS);
    let parts: Vec<&str> = pattern.split('/').collect();
    let before = parts.iter().take_while(|part| !star(part)).count();
    let after = parts.iter().rev().take_while(|part| !star(part)).count();
    let names: Vec<&str> = file.split('/').collect();
    let starred = names.get(before..names.len().saturating_sub(after));
    match starred.map(|names| names.join("-")) {
        Some(key) if !key.is_empty() && after == 0 => {
            stem(&key, parts.last().unwrap_or(&"")).to_owned()
        }
        Some(key) if !key.is_empty() => key,
        // A pattern without a star, or whose `**` stands for no folder.
        _ => stem(names.last().unwrap_or(&file), "").to_owned(),
    }
}

/// A name without the ending that the last part of a pattern has (`*.tar.gz`), or without its own.
fn stem<'a>(name: &'a str, pattern: &str) -> &'a str {
    let literal = pattern.rsplit(['*', '?', ']']).next().unwrap_or_default();
    let ending = literal.find('.').map(|dot| &literal[dot..]);
    let stem = match ending.filter(|_| literal.len() < pattern.len()) {
        Some(ending) => name.strip_suffix(ending),
        None => name.rsplit_once('.').map(|(stem, _)| stem),
    };
    stem.filter(|stem| !stem.is_empty()).unwrap_or(name)
}

/// A path of the project as a command sees it that runs in a folder of it.
fn seen_from(folder: Option<&ProjectPath>, file: &str) -> String {
    let Some(folder) = folder.map(ProjectPath::as_str).filter(|path| *path != ".") else {
        return file.to_owned();
    };
    let (mut up, mut rest) = (String::new(), folder);
    loop {
        if let Some(inside) = file
            .strip_prefix(rest)
            .and_then(|path| path.strip_prefix('/'))
        {
            return up + inside;
        }
        up.push_str("../");
        match rest.rsplit_once('/') {
            Some((above, _)) => rest = above,
            None => return up + file,
        }
    }
}

/// Every combination of the values of all axes; the last axis changes fastest.
fn combinations(axes: &[(String, Value)], commands: &dyn Commands) -> Result<Vec<(String, Value)>> {
    let mut all = vec![(Vec::new(), Map::new())];
    for (axis, values) in axes {
        let values = match values {
            Value::String(text) => match parameter(text) {
                Some(path) => named(path, commands).with_context(|| format!("matrix.{axis}"))?,
                None => bail!("matrix.{axis}: expected a list or ${{params.…}}, found `{text}`"),
            },
            other => other.clone(),
        };
        let Value::Array(values) = values else {
            bail!("matrix.{axis}: expected a list, found {values}");
        };
        ensure!(!values.is_empty(), "matrix.{axis} has no values");
        all = all
            .iter()
            .flat_map(|(keys, item)| {
                values.iter().enumerate().map(move |(index, value)| {
                    let (mut keys, mut item) = (keys.clone(), item.clone());
                    keys.push(key_of(value, index));
                    item.insert(axis.clone(), value.clone());
                    (keys, item)
                })
            })
            .collect();
    }
    let keyed = all
        .into_iter()
        .map(|(keys, item)| (keys.join("-"), item.into()));
    distinct(keyed.collect())
}

/// What names an item: itself where it is a plain value, its `name`, or its number.
fn key_of(item: &Value, index: usize) -> String {
    let name = match item {
        Value::Object(map) => map.get("name").unwrap_or(&Value::Null),
        other => other,
    };
    match scalar(name) {
        Some(text) if !text.is_empty() => plain(&text),
        _ => index.to_string(),
    }
}

/// A text as it can stand in the name of a stage.
fn plain(text: &str) -> String {
    let keep = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    text.chars()
        .map(|c| if keep(c) { c } else { '-' })
        .collect()
}

fn distinct(items: Vec<(String, Value)>) -> Result<Vec<(String, Value)>> {
    let mut sorted: Vec<&(String, Value)> = items.iter().collect();
    sorted.sort_by_key(|(key, _)| key);
    match sorted.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        Some([(key, one), (_, other)]) => bail!(
            "the items {one} and {other} both have the key `{key}`: give them other names, or a \
             map of names to items"
        ),
        _ => Ok(items),
    }
}

/// The path in `${params.path}`, where that is all of a text.
fn parameter(text: &str) -> Option<&str> {
    text.strip_prefix("${params.")?.strip_suffix('}')
}

fn named(path: &str, commands: &dyn Commands) -> Result<Value> {
    commands
        .value(path)?
        .with_context(|| format!("params.yaml has no `{path}`"))
}

/// The text of a single value.
pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

/// What `${…}` can name.
struct Scope<'a> {
    commands: &'a dyn Commands,
    item: Option<(String, Value)>,
}

/// A part of a text.
enum Piece<'t> {
    Text(&'t str),
    /// `${NAME}` as a whole, and the name.
    Name(&'t str, &'t str),
    /// A `${` that nothing closes, with the rest.
    Open(&'t str),
}

fn pieces(text: &str) -> Vec<Piece<'_>> {
    let (mut pieces, mut rest) = (Vec::new(), text);
    while let Some(start) = rest.find("${") {
        pieces.push(Piece::Text(&rest[..start]));
        rest = &rest[start..];
        let Some(end) = rest.find('}') else {
            pieces.push(Piece::Open(rest));
            return pieces;
        };
        pieces.push(Piece::Name(&rest[..=end], &rest[2..end]));
        rest = &rest[end + 1..];
    }
    pieces.push(Piece::Text(rest));
    pieces
}

impl<'a> Scope<'a> {
    fn plain(commands: &'a dyn Commands) -> Self {
        Self {
            commands,
            item: None,
        }
    }

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

    /// A text in which every `${…}` is ours.
    fn word(&self, text: &str) -> Result<String> {
        let mut word = String::with_capacity(text.len());
        for piece in pieces(text) {
            match piece {
                Piece::Text(text) => word.push_str(text),
                Piece::Open(_) => bail!("`{text}`: `${{` is not closed"),
                Piece::Name(whole, name) => match self.value(name)? {
                    Some(value) => word.push_str(&value),
                    None => bail!(
                        "`{whole}` names nothing: expected {}${{params.PATH}} \
                         (a variable of the environment needs `sh`)",
                        if self.item.is_some() {
                            "${item}, ${item.FIELD}, ${key} or "
                        } else {
                            ""
                        }
                    ),
                },
            }
        }
        Ok(word)
    }

    /// A line for the shell, whose own is what we do not know.
    fn line(&self, text: &str) -> Result<String> {
        let mut line = shell::Line::default();
        for piece in pieces(text) {
            match piece {
                Piece::Name(_, name) if !line.escaped() => match self.value(name)? {
                    Some(value) => line.value(&value)?,
                    None => line.write(&format!("${{{name}}}")),
                },
                Piece::Text(text) | Piece::Open(text) | Piece::Name(text, _) => line.write(text),
            }
        }
        Ok(line.finish())
    }

    /// The value that a name stands for; `None` where it is none of ours.
    fn value(&self, name: &str) -> Result<Option<String>> {
        let found = match (name.split_once('.'), &self.item) {
            (Some(("params", path)), _) => named(path, self.commands)?,
            (None, Some((key, _))) if name == "key" => Value::String(key.clone()),
            (None, Some((_, item))) if name == "item" => item.clone(),
            (Some(("item", path)), Some((_, item))) => path
                .split('.')
                .try_fold(item, |value, key| value.get(key))
                .with_context(|| format!("the item has no `{path}`: {item}"))?
                .clone(),
            _ => return Ok(None),
        };
        scalar(&found).map(Some).with_context(|| {
            format!("`${{{name}}}` is not a single value but {found}: name one of its parts")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Declared, ProjectPath};
    use super::*;

    struct Fixed;

    impl Commands for Fixed {
        fn is_file(&self, _: &ProjectPath) -> bool {
            false
        }
        fn glob(&self, pattern: &str) -> Result<Vec<String>> {
            Ok(match pattern {
                "texts/*" => vec!["texts/a b.txt".into(), "texts/c.tar.gz".into()],
                "in/odd/*" => vec!["in/odd/it's $5".into()],
                _ => Vec::new(),
            })
        }
        fn declare(&self, _: &[String], _: Option<&ProjectPath>) -> Result<Declared> {
            bail!("no subcommands here")
        }
        fn params(&self, _: Option<&str>, _: Option<&str>) -> Result<BTreeMap<String, String>> {
            Ok(BTreeMap::new())
        }
        fn value(&self, path: &str) -> Result<Option<Value>> {
            let params = serde_json::json!({"stations": ["calais", "dover"], "depth": 2});
            Ok(params.get(path).cloned())
        }
    }

    fn expand_text(text: &str) -> Result<Vec<(String, String)>> {
        let spec: StageSpec = serde_yaml::from_str(text)?;
        let told = |stage: Expanded| (stage.name, stage.words.join("|"));
        Ok(expand("s", &spec, &Fixed)?.into_iter().map(told).collect())
    }

    fn expanded(text: &str) -> Vec<(String, String)> {
        expand_text(text).unwrap()
    }

    fn error(text: &str) -> String {
        format!("{:#}", expand_text(text).unwrap_err())
    }

    fn pair(name: &str, words: &str) -> (String, String) {
        (name.to_owned(), words.to_owned())
    }

    #[test]
    fn a_list_a_map_parameters_and_files() {
        assert_eq!(
            expanded("foreach: [1, two]\ncmd: x ${item} -${key}"),
            [pair("s@1", "x|1|-1"), pair("s@two", "x|two|-two")]
        );
        assert_eq!(
            expanded("foreach: {b: {lat: 50.9}, a: {lat: 1}}\ncmd: x ${key} ${item.lat}"),
            [pair("s@a", "x|a|1"), pair("s@b", "x|b|50.9")]
        );
        assert_eq!(
            expanded("foreach: '${params.stations}'\ncmd: x ${item} ${params.depth}"),
            [pair("s@calais", "x|calais|2"), pair("s@dover", "x|dover|2")]
        );
        assert_eq!(
            expanded("foreach: texts/*\ncmd: wc ${item}"),
            [
                pair("s@a-b", "wc|texts/a b.txt"),
                pair("s@c.tar", "wc|texts/c.tar.gz")
            ]
        );
        assert_eq!(
            expanded("foreach: [{name: n, x: 1}, {x: 2}]\ncmd: x ${item.x}"),
            [pair("s@n", "x|1"), pair("s@1", "x|2")]
        );
    }

    #[test]
    fn a_matrix_is_every_combination() {
        let all = expanded(
            "matrix: {model: [lstm, gru], seed: [1, 2]}\ncmd: x ${item.model} ${item.seed}",
        );
        assert_eq!(all.len(), 4);
        assert_eq!(all[1], pair("s@lstm-2", "x|lstm|2"));
    }

    #[test]
    fn a_value_stays_one_word_and_the_shell_keeps_its_own() {
        assert_eq!(
            expanded("foreach: texts/*\nsh: wc ${item} > ${HOME}/${key}; y ${x\n")[0],
            pair("s@a-b", "sh|-ec|wc 'texts/a b.txt' > ${HOME}/a-b; y ${x")
        );
    }

    #[test]
    fn a_file_is_named_by_what_the_stars_stand_for() {
        for (file, pattern, key) in [
            ("texts/a.txt", "texts/*.txt", "a"),
            ("texts/2020.01.txt", "texts/*.txt", "2020.01"),
            ("texts/c.tar.gz", "texts/*.tar.gz", "c"),
            ("texts/c.tar.gz", "texts/*", "c.tar"),
            ("texts/text-1.txt", "texts/text-?.txt", "text-1"),
            ("a.txt", "*.txt", "a"),
            ("Makefile", "M*", "Makefile"),
            ("s/calais/raw.csv", "s/*/raw.csv", "calais"),
            ("s/calais/2020/raw.csv", "s/*/*/raw.csv", "calais-2020"),
            ("s/calais/2020.csv", "s/*/*.csv", "calais-2020"),
            ("s/a/b/c.csv", "s/**/*.csv", "a-b-c"),
            ("s/c.csv", "s/**/*.csv", "c"),
            ("s/c.csv", "s/**/c.csv", "c"),
            ("s/c.csv", "s/c.csv", "c"),
            ("s/a1/x.csv", "s/a[0-9]/x.csv", "a1"),
        ] {
            assert_eq!(key_of_file(file, pattern), key, "{file} by {pattern}");
        }
    }

    #[test]
    fn a_pattern_is_relative_to_the_folder_of_the_stage() {
        let in_odd = pair("s@it-s--5", "sh|-ec|wc 'it'\\''s $5'");
        let line = |wdir: &str, pattern: &str| {
            expanded(&format!(
                "wdir: {wdir}\nforeach: '{pattern}'\nsh: wc '${{item}}'\n"
            ))
        };
        assert_eq!(line("in/odd", "*"), [in_odd]);
        assert_eq!(
            line("in/texts", "../odd/*")[0].1,
            "sh|-ec|wc '../odd/it'\\''s $5'"
        );
        assert_eq!(
            line("elsewhere", "../in/odd/*")[0].1,
            "sh|-ec|wc '../in/odd/it'\\''s $5'"
        );
        assert_eq!(
            line("'w-${key}'", "in/odd/*")[0].1,
            "sh|-ec|wc 'in/odd/it'\\''s $5'"
        );
    }

    #[test]
    fn a_backslash_leaves_a_name_to_the_shell() {
        assert_eq!(
            expanded("foreach: [1]\nsh: echo \\${item} ${item}\n"),
            [pair("s@1", "sh|-ec|echo \\${item} 1")]
        );
    }

    #[test]
    fn what_names_nothing_is_told() {
        assert!(error("cmd: x ${HOME}").contains("`${HOME}` names nothing"));
        assert!(error("cmd: x ${params.nope}").contains("params.yaml has no `nope`"));
        assert!(error("cmd: x ${params.stations}").contains("not a single value"));
        assert!(error("cmd: x ${item").contains("not closed"));
        assert!(error("foreach: [{a: 1}]\ncmd: x ${item.b}").contains("no `b`"));
        assert!(error("foreach: nothing/*\ncmd: x").contains("no file"));
        assert!(error("foreach: []\ncmd: x").contains("no items"));
        assert!(error("foreach: [a/b, a-b]\ncmd: x").contains("\"a/b\" and \"a-b\" both have"));
        assert!(error("foreach: ../x/*\ncmd: x").contains("in the project, found `../x/*`"));
        assert!(error("foreach: '${params.nope}'\ncmd: x").contains("foreach: params.yaml"));
        assert!(error("foreach: [1]\nmatrix: {a: [1]}\ncmd: x").contains("combined"));
        assert!(error("cmd: x\nsh: y").contains("both"));
        assert!(error("desc: x").contains("no command"));
    }
}
