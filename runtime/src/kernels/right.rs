//! A right operand of products on its way to being [`packed`](super::packed): in pieces, of which each has some of its rows or of its
//! columns.
#![expect(unsafe_code, reason = "raw matrices")]

use crate::abi::RightPiece;
use crate::threads::Team;

use super::gemm::{Output, PackPanel};
use super::pack::{self, Matrix};
use super::packed::Layout;
use super::simd::{Simd, Task};

/// An operand in pieces of one size: see [`PackMatrix`](crate::abi::PackMatrix).
#[derive(Clone, Copy)]
pub(crate) struct Pieces<'a> {
    pub(crate) all: &'a [RightPiece],
    /// Of the whole operand.
    pub(crate) size: [usize; 2],
    pub(crate) groups: usize,
    pub(crate) in_rows: bool,
}

// SAFETY: chunks only read through it.
unsafe impl Sync for Pieces<'_> {}

impl Pieces<'_> {
    pub(crate) fn iter(&self) -> impl Iterator<Item = Part> {
        let Pieces { all, size: [k, n], in_rows, .. } = *self;
        let [rows, cols] = if in_rows { [k / all.len(), n] } else { [k, n / all.len()] };
        all.iter().enumerate().map(move |(number, &RightPiece { b, b_rs, b_cs })| {
            let matrix = Matrix { data: b, rows, cols, row_stride: b_rs as isize, col_stride: b_cs as isize };
            let first = if in_rows { [number * rows, 0] } else { [0, number * cols] };
            Part { matrix: matrix.with_units(), first }
        })
    }
}

/// A part of an operand.
#[derive(Clone, Copy)]
pub(crate) struct Part {
    pub(crate) matrix: Matrix,
    /// Where it begins in the operand.
    pub(crate) first: [usize; 2],
}

impl Part {
    /// All of it.
    pub(crate) fn whole(matrix: Matrix) -> Part {
        Part { matrix, first: [0; 2] }
    }

    /// Which of some steps there are of a panel of a run, if any.
    #[inline(always)]
    pub(super) fn steps<S: Simd>(
        &self,
        layout: &Layout,
        [group, panel]: [usize; 2],
        [step, end]: [usize; 2],
    ) -> Option<[usize; 2]> {
        let Part { matrix, first: [first_row, first_col] } = self;
        let [first, last] = [step.max(*first_row), end.min(first_row + matrix.rows)];
        let columns = *first_col..first_col + matrix.cols;
        (first < last && columns.contains(&(group * layout.run + panel * S::NR))).then_some([first, last])
    }

    /// Where a panel of a run begins at one of its steps.
    #[inline(always)]
    pub(super) fn at<S: Simd>(&self, layout: &Layout, [group, panel]: [usize; 2], step: usize) -> *const f32 {
        let [first_row, first_col] = self.first;
        self.matrix.at(step - first_row, group * layout.run + panel * S::NR - first_col)
    }

    /// Packs what there is of a panel of a run, of some steps, of which the first belongs at `to`.
    ///
    /// # Safety
    /// There is room for the steps of the panel, and this processor has the instructions of `S`.
    #[inline(always)]
    pub(super) unsafe fn panel<S: Simd>(
        &self,
        layout: &Layout,
        [group, panel]: [usize; 2],
        steps: [usize; 2],
        to: *mut f32,
    ) {
        let Part { matrix, first: [first_row, first_col] } = self;
        let Some([first, last]) = self.steps::<S>(layout, [group, panel], steps) else { return };
        // The panel's run of columns, as if all were there.
        let run = matrix.columns_from((group * layout.run) as isize - *first_col as isize, layout.run);
        let to = to.wrapping_add((first - steps[0]) * pack::panel_width::<S>(layout.run, panel));
        let [first, last] = [first - first_row, last - first_row];
        // SAFETY: promised by the caller.
        unsafe { S::vectorize(PackPanel { b: &run, panel, first, last, to }) };
    }
}

/// Packs a part of an operand of so many rows and columns.
pub(crate) struct Pack<'a> {
    pub(crate) team: Team<'a>,
    pub(crate) size: [usize; 2],
    pub(crate) groups: usize,
    pub(crate) part: Part,
    pub(crate) packed: *mut f32,
}

impl Task for Pack<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Pack { team, size, groups, part, packed } = self;
        let (layout, packed) = (Layout::new::<S>(size, groups), Output(packed));
        team.run(layout.groups * layout.panels * layout.blocks, |_, chunk| {
            let (block, rest) = (chunk % layout.blocks, chunk / layout.blocks);
            let (group, panel) = (rest / layout.panels, rest % layout.panels);
            let to = packed.get().wrapping_add(layout.at::<S>(block, group, panel));
            // SAFETY: each chunk has its own place.
            unsafe { part.panel::<S>(&layout, [group, panel], layout.steps(block), to) };
        });
    }
}
