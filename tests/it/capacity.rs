//! Series of very different size in one model, seen as shares of what each can reach, through the real binary.

use serde_json::Value;

use crate::sandbox::Sandbox;

/// A power of two, so that shares are the same to the last bit.
const TIMES: f64 = 1024.0;

/// Two stations, of which one has a temperature of 1,024 times the other's.
fn of_two_sizes(capacity: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    let text = sandbox.read("station.csv");
    let (header, rows) = text.split_once('\n').unwrap();
    let mut both = format!("{header},place\n");
    for (name, times) in [("large", TIMES), ("small", 1.0)] {
        for line in rows.lines() {
            let mut fields: Vec<String> = line.split(',').map(str::to_owned).collect();
            fields[1] = fields[1]
                .parse()
                .map_or(String::new(), |value: f64| (value * times).to_string());
            both += &format!("{},{name}\n", fields.join(","));
        }
    }
    sandbox.write("station.csv", &both);
    let series = "    series: {column: place}\n    columns:\n";
    sandbox.edit("params.yaml", "    columns:\n", series);
    // What is made of a temperature that is none can be anything.
    let feels_like = "  feels_like: {wind_speed: wind_speed_10m}";
    sandbox.edit("params.yaml", feels_like, "  paths: false");
    let quality = "  quality: {range: off, spikes: off, consistency: off, drift: off}\n";
    let prepare = format!("prepare:\n{quality}  capacity: {{temperature_2m: {capacity}}}\n");
    sandbox.edit("params.yaml", "prepare:\n", &prepare);
    sandbox
}

fn json(sandbox: &Sandbox, path: &str) -> Value {
    serde_json::from_str(&sandbox.read(path)).unwrap()
}

fn means(forecast: &Value) -> Vec<f64> {
    let leads = forecast["leads"].as_array().unwrap().iter();
    leads.map(|lead| lead["mean"].as_f64().unwrap()).collect()
}

#[test]
fn the_small_is_forecast_as_well_as_the_large() {
    let sandbox = of_two_sizes("{small: 32, large: 32768}");
    let bounds = "kind: ridge, bounds: {lower: -0.5, upper: 1}";
    sandbox.edit("params.yaml", "kind: ridge", bounds);
    let ran = sandbox.run(&["run"]).ok();
    assert!(!ran.stderr.contains("varies"), "{ran}");
    for told in ["by capacity", "largest RMSE of 2 series, by capacity: "] {
        assert!(ran.stdout.contains(told), "{told}: {ran}");
    }
    assert!(
        ran.stdout.lines().all(|line| line.chars().count() <= 80),
        "{ran}"
    );

    let metrics = json(&sandbox, "report/metrics.json");
    let rmse = |of: &Value| of["rmse"].as_f64().unwrap();
    let [large, small] = [0, 1].map(|place| &metrics["by_series"][place]);
    assert!((rmse(large) / rmse(small) - TIMES).abs() < 1e-3 * TIMES);
    let shares = [large, small, &metrics].map(|of| rmse(&of["of_capacity"]));
    assert!((shares[1] - rmse(small) / 32.0).abs() < 1e-9, "{shares:?}");
    assert!((shares[0] - shares[1]).abs() < 1e-6 && (shares[0] - shares[2]).abs() < 1e-6);
    assert!(rmse(&metrics["baselines"]["persistence"]["of_capacity"]) > shares[2]);

    let forecasts = json(&sandbox, "forecast/forecast.json");
    let [large, small] = [0, 1].map(|place| means(&forecasts[place]));
    for (large, small) in large.iter().zip(&small) {
        assert!((large / TIMES - small).abs() < 1e-9, "{large} {small}");
    }

    // A farm that has grown is forecast as such by the same model, given what it can reach now.
    sandbox.edit("params.yaml", "small: 32,", "small: 64,");
    sandbox.run(&["run", "prepare"]).ok();
    let predict = ["predict", "model", "--data", "data", "--out", "forecast"];
    sandbox.run(&predict).ok();
    let grown = means(&json(&sandbox, "forecast/forecast.json")[1]);
    assert!(
        grown
            .iter()
            .zip(&small)
            .any(|(grown, small)| (grown - small).abs() > 0.1)
    );

    let capacity = "{temperature_2m: {small: 64, large: 32768}}";
    sandbox.edit("params.yaml", capacity, "{}");
    sandbox.run(&["run", "prepare"]).ok();
    let told = "the model was trained on temperature_2m as shares of a capacity, the data have it as it is";
    sandbox.run(&predict).fails(1, &[told]);
}

#[test]
fn without_a_capacity_the_sizes_are_told_with_what_helps() {
    let sandbox = of_two_sizes("largest");
    sandbox.edit("params.yaml", "{temperature_2m: largest}", "{}");
    let ran = sandbox.run(&["-q", "run", "train"]).ok();
    let told = "of the series large varies 1024 times as much as that of small";
    assert!(
        ran.stderr.contains(told) && ran.stderr.contains("say in prepare.capacity"),
        "{ran}"
    );
    sandbox.edit(
        "params.yaml",
        "capacity: {}",
        "capacity: {temperature_2m: largest}",
    );
    let ran = sandbox.run(&["-q", "run", "train"]).ok();
    assert!(!ran.stderr.contains("varies"), "{ran}");
    let model = json(&sandbox, "model/model.json");
    let each = &model["capacity"]["temperature_2m"]["each"];
    let [large, small] = ["large", "small"].map(|name| each[name].as_f64().unwrap());
    assert!((large / small - TIMES).abs() < 1e-9, "{each}");
}

/// A farm that stood still in the training, and then begins to run: the model knows it as it is.
#[test]
fn what_was_found_in_other_data_is_told_where_it_is_outgrown() {
    let sandbox = of_two_sizes("largest");
    sandbox.run(&["run", "train"]).ok();
    let text = sandbox.read("station.csv");
    let grown = text.lines().map(|line| {
        let mut fields: Vec<String> = line.split(',').map(str::to_owned).collect();
        if let (true, Ok(value)) = (line.ends_with("small"), fields[1].parse::<f64>()) {
            fields[1] = (value * 4.0).to_string();
        }
        fields.join(",")
    });
    let grown: Vec<String> = grown.collect();
    sandbox.write("station.csv", &(grown.join("\n") + "\n"));
    sandbox.run(&["run", "prepare"]).ok();
    let predict = ["predict", "model", "--data", "data", "--out", "forecast"];
    let ran = sandbox.run(&predict).ok();
    let told = "prepare.capacity is too small: temperature_2m of small reaches 4.";
    assert!(ran.stderr.contains(told), "{ran}");

    let given = "{small: 32, large: 32768}";
    sandbox.edit("params.yaml", "largest", given);
    let ran = sandbox.run(&["run", "prepare"]).ok();
    let told = "prepare.capacity is too small: temperature_2m of small reaches";
    assert!(ran.stderr.contains(told), "{ran}");
    let told = "shares of capacities of temperature_2m that were found in data, the data have such that were given";
    sandbox.run(&predict).fails(1, &[told]);
    let bounds = "kind: ridge, bounds: {upper: 40}";
    sandbox.edit("params.yaml", "kind: ridge", bounds);
    let told = "model.bounds: expected shares of prepare.capacity for temperature_2m, such as 0 and 1, found 40";
    sandbox.run(&["run", "train"]).fails(2, &[told]);
}

/// Two targets, of which one has a capacity; all that is written of them, by a net that draws paths.
#[test]
fn paths_and_past_forecasts_are_in_the_unit_of_the_column() {
    let sandbox = of_two_sizes("{small: 32, large: 32768}");
    let two = "target: [temperature_2m, wind_speed_10m]";
    sandbox.edit("params.yaml", "target: temperature_2m", two);
    let deepar =
        "kind: deepar, hidden: 8, paths: 20, bounds: {temperature_2m: {lower: -0.5, upper: 1}}";
    sandbox.edit("params.yaml", "kind: ridge", deepar);
    sandbox.edit(
        "params.yaml",
        "  paths: false",
        "  paths: true\nevaluate: {forecasts: true, baselines: [persistence]}",
    );
    sandbox.run(&["run"]).ok();
    let values = |path: &str, name: &str, of: &str| -> Vec<f64> {
        let bytes = std::fs::read(sandbox.path(path)).unwrap();
        let table = krammerti::data::from_parquet(bytes).unwrap();
        let column = table.column(name).unwrap().values.clone();
        let series = table.series().unwrap();
        let rows = (0..table.rows()).filter(|&row| series.name(row) == of);
        rows.map(|row| column[row])
            .filter(|value| !value.is_nan())
            .collect()
    };
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    for (path, name) in [
        ("forecast/paths.parquet", "temperature_2m"),
        ("report/forecasts.parquet", "temperature_2m mean"),
        ("report/forecasts.parquet", "temperature_2m q0.9"),
        ("report/forecasts.parquet", "temperature_2m observed"),
    ] {
        let [large, small] = ["large", "small"].map(|of| values(path, name, of));
        let times = mean(&large) / mean(&small);
        assert!((times / TIMES - 1.0).abs() < 0.2, "{path} {name}: {times}");
        assert!(large.iter().all(|value| *value <= 32768.0), "{path} {name}");
    }
    let [large, small] = ["large", "small"].map(|of| {
        mean(&values(
            "report/forecasts.parquet",
            "wind_speed_10m mean",
            of,
        ))
    });
    assert!((large / small - 1.0).abs() < 0.2, "{large} {small}");
    let metrics = json(&sandbox, "report/metrics.json");
    let targets = &metrics["targets"];
    assert!(targets["temperature_2m"]["of_capacity"].is_object());
    assert!(targets["wind_speed_10m"]["of_capacity"].is_null());
}

#[test]
fn what_shares_cannot_be_is_refused_or_told() {
    let sandbox = of_two_sizes("{small: 32, large: 32768}");
    sandbox.run(&["run", "prepare"]).ok();
    let counts = "kind: deepar, hidden: 4, distribution: negative_binomial";
    sandbox.edit("params.yaml", "kind: ridge", counts);
    let train = ["train", "data", "--out", "model"];
    let told =
        "for temperature_2m, which is seen as shares of prepare.capacity: shares are no counts";
    sandbox.run(&train).fails(2, &[told]);

    // Between bounds so far apart nearly all shares are next to the upper one.
    let beta = "kind: deepar, hidden: 4, distribution: beta, bounds: {lower: -1, upper: 1}";
    sandbox.edit("params.yaml", counts, beta);
    let ran = sandbox
        .run(&[&train[..], &["--set", "train.epochs=1"]].concat())
        .ok();
    assert!(!ran.stderr.contains("within 2 %"), "{ran}");
    sandbox.edit(
        "params.yaml",
        "lower: -1, upper: 1}",
        "lower: -9.9, upper: 0.2}",
    );
    let ran = sandbox
        .run(&[&train[..], &["--set", "train.epochs=1"]].concat())
        .ok();
    let told = "values of temperature_2m in the training part lie within 2 % of model.bounds, where distribution beta";
    assert!(ran.stderr.contains(told), "{ran}");

    let predict = ["predict", "model", "--data", "data", "--out", "forecast"];
    for wrong in ["0.0", "-32.0"] {
        let model = sandbox.read("model/model.json");
        sandbox.write("model/model.json", &model.replace("32.0", wrong));
        sandbox
            .run(&predict)
            .fails(1, &["has a capacity of temperature_2m that is none"]);
        sandbox.write("model/model.json", &model);
    }
}
