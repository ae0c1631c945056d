//! Kernels as code of 256-bit vectors (AVX2), beside Cranelift, whose vectors have 128 bits.
//!
//! - `build` and `exprs`: a kernel to a `plan` of loops and vector operations, or nothing where a kernel's kind is not
//!   supported;
//! - `code`: the function, its stack and its integers; `loops`: loops and guards; `run`: the vector instructions between
//!   them, with their registers;
//! - `asm`: instructions as bytes.
//!
//! Elementwise kernels have the bits of Cranelift's code and of the interpreter (but for the payloads of NaN): the
//! same operations in the same order, and no fused multiply-add. A sum along the vector loop is folded in an order
//! that depends on the kernel alone.

mod asm;
mod build;
mod code;
mod exprs;
mod loops;
mod plan;
mod run;

use cranelift_codegen::ir::Endianness;
use cranelift_codegen::isa::{CallConv, TargetIsa};

use super::nest::Call;
use crate::kernel::{Kernel, Program};

/// Where a function's code may start.
pub(super) const ALIGNMENT: u64 = asm::BYTES as u64;

/// A function as bytes that need no relocation, and as text.
#[derive(Debug, Clone, PartialEq)]
pub struct WideCode {
    pub bytes: Vec<u8>,
    pub text: String,
}

/// Whether wide code runs on the machine and follows its conventions.
pub(super) fn suits(isa: &dyn TargetIsa) -> bool {
    let has_avx2 = isa.isa_flags().iter().any(|flag| flag.name == "has_avx2" && flag.as_bool() == Some(true));
    has_avx2 && isa.endianness() == Endianness::Little && isa.default_call_conv() == CallConv::SystemV
}

/// The code of a kernel's function, if the kernel is of a kind that wide code is made for.
pub(super) fn emit(program: &Program, kernel: &Kernel, call: Call) -> Option<WideCode> {
    let plan = build::plan(program, kernel, call)?;
    let (bytes, text) = code::encode(&plan)?;
    Some(WideCode { bytes, text })
}
