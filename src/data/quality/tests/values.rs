//! Values of one column, and of two beside each other.

use super::*;

#[test]
fn sentinels_are_masked_and_told_once() {
    let mut values = weather(100);
    (values[3], values[50], values[99]) = (-9999.0, -3270.9, f64::from(-999.99_f32));
    let assessed = assessed(hourly(&values), |_| ());
    assert_eq!(all(&assessed), [(Check::Sentinels, 3)]);
    assert_eq!(assessed.report.masked(), 3);
    assert!(assessed.kept.columns()[0].values[3].is_nan());
    assert!(assessed.refused.reasons().is_empty());
}

#[test]
fn a_number_that_can_be_a_value_is_no_sentinel() {
    let table = |unit| Table::new(vec![0, 3600], vec![column("x", unit, &[-999.0, 1.0])]).unwrap();
    let wide = |p: &mut QualityParams| {
        let own = ColumnQuality {
            min: Some(-2000.0),
            max: Some(2000.0),
            ..ColumnQuality::default()
        };
        p.columns.insert("x".into(), own);
    };
    assert_eq!(assessed(table("kW"), wide).report.masked(), 0);
    assert_eq!(assessed(table("kW"), |_| ()).report.masked(), 1);
    assert_eq!(
        assessed(table("kW"), |p| p.sentinels = Action::Off)
            .report
            .masked(),
        0
    );
}

#[test]
fn numbers_that_are_named_are_sentinels_even_where_they_could_be_values() {
    let mut values = weather(30);
    (values[3], values[5]) = (0.0, -9999.0);
    let named = assessed(hourly(&values), |p| p.sentinel_values = Some(vec![0.0]));
    assert_eq!(all(&named), [(Check::Sentinels, 1), (Check::Range, 1)]);
    assert!(named.kept.columns()[0].values[3].is_nan());
}

#[test]
fn range_by_quantity_and_by_parameter() {
    let mut values = weather(50);
    (values[10], values[20]) = (61.0, -90.5);
    let dropped = assessed(hourly(&values), |p| p.range = Action::Drop);
    assert_eq!(all(&dropped), [(Check::Range, 2)]);
    assert_eq!(expected(found(&dropped, Check::Range)), "-90 to 60 °C");
    assert_eq!(dropped.refused.reasons(), ["range of t", "range of t"]);
    assert_eq!(dropped.refused.table().columns()[0].values, [61.0, -90.5]);
    let own = ColumnQuality {
        max: Some(12.0),
        range: Some(Action::Mask),
        ..ColumnQuality::default()
    };
    let masked = assessed(hourly(&weather(50)), |p| {
        p.columns.insert("t".into(), own);
    });
    let above = weather(50).iter().filter(|value| **value > 12.0).count();
    assert_eq!(masked.report.masked(), above);
}

#[test]
fn a_spike_is_told_and_the_way_back_from_it_is_not() {
    let mut values = weather(100);
    values[40] += 30.0;
    let masked = assessed(hourly(&values), |p| p.spikes = Action::Mask);
    assert_eq!(all(&masked), [(Check::Spikes, 1)]);
    assert!(masked.kept.columns()[0].values[40].is_nan());
    assert!(expected(found(&masked, Check::Spikes)).starts_with("within 15 of "));
}

#[test]
fn a_new_level_costs_one_value_and_a_gap_allows_more() {
    let mut values = weather(100);
    values[50..].iter_mut().for_each(|value| *value += 30.0);
    assert_eq!(
        all(&assessed(hourly(&values), |_| ())),
        [(Check::Spikes, 1)]
    );
    // After nine hours twice as much as after one is no surprise.
    values[42..50].fill(N);
    assert_eq!(all(&assessed(hourly(&values), |_| ())), []);
}

#[test]
fn a_stuck_sensor_is_masked_where_it_is_stuck() {
    let mut values = weather(200);
    values[50..90].fill(7.25);
    values[60] = N;
    values[70] = 99.0;
    let masked = assessed(hourly(&values), |p| p.stuck = Action::Mask);
    assert_eq!(all(&masked), [(Check::Range, 1), (Check::Stuck, 38)]);
    let after = &masked.kept.columns()[0].values;
    assert!((50..90).all(|row| after[row].is_nan() || row == 70));
    assert_eq!(
        (after[49], after[70], after[90]),
        (values[49], 99.0, values[90])
    );
    assert_eq!(found(&masked, Check::Stuck).examples.len(), 1);
}

#[test]
fn calm_and_saturation_are_not_stuck() {
    let times = (0..100).map(|row| row * 3600).collect();
    let columns = vec![
        column("wind_speed_10m", "m/s", &[0.0; 100]),
        column("relative_humidity_2m", "%", &[100.0; 100]),
    ];
    let assessed = assessed(Table::new(times, columns).unwrap(), |_| ());
    assert_eq!(
        all(&assessed),
        [(Check::Constant, 100), (Check::Constant, 100)]
    );
}

#[test]
fn columns_that_contradict_each_other() {
    let columns = |dew: f64, gust: f64| {
        vec![
            column("temperature_2m", "°C", &[5.0, 5.0]),
            column("dew_point_2m", "°C", &[4.0, dew]),
            column("wind_speed_10m", "m/s", &[3.0, 3.0]),
            column("wind_speed_100m", "m/s", &[9.0, 9.5]),
            column("wind_gusts_10m", "m/s", &[4.0, gust]),
        ]
    };
    let on = |dew, gust, action| {
        let table = Table::new(vec![0, 3600], columns(dew, gust)).unwrap();
        assessed(table, |p| {
            (p.consistency, p.constant) = (action, Action::Off);
        })
    };
    assert_eq!(all(&on(5.4, 3.0, Action::Warn)), []);
    let both = on(6.0, 1.0, Action::Mask);
    assert_eq!(
        all(&both),
        [(Check::Consistency, 1), (Check::Consistency, 1)]
    );
    assert_eq!(
        both.report.masked(),
        4,
        "which of the two is wrong is not known"
    );
    let dropped = on(6.0, 1.0, Action::Drop);
    let reason = "consistency of dew_point_2m, consistency of wind_speed_10m";
    assert_eq!(dropped.refused.reasons(), [reason]);
    let named = assessed(hourly(&[1.0, 2.0]), |p| {
        let pair = |low: &str| OrderedPair {
            low: low.into(),
            high: "t".into(),
            tolerance: 0.0,
        };
        p.pairs = Some(vec![pair("t"), pair("not there")]);
    });
    assert_eq!(all(&named), []);
}

#[test]
fn drift_is_looked_for_in_years_not_in_seasons() {
    let rows = 4 * 365 * 24;
    let same: Vec<f64> = weather(24).into_iter().cycle().take(rows).collect();
    let mut warmer = same.clone();
    warmer[rows * 8 / 10..]
        .iter_mut()
        .for_each(|value| *value += 5.0);
    let short = weather(1000);
    let drift = |values: &[f64]| {
        let assessed = assessed(hourly(values), |_| ());
        let finding = assessed
            .report
            .checks()
            .iter()
            .find(|f| f.check == Check::Drift)
            .cloned();
        finding.map(|finding| finding.count)
    };
    assert_eq!(drift(&same), Some(0));
    assert_eq!(drift(&warmer), Some(1));
    assert_eq!(drift(&short), None);
}

#[test]
fn what_a_column_measures_is_told_by_unit_and_name() {
    use crate::params::Quantity as Q;
    let cases = [
        ("temperature_2m", "°C", Q::Temperature),
        ("Tdew (degC)", "degC", Q::DewPoint),
        ("relative_humidity_2m", "%", Q::Humidity),
        ("battery", "%", Q::Unknown),
        ("wind_gusts_10m", "m/s", Q::Gust),
        ("wind_speed_10m", "m/s", Q::WindSpeed),
        ("vector_10m_u", "m/s", Q::WindComponent),
        ("wind_direction_10m", "°", Q::Direction),
        ("latitude", "°", Q::Unknown),
        ("surface_pressure", "hPa", Q::Pressure),
        ("VPmax (mbar)", "mbar", Q::Unknown),
        ("co2", "ppm", Q::Co2),
        ("PM2.5", "µg/m³", Q::Concentration),
        ("hour_of_day_sin", "1", Q::Unknown),
        ("wind_gust", "kn", Q::Gust),
        ("wpgt", "km/h", Q::Gust),
        ("wind_speed_10m", "mph", Q::WindSpeed),
        ("rain", "in", Q::Precipitation),
        ("snowfall", "cm", Q::Precipitation),
        ("prcp", "mm", Q::Precipitation),
        ("snow_depth", "m", Q::Unknown),
        ("terrain_height", "m", Q::Unknown),
        ("surface_pressure", "Pa", Q::Pressure),
        ("t", "°F", Q::Temperature),
        ("absolute_humidity", "g/m³", Q::Unknown),
        ("output", "GW", Q::Power),
    ];
    for (name, unit, quantity) in cases {
        assert_eq!(
            quantity::quantity(&column(name, unit, &[])),
            quantity,
            "{name}"
        );
    }
}

#[test]
fn limits_and_pairs_are_in_the_unit_of_their_columns() {
    // 140 km/h of a mean wind and 20 kn of a gust; 45 °F cannot be colder than 10 °C of dew point.
    let columns = vec![
        column("wind_speed_10m", "km/h", &[20.0, 140.0, 140.0]),
        column("wind_gusts_10m", "kn", &[20.0, 20.0, 80.0]),
        column("t", "°F", &[80.0, 45.0, 80.0]),
        column("dew_point", "°C", &[10.0, 10.0, 10.0]),
    ];
    let table = Table::new(vec![0, 3600, 7200], columns).unwrap();
    let assessed = assessed(table, |_| ());
    let found = assessed.report.checks().iter();
    let found = found.filter(|finding| finding.check == Check::Consistency);
    let found: Vec<_> = found
        .map(|finding| (finding.column.as_deref().unwrap(), finding.count))
        .collect();
    assert_eq!(
        found,
        [("dew_point ≤ t", 1), ("wind_speed_10m ≤ wind_gusts_10m", 1)]
    );
    let limits = |quantity, unit| quantity::limits(quantity, unit);
    let kelvin = limits(crate::params::Quantity::Temperature, "K");
    assert!((kelvin.min - 183.15).abs() < 1e-9 && kelvin.change == Some((3.0, 15.0)));
    let knots = limits(crate::params::Quantity::Gust, "kn");
    assert!((knots.max - 223.54).abs() < 0.01);
    let unknown = limits(crate::params::Quantity::Gust, "furlong");
    assert!(unknown.max.is_infinite() && !unknown.can_stick);
}
