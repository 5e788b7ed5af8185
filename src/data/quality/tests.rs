//! Every check by name, degenerate input, and what must hold of all.

use proptest::prelude::*;

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
fn required_columns() {
    let assessed = assessed(hourly(&[1.0]), |p| {
        p.required = vec!["t".into(), "rain".into()];
    });
    let missing: Vec<_> = assessed.report.failed().collect();
    assert_eq!(missing.len(), 1);
    assert_eq!(missing[0].column.as_deref(), Some("rain"));
    assert_eq!(expected(missing[0]), "a column of this name; there are t");
}

#[test]
fn order() {
    let table = || {
        Table::new(
            vec![7200, 0, 3600],
            vec![column("t", "°C", &[2.0, 0.0, 1.0])],
        )
        .unwrap()
    };
    let sorted = assessed(table(), |_| ());
    assert_eq!(found(&sorted, Check::Order).count, 2);
    assert_eq!(sorted.kept.times(), [0, 3600, 7200]);
    assert_eq!(sorted.kept.columns()[0].values, [0.0, 1.0, 2.0]);
    let dropped = assessed(table(), |p| p.order = Action::Drop);
    assert_eq!(dropped.kept.times(), [7200]);
    assert_eq!(dropped.refused.table().times(), [0, 3600]);
    assert_eq!(dropped.refused.reasons(), ["order", "order"]);
}

#[test]
fn times_off_the_step_that_most_rows_lie_on() {
    // The first row is the wrong one: it must not decide where the step lies.
    let table = || {
        let values = column("t", "°C", &[0.0, 1.0, 2.0, 3.0]);
        Table::new(vec![60, 3600, 7200, 10_800], vec![values]).unwrap()
    };
    let failed = assessed(table(), |_| ());
    assert_eq!(
        (failed.report.failed().count(), failed.kept.times().len()),
        (1, 4)
    );
    let dropped = assessed(table(), |p| p.off_step = Action::Drop);
    assert_eq!(dropped.refused.table().times(), [60]);
    assert_eq!(dropped.refused.reasons(), ["off_step"]);
}

#[test]
fn equal_and_conflicting_rows() {
    let times = vec![0, 3600, 3600, 7200, 7200, 7200];
    let values = column("t", "°C", &[0.0, N, N, 2.0, 2.5, 3.0]);
    let table = Table::new(times, vec![values]).unwrap();
    let on = |conflicts| assessed(table.clone(), |p| p.conflicts = conflicts);
    let kept = |conflicts| on(conflicts).kept.columns()[0].values[2..].to_vec();
    assert_eq!(kept(Conflicts::KeepFirst), [2.0]);
    assert_eq!(kept(Conflicts::KeepLast), [3.0]);
    assert_eq!(kept(Conflicts::Drop), [0.0; 0]);
    let failed = on(Conflicts::Fail);
    assert_eq!(failed.report.duplicates(), 1);
    assert_eq!(failed.refused.reasons(), ["duplicates"]);
    let conflict = failed.report.failed().next().unwrap();
    assert_eq!((conflict.check, conflict.count), (Check::Conflicts, 2));
    assert_eq!(
        expected(conflict),
        "one row a time; two have different values of t"
    );
    let strict = assessed(table, |p| p.duplicates = Action::Fail);
    assert!(found(&strict, Check::Duplicates).fails());
}

#[test]
fn gaps_that_are_too_long_or_too_many() {
    let times: Vec<i64> = (0..100)
        .filter(|h| !(20..50).contains(h) && *h != 70)
        .map(|h| h * 3600)
        .collect();
    let values = column("t", "°C", &weather(times.len()));
    let table = Table::new(times, vec![values]).unwrap();
    let day = assessed(table.clone(), |_| ());
    let gaps = found(&day, Check::Gaps);
    assert_eq!((gaps.count, gaps.measured), (1, Some(2.0)));
    assert_eq!(
        gaps.examples[0].time.as_deref(),
        Some("1970-01-01T20:00:00Z")
    );
    assert_eq!(expected(gaps), "at most 24 h without rows, here 30 h");
    let few = assessed(table, |p| {
        (p.longest_gap, p.gap_count) = (Step::from_seconds(200_000), Some(1));
    });
    assert_eq!(expected(found(&few, Check::Gaps)), "at most 1 gaps");
}

#[test]
fn completeness_counts_missing_rows_and_values_also_at_the_ends() {
    let mut values = weather(1000);
    values[..200].fill(N);
    let missing = assessed(hourly(&values), |_| ());
    let finding = found(&missing, Check::Completeness);
    assert_eq!((finding.count, finding.measured), (200, Some(0.2)));
    assert_eq!(
        finding.examples[1].time.as_deref(),
        Some("1970-01-01T00:00:00Z")
    );
    assert_eq!(
        finding.examples[1].expected,
        "at most 168 h without a value, here 200 h"
    );
    let none = assessed(hourly(&[N; 300]), |_| ());
    assert_eq!(found(&none, Check::Completeness).measured, Some(1.0));
}

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
fn timeliness_needs_the_present() {
    let table = hourly(&weather(10));
    let params = QualityParams::default();
    let at = |now| {
        let setting = Setting {
            now: Some(now),
            ..setting(&params)
        };
        all(&assess(table.clone(), &setting))
    };
    assert_eq!(at(9 * 3600 + 86_400), []);
    assert_eq!(at(9 * 3600 + 86_401), [(Check::Timeliness, 1)]);
    assert!(
        assessed(table.clone(), |_| ())
            .report
            .checks()
            .iter()
            .all(|f| f.check != Check::Timeliness)
    );
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

/// Hours of a weather, one after the other for each name.
fn stations(names: &[&str], hours: usize) -> Table {
    let rows = names.len() * hours;
    let times = (0..rows).map(|row| (row % hours) as i64 * 3600).collect();
    let values = weather(hours).repeat(names.len());
    let of = names
        .iter()
        .flat_map(|name| std::iter::repeat_n(*name, hours));
    let table = Table::new(times, vec![column("t", "°C", &values)]).unwrap();
    table.with_series(RowSeries::from_names(of)).unwrap()
}

#[test]
fn rows_of_two_stations_at_one_time_are_no_duplicates_and_no_jump() {
    // They may stand by station or by time.
    let by_station = stations(&["north", "south"], 100);
    let by_time: Vec<usize> = (0..200).map(|i| i / 2 + i % 2 * 100).collect();
    for table in [by_station.clone(), by_station.take_rows(&by_time)] {
        assert_eq!(usual_step_of(&table), Some(Step::HOUR));
        let assessed = assessed(table, |_| ());
        assert_eq!(all(&assessed), []);
        assert_eq!(assessed.kept, by_station);
    }
}

#[test]
fn findings_of_many_series_are_one_and_name_them() {
    let names: Vec<String> = (0..500).map(|i| format!("station {i:03}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let table = stations(&names, 60);
    let mut columns = table.columns().to_vec();
    for station in [7, 8, 9, 400] {
        columns[0].values[station * 60 + 5] = -9999.0;
    }
    columns[0].values[400 * 60 + 8] = 99.0;
    let table = Table::new(table.times().to_vec(), columns).unwrap();
    let of = names.iter().flat_map(|name| std::iter::repeat_n(*name, 60));
    let assessed = assessed(table.with_series(RowSeries::from_names(of)).unwrap(), |p| {
        p.range = Action::Drop;
    });
    assert_eq!(all(&assessed), [(Check::Sentinels, 4), (Check::Range, 1)]);
    let sentinels = found(&assessed, Check::Sentinels);
    assert_eq!(sentinels.series.len(), 4);
    assert_eq!(sentinels.series["station 400"], 1);
    assert_eq!(sentinels.examples[2].series.as_deref(), Some("station 009"));
    let of_400 = assessed.report.series()["station 400"];
    assert_eq!(
        (of_400.rows_in(), of_400.kept(), of_400.dropped()),
        (60, 59, 1)
    );
    let text = assessed.report.table();
    assert!(text.lines().count() < 15, "{text}");
    assert!(text.contains("500 series\n"), "{text}");
    assert!(text.contains("sentinels    t, 4 series"), "{text}");
    let example = "  station 007  1970-01-01 05:00  -9999, expected a measured value";
    assert!(text.contains(example), "{text}");
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
}

#[test]
fn checks_of_one_series_do_not_reach_into_the_next() {
    // Stuck over the border, a gap over it, and a column that is constant in one of them.
    let mut table = stations(&["a", "b"], 40);
    let mut columns = table.columns().to_vec();
    columns[0].values[30..50].fill(7.25);
    columns.push(column("u", "1", &[vec![3.0; 40], weather(40)].concat()));
    let series = table.series().cloned().unwrap();
    table = Table::new(table.times().to_vec(), columns).unwrap();
    let assessed = assessed(table.with_series(series).unwrap(), |p| {
        p.stuck_for = Step::from_seconds(11 * 3600).unwrap();
    });
    assert_eq!(all(&assessed), [(Check::Constant, 40)]);
    let constant = assessed.report.found().next().unwrap();
    assert_eq!(
        (constant.column.as_deref(), constant.series["a"]),
        (Some("u"), 40)
    );
}

/// Two forecasts of 48 hours, a day apart, whose rows stand in any order of issues.
fn forecasts(values: impl Fn(i64, i64) -> f64) -> Table {
    let keys: Vec<(i64, i64)> = [1, 0]
        .into_iter()
        .flat_map(|day| (0..48).map(move |lead| (day * 86_400, lead)))
        .collect();
    let values: Vec<f64> = keys
        .iter()
        .map(|&(issue, lead)| values(issue, lead))
        .collect();
    let times = keys
        .iter()
        .map(|(issue, lead)| issue + lead * 3600)
        .collect();
    let issues = keys.iter().map(|(issue, _)| *issue).collect();
    let table = Table::new(times, vec![column("t", "°C", &values)]).unwrap();
    table.with_issues(issues).unwrap()
}

#[test]
fn forecasts_are_checked_issue_by_issue() {
    // The second one is colder by more than any weather changes in an hour.
    let table = forecasts(|issue, lead| 20.0 - issue as f64 / 4000.0 + (lead as f64 / 4.0).sin());
    assert_eq!(usual_step_of(&table), Some(Step::HOUR));
    let clean = assessed(table.clone(), |_| ());
    assert_eq!(all(&clean), []);
    assert_eq!(clean.kept.issues().unwrap()[..2], [0, 0]);
    assert!(clean.kept.times()[..48].is_sorted());
    assert!(clean.report.series().is_empty());

    let spiked = forecasts(|issue, lead| match (issue, lead) {
        (86_400, 5) => 45.0,
        _ => 10.0 + (lead as f64 / 4.0).sin(),
    });
    let spiked = assessed(spiked, |_| ());
    assert_eq!(all(&spiked), [(Check::Spikes, 1)]);
    let example = &found(&spiked, Check::Spikes).examples[0];
    assert_eq!(example.issue.as_deref(), Some("1970-01-02T00:00:00Z"));
    assert_eq!(example.time.as_deref(), Some("1970-01-02T05:00:00Z"));
    let text = spiked.report.table();
    assert!(
        text.contains("  1970-01-02 05:00  of 1970-01-02 00:00  45, expected"),
        "{text}"
    );

    let twice = table.clone().append(&table).unwrap();
    let twice = assessed(twice, |_| ());
    assert_eq!(twice.report.duplicates(), 96);
    // Of forecasts the last issue counts, not the time it speaks of.
    let params = QualityParams::default();
    let late = Setting {
        now: Some(2 * 86_400 + 1),
        ..setting(&params)
    };
    assert_eq!(all(&assess(table, &late)), [(Check::Timeliness, 1)]);
}

#[test]
fn what_is_known_ahead_makes_no_row_timely() {
    let of = |observed: &[f64], now| {
        let rows = observed.len();
        let planned = column("planned", "1", &vec![1.0; rows]);
        let times = (0..rows as i64).map(|row| row * 3600).collect();
        let table = Table::new(times, vec![column("t", "°C", observed), planned]).unwrap();
        let params = QualityParams::default();
        let setting = Setting {
            ahead: &["planned".to_owned()],
            now: Some(now),
            ..setting(&params)
        };
        let assessed = assess(table, &setting);
        let finding = found(&assessed, Check::Timeliness);
        let first = finding.examples.first();
        first.map(|first| (first.time.clone().unwrap(), first.expected.clone()))
    };
    let mut observed = weather(5);
    observed.extend([f64::NAN; 48]);
    let day_after = 4 * 3600 + 86_400;
    assert_eq!(of(&observed, day_after), None);
    let (time, expected) = of(&observed, day_after + 7200).unwrap();
    assert_eq!(time, "1970-01-01T04:00:00Z");
    assert_eq!(
        expected,
        "a last observation of at most 24 h ago, it is 26 h old"
    );
    let (time, expected) = of(&[f64::NAN; 5], 0).unwrap();
    assert_eq!(time, "1970-01-01T00:00:00Z");
    assert!(expected.ends_with("there is none"), "{expected}");
}

#[test]
fn drift_of_many_series_is_told_by_the_greatest() {
    let hours = 4 * 365 * 24;
    let day = weather(24);
    let value = |row: usize| {
        day[row % 24]
            + if row > hours + hours * 8 / 10 {
                5.0
            } else {
                0.0
            }
    };
    let table = stations(&["a", "b"], hours);
    let values: Vec<f64> = (0..2 * hours).map(value).collect();
    let series = table.series().cloned().unwrap();
    let table = Table::new(table.times().to_vec(), vec![column("t", "°C", &values)]).unwrap();
    let assessed = assessed(table.with_series(series).unwrap(), |_| ());
    let drift = found(&assessed, Check::Drift);
    assert_eq!((drift.count, drift.share), (1, 0.5));
    assert!(drift.series.keys().eq(["b"]));
    assert!(drift.measured > Some(0.25));
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

fn action() -> impl Strategy<Value = Action> {
    prop::sample::select(vec![
        Action::Off,
        Action::Warn,
        Action::Drop,
        Action::Mask,
        Action::Fail,
    ])
}

/// Values with faults of every kind, at times of every kind, of one series or several, observed or
/// forecast.
fn faulty() -> impl Strategy<Value = Table> {
    let value = prop_oneof![
        8 => 0.0..20.0,
        1 => Just(N),
        1 => Just(-9999.0),
        1 => -200.0..200.0,
        2 => Just(7.0),
    ];
    let time = prop_oneof![9 => (0..60_i64).prop_map(|hour| hour * 3600), 1 => 0..200_000_i64];
    let key = (prop::sample::select(vec!["a", "b", "c"]), 0..3_i64, time);
    let rows = prop::collection::vec((key, value.clone(), value), 0..120);
    (rows, any::<bool>(), any::<bool>()).prop_map(|(rows, several, forecast)| {
        type Row = ((&'static str, i64, i64), f64, f64);
        let values = |pick: fn(&Row) -> f64| rows.iter().map(pick).collect::<Vec<_>>();
        // Equal rows have one number, so that a masked row can be told from another one.
        let bits = |row: &Row| (row.0, row.1.to_bits(), row.2.to_bits());
        let number = |row| {
            rows.iter()
                .position(|other| bits(other) == bits(row))
                .unwrap() as f64
        };
        let columns = vec![
            column("temperature", "°C", &values(|row| row.1)),
            column("dew_point", "°C", &values(|row| row.2)),
            column("number", "1", &rows.iter().map(number).collect::<Vec<_>>()),
        ];
        let mut table = Table::new(rows.iter().map(|row| row.0.2).collect(), columns).unwrap();
        if several {
            let series = RowSeries::from_names(rows.iter().map(|row| row.0.0));
            table = table.with_series(series).unwrap();
        }
        if forecast {
            let issues = rows.iter().map(|row| row.0.1 * 43_200).collect();
            table = table.with_issues(issues).unwrap();
        }
        table
    })
}

/// What tells a row: the name of its series, its issue time, its time.
fn key(table: &Table, row: usize) -> (String, i64, i64) {
    let series = table.series().map_or("", |series| series.name(row));
    let (_, issue, time) = table.key(row);
    (series.to_owned(), issue, time)
}

/// Rows as they can be counted: their keys and values to the bit, sorted.
fn rows(table: &Table) -> Vec<((String, i64, i64), Vec<u64>)> {
    let bits = bits(table);
    let row = |row: usize| {
        (
            key(table, row),
            bits.iter().map(|column| column[row]).collect(),
        )
    };
    let mut rows: Vec<_> = (0..table.times().len()).map(row).collect();
    rows.sort();
    rows
}

fn in_order(table: &Table) -> bool {
    (0..table.rows()).is_sorted_by_key(|row| key(table, row))
}

proptest! {
    #[test]
    fn every_row_is_kept_or_refused_and_masking_changes_no_other_cell(
        table in faulty(),
        actions in prop::array::uniform5(action()),
        conflicts in prop::sample::select(vec![Conflicts::KeepFirst, Conflicts::KeepLast, Conflicts::Drop, Conflicts::Fail]),
        drops in prop::array::uniform2(any::<bool>()),
    ) {
        let change = |p: &mut QualityParams| {
            [p.sentinels, p.range, p.spikes, p.stuck, p.consistency] = actions;
            (p.stuck_for, p.conflicts) = (Step::HOUR, conflicts);
            (p.off_step, p.order) = (
                if drops[0] { Action::Drop } else { Action::Fail },
                if drops[1] { Action::Drop } else { Action::Warn },
            );
        };
        let full = assessed(table.clone(), change);
        let totals = full.report.rows();
        prop_assert_eq!(totals.rows_in(), table.rows());
        prop_assert_eq!(totals.kept(), full.kept.rows());
        prop_assert_eq!(totals.dropped(), full.refused.table().rows());
        prop_assert_eq!(full.refused.reasons().len(), totals.dropped());
        prop_assert!(in_order(&full.kept) && in_order(full.refused.table()));
        prop_assert!(full.refused.reasons().iter().all(|reason| !reason.is_empty()));

        // The series add up, and each finding to its count.
        let names: Vec<&String> = table.series().into_iter().flat_map(RowSeries::names).collect();
        let by_series = full.report.series();
        prop_assert!(by_series.keys().eq(names));
        for (name, of_series) in by_series {
            let there = (0..table.rows()).filter(|&row| key(&table, row).0 == *name).count();
            prop_assert_eq!(of_series.rows_in(), there);
        }
        let kept: usize = by_series.values().map(|rows| rows.kept()).sum();
        prop_assert!(by_series.is_empty() || kept == totals.kept());
        for finding in full.report.checks() {
            let sum: usize = finding.series.values().sum();
            let told = table.series().is_some() && table.rows() > 0;
            prop_assert!(!told && finding.series.is_empty() || sum == finding.count);
        }

        // Refused rows are as they came; kept ones too, but for masked cells.
        let mut left = rows(&table);
        for row in rows(full.refused.table()) {
            let place = left.iter().position(|other| *other == row);
            prop_assert!(place.is_some(), "a refused row was changed");
            left.remove(place.unwrap());
        }
        let missing = N.to_bits();
        let mut masked = 0;
        for (key, values) in rows(&full.kept) {
            let like = |other: &((String, i64, i64), Vec<u64>)| {
                other.0 == key && other.1[2] == values[2] && other.1.iter().zip(&values).all(|(was, is)| was == is || *is == missing)
            };
            let place = left.iter().position(like);
            prop_assert!(place.is_some(), "a kept row was changed: {key:?} {values:?} of {left:?}");
            masked += left.remove(place.unwrap()).1.iter().zip(&values).filter(|(was, is)| was != is).count();
        }
        prop_assert!(left.is_empty());
        prop_assert_eq!(masked, full.report.masked());
        // The report is a function of the table.
        prop_assert_eq!(&assessed(table, change).report, &full.report);
    }

    #[test]
    fn a_series_is_assessed_as_if_it_were_alone(
        table in faulty(),
        actions in prop::array::uniform5(action()),
    ) {
        let change = |p: &mut QualityParams| {
            [p.sentinels, p.range, p.spikes, p.stuck, p.consistency] = actions;
            (p.stuck_for, p.conflicts, p.off_step) = (Step::HOUR, Conflicts::KeepLast, Action::Drop);
        };
        let whole = assessed(table.clone(), change);
        let names = table.series().map(RowSeries::names).unwrap_or_default();
        for name in names {
            let of = |table: &Table| {
                let mine = (0..table.rows()).filter(|&row| key(table, row).0 == *name);
                table.take_rows(&mine.collect::<Vec<_>>())
            };
            let alone = assessed(of(&table), change);
            prop_assert_eq!(rows(&of(&whole.kept)), rows(&alone.kept));
            for (together, alone) in whole.report.checks().iter().zip(alone.report.checks()) {
                prop_assert_eq!(together.check, alone.check);
                let count = together.series.get(name).copied().unwrap_or(0);
                prop_assert_eq!(count, alone.count, "{:?}", together.check);
            }
        }
    }
}
