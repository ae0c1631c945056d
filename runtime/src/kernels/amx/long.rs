//! Products of long sums whose left operand has adjacent rows, as [`super::super::long`] is for vectors: the gradients of
//! weights.
//!
//! Of the K loop a slab is done at a time: its part of the left operand is split once and stays in the second cache, a panel of
//! the right one is split just before it is used.
#![expect(unsafe_code, reason = "raw matrices")]

use std::sync::atomic::{AtomicBool, Ordering};

use crate::scratch::{Purpose, Scratch};

use super::super::gemm::{Gemm, Output};
use super::super::pack::Matrix;
use super::patch::{self, Operands, Patch};
use super::tile::Unit;
use super::{COLS, DEPTH, LONG_ROWS, PANEL, PARTS, ROWS, TILE, slab, split};

/// The product, of a left operand with adjacent rows.
///
/// # Safety
/// The operands are valid for their sizes, and the result is not otherwise in use; the matrix unit is there.
pub(crate) unsafe fn product(g: &Gemm<'_>) {
    for row in (0..g.a.rows).step_by(LONG_ROWS) {
        let rows = LONG_ROWS.min(g.a.rows - row);
        let part = Part { g, first: row, a: Matrix { data: g.a.at(row, 0), rows, ..g.a } };
        // SAFETY: promised by the caller.
        unsafe { part.run() };
    }
}

/// Some rows of the result.
struct Part<'a> {
    g: &'a Gemm<'a>,
    /// The first of them.
    first: usize,
    a: Matrix,
}

impl Part<'_> {
    unsafe fn run(&self) {
        let Part { g, ref a, .. } = *self;
        let k = a.cols;
        let steps_of_slab = slab(a.rows, k);
        let (row_tiles, panels) = (a.rows.div_ceil(ROWS), g.b.cols.div_ceil(COLS));
        let mut left = g.team.scratch.lend(Purpose::Left, row_tiles * steps_of_slab / DEPTH * PARTS * TILE);
        let left = Output(left.as_mut_ptr());
        // Few panels are shared by threads in pieces of their rows, each of two tiles at least.
        let pieces = (2 * g.team.threads()).div_ceil(panels).min(row_tiles.div_ceil(2));
        let pieces = if g.team.threads() == 1 { 1 } else { pieces };
        let per_piece = row_tiles.div_ceil(pieces).next_multiple_of(2);
        for step in (0..k).step_by(steps_of_slab) {
            let steps = steps_of_slab.min(k - step);
            let len = steps.div_ceil(DEPTH) * PARTS * TILE;
            let is_odd = AtomicBool::new(false);
            g.team.run(row_tiles, |_, tile| {
                let rows = ROWS.min(a.rows - tile * ROWS);
                let to = left.get().wrapping_add(tile * len);
                // SAFETY: each chunk has its own tiles; the instructions are there.
                if unsafe { split::adjacent_rows(a.at(tile * ROWS, step), a.col_stride, [steps, rows], to) } {
                    is_odd.store(true, Ordering::Relaxed);
                }
            });
            let is_odd = is_odd.into_inner();
            g.team.run(panels * row_tiles.div_ceil(per_piece), |scratch, chunk| {
                let (panel, piece) = (chunk % panels, chunk / panels);
                let tiles = [piece * per_piece, row_tiles.min((piece + 1) * per_piece)];
                // SAFETY: chunks write to disjoint blocks.
                unsafe { self.panel(scratch, [step, steps], panel, tiles, left.get(), is_odd) };
            });
        }
    }

    /// A slab of some tiles of rows and one panel.
    unsafe fn panel(
        &self,
        scratch: &Scratch,
        [step, steps]: [usize; 2],
        panel: usize,
        row_tiles: [usize; 2],
        left: *const f32,
        is_odd: bool,
    ) {
        let Part { g, first, ref a } = *self;
        let cols = COLS.min(g.b.cols - panel * COLS);
        let tiles = steps.div_ceil(DEPTH);
        let rows = [row_tiles[0] * ROWS, a.rows.min(row_tiles[1] * ROWS)];
        let mut right = scratch.lend(Purpose::Right, tiles * PANEL);
        let right = right.as_mut_ptr();
        let mut is_odd = is_odd;
        for half in 0..2 {
            let from = g.b.at(step, panel * COLS + half * ROWS);
            let (strides, cols) = ([g.b.row_stride, g.b.col_stride], cols.saturating_sub(half * ROWS).min(ROWS));
            let to = right.wrapping_add(half * TILE);
            // SAFETY: the scratch memory has room; the instructions are there.
            is_odd |= unsafe { split::columns(from, strides, [steps, cols], to, [PANEL, 2 * TILE]) };
        }
        let to = |row: usize| g.c.wrapping_offset((first + row) as isize * g.c_rs).wrapping_add(panel * COLS);
        let accumulate = g.accumulate || step > 0;
        if is_odd {
            for row in rows[0]..rows[1] {
                let b = Matrix { data: g.b.at(step, panel * COLS), rows: steps, cols, ..g.b };
                // SAFETY: promised by the caller.
                unsafe { self::row(a.at(row, step), g.a.col_stride, &b, to(row), accumulate) };
            }
        } else {
            // SAFETY: whoever calls this has asked whether the unit is there.
            let _unit = unsafe { Unit::enter() };
            for tile in (row_tiles[0]..row_tiles[1]).step_by(2) {
                let second = (tile + 1).min(row_tiles[1] - 1);
                let operands =
                    Operands::Below([tile, second].map(|tile| left.wrapping_add(tile * tiles * PARTS * TILE)), right);
                let patches = [tile, second].map(|tile| Patch {
                    to: to(tile * ROWS),
                    rows: patch::rows(rows[1] - tile * ROWS),
                    cols,
                });
                // SAFETY: promised by the caller.
                unsafe { patch::multiply(operands, patches, second - tile + 1, g.c_rs, tiles, accumulate) };
            }
        }
        if step + steps == a.cols {
            let cols = [panel * COLS, panel * COLS + cols];
            // SAFETY: these columns are complete.
            unsafe { g.frame.finish(g.epilogue, rows.map(|row| first + row), cols) };
        }
    }
}

/// A row of a panel, number by number.
#[cold]
#[target_feature(enable = "fma")]
unsafe fn row(a: *const f32, a_stride: isize, b: &Matrix, to: *mut f32, accumulate: bool) {
    for col in 0..b.cols {
        // SAFETY: promised by the caller.
        unsafe {
            let mut sum = if accumulate { *to.add(col) } else { 0.0 };
            for step in 0..b.rows {
                sum = (*a.offset(step as isize * a_stride)).mul_add(*b.at(step, col), sum);
            }
            *to.add(col) = sum;
        }
    }
}
