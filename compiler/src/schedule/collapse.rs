//! Merges neighboring loops that walk memory as one.

use std::ops::Range;

use crate::kernel::{Address, Axis, Condition, Int, IntExpr, Kernel, Scalar};
use crate::types::Dim;

/// Merges each loop of `domain[range]` into the next one inside wherever every index allows it.
///
/// Loops `a` (outer) and `b` (inner, of extent `n`) are one loop of `a * n + b` when every index moves `n`
/// times as far along `a` as along `b`.
pub(super) fn collapse(kernel: &mut Kernel, range: Range<usize>) {
    let mut at = range.start;
    let mut end = range.end;
    while at + 1 < end {
        let (outer, inner) = (kernel.domain[at], kernel.domain[at + 1]);
        if can_merge(kernel, outer, inner) {
            merge(kernel, outer, inner);
            kernel.domain.remove(at);
            end -= 1;
            // The merged loop may now merge with the one outside it.
            at = at.saturating_sub(1).max(range.start);
        } else {
            at += 1;
        }
    }
}

/// Merges all loops that can be, and lets threads share all but the innermost.
pub(super) fn collapse_all(kernel: &mut Kernel) {
    let depth = kernel.domain.len();
    collapse(kernel, 0..depth);
    share(kernel);
}

/// Lets threads share all loops but the innermost, or the only one.
pub(super) fn share(kernel: &mut Kernel) {
    let depth = kernel.domain.len();
    kernel.parallel = if depth > 1 { depth - 1 } else { depth };
}

fn can_merge(kernel: &Kernel, outer: Axis, inner: Axis) -> bool {
    let n_inner = &kernel.axes[inner];
    let n_outer = &kernel.axes[outer];
    if n_outer.is_one() || n_inner.is_one() {
        // Nothing moves along a loop of one; only its position must not be asked for, and it is 0.
        return true;
    }
    let addresses = kernel.exprs.values().filter_map(|scalar| match scalar {
        Scalar::Load { at, .. } => Some(at),
        _ => None,
    });
    let fits_address = |at: &Address| {
        let (a, b) = (along(kernel, at, outer), along(kernel, at, inner));
        matches!((a, b), (Some(a), Some(b)) if a == b.times(n_inner))
    };
    let fits_int = |int: Int| match (coefficient(kernel, int, outer), coefficient(kernel, int, inner)) {
        (Some(0), Some(0)) => true,
        (Some(a), Some(b)) => n_inner.as_fixed().is_some_and(|n| i64::try_from(n).is_ok_and(|n| a == b * n)),
        _ => false,
    };
    addresses.chain(kernel.stores.iter().map(|store| &store.at)).all(fits_address)
        && standalone_ints(kernel).into_iter().all(fits_int)
}

/// The integers that are used outside of addresses, or inside what is not linear.
fn standalone_ints(kernel: &Kernel) -> Vec<Int> {
    let mut ints = kernel.ints_outside_addresses();
    for int in kernel.ints.values() {
        if let IntExpr::Div(of, _) | IntExpr::Rem(of, _) | IntExpr::DivSize(of, _) | IntExpr::RemSize(of, _) = int {
            ints.push(*of);
        }
    }
    ints
}

/// How far an address moves along an axis; `None` when no single size says so.
pub(super) fn along(kernel: &Kernel, at: &Address, axis: Axis) -> Option<Dim> {
    let mut sum = Dim::fixed(0);
    for (int, stride) in &at.terms {
        let factor = usize::try_from(coefficient(kernel, *int, axis)?).ok()?;
        sum = sum.plus(&stride.times(&Dim::fixed(factor)))?;
    }
    Some(sum)
}

/// How far an integer moves along an axis; `None` when it is not linear in it.
pub(super) fn coefficient(kernel: &Kernel, int: Int, axis: Axis) -> Option<i64> {
    match &kernel.ints[int] {
        IntExpr::Const(_) | IntExpr::Size(_) => Some(0),
        IntExpr::Axis(at) => Some(i64::from(*at == axis)),
        IntExpr::Add(a, b) => coefficient(kernel, *a, axis)?.checked_add(coefficient(kernel, *b, axis)?),
        IntExpr::Mul(a, factor) => coefficient(kernel, *a, axis)?.checked_mul(*factor),
        IntExpr::MulSize(a, _)
        | IntExpr::Div(a, _)
        | IntExpr::Rem(a, _)
        | IntExpr::DivSize(a, _)
        | IntExpr::RemSize(a, _)
        | IntExpr::Clamp(a, _) => (coefficient(kernel, *a, axis)? == 0).then_some(0),
        // Its own load is checked where it stands; here only that it does not vary.
        IntExpr::Value(expr) => (!varies(kernel, *expr, axis)).then_some(0),
    }
}

/// Whether an expression's value depends on an axis.
fn varies(kernel: &Kernel, expr: crate::kernel::Expr, axis: Axis) -> bool {
    let int = |int: Int| coefficient(kernel, int, axis) != Some(0);
    match &kernel.exprs[expr] {
        Scalar::Const(_) => false,
        Scalar::Load { at, .. } => at.terms.iter().any(|(index, _)| int(*index)),
        Scalar::Position(index) => int(*index),
        Scalar::Random { index, .. } => int(*index),
        Scalar::Convert(x) | Scalar::Unary(_, x) | Scalar::Reduce { body: x, .. } => varies(kernel, *x, axis),
        Scalar::Binary(_, a, b) | Scalar::Compare(_, a, b) => varies(kernel, *a, axis) || varies(kernel, *b, axis),
        Scalar::Select(c, a, b) => [c, a, b].into_iter().any(|x| varies(kernel, *x, axis)),
        Scalar::Guard { conditions, body, .. } => {
            let of = |condition: &Condition| match condition {
                Condition::InRange(index, _) | Condition::Multiple(index, _) => *index,
            };
            conditions.iter().any(|condition| int(of(condition))) || varies(kernel, *body, axis)
        }
    }
}

/// `outer` becomes 0 everywhere, and `inner` runs over both.
fn merge(kernel: &mut Kernel, outer: Axis, inner: Axis) {
    let keep = if kernel.axes[inner].is_one() { outer } else { inner };
    let gone = if keep == inner { outer } else { inner };
    for (_, int) in kernel.ints.iter_mut() {
        if *int == IntExpr::Axis(gone) {
            *int = IntExpr::Const(0);
        }
    }
    if keep == outer {
        // Its place in the domain is the inner one's.
        let at = kernel.domain.iter().position(|axis| *axis == inner).expect("loops of the domain");
        kernel.domain[at] = outer;
    }
    kernel.axes[keep] = kernel.axes[outer].times(&kernel.axes[inner]);
    // It is bound by no loop any more.
    kernel.axes[gone] = Dim::ONE;
    let zeros: Vec<bool> = kernel.ints.values().map(|int| *int == IntExpr::Const(0)).collect();
    let keep_term = |(int, _): &(Int, Dim)| !zeros[crate::index::Id::index(*int)];
    for (_, scalar) in kernel.exprs.iter_mut() {
        if let Scalar::Load { at, .. } = scalar {
            at.terms.retain(keep_term);
        }
    }
    for store in &mut kernel.stores {
        store.at.terms.retain(keep_term);
    }
}
