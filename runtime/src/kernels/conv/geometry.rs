//! The forward direction and the data gradient as one thing: a correlation of an image with taps.

use crate::abi::Conv;
use crate::scratch::{Items, Purpose, Scratch};

/// `to[u] = Σ over taps t, channels c of from[u · scale + offset(t)][c] · weight(t, c)` on a grid of pixels.
///
/// The data gradient of a convolution with strides falls apart into phases: the pixels of `to` whose row and column
/// have the same remainders are reached by the same taps. Forward there is one phase with all taps.
#[derive(Clone, Debug)]
pub(crate) struct Correlation<'a> {
    pub(crate) images: usize,
    pub(crate) groups: usize,
    pub(crate) from: Image,
    pub(crate) to: Image,
    /// Whether the memory of `to` has the largest of each 2 by 2 pixels in their place; its height and width are those before.
    pub(crate) pooled: bool,
    /// Where it is written which of them it is, or nowhere, as the memory of `to`.
    pub(crate) positions: Image,
    pub(crate) phases: &'a [Phase<'a>],
    /// The taps of all phases, one phase after the other.
    pub(crate) in_order: &'a [Tap],
    /// Pixels of `from` per step on the grid of a phase.
    pub(crate) scale: [usize; 2],
    /// Pixels of `to` per step on the grid of a phase.
    pub(crate) step: [usize; 2],
    /// All taps of the kernel.
    pub(crate) taps: usize,
    pub(crate) weight: *const f32,
    /// In `weight`, from a channel of `from` and of `to` to the next within a group, and from a group to the next.
    pub(crate) weight_from: usize,
    pub(crate) weight_to: usize,
    pub(crate) weight_group: usize,
}

// SAFETY: plain sizes and addresses, which only unsafe code follows.
#[expect(unsafe_code, reason = "holds the addresses of images")]
unsafe impl Sync for Correlation<'_> {}

/// One of the two images.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Image {
    pub(crate) data: *mut f32,
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// Channels of a group.
    pub(crate) channels: usize,
    pub(crate) image: isize,
    pub(crate) row: isize,
    pub(crate) col: isize,
    pub(crate) channel: isize,
}

/// The pixels of `to` at `first + u · step`, and the taps that reach them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Phase<'a> {
    pub(crate) first: [usize; 2],
    pub(crate) taps: &'a [Tap],
    /// The index of the first tap in the order of all phases.
    pub(crate) first_tap: usize,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Tap {
    /// The index within the kernel, row by row.
    pub(crate) index: usize,
    /// Where it reads: the pixel of `from` for `u = 0`.
    pub(crate) offset: [isize; 2],
}

impl Image {
    /// The address of channel 0 of a pixel.
    pub(crate) fn at(&self, image: usize, row: isize, col: isize) -> *mut f32 {
        self.data.wrapping_offset(image as isize * self.image + row * self.row + col * self.col)
    }

    pub(crate) fn contains(&self, row: isize, col: isize) -> bool {
        row >= 0 && col >= 0 && (row as usize) < self.height && (col as usize) < self.width
    }
}

/// What a convolution computes from an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// `y` from `x`.
    Forward,
    /// `x` from `y`.
    DataGrad,
}

/// All taps of the kernel, one phase after the other.
pub(crate) fn taps<'a>(scratch: &'a Scratch, d: &Conv, way: Way) -> Items<'a, Tap> {
    let [kh, kw, sh, sw] = [d.kh, d.kw, d.stride_h, d.stride_w].map(|x| x.max(0) as isize);
    let mut at = [0, 0, 0, 0];
    let next = move |_| match way {
        Way::Forward => {
            let [.., a, b] = at;
            at = if b + 1 < kw { [0, 0, a, b + 1] } else { [0, 0, a + 1, 0] };
            let offset = [a * d.dilation_h as isize - d.pad_h as isize, b * d.dilation_w as isize - d.pad_w as isize];
            Tap { index: (a * kw + b) as usize, offset }
        }
        // Each tap belongs to one phase: looking through all of them finds as many as there are.
        Way::DataGrad => loop {
            let [row, col, a, b] = at;
            at = match [b + 1 < kw, a + 1 < kh, col + 1 < sw] {
                [true, ..] => [row, col, a, b + 1],
                [_, true, _] => [row, col, a + 1, 0],
                [.., true] => [row, col + 1, 0, 0],
                _ => [row + 1, 0, 0, 0],
            };
            // Pixel r of x meets output i at tap a where r + pad - a·dilation = i·stride.
            let i = row + d.pad_h as isize - a * d.dilation_h as isize;
            let j = col + d.pad_w as isize - b * d.dilation_w as isize;
            if i.rem_euclid(sh) == 0 && j.rem_euclid(sw) == 0 {
                let offset = [i.div_euclid(sh), j.div_euclid(sw)];
                break Tap { index: (a * kw + b) as usize, offset };
            }
        },
    };
    scratch.lend_items(Purpose::Taps, (0..(kh * kw) as usize).map(next))
}

/// The phases of these taps.
pub(crate) fn phases<'a>(scratch: &'a Scratch, d: &Conv, way: Way, taps: &'a [Tap]) -> Items<'a, Phase<'a>> {
    let [sh, sw] = if way == Way::Forward { [1, 1] } else { [d.stride_h, d.stride_w].map(|x| x.max(0) as usize) };
    let mut first_tap = 0;
    let next = move |index| {
        let first = [index / sw, index % sw];
        let rest = &taps[first_tap..];
        let is_mine = |tap: &&Tap| way == Way::Forward || phase_of(d, tap.index) == first;
        let count = rest.iter().take_while(is_mine).count();
        let phase = Phase { first, taps: &rest[..count], first_tap };
        first_tap += count;
        phase
    };
    scratch.lend_items(Purpose::Phases, (0..sh * sw).map(next))
}

/// The first pixel of the phase that a tap of the data gradient belongs to.
fn phase_of(d: &Conv, tap: usize) -> [usize; 2] {
    let (a, b) = (tap as i64 / d.kw, tap as i64 % d.kw);
    let row = (a * d.dilation_h - d.pad_h).rem_euclid(d.stride_h);
    let col = (b * d.dilation_w - d.pad_w).rem_euclid(d.stride_w);
    [row as usize, col as usize]
}

impl<'a> Correlation<'a> {
    /// Of [`taps`] and their [`phases`].
    pub(crate) fn new(d: &Conv, way: Way, in_order: &'a [Tap], phases: &'a [Phase<'a>]) -> Correlation<'a> {
        let [x, y] = images(d);
        let taps = (d.kh * d.kw) as usize;
        let (channels, others) = (x.channels * taps, taps);
        let strides = [d.stride_h as usize, d.stride_w as usize];
        let (from, to, scale, step, weight_from, weight_to) = match way {
            Way::Forward => (x, y, strides, [1, 1], others, channels),
            Way::DataGrad => (y, x, [1, 1], strides, channels, others),
        };
        Correlation {
            images: d.n as usize,
            groups: d.groups as usize,
            from,
            to,
            pooled: d.pooled != 0 && way == Way::Forward,
            positions: positions(d, y),
            phases,
            in_order,
            scale,
            step,
            taps,
            weight: d.weight,
            weight_from,
            weight_to,
            weight_group: from.channels * to.channels * taps,
        }
    }

    /// The pixel of `from` that a tap reads for a pixel of `to`, which is one of the tap's phase; it may lie outside.
    #[inline(always)]
    pub(crate) fn reads(&self, phase: &Phase<'_>, pixel: [usize; 2], tap: &Tap) -> [isize; 2] {
        let along = |axis: usize| {
            let distance = pixel[axis] - phase.first[axis];
            // Divisions take long, and are rare so.
            let u = if self.step[axis] == 1 { distance } else { distance / self.step[axis] };
            (u * self.scale[axis]) as isize + tap.offset[axis]
        };
        [along(0), along(1)]
    }

    /// The pixels, of so many on the grid of a phase, for which what is read from this column on is within the image.
    #[inline(always)]
    pub(crate) fn inside(&self, column: isize, count: usize) -> [usize; 2] {
        let steps = |pixels: isize| {
            let pixels = pixels.max(0).unsigned_abs();
            if self.scale[1] == 1 { pixels } else { pixels.div_ceil(self.scale[1]) }
        };
        let end = steps(self.from.width as isize - column).min(count);
        [steps(-column).min(end), end]
    }

    /// Where the channels of a group begin at a pixel of `from`, or would, were it inside.
    #[inline(always)]
    pub(crate) fn channels_at(&self, [image, group]: [usize; 2], [row, col]: [isize; 2]) -> *const f32 {
        let first_channel = (group * self.from.channels) as isize * self.from.channel;
        self.from.at(image, row, col).wrapping_offset(first_channel)
    }

    /// Where they begin, unless the pixel is outside.
    #[inline(always)]
    pub(crate) fn group_at(&self, which: [usize; 2], pixel @ [row, col]: [isize; 2]) -> Option<*const f32> {
        self.from.contains(row, col).then(|| self.channels_at(which, pixel))
    }

    /// The channels of all groups of `to`.
    pub(crate) fn all_channels(&self) -> usize {
        self.groups * self.to.channels
    }

    /// The length of the sums that make an element of `to`, all phases taken together.
    pub(crate) fn depth(&self) -> usize {
        self.taps * self.from.channels
    }
}

/// Where it is written which of its neighbors a pixel of `y` is.
fn positions(d: &Conv, y: Image) -> Image {
    let [image, row, col] = [d.positions_n, d.positions_h, d.positions_w].map(|stride| stride as isize);
    Image { data: d.positions, image, row, col, ..y }
}

/// `x` and `y`.
fn images(d: &Conv) -> [Image; 2] {
    let x = Image {
        data: d.x,
        height: d.h as usize,
        width: d.w as usize,
        channels: (d.c / d.groups) as usize,
        image: d.x_n as isize,
        row: d.x_h as isize,
        col: d.x_w as isize,
        channel: if d.c == 1 { 1 } else { d.x_c as isize },
    };
    let y = Image {
        data: d.y,
        height: d.oh as usize,
        width: d.ow as usize,
        channels: (d.oc / d.groups) as usize,
        image: d.y_n as isize,
        row: d.y_h as isize,
        col: d.y_w as isize,
        channel: 1,
    };
    [x, y]
}
