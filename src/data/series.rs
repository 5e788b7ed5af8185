//! Series on one fixed step.

use super::table::{check, find};
use super::{Column, Table};
use crate::time::{Step, format_utc};

/// A table or series that breaks its own rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SeriesError {
    /// A column is longer or shorter than the times.
    #[error("column {column} has {found} rows, the times have {expected}")]
    Length {
        /// The column.
        column: String,
        /// Rows of the times.
        expected: usize,
        /// Rows of the column.
        found: usize,
    },
    /// Two columns have one name.
    #[error("two columns are named {0}")]
    DuplicateColumn(String),
    /// A value is infinite.
    #[error("column {column} is infinite in row {row}")]
    Infinite {
        /// The column.
        column: String,
        /// The row, from 0.
        row: usize,
    },
    /// There are no rows.
    #[error("there are no rows")]
    Empty,
    /// Two rows have one time and other values.
    #[error("two rows at {} have different values of {column}", format_utc(*.time))]
    Conflict {
        /// The time.
        time: i64,
        /// The first column that differs.
        column: String,
    },
    /// A time lies between two steps.
    #[error("row at {} is not on the step of {step} that starts at {}", format_utc(*.time), format_utc(*.start))]
    OffStep {
        /// The time.
        time: i64,
        /// The time of the first row.
        start: i64,
        /// The step.
        step: Step,
    },
    /// Rows at the step asked for would be mostly gaps.
    #[error("{rows} rows would have to fill {steps} steps of {step}: the data have a longer step")]
    Sparse {
        /// Rows there are.
        rows: usize,
        /// Steps between the first and the last.
        steps: usize,
        /// The step.
        step: Step,
    },
    /// Tables are put together whose columns differ.
    #[error("column {0} is not in the tables before it")]
    ExtraColumn(String),
    /// Tables are put together whose units differ.
    #[error("column {column} is in {found}, in the tables before it in {expected}")]
    Unit {
        /// The column.
        column: String,
        /// Its unit in the first table.
        expected: String,
        /// Its unit here.
        found: String,
    },
    /// A column was asked for that is not there.
    #[error("no column {name}; there are {}", .there.join(", "))]
    NoColumn {
        /// The name.
        name: String,
        /// The names that exist.
        there: Vec<String>,
    },
}

/// A table on one fixed step: row `i` is at `start + i · step`. Missing values are NaN.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    start: i64,
    step: Step,
    rows: usize,
    columns: Vec<Column>,
}

/// What happened to the rows of a table on the way to a series. `rows_in` is always
/// `rows_out − missing_rows + duplicates + dropped`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RowCounts {
    /// Rows of the table.
    pub rows_in: usize,
    /// Rows that stood in the table twice or more, with equal values.
    pub duplicates: usize,
    /// Rows that a quality check refused.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropped: usize,
    /// Rows of the series that the table lacked.
    pub missing_rows: usize,
    /// Rows of the series.
    pub rows_out: usize,
}

/// A count that says nothing where it is 0, so that files of clean data stay as they are.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over a reference"
)]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl Series {
    /// A series from its parts.
    pub fn new(start: i64, step: Step, columns: Vec<Column>) -> Result<Self, SeriesError> {
        let rows = columns.first().map_or(0, |column| column.values.len());
        if rows == 0 {
            return Err(SeriesError::Empty);
        }
        check(rows, &columns)?;
        Ok(Self {
            start,
            step,
            rows,
            columns,
        })
    }

    /// Puts the rows of a table in order and on a step. Equal rows count once, rows that the table
    /// lacks are missing in every column.
    pub fn from_table(table: &Table, step: Step) -> Result<(Self, RowCounts), SeriesError> {
        let mut order: Vec<usize> = (0..table.times().len()).collect();
        order.sort_by_key(|&row| table.times()[row]);
        let (Some(&first), Some(&last)) = (order.first(), order.last()) else {
            return Err(SeriesError::Empty);
        };
        let start = table.times()[first];
        let rows = ((table.times()[last] - start) / step.seconds()) as usize + 1;
        if rows > order.len().saturating_mul(1000) {
            return Err(SeriesError::Sparse {
                rows: order.len(),
                steps: rows,
                step,
            });
        }
        let mut source: Vec<Option<usize>> = vec![None; rows];
        let mut duplicates = 0;
        for row in order {
            let time = table.times()[row];
            if (time - start) % step.seconds() != 0 {
                return Err(SeriesError::OffStep { time, start, step });
            }
            let slot = &mut source[((time - start) / step.seconds()) as usize];
            match *slot {
                None => *slot = Some(row),
                Some(earlier) => {
                    duplicates += 1;
                    refuse_conflict(table, earlier, row)?;
                }
            }
        }
        let columns = table
            .columns()
            .iter()
            .map(|column| Column {
                name: column.name.clone(),
                unit: column.unit.clone(),
                values: source
                    .iter()
                    .map(|row| row.map_or(f64::NAN, |row| column.values[row]))
                    .collect(),
            })
            .collect();
        let counts = RowCounts {
            rows_in: table.times().len(),
            duplicates,
            dropped: 0,
            missing_rows: source.iter().filter(|row| row.is_none()).count(),
            rows_out: rows,
        };
        Ok((
            Self {
                start,
                step,
                rows,
                columns,
            },
            counts,
        ))
    }

    /// The time of row 0.
    pub fn start(&self) -> i64 {
        self.start
    }

    /// The time between two rows.
    pub fn step(&self) -> Step {
        self.step
    }

    /// Number of rows; never 0.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The time of a row, also past the last one.
    pub fn time(&self, row: usize) -> i64 {
        self.start + row as i64 * self.step.seconds()
    }

    /// The columns.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// One column.
    pub fn column(&self, name: &str) -> Result<&Column, SeriesError> {
        find(&self.columns, name)
    }

    /// The same series with other columns on the same rows.
    pub fn with_columns(&self, columns: Vec<Column>) -> Result<Self, SeriesError> {
        check(self.rows, &columns)?;
        Ok(Self { columns, ..*self })
    }

    /// As a table, for writing.
    pub fn to_table(&self) -> Table {
        let times = (0..self.rows).map(|row| self.time(row)).collect();
        Table::of(times, self.columns.clone())
    }
}

fn refuse_conflict(table: &Table, a: usize, b: usize) -> Result<(), SeriesError> {
    let differs = |column: &&Column| {
        let (a, b) = (column.values[a], column.values[b]);
        // Equal to the bit, or both missing: two copies of one row, and nothing else.
        a.to_bits() != b.to_bits() && !(a.is_nan() && b.is_nan())
    };
    match table.columns().iter().find(differs) {
        Some(column) => Err(SeriesError::Conflict {
            time: table.times()[b],
            column: column.name.clone(),
        }),
        None => Ok(()),
    }
}

/// Fills runs of at most `longest` missing values by a straight line between their neighbours.
/// Runs at an end and longer ones stay missing. Returns how many values were filled.
pub fn fill_gaps(values: &mut [f64], longest: usize) -> usize {
    let mut filled = 0;
    let mut row = 0;
    while row < values.len() {
        if !values[row].is_nan() {
            row += 1;
            continue;
        }
        let end = (row..values.len())
            .find(|&i| !values[i].is_nan())
            .unwrap_or(values.len());
        let length = end - row;
        if row > 0 && end < values.len() && length <= longest {
            let (before, after) = (values[row - 1], values[end]);
            for (k, value) in values[row..end].iter_mut().enumerate() {
                let share = (k + 1) as f64 / (length + 1) as f64;
                *value = before + (after - before) * share;
            }
            filled += length;
        }
        row = end;
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(values: &[f64]) -> Column {
        Column {
            name: "t".into(),
            unit: "°C".into(),
            values: values.to_vec(),
        }
    }

    fn table(times: &[i64], values: &[f64]) -> Result<Table, SeriesError> {
        Table::new(times.to_vec(), vec![column(values)])
    }

    #[test]
    fn rows_come_in_order_once_and_gaps_are_missing() -> Result<(), SeriesError> {
        let table = table(&[7200, 0, 7200, 14_400], &[2.0, 0.0, 2.0, 4.0])?;
        let (series, counts) = Series::from_table(&table, Step::HOUR)?;
        assert_eq!(
            counts,
            RowCounts {
                rows_in: 4,
                duplicates: 1,
                dropped: 0,
                missing_rows: 2,
                rows_out: 5
            }
        );
        let values = &series.columns()[0].values;
        assert_eq!((values[0], values[2], values[4]), (0.0, 2.0, 4.0));
        assert!(values[1].is_nan() && values[3].is_nan());
        Ok(())
    }

    #[test]
    fn degenerate_tables_are_refused_by_name() -> Result<(), SeriesError> {
        let on = |t: &Table| Series::from_table(t, Step::HOUR).map(|_| ());
        assert_eq!(on(&table(&[], &[])?), Err(SeriesError::Empty));
        assert!(matches!(
            on(&table(&[0, 0], &[1.0, 2.0])?),
            Err(SeriesError::Conflict { time: 0, .. })
        ));
        assert!(matches!(
            on(&table(&[0, 1800], &[1.0, 2.0])?),
            Err(SeriesError::OffStep { time: 1800, .. })
        ));
        assert!(matches!(
            on(&table(&[0, 1 << 40], &[1.0, 2.0])?),
            Err(SeriesError::Sparse { .. })
        ));
        let (one, _) = Series::from_table(&table(&[5], &[f64::NAN])?, Step::HOUR)?;
        assert_eq!(one.rows(), 1);
        Ok(())
    }

    #[test]
    fn short_gaps_are_filled_long_ones_and_ends_are_not() {
        let n = f64::NAN;
        let mut values = [n, 1.0, n, n, 4.0, n, n, n, 8.0, n];
        assert_eq!(fill_gaps(&mut values, 2), 2);
        assert_eq!(&values[1..5], &[1.0, 2.0, 3.0, 4.0]);
        assert!(values[0].is_nan() && values[5].is_nan() && values[9].is_nan());
        assert_eq!(fill_gaps(&mut [n, n], 5), 0);
        assert_eq!(fill_gaps(&mut [], 5), 0);
    }
}
