//! Compiled networks outside of the compiler: instances of what an object file holds, and the C interface to them.
//!
//! - [`description`] and [`raw`]: what the compiler leaves in an object file;
//! - [`Network`]: that, ready for this processor; [`Instance`]: one with parameters, states and memory of its own;
//! - [`c`]: the same for C, as one table of functions.

mod arrays;
mod block;
pub mod c;
mod call;
mod check;
pub mod codec;
pub mod description;
mod error;
mod instance;
mod layout;
mod network;
mod prepared;
pub mod program;
pub mod raw;
mod safetensors;
mod weights;

pub use arrays::{Array, Figures, Sizes, Steps};
pub use error::{Error, Status};
pub use instance::Instance;
pub use layout::State;
pub use network::{Network, Options, Tasks};
pub use prepared::PreparedFor;
