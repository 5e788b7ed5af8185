//! From the steps of the observations to the step of the data set.

use super::*;

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

/// One measures each 10 minutes until 12:40, the other until 15:00: the hour that the first did not end is missing,
/// and its next ones are filled.
#[test]
fn a_silent_series_of_minutes_goes_on_in_whole_hours() {
    let minutes = |until: i64| (1..=until).map(|row| row * HOUR / 6);
    let (short, long) = (6 * 60 + 4, 6 * 63);
    let times: Vec<i64> = minutes(long).chain(minutes(short)).collect();
    let names = (0..times.len() as i64).map(|row| if row < long { "a" } else { "b" });
    let t = column("t", "°C", (0..times.len()).map(|row| noise(row, 0)));
    let table = Table::new(times, vec![t])
        .and_then(|table| table.with_series(RowSeries::from_names(names)))
        .unwrap();
    let dataset = prepare(&table, "  fill: {up_to: 2d, method: last}\n").unwrap();
    let block = dataset.panel().layout().blocks()[1].clone();
    assert_eq!(
        (block.rows.len(), dataset.observed_until(&block)),
        (63, Some(59))
    );
    let filled = &values(&dataset, "t_filled")[block.rows];
    assert_eq!(filled[59..], [0.0, 1.0, 1.0, 1.0]);
}
