//! The Ast as a tree for people and golden files: one node a line, indented, without spans.

use std::fmt::{Display, Formatter, Result};

use super::ast::{
    Arg, BinaryOp, Body, CombinatorKind, Decl, Definition, DefinitionKind, Expr, ExprKind, File, Item, ItemKind, Port,
    SettingValue, Settings, SettingsKind, Stmt, StmtKind, UnaryOp,
};

impl Display for File {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let mut tree = Tree { text: String::new(), depth: 0 };
        for item in &self.items {
            tree.item(item);
        }
        f.write_str(&tree.text)
    }
}

impl Display for DefinitionKind {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            DefinitionKind::Block => "block",
            DefinitionKind::Cell => "cell",
            DefinitionKind::Net => "net",
        })
    }
}

impl Display for SettingsKind {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            SettingsKind::Train => "train",
            SettingsKind::Generate => "generate",
        })
    }
}

impl Display for CombinatorKind {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            CombinatorKind::Concat => "concat",
            CombinatorKind::Sum => "sum",
            CombinatorKind::Residual => "residual",
        })
    }
}

impl Display for UnaryOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            UnaryOp::Neg => "-",
            UnaryOp::Not => "not",
        })
    }
}

impl Display for BinaryOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            BinaryOp::Add => "+",
            BinaryOp::Sub => "-",
            BinaryOp::Mul => "*",
            BinaryOp::Div => "/",
            BinaryOp::MatMul => "@",
            BinaryOp::Eq => "==",
            BinaryOp::Ne => "!=",
            BinaryOp::Lt => "<",
            BinaryOp::Le => "<=",
            BinaryOp::Gt => ">",
            BinaryOp::Ge => ">=",
            BinaryOp::And => "and",
            BinaryOp::Or => "or",
        })
    }
}

struct Tree {
    text: String,
    depth: usize,
}

impl Tree {
    fn line(&mut self, line: impl Display) {
        self.text += &format!("{:1$}{line}\n", "", 2 * self.depth);
    }

    fn indented(&mut self, inner: impl FnOnce(&mut Self)) {
        self.depth += 1;
        inner(self);
        self.depth -= 1;
    }

    /// A line, and below it the expressions it holds.
    fn node(&mut self, line: impl Display, children: &[Expr]) {
        self.line(line);
        self.indented(|tree| children.iter().for_each(|child| tree.expr(child)));
    }

    /// The same for an expression with a role of its own.
    fn role(&mut self, role: &str, expr: &Expr) {
        self.node(role, std::slice::from_ref(expr));
    }

    fn optional(&mut self, role: &str, expr: Option<&Expr>) {
        if let Some(expr) = expr {
            self.role(role, expr);
        }
    }

    fn item(&mut self, item: &Item) {
        match &item.kind {
            ItemKind::Import(path) => self.line(format!("import {:?}", path.text)),
            ItemKind::Const { name, value } => self.role(&format!("const {}", name.text), value),
            ItemKind::Definition(definition) => self.definition(definition),
            ItemKind::Settings(settings) => self.settings(settings),
        }
    }

    fn definition(&mut self, definition: &Definition) {
        self.line(format!("{} {}", definition.kind, definition.name.text));
        self.indented(|tree| {
            for param in &definition.params {
                tree.line(format!("parameter {}", param.name.text));
                tree.indented(|tree| tree.optional("default", param.default.as_ref()));
            }
            tree.body("body", &definition.body);
        });
    }

    fn settings(&mut self, settings: &Settings) {
        self.line(format!("{} {}", settings.kind, settings.target.text));
        self.indented(|tree| {
            for setting in &settings.entries {
                let name = &setting.name.text;
                match &setting.value {
                    SettingValue::Values(values) => tree.node(format!("setting {name}"), values),
                    SettingValue::Feed { input, value } => {
                        tree.role(&format!("setting {name} {} <-", input.text), value);
                    }
                }
            }
        });
    }

    fn body(&mut self, role: &str, body: &Body) {
        self.line(role);
        self.indented(|tree| body.stmts.iter().for_each(|stmt| tree.stmt(stmt)));
    }

    fn stmt(&mut self, stmt: &Stmt) {
        match &stmt.kind {
            StmtKind::Input(port) => self.port("input", port),
            StmtKind::Target(port) => self.port("target", port),
            StmtKind::State(decls) => self.decls("state", decls),
            StmtKind::Param(decls) => self.decls("param", decls),
            StmtKind::Layer { name, value } => self.role(&format!("layer {}", name.text), value),
            StmtKind::Bind { name, primed, value } => {
                let prime = if *primed { "'" } else { "" };
                self.role(&format!("bind {}{prime}", name.text), value);
            }
            StmtKind::Flow(expr) => self.role("flow", expr),
            StmtKind::Output(expr) => self.role("output", expr),
            StmtKind::Loss(expr) => self.role("loss", expr),
            StmtKind::Metric(expr) => self.role("metric", expr),
            StmtKind::For { var, iterable, body } => {
                self.line(format!("for {}", var.text));
                self.indented(|tree| {
                    tree.role("in", iterable);
                    tree.body("do", body);
                });
            }
            StmtKind::If { branches, otherwise } => {
                self.line("if");
                self.indented(|tree| {
                    for (condition, body) in branches {
                        tree.role("when", condition);
                        tree.body("then", body);
                    }
                    if let Some(body) = otherwise {
                        tree.body("else", body);
                    }
                });
            }
        }
    }

    fn port(&mut self, keyword: &str, port: &Port) {
        self.node(format!("{keyword} {}", port.name.text), &port.dims);
        self.indented(|tree| tree.optional("type", port.ty.as_ref()));
    }

    fn decls(&mut self, keyword: &str, decls: &[Decl]) {
        self.line(keyword);
        self.indented(|tree| {
            for decl in decls {
                tree.node(&decl.name.text, &decl.dims);
                tree.indented(|tree| tree.optional("init", decl.init.as_ref()));
            }
        });
    }

    fn expr(&mut self, expr: &Expr) {
        match &expr.kind {
            ExprKind::Number(number) => self.line(&number.text),
            ExprKind::Text(text) => self.line(format!("{text:?}")),
            ExprKind::Bool(value) => self.line(value),
            ExprKind::Name(name) => self.line(&name.text),
            ExprKind::Next(name) => self.line(format!("{}'", name.text)),
            ExprKind::Path(parts) => {
                let parts: Vec<&str> = parts.iter().map(|part| part.text.as_str()).collect();
                self.line(parts.join("."));
            }
            ExprKind::List(items) => self.node("list", items),
            ExprKind::Index { base, parts } => {
                self.role("index", base);
                self.indented(|tree| tree.node("at", parts));
            }
            ExprKind::Range { start, end } => {
                self.line("range");
                self.indented(|tree| {
                    tree.optional("from", start.as_deref());
                    tree.optional("to", end.as_deref());
                });
            }
            ExprKind::Unary { op, operand } => self.role(&format!("unary {op}"), operand),
            ExprKind::Binary { op, left, right, .. } => {
                self.line(format!("binary {op}"));
                self.indented(|tree| {
                    tree.expr(left);
                    tree.expr(right);
                });
            }
            ExprKind::Call { callee, args, repeat } => {
                self.line(format!("call {}", callee.text));
                self.indented(|tree| tree.args(args, repeat.as_deref()));
            }
            ExprKind::Group { inner, repeat } => {
                self.role("group", inner);
                self.indented(|tree| tree.optional("repeat", repeat.as_deref()));
            }
            ExprKind::Chain(stages) => self.node("chain", stages),
            ExprKind::If { branches, otherwise } => {
                self.line("if");
                self.indented(|tree| {
                    for (condition, value) in branches {
                        tree.role("when", condition);
                        tree.role("then", value);
                    }
                    tree.role("else", otherwise);
                });
            }
            ExprKind::Combinator { kind, args, branches, repeat } => {
                self.line(kind);
                self.indented(|tree| {
                    tree.args(args, repeat.as_deref());
                    tree.node("branches", branches);
                });
            }
        }
    }

    fn args(&mut self, args: &[Arg], repeat: Option<&Expr>) {
        for arg in args {
            match &arg.name {
                Some(name) => self.role(&format!("{} =", name.text), &arg.value),
                None => self.expr(&arg.value),
            }
        }
        self.optional("repeat", repeat);
    }
}
