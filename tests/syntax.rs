//! The parser and the formatter on whole files.

use netc::diag::{Sources, render::render};
use netc::syntax::ast::File;
use netc::syntax::{format, parse};

fn models() -> Vec<(String, String)> {
    let mut models = Vec::new();
    for entry in std::fs::read_dir("models").expect("the models are beside the tests") {
        let path = entry.expect("a readable folder").path();
        if path.extension().is_none_or(|extension| extension != "net") {
            continue;
        }
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
    format(file, text).unwrap_or_else(|errors| panic!("{}\n{text}", render(&sources, &errors, false)))
}

/// Formatting keeps the meaning, and formatting twice changes nothing.
#[track_caller]
fn check_format_laws(name: &str, text: &str) {
    let once = format_or_fail(name, text);
    assert_eq!(tree(text), tree(&once), "formatting changed the meaning of {name}:\n{text}");
    assert_eq!(once, format_or_fail(name, &once), "formatting twice differs from once in {name}:\n{text}");
    assert_eq!(comments(text), comments(&once), "formatting lost or changed a comment of {name}:\n{text}");
}

fn tree(text: &str) -> String {
    parse_or_fail(text).to_string()
}

fn comments(text: &str) -> Vec<String> {
    parse_or_fail(text).comments.into_iter().map(|comment| comment.text).collect()
}

fn parse_or_fail(text: &str) -> File {
    let mut sources = Sources::new();
    let file = sources.add("test.net", text);
    parse(file, text).unwrap_or_else(|errors| panic!("{}\n{text}", render(&sources, &errors, false)))
}

#[test]
fn formatting_models_obeys_the_laws() {
    for (name, text) in models() {
        check_format_laws(&name, &text);
    }
}

#[test]
fn damaged_models_never_panic() {
    let models = models();
    let mut random = Random(1);
    let mut parsed = 0;
    for round in 0..6000 {
        let (name, text) = &models[round % models.len()];
        let text = damage(text, &models, &mut random);
        let mut sources = Sources::new();
        let file = sources.add(name.as_str(), text.as_str());
        match parse(file, &text) {
            Ok(_) => {
                parsed += 1;
                check_format_laws(name, &text);
            }
            Err(errors) => {
                for error in &errors {
                    for span in error.labels.iter().map(|(span, _)| span).chain([&error.span]) {
                        assert!(text.get(span.range()).is_some(), "{span:?} is not in the text:\n{text}");
                    }
                }
                render(&sources, &errors, true);
            }
        }
    }
    assert!(parsed > 500, "only {parsed} of the damaged models still parse");
}

/// The text with one to three pieces cut, doubled, swapped for a piece of another model, or for a sign.
fn damage(text: &str, models: &[(String, String)], random: &mut Random) -> String {
    const PIECES: [&str; 33] = [
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "->",
        "\n",
        "\n\n",
        "# é\n",
        " # c\n",
        ",",
        "=",
        "==",
        "-",
        "not ",
        "if a { b } else { c }",
        "else ",
        "x2",
        "'",
        "\"",
        ".",
        "..",
        "0",
        "5%",
        "é",
        "\u{a0}",
        "\r\n",
        "concat {",
        "x[0..2, ..]",
        "sum",
        "for i in 0..3 {",
        "(\n",
    ];
    let mut text = text.to_owned();
    for _ in 0..=random.below(3) {
        let (start, end) = random.range(&text);
        let piece = match random.below(4) {
            0 => String::new(),
            1 => text[start..end].repeat(2),
            2 => {
                let (_, other) = &models[random.below(models.len())];
                let (start, end) = random.range(other);
                other[start..end].to_owned()
            }
            _ => PIECES[random.below(PIECES.len())].to_owned(),
        };
        let end = if random.below(2) == 0 { start } else { end };
        text.replace_range(start..end, &piece);
    }
    text
}

/// Marsaglia's xorshift: the same numbers in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n
    }

    /// A short range of the text between characters.
    fn range(&mut self, text: &str) -> (usize, usize) {
        let boundary = |mut at: usize| {
            at = at.min(text.len());
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let start = self.below(text.len() + 1);
        let length = self.below(30);
        (boundary(start), boundary(start + length))
    }
}

/// Just within the limit, everything works on a small stack.
#[test]
fn deep_nesting_is_handled_up_to_the_limit() {
    let deep = |open: &str, close: &str| format!("net a {{\n  y = {}x{}\n}}\n", open.repeat(120), close.repeat(120));
    for text in [
        deep("(", ")"),
        deep("[", "]"),
        deep("-", ""),
        deep("not ", ""),
        deep("a + ", ""),
        deep("f(", ")x2"),
        deep("concat {", "}"),
        deep("if a { ", " } else { b }"),
        deep("", "[0]"),
        deep("concat {\n", "\n}"),
        format!("net a {{\n{}x{}\n}}\n", "for i in 0..2 {\n".repeat(120), "\n}".repeat(120)),
    ] {
        check_format_laws("deep", &text);
    }
}

/// What would overflow the stack or take forever is refused at once.
#[test]
fn huge_files_are_refused_quickly() {
    let deep =
        |open: &str, close: &str| format!("net a {{\n  y = {}x{}\n}}\n", open.repeat(100_000), close.repeat(100_000));
    let wide = |line: &str| format!("net a {{\n{}}}\n", line.repeat(520_000 / line.len()));
    let cases = [
        deep("(", ")"),
        deep("[", "]"),
        deep("-", ""),
        deep("not ", ""),
        deep("a + ", ""),
        deep("a == not ", ""),
        deep("f(", ")"),
        deep("concat {", "}"),
        deep("sum(", ")"),
        deep("if a { ", " } else { b }"),
        deep("", "[0]"),
        deep("", " -> f"),
        deep("(", ""),
        deep("", ")"),
        "net a { y = ".to_owned() + &"if a { b } else ".repeat(30_000) + "{ c } }",
        deep("a.", ""),
        "for i in 0..2 {\n".repeat(60_000),
        wide("a\n"),
        wide("\n"),
        wide("# c\n"),
        wide("a # c\n"),
        wide(" "),
        wide("a = [b, c] -> d(e, f = 1)x2\n"),
        wide("f(((((((((((((((((((((((((((((((((((((((((((((((((1)))))))))))))))))))))))))))))))))))))))))))))))))\n"),
        "net a {}\n".repeat(1_000_000),
        "a".repeat(10_000_000),
    ];
    for text in cases {
        let start = std::time::Instant::now();
        let mut sources = Sources::new();
        let file = sources.add("test.net", text.as_str());
        match parse(file, &text) {
            Ok(parsed) => drop(parsed),
            Err(errors) => drop(render(&sources, &errors, false)),
        }
        let seconds = start.elapsed().as_secs_f64();
        assert!(seconds < 10.0, "{seconds} seconds for {:?}…", &text[..30]);
    }
}
