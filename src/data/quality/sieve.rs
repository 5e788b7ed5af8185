//! Rows are kept or refused, and none gets lost in between.

use std::collections::BTreeSet;

use super::super::Table;
use super::report::Check;

/// A reason to refuse a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark {
    pub(super) row: usize,
    pub(super) check: Check,
    pub(super) column: Option<usize>,
}

/// Rows that were refused, in order of time, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    table: Table,
    reasons: Vec<String>,
}

impl Refused {
    /// The rows, with their values as they came.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// For each row the checks that refused it, such as `range of temperature_2m`.
    pub fn reasons(&self) -> &[String] {
        &self.reasons
    }
}

/// A table from which rows are refused. Every row that went in is in `kept` or in `refused`: the
/// only operation that takes rows out of one puts them into the other.
pub(super) struct Sieve {
    rows_in: usize,
    kept: Table,
    refused: Refused,
}

impl Sieve {
    pub(super) fn new(table: Table) -> Self {
        let refused = Refused {
            table: table.take_rows(&[]),
            reasons: Vec::new(),
        };
        Self {
            rows_in: table.times().len(),
            kept: table,
            refused,
        }
    }

    /// The rows that are kept so far.
    pub(super) fn table(&self) -> &Table {
        &self.kept
    }

    /// How many rows went in.
    pub(super) fn rows_in(&self) -> usize {
        self.rows_in
    }

    /// Puts the kept rows in order of time; rows of one time stay as they stood.
    pub(super) fn sort(&mut self) {
        self.kept = in_order_of_time(&self.kept).0;
    }

    /// Moves the marked rows to the refused ones.
    pub(super) fn refuse(&mut self, mut marks: Vec<Mark>) {
        if marks.is_empty() {
            return;
        }
        marks.sort_unstable();
        let rows: BTreeSet<usize> = marks.iter().map(|mark| mark.row).collect();
        let rows: Vec<usize> = rows.into_iter().collect();
        self.refused.reasons.extend(self.reasons(&marks));
        self.refused.table.extend(self.kept.take_rows(&rows));
        let mut refused = rows.iter().copied().peekable();
        let stays = (0..self.kept.times().len())
            .filter(|row| refused.next_if(|next| next == row).is_none())
            .collect::<Vec<_>>();
        self.kept = self.kept.take_rows(&stays);
    }

    /// Moves the marked rows, and takes away values of those that stay. Returns how many values.
    /// Refused rows show the values that they came with.
    pub(super) fn refuse_and_mask(
        &mut self,
        marks: Vec<Mark>,
        masks: &[(usize, Vec<usize>)],
    ) -> usize {
        let refused: BTreeSet<usize> = marks.iter().map(|mark| mark.row).collect();
        let gone: Vec<usize> = refused.iter().copied().collect();
        let present = |table: &Table| -> usize {
            let count = |c: usize| {
                table.columns()[c]
                    .values
                    .iter()
                    .filter(|v| !v.is_nan())
                    .count()
            };
            let touched: BTreeSet<usize> = masks
                .iter()
                .filter(|(_, rows)| !rows.is_empty())
                .map(|(c, _)| *c)
                .collect();
            touched.into_iter().map(count).sum()
        };
        self.refuse(marks);
        let before = present(&self.kept);
        for (column, rows) in masks {
            let stay = rows.iter().filter(|row| !refused.contains(row));
            let moved = stay.map(|&row| row - gone.partition_point(|&other| other < row));
            self.kept.mask(*column, &moved.collect::<Vec<_>>());
        }
        before - present(&self.kept)
    }

    pub(super) fn finish(self) -> (Table, Refused) {
        let (table, order) = in_order_of_time(&self.refused.table);
        let reasons = order
            .into_iter()
            .map(|row| self.refused.reasons[row].clone());
        let refused = Refused {
            table,
            reasons: reasons.collect(),
        };
        (self.kept, refused)
    }

    /// One text for each marked row; the marks are in order.
    fn reasons(&self, marks: &[Mark]) -> Vec<String> {
        let reason = |mark: &Mark| match mark.column {
            Some(c) => format!("{} of {}", mark.check, self.kept.columns()[c].name),
            None => mark.check.to_string(),
        };
        marks
            .chunk_by(|a, b| a.row == b.row)
            .map(|of_row| of_row.iter().map(reason).collect::<Vec<_>>().join(", "))
            .collect()
    }
}

fn in_order_of_time(table: &Table) -> (Table, Vec<usize>) {
    let mut order: Vec<usize> = (0..table.times().len()).collect();
    order.sort_by_key(|&row| table.times()[row]);
    (table.take_rows(&order), order)
}
