//! What a command line is, and what of it counts: `cmd`, `sh`, words and scripts.

use super::*;

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
