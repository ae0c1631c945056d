//! Forward and data gradient.
#![expect(unsafe_code, reason = "vector instructions on raw images")]

use crate::threads::Team;

use super::super::super::simd::{LONGEST, Simd, Task};
use super::super::finish::{Blocks, Finish};
use super::super::geometry::{Correlation, Phase, Tap};
use super::{CHUNKS, all_channels, load, turned};

/// Floats of a chunk's result: they are in the first cache when they are finished.
const FLOATS: usize = 4 << 10;
/// Taps whose places are worked out at a time.
const TAPS: usize = 64;

pub(crate) struct Correlate<'a> {
    pub(crate) team: Team<'a>,
    pub(crate) g: &'a Correlation<'a>,
    pub(crate) packed: *const f32,
    pub(crate) finish: Finish<'a>,
}

// SAFETY: chunks read shared operands and write to disjoint rows of the result.
unsafe impl Sync for Correlate<'_> {}

impl Task for Correlate<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let g = self.g;
        let (rows, width) = (g.images * g.to.height, g.to.width);
        let per_chunk = (FLOATS / (width * all_channels(g))).clamp(1, rows.div_ceil(CHUNKS).max(1));
        let parts = rows.div_ceil(per_chunk);
        let work = |blocks: Blocks<'_>| {
            self.team.run(parts, |_, part| {
                let [first, last] = [part * per_chunk, rows.min((part + 1) * per_chunk)];
                for row in first..last {
                    // SAFETY: chunks write to disjoint rows.
                    unsafe {
                        match g.from.channels {
                            1 => S::vectorize(Row::<1>::new(&self, row)),
                            2 => S::vectorize(Row::<2>::new(&self, row)),
                            4 => S::vectorize(Row::<4>::new(&self, row)),
                            _ => S::vectorize(Row::<8>::new(&self, row)),
                        }
                    }
                }
                // SAFETY: these rows are complete.
                unsafe { blocks.finish::<S>(part, [first * width, last * width], [0, all_channels(g)]) };
            });
        };
        // SAFETY: promised by the caller.
        unsafe { self.finish.with::<S>(self.team.scratch, parts, work) };
    }
}

/// A row of the result, of groups of `K` channels.
struct Row<'a, const K: usize> {
    g: &'a Correlation<'a>,
    packed: *const f32,
    image: usize,
    row: usize,
}

/// A tap that reads a row of the image.
#[derive(Clone, Copy)]
struct Place {
    /// Where it reads, from the pixel of `from` for the first pixel of the phase.
    offset: isize,
    /// The pixels of the phase's grid for which that is inside of the image.
    inside: [usize; 2],
    /// Where its weights begin.
    weights: usize,
}

/// Some of them.
struct Places {
    all: [Place; TAPS],
    count: usize,
}

impl Places {
    const NONE: Places = Places { all: [Place { offset: 0, inside: [0; 2], weights: 0 }; TAPS], count: 0 };

    fn push(&mut self, place: Place) {
        self.all[self.count] = place;
        self.count += 1;
    }
    fn all(&self) -> &[Place] {
        &self.all[..self.count]
    }
}

/// Pixels whose sums are held at once.
const fn most<S: Simd, const K: usize>() -> usize {
    let sums = if S::MANY_REGISTERS { 16 } else { 8 };
    if K == 1 || sums / K > 8 { 8 } else { sums / K }
}

impl<'a, const K: usize> Row<'a, K> {
    fn new(all: &Correlate<'a>, row: usize) -> Row<'a, K> {
        let Correlate { g, packed, .. } = *all;
        Row { g, packed, image: row / g.to.height, row: row % g.to.height }
    }

    /// Pixels of the row on a phase's grid.
    fn count(&self, phase: &Phase<'_>) -> usize {
        (self.g.to.width - phase.first[1]).div_ceil(self.g.step[1])
    }

    /// Those of some taps of a phase that read rows of the image.
    fn places(&self, phase: &Phase<'_>, taps: &[Tap]) -> Places {
        let g = self.g;
        let mut places = Places::NONE;
        for tap in taps {
            let row = g.reads(phase, [self.row, phase.first[1]], tap)[0];
            if g.from.contains(row, 0) {
                let offset = row * g.from.row + tap.offset[1] * g.from.col;
                let inside = g.inside(tap.offset[1], self.count(phase));
                places.push(Place { offset, inside, weights: tap.index * K * all_channels(g) });
            }
        }
        places
    }

    /// All channels of `P` pixels of the phase's grid from `pixel` on, for which no tap leaves the image.
    #[inline(always)]
    unsafe fn pixels<S: Simd, const P: usize>(&self, phase: &Phase<'_>, places: &[Place], pixel: usize, adds: bool) {
        if P > most::<S, K>() {
            return;
        }
        let g = self.g;
        let at = |channel: usize| {
            let from = g.from.at(self.image, 0, (pixel * g.scale[1]) as isize).wrapping_add(channel);
            let to = g.to.at(self.image, self.row as isize, (phase.first[1] + pixel * g.step[1]) as isize);
            Vectors { places, from, weights: self.packed.wrapping_add(channel), to: to.wrapping_add(channel), adds }
        };
        let (channels, turns) = (all_channels(g), std::array::from_fn(|turn| turned::<K>(K - turn)));
        let whole = channels - channels % S::LANES;
        // SAFETY: pixels inside of the images, and no more than the channels that exist.
        unsafe {
            for channel in (0..whole).step_by(S::LANES) {
                at(channel).sum::<S, P, K, true>(g, &turns, S::LANES);
            }
            if whole < channels {
                at(whole).sum::<S, P, K, false>(g, &turns, channels - whole);
            }
        }
    }

    /// A row of a phase: the sums of these taps, after those of others if it `adds`.
    #[inline(always)]
    unsafe fn sums<S: Simd>(&self, phase: &Phase<'_>, places: &Places, adds: bool) {
        let (all, count) = (places.all(), self.count(phase));
        let first = all.iter().fold(0, |first, place| first.max(place.inside[0]));
        let last = all.iter().fold(count, |last, place| last.min(place.inside[1]));
        let first = first.min(last);
        for pixel in (0..first).chain(last..count) {
            let mut inside = Places::NONE;
            for place in all.iter().filter(|place| (place.inside[0]..place.inside[1]).contains(&pixel)) {
                inside.push(*place);
            }
            // SAFETY: promised by the caller.
            unsafe { self.pixels::<S, 1>(phase, inside.all(), pixel, adds) };
        }
        let mut pixel = first;
        while pixel < last {
            macro_rules! pixels {
                ($count:literal) => {{
                    // SAFETY: promised by the caller.
                    unsafe { self.pixels::<S, $count>(phase, all, pixel, adds) };
                    $count
                }};
            }
            pixel += match (last - pixel).min(most::<S, K>()) {
                8.. => pixels!(8),
                4.. => pixels!(4),
                2.. => pixels!(2),
                _ => pixels!(1),
            };
        }
    }
}

impl<const K: usize> Task for Row<'_, K> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let g = self.g;
        for phase in g.phases {
            if self.row % g.step[0] != phase.first[0] || phase.first[1] >= g.to.width {
                continue;
            }
            let (first, rest) = phase.taps.split_at(phase.taps.len().min(TAPS));
            // SAFETY: promised by the maker.
            unsafe {
                self.sums::<S>(phase, &self.places(phase, first), false);
                for taps in rest.chunks(TAPS) {
                    self.sums::<S>(phase, &self.places(phase, taps), true);
                }
            }
        }
    }
}

/// A vector of channels of some pixels.
struct Vectors<'a> {
    places: &'a [Place],
    from: *const f32,
    weights: *const f32,
    to: *mut f32,
    adds: bool,
}

impl Vectors<'_> {
    #[inline(always)]
    unsafe fn sum<S: Simd, const P: usize, const K: usize, const WHOLE: bool>(
        &self,
        g: &Correlation<'_>,
        turns: &[[u32; LONGEST]; K],
        lanes: usize,
    ) {
        let (from_step, to_step) = (g.scale[1] as isize * g.from.col, g.step[1] as isize * g.to.col);
        // SAFETY: promised by the caller.
        unsafe {
            let mut sums = [[S::splat(0.0); P]; K];
            for place in self.places {
                let from = self.from.wrapping_offset(place.offset);
                let weights = self.weights.wrapping_add(place.weights);
                let x: [S::V; P] =
                    std::array::from_fn(|i| load::<S, WHOLE>(from.wrapping_offset(i as isize * from_step), lanes));
                for (turn, sums) in sums.iter_mut().enumerate() {
                    let weight = load::<S, WHOLE>(weights.wrapping_add(turn * all_channels(g)), lanes);
                    for (sum, &x) in sums.iter_mut().zip(&x) {
                        *sum = S::mul_add(x, weight, *sum);
                    }
                }
            }
            for i in 0..P {
                let to = self.to.offset(i as isize * to_step);
                let mut sum = sums[0][i];
                for turn in 1..K {
                    sum = S::add(sum, S::permute(sums[turn][i], &turns[turn]));
                }
                if self.adds {
                    sum = S::add(load::<S, WHOLE>(to, lanes), sum);
                }
                if WHOLE {
                    S::store(to, sum);
                } else {
                    S::store_first(to, sum, lanes);
                }
            }
        }
    }
}
