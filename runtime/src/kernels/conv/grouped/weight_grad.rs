//! The weight gradient.
#![expect(unsafe_code, reason = "vector instructions on raw images")]

use crate::abi::{Conv, Frame};
use crate::scratch::{Needs, Purpose};
use crate::threads::Team;

use super::super::super::gemm::Output;
use super::super::super::simd::{LONGEST, Simd, Task};
use super::super::geometry::{Correlation, Tap};
use super::{CHUNKS, all_channels, load, turned, weight_at};

/// Channels of a chunk.
const CHANNELS: usize = 64;

/// How many parts the rows are divided into.
fn parts(rows: usize, channels: usize) -> usize {
    CHUNKS.div_ceil(channels.div_ceil(CHANNELS)).min(rows).max(1)
}

/// What [`WeightGrad`] takes for so many rows and fewer.
pub(crate) fn needs(g: &Correlation<'_>) -> Needs {
    let parts = parts(g.images.saturating_mul(g.to.height), all_channels(g));
    Needs::default().caller(Purpose::Partial, parts * g.depth() * all_channels(g))
}

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
        let (g, channels) = (self.g, all_channels(self.g));
        let rows = g.images * g.to.height;
        let blocks = channels.div_ceil(CHANNELS);
        let parts = parts(rows, channels);
        let (part, len) = (rows.div_ceil(parts), g.depth() * channels);
        let mut sums = self.team.scratch.lend(Purpose::Partial, parts * len);

        let sums = Output(sums.as_mut_ptr());
        self.team.run(parts * blocks, |_, chunk| {
            let (block, index) = (chunk % blocks, chunk / blocks);
            let rows = [index * part, (index + 1) * part].map(|row| row.min(rows));
            let channels = [block * CHANNELS, channels.min((block + 1) * CHANNELS)];
            let sums = sums.get().wrapping_add(index * len);
            // SAFETY: chunks write to disjoint parts of the sums.
            unsafe {
                S::vectorize(Sums::<1> { g, rows, channels, sums });
            }
        });
        for at in 0..len {
            let (rest, channel) = (at / channels, at % channels);
            let (tap, turn) = (rest / g.from.channels, rest % g.from.channels);
            // SAFETY: indices within the sums and the weights.
            unsafe {
                let sum = (0..parts).map(|index| *sums.get().add(index * len + at)).sum();
                *self.d.weight.add(weight_at(g, channel, turn, tap)) = sum;
            }
        }
        // SAFETY: all is complete.
        unsafe { self.frame.finish(self.d.epilogue, [0, channels], [0, g.depth()]) };
    }
}

/// The sums of some rows of `y` and channels, in groups of `K`.
struct Sums<'a, const K: usize> {
    g: &'a Correlation<'a>,
    rows: [usize; 2],
    channels: [usize; 2],
    sums: *mut f32,
}

/// Taps whose sums are held at once.
const fn most<S: Simd, const K: usize>() -> usize {
    if S::COMPACT {
        return 1;
    }
    if K == 1 { 9 } else { 1 }
}

impl<const K: usize> Task for Sums<'_, K> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let turns = std::array::from_fn(turned::<K>);
        for channel in (self.channels[0]..self.channels[1]).step_by(S::LANES) {
            let mut taps = self.g.phases[0].taps;
            // One by one of what is left of a vector: the library is small.
            let at_once = if self.channels[1] - channel < S::LANES { 1 } else { most::<S, K>() };
            while let count @ 1.. = taps.len().min(at_once) {
                // SAFETY: promised by the maker.
                unsafe {
                    taps = match count {
                        9.. => self.vectors::<S, 9>(taps, channel, &turns),
                        _ => self.vectors::<S, 1>(taps, channel, &turns),
                    };
                }
            }
        }
    }
}

impl<const K: usize> Sums<'_, K> {
    /// Writes the sums of the first `T` taps, of a vector of channels; returns the other taps.
    #[inline(always)]
    unsafe fn vectors<'t, S: Simd, const T: usize>(
        &self,
        taps: &'t [Tap],
        channel: usize,
        turns: &[[u32; LONGEST]; K],
    ) -> &'t [Tap] {
        let (taps, rest) = taps.split_at(T);
        if T > most::<S, K>() {
            return rest;
        }
        let (channels, lanes) = (all_channels(self.g), S::LANES.min(self.channels[1] - channel));
        // SAFETY: no more than the channels that exist.
        unsafe {
            let sums = if T > 1 || lanes == S::LANES {
                self.rows::<S, T, true>(taps, channel, turns, lanes)
            } else {
                self.rows::<S, T, false>(taps, channel, turns, lanes)
            };
            for (turn, sums) in sums.iter().enumerate() {
                for (&sum, tap) in sums.iter().zip(taps) {
                    S::store_first(self.sums.add((tap.index * K + turn) * channels + channel), sum, lanes);
                }
            }
        }
        rest
    }

    /// The sums over all rows.
    #[inline(always)]
    unsafe fn rows<S: Simd, const T: usize, const WHOLE: bool>(
        &self,
        taps: &[Tap],
        channel: usize,
        turns: &[[u32; LONGEST]; K],
        lanes: usize,
    ) -> [[S::V; T]; K] {
        let g = self.g;
        let [scale_down, scale] = g.scale;
        let (x_step, y_step) = (scale as isize * g.from.col, g.to.col);
        // SAFETY: promised by the caller.
        unsafe {
            let mut sums = [[S::splat(0.0); T]; K];
            // What not all taps read: apart, so that the others stay in registers.
            let mut edges = sums;
            for row in self.rows[0]..self.rows[1] {
                let (image, row) = (row / g.to.height, row % g.to.height);
                let x = |offset: [isize; 2], col: usize| {
                    let at = [(row * scale_down) as isize + offset[0], (col * scale) as isize + offset[1]];
                    g.from.at(image, at[0], at[1]).wrapping_add(channel).cast_const()
                };
                let y = |col: usize| g.to.at(image, row as isize, col as isize).wrapping_add(channel).cast_const();
                // The columns of y that a tap connects with columns of x.
                let mut own = [[0; 2]; T];
                for (own, tap) in own.iter_mut().zip(taps) {
                    if g.from.contains((row * scale_down) as isize + tap.offset[0], 0) {
                        *own = g.inside(tap.offset[1], g.to.width);
                    }
                }
                let first = own.iter().fold(0, |first, own| first.max(own[0]));
                let last = own.iter().fold(g.to.width, |last, own| last.min(own[1])).max(first);
                let offsets: [isize; T] = std::array::from_fn(|tap| {
                    let [down, across] = taps[tap].offset;
                    down * g.from.row + across * g.from.col
                });
                let (mut from, mut to) = (x([0, 0], first), y(first));
                for _ in first..last {
                    let y = turn_all::<S, K>(load::<S, WHOLE>(to, lanes), turns);
                    for tap in 0..T {
                        let x = load::<S, WHOLE>(from.wrapping_offset(offsets[tap]), lanes);
                        for turn in 0..K {
                            sums[turn][tap] = S::mul_add(x, y[turn], sums[turn][tap]);
                        }
                    }
                    (from, to) = (from.wrapping_offset(x_step), to.wrapping_offset(y_step));
                }
                for (tap, [begin, end]) in own.into_iter().enumerate() {
                    for col in (begin..end.min(first)).chain(begin.max(last)..end) {
                        let x = load::<S, WHOLE>(x(taps[tap].offset, col), lanes);
                        let y = turn_all::<S, K>(load::<S, WHOLE>(y(col), lanes), turns);
                        for (turn, &y) in y.iter().enumerate() {
                            edges[turn][tap] = S::mul_add(x, y, edges[turn][tap]);
                        }
                    }
                }
            }
            for (sums, edges) in sums.iter_mut().zip(&edges) {
                for (sum, &edge) in sums.iter_mut().zip(edges) {
                    *sum = S::add(*sum, edge);
                }
            }
            sums
        }
    }
}

/// A vector of `y`, and it turned within its groups.
#[inline(always)]
unsafe fn turn_all<S: Simd, const K: usize>(y: S::V, turns: &[[u32; LONGEST]; K]) -> [S::V; K] {
    let mut all = [y; K];
    for (y, lanes) in all.iter_mut().zip(turns).skip(1) {
        // SAFETY: promised by the caller.
        *y = unsafe { S::permute(*y, lanes) };
    }
    all
}
