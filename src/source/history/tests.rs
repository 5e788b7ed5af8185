//! Ranges, slots, comparison and what is stored; the rest is tried end to end in `tests/it/history.rs`.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::pages::{Pages, Target};
use super::ranges::Span;
use super::whole::compare;
use super::*;
use crate::params::{AnswerFormat, Layout, Paging, Pointer, SourceParams};
use crate::source::News;

use krammerti_test_server::{Asked as Request, Reply, Server};

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

/// A fetch from a server, in a project that keeps its answers.
fn fetch(
    params: &HttpSource,
    root: &std::path::Path,
    offline: bool,
) -> Result<Fetched, SourceError> {
    let mut asked = Asked {
        root,
        offline,
        progress: &mut |_, _, _| {},
    };
    History { params }.fetch(&mut asked)
}

/// A source of hours whose server is known.
fn hours_of(server: &Server, more: &str) -> HttpSource {
    let url = server.url("/{station}?from={from}&to={to}");
    let mut params = source((
        "url: http://host/{station}?a={from}&b={to}\n    stations: {north: 'N 1', south: S}",
        &format!("url: '{url}'\n    time_format: unix_s\n    stations: [n]{more}"),
    ));
    params.requests.first_wait = std::time::Duration::from_millis(1);
    params
}

/// The hours from one time to another, each with its number.
fn hours(asked: &Request) -> Vec<serde_json::Value> {
    let time = |name| asked.query(name).unwrap().parse::<i64>().unwrap();
    let hours = (time("from")..time("to")).step_by(HOUR as usize);
    hours
        .map(|at| serde_json::json!({"at": crate::time::format_utc(at), "t": at / HOUR}))
        .collect()
}

#[test]
fn offline_an_answer_to_a_shorter_range_is_not_the_whole_one() {
    let server = Server::new(|_, asked| Reply::ok(&serde_json::json!(hours(asked)).to_string()));
    let project = tempfile::tempdir().unwrap();
    let mut params = hours_of(&server, "");
    let first = 19_875 * DAY;
    let to = |params: &mut HttpSource, days: i64| {
        params.range.as_mut().unwrap().to = Some(first + days * DAY);
    };
    // The grid has a line after five days.
    to(&mut params, 4);
    let rows = fetch(&params, project.path(), false).unwrap().table.rows();
    assert_eq!(rows, 96);
    assert_eq!(
        fetch(&params, project.path(), true).unwrap().table.rows(),
        96
    );
    for days in [5, 20] {
        to(&mut params, days);
        let error = fetch(&params, project.path(), true).unwrap_err();
        assert!(matches!(error, SourceError::NotStored { .. }), "{error}");
    }
    // An end that is yet to come ends where the last fetch ended, if nothing stored comes behind it.
    to(&mut params, 100_000);
    let open = History { params: &params };
    assert!(open.is_open(first) && !open.is_open(first + 100_000 * DAY));
    assert_eq!(
        fetch(&params, project.path(), true).unwrap().table.rows(),
        96
    );
    let got = |older: bool| Got {
        rows: Rows::empty(1),
        news: News::default(),
        gone: 0,
        outside: 0,
        warning: None,
        older: older.then(|| "http://host/older".to_owned()),
    };
    let parts = open.parts(first + 20 * DAY).unwrap();
    let absent = || Err("http://host/absent".to_owned());
    let stored = |all| super::stored(all, &parts[..3], true).map(|all| all.len());
    assert_eq!(
        stored(vec![Ok(got(false)), Ok(got(true)), absent()]).unwrap(),
        2
    );
    let error = stored(vec![Ok(got(true)), absent(), Ok(got(false))]).unwrap_err();
    assert_eq!(error.to_string(), "no stored answer for http://host/older");
}

#[test]
fn a_cursor_that_ran_out_behind_a_page_that_did_not_change_is_asked_for_anew() {
    // The first page has not changed, but its cursor holds for the walk only in which it came.
    let walks = AtomicUsize::new(0);
    let server = Server::new(move |_, asked| {
        let walk = walks.load(Ordering::SeqCst);
        let body = |hours: &[serde_json::Value], next: Option<String>| {
            let body = serde_json::json!({"rows": hours, "next": next}).to_string();
            Reply::Whole(200, vec!["ETag: \"same\"".into()], body.into())
        };
        let hours = hours(asked);
        match asked.query("c").map(str::to_owned) {
            None if asked.header("if-none-match").is_some() => {
                Reply::Whole(304, Vec::new(), Vec::new())
            }
            None => {
                walks.fetch_add(1, Ordering::SeqCst);
                body(&hours[..5], Some(format!("walk{}", walk + 1)))
            }
            // A page that is stored is gone too.
            Some(cursor)
                if cursor == format!("walk{walk}") && asked.header("if-none-match").is_none() =>
            {
                body(&hours[5..], None)
            }
            Some(_) => Reply::Whole(410, Vec::new(), b"the cursor is gone".to_vec()),
        }
    });
    let project = tempfile::tempdir().unwrap();
    let mut params = hours_of(&server, "\n    to: 2024-06-02\n    overlap: 20000d");
    let pointer = |text| Pointer::parse(text).unwrap();
    params.answer.format = AnswerFormat::Json(Layout::Rows(pointer("/rows")));
    params.paging = Some(Paging::Cursor {
        at: pointer("/next"),
        parameter: "c".to_owned(),
    });
    for _ in 0..2 {
        assert_eq!(
            fetch(&params, project.path(), false).unwrap().table.rows(),
            24
        );
    }
    // Two pages; one that did not change and one that is gone; two pages.
    assert_eq!(server.asked().len(), 6);
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
