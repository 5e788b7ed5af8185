//! The checks of `prepare` and `krammerti check`, on real data with their own faults and on others.

use std::io::Write;
use std::path::{Path, PathBuf};

use krammerti::data::{Column, RowSeries, Table, to_parquet};
use serde_json::Value;

use crate::sandbox::Sandbox;

/// Lines of the sandbox's `station.csv` by row of data, from 0.
fn edit_rows(sandbox: &Sandbox, change: impl Fn(&mut Vec<Vec<String>>)) {
    let text = sandbox.read("station.csv");
    let mut lines = text.lines();
    let header = lines.next().unwrap().to_owned();
    let mut rows = lines
        .map(|line| line.split(',').map(str::to_owned).collect())
        .collect();
    change(&mut rows);
    let lines: Vec<String> = rows.iter().map(|row: &Vec<String>| row.join(",")).collect();
    sandbox.write("station.csv", &format!("{header}\n{}\n", lines.join("\n")));
}

const TEMPERATURE: usize = 1;
const HUMIDITY: usize = 2;
const PRESSURE: usize = 5;

/// A spike, a stuck sensor, a sentinel and an equal row.
fn break_it(rows: &mut Vec<Vec<String>>) {
    rows[100][TEMPERATURE] = "45.5".into();
    let stuck = rows[372][PRESSURE].clone();
    for row in &mut rows[372..412] {
        row[PRESSURE].clone_from(&stuck);
    }
    rows[200][HUMIDITY] = "-9999".into();
    rows.insert(51, rows[50].clone());
}

/// What a report found: check, column, count.
fn found(report: &Value) -> Vec<(String, String, u64)> {
    let text = |value: &Value| value.as_str().unwrap_or("(rows)").to_owned();
    let checks = report["checks"].as_array().unwrap().iter();
    checks
        .map(|check| {
            (
                text(&check["check"]),
                text(&check["column"]),
                check["count"].as_u64().unwrap(),
            )
        })
        .filter(|(_, _, count)| *count > 0)
        .collect()
}

fn one(check: &str, column: &str, count: u64) -> (String, String, u64) {
    (check.to_owned(), column.to_owned(), count)
}

fn report(sandbox: &Sandbox, path: &str) -> Value {
    serde_json::from_str(&sandbox.read(path)).unwrap()
}

/// The report of `krammerti check --json`.
fn checked(sandbox: &Sandbox, data: &str) -> Value {
    let ran = sandbox.run(&[
        "check",
        data,
        "--json",
        "--set",
        "prepare.quality.timeliness=off",
    ]);
    let line = ran.stdout.lines().next().unwrap_or_else(|| panic!("{ran}"));
    serde_json::from_str::<Value>(line).unwrap()["data"].clone()
}

#[test]
fn clean_data_are_told_to_be_clean() {
    let sandbox = Sandbox::new();
    let ran = sandbox.run(&["run", "prepare"]).ok();
    assert_eq!(ran.stdout, "", "nothing found is nothing to tell");
    let report = report(&sandbox, "data/quality.json");
    assert_eq!(found(&report), []);
    assert_eq!(report["rows"]["kept"], 1200);
    assert!(report["checks"].as_array().unwrap().len() > 20);
    assert!(!sandbox.path("data/rejects.parquet").exists());
    let dataset: Value = serde_json::from_str(&sandbox.read("data/dataset.json")).unwrap();
    assert_eq!(dataset["rows"]["dropped"], 0);
}

#[test]
fn injected_faults_are_found_and_done_with_as_configured() {
    let sandbox = Sandbox::new();
    edit_rows(&sandbox, break_it);
    sandbox.edit(
        "params.yaml",
        "  calendar:",
        "  quality: {spikes: mask, stuck: drop}\n  fill: {up_to: 2h}\n  calendar:",
    );
    let ran = sandbox.run(&["run", "prepare"]).ok();
    let report = report(&sandbox, "data/quality.json");
    let faults = [
        one("duplicates", "(rows)", 1),
        one("sentinels", "relative_humidity_2m", 1),
        one("spikes", "temperature_2m", 1),
        one("stuck", "surface_pressure", 40),
    ];
    assert_eq!(found(&report), faults);
    let rows = ["rows_in", "kept", "dropped"].map(|name| report["rows"][name].as_u64().unwrap());
    assert_eq!(rows, [1201, 1160, 41]);
    assert_eq!(report["masked"], 2);
    assert!(
        ran.stdout
            .contains("1201 rows: 1160 kept, 41 dropped, 2 values masked"),
        "{ran}"
    );
    assert!(
        ran.stdout
            .contains("2020-01-05 02:00  45.5, expected within 15 of"),
        "{ran}"
    );
    assert!(
        ran.stdout.lines().all(|line| line.chars().count() <= 80),
        "{ran}"
    );
    let rejects = std::fs::read(sandbox.path("data/rejects.parquet")).unwrap();
    assert!(rejects.starts_with(b"PAR1"));

    // The data set says the same, and the target's hole was filled from its neighbours.
    let dataset: Value = serde_json::from_str(&sandbox.read("data/dataset.json")).unwrap();
    let counts = &dataset["rows"];
    assert_eq!(
        (&counts["rows_in"], &counts["duplicates"]),
        (&1201.into(), &1.into())
    );
    assert_eq!(
        (&counts["dropped"], &counts["missing_rows"]),
        (&40.into(), &40.into())
    );
    assert_eq!(dataset["columns"][0]["filled"], 1);
    sandbox.run(&["run"]).ok();
}

#[test]
fn a_check_that_fails_ends_with_3_and_leaves_its_report() {
    let sandbox = Sandbox::new();
    sandbox.run(&["run"]).ok();
    edit_rows(&sandbox, break_it);
    sandbox.edit(
        "params.yaml",
        "  calendar:",
        "  quality: {spikes: fail}\n  calendar:",
    );
    let before = sandbox.artifacts();
    let says = [
        "raw.parquet: the check `spikes` of temperature_2m found 1",
        "2020-01-05T02:00:00Z: 45.5, expected within 15 of",
        ".krammerti/failed/",
    ];
    let ran = sandbox.run(&["run"]).fails(3, &says);
    assert!(ran.stdout.contains("spikes       temperature_2m"), "{ran}");
    let kept = |(path, _): &&(String, Vec<u8>)| path != "raw.parquet" && path != "pipeline.lock";
    let (before, after) = (before, sandbox.artifacts());
    assert!(
        before.iter().filter(kept).eq(after.iter().filter(kept)),
        "something was lost: {ran}"
    );
    // By hand the same.
    let checked = sandbox
        .run(&["check", "raw.parquet"])
        .fails(3, &["spikes", "docs/params.md"]);
    assert!(checked.stdout.contains("45.5"), "{checked}");
}

#[test]
fn check_reads_files_and_data_sets_and_writes_nothing() {
    let sandbox = Sandbox::new();
    edit_rows(&sandbox, break_it);
    sandbox.run(&["run", "prepare"]).ok();
    let before = sandbox.artifacts();
    assert_eq!(found(&checked(&sandbox, "raw.parquet")).len(), 4);
    let of_data = found(&checked(&sandbox, "data"));
    assert_eq!(
        of_data,
        [
            one("spikes", "temperature_2m", 1),
            one("stuck", "surface_pressure", 40)
        ]
    );
    // Only here the age of the last row counts, and it is told.
    let aged = sandbox.run(&["check", "data"]).ok();
    assert!(aged.stdout.contains("timeliness"), "{aged}");
    let strict = ["check", "data", "--set", "prepare.quality.timeliness=fail"];
    sandbox
        .run(&strict)
        .fails(3, &["timeliness", "2020-02-19T21:00:00Z"]);
    sandbox
        .run(&["check", "station.csv"])
        .fails(1, &["station.csv", "not a readable Parquet file"]);
    sandbox.run(&["check", "nothing"]).fails(1, &["nothing"]);
    let wrong = ["check", "data", "--set", "prepare.quality.duplicates=mask"];
    sandbox.run(&wrong).fails(
        2,
        &["prepare.quality.duplicates", "one of drop, fail", "mask"],
    );
    assert!(sandbox.artifacts() == before, "check wrote something");
}

/// Where no gap was filled its masks are constant.
#[test]
fn what_krammerti_made_of_the_data_is_not_doubted() {
    let sandbox = Sandbox::new();
    let prepare = "prepare:\n  fill: {up_to: 2h}\n  quality: {constant: fail}\n";
    sandbox.edit("params.yaml", "prepare:\n", prepare);
    sandbox.run(&["run", "prepare"]).ok();
    assert!(sandbox.read("data/dataset.json").contains("\"filled\""));
    assert_eq!(found(&checked(&sandbox, "data")), []);
}

/// Two stations and three hours of each, of which one has a spike, as a fetched file.
fn stations() -> Table {
    let hours = 30;
    let times = (0..2 * hours).map(|row| row % hours * 3600).collect();
    let value = |row: i64| {
        if row == 40 {
            45.5
        } else {
            10.0 + row as f64 * 0.1
        }
    };
    let column = |name: &str, values: Vec<f64>| Column {
        name: name.to_owned(),
        unit: "°C".to_owned(),
        values,
    };
    let columns = vec![
        column("temperature_2m", (0..2 * hours).map(value).collect()),
        column("unused", vec![-9999.0; 2 * hours as usize]),
    ];
    let of = (0..2 * hours).map(|row| if row < hours { "north" } else { "south" });
    let table = Table::new(times, columns).unwrap();
    table.with_series(RowSeries::from_names(of)).unwrap()
}

#[test]
fn check_reads_series_and_forecasts_and_only_the_columns_it_needs() {
    let sandbox = Sandbox::new();
    let write = |name: &str, table: &Table| {
        std::fs::write(sandbox.path(name), to_parquet(table).unwrap()).unwrap();
    };
    write("stations.parquet", &stations());
    let report = checked(&sandbox, "stations.parquet");
    let spike = one("spikes", "temperature_2m", 1);
    assert!(found(&report).contains(&spike), "{report}");
    assert!(!found(&report).contains(&one("duplicates", "(rows)", 30)));
    let rows = serde_json::json!({"rows_in": 30, "kept": 30, "dropped": 0});
    assert_eq!(
        report["series"],
        serde_json::json!({"north": rows, "south": rows})
    );
    let mut checks = report["checks"].as_array().unwrap().iter();
    let spikes = checks.find(|check| check["check"] == "spikes").unwrap();
    assert_eq!(spikes["series"], serde_json::json!({"south": 1}));
    assert_eq!(spikes["examples"][0]["series"], "south");

    sandbox.edit(
        "params.yaml",
        "  calendar:",
        "  columns: [temperature_2m]\n  quality: {spikes: fail}\n  calendar:",
    );
    let says = ["`spikes` of temperature_2m found 1, first in south at 1970-01-01T10:00:00Z: 45.5"];
    let failed = sandbox.run(&["check", "stations.parquet"]).fails(3, &says);
    assert!(failed.stdout.contains("2 series\n"), "{failed}");
    assert!(!failed.stdout.contains("unused"), "{failed}");
    let missing = [
        "check",
        "stations.parquet",
        "--set",
        "prepare.columns=[nothing]",
    ];
    sandbox.run(&missing).fails(
        2,
        &[
            "stations.parquet",
            "no column nothing; there are temperature_2m, unused",
        ],
    );

    // The same rows as forecasts: the second half is another issue, and no jump back.
    let table = stations();
    let plain = Table::new(table.times().to_vec(), table.columns().to_vec()).unwrap();
    let issues = (0..60).map(|row| row / 30 * 3600).collect();
    write("forecasts.parquet", &plain.with_issues(issues).unwrap());
    let report = checked(&sandbox, "forecasts.parquet");
    let mut checks = report["checks"].as_array().unwrap().iter();
    let spikes = checks.find(|check| check["check"] == "spikes").unwrap();
    assert_eq!(spikes["count"], 1, "{report}");
    assert_eq!(spikes["examples"][0]["issue"], "1970-01-01T01:00:00Z");
    assert!(found(&report).iter().all(|(check, ..)| check != "order"));
}

#[test]
fn checks_of_what_is_no_column_are_refused() {
    for (quality, told) in [
        (
            "columns: {temprature_2m: {max: 40}}",
            "prepare.quality.columns: no column temprature_2m; there are",
        ),
        (
            "pairs: [{low: dew_point_2m, high: temperature_2m, tolerance: 0}]",
            "prepare.quality.pairs: no column dew_point_2m; there are",
        ),
    ] {
        let sandbox = Sandbox::new();
        sandbox.run(&["run", "fetch"]).ok();
        let quality = format!("  quality: {{{quality}}}\n  calendar:");
        sandbox.edit("params.yaml", "  calendar:", &quality);
        sandbox.run(&["run"]).fails(2, &[told]);
        assert!(!sandbox.has("data"));
    }
}

/// A project around one CSV file: its columns as `name: {unit: …, from: …}` and its target.
fn project(csv: &str, time: &str, step: &str, columns: &[&str], target: &str) -> Sandbox {
    let sandbox = Sandbox::empty();
    sandbox.write("station.csv", csv);
    let columns = columns.join(
        "
      ",
    );
    let params = format!(
        "sources:\n  station:\n    kind: file\n    path: station.csv\n    missing: [NA]\n    time: {time}\n    \
         columns:\n      {columns}\nprepare: {{target: {target}, step: {step}}}\n"
    );
    sandbox.write("params.yaml", &params);
    sandbox.write("pipeline.yaml", "stages: {}\n");
    sandbox
        .run(&["fetch", "station", "--out", "raw.parquet"])
        .ok();
    sandbox
}

fn bundled(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name);
    std::fs::read_to_string(path).unwrap()
}

const PRSA: [&str; 7] = [
    "temperature: {unit: °C, from: TEMP}",
    "dew_point: {unit: °C, from: DEWP}",
    "pressure: {unit: hPa, from: PRES}",
    "rain: {unit: mm, from: RAIN}",
    "wind_speed: {unit: m/s, from: WSPM}",
    "pm2_5: {unit: µg/m³, from: PM2.5}",
    "co: {unit: µg/m³, from: CO}",
];

/// The share of a column that is missing.
fn missing(report: &Value, column: &str) -> f64 {
    let mut checks = report["checks"].as_array().unwrap().iter();
    let of = |check: &&Value| check["check"] == "completeness" && check["column"] == column;
    checks.find(of).unwrap()["measured"].as_f64().unwrap()
}

#[test]
fn beijing_station_and_its_gaps() {
    let time = "{column: time, utc_offset_h: 8}";
    let csv = bundled("prsa-aotizhongxin-20-days.csv");
    let sandbox = project(&csv, time, "1h", &PRSA, "temperature");
    let report = checked(&sandbox, "raw.parquet");
    assert_eq!(report["rows"]["kept"], 480);
    assert_eq!(found(&report), []);
    let steps = |column| missing(&report, column) * 480.0;
    assert!((steps("temperature") - 7.0).abs() < 1e-9 && (steps("co") - 16.0).abs() < 1e-9);
    // Asked more strictly, it tells the six hours of 25 September.
    let limits = "prepare.quality.limits={missing_share: 0.01, longest_missing: 5h}";
    let strict = ["check", "raw.parquet", "--set", limits];
    let told = sandbox.run(&strict).ok().stdout;
    assert!(told.contains("completeness temperature"), "{told}");
    assert!(
        told.contains("2016-09-25 11:00  expected at most 5 h without a value, here 6 h"),
        "{told}"
    );
}

const CO2: [&str; 2] = [
    "co2: {unit: ppm, from: average}",
    "co2_a_year_ago: {unit: ppm, from: 1 year ago}",
];

#[test]
fn weekly_co2_and_its_sentinels() {
    let csv = bundled("co2-weekly-mlo-1975-1976.csv");
    let sandbox = project(&csv, "{column: date}", "7d", &CO2, "co2");
    let report = checked(&sandbox, "raw.parquet");
    let sentinels = [
        one("sentinels", "co2", 6),
        one("sentinels", "co2_a_year_ago", 5),
    ];
    assert_eq!(found(&report), sentinels);
    let mut checks = report["checks"].as_array().unwrap().iter();
    let first = checks.find(|check| check["check"] == "sentinels").unwrap();
    assert_eq!(first["examples"][0]["time"], "1975-10-05T00:00:00Z");
    sandbox
        .run(&["prepare", "raw.parquet", "--out", "data"])
        .ok();
    let dataset: Value = serde_json::from_str(&sandbox.read("data/dataset.json")).unwrap();
    assert_eq!(
        (
            &dataset["columns"][0]["missing"],
            &dataset["columns"][1]["missing"]
        ),
        (&6.into(), &5.into())
    );
    assert!(dataset["columns"][0]["min"].as_f64().unwrap() > 300.0);
}

/// A project around a file of the shared data; nothing, and a line that says so, where that is absent.
fn shared(name: &str, source: &str, prepare: &str) -> Option<Sandbox> {
    let folder = std::env::var_os("KRAMMERTI_DATA").map(PathBuf::from);
    let bytes = folder.and_then(|folder| std::fs::read(folder.join(name)).ok());
    let Some(bytes) = bytes else {
        let text =
            format!("SKIPPED: {name} is needed; KRAMMERTI_DATA names the folder that holds it\n");
        // Past the test harness, which would swallow it.
        std::io::stderr().write_all(text.as_bytes()).unwrap();
        return None;
    };
    let sandbox = Sandbox::empty();
    std::fs::write(sandbox.path(name), bytes).unwrap();
    let source = source.trim_end().replace('\n', "\n    ");
    let params =
        format!("sources:\n  station:\n    path: {name}\n    {source}\nprepare: {{{prepare}}}\n");
    sandbox.write("params.yaml", &params);
    sandbox.write("pipeline.yaml", "stages: {}\n");
    sandbox
        .run(&["fetch", "station", "--out", "raw.parquet"])
        .ok();
    Some(sandbox)
}

/// The sentinels that were found, by column.
fn sentinels(report: &Value) -> Vec<(String, u64)> {
    let found = found(report).into_iter();
    found
        .filter(|(check, ..)| check == "sentinels")
        .map(|(_, column, count)| (column, count))
        .collect()
}

#[test]
fn jena_has_the_sentinels_that_are_known() {
    // In the file at hand, letters of units are already lost; the header is as it is.
    let source = "\
kind: file
time: {column: date, utc_offset_h: 1}
columns:
  temperature: {unit: °C, from: T (degC)}
  dew_point: {unit: °C, from: Tdew (degC)}
  potential: {unit: K, to: °C, from: Tpot (K)}
  pressure: {unit: mbar, to: hPa, from: p (mbar)}
  density: {unit: g/m³, from: rho (g/m**3)}
  wv: {unit: m/s, from: wv (m/s)}
  max_wv: {unit: m/s, from: max. wv (m/s)}
  wind_direction: {unit: °, from: wd (deg)}
  rain: {unit: mm, from: rain (mm)}
  par: {unit: µmol/m²/s, from: \"PAR (\\uFFFDmol/m\\uFFFD/s)\"}
  max_par: {unit: µmol/m²/s, from: \"max. PAR (\\uFFFDmol/m\\uFFFD/s)\"}
  ot: {unit: '1', from: OT}
";
    let name = "jena-weather-2020.csv.gz";
    let Some(sandbox) = shared(name, source, "target: temperature, step: 10min") else {
        return;
    };
    let report = checked(&sandbox, "raw.parquet");
    let known = [("max_par", 30), ("ot", 50), ("wv", 1)];
    let mut found = sentinels(&report);
    found.sort();
    assert_eq!(
        found,
        known.map(|(column, count)| (column.to_owned(), count))
    );
    assert_eq!(
        (&report["masked"], &report["rows"]["rows_in"]),
        (&81.into(), &52_696.into())
    );
}

#[test]
fn co2_has_the_sentinels_that_are_known() {
    let of = |interval: &str, columns: &str, step: &str| {
        let name = format!("co2-{interval}-mlo.csv.gz");
        let source = format!("kind: noaa-co2\ninterval: {interval}\ncolumns: [{columns}]\n");
        shared(&name, &source, &format!("target: co2, step: {step}"))
    };
    let columns = "co2, co2_a_year_ago, co2_10_years_ago, co2_since_1800";
    let (Some(weekly), Some(daily)) = (of("weekly", columns, "7d"), of("daily", "co2", "1d"))
    else {
        return;
    };
    let report = checked(&weekly, "raw.parquet");
    let known = [
        ("co2", 18),
        ("co2_a_year_ago", 70),
        ("co2_10_years_ago", 541),
        ("co2_since_1800", 18),
    ];
    let known = known.map(|(column, count)| (column.to_owned(), count));
    assert_eq!(sentinels(&report), known);
    assert_eq!(report["rows"]["kept"], 2459);
    let report = checked(&daily, "raw.parquet");
    assert_eq!(
        (sentinels(&report), &report["rows"]["kept"]),
        (vec![], &15_211.into())
    );
}

#[test]
fn beijing_has_the_gaps_that_are_known() {
    let source = "\
kind: file
missing: [NA]
time: {columns: {year: year, month: month, day: day, hour: hour}, zone: Asia/Shanghai}
columns:
  temperature: {unit: °C, from: TEMP}
  dew_point: {unit: °C, from: DEWP}
  pressure: {unit: hPa, from: PRES}
  rain: {unit: mm, from: RAIN}
  wind_speed: {unit: m/s, from: WSPM}
  wind_direction: {unit: compass, from: wd}
  pm2_5: {unit: µg/m³, from: PM2.5}
  co: {unit: µg/m³, from: CO}
";
    let name = "prsa-aotizhongxin.csv.gz";
    let Some(sandbox) = shared(name, source, "target: temperature, step: 1h") else {
        return;
    };
    let report = checked(&sandbox, "raw.parquet");
    let steps = |column| (missing(&report, column) * 35_064.0).round();
    assert_eq!(
        (steps("temperature"), steps("co"), steps("wind_direction")),
        (20.0, 1776.0, 81.0)
    );
    assert_eq!(report["rows"]["kept"], 35_064);
}

#[test]
fn gefcom_forecasts_and_farms_are_read_whole() {
    let forecasts = "\
kind: file
missing: [NA]
issue_time: {column: date, format: '%Y%m%d%H'}
lead: {column: hors, unit: h}
columns: {u: {unit: m/s}, v: {unit: m/s}, wind_speed: {unit: m/s, from: ws}, wind_direction: {unit: °, from: wd}}
";
    let farms = "\
kind: file
time: {column: date, format: '%Y%m%d%H'}
columns:
  power: {unit: '1', series: {wf1: wp1, wf2: wp2, wf3: wp3, wf4: wp4, wf5: wp5, wf6: wp6, wf7: wp7}}
";
    let of = |name, source| shared(name, source, "target: power, step: 1h");
    let (Some(forecasts), Some(farms)) = (
        of("gefcom2012-nwp-wf1.csv.gz", forecasts),
        of("gefcom2012-wind-train.csv.gz", farms),
    ) else {
        return;
    };
    let read = |sandbox: &Sandbox| {
        let bytes = std::fs::read(sandbox.path("raw.parquet")).unwrap();
        krammerti::data::from_parquet(bytes).unwrap()
    };
    let table = read(&forecasts);
    let leads = table.times().iter().zip(table.issues().unwrap());
    assert!(
        leads
            .into_iter()
            .all(|(time, issue)| (1..=48).contains(&((time - issue) / 3600)))
    );
    assert_eq!((table.rows(), table.columns().len()), (104_832, 4));
    let table = read(&farms);
    assert_eq!(
        (table.rows(), table.series().unwrap().names().len()),
        (7 * 18_757, 7)
    );
}
