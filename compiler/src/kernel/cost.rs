//! How much work steps do: for the size of the chunks that threads share, and for profiles.

use std::collections::BTreeSet;

use super::{Buffer, ConvCall, Expr, Home, Kernel, MatMulCall, Program, Scalar, Scan, Step, UnaryFn};
use crate::types::Extents;

/// What a step computes and touches.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cost {
    /// Multiplications and additions of matrix products and convolutions, as the direct algorithm does them.
    pub products: f64,
    /// Operations of everything else, roughly: a function such as `exp` is 20.
    pub others: f64,
    /// Of each buffer that is read or written, once.
    pub bytes: f64,
}

/// The cost of a program's step, for some values of the named sizes.
pub fn cost(program: &Program, step: &Step, extents: &Extents) -> Cost {
    let (products, others) = operations(step, extents);
    let mut buffers: BTreeSet<Buffer> = BTreeSet::new();
    step.for_each_access(&mut |access| {
        let is_slice = matches!(program.buffers[access.buffer].home, Home::Slice { .. });
        if !is_slice {
            buffers.insert(access.buffer);
        }
    });
    let bytes = buffers.iter().map(|&buffer| 4.0 * program.buffers[buffer].len.eval(extents) as f64).sum();
    Cost { products, others, bytes }
}

/// Of matrix products and convolutions, and of everything else.
fn operations(step: &Step, extents: &Extents) -> (f64, f64) {
    let loops = |kernel: &Kernel| {
        let points: f64 = kernel.domain.iter().map(|&axis| kernel.axes[axis].eval(extents) as f64).product();
        points * work_per_point(kernel) as f64
    };
    let epilogue = |kernel: &Option<Kernel>| kernel.as_ref().map_or(0.0, loops);
    match step {
        Step::Loop(kernel) => (0.0, loops(kernel)),
        Step::MatMul(call) => (matmul(call, extents), epilogue(&call.epilogue)),
        Step::Conv(call) => (conv(call, extents), epilogue(&call.epilogue)),
        Step::Pack(_) | Step::PackMatrix(_) => (0.0, 0.0),
        Step::ScatterAdd(call) => (0.0, (call.rows.eval(extents) * call.cols) as f64),
        Step::Scan(scan) => scan_operations(scan, extents),
    }
}

fn scan_operations(scan: &Scan, extents: &Extents) -> (f64, f64) {
    let sum = |steps: &[Step]| {
        let each = steps.iter().map(|step| operations(step, extents));
        each.fold((0.0, 0.0), |(a, b), (c, d)| (a + c, b + d))
    };
    let length = scan.length.eval(extents) as f64;
    let [start, ahead, body, finish] = [&scan.start, &scan.ahead, &scan.body, &scan.finish].map(|steps| sum(steps));
    let all = |[start, ahead, body, finish]: [f64; 4]| start + length * (ahead + body) + finish;
    (all([start.0, ahead.0, body.0, finish.0]), all([start.1, ahead.1, body.1, finish.1]))
}

fn matmul(call: &MatMulCall, extents: &Extents) -> f64 {
    let sizes = [&call.batch, &call.m, &call.n, &call.k];
    2.0 * sizes.iter().map(|size| size.eval(extents) as f64).product::<f64>()
}

fn conv(call: &ConvCall, extents: &Extents) -> f64 {
    let g = &call.geometry;
    let pixels = [&g.n, &g.oh, &g.ow].iter().map(|size| size.eval(extents) as f64).product::<f64>();
    2.0 * pixels * (g.oc * g.kernel[0] * g.kernel[1] * (g.c / g.groups.max(1))) as f64
}

/// Operations of one point of the domain; sizes known at run time only are counted as their fixed factor.
pub fn work_per_point(kernel: &Kernel) -> usize {
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
