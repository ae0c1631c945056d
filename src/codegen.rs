//! Program to machine code: the only user of Cranelift.
//!
//! - [`emit`]: a program as functions of a Cranelift module, for memory and object files alike
//!   (`driver` writes the lists of steps, `nest`, `control` and `expr` the kernels, `lanes` the vectors);
//! - [`isa`]: the machine that code is made for;
//! - [`jit`]: code in memory, and calls of it.

mod control;
mod cx;
mod driver;
pub mod emit;
mod expr;
mod facts;
pub mod isa;
pub mod jit;
mod lanes;
mod nest;
mod work;

pub use jit::{CompiledProgram, asm, clif, compile};
