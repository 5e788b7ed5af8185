//! The examples that need data of others, each with its own `pipeline.yaml` and `params.yaml`: on
//! cut-outs where those may be part of the project, otherwise on made-up tables with the same
//! faults. `scripts/check-examples` tries them on the real files where those are.

use std::path::Path;

use krammerti::data::{Table, from_parquet};
use serde_json::Value;

use crate::sandbox::{Ran, Sandbox};

/// An example, and outside of it the folder that `KRAMMERTI_DATA` names.
struct Example {
    project: Sandbox,
    data: Sandbox,
}

impl Example {
    fn new(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("examples")
            .join(name);
        let project = Sandbox::empty();
        for file in ["pipeline.yaml", "params.yaml"] {
            let text = std::fs::read_to_string(folder.join(file)).unwrap();
            project.write(file, &text);
        }
        Self {
            project,
            data: Sandbox::empty(),
        }
    }

    /// With a file of data. That its name ends in `.gz` does not matter: its content says what it is.
    fn with(self, file: &str, bytes: &[u8]) -> Self {
        std::fs::write(self.data.path(file), bytes).unwrap();
        self
    }

    fn run(&self, args: &[&str]) -> Ran {
        let mut command = self.project.command(args);
        command.env("KRAMMERTI_DATA", self.data.path(""));
        self.project.finish(&mut command)
    }

    /// Runs all of it, and looks whether a second run has nothing to do.
    fn run_all(&self) {
        self.run(&["run"]).ok();
        let again = self.run(&["run"]).ok();
        assert!(again.stderr.starts_with("nothing to do"), "{again}");
    }

    fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.project.read(path)).unwrap()
    }

    fn table(&self, path: &str) -> Table {
        from_parquet(std::fs::read(self.project.path(path)).unwrap()).unwrap()
    }

    /// The rows of a forecast, without the header.
    fn forecast(&self, path: &str) -> Vec<String> {
        let text = self.project.read(path);
        text.lines().skip(1).map(str::to_owned).collect()
    }
}

fn bundled(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    std::fs::read(folder.join(name)).unwrap()
}

/// The columns of a data set in words: name, role and unit.
fn columns(dataset: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let columns = dataset["columns"].as_array().unwrap().iter();
    columns
        .map(|column| {
            let words = [&column["name"], &column["role"], &column["unit"]];
            words.map(text).join(" ")
        })
        .collect()
}

fn column<'a>(dataset: &'a Value, name: &str) -> &'a Value {
    let mut columns = dataset["columns"].as_array().unwrap().iter();
    let found = columns.find(|column| column["name"] == name);
    found.unwrap_or_else(|| panic!("no column {name}"))
}

/// How many values of a column were filled, and how many are missing.
fn gaps(dataset: &Value, name: &str) -> (u64, u64) {
    let of = |key: &str| column(dataset, name)[key].as_u64().unwrap();
    (of("filled"), of("missing"))
}

/// What a quality report found: check, column, count.
fn found(report: &Value) -> Vec<(&str, &str, u64)> {
    let checks = report["checks"].as_array().unwrap().iter();
    checks
        .map(|check| {
            (
                check["check"].as_str().unwrap(),
                check["column"].as_str().unwrap_or("(rows)"),
                check["count"].as_u64().unwrap(),
            )
        })
        .filter(|(_, _, count)| *count > 0)
        .collect()
}

/// The row of a time, such as `2020-01-01T00:00:00Z`.
fn row(table: &Table, time: &str) -> usize {
    let time = krammerti::time::parse_time(time, None, 0).unwrap();
    table.times().iter().position(|at| *at == time).unwrap()
}

fn at(table: &Table, name: &str, time: &str) -> f64 {
    table.column(name).unwrap().values[row(table, time)]
}

#[track_caller]
fn near(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-6, "{found}, not {expected}");
}

const EXAMPLES: [(&str, &str); 5] = [
    ("beijing", "prsa-aotizhongxin.csv.gz"),
    ("jena", "jena-weather-2020.csv.gz"),
    ("co2-daily", "co2-daily-mlo.csv.gz"),
    ("co2-weekly", "co2-weekly-mlo.csv.gz"),
    ("gefcom", "gefcom2012-nwp-wf1.csv.gz"),
];

#[test]
fn without_data_an_example_says_what_to_get_and_where() {
    for (name, file) in EXAMPLES {
        let example = Example::new(name);
        let says = ["KRAMMERTI_DATA", "README.md says where"];
        example.project.run(&["run"]).fails(1, &says);
        example.run(&["run"]).fails(1, &[file, says[0], says[1]]);
        let readme =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("examples/{name}/README.md"));
        let readme = std::fs::read_to_string(readme).unwrap();
        assert!(readme.contains(file), "{name}");
        assert!(readme.contains("https://"), "{name}");
    }
}

#[test]
fn beijing_has_split_times_words_of_the_compass_and_gaps() {
    let example = Example::new("beijing").with(
        "prsa-aotizhongxin.csv.gz",
        &bundled("prsa-aotizhongxin-20-days-as-published.csv"),
    );
    let params = [
        ("lookback: 72, horizon: 24", "lookback: 24, horizon: 6"),
        (
            "  step: 1h\n",
            "  step: 1h\n  split: {validation_from: 2016-09-22, test_from: 2016-09-24}\n",
        ),
    ];
    for (whole, small) in params {
        example.project.edit("params.yaml", whole, small);
    }
    example.run_all();

    let raw = example.table("raw.parquet");
    assert_eq!(raw.rows(), 480);
    // Local midnight of 11 September, and an hour with a wind from the north-east.
    assert_eq!(raw.times()[0], 1_473_523_200);
    near(at(&raw, "wind_direction", "2016-09-27T08:00:00Z"), 45.0);
    let missing = |name: &str| {
        let values = &raw.column(name).unwrap().values;
        values.iter().filter(|value| value.is_nan()).count()
    };
    let names = ["temperature", "wind_direction", "wind_speed"];
    assert_eq!(names.map(missing), [7, 15, 5]);

    let dataset = example.json("data/dataset.json");
    assert_eq!(dataset["first_time"], "2016-09-10T16:00:00Z");
    assert_eq!(dataset["rows"]["rows_out"], 480);
    // The hour of 14 September is filled, the six of 25 September are not.
    assert_eq!(gaps(&dataset, "temperature"), (1, 6));
    assert_eq!(gaps(&dataset, "wind_vector_u"), (6, 5));
    let roles = [
        "temperature target °C",
        "dew_point past °C",
        "wind_speed past m/s",
        "wind_vector_u past m/s",
        "wind_vector_v past m/s",
        "filled past 1",
        "temperature_filled past 1",
        "hour_of_day_sin future 1",
        "temperature_lag_1d past °C",
        "pressure_change_3h past hPa",
        "temperature_max_1d past °C",
    ];
    let there = columns(&dataset);
    for role in roles {
        assert!(there.iter().any(|column| column == role), "{there:?}");
    }
    assert!(!there.iter().any(|column| column.contains("direction")));
    let zone = &column(&dataset, "hour_of_day_sin")["source"]["calendar"]["zone"];
    assert_eq!(zone, "Asia/Shanghai");
    // 18:00 in Beijing.
    let series = example.table("data/series.parquet");
    near(at(&series, "hour_of_day_sin", "2016-09-27T10:00:00Z"), -1.0);

    let rows = example.forecast("forecast/forecast.csv");
    assert_eq!(rows.len(), 6);
    assert!(rows[0].contains("2016-09-30T16:00:00Z"), "{rows:?}");
}

/// A number from 0 to 1 that looks random, the same for one step on any machine.
fn noise(step: u32) -> f64 {
    f64::from(step.wrapping_mul(2_654_435_761) >> 16) / 65_536.0
}

/// The header of the station in Jena; in latin-1 each character of it is one byte.
const JENA: &str = "date,p (mbar),T (degC),Tpot (K),Tdew (degC),rh (%),VPmax (mbar),VPact (mbar),VPdef (mbar),\
                    sh (g/kg),H2OC (mmol/mol),rho (g/m**3),wv (m/s),max. wv (m/s),wd (deg),rain (mm),raining (s),\
                    SWDR (W/m²),PAR (µmol/m²/s),max. PAR (µmol/m²/s),Tlog (degC),OT\n";

/// Thirty days of ten minutes as the station in Jena publishes them: on UTC+1, with its sentinels,
/// one row twice, an hour and forty minutes without a row, and a wind that turns about north.
fn jena() -> Vec<u8> {
    let mut text = JENA.to_owned();
    for step in (1..=30 * 144_u32).filter(|step| !(1441..1451).contains(step)) {
        let (day, hour, minute) = (step / 144 + 1, step % 144 / 6, step % 6 * 10);
        let noise = noise(step);
        let wave = (f64::from(step) / 144.0 * std::f64::consts::TAU).sin();
        let light = (-300.0 * wave).max(0.0);
        let (temperature, pressure) = (3.0 - 4.0 * wave + noise, 990.0 + 4.0 * wave + noise);
        let (dew_point, humidity) = (temperature - 2.0, 80.0 + 5.0 * noise);
        let wind = if step == 200 { -9999.0 } else { 3.0 + noise };
        let gust = if step % 6 == 2 { 7.5 } else { 5.0 + noise };
        let direction = if step.is_multiple_of(2) { 350 } else { 10 };
        let rain = if step % 12 == 3 { 0.2 } else { 0.0 };
        let par = 2.0 * light;
        let largest = if (300..303).contains(&step) {
            -9999.0
        } else {
            2.5 * light
        };
        let line = format!(
            "2020-01-{day:02} {hour:02}:{minute:02}:00,{pressure:.2},{temperature:.2},276.1,{dew_point:.2},\
             {humidity:.1},7.1,6.2,0.9,3.4,5.5,1280.6,{wind:.2},{gust:.2},{direction},{rain:.1},0.0,{light:.2},\
             {par:.2},{largest:.2},4.5,428.1\n"
        );
        text.push_str(&line);
        if step == 700 {
            text.push_str(&line);
        }
    }
    text.chars()
        .map(|c| u8::try_from(u32::from(c)).unwrap())
        .collect()
}

#[test]
fn jena_has_latin_1_sentinels_and_six_rows_an_hour() {
    let data = jena();
    assert!(std::str::from_utf8(&data).is_err());
    let example = Example::new("jena").with("jena-weather-2020.csv.gz", &data);
    let whole = "lookback: 72, horizon: 24";
    example
        .project
        .edit("params.yaml", whole, "lookback: 24, horizon: 12");
    example.run_all();

    let report = example.json("data/quality.json");
    let faults: [(&str, &str, u64); 3] = [
        ("duplicates", "(rows)", 1),
        ("sentinels", "largest_par", 3),
        ("sentinels", "wind_speed", 1),
    ];
    assert_eq!(found(&report), faults);
    assert_eq!(report["masked"], 4);
    let dataset = example.json("data/dataset.json");
    let rows = &dataset["rows"];
    assert_eq!(
        (&rows["rows_in"], &rows["duplicates"]),
        (&4311.into(), &1.into())
    );
    // From 00:10 on UTC+1, so the first whole hour ends at midnight UTC.
    assert_eq!(dataset["first_time"], "2020-01-01T00:00:00Z");
    assert_eq!(dataset["last_time"], "2020-01-30T23:00:00Z");
    assert_eq!(
        (&rows["rows_out"], &rows["missing_rows"]),
        (&720.into(), &1.into())
    );
    // One hour without a row, and one with a third of its rows, which is too little: both are filled.
    assert_eq!(gaps(&dataset, "temperature"), (2, 0));
    assert_eq!(gaps(&dataset, "largest_par"), (2, 0));
    let how = |name: &str| column(&dataset, name)["source"]["observed"]["aggregate"].clone();
    let names = ["temperature", "wind_gust", "rain", "largest_par"];
    assert_eq!(names.map(how), ["mean", "max", "sum", "max"]);
    let roles = [
        "temperature target °C",
        "pressure past hPa",
        "wind_gust past m/s",
        "radiation past W/m²",
        "wind_vector_v past m/s",
        "sun_elevation_sin future 1",
        "hour_of_day_cos future 1",
    ];
    let there = columns(&dataset);
    for role in roles {
        assert!(there.iter().any(|column| column == role), "{there:?}");
    }

    // 350° and 10° are a wind from the north: none to the east, and all of it to the south.
    let series = example.table("data/series.parquet");
    let noon = "2020-01-05T12:00:00Z";
    near(at(&series, "wind_gust", noon), 7.5);
    assert!(at(&series, "wind_vector_u", noon).abs() < 0.2);
    assert!(at(&series, "wind_vector_v", noon) < -2.9);
    // Of 0.2 mm every two hours.
    let rain =
        ["2020-01-05T12:00:00Z", "2020-01-05T13:00:00Z"].map(|time| at(&series, "rain", time));
    near(rain[0] + rain[1], 0.2);
    assert_eq!(example.forecast("forecast/forecast.csv").len(), 12);
}

#[test]
fn days_of_co2_become_regular_days_and_weeks() {
    let example = Example::new("co2-daily").with(
        "co2-daily-mlo.csv.gz",
        &bundled("co2-daily-mlo-1974-1979.csv"),
    );
    let shares = "train: 0.7, validation: 0.1, test: 0.2";
    example.project.edit(
        "params.yaml",
        shares,
        "train: 0.5, validation: 0.25, test: 0.25",
    );
    example.run_all();

    assert_eq!(example.table("raw.parquet").rows(), 1466);
    let days = example.json("data/days/dataset.json");
    assert_eq!(days["first_time"], "1974-05-17T00:00:00Z");
    let weeks = example.json("data/weeks/dataset.json");
    // Days that were not there; weeks without a day, and those with less than half of their days.
    let rows = |dataset: &Value| {
        (
            dataset["rows"]["rows_out"].clone(),
            dataset["rows"]["missing_rows"].clone(),
        )
    };
    assert_eq!(rows(&days), (2055.into(), 589.into()));
    assert_eq!(rows(&weeks), (293.into(), 6.into()));
    assert_eq!(gaps(&days, "co2"), (526, 63));
    assert_eq!(gaps(&weeks, "co2"), (46, 9));
    for (name, dataset, hours) in [("days", &days, 24), ("weeks", &weeks, 7 * 24)] {
        let there = columns(dataset);
        assert_eq!(there[0], "co2 target ppm");
        let season = "day_of_year_sin future 1";
        assert!(there.iter().any(|column| column == season), "{there:?}");
        let series = example.table(&format!("data/{name}/series.parquet"));
        let mut pairs = series.times().windows(2);
        assert!(pairs.all(|pair| pair[1] - pair[0] == hours * HOUR));
        let rows = example.forecast(&format!("forecasts/{name}/forecast.csv"));
        assert_eq!(rows.len(), 14, "{name}");
    }
}

#[test]
fn weeks_of_co2_have_no_value_of_minus_999() {
    let example = Example::new("co2-weekly").with(
        "co2-weekly-mlo.csv.gz",
        &bundled("co2-weekly-mlo-as-published.csv"),
    );
    let whole = "lookback: 26, horizon: 13, lags: 26";
    example
        .project
        .edit("params.yaml", whole, "lookback: 4, horizon: 2, lags: 4");
    example.run_all();

    let raw = example.table("raw.parquet");
    assert_eq!(raw.rows(), 104);
    near(at(&raw, "co2", "1975-10-05T00:00:00Z"), -999.99);
    let report = example.json("data/quality.json");
    assert!(
        found(&report).contains(&("sentinels", "co2", 6)),
        "{report}"
    );
    let dataset = example.json("data/dataset.json");
    // The four weeks of December 1975 are more than are filled.
    assert_eq!(gaps(&dataset, "co2"), (2, 4));
    assert!(column(&dataset, "co2")["min"].as_f64().unwrap() > 300.0);
    let rows = example.forecast("forecast/forecast.csv");
    assert_eq!(rows.len(), 2);
    assert!(rows[0].contains("1977-01-02T00:00:00Z"), "{rows:?}");
}

const HOUR: i64 = 3600;
/// 1 July 2009, when the data of the competition begin.
const GEFCOM: i64 = 1_246_406_400;
/// Hours without a gap; then 36 there and 48 not, as in the test part of the competition.
const WHOLE: i64 = 60 * 24;
/// How many times after that.
const CYCLES: i64 = 7;

fn stamp(hour: i64) -> String {
    let time = krammerti::time::format_utc(GEFCOM + hour * HOUR);
    time[..13].replace(['-', 'T'], "")
}

/// Whether the power of an hour is known.
fn is_known(hour: i64) -> bool {
    hour <= WHOLE || (hour - WHOLE - 1) % 84 >= 48
}

fn last_hour() -> i64 {
    WHOLE + CYCLES * 84
}

/// The wind that blows, in m/s.
fn wind(hour: i64) -> f64 {
    let hour = hour as f64;
    7.0 + 3.0 * (hour / 17.0).sin() + 2.0 * (hour / 5.3).sin()
}

/// Hourly power of seven farms, as a share of what they can give.
fn farms() -> String {
    let mut text = "date,wp1,wp2,wp3,wp4,wp5,wp6,wp7\n".to_owned();
    for hour in (0..=last_hour()).filter(|&hour| is_known(hour)) {
        let power = ((wind(hour) - 2.0) / 12.0).clamp(0.0, 1.0);
        let noise = 0.05 * noise(hour as u32);
        let powers =
            (0..7).map(|farm| format!("{:.3}", power * (0.95 - 0.05 * f64::from(farm)) + noise));
        text.push_str(&format!(
            "{},{}\n",
            stamp(hour),
            powers.collect::<Vec<_>>().join(",")
        ));
    }
    text
}

/// Forecasts of the wind, two a day for 48 hours: `wrong` is added to those that one run makes.
/// No run speaks of a gap in which it was made.
fn forecasts(wrong: Option<(i64, f64)>) -> String {
    let mut text = "date,hors,u,v,ws,wd\n".to_owned();
    for issue in (0..=last_hour()).step_by(12) {
        for lead in 1..=48 {
            let (hour, issued) = (issue + lead, stamp(issue));
            if (issue..=hour).all(|hour| !is_known(hour)) {
                text.push_str(&format!("{issued},{lead},NA,NA,NA,NA\n"));
                continue;
            }
            let error = 0.02 * lead as f64 * (noise((issue * 48 + lead) as u32) - 0.5);
            let wrong = wrong
                .filter(|(run, _)| *run == issue)
                .map_or(0.0, |(_, by)| by);
            let speed = (wind(hour) + error + wrong).max(0.0);
            let part = speed * std::f64::consts::FRAC_1_SQRT_2;
            text.push_str(&format!(
                "{issued},{lead},{part:.2},{part:.2},{speed:.2},225\n"
            ));
        }
    }
    text
}

const FARMS: &str = "gefcom2012-wind-train.csv.gz";
const RUNS: &str = "gefcom2012-nwp-wf1.csv.gz";

#[test]
fn gefcom_joins_forecasts_when_they_could_be_known() {
    let example = Example::new("gefcom")
        .with(FARMS, farms().as_bytes())
        .with(RUNS, forecasts(None).as_bytes());
    example.run_all();

    let dataset = example.json("data/dataset.json");
    assert_eq!(dataset["first_time"], "2009-07-01T00:00:00Z");
    assert_eq!(dataset["rows"]["missing_rows"], 48 * CYCLES);
    let joined = &dataset["forecasts"];
    assert_eq!(
        (&joined["delay_s"], &joined["runs"]),
        (&10_800.into(), &170.into())
    );
    assert_eq!(joined["first_issue"], "2009-07-01T00:00:00Z");
    assert_eq!(joined["last_issue"], "2009-09-23T12:00:00Z");
    let roles = [
        "power target 1",
        "hour_of_day_sin future 1",
        "forecast_u forecast m/s",
        "forecast_wind_speed forecast m/s",
        "forecast_lead forecast h",
    ];
    let there = columns(&dataset);
    for role in roles {
        assert!(there.iter().any(|column| column == role), "{there:?}");
    }
    let runs = example.table("data/forecasts.parquet");
    let leads = runs.times().iter().zip(runs.issues().unwrap());
    let mut leads = leads.map(|(time, issue)| (time - issue) / HOUR);
    assert!(leads.all(|lead| (1..=48).contains(&lead)));
    // The wind is forecast well, so power can be too.
    let metrics = example.json("report/metrics.json");
    assert!(
        metrics["skill"]["persistence"].as_f64().unwrap() > 0.5,
        "{metrics}"
    );

    let rows = example.forecast("forecast/forecast.csv");
    assert_eq!(rows.len(), 24);
    assert!(rows[0].contains("2009-09-23T13:00:00Z"), "{rows:?}");
    // The run of noon is there three hours later: whatever it says, nobody at noon knew.
    let forecast = |wrong| {
        let text = forecasts(Some((wrong, 5.0)));
        std::fs::write(example.data.path(RUNS), text).unwrap();
        example.run(&["run", "--force", "data"]).ok();
        example.run(&["run", "predict"]).ok();
        example.forecast("forecast/forecast.csv")
    };
    assert_eq!(forecast(last_hour()), rows);
    assert_ne!(forecast(last_hour() - 12), rows);

    // Of runs that come later after their issue the model knows nothing.
    let later = [
        "prepare",
        "power.parquet",
        "wind.parquet",
        "--out",
        "later",
        "--set",
        "prepare.forecasts.delay=6h",
    ];
    example.run(&later).ok();
    let told = "prepare.forecasts.delay must be the same";
    let predict = ["predict", "model", "--data", "later", "--out", "none"];
    example
        .run(&predict)
        .fails(1, &["10800 s", "21600 s", told]);
}
