//! Matrix products, convolutions and their gradients, in SIMD code chosen for the CPU.

mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub mod conv;
pub mod cpu;
mod dots;
mod few;
mod fixed21;
mod gemm;
mod largest;
pub mod limits;
mod list;
mod long;
pub mod matmul;
mod micro;
#[cfg(target_arch = "aarch64")]
mod neon;
mod pack;
mod packed;
mod portable;
pub(crate) mod project;
mod right;
mod rows;
pub(crate) mod scatter;
mod simd;
#[cfg(all(target_arch = "x86_64", not(netc_unoptimized)))]
mod steps;
mod strassen;
#[cfg(test)]
mod testing;
