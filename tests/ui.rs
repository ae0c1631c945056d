//! What users see: every `*.net` under `tests/ui` gives the errors in the `*.stderr` beside it.
//! `UPDATE_EXPECT=1` writes those.

use std::path::{Path, PathBuf};

use expect_test::expect_file;
use netc::diag::{Code, Message, Sources, render::render};
use netc::elaborate::{Options, elaborate};
use netc::syntax::decode;

#[test]
fn errors_look_as_expected() {
    let mut cases = Vec::new();
    collect(Path::new("tests/ui"), &mut cases);
    assert!(!cases.is_empty(), "tests/ui is empty");
    for case in cases {
        let bytes = std::fs::read(&case).expect("a readable file");
        let expected = std::env::current_dir().expect("a working directory").join(case.with_extension("stderr"));
        let name = case.file_name().expect("a file").to_string_lossy();
        expect_file![expected].assert_eq(&errors(&name, &bytes));
    }
}

#[test]
fn every_error_has_a_case() {
    let mut cases = Vec::new();
    collect(Path::new("tests/ui"), &mut cases);
    let read = |case: &PathBuf| std::fs::read_to_string(case.with_extension("stderr")).unwrap_or_default();
    let shown: String = cases.iter().map(read).collect();
    for code in Code::all() {
        // The pipeline reports it, for it depends on whether one trains.
        if *code != Code::MissingLoss {
            assert!(shown.contains(&format!("[{}]", code.slug())), "no case in tests/ui shows `{}`", code.slug());
        }
    }
}

fn errors(name: &str, bytes: &[u8]) -> String {
    let text = match decode(bytes) {
        Ok(text) => text,
        Err(message) => return format!("{message}\n"),
    };
    let mut sources = Sources::new();
    let file = sources.add(name, text);
    let mut loader = |path: &str, _: &str| Err(Message::new(Code::ImportNotFound, format!("no file `{path}`")));
    match elaborate(&mut sources, file, &mut loader, &Options::default()) {
        Ok(_) => String::new(),
        Err(errors) => render(&sources, &errors, false),
    }
}

fn collect(folder: &Path, cases: &mut Vec<PathBuf>) {
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).expect("a readable folder").map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            collect(&path, cases);
        } else if path.extension().is_some_and(|extension| extension == "net") {
            cases.push(path);
        }
    }
}
