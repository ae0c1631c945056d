//! What the caller has of many channels is turned: a map of the caller's has its channels outermost, and what reads it as
//! convolutions do wants a pixel's channels side by side.
//!
//! Of few channels a convolution gathers its pixels as it goes. Of many, it would fetch a line of the cache for each number, nine
//! times over where it is of 3 by 3: 2.3 times as long as with a copy in order at 16 channels, 5 times at 32. So an input, or a
//! recurrence's state from the call before, is turned, once for all that read it, in strips (`transpose`). A single 1 by 1
//! convolution reads each number once, and is 10 to 20% faster without.

use crate::graph::{Graph, Node, Output, Value};
use crate::index::IndexVec;
use crate::ops::{Op, Role, StopGradient};
use crate::types::Dim;

/// So many channels are worth it: a line of the cache, and a vector.
const MANY: usize = 16;

/// The same graph, in which convolutions and windows read a copy of such maps: a value like any other, which lies as maps do.
pub(super) fn inputs(graph: &Graph) -> Graph {
    let is_turned = turned(graph);
    if !is_turned.values().any(|is_turned| *is_turned) {
        return graph.clone();
    }
    let mut turned = graph.successor();
    let mut push = |op: Op, args: &[Value], of: Value| {
        let origin = graph.node(of).origin;
        turned.push(op, args, origin).unwrap_or_else(|message| panic!("an input is turned: {message}"))
    };
    let mut new: IndexVec<Value, Value> = IndexVec::new();
    let mut copies: IndexVec<Value, Option<Value>> = IndexVec::filled(None, graph.len());
    for (value, node) in graph.nodes() {
        let reads_turned = reads_map(node).is_some();
        let args = node.args.iter().map(|&arg| copies[arg].filter(|_| reads_turned).unwrap_or(new[arg]));
        let here = push(node.op.clone(), &args.collect::<Vec<_>>(), value);
        new.push(here);
        // The primitive that gives what it is given.
        copies[value] = is_turned[value].then(|| push(StopGradient.into(), &[here], value));
    }
    turned.outputs = graph.outputs.iter().map(|output| Output { value: new[output.value], ..output.clone() }).collect();
    turned
}

/// Which values are the caller's maps of many channels that are read more than once, by some convolution among others.
fn turned(graph: &Graph) -> IndexVec<Value, bool> {
    let mut reads = IndexVec::filled(0, graph.len());
    let mut is_convolved = IndexVec::filled(false, graph.len());
    for (_, node) in graph.nodes() {
        let Some(map) = reads_map(node) else { continue };
        reads[map] += match &node.op {
            Op::Convolution(convolution) => {
                is_convolved[map] = true;
                convolution.kernel.iter().product()
            }
            _ => 1,
        };
    }
    let is_turned = |(value, node): (Value, &Node)| {
        let [_, channels, pixels @ ..] = &node.ty.shape[..] else { return false };
        let is_map = matches!(&node.op, Op::Source(source) if source.role != Role::Param);
        let has_many = channels.as_fixed().is_some_and(|n| n >= MANY) && !pixels.iter().all(Dim::is_one);
        is_map && has_many && is_convolved[value] && reads[value] > 1
    };
    graph.nodes().map(is_turned).collect()
}

/// The map whose pixels an operation goes over, all channels of each.
fn reads_map(node: &Node) -> Option<Value> {
    use Op::{Convolution, WindowArgMax, WindowReduce, WindowSpread};
    let is_spatial = matches!(node.op, Convolution(_) | WindowReduce(_) | WindowArgMax(_) | WindowSpread(_));
    is_spatial.then(|| node.args[0])
}
