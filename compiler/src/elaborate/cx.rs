//! The state of one elaboration: one net, in one mode.

use std::collections::{BTreeMap, BTreeSet};

use super::Extent;
use super::cell::Final;
use super::program::Program;
use super::scope::Scope;
use super::value::Value;
use crate::diag::{Code, Diagnostic, Message, Sources, Span};
use crate::graph::{Builder, Output};
use crate::layers::{Mode, Store};
use crate::network::{LastValue, LayerUse, Port};
use crate::types::Dim;

/// More layers than this are no description of a network that anyone runs.
const MAX_LAYERS: usize = 100_000;
/// The same for nodes of the graph.
const MAX_NODES: usize = 200_000;
/// Expressions and iterations that are elaborated.
const MAX_STEPS: usize = 1_000_000;
/// Blocks within blocks.
pub(super) const MAX_DEPTH: usize = 64;
/// Elements of a list written out, in all of its lists.
pub(super) const MAX_LIST: usize = 10_000;
/// More errors than this nobody reads.
pub(super) const MAX_ERRORS: usize = 500;

pub(super) struct Cx<'a, 'b> {
    pub(super) program: &'a Program<'a>,
    pub(super) sources: &'a Sources,
    pub(super) builder: &'b Builder,
    pub(super) mode: Mode,
    pub(super) store: Store<'b>,
    pub(super) constants: BTreeMap<&'a str, Value<'a, 'b>>,
    /// The net, then the blocks in which we are; empty while constants are evaluated.
    pub(super) scopes: Vec<Scope<'a, 'b>>,
    pub(super) ports: Vec<Port>,
    pub(super) layers: Vec<LayerUse>,
    /// The names of the sequence axes of the ports.
    pub(super) axes: Vec<String>,
    pub(super) outputs: Vec<Output>,
    pub(super) n_losses: usize,
    /// What cells have ended with, by their paths.
    pub(super) finals: BTreeMap<String, Final<'b>>,
    /// Whether cells run from the last step to the first.
    pub(super) reverse: bool,
    /// Multiply-accumulates of `@`, for the row of a cell.
    pub(super) products: Vec<Dim>,
    pub(super) errors: Vec<Diagnostic>,
    /// Paths that have been given away: what is written twice never shares parameters by accident.
    issued: BTreeSet<String>,
    /// Within how many uses of a `layer` we are, whose paths are the same at each use.
    pub(super) n_shared: usize,
    pub(super) extent: Extent,
    /// What the last statement of the net gives.
    pub(super) last: Option<Value<'a, 'b>>,
    /// The same, when the net is over and somebody asks.
    pub(super) told: Option<LastValue>,
    /// Set when a limit was reached: everything after is poison, so that the end comes soon.
    exhausted: bool,
}

impl<'a, 'b> Cx<'a, 'b> {
    pub(super) fn new(program: &'a Program<'a>, sources: &'a Sources, builder: &'b Builder, mode: Mode) -> Self {
        Cx {
            program,
            sources,
            builder,
            mode,
            store: Store::default(),
            constants: BTreeMap::new(),
            scopes: Vec::new(),
            ports: Vec::new(),
            layers: Vec::new(),
            axes: Vec::new(),
            outputs: Vec::new(),
            n_losses: 0,
            finals: BTreeMap::new(),
            reverse: false,
            products: Vec::new(),
            errors: Vec::new(),
            issued: BTreeSet::new(),
            n_shared: 0,
            extent: Extent::Whole,
            last: None,
            told: None,
            exhausted: false,
        }
    }
    pub(super) fn scope(&mut self) -> &mut Scope<'a, 'b> {
        self.scopes.last_mut().expect("within a body")
    }
    /// The path of something new in this scope: that of its kind and name or, where another has it already (one
    /// name in two `if`s, a block whose name ends in a digit), the first free one with a number behind it.
    pub(super) fn new_path(&mut self, base: &str, given: Option<&str>) -> String {
        let path = self.scope().path(base, given);
        self.unique(path)
    }
    pub(super) fn unique(&mut self, path: String) -> String {
        if self.n_shared > 0 || self.issued.insert(path.clone()) {
            return path;
        }
        let mut numbered = (2..).map(|number| format!("{path}.{number}"));
        numbered.find(|path| self.issued.insert(path.clone())).expect("numbers do not end")
    }
    /// Reports an error, once for each place and code: a block's mistake is found at each of its uses.
    pub(super) fn error(&mut self, error: Diagnostic) -> Value<'a, 'b> {
        report(&mut self.errors, error);
        Value::Poison
    }
    pub(super) fn fail(&mut self, code: Code, text: impl Into<String>, span: Span) -> Value<'a, 'b> {
        self.error(Message::new(code, text).at(span))
    }
    /// Whether there is room for one more step; says so when the last is gone.
    pub(super) fn step(&mut self, span: Span) -> bool {
        let steps = self.program.steps.get() + 1;
        self.program.steps.set(steps);
        let what = if self.layers.len() > MAX_LAYERS {
            format!("more than {MAX_LAYERS} layers")
        } else if self.builder.len() > MAX_NODES {
            format!("more than {MAX_NODES} operations")
        } else if steps > MAX_STEPS {
            format!("more than {MAX_STEPS} expressions")
        } else {
            return !self.exhausted;
        };
        if !self.exhausted {
            self.exhausted = true;
            self.fail(Code::TooLarge, format!("this network expands to {what}"), span);
        }
        false
    }
    /// `line 6`, with the file when it is not the one of `near`.
    pub(super) fn line(&self, span: Span, near: Span) -> String {
        let (line, _) = self.sources.line_column(span.file, span.start);
        if span.file == near.file { format!("line {line}") } else { format!("{}:{line}", self.sources.name(span.file)) }
    }
    /// Evaluates the constants, each of which may use those before it.
    pub(super) fn evaluate_constants(&mut self) {
        for &(name, expr) in &self.program.constants {
            let value = match self.eval(expr) {
                value @ Value::Tensor(_) => {
                    let text = format!("a constant is known before any value flows, not {}", value.describe());
                    self.fail(Code::WrongKind, text, expr.span)
                }
                value => value,
            };
            self.constants.insert(&name.text, value);
        }
    }
}

/// Adds an error unless the same was said of the same place.
pub(super) fn report(errors: &mut Vec<Diagnostic>, error: Diagnostic) {
    let is_known = |known: &Diagnostic| known.span == error.span && known.message.code == error.message.code;
    if errors.len() < MAX_ERRORS && !errors.iter().any(is_known) {
        errors.push(error);
    }
}
