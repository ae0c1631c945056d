//! Products of few rows with many rows, each element a dot product of two contiguous vectors.
//!
//! This is the matrix-vector product with weights stored as `[out, in]`: every weight is read once, in order.
#![expect(unsafe_code, reason = "vector instructions on raw matrices")]

use super::gemm::{Gemm, Output};
use super::pack::Matrix;
use super::simd::{Simd, Task};

/// The most rows of the left operand for which dot products beat packing.
pub(crate) const ROWS: usize = 8;
/// Most rows of the left operand that are multiplied at once.
const STRIP: usize = 4;
/// Rows of the right operand that all strips of the left one are multiplied with, before the next.
const BLOCK: usize = 6;
/// Floats ahead of what one row is multiplied with that are fetched: memory is read faster than without.
const AHEAD: usize = 256;
/// Rows that are shorter lie in a cache, or too few lines follow each other.
const LONG: usize = 1024;
/// Floats of the right operand that one chunk reads.
const CHUNK: usize = 1 << 16;

/// `left · rightᵀ`, both with contiguous rows; `transposed` if the rows of the result are those of `right`.
#[derive(Clone, Copy)]
pub(crate) struct Dots<'a> {
    pub(crate) g: Gemm<'a>,
    /// Runs of rows of `right`, whose same parts one chunk computes; 1 if `transposed`.
    pub(crate) groups: usize,
    pub(crate) left: Matrix,
    pub(crate) right: Matrix,
    pub(crate) transposed: bool,
}

// SAFETY: chunks read shared operands and write to disjoint blocks of the result.
unsafe impl Sync for Dots<'_> {}

impl Task for Dots<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let run = self.right.rows / self.groups;
        // Whole tiles of the widest kind, so that tiles are the same wherever a chunk ends.
        let rows = (CHUNK / self.right.cols.max(1) / self.groups).clamp(8, 512).next_multiple_of(24);
        self.g.team.run(run.div_ceil(rows), |_, chunk| {
            let (first, last) = (chunk * rows, run.min(chunk * rows + rows));
            // SAFETY: chunks write to disjoint blocks of the result.
            unsafe {
                for group in 0..self.groups {
                    S::vectorize(Chunk { dots: &self, first: group * run + first, last: group * run + last });
                }
                let all = [0, self.left.rows];
                let (rows, cols) = if self.transposed { ([first, last], all) } else { (all, [first, last]) };
                self.g.frame.finish(self.g.epilogue, rows, cols);
            }
        });
    }
}

struct Chunk<'a> {
    dots: &'a Dots<'a>,
    first: usize,
    last: usize,
}

impl Task for Chunk<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Chunk { dots, first, last } = self;
        // What several strips read is still in the second cache for the next.
        let block = if dots.left.rows <= STRIP { last - first } else { BLOCK };
        for first in (first..last).step_by(block.max(1)) {
            let last = last.min(first + block);
            let mut row = 0;
            while row < dots.left.rows {
                // SAFETY: indices within the operands.
                unsafe {
                    row += match dots.left.rows - row {
                        few if few < STRIP && S::COMPACT => strip::<S, 1, 8>(dots, row, first, last),
                        1 => strip::<S, 1, 8>(dots, row, first, last),
                        2 => strip::<S, 2, 6>(dots, row, first, last),
                        3 => strip::<S, 3, 4>(dots, row, first, last),
                        // Thirty-two registers hold the sums of all rows, so that what is read is read once.
                        more if more > STRIP && S::MANY_REGISTERS => strip::<S, ROWS, 3>(dots, row, first, last),
                        _ => strip::<S, STRIP, 3>(dots, row, first, last),
                    };
                }
            }
        }
    }
}

/// `R` rows of the left operand with rows `first..last` of the right one.
#[inline(always)]
unsafe fn strip<S: Simd, const R: usize, const Q: usize>(d: &Dots<'_>, row: usize, first: usize, last: usize) -> usize {
    let mut col = first;
    // SAFETY: promised by the caller.
    unsafe {
        while col + Q <= last {
            tile::<S, R, Q>(d, row, col);
            col += Q;
        }
        while col < last {
            tile::<S, R, 1>(d, row, col);
            col += 1;
        }
    }
    R
}

#[inline(always)]
unsafe fn tile<S: Simd, const R: usize, const Q: usize>(d: &Dots<'_>, row: usize, col: usize) {
    // SAFETY: promised by the caller.
    unsafe {
        let mut sums = [[S::splat(0.0); Q]; R];
        // Rows that are not there are the last one once more.
        let rows = (d.left.rows - row).min(R);
        let left: [*const f32; R] = std::array::from_fn(|i| d.left.at(row + i.min(rows - 1), 0));
        let right: [*const f32; Q] = std::array::from_fn(|j| d.right.at(col + j, 0));
        let k = d.left.cols;
        let fetches = R == 1 && k >= LONG;
        let mut p = 0;
        while p + S::LANES <= k {
            let a: [S::V; R] = std::array::from_fn(|i| S::load(left[i].add(p)));
            for j in 0..Q {
                if fetches {
                    S::prefetch(right[j].wrapping_add(p + AHEAD));
                }
                let b = S::load(right[j].add(p));
                for i in 0..R {
                    sums[i][j] = S::mul_add(a[i], b, sums[i][j]);
                }
            }
            p += S::LANES;
        }
        if p < k {
            let a: [S::V; R] = std::array::from_fn(|i| S::load_first(left[i].add(p), k - p));
            for j in 0..Q {
                let b = S::load_first(right[j].add(p), k - p);
                for i in 0..R {
                    sums[i][j] = S::mul_add(a[i], b, sums[i][j]);
                }
            }
        }
        let c = Output(d.g.c);
        for (i, sums) in sums.iter().enumerate().take(rows) {
            for (j, &sum) in sums.iter().enumerate() {
                let (i, j) = if d.transposed { (col + j, row + i) } else { (row + i, col + j) };
                *c.get().offset(i as isize * d.g.c_rs).add(j) = S::sum(sum);
            }
        }
    }
}
