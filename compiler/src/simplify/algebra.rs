//! Laws of elementwise functions.

use super::{Gradients, Rewriter};
use crate::graph::Value;
use crate::kernel::{BinaryFn, UnaryFn};
use crate::ops::{Binary, Broadcast, Op, Unary};

/// Puts the arguments of a commutative function in order, constants last.
pub(super) fn order(cx: &Rewriter, op: &Op, args: &mut [Value]) {
    if matches!(op, Op::Binary(Binary(BinaryFn::Add | BinaryFn::Mul))) {
        args.sort_by_key(|&arg| (cx.constant_of(arg).is_some(), arg));
    }
}

pub(super) fn rewrite(cx: &mut Rewriter, op: &Op, args: &[Value]) -> Option<Value> {
    let simpler = match *op {
        Op::Unary(Unary(function)) => unary(cx, function, args[0]),
        Op::Binary(Binary(function)) => binary(cx, function, args[0], args[1]).or_else(|| match function {
            BinaryFn::Add => super::shapes::sum_of_pads(cx, args[0], args[1]),
            _ => None,
        }),
        Op::Select(_) => select(cx, args[0], args[1], args[2]),
        // Gradients have been derived: stop_gradient(x) == x
        Op::StopGradient(_) => return (cx.gradients == Gradients::Derived).then_some(args[0]),
        Op::Compare(_) | Op::Convert(_) => None,
        _ => return None,
    };
    simpler.or_else(|| broadcast_last(cx, op, args))
}

fn unary(cx: &mut Rewriter, function: UnaryFn, x: Value) -> Option<Value> {
    let inner = cx.node(x);
    let inner_args = inner.args.clone();
    match (function, &inner.op) {
        // -(-x) == x
        (UnaryFn::Neg, Op::Unary(Unary(UnaryFn::Neg))) => Some(inner_args[0]),
        // -(a - b) == b - a
        (UnaryFn::Neg, Op::Binary(Binary(BinaryFn::Sub))) => {
            Some(cx.apply(Binary(BinaryFn::Sub), vec![inner_args[1], inner_args[0]]))
        }
        // -(x * c) == x * -c
        (UnaryFn::Neg, Op::Binary(Binary(BinaryFn::Mul))) => {
            let factor = negated_constant(cx, inner_args[1])?;
            Some(cx.apply(Binary(BinaryFn::Mul), vec![inner_args[0], factor]))
        }
        // | |x| | == |x|, floor(floor(x)) == floor(x)
        (UnaryFn::Abs, Op::Unary(Unary(UnaryFn::Abs))) => Some(x),
        (UnaryFn::Floor, Op::Unary(Unary(UnaryFn::Floor))) => Some(x),
        // |-x| == |x|
        (UnaryFn::Abs, Op::Unary(Unary(UnaryFn::Neg))) => Some(cx.apply(Unary(UnaryFn::Abs), inner_args)),
        _ => None,
    }
}

fn binary(cx: &mut Rewriter, function: BinaryFn, a: Value, b: Value) -> Option<Value> {
    let (minus_a, minus_b) = (negated(cx, a), negated(cx, b));
    match (function, cx.constant_of(a), cx.constant_of(b)) {
        // x + 0 == x, x - 0 == x
        (BinaryFn::Add | BinaryFn::Sub, _, Some(0.0)) => Some(a),
        // 0 - x == -x
        (BinaryFn::Sub, Some(0.0), _) => Some(cx.apply(Unary(UnaryFn::Neg), [b])),
        // a + -b == a - b, a - -b == a + b
        (BinaryFn::Add, ..) if let Some(b) = minus_b => Some(cx.apply(Binary(BinaryFn::Sub), [a, b])),
        (BinaryFn::Sub, ..) if let Some(b) = minus_b => Some(cx.apply(Binary(BinaryFn::Add), [a, b])),
        // -a + b == b - a
        (BinaryFn::Add, ..) if let Some(a) = minus_a => Some(cx.apply(Binary(BinaryFn::Sub), [b, a])),
        // x * 1 == x, x / 1 == x
        (BinaryFn::Mul | BinaryFn::Div, _, Some(1.0)) => Some(a),
        // x * -1 == -x
        (BinaryFn::Mul, _, Some(-1.0)) => Some(cx.apply(Unary(UnaryFn::Neg), [a])),
        // x * 0 == 0, unless x may be infinite or NaN
        (BinaryFn::Mul, _, Some(0.0)) if is_finite(cx, a) => Some(b),
        // -a * -b == a * b, -a / -b == a / b
        (BinaryFn::Mul | BinaryFn::Div, ..) if let (Some(a), Some(b)) = (minus_a, minus_b) => {
            Some(cx.apply(Binary(function), [a, b]))
        }
        // -a * c == a * -c, -a / c == a / -c
        (BinaryFn::Mul | BinaryFn::Div, _, Some(_)) if let Some(a) = minus_a => {
            let b = negated_constant(cx, b)?;
            Some(cx.apply(Binary(function), [a, b]))
        }
        // x / c == x * (1 / c), exactly where c is a power of two
        (BinaryFn::Div, _, Some(c)) if is_power_of_two(c) => {
            let factor = cx.constant(1.0 / c, cx.ty(b).clone());
            Some(cx.apply(Binary(BinaryFn::Mul), [a, factor]))
        }
        (BinaryFn::Mul, ..) if let Some(spread) = mask_of_chosen(cx, a, b).or_else(|| mask_of_chosen(cx, b, a)) => {
            Some(spread)
        }
        // mask * mask == mask
        (BinaryFn::Mul, ..) if a == b && matches!(cx.node(a).op, Op::Compare(_)) => Some(a),
        // max(x, x) == x
        (BinaryFn::Max | BinaryFn::Min, ..) if a == b => Some(a),
        // max(max(x, c), d) == max(x, max(c, d))
        (BinaryFn::Max | BinaryFn::Min, _, Some(_)) if cx.node(a).op == Op::Binary(Binary(function)) => {
            let (x, c) = (cx.node(a).args[0], cx.node(a).args[1]);
            cx.constant_of(c)?;
            let bound = cx.apply(Binary(function), [c, b]);
            Some(cx.apply(Binary(function), [x, bound]))
        }
        _ => None,
    }
}

fn select(cx: &mut Rewriter, condition: Value, then: Value, otherwise: Value) -> Option<Value> {
    let is_mask = matches!(cx.node(condition).op, Op::Compare(_));
    match (cx.constant_of(condition), cx.constant_of(then), cx.constant_of(otherwise)) {
        // (c ? a : a) == a
        _ if then == otherwise => Some(then),
        // (0 ? a : b) == b, (1 ? a : b) == a
        (Some(0.0), ..) => Some(otherwise),
        (Some(_), ..) => Some(then),
        // (mask ? 1 : 0) == mask
        (_, Some(1.0), Some(0.0)) if is_mask => Some(condition),
        _ => None,
    }
}

/// spread(d, argmax(x, max)) * mask(x) == spread(d * mask(max), argmax(x, max)): what is chosen is the largest.
fn mask_of_chosen(cx: &mut Rewriter, spread: Value, mask: Value) -> Option<Value> {
    let [spread, mask] = [spread, mask].map(|value| cx.node(value).clone());
    let (Op::WindowSpread(_), &[d, chosen]) = (&spread.op, spread.args.as_ref()) else { return None };
    let (Op::WindowArgMax(_), &[x, largest]) = (&cx.node(chosen).op, cx.node(chosen).args.as_ref()) else {
        return None;
    };
    let (Op::Compare(_), &[a, b]) = (&mask.op, mask.args.as_ref()) else { return None };
    let ty = cx.ty(largest).clone();
    let mut of_largest = |arg: Value| match cx.constant_of(arg) {
        Some(value) => Some(cx.constant(value, ty.clone())),
        None => (arg == x).then_some(largest),
    };
    let numbers = [of_largest(a)?, of_largest(b)?];
    let mask = cx.apply(mask.op, numbers);
    let d = cx.apply(Binary(BinaryFn::Mul), [d, mask]);
    Some(cx.apply(spread.op, [d, chosen]))
}

/// f(broadcast(x), broadcast(y), c) == broadcast(f(x, y, c)): the function of fewer elements.
fn broadcast_last(cx: &mut Rewriter, op: &Op, args: &[Value]) -> Option<Value> {
    let source = |arg: Value| match &cx.node(arg).op {
        Op::Broadcast(_) => Some(cx.node(arg).args[0]),
        _ => None,
    };
    let narrow = args.iter().find_map(|&arg| source(arg))?;
    let (to, shape) = (cx.ty(args[0]).shape.clone(), cx.ty(narrow).shape.clone());
    let fits = |&arg: &Value| match source(arg) {
        Some(x) => cx.ty(x).shape == shape,
        None => cx.constant_of(arg).is_some(),
    };
    if !args.iter().all(fits) {
        return None;
    }
    let sources: Vec<Option<Value>> = args.iter().map(|&arg| source(arg)).collect();
    let mut inner = Vec::with_capacity(args.len());
    for (&arg, source) in args.iter().zip(sources) {
        inner.push(match source {
            Some(x) => x,
            None => {
                let value = cx.constant_of(arg).expect("every other argument is a constant");
                cx.constant(value, cx.ty(arg).with_shape(shape.clone()))
            }
        });
    }
    let inner = cx.apply(op.clone(), inner);
    Some(cx.apply(Broadcast { to }, [inner]))
}

/// `x` of a value `-x`.
fn negated(cx: &Rewriter, value: Value) -> Option<Value> {
    let node = cx.node(value);
    (node.op == Op::Unary(Unary(UnaryFn::Neg))).then(|| node.args[0])
}

fn negated_constant(cx: &mut Rewriter, value: Value) -> Option<Value> {
    let c = cx.constant_of(value)?;
    Some(cx.constant(-c, cx.ty(value).clone()))
}

/// Whether no element can be infinite or NaN, as far as its own node tells.
fn is_finite(cx: &Rewriter, value: Value) -> bool {
    match &cx.node(value).op {
        Op::Constant(constant) => constant.value.is_finite(),
        Op::Compare(_) | Op::Convert(_) | Op::Random(_) | Op::SizeOf(_) | Op::WindowArgMax(_) => true,
        _ => false,
    }
}

fn is_power_of_two(c: f64) -> bool {
    // Not so large or small that 1 / c is no normal number.
    (c.to_bits() << 12) == 0 && (1e-30..1e30).contains(&c.abs())
}
