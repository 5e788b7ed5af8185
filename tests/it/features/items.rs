//! Stages for each of many: `foreach` and `matrix`.

use super::*;

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
