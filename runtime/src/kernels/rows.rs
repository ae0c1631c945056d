//! Products of few rows with a row-major matrix: sums of its rows, which are read once and in order.
#![expect(unsafe_code, reason = "vector instructions on raw matrices")]

use super::gemm::Gemm;
use super::simd::{Simd, Task};

/// Columns of a chunk: its part of the result stays in the first cache.
const COLS: usize = 1024;
/// Rows of the right operand that are added at once.
const UNROLL: usize = 8;

/// `a · b` for few rows of `a` and contiguous rows of `b`.
pub(crate) struct Rows<'a> {
    pub(crate) g: Gemm<'a>,
    /// Runs of columns, whose same parts one chunk computes.
    pub(crate) groups: usize,
}

impl Task for Rows<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Rows { g, groups } = self;
        let run = g.b.cols / groups;
        let cols = if run >= 4 * COLS { COLS } else { 128 };
        g.team.run(run.div_ceil(cols), |_, chunk| {
            let (first, last) = (chunk * cols, run.min(chunk * cols + cols));
            // SAFETY: chunks write to disjoint columns.
            unsafe {
                for group in 0..groups {
                    S::vectorize(Chunk { g: &g, first: group * run + first, last: group * run + last });
                }
                g.frame.finish(g.epilogue, [0, g.a.rows], [first, last]);
            }
        });
    }
}

struct Chunk<'a> {
    g: &'a Gemm<'a>,
    first: usize,
    last: usize,
}

impl Task for Chunk<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Chunk { g, first, last } = self;
        let k = g.b.rows;
        let mut p = 0;
        // Once also without any step, for the zeros.
        while p < k || p == 0 {
            for row in 0..g.a.rows {
                // SAFETY: indices within the operands; the columns belong to this chunk.
                unsafe {
                    if k - p >= UNROLL {
                        add::<S, UNROLL>(g, row, p, first, last);
                    } else {
                        add::<S, 0>(g, row, p, first, last);
                        for p in p..k {
                            add::<S, 1>(g, row, p, first, last);
                        }
                    }
                }
            }
            p += UNROLL;
        }
    }
}

/// Adds `P` rows of `b` to a row of the result, which the first of them sets; no rows at all set it to zero.
#[inline(always)]
unsafe fn add<S: Simd, const P: usize>(g: &Gemm<'_>, row: usize, p: usize, first: usize, last: usize) {
    if P == 0 && p > 0 {
        return;
    }
    // SAFETY: promised by the caller.
    unsafe {
        let to = g.c.offset(row as isize * g.c_rs);
        let factors: [S::V; P] = std::array::from_fn(|i| S::splat(*g.a.at(row, p + i)));
        let rows: [*const f32; P] = std::array::from_fn(|i| g.b.at(p + i, 0));
        // The tail of fewer than UNROLL rows has set the result to zero before.
        let fresh = P != 1 && p == 0;
        let mut col = first;
        while col < last {
            let count = S::LANES.min(last - col);
            let whole = count == S::LANES;
            let mut sum = if fresh {
                S::splat(0.0)
            } else if whole {
                S::load(to.add(col))
            } else {
                S::load_first(to.add(col), count)
            };
            for i in 0..P {
                let from = rows[i].add(col);
                let x = if whole { S::load(from) } else { S::load_first(from, count) };
                sum = S::mul_add(factors[i], x, sum);
            }
            if whole {
                S::store(to.add(col), sum);
            } else {
                S::store_first(to.add(col), sum, count);
            }
            col += S::LANES;
        }
    }
}
