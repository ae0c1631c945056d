//! Which updates must not be written in place yet: others would read the new value where they mean the old one.
//!
//! A parameter's, a state's or a moment's new value is written over the old one as soon as it is known. What reads the old one later,
//! because an expression of it is inlined there, would find the new one: the gradient of `b` in `a * b` is made of `a`, whose update
//! comes first. Such a new value is stored by itself, and copied when all is done.

use std::collections::BTreeMap;

use super::fusion::Fusion;
use super::roots::{Roots, is_leaf};
use crate::graph::{Graph, OutputRole, Value};
use crate::index::{Id, IndexVec};
use crate::ops::Op;

/// When something is computed: with the root that comes at this place of the graph, or later, when outputs are copied.
type Time = (bool, usize);

/// For each output whether it is to be stored by itself. `is_placed` says which are computed where they belong, if that is allowed.
pub(super) fn too_early(graph: &Graph, roots: &Roots, fusion: &Fusion, is_placed: impl Fn(usize) -> bool) -> Vec<bool> {
    let mut users: IndexVec<Value, Vec<Value>> = IndexVec::filled(Vec::new(), graph.len());
    for (value, node) in graph.nodes().filter(|(value, _)| roots.live[*value]) {
        node.args.iter().for_each(|&arg| users[arg].push(value));
    }
    let sources: BTreeMap<&str, Value> = graph
        .nodes()
        .filter(|(value, _)| roots.live[*value])
        .filter_map(|(value, node)| match &node.op {
            Op::Source(source) => Some((source.name.as_str(), value)),
            _ => None,
        })
        .collect();
    let of_root = |value: Value| (false, fusion.root_of(value).unwrap_or(value).index());
    let of_output = |at: usize| match is_placed(at) {
        true => of_root(graph.outputs[at].value),
        false => (true, at),
    };
    let outputs = graph.outputs.iter().enumerate();
    outputs
        .map(|(at, output)| {
            let source = sources.get(output.name.as_str()).filter(|_| output.role == OutputRole::Update);
            let written: Time = of_output(at);
            source.is_some_and(|&source| {
                // What reads the old value, each element where its own lies or elsewhere, too.
                let (mut reads, mut seen) = (vec![(source, true)], vec![[false; 2]; graph.len()]);
                while let Some((value, is_own)) = reads.pop() {
                    let index = value.index();
                    if std::mem::replace(&mut seen[index][usize::from(is_own)], true) {
                        continue;
                    }
                    let is_inlined = value == source || !roots.is_root[value];
                    let is_same = value == output.value;
                    if !is_inlined {
                        let is_late = if is_same { !is_own } else { of_root(value) >= written };
                        if is_late {
                            return true;
                        }
                        continue;
                    }
                    let mut copies = graph.outputs.iter().enumerate().filter(|(_, output)| output.value == value);
                    if copies.any(|(copy, _)| if copy == at { !is_own } else { (true, copy) >= written }) {
                        return true;
                    }
                    reads.extend(users[value].iter().map(|&user| (user, is_own && is_elementwise(graph, user))));
                }
                false
            })
        })
        .collect()
}

/// Whether each element is made of those at its own place.
fn is_elementwise(graph: &Graph, value: Value) -> bool {
    match &graph.node(value).op {
        Op::Unary(_) | Op::Binary(_) | Op::Compare(_) | Op::Select(_) | Op::Convert(_) | Op::StopGradient(_) => true,
        op => is_leaf(op),
    }
}
