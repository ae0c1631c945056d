//! How much work steps do: for the size of the chunks that threads share, and for profiles.

use std::collections::BTreeSet;

use super::depends::AxisSet;
use super::{Axis, Buffer, ConvCall, Expr, Home, Kernel, MatMulCall, Program, Scalar, Scan, Step, UnaryFn};
use crate::types::{Dim, Extents, product};

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
    let floats: f64 = buffers.iter().map(|&buffer| program.buffers[buffer].len.eval(extents) as f64).sum();
    Cost { products, others, bytes: 4.0 * (floats - beside(step) as f64) }
}

/// Floats of packed operands that are there for shortcuts: as much of these as is read is read in place of others, or little more.
fn beside(step: &Step) -> usize {
    match step {
        Step::PackMatrix(call) => call.floats_beside(),
        Step::MatMul(call) => call.floats_beside(),
        // What is packed before the first step is read in all.
        Step::Scan(scan) => scan.ahead.iter().chain(&scan.body).map(beside).sum(),
        _ => 0,
    }
}

/// Of matrix products and convolutions, and of everything else.
fn operations(step: &Step, extents: &Extents) -> (f64, f64) {
    let loops = |kernel: &Kernel| work(kernel, |dim| dim.eval(extents) as f64);
    let epilogue = |kernel: &Option<Kernel>| kernel.as_ref().map_or(0.0, loops);
    match step {
        Step::Loop(kernel) => (0.0, loops(kernel)),
        Step::MatMul(call) => (matmul(call, extents), epilogue(&call.epilogue)),
        Step::Conv(call) => (conv(call, extents), epilogue(&call.epilogue) + sums(call, extents)),
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

/// Of sums over the pixels of the result.
fn sums(call: &ConvCall, extents: &Extents) -> f64 {
    let Some(sums) = &call.sums else { return 0.0 };
    let elements = product(&call.result_shape()).eval(extents) as f64;
    // Loads, and operations with what is loaded.
    let each = 2 + 3 * sums.squares().iter().count() + 5 * sums.products().len();
    each as f64 * elements
}

/// Operations for each point of the loops that threads share, each in the outermost loops that determine it; sizes known at run
/// time only are counted as their fixed factor.
pub fn work_of_share(kernel: &Kernel) -> usize {
    let shared =
        product(&kernel.domain[..kernel.parallel].iter().map(|&axis| kernel.axes[axis].clone()).collect::<Vec<_>>());
    (work(kernel, |dim| dim.factor() as f64) / shared.factor().max(1) as f64) as usize
}

/// Operations of a kernel as a whole.
fn work(kernel: &Kernel, size: impl Fn(&Dim) -> f64) -> f64 {
    let depends = kernel.depends();
    let is_reduced = |axis: &Axis| !kernel.domain.contains(axis);
    let loops = |depth: usize| kernel.domain[..depth].iter().map(|&axis| size(&kernel.axes[axis])).product::<f64>();
    let times = |axes: AxisSet| {
        let reduced = kernel.axes.ids().filter(|axis| axes.contains(*axis) && is_reduced(axis));
        loops(depends.depth(&kernel.domain, axes)) * reduced.map(|axis| size(&kernel.axes[axis])).product::<f64>()
    };
    let mut seen: BTreeSet<Expr> = BTreeSet::new();
    let mut left: Vec<Expr> = kernel.stores.iter().map(|store| store.value).collect();
    let mut sum: f64 = kernel.depths().into_iter().map(loops).sum();
    while let Some(expr) = left.pop() {
        if !seen.insert(expr) {
            continue;
        }
        let scalar = &kernel.exprs[expr];
        left.extend(scalar.operands());
        // Each round of a reduction adds to it.
        let axes = match scalar {
            Scalar::Reduce { axis, .. } => depends.exprs[expr].with(*axis),
            _ => depends.exprs[expr],
        };
        sum += own_work(scalar) * times(axes);
    }
    sum
}

fn own_work(scalar: &Scalar) -> f64 {
    match scalar {
        Scalar::Const(_) => 0.0,
        Scalar::Load { .. } | Scalar::Position(_) | Scalar::Convert(_) => 1.0,
        Scalar::Unary(UnaryFn::Neg | UnaryFn::Abs | UnaryFn::Floor, _) => 1.0,
        Scalar::Unary(..) | Scalar::Random { .. } => 20.0,
        Scalar::Binary(..) | Scalar::Compare(..) | Scalar::Select(..) | Scalar::Reduce { .. } => 1.0,
        Scalar::Guard { conditions, .. } => conditions.len() as f64,
    }
}
