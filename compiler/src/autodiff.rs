//! Reverse-mode differentiation: appends the backward pass to a graph, in one walk from the loss back.

mod recurrence;

use std::collections::BTreeMap;

use crate::graph::{Builder, Value, Var};
use crate::index::{Id, IndexVec};
use crate::ops::Op;

/// The gradients of `loss` with respect to each of `wrt`, with the types of these.
///
/// Only what lies between `wrt` and the loss is differentiated; a node's cotangents carry its origin.
pub fn gradient<'b>(builder: &'b Builder, loss: Var<'b>, wrt: &[Value]) -> Vec<Var<'b>> {
    let outer = builder.set_origin(builder.node(loss.id).origin);
    let one = builder.full_like(loss, 1.0);
    let cotangents = pull_back(builder, &[(loss, one)], wrt);
    builder.set_origin(outer);
    let zero = |value: Value| builder.full_like(builder.var(value), 0.0);
    wrt.iter().zip(cotangents).map(|(&value, ct)| ct.unwrap_or_else(|| zero(value))).collect()
}

/// The cotangents of `wrt`, from those of other values; `None` where no gradient flows. Each of `wrt` is taken as
/// given: no gradient flows through it to another.
fn pull_back<'b>(builder: &'b Builder, seeds: &[(Var<'b>, Var<'b>)], wrt: &[Value]) -> Vec<Option<Var<'b>>> {
    let Some(last) = seeds.iter().map(|(value, _)| value.id).max() else { return vec![None; wrt.len()] };
    let depends = dependents(builder, last, wrt);
    let groups = recurrence::groups(builder, &depends);
    let mut cotangents = Cotangents(IndexVec::filled(None, last.index() + 1));
    for &(value, ct) in seeds {
        cotangents.add(value.id, ct);
    }
    let outer = builder.set_origin(None);
    for y in depends.ids().rev().filter(|&y| depends[y] && !wrt.contains(&y)) {
        if let Some(results) = groups.get(&y) {
            let cts: BTreeMap<Value, Var<'b>> =
                results.iter().filter_map(|&result| Some((result, cotangents.of(result)?))).collect();
            for (arg, dx) in recurrence::pull_back_scan(builder, &cts, &depends) {
                cotangents.add(arg, dx);
            }
            continue;
        }
        let Some(ct) = cotangents.of(y) else { continue };
        let node = builder.node(y);
        if let Op::Scan(_) = node.op {
            // With the first result of its recurrence.
            continue;
        }
        builder.set_origin(node.origin);
        let x: Vec<Var<'b>> = node.args.iter().map(|&arg| builder.var(arg)).collect();
        for (arg, x_arg) in x.iter().enumerate().filter(|(_, x_arg)| depends[x_arg.id]) {
            if let Some(dx) = node.op.vjp(arg, &x, builder.var(y), ct) {
                cotangents.add(x_arg.id, dx);
            }
        }
    }
    builder.set_origin(outer);
    wrt.iter().map(|&value| cotangents.of(value)).collect()
}

/// The sum of what has come to each value so far.
struct Cotangents<'b>(IndexVec<Value, Option<Var<'b>>>);

impl<'b> Cotangents<'b> {
    fn add(&mut self, value: Value, ct: Var<'b>) {
        let sum = &mut self.0[value];
        *sum = Some(sum.map_or(ct, |sum| sum + ct));
    }
    fn of(&self, value: Value) -> Option<Var<'b>> {
        self.0.get(value).copied().flatten()
    }
}

/// Which of the values up to `last` depend on one of `wrt`.
fn dependents(builder: &Builder, last: Value, wrt: &[Value]) -> IndexVec<Value, bool> {
    let mut depends = IndexVec::filled(false, last.index() + 1);
    for &value in wrt.iter().filter(|&&value| value <= last) {
        depends[value] = true;
    }
    for value in depends.ids() {
        let through_args = builder.with_node(value, |node| node.args.iter().any(|&arg| depends[arg]));
        depends[value] |= through_args;
    }
    depends
}

#[cfg(test)]
mod tests {
    use super::gradient;
    use crate::graph::Builder;
    use crate::ops::Role;
    use crate::types::{Dim, TensorType};

    #[test]
    fn only_what_is_asked_for_is_built() {
        let builder = Builder::default();
        let x = builder.source(Role::Input, "x", TensorType::f32([Dim::batch(), Dim::fixed(3)]));
        let w = builder.source(Role::Param, "w", TensorType::f32([3]));
        builder.set_origin(Some(builder.add_origin("layer")));
        let loss = (x * w).sum(&[0, 1]);
        builder.set_origin(None);
        gradient(&builder, loss, &[w.id]);
        let expected = "\
%0: f32[B, 3] = input x
%1: f32[3] = param w
%2: f32[1, 3] = reshape(%1)   # layer
%3: f32[B, 3] = broadcast(%2)   # layer
%4: f32[B, 3] = mul(%0, %3)   # layer
%5: f32[1, 1] = sum(%4) over 0, 1   # layer
%6: f32[1, 1] = 1   # layer
%7: f32[B, 3] = broadcast(%6)   # layer
%8: f32[B, 3] = mul(%7, %0)   # layer
%9: f32[1, 3] = sum(%8) over 0   # layer
%10: f32[3] = reshape(%9)   # layer
";
        assert_eq!(builder.finish().to_string(), expected);
    }

    #[test]
    fn what_does_not_matter_has_no_gradient() {
        let builder = Builder::default();
        let x = builder.source(Role::Param, "x", TensorType::scalar());
        let loss = x + x * x;
        let later = builder.source(Role::Param, "y", TensorType::f32([2]));
        let grads = gradient(&builder, loss, &[later.id, x.id]);
        assert_eq!(grads[0].ty(), later.ty());
        assert_eq!(grads[1].ty(), x.ty());
    }
}
