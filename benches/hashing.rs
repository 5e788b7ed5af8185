//! What it costs to know an artifact: one large file, a folder of many files that are new, and the
//! same folder when nothing has changed. `b3sum` on a file as large as [`LARGE`] is the yardstick.
//!
//! `cargo bench --workspace --bench hashing`
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that fails may say so by panicking"
)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use krammerti::artifact::StatCache;
use krammerti::fs;

/// Bytes of the large file.
const LARGE: u64 = 1 << 30;

/// Files of the folder, of some 1.5 kB each.
const FILES: usize = 10_000;

fn main() {
    divan::main();
}

fn large_file(folder: &Path) -> PathBuf {
    let path = folder.join("large");
    let mut file = fs::create(&path).unwrap();
    let bytes: Vec<u8> = (0..1 << 20).map(|i: u32| (i % 251) as u8).collect();
    for _ in 0..LARGE >> 20 {
        file.write_all(&bytes).unwrap();
    }
    path
}

fn many_files(folder: &Path) -> PathBuf {
    let path = folder.join("many");
    fs::create_dir_all(&path).unwrap();
    for i in 0..FILES {
        let mut file = fs::create(&path.join(format!("part-{i:05}.csv"))).unwrap();
        file.write_all(format!("{i:05}\n").repeat(250).as_bytes())
            .unwrap();
    }
    // Files are not trusted within a tick of their change.
    std::thread::sleep(Duration::from_millis(50));
    path
}

#[divan::bench(sample_count = 10)]
fn a_large_file(bencher: Bencher) {
    let folder = tempfile::tempdir().unwrap();
    let path = large_file(folder.path());
    bencher
        .counter(BytesCount::new(LARGE))
        .bench_local(|| StatCache::default().digest(&path).unwrap());
}

/// To compare: what one core does when it reads and hashes by turns.
#[divan::bench(sample_count = 10)]
fn a_large_file_on_one_core(bencher: Bencher) {
    let folder = tempfile::tempdir().unwrap();
    let path = large_file(folder.path());
    bencher.counter(BytesCount::new(LARGE)).bench_local(|| {
        let file = fs::open(&path).unwrap();
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(file).unwrap().finalize()
    });
}

#[divan::bench(sample_count = 20)]
fn a_folder_of_new_files(bencher: Bencher) {
    let folder = tempfile::tempdir().unwrap();
    let path = many_files(folder.path());
    bencher
        .counter(ItemsCount::new(FILES))
        .bench_local(|| StatCache::default().artifact(&path).unwrap());
}

/// Reading the cache file counts.
#[divan::bench(sample_count = 50)]
fn an_unchanged_folder(bencher: Bencher) {
    let folder = tempfile::tempdir().unwrap();
    let path = many_files(folder.path());
    let file = folder.path().join("stat-cache");
    let cache = StatCache::load(&file);
    cache.artifact(&path).unwrap();
    cache.save();
    bencher
        .counter(ItemsCount::new(FILES))
        .bench_local(|| StatCache::load(&file).artifact(&path).unwrap());
}
