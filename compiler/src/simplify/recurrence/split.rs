//! The product of a join becomes a sum of products, so that the part that no state enters can leave the loop.

use std::collections::BTreeMap;

use super::{Class, Loop, rewrite};
use crate::graph::{Builder, Graph, Output, Value, Var};
use crate::index::IndexVec;
use crate::kernel::BinaryFn;
use crate::ops::{Binary, Concat, Convolution, Direction, MatMul, Op};
use crate::types::Dim;

/// `[x, h] @ W == x @ W1 + h @ W2`, and the same for convolutions, in the bodies of all recurrences.
pub fn split(graph: &Graph) -> Graph {
    rewrite(graph, |mut parts| {
        parts.body = split_body(&parts);
        parts.build(&BTreeMap::new())
    })
}

fn split_body(parts: &Loop<'_>) -> Graph {
    let body = &parts.body;
    let classes = parts.classes();
    let builder = Builder::from_graph(body.successor());
    let mut cx = Split { body, builder: &builder, classes: &classes, new: IndexVec::new() };
    for (value, node) in body.nodes() {
        builder.set_origin(node.origin);
        let built = cx.node(value);
        cx.new.push(built);
    }
    let outputs: Vec<Output> =
        body.outputs.iter().map(|output| Output { value: cx.new[output.value].whole().id, ..output.clone() }).collect();
    drop(cx);
    outputs.into_iter().for_each(|output| builder.add_output(output));
    builder.finish()
}

/// A value of the new body: one, or the sum of what depends on a state and what does not.
#[derive(Debug, Clone, Copy)]
enum Built<'b> {
    One(Var<'b>),
    Sum { stateful: Var<'b>, other: Var<'b> },
}

impl<'b> Built<'b> {
    fn whole(self) -> Var<'b> {
        match self {
            Built::One(var) => var,
            Built::Sum { stateful, other } => stateful + other,
        }
    }
}

struct Split<'a, 'b> {
    body: &'a Graph,
    builder: &'b Builder,
    classes: &'a IndexVec<Value, Class>,
    new: IndexVec<Value, Built<'b>>,
}

impl<'b> Split<'_, 'b> {
    fn node(&mut self, value: Value) -> Built<'b> {
        let node = self.body.node(value);
        match (&node.op, node.args.as_slice()) {
            (Op::MatMul(product), &[left, right]) if self.classes[right] == Class::Invariant => {
                if !product.transpose[0]
                    && let Some(sum) = self.product(*product, left, right)
                {
                    return sum;
                }
            }
            (Op::Convolution(convolution), &[x, weight])
                if convolution.direction == Direction::Forward
                    && convolution.groups == 1
                    && self.classes[weight] == Class::Invariant =>
            {
                if let Some(sum) = self.convolution(convolution, x, weight) {
                    return sum;
                }
            }
            // (stateful + other) + more == stateful + (other + more)
            (Op::Binary(Binary(BinaryFn::Add)), &[a, b]) => {
                for (sum, more) in [(a, b), (b, a)] {
                    if let Built::Sum { stateful, other } = self.new[sum]
                        && self.classes[more] != Class::Stateful
                    {
                        return Built::Sum { stateful, other: other + self.new[more].whole() };
                    }
                }
            }
            (Op::Reshape(reshape), &[x]) => {
                if let Built::Sum { stateful, other } = self.new[x] {
                    return Built::Sum { stateful: stateful.reshape(&reshape.to), other: other.reshape(&reshape.to) };
                }
            }
            _ => {}
        }
        let args: Vec<Var<'b>> = node.args.iter().map(|&arg| self.new[arg].whole()).collect();
        Built::One(self.builder.emit(node.op.clone(), &args))
    }

    fn product(&self, product: MatMul, left: Value, right: Value) -> Option<Built<'b>> {
        // Rows of several axes were made one before the product.
        let joined = match &self.body.node(left).op {
            Op::Reshape(_) => {
                let inner = self.body.node(left).args[0];
                let (from, to) = (&self.body.ty(inner).shape, &self.body.ty(left).shape);
                (from.last() == to.last()).then_some(inner)?
            }
            _ => left,
        };
        let axis = self.body.ty(joined).rank() - 1;
        let rows = self.body.ty(left).shape[0].clone();
        let weight = self.new[right].whole();
        let axis_of_weight = usize::from(product.transpose[1]);
        self.parts(joined, axis, |x, start, n| {
            let x = x.reshape(&[rows.clone(), n.clone()]);
            self.builder.emit(product, &[x, weight.slice(axis_of_weight, start, n)])
        })
    }

    fn convolution(&self, convolution: &Convolution, x: Value, weight: Value) -> Option<Built<'b>> {
        let weight = self.new[weight].whole();
        self.parts(x, 1, |x, start, n| self.builder.emit(convolution.clone(), &[x, weight.slice(1, start, n)]))
    }

    /// What `each` makes of the parts of a join along `axis`, when some depend on a state and others do not.
    fn parts(&self, joined: Value, axis: usize, each: impl Fn(Var<'b>, usize, Dim) -> Var<'b>) -> Option<Built<'b>> {
        let node = self.body.node(joined);
        let Op::Concat(Concat { axis: along }) = node.op else { return None };
        let is_stateful = |value: &Value| self.classes[*value] == Class::Stateful;
        if along != axis || node.args.iter().all(is_stateful) || !node.args.iter().any(is_stateful) {
            return None;
        }
        let mut sums: [Option<Var<'b>>; 2] = [None, None];
        let mut start = 0;
        for run in node.args.chunk_by(|a, b| is_stateful(a) == is_stateful(b)) {
            let vars: Vec<Var<'b>> = run.iter().map(|&value| self.new[value].whole()).collect();
            let part = Var::concat(&vars, axis).expect("parts of a join can be joined");
            let n = part.shape()[axis].clone();
            let product = each(part, start, n.clone());
            start += n.as_fixed().expect("joins are along fixed sizes");
            let sum = &mut sums[usize::from(is_stateful(&run[0]))];
            *sum = Some(sum.map_or(product, |sum| sum + product));
        }
        let [other, stateful] = sums;
        Some(Built::Sum { stateful: stateful?, other: other? })
    }
}
