//! Text to [`ast`], and back: the only user of pest.

pub mod ast;

mod explain;
mod expr;
mod layout;
mod parse;

pub use parse::{decode, parse};
