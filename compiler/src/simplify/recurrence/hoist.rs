//! What depends on no state leaves the loop: it is computed before, for all steps at once.

use std::collections::BTreeMap;

use super::lift::{Lifter, can_lift};
use super::{Class, Loop, Wanted, rewrite};
use crate::graph::{Graph, Value, Var};
use crate::index::IndexVec;
use crate::ops::Op;

/// Moves products and all that is dear, of sequences alone, before the loops of all recurrences.
pub fn hoist(graph: &Graph) -> Graph {
    rewrite(graph, |parts| hoist_loop(&parts))
}

fn hoist_loop<'b>(parts: &Loop<'b>) -> Vec<Var<'b>> {
    let body = &parts.body;
    let classes = parts.classes();
    let mut liftable: IndexVec<Value, bool> = IndexVec::new();
    // Whether something dear is computed on the way to the value.
    let mut dear: IndexVec<Value, bool> = IndexVec::new();
    for (value, node) in body.nodes() {
        let changes: Vec<bool> = node.args.iter().map(|&arg| classes[arg] == Class::Sequence).collect();
        let is_source = matches!(node.op, Op::Source(_));
        liftable.push(match classes[value] {
            Class::Invariant => true,
            Class::Sequence => {
                is_source || can_lift(&node.op, &changes, node.ty.rank()) && node.args.iter().all(|&arg| liftable[arg])
            }
            Class::Stateful => false,
        });
        let of_args = node.args.iter().any(|&arg| classes[arg] == Class::Sequence && dear[arg]);
        dear.push(of_args || is_dear(&node.op));
    }
    let can = |value: Value| {
        classes[value] == Class::Sequence && liftable[value] && !matches!(body.node(value).op, Op::Source(_))
    };
    let mut lifter = Lifter::new(parts, &classes, BTreeMap::new());
    let mut outside: BTreeMap<Value, Var<'b>> = BTreeMap::new();
    let wanted: Vec<Value> = parts.body.outputs[..parts.states.len()].iter().map(|output| output.value).collect();
    let readers = body.nodes().filter(|(value, _)| !can(*value)).flat_map(|(_, node)| node.args.iter().copied());
    for value in readers.chain(wanted) {
        if can(value) && dear[value] {
            // What only cuts and turns it stays inside, so that one sequence serves all its parts.
            let mut whole = value;
            while is_view(&body.node(whole).op) && can(body.node(whole).args[0]) {
                whole = body.node(whole).args[0];
            }
            outside.insert(whole, lifter.sequence(whole));
        }
    }
    // Results that no state enters do not need the loop at all.
    let free = |wanted: &Wanted| match *wanted {
        Wanted::Each(output) => Some(body.outputs[output].value).filter(|&value| can(value)),
        Wanted::Final(_) => None,
    };
    let lifted: Vec<Option<Var<'b>>> =
        parts.results.iter().map(|wanted| free(wanted).map(|value| lifter.sequence(value))).collect();
    let rest: Vec<Wanted> =
        parts.results.iter().zip(&lifted).filter(|(_, lifted)| lifted.is_none()).map(|(wanted, _)| *wanted).collect();
    let mut looped = if rest.is_empty() { Vec::new() } else { parts.with_results(rest).build(&outside) }.into_iter();
    lifted.into_iter().map(|var| var.unwrap_or_else(|| looped.next().expect("one for each result"))).collect()
}

/// What is worth leaving the loop for.
pub(super) fn is_dear(op: &Op) -> bool {
    matches!(
        op,
        Op::MatMul(_)
            | Op::Convolution(_)
            | Op::Gather(_)
            | Op::Reduce(_)
            | Op::WindowReduce(_)
            | Op::WindowArgMax(_)
            | Op::WindowSpread(_)
    )
}

fn is_view(op: &Op) -> bool {
    matches!(op, Op::Slice(_) | Op::Reshape(_) | Op::Transpose(_))
}
