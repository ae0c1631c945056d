//! Expressions in canonical form.

use std::fmt::{Display, Formatter};

use super::ast::{Arg, Expr, ExprKind, NumberForm, UnaryOp};
use super::format::Printer;
use super::format_line::{Lines, Source};
use crate::diag::Span;

/// The expression in canonical form, on one line except for combinators.
impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let mut printer = Printer { out: Lines::new(Source::default()) };
        printer.expr(self);
        f.write_str(printer.out.finish().trim_end())
    }
}

impl Printer<'_> {
    pub(super) fn expr(&mut self, expr: &Expr) {
        match &expr.kind {
            ExprKind::Number(number) => self.out.push(&number.text),
            ExprKind::Text(text) => self.out.push(&format!("\"{text}\"")),
            ExprKind::Bool(value) => self.out.push(if *value { "true" } else { "false" }),
            ExprKind::Name(name) => self.out.push(&name.text),
            ExprKind::Next(name) => self.out.push(&format!("{}'", name.text)),
            ExprKind::Path(parts) => {
                let parts: Vec<&str> = parts.iter().map(|part| part.text.as_str()).collect();
                self.out.push(&parts.join("."));
            }
            ExprKind::List(items) => self.list(items),
            ExprKind::Index { base, parts } => {
                self.expr(base);
                self.list(parts);
            }
            ExprKind::Range { start, end } => {
                if let Some(start) = start {
                    self.expr(start);
                }
                self.out.push("..");
                if let Some(end) = end {
                    self.expr(end);
                }
            }
            ExprKind::Unary { op, operand } => {
                self.out.push(match op {
                    UnaryOp::Neg => "-",
                    UnaryOp::Not => "not ",
                });
                self.expr(operand);
            }
            ExprKind::Binary { op, left, right, .. } => {
                self.expr(left);
                self.out.push(&format!(" {op} "));
                self.expr(right);
            }
            ExprKind::Call { callee, args, repeat } => {
                self.out.push(&callee.text);
                self.args(args);
                self.repeat(repeat.as_deref());
            }
            ExprKind::Group { inner, repeat } => {
                self.out.push("(");
                self.expr(inner);
                self.out.push(")");
                self.repeat(repeat.as_deref());
            }
            ExprKind::Chain(stages) => self.chain(stages),
            ExprKind::If { branches, otherwise } => {
                let column = self.out.column();
                let mut end = None;
                for (condition, value) in branches {
                    self.else_word(end, condition.span.start, column);
                    self.out.push(if end.is_some() { " if " } else { "if " });
                    self.expr(condition);
                    self.value_in_braces(value);
                    end = Some(value.span.end);
                }
                self.else_word(end, otherwise.span.start, column);
                self.value_in_braces(otherwise);
            }
            ExprKind::Combinator { kind, args, branches, repeat } => {
                self.out.push(&kind.to_string());
                if !args.is_empty() {
                    self.args(args);
                }
                self.out.push(" ");
                let end = match repeat {
                    Some(repeat) => repeat.span.start,
                    None => expr.span.end,
                };
                self.branches(branches, end);
                self.repeat(repeat.as_deref());
            }
        }
    }

    /// Lines break before `->` where they did in the source, below the first arrow.
    fn chain(&mut self, stages: &[Expr]) {
        let mut column = None;
        for (i, stage) in stages.iter().enumerate() {
            if i > 0 {
                if self.out.breaks_before_arrow(stage) {
                    let column = *column.get_or_insert(self.out.indentation() + 4);
                    self.out.continue_line(stage.span.start, column);
                } else {
                    self.out.push(" ");
                    column.get_or_insert(self.out.column());
                }
                self.out.push("-> ");
            }
            self.expr(stage);
        }
    }

    /// `{ value }` of an `if`, on one line if it was.
    fn value_in_braces(&mut self, value: &Expr) {
        if !self.out.starts_line(value.span.start) {
            self.out.push(" { ");
            self.expr(value);
            self.out.push(" }");
            return;
        }
        self.out.push(" {");
        self.out.indent();
        self.out.begin_line(value.span.start);
        self.expr(value);
        self.close_brace(value.span.end);
    }

    fn branches(&mut self, branches: &[Expr], end: u32) {
        self.out.push("{");
        if let [branch] = branches
            && !self.out.starts_line(branch.span.start)
            && !self.out.breaks_between(branch.span.end, end)
        {
            self.out.push(" ");
            self.expr(branch);
            self.out.push(" }");
            return;
        }
        self.out.indent();
        for branch in branches {
            self.out.begin_line(branch.span.start);
            self.expr(branch);
        }
        self.close_brace(end);
    }

    pub(super) fn list(&mut self, items: &[Expr]) {
        self.bracketed("[", "]", items, |item| item.span, |p, item| p.expr(item));
    }

    fn args(&mut self, args: &[Arg]) {
        self.bracketed("(", ")", args, Arg::span, |p, arg| {
            if let Some(name) = &arg.name {
                p.out.push(&format!("{} = ", name.text));
            }
            p.expr(&arg.value);
        });
    }

    fn repeat(&mut self, repeat: Option<&Expr>) {
        let Some(repeat) = repeat else { return };
        self.out.push("x");
        match &repeat.kind {
            ExprKind::Number(number) if number.form == NumberForm::Integer => {
                self.out.push(&number.text);
            }
            _ => {
                self.out.push("(");
                self.expr(repeat);
                self.out.push(")");
            }
        }
    }

    /// Things in brackets; those that began a line in the source begin one again.
    pub(super) fn bracketed<T>(
        &mut self,
        open: &str,
        close: &str,
        items: &[T],
        span: impl Fn(&T) -> Span,
        print: impl Fn(&mut Self, &T),
    ) {
        self.out.push(open);
        self.out.indent();
        for (i, item) in items.iter().enumerate() {
            let start = span(item).start;
            if self.out.starts_line(start) {
                self.out.push(if i > 0 { "," } else { "" });
                self.out.begin_line(start);
            } else {
                self.out.push(if i > 0 { ", " } else { "" });
            }
            print(self, item);
        }
        self.out.dedent(0);
        if items.first().is_some_and(|item| self.out.starts_line(span(item).start)) {
            self.out.close_line();
        }
        self.out.push(close);
    }
}
