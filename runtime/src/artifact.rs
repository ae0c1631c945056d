//! Compiled networks outside of the compiler: instances of what an object file holds, and the C interface to them.

pub mod c;
pub mod codec;
pub mod description;
pub mod raw;
