//! Text to [`ast`], and back: the only user of pest.

pub mod ast;
