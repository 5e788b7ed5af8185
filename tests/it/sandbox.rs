//! A project of its own for each test, and a record of what was done to it when the test fails.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A hermetic project: nothing of the environment but PATH reaches krammerti.
pub(crate) struct Sandbox {
    folder: tempfile::TempDir,
}

/// What a command gave back.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    told: String,
}

const PARAMS: &str = "\
sources:
  station:
    kind: file
    path: station.csv
    time: {column: time}
    columns:
      temperature_2m: {unit: °C}
      relative_humidity_2m: {unit: '%'}
      wind_speed_10m: {unit: m/s}
      wind_direction_10m: {unit: °}
      surface_pressure: {unit: hPa}
prepare:
  target: temperature_2m
  step: 1h
  wind: [{speed: wind_speed_10m, direction: wind_direction_10m}]
  calendar: [hour_of_day]
model: {kind: ridge, lookback: 24, horizon: 6, quantiles: [0.1, 0.5, 0.9]}
train: {epochs: 2, threads: 1}
predict:
  feels_like: {wind_speed: wind_speed_10m}
";

const PIPELINE: &str = "\
stages:
  fetch:    {cmd: krammerti fetch station --out raw.parquet}
  prepare:  {cmd: krammerti prepare raw.parquet --out data}
  train:    {cmd: krammerti train data --out model}
  evaluate: {cmd: krammerti evaluate model --data data --out report}
  predict:  {cmd: krammerti predict model --data data --out forecast}
";

/// All stages of the sandbox's pipeline.
pub(crate) const STAGES: [&str; 5] = ["fetch", "prepare", "train", "evaluate", "predict"];

pub(crate) fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_krammerti"))
}

impl Sandbox {
    /// The main job on 50 days of real data, with a model that needs no libtorch.
    pub(crate) fn new() -> Self {
        let sandbox = Self::empty();
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/calais-2020-50-days.csv");
        fs::copy(data, sandbox.path("station.csv")).unwrap();
        sandbox.write("params.yaml", PARAMS);
        sandbox.write("pipeline.yaml", PIPELINE);
        sandbox
    }

    /// A folder whose name has a space, and nothing in it.
    pub(crate) fn empty() -> Self {
        Self {
            folder: tempfile::Builder::new()
                .prefix("krammerti test ")
                .tempdir()
                .unwrap(),
        }
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub(crate) fn edit(&self, path: &str, from: &str, to: &str) {
        let text = self.read(path);
        assert!(text.contains(from), "{path} has no `{from}`");
        self.write(path, &text.replacen(from, to, 1));
    }

    /// krammerti in this project, not yet started.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command
            .args(args)
            .current_dir(self.folder.path())
            .env_clear()
            .stdin(Stdio::null());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.finish(&mut self.command(args))
    }

    pub(crate) fn finish(&self, command: &mut Command) -> Ran {
        let output = command.output().unwrap();
        Ran::new(&output, format!("{command:?}\n{}", self.listing()))
    }

    /// The stages in one list of a run's last event.
    pub(crate) fn run_json(&self, args: &[&str]) -> serde_json::Value {
        let mut all = vec!["run", "--json"];
        all.extend(args);
        let ran = self.run(&all);
        let last = ran.stdout.lines().last().unwrap_or_default();
        serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {ran}"))
    }

    /// Every file of the project but the private ones, sorted, with its content.
    pub(crate) fn artifacts(&self) -> Vec<(String, Vec<u8>)> {
        let mut files = Vec::new();
        collect(self.folder.path(), self.folder.path(), &mut files);
        files.sort();
        files
    }

    fn listing(&self) -> String {
        let line = |(path, bytes): &(String, Vec<u8>)| format!("  {path} ({} bytes)", bytes.len());
        self.artifacts()
            .iter()
            .map(line)
            .collect::<Vec<_>>()
            .join("\n")
    }
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path
            .strip_prefix(root)
            .unwrap()
            .to_string_lossy()
            .into_owned();
        if path.is_dir() {
            if name != ".krammerti" {
                collect(root, &path, files);
            }
        } else {
            files.push((name, fs::read(&path).unwrap_or_default()));
        }
    }
}

impl Ran {
    fn new(output: &Output, told: String) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            told,
        }
    }

    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{self}");
        self
    }

    /// The exit code is this one, and stderr has all of these.
    #[track_caller]
    pub(crate) fn fails(self, code: i32, says: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        for text in says {
            assert!(self.stderr.contains(text), "stderr lacks `{text}`\n{self}");
        }
        assert!(!self.stderr.contains("panicked"), "{self}");
        self
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}exit code {:?}", self.told, self.code)?;
        writeln!(f, "-- stdout\n{}-- stderr\n{}", self.stdout, self.stderr)
    }
}
