//! The weight gradient from windows: rows are taps and channels of `x`, columns channels of `y`, and the K loop runs over
//! pixels. Both operands are read in place; the sums are those of the weights transposed.
#![expect(unsafe_code, reason = "raw images")]

use crate::abi::{Conv, Frame};
use crate::scratch::{Needs, Purpose, Scratch, floats_of};
use crate::threads::Team;

use super::super::super::gemm::Output;
use super::super::super::micro::{self, Block};
use super::super::super::pack::{self, Matrix};
use super::super::super::simd::{LONGEST, Simd, Task, WIDEST};
use super::super::geometry::Correlation;
use super::{Window, Windows};

/// Most pixels of a block of the K loop: so that those of `y` stay in the first cache.
const KC: usize = 128;
/// As many parts keep several threads evenly busy.
const PARTS: usize = 24;
/// As many multiply-adds repay a part's sums.
const GRAIN: usize = 1 << 19;
/// The most floats of all partial sums.
const PARTIAL: usize = 16 << 20;
/// Channels of `y` whose sums are added up together.
const TOGETHER: usize = 16;

pub(crate) struct WeightGrad<'a> {
    pub(crate) team: Team<'a>,
    pub(crate) frame: Frame,
    pub(crate) d: &'a Conv,
    pub(crate) g: &'a Correlation<'a>,
    pub(crate) windows: Windows,
}

// SAFETY: chunks read shared operands and write to disjoint blocks of the result.
unsafe impl Sync for WeightGrad<'_> {}

/// Floats of one part's sums.
fn sums_len(g: &Correlation<'_>) -> usize {
    g.depth() * g.to.channels
}

/// Most parts that the windows of this many images and fewer are divided into.
fn most_parts(g: &Correlation<'_>, windows: &Windows) -> usize {
    let len = sums_len(g).max(1);
    let pixels = g.images.saturating_mul(g.to.height).saturating_mul(g.to.width);
    let most = (PARTIAL / len).min(pixels.saturating_mul(len) / GRAIN);
    PARTS.min(windows.count(g)).min(most).max(1)
}

/// What [`WeightGrad`] takes for these sizes and smaller ones.
pub(crate) fn needs(g: &Correlation<'_>, windows: &Windows) -> Needs {
    let pixels = KC.min(g.to.height.saturating_mul(g.to.width));
    Needs::default()
        .caller(Purpose::Partial, sums_len(g).saturating_mul(most_parts(g, windows)))
        .chunk(Purpose::Left, windows.most_floats(g))
        .chunk(Purpose::Right, pixels * g.to.channels.next_multiple_of(LONGEST))
        .chunk(Purpose::Table, floats_of::<*const f32>(windows.most[0] * g.depth()))
        .chunk(Purpose::Result, floats_of::<*mut f32>(g.depth()))
}

impl Task for WeightGrad<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        if S::COMPACT {
            unreachable!("portable code has no such windows");
        }
        let (g, windows) = (self.g, self.windows);
        let (count, len) = (windows.count(g), sums_len(g));
        if len == 0 {
            return;
        }
        let per_part = count.div_ceil(most_parts(g, &windows)).max(1);
        let parts = count.div_ceil(per_part).max(1);
        let mut sums = self.team.scratch.lend(Purpose::Partial, len * parts);

        let sums = Output(sums.as_mut_ptr());
        self.team.run(parts, |scratch, part| {
            let windows = [part * per_part, count.min((part + 1) * per_part)];
            let sums = sums.get().wrapping_add(part * len);
            // SAFETY: each part has sums of its own.
            unsafe { S::vectorize(Part { all: &self, scratch, windows, sums }) };
        });
        self.team.run(g.to.channels.div_ceil(TOGETHER), |_, chunk| {
            let first = chunk * TOGETHER;
            let rows = [first, g.to.channels.min(first + TOGETHER)];
            // SAFETY: all sums are complete, and each chunk has rows of its own.
            unsafe {
                self.reduce(parts, sums.get(), rows);
                self.frame.finish(self.d.epilogue, rows, [0, g.depth()]);
            }
        });
    }
}

impl WeightGrad<'_> {
    /// Adds up the parts in their order, and writes them the other way around.
    unsafe fn reduce(&self, parts: usize, sums: *const f32, [first, last]: [usize; 2]) {
        let g = self.g;
        let channels = g.from.channels;
        for column in 0..g.depth() {
            let mut total = [0.0_f32; TOGETHER];
            for part in 0..parts {
                let from = sums.wrapping_add(part * sums_len(g) + column * g.to.channels + first);
                // SAFETY: within the sums of the part.
                let from = unsafe { std::slice::from_raw_parts(from, last - first) };
                for (total, x) in total.iter_mut().zip(from) {
                    *total += x;
                }
            }
            let (tap, channel) = (g.in_order[column / channels].index, column % channels);
            for (row, x) in (first..last).zip(total) {
                // SAFETY: an element of the weights.
                unsafe { *self.d.weight.add(row * g.depth() + channel * g.taps + tap) = x };
            }
        }
    }
}

/// Some of the windows.
struct Part<'a> {
    all: &'a WeightGrad<'a>,
    scratch: &'a Scratch,
    windows: [usize; 2],
    /// For each tap, and each channel of `x` within it, those of all channels of `y`.
    sums: *mut f32,
}

impl Task for Part<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let WeightGrad { g, windows, .. } = *self.all;
        // SAFETY: the sums of this part.
        unsafe { std::slice::from_raw_parts_mut(self.sums, sums_len(g)).fill(0.0) };
        let depth = g.depth();
        let mut copy = self.scratch.lend(Purpose::Left, windows.most_floats(g));

        let copy = copy.as_mut_ptr();
        let mut left = self.scratch.lend(Purpose::Table, floats_of::<*const f32>(windows.most[0] * depth));

        let left = left.as_mut_ptr().cast::<*const f32>();
        // SAFETY: the scratch memory has room for the table.
        unsafe { fill_table(g, &windows, copy, left) };
        let results = (0..depth).map(|i| self.sums.wrapping_add(i * g.to.channels));
        let results = self.scratch.lend_items(Purpose::Result, results);
        let pixels = KC.min(windows.most[0] * windows.most[1]);
        let room = pixels * g.to.channels.next_multiple_of(S::LANES);
        let mut packed = self.scratch.lend(Purpose::Right, if is_in_place::<S>(g) { 0 } else { room });

        let work = Work { part: &self, left, results: results.as_ptr(), packed: packed.as_mut_ptr() };
        for index in self.windows[0]..self.windows[1] {
            let window = windows.window(g, index);
            // Parts of a row, or several rows.
            let cols = window.sizes[1].div_ceil(window.sizes[1].div_ceil(KC));
            let rows = (KC / window.sizes[1]).max(1);
            // SAFETY: the scratch memory has room for the window and the pixels of a block.
            unsafe {
                windows.copy(g, &window, copy);
                for row in (0..window.sizes[0]).step_by(rows) {
                    for col in (0..window.sizes[1]).step_by(cols) {
                        let sizes = [rows.min(window.sizes[0] - row), cols.min(window.sizes[1] - col)];
                        work.block::<S>(&window, [row, col], sizes);
                    }
                }
            }
        }
    }
}

/// Fills the table of what each tap and channel reads in a copied window, for each of its rows of pixels.
#[inline(never)]
unsafe fn fill_table(g: &Correlation<'_>, windows: &Windows, copy: *const f32, mut table: *mut *const f32) {
    for row in 0..windows.most[0] {
        for tap in 0..g.taps {
            let from = copy.wrapping_add(windows.offset(g, row, 0) + windows.offset_of_tap(g, tap));
            for channel in 0..g.from.channels {
                // SAFETY: within the table.
                unsafe {
                    *table = from.wrapping_add(channel);
                    table = table.add(1);
                }
            }
        }
    }
}

/// Whether `y` is read where it is: whole vectors, and of each pixel so many neighbors that a copy is no faster to read.
fn is_in_place<S: Simd>(g: &Correlation<'_>) -> bool {
    g.to.channels.is_multiple_of(S::LANES) && (g.to.channels <= S::NR || S::NR >= WIDEST)
}

struct Work<'a> {
    part: &'a Part<'a>,
    /// For each row of pixels of a block, what each tap and channel reads for the first one of a window.
    left: *const *const f32,
    /// The sums of each tap and channel.
    results: *const *mut f32,
    /// Room for the pixels of a block.
    packed: *mut f32,
}

impl Work<'_> {
    /// Adds the products of a block of pixels of a window to the sums.
    #[inline(always)]
    unsafe fn block<S: Simd>(&self, window: &Window, at: [usize; 2], [rows, cols]: [usize; 2]) {
        let WeightGrad { g, windows, .. } = *self.part.all;
        let [row, col] = [0, 1].map(|axis| (window.first[axis] + at[axis]) as isize);
        let y = g.to.at(window.image, row, col).cast_const();
        let panels = g.to.channels.div_ceil(S::NR);
        let in_place = is_in_place::<S>(g);
        let panel_len = rows * cols * S::NR;
        if !in_place {
            for panel in 0..panels {
                let width = pack::panel_width::<S>(g.to.channels, panel);
                for i in 0..rows {
                    let data = y.wrapping_offset(i as isize * g.to.row);
                    let y = Matrix { data, rows: cols, cols: g.to.channels, row_stride: g.to.col, col_stride: 1 };
                    // SAFETY: the scratch memory has room for the pixels of a block.
                    unsafe {
                        pack::panel::<S>(&y, panel, 0, cols, self.packed.add(panel * panel_len + i * cols * width));
                    };
                }
            }
        }
        let nr = S::NR as isize;
        let (right_step, right_segment, right_panel) = match (in_place, panels) {
            // What the tiles of the only panel fetch in advance are the pixels that follow.
            (true, 1) => (g.to.col, g.to.row, (rows * cols) as isize * g.to.col),
            (true, _) => (g.to.col, g.to.row, nr),
            (false, _) => (nr, cols as isize * nr, panel_len as isize),
        };
        let block = Block {
            segments: rows,
            len: cols,
            left: self.left,
            left_rows: g.depth(),
            left_offset: windows.offset(g, at[0], at[1]),
            left_step: (g.scale[1] * g.from.channels) as isize,
            right: if in_place { y } else { self.packed },
            right_step,
            right_segment,
            right_panel,
            right_next: Some(right_panel),
            right_first: 0,
            is_tight: !in_place,
            result: self.results,
            result_offset: 0,
            rows: g.depth(),
            cols: g.to.channels,
            accumulate: true,
        };
        // SAFETY: promised by the caller.
        unsafe { micro::panels::<S>(&block, 0, panels) };
    }
}
