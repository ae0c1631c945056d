//! The product with a right operand that was packed before: for few rows and many calls with the same operand.
//!
//! Each element is a sum over blocks of the K loop whose ends depend on K alone: it depends neither on the other rows
//! nor on how the result is divided; with sums of halves ([`strassen`]) on no row but its neighbor in a pair.
#![expect(unsafe_code, reason = "raw matrices")]

use crate::scratch::{Needs, Purpose, Scratch};

use super::few;
use super::fixed21::Rounded;
use super::gemm::{Gemm, MC};
use super::micro::{self, Block};
use super::pack::{self, Matrix};
use super::simd::{LONGEST, Simd, TALLEST, Task};
use super::strassen::{self, Left, Sums};

/// Most steps of a block of the K loop: a tile begins and ends less often than its panel leaves the first cache.
const KC: usize = 512;
/// Columns of a run after which the epilogue is called, when it reads one run and when it reads several.
const EPILOGUE_COLS: [usize; 2] = [64, 32];
/// Floats of a packed operand that a third cache holds.
const NEAR: usize = 4 << 20;
/// Chunks for each thread that keep several evenly busy.
const CHUNKS: usize = 4;

/// How many floats a packed operand takes.
pub(crate) fn packed_len(k: usize, n: usize, groups: usize) -> usize {
    groups * (n / groups).next_multiple_of(LONGEST) * k
}

/// What [`Packed`] takes at most, for `m` and `k` up to these.
pub(crate) fn needs(m: usize, k: usize) -> Needs {
    let (rows, steps) = (m.min(MC + TALLEST), k.next_multiple_of(8).clamp(8, 2 * KC));
    // Two products that are computed at once have a block each.
    let left = if m > 1 { pack::most_left(rows, steps.min(KC)).max(strassen::left_len(rows, steps)) } else { 0 };
    Needs::default().chunk(Purpose::Left, left)
}

/// Steps of a block of the K loop but the last, and how many blocks there are.
pub(super) fn blocks(k: usize) -> [usize; 2] {
    let steps = k.div_ceil(k.div_ceil(KC).max(1)).next_multiple_of(8).max(8);
    [steps, k.div_ceil(steps).max(1)]
}

/// A packed operand is `[block of K][panel][run][step][NR columns]`, in the order in which parts of the columns are complete in
/// all runs; each run of columns begins with a panel of its own.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    pub(super) k: usize,
    /// Steps of a block of the K loop but the last.
    kc: usize,
    pub(super) blocks: usize,
    /// Columns of a run.
    pub(super) run: usize,
    pub(super) groups: usize,
    /// Panels of a run, and their columns.
    pub(super) panels: usize,
    width: usize,
}

impl Layout {
    pub(super) fn new<S: Simd>([k, n]: [usize; 2], groups: usize) -> Layout {
        let run = n / groups;
        let [kc, blocks] = blocks(k);
        Layout { k, kc, blocks, run, groups, panels: run.div_ceil(S::NR), width: run.next_multiple_of(S::LANES) }
    }
    /// That of an operand with other steps and the same columns.
    pub(super) fn of_steps(&self, k: usize) -> Layout {
        let [kc, blocks] = blocks(k);
        Layout { k, kc, blocks, ..*self }
    }
    /// The steps of a block.
    pub(super) fn steps(&self, block: usize) -> [usize; 2] {
        [block * self.kc, self.k.min((block + 1) * self.kc)]
    }
    /// Where a panel begins within a block.
    pub(super) fn at<S: Simd>(&self, block: usize, group: usize, panel: usize) -> usize {
        let [first, last] = self.steps(block);
        let before = panel * S::NR;
        first * self.groups * self.width
            + (self.groups * before + group * S::NR.min(self.width - before)) * (last - first)
    }
}

/// Where the rows of a left operand lie: runs of `len` rows, from each to the next `stride` floats.
#[derive(Clone, Copy)]
pub(crate) struct Runs {
    pub(crate) len: usize,
    pub(crate) stride: isize,
}

impl Runs {
    /// All rows in one.
    pub(crate) fn one(rows: usize) -> Runs {
        Runs { len: rows, stride: 0 }
    }
}

/// The product `g`, of which `packed` holds the right operand.
pub(crate) struct Packed<'a> {
    pub(crate) g: Gemm<'a>,
    pub(crate) groups: usize,
    pub(crate) packed: *const f32,
    /// The same operand, rounded, if the product has a single row.
    pub(crate) rounded: Option<Rounded>,
    /// Sums of its halves, if the product has many.
    pub(crate) sums: Option<Sums>,
    pub(crate) runs: Runs,
    /// A product that this one is added to, and which is computed with it: it [`joins`](Packed::joins) this one.
    pub(crate) before: Option<&'a Packed<'a>>,
}

impl Packed<'_> {
    /// Whether another product, of as many rows and columns and with the same result, can be computed at once with this one: as if
    /// the K loop had the steps of both, of which each is one block, so that tiles begin and end half as often.
    pub(crate) fn joins(&self, other: &Packed<'_>) -> bool {
        let is_fit = |p: &Packed<'_>| p.sums.is_some() && p.g.a.col_stride == 1 && p.g.b.rows <= KC;
        [self, other].into_iter().all(is_fit)
    }
    /// The same product as far as it is known without multiplying: of no steps, if the left operand is zero and the right one is finite,
    /// as at a recurrence's first step.
    pub(crate) fn without_zeros(self) -> Self {
        let is_finite = self.rounded.is_some() || self.sums.is_some();
        let mut rows = 0..self.g.a.rows;
        // Numbers are rarely zero: one is enough.
        // SAFETY: promised by the maker: the pointers are valid for the sizes.
        let is_zero = |row: usize| (0..self.g.a.cols).all(|col| unsafe { *self.left(row, col) } == 0.0);
        if !is_finite || !rows.all(is_zero) {
            return self;
        }
        let (a, b) = (Matrix { cols: 0, ..self.g.a }, Matrix { rows: 0, ..self.g.b });
        Packed { g: Gemm { a, b, ..self.g }, rounded: None, sums: None, ..self }
    }
    /// The address of an element of the left operand.
    pub(super) fn left(&self, row: usize, col: usize) -> *const f32 {
        let Runs { len, stride } = self.runs;
        self.g.a.at(row % len, col).wrapping_offset((row / len) as isize * stride)
    }
}

// SAFETY: chunks read shared operands and write to disjoint blocks of the result.
unsafe impl Sync for Packed<'_> {}

impl Task for Packed<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let layout = Layout::new::<S>([self.g.b.rows, self.g.b.cols], self.groups);
        let at_once = if self.sums.is_some() { strassen::panels_at_once(self.groups) } else { 1 };
        let division = Division::new(self.g.team.threads(), self.g.a.rows, [MC, S::MR], [layout.panels, at_once]);
        self.g.team.run(division.chunks(), |scratch, chunk| {
            let [rows, panels] = division.chunk(chunk);
            // SAFETY: chunks write to disjoint blocks.
            unsafe { S::vectorize(Chunk { all: &self, scratch, layout, rows, panels }) };
        });
    }
}

/// How a product with a packed operand is divided into chunks: results do not depend on it.
#[derive(Clone, Copy)]
pub(super) struct Division {
    rows: usize,
    /// Rows of a chunk.
    mc: usize,
    row_blocks: usize,
    panels: usize,
    /// Panels of a chunk, of each run.
    per_split: usize,
}

impl Division {
    /// Chunks of at most `most` rows, a multiple of `multiple`, and of as many panels as a multiple of `at_once`.
    pub(super) fn new(
        threads: usize,
        rows: usize,
        [most, multiple]: [usize; 2],
        [panels, at_once]: [usize; 2],
    ) -> Division {
        let mc = rows.div_ceil(rows.div_ceil(most)).next_multiple_of(multiple);
        let row_blocks = rows.div_ceil(mc);
        // Of few rows, a thread meets the same columns again at the next call, in its own cache.
        let chunks = if row_blocks == 1 { threads } else { CHUNKS * threads };
        let splits = if threads == 1 { 1 } else { chunks.div_ceil(row_blocks).min(panels) };
        Division { rows, mc, row_blocks, panels, per_split: panels.div_ceil(splits).next_multiple_of(at_once) }
    }
    pub(super) fn chunks(&self) -> usize {
        self.row_blocks * self.panels.div_ceil(self.per_split)
    }
    /// The rows and panels of a chunk.
    pub(super) fn chunk(&self, chunk: usize) -> [[usize; 2]; 2] {
        let (row, panel) = (chunk % self.row_blocks * self.mc, chunk / self.row_blocks * self.per_split);
        [[row, self.rows.min(row + self.mc)], [panel, self.panels.min(panel + self.per_split)]]
    }
}

/// The panels of a chunk in parts, after each of which the epilogue is called.
#[derive(Clone, Copy)]
pub(super) struct Parts {
    panels: [usize; 2],
    /// Panels of a part, and columns of a panel.
    wide: usize,
    width: usize,
    /// Columns of a run.
    run: usize,
    turned: bool,
}

impl Parts {
    pub(super) fn new(panels: [usize; 2], [wide, width]: [usize; 2], run: usize, turned: bool) -> Parts {
        Parts { panels, wide, width, run, turned }
    }
    pub(super) fn count(&self) -> usize {
        (self.panels[1] - self.panels[0]).div_ceil(self.wide)
    }
    /// The panels of a part, in all runs.
    pub(super) fn panels(&self, index: usize) -> [usize; 2] {
        let panel = self.panels[0] + self.wide * if self.turned { self.count() - 1 - index } else { index };
        [panel, self.panels[1].min(panel + self.wide)]
    }
    /// The first panel of the part that follows.
    pub(super) fn next(&self, index: usize) -> usize {
        self.panels((index + 1).min(self.count() - 1))[0]
    }
    /// The columns of a part.
    fn columns(&self, index: usize) -> [usize; 2] {
        self.panels(index).map(|panel| self.run.min(panel * self.width))
    }
    /// Says which columns are the first to be complete.
    ///
    /// # Safety
    /// The network made the epilogue for this product.
    pub(super) unsafe fn begin(&self, g: &Gemm<'_>, rows: [usize; 2]) {
        // SAFETY: promised by the caller.
        unsafe { g.frame.foretell(g.epilogue, rows, self.columns(0)) };
    }
    /// Calls the epilogue on a part, which is complete in all runs.
    ///
    /// # Safety
    /// As for [`Parts::begin`].
    pub(super) unsafe fn finish(&self, g: &Gemm<'_>, rows: [usize; 2], index: usize) {
        // SAFETY: promised by the caller.
        unsafe { g.frame.finish_before(g.epilogue, rows, self.columns(index), self.next(index) * self.width) };
    }
}

#[derive(Clone, Copy)]
struct Chunk<'a> {
    all: &'a Packed<'a>,
    scratch: &'a Scratch,
    layout: Layout,
    rows: [usize; 2],
    /// Of each run.
    panels: [usize; 2],
}

impl Task for Chunk<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Chunk { all, scratch, layout, rows: [first_row, last_row], panels } = self;
        let Packed { g, sums, .. } = all;
        let rows = last_row - first_row;
        let copy = g.a.col_stride != 1 && rows > 1;
        let sums = if S::HAS_SUMS && !copy { *sums } else { None };
        // The last of many rows are few, too, and pairs like the others.
        if micro::are_few::<S>(rows) && sums.is_none() {
            // SAFETY: promised by the maker.
            unsafe { few::product::<S>(all, layout, [first_row, rows], panels) };
            return;
        }
        let before = all.before.filter(|_| sums.is_some());
        let before = before.map(|all| Chunk { all, layout: layout.of_steps(all.g.b.rows), ..self });
        let steps = layout.kc + before.as_ref().map_or(0, |before| before.layout.kc);
        let room = if copy { pack::left_len::<S>(rows, layout.kc) } else { 0 };
        let room = if sums.is_some() { strassen::left_len(rows, steps) } else { room };
        let mut scratch = scratch.lend(Purpose::Left, room);

        let mut wide = (EPILOGUE_COLS[usize::from(layout.groups > 1)] / S::NR).max(1);
        if sums.is_some() {
            wide = wide.next_multiple_of(strassen::panels_at_once(layout.groups));
        }
        let parts = Parts::new(panels, [wide, S::NR], layout.run, g.turned);
        // SAFETY: the network made the epilogue for this product, and parts are complete in all runs when it is called; pointers are
        // valid for the sizes.
        unsafe {
            let rows_of_chunk = [first_row, last_row];
            parts.begin(g, rows_of_chunk);
            for index in 0..layout.blocks {
                let rows = || first_row..last_row;
                let (mut lines, mut left_step) = (self.lines(rows(), index), g.a.col_stride);
                if copy {
                    left_step = self.copy::<S>(&mut lines.left, layout.steps(index), scratch.as_mut_ptr());
                }
                let lines =
                    Both { own: lines, before: before.as_ref().map(|before| (before, before.lines(rows(), 0))) };
                let (mut paired, mut others) = (sums.map(|sums| Left::new(all, sums, layout, index)), Rows::default());
                if let Some(left) = &mut paired {
                    left.add_up::<S>(rows_of_chunk, scratch.as_mut_ptr(), |row| others.push(row));
                }
                let others = Both {
                    own: self.lines(others.iter(), index),
                    before: before.as_ref().map(|before| (before, before.lines(others.iter(), 0))),
                };
                for at in 0..parts.count() {
                    let ([mut panel, until], next) = (parts.panels(at), parts.next(at));
                    let multiply = |lines: &Both<'_>, panels: [usize; 2]| {
                        if let Some((chunk, lines)) = &lines.before {
                            S::vectorize(Lined { chunk, index: 0, lines, left_step, panels, next });
                        }
                        S::vectorize(Lined { chunk: &self, index, lines: &lines.own, left_step, panels, next });
                    };
                    if let Some(left) = &paired {
                        let last = left.multiply::<S>([panel, until], next);
                        multiply(&others, [panel, last]);
                        panel = last;
                    }
                    multiply(&lines, [panel, until]);
                    if index + 1 == layout.blocks {
                        parts.finish(g, rows_of_chunk, at);
                    }
                }
            }
        }
    }
}

/// So many rows of a chunk at most.
pub(super) const LINES: usize = MC + 16;

/// Some rows of a chunk.
struct Rows {
    all: [usize; LINES],
    count: usize,
}

impl Default for Rows {
    fn default() -> Rows {
        Rows { all: [0; LINES], count: 0 }
    }
}

impl Rows {
    fn push(&mut self, row: usize) {
        self.all[self.count] = row;
        self.count += 1;
    }
    fn iter(&self) -> impl Iterator<Item = usize> {
        self.all[..self.count].iter().copied()
    }
}

/// Where rows of a chunk begin: of the left operand's block, and of the result.
struct Lines {
    left: [*const f32; LINES],
    results: [*mut f32; LINES],
    rows: usize,
}

/// Those of a product, and of one that is computed with it.
struct Both<'a> {
    own: Lines,
    before: Option<(&'a Chunk<'a>, Lines)>,
}

impl Chunk<'_> {
    fn lines(&self, rows: impl Iterator<Item = usize>, block: usize) -> Lines {
        let Chunk { all, layout, .. } = self;
        let mut lines = Lines { left: [std::ptr::null(); LINES], results: [std::ptr::null_mut(); LINES], rows: 0 };
        for row in rows {
            lines.left[lines.rows] = all.left(row, layout.steps(block)[0]);
            lines.results[lines.rows] = all.g.c.wrapping_offset(row as isize * all.g.c_rs);
            lines.rows += 1;
        }
        lines
    }
    /// Copies the rows of a block of the left operand to where a tile's elements of a step are adjacent; returns the distance of steps.
    #[inline(always)]
    unsafe fn copy<S: Simd>(&self, left: &mut [*const f32; LINES], [step, end]: [usize; 2], to: *mut f32) -> isize {
        let Chunk { all: Packed { g, runs, .. }, rows: [first_row, last_row], .. } = *self;
        let rows = last_row - first_row;
        // SAFETY: the scratch memory has room for the block.
        unsafe {
            if g.a.row_stride == 1 && g.a.col_stride != 1 && rows <= runs.len - first_row % runs.len {
                let a = Matrix { data: left[0], rows, cols: end - step, ..g.a };
                pack::left_adjacent::<S>(&a, to, left)
            } else {
                pack::left_rows(&mut left[..rows], end - step, g.a.col_stride, to)
            }
        }
    }
}

/// Multiplies some rows of a chunk, in a block of the K loop, with some panels of all runs.
struct Lined<'a> {
    chunk: &'a Chunk<'a>,
    index: usize,
    lines: &'a Lines,
    left_step: isize,
    panels: [usize; 2],
    /// The first of those that are multiplied with later.
    next: usize,
}

impl Task for Lined<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Lined { chunk, index, lines, left_step, panels: [panel, until], next } = self;
        let Chunk { all: Packed { g, packed, .. }, layout, .. } = chunk;
        if panel == until || lines.rows == 0 {
            return;
        }
        let [step, end] = layout.steps(index);
        let whole = until.min(layout.run / S::NR).max(panel);
        // From a panel of a run to the next, as if all were whole.
        let stride = (layout.groups * (end - step) * S::NR) as isize;
        let right = |group: usize, panel: usize| {
            packed.wrapping_add(layout.at::<S>(index, group, panel)).wrapping_offset(panel as isize * -stride)
        };
        let is_far = layout.k * layout.groups * layout.width > NEAR;
        let block_of = |group: usize| {
            // The next group's panels, or the next part's.
            let next = match group + 1 {
                following if following < layout.groups => layout.at::<S>(index, following, panel),
                _ => layout.at::<S>(index, 0, next),
            };
            Block {
                segments: 1,
                len: end - step,
                left: lines.left.as_ptr(),
                left_rows: lines.rows,
                left_offset: 0,
                left_step,
                right: right(group, panel),
                right_step: S::NR as isize,
                right_segment: 0,
                right_panel: stride,
                right_next: is_far.then(|| next as isize - layout.at::<S>(index, group, until - 1) as isize),
                right_first: 0,
                is_tight: true,
                result: lines.results.as_ptr(),
                result_offset: group * layout.run,
                rows: lines.rows,
                cols: layout.run,
                accumulate: g.accumulate || index > 0,
            }
        };
        // SAFETY: promised by the caller.
        unsafe {
            for group in 0..layout.groups {
                let block = block_of(group);
                micro::panels::<S>(&block, panel, whole);
                // A last panel that is not whole lies by itself.
                let last = Block { right: right(group, until - 1), ..block };
                micro::panels::<S>(&last, whole, until);
            }
        }
    }
}
