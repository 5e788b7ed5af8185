//! Runs with what they lack and older ones have.

use std::collections::VecDeque;
use std::ops::Range;

use super::{LOOK_BACK, Run, Runs};

impl Runs {
    /// Each run with the rows that it lacks, or has with a gap, and the one before it in its series has: between its
    /// issue and its first row, within, and beyond its end. No row is mixed of two runs.
    ///
    /// It is continued as far ahead as one of the runs just before it reached, so that one of a year does not make
    /// years of all after it.
    #[must_use]
    pub(in crate::data) fn completed(mut self) -> Self {
        let step = self.step.seconds();
        let is_complete = |row: usize| self.columns.iter().all(|c| !c.values[row].is_nan());
        let mut each: Vec<Run> = Vec::with_capacity(self.each.len());
        // Of each row that there will be, the one that it is now; none where no run speaks of its time.
        let mut rows: Vec<Option<usize>> = Vec::with_capacity(self.rows());
        let mut reaches = VecDeque::new();
        for run in &self.each {
            let before = each.last().filter(|before| before.series == run.series);
            if before.is_none() {
                reaches.clear();
            }
            let span = span(run, before, &reaches, step);
            let of_before = |time: i64| {
                let before = before?;
                let row = usize::try_from((time - before.first).div_euclid(step)).ok()?;
                *rows[before.rows.clone()].get(row)?
            };
            let newest = |time: i64| {
                let own = usize::try_from((time - run.first).div_euclid(step)).ok();
                let own = own.and_then(|row| run.rows.clone().nth(row));
                let other = || of_before(time).filter(|&row| own.is_none() || is_complete(row));
                own.filter(|&row| is_complete(row)).or_else(other).or(own)
            };
            let times = span.clone().step_by(usize::try_from(step).unwrap_or(1));
            let of_run: Vec<Option<usize>> = times.map(newest).collect();
            reaches.truncate(LOOK_BACK - 1);
            reaches.push_front(end(run, step) - run.issue);
            each.push(Run {
                first: span.start,
                rows: rows.len()..rows.len() + of_run.len(),
                ..run.clone()
            });
            rows.extend(of_run);
        }
        for column in &mut self.columns {
            let value = |row: &Option<usize>| row.map_or(f64::NAN, |row| column.values[row]);
            column.values = rows.iter().map(value).collect();
        }
        self.each = each;
        self
    }
}

/// The times from which and before which a run speaks with the help of the one before it.
fn span(run: &Run, before: Option<&Run>, reaches: &VecDeque<i64>, step: i64) -> Range<i64> {
    let own_end = end(run, step);
    let Some(before) = before else {
        return run.first..own_end;
    };
    let end_before = end(before, step);
    let farthest = reaches
        .iter()
        .max()
        .map_or(own_end, |reach| run.issue + reach);
    // The first time after its issue of which the one before speaks.
    let after_issue = (run.issue + 1 - before.first).max(0);
    let next = before.first + (after_issue + step - 1) / step * step;
    let first = if next < end_before {
        run.first.min(next)
    } else {
        run.first
    };
    first..own_end.max(end_before.min(farthest))
}

/// The time after the last row of a run.
fn end(run: &Run, step: i64) -> i64 {
    run.first + run.rows.len() as i64 * step
}

#[cfg(test)]
mod tests {
    use super::super::tests::{HOUR, runs};
    use super::*;
    use crate::data::{Column, Layout, RowSeries, Table};
    use crate::params::QualityParams;
    use crate::time::Step;
    use proptest::prelude::*;

    /// The values of a run, by its place.
    fn of_run(runs: &Runs, place: usize) -> &[f64] {
        &runs.columns()[0].values[runs.runs()[place].rows.clone()]
    }

    /// Runs every 12 hours of which the second has a gap, and the third ends early.
    #[test]
    fn what_a_run_lacks_the_one_before_it_says() {
        let mut whole = runs(&[0, 12, 24], 24);
        let gap = whole.runs()[1].rows.start + 2;
        whole.columns[0].values[gap] = f64::NAN;
        let short = whole.runs()[2].rows.start + 4;
        whole.columns[0].values.truncate(short);
        whole.each[2].rows.end = short;
        let completed = whole.clone().completed();
        // By itself from 15 on; the first one speaks of what comes before, and of the gap at 17.
        let expected: Vec<f64> = (13..=36)
            .map(|at| if at < 15 || at == 17 { 0.0 } else { 12.0 })
            .collect();
        assert_eq!(of_run(&completed, 1), expected);
        // By itself from 27 to 30, before and after that by the second one as far as that goes.
        let expected: Vec<f64> = (25..=36)
            .map(|at| if (27..=30).contains(&at) { 24.0 } else { 12.0 })
            .collect();
        assert_eq!(of_run(&completed, 2), expected);
        assert_eq!(of_run(&completed, 0).len(), 22);
        let layout = Layout::single(0, Step::HOUR, 48);
        let reach = |runs: &Runs, row: usize| {
            let complete = runs.complete_until(|row| !runs.columns()[0].values[row].is_nan());
            runs.reach(&runs.known(&layout, 0), row, &complete)
        };
        assert_eq!((reach(&whole, 14), reach(&completed, 14)), (2, 22));
        assert_eq!((reach(&whole, 26), reach(&completed, 26)), (4, 10));
        assert_eq!(completed.clone().completed(), completed);
        let known = completed.known(&layout, 0);
        assert_eq!(
            known.shown(&completed.columns()[0].values)[13..16],
            [0.0, 0.0, 12.0]
        );
    }

    /// Rows of runs: series, issue and time in hours.
    fn runs_of(rows: &[(&str, i64, i64)], values: Vec<f64>) -> Runs {
        let column = Column {
            name: "ws".into(),
            unit: "m/s".into(),
            values,
        };
        let table = Table::new(rows.iter().map(|row| row.2 * HOUR).collect(), vec![column])
            .and_then(|table| table.with_issues(rows.iter().map(|row| row.1 * HOUR).collect()))
            .and_then(|table| {
                table.with_series(RowSeries::from_names(rows.iter().map(|row| row.0)))
            })
            .unwrap();
        Runs::new(&table, Step::HOUR, 0, &QualityParams::default()).unwrap()
    }

    #[test]
    fn the_runs_of_one_series_say_nothing_of_another() {
        let rows = [("a", 0, 1), ("a", 0, 2), ("b", 0, 1), ("b", 0, 2)];
        let runs = runs_of(&rows, vec![1.0, 2.0, f64::NAN, 3.0]);
        assert!(runs.completed().columns()[0].values[2].is_nan());
    }

    /// A run of the next day, and after it one of this afternoon: what lies between them nobody speaks of.
    #[test]
    fn each_row_stays_at_its_time() {
        let times = (24..48)
            .map(|time| ("", 6, time))
            .chain((13..19).map(|time| ("", 12, time)));
        let rows: Vec<(&str, i64, i64)> = times.collect();
        let runs = runs_of(&rows, rows.iter().map(|row| row.2 as f64).collect()).completed();
        let later = of_run(&runs, 1);
        assert_eq!((later.len(), later[5]), (35, 18.0));
        assert!(later[6..11].iter().all(|value| value.is_nan()));
        assert_eq!((later[11], later[34]), (24.0, 47.0));
    }

    #[test]
    fn one_long_run_does_not_make_all_later_ones_long() {
        let of =
            |issue: i64, reach: i64| (issue + 1..=issue + reach).map(move |time| ("", issue, time));
        let rows: Vec<(&str, i64, i64)> = of(0, 5000)
            .chain((1..400).flat_map(|issue| of(issue, 6)))
            .collect();
        let runs = runs_of(&rows, vec![1.0; rows.len()]).completed();
        assert!(
            runs.rows() < 5000 * (LOOK_BACK + 1) + 400 * 6 * 32,
            "{}",
            runs.rows()
        );
        assert_eq!(of_run(&runs, 399).len(), 6);
    }

    proptest! {
        /// Held against a search through all runs, whatever their issues, first rows, lengths and gaps.
        #[test]
        fn each_row_is_of_the_newest_run_that_speaks_of_it(
            made in prop::collection::vec((1..9_i64, 0..5_i64, 1..12_i64, any::<u16>()), 1..7)
        ) {
            let (mut rows, mut values, mut issue) = (Vec::new(), Vec::new(), 0);
            for (apart, first, length, gaps) in made {
                issue += apart;
                for lead in 0..length {
                    rows.push(("", issue, issue + 1 + first + lead));
                    let is_gap = gaps >> lead & 1 == 1;
                    values.push(if is_gap { f64::NAN } else { (issue * 1000 + lead) as f64 });
                }
            }
            let all = runs_of(&rows, values.clone());
            let completed = all.clone().completed();
            for (place, run) in completed.runs().iter().enumerate() {
                for (row, value) in of_run(&completed, place).iter().enumerate() {
                    let time = run.first / HOUR + row as i64;
                    let mut known = rows.iter().zip(&values).rev();
                    let newest = known.find(|((_, issue, of), value)| {
                        issue * HOUR <= run.issue && *of == time && !value.is_nan()
                    });
                    match newest {
                        Some((_, expected)) => prop_assert!((value - expected).abs() == 0.0),
                        None => prop_assert!(value.is_nan()),
                    }
                }
            }
        }
    }
}
