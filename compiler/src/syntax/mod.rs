//! Text to [`ast`], and back: the only user of pest.
//!
//! [`parse()`] reads the layout of a text (`layout`), lets the grammar (`grammar/net.pest`) find its form and builds the
//! Ast (`parse`, `expr`); `explain` turns a failure into a user's words. [`format()`] prints the canonical form.

pub mod ast;
mod explain;
mod expr;
mod format;
mod format_expr;
mod format_line;
mod layout;
mod parse;
mod tree;

pub use format::format;
pub use parse::{decode, parse};
