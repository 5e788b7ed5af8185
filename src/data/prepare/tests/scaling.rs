//! What a model sees of the sizes of values: scaled, and as shares of a capacity.

use super::*;

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
