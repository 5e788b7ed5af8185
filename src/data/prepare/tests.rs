//! Data sets from tables of known values: roles, gaps, series, forecasts, and what looks ahead.

#![expect(clippy::float_cmp, reason = "these values are exact by construction")]

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
fn scaling_sees_the_training_part_only() {
    let mut other = table(100);
    let changed = other.columns().iter().map(|column| {
        let mut column = column.clone();
        column.values[70..]
            .iter_mut()
            .for_each(|value| *value += 1000.0);
        column
    });
    other = Table::new(other.times().to_vec(), changed.collect()).unwrap();
    let change = "  scaling: {default: robust, columns: {speed: log1p}}\n";
    let scalers = |table: &Table| prepare(table, change).unwrap().scalers();
    assert_eq!(scalers(&table(100)), scalers(&other));
    let negative = prepare(&table(100), "  scaling: {columns: {t: min_max}}\n").unwrap();
    assert!(negative.scalers()[0].transform(0.0).abs() < 0.2);
}

/// Such as a farm that draws power, after a training part in which it stood still at worst.
#[test]
fn values_that_a_logarithm_has_no_place_for_are_found() {
    let t = |row: usize| match row {
        90 => -1.0,
        95 => -3.0,
        row => noise(row, 0),
    };
    let hours = (0..100).map(|row| row * HOUR).collect();
    let table = Table::new(hours, vec![column("t", "MW", (0..100).map(t))]).unwrap();
    let dataset =
        |scaling: &str| prepare(&table, &format!("  scaling: {{default: {scaling}}}\n")).unwrap();
    let logarithm = dataset("log1p");
    assert_eq!(
        logarithm.without_place(&logarithm.scalers()),
        [("t", 2, -3.0)]
    );
    let plain = dataset("robust");
    assert_eq!(plain.without_place(&plain.scalers()), []);
}

/// Two series of 100 rows, of which one is `times` as large as the other.
fn two_sizes(times: f64) -> Table {
    let names = (0..200).map(|row| if row < 100 { "a" } else { "b" });
    let hours = (0..100).chain(0..100).map(|row| row * HOUR).collect();
    let t = (0..200).map(|row| noise(row % 100, 0) * if row < 100 { 1.0 } else { times });
    Table::new(hours, vec![column("t", "MW", t)])
        .and_then(|table| table.with_series(RowSeries::from_names(names)))
        .unwrap()
}

/// The values of one series as a model sees them.
fn seen(frame: &Frame, series: usize) -> &[f32] {
    let rows = frame.layout.blocks()[series].rows.clone();
    &frame.values[rows.start * frame.width()..rows.end * frame.width()]
}

#[test]
fn a_model_sees_shares_of_what_each_series_can_reach() {
    let features = "  lags: {t: [2h]}\n  differences: {t: [1h]}\n  rolling: [{column: t, over: 3h, stat: std}]\n";
    let capacity = "  capacity: {t: {a: 16, b: 16384}}\n";
    let unequal = prepare(&two_sizes(1024.0), &format!("{features}{capacity}")).unwrap();
    let frame_of = |dataset: &Dataset| frame(dataset, 3);
    let frame = frame_of(&unequal);
    assert_eq!(
        format!("{:?}", seen(&frame, 0)),
        format!("{:?}", seen(&frame, 1))
    );
    // As if all had been given as shares.
    let equal = prepare(
        &two_sizes(1.0),
        &format!("{features}  capacity: {{t: 16}}\n"),
    )
    .unwrap();
    assert_same(&frame.values, &frame_of(&equal).values);
    assert_eq!(unequal.scalers(), equal.scalers());
    assert_eq!(unequal.observed_shares(), equal.observed_shares());
    assert_eq!(
        values(&unequal, "t")[150],
        1024.0 * values(&unequal, "t")[50]
    );
    assert_eq!(unequal.meta().capacity("t", "b"), 16384.0);
    let back = round_trip(&unequal);
    assert_same(&frame_of(&back), &frame);
}

#[test]
fn the_largest_of_the_training_part_is_a_capacity_and_a_model_keeps_it() {
    let dataset = |times| prepare(&two_sizes(times), "  capacity: {t: largest}\n").unwrap();
    let known = dataset(1024.0);
    let most = values(&known, "t")[..70]
        .iter()
        .copied()
        .fold(0.0, f64::max);
    assert_eq!(known.meta().capacity("t", "a"), most);
    assert_eq!(known.meta().capacity("t", "b"), 1024.0 * most);
    let later = dataset(4096.0).sized_as(&known.meta().capacity);
    assert_eq!(later.meta().capacity("t", "b"), 1024.0 * most);
    let [("t", "b", times)] = later.beyond_capacity()[..] else {
        panic!("{:?}", later.beyond_capacity())
    };
    assert!((3.9..4.3).contains(&times), "{times}");
    assert_eq!(dataset(1.0).beyond_capacity(), []);
}

#[test]
fn forecasts_from_outside_are_shares_of_the_same() {
    let runs = |named: bool| {
        let table = forecasts(4);
        let ws = &table.columns()[0].values;
        let both = ws
            .iter()
            .copied()
            .chain(ws.iter().map(|value| value * 1024.0));
        let twice = |of: &[i64]| [of, of].concat();
        let rows = table.rows();
        let times = twice(table.times());
        let issues = twice(table.issues().unwrap());
        if !named {
            return forecasts(4);
        }
        let names = (0..2 * rows).map(|row| if row < rows { "a" } else { "b" });
        Table::new(times, vec![column("t", "MW", both)])
            .and_then(|table| table.with_issues(issues))
            .and_then(|table| table.with_series(RowSeries::from_names(names)))
            .unwrap()
    };
    let each = "  capacity: {t: {a: 16, b: 16384}}\n";
    let prepared = |change: &str, runs: &Table| {
        let params = params(change);
        Dataset::prepare(
            &two_sizes(1024.0),
            Some(runs),
            &params,
            RowCounts::default(),
        )
    };
    let dataset = prepared(each, &runs(true)).unwrap();
    let frame = frame(&dataset, 0);
    let of_a_at_20 = frame.forecast_at(20, 5)[0];
    for issue in [20, 50] {
        let [of_a, of_b] = [issue, 100 + issue].map(|row| frame.forecast_at(row, 5));
        assert!(of_a.len() == 2 && of_a == of_b, "{of_a:?} {of_b:?}");
    }
    // Without a name they are of the only series there is.
    let rows: Vec<usize> = (0..100).collect();
    let only = two_sizes(1024.0).take_rows(&rows);
    let unnamed = forecasts(4);
    let column = column("t", "MW", unnamed.columns()[0].values.iter().copied());
    let unnamed = unnamed.with_columns(vec![column]).unwrap();
    let params = params("  capacity: {t: {a: 16}}\n");
    let of_one = Dataset::prepare(&only, Some(&unnamed), &params, RowCounts::default()).unwrap();
    let of_one = self::frame(&of_one, 0);
    assert!((of_one.forecast_at(20, 5)[0] - of_a_at_20).abs() < 1e-5);
    // What speaks of all at once is no share of any.
    let named = "  capacity: {forecast_ws: {a: 16, b: 32}}\n";
    let told = prepared(named, &runs(false)).unwrap_err().to_string();
    assert!(told.contains("found none for all together"), "{told}");
    prepared("  capacity: {forecast_ws: 16}\n", &runs(false)).unwrap();
}

#[test]
fn a_series_without_a_capacity_is_told() {
    let told = |change: &str| prepare(&two_sizes(2.0), change).unwrap_err().to_string();
    let of_one = told("  capacity: {t: {a: 16}}\n");
    assert!(
        of_one.contains(
            "prepare.capacity.t: expected a number above 0 for each series, found none for b"
        ),
        "{of_one}"
    );
    let misspelt = told("  capacity: {p: 16}\n");
    assert!(
        misspelt.contains("prepare.capacity: no column p; there are t"),
        "{misspelt}"
    );
    let dataset = prepare(&two_sizes(2.0), "  capacity: {t: {a: 16, b: 4}}\n").unwrap();
    let (table, _, meta) = dataset.into_parts().unwrap();
    let json = serde_json::to_string(&meta)
        .unwrap()
        .replace("\"b\":4.0", "\"c\":4.0");
    let broken = Dataset::from_parts(table, None, serde_json::from_str(&json).unwrap());
    assert!(broken.unwrap_err().to_string().contains("found none for b"));
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

/// Observations up to half past twelve, and a plan for two days more: the day that has begun has no value yet, and
/// what nothing is held against is no part of the split.
#[test]
fn what_is_known_ahead_ends_no_day_before_its_time() {
    let rows = 24 * 40 + 13;
    let times: Vec<i64> = (1..=rows + 48).map(|row| row * HOUR).collect();
    let is_past = |row: i64| row < rows;
    let t = (0..rows + 48).map(|row| {
        if is_past(row) {
            noise(row as usize, 0)
        } else {
            f64::NAN
        }
    });
    let columns = vec![
        column("t", "°C", t),
        column("plan", "1", (0..rows + 48).map(|row| (row % 5) as f64)),
    ];
    let table = Table::new(times, columns).unwrap();
    let text = "  known: [plan]\n";
    let mut params = params(text);
    params.step = crate::time::Step::DAY;
    let dataset = Dataset::prepare(&table, None, &params, RowCounts::default()).unwrap();
    let seen: Vec<bool> = values(&dataset, "t").iter().map(|v| !v.is_nan()).collect();
    assert_eq!(
        (seen.len(), seen.iter().filter(|seen| **seen).count()),
        (42, 40)
    );
    assert!(values(&dataset, "plan").iter().all(|value| !value.is_nan()));
    let layout = dataset.panel().layout();
    let test = dataset
        .meta()
        .split
        .rows(Part::Test, &layout.blocks()[0], layout.step());
    assert_eq!(test.end, 40);
}

#[test]
fn a_mean_of_directions_is_that_of_the_wind() {
    let rows = 48_i64;
    let columns = vec![
        column("t", "°C", (0..rows).map(|row| noise(row as usize, 0))),
        column(
            "wind_direction",
            "°",
            (0..rows).map(|row| [350.0, 10.0][row as usize % 2]),
        ),
    ];
    let table = Table::new((1..=rows).map(|row| row * HOUR / 2).collect(), columns).unwrap();
    for change in ["", "  aggregate: {wind_direction: mean}\n"] {
        let dataset = prepare(&table, change).unwrap();
        for &value in values(&dataset, "wind_direction") {
            assert!(value.min(360.0 - value) < 1e-6, "{change}: {value}");
        }
    }
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
fn finer_observations_become_one_row() {
    // Ten minutes each; rows of an hour end with it.
    let rows = 6 * 60_usize;
    let times = (0..rows as i64).map(|row| row * 600).collect();
    let columns = vec![
        column("t", "°C", (0..rows).map(|row| row as f64)),
        column("wind_gust", "m/s", (0..rows).map(|row| row as f64)),
        column("rain", "mm", (0..rows).map(|_| 1.0)),
        column(
            "wind_direction",
            "°",
            (0..rows).map(|row| if row % 2 == 0 { 350.0 } else { 10.0 }),
        ),
    ];
    let dataset = prepare(&Table::new(times, columns).unwrap(), "").unwrap();
    let row = 2;
    assert_eq!(dataset.panel().layout().time(row) % HOUR, 0);
    let last = dataset.panel().layout().time(row) / 600;
    assert_eq!(values(&dataset, "t")[row], last as f64 - 2.5);
    assert_eq!(values(&dataset, "wind_gust")[row], last as f64);
    assert_eq!(values(&dataset, "rain")[row], 6.0);
    let direction = values(&dataset, "wind_direction")[row];
    assert!(!(1e-6..=360.0 - 1e-6).contains(&direction), "{direction}");
    let gust = dataset
        .meta()
        .columns
        .iter()
        .find(|c| c.name == "wind_gust")
        .unwrap();
    assert!(matches!(
        &gust.source,
        ColumnSource::Observed {
            aggregate: Some(Aggregate::Max),
            ..
        }
    ));
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

#[test]
fn forecasts_are_joined_as_they_were_known() {
    let params = params("  forecasts: {delay: 3h}\n");
    let (table, known) = (table(240), forecasts(10));
    let dataset = Dataset::prepare(&table, Some(&known), &params, RowCounts::default()).unwrap();
    let forecast: Vec<(&str, Role)> = roles(&dataset)
        .into_iter()
        .filter(|c| c.1 == Role::Forecast)
        .collect();
    assert_eq!(
        forecast,
        [
            ("forecast_ws", Role::Forecast),
            ("forecast_lead", Role::Forecast)
        ]
    );
    let frame = frame(&dataset, 0);
    let scaler = &dataset.scalers()[dataset.meta().columns.len() - 2..];
    let seen = |issue: usize, lead: usize| {
        let values = frame.forecast_at(issue, lead);
        let pairs = values.iter().zip(scaler);
        pairs
            .map(|(&v, scaler)| scaler.inverse(f64::from(v)))
            .collect::<Vec<f64>>()
    };
    let close = |found: &[f64], expected: [f64; 2]| {
        let pairs = found.iter().zip(&expected);
        assert!(
            found.len() == 2 && pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-3),
            "{found:?} {expected:?}"
        );
    };
    // At 14:00 the run of 00:00 is the newest, at 15:00 that of noon is out.
    let value = |run: usize, lead: usize| known.columns()[0].values[run * 36 + lead - 1];
    close(&seen(14, 1), [value(0, 15), 15.0]);
    close(&seen(14, 22), [value(0, 36), 36.0]);
    assert!(seen(14, 23).is_empty() && seen(2, 1).is_empty());
    close(&seen(15, 1), [value(1, 4), 4.0]);
    // In a lookback, what was forecast for the row when it came.
    assert_eq!(values(&dataset, "forecast_ws")[15], value(1, 3));
    assert_eq!(values(&dataset, "forecast_ws")[14], value(0, 14));
    let back = round_trip(&dataset);
    assert_same(&self::frame(&back, 4), &self::frame(&dataset, 4));
    assert_eq!(back.meta().forecasts.as_ref().unwrap().runs, 20);
}

#[test]
fn features_that_look_ahead_are_refused() {
    let refused = |change: &str| {
        let error = prepare(&table(400), change).unwrap_err();
        assert!(
            matches!(error, DatasetError::Series(SeriesError::LooksAhead { .. })),
            "{change}: {error}"
        );
        error.to_string()
    };
    let told = refused("  lags: {t: [-1h]}\n");
    assert!(told.starts_with("column t_lag_-1h looks ahead"), "{told}");
    refused("  rolling: [{column: t, over: 3h, ahead: 1h, stat: mean}]\n");
    refused("  rolling: [{column: speed, over: 1h, ahead: 24h, stat: std}]\n");
    // No other value of a row ahead would show in it.
    refused("  rolling: [{column: t, over: 7d, ahead: 6h, stat: min}]\n");
    for fine in [
        "  lags: {hour_of_day_sin: [-3h]}\n  calendar: [hour_of_day]\n",
        "  known: [speed]\n  lags: {speed: [-3h]}\n",
        "  fill: {up_to: 5h}\n  rolling: [{column: t, over: 1d, stat: std}]\n",
        "  fill: {up_to: 5h, method: seasonal}\n  differences: {t: [3h]}\n",
    ] {
        prepare(&table(400), fine).unwrap_or_else(|error| panic!("{fine}: {error}"));
    }
}

#[test]
fn gaps_at_an_issue_time_are_no_leak() {
    // Every sixth of the rows, where issue times are tried, lies in a gap: short ones that are
    // filled, and long ones of which the head would be.
    let hole = |row: usize| row % 70 < 12 && row % 70 % 6 < 2 + row / 70 % 4;
    let series = |turn: usize| {
        move |row: usize| {
            if hole(row + 3 * turn) {
                f64::NAN
            } else {
                noise(row, turn)
            }
        }
    };
    let times = (0..420).chain(0..420).map(|row| row * HOUR).collect();
    let t = (0..420).map(series(0)).chain((0..420).map(series(1)));
    let names = (0..840).map(|row| if row < 420 { "a" } else { "b" });
    let table = Table::new(times, vec![column("t", "°C", t)])
        .and_then(|table| table.with_series(RowSeries::from_names(names)))
        .unwrap();
    for method in ["linear", "last", "seasonal"] {
        let change = format!("  fill: {{up_to: 3h, method: {method}}}\n  lags: {{t: [5h]}}\n");
        prepare(&table, &change).unwrap_or_else(|error| panic!("{method}: {error}"));
    }
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

/// Every twenty minutes, where every ten were to be.
#[test]
fn a_step_that_is_told_is_what_a_bin_is_held_against() {
    let times = (1..=600).map(|row| row * 1200).collect();
    let columns = vec![column("t", "°C", (0..600).map(|row| noise(row, 0)))];
    let table = Table::new(times, columns).unwrap();
    let missing = |change: &str| {
        let dataset = prepare(&table, change).unwrap();
        values(&dataset, "t").iter().filter(|v| v.is_nan()).count()
    };
    assert_eq!(missing("  minimum_share: 0.75\n"), 0);
    let told = prepare(&table, "  raw_step: 10min\n  minimum_share: 0.75\n").unwrap_err();
    assert!(matches!(told, DatasetError::NoTarget(_)), "{told}");
    assert_eq!(missing("  raw_step: 10min\n  minimum_share: 0.5\n"), 0);
}

#[test]
fn a_few_finer_rows_move_no_series_that_stands_apart() {
    // At 20 minutes past each hour, and for two days at 50 as well.
    let mut times: Vec<i64> = (0..500).map(|row| row * HOUR + 1200).collect();
    times.extend((200..248).map(|row| row * HOUR + 3000));
    times.sort_unstable();
    let count = times.len();
    let columns = vec![column("t", "°C", (0..count).map(|row| noise(row, 0)))];
    let table = Table::new(times, columns).unwrap();
    let step = crate::data::quality::observed_step_of(&table, crate::time::Step::HOUR);
    assert_eq!(step, Some(crate::time::Step::HOUR));
}

#[test]
fn stamps_that_jitter_come_to_the_step_by_where_they_lie() {
    let times: Vec<i64> = (1..=2400)
        .map(|row| row * 600 + (row * 7919) % 11 - 5)
        .collect();
    let columns = vec![column("t", "°C", (0..2400).map(|_| 7.0))];
    let table = Table::new(times, columns).unwrap();
    let dataset = prepare(&table, "  aggregate: {t: sum}\n").unwrap();
    let found = values(&dataset, "t");
    assert!(found.len() >= 398, "{}", found.len());
    // A stamp a little late is of the next hour, so some have 5 or 7.
    assert!(
        found.iter().all(|sum| (42.0..=49.0).contains(sum)),
        "{found:?}"
    );
}

#[test]
fn a_station_that_measures_more_often_than_before_is_one_series() {
    // Hours first, and 10 minutes since; rain is 0.1 mm an hour, and each hour alone later too.
    let hours = (1..=400).map(|hour| (hour * 3600, 0.1, 0.1));
    let since = |row: i64| 400 * 3600 + row * 600;
    let later = (1..=600).map(|row| {
        (
            since(row),
            0.1 / 6.0,
            if row % 6 == 0 { 0.1 } else { f64::NAN },
        )
    });
    let rows: Vec<(i64, f64, f64)> = hours.chain(later).collect();
    let times = rows.iter().map(|row| row.0).collect();
    let columns = vec![
        column(
            "t",
            "°C",
            rows.iter().map(|row| noise(row.0 as usize / 600, 0)),
        ),
        column("rain", "mm", rows.iter().map(|row| row.1)),
        column("gauge", "mm", rows.iter().map(|row| row.2)),
    ];
    let table = Table::new(times, columns).unwrap();
    assert_eq!(
        crate::data::quality::observed_step_of(&table, crate::time::Step::HOUR),
        "10min".parse().ok()
    );
    let rain = "  aggregate: {rain: sum, gauge: sum}\n";
    for (what, table) in [
        ("mostly 10 minutes", &table),
        (
            "mostly hours",
            &table.take_rows(&(0..700).collect::<Vec<_>>()),
        ),
    ] {
        let dataset = prepare(table, rain).unwrap();
        let expected = 400 + (table.rows() - 400) / 6;
        for name in ["rain", "gauge"] {
            let found = values(&dataset, name);
            assert_eq!(found.len(), expected, "{what}, {name}");
            assert!(
                found.iter().all(|mm| (mm - 0.1).abs() < 1e-9),
                "{what}, {name}"
            );
        }
    }
}

#[test]
fn values_that_no_scale_holds_are_told() {
    let mut huge = table(400);
    let values = (0..400).map(|row| noise(row, 0) + if row == 9 { 1e300 } else { 0.0 });
    huge = huge.with_columns(vec![column("t", "°C", values)]).unwrap();
    let told = prepare(&huge, "").unwrap_err().to_string();
    assert!(
        told.contains("column t has values") && told.contains("range: mask"),
        "{told}"
    );
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

#[test]
fn lost_values_hide_no_change_of_the_step_from_longer_ones() {
    let hours = (1..=60 * 24).map(|hour| hour * 3600);
    let minutes = (1..=20 * 144).map(|row| 60 * 86_400 + row * 600);
    // Some 3 % are lost.
    let is_lost = |time: &i64| (time / 600 * 7919) % 101 < 3;
    let times: Vec<i64> = hours.chain(minutes).filter(|time| !is_lost(time)).collect();
    let rows = times.len();
    let lost_hours = 60 * 24 - times.iter().filter(|&&time| time <= 60 * 86_400).count();
    let table = Table::new(times, vec![column("t", "°C", (0..rows).map(|_| 7.0))]).unwrap();
    for (step, expected) in [("1h", lost_hours), ("3h", 0), ("6h", 0), ("1d", 0)] {
        let step: crate::time::Step = step.parse().unwrap();
        let observed = crate::data::quality::observed_step_of(&table, step);
        assert_eq!(observed, "10min".parse().ok(), "{step}");
        let params = PrepareParams { step, ..params("") };
        let dataset = Dataset::prepare(&table, None, &params, RowCounts::default()).unwrap();
        let found = values(&dataset, "t");
        let missing = found.iter().filter(|value| value.is_nan()).count();
        assert_eq!(missing, expected, "{step}");
    }
}
