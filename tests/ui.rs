//! What users see: every `*.net` under `tests/ui` gives the errors in the `*.stderr` beside it.
//! `UPDATE_EXPECT=1` writes those.

use std::path::{Path, PathBuf};

use expect_test::expect_file;
use netc::diag::{Sources, render::render};
use netc::syntax::{decode, parse};

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

fn errors(name: &str, bytes: &[u8]) -> String {
    let text = match decode(bytes) {
        Ok(text) => text,
        Err(message) => return format!("{message}\n"),
    };
    let mut sources = Sources::new();
    let file = sources.add(name, text);
    match parse(file, text) {
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
