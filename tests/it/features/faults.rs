//! What is wrong in a `pipeline.yaml` is told by stage and key.

use super::*;

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
            &["one.sh", "a list", "expected a string"],
        ),
        (with("sh: y"), &["`one`", "both `cmd` and `sh`"]),
        (with("desc: [x]"), &["one.desc", "expected a string"]),
        (
            with("deps: x"),
            &["one.deps", "\"x\"", "expected a list", "line 5"],
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
            &["one.params[0]", "\"x\"", "a list"],
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
            &["one.on_failure", "a section", "one line of text"],
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
