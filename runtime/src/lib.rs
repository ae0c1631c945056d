//! What code compiled by netc calls at run time: matrix products, convolutions, threads, random numbers.
//!
//! The crate depends on `std` alone, so that it can be linked into a compiled network as a static library
//! or called from code made in memory. Its parts:
//!
//! - [`abi`]: the contract with generated code, one table of `extern "C"` symbols and their descriptors;
//! - [`artifact`]: compiled networks outside of the compiler, their instances and C interface;
//! - [`npy`]: what stands before the values of an array in numpy's format;
//! - [`math`]: `exp`, `log`, `tanh`, `sigmoid` and `erf`, defined once over [`math::Arith`];
//! - [`rng`]: random numbers as a pure function of a key, a stream and an index;
//! - [`threads`]: fork-join over fixed chunks, so that a result never depends on the number of threads;
//! - [`kernels`]: matrix products and convolutions in SIMD code chosen for the CPU at start-up;
//! - [`initial`]: first values of parameters;
//! - [`pages`]: large pages for large pieces of memory.
//! - [`place`]: where buffers lie in one workspace.
//!
//! ```
//! use std::sync::atomic::{AtomicUsize, Ordering};
//!
//! let pool = netc_runtime::Pool::new(2);
//! let sum = AtomicUsize::new(0);
//! pool.run(10, |chunk| {
//!     sum.fetch_add(chunk, Ordering::Relaxed);
//! });
//! assert_eq!(sum.into_inner(), 45);
//! ```

pub mod abi;
pub mod artifact;
pub mod initial;
pub mod kernels;
pub mod math;
pub mod npy;
mod order;
pub mod pages;
pub mod place;
pub mod rng;
mod scratch;
#[cfg(netc_standalone)]
mod standalone;
pub mod threads;

pub use threads::Pool;

/// Includes the typed interface of a network that the build script has compiled with `netc-build`: a struct of its name
/// in `CamelCase`.
///
/// ```text
/// netc_runtime::include_net!("digits");
/// ```
#[macro_export]
macro_rules! include_net {
    ($name:literal) => {
        include!(concat!(env!("OUT_DIR"), "/", $name, ".rs"));
    };
}
