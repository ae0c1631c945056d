//! Winograd's F(4x4, 3x3): 36 small matrix products in place of one, with a quarter of the multiplications.
//!
//! Tiles of the image are transformed into scratch memory that stays in the last cache. A chunk then multiplies some of
//! them with some panels of weights, 36 times, and transforms the results while they are in its second cache.
#![expect(unsafe_code, reason = "vector instructions on raw images")]

use crate::abi::{EpilogueFn, Frame};
use crate::scratch::{Needs, Purpose, Scratch};
use crate::threads::Team;

use super::super::gemm::Output;
use super::super::micro::{self, Block};
use super::super::simd::{Simd, Task, WIDEST};
use super::geometry::{Correlation, Image};
use super::transforms;

/// Pixels of a result's tile on each side.
const TILE: usize = 4;
/// Elements of a transformed tile.
const POINTS: usize = 36;
/// Most tiles of a chunk.
const TILES: usize = 24;
/// Channels of a chunk.
const COLS: usize = 64;
/// Most floats of transformed tiles at a time.
const TRANSFORMED: usize = 2 << 20;
/// With fewer channels the transforms cost more than they save.
const CHANNELS: usize = 16;

/// Whether the algorithm is for this convolution.
pub(crate) fn applies(g: &Correlation<'_>) -> bool {
    let [phase] = g.phases else { return false };
    let first = origin(g);
    g.groups == 1
        && g.scale == [1, 1]
        && g.from.channel == 1
        && g.from.channels >= CHANNELS
        && g.to.channels >= CHANNELS
        && phase.taps.len() == 9
        && phase.taps.iter().all(|tap| (0..2).all(|axis| tap.offset[axis] - first[axis] < 3))
}

/// The offset of the tap that reads the first pixel.
fn origin(g: &Correlation<'_>) -> [isize; 2] {
    [0, 1].map(|axis| g.phases[0].taps.iter().map(|tap| tap.offset[axis]).min().unwrap_or(0))
}

/// Transforms weights into `[point][panel][channel of from][NR channels of to]`.
pub(crate) struct Pack<'a> {
    pub(crate) team: Team<'a>,
    pub(crate) g: &'a Correlation<'a>,
    pub(crate) packed: *mut f32,
}

impl Task for Pack<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let panels = self.g.to.channels.div_ceil(S::NR);
        let (g, packed) = (self.g, Output(self.packed));
        self.team.run(panels, |_, panel| {
            // SAFETY: each chunk has its own places.
            unsafe {
                S::vectorize(PackPanel { g, panel, panels, packed: packed.get() });
            };
        });
    }
}

struct PackPanel<'a> {
    g: &'a Correlation<'a>,
    panel: usize,
    panels: usize,
    packed: *mut f32,
}

impl Task for PackPanel<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { g, panel, panels, packed } = self;
        let first = origin(g);
        let lanes = S::NR.min(g.to.channels - panel * S::NR);
        for channel in 0..g.from.channels {
            // Taps in the order of the pixels that they read, which turns the kernel in the data gradient.
            let mut taps = [[[0.0_f32; 32]; 3]; 3];
            for tap in g.phases[0].taps {
                let row = &mut taps[(tap.offset[0] - first[0]) as usize][(tap.offset[1] - first[1]) as usize];
                let from = panel * S::NR * g.weight_to + channel * g.weight_from + tap.index;
                for (lane, weight) in row[..lanes].iter_mut().enumerate() {
                    // SAFETY: indices within the weights.
                    *weight = unsafe { *g.weight.add(from + lane * g.weight_to) };
                }
            }
            for vector in 0..S::WIDTH {
                // SAFETY: no panel is wider than 32 floats; places within the packed weights.
                unsafe {
                    let mut half = [[S::splat(0.0); 3]; 6];
                    for col in 0..3 {
                        let column = [0, 1, 2].map(|row: usize| S::load(taps[row][col][vector * S::LANES..].as_ptr()));
                        for (half, x) in half.iter_mut().zip(transforms::weights::<S>(column)) {
                            half[col] = x;
                        }
                    }
                    for (i, row) in half.into_iter().enumerate() {
                        for (j, x) in transforms::weights::<S>(row).into_iter().enumerate() {
                            let place = ((i * 6 + j) * panels + panel) * g.from.channels + channel;
                            S::store(packed.add(place * S::NR + vector * S::LANES), x);
                        }
                    }
                }
            }
        }
    }
}

pub(crate) struct Winograd<'a> {
    pub(crate) team: Team<'a>,
    pub(crate) frame: Frame,
    pub(crate) g: &'a Correlation<'a>,
    pub(crate) packed: *const f32,
    pub(crate) epilogue: Option<EpilogueFn>,
}

// SAFETY: chunks read shared operands and write to disjoint tiles of the result.
unsafe impl Sync for Winograd<'_> {}

/// Where transformed tiles lie.
#[derive(Clone, Copy)]
struct Layout {
    /// Floats from a tile to the next.
    tile: usize,
    /// Floats from a point to the next; no multiple of the distance at which cache lines exclude each other.
    point: usize,
}

impl Layout {
    fn new(tiles: usize, channels: usize) -> Layout {
        let tile = channels.next_multiple_of(16) + 16;
        Layout { tile, point: tiles * tile + 16 }
    }
}

/// The tiles of all images, row by row.
#[derive(Clone, Copy)]
struct Grid {
    rows: usize,
    cols: usize,
}

impl Grid {
    fn new(to: &Image) -> Grid {
        Grid { rows: to.height.div_ceil(TILE), cols: to.width.div_ceil(TILE) }
    }

    /// The image of a tile and its first pixel.
    fn place(self, tile: usize) -> (usize, usize, usize) {
        let (row, col) = (tile / self.cols, tile % self.cols);
        (row / self.rows, row % self.rows * TILE, col * TILE)
    }
}

/// Most tiles that are transformed at a time.
fn most_tiles(channels: usize) -> usize {
    (TRANSFORMED / (POINTS * channels) / TILES).max(1) * TILES
}

/// What [`Winograd`] takes at most on any CPU, for so many tiles and fewer.
pub(crate) fn needs(g: &Correlation<'_>) -> Needs {
    let grid = Grid::new(&g.to);
    let all = g.images.saturating_mul(grid.rows).saturating_mul(grid.cols);
    let channels = g.from.channels;
    let layout = Layout::new(all.min(most_tiles(channels)), channels);
    Needs::default()
        .caller(Purpose::Table, channels + 16)
        .caller(Purpose::Shared, POINTS * layout.point)
        .chunk(Purpose::Result, POINTS * (TILES * COLS.max(WIDEST) + 16))
}

impl Task for Winograd<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let g = self.g;
        let grid = Grid::new(&g.to);
        let all = g.images * grid.rows * grid.cols;
        let panels = g.to.channels.div_ceil(S::NR);
        let at_once = most_tiles(g.from.channels);
        let rounds = all.div_ceil(at_once).max(1);
        let at_once = all.div_ceil(rounds);
        let blocks = at_once.div_ceil(TILES).max(1);
        let per_block = at_once.div_ceil(blocks).max(1);
        let group = (COLS / S::NR).max(1);
        let groups = panels.div_ceil(group);
        let layout = Layout::new(at_once, g.from.channels);
        let mut zeros = self.team.scratch.lend(Purpose::Table, g.from.channels + 16);
        zeros.fill(0.0);
        let zeros: &[f32] = &zeros;
        let mut transformed = self.team.scratch.lend(Purpose::Shared, POINTS * layout.point);
        let transformed = Output(transformed.as_mut_ptr());
        for first in (0..all).step_by(at_once.max(1)) {
            let count = at_once.min(all - first);
            let per_chunk = 8;
            self.team.run(count.div_ceil(per_chunk), |_, chunk| {
                let tiles = [chunk * per_chunk, count.min((chunk + 1) * per_chunk)];
                let to = transformed.get();
                // SAFETY: chunks write to disjoint tiles.
                unsafe {
                    S::vectorize(TransformTiles { g, grid, zeros, first, tiles, layout, to });
                };
            });
            // Neighboring chunks read the same weights.
            let blocks = count.div_ceil(per_block);
            self.team.run(blocks * groups, |scratch, chunk| {
                let (block, index) = (chunk % blocks, chunk / blocks);
                let tiles = [block * per_block, count.min((block + 1) * per_block)];
                let panels = [index * group, panels.min((index + 1) * group)];
                let from = transformed.get();
                // SAFETY: chunks write to disjoint tiles and channels.
                unsafe {
                    S::vectorize(Chunk { all: &self, scratch, grid, layout, first, tiles, panels, from });
                };
            });
        }
    }
}

struct TransformTiles<'a> {
    g: &'a Correlation<'a>,
    grid: Grid,
    zeros: &'a [f32],
    first: usize,
    tiles: [usize; 2],
    layout: Layout,
    to: *mut f32,
}

impl Task for TransformTiles<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { g, grid, zeros, first, tiles, layout, to } = self;
        let origin = origin(g);
        for tile in tiles[0]..tiles[1] {
            let (image, row, col) = grid.place(first + tile);
            let (row, col) = (row as isize + origin[0], col as isize + origin[1]);
            let mut pixels = [[zeros.as_ptr(); 6]; 6];
            for (i, pixels) in pixels.iter_mut().enumerate() {
                for (j, pixel) in pixels.iter_mut().enumerate() {
                    let (row, col) = (row + i as isize, col + j as isize);
                    if g.from.contains(row, col) {
                        *pixel = g.from.at(image, row, col);
                    }
                }
            }
            let to = to.wrapping_add(tile * layout.tile);
            let channels = g.from.channels;
            let mut channel = 0;
            while channel + S::LANES <= channels {
                // SAFETY: pixels of the image or zeros, and a place within the scratch memory.
                unsafe {
                    transform_tile::<S, true>(&pixels, channel, 0, to.add(channel), layout.point);
                };
                channel += S::LANES;
            }
            if channel < channels {
                // SAFETY: as above.
                unsafe {
                    transform_tile::<S, false>(&pixels, channel, channels - channel, to.add(channel), layout.point);
                };
            }
        }
    }
}

#[inline(always)]
unsafe fn transform_tile<S: Simd, const WHOLE: bool>(
    pixels: &[[*const f32; 6]; 6],
    channel: usize,
    lanes: usize,
    to: *mut f32,
    point: usize,
) {
    // SAFETY: promised by the caller.
    unsafe {
        let mut half = [[S::splat(0.0); 6]; 6];
        for j in 0..6 {
            let column: [S::V; 6] = std::array::from_fn(|i| {
                let from = pixels[i][j].add(channel);
                if WHOLE { S::load(from) } else { S::load_first(from, lanes) }
            });
            for (half, x) in half.iter_mut().zip(transforms::image::<S>(column)) {
                half[j] = x;
            }
        }
        for (i, row) in half.into_iter().enumerate() {
            let row = transforms::image::<S>(row);
            for (j, x) in row.into_iter().enumerate() {
                S::store(to.add((i * 6 + j) * point), x);
            }
        }
    }
}

struct Chunk<'a> {
    all: &'a Winograd<'a>,
    scratch: &'a Scratch,
    grid: Grid,
    layout: Layout,
    /// The tile that is the first transformed one.
    first: usize,
    tiles: [usize; 2],
    panels: [usize; 2],
    from: *const f32,
}

impl Task for Chunk<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let g = self.all.g;
        let rows = self.tiles[1] - self.tiles[0];
        let cols = (self.panels[1] - self.panels[0]) * S::NR;
        let stride = rows * cols + 16;
        let mut products = self.scratch.lend(Purpose::Result, POINTS * stride);
        let products = products.as_mut_ptr();
        let mut left = [std::ptr::null(); TILES];
        for (row, left) in left[..rows].iter_mut().enumerate() {
            *left = self.from.wrapping_add((self.tiles[0] + row) * self.layout.tile);
        }
        let panels = g.to.channels.div_ceil(S::NR);
        let panel_len = g.from.channels * S::NR;
        for point in 0..POINTS {
            let mut result = [std::ptr::null_mut(); TILES];
            for (row, result) in result[..rows].iter_mut().enumerate() {
                *result = products.wrapping_add(point * stride + row * cols);
            }
            let block = Block {
                segments: 1,
                len: g.from.channels,
                left: left.as_ptr(),
                left_rows: rows,
                left_offset: point * self.layout.point,
                left_step: 1,
                right: self.all.packed.wrapping_add((point * panels + self.panels[0]) * panel_len),
                right_step: S::NR as isize,
                right_segment: 0,
                right_panel: panel_len as isize,
                result: result.as_ptr(),
                result_offset: 0,
                rows,
                cols,
                accumulate: false,
            };
            // SAFETY: the transformed tiles and weights, and places within the scratch memory.
            unsafe { micro::panels::<S>(&block, 0, self.panels[1] - self.panels[0]) };
        }
        for row in 0..rows {
            // SAFETY: all products of the tile are complete.
            unsafe {
                self.transform_result::<S>(self.tiles[0] + row, products.add(row * cols), stride);
            };
        }
        // SAFETY: these tiles are complete.
        unsafe { self.finish::<S>() };
    }
}

impl Chunk<'_> {
    #[inline(always)]
    unsafe fn transform_result<S: Simd>(&self, tile: usize, products: *const f32, stride: usize) {
        let g = self.all.g;
        let (image, row, col) = self.grid.place(self.first + tile);
        let (height, width) = (TILE.min(g.to.height - row), TILE.min(g.to.width - col));
        let first = self.panels[0] * S::NR;
        let last = g.to.channels.min(self.panels[1] * S::NR);
        let to = g.to.at(image, row as isize, col as isize).wrapping_add(first);
        for channel in (0..last - first).step_by(S::LANES) {
            let lanes = last - first - channel;
            // SAFETY: promised by the caller; only pixels and channels of the image are written.
            unsafe {
                let mut half = [[S::splat(0.0); 6]; 4];
                for j in 0..6 {
                    let column: [S::V; 6] =
                        std::array::from_fn(|i| S::load(products.add((i * 6 + j) * stride + channel)));
                    for (half, x) in half.iter_mut().zip(transforms::result::<S>(column)) {
                        half[j] = x;
                    }
                }
                for (i, row) in half.into_iter().enumerate().take(height) {
                    let row = transforms::result::<S>(row);
                    let to = to.offset(i as isize * g.to.row).add(channel);
                    for (j, x) in row.into_iter().enumerate().take(width) {
                        let to = to.offset(j as isize * g.to.col);
                        if lanes >= S::LANES {
                            S::store(to, x);
                        } else {
                            S::store_first(to, x, lanes);
                        }
                    }
                }
            }
        }
    }

    /// Calls the epilogue on runs of adjacent tiles, one row of pixels at a time.
    unsafe fn finish<S: Simd>(&self) {
        let g = self.all.g;
        if self.all.epilogue.is_none() {
            return;
        }
        let cols = self.panels.map(|panel| g.to.channels.min(panel * S::NR));
        let mut tile = self.first + self.tiles[0];
        let end = self.first + self.tiles[1];
        while tile < end {
            let run = end.min(tile - tile % self.grid.cols + self.grid.cols);
            let (image, row, col) = self.grid.place(tile);
            let until = g.to.width.min(col + (run - tile) * TILE);
            for row in row..g.to.height.min(row + TILE) {
                let pixel = (image * g.to.height + row) * g.to.width;
                // SAFETY: promised by the caller.
                unsafe {
                    self.all.frame.finish(self.all.epilogue, [pixel + col, pixel + until], cols);
                };
            }
            tile = run;
        }
    }
}
