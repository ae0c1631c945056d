//! Recurrences that go on from call to call: their first states become sources, their last ones updates.

use std::collections::BTreeMap;

use super::rebuild::{Names, add_outputs, constant_of, live, place, rebuild, successor};
use crate::error::Error;
use crate::graph::{Arguments, Graph, Output, OutputRole, Value};
use crate::ops::{Op, Role, Scan, ScanResult};
use crate::types::TensorType;

/// All results of one recurrence, and the names of its states: `<layer's path>.<state>`.
#[derive(Debug, Clone)]
pub(super) struct Recurrence {
    pub(super) scan: Scan,
    pub(super) args: Arguments,
    pub(super) results: Vec<Value>,
    pub(super) names: Vec<String>,
}

/// The recurrences of a graph, in order. Names depend on all of them, whatever the outputs need.
pub(super) fn recurrences(graph: &Graph) -> Vec<Recurrence> {
    let mut names = Names::beside(graph);
    let mut all: Vec<Recurrence> = Vec::new();
    for (value, node) in graph.nodes() {
        let Op::Scan(scan) = &node.op else { continue };
        let is_same = |known: &&mut Recurrence| known.args == node.args && known.scan.is_same_recurrence(scan);
        if let Some(known) = all.iter_mut().find(is_same) {
            known.results.push(value);
            continue;
        }
        let place = place(graph, value);
        let full = |name: &str| match name.starts_with(&format!("{place}.")) {
            true => name.to_owned(),
            false => format!("{place}.{name}"),
        };
        let states = scan.sources().take(scan.states);
        let names = states.map(|(_, source)| names.unique(&full(&source.name))).collect();
        all.push(Recurrence { scan: scan.clone(), args: node.args.clone(), results: vec![value], names });
    }
    all
}

/// A state as it is before the first call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FirstState {
    /// Everywhere.
    pub(crate) value: f64,
    pub(crate) ty: TensorType,
}

/// What each state begins with, by its name.
pub(super) fn first_states(graph: &Graph) -> Result<BTreeMap<String, FirstState>, Error> {
    let live = live(graph);
    let mut first = BTreeMap::new();
    for recurrence in recurrences(graph) {
        if !recurrence.results.iter().any(|&result| live[result]) {
            continue;
        }
        let layer = place(graph, recurrence.results[0]);
        if recurrence.scan.reverse {
            let message = format!("`{layer}` reads its sequence backwards, so no state can be carried into it");
            return Err(Error::Unsupported(message));
        }
        for (name, &arg) in recurrence.names.iter().zip(&recurrence.args) {
            let Some(constant) = constant_of(graph, arg) else {
                let message =
                    format!("`{layer}` begins with a value that the network gives it, not with a carried one");
                return Err(Error::Unsupported(message));
            };
            first.insert(name.clone(), FirstState { value: constant, ty: graph.ty(arg).clone() });
        }
    }
    match first.is_empty() {
        true => Err(Error::Unsupported("the network has no recurrence whose state could be carried".to_owned())),
        false => Ok(first),
    }
}

/// Recurrences begin with a source of the role `Carry`, and what they end with is its update. No gradient flows from one
/// call to the one before.
pub(super) fn carry(graph: &Graph) -> Graph {
    let (recurrences, live) = (recurrences(graph), live(graph));
    let is_live = |recurrence: &&Recurrence| recurrence.results.iter().any(|&result| live[result]);
    let builder = successor(graph);
    let mut carried: BTreeMap<String, Value> = BTreeMap::new();
    let new = rebuild(&builder, graph, |value, node, args| {
        let recurrence = recurrences.iter().filter(is_live).find(|known| known.results.contains(&value))?;
        let mut args = args.to_vec();
        for (name, arg) in recurrence.names.iter().zip(&mut args) {
            let source = *carried.entry(name.clone()).or_insert_with(|| builder.source(Role::Carry, name, arg.ty()).id);
            *arg = builder.var(source);
        }
        Some(builder.emit(node.op.clone(), &args))
    });
    add_outputs(&builder, graph, &new);
    for recurrence in recurrences.iter().filter(is_live) {
        let first = builder.node(new[recurrence.results[0]].id);
        let args: Vec<_> = first.args.iter().map(|&arg| builder.var(arg)).collect();
        builder.set_origin(first.origin);
        for (state, name) in recurrence.names.iter().enumerate() {
            let last = Scan { result: ScanResult::Final(state), ..recurrence.scan.clone() };
            let value = builder.emit(last, &args).id;
            builder.add_output(Output { role: OutputRole::Update, name: name.clone(), value });
        }
    }
    builder.finish()
}
