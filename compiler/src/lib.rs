//! netc compiles neural networks: from a text to native code that infers **and trains**.
//!
//! # Example
//!
//! A network as text, trained and run on [`ndarray`] arrays:
//!
//! ```
//! use ndarray::array;
//! use netc::{Net, SessionOptions, inputs};
//!
//! let source = "net xor {
//!   input  x[2]
//!   target y: token(2)
//!   logits = dense(8, tanh) -> dense(2)
//!   output logits
//!   loss   cross_entropy(logits, y)
//! }
//! train xor { optimizer adam(lr = 0.05) }";
//! let mut session = Net::from_source("xor.net", source).compile(&SessionOptions::default())?;
//! let (x, y) = (array![[0., 0.], [0., 1.], [1., 0.], [1., 1.0_f32]], array![0, 1, 1, 0]);
//! for _ in 0..200 {
//!     session.train_step(inputs![x, y])?;
//! }
//! let outputs = session.forward(inputs![x])?;
//! println!("{}", outputs.get("logits").expect("an output of the network"));
//! # let logits = outputs.get("logits").unwrap();
//! # assert!((0..4).all(|i| (logits[[i, 1]] > logits[[i, 0]]) == (y[i] == 1)), "{logits}");
//! # Ok::<(), netc::Error>(())
//! ```
//!
//! # Where to go from here
//!
//! | to … | see |
//! |---|---|
//! | read a file or text, set its parameters, compile it | [`Net`] |
//! | know a network's layers, sizes and settings | [`Network`] |
//! | run it, train step by step or with a loop of one's own, save and load weights | [`Session`], [`inputs!`], [`Outputs`] |
//! | train over epochs, with validation, schedules and resuming | [`train::fit`] |
//! | read arrays, pictures and data sets from files | [`data`] |
//! | handle what can be wrong | [`Error`], [`diag::Code`] |
//!
//! Errors are values; a user's text or data never causes a panic. The library prints nothing, and reads and writes
//! files only in [`data`]. Results do not depend on the number of threads.
//!
//! The language is described in `docs/language.md`. Cells, the steps of recurrences,
//! are equations in it.
//!
//! # The pipeline
//!
//! 1. `syntax` reads a text into a tree with places.
//! 2. `elaborate` expands names, blocks and repeats, and infers every shape: a [`Network`], of which nothing later can
//!    be wrong.
//! 3. `autodiff` appends the backward pass, and the pipeline the optimizer's step.
//! 4. `simplify` rewrites the graph: algebra, constants, common subexpressions, dead code.
//! 5. `schedule` turns it into a program: memory layout, fused loop nests, calls of the runtime's kernels.
//! 6. `memory` gives each buffer its place.
//! 7. `codegen` makes machine code with Cranelift; a [`Session`] calls it.
//!
//! Steps 3 to 7 run once for each [`Entry`] when it is first used. `ARCHITECTURE.md` tells where everything is and why.
//! The modules of these steps are public for the tests of this repository only, are hidden here, and change freely.

#![cfg_attr(
    not(feature = "internals"),
    allow(dead_code, unreachable_pub, unused_imports, reason = "what the tests alone reach")
)]
#![warn(missing_docs)]
pub mod artifact;
pub mod data;
pub mod diag;
pub mod error;
#[macro_use]
mod inputs;
pub mod library;
mod net;
pub mod network;
pub mod session;
pub mod train;
pub mod types;

#[cfg(not(feature = "internals"))]
mod autodiff;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod autodiff;
#[cfg(not(feature = "internals"))]
mod codegen;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod codegen;
#[cfg(not(feature = "internals"))]
mod elaborate;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod elaborate;
#[cfg(not(feature = "internals"))]
mod entries;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod entries;
#[cfg(not(feature = "internals"))]
mod graph;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod graph;
#[cfg(not(feature = "internals"))]
mod index;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod index;
#[cfg(not(feature = "internals"))]
mod interp;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod interp;
#[cfg(not(feature = "internals"))]
mod kernel;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod kernel;
#[cfg(not(feature = "internals"))]
mod layers;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod layers;
#[cfg(not(feature = "internals"))]
mod memory;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod memory;
#[cfg(not(feature = "internals"))]
mod ops;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod ops;
#[cfg(not(feature = "internals"))]
mod pipeline;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod pipeline;
#[cfg(not(feature = "internals"))]
mod schedule;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod schedule;
#[cfg(not(feature = "internals"))]
mod simplify;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod simplify;
#[cfg(not(feature = "internals"))]
mod syntax;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod syntax;

pub use error::Error;
pub use kernel::Algorithm;
pub use net::{Net, check_source};
pub use network::Network;
pub use pipeline::{Entry, Observer, Stage};
pub use session::{Generator, Outputs, Session, SessionOptions, TensorView};
pub use train::{FitOptions, History, fit};

/// The programs of the guide are tests.
#[cfg(doctest)]
#[doc = include_str!("../../docs/embedding.md")]
struct Guide;
