//! How a command ends that does not end well: a message for standard error, and the exit code.

use std::io;
use std::process::ExitCode;

use netc::error::Error;
use serde_json::{Value, json};

use crate::output::{manner, message, plain};

/// The version of errors as JSON.
const VERSION: u32 = 1;

/// The exit codes; 101 is left to panics, which are our bugs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The reader of standard output has had enough.
    ClosedPipe = 0,
    Input = 1,
    Arguments = 2,
    Diverged = 3,
    File = 4,
    Interrupted = 130,
}

/// A command's failure.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    /// As it is printed; empty when all has been said.
    text: String,
    /// The errors of a source, for `--json`.
    errors: Option<Box<Value>>,
}

impl Failure {
    pub fn new(exit: Exit, message: impl AsRef<str>) -> Self {
        Failure::rendered(exit, format!("{} {}", ERROR, message.as_ref()))
    }
    pub fn arguments(message: impl AsRef<str>) -> Self {
        Failure::new(Exit::Arguments, message)
    }
    /// With diagnostics as the renderer made them, or nothing at all.
    pub fn rendered(exit: Exit, text: impl Into<String>) -> Self {
        Failure { exit, text: text.into(), errors: None }
    }
    /// An error of writing to standard output.
    pub fn output(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::rendered(Exit::ClosedPipe, ""),
            _ => Failure::from(netc::data::file::failed("standard output".as_ref(), error)),
        }
    }
    /// Says which file the error is about, where the error itself does not know.
    pub fn in_file(path: &str, error: Error) -> Self {
        match error {
            Error::Weights(message) => Failure::new(Exit::Input, format!("{path}: {message}")),
            error => error.into(),
        }
    }

    /// With the errors of a source as data.
    pub fn with_errors(mut self, errors: Value) -> Self {
        self.errors = Some(Box::new(errors));
        self
    }
    /// The errors of a source, where it is what is wrong.
    pub fn errors(&self) -> Option<&Value> {
        self.errors.as_deref()
    }

    /// The message as a program reads it.
    fn json(&self) -> Value {
        let text = plain(&self.text);
        let text = text.strip_prefix("error: ").unwrap_or(&text).trim_end();
        json!({
            "version": VERSION,
            // What is wrong with a network's text, each with its code and place.
            "error": {"exit": self.exit as u8, "message": text, "errors": self.errors.as_deref().unwrap_or(&json!([]))},
        })
    }

    pub fn exit(&self) -> Exit {
        self.exit
    }
    pub fn text(&self) -> &str {
        &self.text
    }
    /// Prints the message; the code to exit with.
    pub fn report(&self) -> ExitCode {
        if manner().json && !self.text.is_empty() {
            message(self.json());
        } else if !self.text.is_empty() {
            message(self.text.trim_end());
        }
        ExitCode::from(self.exit as u8)
    }
}

const ERROR: &str = "\x1b[1m\x1b[91merror:\x1b[0m";

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Source { rendered, .. } => Failure::rendered(Exit::Input, rendered),
            Error::File { .. } => Failure::new(Exit::File, error.to_string()),
            error => Failure::new(Exit::Input, error.to_string()),
        }
    }
}
