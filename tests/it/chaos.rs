//! Chaos: what must hold whatever happens, and whenever it happens.
//!
//! A pipeline of twenty stages is killed at random instants while somebody edits its inputs and its
//! outputs; whatever a run that was left alone has then built is compared, byte for byte, with a model
//! of the pipeline in Rust. The commands are shell scripts that write in two halves, so that a half is
//! there to be caught, and every line of an output comes from one version of one input, so that a
//! difference says what went wrong.
//!
//! Every assertion tells its seed. `KRAMMERTI_CHAOS_SEED` sets it, though the instants of the kills
//! depend on the machine too; `KRAMMERTI_CHAOS_KILLS` sets how many there are.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::sandbox::{Dice, Sandbox, Started, binary, names};

const SEED: u64 = 20_260_214;
const KILLS: usize = 200;
/// Projects that are killed side by side. Most of a run is waiting.
const PROJECTS: u64 = 4;

fn setting<T: std::str::FromStr>(name: &str, otherwise: T) -> T {
    let value = std::env::var(name).ok();
    value.map_or(otherwise, |value| value.parse().ok().expect(name))
}

/// What the names of files begin with while they are written.
const PARTIAL: &str = ".krammerti-partial.";

/// How a stage writes what it has read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Writes {
    /// A file that begins and ends with its name.
    File,
    /// A file without a name in it: two such stages may write equal bytes at the same time.
    Bare,
    /// A folder of two files.
    Folder,
    /// Two files beside each other.
    Pair,
}

impl Writes {
    /// The paths that a stage declares.
    fn outputs(self, out: &str) -> Vec<String> {
        match self {
            Self::Pair => vec![format!("{out}.a"), format!("{out}.b")],
            _ => vec![out.to_owned()],
        }
    }

    /// The files that it writes: where, and whether with the begin, the lines, the end.
    fn files(self, out: &str) -> Vec<(String, [bool; 3])> {
        match self {
            Self::File => vec![(out.to_owned(), [true, true, true])],
            Self::Bare => vec![(out.to_owned(), [false, true, false])],
            Self::Folder => vec![
                (format!("{out}/one"), [true, true, false]),
                (format!("{out}/sub/two"), [false, true, true]),
            ],
            Self::Pair => vec![
                (format!("{out}.a"), [true, true, false]),
                (format!("{out}.b"), [false, true, true]),
            ],
        }
    }
}

/// Stages in running order: name, how it writes, what it reads.
const STAGES: [(&str, Writes, &[&str]); 20] = [
    ("s00", Writes::File, &["i0"]),
    ("s01", Writes::File, &["i1"]),
    ("s02", Writes::Folder, &["i2"]),
    ("s03", Writes::File, &["texts"]),
    ("s04", Writes::File, &["o/s00"]),
    ("s05", Writes::Folder, &["o/s04"]),
    ("s06", Writes::Folder, &["o/s01", "texts"]),
    ("s07", Writes::File, &["o/s06"]),
    ("s08", Writes::File, &["o/s06", "i3"]),
    ("s09", Writes::Pair, &["o/s06"]),
    ("s10", Writes::File, &["o/s07", "o/s08", "o/s09.a"]),
    ("s11", Writes::File, &["o/s02", "o/s03"]),
    ("s12", Writes::Bare, &["o/s11"]),
    ("s13", Writes::Bare, &["o/s11"]),
    ("s14", Writes::File, &["o/s12", "o/s13"]),
    ("s15", Writes::File, &["o/s05", "o/s10"]),
    ("s16", Writes::Folder, &["o/s15", "i4"]),
    ("s17", Writes::Pair, &["o/s14", "i5"]),
    ("s18", Writes::File, &["o/s16", "o/s09.b"]),
    ("s19", Writes::File, &["o/s17.a", "o/s17.b", "o/s18"]),
];

/// Reads all its inputs, writes one half, waits, writes the other. `$1` is the output.
const READ: &str = "set -e
out=$1
shift
";
const LINES: &str = "lines=$(find \"$@\" -type f -exec cat {} +)
lines=$(printf '%s\\n' \"$lines\" | sort -u)
";

fn script(writes: Writes) -> String {
    let halves = match writes {
        Writes::File => {
            "echo begin $out > $out\nsleep 0.01\nLINESecho \"$lines\" >> $out\necho end $out >> $out"
        }
        Writes::Bare => "LINES: > $out\nsleep 0.01\necho \"$lines\" >> $out",
        Writes::Folder => {
            "mkdir -p $out/sub\necho begin $out > $out/one\nLINESecho \"$lines\" > $out/sub/two
sleep 0.01\necho \"$lines\" >> $out/one\necho end $out >> $out/sub/two"
        }
        Writes::Pair => {
            "LINES{ echo begin $out; echo \"$lines\"; } > $out.a\nsleep 0.01
echo \"$lines\" > $out.b\necho end $out >> $out.b"
        }
    };
    format!("{READ}{}\n", halves.replace("LINES", LINES))
}

fn script_name(writes: Writes) -> &'static str {
    match writes {
        Writes::File => "file.sh",
        Writes::Bare => "bare.sh",
        Writes::Folder => "folder.sh",
        Writes::Pair => "pair.sh",
    }
}

/// Files of a project by path.
type Files = BTreeMap<String, String>;

/// What the pipeline makes of some inputs: the model that krammerti is compared with.
fn built(inputs: &Files) -> Files {
    let mut all = inputs.clone();
    for (name, writes, reads) in STAGES {
        let out = format!("o/{name}");
        let lines: BTreeSet<&str> = read(&all, reads).flat_map(str::lines).collect();
        let lines: String = lines.into_iter().flat_map(|line| [line, "\n"]).collect();
        for (path, [begin, middle, end]) in writes.files(&out) {
            let mut text = String::new();
            if begin {
                text += &format!("begin {out}\n");
            }
            if middle {
                text += &lines;
            }
            if end {
                text += &format!("end {out}\n");
            }
            all.insert(path, text);
        }
    }
    all
}

/// The texts of files and of all files in folders.
fn read<'a>(files: &'a Files, paths: &'a [&str]) -> impl Iterator<Item = &'a str> {
    let within = |file: &str, path: &str| {
        file.strip_prefix(path)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    files
        .iter()
        .filter(move |(file, _)| paths.iter().any(|path| within(file, path)))
        .map(|(_, text)| text.as_str())
}

/// The stages that must run when inputs change, each of which then writes something new.
fn affected(before: &Files, after: &Files) -> Vec<String> {
    let (before, after) = (built(before), built(after));
    let differs = |reads: &'static [&str]| read(&before, reads).ne(read(&after, reads));
    STAGES
        .iter()
        .filter(|(_, _, reads)| differs(reads))
        .map(|(name, ..)| (*name).to_owned())
        .collect()
}

/// The project of the pipeline, and what should be in it.
struct Project {
    sandbox: Sandbox,
    /// What a person put there and krammerti never touches: inputs, scripts, `pipeline.yaml`.
    inputs: Files,
    /// Lines that were written by hand into outputs and are to be found somewhere.
    by_hand: BTreeSet<String>,
    /// The inputs of the last run that was left alone.
    as_built: Files,
    /// How long a stage takes in such a run.
    stage_takes: Duration,
    dice: Dice,
    /// Tells the seed and the round in every assertion.
    told: String,
    jobs: bool,
}

impl Project {
    /// A project that was never run. `each` is a line that every script begins with.
    fn new(seed: u64, each: &str) -> Self {
        let sandbox = Sandbox::empty();
        let mut project = Self {
            jobs: sandbox
                .run(&["run", "--help"])
                .ok()
                .stdout
                .contains("--jobs"),
            sandbox,
            inputs: Files::new(),
            by_hand: BTreeSet::new(),
            as_built: Files::new(),
            stage_takes: Duration::ZERO,
            dice: Dice::new(seed),
            told: format!("seed {seed}"),
        };
        let mut pipeline = "stages:\n".to_owned();
        // From the last to the first, so that the order is krammerti's own.
        for (name, writes, reads) in STAGES.iter().rev() {
            let out = format!("o/{name}");
            let (script, words) = (script_name(*writes), reads.join(" "));
            let (deps, outs) = (reads.join(", "), writes.outputs(&out).join(", "));
            pipeline.push_str(&format!(
                "  {name}: {{cmd: sh {script} {out} {words}, deps: [{deps}], outs: [{outs}]}}\n"
            ));
        }
        project.put("pipeline.yaml", &pipeline);
        for writes in [Writes::File, Writes::Bare, Writes::Folder, Writes::Pair] {
            project.put(script_name(writes), &format!("{each}{}", script(writes)));
        }
        for input in ["i0", "i1", "i2", "i3", "i4", "i5", "texts/t0", "texts/t1"] {
            project.put(input, &version(input, 0));
        }
        project
    }

    fn put(&mut self, path: &str, text: &str) {
        self.sandbox.write(path, text);
        self.inputs.insert(path.to_owned(), text.to_owned());
    }

    /// Somebody works in the project. `round` makes new versions that were never there before.
    fn edit(&mut self, round: usize) {
        for nth in 0..=self.dice.below(3) {
            let new = 100 * (round + 1) + nth;
            match self.dice.below(8) {
                0..=2 => {
                    let input = format!("i{}", self.dice.below(6));
                    self.put(&input, &version(&input, new));
                }
                3 => {
                    // Often a version that was there before.
                    let input = format!("i{}", self.dice.below(6));
                    let old = self.dice.below(3);
                    self.put(&input, &version(&input, old));
                }
                4 => {
                    let input = format!("texts/t{}", 1 + self.dice.below(3));
                    self.put(&input, &version(&input, new));
                }
                5 => {
                    let input = format!("texts/t{}", 1 + self.dice.below(3));
                    if self.inputs.remove(&input).is_some() {
                        self.sandbox.remove(&input);
                    }
                }
                6 => self.edit_an_output(new),
                _ => self.remove_an_output(),
            }
        }
    }

    /// One of the files that stages write.
    fn an_output(&mut self) -> String {
        let (name, writes, _) = *self.dice.one_of(&STAGES);
        self.dice
            .one_of(&writes.files(&format!("o/{name}")))
            .0
            .clone()
    }

    fn edit_an_output(&mut self, new: usize) {
        let path = self.an_output();
        self.forget_what_lies_at(&path);
        let line = format!("by hand {new}");
        self.sandbox.write(&path, &format!("{line}\n"));
        self.by_hand.insert(line);
    }

    fn remove_an_output(&mut self) {
        let path = self.an_output();
        self.forget_what_lies_at(&path);
        let _ = fs::remove_file(self.sandbox.path(&path));
    }

    /// Lines by hand that a person now writes over are that person's loss.
    fn forget_what_lies_at(&mut self, path: &str) {
        let text = fs::read_to_string(self.sandbox.path(path)).unwrap_or_default();
        self.by_hand.retain(|line| !text.contains(line.as_str()));
    }

    fn start(&mut self) -> Started {
        let args: &[&str] = if self.jobs && self.dice.once_in(2) {
            &["run", "--jobs", "2"]
        } else {
            &["run"]
        };
        self.sandbox.start(args)
    }

    /// Runs the pipeline and leaves it alone.
    fn finish(&mut self) {
        let stages = affected(&self.as_built, &self.inputs).len() as u32;
        let begun = Instant::now();
        let mut run = self.start();
        assert_eq!(run.code(), Some(0), "{}: {}", self.told, run.stderr());
        if stages > 0 {
            self.stage_takes = begun.elapsed() / stages;
        }
        self.check(&mut run);
    }

    /// An instant in the time that a run from here may take, as far as is known. What a machine
    /// does meanwhile decides how good that is, so nothing may follow from it.
    fn an_instant(&mut self) -> Duration {
        let stages = affected(&self.as_built, &self.inputs).len() as u32;
        let longest = self.stage_takes * (stages + 1);
        Duration::from_micros(self.dice.below(longest.as_micros() as usize + 1) as u64)
    }

    /// A run has come to its end: everything must be as if nobody had ever disturbed it.
    fn check(&mut self, run: &mut Started) {
        let told = format!("{}\n{}", self.told, run.stderr());
        assert_eq!(run.code(), Some(0), "{told}");
        let expected = built(&self.inputs);
        let mut found = self.files();
        found.retain(|path, _| path != "pipeline.lock" && !path.contains(PARTIAL));
        let paths: BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
        for path in paths {
            assert_eq!(found.get(path), expected.get(path), "{path}: {told}");
        }
        assert_eq!(self.sandbox.processes(), [""; 0], "lives on: {told}");
        let again = self.sandbox.run(&["run"]);
        assert!(again.stderr.contains("nothing to do"), "{told}\n{again}");
        assert_eq!(again.code, Some(0), "{told}\n{again}");
        self.find_what_was_written_by_hand(&told);
        self.as_built.clone_from(&self.inputs);
    }

    /// All files that a person sees.
    fn files(&self) -> Files {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let files = self.sandbox.artifacts().into_iter();
        files.map(|(path, bytes)| (path, text(bytes))).collect()
    }

    fn find_what_was_written_by_hand(&mut self, told: &str) {
        if self.by_hand.is_empty() {
            return;
        }
        let kept = self.sandbox.files_under(".krammerti/failed");
        let kept: Vec<_> = kept
            .iter()
            .map(|(_, b)| String::from_utf8_lossy(b))
            .collect();
        for line in std::mem::take(&mut self.by_hand) {
            let line = format!("{line}\n");
            assert!(
                kept.iter().any(|text| text.contains(&line)),
                "lost `{line}`: {told}"
            );
        }
    }
}

fn version(input: &str, number: usize) -> String {
    format!("{input} version {number}\n")
}

/// Kills one project so many times, and compares it with one that was never disturbed.
fn kill_at_random(seed: u64, kills: usize) {
    let mut project = Project::new(seed, "");
    project.finish();
    let (mut killed, mut round) = (0, 0);
    while killed < kills {
        round += 1;
        assert!(
            round < 20 * kills,
            "seed {seed}: hardly a run lives long enough to be killed"
        );
        project.told = format!("seed {seed}, round {round}, after {killed} kills");
        project.edit(round);
        if project.dice.once_in(6) {
            project.finish();
            continue;
        }
        // Some runs are ended in a milder way, which must not help to get things right.
        let mild = project.dice.once_in(8);
        let mut run = project.start();
        std::thread::sleep(project.an_instant());
        run.signal(if mild { Signal::TERM } else { Signal::KILL });
        match run.code() {
            None => killed += 1,
            Some(143) if mild => {}
            // It was faster.
            _ => project.check(&mut run),
        }
    }
    project.finish();
    compare_with_an_undisturbed_one(&project);
    let left: Vec<String> = project.files().into_keys().collect();
    assert!(
        !left.iter().any(|path| path.contains(PARTIAL)),
        "half written, and never removed: {left:?}, {}",
        project.told
    );
}

/// Not the model but krammerti itself, in another folder, which also has the lock to compare.
fn compare_with_an_undisturbed_one(project: &Project) {
    let undisturbed = Sandbox::empty();
    for (path, text) in &project.inputs {
        undisturbed.write(path, text);
    }
    undisturbed.run(&["run"]).ok();
    for (path, bytes) in undisturbed.artifacts() {
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(
            project.sandbox.read(&path),
            text,
            "{path}, {}",
            project.told
        );
    }
}

#[test]
fn kill_9_at_any_instant_leaves_a_project_that_the_next_run_builds_right() {
    let seed = setting("KRAMMERTI_CHAOS_SEED", SEED);
    let kills = setting("KRAMMERTI_CHAOS_KILLS", KILLS).div_ceil(PROJECTS as usize);
    std::thread::scope(|scope| {
        for nth in 0..PROJECTS {
            scope.spawn(move || kill_at_random(seed + nth, kills));
        }
    });
}

/// Edits a project all the while that runs go on, each of which is followed by one that is left
/// alone. Gives back how many runs refused a result because of an edit.
fn edit_at_random(seed: u64, rounds: usize) -> usize {
    let mut project = Project::new(seed, "");
    project.finish();
    let mut refused = 0;
    for round in 0..rounds {
        project.told = format!("seed {seed}, round {round}");
        let inputs = ["i0", "i1", "i3", "texts/t0", "texts/t1"];
        for input in inputs {
            project.put(input, &version(input, 10_000 * (round + 1)));
        }
        let mut run = project.start();
        let mut nth = 1;
        while run.is_running() {
            let pause = project.stage_takes.as_micros() as usize * 2;
            let pause = project.dice.below(pause + 1);
            std::thread::sleep(Duration::from_micros(pause as u64));
            // Never what was there before: that is a row of the failure table of its own.
            let input = *project.dice.one_of(&inputs);
            project.put(input, &version(input, 10_000 * (round + 1) + nth));
            nth += 1;
        }
        let (code, said) = (run.code(), run.stderr());
        let told = format!("{}: {said}", project.told);
        match code {
            Some(0) => assert!(!said.contains("changed while"), "{told}"),
            Some(1) => assert!(
                said.contains("changed while the stage ran") || said.contains("changes while"),
                "{told}"
            ),
            other => panic!("{other:?}: {told}"),
        }
        refused += usize::from(code == Some(1));
        project.finish();
    }
    refused
}

#[test]
fn edits_at_any_instant_of_a_run_never_leave_a_wrong_result_that_is_called_fresh() {
    let seed = setting("KRAMMERTI_CHAOS_SEED", SEED);
    let refused: usize = std::thread::scope(|scope| {
        let projects: Vec<_> = (0..3)
            .map(|nth| scope.spawn(move || edit_at_random(seed + nth, 6)))
            .collect();
        projects
            .into_iter()
            .map(|project| project.join().unwrap())
            .sum()
    });
    assert!(refused > 0, "seed {seed}: no edit ever came in time");
}

#[test]
fn two_runs_at_once_build_everything_once() {
    let seed = setting("KRAMMERTI_CHAOS_SEED", SEED);
    let outside = Sandbox::empty();
    outside.write("log", "");
    let log = outside.path("log");
    let each = format!("echo $KRAMMERTI_STAGE >> '{}'\n", log.display());
    let mut project = Project::new(seed, &each);
    for round in 0..8 {
        project.told = format!("seed {seed}, round {round}");
        // From scratch at first, then after edits that were never there before.
        for nth in 0..round.min(3) {
            let input = (*project.dice.one_of(&["i0", "i1", "i2", "i4", "texts/t1"])).to_owned();
            project.put(&input, &version(&input, 100 * (round + 1) + nth));
        }
        let affected = affected(&project.as_built, &project.inputs);
        let begun = Instant::now();
        let mut first = project.start();
        std::thread::sleep(project.an_instant() / 2);
        // The second may want only a part, of which the first builds the rest.
        let target = *project.dice.one_of(&["s19", "s10", "s14"]);
        let mut second = project.sandbox.start(&["run", target]);
        let (one, other) = (first.code(), second.code());
        project.stage_takes = begun.elapsed() / affected.len() as u32;
        assert_eq!(one, Some(0), "{}: {}", project.told, first.stderr());
        assert_eq!(other, Some(0), "{}: {}", project.told, second.stderr());
        project.check(&mut second);

        let text = outside.read("log");
        let mut ran: Vec<&str> = text.lines().collect();
        ran.sort_unstable();
        let both = format!("{}\n{}", first.stderr(), second.stderr());
        assert_eq!(ran, affected, "{}: {both}", project.told);
        outside.write("log", "");
    }
}

/// krammerti in a shell that limits the size of files first: to a program, a disk that is full.
fn limited(sandbox: &Sandbox, blocks: usize) -> Command {
    let limit = format!("ulimit -S -f {blocks}; trap '' XFSZ; exec \"$0\" run");
    let mut command = Command::new("sh");
    command
        .args(["-c", &limit])
        .arg(binary())
        .current_dir(sandbox.path("."));
    command
}

#[test]
fn a_disk_that_is_full_when_the_lock_is_written_costs_no_result() {
    let sandbox = Sandbox::empty();
    let stages = ["s0", "s1", "s2", "s3", "s4"];
    let mut pipeline = "stages:\n".to_owned();
    for stage in stages {
        pipeline.push_str(&format!(
            "  {stage}: {{cmd: sh make.sh {stage}, outs: [{stage}]}}\n"
        ));
    }
    sandbox.write("pipeline.yaml", &pipeline);
    sandbox.write("make.sh", "echo $1 >> times; echo $1 > $1\n");
    // Two blocks of half a kilobyte: room for the outputs, but not for the lock of five stages.
    sandbox
        .finish(&mut limited(&sandbox, 2))
        .fails(1, &["pipeline.lock"]);
    let times = sandbox.read("times");
    assert!(times.lines().count() > 1, "the limit is too small: {times}");
    let left: Vec<String> = sandbox
        .artifacts()
        .into_iter()
        .map(|(path, _)| path)
        .collect();
    assert!(
        !left.iter().any(|path| path.contains("partial")),
        "{left:?}"
    );

    let event = sandbox.run_json(&[]);
    // The store says what the lock could not.
    assert_eq!(names(&event, "fresh").len(), 5, "{event}");
    assert_eq!(sandbox.read("times"), "s0\ns1\ns2\ns3\ns4\n", "{event}");
    assert!(sandbox.run(&["run"]).ok().stderr.contains("nothing to do"));
}

#[test]
fn a_disk_that_is_full_when_the_store_takes_an_output_loses_nothing() {
    let sandbox = Sandbox::empty();
    sandbox.write(
        "pipeline.yaml",
        "stages: {one: {cmd: sh make.sh, deps: [count], outs: [out, small]}}\n",
    );
    // The command itself has room enough.
    sandbox.write(
        "make.sh",
        "ulimit -S -f unlimited; echo new > small; head -c $(cat count) /dev/zero > out\n",
    );
    sandbox.write("count", "10\n");
    sandbox.run(&["run"]).ok();
    let before = sandbox.artifacts();
    sandbox.write("count", "100000\n");
    sandbox
        .finish(&mut limited(&sandbox, 16))
        .fails(1, &["stage `one` failed", "cannot write"]);
    assert_eq!(sandbox.kept("one/out")[0].len(), 100_000, "the try is kept");
    sandbox.write("count", "10\n");
    assert!(
        sandbox.artifacts() == before,
        "something was lost or left behind"
    );
    assert!(sandbox.run(&["run"]).ok().stderr.contains("nothing to do"));
    sandbox.write("count", "100000\n");
    assert_eq!(names(&sandbox.run_json(&[]), "ran"), ["one"]);
    assert_eq!(sandbox.read("out").len(), 100_000);
}
