//! Files: nets that are loaded and saved, and weights.

use std::path::Path;

use netc::data::file;
use netc::diag::Sources;
use netc::elaborate::Extent;
use netc::syntax::ast::{DefinitionKind, ItemKind};
use netc::syntax::{format, parse};

use super::commands::usage;
use super::source::{Host, Source};
use super::{Repl, check};
use crate::args::NetArgs;
use crate::failure::{Exit, Failure};
use crate::network::{self, Weights};
use crate::output::note;

impl Repl<'_> {
    pub(super) fn load(&mut self, words: &[&str]) -> Result<(), Failure> {
        match words {
            // Standard input is where commands come from.
            ["-", ..] => Err(usage("load")),
            [path] if path.ends_with(".safetensors") => self.load_weights(path),
            [path] => self.load_net(path, None),
            [path, net] => self.load_net(path, Some(net)),
            _ => Err(usage("load")),
        }
    }

    /// Goes on with a file's net.
    fn load_net(&mut self, path: &str, net: Option<&str>) -> Result<(), Failure> {
        let source = self.file_source(path, net)?;
        let network = check(&source, Extent::Last, &mut ())?;
        let is_another = source.path() != self.source.path();
        self.change(source, Some(network));
        if is_another {
            // Parameters of another net may have the same names.
            self.kept.clear();
        }
        self.whole_net()
    }
    /// The source with a file in it, which is not yet checked.
    fn file_source(&self, path: &str, net: Option<&str>) -> Result<Source, Failure> {
        let (name, text) = network::read_source(path)?;
        let host = Host { path: name, text, items: Vec::new(), net: String::new() };
        let (sources, _) = Source::default().with_file(host.clone()).sources();
        let id = sources.files().last().expect("the file's");
        let items = parse(id, &host.text).map_err(|errors| network::diagnostics(&sources, &errors))?.items;
        let nets: Vec<&str> = items
            .iter()
            .filter_map(|item| match &item.kind {
                ItemKind::Definition(definition) if definition.kind == DefinitionKind::Net => {
                    Some(definition.name.text.as_str())
                }
                _ => None,
            })
            .collect();
        let list = || nets.iter().map(|net| format!("`{net}`")).collect::<Vec<_>>().join(", ");
        let net = match (net, nets.as_slice()) {
            (Some(net), all) if all.contains(&net) => net.to_owned(),
            (None, [only]) => (*only).to_owned(),
            (_, []) => return Err(Failure::new(Exit::Input, format!("`{path}` defines no net"))),
            (Some(net), _) => {
                return Err(Failure::arguments(format!("`{path}` has no net `{net}`; it has {}", list())));
            }
            (None, _) => {
                let message = format!("`{path}` has several nets, {}: say which, `:load {path} {}`", list(), nets[0]);
                return Err(Failure::arguments(message));
            }
        };
        Ok(self.source.with_file(Host { items, net, ..host }))
    }

    /// Takes parameters from a file; they must be those of the net.
    fn load_weights(&mut self, path: &str) -> Result<(), Failure> {
        let weights = Weights::read(path)?;
        let session = self.session()?;
        session.load_weights(&weights.file).map_err(|error| Failure::in_file(path, error))?;
        let all: Vec<_> = session.parameters().map(|(path, values)| (path.to_owned(), values.to_owned())).collect();
        let n = all.len();
        self.kept.extend(all);
        self.output.line(format!("{n} parameters from `{path}`"))
    }

    pub(super) fn save(&mut self, words: &[&str]) -> Result<(), Failure> {
        let [path] = words else { return Err(usage("save")) };
        if path.ends_with(".safetensors") {
            let session = self.session()?;
            let notes = std::collections::BTreeMap::new();
            file::write(Path::new(path), |file| session.save(false, &notes, file))?;
            return self.output.line(format!("saved the parameters to `{path}`"));
        }
        let text = self.formatted()?;
        // As `netc check` would read it: imports are relative to its new place.
        let mut sources = Sources::new();
        let root = sources.add(*path, &text);
        let overrides = self.source.parsed().overrides;
        let options = netc::elaborate::Options {
            net: Some(self.source.net().to_owned()),
            overrides: overrides.clone(),
            extent: Extent::Whole,
            ..netc::elaborate::Options::default()
        };
        let mut loader = |path: &str, from: &str| network::import(path, from);
        let network = netc::pipeline::check(&mut sources, root, &mut loader, &options, &mut ());
        if let Err(netc::Error::Source { diagnostics, .. }) = network {
            return Err(network::diagnostics(&sources, &diagnostics));
        }
        file::write(Path::new(path), |file| file.write_all(text.as_bytes()))?;
        if !overrides.is_empty() {
            let set: Vec<String> = overrides.iter().map(|(name, value)| format!("--set {name}={value}")).collect();
            note(format!("note: what was set is no part of the file: {}", set.join(" ")));
        }
        self.output.line(format!("saved `{path}`"))
    }

    pub(super) fn print_source(&mut self) -> Result<(), Failure> {
        let text = self.formatted()?;
        self.output.text(text)
    }
    fn formatted(&self) -> Result<String, Failure> {
        self.checked(Extent::Part)?;
        let text = self.source.text();
        let mut sources = Sources::new();
        let id = sources.add(super::source::TYPED, &text);
        format(id, &text).map_err(|errors| network::diagnostics(&sources, &errors))
    }

    /// Begins with a file, what is set, and weights with what was set when they were trained.
    pub fn begin(&mut self, args: &NetArgs, weights: Option<&str>) -> Result<(), Failure> {
        if args.file == "-" {
            return Err(Failure::arguments("standard input is for what is typed; name a file"));
        }
        let saved = weights.map(Weights::read).transpose()?;
        let earlier = saved.as_ref().map(Weights::overrides).unwrap_or_default();
        let source = self.file_source(&args.file, args.net.as_deref())?;
        let set = earlier.iter().chain(&args.set);
        let source = set.fold(source, |source, (name, value)| source.with_override(name, value));
        let network = check(&source, Extent::Last, &mut ())?;
        self.change(source, Some(network));
        self.whole_net()?;
        weights.map_or(Ok(()), |path| self.load_weights(path))
    }
}
