//! Every name that a body uses, wherever it stands.

use crate::syntax::ast::{Body, Expr, ExprKind, Ident, StmtKind};

/// Calls `see` with each name that stands for a value or a layer, in the order of the text.
pub(super) fn names<'a>(body: &'a Body, see: &mut impl FnMut(&'a Ident)) {
    for stmt in &body.stmts {
        match &stmt.kind {
            StmtKind::Input(port) | StmtKind::Target(port) => port.dims.iter().chain(&port.ty).for_each(|e| expr(e, see)),
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

fn expr<'a>(e: &'a Expr, see: &mut impl FnMut(&'a Ident)) {
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
