//! The commands, one file each: from arguments to what is printed.

pub mod bench;
pub mod check;
mod classes;
pub mod compile;
pub mod emit;
pub mod explain;
pub mod feed;
pub mod fmt;
pub mod gradients;
pub mod layers;
mod plot;
mod progress;
pub mod repl;
pub mod run;
pub mod sample;
pub mod shell;
pub mod train;
