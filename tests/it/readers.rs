//! `krammerti fetch` from files: of the world as they are published, of pandas, and of nobody in his
//! right mind. The last are fuzz targets: `KRAMMERTI_FUZZ_SECONDS` says how long each runs,
//! `KRAMMERTI_FUZZ_SEED` with which numbers.

use std::path::Path;
use std::time::{Duration, Instant};

use krammerti::data::{Table, from_parquet};
use krammerti::params::ParamsFile;
use krammerti::source::{Asked, source};

use crate::fuzz::{setting, watched};
use crate::sandbox::{Dice, Sandbox};
use krammerti_test_server::{Reply, Server};

fn bundled(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    std::fs::read(folder.join(name)).unwrap()
}

/// A project with one source and the files that it reads.
fn project(source: &str, files: &[&str]) -> Sandbox {
    let sandbox = Sandbox::empty();
    for file in files {
        std::fs::write(sandbox.path(file), bundled(file)).unwrap();
    }
    let source = source.trim_end().replace('\n', "\n    ");
    sandbox.write("params.yaml", &format!("sources:\n  it:\n    {source}\n"));
    sandbox.write(
        "pipeline.yaml",
        "stages:\n  fetch: {cmd: krammerti fetch it --out raw.parquet}\n",
    );
    sandbox
}

fn fetched(sandbox: &Sandbox) -> Table {
    sandbox.run(&["run", "fetch"]).ok();
    from_parquet(std::fs::read(sandbox.path("raw.parquet")).unwrap()).unwrap()
}

fn missing(table: &Table, column: &str) -> usize {
    let values = &table.column(column).unwrap().values;
    values.iter().filter(|value| value.is_nan()).count()
}

#[test]
fn beijing_as_published() {
    let source = "\
kind: file
path: prsa-*.csv
missing: [NA]
time: {columns: {year: year, month: month, day: day, hour: hour}, zone: Asia/Shanghai}
series: {column: station}
columns:
  temperature: {from: TEMP, unit: °C}
  co: {from: CO, unit: µg/m³}
  wind_direction: {from: wd, unit: compass}
";
    let sandbox = project(source, &["prsa-aotizhongxin-as-published.csv"]);
    let table = fetched(&sandbox);
    assert_eq!((table.rows(), table.times()[0]), (96, 1_474_646_400));
    assert_eq!(table.series().unwrap().names(), ["Aotizhongxin"]);
    let counts = ["temperature", "co", "wind_direction"].map(|column| missing(&table, column));
    assert_eq!(counts, [6, 3, 7]);
    // Another file that matches is another input.
    let reasons = sandbox.run(&["why", "fetch"]).ok().stdout;
    assert!(
        reasons.contains("up to date") || reasons.contains("fresh"),
        "{reasons}"
    );
    std::fs::write(
        sandbox.path("prsa-b.csv"),
        bundled("prsa-aotizhongxin-as-published.csv"),
    )
    .unwrap();
    let reasons = sandbox.run(&["why", "fetch"]).ok().stdout;
    assert!(reasons.contains("prsa-b.csv"), "{reasons}");
    assert_eq!(fetched(&sandbox).rows(), 192);
}

#[test]
fn three_tables_of_co2() {
    let read = |interval: &str, file: &str| {
        let source = format!("kind: noaa-co2\ninterval: {interval}\npath: {file}\n");
        project(&source, &[file])
    };
    let daily = fetched(&read("daily", "co2-daily-mlo-1975.csv"));
    assert_eq!(
        (daily.rows(), daily.columns()[0].unit.as_str()),
        (124, "ppm")
    );
    let weekly = fetched(&read("weekly", "co2-weekly-mlo-as-published.csv"));
    let values = &weekly.column("co2").unwrap().values;
    let sentinels = values.iter().filter(|value| **value < -999.0).count();
    assert_eq!((weekly.rows(), sentinels), (104, 6));
    let monthly = fetched(&read("monthly", "co2-monthly-mlo-1958-1963.csv"));
    assert_eq!((monthly.rows(), missing(&monthly, "co2")), (60, 0));
    let wrong = read("weekly", "co2-daily-mlo-1975.csv");
    let told = "expected the weekly table of CO2, found the daily one";
    wrong
        .run(&["run", "fetch"])
        .fails(1, &["co2-daily-mlo-1975.csv", told]);
}

#[test]
fn co2_from_a_server_that_breaks_off_and_corrects() {
    let whole = String::from_utf8(bundled("co2-weekly-mlo-as-published.csv")).unwrap();
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    let before = lines[..lines.len() - 2].concat();
    let (cut, now) = (
        before[..before.len() - 7].to_owned(),
        whole.replace("331.60", "331.61"),
    );
    let corrected = usize::from(now != whole);
    let server = Server::new(move |number, _| {
        Reply::ok(match number {
            0 => &cut,
            1 => &before,
            _ => &now,
        })
    });
    let url = server.url("/co2.csv");
    let sandbox = project(
        &format!("kind: noaa-co2\ninterval: weekly\nurl: {url}\n"),
        &[],
    );
    let note = |ran: &crate::sandbox::Ran| format!("{}{}", ran.stdout, ran.stderr);
    let fetch = ["run", "--json", "--force", "fetch"];
    let first = sandbox.run(&fetch).ok();
    assert!(note(&first).contains("102 rows of 1 columns"), "{first}");
    assert!(note(&first).contains("102 new, 0 corrected"), "{first}");
    assert_eq!(server.asked().len(), 2);
    let second = sandbox.run(&fetch).ok();
    let news = format!("2 new, {corrected} corrected");
    assert!(note(&second).contains(&news), "{second}");
    let third = sandbox.run(&fetch).ok();
    assert!(note(&third).contains("nothing new"), "{third}");
}

#[test]
fn parquet_of_pandas() {
    let read = |time: &str, series: &str, text: &str| {
        let source = format!(
            "\
kind: file
path: pandas.parquet
missing: [NA]
time: {time}
series: {{column: {series}}}
columns:
  temperature: {{unit: °C}}
  humidity: {{unit: '%'}}
  pressure: {{unit: hPa}}
  text: {{unit: '1', from: {text}}}
"
        );
        project(&source, &["pandas.parquet"])
    };
    let hours = [1_603_582_200, 1_603_585_800, 1_603_589_400, 1_603_593_000];
    let local = "{column: local, zone: Europe/Berlin}";
    for time in [local, "{column: instant}", "{column: unix, format: unix_s}"] {
        let table = fetched(&read(time, "station", "text"));
        assert_eq!(table.times(), hours, "{time}");
        let names = ["temperature", "humidity", "pressure", "text"];
        let counts = names.map(|name| missing(&table, name));
        assert_eq!(counts, [1, 1, 0, 2]);
        assert_eq!(table.series().unwrap().names(), ["a"]);
    }
    let days = fetched(&read("{column: date}", "station", "text"));
    assert_eq!(days.times(), [1_603_584_000; 4]);
    for (time, series, text, told) in [
        (
            "{column: time}",
            "station",
            "text",
            "no column `time`; there are instant, unix",
        ),
        (
            "{column: station}",
            "station",
            "text",
            "row 1: expected a time",
        ),
        (
            local,
            "category",
            "text",
            "expected numbers of 32 or 64 bits, texts or times in `category`",
        ),
        (
            local,
            "station",
            "small",
            "texts or times in `small`, found Int8",
        ),
        (
            local,
            "station",
            "flag",
            "texts or times in `flag`, found Boolean",
        ),
    ] {
        let ran = read(time, series, text).run(&["run", "fetch"]);
        ran.fails(1, &["pandas.parquet", told]);
    }
}

// What is no file at all.

const CSV: &str = "\
kind: file
path: it
missing: [NA]
comment: '#'
time: {column: time, zone: Europe/Berlin}
series: {column: s}
columns:
  a: {from: A, unit: K, to: °C}
  b: {from: B, unit: compass}
";
const FORECAST: &str = "\
kind: file
path: it
delimiter: ;
decimal: ','
encoding: utf-16
issue_time: {columns: {year: y, month: m, day: d, hour: h}}
lead: {column: l}
columns: {a: {unit: '1', series: {x: A, z: B}}}
";
const JSONL: &str = "\
kind: file
path: it
format: jsonl
time: {column: /t/0, format: unix_ms}
series: {column: s}
columns: {a: {from: /v/a, unit: K}, b: {unit: '1'}}
";
const CO2: &str = "{kind: noaa-co2, interval: weekly, path: it, columns: [co2, days]}";

const WORDS: [&str; 40] = [
    ",",
    ";",
    "\t",
    "\n",
    "\r\n",
    "\r",
    "\"",
    "\"\"",
    "'",
    "#",
    "\0",
    "\u{feff}",
    "NA",
    "nan",
    "inf",
    "-",
    "1e999",
    "1e-400",
    "0x1p3",
    "9999999999999999999",
    "-9999",
    "2020-10-25 02:30",
    "2020-03-29 02:30",
    "9999-12-31T23:59:59Z",
    "0000-00-00",
    "{",
    "}",
    "[",
    "]",
    "null",
    "true",
    "\\u0000",
    "\"t\"",
    ":",
    "é",
    "𐏿",
    "SSW",
    "-0",
    ".",
    "1,5",
];

fn mutated(dice: &mut Dice, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = dice.one_of(corpus).clone();
    for _ in 0..=dice.below(4) {
        let at = dice.below(bytes.len() + 1);
        let end = (at + 1 + dice.below(9)).min(bytes.len());
        match dice.below(8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
            1 => bytes.insert(at, dice.below(256) as u8),
            2 => drop(bytes.drain(at..end)),
            3 => bytes.truncate(at),
            4 => {
                // A part of it, many times.
                let part = bytes[at..end].repeat(1 + dice.below(200));
                bytes.splice(at..at, part);
            }
            5 => {
                let other = dice.one_of(corpus);
                let from = dice.below(other.len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            _ => {
                let word = dice.one_of(&WORDS);
                bytes.splice(at..at, word.bytes());
            }
        }
        bytes.truncate(8 << 10);
    }
    bytes
}

/// Reads whatever comes. It is a table that is no larger than what it came from, or it is refused.
fn fuzz(params: &str, seeds: &[Vec<u8>]) {
    let indented = params.trim_end().replace('\n', "\n    ");
    let text = format!("sources:\n  it:\n    {indented}\n");
    let (_, params) = ParamsFile::parse(Path::new("params.yaml"), &text, None, &[]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("it");
    let mut dice = Dice::new(setting("KRAMMERTI_FUZZ_SEED", 20_260_214));
    let budget = Duration::from_secs(setting("KRAMMERTI_FUZZ_SECONDS", 2));
    let mut corpus = seeds.to_vec();
    let (mut accepted, mut refused) = (0, 0);
    let begun = Instant::now();
    watched(|watch| {
        while begun.elapsed() < budget {
            let bytes = match seeds.get(accepted + refused) {
                Some(seed) => seed.clone(),
                None if dice.once_in(10) => {
                    let length = dice.below(300);
                    (0..length).map(|_| dice.below(256) as u8).collect()
                }
                None => mutated(&mut dice, &corpus),
            };
            std::fs::write(&path, &bytes).unwrap();
            watch.begins(&String::from_utf8_lossy(&bytes));
            let fetched = source(&params.sources["it"]).fetch(&mut Asked {
                root: folder.path(),
                offline: true,
                progress: &mut |_, _, _| {},
            });
            watch.ended();
            match fetched {
                Ok(fetched) => {
                    accepted += 1;
                    // Unless it was packed.
                    assert!(bytes.starts_with(b"\x1f\x8b") || fetched.table.rows() <= bytes.len());
                    if corpus.len() < 200 {
                        corpus.push(bytes);
                    }
                }
                Err(error) => {
                    refused += 1;
                    assert!(error.to_string().starts_with("it"), "{error}");
                    assert!(error.to_string().len() < 4000, "{error}");
                }
            }
        }
    });
    assert!(
        accepted > seeds.len() && refused > 0,
        "{accepted}, {refused}"
    );
}

#[test]
fn any_bytes_are_a_csv_table_or_are_refused() {
    let text = "# x\ntime,s,A,B,x\n2020-10-25 01:00,a,280.5,N,\n2020-10-25 02:00,\"b\",NA,SSW,\"1,2\"\n\
                2020-10-25 02:00,b,-9999,,\n2020-10-25T02:00Z,a,1e2,nne,1\n";
    let mut packed = Vec::new();
    let mut encoder = flate2::write::GzEncoder::new(&mut packed, flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, text.as_bytes()).unwrap();
    encoder.finish().unwrap();
    fuzz(CSV, &[text.into(), packed]);
}

#[test]
fn any_bytes_are_a_table_of_forecasts_or_are_refused() {
    let text = "\u{feff}y;m;d;h;l;A;B;\r\n2020;1;1;0;1;0,5;1;\r\n2020;1;1;12;48;;-1,5e3;\r\n";
    let text = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    fuzz(FORECAST, &[text]);
}

#[test]
fn any_bytes_are_json_lines_or_are_refused() {
    let text = r#"{"t": [1577829600000], "s": "a", "v": {"a": 1.5, "x": [{}, null, true]}, "b": "2"}
{"t": ["1577829600000"], "s": 7, "v": {"a": null}, "b": 3e2}
"#;
    fuzz(JSONL, &[text.into()]);
}

#[test]
fn any_bytes_are_a_table_of_co2_or_are_refused() {
    let whole = bundled("co2-weekly-mlo-as-published.csv");
    fuzz(
        CO2,
        &[
            whole[..1000].to_vec(),
            whole[..whole.len().min(600)].to_vec(),
        ],
    );
}
