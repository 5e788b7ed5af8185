//! `krammerti evaluate` through the real binary.

use krammerti::data::{Table, from_parquet};
use serde_json::Value;

use crate::sandbox::Sandbox;

fn evaluated(sandbox: &Sandbox, more: &[&str]) -> (Value, Table) {
    let evaluate = ["evaluate", "model", "--data", "data", "--out", "report"];
    let asked = ["--set", "evaluate.forecasts=true"];
    sandbox.run(&[&evaluate[..], &asked, more].concat()).ok();
    let metrics = serde_json::from_str(&sandbox.read("report/metrics.json")).unwrap();
    let bytes = std::fs::read(sandbox.path("report/forecasts.parquet")).unwrap();
    (metrics, from_parquet(bytes).unwrap())
}

fn rmse(table: &Table, observed: &str, mean: &str) -> f64 {
    let of = |name: &str| &table.column(name).unwrap().values;
    let squares = of(observed)
        .iter()
        .zip(of(mean))
        .map(|(a, b)| (a - b).powi(2));
    let squares: Vec<f64> = squares.filter(|square| !square.is_nan()).collect();
    (squares.iter().sum::<f64>() / squares.len() as f64).sqrt()
}

/// The frame of a model is scaled as the model was trained, not as the data are.
#[test]
fn baselines_keep_the_bounds_of_the_model_on_other_data_too() {
    let sandbox = Sandbox::new();
    sandbox.edit(
        "params.yaml",
        "kind: ridge",
        "kind: ridge, bounds: {lower: 9}",
    );
    sandbox.run(&["run", "train"]).ok();
    let split = "prepare.split={train: 0.4, validation: 0.2, test: 0.4}";
    let other = ["prepare", "raw.parquet", "--out", "other", "--set", split];
    sandbox.run(&other).ok();
    sandbox
        .run(&["train", "other", "--out", "model-of-other"])
        .ok();
    let persistence = |model: &str| -> f64 {
        let out = format!("report-of-{model}");
        sandbox
            .run(&["evaluate", model, "--data", "other", "--out", &out])
            .ok();
        let metrics: Value =
            serde_json::from_str(&sandbox.read(&format!("{out}/metrics.json"))).unwrap();
        metrics["baselines"]["persistence"]["overall"]["rmse"]
            .as_f64()
            .unwrap()
    };
    let (of_model, of_other) = (persistence("model"), persistence("model-of-other"));
    assert!((of_model - of_other).abs() < 1e-4, "{of_model} {of_other}");
}

/// What was scored can be scored again by whoever reads the table.
#[test]
fn all_forecasts_of_the_test_part_are_written_where_asked_for() {
    let sandbox = Sandbox::new();
    sandbox.run(&["run"]).ok();
    assert!(!sandbox.has("report/forecasts.parquet"));
    let (metrics, table) = evaluated(&sandbox, &[]);
    let windows = metrics["windows"].as_u64().unwrap() as usize;
    assert_eq!(table.rows(), windows * 6);
    let expected = metrics["overall"]["rmse"].as_f64().unwrap();
    assert!((rmse(&table, "observed", "mean") / expected - 1.0).abs() < 1e-6);
    assert_eq!(table.column("mean").unwrap().unit, "°C");

    let leads = &table.column("lead_h").unwrap().values;
    let issues = table.issues().unwrap();
    for (row, lead) in leads.iter().enumerate() {
        assert_eq!(table.times()[row] - issues[row], (lead * 3600.0) as i64);
    }
    let share = {
        let of = |name: &str| &table.column(name).unwrap().values;
        let bounds = of("q0.1").iter().zip(of("q0.9"));
        let within =
            |((low, high), observed): ((&f64, &f64), &f64)| (low..=high).contains(&observed);
        let inside = bounds
            .zip(of("observed"))
            .filter(|row| within(*row))
            .count();
        inside as f64 / table.rows() as f64
    };
    let expected = metrics["coverage"]["share"].as_f64().unwrap();
    assert!((share - expected).abs() < 1e-9, "{share} {expected}");
}

#[test]
fn forecasts_of_two_targets_stand_side_by_side() {
    let sandbox = Sandbox::new();
    let both = "target: [temperature_2m, wind_speed_10m]";
    sandbox.edit("params.yaml", "target: temperature_2m", both);
    sandbox.run(&["run"]).ok();
    let (metrics, table) = evaluated(&sandbox, &["--set", "evaluate.stride=7"]);
    for (target, unit) in [("temperature_2m", "°C"), ("wind_speed_10m", "m/s")] {
        let [observed, mean] = ["observed", "mean"].map(|what| format!("{target} {what}"));
        assert_eq!(table.column(&mean).unwrap().unit, unit);
        let expected = &metrics["targets"][target]["overall"]["rmse"];
        let found = rmse(&table, &observed, &mean) / expected.as_f64().unwrap();
        assert!((found - 1.0).abs() < 1e-6, "{target}: {found}");
    }
}
