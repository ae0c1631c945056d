//! Convolutions in which every channel is a group of its own: vectors run along channels.
#![expect(unsafe_code, reason = "vector instructions on raw images")]

use crate::abi::{Conv, Frame};
use crate::scratch::{Needs, Purpose};
use crate::threads::Team;

use super::super::gemm::Output;
use super::super::simd::{Simd, Task};
use super::finish::{Blocks, Finish};
use super::geometry::{Correlation, Phase};

/// Pixels that share a load of the weights.
const PIXELS: usize = 4;
/// As many chunks keep several threads evenly busy.
const CHUNKS: usize = 12;
/// Channels of a chunk of the weight gradient.
const CHANNELS: usize = 64;

/// Packs weights as `[tap][channel]`, taps in the order of the kernel.
///
/// # Safety
/// The weights are valid, and `packed` has room for as many.
pub(crate) unsafe fn pack(g: &Correlation<'_>, packed: *mut f32) {
    for channel in 0..g.groups {
        for tap in 0..g.taps {
            // SAFETY: promised by the caller.
            unsafe {
                *packed.add(tap * g.groups + channel) = *g.weight.add(channel * g.taps + tap);
            };
        }
    }
}

/// Forward and data gradient.
pub(crate) struct Depthwise<'a> {
    pub(crate) team: Team<'a>,
    pub(crate) g: &'a Correlation<'a>,
    pub(crate) packed: *const f32,
    pub(crate) finish: Finish<'a>,
}

// SAFETY: chunks read shared operands and write to disjoint rows of the result.
unsafe impl Sync for Depthwise<'_> {}

impl Task for Depthwise<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let g = self.g;
        let width = g.to.width;
        let rows = g.images * g.to.height;
        let work = |blocks: Blocks<'_>| {
            self.team.run(rows, |_, index| {
                let (image, row) = (index / g.to.height, index % g.to.height);
                // SAFETY: chunks write to disjoint rows.
                unsafe {
                    S::vectorize(Row { all: &self, image, row });
                    blocks.finish::<S>(index, [index * width, (index + 1) * width], [0, g.groups]);
                }
            });
        };
        // SAFETY: promised by the caller.
        unsafe { self.finish.with::<S>(self.team.scratch, rows, work) };
    }
}

struct Row<'a> {
    all: &'a Depthwise<'a>,
    image: usize,
    row: usize,
}

impl Task for Row<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let g = self.all.g;
        for phase in g.phases {
            if self.row % g.step[0] != phase.first[0] || phase.first[1] >= g.to.width {
                continue;
            }
            let count = (g.to.width - phase.first[1]).div_ceil(g.step[1]);
            let mut pixel = 0;
            while pixel < count {
                // SAFETY: promised by the maker.
                unsafe {
                    if pixel + PIXELS <= count && self.all_inside(phase, pixel) {
                        self.pixels::<S, PIXELS>(phase, pixel);
                        pixel += PIXELS;
                    } else {
                        self.pixels::<S, 1>(phase, pixel);
                        pixel += 1;
                    }
                }
            }
        }
    }
}

impl Row<'_> {
    /// Whether no tap leaves the image sideways for `PIXELS` pixels.
    fn all_inside(&self, phase: &Phase<'_>, pixel: usize) -> bool {
        let g = self.all.g;
        let (first, last) = ((pixel * g.scale[1]) as isize, ((pixel + PIXELS - 1) * g.scale[1]) as isize);
        phase.taps.iter().all(|tap| first + tap.offset[1] >= 0 && last + tap.offset[1] < g.from.width as isize)
    }

    /// All channels of `P` pixels of the phase's grid from `pixel` on, which are inside if they are several.
    #[inline(always)]
    unsafe fn pixels<S: Simd, const P: usize>(&self, phase: &Phase<'_>, pixel: usize) {
        let g = self.all.g;
        let row = ((self.row - phase.first[0]) / g.step[0] * g.scale[0]) as isize;
        let col = (pixel * g.scale[1]) as isize;
        let step = g.scale[1] as isize * g.from.col;
        let to = g.to.at(self.image, self.row as isize, (phase.first[1] + pixel * g.step[1]) as isize);
        let to_step = g.step[1] as isize * g.to.col;
        let mut channel = 0;
        while channel < g.groups {
            let lanes = S::LANES.min(g.groups - channel);
            // SAFETY: pixels inside of the images, and no more than the channels that exist.
            unsafe {
                let mut sums = [S::splat(0.0); P];
                for tap in phase.taps {
                    let (row, col) = (row + tap.offset[0], col + tap.offset[1]);
                    if !g.from.contains(row, col) {
                        continue;
                    }
                    let from = g.from.at(self.image, row, col).add(channel);
                    let weight = self.all.packed.add(tap.index * g.groups + channel);
                    if lanes == S::LANES {
                        let weight = S::load(weight);
                        for (i, sum) in sums.iter_mut().enumerate() {
                            *sum = S::mul_add(S::load(from.offset(i as isize * step)), weight, *sum);
                        }
                    } else {
                        let weight = S::load_first(weight, lanes);
                        for (i, sum) in sums.iter_mut().enumerate() {
                            let x = S::load_first(from.offset(i as isize * step), lanes);
                            *sum = S::mul_add(x, weight, *sum);
                        }
                    }
                }
                for (i, sum) in sums.into_iter().enumerate() {
                    let to = to.offset(i as isize * to_step).add(channel);
                    if lanes == S::LANES {
                        S::store(to, sum);
                    } else {
                        S::store_first(to, sum, lanes);
                    }
                }
            }
            channel += S::LANES;
        }
    }
}

/// How many parts the rows of the weight gradient are divided into.
fn parts(rows: usize, channels: usize) -> usize {
    CHUNKS.div_ceil(channels.div_ceil(CHANNELS)).min(rows).max(1)
}

/// What [`WeightGrad`] takes for so many rows and fewer.
pub(crate) fn needs(g: &Correlation<'_>) -> Needs {
    let parts = parts(g.images * g.to.height, g.groups);
    Needs::default().caller(Purpose::Partial, parts * g.taps * g.groups)
}

/// The weight gradient.
pub(crate) struct WeightGrad<'a> {
    pub(crate) team: Team<'a>,
    pub(crate) frame: Frame,
    pub(crate) d: &'a Conv,
    pub(crate) g: &'a Correlation<'a>,
}

// SAFETY: chunks read shared operands and write to disjoint parts of the sums.
unsafe impl Sync for WeightGrad<'_> {}

impl Task for WeightGrad<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let (g, channels, taps) = (self.g, self.g.groups, self.g.taps);
        let rows = g.images * g.to.height;
        let col_blocks = channels.div_ceil(CHANNELS);
        let parts = parts(rows, channels);
        let part = rows.div_ceil(parts);
        let mut sums = self.team.scratch.lend(Purpose::Partial, parts * taps * channels);

        sums.fill(0.0);
        let sums = Output(sums.as_mut_ptr());
        self.team.run(parts * col_blocks, |_, chunk| {
            let (block, index) = (chunk % col_blocks, chunk / col_blocks);
            let first = block * CHANNELS;
            let sums = sums.get().wrapping_add(index * taps * channels);
            for row in (index * part).min(rows)..((index + 1) * part).min(rows) {
                // SAFETY: chunks write to disjoint parts of the sums.
                unsafe {
                    S::vectorize(Sums { g, row, channels: [first, channels.min(first + CHANNELS)], sums });
                }
            }
        });
        for channel in 0..channels {
            for tap in 0..taps {
                // SAFETY: indices within the sums and the weights.
                unsafe {
                    let mut sum = 0.0;
                    for index in 0..parts {
                        sum += *sums.get().add((index * taps + tap) * channels + channel);
                    }
                    *self.d.weight.add(channel * taps + tap) = sum;
                }
            }
        }

        // SAFETY: all is complete.
        unsafe { self.frame.finish(self.d.epilogue, [0, channels], [0, taps]) };
    }
}

/// Adds the products of one row of `y` to the sums of each tap.
struct Sums<'a> {
    g: &'a Correlation<'a>,
    row: usize,
    channels: [usize; 2],
    sums: *mut f32,
}

impl Task for Sums<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let g = self.g;
        let (image, row) = (self.row / g.to.height, self.row % g.to.height);
        for tap in g.phases[0].taps {
            let x_row = (row * g.scale[0]) as isize + tap.offset[0];
            // The columns of y that this tap connects with columns of x: 0 <= j·scale + offset < width.
            let scale = g.scale[1];
            let begin = (-tap.offset[1]).max(0).unsigned_abs().div_ceil(scale);
            let end = (g.from.width as isize - tap.offset[1]).max(0).unsigned_abs().div_ceil(scale).min(g.to.width);
            if x_row < 0 || x_row >= g.from.height as isize || begin >= end {
                continue;
            }
            let x = g.from.at(image, x_row, (begin * scale) as isize + tap.offset[1]);
            let y = g.to.at(image, row as isize, begin as isize);
            let (x_step, y_step) = (scale as isize * g.from.col, g.to.col);
            let mut channel = self.channels[0];
            while channel < self.channels[1] {
                let lanes = S::LANES.min(self.channels[1] - channel);
                // SAFETY: pixels inside of the images, and no more than the channels that exist.
                unsafe {
                    let sums = self.sums.add(tap.index * g.groups + channel);
                    let (x, y) = (x.add(channel), y.add(channel));
                    // Several chains, since each addition waits for the one before it.
                    let mut chains = [S::splat(0.0); 4];
                    let mut j = 0;
                    if lanes == S::LANES {
                        while begin + j + 4 <= end {
                            for (i, chain) in chains.iter_mut().enumerate() {
                                let at = (j + i) as isize;
                                *chain =
                                    S::mul_add(S::load(x.offset(at * x_step)), S::load(y.offset(at * y_step)), *chain);
                            }
                            j += 4;
                        }
                    }
                    while begin + j < end {
                        let a = S::load_first(x.offset(j as isize * x_step), lanes);
                        let b = S::load_first(y.offset(j as isize * y_step), lanes);
                        chains[0] = S::mul_add(a, b, chains[0]);
                        j += 1;
                    }
                    let sum = S::add(S::add(chains[0], chains[1]), S::add(chains[2], chains[3]));
                    let total = S::add(S::load_first(sums, lanes), sum);
                    S::store_first(sums, total, lanes);
                }
                channel += S::LANES;
            }
        }
    }
}
