//! The keys of pipeline.yaml and the options of `krammerti run`, one idea a test.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::sandbox::{Ran, Sandbox, binary};

/// How long anything may take before a test is taken to hang.
const DEADLINE: Duration = Duration::from_mins(1);

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

fn wait_for(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < DEADLINE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
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

#[test]
fn sh_ends_at_the_first_command_that_fails() {
    let sandbox = project("stages: {a: {sh: 'echo x > o; false; echo y > o', outs: [o]}}\n");
    sandbox
        .run(&["run"])
        .fails(1, &["`echo x > o; false;", "exit code 1"]);
    assert!(!sandbox.path("o").exists());
}

#[test]
fn what_is_the_shells_stays_the_shells() {
    let line =
        "set -- one two; for item in a b; do echo \"$1 ${2} ${item} ${HOME:-none}\"; done >o";
    let sandbox = project(&format!("stages: {{a: {{sh: '{line}', outs: [o]}}}}\n"));
    sandbox.run(&["run"]).ok();
    assert_eq!(sandbox.read("o"), "one two a none\none two b none\n");
}

#[test]
fn an_item_stays_one_word_whatever_is_in_it() {
    let odd = [
        "a b",
        "it's",
        "$HOME",
        "q\"q",
        "back\\slash",
        "(x);y",
        "ü",
        "*",
        "#",
    ];
    let items: Vec<String> = odd
        .iter()
        .map(|item| json!({"name": item}).to_string())
        .collect();
    let numbered = (0..odd.len()).map(|i| format!("k{i}: {}", items[i]));
    let numbered = numbered.collect::<Vec<_>>().join(", ");
    let sandbox = project(&format!(
        "stages:
  line:
    foreach: {{{numbered}}}
    sh: |
      # it's ${{item.name}}
      printf '%s|' ${{item.name}} '${{item.name}}' \"${{item.name}}\" \"$(printf %s ${{item.name}})\" > line/${{key}}
    outs: ['line/${{key}}']
  word:
    foreach: {{{numbered}}}
    cmd: touch word/${{key}}/${{item.name}}
    outs: ['word/${{key}}/${{item.name}}']
"
    ));
    sandbox.run(&["run"]).ok();
    for (i, item) in odd.iter().enumerate() {
        assert_eq!(
            sandbox.read(&format!("line/k{i}")),
            format!("{item}|").repeat(4)
        );
        assert!(
            sandbox.path(&format!("word/k{i}/{item}")).exists(),
            "{item}"
        );
    }
}

#[test]
fn a_line_and_its_words_are_one_command() {
    let sandbox = project("stages: {a: {cmd: 'cp \"a b\" ''c d''', outs: [c d]}}\n");
    sandbox.write("a b", "1");
    assert_eq!(ran(&sandbox, &[]), ["a"]);
    sandbox.write(
        "pipeline.yaml",
        "stages: {a: {cmd: [cp, a b, c d], outs: [c d]}}\n",
    );
    assert_eq!(list(&sandbox.run_json(&[]), "fresh"), ["a"]);
    sandbox.write("a b", "2");
    assert_eq!(
        ran(&sandbox, &[]),
        ["a"],
        "a file that a word names is an input"
    );
}

#[test]
fn a_script_that_a_line_names_is_an_input() {
    let sandbox = project("stages: {a: {sh: sh count.sh <in >o 2>log, outs: [o]}}\n");
    sandbox.write("count.sh", "wc -c");
    sandbox.write("in", "1");
    assert_eq!(ran(&sandbox, &[]), ["a"]);
    assert_eq!(
        list(&sandbox.run_json(&[]), "fresh"),
        ["a"],
        "what it writes is none"
    );
    sandbox.write("count.sh", "wc -l");
    assert_eq!(state(&sandbox, "a").1, "count.sh changed");
    assert_eq!(ran(&sandbox, &[]), ["a"]);
    sandbox.write("in", "1\n");
    assert_eq!(state(&sandbox, "a").1, "in changed");
}

#[test]
fn the_order_does_not_depend_on_what_lies_there() {
    // `two` names what `one` writes, without declaring it.
    let sandbox = project(
        "stages:
  two: {cmd: cp made/x copy, outs: [copy]}
  one: {sh: mkdir made; echo 1 > made/x, outs: [made]}
",
    );
    assert_eq!(ran(&sandbox, &["--jobs", "2"]), ["one", "two"]);
    assert_eq!(list(&sandbox.run_json(&[]), "fresh"), ["one", "two"]);
}

#[test]
fn an_output_that_is_not_cached_is_only_in_its_place() {
    let sandbox = project("stages: {a: {cmd: cp in o, outs: [{o: {cache: false}}]}}\n");
    sandbox.write("in", "first content");
    assert_eq!(ran(&sandbox, &[]), ["a"]);
    assert_eq!(list(&sandbox.run_json(&[]), "fresh"), ["a"]);
    assert!(files(&sandbox.path(".krammerti/store/objects")).is_empty());
    std::fs::remove_file(sandbox.path("o")).unwrap();
    assert_eq!(
        state(&sandbox, "a"),
        ("stale".into(), "o is missing".into())
    );
    assert_eq!(ran(&sandbox, &[]), ["a"]);
    sandbox.write("in", "second content");
    assert_eq!(ran(&sandbox, &[]), ["a"]);
    assert_eq!(
        files(&sandbox.path(".krammerti/failed")),
        [],
        "its own old output is not kept"
    );
    sandbox.write("o", "by hand");
    assert_eq!(ran(&sandbox, &[]), ["a"]);
    let kept = files(&sandbox.path(".krammerti/failed"));
    assert_eq!(kept.len(), 1, "but somebody's work is");
    assert_eq!(kept[0].1, b"by hand");
}

#[test]
fn parameters_of_other_files_count_by_their_values() {
    let sandbox = project(
        "stages:
  some: {cmd: touch o1, outs: [o1], params: [{conf/a.yaml: [x.y, z]}, {b.json: [list]}]}
  all:  {cmd: touch o2, outs: [o2], params: [{conf/a.yaml: }, {list.yaml: }]}
",
    );
    sandbox.write("conf/a.yaml", "x: {y: 1, other: 1}\nz: [1, 2]\n");
    sandbox.write("b.json", r#"{"list": {"a": 1}, "rest": 2}"#);
    sandbox.write("list.yaml", "[1, 2]");
    sandbox.run(&["run"]).ok();
    sandbox.write(
        "conf/a.yaml",
        "# new\nz: [1,   2]\nx:\n  other: 1\n  y: 1\n",
    );
    sandbox.write("b.json", r#"{ "rest": 3, "list": {"a": 1} }"#);
    assert_eq!(list(&sandbox.run_json(&[]), "fresh"), ["some", "all"]);
    sandbox.edit("conf/a.yaml", "other: 1", "other: 2");
    assert_eq!(ran(&sandbox, &[]), ["all"]);
    sandbox.edit("b.json", "\"a\": 1", "\"a\": 2");
    assert_eq!(
        state(&sandbox, "some").1,
        "b.json:list.a changed from 1 to 2"
    );
    assert_eq!(ran(&sandbox, &[]), ["some"]);
    sandbox.write("list.yaml", "[1, 3]");
    assert_eq!(
        state(&sandbox, "all").1,
        "list.yaml changed from [1,2] to [1,3]"
    );
}

#[test]
fn an_environment_variable_counts_and_is_nowhere_told() {
    let sandbox = project(
        "stages: {a: {sh: 'printf %s \"$SECRET\" | wc -c > o', outs: [o], env: [SECRET]}}\n",
    );
    let with = |args: &[&str], value: Option<&str>| -> Ran {
        let mut command = sandbox.command(args);
        command.envs(value.map(|value| ("SECRET", value)));
        sandbox.finish(&mut command).ok()
    };
    let why = |value| with(&["why", "a"], value).stdout;
    with(&["run"], None);
    assert_eq!(why(Some("")), "$SECRET is set now\n", "empty is not unset");
    let loud = with(&["run", "--json", "-v"], Some("topsecret1"));
    let again = with(&["run"], Some("topsecret1"));
    assert!(again.stderr.contains("nothing to do"), "{again}");
    let why_other = why(Some("topsecret2"));
    assert_eq!(why_other, "$SECRET changed\n");
    assert_eq!(why(None), "$SECRET is not set any more\n");
    let told = [
        loud.stdout,
        loud.stderr,
        why_other,
        with(&["status", "--json"], Some("topsecret2")).stdout,
        with(&["run", "-n"], Some("topsecret2")).stdout,
        with(&["run", "-n", "--json"], Some("topsecret2")).stdout,
        with(&["run"], Some("topsecret2")).stderr,
    ];
    assert!(
        told.iter().all(|text| !text.contains("topsecret")),
        "{told:?}"
    );
    for (path, bytes) in files(&sandbox.path(".")) {
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("topsecret"), "{path}");
    }
}

#[test]
fn a_stage_in_a_folder_of_its_own() {
    let sandbox = project(
        "stages:
  made:
    wdir: sub
    cmd: sh make.sh ../top
    deps: [in]
    params: [{p.yaml: [x]}]
    outs: [out]
  each:
    wdir: sub
    foreach: 'texts/*'
    cmd: cp ${item} copies/${key}
    outs: ['copies/${key}']
",
    );
    sandbox.write("sub/make.sh", "cat in $1 > out");
    sandbox.write("sub/in", "in,");
    sandbox.write("top", "top");
    sandbox.write("sub/p.yaml", "x: 1\n");
    sandbox.write("sub/texts/a.txt", "a");
    sandbox.run(&["run"]).ok();
    assert_eq!(sandbox.read("sub/out"), "in,top");
    assert_eq!(sandbox.read("sub/copies/a"), "a");
    for (file, text, reason) in [
        (
            "sub/make.sh",
            "cat in $1 > out # new",
            "sub/make.sh changed",
        ),
        ("sub/in", "new", "sub/in changed"),
        ("top", "new", "top changed"),
        ("sub/p.yaml", "x: 2\n", "sub/p.yaml:x changed from 1 to 2"),
    ] {
        sandbox.write(file, text);
        assert_eq!(state(&sandbox, "made").1, reason);
        assert_eq!(ran(&sandbox, &[]), ["made"]);
    }
}

#[test]
fn a_subcommand_in_a_folder_of_its_own() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "pipeline.yaml",
        "stages:
  fetch: {wdir: sub, cmd: krammerti fetch station --out raw.parquet}
  prepare: {wdir: sub/deep, cmd: krammerti prepare ../raw.parquet --out data}
",
    );
    assert_eq!(ran(&sandbox, &[]), ["fetch", "prepare"]);
    assert!(sandbox.path("sub/deep/data/dataset.json").exists());
    let by_hand = ["prepare", "sub/raw.parquet", "--out", "sub/deep/data"];
    let by_hand = sandbox.run(&by_hand).ok();
    assert!(by_hand.stderr.contains("nothing to do"), "{by_hand}");
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let sandbox = project("stages: {a: {wdir: no/where, cmd: touch ../../o, outs: [../../o]}}\n");
    sandbox
        .run(&["run"])
        .fails(1, &["stage `a`", "wdir", "no/where is not a folder"]);
}

#[test]
fn foreach_over_lists_maps_and_parameters() {
    let sandbox = project(
        "stages:
  list: {foreach: [1, two], cmd: 'touch list-${item}', outs: ['list-${item}']}
  map:
    foreach: {b: {to: x}, a: {to: y}}
    cmd: touch ${key}-${item.to}
    outs: ['${key}-${item.to}']
  named: {foreach: '${params.extra.stations}', cmd: 'touch at-${item.id}', outs: ['at-${item.id}']}
",
    );
    let params = "extra: {stations: [{name: calais, id: 7}, {name: dover, id: 8}]}\n";
    sandbox.write("params.yaml", params);
    let all = [
        "list@1",
        "list@two",
        "map@a",
        "map@b",
        "named@calais",
        "named@dover",
    ];
    assert_eq!(ran(&sandbox, &[]), all);
    for made in ["list-1", "list-two", "a-y", "b-x", "at-7", "at-8"] {
        assert!(sandbox.path(made).exists(), "{made}");
    }
    sandbox.edit("params.yaml", "id: 8", "id: 9");
    let again = sandbox.run_json(&["named"]);
    assert_eq!(
        list(&again, "ran"),
        ["named@dover"],
        "the name of all is a target"
    );
    assert_eq!(list(&again, "fresh"), ["named@calais"]);
    assert_eq!(list(&sandbox.run_json(&["map@a"]), "fresh"), ["map@a"]);
    let several = sandbox.run(&["why", "map"]);
    several.fails(2, &["`map` stands for several stages", "map@a, map@b"]);
}

#[test]
fn foreach_over_files() {
    let sandbox = project(
        "stages:
  one: {foreach: 'in/*/raw.csv', cmd: 'cp ${item} out/${key}', outs: ['out/${key}']}
",
    );
    for station in ["calais", "st. malo", "ü"] {
        sandbox.write(&format!("in/{station}/raw.csv"), station);
    }
    assert_eq!(ran(&sandbox, &[]), ["one@calais", "one@st.-malo", "one@-"]);
    assert_eq!(sandbox.read("out/st.-malo"), "st. malo");
    sandbox.write("in/brest/raw.csv", "new");
    let event = sandbox.run_json(&[]);
    assert_eq!(
        (list(&event, "ran"), list(&event, "fresh").len()),
        (vec!["one@brest".into()], 3)
    );
    sandbox.write("in/st. malo/raw.csv", "changed");
    assert_eq!(ran(&sandbox, &[]), ["one@st.-malo"]);
    sandbox.write("in/é/raw.csv", "odd too");
    sandbox.run(&["run"]).fails(
        2,
        &["stage `one`", "in/é/raw.csv", "in/ü/raw.csv", "key `-`"],
    );
}

#[test]
fn what_an_item_wrote_goes_with_it_and_comes_back_from_the_store() {
    let sandbox = project(
        "stages:
  count: {foreach: 'texts/*', sh: 'wc -c < ${item} > counts/${key}', outs: ['counts/${key}']}
  sum: {sh: cat counts/* | wc -l > sum, deps: [counts], outs: [sum]}
",
    );
    for text in ["a", "b", "c", "d"] {
        sandbox.write(&format!("texts/{text}"), text);
    }
    sandbox.run(&["run"]).ok();
    assert_eq!(sandbox.read("sum").trim(), "4");
    std::fs::remove_file(sandbox.path("texts/b")).unwrap();
    std::fs::remove_file(sandbox.path("texts/d")).unwrap();
    let sum = state(&sandbox, "sum");
    assert_eq!(
        sum,
        (
            "stale".into(),
            "counts/b goes: count@b is no stage any more".into()
        )
    );
    let dry = sandbox.run(&["run", "-n"]).ok().stdout;
    assert!(dry.contains("counts/b goes"), "{dry}");
    assert!(sandbox.path("counts/b").exists(), "nothing went yet");
    sandbox.write("counts/d", "by hand\n");
    let told = sandbox.run(&["run"]).ok().stderr;
    assert!(told.contains("removed counts/b"), "{told}");
    assert!(
        told.contains("warning: counts/d is left of count@d"),
        "{told}"
    );
    assert_eq!(sandbox.read("sum").trim(), "3");
    assert!(!sandbox.path("counts/b").exists());
    assert_eq!(
        sandbox.read("counts/d"),
        "by hand\n",
        "nobody's work is deleted"
    );
    sandbox.write("texts/b", "b");
    let back = sandbox.run_json(&[]);
    assert_eq!(list(&back, "restored"), ["count@b"]);
    // A whole stage that was taken out may leave its results to somebody.
    sandbox.write(
        "pipeline.yaml",
        "stages: {sum: {sh: ls counts > sum, deps: [counts], outs: [sum]}}\n",
    );
    sandbox.run(&["run"]).ok();
    assert!(sandbox.path("counts/a").exists());
}

#[test]
fn a_matrix_is_every_combination() {
    let sandbox = project(
        "stages:
  train:
    matrix: {model: [ridge, lstm], seed: '${params.extra.seeds}'}
    sh: echo ${item.model} ${item.seed} > out/${key}
    outs: ['out/${key}']
",
    );
    sandbox.write("params.yaml", "extra: {seeds: [1, 2]}\n");
    let all = [
        "train@ridge-1",
        "train@ridge-2",
        "train@lstm-1",
        "train@lstm-2",
    ];
    assert_eq!(ran(&sandbox, &[]), all);
    assert_eq!(sandbox.read("out/lstm-2"), "lstm 2\n");
    sandbox.write("params.yaml", "extra: {seeds: [2, 3]}\n");
    let event = sandbox.run_json(&[]);
    assert_eq!(list(&event, "ran"), ["train@ridge-3", "train@lstm-3"]);
    assert_eq!(list(&event, "fresh"), ["train@ridge-2", "train@lstm-2"]);
}

#[test]
fn a_result_that_holds_for_a_time_goes_stale_with_age() {
    let sandbox = Sandbox::new();
    let fresh_for = |span: &str| {
        let fetch = format!("cmd: krammerti fetch station --out raw.parquet, fresh_for: {span}");
        let prepare = "cmd: krammerti prepare raw.parquet --out data";
        let pipeline = format!("stages: {{fetch: {{{fetch}}}, prepare: {{{prepare}}}}}\n");
        sandbox.write("pipeline.yaml", &pipeline);
    };
    let by_hand = ["fetch", "station", "--out", "raw.parquet"];
    fresh_for("1h");
    sandbox.run(&["run"]).ok();
    assert_eq!(list(&sandbox.run_json(&[]), "fresh"), ["fetch", "prepare"]);
    let typed = sandbox.run(&by_hand).ok();
    assert!(typed.stderr.contains("nothing to do"), "{typed}");
    // How long it holds is no part of the key.
    fresh_for("1s");
    std::thread::sleep(Duration::from_millis(1100));
    let (state, reason) = state(&sandbox, "fetch");
    assert!(reason.contains("and holds for 1 s"), "{state} {reason}");
    assert!(sandbox.run(&by_hand).ok().stderr.contains("holds for 1 s"));
    fresh_for("1h");
    assert_eq!(
        list(&sandbox.run_json(&[]), "fresh"),
        ["fetch", "prepare"],
        "and so do others"
    );
    fresh_for("1s");
    std::thread::sleep(Duration::from_millis(1100));
    let event = sandbox.run_json(&[]);
    assert_eq!(
        (list(&event, "ran"), list(&event, "fresh")),
        (vec!["fetch".into()], vec!["prepare".into()])
    );
}

#[test]
fn a_frozen_stage_never_runs() {
    let pipeline = |frozen| {
        format!(
            "stages:
  bad:  {{cmd: sh bad.sh, outs: [b]}}
  slow: {{sh: cat b in > o, deps: [b, in], outs: [o], frozen: {frozen}}}
  next: {{cmd: cp o p, outs: [p]}}
"
        )
    };
    let sandbox = project(&pipeline("false"));
    sandbox.write("bad.sh", "touch b");
    sandbox.write("in", "1");
    sandbox.run(&["run"]).ok();
    sandbox.write("pipeline.yaml", &pipeline("true"));
    sandbox.write("in", "2");
    assert_eq!(state(&sandbox, "slow").0, "frozen");
    let why = sandbox.run(&["why", "slow"]).ok().stdout;
    assert!(why.contains("slow is frozen"), "{why}");
    assert_eq!(
        list(&sandbox.run_json(&["--force"]), "ran"),
        ["bad", "next"]
    );
    std::fs::remove_file(sandbox.path("o")).unwrap();
    assert_eq!(list(&sandbox.run_json(&[]), "restored"), ["slow"]);
    assert_eq!(sandbox.read("o"), "1");
    // It needs nothing, so a failure before it is no matter to those after it.
    sandbox.write("bad.sh", "exit 1");
    sandbox.write("o", "by hand");
    let event = sandbox.run_json(&["--keep-going"]);
    assert_eq!(
        (list(&event, "failed"), list(&event, "ran")),
        (vec!["bad".into()], vec!["next".into()])
    );
    assert_eq!(sandbox.read("p"), "by hand", "taken as it lies");
    assert_eq!(
        list(&sandbox.run_json(&["next"]), "fresh"),
        ["slow", "next"]
    );
}

#[test]
fn a_frozen_stage_with_nothing_to_show_says_so() {
    let sandbox = project("stages: {a: {cmd: touch o, outs: [o], frozen: true}}\n");
    assert_eq!(state(&sandbox, "a").0, "blocked");
    sandbox
        .run(&["run"])
        .fails(1, &["it is frozen, and o is neither", "hint:", "`frozen`"]);
    sandbox.write("o", "put there");
    assert_eq!(list(&sandbox.run_json(&[]), "fresh"), ["a"]);
}

#[test]
fn a_stage_that_always_runs_leaves_others_alone_where_its_bytes_are_equal() {
    let sandbox = project(
        "stages:
  look: {cmd: sh look.sh, outs: [seen], always: true}
  use: {cmd: cp seen used, outs: [used]}
",
    );
    sandbox.write("look.sh", "cat /dev/null > seen; echo x >> count");
    assert_eq!(ran(&sandbox, &[]), ["look", "use"]);
    let event = sandbox.run_json(&[]);
    assert_eq!(
        (list(&event, "ran"), list(&event, "fresh")),
        (vec!["look".into()], vec!["use".into()])
    );
    assert_eq!(sandbox.read("count"), "x\nx\n");
    assert_eq!(
        state(&sandbox, "look"),
        ("stale".into(), "it always runs".into())
    );
}

const CHOICE: &str = "stages:
  ridge: {sh: echo ridge > model, outs: [model], when: {extra.kind: ridge}}
  lstm: {sh: echo lstm > model, outs: [model], when: {extra.kind: [lstm, gru]}}
  report: {cmd: cp model report, outs: [report]}
  plot: {cmd: touch plot, outs: [plot], when: {extra.plots: true}}
  page: {cmd: cp plot page, outs: [page]}
";

#[test]
fn a_condition_leaves_out_a_stage_and_those_that_need_it() {
    let sandbox = project(CHOICE);
    sandbox.write("params.yaml", "extra: {kind: ridge}\n");
    let told = sandbox.run(&["run"]).ok();
    assert!(
        told.stderr
            .contains("ran 2 (ridge, report); off 3 (lstm, plot, page);"),
        "{told}"
    );
    let off = |stage: &str| state(&sandbox, stage);
    let is = |reason: &str| ("off".to_owned(), reason.to_owned());
    assert_eq!(
        off("lstm"),
        is("extra.kind is \"ridge\", not \"lstm\" or \"gru\"")
    );
    assert_eq!(off("plot"), is("extra.plots is unset, not true"));
    assert_eq!(off("page"), is("it needs plot, which is off"));
    let why = sandbox.run(&["why", "page"]).ok().stdout;
    assert_eq!(why, "page is off: it needs plot, which is off\n");
    sandbox.write("params.yaml", "extra: {kind: gru, plots: true}\n");
    assert_eq!(ran(&sandbox, &[]), ["lstm", "report", "plot", "page"]);
    assert_eq!(sandbox.read("report"), "lstm\n");
    sandbox.write("params.yaml", "extra: {kind: ridge}\n");
    assert_eq!(
        list(&sandbox.run_json(&[]), "restored"),
        ["ridge", "report"]
    );
    let again = sandbox.run(&["run"]).ok().stderr;
    assert_eq!(
        again,
        "nothing to do: all 2 stages are fresh; off 3 (lstm, plot, page)\n"
    );
}

#[test]
fn who_asks_for_a_stage_that_is_off_is_told() {
    let sandbox = project(CHOICE);
    sandbox.write("params.yaml", "extra: {kind: ridge}\n");
    let says = [
        "stage `lstm` is off: extra.kind is \"ridge\", not",
        "hint:",
        "when",
    ];
    sandbox.run(&["run", "report", "lstm"]).fails(2, &says);
    sandbox
        .run(&["run", "--downstream", "lstm"])
        .fails(2, &says);
    sandbox
        .run(&["run", "page"])
        .fails(2, &["`page` is off: it needs plot"]);
    assert!(!sandbox.path("report").exists(), "nothing was begun");
    sandbox.write(
        "pipeline.yaml",
        "stages: {a: {foreach: [1, 2], cmd: 'touch a${item}', outs: ['a${item}'], when: {extra.n: '${item}'}}}",
    );
    sandbox.write("params.yaml", "extra: {n: '2'}\n");
    let some = sandbox.run(&["run", "a"]).ok().stderr;
    assert!(some.contains("ran 1 (a@2); off 1 (a@1);"), "{some}");
    sandbox.write("params.yaml", "extra: {n: '3'}\n");
    let none = sandbox.run(&["run"]).ok().stderr;
    assert_eq!(none, "nothing to do: off 2 (a@1, a@2)\n");
}

#[test]
fn a_stage_is_tried_again_with_a_log_for_each_try() {
    let sandbox =
        project("stages: {a: {cmd: sh try.sh, outs: [o], retries: 3, retry_delay: 1ms}}\n");
    sandbox.write(
        "try.sh",
        "echo this is try $KRAMMERTI_ATTEMPT of $KRAMMERTI_STAGE
test ! -e o || echo the last try left o >&2
echo $KRAMMERTI_ATTEMPT > o
test $KRAMMERTI_ATTEMPT -ge 3
",
    );
    let told = sandbox.run(&["run"]).ok().stderr;
    assert!(
        told.contains("try 2 of 4 in 1 ms: `sh try.sh` ended with exit code 1"),
        "{told}"
    );
    assert!(told.contains("try 3 of 4 in 2 ms"), "{told}");
    assert_eq!(sandbox.read("o"), "3\n");
    let expected = |n: usize| (format!("a.{n}.log"), format!("this is try {n} of a\n"));
    assert_eq!(logs(&sandbox), [expected(1), expected(2), expected(3)]);
}

#[test]
fn a_stage_that_never_ends_well_is_told_once() {
    let sandbox = project("stages: {a: {sh: 'exit 7', outs: [o], retries: 1, retry_delay: 1ms}}\n");
    let events = sandbox
        .run(&["run", "--json"])
        .fails(1, &["`exit 7` ended with exit code 7"]);
    let count = |kind: &str| {
        events
            .stdout
            .matches(&format!("\"event\":\"{kind}\""))
            .count()
    };
    assert_eq!(
        (
            count("stage_started"),
            count("stage_retry"),
            count("stage_finished")
        ),
        (1, 1, 1)
    );
    assert!(
        events.stdout.contains("\"attempt\":2,\"attempts\":2"),
        "{events}"
    );
    // Wrong usage stays wrong.
    let sandbox = Sandbox::new();
    sandbox.write(
        "pipeline.yaml",
        "stages: {a: {cmd: krammerti prepare nothing --out o, retries: 5, deps: [station.csv]}}\n",
    );
    sandbox.run(&["run"]).fails(2, &["nothing does not exist"]);
}

#[test]
fn a_stage_that_takes_too_long_is_ended_with_all_that_it_started() {
    let sandbox = project(
        "stages: {a: {cmd: sh slow.sh, outs: [o], timeout: 300ms}, b: {cmd: cp o p, outs: [p]}}\n",
    );
    // None of them ends at TERM; one is in a session of its own.
    sandbox.write(
        "slow.sh",
        "trap '' TERM
echo $$ > pid1
sh -c 'trap \"\" TERM; echo $$ > pid2; sleep 50; echo late > late' &
setsid sh -c 'trap \"\" TERM; echo $$ > pid3; sleep 50; echo late > late' &
echo half > o
sleep 50
sleep 50
",
    );
    sandbox.run(&["run"]).fails(
        1,
        &[
            "longer than its timeout of 0.3 s",
            "krammerti log a",
            "skipped 1 (b)",
        ],
    );
    for pid in ["pid1", "pid2", "pid3"] {
        let pid = sandbox.read(pid);
        wait_for("its end", || !lives(&pid));
    }
    assert!(!sandbox.path("o").exists() && !sandbox.path("late").exists());
}

#[test]
fn stages_that_share_one_token_run_one_after_another() {
    let sandbox = project(
        "resources: {licence: 1}
stages:
  use:
    foreach: [1, 2, 3, 4, 5, 6]
    # Two at once would find the folder of the other.
    sh: mkdir held && sleep 0.05 && rmdir held && touch o${item}
    outs: ['o${item}']
    resources: {licence: 1, threads: 1000}
",
    );
    assert_eq!(ran(&sandbox, &["--jobs", "6"]).len(), 6);
}

/// A stage that ends only when all of these have begun.
fn meets(name: &str, others: &[&str]) -> String {
    let wait = others
        .iter()
        .map(|other| format!("until test -e {other}.begun; do sleep 0.01; done; "));
    let wait: String = wait.collect();
    format!(
        "  {name}: {{sh: 'touch {name}.begun; {wait}touch {name}', outs: [{name}], timeout: 50s}}\n"
    )
}

#[test]
fn jobs_run_side_by_side_and_their_words_do_not_mix() {
    let shout = |name: &str| {
        format!(
            "  {name}: {{sh: 'for i in $(seq 300); do echo {name}; echo {name} >&2; done; touch {name}', outs: [{name}]}}\n"
        )
    };
    let sandbox = project(&format!(
        "stages:\n{}{}{}{}",
        meets("a", &["b"]),
        meets("b", &["a"]),
        shout("c"),
        shout("d")
    ));
    let told = sandbox.run(&["run", "--jobs", "2", "--json"]).ok();
    for (log, text) in logs(&sandbox) {
        let stage = &log[..1];
        assert!(
            text.lines().all(|line| line == stage),
            "{log} has words of others"
        );
        assert_eq!(
            text.lines().count(),
            if "cd".contains(stage) { 600 } else { 0 }
        );
    }
    assert!(
        told.stdout
            .lines()
            .all(|line| serde_json::from_str::<Value>(line).is_ok())
    );
}

#[test]
fn what_stages_say_side_by_side_has_their_names() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "pipeline.yaml",
        "stages:
  fetch: {cmd: krammerti fetch station --out raw.parquet}
  prepare:
    foreach: [one, two]
    cmd: krammerti prepare raw.parquet --out data/${item}
  train:
    foreach: [one, two]
    cmd: krammerti train data/${item} --out model/${item}
  evaluate:
    foreach: [one, two]
    cmd: krammerti evaluate model/${item} --data data/${item} --out report/${item}
",
    );
    let told = sandbox.run(&["run", "--jobs", "2", "--json"]).ok().stdout;
    let events: Vec<Value> = told
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let stages = |kind: &str| -> BTreeSet<&str> {
        let of_kind = events.iter().filter(|event| event["event"] == kind);
        of_kind
            .map(|event| event["stage"].as_str().unwrap())
            .collect()
    };
    assert_eq!(
        stages("result"),
        BTreeSet::from(["evaluate@one", "evaluate@two"])
    );
    assert!(stages("note").contains("prepare@two"), "{told}");
    assert_eq!(stages("stage_finished").len(), 7);
}

#[test]
fn ctrl_c_ends_all_jobs_and_tells_nobody_of_a_failure() {
    let slow = |name: &str| {
        format!(
            "  {name}: {{sh: 'echo $$ > {name}.pid; sleep 50; touch {name}', outs: [{name}]}}\n"
        )
    };
    let sandbox = project(&format!(
        "on_failure: touch told\nstages:\n{}{}{}",
        slow("a"),
        slow("b"),
        slow("c")
    ));
    let mut child = sandbox
        .command(&["run", "--jobs", "2"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let pid = |name: &str| std::fs::read_to_string(sandbox.path(name)).unwrap_or_default();
    wait_for("two stages", || {
        pid("a.pid").ends_with('\n') && pid("b.pid").ends_with('\n')
    });
    kill(&child, "-INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(!lives(&pid("a.pid")) && !lives(&pid("b.pid")));
    assert!(!sandbox.path("c.pid").exists() && !sandbox.path("told").exists());
}

#[test]
fn jobs_keep_going_after_a_failure() {
    let sandbox = project(
        "stages:
  bad: {foreach: [1, 2], sh: 'exit ${item}', outs: ['bad${item}']}
  good: {foreach: [1, 2, 3, 4], cmd: 'touch good${item}', outs: ['good${item}']}
  after: {cmd: cp bad2 after, outs: [after]}
",
    );
    let told = sandbox.run(&["run", "--keep-going", "--jobs", "3"]);
    let told = told.fails(
        1,
        &["stage `bad@", "(failed too: bad@", "skipped 1 (after)"],
    );
    assert!(
        told.stderr
            .contains("ran 4 (good@1, good@2, …); failed 2 (bad@1, bad@2)"),
        "{told}"
    );
}

#[test]
fn a_command_is_told_what_failed() {
    let sandbox = project(
        "on_failure: sh tell.sh whole
stages:
  own: {sh: 'echo some words; exit 3', outs: [o], on_failure: sh tell.sh own, retries: 1, retry_delay: 1ms}
  file: {wdir: sub, sh: 'exit 4', outs: [o]}
  bad: {sh: 'exit 5', outs: [p], on_failure: sh -c 'echo cannot tell; exit 9'}
  none: {cmd: cp missing q, deps: [missing], outs: [q]}
",
    );
    sandbox.write(
        "tell.sh",
        "echo $1 $KRAMMERTI_STAGE $KRAMMERTI_ATTEMPT: $KRAMMERTI_ERROR >> told
test -z \"$KRAMMERTI_LOG\" || cat \"$KRAMMERTI_LOG\" >> told
",
    );
    sandbox.write("sub/tell.sh", "sh ../tell.sh $1");
    let ran = sandbox.run(&["run", "--keep-going"]);
    let ran = ran.fails(
        1,
        &["stage `own` failed: `echo some words; exit 3` ended with exit code 3"],
    );
    assert!(
        ran.stderr
            .contains("warning: on_failure: `sh -c` ended with exit code 9"),
        "{ran}"
    );
    let own = "own own 2: `echo some words; exit 3` ended with exit code 3\nsome words\n";
    let none = "whole none 1: input missing does not exist\n";
    assert_eq!(sandbox.read("told"), format!("{own}{none}"));
    let file = "whole file 1: `exit 4` ended with exit code 4\n";
    assert_eq!(
        sandbox.read("sub/told"),
        file,
        "it runs where the stage does"
    );
    let logs = logs(&sandbox);
    let log = logs.iter().find(|(name, _)| name == "bad.on_failure.log");
    assert_eq!(log.unwrap().1, "cannot tell\n");
}

#[test]
fn meeting_another_run_is_no_failure_to_be_told() {
    let sandbox = project(
        "stages: {a: {sh: 'touch begun; until test -e go; do sleep 0.01; done; touch o', outs: [o], on_failure: touch told}}\n",
    );
    let mut first = sandbox
        .command(&["run"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for("the stage", || sandbox.path("begun").exists());
    sandbox
        .run(&["run", "--no-wait"])
        .fails(4, &["another run is writing o"]);
    sandbox.write("go", "");
    assert!(first.wait().unwrap().success());
    assert!(!sandbox.path("told").exists());
}

/// Whether this kernel confines; says so where it does not.
fn confines() -> bool {
    let sandbox = project("stages: {a: {cmd: touch o, outs: [o], strict: true}}\n");
    let told = sandbox.run(&["run"]).ok().stderr;
    let full = !told.contains("not fully in force");
    if !full {
        skipped(&told);
    }
    full
}

#[test]
fn a_strict_stage_reads_only_what_it_declares() {
    if !confines() {
        return;
    }
    // The name is put together, so that it does not count as an input by being there.
    let stage = |deps: &str| {
        format!("stages: {{a: {{sh: 'f=secret; cat $f >o', {deps} outs: [o], strict: true}}}}\n")
    };
    let sandbox = project(&stage(""));
    sandbox.write("secret", "words");
    let failed = sandbox.run(&["run"]);
    failed.fails(
        1,
        &[
            "secret: Permission denied",
            "hint: it runs strictly",
            "deps",
        ],
    );
    assert!(!sandbox.path("o").exists());
    sandbox.write("pipeline.yaml", &stage("deps: [secret],"));
    sandbox.run(&["run"]).ok();
    assert_eq!(sandbox.read("o"), "words");
}

#[test]
fn a_strict_stage_writes_only_its_outputs() {
    if !confines() {
        return;
    }
    let sandbox = project(
        "stages:
  folder: {sh: echo 1 > d/x; mkdir d/y; echo 2 > d/y/z, outs: [d/], strict: true}
  other: {sh: echo x > elsewhere; echo y > o, outs: [o], strict: true}
  unsaid: {sh: mkdir e; echo x > e/x, outs: [e], strict: true}
",
    );
    let ran = sandbox
        .run(&["run", "--keep-going"])
        .fails(1, &["elsewhere: Permission denied"]);
    assert!(
        ran.stderr
            .contains("ran 1 (folder); failed 2 (other, unsaid)"),
        "{ran}"
    );
    assert_eq!(sandbox.read("d/y/z"), "2\n");
    assert!(!sandbox.path("elsewhere").exists());
    sandbox
        .run(&["run", "unsaid"])
        .fails(1, &["declared as `e/`"]);
}

#[test]
fn subcommands_work_strictly() {
    if !confines() {
        return;
    }
    let sandbox = Sandbox::new();
    let strict = sandbox
        .read("pipeline.yaml")
        .replace("}\n", ", strict: true}\n");
    sandbox.write("pipeline.yaml", &strict);
    assert_eq!(ran(&sandbox, &[]).len(), 5);
    let plain = Sandbox::new();
    plain.run(&["run"]).ok();
    for path in ["forecast/forecast.json", "report/metrics.json"] {
        assert_eq!(sandbox.read(path), plain.read(path), "{path}");
    }
}

const CHAIN: &str = "stages:
  a: {cmd: sh slow.sh a, outs: [a]}
  b: {cmd: sh slow.sh b a, deps: [a], outs: [b]}
  c: {cmd: sh slow.sh c b, deps: [b], outs: [c]}
  d: {cmd: sh slow.sh d a, deps: [a], outs: [d]}
";

fn chain() -> Sandbox {
    let sandbox = project(CHAIN);
    sandbox.write(
        "slow.sh",
        "sleep 0.02; { cat extra; cat $2 /dev/null; } > $1\n",
    );
    sandbox.write("extra", "1\n");
    sandbox.edit(
        "pipeline.yaml",
        "cmd: sh slow.sh a,",
        "cmd: sh slow.sh a, deps: [extra],",
    );
    sandbox
}

#[test]
fn downstream_takes_what_a_stage_needs_as_it_lies() {
    let sandbox = chain();
    sandbox.run(&["run"]).ok();
    sandbox.write("slow.sh", "echo other > $1");
    assert_eq!(ran(&sandbox, &["--downstream", "b"]), ["b", "c"]);
    assert_eq!(
        (state(&sandbox, "a").0, sandbox.read("a")),
        ("stale".into(), "1\n".into())
    );
    assert_eq!(
        ran(
            &sandbox,
            &["--downstream", "d", "--downstream", "c", "--force"]
        ),
        ["c", "d"]
    );
    sandbox
        .run(&["run", "--downstream", "b", "a"])
        .fails(2, &["cannot be used with"]);
    sandbox
        .run(&["run", "--downstream", "x"])
        .fails(2, &["no stage is named `x`"]);
}

#[test]
fn a_dry_run_tells_what_a_run_does_and_changes_nothing() {
    let sandbox = chain();
    // But for what it remembers of files that it hashed.
    let all_files = || {
        let mut all = files(&sandbox.path("."));
        all.retain(|(path, _)| !path.ends_with("stat-cache"));
        all
    };
    let before = all_files();
    let first = sandbox.run(&["run", "--dry-run"]).ok().stdout;
    assert_eq!(all_files(), before);
    assert!(
        first.contains("a  runs                it has not run yet\n"),
        "{first}"
    );
    assert!(
        first.contains("b  may run             waits for a\n"),
        "{first}"
    );
    assert!(first.contains("\n1 to run, 3 that may run\n"), "{first}");
    sandbox.run(&["run"]).ok();
    sandbox.write("extra", "2\n");
    sandbox.run(&["run"]).ok();
    sandbox.write("extra", "1\n");
    let before = all_files();
    let back = sandbox.run(&["run", "-n"]).ok().stdout;
    assert_eq!(all_files(), before);
    assert!(
        back.contains("\n4 to restore\n"),
        "a chain of results that the store has: {back}"
    );
    let dry: Value = serde_json::from_str(
        &sandbox
            .run(&["run", "-n", "--json", "--force", "c"])
            .ok()
            .stdout,
    )
    .unwrap();
    let told: Vec<(&str, &str, bool)> = dry["stages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| {
            let text = |key: &str| s[key].as_str().unwrap();
            (
                text("stage"),
                text("state"),
                s["seconds"].as_f64().unwrap() >= 0.02,
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("a", "stale", true),
            ("b", "stale", true),
            ("c", "stale", true)
        ]
    );
    assert_eq!(dry["critical_path"], json!(["a", "b", "c"]));
    assert!(dry["critical_seconds"].as_f64().unwrap() >= 0.06, "{dry}");
    assert_eq!(
        list(&sandbox.run_json(&[]), "restored"),
        ["a", "b", "c", "d"]
    );
}

#[test]
fn a_dry_run_says_how_long_by_earlier_runs() {
    let sandbox = chain();
    sandbox.run(&["run"]).ok();
    sandbox.write(
        "pipeline.yaml",
        &(CHAIN.to_owned() + "  e: {cmd: touch e, outs: [e]}\n"),
    );
    sandbox.write("slow.sh", "exit 1");
    let told = sandbox.run(&["run", "-n"]).ok().stdout;
    assert!(
        told.contains(" by earlier runs, and 1 that never ran\n"),
        "{told}"
    );
    assert!(told.contains("critical path: a → b → c, "), "{told}");
    // In milliseconds, or on a busy machine in seconds; the one that never ran has none.
    let timed = told.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let stage = words.next()?;
        let unit = words
            .skip_while(|word| word.parse::<f64>().is_err())
            .nth(1)?;
        ["ms", "s"].contains(&unit).then_some(stage)
    });
    let stages: Vec<&str> = timed.filter(|stage| stage.len() == 1).collect();
    assert_eq!(stages, ["a", "b", "c", "d"], "{told}");
}

#[test]
fn lines_of_a_run_with_many_stages_fit_a_terminal() {
    let sandbox = project(
        "stages:
  count:
    foreach: '${params.extra.names}'
    sh: touch out/${key}
    outs: ['out/${key}']
  sum: {sh: ls out > sum, deps: [out], outs: [sum]}
",
    );
    let names: Vec<String> = (0..60).map(|i| format!("a-rather-long-name-{i}")).collect();
    sandbox.write(
        "params.yaml",
        &json!({"extra": {"names": names}}).to_string(),
    );
    let told = sandbox.run(&["run", "--jobs", "2"]).ok().stderr;
    let last = told.lines().last().unwrap();
    assert!(
        last.starts_with("ran 61 (count@a-rather-long-name-0, "),
        "{last}"
    );
    assert!(
        told.lines().all(|line| line.chars().count() <= 80),
        "{told}"
    );
    for command in [
        ["run", "-n"].as_slice(),
        &["status"],
        &["run", "-n", "--force"],
        &["graph"],
    ] {
        let told = sandbox.run(command).ok().stdout;
        assert!(
            told.lines().all(|line| line.chars().count() <= 80),
            "{told}"
        );
    }
    let status = sandbox.run(&["status"]).ok().stdout;
    assert_eq!(status.lines().count(), 61, "{status}");
    sandbox.edit("pipeline.yaml", "touch out", "touch ./out");
    let status = sandbox.run(&["status"]).ok().stdout;
    assert!(
        status.ends_with("and 55 more: krammerti why sum\n"),
        "{status}"
    );
    assert_eq!(sandbox.run(&["why", "sum"]).ok().stdout.lines().count(), 60);
}

#[test]
fn the_textbook_case() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/fan-out");
    let sandbox = Sandbox::empty();
    let pipeline = std::fs::read_to_string(example.join("pipeline.yaml")).unwrap();
    sandbox.write("pipeline.yaml", &pipeline);
    let texts = files(&example.join("texts"));
    assert_eq!(texts.len(), 100);
    let mut words = 0;
    for (path, text) in &texts {
        let name = path.rsplit('/').next().unwrap();
        let text = String::from_utf8(text.clone()).unwrap();
        words += text.split_whitespace().count();
        sandbox.write(&format!("texts/{name}"), &text);
    }
    let total = |sandbox: &Sandbox| sandbox.read("total.txt").trim().parse::<usize>().unwrap();
    assert_eq!(ran(&sandbox, &["--jobs", "2"]).len(), 101);
    assert_eq!(total(&sandbox), words);
    let again = sandbox.run(&["run"]).ok().stderr;
    assert_eq!(again, "nothing to do: all 101 stages are fresh\n");
    sandbox.write("texts/text-042.txt", "two words");
    assert_eq!(ran(&sandbox, &[]), ["count@text-042", "sum"]);
    let now = total(&sandbox);
    // One that cannot be counted: the others are, and the old sum stays.
    std::fs::remove_file(sandbox.path("total.txt")).unwrap();
    sandbox.edit("pipeline.yaml", "wc -w <", "grep -v Quux");
    sandbox.write("texts/text-007.txt", "Quux");
    let event = sandbox.run_json(&["--keep-going", "--jobs", "2"]);
    assert_eq!(list(&event, "ran").len(), 99);
    assert_eq!(list(&event, "failed"), ["count@text-007"]);
    assert_eq!(list(&event, "skipped"), ["sum"]);
    assert!(!sandbox.path("total.txt").exists());
    sandbox.edit("pipeline.yaml", "grep -v Quux", "wc -w <");
    sandbox.write("texts/text-007.txt", "");
    let event = sandbox.run_json(&["--jobs", "2"]);
    assert_eq!(
        (list(&event, "ran"), list(&event, "restored").len()),
        (vec!["count@text-007".into(), "sum".into()], 99)
    );
    assert!(total(&sandbox) < now);
}

#[test]
fn what_is_wrong_in_the_file_is_told_by_stage_and_key() {
    let sandbox = Sandbox::empty();
    sandbox.write("params.yaml", "extra: {x: 1}\n");
    let a_stage = |keys: &str| format!("stages:\n  one:\n    {keys}\n");
    let with = |key: &str| a_stage(&format!("outs: [o]\n    cmd: x\n    {key}"));
    let cases: &[(String, &[&str])] = &[
        (a_stage("outs: [o]"), &["`one`", "expected `cmd` or `sh`"]),
        (
            a_stage("cmd: 5"),
            &["one.cmd", "`5`", "one line of text, or a list", "line 3"],
        ),
        (
            a_stage("cmd: [a, 5]\n    outs: [{}]"),
            &["one.outs[0]", "one name"],
        ),
        (
            a_stage("{sh: [x], outs: [o]}"),
            &["one.sh", "sequence", "expected a string"],
        ),
        (with("sh: y"), &["`one`", "both `cmd` and `sh`"]),
        (with("desc: [x]"), &["one.desc", "expected a string"]),
        (
            with("deps: x"),
            &["one.deps", "\"x\"", "expected a sequence", "line 5"],
        ),
        (with("deps: ['']"), &["`one`", "deps", "empty"]),
        (with("deps: [.]"), &["`one`", "deps", "whole project"]),
        (
            a_stage("{cmd: x, outs: [../o]}"),
            &["`one`", "outs", "../o", "not inside the project"],
        ),
        (
            a_stage("{cmd: x, outs: [{o: no}]}"),
            &["one.outs[0].o", "{cache: false}"],
        ),
        (
            a_stage("{cmd: x, outs: [{o: {cash: no}}]}"),
            &["one.outs[0].o", "`cash`", "`cache`"],
        ),
        (
            with("params: [nope]"),
            &["`one`", "params", "`nope`", "params.yaml"],
        ),
        (
            with("params: [{no.yaml: }]"),
            &["`one`", "params", "no.yaml does not exist"],
        ),
        (
            with("params: [{params.yaml: x}]"),
            &["one.params[0]", "\"x\"", "sequence"],
        ),
        (
            with("env: [A=b]"),
            &["`one`", "env", "name of a variable", "`A=b`"],
        ),
        (
            with("wdir: ../x"),
            &["`one`", "wdir", "../x", "inside the project"],
        ),
        (
            with("foreach: 5"),
            &["`one`", "foreach", "a list or a map", "5"],
        ),
        (
            with("foreach: no/*"),
            &["`one`", "foreach", "no file", "`no/*`"],
        ),
        (
            with("foreach: ../*"),
            &["`one`", "foreach", "in the project", "`../*`"],
        ),
        (
            with("foreach: 'a['"),
            &["`one`", "foreach", "`a[` is no pattern"],
        ),
        (
            with("foreach: '${params.no}'"),
            &["`one`", "foreach", "params.yaml has no `no`"],
        ),
        (
            with("foreach: [1, 2]"),
            &["`one@1` and `one@2` both write o", "hint", "${key}"],
        ),
        (
            with("foreach: [a/b, a-b]"),
            &["`one`", "\"a/b\"", "\"a-b\"", "key `a-b`"],
        ),
        (
            with("matrix: {m: 5}"),
            &["`one`", "matrix.m", "a list", "5"],
        ),
        (with("matrix: {m: []}"), &["`one`", "matrix.m", "no values"]),
        (
            with("matrix: {m: [1], m: [2]}"),
            &["one.matrix", "`m` comes twice"],
        ),
        (
            with("matrix: {m: [1]}\n    foreach: [1]"),
            &["`one`", "foreach and matrix"],
        ),
        (
            with("fresh_for: 5m"),
            &["one.fresh_for", "10min", "`5m`", "line 5"],
        ),
        (
            with("fresh_for: 60"),
            &["one.fresh_for", "`60`", "a length of time", "line 5"],
        ),
        (
            with("frozen: often"),
            &["one.frozen", "\"often\"", "boolean"],
        ),
        (with("always: 1"), &["one.always", "`1`", "boolean"]),
        (
            with("always: true\n    frozen: true"),
            &["`one`", "frozen and always"],
        ),
        (with("when: extra.x"), &["one.when", "\"extra.x\"", "a map"]),
        (
            with("retries: many"),
            &["one.retries", "\"many\"", "a whole number"],
        ),
        (
            with("retries: -1"),
            &["one.retries", "`-1`", "a whole number"],
        ),
        (
            with("retry_delay: soon"),
            &["one.retry_delay", "`soon`", "30s"],
        ),
        (
            with("timeout: 0s"),
            &["one.timeout", "`0s`", "a length of time"],
        ),
        (
            with("resources: {disk: 1}"),
            &["`one`", "resources", "`disk`", "at the top"],
        ),
        (
            with("resources: {gpu: x}"),
            &["one.resources.gpu", "\"x\"", "a whole number"],
        ),
        (
            with("on_failure: {sh: x}"),
            &["one.on_failure", "map", "one line of text"],
        ),
        (
            with("on_failure: 'x \"'"),
            &["`one`", "on_failure", "quote"],
        ),
        (with("strict: 2"), &["one.strict", "`2`", "boolean"]),
        (
            with("outz: [x]"),
            &["stages.one", "`outz`", "`outs`", "line 5"],
        ),
        (
            a_stage("{cmd: 'x ${HOME}', outs: [o]}"),
            &["`one`", "cmd", "`${HOME}`", "`sh`"],
        ),
        (
            a_stage("{cmd: x, outs: ['${item}']}"),
            &["`one`", "outs", "`${item}` names nothing"],
        ),
        (
            "stages: {one: cp a b}\n".into(),
            &["stages.one", "\"cp a b\"", "the keys of a stage"],
        ),
        (
            "stages: {o ne: {cmd: x, outs: [o]}}\n".into(),
            &["`o ne`", "letters, digits"],
        ),
        (
            "stages: {}\nresources: {x: 0}\n".into(),
            &["resources.x", "`0`", "from 1 on"],
        ),
        (
            "stages: {}\non_failure: 5\n".into(),
            &["on_failure", "`5`", "one line of text"],
        ),
        ("stage: {}\n".into(), &["`stage`", "`stages`"]),
        (String::new(), &["missing field `stages`"]),
    ];
    for (text, says) in cases {
        sandbox.write("pipeline.yaml", text);
        let told = sandbox.run(&["run"]);
        assert_eq!(told.code, Some(2), "{text}{told}");
        for word in *says {
            assert!(told.stderr.contains(word), "no `{word}` for\n{text}{told}");
        }
        assert!(!sandbox.path(".krammerti").exists(), "{text}");
    }
}

#[test]
fn the_examples_work_as_cron_and_jenkins_run_them() {
    for tool in ["setsid", "git", "timeout", "bash"] {
        if Command::new(tool).arg("--version").output().is_err() {
            skipped(&format!("there is no {tool}"));
            return;
        }
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/check-examples");
    let output = Command::new(script)
        .arg(binary())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    let parts = told.lines().filter(|line| line.starts_with("skipped"));
    parts.for_each(skipped);
    assert!(output.status.success(), "{told}");
}
