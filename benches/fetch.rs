//! What it costs to read answers of Open-Meteo: 50 MB of hours, stored, from their bytes to the table.
//!
//! `cargo bench --workspace --bench fetch`
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that fails may say so by panicking"
)]

use std::path::Path;

use divan::Bencher;
use divan::counter::BytesCount;
use krammerti::params::{Params, ParamsFile};
use krammerti::source::{Asked, Fetched, source};
use krammerti::time::{format_utc, parse_time};
use krammerti_test_server::{Reply, Server};
use serde_json::Value;

/// A real answer, of which longer ones are made.
const RECORDED: &str = include_str!("../tests/data/open-meteo-calais-2024-06.json");
const VARIABLES: [&str; 9] = [
    "temperature_2m",
    "relative_humidity_2m",
    "wind_speed_10m",
    "wind_speed_100m",
    "wind_direction_10m",
    "wind_direction_100m",
    "surface_pressure",
    "cloud_cover",
    "wind_gusts_10m",
];

fn main() {
    divan::main();
}

/// An answer for the days of a query: values as recorded, over and over.
fn answer(start: &str, end: &str) -> String {
    let mut body: Value = serde_json::from_str(RECORDED).unwrap();
    let day = |text: &str| parse_time(text, Some("%Y-%m-%d"), 0).unwrap();
    let hours = (day(end) - day(start)) / 3600 + 24;
    let time = |hour: i64| format_utc(day(start) + hour * 3600);
    let times = (0..hours).map(|hour| Value::from(&time(hour)[..16]));
    let recorded = body["hourly"].clone();
    for (i, name) in VARIABLES.into_iter().enumerate() {
        let from = ["temperature_2m", "wind_speed_10m", "surface_pressure"][i % 3];
        let values = recorded[from].as_array().unwrap().iter().cycle();
        body["hourly"][name] = values.take(hours as usize).cloned().collect();
        body["hourly_units"][name] = match name {
            "temperature_2m" => "°C",
            "relative_humidity_2m" | "cloud_cover" => "%",
            "wind_direction_10m" | "wind_direction_100m" => "°",
            "surface_pressure" => "hPa",
            _ => "m/s",
        }
        .into();
    }
    body["hourly"]["time"] = times.collect();
    body.to_string()
}

fn params(url: &str) -> Params {
    let text = format!(
        "sources: {{x: {{kind: open-meteo, endpoint: archive, url: '{url}', latitude: 50.93, \
         longitude: 1.93, variables: [{}], from: 1927-01-01, to: 2023-12-31, \
         days_per_request: 3660}}}}",
        VARIABLES.join(", ")
    );
    ParamsFile::parse(Path::new("params.yaml"), &text, None, &[])
        .unwrap()
        .1
}

fn fetch(params: &Params, root: &Path, offline: bool) -> Fetched {
    let mut asked = Asked {
        root,
        offline,
        progress: &mut |_, _, _| {},
    };
    source(&params.sources["x"]).fetch(&mut asked).unwrap()
}

#[divan::bench(sample_count = 5)]
fn stored_answers(bencher: Bencher) {
    let server = Server::new(|_, asked| {
        let day = |name| asked.query(name).unwrap();
        Reply::ok(&answer(day("start_date"), day("end_date")))
    });
    let project = tempfile::tempdir().unwrap();
    let params = params(&server.url("/v1/archive"));
    let first = fetch(&params, project.path(), false);
    let bodies = project.path().join(".krammerti/responses/bodies");
    let bytes = krammerti::fs::disk_usage(&bodies).unwrap();
    assert!(first.table.rows() > 850_000 && bytes > 45_000_000);
    bencher
        .counter(BytesCount::new(bytes))
        .bench_local(|| fetch(&params, project.path(), true));
}
