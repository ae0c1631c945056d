//! Where entries and statements end.

use netc::syntax::ast::{Stmt, StmtKind};
use netc::syntax::tokens;

/// Whether a statement can go on with a line that begins with `->` or `else`.
pub fn is_longer(stmt: &Stmt, text: &str) -> bool {
    let is_if = matches!(stmt.kind, StmtKind::If { .. });
    let is_declaration =
        matches!(stmt.kind, StmtKind::Input(_) | StmtKind::Target(_) | StmtKind::Param(_) | StmtKind::State(_));
    if text.trim_start().starts_with("else") {
        is_if
    } else {
        !is_if && !is_declaration && !matches!(stmt.kind, StmtKind::For { .. })
    }
}

/// With a newline at its end. Newlines after an arrow or an operator, where nothing could end, are blanks.
pub fn joined(typed: &str) -> String {
    let mut text = String::new();
    for line in typed.lines() {
        if ends_within(&text) {
            text.pop();
            text.push(' ');
        }
        text += line;
        text.push('\n');
    }
    text
}

/// Whether a text stops after a sign that wants something behind it.
pub fn ends_within(text: &str) -> bool {
    let last = tokens(text).last().map_or("", |token| token.text);
    matches!(last, "->" | "=" | "+" | "-" | "*" | "/" | "@" | "and" | "or" | "not")
}
