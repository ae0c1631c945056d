//! Memory layout: the order in which a value's axes lie in memory, outermost first.
//!
//! Maps are `[n, channels, height, width]` in the graph, or `[n, channels, height, by, width, by]` where rows and columns are repeated
//! or added up, and sequences of them `[batch, steps, channels, height, width]`, or the steps first. In memory, those that a
//! convolution touches, and whatever is computed from them element by element, keep their channels innermost: one choice for each
//! connected region of maps. All else is row-major.

use crate::graph::{Graph, Value};
use crate::index::IndexVec;
use crate::ops::{Direction, Op};
use crate::types::{Dim, product};

/// The axes of a value from the outermost to the innermost in memory.
pub(super) type Order = Vec<usize>;

/// The axes of a map: channels, height and width.
const MAP: usize = 3;
/// The axes of maps whose rows and columns are divided.
const DIVIDED: usize = 6;

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
            let is_map = (may_be_maps(rank) || rank == DIVIDED) && !is_weight && !reshaped_only[value];
            if is_map && regions.has_convolution(value) { channels_last(rank) } else { (0..rank).collect() }
        })
        .collect()
}

/// Whether a value of so many axes may be a map for each member, or a sequence of them.
fn may_be_maps(rank: usize) -> bool {
    matches!(rank.checked_sub(MAP), Some(1 | 2))
}

fn channels_last(rank: usize) -> Order {
    let channels = if rank == DIVIDED { 1 } else { rank - MAP };
    (0..rank).filter(|&axis| axis != channels).chain([channels]).collect()
}

/// Whether two shapes are of as many maps of one size: the axes before those of a map are in one or in two.
fn are_maps(from: &[Dim], to: &[Dim]) -> bool {
    let map = |shape: &[Dim]| (shape.len() > MAP).then(|| shape[shape.len() - MAP..].to_vec());
    map(from).is_some() && map(from) == map(to)
}

/// Whether a reshape leaves the channels of maps alone: it regroups members and steps, or divides rows and columns.
fn leaves_channels(from: &[Dim], to: &[Dim]) -> bool {
    are_maps(from, to) || is_divided(from, to) || is_divided(to, from)
}

/// Whether the rows and the columns of maps are each divided into two axes, `[n, c, h, a, w, b]` of `[n, c, h*a, w*b]`.
fn is_divided(map: &[Dim], parts: &[Dim]) -> bool {
    let ([n, c, height, width], [members, channels, rows, a, columns, b]) = (map, parts) else { return false };
    let is = |whole: &Dim, parts: [&Dim; 2]| *whole == product(&parts.map(Dim::clone));
    [n, c] == [members, channels] && is(height, [rows, a]) && is(width, [columns, b])
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
            // A reshape that only adds or removes axes of length one works in any order, and so does one that leaves maps alone.
            let is_map = graph.ty(value).rank() == 4 || leaves_channels(&graph.ty(arg).shape, &node.ty.shape);
            if !matches!(node.op, Op::Reshape(_)) || is_map {
                only[arg] = false;
            }
        }
    }
    graph.nodes().map(|(value, _)| used[value] && only[value]).collect()
}

/// Whether a transpose leaves the axes of maps where they are.
fn leaves_maps(order: &[usize]) -> bool {
    order.len() > MAP && order.iter().enumerate().skip(order.len() - MAP).all(|(to, from)| to == *from)
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
            let may_be = |rank: usize| may_be_maps(rank) || rank == DIVIDED;
            let is_map = |value: Value| may_be(graph.ty(value).rank()) && !graph.ty(value).n_elements().is_one();
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
                | Op::Gather(_)
                | Op::ScatterAdd(_)
                | Op::Random(_)
                | Op::MatMul(_) => Vec::new(),
                Op::Reshape(_) if !leaves_channels(&graph.ty(node.args[0]).shape, &node.ty.shape) => Vec::new(),
                Op::Transpose(transpose) if !leaves_maps(&transpose.order) => Vec::new(),
                Op::Reshape(_) | Op::Transpose(_) => vec![node.args[0], value],
                Op::Scan(scan) => {
                    // Its steps' maps lie as convolutions among them want.
                    if scan.body.nodes().any(|(_, node)| matches!(node.op, Op::Convolution(_))) {
                        let steps = &node.args[..scan.states + scan.sequences];
                        for &map in steps.iter().chain([&value]) {
                            let root = regions.find(map.index());
                            regions.convolution[root] = true;
                        }
                    }
                    Vec::new()
                }
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
