//! Text to [`ast`], and back: the only user of pest.
//!
//! [`parse()`] reads the layout of a text (`layout`), lets the grammar (`grammar/net.pest`) find its form and builds the
//! Ast (`parse`, `expr`); `explain` turns a failure into a user's words. [`format()`] prints the canonical form.
//! [`fragment()`] reads what is typed at a prompt, [`tokens()`] tells words, numbers and comments apart.

pub mod ast;
mod explain;
mod expr;
mod format;
mod format_expr;
mod format_line;
mod fragment;
mod layout;
mod parse;
mod tokens;
mod tree;

pub use format::format;
pub use fragment::{Fragment, Refused, continues, fragment};
pub use parse::{decode, parse};
pub use tokens::{Token, TokenKind, tokens};
