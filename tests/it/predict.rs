//! Forecasts of data that come late or not at all, and of models that are damaged.

use crate::sandbox::Sandbox;

/// A sandbox that has been run, whose column has no value in the last rows of its source.
fn without_the_last(column: &str, rows: usize) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.run(&["run"]).ok();
    let text = sandbox.read("station.csv");
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let place = lines[0].split(',').position(|name| name == column).unwrap();
    let kept = lines.len() - rows;
    for line in &mut lines[kept..] {
        let mut values: Vec<&str> = line.split(',').collect();
        values[place] = "";
        *line = values.join(",");
    }
    sandbox.write("station.csv", &(lines.join("\n") + "\n"));
    sandbox.run(&["run", "prepare"]).ok();
    sandbox
}

const PREDICT: [&str; 6] = ["predict", "model", "--data", "data", "--out", "next"];

#[test]
fn a_forecast_from_before_the_end_of_the_data_is_told() {
    for (column, rows) in [("temperature_2m", 5), ("wind_speed_10m", 2)] {
        let sandbox = without_the_last(column, rows);
        let ran = sandbox.run(&PREDICT).ok();
        let told = format!("{rows} h before the end of the data: there is no {column} after it");
        assert!(ran.stderr.contains(&told), "{told}\n{ran}");
    }
    let sandbox = Sandbox::new();
    let ran = sandbox.run(&["run"]).ok();
    assert!(!ran.stderr.contains("end of the data"), "{ran}");
}

#[test]
fn a_forecast_of_what_is_past_is_none() {
    let sandbox = without_the_last("wind_speed_10m", 6);
    let told =
        "6 h before the end of the data: there is no wind_speed_10m after it; all it could say";
    sandbox.run(&PREDICT).fails(1, &[told]);
}

/// Horizon and outage are of six hours.
#[test]
fn an_outage_longer_than_the_horizon_is_bridged_by_what_was_filled() {
    let sandbox = without_the_last("temperature_2m", 8);
    sandbox.run(&PREDICT).fails(1, &["all it could say"]);
    let prepare = "prepare:\n  fill: {up_to: 7d, method: last}\n";
    sandbox.edit("params.yaml", "prepare:\n", prepare);
    sandbox.run(&["run", "train"]).ok();
    let ran = sandbox.run(&PREDICT).ok();
    let told = "from what was filled (prepare.fill): there is no temperature_2m after ";
    assert!(ran.stderr.contains(told), "{ran}");
    let forecast: serde_json::Value =
        serde_json::from_str(&sandbox.read("next/forecast.json")).unwrap();
    let text = sandbox.read("station.csv");
    let last = text.lines().last().unwrap().split(',').next().unwrap();
    let issued = forecast["issue_time"].as_str().unwrap();
    assert!(issued.starts_with(&last[..13]), "{issued} {last}");
    // What is from no observation says so.
    let observed = text.lines().rev().nth(8).unwrap();
    let until = forecast["observed_until"].as_str().unwrap();
    assert!(observed.starts_with(&until[..13]), "{until} {observed}");
    // One that is filled by what comes after it is none to issue from, nor one beyond what is filled.
    sandbox.edit("params.yaml", "up_to: 7d", "up_to: 1h");
    sandbox.run(&["run", "train"]).ok();
    sandbox.run(&PREDICT).fails(1, &["all it could say"]);
}

/// Rows with the name of their station.
fn rows_of(station: &str, rows: &[&str]) -> String {
    let named = rows.iter().map(|row| format!("{row},{station}\n"));
    named.collect()
}

/// One of two stations sends no rows any more, for longer than the horizon.
#[test]
fn a_station_that_falls_silent_is_forecast_from_what_was_filled() {
    let sandbox = Sandbox::new();
    let text = sandbox.read("station.csv");
    let (header, rows) = text.split_once('\n').unwrap();
    let rows: Vec<&str> = rows.lines().collect();
    let silent = 30;
    let both = rows_of("a", &rows) + &rows_of("b", &rows[..rows.len() - silent]);
    sandbox.write("station.csv", &format!("{header},place\n{both}"));
    let series = "    series: {column: place}\n    columns:\n";
    sandbox.edit("params.yaml", "    columns:\n", series);
    let ran = sandbox.run(&["run"]).ok();
    let told = "no forecast: the forecast of b is issued at ";
    assert!(ran.stderr.contains(told), "{ran}");
    let prepare = "prepare:\n  fill: {up_to: 30d, method: last}\n";
    sandbox.edit("params.yaml", "prepare:\n", prepare);
    let ran = sandbox.run(&["run"]).ok();
    let told =
        "from what was filled (prepare.fill): there is no temperature_2m after 2020-02-18 15:00";
    assert!(ran.stderr.contains(told), "{ran}");
    let forecasts: serde_json::Value =
        serde_json::from_str(&sandbox.read("forecast/forecast.json")).unwrap();
    let [a, b] = &forecasts.as_array().unwrap()[..] else {
        panic!("{forecasts}");
    };
    assert_eq!(a["issue_time"], b["issue_time"]);
    assert!(a.get("observed_until").is_none());
    let last = rows[rows.len() - silent - 1];
    assert!(
        b["observed_until"]
            .as_str()
            .unwrap()
            .starts_with(&last[..13])
    );
}

/// A station that is new has no lag in its first day, and no gap that could be filled.
#[test]
fn a_new_station_is_told_from_when_on_it_can_be_forecast() {
    let sandbox = Sandbox::new();
    let text = sandbox.read("station.csv");
    let (header, rows) = text.split_once('\n').unwrap();
    let rows: Vec<&str> = rows.lines().collect();
    let late = &rows[rows.len() - 40..];
    let both = rows_of("old", &rows) + &rows_of("new", late);
    sandbox.write("station.csv", &format!("{header},place\n{both}"));
    let series = "    series: {column: place}\n    columns:\n";
    sandbox.edit("params.yaml", "    columns:\n", series);
    let lags = "prepare:\n  lags: {temperature_2m: [1d]}\n";
    sandbox.edit("params.yaml", "prepare:\n", lags);
    let ran = sandbox.run(&["run"]).ok();
    // The first row with a lag is the 25th, and 24 of them are looked back over: 8 hours later than the last one.
    let told = "has no temperature_2m_lag_1d of new at ";
    let on = "the series begins without it, which nothing fills: it can be forecast from 2020-02-20 05:00 on";
    assert!(
        ran.stderr.contains(told) && ran.stderr.contains(on),
        "{ran}"
    );
}

/// Of a plan that is known a day ahead the rows after the last observation are filled too.
#[test]
fn what_is_filled_after_the_end_of_the_data_is_no_outage() {
    let sandbox = Sandbox::new();
    let text = sandbox.read("station.csv");
    let lines: Vec<&str> = text.lines().collect();
    let kept = lines.len() - 24;
    let planned = lines.iter().enumerate().map(|(row, line)| match row {
        0 => format!("{line},plan"),
        row if row < kept => format!("{line},{}", row % 7),
        row => format!("{},,,,,,{}", &line[..16], row % 7),
    });
    let planned: Vec<String> = planned.collect();
    let width = planned[1].split(',').count();
    assert!(planned.iter().all(|line| line.split(',').count() == width));
    sandbox.write("station.csv", &(planned.join("\n") + "\n"));
    let params = sandbox.read("params.yaml");
    let prepare = "prepare:\n  known: [plan]\n  fill: {up_to: 7d, method: last}\n";
    let params = params.replacen("prepare:\n", prepare, 1);
    let columns = "    columns:\n      plan: {unit: \"1\"}\n";
    sandbox.write(
        "params.yaml",
        &params.replacen("    columns:\n", columns, 1),
    );
    let ran = sandbox.run(&["run"]).ok();
    assert!(!ran.stderr.contains("prepare.fill)"), "{ran}");
    let forecast: serde_json::Value =
        serde_json::from_str(&sandbox.read("forecast/forecast.json")).unwrap();
    let issued = forecast["issue_time"].as_str().unwrap();
    assert_eq!(issued[..13], lines[kept - 1][..13]);
}

/// A forecast of the wind reaches beyond what was observed, as speed and direction.
#[test]
fn a_wind_that_is_known_ahead_is_no_end_of_the_data() {
    for fill in ["", "  fill: {up_to: 7d, method: last}\n"] {
        let sandbox = Sandbox::new();
        let text = sandbox.read("station.csv");
        let lines: Vec<&str> = text.lines().collect();
        let kept = lines.len() - 24;
        let header: Vec<&str> = lines[0].split(',').collect();
        let cut = lines.iter().enumerate().map(|(row, line)| {
            let fields = header.iter().zip(line.split(','));
            let fields = fields.map(|(name, field)| {
                let is_there = row < kept || *name == "time" || name.starts_with("wind_");
                if is_there { field } else { "" }
            });
            fields.collect::<Vec<&str>>().join(",") + "\n"
        });
        sandbox.write("station.csv", &cut.collect::<String>());
        let known = format!("prepare:\n{fill}  known: [wind_speed_10m, wind_direction_10m]\n");
        sandbox.edit("params.yaml", "prepare:\n", &known);
        let ran = sandbox.run(&["run"]).ok();
        assert!(!ran.stderr.contains("end of the data"), "{ran}");
        let forecast: serde_json::Value =
            serde_json::from_str(&sandbox.read("forecast/forecast.json")).unwrap();
        let issued = forecast["issue_time"].as_str().unwrap();
        assert_eq!(issued[..13], lines[kept - 1][..13]);
        assert!(forecast.get("observed_until").is_none());
        // What is known of each lead is what it feels like by.
        assert_eq!(
            forecast["feels_like_method"],
            "of the mean, with known wind"
        );
        let speed = header
            .iter()
            .position(|name| *name == "wind_speed_10m")
            .unwrap();
        for (lead, row) in forecast["leads"]
            .as_array()
            .unwrap()
            .iter()
            .zip(&lines[kept..])
        {
            let wind = row.split(',').nth(speed).unwrap().parse().unwrap();
            let mean = lead["mean"].as_f64().unwrap();
            let expected = krammerti::physics::feels_like_c(mean, wind, None);
            assert!((lead["feels_like"].as_f64().unwrap() - expected).abs() < 1e-9);
        }
    }
}

#[test]
fn a_model_of_the_target_alone_needs_no_other_column() {
    let sandbox = without_the_last("wind_speed_10m", 2);
    let kind = [
        "--set",
        "model={kind: persistence, lookback: 24, horizon: 6}",
    ];
    let train = ["train", "data", "--out", "last"];
    sandbox.run(&[&train[..], &kind].concat()).ok();
    let ran = sandbox
        .run(&[
            "predict",
            "last",
            "--data",
            "data",
            "--out",
            "next",
            "--set",
            "predict={}",
        ])
        .ok();
    assert!(!ran.stderr.contains("end of the data"), "{ran}");
}

/// What is known ends with the observations.
#[test]
fn a_model_of_the_target_alone_needs_nothing_known_ahead() {
    let sandbox = Sandbox::new();
    let known = "prepare:\n  known: [surface_pressure]\n";
    sandbox.edit("params.yaml", "prepare:\n", known);
    sandbox.edit("params.yaml", "quantiles: [0.1, 0.5, 0.9]", "lags: 24");
    sandbox.run(&["run", "train"]).ok();
    let told = [
        "surface_pressure is not known at ",
        "the model needs it for all 6 rows after",
    ];
    sandbox.run(&PREDICT).fails(1, &told);
    for kind in ["persistence", "seasonal", "climatology"] {
        let model = format!("model={{kind: {kind}, lookback: 24, horizon: 6}}");
        let train = ["train", "data", "--out", "model", "--set", &model];
        sandbox.run(&train).ok();
        sandbox.run(&PREDICT).ok();
    }
}

#[test]
fn a_damaged_model_is_told_and_forecasts_nothing() {
    let sandbox = Sandbox::new();
    sandbox.run(&["run"]).ok();
    let path = sandbox.path("model/weights.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    let broken = |bytes: &[u8]| {
        // It may be a link into the store, which is not to be damaged.
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, bytes).unwrap();
        sandbox.run(&PREDICT)
    };
    let mut odd = bytes.clone();
    let end = odd.len();
    odd[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    broken(&odd).fails(1, &["weight `", "no number; train the model again"]);
    broken(&bytes[..20]).fails(
        1,
        &["weights.safetensors is damaged", "train the model again"],
    );
    assert!(!sandbox.has("next"));
}

#[test]
fn what_is_no_model_or_no_data_is_told() {
    let sandbox = Sandbox::new();
    sandbox.run(&["run"]).ok();
    for (words, told) in [
        (
            ["predict", "data", "--data", "data"],
            "data: expected a model, a folder with model.json",
        ),
        (
            ["predict", "model", "--data", "raw.parquet"],
            "raw.parquet: expected a data set",
        ),
        (
            ["predict", "model", "--data", "model"],
            "that `krammerti prepare` writes, found a model",
        ),
    ] {
        let words = [&words[..], &["--out", "next"]].concat();
        sandbox.run(&words).fails(2, &[told]);
    }
}

#[test]
fn parameters_that_contradict_each_other_or_the_data_are_wrong_usage() {
    let sandbox = Sandbox::new();
    sandbox.run(&["run", "prepare"]).ok();
    for (command, set, told) in [
        (
            "train",
            "model.correction={half_life: 1min}",
            "model.correction.half_life: expected 1 to",
        ),
        (
            "train",
            "train.sample_weights={half_life: 3d}",
            "train.sample_weights is for nets",
        ),
        (
            "train",
            "model={kind: ridge, lookback: 1, horizon: 6}",
            "reads the last 2 rows, but model.lookback is 1",
        ),
        (
            "train",
            "model={kind: seasonal, lookback: 24, horizon: 6, season: 90min}",
            "a season of 90min is not a whole number of steps of 1h",
        ),
        (
            "train",
            "model.bounds={z: {lower: 5}}",
            "model.bounds: expected a target of the data set",
        ),
        (
            "tune",
            "tune={trials: 2, space: {model.lags: {choice: [1, 2]}}}",
            "`tune` is for nets",
        ),
    ] {
        let words = [command, "data", "--out", "out", "--set", set];
        sandbox.run(&words).fails(2, &[told]);
    }
}

#[test]
fn a_training_on_hardly_any_window_is_told() {
    let sandbox = Sandbox::new();
    sandbox.run(&["run", "prepare"]).ok();
    let train = |set: &str| {
        let train = ["train", "data", "--out", "model", "--set", set];
        sandbox.run(&train).ok().stderr
    };
    let told =
        "windows of the training part, which say little: a train.stride below 400 takes more";
    let strided = train("train.stride=400");
    assert!(strided.contains(told), "{strided}");
    let all = train("train.stride=1");
    assert!(!all.contains("which say little"), "{all}");
}

#[test]
fn scores_of_rows_that_the_model_has_seen_are_told() {
    let sandbox = Sandbox::new();
    sandbox.run(&["run"]).ok();
    let split = [
        "--set",
        "prepare.split={train: 0.4, validation: 0.1, test: 0.5}",
    ];
    let prepare = ["prepare", "raw.parquet", "--out", "other"];
    sandbox.run(&[&prepare[..], &split].concat()).ok();
    let ran = sandbox
        .run(&["evaluate", "model", "--data", "other", "--out", "seen"])
        .ok();
    assert!(
        ran.stderr.contains("the model was fitted to rows up to"),
        "{ran}"
    );
    let ran = sandbox
        .run(&["evaluate", "model", "--data", "data", "--out", "unseen"])
        .ok();
    assert!(!ran.stderr.contains("the model was fitted"), "{ran}");
}

#[test]
fn what_is_asked_for_by_hand_is_told_also_where_there_is_nothing_to_do() {
    let sandbox = Sandbox::new();
    let all = sandbox.run(&["run"]).ok().stdout;
    for command in ["evaluate", "predict"] {
        let out = if command == "evaluate" {
            "report"
        } else {
            "forecast"
        };
        let words = [command, "model", "--data", "data", "--out", out];
        let fresh = sandbox.run(&words).ok();
        assert!(fresh.stderr.contains("nothing to do"), "{fresh}");
        assert!(
            fresh.stdout.len() > 100 && all.contains(&fresh.stdout),
            "{fresh}"
        );

        std::fs::remove_dir_all(sandbox.path(out)).unwrap();
        let restored = sandbox.run(&words).ok();
        assert!(restored.stderr.contains("restored"), "{restored}");
        assert_eq!(restored.stdout, fresh.stdout);

        let lines = sandbox.run(&[&words[..], &["--json"]].concat()).ok().stdout;
        let events: Vec<serde_json::Value> = (lines.lines())
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let [.., result, last] = events.as_slice() else {
            panic!("{lines}");
        };
        assert_eq!(
            (&result["event"], &result["stage"]),
            (&"result".into(), &command.into())
        );
        assert_eq!(last["event"], "run_finished");
    }
    let ran = sandbox.run(&["train", "data", "--out", "model"]).ok();
    assert_eq!(ran.stdout, "");
}

/// One measures in thousandths of what the other does.
#[test]
fn stations_of_very_different_size_are_told() {
    let sandbox = Sandbox::new();
    let text = sandbox.read("station.csv");
    let (header, rows) = text.split_once('\n').unwrap();
    let place = header
        .split(',')
        .position(|name| name == "temperature_2m")
        .unwrap();
    let mut both = format!("{header},place\n");
    for row in rows.lines() {
        let mut fields: Vec<String> = row.split(',').map(str::to_owned).collect();
        both += &format!("{row},small\n");
        if let Ok(value) = fields[place].parse::<f64>() {
            fields[place] = (value * 1000.0).to_string();
        }
        both += &format!("{},large\n", fields.join(","));
    }
    sandbox.write("station.csv", &both);
    let series = "    series: {column: place}\n    columns:\n";
    sandbox.edit("params.yaml", "    columns:\n", series);
    let ran = sandbox.run(&["-q", "run", "train"]).ok();
    let told = "temperature_2m of the series large varies 1000 times as much as that of small";
    assert!(ran.stderr.contains(told), "{ran}");
    // Those that take nothing from one series for another are fine.
    sandbox.edit("params.yaml", "kind: ridge", "kind: climatology");
    let ran = sandbox.run(&["-q", "run", "train"]).ok();
    assert!(!ran.stderr.contains("varies"), "{ran}");
}

/// A station that begins after the training part has no climatology of its wind there.
#[test]
fn a_station_that_cannot_be_forecast_takes_no_other_along() {
    let sandbox = Sandbox::new();
    let text = sandbox.read("station.csv");
    let (header, rows) = text.split_once('\n').unwrap();
    let rows: Vec<&str> = rows.lines().collect();
    let named = |name: &'static str, rows: &[&str]| -> Vec<String> {
        rows.iter().map(|row| format!("{row},{name}")).collect()
    };
    let late = &rows[rows.len() - 60..];
    let both = [named("old", &rows), named("new", late)]
        .concat()
        .join("\n");
    sandbox.write("station.csv", &format!("{header},place\n{both}\n"));
    sandbox.edit(
        "params.yaml",
        "    columns:\n",
        "    series: {column: place}\n    columns:\n",
    );
    let ran = sandbox.run(&["-q", "run", "predict"]).ok();
    let told =
        "warning: no forecast: the feels-like temperature of new: wind_speed_10m has no value";
    assert!(ran.stderr.contains(told), "{ran}");
    let csv = sandbox.read("forecast/forecast.csv");
    assert!(csv.contains("\nold,") && !csv.contains("\nnew,"), "{csv}");
    assert!(sandbox.has("forecast/forecast-old.svg") && !sandbox.has("forecast/forecast-new.svg"));
}
