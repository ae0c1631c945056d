//! Entries: the graphs of what a network can be asked for, made from its two graphs.

mod carry;
mod flow;
mod masks;
mod rebuild;
mod steps;
mod training;

use std::collections::BTreeMap;

use crate::error::Error;
use crate::graph::{Graph, OutputRole};
use crate::network::Network;
use crate::types::Symbol;
pub(crate) use carry::FirstState;
pub(crate) use flow::{is_reversed, with_norms};
pub(crate) use training::{apply, gradient_name, with_gradients};

/// What a compiled network can be asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entry {
    /// Inputs to outputs, as it infers.
    Forward,
    /// Inputs and targets to outputs, loss and metrics, as it infers.
    Evaluate,
    /// Inputs and targets to the loss and its gradient with respect to every parameter, as it trains.
    Gradients,
    /// Inputs and targets to the loss, to the norm of its gradient with respect to every parameter, and to the norms of
    /// those with respect to each recurrent state at each step, as it trains.
    Flow,
    /// As [`Entry::Gradients`]; states, such as running means, are replaced.
    Backward,
    /// Gradients with respect to every parameter to the optimizer's step: parameters and moments are replaced.
    Apply,
    /// Inputs and targets to the loss and metrics; parameters, states and moments are replaced.
    TrainStep,
    /// Inputs without the stepped axis to the first states and all else that [`Entry::Step`] reads.
    Begin,
    /// One step of the inputs with the stepped axis to one step of the outputs; the states are replaced.
    Step,
}

impl Entry {
    /// As `netc emit --entry` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Entry::Forward => "forward",
            Entry::Evaluate => "evaluate",
            Entry::Gradients => "gradients",
            Entry::Flow => "flow",
            Entry::Backward => "backward",
            Entry::Apply => "apply",
            Entry::TrainStep => "train_step",
            Entry::Begin => "begin",
            Entry::Step => "step",
        }
    }
    /// Whether it computes gradients.
    pub(crate) fn trains(self) -> bool {
        matches!(self, Entry::Gradients | Entry::Flow | Entry::Backward | Entry::TrainStep)
    }
}

/// An entry, and how it is asked for. Each variant is compiled by itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Variant {
    pub entry: Entry,
    /// Whether it reads the lengths of the members of the batch; else every sequence is as long as its array.
    pub masked: bool,
    /// Whether recurrences begin with what the last call left.
    pub carried: bool,
    /// The axis along which [`Entry::Begin`] and [`Entry::Step`] go; `None` is [`step_axis`].
    pub axis: Option<String>,
}

impl From<Entry> for Variant {
    fn from(entry: Entry) -> Self {
        Variant { entry, masked: false, carried: false, axis: None }
    }
}

/// Whether the network can be asked for this.
///
/// # Errors
/// When it has no loss, a recurrence cannot be carried, or a layer cannot take one step at a time.
pub fn check(network: &Network, variant: &Variant) -> Result<(), Error> {
    let infers = matches!(variant.entry, Entry::Forward | Entry::Begin | Entry::Step);
    if !infers && !network.has_loss() {
        let name = &network.name;
        return Err(Error::Unsupported(format!("`{name}` has no `loss`, so it cannot be trained or evaluated")));
    }
    match variant.entry {
        Entry::Begin | Entry::Step => stepped(network, variant).map(|_| ()),
        _ if variant.carried => first_states(network).map(|_| ()),
        _ => Ok(()),
    }
}

/// The network's graph with the outputs of the entry, lengths and carried states as it asks for them; before the
/// backward pass.
///
/// # Panics
/// When [`check`] refuses it.
pub fn forward_graph(network: &Network, variant: &Variant) -> Graph {
    let keeps = |role: OutputRole| match variant.entry {
        Entry::Forward | Entry::Begin | Entry::Step => role == OutputRole::Output,
        Entry::Evaluate => matches!(role, OutputRole::Output | OutputRole::Loss | OutputRole::Metric),
        Entry::Gradients | Entry::Flow => matches!(role, OutputRole::Loss | OutputRole::Metric),
        Entry::TrainStep | Entry::Backward => {
            matches!(role, OutputRole::Loss | OutputRole::Metric | OutputRole::Update)
        }
        Entry::Apply => false,
    };
    let graph = match variant.entry {
        Entry::Forward | Entry::Evaluate => &network.inference,
        Entry::Gradients | Entry::Flow | Entry::Backward | Entry::TrainStep => &network.training,
        Entry::Apply => return Graph::default(),
        Entry::Begin | Entry::Step => {
            let stepped = stepped(network, variant).unwrap_or_else(|error| panic!("unchecked: {error}"));
            return if variant.entry == Entry::Begin { stepped.begin } else { stepped.step };
        }
    };
    let mut graph = graph.clone();
    graph.outputs.retain(|output| keeps(output.role));
    let graph = masks::apply(graph, |_| variant.masked);
    if variant.carried { carry::carry(&graph) } else { graph }
}

/// The two halves of a network that takes one step at a time.
fn stepped(network: &Network, variant: &Variant) -> Result<steps::Stepped, Error> {
    let axis = match &variant.axis {
        Some(axis) if network.axes.contains(axis) => axis.clone(),
        Some(axis) => return Err(unknown_axis(network, axis)),
        None => step_axis(network)?,
    };
    let mut graph = network.inference.clone();
    graph.outputs.retain(|output| output.role == OutputRole::Output);
    // Each step is one of the sequence; other axes may have lengths.
    steps::split(&masks::apply(graph, |name| variant.masked && name != axis), &axis)
}

/// The axis along which a network takes its steps when nobody names one: that of the input which `generate` feeds, else
/// the only one of its outputs, else the only one it has.
///
/// # Errors
/// When there is none, or several.
pub fn step_axis(network: &Network) -> Result<String, Error> {
    let fed = network.generate.as_ref().and_then(|generate| {
        let port = network.ports.iter().find(|port| port.name == generate.input)?;
        axes_of(&port.ty.shape).next()
    });
    if let Some(axis) = fed {
        return Ok(axis);
    }
    let outputs = network.inference.outputs.iter().filter(|output| output.role == OutputRole::Output);
    let mut axes: Vec<String> =
        outputs.flat_map(|output| axes_of(&network.inference.ty(output.value).shape).collect::<Vec<_>>()).collect();
    axes.sort_unstable();
    axes.dedup();
    match (axes.as_slice(), network.axes.as_slice()) {
        ([only], _) | ([], [only]) => Ok(only.clone()),
        ([], []) => Err(Error::Unsupported(format!("`{}` has no sequence axis to take steps along", network.name))),
        ([], several) | (several, _) => {
            let several = several.join("`, `");
            Err(Error::Unsupported(format!("say along which axis to take steps: there are `{several}`")))
        }
    }
}

fn axes_of(shape: &[crate::types::Dim]) -> impl Iterator<Item = String> {
    shape.iter().filter_map(|dim| match dim.symbols() {
        [Symbol::Axis(name)] => Some(name.to_string()),
        _ => None,
    })
}

pub(crate) fn unknown_axis(network: &Network, axis: &str) -> Error {
    let known = match network.axes.as_slice() {
        [] => "it has none".to_owned(),
        axes => format!("it has `{}`", axes.join("`, `")),
    };
    Error::Input(format!("the network has no sequence axis `{axis}`; {known}"))
}

/// What each recurrence that can be carried begins with, by the name of its state: zeros, as a rule.
///
/// A state is carried when it begins with a constant; one that the file gives by a value (`init = …`) says for each call
/// where it begins.
///
/// # Errors
/// When there is no recurrence, one goes backwards, or one begins with a value.
pub(crate) fn first_states(network: &Network) -> Result<BTreeMap<String, FirstState>, Error> {
    carry::first_states(&masks::apply(network.inference.clone(), |_| false))
}
