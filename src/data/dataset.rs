//! A prepared data set: a series with the roles, units, scaling and split that belong to it.
//!
//! It is written as two files that any Parquet and JSON reader understands: `series.parquet` holds
//! all columns in their own units with the time in UTC, `dataset.json` everything else.

use serde::{Deserialize, Serialize};

use super::features::{self, Wave};
use super::{
    Column, Frame, FrameColumn, Part, Role, RowCounts, Scaler, Series, SeriesError, Split, Table,
    fill_gaps,
};
use crate::params::{Calendar, PrepareParams};
use crate::time::{Step, format_utc};

/// The version of `dataset.json`.
const FORMAT: u32 = 1;

/// A series that models can be trained on.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    series: Series,
    meta: DatasetMeta,
}

/// `dataset.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetMeta {
    /// Version of this format.
    pub format: u32,
    /// The column to forecast.
    pub target: String,
    /// The time between two rows.
    pub step: Step,
    /// The time of the first row.
    pub first_time: String,
    /// The time of the last row.
    pub last_time: String,
    /// Rows of the series, as ranges `[from, to)`: no window of a model crosses a border.
    pub split: Split,
    /// What happened to the rows on the way.
    pub rows: RowCounts,
    /// The columns in the order of `series.parquet`, after its `time`.
    pub columns: Vec<ColumnMeta>,
}

/// What `dataset.json` says of a column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnMeta {
    /// Its name.
    pub name: String,
    /// What may be known of it when a forecast is made.
    pub role: Role,
    /// Its unit; `1` for a number without one.
    pub unit: String,
    /// What it was made from.
    pub source: ColumnSource,
    /// How it is scaled for a model; fitted on the training part only.
    pub scaler: Scaler,
    /// The smallest value, over all parts.
    pub min: Option<f64>,
    /// The largest value, over all parts.
    pub max: Option<f64>,
    /// Values filled by interpolation.
    pub filled: usize,
    /// Values still missing.
    pub missing: usize,
}

/// What a column was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ColumnSource {
    /// A column of the raw data.
    Observed {
        /// Its name there.
        column: String,
    },
    /// A part of a wind vector.
    Wind {
        /// The speed column.
        speed: String,
        /// The direction column.
        direction: String,
    },
    /// The time alone.
    Calendar {
        /// Which cycle.
        cycle: CalendarName,
        /// Which wave of it.
        wave: Wave,
    },
}

/// A calendar cycle as `dataset.json` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CalendarName {
    /// See [`Calendar::HourOfDay`].
    HourOfDay,
    /// See [`Calendar::DayOfYear`].
    DayOfYear,
}

impl From<Calendar> for CalendarName {
    fn from(calendar: Calendar) -> Self {
        match calendar {
            Calendar::HourOfDay => Self::HourOfDay,
            Calendar::DayOfYear => Self::DayOfYear,
        }
    }
}

impl From<CalendarName> for Calendar {
    fn from(name: CalendarName) -> Self {
        match name {
            CalendarName::HourOfDay => Self::HourOfDay,
            CalendarName::DayOfYear => Self::DayOfYear,
        }
    }
}

/// What can be wrong with a data set or what it is made from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DatasetError {
    /// The table breaks a rule.
    #[error(transparent)]
    Series(#[from] SeriesError),
    /// Too few rows for three parts.
    #[error("{rows} rows are too few to split into train, validation and test")]
    TooShort {
        /// Rows there are.
        rows: usize,
    },
    /// The column to forecast has no value in the training part.
    #[error("column {0}, which is to be forecast, has no value in the training part")]
    NoTarget(String),
    /// `dataset.json` and `series.parquet` do not belong together, or are not ours.
    #[error("{0}")]
    Mismatch(String),
}

impl Dataset {
    /// Makes a data set from observations.
    pub fn prepare(table: &Table, params: &PrepareParams) -> Result<Self, DatasetError> {
        let (series, rows) = Series::from_table(table, params.step)?;
        let mut builder = Builder::new(&series, params);
        builder.observed()?;
        builder.wind()?;
        builder.calendar();
        let split =
            Split::by_shares(series.rows(), params.split).ok_or(DatasetError::TooShort {
                rows: series.rows(),
            })?;
        builder.finish(split, rows)
    }

    /// The same data set, made from a table of which quality checks had refused some rows.
    #[must_use]
    pub fn after_refusing(mut self, duplicates: usize, dropped: usize) -> Self {
        let rows = &mut self.meta.rows;
        rows.rows_in += duplicates + dropped;
        rows.duplicates += duplicates;
        rows.dropped += dropped;
        self
    }

    /// Puts a data set together from its two files.
    pub fn from_parts(table: &Table, meta: DatasetMeta) -> Result<Self, DatasetError> {
        if meta.format != FORMAT {
            let message = format!(
                "dataset.json has format {}, this krammerti reads {FORMAT}",
                meta.format
            );
            return Err(DatasetError::Mismatch(message));
        }
        if !meta
            .columns
            .iter()
            .any(|column| column.name == meta.target && column.role == Role::Target)
        {
            let message = format!(
                "dataset.json has no column {} with the role target",
                meta.target
            );
            return Err(DatasetError::Mismatch(message));
        }
        let names: Vec<String> = meta
            .columns
            .iter()
            .map(|column| column.name.clone())
            .collect();
        let (series, _) = Series::from_table(&table.select(&names)?, meta.step)?;
        if series.rows() != meta.split.rows(Part::Test).end {
            let message = format!(
                "series.parquet has {} rows, dataset.json speaks of {}",
                series.rows(),
                meta.split.rows(Part::Test).end
            );
            return Err(DatasetError::Mismatch(message));
        }
        Ok(Self { series, meta })
    }

    /// All columns in their own units.
    pub fn series(&self) -> &Series {
        &self.series
    }

    /// Everything else.
    pub fn meta(&self) -> &DatasetMeta {
        &self.meta
    }

    /// What is known of the target.
    pub fn target(&self) -> &ColumnMeta {
        let is_target = |column: &&ColumnMeta| column.name == self.meta.target;
        self.meta
            .columns
            .iter()
            .find(is_target)
            .unwrap_or(&self.meta.columns[0])
    }

    /// The columns as a model sees them.
    pub fn frame_columns(&self) -> Vec<FrameColumn> {
        self.meta
            .columns
            .iter()
            .map(|c| FrameColumn {
                name: c.name.clone(),
                role: c.role,
            })
            .collect()
    }

    /// The scaled values, and `ahead` more rows in which only what is known in the future is there.
    /// `scalers` are those of the data set, or those of a model that was trained on another one.
    pub fn frame(&self, scalers: &[Scaler], ahead: usize) -> Frame {
        let rows = self.series.rows();
        let width = self.meta.columns.len();
        let mut values = vec![f32::NAN; (rows + ahead) * width];
        for (c, meta) in self.meta.columns.iter().enumerate() {
            let observed = &self.series.columns()[c].values;
            for row in 0..rows + ahead {
                let value = match (&meta.source, observed.get(row)) {
                    (_, Some(&value)) => value,
                    (&ColumnSource::Calendar { cycle, wave }, None) => {
                        features::calendar_value(cycle.into(), wave, self.series.time(row))
                    }
                    (_, None) => continue,
                };
                values[row * width + c] = scalers[c].transform(value) as f32;
            }
        }
        Frame {
            start: self.series.start(),
            step: self.series.step(),
            columns: self.frame_columns(),
            values,
        }
    }

    /// The scalers of the columns.
    pub fn scalers(&self) -> Vec<Scaler> {
        self.meta
            .columns
            .iter()
            .map(|column| column.scaler)
            .collect()
    }
}

/// Gathers the columns of a data set, the target first.
struct Builder<'a> {
    series: &'a Series,
    params: &'a PrepareParams,
    columns: Vec<(Column, Role, ColumnSource, usize)>,
}

impl<'a> Builder<'a> {
    fn new(series: &'a Series, params: &'a PrepareParams) -> Self {
        Self {
            series,
            params,
            columns: Vec::new(),
        }
    }

    fn add(&mut self, mut column: Column, role: Role, source: ColumnSource) {
        let longest = self.params.fill_gaps_up_to.map_or(0, |gap| {
            (gap.seconds() / self.series.step().seconds()) as usize
        });
        let filled = fill_gaps(&mut column.values, longest);
        self.columns.push((column, role, source, filled));
    }

    /// The columns asked for, without wind directions: those become vectors.
    fn observed(&mut self) -> Result<(), SeriesError> {
        let target = self.series.column(&self.params.target)?.clone();
        let all: Vec<String> = self
            .series
            .columns()
            .iter()
            .map(|column| column.name.clone())
            .collect();
        let mut names = self.params.columns.clone().unwrap_or(all);
        names.retain(|name| {
            *name != target.name && self.params.wind.iter().all(|pair| pair.direction != *name)
        });
        let source = |column: &Column| ColumnSource::Observed {
            column: column.name.clone(),
        };
        self.add(target.clone(), Role::Target, source(&target));
        for name in names {
            let column = self.series.column(&name)?.clone();
            let source = source(&column);
            self.add(column, Role::Past, source);
        }
        Ok(())
    }

    fn wind(&mut self) -> Result<(), SeriesError> {
        for pair in &self.params.wind {
            for column in features::wind_columns(self.series, pair)? {
                let source = ColumnSource::Wind {
                    speed: pair.speed.clone(),
                    direction: pair.direction.clone(),
                };
                self.add(column, Role::Past, source);
            }
        }
        Ok(())
    }

    fn calendar(&mut self) {
        for &calendar in &self.params.calendar {
            for wave in [Wave::Sin, Wave::Cos] {
                let value = |row| features::calendar_value(calendar, wave, self.series.time(row));
                let column = Column {
                    name: features::calendar_name(calendar, wave),
                    unit: "1".to_owned(),
                    values: (0..self.series.rows()).map(value).collect(),
                };
                self.add(
                    column,
                    Role::Future,
                    ColumnSource::Calendar {
                        cycle: calendar.into(),
                        wave,
                    },
                );
            }
        }
    }

    fn finish(self, split: Split, rows: RowCounts) -> Result<Dataset, DatasetError> {
        let train = split.rows(Part::Train);
        let metas = self.columns.iter().map(|(column, role, source, filled)| {
            let present = || {
                column
                    .values
                    .iter()
                    .copied()
                    .filter(|value| !value.is_nan())
            };
            ColumnMeta {
                name: column.name.clone(),
                role: *role,
                unit: column.unit.clone(),
                source: source.clone(),
                scaler: match source {
                    ColumnSource::Calendar { .. } => Scaler::IDENTITY,
                    _ => Scaler::fit(&column.values[train.clone()]),
                },
                min: present().reduce(f64::min),
                max: present().reduce(f64::max),
                filled: *filled,
                missing: column.values.len() - present().count(),
            }
        });
        let meta = DatasetMeta {
            format: FORMAT,
            target: self.params.target.clone(),
            step: self.series.step(),
            first_time: format_utc(self.series.start()),
            last_time: format_utc(self.series.time(self.series.rows() - 1)),
            split,
            rows,
            columns: metas.collect(),
        };
        let columns: Vec<Column> = self
            .columns
            .into_iter()
            .map(|(column, ..)| column)
            .collect();
        if columns[0].values[train].iter().all(|value| value.is_nan()) {
            return Err(DatasetError::NoTarget(meta.target));
        }
        Ok(Dataset {
            series: self.series.with_columns(columns)?,
            meta,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::{SplitShares, WindPair};

    fn params() -> PrepareParams {
        PrepareParams {
            target: "t".into(),
            step: Step::HOUR,
            columns: None,
            wind: vec![WindPair {
                speed: "speed".into(),
                direction: "direction".into(),
            }],
            calendar: vec![Calendar::HourOfDay],
            fill_gaps_up_to: Some(Step::HOUR),
            quality: crate::params::QualityParams::default(),
            split: SplitShares {
                train: 0.7,
                validation: 0.1,
                test: 0.2,
            },
        }
    }

    fn table(rows: usize) -> Table {
        let times: Vec<i64> = (0..rows as i64).map(|row| row * 3600).collect();
        let column = |name: &str, value: &dyn Fn(usize) -> f64| Column {
            name: name.into(),
            unit: "u".into(),
            values: (0..rows).map(value).collect(),
        };
        let t = |row: usize| if row == 3 { f64::NAN } else { row as f64 };
        Table::new(
            times,
            vec![
                column("speed", &|_| 2.0),
                column("t", &t),
                column("direction", &|_| 90.0),
            ],
        )
        .unwrap()
    }

    #[test]
    fn columns_have_their_roles_and_the_target_comes_first() {
        let dataset = Dataset::prepare(&table(100), &params()).unwrap();
        let columns: Vec<_> = dataset
            .meta()
            .columns
            .iter()
            .map(|c| (c.name.as_str(), c.role))
            .collect();
        assert_eq!(
            columns,
            [
                ("t", Role::Target),
                ("speed", Role::Past),
                ("vector_u", Role::Past),
                ("vector_v", Role::Past),
                ("hour_of_day_sin", Role::Future),
                ("hour_of_day_cos", Role::Future),
            ]
        );
        let target = dataset.target();
        assert_eq!(
            (target.filled, target.missing, target.max),
            (1, 0, Some(99.0))
        );
    }

    #[test]
    fn scaling_sees_the_training_part_only() {
        let mut other = table(100);
        let changed: Vec<Column> = other
            .columns()
            .iter()
            .map(|column| {
                let mut column = column.clone();
                column.values[70..]
                    .iter_mut()
                    .for_each(|value| *value += 1000.0);
                column
            })
            .collect();
        other = Table::new(other.times().to_vec(), changed).unwrap();
        let scalers = |table: &Table| Dataset::prepare(table, &params()).unwrap().scalers();
        assert_eq!(scalers(&table(100)), scalers(&other));
    }

    #[test]
    fn rows_ahead_hold_the_calendar_and_nothing_else() {
        let dataset = Dataset::prepare(&table(100), &params()).unwrap();
        let frame = dataset.frame(&dataset.scalers(), 5);
        assert_eq!(frame.rows(), 105);
        let row = frame.row(104);
        assert!(row[..4].iter().all(|value| value.is_nan()));
        assert_eq!(row[4..], frame.row(104 - 24)[4..]);
    }

    #[test]
    fn what_cannot_become_a_data_set_is_told() {
        let prepare = |table: &Table, params: &PrepareParams| {
            Dataset::prepare(table, params).unwrap_err().to_string()
        };
        assert!(prepare(&table(2), &params()).contains("2 rows"));
        let missing = PrepareParams {
            target: "x".into(),
            ..params()
        };
        assert_eq!(
            prepare(&table(10), &missing),
            "no column x; there are speed, t, direction"
        );
        let empty = Table::new(vec![], vec![]).unwrap();
        assert!(Dataset::prepare(&empty, &params()).is_err());
    }

    #[test]
    fn both_files_together_give_it_back() {
        let dataset = Dataset::prepare(&table(100), &params()).unwrap();
        let json = serde_json::to_string(dataset.meta()).unwrap();
        let meta: DatasetMeta = serde_json::from_str(&json).unwrap();
        let back = Dataset::from_parts(&dataset.series().to_table(), meta.clone()).unwrap();
        assert_eq!(back, dataset);
        assert!(Dataset::from_parts(&table(100), meta).is_err());
    }
}
