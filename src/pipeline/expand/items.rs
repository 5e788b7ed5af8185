//! The items of `foreach` and `matrix`, each with the key that names its stage.

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use serde_json::{Map, Value};

use super::template::{named, parameter, scalar};
use crate::fs;
use crate::pipeline::{Commands, ProjectPath};

/// The items of `foreach` with their keys.
pub(super) fn each(
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
pub(super) fn key_of_file(file: &str, pattern: &str) -> String {
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
pub(super) fn combinations(
    axes: &[(String, Value)],
    commands: &dyn Commands,
) -> Result<Vec<(String, Value)>> {
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
