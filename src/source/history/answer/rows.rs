//! Rows of columns of numbers, in the order of their times.

/// Rows in the order of their times.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::source::history) struct Rows {
    pub(in crate::source::history) times: Vec<i64>,
    /// One list for each column of the parameters.
    pub(in crate::source::history) columns: Vec<Vec<f64>>,
}

impl Rows {
    pub(in crate::source::history) fn empty(columns: usize) -> Self {
        Self {
            times: Vec::new(),
            columns: vec![Vec::new(); columns],
        }
    }

    pub(in crate::source::history) fn len(&self) -> usize {
        self.times.len()
    }

    pub(in crate::source::history) fn append(&mut self, other: Self) {
        self.times.extend(other.times);
        for (column, more) in self.columns.iter_mut().zip(other.columns) {
            column.extend(more);
        }
    }

    /// Sorted by time; what comes first stays first among equal times.
    pub(in crate::source::history) fn sorted(self) -> Self {
        if self.times.is_sorted() {
            return self;
        }
        let mut order: Vec<usize> = (0..self.times.len()).collect();
        order.sort_by_key(|&row| self.times[row]);
        self.take(&order)
    }

    /// Those of some times only.
    pub(in crate::source::history) fn within(self, range: std::ops::Range<i64>) -> Self {
        if self.times.iter().all(|time| range.contains(time)) {
            return self;
        }
        let inside = |row: &usize| range.contains(&self.times[*row]);
        let rows: Vec<usize> = (0..self.times.len()).filter(inside).collect();
        self.take(&rows)
    }

    fn take(&self, rows: &[usize]) -> Self {
        let column = |column: &Vec<f64>| rows.iter().map(|&row| column[row]).collect();
        Self {
            times: rows.iter().map(|&row| self.times[row]).collect(),
            columns: self.columns.iter().map(column).collect(),
        }
    }

    pub(in crate::source::history) fn is_known(&self, row: usize) -> bool {
        self.columns.iter().any(|column| !column[row].is_nan())
    }
}
