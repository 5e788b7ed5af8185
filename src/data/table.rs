//! Tables of observations and of forecasts, as they come.

mod join;

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use super::SeriesError;

/// A column of numbers. A missing value is NaN; infinities are refused where a table is made.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its unit, such as `°C` or `m/s`; `1` for a number without one.
    pub unit: String,
    /// One value a row.
    pub values: Vec<f64>,
}

/// To which series each row of a table belongs: a station, a farm, a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowSeries {
    names: Vec<String>,
    of: Vec<u32>,
}

impl RowSeries {
    /// From one name a row.
    pub fn from_names<'a>(rows: impl Iterator<Item = &'a str>) -> Self {
        let mut places: BTreeMap<String, u32> = BTreeMap::new();
        let mut of = Vec::with_capacity(rows.size_hint().0);
        let mut last: Option<(&str, u32)> = None;
        for name in rows {
            // Rows of one series mostly stand together, and a look-up costs no allocation.
            let next = places.len() as u32;
            let place = match last {
                Some((before, place)) if before == name => place,
                _ => match places.get(name) {
                    Some(&place) => place,
                    None => *places.entry(name.to_owned()).or_insert(next),
                },
            };
            last = Some((name, place));
            of.push(place);
        }
        // From the order in which they came to that of their names.
        let mut sorted = vec![0; places.len()];
        for (rank, &place) in places.values().enumerate() {
            sorted[place as usize] = rank as u32;
        }
        for place in &mut of {
            *place = sorted[*place as usize];
        }
        Self {
            names: places.into_keys().collect(),
            of,
        }
    }

    /// One name for so many rows.
    pub fn one(name: &str, rows: usize) -> Self {
        Self {
            names: if rows == 0 {
                Vec::new()
            } else {
                vec![name.to_owned()]
            },
            of: vec![0; rows],
        }
    }

    /// The names, sorted; each has a row.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// For each row the place of its name among the names.
    pub fn places(&self) -> &[u32] {
        &self.of
    }

    /// The name of a row's series.
    pub fn name(&self, row: usize) -> &str {
        &self.names[self.of[row] as usize]
    }

    fn take(&self, rows: &[usize]) -> Self {
        let series = Self {
            names: self.names.clone(),
            of: rows.iter().map(|&row| self.of[row]).collect(),
        };
        series.without_unused()
    }

    fn join(&self, other: &Self) -> Self {
        let names: BTreeSet<&String> = self.names.iter().chain(&other.names).collect();
        let places: BTreeMap<&String, u32> = names.iter().copied().zip(0..).collect();
        let moved = |series: &Self| {
            let to: Vec<u32> = series.names.iter().map(|name| places[name]).collect();
            series
                .of
                .iter()
                .map(move |&place| to[place as usize])
                .collect::<Vec<_>>()
        };
        let mut of = moved(self);
        of.extend(moved(other));
        Self {
            names: names.into_iter().cloned().collect(),
            of,
        }
    }

    /// Without the names that no row has.
    fn without_unused(mut self) -> Self {
        let mut used = vec![false; self.names.len()];
        for &place in &self.of {
            used[place as usize] = true;
        }
        if used.iter().all(|used| *used) {
            return self;
        }
        let mut next = 0;
        let place = |&used: &bool| {
            let place = next;
            next += u32::from(used);
            place
        };
        let moved: Vec<u32> = used.iter().map(place).collect();
        for place in &mut self.of {
            *place = moved[*place as usize];
        }
        let names = self.names.into_iter().zip(used);
        self.names = names
            .filter_map(|(name, used)| used.then_some(name))
            .collect();
        self
    }
}

/// Observations as a source gives them: any step, any order of times. Where `issues` is there, the
/// rows are forecasts: each was made at its issue time and speaks of its time.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    times: Vec<i64>,
    series: Option<RowSeries>,
    issues: Option<Vec<i64>>,
    columns: Vec<Column>,
}

/// Names that a column cannot have, because the rows themselves are told by them.
pub const RESERVED: [&str; 3] = ["time", "series", "issue_time"];

pub(super) fn check(rows: usize, columns: &[Column]) -> Result<(), SeriesError> {
    check_shape(rows, columns)?;
    let infinite = |column: &Column| Some((column.name.clone(), first_infinite(&column.values)?));
    match columns.par_iter().find_map_first(infinite) {
        Some((column, row)) => Err(SeriesError::Infinite { column, row }),
        None => Ok(()),
    }
}

/// The same without a look at the values, where somebody has looked at them already.
pub(super) fn check_shape(rows: usize, columns: &[Column]) -> Result<(), SeriesError> {
    for (i, column) in columns.iter().enumerate() {
        require_length(&column.name, rows, column.values.len())?;
        if RESERVED.contains(&column.name.as_str())
            || columns[..i].iter().any(|other| other.name == column.name)
        {
            return Err(SeriesError::DuplicateColumn(column.name.clone()));
        }
    }
    Ok(())
}

/// Whole blocks are looked at without a branch a value, which the compiler turns into vector
/// instructions: a table of gigabytes is read once more for this.
pub(super) fn first_infinite(values: &[f64]) -> Option<usize> {
    const BLOCK: usize = 1024;
    let any = |block: &[f64]| (block.iter()).fold(false, |any, value| any | value.is_infinite());
    let start = values.chunks(BLOCK).position(any)? * BLOCK;
    let row = values[start..]
        .iter()
        .position(|value| value.is_infinite())?;
    Some(start + row)
}

fn require_length(column: &str, expected: usize, found: usize) -> Result<(), SeriesError> {
    if expected == found {
        return Ok(());
    }
    Err(SeriesError::Length {
        column: column.to_owned(),
        expected,
        found,
    })
}

/// Whether two values are the same: to the bit, or both missing.
pub fn same_value(a: f64, b: f64) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

pub(super) fn find<'a>(columns: &'a [Column], name: &str) -> Result<&'a Column, SeriesError> {
    columns
        .iter()
        .find(|column| column.name == name)
        .ok_or_else(|| SeriesError::no_column(name, columns.iter().map(|column| &column.name)))
}

impl Table {
    /// A table from its times, in seconds since 1970 UTC, and its columns.
    pub fn new(times: Vec<i64>, columns: Vec<Column>) -> Result<Self, SeriesError> {
        check(times.len(), &columns)?;
        Ok(Self::of(times, columns))
    }

    /// The same from parts that are known to fit.
    pub(super) fn of(times: Vec<i64>, columns: Vec<Column>) -> Self {
        Self {
            times,
            series: None,
            issues: None,
            columns,
        }
    }

    /// The same rows, each in its series.
    pub fn with_series(self, series: RowSeries) -> Result<Self, SeriesError> {
        require_length("series", self.times.len(), series.of.len())?;
        let series = Some(series);
        Ok(Self { series, ..self })
    }

    /// The same with a series for each row that is known to fit.
    pub(super) fn with_known_series(self, series: RowSeries) -> Self {
        debug_assert_eq!(self.times.len(), series.of.len());
        let series = Some(series);
        Self { series, ..self }
    }

    /// The same rows, as forecasts with their issue times.
    pub fn with_issues(self, issues: Vec<i64>) -> Result<Self, SeriesError> {
        require_length("issue_time", self.times.len(), issues.len())?;
        let issues = Some(issues);
        Ok(Self { issues, ..self })
    }

    /// The same rows with other columns.
    pub fn with_columns(self, columns: Vec<Column>) -> Result<Self, SeriesError> {
        check(self.times.len(), &columns)?;
        Ok(Self { columns, ..self })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.times.len()
    }

    /// The times that the rows speak of, in the order of the rows.
    pub fn times(&self) -> &[i64] {
        &self.times
    }

    /// To which series each row belongs, where there are several.
    pub fn series(&self) -> Option<&RowSeries> {
        self.series.as_ref()
    }

    /// When each row was issued, where the rows are forecasts.
    pub fn issues(&self) -> Option<&[i64]> {
        self.issues.as_deref()
    }

    /// The columns.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The columns, without the times.
    pub fn into_columns(self) -> Vec<Column> {
        self.columns
    }

    /// One column.
    pub fn column(&self, name: &str) -> Result<&Column, SeriesError> {
        find(&self.columns, name)
    }

    /// Keeps some columns, in the order asked for.
    pub fn select(&self, names: &[String]) -> Result<Self, SeriesError> {
        let columns = names
            .iter()
            .map(|name| self.column(name).cloned())
            .collect::<Result<_, _>>()?;
        Ok(Self {
            times: self.times.clone(),
            series: self.series.clone(),
            issues: self.issues.clone(),
            columns,
        })
    }

    /// What tells rows apart: the series, the issue time, the time.
    pub fn key(&self, row: usize) -> (u32, i64, i64) {
        let series = self.series.as_ref().map_or(0, |series| series.of[row]);
        let issue = self.issues.as_ref().map_or(0, |issues| issues[row]);
        (series, issue, self.times[row])
    }

    /// The rows with these numbers, in this order. The numbers must be rows of the table.
    #[must_use]
    pub fn take_rows(&self, rows: &[usize]) -> Self {
        let column = |column: &Column| Column {
            name: column.name.clone(),
            unit: column.unit.clone(),
            values: rows.iter().map(|&row| column.values[row]).collect(),
        };
        let take = |times: &[i64]| rows.iter().map(|&row| times[row]).collect();
        Self {
            times: take(&self.times),
            series: self.series.as_ref().map(|series| series.take(rows)),
            issues: self.issues.as_deref().map(take),
            columns: self.columns.iter().map(column).collect(),
        }
    }

    /// Whether the rows stand in the order of their keys.
    pub(super) fn is_in_order(&self) -> bool {
        if self.series.is_none() && self.issues.is_none() {
            return self.times.is_sorted();
        }
        (1..self.rows()).all(|row| self.key(row - 1) <= self.key(row))
    }

    /// Puts the rows in the order of their keys; rows of one key stay as they stood. Tells for each
    /// row where it stood, if that changed. Of the rows that move, one column at a time is held twice,
    /// for each core.
    pub(super) fn sort_rows(&mut self) -> Option<Vec<usize>> {
        if self.is_in_order() {
            return None;
        }
        let mut order: Vec<usize> = (0..self.rows()).collect();
        match (&self.series, &self.issues) {
            (None, None) => order.sort_by_key(|&row| self.times[row]),
            _ => order.sort_by_key(|&row| self.key(row)),
        }
        let moves: Vec<Move> = (order.iter().enumerate())
            .filter(|&(to, &from)| to != from)
            .map(|(to, &from)| Move { to, from })
            .collect();
        carry_out(&moves, &mut self.times);
        if let Some(series) = &mut self.series {
            carry_out(&moves, &mut series.of);
        }
        if let Some(issues) = &mut self.issues {
            carry_out(&moves, issues);
        }
        (self.columns.par_iter_mut()).for_each(|column| carry_out(&moves, &mut column.values));
        Some(order)
    }

    /// Takes rows out, in place. Their numbers must be in order, each once.
    pub(super) fn remove_rows(&mut self, rows: &[usize]) {
        if rows.is_empty() {
            return;
        }
        remove(&mut self.times, rows);
        if let Some(mut series) = self.series.take() {
            remove(&mut series.of, rows);
            self.series = Some(series.without_unused());
        }
        if let Some(issues) = &mut self.issues {
            remove(issues, rows);
        }
        (self.columns.par_iter_mut()).for_each(|column| remove(&mut column.values, rows));
    }

    /// Makes some values of a column missing. Returns how many were not.
    pub(super) fn mask(&mut self, column: usize, rows: impl Iterator<Item = usize>) -> usize {
        let values = &mut self.columns[column].values;
        let mut present = 0;
        for row in rows {
            present += usize::from(!values[row].is_nan());
            values[row] = f64::NAN;
        }
        present
    }

    /// The rows of this table, then those of another that came from the same one.
    pub(super) fn extend(&mut self, other: Self) {
        if let (Some(series), Some(more)) = (&self.series, &other.series) {
            self.series = Some(series.join(more));
        }
        if let (Some(issues), Some(more)) = (&mut self.issues, other.issues) {
            issues.extend(more);
        }
        self.times.extend(other.times);
        for (column, more) in self.columns.iter_mut().zip(other.columns) {
            column.values.extend(more.values);
        }
    }

    /// The rows of this table, then those of another with the same columns.
    pub fn append(mut self, other: &Self) -> Result<Self, SeriesError> {
        if let Some(extra) = other
            .columns
            .iter()
            .find(|column| self.column(&column.name).is_err())
        {
            return Err(SeriesError::ExtraColumn(extra.name.clone()));
        }
        self.series = match (&self.series, &other.series) {
            (Some(series), Some(more)) => Some(series.join(more)),
            (None, None) => None,
            _ => return Err(SeriesError::ExtraColumn("series".to_owned())),
        };
        match (&mut self.issues, &other.issues) {
            (Some(issues), Some(more)) => issues.extend_from_slice(more),
            (None, None) => {}
            _ => return Err(SeriesError::ExtraColumn("issue_time".to_owned())),
        }
        self.times.extend_from_slice(&other.times);
        for column in &mut self.columns {
            let more = other.column(&column.name)?;
            if more.unit != column.unit {
                return Err(SeriesError::Unit {
                    column: column.name.clone(),
                    expected: column.unit.clone(),
                    found: more.unit.clone(),
                });
            }
            column.values.extend_from_slice(&more.values);
        }
        Ok(self)
    }
}

/// An item that goes to another place.
#[derive(Clone, Copy)]
struct Move {
    to: usize,
    from: usize,
}

/// Carries out moves that belong together: mostly a few rows came late, and all others stay.
fn carry_out<T: Copy>(moves: &[Move], items: &mut [T]) {
    let moved: Vec<T> = moves.iter().map(|step| items[step.from]).collect();
    for (step, item) in moves.iter().zip(moved) {
        items[step.to] = item;
    }
}

/// Closes the ranks over some items, whose places are in order.
fn remove<T: Copy>(items: &mut Vec<T>, places: &[usize]) {
    let Some(&first) = places.first() else {
        return;
    };
    let ends = places[1..].iter().copied().chain([items.len()]);
    let mut to = first;
    for (&place, end) in places.iter().zip(ends) {
        items.copy_within(place + 1..end, to);
        to += end - place - 1;
    }
    items.truncate(to);
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
    fn only_like_tables_are_put_together() -> Result<(), SeriesError> {
        let one = table(&[0], &[1.0])?;
        assert_eq!(
            one.clone().append(&table(&[3600], &[2.0])?)?.times(),
            [0, 3600]
        );
        let kelvin = Column {
            unit: "K".into(),
            ..column(&[2.0])
        };
        let other = Table::new(vec![3600], vec![kelvin.clone()])?;
        assert!(matches!(
            one.clone().append(&other),
            Err(SeriesError::Unit { .. })
        ));
        let more = Column {
            name: "more".into(),
            ..kelvin
        };
        let other = Table::new(vec![3600], vec![column(&[2.0]), more])?;
        assert!(matches!(
            one.clone().append(&other),
            Err(SeriesError::ExtraColumn(_))
        ));
        let forecast = table(&[3600], &[2.0])?.with_issues(vec![0])?;
        assert_eq!(
            one.append(&forecast),
            Err(SeriesError::ExtraColumn("issue_time".into()))
        );
        Ok(())
    }

    #[test]
    fn rows_keep_their_series() -> Result<(), SeriesError> {
        let rows = ["b", "b", "a", "c"];
        let series = RowSeries::from_names(rows.into_iter());
        assert_eq!(series.names(), ["a", "b", "c"]);
        assert_eq!(series.places(), [1, 1, 0, 2]);
        let table = table(&[0, 1, 2, 3], &[0.0, 1.0, 2.0, 3.0])?.with_series(series)?;
        let part = table.take_rows(&[3, 0]);
        let of_part = part.series().expect("several series");
        assert_eq!((of_part.name(0), of_part.name(1)), ("c", "b"));
        assert_eq!(of_part.names(), ["b", "c"]);
        let whole = part.append(&table.take_rows(&[2]))?;
        let series = whole.series().expect("several series");
        assert_eq!((series.names().len(), series.name(2)), (3, "a"));
        assert_eq!(whole.key(1), (1, 0, 0));
        assert!(table.with_series(RowSeries::one("x", 2)).is_err());
        assert!(RowSeries::one("x", 0).names().is_empty());
        Ok(())
    }

    #[test]
    fn rows_are_sorted_by_series_issue_and_time_and_taken_out_in_place() -> Result<(), SeriesError>
    {
        let series = RowSeries::from_names(["b", "a", "b", "a", "a"].into_iter());
        let mut table = table(&[0, 60, 0, 0, 60], &[0.0, 1.0, 2.0, 3.0, 4.0])?
            .with_series(series)?
            .with_issues(vec![-10, -10, -20, -10, -10])?;
        assert_eq!(table.sort_rows(), Some(vec![3, 1, 4, 2, 0]));
        assert_eq!(table.columns()[0].values, [3.0, 1.0, 4.0, 2.0, 0.0]);
        assert_eq!(table.issues(), Some(&[-10, -10, -10, -20, -10][..]));
        assert_eq!(table.sort_rows(), None);
        table.remove_rows(&[]);
        table.remove_rows(&[0, 1, 2]);
        assert_eq!(table.columns()[0].values, [2.0, 0.0]);
        assert_eq!(table.series().expect("one series").names(), ["b"]);
        assert_eq!(table.mask(0, [1, 1].into_iter()), 1);
        table.remove_rows(&[0, 1]);
        assert_eq!(table.rows(), 0);
        Ok(())
    }

    #[test]
    fn an_infinite_value_is_found_wherever_it_stands() {
        for row in [0, 1023, 1024, 3000] {
            let mut values = vec![f64::NAN; 3001];
            values[row] = f64::NEG_INFINITY;
            values.push(f64::INFINITY);
            assert_eq!(first_infinite(&values), Some(row));
        }
        assert_eq!(first_infinite(&[f64::NAN, f64::MAX]), None);
    }

    #[test]
    fn degenerate_tables_are_refused_by_name() {
        assert!(matches!(
            table(&[0], &[1.0, 2.0]),
            Err(SeriesError::Length { .. })
        ));
        assert!(matches!(
            table(&[0], &[f64::INFINITY]),
            Err(SeriesError::Infinite { row: 0, .. })
        ));
        let time = Column {
            name: "time".into(),
            ..column(&[1.0])
        };
        assert!(Table::new(vec![0], vec![time]).is_err());
    }
}
