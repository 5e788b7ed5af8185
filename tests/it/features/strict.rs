//! Stages that see only what they declare: `strict`.

use super::*;

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
