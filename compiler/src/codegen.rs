//! Program to machine code: the only user of Cranelift.
//!
//! - [`emit`]: a program as functions of a Cranelift module, for memory and object files alike
//!   (`driver` writes the lists of steps; `nest` the loops of a kernel, `hoist` what goes before each of them, `control`
//!   reductions and guards, `expr` the rest of the expressions, `address` where they load and store; `lanes` the vectors);
//! - `define`: machine code of these functions, on several threads;
//! - [`isa`]: the machine that code is made for;
//! - `wide`: the second emitter of kernels, with vectors of 256 bits, which needs nothing of Cranelift but its module;
//! - [`jit`]: code in memory, and calls of it;
//! - [`object`]: code in object files, for other programs to link;
//! - `listing`: code as text and in numbers.

mod address;
mod beside;
mod control;
mod cx;
mod define;
mod driver;
pub mod emit;
mod expr;
mod facts;
mod hoist;
pub mod isa;
pub mod jit;
mod lanes;
mod listing;
mod loops;
mod members;
mod nest;
pub mod object;
mod product;
mod scan;
mod share;
mod wide;

pub use emit::Vectors;
pub use isa::Target;
pub use jit::{CompiledProgram, compile, compile_with};
pub use listing::{asm, asm_with, clif, clif_for_any, code_bytes};
pub use wide::WideCode;
