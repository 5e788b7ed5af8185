//! Observations that were made more often in one file than in another one, through the real binary.

use std::fmt::Write as _;

use serde_json::Value;

use crate::sandbox::Sandbox;

const PARAMS: &str = "sources:
  farm:
    kind: file
    path: farm.csv
    time: {column: time, zone: UTC}
    columns: {power: {unit: MW}}
  station:
    kind: file
    path: station.csv
    time: {column: time, zone: UTC}
    columns: {rain: {unit: mm}, wind: {unit: m/s}}
prepare:
  target: power
  step: 1h
  aggregate: {rain: sum}
model: {kind: ridge, lookback: 6, horizon: 3}
";

const PIPELINE: &str = "stages:
  farm: {cmd: krammerti fetch farm --out farm.parquet}
  station: {cmd: krammerti fetch station --out station.parquet}
  prepare: {cmd: krammerti prepare farm.parquet station.parquet --out data}
";

fn at(minutes: usize) -> String {
    let (day, of_day) = (minutes / 1440, minutes % 1440);
    format!(
        "2024-01-{:02}T{:02}:{:02}",
        day + 1,
        of_day / 60,
        of_day % 60
    )
}

/// A farm each 10 minutes, and a station each hour.
#[test]
fn a_farm_of_minutes_and_a_station_of_hours_are_one_data_set() {
    let sandbox = Sandbox::new();
    let mut farm = "time,power\n".to_owned();
    // Until ten minutes before 20 days are over: the last hour has not ended.
    for row in 1..20 * 144 {
        let _ = writeln!(farm, "{},{}", at(row * 10), (row * 7919) % 101);
    }
    let mut station = "time,rain,wind\n".to_owned();
    for hour in 1..20 * 24 {
        let _ = writeln!(
            station,
            "{},{},{}",
            at(hour * 60),
            hour % 5,
            (hour * 13) % 17
        );
    }
    sandbox.write("farm.csv", &farm);
    sandbox.write("station.csv", &station);
    sandbox.write("params.yaml", PARAMS);
    sandbox.write("pipeline.yaml", PIPELINE);
    sandbox.run(&["run"]).ok();

    let bytes = std::fs::read(sandbox.path("data/series.parquet")).unwrap();
    let table = krammerti::data::from_parquet(bytes).unwrap();
    assert_eq!(table.rows(), 20 * 24 - 1);
    let of = |name: &str| &table.column(name).unwrap().values;
    for row in 0..table.rows() {
        let hour = row + 1;
        let expected = [(hour % 5) as f64, ((hour * 13) % 17) as f64];
        let found = [of("rain")[row], of("wind")[row]];
        assert!(
            found
                .iter()
                .zip(expected)
                .all(|(a, b)| (a - b).abs() < 1e-12),
            "hour {hour}"
        );
        assert!(!of("power")[row].is_nan(), "hour {hour}");
    }

    let finer = "step: 10min";
    sandbox.edit("params.yaml", "step: 1h", finer);
    let told = "its rows are 1h apart, those of the tables before it 10min: two steps are joined by time only where one is \
                a multiple of the other, and `prepare.step` of both";
    sandbox.run(&["run"]).fails(1, &[told]);
    let dataset: Value = serde_json::from_str(&sandbox.read("data/dataset.json")).unwrap();
    assert_eq!(dataset["step"], "1h", "what was there is there still");
}
