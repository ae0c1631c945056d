//! A state that is a product becomes the product's operand, so that a step begins with the product instead of ending
//! with it, and the rest of the step can be its epilogue. So it is on the way back through a recurrent layer.

use std::collections::{BTreeMap, BTreeSet};

use super::{Class, Loop, Wanted, rewrite};
use crate::graph::{Graph, Output, Value, Var};
use crate::index::IndexVec;
use crate::ops::{Op, Role, Source};
use crate::types::Dim;

/// Carries `p` instead of `s`, where `s' = p @ W` with `W` the same at every step and `s` begins as 0.
pub fn rotate(graph: &Graph) -> Graph {
    rewrite(graph, rotate_loop)
}

/// A state whose next value is a product.
struct Turned {
    state: usize,
    product: Value,
    operand: Value,
}

fn rotate_loop(mut parts: Loop<'_>) -> Vec<Var<'_>> {
    let turned = turned(&parts);
    if turned.is_empty() {
        return parts.build(&BTreeMap::new());
    }
    // In the new body the source of the state gives way to the product of the operand that was carried.
    let body = std::mem::take(&mut parts.body);
    let mut new_body = body.successor();
    let mut new: IndexVec<Value, Value> = IndexVec::new();
    let weights: Vec<Value> = turned.iter().map(|turned| body.node(turned.product).args[1]).collect();
    // What the products need besides comes first: it depends on nothing that changes.
    let mut early: BTreeMap<Value, Value> = BTreeMap::new();
    let needs = ancestors(&body, &weights);
    for (value, node) in body.nodes().filter(|(value, _)| needs.contains(value)) {
        let args: Vec<Value> = node.args.iter().map(|arg| early[arg]).collect();
        early.insert(value, push(&mut new_body, node.op.clone(), &args, node.origin));
    }
    let names: Vec<String> = turned.iter().map(|turned| format!("{} operand", parts.states[turned.state].0)).collect();
    for (value, node) in body.nodes() {
        let name = match &node.op {
            Op::Source(source) => Some(&source.name),
            _ => None,
        };
        let at = name.and_then(|name| turned.iter().position(|turned| parts.states[turned.state].0 == *name));
        new.push(match (early.get(&value), at) {
            (Some(&known), _) => known,
            (None, Some(at)) => {
                let Turned { product, operand, .. } = turned[at];
                let ty = body.ty(operand).clone();
                let source = Source { role: Role::Local, name: names[at].clone(), ty };
                let carried = push(&mut new_body, source.into(), &[], None);
                let product = body.node(product);
                push(&mut new_body, product.op.clone(), &[carried, early[&product.args[1]]], product.origin)
            }
            (None, None) => {
                let args: Vec<Value> = node.args.iter().map(|&arg| new[arg]).collect();
                push(&mut new_body, node.op.clone(), &args, node.origin)
            }
        });
    }
    for (number, output) in body.outputs.iter().enumerate() {
        let next = turned.iter().find(|turned| turned.state == number).map_or(output.value, |turned| turned.operand);
        new_body.outputs.push(Output { value: new[next], ..output.clone() });
    }
    let builder = parts.builder;
    for (turned, name) in turned.iter().zip(names) {
        let zero = builder.constant(0.0, body.ty(turned.operand).clone());
        parts.states[turned.state] = (name, zero);
    }
    parts.body = new_body;
    let mut results = parts.build(&BTreeMap::new());
    // The state itself, after the last step.
    for (wanted, result) in parts.results.iter().zip(&mut results) {
        let Wanted::Final(state) = *wanted else { continue };
        if let Some(at) = turned.iter().position(|turned| turned.state == state) {
            let mut outside: BTreeMap<Value, Var<'_>> = BTreeMap::new();
            for (value, node) in body.nodes().filter(|(value, _)| needs.contains(value)) {
                let args: Vec<Var<'_>> = node.args.iter().map(|arg| outside[arg]).collect();
                let var = match &node.op {
                    Op::Source(source) => parts.argument(&source.name).var(),
                    op => builder.emit(op.clone(), &args),
                };
                outside.insert(value, var);
            }
            let product = body.node(turned[at].product);
            *result = builder.emit(product.op.clone(), &[*result, outside[&product.args[1]]]);
        }
    }
    results
}

fn push(graph: &mut Graph, op: Op, args: &[Value], origin: Option<crate::graph::Origin>) -> Value {
    graph.push(op, args, origin).unwrap_or_else(|message| panic!("of the same types as before: {message}"))
}

fn turned(parts: &Loop<'_>) -> Vec<Turned> {
    let body = &parts.body;
    let classes = parts.classes();
    let uses = body.use_counts();
    (0..parts.states.len())
        .filter_map(|state| {
            let product = parts.next(state);
            let node = body.node(product);
            let Op::MatMul(matmul) = node.op else { return None };
            let [operand, weight] = node.args[..] else { return None };
            let (name, initial) = &parts.states[state];
            let begins_as_zero = parts.builder.with_node(initial.id, |node| match &node.op {
                Op::Constant(constant) => constant.value == 0.0,
                _ => false,
            });
            let source = parts.source(name)?;
            // An operand that nothing else computes with would be kept for this alone.
            let good = classes[weight] == Class::Invariant && classes[operand] == Class::Stateful && begins_as_zero;
            let alone = uses[product] == 1 && !matmul.transpose[0] && source != operand;
            (good && alone && body.ty(product).shape[0] != Dim::ONE).then_some(Turned { state, product, operand })
        })
        .collect()
}

/// The values, and all that they are computed from.
fn ancestors(body: &Graph, values: &[Value]) -> BTreeSet<Value> {
    let mut known = BTreeSet::new();
    let mut open = values.to_vec();
    while let Some(value) = open.pop() {
        if known.insert(value) {
            open.extend(&body.node(value).args);
        }
    }
    known
}
