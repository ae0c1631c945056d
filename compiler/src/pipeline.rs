//! The pipeline: text -> Network, and Network -> native code for one entry.

use std::fmt;

use crate::codegen::{self, CompiledProgram};
use crate::diag::{FileId, Sources};
use crate::elaborate::{self, Loader, elaborate_parsed};
use crate::entries::{self, apply, with_gradients, with_norms};
pub use crate::entries::{Entry, Variant};
use crate::error::Error;
use crate::graph::Graph;
use crate::memory::{self, Plan};
use crate::network::Network;
use crate::schedule::{Scheduled, schedule_with};
use crate::simplify::tables::multiply_tables;
use crate::simplify::{recurrence, simplify};
use crate::syntax;
use crate::syntax::ast::File;

/// One entry in machine code, with the memory that it expects.
#[derive(Debug)]
pub struct CompiledEntry {
    pub variant: Variant,
    pub scheduled: Scheduled,
    pub plan: Plan,
    pub code: CompiledProgram,
}

/// The stages between text and code, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// What was written.
    Ast,
    /// What the entry computes.
    Graph,
    /// With the backward pass and the optimizer's step.
    Backward,
    /// After algebra, folding and common subexpressions.
    Simplified,
    /// Loop nests and library calls.
    Kernels,
    /// When each buffer lives.
    Plan,
    /// Cranelift's intermediate code.
    Clif,
    /// This machine's code.
    Asm,
}

impl Stage {
    /// In order.
    pub const ALL: [Stage; 8] = [
        Stage::Ast,
        Stage::Graph,
        Stage::Backward,
        Stage::Simplified,
        Stage::Kernels,
        Stage::Plan,
        Stage::Clif,
        Stage::Asm,
    ];
    /// As `netc emit --stage` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Ast => "ast",
            Stage::Graph => "graph",
            Stage::Backward => "backward",
            Stage::Simplified => "simplified",
            Stage::Kernels => "kernels",
            Stage::Plan => "plan",
            Stage::Clif => "clif",
            Stage::Asm => "asm",
        }
    }
}

/// Told after each pass what it made: `--emit` prints it, `--time` looks at the clock.
pub trait Observer {
    /// `product` prints what the stage made.
    fn after(&mut self, stage: Stage, product: &dyn fmt::Display);
}

/// Looks at nothing.
impl Observer for () {
    fn after(&mut self, _: Stage, _: &dyn fmt::Display) {}
}

/// Text to a checked network.
///
/// `root` is the file of `sources` to begin with, `loader` gives the texts of its imports, and `options` name the net
/// and what is set in place of the file's own values.
///
/// # Errors
/// Every error of the files, rendered; and algorithms that cannot do what `options` asks of them.
pub fn check(
    sources: &mut Sources,
    root: FileId,
    loader: &mut Loader<'_>,
    options: &elaborate::Options,
    observer: &mut dyn Observer,
) -> Result<Network, Error> {
    let text = sources.text(root).to_owned();
    let ast = syntax::parse(root, &text).map_err(|diagnostics| Error::source(sources, diagnostics))?;
    check_parsed(sources, root, ast, loader, options, observer)
}

/// As [`check`], of a file that has been parsed, or put together of what was parsed piece by piece; its places may lie in
/// several of the sources. `root` is the file that its imports are relative to.
///
/// # Errors
/// Every error but those of its syntax, rendered.
pub fn check_parsed(
    sources: &mut Sources,
    root: FileId,
    ast: File,
    loader: &mut Loader<'_>,
    options: &elaborate::Options,
    observer: &mut dyn Observer,
) -> Result<Network, Error> {
    observer.after(Stage::Ast, &ast);
    let network = elaborate_parsed(sources, root, ast, loader, options);
    let network = network.map_err(|diagnostics| Error::source(sources, diagnostics))?;
    network.algorithms.check(&network.training).map_err(Error::Input)?;
    Ok(network)
}

/// A checked network to machine code. Nothing here fails on a user's input that [`entries::check`] has let through.
pub fn compile(network: &Network, variant: impl Into<Variant>, observer: &mut dyn Observer) -> CompiledEntry {
    let variant = variant.into();
    let (scheduled, plan) = lower(network, variant.clone(), observer);
    let (program, name) = (&scheduled.program, variant.entry.name());
    let code = codegen::compile(program, name);
    observer.after(Stage::Clif, &Lazy(|| codegen::clif(program, name)));
    observer.after(Stage::Asm, &Lazy(|| codegen::asm(program, name)));
    CompiledEntry { variant, scheduled, plan, code }
}

/// A checked network to a program and its plan: all but the machine code.
pub fn lower(network: &Network, variant: impl Into<Variant>, observer: &mut dyn Observer) -> (Scheduled, Plan) {
    let graph = entry_graph(network, variant, observer);
    let graph = recurrence::after_gradient(&simplify(&graph));
    verify(&graph);
    observer.after(Stage::Simplified, &graph);
    let scheduled = schedule_with(&graph, &network.algorithms);
    observer.after(Stage::Kernels, &scheduled.program);
    let plan = memory::plan(&scheduled.program);
    observer.after(Stage::Plan, &memory::Show { program: &scheduled.program, plan: &plan });
    (scheduled, plan)
}

/// A text that is made only when somebody prints it.
struct Lazy<F>(F);

impl<F: Fn() -> String> fmt::Display for Lazy<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0())
    }
}

/// The graph of an entry before simplification: forward, and what training adds.
///
/// # Panics
/// When [`entries::check`] refuses it.
pub fn entry_graph(network: &Network, variant: impl Into<Variant>, observer: &mut dyn Observer) -> Graph {
    let variant = variant.into();
    let graph = entries::forward_graph(network, &variant);
    observer.after(Stage::Graph, &graph);
    let graph = recurrence::before_gradient(&graph);
    let graph = if variant.entry.trains() { multiply_tables(&graph, &network.usual_sizes()) } else { graph };
    let graph = match variant.entry {
        Entry::Forward | Entry::Evaluate | Entry::Begin | Entry::Step => graph,
        Entry::Gradients | Entry::Backward => with_gradients(graph, network, false),
        Entry::Apply => apply(network),
        Entry::Flow => with_norms(&graph),
        Entry::TrainStep => with_gradients(graph, network, true),
    };
    verify(&graph);
    observer.after(Stage::Backward, &graph);
    graph
}

fn verify(graph: &Graph) {
    if cfg!(debug_assertions) {
        graph.verify();
    }
}
