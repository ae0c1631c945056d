//! A syntax error in a user's words: what was found, what was expected, what to do.

use pest::error::{Error, ErrorVariant, InputLocation};

use super::layout::token_length;
use super::parse::Rule;
use crate::diag::{Code, Diagnostic, FileId, Message, Span, suggest};

/// Turns pest's error into ours. `text` is the text that pest saw, in which comments are spaces.
pub(super) fn explain(file: FileId, text: &str, error: &Error<Rule>) -> Diagnostic {
    let at = match error.location {
        InputLocation::Pos(at) | InputLocation::Span((at, _)) => at,
    };
    let ErrorVariant::ParsingError { positives, .. } = &error.variant else {
        unreachable!("only the builder makes errors of its own: {error:?}")
    };
    let cx = Cx::new(text, at, positives);
    let (message, label) = cx.message();
    message
        .at(Span::new(file, cx.found.0, cx.found.1))
        .label(label)
}

struct Cx<'a> {
    text: &'a str,
    /// Where the token that does not fit stands; at a line's end it is empty and right after the last token.
    found: (usize, usize),
    /// The token before it, wherever that is.
    before: &'a str,
    /// Whether nothing but blanks stands between the two.
    glued: bool,
    /// What the grammar would have taken.
    rules: &'a [Rule],
}
impl<'a> Cx<'a> {
    fn new(text: &'a str, at: usize, rules: &'a [Rule]) -> Self {
        Cx {
            text,
            found: (at, at),
            before: "",
            glued: false,
            rules,
        }
    }
    fn message(&self) -> (Message, String) {
        (
            Message::new(Code::Syntax, format!("{:?}", self.rules)),
            String::new(),
        )
    }
}
