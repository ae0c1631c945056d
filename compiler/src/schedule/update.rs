//! Updates of parameters as soon as their gradients are known, so that few gradients are in memory at a time.

use super::merge::commute;
use crate::index::IndexVec;
use crate::kernel::{
    Access, Address, Buffer, BufferInfo, Home, IntExpr, Kernel, MatMulCall, Mode, Program, Scalar, Scan, Slice, Step,
    Store, Turns, View,
};
use crate::types::Dim;

/// A gradient of fewer elements is stored whole.
const SMALL: usize = 1 << 21;
/// Elements of a gradient that are computed at a time: they stay in a core's outer cache until they are used.
const BLOCK: usize = 1 << 20;

/// Moves each step that writes nothing but what `is_kept`, the caller's memory, up to behind the last step that it must
/// follow.
pub(super) fn early(program: &mut Program, is_kept: impl Fn(Buffer) -> bool) {
    // For each buffer the number of the step, from 1, behind which it was last read and last written.
    let mut last: IndexVec<Buffer, [usize; 2]> = IndexVec::filled([0; 2], program.buffers.len());
    let steps = std::mem::take(&mut program.steps);
    // Steps that stay, each with those that follow it.
    let mut stays: Vec<Vec<Step>> = vec![Vec::new()];
    for step in steps {
        let mut accesses: Vec<Access> = Vec::new();
        step.for_each_access(&mut |access| accesses.push(access));
        let moves = accesses.iter().all(|access| access.mode == Mode::Read || is_kept(access.buffer));
        let after = accesses.iter().map(|access| {
            let [read, written] = last[access.buffer];
            if access.mode == Mode::Write { read.max(written) } else { written }
        });
        let at = if moves { after.max().unwrap_or(0) } else { stays.len() };
        for access in accesses {
            let [read, written] = &mut last[access.buffer];
            let last = if access.mode == Mode::Write { written } else { read };
            *last = at.max(*last);
        }
        match stays.get_mut(at) {
            Some(list) => list.push(step),
            None => stays.push(vec![step]),
        }
    }
    program.steps = stays.into_iter().flatten().collect();
}

/// Computes a large gradient that a product gives and an update alone reads a block of rows at a time, each used before
/// the next: a dense layer's gradient is as large as its weight, and is then never in memory as a whole.
pub(super) fn by_rows(program: &mut Program) {
    let mut at = 0;
    while at < program.steps.len() {
        if let Some((update, scan)) = rows_of(program, at) {
            program.steps[update] = scan;
            program.steps.remove(at);
        } else {
            at += 1;
        }
    }
}

/// The product at this step and the one step that reads it, as a loop over blocks of rows; and where that step is.
fn rows_of(program: &mut Program, at: usize) -> Option<(usize, Step)> {
    let Step::MatMul(call) = &program.steps[at] else { return None };
    let gradient = call.c.buffer;
    let (m, n) = (call.m.as_fixed()?, call.n.as_fixed()?);
    let is_plain = call.batch.is_one() && call.groups == 1 && call.packed.is_none() && call.epilogue.is_none();
    let is_whole = call.c == View::whole(gradient, vec![Dim::fixed(n), Dim::ONE]);
    let is_own =
        program.buffers[gradient].home == Home::Workspace && program.buffers[gradient].len == Dim::fixed(m * n);
    if !is_plain || !is_whole || !is_own || m * n < SMALL {
        return None;
    }
    // Rows that divide the whole, and not so few that calls would count.
    let rows = (1..=m).rev().find(|rows| m.is_multiple_of(*rows) && rows * n <= BLOCK)?;
    if rows * n < BLOCK / 8 {
        return None;
    }
    let mut users = (0..program.steps.len()).filter(|&other| other != at && program.steps[other].touches(gradient));
    let (update, None) = (users.next()?, users.next()) else { return None };
    let between = program.steps.get(at + 1..update)?;
    if !between.iter().all(|step| commute(step, &program.steps[at])) {
        return None;
    }
    let Step::Loop(kernel) = &program.steps[update] else { return None };
    let flat = flat_buffers(kernel, m * n)?;
    let (call, kernel) = (call.clone(), kernel.clone());
    Some((update, blocks(program, call, kernel, &flat, rows)))
}

/// The buffers that a kernel walks through one element after the other, as its only loop does; `None` when it does
/// anything else at a point than compute with these and with single elements.
fn flat_buffers(kernel: &Kernel, len: usize) -> Option<Vec<Buffer>> {
    let [axis] = kernel.domain[..] else { return None };
    let is_flat = |address: &Address| match &address.terms[..] {
        [(int, stride)] => {
            address.offset == Dim::fixed(0) && stride.is_one() && kernel.ints[*int] == IntExpr::Axis(axis)
        }
        _ => false,
    };
    let mut flat = Vec::new();
    for scalar in kernel.exprs.values() {
        match scalar {
            Scalar::Load { buffer, at } if is_flat(at) => flat.push(*buffer),
            Scalar::Load { at, .. } if at.terms.is_empty() => {}
            Scalar::Const(_)
            | Scalar::Convert(_)
            | Scalar::Unary(..)
            | Scalar::Binary(..)
            | Scalar::Compare(..)
            | Scalar::Select(..) => {}
            Scalar::Load { .. }
            | Scalar::Position(_)
            | Scalar::Reduce { .. }
            | Scalar::Guard { .. }
            | Scalar::Random { .. } => return None,
        }
    }
    for store in &kernel.stores {
        is_flat(&store.at).then(|| flat.push(store.buffer))?;
    }
    flat.sort_unstable();
    flat.dedup();
    (kernel.axes[axis] == Dim::fixed(len)).then_some(flat)
}

/// The loop over blocks of so many rows.
fn blocks(program: &mut Program, call: MatMulCall, kernel: Kernel, flat: &[Buffer], rows: usize) -> Step {
    let (m, n) = (call.m.factor(), call.n.factor());
    let gradient = call.c.buffer;
    program.buffers[gradient].len = Dim::fixed(rows * n);
    let mut slices = Vec::new();
    let mut slice = |of: Buffer, offset: Dim, stride: Dim| {
        let info = BufferInfo { home: Home::Slice { of }, ..program.buffers[of].clone() };
        let buffer = program.buffers.push(info);
        slices.push(Slice { buffer, of, offset, stride, shift: 0, turns: Turns::All });
        buffer
    };
    let block = Dim::fixed(rows * n);
    let moved: Vec<(Buffer, Buffer)> = flat
        .iter()
        .filter(|&&buffer| buffer != gradient)
        .map(|&buffer| (buffer, slice(buffer, Dim::fixed(0), block.clone())))
        .collect();
    // The rows of the left operand lie as its strides say.
    let stride = call.a.strides[0].times(&Dim::fixed(rows));
    let a = View::whole(slice(call.a.buffer, call.a.offset.clone(), stride), call.a.strides.clone());

    let place = |buffer: Buffer| moved.iter().find(|(of, _)| *of == buffer).map_or(buffer, |(_, slice)| *slice);
    let mut kernel = kernel;
    let axis = kernel.domain[0];
    kernel.axes[axis] = block;
    let exprs = kernel.exprs.iter().map(|(_, scalar)| match scalar {
        Scalar::Load { buffer, at } if !at.terms.is_empty() => Scalar::Load { buffer: place(*buffer), at: at.clone() },
        scalar => scalar.clone(),
    });
    let mut placed = IndexVec::new();
    exprs.for_each(|scalar| {
        placed.push(scalar);
    });
    kernel.exprs = placed;
    kernel.stores = kernel.stores.into_iter().map(|store| Store { buffer: place(store.buffer), ..store }).collect();
    let call = MatMulCall { m: Dim::fixed(rows), a, ..call };
    let body = vec![Step::MatMul(call), Step::Loop(kernel)];
    Step::Scan(Scan {
        length: Dim::fixed(m / rows),
        reverse: false,
        slices,
        start: Vec::new(),
        ahead: Vec::new(),
        body,
        finish: Vec::new(),
        members: None,
        beside: false,
    })
}
