//! A correlation as an implicit product: rows are pixels, columns channels, and the K loop runs over channels and taps.
//!
//! Each element is one sum, in the order of channels and then of taps: it depends neither on the other pixels nor on how the
//! result is divided.
#![expect(unsafe_code, reason = "raw images")]

use crate::scratch::{Needs, Purpose, Scratch, floats_of};
use crate::threads::Team;

use super::super::avx512::Avx512;
use super::super::conv::finish::{Blocks, Finish};
use super::super::conv::geometry::{Correlation, Phase, Tap};
use super::super::gemm::Output;
use super::planes::{self, Planes};
use super::taps::{PAIR, Sums, TILES, WEIGHTS, Weights, Window, sums};
use super::tile::Unit;
use super::{DEPTH, ROWS, split};

/// Columns of a panel.
const COLS: usize = 16;
/// Panels after which the epilogue is called.
const PANELS: usize = 4;
/// Panels of a chunk, at least, where others have the rest: each chunk splits its pixels.
const FEWEST_PANELS: usize = 8;
/// Tiles of weights of which the parts are kept at most: they stay in the second cache, beside a block's pixels.
const MOST_KEPT: usize = 224;
/// So many times the chunks that threads need are tried, for those that fill their tiles best.
const CHUNKS: usize = 4;
/// Blocks of a result with sums are those for so many threads, however many there are.
const THREADS: usize = 4;

/// What [`run`] takes for so many pixels and fewer.
pub(crate) fn needs(g: &Correlation<'_>) -> Needs {
    Needs::default()
        .caller(Purpose::Table, floats_of::<usize>(g.taps))
        .chunk(Purpose::Left, Planes::whole(g).most())
        .chunk(Purpose::Result, g.from.channels)
        .chunk(Purpose::Right, Weights::parts_len(tiles_of_weights(g), keeps(g)))
}

/// Parts of the result, at most, for so many pixels and fewer.
pub(crate) fn most_parts(g: &Correlation<'_>) -> usize {
    let [rows, cols] = Planes::whole(g).grid;
    g.images.saturating_mul(rows).saturating_mul(cols.div_ceil(planes::NARROWEST / 2))
}

/// Tiles of weights of a panel.
fn tiles_of_weights(g: &Correlation<'_>) -> usize {
    g.from.channels.div_ceil(DEPTH) * g.taps
}

/// Whether parts of a panel's weights are kept, if they are read more than once.
fn keeps(g: &Correlation<'_>) -> bool {
    (3..=MOST_KEPT).contains(&tiles_of_weights(g))
}

/// Packs the weights, not in parts: `[group][16 channels of to][phase]`, and there as [`Weights`] says.
///
/// # Safety
/// The weights are there, and room for [`correlation_len`](super::correlation_len) floats.
pub(crate) unsafe fn pack(team: Team<'_>, g: &Correlation<'_>, packed: *mut f32) {
    let packed = Output(packed);
    let panels = g.to.channels.div_ceil(COLS);
    let tiles = g.from.channels.div_ceil(DEPTH);
    let in_order = team.scratch.lend_items(Purpose::Table, planes::by_plane(g));
    let in_order: &[usize] = &in_order;
    team.run(g.groups * panels, |_, chunk| {
        let (group, panel) = (chunk / panels, chunk % panels);
        let to = packed.get().wrapping_add(chunk * tiles * g.taps * WEIGHTS);
        let first = group * g.weight_group + panel * COLS * g.weight_to;
        let cols = COLS.min(g.to.channels - panel * COLS);
        for phase in g.phases {
            let to = to.wrapping_add(phase.first_tap * tiles * WEIGHTS);
            let in_order = &in_order[phase.first_tap..][..phase.taps.len()];
            for (tile, step) in (0..tiles).flat_map(|tile| (0..DEPTH).map(move |step| (tile, step))) {
                let channel = tile * DEPTH + step;
                let cols = if channel < g.from.channels { cols } else { 0 };
                let from = first + channel * g.weight_from;
                for (at, &tap) in in_order.iter().enumerate() {
                    let to = to.wrapping_add(place(tiles * in_order.len(), tile * in_order.len() + at, step));
                    let from = g.weight.wrapping_add(from + g.in_order[tap].index);
                    // SAFETY: indices within the weights; each chunk has its own place.
                    unsafe { split::gather(from, g.weight_to, cols, to) };
                }
            }
        }
    });
}

/// Where a step of a tile lies among the weights of a panel and a phase, of so many tiles.
fn place(tiles: usize, tile: usize, step: usize) -> usize {
    (step / 2 * tiles + tile) * PAIR + step % 2 * COLS
}

/// The taps of a phase, in the order in which they are added up.
fn taps<'a>(g: &'a Correlation<'_>, phase: &Phase<'_>) -> impl Iterator<Item = &'a Tap> {
    planes::by_plane(g).skip(phase.first_tap).take(phase.taps.len()).map(|at| &g.in_order[at])
}

/// Computes `g.to` with weights that [`pack`] made.
///
/// # Safety
/// The images are there, and `g.to` is not otherwise in use; the matrix unit is there.
pub(crate) unsafe fn run(team: Team<'_>, g: &Correlation<'_>, packed: *const f32, finish: Finish<'_>) {
    let whole = Planes::whole(g);
    let panels = g.to.channels.div_ceil(COLS);
    let images = g.images * g.groups;
    if images * panels * whole.grid[0] * whole.grid[1] == 0 {
        return;
    }
    // Chunks share weights rather than pixels: what is split is read by one of them.
    let splits = team.threads().div_ceil(images).min(panels / FEWEST_PANELS).max(1);
    // Sums of blocks are the same for any number of threads: so are the blocks then.
    let (threads, of_image) = if finish.has_sums() { (THREADS, 1) } else { (team.threads(), splits) };
    let fewest = threads.div_ceil(images * of_image).min(whole.grid[0]);
    // Tiles in a row, for one of the threads that have most: those at the end of a chunk are not full.
    let tiles = |cuts: &usize| {
        let pixels = whole.grid[0].div_ceil(*cuts) * whole.pitch();
        (images * of_image * cuts).div_ceil(threads) * pixels.div_ceil(TILES * ROWS)
    };
    let cuts = (fewest..=fewest * CHUNKS).min_by_key(tiles).unwrap_or(1);
    let planes = whole.cut(cuts);
    let [rows, cols] = [0, 1].map(|axis| planes.grid[axis].div_ceil(planes.block[axis]));
    let taps = planes.offsets(team.scratch, g);
    let work = |blocks: Blocks<'_>| {
        let all = All { g, packed, blocks: &blocks, planes, taps: &taps };
        team.run(images * rows * cols * splits, |scratch, chunk| {
            let (block, rest) = (chunk % (rows * cols), chunk / (rows * cols));
            let (split, image) = (rest % splits, rest / splits);
            let first = [block / cols * planes.block[0], block % cols * planes.block[1]];
            let panels = [split, split + 1].map(|split| split * panels / splits);
            let (image, group) = (image / g.groups, image % g.groups);
            let part = image * rows * cols + block;
            // SAFETY: chunks write to disjoint blocks.
            unsafe { Chunk { all: &all, part, image, group, first, panels }.run(scratch) };
        });
    };
    // SAFETY: promised by the caller; where the unit is, there are these vectors.
    unsafe { finish.with::<Avx512>(team.scratch, g.images * rows * cols, work) };
}

struct All<'a> {
    g: &'a Correlation<'a>,
    packed: *const f32,
    blocks: &'a Blocks<'a>,
    planes: Planes,
    /// Where taps read.
    taps: &'a [usize],
}

// SAFETY: chunks read shared operands and write to disjoint blocks of the result.
unsafe impl Sync for All<'_> {}

/// A block of the grid of one image, in some panels of one group.
struct Chunk<'a> {
    all: &'a All<'a>,
    /// The number of the block.
    part: usize,
    image: usize,
    group: usize,
    first: [usize; 2],
    panels: [usize; 2],
}

impl Chunk<'_> {
    unsafe fn run(&self, scratch: &Scratch) {
        let All { g, planes, .. } = *self.all;
        let mut left = scratch.lend(Purpose::Left, planes.len());
        let left = left.as_mut_ptr();
        let mut copy = scratch.lend(Purpose::Result, g.from.channels);
        let keeps = keeps(g) && self.size()[0] * planes.pitch() > TILES * ROWS;
        let mut parts = scratch.lend(Purpose::Right, Weights::parts_len(planes.tiles * g.taps, keeps));
        let parts = Weights { whole: std::ptr::null(), parts: parts.as_mut_ptr(), keeps, are_split: false };
        let of = [self.image, self.group];
        // SAFETY: promised by the caller; the scratch memory has room.
        let is_odd = unsafe { planes.split(g, of, self.first, left, &mut copy) };
        // SAFETY: whoever calls this has asked whether the unit is there. Epilogues do not know of it.
        let _unit = unsafe { Unit::enter() };
        for panel in (self.panels[0]..self.panels[1]).step_by(PANELS) {
            let until = self.panels[1].min(panel + PANELS);
            for panel in panel..until {
                for phase in g.phases {
                    // SAFETY: as above.
                    unsafe { self.panel(left, parts, panel, phase, is_odd.then_some(&mut copy[..])) };
                }
            }
            // SAFETY: these columns are complete.
            unsafe { self.finish([panel, until]) };
        }
    }

    /// Rows and columns of the grid in this block.
    fn size(&self) -> [usize; 2] {
        let planes = &self.all.planes;
        [0, 1].map(|axis| planes.block[axis].min(planes.grid[axis] - self.first[axis]))
    }

    /// The packed weights of a phase in a panel.
    fn weights(&self, panel: usize, phase: &Phase<'_>) -> *const f32 {
        let All { g, packed, planes, .. } = *self.all;
        let panels = self.group * g.to.channels.div_ceil(COLS) + panel;
        packed.wrapping_add((panels * g.taps + phase.first_tap) * planes.tiles * WEIGHTS)
    }

    /// The place of a pixel of a phase, if it is one: `at` counts along the planes.
    fn pixel(&self, phase: &Phase<'_>, at: usize) -> Option<[usize; 2]> {
        let All { g, planes, .. } = self.all;
        let [rows, cols] = self.size();
        let (row, col) = (at / planes.pitch(), at % planes.pitch());
        let place = |axis: usize, at: usize| phase.first[axis] + (self.first[axis] + at) * g.step[axis];
        let [y, x] = [place(0, row), place(1, col)];
        (row < rows && col < cols && y < g.to.height && x < g.to.width).then_some([y, x])
    }

    /// Computes a phase of a panel, pixels for the vector units included if there are any.
    unsafe fn panel(&self, left: *const f32, parts: Weights, panel: usize, phase: &Phase<'_>, odd: Option<&mut [f32]>) {
        let All { g, planes, taps, .. } = *self.all;
        let col = self.group * g.to.channels + panel * COLS;
        let cols = COLS.min(g.to.channels - panel * COLS);
        let end = self.size()[0] * planes.pitch();
        let mut found = Sums([[0.0; COLS]; TILES * ROWS]);
        let mut weights = Weights { whole: self.weights(panel, phase), ..parts };
        for first in (0..end).step_by(TILES * ROWS) {
            let window = Window {
                from: left.wrapping_add(first * planes::LINE),
                apart: planes.apart(),
                taps: &taps[phase.first_tap..][..phase.taps.len()],
                tiles: planes.tiles,
                next: planes.next_channels(),
            };
            // SAFETY: promised by the caller.
            unsafe { sums(window, weights, &mut found) };
            weights.are_split = weights.keeps;
            // SAFETY: as above.
            unsafe { self.store(phase, first, &found, [col, cols]) };
        }
        if let Some(copy) = odd {
            for pixel in (0..end).filter_map(|at| self.pixel(phase, at)) {
                // SAFETY: promised by the caller.
                unsafe { self.odd_pixel(panel, phase, pixel, copy) };
            }
        }
    }

    /// Stores the sums of pixels, from `first` along the planes on, that are some of this phase.
    unsafe fn store(&self, phase: &Phase<'_>, first: usize, sums: &Sums, [col, cols]: [usize; 2]) {
        let to = &self.all.g.to;
        let pitch = self.all.planes.pitch();
        let mut at = 0;
        while at < sums.0.len() {
            // The rest of this row of the grid.
            let run = (pitch - (first + at) % pitch).min(sums.0.len() - at);
            if let Some([y, x]) = self.pixel(phase, first + at) {
                let here = to.at(self.image, y as isize, x as isize).wrapping_add(col);
                let apart = self.all.g.step[1] as isize * to.col;
                let count = (to.width - x).div_ceil(self.all.g.step[1]).min(self.end_of_row(first + at));
                for (pixel, sums) in sums.0[at..at + count.min(run)].iter().enumerate() {
                    let to = here.wrapping_offset(pixel as isize * apart);
                    // SAFETY: promised by the caller.
                    unsafe {
                        if cols == COLS {
                            to.cast::<[f32; COLS]>().write_unaligned(*sums);
                        } else {
                            std::ptr::copy_nonoverlapping(sums.as_ptr(), to, cols);
                        }
                    }
                }
            }
            at += run;
        }
    }

    /// How many columns of the grid are left in this block, from a place along the planes on.
    fn end_of_row(&self, at: usize) -> usize {
        self.size()[1].saturating_sub(at % self.all.planes.pitch())
    }

    /// Computes a pixel in vectors, if it reads one that the unit cannot.
    #[cold]
    #[target_feature(enable = "avx512f,fma")]
    unsafe fn odd_pixel(&self, panel: usize, phase: &Phase<'_>, [y, x]: [usize; 2], copy: &mut [f32]) {
        let All { g, planes, .. } = *self.all;
        let weights = self.weights(panel, phase);
        // The channels that a tap reads, unless they are outside.
        let mut source = |tap: &Tap| {
            // SAFETY: promised by the caller.
            unsafe { planes::channels(g, [self.image, self.group], g.reads(phase, [y, x], tap), copy) }
        };
        let is_odd = |from: *const f32| {
            // SAFETY: the channels of a pixel.
            let largest = (0..g.from.channels).map(|at| unsafe { *from.wrapping_add(at) }.abs().to_bits()).max();
            split::is_odd(largest.unwrap_or(0))
        };
        if !taps(g, phase).filter_map(&mut source).any(is_odd) {
            return;
        }
        let mut sums = [0.0_f32; COLS];
        for (index, tap) in taps(g, phase).enumerate() {
            let Some(from) = source(tap) else { continue };
            for channel in 0..g.from.channels {
                let tile = channel / DEPTH * phase.taps.len() + index;
                let row = place(planes.tiles * phase.taps.len(), tile, channel % DEPTH);
                for (col, sum) in sums.iter_mut().enumerate() {
                    // SAFETY: promised by the caller.
                    *sum = unsafe { (*from.wrapping_add(channel)).mul_add(*weights.wrapping_add(row + col), *sum) };
                }
            }
        }
        let cols = COLS.min(g.to.channels - panel * COLS);
        let to = g.to.at(self.image, y as isize, x as isize).wrapping_add(self.group * g.to.channels + panel * COLS);
        // SAFETY: as above.
        unsafe { std::ptr::copy_nonoverlapping(sums.as_ptr(), to, cols) };
    }

    /// Finishes some panels of the pixels of all phases.
    unsafe fn finish(&self, panels: [usize; 2]) {
        let All { g, blocks, .. } = *self.all;
        let size = self.size();
        let [rows, cols] = [0, 1].map(|axis| {
            let most = [g.to.height, g.to.width][axis];
            [self.first[axis], self.first[axis] + size[axis]].map(|at| most.min(at * g.step[axis]))
        });
        let columns = panels.map(|panel| self.group * g.to.channels + g.to.channels.min(panel * COLS));
        let pixel = |row: usize, col: usize| (self.image * g.to.height + row) * g.to.width + col;
        // Whole rows follow one another.
        let whole = cols == [0, g.to.width];
        let runs = if whole { 1 } else { rows[1] - rows[0] };
        for run in 0..runs {
            let last = if whole { rows[1] - 1 } else { rows[0] + run };
            let pixels = [pixel(rows[0] + run, cols[0]), pixel(last, cols[1])];
            // SAFETY: promised by the caller.
            unsafe { blocks.finish::<Avx512>(self.part, pixels, columns) };
        }
    }
}
