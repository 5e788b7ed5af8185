//! A JSON object a line. A column is a key of it, or a JSON pointer (RFC 6901) into it: `/main/temp`.
//!
//! Only what is wanted is kept; everything else is read over.

use std::io::BufRead;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::rows::{Field, Row, Rows};
use super::text::Text;
use super::{bad_row, some_of, wrong};
use crate::params::Pointer;
use crate::source::SourceError;

/// The longest line: more is no row.
const LONGEST: usize = 16 << 20;

pub(super) fn read(mut text: Text<'_>, file: &str, rows: &mut Rows<'_>) -> Result<(), SourceError> {
    let is_packed = text.is_packed();
    let names: Vec<String> = rows.wanted().iter().map(|&name| name.to_owned()).collect();
    let root = Node::new(&names);
    let mut found = Found::new(names.len());
    let mut line = Vec::new();
    let mut first_keys: Option<String> = None;
    for number in 1.. {
        line.clear();
        let is_there = read_line(&mut text, &mut line)
            .map_err(|error| Text::fault(file, is_packed, &error))?;
        if line.len() > LONGEST {
            let message =
                format!("expected a JSON object, found a line of more than {LONGEST} bytes");
            return Err(bad_row(file, number, message));
        }
        if !is_there {
            break;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        found.clear();
        let seed = Seed {
            node: &root,
            found: &mut found,
        };
        let mut json = serde_json::Deserializer::from_slice(&line);
        seed.deserialize(&mut json)
            .and_then(|()| json.end())
            .map_err(|error| {
                let error = error.to_string();
                let reason = error.split(" at line ").next().unwrap_or_default();
                bad_row(file, number, format!("expected a JSON object: {reason}"))
            })?;
        if !line.trim_ascii_start().starts_with(b"{") {
            let message = "expected a JSON object, found another value".to_owned();
            return Err(bad_row(file, number, message));
        }
        if first_keys.is_none() {
            first_keys = Some(keys(&line));
        }
        rows.add(&found)
            .map_err(|message| bad_row(file, number, message))?;
    }
    // A name that no line has is a wrong name, not a missing value.
    let Some(keys) = first_keys else {
        return Ok(());
    };
    match found.seen.iter().position(|seen| !seen) {
        Some(slot) => Err(wrong(
            file,
            format!("no line has `{}`; the first one has {keys}", names[slot]),
        )),
        None => Ok(()),
    }
}

/// One line with its end, or a part of one that is too long.
fn read_line(text: &mut Text<'_>, line: &mut Vec<u8>) -> std::io::Result<bool> {
    loop {
        let buffer = text.fill_buf()?;
        if buffer.is_empty() {
            return Ok(!line.is_empty());
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(buffer.len(), |end| end + 1);
        line.extend_from_slice(&buffer[..taken]);
        text.consume(taken);
        if end.is_some() || line.len() > LONGEST {
            return Ok(true);
        }
    }
}

/// The keys of an object, for an error.
fn keys(line: &[u8]) -> String {
    let object = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(line);
    let object = object.unwrap_or_default();
    some_of(object.keys().map(|key| key.as_str().into()))
}

/// What is wanted of a value.
#[derive(Default)]
struct Node {
    slot: Option<usize>,
    children: Vec<(String, Self)>,
}

impl Node {
    fn new(names: &[String]) -> Self {
        let mut root = Self::default();
        for (slot, name) in names.iter().enumerate() {
            let mut node = &mut root;
            match name.strip_prefix('/') {
                Some(pointer) => {
                    for part in pointer.split('/') {
                        node = node.child(&part.replace("~1", "/").replace("~0", "~"));
                    }
                }
                None => node = node.child(name),
            }
            node.slot = Some(slot);
        }
        root
    }

    fn child(&mut self, name: &str) -> &mut Self {
        let place = self.children.iter().position(|(child, _)| child == name);
        let place = place.unwrap_or_else(|| {
            self.children.push((name.to_owned(), Self::default()));
            self.children.len() - 1
        });
        &mut self.children[place].1
    }

    fn find(&self, name: &str) -> Option<&Self> {
        let child = self.children.iter().find(|(child, _)| child == name);
        child.map(|(_, node)| node)
    }
}

/// What a line has of what is wanted.
struct Found {
    values: Vec<Value>,
    /// The texts of values, whose room is used again.
    texts: Vec<String>,
    /// Whether any line had it, with a value or `null`.
    seen: Vec<bool>,
}

#[derive(Clone, Copy)]
enum Value {
    Missing,
    Number(f64),
    Whole(i128),
    Text,
    Other(&'static str),
}

impl Found {
    fn new(count: usize) -> Self {
        Self {
            values: vec![Value::Missing; count],
            texts: vec![String::new(); count],
            seen: vec![false; count],
        }
    }

    fn clear(&mut self) {
        self.values.fill(Value::Missing);
    }
}

impl Row for Found {
    fn field(&self, slot: usize) -> Field<'_> {
        match self.values[slot] {
            Value::Missing => Field::Missing,
            Value::Number(number) => Field::Number(number),
            Value::Whole(number) => Field::Whole(number),
            Value::Text => Field::Text(self.texts[slot].as_bytes()),
            Value::Other(what) => Field::Other(what),
        }
    }
}

/// Takes what is wanted out of one value.
struct Seed<'a> {
    node: &'a Node,
    found: &'a mut Found,
}

impl Seed<'_> {
    fn put(self, value: Value) {
        if let Some(slot) = self.node.slot {
            self.found.values[slot] = value;
            self.found.seen[slot] = true;
        }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.put(Value::Missing);
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.put(Value::Other("true or false"));
        Ok(())
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        self.put(Value::Whole(number.into()));
        Ok(())
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        self.put(Value::Whole(number.into()));
        Ok(())
    }

    fn visit_f64<E>(self, number: f64) -> Result<(), E> {
        self.put(Value::Number(number));
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        if let Some(slot) = self.node.slot {
            let room = &mut self.found.texts[slot];
            room.clear();
            room.push_str(text);
        }
        self.put(Value::Text);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(child) = map.next_key_seed(Key(self.node))? {
            match child {
                Some(node) => map.next_value_seed(Seed {
                    node,
                    found: &mut *self.found,
                })?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        self.put(Value::Other("an object"));
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let mut at = 0_usize;
        loop {
            let is_it = |(name, _): &&(String, Node)| Pointer::place(name) == Some(at);
            let is_there = match self.node.children.iter().find(is_it) {
                Some((_, node)) => list
                    .next_element_seed(Seed {
                        node,
                        found: &mut *self.found,
                    })?
                    .is_some(),
                None => list.next_element::<IgnoredAny>()?.is_some(),
            };
            if !is_there {
                break;
            }
            at += 1;
        }
        self.put(Value::Other("a list"));
        Ok(())
    }
}

/// Finds what is wanted under a key.
struct Key<'a>(&'a Node);

impl<'de, 'a> DeserializeSeed<'de> for Key<'a> {
    type Value = Option<&'a Node>;

    fn deserialize<D: serde::Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'a> Visitor<'_> for Key<'a> {
    type Value = Option<&'a Node>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.find(name))
    }
}
