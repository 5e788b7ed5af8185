//! YAML into typed values, for files that anybody may have written.
//!
//! A few kilobytes of anchors and aliases can stand for billions of values (the "billion laughs").
//! Where a text has aliases, its values are counted before any of them is kept.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeOwned, DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
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
    serde_yaml::from_str(text).map_err(|error| error.to_string())
}

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
}
