//! From a file to a checked network, and from a network to a session: what several commands begin with.

use std::path::Path;

use netc::data::{MAX_SOURCE, file};
use netc::diag::{Diagnostic, Message, Sources, render::render};
use netc::elaborate;
use netc::error::Error;
use netc::network::Network;
use netc::pipeline::{self, Observer};
use netc::session::{Session, SessionOptions, read_notes};
use netc::syntax::decode;
use netc_runtime::kernels::cpu::cpu;

use crate::args::NetArgs;
use crate::failure::{Exit, Failure};
use crate::number::{bytes, thousands};
use crate::output::detail;

/// The name of standard input in messages.
const STDIN: &str = "<stdin>";

/// The text of a file, or of standard input for `-`, and the name it has in messages.
pub fn read_source(path: &str) -> Result<(String, String), Failure> {
    let (name, bytes) = if path == "-" {
        let mut bytes = Vec::new();
        let stdin = std::io::Read::take(std::io::stdin(), MAX_SOURCE + 1);
        std::io::Read::read_to_end(&mut { stdin }, &mut bytes)
            .map_err(|error| file::failed(Path::new(STDIN), &error))?;
        (STDIN, bytes)
    } else {
        (path, file::read(Path::new(path), MAX_SOURCE)?)
    };
    match decode(&bytes) {
        Ok(text) => Ok((name.to_owned(), text.to_owned())),
        Err(message) => Err(refuse(name, message)),
    }
}

/// A message about a file as a whole.
fn refuse(name: &str, message: Message) -> Failure {
    let mut sources = Sources::new();
    let id = sources.add(name, "");
    let diagnostic = message.at_file(id);
    diagnostics(&sources, &[diagnostic])
}

/// What is wrong with sources, as text and as data.
pub fn diagnostics(sources: &Sources, diagnostics: &[Diagnostic]) -> Failure {
    let errors = diagnostics.iter().map(|diagnostic| {
        let span = diagnostic.span;
        let (line, column) = sources.line_column(span.file, span.start);
        let message = &diagnostic.message;
        serde_json::json!({
            "code": message.code.slug(),
            "message": message.text,
            "file": sources.name(span.file),
            "line": line,
            "column": column,
            "notes": message.notes,
            "help": message.help,
        })
    });
    let errors = errors.collect::<Vec<_>>().into();
    Failure::rendered(Exit::Input, render(sources, diagnostics, true)).with_errors(errors)
}

/// Reads and checks a network. `earlier` are the overrides of a checkpoint; the arguments' own come after them.
pub fn load(args: &NetArgs, earlier: &[(String, String)], observer: &mut dyn Observer) -> Result<Network, Failure> {
    let (name, text) = read_source(&args.file)?;
    let mut sources = Sources::new();
    let root = sources.add(name, text);
    let is_given = |name: &String| args.set.iter().any(|(given, _)| given == name);
    let overrides = earlier.iter().filter(|(name, _)| !is_given(name)).chain(&args.set).cloned().collect();
    let algorithms = args.algorithms()?;
    let options = elaborate::Options { net: args.net.clone(), overrides, algorithms, ..elaborate::Options::default() };
    let mut loader = |path: &str, from: &str| import(path, from);
    let network = pipeline::check(&mut sources, root, &mut loader, &options, observer);
    network.map_err(|error| match error {
        Error::Source { diagnostics: list, .. } => diagnostics(&sources, &list),
        error => error.into(),
    })
}

/// The text of an import: its path is relative to the file that imports it.
pub fn import(path: &str, from: &str) -> Result<String, Message> {
    netc::data::import(path, Path::new(if from == STDIN { "" } else { from }))
}

/// A file of weights, and what stands beside them.
pub struct Weights {
    pub path: String,
    pub file: netc::data::Weights,
    pub notes: std::collections::BTreeMap<String, String>,
}

impl Weights {
    pub fn read(path: &str) -> Result<Self, Failure> {
        let file = netc::data::Weights::open(Path::new(path))?;
        let notes = read_notes(file.bytes()).map_err(|error| Failure::in_file(path, error))?;
        Ok(Weights { path: path.to_owned(), file, notes })
    }
    /// What was set when they were trained.
    pub fn overrides(&self) -> Vec<(String, String)> {
        let set =
            self.notes.iter().filter_map(|(key, value)| Some((key.strip_prefix("set.")?.to_owned(), value.clone())));
        set.collect()
    }
}

/// A session with these weights, or with initial values.
pub fn session(
    network: Network,
    weights: Option<&Weights>,
    seed: u64,
    threads: Option<usize>,
) -> Result<Session, Failure> {
    let mut options = SessionOptions { seed, ..SessionOptions::default() };
    options.threads = threads.unwrap_or(options.threads);
    detail(|| {
        let n = network.parameters.iter().map(|parameter| parameter.shape.iter().product::<usize>()).sum();
        let threads = if options.threads == 1 { "1 thread".to_owned() } else { format!("{} threads", options.threads) };
        let (parameters, size, cpu) = (thousands(n), bytes(4 * n), cpu());
        format!("{}: {parameters} parameters, {size}; {cpu:?} kernels, {threads}, seed {seed}", network.name)
    });
    match weights {
        None => Ok(Session::new(network, &options)),
        Some(weights) => Session::with_weights_file(network, &options, &weights.file)
            .map_err(|error| Failure::in_file(&weights.path, error)),
    }
}
