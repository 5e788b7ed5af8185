//! Forecasts that are corrected by what is known of those before them, through the real binary.

use serde_json::Value;

use crate::sandbox::Sandbox;

const PARTS: &str = "step: 1h\n  split: {train: 0.3, validation: 0.5, test: 0.2}";
const CORRECTED: &str = "kind: ridge, correction: {half_life: 1d}";

fn with_parts() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.edit("params.yaml", "step: 1h", PARTS);
    sandbox
}

fn corrected() -> Sandbox {
    let sandbox = with_parts();
    sandbox.edit("params.yaml", "kind: ridge", CORRECTED);
    sandbox
}

fn json(sandbox: &Sandbox, path: &str) -> Value {
    serde_json::from_str(&sandbox.read(path)).unwrap()
}

#[test]
fn a_pipeline_is_corrected_and_runs_again_where_that_changes() {
    let plain = with_parts();
    plain.run(&["run"]).ok();
    let sandbox = corrected();
    let ran = sandbox.run(&["run"]).ok();
    assert!(ran.stderr.contains("of the recent error"), "{ran}");
    assert!(ran.stderr.lines().all(|line| line.chars().count() < 160));
    let model = json(&sandbox, "model/model.json");
    assert_eq!(model["model"]["correction"]["half_life"], "1d");
    let means = |sandbox: &Sandbox| -> Vec<f64> {
        let forecast = json(sandbox, "forecast/forecast.json");
        let leads = forecast["leads"].as_array().unwrap().iter();
        leads.map(|lead| lead["mean"].as_f64().unwrap()).collect()
    };
    let (before, after) = (means(&plain), means(&sandbox));
    assert_eq!(before.len(), after.len());
    assert!(before.iter().zip(&after).any(|(a, b)| (a - b).abs() > 1e-3));
    assert!(before.iter().zip(&after).all(|(a, b)| (a - b).abs() < 5.0));
    // The baselines stay what they are; `ridge` is the model without its correction.
    let report = |sandbox: &Sandbox| json(sandbox, "report/metrics.json");
    assert_eq!(report(&plain)["baselines"], report(&sandbox)["baselines"]);
    assert!(report(&sandbox)["skill"]["ridge"].as_f64().unwrap() > 0.05);

    sandbox.edit("params.yaml", "half_life: 1d", "half_life: 2d");
    let again = sandbox.run(&["run", "train"]).ok();
    assert!(again.stderr.contains("ran 1 (train)"), "{again}");
}

/// A kind that is no net, and what a correction moves, are cut at the bound and nowhere else.
#[test]
fn a_bound_holds_for_what_knows_none() {
    let sandbox = corrected();
    let means = |sandbox: &Sandbox| -> Vec<f64> {
        sandbox.run(&["run"]).ok();
        let forecast = json(sandbox, "forecast/forecast.json");
        let leads = forecast["leads"].as_array().unwrap().iter();
        leads.map(|lead| lead["mean"].as_f64().unwrap()).collect()
    };
    let open = means(&sandbox);
    let (low, high) = open
        .iter()
        .fold((f64::MAX, f64::MIN), |(low, high), &mean| {
            (low.min(mean), high.max(mean))
        });
    let lower = (5.0 * (low + high)).round() / 10.0;
    let bounded = format!("{CORRECTED}, bounds: {{lower: {lower}}}");
    sandbox.edit("params.yaml", CORRECTED, &bounded);
    let bounded = means(&sandbox);
    let expected: Vec<f64> = open.iter().map(|mean| mean.max(lower)).collect();
    assert_eq!(bounded, expected);
    assert!(low < lower && lower < high, "{low} {lower} {high}");
}

/// Nobody's archive is read: what is remembered stands in the data set, or does not.
#[test]
fn a_data_set_that_is_short_is_told() {
    let sandbox = corrected();
    sandbox.edit("params.yaml", "half_life: 1d", "half_life: 20d");
    let ran = sandbox.run(&["run"]).ok();
    let warned = ran
        .stderr
        .lines()
        .find(|line| line.contains("before its lookback"));
    let warned = warned.expect("a warning");
    assert!(
        warned.contains("corrected by 1176 rows") && warned.contains("1925"),
        "{warned}"
    );
}

#[test]
fn no_trial_heeds_a_correction() {
    let sandbox = corrected();
    let space = "tune: {trials: 1, space: {model.correction.half_life: {choice: [1d]}}}\npredict:";
    sandbox.edit("params.yaml", "predict:", space);
    let told = "tune.space.model.correction.half_life: expected a parameter of the net";
    sandbox.run(&["run"]).fails(2, &[told]);
}

#[test]
fn what_cannot_be_corrected_is_told_by_its_key() {
    let sandbox = Sandbox::new();
    sandbox.run(&["run", "prepare"]).ok();
    let with = |model: &str| {
        let params = sandbox.read("params.yaml");
        sandbox.edit("params.yaml", "kind: ridge", model);
        let ran = sandbox.run(&["run", "train"]);
        sandbox.write("params.yaml", &params);
        ran
    };
    let counts = "kind: deepar, distribution: negative_binomial, correction: {}";
    with(counts).fails(
        2,
        &["model.correction: expected absent beside distribution: negative_binomial"],
    );
    with("kind: ridge, correction: {half_life: soon}").fails(
        2,
        &[
            "model.correction.half_life: expected a length of time",
            "`soon`",
        ],
    );
    with("kind: ridge, correction: {half_lives: 3d}").fails(2, &["half_lives"]);
}
