//! What must stay true of the code itself.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use object::{Object, ObjectSection, ReadRef};

use crate::sandbox::binary;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The top module of `src/` that a file belongs to.
fn module_of(file: &Path) -> String {
    let inside = file.strip_prefix(root().join("src")).unwrap();
    inside
        .components()
        .next()
        .unwrap()
        .as_os_str()
        .to_string_lossy()
        .trim_end_matches(".rs")
        .to_owned()
}

/// A file's code without its tests and comments; nothing where it holds but tests.
fn code(file: &Path) -> String {
    if file.ends_with("tests.rs") {
        return String::new();
    }
    let text = fs::read_to_string(file).unwrap();
    let code = text.split("#[cfg(test)]").next().unwrap();
    code.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn imports_go_one_way() {
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("main", &["cli", "model"][..]),
        ("lib", &[]),
        (
            "cli",
            &[
                "ops", "pipeline", "source", "data", "model", "params", "event", "fs", "time",
            ],
        ),
        (
            "ops",
            &[
                "pipeline", "source", "data", "model", "tune", "eval", "forecast", "report",
                "artifact", "params", "physics", "event", "fs", "time",
            ],
        ),
        ("pipeline", &["artifact", "event", "fs", "time", "yaml"]),
        ("source", &["data", "params", "physics", "fs", "time"]),
        ("data", &["decimals", "params", "physics", "time"]),
        ("model", &["data", "params", "event", "time"]),
        ("tune", &["params"]),
        ("eval", &["decimals", "time"]),
        ("forecast", &["data", "decimals", "model", "time"]),
        ("report", &["decimals", "model", "time"]),
        ("artifact", &["fs"]),
        ("params", &["physics", "time", "yaml"]),
        ("yaml", &[]),
        ("decimals", &[]),
        ("physics", &[]),
        ("event", &[]),
        ("fs", &[]),
        ("time", &[]),
    ]);
    for file in rust_files(&root().join("src")) {
        let module = module_of(&file);
        let allowed = allowed
            .get(module.as_str())
            .unwrap_or_else(|| panic!("{module} has no rule"));
        for used in code(&file).split("crate::").skip(1) {
            let used: String = used
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            assert!(
                used == module || allowed.contains(&used.as_str()),
                "{} uses crate::{used}, which {module} must not know",
                file.display()
            );
        }
    }
}

#[test]
fn libraries_stay_where_they_belong() {
    let homes: [(&str, &[&str]); 10] = [
        ("polars::", &["data", "source", "report"]),
        ("polars_parquet::", &["data"]),
        ("reqwest::", &["source"]),
        ("rustls::", &["source"]),
        ("tch::", &[]),
        ("plotters::", &["report"]),
        ("indicatif::", &["cli"]),
        ("clap::", &["cli"]),
        ("libloading::", &["cli"]),
        ("std::fs::", &["fs"]),
    ];
    for file in rust_files(&root().join("src")) {
        let (module, code) = (module_of(&file), code(&file));
        for (library, modules) in homes {
            // Types of std::fs may be named; only `fs` may call it.
            let code = code
                .replace("std::fs::File", "")
                .replace("std::fs::Metadata", "");
            let named = code.match_indices(library).any(|(at, _)| {
                !code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_')
            });
            assert!(
                !named || modules.contains(&module.as_str()),
                "{} uses {library}",
                file.display()
            );
        }
    }
}

/// That they print nothing, clippy sees to.
#[test]
fn pure_modules_read_no_clock() {
    for file in rust_files(&root().join("src")) {
        let pure = [
            "data", "physics", "eval", "forecast", "tune", "model", "report", "params", "time",
            "decimals", "yaml",
        ];
        let is_pure = pure.contains(&module_of(&file).as_str());
        // Sources have one door to the clock, which tests close.
        let is_source = module_of(&file) == "source" && !file.ends_with("source/http/clock.rs");
        let clocks = ["SystemTime", "Instant::now", "Utc::now", "Local::now"];
        let clocks = clocks.iter().filter(|_| is_pure || is_source);
        for used in clocks.chain(is_pure.then_some(&"std::env")) {
            assert!(
                !code(&file).contains(used),
                "{} uses {used}",
                file.display()
            );
        }
    }
}

#[test]
fn nothing_is_left_undone_in_the_code() {
    let folders = ["src", "torch/src", "tests"];
    for file in folders
        .iter()
        .flat_map(|folder| rust_files(&root().join(folder)))
    {
        let text = fs::read_to_string(&file).unwrap();
        for mark in [
            ["to", "do!("].concat(),
            ["unimple", "mented!("].concat(),
            ["FIX", "ME"].concat(),
        ] {
            assert!(!text.contains(&mark), "{} has {mark}", file.display());
        }
        if !file.starts_with(root().join("tests")) {
            assert!(
                text.starts_with("//!"),
                "{} does not say what it is for",
                file.display()
            );
        }
    }
}

#[test]
fn every_parameter_is_documented() {
    let docs = fs::read_to_string(root().join("docs/params.md")).unwrap();
    let folder = root().join("src/params");
    let mut raw = ["raw.rs", "raw_quality.rs"]
        .map(|file| fs::read_to_string(folder.join(file)).unwrap())
        .concat();
    // A kind of source has its raw structs beside the checked ones.
    for file in rust_files(&folder.join("source")) {
        let code = code(&file);
        let structs = code.split("#[serde(deny_unknown_fields").skip(1);
        structs.for_each(|text| raw += text.split("\n}").next().unwrap());
    }
    let fields = raw.lines().filter_map(|line| {
        let field = line
            .trim()
            .strip_prefix("pub(super) ")
            .unwrap_or(line.trim());
        let (name, _) = field.split_once(": ")?;
        let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        (plain && !name.starts_with('_')).then(|| name.to_owned())
    });
    for name in fields {
        assert!(
            docs.contains(&format!("`{name}`")),
            "docs/params.md does not speak of `{name}`"
        );
    }
}

#[test]
fn the_binary_is_not_linked_to_libtorch() {
    let bytes = fs::read(binary()).unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    let strings = file.section_by_name(".dynstr").unwrap().data().unwrap();
    let needed: Vec<String> = dynamic_needed(&bytes, strings);
    assert!(
        needed.iter().any(|name| name.starts_with("libc.so")),
        "{needed:?}"
    );
    for name in &needed {
        let foreign = ["torch", "c10", "cuda", "gomp", "stdc++"]
            .iter()
            .any(|part| name.contains(part));
        assert!(!foreign, "the binary needs {name}");
    }
}

/// The names under `DT_NEEDED` of a 64-bit little-endian ELF file.
fn dynamic_needed(bytes: &[u8], strings: &[u8]) -> Vec<String> {
    const DT_NEEDED: u64 = 1;
    let file = object::File::parse(bytes).unwrap();
    let dynamic = file.section_by_name(".dynamic").unwrap().data().unwrap();
    let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
    dynamic
        .chunks_exact(16)
        .filter(|entry| word(&entry[..8]) == DT_NEEDED)
        .map(|entry| {
            let start = word(&entry[8..]) as usize;
            let end = strings[start..].iter().position(|byte| *byte == 0).unwrap();
            String::from_utf8_lossy(strings.read_bytes_at(start as u64, end as u64).unwrap())
                .into_owned()
        })
        .collect()
}
