//! Every name that a body uses, and every name that it defines, wherever it stands.

use std::collections::BTreeSet;

use crate::syntax::ast::{Body, Definition, Expr, ExprKind, Ident, StmtKind};

/// Calls `see` with each name that stands for a value or a layer, in the order of the text.
pub(super) fn names<'a>(body: &'a Body, see: &mut impl FnMut(&'a Ident)) {
    for stmt in &body.stmts {
        match &stmt.kind {
            StmtKind::Input(port) | StmtKind::Target(port) => {
                port.dims.iter().chain(&port.ty).for_each(|e| expr(e, see));
            }
            StmtKind::State(decls) | StmtKind::Param(decls) => {
                decls.iter().flat_map(|decl| decl.dims.iter().chain(&decl.init)).for_each(|e| expr(e, see));
            }
            StmtKind::Layer { value, .. } | StmtKind::Bind { value, .. } => expr(value, see),
            StmtKind::Flow(e) | StmtKind::Output(e) | StmtKind::Loss(e) | StmtKind::Metric(e) => expr(e, see),
            StmtKind::For { iterable, body, .. } => {
                expr(iterable, see);
                names(body, see);
            }
            StmtKind::If { branches, otherwise } => {
                for (condition, body) in branches {
                    expr(condition, see);
                    names(body, see);
                }
                otherwise.iter().for_each(|body| names(body, see));
            }
        }
    }
}

/// The names that a definition gives to what is its own.
pub(super) fn defined(definition: &Definition) -> BTreeSet<&str> {
    let mut found: BTreeSet<&str> = definition.params.iter().map(|param| param.name.text.as_str()).collect();
    define(&definition.body, &mut found);
    found
}

fn define<'a>(body: &'a Body, found: &mut BTreeSet<&'a str>) {
    for stmt in &body.stmts {
        match &stmt.kind {
            StmtKind::Input(port) | StmtKind::Target(port) => {
                found.insert(&port.name.text);
                found.extend(port.dims.iter().filter_map(|dim| match &dim.kind {
                    ExprKind::Name(name) => Some(name.text.as_str()),
                    _ => None,
                }));
            }
            StmtKind::State(decls) | StmtKind::Param(decls) => {
                found.extend(decls.iter().map(|decl| decl.name.text.as_str()));
            }
            StmtKind::Layer { name, .. } | StmtKind::Bind { name, .. } => {
                found.insert(&name.text);
            }
            StmtKind::For { var, body, .. } => {
                found.insert(&var.text);
                define(body, found);
            }
            StmtKind::If { branches, otherwise } => {
                branches.iter().map(|(_, body)| body).chain(otherwise).for_each(|body| define(body, found));
            }
            StmtKind::Flow(_) | StmtKind::Output(_) | StmtKind::Loss(_) | StmtKind::Metric(_) => {}
        }
    }
}

/// The same for an expression.
pub(super) fn expr<'a>(e: &'a Expr, see: &mut impl FnMut(&'a Ident)) {
    match &e.kind {
        ExprKind::Number(_) | ExprKind::Text(_) | ExprKind::Bool(_) => {}
        ExprKind::Name(name) | ExprKind::Next(name) => see(name),
        ExprKind::Path(parts) => see(&parts[0]),
        ExprKind::List(items) | ExprKind::Chain(items) => items.iter().for_each(|item| expr(item, see)),
        ExprKind::Index { base, parts } => {
            expr(base, see);
            parts.iter().for_each(|part| expr(part, see));
        }
        ExprKind::Range { start, end } => start.iter().chain(end).for_each(|end| expr(end, see)),
        ExprKind::Unary { operand, .. } => expr(operand, see),
        ExprKind::Binary { left, right, .. } => {
            expr(left, see);
            expr(right, see);
        }
        ExprKind::Call { callee, args, repeat } => {
            see(callee);
            args.iter().for_each(|arg| expr(&arg.value, see));
            repeat.iter().for_each(|repeat| expr(repeat, see));
        }
        ExprKind::Group { inner, repeat } => {
            expr(inner, see);
            repeat.iter().for_each(|repeat| expr(repeat, see));
        }
        ExprKind::If { branches, otherwise } => {
            for (condition, value) in branches {
                expr(condition, see);
                expr(value, see);
            }
            expr(otherwise, see);
        }
        ExprKind::Combinator { args, branches, repeat, .. } => {
            args.iter().for_each(|arg| expr(&arg.value, see));
            branches.iter().chain(repeat.as_deref()).for_each(|branch| expr(branch, see));
        }
    }
}
