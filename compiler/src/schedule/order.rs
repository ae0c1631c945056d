//! Memory layout: the order in which a value's axes lie in memory, outermost first.
//!
//! Maps are `[n, channels, height, width]` in the graph. In memory, those that a convolution touches, and
//! whatever is computed from them element by element, keep their channels innermost: one choice for each
//! connected region of maps. All else is row-major.

use crate::graph::{Graph, Value};
use crate::index::IndexVec;
use crate::ops::{Direction, Op};

/// The axes of a value from the outermost to the innermost in memory.
pub(super) type Order = Vec<usize>;

const CHANNELS_LAST: [usize; 4] = [0, 2, 3, 1];

/// Chooses every value's order.
pub(super) fn choose(graph: &Graph, live: &IndexVec<Value, bool>) -> IndexVec<Value, Order> {
    let regions = Regions::of(graph, live);
    let reshaped_only = reshaped_only(graph, live);
    graph
        .nodes()
        .map(|(value, node)| {
            let rank = node.ty.rank();
            // The runtime writes the gradient of a weight as the weight lies.
            let is_weight = match &node.op {
                Op::Source(_) => true,
                Op::Convolution(convolution) => convolution.direction == Direction::WeightGrad,
                _ => false,
            };
            let channels_last = rank == 4 && !is_weight && !reshaped_only[value] && regions.has_convolution(value);
            if channels_last { CHANNELS_LAST.to_vec() } else { (0..rank).collect() }
        })
        .collect()
}

/// Values that are read by nothing but reshapes: row-major, so that the reshape is free. What a convolution
/// writes keeps its channels contiguous all the same.
pub(super) fn reshaped_only(graph: &Graph, live: &IndexVec<Value, bool>) -> IndexVec<Value, bool> {
    let mut only: IndexVec<Value, bool> =
        graph.nodes().map(|(_, node)| !matches!(node.op, Op::Convolution(_))).collect();
    let mut used = IndexVec::filled(false, graph.len());
    for (value, node) in graph.nodes().filter(|(value, _)| live[*value]) {
        for &arg in &node.args {
            used[arg] = true;
            // A reshape that only adds or removes axes of length one works in any order.
            if !matches!(node.op, Op::Reshape(_)) || graph.ty(value).rank() == 4 {
                only[arg] = false;
            }
        }
    }
    graph.nodes().map(|(value, _)| used[value] && only[value]).collect()
}

/// Maps that are connected by elementwise work, windows and convolutions: a union-find.
struct Regions {
    parent: Vec<usize>,
    convolution: Vec<bool>,
}

impl Regions {
    fn of(graph: &Graph, live: &IndexVec<Value, bool>) -> Self {
        use crate::index::Id;
        let n = graph.len();
        let mut regions = Regions { parent: (0..n).collect(), convolution: vec![false; n] };
        for (value, node) in graph.nodes().filter(|(value, _)| live[*value]) {
            // A single number lies in every order: constants that two regions share do not make them one.
            let is_map = |value: Value| graph.ty(value).rank() == 4 && !graph.ty(value).n_elements().is_one();
            let joined: Vec<Value> = match &node.op {
                Op::Convolution(convolution) => {
                    // The weight keeps its own order; so does its gradient.
                    let maps = match convolution.direction {
                        Direction::Forward | Direction::DataGrad => vec![node.args[0], value],
                        Direction::WeightGrad => vec![node.args[0], node.args[1]],
                    };
                    for &map in &maps {
                        let root = regions.find(map.index());
                        regions.convolution[root] = true;
                    }
                    maps
                }
                Op::Unary(_)
                | Op::Binary(_)
                | Op::Compare(_)
                | Op::Select(_)
                | Op::Convert(_)
                | Op::StopGradient(_)
                | Op::Reduce(_)
                | Op::Broadcast(_)
                | Op::Slice(_)
                | Op::Pad(_)
                | Op::Concat(_)
                | Op::WindowReduce(_)
                | Op::WindowArgMax(_)
                | Op::WindowSpread(_) => node.args.iter().copied().chain([value]).collect(),
                Op::Source(_)
                | Op::Constant(_)
                | Op::Iota(_)
                | Op::SizeOf(_)
                | Op::Reshape(_)
                | Op::Transpose(_)
                | Op::Gather(_)
                | Op::ScatterAdd(_)
                | Op::Random(_)
                | Op::MatMul(_)
                | Op::Scan(_) => Vec::new(),
            };
            for pair in joined.windows(2) {
                if is_map(pair[0]) && is_map(pair[1]) {
                    regions.join(pair[0].index(), pair[1].index());
                }
            }
        }
        regions
    }
    fn find(&self, mut at: usize) -> usize {
        while self.parent[at] != at {
            at = self.parent[at];
        }
        at
    }
    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.find(a), self.find(b));
        if a != b {
            // The later one points to the earlier, which keeps the chains short in topological order.
            let (first, second) = (a.min(b), a.max(b));
            self.parent[second] = first;
            self.convolution[first] |= self.convolution[second];
        }
    }
    fn has_convolution(&self, value: Value) -> bool {
        use crate::index::Id;
        self.convolution[self.find(value.index())]
    }
}
