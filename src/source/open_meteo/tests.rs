//! What is asked for, what becomes of answers, and an archive of forecasts on a clock of our own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::*;
use crate::data::{Column, Table, to_parquet};
use crate::fs;
use crate::params::{ForecastWanted, RequestLimits};
use krammerti_test_server::{Reply, Server};

const CALAIS: Place = Place {
    latitude: 50.93,
    longitude: 1.93,
};
const DOVER: Place = Place {
    latitude: 51.12,
    longitude: 1.31,
};

fn params(models: &[&str]) -> OpenMeteoSource {
    OpenMeteoSource {
        url: "http://host/v1".into(),
        places: Places::One(CALAIS),
        variables: vec!["temperature_2m_previous_day1".into(), "cape".into()],
        models: models.iter().map(|&model| model.to_owned()).collect(),
        wanted: Wanted::Days(DaysWanted {
            days: Days::Range { from: 0, to: None },
            days_per_request: 1,
            overlap_s: DAY,
            by_issue: false,
            issued_every_s: None,
        }),
        places_per_request: 1,
        counted: None,
        token: None,
        requests: RequestLimits {
            timeout: Duration::from_secs(30),
            give_up_after: Duration::from_mins(1),
            ..RequestLimits::default()
        },
    }
}

fn two_places() -> Places {
    let places = [("calais", CALAIS), ("dover", DOVER)];
    Places::Named(places.map(|(name, place)| (name.to_owned(), place)).into())
}

#[test]
fn a_range_is_split_on_one_grid() {
    let days = |days, length| {
        let parts = parts(days, length, 100);
        parts.iter().map(|p| (p.first, p.last)).collect::<Vec<_>>()
    };
    let range = |from, to| Days::Range { from, to };
    assert_eq!(days(range(5, Some(21)), 10), [(5, 9), (10, 19), (20, 21)]);
    assert_eq!(days(range(10, Some(10)), 10), [(10, 10)]);
    assert_eq!(days(range(95, None), 10), [(95, 99), (100, 100)]);
    assert_eq!(days(range(-3, Some(1)), 10), [(-3, -1), (0, 1)]);
    // A day later the first part is still the same.
    assert_eq!(days(Days::Past(2), 10), [(96, 98), (99, 100)]);
    assert_eq!(days(Days::Past(12), 10), [(80, 89), (90, 99), (100, 100)]);
    assert_eq!(days(Days::Past(10), 10), [(90, 99), (100, 100)]);
    for days in [range(5, Some(21)), range(101, None), Days::Past(12)] {
        assert_eq!(requests(days, 10, 100) as usize, parts(days, 10, 100).len());
    }
    // A day that is yet to come has no rows.
    assert_eq!(days(range(101, None), 10), []);
}

#[test]
fn days_are_final_only_after_the_overlap() {
    let params = params(&["a", "b"]);
    let source = OpenMeteo { params: &params };
    let ask = |first, last, now| source.ask_days(&(0..1), Part { first, last }, DAY, now);
    let settled = 6 * DAY;
    assert_eq!(ask(3, 4, settled - 1).final_since, None);
    let two = ask(3, 4, settled);
    assert_eq!(two.final_since, Some(settled));
    assert!(
        two.url
            .contains("&models=a,b&start_date=1970-01-04&end_date=1970-01-05")
    );
    // A part that grows keeps its slot.
    assert_eq!(ask(3, 3, 0).slot, two.slot);
}

#[test]
fn several_models_have_columns_of_their_own() {
    let names = |models| {
        let params = params(models);
        let expected = OpenMeteo { params: &params }.expected();
        let names = expected.into_iter().map(|expected| expected.name);
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(&["icon"]), ["temperature_2m_previous_day1", "cape"]);
    let two = names(&["icon", "gfs"]);
    assert_eq!(two[1], "temperature_2m_previous_day1_gfs");
    assert_eq!(two.len(), 4);
}

#[test]
fn places_share_requests_and_large_requests_take_their_time() {
    let mut params = params(&[]);
    params.places = two_places();
    let source = OpenMeteo { params: &params };
    assert_eq!(source.groups(), [0..1, 1..2]);
    let between = |params: &OpenMeteoSource| OpenMeteo { params }.limits().between;
    assert_eq!(between(&params), Duration::ZERO);
    params.requests.per_minute = Some(600);
    assert_eq!(between(&params), Duration::from_millis(100));
    params.places_per_request = 10;
    assert_eq!(OpenMeteo { params: &params }.groups()[0], 0..2);
    let url = OpenMeteo { params: &params }.url(&(0..2));
    assert!(
        url.contains("?latitude=50.93,51.12&longitude=1.93,1.31&"),
        "{url}"
    );
    if let Wanted::Days(wanted) = &mut params.wanted {
        wanted.days_per_request = 28;
    }
    params.variables = (0..15).map(|i| format!("v{i}")).collect();
    // Two places, one and a half for 15 variables, twice two weeks.
    assert_eq!(between(&params), Duration::from_millis(600));
}

/// A time that a test sets.
struct At(Arc<Mutex<i64>>);

impl Clock for At {
    fn now(&self) -> i64 {
        *self.0.lock().unwrap()
    }

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }

    fn sleep(&self, wait: Duration) {
        *self.0.lock().unwrap() += wait.as_secs() as i64;
    }

    fn seed(&self) -> u64 {
        7
    }
}

/// A service whose forecast says of each hour how it counts from the moment of asking: hours from
/// 1970 and a hundredth of the number of the request.
fn service(columns: &'static [&'static str]) -> Server {
    Server::new(move |number, asked| {
        let day = |name: &str| {
            let text = asked.query(name).unwrap();
            crate::time::parse_time(text, Some("%Y-%m-%d"), 0).unwrap()
        };
        let rows = (day("end_date") + DAY - day("start_date")) / HOUR;
        let times: Vec<i64> = (0..rows)
            .map(|row| day("start_date") + row * HOUR)
            .collect();
        let texts: Vec<String> = times
            .iter()
            .map(|&t| format_utc(t)[..16].to_owned())
            .collect();
        let places = asked.query("latitude").unwrap().split(',').count();
        let body = |place: usize| {
            let value =
                |&time: &i64| (time / HOUR) as f64 + number as f64 / 100.0 + 1000.0 * place as f64;
            let values: Vec<f64> = times.iter().map(value).collect();
            let mut body = serde_json::json!({
                "utc_offset_seconds": 0,
                "hourly_units": {},
                "hourly": {"time": texts},
            });
            let wanted = asked.query("hourly").unwrap().split(',');
            for name in wanted.filter(|name| columns.contains(name)) {
                body["hourly"][name] = values.clone().into();
                if name.starts_with("temperature") {
                    body["hourly_units"][name] = "°C".into();
                }
            }
            if place > 0 {
                body["location_id"] = place.into();
            }
            body
        };
        let bodies: Vec<_> = (0..places).map(body).collect();
        Reply::ok(&match bodies.as_slice() {
            [one] => one.to_string(),
            all => serde_json::Value::from(all).to_string(),
        })
    })
}

struct Station {
    project: tempfile::TempDir,
    clock: At,
    params: OpenMeteoSource,
}

impl Station {
    fn new(server: &Server) -> Self {
        let mut params = params(&[]);
        params.url = server.url("/v1/forecast");
        params.variables = vec!["temperature_2m".into()];
        params.wanted = Wanted::Forecast(ForecastWanted {
            past_days: 0,
            forecast_days: 1,
            issued_every_s: HOUR,
            earlier: None,
        });
        Self {
            project: tempfile::tempdir().unwrap(),
            clock: At(Arc::default()),
            params,
        }
    }

    fn wanted(&mut self) -> &mut ForecastWanted {
        match &mut self.params.wanted {
            Wanted::Forecast(wanted) => wanted,
            Wanted::Days(_) => panic!("days"),
        }
    }

    fn fetch(&self, now: i64, offline: bool) -> Result<Fetched, SourceError> {
        *self.clock.0.lock().unwrap() = now;
        let source = OpenMeteo {
            params: &self.params,
        };
        let root = self.project.path();
        let client = Client::new(root, source.limits(), &self.clock, None, offline)?;
        source.collect(
            &client,
            &self.clock,
            &mut Asked {
                root,
                offline,
                progress: &mut |_, _, _| {},
            },
        )
    }

    #[track_caller]
    fn table(&self, now: i64) -> Table {
        self.fetch(now, false).unwrap().table
    }
}

/// Issues, and how many rows each has.
fn issues(table: &Table) -> Vec<(i64, usize)> {
    let mut counts = BTreeMap::new();
    for &issue in table.issues().unwrap() {
        *counts.entry(issue).or_insert(0) += 1;
    }
    counts.into_iter().collect()
}

#[test]
fn each_fetch_adds_an_issue_and_the_last_of_an_hour_counts() {
    let server = service(&["temperature_2m"]);
    let station = Station::new(&server);
    let first = station.fetch(20 * HOUR + 600, false).unwrap();
    let (new, corrected) = (24, 0);
    assert_eq!(first.news, Some(News { new, corrected }));
    // Rows begin at the issue time.
    assert_eq!(issues(&first.table), [(20 * HOUR, 4)]);
    assert_eq!(first.table.times()[0], 20 * HOUR);
    let again = station.fetch(20 * HOUR + 1200, false).unwrap();
    let (new, corrected) = (0, 24);
    assert_eq!(again.news, Some(News { new, corrected }));
    assert_eq!(issues(&again.table), [(20 * HOUR, 4)]);
    let value = |table: &Table, row: usize| table.columns()[0].values[row];
    assert!((value(&again.table, 0) - 20.01).abs() < 1e-9);

    let later = station.table(23 * HOUR);
    assert_eq!(issues(&later), [(20 * HOUR, 4), (23 * HOUR, 1)]);
    assert!((value(&later, 4) - 23.02).abs() < 1e-9);
    let tomorrow = station.table(DAY);
    assert_eq!(issues(&tomorrow)[2], (DAY, 24));
    let offline = station.fetch(5 * DAY, true).unwrap();
    assert_eq!((offline.table, offline.news), (tomorrow, None));
    assert_eq!(server.asked().len(), 4);
}

#[test]
fn an_answer_after_the_step_of_its_issue_is_refused() {
    let time = Arc::new(Mutex::new(0));
    let server = Server::new({
        let time = Arc::clone(&time);
        move |_, _| {
            // It takes its time.
            *time.lock().unwrap() = 11 * HOUR;
            Reply::ok(r#"{"hourly": {"time": []}}"#)
        }
    });
    let mut station = Station::new(&server);
    station.clock = At(time);
    let error = station.fetch(10 * HOUR + 600, false).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("after the step of its issue; fetch again"),
        "{error}"
    );
    let stored = station.fetch(10 * HOUR, true).unwrap_err();
    assert!(matches!(stored, SourceError::NotStored { .. }));
}

#[test]
fn nobody_waits_for_an_answer_that_would_come_after_the_step_of_its_issue() {
    let server = Server::new(|_, _| {
        let reason = "Minutely API request limit exceeded. Please try again in one minute.";
        let body = serde_json::json!({"error": true, "reason": reason}).to_string();
        Reply::Whole(429, Vec::new(), body.into())
    });
    let mut station = Station::new(&server);
    station.wanted().issued_every_s = 60;
    station.params.requests.give_up_after = Duration::from_hours(2);
    let now = 10 * HOUR + 10;
    let error = station.fetch(now, false).unwrap_err().to_string();
    let told = "the next try, in 61 s, would be too late, as the answer is of use before 1970-01-01 10:01 UTC only";
    assert!(error.contains(told), "{error}");
    assert_eq!((station.clock.now(), server.asked().len()), (now, 1));
}

#[test]
fn offline_an_answer_to_fewer_days_is_not_that_to_all() {
    let server = service(&["temperature_2m"]);
    let mut station = Station::new(&server);
    let days = |to| {
        Wanted::Days(DaysWanted {
            days: Days::Range { from: 0, to },
            days_per_request: 30,
            overlap_s: 0,
            by_issue: false,
            issued_every_s: None,
        })
    };
    station.params.wanted = days(Some(4));
    assert_eq!(station.table(4 * DAY).rows(), 120);
    station.params.wanted = days(Some(9));
    let error = station.fetch(20 * DAY, true).unwrap_err();
    assert!(matches!(error, SourceError::NotStored { .. }), "{error}");
    // Without an end the table ends where the last fetch ended.
    station.params.wanted = days(None);
    assert_eq!(station.fetch(40 * DAY, true).unwrap().table.rows(), 120);
    // But not before what is stored behind it.
    station.params.wanted = days(Some(40));
    let Wanted::Days(wanted) = &mut station.params.wanted else {
        panic!("a forecast");
    };
    wanted.days = Days::Range {
        from: 30,
        to: Some(40),
    };
    assert_eq!(station.table(40 * DAY).rows(), 11 * 24);
    station.params.wanted = days(None);
    let error = station.fetch(40 * DAY, true).unwrap_err();
    assert!(
        error.to_string().contains("&end_date=1970-01-30"),
        "{error}"
    );
}

#[test]
fn past_days_begin_at_the_same_line_and_end_offline_where_stored() {
    let server = service(&["temperature_2m"]);
    let mut station = Station::new(&server);
    station.params.wanted = Wanted::Days(DaysWanted {
        days: Days::Past(3),
        days_per_request: 4,
        overlap_s: 0,
        by_issue: false,
        issued_every_s: None,
    });
    let table = station.table(10 * DAY + HOUR);
    assert_eq!((table.times()[0], table.rows()), (7 * DAY, 96));
    assert_eq!(server.asked().len(), 2);
    // The first part was over and is still the first one.
    let table = station.table(11 * DAY + HOUR);
    assert_eq!((table.times()[0], table.rows()), (8 * DAY, 96));
    assert_eq!(server.asked().len(), 3);
    let offline = station.fetch(12 * DAY, true).unwrap().table;
    assert_eq!((offline.times()[0], offline.rows()), (9 * DAY, 72));
}

#[test]
fn an_archive_is_read_by_what_is_asked_for_now() {
    let server = service(&["temperature_2m", "cape"]);
    let mut station = Station::new(&server);
    station.wanted().forecast_days = 3;
    station.table(0);
    station.wanted().forecast_days = 2;
    station.wanted().past_days = 1;
    station.params.variables = vec!["cape".into(), "temperature_2m".into()];
    let table = station.table(10 * HOUR);
    // The first issue has no day before it and another variable less.
    assert_eq!(issues(&table), [(0, 48), (10 * HOUR, 72)]);
    assert_eq!((table.times()[0], table.times()[48]), (0, -DAY));
    let cape = &table.columns()[0];
    assert_eq!((cape.name.as_str(), cape.unit.as_str()), ("cape", "1"));
    assert!(cape.values[..48].iter().all(|value| value.is_nan()));
    assert!(cape.values[48..].iter().all(|value| !value.is_nan()));
    assert!(
        table.columns()[1]
            .values
            .iter()
            .all(|value| !value.is_nan())
    );

    // Another place joins; the first one keeps its issues, under its name.
    station.params.places = two_places();
    station.params.places_per_request = 10;
    station.wanted().past_days = 0;
    let table = station.table(DAY);
    let series = table.series().unwrap();
    let of = |name: &str| {
        (0..table.rows())
            .filter(|&row| series.name(row) == name)
            .count()
    };
    assert_eq!((of("calais"), of("dover")), (48 + 38 + 48, 48));
    assert_eq!(series.name(table.rows() - 1), "dover");
    assert!((table.columns()[1].values[table.rows() - 1] - 1071.02).abs() < 1e-9);
    let url = &server.asked()[2].path;
    assert!(url.contains("latitude=50.93,51.12&"), "{url}");
    // Alone again.
    station.params.places = Places::One(CALAIS);
    assert_eq!(issues(&station.fetch(0, true).unwrap().table).len(), 3);
    // Of other models nothing is stored.
    station.params.models = vec!["icon".into()];
    let error = station.fetch(0, true).unwrap_err();
    assert!(matches!(error, SourceError::NotStored { .. }), "{error}");
}

#[test]
fn a_damaged_issue_is_told_and_never_left_out() {
    let server = service(&["temperature_2m"]);
    let station = Station::new(&server);
    station.table(0);
    let bodies = station.project.path().join(".krammerti/responses/bodies");
    let body = bodies.join(&fs::list(&bodies).unwrap()[0]);
    fs::write_atomic(&body, b"{}").unwrap();
    let error = station.fetch(HOUR, false).unwrap_err().to_string();
    assert!(
        error.starts_with(".krammerti/responses/")
            && error.contains(
                "the stored forecast of 1970-01-01T00:00:00Z: its body is gone or damaged"
            ),
        "{error}"
    );
    let file = error.split(':').next().unwrap();
    fs::remove(&station.project.path().join(file)).unwrap();
    assert_eq!(issues(&station.table(HOUR)), [(HOUR, 23)]);
}

#[test]
fn an_archive_that_was_lost_is_taken_from_an_earlier_table() {
    let server = service(&["temperature_2m"]);
    let mut station = Station::new(&server);
    station.params.places = two_places();
    station.table(0);
    let whole = station.table(HOUR);
    let root = station.project.path().to_owned();
    fs::write_atomic(&root.join("old.parquet"), &to_parquet(&whole).unwrap()).unwrap();
    fs::remove(&root.join(".krammerti")).unwrap();
    assert_eq!(issues(&station.table(2 * HOUR)).len(), 1);
    station.wanted().earlier = Some("old.parquet".into());
    assert_eq!(
        OpenMeteo {
            params: &station.params
        }
        .inputs(),
        ["old.parquet"]
    );
    let table = station.table(3 * HOUR);
    assert_eq!(
        issues(&table),
        [(0, 48), (HOUR, 46), (2 * HOUR, 44), (3 * HOUR, 42)]
    );
    let keys: Vec<_> = (0..table.rows()).map(|row| table.key(row)).collect();
    assert!(keys.is_sorted());
    // Issues that are stored count, not those of the file.
    let again = Table::new(
        whole.times().to_vec(),
        whole
            .columns()
            .iter()
            .map(|column| Column {
                values: vec![-1.0; column.values.len()],
                ..column.clone()
            })
            .collect(),
    );
    let again = again
        .unwrap()
        .with_series(whole.series().unwrap().clone())
        .unwrap()
        .with_issues(vec![2 * HOUR; whole.rows()])
        .unwrap();
    fs::write_atomic(&root.join("old.parquet"), &to_parquet(&again).unwrap()).unwrap();
    let table = station.fetch(0, true).unwrap().table;
    assert!(table.columns()[0].values.iter().all(|&value| value > 0.0));

    let refuses = |table: Table, says: &str| {
        fs::write_atomic(&root.join("old.parquet"), &to_parquet(&table).unwrap()).unwrap();
        let error = station.fetch(0, true).unwrap_err().to_string();
        assert!(
            error.starts_with("old.parquet: ") && error.contains(says),
            "{error}"
        );
    };
    let plain = Table::new(whole.times().to_vec(), whole.columns().to_vec()).unwrap();
    refuses(plain, "expected forecasts with their issue times");
    let cape = Column {
        name: "cape".into(),
        ..whole.columns()[0].clone()
    };
    refuses(
        Table::new(whole.times().to_vec(), vec![cape]).unwrap(),
        "temperature_2m",
    );
    fs::write_atomic(&root.join("old.parquet"), b"no").unwrap();
    assert!(
        station
            .fetch(0, true)
            .unwrap_err()
            .to_string()
            .contains("not a readable Parquet")
    );
}

#[test]
fn an_earlier_table_may_lack_a_variable_and_its_other_places_are_told() {
    let server = service(&["temperature_2m", "cape"]);
    let mut station = Station::new(&server);
    station.params.places = two_places();
    let old = to_parquet(&station.table(0)).unwrap();
    let root = station.project.path().to_owned();
    fs::write_atomic(&root.join("old.parquet"), &old).unwrap();
    fs::remove(&root.join(".krammerti")).unwrap();
    station.wanted().earlier = Some("old.parquet".into());
    station.params.variables = vec!["cape".into(), "temperature_2m".into()];
    let fetched = station.fetch(HOUR, false).unwrap();
    assert_eq!(fetched.warnings, [""; 0]);
    let table = fetched.table;
    assert_eq!(issues(&table), [(0, 48), (HOUR, 46)]);
    let of_first = (0..table.rows()).filter(|&row| table.issues().unwrap()[row] == 0);
    let cape = &table.columns()[0];
    assert_eq!((cape.name.as_str(), cape.unit.as_str()), ("cape", "1"));
    assert_eq!(
        cape.values.iter().filter(|value| value.is_nan()).count(),
        48
    );
    assert!(of_first.into_iter().all(|row| cape.values[row].is_nan()));
    assert!(
        table.columns()[1]
            .values
            .iter()
            .all(|value| !value.is_nan())
    );

    station.params.places = Places::One(CALAIS);
    let fetched = station.fetch(2 * HOUR, false).unwrap();
    assert_eq!(
        fetched.warnings,
        [
            "48 rows of old.parquet are left out: they are of calais, dover, asked for is a place without a name; \
          `places` must have the names of the file"
        ]
    );
}

#[test]
fn days_of_several_places_and_of_earlier_runs() {
    let server = service(&["temperature_2m", "temperature_2m_previous_day1"]);
    let mut station = Station::new(&server);
    station.params.places = two_places();
    station.params.places_per_request = 2;
    let days = |by_issue| {
        Wanted::Days(DaysWanted {
            days: Days::Range {
                from: 0,
                to: Some(2),
            },
            days_per_request: 2,
            overlap_s: DAY,
            by_issue,
            issued_every_s: None,
        })
    };
    station.params.wanted = days(false);
    let fetched = station.fetch(9 * DAY, false).unwrap();
    let table = fetched.table;
    assert_eq!(server.asked().len(), 2);
    assert_eq!((table.rows(), fetched.news.unwrap().new), (144, 144));
    let series = table.series().unwrap();
    assert_eq!((series.name(71), series.name(72)), ("calais", "dover"));
    assert_eq!((table.times()[71], table.times()[72]), (3 * DAY - HOUR, 0));
    assert!(table.issues().is_none());
    // All is final.
    assert_eq!(station.table(9 * DAY), table);
    assert_eq!(server.asked().len(), 2);

    station.params.places = Places::One(CALAIS);
    station.params.variables = vec!["temperature_2m_previous_day1".into()];
    station.params.wanted = days(true);
    let table = station.table(9 * DAY);
    assert_eq!((table.rows(), table.times()[0]), (72, 0));
    assert_eq!(table.issues().unwrap()[0], -DAY);
    assert_eq!(table.columns()[0].name, "temperature_2m");
}

#[test]
fn a_wrong_answer_names_its_place() {
    let server = Server::new(|_, _| {
        Reply::ok(
            r#"[{"utc_offset_seconds":0,"hourly_units":{"temperature_2m":"°C"},
                "hourly":{"time":["1970-01-01T00:00"],"temperature_2m":[1]}},
                {"utc_offset_seconds":0,"hourly":{"time":[],"temperature_2m":[]}}]"#,
        )
    });
    let mut station = Station::new(&server);
    station.params.places = two_places();
    station.params.places_per_request = 2;
    let error = station.fetch(0, false).unwrap_err().to_string();
    assert!(
        error.contains("dover: expected temperature_2m in °C, received no unit"),
        "{error}"
    );
}
