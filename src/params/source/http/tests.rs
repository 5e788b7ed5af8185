//! What configures a station, and what is refused by its key.

use super::*;

const GOOD: &str = "\
url: https://host/v1/{station}/history?start={from}&end={to}
stations: {north: 7, south: s-1}
from: 2024-06-01
largest_range: 30d
answer:
  format: json
  rows: /data
  time: {column: /at}
  columns: {t: {unit: °C, from: /air/temp}, rh: {unit: '%'}}
";

fn checked(changes: &[(&str, &str)]) -> Result<HttpSource, String> {
    let text = changes.iter().fold(GOOD.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    });
    let raw = serde_yaml::from_str(&text).map_err(|error| error.to_string())?;
    check("sources.x", raw).map_err(|error| error.to_string())
}

#[test]
fn what_a_person_wrote_is_understood() {
    let good = checked(&[]).unwrap();
    let stations: Vec<_> = good.stations.unwrap().into_iter().map(|s| s.id).collect();
    assert_eq!(stations, ["7", "s-1"]);
    let range = good.range.unwrap();
    assert_eq!((range.from, range.largest), (19_875 * DAY, Some(30 * DAY)));
    assert_eq!(good.answer.columns[0].from, "/rh");
    assert_eq!(
        good.url.fill(|piece| format!("{piece:?}")),
        "https://host/v1/Station/history?start=From&end=To"
    );
    for (pattern, unit) in [
        ("%Y-%m-%d", DAY),
        ("%Y%m%d%H", 3600),
        ("%F %R", 60),
        ("%F %T", 1),
    ] {
        assert_eq!(TimeText::Pattern(pattern.into()).unit_s(), unit);
    }
    assert_eq!(
        (TimeText::Iso.unit_s(), TimeText::UnixSeconds.unit_s()),
        (1, 1)
    );
    assert_eq!(TimeText::UnixMilliseconds.write(2), "2000");
}

/// What is changed, into what, and what is told then.
const REFUSED: &[(&str, &str, &str)] = &[
    ("https:", "ftp:", "sources.x.url"),
    (
        "host/",
        "user:password@host/",
        "url: expected https://HOST/PATH",
    ),
    ("host/", "{station}/", "url"),
    (
        "?start",
        "?apikey=1234&start",
        "url: expected no secret here",
    ),
    ("{station}", "{place}", "found {place}"),
    ("{station}", "{station", "url"),
    ("{station}", "x}", "url"),
    ("{station}", "x", "a place for the `{station}`"),
    (
        "stations: {north: 7, south: s-1}\n",
        "",
        "stations: expected ids",
    ),
    ("{north: 7, south: s-1}", "[]", "at least one station"),
    ("{north: 7, south: s-1}", "[a, a]", "a twice"),
    ("{north: 7, south: s-1}", "7", "a list of station ids"),
    ("from: 2024-06-01\n", "", "from: expected a day or a time"),
    ("2024-06-01", "June", "from: expected a day"),
    (
        "from:",
        "to: 2024-05-01\nfrom:",
        "to: expected a time after",
    ),
    ("start={from}&end={to}", "x=1", "from: expected a place"),
    ("start={from}&", "", "`{from}` beside `{to}`"),
    ("&end={to}", "", "largest_range: expected a place `{to}`"),
    ("from:", "time_format: '%Q'\nfrom:", "time_format"),
    ("from:", "time_format: '%Y-%m'\nfrom:", "time_format"),
    (
        "30d",
        "10h\ntime_format: '%Y-%m-%d'",
        "largest_range: expected whole days",
    ),
    (
        "30d",
        "30min\ntime_format: '%Y-%m-%dT%H'",
        "largest_range: expected whole hours",
    ),
    (
        "from:",
        "time_format: '%Y-%m-%dT%H'\nto: 2024-07-01T12:30\nfrom:",
        "to: expected whole hours",
    ),
    ("from: 2024", "from: 0024", "from: expected a year between"),
    ("from:", "range_end: open\nfrom:", "range_end"),
    ("from:", "method: PUT\nfrom:", "method"),
    ("from:", "method: POST\nfrom:", "body: expected JSON"),
    ("from:", "body: {}\nfrom:", "body: expected absent"),
    (
        "from:",
        "method: POST\nbody: {password: x}\nfrom:",
        "no secret here",
    ),
    (
        "from:",
        "headers: {authorization: abc}\nfrom:",
        "no secret here",
    ),
    (
        "from:",
        "method: POST\nbody: {who: [{access_key: abc, key: x}]}\nfrom:",
        "found `access_key`",
    ),
    (
        "?start",
        "?api_access_key=1234&start",
        "url: expected no secret here",
    ),
    (
        "from:",
        "headers: {X-Api-Key: abc}\nfrom:",
        "no secret here",
    ),
    ("from:", "headers: {Host: a}\nfrom:", "sets itself"),
    ("from:", "headers: {a b: a}\nfrom:", "names of headers"),
    ("from:", "headers: {A: \"a\\nb\"}\nfrom:", "ASCII text"),
    (
        "from:",
        "token: {env: A, header: B, query: C}\nfrom:",
        "token",
    ),
    ("from:", "requests: {at_once: 0}\nfrom:", "requests.at_once"),
    ("from:", "paging: {next: next}\nfrom:", "paging.next"),
    (
        "from:",
        "paging: {page: p}\nfrom:",
        "paging: expected `next`",
    ),
    (
        "from:",
        "paging: {next: /n, page: p, of: 3}\nfrom:",
        "paging: expected",
    ),
    ("from:", "paging: {page: p, of: 0}\nfrom:", "paging.of"),
    (
        "from:",
        "paging: {next: /data/0}\nfrom:",
        "none leads into another",
    ),
    (
        "from:",
        "expected: {step: 1h, otherwise: no}\nfrom:",
        "otherwise",
    ),
    ("json", "xml", "answer.format"),
    ("json", "csv", "answer.format"),
    (
        "rows: /data",
        "layout: columns\n  rows: /data",
        "answer.rows",
    ),
    ("rows: /data", "rows: data", "answer.rows"),
    ("/at}", "/air}", "none leads into another"),
    ("/at}", "/at, zone: Mars/Base}", "answer.time.zone"),
    ("t: {", "series: {", "answer.columns"),
];

#[test]
fn what_cannot_be_is_told_by_its_key() {
    for (from, to, told) in REFUSED {
        let error = checked(&[(from, to)]).unwrap_err();
        assert!(error.contains(told), "{to}: {error}");
        assert!(!error.contains("1234") && !error.contains("abc"), "{error}");
    }
}

#[test]
fn what_is_no_secret_is_taken() {
    for (from, to) in [
        (
            "from:",
            "paging: {cursor: /next, parameter: page_key}\nfrom:",
        ),
        (
            "from:",
            "paging: {cursor: /next, parameter: nextToken}\nfrom:",
        ),
        (
            "from:",
            "method: POST\nbody: {where: [{key: id, value: 7}], sort_key: t}\nfrom:",
        ),
        ("v1/{station}/history?", "v1?site_key={station}&"),
    ] {
        checked(&[(from, to)]).unwrap();
    }
}

#[test]
fn a_pointer_is_read_as_its_rfc_says() {
    let parts = |text: &str| Pointer::parse(text).map(|pointer| pointer.parts);
    assert_eq!(parts(""), Some(vec![]));
    assert_eq!(
        parts("/a~1b/~01/0"),
        Some(vec!["a/b".into(), "~1".into(), "0".into()])
    );
    assert_eq!(parts("a/b"), None);
    let places = ["0", "10", "01", "00", "+1", "-", "", "1e1"].map(Pointer::place);
    let [zero, ten, others @ ..] = places;
    assert_eq!((zero, ten), (Some(0), Some(10)));
    assert_eq!(others, [None; 6]);
}
