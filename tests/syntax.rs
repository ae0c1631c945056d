//! The parser and the formatter on whole files.

use netc::diag::{Sources, render::render};
use netc::syntax::parse;

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
