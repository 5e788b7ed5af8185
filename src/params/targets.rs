//! The columns that are forecast, and what one of them can have of its own.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Bounds;

/// The columns to forecast: at least one, each named once. Written as a name where there is one, and
/// as a list of names where there are several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Targets(Vec<String>);

impl Targets {
    /// Their names, in the order in which they were written.
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// Whether a column is one of them.
    pub fn contains(&self, column: &str) -> bool {
        self.0.iter().any(|name| name == column)
    }
}

impl<'de> Deserialize<'de> for Targets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Names).map(Self)
    }
}

/// A list of targets names some, and each once.
fn check<E: Error>(names: Vec<String>) -> Result<Vec<String>, E> {
    if names.is_empty() {
        return Err(E::custom(
            "expected at least one column to forecast, found an empty list",
        ));
    }
    let twice = |(place, name): &(usize, &String)| names[..*place].contains(name);
    match names.iter().enumerate().find(twice) {
        Some((_, name)) => Err(E::custom(format!(
            "expected different columns to forecast, found `{name}` twice"
        ))),
        None => Ok(names),
    }
}

/// Reads a name or a list of them. A column may be called `0`, which YAML takes for a number.
struct Names;

impl<'de> Visitor<'de> for Names {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a column, or a list of names")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Vec<String>, E> {
        Ok(vec![name.to_owned()])
    }

    fn visit_u64<E: Error>(self, name: u64) -> Result<Vec<String>, E> {
        Ok(vec![name.to_string()])
    }

    fn visit_i64<E: Error>(self, name: i64) -> Result<Vec<String>, E> {
        Ok(vec![name.to_string()])
    }

    fn visit_bool<E: Error>(self, name: bool) -> Result<Vec<String>, E> {
        Ok(vec![name.to_string()])
    }

    fn visit_f64<E: Error>(self, name: f64) -> Result<Vec<String>, E> {
        let message = format!("a number is no name of a column: put {name:?} into quotes");
        Err(E::custom(message))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Vec<String>, A::Error> {
        let mut names = Vec::new();
        // By a type of its own, which takes what each of them is written as.
        while let Some(Name(name)) = all.next_element()? {
            names.push(name);
        }
        check(names)
    }
}

/// One name, as YAML has it: a column or series may be called `1`.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name(pub(super) String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut names = deserializer.deserialize_any(Names)?;
        match (names.pop(), names.is_empty()) {
            (Some(name), true) => Ok(Self(name)),
            _ => Err(D::Error::custom("expected names, found a list in a list")),
        }
    }
}

impl Serialize for Targets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => one.serialize(serializer),
            several => several.serialize(serializer),
        }
    }
}

impl fmt::Display for Targets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}

/// Values that targets never leave: the same for all of them, or by their names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, try_from = "BTreeMap<String, Entry>")]
pub enum TargetBounds {
    /// Of every target, in its own unit.
    Same(Bounds),
    /// Of those named; the others have none.
    Each(BTreeMap<String, Bounds>),
}

/// What stands under a key of `bounds`.
#[derive(Clone, Copy, Deserialize)]
#[serde(untagged, expecting = "a number, or `lower` and `upper` of a target")]
enum Entry {
    Number(Option<f64>),
    Of(Bounds),
}

impl TargetBounds {
    /// Those of a target.
    pub fn of(&self, target: &str) -> Bounds {
        match self {
            Self::Same(bounds) => *bounds,
            Self::Each(each) => each.get(target).copied().unwrap_or_default(),
        }
    }

    /// Whether there are none.
    pub fn is_open(&self) -> bool {
        self.iter().all(|(_, bounds)| bounds.is_open())
    }

    /// All that were given, with the name of their target where it was.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Option<&str>, Bounds)> {
        let (same, each) = match self {
            Self::Same(bounds) => (Some((None, *bounds)), None),
            Self::Each(each) => (None, Some(each)),
        };
        let each = each.into_iter().flatten();
        same.into_iter()
            .chain(each.map(|(name, bounds)| (Some(name.as_str()), *bounds)))
    }

    /// A name that is none of these targets, so that its bounds would change nothing.
    pub fn stranger(&self, targets: &Targets) -> Option<&str> {
        self.iter()
            .filter_map(|(name, _)| name)
            .find(|name| !targets.contains(name))
    }
}

impl Default for TargetBounds {
    fn default() -> Self {
        Self::Same(Bounds::default())
    }
}

impl From<Bounds> for TargetBounds {
    fn from(bounds: Bounds) -> Self {
        Self::Same(bounds)
    }
}

impl TryFrom<BTreeMap<String, Entry>> for TargetBounds {
    type Error = String;

    fn try_from(entries: BTreeMap<String, Entry>) -> Result<Self, String> {
        let mut same = Bounds::default();
        let mut each = BTreeMap::new();
        for (key, entry) in &entries {
            match (key.as_str(), entry) {
                ("lower", Entry::Number(bound)) => same.lower = *bound,
                ("upper", Entry::Number(bound)) => same.upper = *bound,
                (_, Entry::Of(bounds)) => {
                    each.insert(key.clone(), *bounds);
                }
                (_, Entry::Number(_)) => {
                    return Err(format!(
                        "expected `lower`, `upper` or the name of a target with these below it, \
                         found `{key}`"
                    ));
                }
            }
        }
        match (same.is_open(), each.is_empty()) {
            (true, false) => Ok(Self::Each(each)),
            (_, true) => Ok(Self::Same(same)),
            (false, false) => {
                Err("expected bounds of all targets or of each by its name, found both".to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yaml<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
        serde_yaml::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn targets_read_as_they_are_written() {
        for (text, json) in [
            ("t", "\"t\""),
            ("[t]", "\"t\""),
            ("[t, w]", "[\"t\",\"w\"]"),
            ("0", "\"0\""),
            ("[0, -1, true, '1.50']", "[\"0\",\"-1\",\"true\",\"1.50\"]"),
        ] {
            let targets: Targets = yaml(text).unwrap();
            assert_eq!(serde_json::to_string(&targets).unwrap(), json);
            assert_eq!(serde_json::from_str::<Targets>(json).unwrap(), targets);
        }
        let targets: Targets = yaml("[t, w]").unwrap();
        assert!(targets.contains("w") && !targets.contains("x"));
        assert_eq!(targets.to_string(), "t, w");
    }

    #[test]
    fn what_names_no_targets_is_told() {
        for (text, told) in [
            ("[]", "at least one column"),
            ("[t, w, t]", "found `t` twice"),
            ("{t: 1}", "the name of a column, or a list of names"),
            ("1.50", "put 1.5 into quotes"),
            ("[t, [w, x]]", "a list in a list"),
            ("[[]]", "at least one column"),
        ] {
            let error = yaml::<Targets>(text).unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
        }
    }

    #[test]
    fn bounds_are_of_all_targets_or_of_each() {
        let same: TargetBounds = yaml("{lower: 0}").unwrap();
        let lower = |lower| Bounds {
            lower: Some(lower),
            upper: None,
        };
        assert_eq!((same.of("a"), same.of("b")), (lower(0.0), lower(0.0)));
        let each: TargetBounds = yaml("{a: {lower: 1}, lower: {lower: 2}}").unwrap();
        assert_eq!((each.of("a"), each.of("lower")), (lower(1.0), lower(2.0)));
        assert!(each.of("b").is_open() && !each.is_open());
        assert_eq!(each.stranger(&yaml("[a, b]").unwrap()), Some("lower"));
        assert_eq!(same.stranger(&yaml("a").unwrap()), None);
        assert!(yaml::<TargetBounds>("{}").unwrap().is_open());
        let null: TargetBounds = yaml("{lower: 0, upper: null}").unwrap();
        assert_eq!(null, same);
        for bounds in [same, each] {
            let json = serde_json::to_string(&bounds).unwrap();
            assert_eq!(serde_json::from_str::<TargetBounds>(&json).unwrap(), bounds);
        }
    }

    #[test]
    fn what_are_no_bounds_is_told() {
        for (text, told) in [
            ("{lowr: 0}", "found `lowr`"),
            ("{a: null}", "found `a`"),
            ("{lower: 0, a: {lower: 1}}", "found both"),
            ("{a: {lowr: 1}}", "`lower` and `upper` of a target"),
        ] {
            let error = yaml::<TargetBounds>(text).unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
        }
    }
}
