//! Kernels as code of vectors of 256 bits (AVX2) or 512 (AVX-512), beside Cranelift, whose vectors have 128 bits.
//!
//! - `build`, `exprs` and `sums`: a kernel to a `plan` of loops and vector operations, or nothing where a kernel's kind is not
//!   supported;
//! - `code`: the function, its stack and its integers; `loops`: loops and guards; `run`: the vector instructions between
//!   them, with their registers; `fused`: those that multiply and add;
//! - `asm` and `vector`: instructions as bytes.
//!
//! Elementwise kernels have the bits of Cranelift's code and of the interpreter (but for the payloads of NaN): the
//! same operations in the same order, fused where elementary functions say so and nowhere else. A sum along the vector loop has as
//! many lanes in all whatever their number in a vector, and these are folded in an order that depends on the kernel alone: the
//! bits of a result do not tell how long vectors were.

mod asm;
mod build;
mod code;
mod exprs;
mod fused;
mod loops;
mod plan;
mod run;
mod sums;
mod vector;

use cranelift_codegen::ir::Endianness;
use cranelift_codegen::isa::{CallConv, TargetIsa};

use super::isa::has;
use super::nest::Call;
use crate::kernel::{Kernel, Program};

pub(super) use vector::Width;

/// Where a function's code may start.
pub(super) const ALIGNMENT: u64 = Width::Bits512.bytes() as u64;

/// A function as bytes that need no relocation, and as text where it is listed.
#[derive(Debug, Clone, PartialEq)]
pub struct WideCode {
    pub(super) width: Width,
    pub bytes: Vec<u8>,
    pub text: String,
}

/// The longest vectors of wide code on the machine, if it runs there at all and follows its conventions.
pub(super) fn longest(isa: &dyn TargetIsa) -> Option<Width> {
    let suits = isa.endianness() == Endianness::Little && isa.default_call_conv() == CallConv::SystemV;
    match (suits && has(isa, "has_avx2") && has(isa, "has_fma"), has(isa, "has_avx512f")) {
        (false, _) => None,
        (true, false) => Some(Width::Bits256),
        (true, true) => Some(Width::Bits512),
    }
}

/// The code of a kernel's function, if the kernel is of a kind that wide code is made for.
pub(super) fn emit(
    program: &Program,
    kernel: &Kernel,
    call: Call,
    longest: Width,
    is_listed: bool,
) -> Option<WideCode> {
    let plan = build::plan(program, kernel, call)?;
    let width = if plan.fills(Width::Bits512, kernel) { longest } else { Width::Bits256 };
    let (bytes, text) = code::encode(&plan.fitted(width), width, is_listed)?;
    Some(WideCode { width, bytes, text })
}
