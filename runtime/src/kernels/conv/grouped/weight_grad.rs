//! The weight gradient.
#![expect(unsafe_code, reason = "vector instructions on raw images")]

use crate::abi::{Conv, Frame};
use crate::scratch::{Needs, Purpose};
use crate::threads::Team;

use super::super::super::gemm::Output;
use super::super::super::simd::{Simd, Task};
use super::super::geometry::{Correlation, Tap};
use super::{load, turned, weight_at};

/// As many chunks keep several threads evenly busy.
const CHUNKS: usize = 12;
/// Channels of a chunk.
const CHANNELS: usize = 64;
/// Taps whose sums are held at once: those of 3 by 3.
const TAPS: usize = 9;

/// How many parts the rows are divided into.
fn parts(rows: usize, channels: usize) -> usize {
    CHUNKS.div_ceil(channels.div_ceil(CHANNELS)).min(rows).max(1)
}

/// What [`WeightGrad`] takes for so many rows and fewer.
pub(crate) fn needs(g: &Correlation<'_>) -> Needs {
    let parts = parts(g.images.saturating_mul(g.to.height), g.all_channels());
    Needs::default().caller(Purpose::Partial, parts * g.depth() * g.all_channels())
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
        let (g, channels, depth, turns) = (self.g, self.g.all_channels(), self.g.depth(), self.g.from.channels);
        let rows = g.images * g.to.height;
        let blocks = channels.div_ceil(CHANNELS);
        let parts = parts(rows, channels);
        let part = rows.div_ceil(parts);
        let mut sums = self.team.scratch.lend(Purpose::Partial, parts * depth * channels);

        let sums = Output(sums.as_mut_ptr());
        self.team.run(parts * blocks, |_, chunk| {
            let (block, index) = (chunk % blocks, chunk / blocks);
            let rows = [index * part, (index + 1) * part].map(|row| row.min(rows));
            let channels = [block * CHANNELS, channels.min((block + 1) * CHANNELS)];
            let sums = sums.get().wrapping_add(index * depth * g.all_channels());
            // SAFETY: chunks write to disjoint parts of the sums.
            unsafe { S::vectorize(Sums { g, rows, channels, sums }) };
        });
        for channel in 0..channels {
            for at in 0..depth {
                let of = |index: usize| (index * depth + at) * channels + channel;
                // SAFETY: indices within the sums and the weights.
                unsafe {
                    let sum = (0..parts).map(|index| *sums.get().add(of(index))).sum();
                    // Lanes are channels of x.
                    *self.d.weight.add(weight_at(g, channel ^ (at % turns), at % turns, at / turns)) = sum;
                }
            }
        }
        // SAFETY: all is complete.
        unsafe { self.frame.finish(self.d.epilogue, [0, channels], [0, depth]) };
    }
}

/// The sums of some rows of `y` and channels, for each tap and turn.
struct Sums<'a> {
    g: &'a Correlation<'a>,
    rows: [usize; 2],
    channels: [usize; 2],
    sums: *mut f32,
}

impl Task for Sums<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        for channel in (self.channels[0]..self.channels[1]).step_by(S::LANES) {
            let lanes = S::LANES.min(self.channels[1] - channel);
            for turn in 0..self.g.from.channels {
                let mut taps = self.g.phases[0].taps;
                while !taps.is_empty() {
                    // Of what is left of a vector one by one: the library is small.
                    // SAFETY: promised by the maker; no more than the channels that exist.
                    let done = unsafe {
                        match (taps, lanes == S::LANES) {
                            ([_, _, _, _, _, _, _, _, _, ..], true) if !S::COMPACT => {
                                self.vectors::<S, TAPS, true>(taps, turn, channel, lanes)
                            }
                            (_, true) => self.vectors::<S, 1, true>(taps, turn, channel, lanes),
                            (_, false) => self.vectors::<S, 1, false>(taps, turn, channel, lanes),
                        }
                    };
                    taps = &taps[done..];
                }
            }
        }
    }
}

impl Sums<'_> {
    /// Writes the sums of the first `T` taps over all rows, of a vector of channels; returns how many.
    #[inline(always)]
    unsafe fn vectors<S: Simd, const T: usize, const WHOLE: bool>(
        &self,
        taps: &[Tap],
        turn: usize,
        channel: usize,
        lanes: usize,
    ) -> usize {
        let g = self.g;
        let [scale_down, scale] = g.scale;
        let (x_step, y_step) = (scale as isize * g.from.col, g.to.col);
        let taps = &taps[..T];
        let turns = g.from.channels;
        let offsets: [isize; T] = std::array::from_fn(|tap| {
            let [down, across] = taps[tap].offset;
            down * g.from.row + across * g.from.col
        });
        // SAFETY: promised by the caller.
        unsafe {
            let mut sums = [S::splat(0.0); T];
            // What not all taps read: apart, so that the others stay in registers.
            let mut edges = sums;
            for row in self.rows[0]..self.rows[1] {
                let (image, row) = (row / g.to.height, row % g.to.height);
                // What a tap without an offset reads.
                let x = |col: usize| {
                    let at = [row * scale_down, col * scale].map(|at| at as isize);
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
                let (mut from, mut to) = (x(first), y(first));
                for _ in first..last {
                    let y = load::<S, WHOLE>(to, lanes);
                    let y = turned::<S>(y, turn);
                    for (sum, &offset) in sums.iter_mut().zip(&offsets) {
                        *sum = S::mul_add(load::<S, WHOLE>(from.wrapping_offset(offset), lanes), y, *sum);
                    }
                    (from, to) = (from.wrapping_offset(x_step), to.wrapping_offset(y_step));
                }
                for (tap, [begin, end]) in own.into_iter().enumerate() {
                    for col in (begin..end.min(first)).chain(begin.max(last)..end) {
                        let x = load::<S, WHOLE>(x(col).wrapping_offset(offsets[tap]), lanes);
                        let y = turned::<S>(load::<S, WHOLE>(y(col), lanes), turn);
                        edges[tap] = S::mul_add(x, y, edges[tap]);
                    }
                }
            }
            for ((sum, edge), tap) in sums.into_iter().zip(edges).zip(taps) {
                let to = self.sums.add((tap.index * turns + turn) * g.all_channels() + channel);
                S::store_first(to, S::add(sum, edge), lanes);
            }
        }
        T
    }
}
