//! The forward direction and the data gradient.
//!
//! Where few channels let a block of transformed tiles stay in the second cache, a chunk transforms its own. Otherwise
//! tiles are transformed into memory that stays in the last cache, and a chunk multiplies some of them with some panels
//! of weights. In both cases the products are transformed back while they are in the second cache.
//!
//! Weights that no call has packed beforehand are packed as a whole, or, if all tiles are transformed at a time, one group
//! of panels after the other, each used by all tiles while it is in the last cache.
#![expect(unsafe_code, reason = "vector instructions on raw images")]

use std::mem::MaybeUninit;

use crate::scratch::{Needs, Purpose, Scratch};
use crate::threads::Team;

use super::super::super::gemm::Output;
use super::super::super::micro::{self, Block};
use super::super::super::simd::{LONGEST, Simd, Task, WIDEST};
use super::super::finish::{self, Blocks, Finish};
use super::super::geometry::{Correlation, Image};
use super::pack::PackPanel;
use super::tiles::{Grid, Layout, Source};
use super::transforms::{MOST, Points};
use super::{COLS, origin, per_group};

/// Most tiles of a chunk on any CPU.
const TILES: usize = 96;
/// Most tiles of a chunk that transforms its own.
const OWN_TILES: usize = 24;
/// Most floats of transformed tiles at a time that all chunks share.
const SHARED: usize = 2 << 20;
/// Floats of transformed tiles of a chunk that may have its own: at least those of the fewest tiles.
const OWN: usize = 72 << 10;
/// With fewer tiles, reading the weights for a chunk costs more than sharing transformed tiles does.
const FEW: usize = 12;
/// As many chunks keep several threads evenly busy.
const CHUNKS: usize = 12;

pub(crate) struct Winograd<'a, P> {
    pub(crate) team: Team<'a>,
    pub(crate) g: &'a Correlation<'a>,
    /// Null to pack them, where [`packs`] says so.
    pub(crate) packed: *const f32,
    pub(crate) finish: Finish<'a>,
    pub(crate) points: P,
}

// SAFETY: chunks read shared operands and write to disjoint tiles of the result.
unsafe impl<P> Sync for Winograd<'_, P> {}
// SAFETY: as above.
unsafe impl<P> Sync for All<'_, P> {}

/// Most tiles that are transformed at a time for all chunks.
fn most_shared<P: Points>(channels: usize) -> usize {
    (SHARED / (P::ALL * channels) / OWN_TILES).max(1) * OWN_TILES
}

/// Most tiles whose products stay in the second cache.
fn most_tiles<S: Simd, P: Points>() -> usize {
    (S::PRODUCTS / (P::ALL * COLS)).min(TILES)
}

/// Most tiles of a chunk that transforms its own, if so many floats may be.
fn most_own<P: Points>(channels: usize, floats: usize) -> usize {
    (floats / (P::ALL * Layout::new(1, channels).tile)).min(OWN_TILES)
}

/// Whether chunks transform their own tiles, on any CPU.
fn owns<P: Points>(g: &Correlation<'_>, all: usize) -> bool {
    most_own::<P>(g.from.channels, OWN) >= FEW && all >= CHUNKS * FEW
}

/// How many tiles each chunk transforms then.
fn own<S: Simd, P: Points>(g: &Correlation<'_>, all: usize) -> usize {
    let most = most_own::<P>(g.from.channels, S::TRANSFORMED).max(FEW);
    all.div_ceil(all.div_ceil(most))
}

/// Whether weights are best packed by the groups that use them; with fewer pixels too, if with these.
pub(crate) fn packs<P: Points>(g: &Correlation<'_>, _: P) -> bool {
    let all = Grid::new::<P>(&g.to).tiles(g.images);
    !owns::<P>(g, all) && all <= most_shared::<P>(g.from.channels)
}

/// Parts of the result, at most on any CPU, for so many tiles and fewer.
pub(crate) fn most_parts<P: Points>(g: &Correlation<'_>, _: P) -> usize {
    let all = Grid::new::<P>(&g.to).tiles(g.images);
    all.div_ceil(FEW) + 2 * all.div_ceil(most_shared::<P>(g.from.channels))
}

/// Floats of the packed weights of a group, on any CPU.
fn group_len<P: Points>(g: &Correlation<'_>) -> usize {
    P::ALL * g.from.channels * COLS.max(WIDEST)
}

/// What [`Winograd`] takes at most on any CPU, for so many tiles and fewer; `packed` if the weights are packed beforehand.
pub(crate) fn needs<P: Points>(g: &Correlation<'_>, _: P, packed: bool) -> Needs {
    let all = Grid::new::<P>(&g.to).tiles(g.images);
    let channels = g.from.channels;
    // Fewer tiles may be shared.
    let shared = Layout::new(all.min(most_shared::<P>(channels)), channels);
    let mut needs = Needs::default()
        .caller(Purpose::Table, channels + 16)
        .caller(Purpose::Shared, shared.len::<P>())
        .chunk(Purpose::Result, P::ALL * (TILES * COLS.max(WIDEST) + 16));
    if !packed {
        needs = needs.chunk(Purpose::Weights, group_len::<P>(g));
    }
    if owns::<P>(g, all) {
        needs = needs.chunk(Purpose::Left, Layout::new(OWN_TILES, channels).len::<P>());
    }
    needs
}

impl<P: Points> Task for Winograd<'_, P> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        if super::is_left_out::<S, P>() {
            unreachable!("nobody asks for these points here");
        }
        let g = self.g;
        let grid = Grid::new::<P>(&g.to);
        let all = grid.tiles(g.images);
        let panels = g.to.channels.div_ceil(S::NR);
        let mut zeros = self.team.scratch.lend(Purpose::Table, g.from.channels + 16);
        zeros.fill(0.0);
        let source = Source { image: &g.from, origin: origin(g), zeros: &zeros, grid };
        let is_own = owns::<P>(g, all);
        let parts = parts::<S, P>(g, all);
        let work = |blocks: Blocks<'_>| {
            let all = All { of: &self, blocks: &blocks, source, grid, tiles: all, panels };
            // SAFETY: promised by the caller.
            unsafe { if is_own { all.transformed_apart::<S>() } else { all.transformed_together::<S>() } }
        };
        // SAFETY: as above.
        unsafe { self.finish.with::<S>(self.team.scratch, parts, work) };
    }
}

/// How tiles are divided that are transformed into memory that all chunks share.
struct Division {
    at_once: usize,
    /// Blocks of those that are transformed at a time, and their tiles.
    blocks: usize,
    per_block: usize,
}

impl Division {
    fn new<S: Simd, P: Points>(g: &Correlation<'_>, all: usize) -> Division {
        let rounds = all.div_ceil(most_shared::<P>(g.from.channels)).max(1);
        let at_once = all.div_ceil(rounds);
        let blocks = at_once.div_ceil(most_tiles::<S, P>()).max(1);
        Division { at_once, blocks, per_block: at_once.div_ceil(blocks).max(1) }
    }
}

/// Parts of the result that have sums of their own: tiles of a chunk.
fn parts<S: Simd, P: Points>(g: &Correlation<'_>, all: usize) -> usize {
    if owns::<P>(g, all) {
        return all.div_ceil(own::<S, P>(g, all));
    }
    let division = Division::new::<S, P>(g, all);
    all.div_ceil(division.at_once.max(1)) * division.blocks
}

/// All tiles of a result.
struct All<'a, P> {
    of: &'a Winograd<'a, P>,
    blocks: &'a Blocks<'a>,
    source: Source<'a>,
    grid: Grid,
    tiles: usize,
    panels: usize,
}

impl<P: Points> All<'_, P> {
    /// Each chunk transforms its own tiles.
    #[inline(always)]
    unsafe fn transformed_apart<S: Simd>(&self) {
        let Winograd { team, g, points, .. } = *self.of;
        let own = own::<S, P>(g, self.tiles);
        let layout = Layout::new(own, g.from.channels);
        team.run(self.tiles.div_ceil(own), |scratch, part| {
            let tiles = [part * own, self.tiles.min((part + 1) * own)];
            let mut transformed = scratch.lend(Purpose::Left, layout.len::<P>());
            let to = transformed.as_mut_ptr();
            // SAFETY: the chunk's own memory; chunks write to disjoint tiles.
            unsafe {
                S::vectorize(Transform::<P> { source: self.source, tiles, layout, to, points });
                let (panels, packed) = ([0, self.panels], self.of.packed);
                S::vectorize(Chunk { all: self, part, scratch, layout, tiles, panels, packed, from: to });
            };
        });
    }

    /// Chunks share the transformed tiles, so many at a time.
    #[inline(always)]
    unsafe fn transformed_together<S: Simd>(&self) {
        let Winograd { team, g, points, .. } = *self.of;
        let (source, all, panels) = (self.source, self.tiles, self.panels);
        let Division { at_once, blocks: most_blocks, per_block } = Division::new::<S, P>(g, all);
        let group = per_group::<S>();
        let groups = panels.div_ceil(group);
        let layout = Layout::new(at_once, g.from.channels);
        let mut transformed = team.scratch.lend(Purpose::Shared, layout.len::<P>());
        let transformed = Output(transformed.as_mut_ptr());
        for (round, first) in (0..all).step_by(at_once.max(1)).enumerate() {
            let count = at_once.min(all - first);
            let per_chunk = 8;
            team.run(count.div_ceil(per_chunk), |_, chunk| {
                let [begin, end] = [chunk * per_chunk, count.min((chunk + 1) * per_chunk)];
                let to = transformed.get().wrapping_add(begin * layout.tile);
                let tiles = [first + begin, first + end];
                // SAFETY: chunks write to disjoint tiles.
                unsafe { S::vectorize(Transform::<P> { source, tiles, layout, to, points }) };
            });
            let blocks = count.div_ceil(per_block);
            let multiply = |scratch: &Scratch, block: usize, panels: [usize; 2], packed: *const f32| {
                let [begin, end] = [block * per_block, count.min((block + 1) * per_block)];
                let from = transformed.get().wrapping_add(begin * layout.tile);
                let tiles = [first + begin, first + end];
                let part = round * most_blocks + block;
                // SAFETY: chunks write to disjoint tiles and channels.
                unsafe { S::vectorize(Chunk { all: self, part, scratch, layout, tiles, panels, packed, from }) };
            };
            let panels_of = |index: usize| [index * group, panels.min((index + 1) * group)];
            if self.of.packed.is_null() {
                team.run(groups, |scratch, index| {
                    let mut room = scratch.lend(Purpose::Weights, group_len::<P>(g));
                    // Where the first group would be.
                    let packed = room.as_mut_ptr().wrapping_sub(index * group * P::ALL * g.from.channels * S::NR);
                    for panel in panels_of(index)[0]..panels_of(index)[1] {
                        // SAFETY: the group's own memory.
                        unsafe { S::vectorize(PackPanel { g, points, panel, panels, packed }) };
                    }
                    for block in 0..blocks {
                        multiply(scratch, block, panels_of(index), packed);
                    }
                });
            } else {
                // Neighboring chunks read the same weights.
                team.run(blocks * groups, |scratch, chunk| {
                    multiply(scratch, chunk % blocks, panels_of(chunk / blocks), self.of.packed);
                });
            }
        }
    }
}

/// Transforms all channels of some tiles.
struct Transform<'a, P> {
    source: Source<'a>,
    tiles: [usize; 2],
    layout: Layout,
    /// The place of the first tile.
    to: *mut f32,
    #[expect(dead_code, reason = "stands for its type")]
    points: P,
}

impl<P: Points> Task for Transform<'_, P> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        for tile in self.tiles[0]..self.tiles[1] {
            let to = self.to.wrapping_add((tile - self.tiles[0]) * self.layout.tile);
            // SAFETY: promised by the maker of the task.
            unsafe {
                self.source.image::<S, P>(tile, [0, self.source.image.channels], to, self.layout);
            }
        }
    }
}

/// Some tiles of the result, in some panels of channels.
struct Chunk<'a, P> {
    all: &'a All<'a, P>,
    part: usize,
    scratch: &'a Scratch,
    layout: Layout,
    tiles: [usize; 2],
    panels: [usize; 2],
    /// The weights of the first group of panels, or where they would be.
    packed: *const f32,
    /// The first transformed tile.
    from: *const f32,
}

impl<P: Points> Task for Chunk<'_, P> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let group = per_group::<S>();
        let rows = self.tiles[1] - self.tiles[0];
        let cols = group.min(self.panels[1] - self.panels[0]) * S::NR;
        let stride = rows * cols + 16;
        let mut products = self.scratch.lend(Purpose::Result, P::ALL * stride);
        let products = products.as_mut_ptr();
        for first in (self.panels[0]..self.panels[1]).step_by(group) {
            let panels = [first, self.panels[1].min(first + group)];
            // SAFETY: the memory has room for the products of so many panels.
            unsafe {
                self.multiply::<S>(panels, products, cols, stride);
                for row in 0..rows {
                    self.transform_result::<S>(self.tiles[0] + row, panels, products.add(row * cols), stride);
                }
            }
        }
        // SAFETY: these tiles are complete.
        unsafe { self.finish::<S>() };
    }
}

impl<P: Points> Chunk<'_, P> {
    /// The products at all points: rows are tiles, columns channels.
    #[inline(always)]
    unsafe fn multiply<S: Simd>(&self, panels: [usize; 2], products: *mut f32, cols: usize, stride: usize) {
        let g = self.all.of.g;
        let rows = self.tiles[1] - self.tiles[0];
        let mut left = [std::ptr::null(); TILES];
        let mut result = [std::ptr::null_mut(); TILES];
        for (row, (left, result)) in left.iter_mut().zip(&mut result).enumerate().take(rows) {
            *left = self.from.wrapping_add(row * self.layout.tile);
            *result = products.wrapping_add(row * cols);
        }
        let group = panels[1] - panels[0];
        let panel_len = g.from.channels * S::NR;
        for point in 0..P::ALL {
            let block = Block {
                segments: 1,
                len: g.from.channels,
                left: left.as_ptr(),
                left_rows: rows,
                left_offset: point * self.layout.point,
                left_step: 1,
                right: self.packed.wrapping_add((panels[0] * P::ALL + point * group) * panel_len),
                right_step: S::NR as isize,
                right_segment: 0,
                right_panel: panel_len as isize,
                right_next: Some(panel_len as isize),
                right_first: 0,
                is_tight: false,
                result: result.as_ptr(),
                result_offset: point * stride,
                rows,
                cols,
                accumulate: false,
            };
            // SAFETY: the transformed tiles and weights, and places within the scratch memory.
            unsafe { micro::panels::<S>(&block, 0, group) };
        }
    }

    #[inline(always)]
    unsafe fn transform_result<S: Simd>(&self, tile: usize, panels: [usize; 2], products: *const f32, stride: usize) {
        let g = self.all.of.g;
        let (image, row, col) = self.all.grid.place(tile);
        let pool = finish::apart(g);
        let [height, width] = [P::TILE.min(g.to.height - row) / pool, P::TILE.min(g.to.width - col) / pool];
        let first = panels[0] * S::NR;
        let last = g.to.channels.min(panels[1] * S::NR);
        let [to, which] = [&g.to, &g.positions]
            .map(|of| of.at(image, (row / pool) as isize, (col / pool) as isize).wrapping_add(first));
        // A tile of which the largest neighbors are kept is written here first.
        let mut room = MaybeUninit::<[f32; 4 * 4 * LONGEST]>::uninit();
        for channel in (0..last - first).step_by(S::LANES) {
            let lanes = last - first - channel;
            let to = Pixels { first: to.wrapping_add(channel), row: g.to.row, col: g.to.col, lanes };
            let there = [height, width];
            let (all, sizes) = if g.pooled {
                let (row, col) = ((4 * S::LANES) as isize, S::LANES as isize);
                (Pixels { first: room.as_mut_ptr().cast(), row, col, lanes: S::LANES }, [P::TILE; 2])
            } else {
                (to, there)
            };
            // SAFETY: promised by the caller; only pixels and channels of the image are written.
            unsafe {
                let mut half = [[S::splat(0.0); MOST]; 4];
                for j in 0..P::SIDE {
                    let mut column = [S::splat(0.0); MOST];
                    for (i, m) in column.iter_mut().enumerate().take(P::SIDE) {
                        *m = S::load(products.add((i * P::SIDE + j) * stride + channel));
                    }
                    for (half, x) in half.iter_mut().zip(P::result::<S>(column)).take(P::TILE) {
                        half[j] = x;
                    }
                }
                for (i, row) in half.into_iter().enumerate().take(sizes[0]) {
                    for (j, x) in P::result::<S>(row).into_iter().enumerate().take(sizes[1]) {
                        all.store::<S>([i, j], x);
                    }
                }
                if g.pooled && g.positions.data.is_null() {
                    all.largest::<S, false>(&to, &to, there);
                } else if g.pooled {
                    let Image { row, col, .. } = g.positions;
                    let which = Pixels { first: which.wrapping_add(channel), row, col, lanes };
                    all.largest::<S, true>(&to, &which, there);
                }
            }
        }
    }

    /// Finishes runs of adjacent tiles: whole rows of the image together, parts of rows one at a time.
    unsafe fn finish<S: Simd>(&self) {
        let g = self.all.of.g;
        if !self.all.blocks.is_wanted() {
            return;
        }
        let cols = self.panels.map(|panel| g.to.channels.min(panel * S::NR));
        let [mut tile, end] = self.tiles;
        while tile < end {
            let run = end.min(tile - tile % self.all.grid.cols + self.all.grid.cols);
            let (image, row, col) = self.all.grid.place(tile);
            let until = g.to.width.min(col + (run - tile) * P::TILE);
            let end = g.to.height.min(row + P::TILE);
            let [row, end, col, until] = [row, end, col, until].map(|n| n / finish::apart(g));
            let [height, width] = finish::in_memory(g);
            // Whole rows follow one another.
            let rows = if until - col == width { end - row } else { 1 };
            for row in (row..end).step_by(rows.max(1)) {
                let pixel = (image * height + row) * width;
                let last = (image * height + row + rows - 1) * width;
                // SAFETY: promised by the caller.
                unsafe {
                    self.all.blocks.finish::<S>(self.part, [pixel + col, last + until], cols);
                };
            }
            tile = run;
        }
    }
}

/// A vector of channels of some pixels.
#[derive(Clone, Copy)]
struct Pixels {
    first: *mut f32,
    row: isize,
    col: isize,
    /// Channels of the vector.
    lanes: usize,
}

impl Pixels {
    fn at(&self, [i, j]: [usize; 2]) -> *mut f32 {
        self.first.wrapping_offset(i as isize * self.row + j as isize * self.col)
    }

    #[inline(always)]
    unsafe fn store<S: Simd>(&self, at: [usize; 2], x: S::V) {
        // SAFETY: promised by the caller.
        unsafe {
            if self.lanes >= S::LANES {
                S::store(self.at(at), x);
            } else {
                S::store_first(self.at(at), x, self.lanes);
            }
        }
    }

    /// Writes the largest of each 2 by 2 neighbors, and perhaps which it is.
    #[inline(always)]
    unsafe fn largest<S: Simd, const SAYS_WHICH: bool>(
        &self,
        to: &Pixels,
        positions: &Pixels,
        [height, width]: [usize; 2],
    ) {
        for i in 0..height {
            for j in 0..width {
                // SAFETY: promised by the caller.
                unsafe {
                    let at = |a: usize, b: usize| S::load(self.at([2 * i + a, 2 * j + b]));
                    let above = S::max(at(0, 1), at(0, 0));
                    let largest = S::max(at(1, 1), S::max(at(1, 0), above));
                    to.store::<S>([i, j], largest);
                    if SAYS_WHICH {
                        let mut position = S::splat(4.0);
                        for number in (0..4).rev() {
                            let x = at(number / 2, number % 2);
                            position = S::where_equal(x, largest, S::splat(number as f32), position);
                        }
                        positions.store::<S>([i, j], position);
                    }
                }
            }
        }
    }
}
