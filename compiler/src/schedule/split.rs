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
    if steps[..at].iter().chain(&program.prepare).any(|step| step.touches(c.buffer)) {
        return None;
    }
    let copies: Vec<usize> = (at + 1..steps.len()).filter(|&step| steps[step].touches(c.buffer)).collect();
    let mut copied: Vec<Copied> = copies.iter().map(|&step| rows(&steps[step], c, n)).collect::<Option<_>>()?;
    for (copy, &step) in copied.iter().zip(&copies) {
        let between = (at + 1..step).filter(|step| !copies.contains(step));
        let is_operand = steps[at].touches(copy.to.buffer);
        if is_operand || between.map(|step| &steps[step]).any(|step| meets(step, &copy.to, n)) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Id;
    use crate::kernel::{Address, Axis, Buffer, BufferInfo, IntExpr, Kernel, Scalar, Store};
    use crate::types::ElementType;

    const COLS: usize = 3;

    fn matrix(buffer: Buffer, offset: usize, stride: usize) -> View {
        View { buffer, offset: Dim::fixed(offset), strides: vec![Dim::fixed(stride), Dim::ONE] }
    }

    /// Two rows from one place to another.
    fn copy(from: View, to: View) -> Step {
        let mut kernel = Kernel { domain: [0, 1].map(Axis::new).to_vec(), ..Kernel::default() };
        kernel.axes = [2, COLS].map(Dim::fixed).into_iter().collect();
        let ints = [0, 1].map(|axis| kernel.ints.push(IntExpr::Axis(Axis::new(axis))));
        let address = |view: &View| {
            let terms = ints.into_iter().zip(view.strides.iter().cloned()).collect();
            Address { offset: view.offset.clone(), terms }
        };
        let value = kernel.exprs.push(Scalar::Load { buffer: from.buffer, at: address(&from) });
        kernel.stores.push(Store { buffer: to.buffer, at: address(&to), value, streamed: None });
        Step::Loop(kernel)
    }

    /// `b2 = b0 @ b1`, of four rows, of which two are copied to columns of `b3` and two to `b4`. What `spoil` changes decides
    /// whether the product writes them there.
    fn pieces(spoil: impl FnOnce(&mut Program)) -> Option<Vec<View>> {
        let mut program = Program::default();
        let [a, b, c, first, second] = std::array::from_fn(|at| {
            let home = if at == 2 { Home::Workspace } else { Home::External(at) };
            let len = Dim::fixed(100);
            program.buffers.push(BufferInfo { name: String::new(), element: ElementType::F32, len, home })
        });
        let call = MatMulCall {
            batch: Dim::ONE,
            m: Dim::fixed(4),
            n: Dim::fixed(COLS),
            k: Dim::fixed(5),
            a: matrix(a, 0, 5),
            b: matrix(b, 0, COLS),
            c: matrix(c, 0, COLS),
            more: Vec::new(),
            packed: None,
            groups: 1,
            accumulate: false,
            shortcuts: crate::kernel::Shortcuts::default(),
            epilogue: None,
        };
        let copies = [(0, matrix(first, 4, 7)), (2, matrix(second, 0, COLS))];
        program.steps = vec![Step::MatMul(call)];
        program.steps.extend(copies.map(|(row, to)| copy(matrix(c, row * COLS, COLS), to)));
        spoil(&mut program);
        let steps = program.steps.len();
        results(&mut program);
        let Step::MatMul(call) = &program.steps[0] else { panic!("the first step is the product") };
        let is_changed = !call.more.is_empty();
        assert_eq!(program.steps.len(), if is_changed { steps - 2 } else { steps }, "copies are gone, or all there");
        is_changed.then(|| call.pieces().cloned().collect())
    }

    fn buffers() -> [Buffer; 5] {
        [0, 1, 2, 3, 4].map(Buffer::new)
    }

    #[test]
    fn rows_go_where_they_are_copied() {
        let [a, _, c, first, second] = buffers();
        let expected = Some(vec![matrix(first, 4, 7), matrix(second, 0, COLS)]);
        assert_eq!(pieces(|_| ()), expected);
        assert_eq!(pieces(|program| program.steps.swap(1, 2)), expected, "in any order");
        // Other columns of the same rows, and what was there before.
        let beside = copy(matrix(a, 0, 5), matrix(first, 0, 7));
        assert_eq!(pieces(|program| program.steps.insert(1, beside)), expected);
        // Both to one place, beside each other.
        let together = |program: &mut Program| {
            program.steps[2] = copy(matrix(c, 2 * COLS, COLS), matrix(first, 0, 7));
        };
        assert_eq!(pieces(together), Some(vec![matrix(first, 4, 7), matrix(first, 0, 7)]));
    }

    #[test]
    fn copies_stay_where_something_else_would_notice() {
        let [a, _, c, first, second] = buffers();
        type Spoil = Box<dyn Fn(&mut Program)>;
        let insert = |at: usize, step: Step| -> Spoil {
            Box::new(move |program: &mut Program| program.steps.insert(at, step.clone()))
        };
        let replace = |at: usize, step: Step| -> Spoil {
            Box::new(move |program: &mut Program| program.steps[at] = step.clone())
        };
        let rows = |row: usize| matrix(c, row * COLS, COLS);
        let cases: [(&str, Spoil); 8] = [
            ("what was there before is read", insert(1, copy(matrix(second, 0, COLS), matrix(a, 50, 5)))),
            ("it is written before the copy", insert(1, copy(matrix(a, 0, 5), matrix(first, 3, 7)))),
            ("the product is read otherwise", insert(1, copy(rows(1), matrix(a, 50, 5)))),
            ("an operand lies there", replace(2, copy(rows(2), matrix(a, 50, COLS)))),
            ("rows are left out", replace(2, copy(rows(1), matrix(second, 0, COLS)))),
            ("both go to one place", replace(2, copy(rows(2), matrix(first, 3, 7)))),
            ("it is kept", Box::new(move |program| program.buffers[c].home = Home::External(2))),
            ("a row is cut", replace(2, copy(matrix(c, 2 * COLS + 1, COLS), matrix(second, 0, COLS)))),
        ];
        for (what, spoil) in cases {
            assert_eq!(pieces(spoil), None, "{what}");
        }
    }
}
