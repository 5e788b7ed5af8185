//! Answers as recorded, and answers with something wrong.

use super::*;
use crate::fs;

/// What the service answers when it is asked for something else than hours in UTC, and hours in
/// local time: answers of others.
const RECORDED: [(&str, &[u8]); 7] = [
    (
        "air-quality",
        include_bytes!("../../../../tests/data/open-meteo-bodies/air-quality.json"),
    ),
    (
        "archive-daily",
        include_bytes!("../../../../tests/data/open-meteo-bodies/archive-daily.json"),
    ),
    (
        "archive-local-time",
        include_bytes!("../../../../tests/data/open-meteo-bodies/archive-local-time.json"),
    ),
    (
        "forecast-current-weather",
        include_bytes!("../../../../tests/data/open-meteo-bodies/forecast-current-weather.json"),
    ),
    (
        "geocoding",
        include_bytes!("../../../../tests/data/open-meteo-bodies/geocoding.json"),
    ),
    (
        "geocoding-nothing",
        include_bytes!("../../../../tests/data/open-meteo-bodies/geocoding-nothing.json"),
    ),
    (
        "marine-in-feet",
        include_bytes!("../../../../tests/data/open-meteo-bodies/marine-in-feet.json"),
    ),
];
const CALAIS: &[u8] = include_bytes!("../../../../tests/data/open-meteo-calais-2024-06.json");

fn expected(names: &[&str]) -> Vec<Expected> {
    let expected = |&name: &&str| Expected {
        name: name.to_owned(),
        unit: unit_of(name),
    };
    names.iter().map(expected).collect()
}

fn time(text: &str) -> i64 {
    parse_time(text, None, 0).unwrap()
}

fn one(body: &[u8]) -> Result<Body, String> {
    match parse(body, 1) {
        Ok(mut bodies) => Ok(bodies.remove(0)),
        Err(refused) => Err(refused.message),
    }
}

/// The same answer as if it had been asked for in UTC.
fn in_utc(mut body: Body) -> Body {
    body.utc_offset_seconds = Some(0);
    body
}

#[test]
fn a_recorded_answer_is_read_to_the_last_digit() {
    let names = ["surface_pressure", "temperature_2m"];
    let hours = one(CALAIS)
        .unwrap()
        .hours(time("2024-06-01"), &expected(&names))
        .unwrap();
    assert_eq!((hours.rows(), hours.known_rows()), (96, 96));
    let value: serde_json::Value = serde_json::from_slice(CALAIS).unwrap();
    for column in &hours.columns {
        let list = value["hourly"][&column.name].as_array().unwrap();
        let same = list.iter().zip(&column.values);
        assert!(
            same.into_iter().all(|(a, b)| a.as_f64() == Some(*b)),
            "{}",
            column.name
        );
    }
    assert_eq!(hours.columns[0].unit, "hPa");
    assert_eq!(format_utc(hours.time(95)), "2024-06-04T23:00:00Z");
}

#[test]
fn what_is_no_hourly_answer_says_what_it_is() {
    for (name, says) in [
        (
            "archive-daily",
            "received an answer with daily_units, daily",
        ),
        (
            "forecast-current-weather",
            "an answer with current_weather_units, current_weather",
        ),
        ("geocoding", "received an answer with results"),
        ("geocoding-nothing", "received an answer without values"),
    ] {
        let (_, body) = RECORDED
            .iter()
            .find(|(recorded, _)| *recorded == name)
            .unwrap();
        let message = one(body).unwrap_err();
        assert!(message.starts_with("expected hourly values, "), "{message}");
        assert!(message.ends_with(says), "{name}: {message}");
    }
    let wrong = br#"{"error":true,"reason":"Cannot initialize WeatherVariable from invalid String value x"}"#;
    assert!(
        one(wrong)
            .unwrap_err()
            .ends_with("received: Cannot initialize WeatherVariable from invalid String value x")
    );
}

#[test]
fn other_hourly_answers_are_read_and_their_units_are_told() {
    for (name, column, unit, offset) in [
        ("air-quality", "carbon_monoxide", "μg/m³", 28_800),
        ("archive-local-time", "temperature_2m", "°C", -10_800),
        ("marine-in-feet", "wave_height", "ft", 39_600),
    ] {
        let (_, bytes) = RECORDED
            .iter()
            .find(|(recorded, _)| *recorded == name)
            .unwrap();
        let read = || one(bytes).unwrap();
        let start = read().start().unwrap();
        let message = read()
            .hours(start, &expected(&[column]))
            .unwrap_err()
            .message;
        assert_eq!(
            message,
            format!("expected times in UTC, received an offset of {offset} s")
        );
        let hours = in_utc(read()).hours(start, &expected(&[column])).unwrap();
        assert!(hours.rows() >= 24 && hours.known_rows() > 0, "{name}");
        assert_eq!(hours.columns[0].unit, unit);
        let other = expected(&["cape"]);
        assert_eq!(
            in_utc(read()).hours(start, &other).unwrap_err().message,
            "expected cape, received no such values"
        );
        let absent = in_utc(read()).known_hours(start, &other).unwrap();
        assert_eq!(
            (absent.known_rows(), absent.columns[0].unit.as_str()),
            (0, "")
        );
    }
}

/// All answers that others recorded, where they are there: see `reference/data.md` of the project's
/// shared folder for where `KRAMMERTI_DATA` points.
#[test]
fn every_recorded_answer_is_read_or_says_what_it_is() {
    let mut all: Vec<(String, Vec<u8>)> = RECORDED
        .iter()
        .map(|(name, body)| ((*name).to_owned(), body.to_vec()))
        .collect();
    if let Some(folder) = std::env::var_os("KRAMMERTI_DATA") {
        let folder = std::path::Path::new(&folder).join("openmeteo-bodies");
        for name in fs::list(&folder).unwrap() {
            let body = fs::read(&folder.join(&name)).unwrap();
            all.push((name.display().to_string(), body));
        }
    }
    for (name, bytes) in all {
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let Some(hourly) = value["hourly"].as_object() else {
            let message = one(&bytes).unwrap_err();
            assert!(
                message.starts_with("expected hourly values, received "),
                "{message}"
            );
            continue;
        };
        let names: Vec<&str> = hourly
            .keys()
            .map(String::as_str)
            .filter(|n| *n != "time")
            .collect();
        let unknown: Vec<Expected> = names
            .iter()
            .map(|name| Expected {
                name: (*name).to_owned(),
                unit: None,
            })
            .collect();
        let body = in_utc(one(&bytes).unwrap());
        let start = time(hourly["time"][0].as_str().unwrap());
        let hours = body.hours(start, &unknown).unwrap();
        assert_eq!(
            hours.rows(),
            hourly["time"].as_array().unwrap().len(),
            "{name}"
        );
        for column in &hours.columns {
            let list = hourly[&column.name].as_array().unwrap();
            let missing = list.iter().filter(|value| value.is_null()).count();
            let nan = column.values.iter().filter(|value| value.is_nan()).count();
            assert_eq!(missing, nan, "{name}: {}", column.name);
            assert_eq!(
                value["hourly_units"][&column.name],
                column.unit.as_str(),
                "{name}"
            );
        }
    }
}

#[test]
fn only_json_that_ends_early_may_be_better_next_time() {
    let body = r#"{"utc_offset_seconds":0,"hourly_units":{"temperature_2m_previous_day1":"°C","cape":"J/kg"},
        "hourly":{"time":["1970-01-01T00:00"],"temperature_2m_previous_day1":[null],"cape":[5]}}"#;
    let names = expected(&["temperature_2m_previous_day1", "cape"]);
    let hours = one(body.as_bytes()).unwrap().hours(0, &names).unwrap();
    assert!(hours.columns[0].values[0].is_nan());
    assert_eq!((hours.columns[1].unit.as_str(), hours.rows()), ("J/kg", 1));
    for end in 0..body.len() {
        let error = parse(&body.as_bytes()[..end], 1).unwrap_err();
        assert!(error.may_pass, "{end}: {}", error.message);
    }
    let page = parse(b"<html>no</html>", 1).unwrap_err();
    assert!(!page.may_pass && page.message.ends_with("received: <html>no</html>"));
}

#[test]
fn a_unit_is_that_of_the_variable_and_not_of_a_shorter_name() {
    for (variable, unit) in [
        ("snowfall", Some("cm")),
        ("snowfall_previous_day3", Some("cm")),
        ("snowfall_height", None),
        ("snowfall_water_equivalent", None),
        ("snow_depth", Some("m")),
        ("snow_depth_water_equivalent_previous_day1", None),
        ("precipitation", Some("mm")),
        ("precipitation_probability", Some("%")),
        ("precipitation_type", None),
        ("cloud_cover", Some("%")),
        ("cloud_cover_low", Some("%")),
        ("temperature_2m", Some("°C")),
        ("wind_speed_100m_previous_day1", Some("m/s")),
        ("shortwave_radiation_instant", Some("W/m²")),
    ] {
        assert_eq!(unit_of(variable), unit, "{variable}");
    }
}

#[test]
fn lists_of_places_are_counted_and_in_order() {
    let place = |id: &str| {
        format!(
            r#"{{{id}"utc_offset_seconds":0,"hourly":{{"time":["1970-01-01T00:00"],"cape":[5]}}}}"#
        )
    };
    let list = |ids: [&str; 2]| format!(" [{}]", ids.map(place).join(","));
    let good = list(["", r#""location_id":1,"#]);
    let bodies = parse(good.as_bytes(), 2).unwrap();
    assert_eq!(
        bodies.iter().map(Body::start).collect::<Vec<_>>(),
        [Some(0), Some(0)]
    );
    let error = |text: &str, places| parse(text.as_bytes(), places).unwrap_err().message;
    assert_eq!(
        error(&good, 3),
        "expected the values of 3 places, received those of 2"
    );
    assert_eq!(
        error(&list(["", r#""location_id":3,"#]), 2),
        "expected the values of place 1, received those of 3"
    );
    assert!(error(&place(""), 2).contains("those of 1"));
    assert!(parse(place("").as_bytes(), 1).is_ok());
    assert!(error("[1, 2]", 1).starts_with("expected hourly values as JSON ("));
    assert!(error("[]", 1).contains("of 1 places, received those of 0"));
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let error = |hourly: &str| {
        let body = format!(r#"{{"utc_offset_seconds":0,"hourly":{hourly}}}"#);
        let hours = one(body.as_bytes())
            .and_then(|body| body.hours(0, &expected(&["cape"])).map_err(|e| e.message));
        hours.unwrap_err()
    };
    for (hourly, says) in [
        (r#"{"cape":[1]}"#, "missing field `time`"),
        (
            r#"{"time":["1970-01-01T00:00"],"cape":[1],"cape":[2]}"#,
            "`cape` stands twice",
        ),
        (
            r#"{"time":["1970-01-01T00:00"],"cape":[1,2]}"#,
            "expected 1 values of cape, received 2",
        ),
        (
            r#"{"time":["1970-01-01T00:00"],"cape":["1"]}"#,
            "invalid type: string",
        ),
        (
            r#"{"time":["1970-01-01"],"cape":[1]}"#,
            "a time such as 2024-06-01T00:00",
        ),
        (
            r#"{"time":["1970-02-30T00:00"],"cape":[1]}"#,
            "a time such as",
        ),
        (
            r#"{"time":["1970-01-01T24:00"],"cape":[1]}"#,
            "a time such as",
        ),
        (
            r#"{"time":["1970-01-01T0é:0"],"cape":[1]}"#,
            "a time such as",
        ),
        (r#"{"time":[0],"cape":[1]}"#, "a time such as"),
        (
            r#"{"time":["1970-01-01T01:00"],"cape":[1]}"#,
            "hour 1970-01-01T00:00:00Z in row 0",
        ),
        (
            r#"{"time":["1970-01-01T00:00"],"cape":[1e999]}"#,
            "number out of range",
        ),
    ] {
        let message = error(hourly);
        assert!(message.contains(says), "{hourly}: {message}");
    }
    let body = r#"{"hourly":{"time":[],"cape":[]}}"#;
    let message = one(body.as_bytes())
        .unwrap()
        .hours(0, &expected(&["cape"]))
        .unwrap_err();
    assert!(message.message.ends_with("received no utc_offset_seconds"));
}

proptest::proptest! {
    #[test]
    fn a_time_is_read_as_the_calendar_has_it(seconds in -60_000_000_000_i64..60_000_000_000) {
        let minutes = seconds.div_euclid(60) * 60;
        let text = format_utc(minutes);
        // Years before 1 and after 9999 have another form.
        if text.len() == 20 {
            let mut reader = TimeReader::default();
            proptest::prop_assert_eq!(reader.read(&text[..16]), Some(minutes));
            proptest::prop_assert_eq!(reader.read(&text[..16]), Some(minutes));
        }
    }

    #[test]
    fn bytes_of_any_kind_are_read_or_refused(
        at in proptest::collection::vec((0..CALAIS.len(), 0..=255_u8), 0..4),
        cut in 0..CALAIS.len(),
        places in 1..3_usize,
    ) {
        let mut bytes = CALAIS[..CALAIS.len() - cut / 50].to_vec();
        for (place, byte) in at {
            if let Some(there) = bytes.get_mut(place) {
                *there = byte;
            }
        }
        let names = expected(&["temperature_2m", "cape"]);
        for body in parse(&bytes, places).into_iter().flatten() {
            if let Ok(hours) = body.known_hours(time("2024-06-01"), &names) {
                let rows = hours.rows();
                proptest::prop_assert!(hours.columns.iter().all(|c| c.values.len() == rows));
                proptest::prop_assert!(hours.known_rows() <= rows);
            }
        }
    }
}
