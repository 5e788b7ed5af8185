//! Whatever is wrong with a table, every row is accounted for.

use proptest::prelude::*;

use super::*;

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
