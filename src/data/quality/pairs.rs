//! Columns that must not contradict each other: a dew point lies at or below the temperature, a
//! gust at or above the mean wind.

use rayon::prelude::*;

use super::super::Table;
use super::columns::ColumnRule;
use super::quantity::{CELSIUS, METRES_PER_SECOND};
use super::report::{Check, Example, Finding, number};
use super::sieve::Mark;
use super::tally::Tally;
use crate::params::{Action, OrderedPair, QualityParams, Quantity};
use crate::physics::Conversion;

/// Sensors of two quantities agree no better than this, in °C or m/s: WMO-No. 8 asks 0.1 to 0.3 °C
/// of a thermometer, and a dew point is computed from two of them.
const TOLERANCE: f64 = 0.5;

/// What a pair of columns gives.
pub(super) struct Outcome {
    pub(super) finding: Finding,
    /// Column, and rows whose value becomes missing. Both columns: which one is wrong is not known.
    pub(super) masks: [(usize, Vec<usize>); 2],
    pub(super) drops: Vec<Mark>,
}

/// The pairs that parameters name, or those that names and units tell.
pub(super) fn check(table: &Table, rules: &[ColumnRule], params: &QualityParams) -> Vec<Outcome> {
    if params.consistency == Action::Off {
        return Vec::new();
    }
    let pairs = params
        .pairs
        .clone()
        .unwrap_or_else(|| found_by_name(table, rules));
    let place = |name: &str| {
        table
            .columns()
            .iter()
            .position(|column| column.name == name)
    };
    let there: Vec<(&OrderedPair, usize, usize)> = (pairs.iter())
        .filter_map(|pair| Some((pair, place(&pair.low)?, place(&pair.high)?)))
        .collect();
    let check = |&(pair, low, high): &(&OrderedPair, usize, usize)| {
        check_pair(table, rules, params.consistency, pair, (low, high))
    };
    there.par_iter().map(check).collect()
}

fn check_pair(
    table: &Table,
    rules: &[ColumnRule],
    action: Action,
    pair: &OrderedPair,
    (low, high): (usize, usize),
) -> Outcome {
    let name = format!("{} ≤ {}", pair.low, pair.high);
    let mut tally = Tally::new(table, Check::Consistency, Some(&name), action);
    let [lower, upper] = [low, high].map(|place| &table.columns()[place]);
    // Of units that nobody knows, a person said that they can be compared.
    let same =
        Conversion::ignoring_case(&upper.unit, &lower.unit).filter(|_| upper.unit != lower.unit);
    for (row, (&below, &above)) in lower.values.iter().zip(&upper.values).enumerate() {
        let comparable = same.map_or(above, |same| same.convert(above));
        let contradict = below > comparable + pair.tolerance;
        if contradict && rules[low].believes(below) && rules[high].believes(above) {
            tally.hit(row, || {
                let expected = format!("at most {} of {}", number(above), pair.high);
                Example::at(table, row, Some(below), expected)
            });
        }
    }
    let (finding, rows) = tally.finish(table.rows());
    let mark = |&row: &usize| Mark {
        row,
        check: Check::Consistency,
        column: Some(low),
    };
    let (masks, drops) = match action {
        Action::Mask => ([(low, rows.clone()), (high, rows)], Vec::new()),
        _ => (
            [(low, Vec::new()), (high, Vec::new())],
            rows.iter().map(mark).collect(),
        ),
    };
    Outcome {
        finding,
        masks,
        drops,
    }
}

fn found_by_name(table: &Table, rules: &[ColumnRule]) -> Vec<OrderedPair> {
    let names = |quantity: Quantity| {
        let columns = table.columns().iter().zip(rules);
        columns
            .filter(|(_, rule)| rule.quantity == quantity)
            .map(|(column, _)| column.name.as_str())
            .collect::<Vec<_>>()
    };
    let pair = |low: &str, high: &str, unit: &str| {
        let own = table.column(low).ok()?;
        let to_own = Conversion::ignoring_case(unit, &own.unit)?;
        Some(OrderedPair {
            low: low.to_owned(),
            high: high.to_owned(),
            tolerance: to_own.convert_difference(TOLERANCE),
        })
    };
    let mut pairs = Vec::new();
    for dew in names(Quantity::DewPoint) {
        let air = partner(dew, &names(Quantity::Temperature));
        pairs.extend(air.and_then(|air| pair(dew, air, CELSIUS)));
    }
    for gust in names(Quantity::Gust) {
        let wind = partner(gust, &names(Quantity::WindSpeed));
        pairs.extend(wind.and_then(|wind| pair(wind, gust, METRES_PER_SECOND)));
    }
    pairs
}

/// The column at the same height, or the only one there is, where its height may be the same.
fn partner<'a>(name: &str, others: &[&'a str]) -> Option<&'a str> {
    let height = |name: &str| {
        let tail = name.rsplit('_').next()?;
        let digits = tail.strip_suffix('m')?;
        digits.parse::<u32>().ok()
    };
    if let [only] = others {
        let heights = height(name).zip(height(only));
        return Some(*only).filter(|_| heights.is_none_or(|(one, other)| one == other));
    }
    let wanted = height(name)?;
    others
        .iter()
        .copied()
        .find(|other| height(other) == Some(wanted))
}
