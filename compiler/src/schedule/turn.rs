//! Inputs of many channels are turned: a map of the caller's has its channels outermost, and what reads it as convolutions do wants
//! a pixel's channels side by side.
//!
//! Of few channels a convolution gathers its pixels as it goes. Of many, every reader would fetch a line of the cache for each
//! number, a 3 by 3 pool nine times over; turned once, for all of them, in strips (`transpose`), it is read as any other map.

use crate::graph::{Graph, Output, Value};
use crate::index::IndexVec;
use crate::ops::{Direction, Op, Role, StopGradient};

/// So many channels are worth it: half a line of the cache.
const MANY: usize = 8;

/// The same graph, in which convolutions and windows read a copy of such inputs: a value like any other, that lies as maps do.
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
        let reads_turned = is_spatial(&node.op);
        let args = node.args.iter().map(|&arg| copies[arg].filter(|_| reads_turned).unwrap_or(new[arg]));
        let here = push(node.op.clone(), &args.collect::<Vec<_>>(), value);
        new.push(here);
        copies[value] = is_turned[value].then(|| push(StopGradient.into(), &[here], value));
    }
    turned.outputs = graph.outputs.iter().map(|output| Output { value: new[output.value], ..output.clone() }).collect();
    turned
}

/// Which values are inputs of many channels that a convolution reads.
fn turned(graph: &Graph) -> IndexVec<Value, bool> {
    let mut turned = IndexVec::filled(false, graph.len());
    for (_, node) in graph.nodes() {
        let Op::Convolution(convolution) = &node.op else { continue };
        let maps = if convolution.direction == Direction::WeightGrad { 2 } else { 1 };
        for &map in &node.args[..maps] {
            let is_input =
                matches!(&graph.node(map).op, Op::Source(source) if matches!(source.role, Role::Input | Role::Target));
            let [_, channels, pixels @ ..] = &graph.ty(map).shape[..] else { continue };
            let has_many = channels.as_fixed().is_some_and(|n| n >= MANY);
            turned[map] |= is_input && has_many && !pixels.iter().all(|n| n.is_one());
        }
    }
    turned
}

/// Whether an operation goes over a map's pixels, all channels of each.
fn is_spatial(op: &Op) -> bool {
    matches!(op, Op::Convolution(_) | Op::WindowReduce(_) | Op::WindowArgMax(_) | Op::WindowSpread(_))
}
