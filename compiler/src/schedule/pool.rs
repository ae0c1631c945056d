//! Convolutions that keep the largest of each 2 by 2 neighbors: their map is never written, a quarter of it is.
//!
//! What stands between a convolution and the pool, an added bias and the larger one of a number and zero, grows with each
//! element. So it is the same of the largest element as the largest of all: to the bit, since rounding never swaps two
//! numbers. It comes after the pool then, and is computed for a quarter of the elements. Where an element is no number the
//! result may be none; without this it would be the largest of the others, or the least of all. Of equal ones that rounding makes
//! of different elements, the largest element is the one that is kept.

use super::algorithm::{Algorithms, algorithm};
use super::call::{geometry, is_fixed_parameter};
use super::order::reshaped_only;
use super::roots::{is_leaf, is_view, live};
use crate::graph::{Graph, Output, Value};
use crate::index::IndexVec;
use crate::kernel::{Algorithm, BinaryFn, Combine};
use crate::ops::{Binary, Broadcast, Constant, Convolution, Direction, Kept, Op, POOL, WindowArgMax, WindowReduce};
use crate::types::{Dim, TensorType};

/// What becomes of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Convolution,
    /// Elementwise in the argument of this number.
    Between(usize),
    /// It is the value of this one now.
    Pool(Value),
    /// It says which neighbors this convolution keeps.
    Position(Value),
}

/// The same graph, in which pools are parts of the convolutions before them where nothing else reads what lies between.
pub(super) fn into_convolutions(graph: &Graph, algorithms: &Algorithms) -> Graph {
    let parts = parts(graph, algorithms);
    let mut pooled = graph.successor();
    let mut new: IndexVec<Value, Value> = IndexVec::new();
    for (value, node) in graph.nodes() {
        let args: Vec<Value> = node.args.iter().map(|&arg| new[arg]).collect();
        let mut push = |op: Op, args: &[Value]| {
            pooled.push(op, args, node.origin).unwrap_or_else(|message| panic!("a pool in a convolution: {message}"))
        };
        let here = match (parts[value], &node.op) {
            (None, op) => push(op.clone(), &args),
            (Some(Part::Pool(of)), _) => new[of],
            (Some(Part::Convolution), Op::Convolution(op)) => {
                push(Convolution { keeps: Kept::Largest, ..op.clone() }.into(), &args)
            }
            (Some(Part::Position(of)), _) => {
                let Op::Convolution(op) = &graph.node(of).op else { panic!("{of} is no convolution") };
                let args: Vec<Value> = graph.node(of).args.iter().map(|&arg| new[arg]).collect();
                push(Convolution { keeps: Kept::Position, ..op.clone() }.into(), &args)
            }
            (Some(Part::Between(of)), op) => {
                let shape = half(&node.ty.shape);
                let mut args = args;
                // The other argument is the same for all pixels.
                for (number, arg) in node.args.iter().enumerate().filter(|(number, _)| *number != of) {
                    let other = graph.node(*arg);
                    args[number] = match &other.op {
                        Op::Constant(constant) => {
                            push(Constant { value: constant.value, ty: TensorType::f32(shape.clone()) }.into(), &[])
                        }
                        _ => push(Broadcast { to: shape.clone() }.into(), &[new[other.args[0]]]),
                    };
                }
                push(op.clone(), &args)
            }
            (part, op) => panic!("{op:?} is no {part:?}"),
        };
        new.push(here);
    }
    pooled.outputs = graph.outputs.iter().map(|output| Output { value: new[output.value], ..output.clone() }).collect();
    pooled
}

/// The shape of a map whose pixels are pooled.
fn half(shape: &[Dim]) -> Vec<Dim> {
    let [n, c, h, w] = shape else { panic!("a map has four axes") };
    vec![n.clone(), c.clone(), POOL.count(0, h), POOL.count(1, w)]
}

fn parts(graph: &Graph, algorithms: &Algorithms) -> IndexVec<Value, Option<Part>> {
    let mut parts = IndexVec::filled(None, graph.len());
    let counts = graph.use_counts();
    // These take a loop to their own order in any case: it pools on the way.
    let reshaped = reshaped_only(graph, &live(graph));
    for (pool, node) in graph.nodes() {
        let is_pool = node.op == Op::WindowReduce(WindowReduce { combine: Combine::Max, window: POOL });
        if !is_pool || node.args.len() != 1 || reshaped[pool] {
            continue;
        }
        let mut way = vec![(pool, Part::Pool(node.args[0]))];
        let mut at = node.args[0];
        // Which neighbors are the largest, for a gradient.
        let position = graph.nodes().find(|(_, other)| {
            other.op == WindowArgMax { window: POOL }.into() && other.args.as_ref() == [at, pool].as_slice()
        });
        let position = position.map(|(value, _)| value);
        let mut readers = 1 + usize::from(position.is_some());
        // Each is read by the one before alone.
        while counts[at] == readers {
            readers = 1;
            let node = graph.node(at);
            if let Op::Convolution(convolution) = &node.op {
                if takes(graph, at, convolution, algorithms) {
                    way.push((at, Part::Convolution));
                    way.extend(position.map(|position| (position, Part::Position(at))));
                    way.iter().for_each(|&(value, part)| parts[value] = Some(part));
                }
                break;
            }
            let Some(of) = grows_with(graph, at) else { break };
            way.push((at, Part::Between(of)));
            at = node.args[of];
        }
    }
    parts
}

/// The argument with which each element grows, if the others are the same for all pixels.
fn grows_with(graph: &Graph, value: Value) -> Option<usize> {
    let node = graph.node(value);
    let is_even = |arg: Value| {
        let node = graph.node(arg);
        let of = |axis: usize| graph.ty(node.args[0]).shape.get(axis).is_some_and(Dim::is_one);
        matches!(node.op, Op::Constant(_)) || (matches!(node.op, Op::Broadcast(_)) && of(2) && of(3))
    };
    let [a, b] = node.args[..] else { return None };
    match node.op {
        Op::Binary(Binary(BinaryFn::Add | BinaryFn::Max | BinaryFn::Min)) if is_even(b) => Some(0),
        Op::Binary(Binary(BinaryFn::Sub)) if is_even(b) => Some(0),
        Op::Binary(Binary(BinaryFn::Add)) if is_even(a) => Some(1),
        _ => None,
    }
}

/// Whether a convolution is computed by one of Winograd's algorithms, from memory whose channels are adjacent.
fn takes(graph: &Graph, value: Value, convolution: &Convolution, algorithms: &Algorithms) -> bool {
    let node = graph.node(value);
    if convolution.direction != Direction::Forward || convolution.keeps != Kept::All {
        return false;
    }
    let x = &graph.node(node.args[0]).op;
    let geometry = geometry(graph, convolution, node.args[0], value);
    let stays = is_fixed_parameter(graph, node.args[1]) && geometry.groups == 1;
    let asked = algorithms.asked(node.origin.map_or("", |origin| graph.origin_path(origin)));
    let chosen = algorithm(&geometry, Direction::Forward, &Dim::ONE, stays, asked);
    !is_leaf(x) && !is_view(x) && chosen != Algorithm::Direct
}
