//! Data: what a network is fed, read from files of the usual kinds and checked against its inputs and targets.
//!
//! [`Spec`] names a data set (`idx:IMAGES,LABELS`, `npz:FILE`, `text:FILE`), [`read_input`] reads one input from an array
//! or a picture. [`Examples`] holds arrays, [`Streams`] a [`Text`]; both are a [`Dataset`] for
//! [`fit`](crate::train::fit).
//!
//! A file is a stranger: every size it declares is compared with what is there before memory is taken, what
//! unpacks has a limit, and damage is one clear [`Error`](crate::Error) that names the file.

mod array;
mod examples;
pub mod file;
mod idx;
mod input;
mod npy;
mod npz;
mod picture;
pub(crate) mod source;
mod spec;
mod text;
mod weights;

pub use array::{Array, Values};
pub use examples::{Batch, Dataset, Examples, Part, Unit, split};
pub use input::{Tensor, is_picture, read_input, stack};
pub use npy::write_npy;
pub use npz::write_npz;
pub use picture::{Preparation, Resize};
pub use source::{MAX_SOURCE, import};
pub use spec::{Holdout, Spec};
pub use text::{Streams, Text, TextPorts, UnknownCharacter, Vocabulary};
pub use weights::Weights;

/// Bytes that a packed file may unpack to. Files that are not packed may be as large as they are.
pub const MAX_UNPACKED: u64 = 4 << 30;
