//! YAML into typed values, for files that anybody may have written.
//!
//! A few kilobytes of anchors and aliases can stand for billions of values (the "billion laughs").
//! Where a text has aliases, its values are counted before any of them is kept.

use std::cell::Cell;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Error, MapAccess, SeqAccess, Unexpected, Visitor,
};
use serde::{Deserialize, Deserializer};

/// How many values a text may stand for: far more than any pipeline has, and soon counted.
const MOST: u32 = 2_000_000;

/// Reads a text. An error is one line, with line and column where the parser has them.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    if text.contains('&') && text.contains('*') {
        let left = Cell::new(MOST);
        let count = Count { left: &left };
        let counted = count.deserialize(serde_yaml::Deserializer::from_str(text));
        // Any other mistake is told better by whoever knows the types.
        if left.get() == 0 {
            return Err(counted
                .err()
                .map_or_else(String::new, |error| error.to_string()));
        }
    }
    serde_yaml::from_str(text).map_err(|error| plain(&error.to_string()))
}

/// What serde says of a value, in words of those who write it: its types are Rust's.
pub fn plain(message: &str) -> String {
    let (what, place) = match message.rfind(" at line ") {
        Some(at) => message.split_at(at),
        None => (message, ""),
    };
    let told = mistyped(what).or_else(|| misspelt(what));
    told.unwrap_or_else(|| what.to_owned()) + place
}

/// `KEY: invalid type: FOUND, expected WANTED`, the other way round.
fn mistyped(message: &str) -> Option<String> {
    let (key, rest) = ["invalid type: ", "invalid value: "]
        .iter()
        .find_map(|kind| message.split_once(kind))?;
    let (found, wanted) = rest.rsplit_once(", expected ")?;
    let wanted = match wanted {
        "usize" | "u8" | "u16" | "u32" | "u64" | "isize" | "i8" | "i16" | "i32" | "i64" => {
            "a whole number"
        }
        "f32" | "f64" => "a number",
        "a sequence" => "a list",
        rust if rust.contains("enum ") || rust.contains("struct ") => "a section",
        other => other,
    };
    let found = match found {
        "unit value" => "nothing".to_owned(),
        "sequence" => "a list".to_owned(),
        "map" => "a section".to_owned(),
        number => number.replace("floating point ", "number "),
    };
    Some(format!("{key}expected {wanted}, found {found}"))
}

/// A key that nothing has, with the one that it is most like.
fn misspelt(message: &str) -> Option<String> {
    let (before, rest) = message.split_once("unknown field `")?;
    let (key, expected) = rest.split_once("`, expected ")?;
    let names = expected.split('`').skip(1).step_by(2);
    let alike = |name: &&str| strsim::damerau_levenshtein(key, name);
    let meant = names.min_by_key(alike).filter(|name| alike(name) <= 2)?;
    Some(format!(
        "{before}unknown field `{key}`, did you mean `{meant}`? Expected {expected}"
    ))
}

/// Reads a text into values of JSON, which has no numbers that are not finite: they would become
/// nothing at all.
pub fn parse_finite(text: &str) -> Result<serde_json::Value, String> {
    if text.contains(".n") || text.contains(".N") || text.contains(".i") || text.contains(".I") {
        require_finite(&parse(text)?, &mut Vec::new())?;
    }
    parse(text)
}

fn require_finite(value: &serde_yaml::Value, path: &mut Vec<String>) -> Result<(), String> {
    let mut within = |key: String, value: &serde_yaml::Value| {
        path.push(key);
        let result = require_finite(value, path);
        path.pop();
        result
    };
    match value {
        serde_yaml::Value::Number(number) if !number.is_finite() => {
            let place = if path.is_empty() {
                String::new()
            } else {
                format!("{}: ", path.join("."))
            };
            Err(format!("{place}expected a finite number, found {number}"))
        }
        serde_yaml::Value::Sequence(items) => {
            (items.iter().enumerate()).try_for_each(|(index, item)| within(index.to_string(), item))
        }
        serde_yaml::Value::Mapping(entries) => entries.iter().try_for_each(|(key, value)| {
            let key = serde_yaml::to_string(key).unwrap_or_default();
            within(key.trim().to_owned(), value)
        }),
        serde_yaml::Value::Tagged(tagged) => require_finite(&tagged.value, path),
        _ => Ok(()),
    }
}

/// Reads a section whose `kind` says what else belongs to it; none at all is its default. An error names
/// the section: serde reads such a one aside, and would name what it stands in.
pub fn kind_or_default<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Deserialize<'de> + Default,
    D: Deserializer<'de>,
{
    deserializer.deserialize_any(KindVisitor(Some(T::default())))
}

/// A section whose `kind` says what else belongs to it, as a value of a map.
#[derive(Debug)]
pub struct OfKind<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OfKind<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KindVisitor(None)).map(Self)
    }
}

/// With what stands for nothing at all.
struct KindVisitor<T>(Option<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for KindVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a section with its `kind`")
    }

    fn visit_unit<E: Error>(mut self) -> Result<T, E> {
        let nothing = self.0.take();
        nothing.ok_or_else(|| E::invalid_type(Unexpected::Unit, &self))
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(entries))
    }
}

/// Has structs read from sections alone, where serde takes a list of their fields in order, too. They derive
/// their `Deserialize` with `#[serde(remote = "Self")]`.
macro_rules! sections {
    ($($name:ty),+ $(,)?) => { $(
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                struct Section;

                impl<'de> serde::de::Visitor<'de> for Section {
                    type Value = $name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("a section")
                    }

                    fn visit_map<A: serde::de::MapAccess<'de>>(
                        self,
                        entries: A,
                    ) -> Result<$name, A::Error> {
                        <$name>::deserialize(serde::de::value::MapAccessDeserializer::new(entries))
                    }
                }

                from.deserialize_map(Section)
            }
        }
    )+ };
}
pub(crate) use sections;

/// Goes through values and keeps none.
#[derive(Clone, Copy)]
struct Count<'a> {
    left: &'a Cell<u32>,
}

impl Count<'_> {
    fn one<E: Error>(self) -> Result<(), E> {
        match self.left.get() {
            0 | 1 => {
                self.left.set(0);
                Err(E::custom(format!(
                    "its aliases stand for more than {MOST} values"
                )))
            }
            left => {
                self.left.set(left - 1);
                Ok(())
            }
        }
    }
}

impl<'de> DeserializeSeed<'de> for Count<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Count<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.one()
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.one()
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.one()
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.one()
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        self.one()
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.one()
    }

    fn visit_none<E: Error>(self) -> Result<(), E> {
        self.one()
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<(), D::Error> {
        inner.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        self.one()?;
        while items.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        self.one()?;
        while entries.next_key_seed(self)?.is_some() {
            entries.next_value_seed(self)?;
        }
        Ok(())
    }

    fn visit_enum<A: serde::de::EnumAccess<'de>>(self, value: A) -> Result<(), A::Error> {
        use serde::de::VariantAccess;
        // A tagged value: its tag, and what it stands before.
        let (_, inner) = value.variant::<Tag>()?;
        inner.newtype_variant_seed(self)
    }
}

/// The tag of a value, whatever it is.
#[derive(Deserialize)]
struct Tag(#[expect(dead_code, reason = "only read over")] String);

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_text_reads_as_ever() {
        let text = "a: &x [1, two, 0.5, null, true]\nb: *x\nc: {d: *x}\n";
        let value: Value = parse(text).unwrap();
        assert_eq!(value["c"]["d"], value["a"]);
        let error = parse::<Value>("a: &x 1\nb: *y\n").unwrap_err();
        assert!(error.contains("line 2"), "{error}");
    }

    #[test]
    fn a_bomb_is_refused_before_it_unfolds() {
        let words = |word: &str, count: usize| vec![word; count].join(",");
        let text = format!(
            "a: &a [{}]\nb: &b [{}]\nc: [{}]\n",
            words("x", 400),
            words("*a", 200),
            words("*b", 300)
        );
        let error = parse::<Value>(&text).unwrap_err();
        assert!(error.contains("2000000 values"), "{error}");
    }

    #[test]
    fn mistakes_are_told_in_plain_words() {
        for (said, told) in [
            (
                "a.b: invalid type: string \"x\", expected a sequence at line 5 column 9",
                "a.b: expected a list, found string \"x\" at line 5 column 9",
            ),
            (
                "hidden: invalid type: floating point `1.5`, expected usize",
                "hidden: expected a whole number, found number `1.5`",
            ),
            (
                "loss: invalid type: unit value, expected f64",
                "loss: expected a number, found nothing",
            ),
            (
                "schedule: invalid type: string \"cosine\", expected internally tagged enum Schedule",
                "schedule: expected a section, found string \"cosine\"",
            ),
            (
                "model: unknown field `hiden`, expected one of `kind`, `hidden` at line 2 column 3",
                "model: unknown field `hiden`, did you mean `hidden`? Expected one of `kind`, `hidden` at line 2 column 3",
            ),
            (
                "unknown field `x`, expected `kind` or `hidden`",
                "unknown field `x`, expected `kind` or `hidden`",
            ),
            ("something else", "something else"),
        ] {
            assert_eq!(plain(said), told);
        }
    }
}
