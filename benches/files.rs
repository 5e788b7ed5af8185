//! What it costs to read a file of observations: CSV with ten columns of numbers, the same packed,
//! and JSON lines.
//!
//! `cargo bench --workspace --bench files`
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that fails may say so by panicking"
)]

use std::io::Write;
use std::path::Path;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use krammerti::params::{Params, ParamsFile};
use krammerti::source::{Asked, source};
use krammerti::time::format_utc;

const ROWS: i64 = 500_000;
const COLUMNS: usize = 10;

fn main() {
    divan::main();
}

/// Rows of one minute each, with numbers as loggers write them.
fn row(row: i64) -> (String, Vec<String>) {
    let time = format_utc(1_577_836_800 + row * 60).replace('T', " ");
    let number = |column: usize| {
        let value = (row * 7919 + column as i64 * 104_729) % 20_011 - 4_000;
        format!("{:.2}", value as f64 / 100.0)
    };
    (
        time.trim_end_matches('Z').to_owned(),
        (0..COLUMNS).map(number).collect(),
    )
}

fn csv() -> Vec<u8> {
    let mut text = b"time,c0,c1,c2,c3,c4,c5,c6,c7,c8,c9\n".to_vec();
    for (time, values) in (0..ROWS).map(row) {
        writeln!(text, "{time},{}", values.join(",")).unwrap();
    }
    text
}

fn json_lines() -> Vec<u8> {
    let mut text = Vec::new();
    for (time, values) in (0..ROWS).map(row) {
        write!(text, "{{\"time\":\"{time}\"").unwrap();
        for (column, value) in values.iter().enumerate() {
            write!(text, ",\"c{column}\":{value}").unwrap();
        }
        text.extend_from_slice(b"}\n");
    }
    text
}

fn params(time: &str) -> Params {
    let columns = (0..COLUMNS).map(|column| format!("      c{column}: {{unit: '1'}}\n"));
    let text = format!(
        "sources:\n  it:\n    kind: file\n    path: it\n    time: {time}\n    columns:\n{}",
        columns.collect::<String>()
    );
    ParamsFile::parse(Path::new("params.yaml"), &text, None, &[])
        .unwrap()
        .1
}

fn bench(bencher: Bencher<'_, '_>, text: &[u8], file: &[u8], time: &str) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("it"), file).unwrap();
    let params = params(time);
    bencher
        .counter(BytesCount::new(text.len()))
        .counter(ItemsCount::new(ROWS as usize))
        .bench_local(|| {
            let fetched = source(&params.sources["it"]).fetch(&mut Asked {
                root: folder.path(),
                offline: true,
                progress: &mut |_, _, _| {},
            });
            assert_eq!(fetched.unwrap().table.rows(), ROWS as usize);
        });
}

#[divan::bench(sample_count = 7)]
fn csv_utc(bencher: Bencher<'_, '_>) {
    let text = csv();
    bench(bencher, &text, &text, "{column: time}");
}

#[divan::bench(sample_count = 7)]
fn csv_local(bencher: Bencher<'_, '_>) {
    let text = csv();
    let time =
        "{column: time, format: '%Y-%m-%d %H:%M:%S', zone: Europe/Berlin, nonexistent: shift}";
    bench(bencher, &text, &text, time);
}

#[divan::bench(sample_count = 5)]
fn csv_packed(bencher: Bencher<'_, '_>) {
    let text = csv();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&text).unwrap();
    bench(bencher, &text, &encoder.finish().unwrap(), "{column: time}");
}

#[divan::bench(sample_count = 5)]
fn json_lines_utc(bencher: Bencher<'_, '_>) {
    let text = json_lines();
    bench(bencher, &text, &text, "{column: time}");
}
