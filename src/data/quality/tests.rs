//! Every check by name, degenerate input, and what must hold of all.

mod properties;
mod rows;
mod series;
mod values;

use super::*;
use crate::data::{Column, RowSeries};
use crate::params::{ColumnQuality, Conflicts, OrderedPair};

const N: f64 = f64::NAN;

fn column(name: &str, unit: &str, values: &[f64]) -> Column {
    Column {
        name: name.into(),
        unit: unit.into(),
        values: values.to_vec(),
    }
}

/// One column of temperatures, one row an hour.
fn hourly(values: &[f64]) -> Table {
    let times = (0..values.len() as i64).map(|row| row * 3600).collect();
    Table::new(times, vec![column("t", "°C", values)]).unwrap()
}

/// Temperatures without a fault: a day that repeats, and a little more each day.
fn weather(rows: usize) -> Vec<f64> {
    let value = |row: usize| {
        let day = (row as f64 / 24.0 * std::f64::consts::TAU).sin();
        10.0 + 5.0 * day + row as f64 * 1e-3
    };
    (0..rows).map(value).collect()
}

fn setting(params: &QualityParams) -> Setting<'_> {
    Setting {
        params,
        step: Step::HOUR,
        train_until: i64::MAX,
        required: &[],
        ahead: &[],
        now: None,
    }
}

fn assessed(table: Table, change: impl FnOnce(&mut QualityParams)) -> Assessment {
    let mut params = QualityParams::default();
    change(&mut params);
    let times = table.times().iter().copied();
    let (first, last) = (times.clone().min(), times.max());
    let span = first.zip(last).map(|(first, last)| (first, last - first));
    let setting = Setting {
        train_until: span.map_or(0, |(first, span)| first + span / 10 * 7),
        ..setting(&params)
    };
    assess(table, &setting)
}

fn found(assessed: &Assessment, check: Check) -> &Finding {
    let mut findings = assessed.report.checks().iter();
    findings.find(|finding| finding.check == check).unwrap()
}

/// All that was found, as check and count.
fn all(assessed: &Assessment) -> Vec<(Check, usize)> {
    assessed
        .report
        .found()
        .map(|finding| (finding.check, finding.count))
        .collect()
}

fn expected(finding: &Finding) -> &str {
    &finding.examples[0].expected
}

/// Values to the bit, so that missing ones are equal too.
fn bits(table: &Table) -> Vec<Vec<u64>> {
    let of = |column: &Column| column.values.iter().map(|value| value.to_bits()).collect();
    table.columns().iter().map(of).collect()
}

#[test]
fn clean_data_pass_untouched_through_every_check() {
    let table = hourly(&weather(500));
    let assessed = assessed(table.clone(), |_| ());
    assert_eq!(all(&assessed), []);
    assert_eq!(assessed.kept, table);
    assert_eq!(assessed.report.checks().len(), 11);
    assert!(assessed.report.table().contains("11 checks found nothing"));
}

#[test]
fn months_are_told_to_be_no_step() {
    let months = [0, 31, 59, 90, 120].map(|day| day * 86_400);
    let table = Table::new(months.to_vec(), vec![column("co2", "ppm", &[400.0; 5])]).unwrap();
    let params = QualityParams::default();
    let off_step = |step: &str| {
        let setting = Setting {
            step: step.parse().unwrap(),
            ..setting(&params)
        };
        let assessed = assess(table.clone(), &setting);
        expected(found(&assessed, Check::OffStep)).to_owned()
    };
    assert!(off_step("30d").contains("months and years are no step"));
    assert_eq!(off_step("7d"), "a time on the step of 7d");
}

#[test]
fn degenerate_tables_are_assessed_too() {
    for values in [&[][..], &[1.0], &[N], &[N; 300], &[5.0; 3], &[-9999.0; 3]] {
        for action in [Action::Warn, Action::Drop, Action::Mask, Action::Fail] {
            let assessed = assessed(hourly(values), |params| {
                (params.range, params.spikes, params.stuck) = (action, action, action);
                (params.sentinels, params.consistency) = (action, action);
            });
            let rows = assessed.report.rows();
            assert_eq!(rows.rows_in(), values.len());
            assert_eq!(rows.kept(), assessed.kept.times().len());
            assert_eq!(rows.dropped(), assessed.refused.reasons().len());
        }
    }
    let no_columns = assessed(Table::new(vec![0, 0, 1], vec![]).unwrap(), |_| ());
    assert_eq!(
        all(&no_columns),
        [(Check::OffStep, 1), (Check::Duplicates, 1)]
    );
}

#[test]
fn the_table_fits_eighty_columns() {
    let mut values = weather(300);
    values[50..90].fill(7.25);
    values[100] = -9999.0;
    values[101] = 1e300;
    let mut table = hourly(&values);
    let long = column(&"x".repeat(70), "m/s", &[1.0; 300]);
    let columns = [table.columns().to_vec(), vec![long]].concat();
    table = Table::new(table.times().to_vec(), columns).unwrap();
    let text = assessed(table, |_| ()).report.table();
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
    assert!(
        text.contains("1970-01-05 04:00  -9999, expected a measured value"),
        "{text}"
    );
}

#[test]
fn a_report_whose_rows_do_not_add_up_is_refused() {
    let report = assessed(hourly(&[1.0, -9999.0]), |_| ()).report;
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(
        serde_json::from_str::<QualityReport>(&json).unwrap(),
        report
    );
    assert!(
        serde_json::from_str::<QualityReport>(&json.replace("\"kept\":2", "\"kept\":1")).is_err()
    );
}
