//! netc
pub mod autodiff;
pub mod codegen;
pub mod data;
pub mod diag;
pub mod elaborate;
pub mod error;
pub mod graph;
pub mod index;
pub mod interp;
pub mod kernel;
pub mod layers;
pub mod memory;
pub mod network;
pub mod ops;
pub mod pipeline;
pub mod schedule;
pub mod session;
pub mod simplify;
pub mod syntax;
pub mod train;
pub mod types;

pub use error::Error;
pub use pipeline::{Entry, check_source};
pub use session::{Outputs, Session, SessionOptions, TensorView};
