//! What is known ahead of an issue time, and that nothing else is.

use super::*;

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
