//! Which updates must not be written in place yet: others would read the new value where they mean the old one.
//!
//! A parameter's, a state's or a moment's new value is written over the old one as soon as it is known. What reads the old one later,
//! because an expression of it is inlined there, would find the new one: the gradient of `b` in `a * b` is made of `a`, whose update
//! comes first. Such a new value is stored by itself, and copied when all is done.

use std::collections::BTreeMap;

use super::fusion::Fusion;
use super::roots::Roots;
use crate::graph::{Graph, OutputRole, Value};
use crate::index::{Id, IndexVec};
use crate::ops::Op;

/// When something is computed: with the root that comes at this place of the graph, or later, when outputs are copied.
type Time = (bool, usize);

/// For each output whether it is to be stored by itself. `is_placed` says which are computed where they belong, if that is allowed.
pub(super) fn too_early(graph: &Graph, roots: &Roots, fusion: &Fusion, is_placed: impl Fn(usize) -> bool) -> Vec<bool> {
    if graph.outputs.iter().all(|output| output.role != OutputRole::Update) {
        return vec![false; graph.outputs.len()];
    }
    let live = || graph.nodes().filter(|(value, _)| roots.live[*value]);
    let mut users: IndexVec<Value, Vec<Value>> = IndexVec::filled(Vec::new(), graph.len());
    live().for_each(|(value, node)| node.args.iter().for_each(|&arg| users[arg].push(value)));
    let sources: BTreeMap<&str, Value> = live()
        .filter_map(|(value, node)| match &node.op {
            Op::Source(source) => Some((source.name.as_str(), value)),
            _ => None,
        })
        .collect();
    let readers = Readers { graph, roots, fusion, users };
    let is_early = |at: usize| {
        let output = &graph.outputs[at];
        let written = if is_placed(at) { readers.first_written(output.value) } else { (true, at) };
        let source = sources.get(output.name.as_str()).filter(|_| output.role == OutputRole::Update);
        source.is_some_and(|&source| readers.are_late(source, at, written))
    };
    (0..graph.outputs.len()).map(is_early).collect()
}

struct Readers<'a> {
    graph: &'a Graph,
    roots: &'a Roots,
    fusion: &'a Fusion,
    users: IndexVec<Value, Vec<Value>>,
}

impl Readers<'_> {
    /// When a root is computed: a contraction with the root whose epilogue it carries.
    fn time(&self, root: Value) -> Time {
        (false, self.fusion.root_of(root).unwrap_or(root).index())
    }
    /// When the first element of a root's memory is written: parts of a join are, when they are computed.
    fn first_written(&self, root: Value) -> Time {
        let node = self.graph.node(root);
        let parts = if matches!(node.op, Op::Concat(_)) { node.args.as_slice() } else { &[] };
        let stored = parts.iter().filter(|&&part| self.roots.is_root[part]);
        stored.map(|&part| self.first_written(part)).fold(self.time(root), Time::min)
    }
    /// Whether a source is read when it is written, or later: by anything but the new value itself, which may read at each element's
    /// place what is written there, and nowhere else.
    fn are_late(&self, source: Value, output: usize, written: Time) -> bool {
        let own = self.graph.outputs[output].value;
        let (mut reads, mut seen) = (vec![(source, true)], vec![[false; 2]; self.graph.len()]);
        while let Some((value, in_place)) = reads.pop() {
            if std::mem::replace(&mut seen[value.index()][usize::from(in_place)], true) {
                continue;
            }
            if value != source && self.roots.is_root[value] {
                let is_late = if value == own { !in_place } else { self.time(value) >= written };
                if is_late {
                    return true;
                }
                continue;
            }
            // What is inlined is read by whatever reads it.
            let is_late = |copy: usize| if copy == output { !in_place } else { (true, copy) >= written };
            let mut copies = self.graph.outputs.iter().enumerate().filter(|(_, output)| output.value == value);
            if copies.any(|(copy, _)| is_late(copy)) {
                return true;
            }
            reads.extend(self.users[value].iter().map(|&user| (user, in_place && is_elementwise(self.graph, user))));
        }
        false
    }
}

/// Whether each element is made of those at its own place.
fn is_elementwise(graph: &Graph, value: Value) -> bool {
    use Op::{Binary, Compare, Convert, Select, StopGradient, Unary};
    let op = &graph.node(value).op;
    matches!(op, Unary(_) | Binary(_) | Compare(_) | Select(_) | Convert(_) | StopGradient(_))
}
