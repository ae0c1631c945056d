//! Tiles of an image, and their transforms.
#![expect(unsafe_code, reason = "vector instructions on raw images")]

use super::super::super::simd::Simd;
use super::super::geometry::Image;
use super::transforms::{MOST, Points};

/// More do not fit any memory, and what is computed from their number does not overflow.
const MOST_TILES: usize = usize::MAX >> 8;

/// The tiles of all images, row by row.
#[derive(Clone, Copy)]
pub(super) struct Grid {
    pub(super) rows: usize,
    pub(super) cols: usize,
    /// Pixels of a tile on each side.
    tile: usize,
}

impl Grid {
    /// Of the image that tiles of the result make.
    pub(super) fn new<P: Points>(to: &Image) -> Grid {
        Grid { rows: to.height.div_ceil(P::TILE), cols: to.width.div_ceil(P::TILE), tile: P::TILE }
    }

    /// How many tiles so many images have.
    pub(super) fn tiles(self, images: usize) -> usize {
        images.saturating_mul(self.rows).saturating_mul(self.cols).min(MOST_TILES)
    }

    /// The image of a tile and its first pixel.
    pub(super) fn place(self, tile: usize) -> (usize, usize, usize) {
        let (row, col) = (tile / self.cols, tile % self.cols);
        (row / self.rows, row % self.rows * self.tile, col * self.tile)
    }
}

/// Where transformed tiles lie.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    /// Floats from a tile to the next.
    pub(super) tile: usize,
    /// Floats from a point to the next; no multiple of the distance at which cache lines exclude each other.
    pub(super) point: usize,
    /// Channels that are adjacent.
    pub(super) width: usize,
    /// Floats from so many channels to the next.
    pub(super) panel: usize,
}

impl Layout {
    /// All channels of a tile are adjacent.
    pub(super) fn new(tiles: usize, channels: usize) -> Layout {
        let tile = channels.next_multiple_of(16) + 16;
        Layout { tile, point: tiles * tile + 16, width: 16, panel: 16 }
    }

    /// `width` channels of all tiles are adjacent.
    pub(super) fn panels(tiles: usize, channels: usize, width: usize) -> Layout {
        let panel = tiles * width;
        Layout { tile: width, point: panel * channels.div_ceil(width) + 16, width, panel }
    }

    /// The place of a channel.
    pub(super) fn channel(self, channel: usize) -> usize {
        channel / self.width * self.panel + channel % self.width
    }

    /// Floats of all points.
    pub(super) fn len<P: Points>(self) -> usize {
        P::ALL * self.point
    }
}

/// An image that is cut into tiles.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) image: &'a Image,
    /// The first pixel of the first tile.
    pub(super) origin: [isize; 2],
    /// As many as a pixel has channels, and a vector more.
    pub(super) zeros: &'a [f32],
    pub(super) grid: Grid,
}

// SAFETY: sizes and addresses, which only unsafe code follows.
unsafe impl Sync for Source<'_> {}

impl Source<'_> {
    /// The pixels of a tile, zeros outside of the image.
    #[inline(always)]
    fn pixels(&self, tile: usize, side: usize) -> [[*const f32; MOST]; MOST] {
        let (image, row, col) = self.grid.place(tile);
        let (row, col) = (row as isize + self.origin[0], col as isize + self.origin[1]);
        let mut pixels = [[self.zeros.as_ptr(); MOST]; MOST];
        let last = side as isize - 1;
        if self.image.contains(row, col) && self.image.contains(row + last, col + last) {
            let first = self.image.at(image, row, col);
            for (i, pixels) in pixels.iter_mut().enumerate().take(side) {
                for (j, pixel) in pixels.iter_mut().enumerate().take(side) {
                    *pixel = first.wrapping_offset(i as isize * self.image.row + j as isize * self.image.col);
                }
            }
            return pixels;
        }
        for (i, pixels) in pixels.iter_mut().enumerate().take(side) {
            for (j, pixel) in pixels.iter_mut().enumerate().take(side) {
                let (row, col) = (row + i as isize, col + j as isize);
                if self.image.contains(row, col) {
                    *pixel = self.image.at(image, row, col);
                }
            }
        }
        pixels
    }

    /// Brings a line of the pixels that only the next tile has into the cache: they lie so far apart that no CPU foresees
    /// them.
    #[inline(always)]
    unsafe fn fetch<S: Simd, P: Points>(&self, pixels: &[[*const f32; MOST]; MOST], side: usize, channel: usize) {
        for pixels in &pixels[..side] {
            for pixel in &pixels[side - P::TILE..side] {
                let next = pixel.wrapping_offset(P::TILE as isize * self.image.col).wrapping_add(channel);
                // SAFETY: any address may be fetched.
                unsafe { S::prefetch(next) };
            }
        }
    }

    /// Writes `Bᵀ·x·B` of some channels of a tile: whole vectors from `to` on.
    #[inline(always)]
    pub(super) unsafe fn image<S: Simd, P: Points>(
        &self,
        tile: usize,
        channels: [usize; 2],
        to: *mut f32,
        layout: Layout,
    ) {
        let pixels = self.pixels(tile, P::SIDE);
        for channel in (channels[0]..channels[1]).step_by(S::LANES) {
            let lanes = channels[1] - channel;
            let to = to.wrapping_add(layout.channel(channel - channels[0]));
            // SAFETY: pixels of the image or zeros, and the caller's memory.
            unsafe {
                if channel % 16 == 0 {
                    self.fetch::<S, P>(&pixels, P::SIDE, channel);
                }
                if lanes >= S::LANES {
                    image_tile::<S, P, true>(&pixels, channel, lanes, to, layout.point);
                } else {
                    image_tile::<S, P, false>(&pixels, channel, lanes, to, layout.point);
                }
            }
        }
    }

    /// As [`Source::image`], of `A·y·Aᵀ`.
    #[inline(always)]
    pub(super) unsafe fn cotangent<S: Simd, P: Points>(
        &self,
        tile: usize,
        channels: [usize; 2],
        to: *mut f32,
        layout: Layout,
    ) {
        let pixels = self.pixels(tile, P::TILE);
        for channel in (channels[0]..channels[1]).step_by(S::LANES) {
            let lanes = channels[1] - channel;
            let to = to.wrapping_add(layout.channel(channel - channels[0]));
            // SAFETY: as above.
            unsafe {
                if channel % 16 == 0 {
                    self.fetch::<S, P>(&pixels, P::TILE, channel);
                }
                if lanes >= S::LANES {
                    cotangent_tile::<S, P, true>(&pixels, channel, lanes, to, layout.point);
                } else {
                    cotangent_tile::<S, P, false>(&pixels, channel, lanes, to, layout.point);
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn load<S: Simd, const WHOLE: bool>(pixel: *const f32, channel: usize, lanes: usize) -> S::V {
    // SAFETY: promised by the caller.
    unsafe { if WHOLE { S::load(pixel.add(channel)) } else { S::load_first(pixel.add(channel), lanes) } }
}

#[inline(always)]
unsafe fn image_tile<S: Simd, P: Points, const WHOLE: bool>(
    pixels: &[[*const f32; MOST]; MOST],
    channel: usize,
    lanes: usize,
    to: *mut f32,
    stride: usize,
) {
    // SAFETY: promised by the caller.
    unsafe {
        let mut half = [[S::splat(0.0); MOST]; MOST];
        for j in 0..P::SIDE {
            let mut column = [S::splat(0.0); MOST];
            for (x, pixels) in column.iter_mut().zip(pixels).take(P::SIDE) {
                *x = load::<S, WHOLE>(pixels[j], channel, lanes);
            }
            for (half, x) in half.iter_mut().zip(P::image::<S>(column)).take(P::SIDE) {
                half[j] = x;
            }
        }
        for (i, row) in half.into_iter().enumerate().take(P::SIDE) {
            for (j, x) in P::image::<S>(row).into_iter().enumerate().take(P::SIDE) {
                S::store(to.add((i * P::SIDE + j) * stride), x);
            }
        }
    }
}

#[inline(always)]
unsafe fn cotangent_tile<S: Simd, P: Points, const WHOLE: bool>(
    pixels: &[[*const f32; MOST]; MOST],
    channel: usize,
    lanes: usize,
    to: *mut f32,
    stride: usize,
) {
    // SAFETY: promised by the caller.
    unsafe {
        let mut half = [[S::splat(0.0); 4]; MOST];
        for j in 0..P::TILE {
            let mut column = [S::splat(0.0); 4];
            for (y, pixels) in column.iter_mut().zip(pixels).take(P::TILE) {
                *y = load::<S, WHOLE>(pixels[j], channel, lanes);
            }
            for (half, y) in half.iter_mut().zip(P::cotangent::<S>(column)).take(P::SIDE) {
                half[j] = y;
            }
        }
        for (i, row) in half.into_iter().enumerate().take(P::SIDE) {
            for (j, y) in P::cotangent::<S>(row).into_iter().enumerate().take(P::SIDE) {
                S::store(to.add((i * P::SIDE + j) * stride), y);
            }
        }
    }
}
