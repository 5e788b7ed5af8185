//! The rows of a table as the checks go over them: series by series, and the forecasts of a series
//! issue by issue. What follows in time follows here; nothing else does.

use std::collections::HashMap;
use std::ops::Range;

use super::super::Table;

/// The rows of one series. Where a table has only one, all its rows, also if there are none.
pub(super) struct Group<'a> {
    table: &'a Table,
    pub(super) rows: Range<usize>,
}

/// The groups of a table whose rows are in order.
pub(super) fn groups(table: &Table) -> Vec<Group<'_>> {
    let whole = |rows| Group { table, rows };
    let Some(series) = table.series().filter(|_| table.rows() > 0) else {
        return vec![whole(0..table.rows())];
    };
    let mut start = 0;
    let of_one = series.places().chunk_by(|a, b| a == b);
    of_one
        .map(|places| {
            let rows = start..start + places.len();
            start = rows.end;
            whole(rows)
        })
        .collect()
}

impl<'a> Group<'a> {
    /// The rows that follow each other in time: those of one issue where the rows are forecasts, or
    /// else all.
    pub(super) fn strands(&self) -> impl Iterator<Item = Range<usize>> + use<'a> {
        let (issues, end) = (self.table.issues(), self.rows.end);
        let mut next = self.rows.start;
        std::iter::from_fn(move || {
            let start = next;
            let issue = issues?.get(start..end)?.first()?;
            next = start + issues?[start..end].partition_point(|other| other == issue);
            Some(start..next)
        })
        .chain(issues.is_none().then(|| self.rows.clone()))
    }

    /// What stands in order within the whole group: issue times, or times.
    pub(super) fn axis(&self) -> &'a [i64] {
        let axis = self.table.issues().unwrap_or(self.table.times());
        &axis[self.rows.clone()]
    }
}

/// Numbers for the strands of a table whose rows may stand in any order.
pub(super) struct Strands<'a> {
    table: &'a Table,
    numbers: HashMap<(u32, i64), usize>,
    last: Option<((u32, i64), usize)>,
}

impl<'a> Strands<'a> {
    pub(super) fn new(table: &'a Table) -> Self {
        Self {
            table,
            numbers: HashMap::new(),
            last: None,
        }
    }

    /// The number of a row's strand.
    #[inline]
    pub(super) fn number(&mut self, row: usize) -> usize {
        let (series, issue, _) = self.table.key(row);
        if self.table.issues().is_none() {
            return series as usize;
        }
        if let Some((key, number)) = self.last
            && key == (series, issue)
        {
            return number;
        }
        let next = self.numbers.len();
        let number = *self.numbers.entry((series, issue)).or_insert(next);
        self.last = Some(((series, issue), number));
        number
    }
}

/// What is remembered of each strand, by its number.
pub(super) struct PerStrand<T>(Vec<Option<T>>);

impl<T: Copy> PerStrand<T> {
    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    #[inline]
    pub(super) fn of(&mut self, number: usize) -> &mut Option<T> {
        if number >= self.0.len() {
            self.0.resize(number + 1, None);
        }
        &mut self.0[number]
    }
}
