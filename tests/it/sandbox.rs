//! A project of its own for each test, and a record of what was done to it when the test fails.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long anything may take before a test calls it hung. Nothing here is a measurement.
const HUNG: Duration = Duration::from_mins(3);

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

    /// A project whose one stage `slow` writes half of `out`, waits, and writes the rest. It was
    /// built without a wait; the next run would wait for half a minute. `started` appears when half
    /// is written, `finished` when all is.
    pub(crate) fn slow() -> Self {
        let sandbox = Self::empty();
        sandbox.write(
            "pipeline.yaml",
            "stages: {slow: {cmd: sh make.sh, deps: [make.sh, wait], outs: [out]}}\n",
        );
        sandbox.write(
            "make.sh",
            "echo half > out; touch started; sleep $(cat wait); echo done >> out; touch finished\n",
        );
        sandbox.write("wait", "0");
        sandbox.run(&["run"]).ok();
        assert_eq!(sandbox.read("out"), "half\ndone\n");
        sandbox.remove("started");
        sandbox.remove("finished");
        sandbox.write("wait", "30");
        sandbox
    }

    pub(crate) fn remove(&self, path: &str) {
        fs::remove_file(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    pub(crate) fn has(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// krammerti in the background.
    pub(crate) fn start(&self, args: &[&str]) -> Started {
        let said = tempfile::NamedTempFile::new().unwrap();
        let child = self
            .command(args)
            .stdout(Stdio::null())
            .stderr(said.reopen().unwrap())
            .spawn()
            .unwrap();
        Started { child, said }
    }

    /// krammerti in the background, when the command of its stage has said that it runs: a command
    /// says so by creating the file `started`.
    pub(crate) fn start_stage(&self, args: &[&str]) -> Started {
        let started = self.start(args);
        wait_until("the stage starts", || self.has("started"));
        started
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

    /// Every file under a folder of the project, private ones too, sorted, with its content.
    pub(crate) fn files_under(&self, folder: &str) -> Vec<(String, Vec<u8>)> {
        let mut files = Vec::new();
        if self.has(folder) {
            collect(self.folder.path(), &self.path(folder), &mut files);
        }
        files.sort();
        files
    }

    /// What krammerti has kept of a stage's outputs, whatever the run: the contents of
    /// `.krammerti/failed/RUN/PLACE`.
    pub(crate) fn kept(&self, place: &str) -> Vec<String> {
        let place = format!("/{place}");
        self.files_under(".krammerti/failed")
            .into_iter()
            .filter(|(path, _)| path.ends_with(&place))
            .map(|(_, bytes)| String::from_utf8(bytes).unwrap())
            .collect()
    }

    /// How many results the store has, by key.
    pub(crate) fn records(&self) -> usize {
        self.files_under(".krammerti/store/records").len()
    }

    /// The names of all runs that left a journal or a log.
    fn runs(&self) -> Vec<String> {
        let Ok(runs) = fs::read_dir(self.path(".krammerti/runs")) else {
            return Vec::new();
        };
        runs.map(|run| run.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    /// The command lines of all living processes that runs of this project started.
    pub(crate) fn processes(&self) -> Vec<String> {
        let found = self.living().into_iter();
        found.map(|(pid, line)| format!("{pid}: {line}")).collect()
    }

    fn living(&self) -> Vec<(i32, String)> {
        let marks: Vec<String> = self
            .runs()
            .iter()
            .map(|run| format!("KRAMMERTI_RUN={run}"))
            .collect();
        let read = |pid: i32, file: &str| fs::read(format!("/proc/{pid}/{file}")).ok();
        let ours = |pid: i32| {
            // The dead that nobody has buried yet have no environment.
            read(pid, "environ").is_some_and(|environment| {
                environment
                    .split(|byte| *byte == 0)
                    .any(|variable| marks.iter().any(|mark| mark.as_bytes() == variable))
            })
        };
        fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|&pid| ours(pid))
            .map(|pid| {
                let line = read(pid, "cmdline").unwrap_or_default();
                (pid, String::from_utf8_lossy(&line).replace('\0', " "))
            })
            .collect()
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

impl Drop for Sandbox {
    /// A test that fails half-way leaves nothing running.
    fn drop(&mut self) {
        for (pid, _) in self.living() {
            send(pid.unsigned_abs(), Signal::KILL);
        }
    }
}

/// krammerti in the background. It ends with the test.
pub(crate) struct Started {
    child: Child,
    said: tempfile::NamedTempFile,
}

impl Started {
    pub(crate) fn signal(&self, signal: Signal) {
        send(self.child.id(), signal);
    }

    /// What it has said on stderr so far.
    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(self.said.path()).unwrap()
    }

    #[track_caller]
    pub(crate) fn wait_until_it_says(&self, text: &str) {
        wait_until(&format!("stderr says `{text}`"), || {
            self.stderr().contains(text)
        });
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Its exit code; `None` where a signal ended it.
    #[track_caller]
    pub(crate) fn code(&mut self) -> Option<i32> {
        wait_until("krammerti ends", || !self.is_running());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal. A process that is gone already needs none.
fn send(pid: u32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid.cast_signed()) {
        let _ = kill_process(pid, signal);
    }
}

/// Waits until something holds; says what it waited for when that takes too long.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < HUNG, "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A list of stages in a run's last event.
pub(crate) fn names(event: &serde_json::Value, list: &str) -> Vec<String> {
    serde_json::from_value(event[list].clone()).unwrap()
}

/// Random numbers that a seed repeats: xorshift64*.
pub(crate) struct Dice(u64);

impl Dice {
    /// Any seed will do; the first numbers of small seeds are mixed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut dice = Self(seed.wrapping_add(0x9E37_79B9_7F4A_7C15).max(1));
        for _ in 0..8 {
            dice.roll();
        }
        dice
    }

    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `sides`.
    pub(crate) fn below(&mut self, sides: usize) -> usize {
        // The high bits are the good ones.
        ((self.roll() >> 33) % sides as u64) as usize
    }

    /// Yes, once in so many times.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of these.
    pub(crate) fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
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
