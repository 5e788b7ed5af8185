//! Rows and their times: which are there, in what order, how often, how late.

use super::*;

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
