//! Correlation with windows: rows are pixels, columns channels, and the K loop runs over rows of the kernel, each of
//! which reads neighbors.
#![expect(unsafe_code, reason = "raw images")]

use crate::scratch::{Needs, Purpose, Scratch, floats_of};
use crate::threads::Team;

use super::super::super::micro::{self, Block};
use super::super::super::simd::{Simd, Task};
use super::super::finish::{Blocks, Finish};
use super::super::geometry::Correlation;
use super::{Window, Windows};

/// Most pixels of a block.
const MC: usize = 120;
/// Columns after which the epilogue is called.
const EPILOGUE_COLS: usize = 64;

pub(crate) struct Forward<'a> {
    pub(crate) team: Team<'a>,
    pub(crate) g: &'a Correlation<'a>,
    pub(crate) windows: Windows,
    pub(crate) packed: *const f32,
    pub(crate) finish: Finish<'a>,
}

// SAFETY: chunks read shared operands and write to disjoint blocks of the result.
unsafe impl Sync for Forward<'_> {}

/// What [`Forward`] takes for these sizes and smaller ones.
pub(crate) fn needs(g: &Correlation<'_>, windows: &Windows) -> Needs {
    Needs::default()
        .chunk(Purpose::Left, windows.most_floats(g))
        .chunk(Purpose::Table, floats_of::<*const f32>(windows.kernel[0] * MC))
}

impl Task for Forward<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        if S::COMPACT {
            unreachable!("portable code has no such windows");
        }
        if self.g.to.channels == 0 {
            return;
        }
        let count = self.windows.count(self.g);
        let work = |blocks: Blocks<'_>| {
            self.team.run(count, |scratch, index| {
                // SAFETY: each chunk writes to the pixels of its own window.
                unsafe { S::vectorize(Chunk { all: &self, blocks: &blocks, scratch, index }) };
            });
        };
        // SAFETY: promised by the caller.
        unsafe { self.finish.with::<S>(self.team.scratch, count, work) };
    }
}

struct Chunk<'a> {
    all: &'a Forward<'a>,
    blocks: &'a Blocks<'a>,
    scratch: &'a Scratch,
    index: usize,
}

impl Task for Chunk<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Forward { g, windows, .. } = *self.all;
        let window = windows.window(g, self.index);
        let mut copy = self.scratch.lend(Purpose::Left, windows.most_floats(g));

        let copy = copy.as_mut_ptr();
        // Parts of a row, or several rows: these follow each other, since a window of few columns has all of them.
        let parts = window.sizes[1].div_ceil(MC);
        let cols = window.sizes[1].div_ceil(parts).next_multiple_of(S::MR).min(MC).min(window.sizes[1]);
        let rows = (MC / cols).min(window.sizes[0]);
        let rows = if parts == 1 { rows } else { 1 };
        let pixels = rows * cols;
        let mut table = self.scratch.lend(Purpose::Table, floats_of::<*const f32>(windows.kernel[0] * MC));

        let table = table.as_mut_ptr().cast::<*const f32>();
        // SAFETY: the scratch memory has room for the table.
        unsafe { fill_table(g, &windows, copy, [rows, cols], table) };
        // SAFETY: the scratch memory has room for the window.
        unsafe { windows.copy(g, &window, copy) };
        for row in (0..window.sizes[0]).step_by(rows) {
            for col in (0..window.sizes[1]).step_by(cols) {
                let sizes = [rows.min(window.sizes[0] - row), cols.min(window.sizes[1] - col)];
                // SAFETY: promised by the maker of the chunk.
                unsafe { self.block::<S>(&window, table, pixels, [row, col], sizes) };
            }
        }
    }
}

/// Fills the table of what each row of the kernel reads in a copied window, for each pixel of a block.
#[inline(never)]
unsafe fn fill_table(
    g: &Correlation<'_>,
    windows: &Windows,
    copy: *const f32,
    [rows, cols]: [usize; 2],
    mut table: *mut *const f32,
) {
    for kernel_row in 0..windows.kernel[0] {
        for row in 0..rows {
            let from = windows.offset(g, row, 0) + windows.offset_of_tap(g, kernel_row * windows.kernel[1]);
            for col in 0..cols {
                // SAFETY: within the table.
                unsafe {
                    *table = copy.wrapping_add(from + windows.offset(g, 0, col));
                    table = table.add(1);
                }
            }
        }
    }
}

impl Chunk<'_> {
    /// Computes a block of pixels of a window.
    #[inline(always)]
    unsafe fn block<S: Simd>(
        &self,
        window: &Window,
        table: *const *const f32,
        table_rows: usize,
        at: [usize; 2],
        [rows, cols]: [usize; 2],
    ) {
        let Forward { g, windows, packed, .. } = *self.all;
        let first = [0, 1].map(|axis| window.first[axis] + at[axis]);
        let mut results = [std::ptr::null_mut(); MC];
        for row in 0..rows {
            let to = g.to.at(window.image, (first[0] + row) as isize, first[1] as isize);
            for (col, result) in results[row * cols..(row + 1) * cols].iter_mut().enumerate() {
                *result = to.wrapping_offset(col as isize * g.to.col);
            }
        }
        let panels = g.to.channels.div_ceil(S::NR);
        let run = windows.kernel[1] * g.from.channels;
        let block = Block {
            segments: windows.kernel[0],
            len: run,
            left: table,
            left_rows: table_rows,
            left_offset: windows.offset(g, at[0], at[1]),
            left_step: 1,
            right: packed,
            right_step: S::NR as isize,
            right_segment: (run * S::NR) as isize,
            // Behind the only panel there is nothing to fetch in advance.
            right_panel: if panels == 1 { 0 } else { (g.depth() * S::NR) as isize },
            right_next: (panels > 1).then_some((g.depth() * S::NR) as isize),
            right_first: 0,
            is_tight: true,
            result: results.as_ptr(),
            result_offset: 0,
            rows: rows * cols,
            cols: g.to.channels,
            accumulate: false,
        };
        let step = if self.blocks.is_wanted() { (EPILOGUE_COLS / S::NR).max(1) } else { panels };
        let pixel = (window.image * g.to.height + first[0]) * g.to.width + first[1];
        for panel in (0..panels).step_by(step) {
            let until = panels.min(panel + step);
            // SAFETY: the window is copied; these panels are then complete.
            unsafe {
                micro::panels::<S>(&block, panel, until);
                let columns = [panel, until].map(|panel| g.to.channels.min(panel * S::NR));
                self.blocks.finish::<S>(self.index, [pixel, pixel + rows * cols], columns);
            }
        }
    }
}
