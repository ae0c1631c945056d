//! A compiled network as its object file holds it: the description, the addresses of its functions, its weights.

use crate::kernels::cpu::Cpu;

/// The functions of one entry, each of one argument, the frame.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Functions {
    /// Runs when parameters have changed.
    pub prepare: unsafe extern "C" fn(*mut u64),
    pub run: unsafe extern "C" fn(*mut u64),
}

/// What stands in the data of an object file, written by the compiler, read when an instance is made.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Artifact {
    /// Of [`super::description::Description::to_bytes`].
    pub description: *const u8,
    pub description_len: u64,
    /// `variants` times as many as the description has entries: all of the first variant, then all of the second.
    pub functions: *const Functions,
    /// Versions of the same code for different processors, the most demanding first. What each needs is in `needs`.
    pub variants: u64,
    /// One of the `NEEDS_…` for each variant.
    pub needs: *const u64,
    /// Weights as safetensors, or null.
    pub weights: *const u8,
    pub weights_len: u64,
}

/// Any processor of the architecture.
pub const NEEDS_NOTHING: u64 = 0;
/// x86-64 with AVX2 and FMA.
pub const NEEDS_AVX2: u64 = 1;

/// Whether the kernels of this processor go with a variant: both must be of one kind, so that results are those of
/// code that was made in memory.
pub fn suits(needs: u64, cpu: Cpu) -> bool {
    match needs {
        NEEDS_NOTHING => true,
        NEEDS_AVX2 => matches!(cpu, Cpu::Avx2 | Cpu::Avx512 | Cpu::Amx),
        _ => false,
    }
}
