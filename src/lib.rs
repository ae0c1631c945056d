//! netc
pub mod codegen;
pub mod index;
pub mod interp;
pub mod kernel;
pub mod types;
