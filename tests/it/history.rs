//! Sources of kind `http`: the history API of a station, from a server of our own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::sandbox::{Ran, Sandbox, wait_until};
use krammerti_test_server::{Asked, Reply, Server};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
/// 2024-06-01
const FIRST: i64 = 19_875 * DAY;

const PARAMS: &str = "\
sources:
  x:
    kind: http
    url: URL/{station}/history?from={from}&to={to}
    stations: {north: n1, south: s1}
    time_format: unix_s
    from: 2024-06-01
    to: 2024-06-05
    largest_range: 2d
    answer:
      format: json
      rows: /data
      time: {column: /at}
      columns: {temperature: {unit: °C, from: /air/temp}}
    requests: {first_wait: 1ms, per_minute: 60000, attempts: 3}
";

fn project(server: &Server, changes: &[(&str, &str)]) -> Sandbox {
    let sandbox = Sandbox::empty();
    sandbox.write("params.yaml", &PARAMS.replace("URL", &server.url("/v1")));
    for (from, to) in changes {
        sandbox.edit("params.yaml", from, to);
    }
    sandbox.write(
        "pipeline.yaml",
        "stages: {fetch: {cmd: krammerti fetch x --out raw.parquet}}\n",
    );
    sandbox
}

fn fetch(sandbox: &Sandbox) -> Ran {
    sandbox.run(&["run", "--force", "--json"])
}

/// The events of a kind that a run told.
fn events(ran: &Ran, kind: &str) -> Vec<Value> {
    let lines = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    lines
        .filter(|event: &Value| event["event"] == kind)
        .collect()
}

/// What the fetch stage says of itself.
fn note(ran: &Ran) -> String {
    let notes = events(ran, "note").into_iter();
    let messages = notes.map(|event| event["message"].as_str().unwrap().to_owned());
    messages.filter(|text| text.contains("rows of")).collect()
}

fn warnings(ran: &Ran) -> Vec<String> {
    let all = events(ran, "warning").into_iter();
    all.map(|event| event["message"].as_str().unwrap().to_owned())
        .collect()
}

fn range(asked: &Asked) -> (i64, i64) {
    let number = |name| asked.query(name).unwrap().parse().unwrap();
    (number("from"), number("to"))
}

fn row(time: i64) -> Value {
    let text = chrono_free(time);
    json!({"at": text, "air": {"temp": (time - FIRST) / HOUR, "rh": null}})
}

/// `2024-06-01T05:00:00Z` without a library: all days of these tests lie in one month.
fn chrono_free(time: i64) -> String {
    let (day, hour) = (
        (time - FIRST).div_euclid(DAY) + 1,
        (time - FIRST).rem_euclid(DAY) / HOUR,
    );
    format!("2024-06-{day:02}T{hour:02}:00:00Z")
}

fn rows(asked: &Asked) -> Vec<Value> {
    let (from, to) = range(asked);
    (from..to).step_by(HOUR as usize).map(row).collect()
}

fn data(rows: &[Value]) -> Reply {
    Reply::ok(&json!({"data": rows}).to_string())
}

fn parquet(sandbox: &Sandbox) -> Vec<u8> {
    std::fs::read(sandbox.path("raw.parquet")).unwrap()
}

#[test]
fn only_what_is_missing_is_asked_for_and_what_changed_is_told() {
    let change: Arc<Mutex<BTreeMap<i64, Value>>> = Arc::default();
    let server = Server::new({
        let change = Arc::clone(&change);
        move |_, asked| {
            let change = change.lock().unwrap();
            let mut rows = rows(asked);
            for row in &mut rows {
                for (time, value) in &*change {
                    if row["at"] == chrono_free(*time).as_str() && asked.path.starts_with("/v1/n1")
                    {
                        row["air"]["temp"] = value.clone();
                    }
                }
            }
            // The newest first, as many services have it.
            rows.reverse();
            data(&rows)
        }
    });
    let sandbox = project(&server, &[]);
    let first = fetch(&sandbox).ok();
    let told = "192 rows of 1 columns, 2024-06-01 00:00 to 2024-06-04 23:00 UTC";
    assert_eq!(note(&first), format!("{told}; 192 new, 0 corrected"));
    assert_eq!(warnings(&first), [""; 0]);
    let progress = events(&first, "progress").pop().unwrap();
    let told_of = ["what", "done", "total", "message"].map(|key| progress[key].to_string());
    assert_eq!(told_of, ["\"request\"", "6", "6", "\"192 rows\""]);
    // The grid has a line between the first and the second day.
    let paths: Vec<String> = server.asked().into_iter().map(|asked| asked.path).collect();
    let path = |station: &str, from: i64, to: i64| {
        let (from, to) = (FIRST + from * DAY, FIRST + to * DAY);
        format!("/v1/{station}/history?from={from}&to={to}")
    };
    for station in ["n1", "s1"] {
        for (from, to) in [(0, 1), (1, 3), (3, 4)] {
            assert!(paths.contains(&path(station, from, to)), "{paths:?}");
        }
    }
    let raw = parquet(&sandbox);

    let again = fetch(&sandbox).ok();
    assert_eq!(note(&again), format!("{told}; nothing new"));
    assert_eq!((server.asked().len(), parquet(&sandbox) == raw), (6, true));

    sandbox.edit("params.yaml", "to: 2024-06-05", "to: 2024-06-06");
    let more = fetch(&sandbox).ok();
    assert!(note(&more).ends_with("; 48 new, 0 corrected"), "{more}");
    assert_eq!(server.asked().len(), 8);

    // Nothing is final; one value is corrected, and one is there for the first time.
    change
        .lock()
        .unwrap()
        .extend([(FIRST, json!(-3.5)), (FIRST + HOUR, json!(null))]);
    sandbox.edit(
        "params.yaml",
        "    answer",
        "    overlap: 20000d\n    answer",
    );
    assert!(note(&fetch(&sandbox).ok()).ends_with("; 0 new, 2 corrected"));
    change.lock().unwrap().remove(&(FIRST + HOUR));
    assert!(note(&fetch(&sandbox).ok()).ends_with("; 1 new, 0 corrected"));
    let asked = server.asked().len();
    let raw = parquet(&sandbox);

    drop(server);
    let offline = sandbox.run(&["run", "--force", "--offline", "--json"]).ok();
    assert!(!note(&offline).contains("new"), "{offline}");
    assert_eq!((parquet(&sandbox) == raw, asked), (true, 20));
    sandbox.edit("params.yaml", "from: 2024-06-01", "from: 2024-05-01");
    sandbox.run(&["run", "--offline"]).fails(
        1,
        &["no stored answer for http://", "hint: without --offline"],
    );
    assert_eq!(parquet(&sandbox), raw);
}

#[test]
fn a_fetch_that_was_killed_goes_on_with_what_it_has() {
    let server = Server::new(|number, asked| {
        if number == 3 {
            return Reply::Silence;
        }
        let all = rows(asked);
        let page: usize = asked.query("page").unwrap().parse().unwrap();
        data(all.chunks(10).nth(page - 1).unwrap_or_default())
    });
    let paged = ("    answer", "    paging: {page: page, of: 10}\n    answer");
    let sandbox = project(
        &server,
        &[paged, ("attempts: 3", "attempts: 3, at_once: 1")],
    );
    let mut started = sandbox.start(&["run"]);
    wait_until("three answers are stored and a fourth is asked for", || {
        let stored = sandbox.files_under(".krammerti/responses");
        let known = stored.iter().filter(|(path, _)| !path.contains("/bodies/"));
        server.asked().len() == 4 && known.count() == 3
    });
    started.signal(rustix::process::Signal::KILL);
    assert_eq!(started.code(), None);
    assert!(!sandbox.has("raw.parquet"));
    let ran = fetch(&sandbox).ok();
    assert!(note(&ran).starts_with("192 rows"), "{ran}");
    // Two days and two stations: 3 pages for one day, 5 for two.
    let asked = server.asked();
    assert_eq!(asked.len(), 22 + 1);
    assert_eq!(asked[3].path, asked[4].path);
}

/// A server that gives pages of five rows, by link, cursor or number.
fn paged(asked: &Asked) -> Value {
    let all = rows(asked);
    let page = asked.query("page").or(asked.query("cursor"));
    let page: usize = page.map_or(0, |page| page.trim_start_matches('c').parse().unwrap());
    let last = (page + 1) * 5 >= all.len();
    let base = asked.path.split("&page").next().unwrap();
    json!({
        "data": all.chunks(5).nth(page).unwrap_or_default(),
        "total": all.len(),
        "next": (!last).then(|| format!("{base}&page={}", page + 1)),
        "cursor": (!last).then(|| format!("c{}", page + 1)),
    })
}

const PAGINGS: [&str; 3] = [
    "{next: /next}",
    "{cursor: /cursor, parameter: cursor}",
    "{page: page, size: per_page, of: 5, first: 0}",
];

#[test]
fn pages_are_put_together_whatever_leads_from_one_to_the_next() {
    let whole = Server::new(|_, asked| data(&rows(asked)));
    let sandbox = project(&whole, &[]);
    fetch(&sandbox).ok();
    let expected = parquet(&sandbox);
    for paging in PAGINGS {
        let server = Server::new(|_, asked| Reply::ok(&paged(asked).to_string()));
        let paging = format!("    paging: {paging}\n    answer");
        let sandbox = project(
            &server,
            &[
                ("    answer", &paging),
                ("rows: /data", "total: /total\n      rows: /data"),
            ],
        );
        let ran = fetch(&sandbox).ok();
        assert!(note(&ran).ends_with("192 new, 0 corrected"), "{ran}");
        assert_eq!(parquet(&sandbox), expected, "{paging}");
        let asked = server.asked().len();
        assert_eq!(asked, 2 * (5 + 10 + 5), "{paging}");
        let progress = events(&ran, "progress").pop().unwrap();
        assert_eq!(
            (&progress["done"], &progress["total"]),
            (&json!(asked), &json!(asked))
        );
        let again = fetch(&sandbox).ok();
        assert!(note(&again).ends_with("; nothing new"), "{again}");
        assert_eq!(server.asked().len(), asked, "{paging}");
        drop(server);
        sandbox.run(&["run", "--force", "--offline"]).ok();
        assert_eq!(parquet(&sandbox), expected, "{paging}");
    }
}

#[test]
fn pages_without_an_end_and_pages_that_lack_rows_are_refused() {
    let fails = |paging: &str, change: fn(&mut Value, &Asked), says: &str| {
        let server = Server::new(move |_, asked| {
            let mut body = paged(asked);
            change(&mut body, asked);
            Reply::ok(&body.to_string())
        });
        let paging = format!("    paging: {paging}\n    answer");
        let total = ("rows: /data", "total: /total\n      rows: /data");
        let sandbox = project(&server, &[("    answer", &paging), total]);
        sandbox.run(&["run"]).fails(1, &["source x", says]);
        assert!(!sandbox.has("raw.parquet"));
    };
    let [link, cursor, number] = PAGINGS;
    fails(
        link,
        |body, asked| body["next"] = json!(asked.path),
        "page 2: a page with a link that an earlier page has",
    );
    fails(
        cursor,
        |body, _| body["cursor"] = json!("c1"),
        "page 2: a page with a cursor that an earlier page has",
    );
    fails(
        number,
        |body, asked| *body = json!({"total": 24, "data": rows(asked)[..5]}),
        "page 2: a page with the rows of an earlier page",
    );
    fails(
        number,
        |body, asked| body["data"] = json!(rows(asked)),
        "expected at most 5 rows on a page, received",
    );
    // A page that ends too soon.
    for paging in PAGINGS {
        fails(
            paging,
            |body, _| {
                body["data"].as_array_mut().unwrap().pop();
            },
            "rows in all, received",
        );
    }
    fails("{next: /next, at_most: 3}", |_, _| {}, "more than 3 pages");
    fails(
        link,
        |body, _| body["next"] = json!("http://"),
        "the link to the next page is no URL",
    );
    fails(
        link,
        |body, _| body["next"] = json!("file:///etc/passwd"),
        "a link to the next page from http to file",
    );
}

#[test]
fn pages_that_no_longer_fit_are_asked_for_once_more() {
    // Cursors hold for one walk only, and the first one breaks in the middle.
    let walks: Arc<Mutex<usize>> = Arc::default();
    let server = Server::new({
        let walks = Arc::clone(&walks);
        move |_, asked| {
            let mut walks = walks.lock().unwrap();
            let all = rows(asked);
            let (walk, page) = match asked.query("cursor") {
                None => {
                    *walks += 1;
                    (*walks, 0)
                }
                Some(cursor) => {
                    let (walk, page) = cursor.split_once('p').unwrap();
                    (walk.parse().unwrap(), page.parse().unwrap())
                }
            };
            if walk != *walks || (*walks == 1 && page == 2) {
                return Reply::Whole(410, Vec::new(), b"the cursor is gone".to_vec());
            }
            let last = (page + 1) * 5 >= all.len();
            let cursor = (!last).then(|| format!("{walk}p{}", page + 1));
            let body = json!({"data": all.chunks(5).nth(page).unwrap(), "cursor": cursor});
            Reply::ok(&body.to_string())
        }
    });
    let paging = (
        "    answer",
        "    paging: {cursor: /cursor, parameter: cursor}\n    answer",
    );
    let small = [
        paging,
        ("{station}/", "n1/"),
        ("    stations: {north: n1, south: s1}\n", ""),
        ("to: 2024-06-05", "to: 2024-06-02"),
        ("attempts: 3", "attempts: 1, at_once: 1"),
    ];
    let sandbox = project(&server, &small);
    sandbox
        .run(&["run"])
        .fails(1, &["status 410: the cursor is gone"]);
    *walks.lock().unwrap() = 7;
    let ran = fetch(&sandbox).ok();
    assert!(note(&ran).starts_with("24 rows"), "{ran}");
}

#[test]
fn a_link_to_another_host_is_followed_without_the_token() {
    let other = Server::new(|_, asked| {
        Reply::ok(&{
            let mut body = paged(asked);
            body["next"] = json!(null);
            body.to_string()
        })
    });
    let to = other.url("");
    let server = Server::new(move |_, asked| {
        let mut body = paged(asked);
        body["next"] = json!(format!("{to}{}", body["next"].as_str().unwrap()));
        Reply::ok(&body.to_string())
    });
    for token in ["{env: OUR_TOKEN}", "{env: OUR_TOKEN, query: apikey}"] {
        let token = format!(
            "    token: {token}\n    headers: {{X-Client: us}}\n    paging: {{next: /next}}\n    answer"
        );
        let sandbox = project(&server, &[("    answer", &token)]);
        let mut command = sandbox.command(&["run"]);
        sandbox.finish(command.env("OUR_TOKEN", "t0ken")).ok();
    }
    let sent = |asked: &Asked| format!("{asked:?}").contains("t0ken");
    assert!(server.asked().iter().all(sent));
    assert!(
        server
            .asked()
            .iter()
            .all(|asked| asked.header("x-client") == Some("us"))
    );
    assert_eq!(other.asked().len(), 12);
    assert!(
        !other
            .asked()
            .iter()
            .any(|asked| sent(asked) || asked.header("x-client").is_some())
    );
}

#[test]
fn rows_of_other_times_are_left_out_and_counted_or_refused() {
    // The end of each range is taken as inside, and one row more comes before it.
    let server = Server::new(|_, asked| {
        let (from, to) = range(asked);
        data(
            &(from - HOUR..=to)
                .step_by(HOUR as usize)
                .map(row)
                .collect::<Vec<_>>(),
        )
    });
    let later = ("from: 2024-06-01", "from: 2024-06-02");
    let sandbox = project(&server, &[later]);
    let ran = fetch(&sandbox).ok();
    assert!(
        note(&ran).starts_with("144 rows of 1 columns, 2024-06-02 00:00"),
        "{ran}"
    );
    let told = "source x: 4 rows outside of the ranges that were asked for are left out";
    assert_eq!(warnings(&ran), [told]);
    // Whatever is asked for, the service gives the same rows.
    let server = Server::new(|_, _| data(&[row(FIRST + 20 * DAY)]));
    // One after the other, so that it is known which fails first.
    let sandbox = project(&server, &[("attempts: 3", "attempts: 3, at_once: 1")]);
    let says = "expected rows of 2024-06-01 00:00 to 2024-06-02 00:00 UTC, received rows of 2024-06-21 00:00";
    sandbox.run(&["run"]).fails(1, &[says]);
}

#[test]
fn fewer_rows_than_expected_are_a_warning_or_an_error() {
    let server = Server::new(|_, asked| {
        let mut rows = rows(asked);
        if asked.path.starts_with("/v1/s1") {
            rows.pop();
        }
        data(&rows)
    });
    let expected = ("    answer", "    expected: {step: 1h}\n    answer");
    // One after the other, so that it is known which fails first.
    let one = ("attempts: 3", "attempts: 3, at_once: 1");
    let sandbox = project(&server, &[expected, one]);
    let ran = fetch(&sandbox).ok();
    let told = warnings(&ran);
    assert_eq!(told.len(), 3, "{ran}");
    assert_eq!(
        told[0],
        "source x: south: expected 24 rows each 1h of 2024-06-01 00:00 to 2024-06-02 00:00 UTC, received 23"
    );
    sandbox.edit("params.yaml", "step: 1h}", "step: 1h, otherwise: fail}");
    // What was taken before is stored and final, but no longer good enough.
    let (raw, asked) = (parquet(&sandbox), server.asked().len());
    sandbox
        .run(&["run"])
        .fails(1, &["expected 24 rows each 1h", "after 3 tries"]);
    assert_eq!(parquet(&sandbox), raw);
    assert!(server.asked().len() > asked);
}

#[test]
fn csv_post_and_one_station() {
    let server = Server::new(|_, asked| {
        let body: Value = serde_json::from_str(&asked.body).unwrap();
        assert_eq!(
            (asked.method.as_str(), &body["fields"]),
            ("POST", &json!(["t"]))
        );
        let times = body["from"].as_i64().unwrap()..body["to"].as_i64().unwrap();
        let lines = times.step_by(HOUR as usize).map(|time| {
            let value = (time - FIRST) / HOUR;
            format!(
                "{};{};\r\n",
                chrono_free(time),
                if value % 5 == 0 {
                    "NA".into()
                } else {
                    value.to_string()
                }
            )
        });
        Reply::ok(&format!("time;t;x\r\n{}", lines.collect::<String>()))
    });
    let sandbox = project(
        &server,
        &[
            ("/{station}/history?from={from}&to={to}", "/query"),
            (
                "    stations: {north: n1, south: s1}\n",
                "    method: POST\n    body: {from: '{from}', to: '{to}', fields: [t]}\n",
            ),
            (
                "format: json\n      rows: /data",
                "format: csv\n      delimiter: ';'\n      missing: [NA]",
            ),
            ("/at}", "time}"),
            ("from: /air/temp", "from: t"),
        ],
    );
    let ran = fetch(&sandbox).ok();
    assert!(note(&ran).starts_with("96 rows of 1 columns"), "{ran}");
    let asked = server.asked();
    assert_eq!(asked[0].header("content-type"), Some("application/json"));
    // What is sent is a part of the question: another end is asked for.
    sandbox.edit("params.yaml", "to: 2024-06-05", "to: 2024-06-04T12:00");
    let ran = fetch(&sandbox).ok();
    assert!(note(&ran).starts_with("84 rows"), "{ran}");
    assert_eq!(server.asked().len(), asked.len() + 1);
}

#[test]
fn series_go_through_to_the_file() {
    let server = Server::new(|_, asked| data(&rows(asked)));
    let sandbox = project(&server, &[]);
    fetch(&sandbox).ok();
    let text = String::from_utf8_lossy(&parquet(&sandbox)).into_owned();
    assert!(text.contains("series") && text.contains("north") && text.contains("south"));
    let one = project(
        &server,
        &[
            ("{station}/", "n1/"),
            ("    stations: {north: n1, south: s1}\n", ""),
        ],
    );
    fetch(&one).ok();
    assert!(!String::from_utf8_lossy(&parquet(&one)).contains("series"));
}
