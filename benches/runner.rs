//! What a run with nothing to do spends beside looking at files: reading the pipeline and the lock,
//! forming keys.
//!
//! `cargo bench --workspace --bench runner`
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that fails may say so by panicking"
)]

use std::collections::BTreeMap;
use std::path::Path;

use divan::Bencher;
use divan::counter::ItemsCount;
use krammerti::artifact::{Artifact, Digest, Kind};
use krammerti::pipeline::{Commands, Declared, KeyParts, Lock, Pipeline, ProjectPath};
use serde_json::Value;

const STAGES: [usize; 3] = [10, 100, 1000];

fn main() {
    divan::main();
}

/// A project of plain programs.
struct Plain;

impl Commands for Plain {
    fn is_file(&self, _: &ProjectPath) -> bool {
        false
    }
    fn glob(&self, _: &str) -> anyhow::Result<Vec<String>> {
        Ok(Vec::new())
    }
    fn declare(&self, _: &[String], _: Option<&ProjectPath>) -> anyhow::Result<Declared> {
        anyhow::bail!("there are no subcommands here")
    }
    fn params(&self, _: Option<&str>, _: Option<&str>) -> anyhow::Result<BTreeMap<String, String>> {
        Ok(BTreeMap::new())
    }
    fn value(&self, _: &str) -> anyhow::Result<Option<Value>> {
        Ok(None)
    }
}

/// A chain: each stage reads what the one before wrote.
fn pipeline(stages: usize) -> String {
    let stage = |i: usize| {
        format!(
            "  s{i:04}: {{cmd: cp out/{i} out/{}, deps: [out/{i}], outs: [out/{}]}}\n",
            i + 1,
            i + 1
        )
    };
    format!("stages:\n{}", (0..stages).map(stage).collect::<String>())
}

fn lock(stages: usize) -> String {
    let file = Artifact {
        kind: Kind::File,
        digest: Digest::of(b"x"),
    };
    let stage = |i: usize| {
        format!(
            "  s{i:04}:\n    cmd: cp out/{i} out/{}\n    read:\n      out/{i}: {file}\n    wrote:\n      out/{}: {file}\n",
            i + 1,
            i + 1
        )
    };
    format!(
        "version: 1\nstages:\n{}",
        (0..stages).map(stage).collect::<String>()
    )
}

#[divan::bench(args = STAGES)]
fn read_the_pipeline(bencher: Bencher, stages: usize) {
    let text = pipeline(stages);
    bencher
        .counter(ItemsCount::new(stages))
        .bench(|| Pipeline::parse(Path::new("pipeline.yaml"), &text, &Plain).unwrap());
}

#[divan::bench(args = STAGES)]
fn read_the_lock(bencher: Bencher, stages: usize) {
    let text = lock(stages);
    bencher
        .counter(ItemsCount::new(stages))
        .bench(|| Lock::parse(Path::new("pipeline.lock"), &text).unwrap());
}

#[divan::bench(args = STAGES)]
fn write_the_lock(bencher: Bencher, stages: usize) {
    let lock = Lock::parse(Path::new("pipeline.lock"), &lock(stages)).unwrap();
    bencher
        .counter(ItemsCount::new(stages))
        .bench(|| lock.render().unwrap());
}

#[divan::bench(args = [1, 100])]
fn form_a_key(bencher: Bencher, inputs: usize) {
    let text = "stages: {s: {cmd: x a b, outs: [o]}}";
    let pipeline = Pipeline::parse(Path::new("pipeline.yaml"), text, &Plain).unwrap();
    let file = Artifact {
        kind: Kind::File,
        digest: Digest::of(b"x"),
    };
    let inputs: BTreeMap<String, Artifact> = (0..inputs)
        .map(|i| (format!("data/raw/{i:04}.csv"), file))
        .collect();
    bencher.bench(|| KeyParts::of(&pipeline.stages()[0], inputs.clone(), BTreeMap::new()).key());
}
