//! What is wrong with a user's file, as plain data; [`render`] turns it into text.

mod code;
pub mod render;
mod sources;
mod suggest;

use std::fmt;

pub use code::Code;
pub use sources::{FileId, Sources, Span};
pub use suggest::suggest;

/// Why something is wrong, without yet saying where: made by the rule that knows the fact.
///
/// Texts are in lower case, end without a period and put names in backticks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its kind.
    pub code: Code,
    /// One sentence without a full stop.
    pub text: String,
    /// Where the facts come from, the formula with its numbers: printed after `= note:`.
    pub notes: Vec<String>,
    /// What to do about it: printed after `= help:`.
    pub help: Vec<String>,
}

impl Message {
    /// A message without notes.
    pub fn new(code: Code, text: impl Into<String>) -> Self {
        Message { code, text: text.into(), notes: Vec::new(), help: Vec::new() }
    }

    #[must_use]
    /// Adds what is the case.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    #[must_use]
    /// Adds what to do.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// Adds "did you mean" when some of the valid names are near to `name`.
    #[must_use]
    pub fn did_you_mean<'a>(self, name: &str, valid: impl IntoIterator<Item = &'a str>) -> Self {
        let near = suggest(name, valid);
        let Some((last, others)) = near.split_last() else {
            return self;
        };
        let mut list = String::new();
        for name in others {
            list += &format!("`{name}` or ");
        }
        self.help(format!("did you mean {list}`{last}`?"))
    }

    /// Says where, for a message that is not in a `Result`.
    pub fn at(self, span: Span) -> Diagnostic {
        Diagnostic { message: Box::new(self), span, label: String::new(), labels: Vec::new() }
    }
}

impl Message {
    /// For what is wrong with a file as a whole.
    pub fn at_file(self, file: FileId) -> Diagnostic {
        self.at(Span::new(file, 0, 0))
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error[{}]: {}", self.code.slug(), self.text)
    }
}

/// A [`Message`] and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// What is wrong.
    pub message: Box<Message>,
    /// The primary place, underlined with `^^^`.
    pub span: Span,
    /// What stands beside the primary place; may be empty.
    pub label: String,
    /// Other places that explain this one, perhaps in other files.
    pub labels: Vec<(Span, String)>,
}

impl Diagnostic {
    /// Writes `label` beside the primary place.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Shows another place that explains this one.
    #[must_use]
    pub fn also(mut self, span: Span, label: impl Into<String>) -> Self {
        self.labels.push((span, label.into()));
        self
    }
}

/// Says where: turns `Result<T, Message>` into `Result<T, Diagnostic>`.
pub trait At<T> {
    /// Adds the place.
    fn at(self, span: Span) -> Result<T, Diagnostic>;
}

impl<T> At<T> for Result<T, Message> {
    fn at(self, span: Span) -> Result<T, Diagnostic> {
        self.map_err(|message| message.at(span))
    }
}

/// Returns early with a [`Message`] unless the condition holds.
///
/// `ensure!(n > 0, InvalidSize, "a size is at least 1, not {n}")`
#[doc(hidden)]
#[macro_export]
macro_rules! ensure {
    ($cond:expr, $code:ident, $($format:tt)+) => {
        if !$cond {
            return Err($crate::diag::Message::new($crate::diag::Code::$code, format!($($format)+)));
        }
    };
}
