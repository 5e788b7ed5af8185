//! What bodies are read as, why others are refused, and bodies that nobody would think of.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::params::{Clock, Field, Notation, TimeFormat};

fn field(name: &str, from: &str) -> Field {
    Field {
        name: name.into(),
        unit: "°C".into(),
        from: from.into(),
        reading: Reading::Number(None),
        optional: false,
    }
}

fn params(format: AnswerFormat, time: &str, columns: &[&str]) -> AnswerParams {
    AnswerParams {
        format,
        time: time.into(),
        time_format: TimeFormat {
            notation: Notation::UnixSeconds,
            clock: Clock::Offset(0),
        },
        columns: columns.iter().map(|from| field(from, from)).collect(),
        missing: vec!["NA".into(), "-999.9".into()],
        total: None,
    }
}

fn rows_at(pointer: &str) -> AnswerFormat {
    AnswerFormat::Json(Layout::Rows(Pointer::parse(pointer).unwrap()))
}

fn read(params: &AnswerParams, body: &str) -> Result<Page, String> {
    let page = Reader::new(params, None).read(body.as_bytes());
    page.map_err(|refused| refused.message)
}

/// Times, and values as text, because NaN is not equal to itself.
fn told(page: &Page) -> String {
    let rows = &page.rows;
    let row = |row: usize| {
        let values = rows.columns.iter().map(|column| column[row].to_string());
        format!(
            "{}:{}",
            rows.times[row],
            values.collect::<Vec<_>>().join(",")
        )
    };
    (0..rows.len()).map(row).collect::<Vec<_>>().join(" ")
}

#[test]
fn rows_are_found_at_their_pointers_wherever_they_stand() {
    let params = params(rows_at("/data/rows"), "/at", &["/air/temp", "/w/1"]);
    let page = read(
        &params,
        r#"{"meta": {"rows": [1, {"at": 2}]}, "data": {"x": null, "rows": [
            {"air": {"temp": 1.5, "rh": {"deep": [1]}}, "at": 7200, "w": [9, "2.5", 9]},
            {"at": "3600", "air": null, "w": [1]},
            {"at": 10800, "air": {"temp": "NA"}, "w": [1, -999.9]},
            {"at": 10801.9, "air": {"temp": " "}, "other": "x", "w": [1, null]}
        ]}, "after": true}"#,
    );
    let page = page.unwrap();
    assert_eq!(
        told(&page),
        "3600:NaN,NaN 7200:1.5,2.5 10800:NaN,NaN 10801:NaN,NaN"
    );
    assert_eq!(page.received, 4);
    // Rows that are lists, in an answer that is one.
    let mut lists = super::tests::params(rows_at(""), "/0", &["/2"]);
    assert_eq!(
        told(&read(&lists, "\u{feff}[[60, 9, 1], [0, 9, 2e1]]").unwrap()),
        "0:20 60:1"
    );
    assert_eq!(read(&lists, "[]").unwrap().received, 0);
    lists.columns[0].optional = true;
    assert_eq!(told(&read(&lists, "[[60, 9]]").unwrap()), "60:NaN");
    // One place has one name, as in lines of JSON.
    lists.columns[0].from = "/02".to_owned();
    assert_eq!(told(&read(&lists, "[[60, 9, 1]]").unwrap()), "60:NaN");
}

#[test]
fn lists_for_columns_have_one_length() {
    let mut params = params(
        AnswerFormat::Json(Layout::Columns),
        "/h/time",
        &["/h/t", "/x/0"],
    );
    params.columns[1].optional = true;
    let good = read(
        &params,
        r#"{"h": {"t": [1, null, "3"], "time": [20, 10, 30]}, "x": [[4, 5, 6]]}"#,
    );
    assert_eq!(told(&good.unwrap()), "10:NaN,5 20:1,4 30:3,6");
    let good = read(&params, r#"{"h": {"t": [1], "time": [20]}, "x": [null]}"#);
    assert_eq!(told(&good.unwrap()), "20:1,NaN");
    for (body, says) in [
        (
            r#"{"h": {"t": [1, 2], "time": [1]}}"#,
            "expected 1 values at /h/t, not 2",
        ),
        (r#"{"h": {"time": [1]}}"#, "expected /h/t in some row"),
        (
            r#"{"h": {"t": [1]}}"#,
            "expected a list of times at /h/time",
        ),
        (
            r#"{"h": {"t": [1], "time": null}}"#,
            "expected a list, found null",
        ),
        (
            r#"{"h": {"t": [1, true], "time": [1, 2]}}"#,
            "row 1, /h/t: expected a number, found true",
        ),
        (r#"{"h": {"t": 1, "time": [1]}}"#, "expected a list"),
    ] {
        let error = read(&params, body).unwrap_err();
        assert!(error.contains(says), "{body}: {error}");
    }
}

#[test]
fn what_is_not_the_answer_is_told_with_its_place() {
    let params = params(rows_at("/rows"), "/at", &["/t"]);
    for (body, says) in [
        (
            r#"{"rows": [{"at": 1, "t": 1}, {"at": 2, "t": "warm"}]}"#,
            "row 1, /t: expected a number, found `warm` at line 1 column",
        ),
        (
            r#"{"rows": [{"at": 1, "t": {"value": 1}}]}"#,
            "row 0, /t: expected a number, found an object",
        ),
        (
            r#"{"rows": [{"at": 1, "t": [1]}]}"#,
            "row 0, /t: expected a number, found a list",
        ),
        (r#"{"rows": [{"at": 1, "t": "inf"}]}"#, "found `inf`"),
        (r#"{"rows": [{"at": 1, "t": false}]}"#, "found false"),
        (
            r#"{"rows": [{"at": "noon", "t": 1}]}"#,
            "row 0, /at: expected a time (seconds since 1970), found `noon`",
        ),
        (
            r#"{"rows": [{"at": null, "t": 1}]}"#,
            "row 0, /at: expected a time, found null",
        ),
        (
            r#"{"rows": [{"t": 1}]}"#,
            "row 0, /at: expected a time, found none",
        ),
        (r#"{"rows": [7]}"#, "row 0: "),
        (
            r#"{"rows": [null]}"#,
            "row 0, /at: expected a time, found none",
        ),
        (
            r#"{"rows": [{"at": 1}]}"#,
            "expected /t in some row, received: {\"rows\"",
        ),
        (r#"{"rows": {}}"#, "expected a list"),
        (r#"{"rows": null}"#, "expected a list, found null"),
        (
            r#"{"error": "no such station"}"#,
            "expected a list of rows at /rows, received: {\"error\": \"no such station\"}",
        ),
        ("[]", "expected a list of rows at /rows"),
        ("7", "expected an object or a list"),
        (
            "<html>Log in</html>",
            "expected JSON (expected value at line 1 column 1), received: <html>Log in</html>",
        ),
        (r#"{"rows": []} {"rows": []}"#, "trailing characters"),
    ] {
        let error = read(&params, body).unwrap_err();
        assert!(error.contains(says), "{body}: {error}");
    }
}

#[test]
fn a_total_and_a_way_on_are_read_before_and_after_the_rows() {
    let mut params = params(rows_at("/rows"), "/at", &["/t"]);
    params.total = Pointer::parse("/meta/total");
    let paging = Paging::Next(Pointer::parse("/meta/next").unwrap());
    let reader = Reader::new(&params, Some(&paging));
    let read = |body: &str| {
        reader
            .read(body.as_bytes())
            .map_err(|refused| refused.message)
    };
    let page =
        read(r#"{"meta": {"total": "12", "next": "/p2"}, "rows": [{"at": 1, "t": 2}]}"#).unwrap();
    assert_eq!((page.total, page.next.as_deref()), (Some(12), Some("/p2")));
    for next in ["null", "\"\"", "\" \""] {
        let body = format!(r#"{{"rows": [], "meta": {{"next": {next}, "total": 0}}}}"#);
        assert_eq!(read(&body).unwrap().next, None);
    }
    assert_eq!(
        read(r#"{"rows": [], "meta": {"next": 7, "total": 0}}"#)
            .unwrap()
            .next
            .as_deref(),
        Some("7")
    );
    for (body, says) in [
        (r#"{"rows": []}"#, "expected the number of all rows"),
        (
            r#"{"rows": [], "meta": {"total": "many"}}"#,
            "expected the number of all rows",
        ),
        (
            r#"{"rows": [], "meta": {"total": -1}}"#,
            "expected the number of all rows",
        ),
        (
            r#"{"rows": [], "meta": {"total": 0, "next": {}}}"#,
            "expected a link or a cursor, found an object",
        ),
    ] {
        let error = read(body).unwrap_err();
        assert!(error.contains(says), "{body}: {error}");
    }
}

#[test]
fn only_an_answer_that_ends_early_may_be_better_next_time() {
    let json = params(rows_at("/rows"), "/at", &["/t"]);
    let reader = Reader::new(&json, None);
    let body = r#"{"rows": [{"at": 1, "t": "é"}, {"t": 2.5, "at": 3}]}"#.replace('é', "4");
    for end in 0..body.len() {
        let refused = reader.read(&body.as_bytes()[..end]).unwrap_err();
        assert!(refused.may_pass, "{end}: {}", refused.message);
    }
    assert!(!reader.read(b"<html>").unwrap_err().may_pass);
    let csv = params(AnswerFormat::Csv { delimiter: b';' }, "at", &["t"]);
    let reader = Reader::new(&csv, None);
    let body = "x;at;t\n1;2;3\n4;5;6\n";
    assert_eq!(told(&reader.read(body.as_bytes()).unwrap()), "2:3 5:6");
    for end in 0..body.len() {
        let whole_lines = end == 7 || end == 13;
        match reader.read(&body.as_bytes()[..end]) {
            Ok(_) => assert!(whole_lines, "{end}"),
            Err(refused) => assert!(refused.may_pass || end < 6, "{end}: {}", refused.message),
        }
    }
}

#[test]
fn values_come_in_the_unit_that_is_wanted() {
    let mut params = params(rows_at(""), "/at", &["/t", "/wd"]);
    params.columns[0].reading = Reading::Number(crate::physics::Conversion::new("°F", "°C"));
    params.columns[1].reading = Reading::Compass;
    let good = r#"[{"at": 0, "t": 50, "wd": "E"}, {"at": 1, "t": -999.9, "wd": null}]"#;
    assert_eq!(told(&read(&params, good).unwrap()), "0:10,90 1:NaN,NaN");
    for wind in ["7", "\"up\""] {
        let error = read(&params, &format!(r#"[{{"at": 0, "wd": {wind}}}]"#)).unwrap_err();
        assert!(
            error.contains("row 0, /wd: expected a word of the compass, found"),
            "{error}"
        );
    }
}

#[test]
fn csv_is_told_by_line_and_column() {
    let mut params = params(AnswerFormat::Csv { delimiter: b',' }, "at", &["t", "rh"]);
    params.columns[1].optional = true;
    let page = read(&params, "t, at ,x\r\n1.5,60,a\r\nNA,0,\"b,c\"\r\n").unwrap();
    assert_eq!(told(&page), "0:NaN,NaN 60:1.5,NaN");
    // As single precision has it.
    let page = read(&params, "t,at\n-999.9000244140625,60\n-99.0,120\n").unwrap();
    assert_eq!(told(&page), "60:NaN,NaN 120:-99,NaN");
    for (body, says) in [
        (
            "at,t\n1,warm\n",
            "line 2, `t`: expected a number, found `warm`",
        ),
        ("at,t\nnoon,1\n", "line 2, `at`: expected a time"),
        (
            "at,temp\n1,1\n",
            "expected a column `t`, received: at,temp 1,1",
        ),
        ("at,t\n1,2,3\n", "line 2: expected 2 fields, found 3"),
        ("<html>Log in</html>\n", "expected a column `at`"),
        ("at,t\n1,2", "the answer ends early"),
        (
            "at,t\n1,\"a\nb\n2,3\n",
            "line 2: the answer ends early: no quotation mark (\") ends what one in this line begins",
        ),
        (
            "\"at,t\n1,2\n",
            "line 1: the answer ends early: no quotation mark",
        ),
        ("", "the answer is empty"),
    ] {
        let error = read(&params, body).unwrap_err();
        assert!(error.contains(says), "{body}: {error}");
    }
}

/// Any JSON, mostly such that a reader of rows meets what it knows.
fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        "[ -~é]{0,6}".prop_map(Into::into),
        "[0-9.e-]{1,8}".prop_map(Into::into),
    ];
    let key = prop_oneof![
        Just("rows".to_owned()),
        Just("at".to_owned()),
        Just("t".to_owned()),
        Just("next".to_owned()),
        Just("total".to_owned()),
        "[a-z0-9~/]{0,3}",
    ];
    leaf.prop_recursive(5, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::btree_map(key.clone(), inner, 0..6).prop_map(
                |map: BTreeMap<_, _>| serde_json::Value::Object(map.into_iter().collect())
            ),
        ]
    })
}

/// What comes out of any body is whole: a value in each column for each time, in order.
fn check_any(body: &[u8]) {
    let paging = Paging::Cursor {
        at: Pointer::parse("/next").unwrap(),
        parameter: "c".into(),
    };
    let mut rows = params(rows_at("/rows"), "/at", &["/t", "/rows/0"]);
    rows.columns[1].optional = true;
    let mut with_total = rows.clone();
    with_total.total = Pointer::parse("/total");
    let columns = params(
        AnswerFormat::Json(Layout::Columns),
        "/rows/at",
        &["/rows/t"],
    );
    let top = params(rows_at(""), "/0", &["/1"]);
    let csv = params(AnswerFormat::Csv { delimiter: b',' }, "at", &["t"]);
    for params in [&rows, &with_total, &columns, &top, &csv] {
        let paged = !matches!(params.format, AnswerFormat::Csv { .. }) && params.time != top.time;
        let reader = Reader::new(params, paged.then_some(&paging));
        match reader.read(body) {
            Ok(page) => {
                let rows = page.rows;
                assert!(rows.times.is_sorted() && rows.len() <= page.received);
                assert!(rows.columns.iter().all(|column| column.len() == rows.len()));
                assert!(
                    rows.columns
                        .iter()
                        .flatten()
                        .all(|value| !value.is_infinite())
                );
            }
            Err(refused) => {
                assert!(!refused.message.is_empty() && refused.message.len() < 2000);
            }
        }
    }
}

proptest! {
    #[test]
    fn any_json_is_read_or_refused(body in any_json()) {
        check_any(body.to_string().as_bytes());
    }

    #[test]
    fn any_bytes_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
        check_any(&body);
    }

    /// A good body with pieces cut out, doubled and overwritten.
    #[test]
    fn a_damaged_body_is_read_or_refused(
        csv in any::<bool>(),
        damages in prop::collection::vec((0_usize..4, any::<u16>(), any::<u8>(), 1_usize..9), 1..6),
    ) {
        let mut body = if csv {
            b"at,t,x\n1,2.5,a\n2,NA,\"b\"\n3,-1e3,c\n".to_vec()
        } else {
            br#"{"total":3,"rows":[{"at":1,"t":2.5},{"at":"2","t":null},{"t":"-1e3","at":3,"rows":[7]}],"next":"c\u00e9"}"#.to_vec()
        };
        for (kind, at, byte, length) in damages {
            let at = usize::from(at) % (body.len() + 1);
            let end = (at + length).min(body.len());
            match kind {
                0 => drop(body.drain(at..end)),
                1 => {
                    let piece = body[at..end].to_vec();
                    body.splice(at..at, piece);
                }
                2 => body[at..end].fill(byte),
                _ => body.insert(at, b"{}[]\",:-e0\\\n"[usize::from(byte) % 12]),
            }
        }
        check_any(&body);
    }
}

#[test]
fn nesting_without_end_is_refused() {
    for deep in [
        "[".repeat(200_000),
        "{\"x\":".repeat(200_000),
        "{\"rows\":[".repeat(100_000),
    ] {
        check_any(deep.as_bytes());
    }
}
