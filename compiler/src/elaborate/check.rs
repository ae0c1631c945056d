//! Names, before anything is elaborated: every body is looked at, those that nothing uses and branches not taken too.

use std::collections::{BTreeMap, BTreeSet};

use super::call::{MAX_ARGUMENTS, unknown_argument};
use super::cx::{MAX_ERRORS, report};
use super::program::Program;
use crate::diag::{Code, Diagnostic, Message, Span};
use crate::layers::initial::WORDS;
use crate::syntax::ast::{
    Arg, Body, Decl, Definition, DefinitionKind, Expr, ExprKind, Ident, Stmt, StmtKind, split_window,
};
use crate::{layers, library};

/// Reports names that nothing has, arguments that layers do not take, names defined twice, blocks that use themselves.
pub(super) fn check(program: &Program<'_>, errors: &mut Vec<Diagnostic>) {
    let mut names = Names { program, constants: BTreeSet::new(), frames: Vec::new(), errors };
    for (name, value) in &program.constants {
        names.expr(value, Place::Value);
        names.constants.insert(&name.text);
    }
    for definition in &program.all_definitions {
        names.definition(definition);
    }
    cycles(program, errors);
}

/// What is expected where a name stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Value,
    Layer,
}

struct Names<'p, 'e> {
    program: &'p Program<'p>,
    /// Those that come before what is looked at.
    constants: BTreeSet<&'p str>,
    /// The names of the body, the innermost braces last.
    frames: Vec<BTreeMap<&'p str, Span>>,
    errors: &'e mut Vec<Diagnostic>,
}

impl<'p> Names<'p, '_> {
    fn definition(&mut self, definition: &'p Definition) {
        if let Some(param) = definition.params.get(MAX_ARGUMENTS) {
            let text = format!("a definition has at most {MAX_ARGUMENTS} parameters");
            report(self.errors, Message::new(Code::TooLarge, text).at(param.name.span));
        }
        self.frames = vec![BTreeMap::new()];
        for param in &definition.params {
            if let Some(default) = &param.default {
                self.expr(default, Place::Value);
            }
            self.define(&param.name);
        }
        if definition.kind == DefinitionKind::Cell {
            // A cell's next values may be used before the line that gives them.
            self.primed(&definition.body);
        }
        self.body(&definition.body);
        self.frames.clear();
    }
    /// Says so when a state's next value is given twice.
    fn primed(&mut self, body: &'p Body) {
        let mut seen: BTreeMap<&str, Span> = BTreeMap::new();
        for stmt in &body.stmts {
            if let StmtKind::Bind { name, primed: true, .. } = &stmt.kind {
                match seen.get(name.text.as_str()) {
                    Some(&first) => {
                        let message = Message::new(Code::DuplicateName, format!("`{}'` is given twice", name.text));
                        report(self.errors, message.at(name.span).label("again here").also(first, "first here"));
                    }
                    None => {
                        seen.insert(&name.text, name.span);
                    }
                }
            }
        }
    }
    fn define(&mut self, name: &'p Ident) {
        let known = self.frames.iter().find_map(|frame| frame.get(name.text.as_str()));
        if let Some(&first) = known {
            let message = Message::new(Code::DuplicateName, format!("`{}` is defined twice", name.text));
            report(self.errors, message.at(name.span).label("again here").also(first, "first here"));
            return;
        }
        self.frames.last_mut().expect("a body has a frame").insert(&name.text, name.span);
    }
    fn is_local(&self, name: &str) -> bool {
        self.frames.iter().any(|frame| frame.contains_key(name))
    }

    fn body(&mut self, body: &'p Body) {
        body.stmts.iter().for_each(|stmt| self.stmt(stmt));
    }
    fn braces(&mut self, body: &'p Body) {
        self.frames.push(BTreeMap::new());
        self.body(body);
        self.frames.pop();
    }
    fn stmt(&mut self, stmt: &'p Stmt) {
        match &stmt.kind {
            StmtKind::Input(port) | StmtKind::Target(port) => {
                self.sizes(&port.dims);
                if let Some(Expr { kind: ExprKind::Call { args, .. }, .. }) = &port.ty {
                    args.iter().for_each(|arg| self.expr(&arg.value, Place::Value));
                }
                self.define(&port.name);
            }
            StmtKind::State(decls) | StmtKind::Param(decls) => decls.iter().for_each(|decl| self.decl(decl)),
            StmtKind::Layer { name, value } => {
                self.expr(value, Place::Layer);
                self.define(name);
            }
            StmtKind::Bind { name, primed, value } => {
                self.expr(value, Place::Value);
                if !primed {
                    self.define(name);
                }
            }
            StmtKind::Flow(expr) => match &expr.kind {
                ExprKind::Chain(stages) => self.flow(stages),
                _ => self.expr(expr, Place::Layer),
            },
            StmtKind::Output(expr) | StmtKind::Loss(expr) | StmtKind::Metric(expr) => self.expr(expr, Place::Value),
            StmtKind::For { var, iterable, body } => {
                self.expr(iterable, Place::Value);
                self.frames.push(BTreeMap::new());
                self.define(var);
                self.body(body);
                self.frames.pop();
            }
            StmtKind::If { branches, otherwise } => {
                for (condition, body) in branches {
                    self.expr(condition, Place::Value);
                    self.braces(body);
                }
                if let Some(body) = otherwise {
                    self.braces(body);
                }
            }
        }
    }
    /// A chain by itself. A last stage that nothing is called, nor nearly so, is meant for the name of its value: what uses it is
    /// not wrong as well.
    fn flow(&mut self, stages: &'p [Expr]) {
        let before = self.errors.len();
        stages.iter().for_each(|stage| self.expr(stage, Place::Layer));
        if let (Some(ExprKind::Name(name)), [.., error]) =
            (stages.last().map(|last| &last.kind), &mut self.errors[before..])
            && error.span == name.span
            && error.message.code == Code::UnknownLayer
            && error.message.help.is_empty()
            && split_window(&name.text).1.is_none()
        {
            let help = format!("a value is named before it is made: `{} = … -> …`", name.text);
            error.message.help.push(help);
            self.define(name);
        }
    }
    fn decl(&mut self, decl: &'p Decl) {
        decl.dims.iter().for_each(|dim| self.expr(dim, Place::Value));
        if let Some(init) = &decl.init {
            self.expr(init, Place::Value);
        }
        self.define(&decl.name);
    }
    /// A size that is a new name alone is defined by standing there.
    fn sizes(&mut self, dims: &'p [Expr]) {
        for dim in dims {
            match &dim.kind {
                ExprKind::Name(name) if !self.is_local(&name.text) && !self.constants.contains(name.text.as_str()) => {
                    self.define(name);
                }
                _ => self.expr(dim, Place::Value),
            }
        }
    }

    fn expr(&mut self, expr: &'p Expr, place: Place) {
        match &expr.kind {
            ExprKind::Number(_) | ExprKind::Text(_) | ExprKind::Bool(_) => {}
            ExprKind::Name(name) => self.name(name, place),
            ExprKind::Next(name) => self.name(name, Place::Value),
            ExprKind::Path(parts) => self.name(&parts[0], Place::Value),
            ExprKind::List(items) => items.iter().for_each(|item| self.expr(item, Place::Value)),
            ExprKind::Index { base, parts } => {
                self.expr(base, Place::Value);
                parts.iter().for_each(|part| self.expr(part, Place::Value));
            }
            ExprKind::Range { start, end } => {
                start.iter().chain(end).for_each(|end| self.expr(end, Place::Value));
            }
            ExprKind::Unary { operand, .. } => self.expr(operand, Place::Value),
            ExprKind::Binary { left, right, .. } => {
                self.expr(left, Place::Value);
                self.expr(right, Place::Value);
            }
            ExprKind::Call { callee, args, repeat } => {
                self.call(callee, args);
                repeat.iter().for_each(|repeat| self.expr(repeat, Place::Value));
            }
            ExprKind::Group { inner, repeat } => {
                self.expr(inner, place);
                repeat.iter().for_each(|repeat| self.expr(repeat, Place::Value));
            }
            ExprKind::Chain(stages) => {
                self.expr(&stages[0], place);
                stages[1..].iter().for_each(|stage| self.expr(stage, Place::Layer));
            }
            ExprKind::If { branches, otherwise } => {
                for (condition, value) in branches {
                    self.expr(condition, Place::Value);
                    self.expr(value, place);
                }
                self.expr(otherwise, place);
            }
            ExprKind::Combinator { args, branches, repeat, .. } => {
                args.iter().for_each(|arg| self.expr(&arg.value, Place::Value));
                branches.iter().for_each(|branch| self.expr(branch, Place::Layer));
                repeat.iter().for_each(|repeat| self.expr(repeat, Place::Value));
            }
        }
    }

    fn name(&mut self, name: &'p Ident, place: Place) {
        let text = name.text.as_str();
        let is_value = self.is_local(text) || self.constants.contains(text);
        if self.errors.len() >= MAX_ERRORS
            || is_value
            || self.is_layer(text)
            || WORDS.iter().any(|(word, _)| *word == text)
            || super::eval::WORDS.contains(&text)
        {
            return;
        }
        let error = if place == Place::Layer || split_window(text).1.is_some() {
            self.unknown_layer(text).at(name.span)
        } else {
            let message = Message::new(Code::UnknownName, format!("nothing is called `{text}`"));
            let values = self.frames.iter().flat_map(BTreeMap::keys).copied().chain(self.constants.iter().copied());
            message.did_you_mean(text, values.chain(self.layer_names())).at(name.span)
        };
        report(self.errors, error);
    }

    fn is_layer(&self, name: &str) -> bool {
        let (base, window) = split_window(name);
        self.program.definitions.contains_key(name)
            || library::documentation(name).is_some()
            || layers::find(base).is_some_and(|layer| window.is_none() || layer.window)
    }
    fn layer_names(&self) -> impl Iterator<Item = &'p str> {
        let library = layers::all().iter().map(|layer| layer.name);
        let cells = library::all().iter().chain(library::DIRECTIONS).map(|cell| cell.name);
        self.program.definitions.keys().copied().chain(library).chain(cells)
    }
    /// The window is no part of the mistake: it is set aside, and put back on what is suggested.
    fn unknown_layer(&self, name: &str) -> Message {
        let (base, window) = split_window(name);
        let message = Message::new(Code::UnknownLayer, format!("there is no layer `{name}`"));
        let Some((height, width)) = window else {
            let locals = self.frames.iter().flat_map(BTreeMap::keys).copied();
            return message.did_you_mean(name, self.layer_names().chain(locals));
        };
        if layers::find(base).is_some() {
            return message.help(format!("`{base}` has no window: write `{base}`"));
        }
        let windowed = layers::all().iter().filter(|layer| layer.window);
        let names: Vec<String> = windowed.map(|layer| format!("{}{height}x{width}", layer.name)).collect();
        message.did_you_mean(name, names.iter().map(String::as_str))
    }

    fn call(&mut self, callee: &'p Ident, args: &'p [Arg]) {
        args.iter().for_each(|arg| self.expr(&arg.value, Place::Value));
        for (i, arg) in args.iter().enumerate().take(MAX_ARGUMENTS) {
            let Some(name) = &arg.name else { continue };
            let first = args[..i].iter().find_map(|arg| arg.name.as_ref().filter(|first| first.text == name.text));
            if let Some(first) = first {
                let message = Message::new(Code::DuplicateArgument, format!("`{}` is given twice", name.text));
                report(self.errors, message.at(name.span).label("again here").also(first.span, "first here"));
            }
        }
        let text = callee.text.as_str();
        if self.is_local(text) || self.constants.contains(text) || WORDS.iter().any(|(word, _)| *word == text) {
            return;
        }
        if !self.is_layer(text) {
            if self.errors.len() >= MAX_ERRORS {
                return;
            }
            report(self.errors, self.unknown_layer(text).at(callee.span));
            return;
        }
        let named = args.iter().filter_map(|arg| arg.name.as_ref());
        match (self.program.definitions.get(text), layers::find(split_window(text).0)) {
            (Some(definition), _) => {
                let is_cell = definition.kind == DefinitionKind::Cell;
                for name in named {
                    let valid = definition.params.iter().map(|param| param.name.text.as_str());
                    // A cell's first state is set by `init`.
                    let is_known = valid.clone().any(|valid| valid == name.text) || (is_cell && name.text == "init");
                    if !is_known {
                        let valid = valid.chain(is_cell.then_some("init"));
                        report(self.errors, unknown_argument(text, &name.text, valid).at(name.span));
                    }
                }
            }
            (None, Some(layer)) => {
                for name in named {
                    if layer.argument(&name.text).is_none() {
                        let valid = layer.arguments.iter().map(|argument| argument.name);
                        report(self.errors, unknown_argument(text, &name.text, valid).at(name.span));
                    }
                }
            }
            // `reverse` and `bidirectional` see their arguments themselves.
            (None, None) => {}
        }
    }
}

/// Reports blocks that use themselves, each circle once.
fn cycles(program: &Program<'_>, errors: &mut Vec<Diagnostic>) {
    let mut finished: BTreeSet<&str> = BTreeSet::new();
    for &start in program.definitions.keys() {
        // Depth first, without recursion: a file may chain any number of blocks.
        let mut path: Vec<(&str, Vec<(&str, Span)>)> = Vec::new();
        if !finished.contains(start) {
            path.push((start, uses(program, start)));
        }
        while let Some((name, rest)) = path.last_mut() {
            let name = *name;
            let Some((used, span)) = rest.pop() else {
                finished.insert(name);
                path.pop();
                continue;
            };
            if let Some(first) = path.iter().position(|(on_path, _)| *on_path == used) {
                let chain: Vec<String> = path[first..].iter().map(|(name, _)| format!("`{name}`")).collect();
                let text = format!("`{used}` uses itself: {} uses `{used}`", chain.join(" uses "));
                let message = Message::new(Code::BlockCycle, text);
                report(errors, message.help("blocks expand in place, so a repeat or a `for` says how often").at(span));
            } else if !finished.contains(used) {
                path.push((used, uses(program, used)));
            }
        }
    }
}

/// The definitions that a body names, in order, first ones last. What the body itself defines hides them.
fn uses<'p>(program: &'p Program<'_>, name: &str) -> Vec<(&'p str, Span)> {
    let definition = program.definitions[name];
    let hidden = super::walk::defined(definition);
    let mut found = Vec::new();
    super::walk::names(&definition.body, &mut |ident| {
        let used = program.definitions.get_key_value(ident.text.as_str());
        if let Some((name, _)) = used.filter(|(name, _)| !hidden.contains(*name)) {
            found.push((*name, ident.span));
        }
    });
    found.reverse();
    found
}
