//! Products of long sums whose left operand has adjacent rows, as [`super::super::long`] is for vectors: the gradients of
//! weights.
//!
//! Threads share the result, and nothing else: what one core has split would reach another's cache slowly. Of the K loop a slab
//! is done at a time: its part of the left operand is split once and stays in the second cache, a panel of the right one is
//! split just before it is used.
#![expect(unsafe_code, reason = "raw matrices")]

use crate::scratch::{Purpose, Scratch};

use super::super::gemm::Gemm;
use super::super::pack::Matrix;
use super::patch::{self, Operands, Patch};
use super::split::Largest;
use super::tile::Unit;
use super::{COLS, DEPTH, GROUP, LONG_ROWS, PANEL, PARTS, ROWS, SLAB, TILE, split};

/// Rows of a chunk, in tiles.
const MOST_TILES: usize = LONG_ROWS / ROWS;

/// The product, of a left operand with adjacent rows.
///
/// # Safety
/// The operands are valid for their sizes, and the result is not otherwise in use; the matrix unit is there.
pub(crate) unsafe fn product(g: &Gemm<'_>) {
    let (row_tiles, panels) = (g.a.rows.div_ceil(ROWS), g.b.cols.div_ceil(COLS));
    let threads = g.team.threads();
    // Each thread has rows of its own if they are many, else columns: the fewer operands are split twice.
    let row_blocks = row_tiles.div_ceil(MOST_TILES);
    let row_blocks = if g.a.rows >= g.b.cols { row_blocks.max(threads.min(row_tiles / 2)) } else { row_blocks };
    let row_blocks = if row_blocks > threads { row_blocks.next_multiple_of(threads) } else { row_blocks };
    let tiles = row_tiles.div_ceil(row_blocks).next_multiple_of(2).min(MOST_TILES);
    let row_blocks = row_tiles.div_ceil(tiles);
    let splits = threads.div_ceil(row_blocks).min(panels);
    let per_split = panels.div_ceil(splits);
    g.team.run(row_blocks * panels.div_ceil(per_split), |scratch, chunk| {
        let (row, panel) = (chunk % row_blocks * tiles * ROWS, chunk / row_blocks * per_split);
        let rows = [row, g.a.rows.min(row + tiles * ROWS)];
        let panels = [panel, panels.min(panel + per_split)];
        // SAFETY: chunks write to disjoint blocks.
        unsafe { Chunk { g, scratch, rows, panels }.run() };
    });
}

/// Some rows and columns of the result.
struct Chunk<'a> {
    g: &'a Gemm<'a>,
    scratch: &'a Scratch,
    rows: [usize; 2],
    panels: [usize; 2],
}

impl Chunk<'_> {
    unsafe fn run(self) {
        let Chunk { g, scratch, rows, panels } = self;
        let k = g.a.cols;
        let row_tiles = (rows[1] - rows[0]).div_ceil(ROWS);
        let most = SLAB.min(k).div_ceil(DEPTH);
        let mut left = scratch.lend(Purpose::Left, row_tiles * most * PARTS * TILE);
        let mut right = scratch.lend(Purpose::Right, GROUP * most * PANEL);
        let (left, right) = (left.as_mut_ptr(), right.as_mut_ptr());
        // SAFETY: whoever calls this has asked whether the unit is there. Epilogues do not know of it.
        let _unit = unsafe { Unit::enter() };
        for step in (0..k).step_by(SLAB) {
            let steps = SLAB.min(k - step);
            // SAFETY: the scratch memory has room; promised by the caller.
            unsafe {
                let odd = self.split_rows(step, steps, left);
                for panel in (panels[0]..panels[1]).step_by(GROUP) {
                    let group = [panel, panels[1].min(panel + GROUP)];
                    let are_odd = self.split_columns([step, steps], group, right);
                    for (at, panel) in (group[0]..group[1]).enumerate() {
                        let right = right.wrapping_add(at * most * PANEL);
                        let odd = if are_odd[at] { &[u16::MAX; MOST_TILES] } else { &odd };
                        self.panel([step, steps], panel, left, right, odd);
                    }
                    if step + steps == k {
                        g.frame.finish(g.epilogue, rows, group.map(|panel| g.b.cols.min(panel * COLS)));
                    }
                }
            }
        }
    }

    /// Splits a slab of all rows; says which of each tile are for the vector units.
    unsafe fn split_rows(&self, step: usize, steps: usize, left: *mut f32) -> [u16; MOST_TILES] {
        let Chunk { g, rows: [first, last], .. } = *self;
        let mut largest: [Largest; MOST_TILES] = [[0; ROWS]; MOST_TILES];
        // Some steps of all rows, as they lie in memory.
        for (at, step) in (step..step + steps).step_by(DEPTH).enumerate() {
            let steps_of_tile = DEPTH.min(g.a.cols - step);
            for (tile, row) in (first..last).step_by(ROWS).enumerate() {
                let to = left.wrapping_add((tile * steps.div_ceil(DEPTH) + at) * PARTS * TILE);
                let size = [steps_of_tile, ROWS.min(last - row)];
                // SAFETY: promised by the caller; the instructions are there.
                let found = unsafe { split::adjacent_rows(g.a.at(row, step), g.a.col_stride, size, to) };
                split::note(&mut largest[tile], found);
            }
        }
        let bit = |(at, &largest): (usize, &u32)| u16::from(split::is_odd(largest)) << at;
        largest.map(|largest| largest.iter().enumerate().map(bit).sum())
    }

    /// Splits a slab of some panels; says which of them have columns for the vector units.
    unsafe fn split_columns(
        &self,
        [step, steps]: [usize; 2],
        [first, last]: [usize; 2],
        right: *mut f32,
    ) -> [bool; GROUP] {
        let g = self.g;
        let most = SLAB.min(g.a.cols).div_ceil(DEPTH);
        let mut largest: [[Largest; 2]; GROUP] = [[[0; ROWS]; 2]; GROUP];
        // Some steps of all columns, as they may lie in memory.
        for (at, step) in (step..step + steps).step_by(DEPTH).enumerate() {
            let steps = DEPTH.min(g.a.cols - step);
            for (panel, largest) in (first..last).zip(&mut largest) {
                for (half, largest) in largest.iter_mut().enumerate() {
                    let col = panel * COLS + half * ROWS;
                    let size = [steps, g.b.cols.saturating_sub(col).min(ROWS)];
                    let strides = [g.b.row_stride, g.b.col_stride];
                    let to = right.wrapping_add(((panel - first) * most + at) * PANEL + half * TILE);
                    // SAFETY: promised by the caller; the instructions are there.
                    let found = unsafe { split::columns(g.b.at(step, col), strides, size, to, 2 * TILE) };
                    split::note(largest, found);
                }
            }
        }
        largest.map(|largest| largest.into_iter().flatten().any(split::is_odd))
    }

    /// A slab of one panel.
    unsafe fn panel(
        &self,
        [step, steps]: [usize; 2],
        panel: usize,
        left: *const f32,
        right: *const f32,
        odd: &[u16; MOST_TILES],
    ) {
        let Chunk { g, rows: [first, last], .. } = *self;
        let first_col = panel * COLS;
        let cols = COLS.min(g.b.cols - first_col);
        let tiles = steps.div_ceil(DEPTH);
        let result = |row: usize| g.c.wrapping_offset(row as isize * g.c_rs);
        let accumulate = g.accumulate || step > 0;
        for row in (first..last).step_by(2 * ROWS) {
            let tile = (row - first) / ROWS;
            let count = if row + ROWS < last { 2 } else { 1 };
            let tiles_of_rows = [tile, tile + count - 1];
            let results: [*mut f32; 2 * ROWS] = std::array::from_fn(|at| result(row + at));
            let odd = tiles_of_rows.map(|tile| odd[tile]);
            let patches = [0, 1].map(|at| {
                let [begin, end] = [at, at + 1].map(|at| (at * ROWS).min(last - row));
                Patch { rows: &results[begin..end], odd: odd[at], col: first_col, cols }
            });
            let a = tiles_of_rows.map(|tile| left.wrapping_add(tile * tiles * PARTS * TILE));
            // SAFETY: promised by the caller.
            unsafe {
                if odd != [u16::MAX; 2] {
                    patch::multiply(Operands::Below(a, right), patches, count, tiles, accumulate);
                }
                for at in (0..(last - row).min(2 * ROWS)).filter(|at| odd[at / ROWS] >> (at % ROWS) & 1 != 0) {
                    let b = Matrix { data: g.b.at(step, first_col), rows: steps, cols, ..g.b };
                    let to = results[at].wrapping_add(first_col);
                    odd_row(g.a.at(row + at, step), g.a.col_stride, &b, to, accumulate);
                }
            }
        }
    }
}

/// A row of a panel, number by number.
#[cold]
#[target_feature(enable = "fma")]
unsafe fn odd_row(a: *const f32, a_stride: isize, b: &Matrix, to: *mut f32, accumulate: bool) {
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
