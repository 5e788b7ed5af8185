//! A token is in no file and on no stream, whatever the server does with it.

use std::sync::{Arc, Mutex};

use serde_json::json;

use crate::sandbox::{Ran, Sandbox};
use krammerti_test_server::{Asked, Reply, Server};

/// With all that URLs and JSON write otherwise.
const TOKEN: &str = "aB/c~*=+\"that&nobody-may-see";
/// A part of it that is written in one way everywhere.
const MARK: &str = "nobody-may-see";

const CARRIERS: [&str; 3] = ["", ", header: X-Api-Key", ", query: apikey"];

const HTTP: &str = "    kind: http
    url: URL/rows?from={from}&to={to}
    time_format: unix_s
    from: 2024-06-01
    to: 2024-06-03
    largest_range: 1d
    overlap: 20000d
    paging: {next: /next}
    answer:
      format: json
      rows: /data
      time: {column: /at, format: unix_s}
      columns: {temperature: {unit: °C, from: /t}}
";

const OPEN_METEO: &str = "    kind: open-meteo
    endpoint: archive
    url: URL/rows
    latitude: 50.93
    longitude: 1.93
    variables: [temperature_2m]
    from: 2024-06-01
    to: 2024-06-02
    days_per_request: 1
    overlap: 20000d
";

fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'~' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

fn good(asked: &Asked) -> String {
    if asked.query("from").is_none() {
        return crate::fetch::recorded(asked).to_string();
    }
    let from: i64 = asked.query("from").unwrap().parse().unwrap();
    // The first page of two, with a link that tells the token.
    let next = asked.query("page").is_none().then(|| {
        let rest = asked.path.split("&apikey").next().unwrap();
        format!("{rest}&page=2&apikey={}", encoded(TOKEN))
    });
    let hour = i64::from(next.is_none());
    json!({"data": [{"at": from + hour * 3600, "t": 1.5}], "next": next}).to_string()
}

/// What a server does, that knows another one.
type Misbehave = fn(&str, &Asked) -> Option<Reply>;

/// Each of these misbehaves with what it was sent. None: the answer is good.
const SERVERS: [(&str, Misbehave); 8] = [
    ("good", |_, _| None),
    ("400", |_, _| Some(told(400, "", TOKEN))),
    ("401", |_, _| {
        let reason = format!("bad key {TOKEN} ({})", encoded(TOKEN));
        Some(told(
            401,
            "",
            &json!({"error": true, "reason": reason}).to_string(),
        ))
    }),
    ("500", |_, _| {
        Some(told(
            500,
            &format!("X-Key: {TOKEN}"),
            &format!("<p>{}</p>", encoded(TOKEN)),
        ))
    }),
    ("another shape", |_, asked| {
        Some(told(
            200,
            &format!("ETag: \"{TOKEN}\""),
            &json!({"you": {"sent": TOKEN, "to": asked.path}}).to_string(),
        ))
    }),
    ("redirect to itself", |_, asked| {
        (!asked.path.contains("moved")).then(|| {
            let path = asked.path.replace("/rows", "/moved");
            told(302, &format!("Location: {path}&key={}", encoded(TOKEN)), "")
        })
    }),
    ("redirect away", |other, asked| {
        let path = asked.path.split("&apikey").next().unwrap();
        Some(told(
            302,
            &format!("Location: {other}{path}&apikey={}", encoded(TOKEN)),
            "",
        ))
    }),
    ("cut", |_, _| {
        let text = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 900\r\nX: {TOKEN}\r\n\r\n{{\"{}",
            encoded(TOKEN)
        );
        Some(Reply::Bytes(text.into_bytes()))
    }),
];

fn told(status: u16, header: &str, body: &str) -> Reply {
    let headers = (!header.is_empty()).then(|| header.to_owned());
    Reply::Whole(status, headers.into_iter().collect(), body.into())
}

fn tells(bytes: &[u8]) -> bool {
    bytes
        .windows(MARK.len())
        .any(|part| part == MARK.as_bytes())
}

#[track_caller]
fn is_quiet(sandbox: &Sandbox, ran: &Ran, what: &str) {
    for text in [&ran.stdout, &ran.stderr] {
        assert!(!tells(text.as_bytes()), "{what}\n{ran}");
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
            assert!(!tells(&bytes), "{what}: {} holds the token", path.display());
        }
    }
    assert!(files > 4, "{what}: {files} files");
}

#[test]
fn a_token_is_in_no_file_and_on_no_stream() {
    let other = Server::new(|_, asked| Reply::ok(&good(asked)));
    for (kind, params) in [("http", HTTP), ("open-meteo", OPEN_METEO)] {
        let now: Arc<Mutex<usize>> = Arc::default();
        let server = Server::new({
            let (now, other) = (Arc::clone(&now), other.url(""));
            move |_, asked| {
                let (_, reply) = SERVERS[*now.lock().unwrap()];
                reply(&other, asked).unwrap_or_else(|| Reply::ok(&good(asked)))
            }
        });
        for carrier in CARRIERS {
            let before = server.asked().len();
            let sandbox = Sandbox::empty();
            let params = params.replace("URL", &server.url(""));
            let requests = "    requests: {attempts: 2, first_wait: 1ms, per_minute: 60000}\n";
            let token = format!("    token: {{env: OUR_TOKEN{carrier}}}\n");
            sandbox.write(
                "params.yaml",
                &format!("sources:\n  x:\n{params}{requests}{token}"),
            );
            sandbox.write(
                "pipeline.yaml",
                "stages: {fetch: {cmd: krammerti fetch x --out raw.parquet}}\n",
            );
            for (number, (name, _)) in SERVERS.iter().enumerate() {
                *now.lock().unwrap() = number;
                for args in [
                    &["run", "--force", "--verbose"][..],
                    &["run", "--force", "--json"],
                ] {
                    let mut command = sandbox.command(args);
                    let ran = sandbox.finish(command.env("OUR_TOKEN", TOKEN));
                    let what = format!("{kind}{carrier}: {name}");
                    is_quiet(&sandbox, &ran, &what);
                    // Where it is no parameter of the query, nobody can take it out of a URL.
                    let away = *name == "redirect away" && carrier.contains("query");
                    let well = *name == "good" || away;
                    assert_eq!(ran.code == Some(0), well, "{what}\n{ran}");
                }
                sandbox.run(&["log", "fetch"]);
            }
            // It was sent, so that it could be told.
            let asked = server.asked();
            assert!(
                asked[before..]
                    .iter()
                    .all(|asked| tells(format!("{asked:?}").as_bytes()))
            );
            // What was stored from a server that tells it is of use without it.
            let ran = sandbox.run(&["run", "--force", "--offline"]).ok();
            is_quiet(&sandbox, &ran, kind);
        }
    }
    assert!(!other.asked().is_empty());
    assert!(
        !other
            .asked()
            .iter()
            .any(|asked| tells(format!("{asked:?}").as_bytes()))
    );
}

#[test]
fn a_token_that_is_not_there_is_told_by_its_place() {
    let sandbox = Sandbox::empty();
    sandbox.write(
        "params.yaml",
        &format!("sources:\n  x:\n{HTTP}    token: {{file: key.txt, query: key}}\n")
            .replace("URL", "http://127.0.0.1:1"),
    );
    let fetch = ["fetch", "x", "--out", "raw.parquet"];
    sandbox.write("pipeline.yaml", "stages: {}\n");
    sandbox.run(&fetch).fails(
        2,
        &["no token in the file key.txt", "hint: the source's `token`"],
    );
    sandbox.write("key.txt", &format!("{TOKEN}\n"));
    sandbox.edit("params.yaml", ", query: key", "");
    sandbox.write("key.txt", "a\nb\n");
    sandbox
        .run(&fetch)
        .fails(2, &["the token has a character that no header may have"]);
    sandbox.edit(
        "params.yaml",
        "    token",
        "    headers: {X-Auth-Token: abc}\n    token",
    );
    let ran = sandbox
        .run(&fetch)
        .fails(2, &["sources.x.headers: expected no secret here"]);
    assert!(!ran.stderr.contains("abc"), "{ran}");
}
