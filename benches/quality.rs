//! What the checks of `prepare` cost: a million rows of ten columns, in order and without a fault,
//! with faults, out of order, and of many stations.
//!
//! `cargo bench --workspace --bench quality`
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that fails may say so by panicking"
)]

use divan::Bencher;
use divan::counter::ItemsCount;
use krammerti::data::quality::{Assessment, Setting, assess};
use krammerti::data::{Column, RowSeries, Table, from_parquet, to_parquet};
use krammerti::params::{Action, QualityParams};
use krammerti::time::Step;

const ROWS: usize = 1_000_000;

/// Name, unit, mean and how far values lie from it.
const COLUMNS: [(&str, &str, f64, f64); 10] = [
    ("temperature", "°C", 10.0, 8.0),
    ("dew_point", "°C", 0.0, 2.0),
    ("humidity", "%", 60.0, 20.0),
    ("wind_speed", "m/s", 6.0, 3.0),
    ("wind_gust", "m/s", 14.0, 3.0),
    ("wind_direction", "°", 180.0, 90.0),
    ("pressure", "hPa", 1010.0, 8.0),
    ("rain", "mm", 0.2, 0.2),
    ("radiation", "W/m²", 300.0, 300.0),
    ("pm10", "µg/m³", 20.0, 10.0),
];

fn main() {
    divan::main();
}

/// One row a minute for each station, one after the other.
fn table(stations: usize) -> Table {
    let each = ROWS / stations;
    let times = (0..ROWS).map(|row| (row % each) as i64 * 60).collect();
    let column = |&(name, unit, mean, spread): &(&str, &str, f64, f64)| {
        let value = |row: usize| {
            let day = (row as f64 / 1440.0 * std::f64::consts::TAU).sin();
            // The same numbers each time, and no two alike side by side.
            let noise = (row.wrapping_mul(2_654_435_761) % 1000) as f64 / 1000.0 - 0.5;
            mean + spread * (0.9 * day + 0.1 * noise)
        };
        Column {
            name: name.into(),
            unit: unit.into(),
            values: (0..ROWS).map(value).collect(),
        }
    };
    let table = Table::new(times, COLUMNS.iter().map(column).collect()).unwrap();
    if stations == 1 {
        return table;
    }
    let names: Vec<String> = (0..stations).map(|place| format!("{place:03}")).collect();
    let of = (0..ROWS).map(|row| names[row / each].as_str());
    table.with_series(RowSeries::from_names(of)).unwrap()
}

/// The same with sentinels, missing values, spikes and equal rows.
fn faulty() -> Table {
    let clean = table(1);
    let rows: Vec<usize> = (0..ROWS)
        .map(|row| if row % 2000 == 1999 { row - 1 } else { row })
        .collect();
    let clean = clean.take_rows(&rows);
    let column = |column: &Column| {
        let mut column = column.clone();
        for row in (500..ROWS).step_by(1000) {
            column.values[row] = -9999.0;
            column.values[row / 2 + 1] = f64::NAN;
        }
        for row in (700..ROWS).step_by(10_000) {
            column.values[row] += 40.0;
        }
        column
    };
    let columns = clean.columns().iter().map(column).collect();
    Table::new(clean.times().to_vec(), columns).unwrap()
}

fn checked(table: Table) -> Assessment {
    let params = QualityParams {
        spikes: Action::Mask,
        stuck: Action::Mask,
        range: Action::Mask,
        ..QualityParams::default()
    };
    let setting = Setting {
        params: &params,
        step: Step::from_seconds(60).unwrap(),
        train_until: table.times()[0] + ROWS as i64 * 60 / 10 * 7,
        required: &[],
        ahead: &[],
        now: None,
    };
    assess(table, &setting)
}

fn bench(bencher: Bencher<'_, '_>, table: &Table) {
    bencher
        .counter(ItemsCount::new(ROWS * COLUMNS.len()))
        .with_inputs(|| table.clone())
        .bench_local_values(checked);
}

#[divan::bench(sample_count = 10)]
fn without_a_fault(bencher: Bencher) {
    bench(bencher, &table(1));
}

#[divan::bench(sample_count = 10)]
fn with_faults(bencher: Bencher) {
    bench(bencher, &faulty());
}

/// Every thousandth row comes ten rows late.
#[divan::bench(sample_count = 10)]
fn out_of_order(bencher: Bencher) {
    let mut rows: Vec<usize> = (0..ROWS).collect();
    for row in (0..ROWS - 10).step_by(1000) {
        rows[row..row + 10].rotate_left(1);
    }
    bench(bencher, &table(1).take_rows(&rows));
}

#[divan::bench(sample_count = 10)]
fn of_500_stations(bencher: Bencher) {
    bench(bencher, &table(500));
}

#[divan::bench(sample_count = 10)]
fn read_parquet(bencher: Bencher) {
    let bytes = to_parquet(&faulty()).unwrap();
    bencher
        .counter(ItemsCount::new(ROWS * COLUMNS.len()))
        .with_inputs(|| bytes.clone())
        .bench_local_values(|bytes| from_parquet(bytes).unwrap());
}

#[divan::bench(sample_count = 10)]
fn write_parquet(bencher: Bencher) {
    let table = faulty();
    bencher
        .counter(ItemsCount::new(ROWS * COLUMNS.len()))
        .bench_local(|| to_parquet(&table).unwrap());
}
