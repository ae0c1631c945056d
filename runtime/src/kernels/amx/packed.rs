//! The product with a right operand that was packed before, as [`super::super::packed`] is for vectors.
//!
//! Each element is a sum over blocks of the K loop whose ends depend on K alone: it depends neither on the other rows
//! nor on how the result is divided.
#![expect(unsafe_code, reason = "raw matrices")]

use std::arch::x86_64::*;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::scratch::{Purpose, Scratch};

use super::super::gemm::Output;
use super::super::pack::Matrix;
use super::super::packed::{Division, Packed, Parts};
use super::super::right::{Pack, Part};
use super::patch::{self, Operands, Patch};
use super::tile::Unit;
use super::{COLS, DEPTH, KC, MC, PANEL, PARTS, ROWS, TILE, split};

/// Columns of a run after which the epilogue is called.
const EPILOGUE_COLS: usize = 64;
/// A packed operand is `[block of K][panel][run][tile along K][part][2 tiles of columns]`.
#[derive(Clone, Copy)]
struct Layout {
    k: usize,
    /// Steps of a block of the K loop but the last.
    kc: usize,
    blocks: usize,
    /// Columns of a run, and its panels.
    run: usize,
    panels: usize,
    groups: usize,
}

impl Layout {
    fn new([k, n]: [usize; 2], groups: usize) -> Layout {
        let run = n / groups;
        let kc = k.div_ceil(k.div_ceil(KC).max(1)).next_multiple_of(DEPTH).max(DEPTH);
        Layout { k, kc, blocks: k.div_ceil(kc), run, panels: run.div_ceil(COLS), groups }
    }
    /// The steps of a block.
    fn steps(&self, block: usize) -> [usize; 2] {
        [block * self.kc, self.k.min((block + 1) * self.kc)]
    }
    /// Tiles along a block of the K loop.
    fn tiles(&self, block: usize) -> usize {
        let [first, last] = self.steps(block);
        (last - first).div_ceil(DEPTH)
    }
    /// Where a panel begins.
    fn at(&self, block: usize, group: usize, panel: usize) -> usize {
        let before = block * self.kc / DEPTH * self.panels * self.groups;
        (before + (panel * self.groups + group) * self.tiles(block)) * PANEL
    }
}

/// Packs a piece of a right operand: see [`PackMatrix`](crate::abi::PackMatrix). Whether it has columns for the vector units.
///
/// # Safety
/// The piece is valid for its sizes, and there is room for [`packed_len`](super::packed_len) floats; the matrix unit is there.
pub(crate) unsafe fn pack(p: &Pack<'_>) -> bool {
    let Pack { team, size, groups, part: Part { matrix: piece, first: [first_row, first_col] }, packed } = *p;
    let layout = Layout::new(size, groups);
    let packed = Output(packed);
    let (last_row, last_col) = (first_row + piece.rows, first_col + piece.cols);
    let is_odd = AtomicBool::new(false);
    team.run(layout.groups * layout.panels * layout.blocks, |_, chunk| {
        let (block, rest) = (chunk % layout.blocks, chunk / layout.blocks);
        let (group, panel) = (rest / layout.panels, rest % layout.panels);
        let [step, end] = layout.steps(block);
        let [first, last] = [first_row.max(step), last_row.min(end)];
        if first >= last || !(first_col..last_col).contains(&(group * layout.run + panel * COLS)) {
            return;
        }
        for half in 0..2 {
            let in_run = panel * COLS + half * ROWS;
            let to = packed.get().wrapping_add(layout.at(block, group, panel) + half * TILE);
            // The piece's run of columns, as if all were there.
            let first_of_run = (group * layout.run + in_run) as isize - first_col as isize;
            let part = piece.columns_from(first_of_run, layout.run.saturating_sub(in_run).min(ROWS));
            // SAFETY: each chunk has its own place; the instructions are there.
            if unsafe { pack_rows(&part, [first, last].map(|row| row - first_row), first - step, to) } {
                is_odd.store(true, Ordering::Relaxed);
            }
        }
    });
    is_odd.into_inner()
}

/// Packs rows of a piece, from the step `step` of a block on, which may lie within a tile that another piece began.
unsafe fn pack_rows(piece: &Matrix, [first, last]: [usize; 2], step: usize, to: *mut f32) -> bool {
    let at = |step: usize| to.wrapping_add(step / DEPTH * PANEL);
    let within = (step.next_multiple_of(DEPTH) - step).min(last - first);
    // SAFETY: promised by the caller.
    unsafe {
        for row in 0..within {
            let step = step + row;
            let place = at(step).wrapping_add(step % DEPTH / 2 * 16);
            for col in 0..piece.cols {
                split::number(*piece.at(first + row, col), place.wrapping_add(col), step % 2, 2 * TILE);
            }
        }
        let strides = [piece.row_stride, piece.col_stride];
        let mut largest = [0; ROWS];
        for row in (first + within..last).step_by(DEPTH) {
            let size = [DEPTH.min(last - row), piece.cols];
            let found = split::columns(piece.at(row, 0), strides, size, at(step + row - first), 2 * TILE);
            split::note(&mut largest, found);
        }
        largest.into_iter().any(split::is_odd)
    }
}

/// The product, of which `p.packed` holds the right operand.
///
/// # Safety
/// The operands are valid for their sizes, and the result is not otherwise in use; the matrix unit is there.
pub(crate) unsafe fn product(p: &Packed<'_>) {
    let layout = Layout::new([p.g.b.rows, p.g.b.cols], p.groups);
    let division = Division::new(p.g.team.threads(), p.g.a.rows, [MC, 2 * ROWS], [layout.panels, 1]);
    p.g.team.run(division.chunks(), |scratch, chunk| {
        let [rows, panels] = division.chunk(chunk);
        // SAFETY: chunks write to disjoint blocks.
        unsafe { Chunk { p, scratch, layout, rows, panels }.run() };
    });
}

struct Chunk<'a> {
    p: &'a Packed<'a>,
    scratch: &'a Scratch,
    layout: Layout,
    rows: [usize; 2],
    /// Of each run.
    panels: [usize; 2],
}

impl Chunk<'_> {
    unsafe fn run(self) {
        let Chunk { p: &Packed { ref g, groups, .. }, scratch, layout, rows: [first_row, last_row], panels } = self;
        let row_tiles = (last_row - first_row).div_ceil(ROWS);
        let mut left = scratch.lend(Purpose::Left, row_tiles * layout.kc / DEPTH * PARTS * TILE);
        let left = left.as_mut_ptr();
        let parts = Parts::new(panels, [EPILOGUE_COLS / COLS, COLS], layout.run, g.turned);
        // SAFETY: the network made the epilogue for this product.
        unsafe { parts.begin(g, [first_row, last_row]) };
        // SAFETY: whoever calls this has asked whether the unit is there. Epilogues do not know of it.
        let _unit = unsafe { Unit::enter() };
        for block in 0..layout.blocks {
            let mut odd = [0; MC / ROWS];
            for (row_tile, odd) in odd[..row_tiles].iter_mut().enumerate() {
                // SAFETY: the scratch memory has room.
                *odd = unsafe { self.split_rows(block, row_tile, left) };
            }
            for at in 0..parts.count() {
                let [panel, until] = parts.panels(at);
                let count = (until - panel) * groups;
                // Two tiles of rows at a time, and of a last one two panels.
                for row_tile in (0..row_tiles).step_by(2) {
                    let pair = |index: usize| (panel + index / groups, index % groups);
                    if row_tile + 1 < row_tiles {
                        for index in 0..count {
                            // SAFETY: promised by the caller.
                            unsafe { self.patches(block, left, &odd, [row_tile, row_tile + 1], [pair(index); 2]) };
                        }
                    } else {
                        for index in (0..count).step_by(2) {
                            let second = pair((index + 1).min(count - 1));
                            // SAFETY: promised by the caller.
                            unsafe { self.patches(block, left, &odd, [row_tile; 2], [pair(index), second]) };
                        }
                    }
                }
                if block + 1 == layout.blocks {
                    // SAFETY: as above; these columns are complete in all runs.
                    unsafe { parts.finish(g, [first_row, last_row], at) };
                }
            }
        }
    }

    /// Floats of a tile of rows.
    fn left_len(&self, block: usize) -> usize {
        self.layout.tiles(block) * PARTS * TILE
    }

    /// Splits 16 rows; says which of them are for the vector units.
    unsafe fn split_rows(&self, block: usize, row_tile: usize, left: *mut f32) -> u16 {
        let [step, end] = self.layout.steps(block);
        let k = end - step;
        let to = left.wrapping_add(row_tile * self.left_len(block));
        let mut copy = [0.0_f32; KC];
        let mut odd = 0;
        for at in 0..ROWS {
            let (row, to) = (self.rows[0] + row_tile * ROWS + at, to.wrapping_add(at * 16));
            // SAFETY: promised by the caller.
            unsafe {
                if row >= self.rows[1] {
                    split::no_row(k, to, split::TOGETHER);
                    continue;
                }
                let from = self.row(row, step, k, &mut copy);
                odd |= u16::from(split::row(from, k, to, split::TOGETHER)) << at;
            }
        }
        odd
    }

    /// A row of the left operand, copied if its elements are apart.
    unsafe fn row(&self, row: usize, step: usize, k: usize, copy: &mut [f32; KC]) -> *const f32 {
        let (from, stride) = (self.p.left(row, step), self.p.g.a.col_stride);
        if stride == 1 {
            return from;
        }
        for (at, x) in copy[..k].iter_mut().enumerate() {
            // SAFETY: promised by the caller.
            *x = unsafe { *from.wrapping_offset(at as isize * stride) };
        }
        copy.as_ptr()
    }

    /// Computes a block of two patches: of two tiles of rows in one panel, or of one in two, which may be the same.
    unsafe fn patches(
        &self,
        block: usize,
        left: *const f32,
        odd: &[u16; MC / ROWS],
        row_tiles: [usize; 2],
        panels: [(usize, usize); 2],
    ) {
        let Chunk { p: &Packed { ref g, packed, .. }, layout, rows: [first_row, last_row], .. } = *self;
        let is_below = row_tiles[0] != row_tiles[1];
        let count = if is_below || panels[0] != panels[1] { 2 } else { 1 };
        let tiles = layout.tiles(block);
        let accumulate = g.accumulate || block > 0;
        let a = row_tiles.map(|row_tile| left.wrapping_add(row_tile * self.left_len(block)));
        let b = panels.map(|(panel, group)| packed.wrapping_add(layout.at(block, group, panel)));
        let results: [*mut f32; 2 * ROWS] = std::array::from_fn(|at| {
            let row = first_row + row_tiles[at / ROWS] * ROWS + at % ROWS;
            g.c.wrapping_offset(row as isize * g.c_rs)
        });
        let patches: [Patch<'_>; 2] = std::array::from_fn(|at| {
            let ((panel, group), row_tile) = (panels[at], row_tiles[at]);
            Patch {
                rows: &results[at * ROWS..][..(last_row - first_row - row_tile * ROWS).min(ROWS)],
                odd: odd[row_tile],
                col: group * layout.run + panel * COLS,
                cols: COLS.min(layout.run - panel * COLS),
            }
        });
        let operands = if is_below { Operands::Below(a, b[0]) } else { Operands::Beside(a[0], b) };
        // SAFETY: promised by the caller.
        unsafe {
            patch::multiply(operands, patches, count, tiles, accumulate);
            for at in 0..count {
                let odd = odd[row_tiles[at]];
                for row in (0..ROWS).filter(|row| odd >> row & 1 != 0) {
                    self.odd_row(block, first_row + row_tiles[at] * ROWS + row, panels[at], accumulate);
                }
            }
        }
    }

    /// Computes a row of a panel in vectors, from numbers put together again.
    #[cold]
    unsafe fn odd_row(&self, block: usize, row: usize, (panel, group): (usize, usize), accumulate: bool) {
        let Chunk { p: &Packed { ref g, packed, .. }, layout, .. } = *self;
        let [step, end] = layout.steps(block);
        let mut copy = [0.0_f32; KC];
        let in_run = panel * COLS;
        let from = packed.wrapping_add(layout.at(block, group, panel));
        let to = g.c.wrapping_offset(row as isize * g.c_rs).wrapping_add(group * layout.run + in_run);
        // SAFETY: promised by the caller.
        unsafe {
            let a = self.row(row, step, end - step, &mut copy);
            for half in 0..2 {
                let cols = layout.run.saturating_sub(in_run + half * ROWS).min(ROWS);
                let (from, to) = (from.wrapping_add(half * TILE), to.wrapping_add(half * ROWS));
                vector(a, end - step, from, to, cols, accumulate);
            }
        }
    }
}

/// A row by 16 columns, of which `cols` are there.
#[target_feature(enable = "avx512f,fma")]
unsafe fn vector(a: *const f32, k: usize, b: *const f32, to: *mut f32, cols: usize, accumulate: bool) {
    // SAFETY: promised by the caller.
    unsafe {
        let mask = ((1_u32 << cols) - 1) as __mmask16;
        let mut sum = if accumulate { _mm512_maskz_loadu_ps(mask, to) } else { _mm512_setzero_ps() };
        for step in 0..k {
            let at = b.wrapping_add(step / DEPTH * PANEL + step % DEPTH / 2 * 16);
            let [x, y, z]: [__m512; PARTS] = std::array::from_fn(|part| {
                let pairs = _mm512_loadu_si512(at.wrapping_add(part * 2 * TILE).cast());
                split::numbers(pairs)[step % 2]
            });
            let whole = _mm512_add_ps(_mm512_add_ps(x, y), z);
            sum = _mm512_fmadd_ps(_mm512_set1_ps(*a.add(step)), whole, sum);
        }
        _mm512_mask_storeu_ps(to, mask, sum);
    }
}
