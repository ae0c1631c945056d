//! netc
pub mod autodiff;
pub mod diag;
pub mod graph;
pub mod index;
pub mod interp;
pub mod kernel;
pub mod ops;
pub mod schedule;
pub mod simplify;
pub mod types;
