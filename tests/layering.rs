//! The "never" rules of ARCHITECTURE.md, checked: who may name what.

use std::fs;
use std::path::{Path, PathBuf};

/// Words, the only places below the root that may use them, and why.
const RULES: &[(&[&str], &[&str], &str)] = &[
    (&["pest"], &["compiler/src/syntax"], "only the parser knows the parser generator"),
    (&["cranelift"], &["compiler/src/codegen"], "only codegen knows Cranelift"),
    (&["annotate_snippets"], &["compiler/src/diag/render.rs"], "only the renderer knows the renderer's crate"),
    (&["clap", "indicatif", "anstream", "ctrlc"], &["src/"], "only the command line knows its crates"),
    (&["memmap2"], &["compiler/src/data/weights.rs"], "files are mapped in one place"),
    (&["rustyline"], &["src/repl/editor.rs"], "only the editor knows the line editor's crate"),
    (
        &["println!", "eprintln!", "std::io::stdout", "std::io::stderr"],
        &["src/", "compiler/build"],
        "only the command line prints",
    ),
    (
        &["std::fs", "File::open", "std::env"],
        &[
            "src/",
            "compiler/src/data",
            "compiler/build",
            "runtime/src/kernels/cpu.rs",
            "runtime/src/artifact/weights.rs",
            "runtime/src/artifact/program.rs",
        ],
        "the compiler does no input and no output",
    ),
    (
        &["unsafe "],
        &[
            "compiler/src/codegen/jit.rs",
            "compiler/src/session/loaded.rs",
            // A file of weights is mapped.
            "compiler/src/data/weights.rs",
            // The text of a module.
            "compiler/src/artifact/rust.rs",
            "runtime/",
        ],
        "generated code is called in one place, files are mapped in one, SIMD is in the runtime",
    ),
    (
        &["crate::diag::Span", "Span::"],
        &[
            "compiler/src/diag",
            "compiler/src/syntax",
            "compiler/src/elaborate",
            "compiler/src/network.rs",
            "src/repl/source.rs",
        ],
        "rules say what; callers say where",
    ),
    (
        &["crate::graph", "crate::ops", "crate::layers", "crate::autodiff"],
        &["compiler/src"],
        "the graph stays in the compiler",
    ),
];

/// What a room must not name: later stages never see earlier ones.
const BLIND: &[(&str, &[&str], &str)] = &[
    (
        "compiler/src/codegen",
        &["crate::graph", "crate::ops", "crate::layers", "crate::autodiff", "crate::elaborate", "crate::syntax"],
        "a back end never sees the graph",
    ),
    ("compiler/src/kernel", &["crate::graph", "crate::ops", "crate::layers"], "a program knows no primitives"),
    (
        "compiler/src/memory",
        &["crate::graph", "crate::ops", "crate::layers", "crate::codegen"],
        "the plan knows the program alone",
    ),
    (
        "compiler/src/layers",
        &["crate::kernel::Program", "crate::schedule", "crate::codegen", "crate::syntax"],
        "a layer never sees a kernel",
    ),
    ("runtime/src", &["netc::", "extern crate"], "the runtime never depends on the compiler"),
];

#[test]
fn rooms_keep_to_themselves() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files: Vec<PathBuf> =
        ["src", "compiler", "runtime/src"].iter().flat_map(|dir| rust_files(&root.join(dir))).collect();
    assert!(files.len() > 50, "only {} files found", files.len());
    let mut breaches = Vec::new();
    for path in files {
        let relative = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        for (at, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let uses = |words: &[&str]| words.iter().any(|word| names(code, word));
            for (words, allowed, because) in RULES {
                if uses(words) && !allowed.iter().any(|place| relative.starts_with(place)) {
                    breaches.push(format!("{relative}:{}: {because}", at + 1));
                }
            }
            for (room, words, because) in BLIND {
                if relative.starts_with(room) && uses(words) {
                    breaches.push(format!("{relative}:{}: {because}", at + 1));
                }
            }
        }
    }
    assert!(breaches.is_empty(), "\n{}", breaches.join("\n"));
}

/// Whether the line names the word itself, not a longer one that contains it.
fn names(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && c != '_')
    })
}

#[test]
fn the_runtime_depends_on_std_alone() {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("runtime/Cargo.toml")).unwrap();
    assert!(!manifest.contains("dependencies]"), "{manifest}");
}

#[test]
fn files_are_short() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["src", "compiler", "runtime", "tests", "examples", "benches"];
    let long: Vec<String> = folders
        .iter()
        .flat_map(|dir| rust_files(&root.join(dir)))
        .filter_map(|path| {
            let n = fs::read_to_string(&path).unwrap().lines().count();
            (n > 500).then(|| format!("{}: {n} lines", path.display()))
        })
        .collect();
    assert!(long.is_empty(), "\n{}", long.join("\n"));
}

/// Of a folder, but for what examples that are packages of their own have built there.
fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut entries: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    let mut files = Vec::new();
    for path in entries.into_iter().filter(|path| !path.ends_with("target")) {
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
