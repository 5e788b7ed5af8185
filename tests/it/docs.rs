//! The documentation: its examples are real, and it speaks of everything there is.

use std::path::Path;

use serde_json::Value;

use crate::sandbox::Sandbox;

fn document(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The fenced blocks in a language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let opening = format!("\n```{language}\n");
    let behind = text.split(opening.as_str()).skip(1);
    behind
        .map(|rest| rest.split("\n```").next().unwrap().to_owned() + "\n")
        .collect()
}

/// Parameters of our own that the examples name.
const OWN: &str = "  report: {pages: 1}\n  sum: {x: 1}\n";

/// A project that has what the examples name.
fn project() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("texts/a.txt", "a b");
    sandbox.write("texts/b.txt", "c");
    sandbox.write("tables/layout.yaml", "columns: 3\ntitle: {size: 2}\n");
    sandbox.write("tables/colours.json", "[1, 2]");
    let params = sandbox.read("params.yaml");
    sandbox.write("params.yaml", &format!("{params}extra:\n{OWN}"));
    sandbox
}

#[test]
fn every_pipeline_in_the_documentation_is_one() {
    let mut pipelines = 0;
    for path in ["docs/pipeline.md", "README.md"] {
        let sandbox = project();
        for block in blocks(&document(path), "yaml") {
            if block.starts_with("# params.yaml") {
                // What it says is for the pipelines after it.
                let params = sandbox.read("params.yaml");
                let before = params.split("extra:").next().unwrap();
                sandbox.write("params.yaml", &format!("{before}{block}{OWN}"));
            } else if block.contains("stages:") {
                pipelines += 1;
                sandbox.write("pipeline.yaml", &block);
                let told = sandbox.run(&["status"]).ok();
                assert!(told.stdout.lines().count() > 0, "{path}:\n{block}");
            }
        }
    }
    assert!(pipelines >= 6, "{pipelines}");
}

#[test]
fn the_schema_for_editors_is_that_of_this_version() {
    let told = Sandbox::empty().run(&["schema"]).ok().stdout;
    let hint = "krammerti schema > docs/pipeline.schema.json";
    assert!(told == document("docs/pipeline.schema.json"), "run: {hint}");
    let first = "# yaml-language-server: $schema=docs/pipeline.schema.json\n";
    assert!(document("pipeline.yaml").starts_with(first));
}

#[test]
fn every_key_of_the_pipeline_is_documented() {
    let schema: Value = serde_json::from_str(&document("docs/pipeline.schema.json")).unwrap();
    let text = document("docs/pipeline.md");
    let kinds = schema["$defs"].as_object().unwrap().values();
    let keys = kinds
        .chain([&schema])
        .filter_map(|kind| kind["properties"].as_object());
    let keys: Vec<&String> = keys.flat_map(serde_json::Map::keys).collect();
    assert!(keys.len() > 20, "{keys:?}");
    for key in keys {
        let named = ["`", ":"]
            .iter()
            .any(|end| text.contains(&format!("`{key}{end}")));
        assert!(named, "docs/pipeline.md does not speak of `{key}`");
    }
}

#[test]
fn the_readme_names_every_command() {
    let help = Sandbox::empty().run(&["--help"]).ok().stdout;
    let commands = help
        .split("Commands:\n")
        .nth(1)
        .unwrap()
        .split("\n\n")
        .next()
        .unwrap();
    let readme = document("README.md");
    // A longer description goes on in a line of its own, further in.
    let names = commands.lines().filter(|line| !line.starts_with("    "));
    let names = names.filter_map(|line| line.split_whitespace().next());
    let names: Vec<&str> = names.filter(|name| *name != "help").collect();
    assert!(names.len() > 8, "{names:?}");
    for name in names {
        assert!(
            readme.contains(&format!("| `krammerti {name}")),
            "README.md lacks {name}"
        );
    }
}

#[test]
fn every_event_is_documented() {
    let code = document("src/event.rs");
    let body = code
        .split("pub enum Event {")
        .nth(1)
        .unwrap()
        .split("\n}")
        .next()
        .unwrap();
    let names = body
        .lines()
        .filter_map(|line| line.strip_prefix("    ")?.strip_suffix(" {"));
    let snake = |name: &str| -> String {
        let lower = name.chars().flat_map(|c| {
            let mark = c.is_uppercase().then_some('_');
            mark.into_iter().chain(c.to_lowercase())
        });
        lower.collect::<String>().trim_start_matches('_').to_owned()
    };
    let names: Vec<String> = names.map(snake).collect();
    assert!(names.len() > 8, "{names:?}");
    let text = document("docs/formats.md");
    // What a subcommand tells its runner is between the two.
    for name in names.iter().filter(|name| *name != "failure") {
        assert!(
            text.contains(&format!("`{name}`")),
            "docs/formats.md lacks {name}"
        );
    }
}
