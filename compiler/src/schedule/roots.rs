//! What is stored and what is inlined.
//!
//! A value is a *root* when a kernel or a library call of its own stores it; every other value is inlined
//! into the roots that use it. A value whose users all end in one root is inlined there and computed once.

use super::fusion::is_elementwise;
use crate::graph::{Graph, Node, Value};
use crate::index::IndexVec;
use crate::kernel::UnaryFn;
use crate::ops::{Kept, Op, Role};

/// Recomputing what costs less than this in a second kernel beats storing and loading it.
const CHEAP: u32 = 4;
/// An expression larger than this is stored, which bounds the size of a kernel.
const LARGE: u32 = 96;

/// The answers, by value.
#[derive(Debug)]
pub(super) struct Roots {
    /// What the outputs depend on.
    pub live: IndexVec<Value, bool>,
    pub is_root: IndexVec<Value, bool>,
    /// Depends on parameters and states alone, in a graph that never changes them: computed once.
    pub prepared: IndexVec<Value, bool>,
    /// The one root that a value is inlined into, when there is only one.
    pub home: IndexVec<Value, Option<Value>>,
}

/// What a value's users ask of it, before anything else is decided.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
enum Demand {
    Free,
    /// Stored unless it costs nothing to compute.
    IfCosts,
    Stored,
}

pub(super) fn choose(graph: &Graph) -> Roots {
    let live = live(graph);
    let prepared = prepared(graph);
    let demands = demands(graph, &live, &prepared);
    let mut cost: IndexVec<Value, u32> = IndexVec::filled(0, graph.len());
    let n_users = n_users(graph, &live);
    let is_read_apart = read_by_another(graph, &live);
    // Whether the value's expression reads what a contraction has just computed, and it alone does.
    let mut reads_contraction = IndexVec::filled(false, graph.len());
    let mut is_root = IndexVec::filled(false, graph.len());
    let known = known(graph);
    for (value, node) in graph.nodes().filter(|(value, _)| live[*value]) {
        let args = node.args.iter();
        let inlined = args.clone().map(|&arg| if is_root[arg] { 0 } else { cost[arg] });
        let own = if known[value] || is_read_as(graph, node) { 0 } else { own_cost(&node.op) };
        cost[value] = inlined.fold(own, u32::saturating_add);
        reads_contraction[value] = args.clone().any(|&arg| match is_root[arg] {
            true => is_contraction(&graph.node(arg).op) && n_users[arg] == 1,
            // What another kernel reads as well is stored as it is.
            false => reads_contraction[arg] && !is_read_apart[arg],
        });
        is_root[value] = match demands[value] {
            _ if is_leaf(&node.op) => false,
            _ if is_always_stored(&node.op) => true,
            Demand::Stored => true,
            Demand::IfCosts => 0 < cost[value],
            Demand::Free => LARGE < cost[value] && !is_view(&node.op),
        };
    }

    // From the users back: who inlines what.
    let mut home: IndexVec<Value, Option<Value>> = IndexVec::filled(None, graph.len());
    let mut users: IndexVec<Value, Users> = IndexVec::filled(Users::None, graph.len());
    for output in &graph.outputs {
        // An output is copied out, or stored where it belongs: a user of its own.
        users[output.value] = Users::Several;
    }
    for (value, node) in graph.nodes().rev().filter(|(value, _)| live[*value]) {
        if !is_root[value] && !is_leaf(&node.op) {
            match users[value] {
                // The contraction that carries it writes its part of the join.
                Users::One(root)
                    if matches!(graph.node(root).op, Op::Concat(_)) && is_tail(graph, &reads_contraction, value) =>
                {
                    is_root[value] = true;
                }
                Users::One(root) => home[value] = Some(root),
                // A view stays one: what it is a view of decides.
                Users::Several if is_view(&node.op) => {}
                Users::Several => is_root[value] = reads_contraction[value] || CHEAP <= cost[value],
                Users::None => unreachable!("a live value is used"),
            }
        }
        let user = match (is_root[value], users[value]) {
            (true, _) => Users::One(value),
            (false, users) => users,
        };
        for &arg in &node.args {
            users[arg] = users[arg].and(user);
        }
    }
    Roots { live, is_root, prepared, home }
}

/// What every kernel finds out by itself, before its loops: numbers made of sizes and constants, and positions.
fn known(graph: &Graph) -> IndexVec<Value, bool> {
    let mut known: IndexVec<Value, bool> = IndexVec::new();
    for (_, node) in graph.nodes() {
        let is_number = node.ty.n_elements().is_one();
        let of_known = node.args.iter().all(|&arg| known[arg]);
        known.push(match &node.op {
            Op::Constant(_) | Op::SizeOf(_) | Op::Iota(_) => true,
            Op::Convert(_) => of_known,
            Op::Unary(unary) => is_number && of_known && matches!(unary.0, UnaryFn::Neg | UnaryFn::Abs),
            Op::Binary(_) | Op::Reshape(_) => is_number && of_known,
            _ => false,
        });
    }
    known
}

/// Whether a value is a source's elements in another type: one more instruction than loading them.
fn is_read_as(graph: &Graph, node: &Node) -> bool {
    matches!(node.op, Op::Convert(_)) && is_leaf(&graph.node(node.args[0]).op)
}

/// How many nodes read each value.
fn n_users(graph: &Graph, live: &IndexVec<Value, bool>) -> IndexVec<Value, usize> {
    let mut n_users = IndexVec::filled(0, graph.len());
    for (_, node) in graph.nodes().filter(|(value, _)| live[*value]) {
        node.args.iter().for_each(|&arg| n_users[arg] += 1);
    }
    n_users
}

/// Which values are read by what has a kernel or a call of its own in any case.
fn read_by_another(graph: &Graph, live: &IndexVec<Value, bool>) -> IndexVec<Value, bool> {
    let mut is_read = IndexVec::filled(false, graph.len());
    for (_, node) in graph.nodes().filter(|(value, node)| live[*value] && is_always_stored(&node.op)) {
        node.args.iter().for_each(|&arg| is_read[arg] = true);
    }
    is_read
}

/// Whether a value is elementwise in what a contraction has just computed.
fn is_tail(graph: &Graph, reads_contraction: &IndexVec<Value, bool>, value: Value) -> bool {
    reads_contraction[value] && is_elementwise(&graph.node(value).op)
}

/// In which kernels a value is used.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Users {
    None,
    One(Value),
    Several,
}

impl Users {
    fn and(self, other: Users) -> Users {
        match (self, other) {
            (Users::None, user) | (user, Users::None) => user,
            (Users::One(a), Users::One(b)) if a == b => self,
            _ => Users::Several,
        }
    }
}

pub(super) fn live(graph: &Graph) -> IndexVec<Value, bool> {
    let mut live = IndexVec::filled(false, graph.len());
    for output in &graph.outputs {
        live[output.value] = true;
    }
    for (value, node) in graph.nodes().rev() {
        if live[value] {
            for &arg in &node.args {
                live[arg] = true;
            }
        }
    }
    live
}

/// Whether parameters are others at the next call: what depends on them alone is not kept then. States of recurrences
/// change without them.
pub(super) fn trains(graph: &Graph) -> bool {
    use crate::graph::OutputRole;
    let is_learned = |name: &str| {
        graph.nodes().any(|(_, node)| match &node.op {
            Op::Source(source) => source.name == name && matches!(source.role, Role::Param | Role::State),
            _ => false,
        })
    };
    graph.outputs.iter().any(|output| match output.role {
        OutputRole::Gradient => true,
        OutputRole::Update => is_learned(&output.name),
        OutputRole::Output | OutputRole::Loss | OutputRole::Metric => false,
    })
}

fn prepared(graph: &Graph) -> IndexVec<Value, bool> {
    let trains = trains(graph);
    let mut prepared: IndexVec<Value, bool> = IndexVec::new();
    for (_, node) in graph.nodes() {
        let constant = match &node.op {
            Op::Source(source) => matches!(source.role, Role::Param | Role::State),
            Op::SizeOf(_) | Op::Random(_) | Op::Scan(_) => false,
            _ => node.ty.n_elements().as_fixed().is_some() && node.args.iter().all(|&arg| prepared[arg]),
        };
        prepared.push(constant && !trains);
    }
    prepared
}

fn demands(graph: &Graph, live: &IndexVec<Value, bool>, prepared: &IndexVec<Value, bool>) -> IndexVec<Value, Demand> {
    let mut demands = IndexVec::filled(Demand::Free, graph.len());
    let mut raise = |value: Value, demand: Demand| {
        if demands[value] < demand {
            demands[value] = demand;
        }
    };
    for (value, node) in graph.nodes().filter(|(value, _)| live[*value]) {
        for (number, &arg) in node.args.iter().enumerate() {
            let demand = match &node.op {
                // Initial states are computed where the recurrence finds them.
                Op::Scan(scan) if number < scan.states => Demand::Free,
                // Library calls read memory; what is only another view of stored memory will do.
                Op::MatMul(_) | Op::Convolution(_) | Op::ScatterAdd(_) | Op::Scan(_) => {
                    raise(through_views(graph, arg), Demand::Stored);
                    Demand::Free
                }
                // Computed once for each element that it is repeated to, or once for all.
                Op::Broadcast(_) => {
                    raise(through_views(graph, arg), Demand::IfCosts);
                    Demand::Free
                }
                Op::Gather(_) => Demand::IfCosts,
                Op::WindowReduce(reduce) if reduce.window.overlaps() => Demand::IfCosts,
                Op::WindowArgMax(_) | Op::WindowSpread(_) => Demand::IfCosts,
                Op::Reshape(_) if !only_moves_ones(graph, arg, value) => Demand::IfCosts,
                _ if prepared[arg] && !prepared[value] => Demand::IfCosts,
                _ => Demand::Free,
            };
            raise(arg, demand);
        }
    }
    for output in &graph.outputs {
        if !is_view(&graph.node(output.value).op) {
            raise(output.value, Demand::Stored);
        }
    }
    demands
}

/// The value whose memory `value` may be a view of.
pub(super) fn through_views(graph: &Graph, mut value: Value) -> Value {
    while is_view(&graph.node(value).op) {
        value = graph.node(value).args[0];
    }
    value
}

/// Whether a reshape only inserts or drops axes of length one.
fn only_moves_ones(graph: &Graph, from: Value, to: Value) -> bool {
    let sizes = |value: Value| graph.ty(value).shape.iter().filter(|dim| !dim.is_one());
    sizes(from).eq(sizes(to))
}

/// Never worth memory: sources have theirs, the others are known without a load.
pub(super) fn is_leaf(op: &Op) -> bool {
    matches!(op, Op::Source(_) | Op::Constant(_) | Op::Iota(_) | Op::SizeOf(_))
}

fn is_always_stored(op: &Op) -> bool {
    is_contraction(op)
        || matches!(
            op,
            Op::Convolution(_)
                | Op::ScatterAdd(_)
                | Op::Scan(_)
                | Op::Reduce(_)
                | Op::WindowReduce(_)
                | Op::WindowArgMax(_)
                | Op::Concat(_)
        )
}

pub(super) fn is_contraction(op: &Op) -> bool {
    // Positions are written by the convolution that keeps the largest.
    matches!(op, Op::MatMul(_) | Op::Convolution(_)) && !is_position(op)
}

/// Whether a value says which of its neighbors a convolution kept.
pub(super) fn is_position(op: &Op) -> bool {
    matches!(op, Op::Convolution(convolution) if convolution.keeps == Kept::Position)
}

pub(super) fn is_view(op: &Op) -> bool {
    matches!(op, Op::Reshape(_) | Op::Transpose(_) | Op::Slice(_))
}

/// What computing one element costs beyond its arguments, in units of an addition.
fn own_cost(op: &Op) -> u32 {
    match op {
        Op::Source(_) | Op::Constant(_) | Op::Iota(_) | Op::SizeOf(_) => 0,
        Op::Reshape(_) | Op::Transpose(_) | Op::Slice(_) | Op::Broadcast(_) | Op::StopGradient(_) => 0,
        Op::Unary(unary) => match unary.0 {
            UnaryFn::Neg | UnaryFn::Abs | UnaryFn::Floor => 1,
            UnaryFn::Sqrt => 4,
            UnaryFn::Exp | UnaryFn::Log | UnaryFn::Tanh | UnaryFn::Sigmoid | UnaryFn::Erf => 10,
        },
        Op::Binary(_) | Op::Compare(_) | Op::Select(_) | Op::Convert(_) | Op::Pad(_) => 1,
        Op::Gather(_) => 2,
        Op::Random(_) => 3,
        Op::WindowSpread(_) => 8,
        Op::Reduce(_)
        | Op::WindowReduce(_)
        | Op::WindowArgMax(_)
        | Op::Concat(_)
        | Op::ScatterAdd(_)
        | Op::MatMul(_)
        | Op::Convolution(_)
        | Op::Scan(_) => 8,
    }
}
