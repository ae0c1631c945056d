//! Where entries come from: a terminal, with history and completion, or a script.

use std::borrow::Cow;
use std::io::{BufRead, IsTerminal};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use netc::diag::Sources;
use netc::syntax::ast::{ItemKind, StmtKind};
use netc::syntax::{Refused, continues, fragment};
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{ColorMode, CompletionType, Config, Context, Editor, Helper};

use super::Repl;
use super::complete::{Known, complete};
use super::highlight::highlight;
use super::lines::ends_within;
use crate::failure::{Exit, Failure};
use crate::output::note;

const PROMPT: &str = "> ";
/// Before the further lines of an entry, in the echo of a script.
const MORE: &str = "| ";
/// Entries that are remembered.
const HISTORY: usize = 10_000;

/// Whether somebody types.
pub fn is_terminal() -> bool {
    std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}

/// Entries from a terminal until the end. What is wrong is told, and nothing is lost.
pub fn interactive(repl: &mut Repl<'_>) -> Result<(), Failure> {
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .color_mode(if repl.is_colored { ColorMode::Enabled } else { ColorMode::Disabled })
        .auto_add_history(true)
        .max_history_size(HISTORY)
        .and_then(|config| config.history_ignore_dups(true))
        .map_err(failed)?
        .build();
    let mut editor: Editor<Typist, FileHistory> = Editor::with_config(config).map_err(failed)?;
    let history = history();
    if let Some(path) = &history {
        // A first session has none, and one that cannot be read is no reason to stop.
        let _ = editor.load_history(path);
    }
    note("netc: `:help` lists the commands, Ctrl-D ends");
    loop {
        editor.set_helper(Some(Typist { known: repl.known() }));
        let text = match editor.readline(PROMPT) {
            Ok(text) => text,
            // Ctrl-C takes back what is being typed.
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(failed(error)),
        };
        if let Some(path) = &history {
            let _ = editor.append_history(path);
        }
        repl.stop.store(false, Ordering::SeqCst);
        match repl.enter(&text) {
            Ok(ControlFlow::Continue(())) => {}
            Ok(ControlFlow::Break(())) => break,
            Err(failure) if failure.exit() == Exit::ClosedPipe => return Err(failure),
            Err(failure) => {
                repl.output.flush()?;
                failure.report();
            }
        }
    }
    Ok(())
}

fn failed(error: ReadlineError) -> Failure {
    Failure::new(Exit::File, format!("the terminal cannot be read: {error}"))
}

/// Entries from standard input, without prompts. The first that is wrong ends it.
pub fn script(repl: &mut Repl<'_>, echoes: bool) -> Result<(), Failure> {
    let mut lines = std::io::stdin().lock().lines();
    let mut entry = String::new();
    loop {
        let line = match lines.next() {
            None => None,
            Some(Ok(line)) => Some(line),
            Some(Err(error)) => return Err(netc::data::file::failed("standard input".as_ref(), &error).into()),
        };
        let is_over = line.is_none();
        if let Some(line) = line {
            if echoes {
                let prompt = if entry.is_empty() { PROMPT } else { MORE };
                repl.output.line(format!("{prompt}{line}").trim_end())?;
            }
            entry += &line;
            entry.push('\n');
            if !is_whole(&entry) {
                continue;
            }
        }
        let text = std::mem::take(&mut entry);
        let flow = if text.trim().is_empty() { ControlFlow::Continue(()) } else { repl.enter(&text)? };
        if repl.stop.load(Ordering::SeqCst) || repl.was_stopped {
            return Err(Failure::rendered(Exit::Interrupted, ""));
        }
        if is_over || flow.is_break() {
            return Ok(());
        }
    }
}

/// Whether an entry is over: no bracket is open, and it does not end with an arrow or an operator; an empty line ends
/// it in any case but the first.
fn is_whole(text: &str) -> bool {
    if text.trim_start().starts_with(':') {
        return true;
    }
    // What goes on with the statement before needs one.
    let whole =
        if continues(text) { format!("if x {{ }} {text}").replacen("if x { } ->", "x ->", 1) } else { text.to_owned() };
    match fragment(Sources::new().add("", ""), &whole) {
        Err(Refused::Open(_)) => false,
        Err(Refused::Unfinished(_)) => !ends_within(text) || text.ends_with("\n\n"),
        Ok(_) | Err(Refused::Wrong(_)) => true,
    }
}

/// A file in the user's folder for what programs remember; `None` where there is no such folder.
fn history() -> Option<PathBuf> {
    let var = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = var("XDG_STATE_HOME")
        .or_else(|| var("LOCALAPPDATA"))
        .or_else(|| var("HOME").map(|home| home.join(".local/state")))?
        .join("netc");
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder.join("history"))
}

impl Repl<'_> {
    /// The names that mean something now.
    fn known(&self) -> Known {
        let mut known = Known::default();
        let parsed = self.source.parsed();
        for item in &parsed.file.items {
            match &item.kind {
                ItemKind::Const { name, .. } => known.names.push(name.text.clone()),
                ItemKind::Definition(definition) => {
                    let params: Vec<String> = definition.params.iter().map(|param| param.name.text.clone()).collect();
                    if definition.name.text != parsed.net {
                        known.arguments.push((definition.name.text.clone(), params));
                        known.names.push(definition.name.text.clone());
                        continue;
                    }
                    known.names.extend(params.iter().cloned());
                    known.settings = params;
                    for stmt in &definition.body.stmts {
                        match &stmt.kind {
                            StmtKind::Input(port) | StmtKind::Target(port) => known.names.push(port.name.text.clone()),
                            StmtKind::Layer { name, .. } | StmtKind::Bind { name, .. } => {
                                known.names.push(name.text.clone());
                            }
                            StmtKind::Param(decls) => {
                                known.names.extend(decls.iter().map(|decl| decl.name.text.clone()));
                            }
                            _ => {}
                        }
                    }
                }
                ItemKind::Import(_) | ItemKind::Settings(_) => {}
            }
        }
        if let Some(network) = &self.network {
            known.ports = network.ports.iter().map(|port| port.name.clone()).collect();
            known.axes.clone_from(&network.axes);
            known.parameters = network.parameters.iter().map(|parameter| parameter.path.clone()).collect();
        }
        known
    }
}

/// Helps with typing.
struct Typist {
    known: Known,
}

impl Helper for Typist {}

impl Hinter for Typist {
    type Hint = String;
}

impl Completer for Typist {
    type Candidate = String;
    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(complete(line, at, &self.known))
    }
}

impl Highlighter for Typist {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        if line.starts_with(':') { Cow::Borrowed(line) } else { Cow::Owned(highlight(line)) }
    }
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _: bool) -> Cow<'b, str> {
        Cow::Owned(format!("\x1b[1;34m{prompt}\x1b[0m"))
    }
    fn highlight_char(&self, line: &str, _: usize, _: CmdKind) -> bool {
        !line.starts_with(':')
    }
}

impl Validator for Typist {
    fn validate(&self, typed: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(match is_whole(&format!("{}\n", typed.input())) {
            true => ValidationResult::Valid(None),
            false => ValidationResult::Incomplete,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::is_whole;

    #[test]
    fn entries_end() {
        for text in [
            "relu\n",
            ":load a(\n",
            "cell c(n) {\n  input x[k]\n}\n",
            "a ->\n\n",
            "conv(]\n",
            "",
            "-> relu\n",
            "if a\n",
        ] {
            assert!(is_whole(text), "{text}");
        }
        for text in
            ["cell c(n) {\n", "cell c(n) {\n\n", "conv(16,\n", "x ->\n", "-> relu ->\n", "y =\n", "else {\n", "a +\n"]
        {
            assert!(!is_whole(text), "{text}");
        }
    }
}
