//! Products of long sums whose left operand has adjacent rows, `[k, m]` in memory: the gradients of weights, sums over steps
//! and pixels.
//!
//! Rows of a left operand are packed in short pieces, a panel of a right one in whole lines. So the operand with more columns
//! in memory becomes the right one, and if that is `a`, the result is computed transposed, `cᵀ = bᵀ·a`. Of the K loop a slab
//! is done at a time: all rows of the left operand stay in the second cache, beside one panel of the right one, which is
//! packed just before it is used and read from memory once.
#![expect(unsafe_code, reason = "raw matrices")]

use crate::scratch::{Needs, Purpose, floats_of};

use super::gemm::{Gemm, Output, PackPanel};
use super::micro::{self, Block};
use super::pack::{self, Matrix};
use super::simd::{Simd, TALLEST, Task, WIDEST};

/// Most rows of the left operand, and columns of the right one, that are computed at once.
const ROWS: usize = 512;
const COLUMNS: usize = 2048;
/// Floats of the left operand that share the second cache with a panel.
const LEFT: usize = 256 << 10;
/// Most steps of a slab.
const STEPS: usize = 2048;
/// Fewer steps than this do not repay a pass over the results.
pub(crate) const FEW: usize = 512;
/// Steps of the left operand that one chunk packs.
const PACKED: usize = 32;

/// What [`product`] takes at most, for sizes up to these.
pub(crate) fn needs(m: usize, n: usize, k: usize) -> Needs {
    if k <= FEW {
        return Needs::default();
    }
    let (rows, steps) = (m.max(n).min(ROWS), k.min(STEPS));
    let pointers = floats_of::<*const f32>(rows);
    Needs::default()
        .caller(Purpose::Left, pack::most_adjacent(rows, steps).min(LEFT + (STEPS + 16) * TALLEST + 16 * ROWS))
        .caller(Purpose::Partial, n.min(ROWS) * (m.min(COLUMNS) + WIDEST))
        .caller(Purpose::Table, pointers)
        .caller(Purpose::Taps, pointers)
        .chunk(Purpose::Right, steps * WIDEST)
}

/// Steps of a slab, about equally many in all.
fn steps_of_a_slab(rows: usize, k: usize) -> usize {
    let most = (LEFT / rows.max(1)).clamp(FEW, STEPS);
    k.div_ceil(k.div_ceil(most)).next_multiple_of(8)
}

/// The product, of a left operand with adjacent rows.
///
/// # Safety
/// `Gemm`'s pointers are valid for its sizes.
#[inline(always)]
pub(crate) unsafe fn product<S: Simd>(g: &Gemm<'_>) {
    let is_transposed = g.a.rows > g.b.cols && g.b.col_stride == 1;
    let (left, right) = if is_transposed { (g.b.transposed(), g.a.transposed()) } else { (g.a, g.b) };
    for col in (0..right.cols).step_by(COLUMNS) {
        for row in (0..left.rows).step_by(ROWS) {
            let (rows, cols) = (ROWS.min(left.rows - row), COLUMNS.min(right.cols - col));
            let part = Part {
                g,
                left: Matrix { data: left.at(row, 0), rows, ..left },
                right: Matrix { data: right.at(0, col), cols, ..right },
                first: [row, col],
                is_transposed,
            };
            // SAFETY: promised by the caller.
            unsafe { part.run::<S>() };
        }
    }
}

/// Some rows and columns of the result, or columns and rows.
struct Part<'a> {
    g: &'a Gemm<'a>,
    left: Matrix,
    right: Matrix,
    /// The first of both.
    first: [usize; 2],
    is_transposed: bool,
}

// SAFETY: chunks read shared operands and write to disjoint blocks of the result.
unsafe impl Sync for Part<'_> {}

impl Part<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(&self) {
        let Part { g: &Gemm { team, .. }, left, right, first, .. } = *self;
        let (rows, k) = (left.rows, left.cols);
        let panels = right.cols.div_ceil(S::NR);
        let slab = steps_of_a_slab(rows, k);
        let most = Matrix { cols: slab.min(k), ..left };
        let mut packed = team.scratch.lend(Purpose::Left, pack::adjacent_len::<S>(&most));
        // Sums of a transposed result: panels of adjacent rows.
        let mut sums = team.scratch.lend(Purpose::Partial, if self.is_transposed { panels * rows * S::NR } else { 0 });
        let (packed, sums) = (Output(packed.as_mut_ptr()), Output(sums.as_mut_ptr()));
        let result = |row: usize| match self.is_transposed {
            true => sums.get().wrapping_add(row * S::NR),
            false => self.g.result(first[0] + row).0.wrapping_add(first[1]),
        };
        let results = team.scratch.lend_items(Purpose::Taps, (0..rows).map(result));
        let results = Shared(results.as_ptr());
        for step in (0..k).step_by(slab) {
            let steps = slab.min(k - step);
            let a = Matrix { data: left.at(0, step), cols: steps, ..left };
            team.run(steps.div_ceil(PACKED), |_, chunk| {
                let (first, last) = (chunk * PACKED, steps.min((chunk + 1) * PACKED));
                // SAFETY: each chunk has its own columns.
                unsafe { S::vectorize(PackLeft { a: &a, first, last, to: packed.get() }) };
            });
            let row = |row: usize| pack::adjacent_row::<S>(&a, packed.get(), row);
            let table = team.scratch.lend_items(Purpose::Table, (0..rows).map(row));
            let table = Shared(table.as_ptr());
            team.run(panels, |scratch, panel| {
                let mut packed = scratch.lend(Purpose::Right, steps * S::NR);
                let block = Block {
                    segments: 1,
                    len: steps,
                    left: table.get(),
                    left_rows: rows,
                    left_offset: 0,
                    left_step: S::MR as isize,
                    right: packed.as_ptr(),
                    right_step: S::NR as isize,
                    right_segment: 0,
                    right_panel: 0,
                    right_next: None,
                    right_first: 0,
                    is_tight: true,
                    result: results.get(),
                    result_offset: panel * if self.is_transposed { rows * S::NR } else { S::NR },
                    rows,
                    cols: S::NR.min(right.cols - panel * S::NR),
                    accumulate: step > 0,
                };
                let from = Matrix { data: right.at(step, 0), rows: steps, ..right };
                let is_last = step + steps == k;
                let sums = sums.get().wrapping_add(panel * rows * S::NR);
                // SAFETY: the scratch memory has room; chunks write to disjoint columns.
                unsafe {
                    S::vectorize(Panel { part: self, from, panel, to: packed.as_mut_ptr(), block, sums, is_last });
                };
            });
        }
    }
}

/// A table that chunks read.
#[derive(Clone, Copy)]
struct Shared<T>(*const T);

// SAFETY: as the type says.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// The pointer; a method, so that closures capture the whole.
    fn get(&self) -> *const T {
        self.0
    }
}

/// Packs columns `first..last` of a left operand whose rows are adjacent.
struct PackLeft<'a> {
    a: &'a Matrix,
    first: usize,
    last: usize,
    to: *mut f32,
}

impl Task for PackLeft<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: promised by the maker.
        unsafe { pack::adjacent::<S>(self.a, self.first, self.last, self.to) };
    }
}

/// A slab of one panel of the right operand: packed, multiplied, and stored if it is the last.
struct Panel<'a> {
    part: &'a Part<'a>,
    from: Matrix,
    panel: usize,
    to: *mut f32,
    block: Block,
    sums: *const f32,
    is_last: bool,
}

impl Task for Panel<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Panel { part, from, panel, to, block, sums, is_last } = self;
        let Part { g, first: [first_row, first_col], .. } = *part;
        // SAFETY: promised by the maker.
        unsafe {
            S::vectorize(PackPanel { b: &from, panel, first: 0, last: from.rows, to });
            micro::panels::<S>(&block, 0, 1);
            if !is_last {
                return;
            }
            let first_col = first_col + panel * S::NR;
            let (mut rows, mut cols) = ([first_row, first_row + block.rows], [first_col, first_col + block.cols]);
            if part.is_transposed {
                (rows, cols) = (cols, rows);
                let mut row = rows[0];
                while row < rows[1] {
                    let (to, to_rs, run) = g.result(row);
                    let run = run.min(rows[1] - row);
                    transpose::<S>(sums.add(row - rows[0]), [block.rows, run], to.add(cols[0]), to_rs);
                    row += run;
                }
            }
            g.frame.finish(g.epilogue, rows, cols);
        }
    }
}

/// Stores a panel of `rows` rows, of which `cols` columns are kept, as rows of the result.
#[inline(always)]
unsafe fn transpose<S: Simd>(from: *const f32, [rows, cols]: [usize; 2], to: *mut f32, to_rs: isize) {
    for col in (0..cols).step_by(8) {
        for row in (0..rows).step_by(8) {
            // SAFETY: promised by the caller.
            unsafe {
                let (from, to) = (from.add(row * S::NR + col), to.offset(col as isize * to_rs).add(row));
                let (height, width) = (8.min(rows - row), 8.min(cols - col));
                if height == 8 && width == 8 {
                    S::transpose_8x8(from, S::NR as isize, to, to_rs as usize);
                    continue;
                }
                for j in 0..width {
                    for i in 0..height {
                        *to.offset(j as isize * to_rs).add(i) = *from.add(i * S::NR + j);
                    }
                }
            }
        }
    }
}
