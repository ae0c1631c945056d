//! Makes the reference pages from what the code says about itself.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use netc::diag::{Code, FileId, Sources};
use netc::layers::{self, Argument, Class, Layer, Preset};
use netc::library::{self, Cell};

/// The statements of a net with a net around them.
pub(crate) fn wrapped(body: &str) -> String {
    let indented = |line: &str| if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") };
    format!("net example {{\n{}}}\n", body.lines().map(indented).collect::<String>())
}

/// A source in canonical form.
pub(crate) fn formatted(source: &str) -> String {
    let file: FileId = Sources::new().add("example.net", source);
    netc::syntax::format(file, source).expect("examples parse")
}

/// `docs/layers.md`
pub(crate) fn layers() -> String {
    let mut page = String::from(
        "<!-- Generated from compiler/src/layers by tests/docs.rs: UPDATE_EXPECT=1 cargo test --test docs -->\n\
         # Layers, losses and metrics\n\n\
         Everything the library has, with its arguments, shapes, formula and source. `netc layers NAME` prints the same \
         for one of them. How layers are written and combined is in [language.md](language.md).\n\n\
         Shapes leave out the batch axis, and layers map over sequence axes unless they say otherwise. All \
         arguments may be given by name, the first ones also by position.\n",
    );
    let classes = [
        (Class::Layer, "Layers"),
        (Class::Activation, "Activations"),
        (Class::Loss, "Losses"),
        (Class::Metric, "Metrics"),
    ];
    for (class, title) in classes {
        let _ = write!(page, "\n**{title}**\n\n| name | |\n|---|---|\n");
        for layer in layers::all().iter().filter(|layer| layer.class == class) {
            let _ = writeln!(page, "| [{0}](#{0}) | {1} |", layer.name, layer.doc.summary);
        }
        if class == Class::Layer {
            let _ = write!(page, "\n**Recurrent layers**\n\n| name | |\n|---|---|\n");
            for cell in library::all().iter().chain(library::DIRECTIONS) {
                let _ = writeln!(page, "| [{0}](#{0}) | {1} |", cell.name, cell.summary());
            }
        }
    }
    for (class, title) in classes {
        let _ = write!(page, "\n## {title}\n");
        for layer in layers::all().iter().filter(|layer| layer.class == class) {
            describe(layer, &mut page);
        }
        if class == Class::Layer {
            page.push_str(
                "\n## Recurrent layers\n\nCells, written in the language itself: `compiler/src/library` has their files, which \
                 `netc layers NAME` prints. A cell in a user's file is neither slower nor faster, and one of the same \
                 name takes the place of the library's. They run along the last sequence axis.\n",
            );
            for cell in library::all().iter().chain(library::DIRECTIONS) {
                describe_cell(cell, &mut page);
            }
        }
    }
    page
}

fn describe_cell(cell: &Cell, page: &mut String) {
    let _ = write!(page, "\n### {}\n\n```text\n{}\n```\n\n{}\n\n", cell.name, cell.signature(), cell.summary());
    for (what, name) in [("Shapes", "shapes"), ("Formula", "formula")] {
        let _ = writeln!(page, "- {what}: `{}`", cell.fact(name));
    }
    if !cell.fact("source").is_empty() {
        let _ = writeln!(page, "- Source: {}", cell.fact("source"));
    }
    let _ = write!(page, "\n| argument | default | |\n|---|---|---|\n");
    for (name, preset, doc) in cell.arguments() {
        let preset = preset.map_or_else(|| "required".to_owned(), |preset| format!("`{preset}`"));
        let _ = writeln!(page, "| `{name}` | {preset} | {doc} |");
    }
    if cell.definition().is_some() {
        let _ = writeln!(page, "| `init` | zeros | {} |", library::INIT);
    }
    example(&cell.example(), page);
}

fn describe(layer: &Layer, page: &mut String) {
    let Layer { name, doc, .. } = layer;
    let _ = write!(page, "\n### {name}\n\n```text\n{}\n```\n\n{}\n\n", layer.signature(), doc.summary);
    for (what, text) in [("Shapes", doc.shapes), ("Formula", doc.formula)] {
        if !text.is_empty() {
            let _ = writeln!(page, "- {what}: `{text}`");
        }
    }
    if !doc.source.is_empty() {
        let _ = writeln!(page, "- Source: {}", doc.source);
    }
    if !layer.arguments.is_empty() {
        let _ = write!(page, "\n| argument | by position | takes | default | |\n|---|---|---|---|---|\n");
        for (number, argument) in layer.arguments.iter().enumerate() {
            let Argument { name, kind, doc, .. } = argument;
            let position = if number < layer.positional { (number + 1).to_string() } else { String::new() };
            let preset = preset(&argument.preset);
            let _ = writeln!(page, "| `{name}` | {position} | {kind} | {preset} | {doc} |");
        }
    }
    example(doc.example, page);
}

fn example(statements: &str, page: &mut String) {
    let source = formatted(&wrapped(statements));
    let lines: Vec<&str> = source.lines().collect();
    let _ = write!(page, "\n```net body\n");
    for line in &lines[1..lines.len() - 1] {
        let _ = writeln!(page, "{}", line.strip_prefix("  ").unwrap_or(line));
    }
    page.push_str("```\n");
}

fn preset(preset: &Preset) -> String {
    match preset {
        Preset::Required => "required".to_owned(),
        Preset::Absent => String::new(),
        Preset::Count(n) => n.to_string(),
        Preset::Number(n) => n.to_string(),
        Preset::Flag(flag) => flag.to_string(),
        Preset::Word(word) => format!("`{word}`"),
    }
}

/// `docs/errors.md`, with a case from `ui` for each error.
pub(crate) fn errors(ui: &Path) -> String {
    let mut page = String::from(
        "<!-- Generated from compiler/src/diag/code.rs and tests/ui by tests/docs.rs: UPDATE_EXPECT=1 cargo test --test docs -->\n\
         # Error codes\n\n\
         Every error that a network's text can have, with its meaning and a real message. `netc explain CODE` prints the \
         meaning; codes do not change from version to version.\n\n",
    );
    for code in Code::all() {
        let _ = writeln!(page, "- [{0}](#{0})", code.slug());
    }
    let mut cases = Vec::new();
    collect(ui, &mut cases);
    for code in Code::all() {
        let _ = write!(page, "\n## {}\n\n{}\n", code.slug(), code.explain());
        let title = format!("error[{}]", code.slug());
        let messages = cases.iter().flat_map(|case| case.split("\n\n"));
        // The shortest that shows its place says most in least.
        let shown = messages.filter(|message| message.starts_with(&title) && message.contains("-->"));
        if let Some(message) = shown.min_by_key(|message| (message.lines().count() < 6, message.len())) {
            let _ = write!(page, "\n```text\n{}\n```\n", message.trim_end());
        }
    }
    page
}

/// What all cases print, in the order of their names.
fn collect(folder: &Path, cases: &mut Vec<String>) {
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            collect(&path, cases);
        } else if path.extension().is_some_and(|extension| extension == "stderr") {
            cases.push(fs::read_to_string(path).unwrap());
        }
    }
}
