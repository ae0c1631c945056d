//! The micro-kernel: a tile of a matrix product held in registers, and the loops that walk a block with it.
#![expect(unsafe_code, reason = "vector instructions on raw matrices")]

use super::simd::{STEPS, Simd, Task, add_step};

/// What the tiles of one block of a product have in common.
///
/// The K loop is a sequence of segments of equal length. Within a segment, the element of row `i` at step `p`
/// is found at `left[segment][i] + left_offset + p * left_step`, wherever the rows may lie: in a packed block, in the
/// operand itself, or in an image, one segment for each tap of a convolution.
#[derive(Clone, Copy)]
pub(crate) struct Block {
    pub(crate) segments: usize,
    /// Steps of a segment.
    pub(crate) len: usize,
    /// A table of pointers, `segments` times `left_rows`.
    pub(crate) left: *const *const f32,
    pub(crate) left_rows: usize,
    pub(crate) left_offset: usize,
    pub(crate) left_step: isize,
    /// The first row of the first panel, of which each step reads a row of [`Simd::NR`] floats.
    pub(crate) right: *const f32,
    pub(crate) right_step: isize,
    /// From a segment to the next.
    pub(crate) right_segment: isize,
    /// From a panel to the next.
    pub(crate) right_panel: isize,
    /// From the last panel to what will be read next. Tiles of a panel fetch the next one, unless there is none or it is near:
    /// what the second cache or the third holds is there in time without.
    pub(crate) right_next: Option<isize>,
    /// From a panel's start to its first row.
    pub(crate) right_first: isize,
    /// Whether an incomplete panel has rows of as many whole vectors as its columns need: the three distances before, all
    /// multiples of [`Simd::NR`], shrink with its rows.
    pub(crate) is_tight: bool,
    /// Where each row of the result begins, but for the offset.
    pub(crate) result: *const *mut f32,
    pub(crate) result_offset: usize,
    pub(crate) rows: usize,
    /// Columns of the result, from the first of the first panel on.
    pub(crate) cols: usize,
    /// Whether to add to the result instead of setting it.
    pub(crate) accumulate: bool,
}

/// Runs of columns of the result whose whole panels take turns in memory: the first of each, then the second of each.
#[derive(Clone, Copy)]
pub(crate) struct ColumnRuns {
    pub(crate) count: usize,
    /// Columns of a run.
    pub(crate) len: usize,
}

impl ColumnRuns {
    const ONE: ColumnRuns = ColumnRuns { count: 1, len: 0 };
    /// The first column of each of some panels.
    #[inline(always)]
    pub(crate) fn columns<S: Simd, const P: usize>(self, panel: usize) -> [usize; P] {
        let (mut run, mut column) =
            if self.count == 1 { (0, panel * S::NR) } else { (panel % self.count, panel / self.count * S::NR) };
        std::array::from_fn(|_| {
            let first = run * self.len + column;
            run += 1;
            if run == self.count {
                (run, column) = (0, column + S::NR);
            }
            first
        })
    }
}

/// Panels, of all runs, that few rows are multiplied with at once: as many sums as keep the second cache busy.
pub(crate) const AT_ONCE: usize = 4;
/// Steps of the K loop in which few results are ready when the next tile wants to store its own.
const SHORT: usize = 256;
/// Floats of a line of the caches.
const LINE: usize = 16;

/// What a tile fetches into the cache: from how far beyond its panel, and how many floats on every [`STEPS`] steps.
#[derive(Clone, Copy)]
pub(super) struct Ahead {
    first: isize,
    step: isize,
}

impl Ahead {
    /// Of a panel of `len` steps, `away` floats from what a tile reads, its share: that of the tile at `index` of so many.
    #[inline(always)]
    pub(super) fn share<S: Simd>(away: isize, len: usize, [index, tiles]: [usize; 2]) -> Ahead {
        let [share, step] = [S::NR * len / tiles, (STEPS * S::NR).div_ceil(tiles)];
        Ahead { first: away + (share * index.min(tiles)) as isize, step: step as isize }
    }
    /// Where to begin, of what a tile reads.
    #[inline(always)]
    pub(super) fn from(self, right: *const f32) -> *const f32 {
        right.wrapping_offset(self.first)
    }
    /// Fetches the share of [`STEPS`] steps; says where the next begins.
    #[inline(always)]
    pub(super) unsafe fn fetch<S: Simd>(self, from: *const f32) -> *const f32 {
        let mut at = 0;
        while at < self.step {
            // SAFETY: any address may be fetched.
            unsafe { S::prefetch_panel(from.wrapping_offset(at)) };
            at += LINE as isize;
        }
        from.wrapping_offset(self.step)
    }
}

/// Whether there is a tile of so many rows and vectors. A last, narrow panel is rare: a few heights do for it, and the library
/// is small.
const fn has_tile<S: Simd>(rows: usize, vectors: usize) -> bool {
    if vectors == S::WIDTH && !S::COMPACT { rows <= S::MR } else { rows == narrow_height::<S>(rows) }
}

/// The height of the next tile of a narrow panel, when so many rows are left.
const fn narrow_height<S: Simd>(left: usize) -> usize {
    if left >= S::MR {
        S::MR
    } else if left >= S::MR / 2 && !S::COMPACT {
        S::MR / 2
    } else {
        1
    }
}

/// A tile of `R` rows and `W` vectors, of which `cols` columns are kept, in the result from `column` on.
#[expect(clippy::needless_range_loop, reason = "indices that are constants once unrolled: sums stay in registers")]
#[inline(always)]
unsafe fn tile<S: Simd, const R: usize, const W: usize>(
    block: &Block,
    row: usize,
    panel: usize,
    [column, cols]: [usize; 2],
    fetch: Ahead,
) {
    if W > S::WIDTH || !has_tile::<S>(R, W) {
        return;
    }
    // SAFETY: the block's pointers are valid for its sizes.
    unsafe {
        // The next tile's results, if they are added to, or of short sums, which would else wait for memory more than they compute.
        if block.accumulate || block.segments * block.len < SHORT {
            for i in 0..R {
                let next = (*block.result.add((row + R + i).min(block.rows - 1))).wrapping_add(column);
                for line in 0..(W * S::LANES).div_ceil(LINE) {
                    S::prefetch(next.wrapping_add(line * LINE));
                }
            }
        }
        let mut sums = [[S::splat(0.0); W]; R];
        let shrink = |floats: isize| {
            if W < S::WIDTH && block.is_tight { floats / S::NR as isize * (W * S::LANES) as isize } else { floats }
        };
        let [first, right_step, right_segment] = [block.right_first, block.right_step, block.right_segment].map(shrink);
        let mut right_start = block.right.offset(panel as isize * block.right_panel + first);
        let mut rows = block.left.add(row);
        for _ in 0..block.segments {
            let left: [*const f32; R] =
                std::array::from_fn(|i| S::settled((*rows.add(i)).wrapping_add(block.left_offset)));
            let (mut right, mut ahead) = (right_start, fetch.from(right_start));
            let mut at = 0;
            // What a step needs beside its sums is shared by several. Low tiles and a last, narrow panel do without.
            let mut offset = 0_isize;
            if S::UNROLLS && 2 * R > S::MR && W == S::WIDTH && block.right_step == S::NR as isize {
                let whole = block.len - block.len % STEPS;
                while at < whole {
                    ahead = fetch.fetch::<S>(ahead);
                    offset = S::add_steps::<R, W, 0>(&mut sums, &left, offset, 4 * block.left_step, right);
                    right = right.wrapping_add(STEPS * S::NR);
                    at += STEPS;
                }
            }
            offset /= 4;
            for _ in at..block.len {
                add_step::<S, R, W>(&mut sums, |i| *left[i].offset(offset), right);
                offset += block.left_step;
                right = right.wrapping_offset(right_step);
            }
            right_start = right_start.wrapping_offset(right_segment);
            rows = rows.add(block.left_rows);
        }
        let to: [*mut f32; R] = std::array::from_fn(|i| (*block.result.add(row + i)).add(column));
        // A narrow tile is never whole: its width says so when it is compiled.
        if W == S::WIDTH && cols == S::NR {
            if block.accumulate {
                for i in 0..R {
                    for j in 0..W {
                        sums[i][j] = S::add(S::load(to[i].add(j * S::LANES)), sums[i][j]);
                    }
                }
            }
            for i in 0..R {
                for j in 0..W {
                    S::store(to[i].add(j * S::LANES), sums[i][j]);
                }
            }
        } else {
            // A copy: an index that is no constant would keep the sums in memory in the K loop, too.
            let mut copy = [[[0.0_f32; LINE]; W]; R];
            for i in 0..R {
                for j in 0..W {
                    S::store(copy[i][j].as_mut_ptr(), sums[i][j]);
                }
            }
            S::vectorize(StoreNarrow { block, row, column, cols, sums: copy.as_flattened(), width: W });
        }
    }
}

/// Stores the first columns of a tile: rare, and one function for tiles of all sizes.
struct StoreNarrow<'a> {
    block: &'a Block,
    row: usize,
    column: usize,
    cols: usize,
    /// Row after row, `width` vectors in each.
    sums: &'a [[f32; LINE]],
    width: usize,
}

impl Task for StoreNarrow<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        for (index, sum) in self.sums.iter().enumerate() {
            let (i, j) = (index / self.width, index % self.width);
            let kept = self.cols.saturating_sub(j * S::LANES).min(S::LANES);
            // SAFETY: promised by the maker of the task; no vector is longer than a line.
            unsafe {
                let sum = S::load(sum.as_ptr());
                let to = (*self.block.result.add(self.row + i)).wrapping_add(self.column + j * S::LANES);
                let before = if self.block.accumulate { S::load_first(to, kept) } else { S::splat(0.0) };
                S::store_first(to, S::add(before, sum), kept);
            }
        }
    }
}

/// Tiles of `R` rows in `P` whole panels at once: few rows of one panel would wait for their own sums.
///
/// Each element is the same sum, in the same order, as in a [`tile`] of one panel.
#[inline(always)]
unsafe fn tiles<S: Simd, const R: usize, const W: usize, const P: usize>(
    block: &Block,
    runs: ColumnRuns,
    panel: usize,
) {
    if W != S::WIDTH || S::COMPACT {
        return;
    }
    // SAFETY: the block's pointers are valid for its sizes.
    unsafe {
        let mut sums = [[[S::splat(0.0); R]; W]; P];
        let mut right_start = block.right.offset(panel as isize * block.right_panel + block.right_first);
        let mut rows = block.left;
        for _ in 0..block.segments {
            let left: [*const f32; R] = std::array::from_fn(|i| (*rows.add(i)).wrapping_add(block.left_offset));
            let mut right: [*const f32; P] =
                std::array::from_fn(|q| right_start.wrapping_offset(q as isize * block.right_panel));
            let mut offset = 0_isize;
            let mut at = 0;
            if R == 1 && S::MANY_REGISTERS && block.left_step == 1 && block.right_step == S::NR as isize {
                let whole = block.len - block.len % STEPS;
                while at < whole {
                    for step in 0..STEPS {
                        let a: [S::V; R] = std::array::from_fn(|i| S::splat(*left[i].add(at + step)));
                        for (right, sums) in right.iter().zip(&mut sums) {
                            for (j, sums) in sums.iter_mut().enumerate() {
                                let b = S::load(right.add(step * S::NR + j * S::LANES));
                                for (sum, &a) in sums.iter_mut().zip(&a) {
                                    *sum = S::mul_add(a, b, *sum);
                                }
                            }
                        }
                    }
                    right = right.map(|right| right.wrapping_add(STEPS * S::NR));
                    at += STEPS;
                }
                offset = at as isize;
            }
            for _ in at..block.len {
                let a: [S::V; R] = std::array::from_fn(|i| S::splat(*left[i].offset(offset)));
                for (right, sums) in right.iter_mut().zip(&mut sums) {
                    for (j, sums) in sums.iter_mut().enumerate() {
                        let b = S::load(right.add(j * S::LANES));
                        for (sum, &a) in sums.iter_mut().zip(&a) {
                            *sum = S::mul_add(a, b, *sum);
                        }
                    }
                    *right = right.wrapping_offset(block.right_step);
                }
                offset += block.left_step;
            }
            right_start = right_start.wrapping_offset(block.right_segment);
            rows = rows.add(block.left_rows);
        }
        // By reference: copies of the sums would go through memory.
        for (sums, column) in sums.iter().zip(runs.columns::<S, P>(panel)) {
            for (j, sums) in sums.iter().enumerate() {
                let column = block.result_offset + column + j * S::LANES;
                for (i, &sum) in sums.iter().enumerate() {
                    let to = (*block.result.add(i)).add(column);
                    let before = if block.accumulate { S::load(to) } else { S::splat(0.0) };
                    S::store(to, S::add(before, sum));
                }
            }
        }
    }
}

/// Computes all rows of as many whole panels as suit so few rows; how many panels, or none if the rows suffice.
#[inline(always)]
unsafe fn several_panels<S: Simd>(block: &Block, runs: ColumnRuns, panel: usize, last: usize) -> usize {
    let left = if S::COMPACT { 0 } else { last.saturating_sub(panel) };
    macro_rules! choose {
        ($rows:literal, $panels:literal) => {{
            // SAFETY: promised by the caller.
            unsafe {
                match S::WIDTH {
                    2 => tiles::<S, $rows, 2, $panels>(block, runs, panel),
                    _ => tiles::<S, $rows, 4, $panels>(block, runs, panel),
                }
            }
            $panels
        }};
    }
    match (block.rows, left) {
        (1, 4..) => choose!(1, 4),
        (1, 3) if S::MANY_REGISTERS => choose!(1, 3),
        (1, 2..) => choose!(1, 2),
        (1, 1) if S::MANY_REGISTERS => choose!(1, 1),
        (2, 2..) => choose!(2, 2),
        (3, 2..) => choose!(3, 2),
        _ => 0,
    }
}

#[inline(always)]
unsafe fn tile_of_rows<S: Simd, const W: usize>(
    block: &Block,
    rows: usize,
    row: usize,
    panel: usize,
    columns: [usize; 2],
    fetch: Ahead,
) {
    macro_rules! choose {
        ($($count:literal)*) => {
            match rows {
                // SAFETY: promised by the caller.
                $($count => unsafe { tile::<S, $count, W>(block, row, panel, columns, fetch) },)*
                _ => unreachable!("a tile of {rows} rows"),
            }
        };
    }
    choose!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
}

/// Computes panels `first..last` of a block, all rows of a panel while it is in the first cache.
///
/// # Safety
/// The block's pointers are valid for its sizes; called with the instructions of `S` enabled.
pub(crate) unsafe fn panels<S: Simd>(block: &Block, first: usize, last: usize) {
    // Entered through a task, so that the tiles are compiled once for each instruction set and not for each caller.
    // SAFETY: promised by the caller.
    unsafe { S::vectorize(Panels { block, runs: ColumnRuns::ONE, first, last, turned: false }) };
}

struct Panels<'a> {
    block: &'a Block,
    /// Of more than one the panels are whole.
    runs: ColumnRuns,
    first: usize,
    last: usize,
    /// Whether the last [`AT_ONCE`] panels come first, those before next.
    turned: bool,
}

impl Task for Panels<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Panels { block, runs, first, last, turned } = self;
        let tiles = block.rows.div_ceil(S::MR).max(1);
        let whole = if runs.count > 1 { last } else { last.min(block.cols / S::NR) };
        // Tiles of nearly equal heights: a last one of a single row would wait for its own sums.
        let (height, higher) = (block.rows / tiles, block.rows % tiles);
        // Each tile fetches its share of a packed panel.
        let fetches = block.right_next.filter(|_| block.right_step == S::NR as isize);
        let turns = if turned { (last - first).div_ceil(AT_ONCE) } else { 1 };
        for turn in (0..turns).rev() {
            let mut panel = first + turn * AT_ONCE;
            let until = if turned { last.min(panel + AT_ONCE) } else { last };
            while panel < until {
                // SAFETY: promised by the caller of `panels`.
                let done = unsafe { several_panels::<S>(block, runs, panel, whole.min(until)) };
                if done > 0 {
                    panel += done;
                    continue;
                }
                let cols = if panel < whole { S::NR } else { block.cols - panel * S::NR };
                let [column] = runs.columns::<S, 1>(panel).map(|column| block.result_offset + column);
                let next = fetches.map(|next| if panel + 1 == last { next } else { block.right_panel });
                let is_wide = cols.div_ceil(S::LANES) == S::WIDTH && !S::COMPACT;
                let (mut row, mut index) = (0, 0);
                while row < block.rows {
                    let rows = match is_wide {
                        true => height + usize::from(index < higher),
                        false => narrow_height::<S>(block.rows - row),
                    };
                    let fetch = match next {
                        Some(next) => Ahead::share::<S>(next, block.len, [index, tiles]),
                        None => Ahead { first: 0, step: 0 },
                    };
                    // SAFETY: promised by the caller of `panels`.
                    unsafe {
                        match cols.div_ceil(S::LANES) {
                            1 => tile_of_rows::<S, 1>(block, rows, row, panel, [column, cols], fetch),
                            2 => tile_of_rows::<S, 2>(block, rows, row, panel, [column, cols], fetch),
                            3 => tile_of_rows::<S, 3>(block, rows, row, panel, [column, cols], fetch),
                            _ => tile_of_rows::<S, 4>(block, rows, row, panel, [column, cols], fetch),
                        }
                    }
                    row += rows;
                    index += 1;
                }
                panel += 1;
            }
        }
    }
}

/// Rows that are so few that a product waits for the memory of its right operand.
pub(crate) const FEW: usize = 4;

/// Rows so few that [`panels_of_runs`] computes them.
pub(crate) const fn are_few<S: Simd>(rows: usize) -> bool {
    rows <= FEW && !S::COMPACT
}

/// Computes whole panels `first..last` of all runs, as they lie in memory or from the last ones on, for [few](are_few) rows.
///
/// # Safety
/// As for [`panels`].
pub(crate) unsafe fn panels_of_runs<S: Simd>(block: &Block, runs: ColumnRuns, [first, last]: [usize; 2], turned: bool) {
    // SAFETY: promised by the caller.
    unsafe { S::vectorize(Panels { block, runs, first, last, turned }) };
}
