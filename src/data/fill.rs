//! Short gaps of a column on a fixed step, filled; which rows were is handed back, for a mask.
//!
//! A straight line needs the value after the gap, so nobody has it while the gap lasts: a row that
//! it filled holds something of the future. [`Fill::Last`] and [`Fill::Seasonal`] use the past
//! alone, and so may not ask how long a gap will be either: they fill the first rows of every gap,
//! as one would who lives through it. What is longer stays missing.

use std::ops::Range;

/// How a gap is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// By a straight line between the values before and after it. Gaps that are too long, or at an
    /// end, stay missing as a whole.
    Linear,
    /// By the value before it.
    Last,
    /// By what was there one season before. Where that was missing, this is.
    Seasonal {
        /// Rows of a season; positive.
        season: usize,
    },
    /// Not at all.
    None,
}

/// Fills gaps: at most `longest` rows of each, or by a line only gaps of at most so many rows.
/// Returns the rows that have a value now, in order.
pub fn fill(values: &mut [f64], how: Fill, longest: usize) -> Vec<Range<usize>> {
    if longest == 0 || how == Fill::None {
        return Vec::new();
    }
    let mut filled = Vec::new();
    let mut from = 0;
    while let Some(gap) = next_gap(values, from) {
        from = gap.end;
        match how {
            Fill::Linear if gap.len() <= longest => filled.extend(line(values, gap)),
            Fill::Last => filled.extend(repeat(values, first_rows(&gap, longest))),
            Fill::Seasonal { season } => {
                copy_season(values, first_rows(&gap, longest), season, &mut filled);
            }
            Fill::Linear | Fill::None => {}
        }
    }
    filled
}

/// The first gap that begins at a row or after it.
fn next_gap(values: &[f64], from: usize) -> Option<Range<usize>> {
    let start = from + values[from..].iter().position(|value| value.is_nan())?;
    let length = values[start..].iter().position(|value| !value.is_nan());
    Some(start..length.map_or(values.len(), |length| start + length))
}

fn first_rows(gap: &Range<usize>, longest: usize) -> Range<usize> {
    gap.start..gap.end.min(gap.start.saturating_add(longest))
}

fn line(values: &mut [f64], gap: Range<usize>) -> Option<Range<usize>> {
    let before = values[gap.start.checked_sub(1)?];
    let after = *values.get(gap.end)?;
    let steps = (gap.len() + 1) as f64;
    for (k, value) in values[gap.clone()].iter_mut().enumerate() {
        *value = before + (after - before) * ((k + 1) as f64 / steps);
    }
    Some(gap)
}

fn repeat(values: &mut [f64], rows: Range<usize>) -> Option<Range<usize>> {
    let before = values[rows.start.checked_sub(1)?];
    values[rows.clone()].fill(before);
    Some(rows)
}

/// Row after row: in a gap longer than a season, what was filled repeats.
fn copy_season(
    values: &mut [f64],
    rows: Range<usize>,
    season: usize,
    filled: &mut Vec<Range<usize>>,
) {
    let mut start = None;
    for row in rows.clone() {
        if let Some(before) = row.checked_sub(season) {
            values[row] = values[before];
        }
        match (values[row].is_nan(), start) {
            (false, None) => start = Some(row),
            (true, Some(first)) => {
                filled.push(first..row);
                start = None;
            }
            _ => {}
        }
    }
    filled.extend(start.map(|first| first..rows.end));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::data::same_value;

    const N: f64 = f64::NAN;
    const DAY: Fill = Fill::Seasonal { season: 3 };

    /// What becomes of values, and which rows were filled.
    #[track_caller]
    fn assert_filled(
        values: &[f64],
        how: Fill,
        longest: usize,
        expected: &[f64],
        rows: &[(usize, usize)],
    ) {
        let mut found = values.to_vec();
        let filled = fill(&mut found, how, longest);
        let filled: Vec<_> = filled.iter().map(|run| (run.start, run.end)).collect();
        assert_eq!(filled, rows);
        let bits = |values: &[f64]| -> Vec<Option<f64>> {
            (values.iter().map(|v| (!v.is_nan()).then_some(*v))).collect()
        };
        assert_eq!(bits(&found), bits(expected));
    }

    #[test]
    fn a_line_fills_short_gaps_and_no_end() {
        let values = [N, 1.0, N, N, 4.0, N, N, N, 8.0, N];
        let expected = [N, 1.0, 2.0, 3.0, 4.0, N, N, N, 8.0, N];
        assert_filled(&values, Fill::Linear, 2, &expected, &[(2, 4)]);
    }

    #[test]
    fn the_last_value_fills_the_first_rows_of_every_gap() {
        let values = [N, 1.0, N, N, N, 4.0, N];
        let expected = [N, 1.0, 1.0, 1.0, N, 4.0, 4.0];
        assert_filled(&values, Fill::Last, 2, &expected, &[(2, 4), (6, 7)]);
    }

    #[test]
    fn a_season_repeats_and_its_holes_too() {
        let values = [1.0, N, 3.0, N, N, N, N, 8.0];
        let expected = [1.0, N, 3.0, 1.0, N, 3.0, 1.0, 8.0];
        assert_filled(&values, DAY, 9, &expected, &[(3, 4), (5, 7)]);
        let expected = [1.0, N, 3.0, 1.0, N, N, N, 8.0];
        assert_filled(&values, DAY, 2, &expected, &[(3, 4)]);
    }

    #[test]
    fn degenerate_input() {
        for how in [Fill::Linear, Fill::Last, DAY, Fill::None] {
            assert_filled(&[], how, 5, &[], &[]);
            assert_filled(&[N, N], how, 5, &[N, N], &[]);
            assert_filled(&[1.0], how, 5, &[1.0], &[]);
            assert_filled(&[1.0, N, 2.0], how, 0, &[1.0, N, 2.0], &[]);
        }
        assert_filled(&[1.0, N, 2.0], Fill::None, 5, &[1.0, N, 2.0], &[]);
        assert_filled(&[1.0, N], Fill::Last, usize::MAX, &[1.0, 1.0], &[(1, 2)]);
        let long = Fill::Seasonal { season: usize::MAX };
        assert_filled(&[1.0, N], long, 5, &[1.0, N], &[]);
    }

    fn values() -> impl Strategy<Value = Vec<f64>> {
        let value = prop::option::weighted(0.6, -50.0..50.0_f64);
        prop::collection::vec(value.prop_map(|value| value.unwrap_or(N)), 0..60)
    }

    fn ways() -> impl Strategy<Value = Fill> {
        prop_oneof![
            Just(Fill::Linear),
            Just(Fill::Last),
            Just(Fill::None),
            (1..9_usize).prop_map(|season| Fill::Seasonal { season }),
        ]
    }

    proptest! {
        #[test]
        fn what_was_filled_was_missing_and_the_rest_is_as_it_was(
            values in values(),
            how in ways(),
            longest in 0..8_usize,
        ) {
            let mut found = values.clone();
            let rows = fill(&mut found, how, longest);
            prop_assert!(rows.iter().all(|run| !run.is_empty() && run.len() <= longest));
            prop_assert!(rows.windows(2).all(|pair| pair[0].end < pair[1].start));
            for (row, (&before, &after)) in values.iter().zip(&found).enumerate() {
                if rows.iter().any(|run| run.contains(&row)) {
                    prop_assert!(before.is_nan() && !after.is_nan());
                } else {
                    prop_assert!(same_value(before, after));
                }
            }
        }

        #[test]
        fn a_line_stays_between_its_neighbours(values in values(), longest in 0..8_usize) {
            let mut found = values.clone();
            for run in fill(&mut found, Fill::Linear, longest) {
                let (a, b) = (values[run.start - 1], values[run.end]);
                for value in &found[run] {
                    prop_assert!(a.min(b) - 1e-9 <= *value && *value <= a.max(b) + 1e-9);
                }
            }
        }

        /// The proof that the past alone decides: nothing changes where the values end earlier.
        #[test]
        fn but_a_line_no_way_looks_ahead(
            values in values(),
            season in prop::option::of(1..9_usize),
            longest in 0..8_usize,
            cut in 0..60_usize,
        ) {
            let how = season.map_or(Fill::Last, |season| Fill::Seasonal { season });
            let cut = cut.min(values.len());
            let (mut all, mut some) = (values.clone(), values[..cut].to_vec());
            fill(&mut all, how, longest);
            fill(&mut some, how, longest);
            prop_assert!(all.iter().zip(&some).all(|(&a, &b)| same_value(a, b)));
        }
    }
}
