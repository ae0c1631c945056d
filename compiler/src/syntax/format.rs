//! The canonical form of a source file, as `netc fmt` prints it.
//!
//! Two spaces a level, one around signs, keywords and settings of neighboring lines in a column. Where the author broke
//! a line before `->`, inside brackets or braces, it stays broken; at most one blank line in a row and all comments stay.

use super::ast::{
    Body, Decl, Definition, Expr, ExprKind, File, Item, ItemKind, Port, Setting, SettingValue, Stmt, StmtKind,
};
use super::format_line::{Lines, Source};
use super::parse;
use crate::diag::{Diagnostic, FileId};

/// Formats a source file. Formatting the result again changes nothing.
pub fn format(file: FileId, text: &str) -> Result<String, Vec<Diagnostic>> {
    let file = parse(file, text)?;
    Ok(print(&file, text))
}

fn print(file: &File, text: &str) -> String {
    let mut code = text.as_bytes().to_vec();
    for comment in &file.comments {
        code[comment.span.range()].fill(b' ');
    }
    let code = String::from_utf8(code).expect("comments are whole characters");
    let source = Source { text, code: &code, comments: &file.comments };
    let mut p = Printer { out: Lines::new(source) };
    for item in &file.items {
        p.out.begin_line(item.span.start);
        p.item(item);
    }
    p.out.finish()
}

pub(super) struct Printer<'a> {
    pub(super) out: Lines<'a>,
}

impl Printer<'_> {
    fn item(&mut self, item: &Item) {
        match &item.kind {
            ItemKind::Import(path) => self.out.push(&format!("import \"{}\"", path.text)),
            ItemKind::Const { name, value } => {
                self.out.push(&format!("const {} = ", name.text));
                self.expr(value);
            }
            ItemKind::Definition(definition) => self.definition(definition),
            ItemKind::Settings(settings) => {
                self.out.push(&format!("{} {} {{", settings.kind, settings.target.text));
                let width = settings.entries.iter().map(|setting| setting.name.text.len()).max().unwrap_or(0);
                self.out.indent();
                for setting in &settings.entries {
                    self.out.begin_line(setting.span.start);
                    self.setting(setting, width);
                }
                self.close_brace(item.span.end - 1);
            }
        }
    }

    /// `}` on a line of its own, unless nothing stands between it and its `{`.
    pub(super) fn close_brace(&mut self, at: u32) {
        self.out.dedent(at);
        if !self.out.is_just_opened() {
            self.out.close_line();
        }
        self.out.push("}");
    }

    fn definition(&mut self, definition: &Definition) {
        self.out.push(&format!("{} {}", definition.kind, definition.name.text));
        if !definition.params.is_empty() {
            self.bracketed(
                "(",
                ")",
                &definition.params,
                |param| param.name.span,
                |p, param| {
                    p.out.push(&param.name.text);
                    p.assigned(param.default.as_ref());
                },
            );
        }
        self.out.push(" ");
        self.body(&definition.body);
    }

    fn setting(&mut self, setting: &Setting, width: usize) {
        self.out.push(&format!("{:width$} ", setting.name.text));
        match &setting.value {
            SettingValue::Values(values) => {
                for (i, value) in values.iter().enumerate() {
                    self.out.push(if i > 0 { ", " } else { "" });
                    self.expr(value);
                }
            }
            SettingValue::Feed { input, value } => {
                self.out.push(&format!("{} <- ", input.text));
                self.expr(value);
            }
        }
    }

    /// Statements in braces: on one line if a single one was written so.
    pub(super) fn body(&mut self, body: &Body) {
        self.out.push("{");
        if let [stmt] = &body.stmts[..]
            && !self.out.breaks_between(body.span.start, stmt.span.start)
            && !self.out.breaks_between(stmt.span.end, body.span.end)
        {
            self.out.push(" ");
            self.stmt(stmt, 0);
            self.out.push(" }");
            return;
        }
        self.out.indent();
        let widths = self.keyword_widths(&body.stmts);
        for (stmt, width) in body.stmts.iter().zip(widths) {
            self.out.begin_line(stmt.span.start);
            self.stmt(stmt, width);
        }
        self.close_brace(body.span.end - 1);
    }

    /// How wide each statement's keyword is printed, or the first stage of a flow of two: as wide as the widest of the
    /// neighboring lines of the same sort.
    fn keyword_widths(&self, stmts: &[Stmt]) -> Vec<usize> {
        let mut widths = Vec::new();
        for run in stmts.chunk_by(|a, b| self.sort(a) == self.sort(b) && self.out.are_neighbors(a.span, b.span)) {
            let widest = run.iter().filter_map(|stmt| self.aligned_width(stmt)).max().unwrap_or(0);
            widths.extend(run.iter().map(|_| widest));
        }
        widths
    }

    fn aligned_width(&self, stmt: &Stmt) -> Option<usize> {
        match &stmt.kind {
            StmtKind::Flow(flow) => self.two_stages(flow).map(|(first, _)| first.chars().count()),
            _ => keyword(stmt).map(|(word, _)| word.len()),
        }
    }

    fn sort(&self, stmt: &Stmt) -> Sort {
        match (&stmt.kind, keyword(stmt)) {
            (_, Some((_, sort))) => sort,
            (StmtKind::Flow(flow), None) if self.two_stages(flow).is_some() => Sort::Flow,
            (_, None) => Sort::Lone,
        }
    }

    /// A flow of two stages that is printed on one line: the first as printed, and the second.
    fn two_stages<'e>(&self, flow: &'e Expr) -> Option<(String, &'e Expr)> {
        let ExprKind::Chain(stages) = &flow.kind else {
            return None;
        };
        let [first, second] = &stages[..] else {
            return None;
        };
        let aside = |expr: &Expr| {
            let mut printer = Printer { out: self.out.aside() };
            printer.expr(expr);
            printer.out.finish().trim_end().to_owned()
        };
        let line = aside(first);
        let on_one_line =
            !line.contains('\n') && !aside(second).contains('\n') && !self.out.breaks_before_arrow(second);
        on_one_line.then_some((line, second))
    }

    fn stmt(&mut self, stmt: &Stmt, width: usize) {
        if let Some((word, sort)) = keyword(stmt) {
            let width = if sort == Sort::Lone { 0 } else { width };
            self.out.push(&format!("{word:width$} "));
        }
        match &stmt.kind {
            StmtKind::Input(port) | StmtKind::Target(port) => self.port(port),
            StmtKind::State(decls) | StmtKind::Param(decls) => self.decls(decls),
            StmtKind::Layer { name, value } => {
                self.out.push(&format!("{} = ", name.text));
                self.expr(value);
            }
            StmtKind::Bind { name, primed, value } => {
                self.out.push(&format!("{}{} = ", name.text, if *primed { "'" } else { "" }));
                self.expr(value);
            }
            StmtKind::Flow(flow) => match self.two_stages(flow) {
                Some((first, second)) => {
                    self.out.push(&format!("{first:width$} -> "));
                    self.expr(second);
                }
                None => self.expr(flow),
            },
            StmtKind::Output(expr) | StmtKind::Loss(expr) | StmtKind::Metric(expr) => {
                self.expr(expr);
            }
            StmtKind::For { var, iterable, body } => {
                self.out.push(&format!("for {} in ", var.text));
                self.expr(iterable);
                self.out.push(" ");
                self.body(body);
            }
            StmtKind::If { branches, otherwise } => {
                let column = self.out.column();
                let mut end = None;
                for (condition, body) in branches {
                    self.else_word(end, condition.span.start, column);
                    self.out.push(if end.is_some() { " if " } else { "if " });
                    self.expr(condition);
                    self.out.push(" ");
                    self.body(body);
                    end = Some(body.span.end);
                }
                if let Some(body) = otherwise {
                    self.else_word(end, body.span.start, column);
                    self.out.push(" ");
                    self.body(body);
                }
            }
        }
    }

    /// ` else`, in a new line if the source has one there. `end` is where the branch before ended, if there is one.
    pub(super) fn else_word(&mut self, end: Option<u32>, next: u32, column: usize) {
        let Some(end) = end else { return };
        if self.out.breaks_before_else(end, next) {
            self.out.continue_line(next, column);
            self.out.push("else");
        } else {
            self.out.push(" else");
        }
    }

    fn port(&mut self, port: &Port) {
        self.out.push(&port.name.text);
        self.dims(&port.dims);
        if let Some(ty) = &port.ty {
            self.out.push(": ");
            self.expr(ty);
        }
    }

    fn decls(&mut self, decls: &[Decl]) {
        for (i, decl) in decls.iter().enumerate() {
            self.out.push(if i > 0 { ", " } else { "" });
            self.out.push(&decl.name.text);
            self.dims(&decl.dims);
            self.assigned(decl.init.as_ref());
        }
    }

    fn dims(&mut self, dims: &[Expr]) {
        if !dims.is_empty() {
            self.list(dims);
        }
    }

    fn assigned(&mut self, value: Option<&Expr>) {
        if let Some(value) = value {
            self.out.push(" = ");
            self.expr(value);
        }
    }
}

/// What lines must have in common to stand in columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    /// `input`, `target`
    Port,
    /// `output`, `loss`, `metric`
    Result,
    /// A flow of two stages
    Flow,
    /// Stands for itself
    Lone,
}

fn keyword(stmt: &Stmt) -> Option<(&'static str, Sort)> {
    match &stmt.kind {
        StmtKind::Input(_) => Some(("input", Sort::Port)),
        StmtKind::Target(_) => Some(("target", Sort::Port)),
        StmtKind::Output(_) => Some(("output", Sort::Result)),
        StmtKind::Loss(_) => Some(("loss", Sort::Result)),
        StmtKind::Metric(_) => Some(("metric", Sort::Result)),
        StmtKind::State(_) => Some(("state", Sort::Lone)),
        StmtKind::Param(_) => Some(("param", Sort::Lone)),
        StmtKind::Layer { .. } => Some(("layer", Sort::Lone)),
        StmtKind::Bind { .. } | StmtKind::Flow(_) | StmtKind::For { .. } | StmtKind::If { .. } => None,
    }
}
