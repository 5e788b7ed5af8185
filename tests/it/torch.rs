//! The torch back end, opened by the real binary. `cargo build --workspace` builds it beside the binary.

use std::collections::BTreeMap;

use rustix::process::Signal;

use crate::sandbox::{Sandbox, binary, wait_until};

const LSTM: &str = "kind: lstm, hidden: 8";
const WIND: &str = "  wind: [{speed: wind_speed_10m, direction: wind_direction_10m}]\n";

fn lstm_sandbox() -> Sandbox {
    let library = binary().with_file_name("libkrammerti_torch.so");
    assert!(
        library.exists(),
        "{} is missing: run `cargo build --workspace` first",
        library.display()
    );
    let sandbox = Sandbox::new();
    sandbox.edit("params.yaml", "kind: ridge", LSTM);
    sandbox
}

#[test]
fn an_lstm_goes_all_the_way_and_gives_equal_bytes_twice() {
    let (one, other) = (lstm_sandbox(), lstm_sandbox());
    let ran = one.run(&["run"]).ok();
    assert!(
        ran.stderr.contains("epoch 1/2") && ran.stdout.contains("Forecast of"),
        "{ran}"
    );
    other.run(&["run"]).ok();
    assert!(one.artifacts() == other.artifacts(), "the artifacts differ");
    let lineage = one.run(&["lineage", "model", "-v"]).ok().stdout;
    let built_on = "on device cpu, instructions ";
    assert!(
        lineage.contains(built_on) && lineage.contains(", libtorch 2.11.0"),
        "{lineage}"
    );
    one.edit("params.yaml", "epochs: 2", "epochs: 1");
    let event = one.run_json(&[]);
    assert_eq!(
        event["ran"],
        serde_json::json!(["train", "evaluate", "predict"])
    );
    one.edit("params.yaml", "epochs: 1", "epochs: 2");
    assert_eq!(
        one.run_json(&[])["restored"],
        serde_json::json!(["train", "evaluate", "predict"])
    );
}

#[test]
fn a_training_can_be_looked_at_while_it_goes_on() {
    let sandbox = lstm_sandbox();
    sandbox.edit(
        "pipeline.yaml",
        "data --out model}",
        "data --out model, strict: true}",
    );
    let ran = sandbox.run(&["run", "train"]).ok();
    assert!(
        ran.stderr.contains("windows/s") && !ran.stderr.contains("without its log"),
        "{ran}"
    );
    let log = ".krammerti/training/model";
    for file in ["history.csv", "history.svg"] {
        let live = sandbox.read(&format!("{log}/{file}"));
        assert_eq!(live, sandbox.read(&format!("model/{file}")), "{file}");
    }
    let live = sandbox.read(&format!("{log}/history.csv"));
    let rows: Vec<&str> = live.lines().skip(1).map(|row| &row[..2]).collect();
    assert_eq!(rows, ["1,", "2,"]);
    let tags = [
        "loss/train",
        "loss/validation",
        "rmse/validation",
        "learning_rate",
        "windows_per_second",
    ];
    let steps = event_steps(&sandbox);
    assert_eq!(steps.len(), 2);
    for (i, (step, scalars)) in steps.iter().enumerate() {
        assert_eq!(*step, i as u64 + 1);
        let told: Vec<&str> = scalars.iter().map(|(tag, _)| tag.as_str()).collect();
        assert_eq!(told, tags);
        assert!(scalars.iter().all(|(_, value)| *value > 0.0), "{scalars:?}");
    }
    let loss: f32 = live
        .lines()
        .nth(1)
        .unwrap()
        .split(',')
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(steps[0].1[0].1.to_bits(), loss.to_bits());
    let artifacts = sandbox.artifacts();
    assert!(artifacts.iter().all(|(path, _)| !path.contains("tfevents")));

    sandbox.run(&["gc", "--delete"]).ok();
    assert_eq!(event_steps(&sandbox).len(), 2);
    sandbox.edit("params.yaml", "epochs: 2", "epochs: 1");
    sandbox.run(&["run", "train"]).ok();
    assert_eq!(event_steps(&sandbox).len(), 1);
}

/// Steps, tags and values of the only event file of the sandbox's training.
fn event_steps(sandbox: &Sandbox) -> Vec<(u64, Vec<(String, f32)>)> {
    let mut files = sandbox.files_under(".krammerti/training/model");
    files.retain(|(path, _)| path.contains("events.out.tfevents.") && path.ends_with(".krammerti"));
    let [(_, bytes)] = &files[..] else {
        panic!(
            "one event file: {:?}",
            files.iter().map(|f| &f.0).collect::<Vec<_>>()
        );
    };
    let mut events = records(bytes).into_iter();
    let header = fields(events.next().unwrap());
    assert_eq!(header[&3], [&b"brain.Event:2"[..]]);
    events
        .map(|event| {
            let event = fields(event);
            let (step, summary) = (event[&2][0], fields(event[&5][0]));
            let scalar = |value: &&[u8]| {
                let value = fields(value);
                let tag = String::from_utf8(value[&1][0].to_vec()).unwrap();
                (tag, f32::from_le_bytes(value[&2][0].try_into().unwrap()))
            };
            (
                varint(&mut &*step),
                summary[&1].iter().map(scalar).collect(),
            )
        })
        .collect()
}

/// The data of `TFRecord`s. Their checksums are compared with TensorBoard's in a unit test.
fn records(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut records = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let (data, rest) = rest[4..].split_at(u64::from_le_bytes(*length) as usize);
        records.push(data);
        bytes = &rest[4..];
    }
    assert!(bytes.is_empty(), "a record is cut off");
    records
}

/// The bytes of a protobuf message's fields, by number.
fn fields(mut bytes: &[u8]) -> BTreeMap<u64, Vec<&[u8]>> {
    let mut fields: BTreeMap<u64, Vec<&[u8]>> = BTreeMap::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let length = match key & 7 {
            0 => bytes.iter().position(|byte| *byte < 0x80).unwrap() + 1,
            1 => 8,
            2 => varint(&mut bytes) as usize,
            5 => 4,
            other => panic!("wire type {other}"),
        };
        let (value, rest) = bytes.split_at(length);
        fields.entry(key >> 3).or_default().push(value);
        bytes = rest;
    }
    fields
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let length = bytes.iter().position(|byte| *byte < 0x80).unwrap() + 1;
    let (number, rest) = bytes.split_at(length);
    *bytes = rest;
    let digits = number.iter().rev();
    digits.fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f))
}

#[test]
fn a_search_goes_on_where_it_stopped() {
    let sandbox = lstm_sandbox();
    sandbox.run(&["run", "prepare"]).ok();
    let space =
        "tune: {trials: 2, space: {train.learning_rate: {low: 0.001, high: 0.01, log: true}}}\n";
    sandbox.write("params.yaml", &(sandbox.read("params.yaml") + space));
    for (key, told) in [
        ("model.hiden", "unknown field `hiden`"),
        ("train.batch", "batch: expected a whole number"),
    ] {
        let space = format!("tune.space={{{key}: {{low: 1.5, high: 9.5}}}}");
        let told = [&format!("tune.space: {key}"), told];
        sandbox
            .run(&["tune", "data", "--out", "study", "--set", &space])
            .fails(2, &told);
    }
    let first = sandbox.run(&TUNE).ok();
    assert!(first.stdout.contains("Best of 2 trials"), "{first}");
    let journal = sandbox.read("study/study.jsonl");
    sandbox.edit("params.yaml", "trials: 2", "trials: 4");
    let second = sandbox.run(&TUNE).ok();
    assert!(
        second.stderr.contains("going on after 2 finished trials"),
        "{second}"
    );
    assert!(
        sandbox.read("study/study.jsonl").starts_with(&journal),
        "finished trials never change"
    );
    assert!(
        sandbox
            .read("study/best.json")
            .contains("train.learning_rate")
    );
    // What comes of two trials does not depend on what was tried after them, nor are those lost.
    let four = sandbox.read("study/study.jsonl");
    sandbox.edit("params.yaml", "trials: 4", "trials: 2");
    sandbox.run(&TUNE).ok();
    assert_eq!(sandbox.read("study/study.jsonl"), journal);
    sandbox.edit("params.yaml", "trials: 2", "trials: 4");
    std::fs::remove_dir_all(sandbox.path(".krammerti/store")).unwrap();
    sandbox.run(&TUNE).ok();
    assert_eq!(sandbox.read("study/study.jsonl"), four);
    // One that is damaged is told with what to do.
    let studies = sandbox.files_under(".krammerti/studies").into_iter();
    let mut journals = studies.filter(|(path, _)| path.ends_with("jsonl"));
    let (journal, _) = journals.next().unwrap();
    sandbox.edit(&journal, "{\"record\":\"trial\"", "no trial");
    sandbox.edit("params.yaml", "trials: 4", "trials: 5");
    let told = [
        journal.as_str(),
        "line 2: ",
        "to begin it again, remove that file",
    ];
    sandbox.run(&TUNE).fails(1, &told);
    std::fs::remove_file(sandbox.path(&journal)).unwrap();
    sandbox.run(&TUNE).ok();
    assert!(sandbox.read("study/study.jsonl").starts_with(&four));
}

const TUNE: [&str; 4] = ["tune", "data", "--out", "study"];

/// Ended in its second trial, by a signal that it hears and by one that it does not.
#[test]
fn a_trial_goes_on_where_it_stopped() {
    let search = || {
        let sandbox = long_training();
        let space = "tune: {trials: 2, space: {train.learning_rate: {choice: [0.002, 0.003]}}}\n";
        sandbox.write("params.yaml", &(sandbox.read("params.yaml") + space));
        sandbox
    };
    let undisturbed = search();
    undisturbed.run(&TUNE).ok();
    for (signal, code) in [(Signal::TERM, Some(143)), (Signal::KILL, None)] {
        let sandbox = search();
        let mut started = sandbox.start(&TUNE);
        started.wait_until_it_says("trial 0: ");
        let kept = || sandbox.files_under(".krammerti/checkpoints");
        wait_until("a checkpoint of the second one", || {
            !started.is_running() || kept().iter().any(|(path, _)| path.ends_with("/checkpoint"))
        });
        assert!(started.is_running(), "it ended before");
        started.signal(signal);
        let ended = started.code();
        assert!(
            code.is_none() || ended == code,
            "{ended:?} {}",
            started.stderr()
        );
        wait_until("no process is left", || sandbox.processes().is_empty());
        let ran = sandbox.run(&TUNE).ok();
        for told in ["going on after 1 finished trials", "going on with epoch"] {
            assert!(ran.stderr.contains(told), "{ran}");
        }
        for file in ["study/study.jsonl", "study/best.json"] {
            assert_eq!(sandbox.read(file), undisturbed.read(file), "{signal:?}");
        }
        assert!(kept().is_empty(), "the checkpoint is of no more use");
    }
}

/// Long enough to be interrupted, and checkpoints after every step.
fn long_training() -> Sandbox {
    let sandbox = lstm_sandbox();
    sandbox.edit(
        "params.yaml",
        "epochs: 2",
        "epochs: 80, checkpoint_minutes: 0, patience: 80",
    );
    sandbox.run(&["run", "prepare"]).ok();
    sandbox
}

const TRAIN: [&str; 4] = ["train", "data", "--out", "models/net"];

fn weights(sandbox: &Sandbox) -> Vec<(String, Vec<u8>)> {
    sandbox.files_under("models/net")
}

#[test]
fn a_training_that_was_killed_ends_with_the_same_bytes() {
    let undisturbed = long_training();
    undisturbed.run(&TRAIN).ok();
    let killed = long_training();
    let kept = |sandbox: &Sandbox| sandbox.files_under(".krammerti/checkpoints");
    // Without those that are still being written: of such alone no training goes on.
    let whole = |sandbox: &Sandbox| {
        let mut files = kept(sandbox);
        files.retain(|(path, _)| path.ends_with("/checkpoint"));
        files
    };
    // Killed at several places; each try goes on where the one before stood.
    for place in 0..3 {
        let mut started = killed.start(&TRAIN);
        let before = whole(&killed);
        wait_until("a newer checkpoint", || {
            let now = whole(&killed);
            !started.is_running() || (!now.is_empty() && now != before)
        });
        assert!(started.is_running(), "it ended before kill {place}");
        started.signal(Signal::KILL);
        started.code();
        wait_until("no process is left", || killed.processes().is_empty());
    }
    assert!(!killed.has("models/net"));
    // On a machine with more cores, and with fewer checkpoints, it is the same training.
    killed.edit("params.yaml", "threads: 1", "threads: 3");
    killed.edit(
        "params.yaml",
        "checkpoint_minutes: 0",
        "checkpoint_minutes: 9",
    );
    let ran = killed.run(&TRAIN).ok();
    assert!(ran.stderr.contains("going on with epoch"), "{ran}");
    assert!(weights(&killed) == weights(&undisturbed), "other weights");
    assert!(kept(&killed).is_empty(), "the checkpoint is of no more use");
    killed.edit("params.yaml", "threads: 3", "threads: 2");
    let again = killed.run(&TRAIN).ok();
    assert!(!again.stderr.contains("epoch"), "{again}");
}

#[test]
fn a_training_that_is_told_to_end_keeps_a_checkpoint() {
    let undisturbed = long_training();
    undisturbed.run(&TRAIN).ok();
    let undisturbed = weights(&undisturbed);
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let sandbox = long_training();
        let mut started = sandbox.start(&TRAIN);
        started.wait_until_it_says("epoch 2/80");
        started.signal(signal);
        assert_eq!(started.code(), Some(code), "{}", started.stderr());
        assert!(!sandbox.has("models/net"));
        let ran = sandbox.run(&TRAIN).ok();
        assert!(ran.stderr.contains("going on with epoch"), "{ran}");
        assert!(weights(&sandbox) == undisturbed, "other weights");
    }
}

#[test]
fn a_training_can_begin_with_the_weights_of_a_model() {
    let sandbox = lstm_sandbox();
    sandbox.run(&["run", "prepare"]).ok();
    sandbox.run(&TRAIN).ok();
    let warm = [
        "train",
        "data",
        "--warm-start",
        "models/net",
        "--out",
        "models/next",
    ];
    sandbox.run(&warm).ok();
    let first_loss = |model: &str| -> f64 {
        let history = sandbox.read(&format!("{model}/history.csv"));
        let line = history.lines().find(|line| line.starts_with("1,"));
        line.unwrap().split(',').nth(1).unwrap().parse().unwrap()
    };
    assert!(first_loss("models/next") < first_loss("models/net"));
    // Later rows than those of the split were seen by the model that it began with.
    let split = "prepare.split={train: 0.9, validation: 0.05, test: 0.05}";
    let longer = ["prepare", "raw.parquet", "--out", "longer", "--set", split];
    sandbox.run(&longer).ok();
    let train = ["train", "longer", "--out", "models/longer"];
    sandbox.run(&train).ok();
    let of = |model: &str, split: &str, out: &str| {
        let train = ["train", split, "--warm-start", model, "--out", out];
        sandbox.run(&train).ok();
        let file: serde_json::Value =
            serde_json::from_str(&sandbox.read(&format!("{out}/model.json"))).unwrap();
        file["seen_until"].as_str().unwrap().to_owned()
    };
    let later = of("models/longer", "data", "models/late");
    assert_eq!(later, of("models/net", "longer", "models/early"));
    assert!(later > of("models/net", "data", "models/next"));
    let evaluate = ["evaluate", "models/late", "--data", "data", "--out", "seen"];
    let ran = sandbox.run(&evaluate).ok();
    assert!(
        ran.stderr.contains("the model was fitted to rows up to"),
        "{ran}"
    );
    // What only a training knows may be another; how its numbers were scaled may not.
    let less = ["--set", "model.dropout=0.05"];
    sandbox.run(&[&warm[..], &less].concat()).ok();
    let scaling = "prepare.scaling={columns: {temperature_2m: robust}}";
    let scaled = [
        "prepare",
        "raw.parquet",
        "--out",
        "scaled",
        "--set",
        scaling,
    ];
    sandbox.run(&scaled).ok();
    let over = [
        "train",
        "scaled",
        "--warm-start",
        "models/net",
        "--out",
        "models/scaled",
    ];
    let told =
        "models/net was trained with another prepare.scaling of temperature_2m than scaled has";
    sandbox.run(&over).fails(2, &[told]);
    // Another shape, and a kind that has no weights to begin with.
    sandbox.edit("params.yaml", "hidden: 8", "hidden: 6");
    sandbox
        .run(&warm)
        .fails(2, &["models/net has other parameters under `model` than are asked for (hidden 8 instead of 6)"]);
    sandbox.edit("params.yaml", "kind: lstm, hidden: 6", "kind: ridge");
    sandbox
        .run(&warm)
        .fails(2, &["--warm-start is for nets", "`ridge`"]);
}

/// What corrects a model is no weight of the net that another training begins with.
#[test]
fn a_corrected_model_can_be_trained_on() {
    let sandbox = lstm_sandbox();
    sandbox.run(&["run", "prepare"]).ok();
    sandbox.run(&TRAIN).ok();
    let warm = |from: &str, to: &str| {
        let train = ["train", "data", "--warm-start", from, "--out", to];
        sandbox.run(&train).ok();
    };
    let corrected = format!("{LSTM}, correction: {{half_life: 1d}}");
    sandbox.edit("params.yaml", LSTM, &corrected);
    warm("models/net", "models/corrected");
    warm("models/corrected", "models/again");
    let predict = ["predict", "models/again", "--data", "data", "--out", "next"];
    sandbox.run(&predict).ok();
    assert!(sandbox.has("next/forecast.csv"));
    sandbox.edit("params.yaml", &corrected, LSTM);
    warm("models/again", "models/plain");
    assert!(
        !sandbox
            .read("models/plain/model.json")
            .contains("correction")
    );
}

#[test]
fn windows_may_count_by_their_age_or_by_a_column() {
    let sandbox = lstm_sandbox();
    sandbox.run(&["run", "train"]).ok();
    let weights = |sandbox: &Sandbox| sandbox.files_under("model");
    let alike = weights(&sandbox);
    let with = |weights: &str| {
        let params = sandbox.read("params.yaml");
        let changed = format!("epochs: 2, sample_weights: {weights}");
        sandbox.edit("params.yaml", "epochs: 2", &changed);
        let ran = sandbox.run(&["run", "train"]);
        sandbox.write("params.yaml", &params);
        ran
    };
    with("{half_life: 3d}").ok();
    assert!(weights(&sandbox) != alike);
    with("{column: wind}").fails(
        2,
        &[
            "train.sample_weights.column",
            "found `wind`",
            "it has temperature_2m",
        ],
    );
    with("{column: temperature_2m}").fails(1, &["expected numbers from 0 up, found -"]);
    with("{half_life: 0d}").fails(2, &["half_life", "expected a length of time"]);
    sandbox.edit("params.yaml", LSTM, "kind: ridge");
    with("{half_life: 3d}").fails(2, &["train.sample_weights is for nets"]);
}

#[test]
fn a_host_without_a_gpu_is_told_so_in_one_line() {
    if std::path::Path::new("/dev/nvidia0").exists() {
        return;
    }
    let sandbox = lstm_sandbox();
    sandbox.run(&["run", "prepare"]).ok();
    let args: Vec<&str> = TRAIN.into_iter().chain(["--device", "cuda"]).collect();
    let ran = sandbox
        .run(&args)
        .fails(1, &["`device: cuda` was asked for"]);
    let told = ran.stderr.lines().filter(|line| line.starts_with("error"));
    assert_eq!(told.count(), 1, "{ran}");
}

const KINDS: [&str; 5] = [
    "kind: gru, hidden: 8, layers: 2, bounds: {lower: -40, upper: 50}",
    "kind: lstm, hidden: 8, decoder: autoregressive",
    "kind: segrnn, hidden: 8, segment: 6",
    "kind: linear, kernel: 5",
    "kind: deepar, hidden: 8, paths: 20",
];

/// A sandbox whose file is changed row by row, by the number of the row and its fields: time, temperature,
/// humidity, wind speed and direction, pressure. Rows that are left without a field are gone.
fn with_rows(kind: &str, change: impl Fn(usize, &mut Vec<&str>)) -> Sandbox {
    let sandbox = lstm_sandbox();
    sandbox.edit("params.yaml", LSTM, kind);
    let text = sandbox.read("station.csv");
    let mut lines = text.lines();
    let mut changed = lines.next().unwrap().to_owned() + "\n";
    for (row, line) in lines.enumerate() {
        let mut fields = line.split(',').collect();
        change(row, &mut fields);
        if !fields.is_empty() {
            changed += &(fields.join(",") + "\n");
        }
    }
    sandbox.write("station.csv", &changed);
    sandbox
}

/// The means of the forecast that a whole run ends with.
fn means_of_a_run(sandbox: &Sandbox) -> Vec<f64> {
    sandbox.run(&["run"]).ok();
    let forecast: serde_json::Value =
        serde_json::from_str(&sandbox.read("forecast/forecast.json")).unwrap();
    let leads = forecast["leads"].as_array().unwrap().iter();
    leads.map(|lead| lead["mean"].as_f64().unwrap()).collect()
}

#[test]
fn data_without_content_make_a_sane_model() {
    for kind in KINDS {
        let constant = with_rows(kind, |_, fields| fields[1] = "5");
        // Its unit is 1 °C, and to say nothing has to be learnt.
        let longer = "epochs: 20, batch: 32, learning_rate: 0.01";
        constant.edit("params.yaml", "epochs: 2", longer);
        let means = means_of_a_run(&constant);
        assert!(
            means.iter().all(|mean| (mean - 5.0).abs() < 0.3),
            "{kind}: {means:?}"
        );
        // A column that says nothing, and one that is missing now and then.
        let idle = with_rows(kind, |row, fields| {
            fields[5] = "1000";
            if row % 200 == 0 {
                fields[3] = "";
            }
        });
        assert_eq!(means_of_a_run(&idle).len(), 6, "{kind}");
        let alone = with_rows(kind, |_, _| ());
        alone.edit("params.yaml", WIND, "");
        alone.edit(
            "params.yaml",
            "  calendar: [hour_of_day]\n",
            "  columns: [temperature_2m]\n",
        );
        alone.edit(
            "params.yaml",
            "  feels_like: {wind_speed: wind_speed_10m}",
            "  paths: false",
        );
        assert_eq!(means_of_a_run(&alone).len(), 6, "{kind}");
    }
}

#[test]
fn data_that_no_net_can_learn_from_are_told() {
    let absent = with_rows(LSTM, |_, fields| fields[1] = "");
    absent
        .run(&["run"])
        .fails(1, &["temperature_2m", "has no value in the training part"]);
    let infinite = with_rows(LSTM, |row, fields| {
        if row == 100 {
            fields[3] = "inf";
        }
    });
    let told = "line 102: expected a number in `wind_speed_10m`, found `inf`";
    infinite.run(&["run"]).fails(1, &[told]);
    let huge = with_rows(LSTM, |row, fields| {
        if row == 100 {
            fields[3] = "1e300";
        }
    });
    huge.run(&["run"])
        .fails(1, &["wind_speed_10m has values", "too large to be scaled"]);
    let far = with_rows(LSTM, |row, fields| {
        if row == 900 {
            fields[3] = "1e300";
        }
    });
    far.edit("params.yaml", WIND, "");
    let told = "column wind_speed_10m has 1e300 at ";
    far.run(&["run"])
        .fails(1, &[told, "too far from its training part"]);
    let short = with_rows(LSTM, |row, fields| {
        if row >= 60 {
            fields.clear();
        }
    });
    short.run(&["run"]).fails(1, &["part has no window"]);
    let dead = with_rows(LSTM, |_, fields| fields[3] = "");
    dead.run(&["run"])
        .fails(1, &["`wind_speed_10m` is missing in 840 of them"]);
}

#[test]
fn every_kind_of_net_goes_all_the_way() {
    for kind in KINDS {
        let sandbox = lstm_sandbox();
        sandbox.edit("params.yaml", LSTM, kind);
        let ran = sandbox.run(&["run"]).ok();
        assert!(ran.stdout.contains("Forecast of"), "{kind}: {ran}");
    }
}

/// Each quantile is that of the paths at its lead, in order or between two of them.
#[test]
fn the_paths_of_a_forecast_are_written_where_asked_for() {
    let sandbox = lstm_sandbox();
    let deepar = "kind: deepar, hidden: 8, paths: 20";
    sandbox.edit("params.yaml", LSTM, deepar);
    sandbox.run(&["run", "train"]).ok();
    let predict = ["predict", "model", "--data", "data", "--out", "forecast"];
    let asked = [&predict[..], &["--set", "predict.paths=true"]].concat();
    sandbox.run(&asked).ok();
    let bytes = std::fs::read(sandbox.path("forecast/paths.parquet")).unwrap();
    let table = krammerti::data::from_parquet(bytes).unwrap();
    let of = |name: &str| table.column(name).unwrap().values.clone();
    let (numbers, leads_h, values) = (of("path"), of("lead_h"), of("temperature_2m"));
    let forecast: serde_json::Value =
        serde_json::from_str(&sandbox.read("forecast/forecast.json")).unwrap();
    let leads = forecast["leads"].as_array().unwrap();
    assert_eq!(table.rows(), 20 * leads.len());
    assert!((numbers[0] - 1.0).abs() + (numbers[table.rows() - 1] - 20.0).abs() < 1e-9);
    for lead in leads {
        let hours = lead["lead_h"].as_f64().unwrap();
        let rows = (0..table.rows()).filter(|&row| (leads_h[row] - hours).abs() < 1e-9);
        let mut drawn: Vec<f64> = rows.map(|row| values[row]).collect();
        drawn.sort_by(f64::total_cmp);
        let levels = forecast["quantile_levels"].as_array().unwrap();
        assert!(!levels.is_empty());
        for (level, told) in levels.iter().zip(lead["quantiles"].as_array().unwrap()) {
            let place = level.as_f64().unwrap() * 19.0;
            let (below, above) = (drawn[place as usize], drawn[place as usize + 1]);
            let expected = below + place.fract() * (above - below);
            let told = told.as_f64().unwrap();
            assert!(
                (told - expected).abs() < 1e-3,
                "{hours} h, {level}: {told} {expected}"
            );
        }
    }
    // Asked for no more, they are gone.
    sandbox.run(&predict).ok();
    assert!(!sandbox.has("forecast/paths.parquet"));
    let lstm = lstm_sandbox();
    lstm.run(&["run", "train"]).ok();
    let told =
        "predict.paths: expected a model of kind deepar without model.correction, found kind lstm";
    lstm.run(&asked).fails(2, &[told]);
}

/// A bound, two members, and two stations, of one of which the feels-like temperature cannot be made.
#[test]
fn paths_are_of_the_series_that_are_forecast() {
    let sandbox = lstm_sandbox();
    let text = sandbox.read("station.csv");
    let (header, rows) = text.split_once('\n').unwrap();
    let rows: Vec<&str> = rows.lines().collect();
    let mut both = format!("{header},place\n");
    for (row, line) in rows.iter().enumerate() {
        both += &format!("{line},old\n");
        if row + 60 >= rows.len() {
            both += &format!("{line},new\n");
        }
    }
    sandbox.write("station.csv", &both);
    let series = "    series: {column: place}\n    columns:\n";
    sandbox.edit("params.yaml", "    columns:\n", series);
    let deepar = "kind: deepar, hidden: 8, paths: 20, members: 2, bounds: {lower: 9}";
    sandbox.edit("params.yaml", LSTM, deepar);
    let feels_like = "  feels_like: {wind_speed: wind_speed_10m}";
    sandbox.edit(
        "params.yaml",
        feels_like,
        &format!("{feels_like}\n  paths: true"),
    );
    let ran = sandbox.run(&["-q", "run", "train"]).ok();
    let told = "the training part has no window of the series new";
    assert!(ran.stderr.contains(told), "{ran}");
    let ran = sandbox.run(&["-q", "run", "predict"]).ok();
    let told = "no forecast: the feels-like temperature of new";
    assert!(ran.stderr.contains(told), "{ran}");
    let bytes = std::fs::read(sandbox.path("forecast/paths.parquet")).unwrap();
    let table = krammerti::data::from_parquet(bytes).unwrap();
    assert_eq!(table.series().unwrap().names(), ["old"]);
    assert_eq!(table.rows(), 20 * 6);
    let values = &table.column("temperature_2m").unwrap().values;
    let lowest = values.iter().copied().fold(f64::MAX, f64::min);
    assert!((lowest - 9.0).abs() == 0.0, "{lowest}");
}

/// A station that came after the training of a model that tells stations apart.
#[test]
fn a_series_that_a_model_does_not_know_is_left_out_of_its_scores() {
    let sandbox = lstm_sandbox();
    let text = sandbox.read("station.csv");
    let (header, rows) = text.split_once('\n').unwrap();
    let stations = |names: &[&str]| {
        let mut all = format!("{header},place\n");
        for name in names {
            for line in rows.lines() {
                all += &format!("{line},{name}\n");
            }
        }
        sandbox.write("station.csv", &all);
    };
    stations(&["old"]);
    let series = "    series: {column: place}\n    columns:\n";
    sandbox.edit("params.yaml", "    columns:\n", series);
    sandbox.edit("params.yaml", LSTM, "kind: segrnn, hidden: 8, segment: 6");
    sandbox.run(&["run", "train"]).ok();
    let scores = || -> serde_json::Value {
        let evaluate = ["evaluate", "model", "--data", "data", "--out", "scores"];
        let ran = sandbox.run(&evaluate).ok();
        let told = "without the series new, on which the model was not trained";
        let is_told = ran.stderr.contains(told);
        let mut read: serde_json::Value =
            serde_json::from_str(&sandbox.read("scores/metrics.json")).unwrap();
        read["told"] = is_told.into();
        read
    };
    let before = scores();
    stations(&["new", "old"]);
    sandbox.run(&["run", "prepare"]).ok();
    let after = scores();
    assert_eq!(
        (&before["told"], &after["told"]),
        (&false.into(), &true.into())
    );
    assert_eq!(before["overall"], after["overall"]);
    assert_eq!(before["windows"], after["windows"]);
    assert_eq!(after["by_series"].as_array().unwrap().len(), 1);
}

#[test]
fn a_host_without_the_back_end_is_told_what_to_do() {
    let sandbox = lstm_sandbox();
    sandbox.run(&["run", "prepare"]).ok();
    let mut command = sandbox.command(&["run"]);
    sandbox
        .finish(command.env("KRAMMERTI_BACKEND", "/nowhere/libkrammerti_torch.so"))
        .fails(
            1,
            &[
                "model kind `lstm`",
                "/nowhere/libkrammerti_torch.so",
                "hint:",
                "scripts/run",
            ],
        );
    sandbox.write("broken.so", "no library");
    let mut command = sandbox.command(&["run"]);
    sandbox
        .finish(command.env("KRAMMERTI_BACKEND", sandbox.path("broken.so")))
        .fails(1, &["broken.so does not load"]);
}
