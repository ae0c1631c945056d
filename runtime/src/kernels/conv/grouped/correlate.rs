//! Forward and data gradient, a row of the result at a time: where taps read is worked out once, then come sums of some pixels for
//! which all of them read within the image.
#![expect(unsafe_code, reason = "vector instructions on raw images")]

use crate::scratch::Scratch;
use crate::threads::Team;

use super::super::super::simd::{Simd, Task};
use super::super::finish::{Blocks, Finish};
use super::super::geometry::{Correlation, Phase, Tap};
use super::{CHUNKS, load, turned};

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
        let channels = g.all_channels();
        let per_chunk = (FLOATS / (width * channels)).clamp(1, rows.div_ceil(CHUNKS).max(1));
        let parts = rows.div_ceil(per_chunk);
        let work = |blocks: Blocks<'_>| {
            let chunk = |_: &Scratch, part: usize| {
                let [first, last] = [part * per_chunk, rows.min((part + 1) * per_chunk)];
                // SAFETY: chunks write to disjoint rows, which are complete then.
                unsafe {
                    (first..last).for_each(|row| S::vectorize(self.row(row)));
                    blocks.finish::<S>(part, [first * width, last * width], [0, channels]);
                }
            };
            self.team.run(parts, chunk);
        };
        // SAFETY: promised by the caller.
        unsafe { self.finish.with::<S>(self.team.scratch, parts, work) };
    }
}

impl Correlate<'_> {
    fn row(&self, index: usize) -> Row<'_> {
        let Correlate { g, packed, .. } = *self;
        Row { g, packed, image: index / g.to.height, row: index % g.to.height }
    }
}

/// A tap that reads a row of the image.
#[derive(Clone, Copy)]
struct Place {
    /// Where it reads, from the pixel of `from` for the first pixel of the phase.
    offset: isize,
    /// Where its weights begin.
    weights: usize,
    /// The pixels of the phase's grid for which it reads within the image.
    inside: [usize; 2],
}

/// Some of them.
struct Places {
    all: [Place; TAPS],
    count: usize,
}

impl Places {
    const NONE: Places = Places { all: [Place { offset: 0, weights: 0, inside: [0; 2] }; TAPS], count: 0 };

    fn push(&mut self, place: Place) {
        self.all[self.count] = place;
        self.count += 1;
    }
    fn all(&self) -> &[Place] {
        &self.all[..self.count]
    }
}

/// Pixels that follow each other on the grid of a phase.
#[derive(Clone, Copy)]
struct Pixels<'a> {
    places: &'a [Place],
    /// What the places are counted from, of the first pixel.
    from: *const f32,
    /// The first pixel of the result.
    to: *mut f32,
    /// Whether sums are added to the result instead of setting it.
    adds: bool,
}

/// A row of the result.
struct Row<'a> {
    g: &'a Correlation<'a>,
    packed: *const f32,
    image: usize,
    row: usize,
}

impl Task for Row<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let g = self.g;
        for phase in g.phases {
            if self.row % g.step[0] != phase.first[0] || phase.first[1] >= g.to.width {
                continue;
            }
            let (mut taps, mut adds) = (phase.taps, false);
            loop {
                let (these, rest) = taps.split_at(taps.len().min(TAPS));
                // SAFETY: promised by the maker.
                unsafe { self.sums::<S>(phase, &self.places(phase, these), adds) };
                if rest.is_empty() {
                    break;
                }
                (taps, adds) = (rest, true);
            }
        }
    }
}

impl Row<'_> {
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
                places.push(Place { offset, weights: tap.index * g.from.channels * g.all_channels(), inside });
            }
        }
        places
    }

    /// The sums of these taps for the pixels of a phase, after those of others if it `adds`.
    #[inline(always)]
    unsafe fn sums<S: Simd>(&self, phase: &Phase<'_>, places: &Places, adds: bool) {
        let (g, all, count) = (self.g, places.all(), self.count(phase));
        let first = all.iter().fold(0, |first, place| first.max(place.inside[0]));
        let last = all.iter().fold(count, |last, place| last.min(place.inside[1]));
        let mut inside = Places::NONE;
        let mut pixel = 0;
        while pixel < count {
            let (places, left) = if (first..last).contains(&pixel) {
                (all, last - pixel)
            } else {
                inside.count = 0;
                for place in all.iter().filter(|place| (place.inside[0]..place.inside[1]).contains(&pixel)) {
                    inside.push(*place);
                }
                (inside.all(), 1)
            };
            let from = g.from.at(self.image, 0, (pixel * g.scale[1]) as isize);
            let to = g.to.at(self.image, self.row as isize, (phase.first[1] + pixel * g.step[1]) as isize);
            let pixels = Pixels { places, from, to, adds };
            // One place for each number of pixels: the library is small.
            // SAFETY: promised by the caller.
            pixel += unsafe {
                match left {
                    8.. if !S::COMPACT => self.pixels::<S, 8>(pixels),
                    4.. if !S::COMPACT => self.pixels::<S, 4>(pixels),
                    _ => self.pixels::<S, 1>(pixels),
                }
            };
        }
    }

    /// All channels of `P` pixels; returns how many.
    #[inline(always)]
    unsafe fn pixels<S: Simd, const P: usize>(&self, pixels: Pixels<'_>) -> usize {
        let channels = self.g.all_channels();
        let whole = channels - channels % S::LANES;
        // SAFETY: promised by the caller; no more than the channels that exist.
        unsafe {
            for channel in (0..whole).step_by(S::LANES) {
                self.vectors::<S, P, true>(pixels, channel, S::LANES);
            }
            if whole < channels {
                self.vectors::<S, P, false>(pixels, whole, channels - whole);
            }
        }
        P
    }

    /// A vector of channels.
    #[inline(always)]
    unsafe fn vectors<S: Simd, const P: usize, const WHOLE: bool>(
        &self,
        pixels: Pixels<'_>,
        channel: usize,
        lanes: usize,
    ) {
        let g = self.g;
        let (from_step, to_step) = (g.scale[1] as isize * g.from.col, g.step[1] as isize * g.to.col);
        // SAFETY: promised by the caller.
        unsafe {
            let mut sums = [S::splat(0.0); P];
            for place in pixels.places {
                let from = pixels.from.wrapping_add(channel).wrapping_offset(place.offset);
                let weights = self.packed.add(place.weights + channel);
                let x = |i: usize| load::<S, WHOLE>(from.wrapping_offset(i as isize * from_step), lanes);
                let weight = load::<S, WHOLE>(weights, lanes);
                for (i, sum) in sums.iter_mut().enumerate() {
                    *sum = S::mul_add(x(i), weight, *sum);
                }
                for turn in 1..g.from.channels {
                    let weight = load::<S, WHOLE>(weights.add(turn * g.all_channels()), lanes);
                    for (i, sum) in sums.iter_mut().enumerate() {
                        *sum = S::mul_add(turned::<S>(x(i), turn), weight, *sum);
                    }
                }
            }
            for (i, mut sum) in sums.into_iter().enumerate() {
                let to = pixels.to.offset(i as isize * to_step).add(channel);
                if pixels.adds {
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
