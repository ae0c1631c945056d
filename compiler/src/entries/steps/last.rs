//! Recognizes the last step of a sequence: of all that a network may do with a whole sequence, this needs no step but
//! the present one.

use std::collections::BTreeMap;

use super::super::rebuild::constant_of;
use crate::graph::{Graph, Value};
use crate::interp::{self, Precision, Scope};
use crate::kernel::Combine;
use crate::ops::{Op, Reduce};
use crate::types::{Dim, Extents, Symbol};

/// `x`, where `value` is the sum over one axis of `select(is last, x, 0)`.
pub(super) fn of(graph: &Graph, value: Value) -> Option<Value> {
    let node = graph.node(value);
    let Op::Reduce(Reduce { combine: Combine::Sum, axes }) = &node.op else { return None };
    let ([axis], picked) = (axes.as_slice(), graph.node(node.args[0])) else { return None };
    let (Op::Select(_), [condition, x, zero]) = (&picked.op, picked.args.as_slice()) else { return None };
    let is_last = constant_of(graph, *zero) == Some(0.0) && is_last(graph, *condition, *axis);
    is_last.then_some(*x)
}

/// Whether a mask that depends on nothing but sizes is 1 at the last position of an axis, and 0 elsewhere.
fn is_last(graph: &Graph, mask: Value, axis: usize) -> bool {
    let [symbol @ Symbol::Axis(_)] = graph.ty(mask).shape[axis].symbols() else { return false };
    if graph.ty(mask).shape[axis] != Dim::from(symbol.clone()) {
        return false;
    }
    let Some(small) = without_sources(graph, mask) else { return false };
    // Three lengths tell `n - 1` from any other position that is linear in the length.
    [1, 2, 3].into_iter().all(|n| {
        let mut extents = Extents::default();
        for (_, node) in small.nodes() {
            for symbol in node.ty.shape.iter().flat_map(Dim::symbols).chain(sizes(&node.op)) {
                bind(symbol, &mut extents);
            }
        }
        extents.set(symbol.clone(), n);
        let scope = Scope::new(extents, Precision::F32);
        let values = interp::eval(&small, &|source| panic!("there is no source {source:?}"), &scope);
        let mask = values.values().last().expect("the mask itself");
        let inner: usize = mask.shape[axis + 1..].iter().product();
        mask.data.iter().enumerate().all(|(at, &x)| x == f64::from(u8::from(at / inner % n == n - 1)))
    })
}

/// Any other named size is 2.
fn bind(symbol: &Symbol, extents: &mut Extents) {
    match symbol {
        Symbol::Derived(derived) => derived.of.symbols().iter().for_each(|of| bind(of, extents)),
        Symbol::Batch | Symbol::Axis(_) => extents.set(symbol.clone(), 2),
    }
}

fn sizes(op: &Op) -> &[Symbol] {
    match op {
        Op::SizeOf(size) => size.dim.symbols(),
        _ => &[],
    }
}

/// The part of a graph that a value is computed by, when no source is in it.
fn without_sources(graph: &Graph, value: Value) -> Option<Graph> {
    let mut needed = vec![value];
    let mut at = 0;
    while at < needed.len() {
        let node = graph.node(needed[at]);
        if matches!(node.op, Op::Source(_) | Op::Scan(_)) {
            return None;
        }
        let new: Vec<Value> = node.args.iter().copied().filter(|arg| !needed.contains(arg)).collect();
        needed.extend(new);
        at += 1;
    }
    needed.sort_unstable();
    let (mut small, mut new) = (Graph::default(), BTreeMap::new());
    for value in needed {
        let node = graph.node(value);
        let args: Vec<Value> = node.args.iter().map(|arg| new[arg]).collect();
        new.insert(value, small.push(node.op.clone(), &args, None).ok()?);
    }
    Some(small)
}
