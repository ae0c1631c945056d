//! The net that is being built, as text: what was typed and loaded, in order.

use netc::diag::{FileId, Sources, Span};
use netc::syntax::ast::{Body, Definition, DefinitionKind, File, Ident, Item, ItemKind, Stmt};
use netc::syntax::{Fragment, Refused, continues, fragment};

use super::lines::{is_longer, joined};

/// The name of what was typed, in messages; also of the net, where nobody gives another.
pub const TYPED: &str = "repl";

/// Entries in order; a file takes the place of all before it, which come back when it is undone.
#[derive(Debug, Clone, Default)]
pub struct Source {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    /// As it counts: `->` and newlines that mean nothing at a prompt are blanks.
    text: String,
    /// Where it begins in all that was typed.
    start: usize,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    File(Box<Host>),
    Items(Vec<Item>),
    Statements(Vec<Stmt>),
    /// The statement before, with what goes on from it.
    Longer(Box<Stmt>),
    Set(String, String),
}

/// A file whose net is built on.
#[derive(Debug, Clone)]
pub struct Host {
    pub path: String,
    pub text: String,
    pub items: Vec<Item>,
    pub net: String,
}

/// What was typed, and what a compilation needs of it.
pub struct Parsed {
    pub sources: Sources,
    /// The file that imports are relative to.
    pub root: FileId,
    pub file: File,
    pub net: String,
    pub overrides: Vec<(String, String)>,
}

/// What is understood of an entry.
#[derive(Debug, Clone)]
pub enum Understood {
    Items(Vec<Item>),
    Statements(Vec<Stmt>),
}

impl Source {
    /// With one entry more, which is not yet known to fit.
    ///
    /// # Errors
    /// What is wrong with its syntax, in [`Source::sources`] of what is refused.
    pub fn with(&self, typed: &str) -> Result<(Source, Understood), (Sources, Refused)> {
        let start = self.typed().len();
        let mut text = joined(typed);
        let last = self.live().iter().rev().find_map(|entry| match &entry.kind {
            Kind::Statements(list) => list.last(),
            Kind::Longer(stmt) => Some(&**stmt),
            Kind::File(_) | Kind::Items(_) | Kind::Set(..) => None,
        });
        let goes_on = continues(&text) && last.is_some_and(|last| is_longer(last, &text));
        if continues(&text) && !goes_on && self.has_statements() {
            // After a declaration, or in a file that was loaded, the flow goes on by itself.
            text = text.replacen("->", "  ", 1);
        }
        let mut next = self.clone();
        next.entries.push(Entry { text, start, kind: Kind::Items(Vec::new()) });
        let (sources, file) = next.sources();
        let read = match fragment(file, &next.masked(goes_on)) {
            Ok(read) => read,
            Err(refused) => return Err((sources, refused)),
        };
        let entry = next.entries.last_mut().expect("pushed above");
        let understood = match read {
            Fragment::Items(items) => {
                entry.kind = Kind::Items(items.clone());
                Understood::Items(items)
            }
            Fragment::Statements(list) if goes_on => {
                let stmt = list.last().expect("the statement that goes on").clone();
                entry.kind = Kind::Longer(Box::new(stmt.clone()));
                Understood::Statements(vec![stmt])
            }
            Fragment::Statements(list) => {
                entry.kind = Kind::Statements(list.clone());
                Understood::Statements(list)
            }
        };
        Ok((next, understood))
    }
    /// A file, and nothing before it.
    pub fn with_file(&self, host: Host) -> Source {
        let mut next = self.clone();
        next.entries.push(Entry { text: String::new(), start: 0, kind: Kind::File(Box::new(host)) });
        next
    }
    /// A parameter or a setting that is overridden.
    pub fn with_override(&self, name: &str, value: &str) -> Source {
        let mut next = self.clone();
        let kind = Kind::Set(name.to_owned(), value.to_owned());
        next.entries.push(Entry { text: String::new(), start: self.typed().len(), kind });
        next
    }
    /// Without the last entry, and that entry as it was typed; nothing when there is none.
    pub fn undone(&self) -> Option<(Source, String)> {
        let mut before = self.clone();
        let entry = before.entries.pop()?;
        let text = match entry.kind {
            Kind::File(host) => format!(":load {}", host.path),
            Kind::Set(name, value) => format!(":set {name}={value}"),
            Kind::Items(_) | Kind::Statements(_) | Kind::Longer(_) => entry.text,
        };
        Some((before, text))
    }

    pub fn is_empty(&self) -> bool {
        self.live().is_empty()
    }
    /// Whether there is a net to go on with.
    pub fn has_statements(&self) -> bool {
        self.host().is_some() || self.live().iter().any(|entry| matches!(entry.kind, Kind::Statements(_)))
    }
    /// The name of the net.
    pub fn net(&self) -> &str {
        let typed = self.live().iter().find_map(|entry| match &entry.kind {
            Kind::Items(items) => net_of(items).map(|net| net.name.text.as_str()),
            _ => None,
        });
        self.host().map(|host| host.net.as_str()).or(typed).unwrap_or(TYPED)
    }
    /// The file that is built on.
    pub fn path(&self) -> Option<&str> {
        self.host().map(|host| host.path.as_str())
    }
    /// Whether an entry of items would be a second net.
    pub fn has_net(&self, items: &[Item]) -> bool {
        net_of(items).is_some() && (self.has_statements() || self.net() != TYPED)
    }

    /// What compilation begins with.
    pub fn parsed(&self) -> Parsed {
        let (sources, typed) = self.sources();
        let mut root = typed;
        let (mut items, mut stmts, mut overrides) = (Vec::new(), Vec::new(), Vec::new());
        for entry in self.live() {
            match &entry.kind {
                Kind::File(host) => {
                    root = sources.files().last().expect("the host's");
                    items.extend(host.items.iter().cloned());
                }
                Kind::Items(list) => items.extend(list.iter().cloned()),
                Kind::Statements(list) => stmts.extend(list.iter().cloned()),
                Kind::Longer(stmt) => {
                    stmts.pop();
                    stmts.push((**stmt).clone());
                }
                Kind::Set(name, value) => overrides.push((name.clone(), value.clone())),
            }
        }
        let net = self.net().to_owned();
        let found = items.iter_mut().find_map(|item| match &mut item.kind {
            ItemKind::Definition(definition) if definition.name.text == net => Some(definition),
            _ => None,
        });
        match found {
            Some(definition) => definition.body.stmts.extend(stmts),
            None => items.push(self.whole(typed, stmts)),
        }
        Parsed { sources, root, file: File { items, comments: Vec::new() }, net, overrides }
    }
    /// A net around statements; it stands where the last entry does.
    fn whole(&self, typed: FileId, stmts: Vec<Stmt>) -> Item {
        let entry = self.live().iter().rev().find(|entry| !entry.text.trim().is_empty());
        let span = entry.map_or(Span::new(typed, 0, 0), |entry| {
            Span::new(typed, entry.start, entry.start + entry.text.trim_end().len())
        });
        let definition = Definition {
            kind: DefinitionKind::Net,
            name: Ident { text: TYPED.to_owned(), span },
            params: Vec::new(),
            body: Body { stmts, span },
        };
        Item { kind: ItemKind::Definition(definition), span }
    }
    /// The files that places are in: what was typed, then the file that was loaded.
    pub fn sources(&self) -> (Sources, FileId) {
        let mut sources = Sources::new();
        let typed = sources.add(TYPED, self.typed());
        if let Some(host) = self.host() {
            sources.add(&host.path, &host.text);
        }
        (sources, typed)
    }

    /// The whole as one text, not yet in its canonical form.
    pub fn text(&self) -> String {
        let mut statements = String::new();
        for entry in self.live() {
            if matches!(entry.kind, Kind::Statements(_) | Kind::Longer(_)) {
                statements += &entry.text;
            }
        }
        let (mut before, mut after) = (String::new(), String::new());
        let mut host = None;
        for entry in self.live() {
            let (items, text) = match &entry.kind {
                Kind::File(host) => (&host.items, &host.text),
                Kind::Items(items) => (items, &entry.text),
                Kind::Statements(_) | Kind::Longer(_) | Kind::Set(..) => continue,
            };
            let net = items.iter().find_map(|item| match &item.kind {
                ItemKind::Definition(net) if net.name.text == self.net() => Some(net),
                _ => None,
            });
            let is_settings = items.iter().all(|item| matches!(item.kind, ItemKind::Settings(_)));
            match net {
                Some(net) => {
                    let (head, tail) = text.split_at(net.body.span.end as usize - 1 - entry.start);
                    let newline = if head.trim_end_matches([' ', '\t']).ends_with('\n') { "" } else { "\n" };
                    host = Some(format!("{head}{newline}{statements}{tail}\n"));
                }
                None if host.is_some() || is_settings => after = format!("{after}\n{text}"),
                None => before = format!("{before}{text}\n"),
            }
        }
        let host = host.unwrap_or_else(|| format!("net {TYPED} {{\n{statements}}}\n"));
        format!("{before}{host}{after}")
    }

    fn live(&self) -> &[Entry] {
        let is_file = |entry: &Entry| matches!(entry.kind, Kind::File(_));
        let start = self.entries.iter().rposition(is_file).unwrap_or(0);
        &self.entries[start..]
    }
    fn host(&self) -> Option<&Host> {
        self.live().first().and_then(|entry| match &entry.kind {
            Kind::File(host) => Some(&**host),
            _ => None,
        })
    }
    /// All that was typed since the last file.
    fn typed(&self) -> String {
        self.live().iter().map(|entry| entry.text.as_str()).collect()
    }
    /// The last entry alone, at its place; or together with those whose statement it goes on with.
    fn masked(&self, goes_on: bool) -> String {
        let live = self.live();
        let begins = |entry: &Entry| matches!(entry.kind, Kind::Statements(_));
        let first = if goes_on { live.iter().rposition(begins).expect("a statement goes on") } else { live.len() - 1 };
        let blank = |c: char| if c == '\n' { "\n".to_owned() } else { " ".repeat(c.len_utf8()) };
        let mask = |(at, entry): (usize, &Entry)| {
            let counts =
                at + 1 == live.len() || (at >= first && matches!(entry.kind, Kind::Statements(_) | Kind::Longer(_)));
            if counts { entry.text.clone() } else { entry.text.chars().map(blank).collect() }
        };
        live.iter().enumerate().map(mask).collect()
    }
}

/// The `net` among items.
fn net_of(items: &[Item]) -> Option<&Definition> {
    items.iter().find_map(|item| match &item.kind {
        ItemKind::Definition(definition) if definition.kind == DefinitionKind::Net => Some(definition),
        _ => None,
    })
}

#[cfg(test)]
#[path = "source_tests.rs"]
mod tests;
