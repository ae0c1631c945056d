//! The files of a program: loads imports, and finds definitions and constants by their names.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use super::walk;
use crate::diag::{At, Code, Diagnostic, FileId, Message, Sources, Span};
use crate::syntax::ast::{Definition, DefinitionKind, Expr, File, Ident, ItemKind, Settings, Text};
use crate::syntax::parse;
use crate::{layers, library};

/// More files than this are no description of a network.
const MAX_FILES: usize = 256;
/// Imports nest no deeper.
const MAX_DEPTH: usize = 64;

/// Gives the text of an import: the path as written, and the name of the file that imports it.
pub type Loader<'l> = dyn FnMut(&str, &str) -> Result<String, Message> + 'l;

/// All files that a root file reaches, parsed.
#[derive(Debug)]
pub(super) struct Files {
    /// An imported file comes before those that import it; the root is last.
    files: Vec<File>,
    /// How many of them, from the first, are of the library.
    n_library: usize,
}

/// What the files define.
#[derive(Debug)]
pub(super) struct Program<'a> {
    pub(super) definitions: BTreeMap<&'a str, &'a Definition>,
    /// In an order in which each comes after the files it could use.
    pub(super) constants: Vec<(&'a Ident, &'a Expr)>,
    /// Of the root file, in the order written.
    pub(super) nets: Vec<&'a Definition>,
    pub(super) settings: Vec<&'a Settings>,
    /// Expressions elaborated so far, in all nets and modes.
    pub(super) steps: Cell<usize>,
    /// Of all files, in order.
    pub(super) all_definitions: Vec<&'a Definition>,
    /// The files of the library among them.
    pub(super) library: Vec<FileId>,
}

impl Files {
    /// Parses what the root file imports.
    pub(super) fn load(
        sources: &mut Sources,
        root: FileId,
        file: File,
        loader: &mut Loader<'_>,
    ) -> Result<Files, Vec<Diagnostic>> {
        let mut loading = Loading { sources, loader, files: Vec::new(), loaded: BTreeMap::new(), errors: Vec::new() };
        let name = normal("", loading.sources.name(root));
        loading.parsed(root, file, &mut vec![name]);
        if !loading.errors.is_empty() {
            return Err(loading.errors);
        }
        let users = std::mem::take(&mut loading.files);
        loading.library(&users);
        let n_library = loading.files.len();
        loading.files.extend(users);
        Ok(Files { files: loading.files, n_library })
    }

    /// Finds what they define; names that are defined twice are errors.
    pub(super) fn program(&self, errors: &mut Vec<Diagnostic>) -> Program<'_> {
        let mut program = Program {
            definitions: BTreeMap::new(),
            constants: Vec::new(),
            nets: Vec::new(),
            settings: Vec::new(),
            steps: Cell::new(0),
            all_definitions: Vec::new(),
            library: Vec::new(),
        };
        let mut places: BTreeMap<&str, Span> = BTreeMap::new();
        for (number, file) in self.files.iter().enumerate() {
            let is_root = number + 1 == self.files.len();
            for item in &file.items {
                match &item.kind {
                    ItemKind::Import(_) => {}
                    ItemKind::Const { name, value } => {
                        if is_new(&mut places, name, errors) {
                            program.constants.push((name, value));
                        }
                    }
                    ItemKind::Definition(definition) => {
                        program.all_definitions.push(definition);
                        if number < self.n_library {
                            program.library.push(definition.name.span.file);
                        }
                        if is_new(&mut places, &definition.name, errors) {
                            program.definitions.insert(&definition.name.text, definition);
                            if is_root && definition.kind == DefinitionKind::Net {
                                program.nets.push(definition);
                            }
                        }
                    }
                    ItemKind::Settings(settings) if is_root => program.settings.push(settings),
                    ItemKind::Settings(_) => {}
                }
            }
        }
        program
    }
}

/// Whether nothing has the name yet; if something has, says so.
fn is_new<'a>(places: &mut BTreeMap<&'a str, Span>, name: &'a Ident, errors: &mut Vec<Diagnostic>) -> bool {
    let text = name.text.as_str();
    if layers::find(text).is_some() || library::DIRECTIONS.iter().any(|known| known.name == text) {
        let message = Message::new(Code::DuplicateName, format!("`{text}` is a layer of the library"));
        errors.push(message.help("choose another name").at(name.span));
        return false;
    }
    if let Some(&first) = places.get(text) {
        let message = Message::new(Code::DuplicateName, format!("`{text}` is defined twice"));
        errors.push(message.at(name.span).label("again here").also(first, "first here"));
        return false;
    }
    places.insert(text, name.span);
    true
}

struct Loading<'s, 'l> {
    sources: &'s mut Sources,
    loader: &'s mut Loader<'l>,
    files: Vec<File>,
    /// By normal name: what has been loaded, so that a file reached twice is one.
    loaded: BTreeMap<String, ()>,
    errors: Vec<Diagnostic>,
}

impl Loading<'_, '_> {
    /// Parses the cells of the library that the files name and do not define.
    fn library(&mut self, files: &[File]) {
        let mut defined = BTreeSet::new();
        let mut named = BTreeSet::new();
        for item in files.iter().flat_map(|file| &file.items) {
            match &item.kind {
                ItemKind::Definition(definition) => {
                    defined.insert(definition.name.text.as_str());
                    walk::names(&definition.body, &mut |name| {
                        named.insert(name.text.as_str());
                    });
                    let defaults = definition.params.iter().filter_map(|param| param.default.as_ref());
                    defaults.for_each(|default| {
                        walk::expr(default, &mut |name| {
                            named.insert(name.text.as_str());
                        });
                    });
                }
                ItemKind::Const { name, value } => {
                    defined.insert(name.text.as_str());
                    walk::expr(value, &mut |name| {
                        named.insert(name.text.as_str());
                    });
                }
                ItemKind::Import(_) | ItemKind::Settings(_) => {}
            }
        }
        for cell in library::all() {
            if named.contains(cell.name) && !defined.contains(cell.name) {
                let id = self.sources.add(cell.file(), cell.text);
                self.files.push(parse(id, cell.text).expect("the library parses"));
            }
        }
    }

    /// Parses one file and its imports; `chain` holds the names of those that led to it, itself last.
    fn file(&mut self, id: FileId, chain: &mut Vec<String>) {
        let text = self.sources.text(id).to_owned();
        match parse(id, &text) {
            Ok(file) => self.parsed(id, file, chain),
            Err(errors) => self.errors.extend(errors),
        }
    }

    fn parsed(&mut self, id: FileId, file: File, chain: &mut Vec<String>) {
        let imports = file.items.iter().filter_map(|item| match &item.kind {
            ItemKind::Import(path) => Some(path),
            ItemKind::Const { .. } | ItemKind::Definition(_) | ItemKind::Settings(_) => None,
        });
        for path in imports {
            if let Err(error) = self.import(id, path, chain) {
                self.errors.push(error);
            }
        }
        self.files.push(file);
    }

    fn import(&mut self, from: FileId, path: &Text, chain: &mut Vec<String>) -> Result<(), Diagnostic> {
        let importer = self.sources.name(from).to_owned();
        let name = normal(&importer, &path.text);
        if let Some(start) = chain.iter().position(|file| *file == name) {
            let files: Vec<String> = chain[start..].iter().chain([&name]).map(|file| format!("`{file}`")).collect();
            let text = format!("the imports form a circle: {}", files.join(" imports "));
            return Err(Message::new(Code::ImportCycle, text).at(path.span));
        }
        if self.loaded.contains_key(&name) {
            return Ok(());
        }
        let within = self.loaded.len() < MAX_FILES && chain.len() < MAX_DEPTH;
        if !within {
            let text = format!("at most {MAX_FILES} files are imported, at most {MAX_DEPTH} deep");
            return Err(Message::new(Code::TooLarge, text).at(path.span));
        }
        let text = (self.loader)(&path.text, &importer).at(path.span)?;
        self.loaded.insert(name.clone(), ());
        let id = self.sources.add(name.clone(), text);
        chain.push(name);
        self.file(id, chain);
        chain.pop();
        Ok(())
    }
}

/// A path relative to the file `importer`, without `.` and `..` where that can be seen from its text.
fn normal(importer: &str, path: &str) -> String {
    let folder = importer.rfind('/').map_or("", |slash| &importer[..=slash]);
    let joined = if path.starts_with('/') { path.to_owned() } else { format!("{folder}{path}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in joined.split('/') {
        match part {
            "." => {}
            ".." if parts.last().is_some_and(|last| !last.is_empty() && *last != "..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}
