//! Data sets from tables of known values: roles, gaps, series, forecasts, and what looks ahead.

#![expect(clippy::float_cmp, reason = "these values are exact by construction")]

mod ahead;
mod scaling;
mod steps;

use super::*;
use crate::data::{DatasetMeta, Frame, RowSeries, SeriesError};
use crate::params::{Aggregate, ParamsFile};

const HOUR: i64 = 3600;

fn params(change: &str) -> PrepareParams {
    let text = format!("prepare:\n  target: t\n  step: 1h\n{change}");
    let (_, params) = ParamsFile::parse(std::path::Path::new("params.yaml"), &text, None, &[])
        .unwrap_or_else(|error| panic!("{error}\n{text}"));
    params.prepare.unwrap()
}

fn column(name: &str, unit: &str, values: impl Iterator<Item = f64>) -> Column {
    Column {
        name: name.into(),
        unit: unit.into(),
        values: values.collect(),
    }
}

/// A value that repeats itself nowhere.
fn noise(row: usize, turn: usize) -> f64 {
    ((row * 7919 + turn * 104_729) % 10_007) as f64 / 1000.0
}

/// Hourly rows of a target, a wind and a missing value in row 3.
fn table(rows: usize) -> Table {
    let times = (0..rows as i64).map(|row| row * HOUR).collect();
    let t = (0..rows).map(|row| if row == 3 { f64::NAN } else { noise(row, 0) });
    let columns = vec![
        column("speed", "m/s", (0..rows).map(|row| noise(row, 1))),
        column("t", "°C", t),
        column("direction", "°", (0..rows).map(|_| 90.0)),
    ];
    Table::new(times, columns).unwrap()
}

fn prepare(table: &Table, change: &str) -> Result<Dataset, DatasetError> {
    Dataset::prepare(table, None, &params(change), RowCounts::default())
}

fn frame(dataset: &Dataset, ahead: usize) -> Frame {
    dataset.frame(&dataset.scalers(), ahead).unwrap()
}

fn values<'a>(dataset: &'a Dataset, name: &str) -> &'a [f64] {
    &dataset.panel().column(name).unwrap().values
}

fn roles(dataset: &Dataset) -> Vec<(&str, Role)> {
    let columns = dataset.meta().columns.iter();
    columns.map(|c| (c.name.as_str(), c.role)).collect()
}

#[test]
fn rows_ahead_hold_what_is_known_and_nothing_else() {
    let change = "  calendar: [hour_of_day]\n  lags: {hour_of_day_sin: [1h], t: [2h]}\n  sun: {latitude: 51, longitude: 2}\n";
    let dataset = prepare(&table(100), change).unwrap();
    let frame = frame(&dataset, 5);
    assert_eq!(frame.rows(), 105);
    for (c, (name, role)) in roles(&dataset).into_iter().enumerate() {
        let known = role == Role::Future;
        assert_eq!(frame.at(104, c).is_nan(), !known, "{name}");
        if name.starts_with("hour_of_day") {
            assert!(
                (frame.at(104, c) - frame.at(104 - 24, c)).abs() < 1e-6,
                "{name}"
            );
        }
    }
    assert!(roles(&dataset).contains(&("hour_of_day_sin_lag_1h", Role::Future)));
    assert!(roles(&dataset).contains(&("t_lag_2h", Role::Past)));
}

#[test]
fn more_waves_of_a_cycle_are_columns_of_their_own() {
    let change = "  columns: [t]\n  calendar: [{hour_of_day: 2}, day_of_year]\n";
    let dataset = prepare(&table(100), change).unwrap();
    let names: Vec<&str> = roles(&dataset).into_iter().map(|(name, _)| name).collect();
    let waves = [
        "t",
        "hour_of_day_sin",
        "hour_of_day_cos",
        "hour_of_day_sin_2",
        "hour_of_day_cos_2",
        "day_of_year_sin",
        "day_of_year_cos",
    ];
    assert_eq!(names, waves);
    // A quarter of a day, half of the half.
    assert!((values(&dataset, "hour_of_day_cos_2")[6] + 1.0).abs() < 1e-12);
    let written = serde_json::to_string(&dataset.meta().columns[3].source).unwrap();
    assert!(written.contains(r#""harmonic":2"#), "{written}");
}

#[test]
fn what_looks_ahead_does_so_from_the_last_row_too() {
    let change = "  calendar: [hour_of_day]\n  lags: {hour_of_day_sin: [-3h]}\n  rolling: [{column: hour_of_day_sin_lag_-3h, over: 4h, ahead: 4h, stat: mean}]\n";
    let dataset = prepare(&table(100), change).unwrap();
    for (ahead, rows) in [(0, 100), (5, 105)] {
        let frame = frame(&dataset, ahead);
        assert_eq!(frame.rows(), rows);
        for (c, (name, _)) in roles(&dataset).into_iter().enumerate() {
            if name.starts_with("hour_of_day") {
                let off = frame.at(rows - 1, c) - frame.at(rows - 1 - 24, c);
                assert!(off.abs() < 1e-6, "{name}, {ahead}: {off}");
            }
        }
    }
    let columns = dataset.frame_columns();
    assert!(
        columns
            .iter()
            .all(|column| column.of_time == column.name.starts_with("hour"))
    );
}

#[test]
fn a_wind_vector_is_known_ahead_where_both_its_parts_are() {
    let of_vector = |known: &str| {
        let dataset = prepare(&table(100), &format!("{WIND}{known}")).unwrap();
        let roles = roles(&dataset);
        let role = |name: &str| {
            roles
                .iter()
                .find(|(of, _)| *of == name)
                .map(|(_, role)| *role)
        };
        assert_eq!(role("vector_u"), role("vector_v"));
        role("vector_u").unwrap()
    };
    assert_eq!(of_vector(""), Role::Past);
    assert_eq!(of_vector("  known: [speed]\n"), Role::Past);
    assert_eq!(of_vector("  known: [speed, direction]\n"), Role::Future);
    let told = prepare(&table(100), &format!("{WIND}  known: [direction]\n"));
    let told = told.unwrap_err().to_string();
    assert!(
        told.contains("direction is in `known`, but speed is not"),
        "{told}"
    );
}

/// Equal, where two missing values are. The values are too many to be told.
fn assert_same<T: std::fmt::Debug>(a: &T, b: &T) {
    assert!(format!("{a:?}") == format!("{b:?}"));
}

fn round_trip(dataset: &Dataset) -> Dataset {
    let (table, forecasts, meta) = dataset.clone().into_parts().unwrap();
    let json = serde_json::to_string(&meta).unwrap();
    let meta: DatasetMeta = serde_json::from_str(&json).unwrap();
    Dataset::from_parts(table, forecasts.as_ref(), meta).unwrap()
}

/// Forecasts twice a day, 36 hours ahead.
fn forecasts(days: i64) -> Table {
    let rows: Vec<(i64, i64)> = (0..2 * days)
        .flat_map(|half| (1..=36).map(move |lead| (half * 12, half * 12 + lead)))
        .collect();
    let wind = rows.iter().enumerate().map(|(row, _)| noise(row, 2));
    let table = Table::new(
        rows.iter().map(|row| row.1 * HOUR).collect(),
        vec![column("ws", "m/s", wind)],
    );
    table
        .and_then(|table| table.with_issues(rows.iter().map(|row| row.0 * HOUR).collect()))
        .unwrap()
}

const WIND: &str = "  wind: [{speed: speed, direction: direction}]\n";

#[test]
fn columns_have_their_roles_and_the_target_comes_first() {
    let change = format!("{WIND}  calendar: [hour_of_day]\n  fill: {{up_to: 1h}}\n");
    let dataset = prepare(&table(100), &change).unwrap();
    assert_eq!(
        roles(&dataset),
        [
            ("t", Role::Target),
            ("speed", Role::Past),
            ("vector_u", Role::Past),
            ("vector_v", Role::Past),
            ("filled", Role::Past),
            ("t_filled", Role::Past),
            ("hour_of_day_sin", Role::Future),
            ("hour_of_day_cos", Role::Future),
        ]
    );
    let columns = dataset.frame_columns();
    assert!(
        columns
            .iter()
            .all(|column| column.of_time == column.name.starts_with("hour"))
    );
    let target = dataset.targets().next().unwrap();
    assert_eq!((target.filled, target.missing), (1, 0));
    assert_eq!(values(&dataset, "filled")[2..5], [0.0, 0.25, 0.0]);
    // What was filled is not scored, and nothing is issued from there.
    assert!(dataset.observed_targets()[0][3].is_nan() && !values(&dataset, "t")[3].is_nan());
    let frame = frame(&dataset, 0);
    assert!(frame.may_issue(2) && !frame.may_issue(3) && frame.may_issue(4));
}

#[test]
fn a_mask_for_each_column_where_that_is_asked_for() {
    let dataset = prepare(
        &table(100),
        "  fill: {up_to: 1h, method: last, mask: columns}\n",
    )
    .unwrap();
    let names: Vec<&str> = roles(&dataset).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names[3..], ["t_filled", "speed_filled", "direction_filled"]);
    assert_eq!(values(&dataset, "t")[3], values(&dataset, "t")[2]);
    // The value before it was known: forecasts may be issued.
    assert!(frame(&dataset, 0).may_issue(3));
}

#[test]
fn features_have_columns_in_the_units_of_their_formulas() {
    for change in [
        "  dew_point: [{temperature: speed, humidity: t}]\n",
        "  sun: {latitude: 51, longitude: 2, radiation: speed}\n",
    ] {
        let told = prepare(&table(100), change).unwrap_err().to_string();
        assert!(
            told.contains("is made from speed in") && told.contains("it is in m/s"),
            "{told}"
        );
    }
}

#[test]
fn a_speed_is_made_of_its_parts_and_known_where_both_are() {
    let times = (0..100).map(|row| row * HOUR).collect();
    let part = |name, turn| column(name, "m/s", (0..100).map(move |row| noise(row, turn)));
    let columns = vec![part("t", 0), part("u", 1), part("v", 2)];
    let table = Table::new(times, columns).unwrap();
    for (known, role) in [("[u, v]", Role::Future), ("[u]", Role::Past)] {
        let change = format!("  known: {known}\n  speed: [{{u: u, v: v}}]\n");
        let dataset = prepare(&table, &change).unwrap();
        assert_eq!(roles(&dataset)[3], ("u_v_speed", role));
        assert_eq!(
            values(&dataset, "u_v_speed")[7],
            noise(7, 1).hypot(noise(7, 2))
        );
    }
    let change = "  speed: [{u: speed, v: direction}]\n";
    let told = prepare(&self::table(100), change).unwrap_err().to_string();
    assert!(
        told.contains("speed is made from direction in m/s"),
        "{told}"
    );
}

/// What came after the training part has no place in its scale.
#[test]
fn what_a_model_cannot_see_is_not_there_for_it() {
    let values = (0..400).map(|row| if row == 390 { -1.5 } else { noise(row, 0) });
    let table = Table::new(
        (0..400).map(|row| row * HOUR).collect(),
        vec![column("t", "mm", values)],
    )
    .unwrap();
    for (scaling, is_seen) in [("standard", true), ("log1p", false)] {
        let change = format!("  scaling: {{default: {scaling}}}\n");
        let dataset = prepare(&table, &change).unwrap();
        let seen = dataset.seen_targets(&dataset.scalers());
        assert_eq!(!seen[0][390].is_nan(), is_seen);
        assert_eq!(
            seen[0].iter().filter(|value| value.is_nan()).count(),
            usize::from(!is_seen)
        );
        assert!(!dataset.observed_targets()[0][390].is_nan());
    }
}

#[test]
fn series_have_gaps_of_their_own_and_one_split() {
    let names = (0..200).map(|row| if row < 120 { "a" } else { "b" });
    let times = (0..120).chain(40..120).map(|row| row * HOUR).collect();
    let t = (0..200).map(|row| {
        if row == 119 || row == 120 {
            f64::NAN
        } else {
            noise(row, 0)
        }
    });
    let table = Table::new(times, vec![column("t", "°C", t)])
        .and_then(|table| table.with_series(RowSeries::from_names(names)))
        .unwrap();
    let dataset = prepare(&table, "  fill: {up_to: 5h}\n  lags: {t: [1h]}\n").unwrap();
    // Two gaps at ends, though their rows are neighbours.
    assert_eq!(dataset.targets().next().unwrap().filled, 0);
    assert!(values(&dataset, "t_lag_1h")[120].is_nan());
    assert_eq!(dataset.meta().series.len(), 2);
    assert_eq!(dataset.count(Part::Train), 84 + 44);
    let longer = frame(&dataset, 7);
    assert_eq!(longer.layout.blocks()[1].rows, 127..214);
    let back = round_trip(&dataset);
    assert_same(back.panel(), dataset.panel());
}

/// Series a goes on, and b sends no rows any more: it is in an outage as if they were empty.
#[test]
fn a_series_that_falls_silent_goes_on_as_far_as_gaps_are_filled() {
    let silent = 30;
    let names = (0..400 - silent).map(|row| if row < 200 { "a" } else { "b" });
    let times = (0..200).chain(0..200 - silent as i64).map(|row| row * HOUR);
    let t = (0..400 - silent).map(|row| noise(row, 0));
    let table = Table::new(times.collect(), vec![column("t", "°C", t)])
        .and_then(|table| table.with_series(RowSeries::from_names(names)))
        .unwrap();
    let rows = |change: &str| {
        let dataset = prepare(&table, change).unwrap();
        dataset.panel().layout().blocks()[1].rows.clone()
    };
    for (fill, row_count) in [
        ("", 170),
        ("  fill: {up_to: 2d}\n", 170),
        ("  fill: {up_to: 2d, method: last}\n", 200),
        ("  fill: {up_to: 20h, method: seasonal}\n", 190),
    ] {
        assert_eq!(rows(fill).len(), row_count, "{fill}");
    }
    let dataset = prepare(&table, "  fill: {up_to: 2d, method: last}\n").unwrap();
    assert_eq!(dataset.meta().rows.missing_rows, silent);
    let last = values(&dataset, "t")[369];
    assert!(values(&dataset, "t")[370..].iter().all(|v| *v == last));
    assert_eq!(values(&dataset, "t_filled")[369..371], [0.0, 1.0]);
    let block = dataset.panel().layout().blocks()[1].clone();
    assert_eq!(dataset.observed_until(&block), Some(169));
    // To a check the silence is one, and what krammerti made is nothing to look at.
    let observed = dataset.observations().unwrap();
    assert_eq!(observed.columns().len(), 1);
    let seen = &observed.columns()[0].values;
    assert!(seen[..370].iter().all(|v| !v.is_nan()) && seen[370..].iter().all(|v| v.is_nan()));
    assert_same(round_trip(&dataset).panel(), dataset.panel());
}

#[test]
fn directions_are_not_filled_with_what_lies_between() {
    let wd = [350.0, f64::NAN, 10.0];
    let columns = vec![
        column("t", "°C", (0..60).map(|row| noise(row, 0))),
        column("wind_direction", "°", (0..60).map(|row| wd[row % 3])),
    ];
    let table = Table::new((0..60).map(|row| row * HOUR).collect(), columns).unwrap();
    let dataset = prepare(&table, "  fill: {up_to: 2h}\n").unwrap();
    assert_eq!(
        values(&dataset, "wind_direction")[..3],
        [350.0, 350.0, 10.0]
    );
    // A name that tells nothing, and parameters that do.
    let columns = vec![
        table.columns()[0].clone(),
        Column {
            name: "heading".into(),
            ..table.columns()[1].clone()
        },
    ];
    let table = Table::new(table.times().to_vec(), columns).unwrap();
    let said = "  fill: {up_to: 2h}\n  quality: {columns: {heading: {quantity: direction}}}\n";
    let dataset = prepare(&table, said).unwrap();
    assert_eq!(values(&dataset, "heading")[..3], [350.0, 350.0, 10.0]);
}

#[test]
fn names_that_nothing_has_are_told() {
    for (change, expected) in [
        ("  known: [plan]\n", "no column plan; "),
        ("  aggregate: {rain: sum}\n", "no column rain; "),
        (
            "  scaling: {columns: {rain: log1p}}\n",
            "prepare.scaling.columns: no column rain; ",
        ),
    ] {
        let told = prepare(&table(60), change).unwrap_err().to_string();
        assert!(told.starts_with(expected), "{change}: {told}");
    }
    let sun = "  sun: {places: {dover: {latitude: 51, longitude: 1}}}\n";
    let told = prepare(&table(60), sun).unwrap_err().to_string();
    assert!(told.contains("no place"), "{told}");
}

#[test]
fn what_cannot_become_a_data_set_is_told() {
    let told = |table: &Table, change: &str| prepare(table, change).unwrap_err().to_string();
    assert!(told(&table(2), "").contains("leaves the validation part without a row"));
    assert!(told(&table(60), "  lags: {x: [1h]}\n").contains("no column x; there are t, speed"));
    let logarithm = told(
        &table(60),
        "  scaling: {columns: {cold: log1p}}\n  columns: [cold]\n",
    );
    assert!(logarithm.contains("no column cold"), "{logarithm}");
    let empty = Table::new(vec![], vec![]).unwrap();
    assert!(prepare(&empty, "").is_err());
    let forecasts = forecasts(3);
    assert!(told(&forecasts, "").contains("forecasts only"));
    let silent = Table::new(
        table(60).times().to_vec(),
        vec![column("t", "°C", (0..60).map(|_| f64::NAN))],
    )
    .unwrap();
    assert!(told(&silent, "").contains("no value in the training part"));
    let off = Table::new(
        vec![0, 3600, 5400, 7200, 10_800],
        vec![column("t", "°C", (0..5).map(f64::from))],
    )
    .unwrap();
    assert!(told(&off, "  raw_step: 1h\n").contains("not on the step"));
}

#[test]
fn files_that_do_not_belong_together_are_refused() {
    let dataset = prepare(&table(100), WIND).unwrap();
    let (whole, _, meta) = dataset.clone().into_parts().unwrap();
    let parts = |table: &Table, meta: DatasetMeta| Dataset::from_parts(table.clone(), None, meta);
    let back = parts(&whole, meta.clone()).unwrap();
    assert_same(&back, &dataset);
    assert!(parts(&table(100), meta.clone()).is_err());
    let shorter = whole.take_rows(&(0..99).collect::<Vec<_>>());
    let told = parts(&shorter, meta.clone()).unwrap_err().to_string();
    assert!(
        told.contains("99 rows, dataset.json speaks of 100"),
        "{told}"
    );
    let old = DatasetMeta { format: 1, ..meta };
    assert!(parts(&whole, old).is_err());
}
