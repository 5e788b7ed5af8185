//! From hours of places to one table, each value moved once.

use std::collections::BTreeMap;

use super::body::Hours;
use crate::data::{Column, RowSeries, SeriesError, Table};
use crate::params::previous_day;
use crate::time::DAY;

/// A table that grows by hours of one place after the other.
pub(super) struct Rows<'a> {
    times: Vec<i64>,
    issues: Vec<i64>,
    /// Names of places, and how many rows each has; a name may come again.
    series: Vec<(&'a str, usize)>,
    columns: Vec<Column>,
}

impl<'a> Rows<'a> {
    /// A table with room for so many rows.
    pub(super) fn new(names: &[String], rows: usize) -> Self {
        let column = |name: &String| Column {
            name: name.clone(),
            unit: String::new(),
            values: Vec::with_capacity(rows),
        };
        Self {
            times: Vec::with_capacity(rows),
            issues: Vec::new(),
            series: Vec::new(),
            columns: names.iter().map(column).collect(),
        }
    }

    /// Some rows of the hours of a place, whose columns are those of the table.
    pub(super) fn add(
        &mut self,
        place: Option<&'a str>,
        hours: &Hours,
        rows: std::ops::Range<usize>,
    ) -> Result<(), SeriesError> {
        for (column, more) in self.columns.iter_mut().zip(&hours.columns) {
            agree(column, &more.unit)?;
            column.values.extend_from_slice(&more.values[rows.clone()]);
        }
        self.series.extend(place.map(|name| (name, rows.len())));
        self.times.extend(rows.map(|row| hours.time(row)));
        Ok(())
    }

    /// The same as a forecast.
    pub(super) fn add_issue(
        &mut self,
        place: Option<&'a str>,
        issue: i64,
        hours: &Hours,
        rows: std::ops::Range<usize>,
    ) -> Result<(), SeriesError> {
        self.issues.extend(std::iter::repeat_n(issue, rows.len()));
        self.add(place, hours, rows)
    }

    /// The table; of forecasts, where all rows were added so.
    pub(super) fn table(self, are_issues: bool) -> Result<Table, SeriesError> {
        let mut columns = self.columns;
        for column in &mut columns {
            // A column that no answer has.
            if column.unit.is_empty() {
                column.unit.push('1');
            }
        }
        let mut table = Table::new(self.times, columns)?;
        if !self.series.is_empty() {
            let runs = self.series.iter();
            let names = runs.flat_map(|&(name, rows)| std::iter::repeat_n(name, rows));
            table = table.with_series(RowSeries::from_names(names))?;
        }
        if are_issues {
            table = table.with_issues(self.issues)?;
        }
        Ok(table)
    }
}

/// Takes over a unit, or compares it; none is that of an absent column.
fn agree(column: &mut Column, unit: &str) -> Result<(), SeriesError> {
    if column.unit.is_empty() {
        unit.clone_into(&mut column.unit);
    }
    if unit.is_empty() || column.unit == unit {
        return Ok(());
    }
    Err(SeriesError::Unit {
        column: column.name.clone(),
        expected: column.unit.clone(),
        found: unit.to_owned(),
    })
}

/// Hours of each place, parts in the order of time, as one table. Hours at the end of a place that
/// have no value are not there yet.
pub(super) fn of_days(
    places: &[(Option<&str>, Vec<Hours>)],
    names: &[String],
) -> Result<Table, SeriesError> {
    let all: usize = places
        .iter()
        .flat_map(|(_, parts)| parts)
        .map(Hours::rows)
        .sum();
    let mut rows = Rows::new(names, all);
    for (place, parts) in places {
        rows.series.extend(place.map(|name| (name, 0)));
        let last = parts.iter().rposition(|hours| hours.known_rows() > 0);
        for (i, hours) in parts
            .iter()
            .enumerate()
            .take(last.map_or(0, |last| last + 1))
        {
            let known = if Some(i) == last {
                hours.known_rows()
            } else {
                hours.rows()
            };
            rows.add(*place, hours, 0..known)?;
        }
    }
    rows.table(false)
}

/// A variable of earlier runs: under which name it goes on, and how many days before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lead {
    pub(super) name: String,
    pub(super) days: i64,
}

/// `temperature_2m_previous_day2`, or the same of one of several models.
pub(super) fn lead(variable: &str, model: Option<&str>) -> Lead {
    let (name, days) = previous_day(variable).unwrap_or((variable, 0));
    Lead {
        name: match model {
            Some(model) => format!("{name}_{model}"),
            None => name.to_owned(),
        },
        days,
    }
}

/// The same hours as forecasts: what `X_previous_dayN` says of a time was forecast N days before
/// it. So a column becomes rows of its variable with one lead; or, on a grid of issue times, whole
/// forecasts of what was known at each of them, for a lead of up to 24 h by N = 1, up to 48 h by
/// N = 2 and so on. Rows without a value are left out.
pub(super) fn by_issue(
    places: &[(Option<&str>, Vec<Hours>)],
    names: &[String],
    leads: &[Lead],
    grid_s: Option<i64>,
) -> Result<Table, SeriesError> {
    let mut found: Vec<&str> = Vec::new();
    let mut days: BTreeMap<i64, Vec<(usize, usize)>> = BTreeMap::new();
    for (from, lead) in leads.iter().enumerate() {
        let place = found.iter().position(|name| *name == lead.name);
        let to = place.unwrap_or_else(|| {
            found.push(&lead.name);
            found.len() - 1
        });
        days.entry(lead.days).or_default().push((from, to));
    }
    let bases: Vec<String> = found.into_iter().map(str::to_owned).collect();
    let all: usize = places
        .iter()
        .flat_map(|(_, parts)| parts)
        .map(Hours::rows)
        .sum();
    let mut rows = Rows::new(&bases, all * days.len());
    for (place, parts) in places {
        let mut whole = Rows::new(names, parts.iter().map(Hours::rows).sum());
        for hours in parts {
            whole.add(None, hours, 0..hours.rows())?;
        }
        let mut order = Vec::new();
        for (row, &time) in whole.times.iter().enumerate() {
            let known = |&(from, _): &(usize, usize)| !whole.columns[from].values[row].is_nan();
            let there = |lead: &i64| days[lead].iter().any(known);
            let issued = issues_of(time, &days, grid_s);
            let issued = issued.into_iter().filter(|(_, lead)| there(lead));
            order.extend(issued.map(|(issue, lead)| (issue, time, row, lead)));
        }
        order.sort_unstable();
        rows.series.extend(place.map(|name| (name, order.len())));
        for column in &mut rows.columns {
            column
                .values
                .resize(rows.times.len() + order.len(), f64::NAN);
        }
        for &(from, to) in days.values().flatten() {
            agree(&mut rows.columns[to], &whole.columns[from].unit)?;
        }
        for (issue, time, row, lead) in order {
            for &(from, to) in &days[&lead] {
                rows.columns[to].values[rows.times.len()] = whole.columns[from].values[row];
            }
            rows.times.push(time);
            rows.issues.push(issue);
        }
    }
    rows.table(true)
}

/// The issues that speak of a time, each with the days before it of the column that does so: those
/// days themselves, or the fewest that do not reach beyond the issue.
fn issues_of<T>(time: i64, days: &BTreeMap<i64, T>, grid_s: Option<i64>) -> Vec<(i64, i64)> {
    let Some(grid) = grid_s else {
        return days.keys().map(|&days| (time - days * DAY, days)).collect();
    };
    let longest = days.keys().last().copied().unwrap_or(0) * DAY;
    let first = (time - longest + grid - 1).div_euclid(grid) * grid;
    let issues = (first..time).step_by(grid as usize);
    let with_days = |issue: i64| {
        let (&days, _) = days.iter().find(|(days, _)| time - **days * DAY <= issue)?;
        Some((issue, days))
    };
    issues.filter_map(with_days).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(start: i64, columns: &[(&str, &str, &[f64])]) -> Hours {
        let column = |&(name, unit, values): &(&str, &str, &[f64])| Column {
            name: name.into(),
            unit: unit.into(),
            values: values.to_vec(),
        };
        let columns = columns.iter().map(column).collect();
        Hours { start, columns }
    }

    fn values(table: &Table, name: &str) -> Vec<Option<f64>> {
        let values = table.column(name).unwrap().values.iter();
        values.map(|v| (!v.is_nan()).then_some(*v)).collect()
    }

    const NAN: f64 = f64::NAN;

    #[test]
    fn each_place_ends_where_its_values_end() {
        let part = |start, values: &[f64]| hours(start, &[("t", "°C", values)]);
        let places = [
            (
                Some("b"),
                vec![part(0, &[1.0, NAN]), part(7200, &[NAN, 2.0, NAN])],
            ),
            (Some("a"), vec![part(0, &[3.0, NAN]), part(7200, &[NAN])]),
            (Some("none"), vec![part(0, &[NAN])]),
        ];
        let names = ["t".to_owned()];
        let table = of_days(&places, &names).unwrap();
        assert_eq!(table.times(), [0, 3600, 7200, 10_800, 0]);
        assert_eq!(
            values(&table, "t"),
            [Some(1.0), None, None, Some(2.0), Some(3.0)]
        );
        let series = table.series().unwrap();
        assert_eq!(
            (series.names(), series.name(4)),
            (&["a".to_owned(), "b".to_owned()][..], "a")
        );
        let other = hours(7200, &[("t", "K", &[1.0])]);
        let error = of_days(&[(None, vec![part(0, &[1.0]), other])], &names).unwrap_err();
        assert!(matches!(error, SeriesError::Unit { .. }), "{error}");
        let none = of_days(&[], &names).unwrap();
        assert_eq!((none.rows(), none.columns()[0].unit.as_str()), (0, "1"));
    }

    #[test]
    fn earlier_runs_become_rows_with_issue_times() {
        const D: i64 = 86_400;
        let names = ["t_previous_day1", "t_previous_day2", "p_previous_day2"].map(str::to_owned);
        let leads = names.each_ref().map(|name| lead(name, None));
        let part = hours(
            2 * D,
            &[
                (&names[0], "°C", &[1.0, 2.0]),
                (&names[1], "°C", &[3.0, NAN]),
                (&names[2], "hPa", &[5.0, NAN]),
            ],
        );
        let table = by_issue(&[(None, vec![part])], &names, &leads, None).unwrap();
        assert_eq!(table.issues(), Some(&[0, D, D + 3600][..]));
        assert_eq!(table.times(), [2 * D, 2 * D, 2 * D + 3600]);
        assert_eq!(values(&table, "t"), [Some(3.0), Some(1.0), Some(2.0)]);
        assert_eq!(values(&table, "p"), [Some(5.0), None, None]);
        assert_eq!(table.column("p").unwrap().unit, "hPa");
        assert_eq!(lead("t_previous_day3", Some("gfs")).name, "t_gfs");
    }

    #[test]
    fn on_a_grid_each_issue_is_a_whole_forecast_of_what_was_known() {
        let names = ["t_previous_day1", "t_previous_day2"].map(str::to_owned);
        let leads = names.each_ref().map(|name| lead(name, None));
        let part = || {
            let values = |of: f64| (0..96).map(|hour| of + f64::from(hour)).collect::<Vec<_>>();
            let (one, two) = (values(1000.0), values(2000.0));
            hours(0, &[(&names[0], "°C", &one), (&names[1], "°C", &two)])
        };
        let six = Some(6 * 3600);
        let table = by_issue(&[(Some("a"), vec![part()])], &names, &leads, six).unwrap();
        let issues = table.issues().unwrap();
        let run: Vec<usize> = (0..table.rows())
            .filter(|&row| issues[row] == 6 * 3600)
            .collect();
        assert_eq!(run.len(), 48);
        for (lead, &row) in (1..).zip(&run) {
            assert_eq!(table.times()[row], (6 + lead) * 3600);
            let days = if lead <= 24 { 1 } else { 2 };
            let value = (1000 * days + 6 + lead) as f64;
            assert!((table.columns()[0].values[row] - value).abs() < 1e-9);
        }
        // Nothing is known of a time that had not been forecast by then.
        let values = table.columns()[0].values.iter().zip(table.times());
        for ((value, time), issue) in values.zip(issues) {
            let days = (*value as i64 - time / 3600) / 1000;
            assert!(time - days * DAY <= *issue);
        }
        let keys: Vec<_> = (0..table.rows()).map(|row| table.key(row)).collect();
        assert!(keys.is_sorted());
        // Without the first column its hours are told by the second.
        let mut second = part();
        second.columns.remove(0);
        let table = by_issue(&[(None, vec![second])], &names[1..], &leads[1..], six).unwrap();
        let of_first = |row: &usize| table.issues().unwrap()[*row] == 6 * 3600;
        assert_eq!((0..table.rows()).filter(of_first).count(), 48);
        assert!((table.columns()[0].values[0] - 2000.0).abs() < 1e-9);
    }
}
