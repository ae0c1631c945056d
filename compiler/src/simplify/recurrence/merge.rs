//! Products of one operand become one product, whose result is cut into theirs.

use std::collections::BTreeMap;

use super::{Class, Loop, rewrite};
use crate::graph::{Builder, Graph, Output, Value, Var};
use crate::index::IndexVec;
use crate::kernel::BinaryFn;
use crate::ops::{Binary, Direction, Op};
use crate::types::Dim;

/// `x @ A, x @ B` become parts of `x @ [A, B]`, and the same for convolutions, in the bodies of all recurrences; with
/// them what is added to each and is the same at every step.
pub fn merge(graph: &Graph) -> Graph {
    rewrite(graph, |mut parts| {
        parts.body = merge_body(&parts);
        parts.build(&BTreeMap::new())
    })
}

/// Products of the same operand.
struct Group {
    products: Vec<Value>,
    /// The sum of each with something that is the same at every step, when each has one and no other use.
    sums: Option<Vec<(Value, Value)>>,
}

fn merge_body(parts: &Loop<'_>) -> Graph {
    let body = &parts.body;
    let classes = parts.classes();
    let groups = groups(body, &classes);
    let builder = Builder::from_graph(body.successor());
    let mut cx = Merge { body, builder: &builder, new: IndexVec::filled(None, body.len()) };
    for (value, node) in body.nodes() {
        if cx.new[value].is_some() {
            continue;
        }
        builder.set_origin(node.origin);
        match groups.iter().find(|group| group.products.contains(&value)) {
            Some(group) => cx.group(group),
            None => {
                cx.value(value);
            }
        }
    }
    for output in &body.outputs {
        builder.add_output(Output { value: cx.value(output.value).id, ..output.clone() });
    }
    drop(cx);
    builder.finish()
}

/// The products that may become one, at least two in each group.
fn groups(body: &Graph, classes: &IndexVec<Value, Class>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (value, node) in body.nodes() {
        let can = match &node.op {
            Op::MatMul(product) => !product.transpose[0] && body.ty(value).rank() == 2,
            Op::Convolution(convolution) => convolution.direction == Direction::Forward && convolution.groups == 1,
            _ => false,
        };
        let is_fixed = |value: Value| body.ty(value).shape.iter().all(|dim| dim.as_fixed().is_some());
        if !can || classes[node.args[1]] != Class::Invariant || !is_fixed(node.args[1]) {
            continue;
        }
        let same = |group: &&mut Group| {
            let first = body.node(group.products[0]);
            first.op == node.op && first.args[0] == node.args[0]
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.products.push(value),
            None => groups.push(Group { products: vec![value], sums: None }),
        }
    }
    groups.retain(|group| group.products.len() > 1);
    let mut users: IndexVec<Value, Vec<Value>> = IndexVec::filled(Vec::new(), body.len());
    for (user, node) in body.nodes() {
        node.args.iter().for_each(|&arg| users[arg].push(user));
    }
    for output in &body.outputs {
        users[output.value].push(output.value);
    }
    for group in &mut groups {
        let sum = |&product: &Value| {
            let [user] = users[product][..] else { return None };
            let node = body.node(user);
            let Op::Binary(Binary(BinaryFn::Add)) = node.op else { return None };
            let other = *node.args.iter().find(|&&arg| arg != product)?;
            // A vector along the columns or channels, repeated for all else.
            let Op::Broadcast(_) = body.node(other).op else { return None };
            let vector = body.node(other).args[0];
            let shape = &body.ty(vector).shape;
            let is_vector = shape.iter().enumerate().all(|(axis, dim)| axis == 1 || dim.is_one());
            let fits = is_vector && shape[1] == body.ty(product).shape[1] && classes[vector] == Class::Invariant;
            fits.then_some((user, vector))
        };
        group.sums = group.products.iter().map(sum).collect();
    }
    groups
}

struct Merge<'a, 'b> {
    body: &'a Graph,
    builder: &'b Builder,
    new: IndexVec<Value, Option<Var<'b>>>,
}

impl<'b> Merge<'_, 'b> {
    /// The new value; what it needs is built first. Recurses no deeper than what is the same at every step.
    fn value(&mut self, value: Value) -> Var<'b> {
        if let Some(var) = self.new[value] {
            return var;
        }
        let node = self.body.node(value);
        let args: Vec<Var<'b>> = node.args.iter().map(|&arg| self.value(arg)).collect();
        let var = self.builder.emit(node.op.clone(), &args);
        self.new[value] = Some(var);
        var
    }
    fn group(&mut self, group: &Group) {
        let first = self.body.node(group.products[0]);
        let weights: Vec<Var<'b>> =
            group.products.iter().map(|&product| self.value(self.body.node(product).args[1])).collect();
        // The axis of the weight that becomes columns or channels of the result.
        let axis = match &first.op {
            Op::MatMul(product) => usize::from(!product.transpose[1]),
            _ => 0,
        };
        let weight = Var::concat(&weights, axis).expect("weights of one operand differ along their columns alone");
        let operand = self.value(first.args[0]);
        let mut whole = self.builder.emit(first.op.clone(), &[operand, weight]);
        let mut members = group.products.clone();
        if let Some(sums) = &group.sums {
            let vectors: Vec<Var<'b>> = sums.iter().map(|&(_, vector)| self.value(vector)).collect();
            whole = whole + Var::concat(&vectors, 1).expect("vectors can be joined");
            members = sums.iter().map(|&(sum, _)| sum).collect();
        }
        let mut start = 0;
        for member in members {
            let n = self.body.ty(member).shape[1].as_fixed().expect("weights have fixed sizes");
            self.new[member] = Some(whole.slice(1, start, Dim::fixed(n)));
            start += n;
        }
        // Where the sums have taken over, nothing reads the products; they are left to dead code.
        for &product in &group.products {
            self.new[product].get_or_insert(whole);
        }
    }
}
