//! The compiler at work: one folder a model under `tests/golden`, one numbered file a stage.
//!
//! A stage is checked iff its file is there: `5-kernels.txt` for training (or for inference, where the model has no
//! loss), `5-kernels-forward.txt` for inference. `UPDATE_EXPECT=1` writes them anew. Machine code has no file, for it
//! depends on the machine; all else must not.
//!
//! Under `tests/golden/recurrence`, one folder a cell: its graph as each rewrite of recurrences leaves it, and the kernels
//! of a step before and after they are fused.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use expect_test::expect_file;
use netc::codegen;
use netc::diag::{Code, Message, Sources};
use netc::elaborate::Options;
use netc::entries;
use netc::graph::Graph;
use netc::ops::{Op, Role, Source};
use netc::pipeline::{self, Entry, Observer, Stage};
use netc::schedule::schedule;
use netc::simplify::{recurrence, simplify};

#[test]
fn stages_look_as_expected() {
    let mut n_files = 0;
    for folder in models() {
        let printed = stages(&folder);
        for file in files(&folder).into_iter().filter(|file| file.extension().is_some_and(|end| end == "txt")) {
            let name = file.file_stem().expect("a file").to_string_lossy().into_owned();
            let text = printed.get(&name).unwrap_or_else(|| panic!("`{name}` is no stage of {}", folder.display()));
            expect_file![&file].assert_eq(text);
            n_files += 1;
        }
    }
    assert!(n_files >= 5 * 8, "only {n_files} files were checked");
}

#[test]
fn recurrences_are_rewritten_as_expected() {
    let mut n_files = 0;
    for folder in files(&golden().join("recurrence")) {
        for (name, text) in rewrites(&folder.join("cell.net")) {
            expect_file![&folder.join(format!("{name}.txt"))].assert_eq(&text);
            n_files += 1;
        }
    }
    assert_eq!(n_files, 3 * 7, "only {n_files} files were checked");
}

/// A cell's graph as each pass leaves it, and its step as kernels.
fn rewrites(path: &Path) -> Vec<(&'static str, String)> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let network = netc::check_source("cell.net", &text).unwrap_or_else(|error| panic!("{error}"));
    let simple = |graph: &Graph| simplify(&recurrence::bodies(&simplify(graph)));
    let mut graph = simple(&entries::forward_graph(&network, &Entry::Forward.into()));
    let mut texts = vec![("1-graph", graph.to_string())];
    type Pass = fn(&Graph) -> Graph;
    let passes: [(&str, Pass); 4] = [
        ("2-split", recurrence::split),
        ("3-merge", recurrence::merge),
        ("4-hoist", recurrence::hoist),
        ("5-sink", recurrence::sink),
    ];
    for (name, pass) in passes {
        graph = simple(&pass(&graph));
        texts.push((name, graph.to_string()));
    }
    texts.push(("6-step-alone", schedule(&body(&graph)).program.to_string()));
    texts.push(("7-step-fused", schedule(&graph).program.to_string()));
    texts
}

/// The body of the only recurrence, as a graph that is called by itself.
fn body(graph: &Graph) -> Graph {
    let scan = graph.nodes().find_map(|(_, node)| match &node.op {
        Op::Scan(scan) => Some(scan.clone()),
        _ => None,
    });
    let scan = scan.expect("there is a recurrence");
    let mut body = scan.body.successor();
    for (_, node) in scan.body.nodes() {
        let op = match &node.op {
            Op::Source(source) => Source { role: Role::Input, ..source.clone() }.into(),
            op => op.clone(),
        };
        body.push(op, &node.args, node.origin).expect("of the same types as before");
    }
    body.outputs.clone_from(&scan.body.outputs);
    body
}

/// What is printed must not depend on the processor that it is printed on.
#[test]
fn intermediate_code_is_the_same_for_every_processor() {
    for folder in models() {
        let network = netc::check_source("model.net", &source(&folder)).unwrap_or_else(|error| panic!("{error}"));
        for entry in [Entry::Forward, Entry::TrainStep] {
            let (scheduled, _) = pipeline::lower(&network, entry, &mut ());
            let (program, name) = (&scheduled.program, entry.name());
            assert!(codegen::clif_for_any(program, name) == codegen::clif(program, name), "{}", folder.display());
        }
    }
}

/// Every stage of a model by the name of its file.
fn stages(folder: &Path) -> BTreeMap<String, String> {
    let mut sources = Sources::new();
    let root = sources.add("model.net", source(folder));
    let mut loader = |path: &str, _: &str| Err(Message::new(Code::ImportNotFound, format!("no file `{path}`")));
    let mut printed = Printed::default();
    let network = pipeline::check(&mut sources, root, &mut loader, &Options::default(), &mut printed);
    let network = network.unwrap_or_else(|error| panic!("{error}"));
    let main = if network.has_loss() { Entry::TrainStep } else { Entry::Forward };
    for (entry, suffix) in [(main, ""), (Entry::Forward, "-forward")] {
        printed.suffix = suffix;
        let (scheduled, _) = pipeline::lower(&network, entry, &mut printed);
        let clif = codegen::clif(&scheduled.program, entry.name());
        // What calls look like depends on the system.
        let clif = clif.replace("apple_aarch64", "system_v").replace("windows_fastcall", "system_v");
        printed.after(Stage::Clif, &clif);
    }
    printed.texts
}

#[derive(Default)]
struct Printed {
    suffix: &'static str,
    texts: BTreeMap<String, String>,
}

impl Observer for Printed {
    fn after(&mut self, stage: Stage, product: &dyn fmt::Display) {
        let number = Stage::ALL.iter().position(|known| *known == stage).expect("a stage") + 1;
        self.texts.insert(format!("{number}-{}{}", stage.name(), self.suffix), product.to_string());
    }
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn models() -> Vec<PathBuf> {
    let mut models = files(&golden());
    models.retain(|folder| folder.join("model.net").exists());
    assert!(models.len() >= 5, "a folder for each model");
    models
}

fn source(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("model.net")).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a readable folder");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}
