//! netc
pub mod autodiff;
pub mod codegen;
pub mod diag;
pub mod error;
pub mod graph;
pub mod index;
pub mod interp;
pub mod kernel;
pub mod memory;
pub mod network;
pub mod ops;
pub mod schedule;
pub mod syntax;
pub mod types;
