use netc::diag::Sources;
use netc::pipeline::check_parsed;
use netc::syntax::Refused;

use super::{Host, Source};

/// A source of these entries.
fn source(entries: &[&str]) -> Source {
    entries.iter().fold(Source::default(), |source, entry| source.with(entry).expect("it parses").0)
}

/// The source in canonical form.
fn text(source: &Source) -> String {
    let text = source.text();
    netc::syntax::format(Sources::new().add("repl", &text), &text).expect("it parses")
}

/// What is wrong with it, rendered.
fn errors(source: &Source) -> String {
    let mut parsed = source.parsed();
    let options = netc::elaborate::Options { overrides: parsed.overrides, ..netc::elaborate::Options::default() };
    let mut loader = |_: &str, _: &str| unreachable!("nothing is imported");
    let network = check_parsed(&mut parsed.sources, parsed.root, parsed.file, &mut loader, &options, &mut ());
    network.map_or_else(|error| error.to_string(), |_| String::new())
}

#[test]
fn entries_make_a_net() {
    let source = source(&[
        "block twice(f) {\n  f -> f\n}",
        "input x[3, 8, 8]  # a picture",
        "train repl {\n  batch 8\n}",
        "conv3x3(4)",
        "  -> batchnorm",
        "const n = 10",
        "-> relu -> twice(relu)",
        "y = flatten ->\n dense(n)",
    ]);
    assert_eq!(
        text(&source),
        "block twice(f) {\n  f -> f\n}\n\nconst n = 10\n\nnet repl {\n  input x[3, 8, 8]  # a picture\n  \
         conv3x3(4)\n      -> batchnorm\n      -> relu -> twice(relu)\n  y = flatten -> dense(n)\n}\n\ntrain repl {\n  batch 8\n}\n"
    );
    assert_eq!(errors(&source), "");
}

#[test]
fn an_arrow_after_a_declaration_starts_the_flow() {
    let source = source(&["input x[4]", "-> dense(3)", "-> relu"]);
    assert_eq!(text(&source), "net repl {\n  input x[4]\n  dense(3)\n      -> relu\n}\n");
    assert!(matches!(Source::default().with("-> relu"), Err((_, Refused::Wrong(_)))));
}

#[test]
fn places_are_those_of_what_was_typed() {
    let source = source(&[
        "input x[3, 8, 8]",
        "const n = 4",
        "y = conv3x3(n, stride = 2)",
        "x -> relu",
        "sum {\n  conv3x3(3)\n  y\n}",
    ]);
    let text = errors(&source);
    assert!(text.contains("repl:7:3") && text.contains("at line 3") && text.contains("has stride 2"), "{text}");
}

#[test]
fn undo_takes_one_entry_back() {
    let all = source(&["input x[4]", "dense(3)", "-> relu"]);
    let (before, entry) = all.undone().unwrap();
    assert_eq!(entry, "-> relu\n");
    assert_eq!(text(&before), "net repl {\n  input x[4]\n  dense(3)\n}\n");
    let empty = before.undone().unwrap().0.undone().unwrap().0;
    assert!(empty.is_empty() && empty.undone().is_none());
}

#[test]
fn a_file_is_built_on_and_can_be_undone() {
    let file = "# A file.\nnet small(n = 4) {\n  input x[8]\n  dense(n)\n}\n";
    let id = source(&["relu"]).with_file(host(file)).sources().0.files().nth(1).unwrap();
    let items = netc::syntax::parse(id, file).unwrap().items;
    let loaded = source(&["input y[3]"]).with_file(Host { items, ..host(file) });
    let longer = loaded.with("-> relu").unwrap().0.with("const k = 2").unwrap().0.with("dense(k)").unwrap().0;
    assert_eq!(
        text(&longer),
        "# A file.\nnet small(n = 4) {\n  input x[8]\n  dense(n)\n  relu\n  dense(k)\n}\n\nconst k = 2\n"
    );
    assert_eq!(errors(&longer.with_override("n", "5")), "");
    let text = errors(&longer.with("dense(1)\nconv3x3(2)").unwrap().0);
    assert!(text.contains("repl:5:1"), "{text}");
    let before = longer.undone().unwrap().0.undone().unwrap().0.undone().unwrap().0.undone().unwrap().0;
    assert_eq!(before.text(), "net repl {\ninput y[3]\n}\n");
}

fn host(text: &str) -> Host {
    Host { path: "small.net".to_owned(), text: text.to_owned(), items: Vec::new(), net: "small".to_owned() }
}

#[test]
fn a_net_of_ones_own() {
    let source = source(&["net mine(n = 2) {\n  input x[4]\n}", "dense(n)", "train mine { epochs 3 }"]);
    assert_eq!(text(&source), "net mine(n = 2) {\n  input x[4]\n  dense(n)\n}\n\ntrain mine {\n  epochs 3\n}\n");
    assert_eq!((errors(&source).as_str(), source.net()), ("", "mine"));
}
