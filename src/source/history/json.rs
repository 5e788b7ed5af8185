//! Values at JSON pointers, found in one pass over a body that is never held as a tree.

use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use crate::params::Pointer;

/// The pointers that are looked for, as a tree of keys. A leaf has the number of its pointer.
#[derive(Debug, Default)]
pub(super) struct Tree {
    leaf: Option<usize>,
    children: Vec<(String, Self)>,
    /// Where it stands, for an error.
    at: String,
}

impl Tree {
    /// Of pointers of which none leads into another.
    pub(super) fn new<'p>(pointers: impl IntoIterator<Item = &'p Pointer>) -> Self {
        let mut root = Self::default();
        for (leaf, pointer) in pointers.into_iter().enumerate() {
            let mut node = &mut root;
            for part in pointer.parts() {
                let known = node.children.iter().position(|(key, _)| key == part);
                let place = known.unwrap_or_else(|| {
                    let child = Self {
                        at: format!("{}/{part}", node.at),
                        ..Self::default()
                    };
                    node.children.push((part.clone(), child));
                    node.children.len() - 1
                });
                node = &mut node.children[place].1;
            }
            node.leaf = Some(leaf);
        }
        root
    }

    fn leaves(&self, tell: &mut dyn FnMut(usize)) {
        self.leaf.iter().for_each(|&leaf| tell(leaf));
        self.children
            .iter()
            .for_each(|(_, child)| child.leaves(tell));
    }
}

/// Takes what stands at the pointers.
pub(super) trait Leaves {
    /// The value at a pointer.
    fn read<'de, D: Deserializer<'de>>(&mut self, leaf: usize, from: D) -> Result<(), D::Error>;

    /// There is a null on the way to a pointer.
    fn null(&mut self, leaf: usize);
}

/// Reads one value of JSON, in which pointers begin.
pub(super) struct Walk<'t, 'l, L> {
    pub(super) tree: &'t Tree,
    pub(super) leaves: &'l mut L,
}

impl<'de, L: Leaves> DeserializeSeed<'de> for Walk<'_, '_, L> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        match self.tree.leaf {
            Some(leaf) => self.leaves.read(leaf, from),
            None => from.deserialize_any(self),
        }
    }
}

impl<'de, L: Leaves> Visitor<'de> for Walk<'_, '_, L> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.tree.at.as_str() {
            "" => f.write_str("an object or a list"),
            at => write!(f, "an object or a list at {at}"),
        }
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.tree.leaves(&mut |leaf| self.leaves.null(leaf));
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(child) = map.next_key_seed(Key(self.tree))? {
            match child {
                Some(tree) => map.next_value_seed(Walk {
                    tree,
                    leaves: self.leaves,
                })?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        for place in 0_usize.. {
            let is_it = |(key, _): &&(String, Tree)| Pointer::place(key) == Some(place);
            let more = match self.tree.children.iter().find(is_it) {
                Some((_, tree)) => list
                    .next_element_seed(Walk {
                        tree,
                        leaves: self.leaves,
                    })?
                    .is_some(),
                None => list.next_element::<IgnoredAny>()?.is_some(),
            };
            if !more {
                break;
            }
        }
        Ok(())
    }
}

/// A key, as the tree below it.
struct Key<'t>(&'t Tree);

impl<'de, 't> DeserializeSeed<'de> for Key<'t> {
    type Value = Option<&'t Tree>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_str(self)
    }
}

impl<'t> Visitor<'_> for Key<'t> {
    type Value = Option<&'t Tree>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        let found = self.0.children.iter().find(|(name, _)| name == key);
        Ok(found.map(|(_, tree)| tree))
    }
}

/// A number, a text or nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scalar<'s> {
    Null,
    Whole(i64),
    Number(f64),
    Text(&'s str),
}

/// Hands a scalar on. Anything else is an error, as is what it is handed to says.
pub(super) struct ScalarTo<F> {
    /// What is expected, for an error.
    pub(super) expected: &'static str,
    pub(super) take: F,
}

impl<'de, T, F: FnOnce(Scalar<'_>) -> Result<T, String>> DeserializeSeed<'de> for ScalarTo<F> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<T, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de, T, F: FnOnce(Scalar<'_>) -> Result<T, String>> Visitor<'de> for ScalarTo<F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<T, E> {
        (self.take)(Scalar::Null).map_err(E::custom)
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<T, E> {
        (self.take)(Scalar::Whole(number)).map_err(E::custom)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<T, E> {
        let scalar = i64::try_from(number).map_or(Scalar::Number(number as f64), Scalar::Whole);
        (self.take)(scalar).map_err(E::custom)
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<T, E> {
        (self.take)(Scalar::Number(number)).map_err(E::custom)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        (self.take)(Scalar::Text(text)).map_err(E::custom)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<T, E> {
        Err(E::custom(format!(
            "expected {}, found {value}",
            self.expected
        )))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<T, A::Error> {
        Err(A::Error::custom(format!(
            "expected {}, found a list",
            self.expected
        )))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<T, A::Error> {
        Err(A::Error::custom(format!(
            "expected {}, found an object",
            self.expected
        )))
    }
}

/// Hands the elements of a list on, one after another.
pub(super) struct Each<F> {
    pub(super) element: F,
    /// Whether a null is an empty list.
    pub(super) or_null: bool,
}

/// Reads one element of a list.
pub(super) trait Element {
    /// None where the list has ended.
    fn next<'de, A: SeqAccess<'de>>(&mut self, list: &mut A) -> Result<Option<()>, A::Error>;
}

impl<'de, F: Element> DeserializeSeed<'de> for Each<F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de, F: Element> Visitor<'de> for Each<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        if self.or_null {
            Ok(())
        } else {
            Err(E::custom("expected a list, found null"))
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        while self.element.next(&mut list)?.is_some() {}
        Ok(())
    }
}
