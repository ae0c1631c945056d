//! States of a recurrence that the caller gets, in an order of its own, are stored there by each step.
//!
//! A cell's steps keep a state of all steps one after the other, `[steps, batch, …]`; the caller's array is
//! `[batch, steps, …]`. Where nobody but the copy reads the former, there is no need of it: each step stores its state in
//! both places while it is in a register, and the recurrence's own takes turns in room for two.

use crate::kernel::{
    Address, Axis, Buffer, BufferInfo, Home, Int, IntExpr, Kernel, Program, Scalar, Scan, Slice, Step, Store, Turns,
};
use crate::types::Dim;

/// Lets the steps of recurrences store what is copied out of their states.
pub(super) fn of_scans(program: &mut Program) {
    let mut at = 0;
    while at < program.steps.len() {
        let Some(copy) = find(program, at) else {
            at += 1;
            continue;
        };
        program.steps.remove(at);
        carry_out(program, copy);
    }
}

/// A copy of a state of all steps, and what takes its place.
struct Copy {
    /// The recurrence among the program's steps, and the step of its body that stores the state.
    scan: usize,
    place: usize,
    state: Buffer,
    /// The slice that this step writes, and the elements of one step's state.
    after: Buffer,
    per_step: Dim,
    to: Buffer,
    /// Where the first step goes, and how far from it the next.
    offset: Dim,
    stride: Dim,
    /// Within a step, by the integers of the body's kernel.
    terms: Vec<(Int, Dim)>,
}

/// The copy that the step at `at` is, if a recurrence can do it.
fn find(program: &Program, at: usize) -> Option<Copy> {
    let Step::Loop(copy) = &program.steps[at] else { return None };
    let [store] = copy.stores.as_slice() else { return None };
    let Scalar::Load { buffer: state, at: from } = &copy.exprs[store.value] else { return None };
    let (state, to) = (*state, store.buffer);
    let users = |of: Buffer| (0..program.steps.len()).filter(move |&other| program.steps[other].touches(of));
    let [scan_at, last] = users(state).collect::<Vec<_>>()[..] else { return None };
    let Step::Scan(scan) = &program.steps[scan_at] else { return None };
    let is_between = users(to).any(|other| (scan_at..at).contains(&other));
    if program.buffers[state].home != Home::Workspace || to == state || last != at || is_between {
        return None;
    }
    let after = only_states(scan, state)?;
    let per_step = after.stride.clone();

    // One axis of the copy goes over the steps, from the first that is written on.
    let (reads, writes) = (affine(copy, from)?, affine(copy, &store.at)?);
    let is_step = |(axis, stride): &&(Axis, Dim)| copy.axes[*axis] == scan.length && *stride == per_step;
    let [(step, _)] = reads.iter().filter(is_step).collect::<Vec<_>>()[..] else { return None };
    let first = if after.shift == 0 { Dim::fixed(0) } else { per_step.clone() };
    let stride = writes.iter().find(|(axis, _)| axis == step).map(|(_, stride)| stride.clone())?;
    if from.offset != first || after.shift > 1 || reads.len() != copy.domain.len() || writes.len() != reads.len() {
        return None;
    }

    // Each of the others is an axis of the kernel that stores the state.
    let (place, kernel) = scan.body.iter().enumerate().find_map(|(place, step)| {
        let kernel = step.kernel()?;
        kernel.stores.iter().any(|store| store.buffer == after.buffer).then_some((place, kernel))
    })?;
    let [stored] = kernel.stores.iter().filter(|store| store.buffer == after.buffer).collect::<Vec<_>>()[..] else {
        return None;
    };
    let inner = affine(kernel, &stored.at)?;
    if stored.at.offset != Dim::fixed(0) || inner.len() + 1 != reads.len() {
        return None;
    }
    let mut terms = Vec::new();
    for (axis, distance) in reads.iter().filter(|(axis, _)| axis != step) {
        let is_same = |(other, its): &&(Axis, Dim)| its == distance && kernel.axes[*other] == copy.axes[*axis];
        let [(other, _)] = inner.iter().filter(is_same).collect::<Vec<_>>()[..] else { return None };
        let int = kernel.ints.iter().find(|(_, int)| **int == IntExpr::Axis(*other)).map(|(int, _)| int)?;
        terms.push((int, writes.iter().find(|(its, _)| its == axis)?.1.clone()));
    }
    let (offset, after) = (store.at.offset.clone(), after.buffer);
    Some(Copy { scan: scan_at, place, state, after, per_step, to, offset, stride, terms })
}

/// The slice of the state after a step, if slices of the state before and after each step are all that there is of it.
fn only_states(scan: &Scan, state: Buffer) -> Option<&Slice> {
    let slices: Vec<&Slice> = scan.slices.iter().filter(|slice| slice.of == state).collect();
    let [a, b] = slices[..] else { return None };
    let is_plain = |slice: &Slice| slice.turns == Turns::All && slice.offset == Dim::fixed(0);
    let is_direct = scan.steps().any(|step| step.touches(state));
    let is_written = |slice: &Slice| scan.body.iter().any(|step| step.writes(slice.buffer));
    if !is_plain(a) || !is_plain(b) || a.stride != b.stride || (a.shift - b.shift).abs() != 1 || is_direct {
        return None;
    }
    match (is_written(a), is_written(b)) {
        (true, false) => Some(a),
        (false, true) => Some(b),
        _ => None,
    }
}

fn carry_out(program: &mut Program, copy: Copy) {
    let Copy { scan, place, state, after, per_step, to, offset, stride, terms } = copy;
    let info = BufferInfo { home: Home::Slice { of: to }, ..program.buffers[to].clone() };
    let result = program.buffers.push(info);
    program.buffers[state].len = per_step.times(&Dim::fixed(2));
    let Step::Scan(scan) = &mut program.steps[scan] else { panic!("a recurrence was found at step {scan}") };
    scan.slices.iter_mut().filter(|slice| slice.of == state).for_each(|slice| slice.turns = Turns::Two);
    scan.slices.push(Slice { buffer: result, of: to, offset, stride, shift: 0, turns: Turns::All });
    let kernel = scan.body[place].kernel_mut().expect("the kernel that stores the state was found here");
    let stored = kernel.stores.iter().find(|store| store.buffer == after).expect("the state is stored");
    let at = Address { offset: Dim::fixed(0), terms };
    let store = Store { buffer: result, at, value: stored.value, streamed: None };
    kernel.stores.push(store);
}

/// An address as strides along axes of the domain.
fn affine(kernel: &Kernel, at: &Address) -> Option<Vec<(Axis, Dim)>> {
    kernel.moves(at).filter(|terms| terms.iter().all(|(axis, _)| kernel.domain.contains(axis)))
}
