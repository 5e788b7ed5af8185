//! What a model sees: scaled columns on one step, flat `f32`.

use serde::{Deserialize, Serialize};

use crate::time::Step;

/// What may be known of a column when a forecast is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// What is forecast; known up to the issue time.
    Target,
    /// Observed; known up to the issue time.
    Past,
    /// Known at any time, such as the calendar.
    Future,
}

/// A column of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameColumn {
    /// Its name in the data set.
    pub name: String,
    /// What may be known of it.
    pub role: Role,
}

/// Scaled values of all columns, `[rows × columns]`, row-major. A missing value is NaN.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// The time of row 0, in seconds since 1970 UTC.
    pub start: i64,
    /// The time between two rows.
    pub step: Step,
    /// One entry a column; exactly one has the role [`Role::Target`].
    pub columns: Vec<FrameColumn>,
    /// `rows × columns` values.
    pub values: Vec<f32>,
}

impl Frame {
    /// Number of columns.
    pub fn width(&self) -> usize {
        self.columns.len()
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.values.len() / self.width().max(1)
    }

    /// The values of one row, in the order of the columns.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.width()..(row + 1) * self.width()]
    }

    /// One value.
    pub fn at(&self, row: usize, column: usize) -> f32 {
        self.values[row * self.width() + column]
    }

    /// The index of the target column.
    pub fn target(&self) -> usize {
        target_of(&self.columns)
    }

    /// The indices of the columns with a role.
    pub fn columns_with(&self, role: Role) -> Vec<usize> {
        columns_with(&self.columns, role)
    }

    /// The time of a row, in seconds since 1970 UTC; also past the last row.
    pub fn time(&self, row: usize) -> i64 {
        self.start + row as i64 * self.step.seconds()
    }
}

/// The index of the target among columns; 0 where there is none, which a data set never lacks.
pub fn target_of(columns: &[FrameColumn]) -> usize {
    columns
        .iter()
        .position(|column| column.role == Role::Target)
        .unwrap_or(0)
}

/// The indices of the columns with a role.
pub fn columns_with(columns: &[FrameColumn], role: Role) -> Vec<usize> {
    (0..columns.len())
        .filter(|&i| columns[i].role == role)
        .collect()
}
