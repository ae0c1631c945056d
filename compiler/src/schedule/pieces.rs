//! Matrices that are put together only to be packed are packed from their pieces.
//!
//! The gates of a cell are one product, of their matrices behind one another, and each of these is a part of a parameter. What
//! packs the whole can as well read the parameters: the copy in between is read by nobody else.

use netc_runtime::kernels::matmul::are_panels;

use super::copy::{Copy, copy_of};
use crate::kernel::{Along, Buffer, Home, PackMatrixCall, Program, Step, View};
use crate::types::Dim;

/// Changes what packs matrices, and drops copies that nobody reads any more.
pub(super) fn of_packing(program: &mut Program) {
    let Program { buffers, prepare, steps, .. } = program;
    let is_temporary = |buffer: Buffer| matches!(buffers[buffer].home, Home::Workspace | Home::Prepared);
    // What is prepared may be read by either.
    let (in_prepare, in_steps) = (prepare.clone(), steps.clone());
    change(prepare, &in_steps, &is_temporary);
    change(steps, &in_prepare, &is_temporary);
}

/// Changes one list of steps; `others` are those of the other.
fn change(steps: &mut Vec<Step>, others: &[Step], is_temporary: &impl Fn(Buffer) -> bool) {
    for at in 0..steps.len() {
        let calls: Vec<PackMatrixCall> = packing(&steps[at]).cloned().collect();
        for call in calls {
            let [whole] = call.pieces.as_slice() else { continue };
            let is_elsewhere = others.iter().any(|step| step.touches(whole.buffer));
            if !is_temporary(whole.buffer) || is_elsewhere {
                continue;
            }
            if let Some(found) = find(&steps[..=at], &call, whole) {
                packing_mut(&mut steps[at]).filter(|known| **known == call).for_each(|known| *known = found.clone());
            }
        }
    }
    let mut at = 0;
    while at < steps.len() {
        let unread = copied(&steps[at]).is_some_and(|copy| {
            let to = copy.to;
            let is_read = |step: &Step| step.reads(to);
            is_temporary(to) && !steps.iter().chain(others).any(is_read) && has_copies_alone(steps, to)
        });
        if unread {
            steps.remove(at);
        } else {
            at += 1;
        }
    }
}

/// What a step packs: itself, or at a recurrence's start.
fn packing(step: &Step) -> impl Iterator<Item = &PackMatrixCall> {
    let all = match step {
        Step::Scan(scan) => scan.start.as_slice(),
        step => std::slice::from_ref(step),
    };
    all.iter().filter_map(|step| if let Step::PackMatrix(call) = step { Some(call) } else { None })
}
fn packing_mut(step: &mut Step) -> impl Iterator<Item = &mut PackMatrixCall> {
    let all = match step {
        Step::Scan(scan) => scan.start.as_mut_slice(),
        step => std::slice::from_mut(step),
    };
    all.iter_mut().filter_map(|step| if let Step::PackMatrix(call) = step { Some(call) } else { None })
}

fn has_copies_alone(steps: &[Step], to: Buffer) -> bool {
    steps.iter().filter(|step| step.writes(to)).all(|step| copied(step).is_some())
}

/// A copy of rows of one length.
struct Copied {
    to: Buffer,
    /// The first element that is written, and how many there are.
    first: usize,
    len: usize,
    /// Where the elements come from: with their rows' length, unless they are all behind one another.
    from: View,
    row: Option<usize>,
}

/// The copy that a step is, if it is one of whole rows that then lie behind one another.
fn copied(step: &Step) -> Option<Copied> {
    let Copy { from, to, size: [rows, cols] } = copy_of(step)?;
    let (buffer, first) = (to.buffer, to.offset.as_fixed()?);
    match rows {
        1 => Some(Copied { to: buffer, first, len: cols, from: View { strides: vec![Dim::ONE], ..from }, row: None }),
        _ if to.strides[0].as_fixed() == Some(cols) => {
            Some(Copied { to: buffer, first, len: rows * cols, from, row: Some(cols) })
        }
        _ => None,
    }
}

/// The call that packs from the pieces of which `whole` was made by the steps before it.
fn find(steps: &[Step], call: &PackMatrixCall, whole: &View) -> Option<PackMatrixCall> {
    let strides: Vec<usize> = whole.strides.iter().map(Dim::as_fixed).collect::<Option<_>>()?;
    // Rows in memory are rows of the operand, or its columns.
    let (along, row, n_rows) = match *strides.as_slice() {
        [row, 1] if row == call.n => (Along::Rows, row, call.k),
        [1, row] if row == call.k => (Along::Columns, row, call.n),
        _ => return None,
    };
    let (_, before) = steps.split_last()?;
    let writers: Vec<usize> = (0..before.len()).filter(|&step| before[step].writes(whole.buffer)).collect();
    let mut copies: Vec<Copied> = writers.iter().map(|&step| copied(&before[step])).collect::<Option<_>>()?;
    copies.sort_by_key(|copy| copy.first);
    let len = copies.first()?.len;
    let are_pieces = copies
        .iter()
        .enumerate()
        .all(|(number, copy)| copy.len == len && copy.first == number * len && copy.row.is_none_or(|cols| cols == row));
    let n = copies.len();
    let is_whole = whole.offset == Dim::fixed(0) && len.is_multiple_of(row) && n * len == n_rows * row;
    if !are_pieces || !is_whole || (along == Along::Columns && !are_panels(call.n, n, call.groups)) {
        return None;
    }
    // What they are copied from is still the same.
    let is_changed = |copy: &Copied| steps[writers[0]..].iter().any(|step| step.writes(copy.from.buffer));
    if copies.iter().any(is_changed) {
        return None;
    }
    let piece = |copy: Copied| {
        let of_row = if copy.row.is_some() { copy.from.strides[0].clone() } else { Dim::fixed(row) };
        let strides = match along {
            Along::Rows => vec![of_row, Dim::ONE],
            Along::Columns => vec![Dim::ONE, of_row],
        };
        View { strides, ..copy.from }
    };
    Some(PackMatrixCall { pieces: copies.into_iter().map(piece).collect(), along, ..call.clone() })
}
