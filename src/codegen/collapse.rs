//! Makes one loop of neighboring loops that walk through memory as one.
//!
//! A pointwise kernel over `[64, 7, 7]` runs through 3136 elements in whole vectors, rather than 64 times through 49.

use super::facts::Facts;
use crate::kernel::{Address, Axis, Int, IntExpr, Kernel, Program, Scalar};
use crate::types::Dim;

/// The same kernel with as few loops in its domain as possible. Loops that were merged into others stay in `axes`,
/// bound by nothing.
pub(super) fn collapse(program: &Program, kernel: &Kernel) -> Kernel {
    let mut kernel = kernel.clone();
    let mut depth = 1;
    while depth < kernel.domain.len() {
        let (outer, inner) = (kernel.domain[depth - 1], kernel.domain[depth]);
        if is_one_walk(program, &kernel, outer, inner) {
            // index = c*outer*n + c*inner = c*(outer*n + inner): the merged loop takes the inner one's place.
            kernel.axes[inner] = kernel.axes[outer].times(&kernel.axes[inner]);
            for (_, int) in kernel.ints.iter_mut().filter(|(_, int)| **int == IntExpr::Axis(outer)) {
                *int = IntExpr::Const(0);
            }
            kernel.domain.remove(depth - 1);
            if depth < kernel.parallel {
                kernel.parallel -= 1;
            }
            depth = 1;
        } else {
            depth += 1;
        }
    }
    kernel
}

/// Whether everything in the kernel depends on `outer * extent(inner) + inner` alone.
fn is_one_walk(program: &Program, kernel: &Kernel, outer: Axis, inner: Axis) -> bool {
    let facts = Facts::of(program, kernel);
    let n = &kernel.axes[inner];
    let int = |int: Int| {
        let terms = [(int, Dim::ONE)];
        is_walked(&facts, &terms, outer, inner, n)
    };
    let address = |at: &Address| is_walked(&facts, &at.terms, outer, inner, n);
    let scalars = kernel.exprs.values().all(|scalar| match scalar {
        Scalar::Load { at, .. } => address(at),
        Scalar::Position(index) | Scalar::Random { index, .. } => int(*index),
        Scalar::Guard { conditions, .. } => conditions.iter().all(|condition| int(condition.int())),
        Scalar::Const(_)
        | Scalar::Convert(_)
        | Scalar::Unary(..)
        | Scalar::Binary(..)
        | Scalar::Compare(..)
        | Scalar::Select(..)
        | Scalar::Reduce { .. } => true,
    });
    scalars && kernel.stores.iter().all(|store| address(&store.at))
}

/// Whether `sum(int * stride)` grows `n` times as much along `outer` as along `inner`.
fn is_walked(facts: &Facts<'_>, terms: &[(Int, Dim)], outer: Axis, inner: Axis, n: &Dim) -> bool {
    let along = |axis: Axis| {
        let mut varying = terms.iter().filter(|(int, _)| facts.ints[*int].contains(axis));
        match (varying.next(), varying.next()) {
            (None, _) => Some(Dim::fixed(0)),
            (Some((int, stride)), None) => {
                let slope = facts.slope(*int, axis).and_then(|slope| usize::try_from(slope).ok())?;
                Some(stride.times(&Dim::fixed(slope)))
            }
            // The sum of two sizes need not be one.
            (Some(_), Some(_)) => None,
        }
    };
    along(outer).zip(along(inner)).is_some_and(|(outer, inner)| outer == inner.times(n))
}
