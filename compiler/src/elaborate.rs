//! From what was written to a checked network: names, blocks, repeats, shapes. The last stage at which a user's file
//! can be wrong.
//!
//! `program` loads the files and finds what they define; `check` looks at every name, in what is never used too;
//! `body`, `cell`, `direction`, `ports`, `outputs`, `eval`, `arith`, `call` and `apply` expand the net into a graph, once as it
//! infers and once as it trains; `scope` keeps names and paths, `story` tells why shapes differ, `settings` reads `train NAME { }` and
//! `generate` the other kind.

mod apply;
mod arith;
mod body;
mod call;
mod cell;
mod check;
mod cx;
mod direction;
mod eval;
mod generate;
mod outputs;
mod overrides;
mod ports;
mod program;
mod scope;
mod settings;
mod story;
mod value;
mod walk;

use cx::{Cx, report};
use program::{Files, Program};

pub use program::Loader;

use crate::diag::{Code, Diagnostic, FileId, Message, Sources, Span};
use crate::graph::{Builder, Graph, without_bodies};
use crate::layers::Mode;
use crate::network::{LastValue, Network};
use crate::schedule::Algorithms;
use crate::syntax::ast::{Definition, File};
use crate::syntax::parse;
use overrides::Overrides;

/// What the caller asks for beyond the file.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The net, when the file has several.
    pub net: Option<String>,
    /// `hidden` and `256`, `train.optimizer.lr` and `1e-4`: what the command line sets.
    pub overrides: Vec<(String, String)>,
    pub extent: Extent,
    /// How convolutions are computed, where it is not left to their cost.
    pub algorithms: Algorithms,
}

/// How much of the net has been written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Extent {
    #[default]
    Whole,
    /// More is to come: inputs may be unused as yet.
    Part,
    /// As `Part`, and what the last statement gives is told: see [`Network::last`].
    Last,
}

/// Makes a network of the file `root`. Texts of imports come from `loader`, and are added to `sources`.
///
/// # Errors
/// All that is wrong with the file, in the order of its text where it is all in one file.
pub fn elaborate(
    sources: &mut Sources,
    root: FileId,
    loader: &mut Loader<'_>,
    options: &Options,
) -> Result<Network, Vec<Diagnostic>> {
    let file = parse(root, sources.text(root))?;
    elaborate_parsed(sources, root, file, loader, options)
}

/// As [`elaborate`], of a file that has been parsed; its places may lie in several of the sources.
///
/// # Errors
/// All that is wrong but for syntax.
pub fn elaborate_parsed(
    sources: &mut Sources,
    root: FileId,
    file: File,
    loader: &mut Loader<'_>,
    options: &Options,
) -> Result<Network, Vec<Diagnostic>> {
    let files = Files::load(sources, root, file, loader)?;
    let overrides = Overrides::parse(sources, root, &options.overrides)?;
    let sources = &*sources;
    let mut errors = Vec::new();
    let program = files.program(&mut errors);
    check::check(&program, &mut errors);

    let chosen = choose(&program, root, options.net.as_deref());
    // The other nets are part of the file, too.
    for net in &program.nets {
        if !chosen.as_ref().is_ok_and(|chosen| std::ptr::eq(*chosen, *net))
            && net.params.iter().all(|param| param.default.is_some())
        {
            let subject = Subject { net, overrides: &Overrides::default(), extent: Extent::Whole };
            expand(&program, sources, &subject, Mode::Inference, &mut errors);
        }
    }
    let network = match chosen {
        Ok(net) => network(&program, sources, net, &overrides, options, &mut errors),
        // Which net is meant can wait until the file is right.
        Err(error) => {
            if errors.is_empty() {
                report(&mut errors, error);
            }
            None
        }
    };
    match network {
        Some(network) if errors.is_empty() => Ok(network),
        _ => {
            errors.sort_by_key(|error| (error.span.file != root, error.span));
            Err(errors)
        }
    }
}

/// The net that is asked for, or the only one.
fn choose<'a>(program: &Program<'a>, root: FileId, name: Option<&str>) -> Result<&'a Definition, Diagnostic> {
    let nets = &program.nets;
    let start = Span::new(root, 0, 0);
    if let Some(name) = name {
        let found = nets.iter().copied().find(|net| net.name.text == name);
        return found.ok_or_else(|| {
            let message = Message::new(Code::UnknownNet, format!("the file has no net `{name}`"));
            message.did_you_mean(name, nets.iter().map(|net| net.name.text.as_str())).at(start)
        });
    }
    match nets.as_slice() {
        [only] => Ok(only),
        [] => Err(Message::new(Code::NoNet, "the file defines no `net`")
            .help("a `net` is what is compiled: `net NAME { … }`, with an `input` and the layers it flows through")
            .at(start)),
        [first, second, ..] => {
            let names: Vec<String> = nets.iter().map(|net| format!("`{}`", net.name.text)).collect();
            let message =
                Message::new(Code::AmbiguousNet, format!("the file defines several nets: {}", names.join(", ")));
            Err(message
                .help(format!("say which one: `--net {}`", first.name.text))
                .at(second.name.span)
                .also(first.name.span, "the first"))
        }
    }
}

fn network(
    program: &Program<'_>,
    sources: &Sources,
    net: &Definition,
    overrides: &Overrides,
    options: &Options,
    errors: &mut Vec<Diagnostic>,
) -> Option<Network> {
    overrides.check(program, net, errors);
    let settings = settings::read(program, sources, net, overrides, errors);
    let subject = Subject { net, overrides, extent: options.extent };
    let inference = expand(program, sources, &subject, Mode::Inference, errors);
    // A file with mistakes is expanded once: the same would be found again.
    if !errors.is_empty() {
        return None;
    }
    let generate = generate::read(program, sources, net, overrides, &inference, errors);
    let training = expand(program, sources, &subject, Mode::Training, errors);
    let mut ports = inference.ports;
    ports.sort_by_key(|port| port.is_target);
    Some(Network {
        name: net.name.text.clone(),
        ports,
        parameters: inference.parameters,
        states: inference.states,
        layers: inference.layers,
        inference: inference.graph,
        training: training.graph,
        axes: inference.axes,
        settings,
        generate,
        overrides: options.overrides.clone(),
        algorithms: options.algorithms.clone(),
        last: inference.last,
    })
}

/// What is expanded: a net with its parameters.
struct Subject<'a> {
    net: &'a Definition,
    overrides: &'a Overrides,
    extent: Extent,
}

/// One net in one mode.
struct Expanded {
    graph: Graph,
    ports: Vec<crate::network::Port>,
    parameters: Vec<crate::network::Parameter>,
    states: Vec<crate::network::StateVariable>,
    layers: Vec<crate::network::LayerUse>,
    axes: Vec<String>,
    last: Option<LastValue>,
}

fn expand(
    program: &Program<'_>,
    sources: &Sources,
    subject: &Subject<'_>,
    mode: Mode,
    errors: &mut Vec<Diagnostic>,
) -> Expanded {
    let builder = Builder::default();
    let (ports, layers, parameters, states, axes, last) = {
        let mut cx = Cx::new(program, sources, &builder, mode);
        cx.extent = subject.extent;
        // What is known to be wrong is not said again.
        cx.errors = std::mem::take(errors);
        cx.evaluate_constants();
        let args = subject.overrides.arguments(&mut cx);
        cx.net(subject.net, &args);
        *errors = cx.errors;
        (cx.ports, cx.layers, cx.store.parameters, cx.store.states, cx.axes, cx.told)
    };
    let graph = if errors.is_empty() { without_bodies(builder.finish()) } else { builder.finish() };
    if cfg!(debug_assertions) && errors.is_empty() {
        graph.verify();
    }
    Expanded { graph, ports, parameters, states, layers, axes, last }
}
