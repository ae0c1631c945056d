//! Graph to Program: what is stored, what is inlined, which algorithm runs.

mod lowering;
mod storage;

pub use lowering::Lowering;
