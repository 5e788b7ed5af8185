//! Several targets in one model, through the real binary.

use serde_json::Value;

use crate::sandbox::Sandbox;

const ONE: &str = "target: temperature_2m";
const TWO: &str = "target: [temperature_2m, wind_speed_10m]";

fn of_two_targets() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.edit("params.yaml", ONE, TWO);
    sandbox
}

fn json(sandbox: &Sandbox, path: &str) -> Value {
    serde_json::from_str(&sandbox.read(path)).unwrap()
}

#[test]
fn a_pipeline_forecasts_both() {
    let sandbox = of_two_targets();
    let ran = sandbox.run(&["run"]).ok();
    for told in [
        "RMSE of temperature_2m in °C",
        "RMSE of wind_speed_10m in m/s",
        "Plot: report/skill-wind_speed_10m.svg",
        "Forecast of wind_speed_10m in m/s",
        "Feels like: of the mean, with forecast wind.",
    ] {
        assert!(ran.stdout.contains(told), "{told}: {ran}");
    }
    assert!(ran.stdout.lines().all(|line| line.chars().count() <= 80));

    let metrics = json(&sandbox, "report/metrics.json");
    for (target, unit) in [("temperature_2m", "°C"), ("wind_speed_10m", "m/s")] {
        let report = &metrics["targets"][target];
        assert_eq!(report["unit"], unit);
        assert!(report["overall"]["rmse"].as_f64().unwrap() > 0.0);
        assert!(report["skill"]["persistence"].as_f64().unwrap() > 0.0);
        assert_eq!(report["by_lead"].as_array().unwrap().len(), 6);
        assert!(report["coverage"]["share"].as_f64().unwrap() > 0.5);
        assert!(sandbox.has(&format!("report/skill-{target}.svg")));
        assert!(sandbox.has(&format!("forecast/forecast-{target}.svg")));
    }

    let forecasts = json(&sandbox, "forecast/forecast.json");
    let [temperature, wind] = [0, 1].map(|place| &forecasts[place]);
    assert_eq!(wind["target"], "wind_speed_10m");
    assert!(wind.get("feels_like_method").is_none());
    // At leads of some warmth there is no wind chill, so a lead is looked for that has one.
    let chilled = |lead: usize| {
        let of = |forecast: &Value, name: &str| forecast["leads"][lead][name].as_f64().unwrap();
        let (mean, felt) = (of(temperature, "mean"), of(temperature, "feels_like"));
        let expected = krammerti::physics::feels_like_c(mean, of(wind, "mean").max(0.0), None);
        assert!((felt - expected).abs() < 1e-9, "{lead}: {felt} {expected}");
        felt < mean
    };
    let leads: Vec<bool> = (0..6).map(chilled).collect();
    assert!(leads.contains(&true), "{forecasts}");

    let csv = sandbox.read("forecast/forecast.csv");
    let header = "valid_time,lead_h,temperature_2m mean [°C],temperature_2m q0.1 [°C],\
        temperature_2m q0.5 [°C],temperature_2m q0.9 [°C],feels_like [°C],\
        wind_speed_10m mean [m/s],wind_speed_10m q0.1 [m/s],wind_speed_10m q0.5 [m/s],\
        wind_speed_10m q0.9 [m/s]";
    assert_eq!(csv.lines().next(), Some(header));
    assert!(csv.lines().all(|line| line.split(',').count() == 11));
    assert_eq!(csv.lines().count(), 7);
}

/// A list of one is that one: not a byte is another.
#[test]
fn one_in_a_list_is_one() {
    let (plain, listed) = (Sandbox::new(), Sandbox::new());
    listed.edit("params.yaml", ONE, "target: [temperature_2m]");
    plain.run(&["run"]).ok();
    listed.run(&["run"]).ok();
    let made = |sandbox: &Sandbox| {
        let mut made = sandbox.artifacts();
        made.retain(|(path, _)| path.contains('/'));
        made
    };
    assert!(made(&plain).len() > 8 && made(&plain) == made(&listed));
}

#[test]
fn each_target_is_held_to_the_gate() {
    for targets in [
        ["temperature_2m", "wind_speed_10m"],
        ["wind_speed_10m", "temperature_2m"],
    ] {
        let sandbox = Sandbox::new();
        let list = targets.join(", ");
        sandbox.edit("params.yaml", ONE, &format!("target: [{list}]"));
        let baselines = "evaluate: {baselines: [persistence]}\npredict:";
        sandbox.edit("params.yaml", "predict:", baselines);
        sandbox.run(&["run", "evaluate"]).ok();
        let metrics = json(&sandbox, "report/metrics.json");
        let skills = targets.map(|target| {
            let skill = &metrics["targets"][target]["skill"]["persistence"];
            skill.as_f64().unwrap()
        });
        let between = f64::midpoint(skills[0], skills[1]);
        let gated = format!("[persistence], minimum_skill: {between}}}");
        sandbox.edit("params.yaml", "[persistence]}", &gated);
        let worse = targets[usize::from(skills[1] < skills[0])];
        let told = format!("skill of {worse} against persistence is");
        sandbox.run(&["run", "evaluate"]).fails(3, &[&told]);
    }
}

#[test]
fn a_target_that_ended_holds_the_forecast_back_and_is_told() {
    let sandbox = of_two_targets();
    let text = sandbox.read("station.csv");
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let wind = lines[0]
        .split(',')
        .position(|name| name == "wind_speed_10m")
        .unwrap();
    let last = lines.len() - 5;
    for line in &mut lines[last..] {
        let mut values: Vec<&str> = line.split(',').collect();
        values[wind] = "";
        *line = values.join(",");
    }
    sandbox.write("station.csv", &(lines.join("\n") + "\n"));
    let ran = sandbox.run(&["run"]).ok();
    let told = "there is no wind_speed_10m after it";
    assert!(ran.stderr.contains(told), "{ran}");
    assert!(!of_two_targets().run(&["run"]).ok().stderr.contains(told));
}

#[test]
fn every_target_of_shares_needs_both_bounds() {
    let sandbox = of_two_targets();
    let beta = "kind: deepar, hidden: 4, distribution: beta, \
                bounds: {temperature_2m: {lower: -30, upper: 50}}";
    sandbox.edit("params.yaml", "kind: ridge", beta);
    let told = "of every target, between which distribution beta speaks of shares; \
                wind_speed_10m has not both";
    sandbox.run(&["run", "train"]).fails(2, &[told]);
}

#[test]
fn metrics_of_targets_are_compared_by_their_names() {
    let sandbox = of_two_targets();
    sandbox.run(&["run"]).ok();
    for args in [
        &["init", "-q"][..],
        &["add", "-f", "pipeline.yaml", "params.yaml", "pipeline.lock"],
        &["add", "-f", "report"],
        &[
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@localhost",
            "commit",
            "-qm",
            "all",
        ],
    ] {
        let mut git = std::process::Command::new("git");
        let status = git.args(args).current_dir(sandbox.path("")).status();
        assert!(status.unwrap().success(), "{args:?}");
    }
    sandbox.edit("params.yaml", "kind: ridge", "kind: ridge, penalty: 10");
    sandbox.run(&["run"]).ok();
    let diff = sandbox.run(&["diff"]).ok().stdout;
    for name in [
        "targets.temperature_2m.overall.rmse",
        "targets.wind_speed_10m.overall.rmse",
    ] {
        assert!(diff.contains(name), "{diff}");
    }
}

#[test]
fn a_net_keeps_each_target_in_its_bounds() {
    let sandbox = of_two_targets();
    let bounded = "kind: lstm, hidden: 8, bounds: {wind_speed_10m: {lower: 3, upper: 4}}";
    sandbox.edit("params.yaml", "kind: ridge", bounded);
    let ran = sandbox.run(&["run"]).ok();
    // Errors of both have no unit in common.
    assert!(ran.stderr.contains("(scaled)"), "{ran}");
    let forecasts = json(&sandbox, "forecast/forecast.json");
    let values = |place: usize| {
        let leads = forecasts[place]["leads"].as_array().unwrap().clone();
        let values = leads.into_iter().flat_map(|lead| {
            let quantiles = lead["quantiles"].as_array().unwrap().clone();
            quantiles.into_iter().chain([lead["mean"].clone()])
        });
        values
            .map(|value| value.as_f64().unwrap())
            .collect::<Vec<f64>>()
    };
    assert!(values(1).iter().all(|wind| (3.0..=4.0).contains(wind)));
    assert!(values(0).iter().any(|value| !(3.0..=4.0).contains(value)));
    let model = json(&sandbox, "model/model.json");
    let targets = serde_json::json!(["temperature_2m", "wind_speed_10m"]);
    assert_eq!(model["target"], targets);

    sandbox.edit("params.yaml", "bounds: {wind_speed_10m", "bounds: {wind");
    let told = "model.bounds: expected a target of the data set (temperature_2m, wind_speed_10m), \
                found `wind`";
    sandbox.run(&["run"]).fails(2, &[told]);
}

#[test]
fn a_model_refuses_data_with_other_targets() {
    let sandbox = Sandbox::new();
    sandbox.run(&["run", "train"]).ok();
    sandbox.edit("params.yaml", ONE, TWO);
    sandbox
        .run(&["prepare", "raw.parquet", "--out", "both"])
        .ok();
    let both = ["predict", "model", "--data", "both", "--out", "forecast"];
    sandbox
        .run(&both)
        .fails(1, &["model does not fit both", "(target, m/s)"]);
}

#[test]
fn what_names_no_targets_is_refused() {
    for (target, told) in [
        (
            "[]",
            "prepare.target: expected at least one column to forecast",
        ),
        (
            "[temperature_2m, temperature_2m]",
            "found `temperature_2m` twice",
        ),
        ("[temperature_2m, wimd]", "wimd"),
        (
            "{temperature_2m: 1}",
            "the name of a column, or a list of names",
        ),
    ] {
        let sandbox = Sandbox::new();
        sandbox.edit("params.yaml", ONE, &format!("target: {target}"));
        let ran = sandbox.run(&["run", "prepare"]);
        assert_ne!(ran.code, Some(0), "{ran}");
        assert!(ran.stderr.contains(told), "{target}: {ran}");
        assert!(!ran.stderr.contains("panicked"), "{ran}");
    }
}

/// Temperature comes from one file and wind from another, of two stations each; with the rows of the first one, and how
/// many a station has.
fn of_two_files() -> (Sandbox, String, usize) {
    let sandbox = Sandbox::new();
    let text = sandbox.read("station.csv");
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    let place = |name: &str| header.iter().position(|column| *column == name).unwrap();
    let places = ["temperature_2m", "wind_speed_10m"].map(place);
    let (mut warm, mut wind) = (String::new(), String::new());
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    for (name, shift) in [("a", 0.0), ("b", 5.0)] {
        for row in &rows {
            let value = |place: usize| row[place].parse::<f64>().unwrap();
            warm += &format!("{},{name},{}\n", row[0], value(places[0]) + shift);
            wind += &format!("{},{name},{}\n", row[0], value(places[1]));
        }
    }
    sandbox.write("warm.csv", &format!("time,place,temperature_2m\n{warm}"));
    sandbox.write("wind.csv", &format!("time,place,wind_speed_10m\n{wind}"));
    let source = |path: &str, column: &str, unit: &str| {
        format!(
            "{{kind: file, path: {path}.csv, time: {{column: time}}, series: {{column: place}}, \
             columns: {{{column}: {{unit: {unit}}}}}}}"
        )
    };
    sandbox.write(
        "params.yaml",
        &format!(
            "sources:\n  warm: {}\n  wind: {}\n\
             prepare: {{target: temperature_2m, step: 1h, calendar: [hour_of_day]}}\n\
             model: {{kind: ridge, lookback: 24, horizon: 6}}\n",
            source("warm", "temperature_2m", "°C"),
            source("wind", "wind_speed_10m", "m/s")
        ),
    );
    sandbox.write(
        "pipeline.yaml",
        "stages:\n  \
         warm: {cmd: krammerti fetch warm --out warm.parquet}\n  \
         wind: {cmd: krammerti fetch wind --out wind.parquet}\n  \
         prepare: {cmd: krammerti prepare warm.parquet wind.parquet --out data}\n  \
         train: {cmd: krammerti train data --out model}\n  \
         evaluate: {cmd: krammerti evaluate model --data data --out report}\n",
    );
    (sandbox, warm, rows.len())
}

#[test]
fn each_of_two_files_is_checked_and_what_never_meets_is_not_joined() {
    let (sandbox, ..) = of_two_files();
    let columns = "step: 1h, columns: [temperature_2m, wind_speed_10m]";
    sandbox.edit("params.yaml", "step: 1h", columns);
    sandbox.run(&["run", "prepare"]).ok();
    for (file, lacks) in [("warm", "wind_speed_10m"), ("wind", "temperature_2m")] {
        let ran = sandbox.run(&["check", &format!("{file}.parquet")]).ok();
        let told = format!("without {lacks}, which is not in this file");
        assert!(ran.stderr.contains(&told), "{ran}");
    }
    sandbox
        .run(&[
            "check",
            "warm.parquet",
            "--set",
            "prepare.columns=[wimd]",
            "--set",
            "prepare.target=x",
        ])
        .fails(2, &["no column wimd"]);
    // A data set has what became of its columns, and lacks none.
    let single = Sandbox::new();
    let columns = "target: temperature_2m\n  columns: [wind_speed_10m, wind_direction_10m]";
    single.edit("params.yaml", "target: temperature_2m", columns);
    single.run(&["run", "prepare"]).ok();
    for path in ["raw.parquet", "data"] {
        let ran = single.run(&["check", path]).ok();
        assert!(!ran.stderr.contains("checked without"), "{ran}");
    }
    let between = sandbox.read("wind.csv").replace(":00Z", ":30Z");
    sandbox.write("wind.csv", &between);
    let told = "its rows stand 1800 s after a multiple of 1h, those of the tables before it 0 s";
    sandbox.run(&["run", "prepare"]).fails(1, &[told]);
}

#[test]
fn columns_of_two_files_are_joined_by_series_and_time() {
    let (sandbox, warm, rows) = of_two_files();
    let ran = sandbox.run(&["run"]).ok();
    let meta = json(&sandbox, "data/dataset.json");
    let named = |name: &str| {
        let columns = meta["columns"].as_array().unwrap();
        columns
            .iter()
            .find(|column| column["name"] == name)
            .unwrap()
            .clone()
    };
    assert_eq!(meta["rows"]["missing_rows"], 0);
    assert_eq!(meta["rows"]["rows_out"], 2 * rows);
    assert_eq!(named("wind_speed_10m")["missing"], 0);
    assert_eq!(named("temperature_2m")["role"], "target");

    let metrics = json(&sandbox, "report/metrics.json");
    let by_series = metrics["by_series"].as_array().unwrap();
    let rmse = |of: &Value| of["rmse"].as_f64().unwrap();
    assert_eq!([&by_series[0]["name"], &by_series[1]["name"]], ["a", "b"]);
    // Both have as many windows.
    let mean = by_series.iter().map(|of| rmse(of).powi(2)).sum::<f64>() / 2.0;
    assert!((mean.sqrt() - rmse(&metrics["overall"])).abs() < 1e-9);
    assert!(ran.stdout.contains("largest RMSE of 2 series: "), "{ran}");

    // What is asked for comes from where it is; equal rows stay equal; and weather that was known before
    // there was anything to forecast is no part of a series.
    let mut late: Vec<&str> = warm.lines().collect();
    late.drain(..300);
    late.push(late[5]);
    sandbox.write(
        "warm.csv",
        &format!("time,place,temperature_2m\n{}\n", late.join("\n")),
    );
    let columns = "step: 1h, columns: [temperature_2m, wind_speed_10m]";
    sandbox.edit("params.yaml", "step: 1h", columns);
    sandbox.run(&["run", "prepare"]).ok();
    let meta = json(&sandbox, "data/dataset.json");
    assert_eq!(meta["series"][0]["rows"], rows - 300);
    assert_eq!(meta["series"][1]["rows"], rows);
    assert_eq!(meta["rows"]["duplicates"], 1);
    sandbox.edit(
        "params.yaml",
        ", columns: [temperature_2m, wind_speed_10m]",
        ", columns: [temperature_2m]",
    );
    sandbox.run(&["run", "prepare"]).ok();
    assert!(!sandbox.read("data/dataset.json").contains("wind_speed_10m"));
    sandbox.edit(
        "params.yaml",
        "target: temperature_2m",
        "target: temperatur",
    );
    sandbox
        .run(&["run", "prepare"])
        .fails(2, &["no column temperatur; there are temperature_2m"]);
}

/// Told again from files that know nothing of the order in which targets were named.
#[test]
fn scores_are_told_again_in_the_same_order() {
    let sandbox = Sandbox::new();
    sandbox.edit(
        "params.yaml",
        ONE,
        "target: [wind_speed_10m, temperature_2m]",
    );
    let ran = sandbox.run(&["run"]).ok();
    for (command, out) in [("evaluate", "report"), ("predict", "forecast")] {
        let again = sandbox
            .run(&[command, "model", "--data", "data", "--out", out])
            .ok();
        assert!(ran.stdout.contains(&again.stdout), "{ran}\n{again}");
    }
}
