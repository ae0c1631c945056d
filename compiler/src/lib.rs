//! netc compiles neural networks: from a text to native code that infers **and trains**.
//!
//! # Example
//!
//! A network as text, trained and run on [`ndarray`] arrays:
//!
//! ```
//! use ndarray::array;
//! use netc::{Session, SessionOptions};
//!
//! let source = "net xor {
//!   input  x[2]
//!   target y: token(2)
//!   logits = dense(8, tanh) -> dense(2)
//!   output logits
//!   loss   cross_entropy(logits, y)
//! }";
//! let network = netc::check_source("xor.net", source)?;
//! let mut session = Session::new(network, &SessionOptions::default());
//! session.set_learning_rate(0.05);
//! let (x, y) = (array![[0., 0.], [0., 1.], [1., 0.], [1., 1.0_f32]], array![0, 1, 1, 0]);
//! for _ in 0..200 {
//!     session.train_step(&[("x", x.view().into()), ("y", y.view().into())])?;
//! }
//! let outputs = session.forward(&[("x", x.view().into())])?;
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
//! | check a text | [`check_source`]; [`pipeline::check`] for imports and overrides |
//! | know a network's layers, sizes and settings | [`Network`] |
//! | run it, train step by step, save and load weights | [`Session`], [`TensorView`], [`Outputs`] |
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

pub mod artifact;
pub mod data;
pub mod diag;
pub mod error;
pub mod layers;
pub mod library;
pub mod network;
pub mod pipeline;
pub mod session;
pub mod train;
pub mod types;

#[doc(hidden)]
pub mod autodiff;
#[doc(hidden)]
pub mod codegen;
#[doc(hidden)]
pub mod elaborate;
#[doc(hidden)]
pub mod entries;
#[doc(hidden)]
pub mod graph;
#[doc(hidden)]
pub mod index;
#[doc(hidden)]
pub mod interp;
#[doc(hidden)]
pub mod kernel;
#[doc(hidden)]
pub mod memory;
#[doc(hidden)]
pub mod ops;
#[doc(hidden)]
pub mod schedule;
#[doc(hidden)]
pub mod simplify;
#[doc(hidden)]
pub mod syntax;

pub use error::Error;
pub use network::Network;
pub use pipeline::{Entry, check_source};
pub use session::{Generator, Outputs, Session, SessionOptions, TensorView};
pub use train::{FitOptions, History, fit};
