//! One step of a recurrence, made to do as little as it can each time: loops over the same elements are one, products
//! carry them as epilogues, and weights are packed before the first step.

use std::collections::BTreeSet;

use netc_runtime::kernels::matmul::{MANY, SEVERAL, packed_len, rounded_len, sums_len};

use super::collapse::{collapse_all, share};
use super::{call, merge};
use crate::kernel::{
    Address, Buffer, BufferInfo, Home, IntExpr, Kernel, MatMulCall, Mode, PackCall, PackMatrixCall, Program, Scalar,
    Shortcuts, Step,
};
use crate::types::{Dim, ElementType};

/// Rewrites the steps of a body. `temporary` says which buffers it alone uses, `fixed` which hold parameters that the
/// entry never changes. What packs weights for a single call is returned; products with them take the shortcuts that are allowed.
pub(super) fn tighten(
    body: &mut Vec<Step>,
    program: &mut Program,
    temporary: impl Fn(Buffer) -> bool,
    fixed: impl Fn(Buffer) -> bool,
    allowed: Shortcuts,
) -> Vec<Step> {
    detach(body);
    merge::all(body);
    merge::drop_unread(body, temporary);
    carry(body);
    for step in body.iter_mut() {
        if let Step::Loop(kernel) = step {
            collapse_all(kernel);
        }
    }
    pack(body, program, fixed, allowed)
}

/// Takes epilogues off their products again, so that they can be one with the loops that follow.
fn detach(body: &mut Vec<Step>) {
    let mut steps = Vec::with_capacity(body.len());
    for step in body.drain(..) {
        match step {
            Step::MatMul(mut product) if product.groups == 1 => {
                let epilogue = product.epilogue.take();
                steps.push(Step::MatMul(product));
                steps.extend(epilogue.map(|mut kernel| {
                    share(&mut kernel);
                    Step::Loop(kernel)
                }));
            }
            step => steps.push(step),
        }
    }
    *body = steps;
}

/// Lets products carry the loops that read them, as epilogues over each of their runs of columns.
fn carry(body: &mut Vec<Step>) {
    let mut at = 0;
    while at < body.len() {
        if let Some((with, groups)) = find_tail(body, at)
            && let Step::Loop(kernel) = body.remove(with)
            && let Step::MatMul(mut product) = body.remove(at)
        {
            let epilogue = Some(Kernel { parallel: 0, ..kernel });
            product = MatMulCall { groups, epilogue, ..product };
            body.insert(with - 1, Step::MatMul(product));
        } else {
            at += 1;
        }
    }
}

/// The loop that the product at `at` can carry, and in how many runs of columns it reads the product.
fn find_tail(body: &[Step], at: usize) -> Option<(usize, usize)> {
    let Step::MatMul(product) = &body[at] else { return None };
    if product.epilogue.is_some() || !product.batch.is_one() {
        return None;
    }
    let reads = |step: &Step| {
        let mut reads = false;
        step.for_each_access(&mut |access| reads |= access.buffer == product.c.buffer && access.mode == Mode::Read);
        reads
    };
    let with = (at + 1..body.len()).find(|&with| reads(&body[with]))?;
    let Step::Loop(kernel) = &body[with] else { return None };
    if !body[at + 1..with].iter().all(|between| merge::commute(&body[at], between)) {
        return None;
    }
    Some((with, runs(product, kernel)?))
}

/// In how many runs of columns a loop over rows and columns reads a product, each at its own row and column.
fn runs(product: &MatMulCall, kernel: &Kernel) -> Option<usize> {
    let [row, column] = kernel.domain[..] else { return None };
    let n_groups = product.n.divided_by(&kernel.axes[column]).and_then(|groups| groups.as_fixed())?;
    if kernel.axes[row] != product.m || has_inner_loop(kernel) {
        return None;
    }
    let run = kernel.axes[column].as_fixed()?;
    let is_at = |at: &Address| {
        let start = at.offset.as_fixed().zip(product.c.offset.as_fixed()).and_then(|(a, b)| a.checked_sub(b));
        let fits = at.terms.iter().all(|(int, stride)| match kernel.ints[*int] {
            IntExpr::Axis(axis) if axis == row => *stride == product.c.strides[0],
            IntExpr::Axis(axis) if axis == column => stride.is_one(),
            _ => false,
        });
        let has = |axis| {
            kernel.axes[axis].is_one() || at.terms.iter().any(|(int, _)| kernel.ints[*int] == IntExpr::Axis(axis))
        };
        fits && has(row) && has(column) && start.is_some_and(|start| start % run == 0 && start / run < n_groups)
    };
    let own = kernel.exprs.values().all(|scalar| match scalar {
        Scalar::Load { buffer, at } => *buffer != product.c.buffer || is_at(at),
        _ => true,
    });
    // While the epilogue runs on some tiles, the product still reads its operands for others.
    // In the product's own memory, what is written is what is read at the same place.
    let own_memory = |buffer: Buffer| buffer == product.c.buffer && n_groups > 1;
    let is_operand = |buffer: Buffer| buffer == product.a.buffer || buffer == product.b.buffer;
    let free = kernel.stores.iter().all(|store| !is_operand(store.buffer) && !own_memory(store.buffer));
    (own && free).then_some(n_groups)
}

fn has_inner_loop(kernel: &Kernel) -> bool {
    kernel.exprs.values().any(|scalar| matches!(scalar, Scalar::Reduce { .. }))
}

/// Packs the weights that no step writes: those of `fixed` once and for all, others before the first step.
fn pack(body: &mut [Step], program: &mut Program, fixed: impl Fn(Buffer) -> bool, allowed: Shortcuts) -> Vec<Step> {
    let mut written: BTreeSet<Buffer> = BTreeSet::new();
    for step in body.iter() {
        step.for_each_access(&mut |access| {
            if access.mode == Mode::Write {
                written.insert(access.buffer);
            }
        });
    }
    let mut before = Vec::new();
    for step in body {
        let weight = match step {
            // Each product of a batch has an operand of its own.
            Step::MatMul(product) if product.batch.is_one() => product.b.buffer,
            Step::Conv(conv) if conv.direction != crate::kernel::Direction::WeightGrad => conv.weight.buffer,
            _ => continue,
        };
        let moves = matches!(program.buffers[weight].home, Home::Slice { .. });
        if written.contains(&weight) || moves {
            continue;
        }
        let home = if fixed(weight) { Home::Prepared } else { Home::Workspace };
        let name = format!("{} (packed)", program.buffers[weight].name);
        let mut add = |len: usize| {
            program.buffers.push(BufferInfo {
                name: name.clone(),
                element: ElementType::F32,
                len: Dim::fixed(len),
                home,
            })
        };
        let packing = match step {
            Step::MatMul(product) => {
                let (Some(k), Some(n)) = (product.k.as_fixed(), product.n.as_fixed()) else { continue };
                let groups = product.groups;
                let rows = product.m.as_fixed();
                let shortcuts = Shortcuts {
                    rounded: allowed.rounded && rows.is_none_or(|m| m < SEVERAL) && rounded_len(k, n, groups) > 0,
                    sums: allowed.sums && rows.is_none_or(|m| m >= MANY) && sums_len(k, n, groups) > 0,
                };
                let packed = add(packed_len(k, n, groups) + shortcuts.floats([k, n], groups));
                (product.packed, product.shortcuts) = (Some(packed), shortcuts);
                let whole = PackMatrixCall::whole([k, n], groups, product.b.clone(), packed);
                Step::PackMatrix(PackMatrixCall { rows: Some(product.m.clone()), shortcuts, ..whole })
            }
            Step::Conv(conv) if conv.packed.is_none() && conv.geometry.groups == 1 => {
                let (direction, algorithm, geometry) = (conv.direction, conv.algorithm, conv.geometry.clone());
                let packed = add(call::packed_weight_len(direction, algorithm, &geometry));
                conv.packed = Some(packed);
                Step::Pack(PackCall { direction, geometry, algorithm, weight: conv.weight.clone(), packed })
            }
            _ => continue,
        };
        if home == Home::Prepared { program.prepare.push(packing) } else { before.push(packing) }
    }
    before
}
