//! The weight gradient, F(3x3, 4x4): at each point a product of the transformed tiles of both images, summed over all
//! tiles, and one transform of the sums at the end.
//!
//! A chunk has some channels of either image. It transforms a few tiles at a time, so that they stay in the second
//! cache, and adds their products to sums that stay in the last.
#![expect(unsafe_code, reason = "vector instructions on raw images")]

use crate::abi::{Conv, Frame};
use crate::scratch::{Needs, Purpose, Scratch};
use crate::threads::Team;

use super::super::super::gemm::Output;
use super::super::super::micro::{self, Block};
use super::super::super::simd::{Simd, Task, WIDEST};
use super::super::geometry::Correlation;
use super::origin;
use super::tiles::{Grid, Layout, Source};
use super::transforms::{Four, MOST, Points};

/// Most channels of either image in a chunk.
const CHANNELS: usize = 128;
/// Tiles that are transformed at a time.
const TILES: usize = 48;
/// As many chunks keep several threads evenly busy.
const CHUNKS: usize = 12;
/// With fewer tiles the transform of the sums costs more than the products save.
const FEW: usize = 12;
/// Columns that are transformed before they are written.
const COLS: usize = 16;

type P = Four;

pub(crate) struct WeightGrad<'a> {
    pub(crate) team: Team<'a>,
    pub(crate) frame: Frame,
    pub(crate) d: &'a Conv,
    pub(crate) g: &'a Correlation<'a>,
}

// SAFETY: chunks read shared operands and write to disjoint blocks of the sums and the result.
unsafe impl Sync for WeightGrad<'_> {}

/// Whether there are enough tiles.
pub(crate) fn pays(g: &Correlation<'_>) -> bool {
    Grid::new::<P>(&g.to).tiles(g.images) >= FEW
}

/// How the work is divided. It depends on nothing but the sizes.
#[derive(Clone, Copy)]
struct Division {
    grid: Grid,
    tiles: usize,
    /// Channels of `y` of a chunk.
    rows: usize,
    row_blocks: usize,
    /// Channels of `x` of a chunk.
    cols: usize,
    col_blocks: usize,
    /// Tiles of a part.
    part: usize,
    parts: usize,
    /// At most, of any smaller batch.
    most_parts: usize,
    /// Floats from a point of the sums to the next.
    point: usize,
}

impl Division {
    fn new(g: &Correlation<'_>) -> Division {
        let grid = Grid::new::<P>(&g.to);
        let tiles = grid.tiles(g.images);
        let divide = |channels: usize| {
            let blocks = channels.div_ceil(CHANNELS);
            let each = channels.div_ceil(blocks).next_multiple_of(COLS);
            (each, channels.div_ceil(each))
        };
        let ((rows, row_blocks), (cols, col_blocks)) = (divide(g.to.channels), divide(g.from.channels));
        let most_parts = CHUNKS.div_ceil(row_blocks * col_blocks).min(tiles.div_ceil(4 * TILES)).max(1);
        let part = tiles.div_ceil(most_parts).next_multiple_of(TILES);
        let parts = tiles.div_ceil(part).max(1);
        let point = rows * cols.next_multiple_of(WIDEST) + 16;
        Division { grid, tiles, rows, row_blocks, cols, col_blocks, part, parts, most_parts, point }
    }

    /// Floats of the sums of a chunk.
    fn sums(&self) -> usize {
        P::ALL * self.point
    }

    /// Where the transformed tiles of `x` and `y` lie.
    fn layouts(&self, width: usize) -> [Layout; 2] {
        [Layout::panels(TILES, self.cols, width), Layout::panels(TILES, self.rows, width)]
    }

    /// The channels of `y` and `x` of a block.
    fn block(&self, g: &Correlation<'_>, block: usize) -> [[usize; 2]; 2] {
        let (row, col) = (block % self.row_blocks * self.rows, block / self.row_blocks * self.cols);
        [[row, g.to.channels.min(row + self.rows)], [col, g.from.channels.min(col + self.cols)]]
    }
}

/// What [`WeightGrad`] takes for so many tiles and fewer.
pub(crate) fn needs(g: &Correlation<'_>) -> Needs {
    let division = Division::new(g);
    let blocks = division.row_blocks * division.col_blocks;
    let [x, y] = division.layouts(WIDEST).map(|layout| layout.len::<P>());
    let mut needs = Needs::default()
        .caller(Purpose::Table, g.from.channels.max(g.to.channels) + 16)
        .chunk(Purpose::Right, x)
        .chunk(Purpose::Left, y)
        .chunk(Purpose::Result, division.sums());
    if division.most_parts > 1 {
        needs = needs.caller(Purpose::Partial, division.sums() * blocks * division.most_parts);
    }
    needs
}

impl Task for WeightGrad<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let g = self.g;
        let division = Division::new(g);
        let (blocks, parts, len) = (division.row_blocks * division.col_blocks, division.parts, division.sums());
        let mut zeros = self.team.scratch.lend(Purpose::Table, g.from.channels.max(g.to.channels) + 16);
        zeros.fill(0.0);
        let zeros: &[f32] = &zeros;
        if parts == 1 {
            self.team.run(blocks, |scratch, block| {
                let mut sums = scratch.lend(Purpose::Result, len);
                let sums = sums.as_mut_ptr();
                // SAFETY: chunks write to disjoint channels of the result.
                unsafe {
                    S::vectorize(Sum { g, scratch, division, zeros, block, tiles: [0, division.tiles], sums });
                    let rows = [0, division.rows];
                    S::vectorize(Finish { all: &self, division, block, rows, sums, from_part: 0 });
                };
            });
            return;
        }
        let mut sums = self.team.scratch.lend(Purpose::Partial, len * blocks * parts);
        let sums = Output(sums.as_mut_ptr());
        self.team.run(blocks * parts, |scratch, chunk| {
            let (block, part) = (chunk % blocks, chunk / blocks);
            let tiles = [part * division.part, division.tiles.min((part + 1) * division.part)];
            let sums = sums.get().wrapping_add(chunk * len);
            // SAFETY: chunks write to disjoint sums.
            unsafe { S::vectorize(Sum { g, scratch, division, zeros, block, tiles, sums }) };
        });
        let per_chunk = 8;
        let row_chunks = division.rows.div_ceil(per_chunk);
        self.team.run(blocks * row_chunks, |_, chunk| {
            let (block, row) = (chunk / row_chunks, chunk % row_chunks * per_chunk);
            let rows = [row, division.rows.min(row + per_chunk)];
            let sums = sums.get().wrapping_add(block * len);
            let from_part = blocks * len;
            // SAFETY: all sums are complete; chunks write to disjoint channels of the result.
            unsafe { S::vectorize(Finish { all: &self, division, block, rows, sums, from_part }) };
        });
    }
}

/// The sums of some tiles: `[point][panel][channel of y][NR channels of x]`.
struct Sum<'a> {
    g: &'a Correlation<'a>,
    scratch: &'a Scratch,
    division: Division,
    zeros: &'a [f32],
    block: usize,
    tiles: [usize; 2],
    sums: *mut f32,
}

impl Task for Sum<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { g, scratch, division, zeros, block, tiles, sums } = self;
        let [rows, cols] = division.block(g, block);
        let [x_layout, y_layout] = division.layouts(S::NR);
        let [mut x, mut y] =
            [scratch.lend(Purpose::Right, x_layout.len::<P>()), scratch.lend(Purpose::Left, y_layout.len::<P>())];
        let [x, y] = [x.as_mut_ptr(), y.as_mut_ptr()];
        let grid = division.grid;
        let x_source = Source { image: &g.from, origin: origin(g), zeros, grid };
        let y_source = Source { image: &g.to, origin: [0, 0], zeros, grid };
        let count = rows[1] - rows[0];
        let mut left = [std::ptr::null(); CHANNELS];
        let mut result = [std::ptr::null_mut(); CHANNELS];
        for (row, (left, result)) in left.iter_mut().zip(&mut result).enumerate().take(count) {
            *left = y.wrapping_add(y_layout.channel(row)).cast_const();
            *result = sums.wrapping_add(row * S::NR);
        }
        for first in (tiles[0]..tiles[1]).step_by(TILES) {
            let len = TILES.min(tiles[1] - first);
            for tile in 0..len {
                let (x, y) = (x.wrapping_add(tile * x_layout.tile), y.wrapping_add(tile * y_layout.tile));
                // SAFETY: the scratch memory has room for so many tiles.
                unsafe {
                    x_source.image::<S, P>(first + tile, cols, x, x_layout);
                    y_source.cotangent::<S, P>(first + tile, rows, y, y_layout);
                }
            }
            for point in 0..P::ALL {
                for panel in 0..(cols[1] - cols[0]).div_ceil(S::NR) {
                    let block = Block {
                        segments: 1,
                        len,
                        left: left.as_ptr(),
                        left_rows: count,
                        left_offset: point * y_layout.point,
                        left_step: y_layout.tile as isize,
                        right: x.wrapping_add(point * x_layout.point + panel * x_layout.panel),
                        right_step: x_layout.tile as isize,
                        right_segment: 0,
                        right_panel: x_layout.panel as isize,
                        right_next: Some(x_layout.panel as isize),
                        right_first: 0,
                        is_tight: false,
                        result: result.as_ptr(),
                        result_offset: point * division.point + panel * division.rows * S::NR,
                        rows: count,
                        cols: S::NR.min(cols[1] - cols[0] - panel * S::NR),
                        accumulate: first > tiles[0],
                    };
                    // SAFETY: the transformed tiles, and the caller's sums.
                    unsafe { micro::panels::<S>(&block, 0, 1) };
                }
            }
        }
    }
}

/// Adds up the parts of some rows of a block, in their order, and transforms them.
struct Finish<'a> {
    all: &'a WeightGrad<'a>,
    division: Division,
    block: usize,
    /// Within the block.
    rows: [usize; 2],
    sums: *const f32,
    from_part: usize,
}

impl Task for Finish<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { all, division, block, rows, sums, from_part } = self;
        let g = all.g;
        let [y, x] = division.block(g, block);
        let end = y[1].min(y[0] + rows[1]);
        for row in y[0] + rows[0]..end {
            let sums = sums.wrapping_add((row - y[0]) * S::NR);
            let to = all.d.weight.wrapping_add((row * g.from.channels + x[0]) * g.taps);
            for col in (0..x[1] - x[0]).step_by(S::LANES) {
                let mut gradient = [[0.0_f32; COLS]; 9];
                let place = col / S::NR * division.rows * S::NR + col % S::NR;
                // SAFETY: columns of the sums, whose rows are whole vectors; no vector is longer than a row.
                unsafe {
                    let mut half = [[S::splat(0.0); MOST]; 3];
                    for j in 0..P::SIDE {
                        let mut column = [S::splat(0.0); MOST];
                        for (i, sum) in column.iter_mut().enumerate() {
                            let from = sums.add((i * P::SIDE + j) * division.point + place);
                            *sum = S::load(from);
                            for part in 1..division.parts {
                                *sum = S::add(*sum, S::load(from.add(part * from_part)));
                            }
                        }
                        for (half, sum) in half.iter_mut().zip(P::weights_grad::<S>(column)) {
                            half[j] = sum;
                        }
                    }
                    for (i, row) in half.into_iter().enumerate() {
                        for (j, sum) in P::weights_grad::<S>(row).into_iter().enumerate() {
                            S::store(gradient[i * 3 + j].as_mut_ptr(), sum);
                        }
                    }
                }
                for lane in 0..S::LANES.min(x[1] - x[0] - col) {
                    for (tap, gradient) in gradient.iter().enumerate() {
                        // SAFETY: indices within the weights.
                        unsafe { *to.add((col + lane) * 9 + tap) = gradient[lane] };
                    }
                }
            }
        }
        let cols = x.map(|channel| channel * g.taps);
        // SAFETY: these rows are complete.
        unsafe { all.frame.finish(all.d.epilogue, [y[0] + rows[0], end.max(y[0] + rows[0])], cols) };
    }
}
