//! Forward and data gradient, a row of the result at a time: where taps read is worked out once, then come sums of some pixels for
//! which all of them read within the image.
#![expect(unsafe_code, reason = "vector instructions on raw images")]

use std::marker::PhantomData;

use crate::scratch::Scratch;
use crate::threads::Team;

use super::super::list::List;
use super::super::simd::{Simd, Task};
use super::finish::{Blocks, Finish};
use super::geometry::{Correlation, Phase, Tap};

/// Floats of a chunk's result: they are in the first cache when they are finished.
const FLOATS: usize = 4 << 10;
/// As many chunks keep several threads evenly busy.
const CHUNKS: usize = 12;
/// Taps whose places are worked out at a time.
const TAPS: usize = 64;
/// Pixels whose sums are held at once, where there are as many.
const MANY: usize = 8;
/// Where there are fewer.
const SOME: usize = 4;

/// What is summed up for some pixels.
pub(super) trait Sums: Send + Sync {
    /// Packed weights of a tap.
    fn weights(g: &Correlation<'_>) -> usize;
    /// The sums of `P` pixels, for which no tap leaves the image.
    ///
    /// # Safety
    /// The pixels are those of the images, the weights were packed for them, and instructions of `S` are enabled.
    unsafe fn sum<S: Simd, const P: usize>(g: &Correlation<'_>, pixels: Pixels<'_>);
}

/// A correlation by such sums.
pub(super) struct Rows<'a, K> {
    pub(super) team: Team<'a>,
    pub(super) g: &'a Correlation<'a>,
    pub(super) packed: *const f32,
    pub(super) finish: Finish<'a>,
    pub(super) sums: PhantomData<K>,
}

// SAFETY: chunks read shared operands and write to disjoint rows of the result.
unsafe impl<K> Sync for Rows<'_, K> {}

impl<K: Sums> Task for Rows<'_, K> {
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

impl<K: Sums> Rows<'_, K> {
    fn row(&self, index: usize) -> Row<'_, K> {
        let Rows { g, packed, sums, .. } = *self;
        Row { g, packed, image: index / g.to.height, row: index % g.to.height, sums }
    }
}

/// A tap that reads a row of the image.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// Where it reads, from the pixel of `from` for the first pixel of the phase.
    pub(super) offset: isize,
    /// Where its weights begin.
    pub(super) weights: usize,
    /// The pixels of the phase's grid for which it reads within the image.
    inside: [usize; 2],
}

/// Some of them.
type Places = List<Place, TAPS>;

/// Pixels that follow each other on the grid of a phase.
#[derive(Clone, Copy)]
pub(super) struct Pixels<'a> {
    pub(super) places: &'a [Place],
    pub(super) packed: *const f32,
    /// What the places are counted from, of the first pixel.
    pub(super) from: *const f32,
    /// The first pixel of the result.
    pub(super) to: *mut f32,
    /// Whether sums are added to the result instead of setting it.
    pub(super) adds: bool,
}

/// A row of the result.
struct Row<'a, K> {
    g: &'a Correlation<'a>,
    packed: *const f32,
    image: usize,
    row: usize,
    sums: PhantomData<K>,
}

impl<K: Sums> Task for Row<'_, K> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let g = self.g;
        for phase in g.phases {
            if self.row % g.step[0] != phase.first[0] || phase.first[1] >= g.to.width {
                continue;
            }
            let (mut taps, mut adds) = (phase.taps, false);
            let mut places = Places::new();
            loop {
                let (these, rest) = taps.split_at(taps.len().min(TAPS));
                self.find(&mut places, phase, these);
                // SAFETY: promised by the maker.
                unsafe { self.sums::<S>(phase, &places, adds) };
                if rest.is_empty() {
                    break;
                }
                (taps, adds) = (rest, true);
            }
        }
    }
}

impl<K: Sums> Row<'_, K> {
    /// Pixels of the row on a phase's grid.
    fn count(&self, phase: &Phase<'_>) -> usize {
        (self.g.to.width - phase.first[1]).div_ceil(self.g.step[1])
    }

    /// Finds those of some taps of a phase that read rows of the image.
    fn find(&self, places: &mut Places, phase: &Phase<'_>, taps: &[Tap]) {
        let g = self.g;
        places.clear();
        for tap in taps {
            let row = g.reads(phase, [self.row, phase.first[1]], tap)[0];
            if g.from.contains(row, 0) {
                let offset = row * g.from.row + tap.offset[1] * g.from.col;
                let inside = g.inside(tap.offset[1], self.count(phase));
                places.push(Place { offset, weights: tap.index * K::weights(g), inside });
            }
        }
    }

    /// The sums of these taps for the pixels of a phase, after those of others if it `adds`.
    #[inline(always)]
    unsafe fn sums<S: Simd>(&self, phase: &Phase<'_>, all: &[Place], adds: bool) {
        let (g, count) = (self.g, self.count(phase));
        let first = all.iter().fold(0, |first, place| first.max(place.inside[0]));
        let last = all.iter().fold(count, |last, place| last.min(place.inside[1]));
        let mut inside = Places::new();
        let mut pixel = 0;
        while pixel < count {
            let is_inside = (first..last).contains(&pixel);
            let places = if is_inside {
                all
            } else {
                inside.clear();
                for place in all.iter().filter(|place| (place.inside[0]..place.inside[1]).contains(&pixel)) {
                    inside.push(*place);
                }
                &inside
            };
            let at_once = match last.saturating_sub(pixel) {
                _ if S::COMPACT || !is_inside => 1,
                MANY.. => MANY,
                SOME.. => SOME,
                _ => 1,
            };
            let from = g.from.at(self.image, 0, (pixel * g.scale[1]) as isize);
            let to = g.to.at(self.image, self.row as isize, (phase.first[1] + pixel * g.step[1]) as isize);
            let pixels = Pixels { places, packed: self.packed, from, to, adds };
            // SAFETY: promised by the caller.
            unsafe {
                match at_once {
                    MANY if !S::COMPACT => K::sum::<S, MANY>(g, pixels),
                    SOME if !S::COMPACT => K::sum::<S, SOME>(g, pixels),
                    _ => K::sum::<S, 1>(g, pixels),
                }
            }
            pixel += at_once;
        }
    }
}
