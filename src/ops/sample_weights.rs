//! How much each training window counts, as `train.sample_weights` says.

use std::borrow::Cow;

use anyhow::{Result, bail, ensure};

use crate::data::Dataset;
use crate::params::{Contradiction, SampleWeights};
use crate::time::{Span, format_utc};

/// The weights of windows by their issue rows, 1 on average; none where all count the same.
pub(super) fn sample_weights(
    dataset: &Dataset,
    wanted: &SampleWeights,
    issues: &[usize],
    horizon: usize,
) -> Result<Option<Vec<f32>>> {
    if *wanted == SampleWeights::default() {
        return Ok(None);
    }
    let mut weights = vec![1.0; issues.len()];
    if let Some(half_life) = wanted.half_life {
        let layout = dataset.panel().layout();
        let times: Vec<i64> = issues.iter().map(|&issue| layout.time(issue)).collect();
        times_each(&mut weights, by_age(&times, half_life));
    }
    if let Some(name) = &wanted.column {
        times_each(
            &mut weights,
            by_column(&column(dataset, name)?, issues, horizon),
        );
    }
    let mean = mean(&weights);
    ensure!(
        mean > 0.0 && mean.is_finite(),
        "train.sample_weights: no training window counts, all weights are 0; raise half_life, \
         or look at the column"
    );
    let scaled = weights.iter().map(|weight| (weight / mean) as f32);
    Ok(Some(scaled.collect()))
}

fn times_each(weights: &mut [f64], by: impl IntoIterator<Item = f64>) {
    for (weight, by) in weights.iter_mut().zip(by) {
        *weight *= by;
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// 1 at the latest of these times, half of it a half-life before.
fn by_age(times: &[i64], half_life: Span) -> impl Iterator<Item = f64> {
    let latest = times.iter().max().copied().unwrap_or_default();
    let half_life = half_life.duration().as_secs_f64();
    let age = move |time: &i64| (latest - time) as f64 / half_life;
    times.iter().map(move |time| (-age(time)).exp2())
}

/// The means over the rows after each issue row, of what is there; where nothing is, 0.
fn by_column(values: &[f64], issues: &[usize], horizon: usize) -> impl Iterator<Item = f64> {
    let there = move |issue: &usize| -> Vec<f64> {
        let rows = &values[issue + 1..=issue + horizon];
        rows.iter()
            .copied()
            .filter(|value| !value.is_nan())
            .collect()
    };
    issues.iter().map(move |issue| match there(issue) {
        there if there.is_empty() => 0.0,
        there => mean(&there),
    })
}

/// As how many windows of equal weight they are: the effective sample size of L. Kish, "Survey Sampling",
/// 1965.
pub(super) fn effective(weights: &[f32]) -> f64 {
    let sum: f64 = weights.iter().copied().map(f64::from).sum();
    let squares: f64 = weights
        .iter()
        .map(|&weight| f64::from(weight).powi(2))
        .sum();
    sum * sum / squares
}

/// A column, as shares of its capacity where it has one, of which no value is below 0.
fn column<'d>(dataset: &'d Dataset, name: &str) -> Result<Cow<'d, [f64]>> {
    let columns = &dataset.meta().columns;
    let Some(place) = columns.iter().position(|column| column.name == name) else {
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        bail!(Contradiction(format!(
            "train.sample_weights.column: expected a column of the data set, found `{name}`; it has {}",
            names.join(", ")
        )));
    };
    let panel = dataset.panel();
    let values = panel.columns()[place].values.as_slice();
    if let Some(row) = values
        .iter()
        .position(|value| !value.is_nan() && !(0.0..=f64::MAX).contains(value))
    {
        bail!(
            "train.sample_weights.column: expected numbers from 0 up, found {} in {name} at {}",
            values[row],
            format_utc(panel.layout().time(row))
        );
    }
    Ok(dataset.shares(place, Cow::Borrowed(values)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_half_life_halves() {
        let half_life: Span = "2d".parse().unwrap();
        let day = 86_400;
        let weights: Vec<f64> = by_age(&[0, 2 * day, 3 * day, 4 * day], half_life).collect();
        let half = 0.5_f64.sqrt();
        assert_eq!(weights, [0.25, 0.5, half, 1.0]);
    }

    #[test]
    fn a_column_counts_over_the_horizon_alone() {
        let column = [9.0, 1.0, 3.0, 0.0, 9.0];
        let weights: Vec<f64> = by_column(&column, &[0, 1, 2], 2).collect();
        assert_eq!(weights, [2.0, 1.5, 4.5]);
        let gaps = [9.0, f64::NAN, 3.0, f64::NAN, f64::NAN];
        let weights: Vec<f64> = by_column(&gaps, &[0, 1, 2], 2).collect();
        assert_eq!(weights, [3.0, 3.0, 0.0]);
    }

    #[test]
    fn equal_weights_are_as_many_as_they_are() {
        assert!((effective(&[0.5; 7]) - 7.0).abs() < 1e-9);
        assert!((effective(&[4.0, 0.0, 0.0]) - 1.0).abs() < 1e-9);
    }
}
