//! Images of few channels, such as pictures: windows of them are copied once, with channels innermost and with their
//! padding, so that the floats which a row of the kernel reads are neighbors. Patches are never copied.
#![expect(unsafe_code, reason = "raw images")]

mod forward;
mod weight_grad;

use crate::kernels::cpu::Cpu;
use crate::scratch::Needs;

use super::geometry::{Correlation, Image};
pub(crate) use forward::Forward;
pub(crate) use weight_grad::WeightGrad;

/// With as many channels, others are as fast, and windows would be large.
const CHANNELS: usize = 16;
/// Most rows of `to` of a window. Neighbors share rows of `from`, which are copied for each.
const ROWS: usize = 8;
/// Most columns of `to` of a window.
const COLS: usize = 512;

/// How the pixels of `to` are divided into windows. It depends on nothing but the sizes.
#[derive(Clone, Copy)]
pub(crate) struct Windows {
    kernel: [usize; 2],
    /// Rows of `from` from a row of the kernel to the next.
    dilation: usize,
    /// The pixel of `from` that the first tap reads for the first pixel of `to`.
    origin: [isize; 2],
    /// Pixels of `to` per window, in each direction.
    most: [usize; 2],
    /// Windows of an image, in each direction.
    counts: [usize; 2],
    /// Floats from a row of a copied window to the next.
    row_len: usize,
}

/// Pixels of `to`: the first, and how many in each direction.
#[derive(Clone, Copy)]
struct Window {
    image: usize,
    first: [usize; 2],
    sizes: [usize; 2],
}

impl Windows {
    /// For a geometry that this way of computing suits: few channels in one group, and a kernel whose rows are neighbors.
    /// Which ones these are does not depend on the sizes of images.
    pub(crate) fn on(cpu: Cpu, g: &Correlation<'_>) -> Option<Windows> {
        // Portable code is small rather than fast.
        if cpu == Cpu::Portable { None } else { Windows::new(g) }
    }
    fn new(g: &Correlation<'_>) -> Option<Windows> {
        let [phase] = g.phases else { return None };
        let [first, ..] = phase.taps else { return None };
        let width = phase.taps.iter().take_while(|tap| tap.offset[0] == first.offset[0]).count();
        let height = phase.taps.len() / width;
        let dilation = phase.taps.get(width).map_or(1, |tap| tap.offset[0] - first.offset[0]);
        let is_dense = phase.taps.iter().enumerate().all(|(index, tap)| {
            let (row, col) = ((index / width) as isize, (index % width) as isize);
            tap.offset == [first.offset[0] + row * dilation, first.offset[1] + col]
        });
        let suits = g.groups == 1 && g.step == [1, 1] && (1..CHANNELS).contains(&g.from.channels);
        // Pixels that no tap reads would be copied in vain.
        let reads_all = g.scale[0] <= height && g.scale[1] <= width;
        if !(suits && is_dense && dilation > 0 && reads_all) {
            return None;
        }
        let counts = [g.to.height.div_ceil(ROWS), g.to.width.div_ceil(COLS)];
        let most = [g.to.height.min(ROWS), g.to.width.div_ceil(counts[1].max(1))];
        Some(Windows {
            kernel: [height, width],
            dilation: dilation.unsigned_abs(),
            origin: first.offset,
            most,
            counts,
            row_len: row_len(g, width, most[1]),
        })
    }

    /// Floats of a copied window, for these sizes and smaller ones.
    fn most_floats(&self, g: &Correlation<'_>) -> usize {
        self.height(g, self.most[0]) * row_len(g, self.kernel[1], g.to.width.min(COLS))
    }

    /// Rows of `from` that so many rows of `to` read.
    fn height(&self, g: &Correlation<'_>, rows: usize) -> usize {
        (rows.max(1) - 1) * g.scale[0] + (self.kernel[0] - 1) * self.dilation + 1
    }

    /// All windows of all images.
    pub(crate) fn count(&self, g: &Correlation<'_>) -> usize {
        g.images.saturating_mul(self.counts[0]).saturating_mul(self.counts[1])
    }

    fn window(&self, g: &Correlation<'_>, index: usize) -> Window {
        let (rest, across) = (index / self.counts[1], index % self.counts[1]);
        let (image, down) = (rest / self.counts[0], rest % self.counts[0]);
        let first = [down * self.most[0], across * self.most[1]];
        let sizes = [self.most[0].min(g.to.height - first[0]), self.most[1].min(g.to.width - first[1])];
        Window { image, first, sizes }
    }

    /// Floats of a copied window from its start to what the first tap reads for a pixel of `to`.
    fn offset(&self, g: &Correlation<'_>, row: usize, col: usize) -> usize {
        row * g.scale[0] * self.row_len + col * g.scale[1] * g.from.channels
    }

    /// And from there to what another tap reads.
    fn offset_of_tap(&self, g: &Correlation<'_>, tap: usize) -> usize {
        let (row, col) = (tap / self.kernel[1], tap % self.kernel[1]);
        row * self.dilation * self.row_len + col * g.from.channels
    }

    /// Copies what the pixels of a window read, zeros outside of the image.
    ///
    /// # Safety
    /// `to` has room for [`Windows::most_floats`], and the image is valid.
    // Once for all instruction sets: the library is small, and copies take a twentieth of the time.
    #[inline(never)]
    unsafe fn copy(&self, g: &Correlation<'_>, window: &Window, to: *mut f32) {
        let channels = g.from.channels;
        let first: [isize; 2] =
            std::array::from_fn(|axis| (window.first[axis] * g.scale[axis]) as isize + self.origin[axis]);
        let width = (window.sizes[1] - 1) * g.scale[1] + self.kernel[1];
        // The columns that lie inside: 0 <= first + column < width of the image.
        let begin = (-first[1]).max(0).unsigned_abs().min(width);
        let end = (g.from.width as isize - first[1]).max(0).unsigned_abs().min(width).max(begin);
        for r in 0..self.height(g, window.sizes[0]) {
            // SAFETY: a row of the window.
            let to = unsafe { std::slice::from_raw_parts_mut(to.add(r * self.row_len), width * channels) };
            let row = first[0] + r as isize;
            if row < 0 || row >= g.from.height as isize || begin == end {
                to.fill(0.0);
                continue;
            }
            to[..begin * channels].fill(0.0);
            to[end * channels..].fill(0.0);
            let from = g.from.at(window.image, row, first[1] + begin as isize);
            // SAFETY: these columns are inside of the image.
            unsafe { interleave(&g.from, from, &mut to[begin * channels..end * channels]) };
        }
    }
}

/// Floats of a row of a window of so many columns of `to`.
fn row_len(g: &Correlation<'_>, kernel: usize, cols: usize) -> usize {
    ((cols.max(1) - 1) * g.scale[1] + kernel) * g.from.channels
}

/// Copies neighboring pixels of an image, from this one on.
unsafe fn interleave(image: &Image, from: *const f32, to: &mut [f32]) {
    let channels = image.channels;
    // SAFETY: the caller's pixels.
    unsafe {
        match (image.col, image.channel) {
            (col, 1) if col == channels as isize => to.copy_from_slice(std::slice::from_raw_parts(from, to.len())),
            (1, _) if channels == 3 => interleave_planes::<3>(image, from, to),
            _ => {
                for channel in 0..channels {
                    let from = from.wrapping_offset(channel as isize * image.channel);
                    for (col, to) in to[channel..].iter_mut().step_by(channels).enumerate() {
                        *to = *from.offset(col as isize * image.col);
                    }
                }
            }
        }
    }
}

/// As [`interleave`], of `C` channels whose pixels are neighbors.
unsafe fn interleave_planes<const C: usize>(image: &Image, from: *const f32, to: &mut [f32]) {
    let (pixels, _) = to.as_chunks_mut::<C>();
    // SAFETY: the caller's pixels.
    let planes: [&[f32]; C] = std::array::from_fn(|channel| unsafe {
        std::slice::from_raw_parts(from.wrapping_offset(channel as isize * image.channel), pixels.len())
    });
    for (col, pixel) in pixels.iter_mut().enumerate() {
        *pixel = std::array::from_fn(|channel| planes[channel][col]);
    }
}

/// What [`Forward`] takes for these sizes and smaller ones.
pub(crate) fn needs(g: &Correlation<'_>, windows: &Windows) -> Needs {
    forward::needs(g, windows)
}

/// What [`WeightGrad`] takes for these sizes and smaller ones.
pub(crate) fn weight_grad_needs(g: &Correlation<'_>, windows: &Windows) -> Needs {
    weight_grad::needs(g, windows)
}
