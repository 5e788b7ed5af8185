//! The public contract: `run --json`, `metrics.json`, `forecast.json` and the exit codes.

use serde_json::Value;

use crate::sandbox::Sandbox;

/// Numbers become `0`, so that a snapshot shows names and types; lists of objects keep their first.
fn shape(value: &Value) -> Value {
    match value {
        Value::Number(_) => Value::from(0),
        Value::Array(items) if items.iter().all(Value::is_object) => {
            items.iter().take(1).map(shape).collect()
        }
        Value::Array(items) => items.iter().map(shape).collect(),
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| (key.clone(), shape(value)))
            .collect(),
        other => other.clone(),
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn events_of_a_run() {
    let sandbox = Sandbox::new();
    let ran = sandbox.run(&["run", "--json"]).ok();
    assert_eq!(ran.stderr, "");
    let events: Vec<Value> = ran.stdout.lines().map(json).collect();
    let kinds: Vec<&str> = events
        .iter()
        .map(|event| event["event"].as_str().unwrap())
        .collect();
    assert_eq!((kinds[0], kinds[1]), ("run_started", "stage_started"));
    let last = shape(&json(ran.stdout.lines().last().unwrap()));
    insta::assert_snapshot!(last, @r#"{"event":"run_finished","failed":[],"fresh":[],"ran":["fetch","prepare","train","evaluate","predict"],"restored":[],"seconds":0,"skipped":[]}"#);
    let finished = events
        .iter()
        .find(|event| event["event"] == "stage_finished")
        .unwrap();
    let mut finished = finished.clone();
    assert_eq!(finished["key"].as_str().unwrap().len(), 64);
    finished["key"] = "KEY".into();
    insta::assert_snapshot!(shape(&finished), @r#"{"event":"stage_finished","key":"KEY","outcome":"ran","seconds":0,"stage":"fetch"}"#);
}

#[test]
fn metrics() {
    let sandbox = Sandbox::new();
    sandbox.run(&["run", "evaluate"]).ok();
    let metrics = json(&sandbox.read("report/metrics.json"));
    insta::assert_snapshot!(serde_json::to_string_pretty(&shape(&metrics)).unwrap());
    let leads: Vec<&Value> = metrics["by_lead"]
        .as_array()
        .unwrap()
        .iter()
        .map(|lead| &lead["lead_h"])
        .collect();
    assert_eq!(leads, [1, 2, 3, 4, 5, 6]);
    for name in ["persistence", "seasonal", "climatology", "ridge"] {
        assert_eq!(
            metrics["baselines"][name]["by_lead"]
                .as_array()
                .unwrap()
                .len(),
            6,
            "{name}"
        );
    }
}

#[test]
fn forecast() {
    let sandbox = Sandbox::new();
    sandbox.run(&["run", "predict"]).ok();
    let forecast = json(&sandbox.read("forecast/forecast.json"));
    insta::assert_snapshot!(serde_json::to_string_pretty(&shape(&forecast)).unwrap());
    assert_eq!(forecast["issue_time"], "2020-02-19T21:00:00Z");
    assert_eq!(forecast["leads"][5]["valid_time"], "2020-02-20T03:00:00Z");
    for lead in forecast["leads"].as_array().unwrap() {
        let quantiles: Vec<f64> = serde_json::from_value(lead["quantiles"].clone()).unwrap();
        assert!(quantiles.is_sorted(), "{quantiles:?}");
    }
    let csv = sandbox.read("forecast/forecast.csv");
    assert_eq!(
        (csv.lines().count(), csv.lines().next()),
        (
            7,
            Some("valid_time,lead_h,mean [°C],q0.1 [°C],q0.5 [°C],q0.9 [°C],feels_like [°C]")
        )
    );
}

#[test]
fn status_as_json() {
    let sandbox = Sandbox::new();
    let status = json(&sandbox.run(&["status", "--json"]).ok().stdout);
    assert_eq!(status[0]["stage"], "fetch");
    assert_eq!(
        (&status[0]["state"], &status[1]["state"]),
        (&Value::from("stale"), &Value::from("waiting"))
    );
}
