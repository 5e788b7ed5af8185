//! Whether the rows after the training part come from another distribution.
//!
//! The measure is the population stability index: over ten bins that each hold a tenth of the
//! training part, `PSI = Σ (q − p) · ln(q / p)` with the shares p of the training part and q of the
//! rest (Siddiqi, Credit Risk Scorecards, 2006; Yurdakul, Statistical Properties of PSI, 2018). By
//! custom up to 0.1 is no change and above 0.25 a large one. It is the Kullback–Leibler divergence
//! made symmetric, without a unit, and needs no assumption on the distribution.
//!
//! That winter is no summer is no drift: only whole years next to the border are compared, and
//! parts shorter than one not at all (`limits.drift_span`).

use super::super::{Column, Table};
use super::Setting;
use super::columns::ColumnRule;
use super::groups::Group;
use super::report::{Check, Example, Finding, number};
use super::tally::Tally;
use crate::params::{Action, Quantity};

/// Bins of the index.
const BINS: usize = 10;
/// Values looked at in each part of a series, evenly spread: enough for the third digit of the index.
const SAMPLE: usize = 100_000;
/// Of many series fewer are looked at in each, but no fewer than these: the second digit.
const LEAST_SAMPLE: usize = 5_000;
/// Fewer values than this say nothing about ten bins.
const ENOUGH: usize = 200;

/// Compares the part after the training part with it, series by series; what is told is the
/// greatest index. `None` where that cannot be done.
pub(super) fn check(
    table: &Table,
    groups: &[Group<'_>],
    column: &Column,
    rule: &ColumnRule,
    setting: &Setting<'_>,
) -> Option<Finding> {
    let params = setting.params;
    // A direction is a circle, on which bins of a line mean little.
    if params.drift == Action::Off || rule.quantity == Quantity::Direction {
        return None;
    }
    let largest = (SAMPLE / groups.len().max(1)).max(LEAST_SAMPLE);
    let mut tally = Tally::new(table, Check::Drift, Some(&column.name), params.drift);
    let mut greatest: Option<f64> = None;
    let mut compared = 0;
    for group in groups {
        let values = &column.values[group.rows.clone()];
        let Some((psi, border)) = index(group.axis(), values, largest, rule, setting) else {
            continue;
        };
        compared += 1;
        greatest = Some(greatest.map_or(psi, |other| other.max(psi)));
        if psi > params.drift_psi {
            let row = group.rows.start + border;
            tally.count(row, 1);
            tally.show(|| {
                let limit = number(params.drift_psi);
                let expected = format!("at most {limit} against the training part");
                Example::at(table, row, Some(psi), expected)
            });
        }
    }
    tally.measure(greatest?);
    Some(tally.finish(compared).0)
}

/// The index of one series, and the first row after its training part. The rows are in order of
/// `times`; these are the issue times of forecasts.
fn index(
    times: &[i64],
    values: &[f64],
    largest: usize,
    rule: &ColumnRule,
    setting: &Setting<'_>,
) -> Option<(f64, usize)> {
    let params = setting.params;
    let (first, last) = (*times.first()?, *times.last()?);
    // The same for every series: of one that begins later there may be nothing before it.
    let border = setting.train_until;
    if (border - first).min(last - border) < params.drift_span.seconds() {
        return None;
    }
    let (before, after) = whole_spans(first, border, last, params.drift_span.seconds());
    let row = |time: i64| times.partition_point(|&other| other < time);
    let (from, row, to) = (row(before), row(border), row(after));
    let train = sample(&values[from..row], largest, rule);
    let rest = sample(&values[row..to], largest, rule);
    // Logarithms differ in the last bit from machine to machine; a report must not.
    let psi = (stability_index(train, &rest)? * 1e6).round() / 1e6;
    Some((psi, row))
}

/// Where whole spans around the border begin and end, none of them empty: fourteen months hold two
/// winters and one summer.
fn whole_spans(first: i64, border: i64, last: i64, span: i64) -> (i64, i64) {
    let whole = |length: i64| length / span * span;
    (
        border - whole(border - first),
        border + whole(last - border),
    )
}

fn sample(values: &[f64], largest: usize, rule: &ColumnRule) -> Vec<f64> {
    let stride = values.len().div_ceil(largest).max(1);
    let spread = values.iter().copied().step_by(stride);
    spread.filter(|&value| rule.believes(value)).collect()
}

/// The population stability index of some values against those of the training part.
fn stability_index(mut train: Vec<f64>, rest: &[f64]) -> Option<f64> {
    if train.len().min(rest.len()) < ENOUGH {
        return None;
    }
    train.sort_unstable_by(f64::total_cmp);
    let mut borders: Vec<f64> = (1..BINS)
        .map(|bin| train[bin * train.len() / BINS])
        .collect();
    borders.dedup();
    let shares = |values: &[f64]| {
        let mut counts = vec![0_usize; borders.len() + 1];
        for value in values {
            counts[borders.partition_point(|border| border <= value)] += 1;
        }
        // An empty bin would make the index infinite.
        let share = |count: usize| (count as f64 / values.len() as f64).max(1e-4);
        counts.into_iter().map(share).collect::<Vec<f64>>()
    };
    let pairs = shares(&train).into_iter().zip(shares(rest));
    Some(pairs.map(|(p, q)| (q - p) * (q / p).ln()).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_years_are_compared() {
        let year = 365;
        assert_eq!(whole_spans(0, 1000, 1800, year), (270, 1730));
        assert_eq!(whole_spans(0, 365, 730, year), (0, 730));
        assert_eq!(whole_spans(-5, 395, 800, 1), (-5, 800));
    }

    #[test]
    fn the_index_of_known_shares() {
        let line = |from: usize, to: usize| (from..to).map(|i| i as f64).collect::<Vec<f64>>();
        let train = line(0, 1000);
        let same = stability_index(train.clone(), &train).unwrap();
        assert!(same.abs() < 1e-12, "{same}");
        // All of the rest in one of ten bins: (1 − 0.1) ln(10) + 9 (0.0001 − 0.1) ln(0.001).
        let moved = stability_index(train.clone(), &line(900, 1000).repeat(3)).unwrap();
        let expected = 0.9 * 10_f64.ln() + 9.0 * (1e-4 - 0.1) * 1e-3_f64.ln();
        assert!((moved - expected).abs() < 1e-9, "{moved} {expected}");
        assert_eq!(stability_index(train, &line(0, 199)), None);
        assert_eq!(stability_index(vec![], &[]), None);
    }
}
