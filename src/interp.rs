//! The reference interpreter: the meaning of a program, with no cleverness, in f32 and in f64.

pub mod program;

/// What numbers are rounded to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// As generated code computes.
    F32,
    /// For finite differences.
    F64,
}
