//! The pixels that a block of a correlation reads, in parts, so that each tap's rows of a tile are neighbors.
//!
//! The image falls apart into *planes*: pixels whose row and column have the same remainders by the strides, so that a tap reads
//! every pixel of a window of one plane. A block of the grid `[rows, cols]` reads `[rows + reach, cols + reach]` of each plane;
//! the next row of the grid begins `pitch` pixels further, so that tiles are 16 pixels in a row, of which those between two rows
//! of the grid are for nothing. Each pixel is split once for all taps.
//!
//! In memory: `[32 channels][plane][part][pixel][32 channels]`.
#![expect(unsafe_code, reason = "raw images")]

use crate::scratch::{Items, Purpose, Scratch};

use super::super::conv::geometry::{Correlation, Tap};
use super::taps::TILES;
use super::{DEPTH, PARTS, ROWS, TILE, split};

/// Floats of a pixel's part of 32 channels.
pub(super) const LINE: usize = TILE / ROWS;
/// Most floats of a block's planes: they stay in the second cache, beside a panel of weights.
const MOST: usize = 256 << 10;
/// Columns of the grid that a block has in any case.
pub(super) const NARROWEST: usize = 64;

/// How the grid is cut into blocks, and what a block reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Planes {
    /// Rows and columns of the grid, and of its blocks but the last.
    pub(super) grid: [usize; 2],
    pub(super) block: [usize; 2],
    /// How far back, and how far in all, taps reach within a plane.
    low: [isize; 2],
    reach: [usize; 2],
    /// Planes, and tiles of channels.
    count: usize,
    pub(super) tiles: usize,
}

impl Planes {
    /// For blocks of the whole grid.
    pub(super) fn whole(g: &Correlation<'_>) -> Planes {
        let mut low = [isize::MAX; 2];
        let mut high = [isize::MIN; 2];
        for tap in g.in_order {
            for axis in 0..2 {
                let at = tap.offset[axis].div_euclid(g.scale[axis] as isize);
                low[axis] = low[axis].min(at);
                high[axis] = high[axis].max(at);
            }
        }
        let reach = [0, 1].map(|axis| high[axis].saturating_sub(low[axis]).max(0) as usize);
        let grid = [g.to.height.div_ceil(g.step[0]), g.to.width.div_ceil(g.step[1])];
        let tiles = g.from.channels.div_ceil(DEPTH);
        Planes { grid, block: grid, low, reach, count: firsts(g).count(), tiles }
    }

    /// For so many rows of blocks, and for more and narrower ones if memory asks for it.
    pub(super) fn cut(mut self, cuts: usize) -> Planes {
        while self.block[1] > NARROWEST && self.floats([1, self.block[1]]) > MOST {
            self.block[1] = self.block[1].div_ceil(2);
        }
        let pixels = MOST / self.floats_of_pixel();
        let fits = pixels.saturating_sub(self.reach[0] * self.pitch() + self.reach[1] + TILES * ROWS) / self.pitch();
        let cuts = cuts.max(self.grid[0].div_ceil(fits.max(1)));
        self.block[0] = self.grid[0].div_ceil(cuts.max(1));
        self
    }

    /// From a row of the grid to the next, in pixels of a block's planes.
    pub(super) fn pitch(&self) -> usize {
        self.block[1] + self.reach[1]
    }

    /// Pixels of a plane; tiles that begin within the grid end within it.
    fn pixels(&self, [rows, cols]: [usize; 2]) -> usize {
        let pitch = cols + self.reach[1];
        let of_grid = rows.saturating_mul(pitch).saturating_add(TILES * ROWS);
        of_grid.saturating_add(self.reach[0].saturating_mul(pitch)).saturating_add(self.reach[1])
    }

    /// Floats of a pixel in all planes.
    fn floats_of_pixel(&self) -> usize {
        (self.tiles * self.count * PARTS * LINE).max(1)
    }

    fn floats(&self, block: [usize; 2]) -> usize {
        self.floats_of_pixel().saturating_mul(self.pixels(block))
    }

    /// What a block takes.
    pub(super) fn len(&self) -> usize {
        self.floats(self.block)
    }

    /// What a block takes at most, for images of these sizes and smaller ones.
    pub(super) fn most(&self) -> usize {
        self.floats(self.grid).min(MOST.max(self.floats([1, self.grid[1].min(NARROWEST)])))
    }

    /// From a part of a pixel to the next part, in floats.
    pub(super) fn apart(&self) -> usize {
        self.pixels(self.block) * LINE
    }

    /// From 32 channels of a pixel to the next 32, in floats.
    pub(super) fn next_channels(&self) -> usize {
        self.count * PARTS * self.apart()
    }

    /// Where each tap begins to read, in floats, in the order of [`by_plane`].
    pub(super) fn offsets<'a>(&self, scratch: &'a Scratch, g: &Correlation<'_>) -> Items<'a, usize> {
        let mut planes = 0;
        let offsets = by_plane(g).map(|at| {
            planes += usize::from(first_of_plane(g, at) == at);
            let [row, col] = [0, 1].map(|axis| {
                let offset = g.in_order[at].offset[axis].div_euclid(g.scale[axis] as isize);
                (offset - self.low[axis]) as usize
            });
            (planes - 1) * PARTS * self.apart() + (row * self.pitch() + col) * LINE
        });
        scratch.lend_items(Purpose::Table, offsets)
    }

    /// Splits what the block from `first` on reads of a group of one image (`of`, image and group); whether pixels are left to the vector units, for which zeros
    /// stand.
    ///
    /// # Safety
    /// The image is there, and room for [`Planes::len`] floats and in `copy` for a pixel; the instructions are there.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    pub(super) unsafe fn split(
        &self,
        g: &Correlation<'_>,
        of: [usize; 2],
        first: [usize; 2],
        to: *mut f32,
        copy: &mut [f32],
    ) -> bool {
        let rows = self.block[0].min(self.grid[0] - first[0]) + self.reach[0];
        let cols = self.block[1].min(self.grid[1] - first[1]) + self.reach[1];
        let apart = [self.next_channels(), self.apart()];
        let mut is_odd = false;
        for (plane, tap) in firsts(g).map(|at| &g.in_order[at]).enumerate() {
            // The pixel of the image that is so far along the plane.
            let pixel = |axis: usize, at: usize| {
                let scale = g.scale[axis] as isize;
                ((first[axis] + at) as isize + self.low[axis]) * scale + tap.offset[axis].rem_euclid(scale)
            };
            let to = to.wrapping_add(plane * PARTS * self.apart());
            for (row, col) in (0..rows).flat_map(|row| (0..cols).map(move |col| (row, col))) {
                let to = to.wrapping_add((row * self.pitch() + col) * LINE);
                // SAFETY: within the planes, and the image.
                unsafe {
                    match channels(g, of, [pixel(0, row), pixel(1, col)], copy) {
                        Some(from) => is_odd |= split::row(from, g.from.channels, to, apart),
                        None => split::no_row(g.from.channels, to, apart),
                    }
                }
            }
        }
        is_odd
    }
}

/// The channels of a group at a pixel, copied if they are apart, unless the pixel is outside of the image.
///
/// # Safety
/// The image is there.
pub(super) unsafe fn channels(
    g: &Correlation<'_>,
    of: [usize; 2],
    place: [isize; 2],
    copy: &mut [f32],
) -> Option<*const f32> {
    let from = g.group_at(of, place)?;
    if g.from.channel == 1 {
        return Some(from);
    }
    for (at, x) in copy[..g.from.channels].iter_mut().enumerate() {
        // SAFETY: promised by the caller.
        *x = unsafe { *from.wrapping_offset(at as isize * g.from.channel) };
    }
    Some(copy.as_ptr())
}

/// The first tap that reads the same plane as the tap with index `at`.
fn first_of_plane(g: &Correlation<'_>, at: usize) -> usize {
    let remainders = |tap: &Tap| [0, 1].map(|axis| tap.offset[axis].rem_euclid(g.scale[axis] as isize));
    let mine = remainders(&g.in_order[at]);
    g.in_order[..at].iter().position(|tap| remainders(tap) == mine).unwrap_or(at)
}

/// The first tap of each plane.
fn firsts<'a>(g: &'a Correlation<'_>) -> impl Iterator<Item = usize> + 'a {
    (0..g.in_order.len()).filter(|&at| first_of_plane(g, at) == at)
}

/// Indices of taps, those together that read one plane: its pixels stay in the first cache. Where there are several phases, all
/// read one plane, and the order is that of the phases.
pub(super) fn by_plane<'a>(g: &'a Correlation<'_>) -> impl ExactSizeIterator<Item = usize> + 'a {
    let taps = 0..g.in_order.len();
    let of_plane = move |first| (first..g.in_order.len()).filter(move |&at| first_of_plane(g, at) == first);
    let mut by_plane = firsts(g).flat_map(of_plane);
    taps.map(move |_| by_plane.next().expect("each tap reads one plane"))
}
