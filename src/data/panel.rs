//! One or several series on one step, with all columns in their own units.

use std::ops::Range;

use super::table::{check, find};
use super::{Column, Layout, RowSeries, SeriesError, Table};

/// Series on one fixed step, one after the other. Missing values are NaN.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    layout: Layout,
    columns: Vec<Column>,
}

impl Panel {
    /// From its parts.
    pub fn new(layout: Layout, columns: Vec<Column>) -> Result<Self, SeriesError> {
        if layout.rows() == 0 {
            return Err(SeriesError::Empty);
        }
        check(layout.rows(), &columns)?;
        Ok(Self { layout, columns })
    }

    /// Where its rows stand.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Number of rows; never 0.
    pub fn rows(&self) -> usize {
        self.layout.rows()
    }

    /// The columns.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// One column.
    pub fn column(&self, name: &str) -> Result<&Column, SeriesError> {
        find(&self.columns, name)
    }

    /// As a table, for writing.
    pub fn into_table(self) -> Table {
        let table = Table::of(self.layout.times().collect(), self.columns);
        if !self.layout.is_named() {
            return table;
        }
        let blocks = self.layout.blocks().iter();
        let names = blocks.flat_map(|block| block.rows.clone().map(|_| block.name.as_str()));
        let series = RowSeries::from_names(names);
        table.with_known_series(series)
    }
}

/// What a function of one series gives for each of them, one after the other.
pub(super) fn by_block(
    layout: &Layout,
    mut values: impl FnMut(&super::Block, Range<usize>) -> Vec<f64>,
) -> Vec<f64> {
    let mut all = Vec::with_capacity(layout.rows());
    for block in layout.blocks() {
        all.extend(values(block, block.rows.clone()));
    }
    all
}

/// The rows of each series of a table whose rows stand by series; without series, all rows.
pub(super) fn rows_by_series(table: &Table) -> Vec<(String, Range<usize>)> {
    let Some(series) = table.series() else {
        return vec![(String::new(), 0..table.rows())];
    };
    let places = series.places();
    let mut all = Vec::new();
    let mut first = 0;
    for chunk in places.chunk_by(|a, b| a == b) {
        let rows = first..first + chunk.len();
        all.push((series.name(first).to_owned(), rows.clone()));
        first = rows.end;
    }
    all
}
