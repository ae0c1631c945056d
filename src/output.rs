//! Standard output and standard error: colors where they are wanted, and no complaint about closed pipes.

use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::panic::PanicHookInfo;
use std::sync::OnceLock;

use anstream::{AutoStream, ColorChoice};

use crate::failure::Failure;

/// Standard output: data. Codes of colors that are written to it are taken out where they are not wanted.
pub struct Output {
    stream: BufWriter<AutoStream<io::Stdout>>,
}

impl Output {
    pub fn new() -> Self {
        Output { stream: BufWriter::new(AutoStream::new(io::stdout(), AutoStream::choice(&io::stdout()))) }
    }
    /// Writes text as it stands.
    pub fn text(&mut self, text: impl Display) -> Result<(), Failure> {
        write!(self.stream, "{text}").map_err(|error| Failure::output(&error))
    }
    pub fn line(&mut self, text: impl Display) -> Result<(), Failure> {
        writeln!(self.stream, "{text}").map_err(|error| Failure::output(&error))
    }
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.stream.flush().map_err(|error| Failure::output(&error))
    }
}

/// Whether standard output takes colors.
pub fn is_colored() -> bool {
    AutoStream::choice(&io::stdout()) != ColorChoice::Never
}

/// What stands in the last line of a terminal until the next text takes its place; `""` takes it away.
pub fn status(text: &str, width: &mut usize) {
    let n = text.chars().count();
    let blanks = " ".repeat(width.saturating_sub(n));
    *width = n;
    let _ = write!(io::stderr(), "\r{text}{blanks}\r{text}").and_then(|()| io::stderr().flush());
}

/// How much is said on standard error, and in which form errors are; chosen once, when the arguments are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Manner {
    pub quiet: bool,
    pub verbose: bool,
    /// Errors are JSON.
    pub json: bool,
}

static MANNER: OnceLock<Manner> = OnceLock::new();

pub fn choose_manner(manner: Manner) {
    // Whoever comes first has chosen.
    let _ = MANNER.set(manner);
}
pub fn manner() -> Manner {
    MANNER.get().copied().unwrap_or_default()
}

/// A line on standard error that was asked for, or that tells what is wrong. When it is closed, nobody listens.
pub fn message(text: impl Display) {
    let _ = writeln!(anstream::stderr(), "{text}");
}
/// A line on standard error that is good to know, unless `--quiet`.
pub fn note(text: impl Display) {
    if !manner().quiet {
        message(text);
    }
}
/// A line on standard error for who wants to know all, with `--verbose`.
pub fn detail(text: impl FnOnce() -> String) {
    if manner().verbose {
        message(text());
    }
}
/// Text without codes of colors.
pub fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

pub fn warn(text: impl Display) {
    message(format!("\x1b[1m\x1b[93mwarning:\x1b[0m {text}"));
}

/// Whether somebody sees progress.
pub fn is_terminal() -> bool {
    io::stderr().is_terminal() && !manner().quiet
}

/// `auto` looks at the terminal and at NO_COLOR, CLICOLOR and CLICOLOR_FORCE.
pub fn choose_color(color: clap::ColorChoice) {
    match color {
        clap::ColorChoice::Auto => ColorChoice::Auto,
        clap::ColorChoice::Always => ColorChoice::Always,
        clap::ColorChoice::Never => ColorChoice::Never,
    }
    .write_global();
}

/// A panic is our bug: says what to report.
pub fn report_bug(panic: &PanicHookInfo<'_>) {
    let what = panic.payload_as_str().unwrap_or("an unknown failure");
    let place = panic.location().map(|place| format!(" at {}:{}", place.file(), place.line())).unwrap_or_default();
    message(format!("\x1b[1m\x1b[91merror:\x1b[0m a bug in netc {}: {what}{place}", env!("CARGO_PKG_VERSION")));
    message("please report it, with this message, the command and the file of the network");
    let backtrace = std::backtrace::Backtrace::capture();
    if backtrace.status() == std::backtrace::BacktraceStatus::Captured {
        message(backtrace);
    }
}
