//! Matrix products, convolutions and their gradients, in SIMD code chosen for the CPU.

pub mod conv;
pub(crate) mod matmul;
pub(crate) mod scatter;
