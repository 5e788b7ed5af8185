//! Hostile text for `pipeline.yaml` and `pipeline.lock`: what people, merges and broken disks make of
//! a file. Real files are mutated, and whatever comes out must be refused in words or be a pipeline
//! that keeps its promises; nothing may panic or take for ever.
//!
//! `KRAMMERTI_FUZZ_SECONDS` sets how long each target runs, `KRAMMERTI_FUZZ_SEED` with which numbers.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use krammerti::pipeline::{Commands, Declared, Lock, Pipeline, ProjectPath, Stage};

use crate::sandbox::{Dice, Sandbox, binary};

/// The longest text that is tried.
const LONGEST: usize = 8 << 10;
/// Refusing or reading such a text takes milliseconds.
const HUNG: Duration = Duration::from_secs(20);
/// Accepted texts that are mutated further.
const CORPUS: usize = 200;

pub(crate) fn setting(name: &str, otherwise: u64) -> u64 {
    let value = std::env::var(name).ok();
    value.map_or(otherwise, |value| value.parse().expect(name))
}

/// A project in which some files exist and `krammerti` takes any words.
struct AnyProject;

impl Commands for AnyProject {
    fn is_file(&self, path: &ProjectPath) -> bool {
        path.as_str() == "run.sh" || path.as_str().len() % 7 == 3
    }

    fn glob(&self, pattern: &str) -> anyhow::Result<Vec<String>> {
        Ok(match pattern.len() % 3 {
            0 => Vec::new(),
            1 => vec!["texts/a.txt".into(), "texts/b b.txt".into()],
            _ => vec![pattern.replace('*', "x")],
        })
    }

    fn value(&self, path: &str) -> anyhow::Result<Option<serde_json::Value>> {
        Ok(match path.len() % 4 {
            0 => None,
            1 => Some(serde_json::json!(["calais", 2, {"name": "x", "deep": [1]}])),
            2 => Some(serde_json::json!({"a": 1, "b c": null})),
            _ => Some("text".into()),
        })
    }

    fn declare(&self, words: &[String], _: Option<&ProjectPath>) -> anyhow::Result<Declared> {
        let at = words.iter().position(|word| word == "--out");
        let out = at.and_then(|at| words.get(at + 1));
        let Some(out) = out else {
            anyhow::bail!("no --out in {} words", words.len());
        };
        let inputs = words[1..].iter().skip(1);
        Ok(Declared {
            words: words.to_vec(),
            inputs: inputs
                .take_while(|word| *word != "--out")
                .cloned()
                .collect(),
            outputs: vec![out.clone()],
            params: self.params(None, Some("train"))?,
        })
    }

    fn params(
        &self,
        file: Option<&str>,
        path: Option<&str>,
    ) -> anyhow::Result<BTreeMap<String, String>> {
        let path = path.or(file).unwrap_or_default();
        anyhow::ensure!(
            path.len() != 5 || path == "train",
            "a section that is broken"
        );
        Ok(match path.len() {
            1..=20 => [(format!("params.yaml:{path}"), "1".to_owned())].into(),
            _ => BTreeMap::new(),
        })
    }
}

// What is tried.

const PIPELINES: [&str; 6] = [
    include_str!("../../pipeline.yaml"),
    "stages:
  fetch:    {cmd: krammerti fetch station --out raw.parquet}
  prepare:  {cmd: krammerti prepare raw.parquet --out data}
  train:    {cmd: krammerti train data --out model}
  evaluate: {cmd: krammerti evaluate model --data data --out report}
",
    "# comment
stages:
  join:
    desc: >-
      folds two
      lines
    cmd: [sh, -c, 'cat \"$0\" b > joined', a b]
    deps: [a, ./b, c/../d]
    outs:
      - joined
      - folder/x@1
    params: [train.epochs, model]
  count: {cmd: \"wc -c joined\", deps: [joined], outs: [count]}
",
    "stages:
  a: &base
    cmd: cp x y
    deps: [x]
    outs: [y]
  b: {<<: *base, outs: [z]}
  c: *base
",
    "stages: {a: {cmd: x, deps: [o/c], outs: [o/a]}, b: {cmd: x, deps: [o/a], outs: [o/b]},
  c: {cmd: ./run.sh o/b --fast, deps: [o/b], outs: [o/c]}}
",
    "%YAML 1.2
---
\"stages\":
  ? été
  : {\"cmd\": |
      one
      two
    , \"outs\": [\"a\\u0000b\", 'it''s']}
...
",
];

/// What breaks parsers and paths, and the keys that they look for.
const WORDS: [&str; 96] = [
    "&a ",
    "*a",
    "<<: *a",
    "!!binary ",
    "!tag ",
    "!!set ",
    "|",
    ">-",
    "|+9",
    "\"",
    "'",
    "---\n",
    "...\n",
    "%YAML 1.2\n",
    "? ",
    ": ",
    ":",
    "- ",
    "{",
    "}",
    "[",
    "]",
    ",",
    "#",
    " #",
    "\n",
    "\r\n",
    "\r",
    "\t",
    " ",
    "null",
    "~",
    "true",
    "yes",
    ".nan",
    "-.inf",
    "-0",
    "1e999",
    "99999999999999999999999999",
    "0x7fffffff",
    "18446744073709551616",
    "-9223372036854775809",
    "0b1",
    "2026-01-01",
    "\0",
    "\u{feff}",
    "\u{202e}",
    "\u{85}",
    "é",
    "e\u{301}",
    "𐏿",
    "\u{10ffff}",
    "\\0",
    "\"\\0\"",
    "\"\\x1b[31m\"",
    "\"\\ud800\"",
    "stages:",
    "cmd:",
    "deps:",
    "outs:",
    "params:",
    "desc:",
    "version:",
    "wrote:",
    "read:",
    "tool:",
    "file:",
    "folder:",
    "executable:",
    "..",
    "../..",
    "/",
    "//",
    ".",
    "./",
    ".krammerti",
    ".git",
    "pipeline.lock",
    "params.yaml",
    "krammerti",
    "krammerti x --out o",
    "--out",
    "foreach:",
    "env:",
    "timeout:",
    "retries:",
    "strict:",
    "fresh_for:",
    "jobs:",
    "frozen:",
    "1h",
    "{item}",
    "${train.epochs}",
    "*.txt",
    "texts/[",
    "**/**/**",
];

/// One text made of others.
fn mutated(dice: &mut Dice, corpus: &[String]) -> String {
    let mut text = dice.one_of(corpus).clone();
    for _ in 0..=dice.below(4) {
        text = match dice.below(5) {
            0 | 1 => mutated_lines(dice, &text, corpus),
            2 => mutated_bytes(dice, &text),
            _ => mutated_words(dice, &text),
        };
        if text.len() > LONGEST {
            text.truncate(text.floor_char_boundary(LONGEST));
        }
    }
    text
}

/// What a merge or a careless editor does.
fn mutated_lines(dice: &mut Dice, text: &str, corpus: &[String]) -> String {
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    if lines.is_empty() {
        return dice.one_of(corpus).clone();
    }
    let (one, other) = (dice.below(lines.len()), dice.below(lines.len()));
    match dice.below(7) {
        0 => drop(lines.remove(one)),
        1 => lines.insert(one, lines[other].clone()),
        2 => lines.swap(one, other),
        3 => lines[one].insert_str(0, &" ".repeat(1 + dice.below(9))),
        4 => lines[one].retain(|c| c != ' '),
        5 => {
            // The beginning of this one and the end of another one.
            let other = dice.one_of(corpus);
            let from = other.split_inclusive('\n').count();
            let skip = dice.below(from + 1);
            lines.truncate(one);
            lines.extend(other.split_inclusive('\n').skip(skip).map(str::to_owned));
        }
        _ => {
            // The same lines many times, under other names.
            let block: String = lines[one.min(other)..=one.max(other)].concat();
            let many = 2 + dice.below(9);
            let copies = (0..many).map(|nth| block.replacen(':', &format!("{nth}:"), 1));
            let copies: String = copies.collect();
            lines.insert(one.max(other) + 1, copies);
        }
    }
    lines.concat()
}

/// What a broken disk does. What is no UTF-8 never gets as far as a parser.
fn mutated_bytes(dice: &mut Dice, text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..=dice.below(3) {
        if bytes.is_empty() {
            break;
        }
        let at = dice.below(bytes.len());
        match dice.below(5) {
            0 | 1 => bytes[at] ^= 1 << dice.below(8),
            2 => bytes.insert(at, dice.below(256) as u8),
            3 => drop(bytes.remove(at)),
            _ => bytes.truncate(at),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What somebody writes who has not read the manual, or who has.
fn mutated_words(dice: &mut Dice, text: &str) -> String {
    let starts: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    let at = if starts.is_empty() {
        0
    } else {
        *dice.one_of(&starts)
    };
    let rest = &text[at..];
    let word = rest
        .find(|c: char| !c.is_alphanumeric())
        .unwrap_or(rest.len());
    let new = match dice.below(8) {
        0 => "[".repeat(1 + dice.below(200)),
        1 => format!("{0}x{1}", "[".repeat(150), "]".repeat(150)),
        2 => "{a: ".repeat(1 + dice.below(200)),
        3 => {
            let longest = 1 << dice.below(13);
            "n".repeat(1 + dice.below(longest))
        }
        4 => format!("{}\n", dice.one_of(&WORDS)),
        5 => format!("&a [{}], {}", "x, ".repeat(9), "*a, ".repeat(9)),
        _ => (*dice.one_of(&WORDS)).to_owned(),
    };
    // Instead of the word that is here, or before it.
    let skip = if dice.once_in(2) { word } else { 0 };
    format!("{}{new}{}", &text[..at], &rest[skip..])
}

/// Names of stages that are, nearly are, or are not allowed.
const NAMES: [&str; 14] = [
    "a", "b", "c", "d", "e", "f", "train@x", "s-1", "x.y_z", "", ".a", "-a", "a b", "é",
];

/// Paths that meet, overlap, or should not be.
const PATHS: [&str; 32] = [
    "a",
    "b",
    "c",
    "d",
    "e",
    "a/b",
    "a/b/c",
    "b/a",
    "./a",
    "c/../a",
    "a//b/",
    "d/e",
    "d/f",
    "run.sh",
    "ab",
    "é",
    "e\u{301}",
    "a b",
    "it's",
    "-o",
    "*.txt",
    "a\nb",
    "a\u{0}b",
    "..",
    "../x",
    "/abs",
    ".",
    "",
    ".git/x",
    "pipeline.lock",
    ".krammerti/x",
    "params.yaml",
];

/// A pipeline whose YAML is right, so that what it says is tried. JSON is YAML.
fn random_pipeline(dice: &mut Dice) -> String {
    // Rarely a path or a name that spoils everything.
    let usual = if dice.once_in(4) { PATHS.len() } else { 15 };
    let paths = |dice: &mut Dice| -> Vec<&str> {
        let count = dice.below(4);
        (0..count).map(|_| *dice.one_of(&PATHS[..usual])).collect()
    };
    let mut stages = Vec::new();
    for (nth, name) in NAMES.iter().enumerate().take(1 + dice.below(6)) {
        let name = if usual == PATHS.len() {
            dice.one_of(&NAMES)
        } else {
            name
        };
        let mut words = vec![*dice.one_of(&["cp", "sh", "krammerti"])];
        words.extend(paths(dice));
        if words[0] == "krammerti" {
            words.extend(["--out", *dice.one_of(&PATHS[..usual])]);
        }
        let cmd = match dice.below(2) {
            0 => serde_json::json!(words),
            _ => serde_json::json!(words.join(" ")),
        };
        // Mostly paths of its own, or nearly every pipeline would write one path twice.
        let mut outs: Vec<String> = paths(dice).iter().map(|&path| path.to_owned()).collect();
        if !dice.once_in(3) {
            outs = vec![format!("o/{nth}")];
        }
        let mut deps: Vec<String> = paths(dice).iter().map(|&path| path.to_owned()).collect();
        deps.push(format!("o/{}", dice.below(9)));
        let stage = serde_json::json!({"cmd": cmd, "deps": deps, "outs": outs});
        stages.push(format!("{}: {stage}", serde_json::json!(name)));
    }
    format!("{{\"stages\": {{{}}}}}", stages.join(", "))
}

/// A lock whose YAML is right.
fn random_lock(dice: &mut Dice) -> String {
    let artifacts = |dice: &mut Dice| -> serde_json::Value {
        let mut all = serde_json::Map::new();
        for _ in 0..dice.below(3) {
            let digits = "0123456789abcdef".repeat(4);
            let digits = &digits[..if dice.once_in(9) { 63 } else { 64 }];
            let kind = *dice.one_of(&["file", "file", "folder", "executable", "link", "file:file"]);
            all.insert(
                (*dice.one_of(&PATHS)).to_owned(),
                format!("{kind}:{digits}").into(),
            );
        }
        all.into()
    };
    let mut stages = serde_json::Map::new();
    for _ in 0..dice.below(4) {
        let mut entry = serde_json::json!({
            "cmd": dice.one_of(&PATHS), "read": artifacts(dice), "wrote": artifacts(dice),
            "params": {"params.yaml:a": dice.one_of(&["1", "", "{\"a\":[null]}"])}, "tool": "krammerti 0.1.0",
        });
        if dice.once_in(6) {
            let key = *dice.one_of(&["cmd", "read", "wrote", "params", "tool"]);
            let odd = [
                serde_json::json!(null),
                serde_json::json!([[]]),
                serde_json::json!(1e300),
            ];
            entry[key] = dice.one_of(&odd).clone();
        }
        stages.insert((*dice.one_of(&NAMES)).to_owned(), entry);
    }
    let version = *dice.one_of(&[1, 1, 1, 1, 0, 2, -1]);
    serde_json::json!({"version": version, "stages": stages}).to_string()
}

// How it is tried.

/// Tries texts for a while: mutated ones, and some that `generate` makes. `target` tells whether one
/// was accepted, and panics where a promise is broken.
fn fuzz(seeds: &[String], generate: impl Fn(&mut Dice) -> String, target: impl Fn(&str) -> bool) {
    let seed = setting("KRAMMERTI_FUZZ_SEED", 20_260_214);
    let budget = Duration::from_secs(setting("KRAMMERTI_FUZZ_SECONDS", 2));
    let mut dice = Dice::new(seed);
    let (mut accepted, mut refused) = (0_u64, 0_u64);
    let mut corpus = seeds.to_owned();
    let begun = Instant::now();
    watched(|watch| {
        let mut tried = 0;
        while begun.elapsed() < budget {
            let text = match seeds.get(tried) {
                Some(seed) => seed.clone(),
                None if dice.once_in(3) => generate(&mut dice),
                None => mutated(&mut dice, &corpus),
            };
            tried += 1;
            watch.begins(&text);
            let result = catch_unwind(AssertUnwindSafe(|| target(&text)));
            watch.ended();
            match result {
                Ok(true) => {
                    accepted += 1;
                    if corpus.len() < CORPUS {
                        corpus.push(text);
                    } else {
                        let place = seeds.len() + dice.below(CORPUS - seeds.len());
                        corpus[place] = text;
                    }
                }
                Ok(false) => refused += 1,
                Err(why) => {
                    let why = why.downcast_ref::<String>().cloned().unwrap_or_default();
                    panic!("{why}\nseed {seed}, text {tried}, which is {text:?}");
                }
            }
        }
    });
    assert!(
        accepted > 0 && refused > 0,
        "accepted {accepted}, refused {refused}"
    );
}

/// The text that is being tried, and since when.
#[derive(Default)]
pub(crate) struct Watch {
    current: Mutex<Option<(Instant, String)>>,
    done: AtomicBool,
}

impl Watch {
    pub(crate) fn begins(&self, text: &str) {
        *self.current.lock().unwrap() = Some((Instant::now(), text.to_owned()));
    }

    pub(crate) fn ended(&self) {
        *self.current.lock().unwrap() = None;
    }

    /// Ends the whole process where a text takes for ever: nothing else ends a loop.
    fn watch(&self) {
        while !self.done.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(20));
            if let Some((begun, text)) = &*self.current.lock().unwrap()
                && begun.elapsed() > HUNG
            {
                // Past the harness, which would keep it to itself.
                let told = format!("\nfuzz: no end with {text:?}\n");
                let _ = std::io::stderr().write_all(told.as_bytes());
                std::process::abort();
            }
        }
    }
}

/// Does something while somebody watches that it goes on.
pub(crate) fn watched(work: impl FnOnce(&Watch)) {
    let watch = Watch::default();
    std::thread::scope(|scope| {
        scope.spawn(|| watch.watch());
        let result = catch_unwind(AssertUnwindSafe(|| work(&watch)));
        watch.done.store(true, Ordering::Relaxed);
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    });
}

// What is promised.

fn parse(text: &str) -> Result<Pipeline, String> {
    Pipeline::parse(Path::new("pipeline.yaml"), text, &AnyProject)
        .map_err(|error| error.to_string())
}

fn keeps_its_promises(pipeline: &Pipeline) {
    let stages = pipeline.stages();
    let place = |name: &str| stages.iter().position(|stage| stage.name == name).unwrap();
    for (at, stage) in stages.iter().enumerate() {
        assert_eq!(place(&stage.name), at, "two stages of one name");
        assert!(!stage.outputs.is_empty() && !stage.command.words.is_empty());
        for output in &stage.outputs {
            let again = ProjectPath::output(output.as_str());
            assert_eq!(
                again.as_ref(),
                Ok(output),
                "an output outside of the project"
            );
        }
        for input in &stage.inputs {
            assert_eq!(ProjectPath::new(input.as_str()).as_ref(), Ok(input));
        }
        let writes_an_input_of = |other: &Stage| {
            let mut all = other.inputs.iter();
            all.any(|input| stage.outputs.iter().any(|output| output.overlaps(input)))
        };
        assert!(
            !stages[..=at].iter().any(writes_an_input_of),
            "the order is wrong"
        );
    }
    let outputs: Vec<&ProjectPath> = stages.iter().flat_map(|stage| &stage.outputs).collect();
    for (at, output) in outputs.iter().enumerate() {
        assert!(
            !outputs[..at].iter().any(|other| other.overlaps(output)),
            "outputs overlap"
        );
    }
    for (writer, reader) in pipeline.edges() {
        assert!(
            place(&writer.name) < place(&reader.name),
            "an edge against the order"
        );
    }
    if let Some(last) = stages.last() {
        let Ok(selected) = pipeline.select(std::slice::from_ref(&last.name)) else {
            assert!(
                last.policy.off.is_some(),
                "{} cannot be a target",
                last.name
            );
            return;
        };
        for (at, needs) in selected.needs.iter().enumerate() {
            assert!(needs.iter().all(|&need| need < at), "a need comes later");
        }
        let names: Vec<&str> = selected.stages.iter().map(|s| s.name.as_str()).collect();
        for (writer, reader) in pipeline.edges() {
            let wanted = names.contains(&reader.name.as_str());
            assert!(
                !wanted || names.contains(&writer.name.as_str()),
                "a target without what it needs"
            );
        }
    }
}

#[test]
fn any_text_is_a_pipeline_that_keeps_its_promises_or_is_refused() {
    let seeds = PIPELINES.map(str::to_owned).to_vec();
    // What a pipeline can be refused for once its YAML is right.
    let refusals = [
        "in a circle",
        "both write",
        "a name is",
        "comes twice",
        "is not inside the project",
        "belongs to the project",
        "a path is empty",
        "it writes nothing",
    ];
    let seen = Cell::new(refusals.map(|_| 0_u64));
    fuzz(&seeds, random_pipeline, |text| {
        let result = parse(text);
        assert_eq!(result, parse(text), "read twice, it is not the same");
        match result {
            Ok(pipeline) => keeps_its_promises(&pipeline),
            Err(message) => {
                assert!(!message.is_empty());
                let mut counts = seen.get();
                for (count, refusal) in counts.iter_mut().zip(refusals) {
                    *count += u64::from(message.contains(refusal));
                }
                seen.set(counts);
                return false;
            }
        }
        true
    });
    let never = refusals
        .iter()
        .zip(seen.get())
        .find(|(_, count)| *count == 0);
    assert_eq!(never, None, "that was never tried");
}

/// Locks that krammerti has written.
fn real_locks() -> Vec<String> {
    let subcommands = Sandbox::new();
    subcommands.run(&["run", "prepare"]).ok();
    let others = Sandbox::empty();
    others.write("params.yaml", "extra: {b: [1, two], c: 0.5}\n");
    others.write("a b", "1");
    others.write(
        "pipeline.yaml",
        "stages:
  one: {cmd: [sh, -c, 'mkdir f; cp \"$0\" f/\"it''s\"', a b], deps: [a b], outs: [f], params: [extra.b]}
  two: {cmd: 'cp -r f \"ein Ordner: ä\"', deps: [f], outs: ['ein Ordner: ä']}
",
    );
    others.run(&["run"]).ok();
    vec![
        subcommands.read("pipeline.lock"),
        others.read("pipeline.lock"),
        "version: 1\nstages: {}\n".to_owned(),
        "version: 1\nstages:\n<<<<<<< ours\n  a: {}\n=======\n  b: {}\n>>>>>>> theirs\n".to_owned(),
    ]
}

#[test]
fn any_text_is_a_lock_or_is_refused() {
    let parse = |text: &str| {
        let lock = Lock::parse(Path::new("pipeline.lock"), text);
        lock.map_err(|error| error.to_string())
    };
    fuzz(&real_locks(), random_lock, |text| {
        let result = parse(text);
        assert_eq!(result, parse(text), "read twice, it is not the same");
        if let Err(message) = &result {
            assert!(message.contains("pipeline.lock"), "{message}");
        }
        result.is_ok()
    });
}

// Bombs: a small file whose meaning is large. They are tried in a process that may not grow.

/// Two kilobytes that name a list of 24 million words.
fn bomb() -> String {
    let words = |word: &str, count: usize| vec![word; count].join(",");
    format!(
        "[&a [{}], &b [{}], [{}]]",
        words("x", 400),
        words("*a", 200),
        words("*b", 300)
    )
}

/// `krammerti status`, with half a gigabyte of address space.
fn refuses_a_bomb(sandbox: &Sandbox, file: &str) {
    let limited = "ulimit -v 524288; exec \"$0\" status";
    let mut command = Command::new("sh");
    command
        .args(["-c", limited])
        .arg(binary())
        .current_dir(sandbox.path("."));
    sandbox.finish(&mut command).fails(2, &[file]);
}

#[test]
fn a_bomb_of_aliases_in_the_pipeline_is_refused_and_not_unfolded() {
    for stage in [
        "cmd: BOMB, outs: [o]",
        "cmd: x, deps: BOMB, outs: [o]",
        "cmd: x, desc: BOMB, outs: [o]",
        "cmd: x, unknown: BOMB, outs: [o]",
        "cmd: x, foreach: BOMB, outs: [o]",
        "cmd: x, matrix: {item: BOMB}, outs: [o]",
    ] {
        let sandbox = Sandbox::empty();
        let stage = stage.replace("BOMB", &bomb());
        sandbox.write("pipeline.yaml", &format!("stages: {{a: {{{stage}}}}}\n"));
        refuses_a_bomb(&sandbox, "pipeline.yaml");
    }
}

#[test]
fn a_bomb_of_aliases_in_the_lock_is_refused_and_not_unfolded() {
    for entry in [
        "cmd: BOMB, wrote: {}",
        "cmd: x, wrote: {}, read: BOMB",
        "cmd: x, wrote: {}, unknown: BOMB",
    ] {
        let sandbox = Sandbox::empty();
        sandbox.write("pipeline.yaml", "stages: {a: {cmd: touch o, outs: [o]}}\n");
        let entry = entry.replace("BOMB", &bomb());
        sandbox.write(
            "pipeline.lock",
            &format!("version: 1\nstages: {{a: {{{entry}}}}}\n"),
        );
        refuses_a_bomb(&sandbox, "pipeline.lock");
    }
}

#[test]
fn deep_nesting_is_refused() {
    for (open, close) in [("[", "]"), ("{a: ", "}")] {
        let deep = format!("{}x{}", open.repeat(3000), close.repeat(3000));
        for text in [
            deep.clone(),
            format!("stages: {deep}"),
            format!("stages: {{a: {{cmd: {deep}, outs: [o]}}}}"),
            format!("stages: {{a: {{cmd: x, outs: [o], unknown: {deep}}}}}"),
        ] {
            parse(&text).unwrap_err();
        }
        let entry = format!("version: 1\nstages: {{a: {{cmd: x, wrote: {{}}, unknown: {deep}}}}}");
        Lock::parse(Path::new("pipeline.lock"), &entry).unwrap_err();
    }
}

#[test]
fn a_bomb_of_aliases_in_the_parameters_is_refused_and_not_unfolded() {
    let sandbox = Sandbox::empty();
    sandbox.write(
        "pipeline.yaml",
        "stages: {a: {cmd: touch o, outs: [o], params: [extra]}}\n",
    );
    sandbox.write("params.yaml", &format!("extra: {{a: {}}}\n", bomb()));
    refuses_a_bomb(&sandbox, "params.yaml");
}

#[test]
fn a_lock_of_a_later_version_is_called_so() {
    let sandbox = Sandbox::empty();
    sandbox.write("pipeline.yaml", "stages: {a: {cmd: touch o, outs: [o]}}\n");
    sandbox.write(
        "pipeline.lock",
        "version: 2\nstages: [of, another, shape]\n",
    );
    sandbox.run(&["status"]).fails(
        2,
        &["expected version 1, found 2", "the krammerti that wrote it"],
    );
}
