//! `krammerti fetch` from a server of our own.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::sandbox::{Ran, Sandbox, wait_until};
use krammerti_test_server::{Asked, Reply, Server};

const TOKEN: &str = "t0ken-that-nobody-may-see";

/// What the service answers for the days asked for, from a recorded body.
pub(crate) fn recorded(asked: &Asked) -> Value {
    let text = include_str!("../data/open-meteo-calais-2024-06.json");
    let mut body: Value = serde_json::from_str(text).unwrap();
    let (start, end) = (asked.query("start_date"), asked.query("end_date"));
    let (start, end) = (start.unwrap(), end.unwrap());
    let times: Vec<String> = serde_json::from_value(body["hourly"]["time"].clone()).unwrap();
    let wanted = |time: &String| (start..=end).contains(&&time[..10]);
    for list in body["hourly"].as_object_mut().unwrap().values_mut() {
        let values = list.as_array().unwrap().iter().zip(&times);
        let values = values.filter(|(_, time)| wanted(time));
        *list = values.map(|(value, _)| value.clone()).collect();
    }
    body
}

fn project(url: &str) -> Sandbox {
    let sandbox = Sandbox::empty();
    sandbox.write(
        "params.yaml",
        &format!(
            "\
sources:
  calais:
    kind: open-meteo
    endpoint: archive
    url: {url}
    latitude: 50.93
    longitude: 1.93
    variables: [temperature_2m, wind_speed_10m, surface_pressure]
    from: 2024-06-01
    to: 2024-06-03
    days_per_request: 2
    token: {{env: OUR_TOKEN}}
prepare: {{target: temperature_2m, step: 1h}}
"
        ),
    );
    sandbox.write(
        "pipeline.yaml",
        "\
stages:
  fetch:   {cmd: krammerti fetch calais --out raw.parquet, fresh_for: 1h}
  prepare: {cmd: krammerti prepare raw.parquet --out data}
",
    );
    sandbox
}

fn run(sandbox: &Sandbox, args: &[&str], offline: bool) -> Ran {
    let mut command = sandbox.command(args);
    command.env("OUR_TOKEN", TOKEN);
    if offline {
        command.env("KRAMMERTI_OFFLINE", "1");
    }
    sandbox.finish(&mut command)
}

/// What the fetch stage says of itself.
fn note(ran: &Ran) -> String {
    let lines = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let notes = lines.filter(|event: &Value| event["event"] == "note");
    let messages = notes.map(|event| event["message"].as_str().unwrap().to_owned());
    messages.filter(|text| text.contains("rows of")).collect()
}

#[test]
fn only_what_is_missing_is_asked_for_and_the_data_are_the_same() {
    let change: Arc<Mutex<BTreeMap<String, Value>>> = Arc::default();
    let server = Server::new({
        let change = Arc::clone(&change);
        move |_, asked| {
            let mut body = recorded(asked);
            for (path, value) in &*change.lock().unwrap() {
                *body.pointer_mut(path).unwrap() = value.clone();
            }
            Reply::ok(&body.to_string())
        }
    });
    let sandbox = project(&server.url("/v1/archive"));
    let fetch = ["run", "--json", "--force", "fetch"];
    let first = run(&sandbox, &fetch, false).ok();
    let told = "72 rows of 3 columns, 2024-06-01 00:00 to 2024-06-03 23:00 UTC";
    assert_eq!(note(&first), format!("{told}; 72 new, 0 corrected"));
    assert!(first.stdout.contains(r#""what":"request""#), "{first}");
    let asked = server.asked();
    assert!(asked.iter().all(|asked| {
        asked.query("wind_speed_unit") == Some("ms")
            && asked.query("timezone") == Some("UTC")
            && asked.header("authorization") == Some(&format!("Bearer {TOKEN}"))
    }));
    let requests = asked.len();
    let raw = std::fs::read(sandbox.path("raw.parquet")).unwrap();

    // All days are final.
    let again = run(&sandbox, &fetch, false).ok();
    assert_eq!(note(&again), format!("{told}; nothing new"));
    assert_eq!(server.asked().len(), requests);
    assert_eq!(std::fs::read(sandbox.path("raw.parquet")).unwrap(), raw);

    // One more day: only the part that it lies in is asked for.
    sandbox.edit("params.yaml", "to: 2024-06-03", "to: 2024-06-04");
    let more = run(&sandbox, &fetch, false).ok();
    assert!(note(&more).ends_with("; 24 new, 0 corrected"), "{more}");
    assert_eq!(server.asked().len(), requests + 1);

    // Nothing is final; one value is corrected.
    sandbox.edit("params.yaml", "    token", "    overlap: 20000d\n    token");
    let same = run(&sandbox, &fetch, false).ok();
    assert!(note(&same).ends_with("; nothing new"), "{same}");
    change
        .lock()
        .unwrap()
        .insert("/hourly/temperature_2m/0".into(), json!(-3.5));
    let corrected = run(&sandbox, &fetch, false).ok();
    let parts = server.asked().len() - requests - 1;
    assert!(
        note(&corrected).ends_with(&format!("; 0 new, {} corrected", parts / 2)),
        "{corrected}"
    );
    run(&sandbox, &["run", "prepare"], false).ok();

    let raw = std::fs::read(sandbox.path("raw.parquet")).unwrap();
    drop(server);
    let offline = run(&sandbox, &fetch, true).ok();
    assert!(!note(&offline).contains("new"), "{offline}");
    run(&sandbox, &["run", "--force", "--offline", "fetch"], false).ok();
    let other = ["fetch", "calais", "--offline", "--out", "other.parquet"];
    run(&sandbox, &other, false).ok();
    assert_eq!(std::fs::read(sandbox.path("other.parquet")).unwrap(), raw);
    sandbox.edit("params.yaml", "from: 2024-06-01", "from: 2024-05-01");
    let hint = "hint: without --offline it is asked for";
    run(&sandbox, &other, false).fails(1, &["no stored answer for http://", hint]);
    assert_eq!(std::fs::read(sandbox.path("raw.parquet")).unwrap(), raw);
}

#[test]
fn the_token_is_in_no_file_and_no_stream() {
    let server = Server::new(|number, asked| match number {
        0 => Reply::Whole(500, Vec::new(), TOKEN.into()),
        _ => Reply::ok(&recorded(asked).to_string()),
    });
    let sandbox = project(&server.url("/v1/archive"));
    let ran = run(&sandbox, &["run", "--verbose"], false).ok();
    let asked = server.asked();
    assert!(asked[0].header("authorization").unwrap().contains(TOKEN));
    let refusing = Server::new(|_, _| Reply::Whole(401, Vec::new(), TOKEN.into()));
    let old = server.url("/v1/archive");
    sandbox.edit("params.yaml", &old, &refusing.url("/"));
    let failed = run(&sandbox, &["run"], false).fails(1, &["status 401: ***"]);
    for text in [&ran.stdout, &ran.stderr, &failed.stdout, &failed.stderr] {
        assert!(!text.contains(TOKEN), "{text}");
    }
    let mut folders = vec![sandbox.path("")];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            files += 1;
            let bytes = std::fs::read(&path).unwrap();
            let there = bytes
                .windows(TOKEN.len())
                .any(|part| part == TOKEN.as_bytes());
            assert!(!there, "{} holds the token", path.display());
        }
    }
    assert!(files > 10, "{files}");
    // Without it the fetch says where it looked.
    let missing = sandbox.run(&["run"]);
    missing.fails(2, &["no token in the environment variable OUR_TOKEN"]);
}

#[test]
fn an_answer_that_is_not_what_was_asked_for_is_refused() {
    let says = |change: fn(&mut Value), expected: &str| {
        let server = Server::new(move |_, asked| {
            let mut body = recorded(asked);
            change(&mut body);
            Reply::ok(&body.to_string())
        });
        let sandbox = project(&server.url("/v1/archive"));
        run(&sandbox, &["run"], false).fails(1, &["source calais", expected]);
        assert!(!sandbox.path("raw.parquet").exists());
        let kept = sandbox.path(".krammerti/responses/bodies");
        assert!(!kept.exists(), "an answer that was refused is kept");
    };
    says(
        |body| {
            for list in body["hourly"].as_object_mut().unwrap().values_mut() {
                list.as_array_mut().unwrap().pop();
            }
        },
        " hours to 2024-06-0",
    );
    says(
        |body| {
            for list in body["hourly"].as_object_mut().unwrap().values_mut() {
                list.as_array_mut().unwrap().remove(5);
            }
        },
        "T05:00:00Z in row 5, received 2024-06-0",
    );
    says(
        |body| body["hourly_units"]["wind_speed_10m"] = json!("km/h"),
        "expected wind_speed_10m in m/s, received km/h",
    );
    says(
        |body| body["utc_offset_seconds"] = json!(7200),
        "expected times in UTC, received an offset of 7200 s",
    );
    says(
        |body| {
            body["hourly"]
                .as_object_mut()
                .unwrap()
                .remove("surface_pressure");
        },
        "expected surface_pressure, received no such values",
    );
    says(
        |body| *body = json!([1, 2]),
        "expected hourly values as JSON",
    );
}

#[test]
fn hours_that_are_not_there_yet_are_left_out_and_gaps_stay_missing() {
    let server = Server::new(|_, asked| {
        let mut body = recorded(asked);
        for (name, list) in body["hourly"].as_object_mut().unwrap() {
            let list = list.as_array_mut().unwrap();
            let late = asked.query("end_date") == Some("2024-06-03");
            for value in list.iter_mut().rev().take(if late { 5 } else { 0 }) {
                if name != "time" {
                    *value = Value::Null;
                }
            }
        }
        Reply::ok(&body.to_string())
    });
    let sandbox = project(&server.url("/v1/archive"));
    let ran = run(&sandbox, &["run", "--json", "fetch"], false).ok();
    assert!(
        note(&ran).contains("67 rows of 3 columns, 2024-06-01 00:00 to 2024-06-03 18:00"),
        "{ran}"
    );
    assert!(sandbox.path("raw.parquet").exists());
}

#[test]
fn a_fetch_that_was_ended_goes_on_with_what_it_has() {
    for (signal, code) in [("-INT", Some(130)), ("-KILL", None)] {
        let server = Server::new(|number, asked| match number {
            1 => Reply::Silence,
            _ => Reply::ok(&recorded(asked).to_string()),
        });
        let sandbox = project(&server.url("/v1/archive"));
        let mut command = sandbox.command(&["run", "fetch"]);
        command.env("OUR_TOKEN", TOKEN).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let stored = || {
            let names = std::fs::read_dir(sandbox.path(".krammerti/responses"));
            let paths = names
                .into_iter()
                .flatten()
                .map(|entry| entry.unwrap().path());
            // What is half written has another name in front.
            let is_whole = |path: &Path| {
                !path
                    .file_name()
                    .unwrap()
                    .as_encoded_bytes()
                    .starts_with(b".")
            };
            paths
                .filter(|path| path.extension().is_some_and(|e| e == "json") && is_whole(path))
                .count()
        };
        wait_until("something is stored", || {
            server.asked().len() >= 2 && stored() >= 1
        });
        let id = child.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &id])
                .status()
                .unwrap()
                .success()
        );
        assert_eq!(child.wait().unwrap().code(), code);
        assert!(!sandbox.path("raw.parquet").exists());
        run(&sandbox, &["run", "fetch"], false).ok();
        // The first answer was stored; only the other one was asked for again.
        assert_eq!(server.asked().len(), 3);
        assert_eq!(server.asked()[1].path, server.asked()[2].path);
    }
}

/// Small images have no certificates. What is asked without TLS, and what is stored, needs none.
#[test]
fn only_https_needs_certificates() {
    let server = Server::new(|_, asked| Reply::ok(&recorded(asked).to_string()));
    let sandbox = project(&server.url("/v1/archive"));
    let fetch = |words: &[&str]| {
        let words = [&["fetch", "calais", "--out", "raw.parquet"], words].concat();
        let mut command = sandbox.command(&words);
        command
            .env("OUR_TOKEN", TOKEN)
            .env("SSL_CERT_FILE", "/dev/null");
        sandbox.finish(&mut command)
    };
    fetch(&[]).ok();
    fetch(&["--offline"]).ok();
    sandbox.edit("params.yaml", "url: http://", "url: https://");
    let told = [
        "https cannot be asked: ",
        "No CA certificates",
        "install the package ca-certificates",
    ];
    fetch(&[]).fails(1, &told);
}
