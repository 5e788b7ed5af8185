//! The numbers of a `metrics.json`, each under a name that does not depend on its place in a list.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

/// The fields by which an item of a list is told from the others, the first ones first.
const NAMES: [&str; 3] = ["name", "lead_h", "level"];

/// The name of a number: `overall.rmse`, `by_lead[lead_h=1].rmse`. Sorts as a person would, lead 2
/// before lead 10.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Metric(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Key(String),
    /// An item of a list: field and value.
    Numbered(&'static str, Total),
    Named(&'static str, String),
    At(usize),
}

/// A number that can be sorted.
#[derive(Clone, Copy, Debug)]
struct Total(f64);

impl Ord for Total {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Total {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Total {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Total {}

impl Metric {
    /// Whether it belongs to an item of a list.
    pub(super) fn is_in_list(&self) -> bool {
        self.0.iter().any(|part| !matches!(part, Part::Key(_)))
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.0.iter().enumerate() {
            match part {
                Part::Key(key) if index == 0 => f.write_str(key),
                Part::Key(key) => write!(f, ".{key}"),
                Part::Numbered(field, Total(value)) => write!(f, "[{field}={value}]"),
                Part::Named(field, value) => write!(f, "[{field}={value}]"),
                Part::At(index) => write!(f, "[{index}]"),
            }?;
        }
        Ok(())
    }
}

/// All numbers of a document. Texts and truth values are no metrics.
pub(super) fn numbers(document: &Value) -> BTreeMap<Metric, f64> {
    let mut found = BTreeMap::new();
    collect(document, &mut Vec::new(), &mut found);
    found
}

// No deeper than serde_json lets a document be.
fn collect(value: &Value, place: &mut Vec<Part>, found: &mut BTreeMap<Metric, f64>) {
    match value {
        Value::Number(number) => {
            if let Some(number) = number.as_f64() {
                found.insert(Metric(place.clone()), number);
            }
        }
        Value::Object(map) => {
            // What names an item is no metric of it.
            let name = place.last().and_then(Part::field);
            for (key, value) in map.iter().filter(|(key, _)| Some(key.as_str()) != name) {
                place.push(Part::Key(key.clone()));
                collect(value, place, found);
                place.pop();
            }
        }
        Value::Array(items) => {
            for (part, item) in parts(items).into_iter().zip(items) {
                place.push(part);
                collect(item, place, found);
                place.pop();
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

impl Part {
    /// The field that names an item.
    fn field(&self) -> Option<&'static str> {
        match self {
            Self::Numbered(field, _) | Self::Named(field, _) => Some(field),
            Self::Key(_) | Self::At(_) => None,
        }
    }
}

/// What to call the items of a list: by the first field that all have and that tells them apart,
/// otherwise by their places.
fn parts(items: &[Value]) -> Vec<Part> {
    let by = |field: &'static str| -> Option<Vec<Part>> {
        let parts = items.iter().map(|item| match item.get(field)? {
            Value::Number(number) => Some(Part::Numbered(field, Total(number.as_f64()?))),
            Value::String(name) => Some(Part::Named(field, name.clone())),
            _ => None,
        });
        let parts = parts.collect::<Option<Vec<_>>>()?;
        let different: BTreeSet<&Part> = parts.iter().collect();
        (different.len() == parts.len()).then_some(parts)
    };
    NAMES
        .iter()
        .find_map(|field| by(field))
        .unwrap_or_else(|| (0..items.len()).map(Part::At).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(document: &Value) -> Vec<String> {
        let numbers = numbers(document);
        let told = numbers
            .iter()
            .map(|(metric, value)| format!("{metric} {value}"));
        told.collect()
    }

    #[test]
    fn items_of_lists_are_named_by_what_they_are() {
        let document = serde_json::json!({
            "model": "ridge",
            "windows": 10,
            "good": true,
            "overall": {"rmse": 1.5, "bias": null},
            "by_lead": [{"lead_h": 10, "rmse": 3.0}, {"lead_h": 2, "rmse": 2.0}],
            "pinball": [{"level": 0.1, "loss": 0.2}, {"level": 0.05, "loss": 0.1}],
            "by_class": [{"name": "b", "level": 1, "f1": 0.5}, {"name": "a", "level": 1, "f1": 0.25}],
            "losses": [3, [1.5]]
        });
        assert_eq!(
            told(&document),
            [
                "by_class[name=a].f1 0.25",
                "by_class[name=a].level 1",
                "by_class[name=b].f1 0.5",
                "by_class[name=b].level 1",
                "by_lead[lead_h=2].rmse 2",
                "by_lead[lead_h=10].rmse 3",
                "losses[0] 3",
                "losses[1][0] 1.5",
                "overall.rmse 1.5",
                "pinball[level=0.05].loss 0.1",
                "pinball[level=0.1].loss 0.2",
                "windows 10",
            ]
        );
    }

    #[test]
    fn a_field_that_does_not_tell_items_apart_is_no_name() {
        let twice = serde_json::json!([{"name": "a", "x": 1}, {"name": "a", "x": 2}]);
        assert_eq!(told(&twice), ["[0].x 1", "[1].x 2"]);
        let some = serde_json::json!({"l": [{"name": "a", "x": 1}, {"x": 2}]});
        assert_eq!(told(&some), ["l[0].x 1", "l[1].x 2"]);
        let other = serde_json::json!({"l": [{"name": "a", "level": 1, "x": 1}, {"name": "a", "level": 2, "x": 2}]});
        assert_eq!(told(&other), ["l[level=1].x 1", "l[level=2].x 2"]);
        assert_eq!(told(&Value::Null), [""; 0]);
        assert_eq!(told(&serde_json::json!([])), [""; 0]);
    }

    #[test]
    fn what_is_in_a_list_is_known() {
        let all = numbers(&serde_json::json!({"a": 1, "b": {"c": [{"name": "x", "d": 1}]}}));
        let in_list: Vec<bool> = all.keys().map(Metric::is_in_list).collect();
        assert_eq!(in_list, [false, true]);
    }
}
