//! The textbook case of a pipeline over many files.

use super::*;

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
