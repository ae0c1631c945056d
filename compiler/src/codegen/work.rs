//! How much work a kernel does, roughly: for the size of the chunks that threads share.

use std::collections::BTreeSet;

use crate::kernel::{Expr, Kernel, Scalar, UnaryFn};

/// Operations of one point of the domain; sizes known at run time only are counted as their fixed factor.
pub(super) fn work_per_point(kernel: &Kernel) -> usize {
    let mut seen = BTreeSet::new();
    kernel.stores.iter().fold(0, |sum: usize, store| sum.saturating_add(1 + work(kernel, store.value, &mut seen)))
}

fn work(kernel: &Kernel, expr: Expr, seen: &mut BTreeSet<Expr>) -> usize {
    if !seen.insert(expr) {
        return 0;
    }
    let mut sum = |xs: &[Expr]| xs.iter().fold(0, |sum: usize, &x| sum.saturating_add(work(kernel, x, seen)));
    match &kernel.exprs[expr] {
        Scalar::Const(_) => 0,
        Scalar::Load { .. } | Scalar::Position(_) => 1,
        Scalar::Convert(x) => 1 + sum(&[*x]),
        Scalar::Unary(UnaryFn::Neg | UnaryFn::Abs | UnaryFn::Floor, x) => 1 + sum(&[*x]),
        Scalar::Unary(_, x) => 20 + sum(&[*x]),
        Scalar::Binary(_, a, b) | Scalar::Compare(_, a, b) => 1 + sum(&[*a, *b]),
        Scalar::Select(condition, a, b) => 1 + sum(&[*condition, *a, *b]),
        Scalar::Reduce { axis, body, .. } => {
            sum(&[*body]).saturating_add(1).saturating_mul(kernel.axes[*axis].factor())
        }
        Scalar::Guard { conditions, body, .. } => conditions.len() + sum(&[*body]),
        Scalar::Random { key, .. } => 20 + sum(key),
    }
}
