//! Items with their keys, and texts with what stands in them.

use super::super::{Declared, ProjectPath};
use super::items::key_of_file;
use super::*;

struct Fixed;

impl Commands for Fixed {
    fn is_file(&self, _: &ProjectPath) -> bool {
        false
    }
    fn glob(&self, pattern: &str) -> Result<Vec<String>> {
        Ok(match pattern {
            "texts/*" => vec!["texts/a b.txt".into(), "texts/c.tar.gz".into()],
            "in/odd/*" => vec!["in/odd/it's $5".into()],
            _ => Vec::new(),
        })
    }
    fn declare(&self, _: &[String], _: Option<&ProjectPath>) -> Result<Declared> {
        bail!("no subcommands here")
    }
    fn params(&self, _: Option<&str>, _: Option<&str>) -> Result<BTreeMap<String, String>> {
        Ok(BTreeMap::new())
    }
    fn value(&self, path: &str) -> Result<Option<Value>> {
        let params = serde_json::json!({"stations": ["calais", "dover"], "depth": 2});
        Ok(params.get(path).cloned())
    }
}

fn expand_text(text: &str) -> Result<Vec<(String, String)>> {
    let spec: StageSpec = serde_yaml::from_str(text)?;
    let told = |stage: Expanded| (stage.name, stage.words.join("|"));
    Ok(expand("s", &spec, &Fixed)?.into_iter().map(told).collect())
}

fn expanded(text: &str) -> Vec<(String, String)> {
    expand_text(text).unwrap()
}

fn error(text: &str) -> String {
    format!("{:#}", expand_text(text).unwrap_err())
}

fn pair(name: &str, words: &str) -> (String, String) {
    (name.to_owned(), words.to_owned())
}

#[test]
fn a_list_a_map_parameters_and_files() {
    assert_eq!(
        expanded("foreach: [1, two]\ncmd: x ${item} -${key}"),
        [pair("s@1", "x|1|-1"), pair("s@two", "x|two|-two")]
    );
    assert_eq!(
        expanded("foreach: {b: {lat: 50.9}, a: {lat: 1}}\ncmd: x ${key} ${item.lat}"),
        [pair("s@a", "x|a|1"), pair("s@b", "x|b|50.9")]
    );
    assert_eq!(
        expanded("foreach: '${params.stations}'\ncmd: x ${item} ${params.depth}"),
        [pair("s@calais", "x|calais|2"), pair("s@dover", "x|dover|2")]
    );
    assert_eq!(
        expanded("foreach: texts/*\ncmd: wc ${item}"),
        [
            pair("s@a-b", "wc|texts/a b.txt"),
            pair("s@c.tar", "wc|texts/c.tar.gz")
        ]
    );
    assert_eq!(
        expanded("foreach: [{name: n, x: 1}, {x: 2}]\ncmd: x ${item.x}"),
        [pair("s@n", "x|1"), pair("s@1", "x|2")]
    );
}

#[test]
fn a_matrix_is_every_combination() {
    let all =
        expanded("matrix: {model: [lstm, gru], seed: [1, 2]}\ncmd: x ${item.model} ${item.seed}");
    assert_eq!(all.len(), 4);
    assert_eq!(all[1], pair("s@lstm-2", "x|lstm|2"));
}

#[test]
fn a_value_stays_one_word_and_the_shell_keeps_its_own() {
    assert_eq!(
        expanded("foreach: texts/*\nsh: wc ${item} > ${HOME}/${key}; y ${x\n")[0],
        pair("s@a-b", "sh|-ec|wc 'texts/a b.txt' > ${HOME}/a-b; y ${x")
    );
}

#[test]
fn a_file_is_named_by_what_the_stars_stand_for() {
    for (file, pattern, key) in [
        ("texts/a.txt", "texts/*.txt", "a"),
        ("texts/2020.01.txt", "texts/*.txt", "2020.01"),
        ("texts/c.tar.gz", "texts/*.tar.gz", "c"),
        ("texts/c.tar.gz", "texts/*", "c.tar"),
        ("texts/text-1.txt", "texts/text-?.txt", "text-1"),
        ("a.txt", "*.txt", "a"),
        ("Makefile", "M*", "Makefile"),
        ("s/calais/raw.csv", "s/*/raw.csv", "calais"),
        ("s/calais/2020/raw.csv", "s/*/*/raw.csv", "calais-2020"),
        ("s/calais/2020.csv", "s/*/*.csv", "calais-2020"),
        ("s/a/b/c.csv", "s/**/*.csv", "a-b-c"),
        ("s/c.csv", "s/**/*.csv", "c"),
        ("s/c.csv", "s/**/c.csv", "c"),
        ("s/c.csv", "s/c.csv", "c"),
        ("s/a1/x.csv", "s/a[0-9]/x.csv", "a1"),
    ] {
        assert_eq!(key_of_file(file, pattern), key, "{file} by {pattern}");
    }
}

#[test]
fn a_pattern_is_relative_to_the_folder_of_the_stage() {
    let in_odd = pair("s@it-s--5", "sh|-ec|wc 'it'\\''s $5'");
    let line = |wdir: &str, pattern: &str| {
        expanded(&format!(
            "wdir: {wdir}\nforeach: '{pattern}'\nsh: wc '${{item}}'\n"
        ))
    };
    assert_eq!(line("in/odd", "*"), [in_odd]);
    assert_eq!(
        line("in/texts", "../odd/*")[0].1,
        "sh|-ec|wc '../odd/it'\\''s $5'"
    );
    assert_eq!(
        line("elsewhere", "../in/odd/*")[0].1,
        "sh|-ec|wc '../in/odd/it'\\''s $5'"
    );
    assert_eq!(
        line("'w-${key}'", "in/odd/*")[0].1,
        "sh|-ec|wc 'in/odd/it'\\''s $5'"
    );
}

#[test]
fn a_backslash_leaves_a_name_to_the_shell() {
    assert_eq!(
        expanded("foreach: [1]\nsh: echo \\${item} ${item}\n"),
        [pair("s@1", "sh|-ec|echo \\${item} 1")]
    );
}

#[test]
fn what_names_nothing_is_told() {
    assert!(error("cmd: x ${HOME}").contains("`${HOME}` names nothing"));
    assert!(error("cmd: x ${params.nope}").contains("params.yaml has no `nope`"));
    assert!(error("cmd: x ${params.stations}").contains("not a single value"));
    assert!(error("cmd: x ${item").contains("not closed"));
    assert!(error("foreach: [{a: 1}]\ncmd: x ${item.b}").contains("no `b`"));
    assert!(error("foreach: nothing/*\ncmd: x").contains("no file"));
    assert!(error("foreach: []\ncmd: x").contains("no items"));
    assert!(error("foreach: [a/b, a-b]\ncmd: x").contains("\"a/b\" and \"a-b\" both have"));
    assert!(error("foreach: ../x/*\ncmd: x").contains("in the project, found `../x/*`"));
    assert!(error("foreach: '${params.nope}'\ncmd: x").contains("foreach: params.yaml"));
    assert!(error("foreach: [1]\nmatrix: {a: [1]}\ncmd: x").contains("combined"));
    assert!(error("cmd: x\nsh: y").contains("both"));
    assert!(error("desc: x").contains("no command"));
}
