//! The parser and the formatter on whole files.

use netc::diag::{Sources, render::render};
use netc::syntax::ast::File;
use netc::syntax::{format, parse};

fn models() -> Vec<(String, String)> {
    let mut models = Vec::new();
    for entry in std::fs::read_dir("models").expect("the models are beside the tests") {
        let path = entry.expect("a readable folder").path();
        let text = std::fs::read_to_string(&path).expect("models are text");
        models.push((path.display().to_string(), text));
    }
    models.sort();
    models
}

#[test]
fn every_model_parses() {
    for (name, text) in models() {
        let mut sources = Sources::new();
        let file = sources.add(name, text.as_str());
        if let Err(errors) = parse(file, &text) {
            panic!("{}", render(&sources, &errors, false));
        }
    }
}

fn format_or_fail(name: &str, text: &str) -> String {
    let mut sources = Sources::new();
    let file = sources.add(name, text);
    format(file, text)
        .unwrap_or_else(|errors| panic!("{}\n{text}", render(&sources, &errors, false)))
}

/// Formatting keeps the meaning, and formatting twice changes nothing.
#[track_caller]
fn check_format_laws(name: &str, text: &str) {
    let once = format_or_fail(name, text);
    assert_eq!(
        tree(text),
        tree(&once),
        "formatting changed the meaning of {name}:\n{text}"
    );
    assert_eq!(
        once,
        format_or_fail(name, &once),
        "formatting twice differs from once in {name}:\n{text}"
    );
    assert_eq!(
        comments(text),
        comments(&once),
        "formatting lost or changed a comment of {name}:\n{text}"
    );
}

fn tree(text: &str) -> String {
    parse_or_fail(text).to_string()
}

fn comments(text: &str) -> Vec<String> {
    parse_or_fail(text)
        .comments
        .into_iter()
        .map(|comment| comment.text)
        .collect()
}

fn parse_or_fail(text: &str) -> File {
    let mut sources = Sources::new();
    let file = sources.add("test.net", text);
    parse(file, text)
        .unwrap_or_else(|errors| panic!("{}\n{text}", render(&sources, &errors, false)))
}

#[test]
fn formatting_models_obeys_the_laws() {
    for (name, text) in models() {
        check_format_laws(&name, &text);
    }
}
