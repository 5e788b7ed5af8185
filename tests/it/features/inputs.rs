//! What else a stage reads and writes: `cache`, `params`, `env`, `wdir`.

use super::*;

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
