//! The keys of pipeline.yaml and the options of `krammerti run`, one idea a test.

mod attempts;
mod commands;
mod examples;
mod faults;
mod freshness;
mod inputs;
mod items;
mod jobs;
mod plan;
mod strict;
mod surroundings;
mod textbook;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::sandbox::{Ran, Sandbox, binary, wait_until};

fn project(pipeline: &str) -> Sandbox {
    let sandbox = Sandbox::empty();
    sandbox.write("pipeline.yaml", pipeline);
    sandbox
}

fn list(event: &Value, list: &str) -> Vec<String> {
    serde_json::from_value(event[list].clone()).unwrap()
}

fn ran(sandbox: &Sandbox, args: &[&str]) -> Vec<String> {
    list(&sandbox.run_json(args), "ran")
}

fn status(sandbox: &Sandbox) -> Vec<(String, String, String)> {
    let told = sandbox.run(&["status", "--json"]).ok().stdout;
    let all: Vec<Value> = serde_json::from_str(&told).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    all.iter()
        .map(|s| (text(&s["stage"]), text(&s["state"]), text(&s["reasons"][0])))
        .collect()
}

fn state(sandbox: &Sandbox, stage: &str) -> (String, String) {
    let mut all = status(sandbox).into_iter();
    let (_, state, reason) = all.find(|(name, ..)| name == stage).unwrap();
    (state, reason)
}

fn kill(child: &Child, signal: &str) {
    let pid = child.id().to_string();
    assert!(
        Command::new("kill")
            .args([signal, &pid])
            .status()
            .unwrap()
            .success()
    );
}

/// Whether a process is there and no zombie.
fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    let state = stat.rsplit(')').next().unwrap_or_default().trim_start();
    !state.is_empty() && !state.starts_with('Z')
}

#[expect(
    clippy::print_stdout,
    reason = "a test that proves nothing must say so"
)]
fn skipped(why: &str) {
    println!("not tested: {why}");
}

/// Every file below a folder, with its content.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else {
        return files;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            files.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
    files.sort();
    files
}

fn logs(sandbox: &Sandbox) -> Vec<(String, String)> {
    let name = |path: &str| path.rsplit('/').next().unwrap().to_owned();
    files(&sandbox.path(".krammerti/runs"))
        .into_iter()
        .filter(|(path, _)| path.rsplit('.').next() == Some("log"))
        .map(|(path, text)| (name(&path), String::from_utf8(text).unwrap()))
        .collect()
}
