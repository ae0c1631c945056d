//! netc
pub mod diag;
pub mod elaborate;
pub mod graph;
pub mod index;
pub mod interp;
pub mod kernel;
pub mod layers;
pub mod network;
pub mod ops;
pub mod schedule;
pub mod syntax;
pub mod types;
