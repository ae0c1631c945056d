//! Correlation as an implicit matrix product: rows are pixels, columns channels, and the K loop runs over taps
//! and channels.
#![expect(unsafe_code, reason = "raw images")]

use crate::scratch::{Needs, Purpose, Scratch, floats_of};
use crate::threads::Team;

use super::super::list::List;
use super::super::micro::{self, Block};
use super::super::simd::{Simd, TALLEST, Task};
use super::finish::{Blocks, Finish};
use super::geometry::{Correlation, Phase, Tap};

/// Most steps of a block of the K loop.
const KC: usize = 384;
/// Most pixels of a block.
const MC: usize = 120;
/// With fewer adjacent channels than this, patches are copied.
const CHANNELS: usize = 16;
/// Columns after which the epilogue is called.
const EPILOGUE_COLS: usize = 64;
/// As many chunks keep several threads evenly busy.
const CHUNKS: usize = 12;
/// Multiply-adds of a chunk, at least, where there are as many: some microseconds.
const LEAST: usize = 1 << 18;
/// Weights that stay in the second cache.
const SMALL: usize = 128 << 10;

pub(crate) struct Implicit<'a> {
    pub(crate) team: Team<'a>,
    pub(crate) g: &'a Correlation<'a>,
    pub(crate) packed: *const f32,
    pub(crate) finish: Finish<'a>,
}

// SAFETY: chunks read shared operands and write to disjoint blocks of the result.
unsafe impl Sync for Implicit<'_> {}

/// What [`Implicit`] takes for so many pixels and fewer.
pub(crate) fn needs(g: &Correlation<'_>) -> Needs {
    let rows = MC.min(g.images.saturating_mul(g.to.height).saturating_mul(g.to.width));
    let most = Needs::default().caller(Purpose::Shared, g.from.channels);
    if is_in_place(g) {
        most.chunk(Purpose::Table, floats_of::<*const f32>(g.taps * rows))
    } else {
        most.chunk(Purpose::Left, g.depth().min(KC) * rows)
    }
}

/// Parts of the result, at most, for so many pixels and fewer.
pub(crate) fn most_parts(g: &Correlation<'_>) -> usize {
    let pixels = g.images.saturating_mul(g.to.height).saturating_mul(g.to.width);
    // Blocks are whole tiles.
    pixels.div_ceil(MC - TALLEST).max(CHUNKS)
}

/// Whether pixels are read where they are.
fn is_in_place(g: &Correlation<'_>) -> bool {
    g.from.channel == 1 && g.from.channels >= CHANNELS
}

impl Task for Implicit<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let g = self.g;
        let pixels = g.images * g.to.height * g.to.width;
        let panels = g.to.channels.div_ceil(S::NR);
        if pixels == 0 || panels == 0 {
            return;
        }
        // Several phases share a chunk, since the epilogue wants whole runs of pixels.
        let most = MC / S::MR * S::MR * g.phases.len();
        let mut blocks = pixels.div_ceil(most);
        let products = pixels.saturating_mul(g.depth()).saturating_mul(g.all_channels());
        let chunks = (products / LEAST).clamp(1, CHUNKS);
        let splits = chunks.div_ceil(blocks * g.groups).min(panels.div_ceil(2));
        // Weights that stay in the second cache may be read once more.
        if blocks * splits * g.groups < chunks && g.depth() * panels * S::NR <= SMALL {
            let fewest = 4 * S::MR * g.phases.len();
            blocks = chunks.div_ceil(splits * g.groups).min(pixels.div_ceil(fewest));
        }
        let per_chunk = pixels.div_ceil(blocks).next_multiple_of(S::MR);
        let blocks = pixels.div_ceil(per_chunk);
        let per_split = panels.div_ceil(splits);
        let splits = panels.div_ceil(per_split);
        let mut zeros = self.team.scratch.lend(Purpose::Shared, g.from.channels);

        zeros.fill(0.0);
        let zeros: &[f32] = &zeros;
        let work = |to: Blocks<'_>| {
            self.team.run(blocks * splits * g.groups, |scratch, chunk| {
                let (part, rest) = (chunk % blocks, chunk / blocks);
                let (split, group) = (rest % splits, rest / splits);
                let pixels = [part * per_chunk, pixels.min((part + 1) * per_chunk)];
                let panels = [split * per_split, panels.min((split + 1) * per_split)];
                // SAFETY: chunks write to disjoint blocks.
                unsafe {
                    S::vectorize(Chunk { all: &self, blocks: &to, part, scratch, zeros, group, pixels, panels });
                };
            });
        };
        // SAFETY: promised by the caller.
        unsafe { self.finish.with::<S>(self.team.scratch, blocks, work) };
    }
}

struct Chunk<'a> {
    all: &'a Implicit<'a>,
    blocks: &'a Blocks<'a>,
    /// Which part of the pixels these are.
    part: usize,
    scratch: &'a Scratch,
    zeros: &'a [f32],
    group: usize,
    pixels: [usize; 2],
    panels: [usize; 2],
}

/// A pixel of `to`, and its place on the grid of its phase.
#[derive(Clone, Copy, Default)]
pub(crate) struct Pixel {
    pub(crate) image: usize,
    pub(crate) row: usize,
    pub(crate) col: usize,
}

impl Task for Chunk<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let g = self.all.g;
        let single = g.phases.len() == 1;
        for phase in g.phases {
            let mut runs = List::<Run, MC>::new();
            let mut rows = 0;
            let mut next = self.pixels[0];
            let mut pixel = pixel_at(g, next);
            while next < self.pixels[1] {
                let run_end = self.pixels[1].min(next + g.to.width - pixel.col);
                if pixel.row % g.step[0] == phase.first[0] {
                    let skip = (phase.first[1] + g.step[1] - pixel.col % g.step[1]) % g.step[1];
                    let (mut col, end) = (pixel.col + skip, pixel.col + run_end - next);
                    while col < end {
                        let len = (end - col).div_ceil(g.step[1]).min(MC - rows);
                        runs.push(Run { first: Pixel { col, ..pixel }, len });
                        (rows, col) = (rows + len, col + len * g.step[1]);
                        if rows == MC {
                            // SAFETY: promised by the maker of the chunk.
                            unsafe { S::vectorize(Place { chunk: &self, phase, runs: &runs, finish: single }) };
                            runs.clear();
                            rows = 0;
                        }
                    }
                }
                next = run_end;
                pixel = pixel_at(g, next);
            }
            if rows > 0 {
                // SAFETY: promised by the maker of the chunk.
                unsafe { S::vectorize(Place { chunk: &self, phase, runs: &runs, finish: single }) };
            }
        }
        if !single {
            let first = self.group * g.to.channels;
            let cols = self.panels.map(|panel| first + g.to.channels.min(panel * S::NR));
            // SAFETY: all phases of these pixels are complete.
            unsafe { self.blocks.finish::<S>(self.part, self.pixels, cols) };
        }
    }
}

/// Pixels of a phase that follow each other in a row of `to`.
#[derive(Clone, Copy)]
struct Run {
    first: Pixel,
    len: usize,
}

pub(crate) fn pixel_at(g: &Correlation<'_>, index: usize) -> Pixel {
    let (row, col) = (index / g.to.width, index % g.to.width);
    Pixel { image: row / g.to.height, row: row % g.to.height, col }
}

/// Some pixels of one phase.
struct Place<'a> {
    chunk: &'a Chunk<'a>,
    phase: &'a Phase<'a>,
    runs: &'a [Run],
    /// Whether the epilogue follows.
    finish: bool,
}

impl Task for Place<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Place { chunk, phase, .. } = self;
        let g = chunk.all.g;
        let mut results = [std::ptr::null_mut(); MC];
        let (mut rows, step) = (0, g.step[1] as isize * g.to.col);
        for Run { first, len } in self.runs {
            let mut at = g.to.at(first.image, first.row as isize, first.col as isize);
            at = at.wrapping_add(chunk.group * g.to.channels);
            for result in &mut results[rows..rows + len] {
                *result = at;
                at = at.wrapping_offset(step);
            }
            rows += len;
        }
        let depth = phase.taps.len() * g.from.channels;
        let panel_len = g.depth() * S::NR;
        let width = g.to.channels.next_multiple_of(S::LANES);
        let right = chunk.all.packed.wrapping_add(chunk.group * width * g.depth());
        let block = Block {
            segments: 0,
            len: 0,
            left: std::ptr::null(),
            left_rows: rows,
            left_offset: 0,
            left_step: 1,
            right,
            right_step: S::NR as isize,
            right_segment: 0,
            right_panel: panel_len as isize,
            right_next: Some(panel_len as isize),
            right_first: (phase.first_tap * g.from.channels * S::NR) as isize,
            is_tight: true,
            result: results.as_ptr(),
            result_offset: 0,
            rows,
            cols: g.to.channels,
            accumulate: false,
        };
        if depth == 0 {
            // SAFETY: without segments, only the results are touched.
            unsafe { self.panels::<S>(&block, chunk.panels, true) };
        } else if is_in_place(g) {
            // SAFETY: promised by the maker.
            unsafe { self.in_place::<S>(block) };
        } else {
            // SAFETY: promised by the maker.
            unsafe { self.copied::<S>(block, depth) };
        }
    }
}

impl Place<'_> {
    /// Panels of the chunk for one block of the K loop.
    #[inline(always)]
    unsafe fn panels<S: Simd>(&self, block: &Block, [first, end]: [usize; 2], last: bool) {
        let Chunk { all, blocks, part, pixels, .. } = *self.chunk;
        if !(last && self.finish && blocks.is_wanted()) {
            // SAFETY: promised by the caller.
            unsafe { micro::panels::<S>(block, first, end) };
            return;
        }
        let first_col = self.chunk.group * all.g.to.channels;
        for panel in (first..end).step_by((EPILOGUE_COLS / S::NR).max(1)) {
            let until = end.min(panel + (EPILOGUE_COLS / S::NR).max(1));
            // SAFETY: as above; these panels are then complete.
            unsafe {
                micro::panels::<S>(block, panel, until);
                let cols = [panel, until].map(|panel| first_col + block.cols.min(panel * S::NR));
                blocks.finish::<S>(part, pixels, cols);
            }
        }
    }

    /// Reads pixels where they are, through a table of pointers for each tap.
    #[inline(always)]
    unsafe fn in_place<S: Simd>(&self, block: Block) {
        let Place { chunk, phase, .. } = *self;
        let (g, rows) = (chunk.all.g, block.rows);
        let channels = g.from.channels;
        let len = floats_of::<*const f32>(phase.taps.len() * rows);
        let mut table = chunk.scratch.lend(Purpose::Table, len);

        let table = table.as_mut_ptr().cast::<*const f32>();
        let zeros = chunk.zeros.as_ptr();
        for (index, tap) in phase.taps.iter().enumerate() {
            let mut row = index * rows;
            for run in self.runs {
                let Reads { mut from, step, inside: [begin, end] } = self.reads(run, tap);
                // SAFETY: within the table.
                let sources = unsafe { std::slice::from_raw_parts_mut(table.add(row), run.len) };
                sources[..begin].fill(zeros);
                sources[end..].fill(zeros);
                for source in &mut sources[begin..end] {
                    *source = from;
                    from = from.wrapping_offset(step);
                }
                row += run.len;
            }
        }
        // Blocks of whole taps, or parts of one.
        let blocks = phase.taps.len().div_ceil((KC / channels).max(1));
        let taps = phase.taps.len().div_ceil(blocks);
        let parts = channels.div_ceil(KC);
        let len = channels.div_ceil(parts);
        // A panel is read from its start to its end: what is to come may be read from memory.
        let [first_panel, end] = chunk.panels;
        let step = (EPILOGUE_COLS / S::NR).max(1);
        for panel in (first_panel..end).step_by(step) {
            let panels = [panel, end.min(panel + step)];
            for tap in (0..phase.taps.len()).step_by(taps) {
                for first in (0..channels).step_by(len) {
                    let begin = tap * channels + first;
                    let until = tap * channels + if first + len < channels { first + len } else { taps * channels };
                    let last = until >= phase.taps.len() * channels;
                    let right_next = if last {
                        block.right_panel - (begin * S::NR) as isize
                    } else {
                        ((until - begin) * S::NR) as isize - (panels[1] - panels[0] - 1) as isize * block.right_panel
                    };
                    let block = Block {
                        segments: taps.min(phase.taps.len() - tap),
                        len: len.min(channels - first),
                        left: table.wrapping_add(tap * rows),
                        left_offset: first,
                        right_first: block.right_first + (begin * S::NR) as isize,
                        right_segment: (channels * S::NR) as isize,
                        right_next: Some(right_next),
                        accumulate: begin > 0,
                        ..block
                    };
                    // SAFETY: the table is complete, and zeros stand for pixels outside.
                    unsafe { self.panels::<S>(&block, panels, last) };
                }
            }
        }
    }

    /// Copies a block of patches at a time.
    #[inline(always)]
    unsafe fn copied<S: Simd>(&self, block: Block, depth: usize) {
        let rows = block.rows;
        let blocks = depth.div_ceil(KC);
        let kc = depth.div_ceil(blocks);
        let mut patches = self.chunk.scratch.lend(Purpose::Left, kc * rows);

        let patches = patches.as_mut_ptr();
        let table: [*const f32; MC] = std::array::from_fn(|row| patches.wrapping_add(row).cast_const());
        for first in (0..depth).step_by(kc) {
            let len = kc.min(depth - first);
            // SAFETY: the scratch memory has room for `len` columns of patches.
            unsafe {
                self.copy_patches(first, len, patches, rows);
                let block = Block {
                    segments: 1,
                    len,
                    left: table.as_ptr(),
                    left_step: rows as isize,
                    right_first: block.right_first + (first * S::NR) as isize,
                    accumulate: first > 0,
                    ..block
                };
                self.panels::<S>(&block, self.chunk.panels, first + len >= depth);
            }
        }
    }

    /// Where a tap reads for the pixels of a run, from the first on for which that is inside of the image.
    #[inline(always)]
    fn reads(&self, run: &Run, tap: &Tap) -> Reads {
        let g = self.chunk.all.g;
        let Pixel { image, row, col } = run.first;
        let [row, col] = g.reads(self.phase, [row, col], tap);
        let inside = if g.from.contains(row, 0) { g.inside(col, run.len) } else { [0; 2] };
        let step = g.scale[1] as isize * g.from.col;
        let from = g.channels_at([image, self.chunk.group], [row, col]).wrapping_offset(inside[0] as isize * step);
        Reads { from, step, inside }
    }

    /// Copies columns `first..first + len` of the patches, each column of all pixels together.
    #[inline(always)]
    unsafe fn copy_patches(&self, first: usize, len: usize, to: *mut f32, rows: usize) {
        let channels = self.chunk.all.g.from.channels;
        let mut start = 0;
        for run in self.runs {
            for column in first..first + len {
                let (tap, channel) = (&self.phase.taps[column / channels], column % channels);
                let Reads { from, step, inside: [begin, end] } = self.reads(run, tap);
                let from = from.wrapping_offset(channel as isize * self.chunk.all.g.from.channel);
                // SAFETY: a column of the patches; pixels `begin..end` are inside of the image.
                unsafe {
                    let to = std::slice::from_raw_parts_mut(to.add((column - first) * rows + start), run.len);
                    to[..begin].fill(0.0);
                    to[end..].fill(0.0);
                    if begin < end {
                        copy(from, step, &mut to[begin..end]);
                    }
                }
            }
            start += run.len;
        }
    }
}

/// What a tap reads for the pixels of a run.
struct Reads {
    /// For the first that is inside.
    from: *const f32,
    /// From a pixel to the next.
    step: isize,
    /// Those that are inside.
    inside: [usize; 2],
}

/// Copies floats that are a constant distance apart, at least one.
#[inline(always)]
unsafe fn copy(from: *const f32, step: isize, to: &mut [f32]) {
    // SAFETY: promised by the caller.
    unsafe {
        match step {
            1 => to.copy_from_slice(std::slice::from_raw_parts(from, to.len())),
            // Vectors of neighbors, every other one of which is kept; behind the last there may be nothing.
            2 => {
                let (last, to) = to.split_last_mut().expect("a run is not empty");
                let (pairs, _) = std::slice::from_raw_parts(from, 2 * to.len()).as_chunks::<2>();
                to.iter_mut().zip(pairs).for_each(|(to, pair)| *to = pair[0]);
                *last = *from.add(2 * to.len());
            }
            _ => {
                for (i, to) in to.iter_mut().enumerate() {
                    *to = *from.offset(i as isize * step);
                }
            }
        }
    }
}
