//! Several stations, and forecasts by their issue.

use super::*;

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
