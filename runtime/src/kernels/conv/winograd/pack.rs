//! Transforms weights into panels: `[group of panels][point][panel][channel of from][NR channels of to]`, the order in
//! which they are read.
#![expect(unsafe_code, reason = "vector instructions on raw weights")]

use crate::threads::Team;

use super::super::super::gemm::Output;
use super::super::super::simd::{Simd, Task, WIDEST};
use super::super::geometry::Correlation;
use super::transforms::{MOST, Points};
use super::{origin, per_group};

/// Channels that are transformed before any is written.
const CHANNELS: usize = 8;

pub(crate) struct Pack<'a, P> {
    pub(crate) team: Team<'a>,
    pub(crate) g: &'a Correlation<'a>,
    pub(crate) packed: *mut f32,
    pub(crate) points: P,
}

impl<P: Points> Task for Pack<'_, P> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        if super::is_left_out::<S, P>() {
            unreachable!("nobody asks for these points here");
        }
        let panels = self.g.to.channels.div_ceil(S::NR);
        let (g, points, packed) = (self.g, self.points, Output(self.packed));
        self.team.run(panels, |_, panel| {
            // SAFETY: each chunk has its own places.
            unsafe {
                S::vectorize(PackPanel { g, points, panel, panels, packed: packed.get() });
            };
        });
    }
}

/// Transforms one panel of the `panels` that there are.
pub(super) struct PackPanel<'a, P> {
    pub(super) g: &'a Correlation<'a>,
    #[expect(dead_code, reason = "stands for its type")]
    pub(super) points: P,
    pub(super) panel: usize,
    pub(super) panels: usize,
    /// Where the first group of panels would be.
    pub(super) packed: *mut f32,
}

impl<P: Points> Task for PackPanel<'_, P> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { g, panel, panels, packed, .. } = self;
        // The last group may be smaller.
        let begin = panel - panel % per_group::<S>();
        let group = per_group::<S>().min(panels - begin);
        let channels = g.from.channels;
        let packed = packed.wrapping_add((begin * P::ALL + panel - begin) * channels * S::NR);
        // Points lie so far apart that their cache lines exclude each other: a run of lines is written at a time.
        let mut block = [0.0_f32; MOST * MOST * CHANNELS * WIDEST];
        for first in (0..channels).step_by(CHANNELS) {
            let count = CHANNELS.min(channels - first);
            for channel in 0..count {
                // SAFETY: promised by the maker of the task.
                unsafe {
                    transform::<S, P>(g, panel, first + channel, &mut block[channel * S::NR..]);
                }
            }
            for (point, from) in block.chunks_exact(CHANNELS * S::NR).take(P::ALL).enumerate() {
                let to = packed.wrapping_add((point * group * channels + first) * S::NR);
                // SAFETY: within the panel.
                unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), to, count * S::NR) };
            }
        }
    }
}

/// Transforms the weights of one channel: those of a point at `point * CHANNELS * NR`.
#[inline(always)]
unsafe fn transform<S: Simd, P: Points>(g: &Correlation<'_>, panel: usize, channel: usize, to: &mut [f32]) {
    let first = origin(g);
    let lanes = S::NR.min(g.to.channels - panel * S::NR);
    // Taps in the order of the pixels that they read, which turns the kernel in the data gradient.
    let from = g.weight.wrapping_add(panel * S::NR * g.weight_to + channel * g.weight_from);
    let mut weights = [[0.0_f32; WIDEST]; 9];
    // SAFETY: nine weights of each channel, and no panel is wider than the widest.
    unsafe {
        let whole = lanes - lanes % 8;
        for lane in (0..whole).step_by(8) {
            let from = from.add(lane * g.weight_to);
            S::transpose_8x8(from, g.weight_to as isize, weights.as_mut_ptr().cast::<f32>().add(lane), WIDEST);
        }
        // The lanes of a last part, and the ninth weight of all.
        for (index, weights) in weights.iter_mut().enumerate() {
            let done = if index < 8 { whole } else { 0 };
            for (lane, weight) in weights[..lanes].iter_mut().enumerate().skip(done) {
                *weight = *from.add(lane * g.weight_to + index);
            }
        }
    }
    let mut taps = [[&weights[0]; 3]; 3];
    for tap in g.phases[0].taps {
        taps[(tap.offset[0] - first[0]) as usize][(tap.offset[1] - first[1]) as usize] = &weights[tap.index];
    }
    for vector in 0..S::WIDTH {
        let to = &mut to[vector * S::LANES..];
        // SAFETY: no panel is wider than the widest.
        unsafe {
            let mut half = [[S::splat(0.0); 3]; MOST];
            for col in 0..3 {
                let column = [0, 1, 2].map(|row: usize| S::load(taps[row][col][vector * S::LANES..].as_ptr()));
                for (half, x) in half.iter_mut().zip(P::weights::<S>(column)) {
                    half[col] = x;
                }
            }
            for (i, row) in half.into_iter().enumerate().take(P::SIDE) {
                for (j, x) in P::weights::<S>(row).into_iter().enumerate().take(P::SIDE) {
                    let to = &mut to[(i * P::SIDE + j) * CHANNELS * S::NR..][..S::LANES];
                    S::store(to.as_mut_ptr(), x);
                }
            }
        }
    }
}
