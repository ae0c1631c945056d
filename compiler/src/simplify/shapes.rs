//! Laws of reductions and of what moves elements without computing.

use super::Rewriter;
use crate::graph::{Arguments, Value};
use crate::kernel::{BinaryFn, Combine, CompareFn, UnaryFn};
use crate::ops::{Binary, Broadcast, Compare, Concat, MatMul, Op, Pad, Reduce, Reshape, Slice, Transpose, Unary};
use crate::types::{Dim, TensorType, product};

pub(super) fn rewrite(cx: &mut Rewriter, op: &Op, args: &[Value]) -> Option<Value> {
    match op {
        Op::Reduce(reduce) => reduction(cx, reduce, args[0]),
        Op::Broadcast(broadcast) => broadcasting(cx, broadcast, args[0]),
        Op::Reshape(reshape) => reshaping(cx, reshape, args[0]),
        Op::Transpose(transpose) => transposition(cx, transpose, args[0]),
        Op::Slice(slice) => slicing(cx, slice, args[0]),
        // pad(x) by nothing == x
        Op::Pad(Pad { axis, len, .. }) => (cx.ty(args[0]).shape[*axis] == *len).then_some(args[0]),
        // concat(x) == x
        Op::Concat(_) if args.len() == 1 => Some(args[0]),
        // concat(concat(x, y), z) == concat(x, y, z)
        Op::Concat(concat) => {
            let inner = |&arg: &Value| match &cx.node(arg).op {
                Op::Concat(inner) if inner == concat => cx.node(arg).args.clone(),
                _ => [arg].into_iter().collect(),
            };
            let parts: Arguments = args.iter().flat_map(inner).collect();
            (parts.len() > args.len()).then(|| cx.apply(concat.clone(), parts))
        }
        Op::MatMul(product) => matmul(cx, *product, args[0], args[1]),
        _ => None,
    }
}

fn reduction(cx: &mut Rewriter, reduce: &Reduce, x: Value) -> Option<Value> {
    let Reduce { combine, axes } = reduce;
    let shape = cx.ty(x).shape.clone();
    // sum over an axis of length one == x
    let long: Vec<usize> = axes.iter().copied().filter(|&axis| !shape[axis].is_one()).collect();
    if long.is_empty() {
        return Some(x);
    }
    if long.len() < axes.len() {
        return Some(cx.apply(Reduce { combine: *combine, axes: long }, [x]));
    }
    let node = cx.node(x);
    let inner = node.args.first().copied();
    match &node.op {
        // sum over a of sum over b == sum over a and b
        Op::Reduce(first) if first.combine == *combine => {
            let mut all = [axes.as_slice(), &first.axes].concat();
            all.sort_unstable();
            all.dedup();
            Some(cx.apply(Reduce { combine: *combine, axes: all }, [inner?]))
        }
        Op::Broadcast(broadcast) => reduced_broadcast(cx, reduce, &broadcast.clone(), inner?),
        Op::Binary(Binary(BinaryFn::Mul)) if *combine == Combine::Sum && node.args[0] == node.args[1] => {
            squares_of_join(cx, axes, inner?)
        }
        Op::Compare(Compare(CompareFn::Eq)) if *combine == Combine::Sum => one_hot_sum(cx, axes, x),
        // sum(spread(d, chosen)) over all pixels == sum(d) over all windows: each of numbers has chosen one
        Op::WindowSpread(_) if *combine == Combine::Sum && node.args.len() == 2 && axes.ends_with(&[2, 3]) => {
            Some(cx.apply(reduce.clone(), [inner?]))
        }
        // sum(-x) == -sum(x)
        Op::Unary(Unary(UnaryFn::Neg)) if *combine == Combine::Sum => {
            let sum = cx.apply(reduce.clone(), [inner?]);
            Some(cx.apply(Unary(UnaryFn::Neg), [sum]))
        }
        // sum(x * c) == sum(x) * c and sum(x / c) == sum(x) / c, where c is the same along the axes summed
        Op::Binary(Binary(function @ (BinaryFn::Mul | BinaryFn::Div))) if *combine == Combine::Sum => {
            let (function, args) = (*function, node.args.clone());
            let reduced = cx.ty(x).reduced(axes).shape;
            let (function, x, c) = match [0, 1].map(|i| same_along(cx, args[i], axes, &reduced)) {
                [_, Some(c)] => (function, args[0], c),
                [Some(c), None] if function == BinaryFn::Mul => (function, args[1], c),
                // sum(x * c * y) == sum(x * y) * c
                _ if function == BinaryFn::Mul => {
                    let (inner, x, c, y) =
                        [(args[0], args[1]), (args[1], args[0])].into_iter().find_map(|(xc, y)| {
                            let (function, x, c) = scaled(cx, xc, axes, &reduced)?;
                            Some((function, x, c, y))
                        })?;
                    (inner, cx.apply(Binary(BinaryFn::Mul), [x, y]), c)
                }
                _ => return None,
            };
            let sum = cx.apply(reduce.clone(), [x]);
            Some(cx.apply(Binary(function), [sum, c]))
        }
        // sum of n times c == c * n, where n is known at run time only
        Op::Constant(constant) if *combine == Combine::Sum => {
            let (value, reduced) = (constant.value, cx.ty(x).reduced(axes));
            let c = cx.constant(value, reduced.clone());
            let n = cx.size(&count(&shape, axes), &reduced.shape);
            Some(cx.apply(Binary(BinaryFn::Mul), [c, n]))
        }
        _ => None,
    }
}

/// `x` and `c` of a value `x * c` or `x / c`, where `c` is the same all along `axes`.
fn scaled(cx: &mut Rewriter, value: Value, axes: &[usize], reduced: &[Dim]) -> Option<(BinaryFn, Value, Value)> {
    let Op::Binary(Binary(function @ (BinaryFn::Mul | BinaryFn::Div))) = cx.node(value).op else { return None };
    let (a, b) = (cx.node(value).args[0], cx.node(value).args[1]);
    if let Some(c) = same_along(cx, b, axes, reduced) {
        return Some((function, a, c));
    }
    let c = (function == BinaryFn::Mul).then(|| same_along(cx, a, axes, reduced))??;
    Some((function, b, c))
}

/// A value that is the same all along `axes`, in the shape that is left of it when they are reduced.
fn same_along(cx: &mut Rewriter, value: Value, axes: &[usize], reduced: &[Dim]) -> Option<Value> {
    let node = cx.node(value);
    match &node.op {
        Op::Constant(constant) => {
            let (value, ty) = (constant.value, cx.ty(value).with_shape(reduced.to_vec()));
            Some(cx.constant(value, ty))
        }
        Op::Broadcast(_) => {
            let from = node.args[0];
            let shape = &cx.ty(from).shape;
            let is_same = axes.iter().all(|&axis| shape[axis].is_one());
            let fits = shape.as_slice() == reduced;
            is_same.then(|| if fits { from } else { cx.apply(Broadcast { to: reduced.to_vec() }, [from]) })
        }
        _ => None,
    }
}

/// The squares of a join add up to those of its parts, which are known where they are made.
fn squares_of_join(cx: &mut Rewriter, axes: &[usize], join: Value) -> Option<Value> {
    let node = cx.node(join);
    let Op::Concat(Concat { axis, .. }) = &node.op else { return None };
    if !axes.contains(axis) {
        return None;
    }
    let parts = node.args.clone();
    let sums = parts.iter().map(|&part| {
        let square = cx.apply(Binary(BinaryFn::Mul), [part, part]);
        cx.apply(Reduce { combine: Combine::Sum, axes: axes.to_vec() }, [square])
    });
    let sums: Vec<Value> = sums.collect();
    Some(sums[1..].iter().fold(sums[0], |sum, &next| cx.apply(Binary(BinaryFn::Add), [sum, next])))
}

/// sum(position == k), along the axis that the position goes along, is 1 if there is a position k, else 0.
fn one_hot_sum(cx: &mut Rewriter, axes: &[usize], x: Value) -> Option<Value> {
    let &[axis] = axes else { return None };
    let args = cx.node(x).args.clone();
    let through = |cx: &Rewriter, value: Value| match &cx.node(value).op {
        Op::Broadcast(_) => cx.node(value).args[0],
        _ => value,
    };
    let [position, wanted] = [args[0], args[1]].map(|value| through(cx, value));
    let Op::Convert(_) = cx.node(position).op else { return None };
    let iota = cx.node(position).args[0];
    let is_along = matches!(&cx.node(iota).op, Op::Iota(iota) if iota.axis == axis);
    let shape = cx.ty(wanted).shape.clone();
    let is_same = shape[axis].is_one() && cx.ty(iota).shape.len() == shape.len();
    if !is_along || !is_same {
        return None;
    }
    let mut to = cx.ty(x).shape.clone();
    let n = cx.size(&to[axis].clone(), &shape);
    to[axis] = Dim::ONE;
    let zero = cx.constant(0.0, TensorType::f32(shape.clone()));
    let mut conditions = vec![(CompareFn::Ge, zero), (CompareFn::Lt, n)];
    let made_of = match cx.node(wanted).op {
        Op::Reshape(_) => cx.node(wanted).args[0],
        _ => wanted,
    };
    if !matches!(cx.node(made_of).op, Op::Convert(_)) {
        conditions.push((CompareFn::Eq, cx.apply(Unary(UnaryFn::Floor), [wanted])));
    }
    let holds: Vec<Value> =
        conditions.into_iter().map(|(function, other)| cx.apply(Compare(function), [wanted, other])).collect();
    let all = holds[1..].iter().fold(holds[0], |all, &next| cx.apply(Binary(BinaryFn::Mul), [all, next]));
    Some(if shape == to { all } else { cx.apply(Broadcast { to }, [all]) })
}

/// sum(broadcast(x)) == broadcast(sum(x) * n), where n is how often each element is repeated along the axes summed;
/// max(broadcast(x)) == broadcast(max(x)), if n is not 0.
fn reduced_broadcast(cx: &mut Rewriter, reduce: &Reduce, broadcast: &Broadcast, x: Value) -> Option<Value> {
    let combine = reduce.combine;
    let stretched = broadcast.stretched(&cx.ty(x).shape);
    let (repeated, rest): (Vec<usize>, Vec<usize>) = reduce.axes.iter().partition(|axis| stretched.contains(axis));
    if repeated.is_empty() {
        return None;
    }
    let n = count(&broadcast.to, &repeated);
    let mut to = broadcast.to.clone();
    for &axis in &reduce.axes {
        to[axis] = Dim::ONE;
    }
    match combine {
        Combine::Sum => {
            let sum = cx.apply(Reduce { combine, axes: rest }, [x]);
            let shape = cx.ty(sum).shape.clone();
            let n = cx.size(&n, &shape);
            let sum = cx.apply(Binary(BinaryFn::Mul), [sum, n]);
            Some(cx.apply(Broadcast { to }, [sum]))
        }
        Combine::Max | Combine::Min if n.as_fixed().is_some_and(|n| n > 0) => {
            let extreme = cx.apply(Reduce { combine, axes: rest }, [x]);
            Some(cx.apply(Broadcast { to }, [extreme]))
        }
        Combine::Max | Combine::Min => None,
    }
}

fn count(shape: &[Dim], axes: &[usize]) -> Dim {
    product(&axes.iter().map(|&axis| shape[axis].clone()).collect::<Vec<_>>())
}

fn broadcasting(cx: &mut Rewriter, broadcast: &Broadcast, x: Value) -> Option<Value> {
    let node = cx.node(x);
    match &node.op {
        // broadcast(x) to its own shape == x
        _ if node.ty.shape == broadcast.to => Some(x),
        // broadcast(broadcast(x)) == broadcast(x)
        Op::Broadcast(_) => {
            let inner = node.args[0];
            Some(cx.apply(broadcast.clone(), [inner]))
        }
        _ => None,
    }
}

fn reshaping(cx: &mut Rewriter, reshape: &Reshape, x: Value) -> Option<Value> {
    let node = cx.node(x);
    match &node.op {
        // reshape(x) to its own shape == x
        _ if node.ty.shape == reshape.to => Some(x),
        // reshape(reshape(x)) == reshape(x)
        Op::Reshape(_) => {
            let inner = node.args[0];
            Some(cx.apply(reshape.clone(), [inner]))
        }
        // reshape(broadcast(x)) == broadcast(reshape(x)) where it only adds leading axes of length one
        Op::Broadcast(broadcast) => {
            let n = reshape.to.len().checked_sub(broadcast.to.len())?;
            let (lead, rest) = reshape.to.split_at(n);
            if rest != broadcast.to || !lead.iter().all(Dim::is_one) {
                return None;
            }
            let inner = node.args[0];
            let to = [lead, &cx.ty(inner).shape].concat();
            let inner = cx.apply(Reshape { to }, [inner]);
            Some(cx.apply(Broadcast { to: reshape.to.clone() }, [inner]))
        }
        _ => None,
    }
}

fn transposition(cx: &mut Rewriter, transpose: &Transpose, x: Value) -> Option<Value> {
    let node = cx.node(x);
    let shape = &node.ty.shape;
    if let Op::Transpose(first) = &node.op {
        // transpose(transpose(x)) == transpose(x) by both orders
        let order = transpose.order.iter().map(|&axis| first.order[axis]).collect();
        let inner = node.args[0];
        return Some(cx.apply(Transpose { order }, [inner]));
    }
    // Where all axes but those of length one keep their order, transpose(x) == reshape(x).
    let long = transpose.order.iter().filter(|&&axis| !shape[axis].is_one());
    let to = || transpose.order.iter().map(|&axis| shape[axis].clone()).collect();
    long.is_sorted().then(to).map(|to| cx.apply(Reshape { to }, [x]))
}

fn slicing(cx: &mut Rewriter, slice: &Slice, x: Value) -> Option<Value> {
    let Slice { axis, start, len } = slice.clone();
    let node = cx.node(x);
    let inner = node.args.first().copied();
    match &node.op {
        // All of x.
        _ if node.ty.shape[axis] == len => Some(x),
        // slice(slice(x)) == slice(x)
        Op::Slice(first) if first.axis == axis => {
            let start = first.start + start;
            Some(cx.apply(Slice { axis, start, len }, [inner?]))
        }
        // slice(pad(x)) == x where it takes away just the zeros
        Op::Pad(pad) if pad.axis == axis && pad.before == start && cx.ty(inner?).shape[axis] == len => inner,
        // slice(concat(…, x, …)) == slice(x) where it lies within one part
        Op::Concat(Concat { axis: joined }) if *joined == axis => {
            let len = len.as_fixed()?;
            let mut before = 0;
            let part = node.args.iter().find_map(|&part| {
                let n = cx.ty(part).shape[axis].as_fixed()?;
                let within = start.checked_sub(before).filter(|within| within + len <= n);
                before += n;
                Some((part, within?))
            });
            let (part, start) = part?;
            Some(cx.apply(Slice { axis, start, len: Dim::fixed(len) }, [part]))
        }
        _ => None,
    }
}

/// pad(a) + pad(b) == pad(concat(a, b)), where one begins as the other ends: the gradients of neighboring slices.
pub(super) fn sum_of_pads(cx: &mut Rewriter, a: Value, b: Value) -> Option<Value> {
    let part = |value: Value| match &cx.node(value).op {
        Op::Pad(pad) => {
            let inner = cx.node(value).args[0];
            let n = cx.ty(inner).shape[pad.axis].as_fixed()?;
            Some((pad.clone(), inner, n))
        }
        _ => None,
    };
    let ((first, a, n_a), (second, b, n_b)) = (part(a)?, part(b)?);
    let (pad, parts) = match () {
        () if first.axis != second.axis || first.len != second.len => return None,
        () if first.before + n_a == second.before => (first, vec![a, b]),
        () if second.before + n_b == first.before => (second, vec![b, a]),
        () => return None,
    };
    let joined = cx.apply(Concat { axis: pad.axis }, parts);
    Some(cx.apply(pad, [joined]))
}

/// transpose(a) @ b, by the product that transposes itself.
fn matmul(cx: &mut Rewriter, product: MatMul, a: Value, b: Value) -> Option<Value> {
    let mut transpose = product.transpose;
    let mut args = [a, b];
    for (arg, flag) in args.iter_mut().zip(&mut transpose) {
        let node = cx.node(*arg);
        // The axis of a batch of products stays the first.
        if matches!(&node.op, Op::Transpose(inner) if inner.order == [1, 0] || inner.order == [0, 2, 1]) {
            *arg = node.args[0];
            *flag = !*flag;
        }
    }
    (args != [a, b]).then(|| cx.apply(MatMul { transpose }, args))
}
