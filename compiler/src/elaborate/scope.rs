//! Names and paths within one body: a net, or one use of a block.
//!
//! The path of a layer is that of its scope and its own name, `stage2.basic2.1.conv1`. Its own name is the one its author
//! gave it (`logits = dense(10)`), or else its kind without a window and its ordinal among that kind in the body, from
//! 1: `conv1`, `conv2`, `dense1`. What is repeated adds its repetition, from 1: `conv1.1`, `conv1.2`; an author's name
//! within a `for` adds the iteration in the same way. Other layers in a `for` count on. A net's own scope has no path.
//! In a cell, the only layer of what is bound takes the name that is bound: `i = sigmoid([x, h] -> dense(n))`.
//! An ordinal whose name the author gave to something else in the body is left out, so that paths are unique.

use std::collections::{BTreeMap, BTreeSet};

use super::cell::Step;
use super::value::Value;
use crate::diag::Span;
use crate::syntax::ast::{Body, Definition, StmtKind};

#[derive(Debug)]
pub(super) struct Scope<'a, 'b> {
    pub(super) definition: &'a Definition,
    /// Empty, or ending in a dot.
    prefix: String,
    /// Names in reach, the innermost braces last.
    frames: Vec<BTreeMap<&'a str, Local<'a, 'b>>>,
    ordinals: BTreeMap<String, usize>,
    /// Names that the author gave in this body.
    given: BTreeSet<&'a str>,
    /// The repetitions we are in, outermost first.
    repetitions: Vec<usize>,
    /// The iterations of `for` we are in, outermost first.
    iterations: Vec<usize>,
    pub(super) flow: Flow<'a, 'b>,
    /// In a cell, the step of its recurrence.
    pub(super) step: Option<Step<'a, 'b>>,
    /// While what is bound in a cell is elaborated, the name that its only layer takes.
    pub(super) binding: Option<&'a str>,
}

#[derive(Debug, Clone)]
pub(super) struct Local<'a, 'b> {
    pub(super) name: &'a str,
    pub(super) value: Value<'a, 'b>,
    pub(super) span: Span,
    pub(super) used: bool,
    pub(super) is_port: bool,
}

/// The value that a statement of layers applies to.
#[derive(Debug, Clone)]
pub(super) enum Flow<'a, 'b> {
    /// Before any input.
    Before,
    /// Several inputs, none of which was chosen.
    Several,
    /// From the input of that name, which nothing has used yet.
    Input(&'a str),
    At(Value<'a, 'b>),
    /// After an `output`.
    Over,
}

impl<'a, 'b> Scope<'a, 'b> {
    pub(super) fn new(definition: &'a Definition, prefix: String) -> Self {
        let mut given = BTreeSet::new();
        collect_names(&definition.body, &mut given);
        Scope {
            definition,
            prefix,
            frames: vec![BTreeMap::new()],
            ordinals: BTreeMap::new(),
            given,
            repetitions: Vec::new(),
            iterations: Vec::new(),
            flow: Flow::Before,
            step: None,
            binding: None,
        }
    }
    /// As [`Scope::find`], for those who only look.
    pub(super) fn peek(&self, name: &str) -> Option<&Value<'a, 'b>> {
        self.frames.iter().rev().find_map(|frame| frame.get(name)).map(|local| &local.value)
    }
    pub(super) fn find(&mut self, name: &str) -> Option<&mut Local<'a, 'b>> {
        self.frames.iter_mut().rev().find_map(|frame| frame.get_mut(name))
    }
    pub(super) fn define(&mut self, name: &'a str, value: Value<'a, 'b>, span: Span) {
        self.insert(Local { name, value, span, used: false, is_port: false });
    }
    pub(super) fn insert(&mut self, local: Local<'a, 'b>) {
        self.frames.last_mut().expect("a scope has a frame").insert(local.name, local);
    }
    /// Inputs and targets that nothing has read.
    pub(super) fn unused_ports(&self) -> Vec<(&'a str, Span)> {
        let unused = self.frames.iter().flat_map(BTreeMap::values).filter(|local| local.is_port && !local.used);
        unused.map(|local| (local.name, local.span)).collect()
    }
    pub(super) fn open_frame(&mut self) {
        self.frames.push(BTreeMap::new());
    }
    pub(super) fn close_frame(&mut self) {
        self.frames.pop();
    }
    /// The number of the iteration, or nothing after the last.
    pub(super) fn begin_iterations(&mut self) {
        self.iterations.push(0);
    }
    pub(super) fn next_iteration(&mut self) {
        *self.iterations.last_mut().expect("within iterations") += 1;
    }
    pub(super) fn end_iterations(&mut self) {
        self.iterations.pop();
    }

    /// The path of a layer of kind `base`, by the name its author gave it or by its ordinal.
    pub(super) fn path(&mut self, base: &str, given: Option<&str>) -> String {
        let mut path = self.prefix.clone();
        match given {
            Some(given) => path += &self.given_path(given),
            None => {
                let ordinal = self.ordinals.entry(base.to_owned()).or_insert(0);
                *ordinal += 1;
                while self.given.contains(format!("{base}{ordinal}").as_str()) {
                    *ordinal += 1;
                }
                path += &format!("{base}{ordinal}");
            }
        }
        for repetition in &self.repetitions {
            path += &format!(".{repetition}");
        }
        path
    }
    /// The path of something the author named, without repetitions.
    pub(super) fn named_path(&self, given: &str) -> String {
        format!("{}{}", self.prefix, self.given_path(given))
    }
    fn given_path(&self, given: &str) -> String {
        let mut path = given.to_owned();
        for iteration in &self.iterations {
            path += &format!(".{iteration}");
        }
        path
    }
    /// Runs the ordinals of one repetition from where the first began.
    pub(super) fn ordinals(&self) -> BTreeMap<String, usize> {
        self.ordinals.clone()
    }
    pub(super) fn begin_repetition(&mut self, number: usize, ordinals: &BTreeMap<String, usize>) {
        self.ordinals.clone_from(ordinals);
        self.repetitions.push(number);
    }
    pub(super) fn end_repetition(&mut self) {
        self.repetitions.pop();
    }
    /// Lets paths begin at `prefix` with fresh ordinals; what is returned restores them.
    pub(super) fn enter(&mut self, prefix: String) -> Outside {
        Outside {
            prefix: std::mem::replace(&mut self.prefix, prefix),
            ordinals: std::mem::take(&mut self.ordinals),
            repetitions: std::mem::take(&mut self.repetitions),
        }
    }
    pub(super) fn leave(&mut self, outside: Outside) {
        self.prefix = outside.prefix;
        self.ordinals = outside.ordinals;
        self.repetitions = outside.repetitions;
    }
}

/// Where paths were before [`Scope::enter`].
#[derive(Debug)]
pub(super) struct Outside {
    prefix: String,
    ordinals: BTreeMap<String, usize>,
    repetitions: Vec<usize>,
}

/// The names that a body's author gave, in all of its braces.
fn collect_names<'a>(body: &'a Body, names: &mut BTreeSet<&'a str>) {
    for stmt in &body.stmts {
        match &stmt.kind {
            StmtKind::Bind { name, .. } | StmtKind::Layer { name, .. } => {
                names.insert(&name.text);
            }
            StmtKind::Param(decls) => names.extend(decls.iter().map(|decl| decl.name.text.as_str())),
            StmtKind::For { body, .. } => collect_names(body, names),
            StmtKind::If { branches, otherwise } => {
                let bodies = branches.iter().map(|(_, body)| body).chain(otherwise);
                bodies.for_each(|body| collect_names(body, names));
            }
            StmtKind::Input(_)
            | StmtKind::Target(_)
            | StmtKind::State(_)
            | StmtKind::Flow(_)
            | StmtKind::Output(_)
            | StmtKind::Loss(_)
            | StmtKind::Metric(_) => {}
        }
    }
}
