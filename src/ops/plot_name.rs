//! Names of the plots of several targets and series.

use std::collections::BTreeSet;

/// Bytes of a name that are kept: no file name has more than 255.
const LONGEST: usize = 90;

/// A file name of `what` for these parts, such as a series and a target, of which empty ones do not
/// count. It is one that no other plot has: names of series may differ in what no file name can hold.
pub(super) fn plot_name(what: &str, parts: &[&str], used: &mut BTreeSet<String>) -> String {
    let plain = |c: char| {
        if c.is_alphanumeric() || "-_.".contains(c) {
            c
        } else {
            '_'
        }
    };
    let parts = parts.iter().filter(|part| !part.is_empty());
    let base = parts.fold(what.to_owned(), |name, part| {
        let mut part: String = part.chars().map(plain).collect();
        part.truncate(part.floor_char_boundary(LONGEST));
        format!("{name}-{part}")
    });
    let mut name = format!("{base}.svg");
    for number in 2.. {
        if used.insert(name.clone()) {
            break;
        }
        name = format!("{base}-{number}.svg");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plot_has_a_name_of_its_own() {
        let mut used = BTreeSet::new();
        let mut name = |parts: &[&str]| plot_name("forecast", parts, &mut used);
        assert_eq!(name(&["", ""]), "forecast.svg");
        assert_eq!(name(&["Calais/1", "t"]), "forecast-Calais_1-t.svg");
        assert_eq!(name(&["Calais 1", "t"]), "forecast-Calais_1-t-2.svg");
        assert_eq!(name(&["", "t"]), "forecast-t.svg");
        let long = "氷".repeat(200);
        assert!(name(&[&long, &long]).len() < 240);
    }
}
