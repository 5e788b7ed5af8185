//! Tables with other columns, side by side by series and time.

use super::{Column, RowSeries, SeriesError, Table};

/// A row of the result: the rows that it is made of.
type Pair = (Option<usize>, Option<usize>);

impl Table {
    /// Whether both have a column of one name.
    pub fn shares_columns(&self, other: &Self) -> bool {
        let mut columns = self.columns.iter();
        columns.any(|column| other.column(&column.name).is_ok())
    }

    /// The columns of this table and those of another that has none of them, of observations. Rows of one
    /// series and time become one; where only one table has such a row, the columns of the other are missing.
    /// Of several rows of one time the first goes with the first. The rows stand in order of series and time.
    pub fn join(&self, other: &Self) -> Result<Self, SeriesError> {
        if self.issues.is_some() || other.issues.is_some() {
            return Err(SeriesError::ExtraColumn("issue_time".to_owned()));
        }
        let series = match (&self.series, &other.series) {
            (Some(series), Some(more)) => Some(series.join(more)),
            (None, None) => None,
            _ => return Err(SeriesError::JoinSeries),
        };
        let rows = self.rows();
        let place = |row: usize| series.as_ref().map_or(0, |series| series.of[row]);
        let ours = in_order(rows, |row| (place(row), self.times[row]));
        let theirs = in_order(other.rows(), |row| (place(rows + row), other.times[row]));
        let pairs = pairs(&ours, &theirs);

        let of_first = self.columns.iter().map(|c| taken(c, &pairs, |pair| pair.0));
        let of_second = other
            .columns
            .iter()
            .map(|c| taken(c, &pairs, |pair| pair.1));
        let keys = pairs.iter().filter_map(|&(a, b)| {
            let of = |row: Option<usize>, times: &[i64], first: usize| {
                row.map(|row| (place(first + row), times[row]))
            };
            of(a, &self.times, 0).or_else(|| of(b, &other.times, rows))
        });
        let (places, times): (Vec<u32>, Vec<i64>) = keys.unzip();
        Ok(Self {
            columns: of_first.chain(of_second).collect(),
            times,
            series: series.map(|series| RowSeries {
                names: series.names,
                of: places,
            }),
            issues: None,
        })
    }
}

/// The keys of all rows in order, each with its row; rows of one key stay as they stood.
fn in_order(rows: usize, key: impl Fn(usize) -> (u32, i64)) -> Vec<((u32, i64), usize)> {
    let mut keys: Vec<_> = (0..rows).map(|row| (key(row), row)).collect();
    keys.sort_unstable();
    keys
}

fn pairs<K: Ord>(ours: &[(K, usize)], theirs: &[(K, usize)]) -> Vec<Pair> {
    let mut pairs = Vec::with_capacity(ours.len().max(theirs.len()));
    let (mut a, mut b) = (ours.iter().peekable(), theirs.iter().peekable());
    loop {
        let (take_a, take_b) = match (a.peek(), b.peek()) {
            (Some((one, _)), Some((other, _))) => (one <= other, other <= one),
            (one, other) => (one.is_some(), other.is_some()),
        };
        if !take_a && !take_b {
            return pairs;
        }
        let row = |next: Option<&(K, usize)>| next.map(|(_, row)| *row);
        pairs.push((
            row(take_a.then(|| a.next()).flatten()),
            row(take_b.then(|| b.next()).flatten()),
        ));
    }
}

fn taken(column: &Column, pairs: &[Pair], row: impl Fn(&Pair) -> Option<usize>) -> Column {
    let value = |pair| row(pair).map_or(f64::NAN, |row| column.values[row]);
    Column {
        name: column.name.clone(),
        unit: column.unit.clone(),
        values: pairs.iter().map(value).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str, rows: &[(i64, f64)]) -> Table {
        let column = Column {
            name: name.to_owned(),
            unit: "1".to_owned(),
            values: rows.iter().map(|row| row.1).collect(),
        };
        Table::new(rows.iter().map(|row| row.0).collect(), vec![column]).unwrap()
    }

    fn values(table: &Table, name: &str) -> Vec<String> {
        let column = table.column(name).unwrap();
        column.values.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn rows_of_one_time_become_one() {
        let power = table("power", &[(0, 1.0), (3, 4.0), (1, 2.0), (1, 2.5)]);
        let wind = table("wind", &[(1, 20.0), (2, 30.0), (0, 10.0)]);
        assert!(!power.shares_columns(&wind) && power.shares_columns(&power));
        let joined = power.join(&wind).unwrap();
        assert_eq!(joined.times(), [0, 1, 1, 2, 3]);
        assert_eq!(values(&joined, "power"), ["1", "2", "2.5", "NaN", "4"]);
        assert_eq!(values(&joined, "wind"), ["10", "20", "NaN", "30", "NaN"]);
    }

    #[test]
    fn rows_of_one_series_belong_together() {
        let of = |table: Table, names: &[&str]| {
            let series = RowSeries::from_names(names.iter().copied());
            table.with_series(series).unwrap()
        };
        let power = of(table("power", &[(0, 1.0), (0, 2.0)]), &["north", "south"]);
        let wind = of(table("wind", &[(0, 20.0), (0, 5.0)]), &["south", "east"]);
        let joined = power.join(&wind).unwrap();
        let series = joined.series().unwrap();
        let names: Vec<&str> = (0..3).map(|row| series.name(row)).collect();
        assert_eq!(names, ["east", "north", "south"]);
        assert_eq!(values(&joined, "power"), ["NaN", "1", "2"]);
        assert_eq!(values(&joined, "wind"), ["5", "NaN", "20"]);
        let alone = table("wind", &[(0, 1.0)]);
        assert_eq!(power.join(&alone), Err(SeriesError::JoinSeries));
        let forecast = alone.with_issues(vec![0]).unwrap();
        assert!(table("power", &[]).join(&forecast).is_err());
    }
}
