//! The source `open-meteo` as a person uses it: the main job on its answers, and an archive of
//! forecasts.

use serde_json::{Value, json};

use crate::sandbox::Sandbox;
use krammerti_test_server::{Asked, Reply, Server};

/// What the archive once answered, by hours: 50 days of 2020.
const SERIES: &str = include_str!("../data/calais-2020-50-days.csv");

/// The days of a query in the shape of the service, from what it once answered.
fn archive(asked: &Asked) -> Value {
    let units = json!({
        "time": "iso8601", "temperature_2m": "°C", "wind_speed_10m": "m/s",
        "wind_direction_10m": "°", "surface_pressure": "hPa",
    });
    let mut lines = SERIES
        .lines()
        .map(|line| line.split(',').collect::<Vec<_>>());
    let header = lines.next().unwrap();
    let (start, end) = (asked.query("start_date"), asked.query("end_date"));
    let wanted = |row: &Vec<&str>| (start.unwrap()..=end.unwrap()).contains(&&row[0][..10]);
    let rows: Vec<_> = lines.filter(wanted).collect();
    let mut body = json!({"utc_offset_seconds": 0, "hourly_units": units, "hourly": {}});
    body["hourly"]["time"] = rows
        .iter()
        .map(|row| row[0][..16].replace(' ', "T"))
        .collect();
    for name in asked.query("hourly").unwrap().split(',') {
        let place = header.iter().position(|column| *column == name).unwrap();
        let values = rows.iter().map(|row| row[place].parse::<f64>().unwrap());
        body["hourly"][name] = values.collect();
    }
    body
}

/// What `fetch` says of its table.
fn note(sandbox: &Sandbox, args: &[&str]) -> String {
    let ran = sandbox.run(args).ok();
    let events = ran.stdout.lines().map(|line| {
        let event: Value = serde_json::from_str(line).unwrap();
        event["message"].as_str().unwrap_or_default().to_owned()
    });
    events.filter(|text| text.contains("rows of")).collect()
}

#[test]
fn from_answers_of_the_archive_to_a_forecast() {
    let server = Server::new(|_, asked| Reply::ok(&archive(asked).to_string()));
    let sandbox = Sandbox::new();
    let params = sandbox.read("params.yaml");
    let (_, rest) = params.split_once("prepare:").unwrap();
    sandbox.write(
        "params.yaml",
        &format!(
            "\
sources:
  station:
    kind: open-meteo
    endpoint: archive
    url: {}
    latitude: 50.93
    longitude: 1.93
    variables: [temperature_2m, wind_speed_10m, wind_direction_10m, surface_pressure]
    from: 2020-01-01
    to: 2020-02-15
    days_per_request: 20
prepare:{rest}",
            server.url("/v1/archive")
        ),
    );
    sandbox.run(&["run"]).ok();
    assert_eq!(server.asked().len(), 3);
    let metrics: Value = serde_json::from_str(&sandbox.read("report/metrics.json")).unwrap();
    assert!(
        metrics["skill"]["persistence"].as_f64().unwrap() > 0.0,
        "{metrics}"
    );
    let forecast: Value = serde_json::from_str(&sandbox.read("forecast/forecast.json")).unwrap();
    assert_eq!(forecast["issue_time"], "2020-02-15T23:00:00Z");
    assert_eq!(forecast["leads"].as_array().unwrap().len(), 6);
    drop(server);
    let fetch = [
        "fetch",
        "station",
        "--offline",
        "--json",
        "--out",
        "again.parquet",
    ];
    let told = note(&sandbox, &fetch);
    assert!(
        told.starts_with("1104 rows of 4 columns, 2020-01-01 00:00 to"),
        "{told}"
    );
    let bytes = |path| std::fs::read(sandbox.path(path)).unwrap();
    assert_eq!(bytes("again.parquet"), bytes("raw.parquet"));
}

/// A forecast of so many hours as are asked for, for two places.
fn forecast(asked: &Asked) -> Value {
    let day = |name: &str| {
        let text = asked.query(name).unwrap();
        krammerti::time::parse_time(text, Some("%Y-%m-%d"), 0).unwrap()
    };
    let hours = (day("end_date") - day("start_date")) / 3600 + 24;
    let time = |hour: i64| krammerti::time::format_utc(day("start_date") + hour * 3600);
    let times: Vec<String> = (0..hours).map(|hour| time(hour)[..16].to_owned()).collect();
    let body = |place: i64| {
        json!({
            "location_id": place, "utc_offset_seconds": 0,
            "hourly_units": {"temperature_2m": "°C"},
            "hourly": {"time": times, "temperature_2m": (0..hours).collect::<Vec<_>>()},
        })
    };
    json!([body(0), body(1)])
}

#[test]
fn forecasts_of_several_places_are_kept_with_their_issue_time() {
    let server = Server::new(|_, asked| Reply::ok(&forecast(asked).to_string()));
    let sandbox = Sandbox::empty();
    sandbox.write(
        "params.yaml",
        &format!(
            "\
sources:
  channel:
    kind: open-meteo
    endpoint: forecast
    url: {}
    places:
      calais: {{latitude: 50.93, longitude: 1.93}}
      dover: {{latitude: 51.12, longitude: 1.31}}
    variables: [temperature_2m]
    forecast_days: 3
    issued_every: 1d
",
            server.url("/v1/forecast")
        ),
    );
    let pipeline = "stages: {fetch: {cmd: krammerti fetch channel --out raw.parquet}}\n";
    sandbox.write("pipeline.yaml", pipeline);
    let told = note(&sandbox, &["run", "--json"]);
    // Issued at midnight, so all hours of the three days are ahead.
    assert!(told.starts_with("144 rows of 1 columns, "), "{told}");
    assert!(
        told.ends_with("; 1 issue, no earlier one is stored; 144 new, 0 corrected"),
        "{told}"
    );
    let path = &server.asked()[0].path;
    assert!(
        path.contains("latitude=50.93,51.12&longitude=1.93,1.31"),
        "{path}"
    );
    let raw = std::fs::read(sandbox.path("raw.parquet")).unwrap();
    let table = krammerti::data::from_parquet(raw.clone()).unwrap();
    assert_eq!(table.series().unwrap().names(), ["calais", "dover"]);
    let issue = table.issues().unwrap()[0];
    assert_eq!((issue % 86_400, table.times()[0]), (0, issue));

    let told = note(&sandbox, &["run", "--json", "--force", "--offline"]);
    assert!(told.ends_with("no earlier one is stored"), "{told}");
    assert_eq!(std::fs::read(sandbox.path("raw.parquet")).unwrap(), raw);

    // Who removes the archive still has the table: it is kept, and can be taken over from there.
    std::fs::remove_dir_all(sandbox.path(".krammerti")).unwrap();
    sandbox.run(&["run", "--force"]).ok();
    let kept = sandbox.files_under(".krammerti/failed");
    let is_table =
        |(path, bytes): &(String, Vec<u8>)| path.ends_with("replaced/raw.parquet") && *bytes == raw;
    let kept = kept
        .into_iter()
        .find(is_table)
        .expect("the table is kept")
        .0;
    std::fs::remove_dir_all(sandbox.path(".krammerti/responses")).unwrap();
    std::fs::rename(sandbox.path(&kept), sandbox.path("earlier.parquet")).unwrap();
    sandbox.edit(
        "params.yaml",
        "issued_every",
        "earlier: earlier.parquet\n    issued_every",
    );
    drop(server);
    let told = note(&sandbox, &["run", "--json", "--force", "--offline"]);
    assert!(told.starts_with("144 rows"), "{told}");
    assert_eq!(std::fs::read(sandbox.path("raw.parquet")).unwrap(), raw);
}
