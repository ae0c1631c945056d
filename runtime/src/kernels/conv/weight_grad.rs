//! The weight gradient as a matrix product: rows are channels of `y`, columns those of `x` at each tap, and the
//! K loop runs over pixels.
#![expect(unsafe_code, reason = "raw images")]

use crate::abi::{Conv, Frame};
use crate::scratch::{Needs, Purpose, Scratch};
use crate::threads::Team;

use super::super::gemm::Output;
use super::super::micro::{self, Block};
use super::super::pack::{self, Matrix};
use super::super::simd::{Simd, Task};
use super::geometry::{Correlation, Image};

/// Pixels of `y` in a block of the K loop, about.
pub(crate) const KC: usize = 320;
/// Most channels of `y` of a chunk.
const MC: usize = 120;
/// Channels of `x` of a chunk, times taps: so many columns repay the packing of `y`.
const NC: usize = 576;
/// With fewer adjacent channels than this, patches are copied with all taps side by side.
const CHANNELS: usize = 16;
/// As many chunks keep several threads evenly busy.
const CHUNKS: usize = 12;
/// The most floats of all partial sums.
const PARTIAL: usize = 16 << 20;

pub(crate) struct WeightGrad<'a> {
    pub(crate) team: Team<'a>,
    pub(crate) frame: Frame,
    pub(crate) d: &'a Conv,
    pub(crate) g: &'a Correlation<'a>,
}

// SAFETY: chunks read shared operands and write to disjoint blocks of the result.
unsafe impl Sync for WeightGrad<'_> {}

/// How the work is divided. It depends on nothing but the sizes.
#[derive(Clone, Copy)]
struct Division {
    /// Whether all taps lie side by side in a panel.
    patches: bool,
    /// Rows of `y` in a block of the K loop.
    block: usize,
    blocks: usize,
    /// Blocks of a part of the K loop.
    part: usize,
    parts: usize,
    /// At most, of any smaller batch.
    most_parts: usize,
    mc: usize,
    row_blocks: usize,
    /// Panels of a chunk, of all in a group.
    nc: usize,
    col_blocks: usize,
    panels: usize,
    /// Floats of one part's sums of one group.
    sums: usize,
}

impl Division {
    fn new<S: Simd>(g: &Correlation<'_>) -> Division {
        let [m, n] = [g.to.channels, g.from.channels];
        let patches = n < CHANNELS;
        let rows = g.images * g.to.height;
        let block = (KC / g.to.width.max(1)).clamp(1, g.to.height.max(1));
        // Blocks do not cross images.
        let blocks = g.images * g.to.height.div_ceil(block);
        let row_blocks = m.div_ceil(MC / S::MR * S::MR);
        let mc = m.div_ceil(row_blocks).next_multiple_of(S::MR);
        let panels = if patches { (n * g.taps).div_ceil(S::NR) } else { n.div_ceil(S::NR) };
        let nc = if patches { panels } else { (NC / g.taps / S::NR).clamp(1, 256 / S::NR) };
        let col_blocks = panels.div_ceil(nc);
        let sums = m * n * g.taps;
        let chunks = g.groups * m.div_ceil(mc) * col_blocks;
        let most = (PARTIAL / (sums * g.groups)).max(1);
        let parts = CHUNKS.div_ceil(chunks).min(blocks).min(most).max(1);
        let most_parts = parts;
        let part = blocks.div_ceil(parts).max(1);
        debug_assert!(rows <= blocks * block);
        let parts = blocks.div_ceil(part).max(1);
        Division {
            patches,
            block,
            blocks,
            part,
            parts,
            most_parts,
            mc,
            row_blocks: m.div_ceil(mc),
            nc,
            col_blocks,
            panels,
            sums,
        }
    }
}

impl Division {
    /// Floats of a packed panel of `x`.
    fn panel_len<S: Simd>(&self, g: &Correlation<'_>) -> usize {
        if self.patches {
            return self.block * g.to.width * S::NR;
        }
        let [height, width] = window(g, self.block);
        height * width * S::NR
    }
}

/// Rows and columns of `x` that a block of rows of `y` reads, padding included.
fn window(g: &Correlation<'_>, rows: usize) -> [usize; 2] {
    let reach = |axis: usize, count: usize| {
        let taps = g.phases[0].taps;
        let span = taps[taps.len() - 1].offset[axis] - taps[0].offset[axis];
        (count.max(1) - 1) * g.scale[axis] + span.unsigned_abs() + 1
    };
    [reach(0, rows), reach(1, g.to.width)]
}

/// What [`WeightGrad`] takes for sizes up to these; `widths` are all that `g.to` may have.
pub(crate) struct Measure<'a, W> {
    pub(crate) g: &'a Correlation<'a>,
    pub(crate) widths: W,
    pub(crate) needs: &'a mut Needs,
}

impl<W: Iterator<Item = usize>> Task for Measure<'_, W> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        for width in self.widths {
            let g = &Correlation { to: Image { width, ..self.g.to }, ..self.g.clone() };
            // Fewer images or rows make fewer parts and smaller blocks.
            let division = Division::new::<S>(g);
            let rows = g.to.channels.min(division.mc);
            let parts = division.sums.saturating_mul(g.groups).saturating_mul(division.most_parts);
            *self.needs = self
                .needs
                .caller(Purpose::Partial, parts)
                .chunk(Purpose::Left, pack::left_len::<S>(rows, width) * division.block)
                .chunk(Purpose::Right, division.panel_len::<S>(g) * division.panels.min(division.nc))
                .chunk(Purpose::Table, 2 * rows * division.block);
        }
    }
}

impl Task for WeightGrad<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let g = self.g;
        if self.d.oc == 0 || g.from.channels * g.taps == 0 {
            return;
        }
        let division = Division::new::<S>(g);
        let chunks = division.row_blocks * division.col_blocks * g.groups * division.parts;
        let mut sums = self.team.scratch.lend(Purpose::Partial, division.sums * g.groups * division.parts);

        let sums = Output(sums.as_mut_ptr());
        self.team.run(chunks, |scratch, chunk| {
            let (row_block, rest) = (chunk % division.row_blocks, chunk / division.row_blocks);
            let (col_block, rest) = (rest % division.col_blocks, rest / division.col_blocks);
            let (group, part) = (rest % g.groups, rest / g.groups);
            let first = row_block * division.mc;
            let chunk = Chunk {
                g,
                scratch,
                division,
                group,
                rows: [first, g.to.channels.min(first + division.mc)],
                panels: [col_block * division.nc, division.panels.min((col_block + 1) * division.nc)],
                blocks: [part * division.part, division.blocks.min((part + 1) * division.part)],
                sums: sums.get().wrapping_add((part * g.groups + group) * division.sums),
            };
            // SAFETY: chunks write to disjoint blocks of the sums.
            unsafe { S::vectorize(chunk) };
        });
        // SAFETY: all sums are complete.
        unsafe { self.reduce(&division, sums.get()) };
    }
}

impl WeightGrad<'_> {
    /// Adds up the parts in their order, and brings taps from the outermost place to the innermost.
    unsafe fn reduce(&self, division: &Division, sums: *mut f32) {
        let g = self.g;
        let sums = Output(sums);
        let [rows, channels, taps] = [g.to.channels, g.from.channels, g.taps];
        let cols = channels * taps;
        let per_chunk = (4096 / cols).max(1);
        let all_rows = rows * g.groups;
        self.team.run(all_rows.div_ceil(per_chunk), |_, chunk| {
            let (first, last) = (chunk * per_chunk, all_rows.min((chunk + 1) * per_chunk));
            for row in first..last {
                let (group, row_in_group) = (row / rows, row % rows);
                // SAFETY: indices within the sums and the weights; the rows belong to this chunk.
                unsafe {
                    let to = std::slice::from_raw_parts_mut(self.d.weight.add(row * cols), cols);
                    for part in 0..division.parts {
                        let from = sums.get().add((part * g.groups + group) * division.sums);
                        if division.patches {
                            let from = std::slice::from_raw_parts(from.add(row_in_group * cols), cols);
                            add_or_set(part > 0, to.iter_mut(), from);
                            continue;
                        }
                        for tap in 0..taps {
                            let from = from.add((tap * rows + row_in_group) * channels);
                            let from = std::slice::from_raw_parts(from, channels);
                            add_or_set(part > 0, to[tap..].iter_mut().step_by(taps), from);
                        }
                    }
                }
            }
            // SAFETY: these rows are complete.
            unsafe { self.frame.finish(self.d.epilogue, [first, last], [0, cols]) };
        });
    }
}

fn add_or_set<'a>(add: bool, to: impl Iterator<Item = &'a mut f32>, from: &[f32]) {
    for (to, &from) in to.zip(from) {
        *to = if add { *to + from } else { from };
    }
}

struct Chunk<'a> {
    g: &'a Correlation<'a>,
    scratch: &'a Scratch,
    division: Division,
    group: usize,
    /// Channels of `y`.
    rows: [usize; 2],
    /// Panels of channels of `x`, or of channels and taps.
    panels: [usize; 2],
    blocks: [usize; 2],
    sums: *mut f32,
}

impl Task for Chunk<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let (g, division) = (self.g, self.division);
        let rows = self.rows[1] - self.rows[0];
        let left_len = pack::left_len::<S>(rows, g.to.width) * division.block;
        let panel_len = division.panel_len::<S>(g);
        if self.blocks[0] >= self.blocks[1] {
            // SAFETY: without segments, only the sums are touched.
            unsafe { self.products::<S>(&[], 0, std::ptr::null(), 0, true) };
            return;
        }
        let mut left = self.scratch.lend(Purpose::Left, left_len);

        let mut right = self.scratch.lend(Purpose::Right, panel_len * (self.panels[1] - self.panels[0]));

        let mut table = self.scratch.lend(Purpose::Table, 2 * rows * division.block);

        let table = table.as_mut_ptr().cast::<*const f32>();
        for index in self.blocks[0]..self.blocks[1] {
            let per_image = g.to.height.div_ceil(division.block);
            let (image, row) = (index / per_image, index % per_image * division.block);
            let count = division.block.min(g.to.height - row);
            // SAFETY: the scratch memory has room for the table, `count` rows of `y` and the panels.
            unsafe {
                let table = std::slice::from_raw_parts_mut(table, rows * count);
                table.fill(std::ptr::null());
                let step = self.pack_left::<S>(image, row, count, &mut left, table);
                for panel in self.panels[0]..self.panels[1] {
                    let to = right.as_mut_ptr().add((panel - self.panels[0]) * panel_len);
                    if division.patches {
                        self.pack_patches::<S>(image, row, count, panel, to);
                    } else {
                        self.pack_right::<S>(image, row, count, panel, to);
                    }
                }
                self.products::<S>(table, step, right.as_ptr(), count, index == self.blocks[0]);
            }
        }
    }
}

impl Chunk<'_> {
    /// Packs rows of `y`, one segment each.
    #[inline(always)]
    unsafe fn pack_left<S: Simd>(
        &self,
        image: usize,
        row: usize,
        count: usize,
        to: &mut [f32],
        table: &mut [*const f32],
    ) -> isize {
        let g = self.g;
        let channels = self.rows[1] - self.rows[0];
        let len = pack::left_len::<S>(channels, g.to.width);
        let mut step = 0;
        for i in 0..count {
            let from = g.to.at(image, (row + i) as isize, 0);
            let a = Matrix {
                data: from.wrapping_add(self.group * g.to.channels + self.rows[0]),
                rows: channels,
                cols: g.to.width,
                row_stride: 1,
                col_stride: g.to.col,
            };
            let to = to[i * len..].as_mut_ptr();
            // SAFETY: promised by the caller.
            step = unsafe { pack::left::<S>(&a, to, &mut table[i * channels..(i + 1) * channels]) };
        }
        step
    }

    /// Packs the window of `x`: `NR` channels of each pixel, zeros in the padding.
    #[inline(always)]
    unsafe fn pack_right<S: Simd>(&self, image: usize, row: usize, count: usize, panel: usize, to: *mut f32) {
        let g = self.g;
        let [height, width] = window(g, count);
        let first = g.phases[0].taps[0].offset;
        let lanes = S::NR.min(g.from.channels - panel * S::NR);
        let channel = ((self.group * g.from.channels + panel * S::NR) as isize) * g.from.channel;
        for r in 0..height {
            let x_row = (row * g.scale[0] + r) as isize + first[0];
            for c in 0..width {
                let x_col = c as isize + first[1];
                // SAFETY: within the panel, and within the image where it is read.
                unsafe {
                    let to = to.add((r * width + c) * S::NR);
                    if !g.from.contains(x_row, x_col) {
                        for j in 0..S::WIDTH {
                            S::store(to.add(j * S::LANES), S::splat(0.0));
                        }
                        continue;
                    }
                    let from = g.from.at(image, x_row, x_col).offset(channel);
                    if g.from.channel == 1 && lanes == S::NR {
                        for j in 0..S::WIDTH {
                            S::store(to.add(j * S::LANES), S::load(from.add(j * S::LANES)));
                        }
                        continue;
                    }
                    for lane in 0..S::NR {
                        let inside = lane < lanes;
                        *to.add(lane) = if inside { *from.offset(lane as isize * g.from.channel) } else { 0.0 };
                    }
                }
            }
        }
    }

    /// Packs patches: a column for each channel and tap, in the order of the weights.
    #[inline(always)]
    unsafe fn pack_patches<S: Simd>(&self, image: usize, row: usize, count: usize, panel: usize, to: *mut f32) {
        let g = self.g;
        let columns = g.from.channels * g.taps;
        for lane in 0..S::NR {
            let column = panel * S::NR + lane;
            let (channel, tap) = (column / g.taps, &g.phases[0].taps[column % g.taps]);
            let channel = ((self.group * g.from.channels + channel) as isize) * g.from.channel;
            let stride = g.scale[1] as isize;
            // The pixels of a row that lie inside: 0 <= offset + j·stride < width.
            let begin = (-tap.offset[1]).max(0).unsigned_abs().div_ceil(g.scale[1]);
            let room = (g.from.width as isize - tap.offset[1]).max(0).unsigned_abs();
            let end = room.div_ceil(g.scale[1]).min(g.to.width);
            for i in 0..count {
                let x_row = ((row + i) * g.scale[0]) as isize + tap.offset[0];
                let is_row = column < columns && x_row >= 0 && (x_row as usize) < g.from.height;
                let (begin, end) = if is_row && begin < end { (begin, end) } else { (g.to.width, g.to.width) };
                let from = g.from.at(image, x_row, tap.offset[1]).wrapping_offset(channel);
                let to = to.wrapping_add(i * g.to.width * S::NR + lane);
                for j in (0..begin).chain(end..g.to.width) {
                    // SAFETY: within the panel.
                    unsafe { *to.add(j * S::NR) = 0.0 };
                }
                let step = stride * g.from.col;
                for j in begin..end {
                    // SAFETY: within the panel, and within the image.
                    unsafe { *to.add(j * S::NR) = *from.offset(j as isize * step) };
                }
            }
        }
    }

    /// Adds the products of a block of pixels to the sums.
    #[inline(always)]
    unsafe fn products<S: Simd>(
        &self,
        table: &[*const f32],
        left_step: isize,
        right: *const f32,
        count: usize,
        first: bool,
    ) {
        let (g, division) = (self.g, self.division);
        let rows = self.rows[1] - self.rows[0];
        let panel_len = division.panel_len::<S>(g);
        let [_, width] = window(g, count);
        let taps = if division.patches { 1 } else { g.taps };
        let columns = if division.patches { g.from.channels * g.taps } else { g.from.channels };
        let origin = g.phases[0].taps[0].offset;
        for panel in self.panels[0]..self.panels[1] {
            for tap in 0..taps {
                let mut results = [std::ptr::null_mut(); MC + 16];
                for (i, result) in results[..rows].iter_mut().enumerate() {
                    let row = tap * g.to.channels + self.rows[0] + i;
                    *result = self.sums.wrapping_add(row * columns + panel * S::NR);
                }
                let right = right.wrapping_add((panel - self.panels[0]) * panel_len);
                let (right, right_step, right_segment) = if division.patches {
                    (right, S::NR, g.to.width * S::NR)
                } else {
                    let offset = g.phases[0].taps[tap].offset;
                    let (down, across) = (offset[0] - origin[0], offset[1] - origin[1]);
                    let pixel = down as usize * width + across as usize;
                    (right.wrapping_add(pixel * S::NR), g.scale[1] * S::NR, g.scale[0] * width * S::NR)
                };
                let block = Block {
                    segments: count,
                    len: g.to.width,
                    left: table.as_ptr(),
                    left_rows: rows,
                    left_offset: 0,
                    left_step,
                    right,
                    right_step: right_step as isize,
                    right_segment: right_segment as isize,
                    right_panel: 0,
                    right_next: None,
                    right_first: 0,
                    is_tight: false,
                    result: results.as_ptr(),
                    result_offset: 0,
                    rows,
                    cols: S::NR.min(columns - panel * S::NR),
                    accumulate: !first,
                };
                // SAFETY: promised by the caller.
                unsafe { micro::panels::<S>(&block, 0, 1) };
            }
        }
    }
}
