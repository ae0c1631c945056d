//! What can go wrong with an instance.

use std::fmt;

/// The kinds of errors, with their numbers in C.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Status {
    /// A pointer is null, a size is larger than the instance was made for, or there is no such thing.
    InvalidArgument = 1,
    /// A token, a length or the number of steps is none that the network can take.
    InvalidInput = 2,
    /// The network was not compiled for this, or the instance not made for it.
    Unavailable = 3,
    /// There is not enough memory.
    NoMemory = 4,
    /// A file cannot be read or written.
    File = 5,
    /// Weights are damaged, or those of another network.
    InvalidWeights = 6,
    /// A step was asked for before the beginning.
    NotBegun = 7,
    /// The network's code is damaged, of another version, or not for this processor.
    Incompatible = 8,
}

/// Why a call failed. Nothing has been computed then, and nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub status: Status,
    /// With names and numbers, lower case, without a final period.
    pub message: String,
}

impl Error {
    pub(crate) fn new(status: Status, message: impl Into<String>) -> Error {
        Error { status, message: message.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// Returns an error unless a condition holds.
macro_rules! ensure {
    ($condition:expr, $status:ident, $($message:tt)+) => {
        if !$condition {
            return Err($crate::artifact::error::Error::new(
                $crate::artifact::error::Status::$status,
                format!($($message)+),
            ));
        }
    };
}

pub(crate) use ensure;
