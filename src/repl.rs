//! A net that is built line by line: each line is compiled with all before it, and answered with its shape and value.
//!
//! `source` keeps what was typed and puts it together; the compiler itself says what is wrong with it. A line that is
//! refused changes nothing. `editor` reads lines from a terminal or a script, `complete` and `highlight` help to type
//! them; `commands` has what begins with `:`.

mod answer;
mod commands;
mod complete;
pub mod editor;
mod files;
mod highlight;
mod inputs;
mod lines;
mod measure;
mod picture;
mod show;
mod source;
mod train;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ndarray::ArrayD;
use netc::elaborate::{Extent, Options};
use netc::error::Error;
use netc::network::{LastValue, Network};
use netc::pipeline::{self, Observer};
use netc::session::{Session, SessionOptions};
use netc::syntax::Refused;
use netc::syntax::ast::{Stmt, StmtKind};

use crate::failure::{Exit, Failure};
use crate::network;
use crate::output::Output;
use inputs::Inputs;
use source::Source;

/// What is chosen before anything is typed.
#[derive(Debug, Default)]
pub struct Choices {
    pub seed: Option<u64>,
    pub threads: Option<usize>,
}

pub struct Repl<'o> {
    output: &'o mut Output,
    choices: Choices,
    source: Source,
    /// What the source means; `None` before the first entry.
    network: Option<Network>,
    inputs: Inputs,
    /// Trained parameters by their paths: they outlive edits, wherever path and shape stay the same.
    kept: BTreeMap<String, ArrayD<f32>>,
    /// The whole net in machine code, since the last edit.
    session: Option<Session>,
    /// Set by an interrupt.
    stop: Arc<AtomicBool>,
    /// Whether an interrupt ended a training.
    was_stopped: bool,
    is_colored: bool,
}

impl<'o> Repl<'o> {
    pub fn new(output: &'o mut Output, choices: Choices, stop: Arc<AtomicBool>) -> Self {
        Repl {
            output,
            choices,
            source: Source::default(),
            network: None,
            inputs: Inputs::default(),
            kept: BTreeMap::new(),
            session: None,
            stop,
            was_stopped: false,
            is_colored: crate::output::is_colored(),
        }
    }

    /// An entry that is whole: statements, definitions or a command. `Break` ends the session.
    pub fn enter(&mut self, text: &str) -> Result<ControlFlow<()>, Failure> {
        let flow = match text.trim_start().strip_prefix(':') {
            Some(command) => commands::run(self, command)?,
            None => {
                self.entry(text)?;
                ControlFlow::Continue(())
            }
        };
        self.output.flush()?;
        Ok(flow)
    }

    fn entry(&mut self, text: &str) -> Result<(), Failure> {
        let (source, understood) = self.source.with(text).map_err(|(sources, refused)| match refused {
            Refused::Open(error) | Refused::Unfinished(error) | Refused::Wrong(error) => {
                network::diagnostics(&sources, &[error])
            }
        })?;
        match &understood {
            source::Understood::Statements(list) if list.is_empty() => return Ok(()),
            source::Understood::Items(items) if self.source.has_net(items) => {
                let message = "there is a net already; `:clear` begins anew";
                return Err(Failure::new(Exit::Input, message));
            }
            source::Understood::Statements(_) | source::Understood::Items(_) => {}
        }
        let network = check(&source, Extent::Last, &mut ())?;
        if let (source::Understood::Statements(list), Some(LastValue::Known(value))) = (&understood, &network.last)
            && let [Stmt { kind: StmtKind::Flow(_), .. }] = list.as_slice()
        {
            // A number is no flow to go on with: it is told, and not kept.
            return self.output.line(value);
        }
        let before = self.n_parameters();
        self.change(source, Some(network));
        self.answer(&understood, before)
    }

    /// Replaces the source by another, which has been checked.
    fn change(&mut self, source: Source, network: Option<Network>) {
        self.keep();
        self.session = None;
        self.source = source;
        self.network = network;
    }
    /// Keeps what was trained.
    fn keep(&mut self) {
        if let Some(session) = self.session.as_ref().filter(|session| session.step() > 0) {
            self.kept.extend(session.parameters().map(|(path, values)| (path.to_owned(), values.to_owned())));
        }
    }
    fn n_parameters(&self) -> usize {
        self.network.as_ref().map_or(0, n_parameters)
    }

    /// The net as it stands, or what is wrong with it; `Extent::Whole` asks for a net that is complete.
    fn checked(&self, extent: Extent) -> Result<Network, Failure> {
        if self.source.is_empty() {
            return Err(Failure::new(Exit::Input, "there is no net yet: begin with an `input`, or `:load FILE`"));
        }
        check(&self.source, extent, &mut ())
    }
    fn seed(&self, network: &Network) -> u64 {
        self.choices.seed.unwrap_or(network.settings.seed)
    }
    /// The whole net, ready to run, with the parameters that were kept.
    fn session(&mut self) -> Result<&mut Session, Failure> {
        if self.session.is_none() {
            let network = self.checked(Extent::Part)?;
            self.session = Some(self.session_of(network)?);
        }
        Ok(self.session.as_mut().expect("made above"))
    }
    fn session_of(&self, network: Network) -> Result<Session, Failure> {
        let mut options = SessionOptions { seed: self.seed(&network), ..SessionOptions::default() };
        options.threads = self.choices.threads.unwrap_or(options.threads);
        let mut session = Session::new(network, &options);
        for (path, values) in &self.kept {
            if session.parameter(path).is_some_and(|known| known.shape() == values.shape()) {
                session.set_parameter(path, values.view())?;
            }
        }
        Ok(session)
    }
}

/// What a source means.
fn check(source: &Source, extent: Extent, observer: &mut dyn Observer) -> Result<Network, Failure> {
    let mut parsed = source.parsed();
    let options = Options { net: Some(parsed.net), overrides: parsed.overrides, extent, ..Options::default() };
    let mut loader = |path: &str, from: &str| network::import(path, from);
    let (root, file) = (parsed.root, parsed.file);
    let network = pipeline::check_parsed(&mut parsed.sources, root, file, &mut loader, &options, observer);
    network.map_err(|error| match error {
        Error::Source { diagnostics, .. } => network::diagnostics(&parsed.sources, &diagnostics),
        error => error.into(),
    })
}

fn n_parameters(network: &Network) -> usize {
    network.parameters.iter().map(|parameter| parameter.shape.iter().product::<usize>()).sum()
}
