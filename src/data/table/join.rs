//! Tables with other columns, side by side by series and time.

use std::collections::BTreeSet;

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
    /// Of several rows of one time the first goes with the first, and the last of fewer with all that are left,
    /// so that equal rows stay equal. The rows stand in order of series and time.
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

impl Table {
    /// From the first row of each series on that has a value of some of these columns; a series without any is
    /// left out. Where no row has one, all of them: what is wrong with that is for others to tell.
    #[must_use]
    pub fn from_first_of(self, names: &[String]) -> Self {
        let columns = self.columns.iter().filter(|c| names.contains(&c.name));
        let columns: Vec<&Column> = columns.collect();
        let has_some = |row: usize| columns.iter().any(|column| !column.values[row].is_nan());
        let mut begun = BTreeSet::new();
        let kept = (0..self.rows()).filter(|&row| {
            let (series, ..) = self.key(row);
            begun.contains(&series) || (has_some(row) && begun.insert(series))
        });
        match kept.collect::<Vec<usize>>().as_slice() {
            [] => self,
            kept => self.take_rows(kept),
        }
    }
}

/// The keys of all rows in order, each with its row; rows of one key stay as they stood.
fn in_order(rows: usize, key: impl Fn(usize) -> (u32, i64)) -> Vec<((u32, i64), usize)> {
    let mut keys: Vec<_> = (0..rows).map(|row| (key(row), row)).collect();
    keys.sort_unstable();
    keys
}

fn pairs<K: Ord>(mut ours: &[(K, usize)], mut theirs: &[(K, usize)]) -> Vec<Pair> {
    let mut pairs = Vec::with_capacity(ours.len().max(theirs.len()));
    while let Some(next) = [ours.first(), theirs.first()]
        .into_iter()
        .flatten()
        .map(|(key, _)| key)
        .min()
    {
        let of_next = |rows: &[(K, usize)]| rows.iter().take_while(|row| row.0 == *next).count();
        let (a, more_ours) = ours.split_at(of_next(ours));
        let (b, more_theirs) = theirs.split_at(of_next(theirs));
        let row = |rows: &[(K, usize)], place: usize| {
            let row = rows.get(place).or(rows.last());
            row.map(|(_, row)| *row)
        };
        pairs.extend((0..a.len().max(b.len())).map(|place| (row(a, place), row(b, place))));
        (ours, theirs) = (more_ours, more_theirs);
    }
    pairs
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
        assert_eq!(values(&joined, "wind"), ["10", "20", "20", "30", "NaN"]);
    }

    #[test]
    fn a_series_begins_with_its_first_value() {
        let power = table("power", &[(2, f64::NAN), (3, 4.0), (4, f64::NAN)]);
        let wind = table("wind", &[(0, 1.0), (1, 2.0), (2, 3.0), (3, 4.0), (5, 6.0)]);
        let names = ["power".to_owned(), "heat".to_owned()];
        let joined = power.join(&wind).unwrap();
        assert_eq!(joined.clone().from_first_of(&names).times(), [3, 4, 5]);
        // A target that is no column, or has no value, is told by whoever looks for it.
        assert_eq!(wind.clone().from_first_of(&names), wind);
        let of = |names: [&'static str; 6]| RowSeries::from_names(names.into_iter());
        let both = joined
            .with_series(of(["b", "b", "b", "b", "b", "a"]))
            .unwrap();
        let kept = both.from_first_of(&names);
        assert_eq!(
            (kept.times(), kept.series().unwrap().names()),
            (&[3, 4][..], &["b".to_owned()][..])
        );
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
