//! `${…}` in texts: of the parameters and of the item of a stage.

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::pipeline::{Commands, shell};

/// The path in `${params.path}`, where that is all of a text.
pub(super) fn parameter(text: &str) -> Option<&str> {
    text.strip_prefix("${params.")?.strip_suffix('}')
}

pub(super) fn named(path: &str, commands: &dyn Commands) -> Result<Value> {
    commands
        .value(path)?
        .with_context(|| format!("params.yaml has no `{path}`"))
}

/// The text of a single value.
pub(in crate::pipeline) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

/// What `${…}` can name.
pub(super) struct Scope<'a> {
    pub(super) commands: &'a dyn Commands,
    pub(super) item: Option<(String, Value)>,
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
    pub(super) fn plain(commands: &'a dyn Commands) -> Self {
        Self {
            commands,
            item: None,
        }
    }

    /// A text in which every `${…}` is ours.
    pub(super) fn word(&self, text: &str) -> Result<String> {
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
    pub(super) fn line(&self, text: &str) -> Result<String> {
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
