//! The blocked matrix product: packed operands, blocks for the caches, fixed chunks for the threads.
//!
//! Goto and van de Geijn, "Anatomy of high-performance matrix multiplication"; the loops and names follow BLIS.
#![expect(unsafe_code, reason = "raw matrices")]

use crate::abi::{EpilogueFn, Frame, Piece};
use crate::scratch::{Needs, Purpose, Scratch};
use crate::threads::Team;

use super::long;
use super::micro::{self, Block};
use super::pack::{self, Matrix};
use super::simd::{Simd, TALLEST, Task, WIDEST};

/// Most steps of a block of the K loop: tiles begin and end seldom, and a panel of the right operand leaves the first cache no
/// sooner than the next is fetched. Measured: 256 and 128 are slower, most of all beside other work on the same core.
pub(crate) const KC: usize = 512;
/// Steps of a K loop that is worth dividing.
const LONG: usize = 1024;
/// Most rows of a block: the left operand's block stays in the second cache.
pub(crate) const MC: usize = 120;
/// Most floats of the right operand that are packed at once.
const PACKED: usize = 4 << 20;
/// Columns after which the epilogue is called: long rows for it, and still in the first cache.
const EPILOGUE_COLS: usize = 64;
/// Steps of the K loop that one chunk packs, if rows of the operand are long.
const STEPS: usize = 32;
/// As many chunks keep several threads evenly busy.
const CHUNKS: usize = 12;

/// A matrix product `c = a · b`.
#[derive(Clone, Copy)]
pub(crate) struct Gemm<'a> {
    pub(crate) team: Team<'a>,
    pub(crate) frame: Frame,
    pub(crate) a: Matrix,
    pub(crate) b: Matrix,
    pub(crate) c: *mut f32,
    pub(crate) c_rs: isize,
    pub(crate) epilogue: Option<EpilogueFn>,
    /// See [`MatMul::turned`](crate::abi::MatMul::turned).
    pub(crate) turned: bool,
    /// See [`MatMul::accumulate`](crate::abi::MatMul::accumulate).
    pub(crate) accumulate: bool,
    /// Where rows go in place of `c`.
    pub(crate) pieces: Option<Pieces>,
}

/// Where the rows of a result go: pieces of so many rows.
#[derive(Clone, Copy)]
pub(crate) struct Pieces {
    pub(crate) first: *const Piece,
    pub(crate) run: usize,
}

impl Gemm<'_> {
    /// Whether it is [`long`]'s.
    fn is_long<S: Simd>(&self) -> bool {
        let is_adjacent = self.a.row_stride == 1 && self.a.col_stride != 1;
        let division = Division::new::<S>(self.a.rows, self.b.cols.div_ceil(S::NR), self.b.rows);
        is_adjacent && self.b.rows > long::FEW && !S::COMPACT && !division.is_small()
    }
    /// The address of a row of the result, from there to the next, and how many follow in this way with it.
    pub(super) fn result(&self, row: usize) -> (*mut f32, isize, usize) {
        match self.pieces {
            // SAFETY: there is a piece for each row.
            Some(Pieces { first, run }) => unsafe {
                let piece = &*first.add(row / run);
                let stride = piece.c_rs as isize;
                (piece.c.wrapping_offset((row % run) as isize * stride), stride, run - row % run)
            },
            None => (self.c.wrapping_offset(row as isize * self.c_rs), self.c_rs, self.a.rows - row),
        }
    }
}

// SAFETY: chunks read shared operands and write to disjoint blocks of the result.
unsafe impl Sync for Gemm<'_> {}

/// How a product is divided into chunks. It depends on nothing but the sizes.
#[derive(Clone, Copy, Debug)]
struct Division {
    /// Rows of a chunk.
    mc: usize,
    row_blocks: usize,
    /// Panels of a chunk.
    group: usize,
    groups: usize,
    /// Steps of a part of the K loop; parts are added up when all are done.
    part: usize,
    parts: usize,
}

impl Division {
    fn new<S: Simd>(m: usize, panels: usize, k: usize) -> Division {
        let row_blocks = m.div_ceil(MC.next_multiple_of(S::MR));
        let mc = m.div_ceil(row_blocks).next_multiple_of(S::MR);
        let row_blocks = m.div_ceil(mc);
        let mut groups = panels.div_ceil(512 / S::NR);
        let mut parts = 1;
        // Splitting K costs a pass over the results, splitting N a further packing of the left operand.
        if row_blocks * groups < CHUNKS / 2 && k >= LONG && m * panels * S::NR * 4 < k * 1024 {
            parts = (CHUNKS / (row_blocks * groups)).min(2 * k / LONG).max(1);
        }
        if row_blocks * groups * parts < CHUNKS {
            groups = CHUNKS.div_ceil(row_blocks * parts).min(panels.div_ceil(2)).max(groups);
        }
        let group = panels.div_ceil(groups);
        let part = k.div_ceil(parts).next_multiple_of(8).max(8);
        Division { mc, row_blocks, group, groups: panels.div_ceil(group), part, parts: k.div_ceil(part).max(1) }
    }
    /// Whether nothing is shared by blocks of rows.
    fn is_small(&self) -> bool {
        self.parts > 1 || self.row_blocks == 1
    }
}

/// What [`Gemm`] takes at most on any CPU, for sizes up to these.
pub(crate) fn needs(m: usize, n: usize, k: usize) -> Needs {
    let cols = n.saturating_add(WIDEST);
    // One block of rows shares at most the last panel, and only of few steps.
    let shared = if m <= MC {
        k.min(LONG) * WIDEST
    } else {
        cols.saturating_mul(k).min(k.saturating_mul(4 * WIDEST).saturating_add(PACKED))
    };
    // See `Division::new`: the inner axis is split where it is long beside the result.
    let parts = if k < LONG { 0 } else { CHUNKS.min(2 * k / LONG) };
    let partial = parts * m.saturating_mul(n).min(k.saturating_mul(256));
    let kc = k.next_multiple_of(8).min(KC);
    Needs::default()
        .caller(Purpose::Shared, shared)
        .caller(Purpose::Partial, partial)
        .chunk(Purpose::Left, pack::most_left(m.min(MC + TALLEST), kc))
        .chunk(Purpose::Right, cols.min(512) * kc)
        .max(if m > MC { long::needs(m, n, k) } else { Needs::default() })
}

impl Task for Gemm<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let pieces = self.pieces.filter(|_| !self.is_long::<S>());
        let rows = pieces.map_or(self.a.rows, |pieces| pieces.run);
        for row in (0..self.a.rows).step_by(rows.max(1)) {
            let mut part = self;
            if pieces.is_some() {
                (part.c, part.c_rs, part.pieces) = (self.result(row).0, self.result(row).1, None);
                part.a = Matrix { data: self.a.at(row, 0), rows, ..self.a };
            }
            // SAFETY: `Gemm`'s pointers are valid for its sizes.
            unsafe { product::<S>(&part) };
        }
    }
}

/// Computes super-blocks of columns whose packed panels fit a bounded memory.
unsafe fn product<S: Simd>(g: &Gemm<'_>) {
    let k = g.b.rows;
    let division = Division::new::<S>(g.a.rows, g.b.cols.div_ceil(S::NR), k);
    if division.is_small() {
        // SAFETY: promised by the caller.
        unsafe { columns::<S>(g, 0) };
        return;
    }
    if g.is_long::<S>() {
        // SAFETY: promised by the caller.
        unsafe { long::product::<S>(g) };
        return;
    }
    let width = (PACKED / k.max(1)).next_multiple_of(S::NR).max(4 * S::NR);
    let mut col = 0;
    while col < g.b.cols {
        let cols = width.min(g.b.cols - col);
        let b = Matrix { data: g.b.at(0, col), cols, ..g.b };
        let part = Gemm { b, c: g.c.wrapping_add(col), ..*g };
        // SAFETY: promised by the caller.
        unsafe { columns::<S>(&part, col) };
        col += cols;
    }
}

/// The product, with `first_col` columns to its left in the whole.
unsafe fn columns<S: Simd>(g: &Gemm<'_>, first_col: usize) {
    let [m, n, k] = [g.a.rows, g.b.cols, g.b.rows];
    let panels = n.div_ceil(S::NR);
    // Few rows do not repay a copy of the right operand: only a last, incomplete panel is packed.
    let direct = g.b.col_stride == 1 && m <= 2 * S::MR && k < LONG;
    let division = Division::new::<S>(m, panels, k);
    // Where chunks have no panel in common, each packs its own just before it is used.
    let local = division.parts > 1 || (division.row_blocks == 1 && !direct);
    let first_packed = match (local, direct) {
        (true, _) => panels,
        (_, true) => n / S::NR,
        (false, false) => 0,
    };
    let mut packed = g.team.scratch.lend(Purpose::Shared, (panels - first_packed) * k * S::NR);

    let packed = Output(packed.as_mut_ptr());
    // Long rows are read in order, a few of them for all panels.
    let (steps, at_once) = if g.b.col_stride == 1 { (STEPS, panels - first_packed) } else { (1024, 1) };
    let blocks = k.div_ceil(steps);
    g.team.run((panels - first_packed).div_ceil(at_once.max(1)) * blocks, |_, chunk| {
        let (group, block) = (chunk / blocks, chunk % blocks);
        let (first, last) = (block * steps, k.min(block * steps + steps));
        for panel in group * at_once..(group + 1) * at_once {
            let width = pack::panel_width::<S>(n, first_packed + panel);
            let to = packed.get().wrapping_add(panel * k * S::NR + first * width);
            // SAFETY: each chunk has its own place.
            unsafe {
                S::vectorize(PackPanel { b: &g.b, panel: first_packed + panel, first, last, to });
            };
        }
    });
    let right = if direct {
        Right { data: g.b.data, step: g.b.row_stride, panel: S::NR as isize }
    } else {
        Right { data: packed.get(), step: S::NR as isize, panel: (k * S::NR) as isize }
    };
    let last = Right { data: packed.get(), step: S::NR as isize, panel: 0 };
    let partial_len = if division.parts > 1 { division.parts * m * n } else { 0 };
    let mut partial = g.team.scratch.lend(Purpose::Partial, partial_len);

    let partial = Output(partial.as_mut_ptr());
    g.team.run(division.row_blocks * division.groups * division.parts, |scratch, chunk| {
        let (row_block, rest) = (chunk % division.row_blocks, chunk / division.row_blocks);
        let (group, part) = (rest % division.groups, rest / division.groups);
        let (result, result_rs, epilogue) = if division.parts > 1 {
            (partial.get().wrapping_add(part * m * n), n as isize, None)
        } else {
            (g.c, g.c_rs, g.epilogue)
        };
        let row = row_block * division.mc;
        let chunk = Chunk {
            g: &Gemm { c: result, c_rs: result_rs, epilogue, ..*g },
            scratch,
            first_col,
            rows: [row, m.min(row + division.mc)],
            panels: [group * division.group, panels.min((group + 1) * division.group)],
            steps: [part * division.part, k.min((part + 1) * division.part)],
            right,
            last,
            local,
            last_from: if direct { first_packed } else { panels },
        };
        // SAFETY: chunks write to disjoint blocks.
        unsafe { S::vectorize(chunk) };
    });
    if division.parts > 1 {
        // SAFETY: all parts are done.
        unsafe { reduce(g, first_col, partial.get(), division.parts) };
    }
}

/// Adds up the parts of a product in their order.
unsafe fn reduce(g: &Gemm<'_>, first_col: usize, partial: *const f32, parts: usize) {
    let [m, n] = [g.a.rows, g.b.cols];
    let rows = (4096 / n).max(1);
    let partial = Output(partial.cast_mut());
    g.team.run(m.div_ceil(rows), |_, chunk| {
        let (first, last) = (chunk * rows, m.min(chunk * rows + rows));
        for row in first..last {
            // SAFETY: a row of the result, which belongs to this chunk, and the same row of each part.
            unsafe {
                let to = std::slice::from_raw_parts_mut(g.c.offset(row as isize * g.c_rs), n);
                to.copy_from_slice(std::slice::from_raw_parts(partial.get().add(row * n), n));
                for part in 1..parts {
                    let from = std::slice::from_raw_parts(partial.get().add((part * m + row) * n), n);
                    for (sum, x) in to.iter_mut().zip(from) {
                        *sum += x;
                    }
                }
            }
        }
        // SAFETY: these rows are complete.
        unsafe {
            g.frame.finish(g.epilogue, [first, last], [first_col, first_col + n]);
        };
    });
}

/// Where a right operand is read.
#[derive(Clone, Copy)]
struct Right {
    data: *const f32,
    step: isize,
    panel: isize,
}

// SAFETY: chunks only read through it.
unsafe impl Sync for Right {}

/// A place that chunks write disjoint parts of.
#[derive(Clone, Copy)]
pub(crate) struct Output(pub(crate) *mut f32);

// SAFETY: as the type says.
unsafe impl Sync for Output {}

impl Output {
    /// The pointer; a method, so that closures capture the whole.
    pub(crate) fn get(&self) -> *mut f32 {
        self.0
    }
}

/// Packs steps `first..last` of one panel.
pub(crate) struct PackPanel<'a> {
    pub(crate) b: &'a Matrix,
    pub(crate) panel: usize,
    pub(crate) first: usize,
    pub(crate) last: usize,
    pub(crate) to: *mut f32,
}

impl Task for PackPanel<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: promised by the maker.
        unsafe { pack::panel::<S>(self.b, self.panel, self.first, self.last, self.to) };
    }
}

struct Chunk<'a> {
    g: &'a Gemm<'a>,
    scratch: &'a Scratch,
    first_col: usize,
    rows: [usize; 2],
    panels: [usize; 2],
    steps: [usize; 2],
    right: Right,
    last: Right,
    /// The first panel that is read from `last`.
    last_from: usize,
    /// Whether each block of the right operand is packed by the chunk.
    local: bool,
}

impl Task for Chunk<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Chunk { g, rows: [first_row, last_row], steps: [first_step, last_step], .. } = self;
        let rows = last_row - first_row;
        let n = g.b.cols;
        let mut table = [std::ptr::null(); MC + 16];
        let mut results = [std::ptr::null_mut(); MC + 16];
        for (i, result) in results[..rows].iter_mut().enumerate() {
            *result = g.c.wrapping_offset((first_row + i) as isize * g.c_rs);
        }
        let blocks = (last_step - first_step).div_ceil(KC).max(1);
        let kc = (last_step - first_step).div_ceil(blocks).next_multiple_of(8);
        // Rows are read where they lie, however far apart.
        let copy = g.a.col_stride != 1 && rows > 1;
        let len = if copy { pack::left_len::<S>(rows, kc) } else { 0 };
        let right_len = if self.local { (self.panels[1] - self.panels[0]) * kc * S::NR } else { 0 };
        let mut packed = self.scratch.lend(Purpose::Left, len);
        let mut right = self.scratch.lend(Purpose::Right, right_len);

        for index in 0..blocks {
            let step = first_step + index * kc;
            let len = kc.min(last_step - step);
            let a = Matrix { data: g.a.at(first_row, step), rows, cols: len, ..g.a };
            // SAFETY: the scratch memory has room for the block, and pointers are valid for the sizes.
            unsafe {
                let left_step = if copy {
                    pack::left::<S>(&a, packed.as_mut_ptr(), &mut table)
                } else {
                    for (i, entry) in table[..rows].iter_mut().enumerate() {
                        *entry = a.at(i, 0);
                    }
                    a.col_stride
                };
                let block = |right: &Right, first: isize| Block {
                    segments: 1,
                    len,
                    left: table.as_ptr(),
                    left_rows: rows,
                    left_offset: 0,
                    left_step,
                    right: right.data,
                    right_step: right.step,
                    right_segment: 0,
                    right_panel: right.panel,
                    right_next: None,
                    right_first: first * right.step,
                    is_tight: true,
                    result: results.as_ptr(),
                    result_offset: 0,
                    rows,
                    cols: n,
                    accumulate: index > 0,
                };
                let mut panel = self.panels[0];
                while panel < self.panels[1] {
                    let end = self.panels[1].min(panel + (EPILOGUE_COLS / S::NR).max(1));
                    let (mut from, mut first) = (self.right, step as isize);
                    if self.local {
                        for index in panel..end {
                            let to = right.as_mut_ptr().add((index - panel) * len * S::NR);
                            S::vectorize(PackPanel { b: &g.b, panel: index, first: step, last: step + len, to });
                        }
                        // As if all panels were packed, of which these are read.
                        let data = right.as_ptr().wrapping_sub(panel * len * S::NR);
                        from = Right { data, step: S::NR as isize, panel: (len * S::NR) as isize };
                        first = 0;
                    }
                    let whole = end.min(self.last_from);
                    micro::panels::<S>(&block(&from, first), panel, whole);
                    if whole < end {
                        micro::panels::<S>(&block(&self.last, step as isize), whole, end);
                    }
                    if index + 1 == blocks {
                        let cols = [self.first_col + panel * S::NR, self.first_col + n.min(end * S::NR)];
                        g.frame.finish(g.epilogue, [first_row, last_row], cols);
                    }
                    panel = end;
                }
            }
        }
    }
}
