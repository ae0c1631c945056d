//! What can go wrong for a caller of the library.

use std::fmt;

use crate::diag::{Diagnostic, Sources, render::render};

/// An error as a value: nothing in this crate panics on a user's input.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// The network's text is wrong.
    Source {
        /// The diagnostics as a terminal shows them, without color.
        rendered: String,
        /// The same as data.
        diagnostics: Vec<Diagnostic>,
    },
    /// An input or target does not fit the network: its name, shape, type or values.
    Input(String),
    /// Weights do not fit the network, or are damaged.
    Weights(String),
    /// What is asked needs something that the network does not have.
    Unsupported(String),
    /// A file could not be read or written.
    File {
        /// As the caller gave it.
        path: String,
        /// The reason.
        message: String,
    },
}

impl Error {
    pub(crate) fn source(sources: &Sources, diagnostics: Vec<Diagnostic>) -> Self {
        Error::Source { rendered: render(sources, &diagnostics, false), diagnostics }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Source { rendered, .. } => write!(f, "{}", rendered.trim_end()),
            Error::Input(message) | Error::Weights(message) | Error::Unsupported(message) => write!(f, "{message}"),
            Error::File { path, message } => write!(f, "{path}: {message}"),
        }
    }
}

impl std::error::Error for Error {}
