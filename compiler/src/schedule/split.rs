//! Products of which some rows are copied here and the others there write them there.
//!
//! The gradients of a cell's gates are rows of one product, and those of each gate a part of a parameter's gradient.

use super::copy::{Copy, copy_of};
use crate::kernel::{Home, MatMulCall, Program, Step, View};
use crate::types::Dim;

/// Changes products, and drops the copies.
pub(super) fn results(program: &mut Program) {
    for at in 0..program.steps.len() {
        if let Some((pieces, copies)) = find(program, at) {
            let Some(Step::MatMul(call)) = program.steps.get_mut(at) else {
                panic!("a product was found at step {at}")
            };
            let mut pieces = pieces.into_iter();
            call.c = pieces.next().expect("a product has rows");
            call.more = pieces.collect();
            // All are behind the product.
            copies.into_iter().rev().for_each(|copy| _ = program.steps.remove(copy));
        }
    }
}

/// Where the rows of a product are copied to, piece by piece, and the copies in their order.
fn find(program: &Program, at: usize) -> Option<(Vec<View>, Vec<usize>)> {
    let steps = &program.steps;
    let Some(Step::MatMul(call)) = steps.get(at) else { return None };
    let MatMulCall { batch, m, n, c, more, packed, groups, accumulate, epilogue, .. } = call;
    let is_plain = batch.is_one() && packed.is_none() && *groups == 1 && !accumulate && epilogue.is_none();
    let (m, n) = (m.as_fixed()?, n.as_fixed()?);
    let is_whole = more.is_empty() && *c == View::whole(c.buffer, vec![Dim::fixed(n), Dim::ONE]);
    if !is_plain || !is_whole || program.buffers[c.buffer].home != Home::Workspace {
        return None;
    }
    let touches = |step: &&Step| step.touches(c.buffer);
    if steps[..at].iter().chain(&program.prepare).any(|step| touches(&step)) {
        return None;
    }
    let copies: Vec<usize> = (at + 1..steps.len()).filter(|&step| steps[step].touches(c.buffer)).collect();
    let mut copied: Vec<Copied> = copies.iter().map(|&step| rows(&steps[step], c, n)).collect::<Option<_>>()?;
    for (copy, &step) in copied.iter().zip(&copies) {
        let between = (at + 1..step).filter(|step| !copies.contains(step));
        if between.map(|step| &steps[step]).any(|step| meets(step, &copy.to, n)) {
            return None;
        }
    }
    copied.sort_by_key(|copy| copy.first);
    let run = copied.first()?.len;
    let are_all = copied.iter().enumerate().all(|(number, copy)| copy.len == run && copy.first == number * run);
    let is_apart = |copy: &Copied| copied.iter().all(|other| copy.first == other.first || are_apart(copy, other, n));
    if !are_all || copied.len() * run != m || !copied.iter().all(is_apart) {
        return None;
    }
    Some((copied.into_iter().map(|copy| copy.to).collect(), copies))
}

/// A copy of some rows of a matrix.
struct Copied {
    /// The first row, and how many there are.
    first: usize,
    len: usize,
    to: View,
}

/// Whether what is copied lies in different places.
fn are_apart(a: &Copied, b: &Copied, n: usize) -> bool {
    a.to.buffer != b.to.buffer || are_columns_apart(&a.to, &b.to, n, n)
}

/// Whether two places of one buffer have columns of their own in rows that are equally far apart.
fn are_columns_apart(a: &View, b: &View, a_cols: usize, b_cols: usize) -> bool {
    let stride = a.strides[0].as_fixed().filter(|_| a.strides[0] == b.strides[0]);
    let column = |view: &View| Some(view.offset.as_fixed()? % stride?);
    match (stride, column(a), column(b)) {
        (Some(stride), Some(a), Some(b)) => {
            a + a_cols <= stride && b + b_cols <= stride && (a + a_cols <= b || b + b_cols <= a)
        }
        _ => false,
    }
}

/// Whether a step reads what is to be written to `to`, or writes there itself.
fn meets(step: &Step, to: &View, n: usize) -> bool {
    if !step.touches(to.buffer) {
        return false;
    }
    let others: Vec<(View, usize)> = match step {
        Step::MatMul(call) if !step.reads(to.buffer) => {
            let Some(n) = call.n.as_fixed() else { return true };
            call.pieces().filter(|piece| piece.buffer == to.buffer).map(|piece| (piece.clone(), n)).collect()
        }
        _ => match copy_of(step) {
            Some(Copy { from, to: other, size: [_, cols] }) if from.buffer != to.buffer => vec![(other, cols)],
            _ => return true,
        },
    };
    !others.iter().all(|(other, cols)| are_columns_apart(to, other, n, *cols))
}

/// The rows of a matrix of `n` columns that a step copies, if it does nothing else.
fn rows(step: &Step, matrix: &View, n: usize) -> Option<Copied> {
    let Copy { mut from, mut to, size: [mut rows, mut cols] } = copy_of(step)?;
    if rows == 1 && cols > n && cols.is_multiple_of(n) {
        // Rows behind one another.
        (rows, cols) = (cols / n, n);
        (from.strides[0], to.strides[0]) = (Dim::fixed(n), Dim::fixed(n));
    }
    let offset = from.offset.as_fixed()?;
    let are_rows = cols == n && (rows == 1 || from.strides[0].as_fixed() == Some(n)) && offset.is_multiple_of(n);
    let is_it = from.buffer == matrix.buffer && to.buffer != matrix.buffer;
    (are_rows && is_it).then(|| Copied { first: offset / n, len: rows, to })
}
