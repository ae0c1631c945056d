//! The largest numbers of the columns and rows of a right operand, which say what may be done to it at little loss.
//!
//! Numbers go by their bits without the sign, of which the larger are the larger number's; those of infinite numbers and of what
//! is no number come after all others.
#![expect(unsafe_code, reason = "raw matrices")]

use std::sync::atomic::{AtomicU32, Ordering};

use crate::threads::Team;

use super::gemm::Output;
use super::pack::Matrix;
use super::packed::Layout;
use super::right::{Part, Pieces};
use super::simd::{LONGEST, Simd, Task};

/// Columns of a panel.
pub(super) const COLS: usize = 4 * LONGEST;
/// All bits of a number but its sign.
const BITS: u32 = 0x7fff_ffff;

/// Finds the largest number of each column of the whole panels of all runs, panel after panel as they are packed, and of each row, in
/// the order in which the operand lies in memory: what follows finds it in the cache.
///
/// # Safety
/// The pieces are valid for their sizes, panels have [`COLS`] columns, and `columns` and `rows` have room, of which nobody else knows.
pub(super) unsafe fn measure<'a, S: Simd>(
    team: Team<'_>,
    layout: &Layout,
    pieces: &Pieces<'_>,
    [columns, rows]: [*mut f32; 2],
) -> [&'a [u32]; 2] {
    let width = layout.groups * (layout.run / COLS) * COLS;
    let found = [columns, rows].map(Output);
    // SAFETY: promised by the caller.
    unsafe {
        columns.write_bytes(0, width);
        rows.write_bytes(0, layout.k);
    }
    for part in pieces.iter() {
        let count = Lines::new(&part, layout, found).segments;
        let chunks = team.threads().min(count);
        team.run(chunks, |_, chunk| {
            let segments = [chunk * count / chunks, (chunk + 1) * count / chunks];
            // SAFETY: promised by the caller.
            unsafe { S::vectorize(Segments { lines: Lines::new(&part, layout, found), segments }) };
        });
    }
    // SAFETY: as above; all are found.
    unsafe { [(columns, width), (rows, layout.k)].map(|(of, len)| std::slice::from_raw_parts(of.cast(), len)) }
}

/// A part of an operand as lines of adjacent numbers: its rows, or its columns. Each line is as many runs as one has of columns, and a
/// run is in segments of as many numbers as a panel has columns.
struct Lines<'a> {
    matrix: Matrix,
    are_columns: bool,
    first: [usize; 2],
    layout: &'a Layout,
    /// Places of the largest numbers of columns and of rows.
    found: [Output; 2],
    /// Segments of a run.
    segments: usize,
}

impl<'a> Lines<'a> {
    fn new(part: &Part, layout: &'a Layout, found: [Output; 2]) -> Lines<'a> {
        let are_columns = part.matrix.row_stride == 1 && part.matrix.col_stride != 1;
        let matrix = if are_columns { part.matrix.transposed() } else { part.matrix };
        // Columns of no whole panel are not asked for.
        let segments = if are_columns { matrix.cols.div_ceil(COLS) } else { matrix.cols.min(layout.run) / COLS };
        Lines { matrix, are_columns, first: part.first, layout, found, segments }
    }

    /// Where the largest number of a line is, if it is asked for.
    fn of_line(&self, index: usize) -> Option<*mut u32> {
        let ([columns, rows], [row, column]) = (self.found, self.first);
        let place = if self.are_columns {
            columns.get().wrapping_add(self.column(column + index)?)
        } else {
            rows.get().wrapping_add(row + index)
        };
        Some(place.cast())
    }
    /// Where the largest numbers at each place of the first segment are, and how much further those of the next run and of the next
    /// segment.
    fn of_segments(&self) -> (*mut u32, [usize; 2]) {
        let ([columns, rows], [row, column]) = (self.found, self.first);
        if self.are_columns {
            return (rows.get().wrapping_add(row).cast(), [0, COLS]);
        }
        let place = columns.get().wrapping_add(self.column(column).unwrap_or(0));
        (place.cast(), [COLS, self.layout.groups * COLS])
    }
    /// The place of a column in the order of panels.
    fn column(&self, column: usize) -> Option<usize> {
        let Layout { run, groups, .. } = *self.layout;
        let (group, column) = (column / run, column % run);
        let panel = column / COLS;
        (panel < run / COLS).then_some((panel * groups + group) * COLS + column % COLS)
    }
}

/// Some segments of the runs of all lines.
struct Segments<'a> {
    lines: Lines<'a>,
    segments: [usize; 2],
}

impl Task for Segments<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Segments { lines, segments: [first, last] } = self;
        let Matrix { rows, cols, col_stride, .. } = lines.matrix;
        let run = if lines.are_columns { cols } else { lines.layout.run };
        let (start, [next_run, next]) = lines.of_segments();
        for line in 0..rows {
            let Some(place) = lines.of_line(line) else { continue };
            let mut largest = [0; LONGEST];
            for from in (0..cols).step_by(run) {
                for segment in first..last {
                    let len = COLS.min(cols - from - segment * COLS);
                    let numbers = lines.matrix.at(line, from + segment * COLS);
                    let places = start.wrapping_add(from / run * next_run + segment * next);
                    // SAFETY: promised by the caller; others have other segments.
                    unsafe {
                        if len == COLS && col_stride == 1 {
                            raise(&*numbers.cast(), &mut *places.cast(), &mut largest);
                        } else {
                            for at in 0..len {
                                let bits = (*numbers.wrapping_offset(at as isize * col_stride)).to_bits() & BITS;
                                *places.add(at) = bits.max(*places.add(at));
                                largest[0] = bits.max(largest[0]);
                            }
                        }
                    }
                }
            }
            // SAFETY: as above; other threads raise it, too.
            raise_one(unsafe { AtomicU32::from_ptr(place) }, &largest);
        }
    }
}

/// Raises the largest at each place to some numbers, and lanes to the largest of those that come to them.
#[inline(always)]
fn raise(numbers: &[f32; COLS], places: &mut [u32; COLS], lanes: &mut [u32; LONGEST]) {
    let bits = numbers.map(|x| x.to_bits() & BITS);
    places.iter_mut().zip(bits).for_each(|(place, bits)| *place = bits.max(*place));
    for (lane, largest) in lanes.iter_mut().enumerate() {
        let [a, b, c, d] = std::array::from_fn(|vector| bits[vector * LONGEST + lane]);
        *largest = a.max(b).max(c.max(d)).max(*largest);
    }
}

/// Raises the largest number of a row or column, as other threads may at the same time.
#[inline(always)]
fn raise_one(place: &AtomicU32, lanes: &[u32; LONGEST]) {
    let largest = lanes.iter().copied().max().unwrap_or(0);
    if largest > place.load(Ordering::Relaxed) {
        place.fetch_max(largest, Ordering::Relaxed);
    }
}

/// The exponent of the power of two above a number; of zero, and as good as zero, none.
pub(super) fn power(bits: u32) -> Option<i32> {
    (bits > 0).then(|| (bits >> 23) as i32 - 126)
}

/// Of a power that an `f32` has.
pub(super) fn exp2(power: i32) -> f32 {
    f32::from_bits(((power + 127) as u32) << 23)
}
