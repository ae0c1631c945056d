//! The cells that ship with the compiler, written in its own language: one file a cell, read like a user's.
//!
//! To add one: write `library/<name>.net` with its documentation in front, then its line below.

/// A cell of the library.
#[derive(Debug)]
pub struct Cell {
    /// As it is called in a network.
    pub name: &'static str,
    /// Its file: comments that document it, then its definition.
    pub text: &'static str,
}

macro_rules! cells {
    ($($name:literal),* $(,)?) => {
        const CELLS: &[Cell] = &[$(Cell { name: $name, text: include_str!(concat!("library/", $name, ".net")) }),*];
    };
}

cells!("conv_lstm", "gru", "lstm", "mgu", "peephole", "rnn");

/// What every cell takes beside its own arguments.
pub const INIT: &str = "what its states begin as: a value for the first, or a list with one for each";

/// What makes other layers of cells; the language knows them.
pub const DIRECTIONS: &[Cell] = &[
    Cell { name: "bidirectional", text: include_str!("library/bidirectional.txt") },
    Cell { name: "reverse", text: include_str!("library/reverse.txt") },
];

/// Every cell, in alphabetical order.
pub fn all() -> &'static [Cell] {
    CELLS
}

/// The cell of that name.
pub fn find(name: &str) -> Option<&'static Cell> {
    CELLS.iter().find(|cell| cell.name == name)
}

/// The documentation of the cell, or of the wrapper, of that name.
pub fn documentation(name: &str) -> Option<&'static Cell> {
    CELLS.iter().chain(DIRECTIONS).find(|cell| cell.name == name)
}

impl Cell {
    /// What errors call its file.
    pub fn file(&self) -> String {
        format!("library/{}.net", self.name)
    }
    /// The first line of its documentation: one sentence.
    pub fn summary(&self) -> &'static str {
        self.comments().next().unwrap_or("")
    }
    /// Its definition; what the language itself knows has none.
    pub fn definition(&self) -> Option<&'static str> {
        self.text.find("\ncell ").map(|at| &self.text[at + 1..])
    }
    /// `lstm(hidden, gate = sigmoid, squash = tanh)`
    pub fn signature(&self) -> &'static str {
        let mut lines = self.text.lines().map(str::trim);
        let signature = lines.find_map(|line| line.strip_prefix("cell ")?.strip_suffix('{'));
        signature.unwrap_or_else(|| self.fact("signature")).trim()
    }
    /// What its documentation says after `shapes: `, `formula: ` or `source: `; empty when it says nothing.
    pub fn fact(&self, name: &str) -> &'static str {
        self.facts().find(|(known, _)| *known == name).map_or("", |(_, text)| text)
    }
    /// Its arguments: name, default when it has one, and what it means.
    pub fn arguments(&self) -> Vec<(&'static str, Option<&'static str>, &'static str)> {
        let signature = self.signature();
        let inside = signature.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or("");
        let arguments = inside.split(", ").filter(|argument| !argument.is_empty());
        let parts = |argument: &'static str| match argument.split_once(" = ") {
            Some((name, preset)) => (name, Some(preset), self.fact(name)),
            None => (argument, None, self.fact(argument)),
        };
        arguments.map(parts).collect()
    }
    /// The statements of a network that uses it; they compile.
    pub fn example(&self) -> String {
        let lines = self.facts().filter(|(name, _)| *name == "example").map(|(_, text)| text);
        lines.collect::<Vec<_>>().join("\n")
    }
    fn comments(&self) -> impl Iterator<Item = &'static str> {
        self.text.lines().map_while(|line| line.strip_prefix("# "))
    }
    fn facts(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.comments().skip(1).filter_map(|line| line.split_once(": "))
    }
}

#[cfg(test)]
mod tests {
    use super::{DIRECTIONS, all};
    use crate::diag::Sources;

    #[test]
    fn every_cell_is_documented_and_in_canonical_form() {
        for cell in all().iter().chain(DIRECTIONS) {
            let facts = ["shapes", "formula"].map(|name| cell.fact(name));
            assert!(!cell.summary().is_empty() && !cell.example().is_empty(), "{}", cell.name);
            assert!(facts.iter().all(|fact| !fact.is_empty()), "{}: {facts:?}", cell.name);
            assert!(cell.signature().starts_with(cell.name), "{}", cell.signature());
            assert!(cell.arguments().iter().all(|(.., doc)| !doc.is_empty()), "{:?}", cell.arguments());
            if all().iter().any(|known| known.name == cell.name) {
                let file = Sources::new().add(cell.file(), cell.text);
                assert_eq!(crate::syntax::format(file, cell.text).expect("the library parses"), cell.text);
            }
        }
    }
}
