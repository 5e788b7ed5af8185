//! Rows are kept or refused, and none gets lost in between.

use std::collections::BTreeMap;

use super::super::Table;
use super::report::Check;

/// A reason to refuse a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark {
    pub(super) row: usize,
    pub(super) check: Check,
    pub(super) column: Option<usize>,
}

impl Mark {
    /// For a row as a whole.
    pub(super) fn row(row: usize, check: Check) -> Self {
        let column = None;
        Self { row, check, column }
    }

    pub(super) fn rows(rows: &[usize], check: Check) -> Vec<Self> {
        rows.iter().map(|&row| Self::row(row, check)).collect()
    }
}

/// Rows that were refused, in order of series, issue and time, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    table: Table,
    /// The reasons there are, and for each row its place among them.
    texts: Vec<String>,
    of: Vec<u32>,
}

impl Refused {
    /// The rows, with their values as they came.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// For each row the checks that refused it, such as `range of temperature_2m`.
    pub fn reasons(&self) -> Vec<&str> {
        let text = |&place: &u32| self.texts[place as usize].as_str();
        self.of.iter().map(text).collect()
    }
}

/// A table from which rows are refused. Every row that went in is in `kept` or in `refused`: the
/// only operation that takes rows out of one puts them into the other.
///
/// What is kept is never held twice: rows are put in order and closed up in place, column by column.
pub(super) struct Sieve {
    rows_in: usize,
    kept: Table,
    refused: Refused,
    /// The place of each reason among the texts.
    known: BTreeMap<Vec<(Check, Option<usize>)>, u32>,
}

impl Sieve {
    pub(super) fn new(table: Table) -> Self {
        let refused = Refused {
            table: table.take_rows(&[]),
            texts: Vec::new(),
            of: Vec::new(),
        };
        Self {
            rows_in: table.rows(),
            kept: table,
            refused,
            known: BTreeMap::new(),
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

    /// Puts the kept rows in order of series, issue and time; rows that have these in common stay as
    /// they stood.
    pub(super) fn sort(&mut self) {
        self.kept.sort_rows();
    }

    /// Moves the marked rows to the refused ones. Returns which rows these were, in order.
    pub(super) fn refuse(&mut self, mut marks: Vec<Mark>) -> Vec<usize> {
        marks.sort_unstable();
        let mut rows = Vec::new();
        for of_row in marks.chunk_by(|a, b| a.row == b.row) {
            rows.push(of_row[0].row);
            let reason = self.reason(of_row);
            self.refused.of.push(reason);
        }
        if !rows.is_empty() {
            self.refused.table.extend(self.kept.take_rows(&rows));
            self.kept.remove_rows(&rows);
        }
        rows
    }

    /// Moves the marked rows, and takes away values of those that stay. Returns how many values.
    /// Refused rows show the values that they came with.
    pub(super) fn refuse_and_mask(
        &mut self,
        marks: Vec<Mark>,
        masks: &[(usize, Vec<usize>)],
    ) -> usize {
        let gone = self.refuse(marks);
        let moved = |&row: &usize| match gone.binary_search(&row) {
            Ok(_) => None,
            Err(before) => Some(row - before),
        };
        let mut masked = 0;
        for (column, rows) in masks {
            masked += self.kept.mask(*column, rows.iter().filter_map(moved));
        }
        masked
    }

    pub(super) fn finish(self) -> (Table, Refused) {
        let mut refused = self.refused;
        if let Some(order) = refused.table.sort_rows() {
            refused.of = order.into_iter().map(|row| refused.of[row]).collect();
        }
        (self.kept, refused)
    }

    /// The place of the text for the marks of one row.
    fn reason(&mut self, marks: &[Mark]) -> u32 {
        let key = marks.iter().map(|mark| (mark.check, mark.column)).collect();
        let text = |mark: &Mark| match mark.column {
            Some(c) => format!("{} of {}", mark.check, self.kept.columns()[c].name),
            None => mark.check.to_string(),
        };
        let texts = &mut self.refused.texts;
        *self.known.entry(key).or_insert_with(|| {
            texts.push(marks.iter().map(text).collect::<Vec<_>>().join(", "));
            texts.len() as u32 - 1
        })
    }
}
