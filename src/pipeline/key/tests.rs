//! What counts in a key, and what does not.

use proptest::prelude::*;

use super::*;
use crate::artifact::Kind;

fn artifact(content: &str) -> Artifact {
    Artifact {
        kind: Kind::File,
        digest: Digest::of(content.as_bytes()),
    }
}

fn parts(cmd: &[&str], inputs: &[(&str, &str)], params: &[(&str, &str)]) -> KeyParts {
    KeyParts {
        cmd: cmd.iter().map(|&word| word.to_owned()).collect(),
        wdir: None,
        tool: None,
        env: BTreeMap::new(),
        inputs: inputs
            .iter()
            .map(|&(path, content)| (path.to_owned(), artifact(content)))
            .collect(),
        params: params
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        outputs: ["out".to_owned()].into(),
    }
}

#[test]
fn what_others_confuse_gives_other_keys() {
    let key = |parts: KeyParts| parts.key();
    let base = || parts(&["cp", "a", "b"], &[("a", "1"), ("b", "2")], &[]);
    assert_eq!(key(base()), key(base()));
    assert_ne!(
        key(base()),
        key(parts(&["cp", "b", "a"], &[("a", "1"), ("b", "2")], &[]))
    );
    assert_ne!(
        key(base()),
        key(parts(&["cp", "a", "b"], &[("a", "2"), ("b", "1")], &[]))
    );
    assert_ne!(
        key(base()),
        key(parts(&["cp a", "b"], &[("a", "1"), ("b", "2")], &[]))
    );
    assert_ne!(
        key(parts(&["x"], &[], &[("p", "")])),
        key(parts(&["x"], &[], &[]))
    );
    assert_ne!(
        key(parts(&["x"], &[], &[("p", "")])),
        key(parts(&["x", "p", ""], &[], &[]))
    );
    let with = |change: &dyn Fn(&mut KeyParts)| {
        let mut parts = base();
        change(&mut parts);
        parts.key()
    };
    let all = [
        base().key(),
        with(&|parts| parts.tool = Some(String::new())),
        with(&|parts| parts.wdir = Some(String::new())),
        with(&|parts| parts.env = [("X".to_owned(), None)].into()),
        with(&|parts| parts.env = [("X".to_owned(), Some(Digest::of(b"")))].into()),
    ];
    assert_eq!(BTreeSet::from(all).len(), all.len());
}

#[test]
fn the_encoding_does_not_drift() {
    // A changed encoding must come with a changed SCHEMA, and with this line.
    assert_eq!(
        parts(&["cp", "a"], &[("a", "1")], &[("params.yaml:x", "2")])
            .key()
            .short(),
        "84744f88"
    );
}

#[test]
fn what_differs_in_a_command_is_told_where_it_is_short() {
    let told = |old: &[&str], new: &[&str]| {
        let reasons = StaleReason::between(&parts(old, &[], &[]), &parts(new, &[], &[]));
        reasons[0].to_string()
    };
    let changed = "its command changed";
    assert_eq!(
        told(&["x", "--lags", "3", "y"], &["x", "--lags", "5", "y"]),
        format!("{changed} from `3` to `5`")
    );
    assert_eq!(
        told(&["x"], &["x", "-v"]),
        format!("{changed}: `-v` is new")
    );
    assert_eq!(
        told(&["x", "-v"], &["x"]),
        format!("{changed}: `-v` is gone")
    );
    assert_eq!(
        told(
            &["sh", "-ec", "wc -w < a > b"],
            &["sh", "-ec", "wc -l < a > b"]
        ),
        format!("{changed} from `-w` to `-l`")
    );
    assert_eq!(told(&["a", "a"], &["a"]), format!("{changed}: `a` is gone"));
    assert_eq!(
        told(&["a b"], &["a", "b"]),
        changed,
        "spaces alone are not told"
    );
    assert_eq!(told(&["x", &"y".repeat(41)], &["x", "z"]), changed);
}

#[test]
fn every_difference_is_told() {
    let old = parts(
        &["x"],
        &[("a", "1"), ("b", "1")],
        &[("params.yaml:train.epochs", "40")],
    );
    let new = parts(
        &["x"],
        &[("a", "2"), ("c", "1")],
        &[("params.yaml:train.epochs", "5")],
    );
    let (mut old, mut new) = (old, new);
    old.env = [
        ("KEPT".to_owned(), None),
        ("UNSET".to_owned(), Some(Digest::of(b"x"))),
    ]
    .into();
    new.env = [("KEPT".to_owned(), None), ("UNSET".to_owned(), None)].into();
    let told: Vec<_> = StaleReason::between(&old, &new)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        told,
        [
            "a changed",
            "b is no input any more",
            "c is a new input",
            "$UNSET is not set any more",
            "train.epochs changed from 40 to 5"
        ]
    );
}

fn any_parts() -> impl Strategy<Value = KeyParts> {
    let text = || "[a-c]{0,2}";
    (
        prop::collection::vec(text(), 0..4),
        prop::option::of(text()),
        prop::collection::btree_map(text(), text(), 0..3),
        prop::collection::btree_map(text(), text(), 0..3),
        prop::collection::btree_set(text(), 0..3),
        prop::option::of(text()),
        prop::collection::btree_map(text(), prop::option::of(text()), 0..3),
    )
        .prop_map(|(cmd, tool, inputs, params, outputs, wdir, env)| KeyParts {
            cmd,
            wdir,
            tool,
            env: env
                .into_iter()
                .map(|(name, value)| (name, value.map(|value| Digest::of(value.as_bytes()))))
                .collect(),
            inputs: inputs
                .into_iter()
                .map(|(path, content)| (path, artifact(&content)))
                .collect(),
            params,
            outputs,
        })
}

proptest! {
    #[test]
    fn keys_are_equal_exactly_when_parts_are(a in any_parts(), b in any_parts()) {
        prop_assert_eq!(a.key() == b.key(), a == b);
        prop_assert_eq!(StaleReason::between(&a, &b).is_empty(), a == b);
    }
}
