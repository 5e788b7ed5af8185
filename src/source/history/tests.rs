//! Ranges, slots and comparison; the rest is tried end to end in `tests/it/history.rs`.

use super::pages::{Pages, Target};
use super::ranges::Span;
use super::whole::compare;
use super::*;
use crate::params::SourceParams;

const HOUR: i64 = 3600;

fn source(change: (&str, &str)) -> HttpSource {
    let text = "\
sources:
  x:
    kind: http
    url: http://host/{station}?a={from}&b={to}
    stations: {north: 'N 1', south: S}
    from: 2024-06-01
    largest_range: 10d
    answer:
      format: json
      time: {column: /at}
      columns: {t: {unit: °C}}
";
    assert!(text.contains(change.0));
    let text = text.replacen(change.0, change.1, 1);
    let path = std::path::Path::new("params.yaml");
    let (_, params) = crate::params::ParamsFile::parse(path, &text, None, &[]).unwrap();
    match params.sources.into_values().next() {
        Some(SourceParams::Http(source)) => *source,
        _ => panic!("another kind"),
    }
}

fn days(params: &HttpSource, now: i64) -> Vec<(i64, i64)> {
    let spans = History { params }.spans(params.range.unwrap(), now);
    spans.iter().map(|span| (span.from, span.to)).collect()
}

#[test]
fn a_range_is_split_on_one_grid() {
    let first = 19_875 * DAY;
    let params = source(("10d", "10d"));
    // The grid has its lines every ten days since 1970.
    let now = first + 12 * DAY + HOUR + 30;
    assert_eq!(
        days(&params, now),
        [(first, first + 5 * DAY), (first + 5 * DAY, now - 30)]
    );
    assert_eq!(days(&params, first), []);
    let params = source(("    from:", "    to: 2024-06-03T12:00\n    from:"));
    let end = first + 2 * DAY + 12 * HOUR;
    assert_eq!(days(&params, now), [(first, end)]);
    assert_eq!(days(&params, first + HOUR), [(first, first + HOUR)]);
    // Where only days are told, today is asked for whole.
    let params = source(("    from:", "    time_format: '%Y%m%d'\n    from:"));
    assert_eq!(days(&params, first + HOUR), [(first, first + DAY)]);
    // An hour that is not over is told by none of its minutes.
    let params = source(("    from:", "    time_format: '%Y%m%d%H'\n    from:"));
    let later = first + 5 * HOUR + 1800;
    assert_eq!(days(&params, later), [(first, first + 5 * HOUR)]);
    let params = source(("    largest_range: 10d\n", ""));
    assert_eq!(days(&params, now), [(first, now - 30)]);
}

#[test]
fn a_range_that_grows_keeps_its_slot() {
    let params = source(("10d", "10d"));
    let (history, first) = (History { params: &params }, 19_875 * DAY);
    let stations = params.stations.as_ref().unwrap();
    let ask = |to: i64, target: &Target| {
        let range = Some(Span { from: first, to });
        let station = Some(&stations[0]);
        history.ask(Part { station, range }, target, None)
    };
    let (one, two) = (
        Target::default(),
        Target {
            number: 1,
            ..Target::default()
        },
    );
    let asked = ask(first + HOUR, &one);
    assert_eq!(
        asked.url,
        "http://host/N%201?a=2024-06-01T00%3A00%3A00Z&b=2024-06-01T01%3A00%3A00Z"
    );
    assert_eq!(asked.slot, ask(first + DAY, &one).slot);
    assert_ne!(asked.slot, ask(first + HOUR, &two).slot);
    let inside = source((
        "    from:",
        "    range_end: inclusive\n    time_format: '%Y-%m-%d'\n    from:",
    ));
    let history = History { params: &inside };
    let range = Some(Span {
        from: first,
        to: first + DAY,
    });
    let ask = history.ask(
        Part {
            station: Some(&stations[1]),
            range,
        },
        &one,
        None,
    );
    assert_eq!(ask.url, "http://host/S?a=2024-06-01&b=2024-06-01");
    // What tells more than days tells the end itself.
    let inside = source((
        "    from:",
        "    range_end: inclusive\n    time_format: '%Y%m%d%H'\n    from:",
    ));
    let station = inside.stations.as_ref().map(|all| &all[1]);
    let ask = History { params: &inside }.ask(Part { station, range }, &one, None);
    assert_eq!(ask.url, "http://host/S?a=2024060100&b=2024060200");
}

#[test]
fn too_many_requests_are_refused_before_any() {
    let params = source(("10d", "1s"));
    let error = History { params: &params }
        .parts(20_000 * DAY)
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "21600000 requests, expected at most 100000; a longer `largest_range` or a later `from` makes them fewer"
    );
}

#[test]
fn another_token_has_answers_of_its_own() {
    let slot = |token: &str| {
        let params = source(("    from:", &format!("{token}    from:")));
        let part = Part {
            station: params.stations.as_ref().map(|all| &all[0]),
            range: None,
        };
        let history = History { params: &params };
        history.ask(part, &Target::default(), None).slot
    };
    let slots = ["", "    token: {env: A}\n", "    token: {env: B}\n"].map(slot);
    assert!(slots[1].ends_with(" token of the environment variable A"));
    assert!(slots[0] != slots[1] && slots[1] != slots[2]);
}

#[test]
fn a_body_has_numbers_where_times_are_numbers() {
    let params = source((
        "    from:",
        "    time_format: unix_s\n    method: POST\n    body: {a: '{from}', b: ['to {to}', 7], s: '{station}'}\n    \
         paging: {page: page, of: 5}\n    from:",
    ));
    let history = History { params: &params };
    let range = Some(Span { from: 0, to: 60 });
    let station = Some(&params.stations.as_ref().unwrap()[0]);
    let part = Part { station, range };
    let ask = history.ask(part, &Pages::new(params.paging.as_ref(), 9).first(), None);
    assert_eq!(
        ask.post.as_deref(),
        Some(r#"{"a":0,"b":["to 60",7],"page":1,"s":"N 1"}"#)
    );
    assert!(!ask.url.contains("page"));
}

#[test]
fn rows_are_compared_by_their_times() {
    let rows = |times: &[i64], values: &[f64]| Rows {
        times: times.to_vec(),
        columns: vec![values.to_vec()],
    };
    let news = |before: &Rows, now: &Rows| {
        let (news, gone) = compare(before, now);
        (news.new, news.corrected, gone)
    };
    let before = rows(&[0, 60, 120, 120], &[1.0, f64::NAN, 3.0, 4.0]);
    assert_eq!(news(&before, &before), (0, 0, 0));
    assert_eq!(news(&Rows::empty(1), &before), (3, 0, 0));
    assert_eq!(news(&before, &Rows::empty(1)), (0, 0, 3));
    let now = rows(&[30, 60, 120, 120, 120], &[1.0, 2.0, 3.0, 5.0, 6.0]);
    assert_eq!(news(&before, &now), (3, 1, 1));
    assert_eq!(news(&before, &rows(&[0], &[f64::NAN])), (0, 1, 2));
}
